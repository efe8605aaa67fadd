//! What is done, one step at a time, and the word for it.

use super::account;
use crate::runtimes_cmd::in_use;
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Bytes of what a failing command says that are handed on.
const SAID_BYTES_MAX: usize = 1024;

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Made,
    Wrote,
    Replaced,
    Kept,
    Removed,
    Left,
    Ran,
    Checked,
}

impl Word {
    /// Of something that would be done.
    pub(super) fn plan(self) -> &'static str {
        match self {
            Self::Made => "make",
            Self::Wrote => "write",
            Self::Replaced => "replace",
            Self::Kept => "keep",
            Self::Removed => "remove",
            Self::Left => "leave",
            Self::Ran => "run",
            Self::Checked => "check",
        }
    }

    /// Of something that was done.
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Wrote => "wrote",
            Self::Replaced => "replaced",
            Self::Kept => "kept",
            Self::Removed => "removed",
            Self::Left => "left",
            Self::Ran => "ran",
            Self::Checked => "checked",
        }
    }
}

/// One thing, and what is done to it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) word: Word,
    pub(super) what: String,
    pub(super) note: String,
    pub(super) act: Act,
}

/// What is done. Paths are those of this process, `--root` included.
#[derive(Debug)]
pub(super) enum Act {
    Nothing,
    Folder(PathBuf),
    Write(PathBuf, Vec<u8>),
    /// From, to.
    Copy(PathBuf, PathBuf),
    /// Where, and what it says.
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveTree(PathBuf),
    /// A folder that something may be left in.
    RemoveEmpty(PathBuf),
    Run(Vec<String>),
    /// User and group of the tree.
    RemoveAccount(PathBuf),
    /// Nobody may serve from that data folder by now.
    Unserved(PathBuf),
}

impl Step {
    pub(super) fn new(word: Word, path: &Path, note: &str, act: Act) -> Self {
        Self {
            word,
            what: path.display().to_string(),
            note: note.to_owned(),
            act,
        }
    }

    /// Something that is only told.
    pub(super) fn note(word: Word, what: &str, note: &str) -> Self {
        Self {
            word,
            what: what.to_owned(),
            note: note.to_owned(),
            act: Act::Nothing,
        }
    }

    /// A program of the machine.
    pub(super) fn command(words: &[&str]) -> Self {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Self {
            word: Word::Ran,
            what: words.join(" "),
            note: String::new(),
            act: Act::Run(words),
        }
    }
}

impl Act {
    /// Does it, and says whether anything was done: a folder with something in it stays.
    pub(super) fn run(&self) -> io::Result<bool> {
        if let Self::RemoveEmpty(at) = self {
            return match fs::remove_dir(at) {
                Ok(()) => Ok(true),
                Err(error) if is_why_a_folder_stays(error.kind()) => Ok(false),
                Err(error) => Err(error),
            };
        }
        self.act().map(|()| true)
    }

    fn act(&self) -> io::Result<()> {
        match self {
            Self::Nothing | Self::RemoveEmpty(_) => Ok(()),
            Self::Folder(at) => {
                fs::create_dir(at)?;
                fs::set_permissions(at, fs::Permissions::from_mode(0o755))
            }
            Self::Write(at, bytes) => whole(at, 0o644, |file| file.write_all(bytes)),
            Self::Copy(from, at) => whole(at, 0o755, |file| {
                io::copy(&mut File::open(from)?, file).map(drop)
            }),
            Self::Link(at, to) => symlink(to, at),
            Self::Remove(at) => gone(fs::remove_file(at)),
            Self::RemoveTree(at) => match fs::symlink_metadata(at) {
                Ok(facts) if facts.is_dir() => gone(fs::remove_dir_all(at)),
                _ => gone(fs::remove_file(at)),
            },
            Self::Run(words) => run(words),
            Self::RemoveAccount(root) => account::remove(root),
            Self::Unserved(data) if in_use(data) => Err(io::Error::other(
                "a server that is no service uses it: end it first",
            )),
            Self::Unserved(_) => Ok(()),
        }
    }
}

/// Something is in it, a disk of its own is mounted there, it is a link, or it is gone.
fn is_why_a_folder_stays(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::NotFound
    )
}

/// What is not there need not be removed.
fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Written beside its place and named when all of it is on disk: a program that runs is not
/// written into, and a power cut leaves the old or the new.
fn whole(at: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = at.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut new = tempfile::Builder::new()
        .prefix(".freehold-new-")
        .tempfile_in(folder)?;
    fill(new.as_file_mut())?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(at).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Runs a program to its end. Errors: its last words.
pub(super) fn run(words: &[String]) -> io::Result<()> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if done.status.success() {
        return Ok(());
    }
    let said = &done.stderr[done.stderr.len().saturating_sub(SAID_BYTES_MAX)..];
    let said = String::from_utf8_lossy(said);
    Err(io::Error::other(format!(
        "{}: {}",
        done.status,
        said.trim()
    )))
}
