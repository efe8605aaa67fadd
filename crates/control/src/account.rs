//! What an account may have and has.

use crate::{Control, ControlError, Place};
use freehold_domain::{
    Principal,
    record::{self, KeyPrefix, Kind, RevisionV1},
};

/// What an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountUsage {
    /// Functions.
    pub functions: u64,
    /// Archives of all heads and revisions, bytes.
    pub code_bytes: u64,
    /// Sum of reserved concurrency.
    pub reserved_concurrency: u64,
}

/// What an account may have, and has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSettings {
    /// All archives, bytes.
    pub code_storage_bytes: u64,
    /// One archive once unpacked, bytes.
    pub package_unpacked_bytes: u64,
    /// One archive in a request, bytes.
    pub package_zip_bytes: u64,
    /// Invocations in flight.
    pub concurrency: u32,
    /// What of it no function has reserved.
    pub unreserved_concurrency: u32,
    /// What it has.
    pub usage: AccountUsage,
}

impl Control {
    /// Limits and usage of a tenant in a region.
    pub async fn account_settings(
        &self,
        who: &Principal,
        place: &Place,
    ) -> Result<AccountSettings, ControlError> {
        let usage = self.account_usage(who, place).await?;
        let limits = &self.limits;
        let reserved = u32::try_from(usage.reserved_concurrency).unwrap_or(u32::MAX);
        Ok(AccountSettings {
            code_storage_bytes: limits.code_storage_bytes,
            package_unpacked_bytes: limits.package_unpacked_bytes,
            package_zip_bytes: limits.package_zip_bytes,
            concurrency: limits.account_concurrency,
            unreserved_concurrency: limits.account_concurrency.saturating_sub(reserved),
            usage,
        })
    }

    pub(crate) async fn account_usage(
        &self,
        who: &Principal,
        place: &Place,
    ) -> Result<AccountUsage, ControlError> {
        let mut usage = AccountUsage::default();
        for function in self.functions_in(who, place).await? {
            usage.functions += 1;
            usage.code_bytes += function.head.package.zip_bytes;
            usage.reserved_concurrency += u64::from(function.reserved_concurrency.unwrap_or(0));
        }
        let revisions = KeyPrefix::kind(&place.tenant, &place.region, Kind::Revision);
        for stored in self.all(who, &revisions).await? {
            let revision: RevisionV1 = record::decode(&stored.bytes)?;
            usage.code_bytes += revision.spec.package.zip_bytes;
        }
        Ok(usage)
    }
}
