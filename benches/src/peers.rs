//! Others that answer hello, and at `/work` as the second handler does (2 KB in, 20 KB out, three
//! lines that nobody keeps), installed from their package registries and started as they come.
//!
//! A peer that does not install on this machine is said to be missing, and nothing else fails.

use crate::{Failure, client::Target, functions::Handler};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Longest wait for a peer to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The release that the platform is built with.
const WASMTIME: &str = "^48";
/// `serve` does not build without the third generation of WASI.
const WASMTIME_FEATURES: &str = "serve,run,cranelift,pooling-allocator,component-model-async";
/// The component that both serve.
pub static HTTP: &[u8] = include_bytes!("../../tests/functions/wasm/http.wasm");

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `functions-framework` of PyPI.
    Python,
    /// `@google-cloud/functions-framework` of npm.
    Node,
    /// `workerd` of npm.
    Workerd,
    /// `wasmtime serve` of crates.io, which takes a quarter of an hour to build.
    Wasmtime,
}

impl Kind {
    /// Those that answer hello of their own.
    pub const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Workerd];

    /// As the table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "functions-framework py",
            Self::Node => "functions-framework js",
            Self::Workerd => "workerd",
            Self::Wasmtime => "wasmtime serve",
        }
    }
}

/// A peer that answers.
pub struct Peer {
    child: Child,
    /// Where.
    pub target: Target,
}

impl Peer {
    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Where it answers as a handler does; the component of [`Kind::Wasmtime`] knows hello alone.
    pub fn answering(&self, handler: Handler) -> Target {
        let path = match handler {
            Handler::Hello => "/",
            Handler::Work => "/work",
        };
        Target {
            path: path.to_owned(),
            ..self.target.clone()
        }
    }

    /// Installs it below `folder` unless it is there, and starts it.
    pub fn start(kind: Kind, folder: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(folder)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let given = ["--target", "hello", "--host", "127.0.0.1", "--port"];
        let mut command = match kind {
            Kind::Python => {
                let program = python(folder)?;
                let source = folder.join("main.py");
                fs::write(&source, include_str!("../peers/main.py"))?;
                let mut command = Command::new(program);
                command.arg("--source").arg(source).args(given);
                command
            }
            Kind::Node => {
                let modules = node(folder)?;
                let source = modules.join("hello.js");
                fs::write(&source, include_str!("../peers/hello.js"))?;
                let mut command = Command::new("node");
                command
                    .arg(modules.join("node_modules/.bin/functions-framework"))
                    .arg("--source")
                    .arg(source)
                    .args(["--target", "hello", "--port"])
                    .env("NODE_ENV", "production");
                command
            }
            Kind::Workerd => {
                let modules = node(folder)?;
                fs::write(
                    modules.join("hello.mjs"),
                    include_str!("../peers/hello.mjs"),
                )?;
                let config = modules.join("hello.capnp");
                let text = include_str!("../peers/workerd.capnp");
                fs::write(&config, text.replace("PORT", &port.to_string()))?;
                let mut command = Command::new(modules.join("node_modules/.bin/workerd"));
                command.arg("serve").arg(config);
                command
            }
            Kind::Wasmtime => {
                let program = wasmtime(folder)?;
                let component = folder.join("http.wasm");
                fs::write(&component, HTTP)?;
                let mut command = Command::new(program);
                command.args(["serve", "--addr", &address.to_string()]);
                command.arg(component);
                command
            }
        };
        if matches!(kind, Kind::Python | Kind::Node) {
            command.arg(port.to_string());
        }
        // A group of its own: what it starts is ended with it.
        command.process_group(0);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let peer = Self {
            child,
            target: Target {
                address,
                host: address.to_string(),
                path: "/".to_owned(),
            },
        };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > START_LIMIT {
                return Err(format!("{} does not listen", kind.name()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.pid()) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn python(folder: &Path) -> Result<PathBuf, Failure> {
    let venv = folder.join("py");
    let program = venv.join("bin/functions-framework");
    if !program.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        run(pip.args(["install", "--quiet", "functions-framework"]))?;
    }
    Ok(program)
}

fn node(folder: &Path) -> Result<PathBuf, Failure> {
    let modules = folder.join("js");
    if !modules.join("node_modules/.bin/workerd").exists() {
        fs::create_dir_all(&modules)?;
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--prefix",
            ".",
            "--silent",
            "--no-audit",
            "--no-fund",
        ]);
        npm.args(["@google-cloud/functions-framework", "workerd"]);
        run(npm.current_dir(&modules))?;
    }
    Ok(modules)
}

/// With what `serve` needs and nothing else; its lock file's versions.
fn wasmtime(folder: &Path) -> Result<PathBuf, Failure> {
    let root = folder.join("wasmtime");
    let program = root.join("bin/wasmtime");
    if !program.exists() {
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--locked", "wasmtime-cli"]);
        cargo.args(["--version", WASMTIME, "--no-default-features"]);
        cargo.args(["--features", WASMTIME_FEATURES]);
        run(cargo.arg("--root").arg(root))?;
    }
    Ok(program)
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
