//! Writes an archive's entries below one open folder, and nowhere else.
//!
//! Every path is opened by `openat2` with RESOLVE_BENEATH, NO_SYMLINKS and NO_MAGICLINKS, so that
//! even a wrong judgement of a name cannot lead out. Files become 0644, or 0755 where the archive
//! says executable; folders 0755. Symbolic links come last, when nothing is written any more, and
//! stay only if the kernel can resolve them beneath the folder.

use super::{
    ArchiveError, EntryRule, UnpackError, UnpackLimits, Unpacked,
    directory::{self, Entry, EntryKind, Source},
};
use flate2::{Decompress, FlushDecompress, Status};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat2, symlinkat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

/// Bytes read and inflated at once.
const CHUNK_BYTES: usize = 64 << 10;

/// An open archive, read by position.
pub struct OpenArchive {
    file: File,
    length: u64,
}

impl OpenArchive {
    /// Over an open file of this length from here on.
    pub fn new(file: OwnedFd) -> io::Result<Self> {
        let file = File::from(file);
        // Through rustix: the standard library asks by a syscall that the policy need not allow.
        let length = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        Ok(Self { file, length })
    }
}

impl Source for OpenArchive {
    fn len(&self) -> u64 {
        self.length
    }
    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(into, position)
    }
}

fn failed(doing: &str, error: impl Into<io::Error>) -> UnpackError {
    let error = error.into();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => UnpackError::DiskFull,
        _ => UnpackError::Failed {
            reason: format!("{doing}: {error}"),
        },
    }
}

fn refused(entry: &Entry, rule: EntryRule) -> UnpackError {
    UnpackError::Refused(ArchiveError::entry(entry.path.as_bytes(), rule))
}

/// Judges the archive and unpacks it below `target`.
///
/// Errors: [`UnpackError::Refused`] with entry and rule; what was written by then stays.
pub fn unpack(
    source: &(impl Source + ?Sized),
    target: BorrowedFd<'_>,
    limits: &UnpackLimits,
) -> Result<Unpacked, UnpackError> {
    let entries = directory::read(source, limits).map_err(UnpackError::Refused)?;
    let mut done = Unpacked::default();
    let mut folders = Folders::new(target)?;
    let mut links = Vec::new();
    for entry in &entries {
        match entry.kind {
            EntryKind::Folder => {
                folders.enter(&entry.path)?;
            }
            EntryKind::File { executable } => {
                let (parent, name) = folders.parent_of(&entry.path)?;
                let mut file = create(parent, name).map_err(|e| failed("creating a file", e))?;
                contents(source, entry, |chunk| {
                    file.write_all(chunk)
                        .map_err(|e| failed("writing a file", e))
                })?;
                let mode = if executable { 0o755 } else { 0o644 };
                fchmod(&file, Mode::from_raw_mode(mode))
                    .map_err(|e| failed("setting a file's mode", e))?;
                done.files += 1;
                done.bytes += entry.bytes;
            }
            EntryKind::Link => {
                let mut to = Vec::new();
                contents(source, entry, |chunk| {
                    to.extend_from_slice(chunk);
                    Ok(())
                })?;
                links.push((entry, to));
            }
        }
    }
    for (entry, to) in &links {
        let usable = !to.contains(&0) && std::str::from_utf8(to).is_ok() && to[0] != b'/';
        if !usable {
            let absolute = to.first() == Some(&b'/');
            return Err(refused(
                entry,
                match absolute {
                    true => EntryRule::LinkLeaves,
                    false => EntryRule::LinkTarget,
                },
            ));
        }
        let (parent, name) = folders.parent_of(&entry.path)?;
        symlinkat(to.as_slice(), parent, name).map_err(|e| failed("making a link", e))?;
        done.files += 1;
    }
    // Only now that all links are there does each resolve as it will for the function.
    for (entry, _) in &links {
        let found = openat2(
            target,
            &entry.path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        );
        match found {
            // A link to nothing leads nowhere, and nothing will be made there.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG) => {
                return Err(refused(entry, EntryRule::LinkLeaves));
            }
            Err(error) => return Err(failed("following a link", error)),
        }
    }
    Ok(done)
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

fn create(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat2(parent, name, flags, Mode::from_raw_mode(0o600), BENEATH)?;
    Ok(File::from(file))
}

/// The open folders, of which the one used last is kept: entries come folder by folder.
struct Folders<'a> {
    target: BorrowedFd<'a>,
    last: Option<(String, OwnedFd)>,
}

impl<'a> Folders<'a> {
    fn new(target: BorrowedFd<'a>) -> Result<Self, UnpackError> {
        fchmod(target, Mode::from_raw_mode(0o755))
            .map_err(|e| failed("setting the folder's mode", e))?;
        Ok(Self { target, last: None })
    }

    /// The open parent of a path, made where it is missing, and the path's last part.
    fn parent_of<'p>(&mut self, path: &'p str) -> Result<(BorrowedFd<'_>, &'p str), UnpackError> {
        match path.rsplit_once('/') {
            None => Ok((self.target, path)),
            Some((parent, name)) => Ok((self.enter(parent)?, name)),
        }
    }

    fn enter(&mut self, path: &str) -> Result<BorrowedFd<'_>, UnpackError> {
        if self.last.as_ref().is_none_or(|(known, _)| known != path) {
            let folder = self.open(path)?;
            self.last = Some((path.to_owned(), folder));
        }
        let (_, folder) = self.last.as_ref().expect("just put there");
        Ok(folder.as_fd())
    }

    /// Opens a folder, making what is missing of its path, one part at a time.
    fn open(&self, path: &str) -> Result<OwnedFd, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open =
            |from: BorrowedFd<'_>, path: &str| openat2(from, path, flags, Mode::empty(), BENEATH);
        match open(self.target, path) {
            Ok(folder) => return Ok(folder),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("opening a folder", error)),
        }
        let mut at: Option<OwnedFd> = None;
        for part in path.split('/') {
            let parent = at.as_ref().map_or(self.target, |folder| folder.as_fd());
            let made = match mkdirat(parent, part, Mode::from_raw_mode(0o700)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(failed("making a folder", error)),
            };
            let folder = open(parent, part).map_err(|e| failed("opening a folder", e))?;
            if made {
                // After the fact, since a new folder's mode passes through the umask.
                fchmod(&folder, Mode::from_raw_mode(0o755))
                    .map_err(|e| failed("setting a folder's mode", e))?;
            }
            at = Some(folder);
        }
        Ok(at.expect("a path has at least one part"))
    }
}

/// Hands the contents of an entry to `sink`, never more than it declares, and checks length and
/// checksum at the end.
fn contents(
    source: &(impl Source + ?Sized),
    entry: &Entry,
    mut sink: impl FnMut(&[u8]) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let mut crc = crc32fast::Hasher::new();
    let mut left = entry.bytes;
    let mut out = |chunk: &[u8]| {
        left = left
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| refused(entry, EntryRule::Length))?;
        crc.update(chunk);
        sink(chunk)
    };
    let mut inflate = entry.deflated.then(|| Decompress::new(false));
    let mut ended = !entry.deflated;
    let mut input = vec![0; CHUNK_BYTES];
    let mut output = vec![0; CHUNK_BYTES];
    let mut read = 0;
    while read < entry.packed_bytes {
        let count = (entry.packed_bytes - read).min(CHUNK_BYTES as u64) as usize;
        source
            .read_exact_at(&mut input[..count], entry.data + read)
            .map_err(|e| failed("reading the archive", e))?;
        read += count as u64;
        let Some(inflate) = &mut inflate else {
            out(&input[..count])?;
            continue;
        };
        let mut chunk = &input[..count];
        loop {
            let (in_before, out_before) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(chunk, &mut output, FlushDecompress::None)
                .map_err(|_| refused(entry, EntryRule::Corrupt))?;
            let consumed = (inflate.total_in() - in_before) as usize;
            let made = (inflate.total_out() - out_before) as usize;
            chunk = &chunk[consumed..];
            out(&output[..made])?;
            if status == Status::StreamEnd {
                // Data behind the stream's end is data that somebody else reads otherwise.
                if !chunk.is_empty() || read < entry.packed_bytes {
                    return Err(refused(entry, EntryRule::Length));
                }
                ended = true;
                break;
            }
            if made < output.len() && chunk.is_empty() {
                break;
            }
            if consumed == 0 && made == 0 {
                return Err(refused(entry, EntryRule::Corrupt));
            }
        }
    }
    if !ended && entry.packed_bytes > 0 {
        return Err(refused(entry, EntryRule::Corrupt));
    }
    if left != 0 {
        return Err(refused(entry, EntryRule::Length));
    }
    if crc.finalize() != entry.crc {
        return Err(refused(entry, EntryRule::Checksum));
    }
    Ok(())
}
