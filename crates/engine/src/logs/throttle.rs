//! How many bytes an instance may log per second; what is over is counted.

use freehold_domain::time::Mono;

/// A bucket that holds one second's worth.
pub(super) struct Throttle {
    bytes_per_s: u64,
    left: u64,
    filled: Mono,
    lost: Lost,
}

/// What was lost since it was last said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

impl Throttle {
    pub(super) fn new(bytes_per_s: u64, now: Mono) -> Self {
        Self {
            bytes_per_s,
            left: bytes_per_s,
            filled: now,
            lost: Lost::default(),
        }
    }

    /// Whether a line of this size is kept; counts it when not.
    pub(super) fn lets(&mut self, now: Mono, bytes: usize) -> bool {
        let since = now.since(self.filled);
        let fill = u128::from(self.bytes_per_s) * since.as_nanos() / 1_000_000_000;
        if fill > 0 {
            let left = u128::from(self.left) + fill;
            self.left = u64::try_from(left)
                .unwrap_or(u64::MAX)
                .min(self.bytes_per_s);
            self.filled = now;
        }
        // A line that alone is over a second's worth waits for a full bucket.
        let cost = (bytes as u64).min(self.bytes_per_s);
        if self.left < cost {
            self.count_lost(1, bytes as u64);
            return false;
        }
        self.left -= cost;
        true
    }

    pub(super) fn count_lost(&mut self, lines: u64, bytes: u64) {
        self.lost.lines += lines;
        self.lost.bytes += bytes;
    }

    /// What there is to say, once there is room to say it.
    pub(super) fn take_lost(&mut self) -> Option<Lost> {
        (self.lost.lines > 0).then(|| std::mem::take(&mut self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_over_a_second_s_worth_is_counted() {
        let mut throttle = Throttle::new(100, Mono(0));
        let kept = (0..30).filter(|_| throttle.lets(Mono(0), 10)).count();
        assert_eq!(kept, 10);
        assert_eq!(
            throttle.take_lost(),
            Some(Lost {
                lines: 20,
                bytes: 200
            })
        );
        assert_eq!(throttle.take_lost(), None);
        let later = Mono(0) + Duration::from_millis(500);
        assert_eq!((0..30).filter(|_| throttle.lets(later, 10)).count(), 5);
    }

    #[test]
    fn a_line_over_the_rate_is_kept_by_a_full_bucket() {
        let mut throttle = Throttle::new(100, Mono(0));
        assert!(throttle.lets(Mono(0), 1000));
        assert!(!throttle.lets(Mono(0), 1));
    }
}
