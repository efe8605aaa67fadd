//! Samples and what is said of them.

use std::time::Duration;

/// Of fewer samples the p99 is the slowest of them or the one before it, and says so.
const P99_SAMPLES: usize = 200;

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
        format!("{name:<24} {}", self.cells(unit))
    }

    /// A row without its name.
    pub fn cells(&self, unit: f64) -> String {
        let at = |percent| self.percentile(percent) / unit;
        format!(
            "{:>7} {:>9.2} {:>9.2} {:>9.2} {:>10}",
            self.len(),
            at(10),
            at(50),
            at(90),
            self.p99(unit)
        )
    }

    /// The p99 in `unit` microseconds, with a mark where there are too few samples for one.
    pub fn p99(&self, unit: f64) -> String {
        let mark = if self.len() < P99_SAMPLES { '*' } else { ' ' };
        format!("{:.2}{mark}", self.percentile(99) / unit)
    }
}

/// The head of the rows.
pub fn head(unit: &str) -> String {
    format!("{unit:<24} {}", head_cells())
}

/// The head of [`Figures::cells`].
pub fn head_cells() -> String {
    format!(
        "{:>7} {:>9} {:>9} {:>9} {:>10}",
        "count",
        "p10",
        "p50",
        "p90",
        format!("p99 (*<{P99_SAMPLES})")
    )
}

/// The middle one of samples; 0 without any.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
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

    #[test]
    fn a_p99_of_few_samples_says_so() {
        let mut figures = Figures::default();
        for ms in 1..P99_SAMPLES {
            figures.add(Duration::from_millis(ms as u64));
        }
        assert_eq!(figures.p99(1000.0), "198.00*");
        figures.add(Duration::from_millis(200));
        assert_eq!(figures.p99(1000.0), "198.00 ");
    }

    #[test]
    fn a_median_is_one_of_the_samples() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[]), 0.0);
    }
}
