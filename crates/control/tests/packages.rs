//! Trees on disk: unpacked once, found again, collected only when nobody needs them; and the
//! throw-away child, which this test's own binary becomes when it is asked to.

mod support;

use freehold_control::{
    CodeChange, ControlError,
    archive::{
        ArchiveError, EntryRule, InProcessUnpacker, SubprocessUnpacker, UnpackError, UnpackLimits,
        Unpacked, Unpacker, child::CHILD_ARGUMENT, child_main,
    },
    packages::{DOORS_MAX, PackageParts, PackageStore},
};
use freehold_domain::{
    BoxFuture, Digest,
    limits::Limits,
    ports::{Blobs, PackageError, Packages},
};
use std::{
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use support::{Item, World, Zip, clock, world, zip_of};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(CHILD_ARGUMENT) {
        return child_main();
    }
    type Test = fn() -> BoxFuture<'static, ()>;
    let tests: [(&str, Test); 11] = [
        (
            "modules_of_the_libraries_names_are_found_at_the_top",
            || Box::pin(modules_of_the_libraries_names_are_found_at_the_top()),
        ),
        ("a_tree_is_unpacked_once_for_all_who_ask", || {
            Box::pin(a_tree_is_unpacked_once_for_all_who_ask())
        }),
        ("a_restart_finds_trees_and_removes_leftovers", || {
            Box::pin(a_restart_finds_trees_and_removes_leftovers())
        }),
        ("trees_of_another_boot_are_made_again", || {
            Box::pin(trees_of_another_boot_are_made_again())
        }),
        ("descriptors_of_trees_are_bounded", || {
            Box::pin(descriptors_of_trees_are_bounded())
        }),
        ("what_nobody_needs_is_collected", || {
            Box::pin(what_nobody_needs_is_collected())
        }),
        ("a_refused_archive_leaves_nothing", || {
            Box::pin(a_refused_archive_leaves_nothing())
        }),
        ("whoever_hangs_up_leaves_nothing", || {
            Box::pin(whoever_hangs_up_leaves_nothing())
        }),
        ("the_child_unpacks_and_reports", || {
            Box::pin(the_child_unpacks_and_reports())
        }),
        ("the_child_refuses_by_entry_and_rule", || {
            Box::pin(the_child_refuses_by_entry_and_rule())
        }),
        ("a_child_that_says_nothing_is_a_failure", || {
            Box::pin(a_child_that_says_nothing_is_a_failure())
        }),
    ];
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    for (name, test) in tests {
        if wanted.as_ref().is_none_or(|wanted| name.contains(wanted)) {
            println!("test {name}");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(test());
        }
    }
    println!("test result: ok.");
    ExitCode::SUCCESS
}

/// Counts, and takes its time.
struct Counting(AtomicU32);
impl Unpacker for Counting {
    fn unpack(
        &self,
        archive: OwnedFd,
        target: OwnedFd,
        limits: UnpackLimits,
    ) -> BoxFuture<'_, Result<Unpacked, UnpackError>> {
        Box::pin(async move {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            InProcessUnpacker.unpack(archive, target, limits).await
        })
    }
}

fn reopened(w: &World, unpacker: Arc<dyn Unpacker>) -> Arc<PackageStore> {
    PackageStore::open(PackageParts {
        dir: w.dir.path().join("packages"),
        storage: w.storage.clone(),
        unpacker,
        limits: Limits::default().into(),
        clock: w.clock.clone(),
    })
    .unwrap()
}

fn read_below(tree: &OwnedFd, name: &str) -> Vec<u8> {
    fs::read(format!("/proc/self/fd/{}/{name}", tree.as_raw_fd())).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn modules_of_the_libraries_names_are_found_at_the_top() {
    let w = world().await;
    let packages = reopened(&w, Arc::new(Counting(AtomicU32::new(0))));
    let holds = [
        ("six.py", true),
        ("boto3/__init__.py", true),
        ("urllib3/poolmanager.py", true),
        ("jmespath.cpython-313-x86_64-linux-gnu.so", true),
        ("app.py", false),
        ("sixth.py", false),
        ("vendored/six.py", false),
        ("boto3-1.40.0.dist-info/METADATA", false),
        ("my_boto3/__init__.py", false),
    ];
    for (name, expected) in holds {
        let zip = zip_of(&[("handler.py", b"1"), (name, name.as_bytes())]);
        // The second time, its tree is found.
        for _ in 0..2 {
            let admitted = packages.admit(&w.who, &w.place.tenant, zip.clone()).await;
            let package = admitted.unwrap().package().clone();
            assert_eq!(package.holds_libraries, expected, "{name}");
        }
    }
}

async fn a_tree_is_unpacked_once_for_all_who_ask() {
    let w = world().await;
    let counting = Arc::new(Counting(AtomicU32::new(0)));
    let packages = reopened(&w, counting.clone());
    let zip = zip_of(&[("app.py", b"one")]);
    let tenant = w.place.tenant.clone();
    let (a, b) = tokio::join!(
        packages.admit(&w.who, &tenant, zip.clone()),
        packages.admit(&w.who, &tenant, zip.clone()),
    );
    let package = a.unwrap().package().clone();
    assert_eq!(&package, b.unwrap().package());
    assert_eq!(package.unpacked_bytes, 3);
    let (a, b) = tokio::join!(
        Packages::open(&*packages, &tenant, package.digest),
        Packages::open(&*packages, &tenant, package.digest),
    );
    assert!(Arc::ptr_eq(&a.unwrap(), &b.unwrap()));
    assert_eq!(counting.0.load(Ordering::SeqCst), 1);
    let missing = Digest([7; 32]);
    let found = Packages::open(&*packages, &tenant, missing).await;
    assert_eq!(
        found.unwrap_err(),
        PackageError::Missing { digest: missing }
    );
}

async fn a_restart_finds_trees_and_removes_leftovers() {
    let w = world().await;
    let made = w.create("f").await.unwrap();
    let digest = made.spec.package.digest;
    let tenant = w.dir.path().join("packages").join(w.place.tenant.as_str());
    fs::create_dir_all(tenant.join(format!("{digest}.tmp-4")).join("tree/x")).unwrap();
    fs::create_dir_all(tenant.join(format!("{digest}.gone-0"))).unwrap();
    let counting = Arc::new(Counting(AtomicU32::new(0)));
    let packages = reopened(&w, counting.clone());
    assert_eq!(names(&tenant), [digest.to_string()]);
    let tree = Packages::open(&*packages, &w.place.tenant, digest)
        .await
        .unwrap();
    assert_eq!(
        read_below(&tree, "app.py"),
        b"def handler(e, c): return e\n"
    );
    assert_eq!(counting.0.load(Ordering::SeqCst), 0);
    let mode = fs::metadata(w.dir.path().join("packages")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o700);
}

async fn trees_of_another_boot_are_made_again() {
    let w = world().await;
    let made = w.create("f").await.unwrap();
    let digest = made.spec.package.digest;
    let dir = w.dir.path().join("packages");
    fs::write(dir.join("boot"), "another").unwrap();
    let counting = Arc::new(Counting(AtomicU32::new(0)));
    let packages = reopened(&w, counting.clone());
    let tree = Packages::open(&*packages, &w.place.tenant, digest)
        .await
        .unwrap();
    assert_eq!(
        read_below(&tree, "app.py"),
        b"def handler(e, c): return e\n"
    );
    assert_eq!(counting.0.load(Ordering::SeqCst), 1);
}

/// Descriptors of this process on something below `dir`.
fn open_below(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let targets = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(dir)).count()
}

async fn descriptors_of_trees_are_bounded() {
    let w = world().await;
    let packages = reopened(&w, Arc::new(InProcessUnpacker));
    let (tenant, dir) = (w.place.tenant.clone(), w.dir.path().join("packages"));
    let (mut digests, mut held) = (Vec::new(), None);
    for number in 0..DOORS_MAX + 100 {
        let zip = zip_of(&[("app.py", number.to_string().as_bytes())]);
        let admitted = packages.admit(&w.who, &tenant, zip).await.unwrap();
        digests.push(admitted.package().digest);
        if held.is_none() {
            held = Some(
                Packages::open(&*packages, &tenant, digests[0])
                    .await
                    .unwrap(),
            );
        }
        assert!(open_below(&dir) <= DOORS_MAX, "{number}");
    }
    // The longest unused was closed, and is gone from the disk meanwhile.
    let folder = dir.join(tenant.as_str()).join(digests[1].to_string());
    fs::remove_dir_all(folder).unwrap();
    let first = Packages::open(&*packages, &tenant, digests[0])
        .await
        .unwrap();
    assert!(
        Arc::ptr_eq(&first, &held.unwrap()),
        "closed while it was held"
    );
    for (number, digest) in digests.iter().enumerate() {
        let tree = Packages::open(&*packages, &tenant, *digest).await.unwrap();
        assert_eq!(read_below(&tree, "app.py"), number.to_string().as_bytes());
        assert!(open_below(&dir) <= DOORS_MAX, "{number}");
    }
}

async fn what_nobody_needs_is_collected() {
    let w = world().await;
    let of = w.ready("f").await;
    let first = w.control.function_get(&w.who, &of, None).await.unwrap();
    let first = first.spec.package.digest;
    let packages = &w.packages;
    let tenant = &w.place.tenant;
    let held = Packages::open(&**packages, tenant, first).await.unwrap();
    assert_eq!(packages.collect().await.unwrap(), 0);
    let change = CodeChange {
        zip: zip_of(&[("app.py", b"new")]),
        ..Default::default()
    };
    w.control
        .function_update_code(&w.who, &of, change)
        .await
        .unwrap();
    // Still served, then still held by an instance.
    assert_eq!(packages.collect().await.unwrap(), 0);
    w.reconcile(&of).await;
    assert_eq!(packages.collect().await.unwrap(), 0);
    assert!(!read_below(&held, "app.py").is_empty());
    // Being admitted, without a record yet.
    let zip = zip_of(&[("app.py", b"admitted")]);
    let admitted = packages.admit(&w.who, tenant, zip).await.unwrap();
    // Let go of, but a function may run for as long as its timeout.
    drop(held);
    let later = |seconds: u64| {
        let nanos = seconds * 1_000_000_000;
        w.clock.mono.fetch_add(nanos, Ordering::Relaxed);
    };
    later(900);
    assert_eq!(packages.collect().await.unwrap(), 0);
    later(60);
    assert_eq!(packages.collect().await.unwrap(), 1);
    let blob = Blobs::get(&*w.storage, &w.who, tenant, first).await;
    assert_eq!(blob.unwrap(), None);
    let gone = Packages::open(&**packages, tenant, first).await;
    assert_eq!(gone.unwrap_err(), PackageError::Missing { digest: first });
    let digest = admitted.package().digest;
    assert!(Packages::open(&**packages, tenant, digest).await.is_ok());
    later(3600);
    assert_eq!(packages.collect().await.unwrap(), 0);
    drop(admitted);
    assert_eq!(packages.collect().await.unwrap(), 1);
    w.control.function_delete(&w.who, &of).await.unwrap();
    // Nothing runs what a restarted server has not opened.
    let packages = reopened(&w, Arc::new(Counting(AtomicU32::new(0))));
    assert_eq!(packages.collect().await.unwrap(), 1);
    assert_eq!(
        names(&w.dir.path().join("packages").join(tenant.as_str())),
        Vec::<String>::new()
    );
}

async fn a_refused_archive_leaves_nothing() {
    let w = world().await;
    let zip = zip_of(&[("good", b"x"), ("../bad", b"x")]);
    let found = w.packages.admit(&w.who, &w.place.tenant, zip).await;
    assert!(matches!(found.err(), Some(ControlError::BadArchive { .. })));
    let mut late = Zip::default();
    late.add(Item::file(b"good", b"x"));
    late.add(Item {
        crc: 1,
        ..Item::file(b"late", b"x")
    });
    let zip = late.finish().into();
    let found = w.packages.admit(&w.who, &w.place.tenant, zip).await;
    assert!(matches!(found.err(), Some(ControlError::BadArchive { .. })));
    let tenant = w.dir.path().join("packages").join(w.place.tenant.as_str());
    assert_eq!(names(&tenant), Vec::<String>::new());
}

/// Unpacks a file, says so, and never ends.
struct Stuck(tokio::sync::Notify);
impl Unpacker for Stuck {
    fn unpack(
        &self,
        archive: OwnedFd,
        target: OwnedFd,
        limits: UnpackLimits,
    ) -> BoxFuture<'_, Result<Unpacked, UnpackError>> {
        Box::pin(async move {
            let done = InProcessUnpacker.unpack(archive, target, limits).await;
            done.unwrap();
            self.0.notify_one();
            std::future::pending().await
        })
    }
}

async fn whoever_hangs_up_leaves_nothing() {
    let w = world().await;
    let stuck = Arc::new(Stuck(tokio::sync::Notify::new()));
    let packages = reopened(&w, stuck.clone());
    let tenant = w.dir.path().join("packages").join(w.place.tenant.as_str());
    let zip = zip_of(&[("app.py", b"half")]);
    {
        let admission = packages.admit(&w.who, &w.place.tenant, zip);
        tokio::select! {
            _ = admission => panic!("the unpacker never ends"),
            () = stuck.0.notified() => {}
        }
    }
    // On a thread of its own: without it this waits for ever.
    while !names(&tenant).is_empty() {
        tokio::task::yield_now().await;
    }

    // What nobody holds any more, whatever it was for, is met again.
    for left in ["tmp-77", "gone-78"] {
        let folder = tenant.join(format!("{}.{left}", Digest([7; 32])));
        fs::create_dir_all(folder.join("tree")).unwrap();
    }
    let zip = zip_of(&[("app.py", b"other")]);
    // Not given up before the folder has been looked at.
    let admission = packages.admit(&w.who, &w.place.tenant, zip);
    tokio::pin!(admission);
    tokio::select! {
        _ = &mut admission => panic!("the unpacker never ends"),
        () = async {
            stuck.0.notified().await;
            assert_eq!(packages.collect().await.unwrap(), 0);
        } => {}
    }
    let left = names(&tenant);
    let [held] = &left[..] else {
        panic!("the one that is being unpacked: {left:?}");
    };
    assert!(held.contains(".tmp-"), "{held}");
}

async fn by_child(
    exe: PathBuf,
    zip: &[u8],
    limits: UnpackLimits,
) -> (tempfile::TempDir, Result<Unpacked, UnpackError>) {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("zip");
    fs::write(&archive, zip).unwrap();
    let inside = dir.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let unpacker = SubprocessUnpacker::new(exe, clock());
    let archive = fs::File::open(archive).unwrap().into();
    let target = fs::File::open(&inside).unwrap().into();
    let found = unpacker.unpack(archive, target, limits).await;
    (dir, found)
}

const LIMITS: UnpackLimits = UnpackLimits {
    entries: 1000,
    unpacked_bytes: 10 << 20,
};

async fn the_child_unpacks_and_reports() {
    let mut zip = Zip::default();
    zip.add(Item {
        mode: 0o100_700,
        ..Item::deflated(b"d/e/run", &vec![b'x'; 1 << 20])
    });
    zip.add(Item::link(b"d/l", b"e/run"));
    let exe = std::env::current_exe().unwrap();
    let (dir, found) = by_child(exe, &zip.finish(), LIMITS).await;
    let done = found.unwrap();
    assert_eq!((done.files, done.bytes), (2, 1 << 20));
    let file = fs::metadata(dir.path().join("inside/d/l")).unwrap();
    assert_eq!(file.len(), 1 << 20);
    assert_eq!(file.permissions().mode() & 0o7777, 0o755);
}

async fn the_child_refuses_by_entry_and_rule() {
    let mut zip = Zip::default();
    zip.add(Item::file(b"../../out", b"x"));
    let exe = std::env::current_exe().unwrap();
    let (dir, found) = by_child(exe, &zip.finish(), LIMITS).await;
    assert_eq!(
        found.unwrap_err(),
        UnpackError::Refused(ArchiveError::Entry {
            entry: "../../out".into(),
            rule: EntryRule::Parent
        })
    );
    assert_eq!(names(dir.path()), ["inside", "zip"]);
}

async fn a_child_that_says_nothing_is_a_failure() {
    for exe in ["/bin/true", "/nonexistent"] {
        let (_dir, found) = by_child(exe.into(), b"", LIMITS).await;
        assert!(matches!(found, Err(UnpackError::Failed { .. })), "{exe}");
    }
}
