//! Names that the index may know and memory does not: whoever makes a stream under another name
//! asks no database. A Bloom filter of fixed size; what it takes for known costs one look-up.

use freehold_domain::logs::LogStreamName;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::*},
};

/// Two mebibytes: of a million names one in four hundred is taken for another, of four million
/// one in seven.
const BITS: u64 = 16 << 20;
/// Bits of each name.
const PROBES: u64 = 4;

/// See the module.
pub(super) struct Filter {
    words: Vec<AtomicU64>,
    hashes: RandomState,
    /// Everything that was in the index at the start is in it.
    complete: AtomicBool,
}

impl Filter {
    /// One that takes every name for known until it is [`complete`](Self::complete).
    pub(super) fn new() -> Self {
        let mut words = Vec::new();
        words.resize_with((BITS / 64) as usize, AtomicU64::default);
        Self {
            words,
            hashes: RandomState::new(),
            complete: AtomicBool::new(false),
        }
    }

    fn bits(&self, parts: [&str; 4]) -> impl Iterator<Item = (usize, u64)> {
        let mut hasher = self.hashes.build_hasher();
        for part in parts {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff);
        }
        let hash = hasher.finish();
        let step = hash.rotate_left(32) | 1;
        (0..PROBES).map(move |probe| {
            let bit = hash.wrapping_add(probe.wrapping_mul(step)) % BITS;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    /// Adds a name by tenant, region, group and stream.
    pub(super) fn add(&self, parts: [&str; 4]) {
        for (word, bit) in self.bits(parts) {
            self.words[word].fetch_or(bit, Relaxed);
        }
    }

    /// All names of the index are in it from here on.
    pub(super) fn complete(&self) {
        self.complete.store(true, Release);
    }

    /// Whether the index may know this name.
    pub(super) fn may_know(&self, name: &LogStreamName) -> bool {
        !self.complete.load(Acquire)
            || self
                .bits(parts(name))
                .all(|(word, bit)| self.words[word].load(Relaxed) & bit != 0)
    }
}

/// A name as [`Filter::add`] takes it.
pub(super) fn parts(name: &LogStreamName) -> [&str; 4] {
    let group = &name.group;
    [
        group.tenant.as_str(),
        group.region.as_str(),
        &group.group,
        &name.stream,
    ]
}
