//! The long idle times of one level, as a histogram, and windows in which to hold an instance.
//!
//! Bins grow by a fifth, from [`STAYS`](super::STAYS) to two days; each keeps a decayed weight, the
//! mean and the spread of what fell into it, so that a job that comes every hour to the second gets
//! a window of seconds although its bin is ten minutes wide. Only occupied bins exist.

use super::{FIXED, STAYS, Seconds};

const RATIO: f64 = 1.2;
/// Idle times beyond are counted, and nothing is expected of them.
const LONGEST: Seconds = 48.0 * 3600.0;
/// The weight of all that was seen; what is older fades.
const WEIGHT_MAX: f32 = 64.0;
/// A bin below this weight is forgotten.
const WEIGHT_MIN: f32 = 0.2;
/// How far around a bin's mean its window reaches, in standard deviations.
const REACH: f64 = 3.5;
/// The spread that a single sight is given, a share of the idle time and a bound: less with every
/// further sight. Clocks that call are late by seconds, not by shares of a day.
const SINGLE_SPREAD: f64 = 0.05;
const SINGLE_SPREAD_MAX: Seconds = 90.0;
/// Windows open so much earlier: an instance takes a while to come up.
pub(super) const LEAD: Seconds = 3.0;
/// What a start is charged, in seconds of memory: windows that would close for less stay open.
const START_COSTS: Seconds = 30.0;
/// The share of the fixed time-out's memory that generous windows may take.
const SHARE: f64 = 0.9;
/// Windows at most, the most likely ones.
const WINDOWS_MAX: usize = 12;

#[derive(Debug, Clone, Copy)]
struct Bin {
    at: u8,
    weight: f32,
    mean: f32,
    variance: f32,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Gaps {
    bins: Vec<Bin>,
    /// Weight of those that were longer than [`LONGEST`].
    beyond: f32,
}

/// Ages at which an idle instance is held, in order and apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Windows(Vec<(f32, f32)>);

impl Windows {
    /// Whether an instance is held at `age`, and the age at which that changes.
    pub(super) fn at(&self, age: Seconds) -> (bool, Option<Seconds>) {
        for (from, to) in &self.0 {
            let (from, to) = (f64::from(*from), f64::from(*to));
            if age < from {
                return (false, Some(from));
            }
            if age < to {
                return (true, Some(to));
            }
        }
        (false, None)
    }

    /// What an idle time of `gap` is charged: the seconds held until its end, and whether an
    /// instance was there then.
    pub(super) fn charge(&self, gap: Seconds) -> (Seconds, bool) {
        let mut seconds = gap.min(STAYS);
        for (from, to) in &self.0 {
            let (from, to) = (f64::from(*from), f64::from(*to));
            if gap > from.max(STAYS) {
                seconds += (gap.min(to) - from.max(STAYS)).max(0.0);
                seconds += if from > STAYS { START_COSTS } else { 0.0 };
            }
        }
        // One that is not up yet is no instance.
        let is_warm = gap < STAYS || {
            let (now, _) = self.at(gap);
            let (before, _) = self.at((gap - LEAD).max(0.0));
            now && (before || gap - LEAD < STAYS)
        };
        (seconds, is_warm)
    }

    fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(f32, f32)>()
    }
}

/// One bin's window with what it costs and saves.
struct Candidate {
    from: f64,
    to: f64,
    cost: f64,
    gain: f64,
}

impl Gaps {
    /// Adds an idle time of at least [`STAYS`].
    pub(super) fn add(&mut self, gap: Seconds) {
        let total = self.total();
        if total >= WEIGHT_MAX {
            let fades = 1.0 - 1.0 / WEIGHT_MAX;
            self.beyond *= fades;
            self.bins.iter_mut().for_each(|bin| bin.weight *= fades);
            self.bins.retain(|bin| bin.weight >= WEIGHT_MIN);
        }
        if gap > LONGEST {
            self.beyond += 1.0;
            return;
        }
        let at = (gap.max(STAYS) / STAYS).log(RATIO) as u8;
        let place = self.bins.partition_point(|bin| bin.at < at);
        if self.bins.get(place).is_none_or(|bin| bin.at != at) {
            let bin = Bin {
                at,
                weight: 1.0,
                mean: gap as f32,
                variance: 0.0,
            };
            return self.bins.insert(place, bin);
        }
        let bin = &mut self.bins[place];
        bin.weight += 1.0;
        let (share, off) = (1.0 / bin.weight, gap as f32 - bin.mean);
        bin.mean += off * share;
        bin.variance += (off * off * (1.0 - share) - bin.variance) * share;
    }

    pub(super) fn total(&self) -> f32 {
        self.beyond + self.bins.iter().map(|bin| bin.weight).sum::<f32>()
    }

    /// Windows that miss no more than the fixed time-out does, for the least memory; and those that
    /// miss least for a little less memory than it takes.
    pub(super) fn windows(&self) -> [Windows; 2] {
        let total = f64::from(self.total());
        if total < 1.0 {
            return Default::default();
        }
        let mut candidates = self.candidates();
        candidates.sort_by(|a, b| (b.gain * a.cost).total_cmp(&(a.gain * b.cost)));
        let fixed_misses: f64 = f64::from(self.beyond) + self.weight_beyond(FIXED);
        let fixed_memory = self.memory(0.0, FIXED) + f64::from(self.beyond) * FIXED;
        let (mut misses, mut memory) = (total, total * STAYS);
        let (mut lean, mut full) = (Vec::new(), Vec::new());
        for window in candidates.iter().take(WINDOWS_MAX) {
            if misses > fixed_misses + 0.001 * total {
                lean.push((window.from, window.to));
            }
            if memory + window.cost <= SHARE * fixed_memory {
                full.push((window.from, window.to));
                memory += window.cost;
            }
            misses -= window.gain;
        }
        [joined(lean), joined(full)]
    }

    /// Every bin's window, none over another's.
    fn candidates(&self) -> Vec<Candidate> {
        let mut ends: Vec<(f64, f64)> = self
            .bins
            .iter()
            .map(|bin| {
                let (mean, weight) = (f64::from(bin.mean), f64::from(bin.weight));
                let single = (SINGLE_SPREAD * mean).min(SINGLE_SPREAD_MAX) / weight.max(1.0);
                let reach = REACH * (f64::from(bin.variance) + single * single).sqrt();
                (mean - reach - LEAD, mean + reach + 1.0)
            })
            .collect();
        for at in 1..ends.len() {
            if ends[at].0 < ends[at - 1].1 {
                let middle = f64::from(self.bins[at - 1].mean + self.bins[at].mean) / 2.0;
                (ends[at - 1].1, ends[at].0) = (middle, middle);
            }
        }
        let windows = self.bins.iter().zip(ends);
        windows
            .map(|(bin, (from, to))| Candidate {
                from,
                to,
                cost: self.memory(from.max(STAYS), to).max(0.001),
                gain: f64::from(bin.weight),
            })
            .collect()
    }

    /// Seconds that an instance is held between two ages, over all idle times.
    fn memory(&self, from: f64, to: f64) -> f64 {
        let of_bins = self
            .bins
            .iter()
            .map(|bin| f64::from(bin.weight) * (f64::from(bin.mean).min(to) - from).max(0.0));
        of_bins.sum::<f64>() + f64::from(self.beyond) * (to - from).max(0.0)
    }

    fn weight_beyond(&self, age: f64) -> f64 {
        let later = self.bins.iter().filter(|bin| f64::from(bin.mean) > age);
        later.map(|bin| f64::from(bin.weight)).sum()
    }

    pub(super) fn heap_bytes(&self, windows: &[Windows]) -> usize {
        self.bins.capacity() * size_of::<Bin>()
            + windows.iter().map(Windows::heap_bytes).sum::<usize>()
    }
}

/// Windows in order; those that a start would part for next to nothing are one.
fn joined(mut windows: Vec<(f64, f64)>) -> Windows {
    windows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut apart: Vec<(f32, f32)> = Vec::with_capacity(windows.len() + 1);
    apart.push((0.0, STAYS as f32));
    for (from, to) in windows {
        let (from, to) = (from as f32, to as f32);
        match apart.last_mut() {
            Some(last) if from <= last.1 + START_COSTS as f32 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    Windows(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(seen: impl IntoIterator<Item = Seconds>) -> Gaps {
        let mut gaps = Gaps::default();
        seen.into_iter().for_each(|gap| gaps.add(gap));
        gaps
    }

    #[test]
    fn a_window_is_as_wide_as_what_was_seen_varies() {
        let hourly = gaps((0..50).map(|n| 3600.0 + f64::from(n % 3)));
        let [_, full] = hourly.windows();
        assert_eq!(full.0.len(), 2, "{full:?}");
        let (from, to) = full.0[1];
        assert!(
            (3580.0..3600.0).contains(&from) && (3602.0..3620.0).contains(&to),
            "{full:?}"
        );
        let (seconds, is_warm) = full.charge(3601.0);
        assert!(is_warm && seconds < 70.0, "{seconds}");
        assert!(!full.charge(1800.0).1);
    }

    #[test]
    fn the_lean_windows_miss_what_the_fixed_time_out_misses() {
        // Half of it within the time-out, half of it hours away.
        let [lean, full] = gaps((0..60).map(|n| if n % 2 == 0 { 300.0 } else { 9000.0 })).windows();
        assert!(lean.charge(300.0).1 && !lean.charge(9000.0).1);
        assert!(full.charge(300.0).1 && full.charge(9000.0).1);
    }

    #[test]
    fn what_lies_beyond_two_days_is_not_waited_for() {
        let gaps = gaps([LONGEST * 3.0; 40]);
        assert!(gaps.bins.is_empty());
        for windows in gaps.windows() {
            assert!(!windows.charge(LONGEST * 3.0).1);
        }
    }

    #[test]
    fn what_is_old_fades() {
        let mut gaps = gaps((0..200).map(|_| 100.0));
        (0..600).for_each(|_| gaps.add(2000.0));
        assert_eq!(gaps.bins.len(), 1);
        assert!(gaps.total() <= WEIGHT_MAX + 1.0);
    }
}
