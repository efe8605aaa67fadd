//! The tree of a Java: the virtual machine, its modules, and our bootstrap as a jar.
//!
//! The bootstrap is compiled from its sources by the machine's own `javac`, so nothing binary is
//! checked in and the server builds without a JDK. Beside it lies a package of ours, laid out as a
//! function's is: a JVM that is booted ahead loads and runs it before it is anybody's.

use crate::{discover::Interpreter, plan::Plan, tools::ToolEnvironment};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

include!(concat!(env!("OUT_DIR"), "/java_sources.rs"));

/// Descriptor 3 as a stream; of a JVM that was booted ahead the environment, and our two calls of
/// the C library.
const MANIFEST: &str = "Main-Class: freehold.Bootstrap\n\
    Add-Opens: java.base/java.io java.base/java.util java.base/java.nio\n\
    Enable-Native-Access: ALL-UNNAMED\n";
/// `runtimes/java/native.rs`, built with this crate.
const NATIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libfreehold.so"));
const LAUNCHER: &str = include_str!("../../../runtimes/java/bootstrap");

/// What the JDK makes of our sources, by its path in [`build`]'s folder and in the tree. Classes of the
/// rehearsal lie in the folder of the package and, as a function's libraries do, in a jar.
const BUILT: &[(&str, &str)] = &[
    (
        "freehold-runtime.jar",
        "/var/runtime/lib/freehold-runtime.jar",
    ),
    (
        "rehearsal/rehearsed/Hello.class",
        "/var/runtime/rehearsal/rehearsed/Hello.class",
    ),
    (
        "rehearsal/rehearsed/Hello$Order.class",
        "/var/runtime/rehearsal/rehearsed/Hello$Order.class",
    ),
    (
        "rehearsal/rehearsed/Hello$Receipt.class",
        "/var/runtime/rehearsal/rehearsed/Hello$Receipt.class",
    ),
    (
        "rehearsal/lib/interfaces.jar",
        "/var/runtime/rehearsal/lib/interfaces.jar",
    ),
];

/// Adds the virtual machine and the bootstrap; `built` is the folder of [`build`].
pub fn add(plan: &mut Plan, home: &Path, built: &Path) -> io::Result<()> {
    plan.file("/var/lang/bin/java", &home.join("bin/java"))?;
    plan.folder("/var/lang/lib", &home.join("lib"), &is_left_out)?;
    plan.folder("/var/lang/conf", &home.join("conf"), &|_| false)?;
    plan.file("/var/lang/release", &home.join("release"))?;
    for (below, at) in BUILT {
        plan.file(at, &built.join(below))?;
    }
    plan.own("/var/runtime/lib/libfreehold.so", NATIVE, false);
    plan.own("/var/runtime/bootstrap", LAUNCHER, true);
    Ok(())
}

/// Sources, the compiler's tables, and what needs a screen or sound.
fn is_left_out(below: &Path) -> bool {
    const NAMES: &[&str] = &[
        "src.zip",
        "ct.sym",
        "libawt_xawt.so",
        "libatk-wrapper.so",
        "libjawt.so",
        "libjsound.so",
        "libsaproc.so",
        "libsplashscreen.so",
    ];
    let name = below
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    NAMES.contains(&name) || name.starts_with("jvm.cfg-")
}

/// Why there is no bootstrap for Java.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Only runtimes without a compiler were found.
    #[error("needs a JDK (javac, jar) once: apt-get install openjdk-17-jdk-headless")]
    NoCompiler,
    /// A tool of the JDK failed.
    #[error("{tool} failed: {output}")]
    Tool {
        /// Which one.
        tool: &'static str,
        /// What it printed.
        output: String,
    },
    /// The sources or the jar could not be written or read.
    #[error("could not build the bootstrap's jar")]
    Io(#[from] io::Error),
}

/// The folder in `cache` with the bootstrap's jar and the rehearsal's package, built with the JDK among
/// `interpreters` unless it is there.
pub fn build(
    interpreters: &[&Interpreter],
    cache: &Path,
    tools: &ToolEnvironment,
) -> Result<PathBuf, BuildError> {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for (name, text) in SOURCES.iter().chain(REHEARSAL) {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    hash.update(MANIFEST.as_bytes());
    fs::create_dir_all(cache)?;
    let built = cache.join(format!("built-{}", &hex::encode(hash.finish())[..16]));
    if built.is_dir() {
        return Ok(built);
    }
    // The oldest JDK, so that the class files run on all of them whatever `--release` it knows.
    let mut homes: Vec<_> = interpreters
        .iter()
        .filter_map(|i| Some((i.version, i.java_home.as_ref()?)))
        .collect();
    homes.sort();
    let home = homes
        .iter()
        .map(|(_, home)| home)
        .find(|home| home.join("bin/javac").is_file() && home.join("bin/jar").is_file())
        .ok_or(BuildError::NoCompiler)?;
    let work = tempfile::tempdir_in(cache)?;
    let made = work.path().join("made");
    let classes = work.path().join("classes");
    compile(home, tools, SOURCES, &work.path().join("src"), &classes)?;
    // In the manifest rather than as flags of the command: those would keep the JVM from using the
    // module graph of its class-data archive.
    let manifest = work.path().join("manifest");
    fs::write(&manifest, MANIFEST)?;
    fs::create_dir_all(&made)?;
    let jar = made.join("freehold-runtime.jar");
    let own = |pack: &mut Command| {
        pack.arg("--no-compress").arg("--manifest").arg(&manifest);
        pack.arg("-C").arg(&classes).arg(".");
    };
    pack(home, tools, &jar, own)?;

    let package = made.join("rehearsal");
    let from = work.path().join("rehearsal");
    compile(home, tools, REHEARSAL, &from, &package)?;
    fs::create_dir_all(package.join("lib"))?;
    let interfaces = |pack: &mut Command| {
        pack.arg("-C").arg(&package).arg("com");
    };
    pack(home, tools, &package.join("lib/interfaces.jar"), interfaces)?;
    fs::remove_dir_all(package.join("com"))?;
    match fs::rename(&made, &built) {
        // Somebody else made the same meanwhile.
        Err(_) if built.is_dir() => Ok(built),
        renamed => Ok(renamed.map(|()| built)?),
    }
}

fn compile(
    home: &Path,
    tools: &ToolEnvironment,
    sources: &[(&str, &str)],
    from: &Path,
    to: &Path,
) -> Result<(), BuildError> {
    let mut compile = tools.tool(home.join("bin/javac"));
    compile
        .args(["--release", "17", "-proc:none", "-encoding", "UTF-8"])
        .args(["-nowarn", "-g:source,lines", "-d"])
        .arg(to);
    for (name, text) in sources {
        let path = from.join(name);
        fs::create_dir_all(path.parent().unwrap_or(from))?;
        fs::write(&path, text)?;
        compile.arg(path);
    }
    run("javac", &mut compile)
}

fn pack(
    home: &Path,
    tools: &ToolEnvironment,
    jar: &Path,
    what: impl FnOnce(&mut Command),
) -> Result<(), BuildError> {
    let mut pack = tools.tool(home.join("bin/jar"));
    // A fixed date: the jar is part of the tree, and its digest follows from content alone.
    pack.args(["--create", "--date=2020-01-01T00:00:00Z", "--file"])
        .arg(jar);
    what(&mut pack);
    run("jar", &mut pack)
}

fn run(name: &'static str, command: &mut Command) -> Result<(), BuildError> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat())
        .chars()
        .take(2000)
        .collect();
    Err(BuildError::Tool { tool: name, output })
}

/// Our own files.
pub fn sources() -> impl Iterator<Item = &'static str> {
    let built = SOURCES.iter().chain(REHEARSAL);
    built.map(|(_, text)| *text).chain([LAUNCHER])
}

/// What is executed.
pub fn argv() -> Vec<String> {
    vec!["/bin/sh".into(), "/var/runtime/bootstrap".into()]
}
