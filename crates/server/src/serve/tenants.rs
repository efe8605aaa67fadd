//! What of the node follows its tenants and keys without being asked about them: the queue, which
//! attempts nothing of a disabled tenant, and the file with the operator's key.

use super::{chain, endpoint::CredentialsFile};
use freehold_control::bootstrap::{Keys, PlainKey};
use freehold_domain::{
    Principal,
    ports::{ReadError, Records, Stored, Watcher},
    record::{Key, Kind, TenantV2, decode},
};
use freehold_flow::queue::EventQueueWorker;
use std::sync::Arc;
use tokio::sync::Notify;

/// Tenants read at a time.
const PAGE: usize = 500;

struct Pauses(Arc<EventQueueWorker>);

impl Pauses {
    fn note(&self, key: &Key, stored: Option<&Stored>) {
        // What does not read is disabled, as for everybody else; the engine's log says so.
        let is_enabled = stored.is_none_or(|stored| {
            decode::<TenantV2>(&stored.bytes).is_ok_and(|tenant| tenant.enabled)
        });
        self.0.pause(key.tenant(), !is_enabled);
    }
}

impl Watcher for Pauses {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        for (key, stored) in changes {
            if key.kind() == Kind::Tenant {
                self.note(key, stored.as_ref());
            }
        }
    }
}

/// Has the queue leave disabled tenants' events where they are, from now until the guard is dropped.
///
/// Errors: the store's.
pub(crate) async fn pause_disabled(
    records: &dyn Records,
    events: Arc<EventQueueWorker>,
) -> Result<Box<dyn Send + Sync>, ReadError> {
    let pauses = Arc::new(Pauses(events));
    let guard = records.watch(pauses.clone());
    let who = Principal::platform("queue");
    let mut after: Option<Key> = None;
    loop {
        let page = records.list_all(&who, Kind::Tenant, after.as_ref(), PAGE);
        let page = page.await?;
        for stored in &page {
            pauses.note(&stored.key, Some(stored));
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(guard),
        }
    }
}

struct KeysChanged(Arc<Notify>);

impl Watcher for KeysChanged {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        if changes.iter().any(|(key, _)| key.kind() == Kind::AccessKey) {
            self.0.notify_one();
        }
    }
}

/// Keeps the file with the operator's key true while its keys are rotated; ends with the guard's
/// runtime.
pub(crate) fn keep_written(
    records: &dyn Records,
    keys: Arc<Keys>,
    mut file: CredentialsFile,
    mut written: PlainKey,
) -> Box<dyn Send + Sync> {
    let changed = Arc::new(Notify::new());
    let guard = records.watch(Arc::new(KeysChanged(changed.clone())));
    tokio::spawn(async move {
        loop {
            changed.notified().await;
            let key = match keys.current(&written.tenant).await {
                Ok(key) if key == written => continue,
                Ok(key) => key,
                Err(error) => {
                    tracing::error!(error = chain(&error), "the operator's key cannot be read");
                    continue;
                }
            };
            match file.write(&key) {
                Ok(()) => written = key,
                Err(error) => tracing::error!(%error, "the root key's file cannot be written"),
            }
        }
    });
    guard
}
