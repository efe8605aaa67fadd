//! A backup: the whole store as one stream of bytes, taken while it is in use, and the way back.
//!
//! ```text
//! "FHBACKUP" │ head │ entry: name, data, data …, end │ entry … │ whole
//! ```
//!
//! Everything behind the first eight bytes stands in frames ([`frame`](crate::frame)), the first
//! byte of each saying what it is. An entry is a file of the store; its end has its length and its
//! SHA-256, the last frame the number of entries and a SHA-256 over head, names and ends. So a bit
//! that is flipped anywhere, and an end that came too early, is found before anything is believed.
//! Entries come in one order and each once, which a reader checks without remembering them.
//!
//! # The cut
//!
//! ```text
//! blobs are held ─▶ meta.db ─▶ queue.db ─▶ length of every ledger segment ─▶ …and of the trail
//!                   └─ pages of one transaction each ─┘        the files are read only now
//! ```
//!
//! Everything that was acknowledged before the backup began is in it. What is derived comes before
//! what it is derived from: the roll-ups of usage, and how far they have read the ledger, are in
//! `meta.db`, so the ledger of a backup has at least what its roll-ups have counted, and a restored
//! store counts the rest. An event whose attempt is in the ledger may be waiting in `queue.db`, and
//! is then attempted again, as after a crash. A blob is stored before a record speaks of it, and
//! none is removed while it is held, so every blob of the cut's records is there when its turn
//! comes. Logs are as long as they are when they are read.
//!
//! `logs.db` is not in it: it is made again from the logs. Nor are the sealing keys, which the store
//! never has; the head names them by fingerprint.

mod copy;
mod cut;
mod name;
mod offline;
mod read;
mod restore;
mod serve;
mod write;

pub(crate) use copy::remove_left;
pub use offline::{Offline, OfflineError};
pub use read::{BackupFault, BackupReader, BackupSink, BackupSummary, Discard};
pub use restore::{RestoreError, restore};
pub use serve::BackupDesk;

use serde::{Deserialize, Serialize};

/// The version of the stream that this release writes, and the newest that it reads.
pub const BACKUP_FORMAT: u32 = 1;

pub(crate) const MAGIC: &[u8; 8] = b"FHBACKUP";
/// File bytes of one frame, and about what is handed on at a time. A core hands one out between two
/// calls of functions, so it is small.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Bytes of one frame's payload.
pub(crate) const BLOCK_BYTES_MAX: usize = 1 << 20;

/// First bytes of frames.
pub(crate) mod kind {
    pub(crate) const HEAD: u8 = b'H';
    pub(crate) const ENTRY: u8 = b'E';
    pub(crate) const DATA: u8 = b'D';
    pub(crate) const END: u8 = b'F';
    pub(crate) const WHOLE: u8 = b'T';
    pub(crate) const BROKEN: u8 = b'X';
}

/// What a backup says of itself before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// Of the stream, [`BACKUP_FORMAT`].
    pub format: u32,
    /// Of the data folder, [`FORMAT`](crate::FORMAT).
    pub layout: u32,
    /// The release that wrote it.
    pub release: String,
    /// When it began, ms since 1970.
    pub at_ms: i64,
    /// Whether the lines of functions are in it.
    pub logs: bool,
    /// Fingerprints of the keys that open what is sealed in it, oldest first.
    pub seals: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct EntryHead {
    pub(crate) name: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct EntryEnd {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Whole {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// Files that were not what their names say when they were read; they are in it as they were.
    pub(crate) damaged: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Broken {
    pub(crate) reason: String,
}
