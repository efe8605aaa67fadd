//! The commands that are clients: what they share.
//!
//! Each command is a file below `cli/`: it resolves a [`Client`], asks, prints. Exit codes are
//! part of the interface and stand in [`EXIT_CODES`]. Output for machines goes to stdout and is
//! whole JSON; progress, hints and errors go to stderr. Colours and progress need a terminal and
//! no `NO_COLOR`.

mod audit;
mod backup;
mod bill;
mod budgets;
mod config;
mod deploy;
mod describe;
mod failure;
mod invoke;
mod keys;
mod logs;
mod ls;
mod new;
mod prices;
mod ps;
mod reload;
mod rm;
mod table;
mod tenants;
mod text;
mod usage;

pub use backup::{OfflineArgs, SealingKeys, child_main as backup_child};
pub use failure::Failure;
pub use text::{bytes as bytes_text, instant as instant_text};

use crate::client::{Choice, Client, Environment, Waits, resolve};
use clap::{Args, Subcommand};
use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

/// The function (or its build) failed.
pub const EXIT_FUNCTION: u8 = 1;
/// The command line does not read.
pub const EXIT_USAGE: u8 = 2;
/// What was named does not exist.
pub const EXIT_NOT_FOUND: u8 = 3;
/// It was understood, and refused.
pub const EXIT_REFUSED: u8 = 4;
/// No server answered, or none that could.
pub const EXIT_UNREACHABLE: u8 = 5;

/// The exit codes, for the help.
pub const EXIT_CODES: &str = "Exit codes:
  0  fine
  1  the function failed, or its build did
  2  usage: the command line does not read
  3  not found
  4  refused
  5  unreachable: no server answered";

/// Options of every client command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Server to talk to, such as https://host:7070 [default: AWS_ENDPOINT_URL, the profile's, or the one of this machine]
    #[arg(long, value_name = "URL", global = true, help_heading = "Connection")]
    endpoint: Option<String>,
    /// Region [default: AWS_REGION, the profile's, or the server's]
    #[arg(long, value_name = "NAME", global = true, help_heading = "Connection")]
    region: Option<String>,
    /// Profile of ~/.aws to take keys, region and endpoint from
    #[arg(long, value_name = "NAME", global = true, help_heading = "Connection")]
    profile: Option<String>,
    /// Data folder of the server of this machine, when nothing else names a server
    #[arg(long, value_name = "DIR", global = true, help_heading = "Connection")]
    data: Option<PathBuf>,
    /// SHA-256 of the server's certificate, to believe that one alone [default: who is vouched for by AWS_CA_BUNDLE or the system]
    #[arg(
        long,
        value_name = "SHA256",
        global = true,
        help_heading = "Connection"
    )]
    fingerprint: Option<String>,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Connection")]
    json: bool,
}

/// The client commands.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Make a folder with a small function in it, ready to be deployed
    New(new::NewArgs),
    /// Build, package and deploy a folder as a function
    Deploy(Box<deploy::DeployArgs>),
    /// Run a function and print its answer
    Invoke(invoke::InvokeArgs),
    /// List functions
    Ls(ls::LsArgs),
    /// Show everything about a function
    Describe(describe::DescribeArgs),
    /// Show or follow a function's log
    Logs(logs::LogsArgs),
    /// List running instances
    Ps(ps::PsArgs),
    /// Show who changed what, and who was denied
    Audit(audit::AuditArgs),
    /// Write the node's data into one file, while it serves or while it does not
    Backup(backup::BackupArgs),
    /// Show what was used, by function and day
    Usage(usage::UsageArgs),
    /// Show what was used in a month and what that costs
    Bill(bill::BillArgs),
    /// Remove functions
    Rm(rm::RmArgs),
    /// Make, list, limit and disable the accounts of a node
    Tenants(tenants::TenantsArgs),
    /// Make, list, rotate and disable their access keys
    Keys(keys::KeysArgs),
    /// Show every key of the configuration, its value and its origin
    Config(config::ConfigArgs),
    /// Have the server read its configuration file again
    Reload(reload::ReloadArgs),
    /// Show and set what is asked for what is used
    Prices(prices::PricesArgs),
    /// Show and set how much accounts and functions may use
    Budgets(budgets::BudgetsArgs),
}

/// Runs one client command to its exit code. This is where their runtime begins and ends.
pub fn run(command: ClientCommand) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("freehold: no event loop could be made: {error}");
            return ExitCode::from(EXIT_REFUSED);
        }
    };
    let done = runtime.block_on(async {
        match command {
            ClientCommand::New(args) => new::run(args),
            ClientCommand::Deploy(args) => deploy::run(*args).await,
            ClientCommand::Invoke(args) => invoke::run(args).await,
            ClientCommand::Ls(args) => ls::run(args).await,
            ClientCommand::Describe(args) => describe::run(args).await,
            ClientCommand::Logs(args) => logs::run(args).await,
            ClientCommand::Ps(args) => ps::run(args).await,
            ClientCommand::Audit(args) => audit::run(args).await,
            ClientCommand::Backup(args) => backup::run(args).await,
            ClientCommand::Usage(args) => usage::run(args).await,
            ClientCommand::Bill(args) => bill::run(args).await,
            ClientCommand::Rm(args) => rm::run(args).await,
            ClientCommand::Tenants(args) => tenants::run(args).await,
            ClientCommand::Keys(args) => keys::run(args).await,
            ClientCommand::Config(args) => config::run(args).await,
            ClientCommand::Reload(args) => reload::run(args).await,
            ClientCommand::Prices(args) => prices::run(args).await,
            ClientCommand::Budgets(args) => budgets::run(args).await,
        }
    });
    // A read of stdin may still be under way on a helper thread; it must not hold the process.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

impl Common {
    fn client(&self) -> Result<Client, Failure> {
        let choice = Choice {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            profile: self.profile.clone(),
            data: self.data.clone(),
            fingerprint: self.fingerprint.clone(),
        };
        let mut client = resolve(&choice, &Environment::of_process())?;
        client.waits = Waits::told_by(|text| eprintln!("freehold: {}", text::escape(text)));
        Ok(client)
    }
}

/// Whether stdout may carry colours.
fn colours() -> bool {
    std::io::stdout().is_terminal() && no_color_is_unset()
}

/// Whether progress may be drawn on stderr.
fn progress() -> bool {
    std::io::stderr().is_terminal() && no_color_is_unset()
}

fn no_color_is_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes to stdout; a reader that went away (`| head`) ends the command quietly.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// Prints a value as JSON, indented.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    print(&format!("{text}\n"))
}
