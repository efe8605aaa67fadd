//! One instance's group in every hierarchy, by descriptor: the spawner sees no host path.

use super::{Role, Version, open_dir_at, read_at, write_at};
use crate::sys::processes;
use freehold_domain::ports::InstanceUsage;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// The guests' folder of one hierarchy.
#[derive(Debug)]
pub(super) struct GuestHierarchy {
    pub(super) dir: OwnedFd,
    pub(super) version: Version,
    pub(super) roles: Vec<Role>,
}

/// The guests' folders of all hierarchies.
#[derive(Debug)]
pub struct Guests {
    pub(super) hierarchies: Vec<GuestHierarchy>,
}

/// What one instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Memory, no swap beyond.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Weight, 16384 per full core of Lambda's.
    pub cpu_weight: u32,
    /// µs per 100 ms.
    pub cpu_quota_us: Option<u32>,
}

/// One instance's groups. Not removed on drop: [`Group::remove`] says whether it worked.
#[derive(Debug)]
pub struct Group {
    /// One folder per hierarchy, in the order of [`Guests`].
    dirs: Vec<OwnedFd>,
    name: String,
    frozen: bool,
    /// As they were set last.
    limits: Option<GroupLimits>,
}

impl Guests {
    /// Makes the groups `name`; without limits yet.
    pub fn create(&self, name: &str) -> io::Result<Group> {
        let mut group = Group {
            dirs: Vec::new(),
            name: name.to_owned(),
            frozen: false,
            limits: None,
        };
        for hierarchy in &self.hierarchies {
            let made = mkdirat(&hierarchy.dir, name, Mode::from_raw_mode(0o755))
                .map_err(io::Error::from)
                .and_then(|()| open_dir_at(&hierarchy.dir, name));
            match made {
                Ok(dir) => group.dirs.push(dir),
                Err(error) => {
                    let _ = group.remove(self);
                    return Err(error);
                }
            }
        }
        Ok(group)
    }

    pub(super) fn with<'a>(
        &'a self,
        group: &'a Group,
        role: Role,
    ) -> Option<(BorrowedFd<'a>, Version)> {
        let place = self
            .hierarchies
            .iter()
            .position(|h| h.roles.contains(&role))?;
        Some((
            group.dirs.get(place)?.as_fd(),
            self.hierarchies[place].version,
        ))
    }
}

impl Group {
    /// Descriptors through which a process joins by writing `0`, from inside any namespace.
    pub fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let open = |dir: &OwnedFd| Ok(openat(dir, "cgroup.procs", flags, Mode::empty())?);
        self.dirs.iter().map(open).collect()
    }

    /// Sets the limits, as far as they are others than before: a file is 15 µs of a start.
    pub fn limit(&mut self, guests: &Guests, limits: &GroupLimits) -> io::Result<()> {
        // Half set is not set.
        let before = self.limits.take();
        let differs = |of: fn(&GroupLimits) -> u64| before.as_ref().map(of) != Some(of(limits));
        if differs(|l| l.memory_bytes) {
            self.limit_memory(guests, limits.memory_bytes, before.map(|l| l.memory_bytes))?;
        }
        if differs(|l| l.pids.into())
            && let Some((dir, _)) = guests.with(self, Role::Pids)
        {
            write_at(dir, "pids.max", &limits.pids.to_string())?;
        }
        if differs(|l| l.cpu_weight.into()) {
            self.write_weight(guests, limits.cpu_weight)?;
        }
        if let Some((dir, version)) = guests.with(self, Role::Cpu) {
            let quota = limits.cpu_quota_us.map(|quota| quota.max(1000));
            if before.and_then(|l| l.cpu_quota_us) != limits.cpu_quota_us {
                match (version, quota) {
                    (Version::One, Some(quota)) => {
                        write_at(dir, "cpu.cfs_quota_us", &quota.to_string())?;
                    }
                    (Version::One, None) => write_at(dir, "cpu.cfs_quota_us", "-1")?,
                    (Version::Two, Some(quota)) => {
                        write_at(dir, "cpu.max", &format!("{quota} 100000"))?;
                    }
                    (Version::Two, None) => write_at(dir, "cpu.max", "max 100000")?,
                }
            }
        }
        self.limits = Some(*limits);
        Ok(())
    }

    fn limit_memory(&self, guests: &Guests, bytes: u64, before: Option<u64>) -> io::Result<()> {
        let Some((dir, version)) = guests.with(self, Role::Memory) else {
            return Ok(());
        };
        let text = bytes.to_string();
        match version {
            Version::One => {
                // Memory and swap together as much as memory alone: no swap. Kernels without
                // swap accounting lack the file and are told through swappiness. Memory alone is
                // never the larger, so that a limit that rises does so the other way round.
                let rises = before.is_some_and(|before| before < bytes);
                let swap = || write_at(dir, "memory.memsw.limit_in_bytes", &text);
                let accounts_swap = rises && swap().is_ok();
                write_at(dir, "memory.limit_in_bytes", &text)?;
                if !accounts_swap && swap().is_err() {
                    write_at(dir, "memory.swappiness", "0")?;
                }
                super::bound_tcp(dir, bytes)
            }
            Version::Two => {
                write_at(dir, "memory.max", &text)?;
                let _ = write_at(dir, "memory.swap.max", "0");
                Ok(())
            }
        }
    }

    /// Sets the weight against other instances.
    pub fn weigh(&mut self, guests: &Guests, weight: u32) -> io::Result<()> {
        self.write_weight(guests, weight)?;
        if let Some(limits) = &mut self.limits {
            limits.cpu_weight = weight;
        }
        Ok(())
    }

    fn write_weight(&self, guests: &Guests, weight: u32) -> io::Result<()> {
        let Some((dir, version)) = guests.with(self, Role::Cpu) else {
            return Ok(());
        };
        let (file, weight) = in_kernels_words(version, weight);
        write_at(dir, file, &weight.to_string())
    }

    /// The memory it uses.
    pub fn memory_bytes(&self, guests: &Guests) -> u64 {
        let Some((dir, version)) = guests.with(self, Role::Memory) else {
            return 0;
        };
        let file = match version {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        };
        let text = read_at(dir, file).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Of the memory it uses: what the kernel would take back before it ended anybody, and what of memory
    /// files of its own its processes may map, bytes. `None` where that cannot be read.
    pub fn files_bytes(&self, guests: &Guests) -> Option<(u64, u64)> {
        let Some((dir, version)) = guests.with(self, Role::Memory) else {
            return Some((0, 0));
        };
        let text = read_at(dir, "memory.stat").ok()?;
        let field = |name| keyed(&text, name).unwrap_or(0);
        let (files, mapped) = match version {
            Version::One => ("cache", "mapped_file"),
            Version::Two => ("file", "file_mapped"),
        };
        let shmem = field("shmem");
        // Memory that was freed lazily lies on the lists of files too, and is the process's own.
        let cached = field("active_file") + field("inactive_file");
        let cached = cached.min(field(files).saturating_sub(shmem));
        let kernels = match version {
            // Which of it could be taken back is not told apart here.
            Version::One => read_at(dir, "memory.kmem.usage_in_bytes")
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0),
            Version::Two => field("slab_reclaimable"),
        };
        Some((cached + kernels, shmem.min(field(mapped))))
    }

    /// What it uses and has used. A figure whose hierarchy is missing is 0.
    pub fn usage(&self, guests: &Guests) -> InstanceUsage {
        let mut usage = InstanceUsage::default();
        let number = |dir, file| -> u64 {
            read_at(dir, file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0)
        };
        let field = |dir, file, name| -> u64 {
            read_at(dir, file)
                .ok()
                .and_then(|text| keyed(&text, name))
                .unwrap_or(0)
        };
        if let Some((dir, version)) = guests.with(self, Role::Memory) {
            let (peak, events) = match version {
                Version::One => ("memory.max_usage_in_bytes", "memory.oom_control"),
                Version::Two => ("memory.peak", "memory.events"),
            };
            usage.memory_bytes = self.memory_bytes(guests);
            // memory.peak came with 5.19; without it the present use is the best bound from below.
            usage.memory_peak_bytes = number(dir, peak).max(usage.memory_bytes);
            usage.oom_kills = field(dir, events, "oom_kill");
        }
        if let Some((dir, _)) = guests.with(self, Role::Pids) {
            usage.pids = u32::try_from(number(dir, "pids.current")).unwrap_or(u32::MAX);
        }
        if let Some((dir, version)) = guests.with(self, Role::CpuTime) {
            usage.cpu_us = match version {
                Version::One => number(dir, "cpuacct.usage") / 1000,
                Version::Two => field(dir, "cpu.stat", "usage_usec"),
            };
        }
        usage
    }

    /// Stops or resumes every member. The kernel stops each at its next way out of the kernel.
    pub fn set_frozen(&mut self, guests: &Guests, frozen: bool) -> io::Result<()> {
        let Some((dir, version)) = guests.with(self, Role::Freeze) else {
            // Nothing here can stop it, which `doctor` says; an idle instance then only sleeps.
            return Ok(());
        };
        match (version, frozen) {
            (Version::Two, true) => write_at(dir, "cgroup.freeze", "1")?,
            (Version::Two, false) => write_at(dir, "cgroup.freeze", "0")?,
            (Version::One, true) => write_at(dir, "freezer.state", "FROZEN")?,
            (Version::One, false) => write_at(dir, "freezer.state", "THAWED")?,
        }
        self.frozen = frozen;
        Ok(())
    }

    /// Kills every member beyond what killing pid 1 does: for crowds, and for the frozen of v1,
    /// who die only once they may run again.
    pub fn kill(&mut self, guests: &Guests) {
        let crowd = self.usage(guests).pids > 50;
        if crowd {
            match guests.with(self, Role::Kill) {
                Some((dir, _)) => drop(write_at(dir, "cgroup.kill", "1")),
                None => self.kill_each(guests),
            }
        }
        if self.frozen
            && let Some((_, Version::One)) = guests.with(self, Role::Freeze)
        {
            let _ = self.set_frozen(guests, false);
        }
    }

    /// v1: stop them all, so that none can fork away from the list, then kill the list.
    fn kill_each(&mut self, guests: &Guests) {
        let _ = self.set_frozen(guests, true);
        for pid in self.members() {
            processes::kill_pid(pid);
        }
        let _ = self.set_frozen(guests, false);
    }

    /// The list of its processes, open for reading.
    pub fn member_list(&self) -> io::Result<OwnedFd> {
        let dir = self.dirs.first().ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(openat(dir, "cgroup.procs", flags, Mode::empty())?)
    }

    /// Its processes.
    pub fn members(&self) -> Vec<i32> {
        let Some(dir) = self.dirs.first() else {
            return Vec::new();
        };
        let text = read_at(dir.as_fd(), "cgroup.procs").unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Removes the groups; fails with `EBUSY` while a member is left. Repeatable.
    pub fn remove(&self, guests: &Guests) -> io::Result<()> {
        let mut worst = Ok(());
        for hierarchy in &guests.hierarchies {
            match unlinkat(&hierarchy.dir, &self.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => worst = Err(error.into()),
            }
        }
        worst
    }
}

/// The file of a weight and what to write there: v1 has 2 to 262144, v2 1 to 10000 with 100 where
/// v1 has 1024. Weights count between instances alone, so that either scale is as good.
fn in_kernels_words(version: Version, weight: u32) -> (&'static str, u32) {
    match version {
        Version::One => ("cpu.shares", weight.clamp(2, 1 << 18)),
        Version::Two => ("cpu.weight", (weight / 10).clamp(1, 10_000)),
    }
}

/// The number behind `name` in a file of lines "name number".
pub(super) fn keyed(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        if key == name {
            value.trim().parse().ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_keeps_its_proportion_within_what_the_kernel_takes() {
        // 128 MiB, alone and as one of 64; 10 GiB.
        for (weight, one, two) in [(1185, 1185, 118), (18, 18, 1), (94_840, 94_840, 9484)] {
            assert_eq!(in_kernels_words(Version::One, weight), ("cpu.shares", one));
            assert_eq!(in_kernels_words(Version::Two, weight), ("cpu.weight", two));
        }
        for weight in [0, 1, u32::MAX] {
            let (_, one) = in_kernels_words(Version::One, weight);
            let (_, two) = in_kernels_words(Version::Two, weight);
            assert!((2..=1 << 18).contains(&one) && (1..=10_000).contains(&two));
        }
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(3));
        assert_eq!(keyed(text, "oom"), None);
    }
}
