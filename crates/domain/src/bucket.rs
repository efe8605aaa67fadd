//! A token bucket in one number: what every core takes from without a lock.
//!
//! The generic cell rate algorithm: the bucket is the moment at which it would be full again. A taking
//! moves that moment on by what it costs and fails where it would be more than a window's worth ahead,
//! so no core has a share of its own and what is let through is never more than what one bucket would
//! let through, but for what a taking's cost is rounded by: less than a nanosecond. Time is given, and
//! monotonic: a step of the wall clock moves nothing.
//! Source: ITU-T I.371, annex A, "virtual scheduling algorithm".

use crate::time::Mono;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const SECOND_NS: u64 = 1_000_000_000;

/// What a bucket is filled with, which is also what it holds: so many in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub most: u64,
    /// In how many seconds.
    pub every_s: u32,
}

impl Rate {
    /// So many in a second.
    pub const fn per_s(most: u64) -> Self {
        Self { most, every_s: 1 }
    }

    /// So many in ten seconds.
    pub const fn per_10_s(most: u64) -> Self {
        Self { most, every_s: 10 }
    }

    fn window(self) -> Duration {
        Duration::from_secs(self.every_s.into())
    }

    fn window_ns(self) -> u64 {
        u64::from(self.every_s) * SECOND_NS
    }

    /// By how much taking so many moves the moment on; nothing where there never is any.
    fn cost_ns(self, amount: u64) -> Option<u64> {
        // Rounded down, so that all of a window's takings fit into it; never to nothing.
        let cost = (u128::from(amount.min(self.most)) * u128::from(self.window_ns()))
            .checked_div(u128::from(self.most))?;
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        Some(cost.max(u64::from(amount > 0)))
    }
}

/// See the module. Full when it is made; holds what its rate lets through in one window.
#[derive(Debug, Default)]
pub struct Bucket {
    /// When it is full again, ns.
    full_ns: AtomicU64,
}

impl Bucket {
    /// Takes `amount` out of a bucket that is filled with `rate`. What is more than it holds takes a
    /// full bucket.
    ///
    /// Errors: how long until there is enough; nothing is taken then.
    pub fn take(&self, now: Mono, amount: u64, rate: Rate) -> Result<(), Duration> {
        let Some(cost) = rate.cost_ns(amount) else {
            return Err(rate.window());
        };
        let most = now.0.saturating_add(rate.window_ns());
        let mut seen = self.full_ns.load(Ordering::Relaxed);
        loop {
            let full = seen.max(now.0).saturating_add(cost);
            if full > most {
                return Err(Duration::from_nanos(full - most));
            }
            // Nothing else is told by this number, so no order is needed but its own.
            match self.full_ns.compare_exchange_weak(
                seen,
                full,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }

    /// Whether a taking would find enough, as things are.
    ///
    /// Errors: how long until there is enough.
    pub fn would_give(&self, now: Mono, amount: u64, rate: Rate) -> Result<(), Duration> {
        let Some(cost) = rate.cost_ns(amount) else {
            return Err(rate.window());
        };
        let full = self.full_ns.load(Ordering::Relaxed).max(now.0);
        let most = now.0.saturating_add(rate.window_ns());
        match full.saturating_add(cost).checked_sub(most) {
            None | Some(0) => Ok(()),
            Some(over) => Err(Duration::from_nanos(over)),
        }
    }

    /// Whether nothing is missing: forgetting it changes nothing.
    pub fn is_full(&self, now: Mono) -> bool {
        self.full_ns.load(Ordering::Relaxed) <= now.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_as_it_is_filled() {
        let bucket = Bucket::default();
        let taken = |ms| {
            (0..100)
                .filter(|_| bucket.take(at(ms), 1, Rate::per_s(10)).is_ok())
                .count()
        };
        assert_eq!((taken(5_000), taken(5_000)), (10, 0));
        assert_eq!(
            bucket.take(at(5_000), 1, Rate::per_s(10)),
            Err(Duration::from_millis(100))
        );
        assert_eq!((taken(5_500), taken(5_500)), (5, 0));
        // What nobody takes does not pile up beyond a second's worth.
        assert_eq!(taken(60_000), 10);
    }

    #[test]
    fn what_is_over_a_second_s_worth_takes_a_full_bucket() {
        let bucket = Bucket::default();
        let rate = Rate::per_s(10);
        assert!(bucket.take(at(0), 1_000, rate).is_ok());
        assert_eq!(bucket.take(at(0), 1_000, rate), Err(Duration::from_secs(1)));
        assert!(bucket.take(at(1_000), u64::MAX, rate).is_ok());
        assert!(bucket.take(at(9_000), 1, Rate::per_s(0)).is_err());
        assert!(bucket.would_give(at(9_000), 1, Rate::per_s(0)).is_err());
    }

    #[test]
    fn ten_seconds_worth_at_once_and_then_as_it_is_filled() {
        let (bucket, rate) = (Bucket::default(), Rate::per_10_s(1_000));
        let taken = |ms| {
            (0..2_000)
                .filter(|_| bucket.take(at(ms), 1, rate).is_ok())
                .count()
        };
        assert_eq!((taken(0), taken(0)), (1_000, 0));
        assert_eq!(taken(1_000), 100);
        assert!(!bucket.is_full(at(10_999)) && bucket.is_full(at(11_000)));
        assert_eq!((taken(11_000), taken(60_000)), (1_000, 1_000));
    }

    #[test]
    fn threads_together_take_no_more_than_one_would() {
        let bucket = Bucket::default();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let bucket = &bucket;
                    scope.spawn(move || {
                        (0..10_000)
                            .filter(|_| bucket.take(at(1), 1, Rate::per_s(1_000)).is_ok())
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(taken, 1_000);
    }

    proptest! {
        /// In no stretch of time is more let through than a second's worth and what is filled in it, but
        /// for what costs are rounded by: 200 takings times a nanosecond at 5,000 in a second.
        #[test]
        fn no_stretch_lets_more_through(
            per_s in 1_u64..5_000,
            takings in prop::collection::vec((0_u64..400, 1_u64..50), 1..200),
        ) {
            let bucket = Bucket::default();
            let (mut now, mut passed) = (0, Vec::new());
            for (wait_ms, amount) in takings {
                now += wait_ms;
                let would = bucket.would_give(at(now), amount, Rate::per_s(per_s));
                let taken = bucket.take(at(now), amount, Rate::per_s(per_s));
                prop_assert_eq!(would, taken);
                if taken.is_ok() {
                    passed.push((now, amount.min(per_s)));
                }
            }
            for (from, (begin, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (end, amount) in &passed[from..] {
                    sum += amount;
                    prop_assert!(sum * 1000 <= per_s * 1000 + per_s * (end - begin) + 1);
                }
            }
        }

        /// Whoever waits for as long as it was told finds enough.
        #[test]
        fn the_wait_is_long_enough(per_s in 1_u64..1_000_000, amount in 1_u64..2_000_000) {
            let bucket = Bucket::default();
            let rate = Rate::per_s(per_s);
            prop_assert!(bucket.take(at(7), amount, rate).is_ok());
            if let Err(wait) = bucket.take(at(7), amount, rate) {
                prop_assert!(bucket.take(at(7) + wait, amount, rate).is_ok());
            }
        }
    }
}
