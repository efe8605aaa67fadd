//! Where a backup goes: a file that appears whole or not at all, or stdout.

use crate::cli::Failure;
use std::{
    collections::hash_map::RandomState,
    fs::{self, File},
    hash::BuildHasher,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Whether a path stands for stdout.
pub(super) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What is written so far. Dropped before [`Target::finish`], it leaves nothing.
pub(super) enum Target {
    Stdout,
    File {
        file: File,
        partial: Partial,
        path: PathBuf,
        bytes: u64,
    },
}

/// A file beside the one that it becomes, removed when dropped.
pub(super) struct Partial(Option<PathBuf>);

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_file(path);
        }
    }
}

impl Target {
    /// Opens what is going to be `path`, readable by its owner alone.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if is_stdout(path) {
            return Ok(Self::Stdout);
        }
        let wrong = |what: &str| {
            let remedy = "name a file in a folder that is there";
            Failure::usage(format!("{} {what}", path.display()), remedy)
        };
        // What is there is replaced, and only a plain file is somebody's earlier backup.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(wrong("is there and is not a plain file"));
        }
        let name = path.file_name().ok_or_else(|| wrong("names no file"))?;
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        // Not the process's number: in a container that is the same every night.
        let number = RandomState::new().hash_one(std::process::id());
        partial.push(format!(".{number:016x}.partial"));
        let partial = path.with_file_name(partial);
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|error| failed(path, 0, error))?;
        Ok(Self::File {
            file,
            partial: Partial(Some(partial)),
            path: path.to_owned(),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout => io::stdout().write_all(piece).map_err(Failure::Output),
            Self::File {
                file, path, bytes, ..
            } => {
                file.write_all(piece)
                    .map_err(|error| failed(path, *bytes, error))?;
                *bytes += piece.len() as u64;
                Ok(())
            }
        }
    }

    /// Gives the file its name, once all of it is on disk.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let (file, mut partial, path, bytes) = match self {
            Self::Stdout => return io::stdout().flush().map_err(Failure::Output),
            Self::File {
                file,
                partial,
                path,
                bytes,
            } => (file, partial, path, bytes),
        };
        let named = file.sync_all().and_then(|()| match &partial.0 {
            Some(from) => fs::rename(from, &path),
            None => Ok(()),
        });
        named.map_err(|error| failed(&path, bytes, error))?;
        partial.0 = None;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        let synced = folder.and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(&path, bytes, error))
    }
}

fn failed(path: &Path, bytes: u64, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::refused(
            format!(
                "there is no room for {}: the disk was full after {bytes} bytes",
                path.display()
            ),
            "make room there, or name a file on another disk; nothing of it was left",
        ),
        _ => Failure::refused(
            format!("{} could not be written: {error}", path.display()),
            "name a file in a folder where you may write; nothing of it was left",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.backup");
        let count = || fs::read_dir(dir.path()).unwrap().count();
        let mut target = Target::open(&path).unwrap();
        target.write(b"half").unwrap();
        assert!(!path.exists());
        drop(target);
        assert_eq!(count(), 0);
        for text in ["one", "two"] {
            let mut target = Target::open(&path).unwrap();
            target.write(text.as_bytes()).unwrap();
            target.finish().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(count(), 1);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_another_left_or_writes_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.backup");
        // One of the same name and the same process number, as in a container.
        let first = Target::open(&path).unwrap();
        let mut second = Target::open(&path).unwrap();
        second.write(b"second").unwrap();
        second.finish().unwrap();
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_plain_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for path in [
            dir.path(),
            link.as_path(),
            Path::new("/dev/null"),
            Path::new("/"),
        ] {
            assert!(Target::open(path).is_err(), "{}", path.display());
        }
        assert!(Target::open(&dir.path().join("none/there")).is_err());
    }
}
