//! The closed set of messages between the server, the supervisor and the spawners.
//!
//! Each message is one packet of at most [`MESSAGE_MAX`] bytes: a kind, then fields of fixed
//! order and width, little-endian, nothing after them. Descriptors travel beside it. Refuses an
//! unknown kind, a short or long packet, a number outside its range; never allocates by a length
//! that came from outside.

mod form;
mod packet;
#[cfg(test)]
mod tests;

use crate::start_image::Obstacle;
use freehold_domain::ports::InstanceUsage;

/// The protocol's version; a spawner and a server of different versions do not talk.
pub const VERSION: u32 = 7;
/// The longest message.
pub const MESSAGE_MAX: usize = 512;
/// The longest block of arguments and environment.
pub const BLOCK_MAX: u64 = 1 << 20;
/// The most arguments and variables together.
pub const BLOCK_ENTRIES_MAX: u32 = 8192;

/// Bounds of the numbers in a [`Start`].
pub mod bounds {
    use crate::volumes::{SIZE_MAX_MIB, SIZE_MIN_MIB};
    use freehold_domain::network::POLICIES_MAX;
    use std::ops::RangeInclusive;
    /// MiB of memory.
    pub const MEMORY_MIB: RangeInclusive<u32> = 16..=1 << 22;
    /// MiB of `/tmp`: what there are volumes of.
    pub const TMP_MIB: RangeInclusive<u32> = SIZE_MIN_MIB..=SIZE_MAX_MIB;
    /// Processes and threads, pid 1 among them.
    pub const PIDS: RangeInclusive<u32> = 4..=1 << 16;
    /// Descriptors.
    pub const DESCRIPTORS: RangeInclusive<u32> = 16..=1 << 20;
    /// Processor weight.
    pub const CPU_WEIGHT: RangeInclusive<u32> = 1..=1 << 18;
    /// µs per 100 ms; 0 for no quota.
    pub const CPU_QUOTA_US: RangeInclusive<u32> = 0..=100_000_000;
    /// What a start may carry beside its block.
    pub const CARRIES: RangeInclusive<u32> = 0..=7;
    /// Policies: the two that every node has, and the named ones.
    pub const NETWORK: RangeInclusive<u32> = 0..=1 + POLICIES_MAX as u32;
    /// A port.
    pub const PORT: RangeInclusive<u32> = 1..=65_535;
    /// How long a name's address may be reached, s.
    pub const ADMITTED_S: RangeInclusive<u32> = 1..=7200;
    /// How long the taking of an image may last, ms.
    pub const WITHIN_MS: RangeInclusive<u32> = 1..=60_000;
}

/// A packet that is not a message of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than its fields.
    #[error("the message ends inside a field")]
    Short,
    /// Longer than its fields.
    #[error("the message goes on after its last field")]
    Long,
    /// A kind that the protocol does not have.
    #[error("no message has kind {0}")]
    Kind(u8),
    /// A number outside its range.
    #[error("{field} is out of range")]
    Range {
        /// The field.
        field: &'static str,
    },
}

/// A start carries a package.
pub const CARRIES_PACKAGE: u32 = 1;
/// A start carries a start image.
pub const CARRIES_IMAGE: u32 = 2;

/// A start is answered by [`Reply::Launched`] as soon as its sandbox is told to go, and again when
/// it runs.
pub const EAGER: u32 = 4;

/// What a start asks for; package, block and image travel beside it, in this order, as far as
/// there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The server's name for this request.
    pub token: u64,
    /// Row of the runtime table.
    pub runtime: u32,
    /// Memory limit.
    pub memory_mib: u32,
    /// Size of `/tmp`.
    pub tmp_mib: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Descriptors.
    pub descriptors: u32,
    /// Processor weight, 16384 per full core of Lambda's.
    pub cpu_weight: u32,
    /// µs per 100 ms, 0 for no quota.
    pub cpu_quota_us: u32,
    /// [`CARRIES_PACKAGE`], [`CARRIES_IMAGE`] and [`EAGER`]. Without a package the instance is booted, and
    /// is nobody's until it is specialised.
    pub carries: u32,
    /// Its policy, by number.
    pub network: u32,
}

/// What makes a booted instance one of a revision; the package travels beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Specialise {
    /// The server's name for this request.
    pub token: u64,
    /// The instance.
    pub number: u64,
    /// Memory limit.
    pub memory_mib: u32,
    /// Size of `/tmp`.
    pub tmp_mib: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Processor weight, 16384 per full core of Lambda's.
    pub cpu_weight: u32,
    /// µs per 100 ms, 0 for no quota.
    pub cpu_quota_us: u32,
    /// Its policy, by number.
    pub network: u32,
}

/// From the server to a spawner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// First message: the server's version; answered by [`Reply::Welcome`].
    Hello {
        /// [`VERSION`].
        version: u32,
    },
    /// Start an instance; carries the package's descriptor, the sealed block and a start image, as
    /// far as it says so.
    Start(Start),
    /// Give a booted instance its limits, its `/tmp` and its package; answered by [`Reply::Done`]
    /// or [`Reply::Failed`].
    Specialise(Specialise),
    /// Take its memory as a start image and end it; answered by [`Reply::Image`] or
    /// [`Reply::ImageRefused`].
    TakeImage {
        /// The server's name for this request.
        token: u64,
        /// The instance.
        number: u64,
        /// How long that may last.
        within_ms: u32,
    },
    /// Stop it from running.
    Freeze {
        /// The server's name for this request.
        token: u64,
        /// The instance.
        number: u64,
    },
    /// Let it run.
    Thaw {
        /// The server's name for this request.
        token: u64,
        /// The instance.
        number: u64,
    },
    /// What it uses.
    Usage {
        /// The server's name for this request.
        token: u64,
        /// The instance.
        number: u64,
    },
    /// Give it another weight against other instances; not answered.
    Weigh {
        /// The instance.
        number: u64,
        /// Processor weight, as in [`Start`].
        cpu_weight: u32,
    },
    /// A name of a policy has this address; answered by [`Reply::Done`] once its ports may be
    /// reached, or by [`Reply::NotThere`].
    Admit {
        /// The server's name for this request.
        token: u64,
        /// The policy.
        network: u32,
        /// The address, as a number.
        address: u32,
        /// The first port.
        first: u32,
        /// The last.
        last: u32,
        /// For how long, s.
        lives_s: u32,
    },
    /// Kill it; answered by [`Reply::Exited`].
    Destroy {
        /// The instance.
        number: u64,
    },
    /// Which instances live: one [`Reply::Listed`] each, then [`Reply::Done`].
    List {
        /// The server's name for this request.
        token: u64,
    },
}

/// Why a start failed, in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such row in the runtime table.
    Runtime,
    /// The package's descriptor is not what it must be; the value says which rule it broke.
    Package,
    /// The block is missing, unsealed or too long.
    Block,
    /// An isolation step failed: its place in [`crate::isolate::step_name`], and the errno.
    Step,
    /// Something that is bounded is all in use: its place in [`EXHAUSTED`].
    Exhausted,
    /// The start image is not one that can be thawed here: the place of the rule that it breaks in
    /// [`crate::start_image::IMAGE_RULES`], or [`NO_IMAGES`].
    Image,
}

/// In place of a rule: this spawner thaws no images.
pub const NO_IMAGES: u16 = u16::MAX;

/// What a lane can run out of, by its number in [`Refusal::Exhausted`].
pub const EXHAUSTED: [&str; 2] = ["instances", "disk for /tmp"];
/// The place of instances in it.
pub const EXHAUSTED_INSTANCES: u16 = 0;
/// The place of the disk in it.
pub const EXHAUSTED_DISK: u16 = 1;

/// What ended an instance, in a number; the value is a status or a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Returned a status.
    Exited,
    /// Died of a signal.
    Signaled,
    /// Killed for want of memory.
    OutOfMemory,
    /// Asked for by the server.
    Destroyed,
}

/// From a spawner to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The spawner is ready; said when it is, and again to whoever greets it first.
    Welcome {
        /// [`VERSION`].
        version: u32,
        /// Which lane it serves.
        lane: u16,
        /// Instances it can hold at once.
        instances_max: u32,
        /// Whether it takes and thaws start images: 0 for yes, else the place of the reason in
        /// [`crate::start_image::UNSUPPORTED`], from 1.
        images: u16,
    },
    /// The spawner could not be set up; it ends.
    SetupFailed {
        /// Place of the step in [`crate::spawner::SETUP_STEPS`].
        step: u16,
        /// Why.
        errno: i32,
    },
    /// Was told to go; carries what [`Reply::Started`] does, which follows without it, unless
    /// [`Reply::Failed`] does.
    Launched {
        /// The request.
        token: u64,
        /// The spawner's name for the instance.
        number: u64,
    },
    /// Runs; carries the two listeners, the socket for names, the listener for connections where
    /// they are led to the server, the read ends of stdout and stderr, the frames socket of a runtime
    /// that has one, and where they can be had the two descriptors of [`crate::cgroup::Gauges`].
    Started {
        /// The request.
        token: u64,
        /// The spawner's name for the instance.
        number: u64,
    },
    /// Did not start, and nothing of it is left.
    Failed {
        /// The request.
        token: u64,
        /// What kind of failure.
        refusal: Refusal,
        /// Which step or rule.
        detail: u16,
        /// Why, 0 without.
        errno: i32,
    },
    /// A freeze, thaw or list is done.
    Done {
        /// The request.
        token: u64,
    },
    /// No such instance.
    NotThere {
        /// The request.
        token: u64,
    },
    /// The answer to a usage request.
    Used {
        /// The request.
        token: u64,
        /// The figures.
        usage: InstanceUsage,
    },
    /// An instance lives.
    Listed {
        /// The request.
        token: u64,
        /// The instance.
        number: u64,
        /// Row of the runtime table.
        runtime: u32,
    },
    /// It has ended, and nothing of it is left.
    Exited {
        /// The instance.
        number: u64,
        /// What ended it.
        cause: Cause,
        /// Status or signal.
        value: i32,
        /// Its last usage.
        usage: InstanceUsage,
    },
    /// The packet before was not a message of this protocol.
    Refused {
        /// How many were not, so far.
        count: u64,
    },
    /// A start image; carries a name of it, through which nothing can be read.
    Image {
        /// The request.
        token: u64,
        /// What it occupies.
        bytes: u64,
    },
    /// No start image was taken; the instance ends all the same.
    ImageRefused {
        /// The request.
        token: u64,
        /// What stood in the way.
        obstacle: Obstacle,
    },
}

/// From the supervisor to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A spawner is there; carries its socket.
    Lane {
        /// Which lane.
        lane: u16,
        /// Counted from 1, a new one after each death.
        generation: u32,
    },
    /// A spawner died; everything of its lane is gone.
    LaneLost {
        /// Which lane.
        lane: u16,
        /// The generation that died.
        generation: u32,
    },
    /// The supervisor itself could not be set up; it ends.
    SetupFailed {
        /// Place of the step in [`crate::supervisor::SETUP_STEPS`].
        step: u16,
        /// Why.
        errno: i32,
    },
    /// All is gone; the supervisor ends.
    Gone,
}

/// From the server to the supervisor: end everything.
pub const SHUTDOWN: [u8; 1] = [1];
