//! `freehold reload`: the server reads its file again.

use super::{Common, EXIT_REFUSED, Failure, print, print_json, text};
use crate::client::ClientError;
use clap::Args;
use freehold_api::{ChangeRow, ReloadRow};
use serde_json::{Value, json};
use std::process::ExitCode;

/// The server's word for a file with a fault.
const INVALID: &str = "ConfigurationInvalidException";

/// Arguments of `freehold reload`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  freehold reload
  kill -HUP PID

The server reads its file again; environment and flags stay those of its start. What can change while
it runs holds for the next request, what needs a restart is named, and a file with any fault changes
nothing. Signed with the operator's root key, which is that of the node's first account.")]
pub struct ReloadArgs {
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: ReloadArgs) -> Result<ExitCode, Failure> {
    let done = match args.common.client()?.reload().await {
        // Every fault on the line that it has.
        Err(ClientError::Service { code, message, .. }) if code == INVALID => {
            let lines = message.lines().map(text::escape).collect::<Vec<_>>();
            eprintln!(
                "freehold: the server keeps what it has: {}",
                lines.join("\n")
            );
            return Ok(ExitCode::from(EXIT_REFUSED));
        }
        done => done?,
    };
    if args.common.json {
        print_json(&object(&done))?;
    } else {
        print(&shown(&done))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn object(done: &ReloadRow) -> Value {
    let change = |row: &ChangeRow| {
        json!({
            "key": row.key, "before": row.before, "now": row.now, "origin": row.origin,
        })
    };
    let all = |rows: &[ChangeRow]| rows.iter().map(change).collect::<Vec<_>>();
    json!({
        "file": done.file,
        "applied": all(&done.applied),
        "needs_restart": all(&done.needs_restart),
    })
}

fn shown(done: &ReloadRow) -> String {
    let value = |value: &Option<String>| match value.as_deref() {
        None => "unset".to_owned(),
        Some("") => "none".to_owned(),
        Some(value) => text::escape(value).into_owned(),
    };
    let mut lines = String::new();
    let mut put = |title: &str, rows: &[ChangeRow]| {
        for row in rows {
            let (key, origin) = (&row.key, text::escape(&row.origin));
            let (before, now) = (value(&row.before), value(&row.now));
            lines.push_str(&format!("{title} {key}: {before} → {now}  ({origin})\n"));
        }
    };
    put("applied      ", &done.applied);
    put("needs restart", &done.needs_restart);
    match lines.is_empty() {
        true => format!("{}: nothing has changed\n", text::escape(&done.file)),
        false => lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_one_by_one_and_none_too() {
        let change = |key: &str, before: Option<&str>, now: Option<&str>| ChangeRow {
            key: key.to_owned(),
            before: before.map(str::to_owned),
            now: now.map(str::to_owned),
            origin: "/f:3".to_owned(),
        };
        let mut done = ReloadRow {
            file: "/f".to_owned(),
            applied: vec![change("audit.keep", Some("90d"), Some("1d"))],
            needs_restart: vec![change("server.regions", None, Some(""))],
        };
        assert_eq!(
            shown(&done),
            "applied       audit.keep: 90d → 1d  (/f:3)\n\
             needs restart server.regions: unset → none  (/f:3)\n"
        );
        (done.applied, done.needs_restart) = (vec![], vec![]);
        assert_eq!(shown(&done), "/f: nothing has changed\n");
    }
}
