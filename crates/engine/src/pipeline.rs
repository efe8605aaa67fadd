//! The whole path of a request in one function.
//!
//! ```text
//! Invocation → Routed → Admitted → Placed → Finished → Outcome
//! ```
//!
//! Each stage takes the previous value by move; permits and leases live inside it, so dropping it
//! anywhere gives everything back. No stage calls an earlier one. A revision that is replaced
//! between routing and placing is routed again here, in sight: after a deployment has reported
//! success nothing starts on the code before it. An event whose instance ended before it was handed
//! over is placed again.

use crate::{
    admission::{self, Admitted},
    exchange,
    node::{Node, is_here},
    placement::{self, PlaceError, Placed},
    route, settle,
};
use freehold_domain::{
    Onward,
    ids::CoreId,
    invocation::Invocation,
    outcome::{InvokeError, Outcome},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};
use tokio::sync::oneshot;

/// Runs one event to its outcome.
pub(crate) async fn run(
    node: &Arc<Node>,
    here: CoreId,
    invocation: Invocation,
) -> Result<Outcome, InvokeError> {
    let running = node.begin();
    let routed = route::route(node, invocation).await?;
    let mut admitted = admission::admit(node, routed, running)?;
    loop {
        let placed = loop {
            match placement::place(node, here, admitted).await {
                Ok(placed) => break placed,
                Err(PlaceError::Replaced(back)) => admitted = route::again(node, *back).await?,
                Err(PlaceError::Refused(error)) => return Err(error),
            }
        };

        // From here on the invocation belongs to the core of its instance: it is handed over once,
        // as a value, and settles whatever its caller does. A caller that drops its end cancels.
        match handed_over(node, placed).await? {
            Ok(settled) => return settled,
            // The instance ended on the way there; the event has not been touched.
            Err(back) => admitted = *back,
        }
    }
}

/// What came of it, or the event as it was.
type Ran = Result<Result<Outcome, InvokeError>, Box<Admitted>>;

/// Runs a placed invocation on the core of its instance.
///
/// Where that is this thread's, the caller runs it itself and a task is made only for one whose
/// caller has gone: two wake-ups and a queue less for every warm call.
async fn handed_over(node: &Arc<Node>, placed: Placed) -> Result<Ran, InvokeError> {
    let (core, its_node) = (placed.core(), node.clone());
    if is_here(core) {
        let caller = Arc::new(AtomicBool::new(true));
        let seen = caller.clone();
        let ran = async move {
            // Polled anew by the task that takes over, and by nothing else in between.
            let gone = std::future::poll_fn(|_| match seen.load(Ordering::Acquire) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            });
            let ran = exchange::exchange(&its_node, placed, gone).await;
            ran.map(|finished| settle::settle(&its_node, core, finished))
        };
        let node = node.clone();
        let run = Onward::new(ran, move |rest| {
            caller.store(false, Ordering::Release);
            drop(node.spawn_on(core, rest));
        });
        return Ok(run.await);
    }
    let (mut reply, outcome) = oneshot::channel();
    node.spawn_on(core, async move {
        let ran = exchange::exchange(&its_node, placed, reply.closed()).await;
        let _ = reply.send(ran.map(|finished| settle::settle(&its_node, core, finished)));
    });
    outcome.await.map_err(|_| InvokeError::Internal {
        component: "engine",
        reason: "the core that ran the invocation has stopped".to_owned(),
    })
}
