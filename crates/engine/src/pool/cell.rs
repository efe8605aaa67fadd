//! One live instance with everything that dies with it.

use super::{Booking, Traffic, chain::Chain};
use crate::{logs::InstanceLog, node::Node, route::Revision};
use freehold_domain::{
    ids::{CoreId, InstanceId, InvocationId},
    ports::{ExitCause, ExitReport, Instance, InstanceGone, Link, Spent},
    time::{Mono, Wall},
    trace::TraceHeader,
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Ends an instance's credentials with it.
pub(crate) struct Credentials {
    pub(crate) node: Weak<Node>,
    pub(crate) instance: InstanceId,
}

impl Drop for Credentials {
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade() {
            node.parts.credentials.revoke(self.instance);
        }
    }
}

/// How long an instance took to come up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ComingUp {
    pub(crate) start: Duration,
    /// Init, or the hooks after a restore.
    pub(crate) init: Duration,
}

/// See the module.
pub(crate) struct Cell {
    pub(crate) id: InstanceId,
    pub(crate) core: CoreId,
    pub(crate) instance: Arc<dyn Instance>,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) slots: u16,
    pub(crate) log: Arc<InstanceLog>,
    pub(crate) since: Wall,
    pub(crate) since_at: Mono,
    /// Whether it was thawed from the start image of its revision.
    pub(crate) is_restored: bool,
    /// From then on it takes no further event: its credentials would end under it.
    pub(crate) worn_at: Mono,
    pub(crate) node: Weak<Node>,
    /// Invocations so far.
    pub(crate) invocations: AtomicU64,
    /// The caretaker sleeps on this while the instance waits, frozen or awake.
    pub(crate) stirred: Notify,
    /// Whether it does so while the instance is awake: whoever has used it says so.
    pub(super) rests: AtomicBool,
    /// What the first invocation has to say about how the instance came up.
    pub(super) coming_up: Mutex<Option<ComingUp>>,
    /// How often its weight is halved, as it was last told.
    pub(super) halvings: AtomicU8,
    /// Whether no event waited for it.
    pub(super) made_ahead: AtomicBool,
    /// What runs here, also for the calls that come out of it.
    pub(super) chain: Arc<Chain>,
    pub(super) cpu_seen_us: AtomicU64,
    pub(super) frozen: AtomicBool,
    /// One freeze or thaw at a time.
    pub(super) power: tokio::sync::Mutex<()>,
    pub(super) held: Mutex<Option<Held>>,
}

/// What an instance holds of the node until its end is confirmed.
pub(super) struct Held {
    pub(super) booking: Booking,
    /// Nothing inside the server can call out.
    pub(super) _platform: Option<Box<dyn Send + Sync>>,
    /// Its answers to names; as above.
    pub(super) _names: Option<Box<dyn Send + Sync>>,
    /// As above; behind whoever carries its connections. Nobody else keeps it for long.
    pub(super) traffic: Option<Arc<Traffic>>,
    pub(super) _credentials: Option<Credentials>,
}

impl Cell {
    /// Whether the instance is frozen, or about to be: it has to be thawed before it is used.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// Whether it is too old for another event.
    pub(super) fn is_worn(&self, now: Mono) -> bool {
        now >= self.worn_at
    }

    /// Whether it was started before any event needed it.
    pub(crate) fn was_made_ahead(&self) -> bool {
        self.made_ahead.load(Ordering::Relaxed)
    }

    pub(super) fn set_made_ahead(&self, made_ahead: bool) {
        self.made_ahead.store(made_ahead, Ordering::Relaxed);
    }

    pub(super) fn set_frozen(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Release);
    }

    /// Lets the instance run again; waits for a freeze or thaw that is under way. Until it has
    /// resolved the instance counts as frozen, for its other slots and after a caller that went
    /// away in the middle.
    pub(crate) async fn thaw(&self) -> Result<(), InstanceGone> {
        let _one_at_a_time = self.power.lock().await;
        if self.is_frozen() {
            if let Some(traffic) = self.traffic() {
                traffic.goes_on();
            }
            self.instance.thaw().await?;
            self.set_frozen(false);
            self.stirred.notify_one();
        }
        Ok(())
    }

    /// Times since the instance came up; once.
    pub(crate) fn take_coming_up(&self) -> Option<ComingUp> {
        self.coming_up.lock().take()
    }

    /// Notes that an invocation runs here until `deadline` at the latest, with the trace that the
    /// function is given; notified when somebody cancels it.
    pub(crate) fn enter(
        &self,
        id: InvocationId,
        trace: &TraceHeader,
        deadline: Mono,
    ) -> Arc<Notify> {
        self.invocations.fetch_add(1, Ordering::Relaxed);
        self.chain.enter(id, trace, deadline)
    }

    pub(crate) fn leave(&self, id: InvocationId) {
        self.chain.leave(id);
    }

    /// The process has ended by itself: one that was thawed and died of a signal counts against its
    /// start image. One that ran out of memory ends it: an executed one has taken less, by pages
    /// beside those that it touches, and may fit. Starts are plain until the image would have been
    /// made anew for its age.
    pub(crate) fn note_crash(&self, revision: &Revision, cause: &ExitCause) {
        if matches!(cause, ExitCause::OutOfMemory) {
            revision.seen.ran_out_of_memory();
        }
        if !self.is_restored {
            return;
        }
        let (Some(of), Some(node)) = (&revision.snapshot, self.node.upgrade()) else {
            return;
        };
        let (now, config) = (node.parts.clock.now(), node.parts.config.now().snapshots);
        let dropped_for = match cause {
            ExitCause::Signaled(_) => node
                .snapshots
                .crashed(of, now, &config)
                .then_some("its instances crash"),
            ExitCause::OutOfMemory => {
                node.snapshots.unfit(of, now + config.age_max);
                Some("an instance ran out of memory")
            }
            _ => None,
        };
        if let Some(reason) = dropped_for {
            let (function, version) = (&revision.function.name, of.number);
            tracing::warn!(%function, version, reason, "a start image was dropped");
        }
    }

    /// Cancels an invocation that runs here.
    pub(crate) fn cancel(&self, id: InvocationId) -> bool {
        self.chain.cancel(id)
    }

    /// The same with the processor time since this was last asked: what was burnt between two
    /// invocations is on the record of the later one.
    pub(crate) fn spent_since_seen(&self, spent: Spent) -> Spent {
        let seen_us = self.cpu_seen_us.swap(spent.cpu_us, Ordering::Relaxed);
        Spent {
            cpu_us: spent.cpu_us.saturating_sub(seen_us),
            ..spent
        }
    }

    /// Learns what the instance uses.
    pub(crate) fn adjust_booking(&self, bytes: u64) {
        if let Some(held) = &*self.held.lock() {
            held.booking.adjust(bytes);
        }
    }

    /// What counts its network, for as long as it lives.
    pub(super) fn traffic(&self) -> Option<Arc<Traffic>> {
        let held = self.held.lock();
        held.as_ref().and_then(|held| held.traffic.clone())
    }

    /// The instance has ended: its memory, its credentials and its endpoint go with it, and what it sent
    /// to networks is written down.
    pub(crate) fn release(&self) {
        let held = self.held.lock().take();
        drop(held);
    }

    /// Keeps the last lines of an instance that has ended, and releases what it held.
    pub(crate) fn bury(&self) {
        self.log.read_to_end();
        self.log.close();
        self.release();
    }

    /// Destroys the instance, confirmed, and keeps every line that it wrote until then.
    pub(crate) async fn end(&self) -> ExitReport {
        let report = self.instance.destroy().await;
        self.bury();
        report
    }

    /// The same in a task of its own.
    pub(crate) fn end_soon(self: Arc<Self>, node: &Arc<Node>) {
        let (core, running) = (self.core, node.begin());
        node.spawn_on(core, async move {
            self.end().await;
            drop((self, running));
        });
    }
}
