//! Pages of one file, in either direction, through windows of bounded size.

use super::line::{self, Place, StoredLine};
use crate::frame::{self, FRAME_BYTES_MAX};
use bytes::Bytes;
use freehold_domain::ports::{LogPage, LogQuery};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// What is read of a file at once, unless one line is longer.
const WINDOW: u64 = 256 << 10;

/// Where the lines of a file stand.
pub(super) struct Lines {
    /// The first one begins.
    pub(super) first: u64,
    /// A line begins in front of which all are older than what is asked for.
    pub(super) since: u64,
    /// The last one ends.
    pub(super) len: u64,
}

/// Reads a page of `lines`; `None` where the file does not read.
pub(super) fn page(path: &Path, lines: Lines, query: LogQuery) -> io::Result<Option<LogPage>> {
    let Lines { first, since, len } = lines;
    let mut walk = Walk {
        file: File::open(path)?,
        first,
        len,
        window: Bytes::new(),
        window_at: 0,
    };
    let start = match query.position {
        Some(position) if query.backwards || position > since => {
            walk.boundary(position.clamp(first, len))?
        }
        None if query.backwards => Some(len),
        Some(_) | None => Some(since),
    };
    let Some(start) = start else { return Ok(None) };
    let end = if query.backwards {
        since.min(start)
    } else {
        len
    };
    let (mut lines, mut bytes, mut at) = (Vec::new(), 0, start);
    while at != end {
        let step = if query.backwards {
            walk.before(at)?
        } else {
            walk.at(at)?
        };
        let Some((position, found, after)) = step else {
            return Ok(None);
        };
        let time = found.line.at;
        let wanted = query.from.is_none_or(|from| time >= from)
            && query.until.is_none_or(|until| time < until);
        if wanted {
            let over = bytes + found.line.text.len() > query.bytes && !lines.is_empty();
            if lines.len() >= query.limit || over {
                break;
            }
            bytes += found.line.text.len();
            lines.push((position, found.stored, found.line));
        }
        at = if query.backwards { position } else { after };
    }
    let (before, after) = if query.backwards {
        lines.reverse();
        (at, walk.behind(&lines, start)?)
    } else {
        (lines.first().map_or(start, |(position, ..)| *position), at)
    };
    Ok(Some(LogPage {
        before,
        after,
        more: at != end,
        lines,
    }))
}

/// A look at one file through a window that moves.
pub(super) struct Walk {
    file: File,
    first: u64,
    len: u64,
    window: Bytes,
    window_at: u64,
}

type Step = Option<(u64, StoredLine, u64)>;

impl Walk {
    /// All of the file behind `first`.
    pub(super) fn over(path: &Path, first: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len().max(first);
        Ok(Self {
            file,
            first,
            len,
            window: Bytes::new(),
            window_at: 0,
        })
    }

    /// Whether what stands at `at`, which is no line, is no torn tail either.
    pub(super) fn is_damaged(&mut self, at: u64) -> io::Result<bool> {
        self.load(at, (at + FRAME_BYTES_MAX as u64 + 64).min(self.len))?;
        Ok(matches!(line::at(&self.window, 0), Place::Damaged))
    }

    fn load(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut bytes = vec![0; (to - from) as usize];
        self.file.read_exact_at(&mut bytes, from)?;
        (self.window, self.window_at) = (bytes.into(), from);
        Ok(())
    }

    fn in_window(&self, at: u64) -> Option<(StoredLine, u64)> {
        let offset = at.checked_sub(self.window_at)? as usize;
        match line::at(&self.window, offset) {
            Place::Line(found, next) => Some((found, self.window_at + next as u64)),
            Place::End | Place::Damaged => None,
        }
    }

    /// The line that begins at `at`.
    pub(super) fn at(&mut self, at: u64) -> io::Result<Step> {
        if let Some((found, next)) = self.in_window(at) {
            return Ok(Some((at, found, next)));
        }
        self.load(at, (at + WINDOW).min(self.len))?;
        let longer = frame::announced(&self.window, 0).unwrap_or(0);
        if longer as u64 + 64 > WINDOW && longer <= FRAME_BYTES_MAX {
            self.load(at, (at + longer as u64 + 64).min(self.len))?;
        }
        let found = self.in_window(at);
        Ok(found.map(|(found, next)| (at, found, next)))
    }

    /// The line that ends at `end`.
    fn before(&mut self, end: u64) -> io::Result<Step> {
        let held = end >= self.window_at && end <= self.window_at + self.window.len() as u64;
        let start = held.then(|| self.start_before(end)).flatten();
        let start = match start.filter(|start| *start >= self.window_at) {
            Some(start) => start,
            None => {
                self.load(end.saturating_sub(WINDOW).max(self.first), end)?;
                let Some(start) = self.start_before(end) else {
                    return Ok(None);
                };
                if start < self.window_at {
                    if end - start > FRAME_BYTES_MAX as u64 + 64 || start < self.first {
                        return Ok(None);
                    }
                    self.load(start, end)?;
                }
                start
            }
        };
        let found = self.in_window(start).filter(|(_, next)| *next == end);
        Ok(found.map(|(found, next)| (start, found, next)))
    }

    fn start_before(&self, end: u64) -> Option<u64> {
        let offset = (end - self.window_at) as usize;
        if let Some(start) = line::start_before(&self.window, offset) {
            return Some(self.window_at + start as u64);
        }
        // The line begins in front of the window.
        let tail = self.window.get(offset.checked_sub(line::TAIL)?..offset)?;
        let len = u32::from_le_bytes(tail.try_into().ok()?);
        end.checked_sub(u64::from(len) + line::TAIL as u64)
    }

    /// The first start of a line at or behind `position`, which a caller may have made up: walks
    /// from the start unless a line does begin there.
    fn boundary(&mut self, position: u64) -> io::Result<Option<u64>> {
        if position == self.first || position == self.len || self.at(position)?.is_some() {
            return Ok(Some(position));
        }
        let mut at = self.first;
        while at < position {
            let Some((_, _, next)) = self.at(at)? else {
                return Ok(None);
            };
            at = next;
        }
        Ok(Some(at))
    }

    /// The offset behind the last of `lines`, or `start` when there is none.
    fn behind<T, U>(&mut self, lines: &[(u64, T, U)], start: u64) -> io::Result<u64> {
        let Some((position, ..)) = lines.last() else {
            return Ok(start);
        };
        Ok(self.at(*position)?.map_or(start, |(_, _, next)| next))
    }
}
