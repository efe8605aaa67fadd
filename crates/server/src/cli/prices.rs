//! `freehold prices`: what the node and its tenants ask for what is used, for its operator.

use super::{
    Common, Failure, colours, print, print_json,
    table::{Column, table},
    text,
};
use crate::client::PricesToSet;
use clap::{Args, Subcommand};
use freehold_api::{PriceChangeRow, PricesRow};
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `freehold prices`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  freehold prices set --currency EUR --gb-second 0.0000166667 --invocation 0.0000002\n  freehold prices set --tenant 123456789012 --currency EUR --gb-second 0.00001 --from 2026-12-01\n  freehold prices show --tenant 123456789012\n\nAll of it is signed with the operator's root key, which is that of the node's first account."
)]
pub struct PricesArgs {
    #[command(subcommand)]
    command: PricesCommand,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum PricesCommand {
    /// Show the prices of the node, or those of one tenant's own, and how they changed
    Show {
        /// The tenant's id [default: the node's prices]
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Set prices from a moment on; what is left out stays
    Set(Box<SetArgs>),
    /// End the prices: a tenant goes back to the node's, and without --tenant nothing has a price
    End {
        /// The tenant's id [default: the node's prices]
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
        /// From when on, such as 2026-12-01 or 2026-12-01T12:00:00Z [default: now]
        #[arg(long, value_name = "TIME", value_parser = moment)]
        from: Option<i64>,
    },
}

#[derive(Debug, Args)]
struct SetArgs {
    /// The tenant's id [default: the node's prices, for all without their own]
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// From when on, such as 2026-12-01 or 2026-12-01T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<i64>,
    /// Code of the currency, such as EUR; the first prices need one
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Per tenant and calendar month
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
    tenant_month: Option<String>,
    /// Per invocation
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
    invocation: Option<String>,
    /// Per GB of memory for a second of billed time
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
    gb_second: Option<String>,
    /// Per second of processor time
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
    cpu_second: Option<String>,
    /// Per GB of answers, and of what functions send to networks
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
    gb_out: Option<String>,
    /// Per GB that functions receive from networks
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true)]
    gb_in: Option<String>,
}

/// A day, which begins at 00:00 UTC, or an instant; ms.
fn moment(text: &str) -> Result<i64, String> {
    let day = || {
        // A date with a time, but without a zone, is no moment.
        let day = (text.len() == "2026-12-01".len()).then_some(text)?;
        let day: jiff::civil::Date = day.parse().ok()?;
        let begin = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(begin.timestamp())
    };
    let instant = text.parse::<jiff::Timestamp>().ok();
    match instant.or_else(day) {
        Some(at) => Ok(at.as_millisecond()),
        None => Err("a time looks like 2026-12-01 or 2026-12-01T12:00:00Z".into()),
    }
}

pub async fn run(args: PricesArgs) -> Result<ExitCode, Failure> {
    let client = args.common.client()?;
    let book = match args.command {
        PricesCommand::Show { tenant } => client.prices(tenant.as_deref()).await?,
        PricesCommand::Set(set) => {
            let prices = PricesToSet {
                tenant_id: set.tenant,
                from: set.from,
                currency: set.currency,
                tenant_month: set.tenant_month,
                invocation: set.invocation,
                gb_second: set.gb_second,
                cpu_second: set.cpu_second,
                gb_out: set.gb_out,
                gb_in: set.gb_in,
            };
            client.prices_set(&prices).await?
        }
        PricesCommand::End { tenant, from } => client.prices_end(tenant.as_deref(), from).await?,
    };
    if args.common.json {
        print_json(&book.iter().map(row).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    if book.is_empty() {
        eprintln!("There are no prices here.");
        return Ok(ExitCode::SUCCESS);
    }
    print(&shown(&book))?;
    Ok(ExitCode::SUCCESS)
}

/// A change for machines.
fn row(change: &PriceChangeRow) -> serde_json::Value {
    json!({
        "from": text::instant(change.from_ms),
        "set": text::instant(change.set_ms),
        "prices": change.prices.as_ref().map(prices),
    })
}

/// Prices for machines.
pub(super) fn prices(prices: &PricesRow) -> serde_json::Value {
    json!({
        "currency": prices.currency,
        "tenant_month": prices.tenant_month,
        "invocation": prices.invocation,
        "gb_second": prices.gb_second,
        "cpu_second": prices.cpu_second,
        "gb_out": prices.gb_out,
        "gb_in": prices.gb_in,
    })
}

fn shown(book: &[PriceChangeRow]) -> String {
    let columns = [
        Column("FROM", false),
        Column("CURRENCY", false),
        Column("TENANT-MONTH", true),
        Column("INVOCATION", true),
        Column("GB-SECOND", true),
        Column("CPU-SECOND", true),
        Column("GB OUT", true),
        Column("GB IN", true),
        Column("SET", false),
    ];
    let rows: Vec<Vec<String>> = book
        .iter()
        .map(|change| {
            let mut cells = vec![text::instant(change.from_ms)];
            cells.extend(match &change.prices {
                Some(prices) => [
                    &prices.currency,
                    &prices.tenant_month,
                    &prices.invocation,
                    &prices.gb_second,
                    &prices.cpu_second,
                    &prices.gb_out,
                    &prices.gb_in,
                ]
                .map(String::clone),
                None => ["none", "", "", "", "", "", ""].map(str::to_owned),
            });
            cells.push(text::instant(change.set_ms));
            cells
        })
        .collect();
    table(&columns, &rows, colours())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_day_by_utc_or_an_instant() {
        assert_eq!(moment("2026-12-01"), Ok(1_796_083_200_000));
        assert_eq!(moment("2026-12-01T01:00:00.5+01:00"), Ok(1_796_083_200_500));
        for bad in [
            "",
            "now",
            "2026-12",
            "2026-13-01",
            "2026-12-01T12:00:00",
            "1796083200",
        ] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
