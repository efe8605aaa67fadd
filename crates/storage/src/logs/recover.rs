//! How the index is found at start: believed and completed with what came after its last row, or
//! made again from the heads of all files.
//!
//! It is believed when the lock file vouches for its token ([`Stamp`]): no release that keeps no
//! index had the folder since, no crash fell between a line and a row that it contradicts, and it
//! is no copy of another day. What it contains is not read for that; damage inside is met later, and
//! mended then ([`mend`](super::mend)). One that can neither be read nor made is kept in memory, and
//! tried again from time to time.

use super::{
    index::{self, Databases, INDEXED, SCHEMA, TOKEN, VERSION},
    scan::{Files, complete},
};
use crate::{
    open::{OpenError, database, files as files_failed},
    sql,
    stamp::Stamp,
};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, OptionalExtension};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The index, ready for use.
pub(super) struct Recovered {
    pub(super) databases: Databases,
    /// No file that it knows has this number or a higher one.
    pub(super) next: u64,
    /// `None` for one in memory, which nobody vouches for.
    pub(super) token: Option<u64>,
}

/// Why an index is not used.
pub(super) enum Fault {
    /// It is made again.
    Unusable(String),
    /// Nobody wants it any more.
    Stopped,
    /// SQLite failed.
    Sql(rusqlite::Error),
    /// A file does not read.
    Files(PathBuf, io::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        if index::is_damage(&error) {
            return Self::Unusable(error.to_string());
        }
        Self::Sql(error)
    }
}

impl Fault {
    /// As whoever opens the store is told.
    pub(super) fn into_open_error(self, index: &Path) -> OpenError {
        let unusable = |reason: String| OpenError::Database {
            path: index.to_owned(),
            source: reason.into(),
        };
        match self {
            Self::Unusable(reason) => unusable(reason),
            Self::Stopped => unusable("the store is being closed".to_owned()),
            Self::Sql(error) => database(index)(error),
            Self::Files(path, error) => files_failed(path)(error),
        }
    }
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Fault {
    let path = path.to_owned();
    move |error| Fault::Files(path, error)
}

/// Opens the index at `path` of the log files in `dir`, for `lists` threads that list.
pub(super) fn open(
    dir: &Path,
    path: &Path,
    stamp: &Stamp,
    lists: usize,
) -> Result<Recovered, OpenError> {
    let files = Files {
        dir,
        lists,
        is_known: &|_| true,
        floor: None,
        goes_on: &|| true,
    };
    let opened = match believe(&files, path, stamp) {
        Err(Fault::Unusable(reason)) => {
            let made = stamp.clear().map_err(at(dir));
            let made = made.and_then(|()| make(&files, path));
            made.and_then(|made| vouch(made, stamp, &reason).map_err(at(dir)))
        }
        believed => believed,
    };
    let fault = match opened {
        Ok(recovered) => return Ok(recovered),
        Err(fault) => fault.into_open_error(path),
    };
    // What is derived keeps nobody from starting, on a disk, say, that the logs themselves have
    // filled.
    say_kept_in_memory(&fault);
    if let Err(error) = stamp.clear() {
        tracing::warn!(%error, "the lock file could not be written");
    }
    make_in_memory(&files).map_err(|fault| fault.into_open_error(Path::new(IN_MEMORY)))
}

const IN_MEMORY: &str = ":memory:";

/// Says that an index could not be made where it belongs.
pub(super) fn say_kept_in_memory(fault: &OpenError) {
    tracing::error!(
        error = fault as &dyn std::error::Error,
        "the index of the log streams cannot be used; it is kept in memory until it can be made"
    );
}

fn vouch(made: Recovered, stamp: &Stamp, reason: &str) -> io::Result<Recovered> {
    if let Some(token) = made.token {
        stamp.set(token)?;
    }
    if made.next > 1 {
        tracing::info!(
            reason,
            streams = made.next - 1,
            "the index of the log streams was made again from their files"
        );
    }
    Ok(made)
}

/// Uses the index that is there.
fn believe(files: &Files<'_>, path: &Path, stamp: &Stamp) -> Result<Recovered, Fault> {
    let unusable = |reason: &str| Err(Fault::Unusable(reason.to_owned()));
    if !path.exists() {
        return unusable("there is none");
    }
    let Some(vouched) = stamp.read() else {
        return unusable("it is not vouched for");
    };
    let conn = open_database(path)?;
    index::fold(&conn)?;
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != VERSION {
        return unusable("another release wrote it");
    }
    // A file that was cut reads well up to the cut.
    let pages: u64 = conn.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))? as u64;
    let page: u64 = conn.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))? as u64;
    if fs::metadata(path).map_err(at(path))?.len() < pages * page {
        return unusable("it was cut");
    }
    if counter(&conn, TOKEN)? != Some(vouched) {
        return unusable("the folder was used without it");
    }
    let indexed = counter(&conn, INDEXED)?.unwrap_or(0);
    let next = complete(files, &conn, indexed)?;
    Ok(Recovered {
        databases: Databases::at(path, conn, files.lists)?,
        next,
        token: Some(vouched),
    })
}

/// Makes the index from the files, over whatever is at `path`. The caller vouches for it.
pub(super) fn make(files: &Files<'_>, path: &Path) -> Result<Recovered, Fault> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(Path::new(&name))(error));
            }
            _ => {}
        }
    }
    let conn = open_database(path)?;
    let next = complete(files, &conn, 0)?;
    let mut token = [0; 8];
    SystemRandom::new()
        .fill(&mut token)
        .map_err(|_| at(path)(io::Error::other("the system gives no random bytes")))?;
    let token = u64::from_le_bytes(token);
    conn.pragma_update(None, "user_version", VERSION)?;
    conn.execute(
        "INSERT OR REPLACE INTO counters (name, value) VALUES (?1, ?2)",
        (TOKEN, token as i64),
    )?;
    index::fold(&conn)?;
    Ok(Recovered {
        databases: Databases::at(path, conn, files.lists)?,
        next,
        token: Some(token),
    })
}

/// Makes one that does not outlive the process.
pub(super) fn make_in_memory(files: &Files<'_>) -> Result<Recovered, Fault> {
    let conn = open_database(Path::new(IN_MEMORY))?;
    let next = complete(files, &conn, 0)?;
    Ok(Recovered {
        databases: Databases::in_memory(conn),
        next,
        token: None,
    })
}

fn open_database(path: &Path) -> rusqlite::Result<Connection> {
    let conn = sql::open_writer(path, SCHEMA, |_| Ok(()))?;
    // Whole after a power cut, if maybe without its last rows, which the files have.
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(conn)
}

fn counter(conn: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    conn.query_row(
        "SELECT value FROM counters WHERE name = ?1",
        [name],
        |row| Ok(row.get::<_, i64>(0)? as u64),
    )
    .optional()
}
