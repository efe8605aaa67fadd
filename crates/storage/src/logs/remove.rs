//! Removal of streams: their rows turn into notes, their files go, then the notes.

use super::{
    FILES_PER_FOLDER, LogFiles,
    index::{IndexError, Result as Indexed},
    path,
};
use crate::failure::{file_write_failed, may_write};
use freehold_domain::{Principal, logs::LogGroupName, ports::CommitError};
use std::{collections::BTreeSet, fs, io};

/// Streams that are removed together.
pub(super) const BATCH: usize = 1024;

impl LogFiles {
    /// Removes every stream of a group that was made before the call.
    pub(crate) fn remove_group(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> Result<(), CommitError> {
        may_write(who, &group.tenant)?;
        let until = self.streams.making.next();
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

    /// Removes streams of a group, wherever they are known.
    pub(super) fn remove(&self, group: &LogGroupName, numbers: &[u64]) -> Result<(), CommitError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let index = &self.streams.index;
        // Otherwise a row that is being written comes after its removal.
        let alone = self.streams.alone();
        let Err(error) = self.begin_removal(numbers) else {
            self.remove_files(group, numbers)?;
            let ended = index.end_removal(numbers);
            return ended.map_err(|error| self.write_failed(&error));
        };
        // A full disk: the files go all the same, which makes room for the rows to follow. Or an
        // index that is made again, which may have seen them.
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

    fn begin_removal(&self, numbers: &[u64]) -> Indexed<()> {
        match self.streams.backlog.is_suspended() {
            true => Err(IndexError::Absent),
            false => self.streams.index.begin_removal(numbers),
        }
    }

    /// Errors: the first file that does not go; the others go all the same. Nobody writes to any of them
    /// any more: what has turned into a note must not get lines that go with the note.
    fn remove_files(&self, group: &LogGroupName, numbers: &[u64]) -> Result<(), CommitError> {
        let of = numbers.iter().copied().collect();
        let mut done = Ok(());
        for stream in self.streams.held.take(group, &of) {
            let removed = stream.remove();
            done = done.and(removed.map_err(|error| file_write_failed(stream.path(), &error)));
        }
        let mut folders = BTreeSet::new();
        for number in numbers {
            let path = path(&self.dir, *number);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    done = done.and(Err(file_write_failed(&path, &error)));
                }
                _ => drop(folders.insert(number / FILES_PER_FOLDER)),
            }
        }
        done.and(self.remove_folders(folders))
    }

    /// Removes those of the folders that are empty and get no more files.
    fn remove_folders(&self, folders: BTreeSet<u64>) -> Result<(), CommitError> {
        let current = self.streams.making.floor() / FILES_PER_FOLDER;
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
    pub(super) fn write_rows(&self) {
        if let Err(error) = self.streams.write() {
            tracing::debug!(%error, "rows of log streams wait");
        }
    }
}
