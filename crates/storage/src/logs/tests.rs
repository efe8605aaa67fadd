//! What is in memory, what a start reads, and what a crash, a full disk or damage of the index
//! leave behind. What the seam promises is in the suite and in `tests/`.

mod failing;
mod memory;
mod mending;
mod removal;
mod same_name;
mod start;
mod sums;
mod sweeping;

use super::*;
use freehold_domain::{
    Principal, Wall,
    logs::{LineKind, LogGroupName, LogLine, LogStreamName},
    ports::{CommitError, LogQuery, LogStreamInfo, ReadError},
};
use freehold_testkit::storage::suite::StillClock;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::Write,
    thread,
    time::Duration,
};
use tempfile::TempDir;

fn who() -> Principal {
    Principal::platform("test")
}

fn group(name: &str) -> LogGroupName {
    LogGroupName {
        tenant: "111111111111".parse().expect("12 digits"),
        region: "us-east-1".parse().expect("a region"),
        group: name.to_owned(),
    }
}

fn name(of: &str, n: usize) -> LogStreamName {
    LogStreamName {
        group: group(of),
        stream: format!("s{n:05}"),
    }
}

fn line(at: i64) -> LogLine {
    LogLine {
        at: Wall(at),
        kind: LineKind::Function,
        invocation: None,
        text: "a line".into(),
        truncated: false,
    }
}

/// Opens the files of a folder; closed streams take at most `cached` bytes.
fn open_with(dir: &Path, cached: usize) -> LogFiles {
    let mut lock = OpenOptions::new();
    let lock = lock.read(true).write(true).create(true).truncate(false);
    let lock = lock.open(dir.join("lock")).expect("opens");
    let options = LogOptions {
        dir: dir.join("logs"),
        index: dir.join("logs.db"),
        stamp: Stamp::of(&lock).expect("cloned"),
        clock: Arc::new(StillClock::at(Wall(5))),
        open_max: 16,
        readers: 2,
    };
    LogFiles::open_with(options, cached).expect("opens")
}

fn open(dir: &Path) -> LogFiles {
    open_with(dir, CACHED_BYTES_MAX)
}

/// What a kill at this moment leaves behind.
fn killed(dir: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("made");
        for entry in fs::read_dir(from).expect("listed") {
            let entry = entry.expect("listed");
            let to = to.join(entry.file_name());
            if entry.file_type().expect("typed").is_dir() {
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).expect("copied");
            }
        }
    }
    let left = tempfile::tempdir().expect("a folder");
    copy(dir, left.path());
    let _ = fs::remove_file(left.path().join("logs.db-shm"));
    left
}

fn log(logs: &LogFiles, name: &LogStreamName, at: i64) {
    logs.append(name, &[line(at)]).expect("appended");
}

fn list(logs: &LogFiles, of: &str) -> Vec<LogStreamInfo> {
    let found = logs.streams(&who(), &group(of), "", None, usize::MAX);
    found.expect("lists")
}

fn lines(logs: &LogFiles, name: &LogStreamName) -> Vec<i64> {
    let query = LogQuery {
        from: None,
        until: None,
        position: None,
        backwards: false,
        limit: 10_000,
        bytes: 1 << 20,
    };
    let page = logs.read(&who(), name, query).expect("reads");
    page.lines.iter().map(|(_, _, line)| line.at.0).collect()
}

/// Numbers of all files below a folder.
fn files(dir: &Path) -> BTreeSet<u64> {
    let folders = fs::read_dir(dir.join("logs")).expect("listed").flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("listed"));
    files
        .flatten()
        .filter_map(|file| file_number(&file.path()))
        .collect()
}

/// Puts garbage of the same length in place of a stream's file: whoever reads it is found out.
fn spoil(dir: &Path, number: u64) {
    let path = path(&dir.join("logs"), number);
    let len = fs::metadata(&path).expect("is there").len();
    fs::write(path, vec![0xa5; len as usize]).expect("written");
}

/// A folder in which `count` streams of the group "g" were closed, each with a line at its number.
fn with_closed(count: usize) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let logs = open(dir.path());
    for n in 0..count {
        log(&logs, &name("g", n), n as i64);
        logs.close(&name("g", n));
    }
    dir
}

fn check_closed(logs: &LogFiles, count: usize) {
    let found = list(logs, "g");
    assert_eq!(found.len(), count);
    for (n, info) in found.iter().enumerate() {
        assert_eq!(info.name, name("g", n).stream);
        assert_eq!((info.lines, info.bytes), (1, 6));
        assert_eq!((info.first, info.last), (Some(Wall(n as i64)), info.first));
    }
}

fn names(logs: &LogFiles, of: &str) -> Vec<String> {
    list(logs, of).into_iter().map(|info| info.name).collect()
}

fn bytes(logs: &LogFiles, of: &str) -> u64 {
    logs.group_bytes(&who(), &group(of)).expect("sums")
}

/// Waits for what the store does by itself.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came: {what}");
}

/// A disk of four megabytes, unmounted when dropped; declared in front of what is open on it.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where nobody may mount one, which is said.
    fn mounted(at: &'a Path) -> Option<Self> {
        // No `mount` for it: a child would hold the locks of other tests until it is itself.
        let mounted = mount(
            "freehold-test",
            at,
            "tmpfs",
            MountFlags::empty(),
            c"size=4m",
        );
        if mounted.is_err() {
            eprintln!("skipped: needs root to mount a small tmpfs; a full disk was not tried");
        }
        mounted.is_ok().then_some(Self(at))
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("made");
        for size in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).expect("removed");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}
