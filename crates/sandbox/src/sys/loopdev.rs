//! Loop devices, and the one ext4 call that has no other name: the ioctls behind `/tmp` volumes.
//!
//! Numbers and layouts are those of `linux/loop.h` and `fs/ext4/ext4.h`, the same on every
//! processor. Refuses to keep a device: everything is attached with autoclear, so the kernel
//! frees it when its last user is gone, however that user ended.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, ioctl};
use std::ffi::c_void;

const LOOP_CTL_GET_FREE: Opcode = 0x4C82;
const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LOOP_GET_STATUS64: Opcode = 0x4C05;
/// `_IOR('X', 125, __u32)`.
const EXT4_IOC_SHUTDOWN: Opcode = 0x8004_587D;
/// Stop at once, write nothing back.
const SHUTDOWN_WITHOUT_FLUSH: u32 = 2;

const FLAG_AUTOCLEAR: u32 = 4;
const FLAG_DIRECT_IO: u32 = 16;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);

const EMPTY: Info = Info {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// An ioctl that takes nothing and answers with its return value.
struct Asking<const OPCODE: Opcode>;

// SAFETY: the opcodes used (`LOOP_CTL_GET_FREE`) take no argument, so a null pointer is what the
// kernel expects and nothing is read or written through it.
unsafe impl<const OPCODE: Opcode> Ioctl for Asking<OPCODE> {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<u32> {
        u32::try_from(out).map_err(|_| Errno::RANGE)
    }
}

/// `LOOP_GET_STATUS64`: the kernel fills the structure.
struct Status(Info);

// SAFETY: the kernel writes one `loop_info64` through the pointer, which is exactly what `Info`
// is (its size is asserted above) and what `self.0` has room for.
unsafe impl Ioctl for Status {
    type Output = Info;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        LOOP_GET_STATUS64
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, filled: *mut c_void) -> rustix::io::Result<Info> {
        // SAFETY: `filled` is the pointer of `as_ptr`, to an `Info` that is alive; any bytes
        // are a valid `Info`.
        Ok(unsafe { filled.cast::<Info>().read() })
    }
}

/// The number of a loop device that nobody uses, made if there is none. Another process may take
/// it first, so [`attach`] may answer busy.
pub fn free_number(control: BorrowedFd<'_>) -> rustix::io::Result<u32> {
    // SAFETY: `LOOP_CTL_GET_FREE` takes no argument, as `Asking` promises.
    unsafe { ioctl(control, Asking::<LOOP_CTL_GET_FREE>) }
}

/// Binds `backing` to `device` in one step, to be freed by the kernel at its last close.
///
/// With `direct`, blocks go to the backing file past the page cache, where its filesystem can;
/// [`is_direct`] tells. Errors: `EBUSY` when the device was taken meanwhile.
pub fn attach(
    device: BorrowedFd<'_>,
    backing: BorrowedFd<'_>,
    block_size: u32,
    direct: bool,
) -> rustix::io::Result<()> {
    let flags = FLAG_AUTOCLEAR | if direct { FLAG_DIRECT_IO } else { 0 };
    let fd = u32::try_from(backing.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let config = Config {
        fd,
        block_size,
        info: Info { flags, ..EMPTY },
        reserved: [0; 8],
    };
    // SAFETY: `LOOP_CONFIGURE` reads one `loop_config`, which `Config` is (size asserted above),
    // and takes its own reference to the file behind `fd`, open for the length of this call.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, Config>::new(config)) }
}

/// Whether the device that is attached writes past the page cache.
pub fn is_direct(device: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    // SAFETY: as `Status` says, the kernel fills one `Info`.
    let info = unsafe { ioctl(device, Status(EMPTY)) }?;
    Ok(info.flags & FLAG_DIRECT_IO != 0)
}

/// Stops the ext4 filesystem that `inside` lies on: what was not written yet never is, and every
/// later call on it fails. Needs CAP_SYS_ADMIN.
pub fn abandon_ext4(inside: impl AsFd) -> rustix::io::Result<()> {
    // SAFETY: `EXT4_IOC_SHUTDOWN` reads one `u32`, its flag.
    unsafe {
        ioctl(
            inside,
            Setter::<EXT4_IOC_SHUTDOWN, u32>::new(SHUTDOWN_WITHOUT_FLUSH),
        )
    }
}
