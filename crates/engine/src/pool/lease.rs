//! The hold of one invocation on one slot.

use super::Cell;
use crate::{node::Node, route::Revision};
use freehold_domain::ids::CoreId;
use std::sync::{Arc, Weak};

/// Held until dropped; the drop gives the slot back, or ends the instance when an event went in
/// and no answer came out: nobody knows what such an instance does next.
pub(crate) struct Lease {
    inner: Option<(Arc<Revision>, Arc<Cell>)>,
    dirty: bool,
}

impl Lease {
    pub(super) fn new(revision: Arc<Revision>, cell: Arc<Cell>) -> Self {
        Self {
            inner: Some((revision, cell)),
            dirty: false,
        }
    }

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self
            .inner
            .as_ref()
            .expect("a lease holds its slot until it is dropped")
            .1
    }

    pub(crate) fn revision(&self) -> &Revision {
        &self
            .inner
            .as_ref()
            .expect("a lease holds its slot until it is dropped")
            .0
    }

    pub(crate) fn core(&self) -> CoreId {
        self.cell().core
    }

    /// An event goes in.
    pub(crate) fn begin(&mut self) {
        self.dirty = true;
    }

    /// Its answer came out; the slot is as good as before.
    pub(crate) fn finish(&mut self) {
        self.dirty = false;
    }

    /// Takes the instance out of its pool: it has ended. Nothing is given back.
    pub(crate) fn ruin(mut self) {
        if let Some((revision, cell)) = self.inner.take() {
            revision.pool.remove(cell.id);
        }
    }

    /// The same for an instance that ended while nobody looked.
    pub(crate) fn bury(self) {
        let cell = self.cell().clone();
        self.ruin();
        cell.bury();
    }

    pub(super) fn disarm(mut self) -> Arc<Cell> {
        self.inner
            .take()
            .expect("a lease holds its slot until it is dropped")
            .1
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((revision, cell)) = self.inner.take() else {
            return;
        };
        let Some(node): Option<Arc<Node>> = Weak::upgrade(&cell.node) else {
            return;
        };
        if self.dirty {
            revision.pool.remove(cell.id);
            cell.end_soon(&node);
        } else {
            revision.pass_on(&node, cell);
        }
    }
}
