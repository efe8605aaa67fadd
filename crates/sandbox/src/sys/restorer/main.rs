//! The restorer: executed by pid 2 of a finished sandbox, it becomes the process in an image.
//!
//! ```text
//! map key, head and lists ─▶ open nothing but files of its own root, compare them
//!   ─▶ vdso aside ─▶ unmap all but itself ─▶ steps ─▶ what belongs to the process
//!   ─▶ a page of code and one of registers at a random place ─▶ unmap itself, rt_sigreturn
//! ```
//!
//! It holds no privilege and sits behind the guest's filter, so the worst that an image can do is
//! what its process could have done. Whatever fails is said on the control socket with stage and
//! errno, and ends it; the socket's end without a word says that the process runs. Executed by
//! anybody else (`/proc/self/exe` of a thawed process is this program) it ends at once, since
//! there is no image. No libc, no heap, no unwinding; refuses an image whose lists lie outside it.

#![no_std]
#![no_main]

mod call;
mod layout;

use call::{call, exit, number as nr};
use core::{arch::global_asm, mem::size_of, ptr::addr_of_mut};
use layout::{
    AUXILIARY_MAX, BODY_MAPPED_AT, BODY_MAX, CONTROL_DESCRIPTOR, FAILED_PACKET, FILES_MAX,
    FileFacts, Frame, Head, IMAGE_DESCRIPTOR, KEPT_DESCRIPTORS, Key, MAGIC, NAMES_MAX, OPEN_MAX,
    OpenFile, PAGE, RESTORER_BASE, RESTORER_END, STASH_AT, STEPS_MAX, Signal, Step, StepKind,
    USER_END, USER_START,
};

const IMAGE: u64 = IMAGE_DESCRIPTOR as u64;
const CONTROL: u64 = CONTROL_DESCRIPTOR as u64;
const EINVAL: i32 = 22;
const ESTALE: i32 = 116;

const PRIVATE: u64 = 0x2;
const DROPPABLE: u64 = 0x8;
const FIXED: u64 = 0x10;
const ANONYMOUS: u64 = 0x20;
const NO_RESERVE: u64 = 0x4000;
const POPULATE: u64 = 0x8000;
const FIXED_NO_REPLACE: u64 = 0x10_0000;
const MOVE: u64 = 3; // MREMAP_MAYMOVE | MREMAP_FIXED
const WIPE_ON_FORK: u64 = 18;
const CLOSE_ON_EXEC: u64 = 0o2_000_000;
const STATUS_FLAGS: u64 = 0o6_000; // O_APPEND | O_NONBLOCK

// The stack is ours: the kernel's lies where the process's own will be. The page of the last
// instructions is moved away before it runs, so it stands alone and knows only registers:
// rdi, rsi: what to unmap; rdx: the frame.
global_asm!(
    ".pushsection .text.start, \"ax\"",
    ".globl _start",
    "_start:",
    "mov rdi, rsp",
    "lea rsp, [rip + {stack} + {stack_len}]",
    "and rsp, -64",
    "call {run}",
    "hlt",
    ".popsection",
    ".pushsection .trampoline, \"ax\"",
    ".globl trampoline",
    "trampoline:",
    "mov eax, 11", // munmap
    "syscall",
    "lea rsp, [rdx + 8]",
    "mov eax, 15", // rt_sigreturn
    "syscall",
    "hlt",
    ".popsection",
    stack = sym STACK,
    stack_len = const STACK_LEN,
    run = sym run,
);

unsafe extern "C" {
    static trampoline: [u8; PAGE as usize];
}

const STACK_LEN: usize = 32 << 10;

#[repr(align(64))]
#[allow(dead_code)]
struct Stack([u8; STACK_LEN]);
static mut STACK: Stack = Stack([0; STACK_LEN]);

#[repr(align(8))]
struct Room([u8; 256]);
static mut ROOM: Room = Room([0; 256]);

/// Which stage, for whoever hears of a failure.
#[derive(Clone, Copy)]
enum Stage {
    Image,
    Files,
    KernelPages,
    Memory,
    Process,
    Jump,
}

struct Failed(Stage, i32);

trait At<T> {
    fn at(self, stage: Stage) -> Result<T, Failed>;
}

impl<T> At<T> for Result<T, i32> {
    fn at(self, stage: Stage) -> Result<T, Failed> {
        self.map_err(|errno| Failed(stage, errno))
    }
}

/// A list of the image, within its mapped body.
#[derive(Clone, Copy)]
struct List<T> {
    first: *const T,
    len: u64,
}

impl<T: Copy> List<T> {
    /// `None` unless all of it lies within `body_len`, aligned.
    fn within(body_len: u64, at: u64, len: u64, max: u64) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<T>() as u64)?;
        let fits = len <= max && at % 8 == 0 && at.checked_add(bytes)? <= body_len;
        fits.then_some(Self {
            first: (BODY_MAPPED_AT + at) as *const T,
            len,
        })
    }

    fn get(self, place: u64) -> Option<T> {
        if place >= self.len {
            return None;
        }
        // SAFETY: within the list, which `within` found inside the mapped body and aligned; the
        // mapping is private and the file sealed.
        Some(unsafe { *self.first.add(place as usize) })
    }
}

unsafe extern "C" fn run(start: *const u64) -> ! {
    // SAFETY: the kernel's own layout of a new process's stack.
    let vdso = unsafe { find_vdso(start) };
    let Err(Failed(stage, errno)) = restore(vdso);
    say(CONTROL, stage, errno);
    exit(125)
}

/// Says on the control socket what failed.
fn say(control: u64, stage: Stage, errno: i32) {
    let mut packet = [0u8; 7];
    packet[0] = FAILED_PACKET;
    let [low, high] = (stage as u16).to_le_bytes();
    (packet[1], packet[2]) = (low, high);
    let [a, b, c, d] = errno.to_le_bytes();
    (packet[3], packet[4], packet[5], packet[6]) = (a, b, c, d);
    // SAFETY: a packet on our own stack.
    let _ = unsafe { call(nr::WRITE, [control, packet.as_ptr() as u64, 7, 0, 0, 0]) };
}

/// # Safety
///
/// `start` is where the kernel left argc.
unsafe fn find_vdso(start: *const u64) -> u64 {
    const AT_SYSINFO_EHDR: u64 = 33;
    // SAFETY: argc, that many pointers and a zero, pointers and a zero, pairs that end in a zero.
    unsafe {
        let mut at = start.add(1 + *start as usize + 1);
        while *at != 0 {
            at = at.add(1);
        }
        at = at.add(1);
        while *at != 0 {
            if *at == AT_SYSINFO_EHDR {
                return *at.add(1);
            }
            at = at.add(2);
        }
    }
    0
}

enum Never {}

fn restore(vdso: u64) -> Result<Never, Failed> {
    let bad = Failed(Stage::Image, EINVAL);
    let mut key = Key::default();
    let key_len = size_of::<Key>() as u64;
    // SAFETY: writes no more than the key that it is given.
    let read = unsafe { call(nr::PREAD, [IMAGE, &raw mut key as u64, key_len, 0, 0, 0]) };
    if read.at(Stage::Image)? != key_len || key.magic != MAGIC {
        return Err(bad);
    }
    let body_len = key.body_len;
    if body_len % PAGE != 0 || body_len < 3 * PAGE || body_len > BODY_MAX {
        return Err(bad);
    }
    let flags = PRIVATE | FIXED_NO_REPLACE | POPULATE;
    map(BODY_MAPPED_AT, body_len, 1, flags, IMAGE, 0).at(Stage::Image)?;
    let head = List::<Head>::within(body_len, PAGE, 1, 1).and_then(|head| head.get(0));
    let Some(head) = head else { return Err(bad) };
    let lists = (
        List::<Step>::within(body_len, head.steps_at, head.steps, STEPS_MAX),
        List::<FileFacts>::within(body_len, head.files_at, head.files, FILES_MAX),
        List::<u8>::within(body_len, head.names_at, head.names_len, NAMES_MAX),
        List::<Signal>::within(body_len, head.signals_at, head.signals, 64),
        List::<u8>::within(
            body_len,
            head.auxiliary_at,
            head.auxiliary_len,
            AUXILIARY_MAX,
        ),
        List::<OpenFile>::within(body_len, head.open_at, head.open, OPEN_MAX),
    );
    let (Some(steps), Some(files), Some(names), Some(signals), Some(auxiliary), Some(opened)) =
        lists
    else {
        return Err(bad);
    };
    let frame_fits = head.frame_at % PAGE == 0 && head.frame_at <= body_len - PAGE;
    // The last name is ended, so each of them is.
    if !frame_fits || names.len == 0 || names.get(names.len - 1) != Some(0) {
        return Err(bad);
    }
    for place in 0..steps.len {
        if !steps.get(place).is_some_and(is_sound) {
            return Err(bad);
        }
    }
    if head.folder >= names.len {
        return Err(bad);
    }
    let folder = names.first as u64 + head.folder;
    // SAFETY: a zero-ended string of the mapped body.
    unsafe { call(nr::CHDIR, [folder, 0, 0, 0, 0, 0]) }.at(Stage::Files)?;
    clear(vdso, &head, steps)?;
    let mut open = Open::default();
    for place in 0..steps.len {
        if let Some(step) = steps.get(place) {
            lay(step, &head, files, names, &mut open)?;
        }
    }
    open.close();
    become_it(&head, steps, signals, auxiliary).at(Stage::Process)?;
    // Last of all that may fail by name: the numbers of image and control socket may be theirs.
    let own = Own::above(opened).at(Stage::Files)?;
    for place in 0..opened.len {
        if let Some(one) = opened.get(place) {
            reopen(one, files, names, own).map_err(|errno| own.failed(errno))?;
        }
    }
    match jump(&head, own) {
        Err(Failed(stage, errno)) => {
            say(own.control, stage, errno);
            exit(125)
        }
        Ok(never) => match never {},
    }
}

/// Whole pages, where a process may have them and the restorer has none.
fn is_sound(step: Step) -> bool {
    let Some(end) = step.address.checked_add(step.len) else {
        return false;
    };
    let apart = end <= RESTORER_BASE || step.address >= RESTORER_END;
    step.len > 0
        && step.address % PAGE == 0
        && step.len % PAGE == 0
        && step.offset % PAGE == 0
        && step.address >= USER_START
        && end <= USER_END
        && apart
        && step.kind <= StepKind::COPIED
        && step.protection <= 7
}

fn map(at: u64, len: u64, protection: u64, flags: u64, file: u64, offset: u64) -> Result<(), i32> {
    // SAFETY: never over the restorer: its own ranges by design, those of steps by `is_sound`.
    let mapped = unsafe { call(nr::MMAP, [at, len, protection, flags, file, offset]) }?;
    // A kernel that does not know MAP_FIXED_NOREPLACE takes it for a hint.
    if mapped == at { Ok(()) } else { Err(EINVAL) }
}

/// vdso and vvar out of the way, then nothing is left but this program.
fn clear(vdso: u64, head: &Head, steps: List<Step>) -> Result<(), Failed> {
    for place in 0..steps.len {
        if let Some(step) = steps
            .get(place)
            .filter(|step| step.kind == StepKind::KERNEL)
        {
            // The same kernel lays them out alike around the vdso.
            let apart = step.address.wrapping_sub(head.vdso);
            let from = vdso.wrapping_add(apart);
            let to = stashed(step, head)?;
            // SAFETY: to a place inside the restorer's own range, where nothing else is.
            unsafe { call(nr::MREMAP, [from, step.len, step.len, MOVE, to, 0]) }
                .at(Stage::KernelPages)?;
        }
    }
    for (from, to) in [(0, RESTORER_BASE), (RESTORER_END, USER_END)] {
        // SAFETY: nothing of this program lies there: code, stack and the mapped body are between.
        unsafe { call(nr::MUNMAP, [from, to - from, 0, 0, 0, 0]) }.at(Stage::Memory)?;
    }
    Ok(())
}

/// Where a kernel page of the image waits: as far from the stash's middle as from the vdso.
fn stashed(step: Step, head: &Head) -> Result<u64, Failed> {
    const MIDDLE: u64 = STASH_AT + 0x100_0000;
    let at = MIDDLE.wrapping_add(step.address.wrapping_sub(head.vdso));
    if at < STASH_AT || at.saturating_add(step.len) > RESTORER_END {
        return Err(Failed(Stage::KernelPages, EINVAL));
    }
    Ok(at)
}

/// The file that was mapped last: the next mapping is of the same one more often than not.
#[derive(Default)]
struct Open {
    file: Option<(u32, u64)>,
}

impl Open {
    fn get(&mut self, number: u32, facts: &FileFacts, name: u64) -> Result<u64, i32> {
        if let Some((_, file)) = self.file.filter(|(open, _)| *open == number) {
            return Ok(file);
        }
        self.close();
        let file = open_same(facts, name)?;
        self.file = Some((number, file));
        Ok(file)
    }

    fn close(&mut self) {
        if let Some((_, file)) = self.file.take() {
            // SAFETY: a descriptor of ours, used no more.
            let _ = unsafe { call(nr::CLOSE, [file, 0, 0, 0, 0, 0]) };
        }
    }
}

fn lay(
    step: Step,
    head: &Head,
    files: List<FileFacts>,
    names: List<u8>,
    open: &mut Open,
) -> Result<(), Failed> {
    let protection = u64::from(step.protection);
    let Step {
        address,
        len,
        offset,
        ..
    } = step;
    let empty = |flags| map(address, len, protection, flags, u64::MAX, 0).at(Stage::Memory);
    match step.kind {
        StepKind::KERNEL => {
            let from = stashed(step, head)?;
            // SAFETY: the place is sound, and nothing of ours is there.
            unsafe { call(nr::MREMAP, [from, len, len, MOVE, address, 0]) }
                .at(Stage::KernelPages)
                .map(drop)
        }
        StepKind::PAGES => {
            map(address, len, protection, PRIVATE | FIXED, IMAGE, offset).at(Stage::Memory)
        }
        StepKind::COPIED => copy(step).at(Stage::Memory),
        StepKind::EMPTY if protection == 0 => {
            empty(PRIVATE | ANONYMOUS | FIXED_NO_REPLACE | NO_RESERVE)
        }
        StepKind::EMPTY => empty(PRIVATE | ANONYMOUS | FIXED_NO_REPLACE),
        StepKind::DROPPABLE => empty(DROPPABLE | ANONYMOUS | FIXED_NO_REPLACE),
        StepKind::WIPED => {
            empty(PRIVATE | ANONYMOUS | FIXED_NO_REPLACE)?;
            // SAFETY: advice about what was just mapped.
            unsafe { call(nr::MADVISE, [address, len, WIPE_ON_FORK, 0, 0, 0]) }
                .at(Stage::Memory)
                .map(drop)
        }
        _ => {
            let facts = files.get(u64::from(step.file));
            let Some(facts) = facts.filter(|facts| facts.name < names.len) else {
                return Err(Failed(Stage::Image, EINVAL));
            };
            let name = names.first as u64 + facts.name;
            let file = open.get(step.file, &facts, name).at(Stage::Files)?;
            let flags = PRIVATE | FIXED_NO_REPLACE;
            map(address, len, protection, flags, file, offset).at(Stage::Memory)
        }
    }
}

/// Reads pages of the image into memory that was laid before; what is not there or may not be
/// written is an error of the kernel's.
fn copy(step: Step) -> Result<(), i32> {
    let Step {
        address,
        len,
        offset,
        ..
    } = step;
    let mut done = 0;
    while done < len {
        // SAFETY: `is_sound` keeps the range away from everything of ours.
        let read = unsafe {
            call(
                nr::PREAD,
                [IMAGE, address + done, len - done, offset + done, 0, 0],
            )
        }?;
        if read == 0 {
            return Err(EINVAL);
        }
        done += read;
    }
    Ok(())
}

/// Opens a file of this root that must be the one that the process had mapped.
fn open_same(facts: &FileFacts, name: u64) -> Result<u64, i32> {
    // struct stat of x86-64 as words: device, inode, …, size, …, changed.
    const STAT_WORDS: usize = 18;
    let mut found = [0u64; STAT_WORDS];
    // SAFETY: a zero-ended string of the mapped body; a structure of our own.
    let file = unsafe { call(nr::OPEN, [name, CLOSE_ON_EXEC, 0, 0, 0, 0]) }?;
    // SAFETY: `found` has the size of the structure.
    unsafe { call(nr::FSTAT, [file, found.as_mut_ptr() as u64, 0, 0, 0, 0]) }?;
    let [
        device,
        inode,
        _,
        _,
        _,
        _,
        size,
        _,
        _,
        _,
        _,
        changed_s,
        changed_ns,
        ..,
    ] = found;
    let same = (facts.device, facts.inode, facts.size) == (device, inode, size)
        && (facts.changed_s, facts.changed_ns) == (changed_s, changed_ns);
    if same { Ok(file) } else { Err(ESTALE) }
}

/// What belongs to the process and not to its memory.
fn become_it(
    head: &Head,
    steps: List<Step>,
    signals: List<Signal>,
    auxiliary: List<u8>,
) -> Result<(), i32> {
    const SET_MM: u64 = 35;
    const SET_MM_MAP: u64 = 14;
    const SET_NAME: u64 = 15;
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    #[repr(C)]
    struct Areas {
        areas: [u64; 11],
        auxiliary: u64,
        auxiliary_len: u32,
        program: u32,
    }
    let areas = Areas {
        areas: head.areas,
        auxiliary: auxiliary.first as u64,
        auxiliary_len: auxiliary.len as u32,
        program: u32::MAX,
    };
    // SAFETY: each call reads a structure of ours or takes plain numbers; what the process is to
    // find in its memory is its own matter.
    unsafe {
        let len = size_of::<Areas>() as u64;
        call(
            nr::PRCTL,
            [SET_MM, SET_MM_MAP, &raw const areas as u64, len, 0, 0],
        )?;
        for place in 0..signals.len {
            if let Some(signal) = signals.get(place) {
                let action = &raw const signal.handler as u64;
                call(nr::RT_SIGACTION, [signal.number, action, 0, 8, 0, 0])?;
            }
        }
        call(nr::PRCTL, [SET_NAME, head.name.as_ptr() as u64, 0, 0, 0, 0])?;
        call(nr::UMASK, [head.umask, 0, 0, 0, 0, 0])?;
        call(nr::ARCH_PRCTL, [SET_FS, head.fs_base, 0, 0, 0, 0])?;
        if head.gs_base != 0 {
            call(nr::ARCH_PRCTL, [SET_GS, head.gs_base, 0, 0, 0, 0])?;
        }
        // As after a fork: the new id where libc keeps it.
        if !may_be_written(steps, head.tid_address) {
            return Err(EINVAL);
        }
        let id = call(nr::SET_TID_ADDRESS, [head.tid_address, 0, 0, 0, 0, 0])? as i32;
        (head.tid_address as *mut i32).write_unaligned(id);
        if head.robust_len != 0 {
            call(
                nr::SET_ROBUST_LIST,
                [head.robust, head.robust_len, 0, 0, 0, 0],
            )?;
        }
        if head.rseq != 0 {
            let sequence = [head.rseq, head.rseq_len, 0, head.rseq_signature, 0, 0];
            call(nr::RSEQ, sequence)?;
        }
    }
    for (number, flags) in head.descriptor_flags.iter().enumerate() {
        const SET_DESCRIPTOR: u64 = 2;
        const SET_STATUS: u64 = 4;
        let number = number as u64;
        let on_exec = u64::from(flags & CLOSE_ON_EXEC != 0);
        // SAFETY: plain numbers.
        unsafe {
            call(nr::FCNTL, [number, SET_DESCRIPTOR, on_exec, 0, 0, 0])?;
            if flags & STATUS_FLAGS != 0 {
                call(
                    nr::FCNTL,
                    [number, SET_STATUS, flags & STATUS_FLAGS, 0, 0, 0],
                )?;
            }
        }
    }
    Ok(())
}

/// Where the image and the control socket are once the process's own files are there.
#[derive(Clone, Copy)]
struct Own {
    image: u64,
    control: u64,
}

impl Own {
    /// Moves both out of the way of every number that is wanted.
    fn above(opened: List<OpenFile>) -> Result<Self, i32> {
        const DUPLICATE: u64 = 1030; // F_DUPFD_CLOEXEC
        if opened.len == 0 {
            return Ok(Own {
                image: IMAGE,
                control: CONTROL,
            });
        }
        let mut first = CONTROL + 1;
        for place in 0..opened.len {
            first = first.max(
                opened
                    .get(place)
                    .map_or(0, |one| one.number.saturating_add(1)),
            );
        }
        // SAFETY: plain numbers; the old ones are ours and used no more.
        unsafe {
            let image = call(nr::FCNTL, [IMAGE, DUPLICATE, first, 0, 0, 0])?;
            let control = call(nr::FCNTL, [CONTROL, DUPLICATE, first, 0, 0, 0])?;
            call(nr::CLOSE, [IMAGE, 0, 0, 0, 0, 0])?;
            call(nr::CLOSE, [CONTROL, 0, 0, 0, 0, 0])?;
            Ok(Own { image, control })
        }
    }

    /// Says it where the control socket is now, and ends.
    fn failed(self, errno: i32) -> Failed {
        say(self.control, Stage::Files, errno);
        exit(125)
    }
}

/// A file that the process had open, where it had it.
fn reopen(one: OpenFile, files: List<FileFacts>, names: List<u8>, own: Own) -> Result<(), i32> {
    let facts = files.get(one.file).filter(|facts| facts.name < names.len);
    let Some(facts) = facts else {
        return Err(EINVAL);
    };
    if one.number < KEPT_DESCRIPTORS as u64 || [own.image, own.control].contains(&one.number) {
        return Err(EINVAL);
    }
    let file = open_same(&facts, names.first as u64 + facts.name)?;
    let flags = if one.close_on_exec != 0 {
        CLOSE_ON_EXEC
    } else {
        0
    };
    // SAFETY: plain numbers; the target is not one of ours.
    unsafe {
        call(nr::LSEEK, [file, one.position, 0, 0, 0, 0])?;
        if file == one.number {
            let on_exec = u64::from(flags != 0);
            call(nr::FCNTL, [file, 2, on_exec, 0, 0, 0])?;
        } else {
            call(nr::DUP3, [file, one.number, flags, 0, 0, 0])?;
            call(nr::CLOSE, [file, 0, 0, 0, 0, 0])?;
        }
    }
    Ok(())
}

/// Whether four bytes from `at` on lie in memory of the process that it may write.
fn may_be_written(steps: List<Step>, at: u64) -> bool {
    const WRITE: u32 = 2;
    let holds = |step: Step| {
        step.protection & WRITE != 0
            && step.address <= at
            && at
                .checked_add(4)
                .is_some_and(|end| end <= step.address + step.len)
    };
    (0..steps.len).any(|place| steps.get(place).is_some_and(holds))
}

/// The last page of code and the registers go to a place that nobody can guess, then this program
/// unmaps itself from there and the kernel loads the registers.
fn jump(head: &Head, own: Own) -> Result<Never, Failed> {
    const FIRST: u64 = 0x1100_0000_0000;
    const PAGES: u64 = 0x6000_0000_0000 / PAGE;
    let reserve = PRIVATE | ANONYMOUS | FIXED_NO_REPLACE | NO_RESERVE;
    let mut place = None;
    for _ in 0..64 {
        let mut random = 0u64;
        // SAFETY: eight bytes of ours.
        unsafe { call(nr::GETRANDOM, [&raw mut random as u64, 8, 0, 0, 0, 0]) }.at(Stage::Jump)?;
        let at = FIRST + random % PAGES * PAGE;
        if map(at, 2 * PAGE, 0, reserve, u64::MAX, 0).is_ok() {
            place = Some(at);
            break;
        }
    }
    let Some(code) = place else {
        return Err(Failed(Stage::Jump, EINVAL));
    };
    let frame = code + PAGE;
    map(frame, PAGE, 3, PRIVATE | FIXED, own.image, head.frame_at).at(Stage::Jump)?;
    // SAFETY: a private, writable page that was just mapped and holds a frame. The trampoline's
    // page is not the one that runs, and knows only registers. Nothing of ours is used after it.
    unsafe {
        let registers = frame as *mut Frame;
        (*registers).float_at = frame + core::mem::offset_of!(Frame, float) as u64;
        call(nr::MPROTECT, [frame, PAGE, 1, 0, 0, 0]).at(Stage::Jump)?;
        let from = &raw const trampoline as u64;
        call(nr::MREMAP, [from, PAGE, PAGE, MOVE, code, 0]).at(Stage::Jump)?;
        call(nr::CLOSE, [own.image, 0, 0, 0, 0, 0]).at(Stage::Jump)?;
        // Without a word: whoever listens takes the end for the beginning of the process.
        let _ = call(nr::CLOSE, [own.control, 0, 0, 0, 0, 0]);
        core::arch::asm!(
            "jmp {code}",
            code = in(reg) code,
            in("rdi") RESTORER_BASE,
            in("rsi") RESTORER_END - RESTORER_BASE,
            in("rdx") frame,
            options(noreturn),
        );
    }
}
