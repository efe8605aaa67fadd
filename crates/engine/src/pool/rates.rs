//! How fast the instances of each function come up.
//!
//! One bucket for each function, which all its revisions take from: a deployment fills none. It is
//! known for as long as a revision holds it or something is missing in it.
//! Source: AWS Lambda developer guide, "Lambda scaling behavior": the rate is each function's own.

use freehold_domain::{bucket::Bucket, ids::FunctionRef, time::Mono};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// See the module.
#[derive(Default)]
pub(crate) struct StartRates(Mutex<HashMap<FunctionRef, Arc<Bucket>>>);

impl StartRates {
    /// The function's.
    pub(crate) fn of(&self, function: &FunctionRef, now: Mono) -> Arc<Bucket> {
        let mut list = self.0.lock();
        if let Some(known) = list.get(function) {
            return known.clone();
        }
        // What nobody holds and nothing is missing in is let go before the list grows.
        if list.len() == list.capacity() {
            list.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full(now));
            let kept = list.len();
            if kept > list.capacity() / 2 {
                list.reserve(kept);
            }
        }
        list.entry(function.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::bucket::Rate;

    fn function(n: usize) -> FunctionRef {
        FunctionRef {
            tenant: "111111111111".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            name: format!("f-{n}").parse().unwrap(),
        }
    }

    #[test]
    fn a_bucket_is_its_functions_until_it_is_full_again_and_nobodys() {
        let (rates, rate) = (StartRates::default(), Rate::per_10_s(10));
        let at = |second: u64| Mono(second * 1_000_000_000);
        let used = rates.of(&function(0), at(0));
        assert!(used.take(at(0), 10, rate).is_ok());
        drop(used);
        let held = rates.of(&function(1), at(0));
        for n in 2..1000 {
            drop(rates.of(&function(n), at(1)));
        }
        assert!(rates.0.lock().len() < 100, "what is full and nobody's goes");
        assert!(Arc::ptr_eq(&held, &rates.of(&function(1), at(1))));
        let used = rates.of(&function(0), at(1));
        assert!(used.take(at(1), 2, rate).is_err(), "another took all of it");
        assert!(used.take(at(1), 1, rate).is_ok());
        assert!(held.take(at(1), 10, rate).is_ok());
    }
}
