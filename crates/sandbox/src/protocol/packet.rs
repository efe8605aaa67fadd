//! Fields in a packet: fixed order and width, little-endian. Refuses to read past the end, or to leave a rest.

use super::Malformed;
use freehold_domain::{NetworkBytes, ports::InstanceUsage};

/// A message as it is written: its kind, then its fields.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn new(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(80);
        bytes.push(kind);
        Self(bytes)
    }
    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub(super) fn i32(self, value: i32) -> Self {
        self.u32(value.cast_unsigned())
    }
    pub(super) fn usage(self, usage: &InstanceUsage) -> Self {
        self.u64(usage.memory_bytes)
            .u64(usage.memory_peak_bytes)
            .u64(usage.shared_bytes)
            .u64(usage.cpu_us)
            .u64(usage.oom_kills)
            .u32(usage.pids)
            .u64(usage.network.out)
            .u64(usage.network.back)
    }
}

/// What is left of a packet that is read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*head)
    }
    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take::<1>()?[0])
    }
    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.take()?))
    }
    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take()?))
    }
    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }
    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(self.u32()?.cast_signed())
    }
    pub(super) fn bounded(
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
    pub(super) fn usage(&mut self) -> Result<InstanceUsage, Malformed> {
        Ok(InstanceUsage {
            memory_bytes: self.u64()?,
            memory_peak_bytes: self.u64()?,
            shared_bytes: self.u64()?,
            cpu_us: self.u64()?,
            oom_kills: self.u64()?,
            pids: self.u32()?,
            network: NetworkBytes {
                out: self.u64()?,
                back: self.u64()?,
            },
        })
    }
    pub(super) fn end<T>(&self, message: T) -> Result<T, Malformed> {
        if self.0.is_empty() {
            Ok(message)
        } else {
            Err(Malformed::Long)
        }
    }
}
