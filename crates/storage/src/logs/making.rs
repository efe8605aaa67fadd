//! Streams whose files are being made: their numbers and names, from the moment at which a number is
//! taken until the stream is known to all.
//!
//! A file is made with no lock held, since a disk may take its time and starts of other functions
//! shall not wait for it. What the lock did is done here: one name is made once at a time, and
//! whoever needs to know below which number nothing comes any more asks for the [`floor`].
//!
//! [`floor`]: Making::floor

use freehold_domain::logs::LogStreamName;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// See the module.
pub(super) struct Making {
    inner: Mutex<Inner>,
    done: Condvar,
}

struct Inner {
    /// The number that is taken next.
    next: u64,
    by_name: BTreeMap<Arc<LogStreamName>, u64>,
}

/// A number that is taken, until this is dropped.
pub(super) struct Turn<'a> {
    making: &'a Making,
    /// The name, for the stream to have.
    pub(super) name: Arc<LogStreamName>,
    /// The number of its file.
    pub(super) number: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.making.inner.lock().by_name.remove(&self.name);
        self.making.done.notify_all();
    }
}

/// Which numbers were taken at a moment.
pub(super) struct Taken {
    /// All below this one.
    pub(super) next: u64,
    /// Of them, those whose streams were not known yet.
    making: BTreeSet<u64>,
}

impl Taken {
    /// Whether the stream of this number was known by then.
    pub(super) fn is_known(&self, number: u64) -> bool {
        number < self.next && !self.making.contains(&number)
    }

    /// Below it all were.
    pub(super) fn floor(&self) -> u64 {
        self.making.first().copied().unwrap_or(self.next)
    }
}

impl Making {
    /// The first number that is taken will be `next`.
    pub(super) fn new(next: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                next,
                by_name: BTreeMap::new(),
            }),
            done: Condvar::new(),
        }
    }

    /// Takes a number for the stream of this name; `None` where somebody else was making it, who is
    /// done when this returns.
    pub(super) fn begin(&self, name: &LogStreamName) -> Option<Turn<'_>> {
        let mut inner = self.inner.lock();
        if inner.by_name.contains_key(name) {
            while inner.by_name.contains_key(name) {
                self.done.wait(&mut inner);
            }
            return None;
        }
        let (name, number) = (Arc::new(name.clone()), inner.next);
        inner.next += 1;
        inner.by_name.insert(name.clone(), number);
        Some(Turn {
            making: self,
            name,
            number,
        })
    }

    /// The number that is taken next.
    pub(super) fn next(&self) -> u64 {
        self.inner.lock().next
    }

    /// Every stream with a lower number is known, and none comes any more.
    pub(super) fn floor(&self) -> u64 {
        let inner = self.inner.lock();
        inner.by_name.values().min().copied().unwrap_or(inner.next)
    }

    /// Which numbers are taken at this moment.
    pub(super) fn taken(&self) -> Taken {
        let inner = self.inner.lock();
        Taken {
            next: inner.next,
            making: inner.by_name.values().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::logs::LogGroupName;
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
    };

    fn name(stream: &str) -> LogStreamName {
        LogStreamName {
            group: LogGroupName {
                tenant: "111111111111".parse().expect("12 digits"),
                region: "us-east-1".parse().expect("a region"),
                group: "g".to_owned(),
            },
            stream: stream.to_owned(),
        }
    }

    #[test]
    fn the_floor_is_the_lowest_number_whose_stream_is_not_known_yet() {
        let making = Making::new(7);
        let (a, b) = (making.begin(&name("a")), making.begin(&name("b")));
        let taken = making.taken();
        assert_eq!((making.floor(), making.next()), (7, 9));
        drop(a);
        assert_eq!((making.floor(), making.next()), (8, 9));
        drop(b);
        assert_eq!((making.floor(), making.next()), (9, 9));
        // What was taken stays as it was.
        assert_eq!((taken.floor(), taken.next), (7, 9));
        let known: Vec<_> = (0..11).filter(|number| taken.is_known(*number)).collect();
        assert_eq!(known, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_name_is_made_once_at_a_time() {
        let (making, inside, made) = (Making::new(1), AtomicUsize::new(0), AtomicUsize::new(0));
        let make = || {
            for _ in 0..500 {
                let Some(_turn) = making.begin(&name("a")) else {
                    continue;
                };
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "somebody else makes it");
                thread::yield_now();
                made.fetch_add(1, SeqCst);
                inside.fetch_sub(1, SeqCst);
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(make);
            }
            // Another name waits for nobody.
            let _turn = making.begin(&name("b"));
            while made.load(SeqCst) == 0 {
                assert!(making.begin(&name("c")).is_some());
            }
        });
        let numbers = making.next() - 1;
        assert!(
            numbers > made.into_inner() as u64,
            "each has one of its own"
        );
    }
}
