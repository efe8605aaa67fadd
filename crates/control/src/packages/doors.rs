//! Descriptors of unpacked trees: one of each tree that somebody uses, and a bounded number of
//! those that were used last.
//!
//! A node may have a hundred thousand functions, each with a package of its own, and the process
//! far fewer descriptors. Refuses to close one that somebody holds: that a tree is in use is read
//! off its descriptor.

use freehold_domain::{Digest, TenantId};
use parking_lot::Mutex;
use std::{collections::HashMap, os::fd::OwnedFd, sync::Arc};

/// Descriptors of trees that stay open though nobody uses them, at the most. Opening one again
/// takes some microseconds of a start.
pub const DOORS_MAX: usize = 512;

/// Whose, and of what.
type Key = (TenantId, Digest);

/// See the module.
#[derive(Default)]
pub(super) struct Doors(Mutex<Open>);

#[derive(Default)]
struct Open {
    doors: HashMap<Key, Door>,
    /// Counts up with every use.
    uses: u64,
}

struct Door {
    tree: Arc<OwnedFd>,
    last_use: u64,
}

impl Door {
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.tree) > 1
    }
}

impl Doors {
    /// The descriptor of a tree, if it is open.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<OwnedFd>> {
        let mut open = self.0.lock();
        open.uses += 1;
        let now = open.uses;
        let door = open.doors.get_mut(key)?;
        door.last_use = now;
        Some(door.tree.clone())
    }

    /// Keeps a descriptor that was just opened; the one that is there already, where somebody was
    /// faster.
    pub(super) fn keep(&self, key: Key, tree: OwnedFd) -> Arc<OwnedFd> {
        let mut open = self.0.lock();
        open.uses += 1;
        let now = open.uses;
        let door = open.doors.entry(key).or_insert_with(|| Door {
            tree: Arc::new(tree),
            last_use: now,
        });
        door.last_use = now;
        let tree = door.tree.clone();
        if open.doors.len() > DOORS_MAX {
            open.close_longest_unused();
        }
        tree
    }

    /// Whether somebody uses a tree.
    pub(super) fn is_held(&self, key: &Key) -> bool {
        self.0.lock().doors.get(key).is_some_and(Door::is_held)
    }

    /// The tree is about to go.
    pub(super) fn close(&self, key: &Key) {
        self.0.lock().doors.remove(key);
    }
}

impl Open {
    /// Half of them at once, so that looking for them is seldom.
    fn close_longest_unused(&mut self) {
        let unheld = self.doors.values().filter(|door| !door.is_held());
        let mut uses: Vec<u64> = unheld.map(|door| door.last_use).collect();
        let surplus = self.doors.len().saturating_sub(DOORS_MAX / 2);
        if uses.len() > surplus {
            uses.select_nth_unstable(surplus);
            uses.truncate(surplus);
        }
        let Some(newest) = uses.into_iter().max() else {
            return;
        };
        self.doors
            .retain(|_, door| door.is_held() || door.last_use > newest);
    }
}
