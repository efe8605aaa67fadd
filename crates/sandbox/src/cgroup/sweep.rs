//! Ending groups by path: of a lane that died, of a server that was killed.

use super::{Discovery, Hierarchy, Role, base::pid_namespace};
use crate::sys::processes;
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// Kills the members of one group.
fn kill_members(group: &Path) {
    if fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines().filter_map(|pid| pid.parse().ok()) {
        processes::kill_pid(pid);
    }
    // A task frozen by v1 dies only once it may run again.
    if group.join("freezer.state").exists() {
        let _ = fs::write(group.join("freezer.state"), "THAWED");
    }
}

/// One pass over the groups below `parent` that `ours` names: kill, remove. Whether none is left.
pub(super) fn end_groups(parent: &Path, ours: impl Fn(&str) -> bool) -> io::Result<bool> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let mut empty = true;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || !name.to_str().is_some_and(&ours) {
            continue;
        }
        if fs::remove_dir(entry.path()).is_err() {
            kill_members(&entry.path());
            empty &=
                fs::remove_dir(entry.path()).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        }
    }
    Ok(empty)
}

/// One pass over a whole root of ours. Whether it is gone.
pub(super) fn end_root(root: &Path) -> io::Result<bool> {
    if !end_groups(&root.join("guests"), |_| true)? {
        return Ok(false);
    }
    // Before the platform's processes go back: a folder takes none while it has controlled groups.
    if !is_gone(&root.join("guests")) {
        return Ok(false);
    }
    move_back(root);
    Ok(is_gone(&root.join("platform")) && is_gone(root))
}

/// Processes of the platform, the supervisor among them, are not guests: they go back to where
/// they were before.
fn move_back(root: &Path) {
    let Some(folder) = root.parent() else { return };
    let procs = fs::read_to_string(root.join("platform/cgroup.procs")).unwrap_or_default();
    let home = folder.join("cgroup.procs");
    for pid in procs.lines() {
        let moved = fs::write(&home, pid);
        if moved.is_err_and(|e| e.raw_os_error() == Some(libc::EBUSY)) {
            withdraw_controllers(root, folder);
            let _ = fs::write(&home, pid);
        }
    }
}

/// A v2 folder that hands controllers down takes no process, but for the hierarchy's root. Stops
/// handing them down, from the inside out; not where that would lift the limits of other groups.
fn withdraw_controllers(root: &Path, folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    if groups.any(|group| group.path() != root) {
        return;
    }
    for group in [root, folder] {
        let control = group.join("cgroup.subtree_control");
        let handed = fs::read_to_string(&control).unwrap_or_default();
        let off: String = handed
            .split_whitespace()
            .map(|controller| format!("-{controller} "))
            .collect();
        let _ = fs::write(&control, off);
    }
}

/// A root younger than this may be one that a server is about to move into.
const MOVED_IN_BY_NOW: Duration = Duration::from_secs(60);

/// Removes the roots of supervisors that no longer live: what a `kill -9` of everything left.
/// Those of another live server are left alone. In another pid namespace pids say nothing: what the
/// end of a container left there has no process in it.
pub fn sweep_stale(discovery: &Discovery) -> io::Result<u32> {
    let here = pid_namespace()?;
    let mut removed = 0;
    // By name: it is judged once, since the look itself changes a folder's age.
    let mut deserted = HashMap::new();
    for hierarchy in &discovery.hierarchies {
        let Ok(entries) = fs::read_dir(&hierarchy.folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some((namespace, pid, start)) = name.to_str().and_then(parse) else {
                continue;
            };
            if namespace != here {
                let judged = deserted
                    .entry(name)
                    .or_insert_with_key(|name| is_deserted(discovery, name));
                removed += u32::from(*judged && remove_empty(&entry.path()));
                continue;
            }
            // One that cannot be looked at, for want of a descriptor say, may live.
            match processes::start_time(pid) {
                Ok(Some(now)) if now == start => continue,
                Ok(_) => {}
                Err(_) => continue,
            }
            let until = Instant::now() + Duration::from_secs(5);
            while !end_root(&entry.path())? && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether no server lives in a root, whose supervisor is in `platform` where processor time is
/// weighed and memory limited: those folders are removed, which the kernel does for one without a process alone. A root that
/// is not there yet is about to be: it is made in one hierarchy after the other.
fn is_deserted(discovery: &Discovery, name: &OsStr) -> bool {
    let is_old = |hierarchy: &Hierarchy| {
        match fs::metadata(hierarchy.folder.join(name)).and_then(|found| found.modified()) {
            Ok(made) => made.elapsed().is_ok_and(|age| age >= MOVED_IN_BY_NOW),
            // Gone from there alone, where the others are old: an earlier sweep was cut short.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    };
    // Each is looked at: the first look at a folder may be what gives it its age.
    let ages: Vec<bool> = discovery.hierarchies.iter().map(is_old).collect();
    let holds = |hierarchy: &&Hierarchy| {
        [Role::Cpu, Role::Memory]
            .iter()
            .any(|role| hierarchy.roles.contains(role))
    };
    let mut holds = discovery.hierarchies.iter().filter(holds).peekable();
    holds.peek().is_some()
        && ages.iter().all(|is_old| *is_old)
        && holds.all(|hierarchy| is_gone(&hierarchy.folder.join(name).join("platform")))
}

/// Removes the groups of a root, but for what has a process in it. Whether all is gone.
fn remove_empty(root: &Path) -> bool {
    let guests = root.join("guests");
    for guest in fs::read_dir(&guests).into_iter().flatten().flatten() {
        let _ = fs::remove_dir(guest.path());
    }
    is_gone(&guests) && is_gone(&root.join("platform")) && is_gone(root)
}

/// Removes a folder. Whether it is gone.
fn is_gone(folder: &Path) -> bool {
    match fs::remove_dir(folder) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(()) => true,
    }
}

fn parse(name: &str) -> Option<(u64, i32, u64)> {
    let mut parts = name.strip_prefix("freehold-")?.split('-');
    let found = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group of a test's in the unified hierarchy, with one controller that is left to it, which
    /// it hands down as a delegated folder of ours does.
    fn delegated(name: &str) -> Option<(std::path::PathBuf, Handed)> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let unified = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let point = Path::new(unified.split(' ').nth(4)?);
        let folder = point.join(format!("freehold-test-{name}-{}", std::process::id()));
        let controllers = fs::read_to_string(point.join("cgroup.controllers")).ok()?;
        let first = controllers.split_whitespace().next()?;
        let control = point.join("cgroup.subtree_control");
        let before = fs::read_to_string(&control).ok()?;
        let off = (!before.split_whitespace().any(|c| c == first)).then(|| format!("-{first}"));
        fs::write(&control, format!("+{first}")).ok()?;
        let handed = Handed(control, off);
        fs::create_dir(&folder).ok()?;
        for group in ["root", "root/platform", "root/guests"] {
            fs::create_dir(folder.join(group)).expect("a group");
        }
        for group in ["", "root"] {
            let control = folder.join(group).join("cgroup.subtree_control");
            fs::write(control, format!("+{first}")).expect("a controller is handed down");
        }
        Some((folder, handed))
    }

    /// Takes a controller back that the hierarchy's root did not hand down before.
    struct Handed(std::path::PathBuf, Option<String>);

    impl Drop for Handed {
        fn drop(&mut self) {
            if let Some(off) = &self.1 {
                let _ = fs::write(&self.0, off);
            }
        }
    }

    #[test]
    fn the_platform_goes_back_to_a_folder_that_handed_controllers_down() {
        for beside in [false, true] {
            let Some((folder, _handed)) = delegated(&beside.to_string()) else {
                println!("skipped: needs root and a controller of the unified hierarchy");
                return;
            };
            let mut server = std::process::Command::new("sleep")
                .arg("600")
                .spawn()
                .expect("a process");
            let pid = server.id().to_string();
            fs::write(folder.join("root/platform/cgroup.procs"), &pid).expect("joined");
            if beside {
                fs::create_dir(folder.join("other")).expect("a group of somebody else's");
            }
            let ended = end_root(&folder.join("root")).expect("looked");
            let handed = fs::read_to_string(folder.join("cgroup.subtree_control")).expect("read");
            let back = fs::read_to_string(folder.join("cgroup.procs")).expect("read");
            server.kill().expect("killed");
            server.wait().expect("reaped");
            for group in ["other", "root/platform", "root", ""] {
                let _ = fs::remove_dir(folder.join(group));
            }
            assert_eq!(ended, !beside, "left for the next start beside others");
            assert_eq!(handed.is_empty(), !beside, "others keep their controllers");
            assert_eq!(back.trim(), if beside { "" } else { pid.as_str() });
        }
    }

    /// Folders stand in for groups: a file in `platform` for a process, since neither lets it go.
    #[test]
    fn what_a_container_left_goes_and_what_lives_or_is_new_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let hierarchy = |name: &str, role| Hierarchy {
            version: super::super::Version::One,
            folder: folder.path().join(name),
            roles: vec![role],
        };
        let hierarchies = vec![hierarchy("pids", Role::Pids), hierarchy("cpu", Role::Cpu)];
        let old = std::time::SystemTime::now() - 2 * MOVED_IN_BY_NOW;
        for hierarchy in &hierarchies {
            for name in ["freehold-1-20-1", "freehold-1-20-2", "freehold-1-20-3"] {
                let root = hierarchy.folder.join(name);
                fs::create_dir_all(root.join("guests/0.1.17")).expect("a group");
                fs::create_dir(root.join("platform")).expect("a group");
                if name.ends_with('2') && hierarchy.roles == [Role::Cpu] {
                    fs::write(root.join("platform/lives"), "").expect("a process");
                }
                if !name.ends_with('3') {
                    let root = fs::File::open(&root).expect("a folder");
                    root.set_modified(old).expect("an age");
                }
            }
        }
        // Roots of one hierarchy alone: of a start that goes on there next, of a sweep cut short.
        for name in ["freehold-1-20-4", "freehold-1-20-5"] {
            let root = hierarchies[0].folder.join(name);
            fs::create_dir_all(root.join("guests/0.1.17")).expect("a group");
            if name.ends_with('5') {
                let root = fs::File::open(&root).expect("a folder");
                root.set_modified(old).expect("an age");
            }
        }
        let discovery = Discovery { hierarchies };
        assert_eq!(sweep_stale(&discovery).expect("swept"), 3);
        let lives = [("1", 0), ("2", 2), ("3", 2), ("4", 1), ("5", 0)];
        for (name, hierarchies) in lives {
            let of = discovery.hierarchies.iter().map(|hierarchy| {
                let root = hierarchy.folder.join(format!("freehold-1-20-{name}"));
                root.join("guests/0.1.17").exists()
            });
            assert_eq!(of.filter(|exists| *exists).count(), hierarchies, "{name}");
        }
    }

    #[test]
    fn only_names_of_ours_are_taken_for_ours() {
        assert_eq!(
            parse("freehold-4026531836-12-345"),
            Some((4026531836, 12, 345))
        );
        for other in [
            "freehold-1-2",
            "freehold-1-2-3-4",
            "freehold-a-2-3",
            "docker-1-2-3",
            "",
        ] {
            assert_eq!(parse(other), None);
        }
    }
}
