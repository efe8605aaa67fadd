//! Which core runs what: the platform on one and the generator on another, or everything on any.

use crate::Failure;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process was given.
pub struct Cores {
    given: CpuSet,
    platform: Option<usize>,
    generator: Option<usize>,
    is_free: bool,
}

impl Cores {
    /// The two ways to lay out a run, one after the other: a core for each side, and both free.
    pub fn both() -> std::io::Result<[Self; 2]> {
        Ok([Self::split()?, Self::free()?])
    }

    /// Everything on any core.
    fn free() -> std::io::Result<Self> {
        Ok(Self {
            given: sched_getaffinity(None)?,
            platform: None,
            generator: None,
            is_free: true,
        })
    }

    /// The first two cores that this process may use; with one core, no core is anybody's.
    pub fn split() -> std::io::Result<Self> {
        let given = sched_getaffinity(None)?;
        let mut own = (0..CpuSet::MAX_CPU).filter(|&core| given.is_set(core));
        let (platform, generator) = (own.next(), own.next());
        Ok(Self {
            given,
            platform: platform.filter(|_| generator.is_some()),
            generator,
            is_free: false,
        })
    }

    /// Starts what is on the platform's side; the caller has all cores again afterwards, so that
    /// what it starts next is bound to none.
    pub fn beside<T>(&self, start: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let started = self.on_platform(start)?;
        self.release()?;
        started
    }

    /// Runs `start`, which spawns a process, so that the child is bound to the platform's core; the
    /// caller is on the generator's afterwards.
    pub fn on_platform<T>(&self, start: impl FnOnce() -> T) -> std::io::Result<T> {
        let (Some(platform), Some(generator)) = (self.platform, self.generator) else {
            return Ok(start());
        };
        sched_setaffinity(None, &only(platform))?;
        let started = start();
        sched_setaffinity(None, &only(generator))?;
        Ok(started)
    }

    /// Binds this process to the platform's core, for what takes turns with it.
    pub fn on_platform_too(&self) -> std::io::Result<()> {
        match self.platform {
            Some(platform) => Ok(sched_setaffinity(None, &only(platform))?),
            None => Ok(()),
        }
    }

    /// Gives this process back all that it had.
    pub fn release(&self) -> std::io::Result<()> {
        Ok(sched_setaffinity(None, &self.given)?)
    }

    /// One line for the report.
    pub fn describe(&self) -> String {
        match (self.platform, self.generator) {
            (Some(platform), Some(generator)) => {
                format!("platform and echo on core {platform}, generator on core {generator}")
            }
            _ if self.is_free => "every process on any core".to_owned(),
            _ => "one core for all".to_owned(),
        }
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}
