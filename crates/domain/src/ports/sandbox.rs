//! Isolated processes, from the engine's side of the wall.

use crate::{
    BoxFuture,
    ids::{CoreId, InstanceId, Mebibytes},
    network::NetworkId,
    time::Mono,
    traffic::NetworkBytes,
};
use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

/// What an instance is made from. Everything that becomes a host name is a number or a descriptor.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Its id, for the log; the spawner's own names are numbers it hands out.
    pub instance: InstanceId,
    /// The core that serves it.
    pub core: CoreId,
    /// The row of the root-owned runtime table.
    pub runtime: u32,
    /// `O_PATH` descriptor of the unpacked package, mounted read-only at `/var/task`; checked by
    /// fstat on the other side. `None` boots an instance that is nobody's yet: package and limits
    /// come with [`Instance::specialise`].
    pub package: Option<Arc<OwnedFd>>,
    /// What it is thawed from; `None` executes the runtime.
    pub image: Option<StartImage>,
    /// argv after the runtime's own.
    pub args: Vec<String>,
    /// The instance's environment; the runtime's comes first, these replace.
    pub env: Vec<(String, String)>,
    /// Memory limit, no swap.
    pub memory: Mebibytes,
    /// Hard size of `/tmp`.
    pub tmp: Mebibytes,
    /// Processes and threads.
    pub pids: u32,
    /// Descriptors.
    pub descriptors: u32,
    /// Processor share.
    pub cpu: CpuShare,
    /// Whom it may reach; one that is booted, nobody until it is specialised.
    pub network: NetworkId,
}

/// How much processor an instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuShare {
    /// Weight against other instances, in proportion to memory and shared by those of a function:
    /// 16384 per 1769 MiB.
    pub weight: u32,
    /// Hard quota in µs per 100 ms; `None` for none.
    pub quota_us: Option<u32>,
}

/// What comes out of the wall: descriptors made inside the instance's namespaces.
#[derive(Debug)]
pub struct InstanceIo {
    /// Listening TCP socket at [`RUNTIME_API_ADDRESS`] inside; the Runtime API is served on it.
    pub runtime_api: OwnedFd,
    /// Listening TCP socket at [`PLATFORM_ADDRESS`] inside; the platform's endpoint for this
    /// instance alone.
    pub platform: OwnedFd,
    /// What its network is served on.
    pub network: NetworkIo,
    /// The host's end of the stream socket that is descriptor [`FRAMES_DESCRIPTOR`] of a runtime
    /// that speaks direct frames; `None` for one that does not.
    pub frames: Option<OwnedFd>,
    /// Read end of the guest's stdout, non-blocking.
    pub stdout: OwnedFd,
    /// Read end of the guest's stderr, non-blocking.
    pub stderr: OwnedFd,
}

/// Sockets inside the instance's network namespace that the server answers on.
#[derive(Debug)]
pub struct NetworkIo {
    /// Datagram socket at [`NAMES_ADDRESS`] inside, non-blocking; names are answered on it.
    pub names: OwnedFd,
    /// Listening TCP socket at [`RELAY_ADDRESS`] inside, non-blocking, to which every connection comes
    /// that the guest makes beyond loopback; `None` where it has a link, or no network at all.
    pub connections: Option<OwnedFd>,
    /// Whether it has a link, and [`InstanceUsage::network`] something to say.
    pub has_link: bool,
}

/// Where the guest finds the Runtime API (`AWS_LAMBDA_RUNTIME_API`).
pub const RUNTIME_API_ADDRESS: &str = "127.0.0.1:9001";
/// Where the guest finds the platform (`AWS_ENDPOINT_URL`).
pub const PLATFORM_ADDRESS: &str = "127.0.0.1:9002";

/// Below [`PLATFORM_ADDRESS`], where the guest is told its session
/// (`AWS_CONTAINER_CREDENTIALS_FULL_URI`).
pub const CREDENTIALS_PATH: &str = "/_freehold/credentials";

/// Where the guest's connections are taken, where it has no link.
pub const RELAY_ADDRESS: &str = "127.0.0.1:9003";

/// Where the guest asks for names.
pub const NAMES_ADDRESS: &str = "127.0.0.1:53";

/// The descriptor on which a runtime finds its end of the frames socket.
pub const FRAMES_DESCRIPTOR: i32 = 3;

/// What makes a booted instance one of a revision.
#[derive(Debug, Clone)]
pub struct Specialisation {
    /// As in [`InstanceSpec::package`].
    pub package: Arc<OwnedFd>,
    /// Memory limit, no swap.
    pub memory: Mebibytes,
    /// Hard size of `/tmp`.
    pub tmp: Mebibytes,
    /// Processes and threads.
    pub pids: u32,
    /// Processor share.
    pub cpu: CpuShare,
    /// Whom it may reach from then on.
    pub network: NetworkId,
}

/// The memory of a stopped process, sealed. Its descriptor is a name that only the privileged side
/// can read through; closing the last one frees the memory.
#[derive(Debug, Clone)]
pub struct StartImage {
    /// The row of the runtime table that it was taken under.
    pub runtime: u32,
    /// What it occupies, bytes.
    pub bytes: u64,
    /// `O_PATH` descriptor of the sealed memory.
    pub descriptor: Arc<OwnedFd>,
}

/// Why no start image was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// This machine, or this driver, takes none.
    #[error("start images cannot be used here: {reason}")]
    Unsupported {
        /// Why: the processor, the kernel, no privilege.
        reason: String,
    },
    /// The process holds what an image cannot carry.
    #[error("the process cannot be carried in a start image: {reason}")]
    Refused {
        /// What, "2 threads", "descriptor 7 is a socket".
        reason: String,
    },
    /// It was not done in time.
    #[error("the start image was not taken before its deadline")]
    Deadline,
    /// The instance ended first.
    #[error("the instance ended before its start image was taken")]
    Gone,
    /// A step of ours failed.
    #[error("the start image failed at step {step}: {reason}")]
    Step {
        /// The step's name.
        step: String,
        /// Why, with the errno's name.
        reason: String,
    },
}

/// Why an instance could not be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The runtime's row is missing or its tree has changed since it was assembled.
    #[error("runtime {id} cannot be used: {reason}")]
    Runtime {
        /// The row.
        id: u32,
        /// Why.
        reason: String,
    },
    /// The package's descriptor is not what it must be.
    #[error("the package was refused: {reason}")]
    Package {
        /// Why.
        reason: String,
    },
    /// An isolation step failed; nothing of the instance is left.
    #[error("the sandbox failed at step {step}: {reason}")]
    Step {
        /// The step's name, `join_cgroup`.
        step: String,
        /// Why, with the errno's name.
        reason: String,
    },
    /// The program that the instance is to run is not there or cannot be run.
    #[error("the instance's program cannot be run: {reason}")]
    Program {
        /// Why, with the errno's name.
        reason: String,
    },
    /// The deadline passed first; nothing of the instance is left.
    #[error("the sandbox was not ready before its deadline")]
    Deadline,
    /// The spawner of that core died; another is on its way.
    #[error("spawner {core} is not there")]
    SpawnerLost {
        /// The core.
        core: u16,
    },
    /// A sandbox that was prepared died before the package's program ran in it; another one may
    /// do.
    #[error("the prepared sandbox was lost: {reason}")]
    Lost {
        /// Why, with the errno's name.
        reason: String,
    },
    /// The start image does not fit here, or what is in it could not go on. The runtime can be
    /// executed instead, which is always right.
    #[error("the start image could not be used: {reason}")]
    Image {
        /// Why.
        reason: String,
    },
    /// The platform ran out of something that it bounds: instances, the disk for `/tmp`.
    #[error("no {resource} left for another instance")]
    Exhausted {
        /// What.
        resource: String,
    },
}

/// What an instance uses, read from its cgroups and off its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InstanceUsage {
    /// Memory now, bytes.
    pub memory_bytes: u64,
    /// Highest memory so far, bytes.
    pub memory_peak_bytes: u64,
    /// What of the memory now it has in common with others of its start image, bytes.
    pub shared_bytes: u64,
    /// Processor time so far, µs.
    pub cpu_us: u64,
    /// Times that something in it was killed for want of memory.
    pub oom_kills: u64,
    /// Processes and threads now.
    pub pids: u32,
    /// What went over its link so far, refused packets and the headers of all of them included; nothing
    /// where it has none. Counted out of its reach.
    pub network: NetworkBytes,
}

/// What an instance has spent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Highest memory so far, bytes.
    pub memory_peak_bytes: u64,
    /// The highest of what it has in common with nobody, bytes.
    pub own_peak_bytes: u64,
    /// Processor time so far, µs.
    pub cpu_us: u64,
}

/// Whether what is known of an instance's memory has to be counted again: what it has in common with
/// its start image changes unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recount {
    /// It is as good as it gets.
    No,
    /// It is a while ago; nobody has to wait for it.
    Soon,
    /// What is known may be far off.
    Now,
}

impl From<InstanceUsage> for Spent {
    fn from(usage: InstanceUsage) -> Self {
        Self {
            memory_peak_bytes: usage.memory_peak_bytes,
            own_peak_bytes: usage.memory_peak_bytes.saturating_sub(usage.shared_bytes),
            cpu_us: usage.cpu_us,
        }
    }
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitReport {
    /// What ended it.
    pub cause: ExitCause,
    /// Its last usage.
    pub usage: InstanceUsage,
}

/// What ended an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitCause {
    /// Its first process returned this status.
    Exited(i32),
    /// Its first process died of this signal.
    Signaled(i32),
    /// The kernel killed in it for want of memory.
    OutOfMemory,
    /// The platform destroyed it.
    Destroyed,
    /// The spawner or supervisor above it died.
    SpawnerLost {
        /// "spawner 1 died".
        reason: String,
    },
}

/// Makes instances.
pub trait SandboxDriver: Send + Sync {
    /// Starts an instance: the runtime's process has been executed when this resolves.
    ///
    /// Errors: [`StartError`]; nothing is left of an instance that failed to start. Dropping the
    /// future destroys what was begun.
    fn start(
        &self,
        spec: InstanceSpec,
        deadline: Mono,
    ) -> BoxFuture<'_, Result<Arc<dyn Instance>, StartError>>;

    /// The same, but resolves as soon as the instance's sandbox is told to go, so that what is
    /// written to its descriptors lies there when the runtime begins. Whether that came to run,
    /// [`Instance::begun`] says.
    fn launch(
        &self,
        spec: InstanceSpec,
        deadline: Mono,
    ) -> BoxFuture<'_, Result<Arc<dyn Instance>, StartError>> {
        self.start(spec, deadline)
    }

    /// What the machine and its bounds allow.
    fn capacity(&self) -> DriverCapacity;

    /// Whether start images can be taken and thawed; why not, for the operator.
    fn images(&self) -> Result<(), String> {
        Err("this driver has no start images".to_owned())
    }
}

/// What a driver can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverCapacity {
    /// Memory that instances may use together, bytes.
    pub memory_bytes: u64,
    /// Memory available for new instances now, bytes, as the machine reports it.
    pub memory_available_bytes: u64,
    /// Instances at once.
    pub instances: u32,
}

/// A live instance. Dropping the last handle destroys it.
pub trait Instance: Send + Sync {
    /// Its descriptors; `Some` the first time.
    fn take_io(&self) -> Option<InstanceIo>;
    /// Whether its runtime came to run, once that is known: at once for one that was waited for,
    /// and before its end for one that was [launched](SandboxDriver::launch).
    fn begun(&self) -> BoxFuture<'static, Result<(), StartError>> {
        Box::pin(async { Ok(()) })
    }
    /// Gives a booted instance its limits, its `/tmp` and its package. Once; it has run nothing
    /// of a tenant's before.
    ///
    /// Errors: [`StartError`]; the instance is of no further use after one.
    fn specialise(
        &self,
        _to: Specialisation,
        _deadline: Mono,
    ) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async {
            Err(StartError::Step {
                step: "specialise".to_owned(),
                reason: "this driver boots no instances ahead".to_owned(),
            })
        })
    }
    /// Takes its memory as a start image and ends it. Its runtime waits for a frame meanwhile.
    ///
    /// Errors: [`ImageError`]; the instance is of no further use after one either.
    fn take_image(&self, _deadline: Mono) -> BoxFuture<'_, Result<StartImage, ImageError>> {
        Box::pin(async {
            Err(ImageError::Unsupported {
                reason: "this driver has no start images".to_owned(),
            })
        })
    }
    /// Stops it from running; it keeps its memory. Idempotent.
    fn freeze(&self) -> BoxFuture<'_, Result<(), InstanceGone>>;
    /// Lets it run again. Idempotent.
    fn thaw(&self) -> BoxFuture<'_, Result<(), InstanceGone>>;
    /// Gives it another weight against other instances, soon; nobody hears how that went.
    fn weigh(&self, _weight: u32) {}
    /// What it has spent so far, read on the spot: asked after every invocation.
    ///
    /// Errors: [`InstanceGone`] also where nothing can be read so; [`Instance::usage`] may know.
    fn spent(&self) -> Result<Spent, InstanceGone>;
    /// Whether [`Instance::usage`] is to be asked after [`Instance::spent`].
    fn recount(&self, _spent: Spent) -> Recount {
        Recount::No
    }
    /// What it uses, by asking whoever made it.
    fn usage(&self) -> BoxFuture<'_, Result<InstanceUsage, InstanceGone>>;
    /// [`InstanceUsage::network`] as it was last told: by [`Instance::usage`], and by its end.
    fn network(&self) -> NetworkBytes {
        NetworkBytes::default()
    }
    /// Kills everything in it and resolves once nothing is left: no process, cgroup, mount.
    /// Idempotent.
    fn destroy(&self) -> BoxFuture<'_, ExitReport>;
    /// Resolves when it has ended, by whatever cause, and nothing is left. May be called often.
    fn exited(&self) -> BoxFuture<'static, ExitReport>;
}

/// The instance has ended already; [`Instance::exited`] says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the instance has ended")]
pub struct InstanceGone;

/// Time between the last answer and the freeze at the latest.
pub const FREEZE_AFTER: Duration = Duration::from_millis(100);
