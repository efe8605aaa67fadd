//! A slot for an admitted invocation: a free one, a freed one or a new instance's.
//!
//! Waits at most until the invocation's deadline.

use crate::{
    admission::Admitted,
    node::Node,
    pool::{Asked, FailedInit, Grant, Lease},
};
use freehold_domain::{
    BoxFuture,
    ids::CoreId,
    outcome::{InvokeError, ThrottleReason},
    ports::ExitReport,
};
use futures_util::FutureExt;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// An invocation with its slot.
pub(crate) struct Placed {
    pub(crate) admitted: Admitted,
    pub(crate) place: Place,
    /// How long it waited.
    pub(crate) queue: Duration,
}

/// What it runs on.
pub(crate) enum Place {
    /// A slot, and the end of its instance.
    Lease(Lease, BoxFuture<'static, ExitReport>),
    /// A failed init that it tries once more.
    FailedInit(Box<FailedInit>),
}

impl Placed {
    /// The core that its instance belongs to.
    pub(crate) fn core(&self) -> CoreId {
        match &self.place {
            Place::Lease(lease, _) => lease.core(),
            Place::FailedInit(failed) => failed.core,
        }
    }
}

/// Why there is no place.
pub(crate) enum PlaceError {
    /// The revision was replaced meanwhile; nothing was lost.
    Replaced(Box<Admitted>),
    Refused(InvokeError),
}

/// Finds a slot.
pub(crate) async fn place(
    node: &Arc<Node>,
    here: CoreId,
    admitted: Admitted,
) -> Result<Placed, PlaceError> {
    loop {
        let grant = match admitted.revision.ask(node, here) {
            Asked::Now(grant) => grant,
            Asked::Wait(mut ticket) => {
                let deadline = admitted.invocation.deadline;
                tokio::select! {
                    biased;
                    grant = &mut ticket.grant => grant.unwrap_or(Grant::Replaced),
                    () = node.parts.clock.sleep_until(deadline) => {
                        return Err(PlaceError::Refused(too_late(node, &admitted)));
                    }
                }
            }
        };
        let place = match grant {
            Grant::Lease(lease) => {
                let mut exited = lease.cell().instance.exited();
                let has_ended = (&mut exited).now_or_never().is_some();
                if has_ended || (lease.cell().is_frozen() && lease.cell().thaw().await.is_err()) {
                    // It ended while it was idle, which is nobody's failure. Another, then.
                    lease.bury();
                    continue;
                }
                Place::Lease(lease, exited)
            }
            Grant::FailedInit(failed) => Place::FailedInit(failed),
            Grant::Replaced => return Err(PlaceError::Replaced(Box::new(admitted))),
            Grant::Failed(error) => return Err(PlaceError::Refused(error)),
            Grant::Backoff(wait) => {
                let reason = ThrottleReason::InitBackoff;
                node.counters.throttled(reason);
                let retry_after = Some(wait);
                let refused = InvokeError::Throttled {
                    reason,
                    retry_after,
                };
                return Err(PlaceError::Refused(refused));
            }
        };
        let queue = node.parts.clock.now().since(admitted.received_at);
        return Ok(Placed {
            admitted,
            place,
            queue,
        });
    }
}

fn too_late(node: &Node, admitted: &Admitted) -> InvokeError {
    if admitted
        .revision
        .pool
        .short_of_memory
        .load(Ordering::Acquire)
    {
        let reason = ThrottleReason::MachineMemory;
        node.counters.throttled(reason);
        return InvokeError::Throttled {
            reason,
            retry_after: None,
        };
    }
    InvokeError::DeadlinePassed {
        deadline: admitted.invocation.deadline,
    }
}
