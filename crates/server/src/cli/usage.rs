//! `freehold usage`: the ledger's sums, by function and UTC day.

use super::{
    Common, Failure, colours, print, print_json,
    table::{Column, table},
    text,
};
use clap::Args;
use std::process::ExitCode;

/// Arguments of `freehold usage`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  freehold usage --since 2026-11-01\n  freehold usage hello --json"
)]
pub struct UsageArgs {
    /// Only this function
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// First day, UTC
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<String>,
    /// Last day, UTC, included
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    until: Option<String>,
    #[command(flatten)]
    common: Common,
}

fn day(text: &str) -> Result<String, String> {
    match text.parse::<jiff::civil::Date>() {
        Ok(date) => Ok(date.to_string()),
        Err(_) => Err("a day looks like 2026-11-21".into()),
    }
}

/// Refuses a time that ends before it begins: the server would find nothing in it, and say so.
fn in_order(since: Option<&str>, until: Option<&str>) -> Result<(), Failure> {
    match since.zip(until) {
        // Days are written alike, so that they compare as text.
        Some((since, until)) if since > until => Err(Failure::usage(
            format!("--since {since} is after --until {until}"),
            "give the first day as --since and the last as --until",
        )),
        _ => Ok(()),
    }
}

pub async fn run(args: UsageArgs) -> Result<ExitCode, Failure> {
    in_order(args.since.as_deref(), args.until.as_deref())?;
    let client = args.common.client()?;
    let mut rows = client
        .usage(args.since.as_deref(), args.until.as_deref())
        .await?;
    rows.retain(|row| args.name.as_ref().is_none_or(|name| row.function == *name));
    rows.sort_by(|a, b| (&a.day, &a.function).cmp(&(&b.day, &b.function)));
    if args.common.json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        Column("DAY", false),
        Column("FUNCTION", false),
        Column("INVOCATIONS", true),
        Column("ERRORS", true),
        Column("BILLED", true),
        Column("GB-SECONDS", true),
        Column("CPU", true),
        Column("IN", true),
        Column("OUT", true),
        Column("NET IN", true),
        Column("NET OUT", true),
    ];
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            vec![
                row.day,
                row.function,
                row.invocations.to_string(),
                row.errors.to_string(),
                text::span(row.billed_ms),
                format!("{:.3}", row.gb_seconds),
                text::span(row.cpu_us / 1000),
                text::bytes(row.bytes_in),
                text::bytes(row.bytes_out),
                text::bytes(row.network_bytes_in),
                text::bytes(row.network_bytes_out),
            ]
        })
        .collect();
    if rows.is_empty() {
        eprintln!("Nothing was used in that time.");
        return Ok(ExitCode::SUCCESS);
    }
    print(&table(&columns, &rows, colours()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_ends_before_it_begins_is_misuse() {
        let refused = in_order(Some("2026-11-22"), Some("2026-11-20")).unwrap_err();
        assert_eq!(refused.code(), crate::cli::EXIT_USAGE);
        for (since, until) in [
            (Some("2026-11-20"), Some("2026-11-20")),
            (Some("2026-11-20"), None),
            (None, Some("2026-11-20")),
        ] {
            assert!(in_order(since, until).is_ok(), "{since:?} {until:?}");
        }
    }
}
