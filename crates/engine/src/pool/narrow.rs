//! Few instances at a time for runs that are shorter than what the platform does about them.
//!
//! Sixteen events at once for a function that takes fifty microseconds could go into sixteen idle
//! instances; they would take turns on this core's processor, each with a cache that the fifteen
//! others have emptied. Two or three answer them all just as soon and for half the processor time.
//! So events of such a function wait for one of its instances that are at work on their core, while
//! these come free one after the other. Only ever where an idle instance stands by: whoever sees
//! none come free for [`PATIENCE`] takes it, and the function is spared for a while: its runs wait
//! for something else than a processor.
//!
//! Knows nothing of starts: an event without an idle instance does not come here.

use freehold_domain::time::Mono;
use std::time::Duration;

/// No instance has come free for so long: they are not as quick as it looked.
const PATIENCE: Duration = Duration::from_millis(2);
/// A run that is longer leaves the processor to others often enough.
const QUICK: Duration = Duration::from_micros(500);
/// Runs before the quickest of them says something.
const KNOWN_AFTER: u32 = 64;
/// How long a function is spared after the first time, and the most.
const SPARED: Duration = Duration::from_secs(1);
const SPARED_MAX: Duration = Duration::from_secs(600);
/// After so many times as long without another, it counts as the first again.
const FORGIVEN_AFTER: u32 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Narrow {
    /// Runs so far, up to [`KNOWN_AFTER`].
    runs: u32,
    /// The quickest run, forgotten slowly.
    quickest: Duration,
    /// Instances at work, and answers so far, by core.
    cores: Vec<Core>,
    spared_until: Mono,
    spared_for: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Core {
    at_work: usize,
    freed: u64,
}

impl Narrow {
    pub(super) fn new(cores: usize) -> Self {
        Self {
            runs: 0,
            quickest: Duration::MAX,
            cores: vec![Core::default(); cores.max(1)],
            spared_until: Mono(0),
            spared_for: SPARED,
        }
    }

    /// An instance of this core has an event now.
    pub(super) fn begins(&mut self, core: usize) {
        self.cores[core].at_work += 1;
    }

    /// It has none any more.
    pub(super) fn ends(&mut self, core: usize) {
        self.cores[core].at_work -= 1;
        self.cores[core].freed += 1;
    }

    /// It came free and has the next event already.
    pub(super) fn passes_on(&mut self, core: usize) {
        self.cores[core].freed += 1;
    }

    /// A run that ended in an answer.
    pub(super) fn ran(&mut self, took: Duration) {
        self.runs = (self.runs + 1).min(KNOWN_AFTER);
        let forgotten = self.quickest.saturating_add(self.quickest / 256);
        self.quickest = took.min(forgotten);
    }

    /// Whether an event waits though an instance of `core` is idle.
    pub(super) fn holds_back(&self, core: usize, now: Mono) -> bool {
        if !self.is_quick() || now < self.spared_until {
            return false;
        }
        // As many as answer while the platform does its own part for one event.
        let enough = 2 + self.quickest.as_micros() as usize / 100;
        self.cores[core].at_work > enough
    }

    /// Whether runs are known to be quick ones.
    pub(super) fn is_quick(&self) -> bool {
        self.runs >= KNOWN_AFTER && self.quickest <= QUICK
    }

    /// How many have come free on `core`, for [`Narrow::goes_on`].
    pub(super) fn freed(&self, core: usize) -> u64 {
        self.cores[core].freed
    }

    /// Whether one that has waited for [`PATIENCE`] since `freed` goes on waiting. If not, nobody
    /// waits for a while.
    pub(super) fn goes_on(&mut self, core: usize, freed: u64, now: Mono) -> bool {
        if self.cores[core].freed != freed {
            return true;
        }
        if now >= self.spared_until {
            if now.since(self.spared_until) > self.spared_for * FORGIVEN_AFTER {
                self.spared_for = SPARED;
            }
            self.spared_until = now + self.spared_for;
            self.spared_for = (self.spared_for * 2).min(SPARED_MAX);
        }
        false
    }
}

/// How long one waits before it looks whether any came free.
pub(super) const fn patience() -> Duration {
    PATIENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn known(took: Duration) -> Narrow {
        let mut narrow = Narrow::new(2);
        for _ in 0..KNOWN_AFTER {
            narrow.ran(took);
        }
        narrow
    }

    #[test]
    fn few_are_enough_for_quick_runs_and_for_no_others() {
        let at = Mono(0) + MS;
        for (took, enough) in [(20, 2), (99, 2), (350, 5)] {
            let mut narrow = known(Duration::from_micros(took));
            for _ in 0..enough {
                assert!(!narrow.holds_back(1, at), "{took} µs");
                narrow.begins(1);
            }
            assert!(!narrow.holds_back(1, at) && !narrow.holds_back(0, at));
            narrow.begins(1);
            assert!(narrow.holds_back(1, at) && !narrow.holds_back(0, at));
            narrow.ends(1);
            assert!(!narrow.holds_back(1, at));
        }
        let mut slow = known(QUICK + MS);
        let mut unknown = Narrow::new(2);
        unknown.ran(Duration::from_micros(20));
        for narrow in [&mut slow, &mut unknown] {
            (0..100).for_each(|_| narrow.begins(0));
            assert!(!narrow.holds_back(0, at));
        }
    }

    #[test]
    fn a_function_that_has_become_slow_is_known_again_after_a_while() {
        let mut narrow = known(Duration::from_micros(50));
        let runs = (0..).take_while(|_| {
            narrow.ran(Duration::from_secs(1));
            narrow.quickest <= QUICK
        });
        assert!(runs.count() < 1000);
    }

    #[test]
    fn who_sees_nothing_come_free_is_let_go_and_the_function_spared_longer_each_time() {
        let mut narrow = known(Duration::from_micros(50));
        (0..9).for_each(|_| narrow.begins(0));
        let (mut at, mut spared) = (Mono(0) + MS, Vec::new());
        for _ in 0..20 {
            assert!(narrow.holds_back(0, at));
            let freed = narrow.freed(0);
            narrow.passes_on(0);
            assert!(narrow.goes_on(0, freed, at), "one came free");
            assert!(!narrow.goes_on(0, narrow.freed(0), at));
            assert!(
                !narrow.goes_on(0, narrow.freed(0), at),
                "the next one as well"
            );
            let begun = at;
            while !narrow.holds_back(0, at) {
                at = at + SPARED;
            }
            spared.push(at.since(begun).as_secs());
        }
        assert_eq!(spared[..4], [1, 2, 4, 8]);
        assert_eq!(spared[19], SPARED_MAX.as_secs());

        at = at + SPARED_MAX * (FORGIVEN_AFTER + 1);
        assert!(!narrow.goes_on(0, narrow.freed(0), at));
        assert!(narrow.holds_back(0, at + SPARED), "the first time again");
    }
}
