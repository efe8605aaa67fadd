//! The spawner's life: set-up, then one loop over its sockets and its children.

use super::{
    accept::{Expected, examine},
    keeper::Volumes,
    pool::Demand,
    sandbox::{Sandbox, State, Waiting, Workshop},
    uids::Uids,
};
use crate::{
    cgroup::{Gauges, Guests},
    isolate::{Privilege, Ready, Runtimes, step_number},
    protocol::{MESSAGE_MAX, Refusal, Reply, Request, Start, VERSION},
    seccomp::Embedded,
    sys::{
        identity::{self, cap},
        processes, sockets,
    },
    table::read_table,
    volumes::VolumeOptions,
};
use freehold_domain::{ids::Mebibytes, runtime::RuntimeRow};
use rustix::event::{
    PollFd, PollFlags, Timespec,
    epoll::{self, EventData, EventFlags},
    poll,
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

/// What a spawner is made from, by the supervisor.
pub struct LaneOptions {
    /// Which lane.
    pub lane: u16,
    /// Which spawner of it, from 1.
    pub generation: u32,
    /// Its socket to the server.
    pub socket: OwnedFd,
    /// With or without root.
    pub privilege: Privilege,
    /// The server's mount namespace.
    pub host: OwnedFd,
    /// The groups' parents.
    pub guests: Guests,
    /// The runtime table, and whose it must be.
    pub table: (PathBuf, u32),
    /// An empty folder of root's to mount on.
    pub scratch: PathBuf,
    /// Where volumes lie.
    pub volumes: VolumeOptions,
    /// What a package's descriptor must be.
    pub expected: Expected,
    /// Sandboxes that may be parked.
    pub parked: usize,
    /// Instances at once.
    pub instances_max: u32,
}

/// The steps of a spawner's set-up, by their number in [`Reply::SetupFailed`].
pub const SETUP_STEPS: [&str; 6] = [
    "spawner identity",
    "spawner capabilities",
    "runtime table",
    "seccomp policies",
    "roots",
    "event queue",
];

/// What a spawner may still do, of all that root may.
const CAPABILITIES: [u32; 11] = [
    cap::CHOWN,
    cap::DAC_OVERRIDE,
    cap::FOWNER,
    cap::KILL,
    cap::SETGID,
    cap::SETUID,
    cap::SETPCAP,
    cap::NET_ADMIN,
    cap::SYS_CHROOT,
    cap::SYS_ADMIN,
    cap::MKNOD,
];

/// Descriptors that the spawner holds for one sandbox, at most.
const DESCRIPTORS_EACH: u64 = 16;
/// Answers that may wait for the server to read them, before its requests wait in turn.
const OUT_MAX: usize = 4096;
/// Packets read in one go.
const READS_MAX: usize = 32;
/// Quiet time before work that nobody waits for.
const QUIET: Duration = Duration::from_millis(2);
/// Rest after a sandbox could not be parked.
const REST: Duration = Duration::from_secs(1);

const SERVER: u64 = 0;
const PID: u64 = 0;
const CONTROL: u64 = 1;

/// The whole life of a spawner.
pub fn run_lane(options: LaneOptions) -> ! {
    let (lane, socket) = (options.lane, options.socket.try_clone());
    match Lane::set_up(options) {
        Ok(mut lane) => {
            lane.run();
            processes::exit(0)
        }
        Err((step, error)) => {
            let errno = error.raw_os_error().unwrap_or(0);
            tracing::debug!(lane, step, %error, "spawner could not be set up");
            if let Ok(socket) = socket {
                let _ = sockets::send(
                    socket.as_fd(),
                    &Reply::SetupFailed { step, errno }.encode(),
                    &[],
                );
            }
            processes::exit(2)
        }
    }
}

struct Lane {
    socket: OwnedFd,
    epoll: OwnedFd,
    workshop: Workshop,
    expected: Expected,
    sandboxes: HashMap<u64, Sandbox>,
    parked: HashMap<u32, Vec<u64>>,
    /// Dead, their groups not yet empty.
    ending: Vec<u64>,
    demand: Demand,
    next: u64,
    instances_max: u32,
    out: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    writable: bool,
    greeted: bool,
    refused: u64,
    rest_until: Instant,
}

impl Lane {
    fn set_up(options: LaneOptions) -> Result<Lane, (u16, io::Error)> {
        let at = |step: u16| move |error| (step, error);
        identity::set_name(&format!("fh-spawner-{}", options.lane));
        // Without root, /proc/self of what is forked from here would belong to nobody's uid.
        if options.privilege == Privilege::Root {
            identity::not_dumpable().map_err(at(0))?;
        }
        let descriptors = identity::raise_descriptor_limit().map_err(at(0))?;
        let by_descriptors = (descriptors.saturating_sub(256) / DESCRIPTORS_EACH) as u32;
        let instances_max = options.instances_max.min(by_descriptors);
        identity::bound_capabilities(&CAPABILITIES).map_err(at(1))?;
        identity::set_capabilities(&CAPABILITIES).map_err(at(1))?;
        let rows = read_table(&options.table.0, options.table.1)
            .map_err(|error| (2, io::Error::other(error)))?;
        let compiled = |policy: Embedded| {
            policy
                .program()
                .map(Rc::new)
                .map_err(|error| (3, io::Error::other(error)))
        };
        let (guest_filter, init_filter) =
            (compiled(Embedded::Instance)?, compiled(Embedded::Init)?);
        let volumes = Volumes::fork(options.volumes).map_err(at(4))?;
        let runtimes = Runtimes::assemble(rows, &options.scratch, options.privilege, options.host)
            .map_err(at(4))?;
        for refused in &runtimes.refused {
            tracing::debug!(runtime = refused.runtime, action = refused.action, error = %refused.source, "runtime refused");
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| (5, e.into()))?;
        let lane = Lane {
            workshop: Workshop {
                privilege: options.privilege,
                runtimes,
                guests: options.guests,
                guest_filter,
                init_filter,
                volumes,
                uids: Uids::new(
                    processes::parent().unsigned_abs(),
                    options.lane,
                    instances_max,
                ),
                prefix: format!("{}.{}.", options.lane, options.generation),
            },
            socket: options.socket,
            epoll,
            expected: options.expected,
            sandboxes: HashMap::new(),
            parked: HashMap::new(),
            ending: Vec::new(),
            demand: Demand::new(options.parked, Instant::now()),
            next: 1,
            instances_max,
            out: VecDeque::new(),
            writable: true,
            greeted: false,
            refused: 0,
            rest_until: Instant::now(),
        };
        epoll::add(
            &lane.epoll,
            &lane.socket,
            EventData::new_u64(SERVER),
            EventFlags::IN,
        )
        .map_err(|e| (5, e.into()))?;
        epoll::add(
            &lane.epoll,
            lane.workshop.volumes.socket(),
            EventData::new_u64(SERVER << 1 | CONTROL),
            EventFlags::IN,
        )
        .map_err(|e| (5, e.into()))?;
        let mut lane = lane;
        lane.workshop.volumes.refill().map_err(at(5))?;
        let welcome = Reply::Welcome {
            version: VERSION,
            lane: options.lane,
            instances_max,
        };
        sockets::send(lane.socket.as_fd(), &welcome.encode(), &[]).map_err(at(5))?;
        Ok(lane)
    }

    fn run(&mut self) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let timeout = self.timeout().map(|span| Timespec {
                tv_sec: span.as_secs() as i64,
                tv_nsec: span.subsec_nanos().into(),
            });
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return self.end_all(),
            }
            if events.is_empty() {
                self.idle();
            }
            let _ = self.workshop.volumes.refill();
            for event in &events {
                let (number, kind) = (event.data.u64() >> 1, event.data.u64() & 1);
                match (number, kind) {
                    (SERVER, CONTROL) => {
                        if self.workshop.volumes.arrived().is_err() {
                            return self.end_all();
                        }
                    }
                    (SERVER, _) => {
                        if !self.on_server(event.flags) {
                            return self.end_all();
                        }
                    }
                    (number, CONTROL) => self.on_control(number),
                    (number, _) => self.on_ended(number),
                }
            }
            self.finish_ended();
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        if !self.ending.is_empty() {
            return Some(Duration::from_millis(1));
        }
        let now = Instant::now();
        if now < self.rest_until {
            return Some(self.rest_until - now);
        }
        if self.shortage(now).is_some() {
            return Some(QUIET);
        }
        if self.surplus(now).is_some() {
            return Some(Duration::from_millis(100));
        }
        // Demand fades with time alone, so look again while more than the least is parked.
        let parked: usize = self.parked.values().map(Vec::len).sum();
        (parked > self.workshop.runtimes.rows.len()).then_some(Duration::from_secs(5))
    }

    /// Work that nobody waits for, one piece.
    fn idle(&mut self) {
        let now = Instant::now();
        if now < self.rest_until {
            return;
        }
        if let Some(row) = self.shortage(now) {
            if self.make(&row, None).is_err() {
                self.rest_until = now + REST;
            }
        } else if let Some(number) = self.surplus(now) {
            self.unpark(number);
            if let Some(sandbox) = self.sandboxes.get_mut(&number) {
                self.workshop.kill(sandbox);
            }
        }
    }

    /// A runtime of which too few are parked or on their way.
    fn shortage(&mut self, now: Instant) -> Option<Rc<RuntimeRow>> {
        if self.free_instances() == 0 {
            return None;
        }
        let count = self.workshop.runtimes.rows.len();
        (0..count).find_map(|place| {
            let row = Rc::clone(&self.workshop.runtimes.rows[place]);
            let coming =
                |s: &&Sandbox| s.runtime == row.id && matches!(s.state, State::Preparing(None));
            let have = self.parked.get(&row.id).map_or(0, Vec::len)
                + self.sandboxes.values().filter(coming).count();
            (have < self.demand.wanted(row.id, count, now)).then_some(row)
        })
    }

    fn surplus(&mut self, now: Instant) -> Option<u64> {
        let count = self.workshop.runtimes.rows.len();
        let demand = &mut self.demand;
        self.parked.iter().find_map(|(runtime, numbers)| {
            (numbers.len() > demand.wanted(*runtime, count, now)).then(|| numbers[0])
        })
    }

    fn free_instances(&self) -> u32 {
        self.instances_max
            .saturating_sub(self.sandboxes.len() as u32)
    }

    fn make(
        &mut self,
        row: &Rc<RuntimeRow>,
        waiting: Option<Waiting>,
    ) -> Result<(), super::sandbox::Failed> {
        let number = self.next;
        self.next += 1;
        let mut sandbox = self.workshop.make(number, row)?;
        sandbox.state = State::Preparing(waiting);
        let watched = epoll::add(
            &self.epoll,
            &sandbox.pidfd,
            EventData::new_u64(number << 1 | PID),
            EventFlags::IN,
        )
        .and_then(|()| match &sandbox.control {
            Some(control) => epoll::add(
                &self.epoll,
                control,
                EventData::new_u64(number << 1 | CONTROL),
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

    fn unpark(&mut self, number: u64) {
        for numbers in self.parked.values_mut() {
            numbers.retain(|parked| *parked != number);
        }
    }

    /// Reads what the server sent; false once it is gone.
    fn on_server(&mut self, flags: EventFlags) -> bool {
        if flags.contains(EventFlags::OUT) {
            self.writable = true;
            self.flush();
        }
        let mut packet = [0u8; MESSAGE_MAX];
        for _ in 0..READS_MAX {
            if self.out.len() >= OUT_MAX {
                break;
            }
            let received = match sockets::receive(self.socket.as_fd(), &mut packet, false) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            if received.len == 0 && self.server_is_gone() {
                return false;
            }
            let request = Request::decode(&packet[..received.len]).ok();
            match request {
                Some(Request::Hello { version: VERSION }) if !received.truncated => {
                    self.greeted = true
                }
                Some(request) if self.greeted && !received.truncated => {
                    self.on_request(request, received.descriptors);
                }
                _ => self.refuse(),
            }
        }
        self.watch_server();
        true
    }

    /// An empty packet looks like an end; only a hang-up is one.
    fn server_is_gone(&self) -> bool {
        let mut one = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let _ = poll(&mut one, Some(&zero));
        one[0]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }

    fn refuse(&mut self) {
        self.refused += 1;
        // One answer per packet would let a flood fill the queue of answers that matter.
        if self.refused.is_power_of_two() {
            self.reply(
                Reply::Refused {
                    count: self.refused,
                },
                Vec::new(),
            );
        }
    }

    fn on_request(&mut self, request: Request, descriptors: Vec<OwnedFd>) {
        match request {
            Request::Hello { .. } => self.refuse(),
            Request::Start(start) => {
                if let Err((refusal, detail, errno)) = self.start(start, descriptors) {
                    self.reply(
                        Reply::Failed {
                            token: start.token,
                            refusal,
                            detail,
                            errno,
                        },
                        Vec::new(),
                    );
                }
            }
            Request::Freeze { token, number } => self.freeze(token, number, true),
            Request::Thaw { token, number } => self.freeze(token, number, false),
            Request::Usage { token, number } => {
                let reply = match self.running(number) {
                    Some(sandbox) => Reply::Used {
                        token,
                        usage: sandbox.group.usage(&self.workshop.guests),
                    },
                    None => Reply::NotThere { token },
                };
                self.reply(reply, Vec::new());
            }
            Request::Destroy { number } => {
                if self.running(number).is_some()
                    && let Some(sandbox) = self.sandboxes.get_mut(&number)
                {
                    sandbox.destroyed = true;
                    self.workshop.kill(sandbox);
                }
            }
            Request::List { token } => {
                let running = |(number, s): (&u64, &Sandbox)| {
                    matches!(s.state, State::Running).then_some((*number, s.runtime))
                };
                let all: Vec<(u64, u32)> = self.sandboxes.iter().filter_map(running).collect();
                for (number, runtime) in all {
                    self.reply(
                        Reply::Listed {
                            token,
                            number,
                            runtime,
                        },
                        Vec::new(),
                    );
                }
                self.reply(Reply::Done { token }, Vec::new());
            }
        }
    }

    fn running(&self, number: u64) -> Option<&Sandbox> {
        self.sandboxes
            .get(&number)
            .filter(|sandbox| matches!(sandbox.state, State::Running))
    }

    fn start(
        &mut self,
        start: Start,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), (Refusal, u16, i32)> {
        let rows = &self.workshop.runtimes.rows;
        let row = rows.iter().find(|row| row.id == start.runtime).cloned();
        let row = row.ok_or((Refusal::Runtime, 0, 0))?;
        let carried = examine(descriptors, &self.expected)?;
        let package = self
            .workshop
            .package_mount(carried.package.as_fd())
            .map_err(|error| (Refusal::Package, 5, error.raw_os_error().unwrap_or(0)))?;
        self.demand.note(row.id, Instant::now());
        let waiting = Waiting {
            start,
            package,
            block: carried.block,
        };
        if let Some(number) = self.parked.get_mut(&row.id).and_then(Vec::pop) {
            self.launch(number, waiting);
            return Ok(());
        }
        if self.free_instances() == 0 {
            // Parked ones of other runtimes make room.
            let other =
                self.parked
                    .values_mut()
                    .find_map(Vec::pop)
                    .ok_or((Refusal::Exhausted, 0, 0))?;
            if let Some(sandbox) = self.sandboxes.get_mut(&other) {
                self.workshop.kill(sandbox);
            }
        }
        self.make(&row, Some(waiting)).map_err(|(step, error)| {
            (
                Refusal::Step,
                step_number(step),
                error.raw_os_error().unwrap_or(libc::EIO),
            )
        })
    }

    fn launch(&mut self, number: u64, waiting: Waiting) {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else {
            return;
        };
        if let Err((step, error)) = self.workshop.launch(sandbox, &waiting) {
            sandbox.failed = Some((step_number(step), error.raw_os_error().unwrap_or(libc::EIO)));
            sandbox.state = State::Launching(waiting.start.token);
            self.workshop.kill(sandbox);
        }
    }

    fn freeze(&mut self, token: u64, number: u64, frozen: bool) {
        let there = self.running(number).is_some();
        let done = there
            && self.sandboxes.get_mut(&number).is_some_and(|sandbox| {
                sandbox
                    .group
                    .set_frozen(&self.workshop.guests, frozen)
                    .is_ok()
            });
        let reply = if done {
            Reply::Done { token }
        } else {
            Reply::NotThere { token }
        };
        self.reply(reply, Vec::new());
    }

    /// Something from pid 2, or its silence.
    fn on_control(&mut self, number: u64) {
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
            sandbox.control = None;
            if let (State::Launching(token), None) = (&sandbox.state, sandbox.failed) {
                let token = *token;
                sandbox.state = State::Running;
                let io = std::mem::take(&mut sandbox.io);
                self.reply(Reply::Started { token, number }, io);
            }
            return;
        }
        match Ready::decode(&packet[..received.len]) {
            Ready::Parked if received.descriptors.len() == 3 => {
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
        sandbox.mount_namespace = descriptors.pop();
        descriptors.append(&mut sandbox.io);
        let gauges = Gauges::of(&sandbox.group, &self.workshop.guests);
        descriptors.extend(gauges.into_iter().flat_map(Gauges::into_descriptors));
        sandbox.io = descriptors;
        match std::mem::replace(&mut sandbox.state, State::Parked) {
            State::Preparing(Some(waiting)) => self.launch(number, waiting),
            State::Preparing(None) => {
                let runtime = sandbox.runtime;
                self.parked.entry(runtime).or_default().push(number);
            }
            other => {
                sandbox.state = other;
                self.fail(number, step_number("lost"), libc::EPROTO);
            }
        }
    }

    fn fail(&mut self, number: u64, step: u16, errno: i32) {
        if let Some(sandbox) = self.sandboxes.get_mut(&number) {
            sandbox.failed.get_or_insert((step, errno));
            self.workshop.kill(sandbox);
        }
    }

    /// Pid 1 has ended, and with it everything inside.
    fn on_ended(&mut self, number: u64) {
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
        self.unpark(number);
        self.ending.push(number);
    }

    fn finish_ended(&mut self) {
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
            let failed = |token| Reply::Failed {
                token,
                refusal: Refusal::Step,
                detail,
                errno,
            };
            match sandbox.state {
                State::Preparing(Some(waiting)) => {
                    self.reply(failed(waiting.start.token), Vec::new())
                }
                State::Launching(token) => self.reply(failed(token), Vec::new()),
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
    }

    fn reply(&mut self, reply: Reply, descriptors: Vec<OwnedFd>) {
        self.out.push_back((reply.encode(), descriptors));
        self.flush();
    }

    fn flush(&mut self) {
        while self.writable
            && let Some((packet, descriptors)) = self.out.front()
        {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            match sockets::send(self.socket.as_fd(), packet, &borrowed) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.watch_server();
                }
                // A server that is gone is noticed where its requests are read.
                _ => drop(self.out.pop_front()),
            }
        }
    }

    fn watch_server(&mut self) {
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, self.out.len() < OUT_MAX);
        wanted.set(EventFlags::OUT, !self.writable);
        let _ = epoll::modify(
            &self.epoll,
            &self.socket,
            EventData::new_u64(SERVER),
            wanted,
        );
    }

    /// The server is gone: nothing outlives it.
    fn end_all(&mut self) {
        for sandbox in self.sandboxes.values_mut() {
            self.workshop.kill(sandbox);
        }
        let until = Instant::now() + Duration::from_millis(400);
        while !self.sandboxes.is_empty() && Instant::now() < until {
            let numbers: Vec<u64> = self.sandboxes.keys().copied().collect();
            for number in numbers {
                let Some(sandbox) = self.sandboxes.get_mut(&number) else {
                    continue;
                };
                let gone = !matches!(processes::reap(sandbox.pidfd.as_fd()), Ok(None));
                if gone && self.workshop.finish(sandbox).is_ok() {
                    self.sandboxes.remove(&number);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The usual size of `/tmp`, of which some are made ahead.
pub const USUAL_TMP: Mebibytes = Mebibytes(512);
