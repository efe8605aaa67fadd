//! The whole privileged side, driven from outside: each scenario is a process of its own that
//! launches a platform, and afterwards this one looks for anything left behind.
//!
//! As root. As an ordinary user it runs what holds in a user namespace too, and names the rest as skipped.
//! `cargo test -p freehold-sandbox --test platform -- NAME` runs the scenarios whose name contains NAME.

mod doctor;
mod guest;
mod hostile;
#[cfg(not(feature = "mutation"))]
mod leftovers;
#[cfg(feature = "mutation")]
mod mutation;
mod parked;
mod scenarios;
mod tracer;
mod tree;

#[cfg(not(feature = "mutation"))]
use leftovers::Leftovers;
use std::{path::PathBuf, process::ExitCode};
#[cfg(not(feature = "mutation"))]
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// Code of a scenario that this machine or user cannot have.
const SKIPPED: i32 = 77;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        #[cfg(feature = "mutation")]
        Some("walls") => {
            mutation::print_walls();
            ExitCode::SUCCESS
        }
        Some("guest") => guest::run(&args[2..]),
        Some("scenario") => {
            let name = &args[2];
            if let Some(code) = as_ordinary_user(name) {
                return code;
            }
            let all = scenarios::ALL
                .iter()
                .chain(scenarios::MEASURES)
                .chain(scenarios::HELPERS)
                .chain(hostile::ALL)
                .chain(doctor::ALL);
            let (_, run) = all
                .into_iter()
                .find(|(n, _)| n == name)
                .expect("a scenario of this name");
            run();
            ExitCode::SUCCESS
        }
        _ => orchestrate(
            args.get(1)
                .filter(|arg| !arg.starts_with('-'))
                .map(String::as_str),
        ),
    }
}

fn orchestrate(filter: Option<&str>) -> ExitCode {
    let tree = tree::build();
    #[cfg(feature = "mutation")]
    return {
        let _ = filter;
        if !tree::is_root() {
            println!("skipped: every step left out needs root");
            return ExitCode::SUCCESS;
        }
        mutation::every_step_left_out_is_noticed(tree.path())
    };
    #[cfg(not(feature = "mutation"))]
    run_all(filter, &tree)
}

#[cfg(not(feature = "mutation"))]
fn run_all(filter: Option<&str>, tree: &tempfile::TempDir) -> ExitCode {
    let mut failed = Vec::new();
    let measures = filter.map_or(&[][..], |_| scenarios::MEASURES);
    let all = scenarios::ALL.iter().chain(hostile::ALL).chain(doctor::ALL);
    for (name, _) in all.chain(measures) {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let before = Leftovers::look(tree.path());
        let began = Instant::now();
        let mut scenario = Command::new(std::env::current_exe().expect("own path"))
            .args(["scenario", name])
            .env("FREEHOLD_TEST_TREE", tree.path())
            .spawn()
            .expect("the scenario runs");
        let status = scenario.wait().expect("the scenario ends");
        if status.code() == Some(SKIPPED) {
            println!("skipped {name}");
            continue;
        }
        if let Some(group) = group_of(scenario.id()) {
            // Nothing may be in it any more.
            let _ = std::fs::remove_dir(group);
        }
        let left = Leftovers::wait_same(tree.path(), &before, Duration::from_secs(5));
        let ok = status.success() && left.is_none();
        println!(
            "{} {name} ({} ms)",
            if ok { "ok    " } else { "FAILED" },
            began.elapsed().as_millis()
        );
        if let Some(left) = left {
            println!("    left behind: {left}");
        }
        if !ok {
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}

/// Where a scenario of an ordinary user has the group that was delegated to it, as a unit with
/// `Delegate=yes` has one; nothing without `FREEHOLD_TEST_GROUPS`.
fn group_of(pid: u32) -> Option<PathBuf> {
    let groups = std::env::var_os("FREEHOLD_TEST_GROUPS").filter(|_| !tree::is_root())?;
    Some(PathBuf::from(groups).join(format!("scenario-{pid}")))
}

/// Readies the scenario of an ordinary user; says why not where it cannot hold for one.
fn as_ordinary_user(name: &str) -> Option<ExitCode> {
    if tree::is_root() {
        return None;
    }
    let skipped = |why: String| {
        println!("       {why}");
        Some(ExitCode::from(SKIPPED as u8))
    };
    let rootless = scenarios::ROOTLESS.iter().find(|(n, _)| *n == name);
    let Some((_, needed)) = rootless else {
        return skipped("needs root".into());
    };
    if let Some(group) = group_of(std::process::id()) {
        std::fs::create_dir(&group).expect("a group of its own");
        std::fs::write(group.join("cgroup.procs"), "0").expect("joined");
    }
    let findings = freehold_sandbox::probe();
    let lacks = |line: &&&str| !findings.iter().any(|f| f.line == **line && f.enforced);
    let lacking = needed.iter().find(lacks)?;
    if let Some(group) = group_of(std::process::id()) {
        // Back to where it came from, so that the group can go.
        let parent = group.parent().expect("a folder").join("suites");
        let _ = std::fs::write(parent.join("cgroup.procs"), "0");
        let _ = std::fs::remove_dir(group);
    }
    skipped(format!("{lacking}: not enforced here, by doctor's word"))
}
