//! One event handed to one revision: the owned value that moves through the pipeline.

use crate::{
    answers::Peer,
    body::Body,
    ids::{FunctionRef, InvocationId, Qualifier},
    principal::Principal,
    time::Mono,
    trace::TraceHeader,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Most functions that may call each other in one chain before the chain is taken for a loop.
pub const HOPS_MAX: u8 = 16;

/// How the caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The caller holds the line for the outcome.
    RequestResponse,
    /// The event came from the durable queue; nobody holds a line.
    Event,
}

/// What the event came from; said to the function where its contract has a place for it, and on
/// the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The Invoke operation.
    Api,
    /// A function URL.
    Url,
    /// The durable queue, on behalf of an earlier asynchronous call.
    Queue,
    /// Another kind of trigger, by name.
    Trigger(String),
}

/// An event on its way to a function.
#[derive(Debug)]
pub struct Invocation {
    /// The request id that client, function, logs and ledger see.
    pub id: InvocationId,
    /// Who asks.
    pub principal: Principal,
    /// The function.
    pub function: FunctionRef,
    /// Which revision of it.
    pub qualifier: Qualifier,
    /// Whether the caller named it; `$LATEST` is run unnamed, too, and the ARN that the function is
    /// told differs.
    pub is_qualified: bool,
    /// 1 for the first attempt at this event.
    pub attempt: u32,
    /// Who called the function's URL, where it came by one.
    pub by_url: Option<Peer>,
    /// When the caller stops waiting for a *start*; the run itself has the function's timeout.
    /// Only ever moved earlier on the way.
    pub deadline: Mono,
    /// When the run of the function that waits for this one is over, where both are one tenant's:
    /// this run ends then at the latest, since nobody hears it any more.
    pub run_until: Option<Mono>,
    /// How the caller waits.
    pub mode: Mode,
    /// The trace it belongs to.
    pub trace: TraceHeader,
    /// How many functions stand before this one in the call chain.
    pub hops: u8,
    /// Where it came from.
    pub source: Source,
    /// Lambda's client context, decoded JSON text, handed to the function as it came.
    pub client_context: Option<Bytes>,
    /// Whether the outcome's head should carry the last 4 KiB of the log.
    pub log_tail: bool,
    /// The event.
    pub body: Body,
}
