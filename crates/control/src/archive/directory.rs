//! A zip's directory, read and cross-checked.
//!
//! The usual readers keep the last of two entries with one name, skip what local headers say, and
//! let data overlap; all of that is needed here, so the format's few records are read by hand.
//! Source: PKWARE APPNOTE 6.3.10. Positions are checked before they are used and counts before
//! memory is taken for them; [`crate::archive::unpack`] checks what only the data can show.

use super::{ArchiveError, EntryRule, UnpackLimits, names};
use std::io;

/// Bytes at positions; the archive never changes while it is read.
pub trait Source {
    /// All bytes.
    fn len(&self) -> u64;
    /// Fills `into` from `position` on.
    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()>;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }
    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        let found = usize::try_from(position)
            .ok()
            .and_then(|from| self.get(from..from.checked_add(into.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(found);
        Ok(())
    }
}

/// What an entry becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A folder.
    Folder,
    /// A symbolic link; its target is its data.
    Link,
}

/// One entry, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the package: no empty, `.` or `..` part, no slash at the ends.
    pub path: String,
    /// What it becomes.
    pub kind: EntryKind,
    /// Whether its data is deflated; else it is stored.
    pub deflated: bool,
    /// CRC-32 of its contents.
    pub crc: u32,
    /// Bytes of its data.
    pub packed_bytes: u64,
    /// Bytes of its contents.
    pub bytes: u64,
    /// Where its data begins.
    pub data: u64,
}

const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
/// What DEFLATE can make of one byte. Source: zlib's technical details.
const DEFLATE_RATIO_MAX: u64 = 1032;
/// Bytes of one link's target.
const LINK_BYTES_MAX: u64 = 4095;

/// Little-endian fields, one after another; past the end they read as an error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }
    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// Reads and judges the directory of a zip.
///
/// Errors: [`ArchiveError`] for the first rule that is broken.
pub fn read(
    source: &(impl Source + ?Sized),
    limits: &UnpackLimits,
) -> Result<Vec<Entry>, ArchiveError> {
    let end = find_end(source)?;
    if end.entries == 0 && end.size == 0 {
        return Err(ArchiveError::Empty);
    }
    if end.entries > limits.entries {
        return Err(ArchiveError::TooManyEntries {
            limit: limits.entries,
        });
    }
    if end.size < end.entries.saturating_mul(46) {
        return Err(ArchiveError::contradiction(
            "more entries than the directory has room for",
        ));
    }
    // Names are at most 2 KB and honest extra fields a few dozen bytes: what is far over that is
    // only there to take memory.
    if end.size > end.entries.saturating_mul(8 << 10) {
        return Err(ArchiveError::contradiction(
            "a directory far larger than its entries",
        ));
    }
    let mut directory = vec![0; usize::try_from(end.size).unwrap_or(usize::MAX)];
    fill(source, &mut directory, end.offset)?;
    let mut fields = Fields(&directory);
    let mut found = Vec::new();
    for _ in 0..end.entries {
        let central = Central::read(&mut fields)
            .ok_or_else(|| ArchiveError::not_an_archive("the directory is cut off or corrupt"))?;
        found.push(central);
    }
    if !fields.0.is_empty() {
        return Err(ArchiveError::contradiction(
            "the directory is longer than its entries",
        ));
    }
    let mut total = 0u64;
    let mut entries = Vec::with_capacity(found.len());
    let mut spans = Vec::with_capacity(found.len());
    for central in &found {
        let kind = central.judge()?;
        total = total.saturating_add(central.bytes);
        if total > limits.unpacked_bytes {
            return Err(ArchiveError::TooLarge {
                limit_bytes: limits.unpacked_bytes,
            });
        }
        let path = names::normal(central.name)?;
        let (data, until) = central.locate(source, end.offset)?;
        spans.push((central.offset, until, central.name));
        // "./" names the package itself, which is there already.
        if !path.is_empty() {
            entries.push(Entry {
                path,
                kind,
                deflated: central.method == 8,
                crc: central.crc,
                packed_bytes: central.packed_bytes,
                bytes: central.bytes,
                data,
            });
        } else if kind != EntryKind::Folder {
            return Err(ArchiveError::entry(central.name, EntryRule::Empty));
        }
    }
    spans.sort_by_key(|span| span.0);
    if let Some(pair) = spans.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        return Err(ArchiveError::entry(pair[1].2, EntryRule::Overlap));
    }
    names::judge(&entries, limits)?;
    Ok(entries)
}

struct End {
    entries: u64,
    size: u64,
    offset: u64,
}

fn fill(
    source: &(impl Source + ?Sized),
    into: &mut [u8],
    position: u64,
) -> Result<(), ArchiveError> {
    source
        .read_exact_at(into, position)
        .map_err(|error| ArchiveError::not_an_archive(format!("cut off ({error})")))
}

/// Finds the directory by the record at the archive's end, and its 64-bit form before it.
fn find_end(source: &(impl Source + ?Sized)) -> Result<End, ArchiveError> {
    let length = source.len();
    let tail_bytes = length.min(22 + 65_535);
    let mut tail = vec![0; tail_bytes as usize];
    fill(source, &mut tail, length - tail_bytes)?;
    let none = || ArchiveError::not_an_archive("no end record: not a zip, or cut off");
    // The record's comment must reach to the end, so that nothing can hide behind it.
    let at = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|at| {
            tail[*at..].starts_with(&END.to_le_bytes())
                && usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]))
                    == tail.len() - at - 22
        })
        .ok_or_else(none)?;
    let end_at = length - tail_bytes + at as u64;
    let mut fields = Fields(&tail[at + 4..at + 20]);
    let small = (|| {
        Some((
            [fields.u16()?, fields.u16()?],
            [u64::from(fields.u16()?), u64::from(fields.u16()?)],
            u64::from(fields.u32()?),
            u64::from(fields.u32()?),
        ))
    })();
    let (disks, [here, entries], size, offset) = small.ok_or_else(none)?;
    let large = end64(source, end_at)?;
    let (end, directory_end) = match large {
        None => (
            End {
                entries,
                size,
                offset,
            },
            end_at,
        ),
        Some((large, at)) => {
            // A small field either says "see the large one" or says the same.
            let agree = |small: u64, large: u64, see: u64| small == see || small == large;
            if !agree(entries, large.entries, 0xffff)
                || !agree(size, large.size, 0xffff_ffff)
                || !agree(offset, large.offset, 0xffff_ffff)
            {
                return Err(ArchiveError::contradiction(
                    "the end record and its 64-bit form disagree",
                ));
            }
            (large, at)
        }
    };
    let one_disk = disks.iter().all(|disk| *disk == 0 || *disk == 0xffff);
    if !one_disk || here != entries {
        return Err(ArchiveError::not_an_archive("a part of a split archive"));
    }
    if end.offset.checked_add(end.size) != Some(directory_end) {
        return Err(ArchiveError::contradiction(
            "the directory does not end where its end record begins",
        ));
    }
    Ok(end)
}

/// The 64-bit end record before the end record at `end_at`, and where it begins.
fn end64(source: &(impl Source + ?Sized), end_at: u64) -> Result<Option<(End, u64)>, ArchiveError> {
    let Some(locator_at) = end_at.checked_sub(20) else {
        return Ok(None);
    };
    let mut locator = [0; 20];
    fill(source, &mut locator, locator_at)?;
    if !locator.starts_with(&LOCATOR64.to_le_bytes()) {
        return Ok(None);
    }
    let wrong = || ArchiveError::contradiction("the 64-bit end record is not where it should be");
    let at = Fields(&locator[8..16]).u64().ok_or_else(wrong)?;
    let mut record = [0; 56];
    if at.checked_add(56).is_none_or(|end| end > locator_at) {
        return Err(wrong());
    }
    fill(source, &mut record, at)?;
    let mut fields = Fields(&record);
    let read = (|| {
        let right = fields.u32()? == END64;
        let rest = fields.u64()?;
        fields.take(4)?;
        let disks = [fields.u32()?, fields.u32()?];
        let (here, entries) = (fields.u64()?, fields.u64()?);
        let right = right
            && at.checked_add(12)?.checked_add(rest)? == locator_at
            && disks == [0, 0]
            && here == entries;
        let (size, offset) = (fields.u64()?, fields.u64()?);
        right.then_some(End {
            entries,
            size,
            offset,
        })
    })();
    Ok(Some((read.ok_or_else(wrong)?, at)))
}

struct Central<'a> {
    name: &'a [u8],
    unix: bool,
    flags: u16,
    method: u16,
    crc: u32,
    packed_bytes: u64,
    bytes: u64,
    offset: u64,
    mode: u32,
    hard_link: bool,
}

impl<'a> Central<'a> {
    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        if fields.u32()? != CENTRAL {
            return None;
        }
        let made_by = fields.u16()?;
        fields.take(2)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.take(4)?;
        let crc = fields.u32()?;
        let mut packed_bytes = u64::from(fields.u32()?);
        let mut bytes = u64::from(fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let disk = fields.u16()?;
        fields.take(2)?;
        let attributes = fields.u32()?;
        let mut offset = u64::from(fields.u32()?);
        let name = fields.take(name.into())?;
        let extra = fields.take(extra.into())?;
        fields.take(comment.into())?;
        if disk != 0 && disk != 0xffff {
            return None;
        }
        let large = [&mut bytes, &mut packed_bytes, &mut offset];
        if !widen(extra, large) {
            return None;
        }
        Some(Self {
            name,
            // 3 is Unix, 19 Darwin: theirs are the hosts that write a mode.
            unix: matches!(made_by >> 8, 3 | 19),
            flags,
            method,
            crc,
            packed_bytes,
            bytes,
            offset,
            mode: attributes >> 16,
            // PKWARE's Unix field carries the name that a hard link is of behind its 12 bytes.
            hard_link: field(extra, 0x000d).is_some_and(|data| data.len() > 12),
        })
    }

    /// What the entry becomes, from what its record alone says.
    fn judge(&self) -> Result<EntryKind, ArchiveError> {
        let refuse = |rule| Err(ArchiveError::entry(self.name, rule));
        // Bit 0: encrypted, 6: strongly, 13: the directory too.
        if self.flags & 0x2041 != 0 {
            return refuse(EntryRule::Encrypted);
        }
        if self.method != 0 && self.method != 8 {
            return refuse(EntryRule::Method {
                method: self.method,
            });
        }
        let format = if self.unix { self.mode & 0o170_000 } else { 0 };
        let slash = self.name.last() == Some(&b'/');
        let kind = match format {
            0o040_000 => EntryKind::Folder,
            0 | 0o100_000 if slash => EntryKind::Folder,
            0 | 0o100_000 => EntryKind::File {
                executable: self.unix && self.mode & 0o111 != 0,
            },
            0o120_000 if !slash => EntryKind::Link,
            _ => return refuse(EntryRule::SpecialFile),
        };
        if self.hard_link && kind != EntryKind::Link {
            return refuse(EntryRule::HardLink);
        }
        if kind == EntryKind::Folder && self.bytes != 0 {
            return refuse(EntryRule::FolderWithData);
        }
        if kind == EntryKind::Link && (self.bytes == 0 || self.bytes > LINK_BYTES_MAX) {
            return refuse(EntryRule::LinkTarget);
        }
        if self.method == 0 && self.bytes != self.packed_bytes {
            return refuse(EntryRule::Length);
        }
        if self.bytes > self.packed_bytes.saturating_mul(DEFLATE_RATIO_MAX) {
            return refuse(EntryRule::Ratio);
        }
        Ok(kind)
    }

    /// Where the data begins, and where everything of the entry ends, once the local header and
    /// the descriptor have said the same as the directory.
    fn locate(
        &self,
        source: &(impl Source + ?Sized),
        directory: u64,
    ) -> Result<(u64, u64), ArchiveError> {
        let refuse = |rule| ArchiveError::entry(self.name, rule);
        let bounds = || refuse(EntryRule::OutOfBounds);
        let within = |end: Option<u64>| end.filter(|end| *end <= directory).ok_or_else(bounds);
        let mut header = [0; 30];
        let names_at = within(self.offset.checked_add(30))?;
        fill(source, &mut header, self.offset)?;
        let wrong = || refuse(EntryRule::Header);
        let mut fields = Fields(&header);
        let read = (|| {
            let right = fields.u32()? == LOCAL;
            fields.take(2)?;
            let (flags, method) = (fields.u16()?, fields.u16()?);
            fields.take(4)?;
            let (crc, packed, bytes) = (fields.u32()?, fields.u32()?, fields.u32()?);
            let (name, extra) = (fields.u16()?, fields.u16()?);
            let same = method == self.method && (flags ^ self.flags) & 0x2049 == 0;
            (right && same).then_some((crc, u64::from(packed), u64::from(bytes), name, extra))
        })();
        let (crc, mut packed, mut bytes, name, extra) = read.ok_or_else(wrong)?;
        let mut rest = vec![0; usize::from(name) + usize::from(extra)];
        let data = within(names_at.checked_add(rest.len() as u64))?;
        fill(source, &mut rest, names_at)?;
        let (name, extra) = rest.split_at(name.into());
        let mut nowhere = 0;
        if name != self.name || !widen(extra, [&mut bytes, &mut packed, &mut nowhere]) {
            return Err(wrong());
        }
        let end = within(data.checked_add(self.packed_bytes))?;
        let said = (crc, packed, bytes) == (self.crc, self.packed_bytes, self.bytes);
        // Bit 3: written as a stream, sizes and checksum follow the data.
        if self.flags & 8 == 0 {
            return if said { Ok((data, end)) } else { Err(wrong()) };
        }
        let blank = crc == 0 && packed == 0 && bytes == 0;
        if !said && !blank {
            return Err(wrong());
        }
        match self.descriptor(source, end, directory) {
            Some(until) => Ok((data, until)),
            // Some writers go back and fill the header in, and then write no descriptor.
            None if said && !blank => Ok((data, end)),
            None => Err(refuse(EntryRule::Descriptor)),
        }
    }

    /// Where the descriptor at `at` ends, if there is one that agrees: with or without its
    /// signature, with 32 or 64 bits.
    fn descriptor(&self, source: &(impl Source + ?Sized), at: u64, directory: u64) -> Option<u64> {
        let mut found = [0; 24];
        let there = directory.saturating_sub(at).min(24) as usize;
        source.read_exact_at(&mut found[..there], at).ok()?;
        for signed in [true, false] {
            for wide in [false, true] {
                let mut right = Vec::with_capacity(24);
                if signed {
                    right.extend_from_slice(&DESCRIPTOR.to_le_bytes());
                }
                right.extend_from_slice(&self.crc.to_le_bytes());
                for size in [self.packed_bytes, self.bytes] {
                    match wide {
                        true => right.extend_from_slice(&size.to_le_bytes()),
                        false => right.extend_from_slice(&u32::try_from(size).ok()?.to_le_bytes()),
                    }
                }
                if found[..there].starts_with(&right) {
                    return Some(at + right.len() as u64);
                }
            }
        }
        None
    }
}

/// Replaces each size that says "see the 64-bit field" by what that field says; `false` when the
/// field is missing or malformed. Order in the field: contents, data, offset.
fn widen(extra: &[u8], sizes: [&mut u64; 3]) -> bool {
    if sizes.iter().all(|size| **size != 0xffff_ffff) {
        return true;
    }
    let Some(data) = field(extra, 0x0001) else {
        return false;
    };
    let mut fields = Fields(data);
    sizes
        .into_iter()
        .filter(|size| **size == 0xffff_ffff)
        .all(|size| fields.u64().map(|wide| *size = wide).is_some())
}

/// The data of an extra field.
fn field(extra: &[u8], id: u16) -> Option<&[u8]> {
    let mut fields = Fields(extra);
    loop {
        let (found, length) = (fields.u16()?, fields.u16()?);
        let data = fields.take(length.into())?;
        if found == id {
            return Some(data);
        }
    }
}
