//! The table of runtimes: made by [`assemble`] as root, read by the spawner and the server.

use crate::{
    base,
    discover::{Discovery, Interpreter, PassedOver},
    elf::Loader,
    java, node,
    plan::Plan,
    python, sdk,
    store::{self, Manifest, Store},
};
use freehold_domain::{
    ids::{Digest, RuntimeName},
    runtime::{RuntimeFamily, RuntimeRow},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Names of the runtime without an interpreter.
const PROVIDED: &[&str] = &["provided.al2023", "provided.al2"];

/// The rules that trees are made by: when this code changes, trees are made again.
const RULES: &[&str] = &[
    include_str!("base.rs"),
    include_str!("java.rs"),
    include_str!("node.rs"),
    include_str!("plan.rs"),
    include_str!("python.rs"),
];

/// Something that keeps a runtime from being used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The runtime or folder.
    pub about: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

/// Why the catalog could not be made, read, or has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The store or the table cannot be read or written.
    #[error("could not {what} {}", path.display())]
    Store {
        /// What was being tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The table is not one of ours.
    #[error("{} is not a runtime table", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The name is no runtime's name.
    #[error("runtime {name:?} is not known; known are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The name is a runtime's, but this machine has no interpreter for it.
    #[error("runtime {name} has no interpreter on this machine; {remedy}")]
    NotInstalled {
        /// What was asked for.
        name: String,
        /// What to install, or which setting would let another version serve.
        remedy: String,
    },
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Table {
    next_id: u32,
    rows: Vec<RuntimeRow>,
    problems: Vec<Problem>,
    #[serde(default)]
    passed_over: Vec<PassedOver>,
}

/// The runtimes of this machine.
#[derive(Debug, Clone)]
pub struct Catalog {
    table: Table,
    store: Store,
}

/// An answer of [`Catalog::resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// The runtime that serves.
    pub row: &'a RuntimeRow,
    /// Whether it is another than was asked for, by `runtimes.substitute`.
    pub is_substitute: bool,
}

/// Whether another process changes the runtimes of `data` right now, so that [`assemble`] would wait for it.
pub fn is_changing(data: &Path) -> bool {
    Store::at(data).is_held()
}

/// Makes a tree for every interpreter of `found` and the table of them. What did not change since
/// the last time is recognised by `stat` alone. A runtime that cannot be made is a [`Problem`].
///
/// Trees that no runtime needs any more are removed, unless a server uses this folder: it starts
/// instances from the trees of its own start. Two that assemble in one folder take turns.
pub fn assemble(found: &Discovery, data: &Path, in_use: bool) -> Result<Catalog, CatalogError> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| CatalogError::Store { what, path, source }
    };
    let store = Store::open(data).map_err(failed("open", data))?;
    let _held = store.hold().map_err(failed("lock", data))?;
    let old = read_table(&store)?;
    let mut table = Table {
        next_id: old.next_id.max(1),
        problems: found.passed_over.iter().filter_map(configured).collect(),
        passed_over: found.passed_over.clone(),
        ..Table::default()
    };
    let mut add =
        |name: &str, family, version: String, made: Result<Manifest, String>, remedy: &str| {
            match made {
                Ok(manifest) => {
                    let known = old
                        .rows
                        .iter()
                        .find(|r| r.name.as_str() == name && r.digest == manifest.digest);
                    let id = known.map_or(table.next_id, |r| r.id);
                    table.next_id = table.next_id.max(id + 1);
                    match row(id, name, family, version, manifest.digest, &store) {
                        Ok(row) => table.rows.push(row),
                        Err(reason) => table.problems.push(Problem {
                            about: name.into(),
                            reason,
                            remedy: "choose another name".into(),
                        }),
                    }
                }
                Err(reason) => table.problems.push(Problem {
                    about: name.into(),
                    reason,
                    remedy: remedy.into(),
                }),
            }
        };
    let before = |name: &str| {
        old.rows
            .iter()
            .find(|r| r.name.as_str() == name)
            .map(|r| r.digest)
    };
    for interpreter in found.interpreters.values() {
        let made = make_language(found, interpreter, data, &store, before(&interpreter.name));
        add(
            &interpreter.name,
            interpreter.family,
            interpreter.version.to_string(),
            made,
            "see the reason; `freehold runtimes` lists what was found",
        );
    }
    for name in PROVIDED {
        let made = make(&store, &recipe(&[]), before(name), |_| Ok(()));
        add(
            name,
            RuntimeFamily::Provided,
            String::new(),
            made,
            "the machine lacks a shell or its C library",
        );
    }
    let path = store.table_path();
    let text = serde_json::to_vec_pretty(&table)
        .map_err(io::Error::other)
        .map_err(failed("encode", &path))?;
    store::write_whole(&path, &text).map_err(failed("write", &path))?;
    if !in_use {
        let kept: Vec<Digest> = table.rows.iter().map(|r| r.digest).collect();
        store.sweep(&kept).map_err(failed("sweep", &path))?;
    }
    Ok(Catalog { table, store })
}

/// What the operator named for a runtime and is not taken keeps that runtime from being used.
fn configured(one: &PassedOver) -> Option<Problem> {
    Some(Problem {
        about: one.configured_for.clone()?,
        // Tenants hear it too: where it lies on the machine is not theirs to know.
        reason: format!(
            "its interpreter in runtimes.paths is not taken: {}",
            one.reason
        ),
        remedy: "mend runtimes.paths and start the server again".into(),
    })
}

fn make_language(
    found: &Discovery,
    interpreter: &Interpreter,
    data: &Path,
    store: &Store,
    before: Option<Digest>,
) -> Result<Manifest, String> {
    let sdk = sdk::installed(interpreter, data);
    let shown = format!("{interpreter:?} {sdk:?}");
    match (&interpreter.python, &interpreter.java_home) {
        (Some(home), _) => make(store, &recipe(&[&shown]), before, |plan| {
            python::add(plan, interpreter, home, sdk.as_deref())?;
            python::add_bytecode(plan, interpreter, home)
        }),
        (None, Some(home)) => {
            let all: Vec<_> = found
                .interpreters
                .values()
                .filter(|i| i.family == RuntimeFamily::Java)
                .collect();
            let built =
                java::build(&all, &data.join("cache/java"), &found.tools).map_err(|e| chain(&e))?;
            make(
                store,
                &recipe(&[&shown, &built.display().to_string()]),
                before,
                |plan| java::add(plan, home, &built),
            )
        }
        (None, None) => make(store, &recipe(&[&shown]), before, |plan| {
            node::add(plan, interpreter, sdk.as_deref())
        }),
    }
}

fn make(
    store: &Store,
    recipe: &str,
    before: Option<Digest>,
    add: impl FnOnce(&mut Plan) -> io::Result<()>,
) -> Result<Manifest, String> {
    let unchanged = |manifest: &Manifest| {
        manifest.recipe == recipe && store.is_current(manifest) && store.is_intact(manifest)
    };
    let known = before.and_then(|digest| store.manifest(&digest));
    if let Some(manifest) = known.filter(unchanged) {
        return Ok(manifest);
    }
    let mut plan = Plan::new(Loader::of_this_machine());
    // The language first: of two sources of one path its own wins.
    let planned = add(&mut plan).and_then(|()| base::add(&mut plan));
    planned
        .and_then(|()| store.make(&plan, recipe))
        .map_err(|e| chain(&e))
}

/// Fingerprint of the rules, of our files (their text is in the rules' constants) and of `parts`.
fn recipe(parts: &[&str]) -> String {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for part in RULES.iter().chain(parts) {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    for text in python::sources()
        .chain(node::sources())
        .chain(java::sources())
    {
        hash.update(text.as_bytes());
    }
    hex::encode(hash.finish())
}

fn row(
    id: u32,
    name: &str,
    family: RuntimeFamily,
    version: String,
    digest: Digest,
    store: &Store,
) -> Result<RuntimeRow, String> {
    let is_provided = family == RuntimeFamily::Provided;
    let mut env = base::environment((!is_provided).then_some(name));
    let argv = match family {
        RuntimeFamily::Python => {
            env.extend(python::environment());
            // The program is called after the version, also where configuration gave it another name.
            python::argv(&format!(
                "python{}",
                version
                    .rsplit_once('.')
                    .map_or("3", |(major_minor, _)| major_minor)
            ))
        }
        RuntimeFamily::Node => {
            env.extend(node::environment(
                version
                    .split('.')
                    .next()
                    .and_then(|m| m.parse().ok())
                    .unwrap_or(0),
            ));
            node::argv()
        }
        RuntimeFamily::Java => java::argv(),
        RuntimeFamily::Provided => vec!["/var/task/bootstrap".into()],
        RuntimeFamily::Wasm => return Err("WebAssembly runs without a tree".to_owned()),
    };
    let name: RuntimeName = name.parse().map_err(|e| chain(&e))?;
    Ok(RuntimeRow {
        id,
        name,
        family,
        version,
        digest,
        root: store.tree_root(&digest),
        mounts: Vec::new(),
        argv,
        env,
    })
}

fn read_table(store: &Store) -> Result<Table, CatalogError> {
    let path = store.table_path();
    match fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|source| CatalogError::Table { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Table::default()),
        Err(source) => Err(CatalogError::Store {
            what: "read",
            path,
            source,
        }),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl Catalog {
    /// Reads the table that [`assemble`] left in `data`; empty where there is none.
    pub fn load(data: &Path) -> Result<Self, CatalogError> {
        let store = Store::at(data);
        Ok(Self {
            table: read_table(&store)?,
            store,
        })
    }

    /// All runtimes, by name.
    pub fn rows(&self) -> &[RuntimeRow] {
        &self.table.rows
    }

    /// What could not be made.
    pub fn problems(&self) -> &[Problem] {
        &self.table.problems
    }

    /// What was looked at and not taken.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.table.passed_over
    }

    /// The runtime with the number `id`.
    pub fn by_id(&self, id: u32) -> Option<&RuntimeRow> {
        self.table.rows.iter().find(|row| row.id == id)
    }

    /// Compares every tree with its manifest by `lstat`; what differs may not be started.
    pub fn verify(&self) -> Vec<Problem> {
        let check = |row: &RuntimeRow| {
            let reason = match self.store.manifest(&row.digest) {
                Some(manifest) => format!(
                    "{} differs from the manifest",
                    self.store.first_difference(&manifest)?
                ),
                None => "its manifest is missing".to_owned(),
            };
            Some(Problem {
                about: row.name.to_string(),
                reason,
                remedy: "start the server again as root: the tree is then made anew".into(),
            })
        };
        self.table.rows.iter().filter_map(check).collect()
    }

    /// The runtime for the wire's `name`; with `substitute` the nearest version of its language.
    ///
    /// Errors: [`CatalogError::Unknown`] for what is no runtime's name, [`CatalogError::NotInstalled`]
    /// with what to install.
    pub fn resolve(&self, name: &str, substitute: bool) -> Result<Resolved<'_>, CatalogError> {
        if let Some(row) = self.table.rows.iter().find(|row| row.name.as_str() == name) {
            return Ok(Resolved {
                row,
                is_substitute: false,
            });
        }
        let Some((family, wanted)) = parse_name(name) else {
            let names: Vec<_> = self
                .table
                .rows
                .iter()
                .map(|row| row.name.as_str())
                .collect();
            return Err(CatalogError::Unknown {
                name: name.to_owned(),
                known: names.join(", "),
            });
        };
        let mut near: Vec<_> = self
            .table
            .rows
            .iter()
            .filter(|row| row.family == family)
            .collect();
        // Nearest first; of two equally near the later, which more code runs on.
        near.sort_by_key(|row| {
            let version = parse_name(row.name.as_str()).map_or(0, |(_, v)| v);
            (version.abs_diff(wanted), std::cmp::Reverse(version))
        });
        match near.first() {
            Some(row) if substitute => Ok(Resolved {
                row,
                is_substitute: true,
            }),
            nearest => Err(CatalogError::NotInstalled {
                name: name.to_owned(),
                remedy: self.remedy(name, family, wanted, nearest.copied()),
            }),
        }
    }

    fn remedy(
        &self,
        name: &str,
        family: RuntimeFamily,
        version: u32,
        nearest: Option<&RuntimeRow>,
    ) -> String {
        if let Some(problem) = self.table.problems.iter().find(|p| p.about == name) {
            return format!("{} ({})", problem.reason, problem.remedy);
        }
        let mut remedy = match family {
            RuntimeFamily::Python => format!(
                "apt-get install python3.{version} (or pyenv install 3.{version}), then start the server again"
            ),
            RuntimeFamily::Node => format!(
                "install Node.js {version} (apt-get install nodejs, or nvm install {version}), then start the server again"
            ),
            RuntimeFamily::Java => format!(
                "apt-get install openjdk-{version}-jdk-headless, then start the server again"
            ),
            RuntimeFamily::Provided | RuntimeFamily::Wasm => "start the server again".to_owned(),
        };
        if let Some(row) = nearest {
            remedy.push_str(&format!(
                "; or set runtimes.substitute = true to have {} serve",
                row.name
            ));
        }
        remedy
    }
}

/// Whether `name` is that of a runtime which an interpreter serves: `python3.12`, `nodejs20.x`, `java17`.
pub fn has_interpreter(name: &str) -> bool {
    parse_name(name).is_some_and(|(family, _)| family != RuntimeFamily::Provided)
}

/// Names that somebody may have meant who wrote one that there is not.
pub const USUAL_NAMES: &[&str] = &[
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "java17",
    "java21",
    "java25",
];

/// `python3.12` → (Python, 12), `nodejs20.x` → (Node, 20), `java17` → (Java, 17).
pub(crate) fn parse_name(name: &str) -> Option<(RuntimeFamily, u32)> {
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    };
    if let Some(minor) = name.strip_prefix("python3.") {
        Some((RuntimeFamily::Python, number(minor)?))
    } else if let Some(major) = name
        .strip_prefix("nodejs")
        .and_then(|rest| rest.strip_suffix(".x"))
    {
        Some((RuntimeFamily::Node, number(major)?))
    } else if let Some(major) = name.strip_prefix("java") {
        Some((RuntimeFamily::Java, number(major)?))
    } else {
        PROVIDED
            .contains(&name)
            .then_some((RuntimeFamily::Provided, 0))
    }
}
