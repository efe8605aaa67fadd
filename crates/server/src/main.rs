//! `freehold`: one binary that is the platform and its command line.
//!
//! Nothing here starts a thread or an event loop: `serve` forks its privileged helpers first, and
//! the other commands make a runtime of their own where they need one.

#[cfg(test)]
mod book;
mod cli;
mod client;
mod config;
mod doctor;
mod install;
mod restore;
mod runtimes_cmd;
mod serve;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Serverless that you own outright: AWS Lambda's API on your own machine.
#[derive(Debug, Parser)]
#[command(
    name = "freehold",
    version,
    after_help = cli::EXIT_CODES,
    arg_required_else_help = true,
    disable_help_subcommand = false
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the platform on this machine
    Serve(serve::ServeArgs),
    /// Print what to `eval` so that AWS clients talk to the server of this machine
    Env(serve::EnvArgs),
    /// Say line by line what this machine offers and what is enforced
    Doctor(doctor::DoctorArgs),
    /// List the language runtimes of this machine, or fetch the SDKs that functions find
    Runtimes(runtimes_cmd::RuntimesArgs),
    /// Make a data folder of a backup
    Restore(restore::RestoreArgs),
    /// Make this binary a service of this machine: user, folders, configuration, unit
    Install(install::InstallArgs),
    /// Take it away again; data and configuration stay
    Uninstall(install::UninstallArgs),
    #[command(flatten)]
    Client(cli::ClientCommand),
    /// Unpacks one archive without privileges; the server starts it, nobody else.
    #[command(name = "__unpack", hide = true)]
    Unpack,
    /// Compiles one WebAssembly module without privileges; the server starts it, nobody else.
    #[command(name = "__compile", hide = true)]
    Compile,
    /// Reads a store that no server holds, with its owner's rights; `backup` starts it, nobody else.
    #[command(name = "__backup", hide = true)]
    Backup(cli::OfflineArgs),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Env(args) => serve::env(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Runtimes(args) => runtimes_cmd::run(args),
        Command::Restore(args) => restore::run(args),
        Command::Install(args) => install::install(args),
        Command::Uninstall(args) => install::uninstall(args),
        Command::Client(command) => cli::run(command),
        Command::Unpack => serve::unpack_child(),
        Command::Compile => serve::compile_child(),
        Command::Backup(args) => cli::backup_child(args),
    }
}
