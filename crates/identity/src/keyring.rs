//! Long-lived keys in memory, and which tenants are disabled, kept true by the store's watch.

use freehold_domain::TenantId;
use freehold_domain::{
    Mono, Principal, Wall,
    ports::{Clock, ReadError, Records, Sealer, Stored, Watcher},
    record::{AccessKeyV2, Key, KeyPrefix, Kind, TenantV2, decode},
};
use parking_lot::RwLock;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// When a key ends on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// On a day that somebody chose, which moves with the wall clock.
    On(Wall),
    /// So long after it was issued, whatever the wall clock does meanwhile.
    After(Mono),
}

impl Ends {
    /// Whether that is over.
    pub(crate) fn is_over(self, clock: &dyn Clock) -> bool {
        match self {
            Self::On(day) => day <= clock.wall(),
            Self::After(end) => end <= clock.now(),
        }
    }
}

/// What a key id stands for.
#[derive(Clone)]
pub struct KeyEntry {
    /// The secret half.
    pub secret: String,
    /// Whom it signs for.
    pub principal: Principal,
    /// The token that must come along.
    pub token: Option<String>,
    /// A disabled key signs nothing.
    pub enabled: bool,
    /// When it ends on its own.
    pub ends: Option<Ends>,
}

impl KeyEntry {
    /// What an unknown key id is checked against, so that it takes as long as a known one.
    pub(crate) fn nobody() -> Self {
        Self {
            secret: "0000000000000000000000000000000000000000".to_owned(),
            principal: Principal::Anonymous,
            token: None,
            enabled: false,
            ends: None,
        }
    }
}

/// Finds keys by id. Never waits.
pub trait KeySource: Send + Sync {
    /// The key, disabled ones included.
    fn lookup(&self, access_key_id: &str) -> Option<Arc<KeyEntry>>;

    /// Whether a tenant is disabled: no key or session of it signs anything then.
    fn bars(&self, tenant: &TenantId) -> bool;
}

/// Every long-lived access key of the node.
pub struct KeyRing {
    entries: RwLock<HashMap<String, Arc<KeyEntry>>>,
    disabled: RwLock<HashSet<TenantId>>,
    /// How many those are: mostly none, and every request asks.
    disabled_count: AtomicUsize,
    sealer: Arc<dyn Sealer>,
}

/// Keys read from the store at a time.
const PAGE: usize = 500;

impl KeyRing {
    /// Loads every key and follows changes from then on.
    ///
    /// Errors: the store's; a record that does not read or open is left out and logged, since one
    /// broken key must not lock everybody out.
    pub async fn load(
        records: &dyn Records,
        sealer: Arc<dyn Sealer>,
    ) -> Result<(Arc<Self>, Box<dyn Send + Sync>), ReadError> {
        let ring = Arc::new(Self {
            entries: RwLock::default(),
            disabled: RwLock::default(),
            disabled_count: AtomicUsize::new(0),
            sealer,
        });
        let guard = records.watch(ring.clone());
        let who = Principal::platform("keyring");
        let mut after: Option<Key> = None;
        loop {
            let page = records.list_all(&who, Kind::Tenant, after.as_ref(), PAGE);
            let page = page.await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for stored in &page {
                ring.note(stored.key.tenant(), Some(stored));
            }
        }
        let prefix = KeyPrefix::global(&TenantId::platform(), Kind::AccessKey);
        let mut after: Option<Key> = None;
        loop {
            let page = records.list(&who, &prefix, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for stored in &page {
                ring.put(stored);
            }
        }
        Ok((ring, guard))
    }

    /// Takes over whether a tenant is disabled. A record that does not read bars it: what cannot be
    /// told is not allowed.
    fn note(&self, tenant: &TenantId, stored: Option<&Stored>) {
        let record = stored.map(|stored| decode::<TenantV2>(&stored.bytes));
        let is_enabled = match record {
            None => true,
            Some(Ok(record)) => record.enabled,
            Some(Err(error)) => {
                tracing::error!(%tenant, %error, "a tenant's record does not read; it is disabled");
                false
            }
        };
        let mut disabled = self.disabled.write();
        if is_enabled {
            disabled.remove(tenant);
        } else {
            disabled.insert(tenant.clone());
        }
        self.disabled_count.store(disabled.len(), Ordering::Release);
    }

    fn put(&self, stored: &Stored) {
        let record: AccessKeyV2 = match decode(&stored.bytes) {
            Ok(record) => record,
            Err(error) => {
                return tracing::error!(key = %stored.key, %error, "an access key does not read");
            }
        };
        let secret = match self.sealer.open(&record.secret, &record.id) {
            Ok(secret) => String::from_utf8_lossy(&secret).into_owned(),
            Err(error) => {
                return tracing::error!(key = %stored.key, %error, "an access key does not open");
            }
        };
        let entry = KeyEntry {
            secret,
            principal: Principal::Root {
                tenant: record.tenant,
                key: record.id.clone(),
            },
            token: None,
            enabled: record.enabled,
            ends: record.ends.map(Ends::On),
        };
        self.entries.write().insert(record.id, Arc::new(entry));
    }
}

impl KeySource for KeyRing {
    fn lookup(&self, access_key_id: &str) -> Option<Arc<KeyEntry>> {
        self.entries.read().get(access_key_id).cloned()
    }

    fn bars(&self, tenant: &TenantId) -> bool {
        self.disabled_count.load(Ordering::Acquire) > 0 && self.disabled.read().contains(tenant)
    }
}

impl Watcher for KeyRing {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        for (key, stored) in changes {
            match (key.kind(), stored) {
                (Kind::Tenant, stored) => self.note(key.tenant(), stored.as_ref()),
                (Kind::AccessKey, Some(stored)) => self.put(stored),
                (Kind::AccessKey, None) => {
                    self.entries.write().remove(&key.name()[0]);
                }
                _ => {}
            }
        }
    }
}
