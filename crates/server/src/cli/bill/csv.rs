//! A bill as CSV: RFC 4180, for spreadsheets.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and names of
//! functions and values of tags may begin so: such a text gets a `'` in front, which spreadsheets
//! read as "this is text".

use super::{Bill, Line};
use crate::cli::text::instant;

const COLUMNS: [&str; 24] = [
    "tenant",
    "month",
    "from",
    "until",
    "book",
    "kind",
    "region",
    "function",
    "tag_key",
    "tag_value",
    "invocations",
    "billed_ms",
    "gb_seconds",
    "cpu_seconds",
    "gb_out",
    "gb_in",
    "currency",
    "amount_tenant_month",
    "amount_invocations",
    "amount_gb_seconds",
    "amount_cpu_seconds",
    "amount_gb_out",
    "amount_gb_in",
    "amount",
];

/// All lines of all bills, below one line of titles. Sums are left to the reader: a line with one
/// would be added up with the others.
pub(super) fn text(bills: &[Bill]) -> String {
    let mut text = COLUMNS.join(",");
    text.push_str("\r\n");
    for bill in bills {
        let key = bill.by.strip_prefix("tag:").unwrap_or_default();
        for line in &bill.lines {
            record(&mut text, &cells(bill, key, line));
        }
    }
    text
}

fn cells(bill: &Bill, key: &str, Line { row, stretch }: &Line) -> [String; COLUMNS.len()] {
    let given = |value: &Option<String>| value.clone().unwrap_or_default();
    let name = |value: &Option<String>| harmless(value.as_deref().unwrap_or_default());
    let amounts = row.amounts.as_ref();
    let of = |pick: fn(&freehold_api::AmountsRow) -> &String| {
        amounts
            .map(|amounts| pick(amounts).clone())
            .unwrap_or_default()
    };
    [
        bill.tenant.clone(),
        bill.month.clone(),
        instant(stretch.from_ms),
        instant(stretch.until_ms),
        given(&stretch.book),
        row.kind.clone(),
        name(&row.region),
        name(&row.function_name),
        harmless(key),
        name(&row.tag_value),
        row.invocations.to_string(),
        row.billed_ms.to_string(),
        row.gb_seconds.clone(),
        row.cpu_seconds.clone(),
        row.gb_out.clone(),
        row.gb_in.clone(),
        given(&row.currency),
        of(|amounts| &amounts.tenant_month),
        of(|amounts| &amounts.invocation),
        of(|amounts| &amounts.gb_second),
        of(|amounts| &amounts.cpu_second),
        of(|amounts| &amounts.gb_out),
        of(|amounts| &amounts.gb_in),
        given(&row.amount),
    ]
}

/// A text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    let is_formula = text.starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '\0', '＝', '＋', '－', '＠',
    ]);
    match is_formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

fn record(text: &mut String, cells: &[String]) {
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_quoted_where_it_must_be() {
        let mut text = String::new();
        let cells = ["a", "", "b,c", "say \"x\"", "two\r\nlines", " d"].map(str::to_owned);
        record(&mut text, &cells);
        assert_eq!(text, "a,,\"b,c\",\"say \"\"x\"\"\",\"two\r\nlines\", d\r\n");
    }

    #[test]
    fn no_text_is_a_formula() {
        for bad in [
            "=1+1", "+1", "-f", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1",
        ] {
            assert_eq!(harmless(bad), format!("'{bad}"));
        }
        for plain in ["", "f-1", "a=b", " =1", "'x"] {
            assert_eq!(harmless(plain), plain);
        }
    }
}
