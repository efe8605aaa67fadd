//! The queue's own time: it goes on as the machine's clock does that nobody can set, and says what
//! the wall clock said when the store was made.
//!
//! What is due, leased, aged and kept for a time goes by it, so that a wall clock that is set moves
//! none of that. Its distance from the wall is kept beside the events, which is how the next start
//! finds the time again; what can be known of the span between the two is decided here (decision 29).

use crate::time::Wall;
use serde::{Deserialize, Serialize};
use std::{ops::Add, time::Duration};

/// The longest downtime that a wall clock is believed, where nothing else tells. A clock that began
/// in 1970 and was set says more, and would end every event.
const DOWN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A moment of the queue's time, in microseconds. Near the wall clock, and never to be shown for it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct QueueTime(pub i64);

impl QueueTime {
    /// The time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: QueueTime) -> Duration {
        micros(self.0.saturating_sub(earlier.0))
    }
    /// As long before this; the beginning of time where that is further.
    pub fn before(self, by: Duration) -> QueueTime {
        QueueTime(
            self.0
                .saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}
impl Add<Duration> for QueueTime {
    type Output = QueueTime;
    fn add(self, by: Duration) -> QueueTime {
        QueueTime(
            self.0
                .saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A moment of the clock that begins when the machine boots, goes on while it sleeps, and is never
/// set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootTime {
    /// Which boot; `None` where the machine does not tell. Moments of two boots say nothing of each
    /// other.
    pub boot: Option<u64>,
    /// How long ago that was.
    pub since: Duration,
}

/// What is kept of the queue's time: one moment by each clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptTime {
    /// The queue's time.
    pub now: QueueTime,
    /// What the wall clock said then.
    pub wall: Wall,
    /// What the machine's own clock said then.
    pub boot: BootTime,
}

/// The queue's time at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// From which moment on it goes.
    pub now: QueueTime,
    /// Whether the wall clock said something else, which was not believed.
    pub is_wall_doubted: bool,
}

impl KeptTime {
    /// How far the queue's time is ahead of the wall clock, in microseconds.
    pub fn ahead_us(&self) -> i64 {
        self.now.0.saturating_sub(self.wall.0)
    }

    /// Goes on at a start that sees `wall` and `boot`; never earlier than what was kept.
    ///
    /// Within one boot, the machine's own clock tells how long nobody kept the time, whatever was
    /// done to the wall clock meanwhile. Over a boot the wall clock has to be believed: a step is
    /// then as good as time that passed, unless it goes back, or over more than a year.
    pub fn resume(&self, wall: Wall, boot: BootTime) -> Resumed {
        let is_same_boot = boot.boot.is_some() && boot.boot == self.boot.boot;
        if is_same_boot && boot.since >= self.boot.since {
            return Resumed {
                now: self.now + (boot.since - self.boot.since),
                is_wall_doubted: false,
            };
        }
        let gone = wall.0.saturating_sub(self.wall.0);
        let is_wall_doubted = gone < 0 || micros(gone) > DOWN_MAX;
        let gone = if is_wall_doubted { 0 } else { gone };
        Resumed {
            now: self.now + micros(gone),
            is_wall_doubted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn boot(boot: u64, hours: u64) -> BootTime {
        BootTime {
            boot: Some(boot),
            since: Duration::from_secs(hours * 3600),
        }
    }

    /// Kept at 1000 h of the wall, three hours ahead of it, ten hours after boot 1.
    fn kept() -> KeptTime {
        KeptTime {
            now: QueueTime(1003 * HOUR),
            wall: Wall(1000 * HOUR),
            boot: boot(1, 10),
        }
    }

    fn check(kept: KeptTime, wall_hours: i64, boot: BootTime, hours: i64, is_wall_doubted: bool) {
        let now = QueueTime(hours * HOUR);
        let expected = Resumed {
            now,
            is_wall_doubted,
        };
        let resumed = kept.resume(Wall(wall_hours * HOUR), boot);
        assert_eq!(resumed, expected, "{wall_hours} h, {boot:?}");
    }

    #[test]
    fn within_a_boot_no_step_of_the_wall_counts() {
        assert_eq!(kept().ahead_us(), 3 * HOUR);
        for wall in [1002, 0, 990, 1_000_000] {
            check(kept(), wall, boot(1, 12), 1005, false);
        }
    }

    #[test]
    fn over_a_boot_the_wall_tells_how_long_it_took() {
        check(kept(), 1002, boot(2, 0), 1005, false);
        check(kept(), 1000, boot(2, 0), 1003, false);
        check(kept(), 1000 + 366 * 24, boot(2, 40), 1003 + 366 * 24, false);
    }

    #[test]
    fn a_wall_before_what_was_kept_or_years_behind_it_is_not_believed() {
        for wall in [999, 0, -1_000_000, 1001 + 366 * 24, 56 * 366 * 24] {
            check(kept(), wall, boot(2, 0), 1003, true);
        }
        let far = kept().resume(Wall(i64::MAX), boot(2, 0));
        assert_eq!(far.now, kept().now);
    }

    #[test]
    fn a_boot_that_nobody_names_or_that_went_back_is_another() {
        let nameless = BootTime {
            boot: None,
            ..kept().boot
        };
        let was = KeptTime {
            boot: nameless,
            ..kept()
        };
        check(was, 1002, nameless, 1005, false);
        check(kept(), 1002, boot(1, 9), 1005, false);
    }

    #[test]
    fn spans_end_at_the_ends_of_time() {
        let (first, last) = (QueueTime(i64::MIN), QueueTime(i64::MAX));
        assert_eq!(last + Duration::MAX, last);
        assert_eq!(first.before(Duration::MAX), first);
        assert_eq!(first.since(last), Duration::ZERO);
        assert_eq!(last.since(first), micros(i64::MAX));
    }
}
