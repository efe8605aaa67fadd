//! A value that changes while the node runs, read without a lock.
//!
//! Whoever reads it finds the newest value: a store that has returned is seen by every read that
//! begins after it. Each thread keeps what it read last and compares a number; only the first read
//! after a change goes to the lock. A thread that never reads again holds the old value for as long
//! as it lives, so this is for settings, which are small.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// A setting that may change. Clones are the same cell.
pub struct Live<T>(Arc<Shared<T>>);

struct Shared<T> {
    /// Which cell it is, of all of the process.
    id: usize,
    /// Grows with every change; read without the lock, written below it.
    version: AtomicU64,
    current: Mutex<Arc<T>>,
}

/// What a thread read last of one cell; version 0 is nothing.
#[derive(Clone, Default)]
struct Seen {
    version: u64,
    value: Option<Arc<dyn Any + Send + Sync>>,
}

static CELLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// By the cells' ids.
    static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
}

impl<T: Send + Sync + 'static> Live<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            id: CELLS.fetch_add(1, Ordering::Relaxed),
            version: AtomicU64::new(1),
            current: Mutex::new(Arc::new(value)),
        }))
    }

    /// The value as it is now.
    pub fn now(&self) -> T
    where
        T: Copy,
    {
        let seen = SEEN.try_with(|seen| *self.newest(&mut seen.borrow_mut()));
        // Only while the thread ends.
        seen.unwrap_or_else(|_| **self.current())
    }

    /// Reads the value as it is now in place. What reads it must not read any cell.
    pub fn with<R>(&self, read: impl Fn(&T) -> R) -> R {
        let seen = SEEN.try_with(|seen| read(self.newest(&mut seen.borrow_mut())));
        // Only while the thread ends.
        seen.unwrap_or_else(|_| read(&self.current()))
    }

    /// The value as it is now, for what is too large to copy.
    pub fn whole(&self) -> Arc<T> {
        let seen = SEEN.try_with(|seen| {
            let mut seen = seen.borrow_mut();
            self.newest(&mut seen);
            seen[self.0.id].value.clone()
        });
        let seen = seen.ok().flatten();
        seen.and_then(|value| value.downcast::<T>().ok())
            .unwrap_or_else(|| self.current().clone())
    }

    /// Replaces the value: reads that begin after this find the new one.
    pub fn set(&self, value: T) {
        let mut current = self.current();
        *current = Arc::new(value);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// Changes a part of the value. What changes it must not read the cell.
    pub fn change(&self, how: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        let mut current = self.current();
        how(Arc::make_mut(&mut current));
        self.0.version.fetch_add(1, Ordering::Release);
    }

    fn current(&self) -> MutexGuard<'_, Arc<T>> {
        // Nothing is half done below this lock.
        let current = self.0.current.lock();
        current.unwrap_or_else(PoisonError::into_inner)
    }

    fn newest<'a>(&self, seen: &'a mut Vec<Seen>) -> &'a T {
        let id = self.0.id;
        if seen.len() <= id {
            seen.resize(id + 1, Seen::default());
        }
        let slot = &mut seen[id];
        if slot.version != self.0.version.load(Ordering::Acquire) {
            let current = self.current();
            slot.version = self.0.version.load(Ordering::Relaxed);
            slot.value = Some(current.clone());
        }
        let value = slot
            .value
            .as_deref()
            .and_then(|value| value.downcast_ref::<T>());
        value.expect("an id is one cell's, and its slot was filled with the cell's value")
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug + Send + Sync + 'static> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_change_is_seen_by_every_clone_and_no_other_cell() {
        let (one, other) = (Live::new(1), Live::new(10));
        let same = one.clone();
        assert_eq!((one.now(), other.now()), (1, 10));
        same.set(2);
        assert_eq!((one.now(), same.now(), other.now()), (2, 2, 10));
        same.change(|value| *value += 1);
        assert_eq!((one.now(), *one.whole()), (3, 3));
        let words = Live::new(vec!["a"]);
        words.change(|words| words.push("b"));
        assert_eq!(*words.whole(), ["a", "b"]);
        assert_eq!(words.with(|words| words.join(" ")), "a b");
    }

    #[test]
    fn other_threads_see_a_change_once_it_is_told_and_never_an_older_one_after_it() {
        const LAST: u64 = 10_000;
        let (cell, told) = (Live::new(0_u64), Arc::new(AtomicU64::new(0)));
        let over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (cell, told, over) = (cell.clone(), told.clone(), over.clone());
                std::thread::spawn(move || {
                    let mut before = 0;
                    while !over.load(Ordering::Acquire) {
                        let least = told.load(Ordering::Acquire);
                        let now = cell.now();
                        assert!(now >= least && now >= before, "{before} {least} {now}");
                        before = now;
                    }
                    assert_eq!(cell.now(), LAST);
                })
            })
            .collect();
        for value in 1..=LAST {
            cell.set(value);
            told.store(value, Ordering::Release);
        }
        over.store(true, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
    }
}
