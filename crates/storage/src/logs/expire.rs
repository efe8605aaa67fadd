//! Expiry: closed streams whose last line is older than it is kept. What is removed was looked at:
//! a file that is longer, or shorter, than its row says is read before it is judged.

use super::{
    LogFiles,
    index::{ByEnd, Row},
    path,
    remove::BATCH,
};
use crate::failure::may_write;
use freehold_domain::{
    Principal, Wall,
    logs::{LogGroupName, LogStreamName},
    ports::CommitError,
};
use std::{collections::HashSet, fs, io};

impl LogFiles {
    /// Removes closed streams whose last line is older than `before`; how many.
    pub(crate) fn expire(
        &self,
        who: &Principal,
        group: &LogGroupName,
        before: Wall,
    ) -> Result<u64, CommitError> {
        may_write(who, &group.tenant)?;
        self.write_rows();
        let of_held = self.expire_held(group, before)?;
        let of_unread = self.expire_unread(group, before)?;
        Ok(of_held + of_unread + self.expire_rows(group, before)?)
    }

    /// Those in memory: the index may be behind.
    fn expire_held(&self, group: &LogGroupName, before: Wall) -> Result<u64, CommitError> {
        let mut ended = Vec::new();
        for stream in self.streams.held.of_group(group) {
            if stream.ended_before(before, &self.streams.backlog) {
                ended.push(stream.number());
            }
        }
        for ended in ended.chunks(BATCH) {
            self.remove(group, ended)?;
        }
        Ok(ended.len() as u64)
    }

    /// Those of earlier processes that nobody has read since. What is found out goes to the index,
    /// a batch at a time, and memory holds no more of them than that: what cannot be written is
    /// read again another time.
    fn expire_unread(&self, group: &LogGroupName, before: Wall) -> Result<u64, CommitError> {
        let (mut after, mut removed) = (ByEnd::START, 0);
        loop {
            let found = self.streams.index.unread(group, after, BATCH);
            let found = found.map_err(|error| self.write_failed(&error))?;
            let Some((last, _)) = found.last() else {
                return Ok(removed);
            };
            after = *last;
            let ended: Vec<u64> = found
                .iter()
                .filter(|(_, row)| self.has_ended(group, row, before))
                .map(|(_, row)| row.number)
                .collect();
            self.remove(group, &ended)?;
            removed += ended.len() as u64;
            self.write_rows();
        }
    }

    /// Those whose rows say when they ended.
    fn expire_rows(&self, group: &LogGroupName, before: Wall) -> Result<u64, CommitError> {
        // Some go on, and their rows are behind.
        let held = self.streams.held.of_group(group);
        let held: HashSet<u64> = held.iter().map(|stream| stream.number()).collect();
        let (mut after, mut removed) = (ByEnd::START, 0);
        loop {
            let found = self.streams.index.ended(group, before, after, BATCH);
            let found = found.map_err(|error| self.write_failed(&error))?;
            let Some((last, _)) = found.last() else {
                return Ok(removed);
            };
            after = *last;
            let (mut ended, mut lost) = (Vec::new(), Vec::new());
            for (_, row) in found.iter().filter(|(_, row)| !held.contains(&row.number)) {
                match fs::metadata(path(&self.dir, row.number)) {
                    Ok(file) if row.told.len(row.head) == Some(file.len()) => {
                        ended.push(row.number)
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => lost.push(row.number),
                    _ if self.has_ended(group, row, before) => ended.push(row.number),
                    _ => {}
                }
            }
            self.remove(group, &ended)?;
            removed += ended.len() as u64;
            // Nothing expires with a row whose file somebody took away.
            self.remove(group, &lost)?;
        }
    }

    /// Reads a stream to find out whether it ended before.
    fn has_ended(&self, group: &LogGroupName, row: &Row, before: Wall) -> bool {
        let name = LogStreamName {
            group: group.clone(),
            stream: row.stream.clone(),
        };
        match self.find(&name) {
            Ok(Some(stream)) => {
                let ended = stream.ended_before(before, &self.streams.backlog);
                self.used(&stream);
                // Another file may have got the name meanwhile.
                ended && stream.number() == row.number
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "a log stream could not be read");
                false
            }
        }
    }
}
