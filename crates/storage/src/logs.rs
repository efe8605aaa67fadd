//! Log streams: one append-only file each, named by a number; its names stand inside.
//!
//! ```text
//! "FHLOG1\0\n" │ frame: {"tenant","region","group","stream","created"} │ line │ line │ …
//! ```
//!
//! A position is an offset; 0 is the start. Lines survive the process, not a power cut: the kernel
//! writes them back in its own time, since a sync per stream would cost the queue its disk.

mod files;
mod line;
mod read;
mod stream;

use crate::failure::{file_write_failed, may_read, may_write};
use files::OpenFiles;
use freehold_domain::{
    Principal, Wall,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::{Clock, CommitError, LogPage, LogQuery, LogStreamInfo, ReadError},
};
use parking_lot::RwLock;
use std::{
    collections::BTreeMap,
    fs, io,
    ops::Bound,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use stream::Stream;

/// Files in one folder, so that none grows too long to list.
const FILES_PER_FOLDER: u64 = 1000;

/// All streams.
pub(crate) struct LogFiles {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    streams: RwLock<BTreeMap<LogStreamName, Arc<Stream>>>,
    open: OpenFiles,
}

impl LogFiles {
    /// Reads the names of all streams below `dir`; their lines are looked at when asked for.
    pub(crate) fn open(dir: PathBuf, clock: Arc<dyn Clock>, open_max: usize) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let (mut streams, mut newest) = (BTreeMap::new(), 0);
        for folder in fs::read_dir(&dir)? {
            for file in fs::read_dir(folder?.path())? {
                let path = file?.path();
                let number = path
                    .file_stem()
                    .and_then(|stem| stem.to_str()?.parse().ok());
                newest = newest.max(number.unwrap_or(0));
                match Stream::recall(&path)? {
                    Some((name, stream)) => {
                        streams.insert(name, Arc::new(stream));
                    }
                    // Killed within the very write that made it: it never held a line.
                    None => tracing::warn!(file = %path.display(), "not a log stream; left alone"),
                }
            }
        }
        Ok(Self {
            dir,
            clock,
            next: AtomicU64::new(newest + 1),
            streams: RwLock::new(streams),
            open: OpenFiles::new(open_max),
        })
    }

    fn find(&self, name: &LogStreamName) -> Option<Arc<Stream>> {
        self.streams.read().get(name).cloned()
    }

    fn find_or_make(&self, name: &LogStreamName) -> Result<Arc<Stream>, CommitError> {
        if let Some(found) = self.find(name) {
            return Ok(found);
        }
        let mut streams = self.streams.write();
        if let Some(found) = streams.get(name) {
            return Ok(found.clone());
        }
        let number = self.next.fetch_add(1, Relaxed);
        let folder = self.dir.join((number / FILES_PER_FOLDER).to_string());
        let path = folder.join(format!("{number}.log"));
        let made = fs::create_dir_all(&folder)
            .and_then(|()| Stream::create(&path, name, self.clock.wall()));
        let stream = made.map_err(|error| file_write_failed(&path, &error))?;
        let stream = Arc::new(stream);
        self.open.opened(&stream);
        streams.insert(name.clone(), stream.clone());
        Ok(stream)
    }

    /// Appends lines with one `write`.
    pub(crate) fn append(
        &self,
        name: &LogStreamName,
        lines: &[LogLine],
    ) -> Result<(), CommitError> {
        // Made again when the group is removed between finding and writing.
        for _ in 0..2 {
            let stream = self.find_or_make(name)?;
            if let Some(opened) = stream.append(lines, self.clock.wall())? {
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
        if let Some(stream) = self.find(name) {
            stream.close();
        }
    }

    /// The streams of a group from `start` on whose names begin with `prefix`, at most `limit`.
    fn from(
        &self,
        group: &LogGroupName,
        start: Bound<&str>,
        prefix: &str,
        limit: usize,
    ) -> Vec<(LogStreamName, Arc<Stream>)> {
        let streams = self.streams.read();
        within(&streams, group, start)
            .take_while(|(name, _)| name.stream.starts_with(prefix))
            .take(limit)
            .map(|(name, stream)| (name.clone(), stream.clone()))
            .collect()
    }

    fn of_group(&self, group: &LogGroupName) -> Vec<(LogStreamName, Arc<Stream>)> {
        self.from(group, Bound::Included(""), "", usize::MAX)
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
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.from(group, start, prefix, limit)
            .into_iter()
            .map(|(name, stream)| stream.describe(name.stream))
            .collect()
    }

    /// Bytes of the lines of a group as they lie in its files; reads none of them.
    pub(crate) fn group_bytes(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> Result<u64, ReadError> {
        may_read(who, &group.tenant)?;
        let streams: Vec<Arc<Stream>> = {
            let streams = self.streams.read();
            let of = within(&streams, group, Bound::Included(""));
            of.map(|(_, stream)| stream.clone()).collect()
        };
        streams.iter().map(|stream| stream.stored_bytes()).sum()
    }

    /// Reads lines of one stream.
    pub(crate) fn read(
        &self,
        who: &Principal,
        name: &LogStreamName,
        query: LogQuery,
    ) -> Result<LogPage, ReadError> {
        may_read(who, &name.group.tenant)?;
        match self.find(name) {
            Some(stream) => stream.read(query),
            None => Ok(LogPage {
                lines: vec![],
                before: 0,
                after: 0,
                more: false,
            }),
        }
    }

    /// Removes every stream of a group.
    pub(crate) fn remove_group(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> Result<(), CommitError> {
        may_write(who, &group.tenant)?;
        for (name, stream) in self.of_group(group) {
            self.remove(&name, &stream)?;
        }
        Ok(())
    }

    /// Removes closed streams whose last line is older than `before`; how many.
    pub(crate) fn expire(
        &self,
        who: &Principal,
        group: &LogGroupName,
        before: Wall,
    ) -> Result<u64, CommitError> {
        may_write(who, &group.tenant)?;
        let mut removed = 0;
        for (name, stream) in self.of_group(group) {
            if stream.ended_before(before) {
                self.remove(&name, &stream)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn remove(&self, name: &LogStreamName, stream: &Arc<Stream>) -> Result<(), CommitError> {
        let mut streams = self.streams.write();
        stream
            .remove()
            .map_err(|error| file_write_failed(stream.path(), &error))?;
        if streams
            .get(name)
            .is_some_and(|known| Arc::ptr_eq(known, stream))
        {
            streams.remove(name);
        }
        Ok(())
    }
}

/// The streams of a group from `start` on, by name.
fn within<'a>(
    streams: &'a BTreeMap<LogStreamName, Arc<Stream>>,
    group: &LogGroupName,
    start: Bound<&str>,
) -> impl Iterator<Item = (&'a LogStreamName, &'a Arc<Stream>)> {
    let name = |stream: &str| LogStreamName {
        group: group.clone(),
        stream: stream.to_owned(),
    };
    let group = group.clone();
    streams
        .range((start.map(name), Bound::Unbounded))
        .take_while(move |(name, _)| name.group == group)
}
