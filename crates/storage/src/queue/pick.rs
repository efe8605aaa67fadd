//! Whose events are taken next: round-robin by tenant, oldest first within one, nothing of a
//! tenant or a function that has no room. Reads indexes alone, and not past what it takes.

use super::function_column;
use freehold_domain::{QueueTime, ports::Claim};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::collections::HashMap;

/// Events of one claim, whatever its caller asks for: bounds the transaction and the memory.
const CLAIM_EVENTS_MAX: usize = 256;

/// The tenant that was served last; the next claim begins after it.
#[derive(Default)]
pub(crate) struct Rotation(pub(super) Mutex<String>);

/// How many more events each function takes.
struct Rooms {
    per_function: usize,
    held: HashMap<(String, String), usize>,
}

impl Rooms {
    fn of(claim: &Claim) -> Self {
        let held = claim.held_of_functions.iter().map(|(function, n)| {
            let tenant = function.tenant.as_str().to_owned();
            ((tenant, function_column(function)), *n)
        });
        Self {
            per_function: claim.per_function,
            held: held.collect(),
        }
    }

    fn room(&self, tenant: &str, function: &str) -> usize {
        let key = (tenant.to_owned(), function.to_owned());
        let held = self.held.get(&key).copied().unwrap_or(0);
        self.per_function.saturating_sub(held)
    }
}

/// Whose events to take, in order: one of each tenant in turn, oldest first.
pub(super) fn pick(
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
    let rooms = Rooms::of(claim);
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
            let ids = lane(conn, &rooms, tenant, claim.now, share.min(room(tenant)))?;
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

/// Up to `limit` due events of one tenant, oldest first, none that its function has no room for.
fn lane(
    conn: &Connection,
    rooms: &Rooms,
    tenant: &str,
    now: QueueTime,
    limit: usize,
) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut due = conn.prepare_cached(
        "SELECT id, function FROM events WHERE tenant = ?1 AND due <= ?2
         ORDER BY due, id LIMIT ?3",
    )?;
    let oldest: Vec<(Vec<u8>, String)> = due
        .query_map((tenant, now.0, limit as i64), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let fits = oldest.iter().all(|(_, function)| {
        let taken = taken.entry(function).or_default();
        *taken += 1;
        *taken <= rooms.room(tenant, function)
    });
    if fits {
        return Ok(oldest.into_iter().map(|(id, _)| id).collect());
    }
    // A function's backlog may be as long as the disk; the others are found around it.
    let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut due = conn.prepare_cached(
        "SELECT due, id FROM events WHERE tenant = ?1 AND function = ?2 AND due <= ?3
         ORDER BY due, id LIMIT ?4",
    )?;
    for function in functions(conn, tenant)? {
        let room = rooms.room(tenant, &function).min(limit);
        if room == 0 {
            continue;
        }
        let rows = due.query_map((tenant, function, now.0, room as i64), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_unstable();
    found.truncate(limit);
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Every function of a tenant with open events, found as [`tenants`] are.
fn functions(conn: &Connection, tenant: &str) -> rusqlite::Result<Vec<String>> {
    let mut leap = conn.prepare_cached(
        "WITH RECURSIVE of (function) AS (
             SELECT MIN(function) FROM events WHERE tenant = ?1
             UNION ALL
             SELECT (SELECT MIN(function) FROM events
                     WHERE tenant = ?1 AND function > of.function)
             FROM of WHERE of.function IS NOT NULL
         )
         SELECT function FROM of WHERE function IS NOT NULL",
    )?;
    leap.query_map([tenant], |row| row.get(0))?.collect()
}
