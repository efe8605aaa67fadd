//! Append-only frames in lanes: one folder of numbered segments per lane, one `write` per frame.
//! The ledger is kept so; the audit trail has files of the same kind, and the same thread that syncs.
//!
//! A position is `segment << 32 | offset`; 0 stands before the first frame. A thread syncs what was
//! written, at least once a second; it sleeps for good while nothing is written.

pub(crate) mod segment;
mod syncer;

use crate::{
    failure::{Health, file_read_failed},
    frame::FRAME_BYTES_MAX,
};
use bytes::Bytes;
use freehold_domain::ports::{CommitError, ReadError};
use parking_lot::{Mutex, RwLock};
pub(crate) use segment::MAGIC as SEGMENT_MAGIC;
use segment::Segment;
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
pub(crate) use syncer::Syncer;

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

    /// Appends one frame.
    pub(crate) fn append(&self, lane: u16, frame: &[u8]) -> Result<(), CommitError> {
        self.health.check()?;
        if frame.len() > FRAME_BYTES_MAX {
            return Err(CommitError::Failed {
                reason: format!("a frame is larger than {FRAME_BYTES_MAX} bytes"),
            });
        }
        let segment = self.lane(lane)?;
        let mut segment = segment.lock();
        if segment.len() >= self.segment_bytes {
            self.syncer.written(segment.file(), segment.path());
            segment.roll()?;
        }
        segment.append(frame)?;
        self.syncer.written(segment.file(), segment.path());
        Ok(())
    }

    /// The lanes that exist.
    pub(crate) fn lanes(&self) -> Vec<u16> {
        self.lanes.read().keys().copied().collect()
    }

    /// Frames from `position` on, and the position to go on from.
    pub(crate) fn read(
        &self,
        lane: u16,
        position: u64,
        limit: usize,
    ) -> Result<(Vec<Bytes>, u64), ReadError> {
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
            frames.extend(page.frames.into_iter().map(|(_, one)| one));
            at = number << 32 | page.after;
            if page.more || frames.len() >= limit {
                break;
            }
        }
        Ok((frames, at))
    }
}

impl Lanes {
    /// The lane's segments, oldest first, each with its length.
    fn segments(&self, lane: u16) -> io::Result<Vec<(u64, u64)>> {
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
