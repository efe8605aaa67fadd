//! The first start: a tenant and its root key; later, keys looked up.
//!
//! The secret is sealed before it is stored. It can be opened again on the node that has the
//! sealing key, so a crash between the commit and the writing of the key's file loses nothing.

use crate::{ControlError, Resource, store};
use freehold_domain::{
    Principal, Region, TenantId,
    ports::{Clock, Expect, Fence, Records, Sealer, Storage},
    record::{self, AccessKeyV1, Key, KeyPrefix, Kind, TenantV1},
};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;

/// A key with its secret in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainKey {
    /// `AKIA…`.
    pub id: String,
    /// 40 characters.
    pub secret: String,
    /// Whose.
    pub tenant: TenantId,
    /// A disabled key signs nothing.
    pub enabled: bool,
}

impl std::fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PlainKey({}, secret withheld)", self.id)
    }
}

/// What the first or a later start found or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The tenant.
    pub tenant: TenantV1,
    /// Its root key.
    pub key: PlainKey,
    /// Whether this start made them.
    pub first: bool,
}

/// Keys and tenants, before there is a principal.
pub struct Keys {
    storage: Arc<dyn Storage>,
    sealer: Arc<dyn Sealer>,
    clock: Arc<dyn Clock>,
}

impl Keys {
    /// Over these parts.
    pub fn new(storage: Arc<dyn Storage>, sealer: Arc<dyn Sealer>, clock: Arc<dyn Clock>) -> Self {
        Self {
            storage,
            sealer,
            clock,
        }
    }

    /// Finds the platform's tenant and root key, or makes them; adds `region` to the tenant's.
    ///
    /// `account` names the tenant to find or make; without it, the one that is there, else a new
    /// random id.
    ///
    /// Errors: [`ControlError::NotFound`] when other tenants are there, but not `account`.
    pub async fn start(
        &self,
        account: Option<&TenantId>,
        region: &Region,
    ) -> Result<Started, ControlError> {
        let platform = Principal::platform("bootstrap");
        for _ in 0..store::CHANGE_ATTEMPTS {
            let tenants = self
                .storage
                .list_all(&platform, Kind::Tenant, None, store::LIST_CHUNK)
                .await?;
            let wanted = |key: &Key| account.is_none_or(|id| key.tenant() == id);
            let Some(stored) = tenants.iter().find(|stored| wanted(&stored.key)) else {
                if let (Some(account), false) = (account, tenants.is_empty()) {
                    return Err(ControlError::not_found(Resource::Tenant, account));
                }
                match self.make(&platform, account, region).await? {
                    Some(started) => return Ok(started),
                    None => continue,
                }
            };
            let mut tenant: TenantV1 = record::decode(&stored.bytes)?;
            if !tenant.regions.contains(region) {
                tenant.regions.push(region.clone());
                let expect = Expect::Version(stored.version);
                let op = store::put(stored.key.clone(), expect, &tenant);
                self.storage
                    .commit(&platform, vec![op], Fence::None)
                    .await?;
            }
            let key = self.root_key(&platform, &tenant.id).await?;
            return Ok(Started {
                tenant,
                key,
                first: false,
            });
        }
        Err(ControlError::Contended {
            name: "the first tenant".into(),
        })
    }

    async fn make(
        &self,
        platform: &Principal,
        account: Option<&TenantId>,
        region: &Region,
    ) -> Result<Option<Started>, ControlError> {
        let id = match account {
            Some(id) => id.clone(),
            // The first digit is not 0: some tools read account ids as numbers.
            None => format!("{}{}", draw(1, b"123456789")?, draw(11, b"0123456789")?)
                .parse()
                .map_err(|error| ControlError::internal("naming a tenant", error))?,
        };
        let created = self.clock.wall();
        let tenant = TenantV1 {
            id,
            regions: vec![region.clone()],
            created,
        };
        let key = PlainKey {
            id: format!("AKIA{}", draw(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")?),
            secret: draw(
                40,
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
            )?,
            tenant: tenant.id.clone(),
            enabled: true,
        };
        let sealed = AccessKeyV1 {
            id: key.id.clone(),
            tenant: tenant.id.clone(),
            secret: self.sealer.seal(key.secret.as_bytes(), &key.id),
            enabled: true,
            created,
        };
        let ops = vec![
            store::put(Key::tenant_record(&tenant.id), Expect::Absent, &tenant),
            store::put(Key::access_key(&key.id), Expect::Absent, &sealed),
        ];
        match self.storage.commit(platform, ops, Fence::None).await {
            Ok(_) => Ok(Some(Started {
                tenant,
                key,
                first: true,
            })),
            Err(freehold_domain::ports::CommitError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn root_key(
        &self,
        platform: &Principal,
        tenant: &TenantId,
    ) -> Result<PlainKey, ControlError> {
        let keys = KeyPrefix::global(&TenantId::platform(), Kind::AccessKey);
        let mut after = None;
        loop {
            let found = self
                .storage
                .list(platform, &keys, after.as_ref(), store::LIST_CHUNK)
                .await?;
            for stored in &found {
                let key: AccessKeyV1 = record::decode(&stored.bytes)?;
                if &key.tenant == tenant && key.enabled {
                    return self.open(key);
                }
            }
            match found.last() {
                Some(last) if found.len() == store::LIST_CHUNK => after = Some(last.key.clone()),
                _ => return Err(ControlError::not_found(Resource::Tenant, tenant)),
            }
        }
    }

    /// The key of an id, for whoever verifies signatures.
    ///
    /// Errors: [`ControlError::Internal`] when it does not open with this node's keys.
    pub async fn lookup(&self, id: &str) -> Result<Option<PlainKey>, ControlError> {
        let platform = Principal::platform("identity");
        let found = Records::get(&*self.storage, &platform, &Key::access_key(id)).await?;
        found
            .map(|stored| self.open(record::decode(&stored.bytes)?))
            .transpose()
    }

    fn open(&self, key: AccessKeyV1) -> Result<PlainKey, ControlError> {
        let opening = "opening an access key";
        let secret = self
            .sealer
            .open(&key.secret, &key.id)
            .map_err(|error| ControlError::internal(opening, error))?;
        Ok(PlainKey {
            secret: String::from_utf8(secret)
                .map_err(|error| ControlError::internal(opening, error.utf8_error()))?,
            id: key.id,
            tenant: key.tenant,
            enabled: key.enabled,
        })
    }
}

/// `length` characters of `alphabet`, each as likely as the other.
fn draw(length: usize, alphabet: &[u8]) -> Result<String, ControlError> {
    let random = SystemRandom::new();
    // The largest multiple of the alphabet's length: bytes at or over it would favour its start.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut byte = [0u8];
        random
            .fill(&mut byte)
            .map_err(|_| ControlError::internal("drawing a key", "no randomness"))?;
        if usize::from(byte[0]) < fair {
            text.push(char::from(alphabet[usize::from(byte[0]) % alphabet.len()]));
        }
    }
    Ok(text)
}
