//! `freehold audit`: who changed what and who was denied, once or as it comes.

use super::{
    Common, Failure, colours, print,
    table::{Column, table},
    text,
};
use crate::client::own::AuditFilter;
use clap::Args;
use freehold_api::AuditRow;
use std::{
    collections::HashSet,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Between two looks with `-f`.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);
/// Lines of one request.
const PAGE_LINES: u32 = 1000;
/// How far back a look goes unless told otherwise, ms.
const SINCE_MS: u64 = 86_400_000;

/// Arguments of `freehold audit`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  freehold audit --since 2h
  freehold audit --denied -f
  freehold audit --action 'lambda:Delete*' --since 2026-11-01 --json | jq -r .Resource

The operator's key, that of the first start, reads every tenant's lines; any other key reads its own
tenant's.")]
pub struct AuditArgs {
    /// From when: a span back such as 90s, 10m, 2h, 3d, a day or an instant, UTC [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Until when, excluded, in the same forms
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "follow")]
    until: Option<Moment>,
    /// Only lines of this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only this action, such as lambda:DeleteFunction; a * at its end stands for any end
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what was denied
    #[arg(long)]
    denied: bool,
    /// Go on with new lines until stopped
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    common: Common,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// So many ms ago.
    Ago(u64),
    /// So many ms after the epoch.
    At(i64),
}

fn moment(given: &str) -> Result<Moment, String> {
    if let Ok(ms) = text::parse_span(given) {
        return Ok(Moment::Ago(ms));
    }
    if let Ok(at) = given.parse::<jiff::Timestamp>() {
        return Ok(Moment::At(at.as_millisecond()));
    }
    let day = given.parse::<jiff::civil::Date>().ok();
    let begin = day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
    match begin {
        Some(begin) => Ok(Moment::At(begin.timestamp().as_millisecond())),
        None => Err(format!(
            "{given:?} is not a time such as 10m, 2h, 3d, 2026-11-21 or 2026-11-21T02:00:00Z"
        )),
    }
}

impl Moment {
    fn ms(self, now_ms: i64) -> i64 {
        match self {
            Self::Ago(ms) => now_ms.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)),
            Self::At(ms) => ms,
        }
    }
}

pub async fn run(args: AuditArgs) -> Result<ExitCode, Failure> {
    let mut next = filter(&args)?;
    let client = args.common.client()?;
    let mut out = Output {
        json: args.common.json,
        follow: args.follow,
        gaps: HashSet::new(),
        any: false,
    };
    loop {
        let page = client.audit(&next).await?;
        out.gaps(page.gaps);
        out.lines(&page.lines)?;
        next.token = Some(page.token);
        match (page.more, args.follow) {
            (true, _) => {}
            (false, false) => break,
            (false, true) => tokio::time::sleep(FOLLOW_PAUSE).await,
        }
    }
    if !out.any && !args.common.json {
        eprintln!("The audit trail has no such line in that time.");
    }
    Ok(ExitCode::SUCCESS)
}

fn filter(args: &AuditArgs) -> Result<AuditFilter, Failure> {
    let now = now_ms();
    let since = args.since.unwrap_or(Moment::Ago(SINCE_MS)).ms(now);
    let until = args.until.map(|until| until.ms(now));
    if until.is_some_and(|until| until <= since) {
        return Err(Failure::usage(
            "--until is not after --since",
            "give the earlier time as --since; without it, it is a day ago",
        ));
    }
    Ok(AuditFilter {
        since: Some(since),
        until,
        tenant_id: args.tenant.clone(),
        action: args.action.clone(),
        denied: args.denied,
        token: None,
        limit: PAGE_LINES,
    })
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as i64)
}

/// What was printed so far.
struct Output {
    json: bool,
    follow: bool,
    gaps: HashSet<String>,
    any: bool,
}

impl Output {
    /// What did not read is said once each, and does not end the rest.
    fn gaps(&mut self, gaps: Vec<String>) {
        for gap in gaps {
            if !self.gaps.contains(&gap) {
                eprintln!(
                    "freehold: the audit trail has a gap: {}",
                    text::escape(&gap)
                );
                self.gaps.insert(gap);
            }
        }
    }

    fn lines(&mut self, rows: &[AuditRow]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let titled = !self.any;
        self.any = true;
        if self.json {
            let lines = rows
                .iter()
                .map(|row| format!("{}\n", serde_json::json!(row)));
            return print(&lines.collect::<String>());
        }
        let shown: Vec<Vec<String>> = rows.iter().map(row).collect();
        let text = table(&COLUMNS, &shown, colours());
        match titled || !self.follow {
            true => print(&text),
            // Further lines below the same titles.
            false => print(text.split_once('\n').map_or("", |(_, rest)| rest)),
        }
    }
}

const COLUMNS: [Column; 7] = [
    Column("TIME", false),
    Column("TENANT", false),
    Column("WHO", false),
    Column("SOURCE", false),
    Column("ACTION", false),
    Column("RESULT", false),
    Column("RESOURCE", false),
];

/// A text within one column: a stranger's blanks must not look like the begin of the next.
fn cell(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_ascii_graphic() {
            true => shown.push(character),
            false => shown.extend(character.escape_unicode()),
        }
    }
    shown
}

/// A key's id as a request named it: in quotes where it is none.
fn key_id(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    match (16..=128).contains(&text.len()) && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("\"{}\"", cell(text)),
    }
}

fn row(row: &AuditRow) -> Vec<String> {
    let who = match row.kind.as_str() {
        "nobody" | "several" => row.kind.clone(),
        // What nothing proves is not to be read as a fact.
        "unproven-key" => format!("{}?", key_id(&row.who)),
        _ if !row.proven => format!("{}?", cell(&row.who)),
        _ => cell(&row.who),
    };
    let result = match (&row.error, row.count) {
        (_, 2..) => format!("{} × {}", row.result, row.count),
        (Some(error), _) => format!("{}: {error}", row.result),
        (None, _) => row.result.clone(),
    };
    let tenant = row.tenant_id.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        row.time.clone(),
        tenant,
        who,
        row.source.clone(),
        cell(&row.action),
        result,
        row.resource.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_and_others_refused() {
        assert_eq!(moment("2h"), Ok(Moment::Ago(7_200_000)));
        assert_eq!(moment("1970-01-02"), Ok(Moment::At(86_400_000)));
        assert_eq!(moment("1970-01-01T00:00:01.5Z"), Ok(Moment::At(1500)));
        assert_eq!(Moment::Ago(500).ms(1500), 1000);
        for wrong in ["", "yesterday", "2026-13-01", "-1h", "12"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_proven_is_marked_and_counts_are_shown() {
        let mut line = AuditRow {
            time: "t".into(),
            tenant_id: None,
            kind: "unproven-key".into(),
            who: "AKIA1000000000000000".into(),
            proven: false,
            source: "192.0.2.1".into(),
            action: "lambda:Get".into(),
            resource: String::new(),
            result: "denied".into(),
            error: Some("X".into()),
            request_id: None,
            count: 1,
        };
        assert_eq!(
            row(&line),
            [
                "t",
                "-",
                "AKIA1000000000000000?",
                "192.0.2.1",
                "lambda:Get",
                "denied: X",
                ""
            ]
        );
        (line.kind, line.error, line.count) = ("several".into(), None, 412);
        assert_eq!(row(&line)[2], "several");
        assert_eq!(row(&line)[5], "denied × 412");
        // Nobody's blanks make a column.
        (line.kind, line.who) = ("unproven-key".into(), "AKIA1  10.0.0.1\u{3000}ok".into());
        line.action = "freehold:X  ok".into();
        assert_eq!(row(&line)[2], r#""AKIA1\u{20}\u{20}10.0.0.1\u{3000}ok"?"#);
        assert_eq!(row(&line)[4], r"freehold:X\u{20}\u{20}ok");
    }
}
