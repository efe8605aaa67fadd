//! What holds a parked sandbox, seen from outside by root: nothing runs in it that could look from inside.
//!
//! Of the standard library alone: `examples/escape.rs` has it too.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

const NAMESPACES: [&str; 6] = ["pid", "mnt", "net", "ipc", "uts", "cgroup"];
/// Lines of `status` that are the same in every one, with the step that sees to it.
const STATUS: [(&str, &str, &str); 9] = [
    ("SigBlk", "0000000000000000", "signals"),
    ("SigIgn", "0000000000000000", "signals"),
    ("CapInh", "0000000000000000", "capabilities"),
    ("CapPrm", "0000000000000000", "capabilities"),
    ("CapEff", "0000000000000000", "capabilities"),
    ("CapBnd", "0000000000000000", "bounding_set"),
    ("CapAmb", "0000000000000000", "capabilities"),
    ("NoNewPrivs", "1", "no_new_privileges"),
    ("Seccomp", "2", "filter"),
];
const LIMITS: [&str; 5] = [
    "Max core file size 1 1 bytes",
    "Max nice priority 0 0",
    "Max realtime priority 0 0",
    "Max msgqueue size 819200 819200 bytes",
    "Max pending signals 4096 4096 signals",
];
/// Where an instance may write, sooner or later.
const WRITABLE: [&str; 2] = ["/tmp", "/dev/shm"];
/// Filesystems of the host's that nobody inside has business with.
const HOSTS: [&str; 8] = [
    "sysfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "securityfs",
    "tracefs",
    "bpf",
    "devtmpfs",
];

fn children(parent: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn file(pid: i32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_default().trim()
}

/// Pids 1 and 2 of the sandboxes below a server in which nothing has been started, those that wait.
pub fn all_below(server: i32) -> Vec<(i32, i32)> {
    let spawners = children(server).into_iter().flat_map(children);
    let inits = spawners.flat_map(children).filter(|pid| {
        let name = file(*pid, "comm");
        !name.starts_with("fh-") && field(&file(*pid, "status"), "State").starts_with('S')
    });
    let both = inits.filter_map(|init| Some((init, *children(init).first()?)));
    both.filter(|(_, guest)| waits(*guest)).collect()
}

/// It sleeps, and has not woken in between: it is through with its steps, whichever they were.
fn waits(pid: i32) -> bool {
    let look = || {
        let status = file(pid, "status");
        let sleeps = field(&status, "State").starts_with('S');
        sleeps.then(|| field(&status, "voluntary_ctxt_switches").to_owned())
    };
    let before = look();
    std::thread::sleep(Duration::from_millis(30));
    before.is_some() && look() == before
}

/// What is not as it must be, with the step that should have seen to it.
pub fn faults(init: i32, guest: i32) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |step: &str, is_so: bool, seen: &str| {
        if !is_so {
            faults.push(format!("{step}: {seen}"));
        }
    };
    let status = file(guest, "status");
    for (name, wanted, step) in STATUS {
        let seen = field(&status, name);
        check(step, seen == wanted, &format!("{name} is {seen:?}"));
    }
    for (name, step) in [("Uid", "ids"), ("Gid", "ids")] {
        let ids: Vec<&str> = field(&status, name).split_whitespace().collect();
        let is_one = ids.len() == 4 && ids.iter().all(|id| *id == ids[0] && *id != "0");
        check(step, is_one, &format!("{name} is {ids:?}"));
    }
    let groups = field(&status, "Groups");
    check("groups", groups.is_empty(), groups);
    let limits: Vec<String> = file(guest, "limits")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for wanted in LIMITS {
        check(
            "resources",
            limits.iter().any(|line| line == wanted),
            wanted,
        );
    }
    let score = file(guest, "oom_score_adj");
    check("offer_to_oom_killer", score.trim() == "500", &score);
    let stat = file(guest, "stat");
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let own = guest.to_string();
    // Group, session and terminal.
    let alone = fields
        .get(2..5)
        .is_some_and(|f| f == [own.as_str(), own.as_str(), "0"]);
    check("session", alone, &stat);
    // The spawner has left some of the machine's itself.
    let above = file(init, "status");
    let spawner = field(&above, "PPid");
    for name in NAMESPACES {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap_or_default();
        let (inside, outside) = (of(&own), [of("self"), of(spawner)]);
        let apart = !outside.contains(&inside) && inside != PathBuf::new();
        check(&format!("namespace_{name}"), apart, "the host's");
    }
    let groups = file(guest, "cgroup");
    check("join_cgroups", groups.contains("/guests/"), &groups);
    mounts(guest, &mut check);
    network(guest, &mut check);
    descriptors(guest, &mut check);
    // Whoever may be dumped is its own uid's to look into.
    let owner = fs::metadata(format!("/proc/{guest}/status")).map(|m| m.uid());
    let closed = owner.as_ref().is_ok_and(|uid| *uid == 0);
    check("not_dumpable", closed, &format!("owned by {owner:?}"));
    let status = file(init, "status");
    for (name, wanted, _) in STATUS {
        let is_its_own = name.starts_with("Sig");
        let seen = field(&status, name);
        check(
            "pid 1",
            is_its_own || seen == wanted,
            &format!("{name} is {seen:?}"),
        );
    }
    faults
}

fn mounts(guest: i32, check: &mut impl FnMut(&str, bool, &str)) {
    let table = file(guest, "mountinfo");
    let mut seen = Vec::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let kind = line
            .split_once(" - ")
            .and_then(|(_, rest)| rest.split(' ').next());
        let (&[_, _, _, root, at, options, ..], Some(kind)) = (&words[..], kind) else {
            check("mount_proc", false, line);
            continue;
        };
        let writable = options.split(',').any(|option| option == "rw");
        check("pivot_root", !writable || WRITABLE.contains(&at), line);
        // Single harmless devices may be the host's.
        let hosts = HOSTS.contains(&kind) && !(kind == "devtmpfs" && root != "/");
        check("namespace_mount", !hosts, line);
        seen.push((at, kind, options));
    }
    let has = |at: &str, kind: &str, wanted: &str| {
        let mut all = seen.iter();
        all.any(|(a, k, options)| (*a, *k) == (at, kind) && options.starts_with(wanted))
    };
    check("mount_proc", has("/proc", "proc", ""), &table);
    check(
        "read_only_proc",
        has("/proc", "proc", "ro,nosuid,nodev,noexec"),
        &table,
    );
    check(
        "mount_shm",
        has("/dev/shm", "tmpfs", "rw,nosuid,nodev,noexec"),
        &table,
    );
    let (root, here) = (format!("/proc/{guest}/root/"), Path::new("/"));
    let of = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let apart = of(Path::new(&root)) != of(here);
    check("pivot_root", apart, "the host's root");
    // A runtime may lie below the others, /root and /home among them.
    for folder in ["sys/fs", "boot", "old", "roots"] {
        let path = format!("{root}{folder}");
        check("pivot_root", !Path::new(&path).exists(), &path);
    }
    let at = fs::read_link(format!("/proc/{guest}/cwd")).unwrap_or_default();
    check(
        "pivot_root",
        at == Path::new("/"),
        &format!("works in {}", at.display()),
    );
}

fn network(guest: i32, check: &mut impl FnMut(&str, bool, &str)) {
    let table = file(guest, "net/dev");
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .collect();
    let own = names.iter().all(|name| ["lo", "eth0"].contains(name));
    check("namespace_net", own && names.contains(&"lo"), &table);
    let addresses = file(guest, "net/fib_trie");
    check("loopback", addresses.contains("127.0.0.1"), "no 127.0.0.1");
    // State 0A: listens. Two for the instance, and one for what is led to the server.
    let sockets = file(guest, "net/tcp");
    let listening = sockets.lines().filter(|line| line.contains(" 0A ")).count();
    check("listeners", (2..=3).contains(&listening), &sockets);
}

fn descriptors(guest: i32, check: &mut impl FnMut(&str, bool, &str)) {
    let folder = fs::read_dir(format!("/proc/{guest}/fd"))
        .into_iter()
        .flatten();
    let mut all = Vec::new();
    for entry in folder.flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        let harmless = ["/dev/null", "pipe:", "socket:"];
        let is_known = harmless.iter().any(|kind| target.starts_with(kind));
        check("descriptors", is_known, &target);
        all.push(target);
    }
    // 0 to 2, the frames' socket and the control socket.
    let count = all.len();
    check("descriptors", (4..=5).contains(&count), &format!("{all:?}"));
}
