//! Whether what traffic shall move to comes to run.

use crate::{BoxFuture, ids::FunctionRef, record::TargetV1};

/// Shows that code starts before calls meet it.
pub trait Starts: Send + Sync {
    /// Resolves once an instance of `target` is there or came up, which stays for the calls that
    /// follow. No event is given to it.
    ///
    /// Errors: [`NotUp`]; nothing is left of what did not come up.
    fn comes_up<'a>(
        &'a self,
        function: &'a FunctionRef,
        target: TargetV1,
    ) -> BoxFuture<'a, Result<(), NotUp>>;
}

/// Why there is no instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUp {
    /// By the function's doing: its init reported an error, ended, took too long.
    #[error("it does not start: {reason}")]
    Failed {
        /// A reason code that the wire knows.
        code: &'static str,
        /// Text for the tenant.
        reason: String,
    },
    /// The machine had no room or no time; the same may come up later.
    #[error("it could not be started at this time: {reason}")]
    NotYet {
        /// Text for the operator.
        reason: String,
    },
}
