//! What is enforced on this machine, line by line, for `freehold doctor`.
//!
//! Looks, and changes nothing that outlives the call. Refuses to guess: a line that cannot be
//! looked at is not enforced.

use crate::{
    cgroup::{self, Discovery, Hierarchy, Role, Version},
    network,
    seccomp::Embedded,
    start_image::{Unsupported, probe_images},
    sys::identity,
    volumes::FORMATTERS,
};
use std::{borrow::Cow, fs, path::Path};

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
    pub remedy: Cow<'static, str>,
}

/// Whether all instances that this process starts run under one user id: only root has more.
pub fn is_one_uid() -> bool {
    identity::effective_uid() != 0
}

/// Looks at this machine.
pub fn probe() -> Vec<Finding> {
    let root = !is_one_uid();
    let mut findings = vec![
        Finding {
            line: "own user id per instance",
            enforced: root,
            detail: if root {
                "one uid per instance".into()
            } else {
                "one uid for all, not root: tenants are not kept apart by it, and further ones are refused".into()
            },
            remedy: if root {
                ""
            } else {
                "start as root, or serve one tenant only; server.shared_uid_tenants = true lets tenants be made all the same"
            }
            .into(),
        },
        user_namespaces(root),
        system_calls(),
    ];
    let discovery = cgroup::discover(!root).unwrap_or_default();
    limits(root, &discovery, &mut findings);
    findings.push(swap(&discovery));
    findings.push(fast_moves(root));
    findings.push(volumes(root));
    findings.push(crashes());
    findings.push(images(root));
    let way = way(root);
    findings.push(networks(root, &way));
    findings.push(firewalls(&way));
    findings
}

/// How functions get out on this machine.
enum WayOut {
    Links,
    /// Why not by links.
    Relay(String),
    /// Why neither.
    Nowhere(String),
}

fn way(root: bool) -> WayOut {
    let tried = match root {
        true => network::probe(),
        false => Err("links need root".to_owned()),
    };
    match tried {
        Ok(()) => WayOut::Links,
        Err(reason) if network::probe_divert(!root).is_ok() => WayOut::Relay(reason),
        Err(reason) => WayOut::Nowhere(reason),
    }
}

/// Whether functions can be let out, and nowhere else than where they may.
fn networks(root: bool, way: &WayOut) -> Finding {
    let (enforced, detail) = match way {
        WayOut::Links => (true, "links and rules (nf_tables) can be made".into()),
        WayOut::Relay(reason) => (
            true,
            format!(
                "the server carries their connections, by TCP alone ({reason}); the policies are the \
                 same"
            ),
        ),
        WayOut::Nowhere(reason) => (
            false,
            format!("functions reach nobody, whatever their policy: {reason}"),
        ),
    };
    Finding {
        line: "networks of functions",
        enforced,
        detail,
        remedy: match (enforced, root) {
            (true, _) => "",
            (false, true) => {
                "a kernel with veth, nf_tables and its nat, ct, fib, limit and connlimit"
            }
            (false, false) => {
                "start as root, or on a kernel with nf_tables, its nat and redir, that lets \
                 ordinary users make namespaces"
            }
        }
        .into(),
    }
}

/// Whether other tables than ours let through what functions may send.
fn firewalls(way: &WayOut) -> Finding {
    let aside = match way {
        WayOut::Links => {
            let legacy = fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
            return others(network::firewalls(), &legacy);
        }
        WayOut::Relay(_) => "the server's own connections are not forwarded",
        WayOut::Nowhere(_) => "functions send nothing",
    };
    Finding {
        line: FIREWALLS,
        enforced: true,
        detail: aside.into(),
        remedy: "".into(),
    }
}

const FIREWALLS: &str = "other firewalls let through";

/// `found`: what nf_tables do. `legacy`: the tables of iptables that are none of those.
fn others(found: Result<network::Firewalls, network::Unjudged>, legacy: &str) -> Finding {
    let (enforced, mut detail, remedy) = match found {
        Ok(found) => {
            let (enforced, mut detail, remedy) = match found.in_the_way {
                None => (
                    true,
                    "no chain of nf_tables drops all that functions send, or all that comes back"
                        .to_owned(),
                    String::new(),
                ),
                Some((says, remedy)) => (false, says, remedy),
            };
            if let Some(doubt) = found.in_doubt {
                detail.push_str(&format!("; not judged: {doubt}"));
            }
            (enforced, detail, remedy)
        }
        Err(error) => (
            false,
            format!("the rules of nf_tables are not judged: {error}"),
            "nft list ruleset: chains at the hooks prerouting, forward and postrouting must accept \
             iifname \"fh*\", and oifname \"fh*\" ct state established,related"
                .to_owned(),
        ),
    };
    if legacy.lines().any(|table| table == "filter") {
        detail.push_str(
            "; the old iptables has rules too, which cannot be read here and may drop it: \
             iptables-legacy -S FORWARD shows them, iptables-legacy -I FORWARD -i fh+ -j ACCEPT and the \
             same with -o let it pass",
        );
    }
    Finding {
        line: FIREWALLS,
        enforced,
        detail,
        remedy: remedy.into(),
    }
}

/// Start images are a matter of speed, so what is enforced without them is the same.
fn images(root: bool) -> Finding {
    let tried = match root {
        true => probe_images(),
        false => Err(Unsupported::Unprivileged.to_string()),
    };
    Finding {
        line: "start images",
        // What the processor cannot is nobody's to mend.
        enforced: tried.is_ok() || cfg!(not(start_images)),
        detail: match tried {
            Ok(()) => "a process was dumped and thawed".into(),
            Err(reason) => format!("starts execute the runtime instead: {reason}"),
        },
        remedy: "".into(),
    }
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
        }
        .into(),
    }
}

fn system_calls() -> Finding {
    match Embedded::Instance.program() {
        Ok(program) => Finding {
            line: "system calls (seccomp)",
            enforced: Path::new("/proc/sys/kernel/seccomp").exists(),
            detail: format!("allow-list, {} instructions", program.instructions().len()),
            remedy: "".into(),
        },
        Err(error) => Finding {
            line: "system calls (seccomp)",
            enforced: false,
            detail: error.to_string(),
            remedy: "run on x86-64 or aarch64".into(),
        },
    }
}

fn limits(root: bool, discovery: &Discovery, findings: &mut Vec<Finding>) {
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
        let obstacle = found.and_then(Hierarchy::obstacle);
        findings.push(Finding {
            line,
            enforced: found.is_some() && obstacle.is_none(),
            detail: match found {
                Some(h) => {
                    let version = if h.version == Version::Two {
                        "v2"
                    } else {
                        "v1"
                    };
                    let at = format!("cgroup {version} at {}", h.folder.display());
                    match &obstacle {
                        Some(obstacle) => format!("{at} {obstacle}: the server does not start"),
                        None => at,
                    }
                }
                None => "no cgroup hierarchy for it".into(),
            },
            remedy: match (found, obstacle, root) {
                (Some(_), None, _) => "",
                (Some(_), Some(_), _) => {
                    "a group of its own that it may write: systemd's Delegate=yes, or a container with \
                     cgroups writable and no process beside the server"
                }
                (None, _, true) => "mount the cgroup controller",
                (None, _, false) => "start as root, or with systemd's Delegate=yes",
            }
            .into(),
        });
    }
}

fn swap(discovery: &Discovery) -> Finding {
    let limited = |h: &&Hierarchy| h.roles.contains(&Role::Memory) && h.obstacle().is_none();
    let found = discovery.hierarchies.iter().find(limited);
    swapped(fs::read_to_string("/proc/swaps").ok().as_deref(), found)
}

/// Whether memory of instances, and start images, may be written to swap space.
///
/// `swaps`: `/proc/swaps`, where it can be read. `memory`: where memory is limited.
fn swapped(swaps: Option<&str>, memory: Option<&Hierarchy>) -> Finding {
    let spaces = swaps.map(|table| table.lines().skip(1).filter(|l| !l.is_empty()).count());
    let (enforced, detail) = match (spaces, memory) {
        (Some(0), _) => (true, "this machine has no swap space"),
        (_, Some(h)) if h.version == Version::Two && has_swap_limit(&h.folder) => (
            true,
            "this machine has swap space, and memory.swap.max is 0 for instances and start images",
        ),
        (_, Some(h)) if h.version == Version::One => (
            false,
            "this machine has swap space; memory.swappiness is 0 for instances and start images, \
             which cgroup v1 passes over when the whole machine is short",
        ),
        (Some(_), Some(_)) => (false, "this machine has swap space, and no limit of it"),
        (Some(_), None) => (
            false,
            "this machine has swap space, and there is no group of our own",
        ),
        (None, _) => (false, "/proc/swaps cannot be read"),
    };
    Finding {
        line: "memory is not swapped",
        enforced,
        detail: detail.into(),
        remedy: if enforced {
            ""
        } else {
            "encrypt the swap space or do without (swapoff -a); root with cgroup v2 keeps instances out of it"
        }
        .into(),
    }
}

/// Whether a v2 group, or those below it, have a limit of swap; the hierarchy's own root has none.
fn has_swap_limit(folder: &Path) -> bool {
    let has = |group: &Path| group.join("memory.swap.max").exists();
    let below = fs::read_dir(folder).into_iter().flatten().flatten();
    has(folder) || below.map(|group| group.path()).any(|group| has(&group))
}

fn fast_moves(root: bool) -> Finding {
    let taken = root && cgroup::try_fast_moves().unwrap_or(false);
    Finding {
        line: "fast moves into groups",
        enforced: taken,
        detail: match (root, taken) {
            (_, true) => "favordynmods, in a private hierarchy".into(),
            (true, false) => "this kernel has no favordynmods: starts are slower when rare".into(),
            (false, _) => "not root: starts are slower when rare".into(),
        },
        remedy: if taken {
            ""
        } else {
            "none needed; root on Linux 6.0 or later, built with cgroup v1, has them"
        }
        .into(),
    }
}

fn volumes(root: bool) -> Finding {
    let formatter = FORMATTERS.iter().any(|path| Path::new(path).exists());
    let devices = Path::new("/dev/loop-control").exists();
    let (lacks, remedy) = match (root, formatter, devices) {
        (true, true, true) => ("", ""),
        (false, ..) => ("not root", "start as root"),
        (_, false, _) => ("mke2fs is missing", "apt-get install e2fsprogs"),
        (.., false) => ("no loop devices", "modprobe loop"),
    };
    Finding {
        line: "/tmp of its own size",
        enforced: lacks.is_empty(),
        detail: if lacks.is_empty() {
            "ext4 images on loop devices, not charged to the function's memory".into()
        } else {
            format!("{lacks}: /tmp is a tmpfs, charged to the function's memory")
        },
        remedy: remedy.into(),
    }
}

/// Capability 24: may raise a hard limit.
const SYS_RESOURCE: u32 = 24;

fn crashes() -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let raises = held.is_some_and(|held| held >> SYS_RESOURCE & 1 == 1);
    let hard = identity::hard_limit(libc::RLIMIT_CORE).unwrap_or(0);
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").ok();
    crashes_go(pattern.as_deref().map(str::trim), raises || hard > 0)
}

/// Where the kernel would take the memory of a function that crashes, and what holds it back: a
/// limit on core files of exactly 1, if it `can_be_one`.
fn crashes_go(pattern: Option<&str>, can_be_one: bool) -> Finding {
    let (enforced, detail, remedy) = match pattern {
        None => (false, "kernel.core_pattern cannot be read".into(), ""),
        _ if !can_be_one => (
            false,
            "the hard limit on core files is 0, and a guest's must be 1: no guest starts".into(),
            "raise it before the start: ulimit -Hc unlimited, or LimitCORE=infinity in the unit",
        ),
        Some(socket) if socket.starts_with('@') => (
            false,
            format!("kernel.core_pattern is {socket:?}, a socket that no limit is known to close"),
            "sysctl kernel.core_pattern=core",
        ),
        Some(pipe) if pipe.starts_with('|') => (
            true,
            format!("the limit of 1 byte keeps the handler in kernel.core_pattern, {pipe:?}, out"),
            "",
        ),
        Some(file) => (
            true,
            format!("kernel.core_pattern is a file, {file:?}; guests make none"),
            "",
        ),
    };
    Finding {
        line: "crashes reach no handler",
        enforced,
        detail,
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_way_with_crashes_is_shown() {
        for (pattern, can_be_one, enforced, says) in [
            (Some("core"), true, true, "\"core\""),
            (Some("|/usr/share/apport/apport %p"), true, true, "apport"),
            (
                Some("|/usr/share/apport/apport %p"),
                false,
                false,
                "hard limit",
            ),
            (Some("@/run/coredump.socket"), true, false, "socket"),
            (None, true, false, "cannot be read"),
        ] {
            let found = crashes_go(pattern, can_be_one);
            assert_eq!(found.enforced, enforced, "{pattern:?} {can_be_one}");
            assert!(found.detail.contains(says), "{}", found.detail);
        }
    }

    #[test]
    fn swap_space_is_no_matter_where_a_limit_holds() {
        const HEAD: &str = "Filename\tType\tSize\tUsed\tPriority\n";
        const SPACE: &str = "/dev/dm-1 partition 2097148 0 -2\n";
        let folder = tempfile::tempdir().expect("a folder");
        let group = |version| Hierarchy {
            version,
            folder: folder.path().to_owned(),
            roles: vec![Role::Memory],
        };
        let (one, two) = (group(Version::One), group(Version::Two));
        let both = [HEAD, SPACE].concat();
        let says = |swaps, memory| {
            let found = swapped(swaps, memory);
            assert_eq!(found.enforced, found.remedy.is_empty());
            (found.enforced, found.detail)
        };
        for memory in [None, Some(&one), Some(&two)] {
            assert!(says(Some(HEAD), memory).0, "no swap space");
            let (enforced, _) = says(Some(&both), memory);
            assert!(!enforced, "{memory:?}");
            assert!(!says(None, memory).0, "nobody knows");
        }
        assert!(says(Some(&both), Some(&one)).1.contains("swappiness"));
        // In the hierarchy's root it is the groups below that have it.
        let below = folder.path().join("system.slice");
        std::fs::create_dir(&below).expect("a folder");
        std::fs::write(below.join("memory.swap.max"), "max\n").expect("written");
        assert!(says(Some(&both), Some(&two)).0);
        assert!(!says(Some(&both), Some(&one)).0);
    }

    #[test]
    fn without_root_tmp_is_charged_to_memory() {
        let found = volumes(false);
        assert!(
            !found.enforced && found.detail.contains("tmpfs"),
            "{found:?}"
        );
    }

    #[test]
    fn every_place_of_the_formatter_is_looked_at() {
        let there = FORMATTERS.iter().any(|path| Path::new(path).exists());
        assert_eq!(volumes(true).detail.contains("mke2fs is missing"), !there);
    }
}
