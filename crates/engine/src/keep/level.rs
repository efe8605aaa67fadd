//! One level of a function's stack of instances: when it was used, and which plan it follows.

use super::{Day, FIXED, Gaps, Means, Policy, STAYS, Seconds, day::Hours, earlier, gaps::Windows};

/// Plans beside the fixed time-out.
const PLANS: usize = 6;
/// Idle times that are judged before a plan is followed.
const JUDGED_MIN: f32 = 3.0;
/// What was judged fades with time, and with every further idle time.
const HALF_LIFE: Seconds = 4.0 * 86_400.0;
const FADES: f32 = 1.0 - 1.0 / 256.0;
/// A plan may miss so much more than the fixed time-out, of all idle times.
const TOLERANCE: f32 = 0.005;

/// After a use an instance is expected back for so many times as long as its level idles when it idles
/// shortly: one in twenty of memoryless arrivals comes later.
const SHORTLY: f32 = 3.0;
/// The weight of the last short idle time in their mean.
const LAST: f32 = 0.2;

/// How a level stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing is held for it.
    No,
    /// What is there stays.
    Stays,
    /// It will be needed: what is not there is made.
    Expected,
}

/// What a plan would have cost.
#[derive(Debug, Clone, Copy, Default)]
struct Bill {
    starts: f32,
    seconds: f32,
}

#[derive(Debug, Clone)]
pub(super) struct Level {
    /// Since when it is used, or idle.
    since: Seconds,
    is_used: bool,
    /// A long idle time that has ended and was not learned from yet: the pool's lock is held where
    /// it ends.
    ended: Option<(Seconds, Seconds)>,
    /// Instances of the group that this use takes, and that uses are expected to take.
    taken: u32,
    expected: f32,
    /// The mean of its idle times below [`STAYS`]; nothing before the first.
    short: Option<f32>,
    gaps: Gaps,
    windows: [Windows; 2],
    /// From the second long idle time on: most levels of most functions never see one.
    day: Option<Box<(Day, [Hours; 4])>>,
    fixed: Bill,
    bills: [Bill; PLANS],
    judged: f32,
    judged_at: Seconds,
    /// The plan that is followed; the fixed time-out when none is.
    plan: Option<u8>,
}

impl Level {
    /// A level that is used for the first time.
    pub(super) fn new(now: Seconds) -> Self {
        Self {
            since: now,
            is_used: true,
            ended: None,
            taken: 0,
            expected: 1.0,
            short: None,
            gaps: Gaps::default(),
            windows: Default::default(),
            day: None,
            fixed: Bill::default(),
            bills: [Bill::default(); PLANS],
            judged: 0.0,
            judged_at: now,
            plan: None,
        }
    }

    /// Instances that a use is expected to take.
    pub(super) fn expected(&self) -> u32 {
        (self.expected - 0.05).ceil().max(1.0) as u32
    }

    /// It is needed, by so many instances; true after a long idle time and at first.
    pub(super) fn used(&mut self, now: Seconds, taken: u32, size: u32, policy: Policy) -> bool {
        self.taken = self.taken.max(taken.min(size));
        if self.is_used {
            return self.since == now;
        }
        let (from, gap) = (self.since, now - self.since);
        (self.is_used, self.since) = (true, now);
        if gap < STAYS {
            let gap = gap as f32;
            let mean = self.short.get_or_insert(gap);
            *mean += LAST * (gap - *mean);
            return false;
        }
        if policy == Policy::Adaptive {
            self.reflect();
            self.ended = Some((from, now));
        }
        true
    }

    /// Judges the plans by the last long idle time, learns from it, and chooses anew.
    pub(super) fn reflect(&mut self) {
        if let Some((from, to)) = self.ended.take() {
            self.judge(from, to);
            self.learn(from, to);
            self.choose();
        }
    }

    /// It is needed no more.
    pub(super) fn idle(&mut self, now: Seconds) {
        if std::mem::replace(&mut self.is_used, false) {
            self.since = now;
            let taken = std::mem::take(&mut self.taken) as f32;
            self.expected = taken.max(0.8 * self.expected + 0.2 * taken);
        }
    }

    /// How it stands at `now`, and when that changes should nothing happen.
    pub(super) fn held(
        &self,
        now: Seconds,
        policy: Policy,
        means: Means,
        early: Seconds,
    ) -> (Held, Option<Seconds>) {
        if self.is_used {
            return (Held::Stays, Some(now + policy.least_idle()));
        }
        let stays = match policy {
            // The operator's word: pressure evicts, it does not shorten.
            Policy::Fixed(stays) => stays,
            Policy::Adaptive => FIXED * means.squeeze,
        };
        let stays_until = |stays: Seconds| {
            let until = self.since + stays;
            if now < until {
                (Held::Stays, Some(until))
            } else {
                (Held::No, None)
            }
        };
        let is_planned = policy == Policy::Adaptive && means.squeeze >= 1.0;
        let Some(plan) = self.plan.filter(|_| is_planned) else {
            return stays_until(stays);
        };
        let (planned, until) = self.early(usize::from(plan), now, early);
        match stays_until(STAYS) {
            (Held::No, _) if planned => (Held::Expected, until),
            (Held::No, _) => (Held::No, until),
            stays => stays,
        }
    }

    /// Whether an idle instance is expected to be used any moment, and when that changes should
    /// nothing happen.
    pub(super) fn awake(&self, now: Seconds, policy: Policy) -> (bool, Option<Seconds>) {
        if policy != Policy::Adaptive {
            return (false, None);
        }
        let shortly = f64::from(SHORTLY * self.short.unwrap_or(0.0)).min(STAYS);
        if self.is_used {
            // Of a group of levels that share an answer some are idle.
            return (shortly > 0.0, None);
        }
        if now < self.since + shortly {
            return (true, Some(self.since + shortly));
        }
        let hours = self.plan.map(usize::from);
        let hours = hours.filter(|plan| *plan >= self.windows.len());
        let plans = (0..self.windows.len()).chain(hours);
        if now < self.since + STAYS {
            // Where no plan holds it then or later, nothing changes.
            let from = self.since + STAYS;
            let ever = |plan| matches!(self.planned(plan, from), (true, _) | (_, Some(_)));
            let is_planned = plans.clone().any(ever);
            return (false, is_planned.then_some(from));
        }
        let mut changes = None;
        for plan in plans {
            match self.planned(plan, now) {
                (true, until) => return (true, until),
                (false, until) => changes = earlier(changes, until),
            }
        }
        (false, changes)
    }

    /// A plan's answer, `early` seconds before its windows open.
    fn early(&self, plan: usize, now: Seconds, early: Seconds) -> (bool, Option<Seconds>) {
        let (held, until) = self.planned(plan, now);
        if held || early <= 0.0 {
            return (held, until);
        }
        let (opens, _) = self.planned(plan, now + early);
        let sooner = until.map(|at| (at - early).max(now));
        (opens, if opens { until } else { sooner })
    }

    fn planned(&self, plan: usize, now: Seconds) -> (bool, Option<Seconds>) {
        if let Some(windows) = self.windows.get(plan) {
            let (held, until) = windows.at(now - self.since);
            return (held, until.map(|age| self.since + age));
        }
        match &self.day {
            Some(day) => day.1[plan - self.windows.len()].at(now),
            None => (false, None),
        }
    }

    /// Charges every plan for the idle time that has ended.
    fn judge(&mut self, from: Seconds, now: Seconds) {
        let gap = now - from;
        let fades = FADES * (0.5_f64.powf((now - self.judged_at) / HALF_LIFE) as f32);
        self.judged_at = now;
        self.judged = self.judged * fades + 1.0;
        let charge = |bill: &mut Bill, (seconds, is_warm): (Seconds, bool)| {
            bill.seconds = bill.seconds * fades + seconds as f32;
            bill.starts = bill.starts * fades + if is_warm { 0.0 } else { 1.0 };
        };
        charge(&mut self.fixed, (gap.min(FIXED), gap < FIXED));
        let (windows, hours) = self.bills.split_at_mut(self.windows.len());
        for (bill, windows) in windows.iter_mut().zip(&self.windows) {
            charge(bill, windows.charge(gap));
        }
        for (at, bill) in hours.iter_mut().enumerate() {
            let charged = self.day.as_ref().map_or((0.0, false), |day| {
                let hours = &day.1[at];
                (STAYS + hours.held(from + STAYS, now), hours.at(now).0)
            });
            charge(bill, charged);
        }
    }

    fn learn(&mut self, from: Seconds, now: Seconds) {
        let gap = now - from;
        self.gaps.add(gap);
        self.windows = self.gaps.windows();
        let day = self
            .day
            .get_or_insert_with(|| Box::new((Day::new(from), Default::default())));
        day.0.add(now, gap.min(FIXED), gap >= FIXED);
        if day.0.is_ripe() {
            // What was charged before there were hours says nothing about them.
            if day.1 == <[Hours; 4]>::default() && day.0.has_news() {
                self.bills[self.windows.len()..].fill(self.fixed);
            }
            if day.0.has_news() {
                day.1 = day.0.hours();
            }
        }
    }

    /// The plan that was better than the fixed time-out on both counts, by the most.
    fn choose(&mut self) {
        self.plan = None;
        if self.judged < JUDGED_MIN {
            return;
        }
        let (fixed, slack) = (self.fixed, TOLERANCE * self.judged);
        let mut best = 1.95;
        for (at, bill) in self.bills.iter().enumerate() {
            if bill.starts > fixed.starts + slack || bill.seconds > fixed.seconds {
                continue;
            }
            let starts = (bill.starts + slack) / (fixed.starts + slack);
            let cost = starts + bill.seconds / fixed.seconds.max(1.0);
            if cost < best {
                (best, self.plan) = (cost, Some(at as u8));
            }
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let day = self
            .day
            .as_ref()
            .map_or(0, |_| size_of::<(Day, [Hours; 4])>());
        self.gaps.heap_bytes(&self.windows) + day
    }
}
