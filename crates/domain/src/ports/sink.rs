//! Where events go that nobody waits for.

use crate::{BoxFuture, invocation::Invocation};

/// Takes events; implemented by the durable queue.
pub trait Sink: Send + Sync {
    /// Takes one event; it is on disk when this resolves well.
    ///
    /// Errors: [`SinkError`], the event was not taken then.
    fn accept(&self, invocation: Invocation) -> BoxFuture<'_, Result<(), SinkError>>;
}

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Larger than the limit.
    #[error("the event is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit that was crossed.
        limit_bytes: u64,
    },
    /// More functions called each other than may.
    #[error("the call chain loops: {hops} functions called each other")]
    LoopDetected {
        /// How many.
        hops: u8,
    },
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The node is shutting down, or the queue holds all that it may.
    #[error("the queue takes no events at the moment: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The store failed.
    #[error("the event could not be stored: {reason}")]
    Failed {
        /// Text for the operator.
        reason: String,
    },
}
