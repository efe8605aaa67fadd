//! How a store is opened, and why it cannot be.

use crate::{failure::is_full_disk, folder::FolderError};
use freehold_domain::ports::Clock;
use rustix::fs::statvfs;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a store is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// The data folder; made where it is missing.
    pub dir: PathBuf,
    /// Stamps log lines and makes abandoned claims due.
    pub clock: Arc<dyn Clock>,
    /// Threads that read, each with its own connections.
    pub readers: usize,
    /// Log files that stay open between lines.
    pub log_files_open: usize,
    /// Size at which a lane of the ledger goes on in its next segment; `None` for 64 MiB.
    pub segment_bytes: Option<u64>,
    /// The same for the audit trail; `None` for 16 MiB.
    pub audit_segment_bytes: Option<u64>,
}

impl OpenOptions {
    /// The defaults for `dir`.
    pub fn new(dir: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            dir: dir.into(),
            clock,
            readers: 2,
            log_files_open: 256,
            segment_bytes: None,
            audit_segment_bytes: None,
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder is held, too new, or not ours.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The disk has no room for what a database writes before it can be read.
    #[error(
        "no room to open {}: {free_bytes} bytes of its disk are free, {OPEN_BYTES} are enough",
        path.display()
    )]
    DiskFull {
        /// Which database, or folder.
        path: PathBuf,
        /// What is free on its disk.
        free_bytes: u64,
        /// What the disk says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A database does not open.
    #[error("could not open the database {}", path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// What SQLite says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A folder of files does not open.
    #[error("could not open {}", path.display())]
    Files {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("could not start the store's threads")]
    Threads(#[source] io::Error),
}

/// What a clean store writes until it is open: SQLite's shared memory is 32 KiB for each database,
/// and each gets a log.
const OPEN_BYTES: u64 = 512 << 10;

/// A database that does not open.
pub(crate) fn database(path: &Path) -> impl FnOnce(rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    move |error| {
        let (is_full, source) = (is_full_disk(&error), Box::new(error));
        match is_full {
            true => OpenError::DiskFull {
                free_bytes: free_bytes(&path),
                path,
                source,
            },
            false => OpenError::Database { path, source },
        }
    }
}

/// Files that do not open.
pub(crate) fn files(path: PathBuf) -> impl FnOnce(io::Error) -> OpenError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::DiskFull {
            free_bytes: free_bytes(&path),
            path,
            source: Box::new(source),
        },
        _ => OpenError::Files { path, source },
    }
}

/// What is free on the disk of a file that need not be there.
pub(crate) fn free_bytes(path: &Path) -> u64 {
    let there = path.ancestors().find(|path| path.exists());
    there
        .and_then(|path| statvfs(path).ok())
        .map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}
