//! Heads that come up before they are served: one instance of each, whoever asks.
//!
//! A changed function may be looked after by several at once, since each write of its record is
//! told. The first brings its head up, and the others leave it to that one; who changes the
//! function again meanwhile ends what came up for nothing.

use super::Revision;
use crate::node::Node;
use freehold_domain::{
    ids::{FunctionRef, TenantId},
    time::Wall,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

struct Head {
    revision: Arc<Revision>,
    /// Whether it may be served.
    is_up: bool,
}

impl Head {
    fn is_of(&self, created: Wall, generation: u64) -> bool {
        self.revision.created == created && self.revision.spec.generation == generation
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Heads(Mutex<HashMap<FunctionRef, Head>>);

/// The hold on a head that comes up. What is not served when it is dropped ends.
pub(crate) struct ComingUp {
    node: Weak<Node>,
    pub(crate) revision: Arc<Revision>,
}

impl Heads {
    /// Notes that this head comes up, in place of an earlier one; `None` where it does already.
    pub(super) fn begin(&self, node: &Arc<Node>, revision: Arc<Revision>) -> Option<ComingUp> {
        let head = Head {
            revision: revision.clone(),
            is_up: false,
        };
        let before = {
            let mut heads = self.0.lock();
            let known = heads.get(&revision.function);
            if known.is_some_and(|known| known.is_of(revision.created, revision.spec.generation)) {
                return None;
            }
            heads.insert(revision.function.clone(), head)
        };
        if let Some(before) = before {
            before.revision.close(node);
        }
        let node = Arc::downgrade(node);
        Some(ComingUp { node, revision })
    }

    /// The head of this content that came up: it is served from now on.
    pub(super) fn take(
        &self,
        function: &FunctionRef,
        created: Wall,
        generation: u64,
    ) -> Option<Arc<Revision>> {
        let mut heads = self.0.lock();
        let head = heads.get(function)?;
        let is_it = head.is_up && head.is_of(created, generation);
        let head = is_it.then(|| heads.remove(function)).flatten()?;
        (!head.revision.pool.is_retired()).then_some(head.revision)
    }

    /// A function was deleted.
    pub(super) fn gone(&self, node: &Arc<Node>, function: &FunctionRef) {
        let gone = self.0.lock().remove(function);
        if let Some(head) = gone {
            head.revision.close(node);
        }
    }

    /// Nothing of a tenant comes up any more.
    pub(super) fn forget(&self, node: &Arc<Node>, tenant: &TenantId) {
        let forgotten: Vec<Head> = {
            let mut heads = self.0.lock();
            let of_tenant = heads.extract_if(|function, _| function.tenant == *tenant);
            of_tenant.map(|(_, head)| head).collect()
        };
        for head in forgotten {
            head.revision.close(node);
        }
    }

    fn with<T>(
        &self,
        revision: &Arc<Revision>,
        work: impl FnOnce(&mut HashMap<FunctionRef, Head>) -> T,
    ) -> Option<T> {
        let mut heads = self.0.lock();
        let known = heads.get(&revision.function)?;
        Arc::ptr_eq(&known.revision, revision).then(|| work(&mut heads))
    }
}

impl ComingUp {
    /// An instance of it is there: whoever is routed to this content finds it.
    pub(crate) fn is_up(&self) {
        let Some(node) = self.node.upgrade() else {
            return;
        };
        node.routes.heads.with(&self.revision, |heads| {
            if let Some(head) = heads.get_mut(&self.revision.function) {
                head.is_up = true;
            }
        });
    }
}

impl Drop for ComingUp {
    fn drop(&mut self) {
        let Some(node) = self.node.upgrade() else {
            return;
        };
        let left = node.routes.heads.with(&self.revision, |heads| {
            heads.remove(&self.revision.function)
        });
        if left.is_some() {
            self.revision.close(&node);
        }
    }
}
