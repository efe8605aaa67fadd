//! Making, ending and reaping processes, and the few files that describe them.

use super::check;
use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's pid and a descriptor that stays true when pids are reused.
    Parent(i32, OwnedFd),
}

/// Forks into new namespaces (`flags` of `CLONE_NEW*`, or 0).
///
/// For processes with one thread: the child may then run ordinary code. It must end in [`exit`],
/// since returning would run the parent's code twice.
pub fn fork_into(flags: u64) -> io::Result<Fork> {
    fork(flags, None)
}

/// Forks a child that has `pid` in this process's namespace, which must be its own: for pid 1 of
/// one, while it may do everything in it.
pub fn fork_as(pid: i32) -> io::Result<Fork> {
    fork(0, Some(pid))
}

fn fork(flags: u64, wanted: Option<i32>) -> io::Result<Fork> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
    }
    let mut pidfd: RawFd = -1;
    let args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        set_tid: wanted.as_ref().map_or(0, |pid| ptr::from_ref(pid) as u64),
        set_tid_size: u64::from(wanted.is_some()),
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM the child has a copy of everything, as after fork(2). One thread,
    // so no lock of libc is held by a thread that the child lacks.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: the kernel wrote the new descriptor there before it returned to the parent.
    Ok(Fork::Parent(pid as i32, unsafe {
        OwnedFd::from_raw_fd(pidfd)
    }))
}

/// Ends this process at once: no destructor, no exit handler, no buffer of the parent's.
pub fn exit(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// The parent's pid; 0 when it is outside this pid namespace.
pub fn parent() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getppid() }
}

/// This process's pid.
pub fn own_pid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getpid() }
}

/// SIGKILL to whom the descriptor stands for. Gone already is fine.
pub fn kill(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an open descriptor, a signal, no further data.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            ptr::null::<u8>(),
            0,
        )
    };
    match check(answer) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

/// SIGKILL by number: only for pids just read from a cgroup of ours that is frozen or being ended.
pub fn kill_pid(pid: i32) {
    if pid > 1 {
        // SAFETY: plain numbers; above 1, so neither a group nor everybody.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Reaps one child by descriptor: its wait status, or `None` while it lives.
pub fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    // SAFETY: the structure is ours and large enough; the call fills it.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        let answer = libc::waitid(
            libc::P_PIDFD,
            pidfd.as_raw_fd() as libc::id_t,
            &raw mut info,
            libc::WEXITED | libc::WNOHANG | libc::__WALL,
        );
        check(answer.into())?;
        if info.si_pid() == 0 {
            return Ok(None);
        }
        let status = info.si_status();
        Ok(Some(if info.si_code == libc::CLD_EXITED {
            (status & 0xff) << 8
        } else {
            status & 0x7f
        }))
    }
}

/// Reaps any child that has ended.
pub fn reap_any() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: an integer of ours to write to.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (pid > 0).then_some((pid, status))
}

/// Waits for any child to end; `None` without children.
pub fn wait_any() -> Option<(i32, i32)> {
    loop {
        let mut status = 0;
        // SAFETY: an integer of ours to write to.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if pid > 0 {
            return Some((pid, status));
        }
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
}

/// Closes one descriptor in a process that will never use its owner.
pub fn close_one(number: RawFd) {
    // SAFETY: the owner belongs to the other side of a fork; this side never returns to it.
    unsafe { libc::close(number) };
}

/// Closes every descriptor but these, in a process that will never use the owners of the others.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept
        .iter()
        .filter_map(|fd| u32::try_from(*fd).ok())
        .collect();
    kept.sort_unstable();
    let mut first = 0;
    for number in kept {
        if number > first {
            // SAFETY: the caller's promise: nobody uses what lies between.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) })?;
        }
        first = number + 1;
    }
    close_from(first)
}

/// Whether any child is left, dead or alive.
pub fn has_children() -> bool {
    // SAFETY: a structure of ours; WNOWAIT leaves the child as it is.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        libc::waitid(libc::P_ALL, 0, &raw mut info, flags) == 0
    }
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: for processes about to end or exec: whoever still owns one of these descriptors
    // never runs again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Puts the descriptors `from` at 0, 1, 2 …, close-on-exec from `inherited` on, and closes all others.
///
/// For processes about to end or exec, as [`close_from`].
pub fn arrange_descriptors(from: &[RawFd], inherited: usize) -> io::Result<()> {
    let mut high = Vec::with_capacity(from.len());
    for &fd in from {
        // SAFETY: plain numbers; first out of the way of the targets, then into place.
        high.push(check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 200) }.into())? as i32);
    }
    for (target, &fd) in high.iter().enumerate() {
        let flags = if target < inherited {
            0
        } else {
            libc::O_CLOEXEC
        };
        // SAFETY: plain numbers.
        check(unsafe { libc::dup3(fd, target as i32, flags) }.into())?;
    }
    close_from(from.len() as u32)
}

/// Takes over a descriptor that [`arrange_descriptors`] put at `number`.
pub fn arranged(number: RawFd) -> OwnedFd {
    // SAFETY: the caller has just arranged it, and nothing else owns it since all Rust owners of
    // before belong to the other side of the fork.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Replaces this process; returns only with the reason it could not.
pub fn execute(path: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let point = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|text| text.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (argv, env) = (point(argv), point(env));
    // SAFETY: two null-ended lists of strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// How many threads this process has.
pub fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// The flag of a task that is in its exit. Source: proc_pid_stat(5), `include/linux/sched.h`.
const PF_EXITING: u64 = 0x4;

/// When a process started, in ticks since boot: with the pid it names a process for good. `None`
/// for one that is dead, even when nobody has reaped it yet, or on its way there: its descriptors
/// close, and whoever hears of that looks here, before the kernel calls it a zombie.
///
/// Errors: those of the look itself, which says nothing of the process.
pub fn start_time(pid: i32) -> io::Result<Option<u64>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        // ESRCH: it was reaped between the opening and the reading.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    started(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What `/proc/PID/stat` says of the start: within, `None` for the dead.
fn started(stat: &str) -> Option<Option<u64>> {
    // The name in parentheses may hold anything, so count from its end: state is field 3, flags 9,
    // the start 22.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    if is_dead || flags & PF_EXITING != 0 {
        return Some(None);
    }
    fields.nth(12)?.parse().ok().map(Some)
}

/// Fills `bytes` with what nobody can guess; at most 256 of them, which the kernel gives in one piece.
pub fn draw(bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: the kernel writes at most `bytes.len()` bytes, all of them ours.
    let drawn = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(drawn) {
        Ok(drawn) if drawn == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// A memory file holding `bytes` that nobody can change any more.
pub fn sealed_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let file = memfd_create("block", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let wrote = rustix::io::write(&file, rest)?;
        rest = &rest[wrote..];
    }
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file)
}

/// A memory file that only its owner may read, to be written and then sealed.
pub fn private_file(name: &str) -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    fchmod(&file, Mode::from_raw_mode(0o400))?;
    Ok(file)
}

/// Nobody can change `file` any more, nor take that back.
pub fn seal(file: BorrowedFd<'_>) -> io::Result<()> {
    use rustix::fs::{SealFlags, fcntl_add_seals};
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    Ok(fcntl_add_seals(file, all)?)
}

/// Opens for reading what `file`, perhaps `O_PATH`, stands for. `own`: this process's
/// `/proc/self/fd`.
pub fn reopen(own: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(
        own,
        file.as_raw_fd().to_string(),
        flags,
        Mode::empty(),
    )?)
}

/// A name of `file` through which nothing can be read. `own` as for [`reopen`].
pub fn name_only(own: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, openat};
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(openat(
        own,
        file.as_raw_fd().to_string(),
        flags,
        Mode::empty(),
    )?)
}

/// Replaces this process by the program in `file`; returns only with the reason it could not.
pub fn execute_file(file: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> io::Error {
    let point = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|text| text.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (argv, env) = (point(argv), point(env));
    // SAFETY: an open descriptor, an empty string, two null-ended lists of strings that outlive
    // the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Whether a descriptor is a memory file that nobody can change any more.
pub fn is_sealed(file: BorrowedFd<'_>) -> bool {
    use rustix::fs::{SealFlags, fcntl_get_seals};
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(all))
}

/// A descriptor that becomes readable when a child ends; SIGCHLD is blocked from then on.
pub fn child_events() -> io::Result<OwnedFd> {
    // SAFETY: a set of ours, filled before it is used; the descriptor is new and ours alone.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()).into())?;
        let fd = check(
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into(),
        )?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}
