//! Pid 1 of a sandbox: sets everything up that needs privileges, forks pid 2, gives up the
//! privileges, reaps, and ends when pid 2 ends.
//!
//! Tenant code is never pid 1, so signals and orphans behave as on Lambda, and the tenant cannot
//! signal this process, which has another uid. Refuses to live longer than pid 2 or the spawner.

use super::{NAMESPACES, Privilege, Step, guest, left_out, run_all};
use crate::{
    network::{self, Link},
    seccomp::Program,
    sys::{
        filter, identity, mounts,
        mounts::Attributes,
        processes::{self, Fork},
        sockets,
    },
};
use freehold_domain::{
    ports::{NAMES_ADDRESS, PLATFORM_ADDRESS, RELAY_ADDRESS, RUNTIME_API_ADDRESS},
    runtime::RuntimeRow,
};
use std::{
    fs::File,
    io::{self, Write},
    net::{TcpListener, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    rc::Rc,
};

/// Everything that pid 1 and pid 2 need, made by the spawner before it forks.
pub struct Plan {
    /// With or without root.
    pub privilege: Privilege,
    /// The runtime's root in the spawner's mount namespace.
    pub root: PathBuf,
    /// The runtime.
    pub runtime: Rc<RuntimeRow>,
    /// Doors of the instance's groups.
    pub doors: Vec<OwnedFd>,
    /// Pid 2's end of its control socket.
    pub control: OwnedFd,
    /// Where pid 1 leaves pid 2's wait status.
    pub status: OwnedFd,
    /// Write ends of the guest's output.
    pub output: [OwnedFd; 2],
    /// The guest's end of the frames socket, for a runtime that speaks frames.
    pub frames: Option<OwnedFd>,
    /// Pid 2's uid and gid.
    pub guest_id: u32,
    /// Pid 1's uid and gid.
    pub init_id: u32,
    /// Pid 2's pid, as it sees it: not always 2, since what is thawed must have another than what
    /// the image was taken of. Libraries take the same pid for the same process, and do not make
    /// their random numbers anew.
    pub guest_pid: i32,
    /// Pid 2's filter.
    pub guest_filter: Rc<Program>,
    /// Pid 1's filter.
    pub init_filter: Rc<Program>,
    /// The way out, where instances have one; gone once it is made.
    pub link: Option<Link>,
    /// Connections beyond loopback are led to the server.
    pub relayed: bool,
    /// Made by the steps: the two listeners, the socket for names, the listener for what is led to it.
    pub listeners: Vec<OwnedFd>,
    /// Made by the steps: this sandbox's mount namespace.
    pub mount_namespace: Option<OwnedFd>,
}

/// What each side of the second fork works on.
pub(super) struct Forked {
    pub(super) plan: Plan,
    /// Pid 1 has the end to write to and closes it once it is as harmless as it gets; pid 2 reads
    /// the other, and is not ready before that.
    pub(super) gate: OwnedFd,
}

/// The flags to fork pid 1 with.
pub fn namespace_flags() -> u64 {
    let wanted = NAMESPACES.iter().filter(|(name, _)| !left_out(name));
    wanted.fold(0, |flags, (_, flag)| flags | *flag as u64)
}

pub(super) const INIT_STEPS: [Step<Plan>; 14] = [
    Step {
        name: "die_with_spawner",
        run: |_| identity::die_with_parent(),
    },
    // The first act that counts, so that all later memory is charged right; pid 2 inherits.
    Step {
        name: "join_cgroups",
        run: join_cgroups,
    },
    // After the join, else /proc/self/cgroup shows the host's names.
    Step {
        name: "namespace_cgroup",
        run: |_| mounts::unshare(libc::CLONE_NEWCGROUP),
    },
    Step {
        name: "loopback",
        run: |_| sockets::raise_loopback(),
    },
    Step {
        name: "link",
        run: |plan| match (plan.link.take(), plan.relayed) {
            (Some(link), _) => link.connect(),
            (None, true) => network::divert(),
            (None, false) => Ok(()),
        },
    },
    Step {
        name: "listeners",
        run: make_listeners,
    },
    // In a user namespace a new proc may be mounted only while another, fully visible one is in
    // sight: before the old root goes.
    Step {
        name: "mount_proc",
        run: mount_proc,
    },
    Step {
        name: "keep_mount_namespace",
        run: keep_mount_namespace,
    },
    Step {
        name: "offer_to_oom_killer",
        run: offer_to_oom_killer,
    },
    Step {
        name: "read_only_proc",
        run: read_only_proc,
    },
    Step {
        name: "mount_shm",
        run: mount_shm,
    },
    Step {
        name: "name_user",
        run: name_user,
    },
    Step {
        name: "pivot_root",
        run: |plan| mounts::pivot(&plan.root),
    },
    Step {
        name: "host_name",
        run: |_| identity::set_host_name("localhost"),
    },
];

pub(super) const REAPER_STEPS: [Step<Forked>; 8] = [
    // 0 is the status pipe, 1 the gate; everything else goes.
    Step {
        name: "init_descriptors",
        run: |init| {
            let kept = [init.plan.status.as_raw_fd(), init.gate.as_raw_fd()];
            processes::arrange_descriptors(&kept, 0)
        },
    },
    Step {
        name: "init_bounding_set",
        run: |_| identity::bound_capabilities(&[]),
    },
    Step {
        name: "init_groups",
        run: |init| drop_groups(init.plan.privilege),
    },
    Step {
        name: "init_ids",
        run: |init| drop_ids(init.plan.privilege, init.plan.init_id),
    },
    Step {
        name: "init_capabilities",
        run: |_| identity::set_capabilities(&[]),
    },
    Step {
        name: "init_not_dumpable",
        run: |_| identity::not_dumpable(),
    },
    // The change of ids cleared it. A spawner that died in between has closed its end of pid 2's
    // control socket: pid 2, which is not parked before this list is done, reads that and ends.
    Step {
        name: "init_die_with_spawner",
        run: |_| identity::die_with_parent(),
    },
    Step {
        name: "init_filter",
        run: |init| {
            identity::no_new_privileges()?;
            filter::install(&init.plan.init_filter)
        },
    },
];

pub(super) fn drop_groups(privilege: Privilege) -> io::Result<()> {
    match privilege {
        Privilege::Root => identity::clear_groups(),
        // A user namespace with one mapped id forbids setgroups; there is nothing to drop to.
        Privilege::UserNamespace => Ok(()),
    }
}

pub(super) fn drop_ids(privilege: Privilege, id: u32) -> io::Result<()> {
    match privilege {
        Privilege::Root => identity::set_ids(id, id),
        Privilege::UserNamespace => Ok(()),
    }
}

fn join_cgroups(plan: &mut Plan) -> io::Result<()> {
    for door in plan.doors.drain(..) {
        File::from(door).write_all(b"0")?;
    }
    Ok(())
}

fn make_listeners(plan: &mut Plan) -> io::Result<()> {
    for address in [RUNTIME_API_ADDRESS, PLATFORM_ADDRESS] {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        plan.listeners.push(listener.into());
    }
    let names = UdpSocket::bind(NAMES_ADDRESS)?;
    names.set_nonblocking(true)?;
    plan.listeners.push(names.into());
    if plan.relayed {
        let relay = TcpListener::bind(RELAY_ADDRESS)?;
        relay.set_nonblocking(true)?;
        plan.listeners.push(relay.into());
    }
    Ok(())
}

fn mount_proc(plan: &mut Plan) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mounts::mount(
        "proc",
        &plan.root.join("proc"),
        "proc",
        flags,
        "hidepid=invisible",
    )?;
    leave_low_pids_to_guests(&plan.root.join("proc"))
}

/// Pids below this are given out by the spawner; what a guest forks gets higher ones.
pub const FIRST_CHILD_PID: i32 = 64;

/// Else a child of a thawed instance might have the pid that its image was taken of, and a library
/// in it would take itself for that process. When pids have run out, the kernel begins again at
/// 300.
fn leave_low_pids_to_guests(proc: &Path) -> io::Result<()> {
    if processes::own_pid() != 1 {
        return Ok(());
    }
    let last = (FIRST_CHILD_PID - 1).to_string();
    match std::fs::write(proc.join("sys/kernel/ns_last_pid"), last) {
        // Kernels without it cannot thaw either.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn keep_mount_namespace(plan: &mut Plan) -> io::Result<()> {
    plan.mount_namespace = Some(File::open(plan.root.join("proc/self/ns/mnt"))?.into());
    Ok(())
}

/// If the kernel must kill for want of memory of the machine, it is a guest.
fn offer_to_oom_killer(plan: &mut Plan) -> io::Result<()> {
    std::fs::write(plan.root.join("proc/self/oom_score_adj"), "500")
}

fn read_only_proc(plan: &mut Plan) -> io::Result<()> {
    mounts::restrict(&plan.root.join("proc"), Attributes::READ_ONLY)
}

/// One filesystem for all that is the sandbox's own beside `/tmp`: `/run`, and a folder of it, which
/// nobody inside can name there, as `/dev/shm`. The kernel's memory for a group grows with the
/// number of all filesystems of the machine (decision 0017), so each one less is less for everybody.
fn mount_shm(plan: &mut Plan) -> io::Result<()> {
    let (run, shm) = (plan.root.join("run"), plan.root.join("dev/shm"));
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // 64 MiB for the guest, and what `name_user` writes.
    let options = "size=65600k,nr_inodes=4104,mode=755";
    mounts::mount("run", &run, "tmpfs", flags, options)?;
    let closed = run.join("closed");
    std::fs::DirBuilder::new().mode(0o700).create(&closed)?;
    let folder = closed.join("shm");
    std::fs::create_dir(&folder)?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1777))?;
    mounts::bind(&folder, &shm)
}

/// The instance's uid has Lambda's name: the tree's `/etc/passwd` and `/etc/group` are links to
/// here. Node's `os.homedir()` and Python's `getpass.getuser()` fail for a uid without an entry.
fn name_user(plan: &mut Plan) -> io::Result<()> {
    let at = plan.root.join("run");
    let id = match plan.privilege {
        Privilege::Root => plan.guest_id,
        Privilege::UserNamespace => identity::effective_uid(),
    };
    let user = format!("sbx_user1051:x:{id}:{id}::/home/sbx_user1051:/sbin/nologin");
    std::fs::write(
        at.join("passwd"),
        format!("root:x:0:0:root:/:/bin/sh\n{user}\n"),
    )?;
    std::fs::write(
        at.join("group"),
        format!("root:x:0:\nsbx_user1051:x:{id}:\n"),
    )?;
    mounts::restrict(&at, Attributes::READ_ONLY)
}

fn fork_guest(plan: &Plan) -> io::Result<Fork> {
    // Left out by a test, the host's pids are not ours to choose from.
    if processes::own_pid() == 1 {
        processes::fork_as(plan.guest_pid)
    } else {
        processes::fork_into(0)
    }
}

/// The whole life of pid 1.
pub fn run_init(mut plan: Plan) -> ! {
    identity::set_name("init");
    if let Err((name, error)) = run_all(&INIT_STEPS, &mut plan) {
        guest::report_failure(plan.control.as_fd(), name, &error);
        processes::exit(1);
    }
    let forked = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(io::Error::from)
        .and_then(|gate| Ok((gate, fork_guest(&plan)?)));
    let (child, mut init) = match forked {
        Ok(((gate, _), Fork::Child)) => guest::run_guest(Forked { plan, gate }),
        Ok(((_, gate), Fork::Parent(pid, _))) => (pid, Forked { plan, gate }),
        Err(error) => {
            guest::report_failure(plan.control.as_fd(), "fork", &error);
            processes::exit(1)
        }
    };
    // Without its own privileges gone this process would be the tenant's best target: its end
    // is the end of the sandbox, so a failure here cannot leave a privileged pid 1 behind.
    if let Err((name, error)) = run_all(&REAPER_STEPS, &mut init) {
        guest::report_failure(init.plan.control.as_fd(), name, &error);
        processes::exit(1);
    }
    let mut status = File::from(processes::arranged(0));
    drop(processes::arranged(1));
    while let Some((pid, ended)) = processes::wait_any() {
        if pid == child {
            let _ = status.write_all(&ended.to_le_bytes());
            break;
        }
    }
    processes::exit(0)
}
