//! How many instances a function should have at a moment, from its own past alone.
//!
//! Pure: no clock, no task, no randomness. The pool tells it how many instances are needed
//! ([`Keep::demand`]) and asks how many to hold ([`Keep::target`]): those in use, those worth
//! keeping after a use, those worth making ahead of one. It never asks for more instances than the
//! function has needed at once, and never for the sake of memory: who is short of it squeezes
//! ([`Means`]).
//!
//! Instances are used from the top of a stack, so the third one works only while three are needed:
//! each *level* of the stack has idle times of its own, and each is a question of its own (is it
//! worth holding now?). Levels beyond the fourth share answers in groups that grow by half.
//!
//! Several plans answer the question side by side, on paper, after every long idle time: the fixed
//! time-out, windows around the idle times that were seen before (`gaps`), hours of the day in which
//! something comes (`day`). Each is charged for the memory that it would have held
//! and the starts that it would have caused. The one that did better than the fixed time-out on
//! both is followed; without such a one, the fixed time-out is. So a function without a pattern is
//! kept exactly as long as before, and a wrong guess costs its own bill before it costs anybody.
//!
//! What is held waits *awake* or frozen ([`Keep::awake`]): awake around the idle times that were seen
//! before, whichever plan is followed, and after a use for as long as its level usually idles when it
//! idles shortly. Memory is not at stake there, so nothing has to be beaten.
//!
//! See `docs/decisions/0013-keeping-warm.md`; [`replay`] measures it.

mod day;
mod gaps;
mod level;
pub mod replay;
pub mod traces;

use day::Day;
use gaps::Gaps;
use level::{Held, Level};

/// Seconds since the caller's origin, which lies at midnight UTC of some day.
pub type Seconds = f64;

/// An idle instance stays at least this long: shorter idle times teach nothing and cost nothing.
pub const STAYS: Seconds = 10.0;

/// The idle time-out where nothing better is known, and what every other plan has to beat.
pub const FIXED: Seconds = 600.0;

/// However long an instance takes to come up, it is begun no earlier before its time.
const EARLIEST: Seconds = 60.0;

/// Levels that one answer is given for, by the group's first level; the last group is open.
const FIRSTS: [u32; 22] = [
    1, 2, 3, 4, 5, 7, 10, 15, 22, 33, 49, 73, 109, 163, 244, 366, 549, 823, 1234, 1851, 2776, 4164,
];

/// What there is to spend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Means {
    /// 1 when memory is at hand; less when it is short: idle times are cut in proportion, and below
    /// 1 nothing is made ahead.
    pub squeeze: f64,
}

impl Means {
    /// Enough of everything.
    pub const AMPLE: Self = Self { squeeze: 1.0 };

    /// From the share of memory that is free: short below a fifth, nothing left at a fiftieth.
    pub fn of_free_share(share: f64) -> Self {
        Self {
            squeeze: ((share - 0.02) / 0.18).clamp(0.0, 1.0),
        }
    }
}

/// What to hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Instances that may stay, those in use included.
    pub instances: u32,
    /// Of those, instances that are to be there: in use, or expected to be any moment. What dies
    /// while it is merely held is not replaced.
    pub ahead: u32,
    /// When the answer changes, should nothing happen until then; `None` when it stays.
    pub until: Option<Seconds>,
}

/// How instances are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// By each function's history.
    Adaptive,
    /// An idle instance stays this long, whatever the history; nothing is made ahead.
    Fixed(Seconds),
}

impl Policy {
    /// An instance that was used within this time is never too much.
    pub fn least_idle(self) -> Seconds {
        match self {
            Self::Adaptive => STAYS,
            Self::Fixed(stays) => stays.min(STAYS),
        }
    }
}

/// The history of one function and what follows from it. See the module.
///
/// A few hundred bytes for each level that was ever idle for long; [`Keep::heap_bytes`] says how
/// many, and there are at most 22 of them.
#[derive(Debug, Clone)]
pub struct Keep {
    policy: Policy,
    needed: u32,
    levels: Vec<Level>,
    /// How long an instance takes to come up, beyond what windows open early anyway.
    early: Seconds,
}

impl Keep {
    /// A function that was never called.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            needed: 0,
            levels: Vec::new(),
            early: 0.0,
        }
    }

    /// What to go by from now on. What was learned stays, and counts again when it is asked for.
    pub fn follow(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// An instance took so long to come up: what is made ahead is begun so much earlier.
    pub fn came_up_in(&mut self, seconds: Seconds) {
        let beyond = (seconds.min(EARLIEST) - gaps::LEAD).max(0.0);
        self.early = beyond.max(0.75 * self.early + 0.25 * beyond);
    }

    /// Says how many instances are needed from now on, whenever that changes.
    ///
    /// True when one is needed that stood idle for long or was never needed: what to hold has
    /// changed then, sooner than the last [`Target::until`] said.
    pub fn demand(&mut self, now: Seconds, needed: u32) -> bool {
        let before = std::mem::replace(&mut self.needed, needed);
        let mut wakes = false;
        if needed > before {
            let mut at = group_of(before.max(1));
            while at < FIRSTS.len() && FIRSTS[at] <= needed {
                if at == self.levels.len() {
                    self.levels.push(Level::new(now));
                }
                wakes |= self.levels[at].used(now, needed - FIRSTS[at] + 1, size(at), self.policy);
                at += 1;
            }
        } else {
            let from = group_of(needed.max(1));
            for (at, level) in self.levels.iter_mut().enumerate().skip(from) {
                if needed < FIRSTS[at] {
                    level.idle(now);
                }
            }
        }
        wakes
    }

    /// How many instances to hold at `now`. Reflects first on what has happened: after a long idle
    /// time that takes some ten microseconds for each level.
    pub fn target(&mut self, now: Seconds, means: Means) -> Target {
        self.levels.iter_mut().for_each(Level::reflect);
        let mut target = Target {
            instances: 0,
            ahead: 0,
            until: None,
        };
        for (at, level) in self.levels.iter().enumerate() {
            let (held, until) = level.held(now, self.policy, means, self.early);
            let in_use = self.needed.saturating_sub(FIRSTS[at] - 1).min(size(at));
            let expected = level.expected().max(in_use).min(size(at));
            target.instances += if held == Held::No { in_use } else { expected };
            target.ahead += if held == Held::Expected {
                expected
            } else {
                in_use
            };
            target.until = earlier(target.until, until);
            if held != Held::No {
                target.until = earlier(target.until, level.awake(now, self.policy).1);
            }
        }
        target
    }

    /// Whether an idle instance is to wait awake that is used once so many are needed at once, and
    /// when that changes, should nothing happen until then. It may as well be frozen where nobody is
    /// expected, or nobody knows.
    ///
    /// Says nothing of memory: short of it nobody is awake.
    pub fn awake(&self, now: Seconds, level: u32) -> (bool, Option<Seconds>) {
        let level = self.levels.get(group_of(level.max(1)));
        level.map_or((false, None), |level| level.awake(now, self.policy))
    }

    /// Whether any idle instance is to wait awake now, whichever it is.
    pub fn is_any_awake(&self, now: Seconds) -> bool {
        let mut levels = self.levels.iter();
        levels.any(|level| level.awake(now, self.policy).0)
    }

    /// What [`Keep::demand`] said last.
    pub fn needed(&self) -> u32 {
        self.needed
    }

    /// Nothing runs any more: the revision was replaced, and its successor goes on with what was
    /// learned.
    pub fn handed_on(mut self, now: Seconds) -> Self {
        self.demand(now, 0);
        self
    }

    /// Memory behind the history.
    pub fn heap_bytes(&self) -> usize {
        self.levels.capacity() * size_of::<Level>()
            + self.levels.iter().map(Level::heap_bytes).sum::<usize>()
    }
}

fn earlier(one: Option<Seconds>, other: Option<Seconds>) -> Option<Seconds> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The group that a level belongs to.
fn group_of(level: u32) -> usize {
    FIRSTS.partition_point(|first| *first <= level) - 1
}

/// Levels of a group.
fn size(group: usize) -> u32 {
    FIRSTS.get(group + 1).map_or(u32::MAX, |next| *next) - FIRSTS[group]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Seconds = 3600.0;

    /// Calls of a second each, and what is held a moment before each.
    fn before_each(keep: &mut Keep, calls: impl IntoIterator<Item = Seconds>) -> Vec<u32> {
        let mut held = Vec::new();
        for at in calls {
            held.push(keep.target(at - 0.5, Means::AMPLE).ahead);
            keep.demand(at, 1);
            keep.demand(at + 1.0, 0);
        }
        held
    }

    #[test]
    fn without_a_history_the_fixed_time_out_holds() {
        let mut keep = Keep::new(Policy::Adaptive);
        assert_eq!(keep.target(0.0, Means::AMPLE).instances, 0);
        assert!(keep.demand(10.0, 1));
        keep.demand(11.0, 0);
        let now = keep.target(11.0, Means::AMPLE);
        assert_eq!((now.instances, now.until), (1, Some(11.0 + FIXED)));
        assert_eq!(now.ahead, 0, "held, but not replaced");
        assert_eq!(keep.target(11.0 + FIXED, Means::AMPLE).instances, 0);
    }

    #[test]
    fn what_comes_every_hour_is_made_ahead_and_not_held_between() {
        let mut keep = Keep::new(Policy::Adaptive);
        let held = before_each(&mut keep, (1..=20).map(|n| f64::from(n) * HOUR));
        assert_eq!(held[0], 0);
        assert_eq!(held[12..], [1; 8]);
        assert_eq!(keep.target(20.5 * HOUR, Means::AMPLE).instances, 0);
        let (held, until) = (
            keep.target(20.5 * HOUR, Means::AMPLE).instances,
            keep.target(20.5 * HOUR, Means::AMPLE)
                .until
                .expect("it will come again"),
        );
        assert_eq!(held, 0);
        assert!((20.9 * HOUR..21.0 * HOUR).contains(&until), "{until}");
        // One that takes half a minute to come up is begun so much earlier.
        keep.came_up_in(33.0);
        let earlier = keep.target(20.5 * HOUR, Means::AMPLE).until;
        assert_eq!(earlier, Some(until - 30.0));
    }

    #[test]
    fn a_burst_is_met_by_as_many_as_it_took() {
        let mut keep = Keep::new(Policy::Adaptive);
        for n in 1..=20 {
            let at = f64::from(n) * HOUR;
            for needed in 1..=9 {
                keep.demand(at + f64::from(needed) * 0.1, needed);
            }
            for needed in (0..9).rev() {
                keep.demand(at + 20.0 - f64::from(needed) * 0.1, needed);
            }
        }
        assert_eq!(keep.target(21.0 * HOUR, Means::AMPLE).instances, 9);
        assert_eq!(keep.target(20.5 * HOUR, Means::AMPLE).instances, 0);
    }

    #[test]
    fn short_memory_cuts_idle_times_and_makes_nothing_ahead() {
        let mut keep = Keep::new(Policy::Adaptive);
        before_each(&mut keep, (1..=20).map(|n| f64::from(n) * HOUR));
        let half = Means { squeeze: 0.5 };
        assert_eq!(keep.target(21.0 * HOUR - 1.0, half).instances, 0);
        assert_eq!(Means::of_free_share(0.5), Means::AMPLE);
        assert_eq!(Means::of_free_share(0.01).squeeze, 0.0);
        assert_eq!(
            keep.target(20.0 * HOUR + 2.0, Means::of_free_share(0.0))
                .instances,
            0
        );
        let mut unknown = Keep::new(Policy::Adaptive);
        unknown.demand(1.0, 2);
        unknown.demand(2.0, 0);
        assert_eq!(unknown.target(301.0, half).instances, 2);
        assert_eq!(unknown.target(303.0, half).instances, 0);
        // Whatever is short: what is in use is held.
        unknown.demand(400.0, 3);
        assert_eq!(
            unknown.target(400.0, Means::of_free_share(0.0)).instances,
            3
        );
        // An operator's time is not cut.
        let mut fixed = Keep::new(Policy::Fixed(60.0));
        fixed.demand(1.0, 1);
        fixed.demand(2.0, 0);
        assert_eq!(fixed.target(61.0, half).instances, 1);
        assert_eq!(fixed.target(63.0, half).instances, 0);
    }

    #[test]
    fn a_fixed_time_learns_nothing() {
        let mut keep = Keep::new(Policy::Fixed(60.0));
        let held = before_each(&mut keep, (1..=50).map(|n| f64::from(n) * HOUR));
        assert_eq!(held, [0; 50]);
        assert_eq!(
            keep.target(50.0 * HOUR + 61.0, Means::AMPLE),
            Target {
                instances: 0,
                ahead: 0,
                until: None
            }
        );
    }

    #[test]
    fn groups_cover_every_level_once() {
        for level in 1..5000 {
            let group = group_of(level);
            assert!(
                FIRSTS[group] <= level && level - FIRSTS[group] < size(group),
                "{level}"
            );
        }
    }

    #[test]
    fn never_more_than_was_needed_at_once_never_less_than_is() {
        for seed in 0..3 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut keep, mut now, mut most) = (Keep::new(Policy::Adaptive), 0.0, 0);
            for _ in 0..1_000 {
                now +=
                    [0.01, 3.0, 200.0, 3600.0, 90_000.0, 900_000.0][dice.usize(..6)] * dice.f64();
                let needed = if dice.bool() { 0 } else { dice.u32(0..200) };
                most = most.max(needed);
                keep.demand(now, needed);
                let target = keep.target(now, Means::AMPLE);
                assert!((needed..=most).contains(&target.instances), "seed {seed}");
                assert!(target.until.is_none_or(|until| until >= now), "seed {seed}");
            }
            assert!(keep.heap_bytes() < 64 << 10, "{}", keep.heap_bytes());
        }
    }

    #[test]
    fn a_successor_knows_what_was_learned_and_holds_nothing_for_it() {
        let mut keep = Keep::new(Policy::Adaptive);
        before_each(&mut keep, (1..=20).map(|n| f64::from(n) * HOUR));
        keep.demand(20.2 * HOUR, 1);
        let mut keep = keep.handed_on(20.2 * HOUR + 1.0);
        assert_eq!(keep.target(21.2 * HOUR, Means::AMPLE).instances, 1);
    }
}
