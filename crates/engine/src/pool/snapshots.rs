//! The start images of published revisions: which are held, which go, which are made again.
//!
//! ```text
//!           publish, or a start that misses one
//!   absent ────────────────▶ making ─────────▶ held
//!     ▲  ▲                     │                 │ memory is short, a burst of crashes,
//!     │  └───── failed ────────┘                 │ too old, too many starts, deleted
//!     └──────────────────────────────────────────┘
//! ```
//!
//! An image holds what the function's init held, secrets too: it lives in memory alone and is gone
//! with its revision. All that start from one share the layout of their memory, so it is made anew
//! by age and by number of starts, and dropped at once when its instances crash in a row. What is
//! missing is made in the background while starts take the plain way: nothing ever waits for an
//! image but the publishing itself. See `docs/decisions/0011-snapshots.md`.
//!
//! Here is the bookkeeping: no task, no clock, no instance. [`make`] makes them.

mod make;

pub(crate) use make::{NotMade, make, told};

use make::remake;

use super::memory::{BookedImage, Holding};
use crate::{node::Node, parts::SnapshotConfig, route::Revision};
use freehold_domain::{
    ids::{FunctionRef, TenantId},
    record::{ImageStateV1, RevisionV1},
    time::Mono,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};
use tokio::sync::Semaphore;

/// Images that a node makes at once: each is a whole init of somebody's function.
const AT_ONCE: usize = 4;

/// The revision that an image is of. Numbers are never given twice under one name, so this names
/// one package and one configuration for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SnapshotOf {
    pub(crate) function: FunctionRef,
    pub(crate) number: u64,
}

impl SnapshotOf {
    /// Of a published revision whose image could be made.
    pub(crate) fn made(function: &FunctionRef, number: u64, record: &RevisionV1) -> Option<Self> {
        (record.image == ImageStateV1::Made).then(|| Self {
            function: function.clone(),
            number,
        })
    }
}

/// See the module.
pub(crate) struct Snapshots {
    state: Mutex<State>,
    /// Turns to make one: of the node, and of each tenant, who has one at a time.
    turns: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

#[derive(Default)]
struct State {
    held: HashMap<SnapshotOf, Held>,
    making: HashSet<SnapshotOf>,
    /// Dropped, but not gone while instances live from them.
    leaving: Vec<Leaving>,
    /// When one that is missing may be made again.
    not_before: HashMap<SnapshotOf, Mono>,
    /// Grows with every use.
    uses: u64,
}

struct Held {
    image: BookedImage,
    made_at: Mono,
    starts: u64,
    last_use: u64,
    crashes: Vec<Mono>,
}

impl Held {
    /// Whether it would go if it were dropped: no instance lives from it.
    fn would_go(&self) -> bool {
        Arc::strong_count(&self.image.memory) == 1
    }
}

struct Leaving {
    tenant: TenantId,
    bytes: u64,
    memory: Weak<Holding>,
}

/// What a start is given.
pub(crate) struct AtHand {
    pub(crate) image: Option<BookedImage>,
    /// Whether one is to be made, and nobody makes it yet. The caller does, or says that it did
    /// not.
    pub(crate) make: bool,
}

/// An image that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Not even alone.
    TooLarge { limit_bytes: u64 },
    /// Not beside those that instances live from.
    InUse { used_bytes: u64, limit_bytes: u64 },
}

/// How much the images of a node and of one tenant may take, bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) node_bytes: u64,
    pub(crate) tenant_bytes: u64,
}

impl Room {
    /// As configured, else by the machine.
    pub(crate) fn of(config: &SnapshotConfig, machine_bytes: u64) -> Self {
        let node_bytes = config.memory.map_or(machine_bytes / 8, |size| size.bytes());
        let tenant_bytes = config
            .tenant_memory
            .map_or(node_bytes / 2, |size| size.bytes());
        Self {
            node_bytes,
            tenant_bytes: tenant_bytes.min(node_bytes),
        }
    }
}

/// The image for a start of `revision` that begins now, if one is at hand. One that is missing or
/// worn is made in the background.
pub(super) fn for_start(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    of: &SnapshotOf,
) -> Option<BookedImage> {
    let (now, config) = (node.parts.clock.now(), node.parts.config.now().snapshots);
    let AtHand { image, make } = node.snapshots.at_hand(of, now, &config);
    if make && revision.pool.is_retired() {
        // Deleted while this start was on its way; what is made after would be held for good. One
        // that is retired from here on finds the making noted, and strikes it out.
        node.snapshots.forget(of);
    } else if make {
        remake(node, revision, of.clone());
    }
    image
}

/// An image did not come to life: starts take the plain way until there is another one.
pub(super) fn did_not_thaw(node: &Node, of: &SnapshotOf, reason: &str) {
    let (function, version) = (&of.function.name, of.number);
    tracing::warn!(%function, version, reason, "a start image did not come to life");
    let again_after = node.parts.config.now().snapshots.again_after;
    node.snapshots
        .unfit(of, node.parts.clock.now() + again_after);
}

impl Snapshots {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            tenants: Mutex::default(),
        }
    }

    /// The image for a start that begins now, if there is one.
    pub(crate) fn at_hand(&self, of: &SnapshotOf, now: Mono, config: &SnapshotConfig) -> AtHand {
        let (answer, dropped) = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            state.uses += 1;
            let (mut image, mut worn, mut dropped) = (None, true, None);
            if let Some(held) = state.held.get_mut(of) {
                let age = now.since(held.made_at);
                worn = age >= config.age_max || held.starts >= config.starts_max;
                // Its successor is late: nothing starts from one that is this old.
                if age >= config.age_max * 2 || held.starts >= config.starts_max * 2 {
                    dropped = state.take(of);
                } else {
                    (held.last_use, held.starts) = (state.uses, held.starts + 1);
                    image = Some(held.image.clone());
                }
            }
            let may = state.not_before.get(of).is_none_or(|at| now >= *at);
            let make = worn && may && state.making.insert(of.clone());
            (AtHand { image, make }, dropped)
        };
        drop(dropped);
        answer
    }

    /// Somebody makes one now; `false` when another does.
    pub(crate) fn begin(&self, of: &SnapshotOf) -> bool {
        self.state.lock().making.insert(of.clone())
    }

    /// Keeps an image that was made, and drops those that were used least where it would not fit:
    /// of those that no instance lives from, since of the others nothing would become free. One
    /// that nobody makes any more, since its revision has gone, is not kept. What is dropped is not
    /// made again before `again_at`: more revisions than there is room for would make each other's
    /// images for ever.
    ///
    /// Errors: [`NoRoom`]; then all that was held still is.
    pub(super) fn keep(
        &self,
        of: &SnapshotOf,
        image: BookedImage,
        now: Mono,
        again_at: Mono,
        room: Room,
    ) -> Result<(), NoRoom> {
        let bytes = image.image.bytes;
        let mut dropped = Vec::new();
        {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            if !state.making.contains(of) {
                return Ok(());
            }
            let tenant = Some(&of.function.tenant);
            for (whose, limit_bytes) in [(tenant, room.tenant_bytes), (None, room.node_bytes)] {
                state.admit(whose, bytes, limit_bytes)?;
            }
            state.making.remove(of);
            dropped.extend(state.take(of));
            dropped.extend(state.make_room(tenant, room.tenant_bytes - bytes, again_at));
            dropped.extend(state.make_room(None, room.node_bytes - bytes, again_at));
            state.not_before.remove(of);
            let held = Held {
                image,
                made_at: now,
                starts: 0,
                last_use: state.uses,
                crashes: Vec::new(),
            };
            state.held.insert(of.clone(), held);
        }
        drop(dropped);
        Ok(())
    }

    /// None was made; it is tried again, but not at once. What is worn by then is dropped.
    pub(crate) fn gave_up(&self, of: &SnapshotOf, again_at: Mono) {
        let mut state = self.state.lock();
        if state.making.remove(of) {
            state.not_before.insert(of.clone(), again_at);
        }
    }

    /// An instance that was started from the image died of a signal at `now`; `true` when that
    /// made a burst, and the image has gone.
    pub(crate) fn crashed(&self, of: &SnapshotOf, now: Mono, config: &SnapshotConfig) -> bool {
        let dropped = {
            let mut state = self.state.lock();
            let Some(held) = state.held.get_mut(of) else {
                return false;
            };
            held.crashes
                .retain(|at| now.since(*at) < config.crash_window);
            held.crashes.push(now);
            if held.crashes.len() < config.crashes_max {
                return false;
            }
            state.take(of)
        };
        dropped.is_some()
    }

    /// The image does not come to life: it is made again, but not at once.
    pub(crate) fn unfit(&self, of: &SnapshotOf, again_at: Mono) {
        let dropped = {
            let mut state = self.state.lock();
            state.not_before.insert(of.clone(), again_at);
            state.take(of)
        };
        drop(dropped);
    }

    /// The revision has gone, and its secrets with it.
    pub(crate) fn forget(&self, of: &SnapshotOf) {
        let dropped = {
            let mut state = self.state.lock();
            state.making.remove(of);
            state.not_before.remove(of);
            state.take(of)
        };
        drop(dropped);
    }

    /// Gives the image that was used least back to the machine; `false` when there is none that no
    /// instance lives from.
    pub(crate) fn drop_one(&self, again_at: Mono) -> bool {
        let dropped = {
            let mut state = self.state.lock();
            let least = state.least_used(None);
            least.and_then(|of| {
                let held = state.take(&of);
                state.not_before.insert(of, again_at);
                held
            })
        };
        dropped.is_some()
    }

    /// The node shuts down.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.state.lock());
        drop(dropped);
    }

    /// Images that are held; what these and those take that were dropped and are still lived from;
    /// how many are being made.
    pub(crate) fn counts(&self) -> (usize, u64, usize) {
        let mut state = self.state.lock();
        (state.held.len(), state.bytes(None), state.making.len())
    }

    /// The turn of a tenant.
    fn turn_of(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock();
        tenants.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = tenants.get(tenant).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Semaphore::new(1));
        tenants.insert(tenant.clone(), Arc::downgrade(&turn));
        turn
    }
}

impl State {
    /// Takes one out, and remembers it for as long as it does not go.
    fn take(&mut self, of: &SnapshotOf) -> Option<Held> {
        let held = self.held.remove(of)?;
        if !held.would_go() {
            self.leaving.push(Leaving {
                tenant: of.function.tenant.clone(),
                bytes: held.image.image.bytes,
                memory: Arc::downgrade(&held.image.memory),
            });
        }
        Some(held)
    }

    fn held_by(&self, of: Option<&TenantId>) -> impl Iterator<Item = (&SnapshotOf, &Held)> {
        let own = move |key: &SnapshotOf| of.is_none_or(|tenant| key.function.tenant == *tenant);
        self.held.iter().filter(move |(key, _)| own(key))
    }

    /// Of those that were dropped and have not gone.
    fn leaving_bytes(&mut self, of: Option<&TenantId>) -> u64 {
        self.leaving.retain(|one| one.memory.strong_count() > 0);
        let own = |one: &&Leaving| of.is_none_or(|tenant| one.tenant == *tenant);
        self.leaving.iter().filter(own).map(|one| one.bytes).sum()
    }

    fn bytes(&mut self, of: Option<&TenantId>) -> u64 {
        let held = self.held_by(of).map(|(_, held)| held.image.image.bytes);
        held.sum::<u64>() + self.leaving_bytes(of)
    }

    /// Whether `bytes` more have room once all has gone that can.
    fn admit(&mut self, of: Option<&TenantId>, bytes: u64, limit_bytes: u64) -> Result<(), NoRoom> {
        if bytes > limit_bytes {
            return Err(NoRoom::TooLarge { limit_bytes });
        }
        let stays = self.held_by(of).filter(|(_, held)| !held.would_go());
        let stays = stays.map(|(_, held)| held.image.image.bytes).sum::<u64>();
        let used_bytes = stays + self.leaving_bytes(of);
        match used_bytes + bytes > limit_bytes {
            true => Err(NoRoom::InUse {
                used_bytes,
                limit_bytes,
            }),
            false => Ok(()),
        }
    }

    /// Of those that would go.
    fn least_used(&self, of: Option<&TenantId>) -> Option<SnapshotOf> {
        let idle = self.held_by(of).filter(|(_, held)| held.would_go());
        idle.min_by_key(|(_, held)| held.last_use)
            .map(|(key, _)| key.clone())
    }

    /// Drops until at most `bytes` are in use; what goes is not made again before `again_at`.
    fn make_room(&mut self, of: Option<&TenantId>, bytes: u64, again_at: Mono) -> Vec<Held> {
        let mut dropped = Vec::new();
        while self.bytes(of) > bytes {
            let Some(least) = self.least_used(of) else {
                break;
            };
            dropped.extend(self.take(&least));
            self.not_before.insert(least, again_at);
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
