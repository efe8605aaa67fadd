//! Copies of the databases, each of one moment: what is in use changes while it is read.
//!
//! Pages of one read transaction are copied a few at a time, so writers go on, and the write-ahead
//! log grows by what they write meanwhile. The copies lie below the store for as long as the backup
//! takes; a start removes what a crash left.

use super::write::{Out, Pace};
use crate::{failure::is_full_disk, open::free_bytes, sql};
use freehold_domain::ports::BackupError;
use rusqlite::backup::{Backup, StepResult};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The folder below the store.
pub(crate) const FOLDER: &str = "backup";
/// Pages that are copied between two looks at the pace (256 KiB).
const STEP_PAGES: i32 = 64;
/// What stays free beside the copies: the ledger must go on.
const SPARE_BYTES: u64 = 16 << 20;
/// Pause before the next try while somebody holds a lock; only a recovery does.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Why there is no copy.
pub(crate) enum CopyError {
    /// Nobody wants it any more.
    Gone,
    /// It could not be made.
    Failed(BackupError),
}

impl From<BackupError> for CopyError {
    fn from(error: BackupError) -> Self {
        Self::Failed(error)
    }
}

/// Copies below a store, removed when dropped.
pub(crate) struct Copies {
    dir: PathBuf,
}

impl Copies {
    /// Makes the folder, empty.
    pub(crate) fn new(store: &Path) -> Result<Self, BackupError> {
        let dir = store.join(FOLDER);
        let made = remove_left(store).and_then(|()| fs::create_dir(&dir));
        made.map_err(|error| failed(&dir, &error))?;
        Ok(Self { dir })
    }

    /// Copies one database; the copy.
    ///
    /// Errors: [`BackupError::DiskFull`] before anything is written where there is no room,
    /// [`BackupError::Failed`]; [`CopyError::Gone`] when `out` wants none any more.
    pub(crate) fn take(
        &self,
        database: &Path,
        pace: &mut Pace,
        out: &dyn Out,
    ) -> Result<PathBuf, CopyError> {
        let name = database.file_name().unwrap_or_default();
        let copy = self.dir.join(name);
        let needed_bytes = SPARE_BYTES + len(database);
        let no_room = || BackupError::DiskFull {
            needed_bytes,
            free_bytes: free_bytes(&self.dir),
        };
        if free_bytes(&self.dir) < needed_bytes {
            return Err(no_room().into());
        }
        match pages(database, &copy, pace, out) {
            Ok(true) => Ok(copy),
            Ok(false) => Err(CopyError::Gone),
            Err(error) if is_full_disk(&error) => Err(no_room().into()),
            Err(error) => Err(failed(database, &error).into()),
        }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, "copies of a backup could not be removed; the next start does");
        }
    }
}

/// Removes what a crash left.
pub(crate) fn remove_left(store: &Path) -> io::Result<()> {
    match fs::remove_dir_all(store.join(FOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What a copy takes at the most: the log's pages may all be new.
fn len(database: &Path) -> u64 {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let len = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    len(database) + len(Path::new(&log))
}

fn failed(path: &Path, error: &dyn std::error::Error) -> BackupError {
    BackupError::Failed {
        reason: format!("{}: {error}", path.display()),
    }
}

/// Whether all pages were copied, and not given up.
fn pages(database: &Path, copy: &Path, pace: &mut Pace, out: &dyn Out) -> rusqlite::Result<bool> {
    let from = sql::open_reader(database)?;
    // Without a transaction of our own every write of the server's would begin the copy anew.
    from.execute_batch("BEGIN")?;
    from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let page: u32 = from.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let mut to = sql::open_copy(copy)?;
    let backup = Backup::new(&from, &mut to)?;
    while out.is_wanted() {
        match backup.step(STEP_PAGES)? {
            StepResult::Done => return Ok(true),
            StepResult::More => pace.spend(STEP_PAGES as u64 * u64::from(page)),
            _ => std::thread::sleep(BUSY_PAUSE),
        }
    }
    Ok(false)
}
