//! Time and randomness of the simulator: a clock that outruns the wall, ids that repeat.
//!
//! [`SimClock`] is tokio's own clock seen through the seam. Under `#[tokio::test(start_paused =
//! true)]`, or a runtime built so, time stands still while anything can run and jumps to the next
//! timer when nothing can: an hour takes as long as the work in it, and one thread with one seed
//! does the same every time.

use fastrand::Rng;
use freehold_domain::{
    BoxFuture,
    ports::{Clock, Ids},
    queue_time::BootTime,
    time::{Mono, Wall},
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// See the module. Made on the runtime whose time it shows.
#[derive(Debug)]
pub struct SimClock {
    origin: Instant,
    wall: Wall,
    /// What the wall clock was set by, microseconds.
    set_us: AtomicI64,
    slept_us: AtomicU64,
    boot: AtomicU64,
}

impl SimClock {
    /// A clock that begins now and says `wall`.
    pub fn new(wall: Wall) -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            wall,
            set_us: AtomicI64::new(0),
            slept_us: AtomicU64::new(0),
            boot: AtomicU64::new(1),
        })
    }

    /// Somebody sets the wall clock by as many seconds, forward or back.
    pub fn step(&self, by_s: i64) {
        self.set_us.fetch_add(by_s * 1_000_000, Relaxed);
    }

    /// The machine sleeps and wakes again: deadlines are as far away as before.
    pub fn suspend(&self, span: Duration) {
        self.slept_us.fetch_add(span.as_micros() as u64, Relaxed);
    }

    /// What runs from here on runs on a machine that was booted anew.
    pub fn reboot(&self) {
        self.boot.fetch_add(1, Relaxed);
    }

    fn elapsed(&self) -> Duration {
        self.origin.elapsed() + Duration::from_micros(self.slept_us.load(Relaxed))
    }
}

impl Clock for SimClock {
    fn now(&self) -> Mono {
        // Not zero: nothing may take the first moment for "never".
        Mono(1) + self.origin.elapsed()
    }
    fn wall(&self) -> Wall {
        let Wall(us) = self.wall + self.elapsed();
        Wall(us + self.set_us.load(Relaxed))
    }
    fn boot_time(&self) -> BootTime {
        BootTime {
            boot: Some(self.boot.load(Relaxed)),
            since: self.elapsed(),
        }
    }
    fn sleep_until(&self, at: Mono) -> BoxFuture<'static, ()> {
        let at = self.origin + Duration::from_nanos(at.0.saturating_sub(1));
        Box::pin(tokio::time::sleep_until(at))
    }
}

/// Ids and randomness from a seed.
#[derive(Debug)]
pub struct SimIds(Mutex<(Rng, u64)>);

impl SimIds {
    /// The same seed gives the same ids.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new((Rng::with_seed(seed), 0))))
    }
}

impl Ids for SimIds {
    /// A UUIDv7 whose time is a count, so that ids sort as they were made.
    fn uuid(&self) -> Uuid {
        let mut state = self.0.lock();
        state.1 += 1;
        let random = state.0.u128(..);
        let value = u128::from(state.1) << 80 | random & ((1 << 76) - 1);
        let value = value & !(0xf << 76) & !(0x3 << 62) | 0x7 << 76 | 0x2 << 62;
        Uuid::from_u128(value)
    }
    fn random(&self) -> u64 {
        self.0.lock().0.u64(..)
    }
}

/// The seed of a test: `FREEHOLD_SEED` in its environment, else a new one. Print it.
pub fn seed() -> u64 {
    let given = std::env::var("FREEHOLD_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_repeat_sort_and_are_version_seven() {
        let (a, b) = (SimIds::new(7), SimIds::new(7));
        let ids: Vec<Uuid> = (0..100).map(|_| a.uuid()).collect();
        assert!(
            ids.iter()
                .all(|id| *id == b.uuid() && id.get_version_num() == 7)
        );
        assert!(ids.is_sorted());
    }
}
