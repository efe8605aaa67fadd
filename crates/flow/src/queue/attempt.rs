//! One attempt at one event, from the claim to what is written of it.

use super::{Counters, EventQueueWorker, policy::Came, settle::settle};
use bytes::Bytes;
use freehold_domain::{
    Body, Frame, FunctionRef, Invocation, Mode, Mono, Outcome, OutcomeKind, Source,
    record::{ClaimedEvent, EventV1},
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts an attempt in flight for as long as it lives.
struct InFlight<'a>(&'a AtomicU64);

impl<'a> InFlight<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Runs and settles a claimed event. Resolves with its function, whose place is free again.
pub(super) async fn attempt(worker: &EventQueueWorker, claimed: ClaimedEvent) -> FunctionRef {
    let clock = &worker.deps.clock;
    let policy = worker.policy.whole();
    let leased_until = clock.now() + policy.lease;
    let before = policy.before(&claimed, worker.time.now());
    let ClaimedEvent {
        event, body, epoch, ..
    } = claimed;
    let verdict = match before {
        Some(verdict) => verdict,
        None => {
            let until = leased_until - policy.lease_margin;
            let came = run(worker, &event, body, until).await;
            count(&worker.counters, &came);
            worker
                .policy
                .whole()
                .after(&event, epoch, came, worker.time.now())
        }
    };
    settle(worker, event.id, epoch, verdict, leased_until).await;
    event.function
}

/// Runs an event until `run_until` at the most: past its lease, somebody else would run it too.
async fn run(worker: &EventQueueWorker, event: &EventV1, body: Bytes, run_until: Mono) -> Came {
    let clock = &worker.deps.clock;
    let _in_flight = InFlight::new(&worker.counters.in_flight);
    let left = event.expires.since(worker.time.now());
    let wait = worker.policy.whole().start_wait.min(left);
    let invocation = Invocation {
        id: event.id,
        principal: event.principal.clone(),
        function: event.function.clone(),
        qualifier: event.qualifier.clone(),
        is_qualified: event.is_qualified,
        attempt: event.attempts,
        by_url: None,
        deadline: clock.now() + wait,
        run_until: Some(run_until),
        mode: Mode::Event,
        trace: event.trace.clone(),
        hops: event.hops,
        source: Source::Queue,
        client_context: event.client_context.clone().map(Into::into),
        log_tail: false,
        body: body.into(),
    };
    worker.counters.attempts.fetch_add(1, Relaxed);
    match worker.deps.invoke.invoke(invocation).await {
        Ok(outcome) => read(outcome, worker.policy.whole().error_bytes_max).await,
        Err(error) => Came::Not(error),
    }
}

fn count(counters: &Counters, came: &Came) {
    let counter = match came {
        Came::Success => &counters.successes,
        Came::FunctionError(_) => &counters.function_errors,
        Came::Not(_) => &counters.deferred,
    };
    counter.fetch_add(1, Relaxed);
}

/// Reads an answer to its end: nobody waits for it, but it may still turn into a failure.
async fn read(outcome: Outcome, keep: usize) -> Came {
    let failed = matches!(outcome.head.kind, OutcomeKind::FunctionError(_));
    let mut body: Body = outcome.body;
    let mut start = Vec::new();
    while let Some(frame) = body.next().await {
        match frame {
            Ok(Frame::Data(data)) if failed => {
                let room = keep.saturating_sub(start.len()).min(data.len());
                start.extend_from_slice(&data[..room]);
            }
            Ok(Frame::Data(_)) => {}
            Ok(Frame::End(trailer)) => {
                if let Some(late) = trailer.late_error {
                    let body = &late.body[..late.body.len().min(keep)];
                    return Came::FunctionError(format!(
                        "{}: {}",
                        late.error_type,
                        String::from_utf8_lossy(body)
                    ));
                }
            }
            // The answer had begun: an attempt that counts, or it could go on for hours.
            Err(error) => return Came::FunctionError(error.to_string()),
        }
    }
    if failed {
        return Came::FunctionError(String::from_utf8_lossy(&start).into_owned());
    }
    Came::Success
}
