//! From sources to what goes into the package: dependencies installed, code compiled.
//!
//! Tools run on a scratch copy (Cargo and Go, which keep their outputs apart, on the folder
//! itself) and get an environment of names that are known to be harmless: dependencies' install
//! scripts see no key of AWS, no token, nothing that this shell happened to carry.

use super::{
    package::{Ignore, copy, file},
    project::{Language, Project, WASM_FILE, version_of},
};
use crate::cli::Failure;
use freehold_catalog::ToolEnvironment;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Lines of a failed tool's output that are shown.
const SHOWN_LINES: usize = 25;
/// Builds `folder` in `scratch`; says where the package's contents are.
pub fn build(
    folder: &Path,
    project: &Project,
    architecture: &str,
    scratch: &Path,
) -> Result<(PathBuf, Ignore), Failure> {
    let out = scratch.join("package");
    fs::create_dir(&out).map_err(file("make", &out))?;
    match project.language {
        Language::Custom => {
            copy(folder, &out, &Ignore::read(folder, &[])?)?;
            make_executable(&out.join("bootstrap"))?;
        }
        Language::Wasm => copy(folder, &out, &Ignore::read(folder, &[])?)?,
        Language::RustWasm => rust_wasm(folder, &out)?,
        Language::GoWasm => go(folder, "wasip1", "wasm", &out.join(WASM_FILE))?,
        Language::Python => {
            copy(folder, &out, &Ignore::read(folder, &[])?)?;
            python(&out, &project.runtime)?;
        }
        Language::Node => {
            let declares = declares_dependencies(folder)?;
            let ignore = Ignore::read(folder, if declares { &["node_modules"] } else { &[] })?;
            copy(folder, &out, &ignore)?;
            if declares {
                node(&out)?;
            }
        }
        // Built already: classes, or jars below lib/.
        Language::Java if !folder.join("pom.xml").is_file() => {
            copy(folder, &out, &Ignore::read(folder, &[])?)?;
        }
        Language::Java => java(folder, scratch, &out)?,
        Language::Rust => rust(folder, architecture, &out)?,
        Language::Go => {
            let processor = match machine(architecture) {
                "aarch64" => "arm64",
                _ => "amd64",
            };
            go(folder, "linux", processor, &out.join("bootstrap"))?;
        }
    }
    // What tools put there is wanted, but for their caches.
    let ignore = match project.language {
        Language::Python | Language::Node => Ignore::read(&out, &[])?,
        _ => Ignore::default(),
    };
    Ok((out, ignore))
}

fn python(out: &Path, runtime: &str) -> Result<(), Failure> {
    if !out.join("requirements.txt").is_file() {
        return Ok(());
    }
    let wanted = runtime.trim_start_matches("python");
    let fits = |program: &str| {
        version_of(program, "--version")
            .is_ok_and(|version| version.starts_with(&format!("{wanted}.")))
    };
    let exact = interpreters(wanted)
        .into_iter()
        .find(|program| fits(program));
    let program = exact.clone().unwrap_or_else(|| "python3".to_owned());
    let mut pip = tool(&program, out);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
        "--upgrade",
        "--target",
        ".",
    ]);
    if exact.is_none() {
        // Another Python can fetch wheels for the wanted one, but must not build from source.
        pip.args([
            "--python-version",
            wanted,
            "--implementation",
            "cp",
            "--only-binary=:all:",
        ]);
    }
    pip.args(["-r", "requirements.txt"]);
    run(
        pip,
        "pip install",
        "install pip for this Python (apt-get install python3-pip), or correct requirements.txt",
    )?;
    // Entry points name the interpreter of this machine and differ from one to the next.
    match fs::remove_dir_all(out.join("bin")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(file("remove", &out.join("bin"))(error))
        }
        _ => Ok(()),
    }
}

/// Where a Python of that version may be: on the path, or among pyenv's.
fn interpreters(version: &str) -> Vec<String> {
    let mut found = vec![format!("python{version}"), "python3".to_owned()];
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    for entry in versions.into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("{version}."))
        {
            found.push(entry.path().join("bin/python3").display().to_string());
        }
    }
    found
}

fn declares_dependencies(folder: &Path) -> Result<bool, Failure> {
    let path = folder.join("package.json");
    let Ok(text) = fs::read(&path) else {
        return Ok(false);
    };
    let package: serde_json::Value = serde_json::from_slice(&text).map_err(|error| {
        Failure::usage(
            format!("{}: {error}", path.display()),
            "correct it; npm could not read it either",
        )
    })?;
    Ok(package["dependencies"]
        .as_object()
        .is_some_and(|all| !all.is_empty()))
}

fn node(out: &Path) -> Result<(), Failure> {
    let mut npm = tool("npm", out);
    let locked = out.join("package-lock.json").is_file();
    npm.arg(if locked { "ci" } else { "install" });
    npm.args(["--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(
        npm,
        "npm",
        "install Node.js with npm, or correct package.json",
    )?;
    // npm's note of when it installed what differs each time.
    let _ = fs::remove_file(out.join("node_modules/.package-lock.json"));
    Ok(())
}

fn java(folder: &Path, scratch: &Path, out: &Path) -> Result<(), Failure> {
    let source = scratch.join("source");
    fs::create_dir(&source).map_err(file("make", &source))?;
    copy(folder, &source, &Ignore::read(folder, &["target"])?)?;
    let mut maven = tool("mvn", &source);
    maven.args(["-q", "-B", "-Dstyle.color=never", "-DskipTests", "package"]);
    run(
        maven,
        "mvn package",
        "install Maven and a JDK, or correct pom.xml",
    )?;
    let target = source.join("target");
    if let Some(jar) = shaded_jar(&target)? {
        return expand(&jar, out);
    }
    copy(&target.join("classes"), out, &Ignore::default())?;
    let mut maven = tool("mvn", &source);
    maven.args([
        "-q",
        "-B",
        "-Dstyle.color=never",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
    ]);
    maven.arg(format!("-DoutputDirectory={}", out.join("lib").display()));
    run(
        maven,
        "mvn dependency:copy-dependencies",
        "correct the dependencies of pom.xml",
    )
}

/// A jar with everything in it: the shade plugin leaves `original-NAME.jar` beside its own.
fn shaded_jar(target: &Path) -> Result<Option<PathBuf>, Failure> {
    let entries = fs::read_dir(target).map_err(file("read", target))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".jar"))
        .collect();
    names.sort();
    let assembled = |name: &&String| {
        name.ends_with("-jar-with-dependencies.jar")
            || name.ends_with("-shaded.jar")
            || names.contains(&format!("original-{name}"))
    };
    Ok(names.iter().find(assembled).map(|name| target.join(name)))
}

fn expand(jar: &Path, out: &Path) -> Result<(), Failure> {
    let bad = |error: zip::result::ZipError| file("unpack", jar)(io::Error::other(error));
    let opened = fs::File::open(jar).map_err(file("open", jar))?;
    let mut archive = zip::ZipArchive::new(opened).map_err(bad)?;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(bad)?;
        let Some(name) = entry.enclosed_name() else {
            continue;
        };
        let path = out.join(name);
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(file("make", &path))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(file("make", parent))?;
        }
        let mut written = fs::File::create(&path).map_err(file("write", &path))?;
        io::copy(&mut entry, &mut written).map_err(file("write", &path))?;
    }
    Ok(())
}

fn rust(folder: &Path, architecture: &str, out: &Path) -> Result<(), Failure> {
    let machine = machine(architecture);
    let musl = format!("{machine}-unknown-linux-musl");
    let installed = has_rust_target(folder, &musl);
    let target = cache_for(folder)?;
    let mut cargo = tool("cargo", folder);
    cargo.args(["build", "--release", "--quiet", "--message-format=json"]);
    cargo.env("CARGO_TARGET_DIR", &target);
    if installed {
        cargo.args(["--target", &musl]);
    } else if machine != std::env::consts::ARCH {
        return Err(Failure::usage(
            format!("this machine cannot build Rust for {machine}"),
            format!("rustup target add {musl}"),
        ));
    }
    let messages = output(
        cargo,
        "cargo build",
        "correct the code; `cargo build --release` shows the errors",
    )?;
    let mut binaries: Vec<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    binaries.sort();
    let named = binaries.iter().find(|path| path.ends_with("bootstrap"));
    let binary = match (named, binaries.as_slice()) {
        (Some(one), _) => one,
        (None, [one]) => one,
        (None, several) => {
            return Err(Failure::usage(
                format!(
                    "the package builds {} programs, and none is called bootstrap",
                    several.len()
                ),
                "call the function's binary bootstrap: [[bin]] name = \"bootstrap\"",
            ));
        }
    };
    let to = out.join("bootstrap");
    fs::copy(binary, &to).map_err(file("copy", binary))?;
    make_executable(&to)
}

/// Targets that make WebAssembly for this platform, the better one first.
const WASM_TARGETS: &[&str] = &["wasm32-wasip2", "wasm32-wasip1"];

/// The package's one program or library, as [`WASM_FILE`].
fn rust_wasm(folder: &Path, out: &Path) -> Result<(), Failure> {
    let mut targets = WASM_TARGETS.iter();
    let Some(target) = targets.find(|target| has_rust_target(folder, target)) else {
        return Err(Failure::usage(
            "this machine cannot build Rust for WebAssembly",
            format!("rustup target add {}", WASM_TARGETS[0]),
        ));
    };
    let mut cargo = tool("cargo", folder);
    cargo.args(["build", "--release", "--quiet", "--message-format=json"]);
    cargo.args(["--target", target]);
    cargo.env("CARGO_TARGET_DIR", cache_for(folder)?);
    let messages = output(
        cargo,
        "cargo build",
        "correct the code; `cargo build --release` shows the errors",
    )?;
    let mut modules: Vec<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .filter(|path| path.extension().is_some_and(|kind| kind == "wasm"))
        .collect();
    modules.sort();
    modules.dedup();
    let [module] = modules.as_slice() else {
        return Err(Failure::usage(
            format!("the package builds {} modules", modules.len()),
            "a function is one program (src/main.rs), or one library of crate-type cdylib",
        ));
    };
    let to = out.join(WASM_FILE);
    fs::copy(module, &to).map_err(file("copy", module))?;
    Ok(())
}

/// Whether the machine's Rust can build for `target`.
fn has_rust_target(folder: &Path, target: &str) -> bool {
    tool("rustc", folder)
        .args(["--print", "target-libdir", "--target", target])
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|done| done.status.success())
        .is_some_and(|done| Path::new(String::from_utf8_lossy(&done.stdout).trim()).is_dir())
}

fn go(folder: &Path, system: &str, processor: &str, out: &Path) -> Result<(), Failure> {
    let mut go = tool("go", folder);
    go.env("CGO_ENABLED", "0").env("GOOS", system);
    go.env("GOARCH", processor);
    go.args([
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-tags",
        "lambda.norpc",
        "-ldflags=-s -w",
        "-o",
    ]);
    go.arg(out).arg(".");
    run(
        go,
        "go build",
        "install Go, or correct the code; `go build` shows the errors",
    )
}

fn machine(architecture: &str) -> &str {
    if architecture == "arm64" {
        "aarch64"
    } else {
        "x86_64"
    }
}

/// A folder for Cargo's outputs, outside the sources and the same each time.
fn cache_for(folder: &Path) -> Result<PathBuf, Failure> {
    let folder = folder.canonicalize().map_err(file("find", folder))?;
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    let hash = freehold_identity::sigv4::sha256_hex(folder.as_os_str().as_encoded_bytes());
    Ok(base.join("freehold/deploy").join(&hash[..16]))
}

fn make_executable(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(file("change", path))
}

/// A program that runs in `folder` and sees the allowed variables only.
fn tool(program: &str, folder: &Path) -> Command {
    let mut command = ToolEnvironment::of(std::env::vars_os()).tool(program);
    command.current_dir(folder);
    command
}

fn run(command: Command, what: &str, remedy: &str) -> Result<(), Failure> {
    output(command, what, remedy).map(drop)
}

fn output(mut command: Command, what: &str, remedy: &str) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|error| Failure::Build {
        command: what.to_owned(),
        status: format!("{program}: {error}"),
        output: String::new(),
        remedy: remedy.to_owned(),
    })?;
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&done.stderr);
    // Cargo's machine messages are not for people.
    let lines = stdout
        .lines()
        .filter(|line| !line.starts_with('{'))
        .chain(stderr.lines());
    let lines: Vec<_> = lines.map(crate::cli::text::escape).collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    Err(Failure::Build {
        command: what.to_owned(),
        status: done.status.to_string(),
        output: lines[from..].join("\n"),
        remedy: remedy.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_tool_is_shown_with_its_words() {
        let mut command = tool("sh", Path::new("/"));
        command.args(["-c", "echo \"why [$AWS_ACCESS_KEY_ID]\" >&2; exit 3"]);
        let failure = run(command, "the tool", "mend it").unwrap_err();
        assert!(failure.to_string().contains("why []"), "{failure}");
        assert_eq!(failure.code(), crate::cli::EXIT_FUNCTION);
        let none = run(tool("no-such-program-at-all", Path::new("/")), "x", "y").unwrap_err();
        assert!(none.to_string().contains("no-such-program-at-all"));
    }

    #[test]
    fn a_custom_runtime_is_packed_executable() {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("bootstrap"), "#!/bin/sh\n").unwrap();
        let project = Project {
            language: Language::Custom,
            runtime: "provided.al2023".into(),
            handler: "bootstrap".into(),
        };
        let (out, _) = build(folder.path(), &project, "x86_64", scratch.path()).unwrap();
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(out.join("bootstrap"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111);
    }
}
