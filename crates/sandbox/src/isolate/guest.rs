//! Pid 2 of a sandbox: drops everything, installs the filter, waits for one message, becomes the
//! runtime.
//!
//! ```text
//! GUEST_STEPS ─▶ pid 1 has no privilege ─▶ Ready (listeners, mount namespace) ─▶ parked
//!             ─▶ Go (block) ─▶ START_STEPS ─▶ exec of the runtime, or of the restorer
//! ```
//!
//! A closed control socket without a word tells the spawner that the exec happened: the socket is
//! close-on-exec. Refuses any second message, and a block that is not one; both end it.

use super::{Plan, Step, init::Forked, run_all, step_number};
use crate::{
    block::{self, Block},
    protocol::BLOCK_MAX,
    start_image::failed_stage,
    sys::{filter, identity, processes, restorer::CONTROL_DESCRIPTOR, sockets},
};
use freehold_domain::{ports::FRAMES_DESCRIPTOR, runtime::RuntimeFamily};
use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// The first number in pid 2 after the standard ones.
const FIRST: i32 = 3;
const _: () = assert!(FIRST == FRAMES_DESCRIPTOR);
/// Tells a runtime that its end of the frames socket is there, and at which number.
const FRAMES_VARIABLE: &str = "_FREEHOLD_FRAMES";

/// The control socket's number in pid 2: behind the frames socket, where there is one.
fn control_number(plan: &Plan) -> i32 {
    FIRST + i32::from(plan.frames.is_some())
}

/// What a parked process says: ready, or the step that failed and the errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Parked; carries the sockets of `Plan::listeners` and the mount namespace.
    Parked,
    /// Ends.
    Failed {
        /// Number of the step.
        step: u16,
        /// Why.
        errno: i32,
    },
}

impl Ready {
    /// The packet.
    pub fn encode(self) -> [u8; 7] {
        let mut packet = [0u8; 7];
        if let Self::Failed { step, errno } = self {
            packet[0] = 1;
            packet[1..3].copy_from_slice(&step.to_le_bytes());
            packet[3..].copy_from_slice(&errno.to_le_bytes());
        }
        packet
    }

    /// The message in a packet; a packet of another form is a failure like any other.
    pub fn decode(packet: &[u8]) -> Self {
        match packet {
            [0, ..] if packet.len() == 7 => Self::Parked,
            [1, a, b, rest @ ..] if rest.len() == 4 => Self::Failed {
                step: u16::from_le_bytes([*a, *b]),
                errno: i32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]),
            },
            other => match failed_stage(other) {
                Some((stage, errno)) => Self::Failed {
                    step: step_number(stage),
                    errno,
                },
                None => Self::Failed {
                    step: u16::MAX,
                    errno: libc::EPROTO,
                },
            },
        }
    }
}

/// The one message to a parked process; carries the block, and for a thaw the image and the
/// restorer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Go {
    /// Descriptors that it may have.
    pub descriptors: u32,
}

pub(super) const GUEST_STEPS: [Step<Forked>; 11] = [
    Step {
        name: "descriptors",
        run: arrange,
    },
    Step {
        name: "session",
        run: |_| identity::new_session(),
    },
    Step {
        name: "signals",
        run: |_| identity::default_signals(),
    },
    Step {
        name: "resources",
        run: limit_resources,
    },
    // Bounding set before the uid, uid before the capabilities.
    Step {
        name: "bounding_set",
        run: |_| identity::bound_capabilities(&[]),
    },
    Step {
        name: "groups",
        run: |guest| super::init::drop_groups(guest.plan.privilege),
    },
    Step {
        name: "ids",
        run: |guest| super::init::drop_ids(guest.plan.privilege, guest.plan.guest_id),
    },
    Step {
        name: "capabilities",
        run: |_| identity::set_capabilities(&[]),
    },
    Step {
        name: "not_dumpable",
        run: |_| identity::not_dumpable(),
    },
    Step {
        name: "no_new_privileges",
        run: |_| identity::no_new_privileges(),
    },
    // Last, with privileges gone: nothing later needs a closed call.
    Step {
        name: "filter",
        run: |guest| filter::install(&guest.plan.guest_filter),
    },
];

/// What a start changes in the parked process.
pub(super) struct Starting {
    go: Go,
    block: OwnedFd,
    read: Option<Block>,
}

pub(super) const START_STEPS: [Step<Starting>; 3] = [
    Step {
        name: "descriptor_limit",
        run: |s| identity::limit_resource(libc::RLIMIT_NOFILE, s.go.descriptors.into()),
    },
    // Only now: the package was mounted after this process was parked.
    Step {
        name: "working_folder",
        run: |_| std::env::set_current_dir("/var/task"),
    },
    Step {
        name: "block",
        run: read_block,
    },
];

/// 0 reads nothing, 1 and 2 are the pipes, then comes the frames socket of a runtime that speaks
/// frames: these the runtime inherits. After them the control socket, three that leave with
/// [`Ready`], and the gate.
fn arrange(guest: &mut Forked) -> io::Result<()> {
    let plan = &guest.plan;
    let null = File::open("/dev/null")?;
    let mut wanted = vec![
        null.as_raw_fd(),
        plan.output[0].as_raw_fd(),
        plan.output[1].as_raw_fd(),
    ];
    wanted.extend(plan.frames.iter().map(AsRawFd::as_raw_fd));
    let inherited = wanted.len();
    wanted.push(plan.control.as_raw_fd());
    wanted.extend(plan.listeners.iter().map(AsRawFd::as_raw_fd));
    wanted.extend(plan.mount_namespace.iter().map(AsRawFd::as_raw_fd));
    wanted.push(guest.gate.as_raw_fd());
    processes::arrange_descriptors(&wanted, inherited)?;
    // Their numbers now mean something else: the old owners must not close them.
    std::mem::forget(null);
    Ok(())
}

fn limit_resources(_: &mut Forked) -> io::Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // 1, not 0: a host whose core_pattern is a pipe ignores 0 and would run its handler, as root,
    // on a guest's crash; of 1 the kernel makes no core at all then. Exactly 1 or no guest: the
    // supervisor raised a lower limit, and the filter keeps the guest from setting another.
    identity::set_resource(libc::RLIMIT_CORE, 1, 1)?;
    // As on Lambda, whatever the server was started with. Of the rest the supervisor took the
    // limits away.
    identity::limit_softly(libc::RLIMIT_STACK, 8 << 20)?;
    identity::limit_resource(libc::RLIMIT_NICE, 0)?;
    identity::limit_resource(libc::RLIMIT_RTPRIO, 0)?;
    identity::limit_resource(libc::RLIMIT_MEMLOCK, 8 << 20)?;
    identity::limit_resource(libc::RLIMIT_MSGQUEUE, 819_200)?;
    identity::limit_resource(libc::RLIMIT_SIGPENDING, 4096)
}

fn read_block(starting: &mut Starting) -> io::Result<()> {
    let mut bytes = Vec::new();
    let file = File::from(starting.block.try_clone()?);
    // The descriptor's offset stands where the writer left it.
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    file.take(BLOCK_MAX + 1).read_to_end(&mut bytes)?;
    let block = block::decode(&bytes).map_err(|_| io::Error::from_raw_os_error(libc::EPROTO))?;
    starting.read = Some(block);
    Ok(())
}

/// Tells the spawner which step failed.
pub(super) fn report_failure(control: BorrowedFd<'_>, name: &str, error: &io::Error) {
    let failed = Ready::Failed {
        step: step_number(name),
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    };
    let _ = sockets::send(control, &failed.encode(), &[]);
}

/// The whole life of pid 2 until it is somebody else's.
pub(super) fn run_guest(mut guest: Forked) -> ! {
    let spare = guest.plan.control.as_fd().try_clone_to_owned();
    let carried = guest.plan.listeners.len() + guest.plan.mount_namespace.iter().count();
    if let Err((name, error)) = run_all(&GUEST_STEPS, &mut guest) {
        let control = match (name, spare) {
            ("descriptors", Ok(spare)) => spare,
            _ => processes::arranged(control_number(&guest.plan)),
        };
        report_failure(control.as_fd(), name, &error);
        processes::exit(1);
    }
    let control = processes::arranged(control_number(&guest.plan));
    let failure = park(&control, carried as i32, &guest.plan);
    report_failure(control.as_fd(), failure.0, &failure.1);
    processes::exit(1)
}

fn park(control: &OwnedFd, carried: i32, plan: &Plan) -> (&'static str, io::Error) {
    // Pid 1 closes its end when its own privileges are gone and its filter is in: no byte of a
    // tenant's is read, let alone run, beside a privileged one. If it fails, this process ends
    // with it, since it is pid 1.
    let first = control.as_raw_fd() + 1;
    let gate = File::from(processes::arranged(first + carried));
    if let Err(error) = (&gate).read_to_end(&mut Vec::new()) {
        return ("lost", error);
    }
    drop(gate);
    let leaving: Vec<OwnedFd> = (first..first + carried).map(processes::arranged).collect();
    let borrowed: Vec<BorrowedFd<'_>> = leaving.iter().map(AsFd::as_fd).collect();
    if let Err(error) = sockets::send(control.as_fd(), &Ready::Parked.encode(), &borrowed) {
        return ("lost", error);
    }
    drop(leaving);
    let mut packet = [0u8; 8];
    let received = match sockets::receive(control.as_fd(), &mut packet, true) {
        // The spawner closed the socket: this sandbox is not needed any more.
        Ok(received) if received.len == 0 => processes::exit(0),
        Ok(received) => received,
        Err(error) => return ("lost", error),
    };
    let mut descriptors = received.descriptors.into_iter();
    let (4, Some(block)) = (received.len, descriptors.next()) else {
        return ("lost", io::Error::from_raw_os_error(libc::EPROTO));
    };
    let image = descriptors.next().zip(descriptors.next());
    let go = Go {
        descriptors: u32::from_le_bytes([packet[0], packet[1], packet[2], packet[3]]),
    };
    let mut starting = Starting {
        go,
        block,
        read: None,
    };
    if let Err(failed) = run_all(&START_STEPS, &mut starting) {
        return failed;
    }
    let Starting {
        read: Some(read),
        block,
        ..
    } = starting
    else {
        return ("block", io::Error::from_raw_os_error(libc::EPROTO));
    };
    drop(block);
    match image {
        None => ("exec", execute(plan, read)),
        Some((image, restorer)) => ("thaw_image", thaw(plan, control, &image, &restorer)),
    }
}

/// Becomes what is in `image`, by way of the restorer: nothing of a spawner's memory is left then.
/// The restorer has the control socket until it is done, and says on it what failed.
fn thaw(plan: &Plan, control: &OwnedFd, image: &OwnedFd, restorer: &OwnedFd) -> io::Error {
    // What is in an image waits for a frame.
    if plan.frames.is_none() {
        return io::Error::from_raw_os_error(libc::EINVAL);
    }
    let last = CONTROL_DESCRIPTOR + 1;
    let wanted = [
        0,
        1,
        2,
        FRAMES_DESCRIPTOR,
        image.as_raw_fd(),
        control.as_raw_fd(),
        restorer.as_raw_fd(),
    ];
    let arranged = processes::arrange_descriptors(&wanted, last as usize);
    let error = match arranged {
        Ok(()) => {
            let restorer = processes::arranged(last);
            let argv = [CString::new(plan.runtime.name.as_str()).unwrap_or_default()];
            processes::execute_file(restorer.as_fd(), &argv, &[])
        }
        Err(error) => error,
    };
    // The numbers of before may mean something else by now, so nobody else gets to use them.
    report_failure(
        processes::arranged(CONTROL_DESCRIPTOR).as_fd(),
        "thaw_image",
        &error,
    );
    processes::exit(1)
}

/// Where a package brings its own program, the first of these that exists is it.
const BOOTSTRAPS: [&str; 2] = ["/var/task/bootstrap", "/opt/bootstrap"];

fn execute(plan: &Plan, block: Block) -> io::Error {
    let runtime = &plan.runtime;
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let mut argv: Vec<CString> = runtime.argv.iter().map(|arg| text(arg)).collect();
    if runtime.family == RuntimeFamily::Provided {
        let found = BOOTSTRAPS
            .iter()
            .find(|path| std::path::Path::new(path).exists());
        argv.splice(
            0..argv.len().min(1),
            [text(found.unwrap_or(&BOOTSTRAPS[0]))],
        );
    }
    argv.extend(block.args);
    let Some(path) = argv.first().cloned() else {
        return io::Error::from_raw_os_error(libc::ENOENT);
    };
    let own = |name: &CString| !block.env.iter().any(|(replacing, _)| replacing == name);
    let base = runtime
        .env
        .iter()
        .map(|(name, value)| (text(name), text(value)));
    let frames = plan
        .frames
        .is_some()
        .then(|| (text(FRAMES_VARIABLE), text(&FRAMES_DESCRIPTOR.to_string())));
    let env: Vec<CString> = base
        .filter(|(name, _)| own(name))
        .chain(block.env.iter().cloned())
        .chain(frames)
        .map(|(name, value)| {
            let mut both = name.into_bytes();
            both.push(b'=');
            both.extend_from_slice(value.as_bytes());
            CString::new(both).unwrap_or_default()
        })
        .collect();
    processes::execute(&path, &argv, &env)
}
