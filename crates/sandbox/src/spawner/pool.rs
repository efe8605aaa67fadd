//! How many sandboxes of each runtime to keep parked.
//!
//! One of each runtime, so that a first start finds one; more of those that were started lately,
//! as many as were started in one period, up to the lane's budget. What is parked beyond that is
//! let go one at a time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Demand is counted over this long, and the period before it still counts.
const PERIOD: Duration = Duration::from_secs(10);

/// Starts of each runtime, lately.
#[derive(Debug)]
pub struct Demand {
    budget: usize,
    since: Instant,
    now: HashMap<u32, usize>,
    before: HashMap<u32, usize>,
}

impl Demand {
    /// No demand yet; `budget` sandboxes may be parked.
    pub fn new(budget: usize, now: Instant) -> Demand {
        Demand {
            budget,
            since: now,
            now: HashMap::new(),
            before: HashMap::new(),
        }
    }

    /// A start of `runtime` was asked for.
    pub fn note(&mut self, runtime: u32, at: Instant) {
        self.turn(at);
        *self.now.entry(runtime).or_default() += 1;
    }

    /// How many of `runtime`, of `runtimes` in all, should be parked.
    pub fn wanted(&mut self, runtime: u32, runtimes: usize, at: Instant) -> usize {
        self.turn(at);
        if self.budget == 0 {
            return 0;
        }
        let of = |runtime: u32| {
            let count = |map: &HashMap<u32, usize>| map.get(&runtime).copied().unwrap_or(0);
            count(&self.now).max(count(&self.before))
        };
        let all: usize = {
            let mut known: Vec<u32> = self.now.keys().chain(self.before.keys()).copied().collect();
            known.sort_unstable();
            known.dedup();
            known.into_iter().map(of).sum()
        };
        let spare = self.budget.saturating_sub(runtimes);
        let share = if all == 0 {
            0
        } else {
            (of(runtime) * spare).div_ceil(all.max(spare))
        };
        (1 + share).min(self.budget)
    }

    fn turn(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.since);
        if passed >= PERIOD {
            let last = std::mem::take(&mut self.now);
            self.before = if passed >= PERIOD * 2 {
                HashMap::new()
            } else {
                last
            };
            self.since = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_fills_the_budget_and_fades() {
        let start = Instant::now();
        let mut demand = Demand::new(32, start);
        assert_eq!(demand.wanted(1, 8, start), 1);
        for _ in 0..100 {
            demand.note(1, start);
        }
        assert_eq!(demand.wanted(1, 8, start), 25);
        assert_eq!(demand.wanted(2, 8, start), 1);
        assert_eq!(demand.wanted(1, 8, start + PERIOD), 25);
        assert_eq!(demand.wanted(1, 8, start + PERIOD * 4), 1);
    }

    #[test]
    fn a_little_demand_asks_for_a_little() {
        let start = Instant::now();
        let mut demand = Demand::new(32, start);
        demand.note(1, start);
        demand.note(1, start);
        assert_eq!(demand.wanted(1, 8, start), 3);
    }
}
