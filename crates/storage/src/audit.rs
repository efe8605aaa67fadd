//! The audit trail: one lane of frames, each a line as JSON; old segments go, one at a time.
//!
//! A read passes over what is damaged, to the next segment, and says so: a trail with a hole in it
//! is still worth reading. Times are the wall clock's, which may step back, so whoever looks for a
//! time looks an hour further than the segments' first lines say.

use crate::{
    failure::{Health, file_read_failed, file_write_failed},
    lanes::Lanes,
};
use freehold_domain::{
    InvocationId, Wall,
    audit::{Asker, AuditLine, AuditResult, AuditText},
    ports::{AuditPage, AuditQuery, AuditRetention, AuditTrimmed, CommitError, ReadError},
};
use parking_lot::RwLock;
use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Past this size the trail goes on in its next segment.
const SEGMENT_BYTES: u64 = 16 << 20;
/// The lane; the trail has one, since few calls write to it.
const LANE: u16 = 0;
/// Lines that one page looks at, at the most.
const LOOKED_AT_MAX: usize = 20_000;
/// How far the clock is expected to step back at the most.
const STEP: Duration = Duration::from_secs(3600);

/// The trail's files.
pub(crate) struct AuditFiles {
    lanes: Lanes,
    dir: PathBuf,
    /// One file for each change under way, by its request: the line that it is if nobody hears of
    /// its end.
    under_way: PathBuf,
    /// Held for reading while segments are read, for writing while some are removed.
    removal: RwLock<()>,
}

impl AuditFiles {
    /// Opens the trail of the store in `dir`. What the end before this start left unfinished is cut
    /// off, or left aside, and a line says so; a change that was under way then gets its line.
    pub(crate) fn open(
        dir: &Path,
        segment_bytes: Option<u64>,
        health: &Arc<Health>,
        now: Wall,
    ) -> io::Result<Self> {
        let (dir, under_way) = (dir.join("audit"), dir.join("audit-under-way"));
        fs::create_dir_all(&under_way)?;
        let bytes = segment_bytes.unwrap_or(SEGMENT_BYTES);
        let lanes = Lanes::open(dir.clone(), Some(bytes), health.clone())?;
        let trail = Self {
            lanes,
            dir,
            under_way,
            removal: RwLock::new(()),
        };
        if let Some(repaired) = trail.lanes.take_repaired(LANE)
            && let Err(error) = trail.append(&repair_line(now, &repaired))
        {
            tracing::warn!(%error, "a repair of the audit trail is not on it");
        }
        trail.end_all()?;
        Ok(trail)
    }

    /// Notes a change that begins.
    pub(crate) fn note(&self, line: &AuditLine) -> Result<(), CommitError> {
        let Some(request) = line.request else {
            return Ok(());
        };
        let text = as_json(line)?;
        let path = self.under_way.join(request.to_string());
        fs::write(&path, text).map_err(|error| {
            // On a full disk its name is there all the same.
            let _ = fs::remove_file(&path);
            file_write_failed(&path, &error)
        })
    }

    /// It has its line.
    pub(crate) fn forget(&self, request: InvocationId) {
        let path = self.under_way.join(request.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, %request, "a change that has ended is still noted as under way");
            }
            _ => {}
        }
    }

    /// Changes that a kill cut short get their lines: nobody knows how far they came. One whose line
    /// was written just before the kill has it.
    fn end_all(&self) -> io::Result<()> {
        let mut last: Option<HashSet<InvocationId>> = None;
        for entry in fs::read_dir(&self.under_way)? {
            let path = entry?.path();
            let text = match fs::read(&path) {
                Ok(text) => text,
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "a change that a kill cut short cannot be read");
                    continue;
                }
            };
            // What is no line was being written: nothing was begun then.
            let line: Option<AuditLine> = serde_json::from_slice(&text).ok();
            let last = last.get_or_insert_with(|| self.last_requests());
            let has_line = |line: &AuditLine| line.request.is_some_and(|one| last.contains(&one));
            // On a full disk it stays, for the start after this one.
            let told = match line.filter(|line| !has_line(line)) {
                Some(line) => self.append(&line).map_err(io::Error::other),
                None => Ok(false),
            };
            if let Err(error) = told.and_then(|_| fs::remove_file(&path)) {
                tracing::warn!(%error, path = %path.display(), "a change that a kill cut short has no line yet");
            }
        }
        Ok(())
    }

    /// Requests that have a line among the last ones.
    fn last_requests(&self) -> HashSet<InvocationId> {
        let segments = self.lanes.segments(LANE).unwrap_or_default();
        // The newest may have begun after a line.
        let begin = segments.iter().rev().take(2).next_back();
        let mut query = AuditQuery {
            position: begin.map_or(0, |(number, _)| number << 32),
            limit: LOOKED_AT_MAX,
            ..AuditQuery::default()
        };
        let mut found = HashSet::new();
        while let Ok(page) = self.lines(&query) {
            found.extend(page.lines.iter().filter_map(|line| line.request));
            if !page.more {
                break;
            }
            query.position = page.position;
        }
        found
    }

    /// Appends one line. Says whether a segment is finished with it.
    pub(crate) fn append(&self, line: &AuditLine) -> Result<bool, CommitError> {
        self.lanes.append(LANE, &as_json(line)?)
    }

    /// Its segments as (lane, number, bytes); some may be removed before they are read.
    pub(crate) fn cut(&self) -> io::Result<Vec<(u16, u64, u64)>> {
        let _whole = self.removal.read();
        self.lanes.cut()
    }

    /// A page of lines.
    pub(crate) fn lines(&self, query: &AuditQuery) -> Result<AuditPage, ReadError> {
        let _whole = self.removal.read();
        let failed = |error: io::Error| file_read_failed(&self.dir, &error);
        let segments = self.lanes.segments(LANE).map_err(failed)?;
        let numbers: Vec<u64> = segments.into_iter().map(|(number, _)| number).collect();
        let mut page = AuditPage {
            position: self.begin(query, &numbers),
            ..AuditPage::default()
        };
        let last = query.until.map(|end| self.last(end, &numbers));
        let mut looked_at = 0;
        while page.lines.len() < query.limit.max(1) && looked_at < LOOKED_AT_MAX {
            let room = LOOKED_AT_MAX - looked_at;
            let (frames, after) = match self.lanes.read(LANE, page.position, room) {
                Ok(read) => read,
                Err(ReadError::Failed { reason }) => {
                    // The same again where the damage is at the begin of the next segment.
                    if page.gaps.last() != Some(&reason) {
                        page.gaps.push(reason);
                    }
                    let here = page.position >> 32;
                    let Some(next) = numbers.iter().find(|number| **number > here) else {
                        return Ok(page);
                    };
                    page.position = next << 32;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if frames.is_empty() {
                page.position = after;
                return Ok(page);
            }
            looked_at += frames.len();
            for (behind, frame) in frames {
                if last.is_some_and(|last| behind >> 32 > last) {
                    return Ok(page);
                }
                if page.lines.len() >= query.limit.max(1) {
                    break;
                }
                page.position = behind;
                match serde_json::from_slice::<AuditLine>(&frame) {
                    Ok(line) if query.wants(&line) => page.lines.push(line),
                    Ok(_) => {}
                    Err(error) => {
                        let (segment, end) = (behind >> 32, behind & u64::from(u32::MAX));
                        page.gaps.push(format!(
                            "{}/{LANE}/{segment}.seg: the line that ends at {end} is none: {error}",
                            self.dir.display()
                        ));
                    }
                }
            }
        }
        page.more = true;
        Ok(page)
    }

    /// Where to begin: where an earlier page ended, or at the first segment that may have something.
    fn begin(&self, query: &AuditQuery, numbers: &[u64]) -> u64 {
        let (0, Some(since)) = (query.position, query.since) else {
            return query.position;
        };
        // What begins before `since` ends the search: the segment in front of that has nothing.
        let has_older = |number: &&u64| {
            let first = self.first(**number);
            first.is_some_and(|at| at + STEP <= since)
        };
        let begin = numbers.iter().rev().find(has_older);
        begin.map_or(0, |number| number << 32)
    }

    /// The last segment that may have something from before `end`. A line alone says nothing: the
    /// clock may have stood wrong for a moment.
    fn last(&self, end: Wall, numbers: &[u64]) -> u64 {
        let has_earlier = |number: &&u64| {
            let first = self.first(**number);
            first.is_none_or(|at| at <= end + STEP)
        };
        let last = numbers.iter().rev().find(has_earlier);
        last.or(numbers.first()).copied().unwrap_or(0)
    }

    /// When the first line of a segment was written.
    fn first(&self, number: u64) -> Option<Wall> {
        let frame = self.lanes.first(LANE, number)?;
        Some(serde_json::from_slice::<AuditLine>(&frame).ok()?.at)
    }

    /// Removes what is too old or too much, oldest first.
    pub(crate) fn trim(&self, keep: AuditRetention) -> Result<AuditTrimmed, CommitError> {
        let failed = |error: io::Error| file_write_failed(&self.dir, &error);
        let segments = self.lanes.segments(LANE).map_err(failed)?;
        if let Some((newest, _)) = segments.last()
            && self.first(*newest).is_some_and(|at| at < keep.fresh)
        {
            self.lanes.roll(LANE)?;
        }
        let mut all: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
        let mut trimmed = AuditTrimmed::default();
        for pair in segments.windows(2) {
            let [(number, bytes), (next, _)] = pair else {
                continue;
            };
            // All of a segment is older than the first line of the next; where that has none yet,
            // the file says when it was last written.
            let ended = self
                .first(*next)
                .or_else(|| self.lanes.written(LANE, *number));
            let is_old = ended.is_some_and(|at| at < keep.from);
            if !is_old && all <= keep.bytes {
                break;
            }
            let _nobody_reads = self.removal.write();
            self.lanes.remove(LANE, *number)?;
            all -= bytes;
            match is_old {
                true => trimmed.old_bytes += bytes,
                false => trimmed.early_bytes += bytes,
            }
        }
        Ok(trimmed)
    }
}

fn as_json(line: &AuditLine) -> Result<Vec<u8>, CommitError> {
    serde_json::to_vec(line).map_err(|error| CommitError::Failed {
        reason: format!("a line of the audit trail could not be written: {error}"),
    })
}

fn repair_line(now: Wall, repaired: &str) -> AuditLine {
    AuditLine {
        at: now,
        request: None,
        tenant: None,
        who: Asker::Platform {
            component: AuditText::new("storage"),
        },
        proven: true,
        source: AuditText::default(),
        action: AuditText::new("freehold:RepairAudit"),
        resource: AuditText::new(repaired),
        result: AuditResult::Ok,
        error: None,
        count: 1,
    }
}
