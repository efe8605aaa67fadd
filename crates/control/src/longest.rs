//! The longest run that may be going on: a ceiling that is lowered does not bind what runs already.

use freehold_domain::{limits::Limits, live::Live};
use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// The ceilings of runs, and the highest that they were since the start. Somebody has to look now and
/// then; housekeeping does.
pub(crate) struct Longest {
    limits: Live<Limits>,
    timeout_s: AtomicU32,
    attempt_s: AtomicU32,
}

impl Longest {
    pub(crate) fn new(limits: Live<Limits>) -> Self {
        let longest = Self {
            limits,
            timeout_s: AtomicU32::new(0),
            attempt_s: AtomicU32::new(0),
        };
        longest.look();
        longest
    }

    /// Takes note of the ceilings as they are.
    pub(crate) fn look(&self) {
        let limits = self.limits.now();
        self.timeout_s.fetch_max(limits.function_timeout_s, Relaxed);
        self.attempt_s.fetch_max(limits.attempt_s(), Relaxed);
    }

    /// The longest run of a function that may be going on.
    pub(crate) fn run(&self) -> Duration {
        self.look();
        Duration::from_secs(self.timeout_s.load(Relaxed).into())
    }

    /// The longest time from an event's acceptance to its entry in the ledger.
    pub(crate) fn attempt(&self) -> Duration {
        self.look();
        Duration::from_secs(self.attempt_s.load(Relaxed).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_below_a_higher_ceiling_is_reckoned_with() {
        let limits = Live::new(Limits::default());
        let longest = Longest::new(limits.clone());
        let attempt = longest.attempt();
        // A minute for an instance, init twice, the run.
        assert!(
            attempt >= Duration::from_secs(60 + 2 * 10 + 900),
            "{attempt:?}"
        );
        limits.change(|limits| limits.function_timeout_s = 3);
        assert_eq!(longest.run(), Duration::from_secs(900));
        assert_eq!(longest.attempt(), attempt);
        limits.change(|limits| limits.function_timeout_s = 7200);
        assert_eq!(longest.run(), Duration::from_secs(7200));
        assert_eq!(longest.attempt(), attempt + Duration::from_secs(6300));
    }
}
