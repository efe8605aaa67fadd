//! Removal: of whole groups, and of what is older than it is kept.

use super::{FILES_PER_FOLDER, LogFiles, index::ByEnd, path};
use crate::failure::{file_write_failed, may_write};
use freehold_domain::{
    Principal, Wall,
    logs::{LogGroupName, LogStreamName},
    ports::CommitError,
};
use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    sync::atomic::Ordering::Relaxed,
};

/// Streams that are removed together.
const BATCH: usize = 1024;

impl LogFiles {
    /// Removes every stream of a group that was made before the call.
    pub(crate) fn remove_group(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> Result<(), CommitError> {
        may_write(who, &group.tenant)?;
        let until = self.next.load(Relaxed);
        self.write_rows();
        // Some of those in memory may have no row, and never get one.
        let held = self.streams.held.of_group(group);
        let held = held.iter().map(|stream| stream.number());
        let held: Vec<u64> = held.filter(|number| *number < until).collect();
        let of_held = self.remove(group, &held);
        loop {
            let numbers = self.streams.index.numbers(group, until, BATCH);
            let numbers = numbers.map_err(|error| self.write_failed(&error))?;
            if numbers.is_empty() {
                break;
            }
            self.remove(group, &numbers)?;
        }
        of_held?;
        let forgotten = self.streams.index.forget_group(group);
        forgotten.map_err(|error| self.write_failed(&error))
    }

    /// Removes closed streams whose last line is older than `before`; how many.
    pub(crate) fn expire(
        &self,
        who: &Principal,
        group: &LogGroupName,
        before: Wall,
    ) -> Result<u64, CommitError> {
        may_write(who, &group.tenant)?;
        self.read_unread(group)?;
        self.write_rows();
        let mut removed = 0;
        // Those in memory first: the index may be behind.
        let mut stay = HashSet::new();
        let mut ended = Vec::new();
        for stream in self.streams.held.of_group(group) {
            if stream.ended_before(before, &self.streams.backlog) {
                ended.push(stream.number());
            } else {
                stay.insert(stream.number());
            }
        }
        for ended in ended.chunks(BATCH) {
            self.remove(group, ended)?;
            removed += ended.len() as u64;
        }
        let mut after = ByEnd::START;
        loop {
            let found = self.streams.index.ended(group, before, after, BATCH);
            let found = found.map_err(|error| self.write_failed(&error))?;
            let Some(last) = found.last() else {
                return Ok(removed);
            };
            after = *last;
            let numbers = found.iter().map(|one| one.number);
            let numbers: Vec<u64> = numbers.filter(|number| !stay.contains(number)).collect();
            self.remove(group, &numbers)?;
            removed += numbers.len() as u64;
        }
    }

    /// Finds out when the streams of earlier processes ended that nobody has read since.
    fn read_unread(&self, group: &LogGroupName) -> Result<(), CommitError> {
        let mut after = ByEnd::START;
        loop {
            let found = self.streams.index.unread(group, after, BATCH);
            let found = found.map_err(|error| self.write_failed(&error))?;
            let Some((last, _)) = found.last() else {
                return Ok(());
            };
            after = *last;
            for (_, row) in found {
                let name = LogStreamName {
                    group: group.clone(),
                    stream: row.stream,
                };
                match self.find(&name) {
                    // Its row is written once it is read.
                    Ok(Some(stream)) => {
                        let _ = stream.describe(&self.streams.backlog);
                        self.used(&stream);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "a log stream could not be read"),
                }
            }
        }
    }

    /// Removes streams of a group, wherever they are known.
    fn remove(&self, group: &LogGroupName, numbers: &[u64]) -> Result<(), CommitError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let index = &self.streams.index;
        // Otherwise a row that is being written comes after its removal.
        let alone = self.streams.alone();
        let begun = index.begin_removal(numbers);
        let Err(error) = begun else {
            self.remove_files(group, numbers)?;
            let ended = index.end_removal(numbers);
            return ended.map_err(|error| self.write_failed(&error));
        };
        // A full disk: the files go all the same, which makes room for the rows to follow.
        self.streams.failed(&error);
        let doubt = self.streams.backlog.doubt();
        self.remove_files(group, numbers)?;
        // Some may have been loaded by their rows until their files were gone.
        self.remove_files(group, numbers)?;
        self.streams.backlog.forget(numbers);
        drop((doubt, alone));
        let written = self.streams.write();
        written.map_err(|error| self.streams.index.write_failed(&error))
    }

    fn remove_files(&self, group: &LogGroupName, numbers: &[u64]) -> Result<(), CommitError> {
        let of = numbers.iter().copied().collect();
        for stream in self.streams.held.take(group, &of) {
            let removed = stream.remove();
            removed.map_err(|error| file_write_failed(stream.path(), &error))?;
        }
        let mut folders = BTreeSet::new();
        for number in numbers {
            let path = path(&self.dir, *number);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file_write_failed(&path, &error));
                }
                _ => {}
            }
            folders.insert(number / FILES_PER_FOLDER);
        }
        self.remove_folders(folders)
    }

    /// Removes those of the folders that are empty and get no more files.
    fn remove_folders(&self, folders: BTreeSet<u64>) -> Result<(), CommitError> {
        self.streams.held.settle();
        let current = self.next.load(Relaxed) / FILES_PER_FOLDER;
        for folder in folders.range(..current) {
            let path = self.dir.join(folder.to_string());
            let Err(error) = fs::remove_dir(&path) else {
                continue;
            };
            match error.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound => {}
                _ => return Err(file_write_failed(&path, &error)),
            }
        }
        Ok(())
    }

    /// Writes rows ahead of a removal; what fails is removed by what is known in memory.
    fn write_rows(&self) {
        if let Err(error) = self.streams.write() {
            tracing::debug!(%error, "rows of log streams wait");
        }
    }
}
