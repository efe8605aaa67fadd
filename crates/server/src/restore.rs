//! `freehold restore`: a data folder out of a backup.
//!
//! ```text
//! DATA/restoring/{keys,packages,store}  ─ all of it is on disk ─▶  DATA/{keys,packages,store}
//! ```
//!
//! A backup is read to its end and found whole before anything is written. What is written lies
//! below `restoring` until all of it is on disk; the store is moved last, and `restoring` goes after
//! it. `serve` starts on no folder that has one, and the next restore removes what an interrupted
//! one left.

use crate::{
    cli::{Failure, SealingKeys, bytes_text, instant_text},
    serve::{RESTORING, default_data_dir, give_to_server},
};
use clap::Args;
use freehold_storage::{BackupFault, BackupReader, BackupSummary, Discard, RestoreError};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, BufReader, Read, Write},
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

/// Arguments of `freehold restore`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  sudo freehold restore /backups/node.backup --data /var/lib/freehold
  zstd -dc node.backup.zst | sudo freehold restore - --key /root/node.key --data /srv/freehold
  sudo freehold serve --data /var/lib/freehold

End the server that the backup was made of first: two servers of one backup would both run its
events and its schedules.")]
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
    let (key_path, keys) = keys(args)?;
    let is_stdin = args.file.as_os_str() == "-";
    if !is_stdin {
        // Read twice rather than written and taken away again.
        let found = BackupReader::read_all(&mut *open(&args.file)?, &mut Discard);
        opens(
            &key_path,
            &keys.fingerprints,
            &found.map_err(|f| refused(args, f))?,
        )?;
    }
    let place = Place::claim(&data)?;
    let store = place.make("store")?;
    let mut from = open(&args.file)?;
    let summary = freehold_storage::restore(&mut *from, &store);
    let summary = summary.map_err(|error| not_restored(args, &data, error))?;
    opens(&key_path, &keys.fingerprints, &summary)?;
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
fn opens(path: &Path, keys: &[String], found: &BackupSummary) -> Result<(), Failure> {
    if keys.starts_with(&found.head.seals) {
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
    let is_left = data.join(RESTORING).is_dir();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let of_ours = name.to_str().is_some_and(|name| {
            // What an interrupted restore has moved already: no server starts beside `restoring`.
            MAY_BE_THERE.contains(&name) || is_left && MOVED.contains(&name)
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
            is_finished: false,
            _lock: lock,
        };
        place.remove_left();
        let restoring = place.restoring();
        let made = DirBuilder::new().mode(0o700).create(&restoring);
        made.map_err(|error| written(&restoring, error))?;
        Ok(place)
    }

    fn restoring(&self) -> PathBuf {
        self.data.join(RESTORING)
    }

    /// What an interrupted restore left; `restoring` says that it was one.
    fn remove_left(&self) {
        let restoring = self.restoring();
        if !restoring.is_dir() {
            return;
        }
        for name in MOVED {
            let _ = fs::remove_dir_all(self.data.join(name));
        }
        let _ = fs::remove_dir_all(restoring);
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
        sync(&restoring)?;
        for name in MOVED {
            let to = self.data.join(name);
            fs::rename(restoring.join(name), &to).map_err(|error| written(&to, error))?;
        }
        sync(&self.data)?;
        fs::remove_dir(&restoring).map_err(|error| written(&restoring, error))?;
        self.is_finished = true;
        sync(&self.data)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        self.remove_left();
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
