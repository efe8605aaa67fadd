//! Our root in each hierarchy: made by the supervisor, removed by it or by the next start.

use super::{Discovery, Guests, Role, Version, group::GuestHierarchy, open_dir, sweep};
use crate::sys::processes;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
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
    pub fn create(discovery: Discovery, guests_memory_bytes: u64) -> io::Result<Base> {
        let pid = processes::own_pid();
        let start = processes::start_time(pid).ok_or(io::ErrorKind::NotFound)?;
        let name = format!("freehold-{}-{pid}-{start}", pid_namespace()?);
        let base = Base { discovery, name };
        for (hierarchy, root) in base.roots() {
            fs::create_dir(&root)?;
            fs::create_dir(root.join("platform"))?;
            fs::create_dir(root.join("guests"))?;
            if hierarchy.version == Version::Two {
                base.enable_controllers(&hierarchy.folder, &root, &hierarchy.roles)?;
            }
            if hierarchy.roles.contains(&Role::Memory) {
                let file = match hierarchy.version {
                    Version::One => "memory.limit_in_bytes",
                    Version::Two => "memory.max",
                };
                fs::write(
                    root.join("guests").join(file),
                    guests_memory_bytes.to_string(),
                )?;
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
        Ok(base)
    }

    fn enable_controllers(
        &self,
        folder: &std::path::Path,
        root: &std::path::Path,
        roles: &[Role],
    ) -> io::Result<()> {
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
        // A group may not hold both processes and controlled groups; the hierarchy's root may.
        // In a delegated group the only processes are ours, so they go to `platform` first.
        if fs::write(folder.join("cgroup.subtree_control"), &wanted).is_err() {
            let procs = fs::read_to_string(folder.join("cgroup.procs"))?;
            for pid in procs.lines() {
                fs::write(root.join("platform/cgroup.procs"), pid)?;
            }
            fs::write(folder.join("cgroup.subtree_control"), &wanted)?;
        }
        fs::write(root.join("cgroup.subtree_control"), &wanted)?;
        fs::write(root.join("guests/cgroup.subtree_control"), &wanted)
    }

    fn roots(&self) -> impl Iterator<Item = (&super::Hierarchy, PathBuf)> {
        self.discovery
            .hierarchies
            .iter()
            .map(|h| (h, h.folder.join(&self.name)))
    }

    /// Moves a process of the platform (all its threads) under the platform's weight.
    pub fn join_platform(&self, pid: i32) -> io::Result<()> {
        for (hierarchy, root) in self.roots() {
            if hierarchy.roles.contains(&Role::Cpu) {
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

    fn clear(
        &self,
        within: Duration,
        once: impl Fn(&std::path::Path) -> io::Result<bool>,
    ) -> io::Result<()> {
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
