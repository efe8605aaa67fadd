//! Brings the index after what is in memory: a thread that writes rows together, makes the index
//! again when it cannot be used ([`mend`](super::mend)), and looks now and then whether files and
//! rows are the same ([`sweep`](super::sweep)).

use super::{
    backlog::{Backlog, Batch, Work},
    held::Held,
    index::{Index, IndexError, Result},
    making::Making,
    mend::Pace,
};
use parking_lot::{Mutex, MutexGuard};
use std::{
    fmt, io,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often one folder's files are compared with their rows.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// All streams, wherever they are known.
pub(super) struct Streams {
    pub(super) held: Held,
    pub(super) index: Index,
    pub(super) backlog: Backlog,
    pub(super) making: Making,
    /// When the index may be made again.
    pub(super) pace: Mutex<Pace>,
    /// One writes at a time: a row that is being written does not come after its removal.
    writing: Mutex<()>,
    failing: AtomicBool,
    writes_failed: AtomicU64,
    pub(super) rebuilds: AtomicU64,
}

/// The index of the log streams, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogIndexStats {
    /// Streams that have a row in it.
    pub indexed: u64,
    /// Streams in memory: those that are open, those whose row waits to be written, and a bounded
    /// rest.
    pub held: u64,
    /// Writes to it that failed since the start.
    pub writes_failed: u64,
    /// How often it was made again since the start.
    pub rebuilds: u64,
}

impl Streams {
    /// For the index with this token, of files with numbers below `next`.
    pub(super) fn new(held: Held, index: Index, backlog: Backlog, next: u64) -> Self {
        Self {
            held,
            index,
            backlog,
            making: Making::new(next),
            pace: Mutex::default(),
            writing: Mutex::default(),
            failing: AtomicBool::new(false),
            writes_failed: AtomicU64::new(0),
            rebuilds: AtomicU64::new(0),
        }
    }

    /// As long as this is held, no row is written.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock()
    }

    /// Writes every row that is out of date, unless the index is being made again.
    ///
    /// Errors: the first failure; what has to be written stays in the backlog.
    pub(super) fn write(&self) -> Result<()> {
        let _alone = self.alone();
        loop {
            // Asked first: what is known by then stands in the backlog, or was taken out of it.
            let floor = self.making.floor();
            let Some(batch) = self.backlog.take() else {
                self.backlog.written();
                return Ok(());
            };
            self.write_batch(batch, floor)?;
            if self.failing.swap(false, Relaxed) {
                tracing::info!("the index of the log streams is written again");
            }
        }
    }

    /// Writes rows together. Streams with numbers below `floor` are in it, in what waits behind
    /// it, or in the index.
    fn write_batch(&self, batch: Batch, floor: u64) -> Result<()> {
        let rows = batch.streams.iter().filter_map(|stream| {
            let (row, was) = stream.take_row()?;
            Some((stream, row, was))
        });
        let rows: Vec<_> = rows.collect();
        let indexed = batch.rest.map_or(floor, |rest| rest.min(floor));
        let new = rows.iter().map(|(_, row, _)| row);
        let written = self.index.write(new, &batch.gone, indexed);
        if let Err(error) = &written {
            self.writes_failed.fetch_add(1, Relaxed);
            let (mut back, mut better_known) = (Vec::new(), Vec::new());
            for (stream, _, was) in rows {
                match stream.not_written(was) {
                    true => back.push(stream.clone()),
                    false => better_known.push(stream.clone()),
                }
            }
            for stream in self.backlog.take_rest() {
                match stream.need_not_be_written() {
                    true => better_known.push(stream),
                    false => back.push(stream),
                }
            }
            self.backlog.put_back(back, batch.gone);
            for stream in better_known {
                self.let_go(&stream);
            }
            self.failed(error);
            return written;
        }
        for (stream, row, _) in rows {
            if stream.written(row.told) {
                self.held.cache(stream);
            }
        }
        Ok(())
    }

    /// Lets a stream leave memory when its turn comes, unless lines come.
    pub(super) fn let_go(&self, stream: &Arc<super::Stream>) {
        if stream.is_closed() {
            self.held.cache(stream);
        }
    }

    /// Notes the names that the index has, so that no other one is looked up.
    pub(super) fn learn_names(&self) {
        let read = self.index.each_name(|name| {
            self.held.left().add(name);
            !self.backlog.is_closing()
        });
        match read {
            Ok(()) if self.backlog.is_closing() => {}
            Ok(()) => self.held.left().complete(),
            Err(error) => self.failed(&error),
        }
    }

    /// Takes note of a failure of the index; what it meant is the caller's.
    pub(super) fn failed(&self, error: &IndexError) {
        if error.is_damage() {
            self.damaged(error);
        } else if matches!(error, IndexError::Sql(_)) && !self.failing.swap(true, Relaxed) {
            tracing::warn!(
                %error,
                "the index of the log streams fails; lines are kept in their files"
            );
        }
    }

    /// The index is not what was written: it is made again.
    pub(super) fn damaged(&self, reason: &dyn fmt::Display) {
        let at = self.pace.lock().earliest(Instant::now());
        if self.backlog.mend(at, true) {
            tracing::error!(
                %reason,
                "the index of the log streams is damaged; it is made again from their files"
            );
        }
    }

    pub(super) fn stats(&self) -> LogIndexStats {
        LogIndexStats {
            indexed: self.index.streams(),
            held: self.held.count().0 as u64,
            writes_failed: self.writes_failed.load(Relaxed),
            rebuilds: self.rebuilds.load(Relaxed),
        }
    }

    fn run(&self) {
        self.learn_names();
        let (mut sweep_at, mut folder) = (Instant::now() + SWEEP_EVERY, 0);
        loop {
            match self.backlog.wait(sweep_at) {
                Work::End => return,
                Work::Mend => self.mend(),
                Work::Write => {
                    if self.write().is_err() {
                        self.backlog.rest();
                    }
                }
                Work::Nothing => {}
            }
            if sweep_at <= Instant::now() {
                sweep_at = Instant::now() + SWEEP_EVERY;
                folder = self.sweep(folder).unwrap_or(0);
            }
        }
    }
}

/// The streams, and the thread that writes their rows; finishing or dropping it writes all of them.
pub(super) struct Indexer {
    streams: Arc<Streams>,
    /// Until it was finished.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Deref for Indexer {
    type Target = Streams;
    fn deref(&self) -> &Streams {
        &self.streams
    }
}

impl Indexer {
    /// Starts the thread.
    pub(super) fn start(streams: Streams) -> io::Result<Self> {
        let streams = Arc::new(streams);
        let writing = streams.clone();
        let thread = std::thread::Builder::new()
            .name("store-log-index".to_owned())
            .spawn(move || writing.run())?;
        Ok(Self {
            streams,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes all rows, once; those of lines that come later are read at the next start.
    pub(super) fn finish(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        self.backlog.close();
        let _ = thread.join();
        for stream in self.held.all() {
            stream.close(&self.backlog);
        }
        // Otherwise the log would be replayed at the next start.
        let written = self.write().and_then(|()| self.index.fold());
        if let Err(error) = written {
            tracing::warn!(%error, "the index of the log streams is not up to date at shutdown");
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.finish();
    }
}
