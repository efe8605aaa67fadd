//! The storage seam's fake and its suites.
//!
//! [`MemoryStorage`] keeps everything in memory and obeys every rule of the seam but durability;
//! the suites say those rules once, for it and for every real backend.

mod audit;
mod events;
mod logs;
mod memory;
pub mod suite;

pub use memory::MemoryStorage;

#[cfg(test)]
mod tests {
    use super::{
        MemoryStorage,
        suite::{self, StillClock},
    };
    use freehold_domain::ports::Storage;
    use std::sync::Arc;

    fn make() -> Arc<dyn Storage> {
        MemoryStorage::new(Arc::new(StillClock::default()))
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(test);
    }

    #[test]
    fn the_fake_passes_every_suite() {
        run(suite::records_suite(make));
        run(suite::events_suite(make));
        run(suite::blobs_suite(make));
        run(suite::ledger_suite(make));
        run(suite::logs_suite(make));
        run(suite::audit_suite(make));
    }

    #[test]
    fn the_fake_agrees_with_the_model() {
        for seed in 0..20 {
            run(suite::records_against_a_model(make(), seed, 200));
            run(suite::events_against_a_model(make(), seed, 300));
        }
    }
}
