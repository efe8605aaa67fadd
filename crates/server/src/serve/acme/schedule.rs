//! When a certificate is ordered: pure, in seconds since 1970.

/// The first wait after a failure, seconds; each further one doubles it. Let's Encrypt takes five
/// failures of a name in an hour.
const PAUSE_S: i64 = 120;
/// The longest of them.
const PAUSE_MAX_S: i64 = 6 * 3600;

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Life {
    pub(crate) begins: i64,
    pub(crate) ends: i64,
    /// From 0 to 1, by the certificate: servers that were set up together renew apart.
    pub(crate) share: f64,
}

impl Life {
    /// When a third of it is left, or up to a tenth of a third sooner.
    pub(super) fn renewal(self) -> i64 {
        let third = (self.ends - self.begins).max(0) / 3;
        self.ends - third - (third as f64 / 10.0 * self.share) as i64
    }
}

/// A share from 0 to 1 that nobody else draws.
pub(super) fn share() -> f64 {
    let drawn = uuid::Uuid::new_v4();
    let [one, other, ..] = *drawn.as_bytes();
    f64::from(u16::from_le_bytes([one, other])) / f64::from(u16::MAX)
}

/// The failures since the last certificate.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: u32,
    error: Option<String>,
    not_before: i64,
}

impl Attempts {
    /// One that began at `began` has failed; `share` is drawn.
    pub(super) fn failed(&mut self, began: i64, error: String, share: f64) {
        self.failures = self.failures.saturating_add(1);
        let doubled = PAUSE_S << (self.failures - 1).min(16);
        let pause = doubled.min(PAUSE_MAX_S) as f64 * (0.75 + share / 2.0);
        self.not_before = began + pause as i64;
        self.error = Some(error);
    }

    /// Waits for nothing more.
    pub(super) fn hurry(&mut self) {
        self.not_before = 0;
    }

    /// When the next one is to begin; `life` is that of the certificate that is there.
    pub(super) fn due(&self, life: Option<Life>) -> i64 {
        let renewal = life.map_or(0, Life::renewal);
        renewal.max(self.not_before)
    }

    pub(super) fn not_before(&self) -> i64 {
        self.not_before
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn it_is_renewed_when_a_third_is_left_and_not_by_all_at_once() {
        let life = |share| Life {
            begins: 0,
            ends: 90 * DAY,
            share,
        };
        assert_eq!(life(0.0).renewal(), 60 * DAY);
        assert_eq!(life(1.0).renewal(), 57 * DAY);
        assert_eq!(life(0.5).renewal(), 58 * DAY + DAY / 2);
        // One of minutes as well.
        let short = Life {
            begins: 1000,
            ends: 1030,
            share: 0.0,
        };
        assert_eq!(short.renewal(), 1020);
        let drawn: Vec<f64> = (0..100).map(|_| share()).collect();
        assert!(drawn.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!(drawn.iter().any(|share| *share != drawn[0]));
    }

    #[test]
    fn without_one_it_is_time_at_once_and_failures_wait_longer_each_time() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.due(None), 0);
        let mut waits = Vec::new();
        for _ in 0..40 {
            attempts.failed(1000, "away".to_owned(), 0.5);
            waits.push(attempts.due(None) - 1000);
        }
        assert_eq!(waits[..4], [120, 240, 480, 960]);
        assert!(waits.windows(2).all(|two| two[0] <= two[1]));
        assert_eq!(waits[39], PAUSE_MAX_S);
        assert_eq!(attempts.failures(), 40);
        attempts.failed(1000, "away".to_owned(), 0.0);
        assert_eq!(attempts.due(None) - 1000, PAUSE_MAX_S * 3 / 4);
        // A certificate that is there is not renewed sooner for it, and hurry waits for its time.
        let life = Life {
            begins: 0,
            ends: 90 * DAY,
            share: 0.0,
        };
        assert_eq!(attempts.due(Some(life)), 60 * DAY);
        attempts.hurry();
        assert_eq!(
            (attempts.due(None), attempts.due(Some(life))),
            (0, 60 * DAY)
        );
        assert_eq!(attempts.error(), Some("away"));
    }
}
