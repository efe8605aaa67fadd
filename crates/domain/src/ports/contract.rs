//! How a function is spoken to. A contract never touches a process, a sandbox never a payload.

use crate::{
    BoxFuture,
    answers::{Peer, Room, Whose},
    body::Body,
    ids::{FunctionRef, InvocationId, Qualifier},
    time::Wall,
    trace::TraceHeader,
};
use bytes::Bytes;
use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

/// Who connects to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// The guest connects to the host's listener (Lambda's Runtime API).
    GuestDials,
    /// The host connects to a port inside (HTTP services, OpenWhisk).
    HostDials,
    /// A socket that the runtime inherits (direct frames).
    Inherited,
    /// No process at all (wasm).
    InProcess,
}

/// Tells a runtime that is booted ahead, by its environment, what to import beyond what it needs
/// itself.
pub const PRELOAD_VARIABLE: &str = "_FREEHOLD_PRELOAD";
/// Of [`PRELOAD_VARIABLE`]: the libraries that the runtime brings.
pub const PRELOAD_LIBRARIES: &str = "libraries";
/// The top-level modules that those consist of, as `freehold_runtime/begin.py` has them. A package that
/// holds one of these names never starts with them.
pub const LIBRARY_MODULES: [&str; 7] = [
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "urllib3",
    "dateutil",
    "six",
];

/// One way of speaking to functions.
pub trait Contract: Send + Sync {
    /// The wiring it needs.
    fn wiring(&self) -> Wiring;

    /// Events that an instance is expected to take at once, before any has opened; from then on
    /// [`Link::slots`] says so. Placement starts one instance for this many waiting events.
    fn slots(&self) -> u16 {
        1
    }

    /// Opens the line to a starting instance; resolves when the runtime asks for its first event.
    /// The caller races it against the init deadline and the instance's exit.
    ///
    /// Errors: [`OpenError::Init`] with the payload that the runtime reported.
    fn open(
        &self,
        wires: Wires,
        opening: Opening,
    ) -> BoxFuture<'_, Result<Arc<dyn Link>, OpenError>>;

    /// Whether its runtimes can be booted ahead and told later what they are to be: whether
    /// [`Contract::boot`] is worth an instance.
    fn boots_ahead(&self) -> bool {
        false
    }

    /// Waits until a runtime that nobody owns yet has booted; `None` where the contract cannot
    /// tell a runtime later what it is to be.
    fn boot(&self, _wires: Wires) -> Option<BoxFuture<'_, Result<Box<dyn Booted>, OpenError>>> {
        None
    }

    /// Takes over a runtime that was thawed from a start image: it has booted, says nothing, and
    /// waits for what it is to be. `None` where the contract has no start images.
    fn thawed(&self, _wires: Wires) -> Option<Box<dyn Booted>> {
        None
    }

    /// Whether its runtimes know [`Link::prepare_image`] and [`Link::resume`]. Whether an image
    /// can be taken in the end is for the line, the process and the driver to say.
    fn has_images(&self) -> bool {
        false
    }
}

/// The descriptors of an instance that a contract may speak through.
#[derive(Debug)]
pub struct Wires {
    /// Listening socket of the Runtime API inside the instance.
    pub runtime_api: OwnedFd,
    /// The host's end of the frames socket, where the runtime has one.
    pub frames: Option<OwnedFd>,
}

/// What a runtime is told before its init.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// The instance's environment, as it was executed with where it was executed for this.
    pub env: Vec<(String, String)>,
    /// What it is to do about the code that its init compiles.
    pub code: CompiledCode,
}

/// Code that a runtime compiles in its init, from one instance of a revision to the next. Only the
/// runtime that wrote it can read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CompiledCode {
    /// None is at hand and none is asked for.
    #[default]
    None,
    /// It hands over what its init has compiled: [`Link::take_code`].
    Wanted,
    /// What an instance of this revision handed over.
    Given(Bytes),
}

/// Bytes of compiled code that are taken from one instance.
pub const COMPILED_CODE_BYTES_MAX: u64 = 16 << 20;

/// How much a rehearsal goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// What functions have in common, in whatever shape their handlers are.
    Full,
    /// What every start needs, where many are wanted soon.
    Brief,
}

/// A runtime that waits to be told what it is: executed ahead, or thawed from a start image.
pub trait Booted: Send + Sync {
    /// Makes it this opening's: environment, fresh random state, init. Resolves as
    /// [`Contract::open`] does.
    fn begin(
        self: Box<Self>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Arc<dyn Link>, OpenError>>;

    /// As [`Booted::begin`], of a start image that was taken after init: environment and
    /// credentials of this instance, fresh random state, the hooks after a restore.
    fn resume(
        self: Box<Self>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Arc<dyn Link>, OpenError>>;

    /// Runs events through all of ours and nothing of a tenant's, so that what they touch is touched
    /// before it is needed. Resolves with what it has gone through: a runtime whose full rehearsal is
    /// cheap takes no notice of being asked for less. May be asked for again.
    fn rehearse(&self, how: Rehearsal) -> BoxFuture<'_, Result<Rehearsal, OpenError>>;

    /// Makes it fit for a start image: collects garbage and blocks until its next frame.
    ///
    /// Errors: [`OpenError::Broken`] with what the runtime holds that an image cannot carry.
    fn prepare_image(&self) -> BoxFuture<'_, Result<(), OpenError>>;
}

/// The line to one instance.
pub trait Link: Send + Sync {
    /// Events that the instance takes at once.
    fn slots(&self) -> u16;

    /// Nothing when the instance takes an event now; else what resolves once it does.
    ///
    /// A runtime that has answered may still work, or be about to end: an event handed over before
    /// it asks would wait for that, or die with it. Resolves after the line's end, too.
    fn until_ready(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    /// Whether an answer has begun to come, and waits for room: what is left of it can be read when the
    /// process that sent it has ended.
    fn answer_waits(&self) -> bool {
        false
    }

    /// Whether its init has imported the libraries that the runtime brings (the AWS SDK), and found
    /// nothing of the function's before them: whether one that is booted with them
    /// ([`PRELOAD_VARIABLE`]) would have come to the same sooner.
    fn uses_libraries(&self) -> bool {
        false
    }

    /// The code that its init has compiled, where that was [wanted](CompiledCode::Wanted) and is worth
    /// another instance's while: at most [`COMPILED_CODE_BYTES_MAX`]. Once; it was handed over before
    /// the instance took any event.
    fn take_code(&self) -> Option<Bytes> {
        None
    }

    /// Runs an event of ours through the runtime of an instance that waits for its first: all of the
    /// way that an event takes but the function, so that what it touches is touched before it is
    /// needed. The function does not hear of it. `None` where the runtime cannot tell one of ours, or
    /// has nothing to gain: it went through the same in this process before it was anybody's.
    ///
    /// The caller keeps the deadline, and uses no instance that fails this.
    fn rehearse(&self, _call: GuestCall) -> Option<BoxFuture<'_, Result<(), LinkError>>> {
        None
    }

    /// Makes an initialised instance fit for a start image: the function's hooks before a
    /// snapshot, unless its runtime ran them as the end of its init, then as
    /// [`Booted::prepare_image`].
    ///
    /// Errors: [`OpenError::Init`] with what a hook reported; [`OpenError::Broken`] with what the
    /// runtime holds that an image cannot carry, or of a contract without images.
    fn prepare_image(&self) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(async {
            Err(OpenError::Broken {
                reason: "its contract has no start images".to_owned(),
            })
        })
    }

    /// Goes on in the same process after [`Link::prepare_image`], whether that found it fit or not:
    /// as [`Booted::resume`] does in a thawed one. A function that counts on its hooks gets them on
    /// every way up. A line that knows of no hooks has come up already.
    ///
    /// Errors: [`OpenError::Init`] with what a hook reported; [`OpenError::Broken`] of a line that
    /// has broken.
    fn resume(&self, _opening: Opening) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Hands one event over and resolves with the answer's head; the body may still stream.
    ///
    /// A large answer is read once there is [room](crate::answers) for it; until then it stays with
    /// the guest.
    ///
    /// The caller keeps the deadline. Dropping the future closes the exchange: an answer that comes
    /// later is refused.
    /// Errors: [`LinkError`]; the instance is of no further use after one.
    fn handle(&self, call: GuestCall) -> BoxFuture<'_, Result<GuestAnswer, LinkError>>;
}

/// An event as a function sees it.
#[derive(Debug)]
pub struct GuestCall {
    /// The request id.
    pub id: InvocationId,
    /// The function as it was called.
    pub function: FunctionRef,
    /// As it was called; part of the invoked ARN unless it is the bare head.
    pub qualifier: Option<Qualifier>,
    /// When the function runs into its timeout.
    pub deadline: Wall,
    /// The trace to go on with.
    pub trace: TraceHeader,
    /// Client context, as it came.
    pub client_context: Option<Bytes>,
    /// Who called the function's URL, where it came by one.
    pub by_url: Option<Peer>,
    /// The event.
    pub body: Body,
}

impl GuestCall {
    /// Whose its answer is.
    pub fn whose(&self) -> Whose {
        Whose {
            tenant: self.function.tenant.clone(),
            by_url: self.by_url.clone(),
        }
    }
}

/// What a function answered.
#[derive(Debug)]
pub enum GuestAnswer {
    /// Its result.
    Response {
        /// The content type, where it gave one.
        content_type: Option<String>,
        /// The result.
        body: Body,
        /// What it holds of the server's memory, where it is a large one.
        room: Option<Room>,
    },
    /// Its own error.
    Error {
        /// The error's type as the runtime named it.
        error_type: Option<String>,
        /// The payload, JSON for all known runtimes.
        body: Bytes,
        /// As of a result.
        room: Option<Room>,
    },
}

/// Why a line did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The runtime reported that init failed.
    #[error("init failed: {error_type}")]
    Init {
        /// `Runtime.ImportModuleError`, …
        error_type: String,
        /// The payload.
        body: Bytes,
    },
    /// The guest broke the protocol or the line.
    #[error("the runtime broke its contract: {reason}")]
    Broken {
        /// How.
        reason: String,
    },
}

/// Why an exchange had no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The guest closed the line before an answer. It is about to exit, most likely.
    #[error("the runtime closed its line")]
    Closed,
    /// The guest broke the protocol: answered twice, for another request, without an event.
    #[error("the runtime broke its contract: {reason}")]
    Broken {
        /// How.
        reason: String,
    },
    /// The machine had no room to run the event: a limit, and neither side's failure.
    #[error("the event found no room: {reason}")]
    Busy {
        /// Of what.
        reason: String,
    },
    /// The answer is larger than the limit.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit that was crossed.
        limit_bytes: u64,
        /// What the guest sent, where it announced it.
        sent_bytes: Option<u64>,
    },
    /// A large answer, for which there was room, came too slowly while others waited for theirs.
    #[error("{came_bytes} bytes of the answer came within {} s, while others waited", within.as_secs())]
    TooSlow {
        /// What had come.
        came_bytes: u64,
        /// Since there was room.
        within: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_names_the_same_modules() {
        let source = include_str!("../../../../runtimes/python/freehold_runtime/begin.py");
        let names = LIBRARY_MODULES.map(|name| format!("\"{name}\""));
        let line = format!("_LIBRARY_NAMES = ({})\n", names.join(", "));
        assert!(source.contains(&line), "{line}");
    }
}
