//! One entry per invocation, written once, before the answer: what bills are made from (D8).

use crate::{
    ids::{Digest, FunctionRef, InstanceId, InvocationId, Qualifier},
    invocation::Source,
    outcome::Usage,
    time::Wall,
    trace::TraceHeader,
};
use serde::{Deserialize, Serialize};

/// How an invocation ended, for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The function answered.
    Success,
    /// The function reported an error.
    FunctionError,
    /// It ran into its timeout and was killed.
    Timeout,
    /// The kernel killed it at its memory limit.
    OutOfMemory,
    /// Its process ended before the answer.
    Exited,
    /// The platform took the instance away.
    InstanceLost,
    /// Its caller cancelled it and it was killed.
    Cancelled,
    /// The machine had no room left for what it needed as it ran.
    NoRoom,
}

/// The durable record of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The request id.
    pub id: InvocationId,
    /// The function, its tenant and region.
    pub function: FunctionRef,
    /// The revision that ran.
    pub revision: Qualifier,
    /// The runtime's digest, the zero digest when none of ours is under the function.
    pub runtime: Digest,
    /// The instance.
    pub instance: InstanceId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Where the event came from.
    pub source: Source,
    /// The trace.
    pub trace: TraceHeader,
    /// When the event was accepted.
    pub received: Wall,
    /// The function's memory, MiB.
    pub memory_mib: u32,
    /// What it cost.
    pub usage: Usage,
    /// How it ended.
    pub ending: Ending,
}
