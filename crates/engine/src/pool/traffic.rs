//! What an instance sends to networks and receives from them, on the ledger.
//!
//! It is counted out of the instance's reach: off its link, or by whoever carries its connections. Here
//! it is read, off every request's path: once a minute from before its init until it is frozen and has
//! nothing new, again from its next thaw on, and once more when it has ended, whatever ended it. What is
//! new since the last time is one entry, and adds to budgets as it is written. What cannot be written is
//! in the next entry.
//!
//! After a kill of the server at most what went since the last reading is missing, and nothing is there
//! twice: an entry has what is new, and counts end with their instance.

use super::launch::Attempt;
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
use parking_lot::{Mutex, MutexGuard};
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

/// Counts for one instance until it is dropped, which is after the instance's end. Who reads it holds it
/// for no longer than it takes to write down.
pub(crate) struct Traffic {
    node: Weak<Node>,
    id: InstanceId,
    core: CoreId,
    function: FunctionRef,
    executed: Qualifier,
    instance: Arc<dyn Instance>,
    /// Whether its spawner counts anything of it.
    has_link: bool,
    carried: Arc<Carried>,
    told: Mutex<Told>,
    /// As in [`Attempt::network_entries`]; locked after `told`.
    entries: Arc<Mutex<u32>>,
    /// How often it was frozen and let go, together: odd while it is frozen.
    turns: AtomicU64,
    /// `turns` of the last freeze in which it was asked and had nothing new; 0 before the first.
    quiet: AtomicU64,
}

/// What is on the ledger.
struct Told {
    bytes: NetworkBytes,
    until: Wall,
    /// What the function was tagged with then.
    tags: Option<Arc<TagSet>>,
}

impl Traffic {
    /// Of an instance that comes up, which is read from now on; `carried` is counted by whoever carries
    /// its connections.
    pub(super) fn of(
        node: &Arc<Node>,
        revision: &Revision,
        (attempt, core): (&Attempt, CoreId),
        (instance, has_link): (&Arc<dyn Instance>, bool),
        carried: Arc<Carried>,
    ) -> Arc<Self> {
        let traffic = Arc::new(Self {
            node: Arc::downgrade(node),
            id: attempt.instance,
            core,
            function: revision.function.clone(),
            executed: revision.executed.clone(),
            instance: instance.clone(),
            has_link,
            carried,
            told: Mutex::new(Told {
                bytes: NetworkBytes::default(),
                until: node.parts.clock.wall(),
                tags: node.tags.of(&revision.function),
            }),
            entries: attempt.network_entries.clone(),
            turns: AtomicU64::new(0),
            quiet: AtomicU64::new(0),
        });
        node.traffics.enter(core, &traffic);
        traffic
    }

    /// It is frozen. One freeze or thaw at a time.
    pub(super) fn stops(&self) {
        self.turns.fetch_or(1, Ordering::AcqRel);
    }

    /// It is about to be let go, and may send; as above.
    pub(super) fn goes_on(&self) {
        let turns = self.turns.load(Ordering::Acquire);
        self.turns.store((turns + 1) & !1, Ordering::Release);
    }

    /// Writes down what is new, as far as it is known; whether anything is.
    fn tell(&self, node: &Node) -> bool {
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
                return true;
            }
            *entries += 1;
            node.counters.network(new);
        }
        told.bytes = bytes.highest(told.bytes);
        told.until = now;
        told.tags = node.tags.of(&self.function);
        !new.is_nothing()
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

/// All that is counted on a node, by core.
pub(crate) struct Traffics {
    by_core: Vec<Mutex<Vec<Weak<Traffic>>>>,
}

impl Traffics {
    pub(crate) fn new(cores: u16) -> Self {
        Self {
            by_core: (0..cores.max(1)).map(|_| Mutex::default()).collect(),
        }
    }

    fn list(&self, core: CoreId) -> MutexGuard<'_, Vec<Weak<Traffic>>> {
        let at = usize::from(core.0).min(self.by_core.len() - 1);
        self.by_core[at].lock()
    }

    fn enter(&self, core: CoreId, traffic: &Arc<Traffic>) {
        let mut list = self.list(core);
        // Between two readings more may end than there are at once.
        if list.len() == list.capacity() {
            list.retain(|known| known.strong_count() > 0);
            let living = list.len();
            if living > list.capacity() / 2 {
                list.reserve(living);
            }
        }
        list.push(Arc::downgrade(traffic));
    }

    fn of(&self, core: CoreId) -> Vec<Weak<Traffic>> {
        let mut list = self.list(core);
        list.retain(|known| known.strong_count() > 0);
        list.clone()
    }
}

/// Asks what went over a network, where that may be more than at the last time, and writes it down.
async fn read(traffic: &Weak<Traffic>, node: &Node) {
    let Some(known) = traffic.upgrade() else {
        return;
    };
    let turns = known.turns.load(Ordering::Acquire);
    let was_frozen = turns % 2 == 1;
    let is_quiet = was_frozen && known.quiet.load(Ordering::Relaxed) == turns;
    let asked = (known.has_link && !is_quiet).then(|| known.instance.clone());
    // Whoever hears of its end meanwhile has the rest written down, and waits for nobody.
    drop(known);
    let has_answered = match asked {
        Some(instance) => tokio::select! {
            usage = instance.usage() => usage.is_ok(),
            () = node.parts.clock.sleep(ANSWER_MAX) => false,
        },
        None => false,
    };
    let Some(known) = traffic.upgrade() else {
        return;
    };
    let has_more = known.tell(node);
    // What it had written goes out of a frozen one too, for a while.
    if has_answered && was_frozen && !has_more {
        known.quiet.store(turns, Ordering::Relaxed);
    }
}

/// Reads the instances of a core now and then, for as long as the node is there. One task for each: a
/// spawner that does not answer holds up those of its own core alone.
pub(crate) async fn watch(node: Weak<Node>, core: CoreId) {
    loop {
        let Some(clock) = node.upgrade().map(|node| node.parts.clock.clone()) else {
            return;
        };
        clock.sleep(EVERY).await;
        let Some(node) = node.upgrade() else {
            return;
        };
        for traffic in node.traffics.of(core) {
            read(&traffic, &node).await;
        }
    }
}
