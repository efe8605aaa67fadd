//! The queue's time while the node runs, and when it is kept (decision 29).
//!
//! It goes by the clock that counts from the machine's boot. It is written down where the wall clock
//! is seen to have been set, and now and then while there is something to do: never for an event.

use super::platform;
use freehold_domain::{
    BootTime, KeptTime, Mono, QueueTime,
    ports::{Clock, Commit, CommitError, EventQueue, Fence, Op, ReadError},
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// What the wall clock may be set by before that is kept; both clocks are slewed alike.
const STEP_MAX: Duration = Duration::from_secs(1);
/// Shorter sleeps of the machine are within a lease's margin.
const SLEEP_MIN: Duration = Duration::from_secs(1);

/// The queue's time.
pub(super) struct QueueClock {
    clock: Arc<dyn Clock>,
    origin: (BootTime, Mono, QueueTime),
    kept: Mutex<Option<KeptTime>>,
}

impl QueueClock {
    /// Goes on from what `queue` has kept; from the wall clock where it has nothing.
    ///
    /// Errors: the store's.
    pub(super) async fn resume(
        clock: Arc<dyn Clock>,
        queue: &dyn EventQueue,
    ) -> Result<Self, ReadError> {
        let kept = queue.time_kept(&platform()).await?;
        let (now, boot, wall) = (clock.now(), clock.boot_time(), clock.wall());
        let resumed = kept.map(|kept| kept.resume(wall, boot));
        if let (Some(kept), Some(resumed)) = (kept, resumed)
            && resumed.is_wall_doubted
        {
            tracing::warn!(
                wall_ms = wall.millis(),
                wall_kept_ms = kept.wall.millis(),
                "the clock does not say how long the node was down; for events no time has passed"
            );
        }
        let begin = resumed.map_or(QueueTime(wall.0), |resumed| resumed.now);
        Ok(Self {
            clock,
            origin: (boot, now, begin),
            kept: Mutex::new(kept),
        })
    }

    /// What is due by now is due.
    pub(super) fn now(&self) -> QueueTime {
        self.at(self.clock.boot_time())
    }

    fn at(&self, boot: BootTime) -> QueueTime {
        let (begun, _, begin) = self.origin;
        begin + boot.since.saturating_sub(begun.since)
    }

    /// How long the machine slept since the start, beyond what is `known`: time for what waits, not
    /// for what runs.
    pub(super) fn slept_since(&self, known: Duration) -> Duration {
        let (boot, now, _) = self.origin;
        // In this order: what passes between the two is no sleep.
        let passed = self.clock.boot_time().since.saturating_sub(boot.since);
        let awake = self.clock.now().since(now);
        let more = passed.saturating_sub(awake).saturating_sub(known);
        if more < SLEEP_MIN {
            return Duration::ZERO;
        }
        more
    }

    /// Keeps the time if a start that had to go by what was kept would go wrong: nothing was kept,
    /// or of another boot, or the wall clock was set since. Whatever writes moments into the store
    /// does this before.
    ///
    /// Errors: the store's; nothing was kept then.
    pub(super) async fn keep(&self, commit: &dyn Commit) -> Result<(), CommitError> {
        self.keep_after(commit, Duration::MAX).await
    }

    /// The same, and also if what is kept is as old as `age_max`.
    ///
    /// Errors: as [`QueueClock::keep`].
    pub(super) async fn keep_after(
        &self,
        commit: &dyn Commit,
        age_max: Duration,
    ) -> Result<(), CommitError> {
        let boot = self.clock.boot_time();
        let kept = KeptTime {
            now: self.at(boot),
            wall: self.clock.wall(),
            boot,
        };
        let was = *self.kept.lock();
        let is_good = was.is_some_and(|was| {
            let set_us = was.ahead_us().abs_diff(kept.ahead_us());
            was.boot.boot == boot.boot
                && Duration::from_micros(set_us) < STEP_MAX
                && kept.now.since(was.now) < age_max
        });
        if is_good {
            return Ok(());
        }
        // Two that come at once both write: what they write says the same.
        let ops = vec![Op::EventTime { kept }];
        commit.commit(&platform(), ops, Fence::None).await?;
        *self.kept.lock() = Some(kept);
        Ok(())
    }
}
