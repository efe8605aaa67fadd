//! Room on the disk that images share with databases, ledger and logs.
//!
//! An image is sparse, so its size is a promise and not yet a use. As memory is, the disk is booked
//! by what volumes are expected to take: most functions write little into `/tmp`, and a thousand
//! idle instances must not ask for half a terabyte. What has been written is not free any more, so
//! the booking is only for what may come; of many volumes few are written to at once. Below a floor
//! of free space no volume is made, so that the platform has room to write what must not be lost;
//! volumes that are there already can still grow into it.
//!
//! The images of all lanes are counted, by their loop devices, whoever made them. Refuses to look
//! at a device of anybody else's.

use super::VolumeError;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::fstatvfs;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The part of their size that volumes are expected to take: one in so many bytes of the first
/// [`BUSY_BYTES`] that were promised, and of what was promised beyond.
const BUSY_SHARE: u64 = 8;
const BUSY_BYTES: u64 = 32 << 30;
const QUIET_SHARE: u64 = 256;

/// The part of the disk that stays free, one in so many bytes, within these bounds.
const FLOOR_SHARE: u64 = 20;
const FLOOR_MIN_BYTES: u64 = 1 << 30;
const FLOOR_MAX_BYTES: u64 = 4 << 30;

/// Between two looks at all loop devices; and, where they are thousands, so many times as long as
/// a look takes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOK_SHARE: u32 = 50;

/// Where the kernel lists block devices.
const DEVICES: &str = "/sys/block";
/// Sectors of `/sys/block/*/size`, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// What images have been promised of one folder's disk.
#[derive(Debug)]
pub(super) struct Disk {
    /// How the files of the folder's images begin.
    prefix: String,
    promised_bytes: u64,
    look_at: Option<Instant>,
}

impl Disk {
    pub(super) fn below(folder: &Path) -> Disk {
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        Disk {
            prefix: format!("{}/", folder.display()),
            promised_bytes: 0,
            look_at: None,
        }
    }

    /// Promises `bytes` of the disk that `folder` lies on.
    ///
    /// Errors: [`VolumeError::Disk`]; nothing is promised.
    pub(super) fn promise(&mut self, folder: &OwnedFd, bytes: u64) -> Result<(), VolumeError> {
        let now = Instant::now();
        if self.look_at.is_none_or(|at| now >= at) {
            self.promised_bytes = promised_bytes(Path::new(DEVICES), &self.prefix);
            let looked = Instant::now();
            let pause = LOOK_AGAIN.max((looked - now) * LOOK_SHARE);
            self.look_at = Some(looked + pause);
        }
        let disk = fstatvfs(folder.as_fd())
            .map_err(VolumeError::kernel("measure the disk of the volumes"))?;
        let promised_bytes = self.promised_bytes.saturating_add(bytes);
        fits(
            disk.f_blocks.saturating_mul(disk.f_frsize),
            disk.f_bavail.saturating_mul(disk.f_frsize),
            promised_bytes,
        )?;
        self.promised_bytes = promised_bytes;
        Ok(())
    }
}

/// The rule: what is free, without what was promised, as far as it is expected to be asked for,
/// stays above the floor.
fn fits(disk_bytes: u64, free_bytes: u64, promised_bytes: u64) -> Result<(), VolumeError> {
    let floor_bytes = (disk_bytes / FLOOR_SHARE).clamp(FLOOR_MIN_BYTES, FLOOR_MAX_BYTES);
    let busy_bytes = promised_bytes.min(BUSY_BYTES);
    let expected_bytes = busy_bytes / BUSY_SHARE + (promised_bytes - busy_bytes) / QUIET_SHARE;
    if free_bytes.saturating_sub(expected_bytes) < floor_bytes {
        return Err(VolumeError::Disk {
            free_bytes,
            expected_bytes,
            floor_bytes,
        });
    }
    Ok(())
}

/// The sizes of all images that lie below `prefix`, by the devices that they are attached to.
fn promised_bytes(devices: &Path, prefix: &str) -> u64 {
    let size = |device: &Path| {
        let file = fs::read_to_string(device.join("loop/backing_file")).ok()?;
        let sectors = fs::read_to_string(device.join("size")).ok()?;
        let sectors: u64 = sectors.trim().parse().ok()?;
        file.starts_with(prefix)
            .then(|| sectors.saturating_mul(SECTOR_BYTES))
    };
    let all = fs::read_dir(devices).into_iter().flatten().flatten();
    all.filter_map(|device| size(&device.path()))
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_floor_stays_free_however_much_is_promised() {
        // 40 GiB in all: two of them are the floor.
        let fits = |free, promised| fits(40 * GIB, free, promised).is_ok();
        assert!(fits(5 * GIB, 24 * GIB));
        assert!(!fits(5 * GIB, 24 * GIB + BUSY_SHARE));
        // Four more for the first 32 that were promised, one for each 256 beyond.
        assert!(fits(10 * GIB, (32 + 4 * 256) * GIB));
        assert!(!fits(10 * GIB, (32 + 4 * 256) * GIB + QUIET_SHARE));
        assert!(!fits(10 * GIB, u64::MAX));
        assert!(fits(2 * GIB, 0));
        assert!(!fits(2 * GIB - 1, 0));
    }

    #[test]
    fn the_floor_is_bounded_on_small_and_large_disks() {
        assert!(fits(4 * GIB, GIB, 0).is_ok());
        assert!(fits(4 * GIB, GIB - 1, 0).is_err());
        assert!(fits(4096 * GIB, 4 * GIB, 0).is_ok());
        let refusal = fits(4096 * GIB, 4 * GIB - 1, 0).unwrap_err().to_string();
        assert!(refusal.contains(&(4 * GIB).to_string()), "{refusal}");
    }

    #[test]
    fn only_images_of_the_folder_count() {
        let devices = tempfile::tempdir().unwrap();
        let device = |name: &str, file: Option<&str>, sectors: &str| {
            let folder = devices.path().join(name);
            fs::create_dir_all(folder.join("loop")).unwrap();
            fs::write(folder.join("size"), sectors).unwrap();
            if let Some(file) = file {
                fs::write(folder.join("loop/backing_file"), file).unwrap();
            }
        };
        device("loop0", Some("/data/volumes/#12 (deleted)\n"), "2048\n");
        device("loop1", Some("/data/volumes/#13 (deleted)\n"), "2\n");
        device("loop2", Some("/data/volumes-of-others/#14\n"), "4\n");
        device("loop3", None, "8\n");
        device("loop4", Some("/data/volumes/#15 (deleted)\n"), "many\n");
        let found = promised_bytes(devices.path(), "/data/volumes/");
        assert_eq!(found, 2050 * SECTOR_BYTES);
    }
}
