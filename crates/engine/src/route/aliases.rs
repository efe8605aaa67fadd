//! What aliases point at.
//!
//! A cache like that of revisions: filled on demand, kept true by the store's watch before a write
//! returns. An alias holds no instances; what it points at is routed as if that had been named.

use super::{FILL_TRIES, Target};
use crate::node::Node;
use freehold_domain::{
    ids::{AliasName, FunctionRef, TenantId},
    outcome::InvokeError,
    ports::Stored,
    principal::Principal,
    record::{AliasV1, Key, SplitV1, TargetV1, decode},
};
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Where an alias leads.
#[derive(Debug, Clone, Copy)]
struct Pointer {
    first: Target,
    split: Option<SplitV1>,
}

impl Pointer {
    /// `None` for a record that does not read, which is told to the log.
    fn of(stored: &Stored) -> Option<Self> {
        let read = decode::<AliasV1>(&stored.bytes);
        let alias = read
            .inspect_err(
                |error| tracing::error!(key = %stored.key, %error, "an alias does not read"),
            )
            .ok()?;
        Some(Self {
            first: match alias.target {
                TargetV1::Head => Target::Head,
                TargetV1::Revision(number) => Target::Published(number),
            },
            split: alias.split,
        })
    }

    /// One draw for each call, so that its parts of the traffic are those of its weights.
    fn draw(&self, node: &Node) -> Target {
        match self.split {
            Some(split) if unit(node.parts.ids.random()) < split.weight => {
                Target::Published(split.revision)
            }
            _ => self.first,
        }
    }
}

/// Uniform in 0.0 .. 1.0, of the bits that a fraction has.
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// The cache.
#[derive(Default)]
pub(super) struct Aliases {
    known: RwLock<HashMap<FunctionRef, HashMap<AliasName, Pointer>>>,
    /// Grows with every change the watch tells: a fill that was overtaken reads again.
    changes: AtomicU64,
}

impl Aliases {
    /// What a call by this name runs; `None` where there is no such alias.
    pub(super) async fn find(
        &self,
        node: &Node,
        function: &FunctionRef,
        name: &AliasName,
    ) -> Result<Option<Target>, InvokeError> {
        let known = || {
            let known = self.known.read();
            known.get(function).and_then(|all| all.get(name)).copied()
        };
        if let Some(pointer) = known() {
            return Ok(Some(pointer.draw(node)));
        }
        let mut tries = 0;
        loop {
            let seen = self.changes.load(Ordering::Acquire);
            let stored = read(node, function, name).await?;
            let Some(pointer) = stored.as_ref().and_then(Pointer::of) else {
                return Ok(None);
            };
            let mut all = self.known.write();
            tries += 1;
            if self.changes.load(Ordering::Acquire) == seen {
                let of = all.entry(function.clone()).or_default();
                of.insert(name.clone(), pointer);
                return Ok(Some(pointer.draw(node)));
            }
            if tries == FILL_TRIES {
                return Ok(Some(pointer.draw(node)));
            }
        }
    }

    /// Takes a change over; only what was asked for is held.
    pub(super) fn changed(
        &self,
        function: &FunctionRef,
        name: &AliasName,
        stored: Option<&Stored>,
    ) {
        let mut known = self.known.write();
        self.changes.fetch_add(1, Ordering::AcqRel);
        let Some(all) = known.get_mut(function) else {
            return;
        };
        match stored.and_then(Pointer::of) {
            Some(pointer) => {
                if let Some(held) = all.get_mut(name) {
                    *held = pointer;
                }
            }
            None => {
                all.remove(name);
            }
        }
        if all.is_empty() {
            known.remove(function);
        }
    }

    /// Forgets those of a function that is gone.
    pub(super) fn gone(&self, function: &FunctionRef) {
        let mut known = self.known.write();
        self.changes.fetch_add(1, Ordering::AcqRel);
        known.remove(function);
    }

    /// Forgets those of a tenant.
    pub(super) fn forget(&self, tenant: &TenantId) {
        let mut known = self.known.write();
        self.changes.fetch_add(1, Ordering::AcqRel);
        known.retain(|function, _| function.tenant != *tenant);
    }
}

async fn read(
    node: &Node,
    function: &FunctionRef,
    name: &AliasName,
) -> Result<Option<Stored>, InvokeError> {
    let key = Key::alias(&function.tenant, &function.region, &function.name, name);
    let who = Principal::platform("engine");
    let read = node.parts.records.get(&who, &key).await;
    read.map_err(|error| InvokeError::Internal {
        component: "storage",
        reason: error.to_string(),
    })
}

/// Which alias a record is.
pub(super) fn subject(key: &Key) -> Option<(FunctionRef, AliasName)> {
    let [function, alias] = key.name() else {
        return None;
    };
    let function = FunctionRef {
        tenant: key.tenant().clone(),
        region: key.region().clone(),
        name: function.parse().ok()?,
    };
    Some((function, alias.parse().ok()?))
}
