//! Streams whose rows are out of date, until a thread has written them, and whether the index is
//! vouched for meanwhile.
//!
//! A row may say less than its file: a crash leaves that, and whoever needs more reads the file.
//! It must never say what its file contradicts: before a stream that has ended gets a line again,
//! the word in the lock file is taken back, and it is given again once all is written. A crash in
//! between costs a start that reads all files, and no line.

use super::stream::Stream;
use crate::stamp::Stamp;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// For how long rows are gathered before they are written together.
const GATHER: Duration = Duration::from_secs(1);
/// The wait after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Rows of one transaction; as many waiting are written at once.
pub(super) const BATCH: usize = 1024;

/// See the module. Each stream stands in it once, so it is as long as what is held in memory.
pub(super) struct Backlog {
    inner: Mutex<Inner>,
    wake: Condvar,
    stamp: Stamp,
    /// `None` for an index that does not outlive the process.
    token: Option<u64>,
}

struct Inner {
    streams: VecDeque<Arc<Stream>>,
    /// Rows that have no file any more.
    gone: Vec<u64>,
    /// What is written next cannot wait.
    hurry: bool,
    closing: bool,
    vouched: bool,
    /// Who says that the index is not to be vouched for.
    doubts: usize,
    damaged: bool,
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.gone.is_empty()
    }
}

/// As long as it is there, the index is not vouched for.
pub(super) struct Doubt<'a>(&'a Backlog);

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().doubts -= 1;
    }
}

impl Backlog {
    /// For the index with this token, which is vouched for; one without a token never is.
    pub(super) fn new(stamp: Stamp, token: Option<u64>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                streams: VecDeque::new(),
                gone: Vec::new(),
                hurry: false,
                closing: false,
                vouched: token.is_some(),
                doubts: 0,
                damaged: false,
            }),
            wake: Condvar::new(),
            stamp,
            token,
        }
    }

    /// Adds a stream that does not stand in it.
    pub(super) fn push(&self, stream: Arc<Stream>) {
        let mut inner = self.inner.lock();
        inner.streams.push_back(stream);
        // The thread sleeps with nothing to do, or gathers.
        if matches!(inner.streams.len(), 1 | BATCH) {
            self.wake.notify_all();
        }
    }

    /// The row of a stream is about to be contradicted by its file; `stream` is given where it
    /// does not stand in the backlog.
    pub(super) fn contradict(&self, stream: Option<Arc<Stream>>) {
        let mut inner = self.inner.lock();
        self.take_back(&mut inner);
        inner.streams.extend(stream);
        inner.hurry = true;
        self.wake.notify_all();
    }

    /// Notes that rows have no file any more.
    pub(super) fn forget(&self, numbers: &[u64]) {
        let mut inner = self.inner.lock();
        self.take_back(&mut inner);
        inner.gone.extend(numbers);
        self.wake.notify_all();
    }

    /// The index is not vouched for until this is dropped and everything is written.
    pub(super) fn doubt(&self) -> Doubt<'_> {
        let mut inner = self.inner.lock();
        self.take_back(&mut inner);
        inner.doubts += 1;
        Doubt(self)
    }

    /// The index is not what was written: it is made again at the next start.
    pub(super) fn damaged(&self, error: &rusqlite::Error) {
        let mut inner = self.inner.lock();
        self.take_back(&mut inner);
        if !std::mem::replace(&mut inner.damaged, true) {
            tracing::error!(
                %error,
                "the index of the log streams is damaged; it is made again at the next start"
            );
        }
    }

    fn take_back(&self, inner: &mut Inner) {
        if !std::mem::take(&mut inner.vouched) {
            return;
        }
        if let Err(error) = self.stamp.clear() {
            tracing::warn!(%error, "the lock file could not be written");
        }
    }

    /// Waits for something to write; false once the store is being closed.
    pub(super) fn wait(&self) -> bool {
        let mut inner = self.inner.lock();
        while (inner.is_empty() || inner.damaged) && !inner.closing {
            self.wake.wait(&mut inner);
        }
        let until = Instant::now() + GATHER;
        while !inner.closing && !inner.hurry && inner.streams.len() < BATCH {
            if self.wake.wait_until(&mut inner, until).timed_out() {
                break;
            }
        }
        inner.hurry = false;
        !inner.closing
    }

    /// Waits before something is tried again.
    pub(super) fn rest(&self) {
        let until = Instant::now() + RETRY;
        let mut inner = self.inner.lock();
        while !inner.closing && !self.wake.wait_until(&mut inner, until).timed_out() {}
    }

    /// Whether all waiting ends.
    pub(super) fn is_closing(&self) -> bool {
        self.inner.lock().closing
    }

    /// Ends all waiting.
    pub(super) fn close(&self) {
        self.inner.lock().closing = true;
        self.wake.notify_all();
    }

    /// The next to write, longest waiting first; none of a damaged index.
    pub(super) fn take(&self) -> (Vec<Arc<Stream>>, Vec<u64>) {
        let mut inner = self.inner.lock();
        if inner.damaged {
            return (Vec::new(), Vec::new());
        }
        let some = inner.streams.len().min(BATCH);
        let streams = inner.streams.drain(..some).collect();
        (streams, std::mem::take(&mut inner.gone))
    }

    /// Puts back what could not be written, in front of what came since.
    pub(super) fn put_back(&self, streams: Vec<Arc<Stream>>, gone: Vec<u64>) {
        let mut inner = self.inner.lock();
        for stream in streams.into_iter().rev() {
            inner.streams.push_front(stream);
        }
        inner.gone.extend(gone);
    }

    /// What was taken is written: with nothing else to write, the index is vouched for again.
    pub(super) fn written(&self) {
        let mut inner = self.inner.lock();
        if inner.vouched || inner.damaged || inner.doubts > 0 || !inner.is_empty() {
            return;
        }
        let Some(token) = self.token else { return };
        match self.stamp.set(token) {
            Ok(()) => inner.vouched = true,
            Err(error) => tracing::warn!(%error, "the lock file could not be written"),
        }
    }
}
