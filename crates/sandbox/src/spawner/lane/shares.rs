//! The memory limit of what was thawed: its own pages and what it has in common with its image.
//!
//! The kernel holds an instance's own pages to the limit, and knows nothing of the image's, which
//! nobody's group pays for. So the two are added up here: as long as they can be above the limit,
//! every 50 ms of running, less often while nothing changes. Before an instance is ended for that, the
//! copies it has made of image pages are counted anew: what was copied is its own and no longer in
//! common. Refuses to keep starts waiting for looks of its own: one in twenty times as long as it took.

use super::Lane;
use crate::{
    spawner::sandbox::{Sandbox, Workshop},
    start_image::{common_bytes, member},
};
use freehold_domain::ports::InstanceUsage;
use std::{
    collections::HashMap,
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// How soon after it began to run an instance is looked at.
const FIRST: Duration = Duration::from_millis(50);
/// How seldom one that does not change.
const LAST: Duration = Duration::from_millis(800);
/// What counts as no change: bytes of its own.
const SAME: u64 = 256 << 10;
/// A share of the limit that may be exceeded: what is in common counts within so much.
const TOLERATED: u64 = 20;
/// Between two looks into its memory, times as long as the last one took.
const PAUSE: u32 = 20;
/// Processes of a sandbox among which the one that was thawed is looked for: it is of the first.
const MEMBERS_MAX: usize = 64;

/// What an instance has in common with its image.
#[derive(Debug)]
pub struct Shares {
    /// The image's file.
    inode: u64,
    /// Bytes in common at the last look.
    pub bytes: u64,
    /// Bytes of its own then.
    seen_own: u64,
    /// Not looked at again before, unless its highest memory has grown: that happens so often and no
    /// oftener.
    pause_until: Option<Instant>,
}

impl Shares {
    /// All of an image.
    pub fn all_of(inode: u64, bytes: u64) -> Self {
        Self {
            inode,
            bytes,
            seen_own: 0,
            pause_until: None,
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
        let next = Next {
            at: now + FIRST,
            every: FIRST,
            own: 0,
        };
        self.all.insert(number, next);
        self.tick.get_or_insert(now + FIRST);
    }

    pub(super) fn end(&mut self, number: u64) {
        self.all.remove(&number);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.tick
    }

    /// Those whose look is due; the next tick is set.
    fn due(&mut self, now: Instant) -> Vec<u64> {
        if self.tick.is_none_or(|tick| now < tick) {
            return Vec::new();
        }
        self.tick = (!self.all.is_empty()).then(|| now + FIRST);
        let due = self.all.iter().filter(|(_, next)| next.at <= now);
        due.map(|(number, _)| *number).collect()
    }

    /// It stays, and uses `own` bytes of its own.
    fn again(&mut self, number: u64, own: u64, now: Instant) {
        if let Some(next) = self.all.get_mut(&number) {
            let is_same = own.abs_diff(next.own) < SAME;
            next.every = if is_same { next.every * 2 } else { FIRST }.min(LAST);
            (next.own, next.at) = (own, now + next.every);
        }
    }
}

impl Sandbox {
    pub(super) fn shared_bytes(&self) -> u64 {
        self.shares.as_ref().map_or(0, |shares| shares.bytes)
    }

    /// What is in common only becomes less, so that at its highest moment the two were no less together
    /// than the highest of the one and the last of the other.
    fn add_shares(&self, usage: &mut InstanceUsage) {
        usage.shared_bytes = self.shared_bytes();
        usage.memory_bytes += usage.shared_bytes;
        usage.memory_peak_bytes += usage.shared_bytes;
    }

    /// Whether what it has in common is more than may be left out.
    fn is_to_be_watched(&self) -> bool {
        self.shared_bytes() > self.memory_bytes / TOLERATED
    }
}

impl Workshop {
    /// What a sandbox uses, what it has in common with its image included; looked at anew where its own
    /// memory has changed.
    pub fn usage(&self, sandbox: &mut Sandbox) -> InstanceUsage {
        let mut usage = sandbox.group.usage(&self.guests);
        let seen = sandbox.shares.as_ref().map(|shares| shares.seen_own);
        if seen.is_some_and(|seen| seen.abs_diff(usage.memory_peak_bytes) >= SAME) {
            self.look(sandbox, usage.memory_peak_bytes);
        }
        sandbox.add_shares(&mut usage);
        usage
    }

    /// The same of one that has ended: there is nothing to look into.
    pub fn last_usage(&self, sandbox: &Sandbox) -> InstanceUsage {
        let mut usage = sandbox.group.usage(&self.guests);
        sandbox.add_shares(&mut usage);
        usage.oom_kills += u64::from(sandbox.starved);
        usage
    }

    /// Counts what a sandbox still has in common with its image.
    fn look(&self, sandbox: &mut Sandbox, own: u64) {
        let (Ok(images), Some(shares)) = (&self.images, &mut sandbox.shares) else {
            return;
        };
        let began = Instant::now();
        let members = sandbox.group.members();
        let members = &members[..members.len().min(MEMBERS_MAX)];
        if let Some((_, process)) = member(images.processes(), members, sandbox.pid)
            && let Ok(bytes) = common_bytes(process.as_fd(), shares.inode)
        {
            shares.bytes = bytes.min(shares.bytes);
            shares.seen_own = own;
        }
        shares.pause_until = Some(Instant::now() + began.elapsed() * PAUSE);
    }

    /// Whether it uses more than it may, as of now; what it has of its own.
    fn is_over(&self, sandbox: &mut Sandbox) -> (bool, u64) {
        let own = sandbox.group.memory_bytes(&self.guests);
        let over = |sandbox: &Sandbox| own + sandbox.shared_bytes() > sandbox.memory_bytes;
        let pause = sandbox
            .shares
            .as_ref()
            .and_then(|shares| shares.pause_until);
        if !over(sandbox) || pause.is_some_and(|until| Instant::now() < until) {
            return (false, own);
        }
        self.look(sandbox, own);
        (over(sandbox), own)
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
        for number in self.watched.due(now) {
            let Some(sandbox) = self.sandboxes.get_mut(&number) else {
                self.watched.end(number);
                continue;
            };
            let (is_over, own) = self.workshop.is_over(sandbox);
            if is_over && !sandbox.dumping {
                sandbox.starved = true;
                self.workshop.kill(sandbox);
            }
            if sandbox.starved || !sandbox.is_to_be_watched() {
                self.watched.end(number);
            } else {
                self.watched.again(number, own, now);
            }
        }
    }
}
