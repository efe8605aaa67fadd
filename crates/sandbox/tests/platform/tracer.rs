//! Leads a process from one of its system calls to the next, by ptrace(2), and kills it at one.
//!
//! Who is led stands still before a call is made: killed there, it has done what came before and nothing
//! else. All by the thread that began it. Refuses to wait longer than [`LATE`].

use nix::{
    libc,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// Longer than anybody here takes from one call to the next.
const LATE: Duration = Duration::from_secs(30);

/// A process that goes on as it is told. A scenario that fails lets go of it as it ends.
pub struct Led {
    pid: Pid,
    /// Its last stop was before a call and not behind one.
    is_before: bool,
    has_ended: bool,
}

impl Led {
    /// Has `pid` stand still, wherever it is.
    pub fn stopped(pid: i32) -> Led {
        let pid = Pid::from_raw(pid);
        ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD).expect("root may trace it");
        ptrace::interrupt(pid).expect("it lives");
        let stop = wait(pid);
        assert!(matches!(stop, WaitStatus::PtraceEvent(..)), "{stop:?}");
        Led {
            pid,
            is_before: false,
            has_ended: false,
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// It goes on until it is about to make a call: the number of that; nothing once it has ended.
    pub fn next_call(&mut self) -> Option<i64> {
        let mut signal = None;
        loop {
            // Who was killed meanwhile cannot go on, and has ended soon.
            let _ = ptrace::syscall(self.pid, signal.take());
            match wait(self.pid) {
                WaitStatus::PtraceSyscall(_) => {
                    self.is_before = !self.is_before;
                    if self.is_before {
                        return call_of(self.pid.as_raw());
                    }
                }
                // News for it, which it is to hear.
                WaitStatus::Stopped(_, heard) => signal = Some(heard),
                WaitStatus::PtraceEvent(..) => {}
                _ => {
                    self.has_ended = true;
                    return None;
                }
            }
        }
    }

    /// Kills it where it stands. It is dead afterwards, and its parent hears of it.
    pub fn kill(self) {
        kill(self.pid, Signal::SIGKILL).expect("it lives");
        self.dies();
    }

    /// Lets go of it: it goes on by itself, unless somebody else has killed it.
    pub fn leave(self) {
        if !self.has_ended && ptrace::detach(self.pid, None).is_err() {
            self.dies();
        }
    }

    fn dies(self) {
        while !matches!(
            wait(self.pid),
            WaitStatus::Signaled(..) | WaitStatus::Exited(..)
        ) {}
    }
}

/// A process whose next children stand still from their first instruction on.
pub struct Parent(Pid);

impl Parent {
    /// From now on; it goes on meanwhile.
    pub fn watched(pid: i32) -> Parent {
        let pid = Pid::from_raw(pid);
        let options = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACESYSGOOD;
        ptrace::seize(pid, options).expect("root may trace it");
        Parent(pid)
    }

    /// The next child that is `wanted`; its parent goes on by itself, as do other children.
    pub fn child(self, wanted: impl Fn(i32) -> bool) -> Led {
        loop {
            match wait(self.0) {
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_FORK) => {
                    let child = ptrace::getevent(self.0).expect("a child's pid");
                    let child = Pid::from_raw(i32::try_from(child).expect("a pid"));
                    let stop = wait(child);
                    assert!(matches!(stop, WaitStatus::PtraceEvent(..)), "{stop:?}");
                    let led = Led {
                        pid: child,
                        is_before: false,
                        has_ended: false,
                    };
                    if wanted(led.pid()) {
                        ptrace::detach(self.0, None).expect("it stands still");
                        return led;
                    }
                    led.leave();
                    ptrace::cont(self.0, None).expect("it stands still");
                }
                WaitStatus::PtraceEvent(..) => {
                    ptrace::cont(self.0, None).expect("it stands still");
                }
                WaitStatus::Stopped(_, heard) => {
                    ptrace::cont(self.0, heard).expect("it stands still");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Its next stop, or its end.
fn wait(pid: Pid) -> WaitStatus {
    let until = Instant::now() + LATE;
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    loop {
        match waitpid(pid, Some(flags)).expect("it is traced") {
            WaitStatus::StillAlive => {
                assert!(Instant::now() < until, "{pid} neither stops nor ends");
                std::thread::yield_now();
            }
            other => return other,
        }
    }
}

/// The call before which it stands; nothing if it was killed since.
fn call_of(pid: i32) -> Option<i64> {
    let line = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    line.split_whitespace().next()?.parse().ok()
}
