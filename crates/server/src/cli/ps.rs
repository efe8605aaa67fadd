//! `freehold ps`: the instances that live now.

use super::{
    Common, Failure, colours, print, print_json,
    table::{Column, table},
    text,
};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `freehold ps`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  freehold ps\n  freehold ps hello --json | jq .Instances[].State"
)]
pub struct PsArgs {
    /// Only instances of this function
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: PsArgs) -> Result<ExitCode, Failure> {
    let mut rows = args.common.client()?.instances().await?;
    rows.retain(|row| {
        args.name
            .as_ref()
            .is_none_or(|name| row.function_name == *name)
    });
    rows.sort_by(|a, b| {
        (&a.function_name, &a.version, std::cmp::Reverse(a.age_ms)).cmp(&(
            &b.function_name,
            &b.version,
            std::cmp::Reverse(b.age_ms),
        ))
    });
    if args.common.json {
        // As the operation answers, so that a script may ask either.
        print_json(&json!({ "Instances": rows }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        eprintln!("No instance runs. Functions start when they are called.");
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        Column("FUNCTION", false),
        Column("REVISION", false),
        Column("STATE", false),
        Column("AGE", true),
        Column("MEMORY", true),
        Column("LIMIT", true),
        Column("CPU", true),
        Column("INVOCATIONS", true),
        Column("INSTANCE", false),
    ];
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            vec![
                row.function_name,
                row.version,
                row.state,
                text::span(row.age_ms),
                text::bytes(row.memory_bytes),
                text::bytes(row.memory_limit_bytes),
                text::span(row.cpu_us / 1000),
                row.invocations.to_string(),
                row.instance_id,
            ]
        })
        .collect();
    print(&table(&columns, &rows, colours()))?;
    Ok(ExitCode::SUCCESS)
}
