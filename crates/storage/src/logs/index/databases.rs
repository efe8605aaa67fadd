//! The connections to one database, which are closed together.

use crate::sql;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;
use std::{fs, io, os::unix::fs::MetadataExt, path::Path, sync::Arc};

/// Page cache of a reading connection, KiB (negative in SQLite's notation): the kernel's does most.
const READER_CACHE_KIB: i32 = -512;

/// See the module.
pub(in crate::logs) struct Databases {
    writer: Arc<Mutex<Connection>>,
    /// The data path's own: a start waits for no listing.
    lookups: Arc<Mutex<Connection>>,
    lists: Vec<Arc<Mutex<Connection>>>,
    /// Device and inode of the file; `None` for one in memory.
    file: Option<(u64, u64)>,
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

impl Databases {
    /// Those to the file at `path` that `writer` has open, for as many threads that list.
    pub(in crate::logs) fn at(
        path: &Path,
        writer: Connection,
        lists: usize,
    ) -> rusqlite::Result<Self> {
        let reader = || -> rusqlite::Result<Arc<Mutex<Connection>>> {
            let conn = sql::open_reader(path)?;
            conn.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
            Ok(Arc::new(Mutex::new(conn)))
        };
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            lookups: reader()?,
            lists: (0..lists.max(1))
                .map(|_| reader())
                .collect::<Result<_, _>>()?,
            // One that is gone already is not in place, which is noticed later.
            file: Some(identity(path).unwrap_or((0, 0))),
        })
    }

    /// The one in memory that everybody takes turns at.
    pub(in crate::logs) fn in_memory(conn: Connection) -> Self {
        let conn = Arc::new(Mutex::new(conn));
        Self {
            writer: conn.clone(),
            lookups: conn.clone(),
            lists: vec![conn],
            file: None,
        }
    }

    /// Whether the file at `path` is the one that is open.
    pub(super) fn are_at(&self, path: &Path) -> bool {
        let Some(file) = self.file else { return true };
        match identity(path) {
            Ok(found) => found == file,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    pub(super) fn is_in_memory(&self) -> bool {
        self.file.is_none()
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock()
    }

    pub(super) fn lookups(&self) -> MutexGuard<'_, Connection> {
        self.lookups.lock()
    }

    pub(super) fn list(&self) -> MutexGuard<'_, Connection> {
        let free = self.lists.iter().find_map(|conn| conn.try_lock());
        free.unwrap_or_else(|| self.lists[0].lock())
    }

    /// Streams that have a row.
    pub(super) fn count(&self) -> rusqlite::Result<u64> {
        self.writer()
            .prepare_cached("SELECT COALESCE(SUM(streams), 0) FROM groups")?
            .query_row([], |row| row.get::<_, i64>(0))
            .map(|count| count.max(0) as u64)
    }
}
