//! One stream: found in memory or in the index, made where there is none, written and read.

use super::{
    FILES_PER_FOLDER, LogFiles,
    index::{IndexError, Row},
    indexer::Streams,
    making::Turn,
    path,
    stream::Stream,
};
use crate::failure::{file_read_failed, file_write_failed, may_read};
use freehold_domain::{
    Principal,
    logs::{LogLine, LogStreamName},
    ports::{CommitError, LogPage, LogQuery, ReadError},
};
use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// A file that does not open.
struct Unreadable {
    path: PathBuf,
    error: io::Error,
}

/// How often a stream is found anew that its group's removal took away before a line was in it.
const FOUND_AGAIN_MAX: usize = 16;

impl LogFiles {
    pub(super) fn read_failed(&self, error: &IndexError) -> ReadError {
        self.streams.failed(error);
        self.streams.index.read_failed(error)
    }

    pub(super) fn write_failed(&self, error: &IndexError) -> CommitError {
        self.streams.failed(error);
        self.streams.index.write_failed(error)
    }

    /// Brings a stream back that the index knows; `None` when its file is not there any more.
    fn load(&self, name: &LogStreamName, row: &Row) -> Result<Option<Arc<Stream>>, Unreadable> {
        let path = path(&self.dir, row.number);
        let loaded = Stream::load(path.clone(), name, row);
        let loaded = loaded.map_err(|error| Unreadable { path, error })?;
        if loaded.is_none() {
            tracing::warn!(number = row.number, "a log stream has lost its file");
            self.streams.backlog.forget(&[row.number]);
        }
        Ok(loaded.map(Arc::new))
    }

    /// The stream of this name. Whoever is done with it says so with [`used`](Self::used).
    pub(super) fn find(&self, name: &LogStreamName) -> Result<Option<Arc<Stream>>, ReadError> {
        let Streams { held, index, .. } = &*self.streams;
        loop {
            let departures = match held.get(name) {
                Ok(found) => return Ok(Some(found)),
                Err(departures) => departures,
            };
            let row = index.find(name).map_err(|error| self.read_failed(&error))?;
            let loaded = match &row {
                Some(row) => self
                    .load(name, row)
                    .map_err(|it| file_read_failed(&it.path, &it.error))?,
                None => None,
            };
            let Some(stream) = loaded else {
                return Ok(held.get(name).ok());
            };
            let admitted = held.admit(stream, departures);
            if admitted.is_some() {
                return Ok(admitted);
            }
        }
    }

    /// Somebody is done with a stream: it may leave memory, unless lines come.
    pub(super) fn used(&self, stream: &Arc<Stream>) {
        self.streams.let_go(stream);
    }

    /// The stream of this name, made when there is none. An index that does not answer knows
    /// none: lines are not lost for it, and the file that had the name before is listed by another
    /// one ([`put`](super::index::put)).
    fn find_or_make(&self, name: &LogStreamName) -> Result<Arc<Stream>, CommitError> {
        let held = &self.streams.held;
        loop {
            let departures = match held.get(name) {
                Ok(found) => return Ok(found),
                Err(departures) => departures,
            };
            if let Some(row) = self.look_up(name) {
                let loaded = self.load(name, &row);
                let loaded = loaded.map_err(|it| file_write_failed(&it.path, &it.error))?;
                if let Some(stream) = loaded {
                    match held.admit(stream, departures) {
                        Some(stream) => return Ok(stream),
                        None => continue,
                    }
                }
            }
            let Some(turn) = self.streams.making.begin(name) else {
                continue;
            };
            // It may have come, and even have left again, before this turn; what leaves is in the
            // filter by then.
            match held.get(name) {
                Ok(found) => return Ok(found),
                Err(now) if now != departures && held.left().may_know(name) => continue,
                Err(_) => return self.make(turn),
            }
        }
    }

    fn look_up(&self, name: &LogStreamName) -> Option<Row> {
        if !self.streams.held.left().may_know(name) {
            return None;
        }
        self.streams.index.look_up(name).unwrap_or_else(|error| {
            self.streams.failed(&error);
            None
        })
    }

    /// Makes a new stream, while nobody else makes one of its name; with no lock held, since the
    /// disk may take its time.
    fn make(&self, turn: Turn<'_>) -> Result<Arc<Stream>, CommitError> {
        let path = path(&self.dir, turn.number);
        let made = self.make_folder(turn.number / FILES_PER_FOLDER);
        let (number, name) = (turn.number, turn.name.clone());
        let made =
            made.and_then(|()| Stream::create(number, path.clone(), name, self.clock.wall()));
        let made = Arc::new(made.map_err(|error| file_write_failed(&path, &error))?);
        let stream = self.streams.held.admit_new(made.clone());
        if Arc::ptr_eq(&stream, &made) {
            self.open.opened(&stream);
            // Before the turn ends: from then on its number counts as known.
            self.streams.backlog.push(stream.clone());
        } else {
            // An index that did not answer before has answered somebody who reads.
            made.remove()
                .map_err(|error| file_write_failed(&path, &error))?;
        }
        Ok(stream)
    }

    fn make_folder(&self, folder: u64) -> io::Result<()> {
        if self.made.load(Relaxed) != folder + 1 {
            fs::create_dir_all(self.dir.join(folder.to_string()))?;
            self.made.store(folder + 1, Relaxed);
        }
        Ok(())
    }

    /// Appends lines with one `write`.
    pub(crate) fn append(
        &self,
        name: &LogStreamName,
        lines: &[LogLine],
    ) -> Result<(), CommitError> {
        // Found again when it leaves between finding and writing.
        for _ in 0..FOUND_AGAIN_MAX {
            let stream = self.find_or_make(name)?;
            let appended = stream.append(lines, self.clock.wall(), &self.streams.backlog);
            if appended.is_err() {
                self.used(&stream);
            }
            if let Some(opened) = appended? {
                if opened {
                    self.open.opened(&stream);
                }
                return Ok(());
            }
        }
        Err(CommitError::Failed {
            reason: format!("the log group {} is being removed", name.group.group),
        })
    }

    /// Closes a stream's file.
    pub(crate) fn close(&self, name: &LogStreamName) {
        // One that is not in memory is closed.
        if let Ok(stream) = self.streams.held.get(name) {
            stream.close(&self.streams.backlog);
        }
    }

    /// Reads lines of one stream.
    pub(crate) fn read(
        &self,
        who: &Principal,
        name: &LogStreamName,
        query: LogQuery,
    ) -> Result<LogPage, ReadError> {
        may_read(who, &name.group.tenant)?;
        let mut tries = 2;
        while let Some(stream) = self.find(name)? {
            tries -= 1;
            let page = stream.read(query, &self.streams.backlog);
            if page.is_err() && tries > 0 && stream.is_gone() {
                // Its file was removed under the reader.
                continue;
            }
            self.used(&stream);
            return page;
        }
        Ok(LogPage {
            lines: vec![],
            before: 0,
            after: 0,
            more: false,
        })
    }
}
