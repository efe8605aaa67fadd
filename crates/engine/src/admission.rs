//! Who may run now: reserved concurrency of the function, else what the account has unreserved.
//!
//! Never waits. A permit is a count that its drop gives back.

use crate::{
    node::{Node, Running},
    route::{Revision, Routed},
};
use bytes::Bytes;
use freehold_domain::{
    ids::{FunctionName, FunctionRef, Region, TenantId},
    invocation::Invocation,
    outcome::{InvokeError, ThrottleReason},
    time::{Mono, Wall},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// An invocation that may run.
pub(crate) struct Admitted {
    pub(crate) invocation: Invocation,
    pub(crate) event: Bytes,
    pub(crate) revision: Arc<Revision>,
    pub(crate) received: Wall,
    pub(crate) received_at: Mono,
    /// Given back with the value.
    pub(crate) _permit: Permit,
    pub(crate) _running: Running,
}

/// One unit of concurrency, held until dropped.
pub(crate) struct Permit(Arc<AtomicU32>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

type Account = (TenantId, Region);

/// The counts of every account, per region as on Lambda.
pub(crate) struct Admission {
    account_concurrency: u32,
    accounts: Mutex<HashMap<Account, Arc<AccountCounts>>>,
}

#[derive(Default)]
struct AccountCounts {
    /// Invocations in flight of functions without a reservation.
    unreserved: Arc<AtomicU32>,
    /// Sum of all reservations.
    reserved_sum: AtomicU32,
    functions: Mutex<HashMap<FunctionName, FunctionCounts>>,
}

struct FunctionCounts {
    reserved: u32,
    in_flight: Arc<AtomicU32>,
}

impl Admission {
    pub(crate) fn new(account_concurrency: u32) -> Self {
        Self {
            account_concurrency,
            accounts: Mutex::default(),
        }
    }

    fn account(&self, function: &FunctionRef) -> Arc<AccountCounts> {
        let mut accounts = self.accounts.lock();
        let key = (function.tenant.clone(), function.region.clone());
        accounts.entry(key).or_default().clone()
    }

    /// What the function has reserved from now on; `None` once it is deleted, too.
    pub(crate) fn reserve(&self, function: &FunctionRef, reserved: Option<u32>) {
        let account = self.account(function);
        let mut functions = account.functions.lock();
        match reserved {
            Some(reserved) => {
                let counts =
                    functions
                        .entry(function.name.clone())
                        .or_insert_with(|| FunctionCounts {
                            reserved: 0,
                            in_flight: Arc::default(),
                        });
                counts.reserved = reserved;
            }
            None => drop(functions.remove(&function.name)),
        }
        let sum = functions
            .values()
            .fold(0_u32, |sum, counts| sum.saturating_add(counts.reserved));
        account.reserved_sum.store(sum, Ordering::Release);
    }

    /// The sum of what the functions of an account have reserved in a region.
    pub(crate) fn reserved_sum(&self, tenant: &TenantId, region: &Region) -> u32 {
        let accounts = self.accounts.lock();
        let account = accounts.get(&(tenant.clone(), region.clone()));
        account.map_or(0, |account| account.reserved_sum.load(Ordering::Acquire))
    }

    /// Reserves one unit of concurrency until the permit is dropped; never waits.
    ///
    /// Source: AWS Lambda developer guide, "Configuring reserved concurrency": a reservation is
    /// both a share that others cannot use and a ceiling; the others share what is left.
    fn take(&self, function: &FunctionRef) -> Result<Permit, ThrottleReason> {
        let account = self.account(function);
        if let Some(counts) = account.functions.lock().get(&function.name) {
            return take_below(&counts.in_flight, counts.reserved)
                .ok_or(ThrottleReason::ReservedConcurrency);
        }
        let reserved = account.reserved_sum.load(Ordering::Acquire);
        take_below(
            &account.unreserved,
            self.account_concurrency.saturating_sub(reserved),
        )
        .ok_or(ThrottleReason::AccountConcurrency)
    }

    /// Permits that are out, for tests and statistics.
    pub(crate) fn in_flight(&self) -> u64 {
        let accounts = self.accounts.lock();
        let of = |account: &Arc<AccountCounts>| {
            let functions = account.functions.lock();
            let reserved = functions
                .values()
                .map(|f| u64::from(f.in_flight.load(Ordering::Acquire)));
            reserved.sum::<u64>() + u64::from(account.unreserved.load(Ordering::Acquire))
        };
        accounts.values().map(of).sum()
    }
}

fn take_below(count: &Arc<AtomicU32>, limit: u32) -> Option<Permit> {
    let grown = |now: u32| (now < limit).then(|| now + 1);
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, grown)
        .ok()?;
    Some(Permit(count.clone()))
}

/// Lets an invocation in, or says which limit turns it away.
///
/// Errors: [`InvokeError::Throttled`] with the reason, [`InvokeError::Draining`] once shutdown
/// began.
pub(crate) fn admit(
    node: &Node,
    routed: Routed,
    running: Running,
) -> Result<Admitted, InvokeError> {
    if node.draining.load(Ordering::Acquire) {
        return Err(InvokeError::Draining);
    }
    let permit = node
        .admission
        .take(&routed.invocation.function)
        .map_err(|reason| {
            node.counters.throttled(reason);
            InvokeError::Throttled {
                reason,
                retry_after: None,
            }
        })?;
    Ok(Admitted {
        invocation: routed.invocation,
        event: routed.event,
        revision: routed.revision,
        received: routed.received,
        received_at: routed.received_at,
        _permit: permit,
        _running: running,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> FunctionRef {
        FunctionRef {
            tenant: "111111111111".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            name: name.parse().unwrap(),
        }
    }

    #[test]
    fn a_reservation_is_a_share_and_a_ceiling() {
        let admission = Admission::new(10);
        admission.reserve(&function("a"), Some(4));
        let held: Vec<_> = (0..4)
            .map(|_| admission.take(&function("a")).ok().unwrap())
            .collect();
        assert_eq!(
            admission.take(&function("a")).err(),
            Some(ThrottleReason::ReservedConcurrency)
        );
        let others: Vec<_> = (0..6)
            .map(|_| admission.take(&function("b")).ok().unwrap())
            .collect();
        assert_eq!(
            admission.take(&function("c")).err(),
            Some(ThrottleReason::AccountConcurrency)
        );
        drop(others);
        assert!(admission.take(&function("c")).is_ok());
        drop(held);
        assert_eq!(admission.in_flight(), 0);
    }

    #[test]
    fn nothing_reserved_throttles_everything_and_none_shares() {
        let admission = Admission::new(2);
        admission.reserve(&function("a"), Some(0));
        assert_eq!(
            admission.take(&function("a")).err(),
            Some(ThrottleReason::ReservedConcurrency)
        );
        admission.reserve(&function("a"), None);
        assert!(admission.take(&function("a")).is_ok());
        let (tenant, region) = (function("a").tenant, function("a").region);
        assert_eq!(admission.reserved_sum(&tenant, &region), 0);
    }
}
