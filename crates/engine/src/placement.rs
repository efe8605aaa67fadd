//! A slot for an admitted invocation: a free one, a freed one or a new instance's.
//!
//! Waits at most until the invocation's deadline.

use crate::{
    admission::{self, Admitted},
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

/// How long an event waits for an instance that has answered the one before and not asked again.
/// A runtime asks within microseconds; one that works on is left to it, and another slot is found.
const ASKS_AGAIN: Duration = Duration::from_millis(50);

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
        let grant = match admitted.revision.ask(node, here, admitted.invocation.hops) {
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
        // A start that was under way when its tenant was disabled ends here, without the event.
        if node
            .admission
            .is_disabled(&admitted.invocation.function.tenant)
        {
            return Err(PlaceError::Refused(InvokeError::TenantDisabled));
        }
        // So does whoever waited while a budget was used up: what has begun by then runs on.
        admission::within_budget(node, &admitted.invocation.function)
            .map_err(PlaceError::Refused)?;
        let place = match grant {
            Grant::Lease(lease) => match take_up(node, lease).await {
                Some((lease, exited)) => Place::Lease(lease, exited),
                // Nobody's failure. Another, then.
                None => continue,
            },
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

/// Makes a granted slot ready for an event; nothing when its instance has ended meanwhile, or is
/// not done with the event before.
async fn take_up(
    node: &Arc<Node>,
    lease: Lease,
) -> Option<(Lease, BoxFuture<'static, ExitReport>)> {
    let cell = lease.cell().clone();
    let mut exited = cell.instance.exited();
    let has_ended = (&mut exited).now_or_never().is_some();
    if has_ended || (cell.is_frozen() && cell.thaw().await.is_err()) {
        lease.bury();
        return None;
    }
    let Some(ready) = cell.link.until_ready() else {
        return Some((lease, exited));
    };
    tokio::select! {
        biased;
        _ = &mut exited => {
            lease.bury();
            None
        }
        () = ready => Some((lease, exited)),
        () = node.parts.clock.sleep(ASKS_AGAIN) => {
            linger(node, lease, exited);
            None
        }
    }
}

/// Keeps a slot whose instance has answered and goes on working: until it asks for its next event
/// or ends, and at most for as long as the function may run.
///
/// It counts as running for as long.
///
/// Source: AWS Lambda developer guide, "Lambda execution environment lifecycle": the invoke phase
/// ends when the runtime signals that it is done by asking for the next event.
fn linger(node: &Arc<Node>, mut lease: Lease, mut exited: BoxFuture<'static, ExitReport>) {
    let (cell, clock) = (lease.cell().clone(), node.parts.clock.clone());
    let (timeout, permit) = {
        let revision = lease.revision();
        (
            revision.timeout_now(node),
            node.admission.hold(&revision.function),
        )
    };
    node.spawn_on(cell.core, async move {
        let Some(ready) = cell.link.until_ready() else {
            return;
        };
        tokio::select! {
            biased;
            _ = &mut exited => lease.bury(),
            () = ready => {}
            // Dropped with an event in it, as it were: the instance is ended.
            () = clock.sleep(timeout) => lease.begin(),
        }
        drop(permit);
    });
}

fn too_late(node: &Node, admitted: &Admitted) -> InvokeError {
    let pool = &admitted.revision.pool;
    let lacks = if pool.short_of_memory.load(Ordering::Acquire) > 0 {
        Some(ThrottleReason::MachineMemory)
    } else {
        let lacks_room = pool.short_of_room.load(Ordering::Acquire);
        lacks_room.then_some(ThrottleReason::MachineRoom)
    };
    if let Some(reason) = lacks {
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
