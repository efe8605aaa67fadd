//! The start image that a published revision waits for.
//!
//! As on AWS a revision whose init fails has failed, and says so in its state. One whose process
//! cannot be carried, or that this machine has no images for, is served all the same: every start
//! takes the plain way, and the revision says why.

use super::{Unfinished, function_of};
use crate::{
    node::Node,
    pool::{NotMade, SnapshotOf, make_snapshot},
    route::Revision,
};
use freehold_domain::{
    ids::Qualifier,
    record::{FunctionStateV1, ImageStateV1, Key, RevisionV1},
    time::Wall,
};
use std::sync::Arc;

/// How often the machine may fail before the revision is served without.
const TRIES: u32 = 3;

/// What came of it.
pub(super) enum Published {
    Image(ImageStateV1),
    Failed { code: &'static str, reason: String },
}

impl Published {
    /// The revision's reported part.
    pub(super) fn reported(&self) -> (FunctionStateV1, ImageStateV1) {
        match self {
            Self::Image(image) => (FunctionStateV1::Active, image.clone()),
            Self::Failed { code, reason } => {
                let (code, reason) = ((*code).to_owned(), reason.clone());
                (FunctionStateV1::Failed { code, reason }, ImageStateV1::None)
            }
        }
    }
}

/// A revision was deleted before its image was begun, and nobody was told of one to forget.
pub(super) fn deleted(node: &Node, key: &Key) {
    let number = key.name().get(1).and_then(|number| number.parse().ok());
    if let (Some(function), Some(number)) = (function_of(key), number) {
        node.snapshots.forget(&SnapshotOf { function, number });
    }
}

/// Makes the image of a revision that is ready but for it; nothing when somebody else does. `tries` are
/// those of the machine: a tenant that is disabled uses none up.
///
/// Errors: [`Unfinished`] where it is to be tried again.
pub(super) async fn image(
    node: &Arc<Node>,
    key: &Key,
    record: RevisionV1,
    tries: &mut u32,
) -> Result<Option<Published>, Unfinished> {
    let Some(function) = function_of(key) else {
        return Ok(None);
    };
    if node.admission.is_disabled(&function.tenant) {
        return Err(Unfinished("its account is disabled".to_owned()));
    }
    let number = record.number;
    let of = SnapshotOf {
        function: function.clone(),
        number,
    };
    let executed = Qualifier::Revision(number);
    // Nobody is routed to this one: what serves is made when the record says that it is ready.
    let revision = Revision::new(node, &function, executed, Wall(0), record.spec, None);
    let revision = match revision {
        Ok(revision) => Arc::new(revision),
        Err(reason) => return Ok(Some(Published::Image(ImageStateV1::Refused { reason }))),
    };
    if !node.snapshots.begin(&of) {
        return Ok(None);
    }
    // Who closes all of its tenant's finds it.
    node.remember(&revision);
    let refused = |reason| Published::Image(ImageStateV1::Refused { reason });
    match make_snapshot(node, &revision, &of).await {
        Ok(()) => Ok(Some(Published::Image(ImageStateV1::Made))),
        Err(NotMade::Failed { code, reason }) => Ok(Some(Published::Failed { code, reason })),
        Err(NotMade::Refused { reason }) => Ok(Some(refused(reason))),
        Err(NotMade::NotYet { reason }) if revision.pool.is_closed() => Err(Unfinished(reason)),
        Err(NotMade::NotYet { reason }) => {
            *tries += 1;
            match *tries >= TRIES {
                true => Ok(Some(refused(reason))),
                false => Err(Unfinished(reason)),
            }
        }
    }
}
