//! How idle instances wait: awake or frozen.
//!
//! ```text
//!   awake ──────▶ frozen ──────▶ ended       each step costs its next caller more
//!     ▲──(expected)──┘
//! ```
//!
//! Freezing is there for what a function has set going and left: its threads, children and timers do
//! not run between two events. A process that has none of that and waits in `read` takes nothing of a
//! processor, frozen or not; frozen, its next caller waits for the thaw. So who is expected soon, by
//! the history of its function ([`Keep::awake`](crate::keep::Keep::awake)) or because the operator
//! wants it ready, waits awake, if it is *still*: its group counts its first process and
//! the runtime, with one thread each, and no processor time is spent while it waits. That is asked of
//! the kernel, never of the guest, and again for as long as it is awake; one that is not still is
//! frozen until its next event. Short of memory nobody is awake.

use super::{Cell, Pool, Seat, State};
use crate::node::Node;
use freehold_domain::{ids::InstanceId, time::Mono};
use std::{sync::Arc, time::Duration};

/// The first process of a sandbox and its runtime's.
const TASKS_OF_STILL: std::ops::RangeInclusive<u32> = 1..=2;
/// How often one that is awake is looked at at the least: whoever gets a signal of its own making then
/// runs for no longer. One look reads one small file.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(2);
/// When one that would be awake if there were memory is looked at again.
pub(super) const SHORT_AGAIN: Duration = Duration::from_secs(30);
/// Processor time that the way back from a freeze to where it waited may take: some 20 to 60 µs.
const THAW_US_MAX: u64 = 1_000;

/// What its caretaker knows of an instance between two of its uses.
#[derive(Default)]
pub(super) struct Watch {
    /// The uses that it had when it was seen to be still.
    still_at: Option<u64>,
    /// Processor time at the last look.
    cpu_us: u64,
    /// It was thawed since, and goes back to where it waited.
    was_thawed: bool,
    every: Duration,
}

impl Watch {
    /// Whether an idle instance of so many uses is still: looked at again after `first`, then after
    /// twice as long each time.
    pub(super) async fn is_still(&mut self, cell: &Cell, uses: u64, first: Duration) -> bool {
        if self.still_at != Some(uses) {
            // Before it is asked for its tasks: one that ends in between has spent something.
            let spent = cell.instance.spent();
            let usage = cell.instance.usage().await;
            let (Ok(spent), Ok(usage)) = (spent, usage) else {
                return false;
            };
            let is_alone = TASKS_OF_STILL.contains(&usage.pids);
            if is_alone {
                // What it printed after its answer: the freeze would have seen to that.
                cell.log.flush();
                *self = Self {
                    still_at: Some(uses),
                    cpu_us: spent.cpu_us,
                    was_thawed: false,
                    every: first,
                };
            }
            return is_alone;
        }
        let Ok(spent) = cell.instance.spent() else {
            return false;
        };
        self.every = (self.every * 2).min(LOOK_AGAIN_MAX);
        let most = if std::mem::take(&mut self.was_thawed) {
            THAW_US_MAX
        } else {
            0
        };
        let before = std::mem::replace(&mut self.cpu_us, spent.cpu_us);
        spent.cpu_us.saturating_sub(before) <= most
    }

    /// When to look again.
    pub(super) fn again(&self, now: Mono, until: Option<Mono>) -> Mono {
        let again = now + self.every;
        until.map_or(again, |until| again.min(until.max(now)))
    }

    /// It was thawed just now: the way back to where it waited takes a moment of the processor.
    pub(super) fn was_thawed(&mut self) {
        self.was_thawed = true;
    }

    /// It is frozen, which takes processor time of its own: it is looked at anew when it is woken.
    pub(super) fn was_frozen(&mut self) {
        *self = Self::default();
    }
}

/// How an idle instance is to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Frozen,
    /// Frozen, for want of memory alone: to be looked at again.
    Short,
    /// Until then, where that is known.
    Awake(Option<Mono>),
}

impl Pool {
    /// How an idle instance is to wait; frozen when it is not idle.
    pub(super) fn rest(&self, node: &Node, id: InstanceId) -> Rest {
        let now = node.parts.clock.now();
        let rest = {
            let state = self.state.lock();
            let seat = state.seats.get(&id).filter(|seat| seat.busy == 0);
            seat.map_or(Rest::Frozen, |seat| state.rest(node, (id, seat), now))
        };
        match rest {
            // Asked for last: it looks at the machine.
            Rest::Awake(_) if node.means().squeeze < 1.0 => Rest::Short,
            rest => rest,
        }
    }

    /// An idle instance is not still: it is frozen until it is used again.
    pub(super) fn mark_restless(&self, id: InstanceId, uses_seen: u64) {
        if let Some(seat) = self.state.lock().seats.get_mut(&id) {
            seat.restless = Some(uses_seen);
        }
    }

    /// Whether events wait for an instance.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.state.lock().waiters.is_empty()
    }
}

impl State {
    /// How an idle instance is to wait, by its place in the stack: those that idle shortest are used
    /// next.
    fn rest(&self, node: &Node, (id, seat): (InstanceId, &Seat), now: Mono) -> Rest {
        // Before all others are looked through: a thousand that fall idle together ask one by one.
        if !self.expects_any(node, now) {
            return Rest::Frozen;
        }
        let place = (seat.idle_since, id);
        let others = self.seats.iter().filter(|(_, other)| other.busy == 0);
        let sooner = others.filter(|(id, other)| (other.idle_since, **id) > place);
        self.rest_behind(node, seat, sooner.count(), now)
    }

    /// Whether any idle instance is to wait awake, whichever it is.
    fn expects_any(&self, node: &Node, now: Mono) -> bool {
        self.in_use < self.awake as usize || self.keep.is_any_awake(node.seconds(now))
    }

    /// The same where so many idle ones are known to be used sooner.
    fn rest_behind(&self, node: &Node, seat: &Seat, sooner: usize, now: Mono) -> Rest {
        if seat.restless == Some(seat.uses) {
            return Rest::Frozen;
        }
        let before = self.in_use + sooner;
        if before < self.awake as usize {
            return Rest::Awake(None);
        }
        let level = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        match self.keep.awake(node.seconds(now), level) {
            (true, until) => Rest::Awake(until.map(|until| node.mono(until))),
            (false, _) => Rest::Frozen,
        }
    }

    /// Idle instances that wait in another way than they are to.
    pub(super) fn to_stir(&self, node: &Node, now: Mono, is_short: bool) -> Vec<Arc<Cell>> {
        let idle = self.seats.iter().filter(|(_, seat)| seat.busy == 0);
        if is_short || !self.expects_any(node, now) {
            let awake = idle.filter(|(_, seat)| !seat.cell.is_frozen());
            return awake.map(|(_, seat)| seat.cell.clone()).collect();
        }
        let mut idle: Vec<(Mono, InstanceId, &Seat)> = idle
            .map(|(id, seat)| (seat.idle_since, *id, seat))
            .collect();
        idle.sort_unstable_by_key(|(since, id, _)| std::cmp::Reverse((*since, *id)));
        let differs = |(sooner, seat): (usize, &Seat)| {
            let rest = self.rest_behind(node, seat, sooner, now);
            let is_awake = rest != Rest::Frozen;
            (seat.cell.is_frozen() == is_awake).then(|| seat.cell.clone())
        };
        let idle = idle.into_iter().map(|(_, _, seat)| seat);
        idle.enumerate().filter_map(differs).collect()
    }
}
