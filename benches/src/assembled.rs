//! A data folder whose assembled runtimes are there already.
//!
//! A first start copies every interpreter of the machine, which takes longer than all that a smoke
//! run asks. Where `--assembled` names the place in which the tests from outside keep their data
//! folders, a server begins in one of those: empty but for what `freehold runtimes install` makes,
//! which the server compares with the machine as at any start. A folder has one user at a time, by
//! its lock. Without the option every server begins in an empty folder.

use crate::Failure;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// What a folder keeps, as in `tests/support/server.py`.
const KEPT: [&str; 3] = ["runtimes", "sdk", "cache"];
/// Folders at most.
const FOLDERS_MAX: usize = 100;

/// Said once, before the first server starts.
static PLACE: OnceLock<PathBuf> = OnceLock::new();

/// Data folders are taken below `place` from now on.
pub fn keep_in(place: PathBuf) {
    let _ = PLACE.set(place);
}

/// A folder for a server's data, without data; emptied again when it is dropped.
pub struct Assembled {
    data: PathBuf,
    _lock: File,
}

impl Assembled {
    /// Takes the first one that nobody uses; `None` where no place is named.
    pub fn take() -> Result<Option<Self>, Failure> {
        let Some(place) = PLACE.get() else {
            return Ok(None);
        };
        fs::create_dir_all(place)?;
        fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
        Self::take_in(place).map(Some)
    }

    fn take_in(place: &Path) -> Result<Self, Failure> {
        for number in 0..FOLDERS_MAX {
            let lock = File::create(place.join(format!("lock-{number}")))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let data = place.join(format!("data-{number}"));
            if is_served(&data) {
                continue;
            }
            if !data.is_dir() {
                fs::create_dir(&data)?;
                fs::set_permissions(&data, fs::Permissions::from_mode(0o755))?;
            }
            let taken = Self { data, _lock: lock };
            taken.empty()?;
            return Ok(taken);
        }
        Err(format!("{FOLDERS_MAX} servers at once below {}", place.display()).into())
    }

    /// Where the server keeps its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    fn empty(&self) -> Result<(), Failure> {
        for entry in fs::read_dir(&self.data)? {
            let entry = entry?;
            if KEPT.iter().any(|kept| entry.file_name() == *kept) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Whether a server that outlived whoever started it still has the folder.
fn is_served(data: &Path) -> bool {
    let lock = File::open(data.join("store/lock"));
    lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

impl Drop for Assembled {
    fn drop(&mut self) {
        if let Err(failure) = self.empty() {
            eprintln!("bench: {}: {failure}", self.data.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_user_and_keeps_what_was_assembled_alone() {
        let _alone = crate::starting_processes();
        let place = tempfile::tempdir().unwrap();
        let first = Assembled::take_in(place.path()).unwrap();
        let second = Assembled::take_in(place.path()).unwrap();
        assert_ne!(first.data(), second.data());
        let data = first.data().to_owned();
        fs::create_dir_all(data.join("runtimes/python3.13")).unwrap();
        fs::create_dir_all(data.join("ledger/segments")).unwrap();
        fs::write(data.join("root-key"), "secret").unwrap();
        drop(first);
        let names = |data: &Path| {
            let all = fs::read_dir(data).unwrap().map(|one| one.unwrap());
            all.map(|one| one.file_name()).collect::<Vec<_>>()
        };
        assert_eq!(names(&data), ["runtimes"]);
        // What another left behind is nobody's data either.
        fs::write(data.join("root-key"), "secret").unwrap();
        let again = Assembled::take_in(place.path()).unwrap();
        assert_eq!(again.data(), data);
        drop(again);
        // A server that nobody waits for keeps what it serves from.
        fs::create_dir(data.join("store")).unwrap();
        let held = File::create(data.join("store/lock")).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        let other = Assembled::take_in(place.path()).unwrap();
        assert_ne!(other.data(), data);
        assert!(data.join("store/lock").exists());
        drop((held, other));
        let again = Assembled::take_in(place.path()).unwrap();
        assert_eq!(again.data(), data);
        assert_eq!(names(&data), ["runtimes"]);
    }
}
