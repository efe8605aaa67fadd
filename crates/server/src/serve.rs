//! `freehold serve`: from one root process to a serving platform, and back to nothing.
//!
//! ```text
//!  prepare (root)          folders, runtimes, listeners
//!  launch  (root)          fork supervisor and spawners: before any thread, before any secret
//!  keys    (root)          read the sealing keys, then drop to a uid of our own for good
//!  node                    storage, identity, control, engine, one thread per core
//!  signal                  stop admitting, finish what runs, end everything
//! ```

mod acme;
mod budgets;
mod clock;
mod disk;
mod endpoint;
mod folder;
mod front_door;
mod keys;
mod listeners;
mod node;
mod notify;
mod processors;
mod reload;
mod runtimes;
mod settings;
mod tenants;
mod tls;
mod wiring;

pub(crate) use acme::Ordered;
pub(crate) use disk::{FLOOR_PERCENT, Room};
pub(crate) use endpoint::plain_file;
pub use endpoint::{EnvArgs, env};
pub(crate) use folder::{ACME, RESTORED, RESTORING, TLS, give_to_server};
pub(crate) use keys::{fingerprint, parse as parse_keys};
pub use runtimes::discover_options;
pub(crate) use tls::{Fingerprint, day, judge_certificate, key_of};

use crate::config::{Config, Given, Resolved};
use clap::Args;
use freehold_domain::{Region, TenantId};
use freehold_sandbox::{LaunchOptions, seccomp::Embedded};
use front_door::FrontDoor;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// Where data lies unless told otherwise: of the machine as root, else of the user.
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/freehold");
    }
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    home.unwrap_or_else(|| PathBuf::from(".")).join("freehold")
}

/// Arguments of `freehold serve`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  freehold serve --data /var/lib/freehold\n  eval \"$(freehold env --data /var/lib/freehold)\""
)]
pub struct ServeArgs {
    /// Folder of all data; one server per folder
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of all APIs [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Address of metrics and health [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
    /// The account that the first start makes, 12 digits
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Region [default: us-east-1]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Configuration file [default: freehold.toml in the data folder]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The certificate and those that vouch for it, PEM [default: one of its own making off loopback]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Off loopback, serve in clear: passwords and code cross the network readable
    #[arg(long)]
    pub insecure: bool,
    /// Any key of the configuration, over file and environment; may be given more than once
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// What was given, put together.
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) account: Option<TenantId>,
    pub(crate) regions: Vec<Region>,
    pub(crate) cores: u16,
    pub(crate) config: Config,
    pub(crate) resolved: Resolved,
    /// What it was put together from, to be read again.
    pub(crate) given: Given,
}

/// Why the server did not start, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct StartFailure {
    what: String,
    remedy: String,
}

impl StartFailure {
    pub(crate) fn exit(self, code: u8) -> ExitCode {
        eprintln!("freehold: {}", self.what);
        if !self.remedy.is_empty() {
            eprintln!("  remedy: {}", self.remedy);
        }
        ExitCode::from(code)
    }
}

pub(crate) fn failure(what: impl std::fmt::Display, remedy: impl Into<String>) -> StartFailure {
    StartFailure {
        what: what.to_string(),
        remedy: remedy.into(),
    }
}

/// An error with its sources, for one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Serves until a signal. The process must have one thread yet.
pub fn run(args: ServeArgs) -> ExitCode {
    // A reload that is asked for before anybody listens comes when the node serves.
    if let Err(error) = freehold_sandbox::sys::identity::hold_hangup(true) {
        return failure(chain(&error), "").exit(crate::cli::EXIT_REFUSED);
    }
    // Wrong flags and a wrong file are misuse; what the machine then refuses is not.
    let settings = match settings(&args) {
        Ok(settings) => settings,
        Err(failure) => return failure.exit(crate::cli::EXIT_USAGE),
    };
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(crate::cli::EXIT_REFUSED),
    }
}

/// The body of the hidden `__unpack`: a process without privileges that unpacks one archive.
pub fn unpack_child() -> ExitCode {
    confined(Embedded::Unpack, freehold_control::archive::child_main)
}

/// The body of the hidden `__compile`: a process without privileges that compiles one module.
pub fn compile_child() -> ExitCode {
    confined(Embedded::Compile, freehold_wasm::child_main)
}

fn confined(policy: Embedded, work: fn() -> ExitCode) -> ExitCode {
    processors::as_parent();
    match confine(policy) {
        Ok(()) => work(),
        Err(error) => {
            eprintln!("freehold: a throw-away process could not be confined: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The few calls that the work needs, and no way to gain more.
fn confine(policy: Embedded) -> Result<(), Box<dyn std::error::Error>> {
    // Input that makes it crash must not have the host's handler of crashes look at it as
    // root. The server is not dumpable either, but an exec has undone that.
    freehold_sandbox::sys::identity::not_dumpable()?;
    let program = policy.program()?;
    freehold_sandbox::sys::identity::no_new_privileges()?;
    freehold_sandbox::sys::filter::install(&program)?;
    Ok(())
}

fn settings(args: &ServeArgs) -> Result<Settings, StartFailure> {
    let data = args.data.clone().unwrap_or_else(default_data_dir);
    let data = std::path::absolute(&data).map_err(|error| {
        failure(
            format!("{}: {error}", data.display()),
            "choose another --data",
        )
    })?;
    let given = args.given(&data);
    let resolved = given.resolve().map_err(|error| {
        failure(
            chain(&error),
            "mend what each line names; `freehold config show` judges the same without a start",
        )
    })?;
    let config = &resolved.config;
    let mut regions = vec![config.server.region.clone()];
    for region in &config.server.regions {
        if !regions.contains(region) {
            regions.push(region.clone());
        }
    }
    let machine = std::thread::available_parallelism().map_or(1, |n| n.get().min(64) as u16);
    Ok(Settings {
        data,
        listen: config.server.listen,
        admin_listen: config.server.admin_listen,
        account: config.server.account.clone(),
        regions,
        cores: config.server.cores.unwrap_or(machine),
        config: config.clone(),
        resolved,
        given,
    })
}

impl ServeArgs {
    /// What may say a value, flags over all.
    fn given(&self, data: &Path) -> Given {
        Given::new(self.config.as_deref(), data)
            .with_environment()
            .with_flag("--listen", "server.listen", self.listen.as_ref())
            .with_flag(
                "--admin-listen",
                "server.admin_listen",
                self.admin_listen.as_ref(),
            )
            .with_flag("--account", "server.account", self.account.as_ref())
            .with_flag("--region", "server.region", self.region.as_ref())
            .with_flag(
                "--tls-cert",
                "tls.certificate",
                absolute(self.tls_cert.as_deref()),
            )
            .with_flag("--tls-key", "tls.key", absolute(self.tls_key.as_deref()))
            .with_flag(
                "--insecure",
                "server.insecure",
                self.insecure.then_some(true),
            )
            .with_sets(&self.set)
    }
}

/// A flag's path as the configuration has it.
fn absolute(path: Option<&Path>) -> Option<String> {
    let path = path?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Some(absolute.display().to_string())
}

fn serve(settings: Settings) -> Result<(), StartFailure> {
    let folder = folder::prepare(&settings)?;
    let listeners = listeners::bind(&settings)?;
    let catalog = runtimes::assemble(&settings, &folder)?;
    let credentials = endpoint::CredentialsFile::open(&folder)?;
    let mut options = LaunchOptions::new(settings.cores, folder.runtime_table(), folder.state());
    options.server_uid = folder.uid;
    options.server_gid = folder.gid;
    options.package_dir = Some(folder.packages());
    let instances = &settings.config.instances;
    options.instances_max = instances.max;
    options.park_target = instances.parked;
    options.volumes_ready = options.volumes_ready.min(instances.parked);
    options.guests_memory_bytes = instances.memory.map(|size| size.0);
    options.network = settings::network(&settings.config);
    let supervisor = freehold_sandbox::launch(options).map_err(|error| {
        failure(
            chain(&error),
            "`freehold doctor` says what this machine lacks",
        )
    })?;
    let is_one_uid = freehold_sandbox::is_one_uid();
    // Secrets come into memory only now, and root goes away right after.
    let sealing_keys = keys::load_or_make(&folder)?;
    let door = FrontDoor::open(&settings, &folder, listeners.address, listeners.admin_address)
        .map_err(|error| {
            failure(
                format!("tls.certificate cannot be taken: {}", chain(&error)),
                "give another --tls-cert and --tls-key, or neither: the server then makes a certificate",
            )
        })?;
    freehold_sandbox::drop_privileges(folder.uid, folder.gid)
        .map_err(|error| failure(chain(&error), ""))?;
    door.settle().map_err(|error| {
        failure(
            format!("tls.certificate cannot be taken: {}", chain(&error)),
            "let the server's user read both files, as your hook of renewals has to do from then on",
        )
    })?;
    node::run(node::NodeParts {
        settings,
        folder,
        listeners,
        door: Arc::new(door),
        catalog,
        credentials,
        supervisor,
        sealing_keys,
        is_one_uid,
    })
}
