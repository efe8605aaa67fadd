//! Who changes what an account has, beside whom: changes run side by side, each from what it read,
//! and one that has lost to others several times runs alone.

use crate::store::CHANGE_ATTEMPTS;
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hash},
};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Attempts lost to others before a change runs alone. Without it a change whose read takes longer
/// than those of others could lose all of its attempts.
const BESIDE: usize = 4;

/// Accounts share these: a change alone holds up those of one account in so many.
const SHARES: usize = 64;

/// The turns of all accounts.
pub(crate) struct Turns {
    hasher: RandomState,
    shares: [RwLock<()>; SHARES],
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shares: std::array::from_fn(|_| RwLock::new(())),
        }
    }

    /// The attempts at one change of what `account` has. None may begin within another's turn: it
    /// would wait for itself.
    pub(crate) fn attempts(&self, account: &impl Hash) -> Attempts<'_> {
        let share = self.hasher.hash_one(account) as usize % SHARES;
        Attempts {
            share: &self.shares[share],
            made: 0,
        }
    }
}

/// The attempts at one change.
pub(crate) struct Attempts<'a> {
    share: &'a RwLock<()>,
    made: usize,
}

/// Held from the read to the commit of an attempt.
pub(crate) struct Turn<'a> {
    _guard: Guard<'a>,
}

/// Tokio's lock is fair: who asks to be alone waits for those before it only.
enum Guard<'a> {
    Beside { _guard: RwLockReadGuard<'a, ()> },
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

impl<'a> Attempts<'a> {
    /// The next attempt, with the one before at its end; none where all were lost, which only
    /// writers that take no turns can bring about: the engine, or another node.
    pub(crate) async fn next(&mut self) -> Option<Turn<'a>> {
        if self.made == CHANGE_ATTEMPTS {
            return None;
        }
        self.made += 1;
        let guard = match self.made > BESIDE {
            true => Guard::Alone {
                _guard: self.share.write().await,
            },
            false => Guard::Beside {
                _guard: self.share.read().await,
            },
        };
        Some(Turn { _guard: guard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A change of `record` whose reader lets others run `pace` times before it commits. How many
    /// attempts it made, or none where it lost them all.
    async fn change(turns: &Turns, record: &Cell<u64>, pace: usize) -> Option<usize> {
        let mut attempts = turns.attempts(&"account");
        while let Some(_turn) = attempts.next().await {
            let read = record.get();
            for _ in 0..pace {
                tokio::task::yield_now().await;
            }
            if record.get() == read {
                record.set(read + 1);
                return Some(attempts.made);
            }
        }
        None
    }

    #[tokio::test]
    async fn a_change_that_is_slower_than_all_others_is_made() {
        let (turns, record, done) = (Turns::new(), Cell::new(0), Cell::new(false));
        let quick = async || {
            while !done.get() {
                change(&turns, &record, 1).await.expect("quick ones win");
                tokio::task::yield_now().await;
            }
        };
        let slow = async {
            for _ in 0..20 {
                assert_eq!(change(&turns, &record, 50).await, Some(BESIDE + 1));
            }
            done.set(true);
        };
        tokio::join!(quick(), quick(), quick(), slow);
        assert!(record.get() > 20 + 20 * 4);
    }

    #[tokio::test]
    async fn writers_that_take_no_turns_end_it_after_so_many() {
        let (turns, record) = (Turns::new(), Cell::new(0));
        let lost = Cell::new(false);
        let strangers = async {
            while !lost.get() {
                record.set(record.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        let slow = async {
            assert_eq!(change(&turns, &record, 3).await, None);
            lost.set(true);
        };
        tokio::join!(strangers, slow);
        // The turn went back.
        assert_eq!(change(&turns, &record, 0).await, Some(1));
    }
}
