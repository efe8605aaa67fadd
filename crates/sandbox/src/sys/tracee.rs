//! A process that is stopped and looked at by another: ptrace(2), one call each. x86-64.

use super::check;
use std::{
    io, ptr,
    time::{Duration, Instant},
};

/// General registers, as the kernel gives them.
pub type Registers = libc::user_regs_struct;
/// x87 and SSE, as `fxsave` leaves them.
pub type Floats = [u64; 64];

const _: () = assert!(size_of::<Floats>() == size_of::<libc::user_fpregs_struct>());

const PTRACE_SEIZE: libc::c_uint = 0x4206;
const PTRACE_INTERRUPT: libc::c_uint = 0x4207;
const PTRACE_GETSIGMASK: libc::c_uint = 0x420a;
const PTRACE_GET_RSEQ_CONFIGURATION: libc::c_uint = 0x420f;
const EXIT_KILL: usize = 0x10_0000;
/// Between two looks at whether it has stopped.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// Area of restartable sequences that a thread has told the kernel of.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequences {
    /// Where; 0 for none.
    pub at: u64,
    /// How long.
    pub len: u32,
    /// What stands before a handler.
    pub signature: u32,
    /// Nothing known.
    pub flags: u32,
    /// Nothing.
    pub padding: u32,
}

/// A process that this one traces. It is killed when the tracer ends.
#[derive(Debug)]
pub struct Tracee {
    pid: i32,
}

fn request(number: libc::c_uint, pid: i32, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: the callers below pass, where the kernel writes, a structure of theirs that is as
    // large as it writes; everything else are plain numbers.
    check(unsafe { libc::ptrace(number, pid, address, data) })
}

impl Tracee {
    /// Traces `pid`, which goes on running.
    pub fn seize(pid: i32) -> io::Result<Tracee> {
        request(PTRACE_SEIZE, pid, 0, EXIT_KILL)?;
        Ok(Tracee { pid })
    }

    /// Stops it; [`io::ErrorKind::TimedOut`] if it has not by `until`, `ESRCH` if it ended.
    pub fn stop(&self, until: Instant) -> io::Result<()> {
        request(PTRACE_INTERRUPT, self.pid, 0, 0)?;
        self.wait(until).map(drop)
    }

    /// Lets it run.
    pub fn go_on(&self) -> io::Result<()> {
        request(libc::PTRACE_CONT, self.pid, 0, 0).map(drop)
    }

    /// One instruction; the signal that it stopped with.
    pub fn step(&self, until: Instant) -> io::Result<i32> {
        request(libc::PTRACE_SINGLESTEP, self.pid, 0, 0)?;
        self.wait(until)
    }

    fn wait(&self, until: Instant) -> io::Result<i32> {
        loop {
            let mut status = 0;
            // SAFETY: an integer of ours to write to.
            let pid =
                unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG | libc::__WALL) };
            match check(pid.into())? {
                0 if Instant::now() >= until => return Err(io::ErrorKind::TimedOut.into()),
                0 => std::thread::sleep(LOOK_EVERY),
                _ if libc::WIFSTOPPED(status) => return Ok(libc::WSTOPSIG(status)),
                _ => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
            }
        }
    }

    /// Its registers.
    pub fn registers(&self) -> io::Result<Registers> {
        // SAFETY: plain numbers, for which zero is a value.
        let mut registers: Registers = unsafe { std::mem::zeroed() };
        request(
            libc::PTRACE_GETREGS,
            self.pid,
            0,
            &raw mut registers as usize,
        )?;
        Ok(registers)
    }

    /// Sets them.
    pub fn set_registers(&self, registers: &Registers) -> io::Result<()> {
        let from = ptr::from_ref(registers) as usize;
        request(libc::PTRACE_SETREGS, self.pid, 0, from).map(drop)
    }

    /// Its x87 and SSE state.
    pub fn floats(&self) -> io::Result<Floats> {
        let mut floats: Floats = [0; 64];
        request(
            libc::PTRACE_GETFPREGS,
            self.pid,
            0,
            &raw mut floats as usize,
        )?;
        Ok(floats)
    }

    /// Which signals it has blocked.
    pub fn blocked_signals(&self) -> io::Result<u64> {
        let mut mask = 0u64;
        request(PTRACE_GETSIGMASK, self.pid, 8, &raw mut mask as usize)?;
        Ok(mask)
    }

    /// Its restartable sequences; none on kernels that cannot be asked.
    pub fn sequences(&self) -> io::Result<Sequences> {
        let mut found = Sequences::default();
        let len = size_of::<Sequences>();
        match request(
            PTRACE_GET_RSEQ_CONFIGURATION,
            self.pid,
            len,
            &raw mut found as usize,
        ) {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(Sequences::default()),
            other => other.map(|_| found),
        }
    }

    /// Head and length of its list of robust futexes.
    pub fn robust_list(&self) -> io::Result<(u64, u64)> {
        let (mut head, mut len) = (0u64, 0u64);
        // SAFETY: a pointer and a length of ours to write to.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_get_robust_list,
                self.pid,
                &raw mut head,
                &raw mut len,
            )
        };
        check(answer)?;
        Ok((head, len))
    }
}
