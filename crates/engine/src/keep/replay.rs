//! Replays arrivals against a policy and counts what it cost.
//!
//! One function on a machine with room enough: calls take the instance that was used last, a call
//! that finds none starts one, and an instance that idles is held or dropped as the policy says.
//! The fixed time-out is played on its own, instance by instance, not through [`Keep`].

use super::{Keep, Means, Policy, Seconds, traces::Trace};
use std::{cmp::Ordering, collections::BinaryHeap};

/// How long an instance takes to come up here.
pub const COMES_UP: Seconds = 1.0;

/// An instance that idles is frozen no earlier.
const FREEZES: Seconds = 0.05;

/// What a policy cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bill {
    /// Calls.
    pub calls: u64,
    /// Of those, calls that waited for an instance to come up.
    pub cold: u64,
    /// Instances that were started, ahead or for a call.
    pub starts: u64,
    /// Seconds that instances were held idle, or came up ahead of a call.
    pub idle_seconds: f64,
    /// Calls that found an instance frozen.
    pub thaws: u64,
}

impl Bill {
    /// Share of calls that were cold.
    pub fn cold_rate(&self) -> f64 {
        self.cold as f64 / (self.calls as f64).max(1.0)
    }

    /// Share of the calls that found an instance which found it frozen.
    pub fn thaw_rate(&self) -> f64 {
        self.thaws as f64 / ((self.calls - self.cold) as f64).max(1.0)
    }

    /// Both bills together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            cold: self.cold + other.cold,
            starts: self.starts + other.starts,
            idle_seconds: self.idle_seconds + other.idle_seconds,
            thaws: self.thaws + other.thaws,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    /// A call has run.
    Ends,
    /// An instance that was started ahead is up.
    IsUp,
    /// The policy wants to look again.
    Look,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Event(Seconds, What);

impl Eq for Event {}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct World {
    /// The time-out that every instance has for itself; `None` where `keep` decides.
    stays: Option<Seconds>,
    keep: Keep,
    events: BinaryHeap<Event>,
    /// The next look; others in the heap are stale.
    look: Option<Seconds>,
    /// Since when each idle instance is; the last was used last.
    idle: Vec<Seconds>,
    busy: u32,
    /// Instances that come up ahead, and those of them that a call has taken meanwhile.
    coming: u32,
    taken: u32,
    bill: Bill,
}

/// Plays one function's calls.
pub fn replay(trace: &Trace, policy: Policy) -> Bill {
    let stays = match policy {
        Policy::Fixed(stays) => Some(stays),
        Policy::Adaptive => None,
    };
    play(trace, stays, Keep::new(policy))
}

fn play(trace: &Trace, stays: Option<Seconds>, keep: Keep) -> Bill {
    let mut world = World {
        stays,
        keep,
        events: BinaryHeap::new(),
        look: None,
        idle: Vec::new(),
        busy: 0,
        coming: 0,
        taken: 0,
        bill: Bill::default(),
    };
    for call in trace {
        while let Some(event) = world.events.peek().copied()
            && event.0 <= call.at
        {
            world.events.pop();
            world.happens(event);
        }
        world.arrives(call.at, call.takes);
    }
    let end = trace.last().map_or(0.0, |call| call.at);
    world.bill.idle_seconds += world
        .idle
        .iter()
        .map(|since| (end - since).max(0.0))
        .sum::<f64>();
    world.bill
}

impl World {
    fn arrives(&mut self, now: Seconds, takes: Seconds) {
        self.bill.calls += 1;
        self.busy += 1;
        let mut ends = now + takes;
        if let Some(since) = self.idle.pop() {
            self.bill.idle_seconds += now - since;
            let is_awake = now - since < FREEZES || self.keep.awake(now, self.busy).0;
            self.bill.thaws += u64::from(!is_awake);
        } else {
            self.bill.cold += 1;
            ends += COMES_UP;
            if self.coming > self.taken {
                self.taken += 1;
            } else {
                self.bill.starts += 1;
            }
        }
        self.events.push(Event(ends, What::Ends));
        if self.keep.demand(now, self.busy) {
            self.adjust(now);
        }
    }

    fn happens(&mut self, event: Event) {
        let Event(now, what) = event;
        match what {
            What::Ends => {
                self.busy -= 1;
                self.idle.push(now);
                self.keep.demand(now, self.busy);
                if let (Some(stays), None) = (self.stays, self.look) {
                    self.look_at(now + stays);
                }
            }
            What::IsUp => {
                self.coming -= 1;
                if self.taken > 0 {
                    self.taken -= 1;
                } else {
                    self.idle.push(now);
                    self.bill.idle_seconds += COMES_UP;
                }
            }
            What::Look if self.look == Some(now) => {
                self.look = None;
                self.adjust(now);
            }
            What::Look => {}
        }
    }

    fn look_at(&mut self, at: Seconds) {
        self.look = Some(at);
        self.events.push(Event(at, What::Look));
    }

    /// Drops and starts as the policy says.
    fn adjust(&mut self, now: Seconds) {
        if let Some(stays) = self.stays {
            while self.idle.first().is_some_and(|since| since + stays <= now) {
                self.drop_oldest(now);
            }
            if let Some(since) = self.idle.first() {
                self.look_at(since + stays);
            }
            return;
        }
        let target = self.keep.target(now, Means::AMPLE);
        let held = |world: &Self| world.busy + world.idle.len() as u32 + world.coming - world.taken;
        while held(self) > target.instances && !self.idle.is_empty() {
            self.drop_oldest(now);
        }
        while held(self) < target.ahead {
            self.coming += 1;
            self.bill.starts += 1;
            self.events.push(Event(now + COMES_UP, What::IsUp));
        }
        self.look = None;
        if let Some(until) = target.until {
            self.look_at(until.max(now + 0.001));
        }
    }

    fn drop_oldest(&mut self, now: Seconds) {
        let since = self.idle.remove(0);
        self.bill.idle_seconds += now - since;
    }
}

/// How far a bill lies behind the front of the fixed time-outs: the least factor by which some
/// fixed time-out has to be worse on both counts to be no better than it.
pub fn behind_front(bill: Bill, front: &[Bill]) -> f64 {
    let ratio = |ours: f64, theirs: f64| {
        if ours <= theirs {
            1.0
        } else {
            ours / theirs.max(1e-9)
        }
    };
    let factors = front.windows(2).flat_map(|pair| {
        // Between two time-outs lies their mixture.
        (0..=20).map(move |step| {
            let share = f64::from(step) / 20.0;
            let mix = |a: f64, b: f64| a + (b - a) * share;
            let cold = mix(pair[0].cold_rate(), pair[1].cold_rate());
            let seconds = mix(pair[0].idle_seconds, pair[1].idle_seconds);
            ratio(bill.cold_rate(), cold).max(ratio(bill.idle_seconds, seconds))
        })
    });
    factors.fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::{super::traces::Kind, *};

    #[test]
    fn a_fixed_time_by_levels_is_a_time_out_of_every_instance() {
        for trace in Kind::Daily.traces(7, 3) {
            let plain = replay(&trace, Policy::Fixed(600.0));
            let levels = play(&trace, None, Keep::new(Policy::Fixed(600.0)));
            assert_eq!((plain.cold, plain.starts), (levels.cold, levels.starts));
            let off = (plain.idle_seconds - levels.idle_seconds).abs();
            assert!(
                off < 1.0 + plain.idle_seconds / 1000.0,
                "{plain:?} {levels:?}"
            );
        }
    }

    #[test]
    fn the_front_is_what_fixed_time_outs_reach() {
        let bill = |cold, idle_seconds| Bill {
            calls: 100,
            cold,
            idle_seconds,
            ..Bill::default()
        };
        let front = [bill(50, 100.0), bill(10, 200.0)];
        assert_eq!(behind_front(bill(30, 150.0), &front), 1.0);
        assert_eq!(behind_front(bill(5, 90.0), &front), 1.0);
        let behind = behind_front(bill(33, 165.0), &front);
        assert!((1.05..=1.1).contains(&behind), "{behind}");
    }
}
