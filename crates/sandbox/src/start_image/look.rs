//! Reading what the kernel says of a stopped process: text of `/proc/PID`, in bounded bites.
//!
//! The kernel's own words, but sizes, counts and names in them are a tenant's. Refuses to read on
//! past a bound; what it does not understand is an obstacle.

use super::{Obstacle, ObstacleKind};
use rustix::fs::{Dir, Mode, OFlags, openat};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// The longest line of a map: a path of 4096 bytes, each perhaps written as four.
const LINE_MAX: u64 = 20_000;
/// The longest short file.
const TEXT_MAX: u64 = 64 << 10;
/// The most mappings.
pub(super) const MAPPINGS_MAX: usize = 8192;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mapping {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) protection: u32,
    pub(super) shared: bool,
    pub(super) offset: u64,
    pub(super) inode: u64,
    pub(super) name: String,
    /// Whether any of it is in memory or in swap.
    pub(super) present: bool,
    pub(super) protection_key: u64,
    /// Two letters each, as the kernel abbreviates them.
    pub(super) flags: Vec<[u8; 2]>,
}

impl Mapping {
    pub(super) fn has(&self, flag: &[u8; 2]) -> bool {
        self.flags.contains(flag)
    }
}

pub(super) fn open(process: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    openat(
        process,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// A short file below `/proc/PID`.
pub(super) fn text(process: BorrowedFd<'_>, path: &str) -> Result<String, Obstacle> {
    let mut bytes = Vec::new();
    let file = File::from(open(process, path)?);
    file.take(TEXT_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Names in a folder below `/proc/PID`, without the two that every folder has.
pub(super) fn names(process: BorrowedFd<'_>, path: &str) -> Result<Vec<String>, Obstacle> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = openat(process, path, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(folder.as_fd())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
        // Nobody needs to know how many more.
        if names.len() > 4096 {
            break;
        }
    }
    Ok(names)
}

/// The value behind `name:` in a file of such lines.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim())
    })
}

/// The numbers of `/proc/PID/stat` from field 4 on: the name before them may hold anything.
pub(super) fn stat_fields(stat: &str) -> Option<Vec<u64>> {
    let (_, rest) = stat.rsplit_once(')')?;
    // The state, a letter, is the third.
    let words = rest.split_whitespace().skip(1);
    // Some are negative, none of those that are wanted.
    Some(words.map(|word| word.parse().unwrap_or(0)).collect())
}

/// All mappings, of `smaps`.
pub(super) fn mappings(smaps: impl Read) -> Result<Vec<Mapping>, Obstacle> {
    let mut lines = BufReader::with_capacity(256 << 10, smaps);
    let mut all: Vec<Mapping> = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let len = lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
        if len == 0 {
            return Ok(all);
        }
        if line.last() != Some(&b'\n') {
            return Err(ObstacleKind::Names.into());
        }
        let words = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
        if let Some(mapping) = first_line(&words) {
            if all.len() >= MAPPINGS_MAX {
                return Err(ObstacleKind::Mappings.of(MAPPINGS_MAX as u64));
            }
            all.push(mapping);
            continue;
        }
        let (Some(last), Some((key, value))) = (all.last_mut(), words.split_once(':')) else {
            return Err(ObstacleKind::SpecialMemory.into());
        };
        let number = || value.split_whitespace().next().and_then(|n| n.parse().ok());
        match key {
            "Rss" | "Swap" => last.present |= number().unwrap_or(1u64) > 0,
            "ProtectionKey" => last.protection_key = number().unwrap_or(1),
            "VmFlags" => {
                let pair = |word: &str| <[u8; 2]>::try_from(word.as_bytes()).ok();
                last.flags = value.split_whitespace().filter_map(pair).collect();
            }
            _ => {}
        }
    }
}

/// `00400000-00401000 r-xp 00000000 fe:00 1234    /bin/x`; a name that is not UTF-8 does not come
/// back as it was, and is found missing later.
fn first_line(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let modes = words.next()?.as_bytes();
    let &[read, write, execute, share] = modes else {
        return None;
    };
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    words.next()?;
    let inode = words.next()?.parse().ok()?;
    let bit = |is: bool, value: u32| if is { value } else { 0 };
    Some(Mapping {
        start,
        end,
        protection: bit(read == b'r', 1) | bit(write == b'w', 2) | bit(execute == b'x', 4),
        shared: share == b's',
        offset,
        inode,
        name: words.next().unwrap_or_default().trim_start().to_owned(),
        ..Mapping::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
00400000-00402000 r-xp 00001000 fe:00 1234                               /bin/a b\n\
Size:                  8 kB\n\
Rss:                   0 kB\n\
Swap:                  4 kB\n\
ProtectionKey:         0\n\
VmFlags: rd ex mr mw me wf \n\
7ffc0000-7ffd0000 rw-p 00000000 00:00 0 \n\
Rss:                   0 kB\n\
VmFlags: rd wr mr mw me dp \n";

    #[test]
    fn mappings_come_with_name_flags_and_presence() {
        let all = mappings(TWO.as_bytes()).expect("two mappings");
        assert_eq!(all.len(), 2);
        let (code, heap) = (&all[0], &all[1]);
        assert_eq!(
            (code.start, code.end, code.offset),
            (0x40_0000, 0x40_2000, 0x1000)
        );
        assert_eq!((code.protection, code.inode), (5, 1234));
        assert_eq!(code.name, "/bin/a b");
        assert!(code.present && code.has(b"wf") && !code.has(b"dp"));
        assert_eq!((heap.protection, heap.name.as_str()), (3, ""));
        assert!(!heap.present && heap.has(b"dp"));
    }

    #[test]
    fn a_mapping_too_many_and_a_line_too_long_are_refused() {
        let line = "00400000-00402000 rw-p 00000000 00:00 0 \n";
        let most = mappings(line.repeat(MAPPINGS_MAX).as_bytes()).expect("as many as may be");
        assert_eq!(most.len(), MAPPINGS_MAX);
        let more = mappings(line.repeat(MAPPINGS_MAX + 1).as_bytes());
        assert_eq!(more, Err(ObstacleKind::Mappings.of(MAPPINGS_MAX as u64)));
        let long = format!(
            "00400000-00402000 rw-p 00000000 00:00 7 /{}\n",
            "x".repeat(30_000)
        );
        assert_eq!(mappings(long.as_bytes()), Err(ObstacleKind::Names.into()));
        let odd = mappings("what is this".as_bytes());
        assert!(odd.is_err());
    }

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b) c) S 1 2 -1 4";
        assert_eq!(stat_fields(stat), Some(vec![1, 2, 0, 4]));
        assert_eq!(field("Uid:\t1\t1\nSigQ:\t0/9\n", "SigQ"), Some("0/9"));
    }
}
