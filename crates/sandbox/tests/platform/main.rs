//! The whole privileged side, driven from outside: each scenario is a process of its own that
//! launches a platform, and afterwards this one looks for anything left behind.
//!
//! Needs root; says what it missed when it is not. `cargo test -p freehold-sandbox --test platform
//! -- NAME` runs the scenarios whose name contains NAME.

mod doctor;
mod guest;
mod hostile;
#[cfg(not(feature = "mutation"))]
mod leftovers;
#[cfg(feature = "mutation")]
mod mutation;
mod scenarios;
mod tree;

#[cfg(not(feature = "mutation"))]
use leftovers::Leftovers;
use std::process::ExitCode;
#[cfg(not(feature = "mutation"))]
use std::{
    process::Command,
    time::{Duration, Instant},
};

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
    if !rustix::process::geteuid().is_root() {
        println!("skipped: every scenario of the platform needs root");
        return ExitCode::SUCCESS;
    }
    let tree = tree::build();
    #[cfg(feature = "mutation")]
    return {
        let _ = filter;
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
        let status = Command::new(std::env::current_exe().expect("own path"))
            .args(["scenario", name])
            .env("FREEHOLD_TEST_TREE", tree.path())
            .status()
            .expect("the scenario runs");
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
