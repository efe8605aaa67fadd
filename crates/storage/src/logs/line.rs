//! One line as it lies in a file: a frame whose length is repeated behind it, for reading
//! backwards.
//!
//! ```text
//! frame: i64 at │ i64 stored │ u8 flags │ [16 bytes invocation] │ text     u32 bytes of the frame
//! ```

use crate::frame::{self, Found, HEAD};
use bytes::Bytes;
use freehold_domain::{
    InvocationId, Wall,
    logs::{LineKind, LogLine},
};

/// Bytes behind every frame.
pub(super) const TAIL: usize = 4;
const OF_PLATFORM: u8 = 1;
const TRUNCATED: u8 = 2;
const WITH_INVOCATION: u8 = 4;
const FIXED: usize = 17;

/// A line that was read.
pub(super) struct StoredLine {
    pub(super) stored: Wall,
    pub(super) line: LogLine,
}

/// Appends a line.
pub(super) fn push(into: &mut Vec<u8>, line: &LogLine, stored: Wall) {
    let mut flags = 0;
    if line.kind == LineKind::Platform {
        flags |= OF_PLATFORM;
    }
    if line.truncated {
        flags |= TRUNCATED;
    }
    if line.invocation.is_some() {
        flags |= WITH_INVOCATION;
    }
    let before = into.len();
    into.reserve(HEAD + FIXED + 16 + line.text.len() + TAIL);
    frame::push_with(into, |into| {
        into.extend_from_slice(&line.at.0.to_le_bytes());
        into.extend_from_slice(&stored.0.to_le_bytes());
        into.push(flags);
        if let Some(id) = line.invocation {
            into.extend_from_slice(id.0.as_bytes());
        }
        into.extend_from_slice(&line.text);
    });
    let len = (into.len() - before) as u32;
    into.extend_from_slice(&len.to_le_bytes());
}

/// What stands at an offset of a log file.
pub(super) enum Place {
    /// A line, and the offset behind it.
    Line(StoredLine, usize),
    /// The end, or a line that was not finished.
    End,
    /// Neither.
    Damaged,
}

/// Reads the line at `at`.
pub(super) fn at(file: &Bytes, at: usize) -> Place {
    let (bytes, end) = match frame::at(file, at) {
        Found::Frame(bytes, end) => (bytes, end),
        Found::End => return Place::End,
        Found::Damaged => return Place::Damaged,
    };
    let Some(tail) = file.get(end..end + TAIL) else {
        return Place::End;
    };
    if tail != ((end - at) as u32).to_le_bytes() {
        let last = end + TAIL == file.len();
        return if last && tail == [0; TAIL] {
            Place::End
        } else {
            Place::Damaged
        };
    }
    match decode(&bytes) {
        Some(line) => Place::Line(line, end + TAIL),
        None => Place::Damaged,
    }
}

/// Where the line that ends at `end` begins.
pub(super) fn start_before(file: &Bytes, end: usize) -> Option<usize> {
    let tail = file.get(end.checked_sub(TAIL)?..end)?;
    let len = u32::from_le_bytes(tail.try_into().ok()?) as usize;
    if len < HEAD {
        return None;
    }
    (end - TAIL).checked_sub(len)
}

fn decode(bytes: &Bytes) -> Option<StoredLine> {
    let wall = |at: usize| -> Option<Wall> {
        Some(Wall(i64::from_le_bytes(
            bytes.get(at..at + 8)?.try_into().ok()?,
        )))
    };
    let flags = *bytes.get(16)?;
    let (invocation, text) = if flags & WITH_INVOCATION == 0 {
        (None, FIXED)
    } else {
        let id: [u8; 16] = bytes.get(FIXED..FIXED + 16)?.try_into().ok()?;
        (Some(InvocationId(uuid::Uuid::from_bytes(id))), FIXED + 16)
    };
    Some(StoredLine {
        stored: wall(8)?,
        line: LogLine {
            at: wall(0)?,
            kind: if flags & OF_PLATFORM == 0 {
                LineKind::Function
            } else {
                LineKind::Platform
            },
            invocation,
            text: bytes.slice(text..),
            truncated: flags & TRUNCATED != 0,
        },
    })
}
