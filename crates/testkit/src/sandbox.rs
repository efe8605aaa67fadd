//! A sandbox driver without sandboxes.
//!
//! A [`FakeInstance`] lives in a [`FakeWorld`], which a test scripts and asks: how long starts
//! take, how inits go, what each event does (its body says so, see [`crate::contract`]), how many
//! instances live and whether anybody broke a rule: used a frozen instance, an ended one, or more
//! slots than it has.

pub mod suite;
mod world;

pub(crate) use world::Unprepared;
pub use world::{FakeWorld, Init, Timing};

use crate::seams::nothing;
use freehold_domain::{
    BoxFuture, NetworkBytes,
    ports::{
        DriverCapacity, ExitCause, ExitReport, ImageError, Instance, InstanceGone, InstanceIo,
        InstanceSpec, InstanceUsage, NetworkIo, SandboxDriver, Specialisation, Spent, StartError,
        StartImage,
    },
    time::Mono,
};
use parking_lot::Mutex;
use std::{
    io::{PipeWriter, Write},
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::watch;

/// What freezing and thawing take: long enough that somebody can come in between.
const SWITCH: Duration = Duration::from_micros(200);
/// And what each takes of the processor, as the kernel's freezer does.
const SWITCH_CPU_US: u64 = 30;

/// Makes instances of a world.
#[derive(Debug)]
pub struct FakeDriver(pub Arc<FakeWorld>);

impl SandboxDriver for FakeDriver {
    fn start(
        &self,
        spec: InstanceSpec,
        _deadline: Mono,
    ) -> BoxFuture<'_, Result<Arc<dyn Instance>, StartError>> {
        Box::pin(async move {
            let world = &self.0;
            let (took, failure) = world.next_start();
            tokio::time::sleep(took).await;
            if let Some(failure) = failure {
                return Err(failure);
            }
            let instance = FakeInstance::new(world, spec);
            world.began(&instance);
            Ok(instance as Arc<dyn Instance>)
        })
    }

    fn capacity(&self) -> DriverCapacity {
        self.0.capacity()
    }

    fn images(&self) -> Result<(), String> {
        self.0.images()
    }
}

/// An instance that is a few numbers.
#[derive(Debug)]
pub struct FakeInstance {
    /// What it was made from.
    pub spec: InstanceSpec,
    world: Weak<FakeWorld>,
    state: Mutex<State>,
    exit: watch::Sender<Option<ExitReport>>,
}

#[derive(Debug, Default)]
struct State {
    io_taken: bool,
    frozen: bool,
    package: Option<Arc<OwnedFd>>,
    weight: u32,
    running: u16,
    usage: InstanceUsage,
    /// What was told of the network.
    told: NetworkBytes,
    /// How often it was asked what it uses.
    asked: u32,
    is_deaf: bool,
    stdout: Option<PipeWriter>,
}

impl FakeInstance {
    fn new(world: &Arc<FakeWorld>, spec: InstanceSpec) -> Arc<Self> {
        let memory_bytes = world.memory_bytes();
        let usage = InstanceUsage {
            memory_bytes,
            memory_peak_bytes: memory_bytes,
            pids: world.tasks(),
            ..InstanceUsage::default()
        };
        let (package, weight) = (spec.package.clone(), spec.cpu.weight);
        Arc::new(Self {
            spec,
            world: Arc::downgrade(world),
            state: Mutex::new(State {
                usage,
                package,
                weight,
                ..State::default()
            }),
            exit: watch::Sender::new(None),
        })
    }

    /// Ends it by `cause`, unless it has ended.
    pub fn end(&self, cause: ExitCause) -> ExitReport {
        let mut usage = self.state.lock().usage;
        usage.oom_kills += u64::from(cause == ExitCause::OutOfMemory);
        let report = ExitReport { cause, usage };
        let ended = self.exit.send_if_modified(|exit| {
            let first = exit.is_none();
            exit.get_or_insert_with(|| report.clone());
            first
        });
        if ended {
            self.state.lock().stdout = None;
            if let Some(world) = self.world.upgrade() {
                world.ended(self);
            }
        }
        self.exit.borrow().clone().expect("it was set above")
    }

    /// Whether it is of a revision, from the start or by now.
    pub fn is_somebodys(&self) -> bool {
        self.state.lock().package.is_some()
    }

    /// What it weighs against other instances.
    pub fn weight(&self) -> u32 {
        self.state.lock().weight
    }

    /// Whether it is frozen.
    pub fn is_frozen(&self) -> bool {
        self.state.lock().frozen
    }

    /// It works on by itself for so long; not while it is frozen.
    pub fn burn(&self, cpu_us: u64) {
        let mut state = self.state.lock();
        if !state.frozen {
            state.usage.cpu_us += cpu_us;
        }
    }

    /// So many bytes go over its link, each way.
    pub fn send(&self, out: u64, back: u64) {
        let mut state = self.state.lock();
        state.usage.network = state.usage.network + NetworkBytes { out, back };
    }

    /// How often it was asked what it uses.
    pub fn asked(&self) -> u32 {
        self.state.lock().asked
    }

    /// It does not answer any more when it is asked what it uses.
    pub fn deafen(&self) {
        self.state.lock().is_deaf = true;
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Writes to its stdout; waits while the pipe is full.
    pub fn print(&self, bytes: &[u8]) {
        let stdout = self
            .state
            .lock()
            .stdout
            .as_ref()
            .and_then(|out| out.try_clone().ok());
        if let Some(mut stdout) = stdout {
            // A reader that has gone is no failure of the writer's test.
            let _ = stdout.write_all(bytes);
        }
    }

    /// An event goes in; the world hears of rules that this breaks.
    pub(crate) fn enter(&self, slots: u16) {
        let mut state = self.state.lock();
        state.running += 1;
        state.usage.cpu_us += 100;
        let broken = match &*state {
            _ if self.has_ended() => Some("an event went into an instance that has ended"),
            State { frozen: true, .. } => Some("an event went into a frozen instance"),
            State { running, .. } if *running > slots => Some("more events than slots"),
            _ => None,
        };
        drop(state);
        if let (Some(broken), Some(world)) = (broken, self.world.upgrade()) {
            world.broken(broken);
        }
    }

    pub(crate) fn leave(&self) {
        self.state.lock().running -= 1;
    }
}

impl Instance for FakeInstance {
    fn take_io(&self) -> Option<InstanceIo> {
        if std::mem::replace(&mut self.state.lock().io_taken, true) {
            return None;
        }
        let (stdout, writer) = std::io::pipe().expect("a pipe");
        let (stderr, _) = std::io::pipe().expect("a pipe");
        self.state.lock().stdout = Some(writer);
        let runtime_api = nothing();
        if let Some(world) = self.world.upgrade() {
            world.listens(runtime_api.as_raw_fd(), self.spec.instance);
        }
        Some(InstanceIo {
            runtime_api,
            platform: nothing(),
            network: NetworkIo {
                names: nothing(),
                connections: None,
                has_link: self.world.upgrade().is_some_and(|world| world.has_links()),
            },
            frames: None,
            stdout: stdout.into(),
            stderr: stderr.into(),
        })
    }

    fn specialise(
        &self,
        to: Specialisation,
        _deadline: Mono,
    ) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move {
            tokio::time::sleep(SWITCH).await;
            let world = self.world.upgrade();
            if let Some(world) = &world {
                world.next_specialise_failure().map_or(Ok(()), Err)?;
            }
            let mut state = self.state.lock();
            if let (true, Some(world)) = (state.package.is_some(), world) {
                world.broken("an instance was specialised twice");
            }
            state.package = Some(to.package);
            state.weight = to.cpu.weight;
            Ok(())
        })
    }

    fn take_image(&self, _deadline: Mono) -> BoxFuture<'_, Result<StartImage, ImageError>> {
        Box::pin(async move {
            tokio::time::sleep(SWITCH).await;
            if self.has_ended() {
                return Err(ImageError::Gone);
            }
            let world = self.world.upgrade().ok_or(ImageError::Gone)?;
            let image = world.take_image(self.spec.runtime, !self.is_somebodys());
            self.end(ExitCause::Destroyed);
            image
        })
    }

    fn freeze(&self) -> BoxFuture<'_, Result<(), InstanceGone>> {
        Box::pin(async move {
            tokio::time::sleep(SWITCH).await;
            let mut state = self.state.lock();
            state.frozen = true;
            state.usage.cpu_us += SWITCH_CPU_US;
            if state.running > 0
                && let Some(world) = self.world.upgrade()
            {
                world.broken("an instance was frozen while it ran");
            }
            if self.has_ended() {
                Err(InstanceGone)
            } else {
                Ok(())
            }
        })
    }

    fn thaw(&self) -> BoxFuture<'_, Result<(), InstanceGone>> {
        Box::pin(async move {
            tokio::time::sleep(SWITCH).await;
            let mut state = self.state.lock();
            state.frozen = false;
            state.usage.cpu_us += SWITCH_CPU_US;
            drop(state);
            if self.has_ended() {
                Err(InstanceGone)
            } else {
                Ok(())
            }
        })
    }

    fn weigh(&self, weight: u32) {
        self.state.lock().weight = weight;
    }

    fn spent(&self) -> Result<Spent, InstanceGone> {
        if self.has_ended() {
            return Err(InstanceGone);
        }
        Ok(self.state.lock().usage.into())
    }

    fn usage(&self) -> BoxFuture<'_, Result<InstanceUsage, InstanceGone>> {
        Box::pin(async move {
            if self.has_ended() {
                return Err(InstanceGone);
            }
            let (is_deaf, usage) = {
                let mut state = self.state.lock();
                state.asked += 1;
                if !state.is_deaf {
                    state.told = state.usage.network;
                }
                (state.is_deaf, state.usage)
            };
            if is_deaf {
                std::future::pending::<()>().await;
            }
            Ok(usage)
        })
    }

    fn network(&self) -> NetworkBytes {
        match &*self.exit.borrow() {
            Some(report) => report.usage.network,
            None => self.state.lock().told,
        }
    }

    fn destroy(&self) -> BoxFuture<'_, ExitReport> {
        Box::pin(async move {
            if let Some(world) = self.world.upgrade() {
                tokio::time::sleep(world.destroy_takes()).await;
            }
            self.end(ExitCause::Destroyed)
        })
    }

    fn exited(&self) -> BoxFuture<'static, ExitReport> {
        let mut exit = self.exit.subscribe();
        Box::pin(async move {
            match exit.wait_for(Option::is_some).await {
                Ok(report) => report.clone().expect("waited for"),
                // The last handle was dropped, which destroys.
                Err(_) => ExitReport {
                    cause: ExitCause::Destroyed,
                    usage: InstanceUsage::default(),
                },
            }
        })
    }
}

impl Drop for FakeInstance {
    fn drop(&mut self) {
        self.end(ExitCause::Destroyed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::{
        ids::{CoreId, InstanceId, Mebibytes},
        ports::CpuShare,
    };
    use uuid::Uuid;

    #[test]
    fn the_fake_passes_the_suite() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let driver = FakeDriver(FakeWorld::new(1));
            let spec = || InstanceSpec {
                instance: InstanceId(Uuid::from_u128(1)),
                core: CoreId(0),
                runtime: 1,
                package: Some(Arc::new(nothing())),
                image: None,
                args: vec![],
                env: vec![],
                memory: Mebibytes(128),
                tmp: Mebibytes(512),
                pids: 10,
                descriptors: 10,
                cpu: CpuShare {
                    weight: 1,
                    quota_us: None,
                },
                network: freehold_domain::network::NetworkId::NONE,
            };
            suite::driver_suite(&driver, spec, || Mono(u64::MAX)).await;
            assert_eq!(driver.0.live(), 0);
        });
    }
}
