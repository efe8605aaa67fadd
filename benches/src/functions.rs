//! Hello in four languages, as folders that `freehold deploy` takes.

use crate::{
    Failure,
    client::{Answer, Target},
    libraries::Libraries,
    requests,
    server::Server,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the second handler's answer has at the least.
pub const WORK_BYTES: usize = 20_000;
/// The answer of each of them.
pub const ANSWER: &str = r#"{"hello":"world"}"#;

/// Refuses an answer that is not hello's: a fast error is no figure. Python writes a space.
pub fn check(answer: &Answer) -> Result<(), Failure> {
    let compact: Vec<u8> = answer
        .body
        .iter()
        .copied()
        .filter(|&byte| byte != b' ')
        .collect();
    if answer.status == 200 && compact == ANSWER.as_bytes() {
        return Ok(());
    }
    Err(format!("{}: {:?}", answer.status, answer.body).into())
}

/// Refuses an answer that is not what was asked for.
pub type Check = fn(&Answer) -> Result<(), Failure>;

/// What hello is sent, and what tells its answer.
pub fn hello() -> (&'static [u8], Check) {
    (ANSWER.as_bytes(), check)
}

/// The same of the second handler.
pub fn work() -> (&'static [u8], Check) {
    (requests::two_kib(), check_work)
}

/// Refuses an answer that is not the second handler's.
fn check_work(answer: &Answer) -> Result<(), Failure> {
    if answer.status == 200 && answer.body.len() >= WORK_BYTES {
        return Ok(());
    }
    Err(format!("{}: {} bytes", answer.status, answer.body.len()).into())
}

/// Whether a body is hello's.
pub fn is_hello(body: &[u8]) -> bool {
    body.windows(9).any(|window| window == b"{\"hello\":")
}

/// Whether a body is the second handler's.
fn is_work(body: &[u8]) -> bool {
    body.len() >= WORK_BYTES
}

/// Which of the two handlers a bench calls, in Python.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handler {
    /// Answers hello.
    Hello,
    /// 2 KB in, 20 KB out, three log lines.
    Work,
}

impl Handler {
    /// Deploys it under several names.
    pub fn deploy_as(self, server: &Server, names: &[&str]) -> Result<Vec<Target>, Failure> {
        match self {
            Self::Hello => deploy_as(server, Language::Python, names),
            Self::Work => deploy_work_as(server, Language::Python, names),
        }
    }

    /// One that takes as many seconds as its event's `s` says.
    pub fn deploy_slow(self, server: &Server) -> Result<Target, Failure> {
        if self == Self::Hello {
            return deploy_slow(server);
        }
        let folder = server.sources().join("slow-work");
        fs::create_dir_all(&folder)?;
        write(&folder, "app.py", include_str!("../functions/slow_work.py"))?;
        server.deploy(&folder, &["--memory", "128", "--timeout", "60"])
    }

    /// What it is sent.
    pub fn event(self) -> &'static [u8] {
        match self {
            Self::Hello => ANSWER.as_bytes(),
            Self::Work => requests::two_kib(),
        }
    }

    /// What one that takes its time is sent.
    pub fn slow_event(self, seconds: f64) -> Vec<u8> {
        let mut text = format!(r#"{{"s":{seconds}"#);
        if self == Self::Work {
            text.push_str(r#","text":""#);
            text.extend(std::iter::repeat_n(
                'x',
                requests::two_kib().len() - text.len() - 2,
            ));
            text.push('"');
        }
        text.push('}');
        text.into_bytes()
    }

    /// Whether a body is its answer.
    pub fn is_answer(self) -> fn(&[u8]) -> bool {
        match self {
            Self::Hello => is_hello,
            Self::Work => is_work,
        }
    }

    /// Refuses what is not its answer.
    pub fn check(self, answer: &Answer) -> Result<(), Failure> {
        match self {
            Self::Hello => check(answer),
            Self::Work => check_work(answer),
        }
    }
}

/// A language to write hello in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// The machine's `python3`.
    Python,
    /// The machine's `node`.
    Node,
    /// The machine's JDK.
    Java,
    /// A static binary on `provided.al2023`.
    Rust,
}

impl Language {
    /// In the order of the table.
    pub const ALL: [Self; 4] = [Self::Python, Self::Node, Self::Java, Self::Rust];

    /// As `--only` and the table name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
            Self::Rust => "rust",
        }
    }
}

/// Writes hello in `language` below the server's sources, builds it where that is needed, deploys
/// it with 128 MB.
pub fn deploy(server: &Server, language: Language) -> Result<Target, Failure> {
    let name = format!("hello-{}", language.name());
    deploy_as(server, language, &[&name]).map(|mut targets| targets.remove(0))
}

/// The same under several names.
pub fn deploy_as(
    server: &Server,
    language: Language,
    names: &[&str],
) -> Result<Vec<Target>, Failure> {
    let folder = server.sources().join(format!("hello-{}", language.name()));
    fs::create_dir_all(&folder)?;
    let (mut runtime, mut handler) = (String::new(), "");
    match language {
        Language::Python => write(&folder, "app.py", include_str!("../functions/app.py"))?,
        Language::Node => write(&folder, "index.js", include_str!("../functions/index.js"))?,
        Language::Java => {
            runtime = java(&server.sources(), &folder)?;
            handler = "Hello::handle";
        }
        Language::Rust => rust(&server.sources(), &folder)?,
    }
    let mut options = vec!["--memory", "128"];
    if !runtime.is_empty() {
        options.extend(["--runtime", &runtime, "--handler", handler]);
    }
    let one = |name: &&str| server.deploy(&folder, &[&options[..], &["--name", name]].concat());
    names.iter().map(one).collect()
}

/// hello with `boto3.client("s3")` at module level, by the SDK that the runtime brings.
pub fn deploy_boto3(server: &Server, name: &str) -> Result<Target, Failure> {
    let folder = server.sources().join("boto3-s3");
    fs::create_dir_all(&folder)?;
    write(&folder, "app.py", include_str!("../functions/boto3_s3.py"))?;
    server.deploy(&folder, &["--memory", "128", "--name", name])
}

/// hello that has numpy and pandas in its package and a frame at module level.
pub fn deploy_pandas(
    server: &Server,
    name: &str,
    libraries: &Libraries,
) -> Result<Target, Failure> {
    let folder = server.sources().join("pandas-frame");
    fs::create_dir_all(&folder)?;
    libraries.bring_pandas(&folder)?;
    let source = include_str!("../functions/pandas_frame.py");
    write(&folder, "app.py", source)?;
    let options = ["--memory", "512", "--handler", "app.handler"];
    server.deploy(&folder, &[&options[..], &["--name", name]].concat())
}

/// A WASI command that answers hello.
pub fn deploy_wasm(server: &Server, name: &str) -> Result<Target, Failure> {
    let folder = server.sources().join("hello-wasm");
    fs::create_dir_all(&folder)?;
    let module = include_bytes!("../../tests/functions/wasm/hello.wasm");
    fs::write(folder.join("function.wasm"), module)?;
    server.deploy(&folder, &["--memory", "128", "--name", name])
}

/// The second handler, 2 KB in, 20 KB out and three log lines, in Python or Node.
pub fn deploy_work(server: &Server, language: Language) -> Result<Target, Failure> {
    let name = format!("work-{}", language.name());
    deploy_work_as(server, language, &[&name]).map(|mut targets| targets.remove(0))
}

/// The same under several names.
pub fn deploy_work_as(
    server: &Server,
    language: Language,
    names: &[&str],
) -> Result<Vec<Target>, Failure> {
    let folder = server.sources().join(format!("work-{}", language.name()));
    fs::create_dir_all(&folder)?;
    match language {
        Language::Python => write(&folder, "app.py", include_str!("../functions/work.py"))?,
        Language::Node => write(&folder, "index.js", include_str!("../functions/work.js"))?,
        other => return Err(format!("no second handler in {}", other.name()).into()),
    }
    let one = |name: &&str| server.deploy(&folder, &["--memory", "128", "--name", name]);
    names.iter().map(one).collect()
}

/// A function that takes as many seconds as its event's `s` says.
pub fn deploy_slow(server: &Server) -> Result<Target, Failure> {
    let folder = server.sources().join("slow");
    fs::create_dir_all(&folder)?;
    write(&folder, "app.py", include_str!("../functions/slow.py"))?;
    server.deploy(&folder, &["--memory", "128", "--timeout", "60"])
}

/// The function of `hangups`.
pub fn deploy_soak(server: &Server) -> Result<Target, Failure> {
    let folder = server.sources().join("soak");
    fs::create_dir_all(&folder)?;
    write(&folder, "app.py", include_str!("../functions/soak.py"))?;
    server.deploy(&folder, &["--memory", "128", "--timeout", "2"])
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    Ok(fs::write(folder.join(name), text)?)
}

/// Compiles into `folder` and names the runtime of the compiler's release.
fn java(sources: &Path, folder: &Path) -> Result<String, Failure> {
    let source = sources.join("Hello.java");
    fs::write(&source, include_str!("../functions/Hello.java"))?;
    let told = Command::new("javac").arg("-version").output()?;
    let told = String::from_utf8(told.stdout)? + &String::from_utf8(told.stderr)?;
    let release = told
        .split([' ', '.'])
        .nth(1)
        .unwrap_or_default()
        .trim()
        .to_owned();
    run(Command::new("javac").arg("-d").arg(folder).arg(source))?;
    Ok(format!("java{release}"))
}

/// Links statically for the host's own target: no toolchain beyond rustc is needed.
fn rust(sources: &Path, folder: &Path) -> Result<(), Failure> {
    let source = sources.join("hello.rs");
    fs::write(&source, include_str!("../functions/hello.rs"))?;
    let output: PathBuf = folder.join("bootstrap");
    run(Command::new("rustc")
        .args([
            "--edition",
            "2021",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "strip=symbols",
        ])
        .args(["-C", "panic=abort", "-o"])
        .arg(output)
        .arg(source))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
