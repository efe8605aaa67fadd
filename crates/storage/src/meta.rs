//! Records in SQLite: one row each, in key order.

use crate::{
    failure::{Health, may_write, read_failed, write_failed},
    sequence::Sequence,
};
use freehold_domain::{
    Principal,
    ports::{CommitError, Expect, Op, ReadError, RecordVersion, Stored},
    record::{Key, KeyPrefix},
};
use rusqlite::{Connection, OptionalExtension, Row};

pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS records (
    key     BLOB PRIMARY KEY,
    kind    INTEGER NOT NULL,
    version INTEGER NOT NULL,
    bytes   BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind, key);
";

/// Changes of one commit, for the watchers.
pub(crate) type Changes = Vec<(Key, Option<Stored>)>;

/// Errors: [`CommitError::Denied`] when one of `ops` writes where `who` does not reach.
pub(crate) fn check(who: &Principal, ops: &[Op]) -> Result<(), CommitError> {
    ops.iter().try_for_each(|op| match op {
        Op::Put { key, .. } | Op::Delete { key, .. } => may_write(who, key.tenant()),
        _ => Ok(()),
    })
}

/// Applies record `ops` in order.
pub(crate) fn apply(
    conn: &Connection,
    sequence: &Sequence,
    health: &Health,
    ops: Vec<Op>,
) -> Result<Changes, CommitError> {
    let failed = |error: rusqlite::Error| write_failed(health, &error);
    let mut changes = Changes::new();
    for op in ops {
        match op {
            Op::Put { key, expect, bytes } => {
                let encoded = key.encode();
                expected(conn, health, &key, &encoded, expect)?;
                let version = sequence.next();
                let sql = "INSERT OR REPLACE INTO records (key, kind, version, bytes)
                           VALUES (?1, ?2, ?3, ?4)";
                let row = (&encoded, key.kind() as u8, version as i64, &bytes);
                conn.prepare_cached(sql)
                    .and_then(|mut put| put.execute(row))
                    .map_err(failed)?;
                let stored = Stored {
                    key: key.clone(),
                    version: RecordVersion(version),
                    bytes: bytes.into(),
                };
                changes.push((key, Some(stored)));
            }
            Op::Delete { key, expect } => {
                let encoded = key.encode();
                expected(conn, health, &key, &encoded, expect)?;
                let removed = conn
                    .prepare_cached("DELETE FROM records WHERE key = ?1")
                    .and_then(|mut delete| delete.execute([&encoded]))
                    .map_err(failed)?;
                if removed > 0 {
                    changes.push((key, None));
                }
            }
            Op::EventAdd { .. }
            | Op::EventRetry { .. }
            | Op::EventEnd { .. }
            | Op::EventTime { .. } => {
                return Err(CommitError::Mixed);
            }
        }
    }
    Ok(changes)
}

fn expected(
    conn: &Connection,
    health: &Health,
    key: &Key,
    encoded: &[u8],
    expect: Expect,
) -> Result<(), CommitError> {
    if expect == Expect::Any {
        return Ok(());
    }
    let found: Option<i64> = conn
        .prepare_cached("SELECT version FROM records WHERE key = ?1")
        .and_then(|mut get| get.query_row([encoded], |row| row.get(0)).optional())
        .map_err(|error| write_failed(health, &error))?;
    let found = found.map(|version| RecordVersion(version as u64));
    let fine = match expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Version(version) => found == Some(version),
    };
    if fine {
        return Ok(());
    }
    Err(CommitError::Conflict {
        key: Box::new(key.clone()),
        found,
    })
}

/// One record.
pub(crate) fn get(conn: &Connection, key: &Key) -> Result<Option<Stored>, ReadError> {
    let found = conn
        .prepare_cached("SELECT key, version, bytes FROM records WHERE key = ?1")
        .and_then(|mut get| get.query_row([key.encode()], row).optional())
        .map_err(|error| read_failed(&error))?;
    found.map(stored).transpose()
}

/// Records below `prefix`, after `after`.
pub(crate) fn list(
    conn: &Connection,
    prefix: &KeyPrefix,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Stored>, ReadError> {
    let start = prefix.encode();
    let end = successor(&start);
    let after = after.map_or(Vec::new(), Key::encode);
    let rows: rusqlite::Result<Vec<_>> = (|| {
        let mut list = conn.prepare_cached(
            "SELECT key, version, bytes FROM records
             WHERE key >= ?1 AND key < ?2 AND key > ?3 ORDER BY key LIMIT ?4",
        )?;
        list.query_map((start, end, after, clamp(limit)), row)?
            .collect()
    })();
    let rows = rows.map_err(|error| read_failed(&error))?;
    rows.into_iter().map(stored).collect()
}

/// A limit as SQLite takes it.
pub(crate) fn clamp(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The least bytes above everything that begins with `prefix`, which is not empty and does not
/// end in 0xff: it ends in NUL or a kind.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = last.saturating_add(1);
    }
    bytes
}

/// Key, version and bytes as they lie.
pub(crate) type RawRecord = (Vec<u8>, i64, Vec<u8>);

pub(crate) fn row(row: &Row<'_>) -> rusqlite::Result<RawRecord> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

pub(crate) fn stored((key, version, bytes): RawRecord) -> Result<Stored, ReadError> {
    let key = Key::decode(&key).ok_or_else(|| ReadError::Failed {
        reason: format!("a record of meta.db has a key that no key encodes to: {key:?}"),
    })?;
    Ok(Stored {
        key,
        version: RecordVersion(version as u64),
        bytes: bytes.into(),
    })
}
