//! Looks at what is there and says, for each thing that is to be, what would be done about it.

use super::{
    Act, CONFIG, CONFIG_TEXT, RECORD, Record, Root, Step, Trouble, Word,
    account::{self, Account},
    purge,
};
use crate::{
    config::{Given, SERVER_UID},
    serve::chain,
};
use ring::digest::{Context, SHA256};
use rustix::fs::OFlags;
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Folders that are nobody's data folder, also when they are empty.
const SYSTEMS: [&str; 22] = [
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/run",
    "/sbin",
    "/srv",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
];

/// What was seen so far.
pub(super) struct Look<'a> {
    root: &'a Root,
    record: Record,
    steps: Vec<Step>,
    refusals: Vec<String>,
}

impl<'a> Look<'a> {
    pub(super) fn new(root: &'a Root, record: Record) -> Self {
        Self {
            root,
            record,
            steps: Vec::new(),
            refusals: Vec::new(),
        }
    }

    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.refusals.push(why.into());
    }

    /// The data folder: a new one, an empty one, or one that is Freehold's already, since `--purge`
    /// goes by what lies in it.
    pub(super) fn data_folder(&mut self, path: &Path) -> Result<(), Trouble> {
        let at = self.root.contained(path)?;
        if let Some(system) = SYSTEMS.iter().find(|system| Path::new(system) == path) {
            self.refuse(format!(
                "{system} is the system's: choose a folder below it"
            ));
        } else if at.is_dir() && !purge::is_ours(&at) && !purge::is_empty(&at) {
            self.refuse(format!(
                "{} has something in it, and no server has served from it: choose a folder of its own",
                path.display()
            ));
        }
        self.folder(path)
    }

    /// A folder with those around it, which uninstalling removes again if they are empty.
    pub(super) fn folder(&mut self, path: &Path) -> Result<(), Trouble> {
        let at = self.root.contained(path)?;
        if at.is_dir() {
            return Ok(());
        }
        if fs::symlink_metadata(&at).is_ok() {
            self.refuse(format!("{} is there and is no folder", path.display()));
            return Ok(());
        }
        let planned = |folder: &Path| {
            let mut acts = self.steps.iter().map(|step| &step.act);
            acts.any(|act| matches!(act, Act::Folder(made) if made == folder))
        };
        if planned(&at) {
            return Ok(());
        }
        if let Some(around) = path.parent().filter(|around| *around != Path::new("/")) {
            self.folder(around)?;
        }
        self.steps
            .push(Step::new(Word::Made, path, "", Act::Folder(at)));
        if !self.record.folders.iter().any(|made| made == path) {
            self.record.folders.push(path.to_owned());
        }
        Ok(())
    }

    /// A file of ours with this content, which a later install may replace.
    pub(super) fn file(&mut self, path: &Path, content: Vec<u8>) -> Result<(), Trouble> {
        let sum = hex(&content);
        self.own(path, sum, |at| Act::Write(at, content))
    }

    /// The binary that runs, at `path`.
    pub(super) fn copy_of_this_binary(&mut self, path: &Path) -> Result<(), Trouble> {
        let own = PathBuf::from("/proc/self/exe");
        let wrong = |error: io::Error| format!("this binary cannot be read: {error}");
        let file = File::open(&own).map_err(wrong)?;
        let sum = sum_of(file).map_err(wrong)?;
        self.own(path, sum, |at| Act::Copy(own, at))
    }

    fn own(
        &mut self,
        path: &Path,
        sum: String,
        act: impl FnOnce(PathBuf) -> Act,
    ) -> Result<(), Trouble> {
        let at = self.root.contained(path)?;
        let known = self.record.files.get(path);
        let (word, note) = match digest_of(&at) {
            Ok(None) => (Word::Wrote, ""),
            Ok(Some(found)) if found == sum => (Word::Kept, "as it is"),
            Ok(Some(found)) if known == Some(&found) => (Word::Replaced, "an earlier install's"),
            Ok(Some(_)) if known.is_some() => {
                self.refuse(format!(
                    "{} was changed since it was installed: carry the change elsewhere (`systemctl edit freehold` for the unit) and remove the file",
                    path.display()
                ));
                return Ok(());
            }
            Ok(Some(_)) => {
                self.refuse(format!(
                    "{} is there, and `freehold install` did not write it: remove it, or move it away",
                    path.display()
                ));
                return Ok(());
            }
            Err(error) => {
                self.refuse(format!("{}: {error}", path.display()));
                return Ok(());
            }
        };
        if let Some(around) = path.parent() {
            self.folder(around)?;
        }
        self.record.files.insert(path.to_owned(), sum);
        let act = match word {
            Word::Kept => Act::Nothing,
            _ => act(at),
        };
        self.steps.push(Step::new(word, path, note, act));
        Ok(())
    }

    /// The configuration, and the link by which the server finds it in its data folder. What is
    /// there already is the operator's.
    pub(super) fn configuration(&mut self, data: &Path) -> Result<(), Trouble> {
        let (config, link) = (Path::new(CONFIG), data.join("freehold.toml"));
        let at_link = self.root.contained(&link)?;
        let at = self.root.contained(config)?;
        match fs::read_link(&at_link) {
            Ok(to) if to == config => {}
            _ if fs::symlink_metadata(&at_link).is_ok() => {
                let note = "yours, and what the server reads";
                self.steps
                    .push(Step::new(Word::Kept, &link, note, Act::Nothing));
                return Ok(());
            }
            _ => {
                let note = format!("a link to {CONFIG}");
                let act = Act::Link(at_link, config.to_owned());
                self.steps.push(Step::new(Word::Made, &link, &note, act));
            }
        }
        if fs::symlink_metadata(&at).is_ok() {
            self.steps
                .push(Step::new(Word::Kept, config, "yours", Act::Nothing));
            return Ok(());
        }
        if let Some(around) = config.parent() {
            self.folder(around)?;
        }
        let act = Act::Write(at, CONFIG_TEXT.as_bytes().to_vec());
        let note = "yours from now on";
        self.steps.push(Step::new(Word::Wrote, config, note, act));
        Ok(())
    }

    /// The number that the server drops to, as its configuration says.
    pub(super) fn server_uid(&self, data: &Path) -> Result<u32, String> {
        let own = self.root.at(&data.join("freehold.toml"));
        let shared = self.root.at(Path::new(CONFIG));
        let is_own = fs::symlink_metadata(&own).is_ok_and(|facts| facts.is_file());
        let file = if is_own { own } else { shared };
        if fs::symlink_metadata(&file).is_err() {
            return Ok(SERVER_UID);
        }
        match Given::new(Some(file.as_path()), data).resolve() {
            Ok(resolved) => Ok(resolved.config.server.uid),
            Err(error) => Err(chain(&error)),
        }
    }

    /// User and group of that number.
    pub(super) fn account(&mut self, uid: u32, found: Result<Account, String>) {
        let what = format!("user and group {}", account::NAME);
        // With a number that the operator chose, who is there is the operator's.
        let is_ours = uid == SERVER_UID;
        match found {
            Ok(Account::There) => {
                self.record.account |= is_ours;
                self.steps
                    .push(Step::note(Word::Kept, &what, "as they are"));
            }
            Ok(Account::NotHere(why)) => {
                let note = format!("{why}; the server needs their number alone");
                self.steps.push(Step::note(Word::Left, &what, &note));
            }
            Ok(Account::Missing(commands)) => {
                self.record.account = true;
                for words in commands {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    self.steps.push(Step::command(&words));
                }
            }
            Err(why) => self.refuse(why),
        }
    }

    /// The steps, the record's last of all. Errors: everything that is in the way.
    pub(super) fn finish(mut self) -> Result<Vec<Step>, Trouble> {
        let record = Path::new(RECORD);
        if let Some(around) = record.parent() {
            self.folder(around)?;
        }
        if !self.refusals.is_empty() {
            return Err(Trouble::Refused(self.refusals));
        }
        let at = self.root.contained(record)?;
        let text = self.record.text();
        let (word, act) = match digest_of(&at) {
            Ok(Some(found)) if found == hex(&text) => (Word::Kept, Act::Nothing),
            _ => (Word::Wrote, Act::Write(at, text)),
        };
        self.steps
            .push(Step::new(word, record, "what is ours", act));
        Ok(self.steps)
    }
}

/// SHA-256 of a file, in hexadecimal digits; `None` where nothing is.
///
/// Errors: it is no file, or cannot be read.
pub(super) fn digest_of(at: &Path) -> io::Result<Option<String>> {
    let mut options = fs::OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(at);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(io::Error::other("it is a link, and a file is wanted there"));
        }
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file, and one is wanted there"));
    }
    sum_of(file).map(Some)
}

fn sum_of(mut file: File) -> io::Result<String> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(::hex::encode(context.finish())),
            read => context.update(&buffer[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    ::hex::encode(ring::digest::digest(&SHA256, bytes))
}
