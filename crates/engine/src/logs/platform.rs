//! The platform's own lines, in Lambda's two formats.
//!
//! Source: AWS Lambda developer guide, "Viewing Lambda function logs", "Lambda Telemetry API event
//! schema reference", and "Log-level filtering"; recorded answers for the text of REPORT.

use super::{stamp::iso8601, throttle::Lost};
use crate::{pool::Phase, route::Revision};
use freehold_domain::{
    ids::{InvocationId, Mebibytes, Qualifier},
    outcome::Usage,
    record::LoggingV1,
    time::Wall,
};
use serde_json::json;
use std::{fmt::Write, time::Duration};

/// How an invocation or an init ended, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Success,
    Timeout,
    /// With the error's type.
    Error(String),
}

/// How the instance of an invocation came up for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CameUp {
    /// It was there.
    Not,
    /// By an init.
    Init,
    /// From its revision's start image.
    Restored,
}

/// One line to be.
pub(crate) enum PlatformEvent<'a> {
    InitStart {
        revision: &'a Revision,
    },
    InitReport {
        revision: &'a Revision,
        phase: Phase,
        took: Duration,
        status: &'a Status,
    },
    /// In place of an init: an instance is thawed from its revision's start image.
    RestoreStart {
        revision: &'a Revision,
    },
    /// The runtime has answered, after the function's hooks.
    RestoreRuntimeDone {
        status: &'a Status,
    },
    RestoreReport {
        took: Duration,
        status: &'a Status,
    },
    Start {
        id: InvocationId,
        executed: &'a Qualifier,
    },
    /// "Task timed out": Lambda's text log says it in a line of its own.
    TimedOut {
        id: InvocationId,
        timeout: Duration,
    },
    /// A process that ended, in a line of its own.
    Exited {
        id: InvocationId,
        message: &'a str,
    },
    End {
        id: InvocationId,
    },
    Report {
        id: InvocationId,
        usage: &'a Usage,
        memory: Mebibytes,
        status: &'a Status,
        came_up: CameUp,
    },
    Lost {
        lost: Lost,
    },
}

/// Severities in order; a line passes when its own is not below the function's.
const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

fn rank(level: &str) -> Option<usize> {
    LEVELS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(level))
}

/// Whether a function's own line passes its level. Text has the level INFO, as on Lambda.
pub(super) fn passes(format: &LoggingV1, text: &[u8]) -> bool {
    let Some(least) = format.application_level.as_deref().and_then(rank) else {
        return true;
    };
    if !format.json || least == 0 {
        return true;
    }
    #[derive(serde::Deserialize)]
    struct Levelled<'a> {
        #[serde(borrow)]
        level: Option<std::borrow::Cow<'a, str>>,
    }
    let is_object = text.first() == Some(&b'{');
    let line = is_object
        .then(|| serde_json::from_slice::<Levelled<'_>>(text).ok())
        .flatten();
    let level = line.and_then(|line| line.level).and_then(|level| {
        rank(if level.eq_ignore_ascii_case("warning") {
            "WARN"
        } else {
            &level
        })
    });
    level.unwrap_or(2) >= least
}

impl PlatformEvent<'_> {
    /// The invocation that the line is about.
    pub(super) fn invocation(&self) -> Option<InvocationId> {
        match self {
            Self::Start { id, .. }
            | Self::TimedOut { id, .. }
            | Self::Exited { id, .. }
            | Self::End { id }
            | Self::Report { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// The line's text; `None` where the format has no such line or the level is too low.
    pub(super) fn line(&self, format: &LoggingV1, at: Wall) -> Option<String> {
        if !format.json {
            return self.text(at);
        }
        let (kind, level, record) = self.json()?;
        let least = format.system_level.as_deref().and_then(rank).unwrap_or(2);
        if rank(level) < Some(least) {
            return None;
        }
        Some(json!({ "time": iso8601(at), "type": kind, "record": record }).to_string())
    }

    fn text(&self, at: Wall) -> Option<String> {
        Some(match self {
            Self::InitStart { revision } => format!(
                "INIT_START Runtime Version: {}\tRuntime Version ARN: {}",
                runtime_version(revision),
                runtime_arn(revision),
            ),
            Self::InitReport {
                phase: Phase::Init,
                status: Status::Success,
                ..
            } => return None,
            Self::InitReport {
                phase,
                took,
                status,
                ..
            } => {
                let mut line = format!(
                    "INIT_REPORT Init Duration: {} ms\tPhase: {}\t",
                    two_decimals(took.as_micros()),
                    phase_name(*phase),
                );
                push_status(&mut line, status);
                line
            }
            Self::RestoreStart { revision } => format!(
                "RESTORE_START Runtime Version: {}\tRuntime Version ARN: {}",
                runtime_version(revision),
                runtime_arn(revision),
            ),
            // The report says it.
            Self::RestoreRuntimeDone { .. } => return None,
            Self::RestoreReport { took, status } => {
                let took = two_decimals(took.as_micros());
                let mut line = format!("RESTORE_REPORT Restore Duration: {took} ms\t");
                push_status(&mut line, status);
                line
            }
            Self::Start { id, executed } => format!("START RequestId: {id} Version: {executed}"),
            Self::TimedOut { id, timeout } => format!(
                "{} {id} Task timed out after {:.2} seconds",
                iso8601(at),
                timeout.as_secs_f64()
            ),
            Self::Exited { message, .. } => (*message).to_owned(),
            Self::End { id } => format!("END RequestId: {id}"),
            Self::Report {
                id,
                usage,
                memory,
                status,
                came_up,
            } => {
                let mut line = format!(
                    "REPORT RequestId: {id}\tDuration: {} ms\tBilled Duration: {} ms\t\
                     Memory Size: {} MB\tMax Memory Used: {} MB\t",
                    two_decimals(u128::from(usage.run_us)),
                    usage.billed_ms,
                    memory.0,
                    peak_mib(usage, *memory),
                );
                let _ = match came_up {
                    CameUp::Not => Ok(()),
                    CameUp::Init => {
                        let init = two_decimals(u128::from(usage.init_us));
                        write!(line, "Init Duration: {init} ms\t")
                    }
                    CameUp::Restored => {
                        let restore = two_decimals(restore_us(usage));
                        let billed = usage.init_us.div_ceil(1000);
                        write!(
                            line,
                            "Restore Duration: {restore} ms\tBilled Restore Duration: {billed} ms\t"
                        )
                    }
                };
                push_status(&mut line, status);
                line
            }
            Self::Lost {
                lost: Lost { lines, bytes },
            } => format!(
                "LOGS_DROPPED Lines: {lines}\tBytes: {bytes}\tReason: the log was written faster \
                 than it is kept"
            ),
        })
    }

    /// Type, level and record.
    fn json(&self) -> Option<(&'static str, &'static str, serde_json::Value)> {
        let severity = |status: &Status, fine| {
            if *status == Status::Success {
                fine
            } else {
                "WARN"
            }
        };
        Some(match self {
            Self::InitStart { revision } => (
                "platform.initStart",
                "INFO",
                json!({
                    "initializationType": revision.initialization_type(),
                    "phase": "init",
                    "runtimeVersion": runtime_version(revision),
                    "runtimeVersionArn": runtime_arn(revision),
                    "functionName": revision.function.name.as_str(),
                    "functionVersion": revision.executed.to_string(),
                }),
            ),
            Self::InitReport {
                revision,
                phase,
                took,
                status,
            } => {
                let mut record = json!({
                    "initializationType": revision.initialization_type(),
                    "phase": phase_name(*phase),
                    "status": status.word(),
                    "metrics": { "durationMs": millis(took.as_micros()) },
                });
                status.add_type(&mut record);
                ("platform.initReport", severity(status, "DEBUG"), record)
            }
            Self::RestoreStart { revision } => (
                "platform.restoreStart",
                "INFO",
                json!({
                    "runtimeVersion": runtime_version(revision),
                    "runtimeVersionArn": runtime_arn(revision),
                    "functionName": revision.function.name.as_str(),
                    "functionVersion": revision.executed.to_string(),
                }),
            ),
            Self::RestoreRuntimeDone { status } => {
                let mut record = json!({ "status": status.word() });
                status.add_type(&mut record);
                (
                    "platform.restoreRuntimeDone",
                    severity(status, "DEBUG"),
                    record,
                )
            }
            Self::RestoreReport { took, status } => {
                let mut record = json!({
                    "status": status.word(),
                    "metrics": { "durationMs": millis(took.as_micros()) },
                });
                status.add_type(&mut record);
                ("platform.restoreReport", severity(status, "DEBUG"), record)
            }
            Self::Start { id, executed } => (
                "platform.start",
                "INFO",
                json!({ "requestId": id.to_string(), "version": executed.to_string() }),
            ),
            Self::Report {
                id,
                usage,
                memory,
                status,
                came_up,
            } => {
                let mut record = json!({
                    "requestId": id.to_string(),
                    "metrics": {
                        "durationMs": millis(u128::from(usage.run_us)),
                        "billedDurationMs": usage.billed_ms,
                        "memorySizeMB": memory.0,
                        "maxMemoryUsedMB": peak_mib(usage, *memory),
                    },
                    "status": status.word(),
                });
                match came_up {
                    CameUp::Not => {}
                    CameUp::Init => {
                        record["metrics"]["initDurationMs"] = millis(u128::from(usage.init_us));
                    }
                    CameUp::Restored => {
                        let metrics = &mut record["metrics"];
                        metrics["restoreDurationMs"] = millis(restore_us(usage));
                        metrics["billedRestoreDurationMs"] = usage.init_us.div_ceil(1000).into();
                    }
                }
                status.add_type(&mut record);
                ("platform.report", severity(status, "INFO"), record)
            }
            Self::Lost {
                lost: Lost { lines, bytes },
            } => (
                "platform.logsDropped",
                "WARN",
                json!({
                    "droppedRecords": lines,
                    "droppedBytes": bytes,
                    "reason": "the log was written faster than it is kept",
                }),
            ),
            // The report says these.
            Self::TimedOut { .. } | Self::Exited { .. } | Self::End { .. } => return None,
        })
    }
}

impl Status {
    fn word(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Error(_) => "error",
        }
    }

    fn add_type(&self, record: &mut serde_json::Value) {
        if let Self::Error(error_type) = self {
            record["errorType"] = error_type.as_str().into();
        }
    }
}

/// `Status: error\tError Type: …\t`; nothing for a success.
fn push_status(line: &mut String, status: &Status) {
    let _ = match status {
        Status::Success => Ok(()),
        Status::Timeout => write!(line, "Status: timeout\t"),
        Status::Error(error_type) => {
            let clean: String = error_type.chars().filter(|c| !c.is_control()).collect();
            write!(line, "Status: error\tError Type: {clean}\t")
        }
    };
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Init | Phase::Snapshot => "init",
        Phase::Invoke => "invoke",
    }
}

fn runtime_version(revision: &Revision) -> String {
    let row = &revision.runtime;
    version_text(row.name.as_str(), &row.version)
}

/// As Lambda writes it, `python:3.13.v68`: language, the version that the runtime's name has, and
/// what the interpreter's own version has beside that. Where another runtime stands in, that one.
fn version_text(name: &str, version: &str) -> String {
    let language = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == 'x');
    let (language, named) = match name.split_once(".al") {
        Some((language, _)) => (language, &name[language.len() + 1..]),
        None if language.is_empty() => (name, ""),
        None => (language, name[language.len()..].trim_end_matches(".x")),
    };
    let rest = version.strip_prefix(named).unwrap_or(version);
    let rest = match rest.trim_start_matches('.') {
        "" => "0",
        rest => rest,
    };
    match named {
        "" => format!("{language}:v{rest}"),
        named => format!("{language}:{named}.v{rest}"),
    }
}

fn runtime_arn(revision: &Revision) -> String {
    format!(
        "arn:aws:lambda:{}::runtime:{}",
        revision.function.region, revision.runtime.digest
    )
}

/// From the first step of the platform to the end of the function's hooks.
fn restore_us(usage: &Usage) -> u128 {
    u128::from(usage.start_us) + u128::from(usage.init_us)
}

/// µs as ms with two decimals, as REPORT writes them.
fn two_decimals(us: u128) -> String {
    format!("{}.{:02}", us / 1000, us % 1000 / 10)
}

fn millis(us: u128) -> serde_json::Value {
    let us = u32::try_from(us).unwrap_or(u32::MAX);
    json!(f64::from(us) / 1000.0)
}

/// Whole MiB, rounded up, never over the limit: the kernel's peak may exceed it by a page or two, the
/// sum with a start image's pages for the moment until somebody looks.
fn peak_mib(usage: &Usage, memory: Mebibytes) -> u64 {
    usage
        .memory_peak_bytes
        .div_ceil(1 << 20)
        .min(u64::from(memory.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logging(json: bool, application: Option<&str>, system: Option<&str>) -> LoggingV1 {
        LoggingV1 {
            group: None,
            json,
            application_level: application.map(str::to_owned),
            system_level: system.map(str::to_owned),
        }
    }

    fn report(format: &LoggingV1, status: &Status) -> Option<String> {
        report_of(format, status, CameUp::Init)
    }

    fn report_of(format: &LoggingV1, status: &Status, came_up: CameUp) -> Option<String> {
        let id = InvocationId(uuid::Uuid::nil());
        let usage = Usage {
            run_us: 1_239,
            start_us: 700,
            init_us: 100_500,
            billed_ms: 102,
            memory_peak_bytes: 30 << 20,
            ..Usage::default()
        };
        let memory = Mebibytes(128);
        PlatformEvent::Report {
            id,
            usage: &usage,
            memory,
            status,
            came_up,
        }
        .line(format, Wall::from_millis(0))
    }

    #[test]
    fn a_runtime_has_its_version_in_lambdas_form() {
        for (name, version, text) in [
            ("python3.13", "3.13.0", "python:3.13.v0"),
            ("nodejs20.x", "20.20.2", "nodejs:20.v20.2"),
            ("java17", "17.0.15", "java:17.v0.15"),
            ("provided.al2023", "", "provided:al2023.v0"),
            ("wasm", "", "wasm:v0"),
        ] {
            assert_eq!(version_text(name, version), text);
        }
    }

    #[test]
    fn a_report_reads_as_lambda_writes_it() {
        let text = logging(false, None, None);
        let head = "REPORT RequestId: 00000000-0000-0000-0000-000000000000\tDuration: 1.23 ms\t\
                    Billed Duration: 102 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t\
                    Init Duration: 100.50 ms\t";
        assert_eq!(report(&text, &Status::Success).unwrap(), head);
        assert_eq!(
            report(&text, &Status::Timeout).unwrap(),
            format!("{head}Status: timeout\t")
        );
        assert_eq!(
            report_of(&text, &Status::Success, CameUp::Restored).unwrap(),
            head.replace(
                "Init Duration: 100.50 ms",
                "Restore Duration: 101.20 ms\tBilled Restore Duration: 101 ms"
            )
        );
        let json = report_of(
            &logging(true, None, None),
            &Status::Success,
            CameUp::Restored,
        );
        let json: serde_json::Value = serde_json::from_str(&json.unwrap()).unwrap();
        assert_eq!(json["record"]["metrics"]["restoreDurationMs"], 101.2);
        assert_eq!(json["record"]["metrics"]["billedRestoreDurationMs"], 101);
        assert_eq!(json["record"]["metrics"].get("initDurationMs"), None);
        let json = report(&logging(true, None, None), &Status::Error("A.B".into())).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["type"], "platform.report");
        assert_eq!(json["record"]["metrics"]["billedDurationMs"], 102);
        assert_eq!(json["record"]["errorType"], "A.B");
        assert_eq!(json["time"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn levels_hold_lines_back() {
        let warn = logging(true, Some("WARN"), Some("WARN"));
        assert_eq!(report(&warn, &Status::Success), None);
        assert!(report(&warn, &Status::Timeout).is_some());
        for (line, kept) in [
            (&b"{\"level\":\"INFO\"}"[..], false),
            (b"{\"level\":\"warning\"}", true),
            (b"{\"level\":\"ERROR\",\"x\":1}", true),
            (b"plain", false),
            (b"{broken", false),
        ] {
            assert_eq!(
                passes(&warn, line),
                kept,
                "{}",
                String::from_utf8_lossy(line)
            );
        }
        assert!(passes(&logging(false, Some("WARN"), None), b"plain"));
    }
}
