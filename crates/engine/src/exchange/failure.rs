//! What a function's caller hears when no answer came.
//!
//! Texts and types are Lambda's. Source: recorded answers (`invoke.json`: `test_lambda_handler_exit`,
//! `test_lambda_runtime_exit_segfault`, `test_lambda_too_large_response`); AWS Lambda developer
//! guide, "Troubleshoot invocation issues".

use super::Answer;
use crate::logs::{PlatformEvent, Status};
use bytes::Bytes;
use freehold_domain::{
    ids::{InvocationId, Mebibytes},
    ledger::Ending,
    outcome::{FunctionErrorKind, InvokeError, OutcomeKind, ThrottleReason},
    ports::{ExitCause, ExitReport, InstanceUsage},
};
use serde_json::json;
use std::time::Duration;

/// The end of an invocation without an answer.
pub(super) struct Failure {
    pub(super) ending: Ending,
    pub(super) status: Status,
    pub(super) usage: InstanceUsage,
    pub(super) answer: Result<Answer, InvokeError>,
    /// What the log says in a line of its own.
    message: Option<String>,
}

/// The error's type when a process ended before its answer.
pub(crate) fn exit_error_type(cause: &ExitCause) -> &'static str {
    match cause {
        ExitCause::OutOfMemory => "Runtime.OutOfMemory",
        _ => "Runtime.ExitError",
    }
}

impl Failure {
    fn new(ending: Ending, error_type: &str, message: String, usage: InstanceUsage) -> Self {
        let body = json!({ "errorType": error_type, "errorMessage": message }).to_string();
        Self {
            ending,
            status: Status::Error(error_type.to_owned()),
            usage,
            answer: Ok(unhandled(body.into())),
            message: Some(message),
        }
    }

    /// A `provided` package without a bootstrap. Source: the text that Lambda logs and answers.
    pub(super) fn no_program(id: InvocationId, usage: InstanceUsage) -> Self {
        let message = format!(
            "RequestId: {id} Error: Couldn't find valid bootstrap(s): \
             [/var/task/bootstrap /opt/bootstrap]"
        );
        let error_type = "Runtime.InvalidEntrypoint";
        Self::new(Ending::FunctionError, error_type, message, usage)
    }

    pub(super) fn timed_out(id: InvocationId, timeout: Duration, usage: InstanceUsage) -> Self {
        let seconds = timeout.as_secs_f64();
        let message = format!("RequestId: {id} Error: Task timed out after {seconds:.2} seconds");
        let status = Status::Timeout;
        Self {
            status,
            ..Self::new(Ending::Timeout, "Sandbox.Timedout", message, usage)
        }
    }

    /// A process that ended; our own fault where the platform took it away.
    pub(super) fn exited(id: InvocationId, report: &ExitReport, memory: Mebibytes) -> Self {
        let (ending, reason) = match &report.cause {
            ExitCause::SpawnerLost { reason } => {
                let lost = InvokeError::InstanceLost {
                    reason: reason.clone(),
                };
                return Self {
                    usage: report.usage,
                    ..Self::lost(lost)
                };
            }
            ExitCause::Destroyed => {
                let reason = "it was destroyed while it ran".to_owned();
                let lost = InvokeError::InstanceLost { reason };
                return Self {
                    usage: report.usage,
                    ..Self::lost(lost)
                };
            }
            ExitCause::Exited(0) => (
                Ending::Exited,
                "Runtime exited without providing a reason".to_owned(),
            ),
            ExitCause::Exited(status) => (
                Ending::Exited,
                format!("Runtime exited with error: exit status {status}"),
            ),
            ExitCause::Signaled(signal) => {
                let signal = signal_name(*signal);
                (
                    Ending::Exited,
                    format!("Runtime exited with error: signal: {signal}"),
                )
            }
            ExitCause::OutOfMemory => (
                Ending::OutOfMemory,
                "Runtime exited with error: signal: killed".to_owned(),
            ),
        };
        let error_type = exit_error_type(&report.cause);
        let message = format!("RequestId: {id} Error: {reason}");
        let mut failure = Self::new(ending, error_type, message, report.usage);
        if ending == Ending::OutOfMemory {
            let peak = report.usage.memory_peak_bytes.div_ceil(1 << 20);
            failure.message = Some(format!(
                "RequestId: {id} Error: out of memory: limit {} MB, peak {peak} MB",
                memory.0
            ));
        }
        failure
    }

    /// An init error in the runtime's own words.
    pub(super) fn reported(error_type: String, body: Bytes, usage: InstanceUsage) -> Self {
        let body = if body.is_empty() {
            json!({ "errorType": error_type, "errorMessage": "" })
                .to_string()
                .into()
        } else {
            body
        };
        Self {
            ending: Ending::FunctionError,
            status: Status::Error(error_type),
            usage,
            answer: Ok(unhandled(body)),
            message: None,
        }
    }

    pub(super) fn too_large(limit_bytes: u64, usage: InstanceUsage) -> Self {
        let message = format!(
            "Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes)."
        );
        Self::new(
            Ending::FunctionError,
            "Function.ResponseSizeTooLarge",
            message,
            usage,
        )
    }

    /// A large answer that was in the way of others. Lambda has no word for it.
    pub(super) fn too_slow(came_bytes: u64, within: Duration, usage: InstanceUsage) -> Self {
        let message = format!(
            "Response came too slowly while others waited for room: {came_bytes} bytes within {} seconds.",
            within.as_secs()
        );
        let error_type = "Function.ResponseTooSlow";
        Self::new(Ending::FunctionError, error_type, message, usage)
    }

    pub(super) fn broken(id: InvocationId, usage: InstanceUsage) -> Self {
        let message = format!("RequestId: {id} Error: Runtime exited without providing a reason");
        Self::new(Ending::Exited, "Runtime.ExitError", message, usage)
    }

    pub(super) fn cancelled(usage: InstanceUsage) -> Self {
        let reason = "the invocation was cancelled".to_owned();
        let lost = Self::lost(InvokeError::InstanceLost { reason });
        Self {
            ending: Ending::Cancelled,
            usage,
            ..lost
        }
    }

    /// The machine had no room for what the event needs.
    pub(super) fn found_no_room(usage: InstanceUsage) -> Self {
        let lost = Self::lost(InvokeError::Throttled {
            reason: ThrottleReason::MachineMemory,
            retry_after: None,
        });
        Self {
            ending: Ending::NoRoom,
            status: Status::Error("NoRoom".to_owned()),
            usage,
            ..lost
        }
    }

    /// Not the function's fault.
    pub(super) fn lost(error: InvokeError) -> Self {
        Self {
            ending: Ending::InstanceLost,
            status: Status::Error("InstanceLost".to_owned()),
            usage: InstanceUsage::default(),
            message: Some(error.to_string()),
            answer: Err(error),
        }
    }

    /// What the log says before END.
    pub(super) fn line(&self, id: InvocationId, timeout: Duration) -> Option<PlatformEvent<'_>> {
        match (&self.status, &self.message) {
            (Status::Timeout, _) => Some(PlatformEvent::TimedOut { id, timeout }),
            (_, Some(message)) => Some(PlatformEvent::Exited { id, message }),
            (_, None) => None,
        }
    }
}

fn unhandled(body: Bytes) -> Answer {
    let kind = OutcomeKind::FunctionError(FunctionErrorKind::Unhandled);
    Answer {
        kind,
        content_type: None,
        body,
        room: None,
    }
}

/// As Lambda's Go supervisor prints them.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(failure: Failure) -> (String, String) {
        let body = match failure.answer {
            Ok(answer) => answer.body,
            Err(error) => panic!("not the function's fault: {error}"),
        };
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (text("errorType"), text("errorMessage"))
    }

    #[test]
    fn failures_read_as_lambda_writes_them() {
        let id = InvocationId(uuid::Uuid::nil());
        let usage = InstanceUsage::default();
        let of = |cause| {
            payload(Failure::exited(
                id,
                &ExitReport { cause, usage },
                Mebibytes(128),
            ))
        };
        let request = format!("RequestId: {id} Error: ");
        for (seen, error_type, message) in [
            (
                of(ExitCause::Exited(0)),
                "Runtime.ExitError",
                "Runtime exited without providing a reason",
            ),
            (
                of(ExitCause::Exited(3)),
                "Runtime.ExitError",
                "Runtime exited with error: exit status 3",
            ),
            (
                of(ExitCause::Signaled(11)),
                "Runtime.ExitError",
                "Runtime exited with error: signal: segmentation fault",
            ),
            (
                of(ExitCause::OutOfMemory),
                "Runtime.OutOfMemory",
                "Runtime exited with error: signal: killed",
            ),
            (
                payload(Failure::timed_out(id, Duration::from_secs(3), usage)),
                "Sandbox.Timedout",
                "Task timed out after 3.00 seconds",
            ),
        ] {
            assert_eq!(seen, (error_type.to_owned(), format!("{request}{message}")));
        }
    }

    #[test]
    fn what_the_platform_took_away_is_an_error_of_ours() {
        let id = InvocationId(uuid::Uuid::nil());
        let cause = ExitCause::SpawnerLost {
            reason: "spawner 1 died".to_owned(),
        };
        let report = ExitReport {
            cause,
            usage: InstanceUsage::default(),
        };
        let failure = Failure::exited(id, &report, Mebibytes(128));
        assert_eq!(failure.ending, Ending::InstanceLost);
        let reason = "spawner 1 died".to_owned();
        assert_eq!(
            failure.answer.err(),
            Some(InvokeError::InstanceLost { reason })
        );
        // To be turned away is no loss: the caller may come again.
        let turned_away = Failure::found_no_room(InstanceUsage::default());
        assert_eq!(turned_away.ending, Ending::NoRoom);
        assert!(matches!(
            turned_away.answer,
            Err(InvokeError::Throttled { .. })
        ));
    }
}
