//! A full disk, flipped bits, a second server: what each leads to.

use bytes::Bytes;
use freehold_domain::{
    Principal, TenantId, Wall,
    logs::{LineKind, LogGroupName, LogLine, LogStreamName},
    ports::{
        Blobs, Commit, CommitError, Expect, Fence, Ledger, LogQuery, LogStore, Op, ReadError,
        Records,
    },
    record::Key,
};
use freehold_storage::{OpenError, OpenOptions, SqliteStorage};
use freehold_testkit::storage::suite::StillClock;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A new process has the locks of this one until it executes its program: nobody opens a folder
/// again meanwhile.
static STARTS_PROCESSES: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    STARTS_PROCESSES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn open(dir: &Path) -> Arc<SqliteStorage> {
    let _alone = alone();
    let options = OpenOptions::new(dir, Arc::new(StillClock::default()));
    SqliteStorage::open(options).expect("opens")
}

fn who() -> Principal {
    Principal::platform("damage")
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

fn log(store: &SqliteStorage, bytes: usize) -> Result<(), CommitError> {
    let line = LogLine {
        at: Wall(1),
        kind: LineKind::Function,
        invocation: None,
        text: vec![b'x'; bytes].into(),
        truncated: false,
    };
    LogStore::append(store, &stream(), &[line])
}

async fn lines(store: &SqliteStorage) -> Result<usize, ReadError> {
    let query = LogQuery {
        from: None,
        until: None,
        position: None,
        backwards: false,
        limit: usize::MAX,
        bytes: usize::MAX,
    };
    let page = LogStore::read(store, &who(), &stream(), query).await;
    page.map(|page| page.lines.len())
}

/// A small disk of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(dir: &Path) -> Option<Self> {
        let _alone = alone();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "freehold-test"])
            .arg(dir)
            .output();
        let done = done.is_ok_and(|output| output.status.success());
        done.then(|| Self(dir.to_owned()))
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).expect("made");
        for size in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _alone = alone();
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_reads_on_and_recovers_by_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::new(dir.path()) else {
        eprintln!("skipped: needs root to mount a small tmpfs; a full disk was not tried");
        return;
    };
    let store = open(&dir.path().join("data"));
    let digest = store
        .put(&who(), &owner(), "blob".into())
        .await
        .expect("stored");
    Ledger::append(&*store, 0, b"first").expect("appended");
    log(&store, 10).expect("appended");
    let mut acknowledged = Vec::new();
    for n in 0..4 {
        put(&store, n, 100).await.expect("there is room");
        acknowledged.push(n);
    }
    let filler = disk.fill();
    let mut refused = Vec::new();
    for n in 4..40 {
        match put(&store, n, 60_000).await {
            Ok(()) => acknowledged.push(n),
            Err(CommitError::DiskFull) => refused.push(n),
            Err(error) => panic!("a full disk is said to be one: {error}"),
        }
    }
    assert!(
        refused.len() > 30,
        "the log has no room of its own: {refused:?}"
    );
    let blob = store.put(&who(), &owner(), vec![1; 100_000].into()).await;
    assert_eq!(blob, Err(CommitError::DiskFull));
    assert_eq!(
        Ledger::append(&*store, 0, &[2; 100_000]),
        Err(CommitError::DiskFull)
    );
    assert_eq!(log(&store, 100_000), Err(CommitError::DiskFull));
    assert_eq!(
        Blobs::get(&*store, &who(), &owner(), digest).await,
        Ok(Some("blob".into()))
    );
    for n in 0..40 {
        let found = Records::get(&*store, &who(), &key(n))
            .await
            .expect("reads go on");
        assert_eq!(found.is_some(), acknowledged.contains(&n), "record {n}");
    }
    assert_eq!(lines(&store).await, Ok(1));

    fs::remove_file(filler).expect("removed");
    put(&store, 50, 60_000)
        .await
        .expect("recovers without a restart");
    Ledger::append(&*store, 0, b"second").expect("recovers");
    log(&store, 10).expect("recovers");
    store
        .put(&who(), &owner(), vec![1; 1000].into())
        .await
        .expect("recovers");
    drop(store);
    let store = open(&dir.path().join("data"));
    for n in 0..40 {
        let found = Records::get(&*store, &who(), &key(n)).await.expect("reads");
        assert_eq!(
            found.is_some(),
            acknowledged.contains(&n),
            "record {n} after a restart"
        );
    }
    let (frames, _) = Ledger::read(&*store, 0, 0, 10).await.expect("reads");
    assert_eq!(
        frames,
        [Bytes::from("first"), "second".into()],
        "nothing torn between"
    );
    assert_eq!(lines(&store).await, Ok(2));
}

#[tokio::test]
async fn a_store_that_a_full_disk_keeps_closed_says_which_disk_and_what_is_missing() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::new(dir.path()) else {
        eprintln!("skipped: needs root to mount a small tmpfs; a full disk was not tried");
        return;
    };
    let data = dir.path().join("data");
    let store = open(&data);
    put(&store, 0, 100).await.expect("stored");
    log(&store, 10).expect("appended");
    drop(store);
    // Of connections that close at once none may find itself the last: then a log stays behind, which
    // is room that the store has.
    let has_log = || {
        let mut files = fs::read_dir(&data).expect("listed");
        files.any(|file| {
            file.expect("read")
                .path()
                .to_string_lossy()
                .ends_with("-wal")
        })
    };
    while has_log() {
        drop(open(&data));
    }
    let filler = disk.fill();
    let options = || OpenOptions::new(&data, Arc::new(StillClock::default()));
    let refused = {
        let _alone = alone();
        SqliteStorage::open(options()).err().expect("refused")
    };
    let text = refused.to_string();
    assert!(
        matches!(refused, OpenError::DiskFull { free_bytes: 0, .. }),
        "{text}"
    );
    assert!(text.contains("data/meta.db: 0 bytes of its disk"), "{text}");
    // What it says is enough is enough.
    let filled = File::options().write(true).open(&filler).expect("opens");
    let len = filled.metadata().expect("read").len();
    filled.set_len(len - (512 << 10)).expect("cut");
    let store = open(&data);
    assert!(
        Records::get(&*store, &who(), &key(0))
            .await
            .expect("reads")
            .is_some()
    );
    assert_eq!(lines(&store).await, Ok(1));
}

/// What is derived from the logs must not keep a server from starting.
#[tokio::test]
async fn an_index_of_the_logs_that_cannot_be_made_is_kept_in_memory() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    log(&store, 100).expect("appended");
    drop(store);
    let index = dir.path().join("logs.db");
    fs::remove_file(&index).expect("there is one");
    // Neither opened nor removed as a file.
    fs::create_dir_all(index.join("in the way")).expect("made");

    let store = open(dir.path());
    assert_eq!(lines(&store).await, Ok(1), "read from its file");
    log(&store, 100).expect("appended");
    let group = stream().group;
    let listed = LogStore::streams(&*store, &who(), &group, "", None, 10).await;
    assert_eq!(listed.expect("listed").len(), 1);
    drop(store);
    fs::remove_dir_all(&index).expect("removed");

    let store = open(dir.path());
    assert_eq!(lines(&store).await, Ok(2));
    assert!(index.is_file(), "it can be made again");
}

/// Flips a bit of the byte at `offset`.
fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[offset] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[tokio::test]
async fn a_flipped_bit_is_named_with_its_file_and_never_handed_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let digest = store
        .put(&who(), &owner(), "a package".into())
        .await
        .expect("stored");
    for frame in ["first", "second", "third"] {
        Ledger::append(&*store, 7, frame.as_bytes()).expect("appended");
    }
    for _ in 0..3 {
        log(&store, 50).expect("appended");
    }
    drop(store);
    let name = digest.to_string();
    let blob = format!("blobs/111111111111/{}/{name}", &name[..2]);
    flip(&dir.path().join(&blob), 3);
    // "first" takes 8 + 12 + 5 bytes; the flip is in the text of "second".
    flip(&dir.path().join("ledger/7/0.seg"), 8 + 12 + 5 + 12 + 2);
    let log_file = dir.path().join("logs/0/1.log");
    let middle = fs::metadata(&log_file).expect("there").len() as usize - 90;
    flip(&log_file, middle);

    let store = open(dir.path());
    let named = |error: ReadError, file: &str| {
        let text = error.to_string();
        assert!(text.contains(file) && text.contains("damaged"), "{text}");
    };
    let error = Blobs::get(&*store, &who(), &owner(), digest).await;
    named(error.expect_err("wrong bytes"), &name);
    let again = store.put(&who(), &owner(), "a package".into()).await;
    assert_eq!(again, Ok(digest), "storing it again repairs it");
    let read = Blobs::get(&*store, &who(), &owner(), digest).await;
    assert_eq!(read, Ok(Some("a package".into())));

    let (frames, after) = Ledger::read(&*store, 7, 0, 10)
        .await
        .expect("what is whole first");
    assert_eq!(frames, [Bytes::from("first")]);
    let error = Ledger::read(&*store, 7, after, 10).await;
    named(error.expect_err("damaged"), "ledger/7/0.seg");
    Ledger::append(&*store, 7, b"fourth").expect("the lane goes on in a new segment");
    let (frames, _) = Ledger::read(&*store, 7, 1 << 32, 10).await.expect("reads");
    assert_eq!(frames, [Bytes::from("fourth")]);

    assert_eq!(lines(&store).await, Ok(1), "what is whole first");
    let error = log(&store, 10).expect_err("nothing is appended behind damage");
    assert!(error.to_string().contains("logs/0/1.log"), "{error}");
}

#[test]
fn a_second_server_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().expect("a folder");
    let _held = open(dir.path());
    let options = OpenOptions::new(dir.path(), Arc::new(StillClock::default()));
    let error = SqliteStorage::open(options).err().expect("refused");
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");
}

#[test]
fn what_an_upload_left_behind_is_removed() {
    let dir = tempfile::tempdir().expect("a folder");
    let left = dir.path().join("blobs/temporary/7");
    fs::create_dir_all(left.parent().expect("has one")).expect("made");
    fs::write(&left, "half").expect("written");
    drop(open(dir.path()));
    assert!(!left.exists());
}
