//! The revisions that have instances, for those who look for one to end.
//!
//! A node knows every revision that is routed to, a hundred thousand where there are as many
//! functions; those with instances are few. A revision enters the list with its first instance and
//! leaves it when somebody looks and finds none: to enter and to leave costs an invocation nothing.

use super::OldestIdle;
use crate::{keep::Seconds, route::Revision};
use freehold_domain::ids::{CoreId, TenantId};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// See the module.
#[derive(Default)]
pub(crate) struct Peopled {
    /// Locked before the state of any pool, never after it.
    list: Mutex<Vec<Weak<Revision>>>,
}

impl Peopled {
    /// A revision has its first instance, or the first one since it left the list.
    pub(super) fn enter(&self, revision: &Arc<Revision>) {
        let mut list = self.list.lock();
        // Nobody may be looking for a long time: what has left is let go before the list grows.
        if list.len() == list.capacity() {
            list.retain(|known| known.upgrade().is_some_and(|one| one.pool.stays_listed()));
            let staying = list.len();
            if staying > list.capacity() / 2 {
                list.reserve(staying);
            }
        }
        list.push(Arc::downgrade(revision));
    }

    /// Those of a tenant.
    pub(super) fn of(&self, tenant: &TenantId) -> Vec<Arc<Revision>> {
        let list = self.list.lock();
        let all = list.iter().filter_map(Weak::upgrade);
        all.filter(|revision| revision.function.tenant == *tenant)
            .collect()
    }

    /// The instance that has idled longest, of whichever function, on `core` where one is named: one
    /// that is not expected to be needed now, where there is such a one; none of a minimum.
    pub(super) fn oldest_idle(
        &self,
        now: Seconds,
        core: Option<CoreId>,
    ) -> Option<(OldestIdle, Arc<Revision>)> {
        let mut oldest: Option<(OldestIdle, Arc<Revision>)> = None;
        self.list.lock().retain(|known| {
            let Some(revision) = known.upgrade() else {
                return false;
            };
            if !revision.pool.stays_listed() {
                return false;
            }
            if let Some(idle) = revision.pool.oldest_idle(now, core)
                && oldest.as_ref().is_none_or(|(than, _)| idle < *than)
            {
                oldest = Some((idle, revision));
            }
            true
        });
        oldest
    }
}
