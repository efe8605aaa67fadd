//! How much memory the machine has available, without asking the kernel at every start.
//!
//! The kernel's own answer is a file that takes it 20 to 300 µs to write, more with every block
//! device, of which each `/tmp` volume is one; and it is asked before each start and after
//! invocations. So it is asked once in [`FRESH`] at the most, and where there
//! was plenty, off the path: whoever asks then gets what was last seen, however long ago. Refuses that where memory
//! was short: there what is older than [`FRESH`] is looked at anew before the answer.

use crate::launch::meminfo_bytes;
use freehold_domain::{ports::Clock, time::Mono};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// What was seen is as good as new for so long.
const FRESH: Duration = Duration::from_millis(500);
/// Plenty: one in so many bytes of the machine's are available.
const PLENTY_SHARE: u64 = 4;
/// What was old is looked at anew after this long, once the start that asked has had its turn.
const LATER: Duration = Duration::from_millis(10);

/// See the module. Clones share what was seen.
#[derive(Clone)]
pub(super) struct Room(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    total_bytes: u64,
    look: fn() -> u64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    bytes: u64,
    at: Option<Mono>,
    /// Somebody looks already.
    coming: bool,
}

/// What to do with what was seen.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    GoodForNow,
    Stale,
}

impl Room {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let total_bytes = meminfo_bytes("MemTotal:");
        Self::over(clock, total_bytes, || meminfo_bytes("MemAvailable:"))
    }

    fn over(clock: Arc<dyn Clock>, total_bytes: u64, look: fn() -> u64) -> Self {
        Self(Arc::new(Inner {
            clock,
            total_bytes,
            look,
            seen: Mutex::default(),
        }))
    }

    /// Bytes that are available, as of now or as last seen.
    pub(super) fn available_bytes(&self) -> u64 {
        let now = self.0.clock.now();
        {
            let mut seen = self.0.seen.lock();
            match seen.verdict(now, self.0.total_bytes) {
                Verdict::Good => return seen.bytes,
                Verdict::GoodForNow => {
                    let bytes = seen.bytes;
                    if !seen.coming
                        && let Ok(here) = tokio::runtime::Handle::try_current()
                    {
                        seen.coming = true;
                        let room = self.clone();
                        here.spawn(async move {
                            room.0.clock.sleep(LATER).await;
                            room.look();
                        });
                    }
                    return bytes;
                }
                Verdict::Stale => {}
            }
        }
        self.look()
    }

    fn look(&self) -> u64 {
        let bytes = (self.0.look)();
        let at = Some(self.0.clock.now());
        *self.0.seen.lock() = Seen {
            bytes,
            at,
            coming: false,
        };
        bytes
    }
}

impl Seen {
    fn verdict(&self, now: Mono, total_bytes: u64) -> Verdict {
        match self.at {
            Some(at) if now.since(at) < FRESH => Verdict::Good,
            Some(_) if self.bytes > 0 && self.bytes >= total_bytes / PLENTY_SHARE => {
                Verdict::GoodForNow
            }
            _ => Verdict::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::{BoxFuture, time::Wall};
    use std::sync::atomic::{AtomicU64, Ordering};

    const TOTAL: u64 = 1 << 30;

    #[test]
    fn what_is_old_is_believed_only_where_there_was_plenty() {
        let at = |ms| Mono(1) + Duration::from_millis(ms);
        let seen = |bytes| Seen {
            bytes,
            at: Some(at(0)),
            coming: false,
        };
        let plenty = TOTAL / PLENTY_SHARE;
        for bytes in [0, plenty - 1, plenty, TOTAL] {
            assert_eq!(seen(bytes).verdict(at(499), TOTAL), Verdict::Good);
        }
        assert_eq!(seen(plenty).verdict(at(500), TOTAL), Verdict::GoodForNow);
        assert_eq!(seen(plenty - 1).verdict(at(500), TOTAL), Verdict::Stale);
        assert_eq!(seen(0).verdict(at(500), 0), Verdict::Stale);
        assert_eq!(Seen::default().verdict(at(0), TOTAL), Verdict::Stale);
    }

    /// Stands still until it is moved; who sleeps moves it.
    #[derive(Default)]
    struct TestClock(AtomicU64);

    impl Clock for TestClock {
        fn now(&self) -> Mono {
            Mono(self.0.load(Ordering::Acquire))
        }

        fn wall(&self) -> Wall {
            Wall(0)
        }

        fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
            self.0.store(deadline.0, Ordering::Release);
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn what_is_old_is_looked_at_anew_after_it_was_used() {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        // Each look finds a byte less.
        let look = || TOTAL - LOOKS.fetch_add(1, Ordering::AcqRel);
        let clock = Arc::new(TestClock::default());
        let room = Room::over(clock.clone(), TOTAL, look);
        assert_eq!(room.available_bytes(), TOTAL);
        assert_eq!(room.available_bytes(), TOTAL, "it is fresh");
        clock.0.store(FRESH.as_nanos() as u64, Ordering::Release);
        assert_eq!(room.available_bytes(), TOTAL, "it is believed once more");
        assert_eq!(room.available_bytes(), TOTAL, "for all who ask meanwhile");
        tokio::task::yield_now().await;
        assert_eq!(room.available_bytes(), TOTAL - 1);
        assert_eq!(LOOKS.load(Ordering::Acquire), 2);
    }
}
