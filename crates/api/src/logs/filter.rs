//! FilterLogEvents: the lines of many streams in order of time.
//!
//! A merge over streams, each read a chunk at a time. The order is (time, stream, position), and
//! the token is the place of the last line in it, so pages neither repeat nor leave out a line.

use super::{
    Ctx, EVENTS_MAX, PAGE_BYTES_MAX, all_streams, explain, group_of, message, pattern::Pattern,
    size,
};
use freehold_domain::{
    Wall,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::{LogQuery, LogStore},
};
use freehold_wire::{
    ApiError,
    logs::{self, error},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

/// Lines read of a stream at a time.
const CHUNK_LINES: usize = 256;
/// Lines looked at for one page, matching or not; a page may be empty with a token.
const SCAN_LINES_MAX: usize = 200_000;

/// A line's place in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: Wall,
    stream: String,
    position: u64,
}

impl Place {
    fn token(&self) -> String {
        format!("{}/{}/{}", self.at.0, self.position, self.stream)
    }
    fn parse(token: &str) -> Option<Self> {
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

struct Cursor {
    name: LogStreamName,
    lines: VecDeque<(u64, Wall, LogLine)>,
    next: Option<u64>,
    more: bool,
}

pub(super) async fn events(
    ctx: &Ctx<'_>,
    asked: logs::FilterLogEventsRequest,
) -> Result<logs::FilterLogEventsResponse, ApiError> {
    let group = group_of(ctx, asked.log_group_name, asked.log_group_identifier).await?;
    let pattern = Pattern::parse(asked.filter_pattern.as_deref().unwrap_or(""))
        .map_err(|fault| error::invalid_parameter(fault.to_string()))?;
    let after = match asked.next_token.as_deref() {
        None => None,
        Some(token) => Some(
            Place::parse(token)
                .ok_or_else(|| error::invalid_parameter("The specified nextToken is invalid."))?,
        ),
    };
    let from = asked
        .start_time
        .map(Wall::from_millis)
        .max(after.as_ref().map(|place| place.at));
    // endTime is the last millisecond that is included.
    let until = asked
        .end_time
        .map(|ms| Wall::from_millis(ms.saturating_add(1)));
    let names = asked.log_stream_names;
    let prefix = asked.log_stream_name_prefix.unwrap_or_default();
    if names.is_some() && !prefix.is_empty() {
        return Err(error::invalid_parameter(
            "logStreamNames and logStreamNamePrefix cannot be given together.",
        ));
    }
    let mut merge = Merge {
        ctx,
        from,
        until,
        heap: BinaryHeap::new(),
        cursors: Vec::new(),
    };
    for info in all_streams(ctx, &group, &prefix).await? {
        let asked_for = names
            .as_ref()
            .is_none_or(|names| names.contains(&info.name));
        let in_time = from.is_none_or(|from| info.last.is_none_or(|last| last >= from))
            && until.is_none_or(|until| info.first.is_none_or(|first| first < until));
        if asked_for && in_time {
            merge.add(&group, info.name).await?;
        }
    }
    let limit = size(asked.limit, EVENTS_MAX).unwrap_or(EVENTS_MAX);
    let (mut found, mut bytes, mut scanned) = (Vec::new(), 0, 0);
    let (mut last, mut next_token) = (after.clone(), None);
    while let Some((place, stored, line)) = merge.next().await? {
        if after.as_ref().is_some_and(|after| place <= *after) {
            continue;
        }
        if found.len() >= limit || bytes >= PAGE_BYTES_MAX || scanned >= SCAN_LINES_MAX {
            next_token = last.as_ref().map(Place::token);
            break;
        }
        scanned += 1;
        if pattern.matches(&line.text) {
            bytes += line.text.len();
            found.push(event(&place, stored, &line));
        }
        last = Some(place);
    }
    Ok(logs::FilterLogEventsResponse {
        events: Some(found),
        searched_log_streams: Some(Vec::new()),
        next_token,
    })
}

fn event(place: &Place, stored: Wall, line: &LogLine) -> logs::FilteredLogEvent {
    let stream = place
        .stream
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    logs::FilteredLogEvent {
        log_stream_name: Some(place.stream.clone()),
        timestamp: Some(line.at.millis()),
        message: Some(message(line)),
        ingestion_time: Some(stored.millis()),
        event_id: Some(format!(
            "{:014}{stream:020}{:022}",
            line.at.millis(),
            place.position
        )),
    }
}

struct Merge<'a, 'c> {
    ctx: &'a Ctx<'c>,
    from: Option<Wall>,
    until: Option<Wall>,
    heap: BinaryHeap<Reverse<(Place, usize)>>,
    cursors: Vec<Cursor>,
}

impl Merge<'_, '_> {
    async fn add(&mut self, group: &LogGroupName, stream: String) -> Result<(), ApiError> {
        let name = LogStreamName {
            group: group.clone(),
            stream,
        };
        self.cursors.push(Cursor {
            name,
            lines: VecDeque::new(),
            next: None,
            more: true,
        });
        self.refill(self.cursors.len() - 1).await
    }

    /// Puts a stream's next line on the heap, reading on where its chunk is used up.
    async fn refill(&mut self, at: usize) -> Result<(), ApiError> {
        let cursor = &mut self.cursors[at];
        while cursor.lines.is_empty() && cursor.more {
            let query = LogQuery {
                from: self.from,
                until: self.until,
                position: cursor.next,
                backwards: false,
                limit: CHUNK_LINES,
                bytes: PAGE_BYTES_MAX,
            };
            let store = &*self.ctx.api.storage;
            let page = LogStore::read(store, &self.ctx.who, &cursor.name, query)
                .await
                .map_err(|fault| explain(fault.into()))?;
            cursor.more = page.more && cursor.next != Some(page.after);
            cursor.next = Some(page.after);
            cursor.lines.extend(page.lines);
        }
        if let Some((position, _, line)) = cursor.lines.front() {
            let stream = cursor.name.stream.clone();
            self.heap.push(Reverse((
                Place {
                    at: line.at,
                    stream,
                    position: *position,
                },
                at,
            )));
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<(Place, Wall, LogLine)>, ApiError> {
        let Some(Reverse((place, at))) = self.heap.pop() else {
            return Ok(None);
        };
        let (_, stored, line) = self.cursors[at]
            .lines
            .pop_front()
            .expect("what is on the heap is in its chunk");
        self.refill(at).await?;
        Ok(Some((place, stored, line)))
    }
}
