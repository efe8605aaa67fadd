//! A store that no server holds, backed up from where it lies.

use super::{
    BackupHead,
    cut::{self, AuditSegments, Ended, Held, Origin, Segments},
    write::{Gone, Out},
};
use crate::{
    audit::AuditFolder,
    folder::{FORMAT, Folder, FolderError},
    lanes,
};
use bytes::Bytes;
use freehold_domain::ports::{BackupAsked, BackupError};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A store, locked, and otherwise as it was left: nothing is repaired or migrated.
pub struct Offline {
    dir: PathBuf,
    layout: u32,
    _folder: Folder,
}

/// Why a store could not be backed up from where it lies.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// It cannot be held.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It could not be read.
    #[error(transparent)]
    Backup(BackupError),
    /// Nobody takes the backup any more.
    #[error("nobody takes the backup any more")]
    Gone,
}

impl Offline {
    /// Holds the store in `dir`.
    ///
    /// Errors: [`FolderError`]: none is there, a server has it, a newer release wrote it.
    pub fn hold(dir: &Path) -> Result<Self, FolderError> {
        let (folder, layout) = Folder::hold(dir, FORMAT)?;
        Ok(Self {
            dir: dir.to_owned(),
            layout,
            _folder: folder,
        })
    }

    /// Writes a backup of it.
    ///
    /// Errors: [`OfflineError`]; what was written says that it is not whole.
    pub fn backup(
        &self,
        asked: BackupAsked,
        head: BackupHead,
        to: &mut dyn Write,
    ) -> Result<(), OfflineError> {
        let head = BackupHead {
            layout: self.layout,
            logs: asked.logs,
            ..head
        };
        match cut::write(self, &head, asked, Pipe(to)) {
            Ended::Whole => Ok(()),
            Ended::Gone => Err(OfflineError::Gone),
            Ended::Failed(error) => Err(OfflineError::Backup(error)),
        }
    }

    fn lanes(&self) -> io::Result<Segments> {
        let folder = self.dir.join("ledger");
        let found = match lanes::numbers(&folder, "") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found?,
        };
        let mut segments = Vec::new();
        for lane in found.into_iter().filter_map(|lane| lane.try_into().ok()) {
            let folder = folder.join(u16::to_string(&lane));
            for number in lanes::numbers(&folder, ".seg")? {
                let bytes = fs::metadata(folder.join(format!("{number}.seg")))?.len();
                segments.push((lane, number, bytes));
            }
        }
        Ok(segments)
    }
}

impl Origin for Offline {
    fn dir(&self) -> &Path {
        &self.dir
    }
    fn hold(&self) -> Box<dyn Held + '_> {
        // Nobody else is there to remove any.
        Box::new(())
    }
    fn ledger(&self) -> io::Result<Segments> {
        self.lanes()
    }
    fn audit(&self) -> io::Result<AuditSegments> {
        AuditFolder::files(&self.dir.join("audit"))
    }
}

struct Pipe<'a>(&'a mut dyn Write);

impl Out for Pipe<'_> {
    fn send(&mut self, piece: Bytes) -> Result<(), Gone> {
        self.0.write_all(&piece).map_err(|_| Gone)?;
        self.0.flush().map_err(|_| Gone)
    }
    fn is_wanted(&self) -> bool {
        true
    }
}
