//! How much of the processor each function of a tenant asks for.
//!
//! A function weighs as much as one instance, however many it needs ([`Crowd`]). Were that all, a
//! tenant with a hundred busy functions would weigh a hundred times as much as one with a single
//! one, whose call would stand in line behind all of them. So what a function weighs belongs to its
//! tenant: it is halved with every doubling of the functions of the tenant that are needed at once,
//! by the same rule: less at once, more when two seconds have seen fewer.
//!
//! Where one tenant is alone on a node all that it has is halved alike, and nothing changes.
//! What it refuses: a lock on an invocation's way. A function that is needed counts itself in, and
//! out again when it is not; the lock is taken once a second and where there are more than the
//! second has seen.

use super::crowd::{self, Crowd};
use crate::node::Node;
use freehold_domain::{
    ids::{CoreId, TenantId},
    time::Mono,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

/// Revisions that are told their weight between two turns of other work on the core.
const TOLD_AT_ONCE: usize = 32;

/// The tenants that have revisions on this node.
#[derive(Default)]
pub(crate) struct Tenants(Mutex<HashMap<TenantId, Weak<Tenant>>>);

impl Tenants {
    /// The tenant's, for as long as one of its revisions holds it.
    pub(crate) fn of(&self, id: &TenantId) -> Arc<Tenant> {
        let mut list = self.0.lock();
        if let Some(known) = list.get(id).and_then(Weak::upgrade) {
            return known;
        }
        // What nobody holds is let go before the list grows.
        if list.len() == list.capacity() {
            list.retain(|_, known| known.strong_count() > 0);
            let alive = list.len();
            if alive > list.capacity() / 2 {
                list.reserve(alive);
            }
        }
        let tenant = Arc::new(Tenant::new(id.clone()));
        list.insert(id.clone(), Arc::downgrade(&tenant));
        tenant
    }
}

/// See the module.
pub(crate) struct Tenant {
    id: TenantId,
    /// Functions that are needed now.
    needed: AtomicU32,
    /// The second that `crowd` has seen last, times 2³², and the most that it has seen in it.
    seen: AtomicU64,
    crowd: Mutex<Crowd>,
    /// How often the weight of each function is halved, as `crowd` has it.
    halvings: AtomicU8,
    /// Somebody who runs may not know `halvings`.
    is_news: AtomicBool,
    /// Whether a task tells it.
    is_told: AtomicBool,
    /// Wakes that task.
    news: Notify,
}

impl Tenant {
    fn new(id: TenantId) -> Self {
        Self {
            id,
            needed: AtomicU32::new(0),
            seen: AtomicU64::new(0),
            crowd: Mutex::default(),
            halvings: AtomicU8::new(0),
            is_news: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            news: Notify::new(),
        }
    }

    /// How often the weight of each of its functions is halved.
    pub(super) fn halvings(&self) -> u8 {
        self.halvings.load(Ordering::Relaxed)
    }

    /// Notes how many of its functions are needed now.
    fn note(&self, needed: u32, now: Mono) {
        let second = crowd::second(now);
        let seen = self.seen.load(Ordering::Relaxed);
        // A second of 32 bits comes again after 136 years.
        if seen >> 32 == second & u64::from(u32::MAX) && needed <= seen as u32 {
            return;
        }
        let mut crowd = self.crowd.lock();
        let is_news = crowd.note(needed as usize, second);
        let most = u32::try_from(crowd.most()).unwrap_or(u32::MAX);
        (self.seen).store(crowd.second() << 32 | u64::from(most), Ordering::Relaxed);
        if is_news {
            self.halvings.store(crowd.halvings(), Ordering::Relaxed);
            // In one order with `is_told`: whoever tells sees this, or is told again.
            self.is_news.store(true, Ordering::SeqCst);
        }
    }

    /// Sees to it that those who run hear of it where a function's weight has changed: a task does
    /// so, and gives the weight back when fewer functions are needed. An idle instance is told when
    /// it is used.
    pub(super) fn tell(self: &Arc<Self>, node: &Arc<Node>, core: CoreId) {
        if !self.is_news.load(Ordering::SeqCst) {
            return;
        }
        if self.is_told.swap(true, Ordering::SeqCst) {
            self.news.notify_one();
        } else {
            node.spawn_on(core, tell(Arc::downgrade(node), self.clone()));
        }
    }
}

/// Tells all who run what they weigh, as often as it changes, until the tenant's functions weigh
/// as much as one alone.
async fn tell(node: Weak<Node>, tenant: Arc<Tenant>) {
    loop {
        let Some(strong) = node.upgrade() else { return };
        let clock = strong.parts.clock.clone();
        tenant.note(tenant.needed.load(Ordering::Relaxed), clock.now());
        if tenant.is_news.swap(false, Ordering::SeqCst) {
            let all = strong.peopled.of(&tenant.id);
            for some in all.chunks(TOLD_AT_ONCE) {
                for revision in some {
                    revision.weigh_busy(&strong);
                }
                tokio::task::yield_now().await;
            }
        }
        drop(strong);
        let again = tenant.crowd.lock().again();
        match again {
            Some(again) => {
                tokio::select! {
                    () = clock.sleep_until(again) => {}
                    () = tenant.news.notified() => {}
                }
            }
            None => {
                tenant.is_told.store(false, Ordering::SeqCst);
                // Who noted something meanwhile counted on this task.
                let is_news = tenant.is_news.load(Ordering::SeqCst);
                if !is_news || tenant.is_told.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        }
    }
}

/// A function's place among those of its tenant that are needed: it leaves when it is dropped.
pub(super) struct Place {
    pub(super) tenant: Arc<Tenant>,
    is_needed: bool,
}

impl Place {
    pub(super) fn new(tenant: Arc<Tenant>) -> Self {
        Self {
            tenant,
            is_needed: false,
        }
    }

    /// It is needed.
    pub(super) fn enter(&mut self, now: Mono) {
        let before = if self.is_needed {
            self.tenant.needed.load(Ordering::Relaxed)
        } else {
            self.is_needed = true;
            self.tenant.needed.fetch_add(1, Ordering::Relaxed) + 1
        };
        self.tenant.note(before, now);
    }

    /// It is not.
    pub(super) fn leave(&mut self) {
        if std::mem::replace(&mut self.is_needed, false) {
            self.tenant.needed.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Arc<Tenant> {
        Tenants::default().of(&"111111111111".parse().unwrap())
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn functions_that_are_needed_at_once_weigh_as_much_as_one() {
        let tenant = tenant();
        let mut places: Vec<_> = (0..100).map(|_| Place::new(tenant.clone())).collect();
        for (at, place) in places.iter_mut().enumerate() {
            place.enter(Mono(10 * SECOND));
            // Needed still: counts once.
            place.enter(Mono(10 * SECOND + 1));
            let all = (at + 1).next_power_of_two();
            assert_eq!(1 << tenant.halvings(), all, "{at}");
        }
        assert!(tenant.is_news.load(Ordering::Relaxed));
        places.truncate(3);
        for place in &mut places[1..] {
            place.leave();
            place.leave();
        }
        assert_eq!(tenant.needed.load(Ordering::Relaxed), 1);
        places[0].enter(Mono(11 * SECOND));
        assert_eq!(tenant.halvings(), 7, "the second before had a hundred");
        places[0].enter(Mono(12 * SECOND));
        assert_eq!(tenant.halvings(), 0);
        drop(places);
        assert_eq!(tenant.needed.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn calls_one_after_the_other_take_the_lock_once_a_second() {
        let tenant = tenant();
        let mut places: Vec<_> = (0..4).map(|_| Place::new(tenant.clone())).collect();
        for at in 0..1000 {
            let place = &mut places[at % 4];
            place.enter(Mono(7 * SECOND + at as u64));
            place.leave();
            if at == 0 {
                tenant.is_news.store(false, Ordering::Relaxed);
                // Whoever took it again would stand still here.
                std::mem::forget(tenant.crowd.lock());
            }
        }
        assert_eq!(tenant.halvings(), 0);
    }

    #[test]
    fn a_tenant_is_known_as_long_as_somebody_holds_it() {
        let tenants = Tenants::default();
        let id: TenantId = "111111111111".parse().unwrap();
        let one = tenants.of(&id);
        assert!(Arc::ptr_eq(&one, &tenants.of(&id)));
        drop(one);
        for number in 0..1000_u64 {
            tenants.of(&format!("{number:012}").parse().unwrap());
        }
        assert!(tenants.0.lock().len() < 100, "those that are gone stay");
    }
}
