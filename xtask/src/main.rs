//! Tasks of the repository itself, run as `cargo xtask NAME`. Each is one module; none is shipped.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

mod claims;
mod codegen;
mod errors;
mod layering;
mod served;

const USAGE: &str = "usage: cargo xtask NAME

  claims     check that the tests are there which the book names
  codegen    write the AWS protocols from their models (--check: only compare)
  errors     write docs/errors from errors.toml (--check: only compare)
  served     write the table of operations in the book (--check: only compare)
  layering   check the arrows between crates and the words that only some may say";

fn main() -> ExitCode {
    let Some(root) = &root() else {
        eprintln!("xtask: not inside the repository");
        return ExitCode::from(2);
    };
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("claims") => claims::run(root),
        Some("codegen") => codegen::run(root, &args[1..]),
        Some("errors") => errors::run(root, &args[1..]),
        Some("served") => served::run(root, &args[1..]),
        Some("layering") => layering::run(root),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("xtask: no task {}\n{USAGE}", other.unwrap_or("was named"));
            ExitCode::from(2)
        }
    }
}

/// The repository that this is run in, and not the one that it was built from: builds of several
/// clones share a target folder.
fn root() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let found = here
        .ancestors()
        .find(|folder| folder.join("xtask/Cargo.toml").is_file());
    found.map(Path::to_owned)
}
