//! How others find the server: `run/endpoint.json`, the root key, `freehold env`.

use super::{StartFailure, default_data_dir, failure, folder::Folder};
use clap::Args;
use freehold_control::bootstrap::PlainKey;
use freehold_domain::Region;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What `run/endpoint.json` says while the server serves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// Base URL of all APIs.
    pub(crate) listen: String,
    /// Base URL of metrics and health.
    pub(crate) admin: String,
    /// The server.
    pub(crate) pid: i32,
    /// The default region.
    pub(crate) region: String,
}

/// What the root-key file says.
#[derive(Debug, Serialize, Deserialize)]
struct RootKey {
    access_key_id: String,
    secret_access_key: String,
    account: String,
}

/// The root key's file, opened while there is still a right to.
pub(crate) struct CredentialsFile(File);

impl CredentialsFile {
    pub(crate) fn open(folder: &Folder) -> Result<Self, StartFailure> {
        let path = folder.path().join("root-key");
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        file.map(Self).map_err(|error| {
            failure(
                format!("{} cannot be written: {error}", path.display()),
                "choose another --data",
            )
        })
    }

    /// Writes the key; the same key again changes nothing.
    pub(crate) fn write(&mut self, key: &PlainKey) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&RootKey {
            access_key_id: key.id.clone(),
            secret_access_key: key.secret.clone(),
            account: key.tenant.to_string(),
        })?;
        self.0.set_len(0)?;
        self.0.rewind()?;
        self.0.write_all(text.as_bytes())?;
        self.0.write_all(b"\n")?;
        self.0.sync_all()
    }
}

/// Says where the server is, whole or not at all.
pub(crate) fn announce(
    folder: &Folder,
    address: SocketAddr,
    admin: SocketAddr,
    region: &Region,
) -> io::Result<()> {
    let endpoint = Endpoint {
        listen: format!("http://{address}"),
        admin: format!("http://{admin}"),
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        region: region.to_string(),
    };
    let partial = folder.run().join("endpoint.new");
    fs::write(&partial, serde_json::to_vec_pretty(&endpoint)?)?;
    fs::rename(&partial, folder.run().join("endpoint.json"))
}

/// The opposite of [`announce`].
pub(crate) fn withdraw(folder: &Folder) {
    let _ = fs::remove_file(folder.run().join("endpoint.json"));
}

/// A server that serves here, and its root key.
pub(crate) struct Local {
    pub(crate) endpoint: Endpoint,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// Reads what a server on this machine left for its clients.
///
/// Errors: a text that names the file and what to do.
pub(crate) fn local(data: &Path) -> Result<Local, String> {
    let path = data.join("run/endpoint.json");
    let text = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "no server serves from {}: start one by `freehold serve --data {}`",
            data.display(),
            data.display()
        ),
        _ => format!("{}: {error}", path.display()),
    })?;
    let endpoint: Endpoint =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let alive = rustix::process::Pid::from_raw(endpoint.pid).is_some_and(|pid| {
        !matches!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        )
    });
    if !alive {
        return Err(format!(
            "the server of {} is not there any more: start it by `freehold serve --data {}`",
            data.display(),
            data.display()
        ));
    }
    let path = data.join("root-key");
    let text = fs::read(&path).map_err(|error| {
        format!(
            "{}: {error}; only who started the server may read it",
            path.display()
        )
    })?;
    let key: RootKey =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Local {
        endpoint,
        access_key_id: key.access_key_id,
        secret_access_key: key.secret_access_key,
    })
}

/// Arguments of `freehold env`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  eval \"$(freehold env)\"\n  aws lambda list-functions")]
pub struct EnvArgs {
    /// Data folder of the server
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print an object instead of shell lines
    #[arg(long)]
    pub json: bool,
}

/// `freehold env`: what to `eval` so that AWS clients talk to the server of this machine.
pub fn env(args: EnvArgs) -> ExitCode {
    let data = args.data.unwrap_or_else(default_data_dir);
    let found = match local(&data) {
        Ok(found) => found,
        Err(text) => {
            eprintln!("freehold: {text}");
            return ExitCode::from(crate::cli::EXIT_UNREACHABLE);
        }
    };
    let pairs = [
        ("AWS_ENDPOINT_URL", &found.endpoint.listen),
        ("AWS_ACCESS_KEY_ID", &found.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &found.secret_access_key),
        ("AWS_REGION", &found.endpoint.region),
        ("AWS_DEFAULT_REGION", &found.endpoint.region),
    ];
    if args.json {
        let object: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&object).expect("text serialises")
        );
    } else {
        for (name, value) in pairs {
            // Our values hold no quotes: ids, base64, addresses.
            println!("export {name}='{value}'");
        }
        // A token of an earlier login would go along with our keys and make them invalid.
        println!("unset AWS_SESSION_TOKEN AWS_PROFILE");
    }
    ExitCode::SUCCESS
}
