//! The trees of this machine, used as a function sees them: programs run inside by `chroot`.
//! Needs root; says so when it cannot look inside.

use freehold_catalog::{Catalog, DiscoverOptions, ToolEnvironment, assemble, discover};
use freehold_domain::runtime::{RuntimeFamily, RuntimeRow};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

fn options() -> DiscoverOptions {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let homes = std::env::var_os("HOME")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    DiscoverOptions {
        path: std::env::split_paths(&path).collect(),
        homes,
        tools: ToolEnvironment::of(std::env::vars_os()),
        ..DiscoverOptions::default()
    }
}

/// One catalog for all tests of this file; copying all interpreters once is enough.
fn catalog() -> &'static (PathBuf, Catalog) {
    static MADE: OnceLock<(PathBuf, Catalog)> = OnceLock::new();
    MADE.get_or_init(|| {
        let data = tempfile::tempdir().expect("a temporary folder").keep();
        gone_with_this_process(&data);
        let catalog = assemble(&discover(&options()), &data, false).expect("assembled");
        (data, catalog)
    })
}

/// What is in a static is never dropped, and it is a gigabyte: somebody who reads until this process has ended
/// removes it, however that ends.
#[expect(
    clippy::zombie_processes,
    reason = "it lives as long as this process, and a moment longer"
)]
fn gone_with_this_process(folder: &Path) {
    let mut remover = Command::new("sh")
        .args(["-c", "read -r _; rm -rf \"$0\""])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    std::mem::forget(remover.stdin.take());
}

fn is_root() -> bool {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !root {
        eprintln!("skipped: looking inside of a tree by chroot needs root");
    }
    root
}

/// What `arguments` print inside of the tree, with the runtime's own environment.
fn inside(row: &RuntimeRow, arguments: &[&str]) -> String {
    let done = Command::new("chroot")
        .arg(&row.root)
        .args(arguments)
        .env_clear()
        .envs(row.env.iter().cloned())
        .env(
            "PATH",
            format!(
                "/var/lang/bin:/usr/bin:{}",
                std::env::var("PATH").unwrap_or_default()
            ),
        )
        .output()
        .expect("chroot runs");
    let shown =
        String::from_utf8_lossy(&[done.stdout.as_slice(), &done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{} {arguments:?}: {shown}", row.name);
    shown.trim().to_owned()
}

fn rows(family: RuntimeFamily) -> Vec<&'static RuntimeRow> {
    let found: Vec<_> = catalog()
        .1
        .rows()
        .iter()
        .filter(|row| row.family == family)
        .collect();
    if found.is_empty() {
        eprintln!("skipped: no {family:?} on this machine");
    }
    found
}

#[test]
fn python_has_its_library_and_nothing_of_the_hosts() {
    if !is_root() {
        return;
    }
    for row in rows(RuntimeFamily::Python) {
        let python = row.argv[0].as_str();
        let code = "import ssl, sqlite3, json, ctypes, decimal, hashlib, multiprocessing, lzma, sys; ssl.create_default_context(); print(sys.prefix)";
        assert_eq!(inside(row, &[python, "-S", "-c", code]), "/var/lang");
        let code = "import sys; print([p for p in sys.path if 'packages' in p])";
        assert_eq!(inside(row, &[python, "-S", "-c", code]), "[]");
        let code = "import freehold_runtime.loop as l; print(l.__cached__)";
        assert!(
            inside(row, &[python, "-S", "-v", "-c", code])
                .contains("code object from '/var/runtime/freehold_runtime/__pycache__/loop."),
            "bytecode is used"
        );
        let code = "import locale; print(locale.setlocale(locale.LC_ALL, ''))";
        assert_eq!(inside(row, &[python, "-S", "-c", code]), "en_US.UTF-8");
        if !row.version.starts_with("3.6")
            && !row.version.starts_with("3.7")
            && !row.version.starts_with("3.8")
        {
            let code = "import zoneinfo; print(zoneinfo.ZoneInfo('Europe/Berlin'))";
            assert_eq!(inside(row, &[python, "-S", "-c", code]), "Europe/Berlin");
        }
    }
}

#[test]
fn node_runs_and_finds_certificates() {
    if !is_root() {
        return;
    }
    for row in rows(RuntimeFamily::Node) {
        let code = "require('https'); require('crypto').createHash('sha256'); console.log(new Date(0).toLocaleDateString('de-DE', { timeZone: 'Europe/Berlin' }), process.execPath)";
        assert_eq!(
            inside(row, &["/var/lang/bin/node", "-e", code]),
            "1.1.1970 /var/lang/bin/node"
        );
    }
}

#[test]
fn java_runs() {
    if !is_root() {
        return;
    }
    for row in rows(RuntimeFamily::Java) {
        let shown = inside(
            row,
            &[
                "/var/lang/bin/java",
                "-XshowSettings:properties",
                "-version",
            ],
        );
        assert!(shown.contains("java.home = /var/lang"), "{shown}");
    }
}

#[test]
fn bootstraps_start_inside_of_their_trees() {
    if !is_root() {
        return;
    }
    for row in catalog().1.rows() {
        if row.family == RuntimeFamily::Provided {
            continue;
        }
        // No handler and nobody behind the Runtime API: the bootstrap must get as far as saying so.
        let command = format!(
            "AWS_LAMBDA_RUNTIME_API=127.0.0.1:1 _HANDLER= {} 2>&1; true",
            row.argv.join(" ")
        );
        let shown = inside(row, &["/bin/sh", "-c", &command]);
        assert!(
            shown.contains("Runtime.MalformedHandlerName"),
            "{}: {shown}",
            row.name
        );
    }
}

#[test]
fn a_configured_program_serves_under_its_configured_name() {
    let found = discover(&options());
    let Some(python) = found
        .interpreters
        .values()
        .find(|i| i.family == RuntimeFamily::Python)
    else {
        eprintln!("skipped: no Python on this machine");
        return;
    };
    let overrides = [("python3.99".to_owned(), python.executable.clone())].into();
    let mut named = discover(&DiscoverOptions {
        overrides,
        tools: ToolEnvironment::of(std::env::vars_os()),
        ..DiscoverOptions::default()
    });
    named.interpreters.retain(|name, _| name == "python3.99");
    let data = tempfile::tempdir().expect("a temporary folder");
    let catalog = assemble(&named, data.path(), false).expect("assembled");
    let row = catalog
        .resolve("python3.99", false)
        .expect("configured")
        .row;
    assert_eq!(row.version, python.version.to_string());
    assert!(
        row.env
            .contains(&("AWS_EXECUTION_ENV".into(), "AWS_Lambda_python3.99".into()))
    );
    if is_root() {
        assert_eq!(
            inside(
                row,
                &[
                    &row.argv[0],
                    "-S",
                    "-c",
                    "import json, sys; print(sys.prefix)"
                ]
            ),
            "/var/lang"
        );
    }
}

#[test]
fn the_shell_and_its_tools_run() {
    if !is_root() {
        return;
    }
    for row in catalog().1.rows() {
        assert_eq!(
            inside(
                row,
                &[
                    "/bin/sh",
                    "-c",
                    "echo 'a b' | sed 's/a/x/' | awk '{print $2 $1}' | tr b y"
                ]
            ),
            "yx",
            "{}",
            row.name
        );
        assert_eq!(inside(row, &["/bin/sh", "-c", "id -u; TZ=Asia/Tokyo date -d @0 +%H; grep -c BEGIN /etc/pki/tls/certs/ca-bundle.crt > /tmp/../dev/null && echo certs"]).lines().last(), Some("certs"));
    }
}

#[test]
fn nothing_of_the_host_beyond_the_list_is_inside() {
    for row in catalog().1.rows() {
        for (folder, expected) in [
            (
                "/",
                &[
                    "bin", "dev", "etc", "lib", "lib64", "mnt", "opt", "proc", "run", "sbin",
                    "sys", "tmp", "usr", "var",
                ][..],
            ),
            ("/var", &["lang", "runtime", "task"]),
            ("/usr", &["bin", "lib", "lib64", "sbin", "share"]),
        ] {
            let mut found: Vec<_> =
                std::fs::read_dir(row.root.join(folder.trim_start_matches('/')))
                    .expect("a folder")
                    .map(|entry| {
                        entry
                            .expect("readable")
                            .file_name()
                            .into_string()
                            .expect("our names are text")
                    })
                    .collect();
            // Node's places for packages that ES modules import.
            found.retain(|name| row.family != RuntimeFamily::Node || name != "node_modules");
            found.sort();
            assert_eq!(found, expected, "{} {folder}", row.name);
        }
        for entry in walkdir::WalkDir::new(&row.root) {
            let entry = entry.expect("readable");
            let path = entry
                .path()
                .strip_prefix(&row.root)
                .expect("below the root");
            let shown = path.display().to_string();
            assert!(
                !shown.contains("site-packages") && !shown.contains("dist-packages"),
                "{shown}"
            );
            if let Ok(target) = std::fs::read_link(entry.path()) {
                assert!(
                    target.is_relative(),
                    "{shown} → {}: a link must not name a place of the host",
                    target.display()
                );
            }
        }
        assert!(!Path::new(&row.root).join("etc/shadow").exists());
    }
}

#[test]
fn a_second_start_keeps_ids_and_digests_and_a_changed_tree_is_found() {
    let data = tempfile::tempdir().expect("a temporary folder");
    // Without interpreters: the provided tree is enough to see it, and quick.
    let found = freehold_catalog::Discovery::default();
    let first = assemble(&found, data.path(), false).expect("assembled");
    let second = assemble(&found, data.path(), false).expect("assembled");
    assert_eq!(first.rows(), second.rows());
    assert_eq!(
        Catalog::load(data.path()).expect("loads").rows(),
        first.rows()
    );
    assert!(first.verify().is_empty());
    let row = &first.rows()[0];
    std::fs::remove_file(row.root.join("etc/passwd")).expect("removed");
    assert!(first.verify()[0].reason.starts_with("/etc/passwd differs"));
    let third = assemble(&found, data.path(), false).expect("assembled");
    assert_eq!(third.rows(), first.rows());
    assert!(third.verify().is_empty());
}

#[test]
fn what_no_runtime_needs_goes_but_not_from_under_a_server() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut found = discover(&options());
    let mut kept = 1;
    found.interpreters.retain(|_, one| {
        one.family == RuntimeFamily::Python && std::mem::replace(&mut kept, 0) == 1
    });
    let table = assemble(&found, data.path(), false).expect("assembled");
    let language = |row: &&RuntimeRow| row.family == RuntimeFamily::Python;
    let Some(row) = table.rows().iter().find(language) else {
        println!("skipped: this machine has no Python");
        return;
    };
    let none = freehold_catalog::Discovery::default();
    assemble(&none, data.path(), true).expect("assembled");
    assert!(row.root.exists());
    assemble(&none, data.path(), false).expect("assembled");
    assert!(!row.root.exists());
}

#[test]
fn a_name_without_an_interpreter_says_what_to_install() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let catalog =
        assemble(&freehold_catalog::Discovery::default(), data.path(), false).expect("assembled");
    let check = |name: &str, expected: &str| {
        let error = catalog.resolve(name, true).expect_err(name).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("python3.12", "apt-get install python3.12");
    check("nodejs20.x", "install Node.js 20");
    check("java17", "apt-get install openjdk-17-jdk-headless");
    check("ruby3.3", "is not known");
    check("python3.", "is not known");
    check("nodejs18446744073709551616.x", "is not known");
    assert!(catalog.resolve("provided.al2", false).is_ok());
}

#[test]
fn the_nearest_version_serves_only_where_it_may() {
    let python = rows(RuntimeFamily::Python);
    let Some(last) = python.iter().max_by_key(|row| {
        row.name
            .as_str()
            .trim_start_matches("python3.")
            .parse::<u32>()
            .unwrap_or(0)
    }) else {
        return;
    };
    let catalog = &catalog().1;
    let resolved = catalog.resolve("python3.99", true).expect("substituted");
    assert_eq!(
        (resolved.row.name.as_str(), resolved.is_substitute),
        (last.name.as_str(), true)
    );
    let error = catalog
        .resolve("python3.99", false)
        .expect_err("not installed")
        .to_string();
    assert!(error.contains("runtimes.substitute = true"), "{error}");
    assert!(
        !catalog
            .resolve(last.name.as_str(), true)
            .expect("there")
            .is_substitute
    );
}
