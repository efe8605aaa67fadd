//! The real clock and the real source of ids.

use freehold_domain::{
    BoxFuture, Mono, Wall,
    ports::{Clock, Ids},
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The machine's clock; its monotonic origin is the start of the process.
pub(crate) struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Mono {
        Mono(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> Wall {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Wall(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn sleep_until(&self, at: Mono) -> BoxFuture<'static, ()> {
        let at = self.origin + Duration::from_nanos(at.0);
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

/// UUIDv7 with the process's own randomness.
pub(crate) struct SystemIds;

impl Ids for SystemIds {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn random(&self) -> u64 {
        // The low half of a v7 id is 62 random bits; two of them make 64.
        let (a, b) = (Uuid::now_v7().as_u128(), Uuid::now_v7().as_u128());
        (a as u64) ^ (b as u64).rotate_left(32)
    }
}
