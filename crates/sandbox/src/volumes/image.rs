//! From a nameless image file to a detached mount: loop device, filesystem, mount.
//!
//! The order of references is what makes death clean: the mount holds the device, the device
//! holds the file, autoclear lets go of the device with its last user, and the file has no name.

use super::{Volume, VolumeError, detached, open_folder};
use crate::sys::loopdev;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, mknodat, openat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsopen};
use std::path::Path;

/// Block size of device and filesystem; direct writes need the disk's to divide it.
pub(super) const BLOCK: u32 = 4096;

/// Tries to get a device before another process takes it.
const TRIES: u32 = 64;

/// Major number of loop devices; the minor is the device's own number.
const LOOP_MAJOR: u32 = 7;

/// How much of one volume may wait in memory to be written, where the kernel can bound it.
///
/// Under cgroup v1 nothing else slows the writer of a small memory group down before its limit is
/// full of pages that cannot be dropped.
const DIRTY_BYTES_MAX: u32 = 16 << 20;

/// Where loop devices and image files come from.
#[derive(Debug)]
pub(super) struct Devices {
    control: OwnedFd,
    dev: OwnedFd,
    folder: OwnedFd,
    direct: bool,
}

/// A file with a filesystem in it and no name.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) file: OwnedFd,
}

/// An attached device: its descriptor, and a path to it that the kernel can follow.
struct Device {
    fd: OwnedFd,
    number: u32,
    path: String,
}

impl Devices {
    pub(super) fn open(folder: &Path) -> Result<Devices, VolumeError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let dev =
            openat(CWD, "/dev", flags, Mode::empty()).map_err(VolumeError::kernel("open /dev"))?;
        let control = openat(
            &dev,
            "loop-control",
            OFlags::RDWR | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(VolumeError::kernel("open /dev/loop-control"))?;
        Ok(Devices {
            control,
            dev,
            folder: open_folder(folder)?,
            direct: true,
        })
    }

    pub(super) fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Whether the last device attached wrote past the page cache.
    pub(super) fn direct(&self) -> bool {
        self.direct
    }

    /// Mounts `image`, attached to no folder.
    pub(super) fn mount(&mut self, image: &Image) -> Result<Volume, VolumeError> {
        let device = self.attach(image)?;
        bound_dirty_bytes(device.number);
        let attempt = || -> rustix::io::Result<OwnedFd> {
            let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(context.as_fd(), "source", &device.path)?;
            // Blocks are taken when a write happens, so it is the write that hears "no space",
            // to the byte; delayed, the space is promised in estimates.
            fsconfig_set_flag(context.as_fd(), "nodelalloc")?;
            // Nothing here must survive a power cut, so a guest's fsync need not flush the disk
            // that everybody shares.
            fsconfig_set_flag(context.as_fd(), "nobarrier")?;
            fsconfig_create(context.as_fd())?;
            detached(&context)
        };
        let mount = attempt().map_err(VolumeError::kernel("mount an ext4 image"))?;
        Volume::of_mount(mount, true)
    }

    fn attach(&mut self, image: &Image) -> Result<Device, VolumeError> {
        for _ in 0..TRIES {
            let number = loopdev::free_number(self.control.as_fd())
                .map_err(VolumeError::kernel("find a free loop device"))?;
            let device = self.open_device(number)?;
            match self.configure(&device, image) {
                Ok(()) => {
                    self.direct = loopdev::is_direct(device.fd.as_fd()).unwrap_or(false);
                    return Ok(device);
                }
                Err(Errno::BUSY) => continue,
                Err(errno) => return Err(VolumeError::kernel("attach a loop device")(errno)),
            }
        }
        Err(VolumeError::Devices { tries: TRIES })
    }

    /// Direct first; some filesystems, and kernels that check the disk's block size, refuse it.
    fn configure(&self, device: &Device, image: &Image) -> rustix::io::Result<()> {
        let attach = |direct| loopdev::attach(device.fd.as_fd(), image.file.as_fd(), BLOCK, direct);
        match attach(true) {
            Err(Errno::INVAL | Errno::OPNOTSUPP) => attach(false),
            answer => answer,
        }
    }

    /// Opens loop device `number`, through a node of our own where /dev has none.
    fn open_device(&self, number: u32) -> Result<Device, VolumeError> {
        let name = format!("loop{number}");
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let failed = VolumeError::kernel("open a loop device");
        match openat(&self.dev, &name, flags, Mode::empty()) {
            Ok(fd) => Ok(Device {
                fd,
                number,
                path: format!("/dev/{name}"),
            }),
            Err(Errno::NOENT) => self.open_own_node(number, &name).map_err(failed),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn open_own_node(&self, number: u32, name: &str) -> rustix::io::Result<Device> {
        let kind = FileType::BlockDevice;
        let id = rustix::fs::makedev(LOOP_MAJOR, number);
        match mknodat(&self.folder, name, kind, Mode::RUSR | Mode::WUSR, id) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = openat(&self.folder, name, flags, Mode::empty());
        unlinkat(&self.folder, name, AtFlags::empty())?;
        let fd = opened?;
        if fstat(&fd)?.st_rdev != id {
            return Err(Errno::NODEV);
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        Ok(Device { fd, number, path })
    }
}

/// Tells the kernel how much of this device may wait in memory. Kernels before 6.2 cannot be
/// told; there the writer is slowed only when its memory group is full.
fn bound_dirty_bytes(number: u32) {
    let folder = format!("/sys/class/bdi/{LOOP_MAJOR}:{number}");
    for (name, value) in [("strict_limit", 1), ("max_bytes", DIRTY_BYTES_MAX)] {
        let _ = std::fs::write(format!("{folder}/{name}"), value.to_string());
    }
}
