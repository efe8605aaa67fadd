//! How both databases are opened.

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::{path::Path, time::Duration};

/// Pages of the log after which it is folded into the database (4 MiB).
const CHECKPOINT_PAGES: u32 = 1000;
/// The log is cut back to this size after a checkpoint.
const WAL_BYTES_MAX: u32 = 64 << 20;
/// Page cache of one connection, KiB (negative in SQLite's notation).
const CACHE_KIB: i32 = -2048;
/// Wait for a lock that another connection holds; only checkpoints and recovery take one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The one writing connection: makes the file and its tables, after `complete` has seen to tables
/// of an earlier build.
pub(crate) fn open_writer(
    path: &Path,
    schema: &str,
    complete: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<Connection> {
    let mut conn = open(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)?;
    // One that reads before it writes hears at once that the lock is held, whatever the timeout: by
    // a reader that met a commit, say, for a moment.
    conn.set_transaction_behavior(TransactionBehavior::Immediate);
    complete(&conn)?;
    conn.execute_batch(schema)?;
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS counters (
             name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
    )?;
    Ok(conn)
}

/// A connection that only reads. It may write the index of the log, which SQLite needs to read.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open(path, OpenFlags::empty())?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// A connection to an empty file that gets the pages of another database. What it writes is read
/// again at once and then removed: nothing of it has to survive anything.
pub(crate) fn open_copy(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    conn.pragma_update(None, "journal_mode", "OFF")?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    Ok(conn)
}

fn open(path: &Path, more: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "cache_size", CACHE_KIB)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(48);
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        thread,
    };

    /// A reader that meets a commit locks out writers for a moment, and nobody waits for a lock
    /// amid a transaction that has read.
    #[test]
    fn a_writer_that_reads_first_waits_for_readers() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("it.db");
        let schema = "CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY, v INTEGER)";
        let mut writer = open_writer(&path, schema, |_| Ok(())).expect("opened");
        writer
            .pragma_update(None, "synchronous", "OFF")
            .expect("set");
        let done = AtomicBool::new(false);
        let (path, done) = (&path, &done);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    let reader = open_reader(path).expect("opened");
                    while !done.load(Relaxed) {
                        let count = "SELECT COUNT(*) FROM rows";
                        let count = reader.query_row(count, [], |row| row.get::<_, i64>(0));
                        count.expect("counted");
                    }
                });
            }
            let written = (0..20_000).try_for_each(|n| {
                let on = writer.transaction()?;
                on.query_row("SELECT COUNT(*) FROM rows WHERE n = ?1", [n % 64], |_| {
                    Ok(())
                })?;
                on.execute("INSERT OR REPLACE INTO rows VALUES (?1, ?2)", [n % 64, n])?;
                on.commit()
            });
            done.store(true, Relaxed);
            assert_eq!(written, Ok(()));
        });
    }
}
