//! The platform as one instance sees it.

use crate::{
    ids::{FunctionRef, InstanceId, TenantId},
    time::Mono,
    trace::TraceHeader,
};
use std::{os::fd::OwnedFd, sync::Arc};

/// The run that a call comes out of, as the platform knows it: nothing in it is the guest's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose function calls.
    pub tenant: TenantId,
    /// The trace as the function was given it: how many functions stand before the next one, and
    /// this run as the parent.
    pub trace: TraceHeader,
    /// When the run is over at the latest; `None` once it has answered.
    pub deadline: Option<Mono>,
}

/// Knows what one instance runs.
pub trait CallChain: Send + Sync {
    /// The run that a call which comes out of the instance now belongs to: what runs, else what
    /// ran last, since a function may go on for a moment after its answer. Before the first,
    /// what its start was made for; `None` where nobody knows.
    fn caller(&self) -> Option<Caller>;
}

/// Serves the platform's APIs to one instance on a listener that was made inside its namespace.
pub trait PlatformEndpoint: Send + Sync {
    /// Serves `listener` until the guard is dropped. A request is answered only when it is signed
    /// with the credentials of `instance`, or asks for them with its token; its calls are links of
    /// `chain`. Never waits; called on
    /// the core that serves the instance.
    fn serve(
        &self,
        listener: OwnedFd,
        function: &FunctionRef,
        instance: InstanceId,
        chain: Arc<dyn CallChain>,
    ) -> Box<dyn Send + Sync>;
}
