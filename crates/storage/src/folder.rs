//! The data folder: one server per folder, a format number, migrations that only go forward.

use crate::stamp::{PID_BYTES, Stamp};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The layout that this release writes.
pub const FORMAT: u32 = 2;

/// Brings the folder from format `from` to `from + 1`. The folder is locked and no database is
/// open; a step may be run again after a crash in its middle, on the same input.
pub(crate) struct Step {
    pub(crate) from: u32,
    pub(crate) run: fn(&Path) -> io::Result<()>,
}

/// The steps of this release, oldest first. Format 1 is the first one; since format 2 the audit trail is
/// kept by account.
pub(crate) const STEPS: &[Step] = &[Step {
    from: 1,
    run: crate::audit::split,
}];

/// What a migration copies before it begins.
const COPIED: &[&str] = &[
    "format",
    "meta.db",
    "meta.db-wal",
    "queue.db",
    "queue.db-wal",
];

/// Names the copy of a migration that has begun, until it is finished.
const BEGUN: &str = "migrating";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another server holds it.
    #[error("{} is in use by the server with pid {holder}", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The pid that the lock file names, `?` where it does not read.
        holder: String,
    },
    /// A newer release wrote it.
    #[error("{} has format {found}; this release reads up to {newest}: use a newer one", dir.display())]
    Newer {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        newest: u32,
    },
    /// It is not what a server leaves behind.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk failed.
    #[error("could not {what} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { what, path, source }
}

/// The held folder; dropping it lets the next server in.
#[derive(Debug)]
pub(crate) struct Folder {
    lock: File,
}

impl Folder {
    /// Makes `dir` where it is missing, locks it, and brings it to format `newest`.
    pub(crate) fn open(dir: &Path, newest: u32, steps: &[Step]) -> Result<Self, FolderError> {
        fs::create_dir_all(dir).map_err(io_error("create", dir))?;
        let folder = Self { lock: lock(dir)? };
        bring_forward(dir, newest, steps)?;
        Ok(folder)
    }

    /// Locks a folder that is there and changes nothing in it; its format.
    ///
    /// Errors: [`FolderError::Newer`] above format `newest`, [`FolderError::Damaged`] without any.
    pub(crate) fn hold(dir: &Path, newest: u32) -> Result<(Self, u32), FolderError> {
        let path = dir.join("format");
        let none = || FolderError::Damaged {
            path: path.clone(),
            reason: "it is not there, so this is no data folder".to_owned(),
        };
        // Asked first: locking makes the lock's file.
        known_format(dir, newest)?.ok_or_else(none)?;
        let folder = Self { lock: lock(dir)? };
        let format = known_format(dir, newest)?.ok_or_else(none)?;
        let begun = dir.join(BEGUN);
        if begun.exists() {
            return Err(FolderError::Damaged {
                path: begun,
                reason: "a migration was cut short: the next start of the server ends it"
                    .to_owned(),
            });
        }
        Ok((folder, format))
    }

    /// The word in its lock file. It holds the folder as well.
    pub(crate) fn stamp(&self) -> io::Result<Stamp> {
        Stamp::of(&self.lock)
    }
}

fn lock(dir: &Path) -> Result<File, FolderError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _ = file.take(PID_BYTES as u64).read_to_string(&mut holder);
            let known = !holder.is_empty() && holder.trim().bytes().all(|b| b.is_ascii_digit());
            return Err(FolderError::InUse {
                dir: dir.to_owned(),
                holder: if known { holder.trim() } else { "?" }.to_owned(),
            });
        }
        Err(errno) => return Err(io_error("lock", &path)(errno.into())),
    }
    // What stands behind the pid is the stamp's.
    let pid = format!("{:<width$}\n", std::process::id(), width = PID_BYTES - 1);
    file.write_all_at(pid.as_bytes(), 0)
        .map_err(io_error("write", &path))?;
    Ok(file)
}

/// The folder's format; `None` where there is nothing yet.
fn known_format(dir: &Path, newest: u32) -> Result<Option<u32>, FolderError> {
    let path = dir.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let meta = dir.join("meta.db");
            if meta.exists() {
                return Err(FolderError::Damaged {
                    path,
                    reason: "it is missing beside a database".to_owned(),
                });
            }
            return Ok(None);
        }
        Err(error) => return Err(io_error("read", &path)(error)),
    };
    let format: u32 = text.trim().parse().map_err(|_| FolderError::Damaged {
        path: path.clone(),
        reason: format!("{:?} is no format number", text.trim()),
    })?;
    if format > newest {
        return Err(FolderError::Newer {
            dir: dir.to_owned(),
            found: format,
            newest,
        });
    }
    Ok(Some(format))
}

fn bring_forward(dir: &Path, newest: u32, steps: &[Step]) -> Result<(), FolderError> {
    let path = dir.join("format");
    let Some(mut format) = known_format(dir, newest)? else {
        return write_format(dir, newest);
    };
    let begun = dir.join(BEGUN);
    if format < newest {
        copy(dir, format)?;
    }
    while format < newest {
        let step = steps.iter().find(|step| step.from == format);
        let step = step.ok_or_else(|| FolderError::Damaged {
            path: path.clone(),
            reason: format!("no release has written format {format}"),
        })?;
        tracing::info!(from = format, to = format + 1, "migrating the data folder");
        (step.run)(dir).map_err(io_error("migrate", dir))?;
        format += 1;
        write_format(dir, format)?;
    }
    match fs::remove_file(&begun) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", &begun)(error))
        }
        _ => Ok(()),
    }
}

/// Copies what a migration changes into `before-format-N`. The copy of a migration that did not
/// finish stays: it is the older truth. One of an earlier migration, after which somebody went back,
/// stays as well and is not taken for this one's, which then is `before-format-N-2`, and so on.
fn copy(dir: &Path, format: u32) -> Result<(), FolderError> {
    let begun = dir.join(BEGUN);
    let name = format!("before-format-{}", format + 1);
    let of_this_one = fs::read_to_string(&begun).unwrap_or_default();
    let of_this_one = of_this_one.trim();
    if of_this_one.starts_with(&name) && dir.join(of_this_one).exists() {
        return Ok(());
    }
    let mut target = dir.join(&name);
    for number in 2.. {
        if !target.exists() {
            break;
        }
        target = dir.join(format!("{name}-{number}"));
    }
    let unfinished = dir.join("before-format.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(io_error("remove", &unfinished))?;
    }
    fs::create_dir(&unfinished).map_err(io_error("create", &unfinished))?;
    for name in COPIED {
        let from = dir.join(name);
        if from.exists() {
            let to = unfinished.join(name);
            fs::copy(&from, &to).map_err(io_error("copy", &from))?;
            File::open(&to)
                .and_then(|file| file.sync_all())
                .map_err(io_error("sync", &to))?;
        }
    }
    fs::rename(&unfinished, &target).map_err(io_error("rename", &unfinished))?;
    let made = target.file_name().unwrap_or_default();
    File::create(&begun)
        .and_then(|mut file| {
            file.write_all(made.as_encoded_bytes())?;
            file.sync_all()
        })
        .map_err(io_error("write", &begun))?;
    sync_dir(dir).map_err(io_error("sync", dir))
}

pub(crate) fn write_format(dir: &Path, format: u32) -> Result<(), FolderError> {
    let (path, new) = (dir.join("format"), dir.join("format.new"));
    File::create(&new)
        .and_then(|mut file| writeln!(file, "{format}").and_then(|()| file.sync_all()))
        .map_err(io_error("write", &new))?;
    fs::rename(&new, &path).map_err(io_error("rename", &new))?;
    sync_dir(dir).map_err(io_error("sync", dir))
}

/// Makes names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server_and_the_second_hears_its_pid() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = Folder::open(dir.path(), 1, &[]).expect("free");
        let error = Folder::open(dir.path(), 1, &[]).expect_err("held");
        let FolderError::InUse { holder, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(holder, std::process::id().to_string());
        drop(held);
        Folder::open(dir.path(), 1, &[]).expect("free again");
    }

    #[test]
    fn a_newer_or_unreadable_format_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a folder");
        for (text, expected) in [("7\n", "has format 7"), ("x", "no format number")] {
            fs::write(dir.path().join("format"), text).expect("written");
            let error = Folder::open(dir.path(), 1, &[]).expect_err("refused");
            assert!(error.to_string().contains(expected), "{error}");
        }
        fs::remove_file(dir.path().join("format")).expect("removed");
        fs::write(dir.path().join("meta.db"), "").expect("written");
        let error = Folder::open(dir.path(), 1, &[]).expect_err("refused");
        assert!(error.to_string().contains("missing beside"), "{error}");
    }

    #[test]
    fn an_older_folder_is_copied_then_brought_forward_step_by_step() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("format"), "1\n").expect("written");
        fs::write(dir.path().join("meta.db"), "a").expect("written");
        fn append(dir: &Path) -> io::Result<()> {
            let old = fs::read_to_string(dir.join("meta.db"))?;
            fs::write(dir.join("meta.db"), old + "b")
        }
        let steps = [1, 2].map(|from| Step { from, run: append });
        let missing = Folder::open(dir.path(), 4, &steps).expect_err("no step from 3");
        assert!(missing.to_string().contains("format 3"), "{missing}");
        Folder::open(dir.path(), 3, &steps).expect("all steps are there");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("there");
        assert_eq!(read("meta.db"), "abb");
        assert_eq!(read("before-format-2/meta.db"), "a");
        assert_eq!(read("format"), "3\n");
        assert!(!dir.path().join(BEGUN).exists());
    }

    #[test]
    fn a_copy_of_an_earlier_migration_is_kept_and_is_not_taken_for_a_later_ones() {
        let dir = tempfile::tempdir().expect("a folder");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("there");
        let is_there = |name: &str| dir.path().join(name).exists();
        fn succeed(_: &Path) -> io::Result<()> {
            Ok(())
        }
        fn fail(_: &Path) -> io::Result<()> {
            Err(io::Error::other("killed"))
        }
        let [fine, broken] = [succeed, fail].map(|run| [Step { from: 1, run }]);
        for (at, meta) in ["first", "second", "third"].into_iter().enumerate() {
            // As it was, by somebody who went back by the copy and served for a while.
            fs::write(dir.path().join("format"), "1\n").expect("written");
            fs::write(dir.path().join("meta.db"), meta).expect("written");
            let copy = match at {
                0 => "before-format-2".to_owned(),
                _ => format!("before-format-2-{}", at + 1),
            };
            // However often it is begun, there is one copy of it.
            for _ in 0..3 {
                Folder::open(dir.path(), 2, &broken).expect_err("it fails");
                fs::write(dir.path().join("meta.db"), "half").expect("written");
            }
            Folder::open(dir.path(), 2, &fine).expect("it goes on");
            assert_eq!(read(&format!("{copy}/meta.db")), meta);
            assert!(!is_there(&format!("before-format-2-{}", at + 2)) && !is_there(BEGUN));
        }
        assert_eq!(read("before-format-2/meta.db"), "first");
    }
}
