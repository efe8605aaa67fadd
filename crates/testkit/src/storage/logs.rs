//! The log streams of the store in memory. A position is the number of lines before it.

use freehold_domain::{
    Wall,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::{LogPage, LogQuery, LogStreamInfo},
};
use std::collections::{BTreeMap, HashSet};

struct Stream {
    created: Wall,
    lines: Vec<(Wall, LogLine)>,
}

/// Every stream.
#[derive(Default)]
pub(super) struct Logs {
    streams: BTreeMap<LogStreamName, Stream>,
    closed: HashSet<LogStreamName>,
}

impl Logs {
    pub(super) fn append(&mut self, name: &LogStreamName, lines: &[LogLine], stored: Wall) {
        let new = || Stream {
            created: stored,
            lines: Vec::new(),
        };
        let stream = self.streams.entry(name.clone()).or_insert_with(new);
        let stamped = lines.iter().map(|line| (stored, line.clone()));
        stream.lines.extend(stamped);
        self.closed.remove(name);
    }

    pub(super) fn close(&mut self, name: &LogStreamName) {
        if self.streams.contains_key(name) {
            self.closed.insert(name.clone());
        }
    }

    pub(super) fn streams(
        &self,
        group: &LogGroupName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<LogStreamInfo> {
        let of_group = self.streams.iter().filter(|(name, _)| name.group == *group);
        of_group
            .filter(|(name, _)| name.stream.starts_with(prefix))
            .filter(|(name, _)| after.is_none_or(|after| name.stream.as_str() > after))
            .take(limit)
            .map(|(name, stream)| LogStreamInfo {
                name: name.stream.clone(),
                created: stream.created,
                first: stream.lines.first().map(|(_, line)| line.at),
                last: stream.lines.last().map(|(_, line)| line.at),
                bytes: stream.lines.iter().map(|(_, l)| l.text.len() as u64).sum(),
                lines: stream.lines.len() as u64,
            })
            .collect()
    }

    pub(super) fn group_bytes(&self, group: &LogGroupName) -> u64 {
        let of_group = self.streams.iter().filter(|(name, _)| name.group == *group);
        let lines = of_group.flat_map(|(_, stream)| &stream.lines);
        lines.map(|(_, line)| line.text.len() as u64).sum()
    }

    pub(super) fn read(&self, name: &LogStreamName, query: LogQuery) -> LogPage {
        let lines = self.streams.get(name).map_or(&[][..], |s| &s.lines);
        let start = match query.position {
            Some(position) => {
                usize::try_from(position).map_or(lines.len(), |at| at.min(lines.len()))
            }
            None if query.backwards => lines.len(),
            None => 0,
        };
        let wanted = |line: &LogLine| {
            query.from.is_none_or(|from| line.at >= from)
                && query.until.is_none_or(|until| line.at < until)
        };
        let (mut page, mut bytes, mut at) = (Vec::new(), 0, start);
        let end = if query.backwards { 0 } else { lines.len() };
        while at != end {
            let index = if query.backwards { at - 1 } else { at };
            let (stored, line) = &lines[index];
            if wanted(line) {
                let over = bytes + line.text.len() > query.bytes && !page.is_empty();
                if page.len() >= query.limit || over {
                    break;
                }
                bytes += line.text.len();
                page.push((index as u64, *stored, line.clone()));
            }
            at = if query.backwards { at - 1 } else { at + 1 };
        }
        if query.backwards {
            page.reverse();
        }
        let (reached, start) = (at as u64, start as u64);
        LogPage {
            before: match page.first() {
                _ if query.backwards => reached,
                Some((position, ..)) => *position,
                None => start,
            },
            after: match page.last() {
                _ if !query.backwards => reached,
                Some((position, ..)) => position + 1,
                None => start,
            },
            more: at != end,
            lines: page,
        }
    }

    pub(super) fn remove_group(&mut self, group: &LogGroupName) {
        self.streams.retain(|name, _| name.group != *group);
        self.closed.retain(|name| name.group != *group);
    }

    pub(super) fn expire(&mut self, group: &LogGroupName, before: Wall) -> u64 {
        let count = self.streams.len();
        let closed = &self.closed;
        self.streams.retain(|name, stream| {
            let newest = stream.lines.last().map_or(stream.created, |(_, l)| l.at);
            name.group != *group || !closed.contains(name) || newest >= before
        });
        let streams = &self.streams;
        self.closed.retain(|name| streams.contains_key(name));
        (count - self.streams.len()) as u64
    }
}
