//! From one root process to a platform: fork the supervisor, then give up root.
//!
//! [`launch`] comes first in the life of the server, before any thread and before any secret is
//! in memory, since everything below is a fork of what is there. [`drop_privileges`] comes last
//! before the server listens. Refuses a process with threads, a state folder that others may
//! write, and to go on with a supervisor that could not be set up.

use crate::{
    cgroup,
    isolate::Privilege,
    network::{self, NetworkOptions, Way},
    protocol::{MESSAGE_MAX, Notice, Reply, SHUTDOWN, VERSION},
    spawner::{self, Expected, LANES_MAX},
    supervisor::{self, SupervisorOptions, run_supervisor},
    sys::{
        self, identity,
        processes::{self, Fork},
        sockets,
    },
    table::{TableError, read_table},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::PathBuf,
    time::{Duration, Instant},
};

/// How the platform's privileged side is set up.
#[derive(Debug, Clone)]
pub struct LaunchOptions {
    /// One spawner for each.
    pub cores: u16,
    /// The runtime table; must belong to the caller and be writable by nobody else.
    pub runtime_table: PathBuf,
    /// A folder for the privileged side alone, made if missing: volumes, mount points.
    pub state_dir: PathBuf,
    /// Where packages lie, if all of them lie on one filesystem: descriptors from another one are
    /// then refused.
    pub package_dir: Option<PathBuf>,
    /// Uid of the server once [`drop_privileges`] was called; packages must belong to it.
    pub server_uid: u32,
    /// Its gid.
    pub server_gid: u32,
    /// Sandboxes parked in all.
    pub park_target: usize,
    /// `/tmp` volumes of the usual size made ahead, in all.
    pub volumes_ready: usize,
    /// Instances at once in all, parked ones included.
    pub instances_max: u32,
    /// Memory of all guests together; `None` for what the machine has but an eighth.
    pub guests_memory_bytes: Option<u64>,
    /// The way out of instances; `None` for none.
    pub network: Option<NetworkOptions>,
}

impl LaunchOptions {
    /// The defaults for everything that has one.
    pub fn new(cores: u16, runtime_table: PathBuf, state_dir: PathBuf) -> LaunchOptions {
        LaunchOptions {
            cores,
            runtime_table,
            state_dir,
            package_dir: None,
            server_uid: identity::effective_uid(),
            server_gid: rustix::process::getegid().as_raw(),
            park_target: 64,
            volumes_ready: 64,
            instances_max: 4096,
            guests_memory_bytes: None,
            network: None,
        }
    }
}

/// Why the privileged side could not be set up; nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Something started a thread first.
    #[error(
        "the process has {threads} threads, and only one with a single thread may fork sandboxes"
    )]
    Threads {
        /// How many.
        threads: usize,
    },
    /// More cores than there are uid ranges, or none.
    #[error("{cores} cores were asked for, between 1 and {LANES_MAX} are possible")]
    Cores {
        /// How many.
        cores: u16,
    },
    /// The runtime table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The state folder cannot be used.
    #[error("could not use the state folder {}", path.display())]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A step of the set-up failed.
    #[error("the {who} could not be set up: {step} failed ({errno})")]
    SetUp {
        /// "supervisor", "spawner 0".
        who: String,
        /// Which step.
        step: &'static str,
        /// The errno's name.
        errno: String,
    },
    /// It did not come up in time.
    #[error("the privileged processes were not ready within {waited_s} s")]
    NotReady {
        /// How long it was waited for.
        waited_s: u64,
    },
    /// A call of the server's own failed.
    #[error("could not {action}")]
    Kernel {
        /// What was being tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A spawner's socket, as the supervisor sent it.
#[derive(Debug)]
pub struct LaneSocket {
    pub(crate) lane: u16,
    pub(crate) generation: u32,
    pub(crate) socket: OwnedFd,
}

/// The server's hold on the privileged side. Dropping it ends everything.
#[derive(Debug)]
pub struct SupervisorHandle {
    pub(crate) socket: OwnedFd,
    pub(crate) lanes: Vec<LaneSocket>,
    pub(crate) instances_max: u32,
    pub(crate) guests_memory_bytes: u64,
    network: Result<Way, String>,
    pidfd: OwnedFd,
    pid: i32,
}

const READY_WITHIN: Duration = Duration::from_secs(20);

/// Forks the privileged side and waits until every spawner is ready.
///
/// Errors: [`LaunchError`]; nothing is left behind.
pub fn launch(options: LaunchOptions) -> Result<SupervisorHandle, LaunchError> {
    let kernel = |action| move |source| LaunchError::Kernel { action, source };
    let threads = processes::threads().map_err(kernel("count the threads of the process"))?;
    if threads != 1 {
        return Err(LaunchError::Threads { threads });
    }
    if options.cores == 0 || options.cores > LANES_MAX {
        return Err(LaunchError::Cores {
            cores: options.cores,
        });
    }
    let owner = identity::effective_uid();
    let privilege = if owner == 0 {
        Privilege::Root
    } else {
        Privilege::UserNamespace
    };
    if privilege == Privilege::UserNamespace {
        identity::enter_user_namespace().map_err(kernel(
            "make a user namespace, which this machine may forbid to others than root",
        ))?;
    }
    read_table(&options.runtime_table, owner)?;
    let state_dir = state_dir(&options.state_dir)?;
    let discovery = cgroup::discover(privilege == Privilege::UserNamespace)
        .map_err(kernel("find the cgroup hierarchies"))?;
    cgroup::sweep_stale(&discovery)
        .map_err(kernel("remove the groups of a server that was killed"))?;
    let device = match &options.package_dir {
        Some(dir) => Some(
            fs::metadata(dir)
                .map_err(kernel("look at the package folder"))?
                .dev(),
        ),
        None => None,
    };
    let guests_memory_bytes = options
        .guests_memory_bytes
        .unwrap_or_else(|| memory_total_bytes() / 8 * 7)
        .max(64 << 20);
    let (outer, inner) = sockets::pair().map_err(kernel("make a socket"))?;
    let host = File::open("/proc/self/ns/mnt").map_err(kernel("open the mount namespace"))?;
    let (network, connected) = match connect(options.network, privilege, options.cores) {
        Ok(Some(node)) => (Some(node), Ok(Way::Links)),
        Ok(None) => (None, Ok(Way::Relay)),
        Err(reason) => (None, Err(reason)),
    };
    let supervisor = SupervisorOptions {
        socket: inner,
        host: host.into(),
        server_pid: processes::own_pid(),
        privilege,
        discovery,
        lanes: options.cores,
        table: (absolute(&options.runtime_table), owner),
        state_dir,
        expected: Expected {
            owner: options.server_uid,
            device,
        },
        parked: options.park_target,
        volumes_ready: options.volumes_ready,
        instances_max: options.instances_max,
        guests_memory_bytes,
        network,
        relayed: connected == Ok(Way::Relay),
    };
    match processes::fork_into(0).map_err(kernel("fork the supervisor"))? {
        Fork::Child => {
            drop(outer);
            run_supervisor(supervisor)
        }
        Fork::Parent(pid, pidfd) => {
            drop(supervisor);
            let mut handle = SupervisorHandle {
                socket: outer,
                lanes: Vec::new(),
                instances_max: options.instances_max,
                guests_memory_bytes,
                network: connected,
                pidfd,
                pid,
            };
            handle.wait_ready(options.cores)?;
            Ok(handle)
        }
    }
}

/// The node's part of the machine's network, nothing where the server carries connections itself, or
/// why instances have no network.
fn connect(
    options: Option<NetworkOptions>,
    privilege: Privilege,
    lanes: u16,
) -> Result<Option<network::Node>, String> {
    let options = options.ok_or("the configuration switches it off")?;
    let no_links = match privilege {
        Privilege::UserNamespace => "links need root".to_owned(),
        Privilege::Root => match network::Node::begin(options, lanes) {
            Ok(node) => return Ok(Some(node)),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                format!("{error}: {}", source.unwrap_or_default())
            }
        },
    };
    match network::probe_divert(false) {
        Ok(()) => Ok(None),
        Err(error) => Err(format!(
            "{no_links}; and connections cannot be led to the server: {error}"
        )),
    }
}

fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The state folder, made if missing, of the caller's and closed to everybody else.
fn state_dir(path: &std::path::Path) -> Result<PathBuf, LaunchError> {
    let path = absolute(path);
    let failed = |source| LaunchError::StateDir {
        path: path.clone(),
        source,
    };
    fs::create_dir_all(&path).map_err(failed)?;
    let facts = fs::symlink_metadata(&path).map_err(failed)?;
    if !facts.is_dir() || facts.uid() != identity::effective_uid() {
        return Err(failed(io::ErrorKind::PermissionDenied.into()));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    Ok(path)
}

pub(crate) fn memory_total_bytes() -> u64 {
    meminfo_bytes("MemTotal:")
}

pub(crate) fn meminfo_bytes(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

impl SupervisorHandle {
    /// The supervisor's pid, for `freehold ps` and for tests.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Which way out instances have; why none, for the operator.
    pub fn network(&self) -> Result<Way, &str> {
        self.network.as_ref().copied().map_err(String::as_str)
    }

    /// A copy of a spawner's socket, for tests that drive it by hand.
    #[doc(hidden)]
    pub fn lane_socket(&self, lane: usize) -> io::Result<OwnedFd> {
        self.lanes
            .get(lane)
            .ok_or(io::ErrorKind::NotFound)?
            .socket
            .try_clone()
    }

    fn wait_ready(&mut self, lanes: u16) -> Result<(), LaunchError> {
        let until = Instant::now() + READY_WITHIN;
        let late = || LaunchError::NotReady {
            waited_s: READY_WITHIN.as_secs(),
        };
        while self.lanes.len() < usize::from(lanes) {
            let (packet, mut descriptors) = receive_until(&self.socket, until)?.ok_or_else(late)?;
            match Notice::decode(&packet) {
                Ok(Notice::Lane { lane, generation }) => {
                    let socket = descriptors.pop().ok_or_else(late)?;
                    self.lanes.push(LaneSocket {
                        lane,
                        generation,
                        socket,
                    });
                }
                Ok(Notice::SetupFailed { step, errno }) => {
                    return Err(LaunchError::SetUp {
                        who: "supervisor".into(),
                        step: supervisor::SETUP_STEPS
                            .get(usize::from(step))
                            .unwrap_or(&"a step"),
                        errno: sys::errno_name(errno),
                    });
                }
                _ => return Err(late()),
            }
        }
        for lane in &self.lanes {
            let (packet, _) = receive_until(&lane.socket, until)?.ok_or_else(late)?;
            match Reply::decode(&packet) {
                Ok(Reply::Welcome {
                    version: VERSION, ..
                }) => {}
                Ok(Reply::SetupFailed { step, errno }) => {
                    return Err(LaunchError::SetUp {
                        who: format!("spawner {}", lane.lane),
                        step: spawner::SETUP_STEPS
                            .get(usize::from(step))
                            .unwrap_or(&"a step"),
                        errno: sys::errno_name(errno),
                    });
                }
                _ => return Err(late()),
            }
        }
        Ok(())
    }

    /// Ends everything and waits until nothing is left. Blocks; for a server without instances,
    /// or from a thread that may block.
    pub fn shutdown(mut self, within: Duration) -> Result<(), LaunchError> {
        let kernel = |source| LaunchError::Kernel {
            action: "end the supervisor",
            source,
        };
        let _ = sockets::send(self.socket.as_fd(), &SHUTDOWN, &[]);
        self.lanes.clear();
        wait_gone(&self.pidfd, within).map_err(kernel)
    }

    pub(crate) fn into_parts(self) -> (OwnedFd, OwnedFd, Vec<LaneSocket>) {
        (self.socket, self.pidfd, self.lanes)
    }
}

/// Waits for the end of the process behind `pidfd`, and reaps it.
pub(crate) fn wait_gone(pidfd: &OwnedFd, within: Duration) -> io::Result<()> {
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut one = [PollFd::new(pidfd, PollFlags::IN)];
        let span = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut one, Some(&span)) {
            Ok(0) if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                let _ = processes::reap(pidfd.as_fd());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

type Packet = (Vec<u8>, Vec<OwnedFd>);

fn receive_until(socket: &OwnedFd, until: Instant) -> Result<Option<Packet>, LaunchError> {
    let kernel = |source| LaunchError::Kernel {
        action: "hear from the supervisor",
        source,
    };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut one = [PollFd::new(socket, PollFlags::IN)];
        let span = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut one, Some(&span)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(kernel(error.into())),
        }
        let mut packet = vec![0u8; MESSAGE_MAX];
        let received = sockets::receive(socket.as_fd(), &mut packet, false).map_err(kernel)?;
        packet.truncate(received.len);
        return Ok(Some((packet, received.descriptors)));
    }
}

/// The server gives up root for good: groups, ids, capabilities, no way back, not traceable.
///
/// Before any thread: ids belong to threads. Without root there is nothing to give up but the
/// way to gain.
pub fn drop_privileges(uid: u32, gid: u32) -> Result<(), LaunchError> {
    let kernel = |action| move |source| LaunchError::Kernel { action, source };
    let root = identity::effective_uid() == 0;
    if root {
        identity::bound_capabilities(&[]).map_err(kernel("empty the bounding set"))?;
        identity::clear_groups().map_err(kernel("leave all groups"))?;
        identity::set_ids(uid, gid).map_err(kernel("change the user id"))?;
    }
    // Without root these are what the user namespace gave.
    identity::set_capabilities(&[]).map_err(kernel("drop the capabilities"))?;
    identity::no_new_privileges().map_err(kernel("set no-new-privileges"))?;
    identity::not_dumpable().map_err(kernel("forbid core dumps"))
}
