//! What `/proc` says of a process and of everything that it started.

use std::{collections::HashMap, fs};

/// `pid` and every living descendant of it.
pub fn tree(pid: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let parent = stat(pid).and_then(|(state, rest)| {
            (!matches!(state.as_str(), "Z" | "X")).then(|| rest[0].parse().ok())?
        });
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut todo) = (Vec::new(), vec![pid]);
    while let Some(pid) = todo.pop() {
        found.push(pid);
        todo.extend(children.remove(&pid).unwrap_or_default());
    }
    found
}

/// State, and the fields after it. The name before it may hold anything, so it is cut at the end.
fn stat(pid: i32) -> Option<(String, Vec<String>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = text.rsplit_once(") ")?;
    let mut fields = after.split(' ').map(str::to_owned);
    Some((fields.next()?, fields.collect()))
}

/// When a process began, in ticks since the boot; `None` once it has ended.
pub fn begun(pid: i32) -> Option<String> {
    let (state, rest) = stat(pid)?;
    // Field 22 of the line; the state is field 3.
    (!matches!(state.as_str(), "Z" | "X")).then(|| rest.get(18).cloned())?
}

/// Processor time of all threads of a process, nanoseconds.
pub fn cpu_ns(pid: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// How long the threads of a process could have run and had no core, nanoseconds; and how often they
/// were given one. `None` where the kernel does not count it.
pub fn waited(pid: i32) -> Option<Waited> {
    let mut waited = Waited::default();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
            continue;
        };
        let one = waits(&text)?;
        waited.ns += one.ns;
        waited.turns += one.turns;
    }
    Some(waited)
}

/// The same of the calling thread alone.
pub fn waited_here() -> Option<Waited> {
    waits(&fs::read_to_string("/proc/thread-self/schedstat").ok()?)
}

/// Of a line of `schedstat`: time on a core, time waited for one, turns.
fn waits(schedstat: &str) -> Option<Waited> {
    let mut fields = schedstat.split_whitespace().skip(1);
    Some(Waited {
        ns: fields.next()?.parse().ok()?,
        turns: fields.next()?.parse().ok()?,
    })
}

/// See [`waited`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Waited {
    /// For a core.
    pub ns: u64,
    /// On one.
    pub turns: u64,
}

impl Waited {
    /// Of all of these.
    pub fn of(pids: &[i32]) -> Self {
        let each = pids.iter().filter_map(|pid| waited(*pid));
        each.fold(Self::default(), |sum, one| Self {
            ns: sum.ns + one.ns,
            turns: sum.turns + one.turns,
        })
    }

    /// Since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            ns: self.ns.saturating_sub(before.ns),
            turns: self.turns.saturating_sub(before.turns),
        }
    }
}

/// A field of `/proc/PID/FILE` in KiB.
pub fn kib(pid: i32, file: &str, field: &str) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .find_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// Open descriptors.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The namespace of one kind, as the kernel names it.
pub fn namespace(pid: i32, kind: &str) -> Option<String> {
    Some(
        fs::read_link(format!("/proc/{pid}/ns/{kind}"))
            .ok()?
            .to_string_lossy()
            .into_owned(),
    )
}

/// The program's name.
pub fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Processor time of a server's tree, apart for the platform's processes and for those of
/// functions, which have a namespace of process ids of their own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Server, supervisor, spawners, keepers, ns.
    pub platform_ns: u64,
    /// Everything inside sandboxes, ns.
    pub functions_ns: u64,
}

impl Spent {
    /// Until now.
    pub fn of(pid: i32) -> Self {
        let (mut spent, own) = (Self::default(), namespace(pid, "pid"));
        for pid in tree(pid) {
            let ns = cpu_ns(pid);
            if namespace(pid, "pid") == own {
                spent.platform_ns += ns;
            } else {
                spent.functions_ns += ns;
            }
        }
        spent
    }

    /// Since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            platform_ns: self.platform_ns.saturating_sub(before.platform_ns),
            functions_ns: self.functions_ns.saturating_sub(before.functions_ns),
        }
    }
}

/// Whose processor time counts for a row.
#[derive(Debug, Clone, Copy)]
pub enum Payer {
    /// A server's processes, and apart from them those of its functions.
    Server(i32),
    /// A program with all that it started; none of it is a function's.
    Program(i32),
}

impl Payer {
    /// Until now.
    pub fn spent(self) -> Spent {
        match self {
            Self::Server(pid) => Spent::of(pid),
            Self::Program(pid) => Spent {
                platform_ns: tree(pid).into_iter().map(cpu_ns).sum(),
                functions_ns: 0,
            },
        }
    }
}
