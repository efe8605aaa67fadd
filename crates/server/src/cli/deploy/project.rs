//! What a folder is: its language, runtime and handler, from its files and its `freehold.toml`.
//!
//! Nothing is run here but `--version` of an interpreter. Of several files that may hold the handler
//! the first of a fixed order is taken; several classes or programs are named, and the reader
//! chooses.

use super::package::file;
use crate::cli::Failure;
use freehold_catalog::ToolEnvironment;
use freehold_domain::runtime::WASM_RUNTIME;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Settings of the folder: `freehold.toml`. Unknown keys are refused.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The function's name.
    pub name: Option<String>,
    /// `python3.12`, `nodejs22.x` …
    pub runtime: Option<String>,
    /// As Lambda writes it.
    pub handler: Option<String>,
    /// MB.
    pub memory: Option<u32>,
    /// Seconds.
    pub timeout: Option<u32>,
    /// ARN of the role.
    pub role: Option<String>,
    /// Whom it may reach.
    pub network: Option<String>,
    /// Whether the URL is for everybody.
    pub public: Option<bool>,
    /// Variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// What kind of folder it is, by the file that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A `bootstrap` that is there already.
    Custom,
    /// A WebAssembly module that is there already.
    Wasm,
    /// `Cargo.toml`, built for WebAssembly.
    RustWasm,
    /// `go.mod`, built for WebAssembly.
    GoWasm,
    /// `Cargo.toml`.
    Rust,
    /// `go.mod`.
    Go,
    /// `pom.xml`.
    Java,
    /// `package.json`, or `index.js` and the like.
    Node,
    /// Python files.
    Python,
}

/// A folder, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its language.
    pub language: Language,
    /// Its runtime.
    pub runtime: String,
    /// Its handler.
    pub handler: String,
}

/// The module of a WebAssembly function, unless its handler names another.
pub const WASM_FILE: &str = "function.wasm";
const PYTHON_FILES: &[&str] = &["handler", "lambda_function", "app", "main", "index"];
const PYTHON_NAMES: &[&str] = &["handler", "lambda_handler"];
const NODE_FILES: &[&str] = &[
    "index.mjs",
    "index.js",
    "index.cjs",
    "handler.mjs",
    "handler.js",
    "app.mjs",
    "app.js",
];
/// Below it the bootstrap does not run.
const JAVA_OLDEST: u32 = 17;
/// The releases that Lambda has runtimes for.
const JAVA_OF_LAMBDA: &[u32] = &[17, 21, 25];
/// Java files looked at for a handler.
const JAVA_FILES_MAX: usize = 10_000;

/// Reads the folder's `freehold.toml`, if it has one.
pub fn manifest(folder: &Path) -> Result<Manifest, Failure> {
    let path = folder.join("freehold.toml");
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            Failure::usage(
                format!("{}: {}", path.display(), error.to_string().trim_end()),
                "its keys are name, runtime, handler, memory, timeout, role, network, public and [env]",
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(source) => Err(file("read", &path)(source)),
    }
}

/// Understands a folder; `runtime` and `handler` are used as given where they are.
pub fn detect(
    folder: &Path,
    runtime: Option<String>,
    handler: Option<String>,
) -> Result<Project, Failure> {
    let language = match language_of(folder, runtime.as_deref()) {
        Some(language) => language,
        None => {
            return Err(Failure::usage(
                format!("{} has no function that is recognised", folder.display()),
                "a function is a bootstrap, function.wasm, Cargo.toml, go.mod, pom.xml, package.json or index.js, or a handler.py, lambda_function.py, app.py, main.py or index.py; or say --runtime and --handler",
            ));
        }
    };
    let handler = match handler {
        Some(handler) => handler,
        None => match language {
            Language::Custom | Language::Rust | Language::Go => "bootstrap".into(),
            Language::Wasm => wasm_handler(folder)?,
            Language::RustWasm | Language::GoWasm => WASM_FILE.into(),
            Language::Python => python_handler(folder)?,
            Language::Node => node_handler(folder)?,
            Language::Java => java_handler(folder)?,
        },
    };
    let runtime = match runtime {
        Some(runtime) => runtime,
        None => match language {
            Language::Custom | Language::Rust | Language::Go => "provided.al2023".into(),
            Language::Wasm | Language::RustWasm | Language::GoWasm => WASM_RUNTIME.into(),
            Language::Python => python_runtime(folder)?,
            Language::Node => {
                let version = version_of("node", "--version")?;
                format!("nodejs{}.x", version.split('.').next().unwrap_or_default())
            }
            Language::Java => java_runtime(folder)?,
        },
    };
    Ok(Project {
        language,
        runtime,
        handler,
    })
}

fn language_of(folder: &Path, runtime: Option<&str>) -> Option<Language> {
    let has = |name: &str| folder.join(name).is_file();
    match runtime {
        Some(runtime) if runtime.starts_with("python") => return Some(Language::Python),
        Some(runtime) if runtime.starts_with("nodejs") => return Some(Language::Node),
        Some(runtime) if runtime.starts_with("java") => return Some(Language::Java),
        Some(WASM_RUNTIME) if has("Cargo.toml") => return Some(Language::RustWasm),
        Some(WASM_RUNTIME) if has("go.mod") => return Some(Language::GoWasm),
        Some(WASM_RUNTIME) => return Some(Language::Wasm),
        _ => {}
    }
    if has("bootstrap") {
        Some(Language::Custom)
    } else if has("Cargo.toml") {
        Some(Language::Rust)
    } else if has("go.mod") {
        Some(Language::Go)
    } else if has("pom.xml") {
        Some(Language::Java)
    } else if has("package.json") || NODE_FILES.iter().any(|name| has(name)) {
        Some(Language::Node)
    } else if PYTHON_FILES.iter().any(|name| has(&format!("{name}.py"))) {
        Some(Language::Python)
    } else if has(WASM_FILE) {
        Some(Language::Wasm)
    } else {
        None
    }
}

/// [`WASM_FILE`], else the one module of the folder.
fn wasm_handler(folder: &Path) -> Result<String, Failure> {
    if folder.join(WASM_FILE).is_file() {
        return Ok(WASM_FILE.to_owned());
    }
    let entries = fs::read_dir(folder).map_err(file("read", folder))?;
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<String> = names.filter(|name| name.ends_with(".wasm")).collect();
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(no_handler(
            "function.wasm, or one file that ends in .wasm",
            WASM_FILE,
        )),
    }
}

fn python_handler(folder: &Path) -> Result<String, Failure> {
    for module in PYTHON_FILES {
        let Ok(text) = fs::read_to_string(folder.join(format!("{module}.py"))) else {
            continue;
        };
        for name in PYTHON_NAMES {
            let defines = |line: &str| {
                let rest = line
                    .strip_prefix("def ")
                    .or_else(|| line.strip_prefix("async def "))
                    .unwrap_or(line);
                let rest = rest.strip_prefix(name).map(str::trim_start);
                rest.is_some_and(|rest| {
                    (rest.starts_with('(') && rest.len() != line.len() && line.contains("def "))
                        || (rest.starts_with('=') && !rest.starts_with("=="))
                })
            };
            if text.lines().any(defines) {
                return Ok(format!("{module}.{name}"));
            }
        }
    }
    Err(no_handler(
        "a function `handler` or `lambda_handler` in handler.py, lambda_function.py, app.py, main.py or index.py",
        "app.my_function",
    ))
}

fn node_handler(folder: &Path) -> Result<String, Failure> {
    let main = fs::read(folder.join("package.json"))
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        .and_then(|package| package["main"].as_str().map(str::to_owned));
    let files = main
        .iter()
        .map(String::as_str)
        .chain(NODE_FILES.iter().copied());
    for name in files {
        let name = name.trim_start_matches("./");
        let Ok(text) = fs::read_to_string(folder.join(name)) else {
            continue;
        };
        if exports_handler(&text) {
            let stem = Path::new(name).with_extension("");
            return Ok(format!("{}.handler", stem.display()));
        }
    }
    Err(no_handler(
        "an export `handler` in package.json's main or index.js",
        "app.myFunction",
    ))
}

fn exports_handler(text: &str) -> bool {
    let squeezed: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    [
        "exports.handler =",
        "exports.handler=",
        "export const handler",
        "export let handler",
        "export var handler",
        "export function handler",
        "export async function handler",
        "exports = { handler",
        "exports={handler",
        "export { handler",
        "as handler",
    ]
    .iter()
    .any(|form| squeezed.contains(form))
}

fn java_handler(folder: &Path) -> Result<String, Failure> {
    let pom = fs::read_to_string(folder.join("pom.xml")).unwrap_or_default();
    for property in ["freehold.handler", "lambda.handler"] {
        if let Some(handler) = element(&pom, property) {
            return Ok(handler.to_owned());
        }
    }
    let sources = folder.join("src/main/java");
    let mut found = Vec::new();
    let walk = walkdir::WalkDir::new(&sources).into_iter().flatten();
    let files = walk.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "java"));
    for entry in files.take(JAVA_FILES_MAX) {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let implements = text.contains("implements")
            && (text.contains("RequestHandler") || text.contains("RequestStreamHandler"));
        if implements || text.contains(" handleRequest(") {
            let class = entry.path().strip_prefix(&sources).unwrap_or(entry.path());
            let class = class.with_extension("").to_string_lossy().replace('/', ".");
            found.push(format!("{class}::handleRequest"));
        }
    }
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(no_handler(
            "a class with handleRequest below src/main/java",
            "example.App::handleRequest",
        )),
        several => Err(Failure::usage(
            format!(
                "several classes could be the handler: {}",
                several.join(", ")
            ),
            format!("choose one: --handler {}", several[0]),
        )),
    }
}

fn no_handler(wanted: &str, example: &str) -> Failure {
    Failure::usage(
        format!("no handler was found: looked for {wanted}"),
        format!("name it: --handler {example}, or handler = \"{example}\" in freehold.toml"),
    )
}

/// The version that the folder asks for, else that of the machine's `python3`.
fn python_runtime(folder: &Path) -> Result<String, Failure> {
    let asked = fs::read_to_string(folder.join(".python-version")).unwrap_or_default();
    let version = match asked
        .lines()
        .next()
        .map(str::trim)
        .filter(|v| v.starts_with("3."))
    {
        Some(version) => version.to_owned(),
        None => version_of("python3", "--version")?,
    };
    let mut parts = version.split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => Ok(format!("python{major}.{minor}")),
        _ => Err(Failure::usage(
            format!("{version:?} is no version of Python"),
            "say --runtime python3.12",
        )),
    }
}

/// A runtime for the release that the pom compiles for; without one, the machine's own `java`, which
/// is what compiles.
fn java_runtime(folder: &Path) -> Result<String, Failure> {
    let pom = fs::read_to_string(folder.join("pom.xml")).unwrap_or_default();
    let named = [
        "maven.compiler.release",
        "release",
        "java.version",
        "maven.compiler.target",
        "target",
    ]
    .iter()
    .find_map(|name| element(&pom, name)?.parse::<u32>().ok());
    let release = match named {
        Some(release) => release,
        None => {
            let version = version_of("java", "--version")?;
            let number = version.split(['.', '-', '+']).next();
            match number.and_then(|v| v.parse().ok()) {
                Some(ours @ JAVA_OLDEST..) => return Ok(format!("java{ours}")),
                older => older.unwrap_or(JAVA_OLDEST),
            }
        }
    };
    let options = crate::serve::discover_options(&Default::default());
    let found = freehold_catalog::discover(&options).interpreters;
    let machine = found
        .values()
        .filter(|one| one.java_home.is_some())
        .map(|one| one.version.0)
        .collect();
    Ok(java_name(release, &machine))
}

/// The lowest of Lambda's that runs what was compiled for `release`, of those on this machine if any
/// is; else the lowest that the machine has, whatever its number; else what Lambda would take.
fn java_name(release: u32, machine: &BTreeSet<u32>) -> String {
    let of_lambda = || JAVA_OF_LAMBDA.iter().filter(|name| **name >= release);
    let here = of_lambda().find(|name| machine.contains(name));
    let chosen = here.or_else(|| machine.range(release.max(JAVA_OLDEST)..).next());
    let number = chosen.or_else(|| of_lambda().next()).unwrap_or(&release);
    format!("java{number}")
}

/// The text of the first element of that name, if it is plain.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    let value = value.trim();
    (!value.is_empty() && !value.contains(['<', '$'])).then_some(value)
}

/// The first number with a dot (or whole number) that `program --version` prints.
pub fn version_of(program: &str, flag: &str) -> Result<String, Failure> {
    let missing = || {
        Failure::usage(
            format!("{program} does not run here, and the folder does not say its version"),
            "install it, or say --runtime",
        )
    };
    let done = ToolEnvironment::of(std::env::vars_os())
        .tool(program)
        .arg(flag)
        .output()
        .map_err(|_| missing())?;
    let text = String::from_utf8_lossy(&done.stdout);
    let version = text
        .split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned);
    version
        .filter(|_| done.status.success())
        .ok_or_else(missing)
}

/// A name for the function, from its folder's.
pub fn name_of(folder: &Path) -> Option<String> {
    let folder = folder
        .canonicalize()
        .unwrap_or_else(|_| PathBuf::from(folder));
    let name: String = folder
        .file_name()?
        .to_string_lossy()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    let name = name.trim_matches('-').to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], runtime: Option<&str>, language: Language, handler: &str) {
        let folder = folder(files);
        let found = detect(folder.path(), runtime.map(str::to_owned), None).unwrap();
        assert_eq!(
            (found.language, found.handler.as_str()),
            (language, handler)
        );
    }

    #[test]
    fn language_and_handler_are_found() {
        use Language::*;
        check(
            &[("handler.py", "def handler(e, c):\n  pass")],
            Some("python3.12"),
            Python,
            "handler.handler",
        );
        check(
            &[
                ("app.py", "async def lambda_handler (e, c): pass"),
                (".python-version", "3.11.4\n"),
            ],
            None,
            Python,
            "app.lambda_handler",
        );
        check(
            &[("main.py", "import x\nhandler = x.Api()\n")],
            Some("python3.12"),
            Python,
            "main.handler",
        );
        check(
            &[("index.mjs", "export const handler = async () => 1")],
            Some("nodejs20.x"),
            Node,
            "index.handler",
        );
        check(
            &[
                ("package.json", r#"{"main":"./src/a.js"}"#),
                ("src/a.js", "exports.handler = f"),
            ],
            Some("nodejs20.x"),
            Node,
            "src/a.handler",
        );
        check(
            &[
                ("pom.xml", "<release>21</release>"),
                (
                    "src/main/java/a/B.java",
                    "class B implements RequestHandler<X, Y> {}",
                ),
            ],
            None,
            Java,
            "a.B::handleRequest",
        );
        check(
            &[(
                "pom.xml",
                "<properties><freehold.handler>x.Y</freehold.handler></properties><release>17</release>",
            )],
            None,
            Java,
            "x.Y",
        );
        check(&[("Cargo.toml", "")], None, Rust, "bootstrap");
        check(
            &[("Cargo.toml", "")],
            Some("wasm"),
            RustWasm,
            "function.wasm",
        );
        check(&[("go.mod", "")], Some("wasm"), GoWasm, "function.wasm");
        check(&[("function.wasm", "")], None, Wasm, "function.wasm");
        check(
            &[("my.wasm", ""), ("README", "")],
            Some("wasm"),
            Wasm,
            "my.wasm",
        );
        check(&[("go.mod", "")], None, Go, "bootstrap");
        check(
            &[("bootstrap", "#!/bin/sh"), ("go.mod", "")],
            None,
            Custom,
            "bootstrap",
        );
    }

    #[test]
    fn the_folder_says_its_version() {
        let runtime = |files: &[(&str, &str)]| {
            detect(folder(files).path(), None, Some("h".into()))
                .unwrap()
                .runtime
        };
        assert_eq!(
            runtime(&[("app.py", ""), (".python-version", "3.11.4")]),
            "python3.11"
        );
    }

    #[test]
    fn a_tool_that_is_asked_for_its_version_sees_no_variable_that_is_not_known() {
        assert!(std::env::var("CARGO_PKG_VERSION").is_ok());
        assert!(version_of("printenv", "CARGO_PKG_VERSION").is_err());
        assert!(version_of("env", "--version").is_ok());
    }

    #[test]
    fn a_java_is_chosen_that_is_there() {
        let check = |release, machine: &[u32], expected: &str| {
            let machine = machine.iter().copied().collect();
            assert_eq!(
                java_name(release, &machine),
                expected,
                "{release} {machine:?}"
            );
        };
        check(11, &[17, 21], "java17");
        check(17, &[17, 25], "java17");
        check(17, &[21], "java21");
        check(18, &[17, 19, 25], "java25");
        // Newer than all that Lambda has, or between two of them.
        check(17, &[26], "java26");
        check(17, &[24], "java24");
        check(26, &[17, 27], "java27");
        // Nothing here that would do: the server may be elsewhere.
        check(21, &[17], "java21");
        check(8, &[], "java17");
        check(22, &[], "java25");
        check(26, &[25], "java26");
    }

    #[test]
    fn what_is_not_clear_is_asked_for() {
        let failure = |files: &[(&str, &str)]| {
            detect(folder(files).path(), Some("java17".into()), None)
                .unwrap_err()
                .to_string()
        };
        let two = failure(&[
            ("src/main/java/A.java", " handleRequest("),
            ("src/main/java/B.java", " handleRequest("),
        ]);
        assert!(two.contains("A::handleRequest, B::handleRequest"), "{two}");
        assert!(detect(folder(&[("README", "")]).path(), None, None).is_err());
        let commented = folder(&[("app.py", "# handler(x)\nhandler(1)\nhandler == 2\n")]);
        assert!(detect(commented.path(), Some("python3.12".into()), None).is_err());
    }

    #[test]
    fn a_manifest_refuses_what_it_does_not_know() {
        let good = folder(&[(
            "freehold.toml",
            "name='n'\nmemory=256\npublic=true\n[env]\nA='1'\n",
        )]);
        let read = manifest(good.path()).unwrap();
        assert_eq!(
            (read.name.as_deref(), read.memory, read.public),
            (Some("n"), Some(256), Some(true))
        );
        let bad = manifest(folder(&[("freehold.toml", "memroy=1")]).path())
            .unwrap_err()
            .to_string();
        assert!(bad.contains("memroy"), "{bad}");
    }
}
