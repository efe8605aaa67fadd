//! The first start: the operator's tenant and its root key; later, that key found again.
//!
//! The secret is sealed before it is stored. It can be opened again on the node that has the
//! sealing key, so a crash between the commit and the writing of the key's file loses nothing.

use crate::{ControlError, Resource, store};
use freehold_domain::{
    Principal, Region, TenantId, Wall,
    ports::{Clock, Expect, Fence, RecordVersion, Records, Sealer, Storage},
    record::{self, AccessKeyV2, Key, KeyPrefix, Kind, TenantV2},
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
    pub tenant: TenantV2,
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

    /// Finds the operator's tenant and root key, or makes them; adds `region` to the tenant's.
    ///
    /// `account` names the tenant that is the operator or is made so; without it, the one that is
    /// there, else a new random id.
    ///
    /// Errors: [`ControlError::NotFound`] when the operator is there and is not `account`.
    pub async fn start(
        &self,
        account: Option<&TenantId>,
        region: &Region,
    ) -> Result<Started, ControlError> {
        let platform = Principal::platform("bootstrap");
        for _ in 0..store::CHANGE_ATTEMPTS {
            let Some((mut tenant, version)) = self.operator(&platform).await? else {
                match self.make(&platform, account, region).await? {
                    Some(started) => return Ok(started),
                    None => continue,
                }
            };
            if let Some(account) = account
                && *account != tenant.id
            {
                return Err(ControlError::not_found(Resource::Tenant, account));
            }
            if !tenant.regions.contains(region) {
                tenant.regions.push(region.clone());
                let expect = Expect::Version(version);
                let op = store::put(Key::tenant_record(&tenant.id), expect, &tenant);
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

    /// The tenant that manages the others. Nearly always the first that is looked at.
    ///
    /// Errors: [`ControlError::Internal`] where there is none and a record does not read: it may be
    /// that one, and a second operator would be made beside it.
    async fn operator(
        &self,
        platform: &Principal,
    ) -> Result<Option<(TenantV2, RecordVersion)>, ControlError> {
        let (mut after, mut unreadable) = (None::<Key>, None);
        loop {
            let page =
                self.storage
                    .list_all(platform, Kind::Tenant, after.as_ref(), store::LIST_CHUNK);
            let page = page.await?;
            for stored in &page {
                match record::decode::<TenantV2>(&stored.bytes) {
                    Ok(tenant) if tenant.is_operator => {
                        return Ok(Some((tenant, stored.version)));
                    }
                    Ok(_) => {}
                    Err(error) => unreadable = Some(error),
                }
            }
            match page.last() {
                Some(last) if page.len() == store::LIST_CHUNK => after = Some(last.key.clone()),
                _ => return unreadable.map_or(Ok(None), |error| Err(error.into())),
            }
        }
    }

    async fn make(
        &self,
        platform: &Principal,
        account: Option<&TenantId>,
        region: &Region,
    ) -> Result<Option<Started>, ControlError> {
        let id = match account {
            Some(id) => id.clone(),
            None => draw_tenant_id()?,
        };
        let created = self.clock.wall();
        let tenant = TenantV2 {
            is_operator: true,
            ..TenantV2::new(id, vec![region.clone()], created)
        };
        let (key, sealed) = draw_key(&tenant.id, created, &*self.sealer)?;
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

    /// The key of the operator that is to be written down now.
    ///
    /// Errors: [`ControlError::NotFound`] when none of it signs.
    pub async fn current(&self, operator: &TenantId) -> Result<PlainKey, ControlError> {
        let platform = Principal::platform("bootstrap");
        self.root_key(&platform, operator).await
    }

    /// The operator's key that is written down for the operator: of those that sign, one without an
    /// end before one with, then the oldest, so that a further key does not take its place.
    async fn root_key(
        &self,
        platform: &Principal,
        tenant: &TenantId,
    ) -> Result<PlainKey, ControlError> {
        let now = self.clock.wall();
        let keys = keys_of(&*self.storage, platform, Some(tenant)).await?;
        let signing = keys.into_iter().filter(|key| key.signs_at(now));
        match signing.min_by_key(|key| (key.ends.is_some(), key.created, key.id.clone())) {
            Some(key) => self.open(key),
            None => Err(ControlError::not_found(Resource::Tenant, tenant)),
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

    fn open(&self, key: AccessKeyV2) -> Result<PlainKey, ControlError> {
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

/// The keys of a tenant, or of all, by id. Keys live in one place, since a key id is all that an
/// unverified request shows; so all of them are read. One that does not read signs nothing, and is
/// left out.
pub(crate) async fn keys_of(
    storage: &dyn Storage,
    platform: &Principal,
    tenant: Option<&TenantId>,
) -> Result<Vec<AccessKeyV2>, ControlError> {
    let prefix = KeyPrefix::global(&TenantId::platform(), Kind::AccessKey);
    let (mut found, mut after) = (Vec::new(), None::<Key>);
    loop {
        let page = storage.list(platform, &prefix, after.as_ref(), store::LIST_CHUNK);
        let page = page.await?;
        for stored in &page {
            let Some(key) = store::readable::<AccessKeyV2>(stored) else {
                continue;
            };
            if tenant.is_none_or(|tenant| key.tenant == *tenant) {
                found.push(key);
            }
        }
        match page.last() {
            Some(last) if page.len() == store::LIST_CHUNK => after = Some(last.key.clone()),
            _ => return Ok(found),
        }
    }
}

/// A new key of `tenant`: in the clear, to be told once, and sealed, to be stored.
pub(crate) fn draw_key(
    tenant: &TenantId,
    created: Wall,
    sealer: &dyn Sealer,
) -> Result<(PlainKey, AccessKeyV2), ControlError> {
    let key = PlainKey {
        id: format!("AKIA{}", draw(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")?),
        secret: draw(
            40,
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        )?,
        tenant: tenant.clone(),
        enabled: true,
    };
    let sealed = AccessKeyV2 {
        id: key.id.clone(),
        tenant: tenant.clone(),
        secret: sealer.seal(key.secret.as_bytes(), &key.id),
        enabled: true,
        created,
        ends: None,
    };
    Ok((key, sealed))
}

/// A random tenant id. The first digit is not 0: some tools read account ids as numbers.
pub(crate) fn draw_tenant_id() -> Result<TenantId, ControlError> {
    format!("{}{}", draw(1, b"123456789")?, draw(11, b"0123456789")?)
        .parse()
        .map_err(|error| ControlError::internal("naming a tenant", error))
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
