//! What a volume promises, tried on the real kernel. Needs root, loop devices and mke2fs; without
//! them each test prints what it missed.

use super::*;
use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// Any uid but root's, which may take the blocks that are kept back.
const GUEST: u32 = 61_234;
const USUAL: Mebibytes = Mebibytes(512);

/// A pool of images in a folder on disk, or the reason why this machine has none.
fn pool(test: &str) -> Option<(tempfile::TempDir, VolumePool)> {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder on disk");
    let options = VolumeOptions {
        folder: folder.path().to_owned(),
        usual: USUAL,
        ready: 2,
    };
    let pool = VolumePool::open(options);
    if let Backing::Tmpfs { reason } = pool.backing() {
        println!("skipped: {test}: no image volumes here: {reason}");
        return None;
    }
    Some((folder, pool))
}

fn create(keeper: &VolumeKeeper, name: &str) -> File {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    openat(&keeper.root, name, flags, Mode::from_raw_mode(0o666))
        .expect("a file")
        .into()
}

/// Writes `bytes` zeroes as a guest would, in another process and under another uid.
fn write_as_guest(file: &File, bytes: u64) -> Output {
    Command::new("head")
        .args(["-c", &bytes.to_string(), "/dev/zero"])
        .uid(GUEST)
        .gid(GUEST)
        .stdout(file.try_clone().expect("a descriptor"))
        .stderr(Stdio::piped())
        .output()
        .expect("head runs")
}

fn says_no_space(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("No space left on device")
}

#[test]
fn one_file_takes_exactly_the_size_and_not_one_byte_more() {
    let Some((_folder, mut pool)) = pool("exact size") else {
        return;
    };
    for size in [USUAL, Mebibytes(777), Mebibytes(1024)] {
        let (mount, keeper) = pool.take(size).expect("a volume").split();
        let file = create(&keeper, "all");
        let whole = write_as_guest(&file, size.bytes());
        assert!(whole.status.success(), "{size:?}: {whole:?}");
        assert!(
            says_no_space(&write_as_guest(&file, 1)),
            "{size:?}: one byte more was taken"
        );
        assert_eq!(file.metadata().expect("metadata").len(), size.bytes());
        drop((file, mount));
        keeper.discard();
    }
}

#[test]
fn asking_for_many_sizes_keeps_few_templates() {
    let Some((_folder, mut pool)) = pool("templates") else {
        return;
    };
    for more in 0..TEMPLATES_MAX as u32 + 4 {
        let (_mount, keeper) = pool
            .take(Mebibytes(USUAL.0 + more))
            .expect("a volume")
            .split();
        keeper.discard();
    }
    let Maker::Image { templates, .. } = &pool.maker else {
        panic!("the pool makes images")
    };
    assert!(templates.len() <= TEMPLATES_MAX && templates.contains_key(&USUAL.0));
}

#[test]
fn names_run_out_before_the_host_notices() {
    let Some((_folder, mut pool)) = pool("names") else {
        return;
    };
    let (_mount, keeper) = pool.take(USUAL).expect("a volume").split();
    let free = rustix::fs::fstatvfs(&keeper.root).expect("statvfs").f_ffree;
    assert!(
        (INODES as u64 - 64..INODES as u64 + 4096).contains(&free),
        "{free} names"
    );
    keeper.discard();
}

#[test]
fn a_volume_is_empty_open_to_all_and_carries_no_privilege() {
    let Some((_folder, mut pool)) = pool("attributes") else {
        return;
    };
    let (_mount, keeper) = pool.take(USUAL).expect("a volume").split();
    let stat = rustix::fs::fstat(&keeper.root).expect("stat");
    assert_eq!(stat.st_mode & 0o7777, 0o1777);
    let names: Vec<_> = rustix::fs::Dir::read_from(&keeper.root)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_owned())
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
        .collect();
    assert!(names.is_empty(), "{names:?}");
    let flags = rustix::fs::fstatvfs(&keeper.root).expect("statvfs").f_flag;
    assert!(
        flags.contains(rustix::fs::StatVfsMountFlags::NOSUID),
        "{flags:?}"
    );
    assert!(
        flags.contains(rustix::fs::StatVfsMountFlags::NODEV),
        "{flags:?}"
    );
    keeper.discard();
}

#[test]
fn what_one_volume_holds_no_other_shows() {
    let Some((_folder, mut pool)) = pool("separation") else {
        return;
    };
    let (_first_mount, first) = pool.take(USUAL).expect("a volume").split();
    create(&first, "secret")
        .write_all(b"first")
        .expect("written");
    let (_second_mount, second) = pool.take(USUAL).expect("a volume").split();
    assert!(statat(&second.root, "secret", AtFlags::empty()).is_err());
    first.discard();
    let (_third_mount, third) = pool.take(USUAL).expect("a volume").split();
    assert!(statat(&third.root, "secret", AtFlags::empty()).is_err());
    let file = create(&third, "fresh");
    file.set_len(1 << 20).expect("a sparse file");
    let mut byte = [1u8; 4096];
    file.read_exact_at(&mut byte, 4096).expect("read");
    assert!(byte.iter().all(|b| *b == 0));
    second.discard();
    third.discard();
}

#[test]
fn nothing_is_left_of_a_dropped_volume() {
    let Some((folder, mut pool)) = pool("leftovers") else {
        return;
    };
    while pool.make_ready().expect("ready") {}
    let mut devices = Vec::new();
    for volume in std::mem::take(&mut pool.ready) {
        let device = rustix::fs::fstat(&volume.keeper.root).expect("stat").st_dev;
        devices.push(format!("/sys/block/loop{}/loop", rustix::fs::minor(device)));
        create(&volume.keeper, "dirty")
            .write_all(&[7; 1 << 20])
            .expect("written");
        let (mount, keeper) = volume.split();
        drop(mount);
        keeper.discard();
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).expect("folder").collect();
    assert!(names.is_empty(), "{names:?}");
    for device in devices {
        for _ in 0..5000 {
            if !Path::new(&device).exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // Another test may have taken the number meanwhile; then its file is another one.
        let backing = std::fs::read_to_string(format!("{device}/backing_file"));
        let ours = folder.path().to_string_lossy().into_owned();
        assert!(
            !backing.is_ok_and(|path| path.contains(&ours)),
            "{device} is still attached"
        );
    }
}

#[test]
fn sizes_out_of_bounds_are_refused_by_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = VolumeOptions {
        folder: folder.path().to_owned(),
        usual: USUAL,
        ready: 0,
    };
    let reason = VolumeError::Devices { tries: 0 };
    let mut pool = VolumePool::in_memory(options, reason);
    for mib in [0, SIZE_MIN_MIB - 1, SIZE_MAX_MIB + 1, u32::MAX] {
        let refusal = pool
            .take(Mebibytes(mib))
            .expect_err("out of bounds")
            .to_string();
        assert!(refusal.contains(&mib.to_string()), "{refusal}");
    }
}

#[test]
fn the_fallback_holds_its_size_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = VolumeOptions {
        folder: folder.path().to_owned(),
        usual: USUAL,
        ready: 0,
    };
    let mut pool = VolumePool::in_memory(options, VolumeError::Devices { tries: 0 });
    let (_mount, keeper) = match pool.take(Mebibytes(SIZE_MIN_MIB)) {
        Ok(volume) => volume.split(),
        Err(reason) => return println!("skipped: tmpfs fallback: {reason}"),
    };
    let file = create(&keeper, "all");
    assert!(
        write_as_guest(&file, u64::from(SIZE_MIN_MIB) << 20)
            .status
            .success()
    );
    assert!(says_no_space(&write_as_guest(&file, 1)));
    assert_eq!(
        keeper.used_bytes().expect("usage"),
        u64::from(SIZE_MIN_MIB) << 20
    );
    keeper.discard();
}

/// A memory group of `limit` bytes for this test alone; `None` where this user cannot make one.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn new(limit: u64) -> Option<MemoryGroup> {
        let name = format!("volumes-test-{}", std::process::id());
        for (parent, files) in [
            (
                "/sys/fs/cgroup/memory",
                &["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"][..],
            ),
            ("/sys/fs/cgroup", &["memory.max", "memory.swap.max"][..]),
        ] {
            let group = MemoryGroup(Path::new(parent).join(&name));
            if std::fs::create_dir(&group.0).is_err() {
                continue;
            }
            let limited = std::fs::write(group.0.join(files[0]), limit.to_string()).is_ok();
            let _ = std::fs::write(group.0.join(files[1]), limit.to_string());
            if limited {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_function_of_128_mib_fills_512_mib_of_tmp_and_lives() {
    let Some((_folder, mut pool)) = pool("memory") else {
        return;
    };
    let Some(group) = MemoryGroup::new(128 << 20) else {
        return println!("skipped: memory: no memory group can be made here");
    };
    for round in 0..3 {
        let (_mount, keeper) = pool.take(USUAL).expect("a volume").split();
        let file = create(&keeper, "all");
        let output = Command::new("sh")
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec setpriv --reuid \"$1\" --clear-groups head -c \"$2\" /dev/zero"])
            .arg(&group.0)
            .args([GUEST.to_string(), USUAL.bytes().to_string()])
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(Stdio::piped())
            .output()
            .expect("sh runs");
        assert!(output.status.success(), "round {round}: {output:?}");
        assert_eq!(file.metadata().expect("metadata").len(), USUAL.bytes());
        assert!(says_no_space(&write_as_guest(&file, 1)));
        drop(file);
        keeper.discard();
    }
}

#[test]
fn descriptors_of_a_volume_do_not_cross_an_exec() {
    let Some((_folder, mut pool)) = pool("descriptors") else {
        return;
    };
    let (mount, keeper) = pool.take(USUAL).expect("a volume").split();
    for fd in [mount.as_raw_fd(), keeper.root.as_raw_fd()] {
        let seen = Command::new("test")
            .args(["-e", &format!("/proc/self/fd/{fd}")])
            .status();
        assert!(!seen.expect("test runs").success());
    }
    keeper.discard();
}
