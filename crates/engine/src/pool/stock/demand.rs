//! How many booted instances one shelf should hold, from the starts that asked for them.
//!
//! Pure. What was asked for at once is what may be asked for at once again: the most starts within
//! a second, fading by half in five minutes, at least one for as long as anybody starts anything
//! and for half an hour beyond.

use freehold_domain::time::Mono;
use std::time::Duration;

/// How long a shelf is kept after the last start.
pub(super) const QUIET: Duration = Duration::from_secs(30 * 60);
/// Booted instances of one shelf at the most.
pub(super) const CEILING: usize = 16;
const HALF_LIFE_S: f64 = 300.0;
/// Starts within this count as one wave.
const WAVE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    /// The highest wave, as of `at`.
    peak: f64,
    at: Mono,
    wave: u32,
    wave_began: Mono,
    last: Option<Mono>,
}

impl Demand {
    /// A start that would have used one.
    pub(super) fn start(&mut self, now: Mono) {
        if self.wave == 0 || now.since(self.wave_began) >= WAVE {
            (self.wave, self.wave_began) = (0, now);
        }
        self.wave = self.wave.saturating_add(1);
        self.peak = self.faded(now).max(f64::from(self.wave));
        self.at = now;
        self.last = Some(now);
    }

    /// Starts are to be expected: a function was deployed.
    pub(super) fn expect(&mut self, now: Mono) {
        self.last = Some(now);
    }

    /// How many to hold.
    pub(super) fn wanted(&self, now: Mono) -> usize {
        match self.last {
            Some(last) if now.since(last) < QUIET => {
                (self.faded(now).round() as usize).clamp(1, CEILING)
            }
            _ => 0,
        }
    }

    fn faded(&self, now: Mono) -> f64 {
        self.peak * 0.5_f64.powf(now.since(self.at).as_secs_f64() / HALF_LIFE_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(1) + Duration::from_secs(seconds)
    }

    #[test]
    fn nobody_asks_and_nothing_is_held() {
        assert_eq!(Demand::default().wanted(at(0)), 0);
    }

    #[test]
    fn one_is_held_while_anybody_starts_anything_and_none_long_after() {
        let mut demand = Demand::default();
        demand.start(at(0));
        for seconds in [0, 600, 1799] {
            assert_eq!(demand.wanted(at(seconds)), 1, "{seconds}");
        }
        assert_eq!(demand.wanted(at(1800)), 0);
        demand.expect(at(4000));
        assert_eq!(demand.wanted(at(4001)), 1);
    }

    #[test]
    fn a_wave_is_held_for_the_next_one_and_fades() {
        let mut demand = Demand::default();
        (0..10).for_each(|_| demand.start(at(1)));
        assert_eq!(demand.wanted(at(1)), 10);
        assert_eq!(demand.wanted(at(301)), 5);
        assert_eq!(demand.wanted(at(1500)), 1);
        (0..1000).for_each(|_| demand.start(at(1500)));
        assert_eq!(demand.wanted(at(1500)), CEILING);
    }
}
