//! From a function's name to the revision that serves it.
//!
//! The cache is filled on demand and kept true by the store's watch, which is delivered before a
//! write returns; a warm path never touches the store. A revision is immutable: what an update
//! changes is which revision the cache points at, and the one before it is retired.

mod aliases;
mod heads;
mod revision;

pub(crate) use heads::ComingUp;
pub(crate) use revision::{Revision, Runs};

use aliases::Aliases;
use heads::Heads;

use crate::{admission::Admitted, node::Node, pool::SnapshotOf, tags::TagSet, tenancy};
use bytes::Bytes;
use freehold_domain::{
    body::BodyError,
    ids::{AliasName, FunctionRef, Qualifier, TenantId},
    invocation::{HOPS_MAX, Invocation, Mode},
    outcome::InvokeError,
    ports::{Stored, Watcher},
    principal::Principal,
    record::{FunctionStateV1, FunctionV1, Key, Kind, RevisionV1, decode},
    time::{Mono, Wall},
};
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// An invocation that knows its revision.
pub(crate) struct Routed {
    pub(crate) invocation: Invocation,
    /// The whole event, within its limit.
    pub(crate) event: Bytes,
    pub(crate) revision: Arc<Revision>,
    pub(crate) received: Wall,
    pub(crate) received_at: Mono,
    /// What the function was tagged with then.
    pub(crate) tags: Option<Arc<TagSet>>,
}

/// Reads the event and finds the revision.
///
/// Errors: [`InvokeError::EventTooLarge`], [`InvokeError::LoopDetected`],
/// [`InvokeError::NotFound`], [`InvokeError::NotReady`], [`InvokeError::TenantDisabled`].
pub(crate) async fn route(
    node: &Arc<Node>,
    mut invocation: Invocation,
) -> Result<Routed, InvokeError> {
    let (received, received_at) = (node.parts.clock.wall(), node.parts.clock.now());
    if invocation.hops > HOPS_MAX {
        return Err(InvokeError::LoopDetected {
            hops: invocation.hops,
        });
    }
    let limits = node.limits_of(&invocation.function.tenant);
    let limit_bytes = match invocation.mode {
        Mode::RequestResponse => limits.sync_payload_bytes,
        Mode::Event => limits.async_payload_bytes,
    };
    let body = std::mem::replace(&mut invocation.body, freehold_domain::Body::empty());
    let event = match body.collect(limit_bytes).await {
        Ok((event, _)) => event,
        Err(BodyError::TooLarge { limit_bytes }) => {
            return Err(InvokeError::EventTooLarge { limit_bytes });
        }
        Err(BodyError::Broken { reason }) => {
            return Err(InvokeError::Internal {
                component: "the event's sender",
                reason,
            });
        }
    };
    let tags = node.tags.of(&invocation.function);
    let revision = resolve(node, &invocation.function, &invocation.qualifier).await?;
    Ok(Routed {
        tags,
        invocation,
        event,
        revision,
        received,
        received_at,
    })
}

/// Finds the revision again for an invocation whose first one was replaced while it waited.
pub(crate) async fn again(
    node: &Arc<Node>,
    mut admitted: Admitted,
) -> Result<Admitted, InvokeError> {
    if node.is_stopped() {
        return Err(InvokeError::Draining);
    }
    let invocation = &admitted.invocation;
    let revision = resolve(node, &invocation.function, &invocation.qualifier).await?;
    if Arc::ptr_eq(&revision, &admitted.revision) {
        // The cache points at its successor before a revision is retired; going round for the
        // same one would never end.
        let reason = "a revision that was replaced is still routed to".to_owned();
        return Err(InvokeError::Internal {
            component: "engine",
            reason,
        });
    }
    admitted.revision = revision;
    Ok(admitted)
}

pub(crate) async fn resolve(
    node: &Arc<Node>,
    function: &FunctionRef,
    qualifier: &Qualifier,
) -> Result<Arc<Revision>, InvokeError> {
    let may_run = || match node.admission.is_disabled(&function.tenant) {
        true => Err(InvokeError::TenantDisabled),
        false => Ok(()),
    };
    may_run()?;
    let found = match qualifier {
        Qualifier::Latest => node.routes.find(node, function, Target::Head).await?,
        Qualifier::Revision(number) => {
            let target = Target::Published(*number);
            node.routes.find(node, function, target).await?
        }
        Qualifier::Alias(name) => node.routes.find_pointed_at(node, function, name).await?,
    };
    // Its tenant may have been disabled meanwhile: what is found after that was not ended with it.
    may_run()?;
    match found {
        Some(Served::Ready(revision)) => Ok(revision),
        Some(Served::NotReady { pending, reason }) => Err(InvokeError::NotReady {
            function: function.name.to_string(),
            pending,
            reason: reason.to_string(),
        }),
        None => Err(not_found(function, qualifier)),
    }
}

fn not_found(function: &FunctionRef, qualifier: &Qualifier) -> InvokeError {
    InvokeError::NotFound {
        function: function.name.to_string(),
        qualifier: qualifier.clone(),
    }
}

/// What a name points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Target {
    Head,
    Published(u64),
}

/// What serves a target.
#[derive(Clone)]
enum Served {
    Ready(Arc<Revision>),
    NotReady { pending: bool, reason: Arc<str> },
}

/// The cache.
pub(crate) struct Routes {
    functions: RwLock<HashMap<FunctionRef, HashMap<Target, Served>>>,
    /// Grows with every change the watch tells: a fill that was overtaken reads again.
    changes: AtomicU64,
    aliases: Aliases,
    heads: Heads,
}

/// Fills that were overtaken are tried this often; the last one is served without being kept.
const FILL_TRIES: u32 = 8;

impl Routes {
    pub(crate) fn new() -> Self {
        Self {
            functions: RwLock::default(),
            changes: AtomicU64::new(0),
            aliases: Aliases::default(),
            heads: Heads::default(),
        }
    }

    /// Whether instances of a function's head are there, of other content than this.
    pub(crate) fn runs_another(
        &self,
        function: &FunctionRef,
        created: Wall,
        generation: u64,
    ) -> bool {
        let functions = self.functions.read();
        let served = functions.get(function).and_then(|of| of.get(&Target::Head));
        matches!(served, Some(Served::Ready(head)) if head.pool.has_instances()
            && (head.created != created || head.spec.generation != generation))
    }

    /// Notes that a head comes up before it is served; `None` where it does already.
    pub(crate) fn begin_head(&self, node: &Arc<Node>, revision: Arc<Revision>) -> Option<ComingUp> {
        self.heads.begin(node, revision)
    }

    /// What serves a call by an alias's name. An alias may move, and what it pointed at may go,
    /// between the two reads: then where it leads by now is found.
    async fn find_pointed_at(
        &self,
        node: &Arc<Node>,
        function: &FunctionRef,
        name: &AliasName,
    ) -> Result<Option<Served>, InvokeError> {
        for _ in 0..FILL_TRIES {
            let Some(target) = self.aliases.find(node, function, name).await? else {
                return Ok(None);
            };
            if let Some(served) = self.find(node, function, target).await? {
                return Ok(Some(served));
            }
        }
        Ok(None)
    }

    async fn find(
        &self,
        node: &Arc<Node>,
        function: &FunctionRef,
        target: Target,
    ) -> Result<Option<Served>, InvokeError> {
        let known = |functions: &HashMap<FunctionRef, HashMap<Target, Served>>| {
            functions
                .get(function)
                .and_then(|targets| targets.get(&target))
                .cloned()
        };
        if let Some(served) = known(&self.functions.read()) {
            return Ok(Some(served));
        }
        let mut tries = 0;
        loop {
            let seen = self.changes.load(Ordering::Acquire);
            let Some(stored) = read(node, function, target).await? else {
                return Ok(None);
            };
            let served = self.serve(node, function, target, &stored, None);
            let mut functions = self.functions.write();
            if let Some(served) = known(&functions) {
                return Ok(Some(served));
            }
            let is_closed = matches!(&served, Served::Ready(made) if made.pool.is_retired());
            let is_current = self.changes.load(Ordering::Acquire) == seen && !is_closed;
            tries += 1;
            if is_current {
                let targets = functions.entry(function.clone()).or_default();
                targets.insert(target, served.clone());
                drop(functions);
                bring_up(node, function, &served);
            }
            if is_current || tries == FILL_TRIES {
                return Ok(Some(served));
            }
        }
    }

    /// What a stored record means for a target; keeps the revision at hand when it is the same.
    fn serve(
        &self,
        node: &Arc<Node>,
        function: &FunctionRef,
        target: Target,
        stored: &Stored,
        at_hand: Option<&Served>,
    ) -> Served {
        let broken = |error: &dyn std::fmt::Display| {
            tracing::error!(key = %stored.key, %error, "a record cannot be read");
            Served::NotReady {
                pending: false,
                reason: "its record cannot be read".into(),
            }
        };
        let (spec, created, state, snapshot) = match target {
            Target::Head => match decode::<FunctionV1>(&stored.bytes) {
                Ok(record) => (record.served, record.created, record.state, None),
                Err(error) => return broken(&error),
            },
            Target::Published(number) => match decode::<RevisionV1>(&stored.bytes) {
                Ok(record) => {
                    let snapshot = SnapshotOf::made(function, number, &record);
                    (Some(record.spec), Wall(0), record.state, snapshot)
                }
                Err(error) => return broken(&error),
            },
        };
        match (state, spec) {
            (FunctionStateV1::Failed { reason, .. }, _) => Served::NotReady {
                pending: false,
                reason: reason.into(),
            },
            (FunctionStateV1::Pending, _) | (FunctionStateV1::Active, None) => Served::NotReady {
                pending: true,
                reason: "the function is being created".into(),
            },
            (FunctionStateV1::Active, Some(spec)) => {
                if let Some(Served::Ready(known)) = at_hand
                    && known.spec.generation == spec.generation
                    && known.created == created
                {
                    return Served::Ready(known.clone());
                }
                if target == Target::Head
                    && let Some(revision) = self.heads.take(function, created, spec.generation)
                {
                    if let Some(Served::Ready(before)) = at_hand {
                        revision.inherit(node, before);
                    }
                    return Served::Ready(revision);
                }
                let executed = match target {
                    Target::Head => Qualifier::Latest,
                    Target::Published(number) => Qualifier::Revision(number),
                };
                match Revision::new(node, function, executed, created, spec, snapshot) {
                    Ok(revision) => {
                        let revision = Arc::new(revision);
                        node.remember(&revision);
                        if let Some(Served::Ready(before)) = at_hand {
                            revision.inherit(node, before);
                        }
                        Served::Ready(revision)
                    }
                    Err(reason) => Served::NotReady {
                        pending: false,
                        reason: reason.into(),
                    },
                }
            }
        }
    }

    /// Routes nothing of a tenant any more, and retires what it routed. Whoever asks afterwards
    /// makes it anew from the records.
    pub(crate) fn forget(&self, node: &Arc<Node>, tenant: &TenantId) {
        self.aliases.forget(tenant);
        self.heads.forget(node, tenant);
        let forgotten: Vec<Served> = {
            let mut functions = self.functions.write();
            self.changes.fetch_add(1, Ordering::AcqRel);
            let of_tenant = functions.extract_if(|function, _| function.tenant == *tenant);
            of_tenant
                .flat_map(|(_, targets)| targets.into_values())
                .collect()
        };
        for served in forgotten {
            if let Served::Ready(revision) = served {
                revision.retire(node);
            }
        }
    }

    /// Every revision that is served.
    pub(crate) fn served(&self) -> Vec<Arc<Revision>> {
        let functions = self.functions.read();
        let served = functions.values().flat_map(HashMap::values);
        let ready = served.filter_map(|served| match served {
            Served::Ready(revision) => Some(revision.clone()),
            Served::NotReady { .. } => None,
        });
        ready.collect()
    }

    /// Takes a change over. Synchronous and short: it runs inside the store's commit.
    fn changed(
        &self,
        node: &Arc<Node>,
        function: &FunctionRef,
        target: Target,
        stored: Option<&Stored>,
    ) {
        let (mut retired, mut made) = (Vec::new(), None);
        {
            let mut functions = self.functions.write();
            self.changes.fetch_add(1, Ordering::AcqRel);
            match stored {
                None if target == Target::Head => {
                    retired.extend(
                        functions
                            .remove(function)
                            .into_iter()
                            .flat_map(HashMap::into_values),
                    );
                }
                None => {
                    retired.extend(functions.get_mut(function).and_then(|t| t.remove(&target)));
                }
                Some(stored) => {
                    if let Some(targets) = functions.get_mut(function)
                        && let Some(before) = targets.remove(&target)
                    {
                        let served = self.serve(node, function, target, stored, Some(&before));
                        let kept = matches!((&before, &served), (Served::Ready(a), Served::Ready(b))
                            if Arc::ptr_eq(a, b));
                        targets.insert(target, served.clone());
                        if !kept {
                            made = Some(served);
                            retired.push(before);
                        }
                    }
                }
            }
        }
        if let Some(served) = made {
            bring_up(node, function, &served);
        }
        for served in retired {
            if let Served::Ready(revision) = served {
                revision.retire(node);
            }
        }
    }
}

/// Has a revision that is served from now on start what is to be ready of it. Not before: one that
/// nobody finds is never replaced either, and would keep its instances for ever.
fn bring_up(node: &Arc<Node>, function: &FunctionRef, served: &Served) {
    let Served::Ready(revision) = served else {
        return;
    };
    if node.admission.is_disabled(&function.tenant) {
        return;
    }
    let wanted = (function.clone(), revision.executed.clone());
    let minimum = node.minimums.lock().get(&wanted).copied();
    if let Some(minimum) = minimum {
        revision.set_minimum(node, minimum);
    }
    let ready = node.parts.config.now().ready;
    if ready > 0 && revision.executed == Qualifier::Latest {
        revision.set_ready(node, ready);
    }
}

async fn read(
    node: &Node,
    function: &FunctionRef,
    target: Target,
) -> Result<Option<Stored>, InvokeError> {
    let FunctionRef {
        tenant,
        region,
        name,
    } = function;
    let key = match target {
        Target::Head => Key::function(tenant, region, name),
        Target::Published(number) => Key::revision(tenant, region, name, number),
    };
    let who = Principal::platform("engine");
    node.parts
        .records
        .get(&who, &key)
        .await
        .map_err(|error| InvokeError::Internal {
            component: "storage",
            reason: error.to_string(),
        })
}

/// Which function and target a record belongs to.
fn subject(key: &Key) -> Option<(FunctionRef, Target)> {
    let target = match key.kind() {
        Kind::Function => Target::Head,
        Kind::Revision => Target::Published(key.name().get(1)?.parse().ok()?),
        _ => return None,
    };
    let name = key.name().first()?.parse().ok()?;
    Some((
        FunctionRef {
            tenant: key.tenant().clone(),
            region: key.region().clone(),
            name,
        },
        target,
    ))
}

/// Keeps the cache, the reservations, the tags, the tenants' standing and the reconciler up to date.
pub(crate) struct RouteWatcher {
    pub(crate) node: Weak<Node>,
    pub(crate) reconcile: tokio::sync::mpsc::UnboundedSender<Key>,
}

impl Watcher for RouteWatcher {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        let Some(node) = self.node.upgrade() else {
            return;
        };
        for (key, stored) in changes {
            if key.kind() == Kind::Tenant {
                tenancy::note(&node, key.tenant(), stored.as_ref());
            }
            if key.kind() == Kind::Alias
                && let Some((function, alias)) = aliases::subject(key)
            {
                let aliases = &node.routes.aliases;
                aliases.changed(&function, &alias, stored.as_ref());
            }
            let Some((function, target)) = subject(key) else {
                continue;
            };
            if target == Target::Head {
                note_head(&node, &function, stored.as_ref());
            }
            node.routes
                .changed(&node, &function, target, stored.as_ref());
            match (stored, target) {
                (Some(_), _) => {
                    let _ = self.reconcile.send(key.clone());
                }
                (None, Target::Published(number)) => {
                    node.snapshots.forget(&SnapshotOf { function, number });
                }
                (None, Target::Head) => {
                    node.routes.aliases.gone(&function);
                    node.routes.heads.gone(&node, &function);
                }
            }
        }
    }
}

/// Takes a function's reservation and tags over from its record.
pub(crate) fn note_head(node: &Node, function: &FunctionRef, stored: Option<&Stored>) {
    let record = stored.and_then(|stored| decode::<FunctionV1>(&stored.bytes).ok());
    let (reserved, tags) = record
        .map(|record| (record.reserved_concurrency, record.tags))
        .unwrap_or_default();
    node.admission.reserve(function, reserved);
    node.tags.set(function, tags);
}
