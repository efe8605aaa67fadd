//! Running functions: one method.

use crate::{
    BoxFuture,
    invocation::Invocation,
    outcome::{InvokeError, Outcome},
};

/// Runs events. Implemented by the engine, later by a peer node's client; faked in tests.
pub trait Invoke: Send + Sync {
    /// Runs one event to its outcome.
    ///
    /// Dropping the future cancels where the function's contract can; a caller whose contract says
    /// that a hang-up stops nothing (Lambda) runs the future in a scope of its own.
    /// Errors: [`InvokeError`]; the function's own failure is an [`Outcome`].
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'_, Result<Outcome, InvokeError>>;
}
