//! One stream in memory: its file, where that ends, and what stands in it.
//!
//! ```text
//!           ┌──── lines ────┐
//!           ▼               │
//! made ─▶ open ──close──▶ closed ──its row is written, its turn comes──▶ left memory
//!           │               │                                               │
//!           └─────┬─────────┘◀────────────── asked for ─────────────────────┘
//!                 ▼
//!              removed
//! ```

mod append;
mod row;

use super::{
    backlog::Backlog,
    extent::{Extent, Marks},
    header,
    index::{Row, Told},
    read::{self, Walk},
};
use crate::failure::file_read_failed;
use freehold_domain::{
    Wall,
    logs::LogStreamName,
    ports::{LogPage, LogQuery, LogStreamInfo, ReadError},
};
use parking_lot::Mutex;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// A stream that exists.
pub(super) struct Stream {
    number: u64,
    name: Arc<LogStreamName>,
    path: PathBuf,
    created: Wall,
    /// Where its first line stands.
    head: u64,
    /// Somebody read it since it was last asked to leave memory.
    touched: AtomicBool,
    /// What it counts among those that may leave; 0 for none of them.
    cached: AtomicUsize,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Held while lines come.
    file: Option<File>,
    /// Written since the bound on descriptors last asked.
    used: bool,
    /// No more lines are expected.
    closed: bool,
    /// Removed, or no longer in memory: whoever has it still looks for it again.
    gone: bool,
    extent: Extent,
    /// How `extent` is known.
    known: Known,
    /// Behind its last whole line stands something that is no torn tail.
    damaged: bool,
    /// Complete once it is walked.
    marks: Marks,
    /// What its row may say.
    told: Told,
    /// Stands in the backlog.
    queued: bool,
    /// Was taken out of it, and its row is not written yet: nobody would find it elsewhere.
    writing: bool,
}

/// Where what is known of a stream's lines comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing is.
    Not,
    /// The index, which the length of the file agrees with.
    FromIndex,
    /// They were all looked at, or written, by this process.
    Walked,
}

/// Whether a stream may leave memory.
pub(super) enum Leaves {
    /// It has.
    Now,
    /// Not in this turn.
    Later,
    /// Not before its row is written.
    NotYet,
}

impl Stream {
    /// Makes the file of a new stream, which counts as one that stands in the backlog.
    pub(super) fn create(
        number: u64,
        path: PathBuf,
        name: Arc<LogStreamName>,
        created: Wall,
    ) -> io::Result<Self> {
        let bytes = header::encode(&name, created)?;
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create_new(true).open(&path)?;
        if let Err(error) = file.write_all(&bytes) {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        let head = bytes.len() as u64;
        Ok(Self {
            number,
            name,
            path,
            created,
            head,
            touched: AtomicBool::new(false),
            cached: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                file: Some(file),
                used: true,
                closed: false,
                gone: false,
                extent: Extent::empty(head),
                known: Known::Walked,
                damaged: false,
                marks: Marks::default(),
                told: Told::Open,
                queued: true,
                writing: false,
            }),
        })
    }

    /// A stream that the index knows; `None` when its file is not there, or when a power cut took
    /// its head.
    pub(super) fn load(path: PathBuf, name: &LogStreamName, row: &Row) -> io::Result<Option<Self>> {
        let file = match fs::metadata(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.is_file() && file.len() < row.head {
            return Ok(None);
        }
        let (extent, known) = match row.told {
            Told::All(extent) if extent.len == file.len() => (extent, Known::FromIndex),
            _ => (Extent::empty(row.head), Known::Not),
        };
        Ok(Some(Self {
            number: row.number,
            name: Arc::new(name.clone()),
            path,
            created: row.created,
            head: row.head,
            touched: AtomicBool::new(true),
            cached: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                file: None,
                used: false,
                closed: true,
                gone: false,
                extent,
                known,
                damaged: false,
                marks: Marks::default(),
                told: row.told,
                queued: false,
                writing: false,
            }),
        }))
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn name(&self) -> &Arc<LogStreamName> {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at all lines, unless that was done; what is found out goes to the index.
    fn walk(self: &Arc<Self>, inner: &mut Inner, backlog: &Backlog) -> io::Result<()> {
        if inner.known == Known::Walked {
            return Ok(());
        }
        let mut walk = Walk::over(&self.path, self.head)?;
        let (mut extent, mut marks) = (Extent::empty(self.head), Marks::default());
        while let Some((_, found, next)) = walk.at(extent.len)? {
            extent.add(&found.line, next);
            marks.add(&extent);
        }
        inner.damaged = walk.is_damaged(extent.len)?;
        (inner.extent, inner.marks, inner.known) = (extent, marks, Known::Walked);
        self.tell(inner, backlog);
        Ok(())
    }

    /// Knows its extent, from the index or by looking.
    fn know(self: &Arc<Self>, inner: &mut Inner, backlog: &Backlog) -> io::Result<()> {
        match inner.known {
            Known::Not => self.walk(inner, backlog),
            Known::FromIndex | Known::Walked => Ok(()),
        }
    }

    /// Has the row of a closed stream written, unless it is as it should be.
    fn tell(self: &Arc<Self>, inner: &mut Inner, backlog: &Backlog) {
        let is_told = inner.told == Told::All(inner.extent);
        if inner.closed && !inner.gone && !inner.queued && !is_told {
            inner.queued = true;
            backlog.push(self.clone());
        }
    }

    fn damaged(&self, extent: &Extent) -> String {
        format!(
            "{} is damaged at offset {}",
            self.path.display(),
            extent.len
        )
    }

    pub(super) fn describe(
        self: &Arc<Self>,
        backlog: &Backlog,
    ) -> Result<LogStreamInfo, ReadError> {
        let mut inner = self.inner.lock();
        self.know(&mut inner, backlog)
            .map_err(|error| file_read_failed(&self.path, &error))?;
        Ok(describe(&self.name.stream, self.created, &inner.extent))
    }

    /// Bytes of its lines as they lie in the file; one that nobody has read is not read for it.
    pub(super) fn stored_bytes(&self) -> Result<u64, ReadError> {
        let inner = self.inner.lock();
        let len = match inner.known {
            Known::FromIndex | Known::Walked => inner.extent.len,
            Known::Not if inner.gone => self.head,
            Known::Not => fs::metadata(&self.path)
                .map_err(|error| file_read_failed(&self.path, &error))?
                .len(),
        };
        Ok(len.saturating_sub(self.head))
    }

    pub(super) fn read(
        self: &Arc<Self>,
        query: LogQuery,
        backlog: &Backlog,
    ) -> Result<LogPage, ReadError> {
        self.touched.store(true, Relaxed);
        let page = self.page(query, backlog, Self::know)?;
        match page {
            Some(page) => Ok(page),
            // The index is believed until a line does not read: what is whole in front of the
            // damage is returned first.
            None => self.page(query, backlog, Self::walk)?.ok_or_else(|| {
                let extent = self.inner.lock().extent;
                ReadError::Failed {
                    reason: self.damaged(&extent),
                }
            }),
        }
    }

    /// A page of what `look` finds; `None` where it does not read.
    fn page(
        self: &Arc<Self>,
        query: LogQuery,
        backlog: &Backlog,
        look: fn(&Arc<Self>, &mut Inner, &Backlog) -> io::Result<()>,
    ) -> Result<Option<LogPage>, ReadError> {
        let failed = |error: io::Error| file_read_failed(&self.path, &error);
        let (lines, damaged) = {
            let mut inner = self.inner.lock();
            look(self, &mut inner, backlog).map_err(failed)?;
            if query.from.is_some() && Marks::are_due(&inner.extent) {
                self.walk(&mut inner, backlog).map_err(failed)?;
            }
            let since = query.from.and_then(|from| inner.marks.since(from));
            let lines = read::Lines {
                first: self.head,
                since: since.unwrap_or(self.head),
                len: inner.extent.len,
            };
            (lines, inner.damaged)
        };
        let page = read::page(&self.path, lines, query).map_err(failed)?;
        Ok(page.filter(|page| !(damaged && page.lines.is_empty())))
    }

    /// Whether it is closed and its last line is older than `before`.
    pub(super) fn ended_before(self: &Arc<Self>, before: Wall, backlog: &Backlog) -> bool {
        let mut inner = self.inner.lock();
        inner.closed
            && self.know(&mut inner, backlog).is_ok()
            && inner.extent.last.unwrap_or(self.created) < before
    }

    /// Whether it is in memory and no lines are expected.
    pub(super) fn is_closed(&self) -> bool {
        let inner = self.inner.lock();
        inner.closed && !inner.gone
    }

    /// Whether it was removed or has left memory.
    pub(super) fn is_gone(&self) -> bool {
        self.inner.lock().gone
    }
}

/// A stream as its listing shows it.
pub(super) fn describe(name: &str, created: Wall, extent: &Extent) -> LogStreamInfo {
    LogStreamInfo {
        name: name.to_owned(),
        created,
        first: extent.first,
        last: extent.last,
        bytes: extent.bytes,
        lines: extent.lines,
    }
}
