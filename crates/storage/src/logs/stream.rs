//! One stream: its file, where that ends, and what stands in it.

use super::{
    line,
    read::{self, Walk},
};
use crate::{
    failure::{file_read_failed, file_write_failed},
    frame::{self, Found},
};
use bytes::Bytes;
use freehold_domain::{
    Wall,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::{CommitError, LogPage, LogQuery, LogStreamInfo, ReadError},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"FHLOG1\0\n";
/// Names are bounded well below this; a longer header is not one of ours.
const HEADER_BYTES_MAX: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Header {
    tenant: freehold_domain::TenantId,
    region: freehold_domain::Region,
    group: String,
    stream: String,
    created: Wall,
}

/// A stream that exists.
pub(super) struct Stream {
    path: PathBuf,
    created: Wall,
    /// Where its first line stands.
    first: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Held while lines come.
    file: Option<File>,
    /// Written since the bound on descriptors last asked.
    used: bool,
    /// No more lines are expected.
    closed: bool,
    removed: bool,
    /// `None` for a stream of an earlier process that nobody asked for yet.
    extent: Option<Extent>,
    /// Where a search by time may begin, in file order.
    marks: Vec<Mark>,
}

/// No line in front of `at` is younger than `latest`.
#[derive(Clone, Copy)]
struct Mark {
    at: u64,
    latest: Wall,
}

/// What a search by time reads too much at the most, but for one line.
const MARK_EVERY: u64 = 64 << 10;

/// What stands in a file.
#[derive(Clone, Copy, Default)]
struct Extent {
    len: u64,
    lines: u64,
    bytes: u64,
    first: Option<Wall>,
    last: Option<Wall>,
    /// The highest time of all its lines, which need not be the last one's.
    latest: Option<Wall>,
    /// Where the last mark stands.
    marked: u64,
    /// Behind `len` stands something that is no torn tail.
    damaged: bool,
}

impl Extent {
    /// Adds a line that ends at `end`; a mark where one is due.
    fn add(&mut self, line: &LogLine, end: u64) -> Option<Mark> {
        self.len = end;
        self.lines += 1;
        self.bytes += line.text.len() as u64;
        self.first = self.first.or(Some(line.at));
        self.last = Some(line.at);
        let latest = self.latest.map_or(line.at, |latest| latest.max(line.at));
        self.latest = Some(latest);
        if end - self.marked < MARK_EVERY {
            return None;
        }
        self.marked = end;
        Some(Mark { at: end, latest })
    }
}

impl Stream {
    /// Makes the file of a new stream.
    pub(super) fn create(path: &Path, name: &LogStreamName, created: Wall) -> io::Result<Self> {
        let header = Header {
            tenant: name.group.tenant.clone(),
            region: name.group.region.clone(),
            group: name.group.group.clone(),
            stream: name.stream.clone(),
            created,
        };
        let mut bytes = MAGIC.to_vec();
        frame::push(&mut bytes, &serde_json::to_vec(&header)?);
        if bytes.len() as u64 > HEADER_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the names of the log stream are too long",
            ));
        }
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create_new(true).open(path)?;
        if let Err(error) = file.write_all(&bytes) {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        let first = bytes.len() as u64;
        Ok(Self {
            path: path.to_owned(),
            created,
            first,
            inner: Mutex::new(Inner {
                file: Some(file),
                used: true,
                closed: false,
                removed: false,
                extent: Some(Extent {
                    len: first,
                    ..Extent::default()
                }),
                marks: Vec::new(),
            }),
        })
    }

    /// Reads the names of a stream of an earlier process; `None` when it has none.
    pub(super) fn recall(path: &Path) -> io::Result<Option<(LogStreamName, Self)>> {
        let mut bytes = Vec::new();
        let mut file = File::open(path)?.take(4 << 10);
        file.read_to_end(&mut bytes)?;
        let mut bytes = Bytes::from(bytes);
        if !bytes.starts_with(MAGIC) {
            return Ok(None);
        }
        if frame::announced(&bytes, MAGIC.len()).is_some_and(|len| len + 64 > 4 << 10) {
            let mut all = Vec::new();
            File::open(path)?
                .take(HEADER_BYTES_MAX)
                .read_to_end(&mut all)?;
            bytes = Bytes::from(all);
        }
        let Found::Frame(header, first) = frame::at(&bytes, MAGIC.len()) else {
            return Ok(None);
        };
        let Ok(header) = serde_json::from_slice::<Header>(&header) else {
            return Ok(None);
        };
        let name = LogStreamName {
            group: LogGroupName {
                tenant: header.tenant,
                region: header.region,
                group: header.group,
            },
            stream: header.stream,
        };
        let stream = Self {
            path: path.to_owned(),
            created: header.created,
            first: first as u64,
            inner: Mutex::new(Inner {
                file: None,
                used: false,
                closed: true,
                removed: false,
                extent: None,
                marks: Vec::new(),
            }),
        };
        Ok(Some((name, stream)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at all lines of a stream that nobody looked at yet.
    fn extent(&self, inner: &mut Inner) -> io::Result<Extent> {
        if let Some(extent) = inner.extent {
            return Ok(extent);
        }
        let mut extent = Extent {
            len: self.first,
            ..Extent::default()
        };
        let mut walk = Walk::over(&self.path, self.first)?;
        let mut marks = Vec::new();
        while let Some((_, found, next)) = walk.at(extent.len)? {
            marks.extend(extent.add(&found.line, next));
        }
        extent.damaged = walk.is_damaged(extent.len)?;
        inner.extent = Some(extent);
        inner.marks = marks;
        Ok(extent)
    }

    fn damaged(&self, extent: &Extent) -> String {
        format!(
            "{} is damaged at offset {}",
            self.path.display(),
            extent.len
        )
    }

    /// Appends lines with one `write`; whether a descriptor was taken for it, `None` once the
    /// stream is removed.
    pub(super) fn append(
        &self,
        lines: &[LogLine],
        stored: Wall,
    ) -> Result<Option<bool>, CommitError> {
        let failed = |error: io::Error| file_write_failed(&self.path, &error);
        let mut inner = self.inner.lock();
        if inner.removed {
            return Ok(None);
        }
        let mut extent = self.extent(&mut inner).map_err(failed)?;
        if extent.damaged {
            return Err(CommitError::Failed {
                reason: self.damaged(&extent),
            });
        }
        let opened = inner.file.is_none();
        if opened {
            let file = OpenOptions::new().append(true).open(&self.path);
            let file = file.map_err(failed)?;
            // Whatever stands behind the last whole line was never finished.
            file.set_len(extent.len).map_err(failed)?;
            inner.file = Some(file);
        }
        let (mut bytes, mut marks) = (Vec::new(), Vec::new());
        let before = extent.len;
        for line in lines {
            line::push(&mut bytes, line, stored);
            marks.extend(extent.add(line, before + bytes.len() as u64));
        }
        let file = inner.file.as_mut().expect("opened above");
        if let Err(error) = file.write_all(&bytes) {
            // A full disk may have taken a part; without the cut the next open makes it.
            let cut = file.set_len(before);
            if cut.is_err() {
                inner.file = None;
            }
            return Err(failed(error));
        }
        inner.extent = Some(extent);
        inner.marks.extend(marks);
        inner.used = true;
        inner.closed = false;
        Ok(Some(opened))
    }

    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.file = None;
    }

    /// Closes the descriptor unless it was used since this was last asked; whether none is held.
    pub(super) fn give_up_file(&self) -> bool {
        let Some(mut inner) = self.inner.try_lock() else {
            return false;
        };
        if !std::mem::take(&mut inner.used) {
            inner.file = None;
        }
        inner.file.is_none()
    }

    pub(super) fn describe(&self, name: String) -> Result<LogStreamInfo, ReadError> {
        let extent = self.extent(&mut self.inner.lock());
        let extent = extent.map_err(|error| file_read_failed(&self.path, &error))?;
        Ok(LogStreamInfo {
            name,
            created: self.created,
            first: extent.first,
            last: extent.last,
            bytes: extent.bytes,
            lines: extent.lines,
        })
    }

    /// Bytes of its lines as they lie in the file; one of an earlier process is not read for it.
    pub(super) fn stored_bytes(&self) -> Result<u64, ReadError> {
        let inner = self.inner.lock();
        let len = match inner.extent {
            Some(extent) => extent.len,
            None if inner.removed => self.first,
            None => fs::metadata(&self.path)
                .map_err(|error| file_read_failed(&self.path, &error))?
                .len(),
        };
        Ok(len.saturating_sub(self.first))
    }

    pub(super) fn read(&self, query: LogQuery) -> Result<LogPage, ReadError> {
        let failed = |error: io::Error| file_read_failed(&self.path, &error);
        let (extent, since) = {
            let mut inner = self.inner.lock();
            let extent = self.extent(&mut inner).map_err(failed)?;
            (extent, self.since(&inner.marks, query.from))
        };
        let lines = read::Lines {
            first: self.first,
            since,
            len: extent.len,
        };
        let page = read::page(&self.path, lines, query).map_err(failed)?;
        // What is whole in front of the damage is returned first.
        let Some(page) = page.filter(|page| !(extent.damaged && page.lines.is_empty())) else {
            return Err(ReadError::Failed {
                reason: self.damaged(&extent),
            });
        };
        Ok(page)
    }

    /// The start of a line in front of which every line is older than `from`.
    fn since(&self, marks: &[Mark], from: Option<Wall>) -> u64 {
        let Some(from) = from else { return self.first };
        let older = marks.partition_point(|mark| mark.latest < from);
        older.checked_sub(1).map_or(self.first, |at| marks[at].at)
    }

    /// Whether it is closed and its last line is older than `before`.
    pub(super) fn ended_before(&self, before: Wall) -> bool {
        let mut inner = self.inner.lock();
        let extent = self.extent(&mut inner);
        inner.closed && extent.is_ok_and(|extent| extent.last.unwrap_or(self.created) < before)
    }

    /// Removes the file; nothing is appended from here on.
    pub(super) fn remove(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        inner.removed = true;
        inner.file = None;
        Ok(())
    }
}
