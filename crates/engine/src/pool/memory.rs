//! The machine's memory, booked by what instances are expected to use, not by their limits.
//!
//! When a start does not fit, the stock goes first, then idle instances, the oldest of all functions
//! first and those last that their functions' histories expect to be needed now, then start images;
//! then starts wait in line, newcomers behind those that wait already. Waiters keep their own deadlines
//! and leave when those pass.

use crate::node::Node;
use freehold_domain::{ids::CoreId, ports::StartImage};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// How long a waiting start looks away at the most: what other processes give back tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long the first in line keeps the others from what becomes free. Without it small starts
/// would take every piece that was freed for a large one; for ever, and one that never fits would
/// stop them all.
const FIRST_HOLDS: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct MemoryBook {
    shared: Arc<Shared>,
    /// Starts that wait do so one after the other, oldest first.
    line: tokio::sync::Mutex<()>,
    /// The first in line keeps newcomers in the line behind it.
    first_holds: AtomicBool,
}

struct Shared {
    booked_bytes: AtomicU64,
    instances: AtomicU64,
    changed: Notify,
}

/// An instance's booking; dropping it gives it back.
pub(crate) struct Booking {
    shared: Arc<Shared>,
    bytes: AtomicU64,
    /// What the image takes that the instance was thawed from.
    image: Mutex<Option<Arc<Holding>>>,
}

impl Booking {
    /// Its pages are an image's, or nobody's.
    pub(crate) fn lives_from(&self, image: Option<Arc<Holding>>) {
        // What it held before may be the last of an image, whose end wakes others.
        let before = std::mem::replace(&mut *self.image.lock(), image);
        drop(before);
    }

    pub(crate) fn image(&self) -> Option<Arc<Holding>> {
        self.image.lock().clone()
    }

    /// Books what the instance turned out to use.
    pub(crate) fn adjust(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::AcqRel);
        if bytes >= before {
            self.shared
                .booked_bytes
                .fetch_add(bytes - before, Ordering::AcqRel);
        } else {
            self.shared
                .booked_bytes
                .fetch_sub(before - bytes, Ordering::AcqRel);
            self.shared.changed.notify_waiters();
        }
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.shared
            .booked_bytes
            .fetch_sub(self.bytes.load(Ordering::Acquire), Ordering::AcqRel);
        self.shared.instances.fetch_sub(1, Ordering::AcqRel);
        self.shared.changed.notify_waiters();
    }
}

/// Memory that is held beside instances; dropping it gives it back.
pub(crate) struct Holding {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.shared
            .booked_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
        self.shared.changed.notify_waiters();
    }
}

/// A start image with what it takes: booked while anybody holds it, and then while anybody lives who was
/// thawed from it, since that long its pages are there.
#[derive(Clone)]
pub(crate) struct BookedImage {
    pub(crate) image: StartImage,
    pub(crate) memory: Arc<Holding>,
}

impl MemoryBook {
    /// Notes an image, whose own limit has let it in.
    pub(crate) fn hold_image(&self, image: StartImage) -> BookedImage {
        let memory = Arc::new(self.hold(image.bytes));
        BookedImage { image, memory }
    }

    /// Notes memory that is in use already, whose own limit has let it in.
    fn hold(&self, bytes: u64) -> Holding {
        self.shared.booked_bytes.fetch_add(bytes, Ordering::AcqRel);
        Holding {
            shared: self.shared.clone(),
            bytes,
        }
    }

    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                booked_bytes: AtomicU64::new(0),
                instances: AtomicU64::new(0),
                changed: Notify::new(),
            }),
            line: tokio::sync::Mutex::new(()),
            first_holds: AtomicBool::new(false),
        }
    }

    pub(crate) fn booked_bytes(&self) -> u64 {
        self.shared.booked_bytes.load(Ordering::Acquire)
    }

    /// An instance became idle: it may go for another.
    pub(crate) fn something_is_idle(&self) {
        self.shared.changed.notify_waiters();
    }

    fn try_book(&self, node: &Node, bytes: u64) -> Option<Booking> {
        let capacity = node.parts.driver.capacity();
        let shared = &self.shared;
        let instances = shared.instances.fetch_add(1, Ordering::AcqRel);
        let before = shared.booked_bytes.fetch_add(bytes, Ordering::AcqRel);
        // One instance is always tried: a machine that cannot hold the first tells so itself.
        let fits = instances == 0
            || (before + bytes <= capacity.memory_bytes
                && bytes <= capacity.memory_available_bytes
                && instances < u64::from(capacity.instances));
        if fits {
            return Some(Booking {
                shared: shared.clone(),
                bytes: AtomicU64::new(bytes),
                image: Mutex::new(None),
            });
        }
        // Given back without a word: whoever waits for a change would wake for its own attempt.
        shared.booked_bytes.fetch_sub(bytes, Ordering::AcqRel);
        shared.instances.fetch_sub(1, Ordering::AcqRel);
        None
    }

    /// Books `bytes` if they are free and nobody waits for memory.
    pub(crate) fn book_spare(&self, node: &Node, bytes: u64) -> Option<Booking> {
        if self.first_holds.load(Ordering::Acquire) || node.means().squeeze < 1.0 {
            return None;
        }
        self.try_book(node, bytes)
    }

    /// Books `bytes`, making room if need be; `None` once `wanted` says that nobody needs it.
    pub(crate) async fn book(
        &self,
        node: &Arc<Node>,
        bytes: u64,
        wanted: impl Fn() -> bool,
        short: impl Fn(bool),
    ) -> Option<Booking> {
        if !self.first_holds.load(Ordering::Acquire)
            && let Some(booking) = self.try_book(node, bytes)
        {
            return Some(booking);
        }
        short(true);
        let line = tokio::select! {
            line = self.line.lock() => line,
            () = until_unwanted(node, &wanted) => {
                short(false);
                return None;
            }
        };
        let since = node.parts.clock.now();
        let booking = loop {
            let holds = node.parts.clock.now().since(since) < FIRST_HOLDS;
            self.first_holds.store(holds, Ordering::Release);
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(booking) = self.try_book(node, bytes) {
                break Some(booking);
            }
            if !wanted() {
                break None;
            }
            if node.stock.give_back_one(None).await || evict_oldest(node).await {
                continue;
            }
            tokio::select! {
                () = changed => {}
                () = node.parts.clock.sleep(LOOK_AGAIN) => {}
            }
        };
        self.first_holds.store(false, Ordering::Release);
        drop(line);
        short(false);
        booking
    }
}

async fn until_unwanted(node: &Node, wanted: &impl Fn() -> bool) {
    while wanted() {
        node.parts.clock.sleep(LOOK_AGAIN).await;
    }
}

/// Ends the instance that has been idle longest, of whichever function, else drops a start image;
/// `false` when there is neither.
async fn evict_oldest(node: &Arc<Node>) -> bool {
    if evict_idle(node, None).await {
        return true;
    }
    let again_after = node.parts.config.now().snapshots.again_after;
    node.snapshots
        .drop_one(node.parts.clock.now() + again_after)
}

/// Ends one that nobody uses on a core whose spawner has no place for another; `false` when all of
/// them are at work.
pub(super) async fn make_place(node: &Arc<Node>, core: CoreId) -> bool {
    node.stock.give_back_one(Some(core)).await || evict_idle(node, Some(core)).await
}

/// Ends the instance that has been idle longest, of whichever function, on `core` where one is named.
async fn evict_idle(node: &Arc<Node>, core: Option<CoreId>) -> bool {
    let now = node.seconds(node.parts.clock.now());
    let Some((idle, revision)) = node.peopled.oldest_idle(now, core) else {
        return false;
    };
    if let Some(cell) = revision.pool.take_idle(idle.id, idle.uses) {
        cell.end().await;
        node.counters.evicted();
    }
    true
}
