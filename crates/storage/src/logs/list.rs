//! Listings: the streams of a group, in memory or in the index, and the bytes that they take.

use super::{
    LogFiles,
    index::{Row, Told},
    stream::{self, Stream},
};
use crate::failure::may_read;
use freehold_domain::{
    Principal,
    logs::{LogGroupName, LogStreamName},
    ports::{LogStreamInfo, ReadError},
};
use std::sync::Arc;

/// A stream of a listing.
enum Known {
    Held(Arc<Stream>),
    Row(Row),
}

impl LogFiles {
    /// Describes the streams of a group.
    pub(crate) fn streams(
        &self,
        who: &Principal,
        group: &LogGroupName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LogStreamInfo>, ReadError> {
        may_read(who, &group.tenant)?;
        let mut start = match after {
            Some(after) if after >= prefix => behind(after),
            _ => prefix.to_owned(),
        };
        let mut described = Vec::new();
        loop {
            let wanted = limit - described.len();
            let page = self.page(group, &start, prefix, wanted)?;
            let last = page.len() < wanted;
            if let Some((last, _)) = page.last() {
                start = behind(last);
            }
            for (name, known) in page {
                described.extend(self.describe(group, name, known)?);
            }
            // Some may have been removed meanwhile: an empty page would say that there are no more.
            if last || described.len() == limit {
                return Ok(described);
            }
        }
    }

    /// The streams of a group from the name `start` on, in memory or in the index. Memory is asked
    /// first: what leaves it is in the index by then.
    fn page(
        &self,
        group: &LogGroupName,
        start: &str,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(String, Known)>, ReadError> {
        let held = self.streams.held.from(group, start, prefix, limit);
        let mut rows = self
            .streams
            .index
            .page(group, start, limit)
            .map_err(|error| self.read_failed(&error))?;
        rows.retain(|row| row.stream.starts_with(prefix));
        let (mut held, mut rows) = (held.into_iter().peekable(), rows.into_iter().peekable());
        let mut page = Vec::new();
        while page.len() < limit {
            let row_first = match (held.peek(), rows.peek()) {
                (None, None) => break,
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some(held), Some(row)) => row.stream < held.name().stream,
            };
            if row_first {
                page.extend(rows.next().map(|row| (row.stream.clone(), Known::Row(row))));
                continue;
            }
            let Some(stream) = held.next() else { break };
            rows.next_if(|row| row.stream == stream.name().stream);
            page.push((stream.name().stream.clone(), Known::Held(stream)));
        }
        Ok(page)
    }

    fn describe(
        &self,
        group: &LogGroupName,
        stream: String,
        known: Known,
    ) -> Result<Option<LogStreamInfo>, ReadError> {
        let found = match known {
            Known::Held(stream) => Some(stream),
            Known::Row(Row {
                told: Told::All(extent),
                created,
                ..
            }) => return Ok(Some(stream::describe(&stream, created, &extent))),
            Known::Row(_) => self.find(&LogStreamName {
                group: group.clone(),
                stream,
            })?,
        };
        let Some(stream) = found else {
            return Ok(None);
        };
        let described = stream.describe(&self.streams.backlog);
        self.used(&stream);
        match described {
            Err(_) if stream.is_gone() => Ok(None),
            described => described.map(Some),
        }
    }

    /// Bytes of the lines of a group as they lie in its files; reads none of them.
    pub(crate) fn group_bytes(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> Result<u64, ReadError> {
        may_read(who, &group.tenant)?;
        let held = self.streams.held.of_group(group);
        let numbers: Vec<u64> = held.iter().map(|stream| stream.number()).collect();
        let others = self.streams.index.bytes(group, &numbers);
        let others = others.map_err(|error| self.read_failed(&error))?;
        let held = held.iter().map(|stream| stream.stored_bytes());
        Ok(others + held.sum::<Result<u64, _>>()?)
    }
}

/// The least name above this one.
fn behind(name: &str) -> String {
    format!("{name}\0")
}
