//! `/tmp` of an instance: a filesystem of its own, of an exact size, that costs no memory.
//!
//! A volume is an ext4 image in a file without a name, on a loop device with autoclear, mounted
//! but attached to no folder: a *detached mount*, a descriptor that pid 1 of a sandbox moves onto
//! `/tmp`. Nothing of it has a name on the host, so there is nothing to clean up: when the mount
//! namespace dies, or everything of ours is killed at any instant, the kernel unmounts, frees the
//! device and with it the file.
//!
//! ```text
//! mke2fs, once per size ─▶ Template ─▶ image file ─▶ loop device ─▶ detached mount ─▶ /tmp
//!   (off the path)         (its few     O_TMPFILE,     AUTOCLEAR      (pool)
//!                           full blocks) sparse
//! ```
//!
//! A tmpfs of the same size would be charged to the memory of the function that writes it: 200 MB
//! into `/tmp` under a limit of 64 MB get the writer killed. It is what remains where loop
//! devices or ext4 are missing, and [`Backing::Tmpfs`] says so to `doctor`.
//!
//! The images share their disk with the platform's own data and are sparse: a new one is refused
//! where all of them together may come to take what the platform needs ([`VolumeError::Disk`]).
//!
//! Refuses to run in a process with other threads, to take a path from outside, and to reuse a
//! volume: one instance, one volume.

mod disk;
mod image;
mod template;
#[cfg(test)]
mod tests;

use disk::Disk;
use freehold_domain::ids::Mebibytes;
use image::Devices;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fstatvfs, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
pub(crate) use template::FORMATTERS;
use template::Template;

/// Names that a volume can hold.
pub const INODES: u32 = 65_536;

/// Largest volume. Beyond, one file's extents outgrow the block that exactness allows for them.
pub const SIZE_MAX_MIB: u32 = 40 * 1024;

/// Smallest volume that a filesystem with its inode tables makes sense for.
pub const SIZE_MIN_MIB: u32 = 16;

/// Sizes whose template is kept; whoever asks for every size there is gets none of our memory.
const TEMPLATES_MAX: usize = 16;

/// Why there is no volume.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The size is outside [`SIZE_MIN_MIB`] to [`SIZE_MAX_MIB`].
    #[error("a volume of {mib} MiB was asked for, between {SIZE_MIN_MIB} and {SIZE_MAX_MIB} exist")]
    Size {
        /// What was asked for.
        mib: u32,
    },
    /// A call to the kernel failed.
    #[error("could not {action}")]
    Kernel {
        /// What was being tried.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The program that makes filesystems is missing.
    #[error("mke2fs is in none of {searched}; it comes with the package e2fsprogs")]
    NoFormatter {
        /// Where it was looked for.
        searched: String,
    },
    /// It ran, and failed.
    #[error("mke2fs failed: {said}")]
    Format {
        /// The last of what it printed.
        said: String,
    },
    /// A freshly made filesystem has less room than it was made for.
    #[error("a new filesystem has {found} free blocks, {wanted} were planned")]
    TooSmall {
        /// Free blocks found.
        found: u64,
        /// Blocks that the size needs.
        wanted: u64,
    },
    /// The disk that the images lie on has no room for what they may come to take.
    #[error(
        "{free_bytes} bytes of the disk are free; volumes are expected to take {expected_bytes}, \
         and {floor_bytes} are kept for the platform"
    )]
    Disk {
        /// What is free.
        free_bytes: u64,
        /// What all volumes with this one are expected to take.
        expected_bytes: u64,
        /// What must stay free.
        floor_bytes: u64,
    },
    /// Every free device was taken by someone else first, again and again.
    #[error("no loop device stayed free over {tries} tries")]
    Devices {
        /// How often it was tried.
        tries: u32,
    },
}

impl VolumeError {
    pub(crate) fn kernel(action: &'static str) -> impl FnOnce(rustix::io::Errno) -> VolumeError {
        move |errno| VolumeError::Kernel {
            action,
            source: errno.into(),
        }
    }
}

/// What volumes are made of on this machine.
#[derive(Debug)]
pub enum Backing<'a> {
    /// Images on loop devices: of exact size, not charged to the function's memory.
    Image {
        /// Blocks go to the disk past the host's page cache.
        direct: bool,
    },
    /// Memory, charged to the function that writes it.
    Tmpfs {
        /// Why images are not possible here.
        reason: &'a VolumeError,
    },
}

/// How a pool is set up.
#[derive(Debug, Clone)]
pub struct VolumeOptions {
    /// A root-owned folder on a disk with room for the images. Nothing in it ever has a name.
    pub folder: PathBuf,
    /// The size that is kept ready; others are made when they are asked for.
    pub usual: Mebibytes,
    /// How many of the usual size are kept ready.
    pub ready: usize,
}

/// Makes volumes, some of them ahead. Belongs to one single-threaded, privileged process.
#[derive(Debug)]
pub struct VolumePool {
    options: VolumeOptions,
    maker: Maker,
    ready: Vec<Volume>,
}

#[derive(Debug)]
enum Maker {
    Image {
        devices: Devices,
        templates: HashMap<u32, Template>,
        disk: Disk,
    },
    Tmpfs {
        reason: VolumeError,
    },
}

/// An empty volume, mounted nowhere. Dropped, it is gone.
#[derive(Debug)]
pub struct Volume {
    mount: OwnedFd,
    keeper: VolumeKeeper,
}

/// The platform's hold on a volume in use. It must not be inherited by a guest; while it is open
/// the volume exists, even when the guest's namespaces are gone.
#[derive(Debug)]
pub struct VolumeKeeper {
    root: OwnedFd,
    image: bool,
}

impl VolumePool {
    /// Looks at what the machine can do, makes the template of the usual size, and fills nothing
    /// yet: [`VolumePool::make_ready`] does, one volume at a time.
    ///
    /// Runs `mke2fs` as a child and waits for it, so no one may reap children meanwhile. Where
    /// images are not possible the pool makes tmpfs instead and says why.
    pub fn open(options: VolumeOptions) -> VolumePool {
        let image = || -> Result<(Devices, Template), VolumeError> {
            let mut devices = Devices::open(&options.folder)?;
            let template = Template::make(&mut devices, checked(options.usual)?)?;
            Ok((devices, template))
        };
        let maker = match image() {
            Ok((devices, template)) => Maker::Image {
                devices,
                templates: HashMap::from([(options.usual.0, template)]),
                disk: Disk::below(&options.folder),
            },
            Err(reason) => Maker::Tmpfs { reason },
        };
        VolumePool {
            ready: Vec::with_capacity(options.ready),
            options,
            maker,
        }
    }

    /// A pool of tmpfs, whatever the machine can do, for the reason given.
    pub fn in_memory(options: VolumeOptions, reason: VolumeError) -> VolumePool {
        VolumePool {
            ready: Vec::new(),
            options,
            maker: Maker::Tmpfs { reason },
        }
    }

    /// What volumes are made of here.
    pub fn backing(&self) -> Backing<'_> {
        match &self.maker {
            Maker::Image { devices, .. } => Backing::Image {
                direct: devices.direct(),
            },
            Maker::Tmpfs { reason } => Backing::Tmpfs { reason },
        }
    }

    /// Makes one volume of the usual size if fewer than wanted are ready; says whether more are
    /// missing still. For the idle moments of its process: about a millisecond a call.
    ///
    /// Errors: [`VolumeError`]; the pool is as before.
    pub fn make_ready(&mut self) -> Result<bool, VolumeError> {
        if self.ready.len() < self.options.ready {
            let volume = self.make(self.options.usual)?;
            self.ready.push(volume);
        }
        Ok(self.ready.len() < self.options.ready)
    }

    /// An empty volume of `size`: a ready one, or made now.
    ///
    /// Errors: [`VolumeError`]; nothing is left of what was begun.
    pub fn take(&mut self, size: Mebibytes) -> Result<Volume, VolumeError> {
        if size == self.options.usual
            && let Some(volume) = self.ready.pop()
        {
            return Ok(volume);
        }
        self.make(size)
    }

    fn make(&mut self, size: Mebibytes) -> Result<Volume, VolumeError> {
        let mib = checked(size)?;
        match &mut self.maker {
            Maker::Tmpfs { .. } => tmpfs(mib),
            Maker::Image {
                devices,
                templates,
                disk,
            } => {
                disk.promise(devices.folder(), size.bytes())?;
                if templates.len() >= TEMPLATES_MAX && !templates.contains_key(&mib) {
                    templates.retain(|kept, _| *kept == self.options.usual.0);
                }
                let template = match templates.entry(mib) {
                    Entry::Occupied(made) => made.into_mut(),
                    Entry::Vacant(missing) => missing.insert(Template::make(devices, mib)?),
                };
                devices.mount(&template.copy(devices.folder())?)
            }
        }
    }
}

impl Volume {
    /// The mount, to be moved onto `/tmp` by a process inside the sandbox, and the hold on it.
    pub fn split(self) -> (OwnedFd, VolumeKeeper) {
        (self.mount, self.keeper)
    }

    /// Wraps a detached mount, which the kernel attaches to nothing until it is moved.
    fn of_mount(mount: OwnedFd, image: bool) -> Result<Volume, VolumeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(&mount, ".", flags, Mode::empty())
            .map_err(VolumeError::kernel("open the root of a new volume"))?;
        Ok(Volume {
            mount,
            keeper: VolumeKeeper { root, image },
        })
    }
}

impl VolumeKeeper {
    /// Bytes in use.
    pub fn used_bytes(&self) -> io::Result<u64> {
        let stat = fstatvfs(&self.root)?;
        Ok(stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize)
    }

    /// Ends the volume without writing back what only lies in memory. Call it once every process
    /// that could use the volume is dead; dropping the keeper instead writes it all to disk first.
    pub fn discard(self) {
        if self.image {
            // Failing, the volume is written back and freed all the same, only later.
            let _ = crate::sys::loopdev::abandon_ext4(self.root.as_fd());
        }
    }
}

fn checked(size: Mebibytes) -> Result<u32, VolumeError> {
    match size.0 {
        mib @ SIZE_MIN_MIB..=SIZE_MAX_MIB => Ok(mib),
        mib => Err(VolumeError::Size { mib }),
    }
}

fn tmpfs(mib: u32) -> Result<Volume, VolumeError> {
    let attempt = || -> rustix::io::Result<OwnedFd> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), "source", "tmp")?;
        fsconfig_set_string(context.as_fd(), "size", format!("{mib}m"))?;
        fsconfig_set_string(context.as_fd(), "nr_inodes", INODES.to_string())?;
        fsconfig_set_string(context.as_fd(), "mode", "1777")?;
        fsconfig_create(context.as_fd())?;
        detached(&context)
    };
    Volume::of_mount(
        attempt().map_err(VolumeError::kernel("mount a tmpfs"))?,
        false,
    )
}

/// The mount of a filesystem that was just created: no devices, no set-uid programs.
fn detached(context: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The folder that images lie in, opened without following a link at its end.
fn open_folder(folder: &Path) -> Result<OwnedFd, VolumeError> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    rustix::fs::open(folder, flags, Mode::empty())
        .map_err(VolumeError::kernel("open the folder of the volumes"))
}
