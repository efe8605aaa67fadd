//! What an image is made of, put together while the process stands still: steps, files, names,
//! and where its pages will lie.
//!
//! Two passes: this one looks and counts, so that the sizes are known before a byte is written;
//! the second copies. Refuses more steps, files, names or pages than the form has room for.

use super::{
    Obstacle, ObstacleKind, RESTORER_PATH,
    look::{MAPPINGS_MAX, Mapping},
};
use crate::sys::{
    bytes_of,
    restorer::{
        FILES_MAX, FileFacts, Frame, Head, Key, NAMES_MAX, OPEN_MAX, OpenFile, PAGE, RESTORER_BASE,
        RESTORER_END, STEPS_MAX, Signal, Step, StepKind, USER_END, USER_START,
    },
};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat2};
use std::{
    collections::HashMap,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
};

/// Pages that are not a process's own but lie between two that are, and are carried with them:
/// one mapping less is worth more.
const GAP_MAX: u64 = 8;
/// Entries of the page map read at once.
const CHUNK: u64 = 32 << 10;
/// Pages whose entries are looked at in all, present or not: 256 GiB.
const LOOKED_AT_MAX: u64 = 64 << 20;
/// As far as a stack may grow, which after a thaw is all there.
const STACK_LEN: u64 = 8 << 20;
/// What stays free below a stack.
const STACK_GAP: u64 = 1 << 20;

/// A file that the process has open, as `/proc` says.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) position: u64,
    pub(super) close_on_exec: bool,
}

/// The lists so far.
pub(super) struct Body<'a> {
    /// The process's root.
    root: BorrowedFd<'a>,
    page_map: &'a File,
    steps: Vec<Step>,
    files: Vec<FileFacts>,
    opened: Vec<OpenFile>,
    known: HashMap<String, u32>,
    names: Vec<u8>,
    pages: u64,
    pages_max: u64,
    looked_at: u64,
    stack_pointer: u64,
    pub(super) vdso: u64,
    pub(super) heap_end: u64,
    trampoline_end: u64,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        root: BorrowedFd<'a>,
        page_map: &'a File,
        bytes_max: u64,
        stack_pointer: u64,
    ) -> Self {
        Body {
            root,
            page_map,
            steps: Vec::new(),
            files: Vec::new(),
            opened: Vec::new(),
            known: HashMap::new(),
            names: Vec::new(),
            pages: 0,
            pages_max: bytes_max / PAGE,
            looked_at: 0,
            stack_pointer,
            vdso: 0,
            heap_end: 0,
            trampoline_end: 0,
        }
    }

    /// A name, zero-ended; its offset.
    pub(super) fn name(&mut self, name: &str) -> Result<u64, Obstacle> {
        let at = self.names.len();
        let fits = at + name.len() < NAMES_MAX as usize;
        if !fits || name.bytes().any(|byte| byte == 0) || name.contains(char::REPLACEMENT_CHARACTER)
        {
            return Err(ObstacleKind::Names.into());
        }
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        Ok(at as u64)
    }

    /// Everything that is mapped, in the order of addresses.
    pub(super) fn lay_all(&mut self, mappings: &[Mapping]) -> Result<(), Obstacle> {
        debug_assert!(mappings.len() <= MAPPINGS_MAX);
        let mut before = 0;
        for mapping in mappings {
            self.lay(mapping, before)?;
            before = mapping.end;
        }
        Ok(())
    }

    fn lay(&mut self, mapping: &Mapping, before: u64) -> Result<(), Obstacle> {
        let name = mapping.name.as_str();
        if name == "[vsyscall]" {
            return Ok(());
        }
        let ordered = mapping.start < mapping.end && mapping.start >= before.max(USER_START);
        let apart = mapping.end <= RESTORER_BASE || mapping.start >= RESTORER_END;
        if !ordered || mapping.end > USER_END || !apart {
            return Err(ObstacleKind::Area.into());
        }
        if name == "[vdso]" || name.starts_with("[vvar") {
            if name == "[vdso]" {
                self.vdso = mapping.start;
            }
            return self.push(StepKind::KERNEL, mapping, mapping.start, 0, 0);
        }
        // Huge pages, shadow stacks, devices, pages that somebody else fills.
        let special = [b"ht", b"ss", b"io", b"pf", b"uw", b"um"];
        if special.iter().any(|flag| mapping.has(flag)) || mapping.protection_key != 0 {
            return Err(ObstacleKind::SpecialMemory.into());
        }
        // Not handed down by a fork, so not by an image either.
        if mapping.has(b"dc") {
            return Ok(());
        }
        let writable = mapping.protection & 2 != 0 || mapping.has(b"mw");
        if mapping.shared && (writable || mapping.inode == 0) {
            return Err(ObstacleKind::SharedMemory.into());
        }
        // Emptied by a fork: a library notices there that it has been copied, or keeps a key of
        // its random numbers. Twins must not share either.
        if mapping.has(b"dp") {
            return self.push(StepKind::DROPPABLE, mapping, mapping.start, 0, 0);
        }
        if mapping.has(b"wf") {
            return self.push(StepKind::WIPED, mapping, mapping.start, 0, 0);
        }
        let in_memory = name.starts_with("/memfd:");
        if self.is_left_of_a_thaw(mapping) {
            return Ok(());
        }
        if mapping.inode == 0 || in_memory {
            let mut start = mapping.start;
            if name == "[stack]" {
                let lowest = mapping
                    .end
                    .saturating_sub(STACK_LEN)
                    .max(before + STACK_GAP);
                start = start.min(lowest);
            }
            if name == "[heap]" {
                self.heap_end = mapping.end;
            }
            self.push(StepKind::EMPTY, mapping, start, 0, 0)?;
        } else {
            if name.ends_with(" (deleted)") {
                return Err(ObstacleKind::DeletedFile.into());
            }
            if name.starts_with("/tmp/") || name.starts_with("/dev/") {
                return Err(ObstacleKind::OwnFile.into());
            }
            let file = self.file(name)?;
            self.push(StepKind::FILE, mapping, mapping.start, mapping.offset, file)?;
        }
        // The file of such a mapping is gone, as an image's is: all of it is carried.
        if in_memory {
            let pages = (mapping.end - mapping.start) / PAGE;
            self.push_pages(mapping, 0, pages)
        } else if mapping.present {
            self.lay_pages(mapping)
        } else {
            Ok(())
        }
    }

    /// A file that the process has open for reading: one that every instance has.
    pub(super) fn open(&mut self, open: &Opened) -> Result<(), Obstacle> {
        let obstacle = ObstacleKind::File.of(open.number);
        let own = ["/tmp/", "/dev/", "/proc/"];
        let is_own = own.iter().any(|top| open.name.starts_with(top));
        let full = self.opened.len() as u64 >= OPEN_MAX;
        if is_own || full || !open.name.starts_with('/') || open.name.ends_with(" (deleted)") {
            return Err(obstacle);
        }
        let file = self.file(&open.name).map_err(|_| obstacle)?.into();
        // Two numbers of one open file share where it reads; two opened anew would not.
        if self.opened.iter().any(|other| other.file == file) {
            return Err(obstacle);
        }
        self.opened.push(OpenFile {
            number: open.number,
            file,
            position: open.position,
            close_on_exec: open.close_on_exec.into(),
        });
        Ok(())
    }

    /// The last two pages of the restorer of whoever was thawed: code and registers of the jump.
    fn is_left_of_a_thaw(&mut self, mapping: &Mapping) -> bool {
        let one_page = mapping.end - mapping.start == PAGE;
        let is_code = mapping.name == RESTORER_PATH && mapping.protection == 5;
        let is_frame = mapping.start == self.trampoline_end && mapping.protection == 1;
        if one_page && is_code {
            self.trampoline_end = mapping.end;
        }
        one_page && (is_code || is_frame)
    }

    /// A mapped file of the process's root, which must be there under its name.
    fn file(&mut self, name: &str) -> Result<u32, Obstacle> {
        if let Some(known) = self.known.get(name) {
            return Ok(*known);
        }
        if self.files.len() as u64 >= FILES_MAX {
            return Err(ObstacleKind::Names.into());
        }
        let below = name.strip_prefix('/').ok_or(ObstacleKind::Names)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let file = openat2(self.root, below, flags, Mode::empty(), resolve)
            .map_err(|_| ObstacleKind::DeletedFile)?;
        let facts = fstat(&file)?;
        let at = self.name(name)?;
        let number = self.files.len() as u32;
        self.files.push(FileFacts {
            name: at,
            device: facts.st_dev,
            inode: facts.st_ino,
            size: facts.st_size.cast_unsigned(),
            changed_s: facts.st_mtime.cast_unsigned(),
            changed_ns: facts.st_mtime_nsec,
        });
        self.known.insert(name.to_owned(), number);
        Ok(number)
    }

    fn push(
        &mut self,
        kind: u32,
        mapping: &Mapping,
        start: u64,
        offset: u64,
        file: u32,
    ) -> Result<(), Obstacle> {
        self.push_step(Step {
            address: start,
            len: mapping.end - start,
            offset,
            kind,
            protection: mapping.protection,
            file,
            padding: 0,
        })
    }

    fn push_step(&mut self, step: Step) -> Result<(), Obstacle> {
        if self.steps.len() as u64 >= STEPS_MAX {
            return Err(ObstacleKind::Mappings.of(STEPS_MAX));
        }
        self.steps.push(step);
        Ok(())
    }

    /// The pages of `mapping` that are the process's own: in memory or in swap, and of no file.
    fn lay_pages(&mut self, mapping: &Mapping) -> Result<(), Obstacle> {
        let pages = (mapping.end - mapping.start) / PAGE;
        self.looked_at = self.looked_at.saturating_add(pages);
        if self.looked_at > LOOKED_AT_MAX {
            return Err(ObstacleKind::Size.of(LOOKED_AT_MAX * PAGE));
        }
        let mut bytes = vec![0u8; (CHUNK.min(pages) * 8) as usize];
        let mut run: Option<(u64, u64)> = None;
        let mut first = self.dead_pages(mapping);
        while first < pages {
            let count = CHUNK.min(pages - first);
            let chunk = &mut bytes[..(count * 8) as usize];
            let at = (mapping.start / PAGE + first) * 8;
            self.page_map.read_exact_at(chunk, at)?;
            for (place, entry) in chunk.as_chunks::<8>().0.iter().enumerate() {
                let entry = u64::from_le_bytes(*entry);
                let (there, of_a_file) = (entry >> 62 != 0, entry >> 61 & 1 == 1);
                if !there || of_a_file {
                    continue;
                }
                let page = first + place as u64;
                run = match run {
                    Some((start, last)) if page - last <= GAP_MAX => Some((start, page)),
                    Some((start, last)) => {
                        self.push_pages(mapping, start, last + 1 - start)?;
                        Some((page, page))
                    }
                    None => Some((page, page)),
                };
            }
            first += count;
        }
        match run {
            Some((start, last)) => self.push_pages(mapping, start, last + 1 - start),
            None => Ok(()),
        }
    }

    /// Pages at the beginning of the stack it is on that nobody reads again: what lies further below its
    /// pointer than a function without calls may write was left by calls that have returned.
    fn dead_pages(&self, mapping: &Mapping) -> u64 {
        const RED_ZONE: u64 = 128;
        let is_current = (mapping.start..mapping.end).contains(&self.stack_pointer);
        if mapping.name != "[stack]" || !is_current {
            return 0;
        }
        let lowest = self.stack_pointer.saturating_sub(RED_ZONE);
        lowest.saturating_sub(mapping.start) / PAGE
    }

    /// `count` pages from the `first` of a mapping on; their place in the image counts from the
    /// first page of all until the body's length is known.
    fn push_pages(&mut self, mapping: &Mapping, first: u64, count: u64) -> Result<(), Obstacle> {
        let offset = self.pages * PAGE;
        self.pages += count;
        if self.pages > self.pages_max {
            return Err(ObstacleKind::Size.of(self.pages_max * PAGE));
        }
        let (address, len) = (mapping.start + first * PAGE, count * PAGE);
        // What is covered whole needs not be there: every step is a call of each thaw.
        let is_covered = |below: &mut Step| {
            let bare = matches!(below.kind, StepKind::FILE | StepKind::EMPTY);
            bare && (below.address, below.len) == (address, len)
        };
        let copied = mapping.name == "[stack]";
        if !copied {
            self.steps.pop_if(is_covered);
        }
        self.push_step(Step {
            address,
            len,
            offset,
            kind: match mapping.name.as_str() {
                "[stack]" if mapping.protection & 2 != 0 => StepKind::COPIED,
                _ => StepKind::PAGES,
            },
            protection: mapping.protection,
            file: 0,
            padding: 0,
        })
    }

    /// Whether four bytes at `address` are the process's own and may be written.
    pub(super) fn is_own(&self, address: u64) -> bool {
        let holds = |step: &Step| {
            let end = address.checked_add(4);
            step.protection & 2 != 0
                && step.address <= address
                && end.is_some_and(|end| end <= step.address + step.len)
        };
        self.steps.iter().any(holds)
    }

    /// Writes everything but the key; lengths of body and image.
    pub(super) fn write(
        mut self,
        image: &File,
        memory: &File,
        mut head: Head,
        signals: &[Signal],
        auxiliary: &[u8],
        frame: &Frame,
    ) -> Result<(u64, u64), Obstacle> {
        let mut end = PAGE + size_of::<Head>() as u64;
        let mut place = |len: usize| {
            let at = end;
            end = (end + len as u64).next_multiple_of(8);
            at
        };
        head.steps_at = place(size_of_val(&self.steps[..]));
        head.files_at = place(size_of_val(&self.files[..]));
        head.names_at = place(self.names.len());
        head.signals_at = place(size_of_val(signals));
        head.auxiliary_at = place(auxiliary.len());
        head.open_at = place(size_of_val(&self.opened[..]));
        head.open = self.opened.len() as u64;
        head.steps = self.steps.len() as u64;
        head.files = self.files.len() as u64;
        head.names_len = self.names.len() as u64;
        head.signals = signals.len() as u64;
        head.auxiliary_len = auxiliary.len() as u64;
        head.frame_at = end.next_multiple_of(PAGE);
        let body_len = head.frame_at + PAGE;
        let image_len = body_len + self.pages * PAGE;
        image.set_len(image_len)?;
        let mut buffer = vec![0u8; 1 << 20];
        for step in &mut self.steps {
            if matches!(step.kind, StepKind::PAGES | StepKind::COPIED) {
                step.offset += body_len;
                copy(memory, image, step, &mut buffer)?;
            }
        }
        debug_assert!(size_of::<Key>() as u64 <= PAGE);
        image.write_all_at(bytes_of(&[head]), PAGE)?;
        image.write_all_at(bytes_of(&self.steps), head.steps_at)?;
        image.write_all_at(bytes_of(&self.files), head.files_at)?;
        image.write_all_at(&self.names, head.names_at)?;
        image.write_all_at(bytes_of(signals), head.signals_at)?;
        image.write_all_at(auxiliary, head.auxiliary_at)?;
        image.write_all_at(bytes_of(&self.opened), head.open_at)?;
        image.write_all_at(bytes_of(&[*frame]), head.frame_at)?;
        Ok((body_len, image_len))
    }
}

/// The pages of a step, from the process into the image.
fn copy(memory: &File, image: &File, step: &Step, buffer: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < step.len {
        let count = (step.len - done).min(buffer.len() as u64);
        let part = &mut buffer[..count as usize];
        memory.read_exact_at(part, step.address + done)?;
        image.write_all_at(part, step.offset + done)?;
        done += count;
    }
    Ok(())
}

/// A process's root, to find its files below.
pub(super) fn root_of(process: BorrowedFd<'_>) -> Result<std::os::fd::OwnedFd, Obstacle> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(
        process.as_fd(),
        "root",
        flags,
        Mode::empty(),
    )?)
}
