//! Streams whose rows are out of date, until a thread has written them, and whether the index is
//! vouched for meanwhile.
//!
//! A row may say less than its file: a crash leaves that, and whoever needs more reads the file.
//! It must never say what its file contradicts: before a stream that has ended gets a line again,
//! the word in the lock file is taken back, and it is given again once all is written. A crash in
//! between costs a start that reads all files, and no line.
//!
//! Nothing is taken out of it while the index is made again ([`Backlog::suspend`]): what came
//! meanwhile is written to the new one.

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
}

struct Inner {
    streams: VecDeque<Arc<Stream>>,
    /// Rows that have no file any more.
    gone: Vec<u64>,
    /// What is written next cannot wait.
    hurry: bool,
    closing: bool,
    /// Of the index; `None` for one that does not outlive the process.
    token: Option<u64>,
    vouched: bool,
    /// Who says that the index is not to be vouched for.
    doubts: usize,
    /// The index is to be made again, and is not written any more.
    suspended: bool,
    /// Not before this time.
    mend_at: Option<Instant>,
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.gone.is_empty()
    }
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Rows wait.
    Write,
    /// The index is to be made again.
    Mend,
    /// Nothing until the time that was given.
    Nothing,
    /// The store is being closed.
    End,
}

/// What is to be written together.
pub(super) struct Batch {
    pub(super) streams: Vec<Arc<Stream>>,
    /// Rows that have no file any more.
    pub(super) gone: Vec<u64>,
    /// The lowest number that still waits.
    pub(super) rest: Option<u64>,
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
                token,
                vouched: token.is_some(),
                doubts: 0,
                suspended: false,
                mend_at: None,
            }),
            wake: Condvar::new(),
            stamp,
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

    /// The index is to be made again, not before `at`, unless that was said before; whether it was
    /// not. One that is damaged is `suspended`: nothing more is written to it.
    pub(super) fn mend(&self, at: Instant, suspended: bool) -> bool {
        let mut inner = self.inner.lock();
        self.take_back(&mut inner);
        inner.suspended |= suspended;
        self.wake.notify_all();
        let is_new = inner.mend_at.is_none();
        inner.mend_at.get_or_insert(at);
        is_new
    }

    /// The index begins to be made again.
    pub(super) fn suspend(&self) {
        let mut inner = self.inner.lock();
        self.take_back(&mut inner);
        inner.suspended = true;
        inner.mend_at = None;
    }

    /// Whether the index is not to be written.
    pub(super) fn is_suspended(&self) -> bool {
        self.inner.lock().suspended
    }

    /// The index is a new one, with this token; it is vouched for once everything is written.
    pub(super) fn resume(&self, token: Option<u64>) {
        let mut inner = self.inner.lock();
        inner.token = token;
        inner.suspended = false;
        // What was said of the one before is not true of it.
        inner.mend_at = None;
        self.wake.notify_all();
    }

    fn take_back(&self, inner: &mut Inner) {
        if !std::mem::take(&mut inner.vouched) {
            return;
        }
        if let Err(error) = self.stamp.clear() {
            tracing::warn!(%error, "the lock file could not be written");
        }
    }

    /// Waits for something to do, at most until `until`.
    pub(super) fn wait(&self, until: Instant) -> Work {
        let mut inner = self.inner.lock();
        loop {
            let now = Instant::now();
            if inner.closing {
                return Work::End;
            }
            if inner.mend_at.is_some_and(|at| at <= now) {
                return Work::Mend;
            }
            if !inner.is_empty() && !inner.suspended {
                break;
            }
            if until <= now {
                return Work::Nothing;
            }
            let until = inner.mend_at.map_or(until, |at| at.min(until));
            self.wake.wait_until(&mut inner, until);
        }
        let until = Instant::now() + GATHER;
        while !inner.closing && !inner.hurry && inner.streams.len() < BATCH {
            if self.wake.wait_until(&mut inner, until).timed_out() {
                break;
            }
        }
        inner.hurry = false;
        match inner.closing {
            true => Work::End,
            false => Work::Write,
        }
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

    /// The next to write, longest waiting first; `None` where nothing is, or may be, written.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut inner = self.inner.lock();
        if inner.suspended || inner.is_empty() {
            return None;
        }
        let some = inner.streams.len().min(BATCH);
        let streams = inner.streams.drain(..some).collect();
        Some(Batch {
            streams,
            gone: std::mem::take(&mut inner.gone),
            rest: inner.streams.iter().map(|stream| stream.number()).min(),
        })
    }

    /// All that waits, for whoever sees what of it goes back.
    pub(super) fn take_rest(&self) -> VecDeque<Arc<Stream>> {
        std::mem::take(&mut self.inner.lock().streams)
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
        if inner.vouched || inner.suspended || inner.doubts > 0 || !inner.is_empty() {
            return;
        }
        let Some(token) = inner.token else { return };
        match self.stamp.set(token) {
            Ok(()) => inner.vouched = true,
            Err(error) => tracing::warn!(%error, "the lock file could not be written"),
        }
    }
}

#[cfg(test)]
impl Backlog {
    /// The index is to be made again at once, whatever was said of its turn.
    pub(super) fn mend_now(&self) {
        self.inner.lock().mend_at = Some(Instant::now());
        self.wake.notify_all();
    }
}
