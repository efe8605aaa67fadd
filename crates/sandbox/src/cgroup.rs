//! Limits and accounts of instances: a thin layer over cgroup v1, v2 and the two side by side.
//!
//! ```text
//! <hierarchy>/freehold-<pid namespace>-<supervisor's pid>-<its start time>/
//!     platform/      the server, the supervisor, the spawners (processor weight)
//!     guests/        all instances: total memory, processor weight below the platform's
//!         0.1.17/    lane 0, first spawner of it, its instance 17
//! ```
//!
//! The root's name says whose it is, so that the next start can tell what a `kill -9` left behind
//! from what another live server owns. On hybrid machines limits are v1; the unified hierarchy,
//! without controllers, still freezes, kills and counts processor time.
//! Refuses to touch a group that is not below a root of ours, and every name is a number of ours.

mod base;
mod discover;
mod favor;
mod gauges;
mod group;
mod sweep;

pub use base::Base;
pub use discover::{Discovery, Hierarchy, Role, Version, discover};
pub use favor::{FAST_MOVES, favor_fast_moves, try_fast_moves};
pub use gauges::Gauges;
use group::keyed;
pub use group::{Group, GroupLimits, Guests};
pub use sweep::sweep_stale;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{Mode, OFlags, openat};

/// Reads a short file below `dir`.
fn read_at(dir: BorrowedFd<'_>, path: &str) -> io::Result<String> {
    let file = openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(4096);
    let mut chunk = [0u8; 4096];
    loop {
        let len = rustix::io::read(&file, &mut chunk)?;
        if len == 0 {
            break;
        }
        text.extend_from_slice(&chunk[..len]);
        if text.len() > 1 << 20 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Writes a short file below `dir` in one call, as the kernel wants it.
fn write_at(dir: BorrowedFd<'_>, path: &str, text: &str) -> io::Result<()> {
    let file = openat(dir, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// v1 charges the buffers of TCP sockets to nobody until they have a limit, so a guest could hold
/// as much of the machine's memory in them as the machine lets it; v2 counts them as memory.
/// Kernels without the file cannot.
fn bound_tcp(dir: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    match write_at(dir, "memory.kmem.tcp.limit_in_bytes", &bytes.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Opens a folder for use as a base of the two above.
fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a folder below another.
fn open_dir_at(dir: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(dir.as_fd(), path, flags, Mode::empty())?)
}
