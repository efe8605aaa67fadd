//! How many calls an account may make in a second that run no function.
//!
//! Three numbers of Lambda's for each account and region: those of GetFunction, those of GetPolicy, and
//! all others together, across operations. Two more are fixed: calls that change something of its logs,
//! and Freehold's own operations. A call counts once its signature is proven, whatever comes of it. What
//! runs functions has rates of its own, in the engine.
//! Source: AWS Lambda developer guide, "Lambda quotas", "API requests"; Amazon CloudWatch Logs user guide,
//! "CloudWatch Logs quotas": 5 and 10 in a second for each of the two that are served.

use crate::{audit, gate::SignedApi, refusals::Refusal};
use freehold_domain::{
    Mono, Region, TenantId, TenantLimit,
    bucket::{Bucket, Rate},
    limits::Limits,
    tenants::OverRate,
};
use freehold_wire::{lambda::Operation, logs};
use http::request::Parts;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// Calls of one account and region in a second that change something of its logs.
const LOGS_CHANGES_PER_S: u64 = 10;
/// Calls of one account and region in a second of Freehold's own operations.
const OWN_PER_S: u64 = 10;

/// The rate that a call counts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallRate {
    GetFunction,
    GetPolicy,
    Others,
    LogsChanges,
    Own,
}

impl CallRate {
    /// Nothing for what runs functions, reads logs, or is no operation.
    pub(crate) fn of(api: &SignedApi, parts: &Parts) -> Option<Self> {
        match api {
            SignedApi::Lambda => Self::of_lambda(parts),
            SignedApi::Logs => {
                let operation = logs::Operation::route(&parts.headers)?;
                audit::changes(operation.name()).then_some(Self::LogsChanges)
            }
            SignedApi::Own(_) => Some(Self::Own),
            SignedApi::Sts => None,
        }
    }

    fn of_lambda(parts: &Parts) -> Option<Self> {
        let found = Operation::route(&parts.method, &parts.uri)?;
        match found.operation {
            Operation::Invoke | Operation::InvokeAsync | Operation::InvokeWithResponseStream => {
                None
            }
            Operation::GetFunction => Some(Self::GetFunction),
            Operation::GetPolicy => Some(Self::GetPolicy),
            _ => Some(Self::Others),
        }
    }

    /// What it counts, for a text.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::GetFunction => "calls of GetFunction",
            Self::GetPolicy => "calls of GetPolicy",
            Self::Others => "calls that manage",
            Self::LogsChanges => "calls that change something of its logs",
            Self::Own => "calls of Freehold's own operations",
        }
    }

    /// The limit that it is held to, where that is not fixed.
    pub(crate) fn limit(self) -> Option<TenantLimit> {
        match self {
            Self::GetFunction => Some(TenantLimit::GetFunction),
            Self::GetPolicy | Self::Others => Some(TenantLimit::Management),
            Self::LogsChanges | Self::Own => None,
        }
    }

    /// What a call is counted as that goes beyond it.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::GetFunction => Refusal::GetFunction,
            Self::GetPolicy => Refusal::GetPolicy,
            Self::Others => Refusal::Management,
            Self::LogsChanges => Refusal::LogsChanges,
            Self::Own => Refusal::Own,
        }
    }

    fn most(self, limits: &Limits) -> Option<u64> {
        match self {
            Self::GetFunction => limits.get_function_per_s,
            Self::GetPolicy | Self::Others => limits.management_per_s,
            Self::LogsChanges => Some(LOGS_CHANGES_PER_S),
            Self::Own => Some(OWN_PER_S),
        }
    }
}

/// What is counted of one account in one region.
#[derive(Default)]
struct Counts {
    get_function: Bucket,
    get_policy: Bucket,
    others: Bucket,
    logs_changes: Bucket,
    own: Bucket,
}

impl Counts {
    fn of(&self, rate: CallRate) -> &Bucket {
        match rate {
            CallRate::GetFunction => &self.get_function,
            CallRate::GetPolicy => &self.get_policy,
            CallRate::Others => &self.others,
            CallRate::LogsChanges => &self.logs_changes,
            CallRate::Own => &self.own,
        }
    }

    fn is_full(&self, now: Mono) -> bool {
        let all = [
            &self.get_function,
            &self.get_policy,
            &self.others,
            &self.logs_changes,
            &self.own,
        ];
        all.into_iter().all(|bucket| bucket.is_full(now))
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct CallRates(Mutex<HashMap<(TenantId, Region), Arc<Counts>>>);

impl CallRates {
    /// Lets one more call of an account's in, by the limits that hold for it.
    ///
    /// Errors: [`OverRate`].
    pub(crate) fn take(
        &self,
        rate: CallRate,
        place: (&TenantId, &Region),
        now: Mono,
        limits: &Limits,
    ) -> Result<(), OverRate> {
        let Some(per_s) = rate.most(limits) else {
            return Ok(());
        };
        let counts = self.counts(place, now);
        let taken = counts.of(rate).take(now, 1, Rate::per_s(per_s));
        taken.map_err(|wait| OverRate { per_s, wait })
    }

    fn counts(&self, (tenant, region): (&TenantId, &Region), now: Mono) -> Arc<Counts> {
        let mut list = self.0.lock();
        let key = (tenant.clone(), region.clone());
        if let Some(known) = list.get(&key) {
            return known.clone();
        }
        // What nobody holds and nothing is missing in is let go before the list grows.
        if list.len() == list.capacity() {
            list.retain(|_, counts| Arc::strong_count(counts) > 1 || !counts.is_full(now));
            let kept = list.len();
            if kept > list.capacity() / 2 {
                list.reserve(kept);
            }
        }
        list.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::TenantLimits;

    const CALLS: usize = 1000;

    fn tenant(n: usize) -> TenantId {
        format!("{n:012}").parse().unwrap()
    }

    fn region(name: &str) -> Region {
        name.parse().unwrap()
    }

    fn at(second: u64) -> Mono {
        Mono(second * 1_000_000_000)
    }

    #[test]
    fn an_operation_counts_on_its_own_rate_or_with_all_others() {
        let rate = |method: &str, path: &str| {
            let request = http::Request::builder().method(method).uri(path);
            CallRate::of(
                &SignedApi::Lambda,
                &request.body(()).unwrap().into_parts().0,
            )
        };
        let (one, others) = ("/2015-03-31/functions/f", Some(CallRate::Others));
        assert_eq!(rate("GET", one), Some(CallRate::GetFunction));
        let policy = format!("{one}/policy");
        assert_eq!(rate("GET", &policy), Some(CallRate::GetPolicy));
        assert_eq!(rate("POST", &policy), others);
        assert_eq!(rate("DELETE", one), others);
        assert_eq!(rate("GET", &format!("{one}/configuration")), others);
        assert_eq!(rate("GET", "/2015-03-31/functions/"), others);
        assert_eq!(rate("POST", &format!("{one}/invocations")), None);
        let later = "/2014-11-13/functions/f/invoke-async/";
        assert_eq!(rate("POST", later), None);
        let streamed = "/2021-11-15/functions/f/response-streaming-invocations";
        assert_eq!(rate("POST", streamed), None);
        assert_eq!(rate("GET", "/"), None);
    }

    #[test]
    fn what_changes_logs_and_what_is_freeholds_own_have_rates_of_their_own() {
        let rate = |api: &SignedApi, name: &str| {
            let request = http::Request::builder().method("POST").uri("/");
            let request = request.header("x-amz-target", format!("Logs_20140328.{name}"));
            CallRate::of(api, &request.body(()).unwrap().into_parts().0)
        };
        for operation in ["PutRetentionPolicy", "DeleteLogGroup"] {
            assert_eq!(
                rate(&SignedApi::Logs, operation),
                Some(CallRate::LogsChanges)
            );
        }
        for operation in [
            "DescribeLogGroups",
            "GetLogEvents",
            "FilterLogEvents",
            "NoSuch",
        ] {
            assert_eq!(rate(&SignedApi::Logs, operation), None);
        }
        assert_eq!(
            rate(&SignedApi::Own("GetAudit".to_owned()), ""),
            Some(CallRate::Own)
        );
        assert_eq!(rate(&SignedApi::Sts, ""), None);
    }

    #[test]
    fn each_rate_is_its_accounts_in_its_region() {
        let (rates, limits) = (CallRates::default(), Limits::default());
        let home = region("us-east-1");
        let passed = |rate, who: usize, region: &Region| {
            let take = |_: &usize| {
                let place = (&tenant(who), region);
                rates.take(rate, place, at(1), &limits).is_ok()
            };
            (0..CALLS).filter(take).count()
        };
        assert_eq!(passed(CallRate::Others, 1, &home), 15);
        assert_eq!(passed(CallRate::GetPolicy, 1, &home), 15);
        assert_eq!(passed(CallRate::GetFunction, 1, &home), 100);
        assert_eq!(passed(CallRate::LogsChanges, 1, &home), 10);
        assert_eq!(passed(CallRate::Own, 1, &home), 10);
        assert_eq!(passed(CallRate::Others, 1, &home), 0);
        assert_eq!(passed(CallRate::Others, 2, &home), 15);
        assert_eq!(passed(CallRate::Others, 1, &region("eu-central-1")), 15);
    }

    #[test]
    fn an_accounts_own_limit_holds_and_none_is_none() {
        let (rates, mut own) = (CallRates::default(), TenantLimits::default());
        let (one, home) = (tenant(1), region("us-east-1"));
        let passed = |rate, second, own: &TenantLimits| {
            let limits = own.over(&Limits::default());
            let take = |_: &usize| rates.take(rate, (&one, &home), at(second), &limits).is_ok();
            (0..CALLS).filter(take).count()
        };
        own.set(TenantLimit::Management, Some(2));
        assert_eq!(passed(CallRate::Others, 1, &own), 2);
        assert_eq!(passed(CallRate::GetPolicy, 1, &own), 2);
        assert_eq!(passed(CallRate::GetFunction, 1, &own), 100);
        own.set(
            TenantLimit::Management,
            Some(freehold_domain::tenant_limits::LIFTED),
        );
        assert_eq!(passed(CallRate::Others, 1, &own), CALLS);
        own.set(TenantLimit::GetFunction, Some(1));
        assert_eq!(passed(CallRate::GetFunction, 9, &own), 1);
    }

    #[test]
    fn who_has_used_nothing_up_is_forgotten() {
        let (rates, limits) = (CallRates::default(), Limits::default());
        let home = region("us-east-1");
        let take = |who: usize, second| {
            rates.take(CallRate::Others, (&tenant(who), &home), at(second), &limits)
        };
        for _ in 0..15 {
            assert!(take(1, 1).is_ok());
        }
        for who in 2..1000 {
            assert!(take(who, who as u64 * 10).is_ok());
        }
        assert!(rates.0.lock().len() < 100);
        for _ in 0..15 {
            assert!(take(1, 10_000).is_ok());
        }
        for who in 2..1000 {
            assert!(take(who, 10_000).is_ok());
        }
        assert!(take(1, 10_000).is_err());
    }
}
