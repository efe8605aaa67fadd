//! What `freehold doctor` says of a machine is what the platform finds there.

use super::tree::SERVER;
use freehold_sandbox::{
    cgroup, probe,
    sys::{identity, processes},
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

pub const ALL: &[(&str, fn())] = &[("doctor_says_what_is_so", says_what_is_so)];

fn enforced(line: &str) -> bool {
    let findings = probe();
    let found = findings.iter().find(|found| found.line == line);
    found.unwrap_or_else(|| panic!("no line {line}")).enforced
}

/// Private hierarchies whose makers are dead.
fn hierarchies_of_nobody() -> BTreeSet<String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("read");
    let names = own.lines().filter_map(|line| {
        let pid = line.split_once(":name=fastmoves")?.1.trim_end_matches(":/");
        let start = processes::start_time(pid.parse().ok()?).expect("looked at");
        start.is_none().then(|| pid.to_owned())
    });
    names.collect()
}

fn says_what_is_so() {
    let before = hierarchies_of_nobody();
    let says = enforced("fast moves into groups");
    // The kernel takes a moment to take one down.
    let until = Instant::now() + Duration::from_secs(20);
    while !hierarchies_of_nobody().is_subset(&before) {
        assert!(Instant::now() < until, "looking leaves a hierarchy");
        std::thread::sleep(Duration::from_millis(10));
    }
    enforced("crashes reach no handler");

    freehold_sandbox::sys::mounts::unshare_mounts().expect("a namespace");
    freehold_sandbox::sys::mounts::make_private().expect("private");
    let pid = u64::from(std::process::id());
    let taken = cgroup::favor_fast_moves("/sys".as_ref(), pid).unwrap_or(false);
    assert_eq!(says, taken);

    identity::clear_groups().expect("no groups");
    identity::set_ids(SERVER, SERVER).expect("not root");
    let images = cfg!(target_arch = "x86_64").then_some("start images");
    for line in [
        "fast moves into groups",
        "/tmp of its own size",
        "own user id per instance",
    ]
    .into_iter()
    .chain(images)
    {
        assert!(!enforced(line), "{line} needs root");
    }
}
