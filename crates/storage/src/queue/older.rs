//! Tables that a build before the first release made: the format's number is the same, columns are
//! missing. Added in place, in one transaction.

use super::{decode, encode, function_column};
use freehold_domain::record::{EventEnd, EventV1};
use rusqlite::Connection;

/// Brings the tables to what [`super::SCHEMA`] makes where there are none.
pub(crate) fn complete(conn: &Connection) -> rusqlite::Result<()> {
    let column: i64 = conn.query_row(
        "SELECT COUNT(*) FROM pragma_table_info('events') WHERE name = 'interrupted'",
        [],
        |row| row.get(0),
    )?;
    let tables: i64 = conn.query_row(
        "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'events'",
        [],
        |row| row.get(0),
    )?;
    if column > 0 || tables == 0 {
        return Ok(());
    }
    tracing::info!("adding to queue.db what an earlier build did not keep");
    let transaction = conn.unchecked_transaction()?;
    transaction.execute_batch(
        "DROP INDEX IF EXISTS events_by_tenant;
         DROP INDEX IF EXISTS ended_by_time;
         ALTER TABLE events ADD COLUMN function TEXT NOT NULL DEFAULT '';
         ALTER TABLE events ADD COLUMN interrupted INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE ended ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;",
    )?;
    let functions: Vec<(Vec<u8>, String)> = transaction
        .prepare("SELECT id, event FROM events")?
        .query_map([], |row| {
            // One that does not read keeps its empty function; its claim says what is wrong.
            let event = decode::<EventV1>(&row.get::<_, Vec<u8>>(1)?);
            let function = event.map(|event| function_column(&event.function));
            Ok((row.get(0)?, function.unwrap_or_default()))
        })?
        .collect::<Result<_, _>>()?;
    for (id, function) in functions {
        transaction.execute(
            "UPDATE events SET function = ?2 WHERE id = ?1",
            (id, function),
        )?;
    }
    transaction.execute(
        "UPDATE ended SET dead = 1 WHERE end <> ?1",
        [encode(&EventEnd::Done)],
    )?;
    transaction.commit()
}
