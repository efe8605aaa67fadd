//! One sandbox from the spawner's side: made, specialised, ended.

use super::{
    exit::{Address, Exit},
    keeper::{Kept, Volumes},
    lane::Shares,
    uids::Uids,
};
use crate::{
    cgroup::{Group, GroupLimits, Guests},
    isolate::{self, Plan, Privilege, Runtimes, run_init},
    network::Link,
    protocol::{Cause, Specialise, Start},
    seccomp::Program,
    start_image::{ImageFile, Means, Unsupported},
    sys::{
        doorstep::Doorstep,
        mounts,
        mounts::Attributes,
        processes::{self, Fork},
        sockets,
    },
};
use freehold_domain::{
    NetworkBytes,
    ids::Mebibytes,
    network::NetworkId,
    ports::InstanceUsage,
    runtime::{RuntimeFamily, RuntimeRow},
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    rc::Rc,
    time::Instant,
};

/// Where a sandbox is in its life.
#[derive(Debug)]
pub enum State {
    /// Pid 2 is not parked yet; a start may be waiting for it.
    Preparing(Option<Waiting>),
    /// Finished and empty.
    Parked,
    /// Waits for the `/tmp` of this start.
    Furnishing(Waiting),
    /// Told to become the runtime.
    Launching(u64),
    /// The runtime was executed.
    Running,
}

/// A start with its descriptors, checked.
#[derive(Debug)]
pub struct Waiting {
    /// What was asked.
    pub start: Start,
    /// The package, a detached read-only mount; one that is booted has none.
    pub package: Option<OwnedFd>,
    /// The sealed block.
    pub block: OwnedFd,
    /// What it is thawed from.
    pub image: Option<ImageFile>,
}

impl Waiting {
    /// Whether a sandbox whose guest has `pid` will do: twins of one process must not have its
    /// pid, or libraries take themselves for it and go on with its random numbers.
    pub fn suits(&self, pid: i32) -> bool {
        let of = |image: &ImageFile| image.key.pid == u64::from(pid.unsigned_abs());
        !self.image.as_ref().is_some_and(of)
    }
}

/// What a booted instance is to become, with its package, checked and mounted.
#[derive(Debug)]
pub struct Specialising {
    /// What was asked.
    pub to: Specialise,
    /// The package, a detached read-only mount.
    pub package: OwnedFd,
}

/// Why a step of the spawner's own failed: its name and the cause.
pub type Failed = (&'static str, io::Error);

/// A sandbox. Its number is the only name that the server knows.
#[derive(Debug)]
pub struct Sandbox {
    /// Row of the runtime table.
    pub runtime: u32,
    /// Pid 1.
    pub pidfd: OwnedFd,
    /// To pid 2, until it has become the runtime.
    pub control: Option<OwnedFd>,
    /// Where it is.
    pub state: State,
    /// Listeners, the read ends of the output, the host's end of the frames socket of a runtime
    /// that speaks frames; until handed out.
    pub io: Vec<OwnedFd>,
    /// Until the package is mounted: an instance that has one still may be specialised.
    pub mount_namespace: Option<OwnedFd>,
    /// Its groups.
    pub group: Group,
    /// Asked for by the server.
    pub destroyed: bool,
    /// What went wrong, by the word of pid 2 or of the spawner: step and errno.
    pub failed: Option<(u16, i32)>,
    /// When it must be parked or running; `None` while it is.
    pub due: Option<Instant>,
    /// Its guest's pid, as that sees it.
    pub pid: i32,
    /// Pid 1's, as the spawner sees it.
    pub init: i32,
    /// Inodes of its output's pipes.
    #[cfg_attr(not(start_images), allow(dead_code))]
    pub output: [u64; 2],
    /// Waits for its `/tmp` to become a revision's.
    pub specialising: Option<Specialising>,
    /// Its memory is being written down.
    pub dumping: bool,
    /// Its guest's uid; pid 1 has the next.
    pub uid: u32,
    /// The limit of its memory, what it has in common with its image included.
    pub memory_bytes: u64,
    /// What it was thawed from counts as its own: see decision 0010.
    pub shares: Option<Shares>,
    /// It was ended for using more than that.
    pub starved: bool,
    /// On the machine's network; `None` where instances have no way out.
    address: Option<Address>,
    status: OwnedFd,
    volume: Option<u64>,
}

/// What all sandboxes of a lane are made from.
pub struct Workshop {
    /// With or without root.
    pub privilege: Privilege,
    /// The runtimes' roots.
    pub runtimes: Runtimes,
    /// The groups' parents.
    pub guests: Guests,
    /// Pid 2's filter.
    pub guest_filter: Rc<Program>,
    /// The same, of a runtime that start images are taken of.
    pub carried_filter: Rc<Program>,
    /// Pid 1's filter.
    pub init_filter: Rc<Program>,
    /// `/tmp`s.
    pub volumes: Volumes,
    /// What start images need, or why there are none.
    pub images: Result<Means, Unsupported>,
    /// Where what a sandbox is to have lies as it is forked.
    pub doorstep: Doorstep,
    /// Free uids.
    pub uids: Uids,
    /// First part of the groups' names, `LANE.GENERATION.`.
    pub prefix: String,
    /// The limits of each runtime's last start: most likely those of its next one too.
    pub usual: HashMap<u32, GroupLimits>,
    /// The way out, where the machine has one.
    pub network: Option<Exit>,
    /// Their connections are led to the server instead.
    pub relayed: bool,
}

impl Workshop {
    /// Forks a sandbox of `row`; it reports on its control socket once it is parked.
    pub fn make(&mut self, number: u64, row: &Rc<RuntimeRow>) -> Result<Sandbox, Failed> {
        let uid = self
            .uids
            .take()
            .ok_or(("fork", io::Error::from_raw_os_error(libc::EUSERS)))?;
        let link = self.network.as_mut().map(Exit::take).transpose();
        let made = link.map_err(|error| ("network", error)).and_then(|link| {
            let (address, link) = link.unzip();
            match (self.make_as(number, row, uid, link), address) {
                (Ok(sandbox), address) => Ok(Sandbox { address, ..sandbox }),
                (Err(error), Some(address)) => {
                    if let Some(network) = &mut self.network {
                        network.leave(address);
                    }
                    Err(error)
                }
                (Err(error), None) => Err(error),
            }
        });
        if made.is_err() {
            self.uids.give_back(uid);
        }
        made
    }

    fn make_as(
        &mut self,
        number: u64,
        row: &Rc<RuntimeRow>,
        uid: u32,
        link: Option<Link>,
    ) -> Result<Sandbox, Failed> {
        let pipes = |error: io::Error| ("pipes", error);
        let (control, inner_control) = sockets::pair().map_err(pipes)?;
        let (status, inner_status) = pipe().map_err(pipes)?;
        let (stdout, inner_stdout) = pipe().map_err(pipes)?;
        let (stderr, inner_stderr) = pipe().map_err(pipes)?;
        let (frames, inner_frames) = match row.family.speaks_frames() {
            true => sockets::stream_pair().map(|(a, b)| (Some(a), Some(b))),
            false => Ok((None, None)),
        }
        .map_err(pipes)?;
        if self.privilege == Privilege::Root {
            // So that the guest may open /dev/stdout, which is a pipe made by root.
            for pipe in [&inner_stdout, &inner_stderr] {
                let (user, group) = (
                    rustix::fs::Uid::from_raw(uid),
                    rustix::fs::Gid::from_raw(uid),
                );
                rustix::fs::fchown(pipe, Some(user), Some(group)).map_err(|e| pipes(e.into()))?;
            }
        }
        let inode = |pipe: &OwnedFd| rustix::fs::fstat(pipe).map(|facts| facts.st_ino);
        let output = match (inode(&inner_stdout), inode(&inner_stderr)) {
            (Ok(out), Ok(err)) => [out, err],
            (Err(error), _) | (_, Err(error)) => return Err(pipes(error.into())),
        };
        let name = format!("{}{number}", self.prefix);
        let group = self
            .guests
            .create(&name)
            .map_err(|error| ("cgroup", error))?;
        let (carried, prepared) = (self.filter_of(row.family), Rc::clone(&self.init_filter));
        let forked = group.doors().and_then(|doors| {
            let step = &mut self.doorstep;
            let [out, err] = [inner_stdout, inner_stderr];
            let plan = Plan {
                privilege: self.privilege,
                root: self.runtimes.root(row.id),
                runtime: Rc::clone(row),
                doors: doors
                    .into_iter()
                    .map(|door| step.lay(door))
                    .collect::<io::Result<_>>()?,
                control: step.lay(inner_control)?,
                status: step.lay(inner_status)?,
                output: [step.lay(out)?, step.lay(err)?],
                frames: inner_frames.map(|frames| step.lay(frames)).transpose()?,
                guest_id: uid,
                init_id: uid + 1,
                guest_pid: guest_pid(number),
                guest_filter: carried,
                init_filter: prepared,
                link: link
                    .map(|link| {
                        let host = step.lay(link.host)?;
                        io::Result::Ok(Link { host, ..link })
                    })
                    .transpose()?,
                relayed: self.relayed,
                listeners: Vec::new(),
                mount_namespace: None,
            };
            match self.doorstep.fork(isolate::namespace_flags())? {
                Fork::Child => run_init(plan),
                Fork::Parent(pid, pidfd) => Ok((pid, pidfd)),
            }
        });
        // The plan is gone, and with it what lay there.
        let forked = self.doorstep.clear().and(forked);
        match forked {
            Ok((init, pidfd)) => Ok(Sandbox {
                runtime: row.id,
                pidfd,
                control: Some(control),
                state: State::Preparing(None),
                io: [stdout, stderr].into_iter().chain(frames).collect(),
                mount_namespace: None,
                group,
                destroyed: false,
                failed: None,
                due: None,
                pid: guest_pid(number),
                init,
                output,
                specialising: None,
                dumping: false,
                uid,
                memory_bytes: 0,
                shares: None,
                starved: false,
                address: None,
                status,
                volume: None,
            }),
            Err(error) => {
                let _ = group.remove(&self.guests);
                Err(("fork", error))
            }
        }
    }

    /// A guest's filter: threads keep Node and the JVM out of images, so that what images forbid
    /// is forbidden to Python alone.
    fn filter_of(&self, family: RuntimeFamily) -> Rc<Program> {
        match family {
            RuntimeFamily::Python => Rc::clone(&self.carried_filter),
            _ => Rc::clone(&self.guest_filter),
        }
    }

    /// Gives a sandbox that is about to be parked the limits that its start will most likely ask
    /// for, so that only those that differ are left to it. What is parked has no limits without
    /// this, so a failure changes nothing.
    pub fn limit_ahead(&self, sandbox: &mut Sandbox) {
        if let Some(limits) = self.usual.get(&sandbox.runtime) {
            let _ = sandbox.group.limit(&self.guests, limits);
        }
    }

    /// Whoever it becomes can be given a policy: it is about to be parked.
    pub fn enter_network(&self, sandbox: &mut Sandbox) -> io::Result<()> {
        match (&self.network, &mut sandbox.address) {
            (Some(network), Some(address)) => network.enter(address, sandbox.init),
            _ => Ok(()),
        }
    }

    /// Whom it reaches from here on. Without a way out, whatever the policy, nobody.
    fn bind(&self, sandbox: &mut Sandbox, network: u32) -> Result<(), Failed> {
        let id = NetworkId(u16::try_from(network).unwrap_or(u16::MAX));
        match (&self.network, &mut sandbox.address) {
            (Some(network), Some(address)) => network.bind(address, id),
            _ => Ok(()),
        }
    }

    /// Makes a parked sandbox this start's: limits, `/tmp` and package from outside, then one
    /// message to pid 2. Without a package it keeps its mount namespace's name, to be specialised.
    pub fn launch(
        &mut self,
        sandbox: &mut Sandbox,
        waiting: &Waiting,
        kept: Option<Kept>,
    ) -> Result<(), Failed> {
        sandbox.volume = kept.as_ref().map(|kept| kept.id);
        let start = &waiting.start;
        if !waiting.suits(sandbox.pid) {
            return Err(("thaw_image", io::Error::from_raw_os_error(libc::EEXIST)));
        }
        sandbox.memory_bytes = Mebibytes(start.memory_mib).bytes();
        let image = waiting.image.as_ref();
        sandbox.shares = image.map(|image| Shares::all_of(image.key.image_len));
        let limits = GroupLimits {
            memory_bytes: sandbox.own_memory_bytes(),
            pids: start.pids,
            cpu_weight: start.cpu_weight,
            cpu_quota_us: (start.cpu_quota_us > 0).then_some(start.cpu_quota_us),
        };
        sandbox
            .group
            .limit(&self.guests, &limits)
            .map_err(|error| ("limits", error))?;
        self.usual.insert(sandbox.runtime, limits);
        self.bind(sandbox, start.network)?;
        if let (Some(tmp), Some(package)) = (kept, &waiting.package) {
            self.furnish(sandbox, tmp.mount.as_fd(), package.as_fd())?;
        }
        // Neither is the package's fault: pid 2 died while it was parked.
        let lost = || ("lost", io::Error::from_raw_os_error(libc::EPROTO));
        let control = sandbox.control.as_ref().ok_or_else(lost)?;
        let mut descriptors = vec![waiting.block.as_fd()];
        if let Some(image) = &waiting.image {
            let images = self.images.as_ref().map_err(|_| lost())?;
            descriptors.extend([image.file.as_fd(), images.restorer()]);
        }
        let packet = start.descriptors.to_le_bytes();
        sockets::send(control.as_fd(), &packet, &descriptors).map_err(|error| ("lost", error))?;
        sandbox.state = State::Launching(start.token);
        Ok(())
    }

    /// Gives a booted instance what a revision's has.
    pub fn specialise(
        &mut self,
        sandbox: &mut Sandbox,
        to: &Specialising,
        kept: Kept,
    ) -> Result<(), Failed> {
        sandbox.volume = Some(kept.id);
        sandbox.memory_bytes = Mebibytes(to.to.memory_mib).bytes();
        let limits = GroupLimits {
            memory_bytes: sandbox.own_memory_bytes(),
            pids: to.to.pids,
            cpu_weight: to.to.cpu_weight,
            cpu_quota_us: (to.to.cpu_quota_us > 0).then_some(to.to.cpu_quota_us),
        };
        sandbox
            .group
            .limit(&self.guests, &limits)
            .map_err(|error| ("limits", error))?;
        self.bind(sandbox, to.to.network)?;
        self.furnish(sandbox, kept.mount.as_fd(), to.package.as_fd())
    }

    /// `/tmp` and package, in the sandbox's own mount namespace. No tenant code has run in there
    /// yet, so a path resolves to what we put there.
    fn furnish(
        &self,
        sandbox: &mut Sandbox,
        tmp: BorrowedFd<'_>,
        package: BorrowedFd<'_>,
    ) -> Result<(), Failed> {
        let namespace = sandbox.mount_namespace.take();
        let namespace = namespace.ok_or(("package", io::Error::from_raw_os_error(libc::EPROTO)))?;
        self.runtimes
            .inside(namespace.as_fd(), || {
                mounts::attach(tmp, Path::new("/tmp")).map_err(|error| ("volume", error))?;
                mounts::attach(package, Path::new("/var/task")).map_err(|error| ("package", error))
            })
            .map_err(|error| ("package", error))?
    }

    /// A detached, read-only copy of the package's mount.
    pub fn package_mount(&self, package: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        // A descriptor's mount can be cloned only from the namespace it is of: the server's.
        let mount = self.runtimes.on_host(|| mounts::clone_mount(package))??;
        let sealed = Attributes::READ_ONLY
            .and(Attributes::NO_SUID)
            .and(Attributes::NO_DEV);
        mounts::restrict_detached(mount.as_fd(), sealed)?;
        Ok(mount)
    }

    /// Ends every process of a sandbox; its pidfd tells when.
    pub fn kill(&self, sandbox: &mut Sandbox) {
        // What it has in common with its image is not known of a dead one.
        self.count(sandbox);
        let _ = processes::kill(sandbox.pidfd.as_fd());
        sandbox.group.kill(&self.guests);
    }

    /// After pid 1 was reaped: the last figures, and everything given back. `Err` while a group
    /// still has a member, to be tried again.
    pub fn finish(&mut self, sandbox: &mut Sandbox) -> io::Result<(Cause, i32, InstanceUsage)> {
        let usage = self.last_usage(sandbox);
        let end = sandbox.end(&usage);
        sandbox.group.remove(&self.guests)?;
        if let (Some(network), Some(address)) = (&mut self.network, sandbox.address.take()) {
            network.leave(address);
        }
        if let Some(volume) = sandbox.volume.take() {
            self.volumes.end(volume);
        }
        self.uids.give_back(sandbox.uid);
        Ok((end.0, end.1, usage))
    }
}

/// Pids of guests, from the first that is free: neighbours in time differ.
const GUEST_PIDS: std::ops::Range<i32> = 2..isolate::FIRST_CHILD_PID - 1;

/// The pid, inside, of the guest of the sandbox `number`.
pub fn guest_pid(number: u64) -> i32 {
    let count = u64::from(GUEST_PIDS.len() as u32);
    GUEST_PIDS.start + (number % count) as i32
}

impl Sandbox {
    /// What went over its link so far, also once it has ended.
    pub fn traffic(&self) -> NetworkBytes {
        self.address
            .as_ref()
            .map_or_else(NetworkBytes::default, Address::traffic)
    }

    /// What ended it, from the status that pid 1 left.
    fn end(&self, usage: &InstanceUsage) -> (Cause, i32) {
        let mut bytes = [0u8; 4];
        let left = self.status.try_clone();
        let left = left.and_then(|status| File::from(status).read_exact(&mut bytes));
        let status = left.ok().map(|()| i32::from_le_bytes(bytes));
        cause_of_end(status, self.destroyed, usage.oom_kills)
    }
}

/// The status that pid 1 left decides: a runtime that had ended when the order came to destroy it
/// has ended by itself, and what ended it is what its caller is told.
fn cause_of_end(status: Option<i32>, destroyed: bool, oom_kills: u64) -> (Cause, i32) {
    let signal = status.map_or(libc::SIGKILL, |status| status & 0x7f);
    match status {
        None if destroyed => (Cause::Destroyed, 0),
        Some(status) if signal == 0 => (Cause::Exited, status >> 8 & 0xff),
        _ if signal != libc::SIGKILL => (Cause::Signaled, signal),
        _ if oom_kills > 0 => (Cause::OutOfMemory, signal),
        _ if destroyed => (Cause::Destroyed, 0),
        _ => (Cause::Signaled, signal),
    }
}

/// A pipe, close-on-exec; reading never waits.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Option<i32> = Some(libc::SIGKILL);

    #[test]
    fn an_end_before_the_order_to_destroy_is_its_own() {
        for destroyed in [false, true] {
            let end = |status, oom_kills| cause_of_end(status, destroyed, oom_kills);
            assert_eq!(end(Some(7 << 8), 0), (Cause::Exited, 7));
            assert_eq!(end(Some(0), 0), (Cause::Exited, 0));
            // One of its children may have been killed for memory; it returned all the same.
            assert_eq!(end(Some(1 << 8), 1), (Cause::Exited, 1));
            assert_eq!(
                end(Some(libc::SIGSEGV | 0x80), 0),
                (Cause::Signaled, libc::SIGSEGV)
            );
            assert_eq!(end(KILLED, 1), (Cause::OutOfMemory, libc::SIGKILL));
        }
    }

    #[test]
    fn destroyed_is_what_left_no_status_or_was_killed_by_the_order() {
        assert_eq!(cause_of_end(None, true, 0), (Cause::Destroyed, 0));
        assert_eq!(cause_of_end(None, true, 3), (Cause::Destroyed, 0));
        assert_eq!(cause_of_end(KILLED, true, 0), (Cause::Destroyed, 0));
        let killed = (Cause::Signaled, libc::SIGKILL);
        assert_eq!(cause_of_end(KILLED, false, 0), killed);
        assert_eq!(cause_of_end(None, false, 0), killed);
        let starved = (Cause::OutOfMemory, libc::SIGKILL);
        assert_eq!(cause_of_end(None, false, 1), starved);
    }
}
