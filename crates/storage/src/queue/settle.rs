//! Adding events, and settling those that are claimed.

use super::{count, encode, function_column, owner, time::keep_time};
use crate::failure::{Health, may_write, platform_writes, write_failed};
use bytes::Bytes;
use freehold_domain::{
    InvocationId, KeptTime, Principal, QueueTime,
    ports::{CommitError, Op},
    record::{EventEnd, EventV1},
};
use rusqlite::{Connection, OptionalExtension};

/// Applies event `ops` in order.
pub(crate) fn apply(
    conn: &Connection,
    health: &Health,
    who: &Principal,
    ops: Vec<Op>,
) -> Result<(), CommitError> {
    let settling = Settling { conn, health, who };
    ops.into_iter().try_for_each(|op| match op {
        Op::EventAdd { event, due, body } => settling.add(&event, due, &body),
        Op::EventRetry {
            id,
            epoch,
            due,
            counts,
            error,
        } => settling.retry(id, epoch, due, counts, error),
        Op::EventEnd { id, epoch, end, at } => settling.end(id, epoch, &end, at),
        Op::EventTime { kept } => settling.keep(&kept),
        Op::Put { .. } | Op::Delete { .. } => Err(CommitError::Mixed),
    })
}

struct Settling<'a> {
    conn: &'a Connection,
    health: &'a Health,
    who: &'a Principal,
}

impl Settling<'_> {
    fn failed(&self, error: &rusqlite::Error) -> CommitError {
        write_failed(self.health, error)
    }

    fn execute(&self, sql: &str, row: impl rusqlite::Params) -> Result<usize, CommitError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(row))
            .map_err(|error| self.failed(&error))
    }

    fn count(&self, changes: &[(&str, i64)]) -> Result<(), CommitError> {
        count(self.conn, changes).map_err(|error| self.failed(&error))
    }

    fn add(&self, event: &EventV1, due: QueueTime, body: &Bytes) -> Result<(), CommitError> {
        let tenant = &event.function.tenant;
        may_write(self.who, tenant)?;
        let id = event.id.0.as_bytes();
        let added = self.execute(
            "INSERT OR IGNORE INTO events
                 (id, tenant, function, running, due, epoch, attempts, event, body)
             SELECT ?1, ?2, ?3, 0, ?4, 0, ?5, ?6, ?7
             WHERE NOT EXISTS (SELECT 1 FROM ended WHERE id = ?1)",
            (
                id,
                tenant.as_str(),
                function_column(&event.function),
                due.0,
                event.attempts,
                encode(event),
                &body[..],
            ),
        )?;
        if added == 0 {
            return Err(CommitError::Failed {
                reason: format!("event {} was accepted before", event.id),
            });
        }
        self.count(&[("accepted", 1), ("waiting", 1)])
    }

    fn keep(&self, kept: &KeptTime) -> Result<(), CommitError> {
        platform_writes(self.who)?;
        keep_time(self.conn, kept).map_err(|error| self.failed(&error))
    }

    /// Errors: [`CommitError::StaleClaim`] unless the event runs under this very epoch.
    fn claimed(&self, id: InvocationId, epoch: u64) -> Result<(), CommitError> {
        let found: Option<(String, bool, i64)> = self
            .conn
            .prepare_cached("SELECT tenant, running, epoch FROM events WHERE id = ?1")
            .and_then(|mut get| {
                get.query_row([id.0.as_bytes()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
            })
            .map_err(|error| self.failed(&error))?;
        let stale = CommitError::StaleClaim { id, epoch };
        let Some((tenant, running, held)) = found else {
            return Err(stale);
        };
        let tenant = owner(&tenant).map_err(|error| CommitError::Failed {
            reason: error.to_string(),
        })?;
        may_write(self.who, &tenant)?;
        if running && held as u64 == epoch {
            return Ok(());
        }
        Err(stale)
    }

    fn retry(
        &self,
        id: InvocationId,
        epoch: u64,
        due: QueueTime,
        counts: bool,
        error: Option<String>,
    ) -> Result<(), CommitError> {
        self.claimed(id, epoch)?;
        self.execute(
            "UPDATE events SET running = 0, due = ?2, attempts = MAX(attempts - ?3, 0),
                 last_error = COALESCE(?4, last_error) WHERE id = ?1",
            (id.0.as_bytes(), due.0, i64::from(!counts), error),
        )?;
        self.count(&[("running", -1), ("waiting", 1)])
    }

    fn end(
        &self,
        id: InvocationId,
        epoch: u64,
        end: &EventEnd,
        at: QueueTime,
    ) -> Result<(), CommitError> {
        self.claimed(id, epoch)?;
        let id = id.0.as_bytes();
        let dead = matches!(end, EventEnd::Dead { .. });
        self.execute(
            "INSERT INTO ended (id, tenant, at, dead, attempts, event, end)
             SELECT id, tenant, ?2, ?3, attempts, event, ?4 FROM events WHERE id = ?1",
            (id, at.0, dead, encode(end)),
        )?;
        self.execute("DELETE FROM events WHERE id = ?1", [id])?;
        let ended = if dead { "dead" } else { "done" };
        self.count(&[("running", -1), (ended, 1)])
    }
}
