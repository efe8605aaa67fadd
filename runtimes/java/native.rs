//! The two calls of the C library that a JVM which was booted ahead needs and Java has not:
//! `chdir`, to enter the package that was mounted after the boot, and `setenv`, for the child
//! processes of a function that never asks for their environment.
//!
//! Built by `crates/catalog/build.rs` into a shared object of a few KiB, with nothing of Rust's
//! library in it. An FFI edge through and through: addresses come from `freehold.Native`, which owns
//! the buffers behind them and ends each text in a zero.
#![no_std]

use core::ffi::{c_char, c_int, c_void};

#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
    fn chdir(path: *const c_char) -> c_int;
    fn setenv(name: *const c_char, value: *const c_char, replace: c_int) -> c_int;
}

/// `freehold.Native.enter(long)`: 0, or -1 where there is no such folder.
///
/// # Safety
/// `path` is the address of a text that ends in a zero and outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_freehold_Native_enter(
    _env: *mut c_void,
    _class: *mut c_void,
    path: i64,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { chdir(path as *const c_char) }
}

/// `freehold.Native.set(long, long)`: 0, or -1 for a name that cannot be one.
///
/// # Safety
/// Both are addresses of texts that end in a zero and outlive the call, and no other thread reads
/// or writes the environment meanwhile: the JVM has read it, and no function's code has run.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_freehold_Native_set(
    _env: *mut c_void,
    _class: *mut c_void,
    name: i64,
    value: i64,
) -> c_int {
    // SAFETY: as the caller promises; `setenv` copies both.
    unsafe { setenv(name as *const c_char, value as *const c_char, 1) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    abort()
}
