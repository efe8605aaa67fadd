//! What a node has so much of and no more, shared out: an amount in all, and a part of it that no
//! tenant goes beyond.
//!
//! It never waits and makes no room: what does not fit is refused, and whoever asked says so. What
//! was taken comes back when it is dropped.

use freehold_domain::ids::TenantId;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// See the module.
pub(crate) struct Shares {
    all: Arc<Pot>,
    of_one: u64,
    tenants: Mutex<HashMap<TenantId, Weak<Pot>>>,
}

/// One tenant's part.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    own: Arc<Pot>,
    all: Arc<Pot>,
}

/// An amount in use.
#[derive(Debug)]
pub(crate) struct Taken {
    share: Share,
    amount: u64,
}

/// Which of the two was in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The tenant's part.
    Tenant,
    /// The node's amount.
    Node,
}

#[derive(Debug)]
struct Pot {
    most: u64,
    used: AtomicU64,
}

impl Shares {
    /// So much in all, and so much of it for one tenant at the most.
    pub(crate) fn new(all: u64, of_one: u64) -> Self {
        Self {
            all: Arc::new(Pot::new(all)),
            of_one,
            tenants: Mutex::default(),
        }
    }

    /// How much that is.
    pub(crate) fn most(&self, of: Full) -> u64 {
        match of {
            Full::Tenant => self.of_one,
            Full::Node => self.all.most,
        }
    }

    /// The tenant's part: the same one for as long as anybody holds it.
    pub(crate) fn of(&self, tenant: &TenantId) -> Share {
        let mut tenants = self.tenants.lock();
        let known = tenants.get(tenant).and_then(Weak::upgrade);
        let own = known.unwrap_or_else(|| {
            if tenants.len() == tenants.capacity() {
                tenants.retain(|_, pot| pot.strong_count() > 0);
            }
            let pot = Arc::new(Pot::new(self.of_one));
            tenants.insert(tenant.clone(), Arc::downgrade(&pot));
            pot
        });
        Share {
            own,
            all: self.all.clone(),
        }
    }
}

impl Share {
    /// Takes so much, or nothing.
    pub(crate) fn take(&self, amount: u64) -> Result<Taken, Full> {
        let mut taken = Taken {
            share: self.clone(),
            amount: 0,
        };
        taken.more(amount)?;
        Ok(taken)
    }
}

impl Taken {
    /// Takes so much more, or nothing.
    pub(crate) fn more(&mut self, amount: u64) -> Result<(), Full> {
        let Share { own, all } = &self.share;
        if !own.take(amount) {
            return Err(Full::Tenant);
        }
        if !all.take(amount) {
            own.give(amount);
            return Err(Full::Node);
        }
        self.amount += amount;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.share.own.give(self.amount);
        self.share.all.give(self.amount);
    }
}

impl Pot {
    fn new(most: u64) -> Self {
        Self {
            most,
            used: AtomicU64::new(0),
        }
    }

    fn take(&self, amount: u64) -> bool {
        let fits = |used: u64| used.checked_add(amount).filter(|sum| *sum <= self.most);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn give(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_than_a_part_nor_all_more_than_there_is() {
        let tenant = |digit: char| -> TenantId { digit.to_string().repeat(12).parse().unwrap() };
        let shares = Shares::new(10, 6);
        let mut one = shares.of(&tenant('1')).take(4).unwrap();
        // Another handle on the same part.
        let again = shares.of(&tenant('1'));
        assert_eq!(again.take(3).unwrap_err(), Full::Tenant);
        let other = shares.of(&tenant('2')).take(5).unwrap();
        assert_eq!(one.more(2), Err(Full::Node));
        assert_eq!(one.more(1), Ok(()));
        assert_eq!(again.take(u64::MAX).unwrap_err(), Full::Tenant);
        drop(other);
        // What was refused took nothing; what was dropped came back.
        assert_eq!(one.more(1), Ok(()));
        drop(one);
        assert!(again.take(6).is_ok());
        assert_eq!(shares.all.used.load(Ordering::Relaxed), 0);
    }
}
