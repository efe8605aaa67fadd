//! `freehold bill`: what was used in a month and what that costs, as a table, as CSV or as JSON.

mod csv;

use super::{
    Common, Failure, colours,
    prices::prices,
    print, print_json,
    table::{Column, table},
    text,
};
use crate::client::{BillToGet, ClientError};
use clap::{Args, ValueEnum};
use freehold_api::{BillLineRow, StretchRow, SumRow};
use freehold_domain::prices::{Amount, AmountError, Currency, CurrencyError};
use serde_json::json;
use std::{collections::BTreeMap, process::ExitCode};

/// Digits behind the point of quantities and amounts in a table; CSV and JSON have all of them.
const DIGITS_SHOWN: u32 = 6;

/// Arguments of `freehold bill`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  freehold bill --month 2026-11\n  freehold bill --tenant 123456789012 --month 2026-11 --by tag:team --format csv\n\nSigned with a tenant's key it is that tenant's bill; with the operator's, everybody's or the one that --tenant names."
)]
pub struct BillArgs {
    /// The tenant's id [default: one's own; of the operator, every tenant]
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Month, by UTC [default: the present one]
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<String>,
    /// What lines are made by
    #[arg(long, value_name = "function|tag:KEY")]
    by: Option<String>,
    /// How to print it [default: table]
    #[arg(long, value_enum, conflicts_with = "json")]
    format: Option<Format>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Rounded, for people
    Table,
    /// RFC 4180, every digit
    Csv,
    /// Every digit
    Json,
}

/// One tenant's bill, whole.
struct Bill {
    tenant: String,
    month: String,
    by: String,
    at_ms: i64,
    is_final: bool,
    stretches: Vec<StretchRow>,
    lines: Vec<Line>,
    sums: Vec<SumRow>,
}

/// A line, with the stretch that it lies in.
struct Line {
    row: BillLineRow,
    stretch: StretchRow,
}

pub async fn run(args: BillArgs) -> Result<ExitCode, Failure> {
    let client = args.common.client()?;
    let garbled = |reason| {
        Failure::Client(ClientError::Garbled {
            endpoint: client.endpoint.to_string(),
            operation: "GetBill",
            reason,
        })
    };
    let mut asked = BillToGet {
        tenant_id: args.tenant,
        month: args.month,
        by: args.by,
        marker: None,
    };
    let mut bills: Vec<Bill> = Vec::new();
    loop {
        let mut page = client.bill(&asked).await?;
        let next = page.next_marker.take();
        let stretches = page.stretches;
        let mut lines = Vec::with_capacity(page.lines.len());
        for row in page.lines {
            let stretch = stretches.get(row.stretch).cloned();
            let stretch = stretch.ok_or_else(|| garbled("a line is of no stretch".to_owned()))?;
            lines.push(Line { row, stretch });
        }
        match bills.last_mut() {
            Some(bill) if bill.tenant == page.tenant_id => bill.lines.extend(lines),
            _ => bills.push(Bill {
                lines,
                tenant: page.tenant_id,
                // What the first page says holds for those after it, the turn of a month between.
                month: asked.month.get_or_insert(page.month).clone(),
                by: page.by,
                at_ms: page.at_ms,
                is_final: page.is_final,
                stretches,
                sums: Vec::new(),
            }),
        }
        match next {
            Some(next) => asked.marker = Some(next),
            None => break,
        }
    }
    for bill in &mut bills {
        bill.sums = sums(&bill.lines).map_err(garbled)?;
    }
    let format = match args.common.json {
        true => Format::Json,
        false => args.format.unwrap_or(Format::Table),
    };
    match format {
        Format::Json => print_json(&bills.iter().map(machine).collect::<Vec<_>>())?,
        Format::Csv => print(&csv::text(&bills))?,
        Format::Table => {
            for (at, bill) in bills.iter().enumerate() {
                let gap = if at > 0 { "\n" } else { "" };
                print(&format!("{gap}{}", shown(bill).map_err(garbled)?))?;
            }
        }
    }
    let unpriced = bills.iter().flat_map(|bill| &bill.lines);
    let unpriced = unpriced.filter(|line| line.row.amount.is_none()).count();
    if unpriced > 0 {
        eprintln!("{unpriced} of the lines are of time without prices and are in no total.");
    }
    Ok(ExitCode::SUCCESS)
}

/// An amount that the server told.
///
/// Errors: why it is none.
fn amount(text: &str) -> Result<Amount, String> {
    text.parse().map_err(|error: AmountError| error.to_string())
}

/// The lines' amounts added up, exact, by currency.
///
/// Errors: what of them does not read.
fn sums(lines: &[Line]) -> Result<Vec<SumRow>, String> {
    let mut sums: BTreeMap<Currency, Amount> = BTreeMap::new();
    for line in lines {
        let (Some(currency), Some(text)) = (&line.row.currency, &line.row.amount) else {
            continue;
        };
        let currency: Currency = currency
            .parse()
            .map_err(|error: CurrencyError| error.to_string())?;
        let sum = sums.entry(currency).or_default();
        *sum = sum.plus(amount(text)?).map_err(|error| error.to_string())?;
    }
    let rows = sums.into_iter();
    Ok(rows
        .map(|(currency, sum)| SumRow::of(currency, sum))
        .collect())
}

/// A bill for machines.
fn machine(bill: &Bill) -> serde_json::Value {
    let stretch = |stretch: &StretchRow| {
        json!({
            "from": text::instant(stretch.from_ms),
            "until": text::instant(stretch.until_ms),
            "book": stretch.book,
            "prices": stretch.prices.as_ref().map(prices),
        })
    };
    let line = |Line { row, stretch }: &Line| {
        json!({
            "kind": row.kind,
            "region": row.region,
            "function": row.function_name,
            "tag_value": row.tag_value,
            "from": text::instant(stretch.from_ms),
            "until": text::instant(stretch.until_ms),
            "book": stretch.book,
            "invocations": row.invocations,
            "billed_ms": row.billed_ms,
            "billed_mib_ms": row.billed_mib_ms,
            "cpu_us": row.cpu_us,
            "bytes_out": row.bytes_out,
            "network_bytes_in": row.network_bytes_in,
            "gb_seconds": row.gb_seconds,
            "cpu_seconds": row.cpu_seconds,
            "gb_out": row.gb_out,
            "gb_in": row.gb_in,
            "currency": row.currency,
            "amounts": row.amounts.as_ref().map(|amounts| json!({
                "tenant_month": amounts.tenant_month,
                "invocation": amounts.invocation,
                "gb_second": amounts.gb_second,
                "cpu_second": amounts.cpu_second,
                "gb_out": amounts.gb_out,
                "gb_in": amounts.gb_in,
            })),
            "amount": row.amount,
        })
    };
    let sum = |sum: &SumRow| json!({ "currency": sum.currency, "amount": sum.amount, "rounded": sum.rounded });
    json!({
        "tenant": bill.tenant,
        "month": bill.month,
        "by": bill.by,
        "at": text::instant(bill.at_ms),
        "final": bill.is_final,
        "stretches": bill.stretches.iter().map(stretch).collect::<Vec<_>>(),
        "lines": bill.lines.iter().map(line).collect::<Vec<_>>(),
        "totals": bill.sums.iter().map(sum).collect::<Vec<_>>(),
    })
}

/// What a line is about, for people.
fn about(row: &BillLineRow) -> String {
    match (row.kind.as_str(), &row.function_name, &row.tag_value) {
        ("tenant-month", _, _) => "(the account, for the month)".to_owned(),
        (_, Some(name), _) => name.clone(),
        (_, _, Some(value)) if value.is_empty() => "(empty)".to_owned(),
        (_, _, Some(value)) => value.clone(),
        ("untagged", _, _) => "(without the tag)".to_owned(),
        _ => "(tags not known)".to_owned(),
    }
}

/// A bill for people.
///
/// Errors: what of it does not read.
fn shown(bill: &Bill) -> Result<String, String> {
    let is_by_function = bill.by == "function";
    let columns = [
        Column("FROM", false),
        Column("REGION", false),
        Column(if is_by_function { "FUNCTION" } else { "TAG" }, false),
        Column("INVOCATIONS", true),
        Column("BILLED MS", true),
        Column("GB-SECONDS", true),
        Column("CPU-SECONDS", true),
        Column("GB OUT", true),
        Column("GB IN", true),
        Column("AMOUNT", true),
        Column("", false),
    ];
    let short = |text: &str| Ok::<_, String>(amount(text)?.rounded(DIGITS_SHOWN));
    let mut rows = Vec::with_capacity(bill.lines.len());
    for Line { row, stretch } in &bill.lines {
        let used = match row.kind.as_str() {
            "tenant-month" => ["", "", "", "", "", ""].map(str::to_owned),
            _ => [
                row.invocations.to_string(),
                row.billed_ms.to_string(),
                short(&row.gb_seconds)?,
                short(&row.cpu_seconds)?,
                short(&row.gb_out)?,
                short(&row.gb_in)?,
            ],
        };
        let mut cells = vec![
            text::instant(stretch.from_ms),
            row.region.clone().unwrap_or_default(),
            about(row),
        ];
        cells.extend(used);
        cells.push(match &row.amount {
            Some(amount) => short(amount)?,
            None => "-".to_owned(),
        });
        cells.push(row.currency.clone().unwrap_or_default());
        rows.push(cells);
    }
    let state = if bill.is_final { "final" } else { "so far" };
    let mut text = format!(
        "Account {}, {}, by {}, {state} at {}\n",
        bill.tenant,
        bill.month,
        text::escape(&bill.by),
        text::instant(bill.at_ms)
    );
    match rows.is_empty() {
        true => text.push_str("Nothing was used.\n"),
        false => text.push_str(&table(&columns, &rows, colours())),
    }
    for sum in &bill.sums {
        let SumRow {
            currency,
            amount,
            rounded,
        } = sum;
        text.push_str(&format!("Total {rounded} {currency}, in full {amount}\n"));
    }
    Ok(text)
}
