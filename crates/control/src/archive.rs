//! Archives from strangers: read, judged, unpacked.
//!
//! [`directory`] reads a zip's directory and believes nothing that is not said twice; [`names`]
//! judges the names as a whole; [`unpack`] writes below one open folder and nowhere else;
//! [`child`] does all of it in a throw-away process without privileges. Refuses whatever a client
//! does not need and an attacker does: each rule is an [`ArchiveError`] that names entry and rule.
//! An archive inside an archive is a file like any other and is not opened.

pub mod child;
pub mod directory;
mod error;
mod names;
pub mod subprocess;
pub mod unpack;

pub use child::child_main;
pub use error::{ArchiveError, EntryRule};
pub use subprocess::{InProcessUnpacker, SubprocessUnpacker};

use freehold_domain::{BoxFuture, limits::Limits};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// Ceilings of one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackLimits {
    /// Files, links and folders, those folders included that only paths name.
    pub entries: u64,
    /// Bytes of all files.
    pub unpacked_bytes: u64,
}

impl From<&Limits> for UnpackLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            entries: limits.package_entries,
            unpacked_bytes: limits.package_unpacked_bytes,
        }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unpacked {
    /// Files and links.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// Why an archive was not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum UnpackError {
    /// It breaks a rule.
    #[error("the archive was refused")]
    Refused(
        /// Entry and rule.
        #[source]
        ArchiveError,
    ),
    /// The disk, or the process that unpacks, failed.
    #[error("unpacking failed: {reason}")]
    Failed {
        /// Text for the operator.
        reason: String,
    },
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
}

/// Unpacks archives.
pub trait Unpacker: Send + Sync {
    /// Unpacks the zip that `archive` is open on into the empty folder that `target` is open on.
    ///
    /// Errors: [`UnpackError`]; what was written by then stays for the caller to remove.
    fn unpack(
        &self,
        archive: OwnedFd,
        target: OwnedFd,
        limits: UnpackLimits,
    ) -> BoxFuture<'_, Result<Unpacked, UnpackError>>;
}
