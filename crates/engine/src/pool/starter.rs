//! Starts of instances, as many as the waiting events ask for.
//!
//! A start belongs to its revision, not to the invocation that caused it: whoever waits longest
//! gets what comes up. A start whose init fails is handed to one waiter, which tries once more
//! within its own time, as on Lambda.

use super::{
    Booking, Cell, Grant, HOPS_AHEAD, Lease, Seat, State,
    caretaker::look_after,
    keeper::PAUSE,
    launch::{Attempt, InitFailure, LaunchFailed, Phase, launch},
    rehearse::{Ended, rehearse},
    stock,
};
use crate::{logs::InstanceLog, node::Node, parts::EngineConfig, route::Revision};
use freehold_domain::{
    ids::CoreId,
    limits::START_WAIT_S,
    outcome::{InvokeError, ThrottleReason},
    time::Mono,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// An init that failed, with what the next try takes over.
pub(crate) struct FailedInit {
    pub(crate) core: CoreId,
    pub(crate) attempt: Attempt,
    pub(crate) failure: InitFailure,
}

/// How long an init of a version with SnapStart has where it starts without an image.
const SNAP_START_INIT_TIMEOUT: Duration = Duration::from_secs(START_WAIT_S as u64);

/// How long a start keeps others waiting at the most.
const PLACE_HELD: Duration = Duration::from_millis(100);

/// Why an instance is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Events wait; what its init calls has so many functions before it.
    Waiting { hops: u8 },
    /// The minimum asks for it: it waits for memory as events do.
    Minimum,
    /// It will be needed: only if there is room as things are.
    Expected,
}

/// Starts one instance on `core`; the pool has counted it as starting.
pub(super) fn start(node: &Arc<Node>, revision: &Arc<Revision>, core: CoreId) {
    let longest = {
        let state = revision.pool.state.lock();
        state.waiters.iter().map(|waiter| waiter.hops).max()
    };
    let hops = longest.map_or(HOPS_AHEAD, |hops| hops.saturating_add(1));
    begin(node, revision, core, Reason::Waiting { hops });
}

/// The same without an event that waits for it.
pub(super) fn start_ahead(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    core: CoreId,
    is_minimum: bool,
) {
    let reason = if is_minimum {
        Reason::Minimum
    } else {
        Reason::Expected
    };
    begin(node, revision, core, reason);
}

fn begin(node: &Arc<Node>, revision: &Arc<Revision>, core: CoreId, reason: Reason) {
    let (node_, revision) = (node.clone(), revision.clone());
    node.spawn_on(core, async move {
        let node = node_;
        let line = node.gate(core);
        let place = line.enter(&revision.function.tenant, Arc::as_ptr(&revision) as usize);
        let place = place.await;
        // Whoever waited may have been served while this stood in line.
        let is_served = matches!(reason, Reason::Waiting { .. }) && !revision.pool.wants_another();
        if is_served || revision.pool.is_closed() {
            return revision.start_over(&node, core, |_, _| {});
        }
        let brought = book_and_bring(&node, &revision, core, reason);
        tokio::pin!(brought);
        tokio::select! {
            biased;
            () = &mut brought => {}
            // It waits for something else than a processor, or takes one for long: others go on.
            () = node.parts.clock.sleep(PLACE_HELD) => {
                drop(place);
                brought.await;
            }
        }
    });
}

async fn book_and_bring(node: &Arc<Node>, revision: &Arc<Revision>, core: CoreId, reason: Reason) {
    let booking = match reason {
        Reason::Waiting { .. } => book(node, revision, false).await,
        Reason::Minimum => book(node, revision, true).await,
        Reason::Expected => node.memory.book_spare(node, revision.pool.expected_bytes()),
    };
    let Some(booking) = booking else {
        if reason == Reason::Expected {
            revision.pause_ahead(node);
        }
        return revision.start_over(node, core, |_, _| {});
    };
    // Chosen at the last moment, and taken without a pause: of two starts only one finds it.
    let chosen = stock::core_for(node, revision, core);
    if chosen == core {
        return bring(node, revision, core, booking, reason).await;
    }
    let (node_, revision) = (node.clone(), revision.clone());
    let there = node.spawn_on(chosen, async move {
        bring(&node_, &revision, chosen, booking, reason).await;
    });
    // It ends with the task of whoever runs it; a panic there has been told already.
    let _ = there.await;
}

/// Brings one up for which memory is booked.
async fn bring(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    core: CoreId,
    booking: Booking,
    reason: Reason,
) {
    let (is_ahead, hops) = match reason {
        Reason::Waiting { hops } => (false, hops),
        Reason::Minimum | Reason::Expected => (true, HOPS_AHEAD),
    };
    if is_ahead {
        node.counters.ahead_started();
    }
    let instance = node.parts.ids.instance();
    let log = InstanceLog::new(node, revision, instance);
    let attempt = Attempt {
        instance,
        log,
        booking,
        hops,
        network_entries: Arc::default(),
        given_up: Arc::default(),
    };
    // What was published after a long init has to come up after one too where it is not carried; longer than
    // for that nobody waits.
    let init_timeout = match revision.is_snap_start() {
        true => node.init_timeout().max(SNAP_START_INIT_TIMEOUT),
        false => node.init_timeout(),
    };
    match launch(node, revision, core, attempt, Phase::Init, init_timeout).await {
        Ok(cell) => {
            if is_ahead && let Err(ended) = rehearse(node, revision, &cell).await {
                revision.start_over(node, core, |_, _| {});
                if let Ended::Failed { reason } = ended {
                    let function = &revision.function.name;
                    tracing::warn!(%function, reason, "an instance failed its rehearsal");
                    revision.tend(node, core);
                }
                return;
            }
            revision.started(node, cell, is_ahead);
        }
        Err(LaunchFailed::Init(failure, attempt)) => {
            // Its report is in the log; the caller hears of the second try.
            revision.pause_ahead(node);
            let failed = FailedInit {
                core,
                attempt,
                failure,
            };
            revision.init_failed(node, failed);
        }
        // It was not told to thaw alone; said for the compiler and for the log.
        Err(LaunchFailed::NotThawed { reason, .. }) => {
            revision.start_failed(node, core, InvokeError::InstanceLost { reason });
        }
        // A machine that is too busy to make a sandbox in time, or has no room for it: no event has
        // been touched, so whoever waits goes on waiting, for a further start and until its own
        // deadline.
        Err(LaunchFailed::Platform(
            error @ (InvokeError::DeadlinePassed { .. }
            | InvokeError::Throttled {
                reason: ThrottleReason::MachineRoom,
                ..
            }),
        )) => {
            let function = &revision.function.name;
            tracing::warn!(%function, %error, "there is no sandbox yet; another one is asked for");
            revision.start_over(node, core, |_, _| {});
        }
        // Nobody waits for it any more.
        Err(LaunchFailed::Platform(InvokeError::TenantDisabled)) => {
            revision.start_over(node, core, |_, _| {});
        }
        Err(LaunchFailed::Platform(error)) => {
            revision.pause_ahead(node);
            revision.start_failed(node, core, error);
        }
    }
}

async fn book(node: &Arc<Node>, revision: &Arc<Revision>, for_minimum: bool) -> Option<Booking> {
    let pool = &revision.pool;
    let wanted = || {
        let state = pool.state.lock();
        if for_minimum && !state.retired && !node.draining.load(Ordering::Acquire) {
            let comes = state.seats.len() + state.starting;
            return comes <= pool.minimum() as usize;
        }
        drop(state);
        pool.wants_another()
    };
    let short = |is_short: bool| {
        let waits = &pool.short_of_memory;
        if is_short {
            waits.fetch_add(1, Ordering::AcqRel);
        } else {
            waits.fetch_sub(1, Ordering::AcqRel);
        }
    };
    node.memory
        .book(node, pool.expected_bytes(), wanted, short)
        .await
}

impl super::Pool {
    /// Whether a start that is under way is needed still, beside the others.
    fn wants_another(&self) -> bool {
        let state = self.state.lock();
        let others = state.starting.saturating_sub(1) * usize::from(state.slots);
        state.waiters.len() > others
    }
}

impl Revision {
    /// Nothing is made ahead for a while.
    fn pause_ahead(&self, node: &Node) {
        self.pool.state.lock().ahead_after = node.parts.clock.now() + PAUSE;
    }

    /// An instance came up: its slots go to those who wait, oldest first.
    fn started(self: &Arc<Self>, node: &Arc<Node>, cell: Cell, is_ahead: bool) {
        let core = cell.core;
        cell.set_made_ahead(is_ahead);
        if let Ok(spent) = cell.instance.spent() {
            let own_bytes = spent.own_peak_bytes;
            let booked = self.pool.learn_ready(own_bytes);
            cell.adjust_booking(booked.max(own_bytes));
        }
        if let Some(cell) = self.seat(node, cell, true) {
            for _ in 0..cell.slots {
                self.pass_on(node, cell.clone());
            }
        }
        self.top_up(node, core);
    }

    /// An instance that an invocation started itself: one slot is its own.
    pub(crate) fn adopt(self: &Arc<Self>, node: &Arc<Node>, cell: Cell) -> Lease {
        let id = cell.id;
        let seated = self.seat(node, cell, false);
        let cell = seated.unwrap_or_else(|| unreachable!("instance {id} keeps its seat"));
        // Closed before it had its seat.
        if self.pool.is_closed() {
            cell.clone().end_soon(node);
        }
        for _ in 1..cell.slots {
            self.pass_on(node, cell.clone());
        }
        Lease::new(self.clone(), cell)
    }

    /// Gives an instance its seat, every slot held by the caller; `None` when its revision was
    /// replaced while it came up and nobody holds it.
    fn seat(self: &Arc<Self>, node: &Arc<Node>, cell: Cell, was_start: bool) -> Option<Arc<Cell>> {
        let (cell, now) = (Arc::new(cell), node.parts.clock.now());
        let was_listed = {
            let mut state = self.pool.state.lock();
            state.starting -= usize::from(was_start);
            state.failures = 0;
            state.slots = cell.slots.max(1);
            if state.retired && was_start && state.waiters.is_empty() {
                drop(state);
                cell.end_soon(node);
                return None;
            }
            let seat = Seat {
                cell: cell.clone(),
                busy: cell.slots.max(1),
                uses: 0,
                idle_since: now,
                restless: None,
            };
            state.in_use += 1;
            state.seats.insert(cell.id, seat);
            if let Some(up) = &*cell.coming_up.lock() {
                state.keep.came_up_in((up.start + up.init).as_secs_f64());
            }
            std::mem::replace(&mut state.listed, true)
        };
        if !was_listed {
            node.peopled.enter(self);
        }
        let looked_after = look_after(Arc::downgrade(node), self.clone(), cell.clone());
        node.spawn_on(cell.core, looked_after);
        Some(cell)
    }

    fn init_failed(self: &Arc<Self>, node: &Arc<Node>, failed: FailedInit) {
        let config = &node.parts.config.now();
        let (now, core) = (node.parts.clock.now(), failed.core);
        node.counters.init_failed();
        {
            let mut state = self.pool.state.lock();
            state.failures += 1;
            state.back_off(config, now);
        }
        let mut grant = Grant::FailedInit(Box::new(failed));
        while let Some(waiter) = { self.pool.state.lock().waiters.pop_front() } {
            match waiter.grant.send(grant) {
                Ok(()) => break,
                Err(back) => grant = back,
            }
        }
        self.start_over(node, core, |state, refused| {
            if state.failures >= config.init_failures {
                // Those for whom a start is under way hear how it went; the others wait in vain.
                let kept = state.starting * usize::from(state.slots);
                let keep = kept.min(state.waiters.len());
                let wait = state.backoff_until.since(now);
                refused.extend(
                    state
                        .waiters
                        .drain(keep..)
                        .map(|w| (w, Grant::Backoff(wait))),
                );
            }
        });
    }

    /// The second try of an invocation failed too: the wait for the next one begins now.
    pub(crate) fn init_failed_again(&self, node: &Node) {
        self.pool
            .state
            .lock()
            .back_off(&node.parts.config.now(), node.parts.clock.now());
    }

    fn start_failed(self: &Arc<Self>, node: &Arc<Node>, core: CoreId, error: InvokeError) {
        tracing::error!(function = %self.function.name, %error, "an instance could not be started");
        self.start_over(node, core, |state, refused| {
            refused.extend(state.waiters.pop_front().map(|w| (w, Grant::Failed(error))));
        });
    }

    /// A start ended without an instance: counts it off, lets `refuse` turn waiters away, and
    /// starts again for those who are left.
    fn start_over(
        self: &Arc<Self>,
        node: &Arc<Node>,
        core: CoreId,
        refuse: impl FnOnce(&mut State, &mut Vec<(super::Waiter, Grant)>),
    ) {
        let mut refused = Vec::new();
        let wanted = {
            let mut state = self.pool.state.lock();
            state.starting -= 1;
            refuse(&mut state, &mut refused);
            refused.extend(state.stranded().into_iter().map(|w| (w, Grant::Replaced)));
            let wanted = if state.retired {
                0
            } else {
                state.starts_wanted()
            };
            state.starting += wanted;
            wanted
        };
        for (waiter, grant) in refused {
            let _ = waiter.grant.send(grant);
        }
        for _ in 0..wanted {
            start(node, self, core);
        }
        if self.pool.minimum() > 0 {
            self.tend(node, core);
        }
    }

    /// Starts what the waiters still ask for, once it is known how much one instance takes.
    fn top_up(self: &Arc<Self>, node: &Arc<Node>, core: CoreId) {
        let (wanted, stranded) = {
            let mut state = self.pool.state.lock();
            let wanted = if state.retired {
                0
            } else {
                state.starts_wanted()
            };
            state.starting += wanted;
            (wanted, state.stranded())
        };
        for waiter in stranded {
            let _ = waiter.grant.send(Grant::Replaced);
        }
        for _ in 0..wanted {
            start(node, self, core);
        }
    }
}

impl State {
    /// After a row of failures the next start waits, twice as long with every further one.
    fn back_off(&mut self, config: &EngineConfig, now: Mono) {
        if let Some(further) = self.failures.checked_sub(config.init_failures) {
            let wait = config.init_backoff.saturating_mul(1 << further.min(16));
            self.backoff_until = now + wait.min(config.init_backoff_max);
        }
    }
}
