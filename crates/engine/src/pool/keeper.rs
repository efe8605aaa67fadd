//! Keeps as many instances of one revision as [`Keep`](crate::keep::Keep) and its minimum ask for.
//!
//! One task for each revision that has instances or expects to need some: it ends what has idled
//! for too long, starts ahead what will be needed, wakes what will be needed and is frozen, replaces
//! what died below the minimum, and gives the weight of a crowd back to those of it that run on. It
//! sleeps until the answer changes by itself or a call changes it; a revision of which nothing is held
//! or expected has no keeper.
//!
//! It never takes memory from anybody: what is made ahead has to fit as things are, and waits for
//! better times after a failure. Only the minimum waits in line for memory as calls do.

use super::{Cell, core_index, starter};
use crate::{
    keep::{Means, Seconds},
    node::Node,
    route::Revision,
};
use freehold_domain::{
    ids::{CoreId, InstanceId},
    time::Mono,
};
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

/// How long nothing is made ahead after the machine had no room for it or failed to.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
/// When to look again for what is to be ready and went for want of memory.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Starts ahead that one revision has under way at once.
const AHEAD_MAX: usize = 32;

/// What there is to do.
#[derive(Default)]
struct Work {
    surplus: Vec<Arc<Cell>>,
    /// Starts, and the core of each.
    ahead: Vec<CoreId>,
    /// Of those, starts that the minimum asks for.
    for_minimum: usize,
    /// Idle instances that are to wait in another way: awake and not frozen, or frozen.
    stirred: Vec<Arc<Cell>>,
    /// Busy instances that weigh something else from now on.
    weighed: Vec<Arc<Cell>>,
    /// When to look again; never when there is nothing to look after.
    until: Option<Mono>,
    is_over: bool,
}

impl Revision {
    /// Sees to it that this revision has a keeper that looks again now.
    pub(crate) fn tend(self: &Arc<Self>, node: &Arc<Node>, core: CoreId) {
        let mut state = self.pool.state.lock();
        if state.retired {
            return;
        }
        if std::mem::replace(&mut state.is_tended, true) {
            self.pool.tending.notify_one();
            return;
        }
        drop(state);
        // Whichever core asks first: the keeper works little.
        node.spawn_on(core, keep(Arc::downgrade(node), Arc::downgrade(self)));
    }

    /// The instances that this revision has ready at the least, from now on.
    pub(crate) fn set_minimum(self: &Arc<Self>, node: &Arc<Node>, minimum: u32) {
        self.pool.minimum.store(minimum, Ordering::Release);
        self.tend(node, CoreId(0));
    }

    /// Goes on with what its predecessor has learned.
    pub(crate) fn inherit(&self, node: &Node, before: &Self) {
        let now = node.seconds(node.parts.clock.now());
        let keep = before.pool.state.lock().keep.clone();
        self.pool.state.lock().keep = keep.handed_on(now);
    }

    /// How many are to be there while memory is at hand, from now on.
    pub(crate) fn set_ready(self: &Arc<Self>, node: &Arc<Node>, ready: u32) {
        self.pool.ready.store(ready, Ordering::Release);
        self.tend(node, CoreId(0));
    }

    fn weigh(&self, node: &Node) -> Work {
        let (config, now) = (node.parts.config.now(), node.parts.clock.now());
        let means = node.means();
        let mut guard = self.pool.state.lock();
        let state = &mut *guard;
        let mut work = Work::default();
        if state.retired || node.is_stopped() || node.draining.load(Ordering::Acquire) {
            (state.is_tended, work.is_over) = (false, true);
            return work;
        }
        state.keep.follow(config.keep);
        state.note(node.seconds(now));
        work.weighed = self.weighed(state, now).unwrap_or_default();
        let target = state.keep.target(node.seconds(now), means);
        let minimum = self.pool.minimum();
        let ready = self.pool.ready();
        let at_hand = if means.squeeze < 1.0 {
            0
        } else {
            ready.max(minimum)
        };
        let slots = usize::from(state.slots);
        let waiting = state.waiters.len().div_ceil(slots);
        let (kept, wanted) = (
            target.instances.max(minimum.max(at_hand)),
            target.ahead.max(minimum.max(at_hand)),
        );
        let (kept, wanted) = (kept.max(wanted) as usize, wanted as usize);
        let have = state.seats.len() + state.starting.max(waiting);
        work.until = target.until.map(|until| node.mono(until));
        if have > kept {
            let least = Duration::from_secs_f64(config.keep.least_idle());
            let least = least.mul_f64(means.squeeze.clamp(0.0, 1.0));
            state.take_surplus(have - kept, now, least, &mut work);
        } else if have < wanted && !state.is_backing_off(config.init_failures, now) {
            let lacking = (wanted - have).min(AHEAD_MAX.saturating_sub(state.starting));
            work.for_minimum = (minimum as usize).saturating_sub(have).min(lacking);
            let may_ahead = state.failures == 0 && now >= state.ahead_after;
            let count = if may_ahead { lacking } else { work.for_minimum };
            // What it and its tenant may start; the rest is looked at again in a while.
            let may = |_: &usize| self.take_starts(node, now, 1).is_ok();
            let count = (0..count).take_while(may).count();
            work.for_minimum = work.for_minimum.min(count);
            work.ahead = (0..count).map(|at| state.roomiest(at)).collect();
            state.starting += count;
            if count < wanted - have {
                work.until = Some(soonest(work.until, state.ahead_after.max(now + PAUSE)));
            }
        } else if have < wanted {
            work.until = Some(soonest(work.until, state.backoff_until.max(now + PAUSE)));
        }
        state.awake = minimum.max(at_hand);
        work.stirred = state.to_stir(node, now, means.squeeze < 1.0);
        if at_hand < ready && have < ready as usize {
            // Memory that comes back says nothing.
            work.until = Some(soonest(work.until, now + LOOK_AGAIN));
        }
        if let Some(again) = state.crowd.again() {
            work.until = Some(soonest(work.until, again));
        }
        if work.until.is_none() && minimum == 0 && ready == 0 {
            (state.is_tended, work.is_over) = (false, true);
        }
        work
    }
}

fn soonest(one: Option<Mono>, other: Mono) -> Mono {
    one.map_or(other, |one| one.min(other))
}

impl super::State {
    /// Says to the history what is needed now; true when that calls for the keeper.
    pub(super) fn note(&mut self, now: Seconds) -> bool {
        let needed = u32::try_from(self.needed()).unwrap_or(u32::MAX);
        if needed == self.keep.needed() {
            return false;
        }
        self.keep.demand(now, needed)
    }

    /// Takes out instances that have idled longest; one that was used within `least` stays, on
    /// whichever core it is: it works as much as the others.
    fn take_surplus(&mut self, count: usize, now: Mono, least: Duration, work: &mut Work) {
        let mut idle: Vec<(Mono, InstanceId)> = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.busy == 0)
            .map(|(id, seat)| (seat.idle_since, *id))
            .collect();
        idle.sort_unstable();
        for (since, id) in idle.into_iter().take(count) {
            if now < since + least {
                work.until = Some(soonest(work.until, since + least));
                break;
            }
            work.surplus.extend(self.remove(id));
        }
    }

    fn is_backing_off(&self, failures_max: u32, now: Mono) -> bool {
        self.failures >= failures_max && now < self.backoff_until
    }

    /// The core with fewest instances, the next one for every further start.
    fn roomiest(&self, further: usize) -> CoreId {
        let mut counts = vec![0_usize; self.free.len()];
        for seat in self.seats.values() {
            counts[core_index(seat.cell.core)] += 1;
        }
        let least = (0..counts.len())
            .min_by_key(|core| counts[*core])
            .unwrap_or(0);
        CoreId(((least + further) % counts.len().max(1)) as u16)
    }
}

/// See the module.
async fn keep(node: Weak<Node>, revision: Weak<Revision>) {
    loop {
        let (Some(strong), Some(held)) = (node.upgrade(), revision.upgrade()) else {
            return;
        };
        let work = held.weigh(&strong);
        for cell in work.surplus {
            cell.end_soon(&strong);
        }
        held.weigh_all(&strong, work.weighed);
        for cell in work.stirred {
            cell.stirred.notify_one();
        }
        for (at, core) in work.ahead.into_iter().enumerate() {
            starter::start_ahead(&strong, &held, core, at < work.for_minimum);
        }
        if work.is_over {
            return;
        }
        let (clock, tending) = (strong.parts.clock.clone(), held.pool.tending.clone());
        let at = work.until;
        drop((strong, held));
        let until = async {
            match at {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until => {}
            () = tending.notified() => {}
        }
    }
}

impl Node {
    /// What there is to spend on instances that nobody uses.
    pub(crate) fn means(&self) -> Means {
        let capacity = self.parts.driver.capacity();
        let total = capacity.memory_bytes.max(1) as f64;
        let unbooked = total - self.memory.booked_bytes() as f64;
        let available = capacity.memory_available_bytes as f64;
        Means::of_free_share(unbooked.min(available) / total)
    }
}
