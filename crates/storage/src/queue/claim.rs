//! Taking due events: the ones that [`pick`] names are leased, read and handed out.

use super::{
    count, encode, event,
    pick::{Rotation, pick},
};
use crate::failure::{Health, write_failed};
use freehold_domain::{
    InvocationId, QueueTime,
    ports::{Claim, CommitError, ReadError},
    record::{ClaimedEvent, EventEnd},
};
use rusqlite::Connection;
use std::time::Duration;
use uuid::Uuid;

/// Takes what `claim` asks for.
pub(crate) fn claim(
    conn: &Connection,
    health: &Health,
    rotation: &Rotation,
    claim: &Claim,
) -> Result<Vec<ClaimedEvent>, CommitError> {
    let failed = |error: rusqlite::Error| write_failed(health, &error);
    let mut served = rotation.0.lock();
    if !claim.slept.is_zero() {
        prolong(conn, claim.slept).map_err(failed)?;
    }
    let ids = pick(conn, &served, claim).map_err(failed)?;
    let mut claimed = Vec::with_capacity(ids.len());
    for (tenant, id) in ids {
        claimed.extend(take(conn, claim, &id).map_err(failed)?);
        *served = tenant;
    }
    Ok(claimed)
}

/// Makes every lease end later.
fn prolong(conn: &Connection, by: Duration) -> rusqlite::Result<()> {
    let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    conn.prepare_cached("UPDATE events SET due = due + ?1 WHERE running = 1")?
        .execute([by])
        .map(drop)
}

/// Leases one event; `None` for a row that does not read as one, which ends here: left in place it
/// would fail every claim that meets it, for everybody.
fn take(conn: &Connection, claim: &Claim, id: &[u8]) -> rusqlite::Result<Option<ClaimedEvent>> {
    let mut get = conn.prepare_cached(
        "SELECT running, epoch, attempts, interrupted, event, body FROM events WHERE id = ?1",
    )?;
    let (was_running, epoch, attempts, interrupted): (bool, i64, u32, u32);
    let (bytes, body): (Vec<u8>, Vec<u8>);
    (was_running, epoch, attempts, interrupted, bytes, body) = get.query_row([id], |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
        ))
    })?;
    let event = match event(&bytes, attempts + 1) {
        Ok(event) => event,
        Err(error) => {
            give_up(conn, id, was_running, claim.now, &error)?;
            return Ok(None);
        }
    };
    conn.prepare_cached(
        "UPDATE events SET running = 1, due = ?2, epoch = epoch + 1, attempts = attempts + 1
         WHERE id = ?1",
    )?
    .execute((id, (claim.now + claim.lease).0))?;
    if !was_running {
        count(conn, &[("waiting", -1), ("running", 1)])?;
    }
    Ok(Some(ClaimedEvent {
        event,
        body: body.into(),
        epoch: (epoch + 1) as u64,
        interrupted,
    }))
}

fn give_up(
    conn: &Connection,
    id: &[u8],
    was_running: bool,
    at: QueueTime,
    error: &ReadError,
) -> rusqlite::Result<()> {
    let name = Uuid::from_slice(id).map(InvocationId);
    let name = name.map_or_else(|_| format!("{id:?}"), |id| id.to_string());
    tracing::error!(id = name, %error, "an event cannot be read and is given up");
    let end = EventEnd::Dead {
        reason: "Unreadable".to_owned(),
        last_error: Some(error.to_string()),
    };
    conn.prepare_cached(
        "INSERT INTO ended (id, tenant, at, dead, attempts, event, end)
         SELECT id, tenant, ?2, 1, attempts, event, ?3 FROM events WHERE id = ?1",
    )?
    .execute((id, at.0, encode(&end)))?;
    conn.prepare_cached("DELETE FROM events WHERE id = ?1")?
        .execute([id])?;
    let was = if was_running { "running" } else { "waiting" };
    count(conn, &[(was, -1), ("dead", 1)])
}
