//! Who a process is: ids, capabilities, no-new-privileges, what kills it.

use super::check;
use std::io;

/// Capabilities by number, as in `linux/capability.h`.
pub mod cap {
    /// Changing owners of files.
    pub const CHOWN: u32 = 0;
    /// Passing by permission bits.
    pub const DAC_OVERRIDE: u32 = 1;
    /// Acting as any file's owner.
    pub const FOWNER: u32 = 3;
    /// Signals to any process.
    pub const KILL: u32 = 5;
    /// Changing group ids.
    pub const SETGID: u32 = 6;
    /// Changing user ids.
    pub const SETUID: u32 = 7;
    /// Emptying the bounding set.
    pub const SETPCAP: u32 = 8;
    /// The port for names inside a new network namespace.
    pub const NET_BIND_SERVICE: u32 = 10;
    /// Raising loopback inside a new network namespace, links, rules.
    pub const NET_ADMIN: u32 = 12;
    /// chroot, and entering a mount namespace.
    pub const SYS_CHROOT: u32 = 18;
    /// Looking into other processes: the dumper's, for a moment.
    pub const SYS_PTRACE: u32 = 19;
    /// Mounts, namespaces, loop devices.
    pub const SYS_ADMIN: u32 = 21;
    /// Device nodes of the guest's `/dev`.
    pub const MKNOD: u32 = 27;
}

/// Empties the bounding set but for `keep`; needs SETPCAP.
pub fn bound_capabilities(keep: &[u32]) -> io::Result<()> {
    for number in 0..64u32 {
        if keep.contains(&number) {
            continue;
        }
        // SAFETY: prctl with plain numbers.
        let there = unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) };
        if there < 0 {
            break; // past the last capability that this kernel knows
        }
        if there == 1 {
            // SAFETY: prctl with plain numbers.
            check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) }.into())?;
        }
    }
    // SAFETY: prctl with plain numbers.
    let answer = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
    check(answer.into()).map(drop)
}

/// Permitted and effective become `keep` (as far as it is held), inheritable becomes empty.
pub fn set_capabilities(keep: &[u32]) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let mut header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    let mut held = [Data::default(); 2];
    // SAFETY: version 3 of the call reads one header and fills two data structures.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, held.as_mut_ptr()) })?;
    let mut data = [Data::default(); 2];
    for &number in keep {
        let bit = 1u32 << (number % 32);
        let word = (number / 32) as usize;
        if held[word].permitted & bit != 0 {
            data[word].permitted |= bit;
            data[word].effective |= bit;
        }
    }
    // SAFETY: version 3 of the call reads one header and two data structures.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}

/// No supplementary groups.
pub fn clear_groups() -> io::Result<()> {
    // SAFETY: a count of zero reads nothing behind the pointer. The raw call acts on this thread,
    // which is the only one of the process.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()) }).map(drop)
}

/// Real, effective and saved ids, group first. Raw calls: for processes with one thread.
pub fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// What is permitted outlives the next change of ids; what is effective does not.
pub fn keep_capabilities() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }.into()).map(drop)
}

/// From here on no exec gains a privilege.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into()).map(drop)
}

/// Moves this process into a user namespace in which it may do what a sandbox needs, and into a
/// mount namespace of that one. Its own ids stay what they are, the only ones that exist there.
pub fn enter_user_namespace() -> io::Result<()> {
    let (uid, gid) = (effective_uid(), rustix::process::getegid().as_raw());
    super::mounts::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    // Without this the group map of an unprivileged writer is refused.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Not traceable, no core dump, `/proc/PID` owned by root.
pub fn not_dumpable() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into()).map(drop)
}

/// SIGKILL when the parent thread dies. A change of ids clears it: call it again after one.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }.into()).map(drop)
}

/// Orphans below become this process's children.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }.into()).map(drop)
}

/// The name that `ps` shows; cut at 15 bytes.
pub fn set_name(name: &str) {
    let mut bytes = [0u8; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: 16 bytes, the last of them zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr(), 0, 0, 0) };
}

/// A session of its own.
pub fn new_session() -> io::Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() }.into()).map(drop)
}

/// Every signal back to its default and none blocked: an ignored SIGPIPE, as Rust has it, would
/// go through exec into the guest.
pub fn default_signals() -> io::Result<()> {
    // The kernel's own call: libc's refuses 32 and 33, which it keeps for its threads, and which a
    // parent may have ignored.
    let default = [0u64; 5];
    for signal in (1..=64).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
        // SAFETY: a zeroed kernel sigaction (handler, flags, restorer, mask: at most 40 bytes) is
        // the default; nothing is written back; 8 is the size of the kernel's signal set.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8usize,
            )
        };
        check(answer)?;
    }
    // SAFETY: an empty set on our own stack.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()).into())
            .map(drop)
    }
}

/// Orderly ends are the server's to begin: a SIGTERM or Ctrl-C for the whole group must not end
/// the privileged side before it.
pub fn ignore_termination() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: no handler, so no code of ours runs.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Holds a SIGHUP back from the calling thread and from what it starts, or lets it through: one that
/// came meanwhile comes then. Until somebody listens for it, it would end the process.
pub fn hold_hangup(hold: bool) -> io::Result<()> {
    let how = if hold {
        libc::SIG_BLOCK
    } else {
        libc::SIG_UNBLOCK
    };
    // SAFETY: a set of ours, filled before it is used; nothing is written back.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGHUP);
        check(libc::sigprocmask(how, &raw const set, std::ptr::null_mut()).into()).map(drop)
    }
}

/// The caller's effective user id.
pub fn effective_uid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// The host name of this UTS namespace.
pub fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length of one string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Soft and hard limit of one resource, exactly these; a hard limit goes up for root alone.
pub fn set_resource(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let wanted = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: reads one structure on our own stack.
    check(unsafe { libc::setrlimit(resource, &raw const wanted) }.into()).map(drop)
}

/// The hard limit of one resource.
pub fn hard_limit(resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    // SAFETY: writes one structure on our own stack.
    unsafe {
        let mut now = std::mem::zeroed::<libc::rlimit>();
        check(libc::getrlimit(resource, &raw mut now).into())?;
        Ok(now.rlim_max)
    }
}

/// Soft limit of one resource, or the hard one where that is lower.
pub fn limit_softly(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let hard = hard_limit(resource)?;
    set_resource(resource, value.min(hard), hard)
}

/// Soft and hard limit of one resource; needs nothing to go down.
pub fn limit_resource(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let value = value.min(hard_limit(resource)?);
    set_resource(resource, value, value)
}

/// What the shell or unit of the operator set for its own programs does not bind those below:
/// groups do. As far as it may be lifted, which without root is up to the hard limit.
pub fn lift_limits() {
    for resource in [
        libc::RLIMIT_AS,
        libc::RLIMIT_CPU,
        libc::RLIMIT_DATA,
        libc::RLIMIT_FSIZE,
        libc::RLIMIT_NPROC,
        libc::RLIMIT_RSS,
        libc::RLIMIT_STACK,
    ] {
        if set_resource(resource, libc::RLIM_INFINITY, libc::RLIM_INFINITY).is_err() {
            let _ = limit_softly(resource, libc::RLIM_INFINITY);
        }
    }
}

/// Raises the soft limit of descriptors to the hard one.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    // SAFETY: reads and writes one structure on our own stack.
    unsafe {
        let mut now = std::mem::zeroed::<libc::rlimit>();
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now).into())?;
        now.rlim_cur = now.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now).into())?;
        Ok(now.rlim_cur)
    }
}
