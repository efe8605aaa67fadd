//! Reserved concurrency of functions, held against the account's.

use crate::{
    Control, ControlError, Limit, Place,
    store::{self, function_key},
    tenants::put_back,
};
use freehold_domain::{FunctionRef, Principal, TenantLimit};

impl Control {
    /// Reserves `amount` for a function; 0 throttles it whole.
    ///
    /// Errors: [`ControlError::LimitExceeded`] when less than the minimum would stay unreserved,
    /// unless nothing more is reserved than is now: an account may have been given less meanwhile.
    pub async fn concurrency_put(
        &self,
        who: &Principal,
        of: &FunctionRef,
        amount: u32,
    ) -> Result<u32, ControlError> {
        self.concurrency_set(who, of, Some(amount)).await?;
        Ok(amount)
    }

    /// What is reserved for a function.
    pub async fn concurrency_get(
        &self,
        who: &Principal,
        of: &FunctionRef,
    ) -> Result<Option<u32>, ControlError> {
        Ok(self.function(who, of).await?.record.reserved_concurrency)
    }

    /// Gives a function's reservation back.
    pub async fn concurrency_delete(
        &self,
        who: &Principal,
        of: &FunctionRef,
    ) -> Result<(), ControlError> {
        self.concurrency_set(who, of, None).await
    }

    async fn concurrency_set(
        &self,
        who: &Principal,
        of: &FunctionRef,
        amount: Option<u32>,
    ) -> Result<(), ControlError> {
        let place = Place::of(of);
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            // Two functions that reserve at once would each see room for itself: both write the
            // tenant's record too, so that the second has to look again.
            let tenant = self.tenant(who, &of.tenant).await?;
            let present = self.function(who, of).await?;
            let expect = present.expect();
            let mut function = present.record;
            let reserved = function.reserved_concurrency.unwrap_or(0);
            if let Some(amount) = amount.filter(|amount| *amount > reserved) {
                let others: u64 = self
                    .functions_in(who, &place)
                    .await?
                    .iter()
                    .filter(|other| other.name != of.name)
                    .map(|other| u64::from(other.reserved_concurrency.unwrap_or(0)))
                    .sum();
                let account = self.limit_of(&tenant.record, TenantLimit::Concurrency);
                let account = account.unwrap_or(u64::MAX);
                let min = u64::from(self.limits.now().unreserved_concurrency_min);
                if others + u64::from(amount) + min > account {
                    return Err(ControlError::LimitExceeded {
                        limit: Limit::UnreservedConcurrency,
                        max: min,
                    });
                }
            }
            function.reserved_concurrency = amount;
            let ops = vec![
                store::put(function_key(of), expect, &function),
                put_back(&tenant),
            ];
            if self.try_commit(who, ops).await? {
                return Ok(());
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }
}
