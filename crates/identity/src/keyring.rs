//! Long-lived keys in memory, kept true by the store's watch.

use freehold_domain::TenantId;
use freehold_domain::{
    Principal, Wall,
    ports::{ReadError, Records, Sealer, Stored, Watcher},
    record::{AccessKeyV1, Key, KeyPrefix, Kind, decode},
};
use parking_lot::RwLock;
use std::{collections::HashMap, sync::Arc};

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
    pub expires: Option<Wall>,
}

impl KeyEntry {
    /// What an unknown key id is checked against, so that it takes as long as a known one.
    pub(crate) fn nobody() -> Self {
        Self {
            secret: "0000000000000000000000000000000000000000".to_owned(),
            principal: Principal::Anonymous,
            token: None,
            enabled: false,
            expires: None,
        }
    }
}

/// Finds keys by id. Never waits.
pub trait KeySource: Send + Sync {
    /// The key, disabled ones included.
    fn lookup(&self, access_key_id: &str) -> Option<Arc<KeyEntry>>;
}

/// Every long-lived access key of the node.
pub struct KeyRing {
    entries: RwLock<HashMap<String, Arc<KeyEntry>>>,
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
            sealer,
        });
        let guard = records.watch(ring.clone());
        let who = Principal::platform("keyring");
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

    fn put(&self, stored: &Stored) {
        let record: AccessKeyV1 = match decode(&stored.bytes) {
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
            expires: None,
        };
        self.entries.write().insert(record.id, Arc::new(entry));
    }
}

impl KeySource for KeyRing {
    fn lookup(&self, access_key_id: &str) -> Option<Arc<KeyEntry>> {
        self.entries.read().get(access_key_id).cloned()
    }
}

impl Watcher for KeyRing {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        for (key, stored) in changes
            .iter()
            .filter(|(key, _)| key.kind() == Kind::AccessKey)
        {
            match stored {
                Some(stored) => self.put(stored),
                None => {
                    self.entries.write().remove(&key.name()[0]);
                }
            }
        }
    }
}
