//! The kernel's edge: the only place of the crate where `unsafe` is allowed.
//!
//! Every function here is one call, or one call and the reading of its answer, small enough to
//! check by eye. Decisions are taken elsewhere: nothing here knows what an instance is.

#![allow(unsafe_code)]

pub mod doorstep;
pub mod filter;
pub mod identity;
pub mod loopdev;
pub mod mounts;
pub mod processes;
#[path = "sys/restorer/layout.rs"]
pub mod restorer;
pub mod sockets;
#[cfg(start_images)]
pub mod tracee;

use std::io;

/// The answer of a raw call as a result.
pub(crate) fn check(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

/// The restorer and the self-test's process, where they exist for this architecture.
pub(crate) fn programs() -> Option<(&'static [u8], &'static [u8])> {
    #[cfg(start_images)]
    return Some((
        include_bytes!(concat!(env!("OUT_DIR"), "/restorer")),
        include_bytes!(concat!(env!("OUT_DIR"), "/specimen")),
    ));
    #[cfg(not(start_images))]
    None
}

/// The bytes of plain numbers, as they go into an image.
///
/// Only for the structures of [`restorer`]: fixed order, no padding that is not a field.
#[cfg(start_images)]
pub(crate) fn bytes_of<T: restorer::Plain>(list: &[T]) -> &[u8] {
    // SAFETY: `Plain` promises integers without padding, which are bytes.
    unsafe { std::slice::from_raw_parts(list.as_ptr().cast(), size_of_val(list)) }
}

/// A key from its bytes, whatever they are.
pub(crate) fn key_of_bytes(bytes: &[u8; size_of::<restorer::Key>()]) -> restorer::Key {
    // SAFETY: nine integers, for which every pattern is a value.
    unsafe { bytes.as_ptr().cast::<restorer::Key>().read_unaligned() }
}

/// The name of an errno, `EPERM`, for messages that an operator reads.
pub fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EIO => "EIO",
        libc::E2BIG => "E2BIG",
        libc::ENOEXEC => "ENOEXEC",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ETXTBSY => "ETXTBSY",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::ELOOP => "ELOOP",
        libc::ENOSYS => "ENOSYS",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::EUSERS => "EUSERS",
        libc::EPROTO => "EPROTO",
        _ => return format!("errno {errno}"),
    };
    name.to_owned()
}
