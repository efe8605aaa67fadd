//! What is asked of the index.

use super::{Index, Result, Row, Told};
use crate::{logs::extent::Extent, meta::clamp, sql};
use freehold_domain::{
    Wall,
    logs::{LogGroupName, LogStreamName},
};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow};

const COLUMNS: &str = "number, s.name, created, head, size, lines, s.bytes, first, last, latest";

const NAMES: &str =
    "SELECT g.tenant, g.region, g.name, s.name FROM streams s JOIN groups g ON g.id = s.grp";

/// The place of a row by its end, and where the next page of such goes on.
#[derive(Debug, Clone, Copy)]
pub(in crate::logs) struct ByEnd {
    ended: i64,
    size: i64,
    number: u64,
}

impl ByEnd {
    /// In front of all.
    pub(in crate::logs) const START: Self = Self {
        ended: i64::MIN,
        size: i64::MIN,
        number: 0,
    };
}

impl Index {
    /// One stream, for the data path.
    pub(in crate::logs) fn look_up(&self, name: &LogStreamName) -> Result<Option<Row>> {
        Ok(find(&self.databases()?.lookups(), name)?)
    }

    /// One stream.
    pub(in crate::logs) fn find(&self, name: &LogStreamName) -> Result<Option<Row>> {
        Ok(find(&self.databases()?.list(), name)?)
    }

    /// Calls `take` with every name, as long as it wants more.
    pub(in crate::logs) fn each_name(&self, take: impl FnMut([&str; 4]) -> bool) -> Result<()> {
        let databases = self.databases()?;
        if databases.is_in_memory() {
            return Ok(each_name(&databases.list(), take)?);
        }
        // A connection of its own: it may read for long. What is damaged meanwhile is not replaced
        // before this one is closed.
        let conn = sql::open_reader(&self.path)?;
        let read = each_name(&conn, take);
        drop((conn, databases));
        Ok(read?)
    }

    /// The streams of a group from the name `start` on, at most `limit`.
    pub(in crate::logs) fn page(
        &self,
        group: &LogGroupName,
        start: &str,
        limit: usize,
    ) -> Result<Vec<Row>> {
        let databases = self.databases()?;
        let conn = databases.list();
        let Some((id, _)) = group_found(&conn, group)? else {
            return Ok(Vec::new());
        };
        let mut page = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM streams s WHERE grp = ?1 AND s.name >= ?2
             ORDER BY s.name LIMIT ?3"
        ))?;
        let page = page.query_map((id, start, clamp(limit)), row)?;
        Ok(page.collect::<rusqlite::Result<_>>()?)
    }

    /// The bytes of a group's lines, without those of the streams with these numbers.
    pub(in crate::logs) fn bytes(&self, group: &LogGroupName, without: &[u64]) -> Result<u64> {
        let databases = self.databases()?;
        let conn = databases.list();
        // One look: what is written meanwhile is in both sums or in none.
        let conn = conn.unchecked_transaction()?;
        let Some((_, mut sum)) = group_found(&conn, group)? else {
            return Ok(0);
        };
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
    pub(in crate::logs) fn numbers(
        &self,
        group: &LogGroupName,
        until: u64,
        limit: usize,
    ) -> Result<Vec<u64>> {
        let databases = self.databases()?;
        let conn = databases.list();
        let Some((id, _)) = group_found(&conn, group)? else {
            return Ok(Vec::new());
        };
        let mut numbers = conn.prepare_cached(
            "SELECT number FROM streams INDEXED BY streams_by_end
             WHERE grp = ?1 AND number < ?2 LIMIT ?3",
        )?;
        let numbers = numbers.query_map((id, until as i64, clamp(limit)), number)?;
        Ok(numbers.collect::<rusqlite::Result<_>>()?)
    }

    /// The numbers that have rows, of whatever group, from `from` on and below `until`.
    pub(in crate::logs) fn numbers_in(&self, from: u64, until: u64) -> Result<Vec<u64>> {
        let databases = self.databases()?;
        let conn = databases.list();
        let mut numbers =
            conn.prepare_cached("SELECT number FROM streams WHERE number >= ?1 AND number < ?2")?;
        let numbers = numbers.query_map((from as i64, until as i64), number)?;
        Ok(numbers.collect::<rusqlite::Result<_>>()?)
    }

    /// The lowest number from `from` on that has a row.
    pub(in crate::logs) fn first_number(&self, from: u64) -> Result<Option<u64>> {
        let databases = self.databases()?;
        let conn = databases.list();
        let mut first =
            conn.prepare_cached("SELECT MIN(number) FROM streams WHERE number >= ?1")?;
        let first: Option<i64> = first.query_row([from as i64], |row| row.get(0))?;
        Ok(first.map(|number| number as u64))
    }

    /// Streams of a group that ended before `before`, behind `after`, at most `limit`.
    pub(in crate::logs) fn ended(
        &self,
        group: &LogGroupName,
        before: Wall,
        after: ByEnd,
        limit: usize,
    ) -> Result<Vec<(ByEnd, Row)>> {
        let databases = self.databases()?;
        let conn = databases.list();
        let Some((id, _)) = group_found(&conn, group)? else {
            return Ok(Vec::new());
        };
        let mut ended = conn.prepare_cached(&format!(
            "SELECT {COLUMNS}, ended FROM streams s INDEXED BY streams_by_end
             WHERE grp = ?1 AND ended < ?2 AND (ended, size, number) > (?3, ?4, ?5)
             ORDER BY ended, size, number LIMIT ?6"
        ))?;
        let ByEnd {
            ended: at,
            size,
            number,
        } = after;
        let after = (id, before.0, at, size, number as i64, clamp(limit));
        let ended = ended.query_map(after, by_end)?;
        Ok(ended.collect::<rusqlite::Result<_>>()?)
    }

    /// Streams of a group that are closed and that nobody has read, behind `after`, at most
    /// `limit`.
    pub(in crate::logs) fn unread(
        &self,
        group: &LogGroupName,
        after: ByEnd,
        limit: usize,
    ) -> Result<Vec<(ByEnd, Row)>> {
        let databases = self.databases()?;
        let conn = databases.list();
        let Some((id, _)) = group_found(&conn, group)? else {
            return Ok(Vec::new());
        };
        let mut unread = conn.prepare_cached(&format!(
            "SELECT {COLUMNS}, ended FROM streams s INDEXED BY streams_by_end
             WHERE grp = ?1 AND ended IS NULL AND size IS NOT NULL
                 AND (size, number) > (?2, ?3)
             ORDER BY size, number LIMIT ?4"
        ))?;
        let after = (id, after.size, after.number as i64, clamp(limit));
        let unread = unread.query_map(after, by_end)?;
        Ok(unread.collect::<rusqlite::Result<_>>()?)
    }
}

fn each_name(conn: &Connection, mut take: impl FnMut([&str; 4]) -> bool) -> rusqlite::Result<()> {
    let mut names = conn.prepare(NAMES)?;
    let mut names = names.query([])?;
    while let Some(row) = names.next()? {
        let part = |at: usize| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
        if !take([part(0)?, part(1)?, part(2)?, part(3)?]) {
            break;
        }
    }
    Ok(())
}

fn find(conn: &Connection, name: &LogStreamName) -> rusqlite::Result<Option<Row>> {
    let LogGroupName {
        tenant,
        region,
        group,
    } = &name.group;
    let mut find = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM groups g JOIN streams s ON s.grp = g.id
         WHERE g.tenant = ?1 AND g.region = ?2 AND g.name = ?3 AND s.name = ?4"
    ))?;
    let key = (tenant.as_str(), region.as_str(), group, &name.stream);
    find.query_row(key, row).optional()
}

/// A group's id, and the bytes of its lines.
pub(super) fn group_found(
    conn: &Connection,
    group: &LogGroupName,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let key = (group.tenant.as_str(), group.region.as_str(), &group.group);
    conn.prepare_cached(
        "SELECT id, groups.bytes FROM groups WHERE tenant = ?1 AND region = ?2 AND name = ?3",
    )?
    .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()
}

fn number(row: &SqlRow<'_>) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(0)? as u64)
}

/// A row with its place by its end, of [`COLUMNS`] and `ended`.
fn by_end(sql: &SqlRow<'_>) -> rusqlite::Result<(ByEnd, Row)> {
    let row = row(sql)?;
    let place = ByEnd {
        ended: sql.get::<_, Option<i64>>(10)?.unwrap_or(i64::MIN),
        size: sql.get(4)?,
        number: row.number,
    };
    Ok((place, row))
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
