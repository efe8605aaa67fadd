//! Rows of one table, each beside its echo: processor time of a call first, then the ratio, then
//! times with p10 beside the median.
//!
//! Processor time is the machine's count of it for whole processes, so all that a platform does in
//! the meantime is in it; what a caller spends is not.

use crate::{
    Failure,
    figures::{self, Figures, median},
    load::{Lines, Until},
    processes::{Payer, Spent},
};
use std::sync::Arc;

/// What calls of one callee cost, by round.
#[derive(Default)]
pub struct Cost {
    name: String,
    figures: Figures,
    p50_us: Vec<f64>,
    platform_us: Vec<f64>,
    functions_us: Vec<f64>,
}

impl Cost {
    /// Nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a round: the time of each call, and what was spent on all of them.
    pub fn add(&mut self, figures: &Figures, spent: Spent) {
        let each = |ns: u64| ns as f64 / 1000.0 / figures.len().max(1) as f64;
        self.p50_us.push(figures.percentile(50));
        self.platform_us.push(each(spent.platform_ns));
        self.functions_us.push(each(spent.functions_ns));
        self.figures.extend(figures);
    }

    /// Makes a round of calls, every one of which has to be answered, and adds it.
    pub fn round(
        &mut self,
        lines: &mut Lines,
        until: Until,
        next: impl FnMut(usize) -> Arc<[u8]>,
        look: impl FnMut(&[u8]) -> bool,
        payer: Payer,
    ) -> Result<(), Failure> {
        let before = payer.spent();
        let came = lines.run(until, next, look)?.all_good();
        let came = came.map_err(|failure| format!("{}: {failure}", self.name))?;
        self.add(&came.figures, payer.spent().since(before));
        Ok(())
    }

    /// As the table names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All calls.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Processor time of the platform, or of whoever answers in its place: µs per call, median of
    /// the rounds.
    pub fn platform_us(&self) -> f64 {
        median(&self.platform_us)
    }

    /// What the median of each round was over that of the echo's, microseconds.
    pub fn over_us(&self, echo: &Self) -> Vec<f64> {
        let rounds = self.p50_us.iter().zip(&echo.p50_us);
        rounds.map(|(own, echo)| own - echo).collect()
    }

    /// Its line in the table; times in `unit` microseconds.
    pub fn row(&self, echo: &Self, unit: f64) -> String {
        format!(
            "{:<27} {:>9.1} {:>9.1} {:>6.2}x {}",
            self.name,
            self.platform_us(),
            median(&self.functions_us),
            self.figures.percentile(50) / echo.figures.percentile(50),
            self.figures.cells(unit)
        )
    }
}

/// The head of the rows: the ratio is to the median of `beside`.
pub fn head(unit: &str, beside: &str) -> String {
    format!(
        "{:<27} {:>9} {:>9} {:>7} {}",
        format!("times in {unit}"),
        "CPU µs",
        "function",
        format!("x {beside}"),
        figures::head_cells()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn round(us: [u64; 3]) -> Figures {
        let mut figures = Figures::default();
        for us in us {
            figures.add(Duration::from_micros(us));
        }
        figures
    }

    #[test]
    fn a_row_is_compared_with_the_echo_of_its_own_round() {
        let (mut echo, mut own) = (Cost::new("echo"), Cost::new("own"));
        for (bare, ours, ms) in [
            ([10; 3], [30; 3], 3),
            ([40; 3], [70; 3], 6),
            ([10; 3], [20; 3], 9),
        ] {
            echo.add(&round(bare), Spent::default());
            let spent = Spent {
                platform_ns: ms * 1_000_000,
                functions_ns: 3000,
            };
            own.add(&round(ours), spent);
        }
        assert_eq!(own.over_us(&echo), [20.0, 30.0, 10.0]);
        assert_eq!(own.platform_us(), 2000.0);
        let row = own.row(&echo, 1.0);
        let cells: Vec<_> = row.split_whitespace().take(5).collect();
        assert_eq!(cells, ["own", "2000.0", "1.0", "3.00x", "9"]);
    }
}
