//! What log reads cost others: nothing.

use freehold_domain::{
    Principal, TenantId, Wall,
    logs::{LineKind, LogGroupName, LogLine, LogStreamName},
    ports::{Blobs, LogQuery, LogStore},
};
use freehold_storage::{OpenOptions, SqliteStorage};
use freehold_testkit::storage::suite::StillClock;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

fn open(dir: &Path) -> Arc<SqliteStorage> {
    let options = OpenOptions::new(dir, Arc::new(StillClock::at(Wall(5))));
    SqliteStorage::open(options).expect("opens")
}

fn who() -> Principal {
    Principal::platform("test")
}

fn owner() -> TenantId {
    "111111111111".parse().expect("12 digits")
}

fn group() -> LogGroupName {
    LogGroupName {
        tenant: owner(),
        region: "us-east-1".parse().expect("a region"),
        group: "g".to_owned(),
    }
}

fn stream(n: usize) -> LogStreamName {
    LogStreamName {
        group: group(),
        stream: format!("s{n:04}"),
    }
}

/// A store of an earlier process with `streams` streams, opened again; their files in order.
fn with_streams(dir: &Path, streams: usize) -> (Arc<SqliteStorage>, Vec<PathBuf>) {
    let store = open(dir);
    for n in 0..streams {
        let line = LogLine {
            at: Wall(n as i64),
            kind: LineKind::Function,
            invocation: None,
            text: "a line".into(),
            truncated: false,
        };
        LogStore::append(&*store, &stream(n), &[line]).expect("appended");
    }
    drop(store);
    let files = (1..=streams).map(|n| dir.join(format!("logs/0/{n}.log")));
    (open(dir), files.collect())
}

/// Makes reads of a file wait until somebody writes to it.
fn hold_up(file: &Path) {
    fs::remove_file(file).expect("removed");
    // No `mkfifo` for it: a child would hold the locks of all stores until it is itself.
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, file, FileType::Fifo, mode, 0).expect("made");
}

/// While this is held, reads of the file wait for nobody.
fn let_go(file: &Path) -> File {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).open(file).expect("opens")
}

fn line_at(at: i64, text: String) -> LogLine {
    LogLine {
        at: Wall(at),
        kind: LineKind::Function,
        invocation: None,
        text: text.into(),
        truncated: false,
    }
}

const ALL: LogQuery = LogQuery {
    from: None,
    until: None,
    position: None,
    backwards: false,
    limit: 10,
    bytes: 1 << 20,
};

#[tokio::test]
async fn a_page_of_streams_reads_the_files_of_its_page_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let (store, files) = with_streams(dir.path(), 6);
    hold_up(&files[0]);
    hold_up(&files[4]);
    let page = |prefix: &'static str, after: Option<&'static str>, limit: usize| {
        let (store, who, group) = (store.clone(), who(), group());
        async move {
            let found = store.streams(&who, &group, prefix, after, limit).await;
            let found = found.expect("lists").into_iter();
            found.map(|one| one.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(
        page("", Some("s0000"), 3).await,
        ["s0001", "s0002", "s0003"]
    );
    assert_eq!(page("s0005", None, 100).await, ["s0005"]);
    assert_eq!(page("s0001", None, 100).await, ["s0001"]);
}

#[tokio::test]
async fn the_bytes_of_a_group_are_known_without_reading_its_lines() {
    let dir = tempfile::tempdir().expect("a folder");
    let (store, _) = with_streams(dir.path(), 3);
    let bytes = store.group_bytes(&who(), &group()).await.expect("sums");
    assert!(bytes > 3 * "a line".len() as u64, "{bytes}");
    for n in 0..3 {
        let page = LogStore::read(&*store, &who(), &stream(n), ALL).await;
        assert_eq!(page.expect("reads").lines.len(), 1);
    }
    let again = store.group_bytes(&who(), &group()).await;
    assert_eq!(again, Ok(bytes), "the same once they were read");
    drop(store);
    // Damage is found by reading; the sum reads nothing.
    let file = dir.path().join("logs/0/1.log");
    let mut damaged = fs::read(&file).expect("read");
    let end = damaged.len() - 10;
    damaged[end] ^= 1;
    fs::write(&file, damaged).expect("written");
    let store = open(dir.path());
    assert_eq!(store.group_bytes(&who(), &group()).await, Ok(bytes));
    let read = LogStore::read(&*store, &who(), &stream(0), ALL).await;
    read.expect_err("damaged");
}

#[tokio::test]
async fn reads_of_logs_keep_no_package_waiting() {
    let dir = tempfile::tempdir().expect("a folder");
    let (store, files) = with_streams(dir.path(), 8);
    let package = store.put(&who(), &owner(), "a package".into()).await;
    let package = package.expect("stored");
    for file in &files {
        hold_up(file);
    }
    let reads: Vec<_> = (0..8)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let _ = LogStore::read(&*store, &who(), &stream(n), ALL).await;
            })
        })
        .collect();
    // Every one of them is on its way, and none can end.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    let read = Blobs::get(&*store, &who(), &owner(), package).await;
    assert_eq!(read, Ok(Some("a package".into())));
    assert!(reads.iter().all(|read| !read.is_finished()));
    let _held: Vec<_> = files.iter().map(|file| let_go(file)).collect();
    for read in reads {
        read.await.expect("ends");
    }
}

#[tokio::test]
async fn a_read_by_time_begins_near_it_and_not_at_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let long = "x".repeat(1000);
    let lines: Vec<_> = (0..1000).map(|at| line_at(at, long.clone())).collect();
    for lines in lines.chunks(7) {
        LogStore::append(&*store, &stream(0), lines).expect("appended");
    }
    // Whoever reads the start of the file fails.
    let file = dir.path().join("logs/0/1.log");
    let mut damaged = fs::read(&file).expect("read");
    for byte in &mut damaged[2000..300_000] {
        *byte ^= 0xff;
    }
    fs::write(&file, damaged).expect("written");
    for backwards in [false, true] {
        let query = LogQuery {
            from: Some(Wall(700)),
            until: Some(Wall(705)),
            backwards,
            ..ALL
        };
        let page = LogStore::read(&*store, &who(), &stream(0), query).await;
        let page = page.expect("reads");
        let times: Vec<_> = page.lines.iter().map(|(_, _, line)| line.at.0).collect();
        assert_eq!((times, page.more), ((700..705).collect(), false));
    }
    let all = LogStore::read(&*store, &who(), &stream(0), ALL).await;
    assert!(all.is_err() || all.is_ok_and(|page| page.lines.len() < 3));
}

#[tokio::test]
async fn times_out_of_order_are_all_found() {
    let mut random = fastrand::Rng::with_seed(7);
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path());
    let mut times = Vec::new();
    for n in 0..1500 {
        // They rise, with jumps back and forth.
        let at = n * 10 + random.i64(-800..800);
        times.push(at);
        let text = "x".repeat(random.usize(0..800));
        LogStore::append(&*store, &stream(0), &[line_at(at, text)]).expect("appended");
    }
    for round in 0..60 {
        if round == 30 {
            // From here on the marks are those of a file that was read.
            drop(store);
            store = open(dir.path());
        }
        let from = random.i64(-1000..16_000);
        let until = from + random.i64(0..4000);
        let wanted = times
            .iter()
            .copied()
            .filter(|at| (from..until).contains(at));
        let wanted: Vec<_> = wanted.collect();
        for backwards in [false, true] {
            let (mut position, mut pages) = (None, Vec::new());
            loop {
                let query = LogQuery {
                    from: Some(Wall(from)),
                    until: Some(Wall(until)),
                    position,
                    backwards,
                    limit: 37,
                    ..ALL
                };
                let page = LogStore::read(&*store, &who(), &stream(0), query).await;
                let page = page.expect("reads");
                position = Some(if backwards { page.before } else { page.after });
                pages.push(
                    page.lines
                        .iter()
                        .map(|(_, _, l)| l.at.0)
                        .collect::<Vec<_>>(),
                );
                if !page.more {
                    break;
                }
            }
            if backwards {
                pages.reverse();
            }
            assert_eq!(
                pages.concat(),
                wanted,
                "round {round}, backwards {backwards}"
            );
        }
    }
}
