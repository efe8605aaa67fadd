//! The closed set of messages between the server, the supervisor and the spawners.
//!
//! Each message is one packet of at most [`MESSAGE_MAX`] bytes: a kind, then fields of fixed
//! order and width, little-endian, nothing after them. Descriptors travel beside it. Refuses an
//! unknown kind, a short or long packet, a number outside its range; never allocates by a length
//! that came from outside.

use crate::start_image::{Obstacle, ObstacleKind};
use freehold_domain::ports::InstanceUsage;

/// The protocol's version; a spawner and a server of different versions do not talk.
pub const VERSION: u32 = 5;
/// The longest message.
pub const MESSAGE_MAX: usize = 512;
/// The longest block of arguments and environment.
pub const BLOCK_MAX: u64 = 1 << 20;
/// The most arguments and variables together.
pub const BLOCK_ENTRIES_MAX: u32 = 8192;

/// Bounds of the numbers in a [`Start`].
pub mod bounds {
    use crate::volumes::{SIZE_MAX_MIB, SIZE_MIN_MIB};
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
    /// Runs; carries the two listeners, the read ends of stdout and stderr, and where they can be
    /// had the two descriptors of [`crate::cgroup::Gauges`].
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

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(80);
        bytes.push(kind);
        Self(bytes)
    }
    fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn i32(self, value: i32) -> Self {
        self.u32(value.cast_unsigned())
    }
    fn usage(self, usage: &InstanceUsage) -> Self {
        self.u64(usage.memory_bytes)
            .u64(usage.memory_peak_bytes)
            .u64(usage.shared_bytes)
            .u64(usage.cpu_us)
            .u64(usage.oom_kills)
            .u32(usage.pids)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.take()?))
    }
    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take()?))
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }
    fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(self.u32()?.cast_signed())
    }
    fn bounded(
        &mut self,
        field: &'static str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<u32, Malformed> {
        let value = self.u32()?;
        if range.contains(&value) {
            Ok(value)
        } else {
            Err(Malformed::Range { field })
        }
    }
    fn usage(&mut self) -> Result<InstanceUsage, Malformed> {
        Ok(InstanceUsage {
            memory_bytes: self.u64()?,
            memory_peak_bytes: self.u64()?,
            shared_bytes: self.u64()?,
            cpu_us: self.u64()?,
            oom_kills: self.u64()?,
            pids: self.u32()?,
        })
    }
    fn end<T>(&self, message: T) -> Result<T, Malformed> {
        if self.0.is_empty() {
            Ok(message)
        } else {
            Err(Malformed::Long)
        }
    }
}

impl Request {
    /// The instance that it is about; a start has none yet.
    pub fn instance(&self) -> Option<u64> {
        match *self {
            Self::Specialise(Specialise { number, .. })
            | Self::TakeImage { number, .. }
            | Self::Freeze { number, .. }
            | Self::Thaw { number, .. }
            | Self::Usage { number, .. }
            | Self::Weigh { number, .. }
            | Self::Destroy { number } => Some(number),
            Self::Hello { .. } | Self::Start(_) | Self::List { .. } => None,
        }
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Hello { version } => Writer::new(1).u32(version),
            Self::Start(s) => Writer::new(2)
                .u64(s.token)
                .u32(s.runtime)
                .u32(s.memory_mib)
                .u32(s.tmp_mib)
                .u32(s.pids)
                .u32(s.descriptors)
                .u32(s.cpu_weight)
                .u32(s.cpu_quota_us)
                .u32(s.carries),
            Self::Specialise(s) => Writer::new(8)
                .u64(s.token)
                .u64(s.number)
                .u32(s.memory_mib)
                .u32(s.tmp_mib)
                .u32(s.pids)
                .u32(s.cpu_weight)
                .u32(s.cpu_quota_us),
            Self::TakeImage {
                token,
                number,
                within_ms,
            } => Writer::new(9).u64(token).u64(number).u32(within_ms),
            Self::Freeze { token, number } => Writer::new(3).u64(token).u64(number),
            Self::Thaw { token, number } => Writer::new(4).u64(token).u64(number),
            Self::Usage { token, number } => Writer::new(5).u64(token).u64(number),
            Self::Destroy { number } => Writer::new(6).u64(number),
            Self::List { token } => Writer::new(7).u64(token),
            Self::Weigh { number, cpu_weight } => Writer::new(10).u64(number).u32(cpu_weight),
        }
        .0
    }

    /// The message in a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(packet);
        let message = match r.u8()? {
            1 => Self::Hello { version: r.u32()? },
            2 => Self::Start(Start {
                token: r.u64()?,
                runtime: r.u32()?,
                memory_mib: r.bounded("memory", bounds::MEMORY_MIB)?,
                tmp_mib: r.bounded("tmp", bounds::TMP_MIB)?,
                pids: r.bounded("pids", bounds::PIDS)?,
                descriptors: r.bounded("descriptors", bounds::DESCRIPTORS)?,
                cpu_weight: r.bounded("cpu weight", bounds::CPU_WEIGHT)?,
                cpu_quota_us: r.bounded("cpu quota", bounds::CPU_QUOTA_US)?,
                carries: r.bounded("carries", bounds::CARRIES)?,
            }),
            3 => Self::Freeze {
                token: r.u64()?,
                number: r.u64()?,
            },
            4 => Self::Thaw {
                token: r.u64()?,
                number: r.u64()?,
            },
            5 => Self::Usage {
                token: r.u64()?,
                number: r.u64()?,
            },
            6 => Self::Destroy { number: r.u64()? },
            7 => Self::List { token: r.u64()? },
            8 => Self::Specialise(Specialise {
                token: r.u64()?,
                number: r.u64()?,
                memory_mib: r.bounded("memory", bounds::MEMORY_MIB)?,
                tmp_mib: r.bounded("tmp", bounds::TMP_MIB)?,
                pids: r.bounded("pids", bounds::PIDS)?,
                cpu_weight: r.bounded("cpu weight", bounds::CPU_WEIGHT)?,
                cpu_quota_us: r.bounded("cpu quota", bounds::CPU_QUOTA_US)?,
            }),
            9 => Self::TakeImage {
                token: r.u64()?,
                number: r.u64()?,
                within_ms: r.bounded("time", bounds::WITHIN_MS)?,
            },
            10 => Self::Weigh {
                number: r.u64()?,
                cpu_weight: r.bounded("cpu weight", bounds::CPU_WEIGHT)?,
            },
            kind => return Err(Malformed::Kind(kind)),
        };
        r.end(message)
    }
}

impl Refusal {
    const ALL: [Self; 6] = [
        Self::Runtime,
        Self::Package,
        Self::Block,
        Self::Step,
        Self::Exhausted,
        Self::Image,
    ];
}
impl Cause {
    const ALL: [Self; 4] = [
        Self::Exited,
        Self::Signaled,
        Self::OutOfMemory,
        Self::Destroyed,
    ];
}

fn named<T: Copy>(all: &[T], place: u16, field: &'static str) -> Result<T, Malformed> {
    all.get(usize::from(place))
        .copied()
        .ok_or(Malformed::Range { field })
}

impl Reply {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Welcome {
                version,
                lane,
                instances_max,
                images,
            } => Writer::new(1)
                .u32(version)
                .u16(lane)
                .u32(instances_max)
                .u16(images),
            Self::SetupFailed { step, errno } => Writer::new(2).u16(step).i32(errno),
            Self::Started { token, number } => Writer::new(3).u64(token).u64(number),
            Self::Launched { token, number } => Writer::new(13).u64(token).u64(number),
            Self::Failed {
                token,
                refusal,
                detail,
                errno,
            } => Writer::new(4)
                .u64(token)
                .u16(refusal as u16)
                .u16(detail)
                .i32(errno),
            Self::Done { token } => Writer::new(5).u64(token),
            Self::NotThere { token } => Writer::new(6).u64(token),
            Self::Used { token, ref usage } => Writer::new(7).u64(token).usage(usage),
            Self::Listed {
                token,
                number,
                runtime,
            } => Writer::new(8).u64(token).u64(number).u32(runtime),
            Self::Exited {
                number,
                cause,
                value,
                ref usage,
            } => Writer::new(9)
                .u64(number)
                .u16(cause as u16)
                .i32(value)
                .usage(usage),
            Self::Refused { count } => Writer::new(10).u64(count),
            Self::Image { token, bytes } => Writer::new(11).u64(token).u64(bytes),
            Self::ImageRefused { token, obstacle } => Writer::new(12)
                .u64(token)
                .u16(obstacle.kind as u16)
                .u64(obstacle.value),
        }
        .0
    }

    /// The message in a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(packet);
        let message = match r.u8()? {
            1 => Self::Welcome {
                version: r.u32()?,
                lane: r.u16()?,
                instances_max: r.u32()?,
                images: r.u16()?,
            },
            2 => Self::SetupFailed {
                step: r.u16()?,
                errno: r.i32()?,
            },
            3 => Self::Started {
                token: r.u64()?,
                number: r.u64()?,
            },
            4 => Self::Failed {
                token: r.u64()?,
                refusal: named(&Refusal::ALL, r.u16()?, "refusal")?,
                detail: r.u16()?,
                errno: r.i32()?,
            },
            5 => Self::Done { token: r.u64()? },
            6 => Self::NotThere { token: r.u64()? },
            7 => Self::Used {
                token: r.u64()?,
                usage: r.usage()?,
            },
            8 => Self::Listed {
                token: r.u64()?,
                number: r.u64()?,
                runtime: r.u32()?,
            },
            9 => Self::Exited {
                number: r.u64()?,
                cause: named(&Cause::ALL, r.u16()?, "cause")?,
                value: r.i32()?,
                usage: r.usage()?,
            },
            10 => Self::Refused { count: r.u64()? },
            11 => Self::Image {
                token: r.u64()?,
                bytes: r.u64()?,
            },
            12 => Self::ImageRefused {
                token: r.u64()?,
                obstacle: named(&ObstacleKind::ALL, r.u16()?, "obstacle")?.of(r.u64()?),
            },
            13 => Self::Launched {
                token: r.u64()?,
                number: r.u64()?,
            },
            kind => return Err(Malformed::Kind(kind)),
        };
        r.end(message)
    }
}

impl Notice {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Lane { lane, generation } => Writer::new(1).u16(lane).u32(generation),
            Self::LaneLost { lane, generation } => Writer::new(2).u16(lane).u32(generation),
            Self::SetupFailed { step, errno } => Writer::new(3).u16(step).i32(errno),
            Self::Gone => Writer::new(4),
        }
        .0
    }

    /// The message in a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader(packet);
        let message = match r.u8()? {
            1 => Self::Lane {
                lane: r.u16()?,
                generation: r.u32()?,
            },
            2 => Self::LaneLost {
                lane: r.u16()?,
                generation: r.u32()?,
            },
            3 => Self::SetupFailed {
                step: r.u16()?,
                errno: r.i32()?,
            },
            4 => Self::Gone,
            kind => return Err(Malformed::Kind(kind)),
        };
        r.end(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Start = Start {
        token: 7,
        runtime: 3,
        memory_mib: 128,
        tmp_mib: 512,
        pids: 1024,
        descriptors: 1024,
        cpu_weight: 74,
        cpu_quota_us: 0,
        carries: CARRIES_PACKAGE | CARRIES_IMAGE,
    };
    const SPECIALISE: Specialise = Specialise {
        token: 7,
        number: 8,
        memory_mib: 128,
        tmp_mib: 512,
        pids: 1024,
        cpu_weight: 74,
        cpu_quota_us: 0,
    };

    #[test]
    fn a_request_comes_back_as_it_went() {
        for request in [
            Request::Hello { version: VERSION },
            Request::Start(START),
            Request::Specialise(SPECIALISE),
            Request::TakeImage {
                token: 1,
                number: 2,
                within_ms: 3,
            },
            Request::Freeze {
                token: 1,
                number: 2,
            },
            Request::Thaw {
                token: 1,
                number: 2,
            },
            Request::Usage {
                token: 1,
                number: u64::MAX,
            },
            Request::Destroy { number: 2 },
            Request::List { token: 9 },
            Request::Weigh {
                number: 2,
                cpu_weight: 74,
            },
        ] {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn a_reply_comes_back_as_it_went() {
        let usage = InstanceUsage {
            memory_bytes: 1,
            memory_peak_bytes: 2,
            shared_bytes: 6,
            cpu_us: 3,
            oom_kills: 4,
            pids: 5,
        };
        for reply in [
            Reply::Welcome {
                version: 1,
                lane: 2,
                instances_max: 3,
                images: 4,
            },
            Reply::Image { token: 1, bytes: 2 },
            Reply::ImageRefused {
                token: 1,
                obstacle: ObstacleKind::Threads.of(2),
            },
            Reply::SetupFailed { step: 4, errno: 13 },
            Reply::Started {
                token: 1,
                number: 2,
            },
            Reply::Launched {
                token: 1,
                number: 2,
            },
            Reply::Failed {
                token: 1,
                refusal: Refusal::Step,
                detail: 3,
                errno: -1,
            },
            Reply::Used { token: 8, usage },
            Reply::Listed {
                token: 1,
                number: 2,
                runtime: 3,
            },
            Reply::Exited {
                number: 1,
                cause: Cause::OutOfMemory,
                value: 9,
                usage,
            },
            Reply::Refused { count: 12 },
        ] {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
    }

    #[test]
    fn half_a_message_and_one_and_a_half_are_refused() {
        let whole = Request::Start(START).encode();
        for cut in 0..whole.len() {
            assert_eq!(Request::decode(&whole[..cut]), Err(Malformed::Short));
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(Request::decode(&longer), Err(Malformed::Long));
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        let without = |change: fn(&mut Start)| {
            let mut start = START;
            change(&mut start);
            Request::decode(&Request::Start(start).encode())
        };
        let range = |field| Err(Malformed::Range { field });
        assert_eq!(without(|s| s.memory_mib = 0), range("memory"));
        assert_eq!(without(|s| s.tmp_mib = u32::MAX), range("tmp"));
        // There is no volume of that size, so no start can ask for it.
        assert_eq!(
            without(|s| s.tmp_mib = crate::volumes::SIZE_MAX_MIB + 1),
            range("tmp")
        );
        assert!(without(|s| s.tmp_mib = crate::volumes::SIZE_MAX_MIB).is_ok());
        assert_eq!(without(|s| s.pids = 0), range("pids"));
        assert_eq!(without(|s| s.descriptors = 3), range("descriptors"));
        assert_eq!(without(|s| s.cpu_weight = 0), range("cpu weight"));
        assert_eq!(without(|s| s.cpu_quota_us = u32::MAX), range("cpu quota"));
        assert_eq!(without(|s| s.carries = 8), range("carries"));
        let with = |change: fn(&mut Specialise)| {
            let mut specialise = SPECIALISE;
            change(&mut specialise);
            Request::decode(&Request::Specialise(specialise).encode())
        };
        assert_eq!(with(|s| s.memory_mib = 0), range("memory"));
        assert_eq!(with(|s| s.tmp_mib = 0), range("tmp"));
        assert_eq!(with(|s| s.pids = 0), range("pids"));
        for cpu_weight in [0, bounds::CPU_WEIGHT.end() + 1] {
            let weigh = Request::Weigh {
                number: 2,
                cpu_weight,
            };
            assert_eq!(Request::decode(&weigh.encode()), range("cpu weight"));
        }
        for within_ms in [0, 60_001] {
            let take = Request::TakeImage {
                token: 1,
                number: 2,
                within_ms,
            };
            assert_eq!(Request::decode(&take.encode()), range("time"));
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics_and_what_decodes_encodes_the_same(packet in prop::collection::vec(any::<u8>(), 0..96)) {
            if let Ok(request) = Request::decode(&packet) {
                prop_assert_eq!(request.encode(), packet.clone());
            }
            if let Ok(reply) = Reply::decode(&packet) {
                prop_assert_eq!(reply.encode(), packet.clone());
            }
            let _ = Notice::decode(&packet);
        }
    }
}
