//! The process that unpacks strangers' archives, seen from outside while it waits for its order.

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::UnixStream,
            process::CommandExt,
        },
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Nobody in particular.
const SOMEBODY: u32 = 65_534;

#[test]
fn a_crash_of_the_unpacker_reaches_no_handler() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may start a process of somebody else's");
        return;
    }
    // The folder of the build need not let others in.
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
    let program = folder.path().join("freehold");
    fs::copy(env!("CARGO_BIN_EXE_freehold"), &program).expect("a copy");
    let (order, inner) = UnixStream::pair().expect("a pair");
    let mut child = Command::new(&program)
        .arg("__unpack")
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .stdin(OwnedFd::from(inner))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let about = format!("/proc/{}", child.id());
    let until = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(format!("{about}/status"))
        .is_ok_and(|status| status.contains("Seccomp:\t2"))
    {
        assert!(Instant::now() < until, "it is confined before it reads");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Root's if the process cannot be dumped, its own user's if it can.
    let owner = fs::metadata(format!("{about}/environ"))
        .expect("it waits")
        .uid();
    drop(order);
    child.wait().expect("reaped");
    assert_eq!(owner, 0);
}
