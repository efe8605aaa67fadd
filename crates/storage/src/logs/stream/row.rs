//! What a stream's row in the index says, and when the stream may leave memory.

use super::{Known, Leaves, Stream, Told};
use crate::logs::{backlog::Backlog, index::NewRow};
use std::{
    fs,
    sync::{Arc, atomic::Ordering::Relaxed},
};

impl Stream {
    /// Takes it out of the backlog; what its row has to say, and what it said before. `None` once
    /// it is gone. It stays in memory until [`written`](Self::written) or
    /// [`not_written`](Self::not_written).
    pub(in crate::logs) fn take_row(&self) -> Option<(NewRow<'_>, Told)> {
        let mut inner = self.inner.lock();
        inner.queued = false;
        if inner.gone {
            return None;
        }
        inner.writing = true;
        let was = inner.told;
        let told = match inner.known {
            _ if !inner.closed => Told::Open,
            Known::Not => was,
            Known::FromIndex | Known::Walked => Told::All(inner.extent),
        };
        if told != Told::Open {
            // From now on it may stand there.
            inner.told = told;
        }
        let row = NewRow {
            number: self.number,
            name: &self.name,
            created: self.created,
            head: self.head,
            told,
        };
        Some((row, was))
    }

    /// Its row says `told`; whether it is to be kept in memory only as long as there is room.
    pub(in crate::logs) fn written(&self, told: Told) -> bool {
        let mut inner = self.inner.lock();
        inner.writing = false;
        if told == Told::Open {
            inner.told = told;
        }
        inner.closed && !inner.queued && !inner.gone
    }

    /// Its row was not written, and said `was` before; whether it goes back into the backlog. What is
    /// merely known better than before needs no memory until it can be written: it is read again.
    pub(in crate::logs) fn not_written(&self, was: Told) -> bool {
        let mut inner = self.inner.lock();
        inner.writing = false;
        if inner.gone || inner.queued {
            return false;
        }
        if inner.closed && was.len(self.head) == Some(inner.extent.len) {
            inner.told = was;
            return false;
        }
        inner.queued = true;
        true
    }

    /// Takes a stream that waits out of the backlog if it can wait elsewhere, as
    /// [`not_written`](Self::not_written) has it.
    pub(in crate::logs) fn need_not_be_written(&self) -> bool {
        let mut inner = self.inner.lock();
        if inner.gone || (inner.closed && inner.told.len(self.head) == Some(inner.extent.len)) {
            inner.queued = false;
            return true;
        }
        false
    }

    /// The index is a new one, made from the files: what it read of this one's is not all that is
    /// known.
    pub(in crate::logs) fn tell_again(self: &Arc<Self>, backlog: &Backlog) {
        let mut inner = self.inner.lock();
        if inner.gone {
            return;
        }
        if inner.closed && inner.known == Known::Not {
            let len = fs::metadata(&self.path).map_or(self.head, |file| file.len());
            inner.told = Told::Size(len.saturating_sub(self.head));
            return;
        }
        inner.told = Told::Open;
        if !std::mem::replace(&mut inner.queued, true) {
            backlog.push(self.clone());
        }
    }

    /// Whether it leaves memory; nothing is appended to it from then on.
    pub(in crate::logs) fn leaves(&self) -> Leaves {
        let Some(mut inner) = self.inner.try_lock() else {
            return Leaves::Later;
        };
        if !inner.gone && (!inner.closed || inner.queued || inner.writing) {
            return Leaves::NotYet;
        }
        if !inner.gone && self.touched.swap(false, Relaxed) {
            return Leaves::Later;
        }
        inner.gone = true;
        Leaves::Now
    }

    /// About what it takes in memory.
    pub(in crate::logs) fn bytes_held(&self) -> usize {
        // The object, its entries in a tree and a line, two names, the path.
        let names = self.name.stream.len() + self.name.group.group.len();
        let marks = self.inner.try_lock().map_or(0, |inner| inner.marks.bytes());
        size_of::<Self>() + 256 + names + self.path.as_os_str().len() + marks
    }

    /// Notes what it counts among those that may leave; what it counted before.
    pub(in crate::logs) fn cached_as(&self, bytes: usize) -> usize {
        self.cached.swap(bytes, Relaxed)
    }
}
