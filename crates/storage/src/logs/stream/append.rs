//! Lines come, the file is closed, the file is removed.

use super::{Known, Stream, Told};
use crate::{
    failure::file_write_failed,
    logs::{backlog::Backlog, line},
};
use freehold_domain::{Wall, logs::LogLine, ports::CommitError};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    sync::Arc,
};

impl Stream {
    /// Appends lines with one `write`; whether a descriptor was taken for it, `None` once the
    /// stream is removed or has left memory.
    pub(in crate::logs) fn append(
        self: &Arc<Self>,
        lines: &[LogLine],
        stored: Wall,
        backlog: &Backlog,
    ) -> Result<Option<bool>, CommitError> {
        let failed = |error: io::Error| file_write_failed(&self.path, &error);
        let mut inner = self.inner.lock();
        if inner.gone {
            return Ok(None);
        }
        self.walk(&mut inner, backlog).map_err(failed)?;
        let mut extent = inner.extent;
        if inner.damaged {
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
        if inner.closed && inner.told != Told::Open {
            let stands_there = std::mem::replace(&mut inner.queued, true);
            backlog.contradict((!stands_there).then(|| self.clone()));
        }
        inner.closed = false;
        let mut bytes = Vec::new();
        let before = extent.len;
        for line in lines {
            line::push(&mut bytes, line, stored);
            extent.add(line, before + bytes.len() as u64);
            inner.marks.add(&extent);
        }
        let file = inner.file.as_mut().expect("opened above");
        if let Err(error) = file.write_all(&bytes) {
            // A full disk may have taken a part; without the cut the next open makes it. Nobody
            // hears of a descriptor that was taken for this: it is given back.
            let cut = file.set_len(before);
            if opened || cut.is_err() {
                inner.file = None;
            }
            inner.marks.cut(before);
            return Err(failed(error));
        }
        inner.extent = extent;
        inner.used = true;
        Ok(Some(opened))
    }

    /// Closes the file; no more lines are expected.
    pub(in crate::logs) fn close(self: &Arc<Self>, backlog: &Backlog) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.file = None;
        if inner.known != Known::Not {
            self.tell(&mut inner, backlog);
        }
    }

    /// Closes the descriptor unless it was used since this was last asked; whether none is held.
    pub(in crate::logs) fn give_up_file(&self) -> bool {
        let Some(mut inner) = self.inner.try_lock() else {
            return false;
        };
        if !std::mem::take(&mut inner.used) {
            inner.file = None;
        }
        inner.file.is_none()
    }

    /// Removes the file; nothing is appended from here on, whether that worked or not.
    pub(in crate::logs) fn remove(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.gone = true;
        inner.file = None;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
