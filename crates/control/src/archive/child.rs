//! The throw-away child: one archive in, one folder filled, one line of report.
//!
//! ```text
//!  server ── socket on the child's stdin: limits as JSON, with two descriptors ──▶ child
//!         ◀─ one JSON line on the child's stdout: unpacked, or why not ──────────
//! ```
//!
//! The descriptors travel over the socket, since handing a child numbered descriptors needs
//! `pre_exec`, and an inheritable one would reach whatever else is being spawned at that moment.
//! The child opens nothing by a path of the host. Its caller applies the seccomp policy `unpack`
//! before [`child_main`].

use super::{
    UnpackError, UnpackLimits, Unpacked,
    unpack::{OpenArchive, unpack},
};
use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags},
    process::{Resource, Rlimit, setrlimit},
};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, IoSliceMut, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
};

/// The argument by which the server's binary becomes this child.
pub const CHILD_ARGUMENT: &str = "__unpack";
/// Bytes of an order and of a report.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 << 10;
/// Processor time of one child, seconds.
const CPU_S_MAX: u64 = 60;
/// Address space of one child: the binary, an archive's directory and its names.
const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// What the child reports.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report(pub(super) Result<Unpacked, UnpackError>);

/// The whole life of the child. Never panics on what the archive says; ends by its limits
/// otherwise.
pub fn child_main() -> ExitCode {
    let result = receive(io::stdin().as_fd()).and_then(|(limits, archive, target)| {
        let archive = OpenArchive::new(archive).map_err(|e| failed("reading the archive", e))?;
        limit_self(&limits)?;
        unpack(&archive, target.as_fd(), &limits)
    });
    let mut line = serde_json::to_vec(&Report(result)).expect("a report serializes");
    line.push(b'\n');
    match io::stdout()
        .write_all(&line)
        .and_then(|()| io::stdout().flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn failed(doing: &str, error: impl Into<io::Error>) -> UnpackError {
    UnpackError::Failed {
        reason: format!("{doing}: {}", error.into()),
    }
}

fn limit_self(limits: &UnpackLimits) -> Result<(), UnpackError> {
    let limits = [
        (Resource::Cpu, CPU_S_MAX),
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Fsize, limits.unpacked_bytes),
        (Resource::Nofile, 16),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).map_err(|e| failed("limiting itself", e))?;
    }
    Ok(())
}

/// The order: limits as JSON, the archive and the target as descriptors, in this order.
fn receive(socket: impl AsFd) -> Result<(UnpackLimits, OwnedFd, OwnedFd), UnpackError> {
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(|e| failed("receiving the order", e))?;
    let mut descriptors = Vec::new();
    for received in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = received {
            descriptors.extend(rights);
        }
    }
    let limits = serde_json::from_slice(&bytes[..message.bytes])
        .map_err(|e| failed("reading the order", io::Error::other(e)))?;
    let mut descriptors = descriptors.into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(archive), Some(target)) => Ok((limits, archive, target)),
        _ => Err(UnpackError::Failed {
            reason: "the order came without its two descriptors".into(),
        }),
    }
}
