//! Writing down what came of an attempt, for as long as the claim holds.

use super::{EventQueueWorker, platform, policy::Verdict};
use freehold_domain::{
    InvocationId, Mono,
    ports::{CommitError, Fence, Op},
    record::EventEnd,
};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};

/// First and longest wait between tries at a store that fails.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Writes `verdict`. A store that fails is tried again until the lease is over; then the event is
/// due again by itself, and the next attempt is one too many rather than the event lost.
pub(super) async fn settle(
    worker: &EventQueueWorker,
    id: InvocationId,
    epoch: u64,
    verdict: Verdict,
    leased_until: Mono,
) {
    let clock = &worker.deps.clock;
    let is_dead = matches!(verdict, Verdict::End(EventEnd::Dead { .. }));
    let op = match verdict {
        Verdict::End(end) => Op::EventEnd {
            id,
            epoch,
            end,
            at: worker.time.now(),
        },
        Verdict::Again { due, counts, error } => Op::EventRetry {
            id,
            epoch,
            due,
            counts,
            error,
        },
    };
    let mut wait = AGAIN_MIN;
    loop {
        match write(worker, op.clone()).await {
            Ok(()) => break,
            Err(CommitError::StaleClaim { .. }) => {
                tracing::warn!(%id, epoch, "an event was claimed again before it was settled");
                return;
            }
            Err(error) if clock.now() + wait >= leased_until => {
                tracing::error!(%id, %error, "an event could not be settled; it will run again");
                return;
            }
            Err(error) => tracing::warn!(%id, %error, "an event could not be settled yet"),
        }
        clock.sleep(wait).await;
        wait = (wait * 2).min(AGAIN_MAX);
    }
    if is_dead {
        worker.counters.dead.fetch_add(1, Relaxed);
    }
}

async fn write(worker: &EventQueueWorker, op: Op) -> Result<(), CommitError> {
    let commit = &worker.deps.commit;
    worker.time.keep(&**commit).await?;
    let written = commit.commit(&platform(), vec![op], Fence::None).await;
    written.map(drop)
}

/// Gives an event back that a drain did not wait for; it is due at once, for the next start.
pub(super) async fn give_back(worker: &EventQueueWorker, id: InvocationId, epoch: u64) {
    let op = Op::EventRetry {
        id,
        epoch,
        due: worker.time.now(),
        counts: false,
        error: Some("the node was shut down during the attempt".to_owned()),
    };
    match write(worker, op).await {
        // Settled just before: nothing to give back.
        Ok(()) | Err(CommitError::StaleClaim { .. }) => {}
        Err(error) => {
            tracing::warn!(%id, %error, "an event could not be given back; its lease will end");
        }
    }
}
