//! A child that has the descriptors it is given and few others, however many its parent holds.
//!
//! A fork copies the parent's table of descriptors. A spawner's has an entry for everything that it
//! holds of thousands of sandboxes: each new one would copy them all, close them one by one, and
//! keep a table of that size for as long as it lives. Here the child shares the table at first and
//! takes leave of it with a copy of its beginning, the doorstep, on which lies what it is to have.
//! Until it has, some ten microseconds later, the parent waits and touches no descriptor.
//!
//! Refuses more descriptors than there are places. Kernels before 5.9 cannot copy a beginning alone;
//! there it is a fork like any other.

use super::{
    check,
    processes::{self, Fork},
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// Descriptors that a child may be given.
const PLACES: i32 = 20;
/// Numbers that are left to what a process has had from its set-up; to tests, which have threads
/// that take numbers at any time, all those that they come to.
const FIRST: i32 = if cfg!(test) { 600 } else { 24 };

/// See the module. Belongs to a process with one thread.
#[derive(Debug)]
pub struct Doorstep {
    /// What lies in a place that nobody needs: the kernel gives low numbers away first.
    filler: OwnedFd,
    first: RawFd,
    laid: i32,
    heard: OwnedFd,
    /// Lies behind the places, where the child has it too.
    told: OwnedFd,
    is_apart: bool,
}

impl Doorstep {
    /// Looks for numbers in a row that are free, and keeps them.
    pub fn open() -> io::Result<Doorstep> {
        let filler = OwnedFd::from(File::open("/dev/null")?);
        let (heard, told) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut first = FIRST;
        let mut number = first;
        while number <= first + PLACES {
            if is_open(number) {
                first = number + 1;
            }
            number += 1;
        }
        put(&told, first + PLACES)?;
        // SAFETY: the number was free, and what lies there now is the copy just made.
        let told = unsafe { OwnedFd::from_raw_fd(first + PLACES) };
        let mut step = Doorstep {
            filler,
            first,
            laid: 0,
            heard,
            told,
            is_apart: leave_table(u32::MAX).is_ok(),
        };
        step.clear()?;
        Ok(step)
    }

    /// Moves a descriptor here, for the next child.
    pub fn lay(&mut self, descriptor: OwnedFd) -> io::Result<OwnedFd> {
        if self.laid >= PLACES {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let number = self.first + self.laid;
        put(&descriptor, number)?;
        self.laid += 1;
        // SAFETY: the number is kept for this: what lies there now is the copy just made, and the
        // filler that lay there before is owned by nobody.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// Forks a child with what was laid here. What lies here is to be dropped before
    /// [`Doorstep::clear`], which is to be called whatever came of it.
    pub fn fork(&self, flags: u64) -> io::Result<Fork> {
        if !self.is_apart {
            return processes::fork_into(flags);
        }
        match processes::fork_into(flags | libc::CLONE_FILES as u64)? {
            Fork::Child => {
                let told = self.told.as_raw_fd();
                let left = leave_table(told as u32 + 1)
                    .and_then(|()| Ok(rustix::io::write(&self.told, &[0])?));
                if left.is_err() {
                    processes::exit(1);
                }
                processes::close_one(told);
                Ok(Fork::Child)
            }
            Fork::Parent(pid, pidfd) => {
                if let Err(error) = self.wait(&pidfd) {
                    let _ = processes::kill(pidfd.as_fd());
                    let _ = processes::reap(pidfd.as_fd());
                    return Err(error);
                }
                Ok(Fork::Parent(pid, pidfd))
            }
        }
    }

    /// Until the child has a table of its own, or has ended.
    fn wait(&self, pidfd: &OwnedFd) -> io::Result<()> {
        loop {
            let mut both = [
                PollFd::new(&self.heard, PollFlags::IN),
                PollFd::new(pidfd, PollFlags::IN),
            ];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            if both[0].revents().is_empty() {
                return Err(io::Error::from_raw_os_error(libc::ECHILD));
            }
            rustix::io::read(&self.heard, &mut [0u8; 1])?;
            return Ok(());
        }
    }

    /// Keeps every place again.
    pub fn clear(&mut self) -> io::Result<()> {
        self.laid = 0;
        (self.first..self.first + PLACES).try_for_each(|number| put(&self.filler, number))
    }
}

/// Puts a copy at `number`, which whoever calls keeps for this.
fn put(from: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: plain numbers.
    let done = unsafe { libc::dup3(from.as_raw_fd(), number, libc::O_CLOEXEC) };
    check(done.into()).map(drop)
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: plain numbers; asks only.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// This process's table becomes its own, if it was shared, and ends before `first`.
fn leave_table(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_UNSHARE: u32 = 2;
    // SAFETY: plain numbers. What is closed here belongs to the other side of the fork, which goes
    // on having it.
    let last = u32::MAX;
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, CLOSE_RANGE_UNSHARE) })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, fstat};

    /// What a child sees is told by its exit code: it may not do more, beside a test's threads.
    #[test]
    fn a_child_has_what_was_laid_and_nothing_beyond() {
        let mut step = Doorstep::open().unwrap();
        let far = rustix::io::fcntl_dupfd_cloexec(&step.filler, step.first + 100).unwrap();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let laid = step.lay(write).unwrap();
        let beyond = far.as_raw_fd();
        match step.fork(0).unwrap() {
            Fork::Child => {
                let is_pipe = fstat(&laid)
                    .is_ok_and(|facts| FileType::from_raw_mode(facts.st_mode) == FileType::Fifo);
                let wrote = rustix::io::write(&laid, b"here").is_ok();
                let gone = !step.is_apart || !is_open(beyond);
                processes::exit(i32::from(!(is_pipe && wrote && gone)))
            }
            Fork::Parent(_, pidfd) => {
                drop(laid);
                step.clear().unwrap();
                let ended = loop {
                    if let Some(ended) = processes::reap(pidfd.as_fd()).unwrap() {
                        break ended;
                    }
                    std::thread::yield_now();
                };
                assert_eq!(ended, 0, "the child saw something else");
                let mut word = [0u8; 8];
                assert_eq!(rustix::io::read(&read, &mut word).unwrap(), 4);
                drop((read, pidfd));
            }
        }
        assert!(fstat(&far).is_ok(), "the parent lost its own");
        assert_eq!(step.laid, 0);
    }

    #[test]
    fn more_than_there_are_places_is_refused() {
        let mut step = Doorstep::open().unwrap();
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        let laid: Vec<_> = (0..PLACES).map(|_| step.lay(null()).unwrap()).collect();
        let error = step.lay(null()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        drop(laid);
        step.clear().unwrap();
        drop(step.lay(null()).unwrap());
    }
}
