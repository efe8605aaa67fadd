//! What the descriptors of a start must be, or of what makes a booted instance a revision's.
//!
//! The package: a folder, opened `O_PATH`, of the server's uid, on the filesystem of the package
//! store, writable by nobody else. The block: a memory file that nobody can change, not too long.

use crate::{
    protocol::{BLOCK_MAX, CARRIES_IMAGE, CARRIES_PACKAGE, Refusal},
    sys::{mounts, processes},
};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use std::os::fd::{AsFd, OwnedFd};

/// Filesystems of the kernel's own making, which the server owns files on and a guest must not see.
const KERNEL_FILESYSTEMS: [i64; 8] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x2_7e0e,    // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0xcafe_4a11, // bpf
    0x1cd1,      // devpts
];

/// Rules that a package's descriptor can break, in the order of [`Reply::Failed`]'s detail.
///
/// [`Reply::Failed`]: crate::protocol::Reply::Failed
pub const PACKAGE_RULES: [&str; 6] = [
    "a start carries what it says it does",
    "the package is opened with O_PATH",
    "the package is a folder",
    "the package belongs to the server",
    "nobody but its owner may write the package",
    "the package lies on the filesystem of the package store",
];

/// The descriptors of a start, in order.
#[derive(Debug)]
pub struct Carried {
    /// The package's folder, where it says that there is one.
    pub package: Option<OwnedFd>,
    /// Arguments and environment.
    pub block: OwnedFd,
    /// A start image, where it says that there is one; not looked at here.
    pub image: Option<OwnedFd>,
}

/// What is known of the server and its package store.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Whose the packages are.
    pub owner: u32,
    /// The filesystem they lie on, if known.
    pub device: Option<u64>,
}

/// Looks at what came with a start that says it `carries` a package, an image or both.
pub fn examine(
    descriptors: Vec<OwnedFd>,
    carries: u32,
    expected: &Expected,
) -> Result<Carried, (Refusal, u16, i32)> {
    let missing = (Refusal::Package, 0, 0);
    let mut descriptors = descriptors.into_iter();
    let mut next = |wanted: bool| match wanted {
        true => descriptors.next().map(Some).ok_or(missing),
        false => Ok(None),
    };
    let package = next(carries & CARRIES_PACKAGE != 0)?;
    let block = next(true)?.ok_or(missing)?;
    let image = next(carries & CARRIES_IMAGE != 0)?;
    if descriptors.next().is_some() {
        return Err(missing);
    }
    if let Some(package) = &package {
        examine_package(package, expected)?;
    }
    let block_facts = fstat(&block).map_err(|_| (Refusal::Block, 0, 0))?;
    let sealed = processes::is_sealed(block.as_fd());
    if !sealed || u64::try_from(block_facts.st_size).map_or(true, |len| len > BLOCK_MAX) {
        return Err((Refusal::Block, 0, 0));
    }
    Ok(Carried {
        package,
        block,
        image,
    })
}

/// The package that came to specialise with.
pub fn examine_one(
    descriptors: Vec<OwnedFd>,
    expected: &Expected,
) -> Result<OwnedFd, (Refusal, u16, i32)> {
    let mut descriptors = descriptors.into_iter();
    let (Some(package), None) = (descriptors.next(), descriptors.next()) else {
        return Err((Refusal::Package, 0, 0));
    };
    examine_package(&package, expected)?;
    Ok(package)
}

fn examine_package(package: &OwnedFd, expected: &Expected) -> Result<(), (Refusal, u16, i32)> {
    let broken = |rule: u16| (Refusal::Package, rule, 0);
    let flags = fcntl_getfl(package).map_err(|_| broken(1))?;
    if !flags.contains(OFlags::PATH) {
        return Err(broken(1));
    }
    let facts = fstat(package).map_err(|_| broken(2))?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::Directory {
        return Err(broken(2));
    }
    if facts.st_uid != expected.owner {
        return Err(broken(3));
    }
    if facts.st_mode & 0o022 != 0 {
        return Err(broken(4));
    }
    let filesystem = mounts::filesystem(package.as_fd()).map_err(|_| broken(5))?;
    if KERNEL_FILESYSTEMS.contains(&filesystem)
        || expected.device.is_some_and(|device| device != facts.st_dev)
    {
        return Err(broken(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::identity;
    use rustix::fs::{Mode, open};
    use std::fs;

    fn check(
        package: OwnedFd,
        block: OwnedFd,
        expected: Expected,
    ) -> Result<(), (Refusal, u16, i32)> {
        examine(vec![package, block], CARRIES_PACKAGE, &expected).map(drop)
    }

    #[test]
    fn only_a_folder_of_the_servers_passes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |flags| open(dir.path(), flags | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let block = || processes::sealed_file(b"").unwrap();
        let own = Expected {
            owner: identity::effective_uid(),
            device: None,
        };
        let rule = |rule| Err((Refusal::Package, rule, 0));
        assert_eq!(check(path(OFlags::PATH), block(), own), Ok(()));
        assert_eq!(check(path(OFlags::RDONLY), block(), own), rule(1));
        let other = Expected {
            owner: own.owner + 1,
            ..own
        };
        assert_eq!(check(path(OFlags::PATH), block(), other), rule(3));
        let elsewhere = Expected {
            device: Some(u64::MAX),
            ..own
        };
        assert_eq!(check(path(OFlags::PATH), block(), elsewhere), rule(5));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        for not_a_folder in [file, link] {
            let opened = open(
                &not_a_folder,
                OFlags::PATH | OFlags::NOFOLLOW,
                Mode::empty(),
            )
            .unwrap();
            assert_eq!(check(opened, block(), own), rule(2));
        }
        let proc = open(
            "/proc/self",
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
        assert_eq!(check(proc, block(), own), rule(5));
        assert_eq!(
            examine(vec![path(OFlags::PATH)], CARRIES_PACKAGE, &own).map(drop),
            rule(0)
        );
        let three = vec![path(OFlags::PATH), block(), block()];
        assert_eq!(examine(three, CARRIES_PACKAGE, &own).map(drop), rule(0));
        let without = examine(vec![block()], 0, &own).expect("a block is enough");
        assert!(without.package.is_none() && without.image.is_none());
        let both = CARRIES_PACKAGE | CARRIES_IMAGE;
        let two = || vec![path(OFlags::PATH), block()];
        assert_eq!(examine(two(), both, &own).map(drop), rule(0));
        assert_eq!(examine(two(), 0, &own).map(drop), rule(0));
        assert_eq!(examine_one(two(), &own).map(drop), rule(0));
        assert!(examine_one(vec![path(OFlags::PATH)], &own).is_ok());
    }

    #[test]
    fn only_a_sealed_short_block_passes() {
        let dir = tempfile::tempdir().unwrap();
        let package = || open(dir.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let own = Expected {
            owner: identity::effective_uid(),
            device: None,
        };
        let refused = Err((Refusal::Block, 0, 0));
        let open_file = fs::File::create(dir.path().join("block")).unwrap();
        assert_eq!(check(package(), open_file.into(), own), refused);
        let long = processes::sealed_file(&vec![0; BLOCK_MAX as usize + 1]).unwrap();
        assert_eq!(check(package(), long, own), refused);
    }
}
