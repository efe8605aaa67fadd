//! Counts what one thread of another process executes, one instruction at a time.
//!
//! Machines like this one give no performance counters to their guests, and time is noise; a
//! single-stepped thread is neither: the same call executes the same instructions on a busy
//! machine. It costs a few microseconds per instruction, so a bench steps a handful of calls. What
//! it refuses: processors whose registers it does not read.

use crate::Failure;
use nix::{
    errno::Errno,
    sys::{
        ptrace,
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    time::{Duration, Instant},
};

/// A thread that has executed nothing for so long waits in the kernel.
const WAITS_AFTER: Duration = Duration::from_millis(3);
/// Numbers of system calls end well below.
#[cfg(target_arch = "x86_64")]
const CALLS: u64 = 1024;
/// Longest call.
const CALL_MAX: Duration = Duration::from_secs(60);

/// What was executed.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Instructions in user space; a repeated string instruction is one.
    pub instructions: u64,
    /// System calls by number.
    pub calls: BTreeMap<u64, u64>,
    /// How often each address was executed.
    pub addresses: HashMap<u64, u64>,
}

impl Counted {
    /// All system calls.
    pub fn system_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// A thread that is stopped whenever this does not step it. Detached when dropped.
pub struct Stepper {
    thread: Pid,
}

/// The thread of `pid` whose name is `name`.
pub fn thread_of(pid: i32, name: &str) -> Option<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.flatten().find_map(|thread| {
        let own = fs::read_to_string(thread.path().join("comm")).ok()?;
        let id = thread.file_name().to_str()?.parse().ok()?;
        (own.trim() == name).then_some(id)
    })
}

impl Stepper {
    /// Stops the thread.
    ///
    /// Errors: this process may not trace that one.
    pub fn stop(thread: i32) -> Result<Self, Failure> {
        let thread = Pid::from_raw(thread);
        ptrace::seize(thread, ptrace::Options::empty())
            .map_err(|error| format!("may not trace thread {thread}: {error}"))?;
        let stepper = Self { thread };
        stepper.halt()?;
        Ok(stepper)
    }

    /// Interrupts it, wherever it is.
    fn halt(&self) -> Result<(), Failure> {
        ptrace::interrupt(self.thread)?;
        self.wait()
    }

    /// Until it has stopped.
    fn wait(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        while !self.has_stopped()? {
            if begun.elapsed() > CALL_MAX {
                return Err("the thread does not stop".into());
            }
        }
        Ok(())
    }

    /// Whether it has stopped since it was last let go; gives the processor away once.
    fn has_stopped(&self) -> Result<bool, Failure> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        match waitpid(self.thread, Some(flags)) {
            Ok(WaitStatus::StillAlive) => {
                std::thread::yield_now();
                Ok(false)
            }
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {
                Err("the thread has ended".into())
            }
            Ok(WaitStatus::Stopped(_, signal)) if signal != Signal::SIGTRAP => {
                // On its way to the thread for a reason of its own.
                ptrace::step(self.thread, signal)?;
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Steps it until `is_done` and it waits in the kernel again.
    #[cfg(target_arch = "x86_64")]
    pub fn count(
        &self,
        mut is_done: impl FnMut() -> Result<bool, Failure>,
    ) -> Result<Counted, Failure> {
        let mut counted = Counted::default();
        let mut before = ptrace::getregs(self.thread)?;
        let begun = Instant::now();
        loop {
            ptrace::step(self.thread, None)?;
            let let_go = Instant::now();
            while !self.has_stopped()? {
                if let_go.elapsed() > WAITS_AFTER {
                    if is_done()? {
                        self.halt()?;
                        return Ok(counted);
                    }
                    if begun.elapsed() > CALL_MAX {
                        return Err(format!("no answer within {CALL_MAX:?}").into());
                    }
                }
            }
            let now = ptrace::getregs(self.thread)?;
            if now.rip == before.rip {
                continue;
            }
            counted.instructions += 1;
            *counted.addresses.entry(before.rip).or_default() += 1;
            // `syscall` is two bytes and leaves the address behind it in rcx.
            if now.rip == before.rip + 2 && now.rcx == now.rip && before.rax < CALLS {
                *counted.calls.entry(before.rax).or_default() += 1;
            }
            before = now;
        }
    }

    /// Steps it until `is_done` and it waits in the kernel again.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn count(&self, _: impl FnMut() -> Result<bool, Failure>) -> Result<Counted, Failure> {
        Err("instructions are counted on x86_64 alone".into())
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        // One that was given up runs still: it cannot be let go before it has stopped, and who is not
        // let go cannot be waited for by whoever ends its process.
        let _ = ptrace::cont(self.thread, None);
        let _ = self.halt();
        // A step ends with a signal. That of the last one is behind the stop when the thread was
        // interrupted in a system call, and would end a process that nobody traces any more. The
        // thread stops for it by itself; interrupted, it would stop before it again.
        while has_trap(self.thread)
            && ptrace::cont(self.thread, None).is_ok()
            && self.wait().is_ok()
        {}
        let _ = ptrace::detach(self.thread, None);
    }
}

/// Whether the signal of a step waits for the thread.
fn has_trap(thread: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let waiting = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    let waiting = waiting.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    waiting.is_some_and(|mask| mask >> (Signal::SIGTRAP as i32 - 1) & 1 == 1)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader, Write},
        process::{Command, Stdio},
    };

    /// Whether a process waits for something other than a processor.
    fn sleeps(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, state) = stat.rsplit_once(") ").unwrap();
        state.starts_with('S')
    }

    #[test]
    fn a_thread_that_was_let_go_goes_on() {
        let _alone = crate::starting_processes();
        // On one processor the thread has not run yet when it is interrupted again.
        let given = rustix::thread::sched_getaffinity(None).unwrap();
        let mut one = rustix::thread::CpuSet::new();
        let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|&number| given.is_set(number));
        one.set(first.unwrap());
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut ended) = (String::new(), None);
        for round in 0..50 {
            let Ok(stepper) = Stepper::stop(child.id().cast_signed()) else {
                eprintln!("missed: this process may not trace its child");
                break;
            };
            to.write_all(b"line\n").unwrap();
            let counted = stepper.count(|| Ok(sleeps(child.id())));
            drop(stepper);
            from.read_line(&mut line).unwrap();
            // To whom has ended nothing can be said.
            let lives = to
                .write_all(b"line\n")
                .and_then(|()| from.read_line(&mut line));
            if counted.is_err() || !matches!(lives, Ok(5)) {
                ended = Some(round);
                break;
            }
        }
        rustix::thread::sched_setaffinity(None, &given).unwrap();
        let _ = child.kill();
        let status = child.wait();
        assert!(ended.is_none(), "round {ended:?}: {status:?}");
    }

    #[test]
    fn the_same_work_is_the_same_number_of_instructions() {
        let _alone = crate::starting_processes();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut to, mut from) = (
            child.stdin.take().unwrap(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        let mut line = String::new();
        to.write_all(b"warm\n").unwrap();
        from.read_line(&mut line).unwrap();
        let counts = Stepper::stop(child.id().cast_signed()).map(|stepper| {
            let mut counts = Vec::new();
            for _ in 0..3 {
                to.write_all(b"line\n").unwrap();
                counts.push(stepper.count(|| Ok(sleeps(child.id()))).unwrap());
            }
            counts
        });
        line.clear();
        if counts.is_ok() {
            from.read_line(&mut line).unwrap();
        }
        let _ = child.kill();
        let _ = child.wait();
        let Ok(counts) = counts else {
            eprintln!("missed: this process may not trace its child");
            return;
        };
        assert_eq!(line, "line\n");
        assert!(counts[1].instructions > 0);
        assert_eq!(counts[1].instructions, counts[2].instructions);
        // The write at least: the read that waits is entered in one round and left in the next,
        // and an interrupted one begins anew, in neither.
        assert!(counts[1].system_calls() >= 1, "{:?}", counts[1]);
    }
}
