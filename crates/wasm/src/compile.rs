//! Modules into machine code, in a process that is thrown away.
//!
//! ```text
//!  server ── the module, as sealed memory, on the child's stdin ──▶ child
//!         ◀─ one JSON line: kind and length, or why not; then the machine code ── stdout
//! ```
//!
//! A stranger's module is parsed, checked and compiled where that can cost no more than
//! [`limits::COMPILE_CPU_S_MAX`] and [`limits::COMPILE_MEMORY_BYTES_MAX`], by a process that may
//! open nothing and whose end is nobody else's. Its caller applies the seccomp policy `compile`
//! before [`child_main`]. What it writes is executed by the server: the child is trusted as the
//! compiler is, which is why it reads this one module and does nothing after it.

use crate::{
    engine,
    limits::{
        self, COMPILE_CPU_S_MAX, COMPILE_MEMORY_BYTES_MAX, COMPILE_TIMEOUT, COMPILED_BYTES_MAX,
        MODULE_BYTES_MAX,
    },
};
use freehold_domain::{
    BoxFuture,
    ports::{Clock, CodeError},
};
use rustix::{
    fs::{MemfdFlags, SealFlags},
    process::{Resource, Rlimit, nice, setrlimit},
};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{ExitCode, Stdio},
    sync::Arc,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

/// The argument by which the server's binary becomes the child.
pub const CHILD_ARGUMENT: &str = "__compile";
/// Bytes of the child's report.
const REPORT_BYTES_MAX: u64 = 16 << 10;
/// Bytes of a reason; the rest of a long chain is cut.
const REASON_BYTES_MAX: usize = 2 << 10;
/// How much nicer than the server the child is.
const CHILD_NICENESS: i32 = 10;

/// What a module became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Whether it is a component, else a core module.
    pub(crate) is_component: bool,
    /// Machine code, for this machine and this version of the engine.
    pub(crate) code: Vec<u8>,
}

/// Compiles modules.
pub trait Compile: Send + Sync {
    /// Compiles one.
    ///
    /// Errors: [`CodeError::Refused`] for what its author has to mend, a module that costs too much
    /// included.
    fn compile(&self, module: Vec<u8>) -> BoxFuture<'_, Result<Compiled, CodeError>>;
}

/// The child's first line.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Compiled { is_component: bool, bytes: u64 },
    Refused { reason: String },
}

/// Compiles in a child process of its own per module. How many at once is its caller's affair, who
/// has read the modules (`code/shelf.rs`).
pub struct Subprocess {
    exe: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Subprocess {
    /// `exe` is run with [`CHILD_ARGUMENT`] and must then call [`child_main`], after it has given
    /// up what it can do; it gets no environment.
    pub fn new(exe: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { exe, clock }
    }

    async fn run(&self, module: Vec<u8>) -> Result<Compiled, CodeError> {
        let module = tokio::task::spawn_blocking(move || sealed_memory(&module))
            .await
            .map_err(failed)?
            .map_err(failed)?;
        let mut child = Command::new(&self.exe)
            .arg(CHILD_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(module))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("starting {}: {error}", self.exe.display())))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("no pipe"))?;
        let read = tokio::select! {
            read = read_answer(BufReader::new(stdout)) => read,
            () = self.clock.sleep(COMPILE_TIMEOUT) => {
                let _ = child.kill().await;
                return Err(refused(format!("it took longer than {COMPILE_TIMEOUT:?} to compile")));
            }
        };
        // It has said all it has to say; a child that goes on regardless is ended here.
        let _ = child.start_kill();
        let status = child.wait().await.map_err(failed)?;
        match read.map_err(failed)? {
            Some((Report::Compiled { is_component, .. }, code)) => {
                Ok(Compiled { is_component, code })
            }
            Some((Report::Refused { reason }, _)) => Err(CodeError::Refused { reason }),
            // Killed by its own limits, or out of memory and aborted.
            None => Err(refused(format!(
                "it could not be compiled within {COMPILE_CPU_S_MAX} s of processor time and {} \
                 MiB of memory ({status})",
                COMPILE_MEMORY_BYTES_MAX >> 20
            ))),
        }
    }
}

impl Compile for Subprocess {
    fn compile(&self, module: Vec<u8>) -> BoxFuture<'_, Result<Compiled, CodeError>> {
        Box::pin(self.run(module))
    }
}

/// The report with the code that it announces; `None` when the child ended before all of it.
async fn read_answer(
    mut from: BufReader<impl tokio::io::AsyncRead + Unpin>,
) -> io::Result<Option<(Report, Vec<u8>)>> {
    let mut line = Vec::new();
    (&mut from)
        .take(REPORT_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .await?;
    let Ok(report) = serde_json::from_slice::<Report>(&line) else {
        return Ok(None);
    };
    let mut code = Vec::new();
    if let Report::Compiled { bytes, .. } = report {
        if bytes > COMPILED_BYTES_MAX {
            let reason = too_much_code(bytes);
            return Ok(Some((Report::Refused { reason }, code)));
        }
        from.take(bytes).read_to_end(&mut code).await?;
        if code.len() as u64 != bytes {
            return Ok(None);
        }
    }
    Ok(Some((report, code)))
}

/// The whole life of the child: reads the module from standard input, compiles it, says so.
pub fn child_main() -> ExitCode {
    let done = limit_self()
        .map_err(|error| format!("the compiler cannot limit itself: {error}"))
        .and_then(|()| {
            let mut module = Vec::new();
            let read = io::stdin()
                .take(MODULE_BYTES_MAX + 1)
                .read_to_end(&mut module);
            read.map_err(|error| error.to_string())?;
            compile(&module)
        });
    let (report, code) = match done {
        Ok(Compiled { is_component, code }) => {
            let bytes = code.len() as u64;
            (
                Report::Compiled {
                    is_component,
                    bytes,
                },
                code,
            )
        }
        Err(reason) => (Report::Refused { reason }, Vec::new()),
    };
    let mut out = io::stdout().lock();
    let mut line = serde_json::to_vec(&report).expect("a report serializes");
    line.push(b'\n');
    let written = out
        .write_all(&line)
        .and_then(|()| out.write_all(&code))
        .and_then(|()| out.flush());
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn limit_self() -> io::Result<()> {
    for (resource, most) in [
        (Resource::Cpu, COMPILE_CPU_S_MAX),
        (Resource::As, COMPILE_MEMORY_BYTES_MAX),
        (Resource::Fsize, 0),
        (Resource::Nofile, 8),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)?;
    }
    // A deployment gives way to requests.
    nice(CHILD_NICENESS)?;
    Ok(())
}

/// What `bytes` claim to be, by their first eight.
fn is_component(bytes: &[u8]) -> Result<bool, String> {
    match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(false),
        [b'\0', b'a', b's', b'm', _, 0, 1, 0, ..] => Ok(true),
        [b'\0', b'a', b's', b'm', ..] => {
            Err("it is WebAssembly of a version that is not known".to_owned())
        }
        _ => Err("it is not WebAssembly: it does not begin with \\0asm".to_owned()),
    }
}

fn compile(module: &[u8]) -> Result<Compiled, String> {
    if module.len() as u64 > MODULE_BYTES_MAX {
        return Err(too_large());
    }
    let is_component = is_component(module)?;
    let engine = engine::for_compiling().map_err(|error| format!("{error:#}"))?;
    let code = if is_component {
        engine.precompile_component(module)
    } else {
        engine.precompile_module(module)
    };
    let code = code.map_err(|error| cut(format!("{error:#}")))?;
    if code.len() as u64 > COMPILED_BYTES_MAX {
        return Err(too_much_code(code.len() as u64));
    }
    Ok(Compiled { is_component, code })
}

pub(crate) fn too_large() -> String {
    format!("it is larger than {MODULE_BYTES_MAX} bytes")
}

fn too_much_code(bytes: u64) -> String {
    let most = limits::COMPILED_BYTES_MAX;
    format!("its machine code has {bytes} bytes, more than {most}")
}

fn cut(mut reason: String) -> String {
    if reason.len() > REASON_BYTES_MAX {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

fn refused(reason: String) -> CodeError {
    CodeError::Refused { reason }
}

fn failed(reason: impl std::fmt::Display) -> CodeError {
    CodeError::Failed {
        reason: reason.to_string(),
        is_busy: false,
    }
}

/// The bytes in memory that nobody can change any more, at their beginning.
fn sealed_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("module", flags)?);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file.into())
}

/// Compiles in this process. For tests: it has every privilege of its process, and no bound.
#[derive(Debug, Default, Clone, Copy)]
pub struct InThisProcess;

impl Compile for InThisProcess {
    fn compile(&self, module: Vec<u8>) -> BoxFuture<'_, Result<Compiled, CodeError>> {
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || compile(&module)).await;
            done.map_err(failed)?.map_err(refused)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_named() {
        for (bytes, wanted) in [
            (&b""[..], "not WebAssembly"),
            (b"(module)", "not WebAssembly"),
            (b"\0asm\x09\0\0\0", "version"),
            (b"\0asm\x01\0\0\0\xff", "malformed section id"),
        ] {
            let reason = compile(bytes).unwrap_err();
            assert!(reason.contains(wanted), "{reason}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_whole_or_none() {
        let read = async |bytes: &'static [u8]| read_answer(BufReader::new(bytes)).await.unwrap();
        assert!(read(b"").await.is_none());
        assert!(
            read(b"{\"Compiled\":{\"is_component\":true,\"bytes\":3}}\nab")
                .await
                .is_none()
        );
        let (_, code) = read(b"{\"Compiled\":{\"is_component\":true,\"bytes\":3}}\nabc")
            .await
            .unwrap();
        assert_eq!(code, b"abc");
        let huge = b"{\"Compiled\":{\"is_component\":true,\"bytes\":99999999999}}\nabc";
        assert!(matches!(
            read(huge).await,
            Some((Report::Refused { .. }, _))
        ));
    }
}
