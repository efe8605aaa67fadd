//! What stands in a file, counted, and the places where a search by time may begin.

use freehold_domain::{Wall, logs::LogLine};

/// What a search by time reads too much at the most, but for one line.
const MARK_EVERY: u64 = 64 << 10;

/// What stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where the last whole line ends.
    pub(super) len: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
    pub(super) first: Option<Wall>,
    pub(super) last: Option<Wall>,
    /// The highest time of all its lines, which need not be the last one's.
    pub(super) latest: Option<Wall>,
}

impl Extent {
    /// No line yet; the first one stands at `head`.
    pub(super) fn empty(head: u64) -> Self {
        Self {
            len: head,
            lines: 0,
            bytes: 0,
            first: None,
            last: None,
            latest: None,
        }
    }

    /// Adds a line that ends at `end`.
    pub(super) fn add(&mut self, line: &LogLine, end: u64) {
        self.len = end;
        self.lines += 1;
        self.bytes += line.text.len() as u64;
        self.first = self.first.or(Some(line.at));
        self.last = Some(line.at);
        self.latest = self.latest.max(Some(line.at));
    }
}

/// No line in front of `at` is younger than `latest`.
#[derive(Clone, Copy)]
struct Mark {
    at: u64,
    latest: Option<Wall>,
}

/// Where a search by time may begin, in file order.
#[derive(Clone, Default)]
pub(super) struct Marks {
    marks: Vec<Mark>,
}

impl Marks {
    /// Whether a file with this extent has any.
    pub(super) fn are_due(extent: &Extent) -> bool {
        extent.len >= MARK_EVERY
    }

    /// Adds one behind the lines so far, where one is due.
    pub(super) fn add(&mut self, extent: &Extent) {
        if extent.len - self.marks.last().map_or(0, |mark| mark.at) >= MARK_EVERY {
            self.marks.push(Mark {
                at: extent.len,
                latest: extent.latest,
            });
        }
    }

    /// The start of a line in front of which every line is older than `from`.
    pub(super) fn since(&self, from: Wall) -> Option<u64> {
        let older = self.marks.partition_point(|mark| mark.latest < Some(from));
        older.checked_sub(1).map(|at| self.marks[at].at)
    }

    /// Forgets those behind `len`, where lines were cut off again.
    pub(super) fn cut(&mut self, len: u64) {
        let kept = self.marks.partition_point(|mark| mark.at <= len);
        self.marks.truncate(kept);
    }

    /// What they take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.marks.capacity() * size_of::<Mark>()
    }
}
