//! Pages of lines: of one part of the trail, and of all of them in the order of their numbers.
//!
//! What one account is answered is found in its own files alone, so neither what a page holds nor
//! the work for it hangs on what others wrote. All parts are merged in windows of numbers, which have
//! few gaps: so each part is read by itself, and no more is held than a window has lines.

use super::lane::{Piece, line_of, number_of};
use crate::lanes::segment;
use bytes::Bytes;
use freehold_domain::{
    Wall,
    ports::{AuditPage, AuditQuery, ReadError},
};
use std::{collections::VecDeque, path::PathBuf, time::Duration};

/// Lines that one page looks at, at the most.
pub(super) const LOOKED_AT_MAX: usize = 20_000;
/// Lines of the first window.
const WINDOW_MIN: u64 = 64;
/// Bytes that are read of a file at a time.
const READ_BYTES: usize = 1 << 20;
/// How far the clock is expected to step back at the most.
const STEP: Duration = Duration::from_secs(3600);

/// The files of one part as they were when a page was asked for.
pub(super) struct View {
    pub(super) folder: PathBuf,
    pub(super) pieces: Vec<Piece>,
    /// The number of its newest line then.
    pub(super) last: u64,
}

/// What stands next.
enum Next {
    Line {
        number: u64,
        frame: Bytes,
    },
    /// Nothing up to where it was asked for; no line before this number.
    Beyond(u64),
    End,
}

/// Reads a part's lines in order, file by file.
struct Reader<'a> {
    view: &'a View,
    /// The file that is read, and the one in front of which it ends.
    piece: usize,
    end: usize,
    offset: u64,
    after: u64,
    frames: VecDeque<(u64, Bytes)>,
}

impl<'a> Reader<'a> {
    /// From the file that has the line behind `position`, or one that is early enough, on.
    fn new(view: &'a View, position: u64, query: &AuditQuery) -> Self {
        let pieces = &view.pieces;
        let at = pieces.partition_point(|piece| piece.first <= position.saturating_add(1));
        let since = query.since.map_or(0, |since| begin(pieces, since));
        Self {
            view,
            piece: at.saturating_sub(1).max(since),
            end: query.until.map_or(pieces.len(), |until| end(pieces, until)),
            offset: 0,
            after: position,
            frames: VecDeque::new(),
        }
    }

    /// The next line behind `after`, if its number is `until` at the most.
    fn next(&mut self, until: u64, gaps: &mut Vec<String>) -> Next {
        loop {
            while let Some((offset, frame)) = self.frames.front() {
                let Some(number) = number_of(frame) else {
                    let path = self.path();
                    tell(
                        gaps,
                        format!("{path}: the line that ends at {offset} is none"),
                    );
                    self.frames.pop_front();
                    continue;
                };
                // What came since is for the next page.
                if number <= self.after || number > self.view.last {
                    self.frames.pop_front();
                    continue;
                }
                if number > until {
                    return Next::Beyond(number);
                }
                self.after = number;
                let (_, frame) = self.frames.pop_front().expect("it was looked at");
                return Next::Line { number, frame };
            }
            if self.piece >= self.end {
                return Next::End;
            }
            let first = self.view.pieces[self.piece].first;
            if self.offset == 0 && first > until {
                return Next::Beyond(first);
            }
            self.fill(gaps);
        }
    }

    /// Reads on in its file, or goes on to the next.
    fn fill(&mut self, gaps: &mut Vec<String>) {
        let path = self.path_of(self.piece);
        let is_newest = self.piece + 1 == self.view.pieces.len();
        match segment::read(&path, self.offset, usize::MAX, READ_BYTES, is_newest) {
            Ok(page) => {
                let is_done = !page.more || page.frames.is_empty();
                self.frames.extend(page.frames);
                self.offset = page.after;
                if is_done {
                    (self.piece, self.offset) = (self.piece + 1, 0);
                }
            }
            Err(error) => {
                let reason = match error {
                    ReadError::Failed { reason } => reason,
                    other => other.to_string(),
                };
                tell(gaps, reason);
                (self.piece, self.offset) = (self.piece + 1, 0);
            }
        }
    }

    fn path_of(&self, piece: usize) -> PathBuf {
        let first = self.view.pieces[piece].first;
        self.view.folder.join(format!("{first}.seg"))
    }

    /// Where its frames come from, for a text.
    fn path(&self) -> String {
        let piece = match self.offset {
            0 => self.piece.saturating_sub(1),
            _ => self.piece,
        };
        self.path_of(piece).display().to_string()
    }
}

/// What does not read is said once.
fn tell(gaps: &mut Vec<String>, gap: String) {
    if !gaps.contains(&gap) {
        gaps.push(gap);
    }
}

/// The first file that may have something from `since` on: what begins before that ends the search,
/// and the file in front of it has nothing.
fn begin(pieces: &[Piece], since: Wall) -> usize {
    let is_older = |piece: &Piece| piece.at.is_some_and(|at| at + STEP <= since);
    pieces.iter().rposition(is_older).unwrap_or(0)
}

/// Behind the last file that may have something from before `until`. A line alone says nothing: the
/// clock may have stood wrong for a moment.
fn end(pieces: &[Piece], until: Wall) -> usize {
    let is_earlier = |piece: &Piece| piece.at.is_none_or(|at| at <= until + STEP);
    pieces
        .iter()
        .rposition(is_earlier)
        .map_or(0, |last| last + 1)
}

/// A page of one part.
pub(super) fn own(view: &View, query: &AuditQuery) -> AuditPage {
    let mut page = AuditPage {
        position: query.position,
        ..AuditPage::default()
    };
    let mut reader = Reader::new(view, query.position, query);
    let mut looked_at = 0;
    while page.lines.len() < query.limit.max(1) && looked_at < LOOKED_AT_MAX {
        let Next::Line { number, frame } = reader.next(u64::MAX, &mut page.gaps) else {
            return page;
        };
        looked_at += 1;
        page.position = number;
        match line_of(&frame) {
            Ok(line) if query.wants(&line) => page.lines.push(line),
            Ok(_) => {}
            Err(error) => {
                let path = reader.path();
                tell(
                    &mut page.gaps,
                    format!("{path}: line {number} is none: {error}"),
                );
            }
        }
    }
    page.more = true;
    page
}

/// A page of all parts, whose newest line has the number `newest`.
pub(super) fn merged(views: &[View], newest: u64, query: &AuditQuery) -> AuditPage {
    let limit = query.limit.max(1);
    let mut page = AuditPage {
        position: query.position,
        ..AuditPage::default()
    };
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut window = (limit as u64).clamp(WINDOW_MIN, LOOKED_AT_MAX as u64);
    page.more = loop {
        let until = page.position.saturating_add(window);
        let (mut beyond, begun) = (None, found.len());
        for view in views {
            let mut reader = Reader::new(view, page.position, query);
            loop {
                let (number, frame) = match reader.next(until, &mut page.gaps) {
                    Next::Line { number, frame } => (number, frame),
                    Next::Beyond(number) => {
                        beyond = Some(beyond.map_or(number, |known: u64| known.min(number)));
                        break;
                    }
                    Next::End => break,
                };
                looked_at += 1;
                match line_of(&frame) {
                    Ok(line) if query.wants(&line) => found.push((number, line)),
                    Ok(_) => {}
                    Err(error) => {
                        let path = reader.path();
                        tell(
                            &mut page.gaps,
                            format!("{path}: line {number} is none: {error}"),
                        );
                    }
                }
            }
        }
        found[begun..].sort_unstable_by_key(|(number, _)| *number);
        if found.len() > limit {
            found.truncate(limit);
            page.position = found.last().map_or(page.position, |(number, _)| *number);
            break true;
        }
        let Some(beyond) = beyond else {
            page.position = page.position.max(newest);
            break false;
        };
        page.position = until.max(beyond - 1);
        if found.len() == limit || looked_at >= LOOKED_AT_MAX {
            break true;
        }
        // The next may not look at more than is left.
        let left = (LOOKED_AT_MAX - looked_at) as u64;
        window = (window * 2).min(left);
    };
    page.lines = found.into_iter().map(|(_, line)| line).collect();
    page
}
