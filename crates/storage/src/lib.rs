//! The store of one machine: SQLite for records and the queue, files for blobs, ledger and logs.
//!
//! It sees keys, bytes and versions, never functions; it refuses a principal that does not reach
//! the tenant of what it asks for, a data folder that another server holds, and one that a newer
//! release wrote. No SQLite type crosses its border.
//!
//! # The data folder
//!
//! ```text
//! format                  the number of this layout, as text
//! lock                    held with flock by the one server; says its pid, and vouches for logs.db
//! meta.db   (+ -wal -shm) records
//! queue.db  (+ -wal -shm) events: waiting, claimed, ended for a time
//! blobs/<tenant>/<2 hex>/<64 hex>   content, named by its SHA-256
//! blobs/temporary/<n>     uploads that have not been named yet; emptied at start
//! ledger/<lane>/<n>.seg   append-only frames
//! audit/<part>/<n>.seg    files of the same kind: the audit trail, a folder for each account and for
//!                         `platform` and `unproven`; named by their first line's number, old ones removed
//! logs/<n / 1000>/<n>.log one stream each; its names stand inside
//! logs.db   (+ -wal -shm) their index; made again from them whenever it cannot be believed
//! backup/                 copies of the databases while a backup is made; removed at start
//! before-format-<n>/      the copy made before a migration to format n
//! ```
//!
//! Everything in a host path is a number, a digest or a 12-digit tenant id that the platform gave.
//!
//! # What is durable when
//!
//! A commit returns after `fsync` (WAL, `synchronous=FULL`); commits that arrive together share
//! one. A ledger frame or a line of the audit trail survives the process when `append` returns and a power cut within a second.
//! A log line survives the process when `append` returns. When the disk is full nothing is
//! acknowledged and reads go on; it recovers by itself. After a failed `fsync` nothing is
//! acknowledged until a restart, since the kernel may have dropped what it could not write.

mod audit;
mod backup;
mod blobs;
mod failure;
mod folder;
mod frame;
mod lanes;
mod logs;
mod meta;
mod open;
mod pool;
mod queue;
mod sequence;
mod sql;
mod stamp;
mod storage;
mod unchecked;
mod watch;
mod writer;

pub use backup::{
    BACKUP_FORMAT, BackupDesk, BackupFault, BackupHead, BackupReader, BackupSink, BackupSummary,
    Discard, Offline, OfflineError, RestoreError, restore,
};
pub use folder::{FORMAT, FolderError};
pub use logs::LogIndexStats;
pub use open::{OpenError, OpenOptions};
pub use storage::SqliteStorage;
