//! The way back: a backup becomes a store in a folder of its own.

use super::read::{BackupFault, BackupReader, BackupSink, BackupSummary};
use crate::{
    backup::name::EntryName,
    folder::{FolderError, write_format},
};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Why a backup did not become a store. What there is of the folder is nobody's.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is refused, or there is no room for it.
    #[error(transparent)]
    Backup(#[from] BackupFault),
    /// What is outside of the entries could not be written.
    #[error("could not write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl RestoreError {
    /// Whether the disk of the new folder has no room.
    pub fn is_full_disk(&self) -> bool {
        let (Self::Backup(BackupFault::Write { source, .. }) | Self::Write { source, .. }) = self
        else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// Makes a store of a backup in `dir`, which is there and empty. All of it is on disk when this
/// returns; before, nobody may take the folder for a store.
pub fn restore(from: &mut dyn Read, dir: &Path) -> Result<BackupSummary, RestoreError> {
    let mut files = Files {
        dir: dir.to_owned(),
        last_folder: None,
        current: None,
    };
    let summary = BackupReader::read_all(from, &mut files)?;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| RestoreError::Write { path, source }
    };
    write_format(dir, summary.head.layout).map_err(|error| match error {
        FolderError::Io { path, source, .. } => RestoreError::Write { path, source },
        other => at(&dir.join("format"))(io::Error::other(other)),
    })?;
    let folder = File::open(dir).map_err(at(dir))?;
    rustix::fs::syncfs(&folder).map_err(|errno| at(dir)(errno.into()))?;
    Ok(summary)
}

struct Files {
    dir: PathBuf,
    last_folder: Option<PathBuf>,
    current: Option<(PathBuf, File)>,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupFault {
    let path = path.to_owned();
    move |source| BackupFault::Write { path, source }
}

impl BackupSink for Files {
    fn begin(&mut self, name: &str) -> Result<(), BackupFault> {
        let name: EntryName = name.parse().expect("the reader passes on names of ours");
        let path = name.below(&self.dir);
        let folder = path.parent().unwrap_or(&self.dir).to_owned();
        if self.last_folder.as_ref() != Some(&folder) {
            fs::create_dir_all(&folder).map_err(failed(&folder))?;
            self.last_folder = Some(folder);
        }
        let file = File::create_new(&path).map_err(failed(&path))?;
        self.current = Some((path, file));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), BackupFault> {
        match &mut self.current {
            Some((path, file)) => file.write_all(bytes).map_err(failed(path)),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), BackupFault> {
        self.current = None;
        Ok(())
    }
}
