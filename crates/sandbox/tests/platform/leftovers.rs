//! What a platform could leave behind on the machine.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
pub struct Leftovers {
    groups: BTreeSet<String>,
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    loops: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Leftovers {
    /// `tree`: the tests' folder, by which its mounts, images and files are told from others'.
    pub fn look(tree: &Path) -> Leftovers {
        let mut found = Leftovers::default();
        let tree_name = tree.to_string_lossy().into_owned();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = process.file_name().to_string_lossy().into_owned();
            if !name.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            let exe = fs::read_link(process.path().join("exe")).unwrap_or_default();
            let own = std::env::current_exe().unwrap_or_default();
            if exe == own || exe.starts_with(tree) || exe == Path::new("/guest") {
                let line = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
                found
                    .processes
                    .insert(line.split(' ').take(4).collect::<Vec<_>>().join(" "));
            }
        }
        found.look_for_groups(Path::new("/sys/fs/cgroup"), 4);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        found.mounts = mounts
            .lines()
            .filter(|l| l.contains(&tree_name))
            .map(str::to_owned)
            .collect();
        for device in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let backing =
                fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            if backing.contains(&tree_name) {
                found
                    .loops
                    .insert(format!("{} {}", device.path().display(), backing.trim()));
            }
        }
        for folder in ["state/volumes", "state/mnt", "state/fast"] {
            for file in fs::read_dir(tree.join(folder))
                .into_iter()
                .flatten()
                .flatten()
            {
                found
                    .files
                    .insert(file.path().to_string_lossy().into_owned());
            }
        }
        found
    }

    /// Our roots of dead supervisors, in every hierarchy and wherever in it one may have been delegated.
    fn look_for_groups(&mut self, folder: &Path, depth: u32) {
        for group in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !group.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = group.file_name().to_string_lossy().into_owned();
            let parts = name.strip_prefix("freehold-").map(|rest| {
                let mut parts = rest.split('-');
                (parts.next(), parts.next())
            });
            // A group of a live supervisor of somebody else's is not of ours: the pid tells, where it
            // is one of our namespace.
            match parts {
                Some((Some(namespace), Some(pid))) if namespace == own_pids() && !lives(pid) => {
                    self.groups
                        .insert(group.path().to_string_lossy().into_owned());
                }
                Some(_) => {}
                None if depth > 1 => self.look_for_groups(&group.path(), depth - 1),
                None => {}
            }
        }
    }

    /// Waits until nothing is there that was not there before; what is, when it stays.
    pub fn wait_same(tree: &Path, before: &Leftovers, within: Duration) -> Option<String> {
        let until = Instant::now() + within;
        loop {
            // Once more after the end: the machine may have stalled since the last look.
            let is_last = Instant::now() > until;
            let now = Leftovers::look(tree);
            let new = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
                a.difference(b).cloned().collect::<Vec<_>>()
            };
            let left = [
                new(&now.groups, &before.groups),
                new(&now.processes, &before.processes),
                new(&now.mounts, &before.mounts),
                new(&now.loops, &before.loops),
                new(&now.files, &before.files),
            ]
            .concat();
            if left.is_empty() {
                return None;
            }
            if is_last {
                return Some(left.join("; "));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The number of our namespace of pids.
fn own_pids() -> String {
    let facts = fs::metadata("/proc/self/ns/pid");
    facts.map_or(String::new(), |facts| facts.ino().to_string())
}

/// A dead process that nobody has reaped yet is dead.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
