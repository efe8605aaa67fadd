//! What an account may have and has.

use crate::{Control, ControlError, Place, holdings, store::LIST_CHUNK};
use freehold_domain::{
    Principal,
    record::{Key, KeyPrefix, Kind},
};

/// What an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountUsage {
    /// Functions.
    pub functions: u64,
    /// Published versions.
    pub versions: u64,
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
        let limits = self.limits_of(who, &place.tenant).await?;
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
        Self::reaches(who, &place.tenant)?;
        if let Some(known) = self.holdings.of(place) {
            return Ok(known);
        }
        let mut read = Vec::new();
        for kind in [Kind::Function, Kind::Revision] {
            let prefix = KeyPrefix::kind(&place.tenant, &place.region, kind);
            let mut after: Option<Key> = None;
            loop {
                let page = self
                    .storage
                    .list(who, &prefix, after.as_ref(), LIST_CHUNK)
                    .await?;
                for stored in &page {
                    read.extend(holdings::read(stored)?);
                }
                match page.last() {
                    Some(last) if page.len() == LIST_CHUNK => after = Some(last.key.clone()),
                    _ => break,
                }
            }
        }
        Ok(self.holdings.learn(place, read))
    }
}
