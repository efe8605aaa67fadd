//! A backup of a folder that no server holds, read by a child with the rights of the store's owner
//! and no others: what lies there was written by a server that parses what strangers send.

use super::{BackupArgs, Failure, Flow, Rate, interrupted};
use crate::cli::EXIT_REFUSED;
use clap::Args;
use freehold_domain::ports::BackupAsked;
use freehold_storage::{BACKUP_FORMAT, BackupHead, Offline};
use rustix::fs::{FlockOperation, flock};
use std::{
    error::Error,
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

/// One read of the child's pipe.
const READ_BYTES: usize = 256 << 10;

/// Whether `data` has a store, and no server that holds it.
pub(super) fn is_possible(data: &Path) -> bool {
    let store = data.join("store");
    let is_held = fs::File::open(store.join("lock"))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err());
    store.join("format").is_file() && !is_held
}

/// Arguments of the child.
#[derive(Debug, Clone, Args)]
pub struct OfflineArgs {
    /// The store
    #[arg(long)]
    store: PathBuf,
    /// Whose rights to keep
    #[arg(long)]
    uid: u32,
    /// The same
    #[arg(long)]
    gid: u32,
    /// Fingerprints of the sealing keys, oldest first
    #[arg(long)]
    seal: Vec<String>,
    /// Without the logs
    #[arg(long)]
    without_logs: bool,
    /// Bytes per second
    #[arg(long)]
    rate: Option<u64>,
}

/// Has a child read the store, and takes what it writes.
pub(super) async fn make(
    args: &BackupArgs,
    data: &Path,
    flow: &mut Flow<'_>,
) -> Result<(), Failure> {
    let store = data.join("store");
    let owner = fs::metadata(&store).map_err(|source| Failure::File {
        what: "read",
        path: store.clone(),
        source,
    })?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("__backup").arg("--store").arg(&store);
    command.arg("--uid").arg(owner.uid().to_string());
    command.arg("--gid").arg(owner.gid().to_string());
    for seal in flow.keys.iter().flat_map(|keys| &keys.fingerprints) {
        command.arg("--seal").arg(seal);
    }
    if args.without_logs {
        command.arg("--without-logs");
    }
    if let Rate(Some(bytes)) = args.max_rate {
        command.arg("--rate").arg(bytes.to_string());
    }
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let failed = |error: io::Error| {
        let what = format!("the folder could not be read: {error}");
        Failure::refused(what, "start the server, and ask it for the backup")
    };
    let mut child = spawned.map_err(failed)?;
    let out = child.stdout.take().expect("it was piped");
    let mut said = child.stderr.take().expect("it was piped");
    let mut text = Vec::new();
    let (taken, _) = tokio::select! {
        both = async {
            // What it says is a line; a full pipe would hold it up.
            tokio::join!(take(out, flow), said.read_to_end(&mut text))
        } => both,
        stopped = interrupted() => return Err(stopped),
    };
    // What was told in the stream, or what became of the file, comes before how the child took it.
    taken?;
    let status = child.wait().await.map_err(failed)?;
    if !status.success() {
        let said = String::from_utf8_lossy(&text);
        let said = crate::cli::text::escape(said.trim()).into_owned();
        let remedy = "nothing of the backup was left";
        return Err(Failure::refused(said, remedy));
    }
    Ok(())
}

async fn take(mut out: impl AsyncRead + Unpin, flow: &mut Flow<'_>) -> Result<(), Failure> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match out.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(read) => flow.take(&buffer[..read])?,
            Err(error) => return Err(Failure::refused(error.to_string(), "try again")),
        }
    }
}

/// The body of the hidden `__backup`: writes a backup of a store that nobody holds to stdout.
pub fn child_main(args: OfflineArgs) -> ExitCode {
    match write(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", crate::serve::chain(&*error));
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

fn write(args: OfflineArgs) -> Result<(), Box<dyn Error>> {
    freehold_sandbox::drop_privileges(args.uid, args.gid)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let head = BackupHead {
        format: BACKUP_FORMAT,
        layout: 0,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms: since.map_or(0, |since| since.as_millis() as i64),
        logs: !args.without_logs,
        seals: args.seal,
    };
    let asked = BackupAsked {
        logs: !args.without_logs,
        bytes_per_second: args.rate,
    };
    let mut out = io::stdout().lock();
    Offline::hold(&args.store)?.backup(asked, head, &mut out)?;
    Ok(out.flush()?)
}
