//! What came of an invocation. The function's own failure is an outcome, ours is an error.

use crate::{answers::Room, body::Body, ids::Qualifier, time::Mono};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What one invocation cost. Zero where a phase did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Waiting for a slot, in µs.
    pub queue_us: u64,
    /// Making the sandbox, in µs; 0 on a warm instance.
    pub start_us: u64,
    /// The runtime's and function's init, in µs; 0 on a warm instance.
    pub init_us: u64,
    /// From handing over the event to the answer, in µs.
    pub run_us: u64,
    /// Billed time in ms: run, and init where it is billed, rounded up.
    pub billed_ms: u64,
    /// Processor time of the instance during the run, in µs.
    pub cpu_us: u64,
    /// Highest memory of the instance so far, in bytes.
    pub memory_peak_bytes: u64,
    /// Event bytes in.
    pub bytes_in: u64,
    /// Answer bytes out.
    pub bytes_out: u64,
}

/// What is known only at the end of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trailer {
    /// The cost.
    pub usage: Usage,
    /// Set when the function failed after it had begun to answer.
    pub late_error: Option<LateError>,
}

/// A failure after the answer began: the head said "fine" already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateError {
    /// The error's type as the function named it.
    pub error_type: String,
    /// Its payload.
    pub body: Bytes,
}

/// Who noticed that the function failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionErrorKind {
    /// The function handed its error to the runtime (Lambda's wire says "Unhandled" here too for
    /// all managed runtimes; the front end decides on the word).
    Handled,
    /// The platform saw it: timeout, exit, out of memory.
    Unhandled,
}

/// How the function ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutcomeKind {
    /// It answered.
    Success,
    /// It failed; the body is its error payload.
    FunctionError(FunctionErrorKind),
}

/// What is known before the first byte of the answer.
#[derive(Debug, Clone)]
pub struct OutcomeHead {
    /// How it ended.
    pub kind: OutcomeKind,
    /// The revision that ran: never an alias.
    pub executed: Qualifier,
    /// The content type that the function gave its answer, where its contract has one.
    pub content_type: Option<String>,
    /// The last 4 KiB of the log of this invocation, when asked for.
    pub log_tail: Option<Bytes>,
}

/// The end of an invocation that reached a function.
#[derive(Debug)]
pub struct Outcome {
    /// What is known at once.
    pub head: OutcomeHead,
    /// The answer, then the [`Trailer`].
    pub body: Body,
    /// What a large answer holds of the server's memory, until its client has taken it.
    pub room: Option<Room>,
}

/// Which limit turned an invocation away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ThrottleReason {
    /// The function's reserved concurrency (0 included) is in use.
    ReservedConcurrency,
    /// The tenant's unreserved concurrency is in use.
    AccountConcurrency,
    /// The tenant's synchronous invocations of this second have begun.
    InvocationRate,
    /// The synchronous invocations of this second have begun that the function's reservation lets begin.
    ReservedInvocationRate,
    /// The function's instances come up at the rate that it may have, and none is free.
    FunctionStartRate,
    /// The tenant's instances come up at the rate that it may have, and none is free.
    StartRate,
    /// A budget is used up until its period is over.
    Budget,
    /// A budget is used up, and stays so until the node's operator raises or removes it.
    BudgetStop,
    /// The machine had no memory for a new instance before the deadline.
    MachineMemory,
    /// The machine had no place for a new instance before the deadline, or no disk for its `/tmp`.
    MachineRoom,
    /// Three inits in a row failed; the next try waits.
    InitBackoff,
}

/// Why an invocation did not come to an outcome: our fault, or a limit, never the function's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// No such function, or no such revision or alias of it.
    #[error("function {function} with qualifier {qualifier} does not exist")]
    NotFound {
        /// The function's name.
        function: String,
        /// What was asked for.
        qualifier: Qualifier,
    },
    /// The function exists but cannot run yet, or cannot run at all.
    #[error("function {function} cannot run: {reason}")]
    NotReady {
        /// The function's name.
        function: String,
        /// Whether waiting helps.
        pending: bool,
        /// Text for the caller.
        reason: String,
    },
    /// The function's tenant is disabled: nothing of it runs, and what ran has been ended.
    #[error("the account of the function is disabled")]
    TenantDisabled,
    /// A limit; try later.
    #[error("throttled: {reason:?}")]
    Throttled {
        /// Which limit.
        reason: ThrottleReason,
        /// When a retry makes sense, where that is known.
        retry_after: Option<Duration>,
    },
    /// The event is larger than the limits allow.
    #[error("the event is larger than {limit_bytes} bytes")]
    EventTooLarge {
        /// The limit that was crossed.
        limit_bytes: u64,
    },
    /// The call chain is longer than [`crate::invocation::HOPS_MAX`].
    #[error("the call chain loops: {hops} functions called each other")]
    LoopDetected {
        /// The chain's length.
        hops: u8,
    },
    /// The node is shutting down; another attempt elsewhere or later succeeds.
    #[error("the node is draining")]
    Draining,
    /// The deadline passed before an instance could take the event.
    #[error("no instance took the event before its deadline (monotonic {} ns)", deadline.0)]
    DeadlinePassed {
        /// The deadline.
        deadline: Mono,
    },
    /// The instance was taken away under the invocation, by no fault of the function.
    #[error("the instance was lost: {reason}")]
    InstanceLost {
        /// What happened: "spawner 1 died".
        reason: String,
    },
    /// The function ran, and what it cost could not be written down: its answer is kept back.
    #[error("the invocation ran and could not be recorded: {reason}")]
    NotRecorded {
        /// Text for the operator; carries no secret.
        reason: String,
    },
    /// The platform failed.
    #[error("{component} failed: {reason}")]
    Internal {
        /// The part that failed.
        component: &'static str,
        /// Text for the operator; carries no secret.
        reason: String,
    },
}
