//! What was acknowledged survives `kill -9`, and what a crash leaves behind is read as a prefix.

use freehold_domain::{
    FunctionRef, InvocationId, Principal, Qualifier, QueueTime, TenantId, TraceHeader, Wall,
    logs::{LineKind, LogGroupName, LogLine, LogStreamName},
    ports::{Claim, Commit, EventQueue, Expect, Fence, Ledger, LogQuery, LogStore, Op, Records},
    record::{EventV1, Key, KeyPrefix, Kind},
};
use freehold_storage::{OpenOptions, SqliteStorage};
use freehold_testkit::storage::suite::StillClock;
use std::{
    fs::{self, OpenOptions as FileOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

const CHILD_DIR: &str = "FREEHOLD_TEST_CRASH_DIR";
const CHILD_START: &str = "FREEHOLD_TEST_CRASH_START";

fn open(dir: &Path) -> Arc<SqliteStorage> {
    let mut options = OpenOptions::new(dir, Arc::new(StillClock::at(Wall(5))));
    options.segment_bytes = Some(8 << 10);
    SqliteStorage::open(options).expect("opens after a crash")
}

fn who() -> Principal {
    Principal::platform("crash")
}

fn owner() -> TenantId {
    "111111111111".parse().expect("12 digits")
}

fn function(n: u64) -> FunctionRef {
    FunctionRef {
        tenant: owner(),
        region: "us-east-1".parse().expect("a region"),
        name: format!("f{n:08}").parse().expect("a name"),
    }
}

fn record(n: u64) -> Op {
    let FunctionRef {
        tenant,
        region,
        name,
    } = function(n);
    Op::Put {
        key: Key::function(&tenant, &region, &name),
        expect: Expect::Absent,
        bytes: vec![n as u8; (n as usize * 131) % 3000],
    }
}

fn id(n: u64) -> InvocationId {
    InvocationId(Uuid::from_u128(1 << 100 | u128::from(n)))
}

fn event(n: u64) -> Op {
    let event = EventV1 {
        id: id(n),
        function: function(n),
        qualifier: Qualifier::Latest,
        is_qualified: false,
        principal: who(),
        accepted: Wall(1),
        expires: QueueTime(i64::MAX),
        attempts: 0,
        attempts_max: 3,
        trace: TraceHeader::new_root(id(n).0),
        hops: 0,
        client_context: None,
    };
    Op::EventAdd {
        event: Box::new(event),
        due: QueueTime(1),
        body: vec![1; (n as usize * 97) % 2000].into(),
    }
}

fn stream() -> LogStreamName {
    LogStreamName {
        group: LogGroupName {
            tenant: owner(),
            region: "us-east-1".parse().expect("a region"),
            group: "g".to_owned(),
        },
        stream: "s".to_owned(),
    }
}

fn line(n: u64) -> LogLine {
    LogLine {
        at: Wall(n as i64),
        kind: LineKind::Function,
        invocation: Some(id(n)),
        text: format!("line {n}").into(),
        truncated: false,
    }
}

/// Writes the `n`th of everything.
async fn write(store: &SqliteStorage, n: u64) {
    let who = who();
    let record = store.commit(&who, vec![record(n)], Fence::None);
    let event = store.commit(&who, vec![event(n)], Fence::None);
    let (record, event) = tokio::join!(record, event);
    record.expect("a record");
    event.expect("an event");
    Ledger::append(store, 0, &n.to_le_bytes()).expect("a frame");
    LogStore::append(store, &stream(), &[line(n)]).expect("a line");
    write_own(store, n);
}

/// The streams that only the `n`th is written to, and once more after its close the third after.
fn own(n: u64) -> LogStreamName {
    LogStreamName {
        group: LogGroupName {
            group: "own".to_owned(),
            ..stream().group
        },
        stream: format!("{n:08}"),
    }
}

fn write_own(store: &SqliteStorage, n: u64) {
    for n in [Some(n), n.checked_sub(3)].into_iter().flatten() {
        LogStore::append(store, &own(n), &[line(n)]).expect("a line");
        LogStore::close(store, &own(n));
    }
}

/// Every stream of the first `last` has its lines, and is described as it reads.
async fn check_own(store: &SqliteStorage, last: u64) {
    let listed = store.streams(&who(), &own(0).group, "", None, usize::MAX);
    let listed = listed.await.expect("lists");
    assert!(listed.len() as u64 > last, "{last}: {}", listed.len());
    for (n, info) in (0..).zip(&listed) {
        assert_eq!(info.name, own(n).stream);
        let found = lines_of(store, &own(n)).await;
        assert_eq!(info.lines, found.len() as u64, "stream {n}");
        let least = 1 + u64::from(n + 3 <= last);
        assert!(n > last || info.lines >= least, "stream {n}: {info:?}");
        assert!(found.iter().all(|line| *line == n), "stream {n}");
    }
}

/// Not a test of its own: the process that [`what_was_acknowledged_survives_a_kill`] kills.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let start: u64 = std::env::var(CHILD_START)
        .expect("set")
        .parse()
        .expect("a number");
    let store = open(Path::new(&dir));
    for n in start.. {
        write(&store, n).await;
        let mut out = std::io::stdout();
        writeln!(out, "acknowledged {n}")
            .and_then(|()| out.flush())
            .expect("the parent reads");
    }
}

/// Starts the child at `start`, kills it after `count` acknowledgements; the last number heard.
fn run_and_kill(dir: &Path, start: u64, count: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_START, start.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let numbers = out.lines().map_while(Result::ok).filter_map(|text| {
        let number = text.split("acknowledged ").nth(1)?;
        number.trim().parse::<u64>().ok()
    });
    let mut numbers = numbers;
    let mut last = None;
    for number in numbers.by_ref() {
        last = Some(number);
        if number >= start + count {
            break;
        }
    }
    child.kill().expect("killed with SIGKILL");
    child.wait().expect("reaped");
    // What stood in the pipe was acknowledged as well.
    last = numbers.last().or(last);
    last.expect("the child acknowledged something")
}

async fn frames(store: &SqliteStorage) -> Vec<u64> {
    let (mut position, mut found) = (0, Vec::new());
    loop {
        let (page, after) = Ledger::read(store, 0, position, 1000).await.expect("reads");
        if page.is_empty() {
            return found;
        }
        position = after;
        let number = |frame: &bytes::Bytes| u64::from_le_bytes(frame[..].try_into().expect("8"));
        found.extend(page.iter().map(number));
    }
}

async fn lines(store: &SqliteStorage) -> Vec<u64> {
    lines_of(store, &stream()).await
}

async fn lines_of(store: &SqliteStorage, stream: &LogStreamName) -> Vec<u64> {
    let query = LogQuery {
        from: None,
        until: None,
        position: None,
        backwards: false,
        limit: usize::MAX,
        bytes: usize::MAX,
    };
    let page = LogStore::read(store, &who(), stream, query)
        .await
        .expect("reads");
    page.lines
        .iter()
        .map(|(_, _, line)| line.at.0 as u64)
        .collect()
}

async fn records(store: &SqliteStorage) -> u64 {
    let region = "us-east-1".parse().expect("a region");
    let prefix = KeyPrefix::kind(&owner(), &region, Kind::Function);
    let found = store
        .list(&who(), &prefix, None, usize::MAX)
        .await
        .expect("lists");
    for (n, stored) in (0..).zip(&found) {
        let Op::Put { key, bytes, .. } = record(n) else {
            panic!("a record is put");
        };
        assert_eq!(
            (&stored.key, &stored.bytes[..]),
            (&key, &bytes[..]),
            "a prefix, in order"
        );
    }
    found.len() as u64
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let mut next = 0;
    for count in [3, 1, 40, 17, 90] {
        let last = run_and_kill(dir.path(), next, count);
        let store = open(dir.path());
        next = runtime.block_on(async {
            let written = records(&store).await;
            assert!(
                written > last,
                "record {last} was acknowledged, {written} are there"
            );
            for n in 0..=last {
                let state = store.state(&who(), id(n)).await.expect("reads");
                assert!(state.is_some(), "event {n} was acknowledged");
            }
            let (frames, lines) = (frames(&store).await, lines(&store).await);
            for found in [&frames, &lines] {
                let expected = (0..found.len() as u64).collect::<Vec<_>>();
                assert_eq!(*found, expected, "in order, none twice");
                assert!(found.len() as u64 > last);
            }
            check_own(&store, last).await;
            // Bring all four to the same number, past whatever was written and not acknowledged.
            let counts = store.counts(&who()).await.expect("counts");
            let next = [
                written,
                counts.accepted,
                frames.len() as u64,
                lines.len() as u64,
            ];
            let next = *next.iter().max().expect("four of them");
            for n in written..next {
                store
                    .commit(&who(), vec![record(n)], Fence::None)
                    .await
                    .expect("a record");
            }
            for n in counts.accepted..next {
                store
                    .commit(&who(), vec![event(n)], Fence::None)
                    .await
                    .expect("an event");
            }
            for n in frames.len() as u64..next {
                Ledger::append(&*store, 0, &n.to_le_bytes()).expect("a frame");
            }
            for n in lines.len() as u64..next {
                LogStore::append(&*store, &stream(), &[line(n)]).expect("a line");
            }
            for n in last + 1..next {
                write_own(&store, n);
            }
            next
        });
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("typed").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn cut(file: &Path, random: &mut fastrand::Rng) {
    let len = fs::metadata(file).expect("is there").len();
    let file = FileOptions::new().write(true).open(file).expect("opens");
    file.set_len(random.u64(0..=len)).expect("cut");
}

#[test]
fn a_file_cut_anywhere_reads_as_a_prefix_and_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let crashed = dir.path().join("crashed");
    let last = run_and_kill(&crashed, 0, 60);
    let runtime = runtime();
    let newest = |folder: &Path| {
        let files = fs::read_dir(folder).expect("listed").flatten();
        let number = |path: &Path| -> Option<u64> { path.file_stem()?.to_str()?.parse().ok() };
        let files = files.map(|entry| entry.path());
        files.max_by_key(|path| number(path)).expect("a file")
    };
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let copied = dir.path().join(format!("cut-{seed}"));
        copy(&crashed, &copied);
        // The index of the log belongs to the process that died.
        for name in ["meta.db-shm", "queue.db-shm", "logs.db-shm"] {
            let _ = fs::remove_file(copied.join(name));
        }
        cut(&copied.join("meta.db-wal"), &mut random);
        cut(&copied.join("queue.db-wal"), &mut random);
        cut(&copied.join("logs.db-wal"), &mut random);
        cut(&newest(&copied.join("ledger/0")), &mut random);
        cut(&copied.join("logs/0/1.log"), &mut random);
        let store = open(&copied);
        runtime.block_on(async {
            let written = records(&store).await;
            assert!(written <= last + 2, "seed {seed}");
            store
                .commit(&who(), vec![record(written)], Fence::None)
                .await
                .expect("goes on");
            let accepted = store.counts(&who()).await.expect("counts").accepted;
            store
                .commit(&who(), vec![event(accepted)], Fence::None)
                .await
                .expect("goes on");
            let before = frames(&store).await;
            assert_eq!(
                before,
                (0..before.len() as u64).collect::<Vec<_>>(),
                "seed {seed}"
            );
            Ledger::append(&*store, 0, &(before.len() as u64).to_le_bytes()).expect("goes on");
            assert_eq!(frames(&store).await.len(), before.len() + 1, "seed {seed}");
            let before = lines(&store).await;
            assert_eq!(
                before,
                (0..before.len() as u64).collect::<Vec<_>>(),
                "seed {seed}"
            );
            LogStore::append(&*store, &stream(), &[line(before.len() as u64)]).expect("goes on");
            assert_eq!(lines(&store).await.len(), before.len() + 1, "seed {seed}");
        });
    }
}

#[tokio::test]
async fn an_attempt_that_a_crash_cuts_short_is_none_of_the_tries() {
    let dir = tempfile::tempdir().expect("a folder");
    let who = who();
    let store = open(dir.path());
    let added = store.commit(&who, vec![event(1)], Fence::None).await;
    added.expect("an event");
    drop(store);
    for round in 0..5 {
        let store = open(dir.path());
        let claim = Claim::new(QueueTime(10), Duration::from_secs(60), 10);
        let claimed = EventQueue::claim(&*store, &who, claim).await;
        let claimed = claimed.expect("a claim");
        assert_eq!(claimed.len(), 1, "round {round}");
        assert_eq!(claimed[0].event.attempts, 1, "round {round}");
    }
}
