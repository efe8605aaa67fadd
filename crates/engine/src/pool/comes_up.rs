//! Whether code starts, before traffic moves to it.
//!
//! A slot is asked for as an event would, and given back: the start goes the ordinary way, with its
//! turn, its rates and its room, and what came up stays for the calls that follow.

use super::{Asked, Grant, HOPS_AHEAD, snapshots::told};
use crate::{
    admission,
    node::Node,
    route::{self, Revision},
};
use freehold_domain::{
    ids::{CoreId, FunctionRef},
    limits::START_WAIT_S,
    outcome::InvokeError,
    ports::NotUp,
    record::TargetV1,
    time::Mono,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How long a revision may take to be made ready and to come up. Clients wait for an answer for a
/// minute by default.
pub(crate) const WAIT: Duration = Duration::from_secs(START_WAIT_S as u64 * 3 / 4);
/// Between two looks at one that is being made ready.
const LOOK: Duration = Duration::from_millis(20);
/// The code of what has failed so often that it is not tried at this time.
const INIT_FAILED: &str = "FunctionError.RuntimeInitError";

/// Errors: [`NotUp`].
pub(crate) async fn comes_up(
    node: &Arc<Node>,
    here: CoreId,
    function: &FunctionRef,
    target: TargetV1,
) -> Result<(), NotUp> {
    let deadline = node.parts.clock.now() + WAIT;
    let qualifier = target.into();
    loop {
        let revision = match route::resolve(node, function, &qualifier).await {
            Ok(revision) => revision,
            Err(InvokeError::NotReady { pending: true, .. }) => {
                let now = node.parts.clock.now();
                if now >= deadline {
                    return Err(not_yet("it is still being made ready"));
                }
                node.parts.clock.sleep(LOOK).await;
                continue;
            }
            Err(InvokeError::NotReady { reason, .. }) => {
                return Err(NotUp::Failed {
                    code: INIT_FAILED,
                    reason,
                });
            }
            Err(error) => return Err(not_yet(&error.to_string())),
        };
        // Nobody runs code that may not be called.
        if let Err(error) = admission::within_budget(node, function) {
            return Err(not_yet(&error.to_string()));
        }
        // One that was replaced meanwhile is looked up again.
        if let Some(shown) = shows(node, here, &revision, deadline).await {
            return shown;
        }
    }
}

/// Whether this very revision comes up; `None` where it was replaced meanwhile.
pub(crate) async fn shows(
    node: &Arc<Node>,
    here: CoreId,
    revision: &Arc<Revision>,
    deadline: Mono,
) -> Option<Result<(), NotUp>> {
    // As an event would, it tries once more.
    let first = shows_once(node, here, revision, deadline).await;
    if !matches!(first, Some(Err(NotUp::Failed { .. }))) {
        return first;
    }
    match shows_once(node, here, revision, deadline).await {
        second @ (None | Some(Ok(()))) => second,
        // Why it failed, and not why there was no other try.
        Some(Err(_)) => first,
    }
}

async fn shows_once(
    node: &Arc<Node>,
    here: CoreId,
    revision: &Arc<Revision>,
    deadline: Mono,
) -> Option<Result<(), NotUp>> {
    if revision.pool.has_instances() {
        return Some(Ok(()));
    }
    let mut came_up = true;
    let grant = match revision.ask(node, here, HOPS_AHEAD) {
        Asked::Now(grant) => {
            came_up = false;
            grant
        }
        Asked::Wait(mut ticket) => {
            tokio::select! {
                biased;
                grant = &mut ticket.grant => grant.unwrap_or(Grant::Replaced),
                () = node.parts.clock.sleep_until(deadline) => {
                    return Some(Err(not_yet("no instance came up in time")));
                }
            }
        }
    };
    Some(match grant {
        // Its slot is free again, for whoever calls next: no call has waited for it.
        Grant::Lease(lease) => {
            if came_up && lease.cell().invocations.load(Ordering::Relaxed) == 0 {
                lease.cell().set_made_ahead(true);
                node.counters.ahead_started();
            }
            drop(lease);
            Ok(())
        }
        Grant::Replaced => return None,
        Grant::FailedInit(failed) => Err(told(&failed.failure, node.init_timeout())),
        Grant::Backoff(_) => Err(NotUp::Failed {
            code: INIT_FAILED,
            reason: "its init has failed several times in a row".to_owned(),
        }),
        Grant::Failed(error) => Err(not_yet(&error.to_string())),
    })
}

fn not_yet(reason: &str) -> NotUp {
    NotUp::NotYet {
        reason: reason.to_owned(),
    }
}
