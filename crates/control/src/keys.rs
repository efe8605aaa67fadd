//! Access keys of tenants, as the node's operator manages them.
//!
//! A tenant has at most [`KEYS_PER_TENANT_MAX`], as a user has on AWS, so that one can take the
//! other's place while both sign. A key that signs no more stays listed until its place is needed.
//!
//! ```text
//!   (new) ──▶ signs ──rotate with an overlap──▶ signs until its end ──▶ ended ─┐
//!              │  ▲                                  │                          ├─▶ replaced
//!              ▼  │ enable                           ▼                          │
//!           disabled ◀──────────────────────────────────────────────────────────┘
//! ```

use crate::{
    Control, ControlError, Field, Limit, Resource,
    bootstrap::{PlainKey, draw_key, keys_of},
    store::{self, Versioned},
    tenants::{platform, put_back, tenant_id},
};
use freehold_domain::{
    Principal, TenantId,
    ports::{Expect, Op},
    record::{AccessKeyV2, Key},
};
use std::time::Duration;

/// Keys of one tenant. Source: IAM and STS quotas, "access keys assigned to an IAM user".
pub const KEYS_PER_TENANT_MAX: u64 = 2;
/// Longest overlap of a rotation.
pub const OVERLAP_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A key to be replaced, and how long it goes on signing; without an end, until it is disabled.
struct Rotated<'a> {
    id: &'a str,
    overlap: Option<Duration>,
}

impl Control {
    /// Makes a further key for a tenant. Its secret is told here and never again.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`],
    /// [`ControlError::LimitExceeded`] when it has two that sign.
    pub async fn key_create(
        &self,
        who: &Principal,
        tenant: &str,
    ) -> Result<PlainKey, ControlError> {
        self.operator(who).await?;
        self.key_add(&tenant_id(tenant)?, None).await
    }

    /// Makes a key that takes the place of another one, which goes on signing for `overlap`, or
    /// until it is disabled.
    ///
    /// Errors: as [`Control::key_create`]; [`ControlError::NotFound`] for a key that does not sign
    /// any more; [`ControlError::OutOfRange`] past [`OVERLAP_MAX`].
    pub async fn key_rotate(
        &self,
        who: &Principal,
        id: &str,
        overlap: Option<Duration>,
    ) -> Result<PlainKey, ControlError> {
        self.operator(who).await?;
        if let Some(overlap) = overlap.filter(|overlap| *overlap > OVERLAP_MAX) {
            return Err(ControlError::OutOfRange {
                field: Field::KeyOverlap,
                value: overlap.as_secs(),
                min: 0,
                max: OVERLAP_MAX.as_secs(),
            });
        }
        let old = self.key(id).await?.record;
        self.key_add(&old.tenant, Some(Rotated { id, overlap }))
            .await
    }

    /// The keys of a tenant, or of all, by id; their secrets stay sealed.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`].
    pub async fn key_list(
        &self,
        who: &Principal,
        tenant: Option<&str>,
    ) -> Result<Vec<AccessKeyV2>, ControlError> {
        self.operator(who).await?;
        let tenant = tenant.map(tenant_id).transpose()?;
        if let Some(tenant) = &tenant {
            self.tenant(&platform(), tenant).await?;
        }
        keys_of(&*self.storage, &platform(), tenant.as_ref()).await
    }

    /// Disables a key, or enables it again, without an end.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`], [`ControlError::Needed`]
    /// for the last key of the operator that has no end.
    pub async fn key_enable(
        &self,
        who: &Principal,
        id: &str,
        enabled: bool,
    ) -> Result<AccessKeyV2, ControlError> {
        self.operator(who).await?;
        let mut attempts = self.turns.attempts(&self.key(id).await?.record.tenant);
        while let Some(_turn) = attempts.next().await {
            let found = self.key(id).await?;
            let (expect, mut key) = (found.expect(), found.record);
            let owner = self.tenant(&platform(), &key.tenant).await?;
            if owner.record.is_operator && !enabled {
                let keys = keys_of(&*self.storage, &platform(), Some(&key.tenant)).await?;
                let mut others = keys.iter().filter(|other| other.id != id);
                if !others.any(|other| other.enabled && other.ends.is_none()) {
                    return Err(ControlError::Needed {
                        what: Resource::AccessKey,
                        name: id.to_owned(),
                    });
                }
            }
            key.enabled = enabled;
            if enabled {
                key.ends = None;
            }
            let ops = vec![
                // As it was read: a rotation meanwhile gave it an end.
                store::put(Key::access_key(id), expect, &key),
                put_back(&owner),
            ];
            if self.try_commit(&platform(), ops).await? {
                return Ok(key);
            }
        }
        Err(ControlError::Contended {
            name: id.to_owned(),
        })
    }

    async fn key(&self, id: &str) -> Result<Versioned<AccessKeyV2>, ControlError> {
        let found = self.read(&platform(), &Key::access_key(id)).await?;
        found.ok_or_else(|| {
            // As it came from outside: a key's id is 20 characters.
            let id: String = id.chars().take(64).collect();
            ControlError::not_found(Resource::AccessKey, id)
        })
    }

    /// Every change of a tenant's keys writes its record too, so that no two see the same place.
    async fn key_add(
        &self,
        tenant: &TenantId,
        rotated: Option<Rotated<'_>>,
    ) -> Result<PlainKey, ControlError> {
        let mut attempts = self.turns.attempts(tenant);
        while let Some(_turn) = attempts.next().await {
            let owner = self.tenant(&platform(), tenant).await?;
            let keys = keys_of(&*self.storage, &platform(), Some(tenant)).await?;
            let now = self.clock.wall();
            let (signing, mut silent): (Vec<_>, Vec<_>) =
                keys.into_iter().partition(|key| key.signs_at(now));
            let mut ops = vec![put_back(&owner)];
            if let Some(Rotated { id, overlap }) = &rotated {
                let Some(old) = signing.iter().find(|key| key.id == *id) else {
                    return Err(ControlError::not_found(Resource::AccessKey, id));
                };
                if let Some(overlap) = *overlap {
                    let old = AccessKeyV2 {
                        ends: Some(now + overlap),
                        ..old.clone()
                    };
                    ops.push(store::put(Key::access_key(id), Expect::Any, &old));
                }
            }
            if signing.len() as u64 >= KEYS_PER_TENANT_MAX {
                return Err(ControlError::LimitExceeded {
                    limit: Limit::AccessKeys,
                    max: KEYS_PER_TENANT_MAX,
                });
            }
            silent.sort_by_key(|key| key.created);
            let room = KEYS_PER_TENANT_MAX as usize - 1 - signing.len();
            let replaced = silent.len().saturating_sub(room);
            ops.extend(silent[..replaced].iter().map(|key| Op::Delete {
                key: Key::access_key(&key.id),
                expect: Expect::Any,
            }));
            let (plain, sealed) = draw_key(tenant, now, &*self.sealer)?;
            ops.push(store::put(
                Key::access_key(&plain.id),
                Expect::Absent,
                &sealed,
            ));
            if self.try_commit(&platform(), ops).await? {
                return Ok(plain);
            }
        }
        Err(ControlError::Contended {
            name: tenant.to_string(),
        })
    }
}
