//! The form of each message: which number it has, and which fields in which order.

use super::{
    Cause, Malformed, Notice, Refusal, Reply, Request, Specialise, Start, bounds,
    packet::{Reader, Writer},
};
use crate::start_image::ObstacleKind;

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
            Self::Hello { .. } | Self::Start(_) | Self::List { .. } | Self::Admit { .. } => None,
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
                .u32(s.carries)
                .u32(s.network),
            Self::Specialise(s) => Writer::new(8)
                .u64(s.token)
                .u64(s.number)
                .u32(s.memory_mib)
                .u32(s.tmp_mib)
                .u32(s.pids)
                .u32(s.cpu_weight)
                .u32(s.cpu_quota_us)
                .u32(s.network),
            Self::Admit {
                token,
                network,
                address,
                first,
                last,
                lives_s,
            } => Writer::new(11)
                .u64(token)
                .u32(network)
                .u32(address)
                .u32(first)
                .u32(last)
                .u32(lives_s),
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
                network: r.bounded("network", bounds::NETWORK)?,
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
                network: r.bounded("network", bounds::NETWORK)?,
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
            11 => Self::Admit {
                token: r.u64()?,
                network: r.bounded("network", bounds::NETWORK)?,
                address: r.u32()?,
                first: r.bounded("port", bounds::PORT)?,
                last: r.bounded("port", bounds::PORT)?,
                lives_s: r.bounded("time", bounds::ADMITTED_S)?,
            },
            kind => return Err(Malformed::Kind(kind)),
        };
        r.end(message)
    }
}

impl Refusal {
    pub(super) const ALL: [Self; 6] = [
        Self::Runtime,
        Self::Package,
        Self::Block,
        Self::Step,
        Self::Exhausted,
        Self::Image,
    ];
}
impl Cause {
    pub(super) const ALL: [Self; 4] = [
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
