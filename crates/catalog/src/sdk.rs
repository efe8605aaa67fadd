//! The AWS SDKs that Lambda's managed runtimes carry: boto3 and the AWS SDK for JavaScript v3, pinned
//! by content, fetched once into `<data>/sdk` by `pip` and `npm`. The next [`crate::assemble`] puts
//! them into the trees, at `/var/runtime`, after the function's own path.
//!
//! Without network functions start without them; that is reported, not an error of the platform.

use crate::{
    catalog::Problem,
    discover::{Discovery, Interpreter, Version},
    store,
    tools::ToolEnvironment,
};
use freehold_domain::runtime::RuntimeFamily;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Which pins a version of Python takes: (first minor version of 3, the file).
const PYTHON_PINS: &[(u32, &str, &str)] = &[
    (
        10,
        "python3.10",
        include_str!("../../../runtimes/python/sdk/python3.10.txt"),
    ),
    (
        9,
        "python3.9",
        include_str!("../../../runtimes/python/sdk/python3.9.txt"),
    ),
    (
        8,
        "python3.8",
        include_str!("../../../runtimes/python/sdk/python3.8.txt"),
    ),
    (
        7,
        "python3.7",
        include_str!("../../../runtimes/python/sdk/python3.7.txt"),
    ),
    (
        6,
        "python3.6",
        include_str!("../../../runtimes/python/sdk/python3.6.txt"),
    ),
];
const NODE_PACKAGE: &str = include_str!("../../../runtimes/nodejs/sdk/package.json");
const NODE_LOCK: &str = include_str!("../../../runtimes/nodejs/sdk/package-lock.json");
/// Written last into a finished folder; its content is what was installed.
const FINISHED: &str = ".freehold-pins";

/// What [`install_sdks`] did.
#[derive(Debug, Clone, Default)]
pub struct SdkReport {
    /// Folders that are there now, with what was installed into them.
    pub installed: Vec<PathBuf>,
    /// Folders that were there already.
    pub present: Vec<PathBuf>,
    /// What could not be fetched, and the remedy.
    pub problems: Vec<Problem>,
}

/// Why nothing could be installed at all.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// The folder cannot be written.
    #[error("could not prepare {}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Installs what the found interpreters can use and what is not there yet.
pub fn install_sdks(found: &Discovery, data: &Path) -> Result<SdkReport, SdkError> {
    let mut report = SdkReport::default();
    let wanted: BTreeSet<_> = found
        .interpreters
        .values()
        .filter_map(|i| python_pins(i.version, i.family))
        .collect();
    for (_, name, pins) in wanted {
        let at = data.join("sdk/python").join(name);
        let done = install_into(&at, pins, |partial| pip(found, name, pins, partial));
        note(&mut report, at, done)?;
    }
    if let Some(node) = found
        .interpreters
        .values()
        .find(|i| i.family == RuntimeFamily::Node)
    {
        let at = data.join("sdk/nodejs");
        let done = install_into(&at, NODE_LOCK, |partial| npm(&found.tools, node, partial));
        note(&mut report, at, done)?;
    }
    Ok(report)
}

/// The finished SDK folder for `interpreter`, if it was installed.
pub fn installed(interpreter: &Interpreter, data: &Path) -> Option<PathBuf> {
    let (at, pins, inside) = match interpreter.family {
        RuntimeFamily::Python => {
            let (_, name, pins) = python_pins(interpreter.version, interpreter.family)?;
            (data.join("sdk/python").join(name), *pins, "")
        }
        RuntimeFamily::Node => (data.join("sdk/nodejs"), NODE_LOCK, "node_modules"),
        _ => return None,
    };
    is_finished(&at, pins).then(|| {
        if inside.is_empty() {
            at
        } else {
            at.join(inside)
        }
    })
}

fn python_pins(
    version: Version,
    family: RuntimeFamily,
) -> Option<&'static (u32, &'static str, &'static str)> {
    if family != RuntimeFamily::Python {
        return None;
    }
    PYTHON_PINS.iter().find(|(minor, ..)| version.1 >= *minor)
}

enum Done {
    Already,
    Now,
    Failed(String),
}

fn note(report: &mut SdkReport, at: PathBuf, done: io::Result<Done>) -> Result<(), SdkError> {
    match done {
        Ok(Done::Already) => report.present.push(at),
        Ok(Done::Now) => report.installed.push(at),
        Ok(Done::Failed(reason)) => report.problems.push(Problem {
            about: at.display().to_string(),
            reason,
            remedy: "functions start without the AWS SDK; with network, pip and npm run `freehold runtimes install`".into(),
        }),
        Err(source) => return Err(SdkError::Folder { path: at, source }),
    }
    Ok(())
}

fn is_finished(at: &Path, pins: &str) -> bool {
    fs::read_to_string(at.join(FINISHED)).is_ok_and(|text| text == pins)
}

fn install_into(
    at: &Path,
    pins: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> io::Result<Done> {
    if is_finished(at, pins) {
        return Ok(Done::Already);
    }
    let partial = at.with_extension("partial");
    for old in [&partial, &at.to_owned()] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir_all(&partial)?;
    if let Err(reason) = install(&partial) {
        fs::remove_dir_all(&partial)?;
        return Ok(Done::Failed(reason));
    }
    store::write_whole(&partial.join(FINISHED), pins.as_bytes())?;
    fs::rename(&partial, at)?;
    Ok(Done::Now)
}

fn pip(found: &Discovery, name: &str, pins: &str, partial: &Path) -> Result<(), String> {
    let minor = name.trim_start_matches("python");
    // Any Python's pip will do, the newest knows most; all that is pinned is pure Python.
    let mut pythons: Vec<_> = found
        .interpreters
        .values()
        .filter(|i| i.family == RuntimeFamily::Python)
        .collect();
    pythons.sort_by_key(|i| std::cmp::Reverse(i.version));
    let has_pip = |i: &&Interpreter| {
        let mut ask = found.tools.tool(&i.executable);
        ask.args(["-I", "-m", "pip", "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        ask.status().is_ok_and(|status| status.success())
    };
    let python = pythons
        .into_iter()
        .find(has_pip)
        .ok_or("no Python has pip: apt-get install python3-pip")?;
    let list = partial.join("requirements.txt");
    fs::write(&list, pins).map_err(|e| e.to_string())?;
    let mut command = found.tools.tool(&python.executable);
    command.args([
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--require-hashes",
        "--only-binary=:all:",
    ]);
    command.args([
        "--disable-pip-version-check",
        "--no-input",
        "--no-warn-script-location",
        "--root-user-action=ignore",
        "--retries",
        "1",
        "--timeout",
        "20",
    ]);
    command
        .args(["--python-version", minor, "--target"])
        .arg(partial)
        .arg("-r")
        .arg(&list);
    run(&mut command)?;
    fs::remove_file(&list).map_err(|e| e.to_string())
}

fn npm(tools: &ToolEnvironment, node: &Interpreter, partial: &Path) -> Result<(), String> {
    let text = |e: io::Error| e.to_string();
    fs::write(partial.join("package.json"), NODE_PACKAGE).map_err(text)?;
    fs::write(partial.join("package-lock.json"), NODE_LOCK).map_err(text)?;
    // npm is a script beside its node; a version manager's is not on PATH.
    let beside = node.executable.with_file_name("npm");
    let mut command = if beside.is_file() {
        let mut command = tools.tool(&node.executable);
        command.arg(fs::canonicalize(&beside).map_err(text)?);
        command
    } else {
        tools.tool("npm")
    };
    command.args([
        "ci",
        "--omit=dev",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--loglevel=error",
    ]);
    command.current_dir(partial);
    run(&mut command)
}

/// Runs a package manager, and tells of a failure with its last line.
fn run(command: &mut Command) -> Result<(), String> {
    let done = command
        .output()
        .map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing");
    Err(format!(
        "{} ended with {}: {}",
        command.get_program().display(),
        done.status,
        last.chars().take(300).collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_python_has_pins_and_every_pin_a_hash() {
        for minor in 6..20 {
            let (_, _, pins) =
                python_pins(Version(3, minor, 0), RuntimeFamily::Python).expect("pinned");
            let lines: Vec<_> = pins.lines().filter(|l| !l.starts_with('#')).collect();
            assert!(lines.iter().any(|l| l.starts_with("boto3==")), "3.{minor}");
            assert!(
                lines
                    .iter()
                    .all(|l| l.contains("==") && l.contains(" --hash=sha256:")),
                "3.{minor}"
            );
        }
    }

    #[test]
    fn a_failed_install_leaves_nothing_and_is_tried_again() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let at = data.path().join("sdk/x");
        assert!(matches!(
            install_into(&at, "pins", |_| Err("no network".into())),
            Ok(Done::Failed(_))
        ));
        assert!(!at.exists() && !at.with_extension("partial").exists());
        assert!(matches!(
            install_into(&at, "pins", |_| Ok(())),
            Ok(Done::Now)
        ));
        assert!(matches!(
            install_into(&at, "pins", |_| Ok(())),
            Ok(Done::Already)
        ));
        assert!(matches!(
            install_into(&at, "other pins", |_| Ok(())),
            Ok(Done::Now)
        ));
    }

    #[test]
    fn package_managers_see_no_variable_that_is_not_known() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A `node` that runs the `npm` beside it, as the real one does.
        std::os::unix::fs::symlink("/bin/sh", folder.path().join("node")).expect("a link");
        fs::write(folder.path().join("npm"), "env > seen\n").expect("a script");
        let node = Interpreter {
            name: "nodejs20.x".into(),
            family: RuntimeFamily::Node,
            version: Version(20, 0, 0),
            executable: folder.path().join("node"),
            python: None,
            java_home: None,
        };
        let partial = tempfile::tempdir().expect("a temporary folder");
        npm(
            &ToolEnvironment::of(std::env::vars_os()),
            &node,
            partial.path(),
        )
        .expect("it ends well");
        let seen = fs::read_to_string(partial.path().join("seen")).expect("it was run");
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert!(!seen.contains("CARGO_MANIFEST_DIR="), "{seen}");
        assert!(seen.contains("PATH="), "{seen}");
    }
}
