//! Who is who below a server, who of them was killed, and what is held while nothing goes on.

use super::{deaths::below, starts::name_of, *};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
    path::Path,
};

/// What a process below a spawner is at the moment, or that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Spawner,
    Keeper,
    Dumper,
    /// Pid 1 of a sandbox.
    Init,
    /// Pid 2 before it executes anything.
    Parked,
    /// Pid 2 on its way from an image to what is in it.
    Restorer,
    /// Pid 2 that runs, and its children.
    Instance,
}

fn part_of(pid: i32) -> Part {
    match name_of(pid).as_str() {
        "fh-volumes" => Part::Keeper,
        "fh-dumper" => Part::Dumper,
        name if name.starts_with("fh-spawner-") => Part::Spawner,
        "init" => Part::Parked,
        // Kernels before 6.14 call it by the number of the descriptor that it was executed from.
        name if name == "runtime" || name.bytes().all(|byte| byte.is_ascii_digit()) => {
            Part::Restorer
        }
        _ => Part::Instance,
    }
}

fn supervisor() -> i32 {
    supervisor_of(std::process::id() as i32)
}

/// Everybody's part on these lanes.
fn parts(lanes: &[u16]) -> Vec<(i32, Part)> {
    let names: Vec<String> = lanes.iter().map(|n| format!("fh-spawner-{n}")).collect();
    let mut all = Vec::new();
    for spawner in children(supervisor()) {
        if !names.contains(&name_of(spawner)) {
            continue;
        }
        all.push((spawner, Part::Spawner));
        for worker in children(spawner) {
            // Pid 1 and what is not a runtime yet have the same name.
            let part = match part_of(worker) {
                Part::Parked => Part::Init,
                other => other,
            };
            all.push((worker, part));
            let guests = children(worker).into_iter();
            all.extend(guests.map(|guest| (guest, part_of(guest))));
        }
    }
    all
}

/// Who was killed, by what it was then.
#[derive(Debug, Default)]
pub struct Hits(BTreeMap<Part, u32>);

impl Hits {
    /// Kills a process that is `wanted` on one of these lanes as soon as there is one, `after` it was seen;
    /// or nobody, once it is over.
    pub async fn one(
        &mut self,
        wanted: Part,
        lanes: &[u16],
        dice: u64,
        after: Duration,
        is_over: &Cell<bool>,
    ) {
        loop {
            // The last look comes after the end.
            let was_over = is_over.get();
            let all = parts(lanes).into_iter();
            let all: Vec<i32> = all.filter(|(_, p)| *p == wanted).map(|(p, _)| p).collect();
            if let Some(pid) = all.get((dice >> 33) as usize % all.len().max(1)) {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                if self.kill(*pid, wanted) {
                    return;
                }
            }
            if was_over {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Kills `pid` if it is still `wanted`; whether it was.
    pub fn kill(&mut self, pid: i32, wanted: Part) -> bool {
        let is_still = match (part_of(pid), wanted) {
            (Part::Parked, Part::Init) => true,
            (now, wanted) => now == wanted,
        };
        let lives = starts::state_of(pid).is_some_and(|state| state != 'Z');
        let Some(pid) = rustix::process::Pid::from_raw(pid).filter(|_| is_still && lives) else {
            return false;
        };
        let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok();
        if killed {
            *self.0.entry(wanted).or_default() += 1;
        }
        killed
    }

    /// Kills `pid`, whatever it is below a pid 1; whether it lived.
    pub fn guest(&mut self, pid: i32) -> bool {
        self.kill(pid, part_of(pid))
    }

    /// How many were hit.
    pub fn all(&self) -> u32 {
        self.0.values().sum()
    }

    /// Whether each of `parts` was hit.
    pub fn has(&self, parts: &[Part]) -> bool {
        parts.iter().all(|part| self.0.contains_key(part))
    }
}

/// What is held while nothing goes on, whoever was killed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Descriptors of the server.
    server: usize,
    /// Of the supervisor.
    supervisor: usize,
    /// Namespaces in which somebody is, or that somebody has open, but for those of sandboxes that live.
    namespaces: usize,
}

impl Held {
    fn now() -> Held {
        let own = std::process::id() as i32;
        let mut all = vec![own];
        let mut place = 0;
        while let Some(pid) = all.get(place) {
            all.extend(children(*pid));
            place += 1;
        }
        let privileged = |part: &Part| matches!(part, Part::Spawner | Part::Keeper | Part::Dumper);
        let inside: BTreeSet<i32> = parts(&[0, 1])
            .into_iter()
            .filter(|(_, part)| !privileged(part))
            .map(|(pid, _)| pid)
            .collect();
        let mut namespaces = BTreeSet::new();
        let (mut of_sandboxes, mut open) = (BTreeSet::new(), BTreeSet::new());
        for pid in all {
            let is_in = targets(pid, "ns").into_iter();
            match inside.contains(&pid) {
                true => of_sandboxes.extend(is_in),
                false => namespaces.extend(is_in),
            }
            let kinds = ["mnt:[", "net:[", "pid:[", "ipc:[", "uts:[", "cgroup:["];
            let held = targets(pid, "fd").into_iter();
            open.extend(held.filter(|to| kinds.iter().any(|kind| to.starts_with(kind))));
        }
        namespaces.extend(open.difference(&of_sandboxes).cloned());
        Held {
            server: targets(own, "fd").len(),
            supervisor: targets(supervisor(), "fd").len(),
            namespaces: namespaces.len(),
        }
    }

    /// Once it stays as it is.
    pub async fn at_rest() -> Held {
        at_rest(Held::now).await
    }

    /// Until it is the same again.
    pub async fn returns(self) {
        returns(self, Held::now).await;
        println!("       {self:?}, as before");
    }
}

/// The same and more, where as many sandboxes lie parked before as after and no spawner was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    held: Held,
    /// Everybody below the server.
    processes: usize,
    /// Descriptors of the spawners and their keepers.
    below: usize,
    /// Mounts that the server, the supervisor, the spawners and the keepers see.
    mounts: usize,
    /// Groups of sandboxes, in every hierarchy.
    groups: usize,
    /// Volumes that are attached.
    volumes: usize,
}

impl Rest {
    fn now() -> Rest {
        let own = std::process::id() as i32;
        let supervisor = supervisor();
        let privileged = |part: &Part| matches!(part, Part::Spawner | Part::Keeper | Part::Dumper);
        let workers = parts(&[0, 1])
            .into_iter()
            .filter(|(_, part)| privileged(part));
        let workers: Vec<i32> = workers.map(|(pid, _)| pid).collect();
        let mounts = |pid: i32| {
            let table = fs::read_to_string(format!("/proc/{pid}/mountinfo"));
            table.map_or(0, |table| table.lines().count())
        };
        Rest {
            held: Held::now(),
            processes: below(own).len(),
            below: workers.iter().map(|pid| targets(*pid, "fd").len()).sum(),
            mounts: workers
                .iter()
                .copied()
                .chain([own, supervisor])
                .map(mounts)
                .sum(),
            groups: groups_of(supervisor, "/sys/fs/cgroup".as_ref(), 4),
            volumes: starts::images(),
        }
    }

    /// Once it stays as it is.
    pub async fn comes() -> Rest {
        at_rest(Rest::now).await
    }

    /// Until it is the same again.
    pub async fn returns(self) {
        returns(self, Rest::now).await;
    }
}

/// Groups of a supervisor's sandboxes in `folder` and below it.
fn groups_of(supervisor: i32, folder: &Path, depth: u32) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let of = |folder: fs::DirEntry| {
        let name = folder.file_name().to_string_lossy().into_owned();
        let root = name.strip_prefix("freehold-");
        match root.map(|root| root.split('-').nth(1) == Some(&supervisor.to_string())) {
            Some(true) => count_folders(&folder.path().join("guests")),
            None if depth > 1 => groups_of(supervisor, &folder.path(), depth - 1),
            _ => 0,
        }
    };
    folders.map(of).sum()
}

fn count_folders(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.filter(is_folder).count()
}

async fn at_rest<T: Copy + PartialEq + Debug>(look: impl Fn() -> T) -> T {
    let until = Instant::now() + WITHIN;
    let (mut held, mut times) = (look(), 0);
    while times < 10 {
        assert!(Instant::now() < until, "{held:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = look();
        times = if now == held { times + 1 } else { 0 };
        held = now;
    }
    held
}

async fn returns<T: PartialEq + Debug>(before: T, look: impl Fn() -> T) {
    let until = Instant::now() + WITHIN;
    loop {
        // Once more after the end: the machine may have stalled since the last look.
        let is_last = Instant::now() > until;
        let now = look();
        if now == before {
            return;
        }
        assert!(!is_last, "{now:?}, before it was {before:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const WITHIN: Duration = Duration::from_secs(10);

/// What the links in a folder of a process lead to.
fn targets(pid: i32, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/{folder}"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect()
}
