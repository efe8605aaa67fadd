//! `freehold logs`: a function's lines, once or as they come.
//!
//! Lines are told apart by their event id, since many may share a millisecond. On a terminal,
//! control characters are spelled out and lines that look like the platform's are dimmed; that is
//! a help for the eye and no proof: CloudWatch's API does not say who wrote a line.

use super::{Common, Failure, colours, print, text};
use crate::client::logs::{LogEvent, LogFilter};
use clap::Args;
use owo_colors::OwoColorize;
use std::{
    collections::{HashSet, VecDeque},
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Between two looks with `-f`.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);
/// How far `-f` looks back each time: a line of another stream may be stored a little later than
/// its time says.
const FOLLOW_OVERLAP_MS: i64 = 5_000;
/// Event ids that `-f` remembers; within the overlap more lines than these may show twice.
const SEEN_MAX: usize = 100_000;
/// Lines kept of one request.
const REQUEST_LINES_MAX: usize = 100_000;

/// Arguments of `freehold logs`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  freehold logs hello --since 1h
  freehold logs hello -f --filter ERROR
  freehold logs hello --request 8f5b0f0e-0000-4000-8000-000000000000")]
pub struct LogsArgs {
    /// The function, or a log group that begins with /
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on with new lines until stopped
    #[arg(long, short)]
    follow: bool,
    /// How far back: 90s, 10m, 2h, 3d [default: 1h; with --request everything]
    #[arg(long, value_name = "SPAN", value_parser = text::parse_span)]
    since: Option<u64>,
    /// Only the lines of one request
    #[arg(long, value_name = "ID", conflicts_with_all = ["follow", "filter"])]
    request: Option<String>,
    /// Terms that a line must have, as CloudWatch writes them: ERROR, "two words", ?any ?of, -without
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    filter: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: LogsArgs) -> Result<ExitCode, Failure> {
    let client = args.common.client()?;
    let group = if args.name.starts_with('/') {
        args.name.clone()
    } else {
        match client.configuration(&args.name).await {
            Ok(about) => about["LoggingConfig"]["LogGroup"]
                .as_str()
                .map_or_else(|| format!("/aws/lambda/{}", args.name), str::to_owned),
            // Logs outlive their function.
            Err(error) if error.is_not_found() => format!("/aws/lambda/{}", args.name),
            Err(error) => return Err(error.into()),
        }
    };
    let style = Style {
        json: args.common.json,
        terminal: std::io::stdout().is_terminal(),
        colours: colours(),
    };
    if let Some(id) = &args.request {
        return request(&client, &group, id, args.since, style).await;
    }
    let since = args.since.unwrap_or(3_600_000);
    let mut filter = LogFilter {
        from_ms: Some(before_now(since)),
        pattern: args.filter.clone(),
        stream: None,
    };
    let mut seen = Seen::default();
    loop {
        let mut token = None::<String>;
        let mut newest = filter.from_ms.unwrap_or(0);
        loop {
            let page = match client.log_page(&group, &filter, token.as_deref()).await {
                Ok(page) => page,
                // A group is there from its first line on; who follows waits for it.
                Err(error) if args.follow && error.is_not_found() => break,
                Err(error) => return Err(error.into()),
            };
            let mut out = String::new();
            for event in page.events {
                newest = newest.max(event.timestamp);
                if !args.follow || seen.is_new(&event.event_id) {
                    out.push_str(&line(&event, style));
                }
            }
            if !out.is_empty() {
                print(&out)?;
            }
            match page.next_token {
                Some(next) if token.as_ref() != Some(&next) => token = Some(next),
                _ => break,
            }
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        filter.from_ms = filter.from_ms.max(Some(newest - FOLLOW_OVERLAP_MS));
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

/// The lines of one request: in the stream that names its id, from the first to the last line that
/// does. An instance runs one request at a time, so what stands between them is the request's.
async fn request(
    client: &crate::client::Client,
    group: &str,
    id: &str,
    since: Option<u64>,
    style: Style,
) -> Result<ExitCode, Failure> {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Err(Failure::usage(
            format!("{id:?} is not a request id"),
            "it looks like 8f5b0f0e-0000-4000-8000-000000000000; `freehold invoke --json` and REPORT lines show it",
        ));
    }
    let mut filter = LogFilter {
        from_ms: since.map(before_now),
        pattern: Some(format!("\"{id}\"")),
        stream: None,
    };
    let named = all(client, group, &filter).await?;
    let Some((first, last)) = named.first().zip(named.last()) else {
        eprintln!("No line of {group} names that request.");
        return Ok(ExitCode::from(super::EXIT_NOT_FOUND));
    };
    filter = LogFilter {
        from_ms: Some(first.timestamp),
        pattern: None,
        stream: Some(first.stream.clone()),
    };
    let (from, until) = (first.event_id.clone(), last.event_id.clone());
    let mut out = String::new();
    let lines = all(client, group, &filter).await?;
    let between = lines
        .iter()
        .skip_while(|event| event.event_id != from)
        .collect::<Vec<_>>();
    // A retry may have run on another stream: then its lines are shown as they name the id.
    let end = between
        .iter()
        .position(|event| event.event_id == until)
        .or_else(|| between.iter().rposition(|event| event.message.contains(id)))
        .map_or(0, |at| at + 1);
    for event in &between[..end] {
        out.push_str(&line(event, style));
    }
    for event in named.iter().filter(|event| event.stream != first.stream) {
        out.push_str(&line(event, style));
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

async fn all(
    client: &crate::client::Client,
    group: &str,
    filter: &LogFilter,
) -> Result<Vec<LogEvent>, Failure> {
    let (mut found, mut token) = (Vec::new(), None::<String>);
    while found.len() < REQUEST_LINES_MAX {
        let page = client.log_page(group, filter, token.as_deref()).await?;
        found.extend(page.events);
        match page.next_token {
            Some(next) if token.as_ref() != Some(&next) => token = Some(next),
            _ => break,
        }
    }
    Ok(found)
}

fn before_now(ms: u64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    now.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX))
        .max(0)
}

#[derive(Clone, Copy)]
struct Style {
    json: bool,
    terminal: bool,
    colours: bool,
}

fn line(event: &LogEvent, style: Style) -> String {
    if style.json {
        let mut told = serde_json::json!(event);
        let is_platform = is_platform(event);
        told["kind"] = if is_platform { "platform" } else { "function" }.into();
        return format!("{told}\n");
    }
    let message = event.message.strip_suffix('\n').unwrap_or(&event.message);
    if !style.terminal {
        return format!("{}  {message}\n", text::instant(event.timestamp));
    }
    let (at, message) = (text::instant(event.timestamp), text::escape(message));
    match (style.colours, is_platform(event)) {
        (false, _) => format!("{at}  {message}\n"),
        (true, true) => format!("{}  {}\n", at.dimmed(), message.dimmed()),
        (true, false) => format!("{}  {message}\n", at.dimmed()),
    }
}

/// What the API says of a line's kind, in the last digit of its id: text can be printed by anybody.
fn is_platform(event: &LogEvent) -> bool {
    event.event_id.ends_with('1')
}

/// The ids of the last lines, oldest forgotten first.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    fn is_new(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_on_a_terminal_is_escaped_and_a_platform_line_dimmed() {
        let event = |message: &str| LogEvent {
            event_id: "1".into(),
            timestamp: 0,
            stream: "s".into(),
            message: message.into(),
        };
        let style = |terminal, colours| Style {
            json: false,
            terminal,
            colours,
        };
        let at = "1970-01-01T00:00:00.000Z";
        assert_eq!(
            line(&event("a\u{1b}[2Jb\n"), style(true, false)),
            format!("{at}  a\\x1b[2Jb\n")
        );
        assert_eq!(
            line(&event("a\u{1b}b\n"), style(false, false)),
            format!("{at}  a\u{1b}b\n")
        );
        let dimmed = line(&event("START RequestId: 1\n"), style(true, true));
        assert!(dimmed.contains("\u{1b}[2mSTART"), "{dimmed:?}");
    }

    #[test]
    fn a_line_is_shown_once_and_memory_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.is_new("a") && !seen.is_new("a"));
        for number in 0..SEEN_MAX + 10 {
            seen.is_new(&number.to_string());
        }
        assert!(seen.ids.len() <= SEEN_MAX && seen.order.len() == seen.ids.len());
    }
}
