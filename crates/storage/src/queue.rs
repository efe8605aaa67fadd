//! The durable queue in SQLite: one row per open event, one per ended event.
//!
//! ```text
//! add ─▶ waiting ─claim▶ running ─end▶ ended (done | dead) ─▶ forgotten
//!           ▲              │
//!           └──── retry ───┘   a lease that ran out is due again without a word
//! ```
//!
//! A claim belongs to the process that took it: opening the store, which one process alone can,
//! makes every running event due again. A row that does not read as an event ends as dead: it must
//! not keep everybody else's events from being claimed.

mod claim;
mod forget;
mod older;
mod pick;
mod settle;
mod time;

pub(crate) use claim::claim;
pub(crate) use forget::forget;
pub(crate) use older::complete;
pub(crate) use pick::Rotation;
pub(crate) use settle::apply;
pub(crate) use time::{resume_time, time_kept};

use crate::failure::{may_read, read_failed};
use freehold_domain::{
    FunctionRef, InvocationId, Principal, QueueTime, TenantId,
    ports::{EventCounts, EventState, ReadError},
    record::{EventEnd, EventV1},
};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS events (
    id          BLOB PRIMARY KEY,
    tenant      TEXT NOT NULL,
    function    TEXT NOT NULL,
    running     INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    interrupted INTEGER NOT NULL DEFAULT 0,
    event       BLOB NOT NULL,
    body        BLOB NOT NULL,
    last_error  TEXT
);
CREATE INDEX IF NOT EXISTS events_in_turn ON events (tenant, due, id, function);
CREATE INDEX IF NOT EXISTS events_by_function ON events (tenant, function, due, id);
CREATE INDEX IF NOT EXISTS events_by_due ON events (due);
CREATE INDEX IF NOT EXISTS events_running ON events (id) WHERE running = 1;
CREATE TABLE IF NOT EXISTS ended (
    id       BLOB PRIMARY KEY,
    tenant   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    dead     INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    event    BLOB NOT NULL,
    end      BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS ended_by_age ON ended (dead, at);
";

/// The version of an event's shape that this code writes.
const EVENT_VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    v: u16,
    r: T,
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let envelope = Envelope {
        v: EVENT_VERSION,
        r: value,
    };
    serde_json::to_vec(&envelope).expect("events have string keys and no failing serializers")
}

fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, ReadError> {
    let failed = |reason: String| ReadError::Failed {
        reason: format!("a row of queue.db does not read as its shape: {reason}"),
    };
    let envelope: Envelope<T> =
        serde_json::from_slice(bytes).map_err(|error| failed(error.to_string()))?;
    if envelope.v != EVENT_VERSION {
        return Err(failed(format!(
            "version {}, this release reads {EVENT_VERSION}",
            envelope.v
        )));
    }
    Ok(envelope.r)
}

/// Adds to the counters that make counts exact at every moment.
fn count(conn: &Connection, changes: &[(&str, i64)]) -> rusqlite::Result<()> {
    let mut add = conn.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
    )?;
    for change in changes {
        add.execute(*change)?;
    }
    Ok(())
}

/// Makes what an earlier process held due again, at `past` or before. An attempt that its end cut short is not one of
/// the event's tries: three kills would else lose an event that no function has seen to its end.
/// It is counted apart, so that an event that brings the platform down each time can be given up.
pub(crate) fn release_claims(conn: &Connection, past: QueueTime) -> rusqlite::Result<usize> {
    let transaction = conn.unchecked_transaction()?;
    let released = transaction.execute(
        "UPDATE events SET running = 0, due = MIN(due, ?1), attempts = MAX(attempts - 1, 0),
             interrupted = interrupted + 1
         WHERE running = 1",
        [past.0],
    )?;
    let moved = released as i64;
    count(&transaction, &[("running", -moved), ("waiting", moved)])?;
    transaction.commit()?;
    Ok(released)
}

/// When the next event is due or its lease ends.
pub(crate) fn next_due(conn: &Connection) -> Result<Option<QueueTime>, ReadError> {
    let due: Option<i64> = conn
        .prepare_cached("SELECT MIN(due) FROM events")
        .and_then(|mut next| next.query_row([], |row| row.get(0)))
        .map_err(|error| read_failed(&error))?;
    Ok(due.map(QueueTime))
}

/// What the counters say.
pub(crate) fn counts(conn: &Connection) -> Result<EventCounts, ReadError> {
    let mut counts = EventCounts::default();
    let rows: rusqlite::Result<Vec<(String, i64)>> = (|| {
        let mut all = conn.prepare_cached("SELECT name, value FROM counters")?;
        all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })();
    for (name, value) in rows.map_err(|error| read_failed(&error))? {
        let value = value as u64;
        match name.as_str() {
            "accepted" => counts.accepted = value,
            "waiting" => counts.waiting = value,
            "running" => counts.running = value,
            "done" => counts.done = value,
            "dead" => counts.dead = value,
            _ => {}
        }
    }
    Ok(counts)
}

/// What became of one event.
pub(crate) fn state(
    conn: &Connection,
    who: &Principal,
    id: InvocationId,
) -> Result<Option<EventState>, ReadError> {
    let open = conn
        .prepare_cached(
            "SELECT tenant, running, due, epoch, attempts, last_error FROM events WHERE id = ?1",
        )
        .and_then(|mut get| {
            get.query_row([id.0.as_bytes()], |row| {
                let (due, epoch): (i64, i64) = (row.get(2)?, row.get(3)?);
                let state = if row.get(1)? {
                    EventState::Running {
                        lease_until: QueueTime(due),
                        attempts: row.get(4)?,
                        epoch: epoch as u64,
                    }
                } else {
                    EventState::Waiting {
                        due: QueueTime(due),
                        attempts: row.get(4)?,
                        last_error: row.get(5)?,
                    }
                };
                Ok((row.get::<_, String>(0)?, state))
            })
            .optional()
        })
        .map_err(|error| read_failed(&error))?;
    if let Some((tenant, state)) = open {
        may_read(who, &owner(&tenant)?)?;
        return Ok(Some(state));
    }
    let ended: Option<(String, i64, u32, Vec<u8>)> = conn
        .prepare_cached("SELECT tenant, at, attempts, end FROM ended WHERE id = ?1")
        .and_then(|mut get| {
            get.query_row([id.0.as_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()
        })
        .map_err(|error| read_failed(&error))?;
    let Some((tenant, at, attempts, end)) = ended else {
        return Ok(None);
    };
    may_read(who, &owner(&tenant)?)?;
    Ok(Some(EventState::Ended {
        end: decode::<EventEnd>(&end)?,
        at: QueueTime(at),
        attempts,
    }))
}

fn owner(tenant: &str) -> Result<TenantId, ReadError> {
    tenant.parse().map_err(|error| ReadError::Failed {
        reason: format!("a row of queue.db has no owner: {error}"),
    })
}

/// A function of a tenant, as its column has it.
fn function_column(function: &FunctionRef) -> String {
    format!("{}/{}", function.region, function.name)
}

/// The stored event with its attempts as the row counts them.
fn event(bytes: &[u8], attempts: u32) -> Result<EventV1, ReadError> {
    Ok(EventV1 {
        attempts,
        ..decode(bytes)?
    })
}
