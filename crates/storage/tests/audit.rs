//! The audit trail's files: a torn tail, a damaged segment, a full disk.

use freehold_domain::{
    InvocationId, Principal, TenantId, Wall,
    audit::{Asker, AuditLine, AuditResult, AuditText},
    ports::{Audit, AuditPage, AuditQuery, AuditRetention, CommitError},
};
use freehold_storage::{OpenOptions, SqliteStorage};
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
    let mut options = OpenOptions::new(dir, Arc::new(StillClock::at(Wall(5))));
    options.audit_segment_bytes = Some(4 << 10);
    SqliteStorage::open(options).expect("opens")
}

fn line(n: usize) -> AuditLine {
    AuditLine {
        at: Wall(n as i64),
        request: None,
        tenant: None,
        who: Asker::Nobody,
        proven: false,
        source: AuditText::new("192.0.2.1"),
        action: AuditText::new("test:Thing"),
        resource: AuditText::new(&format!("{n} {}", "x".repeat(300))),
        result: AuditResult::Ok,
        error: None,
        count: 1,
    }
}

fn append(store: &SqliteStorage, lines: std::ops::Range<usize>) -> Vec<AuditLine> {
    let lines: Vec<_> = lines.map(line).collect();
    for line in &lines {
        store.audit_append(line).expect("appended");
    }
    lines
}

async fn read(store: &SqliteStorage) -> AuditPage {
    let query = AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    };
    let page = store.audit_lines(&Principal::platform("test"), query).await;
    page.expect("reads")
}

/// The files of one part, oldest first.
fn files(dir: &Path, part: &str) -> Vec<PathBuf> {
    let found = fs::read_dir(dir.join("audit").join(part)).expect("a folder");
    let mut found: Vec<PathBuf> = found.map(|one| one.expect("listed").path()).collect();
    let number = |path: &PathBuf| {
        let name = path.file_stem().and_then(|name| name.to_str());
        name.and_then(|name| name.parse::<u64>().ok())
    };
    found.sort_by_key(number);
    found
}

/// Those of [`line`].
fn segments(dir: &Path) -> Vec<PathBuf> {
    files(dir, "unproven")
}

fn tenant(n: usize) -> TenantId {
    format!("{n:012}").parse().expect("12 digits")
}

/// Line `n`, as one of account `n % accounts`.
fn line_among(n: usize, accounts: usize) -> AuditLine {
    AuditLine {
        tenant: Some(tenant(n % accounts)),
        proven: true,
        ..line(n)
    }
}

#[tokio::test]
async fn a_change_that_a_kill_cut_short_has_one_line_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let of = |n: u128| AuditLine {
        request: Some(InvocationId(uuid::Uuid::from_u128(n))),
        result: AuditResult::Unheard,
        ..line(n as usize)
    };
    let store = open(dir.path());
    for n in 0..4 {
        store.audit_begin(&of(n)).expect("noted");
    }
    // The first has ended; the second got its line and was killed before the note went; more lines
    // came after it, some in the next segment.
    store.audit_end(InvocationId(uuid::Uuid::from_u128(0)));
    let done = AuditLine {
        result: AuditResult::Ok,
        ..of(1)
    };
    store.audit_append(&done).expect("appended");
    append(&store, 10..18);
    // One whose note was being written had not begun.
    let torn = dir
        .path()
        .join("audit-under-way")
        .join(uuid::Uuid::from_u128(9).to_string());
    fs::write(&torn, b"{\"at\":").expect("written");
    drop(store);
    for _ in 0..2 {
        let store = open(dir.path());
        let page = read(&store).await;
        let mut found: Vec<_> = page
            .lines
            .into_iter()
            .filter(|one| one.request.is_some())
            .collect();
        found.sort_by_key(|line| line.at);
        assert_eq!(found, [done.clone(), of(2), of(3)]);
        let left = fs::read_dir(dir.path().join("audit-under-way")).expect("a folder");
        assert_eq!(left.count(), 0);
    }
}

#[tokio::test]
async fn an_unfinished_line_is_cut_off_and_the_trail_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let lines = append(&store, 0..3);
    drop(store);
    // What a kill in the middle of a write leaves: the beginning of a frame.
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).expect("reads");
    let torn = &whole[8..8 + 200];
    let mut file = File::options().append(true).open(&path).expect("opens");
    file.write_all(torn).expect("written");
    let store = open(dir.path());
    let more = append(&store, 3..5);
    let page = read(&store).await;
    assert_eq!(page.gaps, Vec::<String>::new());
    assert_eq!(page.lines[..3], lines);
    assert_eq!(page.lines[4..], more);
    let said = &page.lines[3];
    assert_eq!(said.action.as_str(), "freehold:RepairAudit");
    let text = said.resource.as_str();
    assert!(text.starts_with("200 bytes of an unfinished"), "{text}");
    drop(store);
    // Said once.
    assert_eq!(read(&open(dir.path())).await.lines.len(), 6);
}

#[tokio::test]
async fn a_damaged_segment_is_a_gap_with_a_name_and_what_follows_reads() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let lines = append(&store, 0..40);
    let first = fs::metadata(&segments(dir.path())[0]).expect("there").len();
    let path = segments(dir.path())[1].clone();
    let mut bytes = fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("written");
    let page = read(&store).await;
    assert_eq!(page.gaps.len(), 1, "{:?}", page.gaps);
    assert!(page.gaps[0].contains(".seg is damaged"), "{:?}", page.gaps);
    assert!(first > 4096 && page.lines.len() > 25 && page.lines.len() < 40);
    assert_eq!(page.lines.first(), lines.first());
    assert_eq!(page.lines.last(), lines.last());
    assert!(page.lines.is_sorted_by_key(|line| line.at));
    // A tail that is damaged is kept as it is; the trail goes on behind it and says so.
    let path = segments(dir.path()).pop().expect("segments");
    drop(store);
    let mut bytes = fs::read(&path).expect("reads");
    bytes[30] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let store = open(dir.path());
    let more = append(&store, 40..42);
    let page = read(&store).await;
    assert_eq!(fs::read(&path).expect("reads"), bytes);
    let [said, rest @ ..] = &page.lines[page.lines.len() - 3..] else {
        panic!("three lines");
    };
    assert_eq!(rest, more);
    assert!(said.resource.as_str().contains("is damaged at offset"));
    assert_eq!(page.gaps.len(), 2, "{:?}", page.gaps);
    // Of the first segment all is there, of the others all but what stands behind the damage.
    assert_eq!(page.lines[..10], lines[..10]);
    let second = fs::read(&segments(dir.path())[2]).expect("reads");
    let kept = lines.iter().filter(|line| {
        let name = line.resource.as_str().as_bytes();
        second.windows(name.len()).any(|found| found == name)
    });
    assert!(kept.clone().count() > 5);
    assert!(kept.clone().all(|line| page.lines.contains(line)));
}

#[tokio::test]
async fn quiet_trails_grow_old_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    append(&store, 0..3);
    let keep = |from| AuditRetention {
        from,
        fresh: Wall(100),
        bytes: u64::MAX,
        operator: None,
    };
    let trim = async |from| {
        let trimmed = store.audit_trim(&Principal::platform("test"), keep(from));
        trimmed.await.expect("trimmed").old_bytes
    };
    assert_eq!(trim(Wall(0)).await, 0, "it was written to just now");
    assert_eq!(read(&store).await.lines.len(), 3);
    // No line follows, so the file's own time tells: it was written now.
    assert_eq!(trim(Wall(1_000_000)).await, 0);
    assert!(trim(Wall(i64::MAX)).await > 0);
    assert_eq!(read(&store).await.lines, []);
    let more = append(&store, 3..4);
    assert_eq!(read(&store).await.lines, more);
}

#[tokio::test]
async fn one_line_of_a_wrong_clock_ends_no_search() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    const HOUR: usize = 3_600_000_000;
    let mut lines = append(&store, 0..20);
    append(&store, 9 * HOUR..9 * HOUR + 1);
    lines.extend(append(&store, 20..40));
    // Files in which nothing is early enough are not looked at.
    append(&store, 9 * HOUR..9 * HOUR + 40);
    let newest = segments(dir.path()).pop().expect("segments");
    fs::write(newest, b"no file of the trail").expect("written");
    let query = AuditQuery {
        until: Some(Wall(1000)),
        limit: 1000,
        ..AuditQuery::default()
    };
    let page = store.audit_lines(&Principal::platform("test"), query).await;
    let page = page.expect("reads");
    assert_eq!(page.lines, lines);
    assert!(!page.more);
    assert_eq!(page.gaps, Vec::<String>::new());
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
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _alone = alone();
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_takes_no_half_lines_and_the_trail_goes_on_behind_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(_disk) = SmallDisk::new(dir.path()) else {
        eprintln!("skipped: needs root to mount a small tmpfs; a full disk was not tried");
        return;
    };
    let data = dir.path().join("data");
    let store = open(&data);
    let mut lines = append(&store, 0..20);
    let filler = dir.path().join("filler");
    let mut file = File::create(&filler).expect("made");
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    let mut refused = 0;
    for n in 20..60 {
        match store.audit_append(&line(n)) {
            Ok(_) => lines.push(line(n)),
            Err(CommitError::DiskFull) => refused += 1,
            Err(error) => panic!("a full disk is said to be one: {error}"),
        }
    }
    assert!(refused > 20, "{refused}");
    assert_eq!(read(&store).await.lines, lines);
    drop(file);
    fs::remove_file(filler).expect("removed");
    lines.extend(append(&store, 60..80));
    drop(store);
    let page = read(&open(&data)).await;
    assert_eq!((page.lines, page.gaps), (lines, vec![]));
}

#[tokio::test]
async fn an_account_reads_its_own_files_and_no_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let lines: Vec<_> = (0..200).map(|n| line_among(n, 4)).collect();
    for one in &lines {
        store.audit_append(one).expect("appended");
    }
    append(&store, 0..20);
    for part in [&*tenant(0).to_string(), &tenant(2).to_string(), "unproven"] {
        for path in files(dir.path(), part) {
            fs::write(path, b"no file of the trail").expect("written");
        }
    }
    let query = |n| AuditQuery {
        tenant: Some(tenant(n)),
        limit: 1000,
        ..AuditQuery::default()
    };
    let page = async |n| {
        let who = Principal::platform("test");
        store.audit_lines(&who, query(n)).await.expect("reads")
    };
    let of_one = |line: &&AuditLine| line.tenant == Some(tenant(1));
    let expected: Vec<_> = lines.iter().filter(of_one).cloned().collect();
    let read = page(1).await;
    assert_eq!((read.lines, read.gaps), (expected, Vec::new()));
    assert!(page(0).await.gaps.len() > 3);
    let nobody = page(77).await;
    assert_eq!((nobody.lines, nobody.more), (Vec::new(), false));
}

/// Descriptors that this process has open.
fn descriptors() -> usize {
    let open = fs::read_dir("/proc/self/fd").expect("listed");
    open.count()
}

#[tokio::test]
async fn many_accounts_take_few_descriptors_and_keep_their_newest_lines() {
    const ACCOUNTS: usize = 3000;
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let before = descriptors();
    let lines: Vec<_> = (0..2 * ACCOUNTS).map(|n| line_among(n, ACCOUNTS)).collect();
    for one in &lines {
        store.audit_append(one).expect("appended");
    }
    // Other tests run beside this one.
    assert!(descriptors() < before + 300);
    let all = async |store: &SqliteStorage| {
        let (mut found, mut position) = (Vec::new(), 0);
        loop {
            let query = AuditQuery {
                limit: 2000,
                position,
                ..AuditQuery::default()
            };
            let page = store.audit_lines(&Principal::platform("test"), query).await;
            let page = page.expect("reads");
            assert_eq!(page.gaps, Vec::<String>::new());
            found.extend(page.lines);
            position = page.position;
            if !page.more {
                return found;
            }
        }
    };
    assert!(all(&store).await == lines, "all, in order");
    let keep = AuditRetention {
        from: Wall(0),
        fresh: Wall(0),
        bytes: 256 << 10,
        operator: None,
    };
    let trimmed = store.audit_trim(&Principal::platform("test"), keep).await;
    assert_eq!(
        trimmed.expect("trimmed").early_bytes,
        0,
        "each has one file"
    );
    drop(store);
    let store = open(dir.path());
    assert!(all(&store).await == lines, "of the next process too");
    let more = line_among(7, ACCOUNTS);
    store.audit_append(&more).expect("appended");
    let found = all(&store).await;
    assert_eq!(found.len(), lines.len() + 1);
    assert_eq!(found.last(), Some(&more), "numbers go on");
}
