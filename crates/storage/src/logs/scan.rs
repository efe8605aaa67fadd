//! What the files tell an index: all heads for a new one, those above a number for one that is
//! believed.

use super::{
    header,
    index::{self, NewRow, Told},
    recover::{Fault, at},
};
use rusqlite::Connection;
use std::{fs, io, path::Path};

/// Rows of one transaction.
const BATCH: usize = 10_000;

/// The files that an index is made of.
pub(super) struct Files<'a> {
    /// Where they are.
    pub(super) dir: &'a Path,
    /// Threads that will list.
    pub(super) lists: usize,
    /// Whether it has to know the file of this number: others are told to it later.
    pub(super) is_known: &'a (dyn Fn(u64) -> bool + Sync),
    /// Below it all are to be known; `None` for all there are.
    pub(super) floor: Option<u64>,
    /// Whether it is still wanted.
    pub(super) goes_on: &'a (dyn Fn() -> bool + Sync),
}

/// Carries out the removals that were cut short, adds the files from number `indexed` on, and
/// looks how long those are that were open. The first number that is free.
pub(super) fn complete(files: &Files<'_>, conn: &Connection, indexed: u64) -> Result<u64, Fault> {
    let dir = files.dir;
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
        let foreign =
            |file: &Path| tracing::warn!(file = %file.display(), "not a log stream; left alone");
        for number in numbers_in(dir, &folder, foreign).map_err(at(&folder))? {
            if !(files.goes_on)() {
                return Err(Fault::Stopped);
            }
            next = next.max(number + 1);
            if number < indexed || !(files.is_known)(number) {
                continue;
            }
            let path = super::path(dir, number);
            match header::read(&path) {
                Ok(Some(head)) => batch.push((number, head)),
                // Killed within the very write that made it: it never held a line.
                Ok(None) => tracing::warn!(file = %path.display(), "not a log stream; left alone"),
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path)(error)),
            }
            if batch.len() >= BATCH {
                add(dir, conn, &mut batch)?;
            }
        }
    }
    add(dir, conn, &mut batch)?;
    index::raise(conn, files.floor.unwrap_or(next))?;
    measure(dir, conn)?;
    Ok(next)
}

/// The numbers of the files in a folder; what has none is `foreign`.
pub(super) fn numbers_in(
    dir: &Path,
    folder: &Path,
    foreign: impl Fn(&Path),
) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        files => files?,
    };
    for file in files {
        let path = file?.path();
        match super::file_number(&path).filter(|n| super::path(dir, *n) == path) {
            Some(number) => numbers.push(number),
            None => foreign(&path),
        }
    }
    Ok(numbers)
}

/// Adds rows for streams that nobody has read.
fn add(
    dir: &Path,
    conn: &Connection,
    batch: &mut Vec<(u64, header::Head)>,
) -> rusqlite::Result<()> {
    let on = conn.unchecked_transaction()?;
    for (number, head) in batch.drain(..) {
        index::put(&on, dir, &unread(number, &head))?;
    }
    on.commit()
}

/// The row of a stream that nobody has read.
pub(super) fn unread(number: u64, head: &header::Head) -> NewRow<'_> {
    NewRow {
        number,
        name: &head.name,
        created: head.created,
        head: head.len,
        told: Told::Size(head.file_len.saturating_sub(head.len)),
    }
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
