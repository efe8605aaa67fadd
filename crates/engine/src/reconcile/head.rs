//! The instance that a changed head is shown by, before calls move to it.
//!
//! Where nothing of a function runs, no traffic moves: its next call starts what it finds, as on
//! AWS. Where something does, callers would meet a new head's cold start, or its broken init.

use super::function_of;
use crate::{
    node::Node,
    pool::{START_WAIT, shows},
    route::{ComingUp, Revision},
};
use freehold_domain::{
    ids::{CoreId, FunctionRef, Qualifier},
    ports::NotUp,
    record::{FunctionV1, Key},
    time::Wall,
};
use std::sync::Arc;

/// How a head came up.
pub(super) struct Shown {
    created: Wall,
    generation: u64,
    /// Its init failed: a code that the wire knows, and text.
    pub(super) failed: Option<(&'static str, String)>,
    /// Keeps what came up, and others from doing the same, until it is reported.
    _coming: Option<ComingUp>,
}

impl Shown {
    pub(super) fn is_of(&self, record: &FunctionV1) -> bool {
        self.created == record.created && self.generation == record.head.generation
    }
}

/// Whether calls would move to a head that nobody has seen run.
pub(super) fn is_to_come_up(node: &Node, key: &Key, record: &FunctionV1) -> bool {
    let moves = |served: &FunctionRef| {
        node.routes
            .runs_another(served, record.created, record.head.generation)
            // Nobody runs code that may not be called.
            && node.parts.budgets.closed(served, &*node.parts.clock).is_none()
    };
    let served = record.served.as_ref().map(|served| served.generation);
    served.is_some_and(|served| served != record.head.generation)
        && function_of(key).is_some_and(|function| moves(&function))
}

/// Starts an instance of the head, which is kept for the moment at which the head is served; `None`
/// where somebody else does.
pub(super) async fn start(node: &Arc<Node>, key: &Key, record: FunctionV1) -> Option<Shown> {
    let function = function_of(key)?;
    let mut shown = Shown {
        created: record.created,
        generation: record.head.generation,
        failed: None,
        _coming: None,
    };
    let head = Revision::new(
        node,
        &function,
        Qualifier::Latest,
        record.created,
        record.head,
        None,
    );
    // What cannot even be begun says so where it is served.
    let Ok(revision) = head.map(Arc::new) else {
        return Some(shown);
    };
    let coming = node.routes.begin_head(node, revision.clone())?;
    // Who closes all of its tenant's finds it.
    node.remember(&revision);
    let deadline = node.parts.clock.now() + START_WAIT;
    match shows(node, CoreId(0), &revision, deadline).await {
        Some(Ok(())) => coming.is_up(),
        Some(Err(NotUp::Failed { code, reason })) => shown.failed = Some((code, reason)),
        // The machine had no room or no time for it: calls start their own, as they would have.
        Some(Err(NotUp::NotYet { .. })) | None => {}
    }
    shown._coming = Some(coming);
    Some(shown)
}
