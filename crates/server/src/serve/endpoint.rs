//! How others find the server: `run/endpoint.json`, the root key, `freehold env`.

mod found;

pub(crate) use found::plain_file;

use super::{StartFailure, default_data_dir, failure, folder::Folder};
use clap::Args;
use freehold_control::bootstrap::PlainKey;
use freehold_domain::{Region, TenantId};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::ExitCode,
};

/// What `run/endpoint.json` says while the server serves.
#[derive(Debug, Serialize)]
pub(crate) struct Announced<'a> {
    /// Base URL of all APIs, with a name of the certificate where there is one.
    pub(crate) listen: String,
    /// Base URL of metrics and health.
    pub(crate) admin: String,
    /// The server.
    pub(crate) pid: i32,
    /// The default region.
    pub(crate) region: &'a Region,
    /// Where this machine reaches the APIs, whatever their name resolves to.
    pub(crate) address: SocketAddr,
    /// The SHA-256 of the certificate that is shown there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// Whether clients have to be told to trust it.
    pub(crate) is_self_signed: bool,
}

/// What the root-key file says.
#[derive(Serialize)]
struct RootKey<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    account: &'a TenantId,
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
        let mut text = serde_json::to_string_pretty(&RootKey {
            access_key_id: &key.id,
            secret_access_key: &key.secret,
            account: &key.tenant,
        })?;
        text.push('\n');
        // Over what is there, in one piece: whoever reads meanwhile finds one key or the other.
        self.0.rewind()?;
        self.0.write_all(text.as_bytes())?;
        self.0.set_len(text.len() as u64)?;
        self.0.sync_all()
    }
}

/// Says where the server is, whole or not at all.
pub(crate) fn announce(folder: &Folder, announced: &Announced<'_>) -> io::Result<()> {
    let partial = folder.run().join("endpoint.new");
    fs::write(&partial, serde_json::to_vec_pretty(announced)?)?;
    fs::rename(&partial, folder.run().join("endpoint.json"))
}

/// The opposite of [`announce`].
pub(crate) fn withdraw(folder: &Folder) {
    let _ = fs::remove_file(folder.run().join("endpoint.json"));
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
    let found = match found::read(&data) {
        Ok(found) => found,
        Err(text) => {
            eprintln!("freehold: {text}");
            return ExitCode::from(crate::cli::EXIT_UNREACHABLE);
        }
    };
    let pairs = found.variables();
    if args.json {
        let object: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&object).expect("text serialises")
        );
    } else {
        for (name, value) in pairs {
            println!("export {name}={}", found::quoted(&value));
        }
        // A token of an earlier login would go along with our keys and make them invalid.
        println!("unset AWS_SESSION_TOKEN AWS_PROFILE");
    }
    ExitCode::SUCCESS
}
