//! Tasks of the repository itself, run as `cargo xtask NAME`. Each is one module; none is shipped.

use std::{path::Path, process::ExitCode};

mod layering;

const USAGE: &str = "usage: cargo xtask NAME

  layering   check the arrows between crates and the words that only some may say";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository");
    match std::env::args().nth(1).as_deref() {
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
