//! What an instance sent to networks and received from them, in bytes.

use serde::{Deserialize, Serialize};
use std::{
    ops::Add,
    sync::atomic::{AtomicU64, Ordering},
};

/// Bytes that went either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkBytes {
    /// From the instance.
    #[serde(rename = "bytes_out")]
    pub out: u64,
    /// To it.
    #[serde(rename = "bytes_in")]
    pub back: u64,
}

impl NetworkBytes {
    /// Whether nothing went either way.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is new since `before`. A count that went back, since who counts has begun anew, has nothing.
    pub fn since(self, before: Self) -> Self {
        Self {
            out: self.out.saturating_sub(before.out),
            back: self.back.saturating_sub(before.back),
        }
    }

    /// The higher of each.
    pub fn highest(self, other: Self) -> Self {
        Self {
            out: self.out.max(other.out),
            back: self.back.max(other.back),
        }
    }
}

impl Add for NetworkBytes {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            out: self.out.saturating_add(more.out),
            back: self.back.saturating_add(more.back),
        }
    }
}

/// What was carried for one instance so far, counted by whoever carries it.
#[derive(Debug, Default)]
pub struct Carried {
    out: AtomicU64,
    back: AtomicU64,
}

impl Carried {
    /// So many bytes went out.
    pub fn count_out(&self, bytes: usize) {
        self.out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many bytes came back.
    pub fn count_back(&self, bytes: usize) {
        self.back.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All of it so far.
    pub fn so_far(&self) -> NetworkBytes {
        NetworkBytes {
            out: self.out.load(Ordering::Relaxed),
            back: self.back.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(out: u64, back: u64) -> NetworkBytes {
        NetworkBytes { out, back }
    }

    #[test]
    fn what_is_new_is_never_less_than_nothing() {
        let check = |now: NetworkBytes, before, expected| assert_eq!(now.since(before), expected);
        check(bytes(7, 5), bytes(3, 5), bytes(4, 0));
        // Who counts has begun anew.
        check(bytes(1, 9), bytes(3, 5), bytes(0, 4));
        assert!(bytes(3, 5).since(bytes(3, 5)).is_nothing());
        assert_eq!(bytes(1, 9).highest(bytes(3, 5)), bytes(3, 9));
    }

    #[test]
    fn what_is_carried_adds_up_each_way() {
        let carried = Carried::default();
        carried.count_out(3);
        carried.count_back(4);
        carried.count_out(5);
        assert_eq!(carried.so_far() + bytes(1, u64::MAX), bytes(9, u64::MAX));
    }
}
