//! Each isolation step is left out in turn, and the walls must then look different from inside,
//! or the sandbox must not come up at all. Built with the feature `mutation` alone.

use super::{
    scenarios::{platform, read_until, spec, start},
    tree::SERVER,
};
use freehold_sandbox::isolate;
use std::{
    path::Path,
    process::{Command, ExitCode},
};

/// Steps whose absence cannot be seen from inside a running guest, and why that is so.
const UNSEEN: [(&str, &str); 5] = [
    (
        "link",
        "it is a way out, and here nobody has one: tests/network_test.py",
    ),
    ("name_user", "it names the uid and holds nothing in or out"),
    (
        "die_with_spawner",
        "the change of ids clears it and it is set again after that",
    ),
    (
        "capabilities",
        "the change of ids from root clears them too",
    ),
    (
        "not_dumpable",
        "protects the parked process; exec sets it anew",
    ),
];

fn walls(tree: &Path, left_out: &str) -> Option<String> {
    // A sandbox that lacks a step may not end either; its server's death then ends it.
    let output = Command::new("timeout")
        .args(["-s", "KILL", "10"])
        .arg(std::env::current_exe().expect("own path"))
        .arg("walls")
        .env("FREEHOLD_TEST_TREE", tree)
        .env("FREEHOLD_LEAVE_OUT", left_out)
        .stderr(std::process::Stdio::null())
        .output()
        .expect("it runs");
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The orchestrator.
pub fn every_step_left_out_is_noticed(tree: &Path) -> ExitCode {
    let whole = walls(tree, "").expect("with every step it comes up");
    assert_eq!(
        walls(tree, "").as_ref(),
        Some(&whole),
        "two runs look the same"
    );
    let mut unnoticed = Vec::new();
    for step in isolate::isolation_steps() {
        if let Some((_, why)) = UNSEEN.iter().find(|(name, _)| *name == step) {
            println!("unseen  {step}: {why}");
            continue;
        }
        let seen = match walls(tree, step) {
            None => "does not come up".to_owned(),
            Some(other) if other == whole => {
                unnoticed.push(step);
                "NOT NOTICED".to_owned()
            }
            Some(other) => other
                .lines()
                .find(|line| !whole.lines().any(|l| l == *line))
                .unwrap_or("a line is missing")
                .to_owned(),
        };
        println!("without {step}: {seen}");
    }
    if unnoticed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One platform, perhaps without a step, and what a guest sees there.
pub fn print_walls() {
    if let Ok(step) = std::env::var("FREEHOLD_LEAVE_OUT") {
        isolate::leave_out(&step);
    }
    // A missing step must not change the machine: its host name is then this process's own.
    freehold_sandbox::sys::mounts::unshare(libc::CLONE_NEWUTS).expect("a namespace");
    freehold_sandbox::sys::identity::set_host_name("outside").expect("a name");
    // So that there is something to give up.
    let group = rustix::process::Gid::from_raw(4343);
    rustix::thread::set_thread_groups(&[group]).expect("a group");
    let namespaces = ["pid", "mnt", "net", "ipc", "uts", "cgroup"].map(|name| {
        let link = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace");
        link.to_string_lossy().into_owned()
    });
    platform(SERVER, async |pool| {
        let mut args = vec!["walls"];
        args.extend(namespaces.iter().map(String::as_str));
        let (instance, io) = start(&pool, spec(SERVER, 0, &args)).await;
        print!("{}", read_until(&io.stdout, "end\n").await);
        let usage = instance.usage().await.expect("usage");
        println!("counted: {} {}", usage.memory_bytes > 0, usage.pids);
        let (other, other_io) = start(&pool, spec(SERVER, 0, &["mount-namespace"])).await;
        let theirs = read_until(&other_io.stdout, "\n").await;
        let (third, third_io) = start(&pool, spec(SERVER, 0, &["mount-namespace"])).await;
        println!(
            "siblings share mounts: {}",
            read_until(&third_io.stdout, "\n").await == theirs
        );
        for instance in [instance, other, third] {
            instance.destroy().await;
        }
    });
}
