//! Arrivals to replay, made from a seed: memoryless, periodic, daily, in patterned bursts, mixed
//! and rare ones.

use super::Seconds;

const HOUR: Seconds = 3600.0;
const DAY: Seconds = 86_400.0;

/// Splitmix64: as many bits as a trace needs, the same on every machine.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed throws the same.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.unit()
    }

    /// Times between memoryless arrivals.
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// About normal, within ±3 (sum of twelve).
    fn normal(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| self.unit()).sum();
        (sum - 6.0).clamp(-3.0, 3.0)
    }
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// When it arrives.
    pub at: Seconds,
    /// How long it runs.
    pub takes: Seconds,
}

/// The calls of one function, in order.
pub type Trace = Vec<Call>;

/// A kind of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Memoryless: one in 20 s to one in an hour.
    Poisson,
    /// Every so often, from two minutes to three hours, with jitter from half a second to 3 %.
    Periodic,
    /// Swelling and ebbing with the day, and jobs at fixed hours.
    Daily,
    /// Bursts of several calls at once every 20 to 90 minutes.
    Bursts,
    /// A periodic part over a memoryless one.
    Mixed,
    /// Memoryless, one in five to ten hours.
    Rare,
}

/// Every kind.
pub const KINDS: [Kind; 6] = [
    Kind::Poisson,
    Kind::Periodic,
    Kind::Daily,
    Kind::Bursts,
    Kind::Mixed,
    Kind::Rare,
];

impl Kind {
    /// As the table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Periodic => "periodic",
            Self::Daily => "daily",
            Self::Bursts => "bursts",
            Self::Mixed => "mixed",
            Self::Rare => "rare",
        }
    }

    /// The functions of this kind over so many days.
    pub fn traces(self, seed: u64, days: u32) -> Vec<Trace> {
        let mut dice = Dice::new(seed ^ (self as u64) << 32);
        let end = f64::from(days) * DAY;
        let mut times: Vec<Vec<(Seconds, Seconds)>> = Vec::new();
        match self {
            Self::Poisson => {
                for mean in [20.0, 60.0, 200.0, 500.0, 1200.0, 3600.0] {
                    times.push(memoryless(&mut dice, mean, 0.3, end));
                }
            }
            Self::Periodic => {
                for minutes in [2.0, 5.0, 8.0, 15.0, 20.0, 30.0, 60.0, 90.0, 180.0] {
                    let every = minutes * 60.0;
                    let jitter = every * dice.between(0.0, 0.01) + 0.2;
                    times.push(periodic(&mut dice, every, jitter, 0.5, end));
                }
            }
            Self::Daily => {
                for busiest in [60.0, 240.0, 420.0, 600.0] {
                    times.push(tidal(&mut dice, busiest, end));
                }
                for jobs in [1, 2, 3, 4] {
                    times.push(jobs_a_day(&mut dice, jobs, end));
                }
            }
            Self::Bursts => {
                for (minutes, calls, within) in [
                    (20.0, 8, 5.0),
                    (30.0, 20, 30.0),
                    (45.0, 40, 20.0),
                    (60.0, 12, 60.0),
                    (90.0, 60, 10.0),
                ] {
                    times.push(bursts(&mut dice, minutes * 60.0, calls, within, end));
                }
            }
            Self::Mixed => {
                for (minutes, mean) in [(30.0, 3000.0), (60.0, 900.0), (15.0, 7200.0)] {
                    let every: f64 = minutes * 60.0;
                    let mut calls = periodic(&mut dice, every, every * 0.004, 0.5, end);
                    calls.extend(memoryless(&mut dice, mean, 0.5, end));
                    times.push(calls);
                }
            }
            Self::Rare => {
                for hours in [5.0, 7.0, 10.0] {
                    times.push(memoryless(&mut dice, hours * HOUR, 1.0, end));
                }
            }
        }
        times.into_iter().map(ordered).collect()
    }
}

fn ordered(mut calls: Vec<(Seconds, Seconds)>) -> Trace {
    calls.retain(|(at, _)| *at >= 0.0);
    calls.sort_by(|a, b| a.0.total_cmp(&b.0));
    calls
        .into_iter()
        .map(|(at, takes)| Call { at, takes })
        .collect()
}

fn memoryless(dice: &mut Dice, mean: f64, takes: f64, end: f64) -> Vec<(f64, f64)> {
    let mut calls = Vec::new();
    let mut at = dice.exponential(mean);
    while at < end {
        calls.push((at, dice.exponential(takes)));
        at += dice.exponential(mean);
    }
    calls
}

fn periodic(dice: &mut Dice, every: f64, jitter: f64, takes: f64, end: f64) -> Vec<(f64, f64)> {
    let mut calls = Vec::new();
    let mut at = dice.between(0.0, every);
    while at < end {
        calls.push((at + jitter * dice.normal(), dice.exponential(takes)));
        at += every;
    }
    calls
}

/// Memoryless with a rate that follows the day: nothing much by night, most at two in the
/// afternoon (`busiest` seconds between calls then).
fn tidal(dice: &mut Dice, busiest: f64, end: f64) -> Vec<(f64, f64)> {
    let mut calls = Vec::new();
    let mut at = 0.0;
    loop {
        at += dice.exponential(busiest);
        if at >= end {
            return calls;
        }
        let hour = at % DAY / HOUR;
        let swell = ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos();
        // Cubed: the day has a clear head and a long, thin night.
        let share = ((1.0 + swell) / 2.0).powi(3).max(0.02);
        if dice.unit() < share {
            calls.push((at, dice.exponential(0.4)));
        }
    }
}

/// A few jobs at hours of their own, each on time within a minute or so.
fn jobs_a_day(dice: &mut Dice, jobs: u32, end: f64) -> Vec<(f64, f64)> {
    let hours: Vec<f64> = (0..jobs).map(|_| dice.between(0.0, DAY)).collect();
    let mut calls = Vec::new();
    let mut midnight = 0.0;
    while midnight < end {
        for hour in &hours {
            calls.push((
                midnight + hour + 20.0 * dice.normal(),
                2.0 + dice.exponential(2.0),
            ));
        }
        midnight += DAY;
    }
    calls
}

fn bursts(dice: &mut Dice, every: f64, calls: u32, within: f64, end: f64) -> Vec<(f64, f64)> {
    let mut all = Vec::new();
    let mut at = dice.between(0.0, every);
    while at < end {
        let begins = at + 0.005 * every * dice.normal();
        for _ in 0..calls {
            all.push((
                begins + dice.between(0.0, within),
                0.3 + dice.exponential(1.0),
            ));
        }
        at += every;
    }
    all
}
