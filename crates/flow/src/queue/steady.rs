//! The time by which events are due, aged and leased: the wall clock as it was when the queue was
//! made, and what has gone by since.
//!
//! A machine's clock that is set while events wait or run moves none of them: forward, it would end
//! the leases of those that run, which would run twice, and the age of those that wait; back, nothing
//! would be due for as long.

use freehold_domain::{BoxFuture, Mono, Wall, ports::Clock};
use std::sync::Arc;

/// A clock whose wall does not step.
pub(super) struct Steady {
    clock: Arc<dyn Clock>,
    begun: (Mono, Wall),
}

impl Steady {
    /// Says what `clock` says now, and goes on from there.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let begun = (clock.now(), clock.wall());
        Arc::new(Self { clock, begun })
    }
}

impl Clock for Steady {
    fn now(&self) -> Mono {
        self.clock.now()
    }

    fn wall(&self) -> Wall {
        let (now, wall) = self.begun;
        wall + self.clock.now().since(now)
    }

    fn sleep_until(&self, at: Mono) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(at)
    }
}
