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
    admission, exchange,
    node::Node,
    placement::{self, PlaceError},
    route, settle,
};
use freehold_domain::{
    ids::CoreId,
    invocation::Invocation,
    outcome::{InvokeError, Outcome},
};
use std::sync::Arc;
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

        // From here on the invocation belongs to the core of its instance, in a task of its own:
        // it is handed over once, as a value, and settles whatever its caller does. A caller that
        // drops its end cancels.
        let (mut reply, outcome) = oneshot::channel();
        let (core, its_node) = (placed.core(), node.clone());
        node.spawn_on(core, async move {
            let ran = exchange::exchange(&its_node, placed, reply.closed()).await;
            let _ = reply.send(ran.map(|finished| settle::settle(&its_node, core, finished)));
        });
        match outcome.await {
            Ok(Ok(settled)) => return settled,
            // The instance ended on the way there; the event has not been touched.
            Ok(Err(back)) => admitted = *back,
            Err(_) => {
                return Err(InvokeError::Internal {
                    component: "engine",
                    reason: "the core that ran the invocation has stopped".to_owned(),
                });
            }
        }
    }
}
