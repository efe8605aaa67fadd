//! Functions that run inside the server's own process, where isolation is the code's own: no
//! process, no sandbox, no descriptor, no socket.
//!
//! Everything behind this seam keeps the promises of the others: an instance's memory has a limit,
//! its end is confirmed, an event that goes in comes out as one answer, and what it prints is
//! written to its log before that answer.

use super::{Instance, Link};
use crate::{
    BoxFuture,
    ids::{Digest, InstanceId, Mebibytes, TenantId},
    limits::Limits,
    live::Live,
};
use std::{os::fd::OwnedFd, sync::Arc};

/// The code of a function, as it lies in its package.
#[derive(Debug, Clone)]
pub struct GuestCode {
    /// Whose it is: nothing made of it is shared between tenants.
    pub tenant: TenantId,
    /// The package's digest; names the code for good, together with `file`.
    pub package: Digest,
    /// `O_PATH` descriptor of the unpacked package.
    pub tree: Arc<OwnedFd>,
    /// The file in it.
    pub file: String,
}

/// What an instance is made from.
#[derive(Clone)]
pub struct InProcessSpec {
    /// Its id, for the log.
    pub instance: InstanceId,
    /// What it runs.
    pub code: GuestCode,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Memory limit.
    pub memory: Mebibytes,
    /// The ceilings, as they are at each event: one of them bounds its answer.
    pub limits: Live<Limits>,
    /// Where it prints.
    pub output: Arc<dyn GuestOutput>,
}

/// Where a guest prints.
pub trait GuestOutput: Send + Sync {
    /// Takes what it wrote, in pieces of any size; never blocks on a reader.
    fn write(&self, stream: GuestStream, bytes: &[u8]);
}

/// Which of the two it printed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestStream {
    /// Standard output, where that is not the answer.
    Stdout,
    /// Standard error.
    Stderr,
}

/// An instance and the line to it.
pub struct InProcessInstance {
    /// Its life; it has no IO to take.
    pub instance: Arc<dyn Instance>,
    /// Its line, ready for the first event.
    pub link: Arc<dyn Link>,
}

/// Why code cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It is not what it must be, or asks for more than it may have: its author's to mend.
    #[error("{reason}")]
    Refused {
        /// What is wrong, for its author.
        reason: String,
    },
    /// Something of the platform failed.
    #[error("the code could not be prepared: {reason}")]
    Failed {
        /// Why, for the operator.
        reason: String,
        /// Nothing is broken: others' code, or the tenant's own, takes all there is, and a later
        /// attempt may succeed.
        is_busy: bool,
    },
}

/// Runs functions inside the server.
pub trait InProcess: Send + Sync {
    /// Judges code, and does ahead what starts of it would wait for: it is compiled once this has
    /// resolved.
    ///
    /// Errors: [`CodeError`]; the same code is refused for the same reason every time.
    fn prepare(&self, code: GuestCode, memory: Mebibytes) -> BoxFuture<'_, Result<(), CodeError>>;

    /// Makes an instance; nothing of the function has run when this resolves.
    ///
    /// Errors: as [`InProcess::prepare`], whose work it does where that is missing.
    fn start(&self, spec: InProcessSpec) -> BoxFuture<'_, Result<InProcessInstance, CodeError>>;
}
