//! An event of ours through an instance that was made ahead, before anybody is given it.
//!
//! A process that was thawed from an image, or has only run its init, writes to some pages for the
//! first time with its first event, and each is copied while the caller waits. So that event is ours:
//! it goes the way of all events but for the function, which does not hear of it. Nothing of it is
//! logged, billed or counted as an invocation; what it took of the processor is on nobody's record.
//!
//! Refuses to keep anybody waiting: where an event of the function's waits already, that one is the
//! first. One that does not come back from it in time would not have come back from an event either.

use super::{Cell, Pool, launch::end_of};
use crate::{node::Node, route::Revision};
use bytes::Bytes;
use freehold_domain::{
    body::Body,
    ids::Qualifier,
    ports::{GuestCall, LinkError},
    time::Mono,
    trace::TraceHeader,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How long it may take: a thousand times as long as it does, for machines that have much to start.
const REHEARSAL_MAX: Duration = Duration::from_secs(2);
/// How long those of a revision are left alone after one has failed: what is to be ready comes up so,
/// and one that cannot rehearse may still serve.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A bit of everything that events are made of.
const EVENT: &[u8] =
    br#"{"text": "\u00e9", "numbers": [1, 2.5, -3e8], "nothing": null, "nested": {"is": [true]}}"#;

/// Why an instance was ended in place of being kept.
pub(super) enum Ended {
    /// It failed.
    Failed { reason: String },
    /// Its tenant was disabled.
    Closed,
}

/// Has `cell` rehearse, where its runtime can and nobody waits for it.
///
/// Errors: why it is of no use; it was ended.
pub(super) async fn rehearse(
    node: &Arc<Node>,
    revision: &Revision,
    cell: &Cell,
) -> Result<(), Ended> {
    if revision.pool.is_waited_for() || !revision.pool.may_rehearse(node.parts.clock.now()) {
        return Ok(());
    }
    let Some(rehearsal) = cell.link.rehearse(event(node, revision)) else {
        return Ok(());
    };
    let before_us = cell.instance.spent().map_or(0, |spent| spent.cpu_us);
    let clock = &node.parts.clock;
    let failed = tokio::select! {
        biased;
        went = rehearsal => match went {
            Ok(()) => {
                node.counters.rehearsed();
                if let Ok(spent) = cell.instance.spent() {
                    let took_us = spent.cpu_us.saturating_sub(before_us);
                    cell.cpu_seen_us.fetch_add(took_us, Ordering::Relaxed);
                }
                return Ok(());
            }
            Err(error) => error,
        },
        () = revision.pool.closed() => {
            cell.end().await;
            return Err(Ended::Closed);
        }
        _ = cell.instance.exited() => LinkError::Closed,
        () = clock.sleep(REHEARSAL_MAX) => LinkError::Broken {
            reason: format!("it took longer than {REHEARSAL_MAX:?}"),
        },
    };
    node.counters.rehearsal_failed();
    let again = node.parts.clock.now() + AGAIN_AFTER;
    revision.pool.rehearses_after(again);
    let report = end_of(node, &*cell.instance).await;
    cell.note_crash(revision, &report.cause);
    cell.bury();
    let reason = format!("{failed}; {:?}", report.cause);
    Err(Ended::Failed { reason })
}

impl Pool {
    fn may_rehearse(&self, now: Mono) -> bool {
        now >= self.state.lock().rehearse_after
    }

    fn rehearses_after(&self, at: Mono) {
        self.state.lock().rehearse_after = at;
    }
}

fn event(node: &Node, revision: &Revision) -> GuestCall {
    // Nobody else ever has this one, and nobody hears of it.
    let id = node.parts.ids.invocation();
    let is_bare = revision.executed == Qualifier::Latest;
    GuestCall {
        id,
        function: revision.function.clone(),
        qualifier: (!is_bare).then(|| revision.executed.clone()),
        deadline: node.parts.clock.wall() + revision.timeout_now(node),
        trace: TraceHeader::new_root(id.0),
        client_context: None,
        by_url: None,
        body: Body::full(Bytes::from_static(EVENT)),
    }
}
