//! One file of a lane.

use super::numbers;
use crate::{
    failure::{file_read_failed, file_write_failed},
    folder::sync_dir,
    frame::{self, Found},
};
use bytes::Bytes;
use freehold_domain::ports::{CommitError, ReadError};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What every segment begins with.
pub(crate) const MAGIC: &[u8; 8] = b"FHSEG1\0\n";
const MAGIC_LEN: u64 = MAGIC.len() as u64;
/// One read of the disk.
const CHUNK: usize = 1 << 20;

/// The segment that a lane is writing.
pub(super) struct Segment {
    folder: PathBuf,
    number: u64,
    path: PathBuf,
    file: Arc<File>,
    len: u64,
    /// Set when bytes stand behind `len` that could not be cut off: nothing may follow them.
    spoilt: bool,
}

impl Segment {
    /// The newest segment of a lane, its torn tail cut off; a new one behind a damaged one.
    pub(super) fn last_of(folder: &Path) -> io::Result<Self> {
        let Some(number) = numbers(folder, ".seg")?.pop() else {
            return Self::create(folder, 0);
        };
        let path = folder.join(format!("{number}.seg"));
        let bytes = Bytes::from(fs::read(&path)?);
        if bytes.len() < MAGIC.len() {
            // Killed between the two writes of its making, or before the first.
            fs::remove_file(&path)?;
            return Self::create(folder, number);
        }
        let mut len = MAGIC.len();
        let end = loop {
            match frame::at(&bytes, len) {
                Found::Frame(_, next) => len = next,
                end => break end,
            }
        };
        if !bytes.starts_with(MAGIC) || end == Found::Damaged {
            tracing::error!(
                file = %path.display(), offset = len,
                "a segment is damaged; its lane goes on in a new one"
            );
            return Self::create(folder, number + 1);
        }
        let file = OpenOptions::new().append(true).open(&path)?;
        if len < bytes.len() {
            tracing::warn!(
                file = %path.display(), bytes = bytes.len() - len,
                "cut off a frame that was not finished"
            );
            file.set_len(len as u64)?;
            file.sync_all()?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            number,
            path,
            file: Arc::new(file),
            len: len as u64,
            spoilt: false,
        })
    }

    fn create(folder: &Path, number: u64) -> io::Result<Self> {
        let path = folder.join(format!("{number}.seg"));
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)?;
        if let Err(error) = file.write_all(MAGIC) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        sync_dir(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            number,
            path,
            file: Arc::new(file),
            len: MAGIC_LEN,
            spoilt: false,
        })
    }

    pub(super) fn len(&self) -> u64 {
        if self.spoilt { u64::MAX } else { self.len }
    }
    /// Bytes of whole frames, the beginning included.
    pub(super) fn written(&self) -> u64 {
        self.len
    }
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Goes on in the next segment.
    pub(super) fn roll(&mut self) -> Result<(), CommitError> {
        let next = Self::create(&self.folder, self.number + 1);
        *self = next.map_err(|error| file_write_failed(&self.folder, &error))?;
        Ok(())
    }

    /// One `write`; what a full disk took of it is cut off again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), CommitError> {
        let mut whole = Vec::with_capacity(frame::HEAD + bytes.len());
        frame::push(&mut whole, bytes);
        let mut file = &*self.file;
        match file.write_all(&whole) {
            Ok(()) => {
                self.len += whole.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.spoilt = self.file.set_len(self.len).is_err();
                Err(file_write_failed(&self.path, &error))
            }
        }
    }
}

/// What a read found.
pub(crate) struct Page {
    /// Each with the offset behind it.
    pub(crate) frames: Vec<(u64, Bytes)>,
    /// The offset behind them.
    pub(crate) after: u64,
    /// Whether the segment holds more.
    pub(crate) more: bool,
}

/// Frames from `offset` on; 0 is the start. An unfinished frame ends the newest segment of a lane
/// quietly and is damage in any other.
///
/// Errors: [`ReadError::Failed`] with file and offset of what does not read.
pub(crate) fn read(
    path: &Path,
    offset: u64,
    limit: usize,
    bytes_max: usize,
    newest: bool,
) -> Result<Page, ReadError> {
    let failed = |error: io::Error| file_read_failed(path, &error);
    let damaged = |offset: u64| ReadError::Failed {
        reason: format!("{} is damaged at offset {offset}", path.display()),
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut magic = [0; MAGIC.len()];
    match file.read_exact(&mut magic) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && newest => {
            return Ok(Page {
                frames: vec![],
                after: offset,
                more: false,
            });
        }
        read => read.map_err(failed)?,
    }
    if magic != *MAGIC {
        return Err(damaged(0));
    }
    let mut page = Page {
        frames: Vec::new(),
        after: offset.max(MAGIC_LEN),
        more: true,
    };
    let mut bytes = 0;
    let mut chunk = CHUNK;
    while page.frames.len() < limit && (bytes < bytes_max || page.frames.is_empty()) {
        file.seek(SeekFrom::Start(page.after)).map_err(failed)?;
        let mut window = Vec::new();
        let asked = chunk as u64;
        (&file)
            .take(asked)
            .read_to_end(&mut window)
            .map_err(failed)?;
        let at_end = (window.len() as u64) < asked;
        let (window, mut at) = (Bytes::from(window), 0);
        let end = loop {
            if page.frames.len() >= limit || (bytes >= bytes_max && !page.frames.is_empty()) {
                return Ok(Page {
                    after: page.after + at as u64,
                    ..page
                });
            }
            match frame::at(&window, at) {
                Found::Frame(found, next) => {
                    bytes += found.len();
                    page.frames.push((page.after + next as u64, found));
                    at = next;
                }
                end => break end,
            }
        };
        page.after += at as u64;
        let rest = window.len() - at;
        match end {
            Found::End if at_end && (rest == 0 || newest) => {
                page.more = false;
                return Ok(page);
            }
            // What is whole in front of the damage is returned first.
            _ if (end == Found::Damaged || at_end) && !page.frames.is_empty() => return Ok(page),
            Found::Damaged => return Err(damaged(page.after)),
            _ if at_end => return Err(damaged(page.after)),
            // The window ended inside a frame: look at all of that frame.
            _ if at == 0 => {
                let len = frame::announced(&window, 0).unwrap_or(0);
                chunk = (frame::HEAD + len).max(chunk) + CHUNK;
                if chunk > frame::FRAME_BYTES_MAX + 4 * CHUNK {
                    return Err(damaged(page.after));
                }
            }
            _ => {}
        }
    }
    Ok(page)
}
