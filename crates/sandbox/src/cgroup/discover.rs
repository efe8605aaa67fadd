//! Which hierarchies this machine has, and what each of them can do for us.

use rustix::fs::{Access, access};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The interface of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One or more v1 controllers.
    One,
    /// The unified hierarchy.
    Two,
}

/// What a hierarchy does for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Limits and counts memory.
    Memory,
    /// Limits processes.
    Pids,
    /// Weighs and limits processor time.
    Cpu,
    /// Counts processor time.
    CpuTime,
    /// Freezes.
    Freeze,
    /// Kills a whole group with one write (v2 alone).
    Kill,
}

/// One hierarchy and the folder below which our root goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// The folder.
    pub folder: PathBuf,
    /// What it is used for.
    pub roles: Vec<Role>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The hierarchies in use, each with at least one role.
    pub hierarchies: Vec<Hierarchy>,
}

impl Discovery {
    /// Whether some hierarchy does this.
    pub fn has(&self, role: Role) -> bool {
        self.hierarchies.iter().any(|h| h.roles.contains(&role))
    }
}

/// Looks at the mounts and at the caller's own groups.
///
/// `rootless`: only a v2 group that was delegated to the caller counts.
pub fn discover(rootless: bool) -> io::Result<Discovery> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    Ok(choose(&mounts, &own, rootless, &Live))
}

/// The questions that the choice asks of the live system; a fake answers them in tests.
trait Ask {
    fn controllers(&self, folder: &Path) -> String;
    fn can_freeze(&self, mount: &Path) -> bool;
    fn alone_in(&self, folder: &Path) -> bool;
    fn may_write(&self, folder: &Path) -> bool;
}

struct Live;

impl Ask for Live {
    fn controllers(&self, folder: &Path) -> String {
        fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default()
    }
    fn can_freeze(&self, _: &Path) -> bool {
        // cgroup.freeze came with 5.2 and is missing in the root group, so ask for the version.
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|n| n.parse::<u32>().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 14)
    }
    fn alone_in(&self, folder: &Path) -> bool {
        let own = std::process::id().to_string();
        fs::read_to_string(folder.join("cgroup.procs"))
            .is_ok_and(|procs| procs.lines().all(|pid| pid == own))
    }
    fn may_write(&self, folder: &Path) -> bool {
        access(folder, Access::WRITE_OK).is_ok()
    }
}

impl Hierarchy {
    /// Why our root could not be made here, `None` where it can. Makes nothing.
    pub fn obstacle(&self) -> Option<String> {
        self.obstacle_but_for(std::process::id())
    }

    /// As [`Hierarchy::obstacle`], for the process `own`.
    fn obstacle_but_for(&self, own: u32) -> Option<String> {
        if let Err(error) = access(&self.folder, Access::WRITE_OK) {
            let name = crate::sys::errno_name(error.raw_os_error());
            return Some(format!("cannot be written ({name})"));
        }
        let limits = [Role::Memory, Role::Pids, Role::Cpu];
        let has_limits = self.roles.iter().any(|role| limits.contains(role));
        // The hierarchy's own root has no type, and hands controllers down with processes in it.
        if self.version == Version::One || !has_limits || !self.folder.join("cgroup.type").exists()
        {
            return None;
        }
        let read = |file| fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let others = read("cgroup.procs")
            .lines()
            .filter(|pid| *pid != own.to_string())
            .count();
        let handed_down = !read("cgroup.subtree_control").trim().is_empty();
        (others > 0 && !handed_down).then(|| format!("has {others} processes of others"))
    }
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ');
        let mut tail = tail.split(' ');
        Some(Mount {
            root: head.nth(3)?,
            point: head.next()?,
            kind: tail.next()?,
            options: tail.nth(1)?,
        })
    })
}

fn choose(mountinfo: &str, own: &str, rootless: bool, ask: &dyn Ask) -> Discovery {
    let mut found = Discovery::default();
    let all: Vec<Mount<'_>> = mounts(mountinfo).collect();
    let unified = all.iter().find(|m| m.kind == "cgroup2");
    if let Some(mount) = unified {
        let point = Path::new(mount.point);
        let inside = own_group(own, mount);
        // A service of an ordinary user has a group to itself, which stays root's unless it is delegated.
        let own = point.join(&inside);
        let delegated = inside != Path::new("") && ask.alone_in(&own) && ask.may_write(&own);
        let folder = if rootless || delegated {
            point.join(&inside)
        } else {
            point.to_owned()
        };
        let controllers = ask.controllers(&folder);
        let mut roles = Vec::new();
        for (name, role) in [
            ("memory", Role::Memory),
            ("pids", Role::Pids),
            ("cpu", Role::Cpu),
        ] {
            if controllers.split_whitespace().any(|c| c == name) {
                roles.push(role);
            }
        }
        if ask.can_freeze(point) {
            roles.extend([Role::CpuTime, Role::Freeze, Role::Kill]);
        }
        if !roles.is_empty() && (!rootless || delegated) {
            found.hierarchies.push(Hierarchy {
                version: Version::Two,
                folder,
                roles,
            });
        }
    }
    if rootless {
        return found;
    }
    for (name, role) in [
        ("memory", Role::Memory),
        ("pids", Role::Pids),
        ("cpu", Role::Cpu),
        ("cpuacct", Role::CpuTime),
        ("freezer", Role::Freeze),
    ] {
        if found.has(role) {
            continue;
        }
        let Some(mount) = all
            .iter()
            .find(|m| m.kind == "cgroup" && m.options.split(',').any(|option| option == name))
        else {
            continue;
        };
        let folder = PathBuf::from(mount.point);
        match found.hierarchies.iter_mut().find(|h| h.folder == folder) {
            Some(same) => same.roles.push(role),
            None => found.hierarchies.push(Hierarchy {
                version: Version::One,
                folder,
                roles: vec![role],
            }),
        }
    }
    found
}

/// The caller's own v2 group, relative to what is mounted; empty for the mount's root.
fn own_group(own: &str, mount: &Mount<'_>) -> PathBuf {
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let inside = path.strip_prefix(mount.root).unwrap_or("");
    PathBuf::from(inside.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        controllers: &'static str,
        alone: bool,
        writable: bool,
    }
    impl Ask for Fake {
        fn controllers(&self, _: &Path) -> String {
            self.controllers.to_owned()
        }
        fn can_freeze(&self, _: &Path) -> bool {
            true
        }
        fn alone_in(&self, _: &Path) -> bool {
            self.alone
        }
        fn may_write(&self, _: &Path) -> bool {
            self.writable
        }
    }

    const HYBRID: &str = "\
30 29 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 29 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 29 0:29 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
34 29 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
    const UNIFIED: &str = "34 29 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_hybrid_machine_limits_by_v1_and_freezes_by_v2() {
        let found = choose(
            HYBRID,
            "0::/\n",
            false,
            &Fake {
                controllers: "",
                alone: false,
                writable: true,
            },
        );
        let of = |role| {
            found
                .hierarchies
                .iter()
                .find(|h| h.roles.contains(&role))
                .unwrap()
        };
        assert_eq!(of(Role::Memory).version, Version::One);
        assert_eq!(
            of(Role::Cpu).folder,
            Path::new("/sys/fs/cgroup/cpu,cpuacct")
        );
        assert_eq!(of(Role::Freeze).version, Version::Two);
        assert_eq!(of(Role::Kill).folder, Path::new("/sys/fs/cgroup/unified"));
        assert!(
            !found
                .hierarchies
                .iter()
                .any(|h| h.folder.ends_with("freezer"))
        );
    }

    #[test]
    fn a_unified_machine_uses_one_hierarchy() {
        let fake = Fake {
            controllers: "cpuset cpu io memory pids",
            alone: false,
            writable: true,
        };
        let found = choose(UNIFIED, "0::/user.slice/s.scope\n", false, &fake);
        assert_eq!(found.hierarchies.len(), 1);
        assert_eq!(found.hierarchies[0].folder, Path::new("/sys/fs/cgroup"));
        assert_eq!(found.hierarchies[0].roles.len(), 6);
    }

    #[test]
    fn a_delegated_group_is_kept_to() {
        let fake = Fake {
            controllers: "cpu memory pids",
            alone: true,
            writable: true,
        };
        for rootless in [false, true] {
            let found = choose(UNIFIED, "0::/system.slice/f.service\n", rootless, &fake);
            let folder = Path::new("/sys/fs/cgroup/system.slice/f.service");
            assert_eq!(found.hierarchies[0].folder, folder);
        }
    }

    #[test]
    fn without_root_and_delegation_there_is_nothing() {
        let fake = Fake {
            controllers: "cpu memory pids",
            alone: false,
            writable: true,
        };
        assert_eq!(choose(HYBRID, "0::/\n", true, &fake), Discovery::default());
    }

    #[test]
    fn a_group_to_itself_that_is_roots_was_not_delegated() {
        let fake = Fake {
            controllers: "cpu memory pids",
            alone: true,
            writable: false,
        };
        let found = choose(UNIFIED, "0::/system.slice/f.service\n", true, &fake);
        assert_eq!(found, Discovery::default());
    }

    #[test]
    fn what_is_in_the_way_of_a_root_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |file: &str, text: &str| fs::write(folder.path().join(file), text).expect("written");
        let mut one = Hierarchy {
            version: Version::Two,
            folder: folder.path().to_owned(),
            roles: vec![Role::Memory],
        };
        write("cgroup.procs", "10\n11\n");
        assert_eq!(one.obstacle_but_for(10), None, "the hierarchy's own root");
        write("cgroup.type", "domain\n");
        write("cgroup.subtree_control", "\n");
        assert_eq!(
            one.obstacle_but_for(10).as_deref(),
            Some("has 1 processes of others")
        );
        write("cgroup.subtree_control", "memory\n");
        assert_eq!(
            one.obstacle_but_for(10),
            None,
            "controllers are handed down already"
        );
        write("cgroup.subtree_control", "\n");
        write("cgroup.procs", "10\n");
        assert_eq!(one.obstacle_but_for(10), None, "nobody else is there");
        write("cgroup.procs", "10\n11\n");
        one.roles = vec![Role::Freeze];
        assert_eq!(
            one.obstacle_but_for(10),
            None,
            "freezing takes no controller"
        );
        one.folder = folder.path().join("missing");
        assert_eq!(
            one.obstacle().as_deref(),
            Some("cannot be written (ENOENT)")
        );
    }
}
