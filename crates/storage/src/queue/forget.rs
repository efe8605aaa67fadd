//! Forgetting what became of events that ended long ago. Counts stay: they are kept apart.

use crate::failure::{Health, write_failed};
use freehold_domain::ports::{CommitError, EndedBefore};
use rusqlite::Connection;

/// Rows of one transaction, whatever its caller asks for: it shares the writer with the queue.
const FORGET_MAX: usize = 4096;

/// Removes at most `limit` rows of ended events; how many.
pub(crate) fn forget(
    conn: &Connection,
    health: &Health,
    ended: EndedBefore,
    limit: usize,
) -> Result<u64, CommitError> {
    let limit = limit.min(FORGET_MAX);
    let mut forgotten = 0;
    for (dead, before) in [(false, ended.done), (true, ended.dead)] {
        forgotten += conn
            .prepare_cached(
                "DELETE FROM ended WHERE rowid IN (
                     SELECT rowid FROM ended WHERE dead = ?1 AND at < ?2 ORDER BY at LIMIT ?3)",
            )
            .and_then(|mut delete| delete.execute((dead, before.0, (limit - forgotten) as i64)))
            .map_err(|error| write_failed(health, &error))?;
    }
    Ok(forgotten as u64)
}
