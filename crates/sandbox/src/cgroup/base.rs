//! Our root in each hierarchy: made by the supervisor, removed by it or by the next start.

use super::{Discovery, Guests, Role, Version, group::GuestHierarchy, open_dir, sweep, write_at};
use crate::sys::processes;
use std::{
    fs, io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Weight of the platform against all guests together, and the guests' own.
const PLATFORM_SHARES: u32 = 4096;
const GUESTS_SHARES: u32 = 1024;

/// Our roots.
#[derive(Debug)]
pub struct Base {
    discovery: Discovery,
    name: String,
}

/// The identity of this pid namespace: pids of another one say nothing here.
pub(super) fn pid_namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

impl Base {
    /// Makes the roots of the calling process and sets the bounds of all guests together.
    ///
    /// `ours`: the processes of the platform, which alone may be moved.
    /// Errors: `EBUSY` when controllers can only be had by moving processes of others; nothing is
    /// left of what was made.
    pub fn create(
        discovery: Discovery,
        guests_memory_bytes: u64,
        ours: &[i32],
    ) -> io::Result<Base> {
        let pid = processes::own_pid();
        let start = processes::start_time(pid)?.ok_or(io::ErrorKind::NotFound)?;
        let name = format!("freehold-{}-{pid}-{start}", pid_namespace()?);
        let base = Base { discovery, name };
        if let Err(error) = base.make(guests_memory_bytes, ours) {
            let _ = base.remove();
            return Err(error);
        }
        Ok(base)
    }

    fn make(&self, guests_memory_bytes: u64, ours: &[i32]) -> io::Result<()> {
        for (hierarchy, root) in self.roots() {
            fs::create_dir(&root)?;
            fs::create_dir(root.join("platform"))?;
            fs::create_dir(root.join("guests"))?;
            if hierarchy.version == Version::Two {
                enable_controllers(&hierarchy.folder, &root, &hierarchy.roles, ours)?;
            }
            if hierarchy.roles.contains(&Role::Memory) {
                let file = match hierarchy.version {
                    Version::One => "memory.limit_in_bytes",
                    Version::Two => "memory.max",
                };
                let bytes = guests_memory_bytes.to_string();
                fs::write(root.join("guests").join(file), &bytes)?;
                keep_from_swap(&root, hierarchy.version, &bytes)?;
                if hierarchy.version == Version::One {
                    // Here too: the kernel patches itself when the first such limit comes and
                    // when the last goes, which no start of an instance should wait for.
                    let guests = open_dir(&root.join("guests"))?;
                    super::bound_tcp(guests.as_fd(), guests_memory_bytes)?;
                }
            }
            if hierarchy.roles.contains(&Role::Cpu) {
                for (group, shares) in [("platform", PLATFORM_SHARES), ("guests", GUESTS_SHARES)] {
                    let (file, value) = match hierarchy.version {
                        Version::One => ("cpu.shares", shares),
                        Version::Two => ("cpu.weight", shares * 100 / 1024),
                    };
                    fs::write(root.join(group).join(file), value.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn roots(&self) -> impl Iterator<Item = (&super::Hierarchy, PathBuf)> {
        self.discovery
            .hierarchies
            .iter()
            .map(|h| (h, h.folder.join(&self.name)))
    }

    /// Moves a process of the platform (all its threads) to where `role` is done for the platform.
    pub fn join_platform(&self, pid: i32, role: Role) -> io::Result<()> {
        for (hierarchy, root) in self.roots() {
            if hierarchy.roles.contains(&role) {
                fs::write(root.join("platform/cgroup.procs"), pid.to_string())?;
            }
        }
        Ok(())
    }

    /// The guests' folders, as the spawners use them.
    pub fn guests(&self) -> io::Result<Guests> {
        let mut hierarchies = Vec::new();
        for (hierarchy, root) in self.roots() {
            hierarchies.push(GuestHierarchy {
                dir: open_dir(&root.join("guests"))?,
                version: hierarchy.version,
                roles: hierarchy.roles.clone(),
            });
        }
        Ok(Guests { hierarchies })
    }

    /// Kills what is left of the lane's instances and removes their groups.
    pub fn clear_lane(&self, lane: u16) -> io::Result<()> {
        let prefix = format!("{lane}.");
        self.clear(Duration::from_secs(5), |root| {
            sweep::end_groups(&root.join("guests"), |name| name.starts_with(&prefix))
        })
    }

    /// Kills every guest and removes the roots.
    pub fn remove(&self) -> io::Result<()> {
        self.clear(Duration::from_secs(5), sweep::end_root)
    }

    fn clear(&self, within: Duration, once: impl Fn(&Path) -> io::Result<bool>) -> io::Result<()> {
        let until = Instant::now() + within;
        loop {
            let mut empty = true;
            for (_, root) in self.roots() {
                empty &= once(&root)?;
            }
            if empty {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Nothing below `root`, where memory is limited, is written to swap space: what instances hold and
/// what was taken of them may be secret. v2 has a limit that binds all below it. v1 has a word in each
/// group, which holds until the whole machine is short, and counts swap with the guests' memory.
/// Kernels without swap lack the files.
fn keep_from_swap(root: &Path, version: Version, guests_bytes: &str) -> io::Result<()> {
    let words: &[(&str, &str, &str)] = match version {
        Version::One => &[
            ("", "memory.swappiness", "0"),
            ("platform", "memory.swappiness", "0"),
            ("guests", "memory.swappiness", "0"),
            ("guests", "memory.memsw.limit_in_bytes", guests_bytes),
        ],
        Version::Two => &[("", "memory.swap.max", "0")],
    };
    for (group, file, word) in words {
        let group = open_dir(&root.join(group))?;
        match write_at(group.as_fd(), file, word) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Hands the controllers of `roles` down to the guests' folder of `root`, which lies in `folder`.
fn enable_controllers(folder: &Path, root: &Path, roles: &[Role], ours: &[i32]) -> io::Result<()> {
    let wanted: String = [
        (Role::Memory, "+memory "),
        (Role::Pids, "+pids "),
        (Role::Cpu, "+cpu "),
    ]
    .iter()
    .filter(|(role, _)| roles.contains(role))
    .map(|(_, name)| *name)
    .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    // A group may not hold both processes and controlled groups; the hierarchy's root may. In a
    // group that was delegated to us the processes are ours, and go to `platform` first. In a
    // container's they may be anybody's, whose limits and accounts are not ours to change.
    if fs::write(folder.join("cgroup.subtree_control"), &wanted).is_err() {
        let procs = fs::read_to_string(folder.join("cgroup.procs"))?;
        let is_ours = |pid: &str| pid.parse().is_ok_and(|pid| ours.contains(&pid));
        if !procs.lines().all(is_ours) {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        for pid in procs.lines() {
            fs::write(root.join("platform/cgroup.procs"), pid)?;
        }
        fs::write(folder.join("cgroup.subtree_control"), &wanted)?;
    }
    fs::write(root.join("cgroup.subtree_control"), &wanted)?;
    fs::write(root.join("guests/cgroup.subtree_control"), &wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folders of files in place of groups, of a kernel that has them all and of one that has no swap.
    #[test]
    fn a_group_and_all_below_it_are_kept_from_swap() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |file: &str| folder.path().join(file);
        for group in ["platform", "guests"] {
            fs::create_dir(at(group)).expect("a folder");
        }
        let keep = |version| keep_from_swap(folder.path(), version, "4096");
        for version in [Version::One, Version::Two] {
            keep(version).expect("there is no swap");
        }
        assert_eq!(fs::read_dir(at("guests")).expect("read").count(), 0);

        let of_one = [
            "memory.swappiness",
            "platform/memory.swappiness",
            "guests/memory.swappiness",
        ];
        let both = "guests/memory.memsw.limit_in_bytes";
        for file in of_one.into_iter().chain([both, "memory.swap.max"]) {
            fs::write(at(file), "6").expect("written");
        }
        let read = |file| fs::read_to_string(at(file)).expect("read");
        keep(Version::Two).expect("written");
        assert_eq!(
            (read("memory.swap.max"), read(of_one[0])),
            ("0".into(), "6".into())
        );
        keep(Version::One).expect("written");
        assert_eq!(of_one.map(read), ["0", "0", "0"]);
        assert_eq!(read(both), "4096");

        // What is there and cannot be written is no machine without swap.
        fs::remove_file(at("memory.swap.max")).expect("removed");
        fs::create_dir(at("memory.swap.max")).expect("a folder");
        keep(Version::Two).expect_err("a folder takes no word");
    }

    /// A folder of files in place of a group: writes overwrite, but the first file that does not
    /// exist refuses, as the kernel does while a process is in the way.
    #[test]
    fn processes_of_others_are_not_moved() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        for group in ["platform", "guests"] {
            fs::create_dir_all(root.join(group)).expect("a folder");
        }
        // A folder where the file should be cannot be written.
        fs::create_dir(folder.path().join("cgroup.subtree_control")).expect("a folder");
        let procs = folder.path().join("cgroup.procs");
        let moved = root.join("platform/cgroup.procs");
        let enable = || enable_controllers(folder.path(), &root, &[Role::Memory], &[10, 11]);

        fs::write(&procs, "10\n11\n12\n").expect("written");
        let refused = enable().expect_err("12 is somebody else's");
        assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
        assert!(!moved.exists(), "nobody was moved");

        fs::write(&procs, "10\n11\n").expect("written");
        enable().expect_err("it is still a folder");
        assert_eq!(fs::read_to_string(moved).expect("moved"), "11");
    }
}
