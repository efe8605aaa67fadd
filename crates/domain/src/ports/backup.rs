//! Backups of the store, taken while it is in use and handed out piece by piece.

use crate::{BoxFuture, principal::Principal};
use bytes::Bytes;
use std::time::Duration;

/// Makes backups, one at a time. For the platform alone.
pub trait Backups: Send + Sync {
    /// Begins one; its id. Whatever was acknowledged before this was called is in it.
    ///
    /// Errors: [`BackupError::UnderWay`], [`BackupError::Denied`], [`BackupError::Failed`].
    fn backup_start(
        &self,
        who: &Principal,
        asked: BackupAsked,
    ) -> BoxFuture<'_, Result<String, BackupError>>;

    /// The next piece, waited for as long as `wait`. Whoever asks for none for a minute has no
    /// backup any more.
    ///
    /// Errors: what the backup failed of, [`BackupError::Unknown`].
    fn backup_piece(
        &self,
        who: &Principal,
        id: &str,
        wait: Duration,
    ) -> BoxFuture<'_, Result<BackupPiece, BackupError>>;

    /// Gives one up; one that has ended is fine. The next may begin when this resolves, unless the
    /// disk takes seconds for a read.
    ///
    /// Errors: [`BackupError::Unknown`], [`BackupError::Denied`].
    fn backup_stop(&self, who: &Principal, id: &str) -> BoxFuture<'_, Result<(), BackupError>>;
}

/// What a backup shall hold, and how fast it may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupAsked {
    /// Whether the lines of functions belong to it.
    pub logs: bool,
    /// Bytes per second at the most.
    pub bytes_per_second: Option<u64>,
}

/// What comes of asking for a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupPiece {
    /// The next bytes.
    Bytes(Bytes),
    /// Nothing yet.
    Later,
    /// Nothing more: it is whole.
    End,
}

/// Why there is no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// One is being made.
    #[error("another backup is under way")]
    UnderWay,
    /// None has this id, or it was given up.
    #[error("there is no such backup: it has ended, or nobody asked for a piece of it in time")]
    Unknown,
    /// Backups are the platform's.
    #[error("only the platform itself makes backups")]
    Denied,
    /// The databases are copied before they are handed out, and there is no room for that.
    #[error(
        "no room below the data folder for a copy of its databases: {needed_bytes} bytes are needed, {free_bytes} are free"
    )]
    DiskFull {
        /// What the copies take.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// Something did not read.
    #[error("the backup failed: {reason}")]
    Failed {
        /// Text for the operator.
        reason: String,
    },
}
