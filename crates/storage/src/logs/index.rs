//! The index: which streams there are, by name, and what stands in those that ended. In SQLite,
//! derived from the files, and made from them again whenever it cannot be believed.
//!
//! A row says as much as was known when it was written ([`Told`]). Rows come in the order of the
//! streams' numbers, and with them, in the same transaction, the number below which every stream
//! has its row or is gone: what a crash keeps from the index has a higher one.

mod write;

pub(super) use write::{NewRow, fold, put, raise};

use super::extent::Extent;
use crate::{meta::clamp, sql};
use freehold_domain::{
    Wall,
    logs::{LogGroupName, LogStreamName},
    ports::{CommitError, ReadError},
};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row as SqlRow, ffi};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The shape of the tables; another one is made again from the files.
pub(super) const VERSION: i64 = 1;

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS groups (
    id     INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    region TEXT NOT NULL,
    name   TEXT NOT NULL,
    UNIQUE (tenant, region, name)
);
CREATE TABLE IF NOT EXISTS streams (
    number  INTEGER PRIMARY KEY,  -- of its file
    grp     INTEGER NOT NULL,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    head    INTEGER NOT NULL,     -- where its first line stands
    size    INTEGER,              -- bytes of the lines in the file; NULL while it is open
    lines   INTEGER,              -- NULL as long as nobody has read them
    bytes   INTEGER,
    first   INTEGER,
    last    INTEGER,
    latest  INTEGER,
    ended   INTEGER               -- its last line or, without one, when it was made
);
CREATE UNIQUE INDEX IF NOT EXISTS streams_by_name ON streams (grp, name);
CREATE INDEX IF NOT EXISTS streams_by_end ON streams (grp, ended, size);
-- Files that are being removed, and have no row any more.
CREATE TABLE IF NOT EXISTS removing (number INTEGER PRIMARY KEY);
";

/// The counter that says below which number every stream is known.
pub(super) const INDEXED: &str = "indexed";
/// The counter that holds the token of the [`Stamp`](crate::stamp::Stamp).
pub(super) const TOKEN: &str = "token";

/// Page cache of a reading connection, KiB (negative in SQLite's notation): the kernel's does most.
const READER_CACHE_KIB: i32 = -512;

const COLUMNS: &str = "number, s.name, created, head, size, lines, bytes, first, last, latest";

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

/// The place of a row by its end, and where the next page of such goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByEnd {
    ended: i64,
    size: i64,
    pub(super) number: u64,
}

impl ByEnd {
    /// In front of all.
    pub(super) const START: Self = Self {
        ended: i64::MIN,
        size: i64::MIN,
        number: 0,
    };
}

/// See the module.
pub(super) struct Index {
    path: PathBuf,
    writer: Arc<Mutex<Connection>>,
    /// The data path's own: a start waits for no listing.
    lookups: Arc<Mutex<Connection>>,
    lists: Vec<Arc<Mutex<Connection>>>,
}

impl Index {
    /// The index that `writer` has open, for as many threads that list.
    pub(super) fn new(path: &Path, writer: Connection, lists: usize) -> rusqlite::Result<Self> {
        let reader = || -> rusqlite::Result<Arc<Mutex<Connection>>> {
            let conn = sql::open_reader(path)?;
            conn.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
            Ok(Arc::new(Mutex::new(conn)))
        };
        Ok(Self {
            path: path.to_owned(),
            writer: Arc::new(Mutex::new(writer)),
            lookups: reader()?,
            lists: (0..lists.max(1))
                .map(|_| reader())
                .collect::<Result<_, _>>()?,
        })
    }

    /// The index in memory that everybody takes turns at, instead of the one at `path`.
    pub(super) fn in_memory(path: &Path, conn: Connection) -> Self {
        let conn = Arc::new(Mutex::new(conn));
        Self {
            path: path.to_owned(),
            writer: conn.clone(),
            lookups: conn.clone(),
            lists: vec![conn],
        }
    }

    pub(super) fn read_failed(&self, error: &rusqlite::Error) -> ReadError {
        ReadError::Failed {
            reason: format!("could not read {}: {error}", self.path.display()),
        }
    }

    pub(super) fn write_failed(&self, error: &rusqlite::Error) -> CommitError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => CommitError::DiskFull,
            _ => CommitError::Failed {
                reason: format!("could not write {}: {error}", self.path.display()),
            },
        }
    }

    fn list(&self) -> MutexGuard<'_, Connection> {
        let free = self.lists.iter().find_map(|conn| conn.try_lock());
        free.unwrap_or_else(|| self.lists[0].lock())
    }

    /// One stream, for the data path.
    pub(super) fn look_up(&self, name: &LogStreamName) -> rusqlite::Result<Option<Row>> {
        find(&self.lookups.lock(), name)
    }

    /// One stream.
    pub(super) fn find(&self, name: &LogStreamName) -> rusqlite::Result<Option<Row>> {
        find(&self.list(), name)
    }

    /// Calls `take` with every name, as long as it wants more.
    pub(super) fn each_name(
        &self,
        mut take: impl FnMut([&str; 4]) -> bool,
    ) -> rusqlite::Result<()> {
        // A connection of its own: it may read for long.
        let conn = sql::open_reader(&self.path)?;
        let mut names = conn.prepare(
            "SELECT g.tenant, g.region, g.name, s.name FROM streams s JOIN groups g ON g.id = s.grp",
        )?;
        let mut names = names.query([])?;
        while let Some(row) = names.next()? {
            let part = |at: usize| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
            if !take([part(0)?, part(1)?, part(2)?, part(3)?]) {
                break;
            }
        }
        Ok(())
    }

    /// The streams of a group from the name `start` on, at most `limit`.
    pub(super) fn page(
        &self,
        group: &LogGroupName,
        start: &str,
        limit: usize,
    ) -> rusqlite::Result<Vec<Row>> {
        let conn = self.list();
        let Some(id) = group_id(&conn, group)? else {
            return Ok(Vec::new());
        };
        let mut page = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM streams s WHERE grp = ?1 AND s.name >= ?2
             ORDER BY s.name LIMIT ?3"
        ))?;
        page.query_map((id, start, clamp(limit)), row)?.collect()
    }

    /// The bytes of a group's lines, without those of the streams with these numbers.
    pub(super) fn bytes(&self, group: &LogGroupName, without: &[u64]) -> rusqlite::Result<u64> {
        let conn = self.list();
        // One look: what is written meanwhile is in both sums or in none.
        let conn = conn.unchecked_transaction()?;
        let Some(id) = group_id(&conn, group)? else {
            return Ok(0);
        };
        let mut all = conn.prepare_cached(
            "SELECT COALESCE(SUM(size), 0) FROM streams INDEXED BY streams_by_end WHERE grp = ?1",
        )?;
        let mut sum: i64 = all.query_row([id], |row| row.get(0))?;
        let mut one = conn.prepare_cached("SELECT size FROM streams WHERE number = ?1")?;
        for number in without {
            let size: Option<Option<i64>> = one
                .query_row([*number as i64], |row| row.get(0))
                .optional()?;
            sum -= size.flatten().unwrap_or(0);
        }
        Ok(sum.max(0) as u64)
    }

    /// Streams of a group with numbers below `until`, at most `limit`.
    pub(super) fn numbers(
        &self,
        group: &LogGroupName,
        until: u64,
        limit: usize,
    ) -> rusqlite::Result<Vec<u64>> {
        let conn = self.list();
        let Some(id) = group_id(&conn, group)? else {
            return Ok(Vec::new());
        };
        let mut numbers = conn.prepare_cached(
            "SELECT number FROM streams INDEXED BY streams_by_end
             WHERE grp = ?1 AND number < ?2 LIMIT ?3",
        )?;
        let number = |row: &SqlRow<'_>| Ok(row.get::<_, i64>(0)? as u64);
        numbers
            .query_map((id, until as i64, clamp(limit)), number)?
            .collect()
    }

    /// Streams of a group that ended before `before`, behind `after`, at most `limit`.
    pub(super) fn ended(
        &self,
        group: &LogGroupName,
        before: Wall,
        after: ByEnd,
        limit: usize,
    ) -> rusqlite::Result<Vec<ByEnd>> {
        let conn = self.list();
        let Some(id) = group_id(&conn, group)? else {
            return Ok(Vec::new());
        };
        let mut ended = conn.prepare_cached(
            "SELECT ended, size, number FROM streams INDEXED BY streams_by_end
             WHERE grp = ?1 AND ended < ?2 AND (ended, size, number) > (?3, ?4, ?5)
             ORDER BY ended, size, number LIMIT ?6",
        )?;
        let ByEnd {
            ended: at,
            size,
            number,
        } = after;
        let found = |row: &SqlRow<'_>| {
            Ok(ByEnd {
                ended: row.get(0)?,
                size: row.get(1)?,
                number: row.get::<_, i64>(2)? as u64,
            })
        };
        ended
            .query_map((id, before.0, at, size, number as i64, clamp(limit)), found)?
            .collect()
    }

    /// Streams of a group that are closed and that nobody has read, behind `after`, at most
    /// `limit`.
    pub(super) fn unread(
        &self,
        group: &LogGroupName,
        after: ByEnd,
        limit: usize,
    ) -> rusqlite::Result<Vec<(ByEnd, Row)>> {
        let conn = self.list();
        let Some(id) = group_id(&conn, group)? else {
            return Ok(Vec::new());
        };
        let mut unread = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM streams s INDEXED BY streams_by_end
             WHERE grp = ?1 AND ended IS NULL AND size IS NOT NULL
                 AND (size, number) > (?2, ?3)
             ORDER BY size, number LIMIT ?4"
        ))?;
        let found = |sql: &SqlRow<'_>| {
            let row = row(sql)?;
            let place = ByEnd {
                ended: i64::MIN,
                size: sql.get(4)?,
                number: row.number,
            };
            Ok((place, row))
        };
        let after = (id, after.size, after.number as i64, clamp(limit));
        unread.query_map(after, found)?.collect()
    }
}

#[cfg(test)]
impl Index {
    /// Lets writes fail, or no longer.
    pub(super) fn refuse_writes(&self, refuse: bool) {
        let writer = self.writer.lock();
        let set = writer.pragma_update(None, "query_only", refuse);
        set.expect("a pragma that is known");
    }
}

fn find(conn: &Connection, name: &LogStreamName) -> rusqlite::Result<Option<Row>> {
    let LogGroupName {
        tenant,
        region,
        group,
    } = &name.group;
    let mut find = conn.prepare_cached(
        "SELECT number, s.name, created, head, size, lines, bytes, first, last, latest
         FROM groups g JOIN streams s ON s.grp = g.id
         WHERE g.tenant = ?1 AND g.region = ?2 AND g.name = ?3 AND s.name = ?4",
    )?;
    let key = (tenant.as_str(), region.as_str(), group, &name.stream);
    find.query_row(key, row).optional()
}

/// The number of a stream's file.
pub(super) fn number_of(conn: &Connection, name: &LogStreamName) -> rusqlite::Result<Option<u64>> {
    Ok(find(conn, name)?.map(|row| row.number))
}

fn group_id(conn: &Connection, group: &LogGroupName) -> rusqlite::Result<Option<i64>> {
    let key = (group.tenant.as_str(), group.region.as_str(), &group.group);
    conn.prepare_cached("SELECT id FROM groups WHERE tenant = ?1 AND region = ?2 AND name = ?3")?
        .query_row(key, |row| row.get(0))
        .optional()
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let head = row.get::<_, i64>(3)? as u64;
    let size: Option<i64> = row.get(4)?;
    let lines: Option<i64> = row.get(5)?;
    let wall = |at: usize| -> rusqlite::Result<Option<Wall>> {
        Ok(row.get::<_, Option<i64>>(at)?.map(Wall))
    };
    let told = match (size, lines) {
        (None, _) => Told::Open,
        (Some(size), None) => Told::Size(size as u64),
        (Some(size), Some(lines)) => Told::All(Extent {
            len: head + size as u64,
            lines: lines as u64,
            bytes: row.get::<_, i64>(6)? as u64,
            first: wall(7)?,
            last: wall(8)?,
            latest: wall(9)?,
        }),
    };
    Ok(Row {
        number: row.get::<_, i64>(0)? as u64,
        stream: row.get(1)?,
        created: Wall(row.get(2)?),
        head,
        told,
    })
}

/// Whether SQLite says that what stands in the file is none of its doing, or may not be what it
/// wrote.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) => {
            matches!(
                cause.code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
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
