//! Which interpreters this machine has. Looks at `PATH`, the usual folders and the version managers
//! (pyenv, nvm, SDKMAN) of the given homes; resolves links; asks each program for its version.
//!
//! Refuses scripts: a shim of a version manager would choose another interpreter by its environment.

use crate::catalog::parse_name;
use crate::python::{self, PythonHome};
use crate::tools::ToolEnvironment;
use freehold_domain::runtime::RuntimeFamily;
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A program that does not answer within this is none of ours.
const PROBE_TIME_LIMIT: Duration = Duration::from_secs(10);
/// More interpreters than this are not asked.
const CANDIDATES_LIMIT: usize = 256;

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct DiscoverOptions {
    /// The folders of `PATH`.
    pub path: Vec<PathBuf>,
    /// Home folders whose version managers count.
    pub homes: Vec<PathBuf>,
    /// `JAVA_HOME`.
    pub java_home: Option<PathBuf>,
    /// Name → program (for Java, its home), from the configuration; goes before what is found.
    pub overrides: BTreeMap<String, PathBuf>,
    /// What tools see of the environment.
    pub tools: ToolEnvironment,
}

/// Major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// `v20.1.2`, `17.0.15+6`, `25`; none for what does not start with a number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let mut numbers = text
            .split(|c: char| !c.is_ascii_digit())
            .map(str::parse::<u32>);
        let first = numbers.next()?.ok()?;
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self(first, next(), next()))
    }
}

/// One interpreter of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its name on the wire, `python3.11`.
    pub name: String,
    /// Which language.
    pub family: RuntimeFamily,
    /// Its own version.
    pub version: Version,
    /// The program, links resolved.
    pub executable: PathBuf,
    /// Where Python keeps its library.
    pub python: Option<PythonHome>,
    /// Java's home, two folders above the program.
    pub java_home: Option<PathBuf>,
}

/// What was looked at and not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// The program.
    pub path: PathBuf,
    /// The runtime that the configuration names it for; nothing else serves that one.
    pub configured_for: Option<String>,
    /// Why not.
    pub reason: String,
}

/// What [`discover`] found: one interpreter per name.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// By name.
    pub interpreters: BTreeMap<String, Interpreter>,
    /// The rest.
    pub passed_over: Vec<PassedOver>,
    /// How the tools of this machine are run.
    pub tools: ToolEnvironment,
}

/// Finds the interpreters. Of two with one name the later version wins, then the earlier place.
pub fn discover(options: &DiscoverOptions) -> Discovery {
    let mut found = Discovery {
        tools: options.tools.clone(),
        ..Discovery::default()
    };
    let mut all: Vec<(usize, Interpreter)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, candidate) in candidates(options)
        .into_iter()
        .take(CANDIDATES_LIMIT)
        .enumerate()
    {
        let Ok(real) = fs::canonicalize(&candidate) else {
            continue;
        };
        if !seen.insert(real.clone()) || !is_program(&real) {
            continue;
        }
        match probe(&real) {
            Ok(interpreter) => all.push((place, interpreter)),
            Err(reason) => found.passed_over.push(PassedOver {
                path: candidate,
                configured_for: None,
                reason,
            }),
        }
    }
    all.sort_by_key(|(place, interpreter)| (Reverse(interpreter.version), *place));
    for (_, interpreter) in all {
        match found.interpreters.get(&interpreter.name) {
            None => {
                found
                    .interpreters
                    .insert(interpreter.name.clone(), interpreter);
            }
            Some(winner) => found.passed_over.push(PassedOver {
                path: interpreter.executable,
                configured_for: None,
                reason: format!(
                    "{} is {} {}",
                    winner.name,
                    winner.executable.display(),
                    winner.version
                ),
            }),
        }
    }
    for (name, path) in &options.overrides {
        let program = if path.join("bin/java").is_file() {
            path.join("bin/java")
        } else {
            path.clone()
        };
        let asked = fs::canonicalize(&program)
            .map_err(|e| e.to_string())
            .and_then(|real| probe(&real))
            .and_then(|interpreter| match parse_name(name) {
                Some((family, _)) if family == interpreter.family => Ok(interpreter),
                _ => Err(format!("it is {}", interpreter.name)),
            });
        match asked {
            Ok(interpreter) => {
                found.interpreters.insert(
                    name.clone(),
                    Interpreter {
                        name: name.clone(),
                        ..interpreter
                    },
                );
            }
            Err(reason) => {
                // What the operator named must not silently become something else.
                found.interpreters.remove(name);
                found.passed_over.push(PassedOver {
                    path: path.clone(),
                    configured_for: Some(name.clone()),
                    reason,
                });
            }
        }
    }
    found
}

fn candidates(options: &DiscoverOptions) -> Vec<PathBuf> {
    let mut folders = options.path.clone();
    folders.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from));
    let mut found = Vec::new();
    for folder in &folders {
        found.extend(
            entries(folder)
                .into_iter()
                .filter(|path| is_interpreter_name(path)),
        );
    }
    for home in &options.homes {
        for (versions, program) in [
            (".pyenv/versions", "bin/python3"),
            (".local/share/uv/python", "bin/python3"),
            (".nvm/versions/node", "bin/node"),
            (".local/share/fnm/node-versions", "installation/bin/node"),
            (".sdkman/candidates/java", "bin/java"),
        ] {
            found.extend(
                entries(&home.join(versions))
                    .into_iter()
                    .map(|version| version.join(program)),
            );
        }
    }
    for (parent, programs) in [
        ("/opt", &["bin/python3", "bin/node", "bin/java"][..]),
        ("/usr/lib/jvm", &["bin/java"][..]),
    ] {
        for home in entries(Path::new(parent)) {
            found.extend(programs.iter().map(|program| home.join(program)));
        }
    }
    found.extend(options.java_home.iter().map(|home| home.join("bin/java")));
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    found.sort();
    found
}

fn is_interpreter_name(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
        return false;
    };
    let minor = name
        .strip_prefix("python3")
        .map(|rest| rest.strip_prefix('.').unwrap_or(rest));
    matches!(name, "node" | "nodejs" | "java")
        || minor.is_some_and(|m| m.bytes().all(|b| b.is_ascii_digit()))
}

fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs::File::open(path).is_ok_and(|mut f| f.read_exact(&mut magic).is_ok()) && &magic == b"\x7fELF"
}

/// Asks `program` (links resolved) what it is.
fn probe(program: &Path) -> Result<Interpreter, String> {
    match program
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default()
    {
        "java" => probe_java(program),
        "node" | "nodejs" => {
            let version = Version::parse(&ask(program, &["--version"])?)
                .ok_or("it did not say its version")?;
            if version.0 < 16 {
                return Err(format!("Node.js {version} is older than 16"));
            }
            Ok(plain(
                format!("nodejs{}.x", version.0),
                RuntimeFamily::Node,
                version,
                program,
            ))
        }
        _ => probe_python(program),
    }
}

fn plain(name: String, family: RuntimeFamily, version: Version, program: &Path) -> Interpreter {
    Interpreter {
        name,
        family,
        version,
        executable: program.to_owned(),
        python: None,
        java_home: None,
    }
}

fn probe_java(program: &Path) -> Result<Interpreter, String> {
    let home = program
        .parent()
        .and_then(Path::parent)
        .ok_or("it has no home folder")?;
    let release = fs::read_to_string(home.join("release"))
        .map_err(|e| format!("{}: {e}", home.join("release").display()))?;
    let version = release
        .lines()
        .find_map(|line| line.strip_prefix("JAVA_VERSION="))
        .and_then(|text| Version::parse(text.trim_matches('"')))
        .ok_or("its release file names no version")?;
    if version.0 < 17 {
        return Err(format!("Java {version} is older than 17"));
    }
    let mut found = plain(
        format!("java{}", version.0),
        RuntimeFamily::Java,
        version,
        program,
    );
    found.java_home = Some(home.to_owned());
    Ok(found)
}

fn probe_python(program: &Path) -> Result<Interpreter, String> {
    let answer = ask(program, &["-I", "-S", "-c", python::PROBE])?;
    let answer: Vec<_> = answer.split('\0').collect();
    let [
        implementation,
        version,
        executable,
        stdlib,
        platstdlib,
        library_folder,
        cache_tag,
    ] = answer[..]
    else {
        return Err(format!("it answered oddly, {} texts", answer.len()));
    };
    let version = Version::parse(version).ok_or("it did not say its version")?;
    if implementation != "cpython" {
        return Err(format!("it is {implementation}, not CPython"));
    }
    if version < Version(3, 6, 0) {
        return Err(format!("Python {version} is older than 3.6"));
    }
    let name = format!("python{}.{}", version.0, version.1);
    let executable = Path::new(executable);
    let mut found = plain(name, RuntimeFamily::Python, version, executable);
    found.python = Some(PythonHome {
        stdlib: stdlib.into(),
        platstdlib: platstdlib.into(),
        library_folder: library_folder.to_owned(),
        cache_tag: cache_tag.to_owned(),
    });
    Ok(found)
}

fn ask(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let text = |e: std::io::Error| e.to_string();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(text)?;
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(text)? {
            break status;
        }
        if asked.elapsed() > PROBE_TIME_LIMIT {
            child
                .kill()
                .and_then(|()| child.wait().map(drop))
                .map_err(text)?;
            return Err(format!(
                "it did not answer within {} s",
                PROBE_TIME_LIMIT.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    if !status.success() {
        return Err(format!("it ended with {status} when asked for its version"));
    }
    let mut answer = String::new();
    if let Some(out) = child.stdout.take() {
        out.take(65536).read_to_string(&mut answer).map_err(text)?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_programs_print_them() {
        let check = |text: &str, expected| assert_eq!(Version::parse(text), expected, "{text}");
        check("v20.20.2\n", Some(Version(20, 20, 2)));
        check("17.0.15", Some(Version(17, 0, 15)));
        check("25", Some(Version(25, 0, 0)));
        check("25-ea", Some(Version(25, 0, 0)));
        check("nonsense", None);
        check("99999999999", None);
    }

    #[test]
    fn only_names_of_interpreters_are_asked() {
        for good in ["python3", "python3.11", "python311", "node", "java"] {
            assert!(is_interpreter_name(Path::new(good)), "{good}");
        }
        for bad in [
            "python",
            "python3-config",
            "python3.11-gdb.py",
            "node-gyp",
            "javac",
            "python2.7",
        ] {
            assert!(!is_interpreter_name(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn a_shim_is_not_an_interpreter_and_an_override_that_fails_takes_its_name_away() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shim = folder.path().join("python3");
        fs::write(&shim, "#!/bin/sh\nexec /bin/echo nothing\n").expect("written");
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("executable");
        let real = discover(&DiscoverOptions {
            path: vec![folder.path().to_owned()],
            ..Default::default()
        });
        assert!(real.interpreters.values().all(|i| i.executable != shim));
        for name in real.interpreters.keys() {
            // Nothing, no program, and the interpreter of another language.
            for path in ["/nonexistent/program", "/etc/passwd", other(&real, name)] {
                let overrides = [(name.clone(), PathBuf::from(path))].into();
                let found = discover(&DiscoverOptions {
                    overrides,
                    ..Default::default()
                });
                assert!(!found.interpreters.contains_key(name), "{path}");
                let is_it = |one: &&PassedOver| one.configured_for.as_ref() == Some(name);
                let told = found.passed_over.iter().find(is_it);
                assert_eq!(told.map(|one| one.path.as_path()), Some(Path::new(path)));
            }
        }
    }

    /// An interpreter of another language than that of `name`; nothing that exists where there is none.
    fn other<'d>(found: &'d Discovery, name: &str) -> &'d str {
        let family = found.interpreters[name].family;
        let mut others = found.interpreters.values();
        let other = others.find(|one| one.family != family);
        other
            .and_then(|one| one.executable.to_str())
            .unwrap_or("/nonexistent/other")
    }
}
