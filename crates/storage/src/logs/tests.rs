//! What is in memory, what a start reads, and what a crash, a full disk or damage of the index
//! leave behind. What the seam promises is in the suite and in `tests/`.

use super::*;
use freehold_domain::{Wall, logs::LineKind};
use freehold_testkit::storage::suite::StillClock;
use std::{collections::BTreeSet, fs::OpenOptions, thread};
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

#[test]
fn memory_does_not_grow_with_streams_that_were_closed() {
    const CACHED: usize = 64 << 10;
    let dir = tempfile::tempdir().expect("a folder");
    let logs = open_with(dir.path(), CACHED);
    for n in 0..20_000 {
        log(&logs, &name("g", n), n as i64);
        if n % 1000 != 0 {
            logs.close(&name("g", n));
        }
    }
    logs.streams.write().expect("written");
    let bounded = |logs: &LogFiles| {
        let (held, cached) = logs.streams.held.count();
        assert!(cached <= CACHED, "{cached} bytes");
        // None takes less than that.
        let most = 20 + CACHED / size_of::<Stream>();
        assert!((20..most).contains(&held), "{held} streams");
    };
    bounded(&logs);
    check_closed(&logs, 20_000);
    let bytes = logs.group_bytes(&who(), &group("g")).expect("sums");
    for n in (0..20_000).step_by(7) {
        assert_eq!(lines(&logs, &name("g", n)), [n as i64]);
    }
    bounded(&logs);
    assert_eq!(logs.group_bytes(&who(), &group("g")), Ok(bytes));
    assert_eq!(bytes % 20_000, 0, "all are of one length: {bytes}");
}

#[test]
fn a_start_reads_no_file_that_the_index_knows() {
    let dir = with_closed(2500);
    for number in 1..=2500 {
        spoil(dir.path(), number);
    }
    let logs = open(dir.path());
    check_closed(&logs, 2500);
    log(&logs, &name("g", 2500), 2500);
    assert_eq!(files(dir.path()).last(), Some(&2501));
    drop(logs);
    check_closed(&open(dir.path()), 2501);
}

#[test]
fn an_index_that_cannot_be_believed_is_made_again_from_the_files() {
    let dir = with_closed(30);
    let index = |dir: &Path| dir.join("logs.db");
    let lock = |dir: &Path, text: &str| fs::write(dir.join("lock"), text).expect("written");
    type Harm<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Harm<'_>); 7] = [
        ("deleted", &|dir| {
            fs::remove_file(index(dir)).expect("removed");
        }),
        ("empty", &|dir| fs::write(index(dir), "").expect("written")),
        ("garbage", &|dir| {
            fs::write(index(dir), [0xa5; 9000]).expect("written");
        }),
        ("cut", &|dir| {
            let file = OpenOptions::new().write(true).open(index(dir));
            let file = file.expect("opens");
            let len = file.metadata().expect("read").len();
            file.set_len(len / 2 / 4096 * 4096).expect("cut");
        }),
        ("garbage behind the first page", &|dir| {
            let mut bytes = fs::read(index(dir)).expect("read");
            bytes[4096..].fill(0xa5);
            fs::write(index(dir), bytes).expect("written");
        }),
        ("not vouched for", &|dir| lock(dir, "4711\n")),
        ("another one's", &|dir| {
            lock(dir, &format!("{:<31}\n{:016x}\n", 4711, 12));
        }),
    ];
    for (case, harm) in cases {
        let dir = killed(dir.path());
        harm(dir.path());
        let logs = open(dir.path());
        check_closed(&logs, 30);
        drop(logs);
        for number in 1..=30 {
            spoil(dir.path(), number);
        }
        // And is believed from then on.
        let logs = open(dir.path());
        assert_eq!(list(&logs, "g").len(), 30, "{case}");
    }
}

#[test]
fn damage_inside_the_index_is_named_and_ends_with_the_next_start() {
    let dir = with_closed(300);
    let pages = fs::metadata(dir.path().join("logs.db"))
        .expect("there")
        .len()
        / 4096;
    let mut named = 0;
    for page in 1..pages {
        let dir = killed(dir.path());
        let index = dir.path().join("logs.db");
        let mut bytes = fs::read(&index).expect("read");
        bytes[page as usize * 4096..][..4096].fill(0xa5);
        fs::write(&index, bytes).expect("written");
        let logs = open(dir.path());
        let found = logs.streams(&who(), &group("g"), "", None, usize::MAX);
        let is_named = match found {
            Err(error) => {
                assert!(error.to_string().contains("logs.db"), "{error}");
                true
            }
            Ok(found) => {
                assert_eq!(found.len(), 300);
                false
            }
        };
        // Lines are taken all the same.
        log(&logs, &name("other", 0), 7);
        logs.close(&name("other", 0));
        drop(logs);
        if is_named {
            named += 1;
            let logs = open(dir.path());
            check_closed(&logs, 300);
            assert_eq!(lines(&logs, &name("other", 0)), [7]);
        }
    }
    assert!(named > 3, "of {pages} pages {named} were missed");
}

#[test]
fn what_a_kill_keeps_from_the_index_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let logs = open(dir.path());
    log(&logs, &name("g", 0), 0);
    logs.streams.write().expect("written");
    let alone = logs.streams.alone();
    // In the index as one that is open.
    log(&logs, &name("g", 0), 1);
    // Unknown to the index, open and closed.
    log(&logs, &name("g", 1), 2);
    log(&logs, &name("g", 2), 3);
    logs.close(&name("g", 2));
    let left = killed(dir.path());
    drop(alone);
    let after = open(left.path());
    let found: Vec<_> = list(&after, "g").iter().map(|info| info.lines).collect();
    assert_eq!(found, [2, 1, 1]);
    let bytes = after.group_bytes(&who(), &group("g"));
    assert_eq!(bytes, logs.group_bytes(&who(), &group("g")));
    log(&after, &name("g", 3), 4);
    assert_eq!(files(left.path()), BTreeSet::from([1, 2, 3, 4]));
}

#[test]
fn a_line_after_the_close_is_in_the_index_or_the_index_is_not_believed() {
    let dir = with_closed(3);
    let logs = open(dir.path());
    let alone = logs.streams.alone();
    log(&logs, &name("g", 1), 70);
    let at_once = killed(dir.path());
    drop(alone);
    logs.streams.write().expect("written");
    let while_open = killed(dir.path());
    logs.close(&name("g", 1));
    logs.streams.write().expect("written");
    let closed_again = killed(dir.path());
    for (left, is_believed) in [(at_once, false), (while_open, true), (closed_again, true)] {
        if is_believed {
            spoil(left.path(), 1);
        }
        let logs = open(left.path());
        let found: Vec<_> = list(&logs, "g").iter().map(|info| info.lines).collect();
        assert_eq!(found, [1, 2, 1]);
        assert_eq!(lines(&logs, &name("g", 1)), [1, 70]);
    }
}

#[test]
fn what_a_release_without_an_index_did_is_found() {
    let dir = with_closed(5);
    // It takes the folder, appends to a stream, removes the newest and takes its number again.
    fs::write(dir.path().join("lock"), "4711\n").expect("written");
    let file = |n| path(&dir.path().join("logs"), n);
    let mut longer = fs::read(file(1)).expect("read");
    line::push(&mut longer, &line(90), Wall(9));
    fs::write(file(1), longer).expect("written");
    fs::remove_file(file(5)).expect("removed");
    let mut other = header::encode(&name("h", 0), Wall(3)).expect("encoded");
    line::push(&mut other, &line(91), Wall(9));
    fs::write(file(5), other).expect("written");
    let logs = open(dir.path());
    let found: Vec<_> = list(&logs, "g").iter().map(|info| info.lines).collect();
    assert_eq!(found, [2, 1, 1, 1]);
    assert_eq!(lines(&logs, &name("g", 0)), [0, 90]);
    assert_eq!(lines(&logs, &name("h", 0)), [91]);
    assert!(lines(&logs, &name("g", 4)).is_empty());
}

#[test]
fn removal_is_finished_wherever_a_kill_cuts_it() {
    let dir = with_closed(4);
    let logs = open(dir.path());
    logs.streams.index.begin_removal(&[2, 3]).expect("begun");
    let noted = killed(dir.path());
    fs::remove_file(path(&dir.path().join("logs"), 2)).expect("removed");
    let half = killed(dir.path());
    for left in [noted, half] {
        let logs = open(left.path());
        let found: Vec<_> = list(&logs, "g").into_iter().map(|info| info.name).collect();
        assert_eq!(found, ["s00000", "s00003"]);
        assert_eq!(files(left.path()), BTreeSet::from([1, 4]));
    }
}

#[test]
fn a_group_goes_with_its_files_its_rows_and_empty_folders() {
    let dir = with_closed(1100);
    let logs = open_with(dir.path(), 0);
    log(&logs, &name("g", 9), 9);
    log(&logs, &name("h", 0), 1);
    logs.remove_group(&who(), &group("g")).expect("removed");
    assert!(list(&logs, "g").is_empty());
    assert_eq!(logs.group_bytes(&who(), &group("g")), Ok(0));
    assert!(lines(&logs, &name("g", 9)).is_empty());
    assert_eq!(files(dir.path()), BTreeSet::from([1101]));
    assert!(!dir.path().join("logs/0").exists());
    // A name that was removed is made anew.
    log(&logs, &name("g", 9), 10);
    logs.close(&name("g", 9));
    drop(logs);
    let logs = open(dir.path());
    assert_eq!(lines(&logs, &name("g", 9)), [10]);
    assert_eq!(files(dir.path()), BTreeSet::from([1101, 1102]));
}

#[test]
fn streams_expire_by_their_rows_and_unread_ones_by_their_lines() {
    let dir = with_closed(50);
    let logs = open_with(dir.path(), 0);
    // One that ended before goes on.
    log(&logs, &name("g", 3), 40);
    for number in 1..=10 {
        // Their rows are enough.
        if number != 4 {
            spoil(dir.path(), number);
        }
    }
    assert_eq!(logs.expire(&who(), &group("g"), Wall(10)), Ok(9));
    assert_eq!(list(&logs, "g").len(), 41);
    logs.close(&name("g", 3));
    drop(logs);
    fs::remove_file(dir.path().join("logs.db")).expect("removed");
    let logs = open_with(dir.path(), 0);
    assert_eq!(logs.expire(&who(), &group("g"), Wall(20)), Ok(10));
    assert_eq!(logs.expire(&who(), &group("g"), Wall(20)), Ok(0));
    // 20 to 49, and the one that went on.
    assert_eq!(list(&logs, "g").len(), 31);
    assert_eq!(files(dir.path()).len(), 31);
}

#[test]
fn an_index_that_cannot_be_written_costs_no_line() {
    let dir = with_closed(3);
    let logs = open(dir.path());
    logs.streams.index.refuse_writes(true);
    log(&logs, &name("g", 1), 80);
    log(&logs, &name("g", 3), 3);
    logs.close(&name("g", 3));
    log(&logs, &name("h", 0), 4);
    logs.streams.write().expect_err("refused");
    let check = |logs: &LogFiles| {
        let found: Vec<_> = list(logs, "g").iter().map(|info| info.lines).collect();
        assert_eq!(found, [1, 2, 1, 1]);
        assert_eq!(lines(logs, &name("h", 0)), [4]);
    };
    check(&logs);
    check(&open(killed(dir.path()).path()));
    // Files are removed all the same: they may be what fills the disk.
    let error = logs.remove_group(&who(), &group("g")).expect_err("said");
    assert!(error.to_string().contains("logs.db"), "{error}");
    assert_eq!(files(dir.path()), BTreeSet::from([5]));
    assert!(list(&open(killed(dir.path()).path()), "g").is_empty());
    logs.streams.index.refuse_writes(false);
    logs.streams.write().expect("written");
    assert!(list(&logs, "g").is_empty());
    let left = killed(dir.path());
    spoil(left.path(), 5);
    let logs = open(left.path());
    assert_eq!(
        logs.streams(&who(), &group("h"), "", None, 9)
            .map(|found| found.len()),
        Ok(1),
        "it is believed again"
    );
}

#[test]
fn lines_that_come_during_removals_are_in_streams_that_can_be_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let logs = open_with(dir.path(), 0);
    let write = |thread: usize| {
        for round in 0..1500 {
            let name = name("g", (round * 7 + thread) % 40);
            log(&logs, &name, round as i64);
            if round % 3 == 0 {
                logs.close(&name);
            }
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|thread| scope.spawn(move || write(thread)))
            .collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            logs.remove_group(&who(), &group("g")).expect("removed");
            logs.streams.write().expect("written");
        }
    });
    for n in 0..40 {
        let before = lines(&logs, &name("g", n)).len();
        log(&logs, &name("g", n), 5000);
        assert_eq!(lines(&logs, &name("g", n)).len(), before + 1);
    }
    assert_eq!(list(&logs, "g").len(), 40);
    assert_eq!(files(dir.path()).len(), 40, "no file without a stream");
    drop(logs);
    let logs = open(dir.path());
    assert_eq!(list(&logs, "g").len(), 40);
    assert_eq!(files(dir.path()).len(), 40);
}

#[test]
fn new_names_are_not_looked_up_and_known_ones_go_on_in_their_files() {
    let dir = with_closed(200);
    let logs = open_with(dir.path(), 0);
    logs.streams.learn_names();
    for n in 200..400 {
        assert!(!logs.streams.held.left().may_know(&name("g", n)), "{n}");
        log(&logs, &name("g", n), n as i64);
        logs.close(&name("g", n));
    }
    logs.streams.write().expect("written");
    assert_eq!(logs.streams.held.count().0, 0, "all have left");
    for n in 0..400 {
        assert!(logs.streams.held.left().may_know(&name("g", n)), "{n}");
        log(&logs, &name("g", n), 1000);
        assert_eq!(lines(&logs, &name("g", n)), [n as i64, 1000]);
    }
    assert_eq!(files(dir.path()).len(), 400);
}
