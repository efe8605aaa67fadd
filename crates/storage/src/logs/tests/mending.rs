//! An index that is damaged, taken away or cannot be made while it is in use.

use super::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{fs::File, os::unix::fs::FileExt};

/// Overwrites pages of the index under whoever has it open.
fn garble(dir: &Path, pages: impl Iterator<Item = u64>) {
    let file = OpenOptions::new().write(true).open(dir.join("logs.db"));
    let file = file.expect("opens");
    for page in pages {
        file.write_all_at(&[0xa5; 4096], page * 4096)
            .expect("written");
    }
}

fn pages(dir: &Path) -> u64 {
    let index = fs::metadata(dir.join("logs.db")).expect("there");
    index.len() / 4096
}

fn listed(logs: &LogFiles, of: &str) -> Result<Vec<LogStreamInfo>, ReadError> {
    logs.streams(&who(), &group(of), "", None, usize::MAX)
}

fn rebuilds(logs: &LogFiles) -> u64 {
    logs.index_stats().rebuilds
}

/// The index is as if it had been written from the start, and a crash leaves it believed.
fn check_vouched(logs: &LogFiles, dir: &Path, count: usize) {
    check_closed(logs, count);
    logs.streams.write().expect("written");
    let left = killed(dir);
    for number in files(left.path()) {
        spoil(left.path(), number);
    }
    assert_eq!(list(&open(left.path()), "g").len(), count, "it is believed");
}

/// A stream's file that does not open before this is dropped: whoever reads all heads waits.
struct Stuck(std::path::PathBuf);

impl Stuck {
    fn among(logs: &LogFiles, dir: &Path) -> Self {
        let number = logs.streams.making.next();
        log(logs, &name("stuck", 0), 0);
        logs.close(&name("stuck", 0));
        let file = path(&dir.join("logs"), number);
        fs::remove_file(&file).expect("removed");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &file, FileType::Fifo, mode, 0).expect("made");
        Self(file)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // Whoever waits opens it, and finds it empty once it is closed.
        let open = OpenOptions::new().read(true).write(true).open(&self.0);
        let _ = fs::remove_file(&self.0);
        drop(open);
    }
}

#[test]
fn every_damaged_page_is_mended_while_it_is_in_use() {
    let dir = with_closed(300);
    let mut met = 0;
    for page in 1..pages(dir.path()) {
        let dir = killed(dir.path());
        let logs = open(dir.path());
        garble(dir.path(), page..page + 1);
        match listed(&logs, "g") {
            Ok(found) => assert_eq!(found.len(), 300, "page {page}"),
            Err(ReadError::Unavailable { reason }) => {
                assert!(reason.contains("logs.db"), "{reason}");
                met += 1;
                // Lines are taken all the same, whatever becomes of the index.
                log(&logs, &name("other", 0), 7);
                wait_for("a list", || listed(&logs, "g").is_ok());
                assert_eq!(rebuilds(&logs), 1);
                check_closed(&logs, 300);
                assert_eq!(names(&logs, "other"), ["s00000"]);
            }
            Err(error) => panic!("page {page}: {error}"),
        }
        drop(logs);
        let logs = open(dir.path());
        wait_for("a list", || listed(&logs, "g").is_ok());
        check_closed(&logs, 300);
    }
    assert!(met > 3, "damage was met {met} times");
}

#[test]
fn damage_that_a_write_meets_is_mended_as_well() {
    let dir = with_closed(300);
    let logs = open(dir.path());
    garble(dir.path(), 1..pages(dir.path()));
    for n in 300..330 {
        log(&logs, &name("g", n), n as i64);
        logs.close(&name("g", n));
    }
    wait_for("a list", || {
        rebuilds(&logs) == 1 && listed(&logs, "g").is_ok()
    });
    check_vouched(&logs, dir.path(), 330);
}

#[test]
fn a_file_that_was_taken_away_or_replaced_is_made_again() {
    let dir = with_closed(20);
    let before = tempfile::tempdir().expect("a folder");
    let (index, copy) = (dir.path().join("logs.db"), before.path().join("logs.db"));
    fs::copy(&index, &copy).expect("copied");
    let logs = open(dir.path());
    log(&logs, &name("g", 20), 20);
    logs.close(&name("g", 20));
    logs.streams.write().expect("written");
    logs.streams.sweep(0);
    assert_eq!(rebuilds(&logs), 0, "nothing was done to it");
    fs::remove_file(&index).expect("removed");
    logs.streams.sweep(0);
    wait_for("a file", || rebuilds(&logs) == 1);
    assert!(index.is_file(), "another one");
    check_vouched(&logs, dir.path(), 21);
    // One of another day, which knows a stream less.
    fs::rename(&copy, &index).expect("renamed");
    logs.streams.sweep(0);
    // It is not made twice in a minute otherwise.
    logs.streams.backlog.mend_now();
    wait_for("a file", || rebuilds(&logs) == 2);
    check_vouched(&logs, dir.path(), 21);
}

#[test]
fn meanwhile_lines_are_taken_and_no_list_leaves_any_out() {
    let dir = with_closed(40);
    let logs = open_with(dir.path(), 0);
    logs.streams.learn_names();
    log(&logs, &name("h", 0), 1);
    log(&logs, &name("h", 1), 2);
    logs.streams.write().expect("written");
    let stuck = Stuck::among(&logs, dir.path());
    logs.streams.damaged(&"a test");
    let is_absent =
        |logs: &LogFiles| matches!(listed(logs, "g"), Err(ReadError::Unavailable { .. }));
    wait_for("an index that is withdrawn", || is_absent(&logs));
    // What is in memory answers, and goes on.
    assert_eq!(lines(&logs, &name("h", 0)), [1]);
    log(&logs, &name("h", 0), 3);
    // What is not may be there.
    let asked = LogQuery {
        from: None,
        until: None,
        position: None,
        backwards: false,
        limit: 1,
        bytes: 1,
    };
    let read = logs.read(&who(), &name("g", 7), asked);
    assert!(
        matches!(read, Err(ReadError::Unavailable { .. })),
        "{read:?}"
    );
    let sum = logs.group_bytes(&who(), &group("g"));
    assert!(matches!(sum, Err(ReadError::Unavailable { .. })), "{sum:?}");
    let expired = logs.expire(&who(), &group("g"), Wall(9));
    assert!(
        matches!(expired, Err(CommitError::Unavailable { .. })),
        "{expired:?}"
    );
    // Made and closed meanwhile.
    for n in 40..60 {
        log(&logs, &name("g", n), n as i64);
        logs.close(&name("g", n));
    }
    // Removed meanwhile, whether its head was read before or not.
    let removed = logs.remove(&group("h"), &[42]);
    removed.expect("removed");
    assert!(listed(&logs, "h").is_err(), "a list is refused");
    assert!(is_absent(&logs));
    drop(stuck);
    wait_for("a list", || listed(&logs, "g").is_ok());
    assert_eq!(names(&logs, "h"), ["s00000"]);
    assert_eq!(lines(&logs, &name("h", 0)), [1, 3]);
    check_closed(&logs, 60);
    logs.close(&name("h", 0));
    logs.streams.write().expect("written");
    let left = killed(dir.path());
    let again = open(left.path());
    check_closed(&again, 60);
    assert_eq!(lines(&again, &name("h", 0)), [1, 3]);
    assert_eq!(names(&again, "h"), ["s00000"]);
}

#[test]
fn a_store_is_closed_while_its_index_is_made_again() {
    let dir = with_closed(40);
    let logs = open(dir.path());
    let stuck = Stuck::among(&logs, dir.path());
    logs.streams.damaged(&"a test");
    wait_for("an index that is withdrawn", || listed(&logs, "g").is_err());
    log(&logs, &name("g", 40), 40);
    logs.streams.backlog.close();
    drop(stuck);
    drop(logs);
    check_closed(&open(dir.path()), 41);
}

/// Its turn has come, and it can be made.
fn on_disk_again(logs: &LogFiles) {
    wait_for("an index on disk", || {
        let streams = &logs.streams;
        let is_there = !streams.index.is_in_memory() && !streams.backlog.is_suspended();
        if !is_there {
            streams.backlog.mend_now();
        }
        is_there
    });
}

#[test]
fn an_index_that_cannot_be_made_where_it_belongs_is_in_memory_until_it_can() {
    let dir = with_closed(30);
    let index = dir.path().join("logs.db");
    let logs = open_with(dir.path(), 0);
    fs::remove_file(&index).expect("removed");
    // Neither opened nor removed as a file.
    fs::create_dir_all(index.join("in the way")).expect("made");
    logs.streams.sweep(0);
    wait_for("one in memory", || rebuilds(&logs) == 1);
    check_closed(&logs, 30);
    for n in 30..35 {
        log(&logs, &name("g", n), n as i64);
        logs.close(&name("g", n));
    }
    logs.streams.write().expect("written");
    check_closed(&logs, 35);
    // Tried again, in vain: it goes on.
    logs.streams.backlog.mend_now();
    log(&logs, &name("g", 35), 35);
    logs.close(&name("g", 35));
    check_closed(&logs, 36);
    fs::remove_dir_all(&index).expect("removed");
    on_disk_again(&logs);
    check_vouched(&logs, dir.path(), 36);
}

#[test]
fn a_full_disk_keeps_it_in_memory_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mounted(dir.path()) else {
        return;
    };
    let logs = open_with(dir.path(), 0);
    for n in 0..100 {
        log(&logs, &name("g", n), n as i64);
        logs.close(&name("g", n));
    }
    logs.streams.write().expect("written");
    // What the damaged one takes is not free once it is removed.
    let taken =
        ["logs.db", "logs.db-wal", "logs.db-shm"].map(|name| File::open(dir.path().join(name)));
    disk.fill();
    logs.streams.damaged(&"a test");
    wait_for("one in memory", || rebuilds(&logs) == 1);
    assert!(logs.streams.index.is_in_memory());
    check_closed(&logs, 100);
    drop(taken);
    disk.make_room();
    on_disk_again(&logs);
    check_vouched(&logs, dir.path(), 100);
    drop(logs);
}
