//! Append-only frames in lanes: one folder of numbered segments per lane, one `write` per frame.
//! The ledger is one such folder, the audit trail another.
//!
//! A position is `segment << 32 | offset`; 0 stands before the first frame. A thread syncs what was
//! written, at least once a second; it sleeps for good while nothing is written.

mod segment;
mod syncer;

use crate::{
    failure::{Health, file_read_failed},
    frame::FRAME_BYTES_MAX,
};
use bytes::Bytes;
use freehold_domain::{
    Wall,
    ports::{CommitError, ReadError},
};
use parking_lot::{Mutex, RwLock};
use segment::Segment;
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};
use syncer::Syncer;

/// Past this size a lane goes on in its next segment.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes that one read returns at the most, but for a single larger frame.
const READ_BYTES_MAX: usize = 8 << 20;

/// All lanes.
pub(crate) struct Lanes {
    dir: PathBuf,
    segment_bytes: u64,
    lanes: RwLock<BTreeMap<u16, Arc<Mutex<Segment>>>>,
    syncer: Syncer,
    health: Arc<Health>,
}

impl Lanes {
    /// Opens the lanes below `dir`; torn tails are cut off.
    pub(crate) fn open(
        dir: PathBuf,
        segment_bytes: Option<u64>,
        health: Arc<Health>,
    ) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut lanes = BTreeMap::new();
        for lane in numbers(&dir, "")? {
            let Ok(lane) = u16::try_from(lane) else {
                continue;
            };
            let segment = Segment::last_of(&dir.join(lane.to_string()))?;
            lanes.insert(lane, Arc::new(Mutex::new(segment)));
        }
        Ok(Self {
            dir,
            segment_bytes: segment_bytes.unwrap_or(SEGMENT_BYTES),
            lanes: RwLock::new(lanes),
            syncer: Syncer::start(health.clone())?,
            health,
        })
    }

    fn lane(&self, lane: u16) -> Result<Arc<Mutex<Segment>>, CommitError> {
        if let Some(found) = self.lanes.read().get(&lane) {
            return Ok(found.clone());
        }
        let mut lanes = self.lanes.write();
        if let Some(found) = lanes.get(&lane) {
            return Ok(found.clone());
        }
        let folder = self.dir.join(lane.to_string());
        let made = fs::create_dir_all(&folder).and_then(|()| Segment::last_of(&folder));
        let segment = made.map_err(|error| crate::failure::file_write_failed(&folder, &error))?;
        let segment = Arc::new(Mutex::new(segment));
        lanes.insert(lane, segment.clone());
        Ok(segment)
    }

    /// Appends one frame. Says whether a segment is finished with it: the frame begins the next.
    pub(crate) fn append(&self, lane: u16, frame: &[u8]) -> Result<bool, CommitError> {
        self.health.check()?;
        if frame.len() > FRAME_BYTES_MAX {
            return Err(CommitError::Failed {
                reason: format!("a frame is larger than {FRAME_BYTES_MAX} bytes"),
            });
        }
        let segment = self.lane(lane)?;
        let mut segment = segment.lock();
        let is_full = segment.len() >= self.segment_bytes;
        if is_full {
            self.syncer.written(segment.file(), segment.path());
            segment.roll()?;
        }
        segment.append(frame)?;
        self.syncer.written(segment.file(), segment.path());
        Ok(is_full)
    }

    /// The lanes that exist.
    pub(crate) fn lanes(&self) -> Vec<u16> {
        self.lanes.read().keys().copied().collect()
    }

    /// Frames from `position` on, each with the position behind it, and the one to go on from.
    pub(crate) fn read(
        &self,
        lane: u16,
        position: u64,
        limit: usize,
    ) -> Result<(Vec<(u64, Bytes)>, u64), ReadError> {
        let folder = self.dir.join(lane.to_string());
        let (wanted, mut offset) = (position >> 32, position & u64::from(u32::MAX));
        let segments = match numbers(&folder, ".seg") {
            Ok(segments) => segments,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((vec![], position)),
            Err(error) => return Err(file_read_failed(&folder, &error)),
        };
        let newest = segments.last().copied().unwrap_or(0);
        let (mut frames, mut at, mut bytes) = (Vec::new(), position, 0);
        for number in segments.into_iter().filter(|number| *number >= wanted) {
            if number != wanted {
                offset = 0;
            }
            let path = folder.join(format!("{number}.seg"));
            let page = segment::read(
                &path,
                offset,
                limit - frames.len(),
                READ_BYTES_MAX.saturating_sub(bytes),
                number == newest,
            );
            let page = match page {
                // What is whole in front of the damage is returned first, as within a segment.
                Err(_) if !frames.is_empty() => return Ok((frames, number << 32)),
                read => read?,
            };
            bytes += page.frames.iter().map(|(_, one)| one.len()).sum::<usize>();
            let with_positions = page.frames.into_iter();
            frames.extend(with_positions.map(|(after, one)| (number << 32 | after, one)));
            at = number << 32 | page.after;
            if page.more || frames.len() >= limit {
                break;
            }
        }
        Ok((frames, at))
    }
}

/// What a lane whose old frames may go has beside the others.
impl Lanes {
    /// What opening the lane found wrong with its newest segment; said once.
    pub(crate) fn take_repaired(&self, lane: u16) -> Option<String> {
        self.lanes.read().get(&lane)?.lock().take_repaired()
    }

    /// The lane's segments, oldest first, each with its length.
    pub(crate) fn segments(&self, lane: u16) -> io::Result<Vec<(u64, u64)>> {
        let folder = self.dir.join(lane.to_string());
        let found = match numbers(&folder, ".seg") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found?,
        };
        let sized = found.into_iter().map(|number| {
            let path = folder.join(format!("{number}.seg"));
            Ok((number, fs::metadata(path)?.len()))
        });
        sized.collect()
    }

    /// Every segment as (lane, number, bytes), in this order: what was appended before this was
    /// called is within those bytes, and whole.
    pub(crate) fn cut(&self) -> io::Result<Vec<(u16, u64, u64)>> {
        let lanes = self.lanes.read();
        let lanes: Vec<_> = lanes.iter().map(|(lane, at)| (*lane, at.clone())).collect();
        let mut found = Vec::new();
        for (lane, segment) in lanes {
            // Held for no longer than this: invocations append under it.
            let (newest, len) = {
                let segment = segment.lock();
                (segment.number(), segment.written())
            };
            for (number, bytes) in self.segments(lane)? {
                match number.cmp(&newest) {
                    Ordering::Less => found.push((lane, number, bytes)),
                    Ordering::Equal => found.push((lane, number, len)),
                    Ordering::Greater => {}
                }
            }
        }
        Ok(found)
    }

    /// The first frame of one segment; `None` where none reads.
    pub(crate) fn first(&self, lane: u16, number: u64) -> Option<Bytes> {
        let path = self.dir.join(format!("{lane}/{number}.seg"));
        let page = segment::read(&path, 0, 1, 1, true).ok()?;
        page.frames.into_iter().next().map(|(_, frame)| frame)
    }

    /// When one segment was last written, as its file says.
    pub(crate) fn written(&self, lane: u16, number: u64) -> Option<Wall> {
        let path = self.dir.join(format!("{lane}/{number}.seg"));
        let at = fs::metadata(path).ok()?.modified().ok()?;
        let since = at.duration_since(UNIX_EPOCH).ok()?;
        Some(Wall(0) + since)
    }

    /// Lets the lane go on in its next segment, unless this one is empty.
    pub(crate) fn roll(&self, lane: u16) -> Result<(), CommitError> {
        let segment = self.lane(lane)?;
        let mut segment = segment.lock();
        if segment.is_fresh() {
            return Ok(());
        }
        self.syncer.written(segment.file(), segment.path());
        segment.roll()
    }

    /// Removes one segment, unless the lane writes to it.
    pub(crate) fn remove(&self, lane: u16, number: u64) -> Result<(), CommitError> {
        if self.lane(lane)?.lock().number() == number {
            return Ok(());
        }
        let path = self.dir.join(format!("{lane}/{number}.seg"));
        fs::remove_file(&path).map_err(|error| crate::failure::file_write_failed(&path, &error))
    }
}

/// The numbers among the names in `dir` that end in `suffix`, sorted.
pub(crate) fn numbers(dir: &Path, suffix: &str) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(suffix));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}
