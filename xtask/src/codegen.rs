//! `cargo xtask codegen`: Rust for the AWS protocols, from the service models and the overlays.
//!
//! ```text
//!  botocore's service-2.json.gz ──(--import DIR)──▶ crates/wire/models/*.json   trimmed
//!  models + crates/wire/overlays/*.json ──────────▶ crates/wire/src/generated/  checked in
//! ```
//!
//! `--check` writes nothing and fails if what is checked in is not what would be written; the test
//! below does the same. A model that uses what no served operation needed so far (timestamps, maps
//! of structures, greedy labels) stops the generator by name instead of being passed over.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

mod codecs;
mod errors;
mod import;
mod model;
mod names;
mod operations;
mod overlay;
mod patterns;
mod rules;
mod shapes;

use model::Model;
use overlay::Overlay;

/// Why nothing was generated; the text names file, shape or operation.
pub(crate) type Fault = Box<dyn std::error::Error>;

const SERVICES: [&str; 3] = ["lambda", "logs", "sts"];

/// One service's model with its overlay, from which everything is written.
pub(crate) struct Source {
    pub(crate) service: &'static str,
    pub(crate) model: Model,
    pub(crate) overlay: Overlay,
}

/// Runs the task; `args` are what followed its name.
pub(crate) fn run(root: &Path, args: &[String]) -> ExitCode {
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write(root),
        ["--check"] => check(root),
        ["--import", data, version] => import::import(root, Path::new(data), version),
        _ => {
            Err("usage: cargo xtask codegen [--check | --import BOTOCORE_DATA_DIR VERSION]".into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("xtask codegen: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn out_dir(root: &Path) -> PathBuf {
    root.join("crates/wire/src/generated")
}

fn write(root: &Path) -> Result<(), Fault> {
    let out = out_dir(root);
    for (name, text) in generate(root)? {
        let path = out.join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(&path, text)?;
            println!("wrote {}", path.display());
        }
    }
    Ok(())
}

fn check(root: &Path) -> Result<(), Fault> {
    let out = out_dir(root);
    for (name, text) in generate(root)? {
        let path = out.join(name);
        if fs::read_to_string(&path).ok() != Some(text) {
            let path = path.display();
            return Err(format!("{path} is not what `cargo xtask codegen` writes").into());
        }
    }
    Ok(())
}

/// Every generated file, by its path below the output folder.
fn generate(root: &Path) -> Result<BTreeMap<String, String>, Fault> {
    let mut files = BTreeMap::new();
    let mut modules = String::from(
        "//! Written by `cargo xtask codegen` from `models/` and `overlays/`; edits are lost.\n\n",
    );
    for service in SERVICES {
        let source = Source::read(root, service)?;
        modules.push_str(&format!("pub mod {service};\n"));
        for (name, text) in source.generate()? {
            files.insert(name, rustfmt(root, &text)?);
        }
    }
    files.insert("mod.rs".into(), rustfmt(root, &modules)?);
    Ok(files)
}

impl Source {
    fn read(root: &Path, service: &'static str) -> Result<Self, Fault> {
        let wire = root.join("crates/wire");
        let model = model::read(&wire.join(format!("models/{service}.json")))?;
        let overlay = overlay::read(&wire.join(format!("overlays/{service}.json")))?;
        overlay.fits(&model)?;
        Ok(Source {
            service,
            model,
            overlay,
        })
    }

    fn generate(&self) -> Result<Vec<(String, String)>, Fault> {
        let service = self.service;
        let head = format!(
            "//! {}: PART Written by `cargo xtask codegen`; edits are lost.\n\n",
            self.model.metadata.full_name
        );
        let plan = shapes::Plan::of(self)?;
        let parts = [
            (
                "operations",
                "operations and routes.",
                operations::write(self)?,
            ),
            (
                "shapes",
                "the values that are asked and answered.",
                shapes::write(self, &plan)?,
            ),
            (
                "codecs",
                "requests read from HTTP, answers written to it.",
                codecs::write(self, &plan)?,
            ),
            (
                "rules",
                "constraints, and requests before they are checked.",
                rules::write(self, &plan)?,
            ),
            (
                "patterns",
                "compiled patterns.",
                patterns::write(self, &plan)?,
            ),
            ("error", "the errors of the model.", errors::write(self)?),
        ];
        let mut files = Vec::new();
        let mut root = head.replace("PART", "generated from its service model.");
        for (name, story, text) in parts {
            if text.is_empty() {
                continue;
            }
            root.push_str(match name {
                "error" => "pub mod error;\n",
                "operations" => "mod operations;\npub use operations::*;\n",
                "shapes" => "mod shapes;\npub use shapes::*;\n",
                "codecs" => "mod codecs;\npub use codecs::*;\n",
                "rules" => "mod rules;\n",
                _ => "pub(crate) mod patterns;\n",
            });
            let head = head.replace("PART", story);
            files.push((format!("{service}/{name}.rs"), format!("{head}{text}")));
        }
        files.push((format!("{service}/mod.rs"), root));
        Ok(files)
    }
}

/// Formats one file with the toolchain's own rustfmt and the repository's settings, which it looks
/// for from its working directory upwards.
fn rustfmt(root: &Path, text: &str) -> Result<String, Fault> {
    let mut child = Command::new("rustfmt")
        .current_dir(root)
        .args(["--edition", "2024", "--emit", "stdout", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("rustfmt is needed: {error}")))?;
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    let input = text.to_owned();
    let feeder = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    feeder.join().expect("the feeder only writes")?;
    if !output.status.success() {
        return Err(format!("rustfmt refuses what was generated:\n{text}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_checked_in_is_what_is_generated() {
        let root = &crate::root().unwrap();
        if let Err(fault) = check(root) {
            panic!("{fault}");
        }
    }
}
