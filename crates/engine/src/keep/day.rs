//! When in the day one level is called upon, and the hours in which to hold an instance.
//!
//! The day has slots of five minutes (UTC). Each keeps how often a long idle time ended in it, as a
//! mean over the last days, and what the fixed time-out would have cost in a day is kept beside it.
//! Jobs at fixed hours want every slot for itself; traffic that swells and ebbs wants its
//! neighbours' word too: both readings are offered.

use super::Seconds;

pub(super) const SLOTS: usize = 288;
const SLOT: Seconds = 300.0;
const DAY: Seconds = 86_400.0;
/// Days that the means remember.
const DAYS: f32 = 7.0;
/// The share of the fixed time-out's memory that generous hours may take.
const SHARE: f32 = 0.9;
/// Neighbours that have a word, on each side, in the broad reading.
const BROAD: usize = 6;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Day {
    /// Ends of long idle times by slot, a day's mean, in 1/1024.
    rates: [u16; SLOTS],
    /// Those of the slot that is under way.
    current: u16,
    /// The slot that is under way, since the origin.
    slot: u64,
    /// Slots seen so far, up to a week's.
    seen: u32,
    /// What the fixed time-out costs in a day: starts, seconds held.
    fixed: (f32, f32),
    today: (f32, f32),
    /// A slot was closed since the hours were last read.
    has_news: bool,
}

/// Slots of the day in which an instance is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hours([u64; SLOTS.div_ceil(64)]);

impl Hours {
    fn set(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    fn has(&self, slot: u64) -> bool {
        let slot = (slot % SLOTS as u64) as usize;
        self.0[slot / 64] & 1 << (slot % 64) != 0
    }

    /// Whether an instance is held at `now`, and when that changes.
    pub(super) fn at(&self, now: Seconds) -> (bool, Option<Seconds>) {
        let slot = slot_of(now);
        let held = self.has(slot);
        let change = (slot + 1..=slot + SLOTS as u64).find(|later| self.has(*later) != held);
        (held, change.map(|later| later as f64 * SLOT))
    }

    /// Seconds held between two instants.
    pub(super) fn held(&self, from: Seconds, to: Seconds) -> Seconds {
        let days = ((to - from) / DAY).floor();
        let whole = self.0.iter().map(|bits| bits.count_ones()).sum::<u32>();
        let mut seconds = days * f64::from(whole) * SLOT;
        let mut at = from + days * DAY;
        while at < to {
            let slot = slot_of(at);
            let end = ((slot + 1) as f64 * SLOT).min(to);
            if self.has(slot) {
                seconds += end - at;
            }
            at = end;
        }
        seconds
    }
}

fn slot_of(now: Seconds) -> u64 {
    (now.max(0.0) / SLOT) as u64
}

impl Day {
    pub(super) fn new(now: Seconds) -> Self {
        Self {
            rates: [0; SLOTS],
            current: 0,
            slot: slot_of(now),
            seen: 0,
            fixed: (0.0, 0.0),
            today: (0.0, 0.0),
            has_news: false,
        }
    }

    /// A long idle time ended at `now`; the fixed time-out was charged these seconds, and a start
    /// if it missed.
    pub(super) fn add(&mut self, now: Seconds, fixed_seconds: Seconds, fixed_missed: bool) {
        let slot = slot_of(now);
        // Slots that passed since, a week's at the most.
        let passed = (slot - self.slot.min(slot)).min(7 * SLOTS as u64);
        for later in 0..passed {
            self.close(
                slot - passed + later,
                if later == 0 { self.current } else { 0 },
            );
        }
        if passed > 0 {
            self.current = 0;
        }
        self.slot = slot;
        self.current = self.current.saturating_add(1).min(60);
        self.today.0 += f32::from(u8::from(fixed_missed));
        self.today.1 += fixed_seconds as f32;
    }

    fn close(&mut self, slot: u64, count: u16) {
        self.has_news = true;
        let place = (slot % SLOTS as u64) as usize;
        self.seen += 1;
        let days = (self.seen as f32 / SLOTS as f32).ceil().min(DAYS);
        let share = 1.0 / days;
        let mean = f32::from(self.rates[place]);
        let mean = mean + (f32::from(count) * 1024.0 - mean) * share;
        self.rates[place] = mean.round().min(f32::from(u16::MAX)) as u16;
        if place == SLOTS - 1 {
            let (starts, seconds) = std::mem::take(&mut self.today);
            self.fixed.0 += (starts - self.fixed.0) * share;
            self.fixed.1 += (seconds - self.fixed.1) * share;
        }
    }

    /// Whether the hours may be others than when they were last read.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    /// Whether a whole day was seen.
    pub(super) fn is_ripe(&self) -> bool {
        self.seen >= SLOTS as u32
    }

    /// Hours that miss no more than the fixed time-out for the least memory, and those that miss
    /// least for a little less than it takes; by slot, then by broad reading.
    pub(super) fn hours(&mut self) -> [Hours; 4] {
        self.has_news = false;
        let fine = self.read(1);
        let broad = self.read(BROAD);
        let ([a, b], [c, d]) = (self.choose(&fine), self.choose(&broad));
        [a, b, c, d]
    }

    /// A day's mean by slot, its neighbours averaged in: the nearer the more.
    fn read(&self, reach: usize) -> [f32; SLOTS] {
        let mut read = [0.0; SLOTS];
        let whole = ((reach + 1) * (reach + 1)) as f32 * 1024.0;
        for (slot, mean) in read.iter_mut().enumerate() {
            let around = (0..=2 * reach).map(|off| {
                let weight = reach + 1 - off.abs_diff(reach);
                let at = (slot + SLOTS + off - reach) % SLOTS;
                weight as f32 * f32::from(self.rates[at])
            });
            *mean = around.sum::<f32>() / whole;
        }
        read
    }

    fn choose(&self, rates: &[f32; SLOTS]) -> [Hours; 2] {
        let mut order: Vec<usize> = (0..SLOTS).filter(|slot| rates[*slot] > 0.0).collect();
        order.sort_by(|a, b| rates[*b].total_cmp(&rates[*a]));
        let mut misses: f32 = rates.iter().sum();
        let mut seconds = 0.0;
        let (mut lean, mut full) = (Hours::default(), Hours::default());
        for slot in order {
            if misses > self.fixed.0 {
                lean.set(slot);
            }
            seconds += SLOT as f32;
            if seconds <= SHARE * self.fixed.1 {
                full.set(slot);
            }
            misses -= rates[slot];
        }
        [lean, full]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days in which something comes at these hours.
    fn days(count: u32, hours: &[f64]) -> Day {
        let mut day = Day::new(0.0);
        for at in 0..count {
            for hour in hours {
                day.add(f64::from(at) * DAY + hour * 3600.0, 600.0, true);
            }
        }
        day
    }

    #[test]
    fn the_hours_held_are_those_in_which_something_comes() {
        let mut day = days(8, &[9.0, 13.52]);
        assert!(day.is_ripe());
        let [lean, full, ..] = day.hours();
        // The fixed time-out misses both, so that lean hours owe nothing.
        assert_eq!(lean, Hours::default());
        let monday = 20.0 * DAY;
        for (hour, held) in [
            (9.01, true),
            (13.55, true),
            (9.5, false),
            (0.0, false),
            (23.9, false),
        ] {
            assert_eq!(full.at(monday + hour * 3600.0).0, held, "{hour}");
        }
        let (held, until) = full.at(monday + 10.0 * 3600.0);
        let until = until.expect("it comes again");
        assert!(!held && full.at(until).0 && until < monday + 13.52 * 3600.0);
    }

    #[test]
    fn seconds_held_are_counted_over_many_days() {
        let [_, full, ..] = days(8, &[9.0]).hours();
        let a_day = full.held(0.0, DAY);
        assert!(a_day > 0.0);
        assert_eq!(full.held(0.0, 5.0 * DAY), 5.0 * a_day);
        assert_eq!(full.held(9.0 * 3600.0 + 100.0, 9.0 * 3600.0 + 160.0), 60.0);
        assert_eq!(full.held(12.0 * 3600.0, 13.0 * 3600.0), 0.0);
    }

    #[test]
    fn a_year_of_silence_is_walked_in_no_time_and_forgotten() {
        let mut day = days(8, &[9.0]);
        day.add(400.0 * DAY, 600.0, true);
        assert!(day.rates.iter().all(|rate| *rate < 512), "{:?}", day.rates);
    }
}
