//! Tenants, keys, and the small records around them.

use super::{Kind, Record, Sealed};
use crate::{
    ids::{FunctionRef, Qualifier, Region, TenantId},
    outcome::Usage,
    time::Wall,
};
use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantV1 {
    /// Its id.
    pub id: TenantId,
    /// Regions in which it may have things.
    pub regions: Vec<Region>,
    /// When it was made.
    pub created: Wall,
}
impl Record for TenantV1 {
    const KIND: Kind = Kind::Tenant;
    const VERSION: u16 = 1;
}

/// A long-lived access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyV1 {
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
}
impl Record for AccessKeyV1 {
    const KIND: Kind = Kind::AccessKey;
    const VERSION: u16 = 1;
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

/// What one function used on one UTC day. Sums equal the ledger exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageRollupV1 {
    /// Attempts that reached an instance.
    pub invocations: u64,
    /// Those that ended in an error of the function.
    pub errors: u64,
    /// Sums of the ledger's fields; `memory_peak_bytes` is the highest seen.
    pub sums: Usage,
    /// Sum of billed ms × memory in MiB.
    pub billed_mib_ms: u64,
}
impl Record for UsageRollupV1 {
    const KIND: Kind = Kind::UsageRollup;
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
