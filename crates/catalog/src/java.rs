//! The tree of a Java: the virtual machine, its modules, and our bootstrap as a jar.
//!
//! The bootstrap is compiled from its sources by the machine's own `javac`, so nothing binary is
//! checked in and the server builds without a JDK.

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

/// Adds the virtual machine and the bootstrap.
pub fn add(plan: &mut Plan, home: &Path, jar: &Path) -> io::Result<()> {
    plan.file("/var/lang/bin/java", &home.join("bin/java"))?;
    plan.folder("/var/lang/lib", &home.join("lib"), &is_left_out)?;
    plan.folder("/var/lang/conf", &home.join("conf"), &|_| false)?;
    plan.file("/var/lang/release", &home.join("release"))?;
    plan.file("/var/runtime/lib/freehold-runtime.jar", jar)?;
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
pub enum JarError {
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

/// The bootstrap's jar in `cache`, built with the JDK among `interpreters` unless it is there.
pub fn jar(
    interpreters: &[&Interpreter],
    cache: &Path,
    tools: &ToolEnvironment,
) -> Result<PathBuf, JarError> {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for (name, text) in SOURCES {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    hash.update(MANIFEST.as_bytes());
    fs::create_dir_all(cache)?;
    let jar = cache.join(format!(
        "freehold-runtime-{}.jar",
        &hex::encode(hash.finish())[..16]
    ));
    if jar.is_file() {
        return Ok(jar);
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
        .ok_or(JarError::NoCompiler)?;
    let work = tempfile::tempdir()?;
    let classes = work.path().join("classes");
    let mut compile = tools.tool(home.join("bin/javac"));
    compile
        .args([
            "--release",
            "17",
            "-proc:none",
            "-encoding",
            "UTF-8",
            "-nowarn",
            "-g:source,lines",
            "-d",
        ])
        .arg(&classes);
    for (name, text) in SOURCES {
        let path = work.path().join(name);
        fs::write(&path, text)?;
        compile.arg(path);
    }
    run("javac", &mut compile)?;
    let partial = work.path().join("made.jar");
    // A fixed date: the jar is part of the tree, and its digest follows from content alone.
    let mut pack = tools.tool(home.join("bin/jar"));
    pack.args([
        "--create",
        "--no-compress",
        "--date=2020-01-01T00:00:00Z",
        "--file",
    ])
    .arg(&partial);
    // In the manifest rather than as flags of the command: those would keep the JVM from using the
    // module graph of its class-data archive.
    let manifest = work.path().join("manifest");
    fs::write(&manifest, MANIFEST)?;
    pack.arg("--manifest").arg(&manifest);
    pack.arg("-C").arg(&classes).arg(".");
    run("jar", &mut pack)?;
    fs::copy(&partial, jar.with_extension("partial"))?;
    fs::rename(jar.with_extension("partial"), &jar)?;
    Ok(jar)
}

fn run(name: &'static str, command: &mut Command) -> Result<(), JarError> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat())
        .chars()
        .take(2000)
        .collect();
    Err(JarError::Tool { tool: name, output })
}

/// Our own files.
pub fn sources() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|(_, text)| *text).chain([LAUNCHER])
}

/// What is executed.
pub fn argv() -> Vec<String> {
    vec!["/bin/sh".into(), "/var/runtime/bootstrap".into()]
}
