//! The form of a start image, word for word the same for who writes one and who becomes it.
//!
//! ```text
//! page 0        Key: written by the spawner alone, last
//! page 1 …      Head, then its lists: steps, files, names, signals, auxiliary vector
//! frame_at      one page: the registers, as rt_sigreturn(2) reads them
//! body_len …    pages of the process
//! ```
//!
//! Everything but the key comes from a process that looked at a hostile one, so whoever reads it
//! takes it for noise. Compiled twice: as a module of the crate, and into the restorer, which has
//! no standard library. Refuses nothing by itself; holds no code.

/// First word of every image; the digit is the form's version.
pub const MAGIC: u64 = u64::from_le_bytes(*b"fhimage2");
/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// The longest key, head and lists together.
pub const BODY_MAX: u64 = 4 << 20;
/// The most steps.
pub const STEPS_MAX: u64 = 16_384;
/// The most files that mappings are of.
pub const FILES_MAX: u64 = 2048;
/// The longest table of names.
pub const NAMES_MAX: u64 = 512 << 10;
/// The most files that the process has open.
pub const OPEN_MAX: u64 = 64;
/// The longest auxiliary vector.
pub const AUXILIARY_MAX: u64 = 1024;

/// The restorer is linked here, far from anything that a runtime maps; up to [`RESTORER_END`]
/// is its own until it has become the process.
pub const RESTORER_BASE: u64 = 0x1000_0000_0000;
/// Key, head and lists are mapped here.
pub const BODY_MAPPED_AT: u64 = RESTORER_BASE + 0x2000_0000;
/// vdso and vvar wait here while everything else is replaced.
pub const STASH_AT: u64 = RESTORER_BASE + 0x4000_0000;
/// End of what is the restorer's.
pub const RESTORER_END: u64 = RESTORER_BASE + 0x8000_0000;
/// First address that a process cannot have.
pub const USER_END: u64 = 0x7fff_ffff_f000;
/// First address that a mapping of an image may have.
pub const USER_START: u64 = 0x1_0000;

/// The image's descriptor in the restorer.
pub const IMAGE_DESCRIPTOR: i32 = 4;
/// The control socket's: it says what failed, and its end says that nothing did.
pub const CONTROL_DESCRIPTOR: i32 = 5;
/// Descriptors that a process in an image has: input, output, errors, frames.
pub const KEPT_DESCRIPTORS: usize = 4;

/// First byte of the packet by which the restorer says what failed; the stage's number as `u16`
/// and the errno as `i32` follow.
pub const FAILED_PACKET: u8 = 2;
/// The stages of a thaw, by their number in that packet.
pub const STAGES: [&str; 6] = [
    "thaw_image",
    "thaw_files",
    "thaw_kernel_pages",
    "thaw_memory",
    "thaw_process",
    "thaw_jump",
];

/// Structures of integers in a fixed order without padding: what is written is what is read.
pub trait Plain: Copy {}
impl Plain for Key {}
impl Plain for Head {}
impl Plain for Step {}
impl Plain for FileFacts {}
impl Plain for Signal {}
impl Plain for OpenFile {}
impl Plain for Frame {}

/// What an image fits, one hash each. The spawner writes it once the dumper has ended.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Key {
    /// [`MAGIC`].
    pub magic: u64,
    /// Key, head, lists and frame; whole pages.
    pub body_len: u64,
    /// All of it; whole pages.
    pub image_len: u64,
    /// Kernel release and version.
    pub kernel: u64,
    /// This boot: clocks of another one are not ours.
    pub boot: u64,
    /// Processor and its features.
    pub processor: u64,
    /// The filter of a guest, and the restorer.
    pub policy: u64,
    /// Row and digest of the runtime.
    pub runtime: u64,
    /// The process's pid in its own namespace: no instance of the image may have it.
    pub pid: u64,
}

/// Where the lists are and what belongs to the process as a whole. Offsets count from the start
/// of the image.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Head {
    /// [`Step`]s.
    pub steps_at: u64,
    /// How many.
    pub steps: u64,
    /// [`FileFacts`].
    pub files_at: u64,
    /// How many.
    pub files: u64,
    /// Zero-ended names.
    pub names_at: u64,
    /// Bytes.
    pub names_len: u64,
    /// [`Signal`]s.
    pub signals_at: u64,
    /// How many.
    pub signals: u64,
    /// The auxiliary vector.
    pub auxiliary_at: u64,
    /// Bytes.
    pub auxiliary_len: u64,
    /// [`OpenFile`]s.
    pub open_at: u64,
    /// How many.
    pub open: u64,
    /// A page that holds a [`Frame`].
    pub frame_at: u64,
    /// Name of the working folder.
    pub folder: u64,
    /// Thread pointer.
    pub fs_base: u64,
    /// The other segment base.
    pub gs_base: u64,
    /// Where libc keeps its thread's id, which the kernel clears at its end.
    pub tid_address: u64,
    /// List of robust futexes.
    pub robust: u64,
    /// Its length, as the kernel was told.
    pub robust_len: u64,
    /// Area of restartable sequences; 0 for none.
    pub rseq: u64,
    /// Its length.
    pub rseq_len: u64,
    /// Its signature.
    pub rseq_signature: u64,
    /// Where the process has its vdso.
    pub vdso: u64,
    /// Code, data, heap, stack, arguments and environment, in the order of `prctl_mm_map`.
    pub areas: [u64; 11],
    /// Mask of modes of new files.
    pub umask: u64,
    /// Status flags of the first descriptors, close-on-exec among them.
    pub descriptor_flags: [u64; KEPT_DESCRIPTORS],
    /// The process's name, zero-ended.
    pub name: [u8; 16],
}

/// What becomes of one range of addresses.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Step {
    /// First address.
    pub address: u64,
    /// Bytes.
    pub len: u64,
    /// In the file or in the image.
    pub offset: u64,
    /// [`StepKind`].
    pub kind: u32,
    /// `PROT_*`.
    pub protection: u32,
    /// Number of the file.
    pub file: u32,
    /// Nothing.
    pub padding: u32,
}

/// Kinds of steps.
pub struct StepKind;

impl StepKind {
    /// A file of the root, private.
    pub const FILE: u32 = 0;
    /// Empty memory.
    pub const EMPTY: u32 = 1;
    /// Empty memory that a fork would empty again.
    pub const WIPED: u32 = 2;
    /// As that, and the kernel may empty it at any time.
    pub const DROPPABLE: u32 = 3;
    /// vdso or vvar.
    pub const KERNEL: u32 = 4;
    /// Pages of the image, over a range of the kinds above.
    pub const PAGES: u32 = 5;
    /// The same, but copied: `/proc` shows arguments and environment of memory of no file alone,
    /// and what is written at once anyway costs no fault.
    pub const COPIED: u32 = 6;
}

/// A mapped file: where it is, and what it must still be.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Its name's offset in the names.
    pub name: u64,
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change, seconds.
    pub changed_s: u64,
    /// Last change, nanoseconds of the second.
    pub changed_ns: u64,
}

/// A file that the process has open, for reading alone.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenFile {
    /// Its number.
    pub number: u64,
    /// Number among the [`FileFacts`].
    pub file: u64,
    /// Where it reads next.
    pub position: u64,
    /// Whether it is closed by an exec.
    pub close_on_exec: u64,
}

/// What the process does on a signal, as the kernel's `sigaction`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Signal {
    /// Which.
    pub number: u64,
    /// Address, 0 or 1.
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Address.
    pub restorer: u64,
    /// Blocked meanwhile.
    pub mask: u64,
}

/// The registers, as rt_sigreturn(2) reads them on x86-64. Source: `struct rt_sigframe`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Not read.
    pub return_address: u64,
    /// `UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
    pub flags: u64,
    /// Not read.
    pub link: u64,
    /// Alternate signal stack: address.
    pub stack: u64,
    /// Its flags.
    pub stack_flags: u64,
    /// Its length.
    pub stack_len: u64,
    /// r8 to r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags.
    pub registers: [u64; 18],
    /// cs, gs, fs, ss.
    pub segments: [u16; 4],
    /// err, trapno, oldmask, cr2.
    pub trap: [u64; 4],
    /// Address of `float` below, written by the restorer.
    pub float_at: u64,
    /// Nothing.
    pub reserved: [u64; 8],
    /// Blocked signals.
    pub mask: u64,
    /// Not read.
    pub info: [u64; 16],
    /// Fills up to the alignment of the next.
    pub padding: u64,
    /// x87 and SSE, as `fxsave` leaves them; the words for software at its end are zero.
    pub float: [u64; 64],
}

const _: () = assert!(core::mem::offset_of!(Frame, registers) == 48);
const _: () = assert!(core::mem::offset_of!(Frame, float_at) == 232);
const _: () = assert!(core::mem::offset_of!(Frame, mask) == 304);
const _: () = assert!(core::mem::offset_of!(Frame, float) == 448);
