//! Ten thousand calls by clients and functions that behave badly, and what is left of them.
//!
//! What is counted is taken from the machine, not from the platform: processes, cgroups, mounts
//! and network namespaces of the platform's processes, loop devices, descriptors, temporary files.
//! It is counted when no instance is left, after a first part that fills caches, and at the end.
//! Everything may run on any core, and no echo stands beside it: what is judged is what is left, and
//! no time.

use crate::{
    Failure,
    client::{Connection, Target},
    functions, processes,
    server::Server,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::task::LocalSet;

const CONFIG: &str = "[instances]\nidle_timeout = \"2s\"\n";
/// Callers at a time.
const CALLERS: usize = 12;
/// Log and ledger segments come and go; a leak of one per hundred calls shows far above this.
const DESCRIPTORS_SLACK: usize = 16;
/// More sandboxes are parked while starts are many; the pool shrinks over two periods of 10 s.
const STEADY: Duration = Duration::from_secs(25);
/// Longest wait for that.
const STEADY_LIMIT: Duration = Duration::from_secs(180);

/// What a call does, of a hundred.
const PLAN: [(&str, usize); 7] = [
    ("fine", 60),
    ("hangup", 12),
    ("slow", 10),
    ("crash", 6),
    ("exit", 4),
    ("fork", 4),
    ("timeout", 4),
];

/// Measures, prints, and fails when something is left.
pub async fn run(bin: &Path, smoke: bool, seed: Option<u64>) -> Result<(), Failure> {
    let calls = if smoke { 100 } else { 10_000 };
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("hang-ups, timeouts and crashes: {calls} calls by {CALLERS} callers, --seed {seed}");
    let server = Server::start(bin, CONFIG)?;
    let target = functions::deploy_soak(&server)?;
    let mut chosen = fastrand::Rng::with_seed(seed);
    let plan: Vec<&str> = (0..calls).map(|_| choose(&mut chosen)).collect();
    let (early, late) = plan.split_at(calls / 5);

    let begun = Instant::now();
    let mut answers = call(&target, early).await?;
    let before = Left::count(&server).await?;
    for (what, n) in call(&target, late).await? {
        *answers.entry(what).or_default() += n;
    }
    let took = begun.elapsed();
    let after = Left::count(&server).await?;

    println!(
        "{:.0} s, {:.0} calls per second\n",
        took.as_secs_f64(),
        calls as f64 / took.as_secs_f64()
    );
    for (what, n) in &answers {
        println!("  {what:<28} {n:>6}");
    }
    println!(
        "\n  {:<28} {:>8} {:>8}",
        "",
        format!("at {}", early.len()),
        format!("at {calls}")
    );
    let mut leaked = Vec::new();
    for ((name, before), (_, after)) in before.rows().into_iter().zip(after.rows()) {
        println!("  {name:<28} {before:>8} {after:>8}");
        let slack = if name == "open descriptors" {
            DESCRIPTORS_SLACK
        } else {
            0
        };
        if name != "server resident, KiB" && after > before + slack {
            leaked.push(name);
        }
    }
    // A starved machine lets a call that should be fine run into its timeout: the ledger knows.
    println!("\n  as the platform counts them");
    for (series, n) in server.metrics().await? {
        if series.starts_with("freehold_invocations_total{") && n > 0.0 {
            println!("  {series:<52} {n:>6}");
        }
    }
    let wrong: Vec<_> = answers
        .keys()
        .filter(|what| what.contains("unexpected"))
        .collect();
    server.stop()?;
    if !leaked.is_empty() || !wrong.is_empty() {
        return Err(format!("leaked: {leaked:?}; answers: {wrong:?}").into());
    }
    println!("\nnothing leaked");
    Ok(())
}

fn choose(chosen: &mut fastrand::Rng) -> &'static str {
    let all: usize = PLAN.iter().map(|(_, share)| share).sum();
    let mut at = chosen.usize(..all);
    for (kind, share) in PLAN {
        if at < share {
            return kind;
        }
        at -= share;
    }
    unreachable!("the shares were summed")
}

/// Makes the calls, [`CALLERS`] at a time, and counts what came of them.
async fn call(target: &Target, plan: &[&'static str]) -> Result<BTreeMap<String, usize>, Failure> {
    let plan: Rc<[&'static str]> = plan.into();
    let next = Rc::new(std::cell::Cell::new(0));
    let tasks = LocalSet::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (plan, next, target) = (plan.clone(), next.clone(), target.clone());
            tasks.spawn_local(async move {
                let mut answers: BTreeMap<String, usize> = BTreeMap::new();
                while let Some(kind) = plan.get(next.replace(next.get() + 1)) {
                    let what = one(&target, kind).await;
                    *answers.entry(what).or_default() += 1;
                }
                answers
            })
        })
        .collect();
    let mut sum = BTreeMap::new();
    tasks
        .run_until(async {
            for caller in callers {
                for (what, n) in caller.await? {
                    *sum.entry(what).or_default() += n;
                }
            }
            Ok::<_, Failure>(())
        })
        .await?;
    Ok(sum)
}

/// One call on a connection of its own.
async fn one(target: &Target, kind: &str) -> String {
    let target = Target {
        path: format!("/?kind={}", if kind == "hangup" { "slow" } else { kind }),
        ..target.clone()
    };
    let answer = async { Connection::open(&target).await?.get().await };
    if kind == "hangup" {
        // Anywhere between the request and the answer.
        let patience = Duration::from_micros(fastrand::u64(0..60_000));
        let _ = tokio::time::timeout(patience, answer).await;
        return "hangup".to_owned();
    }
    let expected = match kind {
        "fine" | "slow" | "fork" => 200,
        _ => 502,
    };
    match answer.await {
        Ok(answer) if answer.status == expected => format!("{kind}: {expected}"),
        Ok(answer) => format!("{kind}: unexpected {}", answer.status),
        Err(failure) => format!("{kind}: unexpected {failure}"),
    }
}

/// What the platform holds of the machine.
struct Left {
    processes: usize,
    descriptors: usize,
    cgroups: usize,
    mounts: usize,
    mount_namespaces: usize,
    network_namespaces: usize,
    loop_devices: usize,
    temporary_files: usize,
    resident_kib: usize,
}

impl Left {
    async fn count(server: &Server) -> Result<Self, Failure> {
        server.empty().await?;
        let tree = steady(server).await;
        let namespaces = |kind| {
            let all = tree
                .iter()
                .filter_map(|pid| processes::namespace(*pid, kind));
            all.collect::<BTreeSet<String>>().len()
        };
        // Each mount namespace is counted once, by one of the processes in it.
        let mut seen = BTreeSet::new();
        let mounts = tree
            .iter()
            .filter(|pid| processes::namespace(**pid, "mnt").is_some_and(|one| seen.insert(one)))
            .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok())
            .map(|text| text.lines().count())
            .sum();
        Ok(Self {
            processes: tree.len(),
            descriptors: tree.iter().map(|pid| processes::descriptors(*pid)).sum(),
            cgroups: tree
                .iter()
                .map(|pid| folders(Path::new("/sys/fs/cgroup"), &format!("-{pid}-"), false))
                .sum(),
            mounts,
            mount_namespaces: namespaces("mnt"),
            network_namespaces: namespaces("net"),
            loop_devices: loop_devices(&server.data()),
            temporary_files: temporary_files(server),
            resident_kib: processes::kib(server.pid(), "status", "VmRSS") as usize,
        })
    }

    fn rows(&self) -> [(&'static str, usize); 9] {
        [
            ("processes", self.processes),
            ("open descriptors", self.descriptors),
            ("cgroups", self.cgroups),
            ("mounts", self.mounts),
            ("mount namespaces", self.mount_namespaces),
            ("network namespaces", self.network_namespaces),
            ("loop devices", self.loop_devices),
            ("temporary files", self.temporary_files),
            ("server resident, KiB", self.resident_kib),
        ]
    }
}

/// Waits until the platform's processes are as many as they were for a while.
async fn steady(server: &Server) -> Vec<i32> {
    let begun = Instant::now();
    let (mut tree, mut since) = (processes::tree(server.pid()), begun);
    while since.elapsed() < STEADY && begun.elapsed() < STEADY_LIMIT {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = processes::tree(server.pid());
        if now.len() != tree.len() {
            since = Instant::now();
        }
        tree = now;
    }
    tree
}

/// Folders at or below one of ours whose name bears `mark`, the process that made it.
fn folders(root: &Path, mark: &str, inside: bool) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = inside || (name.starts_with("freehold-") && name.contains(mark));
            count += usize::from(ours) + folders(&entry.path(), mark, ours);
        }
    }
    count
}

fn loop_devices(data: &Path) -> usize {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .filter(|backing| backing.contains(&*data.to_string_lossy()))
        .count()
}

/// Files in the folder for temporary ones, and in the data folder outside of the store, which grows
/// by what was asked to be kept.
fn temporary_files(server: &Server) -> usize {
    let data = server.data();
    let parts = ["state", "packages", "run"].map(|part| data.join(part));
    parts.iter().map(|part| files(part)).sum::<usize>() + files(&server.temporary())
}

fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            _ => 1,
        })
        .sum()
}
