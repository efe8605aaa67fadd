//! What happens after an attempt, as a pure function: AWS's delays and ends.
//!
//! Source: AWS Lambda developer guide, "How Lambda handles errors and retries with asynchronous
//! invocation": function errors are retried twice, after one minute, then two; throttles and system
//! errors return the event to the queue, with back-off from 1 second to at most 5 minutes, for up
//! to 6 hours.

use freehold_domain::{
    InvokeError, QueueTime, ThrottleReason,
    limits::START_WAIT_S,
    record::{ClaimedEvent, EventEnd, EventV1},
};
use std::time::Duration;

/// The bounds and delays of the queue.
#[derive(Debug, Clone)]
pub struct QueuePolicy {
    /// Bytes of one event.
    pub event_bytes_max: u64,
    /// Attempts that count, the first included.
    pub attempts_max: u32,
    /// Attempts that the end of the platform may cut short before the event is given up: one that
    /// brings the platform down each time must not do so for all its age.
    pub interruptions_max: u32,
    /// Age at which an event is given up.
    pub event_age_max: Duration,
    /// Delay after the first, the second … failure of the function; the last one repeats.
    pub retry_delays: Vec<Duration>,
    /// First delay after an attempt that does not count; doubles each time.
    pub backoff_min: Duration,
    /// Longest such delay.
    pub backoff_max: Duration,
    /// How long an attempt may wait for an instance.
    pub start_wait: Duration,
    /// How long a claim holds an event; longer than the longest attempt.
    pub lease: Duration,
    /// What a lease has beyond the longest attempt, for settling.
    pub lease_margin: Duration,
    /// Attempts running at once.
    pub in_flight_max: usize,
    /// Attempts of one tenant running at once.
    pub in_flight_per_tenant: usize,
    /// Attempts at one function running at once.
    pub in_flight_per_function: usize,
    /// Events taken at once.
    pub claim_max: usize,
    /// How long a drain waits for what runs.
    pub drain_grace: Duration,
    /// Bytes of an error that are kept with the event.
    pub error_bytes_max: usize,
    /// How long it is known what became of an event that ended well.
    pub keep_done: Duration,
    /// How long it is known of one that was given up.
    pub keep_dead: Duration,
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            event_bytes_max: 1 << 20,
            attempts_max: 3,
            interruptions_max: 10,
            event_age_max: Duration::from_secs(6 * 3600),
            retry_delays: vec![Duration::from_secs(60), Duration::from_secs(120)],
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            start_wait: Duration::from_secs(u64::from(START_WAIT_S)),
            lease: Duration::from_secs(60 + 900 + 20 + 60),
            lease_margin: Duration::from_secs(60),
            in_flight_max: 256,
            in_flight_per_tenant: 128,
            in_flight_per_function: 64,
            claim_max: 32,
            drain_grace: Duration::from_secs(30),
            error_bytes_max: 4 << 10,
            keep_done: Duration::from_secs(24 * 3600),
            keep_dead: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// The function answered.
    Success,
    /// The function failed, with its error's text.
    FunctionError(String),
    /// It did not come to an outcome.
    Not(InvokeError),
}

/// What is to be written of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The event's end.
    End(EventEnd),
    /// Another attempt.
    Again {
        due: QueueTime,
        counts: bool,
        error: Option<String>,
    },
}

fn dead(reason: &str, last_error: Option<String>) -> Verdict {
    Verdict::End(EventEnd::Dead {
        reason: reason.to_owned(),
        last_error,
    })
}

impl QueuePolicy {
    /// Whether a claimed event must not be attempted (anymore), and how it ends then.
    pub(super) fn before(&self, claimed: &ClaimedEvent, now: QueueTime) -> Option<Verdict> {
        let ClaimedEvent {
            event, interrupted, ..
        } = claimed;
        if event.expires <= now {
            return Some(dead("EventAgeExceeded", None));
        }
        if *interrupted >= self.interruptions_max {
            let text = format!("the platform ended during {interrupted} attempts");
            return Some(dead("Interrupted", Some(text)));
        }
        // A claim whose lease ran out, unsettled, counted as well.
        (event.attempts > event.attempts_max).then(|| dead("RetriesExhausted", None))
    }

    /// What follows from an attempt at `event`, which was claimed `claims` times.
    pub(super) fn after(
        &self,
        event: &EventV1,
        claims: u64,
        came: Came,
        now: QueueTime,
    ) -> Verdict {
        let error = match came {
            Came::Success => return Verdict::End(EventEnd::Done),
            Came::FunctionError(text) => return self.function_failed(event, text, now),
            Came::Not(error) => error,
        };
        let text = self.cut(error.to_string());
        let wait = match &error {
            InvokeError::NotFound { .. } => return dead("FunctionDeleted", Some(text)),
            InvokeError::EventTooLarge { .. } => return dead("EventTooLarge", Some(text)),
            InvokeError::LoopDetected { .. } => return dead("LoopDetected", Some(text)),
            // The next start takes it up; until then this loop must not spin on it.
            // So does whoever enables its tenant again: until then it is not claimed.
            InvokeError::Draining | InvokeError::TenantDisabled => self.backoff_min,
            // It ran: one of its tries, or a full disk would have it run for hours.
            InvokeError::NotRecorded { .. } => return self.function_failed(event, text, now),
            // Its end may be a month away, and the operator may raise it at any time.
            InvokeError::Throttled {
                reason: ThrottleReason::Budget | ThrottleReason::BudgetStop,
                ..
            } => self.backoff(event, claims),
            InvokeError::Throttled { retry_after, .. } => {
                let asked = retry_after.unwrap_or_default().min(self.backoff_max);
                self.backoff(event, claims).max(asked)
            }
            InvokeError::NotReady { .. }
            | InvokeError::DeadlinePassed { .. }
            | InvokeError::InstanceLost { .. }
            | InvokeError::Internal { .. } => self.backoff(event, claims),
        };
        self.again(event, now + wait, false, text)
    }

    fn function_failed(&self, event: &EventV1, text: String, now: QueueTime) -> Verdict {
        let text = self.cut(text);
        if event.attempts >= event.attempts_max {
            return dead("RetriesExhausted", Some(text));
        }
        let failures = event.attempts.saturating_sub(1) as usize;
        let delay = self.retry_delays.get(failures);
        let delay = delay.or(self.retry_delays.last()).copied();
        self.again(event, now + delay.unwrap_or_default(), true, text)
    }

    /// Waiting past its age helps no event.
    fn again(&self, event: &EventV1, due: QueueTime, counts: bool, text: String) -> Verdict {
        if due >= event.expires {
            return dead("EventAgeExceeded", Some(text));
        }
        Verdict::Again {
            due,
            counts,
            error: Some(text),
        }
    }

    /// Doubles with each claim that did not count.
    fn backoff(&self, event: &EventV1, claims: u64) -> Duration {
        let uncounted = claims.saturating_sub(event.attempts.into()).min(30) as u32;
        let delay = self.backoff_min.saturating_mul(1 << uncounted);
        delay.min(self.backoff_max)
    }

    fn cut(&self, mut text: String) -> String {
        let mut end = self.error_bytes_max.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::{FunctionRef, InvocationId, Principal, Qualifier, TraceHeader, Wall};

    const NOW: QueueTime = QueueTime(1_000_000_000);

    fn event(attempts: u32) -> EventV1 {
        let id = InvocationId(Default::default());
        EventV1 {
            id,
            function: FunctionRef {
                tenant: "111111111111".parse().expect("12 digits"),
                region: "us-east-1".parse().expect("a region"),
                name: "f".parse().expect("a name"),
            },
            qualifier: Qualifier::Latest,
            is_qualified: false,
            principal: Principal::Anonymous,
            accepted: Wall(NOW.0),
            expires: NOW + Duration::from_secs(6 * 3600),
            attempts,
            attempts_max: 3,
            trace: TraceHeader::new_root(id.0),
            hops: 0,
            client_context: None,
        }
    }

    fn claimed(attempts: u32, interrupted: u32) -> ClaimedEvent {
        ClaimedEvent {
            event: event(attempts),
            body: Default::default(),
            epoch: u64::from(attempts + interrupted),
            interrupted,
        }
    }

    fn delay(verdict: Verdict) -> (u64, bool) {
        match verdict {
            Verdict::Again { due, counts, .. } => ((due.0 - NOW.0) as u64 / 1_000_000, counts),
            Verdict::End(end) => panic!("ended: {end:?}"),
        }
    }

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::End(EventEnd::Dead { reason, .. }) => reason,
            other => panic!("not dead: {other:?}"),
        }
    }

    fn throttled() -> Came {
        Came::Not(InvokeError::Throttled {
            reason: ThrottleReason::ReservedConcurrency,
            retry_after: None,
        })
    }

    #[test]
    fn the_functions_failures_wait_one_minute_then_two_then_end() {
        let policy = QueuePolicy::default();
        let after = |attempts| {
            let came = Came::FunctionError("boom".to_owned());
            policy.after(&event(attempts), attempts.into(), came, NOW)
        };
        assert_eq!(delay(after(1)), (60, true));
        assert_eq!(delay(after(2)), (120, true));
        assert_eq!(reason(after(3)), "RetriesExhausted");
    }

    #[test]
    fn throttles_back_off_to_five_minutes_and_do_not_count() {
        let policy = QueuePolicy::default();
        let delays = (1..12).map(|claims| {
            let verdict = policy.after(&event(1), claims, throttled(), NOW);
            delay(verdict)
        });
        let delays: Vec<_> = delays.collect();
        let seconds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
        assert_eq!(delays, seconds.map(|seconds| (seconds, false)));
        let unlucky = policy.after(&event(1), u64::MAX, throttled(), NOW);
        assert_eq!(delay(unlucky), (300, false));
    }

    #[test]
    fn an_event_ends_at_its_age_whatever_it_waits_for() {
        let policy = QueuePolicy::default();
        let expires = event(1).expires;
        let late = QueueTime(expires.0 - 1);
        for came in [throttled(), Came::FunctionError(String::new())] {
            assert_eq!(
                reason(policy.after(&event(1), 1, came, late)),
                "EventAgeExceeded"
            );
        }
        let before = policy.before(&claimed(1, 0), expires).expect("too old");
        assert_eq!(reason(before), "EventAgeExceeded");
        assert_eq!(policy.before(&claimed(3, 0), NOW), None);
        let unsettled = policy.before(&claimed(4, 0), NOW).expect("too many");
        assert_eq!(reason(unsettled), "RetriesExhausted");
    }

    #[test]
    fn an_event_that_ten_crashes_cut_short_is_given_up() {
        let policy = QueuePolicy::default();
        assert_eq!(policy.before(&claimed(1, 9), NOW), None);
        let tenth = policy.before(&claimed(1, 10), NOW).expect("too many");
        assert_eq!(reason(tenth), "Interrupted");
    }

    #[test]
    fn what_no_attempt_can_mend_ends_at_once() {
        let policy = QueuePolicy::default();
        let gone = InvokeError::NotFound {
            function: "f".to_owned(),
            qualifier: Qualifier::Latest,
        };
        let cases = [
            (gone, "FunctionDeleted"),
            (
                InvokeError::EventTooLarge { limit_bytes: 1 },
                "EventTooLarge",
            ),
            (InvokeError::LoopDetected { hops: 17 }, "LoopDetected"),
        ];
        for (error, expected) in cases {
            let verdict = policy.after(&event(1), 1, Came::Not(error), NOW);
            assert_eq!(reason(verdict), expected);
        }
    }

    #[test]
    fn a_kept_error_is_cut_between_characters() {
        let policy = QueuePolicy {
            error_bytes_max: 3,
            ..QueuePolicy::default()
        };
        assert_eq!(policy.cut("ääää".to_owned()), "ä");
    }
}
