//! The files of one part of the trail: whose lines they are, the folder says.
//!
//! A file is named by the number that its first line has among all lines of the trail. None stays
//! open: accounts are many, and most of them are quiet.

use crate::{
    failure::file_write_failed,
    frame::{self, Found},
    lanes::{SEGMENT_MAGIC, numbers},
};
use bytes::Bytes;
use freehold_domain::{Wall, audit::AuditLine, ports::CommitError};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// Bytes of a file in which its first line is looked for: more than any line has.
const FIRST_BYTES: u64 = 16 << 10;

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// The number that its first line has, and its name.
    pub(super) first: u64,
    /// Its bytes that are whole.
    pub(super) bytes: u64,
    /// When its first line was written, where that reads.
    pub(super) at: Option<Wall>,
}

/// The files of one part, oldest first.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) folder: PathBuf,
    pub(super) pieces: Vec<Piece>,
    /// The number of its newest line, or a higher one that no line has.
    pub(super) last: u64,
    /// Whether its next line begins a file.
    is_closed: bool,
}

/// What an append did.
pub(super) struct Appended {
    /// The file that it wrote to.
    pub(super) path: PathBuf,
    /// Whether the line begins that file.
    pub(super) is_new: bool,
}

impl Lane {
    /// One that has no file yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            pieces: Vec::new(),
            last: 0,
            is_closed: false,
        }
    }

    /// One that is there. The torn tail of its newest file is cut off; behind a damaged one it goes
    /// on in the next. Says what was wrong.
    pub(super) fn open(folder: PathBuf) -> io::Result<(Self, Option<String>)> {
        let mut lane = Self::new(folder);
        let mut found = numbers(&lane.folder, ".seg")?;
        found.dedup();
        let newest = found.pop();
        for first in found {
            let path = lane.path(first);
            lane.pieces.push(Piece {
                first,
                bytes: fs::metadata(&path)?.len(),
                at: first_at(&path),
            });
        }
        let repaired = match newest {
            Some(newest) => lane.open_newest(newest)?,
            None => None,
        };
        Ok((lane, repaired))
    }

    fn open_newest(&mut self, first: u64) -> io::Result<Option<String>> {
        let path = self.path(first);
        let bytes = Bytes::from(fs::read(&path)?);
        self.last = first;
        if bytes.len() < SEGMENT_MAGIC.len() {
            // Killed while it was made.
            fs::remove_file(&path)?;
            self.is_closed = true;
            return Ok(None);
        }
        let mut len = SEGMENT_MAGIC.len();
        let end = loop {
            match frame::at(&bytes, len) {
                Found::Frame(found, next) => {
                    self.last = self.last.max(number_of(&found).unwrap_or(0));
                    len = next;
                }
                end => break end,
            }
        };
        let name = path.display();
        let is_damaged = !bytes.starts_with(SEGMENT_MAGIC) || end == Found::Damaged;
        let repaired = if is_damaged {
            tracing::error!(file = %name, offset = len, "a file of the audit trail is damaged; its lines go on in another");
            self.is_closed = true;
            Some(format!(
                "{name} is damaged at offset {len}; what follows stands in the next file"
            ))
        } else if len < bytes.len() {
            let cut = bytes.len() - len;
            tracing::warn!(file = %name, bytes = cut, "cut off a line that was not finished");
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(len as u64)?;
            file.sync_all()?;
            Some(format!(
                "{cut} bytes of an unfinished line were cut off {name}"
            ))
        } else {
            None
        };
        self.pieces.push(Piece {
            first,
            bytes: if is_damaged { bytes.len() } else { len } as u64,
            at: first_at(&path),
        });
        Ok(repaired)
    }

    pub(super) fn path(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{first}.seg"))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }

    /// Lets the next line begin a file.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Appends the line of this number with one `write`, in the next file once this one has
    /// `file_bytes`. What a full disk took of it is cut off again.
    pub(super) fn append(
        &mut self,
        number: u64,
        at: Wall,
        frame: &[u8],
        file_bytes: u64,
    ) -> Result<Appended, CommitError> {
        let newest = self
            .pieces
            .last()
            .map(|newest| (newest.first, newest.bytes));
        if let Some((first, bytes)) = newest
            && !self.is_closed
            && bytes < file_bytes
        {
            let path = self.path(first);
            match OpenOptions::new().append(true).open(&path) {
                Ok(file) => return self.write(file, path, number, frame),
                // Somebody has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(file_write_failed(&path, &error)),
            }
        }
        self.begin(number, at, frame)
    }

    fn write(
        &mut self,
        mut file: File,
        path: PathBuf,
        number: u64,
        frame: &[u8],
    ) -> Result<Appended, CommitError> {
        let newest = self.pieces.last_mut().expect("it was looked at");
        let mut whole = Vec::with_capacity(frame::HEAD + frame.len());
        frame::push(&mut whole, frame);
        if let Err(error) = file.write_all(&whole) {
            // Nothing may follow what cannot be cut off.
            self.is_closed |= file.set_len(newest.bytes).is_err();
            return Err(file_write_failed(&path, &error));
        }
        newest.bytes += whole.len() as u64;
        self.last = number;
        Ok(Appended {
            path,
            is_new: false,
        })
    }

    fn begin(&mut self, number: u64, at: Wall, frame: &[u8]) -> Result<Appended, CommitError> {
        let path = self.path(number);
        let mut whole = SEGMENT_MAGIC.to_vec();
        frame::push(&mut whole, frame);
        // A file of this name holds no line: every line's number is lower.
        let written = fs::create_dir_all(&self.folder).and_then(|()| {
            let mut file = File::create(&path)?;
            let written = file.write_all(&whole);
            written.inspect_err(|_| {
                let _ = fs::remove_file(&path);
            })
        });
        written.map_err(|error| file_write_failed(&path, &error))?;
        self.pieces.push(Piece {
            first: number,
            bytes: whole.len() as u64,
            at: Some(at),
        });
        (self.last, self.is_closed) = (number, false);
        Ok(Appended { path, is_new: true })
    }

    /// When all of a piece's lines had been written; `None` while it is written to.
    pub(super) fn ended(&self, at: usize) -> Option<Wall> {
        let next = self.pieces.get(at + 1);
        if next.is_none() && !self.is_closed {
            return None;
        }
        // Where no line follows, the file says when it was last written.
        next.and_then(|next| next.at)
            .or_else(|| written(&self.path(self.pieces.get(at)?.first)))
    }
}

/// A line as a frame holds it.
pub(super) fn framed(number: u64, line: &[u8]) -> Vec<u8> {
    [&number.to_le_bytes()[..], line].concat()
}

/// The number of a line, from its frame.
pub(super) fn number_of(frame: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*frame.first_chunk()?))
}

/// The line itself.
pub(super) fn line_of(frame: &[u8]) -> serde_json::Result<AuditLine> {
    serde_json::from_slice(frame.get(8..).unwrap_or_default())
}

fn first_at(path: &Path) -> Option<Wall> {
    let mut begin = Vec::new();
    let file = File::open(path).ok()?;
    file.take(FIRST_BYTES).read_to_end(&mut begin).ok()?;
    match frame::at(&Bytes::from(begin), SEGMENT_MAGIC.len()) {
        Found::Frame(frame, _) => Some(line_of(&frame).ok()?.at),
        Found::End | Found::Damaged => None,
    }
}

fn written(path: &Path) -> Option<Wall> {
    let at = fs::metadata(path).ok()?.modified().ok()?;
    Some(Wall(0) + at.duration_since(UNIX_EPOCH).ok()?)
}
