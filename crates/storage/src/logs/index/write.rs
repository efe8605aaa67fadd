//! What is written to the index: rows, and the two steps of a removal.
//!
//! A stream is removed in an order that a crash may cut anywhere: its row turns into a note in
//! `removing`, its file goes, then the note. A note that is found at the next start is carried out.

use super::{INDEXED, Index, Told, group_id};
use freehold_domain::{
    Wall,
    logs::{LogGroupName, LogStreamName},
};
use rusqlite::{Connection, ErrorCode};

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
    ) -> rusqlite::Result<()> {
        let mut conn = self.writer.lock();
        let on = conn.transaction()?;
        for row in rows {
            put(&on, row)?;
        }
        forget(&on, gone)?;
        raise(&on, indexed)?;
        on.commit()
    }

    /// Turns the rows of these streams into notes.
    pub(in crate::logs) fn begin_removal(&self, numbers: &[u64]) -> rusqlite::Result<()> {
        let mut conn = self.writer.lock();
        let on = conn.transaction()?;
        for number in numbers {
            on.prepare_cached("INSERT OR IGNORE INTO removing VALUES (?1)")?
                .execute([*number as i64])?;
        }
        forget(&on, numbers)?;
        on.commit()
    }

    /// Removes the notes.
    pub(in crate::logs) fn end_removal(&self, numbers: &[u64]) -> rusqlite::Result<()> {
        let mut conn = self.writer.lock();
        let on = conn.transaction()?;
        for number in numbers {
            on.prepare_cached("DELETE FROM removing WHERE number = ?1")?
                .execute([*number as i64])?;
        }
        on.commit()
    }

    /// Removes a group that has no stream any more.
    pub(in crate::logs) fn forget_group(&self, group: &LogGroupName) -> rusqlite::Result<()> {
        let conn = self.writer.lock();
        let Some(id) = group_id(&conn, group)? else {
            return Ok(());
        };
        conn.prepare_cached(
            "DELETE FROM groups
             WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM streams WHERE grp = ?1)",
        )?
        .execute([id])
        .map(drop)
    }

    /// Folds the log of the database into it.
    pub(in crate::logs) fn fold(&self) -> rusqlite::Result<()> {
        fold(&self.writer.lock())
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

/// Writes one row over whatever stands under its number or its name.
pub(in crate::logs) fn put(on: &Connection, row: &NewRow<'_>) -> rusqlite::Result<()> {
    let group = match group_id(on, &row.name.group)? {
        Some(id) => id,
        None => {
            let LogGroupName {
                tenant,
                region,
                group,
            } = &row.name.group;
            on.prepare_cached("INSERT INTO groups (tenant, region, name) VALUES (?1, ?2, ?3)")?
                .insert((tenant.as_str(), region.as_str(), group))?
        }
    };
    let (size, extent) = match row.told {
        Told::Open => (None, None),
        Told::Size(size) => (Some(size as i64), None),
        Told::All(extent) => (Some((extent.len - row.head) as i64), Some(extent)),
    };
    let wall = |wall: Option<Wall>| wall.map(|wall| wall.0);
    let ended = extent.map(|extent| extent.last.unwrap_or(row.created).0);
    let values = rusqlite::params![
        row.number as i64,
        group,
        row.name.stream,
        row.created.0,
        row.head as i64,
        size,
        extent.map(|extent| extent.lines as i64),
        extent.map(|extent| extent.bytes as i64),
        wall(extent.and_then(|extent| extent.first)),
        wall(extent.and_then(|extent| extent.last)),
        wall(extent.and_then(|extent| extent.latest)),
        ended,
    ];
    let sql = "INSERT INTO streams VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
               ON CONFLICT (number) DO UPDATE SET size = ?6, lines = ?7, bytes = ?8, first = ?9,
                   last = ?10, latest = ?11, ended = ?12";
    match on.prepare_cached(sql)?.execute(values) {
        // A file that somebody removed by hand still has its row, and its name came again.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => on
            .prepare_cached(
                "INSERT OR REPLACE INTO streams
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(values)
            .map(drop),
        done => done.map(drop),
    }
}
