//! Who may run now: reserved concurrency of the function, else what the account has unreserved.
//!
//! Never waits. How many synchronous invocations may begin in a second is one number for each account
//! and one for each reservation; a call takes of both or of neither. A permit is a count that its drop
//! gives back.
//! A tenant may have limits of its own, or be disabled; both are told by the store's watch
//! (`tenancy.rs`).

use crate::{
    node::{Node, Running},
    route::{Revision, Routed},
    tags::TagSet,
};
use bytes::Bytes;
use freehold_domain::{
    bucket::{Bucket, Rate},
    budgets::Closed,
    ids::{FunctionName, FunctionRef, Region, TenantId},
    invocation::{Invocation, Mode},
    limits::{InvocationRate, Limits},
    live::Live,
    outcome::{InvokeError, ThrottleReason},
    time::{Mono, Wall},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// An invocation that may run.
pub(crate) struct Admitted {
    pub(crate) invocation: Invocation,
    pub(crate) event: Bytes,
    pub(crate) revision: Arc<Revision>,
    pub(crate) received: Wall,
    pub(crate) received_at: Mono,
    /// What the function was tagged with then.
    pub(crate) tags: Option<Arc<TagSet>>,
    /// Given back with the value.
    pub(crate) _permit: Permit,
    pub(crate) _running: Running,
}

/// One unit of concurrency, held until dropped.
pub(crate) struct Permit {
    account: Arc<Account>,
    function: FunctionName,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.counts.lock().give_back(&self.function);
    }
}

/// The counts of every account, per region as on Lambda.
pub(crate) struct Admission {
    limits: Live<Limits>,
    accounts: Mutex<HashMap<(TenantId, Region), Arc<Account>>>,
    /// Tenants that have something of their own in force.
    standings: RwLock<HashMap<TenantId, Standing>>,
    /// How many those are: mostly none, and every call asks.
    standing_count: AtomicUsize,
}

/// What is in force for one tenant in place of the node's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    pub(crate) is_disabled: bool,
    pub(crate) concurrency: Option<u32>,
    pub(crate) sync_invocations: Option<InvocationRate>,
}

#[derive(Default)]
struct Account {
    counts: Mutex<Counts>,
    /// Synchronous invocations that begin.
    begun: Bucket,
}

/// Why an invocation is turned away, and when there is room where that is known.
type Turned = (ThrottleReason, Option<Duration>);

/// What is in flight is counted for every function, reserved or not, so that a reservation that
/// comes or goes finds what runs.
#[derive(Default)]
struct Counts {
    /// Invocations in flight of functions without a reservation.
    unreserved: u32,
    /// Sum of all reservations.
    reserved: u32,
    /// Invocations in flight of all functions.
    in_flight: u32,
    /// Functions that have a reservation or run.
    functions: HashMap<FunctionName, FunctionCounts>,
}

#[derive(Default)]
struct FunctionCounts {
    reserved: Option<u32>,
    in_flight: u32,
    /// Synchronous invocations that begin, while something is reserved.
    begun: Bucket,
}

impl Counts {
    fn reserve(&mut self, function: &FunctionName, reserved: Option<u32>) {
        let counts = self.functions.entry(function.clone()).or_default();
        counts.reserved = reserved;
        self.functions.retain(|_, counts| !counts.is_empty());
        (self.unreserved, self.reserved) = (0, 0);
        for counts in self.functions.values() {
            match counts.reserved {
                Some(reserved) => self.reserved = self.reserved.saturating_add(reserved),
                None => self.unreserved += counts.in_flight,
            }
        }
    }

    fn take(
        &mut self,
        function: &FunctionName,
        account_concurrency: u32,
    ) -> Result<(), ThrottleReason> {
        // A limit that was lowered below what is reserved binds reservations too.
        if self.reserved > account_concurrency && self.in_flight >= account_concurrency {
            return Err(ThrottleReason::AccountConcurrency);
        }
        if let Some(counts) = self.functions.get_mut(function)
            && let Some(reserved) = counts.reserved
        {
            if counts.in_flight >= reserved {
                return Err(ThrottleReason::ReservedConcurrency);
            }
            counts.in_flight += 1;
            self.in_flight += 1;
            return Ok(());
        }
        if self.unreserved >= account_concurrency.saturating_sub(self.reserved) {
            return Err(ThrottleReason::AccountConcurrency);
        }
        self.hold(function);
        Ok(())
    }

    /// Lets a synchronous invocation begin that has its permit, `account_per_s` of the account in a
    /// second.
    ///
    /// Source: AWS Lambda developer guide, "Understanding Lambda function scaling": ten times the
    /// function's reserved concurrency, and of all functions together ten times the account's.
    fn begin(
        &self,
        function: &FunctionName,
        of_account: &Bucket,
        now: Mono,
        account_per_s: u64,
    ) -> Result<(), Turned> {
        let counts = match self.reserved {
            0 => None,
            _ => self.functions.get(function),
        };
        let reserved = counts.and_then(|counts| Some((&counts.begun, counts.reserved?)));
        let reserved = reserved.map(|(begun, most)| (begun, Rate::per_s(u64::from(most) * 10)));
        if let Some((begun, rate)) = reserved {
            let enough = begun.would_give(now, 1, rate);
            enough.map_err(|wait| (ThrottleReason::ReservedInvocationRate, Some(wait)))?;
        }
        let taken = of_account.take(now, 1, Rate::per_s(account_per_s));
        taken.map_err(|wait| (ThrottleReason::InvocationRate, Some(wait)))?;
        if let Some((begun, rate)) = reserved {
            // There was enough, and nobody else takes of it: the counts are locked.
            let taken = begun.take(now, 1, rate);
            debug_assert_eq!(taken, Ok(()));
        }
        Ok(())
    }

    fn hold(&mut self, function: &FunctionName) {
        if !self.functions.contains_key(function) {
            self.functions
                .insert(function.clone(), FunctionCounts::default());
        }
        if let Some(counts) = self.functions.get_mut(function) {
            counts.in_flight += 1;
            self.unreserved += u32::from(counts.reserved.is_none());
            self.in_flight += 1;
        }
    }

    fn give_back(&mut self, function: &FunctionName) {
        let Some(counts) = self.functions.get_mut(function) else {
            return;
        };
        counts.in_flight -= 1;
        self.in_flight -= 1;
        self.unreserved -= u32::from(counts.reserved.is_none());
        if counts.is_empty() {
            self.functions.remove(function);
        }
    }
}

impl FunctionCounts {
    fn is_empty(&self) -> bool {
        self.reserved.is_none() && self.in_flight == 0
    }
}

impl Admission {
    pub(crate) fn new(limits: Live<Limits>) -> Self {
        Self {
            limits,
            accounts: Mutex::default(),
            standings: RwLock::default(),
            standing_count: AtomicUsize::new(0),
        }
    }

    /// What is in force for a tenant from now on; what was before.
    pub(crate) fn set_standing(&self, tenant: &TenantId, standing: Standing) -> Standing {
        let mut standings = self.standings.write();
        let before = if standing == Standing::default() {
            standings.remove(tenant)
        } else {
            standings.insert(tenant.clone(), standing)
        };
        self.standing_count
            .store(standings.len(), Ordering::Release);
        before.unwrap_or_default()
    }

    fn standing(&self, tenant: &TenantId) -> Standing {
        if self.standing_count.load(Ordering::Acquire) == 0 {
            return Standing::default();
        }
        let standings = self.standings.read();
        standings.get(tenant).copied().unwrap_or_default()
    }

    /// Whether nothing of a tenant may run.
    pub(crate) fn is_disabled(&self, tenant: &TenantId) -> bool {
        self.standing(tenant).is_disabled
    }

    fn account(&self, function: &FunctionRef) -> Arc<Account> {
        let mut accounts = self.accounts.lock();
        let key = (function.tenant.clone(), function.region.clone());
        accounts.entry(key).or_default().clone()
    }

    /// What the function has reserved from now on; `None` once it is deleted, too. Invocations
    /// that run count against it.
    pub(crate) fn reserve(&self, function: &FunctionRef, reserved: Option<u32>) {
        let account = self.account(function);
        account.counts.lock().reserve(&function.name, reserved);
    }

    /// The sum of what the functions of an account have reserved in a region.
    pub(crate) fn reserved_sum(&self, tenant: &TenantId, region: &Region) -> u32 {
        let accounts = self.accounts.lock();
        let account = accounts.get(&(tenant.clone(), region.clone()));
        account.map_or(0, |account| account.counts.lock().reserved)
    }

    /// Reserves one unit of concurrency until the permit is dropped; never waits.
    ///
    /// Source: AWS Lambda developer guide, "Configuring reserved concurrency": a reservation is
    /// both a share that others cannot use and a ceiling; the others share what is left.
    fn take(&self, function: &FunctionRef, mode: Mode, now: Mono) -> Result<Permit, Turned> {
        let account = self.account(function);
        let (own, node) = (self.standing(&function.tenant), self.limits.now());
        let concurrency = own.concurrency.unwrap_or(node.account_concurrency);
        let mut counts = account.counts.lock();
        let taken = counts.take(&function.name, concurrency);
        taken.map_err(|reason| (reason, None))?;
        // What is turned away for want of a permit has not begun, and uses up nothing of the rates.
        let rate = own.sync_invocations.unwrap_or(node.sync_invocations);
        if mode == Mode::RequestResponse
            && let Some(per_s) = rate.per_s(concurrency)
        {
            let begun = counts.begin(&function.name, &account.begun, now, per_s);
            if let Err(turned) = begun {
                counts.give_back(&function.name);
                return Err(turned);
            }
        }
        drop(counts);
        Ok(Permit {
            account,
            function: function.name.clone(),
        })
    }

    /// One unit for what runs on already, whatever the limits say: they turn others away.
    pub(crate) fn hold(&self, function: &FunctionRef) -> Permit {
        let account = self.account(function);
        account.counts.lock().hold(&function.name);
        Permit {
            account,
            function: function.name.clone(),
        }
    }

    /// Permits that are out, for tests and statistics.
    pub(crate) fn in_flight(&self) -> u64 {
        let accounts = self.accounts.lock();
        let of = |account: &Arc<Account>| {
            let counts = account.counts.lock();
            let functions = counts.functions.values();
            functions.map(|f| u64::from(f.in_flight)).sum::<u64>()
        };
        accounts.values().map(of).sum()
    }
}

/// Whether something of a function may begin, as far as budgets say.
///
/// Errors: [`InvokeError::Throttled`].
pub(crate) fn within_budget(node: &Node, function: &FunctionRef) -> Result<(), InvokeError> {
    let (reason, retry_after) = match node.parts.budgets.closed(function, &*node.parts.clock) {
        None => return Ok(()),
        Some(Closed::For(wait)) => (ThrottleReason::Budget, Some(wait)),
        Some(Closed::Stopped) => (ThrottleReason::BudgetStop, None),
    };
    node.counters.throttled(reason);
    Err(InvokeError::Throttled {
        reason,
        retry_after,
    })
}

/// Lets an invocation in, or says which limit turns it away.
///
/// Errors: [`InvokeError::Throttled`] with the reason, [`InvokeError::TenantDisabled`],
/// [`InvokeError::Draining`] once shutdown began.
pub(crate) fn admit(
    node: &Node,
    routed: Routed,
    running: Running,
) -> Result<Admitted, InvokeError> {
    if node.draining.load(Ordering::Acquire) {
        return Err(InvokeError::Draining);
    }
    if node
        .admission
        .is_disabled(&routed.invocation.function.tenant)
    {
        return Err(InvokeError::TenantDisabled);
    }
    within_budget(node, &routed.invocation.function)?;
    let permit = node
        .admission
        .take(
            &routed.invocation.function,
            routed.invocation.mode,
            routed.received_at,
        )
        .map_err(|(reason, retry_after)| {
            node.counters.throttled(reason);
            InvokeError::Throttled {
                reason,
                retry_after,
            }
        })?;
    Ok(Admitted {
        invocation: routed.invocation,
        event: routed.event,
        revision: routed.revision,
        received: routed.received,
        received_at: routed.received_at,
        tags: routed.tags,
        _permit: permit,
        _running: running,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(account_concurrency: u32) -> Admission {
        let limits = Limits {
            account_concurrency,
            ..Limits::default()
        };
        Admission::new(limits.into())
    }

    impl Admission {
        /// Of an event, which no rate turns away.
        fn take_one(&self, function: &FunctionRef) -> Result<Permit, ThrottleReason> {
            let taken = self.take(function, Mode::Event, Mono(0));
            taken.map_err(|(reason, _)| reason)
        }
    }

    fn function(name: &str) -> FunctionRef {
        FunctionRef {
            tenant: "111111111111".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            name: name.parse().unwrap(),
        }
    }

    #[test]
    fn a_reservation_is_a_share_and_a_ceiling() {
        let admission = admission(10);
        admission.reserve(&function("a"), Some(4));
        let held: Vec<_> = (0..4)
            .map(|_| admission.take_one(&function("a")).ok().unwrap())
            .collect();
        assert_eq!(
            admission.take_one(&function("a")).err(),
            Some(ThrottleReason::ReservedConcurrency)
        );
        let others: Vec<_> = (0..6)
            .map(|_| admission.take_one(&function("b")).ok().unwrap())
            .collect();
        assert_eq!(
            admission.take_one(&function("c")).err(),
            Some(ThrottleReason::AccountConcurrency)
        );
        drop(others);
        assert!(admission.take_one(&function("c")).is_ok());
        drop(held);
        assert_eq!(admission.in_flight(), 0);
    }

    #[test]
    fn a_reservation_counts_what_runs_already() {
        let admission = admission(10);
        let a = function("a");
        let mut held: Vec<_> = (0..3)
            .map(|_| admission.take_one(&a).ok().unwrap())
            .collect();
        admission.reserve(&a, Some(3));
        let reason = Some(ThrottleReason::ReservedConcurrency);
        assert_eq!(admission.take_one(&a).err(), reason);
        held.pop();
        held.push(admission.take_one(&a).ok().unwrap());
        // It goes while they run: they count as unreserved, and reserved once it is back.
        admission.reserve(&a, None);
        assert_eq!(admission.in_flight(), 3);
        let others: Vec<_> = (0..7)
            .map(|_| admission.take_one(&function("b")).ok().unwrap())
            .collect();
        let reason = Some(ThrottleReason::AccountConcurrency);
        assert_eq!(admission.take_one(&function("b")).err(), reason);
        admission.reserve(&a, Some(2));
        let reason = Some(ThrottleReason::ReservedConcurrency);
        assert_eq!(admission.take_one(&a).err(), reason);
        assert!(admission.take_one(&function("b")).is_ok());
        drop((held, others));
        assert!(admission.take_one(&a).is_ok());
        assert_eq!(admission.in_flight(), 0);
    }

    #[test]
    fn what_runs_on_turns_others_away() {
        let admission = admission(1);
        let held = admission.hold(&function("a"));
        let more = admission.hold(&function("a"));
        let reason = Some(ThrottleReason::AccountConcurrency);
        assert_eq!(admission.take_one(&function("b")).err(), reason);
        drop((held, more));
        assert!(admission.take_one(&function("b")).is_ok());
    }

    #[test]
    fn a_tenants_own_limit_stands_in_the_nodes_place_and_binds_reservations() {
        let admission = admission(4);
        let other = FunctionRef {
            tenant: "222222222222".parse().unwrap(),
            ..function("a")
        };
        let set = |concurrency| {
            let standing = Standing {
                concurrency,
                ..Standing::default()
            };
            admission.set_standing(&function("a").tenant, standing);
        };
        let most = |of: &FunctionRef| {
            let held: Vec<_> = std::iter::from_fn(|| admission.take_one(of).ok()).collect();
            held.len()
        };
        let all = || (most(&function("a")), most(&other));
        assert_eq!(all(), (4, 4));
        set(Some(6));
        assert_eq!(all(), (6, 4));
        set(Some(0));
        assert_eq!(all(), (0, 4));
        // Three are reserved for a function: a limit of two binds it all the same.
        admission.reserve(&function("r"), Some(3));
        set(Some(2));
        let held = [0, 1].map(|_| admission.take_one(&function("r")).ok().unwrap());
        let reason = Some(ThrottleReason::AccountConcurrency);
        assert_eq!(admission.take_one(&function("r")).err(), reason);
        assert_eq!(admission.take_one(&function("a")).err(), reason);
        drop(held);
        // A limit with room for the reservation leaves it whole.
        set(Some(4));
        let held = admission.take_one(&function("a")).ok().unwrap();
        assert_eq!(most(&function("r")), 3);
        drop(held);
        set(None);
        assert_eq!(admission.in_flight(), 0);
        assert_eq!((most(&function("a")), most(&other)), (1, 4));
        assert_eq!(admission.standing_count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nothing_reserved_throttles_everything_and_none_shares() {
        let admission = admission(2);
        admission.reserve(&function("a"), Some(0));
        assert_eq!(
            admission.take_one(&function("a")).err(),
            Some(ThrottleReason::ReservedConcurrency)
        );
        admission.reserve(&function("a"), None);
        assert!(admission.take_one(&function("a")).is_ok());
        let (tenant, region) = (function("a").tenant, function("a").region);
        assert_eq!(admission.reserved_sum(&tenant, &region), 0);
    }

    #[test]
    fn a_limit_that_changes_holds_for_the_next_invocation_and_takes_none_back() {
        let limits = Live::new(Limits {
            account_concurrency: 2,
            ..Limits::default()
        });
        let admission = Admission::new(limits.clone());
        let take = || admission.take_one(&function("a"));
        let held = [take().ok().unwrap(), take().ok().unwrap()];
        assert_eq!(take().err(), Some(ThrottleReason::AccountConcurrency));
        limits.change(|limits| limits.account_concurrency = 3);
        let third = take().ok().unwrap();
        limits.change(|limits| limits.account_concurrency = 1);
        assert_eq!(take().err(), Some(ThrottleReason::AccountConcurrency));
        drop((held, third));
        assert!(take().is_ok());
    }

    #[test]
    fn synchronous_invocations_of_an_account_begin_at_ten_times_its_concurrency() {
        let limits = Live::new(Limits {
            account_concurrency: 3,
            ..Limits::default()
        });
        let admission = Admission::new(limits.clone());
        let other = FunctionRef {
            tenant: "222222222222".parse().unwrap(),
            ..function("a")
        };
        let elsewhere = FunctionRef {
            region: "eu-central-1".parse().unwrap(),
            ..function("a")
        };
        let begin = |of: &FunctionRef, mode, second: u64| {
            let taken = admission.take(of, mode, Mono(second * 1_000_000_000));
            taken.map(drop)
        };
        let begun = |of: &FunctionRef, mode, second| {
            (0..100).filter(|_| begin(of, mode, second).is_ok()).count()
        };
        let sync = |second| begun(&function("a"), Mode::RequestResponse, second);
        assert_eq!(sync(1), 30);
        // All functions of the account share it; other accounts, other regions and events do not.
        let over = begin(&function("b"), Mode::RequestResponse, 1);
        let (reason, wait) = over.unwrap_err();
        assert_eq!(reason, ThrottleReason::InvocationRate);
        assert!(wait.is_some_and(|wait| wait <= Duration::from_secs(1)));
        assert_eq!(begun(&other, Mode::RequestResponse, 1), 30);
        assert_eq!(begun(&elsewhere, Mode::RequestResponse, 1), 30);
        assert_eq!(begun(&function("a"), Mode::Event, 1), 100);
        // What has no permit takes nothing of it.
        let held: Vec<_> = (0..3)
            .map(|_| admission.take_one(&function("a")).ok().unwrap())
            .collect();
        let full = Err((ThrottleReason::AccountConcurrency, None));
        for _ in 0..100 {
            assert_eq!(begin(&function("a"), Mode::RequestResponse, 2), full);
        }
        drop(held);
        assert_eq!(sync(2), 30);
        // It follows the tenant's own concurrency, until it is said.
        let standing = |concurrency, sync_invocations| {
            let standing = Standing {
                is_disabled: false,
                concurrency,
                sync_invocations,
            };
            admission.set_standing(&function("a").tenant, standing);
        };
        standing(Some(5), None);
        assert_eq!(sync(9), 50);
        standing(Some(5), Some(InvocationRate::PerSecond(7)));
        assert_eq!(sync(19), 7);
        standing(Some(5), Some(InvocationRate::Unbounded));
        assert_eq!(sync(19), 100);
        standing(None, None);
        limits.change(|limits| limits.sync_invocations = InvocationRate::Unbounded);
        assert_eq!(sync(29), 100);
        limits.change(|limits| limits.sync_invocations = InvocationRate::PerSecond(2));
        assert_eq!(sync(39), 2);
        assert_eq!(admission.in_flight(), 0);
    }

    #[test]
    fn synchronous_invocations_of_a_function_begin_at_ten_times_its_reservation() {
        let limits = Live::new(Limits {
            account_concurrency: 5,
            ..Limits::default()
        });
        let admission = Admission::new(limits.clone());
        let (a, b) = (function("a"), function("b"));
        let begin = |of: &FunctionRef, mode, ms: u64| {
            let taken = admission.take(of, mode, Mono(ms * 1_000_000));
            taken.map(drop)
        };
        let begun =
            |of: &FunctionRef, mode, ms| (0..200).filter(|_| begin(of, mode, ms).is_ok()).count();
        let sync = |of: &FunctionRef, ms| begun(of, Mode::RequestResponse, ms);
        let account = |rate| limits.change(|limits| limits.sync_invocations = rate);
        admission.reserve(&a, Some(2));
        assert_eq!(sync(&a, 1000), 20);
        let (reason, wait) = begin(&a, Mode::RequestResponse, 1000).unwrap_err();
        assert_eq!(reason, ThrottleReason::ReservedInvocationRate);
        assert!(wait.is_some_and(|wait| wait <= Duration::from_secs(1)));
        // What one of the two turns away uses up nothing of the other.
        assert_eq!(sync(&b, 1000), 30);
        assert_eq!(sync(&b, 2000), 50);
        assert_eq!(sync(&a, 2000), 0);
        let (reason, _) = begin(&a, Mode::RequestResponse, 2000).unwrap_err();
        assert_eq!(reason, ThrottleReason::InvocationRate);
        account(InvocationRate::PerSecond(1000));
        assert_eq!(sync(&a, 2500), 20);
        // Events have no such rate, nor has a function without a reservation.
        assert_eq!(begun(&a, Mode::Event, 2500), 200);
        assert_eq!(sync(&b, 2500), 200);
        // Nothing reserved is nothing at all.
        admission.reserve(&a, Some(0));
        let none = Err((ThrottleReason::ReservedConcurrency, None));
        assert_eq!(begin(&a, Mode::RequestResponse, 5000), none);
        // Another reservation does not fill it anew; with the reservation it goes.
        admission.reserve(&a, Some(3));
        assert_eq!(sync(&a, 6000), 30);
        admission.reserve(&a, Some(2));
        assert_eq!(sync(&a, 6000), 0);
        admission.reserve(&a, None);
        assert_eq!(sync(&a, 6000), 200);
        // It is lifted with the account's.
        admission.reserve(&a, Some(2));
        account(InvocationRate::Unbounded);
        assert_eq!(sync(&a, 7000), 200);
        assert_eq!(admission.in_flight(), 0);
    }
}
