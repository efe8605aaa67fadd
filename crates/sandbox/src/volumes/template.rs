//! The blocks of a freshly formatted filesystem that are not zero: some hundred KiB for any size.
//!
//! `mke2fs` runs once per size and process; every volume is those blocks written into an empty
//! sparse file. What makes the size exact: the filesystem is made a little too large, mounted
//! once, its free blocks are counted, and the surplus is reserved for root in its superblock.
//! Refuses journals, lazy initialisation and checksums, which only cost writes in a filesystem
//! that nobody will ever repair.

use super::image::{BLOCK, Devices, Image};
use super::{INODES, VolumeError};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, fstatvfs, ftruncate, openat, unlinkat};
use rustix::io::{Errno, pread, pwrite};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where distributions put it. Not from `PATH`: this runs as root.
pub(crate) const FORMATTERS: [&str; 4] = [
    "/usr/sbin/mke2fs",
    "/sbin/mke2fs",
    "/usr/bin/mke2fs",
    "/usr/local/sbin/mke2fs",
];

const FEATURES: &str = "none,sparse_super,large_file,huge_file,dir_index,ext_attr,extent,flex_bg,\
                        filetype,dir_nlink,extra_isize,uninit_bg";

const INODE_BYTES: u32 = 256;

/// One file that fills the volume has more extents than its inode holds, so it needs one block of
/// index, and fewer than two blocks' worth up to `SIZE_MAX_MIB`.
const INDEX_BLOCKS: u64 = 1;

/// The superblock and, in it, the blocks that only root may take.
const SUPERBLOCK: usize = 1024;
const RESERVED_BLOCKS: usize = SUPERBLOCK + 8;

/// Most bytes kept of what a failing formatter prints.
const SAID_BYTES_MAX: usize = 512;

/// A formatted, empty filesystem.
#[derive(Debug)]
pub(super) struct Template {
    bytes: u64,
    runs: Vec<Run>,
}

/// Neighbouring blocks that are not zero.
#[derive(Debug)]
struct Run {
    offset: u64,
    content: Vec<u8>,
}

impl Template {
    /// Formats, measures and reads back a filesystem whose one file may hold exactly `mib` MiB.
    pub(super) fn make(devices: &mut Devices, mib: u32) -> Result<Template, VolumeError> {
        let wanted = (u64::from(mib) << 20) / u64::from(BLOCK) + INDEX_BLOCKS;
        let blocks = generous(wanted);
        let bytes = blocks * u64::from(BLOCK);
        let image = empty_image(devices.folder(), bytes)?;
        format(&image, blocks)?;
        let free = settle(devices, &image)?;
        let surplus = free.checked_sub(wanted).ok_or(VolumeError::TooSmall {
            found: free,
            wanted,
        })?;
        let mut runs = read_runs(&image, bytes)?;
        let first = runs
            .first_mut()
            .filter(|run| run.offset == 0)
            .map(|run| &mut run.content);
        let field = first.and_then(|block| block.get_mut(RESERVED_BLOCKS..RESERVED_BLOCKS + 4));
        let field = field.ok_or(VolumeError::Format {
            said: "no superblock".to_owned(),
        })?;
        field.copy_from_slice(&(surplus as u32).to_le_bytes());
        Ok(Template { bytes, runs })
    }

    /// A new image with this content.
    pub(super) fn copy(&self, folder: &OwnedFd) -> Result<Image, VolumeError> {
        let image = empty_image(folder, self.bytes)?;
        for run in &self.runs {
            let mut done = 0;
            while done < run.content.len() {
                done += pwrite(&image.file, &run.content[done..], run.offset + done as u64)
                    .map_err(VolumeError::kernel("write an image"))?;
            }
        }
        Ok(image)
    }
}

/// Blocks enough for `wanted` free ones beside inode tables, bitmaps, what the kernel keeps back
/// (a fiftieth, at most 4096) and a last group that is too small to be used.
fn generous(wanted: u64) -> u64 {
    let tables = u64::from(INODES) * u64::from(INODE_BYTES) / u64::from(BLOCK);
    let groups = wanted / 32_768 + 2;
    let plain = wanted + tables + groups * 16 + 2048;
    plain + (plain / 49).min(4096)
}

/// A sparse file without a name in `folder`.
fn empty_image(folder: &OwnedFd, bytes: u64) -> Result<Image, VolumeError> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = match openat(folder, ".", flags | OFlags::TMPFILE, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => named_then_not(folder, flags, mode),
        answer => answer,
    };
    let file = file.map_err(VolumeError::kernel("make an image file"))?;
    ftruncate(&file, bytes).map_err(VolumeError::kernel("size an image file"))?;
    Ok(Image { file })
}

/// For filesystems without `O_TMPFILE`: a name for as long as two calls take.
fn named_then_not(folder: &OwnedFd, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let name = format!("volume-{}", std::process::id());
    match unlinkat(folder, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let file = openat(folder, &name, flags, mode)?;
    unlinkat(folder, &name, AtFlags::empty())?;
    Ok(file)
}

fn format(image: &Image, blocks: u64) -> Result<(), VolumeError> {
    let formatter = FORMATTERS.iter().find(|path| Path::new(path).exists());
    let formatter = formatter.ok_or_else(|| VolumeError::NoFormatter {
        searched: FORMATTERS.join(", "),
    })?;
    // The nameless file reaches the child as its standard input. Our own descriptor table would
    // be closed to it: the spawner is not dumpable, and the child may not trace it.
    let inherited = image.file.try_clone();
    let inherited = inherited.map_err(|source| VolumeError::Kernel {
        action: "hand over an image",
        source,
    })?;
    let output = Command::new(formatter)
        .env_clear()
        .env("MKE2FS_CONFIG", "/dev/null")
        .args(["-q", "-F", "-m", "0", "-O", FEATURES])
        .args(["-b", &BLOCK.to_string()])
        .args(["-I", &INODE_BYTES.to_string()])
        .args(["-N", &INODES.to_string()])
        .args(["-E", "lazy_itable_init=0,nodiscard"])
        .args(["/proc/self/fd/0", &blocks.to_string()])
        .stdin(Stdio::from(inherited))
        .output()
        .map_err(|source| VolumeError::Kernel {
            action: "run mke2fs",
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = &output.stderr[..output.stderr.len().min(SAID_BYTES_MAX)];
    let said = format!(
        "{}: {}",
        output.status,
        String::from_utf8_lossy(said).trim()
    );
    Err(VolumeError::Format { said })
}

/// Mounts the image once, leaves an empty root that everybody may write to, and returns how many
/// blocks are free for a user then.
fn settle(devices: &mut Devices, image: &Image) -> Result<u64, VolumeError> {
    let (mount, keeper) = devices.mount(image)?.split();
    let failed = |action| VolumeError::kernel(action);
    unlinkat(&keeper.root, "lost+found", AtFlags::REMOVEDIR)
        .map_err(failed("remove lost+found"))?;
    fchmod(&keeper.root, Mode::from_raw_mode(0o1777)).map_err(failed("open up a volume"))?;
    let free = fstatvfs(&keeper.root)
        .map_err(failed("measure a volume"))?
        .f_bavail;
    let device = rustix::fs::fstat(&keeper.root)
        .map_err(failed("look at a volume"))?
        .st_dev;
    drop((mount, keeper));
    wait_until_unmounted(device)?;
    Ok(free)
}

/// The unmounting of a detached mount goes on after its last descriptor is closed; the image is
/// whole once the kernel has dropped the filesystem, which its statistics folder shows.
fn wait_until_unmounted(device: u64) -> Result<(), VolumeError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(1);
    let minor = rustix::fs::minor(device);
    let attached = format!("/sys/block/loop{minor}/loop");
    let mut waited = Duration::ZERO;
    while Path::new(&attached).exists() {
        if waited >= PATIENCE {
            return Err(VolumeError::kernel("unmount a new filesystem")(
                Errno::TIMEDOUT,
            ));
        }
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
    Ok(())
}

/// Everything in the image that is not zero, in order.
fn read_runs(image: &Image, bytes: u64) -> Result<Vec<Run>, VolumeError> {
    use rustix::fs::{SeekFrom, seek};
    let failed = || VolumeError::kernel("read an image back");
    let mut runs = Vec::new();
    let mut block = vec![0u8; BLOCK as usize];
    let mut at = 0;
    while at < bytes {
        // Filesystems that know no holes answer that all is data: slower, and as right.
        at = match seek(&image.file, SeekFrom::Data(at)) {
            Ok(data) => data - data % u64::from(BLOCK),
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(errno) => return Err(failed()(errno)),
        };
        let end = match seek(&image.file, SeekFrom::Hole(at)) {
            Ok(hole) => hole.min(bytes),
            Err(_) => bytes,
        };
        while at < end {
            let read = pread(&image.file, &mut block[..], at).map_err(failed())?;
            if read < block.len() {
                return Err(failed()(Errno::IO));
            }
            if block.iter().any(|byte| *byte != 0) {
                append(&mut runs, at, &block);
            }
            at += u64::from(BLOCK);
        }
    }
    Ok(runs)
}

fn append(runs: &mut Vec<Run>, offset: u64, block: &[u8]) {
    match runs.last_mut() {
        Some(run) if run.offset + run.content.len() as u64 == offset => {
            run.content.extend_from_slice(block);
        }
        _ => runs.push(Run {
            offset,
            content: block.to_vec(),
        }),
    }
}
