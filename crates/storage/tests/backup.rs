//! A backup of a store in use, and the store that comes of it.

use bytes::Bytes;
use freehold_domain::{
    Principal, TenantId, Wall,
    audit::{Asker, AuditLine, AuditResult, AuditText},
    logs::{LineKind, LogGroupName, LogLine, LogStreamName},
    ports::{
        Audit, AuditQuery, BackupAsked, BackupError, BackupPiece, Backups, Blobs, Commit,
        CommitError, Expect, Fence, Ledger, LogQuery, LogStore, Op, Records,
    },
    record::Key,
};
use freehold_storage::{
    BackupDesk, BackupFault, BackupHead, BackupReader, Discard, FolderError, Offline, OpenOptions,
    SqliteStorage, restore,
};
use freehold_testkit::storage::suite::StillClock;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// A new process has the locks of this one until it executes its program: nobody opens a folder
/// again meanwhile.
static STARTS_PROCESSES: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    STARTS_PROCESSES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn clock() -> Arc<StillClock> {
    Arc::new(StillClock::at(Wall(1_000_000)))
}

fn open(dir: &Path) -> Arc<SqliteStorage> {
    let _alone = alone();
    let mut options = OpenOptions::new(dir, clock());
    options.segment_bytes = Some(8 << 10);
    SqliteStorage::open(options).expect("opens")
}

fn desk(store: &Arc<SqliteStorage>) -> BackupDesk {
    BackupDesk::new(store.clone(), clock(), "0.0.0", vec!["seal".to_owned()])
}

fn who() -> Principal {
    Principal::platform("backup")
}

fn owner() -> TenantId {
    "111111111111".parse().expect("12 digits")
}

fn key(n: usize) -> Key {
    Key::access_key(&format!("AKIA{n}"))
}

async fn put(store: &SqliteStorage, n: usize, bytes: usize) -> Result<(), CommitError> {
    let op = Op::Put {
        key: key(n),
        expect: Expect::Any,
        bytes: vec![n as u8; bytes],
    };
    store.commit(&who(), vec![op], Fence::None).await.map(drop)
}

fn stream(n: usize) -> LogStreamName {
    LogStreamName {
        group: LogGroupName {
            tenant: owner(),
            region: "us-east-1".parse().expect("a region"),
            group: "g".to_owned(),
        },
        stream: format!("s{n}"),
    }
}

fn log(store: &SqliteStorage, n: usize, text: &str) -> Result<(), CommitError> {
    let line = LogLine {
        at: Wall(1),
        kind: LineKind::Function,
        invocation: None,
        text: text.to_owned().into(),
        truncated: false,
    };
    LogStore::append(store, &stream(n), &[line])
}

async fn lines(store: &SqliteStorage, n: usize) -> usize {
    let query = LogQuery {
        from: None,
        until: None,
        position: None,
        backwards: false,
        limit: usize::MAX,
        bytes: usize::MAX,
    };
    let page = LogStore::read(store, &who(), &stream(n), query).await;
    page.expect("reads").lines.len()
}

fn audit(store: &SqliteStorage, n: usize) {
    let line = AuditLine {
        at: Wall(n as i64),
        request: None,
        tenant: Some(owner()),
        who: Asker::Nobody,
        proven: false,
        source: AuditText::new("192.0.2.1"),
        action: AuditText::new("lambda:Get"),
        resource: AuditText::new("f"),
        result: AuditResult::Denied,
        error: None,
        count: n as u64,
    };
    store.audit_append(&line).expect("appended");
}

async fn audited(store: &SqliteStorage) -> usize {
    let query = AuditQuery {
        limit: 100_000,
        ..AuditQuery::default()
    };
    store
        .audit_lines(&who(), query)
        .await
        .expect("reads")
        .lines
        .len()
}

async fn frames(store: &SqliteStorage, lane: u16) -> Vec<Bytes> {
    let (mut all, mut position) = (Vec::new(), 0);
    loop {
        let read = Ledger::read(store, lane, position, 10_000).await;
        let (found, after) = read.expect("reads");
        if found.is_empty() {
            return all;
        }
        all.extend(found);
        position = after;
    }
}

const ALL: BackupAsked = BackupAsked {
    logs: true,
    bytes_per_second: None,
};

/// Fetches a backup to its end.
async fn fetch(desk: &BackupDesk, id: &str) -> Result<Vec<u8>, BackupError> {
    let mut all = Vec::new();
    loop {
        match desk
            .backup_piece(&who(), id, Duration::from_secs(10))
            .await?
        {
            BackupPiece::Bytes(piece) => all.extend_from_slice(&piece),
            BackupPiece::Later => {}
            BackupPiece::End => return Ok(all),
        }
    }
}

async fn backup(desk: &BackupDesk, asked: BackupAsked) -> Result<Vec<u8>, BackupError> {
    let id = desk.backup_start(&who(), asked).await?;
    fetch(desk, &id).await
}

fn restored(stream: &[u8], dir: &Path) -> Arc<SqliteStorage> {
    fs::create_dir(dir).expect("made");
    restore(&mut &stream[..], dir).expect("restored");
    open(dir)
}

#[tokio::test]
async fn all_that_was_acknowledged_comes_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir.path().join("a"));
    let mut blobs = Vec::new();
    for n in 0..40 {
        put(&store, n, n * 300).await.expect("stored");
        Ledger::append(&*store, (n % 3) as u16, &vec![n as u8; 500]).expect("appended");
        audit(&store, n);
        log(&store, n % 5, &format!("line {n}")).expect("appended");
        let blob = Bytes::from(vec![n as u8; n * 20_000]);
        let digest = store
            .put(&who(), &owner(), blob.clone())
            .await
            .expect("stored");
        blobs.push((digest, blob));
    }
    let stream = backup(&desk(&store), ALL).await.expect("a backup");
    let other = restored(&stream, &dir.path().join("b"));
    for n in 0..40 {
        let get = |store: &Arc<SqliteStorage>| {
            let store = store.clone();
            async move { Records::get(&*store, &who(), &key(n)).await.expect("reads") }
        };
        assert_eq!(get(&other).await, get(&store).await);
    }
    for (digest, blob) in blobs {
        let found = Blobs::get(&*other, &who(), &owner(), digest).await;
        assert_eq!(found, Ok(Some(blob)));
    }
    assert_eq!(other.lanes().await, store.lanes().await);
    for lane in 0..3 {
        let found = frames(&other, lane).await;
        assert_eq!(found, frames(&store, lane).await);
        assert!(!found.is_empty());
    }
    assert_eq!(audited(&other).await, 40);
    for n in 0..5 {
        assert_eq!(lines(&other, n).await, 8);
    }
    // It goes on where it was: numbers are not given twice.
    put(&other, 0, 1).await.expect("stored");
    let (new, old) = (
        Records::get(&*other, &who(), &key(0)).await.expect("reads"),
        Records::get(&*store, &who(), &key(39))
            .await
            .expect("reads"),
    );
    assert!(new.expect("there").version > old.expect("there").version);
    assert!(!dir.path().join("a/backup").exists(), "the copies are gone");
}

#[tokio::test]
async fn logs_are_left_out_where_they_are_not_wanted() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir.path().join("a"));
    log(&store, 0, "a line").expect("appended");
    put(&store, 0, 10).await.expect("stored");
    let desk = desk(&store);
    let asked = BackupAsked { logs: false, ..ALL };
    let without = backup(&desk, asked).await.expect("a backup");
    let with = backup(&desk, ALL).await.expect("another");
    let summary =
        |stream: &[u8]| BackupReader::read_all(&mut &stream[..], &mut Discard).expect("whole");
    assert!(!summary(&without).head.logs && summary(&with).head.logs);
    assert_eq!(summary(&with).entries, summary(&without).entries + 1);
    assert_eq!(summary(&with).head.seals, ["seal"]);
    let other = restored(&without, &dir.path().join("b"));
    assert_eq!(lines(&other, 0).await, 0);
}

/// Writers of everything go on while one backup after the other is made. What was acknowledged when
/// a backup began is in it, in order, and what it has of the ledger is a prefix of all.
#[tokio::test]
async fn what_was_acknowledged_before_is_in_it_however_much_is_written_meanwhile() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir.path().join("a"));
    let stop = Arc::new(AtomicBool::new(false));
    let (put_n, appended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let writer = {
        let (store, stop, put_n) = (store.clone(), stop.clone(), put_n.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("a runtime").block_on(async {
                while !stop.load(SeqCst) {
                    let n = put_n.load(SeqCst);
                    put(&store, n, 2000).await.expect("stored");
                    let blob = Bytes::from(format!("blob {n}"));
                    store.put(&who(), &owner(), blob).await.expect("stored");
                    put_n.store(n + 1, SeqCst);
                }
            });
        })
    };
    let appender = {
        let (store, stop, appended) = (store.clone(), stop.clone(), appended.clone());
        std::thread::spawn(move || {
            while !stop.load(SeqCst) {
                let n = appended.load(SeqCst);
                Ledger::append(&*store, 0, format!("entry {n}").as_bytes()).expect("appended");
                log(&store, n % 50, "a line").expect("appended");
                appended.store(n + 1, SeqCst);
                std::thread::sleep(Duration::from_micros(100));
            }
        })
    };
    let desk = desk(&store);
    let (mut begun_puts, mut begun_appends) = (0, 0);
    for round in 0..6 {
        while put_n.load(SeqCst) < begun_puts + 20 || appended.load(SeqCst) < begun_appends + 200 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (begun_puts, begun_appends) = (put_n.load(SeqCst), appended.load(SeqCst));
        let stream = backup(&desk, ALL).await.expect("a backup");
        let other = restored(&stream, &dir.path().join(format!("b{round}")));
        for n in 0..begun_puts {
            let found = Records::get(&*other, &who(), &key(n)).await.expect("reads");
            assert!(found.is_some(), "record {n} of {begun_puts}");
        }
        let found = frames(&other, 0).await;
        assert!(
            found.len() >= begun_appends,
            "{} of {begun_appends}",
            found.len()
        );
        for (n, frame) in found.iter().enumerate() {
            assert_eq!(frame, format!("entry {n}").as_bytes());
        }
        let mut kept = 0;
        for n in 0..50 {
            kept += lines(&other, n).await;
        }
        assert!(kept >= begun_appends, "{kept} of {begun_appends}");
    }
    stop.store(true, SeqCst);
    writer.join().expect("ended");
    appender.join().expect("ended");
}

#[tokio::test]
async fn there_is_one_at_a_time_and_nobody_else_s() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir.path().join("a"));
    let blob = Bytes::from(vec![1; 8 << 20]);
    let digest = store.put(&who(), &owner(), blob).await.expect("stored");
    let desk = desk(&store).with_patience(Duration::from_secs(3));
    let first = desk.backup_start(&who(), ALL).await.expect("begun");
    assert_eq!(
        desk.backup_start(&who(), ALL).await,
        Err(BackupError::UnderWay)
    );
    let wait = Duration::from_secs(5);
    let piece = desk.backup_piece(&who(), &first, wait).await;
    assert!(matches!(piece, Ok(BackupPiece::Bytes(_))));
    // Packages stay while it is made.
    let removed = Blobs::remove(&*store, &who(), &owner(), digest).await;
    assert!(
        matches!(removed, Err(CommitError::Unavailable { .. })),
        "{removed:?}"
    );
    let tenant = Principal::Root {
        tenant: owner(),
        key: "AKIA".to_owned(),
    };
    let denied = desk.backup_piece(&tenant, &first, wait).await;
    assert_eq!(denied, Err(BackupError::Denied));
    let denied = desk.backup_stop(&tenant, &first).await;
    assert_eq!(denied, Err(BackupError::Denied));
    assert_eq!(
        desk.backup_start(&tenant, ALL).await,
        Err(BackupError::Denied)
    );
    // Whoever fetches nothing for too long has none any more, and the next may begin.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(fetch(&desk, &first).await, Err(BackupError::Unknown));
    let second = backup(&desk, ALL).await.expect("a backup");
    assert!(BackupReader::read_all(&mut &second[..], &mut Discard).is_ok());
    // So may it after one that was given up, and blobs may go again.
    let third = desk.backup_start(&who(), ALL).await.expect("begun");
    assert_ne!(first, third);
    desk.backup_stop(&who(), &third).await.expect("stopped");
    assert_eq!(fetch(&desk, &third).await, Err(BackupError::Unknown));
    let begun = Instant::now();
    while let Err(error) = Blobs::remove(&*store, &who(), &owner(), digest).await {
        assert!(begun.elapsed() < Duration::from_secs(5), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        fetch(&desk, "0123").await,
        Err(BackupError::Unknown),
        "of no backup"
    );
}

#[tokio::test]
async fn a_desk_that_goes_lets_go_of_the_store() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir.path().join("a"));
    let blob = Bytes::from(vec![1; 8 << 20]);
    store.put(&who(), &owner(), blob).await.expect("stored");
    let desk = desk(&store);
    let slow = BackupAsked {
        bytes_per_second: Some(1 << 20),
        ..ALL
    };
    let id = desk.backup_start(&who(), slow).await.expect("begun");
    let piece = desk.backup_piece(&who(), &id, Duration::from_secs(5)).await;
    assert!(matches!(piece, Ok(BackupPiece::Bytes(_))));
    let begun = Instant::now();
    drop(desk);
    assert!(begun.elapsed() < Duration::from_secs(3));
    drop(store);
    open(&dir.path().join("a"));
}

#[tokio::test]
async fn a_pace_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir.path().join("a"));
    let blob = Bytes::from(vec![1; 4 << 20]);
    store.put(&who(), &owner(), blob).await.expect("stored");
    let asked = BackupAsked {
        bytes_per_second: Some(4 << 20),
        ..ALL
    };
    let begun = Instant::now();
    backup(&desk(&store), asked).await.expect("a backup");
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn a_damaged_blob_is_in_it_as_it_is_and_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir.path().join("a"));
    let digest = store
        .put(&who(), &owner(), "blob".into())
        .await
        .expect("stored");
    let name = digest.to_string();
    let path = format!("blobs/{}/{}/{name}", owner(), &name[..2]);
    fs::write(dir.path().join("a").join(&path), "blub").expect("written");
    // What nobody of ours made is not in it.
    fs::write(dir.path().join("a/blobs/notes"), "x").expect("written");
    fs::create_dir_all(dir.path().join("a/logs/7")).expect("made");
    fs::write(dir.path().join("a/logs/7/1.log"), "x").expect("written");
    fs::write(dir.path().join("a/logs/7/007001.log"), "x").expect("written");
    let stream = backup(&desk(&store), ALL).await.expect("a backup");
    let summary = BackupReader::read_all(&mut &stream[..], &mut Discard).expect("whole");
    assert_eq!(summary.damaged, [path]);
    let other = restored(&stream, &dir.path().join("b"));
    let found = Blobs::get(&*other, &who(), &owner(), digest).await;
    assert!(found.expect_err("damaged").to_string().contains("damaged"));
}

fn head() -> BackupHead {
    BackupHead {
        format: 1,
        layout: 0,
        release: "0.0.0".to_owned(),
        at_ms: 0,
        logs: false,
        seals: Vec::new(),
    }
}

#[tokio::test]
async fn a_store_that_nobody_serves_is_backed_up_from_where_it_lies() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("a");
    let none = Offline::hold(&data).err().expect("none is there");
    assert!(matches!(none, FolderError::Damaged { .. }), "{none}");
    assert!(!data.exists(), "asking makes nothing");
    let store = open(&data);
    put(&store, 7, 100).await.expect("stored");
    Ledger::append(&*store, 3, b"entry").expect("appended");
    audit(&store, 1);
    let held = Offline::hold(&data).err().expect("held");
    assert!(matches!(held, FolderError::InUse { .. }), "{held}");
    drop(store);
    let mut stream = Vec::new();
    {
        let _alone = alone();
        let offline = Offline::hold(&data).expect("free");
        offline.backup(ALL, head(), &mut stream).expect("a backup");
    }
    let other = restored(&stream, &dir.path().join("b"));
    assert!(
        Records::get(&*other, &who(), &key(7))
            .await
            .expect("reads")
            .is_some()
    );
    assert_eq!(frames(&other, 3).await, ["entry"]);
    assert_eq!(audited(&other).await, 1);
    fs::write(data.join("format"), "7\n").expect("written");
    let newer = Offline::hold(&data).err().expect("newer");
    assert!(
        matches!(newer, FolderError::Newer { found: 7, .. }),
        "{newer}"
    );
}

#[tokio::test]
async fn what_a_crash_left_of_a_backup_goes_with_the_next_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("a");
    fs::create_dir_all(data.join("backup")).expect("made");
    fs::write(data.join("backup/meta.db"), "half").expect("written");
    let store = open(&data);
    assert!(!data.join("backup").exists());
    backup(&desk(&store), ALL).await.expect("a backup");
}

#[tokio::test]
async fn a_damaged_backup_makes_no_store() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir.path().join("a"));
    put(&store, 1, 100).await.expect("stored");
    let mut stream = backup(&desk(&store), ALL).await.expect("a backup");
    let middle = stream.len() / 2;
    stream[middle] ^= 1;
    let target = dir.path().join("b");
    fs::create_dir(&target).expect("made");
    let error = restore(&mut &stream[..], &target).expect_err("damaged");
    assert!(
        error.to_string().contains("is damaged at offset"),
        "{error}"
    );
    assert!(
        !target.join("format").exists(),
        "so no server takes it for whole"
    );
}

/// A small disk of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(dir: &Path, size: &str) -> Option<Self> {
        let _alone = alone();
        let done = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size}"),
                "freehold-test",
            ])
            .arg(dir)
            .output();
        let done = done.is_ok_and(|output| output.status.success());
        done.then(|| Self(dir.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _alone = alone();
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_disk_without_room_for_the_copies_or_the_restored_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(_disk) = SmallDisk::new(dir.path(), "24m") else {
        eprintln!("skipped: needs root to mount a small tmpfs; a full disk was not tried");
        return;
    };
    let store = open(&dir.path().join("a"));
    put(&store, 1, 100).await.expect("stored");
    let desk = desk(&store);
    let stream = backup(&desk, ALL).await.expect("there is room");
    let mut filler = File::create(dir.path().join("filler")).expect("made");
    filler.write_all(&vec![1; 8 << 20]).expect("written");
    let refused = backup(&desk, ALL).await.expect_err("no room");
    assert!(matches!(refused, BackupError::DiskFull { .. }), "{refused}");
    assert!(!dir.path().join("a/backup").exists());
    while filler.write_all(&[1; 4096]).is_ok() {}
    let target = dir.path().join("b");
    fs::create_dir(&target).expect("made");
    let error = restore(&mut &stream[..], &target).expect_err("no room");
    assert!(error.is_full_disk(), "{error:?}");
    fs::remove_dir_all(target).expect("removed");
    drop(filler);
    fs::remove_file(dir.path().join("filler")).expect("removed");
    backup(&desk, ALL).await.expect("there is room again");
}

#[test]
fn what_is_no_backup_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let error = restore(&mut &b"SQLite format 3\0"[..], dir.path()).expect_err("none");
    assert!(
        matches!(
            error,
            freehold_storage::RestoreError::Backup(BackupFault::NotOne)
        ),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 0);
}
