//! What a spawner needs to take and thaw images, gathered once, and only if it works here.

use super::{Fit, Unsupported};
use crate::{
    isolate::{Privilege, Runtimes},
    seccomp::Program,
};
use rustix::fs::{Mode, OFlags, open};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A spawner's means.
#[derive(Debug)]
pub struct Means {
    restorer: OwnedFd,
    own: OwnedFd,
    host: OwnedFd,
    processes: OwnedFd,
    fit: Fit,
}

impl Means {
    /// Gathers them and sees whether they work, as `uid`, which nobody else has meanwhile.
    pub fn gather(
        runtimes: &Runtimes,
        filter: &Program,
        privilege: Privilege,
        uid: u32,
    ) -> Result<Means, Unsupported> {
        if cfg!(not(start_images)) {
            return Err(Unsupported::Processor);
        }
        if privilege != Privilege::Root {
            return Err(Unsupported::Unprivileged);
        }
        let failed = |reason: String| Unsupported::SelfTest(reason);
        let restorer = runtimes.restorer().ok_or(Unsupported::Processor)?;
        let copy = |fd: BorrowedFd<'_>| {
            fd.try_clone_to_owned()
                .map_err(|error| failed(error.to_string()))
        };
        let steps: Vec<_> = filter
            .instructions()
            .iter()
            .map(|step| (step.code, step.jt, step.jf, step.k))
            .collect();
        let fit = runtimes
            .on_host(|| Fit::of_this_machine(steps))
            .and_then(|fit| fit)
            .map_err(|error| failed(format!("look at the machine: {error}")))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let processes = runtimes
            .on_host(|| open("/proc", flags, Mode::empty()).map_err(io::Error::from))
            .and_then(|opened| opened)
            .map_err(|error| failed(format!("open /proc: {error}")))?;
        let means = Means {
            restorer: copy(restorer)?,
            own: copy(runtimes.own_descriptors())?,
            host: copy(runtimes.host())?,
            processes,
            fit,
        };
        #[cfg(start_images)]
        super::self_test(&super::Bench {
            restorer: means.restorer.as_fd(),
            host: means.host.as_fd(),
            own: means.own.as_fd(),
            filter,
            fit: &means.fit,
            uid,
        })
        .map_err(failed)?;
        #[cfg(not(start_images))]
        let _ = uid;
        Ok(means)
    }

    /// The program that becomes what is in an image.
    pub fn restorer(&self) -> BorrowedFd<'_> {
        self.restorer.as_fd()
    }

    /// The spawner's own `/proc/self/fd`.
    pub fn own(&self) -> BorrowedFd<'_> {
        self.own.as_fd()
    }

    /// A mount namespace with the host's `/proc`.
    pub fn host(&self) -> BorrowedFd<'_> {
        self.host.as_fd()
    }

    /// The host's `/proc`.
    pub fn processes(&self) -> BorrowedFd<'_> {
        self.processes.as_fd()
    }

    /// What images must fit.
    pub fn fit(&self) -> &Fit {
        &self.fit
    }
}
