//! Installing a compiled seccomp program on the calling thread.

use super::check;
use crate::seccomp::Program;
use std::io;

/// Installs `program` for the rest of this process's life and of everything it becomes.
///
/// Needs no-new-privileges or CAP_SYS_ADMIN. Cannot be undone.
pub fn install(program: &Program) -> io::Result<()> {
    let steps = program.instructions();
    let len = u16::try_from(steps.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let fprog = libc::sock_fprog {
        len,
        filter: steps.as_ptr().cast_mut(),
    };
    // SAFETY: `fprog` points at `len` instructions that outlive the call; the kernel copies them
    // and never writes through the pointer.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const fprog,
        )
    };
    check(answer).map(drop)
}
