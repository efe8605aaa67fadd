//! The disk's floor: how much must be free for what is optional to be written.
//!
//! Below it new things are refused (packages, functions, changes, asynchronous events) and lines of
//! functions are counted lost, each with the error of a full disk. What is there goes on: reads,
//! invocations, the ledger and the audit trail, queued events, removals. That is what the floor is
//! for: a disk that is full to the last byte can neither bill nor be cleaned up in order.

use freehold_api::DiskView;
use rustix::fs::statvfs;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Below this share of free room new things are refused, %.
pub(crate) const FLOOR_PERCENT: f64 = 5.0;
/// From this share on they are taken again, %: not each removal turns it over.
const ENOUGH_PERCENT: f64 = 6.0;
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Room of one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// For who is not root, bytes.
    pub(crate) free_bytes: u64,
    /// What is used and what is free, bytes; what root keeps for itself is neither.
    pub(crate) all_bytes: u64,
}

impl Room {
    /// Of the file system below `path`.
    pub(crate) fn of(path: &std::path::Path) -> std::io::Result<Self> {
        let found = statvfs(path)?;
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self {
            free_bytes: bytes(found.f_bavail),
            all_bytes: bytes(used.saturating_add(found.f_bavail)),
        })
    }

    /// The share that is free, %.
    pub(crate) fn free_percent(self) -> f64 {
        match self.all_bytes {
            0 => 0.0,
            all => self.free_bytes as f64 * 100.0 / all as f64,
        }
    }
}

/// What is known of the data folder's disk.
pub(crate) struct DiskFloor {
    /// Folders that are written to; they may lie on several disks.
    folders: Vec<PathBuf>,
    is_low: AtomicBool,
    free_bytes: AtomicU64,
    all_bytes: AtomicU64,
    refused: AtomicU64,
}

impl DiskFloor {
    /// Looks once.
    pub(crate) fn new(folders: Vec<PathBuf>) -> Arc<Self> {
        let floor = Self {
            folders,
            is_low: AtomicBool::new(false),
            free_bytes: AtomicU64::new(0),
            all_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        floor.look();
        Arc::new(floor)
    }

    /// Looks again and again, as long as the runtime lives.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    fn look(&self) {
        let rooms = self.folders.iter().filter_map(|folder| {
            let room = Room::of(folder);
            room.map_err(|error| {
                tracing::warn!(%error, folder = %folder.display(), "the disk tells nothing of itself");
            })
            .ok()
        });
        // The fullest counts. One that cannot be asked changes nothing.
        let Some(room) = rooms.min_by(|a, b| a.free_percent().total_cmp(&b.free_percent())) else {
            return;
        };
        self.free_bytes.store(room.free_bytes, Relaxed);
        self.all_bytes.store(room.all_bytes, Relaxed);
        let was_low = self.is_low.load(Relaxed);
        let is_low = is_low(was_low, room.free_percent());
        self.is_low.store(is_low, Relaxed);
        let free_bytes = room.free_bytes;
        match (was_low, is_low) {
            (false, true) => tracing::warn!(
                free_bytes,
                "less than {FLOOR_PERCENT} % of the disk are free: changes, events and log lines are refused until {ENOUGH_PERCENT} % are"
            ),
            (true, false) => tracing::info!(free_bytes, "the disk has room again"),
            _ => {}
        }
    }

    /// Whether new things are refused; counts one that is.
    pub(crate) fn refuses(&self) -> bool {
        let is_low = self.is_low.load(Relaxed);
        if is_low {
            self.refused.fetch_add(1, Relaxed);
        }
        is_low
    }

    /// Whether new things are refused.
    pub(crate) fn is_low(&self) -> bool {
        self.is_low.load(Relaxed)
    }

    /// The room of the fullest disk at the last look.
    pub(crate) fn room(&self) -> Room {
        Room {
            free_bytes: self.free_bytes.load(Relaxed),
            all_bytes: self.all_bytes.load(Relaxed),
        }
    }

    /// How often something was refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

impl DiskView for DiskFloor {
    fn refuses(&self) -> bool {
        DiskFloor::refuses(self)
    }
}

fn is_low(was_low: bool, free_percent: f64) -> bool {
    match was_low {
        true => free_percent < ENOUGH_PERCENT,
        false => free_percent < FLOOR_PERCENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_left_by_more_than_it_is_met_by() {
        let mut low = false;
        let seen: Vec<bool> = [50.0, 5.0, 4.9, 5.5, 5.9, 6.0, 5.5, 5.0, 0.0]
            .into_iter()
            .map(|percent| {
                low = is_low(low, percent);
                low
            })
            .collect();
        assert_eq!(
            seen,
            [false, false, true, true, true, false, false, false, true]
        );
    }

    #[test]
    fn a_disk_of_nothing_has_no_room_and_a_real_one_some() {
        let none = Room {
            free_bytes: 0,
            all_bytes: 0,
        };
        assert_eq!(none.free_percent(), 0.0);
        let real = Room::of(std::path::Path::new("/")).unwrap();
        assert!(real.all_bytes >= real.free_bytes && real.all_bytes > 0);
        assert!(Room::of(std::path::Path::new("/nowhere/at/all")).is_err());
    }
}
