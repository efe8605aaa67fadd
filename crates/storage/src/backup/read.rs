//! The stream, read as its bytes come: checked first, believed after.

use super::{
    BACKUP_FORMAT, BLOCK_BYTES_MAX, BackupHead, Broken, EntryEnd, EntryHead, MAGIC, Whole, kind,
    name::EntryName, write::digest,
};
use crate::{
    folder::FORMAT,
    frame::{self, Found},
};
use bytes::{Buf, Bytes, BytesMut};
use freehold_domain::Digest;
use ring::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use std::{
    io::{self, Read},
    path::PathBuf,
};

/// Why a backup is refused.
#[derive(Debug, thiserror::Error)]
pub enum BackupFault {
    /// Its first bytes are not those of a backup.
    #[error("it is no backup of Freehold")]
    NotOne,
    /// A newer release wrote it.
    #[error("the backup has format {found}; this release reads up to {newest}: use a newer one")]
    Newer {
        /// Its format.
        found: u32,
        /// The newest that is known here.
        newest: u32,
    },
    /// What is in it has a layout that this release does not know.
    #[error(
        "the backup is of a data folder of format {found}; this release reads up to {newest}: use a newer one"
    )]
    NewerLayout {
        /// Its layout.
        found: u32,
        /// The newest that is known here.
        newest: u32,
    },
    /// It ends too early.
    #[error("the backup is not whole: it ends after {bytes} bytes, before its own end")]
    Truncated {
        /// What there is of it.
        bytes: u64,
    },
    /// Whoever wrote it could not finish it.
    #[error("the backup is not whole: whoever wrote it gave up, since {reason}")]
    GivenUp {
        /// Why.
        reason: String,
    },
    /// Some of it is not what was written.
    #[error("the backup is damaged at offset {offset}: {what}")]
    Damaged {
        /// Where, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// What is read could not be put where it belongs.
    #[error("could not write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The backup itself does not read.
    #[error("the backup could not be read")]
    Read(#[source] io::Error),
}

/// Takes what is in a backup, each piece once its checksum was found right.
pub trait BackupSink {
    /// What the backup says of itself.
    fn head(&mut self, _: &BackupHead) -> Result<(), BackupFault> {
        Ok(())
    }
    /// A file begins, by its path below the store.
    fn begin(&mut self, _: &str) -> Result<(), BackupFault> {
        Ok(())
    }
    /// More of it.
    fn data(&mut self, _: &[u8]) -> Result<(), BackupFault> {
        Ok(())
    }
    /// It is whole.
    fn end(&mut self) -> Result<(), BackupFault> {
        Ok(())
    }
}

/// Wants nothing but to know whether the backup is whole.
#[derive(Debug, Default)]
pub struct Discard;

impl BackupSink for Discard {}

/// A backup that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSummary {
    /// What it says of itself.
    pub head: BackupHead,
    /// Files in it.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the stream.
    pub stream_bytes: u64,
    /// Files that were damaged already when it was made.
    pub damaged: Vec<String>,
}

enum State {
    Magic,
    Head,
    /// Behind the head or an entry; the name of the last one.
    Between(Option<EntryName>),
    Entry {
        name: EntryName,
        sum: Box<Context>,
        bytes: u64,
    },
    Whole(Vec<String>),
}

/// Reads a backup as its bytes come.
pub struct BackupReader {
    state: State,
    buffer: BytesMut,
    /// Bytes in front of the buffer.
    offset: u64,
    head: Option<BackupHead>,
    all: Context,
    entries: u64,
    bytes: u64,
}

impl Default for BackupReader {
    fn default() -> Self {
        Self {
            state: State::Magic,
            buffer: BytesMut::new(),
            offset: 0,
            head: None,
            all: Context::new(&SHA256),
            entries: 0,
            bytes: 0,
        }
    }
}

impl BackupReader {
    /// Reads all of `from` into `sink`.
    ///
    /// Errors: [`BackupFault`]; `sink` has a part of it then.
    pub fn read_all(
        from: &mut dyn Read,
        sink: &mut dyn BackupSink,
    ) -> Result<BackupSummary, BackupFault> {
        let mut reader = Self::default();
        let mut chunk = vec![0; 256 << 10];
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return reader.finish(),
                Ok(read) => reader.feed(&chunk[..read], sink)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BackupFault::Read(error)),
            }
        }
    }

    /// What it says of itself, once that was read.
    pub fn head(&self) -> Option<&BackupHead> {
        self.head.as_ref()
    }

    /// Reads on.
    ///
    /// Errors: [`BackupFault`]; nothing may follow.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn BackupSink) -> Result<(), BackupFault> {
        self.buffer.extend_from_slice(bytes);
        if matches!(self.state, State::Magic) {
            let begin = &self.buffer[..self.buffer.len().min(MAGIC.len())];
            if !MAGIC.starts_with(begin) {
                return Err(BackupFault::NotOne);
            }
            if begin.len() < MAGIC.len() {
                return Ok(());
            }
            self.skip(MAGIC.len());
            self.state = State::Head;
        }
        while let Some(block) = self.block()? {
            let len = frame::HEAD + block.len();
            self.take(block, sink)?;
            self.offset += len as u64;
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
    }

    fn damaged(&self, what: impl Into<String>) -> BackupFault {
        BackupFault::Damaged {
            offset: self.offset,
            what: what.into(),
        }
    }

    /// The next frame's bytes, once all of them are there. The offset stays at its begin.
    fn block(&mut self) -> Result<Option<Bytes>, BackupFault> {
        if matches!(self.state, State::Whole(_)) && !self.buffer.is_empty() {
            return Err(self.damaged("something follows its end"));
        }
        if self.buffer.len() < frame::HEAD {
            return Ok(None);
        }
        let wrong = "a checksum does not agree with what stands there";
        if !frame::is_announced(&self.buffer) {
            return Err(self.damaged(wrong));
        }
        let len = frame::announced(&self.buffer, 0).unwrap_or(0);
        if !(1..=BLOCK_BYTES_MAX).contains(&len) {
            return Err(self.damaged(format!("a frame of {len} bytes is none of a backup")));
        }
        if self.buffer.len() < frame::HEAD + len {
            return Ok(None);
        }
        let whole = self.buffer.split_to(frame::HEAD + len).freeze();
        match frame::at(&whole, 0) {
            Found::Frame(bytes, _) => Ok(Some(bytes)),
            _ => Err(self.damaged(wrong)),
        }
    }

    fn json<T: DeserializeOwned>(&mut self, block: &[u8]) -> Result<T, BackupFault> {
        self.all.update(block);
        serde_json::from_slice(&block[1..])
            .map_err(|error| self.damaged(format!("it has a frame that does not read: {error}")))
    }

    fn take(&mut self, block: Bytes, sink: &mut dyn BackupSink) -> Result<(), BackupFault> {
        let state = std::mem::replace(&mut self.state, State::Magic);
        self.state = match (state, block[0]) {
            (State::Head, kind::HEAD) => {
                let head: BackupHead = self.known_head(&block)?;
                sink.head(&head)?;
                self.head = Some(head);
                State::Between(None)
            }
            (State::Between(last), kind::ENTRY) => {
                let name = self.entry_name(last.as_ref(), &block)?;
                sink.begin(&name.to_string())?;
                State::Entry {
                    name,
                    sum: Box::new(Context::new(&SHA256)),
                    bytes: 0,
                }
            }
            (
                State::Entry {
                    name,
                    mut sum,
                    bytes,
                },
                kind::DATA,
            ) => {
                sum.update(&block[1..]);
                sink.data(&block[1..])?;
                let bytes = bytes + block.len() as u64 - 1;
                State::Entry { name, sum, bytes }
            }
            (State::Entry { name, sum, bytes }, kind::END) => {
                let end: EntryEnd = self.json(&block)?;
                if end.bytes != bytes || end.sha256.parse().ok() != Some(digest(*sum)) {
                    return Err(self.damaged(format!("{name} is not what was written")));
                }
                sink.end()?;
                (self.entries, self.bytes) = (self.entries + 1, self.bytes + bytes);
                State::Between(Some(name))
            }
            (State::Between(Some(last)), kind::WHOLE) if last >= EntryName::Queue => {
                self.whole(&block)?
            }
            (_, kind::BROKEN) => {
                let broken: Broken = self.json(&block)?;
                return Err(BackupFault::GivenUp {
                    reason: broken.reason,
                });
            }
            _ => return Err(self.damaged("a frame stands where none of its kind can be")),
        };
        Ok(())
    }

    fn known_head(&mut self, block: &[u8]) -> Result<BackupHead, BackupFault> {
        // Of another format it may say other things, and its format all the same.
        #[derive(serde::Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(&block[1..])
            .map_err(|error| self.damaged(format!("its head does not read: {error}")))?;
        if format == 0 {
            return Err(self.damaged("no release has written format 0"));
        }
        if format > BACKUP_FORMAT {
            return Err(BackupFault::Newer {
                found: format,
                newest: BACKUP_FORMAT,
            });
        }
        let head: BackupHead = self.json(block)?;
        if head.layout == 0 {
            return Err(self.damaged("no release has written a data folder of format 0"));
        }
        if head.layout > FORMAT {
            return Err(BackupFault::NewerLayout {
                found: head.layout,
                newest: FORMAT,
            });
        }
        Ok(head)
    }

    fn entry_name(
        &mut self,
        last: Option<&EntryName>,
        block: &[u8],
    ) -> Result<EntryName, BackupFault> {
        let EntryHead { name } = self.json(block)?;
        let shown: String = name.chars().take(100).collect();
        let parsed: EntryName = name
            .parse()
            .map_err(|()| self.damaged(format!("{shown:?} is no file of a data folder")))?;
        let fits = match last {
            None => parsed == EntryName::Meta,
            Some(EntryName::Meta) => parsed == EntryName::Queue,
            Some(last) => parsed > *last,
        };
        if !fits {
            return Err(self.damaged(format!("{shown:?} stands out of its turn")));
        }
        Ok(parsed)
    }

    fn whole(&mut self, block: &[u8]) -> Result<State, BackupFault> {
        let whole: Whole = serde_json::from_slice(&block[1..])
            .map_err(|error| self.damaged(format!("its end does not read: {error}")))?;
        let sum: Option<Digest> = whole.sha256.parse().ok();
        if sum != Some(digest(self.all.clone()))
            || (whole.entries, whole.bytes) != (self.entries, self.bytes)
        {
            return Err(self.damaged("its end speaks of other entries"));
        }
        Ok(State::Whole(whole.damaged))
    }

    /// All bytes were fed.
    ///
    /// Errors: [`BackupFault::Truncated`] when more had to come.
    pub fn finish(self) -> Result<BackupSummary, BackupFault> {
        let stream_bytes = self.offset + self.buffer.len() as u64;
        match (self.state, self.head) {
            (State::Whole(damaged), Some(head)) => Ok(BackupSummary {
                head,
                entries: self.entries,
                bytes: self.bytes,
                stream_bytes,
                damaged,
            }),
            (State::Magic, _) if stream_bytes < MAGIC.len() as u64 => Err(BackupFault::NotOne),
            _ => Err(BackupFault::Truncated {
                bytes: stream_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
