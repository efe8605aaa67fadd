//! An accepted asynchronous event: one durable row before the 202.

use crate::{
    ids::{FunctionRef, InvocationId, Qualifier},
    principal::Principal,
    queue_time::QueueTime,
    time::Wall,
    trace::TraceHeader,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What is kept of an event beside its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventV1 {
    /// The request id that the caller was given.
    pub id: InvocationId,
    /// The function.
    pub function: FunctionRef,
    /// What the caller asked for.
    pub qualifier: Qualifier,
    /// Whether the caller named it.
    #[serde(default)]
    pub is_qualified: bool,
    /// Who asked.
    pub principal: Principal,
    /// When it was accepted, for people.
    pub accepted: Wall,
    /// When it is given up.
    pub expires: QueueTime,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts at the most.
    pub attempts_max: u32,
    /// The trace.
    pub trace: TraceHeader,
    /// Functions before it in the call chain.
    pub hops: u8,
    /// Client context, as it came.
    pub client_context: Option<Vec<u8>>,
}

/// An event that a worker holds until `epoch` is overtaken.
#[derive(Debug, Clone)]
pub struct ClaimedEvent {
    /// The event; `attempts` counts this one already.
    pub event: EventV1,
    /// Its body.
    pub body: Bytes,
    /// Fences the settling: a later claim has a higher one.
    pub epoch: u64,
    /// Attempts that the end of the platform cut short; none of them is in `attempts`.
    pub interrupted: u32,
}

/// How an event ended. Exactly one per event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventEnd {
    /// The function answered.
    Done,
    /// It was given up, with the reason.
    Dead {
        /// `RetriesExhausted`, `EventAgeExceeded`, `FunctionDeleted`, `Interrupted`, …
        reason: String,
        /// The last error's text.
        last_error: Option<String>,
    },
}
