//! Makes what was asked for ready, and reports how that went.
//!
//! `control` writes a function's desired part; this reads it, opens the package, finds the
//! runtime, and writes the reported part through the same compare-and-set. It starts with every
//! record that was left unfinished and goes on with what the watch tells. It runs no function but for
//! two things: a revision that is published with SnapStart is initialised once, for its start image, and
//! a changed head of a function that runs comes up before calls move to it.

mod head;
mod publish;

use crate::{node::Node, pool::stock, route, tenancy};
use freehold_domain::{
    ids::{FunctionName, FunctionRef, Qualifier, TenantId},
    ports::{CodeError, CommitError, Expect, Fence, GuestCode, Op, PackageError, Stored},
    principal::Principal,
    record::{
        FunctionStateV1, FunctionV1, ImageStateV1, Key, Kind, RecordError, RevisionSpecV1,
        RevisionV1, UpdateStateV1, decode, encode,
    },
    runtime::WASM_RUNTIME,
};
use head::Shown;
use publish::Published;
use std::{
    os::fd::OwnedFd,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Functions that are made ready at once: unpacking is what takes time and memory.
const AT_ONCE: usize = 4;
/// Records read at once at start.
const PAGE: usize = 256;
/// How often a report that was overtaken is tried again at once.
const REPORT_TRIES: u32 = 16;
/// How often a function's revision is looked up to start what is to be ready of it.
const BRING_UP_TRIES: u32 = 8;
/// First and longest wait before a function that could not be looked after is looked after again:
/// a full disk is emptied some time, and nobody else would finish what was begun.
const AGAIN_MIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Why a spec cannot be made ready.
enum Unready {
    /// For good: a code that the wire knows, and text for the caller.
    Refused { code: &'static str, reason: String },
    /// For now: the machine failed, not the package.
    NotYet(Unfinished),
}

/// Why a record was left as it was; it is looked after again.
struct Unfinished(String);

/// Reads every tenant and function once: limits, reservations and tags are taken over, what is unfinished
/// is queued.
///
/// Errors: the store's text.
pub(crate) async fn scan(
    node: &Arc<Node>,
    queue: &mpsc::UnboundedSender<Key>,
) -> Result<(), String> {
    let who = Principal::platform("reconciler");
    for kind in [Kind::Tenant, Kind::Function, Kind::Revision] {
        let mut after: Option<Key> = None;
        loop {
            let page = node
                .parts
                .records
                .list_all(&who, kind, after.as_ref(), PAGE)
                .await;
            let page = page.map_err(|error| error.to_string())?;
            for stored in &page {
                if look_at(node, kind, stored) {
                    let _ = queue.send(stored.key.clone());
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => break,
            }
        }
    }
    Ok(())
}

/// Takes a stored record's reservation and tags over; whether something is left to do for it. Of a
/// hundred thousand records none or few are unfinished, and a record is read once here, not twice.
fn look_at(node: &Arc<Node>, kind: Kind, stored: &Stored) -> bool {
    match kind {
        Kind::Tenant => {
            tenancy::note(node, stored.key.tenant(), Some(stored));
            false
        }
        Kind::Function => {
            let Ok(record) = decode::<FunctionV1>(&stored.bytes) else {
                return true;
            };
            if (record.reserved_concurrency.is_some() || !record.tags.is_empty())
                && let Some(function) = function_of(&stored.key)
            {
                node.admission
                    .reserve(&function, record.reserved_concurrency);
                node.tags.set(&function, record.tags.clone());
            }
            !is_finished(&record)
        }
        _ => decode::<RevisionV1>(&stored.bytes)
            .map_or(true, |record| record.state == FunctionStateV1::Pending),
    }
}

/// Whether a function's reported part says all that its desired part asks for.
fn is_finished(record: &FunctionV1) -> bool {
    record.state != FunctionStateV1::Pending && record.last_update != UpdateStateV1::InProgress
}

fn function_of(key: &Key) -> Option<FunctionRef> {
    let name: FunctionName = key.name().first()?.parse().ok()?;
    Some(FunctionRef {
        tenant: key.tenant().clone(),
        region: key.region().clone(),
        name,
    })
}

/// Works the queue off until the node is gone.
pub(crate) async fn work(node: Weak<Node>, mut queue: mpsc::UnboundedReceiver<Key>) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(key) = queue.recv().await {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        tokio::spawn(look_after(node.clone(), key, permits.clone(), permit));
    }
}

/// Reconciles until there is nothing left to do; gives its place to others while it waits.
async fn look_after(
    node: Weak<Node>,
    key: Key,
    permits: Arc<Semaphore>,
    first: OwnedSemaphorePermit,
) {
    let (mut permit, mut wait) = (Some(first), AGAIN_MIN);
    let (mut published, mut image_tries) = (None, 0);
    let mut shown = None;
    while let Some(strong) = node.upgrade() {
        let done = reconcile(&strong, &key, published.as_ref(), shown.as_ref()).await;
        // An init of a tenant's own, up to minutes: others are made ready meanwhile.
        drop(permit.take());
        let done = match done {
            Ok(Next::Nothing) => return,
            Ok(Next::Image(record)) => {
                publish::image(&strong, &key, *record, &mut image_tries).await
            }
            Ok(Next::Start(record)) => {
                let Some(outcome) = head::start(&strong, &key, *record).await else {
                    return;
                };
                shown = Some(outcome);
                permit = permits.clone().acquire_owned().await.ok();
                continue;
            }
            Err(unfinished) => Err(unfinished),
        };
        let reason = match done {
            Ok(None) => return,
            Ok(Some(outcome)) => {
                published = Some(outcome);
                permit = permits.clone().acquire_owned().await.ok();
                continue;
            }
            Err(Unfinished(reason)) => reason,
        };
        match strong.admission.is_disabled(key.tenant()) {
            true => tracing::debug!(%key, %reason, "a function waits for its account"),
            false => {
                tracing::warn!(%key, %reason, again_in = ?wait, "a function is not ready yet");
            }
        }
        let clock = strong.parts.clock.clone();
        drop(strong);
        clock.sleep(wait).await;
        wait = (wait * 2).min(AGAIN_MAX);
        permit = permits.clone().acquire_owned().await.ok();
    }
}

/// What is left to do.
enum Next {
    Nothing,
    /// A start image, before the revision can be reported ready.
    Image(Box<RevisionV1>),
    /// An instance, before calls move to the head.
    Start(Box<FunctionV1>),
}

async fn reconcile(
    node: &Arc<Node>,
    key: &Key,
    published: Option<&Published>,
    shown: Option<&Shown>,
) -> Result<Next, Unfinished> {
    for _ in 0..REPORT_TRIES {
        let who = Principal::platform("reconciler");
        let stored = match node.parts.records.get(&who, key).await {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                if published.is_some() {
                    publish::deleted(node, key);
                }
                return Ok(Next::Nothing);
            }
            Err(error) => return Err(Unfinished(error.to_string())),
        };
        let bytes = match reported(node, key, &stored, published, shown).await? {
            Report::Nothing => return Ok(Next::Nothing),
            Report::Image(record) => return Ok(Next::Image(record)),
            Report::Start(record) => return Ok(Next::Start(record)),
            Report::Write(bytes) => bytes,
        };
        let (reported, expect) = (key.clone(), Expect::Version(stored.version));
        let op = Op::Put {
            key: reported.clone(),
            expect,
            bytes,
        };
        match node.parts.commit.commit(&who, vec![op], Fence::None).await {
            Ok(_) => {
                bring_up(node, &reported).await;
                return Ok(Next::Nothing);
            }
            // Changed meanwhile: what was made ready may not be what is wanted any more.
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(Unfinished(error.to_string())),
        }
    }
    Err(Unfinished(format!("overtaken {REPORT_TRIES} times")))
}

/// Has a function that can be called now start what it is to have ready, where heads have some.
async fn bring_up(node: &Arc<Node>, key: &Key) {
    if node.parts.config.now().ready > 0
        && key.kind() == Kind::Function
        && let Some(function) = function_of(key)
    {
        for _ in 0..BRING_UP_TRIES {
            match route::resolve(node, &function, &Qualifier::Latest).await {
                // Other changes came in between: it serves this call alone.
                Ok(revision) if revision.pool.ready() == 0 => {}
                // One that cannot be called has nothing to start.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// What is to be reported of a record.
enum Report {
    Nothing,
    /// A start image is to be made first.
    Image(Box<RevisionV1>),
    /// An instance is to come up first.
    Start(Box<FunctionV1>),
    /// The record with its reported part brought up to date.
    Write(Vec<u8>),
}

async fn reported(
    node: &Arc<Node>,
    key: &Key,
    stored: &Stored,
    published: Option<&Published>,
    shown: Option<&Shown>,
) -> Result<Report, Unfinished> {
    let unreadable = |error: RecordError| Unfinished(error.to_string());
    let bytes = match key.kind() {
        Kind::Function => {
            let mut record: FunctionV1 = decode(&stored.bytes).map_err(unreadable)?;
            if is_finished(&record) {
                return Ok(Report::Nothing);
            }
            let shown = shown.filter(|shown| shown.is_of(&record));
            let failed = shown.and_then(|shown| shown.failed.clone());
            let ready = make_ready(node, key.tenant(), &record.head).await;
            if ready.is_ok() && shown.is_none() && head::is_to_come_up(node, key, &record) {
                return Ok(Report::Start(Box::new(record)));
            }
            let ready = match (ready, failed) {
                (Ok(()), Some((code, reason))) => Err(Unready::Refused { code, reason }),
                (ready, _) => ready,
            };
            // The wire shows how it went, and its revision id is that of what it shows.
            record.head.revision_id = node.parts.ids.uuid().to_string();
            match ready {
                Ok(()) => {
                    record.served = Some(record.head.clone());
                    record.state = FunctionStateV1::Active;
                    record.last_update = UpdateStateV1::Successful;
                }
                Err(Unready::NotYet(unfinished)) => return Err(unfinished),
                Err(Unready::Refused { code, reason }) => {
                    let code = code.to_owned();
                    if record.served.is_none() {
                        let (code, reason) = (code.clone(), reason.clone());
                        record.state = FunctionStateV1::Failed { code, reason };
                    }
                    record.last_update = UpdateStateV1::Failed { code, reason };
                }
            }
            encode(&record)
        }
        Kind::Revision => {
            let mut record: RevisionV1 = decode(&stored.bytes).map_err(unreadable)?;
            if record.state != FunctionStateV1::Pending {
                return Ok(Report::Nothing);
            }
            let state = match make_ready(node, key.tenant(), &record.spec).await {
                Ok(()) => FunctionStateV1::Active,
                Err(Unready::NotYet(unfinished)) => return Err(unfinished),
                Err(Unready::Refused { code, reason }) => FunctionStateV1::Failed {
                    code: code.to_owned(),
                    reason,
                },
            };
            (record.state, record.image) = match (state, published) {
                (FunctionStateV1::Active, Some(published)) => published.reported(),
                (FunctionStateV1::Active, None) if record.spec.snap_start => {
                    return Ok(Report::Image(Box::new(record)));
                }
                (state, _) => (state, ImageStateV1::None),
            };
            record.spec.revision_id = node.parts.ids.uuid().to_string();
            encode(&record)
        }
        _ => return Ok(Report::Nothing),
    };
    Ok(Report::Write(bytes))
}

async fn make_ready(
    node: &Arc<Node>,
    tenant: &TenantId,
    spec: &RevisionSpecV1,
) -> Result<(), Unready> {
    let wanted = spec.substitute.as_ref().unwrap_or(&spec.runtime);
    let Some(row) = node.parts.runtimes.iter().find(|row| row.name == *wanted) else {
        let reason = format!("runtime {wanted} is not on this machine");
        return Err(Unready::Refused {
            code: "InvalidRuntime",
            reason,
        });
    };
    match node.parts.packages.open(tenant, spec.package.digest).await {
        Ok(tree) => {
            stock::expect(node, row, spec.memory);
            code_ready(node, tenant, spec, tree).await
        }
        Err(error @ (PackageError::Refused { .. } | PackageError::Missing { .. })) => {
            Err(Unready::Refused {
                code: "InvalidZipFileException",
                reason: error.to_string(),
            })
        }
        Err(error @ PackageError::Failed { .. }) => {
            Err(Unready::NotYet(Unfinished(error.to_string())))
        }
    }
}

/// Code that runs inside the server is compiled before the function is said to be ready.
async fn code_ready(
    node: &Node,
    tenant: &TenantId,
    spec: &RevisionSpecV1,
    tree: Arc<OwnedFd>,
) -> Result<(), Unready> {
    let is_wasm = spec.runtime.as_str() == WASM_RUNTIME;
    let Some(host) = node.parts.in_process.as_ref().filter(|_| is_wasm) else {
        return Ok(());
    };
    let code = GuestCode {
        tenant: tenant.clone(),
        package: spec.package.digest,
        tree,
        file: spec.handler.clone().unwrap_or_default(),
    };
    match host.prepare(code, spec.memory).await {
        Ok(()) => Ok(()),
        Err(CodeError::Refused { reason }) => Err(Unready::Refused {
            code: "FunctionError",
            reason,
        }),
        Err(error @ CodeError::Failed { .. }) => {
            Err(Unready::NotYet(Unfinished(error.to_string())))
        }
    }
}
