//! What an instance sends to networks and receives from them, on the ledger.
//!
//! It is counted out of the instance's reach: off its link, or by whoever carries its connections. Here
//! it is read, off every request's path: once a minute of an instance that is awake or was used since,
//! and once more when it has ended, whatever ended it. What is new since the last time is one entry,
//! and adds to budgets as it is written. What cannot be written is in the next entry.
//!
//! After a kill of the server at most what went since the last reading is missing, and nothing is there
//! twice: an entry has what is new, and counts end with their instance.

use super::{Cell, launch::Attempt};
use crate::{node::Node, route::Revision, tags::TagSet};
use freehold_domain::{
    NetworkBytes,
    budgets::Settling,
    ids::{CoreId, FunctionRef, InstanceId, Qualifier},
    ledger::NetworkEntry,
    ports::{CommitError, Instance},
    time::Wall,
    traffic::Carried,
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often a living instance is read: a budget that is used up closes this much later.
const EVERY: Duration = Duration::from_secs(60);

/// How long its spawner may take to answer; one that does not is asked again a minute later.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Counts for one instance until it is dropped, which is after the instance's end.
pub(crate) struct Traffic {
    node: Weak<Node>,
    id: InstanceId,
    core: CoreId,
    function: FunctionRef,
    executed: Qualifier,
    instance: Arc<dyn Instance>,
    carried: Arc<Carried>,
    told: Mutex<Told>,
    /// As in [`Attempt::network_entries`]; locked after `told`.
    entries: Arc<Mutex<u32>>,
    /// Invocations of the instance when it was last read.
    uses: AtomicU64,
}

/// What is on the ledger.
struct Told {
    bytes: NetworkBytes,
    until: Wall,
    /// What the function was tagged with then.
    tags: Option<Arc<TagSet>>,
}

impl Traffic {
    /// Of an instance that comes up; `carried` is counted by whoever carries its connections.
    pub(super) fn of(
        node: &Arc<Node>,
        revision: &Revision,
        (attempt, core): (&Attempt, CoreId),
        instance: &Arc<dyn Instance>,
        carried: Arc<Carried>,
    ) -> Self {
        Self {
            node: Arc::downgrade(node),
            id: attempt.instance,
            core,
            function: revision.function.clone(),
            executed: revision.executed.clone(),
            instance: instance.clone(),
            carried,
            told: Mutex::new(Told {
                bytes: NetworkBytes::default(),
                until: node.parts.clock.wall(),
                tags: node.tags.of(&revision.function),
            }),
            entries: attempt.network_entries.clone(),
            uses: AtomicU64::new(0),
        }
    }

    /// Writes down what is new, as far as it is known.
    fn tell(&self, node: &Node) {
        let mut told = self.told.lock();
        let bytes = self.instance.network() + self.carried.so_far();
        let (new, now) = (bytes.since(told.bytes), node.parts.clock.wall());
        if !new.is_nothing() {
            let mut entries = self.entries.lock();
            let entry = NetworkEntry {
                instance: self.id,
                sequence: *entries + 1,
                function: self.function.clone(),
                revision: self.executed.clone(),
                from: told.until,
                to: now,
                bytes: new,
                tags: None,
            };
            if let Err(error) = self.append(node, &entry, told.tags.as_deref()) {
                let (function, instance) = (&self.function.name, self.id);
                tracing::error!(%function, %instance, %error, "network bytes are not on the ledger yet");
                return;
            }
            *entries += 1;
            node.counters.network(new);
        }
        told.bytes = bytes.highest(told.bytes);
        told.until = now;
        told.tags = node.tags.of(&self.function);
    }

    fn append(
        &self,
        node: &Node,
        entry: &NetworkEntry,
        tags: Option<&TagSet>,
    ) -> Result<(), CommitError> {
        let (core, ledger) = (self.core, &*node.parts.ledger);
        let settling = Settling::of_network(entry, &*node.parts.clock);
        let to_json = |tags| {
            let entry = entry.clone();
            NetworkEntry { tags, ..entry }.to_json()
        };
        let append = || node.tags.append(ledger, core, tags, to_json);
        node.parts.budgets.settle(core.0, &settling, append)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade() {
            self.tell(&node);
        }
    }
}

impl Cell {
    /// Asks what went over its network, where that may be more than at the last time, and writes it
    /// down.
    async fn read_traffic(&self, node: &Node) {
        let Some(traffic) = self.traffic() else {
            return;
        };
        let uses = self.invocations.load(Ordering::Relaxed);
        let was_used = traffic.uses.swap(uses, Ordering::Relaxed) != uses;
        if was_used || !self.is_frozen() {
            // One that has ended is told of by whoever hears of that.
            tokio::select! {
                _ = self.instance.usage() => {}
                () = node.parts.clock.sleep(ANSWER_MAX) => {
                    traffic.uses.store(u64::MAX, Ordering::Relaxed);
                }
            }
        }
        traffic.tell(node);
    }
}

/// Reads all instances of a node now and then, for as long as it is there.
pub(crate) async fn watch(node: Weak<Node>) {
    loop {
        let Some(clock) = node.upgrade().map(|node| node.parts.clock.clone()) else {
            return;
        };
        clock.sleep(EVERY).await;
        let Some(node) = node.upgrade() else {
            return;
        };
        for revision in node.peopled.all() {
            for (cell, _, _) in revision.pool.cells() {
                cell.read_traffic(&node).await;
            }
        }
    }
}
