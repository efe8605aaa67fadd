//! The memory limit of what was thawed: its own pages and what it has in common with its image.
//!
//! The kernel holds an instance's own pages to a limit, and knows nothing of the image's, which nobody's
//! group pays for. An image of at most a tenth of the limit counts as the half of itself, whatever of it
//! is touched: no more than 5 % off. With a larger one the two are added up here, every 50 ms of
//! running, every 200 while nothing changes, and who is above its limit is ended. Refuses to count
//! what the kernel would take back by itself before it ended anybody: pages of files, and its own
//! notes of them. In doubt nobody is ended: what is missed is the image's, and there once for all.

use super::Lane;
use crate::{
    spawner::sandbox::{Sandbox, Workshop},
    start_image::mapped_bytes,
};
use freehold_domain::ports::InstanceUsage;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How soon after it began to run an instance is looked at.
const FIRST: Duration = Duration::from_millis(50);
/// How seldom one that does not change.
const LAST: Duration = Duration::from_millis(200);
/// What counts as no change: bytes of its own.
const SAME: u64 = 256 << 10;
/// An image of so small a part of the limit is not watched.
const SMALL: u64 = 10;
/// Part of the limit by which what is counted may be off.
const EXACT: u64 = 20;
/// How long the lane looks at a time.
const PASS: Duration = Duration::from_millis(2);
/// An instance is not looked at for so many times what its last look took.
const COSTS: u32 = 50;

/// What an instance has in common with its image.
#[derive(Debug)]
pub struct Shares {
    /// The whole image.
    image_bytes: u64,
    /// What of it was touched and not copied, when that was last counted; all of it before.
    bytes: u64,
    was_counted: bool,
    /// The highest sum that was seen.
    highest_bytes: u64,
}

impl Shares {
    /// All of an image.
    pub fn all_of(image_bytes: u64) -> Self {
        Self {
            image_bytes,
            bytes: image_bytes,
            was_counted: false,
            highest_bytes: 0,
        }
    }
}

/// Instances that run and may come to use more than they may, each with its next look.
#[derive(Debug, Default)]
pub(super) struct Watched {
    all: HashMap<u64, Next>,
    tick: Option<Instant>,
}

#[derive(Debug)]
struct Next {
    at: Instant,
    every: Duration,
    own: u64,
}

impl Watched {
    fn begin(&mut self, number: u64, now: Instant) {
        let at = now + FIRST;
        let next = Next {
            at,
            every: FIRST,
            own: 0,
        };
        self.all.insert(number, next);
        self.tick = Some(self.tick.map_or(at, |tick| tick.min(at)));
    }

    pub(super) fn end(&mut self, number: u64) {
        self.all.remove(&number);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.tick
    }

    /// Those whose look is due, the longest first; none before the next tick.
    fn due(&self, now: Instant) -> Option<Vec<u64>> {
        self.tick.filter(|tick| *tick <= now)?;
        let due = self.all.iter().filter(|(_, next)| next.at <= now);
        let mut due: Vec<_> = due.map(|(number, next)| (next.at, *number)).collect();
        due.sort_unstable();
        Some(due.into_iter().map(|(_, number)| number).collect())
    }

    /// It stays, and uses `own` bytes of its own. To learn that took so long.
    fn again(&mut self, number: u64, own: u64, now: Instant, took: Duration) {
        if let Some(next) = self.all.get_mut(&number) {
            let is_same = own.abs_diff(next.own) < SAME;
            next.every = if is_same { next.every * 2 } else { FIRST }.min(LAST);
            (next.own, next.at) = (own, now + next.every.max(took * COSTS));
        }
    }

    /// Those that were due have been looked at, as many as there was time for.
    fn set_tick(&mut self, now: Instant) {
        let next = self.all.values().map(|next| next.at).min();
        // Together, where they are close.
        self.tick = next.map(|at| at.max(now + FIRST / 5));
    }
}

impl Sandbox {
    /// The whole image that it was thawed from.
    pub(super) fn image_bytes(&self) -> u64 {
        self.shares.as_ref().map_or(0, |shares| shares.image_bytes)
    }

    /// What the kernel holds its own pages to.
    pub fn own_memory_bytes(&self) -> u64 {
        match self.is_to_be_watched() {
            true => self.memory_bytes,
            false => self.memory_bytes - self.image_bytes() / 2,
        }
    }

    fn is_to_be_watched(&self) -> bool {
        self.image_bytes() > self.memory_bytes / SMALL
    }

    /// What is in common changes, so that the highest sum is at least the highest that was seen, and at
    /// least the highest of its own with the least that is in common.
    fn add_shares(&mut self, usage: &mut InstanceUsage) {
        let Some(shares) = &mut self.shares else {
            return;
        };
        usage.shared_bytes = shares.bytes;
        usage.memory_bytes += shares.bytes;
        usage.memory_peak_bytes += shares.bytes;
        let highest = shares.highest_bytes.max(usage.memory_peak_bytes);
        (usage.memory_peak_bytes, shares.highest_bytes) = (highest, highest);
    }
}

impl Workshop {
    /// What a sandbox uses, what it has in common with its image included, as of now.
    pub fn usage(&self, sandbox: &mut Sandbox) -> InstanceUsage {
        self.count(sandbox);
        let mut usage = sandbox.group.usage(&self.guests);
        sandbox.add_shares(&mut usage);
        usage.network = sandbox.traffic();
        usage
    }

    /// The same of one that has ended.
    pub fn last_usage(&self, sandbox: &mut Sandbox) -> InstanceUsage {
        // Of one that ended by itself nobody knows, unless it was looked at.
        if let Some(shares) = sandbox.shares.as_mut().filter(|one| !one.was_counted) {
            shares.bytes = 0;
        }
        let mut usage = sandbox.group.usage(&self.guests);
        sandbox.add_shares(&mut usage);
        usage.oom_kills += u64::from(sandbox.starved);
        usage.network = sandbox.traffic();
        usage
    }

    /// Counts what a sandbox has in common with its image: what its processes map of memory files, but for
    /// files of its own, which its group pays for. What of its own the kernel would take back, bytes;
    /// `None` where that is not known.
    pub fn count(&self, sandbox: &mut Sandbox) -> Option<u64> {
        let (Ok(images), Some(shares)) = (&self.images, &mut sandbox.shares) else {
            return None;
        };
        let (taken_back, own) = sandbox.group.files_bytes(&self.guests)?;
        let mapped = mapped_bytes(images.processes(), &sandbox.group.members());
        shares.bytes = mapped.saturating_sub(own).min(shares.image_bytes);
        shares.was_counted = true;
        Some(taken_back)
    }

    /// Whether it uses more than it may; what it has of its own.
    fn is_over(&self, sandbox: &mut Sandbox) -> (bool, u64) {
        let own = sandbox.group.memory_bytes(&self.guests);
        let taken_back = self.count(sandbox);
        let (Some(taken_back), Some(shares)) = (taken_back, &mut sandbox.shares) else {
            return (false, own);
        };
        let sum = own.saturating_sub(taken_back) + shares.bytes;
        shares.highest_bytes = shares.highest_bytes.max(sum);
        (
            sum > sandbox.memory_bytes + sandbox.memory_bytes / EXACT,
            own,
        )
    }
}

impl Lane {
    /// It runs, from now on.
    pub(super) fn watch_shares(&mut self, number: u64) {
        let watched = self.sandboxes.get(&number);
        if watched.is_some_and(Sandbox::is_to_be_watched) {
            self.watched.begin(number, Instant::now());
        }
    }

    /// Ends those that use more than they may.
    pub(super) fn hold_to_limits(&mut self, now: Instant) {
        let Some(due) = self.watched.due(now) else {
            return;
        };
        let mut begun = Instant::now();
        let until = begun + PASS;
        for number in due {
            if begun >= until {
                break;
            }
            let Some(sandbox) = self.sandboxes.get_mut(&number) else {
                self.watched.end(number);
                continue;
            };
            let (is_over, own) = self.workshop.is_over(sandbox);
            let ended = Instant::now();
            let took = ended - std::mem::replace(&mut begun, ended);
            if is_over && !sandbox.dumping {
                sandbox.starved = true;
                self.workshop.kill(sandbox);
                self.watched.end(number);
            } else {
                self.watched.again(number, own, now, took);
            }
        }
        self.watched.set_tick(now);
    }
}
