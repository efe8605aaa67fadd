//! `freehold rm`: removes functions. Asks first on a terminal, refuses without `--yes` elsewhere.

use super::{Common, Failure, print_json, text::escape};
use clap::Args;
use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

/// Arguments of `freehold rm`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  freehold rm hello --yes")]
pub struct RmArgs {
    /// Functions to remove, with their versions and URL; their logs and usage stay
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: RmArgs) -> Result<ExitCode, Failure> {
    let client = args.common.client()?;
    if !args.yes && !confirmed(&args.names)? {
        eprintln!("Nothing was removed.");
        return Ok(ExitCode::SUCCESS);
    }
    let (mut removed, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for name in &args.names {
        match client.delete_function(name).await {
            Ok(()) => {
                if !args.common.json {
                    eprintln!("Removed {}.", escape(name));
                }
                removed.push(name);
            }
            // One that is not there must not keep those behind it.
            Err(error) if error.is_not_found() => {
                eprintln!("There is no function {}.", escape(name));
                code = ExitCode::from(super::EXIT_NOT_FOUND);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if args.common.json {
        print_json(&serde_json::json!({ "removed": removed }))?;
    }
    Ok(code)
}

fn confirmed(names: &[String]) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "removing asks first, and there is nobody to ask",
            "add --yes",
        ));
    }
    eprint!("Remove {}? [y/N] ", escape(&names.join(", ")));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(Failure::Output)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
