//! What runs inside: each word is one thing that a function may do, good or bad.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    process::{Command, ExitCode},
    time::Duration,
};

pub fn run(args: &[String]) -> ExitCode {
    let number = |place: usize| {
        args.get(place)
            .and_then(|a| a.parse::<usize>().ok())
            .unwrap_or(0)
    };
    match args.first().map(String::as_str).unwrap_or("") {
        "hello" => say("hello"),
        "exit" => return ExitCode::from(number(1) as u8),
        "facts" => facts(),
        "mount-namespace" => {
            say(&fs::read_link("/proc/self/ns/mnt")
                .unwrap_or_default()
                .to_string_lossy());
        }
        "walls" => walls(&args[1..]),
        "limits" => limits(),
        "heap" => heap(number(1)),
        "tmp" => fill_tmp(),
        "spin" => {
            say("spinning");
            loop {
                std::hint::spin_loop();
            }
        }
        "bomb" => bomb(),
        "daemons" => daemons(number(1)),
        "daemon" => {}
        "ids" => {
            ids();
            return ExitCode::SUCCESS;
        }
        "raise" => raise(),
        "call" => call(),
        "files" => many_files(),
        "echo" => echo(),
        other => say(&format!("unknown word {other}")),
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn facts() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let keys = [
        "Uid:",
        "Gid:",
        "Groups:",
        "CapPrm:",
        "CapBnd:",
        "NoNewPrivs:",
        "Seccomp:",
    ];
    for line in status
        .lines()
        .filter(|line| keys.iter().any(|key| line.starts_with(key)))
    {
        say(&line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let mut open: Vec<String> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    open.sort();
    // The last one is the folder that is being read.
    say(&format!("open {open:?}"));
    say(&format!(
        "cwd {}",
        std::env::current_dir().unwrap_or_default().display()
    ));
    say(&format!("pid {}", std::process::id()));
    say(&format!(
        "file {}",
        fs::read_to_string("/var/task/file")
            .unwrap_or_default()
            .trim()
    ));
    say(&format!(
        "write task {:?}",
        fs::write("/var/task/x", "").map_err(|e| e.raw_os_error())
    ));
    say(&format!(
        "write root {:?}",
        fs::write("/etc/x", "").map_err(|e| e.raw_os_error())
    ));
    say(&format!(
        "write tmp {:?}",
        fs::write("/tmp/x", "").map_err(|e| e.raw_os_error())
    ));
    let stdout = fs::OpenOptions::new().write(true).open("/dev/stdout");
    say(&format!(
        "open stdout {:?}",
        stdout.map(drop).map_err(|e| e.raw_os_error())
    ));
    let visible = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = visible
        .filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok())
        .count();
    say(&format!("processes {pids}"));
    for (name, value) in std::env::vars() {
        say(&format!("env {name}={value}"));
    }
    say("end");
}

/// Who it is, and what it may, in one line.
fn ids() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let keys = [
        "Uid:",
        "Gid:",
        "Groups:",
        "CapInh:",
        "CapPrm:",
        "CapEff:",
        "CapBnd:",
        "CapAmb:",
        "NoNewPrivs:",
        "Seccomp:",
    ];
    let of = status
        .lines()
        .filter(|l| keys.iter().any(|k| l.starts_with(k)));
    let words = of.flat_map(str::split_whitespace);
    say(&words.collect::<Vec<_>>().join(" "));
}

/// Executes programs that would make anybody root.
fn raise() {
    use std::os::unix::fs::MetadataExt;
    ids();
    for program in ["/setuid", "/capable"] {
        let facts =
            fs::metadata(program).map(|m| format!("{:o} of {}", m.mode() & 0o7777, m.uid()));
        let done = Command::new(program).args(["guest", "ids"]).output();
        let said = done.map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
        say(&format!("{program} {facts:?}"));
        say(said.unwrap_or_else(|error| format!("{error}")).trim_end());
    }
    say("end");
}

/// What a process inherits, and whether the files made for it can be read.
fn limits() {
    say(&fs::read_to_string("/proc/self/limits").unwrap_or_default());
    let passwd = fs::read("/run/passwd");
    say(&format!(
        "passwd {:?}",
        passwd.map(drop).map_err(|e| e.raw_os_error())
    ));
    say("end");
}

/// What the walls look like from inside, in words that are the same in every run.
/// `host`: the namespaces outside, as `/proc/self/ns` names them.
fn walls(host: &[String]) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|e| format!("{e}"));
    for name in ["pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let own = fs::read_link(format!("/proc/self/ns/{name}")).unwrap_or_default();
        let shared = host
            .iter()
            .any(|outside| own.to_string_lossy() == outside.as_str());
        say(&format!("namespace {name} shared: {shared}"));
    }
    let status = read("/proc/self/status");
    let keys = [
        "Groups:",
        "CapPrm:",
        "CapBnd:",
        "NoNewPrivs:",
        "Seccomp:",
        "SigIgn:",
        "SigBlk:",
    ];
    for line in status
        .lines()
        .filter(|line| keys.iter().any(|key| line.starts_with(key)))
    {
        say(line);
    }
    let root = status
        .lines()
        .any(|l| l.starts_with("Uid:\t0") || l.starts_with("Gid:\t0"));
    say(&format!("root: {root}"));
    for line in read("/proc/self/limits").lines().filter(|l| {
        ["core", "queue", "stack"]
            .iter()
            .any(|limit| l.contains(limit))
    }) {
        say(line);
    }
    say(&format!("oom {}", read("/proc/self/oom_score_adj").trim()));
    say(&format!(
        "host name {}",
        read("/proc/sys/kernel/hostname").trim()
    ));
    let session = read("/proc/self/stat").split(' ').nth(5).map(str::to_owned);
    say(&format!("session {session:?}"));
    let table = read("/proc/self/mountinfo");
    let mut mounts: Vec<String> = table
        .lines()
        .map(|line| {
            line.split(' ')
                .skip(4)
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    // Newer kernels list them in another order.
    mounts.sort();
    for mount in mounts {
        say(&format!("mount {mount}"));
    }
    say(&format!(
        "connect {:?}",
        TcpStream::connect("127.0.0.1:9001")
            .map(drop)
            .map_err(|e| e.kind())
    ));
    say("end");
}

fn heap(mib: usize) {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mib {
        all.push(vec![1u8; 1 << 20]);
    }
    say(&format!(
        "held {}",
        all.iter().map(Vec::len).sum::<usize>() >> 20
    ));
    // Held until it is killed.
    std::mem::forget(all);
}

fn fill_tmp() {
    let chunk = vec![7u8; 1 << 20];
    let mut file = fs::File::create("/tmp/big").expect("a file in /tmp");
    let mut written = 0usize;
    let error = loop {
        match file.write(&chunk) {
            Ok(len) => written += len,
            Err(error) => break error,
        }
    };
    say(&format!(
        "wrote {} MiB, then {}",
        written >> 20,
        error.raw_os_error().unwrap_or(0)
    ));
}

fn bomb() {
    say("bombing");
    loop {
        // Each child does the same; those that cannot fork any more keep trying.
        let _ = Command::new("/guest").args(["guest", "bomb"]).spawn();
    }
}

fn daemons(count: usize) {
    for _ in 0..count {
        let _ = Command::new("/guest").args(["guest", "daemon"]).spawn();
    }
    say("forked");
}

fn call() {
    let mut stream = TcpStream::connect("127.0.0.1:9001").expect("the runtime API answers");
    stream.write_all(b"from inside\n").expect("a write");
    say("called");
}

/// What comes in on the frames socket goes out on it.
fn echo() {
    let socket = fs::File::from(freehold_sandbox::sys::processes::arranged(3));
    say("echoes");
    let _ = std::io::copy(&mut &socket, &mut &socket);
}

fn many_files() {
    let mut held = Vec::new();
    let error = loop {
        match fs::File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => break error,
        }
    };
    say(&format!(
        "opened {}, then {}",
        held.len(),
        error.raw_os_error().unwrap_or(0)
    ));
}
