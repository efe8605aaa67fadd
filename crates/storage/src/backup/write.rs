//! The stream, written: frames gathered into pieces, pieces handed to whoever takes them.

use super::{
    BACKUP_FORMAT, BackupHead, Broken, EntryEnd, EntryHead, MAGIC, PIECE_BYTES, Whole, kind,
    name::EntryName,
};
use crate::frame;
use bytes::Bytes;
use freehold_domain::Digest;
use ring::digest::{Context, SHA256};
use serde::Serialize;
use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

/// Damaged files that are named; all of them are in it.
const DAMAGED_MAX: usize = 1000;

/// Where pieces go.
pub(crate) trait Out {
    /// Takes the next piece; may wait.
    ///
    /// Errors: [`Gone`] when nobody wants any more.
    fn send(&mut self, piece: Bytes) -> Result<(), Gone>;
    /// Whether anybody still waits for one.
    fn is_wanted(&self) -> bool;
}

/// Nobody takes the backup any more.
#[derive(Debug)]
pub(crate) struct Gone;

/// Why an entry, or all, could not be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nobody takes it.
    Gone,
    /// The file does not read.
    Read(io::Error),
}

impl From<Gone> for WriteError {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// How fast the store is read.
pub(crate) struct Pace {
    bytes_per_second: Option<u64>,
    since: Instant,
    bytes: u64,
}

/// What was not used is kept this long: whoever was slow does not catch up in one go.
const SAVED_MAX: Duration = Duration::from_millis(250);

impl Pace {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.map(|bytes| bytes.max(1)),
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Waits until so many more bytes may have been read.
    pub(crate) fn spend(&mut self, bytes: u64) {
        let Some(per_second) = self.bytes_per_second else {
            return;
        };
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / per_second as f64);
        let passed = self.since.elapsed();
        match due.checked_sub(passed) {
            Some(early) => std::thread::sleep(early),
            None if passed - due > SAVED_MAX => {
                (self.since, self.bytes) = (Instant::now(), 0);
            }
            None => {}
        }
    }
}

/// What is written of a backup so far.
pub(crate) struct BackupWriter<O> {
    out: O,
    pending: Vec<u8>,
    all: Context,
    entries: u64,
    bytes: u64,
    damaged: Vec<String>,
}

impl<O: Out> BackupWriter<O> {
    /// Begins with the head, whose format is this release's.
    pub(crate) fn new(out: O, head: &BackupHead) -> Result<Self, Gone> {
        let mut writer = Self {
            out,
            pending: MAGIC.to_vec(),
            all: Context::new(&SHA256),
            entries: 0,
            bytes: 0,
            damaged: Vec::new(),
        };
        let head = BackupHead {
            format: BACKUP_FORMAT,
            ..head.clone()
        };
        writer.block(kind::HEAD, &head)?;
        Ok(writer)
    }

    fn block(&mut self, kind: u8, value: &impl Serialize) -> Result<(), Gone> {
        let json = serde_json::to_vec(value).expect("words and numbers can be written");
        if kind != kind::WHOLE && kind != kind::BROKEN {
            self.all.update(&[kind]);
            self.all.update(&json);
        }
        self.frame(kind, &json)
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) -> Result<(), Gone> {
        frame::push_with(&mut self.pending, |into| {
            into.push(kind);
            into.extend_from_slice(bytes);
        });
        if self.pending.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let piece = std::mem::replace(&mut self.pending, Vec::with_capacity(PIECE_BYTES + 1024));
        self.out.send(piece.into())
    }

    /// Writes one file, up to `len` bytes of it; how many it had.
    pub(crate) fn entry(
        &mut self,
        name: &EntryName,
        file: &mut dyn Read,
        len: u64,
        pace: &mut Pace,
    ) -> Result<u64, WriteError> {
        let text = name.to_string();
        self.block(kind::ENTRY, &EntryHead { name: text })?;
        let (mut sum, mut bytes) = (Context::new(&SHA256), 0);
        let room = usize::try_from(len).unwrap_or(PIECE_BYTES);
        let mut buffer = vec![0; room.clamp(1, PIECE_BYTES)];
        while bytes < len {
            let room = (len - bytes).min(buffer.len() as u64) as usize;
            let read = match file.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(WriteError::Read(error)),
            };
            sum.update(&buffer[..read]);
            bytes += read as u64;
            pace.spend(read as u64);
            self.frame(kind::DATA, &buffer[..read])?;
        }
        let sum = digest(sum);
        let is_damaged = matches!(name, EntryName::Blob(_, named) if *named != sum.0);
        if is_damaged && self.damaged.len() < DAMAGED_MAX {
            self.damaged.push(name.to_string());
        }
        let sha256 = sum.to_string();
        self.block(kind::END, &EntryEnd { bytes, sha256 })?;
        (self.entries, self.bytes) = (self.entries + 1, self.bytes + bytes);
        Ok(bytes)
    }

    /// Ends it whole.
    pub(crate) fn finish(mut self) -> Result<(), Gone> {
        let whole = Whole {
            entries: self.entries,
            bytes: self.bytes,
            sha256: digest(self.all.clone()).to_string(),
            damaged: std::mem::take(&mut self.damaged),
        };
        self.block(kind::WHOLE, &whole)?;
        self.flush()
    }

    /// Ends it in the middle, with the reason, so that nobody takes it for whole.
    pub(crate) fn give_up(mut self, reason: &str) -> Result<(), Gone> {
        let reason = reason.to_owned();
        self.block(kind::BROKEN, &Broken { reason })?;
        self.flush()
    }
}

/// The sum of what was fed.
pub(crate) fn digest(context: Context) -> Digest {
    let sum = context.finish();
    Digest(sum.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_and_time_that_was_lost_is_not_caught_up() {
        let mut pace = Pace::new(Some(1 << 20));
        let begun = Instant::now();
        for _ in 0..4 {
            pace.spend(64 << 10);
        }
        assert!(begun.elapsed() >= Duration::from_millis(245));
        std::thread::sleep(Duration::from_millis(400));
        pace.spend(1);
        let begun = Instant::now();
        pace.spend(128 << 10);
        assert!(begun.elapsed() >= Duration::from_millis(120));
    }
}
