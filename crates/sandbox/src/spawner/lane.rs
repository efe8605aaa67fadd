//! The spawner's life: set-up, then one loop over its sockets and its children.

mod images;
mod line;
mod shares;
mod starts;

pub use shares::Shares;

use super::{
    accept::Expected,
    exit::Exit,
    keeper::Volumes,
    pool::Demand,
    sandbox::{Sandbox, State, Workshop},
    uids::Uids,
};
use crate::{
    cgroup::Guests,
    isolate::{Privilege, Runtimes},
    network,
    protocol::{Reply, VERSION},
    seccomp::{Embedded, Program},
    start_image::{Means, Unsupported},
    sys::{
        doorstep::Doorstep,
        identity::{self, cap},
        processes, sockets,
    },
    table::read_table,
    volumes::VolumeOptions,
};
use freehold_domain::{ids::Mebibytes, runtime::RuntimeRow};
use images::Dump;
use rustix::event::{
    Timespec,
    epoll::{self, EventData, EventFlags},
};
use shares::Watched;
use starts::{Crowded, Dues, REST};
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
    /// The way out of instances, where the machine has one.
    pub network: Option<network::Plan>,
    /// Their connections are led to the server instead.
    pub relayed: bool,
}

/// The steps of a spawner's set-up, by their number in [`Reply::SetupFailed`].
pub const SETUP_STEPS: [&str; 7] = [
    "spawner identity",
    "spawner capabilities",
    "runtime table",
    "seccomp policies",
    "roots",
    "event queue",
    "network rules",
];

/// What a spawner may still do, of all that root may.
const CAPABILITIES: [u32; 13] = [
    cap::CHOWN,
    cap::DAC_OVERRIDE,
    cap::FOWNER,
    cap::KILL,
    cap::SETGID,
    cap::SETUID,
    cap::SETPCAP,
    cap::NET_BIND_SERVICE,
    cap::NET_ADMIN,
    cap::SYS_CHROOT,
    // For the dumper, who keeps this one alone.
    cap::SYS_PTRACE,
    cap::SYS_ADMIN,
    cap::MKNOD,
];

/// Descriptors that the spawner holds for one sandbox, at most.
const DESCRIPTORS_EACH: u64 = 17;
/// Quiet time before work that nobody waits for: a start that is under way goes first, in its own
/// process too, with which this work would share processors and locks.
const QUIET: Duration = Duration::from_millis(20);
/// The same once something has been missing for [`HUNGER`]: starts may come without a pause.
const QUIET_HUNGRY: Duration = Duration::from_millis(2);
const HUNGER: Duration = Duration::from_millis(200);
/// Places that no sandbox is parked in, at most: a quarter of a small lane's.
const FREE_PLACES: u32 = 4;

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
    /// To be parked, as far as they are on their way still: all sandboxes may be thousands.
    coming: Vec<u64>,
    /// Dead, their groups not yet empty.
    ending: Vec<u64>,
    /// Starts without a place, oldest first.
    crowd: VecDeque<Crowded>,
    dues: Dues,
    watched: Watched,
    /// Images that are being taken, each under a number as sandboxes have.
    dumps: HashMap<u64, Dump>,
    demand: Demand,
    next: u64,
    instances_max: u32,
    out: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    writable: bool,
    /// The keeper's socket is watched for room.
    keeper_full: bool,
    welcome: Reply,
    greeted: bool,
    refused: u64,
    rest_until: Instant,
    /// When something came in last, or was done that nobody waited for.
    quiet_since: Instant,
    /// Since when something that should lie ready does not.
    lacks_since: Option<Instant>,
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
        let carried_filter = compiled(Embedded::Carried)?;
        let volumes = Volumes::fork(options.volumes).map_err(at(4))?;
        let runtimes = Runtimes::assemble(rows, &options.scratch, options.privilege, options.host)
            .map_err(at(4))?;
        for refused in &runtimes.refused {
            tracing::debug!(runtime = refused.runtime, action = refused.action, error = %refused.source, "runtime refused");
        }
        let mut uids = Uids::new(
            processes::parent().unsigned_abs(),
            options.lane,
            instances_max,
        );
        let images = gather_images(&runtimes, &carried_filter, options.privilege, &mut uids);
        if let Err(unsupported) = &images {
            tracing::warn!(lane = options.lane, reason = %unsupported, "no start images");
        }
        let network = options.network.map(|plan| {
            let opened = runtimes.on_host(|| Exit::open(plan, options.lane));
            opened.and_then(|opened| opened)
        });
        let network = network.transpose().map_err(at(6))?;
        let images_number = images.as_ref().err().map_or(0, Unsupported::number);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| (5, e.into()))?;
        let lane = Lane {
            workshop: Workshop {
                privilege: options.privilege,
                runtimes,
                guests: options.guests,
                guest_filter,
                carried_filter,
                init_filter,
                volumes,
                images,
                doorstep: Doorstep::open().map_err(at(5))?,
                uids,
                prefix: format!("{}.{}.", options.lane, options.generation),
                usual: HashMap::new(),
                network,
                relayed: options.relayed,
            },
            socket: options.socket,
            epoll,
            expected: options.expected,
            sandboxes: HashMap::new(),
            parked: HashMap::new(),
            coming: Vec::new(),
            ending: Vec::new(),
            crowd: VecDeque::new(),
            dues: Dues::default(),
            watched: Watched::default(),
            dumps: HashMap::new(),
            demand: Demand::new(options.parked, Instant::now()),
            next: 1,
            instances_max,
            out: VecDeque::new(),
            writable: true,
            keeper_full: false,
            welcome: Reply::Welcome {
                version: VERSION,
                lane: options.lane,
                instances_max,
                images: images_number,
            },
            greeted: false,
            refused: 0,
            rest_until: Instant::now(),
            quiet_since: Instant::now(),
            lacks_since: None,
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
        lane.workshop.volumes.refill();
        sockets::send(lane.socket.as_fd(), &lane.welcome.encode(), &[]).map_err(at(5))?;
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
            match events.is_empty() {
                true => self.idle(),
                false => self.quiet_since = Instant::now(),
            }
            self.workshop.volumes.refill_half();
            // Ends before orders: a start is not given who was dead before it came, which epoll may tell
            // in the other order.
            let is_order = |event: &&epoll::Event| event.data.u64() >> 1 == SERVER;
            let ends = events.iter().filter(|event| !is_order(event));
            for event in ends.chain(events.iter().filter(is_order)) {
                let (number, kind) = (event.data.u64() >> 1, event.data.u64() & 1);
                match (number, kind) {
                    (SERVER, CONTROL) => {
                        self.workshop.volumes.flush();
                        match self.workshop.volumes.arrived() {
                            Ok(all) => all.into_iter().for_each(|one| self.on_volume(one)),
                            Err(_) => return self.end_all(),
                        }
                    }
                    (SERVER, _) => {
                        if !self.on_server(event.flags) {
                            return self.end_all();
                        }
                    }
                    (number, _) if self.dumps.contains_key(&number) => self.on_dumped(number),
                    (number, CONTROL) => self.on_control(number),
                    (number, _) => self.on_ended(number),
                }
            }
            self.finish_ended();
            let now = Instant::now();
            self.end_late(now);
            self.hold_to_limits(now);
            self.watch_keeper();
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        if !self.ending.is_empty() {
            return Some(Duration::from_millis(1));
        }
        let now = Instant::now();
        let due = self
            .next_due()
            .map(|due| due.saturating_duration_since(now));
        self.next_work(now).into_iter().chain(due).min()
    }

    /// How long until there may be work that nobody waits for.
    fn next_work(&mut self, now: Instant) -> Option<Duration> {
        if now < self.rest_until {
            return Some(self.rest_until - now);
        }
        // A due look at an instance may have ended the wait for events: that is no quiet.
        let quiet = now.saturating_duration_since(self.quiet_since);
        let rest_of = |span: Duration| Some(span.saturating_sub(quiet));
        if self.shortage(now).is_some() || self.workshop.volumes.lacks_one() {
            let since = *self.lacks_since.get_or_insert(now);
            let is_hungry = now.saturating_duration_since(since) >= HUNGER;
            return rest_of(if is_hungry { QUIET_HUNGRY } else { QUIET });
        }
        self.lacks_since = None;
        if self.surplus(now).is_some() {
            return rest_of(Duration::from_millis(100));
        }
        // Demand fades with time alone, so look again while more than the least is parked.
        let parked: usize = self.parked.values().map(Vec::len).sum();
        let is_more = parked > self.workshop.runtimes.rows.len();
        is_more.then(|| rest_of(Duration::from_secs(5))).flatten()
    }

    /// Work that nobody waits for, one piece, once it has been quiet for long enough.
    fn idle(&mut self) {
        let now = Instant::now();
        if self.next_work(now) != Some(Duration::ZERO) {
            return;
        }
        self.quiet_since = now;
        if let Some(row) = self.shortage(now) {
            if self.make(&row, None).is_err() {
                self.rest_until = now + REST;
            }
        } else if self.workshop.volumes.lacks_one() {
            self.workshop.volumes.refill_one();
        } else if let Some(number) = self.surplus(now) {
            self.unpark(number);
            if let Some(sandbox) = self.sandboxes.get_mut(&number) {
                self.workshop.kill(sandbox);
            }
        }
    }

    /// A runtime of which too few are parked or on their way.
    fn shortage(&mut self, now: Instant) -> Option<Rc<RuntimeRow>> {
        let kept_free = FREE_PLACES.min(self.instances_max / 4) as usize + self.crowd.len();
        if self.free_instances() as usize <= kept_free {
            return None;
        }
        let sandboxes = &self.sandboxes;
        let comes = |number: &u64| {
            let sandbox = sandboxes.get(number);
            sandbox.is_some_and(|s| matches!(s.state, State::Preparing(None)))
        };
        self.coming.retain(comes);
        let rows = &self.workshop.runtimes.rows;
        let is_short = |row: &&Rc<RuntimeRow>| {
            let of_row = |number: &&u64| sandboxes.get(number).is_some_and(|s| s.runtime == row.id);
            let have = self.parked.get(&row.id).map_or(0, Vec::len)
                + self.coming.iter().filter(of_row).count();
            have < self.demand.wanted(row.id, rows.len(), now)
        };
        rows.iter().find(is_short).cloned()
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

    fn unpark(&mut self, number: u64) {
        for numbers in self.parked.values_mut() {
            numbers.retain(|parked| *parked != number);
        }
    }

    /// Room in the keeper's socket is news only while something waits for it.
    fn watch_keeper(&mut self) {
        let full = self.workshop.volumes.is_full();
        if full == std::mem::replace(&mut self.keeper_full, full) {
            return;
        }
        let mut wanted = EventFlags::IN;
        wanted.set(EventFlags::OUT, full);
        let data = EventData::new_u64(SERVER << 1 | CONTROL);
        let _ = epoll::modify(&self.epoll, self.workshop.volumes.socket(), data, wanted);
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

/// Self-tests that may fail before this spawner does without start images.
const SELF_TESTS: usize = 3;
/// After so long none is begun: the server waits for its spawners, and a lane without one for calls.
const SELF_TESTS_WITHIN: Duration = Duration::from_secs(5);

/// What `gather` gives, tried again where the self-test fails: a machine under load may be late, and
/// a process may be killed, without images being impossible. A spawner lives for long.
fn persist<T>(mut gather: impl FnMut() -> Result<T, Unsupported>) -> Result<T, Unsupported> {
    let begun = Instant::now();
    let mut tries = 1;
    loop {
        match gather() {
            Err(Unsupported::SelfTest(_))
                if tries < SELF_TESTS && begun.elapsed() < SELF_TESTS_WITHIN =>
            {
                tries += 1;
            }
            done => return done,
        }
    }
}

/// Whether start images work here, seen by doing it.
fn gather_images(
    runtimes: &Runtimes,
    filter: &Program,
    privilege: Privilege,
    uids: &mut Uids,
) -> Result<Means, Unsupported> {
    let uid = uids.take().ok_or(Unsupported::Unprivileged)?;
    let images = persist(|| Means::gather(runtimes, filter, privilege, uid));
    uids.give_back(uid);
    images
}

/// The usual size of `/tmp`, of which some are made ahead.
pub const USUAL_TMP: Mebibytes = Mebibytes(512);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_self_test_says_nothing_and_what_cannot_change_is_asked_once() {
        let late = || Err(Unsupported::SelfTest("thaw: timed out".into()));
        let mut asked = 0;
        let mut at_last = |works_at: usize| {
            asked = 0;
            let found = persist(|| {
                asked += 1;
                if asked == works_at { Ok(asked) } else { late() }
            });
            (found, asked)
        };
        assert_eq!(at_last(1), (Ok(1), 1));
        assert_eq!(at_last(SELF_TESTS), (Ok(SELF_TESTS), SELF_TESTS));
        assert_eq!(at_last(SELF_TESTS + 1), (late(), SELF_TESTS));
        let mut asked = 0;
        let never = persist(|| -> Result<(), _> {
            asked += 1;
            Err(Unsupported::Processor)
        });
        assert_eq!((never, asked), (Err(Unsupported::Processor), 1));
    }
}
