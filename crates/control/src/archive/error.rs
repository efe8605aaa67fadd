//! The rules that an archive can break.

use serde::{Deserialize, Serialize};

/// Which rule on an archive was broken, and by which entry where it was one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ArchiveError {
    /// It has no readable directory: not a zip, cut off, or corrupt.
    #[error("not a readable zip archive: {reason}")]
    NotAnArchive {
        /// What was missing or wrong.
        reason: String,
    },
    /// It holds nothing.
    #[error("the archive has no entries")]
    Empty,
    /// Records that say the same thing twice disagree.
    #[error("the archive contradicts itself: {reason}")]
    Contradiction {
        /// What disagrees.
        reason: String,
    },
    /// More entries than are allowed, folders that only paths name included.
    #[error("the archive has more than {limit} entries")]
    TooManyEntries {
        /// The ceiling.
        limit: u64,
    },
    /// Files that are too large together.
    #[error("unpacked, the archive is over {limit_bytes} bytes")]
    TooLarge {
        /// The ceiling.
        limit_bytes: u64,
    },
    /// One entry breaks a rule.
    #[error("entry {entry:?} {rule}")]
    Entry {
        /// Its name, cut, what is not text replaced.
        entry: String,
        /// The rule.
        rule: EntryRule,
    },
}

/// A rule on one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum EntryRule {
    /// Contents need a password.
    #[error("is encrypted")]
    Encrypted,
    /// Neither stored nor deflated.
    #[error("uses compression method {method}, which is neither stored nor deflate")]
    Method {
        /// The method's number.
        method: u16,
    },
    /// Begins with `/` or a drive letter.
    #[error("has an absolute path")]
    Absolute,
    /// Has `..` in its path.
    #[error("has '..' in its path")]
    Parent,
    /// Has a backslash in its name.
    #[error("has a backslash in its name")]
    Backslash,
    /// Has NUL or another control character in its name.
    #[error("has a control character in its name")]
    ControlCharacter,
    /// No name, or an empty part in its path.
    #[error("has an empty name")]
    Empty,
    /// The name is not UTF-8.
    #[error("has a name that is not UTF-8")]
    NotUtf8,
    /// The path or a part of it is too long.
    #[error("has a name that is too long: 255 bytes a part, {PATH_BYTES_MAX} in all")]
    NameTooLong,
    /// Too many folders deep.
    #[error("lies more than {DEPTH_MAX} folders deep")]
    TooDeep,
    /// The same path twice.
    #[error("is there twice")]
    Duplicate,
    /// Another entry differs in upper and lower case only.
    #[error("differs from another entry in upper and lower case only")]
    CaseCollision,
    /// A file, and a folder of other entries.
    #[error("is a file and a folder")]
    FileAndFolder,
    /// A device, pipe or socket.
    #[error("is neither a file, a folder nor a symbolic link")]
    SpecialFile,
    /// A hard link.
    #[error("is a hard link")]
    HardLink,
    /// A link that leads outside of the package, or in circles.
    #[error("is a symbolic link that leaves the package")]
    LinkLeaves,
    /// A link's target that is no path.
    #[error("is a symbolic link without a usable target")]
    LinkTarget,
    /// A path that goes through a symbolic link.
    #[error("lies behind a symbolic link")]
    ThroughLink,
    /// Its bytes are also those of another entry.
    #[error("overlaps another entry")]
    Overlap,
    /// Its data lies outside of the archive.
    #[error("lies outside of the archive's data")]
    OutOfBounds,
    /// The header at the data says otherwise than the directory.
    #[error("has a header that contradicts the directory")]
    Header,
    /// The descriptor behind the data says otherwise than the directory.
    #[error("has a data descriptor that contradicts the directory")]
    Descriptor,
    /// Declares more than its data could ever hold.
    #[error("declares more bytes than its data can hold")]
    Ratio,
    /// The data has another length than declared.
    #[error("has another length than it declares")]
    Length,
    /// The data does not decompress.
    #[error("does not decompress")]
    Corrupt,
    /// The checksum is wrong.
    #[error("has a wrong checksum")]
    Checksum,
    /// A folder with contents of its own.
    #[error("is a folder with data")]
    FolderWithData,
}

/// Bytes of a path. Below Linux's 4096 with room for where the package is mounted.
pub const PATH_BYTES_MAX: usize = 2048;
/// Folders that a path may name, so that removing a tree never runs out of descriptors.
pub const DEPTH_MAX: usize = 100;
/// Bytes of one part of a path. Source: NAME_MAX.
pub const PART_BYTES_MAX: usize = 255;

impl ArchiveError {
    /// `rule` broken by the entry of this name.
    pub(crate) fn entry(name: &[u8], rule: EntryRule) -> Self {
        let entry = String::from_utf8_lossy(name);
        Self::Entry {
            entry: entry.chars().take(128).collect(),
            rule,
        }
    }
    pub(crate) fn not_an_archive(reason: impl Into<String>) -> Self {
        Self::NotAnArchive {
            reason: reason.into(),
        }
    }
    pub(crate) fn contradiction(reason: impl Into<String>) -> Self {
        Self::Contradiction {
            reason: reason.into(),
        }
    }
}
