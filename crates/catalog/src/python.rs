//! The tree of a CPython: the interpreter, its standard library (no tests, no site-packages), our
//! bootstrap, boto3 where it was installed, and bytecode for all of it.

use crate::{
    discover::Interpreter,
    plan::{Entry, Plan},
    store::OWN_TIME_S,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, UNIX_EPOCH},
};

const BOOTSTRAP: &[(&str, &str)] = &[
    (
        "bootstrap.py",
        include_str!("../../../runtimes/python/bootstrap.py"),
    ),
    (
        "freehold_runtime/__init__.py",
        include_str!("../../../runtimes/python/freehold_runtime/__init__.py"),
    ),
    (
        "freehold_runtime/ahead.py",
        include_str!("../../../runtimes/python/freehold_runtime/ahead.py"),
    ),
    (
        "freehold_runtime/client.py",
        include_str!("../../../runtimes/python/freehold_runtime/client.py"),
    ),
    (
        "freehold_runtime/codec.py",
        include_str!("../../../runtimes/python/freehold_runtime/codec.py"),
    ),
    (
        "freehold_runtime/context.py",
        include_str!("../../../runtimes/python/freehold_runtime/context.py"),
    ),
    (
        "freehold_runtime/faults.py",
        include_str!("../../../runtimes/python/freehold_runtime/faults.py"),
    ),
    (
        "freehold_runtime/handler.py",
        include_str!("../../../runtimes/python/freehold_runtime/handler.py"),
    ),
    (
        "freehold_runtime/logs.py",
        include_str!("../../../runtimes/python/freehold_runtime/logs.py"),
    ),
    (
        "freehold_runtime/loop.py",
        include_str!("../../../runtimes/python/freehold_runtime/loop.py"),
    ),
    (
        "freehold_runtime/output.py",
        include_str!("../../../runtimes/python/freehold_runtime/output.py"),
    ),
    (
        "freehold_runtime/trace.py",
        include_str!("../../../runtimes/python/freehold_runtime/trace.py"),
    ),
    (
        "freehold_runtime/begin.py",
        include_str!("../../../runtimes/python/freehold_runtime/begin.py"),
    ),
    (
        "freehold_runtime/frames.py",
        include_str!("../../../runtimes/python/freehold_runtime/frames.py"),
    ),
    (
        "freehold_runtime/fresh.py",
        include_str!("../../../runtimes/python/freehold_runtime/fresh.py"),
    ),
    (
        "freehold_runtime/image.py",
        include_str!("../../../runtimes/python/freehold_runtime/image.py"),
    ),
    (
        "freehold_runtime/recorder.py",
        include_str!("../../../runtimes/python/freehold_runtime/recorder.py"),
    ),
    (
        "freehold_runtime/rehearsal.py",
        include_str!("../../../runtimes/python/freehold_runtime/rehearsal.py"),
    ),
    (
        "freehold_runtime/rehearsed.py",
        include_str!("../../../runtimes/python/freehold_runtime/rehearsed.py"),
    ),
    (
        "snapshot_restore_py.py",
        include_str!("../../../runtimes/python/snapshot_restore_py.py"),
    ),
];

/// Asks an interpreter who it is: seven texts with a zero byte between two of them. Works from 3.6 on.
/// Every start asks every interpreter; `json` would take a third of their time.
pub const PROBE: &str = r#"
import os, sys, sysconfig
sys.stdout.write("\0".join([
    sys.implementation.name,
    "%d.%d.%d" % sys.version_info[:3],
    os.path.realpath(sys.executable),
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("platstdlib"),
    getattr(sys, "platlibdir", "lib"),
    sys.implementation.cache_tag,
]))
"#;

/// Compiles `source \0 output \0 guest path` lines from standard input.
const COMPILE: &str = r#"
import os, py_compile, sys
for line in sys.stdin.read().splitlines():
    source, output, shown = line.split("\0")
    try:
        py_compile.compile(source, cfile=output, dfile=shown, doraise=True)
    except (py_compile.PyCompileError, ValueError, SyntaxError):
        pass
"#;

/// Where an interpreter keeps its standard library.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PythonHome {
    /// Pure modules.
    pub stdlib: PathBuf,
    /// Compiled modules; the same folder but on Fedora and its kin.
    pub platstdlib: PathBuf,
    /// `lib` or `lib64`.
    pub library_folder: String,
    /// `cpython-311`.
    pub cache_tag: String,
}

/// Adds everything but bytecode that the host does not have; see [`add_bytecode`].
pub fn add(
    plan: &mut Plan,
    interpreter: &Interpreter,
    home: &PythonHome,
    sdk: Option<&Path>,
) -> io::Result<()> {
    // After the version, since that is where the interpreter itself looks: configuration may have
    // given it another name.
    let name = &format!("python{}.{}", interpreter.version.0, interpreter.version.1);
    plan.file(&format!("/var/lang/bin/{name}"), &interpreter.executable)?;
    for link in ["python3", "python"] {
        plan.put(&format!("/var/lang/bin/{link}"), Entry::Link(name.clone()));
    }
    let tag = home.cache_tag.clone();
    let leave_out = move |below: &Path| is_left_out(below, &tag);
    plan.folder(&format!("/var/lang/lib/{name}"), &home.stdlib, &leave_out)?;
    if home.platstdlib != home.stdlib {
        let at = format!("/var/lang/{}/{name}", home.library_folder);
        plan.folder(&at, &home.platstdlib, &leave_out)?;
    }
    for (file, text) in BOOTSTRAP {
        plan.own(&format!("/var/runtime/{file}"), *text, false);
    }
    if let Some(sdk) = sdk {
        let tag = home.cache_tag.clone();
        let not_wanted =
            move |below: &Path| below.starts_with("bin") || is_other_bytecode(below, &tag);
        plan.folder("/var/runtime", sdk, &not_wanted)?;
    }
    Ok(())
}

fn is_left_out(below: &Path, tag: &str) -> bool {
    const FOLDERS: &[&str] = &[
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "tkinter",
        "turtledemo",
        "ensurepip",
        "pydoc_data",
        "idle_test",
    ];
    const MODULES: &[&str] = &[
        "_test",
        "_ctypes_test",
        "_tkinter",
        "_xxtestfuzz",
        "xxlimited",
        "turtle.py",
        "sitecustomize.py",
        "EXTERNALLY-MANAGED",
    ];
    let name = below
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let is_top = below.components().count() == 1;
    FOLDERS.contains(&name)
        || MODULES.iter().any(|m| name.starts_with(m))
        || (is_top && name.starts_with("config-"))
        || name.ends_with(".a")
        || name.ends_with(".exe")
        || is_other_bytecode(below, tag)
}

/// Bytecode of another version or of an optimised build.
fn is_other_bytecode(below: &Path, tag: &str) -> bool {
    let name = below
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    name.ends_with(".pyc") && !name.ends_with(&format!(".{tag}.pyc"))
}

/// Makes the bytecode that the plan's modules lack: without it each start would compile them anew,
/// since the tree is read-only (`import json, logging` then takes 158 ms instead of 37, measured on a
/// busy machine).
pub fn add_bytecode(
    plan: &mut Plan,
    interpreter: &Interpreter,
    home: &PythonHome,
) -> io::Result<()> {
    let scratch = tempfile::tempdir()?;
    let mut request = Vec::new();
    let mut outputs: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (at, entry) in &plan.entries {
        let Some(bytecode) =
            bytecode_path(at, &home.cache_tag).filter(|b| !plan.entries.contains_key(b))
        else {
            continue;
        };
        let number = outputs.len();
        let source = match entry {
            Entry::Copy { source, .. } => source.clone(),
            Entry::Own { content, .. } => {
                let path = scratch.path().join(format!("{number}.py"));
                fs::write(&path, content)?;
                let time = UNIX_EPOCH + Duration::from_secs(OWN_TIME_S as u64);
                fs::File::options()
                    .write(true)
                    .open(&path)?
                    .set_modified(time)?;
                path
            }
            _ => continue,
        };
        let output = scratch.path().join(format!("{number}.pyc"));
        writeln!(request, "{}\0{}\0{at}", source.display(), output.display())?;
        outputs.insert(bytecode, output);
    }
    if outputs.is_empty() {
        return Ok(());
    }
    let list = scratch.path().join("list");
    fs::write(&list, &request)?;
    // `-I` keeps the environment's PYTHON* and the working directory out of it.
    let status = Command::new(&interpreter.executable)
        .args(["-I", "-S", "-B", "-c", COMPILE])
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::from(fs::File::open(&list)?))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!(
            "{} could not compile its modules: {status}",
            interpreter.executable.display()
        )));
    }
    for (at, output) in outputs {
        // A module that is no valid source for this version has no bytecode anywhere.
        if let Ok(content) = fs::read(output) {
            plan.own(&at, content, false);
        }
    }
    Ok(())
}

/// `/a/b.py` → `/a/__pycache__/b.cpython-311.pyc`.
fn bytecode_path(at: &str, tag: &str) -> Option<String> {
    let (folder, file) = at.strip_suffix(".py")?.rsplit_once('/')?;
    (file != "bootstrap").then(|| format!("{folder}/__pycache__/{file}.{tag}.pyc"))
}

/// Our own files.
pub fn sources() -> impl Iterator<Item = &'static str> {
    BOOTSTRAP.iter().map(|(_, text)| *text)
}

/// What is executed. No `site`: it costs 5 ms and there are no site-packages; output unbuffered, so
/// that nothing printed is lost in a kill.
pub fn argv(name: &str) -> Vec<String> {
    vec![
        format!("/var/lang/bin/{name}"),
        "-S".into(),
        "-u".into(),
        "/var/runtime/bootstrap.py".into(),
    ]
}

/// The environment of Python beyond what every runtime has.
pub fn environment() -> Vec<(String, String)> {
    [
        ("PYTHONPATH", "/var/runtime"),
        ("PWD", "/var/task"),
        ("SHLVL", "0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_site_packages_stay_outside() {
        let check = |below: &str, expected: bool| {
            assert_eq!(
                is_left_out(Path::new(below), "cpython-311"),
                expected,
                "{below}"
            )
        };
        for out in [
            "site-packages",
            "dist-packages",
            "test",
            "unittest/test",
            "lib-dynload/_tkinter.so",
            "config-3.11-x86_64-linux-gnu",
            "__pycache__/os.cpython-311.opt-1.pyc",
            "__pycache__/os.cpython-39.pyc",
        ] {
            check(out, true);
        }
        for kept in [
            "os.py",
            "json",
            "configparser.py",
            "__pycache__/os.cpython-311.pyc",
            "unittest/case.py",
            "lib-dynload/_ssl.so",
        ] {
            check(kept, false);
        }
    }

    #[test]
    fn bytecode_lies_where_python_looks() {
        assert_eq!(
            bytecode_path("/var/lang/lib/python3.11/os.py", "cpython-311").as_deref(),
            Some("/var/lang/lib/python3.11/__pycache__/os.cpython-311.pyc")
        );
        assert_eq!(
            bytecode_path("/var/lang/lib/python3.11/os.pyc", "cpython-311"),
            None
        );
    }
}
