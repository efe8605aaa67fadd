//! The server's side of the throw-away child, and the same work in process for tests.

use super::{
    UnpackError, UnpackLimits, Unpacked, Unpacker,
    child::{CHILD_ARGUMENT, MESSAGE_BYTES_MAX, Report},
    unpack::{OpenArchive, unpack},
};
use freehold_domain::{BoxFuture, ports::Clock};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{io::AsyncReadExt, process::Command, sync::Semaphore};

/// How long one child may take.
pub const UNPACK_TIMEOUT: Duration = Duration::from_secs(120);
/// Children at once.
pub const UNPACK_CHILDREN_MAX: usize = 4;

/// Unpacks in a child process of its own per archive.
pub struct SubprocessUnpacker {
    exe: PathBuf,
    clock: Arc<dyn Clock>,
    children: Semaphore,
}

impl SubprocessUnpacker {
    /// `exe` is run with [`CHILD_ARGUMENT`] and must then call [`super::child_main`], after it has
    /// given up what it can do; it gets no environment.
    pub fn new(exe: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            exe,
            clock,
            children: Semaphore::new(UNPACK_CHILDREN_MAX),
        }
    }

    async fn run(
        &self,
        archive: OwnedFd,
        target: OwnedFd,
        limits: UnpackLimits,
    ) -> Result<Unpacked, UnpackError> {
        let _turn = self
            .children
            .acquire()
            .await
            .map_err(|_| failed("closed"))?;
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(failed)?;
        // The order waits in the socket: small, so that sending it never blocks.
        let order = serde_json::to_vec(&limits).map_err(failed)?;
        let descriptors = [archive.as_fd(), target.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let bytes = [IoSlice::new(&order)];
        sendmsg(&ours, &bytes, &mut ancillary, SendFlags::NOSIGNAL).map_err(failed)?;
        let mut child = Command::new(&self.exe)
            .arg(CHILD_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("starting {}: {error}", self.exe.display())))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("no pipe"))?;
        let mut line = Vec::new();
        let mut stdout = stdout.take(MESSAGE_BYTES_MAX as u64);
        tokio::select! {
            read = stdout.read_to_end(&mut line) => read.map_err(failed)?,
            () = self.clock.sleep(UNPACK_TIMEOUT) => {
                let _ = child.kill().await;
                return Err(failed(format!("the child took longer than {UNPACK_TIMEOUT:?}")));
            }
        };
        drop(stdout);
        // It has said all it has to say; a child that goes on regardless is ended here.
        let _ = child.start_kill();
        let status = child.wait().await.map_err(failed)?;
        let report: Report = serde_json::from_slice(&line)
            .map_err(|_| failed(format!("the child ended without a report ({status})")))?;
        report.0
    }
}

fn failed(reason: impl std::fmt::Display) -> UnpackError {
    UnpackError::Failed {
        reason: reason.to_string(),
    }
}

impl Unpacker for SubprocessUnpacker {
    fn unpack(
        &self,
        archive: OwnedFd,
        target: OwnedFd,
        limits: UnpackLimits,
    ) -> BoxFuture<'_, Result<Unpacked, UnpackError>> {
        Box::pin(self.run(archive, target, limits))
    }
}

/// Unpacks in this process. For tests: it has every privilege that its process has.
#[derive(Debug, Default, Clone, Copy)]
pub struct InProcessUnpacker;

impl Unpacker for InProcessUnpacker {
    fn unpack(
        &self,
        archive: OwnedFd,
        target: OwnedFd,
        limits: UnpackLimits,
    ) -> BoxFuture<'_, Result<Unpacked, UnpackError>> {
        Box::pin(async move {
            let archive = OpenArchive::new(archive).map_err(failed)?;
            unpack(&archive, target.as_fd(), &limits)
        })
    }
}
