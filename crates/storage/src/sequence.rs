//! One counter for both databases: commits and record versions are its values, so a version grows
//! with every write to its key, also over a deletion, without a tombstone.

use freehold_domain::ports::{CommitError, Fence};
use rusqlite::{Connection, OptionalExtension};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The counter and the highest fence seen.
#[derive(Default)]
pub(crate) struct Sequence {
    last: AtomicU64,
    fence: AtomicU64,
}

impl Sequence {
    /// Goes on after what `conn` holds, if that is further.
    pub(crate) fn resume(&self, conn: &Connection) -> rusqlite::Result<()> {
        let read = |name: &str| -> rusqlite::Result<u64> {
            let sql = "SELECT value FROM counters WHERE name = ?1";
            let found: Option<i64> = conn.query_row(sql, [name], |row| row.get(0)).optional()?;
            Ok(found.unwrap_or(0) as u64)
        };
        self.last.fetch_max(read("sequence")?, SeqCst);
        self.fence.fetch_max(read("fence")?, SeqCst);
        Ok(())
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.last.fetch_add(1, SeqCst) + 1
    }

    /// Errors: [`CommitError::Fenced`] for an epoch below one that was seen.
    pub(crate) fn pass(&self, fence: Fence) -> Result<(), CommitError> {
        match fence {
            Fence::None => Ok(()),
            Fence::Epoch(epoch) if self.fence.fetch_max(epoch, SeqCst) > epoch => {
                Err(CommitError::Fenced)
            }
            Fence::Epoch(_) => Ok(()),
        }
    }

    /// Writes both down where they changed; part of every transaction. One that changes nothing,
    /// such as a claim that finds nothing, then costs no `fsync`.
    pub(crate) fn save(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached(
            "INSERT INTO counters (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value
             WHERE value <> excluded.value",
        )?;
        statement.execute(("sequence", self.last.load(SeqCst) as i64))?;
        statement.execute(("fence", self.fence.load(SeqCst) as i64))?;
        Ok(())
    }
}
