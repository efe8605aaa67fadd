//! Makes what was asked for ready, and reports how that went.
//!
//! `control` writes a function's desired part; this reads it, opens the package, finds the
//! runtime, and writes the reported part through the same compare-and-set. It starts with every
//! record that was left unfinished and goes on with what the watch tells. It never runs a function.

use crate::{node::Node, route::note_reservation};
use freehold_domain::{
    ids::{FunctionName, FunctionRef, TenantId},
    ports::{CommitError, Expect, Fence, Op, PackageError, Stored},
    principal::Principal,
    record::{
        FunctionStateV1, FunctionV1, Key, Kind, RevisionSpecV1, RevisionV1, UpdateStateV1, decode,
        encode,
    },
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

/// Functions that are made ready at once: unpacking is what takes time and memory.
const AT_ONCE: usize = 4;
/// Records read at once at start.
const PAGE: usize = 256;
/// How often a report that was overtaken is tried again.
const REPORT_TRIES: u32 = 16;
/// Waits before a store that failed is tried again.
const STORE_RETRY: Duration = Duration::from_millis(200);

/// Why a spec cannot be made ready: a code that the wire knows, and text for the caller.
struct Unready {
    code: &'static str,
    reason: String,
}

/// Reads every function once: reservations are taken over, what is unfinished is queued.
///
/// Errors: the store's text.
pub(crate) async fn scan(
    node: &Arc<Node>,
    queue: &mpsc::UnboundedSender<Key>,
) -> Result<(), String> {
    let who = Principal::platform("reconciler");
    for kind in [Kind::Function, Kind::Revision] {
        let mut after: Option<Key> = None;
        loop {
            let page = node
                .parts
                .records
                .list_all(&who, kind, after.as_ref(), PAGE)
                .await;
            let page = page.map_err(|error| error.to_string())?;
            for stored in &page {
                if let (Kind::Function, Some(function)) = (kind, function_of(&stored.key)) {
                    note_reservation(node, &function, Some(stored));
                }
                let _ = queue.send(stored.key.clone());
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => break,
            }
        }
    }
    Ok(())
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
        let Some(node) = node.upgrade() else {
            return;
        };
        tokio::spawn(async move {
            if let Err(error) = reconcile(&node, &key).await {
                tracing::error!(%key, %error, "a function was not made ready");
            }
            drop(permit);
        });
    }
}

async fn reconcile(node: &Node, key: &Key) -> Result<(), CommitError> {
    for _ in 0..REPORT_TRIES {
        let who = Principal::platform("reconciler");
        let stored = match node.parts.records.get(&who, key).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%key, %error, "a record could not be read; trying again");
                node.parts.clock.sleep(STORE_RETRY).await;
                continue;
            }
        };
        let Some(bytes) = reported(node, key, &stored).await else {
            return Ok(());
        };
        let (key, expect) = (key.clone(), Expect::Version(stored.version));
        let op = Op::Put { key, expect, bytes };
        match node.parts.commit.commit(&who, vec![op], Fence::None).await {
            Ok(_) => return Ok(()),
            // Changed meanwhile: what was made ready may not be what is wanted any more.
            Err(CommitError::Conflict { .. }) => {}
            Err(error @ CommitError::Failed { .. }) => {
                tracing::warn!(%error, "a report could not be written; trying again");
                node.parts.clock.sleep(STORE_RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The record with its reported part brought up to date; `None` when there is nothing to report.
async fn reported(node: &Node, key: &Key, stored: &Stored) -> Option<Vec<u8>> {
    match key.kind() {
        Kind::Function => {
            let mut record: FunctionV1 = decode(&stored.bytes).ok()?;
            let is_pending = record.state == FunctionStateV1::Pending;
            if !is_pending && record.last_update != UpdateStateV1::InProgress {
                return None;
            }
            match make_ready(node, key.tenant(), &record.head).await {
                Ok(()) => {
                    record.served = Some(record.head.clone());
                    record.state = FunctionStateV1::Active;
                    record.last_update = UpdateStateV1::Successful;
                }
                Err(Unready { code, reason }) => {
                    let code = code.to_owned();
                    if record.served.is_none() {
                        let (code, reason) = (code.clone(), reason.clone());
                        record.state = FunctionStateV1::Failed { code, reason };
                    }
                    record.last_update = UpdateStateV1::Failed { code, reason };
                }
            }
            Some(encode(&record))
        }
        Kind::Revision => {
            let mut record: RevisionV1 = decode(&stored.bytes).ok()?;
            if record.state != FunctionStateV1::Pending {
                return None;
            }
            record.state = match make_ready(node, key.tenant(), &record.spec).await {
                Ok(()) => FunctionStateV1::Active,
                Err(Unready { code, reason }) => FunctionStateV1::Failed {
                    code: code.to_owned(),
                    reason,
                },
            };
            Some(encode(&record))
        }
        _ => None,
    }
}

async fn make_ready(node: &Node, tenant: &TenantId, spec: &RevisionSpecV1) -> Result<(), Unready> {
    let wanted = spec.substitute.as_ref().unwrap_or(&spec.runtime);
    if !node.parts.runtimes.iter().any(|row| row.name == *wanted) {
        let reason = format!("runtime {wanted} is not on this machine");
        return Err(Unready {
            code: "InvalidRuntime",
            reason,
        });
    }
    match node.parts.packages.open(tenant, spec.package.digest).await {
        Ok(_) => Ok(()),
        Err(error @ (PackageError::Refused { .. } | PackageError::Missing { .. })) => {
            Err(Unready {
                code: "InvalidZipFileException",
                reason: error.to_string(),
            })
        }
        Err(error @ PackageError::Failed { .. }) => Err(Unready {
            code: "InternalError",
            reason: error.to_string(),
        }),
    }
}
