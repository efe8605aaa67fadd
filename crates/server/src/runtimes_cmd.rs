//! `freehold runtimes`: which interpreters were found, and the SDKs that functions expect.

use crate::{
    config::Given,
    serve::{default_data_dir, discover_options},
};
use clap::{Args, Subcommand};
use freehold_catalog::{Catalog, PassedOver, assemble, discover, install_sdks};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Signal, set_parent_process_death_signal},
};
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `freehold runtimes`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  freehold runtimes\n  sudo freehold runtimes install")]
pub struct RuntimesArgs {
    /// What to do; lists without one
    #[command(subcommand)]
    pub action: Option<RuntimesAction>,
    /// Data folder of the server
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// Configuration file [default: freehold.toml in the data folder]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Any key of the configuration; the server hands on its own
    #[arg(long, value_name = "SECTION.KEY=VALUE", global = true, hide = true)]
    pub set: Vec<String>,
    /// Print an object instead of lines
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with runtimes.
#[derive(Debug, Clone, Subcommand)]
pub enum RuntimesAction {
    /// List what was found, with digests, and what was passed over, with the reason
    List,
    /// Assemble every runtime that was found; the server does so at each start
    #[command(hide = true)]
    Assemble,
    /// Fetch the pinned boto3 and AWS SDK for JavaScript, and assemble every runtime
    Install,
}

/// Lists or installs.
pub fn run(args: RuntimesArgs) -> ExitCode {
    let data = args.data.clone().unwrap_or_else(default_data_dir);
    match work(&args, &data) {
        Ok(code) => code,
        Err(text) => {
            eprintln!("freehold: {text}");
            ExitCode::from(crate::cli::EXIT_REFUSED)
        }
    }
}

/// Whether a server holds the lock of this data folder.
pub(crate) fn in_use(data: &std::path::Path) -> bool {
    let lock = std::fs::File::open(data.join("store/lock"));
    lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

fn told(one: &PassedOver) -> String {
    let asked = match &one.configured_for {
        Some(name) => format!("{name} in runtimes.paths: "),
        None => String::new(),
    };
    let path = one.path.display();
    format!("{:<18} {path}: {asked}{}", "passed over", one.reason)
}

fn work(args: &RuntimesArgs, data: &std::path::Path) -> Result<ExitCode, String> {
    let fail = |error: &dyn std::error::Error| crate::serve::chain(error);
    let assembles = matches!(args.action, Some(RuntimesAction::Assemble));
    if assembles {
        // Whoever asked is a server that starts: with it goes what it asked for.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| fail(&error))?;
    }
    let given = Given::new(args.config.as_deref(), data);
    let given = given.with_environment().with_sets(&args.set);
    let resolved = given.resolve().map_err(|error| fail(&error))?;
    let found = discover(&discover_options(&resolved.config.runtimes.paths));
    let mut missing = Vec::new();
    if assembles {
        assemble(&found, data, in_use(data)).map_err(|error| fail(&error))?;
        return Ok(ExitCode::SUCCESS);
    }
    if matches!(args.action, Some(RuntimesAction::Install)) {
        std::fs::create_dir_all(data).map_err(|error| format!("{}: {error}", data.display()))?;
        let report = install_sdks(&found, data).map_err(|error| fail(&error))?;
        for folder in &report.installed {
            println!("installed {}", folder.display());
        }
        for folder in &report.present {
            println!("present   {}", folder.display());
        }
        for problem in &report.problems {
            eprintln!("missing   {}: {}", problem.about, problem.reason);
            eprintln!(
                "  remedy: {}; until then functions start without it",
                problem.remedy
            );
        }
        missing = report.problems;
        if in_use(data) {
            println!("a server uses this folder: what was installed counts from its next start");
        }
        assemble(&found, data, in_use(data)).map_err(|error| fail(&error))?;
    }
    let catalog = if data.join("runtimes/table.json").exists() {
        Catalog::load(data).map_err(|error| fail(&error))?
    } else {
        for one in &found.passed_over {
            eprintln!("{}", told(one));
        }
        return Err(format!(
            "no runtimes are assembled in {}: run `freehold runtimes install --data {}`",
            data.display(),
            data.display()
        ));
    };
    if args.json {
        let rows: Vec<_> = catalog
            .rows()
            .iter()
            .map(|row| {
                serde_json::json!({
                    "name": row.name, "version": row.version, "digest": row.digest,
                    "root": row.root, "argv": row.argv,
                })
            })
            .collect();
        let problems: Vec<_> = catalog.problems().iter().chain(&missing).collect();
        println!(
            "{}",
            serde_json::json!({
                "runtimes": rows, "problems": problems, "passed_over": catalog.passed_over(),
            })
        );
    } else {
        for row in catalog.rows() {
            println!(
                "{:<18} {:<12} sha256:{}",
                row.name.to_string(),
                row.version,
                row.digest
            );
        }
        for problem in catalog.problems() {
            println!(
                "{:<18} not usable: {}; {}",
                problem.about, problem.reason, problem.remedy
            );
        }
        for one in catalog.passed_over() {
            println!("{}", told(one));
        }
    }
    Ok(ExitCode::SUCCESS)
}
