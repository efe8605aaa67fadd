//! The index: which streams there are, by name, and what stands in those that ended. In SQLite,
//! derived from the files, and made from them again whenever it cannot be believed.
//!
//! A row says as much as was known when it was written ([`Told`]). With the rows, in the same
//! transaction, comes the number below which every stream has its row or is gone: what a crash keeps
//! from the index has a higher one.
//!
//! While it is being made again there is none: who asks hears [`IndexError::Absent`] at once, and
//! never that there were no streams.

mod databases;
mod read;
mod schema;
mod write;

pub(super) use databases::Databases;
pub(super) use read::ByEnd;
pub(super) use schema::{INDEXED, SCHEMA, TOKEN, VERSION};
pub(super) use write::{NewRow, fold, put, raise};

use super::extent::Extent;
use crate::failure::is_full_disk;
use freehold_domain::{
    Wall,
    ports::{CommitError, ReadError},
};
use parking_lot::RwLock;
use rusqlite::{ErrorCode, ffi};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// How often it is asked whether the last one who reads a database is done.
const UNUSED_EVERY: Duration = Duration::from_millis(2);

/// How much a row says of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It was open.
    Open,
    /// The bytes of its lines in the file, and nothing of the lines.
    Size(u64),
    /// Everything.
    All(Extent),
}

impl Told {
    /// Where the lines of a stream end whose first one stands at `head`; `None` where that is not
    /// told.
    pub(super) fn len(&self, head: u64) -> Option<u64> {
        match self {
            Self::Open => None,
            Self::Size(size) => Some(head + size),
            Self::All(extent) => Some(extent.len),
        }
    }
}

/// A stream as the index knows it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) number: u64,
    /// Its name in its group.
    pub(super) stream: String,
    pub(super) created: Wall,
    /// Where its first line stands.
    pub(super) head: u64,
    pub(super) told: Told,
}

/// Why the index does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// It is being made again.
    #[error("the index of the log streams is being made again from their files")]
    Absent,
    /// SQLite failed.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

pub(super) type Result<T> = std::result::Result<T, IndexError>;

impl IndexError {
    /// Whether SQLite says that what stands in the file is none of its doing, or may not be what it
    /// wrote.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Sql(error) if is_damage(error))
    }

    /// Whether the same may be answered in a while: an index that is damaged is made again.
    fn passes(&self) -> bool {
        matches!(self, Self::Absent) || self.is_damage()
    }
}

/// See the module.
pub(super) struct Index {
    /// Where the log files are.
    dir: PathBuf,
    path: PathBuf,
    /// Threads that list.
    lists: usize,
    databases: RwLock<Option<Arc<Databases>>>,
    /// Streams that have a row.
    streams: AtomicU64,
}

impl Index {
    /// The index of the files in `dir`, which belongs at `path`, for as many threads that list.
    pub(super) fn new(dir: &Path, path: &Path, lists: usize, databases: Databases) -> Self {
        let index = Self {
            dir: dir.to_owned(),
            path: path.to_owned(),
            lists,
            databases: RwLock::new(Some(Arc::new(databases))),
            streams: AtomicU64::new(0),
        };
        // What is damaged is met again by whoever asks.
        let _ = index.count();
        index
    }

    /// Where it belongs.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log files are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Threads that list.
    pub(super) fn lists(&self) -> usize {
        self.lists
    }

    /// Whether it is one that does not outlive the process.
    pub(super) fn is_in_memory(&self) -> bool {
        self.databases()
            .is_ok_and(|databases| databases.is_in_memory())
    }

    fn databases(&self) -> Result<Arc<Databases>> {
        self.databases.read().clone().ok_or(IndexError::Absent)
    }

    /// From now on there is none. Its files are closed when this returns, so that nobody writes to
    /// those that follow them.
    pub(super) fn withdraw(&self) {
        let Some(mut databases) = self.databases.write().take() else {
            return;
        };
        while let Err(used) = Arc::try_unwrap(databases) {
            databases = used;
            thread::sleep(UNUSED_EVERY);
        }
    }

    /// From now on it is this one.
    pub(super) fn replace(&self, databases: Databases) {
        *self.databases.write() = Some(Arc::new(databases));
        let _ = self.count();
    }

    /// Whether its file is where it belongs, and the one that is open. One in memory always is.
    pub(super) fn is_in_place(&self) -> bool {
        self.databases()
            .map_or(true, |databases| databases.are_at(&self.path))
    }

    /// Streams that had a row when rows were last written.
    pub(super) fn streams(&self) -> u64 {
        self.streams.load(Relaxed)
    }

    fn count(&self) -> Result<()> {
        self.streams.store(self.databases()?.count()?, Relaxed);
        Ok(())
    }

    pub(super) fn read_failed(&self, error: &IndexError) -> ReadError {
        let reason = format!("could not read {}: {error}", self.path.display());
        if error.passes() {
            return ReadError::Unavailable { reason };
        }
        ReadError::Failed { reason }
    }

    pub(super) fn write_failed(&self, error: &IndexError) -> CommitError {
        let reason = format!("could not write {}: {error}", self.path.display());
        match error {
            _ if error.passes() => CommitError::Unavailable { reason },
            IndexError::Sql(sql) if is_full_disk(sql) => CommitError::DiskFull,
            _ => CommitError::Failed { reason },
        }
    }
}

#[cfg(test)]
impl Index {
    /// Lets writes fail, or no longer.
    pub(super) fn refuse_writes(&self, refuse: bool) {
        let databases = self.databases().expect("there is one");
        let set = databases.writer().pragma_update(None, "query_only", refuse);
        set.expect("a pragma that is known");
    }
}

/// See [`IndexError::is_damage`].
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) => {
            matches!(
                cause.code,
                // Names and numbers are looked up before they are written: a table and its index
                // contradict each other.
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ConstraintViolation
            ) || matches!(
                cause.extended_code,
                ffi::SQLITE_IOERR_FSYNC
                    | ffi::SQLITE_IOERR_DIR_FSYNC
                    | ffi::SQLITE_IOERR_SHORT_READ
            )
        }
        // A column of another type or none at all.
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    }
}
