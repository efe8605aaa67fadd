//! Samples and what is said of them.

use std::time::Duration;

/// Samples in microseconds.
#[derive(Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Adds one.
    pub fn add(&mut self, sample: Duration) {
        self.0.push(sample.as_secs_f64() * 1e6);
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that a share of `percent` lies at or below (nearest rank); 0 without samples.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// One row: name, count and percentiles in `unit` microseconds.
    pub fn row(&self, name: &str, unit: f64) -> String {
        let at = |percent| self.percentile(percent) / unit;
        format!(
            "{name:<24} {:>7} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
            self.len(),
            at(10),
            at(50),
            at(90),
            at(99)
        )
    }
}

/// The head of the rows.
pub fn head(unit: &str) -> String {
    format!(
        "{:<24} {:>7} {:>9} {:>9} {:>9} {:>9}",
        unit, "count", "p10", "p50", "p90", "p99"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let mut figures = Figures::default();
        for ms in (1..=100).rev() {
            figures.add(Duration::from_millis(ms));
        }
        for (percent, expected_ms) in [(10, 10.0), (50, 50.0), (99, 99.0)] {
            assert_eq!(figures.percentile(percent), expected_ms * 1000.0);
        }
        assert_eq!(Figures::default().percentile(50), 0.0);
    }
}
