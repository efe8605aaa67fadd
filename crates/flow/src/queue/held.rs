//! What the worker holds, by tenant and by function.

use freehold_domain::{FunctionRef, TenantId};
use std::collections::HashMap;

/// Attempts in flight.
#[derive(Default)]
pub(super) struct Held {
    tenants: HashMap<TenantId, usize>,
    functions: HashMap<FunctionRef, usize>,
    all: usize,
}

impl Held {
    pub(super) fn all(&self) -> usize {
        self.all
    }
    pub(super) fn by_tenant(&self) -> Vec<(TenantId, usize)> {
        let tenants = self.tenants.iter();
        tenants.map(|(tenant, n)| (tenant.clone(), *n)).collect()
    }
    pub(super) fn by_function(&self) -> Vec<(FunctionRef, usize)> {
        let functions = self.functions.iter();
        functions.map(|(of, n)| (of.clone(), *n)).collect()
    }

    pub(super) fn take(&mut self, function: &FunctionRef) {
        *self.tenants.entry(function.tenant.clone()).or_default() += 1;
        *self.functions.entry(function.clone()).or_default() += 1;
        self.all += 1;
    }

    pub(super) fn give_back(&mut self, function: &FunctionRef) {
        fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
        less(&mut self.tenants, &function.tenant);
        less(&mut self.functions, function);
        self.all -= 1;
    }
}
