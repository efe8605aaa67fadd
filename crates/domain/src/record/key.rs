//! The one type that builds keys: (tenant, region, kind, name …).

use crate::ids::{AliasName, Digest, FunctionName, Qualifier, Region, TenantId};
use std::fmt;

/// What is stored under a key. The number is on disk: append, never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// [`super::TenantV2`]; name: none. Lives under the tenant itself.
    Tenant = 1,
    /// [`super::AccessKeyV2`]; name: access key id. Lives under the platform tenant, since a key
    /// id is all that an unverified request shows.
    AccessKey = 2,
    /// [`super::FunctionV1`]; name: function.
    Function = 3,
    /// [`super::RevisionV1`]; name: function, number as 20 digits.
    Revision = 4,
    /// [`super::UrlV1`]; name: function, qualifier.
    Url = 5,
    /// [`super::UrlOwnerV1`]; name: URL id. Lives under the platform tenant.
    UrlOwner = 6,
    /// [`super::PolicyV1`]; name: function, qualifier.
    Policy = 7,
    /// [`super::LogGroupV1`]; name: group.
    LogGroup = 8,
    /// [`super::UsageRollupV2`]; name: function, day.
    UsageRollup = 9,
    /// [`super::LedgerCursorV1`]; name: lane. Lives under the platform tenant.
    LedgerCursor = 10,
    /// [`super::AliasV1`]; name: function, alias.
    Alias = 11,
    /// [`super::NumberingV1`]; name: function.
    Numbering = 12,
    /// [`super::PriceBookV1`]; name: tenant, or the platform tenant for the node's. Lives under the
    /// platform tenant.
    PriceBook = 13,
    /// [`super::TagSetV1`]; name: id.
    TagSet = 14,
    /// [`super::BudgetsV1`]; name: tenant. Lives under the platform tenant.
    Budgets = 15,
}

impl Kind {
    /// The inverse of `as u8`.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::*;
        [
            Tenant,
            AccessKey,
            Function,
            Revision,
            Url,
            UrlOwner,
            Policy,
            LogGroup,
            UsageRollup,
            LedgerCursor,
            Alias,
            Numbering,
            PriceBook,
            TagSet,
            Budgets,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Where a record lives. Ordered as its encoding is: by tenant, region, kind, then names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    tenant: TenantId,
    region: Region,
    kind: Kind,
    name: Vec<String>,
}

/// The region of what belongs to no region: tenants, keys, URL owners.
fn global() -> Region {
    "global".parse().expect("a literal of the right shape")
}

impl Key {
    fn new(tenant: &TenantId, region: &Region, kind: Kind, name: Vec<String>) -> Self {
        debug_assert!(name.iter().all(|part| !part.contains('\0')));
        Self {
            tenant: tenant.clone(),
            region: region.clone(),
            kind,
            name,
        }
    }
    /// A tenant's own record.
    pub fn tenant_record(tenant: &TenantId) -> Self {
        Self::new(tenant, &global(), Kind::Tenant, vec![])
    }
    /// An access key, whosever it is.
    pub fn access_key(id: &str) -> Self {
        Self::new(
            &TenantId::platform(),
            &global(),
            Kind::AccessKey,
            vec![clean(id)],
        )
    }
    /// A function.
    pub fn function(tenant: &TenantId, region: &Region, name: &FunctionName) -> Self {
        Self::new(tenant, region, Kind::Function, vec![name.to_string()])
    }
    /// A published revision.
    pub fn revision(tenant: &TenantId, region: &Region, name: &FunctionName, number: u64) -> Self {
        Self::new(
            tenant,
            region,
            Kind::Revision,
            vec![name.to_string(), format!("{number:020}")],
        )
    }
    /// An alias.
    pub fn alias(
        tenant: &TenantId,
        region: &Region,
        name: &FunctionName,
        alias: &AliasName,
    ) -> Self {
        let name = vec![name.to_string(), alias.to_string()];
        Self::new(tenant, region, Kind::Alias, name)
    }
    /// What is left of a deleted function's numbering.
    pub fn numbering(tenant: &TenantId, region: &Region, name: &FunctionName) -> Self {
        Self::new(tenant, region, Kind::Numbering, vec![name.to_string()])
    }
    /// The URL of a function's head or alias.
    pub fn url(tenant: &TenantId, region: &Region, name: &FunctionName, on: &Qualifier) -> Self {
        Self::new(
            tenant,
            region,
            Kind::Url,
            vec![name.to_string(), on.to_string()],
        )
    }
    /// Whose URL an id is.
    pub fn url_owner(url_id: &str) -> Self {
        Self::new(
            &TenantId::platform(),
            &global(),
            Kind::UrlOwner,
            vec![clean(url_id)],
        )
    }
    /// The resource policy of a function's head, revision or alias.
    pub fn policy(tenant: &TenantId, region: &Region, name: &FunctionName, on: &Qualifier) -> Self {
        Self::new(
            tenant,
            region,
            Kind::Policy,
            vec![name.to_string(), on.to_string()],
        )
    }
    /// A log group.
    pub fn log_group(tenant: &TenantId, region: &Region, group: &str) -> Self {
        Self::new(tenant, region, Kind::LogGroup, vec![clean(group)])
    }
    /// Usage of one function on one UTC day, `2026-11-21`.
    pub fn usage(tenant: &TenantId, region: &Region, name: &FunctionName, day: &str) -> Self {
        Self::new(
            tenant,
            region,
            Kind::UsageRollup,
            vec![name.to_string(), clean(day)],
        )
    }
    /// In front of everything that one tenant used, in all regions and at all times.
    pub fn before_usage(tenant: &TenantId) -> Self {
        // '-' sorts before all else that a region's name may have.
        let least = "-".parse().expect("a literal of the right shape");
        Self::new(tenant, &least, Kind::UsageRollup, vec![])
    }
    /// The prices of one tenant, or, of the platform's, the node's.
    pub fn price_book(of: &TenantId) -> Self {
        let name = vec![of.to_string()];
        Self::new(&TenantId::platform(), &global(), Kind::PriceBook, name)
    }
    /// The budgets of one tenant.
    pub fn budgets(of: &TenantId) -> Self {
        let name = vec![of.to_string()];
        Self::new(&TenantId::platform(), &global(), Kind::Budgets, name)
    }
    /// What a function was tagged with.
    pub fn tag_set(tenant: &TenantId, id: &Digest) -> Self {
        Self::new(tenant, &global(), Kind::TagSet, vec![id.to_string()])
    }
    /// How far the roll-up has read a ledger lane.
    pub fn ledger_cursor(lane: u16) -> Self {
        let name = vec![format!("{lane:05}")];
        Self::new(&TenantId::platform(), &global(), Kind::LedgerCursor, name)
    }

    /// The owner.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
    /// The region.
    pub fn region(&self) -> &Region {
        &self.region
    }
    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// The names, outermost first.
    pub fn name(&self) -> &[String] {
        &self.name
    }
    /// Bytes that sort as keys do: parts ended by NUL, the kind as one byte.
    pub fn encode(&self) -> Vec<u8> {
        KeyPrefix {
            tenant: self.tenant.clone(),
            region: Some(self.region.clone()),
            kind: Some(self.kind),
            name: self.name.clone(),
        }
        .encode()
    }
    /// The inverse of [`Key::encode`]; `None` for bytes that no key encodes to.
    pub fn decode(bytes: &[u8]) -> Option<Key> {
        let mut parts = bytes.splitn(3, |byte| *byte == 0);
        let text = |part: &[u8]| std::str::from_utf8(part).ok().map(str::to_owned);
        let tenant = text(parts.next()?)?.parse().ok()?;
        let region = text(parts.next()?)?.parse().ok()?;
        let (kind, mut rest) = parts.next()?.split_first()?;
        let mut name = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == 0)?;
            name.push(text(&rest[..end])?);
            rest = &rest[end + 1..];
        }
        Some(Key {
            tenant,
            region,
            kind: Kind::from_byte(*kind)?,
            name,
        })
    }
}

/// NUL separates parts, so it is no part of one.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{:?}/{}",
            self.tenant,
            self.region,
            self.kind,
            self.name.join("/")
        )
    }
}

/// All keys of a tenant that begin alike. Narrower parts are given only with the wider ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix {
    tenant: TenantId,
    region: Option<Region>,
    kind: Option<Kind>,
    name: Vec<String>,
}

impl KeyPrefix {
    /// Everything of one kind of a tenant in a region.
    pub fn kind(tenant: &TenantId, region: &Region, kind: Kind) -> Self {
        Self {
            tenant: tenant.clone(),
            region: Some(region.clone()),
            kind: Some(kind),
            name: vec![],
        }
    }
    /// Everything of one kind that belongs to no region.
    pub fn global(tenant: &TenantId, kind: Kind) -> Self {
        Self::kind(tenant, &global(), kind)
    }
    /// Everything of one kind below a first name, such as all revisions of a function.
    pub fn under(tenant: &TenantId, region: &Region, kind: Kind, first: &str) -> Self {
        Self {
            name: vec![clean(first)],
            ..Self::kind(tenant, region, kind)
        }
    }
    /// Everything of a tenant.
    pub fn tenant(tenant: &TenantId) -> Self {
        Self {
            tenant: tenant.clone(),
            region: None,
            kind: None,
            name: vec![],
        }
    }
    /// The owner.
    pub fn owner(&self) -> &TenantId {
        &self.tenant
    }
    /// Whether `key` begins so.
    pub fn covers(&self, key: &Key) -> bool {
        key.encode().starts_with(&self.encode())
    }
    /// The bytes that the encodings of all covered keys begin with.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.tenant.as_str().as_bytes().to_vec();
        bytes.push(0);
        let Some(region) = &self.region else {
            return bytes;
        };
        bytes.extend_from_slice(region.as_str().as_bytes());
        bytes.push(0);
        let Some(kind) = self.kind else { return bytes };
        bytes.push(kind as u8);
        for part in &self.name {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: Vec<String>) -> Key {
        Key::new(
            &"111111111111".parse().unwrap(),
            &"us-east-1".parse().unwrap(),
            Kind::Revision,
            name,
        )
    }

    proptest! {
        #[test]
        fn a_key_reads_back_and_sorts_as_its_bytes(
            a in prop::collection::vec("[^\0]{0,8}", 1..4),
            b in prop::collection::vec("[^\0]{0,8}", 1..4),
        ) {
            let (a, b) = (key(a), key(b));
            prop_assert_eq!(Key::decode(&a.encode()), Some(a.clone()));
            prop_assert_eq!(a.cmp(&b), a.encode().cmp(&b.encode()));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Key::decode(&bytes);
        }
    }

    #[test]
    fn all_usage_of_a_tenant_lies_behind_one_key() {
        let (tenant, next) = (
            "111111111111".parse().unwrap(),
            "111111111112".parse().unwrap(),
        );
        let of = |tenant, region: &str, name: &str| {
            Key::usage(
                tenant,
                &region.parse().unwrap(),
                &name.parse().unwrap(),
                "2026-11-21",
            )
        };
        let front = Key::before_usage(&tenant).encode();
        for (region, name) in [("-", "-"), ("--", "a"), ("0", "-"), ("us-east-1", "A")] {
            assert!(front < of(&tenant, region, name).encode());
        }
        assert!(of(&tenant, "zz", "z").encode() < Key::before_usage(&next).encode());
    }

    #[test]
    fn a_prefix_covers_its_own_and_no_longer_name() {
        let (tenant, region) = (
            "111111111111".parse().unwrap(),
            "us-east-1".parse().unwrap(),
        );
        let prefix = KeyPrefix::under(&tenant, &region, Kind::Revision, "orders");
        let of = |name: &str| Key::revision(&tenant, &region, &name.parse().unwrap(), 1);
        assert!(prefix.covers(&of("orders")));
        assert!(!prefix.covers(&of("orders2")));
    }
}
