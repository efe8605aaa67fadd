//! How often one instance may do a thing.

use freehold_domain::{bucket, bucket::Bucket, time::Mono};
use std::time::Instant;

/// So many in a second, and a second's worth at once.
pub(crate) struct Rate {
    per_s: u64,
    begun: Instant,
    bucket: Bucket,
}

impl Rate {
    pub(crate) fn new(per_s: u64) -> Self {
        Self {
            per_s,
            begun: Instant::now(),
            bucket: Bucket::default(),
        }
    }

    /// Whether there may be one more now.
    pub(crate) fn lets_one_in(&self) -> bool {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.bucket
            .take(Mono(now), 1, bucket::Rate::per_s(self.per_s))
            .is_ok()
    }
}
