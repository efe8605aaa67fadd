//! The queue's time as it is kept: one moment by three clocks, among the counters, with a sum over
//! it. What does not add up is not believed; the queue then goes by the wall clock, as at first.

use crate::failure::read_failed;
use freehold_domain::{BootTime, KeptTime, QueueTime, Wall, ports::ReadError};
use rusqlite::{Connection, OptionalExtension, types::Value};
use std::time::Duration;

/// Its counters: the queue's time, the wall clock's, which boot (0: not known), the time since
/// then, and the sum of these.
const NAMES: [&str; 5] = [
    "time",
    "time_wall",
    "time_boot",
    "time_since_boot",
    "time_sum",
];

/// What was kept.
///
/// Errors: it does not add up, or the store failed.
pub(crate) fn time_kept(conn: &Connection) -> Result<Option<KeptTime>, ReadError> {
    let found = found(conn).map_err(|error| read_failed(&error))?;
    found.map(|found| parse(&found)).transpose()
}

/// What was kept, at the start. What does not add up is removed.
pub(crate) fn resume_time(conn: &Connection) -> rusqlite::Result<Option<KeptTime>> {
    let Some(found) = found(conn)? else {
        return Ok(None);
    };
    match parse(&found) {
        Ok(kept) => Ok(Some(kept)),
        Err(error) => {
            tracing::error!(%error, "events go by the wall clock from here on");
            let mut remove = conn.prepare_cached("DELETE FROM counters WHERE name = ?1")?;
            for name in NAMES {
                remove.execute([name])?;
            }
            Ok(None)
        }
    }
}

/// Keeps `kept` instead of what was.
pub(crate) fn keep_time(conn: &Connection, kept: &KeptTime) -> rusqlite::Result<()> {
    let micros = i64::try_from(kept.boot.since.as_micros()).unwrap_or(i64::MAX);
    let boot = kept.boot.boot.unwrap_or(0) as i64;
    let values = [kept.now.0, kept.wall.0, boot, micros];
    let mut put = conn.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?;
    for (name, value) in NAMES
        .into_iter()
        .zip(values.into_iter().chain([sum(values)]))
    {
        put.execute((name, value))?;
    }
    Ok(())
}

fn sum(values: [i64; 4]) -> i64 {
    crc32fast::hash(values.map(i64::to_le_bytes).as_flattened()).into()
}

/// The counters in the order of [`NAMES`]; `None` where there is none of them.
fn found(conn: &Connection) -> rusqlite::Result<Option<[Option<Value>; 5]>> {
    let mut get = conn.prepare_cached("SELECT value FROM counters WHERE name = ?1")?;
    let mut found = [const { None }; 5];
    for (value, name) in found.iter_mut().zip(NAMES) {
        *value = get.query_row([name], |row| row.get(0)).optional()?;
    }
    Ok(found.iter().any(Option::is_some).then_some(found))
}

fn parse(found: &[Option<Value>; 5]) -> Result<KeptTime, ReadError> {
    let integer = |n: usize| match &found[n] {
        Some(Value::Integer(value)) => Some(*value),
        _ => None,
    };
    let values = (|| Some([integer(0)?, integer(1)?, integer(2)?, integer(3)?]))();
    let Some(values) = values.filter(|values| integer(4) == Some(sum(*values))) else {
        return Err(ReadError::Failed {
            reason: "the time that queue.db keeps does not add up".to_owned(),
        });
    };
    let [now, wall, boot, micros] = values;
    Ok(KeptTime {
        now: QueueTime(now),
        wall: Wall(wall),
        boot: BootTime {
            boot: (boot != 0).then_some(boot as u64),
            since: Duration::from_micros(u64::try_from(micros).unwrap_or(0)),
        },
    })
}
