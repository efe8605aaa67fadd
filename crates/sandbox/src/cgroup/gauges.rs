//! What one instance has spent, through descriptors that outlive the way to its group.
//!
//! The spawner opens them, who alone sees the group's folder, and the server reads them after
//! every invocation: asking the spawner instead is two switches of process and five files.

use super::{Group, Guests, Role, Version, keyed};
use freehold_domain::ports::Spent;
use rustix::{
    fs::{Mode, OFlags, openat},
    io::pread,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Enough for the first line of either file.
const FIRST_LINE: usize = 128;

/// Highest memory and processor time of one group.
#[derive(Debug)]
pub struct Gauges {
    peak: OwnedFd,
    cpu: OwnedFd,
}

impl Gauges {
    /// The gauges of a group; nothing where a hierarchy or a file of theirs is missing.
    pub fn of(group: &Group, guests: &Guests) -> Option<Self> {
        let open = |dir: BorrowedFd<'_>, file: &str| {
            openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        };
        let (memory, version) = guests.with(group, Role::Memory)?;
        let peak = match version {
            Version::One => open(memory, "memory.max_usage_in_bytes"),
            // memory.peak came with 5.19; without it the spawner has to be asked.
            Version::Two => open(memory, "memory.peak"),
        };
        let (time, version) = guests.with(group, Role::CpuTime)?;
        let cpu = match version {
            Version::One => open(time, "cpuacct.usage"),
            Version::Two => open(time, "cpu.stat"),
        };
        Some(Self {
            peak: peak.ok()?,
            cpu: cpu.ok()?,
        })
    }

    /// The two as they travel, in the order of [`Gauges::from_descriptors`].
    pub fn into_descriptors(self) -> [OwnedFd; 2] {
        [self.peak, self.cpu]
    }

    /// What [`Gauges::into_descriptors`] gave.
    pub fn from_descriptors([peak, cpu]: [OwnedFd; 2]) -> Self {
        Self { peak, cpu }
    }

    /// Reads both.
    ///
    /// Errors: `ENODEV` once the group is gone; [`io::ErrorKind::InvalidData`] for another file.
    pub fn read(&self) -> io::Result<Spent> {
        let peak = first_line(self.peak.as_fd(), |line| line.parse().ok())?;
        let cpu = first_line(self.cpu.as_fd(), cpu_us)?;
        Ok(Spent {
            memory_peak_bytes: peak,
            own_peak_bytes: peak,
            cpu_us: cpu,
        })
    }
}

/// v1 has the nanoseconds alone, v2 a table that begins with the microseconds.
fn cpu_us(line: &str) -> Option<u64> {
    match line.parse::<u64>() {
        Ok(nanoseconds) => Some(nanoseconds / 1000),
        Err(_) => keyed(line, "usage_usec"),
    }
}

/// What the first line of a file says, as `meaning` reads it.
fn first_line(file: BorrowedFd<'_>, meaning: impl Fn(&str) -> Option<u64>) -> io::Result<u64> {
    let mut bytes = [0u8; FIRST_LINE];
    let len = pread(file, &mut bytes, 0)?;
    let line = bytes[..len].split(|byte| *byte == b'\n').next();
    let line = std::str::from_utf8(line.unwrap_or_default());
    line.ok()
        .and_then(meaning)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> OwnedFd {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file.into()
    }

    #[test]
    fn both_versions_are_read_again_and_again() {
        let one = Gauges::from_descriptors([file("4096\n"), file("1234567\n")]);
        let two = Gauges::from_descriptors([
            file("4096\n"),
            file(&format!(
                "usage_usec 1234\nuser_usec 1\n{}",
                "x 0\n".repeat(99)
            )),
        ]);
        for gauges in [one, two] {
            for _ in 0..2 {
                let spent = gauges.read().expect("read");
                assert_eq!((spent.memory_peak_bytes, spent.cpu_us), (4096, 1234));
            }
        }
    }

    #[test]
    fn another_file_is_no_gauge() {
        for (peak, cpu) in [
            ("", "1\n"),
            ("1\n", ""),
            ("max\n", "1\n"),
            ("1\n", "user_usec 1\n"),
        ] {
            let gauges = Gauges::from_descriptors([file(peak), file(cpu)]);
            assert!(gauges.read().is_err(), "{peak:?} {cpu:?}");
        }
    }
}
