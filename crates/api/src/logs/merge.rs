//! The lines of many streams in order of time, a few of each in memory.
//!
//! The order is (time, stream, position). A stream is opened when the merge reaches the time of its
//! first line, read a small chunk at a time, and the text is copied out of what the store read. A
//! group may have thousands of streams that were written side by side: beyond [`HELD_MAX`] a
//! stream keeps only its place and is read again when its turn comes.

use freehold_domain::{
    Principal, Wall,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::{LogQuery, LogStore, ReadError},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

/// Lines of the first chunk of a stream; each further one has twice as many.
const CHUNK_LINES_FIRST: usize = 8;
/// Lines of a chunk at the most.
const CHUNK_LINES_MAX: usize = 256;
/// Bytes of text in a chunk, unless one line is longer.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Bytes that the lines in memory may take together, those of the chunk last read aside.
const HELD_MAX: usize = 8 << 20;

/// A line's place in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// When it was written.
    pub(super) at: Wall,
    /// Its stream.
    pub(super) stream: String,
    /// Its position there.
    pub(super) position: u64,
}

impl Place {
    pub(super) fn token(&self) -> String {
        format!("{}/{}/{}", self.at.0, self.position, self.stream)
    }

    pub(super) fn parse(token: &str) -> Option<Self> {
        let mut parts = token.splitn(3, '/');
        let at = Wall(parts.next()?.parse().ok()?);
        let position = parts.next()?.parse().ok()?;
        Some(Self {
            at,
            position,
            stream: parts.next()?.to_owned(),
        })
    }
}

/// A line, with the time at which it was stored.
pub(super) type Merged = (Place, Wall, LogLine);

struct Cursor {
    name: LogStreamName,
    lines: VecDeque<(u64, Wall, LogLine)>,
    next: Option<u64>,
    more: bool,
    chunk_lines: usize,
}

/// The merge of some streams of one group.
pub(super) struct Merge<'a, S: LogStore + ?Sized> {
    store: &'a S,
    who: &'a Principal,
    group: LogGroupName,
    from: Option<Wall>,
    until: Option<Wall>,
    /// Streams that are still closed, by the earliest time that they may have.
    closed: BinaryHeap<Reverse<(Wall, String)>>,
    /// The next line of each open stream.
    next: BinaryHeap<Reverse<(Place, usize)>>,
    open: Vec<Cursor>,
    held_bytes: usize,
}

impl<'a, S: LogStore + ?Sized> Merge<'a, S> {
    /// A merge of no streams yet, over lines with `from <= at < until`.
    pub(super) fn new(
        store: &'a S,
        who: &'a Principal,
        group: LogGroupName,
        from: Option<Wall>,
        until: Option<Wall>,
    ) -> Self {
        Self {
            store,
            who,
            group,
            from,
            until,
            closed: BinaryHeap::new(),
            next: BinaryHeap::new(),
            open: Vec::new(),
            held_bytes: 0,
        }
    }

    /// Adds a stream whose first line is not before `first`.
    pub(super) fn add(&mut self, stream: String, first: Option<Wall>) {
        let earliest = first.max(self.from).unwrap_or(Wall(i64::MIN));
        self.closed.push(Reverse((earliest, stream)));
    }

    /// The next line of all.
    ///
    /// Errors: the store's.
    pub(super) async fn next(&mut self) -> Result<Option<Merged>, ReadError> {
        loop {
            self.open_due().await?;
            let Some(Reverse((place, at))) = self.next.pop() else {
                return Ok(None);
            };
            if self.open[at].lines.is_empty() {
                self.fill(at).await?;
            }
            // A line that was only a place may have expired since.
            let lines = &mut self.open[at].lines;
            let is_there = matches!(lines.front(), Some((front, ..)) if *front == place.position);
            let found = is_there.then(|| lines.pop_front()).flatten();
            if let Some((_, _, line)) = &found {
                self.held_bytes -= weight(line);
            }
            if self.open[at].lines.is_empty() {
                self.fill(at).await?;
            }
            self.line_up(at);
            if let Some((_, stored, line)) = found {
                return Ok(Some((place, stored, line)));
            }
        }
    }

    /// Opens every stream that may have a line in front of the first that is known.
    async fn open_due(&mut self) -> Result<(), ReadError> {
        while let Some(Reverse((earliest, _))) = self.closed.peek() {
            if self
                .next
                .peek()
                .is_some_and(|Reverse((place, _))| place.at < *earliest)
            {
                break;
            }
            let Some(Reverse((_, stream))) = self.closed.pop() else {
                break;
            };
            self.open.push(Cursor {
                name: LogStreamName {
                    group: self.group.clone(),
                    stream,
                },
                lines: VecDeque::new(),
                next: None,
                more: true,
                chunk_lines: CHUNK_LINES_FIRST,
            });
            let at = self.open.len() - 1;
            self.fill(at).await?;
            self.line_up(at);
        }
        Ok(())
    }

    /// Reads a stream's next chunk.
    async fn fill(&mut self, at: usize) -> Result<(), ReadError> {
        let cursor = &mut self.open[at];
        while cursor.lines.is_empty() && cursor.more {
            let crowded = self.held_bytes > HELD_MAX;
            let query = LogQuery {
                from: self.from,
                until: self.until,
                position: cursor.next,
                backwards: false,
                limit: if crowded { 1 } else { cursor.chunk_lines },
                bytes: CHUNK_BYTES_MAX,
            };
            let page = self.store.read(self.who, &cursor.name, query).await?;
            cursor.more = page.more && cursor.next != Some(page.after);
            cursor.next = Some(page.after);
            cursor.chunk_lines = (cursor.chunk_lines * 2).min(CHUNK_LINES_MAX);
            for (position, stored, mut line) in page.lines {
                // The store's text is a slice of all that it read at once, which it would keep.
                line.text = bytes::Bytes::copy_from_slice(&line.text);
                self.held_bytes += weight(&line);
                cursor.lines.push_back((position, stored, line));
            }
        }
        Ok(())
    }

    /// Queues a stream's next line; keeps only its place where too much is in memory already.
    fn line_up(&mut self, at: usize) {
        let cursor = &mut self.open[at];
        let Some((position, _, line)) = cursor.lines.front() else {
            return;
        };
        let place = Place {
            at: line.at,
            stream: cursor.name.stream.clone(),
            position: *position,
        };
        if self.held_bytes > HELD_MAX {
            self.held_bytes -= cursor
                .lines
                .drain(..)
                .map(|(_, _, line)| weight(&line))
                .sum::<usize>();
            (cursor.next, cursor.more) = (Some(place.position), true);
            cursor.chunk_lines = CHUNK_LINES_FIRST;
        }
        self.next.push(Reverse((place, at)));
    }
}

/// What a line takes in memory.
fn weight(line: &LogLine) -> usize {
    line.text.len() + size_of::<(u64, Wall, LogLine)>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::logs::LineKind;
    use freehold_testkit::{sim::SimClock, storage::MemoryStorage};
    use std::sync::Arc;

    fn group() -> LogGroupName {
        LogGroupName {
            tenant: "111111111111".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            group: "g".to_owned(),
        }
    }

    fn who() -> Principal {
        Principal::Root {
            tenant: group().tenant,
            key: "k".to_owned(),
        }
    }

    /// Streams by name, each with the times of its lines, all of `text` bytes.
    fn store(streams: &[(String, Vec<i64>)], text: usize) -> Arc<MemoryStorage> {
        let store = MemoryStorage::new(SimClock::new(Wall(0)));
        for (name, times) in streams {
            let name = LogStreamName {
                group: group(),
                stream: name.clone(),
            };
            let lines: Vec<LogLine> = times
                .iter()
                .map(|at| LogLine {
                    at: Wall(*at),
                    kind: LineKind::Function,
                    invocation: None,
                    text: vec![b'x'; text].into(),
                    truncated: false,
                })
                .collect();
            LogStore::append(&*store, &name, &lines).unwrap();
        }
        store
    }

    fn merge<'a>(
        store: &'a MemoryStorage,
        who: &'a Principal,
        streams: &[(String, Vec<i64>)],
        from: Option<Wall>,
    ) -> Merge<'a, MemoryStorage> {
        let mut merge = Merge::new(store, who, group(), from, None);
        for (name, times) in streams {
            merge.add(name.clone(), times.first().map(|at| Wall(*at)));
        }
        merge
    }

    #[tokio::test]
    async fn a_stream_is_opened_when_its_time_comes() {
        let streams: Vec<(String, Vec<i64>)> = (0..1000)
            .map(|n| (format!("s{n:04}"), vec![n * 10, n * 10 + 5]))
            .collect();
        let (store, who) = (store(&streams, 10), who());
        let mut merge = merge(&store, &who, &streams, None);
        for n in 0..20 {
            let (place, ..) = merge.next().await.unwrap().unwrap();
            assert_eq!(place.at, Wall(n * 5));
        }
        assert!(merge.open.len() <= 12, "{} are open", merge.open.len());
    }

    #[tokio::test]
    async fn streams_side_by_side_come_in_order_within_their_memory() {
        // 300 streams of 40 lines of 20 KiB: 240 MB.
        let streams: Vec<(String, Vec<i64>)> = (0..300)
            .map(|n| (format!("s{n:03}"), (0..40).map(|at| at * 300 + n).collect()))
            .collect();
        let (store, who) = (store(&streams, 20 << 10), who());
        let mut merge = merge(&store, &who, &streams, None);
        let mut count = 0;
        while let Some((place, _, line)) = merge.next().await.unwrap() {
            assert_eq!((place.at, line.at), (Wall(count), Wall(count)));
            assert_eq!(place.stream, format!("s{:03}", count % 300));
            assert!(merge.held_bytes <= HELD_MAX + 2 * CHUNK_BYTES_MAX);
            count += 1;
        }
        assert_eq!((count, merge.held_bytes), (300 * 40, 0));
    }

    #[tokio::test]
    async fn equal_times_are_in_the_order_of_streams_and_from_leaves_out_what_is_before() {
        let streams: Vec<(String, Vec<i64>)> = ["c", "a", "b"]
            .map(|name| (name.to_owned(), vec![1, 2, 2, 3]))
            .to_vec();
        let (store, who) = (store(&streams, 1), who());
        let mut merge = merge(&store, &who, &streams, Some(Wall(2)));
        let mut places = Vec::new();
        while let Some((place, ..)) = merge.next().await.unwrap() {
            places.push(place);
        }
        assert_eq!(places.len(), 9);
        assert!(places.is_sorted());
        assert!(
            places
                .iter()
                .all(|place| Place::parse(&place.token()).as_ref() == Some(place))
        );
    }

    #[tokio::test]
    async fn what_is_merged_holds_nothing_of_what_was_read() {
        let whole = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        let store = MemoryStorage::new(SimClock::new(Wall(0)));
        let line = LogLine {
            at: Wall(1),
            kind: LineKind::Function,
            invocation: None,
            text: whole.slice(0..10),
            truncated: false,
        };
        let name = LogStreamName {
            group: group(),
            stream: "s".to_owned(),
        };
        LogStore::append(&*store, &name, &[line]).unwrap();
        let who = who();
        let mut merge = Merge::new(&*store, &who, group(), None, None);
        merge.add("s".to_owned(), None);
        let (_, _, line) = merge.next().await.unwrap().unwrap();
        assert!(!whole.as_ptr_range().contains(&line.text.as_ptr()));
    }
}
