//! The dumper: a child of the spawner, as long as one dump takes.
//!
//! ```text
//! fork ─▶ closes what it does not need ─▶ the host's /proc, the sandbox's ipc namespace
//!   ─▶ the instance's uid, CAP_SYS_PTRACE alone ─▶ its filter ─▶ stop ─▶ refuse, by name ─▶ look ─▶ copy ─▶ say
//! ```
//!
//! It runs with the uid of whom it looks at, so that an error of its own opens nothing else of
//! root's; the capability is what lets it trace somebody who is not its child. The process is dead
//! afterwards either way: it dies with its tracer. Refuses to wait longer than its deadline for anything.

use super::{
    Obstacle, ObstacleKind,
    body::{Body, root_of},
    calls::Calls,
    look::{self, field, stat_fields, text},
    refuse::refuse,
};
use crate::seccomp::Embedded;
use crate::sys::{
    filter,
    identity::{self, cap},
    mounts, processes,
    restorer::{AUXILIARY_MAX, Frame, Head, KEPT_DESCRIPTORS},
    sockets,
    tracee::{Registers, Tracee},
};
use rustix::fs::{Mode, OFlags, open, openat};
use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    time::{Duration, Instant},
};

/// Between two looks at whether it waits for a frame.
const RETRY: Duration = Duration::from_millis(1);
/// Processes of a sandbox among which it is looked for.
const MEMBERS_MAX: usize = 64;
/// The longest list of processes.
const LIST_MAX: u64 = 1 << 20;
/// The answer's length on the socket.
pub const ANSWER_LEN: usize = 25;

/// How to find a process.
#[derive(Debug)]
pub enum Whom {
    /// By its pid, here.
    Pid(i32),
    /// In a sandbox.
    Member {
        /// The list of its processes, open.
        members: OwnedFd,
        /// Its pid there.
        inner: i32,
    },
}

/// Whom to dump.
#[derive(Debug)]
pub struct Subject {
    /// How to find it.
    pub whom: Whom,
    /// Its parent's pid, here: that of pid 1 of its sandbox.
    pub parent: i32,
    /// Its uid and gid.
    pub uid: u32,
    /// Inodes of the pipes that are its output and its errors.
    pub output: [u64; 2],
    /// A file of root's, to be written.
    pub image: OwnedFd,
    /// A mount namespace with the host's `/proc`.
    pub host: OwnedFd,
    /// The most bytes of its own.
    pub bytes_max: u64,
    /// When to give up.
    pub until: Instant,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dumped {
    /// Key, head and lists.
    pub body_len: u64,
    /// All of it.
    pub image_len: u64,
    /// Its pid as it sees it.
    pub pid: u64,
}

/// The word of a dumper.
pub fn encode(answer: &Result<Dumped, Obstacle>) -> [u8; ANSWER_LEN] {
    let mut packet = [0u8; ANSWER_LEN];
    let words = match answer {
        Ok(done) => [done.body_len, done.image_len, done.pid],
        Err(obstacle) => {
            packet[0] = 1;
            [obstacle.kind as u64, obstacle.value, 0]
        }
    };
    for (to, word) in packet[1..].as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    packet
}

/// What a packet says; one of another form, as of a dumper that died, is an end.
pub fn decode(packet: &[u8]) -> Result<Dumped, Obstacle> {
    let ended = Obstacle::from(ObstacleKind::Ended);
    if packet.len() != ANSWER_LEN {
        return Err(ended);
    }
    let mut words = packet[1..]
        .as_chunks::<8>()
        .0
        .iter()
        .map(|w| u64::from_le_bytes(*w));
    let mut next = || words.next().unwrap_or(0);
    let (a, b, c) = (next(), next(), next());
    match packet[0] {
        0 => Ok(Dumped {
            body_len: a,
            image_len: b,
            pid: c,
        }),
        _ => {
            let kind = usize::try_from(a)
                .ok()
                .and_then(|n| ObstacleKind::ALL.get(n));
            Err(kind.map_or(ended, |kind| kind.of(b)))
        }
    }
}

/// The whole life of a dumper; says on `answer` how it went.
pub fn dump_in_child(subject: Subject, answer: OwnedFd) -> ! {
    let done = prepare(&subject, answer.as_raw_fd()).and_then(|found| {
        dump(&subject, &found).map_err(|obstacle| unless_ended(found.process.as_fd(), obstacle))
    });
    let _ = sockets::send(answer.as_fd(), &encode(&done), &[]);
    processes::exit(0)
}

/// A process that ends while it is looked at stands in the way in ways of their own, from the first look at
/// memory that it has no more, and with the very signal that ends it: its end is the reason. Nobody is to take
/// it for something that the next one has too.
fn unless_ended(process: BorrowedFd<'_>, obstacle: Obstacle) -> Obstacle {
    const KILL: u64 = 1 << (libc::SIGKILL - 1);
    let lives = |status: String| {
        let mask = |name| field(&status, name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        let is_killed = |name| mask(name).is_none_or(|mask| mask & KILL != 0);
        field(&status, "VmSize").is_some() && !is_killed("SigPnd") && !is_killed("ShdPnd")
    };
    match text(process, "status").is_ok_and(lives) {
        true => obstacle,
        false => ObstacleKind::Ended.into(),
    }
}

/// A process that was found, and what can be opened only with privileges.
pub(super) struct Found {
    pub(super) pid: i32,
    /// Its folder in the host's `/proc`.
    pub(super) process: OwnedFd,
    /// Tables of its sandbox's IPC objects; of a process without a sandbox none.
    pub(super) ipc: Vec<OwnedFd>,
}

/// Finds it and opens what needs privileges, then gives them up.
fn prepare(subject: &Subject, answer: i32) -> Result<Found, Obstacle> {
    identity::set_name("fh-dumper");
    identity::die_with_parent()?;
    // News of the tracee would queue up where they are blocked, on the account of the uid that the
    // two have in common, and look like a timer of its own.
    identity::default_signals()?;
    let mut kept = vec![answer, subject.image.as_raw_fd(), subject.host.as_raw_fd()];
    if let Whom::Member { members, .. } = &subject.whom {
        kept.push(members.as_raw_fd());
    }
    processes::close_all_but(&kept)?;
    mounts::enter(subject.host.as_fd())?;
    let (pid, process) = find(subject)?;
    let mut ipc = Vec::new();
    if subject.is_sandboxed() {
        let namespace = look::open(process.as_fd(), "ns/ipc")
            .map_err(|error| unless_ended(process.as_fd(), error.into()))?;
        mounts::enter_ipc(namespace.as_fd())?;
        for name in ["shm", "sem", "msg"] {
            let path = format!("/proc/sysvipc/{name}");
            ipc.push(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        }
    }
    identity::bound_capabilities(&[])?;
    identity::clear_groups()?;
    identity::keep_capabilities()?;
    identity::set_ids(subject.uid, subject.uid)?;
    identity::set_capabilities(&[cap::SYS_PTRACE])?;
    identity::no_new_privileges()?;
    // The change of ids cleared it.
    identity::die_with_parent()?;
    // From here on it reads what a stranger wrote.
    let program = Embedded::Dump.program().map_err(io::Error::other)?;
    filter::install(&program)?;
    Ok(Found { pid, process, ipc })
}

fn folder_of_process(pid: i32) -> Result<OwnedFd, Obstacle> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open(format!("/proc/{pid}"), flags, Mode::empty())?)
}

fn find(subject: &Subject) -> Result<(i32, OwnedFd), Obstacle> {
    let (members, inner) = match &subject.whom {
        Whom::Pid(pid) => return Ok((*pid, folder_of_process(*pid)?)),
        Whom::Member { members, inner } => (pids(members.as_fd())?, inner),
    };
    if members.len() > MEMBERS_MAX {
        return Err(ObstacleKind::Children.of(members.len() as u64 - 2));
    }
    for pid in members {
        let Ok(process) = folder_of_process(pid) else {
            continue;
        };
        let status = text(process.as_fd(), "status").unwrap_or_default();
        if inner_pid(&status) == u64::try_from(*inner).ok() {
            return Ok((pid, process));
        }
    }
    Err(ObstacleKind::Ended.into())
}

/// The pids in a group's list, from its beginning.
pub(super) fn pids(members: BorrowedFd<'_>) -> Result<Vec<i32>, Obstacle> {
    rustix::fs::seek(members, rustix::fs::SeekFrom::Start(0))
        .map_err(|error| Obstacle::of_group(error.into()))?;
    let mut list = String::new();
    File::from(members.try_clone_to_owned()?)
        .take(LIST_MAX)
        .read_to_string(&mut list)
        .map_err(Obstacle::of_group)?;
    Ok(list.lines().filter_map(|pid| pid.parse().ok()).collect())
}

/// Its pid as it sees it.
fn inner_pid(status: &str) -> Option<u64> {
    field(status, "NSpid")?
        .split_whitespace()
        .last()?
        .parse()
        .ok()
}

impl Subject {
    pub(super) fn is_sandboxed(&self) -> bool {
        matches!(self.whom, Whom::Member { .. })
    }
}

fn dump(subject: &Subject, found: &Found) -> Result<Dumped, Obstacle> {
    let until = subject.until;
    let process = found.process.as_fd();
    let tracee = Tracee::seize(found.pid)?;
    let memory = openat(
        process,
        "mem",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let memory = File::from(memory);
    let stopped = stop_in_read(&tracee, until)?;
    let status = text(process, "status")?;
    is_whom_we_mean(subject, found.pid, &status)?;
    let opened = refuse(subject, found, &status)?;
    let own_pid = inner_pid(&status).ok_or(ObstacleKind::Ended)?;
    let calls = Calls::of(&tracee, &memory, &stopped, until)?;
    if calls.has_interval_timer()? {
        return Err(ObstacleKind::Timer.into());
    }
    if calls.has_tiles()? {
        return Err(ObstacleKind::ProcessorState.into());
    }
    let signals = calls.signals(&status)?;
    let (stack, stack_flags, stack_len) = calls.signal_stack()?;
    let tid_address = calls.tid_address()?;
    calls.leave()?;

    let root = root_of(process)?;
    let page_map = File::from(look::open(process, "pagemap")?);
    let smaps = File::from(look::open(process, "smaps")?);
    let mappings = look::mappings(smaps)?;
    let mut body = Body::new(root.as_fd(), &page_map, subject.bytes_max, stopped.rsp);
    body.lay_all(&mappings)?;
    for open in &opened {
        body.open(open)?;
    }
    // What libc has noted of its thread must be where a thaw can put the new one.
    let mut noted = [0u8; 4];
    memory.read_exact_at(&mut noted, tid_address)?;
    if u64::from(u32::from_le_bytes(noted)) != own_pid || !body.is_own(tid_address) {
        return Err(ObstacleKind::Libc.into());
    }
    let sequences = tracee.sequences()?;
    let (robust, robust_len) = tracee.robust_list()?;
    let folder = folder_of(process)?;
    let head = Head {
        folder: body.name(&folder)?,
        fs_base: stopped.fs_base,
        gs_base: stopped.gs_base,
        tid_address,
        robust,
        robust_len: if robust == 0 { 0 } else { robust_len },
        rseq: sequences.at,
        rseq_len: sequences.len.into(),
        rseq_signature: sequences.signature.into(),
        vdso: body.vdso,
        areas: areas_of(process, body.heap_end)?,
        umask: field(&status, "Umask")
            .and_then(|mask| u64::from_str_radix(mask, 8).ok())
            .ok_or(ObstacleKind::Step)?,
        descriptor_flags: flags_of_descriptors(process)?,
        name: name_of(process)?,
        ..Head::default()
    };
    let mut auxiliary = Vec::new();
    File::from(look::open(process, "auxv")?)
        .take(AUXILIARY_MAX)
        .read_to_end(&mut auxiliary)?;
    let mut frame = frame_of(&stopped, tracee.floats()?, tracee.blocked_signals()?);
    (frame.stack, frame.stack_flags, frame.stack_len) = (stack, stack_flags, stack_len);
    let image = File::from(subject.image.try_clone()?);
    let (body_len, image_len) = body.write(&image, &memory, head, &signals, &auxiliary, &frame)?;
    Ok(Dumped {
        body_len,
        image_len,
        pid: own_pid,
    })
}

/// Stops it where it waits for a frame: the registers as they are to be thawed, so that the wait
/// begins again.
fn stop_in_read(tracee: &Tracee, until: Instant) -> Result<Registers, Obstacle> {
    // -ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND: the kernel would make the call again.
    const AGAIN: std::ops::RangeInclusive<i64> = -514..=-512;
    let reads = [libc::SYS_read, libc::SYS_recvfrom, libc::SYS_recvmsg];
    loop {
        tracee.stop(until)?;
        let mut registers = tracee.registers()?;
        let call = registers.orig_rax.cast_signed();
        let frames = u64::from(freehold_domain::ports::FRAMES_DESCRIPTOR.unsigned_abs());
        if reads.contains(&call)
            && registers.rdi == frames
            && AGAIN.contains(&registers.rax.cast_signed())
        {
            registers.rax = registers.orig_rax;
            registers.rip = registers.rip.wrapping_sub(2);
            return Ok(registers);
        }
        if Instant::now() + RETRY >= until {
            return Err(ObstacleKind::NotWaiting.into());
        }
        tracee.go_on()?;
        std::thread::sleep(RETRY);
    }
}

/// A pid may have changed hands between being read and being stopped; from here on it cannot.
fn is_whom_we_mean(subject: &Subject, pid: i32, status: &str) -> Result<(), Obstacle> {
    let number = |name| field(status, name).and_then(|value| value.parse::<i32>().ok());
    let ids = |name| {
        let mut all = field(status, name).unwrap_or_default().split_whitespace();
        all.clone().count() == 4 && all.all(|id| id.parse() == Ok(subject.uid))
    };
    let same = number("Tgid") == Some(pid)
        && number("PPid") == Some(subject.parent)
        && ids("Uid")
        && ids("Gid");
    if same {
        Ok(())
    } else {
        Err(ObstacleKind::Ended.into())
    }
}

fn flags_of_descriptors(process: BorrowedFd<'_>) -> Result<[u64; KEPT_DESCRIPTORS], Obstacle> {
    let mut all = [0; KEPT_DESCRIPTORS];
    for (number, flags) in all.iter_mut().enumerate() {
        let info = text(process, &format!("fdinfo/{number}"))?;
        let octal = field(&info, "flags").ok_or(ObstacleKind::Step)?;
        *flags = u64::from_str_radix(octal, 8).map_err(|_| ObstacleKind::Step)?;
    }
    Ok(all)
}

/// The folder that a thawed process changes into: one that every instance has.
fn folder_of(process: BorrowedFd<'_>) -> Result<String, Obstacle> {
    let link = rustix::fs::readlinkat(process, "cwd", Vec::new())?;
    let folder = String::from_utf8(link.into_bytes()).map_err(|_| ObstacleKind::Folder)?;
    let own = ["/tmp", "/dev", "/proc"]
        .iter()
        .any(|top| folder.starts_with(top));
    if own || !folder.starts_with('/') || folder.ends_with(" (deleted)") {
        return Err(ObstacleKind::Folder.into());
    }
    Ok(folder)
}

fn name_of(process: BorrowedFd<'_>) -> Result<[u8; 16], Obstacle> {
    let name = text(process, "comm")?;
    let mut bytes = [0u8; 16];
    for (to, from) in bytes
        .iter_mut()
        .take(15)
        .zip(name.trim_end_matches('\n').bytes())
    {
        *to = from;
    }
    Ok(bytes)
}

/// In the order of `prctl_mm_map`: code, data, heap, stack, arguments, environment.
fn areas_of(process: BorrowedFd<'_>, heap_end: u64) -> Result<[u64; 11], Obstacle> {
    let fields = stat_fields(&text(process, "stat")?).ok_or(ObstacleKind::Step)?;
    // Numbered from 1 in proc(5); the list begins with the fourth.
    let of = |number: usize| fields.get(number - 4).copied().ok_or(ObstacleKind::Step);
    let heap = of(47)?;
    Ok([
        of(26)?,
        of(27)?,
        of(45)?,
        of(46)?,
        heap,
        heap_end.max(heap),
        of(28)?,
        of(48)?,
        of(49)?,
        of(50)?,
        of(51)?,
    ])
}

fn frame_of(r: &Registers, float: [u64; 64], mask: u64) -> Frame {
    const SINGLE_STEP: u64 = 0x100;
    const USER_CODE: u16 = 0x33;
    const USER_STACK: u16 = 0x2b;
    let mut float = float;
    // Words for software: without its magic number the kernel takes the rest for what it is.
    for word in &mut float[58..] {
        *word = 0;
    }
    Frame {
        return_address: 0,
        flags: 6,
        link: 0,
        stack: 0,
        stack_flags: 2,
        stack_len: 0,
        registers: [
            r.r8,
            r.r9,
            r.r10,
            r.r11,
            r.r12,
            r.r13,
            r.r14,
            r.r15,
            r.rdi,
            r.rsi,
            r.rbp,
            r.rbx,
            r.rdx,
            r.rax,
            r.rcx,
            r.rsp,
            r.rip,
            r.eflags & !SINGLE_STEP,
        ],
        segments: [USER_CODE, 0, 0, USER_STACK],
        trap: [0; 4],
        float_at: 0,
        reserved: [0; 8],
        mask,
        info: [0; 16],
        padding: 0,
        float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumpers_word_comes_back_as_it_went() {
        let done = Dumped {
            body_len: 1,
            image_len: 2,
            pid: 3,
        };
        for answer in [Ok(done), Err(ObstacleKind::Threads.of(9))] {
            assert_eq!(decode(&encode(&answer)), answer);
        }
        assert_eq!(decode(&[]), Err(ObstacleKind::Ended.into()));
        let mut odd = encode(&Err(ObstacleKind::Step.of(1)));
        odd[1] = 200;
        assert_eq!(decode(&odd), Err(ObstacleKind::Ended.into()));
    }
}
