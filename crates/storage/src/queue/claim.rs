//! Taking due events, round-robin by tenant, without reading more rows than are taken.

use super::{count, event};
use crate::failure::{Health, write_failed};
use freehold_domain::{
    Wall,
    ports::{Claim, CommitError, ReadError},
    record::ClaimedEvent,
};
use parking_lot::Mutex;
use rusqlite::Connection;

/// Events of one claim, whatever its caller asks for: bounds the transaction and the memory.
const CLAIM_EVENTS_MAX: usize = 256;

/// The tenant that was served last; the next claim begins after it.
#[derive(Default)]
pub(crate) struct Rotation(Mutex<String>);

/// Takes what `claim` asks for.
pub(crate) fn claim(
    conn: &Connection,
    health: &Health,
    rotation: &Rotation,
    claim: &Claim,
) -> Result<Vec<ClaimedEvent>, CommitError> {
    let failed = |error: rusqlite::Error| write_failed(health, &error);
    let mut served = rotation.0.lock();
    let ids = pick(conn, &served, claim).map_err(failed)?;
    let mut claimed = Vec::with_capacity(ids.len());
    for (tenant, id) in ids {
        claimed.push(take(conn, health, &id, claim.now + claim.lease)?);
        *served = tenant;
    }
    Ok(claimed)
}

/// Whose events to take, in order: one of each tenant in turn, oldest first.
fn pick(
    conn: &Connection,
    served: &str,
    claim: &Claim,
) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let limit = claim.limit.min(CLAIM_EVENTS_MAX);
    let mut lanes = Vec::new();
    let mut tenants = tenants(conn)?;
    let first = tenants
        .iter()
        .position(|tenant| tenant.as_str() > served)
        .unwrap_or(0);
    tenants.rotate_left(first);
    let room = |tenant: &String| tenant.parse().map_or(0, |tenant| claim.room(&tenant));
    tenants.retain(|tenant| room(tenant) > 0);
    // No lane can give more than `limit`, and with many tenants each gives few: `share` grows
    // only when others came up short.
    let mut share = limit.div_ceil(tenants.len().max(1));
    loop {
        lanes.clear();
        let mut found = 0;
        for tenant in &tenants {
            if found >= limit && share == 1 {
                break;
            }
            let mut due = conn.prepare_cached(
                "SELECT id FROM events WHERE tenant = ?1 AND due <= ?2
                 ORDER BY due, id LIMIT ?3",
            )?;
            let ids: Vec<Vec<u8>> = due
                .query_map(
                    (tenant, claim.now.0, share.min(room(tenant)) as i64),
                    |row| row.get(0),
                )?
                .collect::<Result<_, _>>()?;
            found += ids.len();
            if !ids.is_empty() {
                lanes.push((tenant.clone(), ids.into_iter()));
            }
        }
        let short = lanes.iter().all(|(_, ids)| ids.len() < share);
        if found >= limit || short || share >= limit {
            break;
        }
        // Tenants without anything due give their turn to the others.
        tenants = lanes.iter().map(|(tenant, _)| tenant.clone()).collect();
        share = limit;
    }
    let mut picked = Vec::new();
    while picked.len() < limit && !lanes.is_empty() {
        lanes.retain_mut(|(tenant, ids)| {
            let Some(id) = ids.next() else { return false };
            if picked.len() < limit {
                picked.push((tenant.clone(), id));
            }
            true
        });
    }
    Ok(picked)
}

/// Every tenant with open events, found by leaping over the index, not by reading it.
fn tenants(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut leap = conn.prepare_cached(
        "WITH RECURSIVE owner (tenant) AS (
             SELECT MIN(tenant) FROM events
             UNION ALL
             SELECT (SELECT MIN(tenant) FROM events WHERE tenant > owner.tenant)
             FROM owner WHERE owner.tenant IS NOT NULL
         )
         SELECT tenant FROM owner WHERE tenant IS NOT NULL",
    )?;
    leap.query_map([], |row| row.get(0))?.collect()
}

fn take(
    conn: &Connection,
    health: &Health,
    id: &[u8],
    lease_until: Wall,
) -> Result<ClaimedEvent, CommitError> {
    let failed = |error: rusqlite::Error| write_failed(health, &error);
    let (was_running, epoch, attempts, bytes, body): (bool, i64, u32, Vec<u8>, Vec<u8>) = conn
        .prepare_cached("SELECT running, epoch, attempts, event, body FROM events WHERE id = ?1")
        .and_then(|mut get| {
            get.query_row([id], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            })
        })
        .map_err(failed)?;
    conn.prepare_cached(
        "UPDATE events SET running = 1, due = ?2, epoch = epoch + 1, attempts = attempts + 1
         WHERE id = ?1",
    )
    .and_then(|mut update| update.execute((id, lease_until.0)))
    .map_err(failed)?;
    if !was_running {
        count(conn, &[("waiting", -1), ("running", 1)]).map_err(failed)?;
    }
    let event = event(&bytes, attempts + 1).map_err(|error| match error {
        ReadError::Failed { reason } => CommitError::Failed { reason },
        ReadError::Denied { who, tenant } => CommitError::Denied { who, tenant },
    })?;
    Ok(ClaimedEvent {
        event,
        body: body.into(),
        epoch: (epoch + 1) as u64,
    })
}
