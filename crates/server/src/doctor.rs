//! `freehold doctor`: line by line, what this machine enforces, and what to do about the rest.

use crate::serve::{FLOOR_PERCENT, Ordered, Room, day, default_data_dir};
use clap::Args;
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

/// Arguments of `freehold doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  sudo freehold doctor")]
pub struct DoctorArgs {
    /// Data folder of the server
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print an object instead of lines
    #[arg(long)]
    pub json: bool,
}

struct Line {
    what: String,
    fine: bool,
    detail: String,
    remedy: String,
}

/// Looks at this machine and says what it finds. Ends with 4 when something is not enforced.
pub fn run(args: DoctorArgs) -> ExitCode {
    let data = args.data.unwrap_or_else(default_data_dir);
    let mut lines: Vec<Line> = freehold_sandbox::probe()
        .into_iter()
        .map(|found| Line {
            what: found.line.to_owned(),
            fine: found.enforced,
            detail: found.detail,
            remedy: found.remedy.into_owned(),
        })
        .collect();
    lines.extend(disk(&data));
    lines.extend(certificate(&data));
    lines.extend(runtimes(&data));
    let all_fine = lines.iter().all(|line| line.fine);
    if args.json {
        let rows: Vec<_> = lines
            .iter()
            .map(|line| {
                serde_json::json!({
                    "what": line.what, "enforced": line.fine,
                    "detail": line.detail, "remedy": line.remedy,
                })
            })
            .collect();
        println!("{}", serde_json::json!({ "findings": rows }));
    } else {
        for line in &lines {
            let mark = if line.fine { "ok " } else { "NO " };
            println!("{mark} {:<28} {}", line.what, line.detail);
            if !line.fine && !line.remedy.is_empty() {
                println!("    {:<28} remedy: {}", "", line.remedy);
            }
        }
    }
    if all_fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(crate::cli::EXIT_REFUSED)
    }
}

/// How much of the data folder's disk is free, if there is one yet.
fn disk(data: &std::path::Path) -> Option<Line> {
    let there = [data.join("store"), data.to_owned()];
    let room = there.iter().find_map(|folder| Room::of(folder).ok())?;
    let percent = room.free_percent();
    Some(Line {
        what: "disk".into(),
        fine: percent >= FLOOR_PERCENT,
        detail: format!("{percent:.1} % of the data folder's disk are free"),
        remedy: format!(
            "make room: below {FLOOR_PERCENT} % changes, events and log lines are refused"
        ),
    })
}

/// How the orders of a certificate go, where the server orders one.
fn certificate(data: &std::path::Path) -> Option<Line> {
    let ordered = Ordered::read(data)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_secs() as i64);
    let shown = match ordered.ends {
        Some(ends) if ends > now => format!("there is one until {}", day(ends)),
        Some(ends) => format!("the last one ended at {}", day(ends)),
        None => "there is none yet".to_owned(),
    };
    let names = &ordered.names;
    let (detail, remedy) = match (&ordered.error, ordered.failures) {
        (Some(error), failures @ 1..) => (
            format!(
                "for {names}: {shown}; {failures} orders in a row failed, the last one: {error}"
            ),
            format!(
                "mend it, then `freehold reload`; else the next order is at {}",
                day(ordered.next)
            ),
        ),
        _ => (
            format!("for {names}: {shown}, from {}", ordered.directory),
            "start the server, which orders and renews it".to_owned(),
        ),
    };
    Some(Line {
        what: "certificate".into(),
        fine: ordered.failures == 0 && ordered.ends.is_none_or(|ends| ends > now),
        detail,
        remedy,
    })
}

/// Whether the trees are what they were when they were assembled.
fn runtimes(data: &std::path::Path) -> Vec<Line> {
    if !data.join("runtimes/table.json").exists() {
        return vec![Line {
            what: "runtimes".into(),
            fine: false,
            detail: format!("none assembled in {}", data.display()),
            remedy: format!("freehold runtimes install --data {}", data.display()),
        }];
    }
    match freehold_catalog::Catalog::load(data) {
        Ok(catalog) => {
            let problems = catalog.verify();
            let mut lines = vec![Line {
                what: "runtimes".into(),
                fine: problems.is_empty(),
                detail: format!("{} assembled, digests checked", catalog.rows().len()),
                remedy: String::new(),
            }];
            // What was not made at the last start, and what is no more as it was made.
            let kept_away = catalog.problems().iter().cloned().chain(problems);
            lines.extend(kept_away.map(|problem| Line {
                what: format!("runtime {}", problem.about),
                fine: false,
                detail: problem.reason,
                remedy: problem.remedy,
            }));
            lines
        }
        Err(error) => vec![Line {
            what: "runtimes".into(),
            fine: false,
            detail: error.to_string(),
            remedy: "start the server once as root".into(),
        }],
    }
}
