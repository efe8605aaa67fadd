//! `freehold backup`: the node's data in one file, from the running server or, where none runs, from
//! the folder itself; the keys that open what is sealed in it in another.

mod offline;
mod target;

pub use offline::{OfflineArgs, child_main};

use super::{Common, Failure, print, print_json, text};
use crate::{
    client::{Client, ClientError, backup::Piece, names_a_server, resolve_local},
    config::Size,
    serve::{default_data_dir, fingerprint, parse_keys, plain_file},
};
use clap::Args;
use freehold_storage::{BackupFault, BackupReader, BackupSummary, Discard};
use serde_json::json;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};
use target::Target;
use tokio::signal::unix::{SignalKind, signal};

/// A pace that a serving machine hardly notices.
const RATE: &str = "64MiB";
/// The slowest one; slower, a backup would hold packages for too long.
const RATE_BYTES_MIN: u64 = 1 << 20;
/// Calls of functions on this machine come first.
const NICENESS: i32 = 10;

/// Arguments of `freehold backup`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sudo freehold backup /backups/node.backup          # and /backups/node.backup.key
  sudo freehold backup - --key /root/node.key | zstd > node.backup.zst
  sudo freehold restore /backups/node.backup --data /var/lib/freehold

Whoever has both files has every secret of every account: keep them apart. Without the key file
nothing sealed in the backup opens, so a restore asks for it.")]
pub struct BackupArgs {
    /// File to write, replaced only by a whole backup; - for stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File for the sealing keys [default: FILE.key]
    #[arg(long, value_name = "FILE", conflicts_with = "without_key")]
    key: Option<PathBuf>,
    /// Leave the sealing keys out: you keep keys/seal of the data folder yourself
    #[arg(long)]
    without_key: bool,
    /// Leave out what functions wrote to their logs
    #[arg(long)]
    without_logs: bool,
    /// Bytes per second at the most, such as 200MiB, or unlimited
    #[arg(long, value_name = "SIZE", default_value = RATE)]
    max_rate: Rate,
    #[command(flatten)]
    common: Common,
}

/// How fast the data is read; `None` is as fast as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate(Option<u64>);

impl FromStr for Rate {
    type Err = String;
    fn from_str(given: &str) -> Result<Self, String> {
        if given == "unlimited" {
            return Ok(Self(None));
        }
        let Size(bytes) = given.parse()?;
        if bytes < RATE_BYTES_MIN {
            return Err("the slowest pace is 1MiB (a second)".to_owned());
        }
        Ok(Self(Some(bytes)))
    }
}

/// The sealing keys of a node, as they go into the key file.
pub struct SealingKeys {
    /// The file's bytes.
    pub text: Vec<u8>,
    /// What names them, oldest first.
    pub fingerprints: Vec<String>,
}

impl SealingKeys {
    /// Reads a file of keys: `keys/seal`, or what a backup left beside it.
    ///
    /// Errors: a text for people.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = plain_file(path).map_err(|error| error.to_string())?;
        let keys = std::str::from_utf8(&text).ok().and_then(parse_keys);
        let keys = keys.ok_or("it is not a file of sealing keys")?;
        Ok(Self {
            fingerprints: keys.iter().map(fingerprint).collect(),
            text,
        })
    }
}

pub async fn run(args: BackupArgs) -> Result<ExitCode, Failure> {
    let _ = rustix::process::setpriority_process(None, NICENESS);
    let data = args.common.data.clone().unwrap_or_else(default_data_dir);
    let key_file = key_file(&args)?;
    let source = source(&args.common, &data);
    // A server knows the names of its keys; of a folder they are told to whoever reads it.
    let keys = match key_file.is_some() || source == Source::Folder {
        true => Some(sealing_keys(&data)?),
        false => None,
    };
    let target = Target::open(&args.file)?;
    let mut flow = Flow {
        reader: BackupReader::default(),
        target,
        keys: keys.as_ref(),
        is_checked: false,
    };
    let made = match source {
        Source::Folder => offline::make(&args, &data, &mut flow).await,
        Source::ServerOf => {
            // A folder without a store says where the keys are, and nothing of the server. One that
            // has a store is meant itself: its server begins or ends, and another is none in its place.
            let client = match resolve_local(&data)? {
                Some(client) => client,
                None if data.join("store").exists() => {
                    return Err(ClientError::NoServer { data }.into());
                }
                None => args.common.client()?,
            };
            online(&client, &args, &mut flow).await
        }
        Source::Named => online(&args.common.client()?, &args, &mut flow).await,
    };
    made?;
    let summary = flow.reader.finish().map_err(refused)?;
    if let (Some(path), Some(keys)) = (&key_file, &keys) {
        let mut file = Target::open(path)?;
        file.write(&keys.text)?;
        file.finish()?;
    }
    flow.target.finish()?;
    say(&args, &summary, key_file.as_deref())
}

/// Of what a backup is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The server that a flag, or else the environment, names; or the one of the data folder.
    Named,
    /// The server that serves from the folder that `--data` names.
    ServerOf,
    /// The folder itself, which no server holds.
    Folder,
}

/// Flags say it first, then the environment: a folder that lies here is not meant by whoever names
/// a server, and a server that the environment names is not meant by whoever names a folder.
fn source(common: &Common, data: &Path) -> Source {
    let names_a_flag = common.endpoint.is_some() || common.profile.is_some();
    let names_a_folder = common.data.is_some();
    let is_named = names_a_flag || !names_a_folder && names_a_server();
    match (is_named, offline::is_possible(data)) {
        (false, true) => Source::Folder,
        (false, false) if names_a_folder => Source::ServerOf,
        _ => Source::Named,
    }
}

/// Where the keys go; `None` where they are not wanted.
fn key_file(args: &BackupArgs) -> Result<Option<PathBuf>, Failure> {
    match (&args.key, args.without_key) {
        (_, true) => Ok(None),
        (Some(key), false) if *key == args.file => Err(Failure::usage(
            "the backup and its sealing keys cannot be one file",
            "name another one by --key FILE",
        )),
        (Some(key), false) => Ok(Some(key.clone())),
        (None, false) if target::is_stdout(&args.file) => Err(Failure::usage(
            "a backup to stdout has no file beside which its sealing keys could lie",
            "name one by --key FILE, or leave the keys out by --without-key",
        )),
        (None, false) => {
            let mut name = OsString::from(&args.file);
            name.push(".key");
            Ok(Some(name.into()))
        }
    }
}

fn sealing_keys(data: &Path) -> Result<SealingKeys, Failure> {
    let path = data.join("keys/seal");
    SealingKeys::read(&path).map_err(|error| {
        Failure::refused(
            format!("the sealing keys in {} cannot be read: {error}", path.display()),
            "run this on the server's machine as who started it (root), with --data DIR; or leave them out by --without-key, and keep that file yourself: without it nothing sealed in the backup opens",
        )
    })
}

/// What arrives: looked at, then written down.
struct Flow<'a> {
    reader: BackupReader,
    target: Target,
    keys: Option<&'a SealingKeys>,
    is_checked: bool,
}

impl Flow<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.reader.feed(bytes, &mut Discard).map_err(refused)?;
        if let (false, Some(head), Some(keys)) = (self.is_checked, self.reader.head(), self.keys) {
            self.is_checked = true;
            if head.seals != keys.fingerprints {
                return Err(Failure::refused(
                    "the sealing keys of the data folder here are not those of the server that was asked",
                    "name that server's own data folder by --data DIR, or leave the keys out by --without-key",
                ));
            }
        }
        self.target.write(bytes)
    }
}

/// A backup that is not whole, or not one.
fn refused(fault: BackupFault) -> Failure {
    let remedy = match &fault {
        BackupFault::GivenUp { .. } => "mend what it names, and make another",
        _ => "make another; nothing of this one was left",
    };
    Failure::refused(fault.to_string(), remedy)
}

/// Fetches a backup of the running server.
async fn online(client: &Client, args: &BackupArgs, flow: &mut Flow<'_>) -> Result<(), Failure> {
    let Rate(rate) = args.max_rate;
    let id = client.backup_start(!args.without_logs, rate).await?;
    let fetched = tokio::select! {
        fetched = fetch(client, &id, flow) => fetched,
        stopped = interrupted() => Err(stopped),
    };
    if fetched.is_err() {
        // Or the next one would have to wait until nobody has asked for this one for a while.
        let _ = client.backup_stop(&id).await;
    }
    fetched
}

async fn fetch(client: &Client, id: &str, flow: &mut Flow<'_>) -> Result<(), Failure> {
    loop {
        match client.backup_piece(id).await? {
            Piece::Bytes(bytes) => flow.take(&bytes)?,
            Piece::Later => {}
            Piece::End => return Ok(()),
        }
    }
}

/// Whether whoever started this has it go on when the terminal goes.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 != 0)
}

/// Resolves when somebody wants this to end: what was written goes then.
async fn interrupted() -> Failure {
    let both = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = both else {
        return std::future::pending().await;
    };
    let hangup = async {
        // A terminal that went away; below `nohup` that is nobody's wish.
        if ignores_hangup() {
            return std::future::pending().await;
        }
        match signal(SignalKind::hangup()) {
            Ok(mut hangup) => hangup.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup => {}
    }
    Failure::refused("the backup was stopped", "nothing of it was left")
}

fn say(args: &BackupArgs, made: &BackupSummary, key: Option<&Path>) -> Result<ExitCode, Failure> {
    for name in &made.damaged {
        eprintln!(
            "freehold: {} is damaged in the data folder; the backup has it as it is",
            text::escape(name)
        );
    }
    let is_stdout = target::is_stdout(&args.file);
    if args.common.json && !is_stdout {
        print_json(&json!({
            "file": args.file.display().to_string(),
            "key": key.map(|key| key.display().to_string()),
            "bytes": made.stream_bytes,
            "files": made.entries,
            "begun": text::instant(made.head.at_ms),
            "release": made.head.release,
            "logs": made.head.logs,
            "damaged": made.damaged,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = format!(
        "{} in {} files, as of {}",
        text::bytes(made.stream_bytes),
        made.entries,
        text::instant(made.head.at_ms)
    );
    if let Some(key) = key {
        said.push_str(&format!(
            "\nThe keys to it are in {}: keep them elsewhere",
            key.display()
        ));
    }
    match is_stdout {
        true => eprintln!("{said}"),
        false => print(&format!("{}  {said}\n", args.file.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_size_or_none() {
        assert_eq!("unlimited".parse(), Ok(Rate(None)));
        assert_eq!("200MiB".parse(), Ok(Rate(Some(200 << 20))));
        for wrong in ["", "0", "64KiB", "fast", "-1MiB"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
