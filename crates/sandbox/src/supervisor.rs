//! The supervisor: forks the spawners, outlives each of them, and outlives the server just long
//! enough to leave nothing behind.
//!
//! ```text
//! server ──socket── supervisor ──fork──▶ spawner 0, spawner 1 …
//!   its end ─▶ spawners end, groups are removed, the supervisor ends
//!   a spawner's end ─▶ its instances die with it (death signal of pid 1), its groups are removed,
//!                      a new one is forked and its socket is sent to the server
//!   the supervisor's end ─▶ spawners and instances die with it, the server reads an end
//! ```
//!
//! Reads one message from the server, "end", and nothing else of it. Refuses to fork spawners in
//! a row that die at once: it rests between them.

use crate::{
    cgroup::{self, Base, Discovery, Role},
    isolate::Privilege,
    network,
    protocol::{Notice, SHUTDOWN},
    spawner::{Expected, LaneOptions, USUAL_TMP, run_lane},
    sys::{
        identity, mounts,
        processes::{self, Fork},
        sockets,
    },
    volumes::VolumeOptions,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

/// What the supervisor is made from.
#[derive(Debug)]
pub struct SupervisorOptions {
    /// Its socket to the server.
    pub socket: OwnedFd,
    /// The server's mount namespace.
    pub host: OwnedFd,
    /// The server, to be moved under the platform's weight.
    pub server_pid: i32,
    /// With or without root.
    pub privilege: Privilege,
    /// The hierarchies.
    pub discovery: Discovery,
    /// One spawner for each.
    pub lanes: u16,
    /// The runtime table, and whose it must be.
    pub table: (PathBuf, u32),
    /// A folder of root's alone.
    pub state_dir: PathBuf,
    /// What a package's descriptor must be.
    pub expected: Expected,
    /// Sandboxes parked in all.
    pub parked: usize,
    /// Volumes made ahead in all.
    pub volumes_ready: usize,
    /// Instances at once in all.
    pub instances_max: u32,
    /// Memory of all guests together.
    pub guests_memory_bytes: u64,
    /// The way out of instances, where the machine has one.
    pub network: Option<network::Node>,
    /// Their connections are led to the server instead.
    pub relayed: bool,
}

/// The steps of the supervisor's set-up, by their number in [`Notice::SetupFailed`].
pub const SETUP_STEPS: [&str; 8] = [
    "supervisor identity",
    "state folder",
    "mount namespace",
    "cgroups",
    "spawner fork",
    "child events",
    "core limit of 1, which a hard limit of 0 forbids (`ulimit -Hc`),",
    "a control group of its own, without processes of others (systemd: Delegate=yes; a container: \
     no process beside it),",
];

/// A spawner that lived shorter than this was not well.
const SHORT_LIFE: Duration = Duration::from_millis(500);

struct LaneSlot {
    /// Pid and descriptor, while it lives.
    live: Option<(i32, OwnedFd)>,
    generation: u32,
    born: Instant,
}

struct Supervisor {
    options: SupervisorOptions,
    base: Base,
    lanes: Vec<LaneSlot>,
}

/// The whole life of the supervisor.
pub fn run_supervisor(mut options: SupervisorOptions) -> ! {
    // Locks, logs and sockets that the server opened before it forked us stay the server's.
    let mut own = vec![
        0,
        1,
        2,
        options.socket.as_raw_fd(),
        options.host.as_raw_fd(),
    ];
    own.extend(options.network.iter().flat_map(network::Node::descriptors));
    let _ = processes::close_all_but(&own);
    let (base, children) = match prepare(&options) {
        Ok(prepared) => prepared,
        Err(failed) => {
            // What cannot be removed here the next start removes.
            let _ = options.network.take().map(network::Node::end);
            refuse(&options.socket, failed)
        }
    };
    let mut supervisor = Supervisor {
        options,
        base,
        lanes: Vec::new(),
    };
    if let Err(failed) = supervisor.fork_lanes() {
        say_failed(&supervisor.options.socket, failed);
        supervisor.end();
        processes::exit(2)
    }
    supervisor.run(&children);
    supervisor.end();
    processes::exit(0)
}

/// The number of a set-up step, and why it failed.
type Failed = (u16, io::Error);

fn refuse(socket: &OwnedFd, failed: Failed) -> ! {
    say_failed(socket, failed);
    processes::exit(2)
}

fn say_failed(socket: &OwnedFd, (step, error): Failed) {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let notice = Notice::SetupFailed { step, errno };
    let _ = sockets::send(socket.as_fd(), &notice.encode(), &[]);
}

/// Everything that comes before the first spawner. Nothing may copy the server's socket here: the
/// copy would live on in the spawners, and the server would not notice the supervisor's end.
fn prepare(options: &SupervisorOptions) -> Result<(Base, OwnedFd), Failed> {
    let at = |step: u16| move |error| (step, error);
    identity::set_name("fh-supervisor");
    identity::new_session().map_err(at(0))?;
    identity::ignore_termination();
    // Without root, /proc/self of what is forked from here would belong to nobody's uid.
    if options.privilege == Privilege::Root {
        identity::not_dumpable().map_err(at(0))?;
    }
    identity::become_subreaper().map_err(at(0))?;
    identity::raise_descriptor_limit().map_err(at(0))?;
    // What a shell or a unit hands down to the server is not the guests' business: files are made
    // for them below, with the modes that are asked for.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    identity::lift_limits();
    // Here, where a hard limit of 0 can still be raised; `isolate::guest` says why 1.
    identity::set_resource(libc::RLIMIT_CORE, 1, 1).map_err(at(6))?;
    for folder in ["fast", "mnt", "volumes"] {
        fs::create_dir_all(options.state_dir.join(folder)).map_err(at(1))?;
    }
    if options.privilege == Privilege::Root {
        mounts::unshare_mounts().map_err(at(2))?;
        mounts::make_private().map_err(at(2))?;
        // Without it starts are slower and nothing else; `doctor` says so.
        let _ = cgroup::favor_fast_moves(
            &options.state_dir.join("fast"),
            u64::from(processes::own_pid().unsigned_abs()),
        );
    }
    let children = processes::child_events().map_err(at(5))?;
    let ours = [options.server_pid, processes::own_pid()];
    let base = Base::create(
        options.discovery.clone(),
        options.guests_memory_bytes,
        &ours,
    )
    .map_err(|error| match error.raw_os_error() {
        Some(libc::EBUSY) => (7, error),
        _ => (3, error),
    })?;
    let weighed = ours.map(|pid| (pid, Role::Cpu));
    // What the privileged side holds for instances, start images above all, is charged to whoever wrote
    // it, and not to be swapped; under v1 that is a hierarchy of its own, where the server stays where it
    // was put.
    let kept = (processes::own_pid(), Role::Memory);
    for (pid, role) in weighed.into_iter().chain([kept]) {
        if let Err(error) = base.join_platform(pid, role) {
            let _ = base.remove();
            return Err((3, error));
        }
    }
    Ok((base, children))
}

/// What a lane has of so many: all lanes together have no more, and none fewer, than that.
fn share(all: usize, lanes: usize, lane: usize) -> usize {
    all / lanes + usize::from(lane < all % lanes)
}

impl Supervisor {
    fn fork_lanes(&mut self) -> Result<(), Failed> {
        for lane in 0..self.options.lanes {
            let slot = self.fork_lane(lane, 1).map_err(|error| (4, error))?;
            self.lanes.push(slot);
        }
        Ok(())
    }

    fn fork_lane(&self, lane: u16, generation: u32) -> io::Result<LaneSlot> {
        let (outer, inner) = sockets::pair()?;
        let lanes = usize::from(self.options.lanes);
        let options = LaneOptions {
            lane,
            generation,
            socket: inner,
            privilege: self.options.privilege,
            host: self.options.host.try_clone()?,
            guests: self.base.guests()?,
            table: self.options.table.clone(),
            scratch: self.options.state_dir.join("mnt"),
            volumes: VolumeOptions {
                folder: self.options.state_dir.join("volumes"),
                usual: USUAL_TMP,
                ready: share(self.options.volumes_ready, lanes, usize::from(lane)),
            },
            expected: self.options.expected,
            parked: self.options.parked.div_ceil(lanes),
            instances_max: self
                .options
                .instances_max
                .div_ceil(u32::from(self.options.lanes)),
            relayed: self.options.relayed,
            network: self
                .options
                .network
                .as_ref()
                .map(|node| node.plan().clone()),
        };
        let supervisor = processes::own_pid();
        match processes::fork_into(0)? {
            Fork::Child => {
                // An orphan's parent is the nearest subreaper, not pid 1: the supervisor is alive,
                // and its death will be signalled, if it is still the parent now.
                if identity::die_with_parent().is_err() || processes::parent() != supervisor {
                    processes::exit(2);
                }
                // Nor may it hold the server's end of its own socket, else it hears no end of it.
                drop(outer);
                self.forget_in_child();
                run_lane(options)
            }
            Fork::Parent(pid, pidfd) => {
                drop(options);
                let notice = Notice::Lane { lane, generation };
                sockets::send(
                    self.options.socket.as_fd(),
                    &notice.encode(),
                    &[outer.as_fd()],
                )?;
                Ok(LaneSlot {
                    live: Some((pid, pidfd)),
                    generation,
                    born: Instant::now(),
                })
            }
        }
    }

    /// A spawner must not hold the supervisor's end of the server's socket: the server would not
    /// notice the supervisor's end.
    fn forget_in_child(&self) {
        processes::close_one(self.options.socket.as_raw_fd());
    }

    /// Until the server ends or says so.
    fn run(&mut self, children: &OwnedFd) {
        loop {
            let network = self.options.network.as_ref();
            let changes = network.map(|node| node.changes().try_clone_to_owned());
            let changes = changes.and_then(Result::ok);
            let mut watched = vec![
                PollFd::new(&self.options.socket, PollFlags::IN),
                PollFd::new(children, PollFlags::IN),
            ];
            watched.extend(changes.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            let soon = Timespec {
                tv_sec: 0,
                tv_nsec: 200_000_000,
            };
            let missing = self.lanes.iter().any(|slot| slot.live.is_none());
            match poll(&mut watched, missing.then_some(&soon)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            // The server first: when it ends, spawners end too, and are not to be replaced.
            if !watched[0].revents().is_empty() {
                let mut packet = [0u8; 8];
                match sockets::receive(self.options.socket.as_fd(), &mut packet, false) {
                    Ok(received) if received.len == 0 || packet[..received.len] == SHUTDOWN => {
                        return;
                    }
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                    _ => {}
                }
            }
            if let Some(node) = &mut self.options.network {
                node.changed();
            }
            let mut sink = [0u8; 1024];
            let _ = rustix::io::read(children, &mut sink);
            self.reap();
            for place in 0..self.lanes.len() {
                self.replace(place);
            }
        }
    }

    /// Reaps whoever ended. Of a spawner's end the server hears once its lane is cleared.
    fn reap(&mut self) {
        while let Some((pid, _)) = processes::reap_any() {
            let of = |slot: &LaneSlot| slot.live.as_ref().is_some_and(|(live, _)| *live == pid);
            if let Some(place) = self.lanes.iter().position(of) {
                self.lanes[place].live = None;
                let (lane, generation) = (place as u16, self.lanes[place].generation);
                let _ = self.base.clear_lane(lane);
                let lost = Notice::LaneLost { lane, generation };
                let _ = sockets::send(self.options.socket.as_fd(), &lost.encode(), &[]);
            }
        }
    }

    /// Forks a new spawner where one is missing, unless the last one was born just now.
    fn replace(&mut self, place: usize) {
        let slot = &self.lanes[place];
        if slot.live.is_some() || slot.born.elapsed() < SHORT_LIFE || self.server_is_gone() {
            return;
        }
        let generation = slot.generation + 1;
        match self.fork_lane(place as u16, generation) {
            Ok(slot) => self.lanes[place] = slot,
            Err(_) => self.lanes[place].born = Instant::now(),
        }
    }

    fn server_is_gone(&self) -> bool {
        let mut one = [PollFd::new(&self.options.socket, PollFlags::RDHUP)];
        let _ = poll(
            &mut one,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        );
        !one[0].revents().is_empty()
    }

    /// Nothing is left after this: no process, no group, no mount.
    fn end(&mut self) {
        // The server closed the spawners' sockets or is gone, so they are ending already; their
        // keepers end after them, and take a moment to unmount.
        let began = Instant::now();
        while processes::has_children() && began.elapsed() < Duration::from_secs(2) {
            while let Some((pid, _)) = processes::reap_any() {
                for slot in &mut self.lanes {
                    slot.live.take_if(|(live, _)| *live == pid);
                }
            }
            if began.elapsed() > Duration::from_millis(500) {
                for (_, pidfd) in self.lanes.iter().filter_map(|slot| slot.live.as_ref()) {
                    let _ = processes::kill(pidfd.as_fd());
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(node) = self.options.network.take()
            && let Err(error) = node.end()
        {
            eprintln!("freehold: could not remove its network rules, the next start will: {error}");
        }
        if let Err(error) = self.base.remove() {
            eprintln!("freehold: could not remove its cgroups, the next start will: {error}");
        }
        let _ = sockets::send(self.options.socket.as_fd(), &Notice::Gone.encode(), &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_share_what_there_is_to_the_last() {
        let check = |all, lanes, expected: &[usize]| {
            let shares: Vec<_> = (0..lanes).map(|lane| share(all, lanes, lane)).collect();
            assert_eq!(shares, expected);
            assert_eq!(shares.iter().sum::<usize>(), all);
        };
        check(64, 1, &[64]);
        check(64, 3, &[22, 21, 21]);
        check(64, 2, &[32, 32]);
        check(2, 4, &[1, 1, 0, 0]);
        check(0, 2, &[0, 0]);
    }
}
