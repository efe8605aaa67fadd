//! The roots of all runtimes, assembled once in the spawner's own mount namespace.
//!
//! ```text
//! /                tmpfs of ours, nothing of the host's in it; the restorer
//! /roots/<row>/    the runtime's tree, read-only; its further trees; /dev of ours
//! ```
//!
//! A sandbox copies this namespace and pivots to its root, so the fewer mounts the cheaper a
//! fork. What is needed of the host later (packages, volumes) is reached by entering the host's
//! namespace, whose descriptor is kept. Refuses a tree without the folders that are mounted over.

use super::Privilege;
use crate::{
    start_image,
    sys::{mounts, mounts::Attributes, processes},
};
use freehold_domain::runtime::RuntimeRow;
use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    rc::Rc,
};

/// Where the roots lie.
pub const ROOTS: &str = "/roots";

/// A runtime whose tree cannot be a root. The others are not affected.
#[derive(Debug)]
pub struct TreeError {
    /// The row.
    pub runtime: u32,
    /// What was being done.
    pub action: &'static str,
    /// Why not.
    pub source: io::Error,
}

/// The runtimes that can be started, and the two namespaces.
pub struct Runtimes {
    /// Rows with a root.
    pub rows: Vec<Rc<RuntimeRow>>,
    /// Rows without.
    pub refused: Vec<TreeError>,
    host: OwnedFd,
    home: OwnedFd,
    /// `/proc/self/fd` of the process that assembled them.
    own: OwnedFd,
    restorer: Option<OwnedFd>,
}

const SEALED: Attributes = Attributes::READ_ONLY
    .and(Attributes::NO_SUID)
    .and(Attributes::NO_DEV);

impl Runtimes {
    /// Leaves the host's mount namespace for one of our own, below `scratch` (an empty folder of
    /// root's), and assembles the root of every row there.
    ///
    /// `host`: the mount namespace that the server lives in.
    pub fn assemble(
        rows: Vec<RuntimeRow>,
        scratch: &Path,
        privilege: Privilege,
        host: OwnedFd,
    ) -> io::Result<Runtimes> {
        let own = File::open("/proc/self/fd")?.into();
        mounts::unshare_mounts()?;
        mounts::make_private()?;
        let home = File::open("/proc/self/ns/mnt")?.into();
        let flags = libc::MS_NOSUID;
        mounts::mount("sandbox", scratch, "tmpfs", flags, "size=1m,mode=755")?;
        fs::create_dir(scratch.join("roots"))?;
        let devices = scratch.join("dev");
        fs::create_dir(&devices)?;
        make_devices(&devices, privilege)?;
        if privilege == Privilege::UserNamespace {
            // A sandbox's own proc may be mounted only while a fully visible one is in sight; it
            // goes with the old root.
            fs::create_dir(scratch.join("proc"))?;
            mounts::bind_all(Path::new("/proc"), &scratch.join("proc"))?;
        }
        let mut kept = Vec::new();
        let mut refused = Vec::new();
        for row in rows {
            let root = scratch.join("roots").join(row.id.to_string());
            match assemble_one(&row, &root, &devices) {
                Ok(()) => kept.push(Rc::new(row)),
                Err((action, source)) => refused.push(TreeError {
                    runtime: row.id,
                    action,
                    source,
                }),
            }
        }
        // Beside the roots, so in none of them: a guest holds it as what it was executed from.
        let restorer = match start_image::install_programs(scratch) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
            other => Some(other?),
        };
        mounts::pivot(scratch)?;
        mounts::restrict(Path::new("/"), Attributes::READ_ONLY)?;
        Ok(Runtimes {
            rows: kept,
            refused,
            host,
            home,
            own,
            restorer,
        })
    }

    /// The root of a row, in this namespace.
    pub fn root(&self, row: u32) -> PathBuf {
        Path::new(ROOTS).join(row.to_string())
    }

    /// The program that becomes what is in a start image, where there is one.
    pub fn restorer(&self) -> Option<BorrowedFd<'_>> {
        self.restorer.as_ref().map(AsFd::as_fd)
    }

    /// The folder of this process's own descriptors, in the host's `/proc`.
    pub fn own_descriptors(&self) -> BorrowedFd<'_> {
        self.own.as_fd()
    }

    /// The mount namespace that the server lives in.
    pub fn host(&self) -> BorrowedFd<'_> {
        self.host.as_fd()
    }

    /// Runs `work` in the host's mount namespace.
    pub fn on_host<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        mounts::enter(self.host.as_fd())?;
        let done = work();
        self.return_home();
        Ok(done)
    }

    /// Runs `work` in a sandbox's mount namespace.
    pub fn inside<T>(&self, sandbox: BorrowedFd<'_>, work: impl FnOnce() -> T) -> io::Result<T> {
        mounts::enter(sandbox)?;
        let done = work();
        self.return_home();
        Ok(done)
    }

    /// Staying on another side is not an option, since what comes next forks guests: the spawner
    /// then ends, and the supervisor makes a new one.
    fn return_home(&self) {
        if mounts::enter(self.home.as_fd()).is_err() {
            processes::exit(3);
        }
    }
}

fn assemble_one(
    row: &RuntimeRow,
    root: &Path,
    devices: &Path,
) -> Result<(), (&'static str, io::Error)> {
    let action = |name| move |source| (name, source);
    fs::create_dir(root).map_err(action("make the root's folder"))?;
    mounts::bind(&row.root, root).map_err(action("bind the tree"))?;
    mounts::restrict(root, SEALED).map_err(action("make the tree read-only"))?;
    for point in ["proc", "dev", "run", "tmp", "var/task"] {
        let folder = root.join(point);
        let there = fs::symlink_metadata(&folder).map_err(action("find the mount points"))?;
        if !there.is_dir() {
            return Err(("find the mount points", io::ErrorKind::NotADirectory.into()));
        }
    }
    for (tree, inside) in &row.mounts {
        let target = root.join(inside.trim_start_matches('/'));
        // The tree is root's, but a link in it must still not lead out of it.
        if inside.split('/').any(|part| part == "..")
            || fs::canonicalize(&target).ok().as_ref() != Some(&target)
        {
            return Err((
                "find the mount point of a further tree",
                io::ErrorKind::NotFound.into(),
            ));
        }
        mounts::bind(tree, &target).map_err(action("bind a further tree"))?;
        mounts::restrict(&target, SEALED).map_err(action("make a further tree read-only"))?;
    }
    mounts::bind_all(devices, &root.join("dev")).map_err(action("bind the devices"))?;
    let no_exec = Attributes::READ_ONLY
        .and(Attributes::NO_SUID)
        .and(Attributes::NO_EXEC);
    mounts::restrict(&root.join("dev"), no_exec).map_err(action("make the devices read-only"))
}

/// The guest's `/dev`: five harmless devices, links to the own descriptors, a place for shm.
fn make_devices(folder: &Path, privilege: Privilege) -> io::Result<()> {
    mounts::mount(
        "dev",
        folder,
        "tmpfs",
        libc::MS_NOSUID | libc::MS_NOEXEC,
        "size=64k,mode=755",
    )?;
    for (name, minor) in [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
    ] {
        let node = folder.join(name);
        match privilege {
            Privilege::Root => mounts::device_node(&node, 1, minor)?,
            Privilege::UserNamespace => {
                File::create(&node)?;
                mounts::bind(&Path::new("/dev").join(name), &node)?;
            }
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, folder.join(name))?;
    }
    fs::create_dir(folder.join("shm"))
}
