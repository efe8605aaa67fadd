//! The instances of one revision: slots, those who wait for one, and starts.
//!
//! ```text
//!            start                 lease                    idle timeout, eviction,
//!   (none) ─────────▶ idle ◀──────────────▶ busy            replaced, exited
//!                      │ ▲  (slots in use)                ─────────▶ (destroyed)
//!          freeze_after▼ │thaw, expected
//!                     frozen
//! ```
//!
//! One short lock per revision holds all of it, for every core: a free slot goes to the oldest
//! waiter, wherever that waits, or stays with its core, whose own arrivals take it first. A waiter
//! takes whichever comes first, a freed slot or a started instance; there are never more starts
//! than the waiting events need. What the lock guards is counts and queues; nothing is awaited,
//! sent or destroyed under it. See `docs/decisions/0006-one-thread-per-core.md`.

mod caretaker;
mod cell;
mod chain;
mod comes_up;
mod compiled;
mod crowd;
mod gate;
mod keeper;
mod launch;
mod lease;
mod memory;
mod peopled;
mod rates;
mod rehearse;
mod rest;
mod snapshots;
mod starter;
pub(crate) mod stock;
mod tenants;
mod traffic;
mod weights;

pub(crate) use cell::Cell;
pub(crate) use chain::HOPS_AHEAD;
pub(crate) use comes_up::{WAIT as START_WAIT, comes_up, shows};
pub(crate) use compiled::{Compiled, CompiledBook};
pub(crate) use crowd::weight_of;
pub(crate) use gate::Gate;
pub(crate) use launch::{InitFailure, InitFailureKind, LaunchFailed, Phase, end_of, launch};
pub(crate) use lease::Lease;
pub(crate) use memory::{Booking, MemoryBook};
pub(crate) use peopled::Peopled;
pub(crate) use rates::StartRates;
pub(crate) use snapshots::{NotMade, SnapshotOf, Snapshots, make as make_snapshot};
pub(crate) use starter::FailedInit;
pub(crate) use tenants::Tenants;
pub(crate) use traffic::{Traffic, Traffics, watch as watch_traffic};

use crate::{
    keep::{Keep, Seconds},
    node::Node,
    route::Revision,
};
use crowd::Crowd;
use freehold_domain::{
    bucket::{Bucket, Rate},
    ids::{CoreId, InstanceId},
    outcome::{InvokeError, ThrottleReason},
    tenants::OverRate,
    time::Mono,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tenants::{Place, Tenant};
use tokio::sync::{Notify, oneshot};

/// What an event takes beside what its instance has come up with, as long as nobody knows.
const UNRUN_BYTES: u64 = 12 << 20;

/// See the module.
pub(crate) struct Pool {
    state: Mutex<State>,
    /// What an instance is expected to use, bytes: learned from those that ran.
    expected_bytes: AtomicU64,
    /// Whether any has.
    has_run: AtomicBool,
    /// Instances that are ready at the least, whatever the history says.
    minimum: AtomicU32,
    /// Instances that are to be there while memory is at hand.
    ready: AtomicU32,
    /// How often the function's weight is halved for each instance, as `State::crowd` has it.
    halvings: AtomicU8,
    /// Whose it is.
    tenant: Arc<Tenant>,
    /// What the function's starts take from, whichever revision they are of.
    starts: Arc<Bucket>,
    /// Wakes the keeper.
    tending: Arc<Notify>,
    /// Tells what comes up that nothing may any more: see [`Revision::close`].
    closing: Notify,
    /// Starts of this pool that wait for machine memory.
    pub(crate) short_of_memory: AtomicUsize,
    /// Whether the last sandbox that was asked for was refused for want of something else that the
    /// platform bounds.
    pub(crate) short_of_room: AtomicBool,
}

struct State {
    retired: bool,
    /// Beyond that: nobody waits, and nothing comes up.
    closed: bool,
    /// Whether the node's list of those with instances holds this one.
    listed: bool,
    seats: HashMap<InstanceId, Seat>,
    /// Instances with a free slot, by core; the last one was used last.
    free: Vec<Vec<InstanceId>>,
    waiters: VecDeque<Waiter>,
    waiter_ids: u64,
    starting: usize,
    /// Instances with an event in them.
    in_use: usize,
    /// What they weigh, as many as they are.
    crowd: Crowd,
    /// Among the functions of the tenant.
    place: Place,
    /// When which of them are needed.
    keep: Keep,
    /// Whether there is a keeper.
    is_tended: bool,
    /// Nothing is made ahead before.
    ahead_after: Mono,
    /// Nor rehearsed.
    rehearse_after: Mono,
    /// Instances, those in use included, of which none is to be frozen: the operator wants them ready.
    awake: u32,
    /// Slots of an instance, as far as known.
    slots: u16,
    failures: u32,
    backoff_until: Mono,
}

/// One instance's place in the pool.
struct Seat {
    cell: Arc<Cell>,
    busy: u16,
    /// Grows with every use, so that the caretaker sees one that it slept through.
    uses: u64,
    idle_since: Mono,
    /// The uses after which it was seen to go on by itself: it waits frozen until the next one.
    restless: Option<u64>,
}

struct Waiter {
    id: u64,
    /// Functions that stand before it.
    hops: u8,
    grant: oneshot::Sender<Grant>,
}

/// What a waiter is given.
pub(crate) enum Grant {
    /// A slot.
    Lease(Lease),
    /// The start that was made for it failed in the function's init: it is tried once more as a
    /// part of the invocation.
    FailedInit(Box<FailedInit>),
    /// The platform could not start an instance.
    Failed(InvokeError),
    /// Too many inits failed in a row.
    Backoff(Duration),
    /// The revision was replaced.
    Replaced,
}

/// What asking for a slot comes to at once.
pub(crate) enum Asked {
    Now(Grant),
    Wait(Ticket),
}

/// A place in the queue; dropping it leaves the queue.
pub(crate) struct Ticket {
    revision: Arc<Revision>,
    id: u64,
    pub(crate) grant: oneshot::Receiver<Grant>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.revision.pool.state.lock();
        state.waiters.retain(|waiter| waiter.id != self.id);
        state.leave_if_unneeded();
    }
}

/// What the caretaker finds when it looks after an instance.
pub(crate) enum Found {
    Gone,
    Busy,
    Idle {
        uses: u64,
        since: Mono,
        frozen: bool,
    },
}

/// The instance of a pool that would go first; of several pools the least does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OldestIdle {
    /// Whether it is needed any moment, by its function's history: it waits awake, while there is
    /// memory.
    pub(crate) is_expected: bool,
    pub(crate) since: Mono,
    pub(crate) id: InstanceId,
    /// As counted when it was seen; another number says that it was used since.
    pub(crate) uses: u64,
}

impl Pool {
    pub(crate) fn new(
        cores: u16,
        slots: u16,
        expected_bytes: u64,
        keep: Keep,
        tenant: Arc<Tenant>,
        starts: Arc<Bucket>,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                retired: false,
                closed: false,
                listed: false,
                seats: HashMap::new(),
                free: (0..cores.max(1)).map(|_| Vec::new()).collect(),
                waiters: VecDeque::new(),
                waiter_ids: 0,
                starting: 0,
                in_use: 0,
                crowd: Crowd::default(),
                place: Place::new(tenant.clone()),
                keep,
                is_tended: false,
                ahead_after: Mono(0),
                rehearse_after: Mono(0),
                awake: 0,
                slots: slots.max(1),
                failures: 0,
                backoff_until: Mono(0),
            }),
            expected_bytes: AtomicU64::new(expected_bytes),
            has_run: AtomicBool::new(false),
            minimum: AtomicU32::new(0),
            ready: AtomicU32::new(0),
            halvings: AtomicU8::new(0),
            tenant,
            starts,
            tending: Arc::default(),
            closing: Notify::new(),
            short_of_memory: AtomicUsize::new(0),
            short_of_room: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.state.lock().retired
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Resolves once it is.
    pub(crate) async fn closed(&self) {
        // It hears every word from here on.
        let told = self.closing.notified();
        if !self.is_closed() {
            told.await;
        }
    }

    /// Whether any has come up and is still there.
    pub(crate) fn has_instances(&self) -> bool {
        !self.state.lock().seats.is_empty()
    }

    pub(crate) fn minimum(&self) -> u32 {
        self.minimum.load(Ordering::Acquire)
    }

    pub(crate) fn expected_bytes(&self) -> u64 {
        self.expected_bytes.load(Ordering::Relaxed)
    }

    /// Learns from an instance's peak: up at once, down slowly.
    pub(crate) fn learn_peak(&self, peak_bytes: u64) {
        self.has_run.store(true, Ordering::Relaxed);
        let learned = |known: u64| Some(peak_bytes.max(known - known / 8 + peak_bytes / 8));
        let _ = self
            .expected_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, learned);
    }

    /// Learns from an instance that has come up, for as long as none has run: what it uses then
    /// and [`UNRUN_BYTES`] for its first event, or what was expected if that is less. Says what is
    /// expected of it.
    pub(crate) fn learn_ready(&self, bytes: u64) -> u64 {
        let known = self.expected_bytes();
        if self.has_run.load(Ordering::Relaxed) {
            return known;
        }
        let learned = known.min(bytes.saturating_add(UNRUN_BYTES));
        self.expected_bytes.fetch_min(learned, Ordering::Relaxed);
        learned
    }

    /// Instances that are to be there while memory is at hand.
    pub(crate) fn ready(&self) -> u32 {
        self.ready.load(Ordering::Acquire)
    }

    /// Instances, those frozen, starts under way and waiters.
    pub(crate) fn counts(&self) -> (usize, usize, usize, usize) {
        let state = self.state.lock();
        let frozen = state
            .seats
            .values()
            .filter(|seat| seat.cell.is_frozen())
            .count();
        (
            state.seats.len(),
            frozen,
            state.starting,
            state.waiters.len(),
        )
    }

    /// Every instance with its busy slots and whether it is frozen.
    pub(crate) fn cells(&self) -> Vec<(Arc<Cell>, u16, bool)> {
        let state = self.state.lock();
        state
            .seats
            .values()
            .map(|seat| (seat.cell.clone(), seat.busy, seat.cell.is_frozen()))
            .collect()
    }

    /// Looks after one instance.
    pub(crate) fn look(&self, id: InstanceId) -> Found {
        match self.state.lock().seats.get(&id) {
            None => Found::Gone,
            Some(seat) if seat.busy > 0 => Found::Busy,
            Some(seat) => Found::Idle {
                uses: seat.uses,
                since: seat.idle_since,
                frozen: seat.cell.is_frozen(),
            },
        }
    }

    /// Marks an instance frozen, unless it was used since.
    pub(crate) fn mark_frozen(&self, id: InstanceId, uses_seen: u64) -> bool {
        match self.state.lock().seats.get_mut(&id) {
            Some(seat) if seat.busy == 0 && seat.uses == uses_seen => {
                seat.cell.set_frozen(true);
                true
            }
            _ => false,
        }
    }

    /// Takes an idle instance out for good, unless it was used since.
    pub(crate) fn take_idle(&self, id: InstanceId, uses_seen: u64) -> Option<Arc<Cell>> {
        let mut state = self.state.lock();
        let seat = state.seats.get(&id)?;
        (seat.busy == 0 && seat.uses == uses_seen).then(|| state.remove(id))?
    }

    /// The instance that has been idle longest at `now`, of those on `core` where one is named. None
    /// of the minimum.
    pub(crate) fn oldest_idle(&self, now: Seconds, core: Option<CoreId>) -> Option<OldestIdle> {
        let state = self.state.lock();
        if state.seats.len() <= self.minimum() as usize {
            return None;
        }
        let idle = || state.seats.iter().filter(|(_, seat)| seat.busy == 0);
        // All others are used before it.
        let level = u32::try_from(state.in_use + idle().count()).unwrap_or(u32::MAX);
        let (is_expected, _) = state.keep.awake(now, level);
        idle()
            .filter(|(_, seat)| core.is_none_or(|core| seat.cell.core == core))
            .map(|(id, seat)| OldestIdle {
                is_expected,
                since: seat.idle_since,
                id: *id,
                uses: seat.uses,
            })
            .min()
    }

    /// Whether it has instances still; one that has none is told that it leaves the list.
    fn stays_listed(&self) -> bool {
        let mut state = self.state.lock();
        state.listed = !state.seats.is_empty();
        state.listed
    }

    /// Takes an instance out whatever it does: it has ended, or is about to.
    pub(crate) fn remove(&self, id: InstanceId) -> Option<Arc<Cell>> {
        self.state.lock().remove(id)
    }
}

impl State {
    fn remove(&mut self, id: InstanceId) -> Option<Arc<Cell>> {
        let seat = self.seats.remove(&id)?;
        self.in_use -= usize::from(seat.busy > 0);
        self.free[core_index(seat.cell.core)].retain(|free| *free != id);
        self.leave_if_unneeded();
        Some(seat.cell)
    }

    /// To be called where fewer may be needed than before.
    fn leave_if_unneeded(&mut self) {
        if self.needed() == 0 {
            self.place.leave();
        }
    }

    /// Takes a free slot: of this core's instances first, then of the core with most.
    ///
    /// Instances that are too old for another event lose their places on the way; those that
    /// nobody uses are in `worn` then.
    fn take_slot(
        &mut self,
        here: CoreId,
        now: Mono,
        worn: &mut Vec<Arc<Cell>>,
    ) -> Option<Arc<Cell>> {
        let own = core_index(here);
        loop {
            let from = if self.free.get(own).is_some_and(|free| !free.is_empty()) {
                own
            } else {
                (0..self.free.len()).max_by_key(|core| self.free[*core].len())?
            };
            let id = *self.free[from].last()?;
            let seat = self.seats.get_mut(&id).expect("a free instance has a seat");
            let cell = seat.cell.clone();
            if cell.is_worn(now) {
                self.free[from].pop();
                if seat.busy == 0 {
                    worn.extend(self.remove(id));
                }
                continue;
            }
            self.in_use += usize::from(seat.busy == 0);
            seat.busy += 1;
            seat.uses += 1;
            if seat.busy >= cell.slots {
                self.free[from].pop();
            }
            return Some(cell);
        }
    }

    /// Takes out those who wait at a replaced revision without a start under way for them.
    fn stranded(&mut self) -> Vec<Waiter> {
        if !self.retired {
            return Vec::new();
        }
        let coming = self.starting * usize::from(self.slots);
        let kept = coming.min(self.waiters.len());
        self.waiters.drain(kept..).collect()
    }

    /// Instances that what runs and what waits ask for.
    fn needed(&self) -> usize {
        self.in_use + self.waiters.len().div_ceil(usize::from(self.slots))
    }

    /// Instances that the waiting events still ask for.
    fn starts_wanted(&self) -> usize {
        self.waiters
            .len()
            .div_ceil(usize::from(self.slots))
            .saturating_sub(self.starting)
    }
}

fn core_index(core: CoreId) -> usize {
    usize::from(core.0)
}

impl Revision {
    /// Asks for a slot on behalf of an invocation on core `here`, with `hops` functions before it.
    pub(crate) fn ask(self: &Arc<Self>, node: &Arc<Node>, here: CoreId, hops: u8) -> Asked {
        let now = node.parts.clock.now();
        let mut state = self.pool.state.lock();
        if state.retired {
            return Asked::Now(Grant::Replaced);
        }
        let mut worn = Vec::new();
        let taken = state.take_slot(here, now, &mut worn);
        for cell in worn {
            cell.end_soon(node);
        }
        if let Some(cell) = taken {
            let mut calls = state.note(node.seconds(now)) || !state.is_tended;
            let others = self.weighed(&mut state, now);
            // Who gives the weight back.
            calls |= others.is_some();
            drop(state);
            if calls {
                self.tend(node, here);
            }
            self.pool.tenant.tell(node, here);
            self.weigh_all(node, others.unwrap_or_default());
            self.weigh_one(node, &cell);
            if cell.was_made_ahead() && cell.invocations.load(Ordering::Relaxed) == 0 {
                node.counters.ahead_used();
            }
            return Asked::Now(Grant::Lease(Lease::new(self.clone(), cell)));
        }
        let backs_off = state.failures >= node.parts.config.now().init_failures;
        if backs_off && now < state.backoff_until {
            return Asked::Now(Grant::Backoff(state.backoff_until.since(now)));
        }
        let (grant, hears) = oneshot::channel();
        state.waiter_ids += 1;
        let id = state.waiter_ids;
        state.waiters.push_back(Waiter { id, hops, grant });
        // After a row of failures one start at a time shows whether init works again.
        let wanted = if backs_off {
            usize::from(state.starting == 0)
        } else {
            state.starts_wanted()
        };
        if wanted > 0
            && let Err((reason, wait)) = self.take_starts(node, now, wanted as u64)
        {
            // Nobody would start one for it, and who is free by then has others in line.
            state.waiters.pop_back();
            drop(state);
            node.counters.throttled(reason);
            return Asked::Now(Grant::Failed(InvokeError::Throttled {
                reason,
                retry_after: Some(wait),
            }));
        }
        state.starting += wanted;
        let mut calls = state.note(node.seconds(now)) || !state.is_tended;
        let others = self.weighed(&mut state, now);
        calls |= others.is_some();
        drop(state);
        if calls {
            self.tend(node, here);
        }
        self.pool.tenant.tell(node, here);
        self.weigh_all(node, others.unwrap_or_default());
        for _ in 0..wanted {
            starter::start(node, self, here);
        }
        Asked::Wait(Ticket {
            revision: self.clone(),
            id,
            grant: hears,
        })
    }

    /// Takes so many starts from what the function may have in ten seconds and its tenant in one.
    ///
    /// Errors: which of them has not as many, and when it has.
    fn take_starts(
        &self,
        node: &Node,
        now: Mono,
        count: u64,
    ) -> Result<(), (ThrottleReason, Duration)> {
        let (tenants, tenant) = (&node.parts.tenants, &self.function.tenant);
        let of_tenant = |over: OverRate| (ThrottleReason::StartRate, over.wait);
        // Asked first: one of the two that refuses takes nothing from the other.
        tenants.may_start(tenant, now, count).map_err(of_tenant)?;
        if let Some(most) = node.limits_of(tenant).function_starts_per_10_s {
            let taken = self.pool.starts.take(now, count, Rate::per_10_s(most));
            taken.map_err(|wait| (ThrottleReason::FunctionStartRate, wait))?;
        }
        tenants.start(tenant, now, count).map_err(of_tenant)
    }

    /// Gives a slot to the oldest waiter that still waits, or keeps it free.
    fn pass_on(self: &Arc<Self>, node: &Arc<Node>, cell: Arc<Cell>) {
        let mut lease = Lease::new(self.clone(), cell.clone());
        let is_worn = cell.is_worn(node.parts.clock.now());
        loop {
            let waiter = {
                let mut state = self.pool.state.lock();
                // An instance that has left the pool meanwhile is for nobody, nor is a worn one:
                // whoever waits has a start under way.
                let is_here = state.seats.contains_key(&cell.id);
                let waiter = if is_here && !is_worn {
                    state.waiters.pop_front()
                } else {
                    None
                };
                match waiter {
                    Some(waiter) => {
                        // Somebody waited for it in the end.
                        cell.set_made_ahead(false);
                        waiter
                    }
                    None => {
                        let cell = lease.disarm();
                        return self.put_back(node, state, cell);
                    }
                }
            };
            // The crowd may have grown while it came up.
            self.weigh_one(node, &cell);
            match waiter.grant.send(Grant::Lease(lease)) {
                Ok(()) => return,
                Err(Grant::Lease(back)) => lease = back,
                Err(_) => unreachable!("a lease was sent"),
            }
        }
    }

    /// A slot that nobody waits for: free again, or the end of a replaced or worn instance.
    fn put_back(
        self: &Arc<Self>,
        node: &Arc<Node>,
        mut guard: parking_lot::MutexGuard<'_, State>,
        cell: Arc<Cell>,
    ) {
        let (state, now) = (&mut *guard, node.parts.clock.now());
        let Some(seat) = state.seats.get_mut(&cell.id) else {
            return;
        };
        let was_full = seat.busy >= cell.slots;
        seat.busy -= 1;
        seat.uses += 1;
        let is_idle = seat.busy == 0;
        if is_idle {
            if cell.rests.load(Ordering::Relaxed) && cell.rests.swap(false, Ordering::AcqRel) {
                cell.stirred.notify_one();
            }
            seat.idle_since = now;
            state.in_use -= 1;
            state.note(node.seconds(now));
            state.leave_if_unneeded();
            if state.retired || cell.is_worn(now) {
                let ended = state.remove(cell.id);
                drop(guard);
                return ended.into_iter().for_each(|cell| cell.end_soon(node));
            }
        }
        if was_full && !cell.is_worn(now) {
            state.free[core_index(cell.core)].push(cell.id);
        }
        // One that came up after everybody had been served: the keeper had nothing left to keep.
        let is_nobodys = is_idle && !state.is_tended;
        drop(guard);
        if is_nobodys {
            self.tend(node, cell.core);
        }
        if is_idle {
            node.memory.something_is_idle();
        }
    }

    /// Ends every instance that is idle, and the others once they are: the revision was replaced
    /// or deleted.
    ///
    /// Those who wait and have a start under way keep it: they came before the change. Were they
    /// routed again, updates that follow each other faster than a start takes would throw every
    /// start away and ask for as many new ones, until nothing comes up any more. The others are
    /// routed again.
    pub(crate) fn retire(self: &Arc<Self>, node: &Arc<Node>) {
        let (idle, waiters) = {
            let mut state = self.pool.state.lock();
            state.retired = true;
            let idle: Vec<InstanceId> = state
                .seats
                .iter()
                .filter(|(_, seat)| seat.busy == 0)
                .map(|(id, _)| *id)
                .collect();
            let idle: Vec<_> = idle.into_iter().filter_map(|id| state.remove(id)).collect();
            (idle, state.stranded())
        };
        self.compiled.forget();
        self.pool.tending.notify_one();
        for cell in idle {
            cell.end_soon(node);
        }
        for waiter in waiters {
            let _ = waiter.grant.send(Grant::Replaced);
        }
    }

    /// Ends every instance, those that are busy and those that still come up too: its tenant was
    /// disabled. Whoever waits is routed again, and whoever runs sees the exit and settles with it.
    pub(crate) fn close(self: &Arc<Self>, node: &Arc<Node>) {
        self.retire(node);
        let (cells, waiters) = {
            let mut state = self.pool.state.lock();
            state.closed = true;
            let ids: Vec<InstanceId> = state.seats.keys().copied().collect();
            let cells: Vec<_> = ids.into_iter().filter_map(|id| state.remove(id)).collect();
            (cells, std::mem::take(&mut state.waiters))
        };
        self.pool.closing.notify_waiters();
        for cell in cells {
            cell.end_soon(node);
        }
        for waiter in waiters {
            let _ = waiter.grant.send(Grant::Replaced);
        }
    }
}
