//! What holds for tenants in place of the node's ceilings, for whoever asks at every call.
//!
//! A table of those tenants alone that have limits of their own; mostly it is empty. Reading it takes
//! no lock and nothing from the heap. What is counted against a limit is one number per tenant that
//! all cores share, so a limit is never overshot by what the others do not know yet.

use crate::{
    bucket::{Bucket, Rate},
    ids::TenantId,
    limits::Limits,
    live::Live,
    tenant_limits::{TenantLimit, TenantLimits},
    time::Mono,
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// See the module.
#[derive(Debug)]
pub struct TenantTable(Live<HashMap<TenantId, Arc<TenantState>>>);

/// A tenant with limits of its own.
#[derive(Debug)]
pub struct TenantState {
    limits: TenantLimits,
    counts: Arc<Counts>,
}

/// What is counted; it outlives a change of the limits.
#[derive(Debug, Default)]
struct Counts {
    requests: Bucket,
    starts: Bucket,
    log_bytes: Bucket,
    connections: AtomicU64,
}

/// A rate was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverRate {
    /// The tenant's value, in a second.
    pub per_s: u64,
    /// When there is enough again.
    pub wait: Duration,
}

/// A connection that counts as a tenant's until this is dropped.
#[derive(Debug)]
pub struct HeldConnection {
    tenant: TenantId,
    counts: Arc<Counts>,
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        self.counts.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HeldConnection {
    /// Whose it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

impl Default for TenantTable {
    fn default() -> Self {
        Self(Live::new(HashMap::new()))
    }
}

impl TenantTable {
    /// What a tenant has of its own from now on.
    pub fn note(&self, tenant: &TenantId, limits: TenantLimits) {
        if limits.is_empty() && self.of(tenant).is_none() {
            return;
        }
        self.0.change(|table| {
            let before = table.remove(tenant);
            if !limits.is_empty() {
                let counts = before.map(|before| before.counts.clone());
                let counts = counts.unwrap_or_default();
                table.insert(tenant.clone(), Arc::new(TenantState { limits, counts }));
            }
        });
    }

    /// A tenant with limits of its own; nothing for one that has none.
    pub fn of(&self, tenant: &TenantId) -> Option<Arc<TenantState>> {
        self.0.with(|table| table.get(tenant).cloned())
    }

    /// The ceilings that hold for a tenant.
    pub fn limits(&self, tenant: &TenantId, node: Limits) -> Limits {
        match self.of(tenant) {
            Some(state) => state.limits.over(&node),
            None => node,
        }
    }

    /// Lets one more request of a tenant's in.
    ///
    /// Errors: [`OverRate`].
    pub fn request(&self, tenant: &TenantId, now: Mono) -> Result<(), OverRate> {
        match self.of(tenant) {
            Some(state) => state.take(TenantLimit::Requests, &state.counts.requests, now, 1),
            None => Ok(()),
        }
    }

    /// Lets so many more instances of a tenant's come up.
    ///
    /// Errors: [`OverRate`].
    pub fn start(&self, tenant: &TenantId, now: Mono, count: u64) -> Result<(), OverRate> {
        match self.of(tenant) {
            Some(state) => state.take(TenantLimit::Starts, &state.counts.starts, now, count),
            None => Ok(()),
        }
    }

    /// Whether so many more instances of a tenant's may come up, as things are; nothing is taken.
    ///
    /// Errors: [`OverRate`].
    pub fn may_start(&self, tenant: &TenantId, now: Mono, count: u64) -> Result<(), OverRate> {
        let Some(state) = self.of(tenant) else {
            return Ok(());
        };
        let Some(per_s) = state.limits.own(TenantLimit::Starts) else {
            return Ok(());
        };
        let rate = Rate::per_s(per_s);
        let enough = state.counts.starts.would_give(now, count, rate);
        enough.map_err(|wait| OverRate { per_s, wait })
    }

    /// Whether a line of so many bytes is kept.
    pub fn keeps_line(&self, tenant: &TenantId, now: Mono, bytes: u64) -> bool {
        self.of(tenant).is_none_or(|state| {
            let bucket = &state.counts.log_bytes;
            state.take(TenantLimit::LogRate, bucket, now, bytes).is_ok()
        })
    }

    /// Counts a connection as a tenant's; nothing where the tenant has no limit of its own.
    ///
    /// Errors: the limit, which the others hold.
    pub fn connect(&self, tenant: &TenantId) -> Result<Option<HeldConnection>, u64> {
        let Some(state) = self.of(tenant) else {
            return Ok(None);
        };
        let Some(most) = state.limits.own(TenantLimit::Connections) else {
            return Ok(None);
        };
        let held = HeldConnection {
            tenant: tenant.clone(),
            counts: state.counts.clone(),
        };
        // Taken first and given back by the drop: two at once never see the same last place.
        let before = state.counts.connections.fetch_add(1, Ordering::Relaxed);
        match before < most {
            true => Ok(Some(held)),
            false => Err(most),
        }
    }
}

impl TenantState {
    /// Its limits.
    pub fn limits(&self) -> &TenantLimits {
        &self.limits
    }

    fn take(
        &self,
        limit: TenantLimit,
        bucket: &Bucket,
        now: Mono,
        amount: u64,
    ) -> Result<(), OverRate> {
        let Some(per_s) = self.limits.own(limit) else {
            return Ok(());
        };
        let taken = bucket.take(now, amount, Rate::per_s(per_s));
        taken.map_err(|wait| OverRate { per_s, wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(digit: char) -> TenantId {
        digit.to_string().repeat(12).parse().unwrap()
    }

    fn own(limit: TenantLimit, value: u64) -> TenantLimits {
        let mut limits = TenantLimits::default();
        limits.set(limit, Some(value));
        limits
    }

    #[test]
    fn a_rate_is_its_tenants_alone_and_goes_with_its_limit() {
        let (table, one, two) = (TenantTable::default(), tenant('1'), tenant('2'));
        let most = |who: &TenantId| {
            (0..50)
                .filter(|_| table.request(who, Mono(0)).is_ok())
                .count()
        };
        assert_eq!((most(&one), most(&two)), (50, 50));
        table.note(&one, own(TenantLimit::Requests, 3));
        assert_eq!((most(&one), most(&two)), (3, 50));
        // Another value does not fill the bucket anew.
        table.note(&one, own(TenantLimit::Requests, 2));
        let over = table.request(&one, Mono(0)).unwrap_err();
        assert_eq!(over.per_s, 2);
        assert!(table.start(&one, Mono(0), 9).is_ok() && table.keeps_line(&one, Mono(0), 1 << 40));
        table.note(&one, TenantLimits::default());
        assert_eq!(most(&one), 50);
        assert!(table.of(&one).is_none());
    }

    #[test]
    fn connections_are_given_back_and_the_last_place_is_one_s() {
        let (table, one) = (TenantTable::default(), tenant('1'));
        assert!(table.connect(&one).unwrap().is_none());
        table.note(&one, own(TenantLimit::Connections, 2));
        let held: Vec<_> = (0..2).map(|_| table.connect(&one).unwrap()).collect();
        assert_eq!(table.connect(&one).err(), Some(2));
        assert_eq!(
            table.connect(&one).err(),
            Some(2),
            "what was refused is given back"
        );
        drop(held);
        assert!(table.connect(&one).unwrap().is_some());
    }
}
