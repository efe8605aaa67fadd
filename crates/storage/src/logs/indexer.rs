//! Brings the index after what is in memory: a thread that writes rows together.

use super::{backlog::Backlog, held::Held, index, index::Index};
use parking_lot::{Mutex, MutexGuard};
use std::{
    io,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

/// All streams, wherever they are known.
pub(super) struct Streams {
    pub(super) held: Held,
    pub(super) index: Index,
    pub(super) backlog: Backlog,
    /// One writes at a time, so that rows come in the order of the backlog.
    writing: Mutex<()>,
    failing: AtomicBool,
}

impl Streams {
    /// As long as this is held, no row is written.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock()
    }

    /// Writes every row that is out of date.
    ///
    /// Errors: the first failure; what was not written stays in the backlog.
    pub(super) fn write(&self) -> rusqlite::Result<()> {
        let _alone = self.alone();
        loop {
            let (streams, gone) = self.backlog.take();
            if streams.is_empty() && gone.is_empty() {
                self.backlog.written();
                return Ok(());
            }
            let rows = streams.iter().map(|stream| (stream, stream.take_row()));
            let rows: Vec<_> = rows
                .filter_map(|(stream, row)| Some((stream, row?)))
                .collect();
            // Whatever was made before the youngest of them stands in front of it.
            let indexed = streams.iter().map(|stream| stream.number() + 1).max();
            let written =
                self.index
                    .write(rows.iter().map(|(_, row)| row), &gone, indexed.unwrap_or(0));
            if let Err(error) = written {
                drop(rows);
                for stream in &streams {
                    stream.not_written();
                }
                self.backlog.put_back(streams, gone);
                self.failed(&error);
                return Err(error);
            }
            for (stream, row) in rows {
                if stream.written(row.told) {
                    self.held.cache(stream);
                }
            }
            if self.failing.swap(false, Relaxed) {
                tracing::info!("the index of the log streams is written again");
            }
        }
    }

    /// Notes the names that the index had at the start, so that no other one is looked up.
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
    pub(super) fn failed(&self, error: &rusqlite::Error) {
        if index::is_damage(error) {
            self.backlog.damaged(error);
        } else if !self.failing.swap(true, Relaxed) {
            tracing::warn!(
                %error,
                "the index of the log streams fails; lines are kept in their files"
            );
        }
    }
}

/// The streams, and the thread that writes their rows; dropping it writes all of them.
pub(super) struct Indexer {
    streams: Arc<Streams>,
    thread: Option<JoinHandle<()>>,
}

impl Deref for Indexer {
    type Target = Streams;
    fn deref(&self) -> &Streams {
        &self.streams
    }
}

impl Indexer {
    /// Starts the thread.
    pub(super) fn start(held: Held, index: Index, backlog: Backlog) -> io::Result<Self> {
        let streams = Arc::new(Streams {
            held,
            index,
            backlog,
            writing: Mutex::default(),
            failing: AtomicBool::new(false),
        });
        let writing = streams.clone();
        let thread = std::thread::Builder::new()
            .name("store-log-index".to_owned())
            .spawn(move || {
                writing.learn_names();
                while writing.backlog.wait() {
                    if writing.write().is_err() {
                        writing.backlog.rest();
                    }
                }
            })?;
        Ok(Self {
            streams,
            thread: Some(thread),
        })
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.backlog.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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
