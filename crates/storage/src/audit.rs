//! The audit trail: append-only files of lines as JSON, a folder for each account, one for what the
//! platform tells of itself, and one for what nobody proves. Old files go, one at a time.
//!
//! ```text
//! audit/<part>/<number>.seg    parts: platform, unproven, 12 digits; named by the first line's number
//! ```
//!
//! Every line has a number among all lines, which its frame begins with: by it all parts are read as
//! one trail, in the order of their appends. A line is one `write` to its part's newest file, under one
//! lock for all parts, so whoever has read up to a number has missed none below it.
//!
//! A read passes over what is damaged, to the next file, and says so: a trail with a hole in it
//! is still worth reading. Times are the wall clock's, which may step back, so whoever looks for a
//! time looks an hour further than the files' first lines say.

mod lane;
mod read;
mod split;

pub(crate) use split::split;

use crate::{
    failure::{Health, file_write_failed},
    lanes::{Syncer, numbers},
};
use freehold_domain::{
    InvocationId, Wall,
    audit::{Asker, AuditLane, AuditLine, AuditResult, AuditText},
    ports::{AuditPage, AuditQuery, AuditRetention, AuditTrimmed, CommitError, ReadError},
};
use lane::{Lane, Piece, framed};
use parking_lot::{Mutex, RwLock};
use read::{LOOKED_AT_MAX, View};
use std::{
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// Past this size a part goes on in its next file.
const SEGMENT_BYTES: u64 = 1 << 20;
/// A part's files are not smaller, however many accounts share the room.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// A part's files are so small that this many fill its share.
const SEGMENTS_PER_SHARE: u64 = 4;

/// The trail's files.
pub(crate) struct AuditFiles {
    dir: PathBuf,
    /// One file for each change under way, by its request: the line that it is if nobody hears of
    /// its end.
    under_way: PathBuf,
    segment_bytes: u64,
    index: Mutex<Index>,
    /// Held for reading while files are read, for writing while one is removed.
    removal: RwLock<()>,
    syncer: Syncer,
    health: Arc<Health>,
}

/// What there is of each part. About a hundred bytes for each, and 32 for each file.
struct Index {
    lanes: BTreeMap<AuditLane, Lane>,
    /// The number of the next line.
    next: u64,
    /// What is to be kept, since the last trim.
    keep: Option<AuditRetention>,
    /// Parts that are not the operator's.
    others: usize,
}

impl Index {
    fn file_bytes(&self, lane: &AuditLane, most: u64) -> u64 {
        let share = self
            .keep
            .as_ref()
            .map_or(u64::MAX, |keep| keep.share(lane, self.others));
        let least = SEGMENT_BYTES_MIN.min(most);
        (share / SEGMENTS_PER_SHARE).clamp(least, most)
    }

    /// What has to go until all parts fit: again and again the oldest file of the part that is
    /// furthest beyond its share, and would be so without that file too. The newest of a part stays.
    fn excess(&self, keep: &AuditRetention) -> Vec<(AuditLane, u64)> {
        let without_oldest = |name: &AuditLane, bytes: u64, pieces: &[Piece]| {
            let [oldest, _, ..] = pieces else {
                return None;
            };
            let share = i128::from(keep.share(name, self.others));
            Some(i128::from(bytes - oldest.bytes) - share)
        };
        let (mut all, mut furthest) = (0, BinaryHeap::new());
        for (name, lane) in &self.lanes {
            let bytes = lane.bytes();
            all += bytes;
            let over = without_oldest(name, bytes, &lane.pieces);
            furthest.extend(over.map(|over| (over, name, bytes, 0)));
        }
        let mut excess = Vec::new();
        while all > keep.bytes
            && let Some((_, name, bytes, gone)) = furthest.pop()
        {
            let pieces = &self.lanes[name].pieces[gone..];
            let oldest = &pieces[0];
            excess.push((name.clone(), oldest.first));
            all -= oldest.bytes;
            let bytes = bytes - oldest.bytes;
            let over = without_oldest(name, bytes, &pieces[1..]);
            furthest.extend(over.map(|over| (over, name, bytes, gone + 1)));
        }
        excess
    }
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
        fs::create_dir_all(&dir)?;
        let (mut lanes, mut repairs) = (BTreeMap::new(), Vec::new());
        for name in names::<AuditLane>(&dir)? {
            let (lane, repaired) = Lane::open(dir.join(name.to_string()))?;
            repairs.extend(repaired);
            lanes.insert(name, lane);
        }
        let last = lanes.values().map(|lane: &Lane| lane.last).max();
        let trail = Self {
            dir,
            under_way,
            segment_bytes: segment_bytes.unwrap_or(SEGMENT_BYTES),
            index: Mutex::new(Index {
                lanes,
                next: last.unwrap_or(0) + 1,
                keep: None,
                others: 0,
            }),
            removal: RwLock::new(()),
            syncer: Syncer::start(health.clone())?,
            health: health.clone(),
        };
        for repaired in repairs {
            if let Err(error) = trail.append(&repair_line(now, &repaired)) {
                tracing::warn!(%error, "a repair of the audit trail is not on it");
            }
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
        let mut last: HashMap<AuditLane, HashSet<InvocationId>> = HashMap::new();
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
            let mut has_line = |line: &AuditLine| {
                let name = AuditLane::of(line);
                let found = last
                    .entry(name)
                    .or_insert_with_key(|name| self.last_requests(name));
                line.request.is_some_and(|one| found.contains(&one))
            };
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

    /// Requests that have a line among the last ones of a part.
    fn last_requests(&self, name: &AuditLane) -> HashSet<InvocationId> {
        let mut found = HashSet::new();
        let Some(view) = self.index.lock().lanes.get(name).map(view_of) else {
            return found;
        };
        // The newest may have begun after a line.
        let begin = view.pieces.iter().rev().take(2).next_back();
        let mut query = AuditQuery {
            position: begin.map_or(0, |piece| piece.first.saturating_sub(1)),
            limit: LOOKED_AT_MAX,
            ..AuditQuery::default()
        };
        loop {
            let page = read::own(&view, &query);
            found.extend(page.lines.iter().filter_map(|line| line.request));
            if !page.more {
                return found;
            }
            query.position = page.position;
        }
    }

    /// Appends one line. Says whether a file is finished with it.
    pub(crate) fn append(&self, line: &AuditLine) -> Result<bool, CommitError> {
        self.health.check()?;
        let text = as_json(line)?;
        let name = AuditLane::of(line);
        let mut index = self.index.lock();
        let number = index.next;
        let bytes = index.file_bytes(&name, self.segment_bytes);
        let folder = || self.dir.join(name.to_string());
        let lane = index
            .lanes
            .entry(name.clone())
            .or_insert_with(|| Lane::new(folder()));
        let is_first = lane.pieces.is_empty();
        let appended = lane.append(number, line.at, &framed(number, &text), bytes)?;
        index.next += 1;
        drop(index);
        if appended.is_new {
            self.syncer.written_at(folder());
        }
        if is_first {
            self.syncer.written_at(self.dir.clone());
        }
        self.syncer.written_at(appended.path);
        Ok(appended.is_new && !is_first)
    }

    /// Its files as (folder, number, bytes), in this order; some may be removed before they are read.
    pub(crate) fn cut(&self) -> Vec<(AuditFolder, u64, u64)> {
        let index = self.index.lock();
        let files = index.lanes.iter().flat_map(|(name, lane)| {
            let folder = AuditFolder::Part(name.clone());
            let files = lane.pieces.iter();
            files.map(move |piece| (folder.clone(), piece.first, piece.bytes))
        });
        files.collect()
    }

    /// A page of lines.
    pub(crate) fn lines(&self, query: &AuditQuery) -> Result<AuditPage, ReadError> {
        let _whole = self.removal.read();
        let Some(tenant) = &query.tenant else {
            return Ok(self.all_lines(query));
        };
        let name = AuditLane::Account(tenant.clone());
        let view = self.index.lock().lanes.get(&name).map(view_of);
        Ok(match view {
            Some(view) => read::own(&view, query),
            None => AuditPage {
                position: query.position,
                ..AuditPage::default()
            },
        })
    }

    fn all_lines(&self, query: &AuditQuery) -> AuditPage {
        let (views, newest) = {
            let index = self.index.lock();
            let lanes = index.lanes.values();
            let more = lanes.filter(|lane| lane.last > query.position);
            (more.map(view_of).collect::<Vec<_>>(), index.next - 1)
        };
        read::merged(&views, newest, query)
    }

    /// Removes what is too old or too much: of each part what is too old, and then the oldest of
    /// whoever is furthest beyond its share.
    pub(crate) fn trim(&self, keep: &AuditRetention) -> Result<AuditTrimmed, CommitError> {
        let mut trimmed = AuditTrimmed::default();
        for (name, first) in self.old(keep) {
            trimmed.old_bytes += self.remove(&name, first)?;
        }
        let excess = self.index.lock().excess(keep);
        for (name, first) in excess {
            trimmed.early_bytes += self.remove(&name, first)?;
        }
        Ok(trimmed)
    }

    /// The files of which every line is too old. What has been written to for long takes no more
    /// lines, so that it can be one.
    fn old(&self, keep: &AuditRetention) -> Vec<(AuditLane, u64)> {
        let mut index = self.index.lock();
        let others = index.lanes.keys().filter(|name| !keep.is_operators(name));
        (index.others, index.keep) = (others.count(), Some(keep.clone()));
        let mut old = Vec::new();
        for (name, lane) in &mut index.lanes {
            if lane
                .pieces
                .last()
                .is_some_and(|newest| newest.at.is_some_and(|at| at < keep.fresh))
            {
                lane.close();
            }
            let count = lane.pieces.len();
            let ended =
                (0..count).take_while(|at| lane.ended(*at).is_some_and(|at| at < keep.from));
            let gone = ended.count();
            old.extend(
                lane.pieces[..gone]
                    .iter()
                    .map(|piece| (name.clone(), piece.first)),
            );
        }
        old
    }

    /// Removes one file that takes no more lines; a part without any is none. The bytes that went.
    fn remove(&self, name: &AuditLane, first: u64) -> Result<u64, CommitError> {
        let _nobody_reads = self.removal.write();
        let mut index = self.index.lock();
        let Some(lane) = index.lanes.get_mut(name) else {
            return Ok(0);
        };
        let path = lane.path(first);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_write_failed(&path, &error));
            }
            _ => {}
        }
        let is_it = |piece: &&Piece| piece.first == first;
        let bytes = lane
            .pieces
            .iter()
            .find(is_it)
            .map_or(0, |piece| piece.bytes);
        lane.pieces.retain(|piece| piece.first != first);
        if lane.pieces.is_empty() {
            let _ = fs::remove_dir(&lane.folder);
            index.lanes.remove(name);
        }
        Ok(bytes)
    }
}

fn view_of(lane: &Lane) -> View {
    View {
        folder: lane.folder.clone(),
        pieces: lane.pieces.clone(),
        last: lane.last,
    }
}

/// The names in a folder that read as a `T`, in order.
fn names<T: FromStr + Ord>(dir: &Path) -> io::Result<Vec<T>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// A folder of the trail's files, as a backup names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AuditFolder {
    /// Of format 1, where one lane had everybody's lines.
    Mixed(u16),
    /// One part.
    Part(AuditLane),
}

impl AuditFolder {
    /// What lies in a trail that nobody has opened, as (folder, number, bytes), in order.
    pub(crate) fn files(dir: &Path) -> io::Result<Vec<(Self, u64, u64)>> {
        let found = match names::<Self>(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found?,
        };
        let mut files = Vec::new();
        for name in found {
            let folder = dir.join(name.to_string());
            for number in numbers(&folder, ".seg")? {
                let bytes = fs::metadata(folder.join(format!("{number}.seg")))?.len();
                files.push((name.clone(), number, bytes));
            }
        }
        Ok(files)
    }
}

impl fmt::Display for AuditFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mixed(lane) => lane.fmt(f),
            Self::Part(name) => name.fmt(f),
        }
    }
}

impl FromStr for AuditFolder {
    type Err = ();

    /// The opposite of its text, and of nothing else.
    fn from_str(text: &str) -> Result<Self, ()> {
        let part = text.parse().map(Self::Part);
        let found = part.or_else(|()| text.parse().map(Self::Mixed).map_err(|_| ()))?;
        if found.to_string() == text {
            Ok(found)
        } else {
            Err(())
        }
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
