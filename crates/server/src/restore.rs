//! `freehold restore`: a data folder out of a backup.
//!
//! ```text
//! DATA/restoring/{keys,packages,store}  ─ all of it is on disk ─▶  DATA/{keys,packages,store}
//! ```
//!
//! A backup is read to its end and found whole before anything is written. What is written lies
//! below `restoring` until all of it is on disk; the store is moved last, and `restoring` goes after
//! it. `serve` starts on no folder that has one, and the next restore removes what an interrupted
//! one left: `restoring`, and what that says it had moved. Never what a server holds.

use crate::{
    cli::{Failure, SealingKeys, bytes_text, instant_text},
    serve::{RESTORED, RESTORING, default_data_dir, give_to_server},
};
use clap::Args;
use freehold_storage::{
    BackupFault, BackupHead, BackupReader, BackupSummary, Discard, RestoreError,
};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, BufReader, Cursor, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What a folder may have that gets a restored node: what is made again, or set up ahead, and what
/// the root of a new disk has.
const MAY_BE_THERE: [&str; 6] = [
    "cache",
    "freehold.toml",
    "lost+found",
    RESTORING,
    "runtimes",
    "sdk",
];
/// What is moved, the store last.
const MOVED: [&str; 3] = ["keys", "packages", "store"];
/// The file in `restoring` that says that moving has begun.
const MOVING: &str = "moving";

/// Arguments of `freehold restore`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  sudo freehold restore /backups/node.backup --data /var/lib/freehold
  zstd -dc node.backup.zst | sudo freehold restore - --key /root/node.key --data /srv/freehold
  sudo freehold serve --data /var/lib/freehold

End the server that the backup was made of first: two servers of one backup would both run the same
events, and answer to the same keys.")]
pub struct RestoreArgs {
    /// The backup; - for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The sealing keys [default: FILE.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Data folder to make: a new one, or one without data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Makes a data folder of a backup.
pub fn run(args: RestoreArgs) -> ExitCode {
    match work(&args).and_then(|(summary, data)| say(&args, &summary, &data)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn say(args: &RestoreArgs, summary: &BackupSummary, data: &Path) -> Result<(), Failure> {
    for name in &summary.damaged {
        eprintln!("freehold: {name:?} was damaged already when the backup was made");
    }
    let text = match args.json {
        true => {
            let said = json!({
                "data": data.display().to_string(),
                "files": summary.entries,
                "bytes": summary.bytes,
                "begun": instant_text(summary.head.at_ms),
                "release": summary.head.release,
                "logs": summary.head.logs,
                "damaged": summary.damaged,
            });
            format!("{said:#}\n")
        }
        false => format!(
            "{}  {} in {} files, as of {}\nStart it by `freehold serve --data {}`\n",
            data.display(),
            bytes_text(summary.bytes),
            summary.entries,
            instant_text(summary.head.at_ms),
            data.display(),
        ),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).map_err(Failure::Output)
}

fn work(args: &RestoreArgs) -> Result<(BackupSummary, PathBuf), Failure> {
    let data = args.data.clone().unwrap_or_else(default_data_dir);
    let data = std::path::absolute(&data).map_err(|source| Failure::File {
        what: "find",
        path: data.clone(),
        source,
    })?;
    has_no_data(&data)?;
    let is_stdin = args.file.as_os_str() == "-";
    // Before its keys, which lie beside it: looked at and not opened, as a pipe is opened once.
    let is_file = match fs::metadata(&args.file) {
        Ok(file) => file.is_file(),
        Err(_) if is_stdin => false,
        Err(source) => {
            return Err(Failure::File {
                what: "open",
                path: args.file.clone(),
                source,
            });
        }
    };
    let (key_path, keys) = keys(args)?;
    let mut from = match is_file && !is_stdin {
        // Read twice rather than written and taken away again.
        true => {
            let found = BackupReader::read_all(&mut *open(&args.file)?, &mut Discard);
            let found = found.map_err(|fault| refused(args, fault))?;
            opens(&key_path, &keys.fingerprints, &found.head)?;
            open(&args.file)?
        }
        // A pipe comes once; its head says at least whether these are its keys.
        false => {
            let (head, from) = headed(open(&args.file)?).map_err(|fault| refused(args, fault))?;
            opens(&key_path, &keys.fingerprints, &head)?;
            from
        }
    };
    let place = Place::claim(&data)?;
    let store = place.make("store")?;
    let summary = freehold_storage::restore(&mut *from, &store);
    let summary = summary.map_err(|error| not_restored(args, &data, error))?;
    opens(&key_path, &keys.fingerprints, &summary.head)?;
    place.keep_keys(&keys.text)?;
    place.name_packages(&store)?;
    place.finish()?;
    Ok((summary, data))
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|source| Failure::File {
        what: "open",
        path: path.to_owned(),
        source,
    })?;
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}

/// What a stream says of itself, and the same stream from its begin.
///
/// Errors: [`BackupFault`] of what had to be read for that.
fn headed(mut from: Box<dyn Read>) -> Result<(BackupHead, Box<dyn Read>), BackupFault> {
    let (mut reader, mut begin) = (BackupReader::default(), Vec::new());
    let mut chunk = [0; 4096];
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => return Err(reader.finish().err().unwrap_or(BackupFault::NotOne)),
            Ok(read) => &chunk[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BackupFault::Read(error)),
        };
        begin.extend_from_slice(read);
        reader.feed(read, &mut Discard)?;
        if let Some(head) = reader.head() {
            return Ok((head.clone(), Box::new(Cursor::new(begin).chain(from))));
        }
    }
}

/// The keys' file, and what is in it.
fn keys(args: &RestoreArgs) -> Result<(PathBuf, SealingKeys), Failure> {
    let path = match &args.key {
        Some(path) => path.clone(),
        None if args.file.as_os_str() == "-" => {
            return Err(Failure::usage(
                "a backup from stdin has no file beside which its sealing keys could lie",
                "name them by --key FILE",
            ));
        }
        None => {
            let mut name = OsString::from(&args.file);
            name.push(".key");
            name.into()
        }
    };
    let keys = SealingKeys::read(&path).map_err(|error| {
        Failure::refused(
            format!("the sealing keys in {} cannot be read: {error}", path.display()),
            "name the file that `freehold backup` wrote, or keys/seal of that data folder, by --key FILE: without it nothing sealed in the backup opens",
        )
    })?;
    Ok((path, keys))
}

/// Whether the keys open what is sealed in the backup; newer ones beside them do no harm.
fn opens(path: &Path, keys: &[String], head: &BackupHead) -> Result<(), Failure> {
    if keys.starts_with(&head.seals) {
        return Ok(());
    }
    Err(Failure::refused(
        format!("{} has the keys of another backup", path.display()),
        "name the file that was written with this one, by --key FILE",
    ))
}

/// Errors: the folder has something that a restore would mix with.
fn has_no_data(data: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(Failure::File {
                what: "read",
                path: data.to_owned(),
                source,
            });
        }
    };
    let left = moved_by_another(data);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let of_ours = name.to_str().is_some_and(|name| {
            // What an interrupted restore has moved already: no server starts beside `restoring`.
            MAY_BE_THERE.contains(&name) || left.contains(&name)
        });
        if !of_ours {
            return Err(Failure::refused(
                format!(
                    "{} has something in it already: {}",
                    data.display(),
                    name.display()
                ),
                "name a new folder, or an empty one, by --data DIR",
            ));
        }
    }
    Ok(())
}

/// What a restore that was interrupted had moved: it had begun to, and has it no more. A server that
/// holds the store says that nothing of it is a leftover.
fn moved_by_another(data: &Path) -> Vec<&'static str> {
    let restoring = data.join(RESTORING);
    let store = data.join("store/lock");
    let is_held = File::open(store)
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err());
    if is_held || !restoring.join(MOVING).exists() {
        return Vec::new();
    }
    let is_gone = |name: &&str| !restoring.join(name).exists();
    MOVED.into_iter().filter(is_gone).collect()
}

fn refused(args: &RestoreArgs, fault: BackupFault) -> Failure {
    let remedy = match fault {
        BackupFault::Newer { .. } | BackupFault::NewerLayout { .. } => {
            "restore it with the release that made it, or a later one"
        }
        _ => "restore another backup; nothing was written",
    };
    Failure::refused(format!("{}: {fault}", args.file.display()), remedy)
}

fn not_restored(args: &RestoreArgs, data: &Path, error: RestoreError) -> Failure {
    if error.is_full_disk() {
        return Failure::refused(
            format!(
                "there is no room in {} for what is restored",
                data.display()
            ),
            "make room on that disk, or choose another --data; nothing of it was left",
        );
    }
    match error {
        RestoreError::Backup(fault @ BackupFault::Write { .. }) => failed_write(fault),
        RestoreError::Backup(fault) => refused(args, fault),
        other => failed_write(other),
    }
}

fn failed_write(error: impl std::error::Error) -> Failure {
    let text = crate::serve::chain(&error);
    Failure::refused(text, "nothing of it was left; try again")
}

/// A folder that is becoming a data folder. Dropped before it is finished, it is as it was.
struct Place {
    data: PathBuf,
    is_ours: bool,
    /// How many of [`MOVED`] lie where they belong.
    moved: usize,
    is_finished: bool,
    /// Held, so that no other restore is at it.
    _lock: File,
}

impl Place {
    fn claim(data: &Path) -> Result<Self, Failure> {
        let is_ours = !data.exists();
        fs::create_dir_all(data).map_err(|error| written(data, error))?;
        let lock = File::open(data).map_err(|error| written(data, error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Failure::refused(
                format!("another restore into {} is under way", data.display()),
                "let it end, or choose another --data",
            ));
        }
        has_no_data(data)?;
        let place = Self {
            data: data.to_owned(),
            is_ours,
            moved: 0,
            is_finished: false,
            _lock: lock,
        };
        place.remove(&moved_by_another(data));
        let restoring = place.restoring();
        let made = DirBuilder::new().mode(0o700).create(&restoring);
        made.map_err(|error| written(&restoring, error))?;
        // A server that looked before this was made has made its folders, or finds it now.
        has_no_data(data)?;
        Ok(place)
    }

    fn restoring(&self) -> PathBuf {
        self.data.join(RESTORING)
    }

    /// Removes what was moved, and what was not yet. `restoring` goes last: it says whose it is.
    fn remove(&self, moved: &[&str]) {
        for name in moved {
            let _ = fs::remove_dir_all(self.data.join(name));
        }
        let _ = fs::remove_dir_all(self.restoring());
    }

    fn make(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.restoring().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| written(&path, error))?;
        Ok(path)
    }

    fn keep_keys(&self, text: &[u8]) -> Result<(), Failure> {
        let path = self.make("keys")?.join("seal");
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let kept = file.and_then(|mut file| {
            file.write_all(text)?;
            file.sync_all()
        });
        kept.map_err(|error| written(&path, error))
    }

    /// A folder for every package, which is how those are found that nothing refers to.
    fn name_packages(&self, store: &Path) -> Result<(), Failure> {
        let packages = self.make("packages")?;
        let blobs = store.join("blobs");
        if !blobs.is_dir() {
            return Ok(());
        }
        for entry in walkdir::WalkDir::new(&blobs).min_depth(3).max_depth(3) {
            let entry = entry.map_err(|error| written(&blobs, error.into()))?;
            let tenant = entry.path().ancestors().nth(2).and_then(Path::file_name);
            let folder = packages.join(tenant.unwrap_or_default());
            let folder = folder.join(entry.file_name());
            let made = DirBuilder::new()
                .mode(0o700)
                .recursive(true)
                .create(&folder);
            made.map_err(|error| written(&folder, error))?;
        }
        Ok(())
    }

    /// Moves all of it to where a server looks for it.
    fn finish(mut self) -> Result<(), Failure> {
        let restoring = self.restoring();
        for name in ["packages", "store"] {
            let path = restoring.join(name);
            give_to_server(&path).map_err(|error| written(&path, error))?;
        }
        let sync = |dir: &Path| {
            let synced = File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
            synced.map_err(|error| written(dir, error))
        };
        let moving = restoring.join(MOVING);
        File::create(&moving).map_err(|error| written(&moving, error))?;
        sync(&restoring)?;
        for name in MOVED {
            let to = self.data.join(name);
            fs::rename(restoring.join(name), &to).map_err(|error| written(&to, error))?;
            self.moved += 1;
        }
        sync(&self.data)?;
        // At once: as long as it is there, what was moved is an interrupted restore's.
        let done = self.data.join(RESTORED);
        fs::rename(&restoring, &done).map_err(|error| written(&restoring, error))?;
        self.is_finished = true;
        sync(&self.data)?;
        // The next start removes it otherwise.
        let _ = fs::remove_dir_all(&done);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        self.remove(&MOVED[..self.moved]);
        if self.is_ours {
            let _ = fs::remove_dir(&self.data);
        }
    }
}

fn written(path: &Path, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::refused(
            format!("there is no room for {}", path.display()),
            "make room on that disk, or choose another --data; nothing of it was left",
        ),
        _ => failed_write(io::Error::other(format!(
            "could not write {}: {error}",
            path.display()
        ))),
    }
}
