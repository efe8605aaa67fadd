//! Making moves into a group cheap.
//!
//! A move is 8 µs in a tight loop and 6 to 16 ms when it is rare, since it waits for a grace
//! period. While any hierarchy mounted with `favordynmods` exists, a rare move costs 65 to 80 µs.
//! So the supervisor mounts one of its own, without controllers, in its private mount namespace;
//! it goes with the supervisor.

use crate::sys::{
    mounts,
    processes::{self, Fork},
};
use rustix::event::{PollFd, PollFlags, poll};
use std::{fs, io, os::fd::AsFd, path::Path};

/// The private hierarchy's name; neutral, since guests see it in `/proc/self/cgroup`.
pub const FAST_MOVES: &str = "none,name=fastmoves";

/// Mounts the private hierarchy at `folder` and says whether the option took: a mount that
/// matches an existing hierarchy silently ignores new options.
pub fn favor_fast_moves(folder: &Path, suffix: u64) -> io::Result<bool> {
    let options = format!("{FAST_MOVES}{suffix},favordynmods");
    mounts::mount("none", folder, "cgroup", 0, &options)?;
    let name = format!("name=fastmoves{suffix}");
    Ok(fs::read_to_string("/proc/self/mountinfo")?
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .any(|(_, tail)| tail.contains(&name) && tail.contains("favordynmods")))
}

/// Whether the option takes on this machine: mounts it in a process and a mount namespace that
/// are gone afterwards. For a process with one thread.
pub fn try_fast_moves() -> io::Result<bool> {
    if processes::threads()? != 1 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    match processes::fork_into(libc::CLONE_NEWNS as u64)? {
        Fork::Child => {
            let pid = u64::from(processes::own_pid().unsigned_abs());
            // Any folder will do that is everywhere and not /proc, where the answer is read.
            let taken =
                mounts::make_private().and_then(|()| favor_fast_moves("/sys".as_ref(), pid));
            processes::exit(if taken.unwrap_or(false) { 0 } else { 1 })
        }
        Fork::Parent(_, pidfd) => loop {
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(processes::reap(pidfd.as_fd())? == Some(0)),
            }
        },
    }
}
