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
//! and an index that cannot be believed is made again, at a start ([`recover`]) or in use
//! ([`mend`]; decision 19).

mod backlog;
mod expire;
mod extent;
mod files;
mod filter;
mod find;
mod header;
mod held;
mod index;
mod indexer;
mod line;
mod list;
mod making;
mod mend;
mod read;
mod recover;
mod remove;
mod scan;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;

pub use indexer::LogIndexStats;

use crate::{
    open::{OpenError, files as files_failed},
    stamp::Stamp,
};
use backlog::Backlog;
use files::OpenFiles;
use freehold_domain::ports::Clock;
use held::Held;
use index::Index;
use indexer::{Indexer, Streams};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
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
        let index = Index::new(&dir, &options.index, options.readers, found.databases);
        let backlog = Backlog::new(stamp, found.token);
        let streams = Streams::new(Held::new(cached_bytes_max), index, backlog, found.next);
        if found.token.is_none() {
            let again = streams.pace.lock().tried(Instant::now());
            streams.backlog.mend(again, false);
        }
        Ok(Self {
            dir,
            clock: options.clock,
            made: AtomicU64::new(0),
            open: OpenFiles::new(options.open_max),
            streams: Indexer::start(streams).map_err(OpenError::Threads)?,
        })
    }

    /// Writes what the index lacks, and ends its thread.
    pub(crate) fn finish(&self) {
        self.streams.finish();
    }

    /// The index in numbers, as they were when rows were last written.
    pub(crate) fn index_stats(&self) -> LogIndexStats {
        self.streams.stats()
    }
}
