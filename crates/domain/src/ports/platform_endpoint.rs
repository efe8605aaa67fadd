//! The platform as one instance sees it.

use crate::{ids::FunctionRef, ids::InstanceId};
use std::os::fd::OwnedFd;

/// Serves the platform's APIs to one instance on a listener that was made inside its namespace.
pub trait PlatformEndpoint: Send + Sync {
    /// Serves `listener` until the guard is dropped. A request is answered only when it is signed
    /// with the credentials of `instance`. Never waits; called on the core that serves the
    /// instance.
    fn serve(
        &self,
        listener: OwnedFd,
        function: &FunctionRef,
        instance: InstanceId,
    ) -> Box<dyn Send + Sync>;
}
