//! What is enforced on this machine, line by line, for `freehold doctor`.
//!
//! Looks, and changes nothing that outlives the call. Refuses to guess: a line that cannot be
//! looked at is not enforced.

use crate::{
    cgroup::{self, Role, Version},
    seccomp::Embedded,
    sys::identity,
};
use std::{fs, path::Path};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: "memory limit".
    pub line: &'static str,
    /// Whether it holds for every instance.
    pub enforced: bool,
    /// How, or why not.
    pub detail: String,
    /// What to do about it; empty when there is nothing.
    pub remedy: &'static str,
}

/// Looks at this machine.
pub fn probe() -> Vec<Finding> {
    let root = identity::effective_uid() == 0;
    let mut findings = vec![
        Finding {
            line: "own user id per instance",
            enforced: root,
            detail: if root {
                "one uid per instance".into()
            } else {
                "one uid for all, not root".into()
            },
            remedy: if root {
                ""
            } else {
                "start as root, or serve one tenant only"
            },
        },
        user_namespaces(root),
        system_calls(),
    ];
    limits(root, &mut findings);
    findings.push(fast_moves(root));
    findings.push(volumes());
    findings
}

fn user_namespaces(root: bool) -> Finding {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let forbidden = read("/proc/sys/kernel/unprivileged_userns_clone").trim() == "0"
        || read("/proc/sys/user/max_user_namespaces").trim() == "0"
        || read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() == "1";
    let enforced = root || !forbidden;
    Finding {
        line: "namespaces",
        enforced,
        detail: match (root, forbidden) {
            (true, _) => "pid, mount, network, ipc, uts and cgroup".into(),
            (false, false) => "in one user namespace".into(),
            (false, true) => "this machine forbids user namespaces to other users than root".into(),
        },
        remedy: if enforced {
            ""
        } else {
            "start as root, or allow kernel.unprivileged_userns_clone"
        },
    }
}

fn system_calls() -> Finding {
    match Embedded::Instance.program() {
        Ok(program) => Finding {
            line: "system calls (seccomp)",
            enforced: Path::new("/proc/sys/kernel/seccomp").exists(),
            detail: format!("allow-list, {} instructions", program.instructions().len()),
            remedy: "",
        },
        Err(error) => Finding {
            line: "system calls (seccomp)",
            enforced: false,
            detail: error.to_string(),
            remedy: "run on x86-64 or aarch64",
        },
    }
}

fn limits(root: bool, findings: &mut Vec<Finding>) {
    let discovery = cgroup::discover(!root).unwrap_or_default();
    for (line, role) in [
        ("memory limit", Role::Memory),
        ("process limit", Role::Pids),
        ("processor weight", Role::Cpu),
        ("processor time", Role::CpuTime),
        ("freezing idle instances", Role::Freeze),
    ] {
        let found = discovery
            .hierarchies
            .iter()
            .find(|h| h.roles.contains(&role));
        findings.push(Finding {
            line,
            enforced: found.is_some(),
            detail: match found {
                Some(h) => {
                    let version = if h.version == Version::Two {
                        "v2"
                    } else {
                        "v1"
                    };
                    format!("cgroup {version} at {}", h.folder.display())
                }
                None => "no cgroup hierarchy for it".into(),
            },
            remedy: match (found, root) {
                (Some(_), _) => "",
                (None, true) => "mount the cgroup controller",
                (None, false) => "start as root, or with systemd's Delegate=yes",
            },
        });
    }
}

fn fast_moves(root: bool) -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    let known = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 0);
    Finding {
        line: "fast moves into groups",
        enforced: root && known,
        detail: if known {
            "favordynmods, in a private hierarchy".into()
        } else {
            format!("kernel {}", release.trim())
        },
        remedy: if root && known {
            ""
        } else {
            "none needed: starts are slower when rare"
        },
    }
}

fn volumes() -> Finding {
    let formatter = ["/sbin/mke2fs", "/usr/sbin/mke2fs"]
        .iter()
        .any(|path| Path::new(path).exists());
    let devices = Path::new("/dev/loop-control").exists();
    Finding {
        line: "/tmp of its own size",
        enforced: formatter && devices,
        detail: match (formatter, devices) {
            (true, true) => {
                "ext4 images on loop devices, not charged to the function's memory".into()
            }
            (false, _) => {
                "mke2fs is missing: /tmp is a tmpfs, charged to the function's memory".into()
            }
            (_, false) => {
                "no loop devices: /tmp is a tmpfs, charged to the function's memory".into()
            }
        },
        remedy: match (formatter, devices) {
            (true, true) => "",
            (false, _) => "apt-get install e2fsprogs",
            (_, false) => "modprobe loop",
        },
    }
}
