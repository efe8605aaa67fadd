//! From a start to the end of its sandbox, whichever way that comes.
//!
//! ```text
//!            a parked one ─────────────────────┐
//! start ───▶ a new one (Preparing) ──▶ parked ─┴▶ volume ready? ─▶ Launching ─▶ Running
//!            no room ─▶ Crowd, until one ends          └ no ─▶ Furnishing, until it arrives
//! ```
//!
//! Whoever is on its way has [`START_MAX`]; then it is killed, and the start fails. Refuses a
//! start only where nothing that is parked could make room for it.

use super::Lane;
use crate::{
    cgroup::Gauges,
    isolate::{Ready, step_number},
    protocol::{EAGER, EXHAUSTED_DISK, EXHAUSTED_INSTANCES, Refusal, Reply, Start},
    spawner::{
        accept::examine,
        keeper::{Arrived, Kept},
        sandbox::{Failed, Sandbox, State, Waiting, guest_pid},
    },
    sys::{processes, sockets},
};
use freehold_domain::ids::Mebibytes;
use freehold_domain::runtime::RuntimeRow;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

/// How long a sandbox may take until it is parked, and again until its runtime runs. Longer than
/// a server waits: what hangs is to be ended, what is slow is the server's to give up.
const START_MAX: Duration = Duration::from_secs(20);
/// Rest after a sandbox could not be parked.
pub(super) const REST: Duration = Duration::from_secs(1);

/// Why a start was refused: what, which, errno.
pub(super) type Refused = (Refusal, u16, i32);

/// Those on their way, by when they must have arrived; all have the same time, so the oldest is
/// the next.
#[derive(Debug, Default)]
pub(super) struct Dues(VecDeque<(Instant, u64)>);

impl Dues {
    /// `number` sets out: when it is due.
    pub(super) fn set(&mut self, number: u64, now: Instant) -> Instant {
        let due = now + START_MAX;
        self.0.push_back((due, number));
        due
    }

    /// Who is late. `due` says when one is due, as far as it is on its way still.
    fn late(&mut self, now: Instant, due: impl Fn(u64) -> Option<Instant>) -> Vec<u64> {
        let mut late = Vec::new();
        while let Some(&(at, number)) = self.0.front() {
            let under_way = due(number) == Some(at);
            if under_way && now < at {
                break;
            }
            self.0.pop_front();
            late.extend(under_way.then_some(number));
        }
        late
    }
}

/// A start that waits for another sandbox to end.
#[derive(Debug)]
pub(super) struct Crowded {
    row: Rc<RuntimeRow>,
    waiting: Waiting,
    due: Instant,
}

impl Lane {
    pub(super) fn start(&mut self, start: Start, descriptors: Vec<OwnedFd>) -> Result<(), Refused> {
        let rows = &self.workshop.runtimes.rows;
        let row = rows.iter().find(|row| row.id == start.runtime).cloned();
        let row = row.ok_or((Refusal::Runtime, 0, 0))?;
        let carried = examine(descriptors, start.carries, &self.expected)?;
        let package = carried.package.as_ref();
        let package = package.map(|package| self.mounted(package)).transpose()?;
        let image = carried.image.as_ref();
        let image = image
            .map(|image| self.image_for(image, &row, start.memory_mib))
            .transpose()?;
        self.demand.note(row.id, Instant::now());
        let waiting = Waiting {
            start,
            package,
            block: carried.block,
            image,
        };
        if let Some(number) = self.take_parked(row.id, &waiting) {
            self.launch(number, waiting);
            return Ok(());
        }
        if self.free_instances() as usize > self.crowd.len() {
            if !waiting.suits(guest_pid(self.next)) {
                self.next += 1;
            }
            self.make(&row, Some(waiting)).map_err(refused_by)
        } else {
            self.make_room(row, waiting)
        }
    }

    /// The package's mount, as an instance gets it.
    pub(super) fn mounted(&self, package: &OwnedFd) -> Result<OwnedFd, Refused> {
        let mounted = self.workshop.package_mount(package.as_fd());
        mounted.map_err(|error| (Refusal::Package, 5, error.raw_os_error().unwrap_or(0)))
    }

    /// The youngest parked sandbox of `runtime` that suits.
    fn take_parked(&mut self, runtime: u32, waiting: &Waiting) -> Option<u64> {
        let parked = self.parked.get_mut(&runtime)?;
        let sandboxes = &self.sandboxes;
        let suits = |number: &u64| sandboxes.get(number).is_some_and(|s| waiting.suits(s.pid));
        let place = parked.iter().rposition(suits)?;
        Some(parked.remove(place))
    }

    /// Every place is taken: one that is about to be parked is this start's, or one that is
    /// parked for another runtime goes, and this start waits until all of it is gone.
    fn make_room(&mut self, row: Rc<RuntimeRow>, waiting: Waiting) -> Result<(), Refused> {
        let suits = |s: &Sandbox| s.runtime == row.id && waiting.suits(s.pid);
        if let Some(number) = self.unclaimed(suits)
            && let Some(sandbox) = self.sandboxes.get_mut(&number)
        {
            sandbox.state = State::Preparing(Some(waiting));
            return Ok(());
        }
        let parked = self.parked.values_mut().find_map(Vec::pop);
        let other = parked.or_else(|| self.unclaimed(|_| true));
        let other = other.ok_or((Refusal::Exhausted, EXHAUSTED_INSTANCES, 0))?;
        self.fail(other, step_number("lost"), 0);
        self.crowd.push_back(Crowded {
            row,
            waiting,
            due: Instant::now() + START_MAX,
        });
        Ok(())
    }

    /// A sandbox that is about to be parked and `suits`.
    fn unclaimed(&self, suits: impl Fn(&Sandbox) -> bool) -> Option<u64> {
        let of = |sandbox: &Sandbox| {
            let preparing = matches!(sandbox.state, State::Preparing(None));
            preparing && sandbox.failed.is_none() && suits(sandbox)
        };
        let known = |number: &&u64| self.sandboxes.get(number).is_some_and(of);
        self.coming.iter().find(known).copied()
    }

    /// Those for whom a place became free.
    fn serve_crowd(&mut self) {
        while self.free_instances() > 0
            && let Some(first) = self.crowd.pop_front()
        {
            let token = first.waiting.start.token;
            if let Err(failed) = self.make(&first.row, Some(first.waiting)) {
                self.refuse_start(token, refused_by(failed));
            }
        }
    }

    pub(super) fn refuse_start(&mut self, token: u64, (refusal, detail, errno): Refused) {
        let failed = Reply::Failed {
            token,
            refusal,
            detail,
            errno,
        };
        self.reply(failed, Vec::new());
    }

    /// When the next one on its way is late.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let crowd = self.crowd.front().map(|first| first.due);
        let due = self.dues.0.front().map(|(at, _)| *at);
        let dump = self.next_dump_due();
        let look = self.watched.next();
        crowd.into_iter().chain(due).chain(dump).chain(look).min()
    }

    /// Ends those that are late.
    pub(super) fn end_late(&mut self, now: Instant) {
        self.end_late_dumps(now);
        let sandboxes = &self.sandboxes;
        let due = |number| sandboxes.get(&number).and_then(|s| s.due);
        for number in self.dues.late(now, due) {
            let furnishing = self.sandboxes.get(&number).is_some_and(|s| {
                matches!(s.state, State::Furnishing(_)) || s.specialising.is_some()
            });
            let step = if furnishing { "volume" } else { "lost" };
            self.fail(number, step_number(step), libc::ETIMEDOUT);
        }
        while self.crowd.front().is_some_and(|first| first.due <= now)
            && let Some(first) = self.crowd.pop_front()
        {
            let token = first.waiting.start.token;
            self.refuse_start(token, (Refusal::Exhausted, EXHAUSTED_INSTANCES, 0));
        }
    }

    /// Forks a sandbox, for a start or to be parked.
    pub(super) fn make(
        &mut self,
        row: &Rc<RuntimeRow>,
        waiting: Option<Waiting>,
    ) -> Result<(), Failed> {
        let number = self.next;
        self.next += 1;
        let mut sandbox = self.workshop.make(number, row)?;
        if waiting.is_none() {
            self.coming.push(number);
        }
        sandbox.state = State::Preparing(waiting);
        sandbox.due = Some(self.dues.set(number, Instant::now()));
        let watched = epoll::add(
            &self.epoll,
            &sandbox.pidfd,
            EventData::new_u64(number << 1 | super::PID),
            EventFlags::IN,
        )
        .and_then(|()| match &sandbox.control {
            Some(control) => epoll::add(
                &self.epoll,
                control,
                EventData::new_u64(number << 1 | super::CONTROL),
                EventFlags::IN,
            ),
            None => Ok(()),
        });
        if let Err(error) = watched {
            self.workshop.kill(&mut sandbox);
            sandbox.failed = Some((step_number("fork"), error.raw_os_error()));
        }
        self.sandboxes.insert(number, sandbox);
        Ok(())
    }

    /// A parked sandbox becomes this start's, at once or when its volume is there.
    fn launch(&mut self, number: u64, waiting: Waiting) {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else {
            return;
        };
        sandbox.due = Some(self.dues.set(number, Instant::now()));
        // Who is booted gets its `/tmp` when it is specialised.
        if waiting.package.is_none() {
            return self.furnish(number, waiting, None);
        }
        let size = Mebibytes(waiting.start.tmp_mib);
        match self.workshop.volumes.take(size, number) {
            Some(kept) => self.furnish(number, waiting, Some(kept)),
            None => sandbox.state = State::Furnishing(waiting),
        }
    }

    fn furnish(&mut self, number: u64, waiting: Waiting, kept: Option<Kept>) {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else {
            if let Some(kept) = kept {
                self.workshop.volumes.end(kept.id);
            }
            return;
        };
        let Start { token, carries, .. } = waiting.start;
        match self.workshop.launch(sandbox, &waiting, kept) {
            Ok(()) if carries & EAGER != 0 => {
                // What the server writes to it lies there when the runtime begins.
                let io = std::mem::take(&mut sandbox.io);
                self.reply(Reply::Launched { token, number }, io);
            }
            Ok(()) => {}
            Err((step, error)) => {
                sandbox.state = State::Launching(token);
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                self.fail(number, step_number(step), errno);
            }
        }
    }

    /// The volume that a sandbox waited for, or why there is none.
    pub(super) fn on_volume(&mut self, arrived: Arrived) {
        let Some(Arrived { sandbox, made }) = self.for_specialising(arrived) else {
            return;
        };
        let waiting = match self.sandboxes.get_mut(&sandbox) {
            Some(s) if s.failed.is_none() => match std::mem::replace(&mut s.state, State::Parked) {
                State::Furnishing(waiting) => Some(waiting),
                other => {
                    s.state = other;
                    None
                }
            },
            _ => None,
        };
        match (waiting, made) {
            (Some(waiting), Ok(kept)) => self.furnish(sandbox, waiting, Some(kept)),
            // Nothing was done to the sandbox yet: it serves another start.
            (Some(waiting), Err(error)) => {
                let token = waiting.start.token;
                drop(waiting);
                self.refuse_start(token, refused_by(("volume", error)));
                self.park(sandbox);
            }
            (None, Ok(kept)) => self.workshop.volumes.end(kept.id),
            (None, Err(_)) => {}
        }
    }

    /// Keeps it for a start, of which one may wait already.
    fn park(&mut self, number: u64) {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else {
            return;
        };
        sandbox.due = None;
        let runtime = sandbox.runtime;
        let first = self.crowd.iter().position(|c| c.row.id == runtime);
        match first.and_then(|place| self.crowd.remove(place)) {
            Some(first) => self.launch(number, first.waiting),
            None => self.parked.entry(runtime).or_default().push(number),
        }
    }

    /// Something from pid 2, or its silence.
    pub(super) fn on_control(&mut self, number: u64) {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else {
            return;
        };
        let Some(control) = &sandbox.control else {
            return;
        };
        let mut packet = [0u8; 16];
        let received = match sockets::receive(control.as_fd(), &mut packet, false) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => sockets::Received {
                len: 0,
                descriptors: Vec::new(),
                truncated: false,
            },
        };
        if received.len == 0 {
            // By hand: closed alone it goes on being reported for as long as any sandbox that is
            // being made has a copy of it, and hundreds are copied into each of them.
            let _ = epoll::delete(&self.epoll, control);
            sandbox.control = None;
            match (&sandbox.state, sandbox.failed) {
                (State::Launching(token), None) => {
                    let token = *token;
                    sandbox.state = State::Running;
                    sandbox.due = None;
                    let io = std::mem::take(&mut sandbox.io);
                    self.reply(Reply::Started { token, number }, io);
                    self.watch_shares(number);
                }
                // Only an exec may close it: whoever closes it earlier is dead, and no start
                // should be tried on it.
                (_, None) => self.fail(number, step_number("lost"), libc::EPROTO),
                _ => {}
            }
            return;
        }
        match Ready::decode(&packet[..received.len]) {
            Ready::Parked
                if received.descriptors.len() == 4 + usize::from(self.workshop.relayed) =>
            {
                self.on_parked(number, received.descriptors)
            }
            Ready::Parked => self.fail(number, step_number("lost"), libc::EPROTO),
            Ready::Failed { step, errno } => self.fail(number, step, errno),
        }
    }

    fn on_parked(&mut self, number: u64, mut descriptors: Vec<OwnedFd>) {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else {
            return;
        };
        if sandbox.failed.is_some() {
            return;
        }
        sandbox.mount_namespace = descriptors.pop();
        descriptors.append(&mut sandbox.io);
        let gauges = Gauges::of(&sandbox.group, &self.workshop.guests);
        descriptors.extend(gauges.into_iter().flat_map(Gauges::into_descriptors));
        sandbox.io = descriptors;
        if let Err(error) = self.workshop.enter_network(sandbox) {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            return self.fail(number, step_number("network"), errno);
        }
        match std::mem::replace(&mut sandbox.state, State::Parked) {
            State::Preparing(Some(waiting)) => self.launch(number, waiting),
            State::Preparing(None) => {
                self.workshop.limit_ahead(sandbox);
                self.park(number);
            }
            other => {
                sandbox.state = other;
                self.fail(number, step_number("lost"), libc::EPROTO);
            }
        }
    }

    pub(super) fn fail(&mut self, number: u64, step: u16, errno: i32) {
        self.unpark(number);
        if let Some(sandbox) = self.sandboxes.get_mut(&number) {
            sandbox.failed.get_or_insert((step, errno));
            self.workshop.kill(sandbox);
        }
    }

    /// Pid 1 has ended, and with it everything inside.
    pub(super) fn on_ended(&mut self, number: u64) {
        // Its last words first: whether the runtime was executed, or why not.
        while let Some(sandbox) = self.sandboxes.get(&number)
            && sandbox.control.is_some()
        {
            let before = sandbox.failed;
            self.on_control(number);
            let after = self.sandboxes.get(&number);
            if after.is_some_and(|s| s.control.is_some() && s.failed == before) {
                break;
            }
            if after.is_some_and(|s| s.failed.is_some()) {
                break;
            }
        }
        let Some(sandbox) = self.sandboxes.get_mut(&number) else {
            return;
        };
        if let Ok(None) = processes::reap(sandbox.pidfd.as_fd()) {
            return;
        }
        let _ = epoll::delete(&self.epoll, &sandbox.pidfd);
        if let Some(control) = sandbox.control.take() {
            let _ = epoll::delete(&self.epoll, &control);
        }
        self.unpark(number);
        self.ending.push(number);
    }

    pub(super) fn finish_ended(&mut self) {
        let mut left = Vec::new();
        for number in std::mem::take(&mut self.ending) {
            let Some(sandbox) = self.sandboxes.get_mut(&number) else {
                continue;
            };
            let Ok((cause, value, usage)) = self.workshop.finish(sandbox) else {
                left.push(number);
                continue;
            };
            let Some(sandbox) = self.sandboxes.remove(&number) else {
                continue;
            };
            let (detail, errno) = sandbox.failed.unwrap_or((step_number("lost"), 0));
            if let Some(specialising) = sandbox.specialising {
                self.workshop.volumes.forget(number);
                let failed = (Refusal::Step, detail, errno);
                self.refuse_start(specialising.to.token, failed);
            }
            let failed = (Refusal::Step, detail, errno);
            match sandbox.state {
                State::Preparing(Some(waiting)) => self.refuse_start(waiting.start.token, failed),
                State::Furnishing(waiting) => {
                    self.workshop.volumes.forget(number);
                    self.refuse_start(waiting.start.token, failed);
                }
                State::Launching(token) => self.refuse_start(token, failed),
                State::Running => self.reply(
                    Reply::Exited {
                        number,
                        cause,
                        value,
                        usage,
                    },
                    Vec::new(),
                ),
                State::Preparing(None) => self.rest_until = Instant::now() + REST,
                State::Parked => {}
            }
        }
        self.ending.append(&mut left);
        self.serve_crowd();
    }
}

/// As the server is told.
pub(super) fn refused_by((step, error): Failed) -> Refused {
    match (step, error.raw_os_error().unwrap_or(libc::EIO)) {
        ("volume", libc::ENOSPC) => (Refusal::Exhausted, EXHAUSTED_DISK, libc::ENOSPC),
        (step, errno) => (Refusal::Step, step_number(step), errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn whoever_is_on_its_way_too_long_is_late_once() {
        let start = Instant::now();
        let mut dues = Dues::default();
        let second = Duration::from_secs(1);
        let mut due: HashMap<u64, Instant> = HashMap::new();
        for number in 1..=3 {
            due.insert(number, dues.set(number, start));
        }
        // 1 has arrived, 2 has arrived and set out again.
        due.remove(&1);
        due.insert(2, dues.set(2, start + second));
        let late = |dues: &mut Dues, now| dues.late(now, |number| due.get(&number).copied());
        assert!(late(&mut dues, start + START_MAX - second).is_empty());
        assert_eq!(late(&mut dues, start + START_MAX), [3]);
        assert_eq!(late(&mut dues, start + START_MAX + second), [2]);
        assert!(late(&mut dues, start + START_MAX * 2).is_empty());
        assert!(dues.0.is_empty());
    }
}
