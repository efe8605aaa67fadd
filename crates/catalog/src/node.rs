//! The tree of a Node.js: the program, our bootstrap, the AWS SDK where it was installed.

use crate::{
    discover::Interpreter,
    plan::{Entry, Plan},
};
use std::{io, path::Path};

const BOOTSTRAP: &[(&str, &str)] = &[
    (
        "index.js",
        include_str!("../../../runtimes/nodejs/index.js"),
    ),
    (
        "client.js",
        include_str!("../../../runtimes/nodejs/client.js"),
    ),
    ("code.js", include_str!("../../../runtimes/nodejs/code.js")),
    (
        "console.js",
        include_str!("../../../runtimes/nodejs/console.js"),
    ),
    (
        "errors.js",
        include_str!("../../../runtimes/nodejs/errors.js"),
    ),
    (
        "frames.js",
        include_str!("../../../runtimes/nodejs/frames.js"),
    ),
    (
        "handler.js",
        include_str!("../../../runtimes/nodejs/handler.js"),
    ),
    (
        "interfaces.js",
        include_str!("../../../runtimes/nodejs/interfaces.js"),
    ),
    (
        "rehearsal.js",
        include_str!("../../../runtimes/nodejs/rehearsal.js"),
    ),
    (
        "rehearsal/index.js",
        include_str!("../../../runtimes/nodejs/rehearsal/index.js"),
    ),
    (
        "rehearsal/part.js",
        include_str!("../../../runtimes/nodejs/rehearsal/part.js"),
    ),
    (
        "rehearsal/module/index.js",
        include_str!("../../../runtimes/nodejs/rehearsal/module/index.js"),
    ),
    (
        "rehearsal/module/package.json",
        include_str!("../../../runtimes/nodejs/rehearsal/module/package.json"),
    ),
    (
        "rehearsal/module/part.js",
        include_str!("../../../runtimes/nodejs/rehearsal/module/part.js"),
    ),
    (
        "streaming.js",
        include_str!("../../../runtimes/nodejs/streaming.js"),
    ),
    (
        "trace.js",
        include_str!("../../../runtimes/nodejs/trace.js"),
    ),
];
const LAUNCHER: &str = include_str!("../../../runtimes/nodejs/bootstrap");

/// Modules that Debian's and Fedora's builds of Node keep outside of the program.
const OUTSIDE: &[&str] = &[
    "acorn",
    "acorn-walk",
    "amaro",
    "cjs-module-lexer",
    "minimatch",
    "undici",
];

/// Adds the program and its bootstrap; `sdk` is a `node_modules` folder.
pub fn add(plan: &mut Plan, interpreter: &Interpreter, sdk: Option<&Path>) -> io::Result<()> {
    plan.file("/var/lang/bin/node", &interpreter.executable)?;
    for module in OUTSIDE {
        for home in ["/usr/share/nodejs", "/usr/lib/node_modules"] {
            let source = Path::new(home).join(module);
            if interpreter.executable.starts_with("/usr/bin") && source.is_dir() {
                plan.folder(&format!("{home}/{module}"), &source, &|_| false)?;
            }
        }
    }
    for (name, text) in BOOTSTRAP {
        plan.own(&format!("/var/runtime/{name}"), *text, false);
    }
    plan.own("/var/runtime/bootstrap", LAUNCHER, true);
    // ES modules do not look at NODE_PATH, on Lambda they find layers and the SDK all the same. Node
    // looks for packages in the folders above /var/task; these two are reached after its own.
    plan.put(
        "/var/node_modules",
        Entry::Link("../opt/nodejs/node_modules".into()),
    );
    plan.put(
        "/node_modules",
        Entry::Link("var/runtime/node_modules".into()),
    );
    if let Some(sdk) = sdk {
        plan.folder("/var/runtime/node_modules", sdk, &|below| {
            below.starts_with(".bin")
        })?;
    }
    Ok(())
}

/// Our own files.
pub fn sources() -> impl Iterator<Item = &'static str> {
    BOOTSTRAP.iter().map(|(_, text)| *text).chain([LAUNCHER])
}

/// What is executed.
pub fn argv() -> Vec<String> {
    vec!["/bin/sh".into(), "/var/runtime/bootstrap".into()]
}

/// The environment of Node beyond what every runtime has.
pub fn environment(major: u32) -> Vec<(String, String)> {
    let path = format!(
        "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
    );
    [
        ("NODE_PATH", path.as_str()),
        ("PWD", "/var/task"),
        ("SHLVL", "0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
