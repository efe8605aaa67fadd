//! `freehold ls`: the functions of a tenant and region.

use super::{
    Common, Failure, colours, print, print_json,
    table::{Column, table},
    text,
};
use clap::Args;
use std::process::ExitCode;

/// Arguments of `freehold ls`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  freehold ls\n  freehold ls --json | jq -r '.[].FunctionName'")]
pub struct LsArgs {
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: LsArgs) -> Result<ExitCode, Failure> {
    let functions = args.common.client()?.list_functions().await?;
    if args.common.json {
        print_json(&functions)?;
        return Ok(ExitCode::SUCCESS);
    }
    if functions.is_empty() {
        eprintln!("There are no functions yet: `freehold deploy DIR` makes one.");
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        Column("FUNCTION", false),
        Column("RUNTIME", false),
        Column("HANDLER", false),
        Column("MEMORY", true),
        Column("TIMEOUT", true),
        Column("CODE", true),
        Column("MODIFIED", false),
    ];
    let rows: Vec<Vec<String>> = functions
        .iter()
        .map(|one| {
            let word = |name: &str| one[name].as_str().unwrap_or("-").to_owned();
            let number = |name: &str| one[name].as_u64().unwrap_or(0);
            vec![
                word("FunctionName"),
                word("Runtime"),
                word("Handler"),
                format!("{} MB", number("MemorySize")),
                format!("{} s", number("Timeout")),
                text::bytes(number("CodeSize")),
                word("LastModified"),
            ]
        })
        .collect();
    print(&table(&columns, &rows, colours()))?;
    Ok(ExitCode::SUCCESS)
}
