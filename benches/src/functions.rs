//! Hello and the second handler in four languages, as folders that `freehold deploy` takes.

use crate::{
    Failure,
    client::{Answer, Target},
    echo::Echo,
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
/// The same in WebAssembly, whose answer is a JSON string: a URL answers it without its quotes.
const WASM_WORK_BYTES: usize = 19_998;
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

/// The same of the second handler in WebAssembly.
pub fn wasm_work() -> (&'static [u8], Check) {
    (requests::two_kib(), check_wasm_work)
}

/// Refuses an answer that is not the second handler's in WebAssembly.
pub fn check_wasm_work(answer: &Answer) -> Result<(), Failure> {
    check_length(answer, WASM_WORK_BYTES)
}

/// Refuses an answer that is not the second handler's.
fn check_work(answer: &Answer) -> Result<(), Failure> {
    check_length(answer, WORK_BYTES)
}

fn check_length(answer: &Answer, least: usize) -> Result<(), Failure> {
    if answer.status == 200 && answer.body.len() >= least {
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

/// Which of the two handlers a bench calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handler {
    /// Answers hello.
    Hello,
    /// 2 KB in, 20 KB out, three log lines.
    Work,
}

impl Handler {
    /// What its functions and sources are called.
    fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Work => "work",
        }
    }

    /// Deploys it in Python under several names.
    pub fn deploy_as(self, server: &Server, names: &[&str]) -> Result<Vec<Target>, Failure> {
        deploy_in(server, Language::Python, self, names)
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

    /// Where an echo answers as much as it does.
    pub fn echo(self, echo: &Echo) -> Target {
        match self {
            Self::Hello => echo.target.clone(),
            Self::Work => echo.work(),
        }
    }

    /// Whether a body is that echo's answer to `event`.
    pub fn is_echo_of(self, event: &[u8]) -> impl Fn(&[u8]) -> bool {
        move |body| match self {
            Self::Hello => body == event,
            Self::Work => is_work(body),
        }
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
    deploy_handler(server, language, Handler::Hello)
}

/// The second handler, 2 KB in, 20 KB out and three log lines.
pub fn deploy_work(server: &Server, language: Language) -> Result<Target, Failure> {
    deploy_handler(server, language, Handler::Work)
}

/// Either of them, by the name of handler and language.
pub fn deploy_handler(
    server: &Server,
    language: Language,
    handler: Handler,
) -> Result<Target, Failure> {
    let name = format!("{}-{}", handler.name(), language.name());
    deploy_in(server, language, handler, &[&name]).map(|mut targets| targets.remove(0))
}

/// The static binary of a handler that was deployed in Rust.
pub fn bootstrap(server: &Server, handler: Handler) -> PathBuf {
    let folder = format!("{}-{}", handler.name(), Language::Rust.name());
    server.sources().join(folder).join("bootstrap")
}

/// Either of them under several names.
pub fn deploy_in(
    server: &Server,
    language: Language,
    handler: Handler,
    names: &[&str],
) -> Result<Vec<Target>, Failure> {
    let (sources, is_work) = (server.sources(), handler == Handler::Work);
    let folder = sources.join(format!("{}-{}", handler.name(), language.name()));
    fs::create_dir_all(&folder)?;
    let (mut runtime, mut entry) = (String::new(), "");
    match (language, handler) {
        (Language::Python, Handler::Hello) => {
            write(&folder, "app.py", include_str!("../functions/app.py"))?;
        }
        (Language::Python, Handler::Work) => {
            write(&folder, "app.py", include_str!("../functions/work.py"))?;
        }
        (Language::Node, Handler::Hello) => {
            write(&folder, "index.js", include_str!("../functions/index.js"))?;
        }
        (Language::Node, Handler::Work) => {
            write(&folder, "index.js", include_str!("../functions/work.js"))?;
        }
        (Language::Java, Handler::Hello) => {
            let source = include_str!("../functions/Hello.java");
            (runtime, entry) = (java(&sources, &folder, "Hello", source)?, "Hello::handle");
        }
        (Language::Java, Handler::Work) => {
            let source = include_str!("../functions/Work.java");
            (runtime, entry) = (java(&sources, &folder, "Work", source)?, "Work::handle");
        }
        (Language::Rust, _) => rust(&sources, &folder, is_work)?,
    }
    let mut options = vec!["--memory", "128"];
    if !runtime.is_empty() {
        options.extend(["--runtime", &runtime, "--handler", entry]);
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

/// A WASI command.
pub fn deploy_wasm(server: &Server, handler: Handler, name: &str) -> Result<Target, Failure> {
    deploy_module(server, name, wasm(handler))
}

/// The module of a WASI command.
pub fn wasm(handler: Handler) -> &'static [u8] {
    match handler {
        Handler::Hello => include_bytes!("../../tests/functions/wasm/hello.wasm"),
        Handler::Work => include_bytes!("../../tests/functions/wasm/work.wasm"),
    }
}

/// WebAssembly of any kind.
pub fn deploy_module(server: &Server, name: &str, module: &[u8]) -> Result<Target, Failure> {
    let folder = server.sources().join(format!("wasm-{name}"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("function.wasm"), module)?;
    server.deploy(&folder, &["--memory", "128", "--name", name])
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
fn java(sources: &Path, folder: &Path, class: &str, text: &str) -> Result<String, Failure> {
    let source = sources.join(format!("{class}.java"));
    fs::write(&source, text)?;
    let told = Command::new("javac").arg("-version").output()?;
    let told = String::from_utf8(told.stdout)? + &String::from_utf8(told.stderr)?;
    let release = told
        .split([' ', '.'])
        .nth(1)
        .unwrap_or_default()
        .trim()
        .to_owned();
    // Once for all names of a server.
    if !folder.join(format!("{class}.class")).exists() {
        run(Command::new("javac").arg("-d").arg(folder).arg(source))?;
    }
    Ok(format!("java{release}"))
}

/// Links statically for the host's own target: no toolchain beyond rustc is needed.
fn rust(sources: &Path, folder: &Path, is_work: bool) -> Result<(), Failure> {
    let source = sources.join("hello.rs");
    fs::write(&source, include_str!("../functions/hello.rs"))?;
    let output: PathBuf = folder.join("bootstrap");
    if output.exists() {
        return Ok(());
    }
    let choice: &[&str] = if is_work { &["--cfg", "work"] } else { &[] };
    run(Command::new("rustc")
        .args(choice)
        .args(["--check-cfg", "cfg(work)"])
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
