//! Log streams: one append-only file each, named by a number; its names stand inside.
//!
//! ```text
//! "FHLOG1\0\n" │ frame: {"tenant","region","group","stream","created"} │ line │ line │ …
//! ```
//!
//! A position is an offset; 0 is the start. Lines survive the process, not a power cut: the kernel
//! writes them back in its own time, since a sync per stream would cost the queue its disk.
//!
//! In memory are the streams that are open and some that were lately read ([`held`]); an
//! [`index`] in SQLite knows all of them by name, so that neither the memory nor a start grows
//! with what was ever logged. The files are the truth: rows follow them, in batches ([`indexer`]),
//! and an index that cannot be believed is made again ([`recover`]; decision 19).

mod backlog;
mod extent;
mod files;
mod filter;
mod header;
mod held;
mod index;
mod indexer;
mod line;
mod read;
mod recover;
mod remove;
mod stream;
#[cfg(test)]
mod tests;

use crate::{
    failure::{file_read_failed, file_write_failed, may_read},
    stamp::Stamp,
    storage::{OpenError, files as files_failed},
};
use backlog::Backlog;
use files::OpenFiles;
use freehold_domain::{
    Principal,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::{Clock, CommitError, LogPage, LogQuery, LogStreamInfo, ReadError},
};
use held::Held;
use index::{Row, Told};
use indexer::{Indexer, Streams};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use stream::Stream;

/// Files in one folder, so that none grows too long to list.
const FILES_PER_FOLDER: u64 = 1000;
/// What closed streams may take in memory.
const CACHED_BYTES_MAX: usize = 2 << 20;

/// How the log files are opened.
pub(crate) struct LogOptions {
    /// Where they are.
    pub(crate) dir: PathBuf,
    /// Where their index is.
    pub(crate) index: PathBuf,
    /// Vouches for the index.
    pub(crate) stamp: Stamp,
    /// Makes times.
    pub(crate) clock: Arc<dyn Clock>,
    /// Descriptors at the most.
    pub(crate) open_max: usize,
    /// Threads that read.
    pub(crate) readers: usize,
}

/// All streams.
pub(crate) struct LogFiles {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    /// The folder that was made last, by its number and one.
    made: AtomicU64,
    open: OpenFiles,
    streams: Indexer,
}

/// The file of a stream.
fn path(dir: &Path, number: u64) -> PathBuf {
    let folder = number / FILES_PER_FOLDER;
    dir.join(format!("{folder}/{number}.log"))
}

fn file_number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn folder_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.parse().ok()
}

impl LogFiles {
    /// Opens the index and reads the names of the streams that it lacks; lines are looked at when
    /// they are asked for.
    pub(crate) fn open(options: LogOptions) -> Result<Self, OpenError> {
        Self::open_with(options, CACHED_BYTES_MAX)
    }

    fn open_with(options: LogOptions, cached_bytes_max: usize) -> Result<Self, OpenError> {
        let LogOptions { dir, stamp, .. } = options;
        fs::create_dir_all(&dir).map_err(files_failed(dir.clone()))?;
        let found = recover::open(&dir, &options.index, &stamp, options.readers)?;
        let (held, backlog) = (
            Held::new(cached_bytes_max),
            Backlog::new(stamp, found.token),
        );
        let streams = Indexer::start(held, found.index, backlog).map_err(OpenError::Threads)?;
        Ok(Self {
            dir,
            clock: options.clock,
            next: AtomicU64::new(found.next),
            made: AtomicU64::new(0),
            open: OpenFiles::new(options.open_max),
            streams,
        })
    }

    fn read_failed(&self, error: &rusqlite::Error) -> ReadError {
        self.streams.failed(error);
        self.streams.index.read_failed(error)
    }

    fn write_failed(&self, error: &rusqlite::Error) -> CommitError {
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
    fn find(&self, name: &LogStreamName) -> Result<Option<Arc<Stream>>, ReadError> {
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
            let admitted = held.admit(name, departures, || Ok::<_, ReadError>(stream))?;
            if admitted.is_some() {
                return Ok(admitted);
            }
        }
    }

    /// Somebody is done with a stream: it may leave memory, unless lines come.
    fn used(&self, stream: &Arc<Stream>) {
        if stream.is_closed() {
            self.streams.held.cache(stream);
        }
    }

    /// The stream of this name, made when there is none. An index that does not answer knows
    /// none: lines are not lost for it.
    fn find_or_make(&self, name: &LogStreamName) -> Result<Arc<Stream>, CommitError> {
        let Streams { held, index, .. } = &*self.streams;
        loop {
            let departures = match held.get(name) {
                Ok(found) => return Ok(found),
                Err(departures) => departures,
            };
            let row = match held.left().may_know(name) {
                true => index.look_up(name).unwrap_or_else(|error| {
                    self.streams.failed(&error);
                    None
                }),
                false => None,
            };
            let loaded = match &row {
                Some(row) => self
                    .load(name, row)
                    .map_err(|it| file_write_failed(&it.path, &it.error))?,
                None => None,
            };
            let make = || loaded.map_or_else(|| self.make(name), Ok);
            if let Some(stream) = held.admit(name, departures, make)? {
                return Ok(stream);
            }
        }
    }

    /// Makes a new stream, while nobody else does.
    fn make(&self, name: &LogStreamName) -> Result<Arc<Stream>, CommitError> {
        let number = self.next.fetch_add(1, Relaxed);
        let path = path(&self.dir, number);
        let made = self
            .make_folder(number / FILES_PER_FOLDER)
            .and_then(|()| Stream::create(number, path.clone(), name, self.clock.wall()));
        let stream = Arc::new(made.map_err(|error| file_write_failed(&path, &error))?);
        self.open.opened(&stream);
        self.streams.backlog.push(stream.clone());
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
        for _ in 0..3 {
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
        if let Ok(stream) = self.streams.held.get(name) {
            stream.close(&self.streams.backlog);
        }
    }

    /// Describes the streams of a group.
    pub(crate) fn streams(
        &self,
        who: &Principal,
        group: &LogGroupName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LogStreamInfo>, ReadError> {
        may_read(who, &group.tenant)?;
        let mut start = match after {
            Some(after) if after >= prefix => behind(after),
            _ => prefix.to_owned(),
        };
        let mut described = Vec::new();
        loop {
            let wanted = limit - described.len();
            let page = self.page(group, &start, prefix, wanted)?;
            let last = page.len() < wanted;
            if let Some((last, _)) = page.last() {
                start = behind(last);
            }
            for (name, known) in page {
                described.extend(self.describe(group, name, known)?);
            }
            // Some may have been removed meanwhile: an empty page would say that there are no more.
            if last || described.len() == limit {
                return Ok(described);
            }
        }
    }

    /// The streams of a group from the name `start` on, in memory or in the index. Memory is asked
    /// first: what leaves it is in the index by then.
    fn page(
        &self,
        group: &LogGroupName,
        start: &str,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(String, Known)>, ReadError> {
        let held = self.streams.held.from(group, start, prefix, limit);
        let mut rows = self
            .streams
            .index
            .page(group, start, limit)
            .map_err(|error| self.read_failed(&error))?;
        rows.retain(|row| row.stream.starts_with(prefix));
        let (mut held, mut rows) = (held.into_iter().peekable(), rows.into_iter().peekable());
        let mut page = Vec::new();
        while page.len() < limit {
            let row_first = match (held.peek(), rows.peek()) {
                (None, None) => break,
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some(held), Some(row)) => row.stream < held.name().stream,
            };
            if row_first {
                page.extend(rows.next().map(|row| (row.stream.clone(), Known::Row(row))));
                continue;
            }
            let Some(stream) = held.next() else { break };
            rows.next_if(|row| row.stream == stream.name().stream);
            page.push((stream.name().stream.clone(), Known::Held(stream)));
        }
        Ok(page)
    }

    fn describe(
        &self,
        group: &LogGroupName,
        stream: String,
        known: Known,
    ) -> Result<Option<LogStreamInfo>, ReadError> {
        let found = match known {
            Known::Held(stream) => Some(stream),
            Known::Row(Row {
                told: Told::All(extent),
                created,
                ..
            }) => return Ok(Some(stream::describe(&stream, created, &extent))),
            Known::Row(_) => self.find(&LogStreamName {
                group: group.clone(),
                stream,
            })?,
        };
        let Some(stream) = found else {
            return Ok(None);
        };
        let described = stream.describe(&self.streams.backlog);
        self.used(&stream);
        match described {
            Err(_) if stream.is_gone() => Ok(None),
            described => described.map(Some),
        }
    }

    /// Bytes of the lines of a group as they lie in its files; reads none of them.
    pub(crate) fn group_bytes(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> Result<u64, ReadError> {
        may_read(who, &group.tenant)?;
        let held = self.streams.held.of_group(group);
        let numbers: Vec<u64> = held.iter().map(|stream| stream.number()).collect();
        let others = self.streams.index.bytes(group, &numbers);
        let others = others.map_err(|error| self.read_failed(&error))?;
        let held = held.iter().map(|stream| stream.stored_bytes());
        Ok(others + held.sum::<Result<u64, _>>()?)
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

/// A stream of a listing.
enum Known {
    Held(Arc<Stream>),
    Row(Row),
}

/// A file that does not open.
struct Unreadable {
    path: PathBuf,
    error: io::Error,
}

/// The least name above this one.
fn behind(name: &str) -> String {
    format!("{name}\0")
}
