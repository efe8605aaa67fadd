//! Start images: the memory of a stopped process, from which others begin.
//!
//! ```text
//! instance, waits in read(3)             parked sandbox, finished and empty
//!    │ TakeImage                             │ Start with an image
//!    ▼                                       ▼
//! dumper (its uid, CAP_SYS_PTRACE)        pid 2 executes the restorer (no privilege, filter in)
//!    │ stops, looks, refuses or writes       │ maps, opens files of its own root, jumps
//!    ▼                                       ▼
//! sealed memory file, root's, 0400  ───▶  the process goes on in read(3)
//! ```
//!
//! The set-up of a sandbox comes first and the memory last, so nobody holds a privilege near a
//! tenant's code, and a thawed instance is behind the same walls as an executed one. The dumper
//! is the only one that looks into a tenant's process: everything it reads there is noise with
//! bounds. What an image cannot carry is refused by name ([`Obstacle`]); a start then executes the
//! runtime, which is always right. Refuses to carry threads, sockets, children, timers, shared
//! memory, files below `/tmp`. Decision 0010 has the reasons.

#[cfg(start_images)]
mod body;
#[cfg(start_images)]
mod calls;
mod common;
#[cfg(start_images)]
mod dump;
mod key;
#[cfg_attr(not(start_images), allow(dead_code))]
mod look;
mod means;
mod obstacle;
mod probe;
#[cfg(start_images)]
mod refuse;
#[cfg(start_images)]
mod selftest;

pub use common::mapped_bytes;
pub use key::{Fit, IMAGE_MAX, IMAGE_RULES, ImageFile, RULE_ROOM, image_of, mark_of};
pub use means::Means;
pub use obstacle::{Obstacle, ObstacleKind};
pub use probe::probe_images;

use crate::sys::{
    processes, programs,
    restorer::{FAILED_PACKET, STAGES},
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

#[cfg(start_images)]
pub use dump::{ANSWER_LEN, Dumped, Subject, Whom, decode, dump_in_child};
#[cfg(start_images)]
pub use selftest::{Bench, self_test};

/// The name that `/proc/self/exe` of a thawed process shows, in the spawner's own tmpfs, which a
/// guest's root does not have: opened, it is this program and nothing of the host's.
pub const RESTORER_PATH: &str = "/runtime";
/// The self-test's process.
const SPECIMEN_PATH: &str = "/specimen";

/// Why this machine has no start images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// There is no restorer for it.
    #[error("the restorer is written for x86-64 alone")]
    Processor,
    /// Without root the one who looks at a process and the one who keeps images are the same.
    #[error("start images need root")]
    Unprivileged,
    /// A process could be dumped or thawed in the self-test not at all.
    #[error("the self-test failed: {0}")]
    SelfTest(String),
}

/// Reasons of a spawner without images, by their number in its welcome less one.
pub const UNSUPPORTED: [&str; 3] = [
    "the restorer is written for x86-64 alone",
    "start images need root",
    "the self-test failed, as `freehold doctor` shows",
];

impl Unsupported {
    /// Its number in a welcome.
    pub fn number(&self) -> u16 {
        match self {
            Self::Processor => 1,
            Self::Unprivileged => 2,
            Self::SelfTest(_) => 3,
        }
    }
}

/// Writes the restorer, and the self-test's process, to where they are executed from; a file
/// opened for that.
///
/// Errors: of the file system; [`io::ErrorKind::Unsupported`] where there is no restorer.
pub fn install_programs(root: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::PermissionsExt;
    let (restorer, specimen) = programs().ok_or(io::ErrorKind::Unsupported)?;
    for (path, bytes) in [(RESTORER_PATH, restorer), (SPECIMEN_PATH, specimen)] {
        let path = root.join(path.trim_start_matches('/'));
        std::fs::write(&path, bytes)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o555))?;
    }
    let file = File::open(root.join(RESTORER_PATH.trim_start_matches('/')))?;
    Ok(file.into())
}

/// The stage and errno in a packet of the restorer's.
pub fn failed_stage(packet: &[u8]) -> Option<(&'static str, i32)> {
    let &[FAILED_PACKET, low, high, a, b, c, d] = packet else {
        return None;
    };
    let stage = STAGES.get(usize::from(u16::from_le_bytes([low, high])));
    Some((
        stage.copied().unwrap_or("thaw_image"),
        i32::from_le_bytes([a, b, c, d]),
    ))
}

/// Reaps a child that has ended or was killed; waits for its end.
fn reap_ended(pidfd: &OwnedFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    while let Err(error) = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    processes::reap(pidfd.as_fd()).map(drop)
}
