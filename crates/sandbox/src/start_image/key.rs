//! Whether an image is one of ours and fits here, by facts that its maker cannot have written.
//!
//! The key is written by the spawner after the dumper has ended, into a file of root's that is
//! then sealed: the server holds a name of it that it can neither read nor open. Refuses a file of
//! anybody else, one that could still change, and one of another kernel, boot, processor, filter
//! or runtime.

use crate::sys::{
    self, processes,
    restorer::{BODY_MAX, Key, MAGIC, PAGE},
};
use freehold_domain::runtime::RuntimeRow;
use rustix::fs::{FileType, fstat};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// The largest image, bytes.
pub const IMAGE_MAX: u64 = 8 << 30;

/// Rules that an image can break, in the order of a refused start's detail.
pub const IMAGE_RULES: [&str; 10] = [
    "an image is a memory file",
    "an image belongs to root",
    "nobody but root may read an image",
    "an image is sealed",
    "an image has a key of this form",
    "an image is of this kernel and boot",
    "an image is of this processor",
    "an image is of this filter and restorer",
    "an image is of the runtime that is started",
    "an image leaves the instance memory of its own",
];

/// The place of the rule that an image leaves room.
pub const RULE_ROOM: u16 = 9;

/// What an image must fit: one hash each, of facts that do not change while a spawner lives.
#[derive(Debug, Clone)]
pub struct Fit {
    kernel: u64,
    boot: u64,
    processor: u64,
    policy: u64,
}

/// An image that was looked at, open for reading.
#[derive(Debug)]
pub struct ImageFile {
    /// The file.
    pub file: OwnedFd,
    /// Its key.
    pub key: Key,
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// What images of this runtime are marked with.
pub fn mark_of(row: &RuntimeRow) -> u64 {
    hash((row.id, row.digest.0))
}

impl Fit {
    /// This machine's; for a process that sees the host's `/proc`. `policy`: whatever of ours an
    /// image depends on.
    pub fn of_this_machine(policy: impl Hash) -> io::Result<Fit> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let kernel = fs::read_to_string("/proc/version")?;
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let of_first = processors.split("\n\n").next().unwrap_or_default();
        let lasting: Vec<&str> = of_first
            .lines()
            .filter(|line| {
                let name = line.split(':').next().unwrap_or_default().trim();
                ["vendor_id", "model", "model name", "stepping", "flags"].contains(&name)
            })
            .collect();
        Ok(Fit {
            kernel: hash(kernel),
            boot: hash(boot),
            processor: hash(lasting),
            policy: hash((hash(policy), sys::programs().map(|(restorer, _)| restorer))),
        })
    }

    /// The key of an image that was just written.
    pub fn key(&self, runtime: u64, body_len: u64, image_len: u64, pid: u64) -> Key {
        Key {
            magic: MAGIC,
            body_len,
            image_len,
            kernel: self.kernel,
            boot: self.boot,
            processor: self.processor,
            policy: self.policy,
            runtime,
            pid,
        }
    }

    /// Whether an image with `key` may be thawed as `runtime`; else the number of the rule it breaks.
    fn check(&self, key: &Key, runtime: u64) -> Result<(), u16> {
        let ours = self.key(runtime, key.body_len, key.image_len, key.pid);
        let sizes = key.body_len.is_multiple_of(PAGE)
            && key.body_len >= 3 * PAGE
            && key.body_len <= BODY_MAX
            && key.body_len <= key.image_len
            && key.image_len <= IMAGE_MAX;
        let rules = [
            (4, key.magic == MAGIC && sizes),
            (5, key.kernel == ours.kernel && key.boot == ours.boot),
            (6, key.processor == ours.processor),
            (7, key.policy == ours.policy),
            (8, key.runtime == ours.runtime),
        ];
        let broken = rules.into_iter().find(|(_, kept)| !kept);
        broken.map_or(Ok(()), |(rule, _)| Err(rule))
    }
}

/// Looks at what came as an image. `own`: the caller's `/proc/self/fd`.
///
/// Errors: the number of the rule in [`IMAGE_RULES`], and an errno where there is one.
pub fn image_of(
    came: &OwnedFd,
    own: BorrowedFd<'_>,
    fit: &Fit,
    runtime: u64,
) -> Result<ImageFile, (u16, i32)> {
    let facts = fstat(came).map_err(|e| (0, e.raw_os_error()))?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile || facts.st_nlink != 0 {
        return Err((0, 0));
    }
    if (facts.st_uid, facts.st_gid) != (0, 0) {
        return Err((1, 0));
    }
    if facts.st_mode & 0o7777 != 0o400 {
        return Err((2, 0));
    }
    let reopened = processes::reopen(own, came.as_fd());
    let file = reopened.map_err(|e| (0, e.raw_os_error().unwrap_or(0)))?;
    // Only memory files answer at all.
    if !processes::is_sealed(file.as_fd()) {
        return Err((3, 0));
    }
    let mut bytes = [0u8; size_of::<Key>()];
    let read = rustix::io::pread(&file, &mut bytes, 0).map_err(|e| (4, e.raw_os_error()))?;
    let key = sys::key_of_bytes(&bytes);
    if read != bytes.len() || u64::try_from(facts.st_size) != Ok(key.image_len) {
        return Err((4, 0));
    }
    fit.check(&key, runtime).map_err(|rule| (rule, 0))?;
    Ok(ImageFile { file, key })
}
