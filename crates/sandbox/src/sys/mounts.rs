//! Mounts and mount namespaces.

use super::check;
use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const AT_RECURSIVE: libc::c_int = 0x8000;

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// `mount(2)`.
pub fn mount(source: &str, target: &Path, kind: &str, flags: u64, data: &str) -> io::Result<()> {
    let source = CString::new(source)?;
    let target = text(target)?;
    let kind = CString::new(kind)?;
    let data = CString::new(data)?;
    // SAFETY: four strings that outlive the call.
    let answer = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    check(answer.into()).map(drop)
}

/// Nothing mounted here reaches another namespace from now on, nor the other way round.
pub fn make_private() -> io::Result<()> {
    mount(
        "none",
        Path::new("/"),
        "",
        libc::MS_REC | libc::MS_PRIVATE,
        "",
    )
}

/// Shows `source` at `target` too, without what is mounted below it.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    bind_with(source, target, libc::MS_BIND)
}

/// Shows `source` at `target` too, with what is mounted below it.
pub fn bind_all(source: &Path, target: &Path) -> io::Result<()> {
    bind_with(source, target, libc::MS_BIND | libc::MS_REC)
}

fn bind_with(source: &Path, target: &Path, flags: u64) -> io::Result<()> {
    let (source, target) = (text(source)?, text(target)?);
    // SAFETY: two strings that outlive the call; type and data are not read for a bind.
    let answer = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            std::ptr::null(),
            flags,
            std::ptr::null(),
        )
    };
    check(answer.into()).map(drop)
}

/// Attributes of a mount, as `mount_setattr(2)` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// Read-only.
    pub const READ_ONLY: Self = Self(0x1);
    /// Set-id bits count for nothing.
    pub const NO_SUID: Self = Self(0x2);
    /// Device nodes do not open.
    pub const NO_DEV: Self = Self(0x4);
    /// Files do not execute.
    pub const NO_EXEC: Self = Self(0x8);
    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

fn set_attributes_at(
    dir: i32,
    path: &CString,
    attributes: Attributes,
    flags: i32,
) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let wanted = MountAttr {
        set: attributes.0,
        clear: 0,
        propagation: 0,
        userns: 0,
    };
    // SAFETY: a string and a structure of the size that is given, both outliving the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir,
            path.as_ptr(),
            flags,
            &raw const wanted,
            size_of::<MountAttr>(),
        )
    };
    check(answer).map(drop)
}

/// Adds attributes to the mount at `target`.
pub fn restrict(target: &Path, attributes: Attributes) -> io::Result<()> {
    set_attributes_at(libc::AT_FDCWD, &text(target)?, attributes, 0)
}

/// Adds attributes to a detached mount.
pub fn restrict_detached(mount: BorrowedFd<'_>, attributes: Attributes) -> io::Result<()> {
    set_attributes_at(
        mount.as_raw_fd(),
        &CString::default(),
        attributes,
        libc::AT_EMPTY_PATH,
    )
}

/// A detached copy of the mount that `dir` (any descriptor, `O_PATH` too) lies on, rooted at `dir`.
///
/// `dir` must be of the caller's mount namespace.
pub fn clone_mount(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: i32 = 1;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH;
    // SAFETY: an open descriptor and an empty string.
    let raw =
        check(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), c"".as_ptr(), flags) })?;
    // SAFETY: `raw` is the descriptor that the call just returned, ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// A detached copy of the mount at `path`, with what is mounted below when `recursive`.
pub fn clone_mount_at(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: i32 = 1;
    let path = text(path)?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: a string that outlives the call.
    let raw =
        check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    // SAFETY: `raw` is the descriptor that the call just returned, ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// Attaches a detached mount at `target`, a path of the caller's mount namespace.
pub fn attach(mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
    let target = text(target)?;
    // SAFETY: an open descriptor and two strings that outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    check(answer).map(drop)
}

/// A new tmpfs that is mounted nowhere.
pub fn detached_tmpfs(options: &[(&str, &str)], attributes: Attributes) -> io::Result<OwnedFd> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    };
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(context.as_fd(), *name, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    restrict_detached(mount.as_fd(), attributes)?;
    Ok(mount)
}

/// Makes `root`, a mount point, the root of this mount namespace and lets go of the old one.
pub fn pivot(root: &Path) -> io::Result<()> {
    let root = text(root)?;
    // SAFETY: strings that outlive the calls. With both paths at the working directory the old
    // root ends up mounted over the new one and is detached by the last call.
    unsafe {
        check(libc::chdir(root.as_ptr()).into())?;
        check(libc::syscall(
            libc::SYS_pivot_root,
            c".".as_ptr(),
            c".".as_ptr(),
        ))?;
        check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
        check(libc::chdir(c"/".as_ptr()).into()).map(drop)
    }
}

/// A character device node.
pub fn device_node(path: &Path, major: u32, minor: u32) -> io::Result<()> {
    let path = text(path)?;
    // SAFETY: a string that outlives the calls. `chmod` follows since `mknod` obeys the umask.
    unsafe {
        check(
            libc::mknod(
                path.as_ptr(),
                libc::S_IFCHR | 0o666,
                libc::makedev(major, minor),
            )
            .into(),
        )?;
        check(libc::chmod(path.as_ptr(), 0o666).into()).map(drop)
    }
}

/// Gives this process a mount namespace of its own.
pub fn unshare_mounts() -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)
}

/// Leaves the namespaces of `flags` for new ones.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: plain flags; the process has one thread, so nothing is shared with another, or the
    // flags are for a namespace that each thread has for itself.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Enters the mount namespace that `namespace` (a descriptor of `/proc/PID/ns/mnt`) stands for;
/// root and working directory become that namespace's root.
pub fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an open descriptor and a flag.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) }.into()).map(drop)
}

/// Enters the IPC namespace that `namespace` stands for.
pub fn enter_ipc(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an open descriptor and a flag.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWIPC) }.into()).map(drop)
}

/// The magic number of the filesystem that a descriptor lies on.
pub fn filesystem(of: BorrowedFd<'_>) -> io::Result<i64> {
    Ok(rustix::fs::fstatfs(of)?.f_type as i64)
}
