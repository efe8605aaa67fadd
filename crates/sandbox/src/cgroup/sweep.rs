//! Ending groups by path: of a lane that died, of a server that was killed.

use super::{Discovery, base::pid_namespace};
use crate::sys::processes;
use std::{
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
    // Processes of the platform are not guests: they go back to where groups were before. A v2
    // folder with controlled groups takes none; the root then waits for their end.
    let platform = root.join("platform");
    let procs = fs::read_to_string(platform.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines() {
        let _ = fs::write(platform.join("../../cgroup.procs"), pid);
    }
    for folder in [root.join("guests"), platform, root.to_owned()] {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Ok(false),
            _ => {}
        }
    }
    Ok(true)
}

/// Removes the roots of supervisors that no longer live: what a `kill -9` of everything left.
/// Those of another live server, or of another pid namespace, are left alone.
pub fn sweep_stale(discovery: &Discovery) -> io::Result<u32> {
    let here = pid_namespace()?;
    let mut removed = 0;
    for hierarchy in &discovery.hierarchies {
        let Ok(entries) = fs::read_dir(&hierarchy.folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some((namespace, pid, start)) = name.to_str().and_then(parse) else {
                continue;
            };
            if namespace != here || processes::start_time(pid) == Some(start) {
                continue;
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
