//! `freehold install` and `freehold uninstall`: the binary as a service of this machine.
//!
//! ```text
//! BIN_DIR/freehold                          the binary: a copy of the one that runs
//! /etc/freehold/freehold.toml               the configuration: written once, the operator's from then on
//! /etc/systemd/system/freehold.service      the unit
//! DATA/                                     the data folder; its freehold.toml is a link to the one above
//! user and group `freehold`                 a name for the number that the server drops to
//! /usr/local/share/freehold/installed.json  what of it is ours, with the SHA-256 that it was written with
//! ```
//!
//! Everything is looked at before anything is done, and all that is in the way is told at once.
//! Refuses to write over, or to remove, what it did not write or what was changed since; to remove
//! data without `--purge`, or under a server; and to follow a link out of `--root`.

mod account;
mod judge;
mod purge;
mod record;
mod root;
mod step;
mod unit;

use crate::{runtimes_cmd::in_use, serve::failure};
use account::Account;
use clap::Args;
use judge::Look;
use record::{LEFT, RECORD, Record};
use root::Root;
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};
use step::{Act, Step, Word};

/// What the package's unit and ours are called.
const SERVICE: &str = "freehold.service";
const UNIT: &str = "/etc/systemd/system/freehold.service";
const CONFIG: &str = "/etc/freehold/freehold.toml";
const CONFIG_TEXT: &str = include_str!("../../../packaging/freehold.toml");
/// What dpkg knows of packages.
const PACKAGES: &str = "/var/lib/dpkg/status";

/// Arguments of `freehold install`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  sudo freehold install --dry-run\n  sudo freehold install --start\n  freehold install --root /srv/image      # as root, into the tree of an image"
)]
pub struct InstallArgs {
    /// Data folder of the service [default: /var/lib/freehold]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder that this binary is copied to [default: /usr/local/bin]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Install into this tree instead of the running system; nothing is started
    #[arg(long, value_name = "DIR", conflicts_with = "start")]
    root: Option<PathBuf>,
    /// Start the service now and with each start of the machine
    #[arg(long)]
    start: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print an object instead of lines
    #[arg(long)]
    json: bool,
}

/// Arguments of `freehold uninstall`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  sudo freehold uninstall              # data, configuration and account stay\n  sudo freehold uninstall --purge --dry-run"
)]
pub struct UninstallArgs {
    /// Remove data, configuration and account too
    #[arg(long)]
    purge: bool,
    /// The tree that it was installed into
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print an object instead of lines
    #[arg(long)]
    json: bool,
}

/// Why nothing was done, or what could not be.
#[derive(Debug)]
enum Trouble {
    /// What is in the way, each with what to do about it.
    Refused(Vec<String>),
    /// There is nothing of ours.
    Nothing(String),
    /// The command line does not read.
    Usage(String),
}

/// What would be done, and what would come after it.
struct Plan {
    steps: Vec<Step>,
    next: Vec<String>,
}

/// `freehold install`.
pub fn install(args: InstallArgs) -> ExitCode {
    let planned = installation(&args);
    finish(planned, args.dry_run, args.json)
}

/// `freehold uninstall`.
pub fn uninstall(args: UninstallArgs) -> ExitCode {
    let planned = removal(&args);
    finish(planned, args.dry_run, args.json)
}

fn finish(planned: Result<Plan, Trouble>, dry_run: bool, json: bool) -> ExitCode {
    let plan = match planned {
        Ok(plan) => plan,
        Err(trouble) => return trouble.tell(),
    };
    let is_root = rustix::process::geteuid().is_root();
    if !dry_run && !is_root {
        let refusal = failure(
            "only root installs a service",
            "run it with sudo, or --dry-run",
        );
        return refusal.exit(crate::cli::EXIT_REFUSED);
    }
    let mut rows = Vec::new();
    for step in &plan.steps {
        if !dry_run {
            match step.act.run() {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    eprintln!("freehold: {} {}: {error}", step.word.plan(), step.what);
                    eprintln!(
                        "  remedy: mend that and run the command again: it goes on from there"
                    );
                    return ExitCode::from(crate::cli::EXIT_REFUSED);
                }
            }
        }
        let word = match dry_run {
            true => step.word.plan(),
            false => step.word.done(),
        };
        if json {
            rows.push(json!({"action": word, "what": step.what, "note": step.note}));
        } else if step.note.is_empty() {
            println!("{word:<9} {}", step.what);
        } else {
            println!("{word:<9} {}  ({})", step.what, step.note);
        }
    }
    if json {
        let whole = json!({"dry_run": dry_run, "steps": rows, "next": plan.next});
        println!("{whole:#}");
        return ExitCode::SUCCESS;
    }
    if dry_run {
        println!("Nothing was done.");
    }
    for line in &plan.next {
        println!("next      {line}");
    }
    ExitCode::SUCCESS
}

impl Trouble {
    fn tell(self) -> ExitCode {
        match self {
            Self::Refused(all) => {
                eprintln!("freehold: nothing was done:");
                for one in all {
                    eprintln!("  {one}");
                }
                ExitCode::from(crate::cli::EXIT_REFUSED)
            }
            Self::Nothing(what) => {
                eprintln!("freehold: {what}");
                ExitCode::from(crate::cli::EXIT_NOT_FOUND)
            }
            Self::Usage(what) => {
                eprintln!("freehold: {what}");
                ExitCode::from(crate::cli::EXIT_USAGE)
            }
        }
    }
}

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self::Refused(vec![what])
    }
}

/// What an earlier install was told, and what this one is.
fn chosen(given: Option<&Path>, earlier: Option<&Path>, usual: &str) -> Result<PathBuf, String> {
    match (given, earlier) {
        (Some(given), Some(earlier)) if given != earlier => Err(format!(
            "{} was given and it is installed with {}: `freehold uninstall` first, the data stays",
            given.display(),
            earlier.display()
        )),
        (Some(path), _) | (None, Some(path)) => Ok(path.to_owned()),
        (None, None) => Ok(PathBuf::from(usual)),
    }
}

fn installation(args: &InstallArgs) -> Result<Plan, Trouble> {
    let root = Root::open(args.root.as_deref())?;
    let (earlier, left) = (Record::read(&root)?, Record::left(&root)?);
    let of = |field: fn(&Record) -> &Path| earlier.as_ref().map(field);
    let data = chosen(args.data.as_deref(), of(|r| &r.data), "/var/lib/freehold")?;
    let bin_dir = chosen(
        args.bin_dir.as_deref(),
        of(|r| &r.bin_dir),
        "/usr/local/bin",
    )?;
    for (flag, path) in [("--data", &data), ("--bin-dir", &bin_dir)] {
        unit::allowed(path).map_err(|why| Trouble::Usage(format!("{flag} {why}")))?;
    }
    let binary = bin_dir.join("freehold");
    let booted = root.is_system() && unit::systemd_runs();
    let mut look = Look::new(
        &root,
        match (earlier, &left) {
            (Some(earlier), _) => earlier,
            // Its account and folders are found again.
            (None, Some(left)) if left.data == data => left.again(&bin_dir),
            (None, _) => Record::new(&data, &bin_dir),
        },
    );
    if has_package(&root)? {
        look.refuse("the Debian package freehold is installed, with its own unit: `apt install` a newer one, or `apt remove freehold` first, the data stays");
    }
    if args.start && !booted {
        look.refuse("--start needs systemd, and none runs here");
    }
    look.copy_of_this_binary(&binary)?;
    look.data_folder(&data)?;
    look.configuration(&data)?;
    look.file(Path::new(UNIT), unit::text(&binary, &data).into_bytes())?;
    match look.server_uid(&data) {
        Ok(uid) => look.account(uid, Account::look(&root, uid, &data)),
        Err(why) => look.refuse(why),
    }
    let served = in_use(&root.at(&data));
    let mut plan = look.finish()?;
    if left.is_some_and(|left| left.data == data) {
        let act = Act::Remove(root.contained(Path::new(LEFT))?);
        plan.push(Step::new(Word::Removed, Path::new(LEFT), "", act));
    }
    let command = |words: &[&str]| Step::command(words);
    let mut next = Vec::new();
    if booted {
        plan.push(command(&["systemctl", "daemon-reload"]));
        if args.start {
            let is_new = |step: &Step| matches!(step.word, Word::Wrote | Word::Replaced);
            // What runs and is what is installed goes on running.
            let verb = match plan.iter().any(is_new) || unit::runs_another(&binary) {
                true => "restart",
                false => "start",
            };
            plan.push(command(&["systemctl", "enable", SERVICE]));
            plan.push(command(&["systemctl", verb, SERVICE]));
        } else if served {
            next.push(format!("end the server that uses {} now, or `systemctl restart freehold` if it is this one", data.display()));
        } else {
            next.push("systemctl enable --now freehold".to_owned());
        }
    } else if root.is_system() {
        let unit = format!("the unit in {UNIT} waits for systemd, which does not run here");
        plan.push(Step::note(Word::Left, SERVICE, &unit));
        next.push(format!(
            "{} serve --data {}   (SIGTERM ends it)",
            binary.display(),
            data.display()
        ));
    } else {
        next.push(format!(
            "systemctl --root {} enable freehold",
            root.path().display()
        ));
    }
    Ok(Plan { steps: plan, next })
}

/// Whether dpkg has the Debian package, more of it than its configuration.
fn has_package(root: &Root) -> Result<bool, Trouble> {
    let at = root.contained(Path::new(PACKAGES))?;
    match std::fs::read_to_string(&at) {
        Ok(text) => Ok(is_installed(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("{}: {error}", at.display()).into()),
    }
}

fn is_installed(status: &str) -> bool {
    let mut paragraphs = status.split("\n\n").map(str::lines);
    paragraphs.any(|mut lines| {
        let is_it = |line: &str| line == "Package: freehold";
        let is_there = |line: &str| {
            line.strip_prefix("Status: ")
                .and_then(|status| status.split(' ').nth(2))
                .is_some_and(|state| !["config-files", "not-installed"].contains(&state))
        };
        lines.clone().any(is_it) && lines.any(is_there)
    })
}

fn removal(args: &UninstallArgs) -> Result<Plan, Trouble> {
    let root = Root::open(args.root.as_deref())?;
    let left = Record::left(&root)?;
    let found = match Record::read(&root)? {
        None if args.purge => left.clone(),
        found => found,
    };
    let Some(record) = found else {
        let more = match (left, has_package(&root)?) {
            (_, true) => ": the Debian package has it (`apt remove freehold`)".to_owned(),
            (Some(left), _) => format!(
                "; `freehold uninstall --purge` removes what stayed of an earlier install, {} among it",
                left.data.display()
            ),
            (None, _) => String::new(),
        };
        return Err(Trouble::Nothing(format!(
            "`freehold install` has installed nothing here{more}"
        )));
    };
    let has_package = has_package(&root)?;
    if has_package && args.purge {
        return Err("the Debian package freehold is installed too, and data, configuration and account may be its own: uninstall without --purge"
            .to_owned()
            .into());
    }
    let booted = root.is_system() && unit::systemd_runs();
    let data = root.at(&record.data);
    if !booted && in_use(&data) {
        return Err(format!(
            "a server uses {}: end it first (SIGTERM)",
            record.data.display()
        )
        .into());
    }
    let mut steps = Vec::new();
    let unit = root.at(Path::new(UNIT));
    // With the package installed the service is its own.
    if booted && unit.exists() && !has_package {
        steps.push(Step::command(&["systemctl", "disable", "--now", SERVICE]));
    }
    if args.purge {
        let act = Act::Unserved(data);
        let note = "nobody serves from it";
        steps.push(Step::new(Word::Checked, &record.data, note, act));
    }
    let mut stays = BTreeMap::new();
    for (path, sum) in &record.files {
        let at = root.contained(path)?;
        match judge::digest_of(&at) {
            Ok(None) => {}
            Ok(Some(found)) if found == *sum || args.purge => {
                steps.push(Step::new(Word::Removed, path, "", Act::Remove(at)));
            }
            Ok(Some(_)) => {
                stays.insert(path.clone(), "it was changed since it was installed");
            }
            Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        }
    }
    if booted {
        steps.push(Step::command(&["systemctl", "daemon-reload"]));
    }
    if args.purge {
        purge::plan(&root, &record, &mut steps)?;
    } else {
        stays.insert(record.data.clone(), "data");
        if root.holds(CONFIG)? {
            stays.insert(PathBuf::from(CONFIG), "configuration");
        }
        if record.account {
            stays.insert(
                PathBuf::from(account::NAME),
                "user and group, who own the data",
            );
        }
    }
    for (what, why) in &stays {
        steps.push(Step::note(Word::Left, &what.display().to_string(), why));
    }
    if !stays.is_empty() {
        let (path, note) = (
            Path::new(LEFT),
            "so that `uninstall --purge` finds what stays",
        );
        if let Some(folder) = path.parent().filter(|folder| !root.at(folder).exists()) {
            let act = Act::Folder(root.contained(folder)?);
            steps.push(Step::new(Word::Made, folder, "", act));
        }
        let mut kept = record.clone();
        kept.files.retain(|path, _| stays.contains_key(path));
        let act = Act::Write(root.contained(path)?, kept.text());
        steps.push(Step::new(Word::Wrote, path, note, act));
    }
    // Last, so that an end half-way is made good by the next run.
    let at = root.contained(Path::new(RECORD))?;
    steps.push(Step::new(
        Word::Removed,
        Path::new(RECORD),
        "",
        Act::Remove(at),
    ));
    // Those of what stays are not even looked at.
    let stays_in = |folder: &Path| {
        let is_left = !stays.is_empty() && Path::new(LEFT).starts_with(folder);
        is_left || stays.keys().any(|path| path.starts_with(folder))
    };
    let goes = |folder: &&PathBuf| !stays_in(folder);
    for folder in record.folders.iter().rev().filter(goes) {
        let at = root.contained(folder)?;
        steps.push(Step::new(
            Word::Removed,
            folder,
            "if it is empty",
            Act::RemoveEmpty(at),
        ));
    }
    let next = match args.purge || stays.is_empty() {
        true => Vec::new(),
        false => vec!["`freehold install` again finds all that stayed".to_owned()],
    };
    Ok(Plan { steps, next })
}
