//! Files and rows are compared, a folder at a time: a file that no row speaks of is found by nobody
//! and never expires, a row without a file is listed and has no lines. Neither comes about by
//! itself; hands, backups and disks do it.

use super::{
    FILES_PER_FOLDER, header,
    index::Result,
    indexer::Streams,
    scan::{numbers_in, unread},
};
use std::{collections::HashSet, fs};

impl Streams {
    /// Compares the first folder from number `from` on that has files or rows; where to go on, `None`
    /// behind the last one.
    pub(super) fn sweep(&self, from: u64) -> Option<u64> {
        if !self.index.is_in_place() {
            self.damaged(&format!(
                "{} is not the file that is open",
                self.index.path().display()
            ));
            return Some(from);
        }
        match self.first_folder(from) {
            Ok(Some(folder)) => {
                if let Err(error) = self.sweep_folder(folder) {
                    self.failed(&error);
                }
                Some(folder + 1)
            }
            Ok(None) => None,
            Err(error) => {
                self.failed(&error);
                Some(from)
            }
        }
    }

    fn first_folder(&self, from: u64) -> Result<Option<u64>> {
        let rows = self
            .index
            .first_number(from.saturating_mul(FILES_PER_FOLDER))?;
        let folders = fs::read_dir(self.index.dir()).into_iter().flatten();
        let numbers = folders.filter_map(|folder| super::folder_number(&folder.ok()?.path()));
        let folders = numbers.filter(|number| *number >= from);
        Ok(folders.chain(rows.map(|row| row / FILES_PER_FOLDER)).min())
    }

    fn sweep_folder(&self, folder: u64) -> Result<()> {
        // No row is written, and no stream removed, as long as this is held.
        let _alone = self.alone();
        if self.backlog.is_suspended() {
            return Ok(());
        }
        let dir = self.index.dir();
        let first = folder.saturating_mul(FILES_PER_FOLDER);
        let behind = first.saturating_add(FILES_PER_FOLDER);
        // What comes from the floor on may be on its way.
        let range = first..behind.min(self.making.floor());
        let files = match numbers_in(dir, &dir.join(folder.to_string()), |_| ()) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(folder, %error, "log files could not be listed");
                return Ok(());
            }
        };
        let files: HashSet<u64> = files.into_iter().filter(|n| range.contains(n)).collect();
        // Asked before the rows: one that leaves memory has one.
        let held = self.held.numbers(&range);
        let rows = self.index.numbers_in(range.start, range.end)?;
        let rows: HashSet<u64> = rows.into_iter().collect();
        let is_held = |number: &u64| held.contains(number);
        let gone: Vec<u64> = rows
            .difference(&files)
            .copied()
            .filter(|number| !is_held(number))
            .collect();
        let mut heads = Vec::new();
        for number in files.difference(&rows).filter(|number| !is_held(number)) {
            // Without a head it never held a line.
            if let Ok(Some(head)) = header::read(&super::path(dir, *number)) {
                heads.push((*number, head));
            }
        }
        if gone.is_empty() && heads.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            folder,
            files = heads.len(),
            rows = gone.len(),
            "log files without a row are listed again, rows without a file are not any more"
        );
        let rows: Vec<_> = heads
            .iter()
            .map(|(number, head)| unread(*number, head))
            .collect();
        self.index.write(rows.iter(), &gone, 0)
    }
}
