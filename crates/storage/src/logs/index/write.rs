//! What is written to the index: rows, and the two steps of a removal.
//!
//! A stream is removed in an order that a crash may cut anywhere: its row turns into a note in
//! `removing`, its file goes, then the note. A note that is found at the next start is carried out.

use super::{INDEXED, Index, Result, Told, read::group_found};
use crate::logs::path;
use freehold_domain::{
    Wall,
    logs::{LogGroupName, LogStreamName},
};
use rusqlite::{Connection, OptionalExtension};
use std::{fs, io, path::Path};

/// The longest name of a stream, bytes, as CloudWatch has it.
const NAME_BYTES_MAX: usize = 512;

/// A row to be written.
pub(in crate::logs) struct NewRow<'a> {
    pub(in crate::logs) number: u64,
    pub(in crate::logs) name: &'a LogStreamName,
    pub(in crate::logs) created: Wall,
    pub(in crate::logs) head: u64,
    pub(in crate::logs) told: Told,
}

impl Index {
    /// Writes rows, removes those of `gone`, and notes that all below `indexed` are known.
    pub(in crate::logs) fn write<'a>(
        &self,
        rows: impl Iterator<Item = &'a NewRow<'a>>,
        gone: &[u64],
        indexed: u64,
    ) -> Result<()> {
        {
            let databases = self.databases()?;
            let mut conn = databases.writer();
            let on = conn.transaction()?;
            // Whose file is gone keeps nobody from its name.
            forget(&on, gone)?;
            for row in rows {
                put(&on, &self.dir, row)?;
            }
            raise(&on, indexed)?;
            on.commit()?;
        }
        self.count()
    }

    /// Turns the rows of these streams into notes.
    pub(in crate::logs) fn begin_removal(&self, numbers: &[u64]) -> Result<()> {
        let databases = self.databases()?;
        let mut conn = databases.writer();
        let on = conn.transaction()?;
        for number in numbers {
            on.prepare_cached("INSERT OR IGNORE INTO removing VALUES (?1)")?
                .execute([*number as i64])?;
        }
        forget(&on, numbers)?;
        Ok(on.commit()?)
    }

    /// Removes the notes.
    pub(in crate::logs) fn end_removal(&self, numbers: &[u64]) -> Result<()> {
        {
            let databases = self.databases()?;
            let mut conn = databases.writer();
            let on = conn.transaction()?;
            for number in numbers {
                on.prepare_cached("DELETE FROM removing WHERE number = ?1")?
                    .execute([*number as i64])?;
            }
            on.commit()?;
        }
        self.count()
    }

    /// Removes a group that has no stream any more.
    pub(in crate::logs) fn forget_group(&self, group: &LogGroupName) -> Result<()> {
        let databases = self.databases()?;
        let conn = databases.writer();
        let Some((id, _)) = group_found(&conn, group)? else {
            return Ok(());
        };
        conn.prepare_cached(
            "DELETE FROM groups
             WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM streams WHERE grp = ?1)",
        )?
        .execute([id])?;
        Ok(())
    }

    /// Folds the log of the database into it.
    pub(in crate::logs) fn fold(&self) -> Result<()> {
        Ok(fold(&self.databases()?.writer())?)
    }
}

/// Folds the log of the database into it.
pub(in crate::logs) fn fold(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn forget(on: &Connection, numbers: &[u64]) -> rusqlite::Result<()> {
    for number in numbers {
        on.prepare_cached("DELETE FROM streams WHERE number = ?1")?
            .execute([*number as i64])?;
    }
    Ok(())
}

/// Notes that all streams below `indexed` are known.
pub(in crate::logs) fn raise(on: &Connection, indexed: u64) -> rusqlite::Result<()> {
    on.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value < excluded.value",
    )?
    .execute((INDEXED, indexed as i64))
    .map(drop)
}

fn group_made(on: &Connection, group: &LogGroupName) -> rusqlite::Result<i64> {
    if let Some((id, _)) = group_found(on, group)? {
        return Ok(id);
    }
    on.prepare_cached("INSERT INTO groups (tenant, region, name) VALUES (?1, ?2, ?3)")?
        .insert((group.tenant.as_str(), group.region.as_str(), &group.group))
}

/// Writes one row over whatever stands under its number. Of several files of one name, made while
/// the index did not answer, the newest has it, and the others are listed with their number behind
/// it: `name~17`.
pub(in crate::logs) fn put(on: &Connection, dir: &Path, row: &NewRow<'_>) -> rusqlite::Result<()> {
    let group = group_made(on, &row.name.group)?;
    let mut name = row.name.stream.clone();
    while let Some(other) = other_of(on, group, &name, row.number)? {
        if is_gone(&path(dir, other)) {
            // Somebody removed it by hand, and its row is still there.
            forget(on, &[other])?;
        } else if other < row.number {
            rename(on, group, &name, other)?;
        } else {
            name = free_name(on, group, &name, row.number)?;
        }
    }
    let (size, extent) = match row.told {
        Told::Open => (None, None),
        Told::Size(size) => (Some(size as i64), None),
        Told::All(extent) => (Some((extent.len - row.head) as i64), Some(extent)),
    };
    let wall = |wall: Option<Wall>| wall.map(|wall| wall.0);
    let values = rusqlite::params![
        row.number as i64,
        group,
        name,
        row.created.0,
        row.head as i64,
        size,
        extent.map(|extent| extent.lines as i64),
        extent.map(|extent| extent.bytes as i64),
        wall(extent.and_then(|extent| extent.first)),
        wall(extent.and_then(|extent| extent.last)),
        wall(extent.and_then(|extent| extent.latest)),
        extent.map(|extent| extent.last.unwrap_or(row.created).0),
    ];
    let sql = "INSERT INTO streams VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
               ON CONFLICT (number) DO UPDATE SET grp = ?2, name = ?3, created = ?4, head = ?5,
                   size = ?6, lines = ?7, bytes = ?8, first = ?9, last = ?10, latest = ?11,
                   ended = ?12";
    on.prepare_cached(sql)?.execute(values).map(drop)
}

/// The file that has a name, unless it is the one with this number.
fn other_of(on: &Connection, group: i64, name: &str, number: u64) -> rusqlite::Result<Option<u64>> {
    on.prepare_cached("SELECT number FROM streams WHERE grp = ?1 AND name = ?2 AND number <> ?3")?
        .query_row((group, name, number as i64), |row| row.get::<_, i64>(0))
        .optional()
        .map(|other| other.map(|other| other as u64))
}

/// Gives an older file of a name another one.
fn rename(on: &Connection, group: i64, name: &str, number: u64) -> rusqlite::Result<()> {
    let new = free_name(on, group, name, number)?;
    tracing::warn!(
        number,
        name,
        new,
        "two files of one log stream; the older one is listed by another name"
    );
    on.prepare_cached("UPDATE streams SET name = ?2 WHERE number = ?1")?
        .execute((number as i64, new))
        .map(drop)
}

/// A name with the number of its file behind it, which no other one has.
fn free_name(on: &Connection, group: i64, name: &str, number: u64) -> rusqlite::Result<String> {
    let mut end = format!("~{number}");
    let mut tries = 0;
    loop {
        let kept = name.floor_char_boundary(NAME_BYTES_MAX - end.len());
        let free = format!("{}{end}", &name[..kept]);
        if other_of(on, group, &free, number)?.is_none() {
            return Ok(free);
        }
        tries += 1;
        end = format!("~{number}.{tries}");
    }
}

fn is_gone(path: &Path) -> bool {
    matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}
