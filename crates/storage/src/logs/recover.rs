//! How the index is found at start: believed and completed with what came after its last row, or
//! made again from the heads of all files.
//!
//! It is believed when the lock file vouches for its token ([`Stamp`]): no release that keeps no
//! index had the folder since, no crash fell between a line and a row that it contradicts, and it
//! is no copy of another day. One that can neither be read nor made is kept in memory. What it contains is not read for that; damage inside is met later,
//! and leads here at the next start.

use super::{
    header,
    index::{self, INDEXED, Index, NewRow, SCHEMA, TOKEN, Told, VERSION},
};
use crate::{
    sql,
    stamp::Stamp,
    storage::{OpenError, database, files},
};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, OptionalExtension};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Rows of one transaction.
const BATCH: usize = 10_000;

/// The index, ready for use.
pub(super) struct Recovered {
    pub(super) index: Index,
    /// No file has this number or a higher one.
    pub(super) next: u64,
    /// `None` for one in memory, which nobody vouches for.
    pub(super) token: Option<u64>,
}

/// Why an index is not used.
enum Fault {
    /// It is made again.
    Unusable(String),
    Sql(rusqlite::Error),
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
    fn into_open_error(self, index: &Path) -> OpenError {
        match self {
            Self::Unusable(reason) => OpenError::Database {
                path: index.to_owned(),
                source: reason.into(),
            },
            Self::Sql(error) => database(index)(error),
            Self::Files(path, error) => files(path)(error),
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Fault {
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
    let opened = match believe(dir, path, stamp) {
        Err(Fault::Unusable(reason)) => make(dir, path, stamp, &reason),
        believed => believed,
    };
    let fault = match opened {
        Ok((conn, next, token)) => {
            let index = Index::new(path, conn, lists).map_err(database(path))?;
            let token = Some(token);
            return Ok(Recovered { index, next, token });
        }
        Err(fault) => fault.into_open_error(path),
    };
    // What is derived keeps nobody from starting, on a disk, say, that the logs themselves have filled.
    tracing::error!(
        error = &fault as &dyn std::error::Error,
        "the index of the log streams cannot be used; it is kept in memory until the next start"
    );
    if let Err(error) = stamp.clear() {
        tracing::warn!(%error, "the lock file could not be written");
    }
    let in_memory = Path::new(":memory:");
    let conn = open_database(in_memory).map_err(database(in_memory))?;
    let next = complete(dir, &conn, 0).map_err(|fault| fault.into_open_error(in_memory))?;
    Ok(Recovered {
        index: Index::in_memory(path, conn),
        next,
        token: None,
    })
}

type Opened = (Connection, u64, u64);

/// Uses the index that is there.
fn believe(dir: &Path, path: &Path, stamp: &Stamp) -> Result<Opened, Fault> {
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
    let next = complete(dir, &conn, indexed)?;
    Ok((conn, next, vouched))
}

/// Makes the index from the files.
fn make(dir: &Path, path: &Path, stamp: &Stamp, reason: &str) -> Result<Opened, Fault> {
    stamp.clear().map_err(at(dir))?;
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
    let next = complete(dir, &conn, 0)?;
    let mut token = [0; 8];
    SystemRandom::new()
        .fill(&mut token)
        .map_err(|_| at(dir)(io::Error::other("the system gives no random bytes")))?;
    let token = u64::from_le_bytes(token);
    conn.pragma_update(None, "user_version", VERSION)?;
    conn.execute(
        "INSERT OR REPLACE INTO counters (name, value) VALUES (?1, ?2)",
        (TOKEN, token as i64),
    )?;
    index::fold(&conn)?;
    stamp.set(token).map_err(at(dir))?;
    if next > 1 {
        tracing::info!(
            reason,
            streams = next - 1,
            "the index of the log streams was made again from their files"
        );
    }
    Ok((conn, next, token))
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

/// Carries out the removals that were cut short, adds the files from number `indexed` on, and
/// looks how long those are that were open. The first number that is free.
fn complete(dir: &Path, conn: &Connection, indexed: u64) -> Result<u64, Fault> {
    let mut removing = conn.prepare("SELECT number FROM removing")?;
    let removing = removing.query_map([], |row| Ok(row.get::<_, i64>(0)? as u64))?;
    for number in removing {
        let path = super::path(dir, number?);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
            _ => {}
        }
    }
    conn.execute("DELETE FROM removing", [])?;
    let mut next = indexed.max(1);
    let mut batch = Vec::new();
    for folder in fs::read_dir(dir).map_err(at(dir))? {
        let folder = folder.map_err(at(dir))?.path();
        let known = super::folder_number(&folder)
            .is_some_and(|number| number < indexed / super::FILES_PER_FOLDER);
        if known {
            continue;
        }
        for file in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = file.map_err(at(&folder))?.path();
            let number = super::file_number(&path).filter(|n| super::path(dir, *n) == path);
            let Some(number) = number else {
                tracing::warn!(file = %path.display(), "not a log stream; left alone");
                continue;
            };
            next = next.max(number + 1);
            if number < indexed {
                continue;
            }
            match header::read(&path).map_err(at(&path))? {
                Some(head) => batch.push((number, head)),
                // Killed within the very write that made it: it never held a line.
                None => tracing::warn!(file = %path.display(), "not a log stream; left alone"),
            }
            if batch.len() >= BATCH {
                add(conn, &mut batch)?;
            }
        }
    }
    add(conn, &mut batch)?;
    index::raise(conn, next)?;
    measure(dir, conn)?;
    Ok(next)
}

/// Adds rows for streams that nobody has read.
fn add(conn: &Connection, batch: &mut Vec<(u64, header::Head)>) -> rusqlite::Result<()> {
    let on = conn.unchecked_transaction()?;
    for (number, head) in batch.drain(..) {
        if let Some(other) = index::number_of(&on, &head.name)?.filter(|other| *other > number) {
            tracing::warn!(
                number,
                other,
                "two files of one log stream; the newer one counts"
            );
            continue;
        }
        index::put(
            &on,
            &NewRow {
                number,
                name: &head.name,
                created: head.created,
                head: head.len,
                told: Told::Size(head.file_len.saturating_sub(head.len)),
            },
        )?;
    }
    on.commit()
}

/// Notes the length of files that were open when their process ended.
fn measure(dir: &Path, conn: &Connection) -> Result<(), Fault> {
    let mut open = conn.prepare("SELECT number, head FROM streams WHERE size IS NULL")?;
    let open = open
        .query_map([], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let on = conn.unchecked_transaction()?;
    for (number, head) in open {
        let path = super::path(dir, number);
        let done = match fs::metadata(&path) {
            Ok(file) => on.execute(
                "UPDATE streams SET size = ?2 WHERE number = ?1",
                (number as i64, file.len().saturating_sub(head) as i64),
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                on.execute("DELETE FROM streams WHERE number = ?1", [number as i64])
            }
            Err(error) => return Err(at(&path)(error)),
        };
        done?;
    }
    Ok(on.commit()?)
}
