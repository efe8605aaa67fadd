//! Which core runs what: the platform on one, the generator on another.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process was given.
pub struct Cores {
    given: CpuSet,
    platform: Option<usize>,
    generator: Option<usize>,
}

impl Cores {
    /// The first two cores that this process may use; with one core, no core is anybody's.
    pub fn split() -> std::io::Result<Self> {
        let given = sched_getaffinity(None)?;
        let mut own = (0..CpuSet::MAX_CPU).filter(|&core| given.is_set(core));
        let (platform, generator) = (own.next(), own.next());
        Ok(Self {
            given,
            platform: platform.filter(|_| generator.is_some()),
            generator,
        })
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
            _ => "one core for all".to_owned(),
        }
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}
