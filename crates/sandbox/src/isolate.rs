//! The isolation of an instance as visible lists, in order.
//!
//! ```text
//! spawner ──fork into NAMESPACES──▶ pid 1 ──INIT_STEPS──fork──▶ pid 2 ──GUEST_STEPS──┐
//!                                     └ REAPER_STEPS, then reaps ──(gate opens)──▶ parked
//!                                                                   (one message) ▼
//!                                                                  START_STEPS ─ exec
//! ```
//!
//! The set-up comes first: when a sandbox is parked, every privilege is gone and the filter is
//! in. What differs between instances (limits, package, `/tmp`) is applied from outside; what is
//! left for pid 2 needs no privilege. A step that fails ends the sandbox and is named.
//! Refuses to go on after a failed step.

mod guest;
mod init;
mod root;

pub use guest::{Go, Ready};
pub use init::{FIRST_CHILD_PID, Plan, namespace_flags, run_init};
pub use root::{ROOTS, Runtimes, TreeError};

use crate::sys::restorer::STAGES;
use std::io;

/// Whether the platform may use the machine's privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// As root: an own uid per instance, cgroup limits.
    Root,
    /// In one user namespace: a single uid for all, for one tenant.
    UserNamespace,
}

/// A step of isolation, with the name that errors and the escape list give it.
pub struct Step<C> {
    /// `join_cgroups`.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&mut C) -> io::Result<()>,
}

/// The namespaces that pid 1 is forked into.
pub const NAMESPACES: [(&str, i32); 5] = [
    ("namespace_pid", libc::CLONE_NEWPID),
    ("namespace_mount", libc::CLONE_NEWNS),
    ("namespace_net", libc::CLONE_NEWNET),
    ("namespace_ipc", libc::CLONE_NEWIPC),
    ("namespace_uts", libc::CLONE_NEWUTS),
];

/// Steps that happen outside the lists, with their names.
const OTHER_STEPS: [&str; 10] = [
    "fork", "limits", "volume", "package", "runtime", "exec", "cgroup", "pipes", "lost", "network",
];

/// Whether a step is one of a thaw's: the image's fault or the machine's, never the function's.
pub fn is_of_a_thaw(step: &str) -> bool {
    STAGES.contains(&step)
}

fn names() -> impl Iterator<Item = &'static str> {
    NAMESPACES
        .iter()
        .map(|(name, _)| *name)
        .chain(init::INIT_STEPS.iter().map(|s| s.name))
        .chain(init::REAPER_STEPS.iter().map(|s| s.name))
        .chain(guest::GUEST_STEPS.iter().map(|s| s.name))
        .chain(guest::START_STEPS.iter().map(|s| s.name))
        .chain(OTHER_STEPS)
        .chain(STAGES)
}

/// The name of the step with this number.
pub fn step_name(number: u16) -> &'static str {
    names().nth(usize::from(number)).unwrap_or("unknown")
}

/// The number of the step with this name.
pub fn step_number(name: &str) -> u16 {
    names()
        .position(|n| n == name)
        .map_or(u16::MAX, |place| place as u16)
}

/// The steps that isolate, in order: what the mutation test leaves out one by one.
pub fn isolation_steps() -> Vec<&'static str> {
    NAMESPACES
        .iter()
        .map(|(name, _)| *name)
        .chain(init::INIT_STEPS.iter().map(|s| s.name))
        .chain(guest::GUEST_STEPS.iter().map(|s| s.name))
        .collect()
}

/// Runs the steps in order; the name of the one that failed, and why.
fn run_all<C>(steps: &[Step<C>], context: &mut C) -> Result<(), (&'static str, io::Error)> {
    for step in steps {
        if left_out(step.name) {
            continue;
        }
        (step.run)(context).map_err(|error| (step.name, error))?;
    }
    Ok(())
}

#[cfg(not(feature = "mutation"))]
fn left_out(_: &str) -> bool {
    false
}

#[cfg(feature = "mutation")]
pub use mutation::leave_out;
#[cfg(feature = "mutation")]
use mutation::left_out;

/// Leaving a step out, in tests alone.
#[cfg(feature = "mutation")]
mod mutation {
    use std::sync::OnceLock;

    static LEFT_OUT: OnceLock<String> = OnceLock::new();

    /// Leaves the step `name` out of every sandbox of this process and of what it forks.
    pub fn leave_out(name: &str) {
        let _ = LEFT_OUT.set(name.to_owned());
    }

    pub(super) fn left_out(name: &str) -> bool {
        LEFT_OUT.get().is_some_and(|left| left == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_one_number() {
        let all: Vec<&str> = names().collect();
        for (number, name) in all.iter().enumerate() {
            assert_eq!(step_name(number as u16), *name);
            assert_eq!(step_number(name), number as u16, "{name} is there twice");
        }
    }
}
