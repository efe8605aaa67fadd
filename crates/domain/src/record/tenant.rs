//! Tenants, keys, and the small records around them.

use super::{Kind, Record, RecordError, Sealed, older};
use crate::{
    ids::{FunctionRef, Qualifier, Region, TenantId},
    tenant_limits::TenantLimits,
    time::Wall,
};
use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantV2 {
    /// Its id.
    pub id: TenantId,
    /// What the operator calls it.
    pub name: Option<String>,
    /// Regions in which it may have things.
    pub regions: Vec<Region>,
    /// When it was made.
    pub created: Wall,
    /// Whether its root keys manage the node's tenants and keys. One tenant is.
    pub is_operator: bool,
    /// Nothing of a disabled tenant is signed, run or served; all of it is kept.
    pub enabled: bool,
    /// The ceilings that it has of its own.
    pub limits: TenantLimits,
}

impl TenantV2 {
    /// A tenant as it is made: enabled, not the operator, with the node's limits.
    pub fn new(id: TenantId, regions: Vec<Region>, created: Wall) -> Self {
        Self {
            id,
            name: None,
            regions,
            created,
            is_operator: false,
            enabled: true,
            limits: TenantLimits::default(),
        }
    }
}

impl Record for TenantV2 {
    const KIND: Kind = Kind::Tenant;
    const VERSION: u16 = 2;

    fn upgrade(version: u16, json: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct TenantV1 {
            id: TenantId,
            regions: Vec<Region>,
            created: Wall,
        }
        let TenantV1 {
            id,
            regions,
            created,
        } = older::<Self, _>(version, json)?;
        Ok(Self {
            // Releases that wrote version 1 had one tenant to a node.
            is_operator: true,
            ..Self::new(id, regions, created)
        })
    }
}

/// A long-lived access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyV2 {
    /// `AKIA…`, 20 characters.
    pub id: String,
    /// Whose.
    pub tenant: TenantId,
    /// The secret, sealed with the id as associated data.
    pub secret: Sealed,
    /// A disabled key signs nothing.
    pub enabled: bool,
    /// When it was made.
    pub created: Wall,
    /// When it stops signing on its own; set when another takes its place.
    pub ends: Option<Wall>,
}

impl AccessKeyV2 {
    /// Whether it signs at `now`, as far as the key alone says.
    pub fn signs_at(&self, now: Wall) -> bool {
        self.enabled && self.ends.is_none_or(|end| end > now)
    }
}

impl Record for AccessKeyV2 {
    const KIND: Kind = Kind::AccessKey;
    const VERSION: u16 = 2;

    fn upgrade(version: u16, json: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct AccessKeyV1 {
            id: String,
            tenant: TenantId,
            secret: Sealed,
            enabled: bool,
            created: Wall,
        }
        let AccessKeyV1 {
            id,
            tenant,
            secret,
            enabled,
            created,
        } = older::<Self, _>(version, json)?;
        Ok(Self {
            id,
            tenant,
            secret,
            enabled,
            created,
            ends: None,
        })
    }
}

/// Whose URL an id is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlOwnerV1 {
    /// The function.
    pub function: FunctionRef,
    /// Its head or an alias.
    pub qualifier: Qualifier,
}
impl Record for UrlOwnerV1 {
    const KIND: Kind = Kind::UrlOwner;
    const VERSION: u16 = 1;
}

/// A log group's settings; its lines live in segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGroupV1 {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Wall,
    /// How long lines are kept, days; `None` for ever.
    pub retention_days: Option<u32>,
}
impl Record for LogGroupV1 {
    const KIND: Kind = Kind::LogGroup;
    const VERSION: u16 = 1;
}

/// How far a ledger lane has been rolled up; written in the same commit as the roll-ups.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LedgerCursorV1 {
    /// The position to read on from.
    pub position: u64,
}
impl Record for LedgerCursorV1 {
    const KIND: Kind = Kind::LedgerCursor;
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{decode, encode};

    #[test]
    fn the_tenant_and_the_key_of_an_older_release_read_as_the_operators() {
        let old = br#"{"v":1,"r":{"id":"111111111111","regions":["us-east-1"],"created":7}}"#;
        let tenant: TenantV2 = decode(old).unwrap();
        assert!(tenant.is_operator && tenant.enabled && tenant.name.is_none());
        assert_eq!(tenant.limits, TenantLimits::default());
        assert_eq!((tenant.regions.len(), tenant.created), (1, Wall(7)));
        assert_eq!(decode::<TenantV2>(&encode(&tenant)).unwrap(), tenant);

        let old = br#"{"v":1,"r":{"id":"AKIA","tenant":"111111111111","enabled":false,"created":7,
            "secret":{"key":1,"nonce":"n","text":"t"}}}"#;
        let key: AccessKeyV2 = decode(old).unwrap();
        assert!(!key.enabled && key.ends.is_none() && !key.signs_at(Wall(0)));
        assert_eq!(decode::<AccessKeyV2>(&encode(&key)).unwrap(), key);
    }

    #[test]
    fn a_version_that_never_was_is_refused_by_name() {
        for version in [0, 3] {
            let bytes = format!(r#"{{"v":{version},"r":{{}}}}"#);
            let refused = decode::<TenantV2>(bytes.as_bytes()).unwrap_err();
            assert!(
                matches!(refused, RecordError::UnknownVersion { version: v, newest: 2, .. } if v == version),
                "{refused}"
            );
        }
        let cut = br#"{"v":1,"r":{"id":"111111111111"}}"#;
        let refused = decode::<TenantV2>(cut).unwrap_err();
        assert!(
            matches!(refused, RecordError::Malformed { .. }),
            "{refused}"
        );
    }
}
