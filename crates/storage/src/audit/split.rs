//! Format 1 had one trail for all; this puts every line into the part that it belongs to.
//!
//! ```text
//! audit ─▶ before-format-2/audit ─ line by line ─▶ audit.unfinished ─▶ audit
//! ```
//!
//! The trail that was there is moved beside the copies of the databases and only read from then on,
//! so a kill anywhere is followed by the same again. Nothing of a trail is ever removed here: one that
//! another release wrote after somebody went back is moved beside the first, as `audit-2`.

use super::{
    SEGMENT_BYTES,
    lane::{Lane, framed},
};
use crate::{
    folder::sync_dir,
    lanes::{numbers, segment},
};
use freehold_domain::audit::{AuditLane, AuditLine};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The one folder of a trail of format 1; no part has that name.
const OLD: &str = "0";
/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

pub(crate) fn split(store: &Path) -> io::Result<()> {
    let (trail, copies) = (store.join("audit"), store.join("before-format-2"));
    let unfinished = store.join("audit.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let (moved, free) = moved(&copies);
    let before = if trail.join(OLD).exists() {
        fs::create_dir_all(&copies)?;
        fs::rename(&trail, &free)?;
        sync_dir(&copies)?;
        sync_dir(store)?;
        free
    } else if trail.exists() {
        // It is by account already: the end of the step was all that was missing.
        return Ok(());
    } else if let Some(moved) = moved {
        moved
    } else {
        return Ok(());
    };
    fs::create_dir(&unfinished)?;
    let mut lanes = BTreeMap::new();
    let mut number = 0;
    let old = before.join(OLD);
    let segments = match numbers(&old, ".seg") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        found => found?,
    };
    for segment in &segments {
        let is_newest = segments.last() == Some(segment);
        let path = old.join(format!("{segment}.seg"));
        split_file(&path, is_newest, &mut |line, frame| {
            let lane = lanes
                .entry(AuditLane::of(line))
                .or_insert_with_key(|lane| Lane::new(unfinished.join(lane.to_string())));
            number += 1;
            let frame = framed(number, frame);
            let done = lane.append(number, line.at, &frame, SEGMENT_BYTES);
            done.map(drop).map_err(io::Error::other)
        })?;
    }
    for lane in lanes.values() {
        for piece in &lane.pieces {
            File::open(lane.path(piece.first))?.sync_all()?;
        }
        sync_dir(&lane.folder)?;
    }
    sync_dir(&unfinished)?;
    fs::rename(&unfinished, &trail)?;
    sync_dir(store)
}

/// The trail that was moved last, and where the next one goes.
fn moved(copies: &Path) -> (Option<PathBuf>, PathBuf) {
    let (mut last, mut next) = (None, copies.join("audit"));
    for number in 2.. {
        if !next.exists() {
            break;
        }
        last = Some(next);
        next = copies.join(format!("audit-{number}"));
    }
    (last, next)
}

/// Hands on the lines of one file up to what is damaged in it: the file is kept as it was.
fn split_file(
    path: &Path,
    is_newest: bool,
    each: &mut dyn FnMut(&AuditLine, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = 0;
    loop {
        let page = match segment::read(path, offset, usize::MAX, READ_BYTES, is_newest) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "lines of the audit trail stay behind: they do not read");
                return Ok(());
            }
        };
        for (behind, frame) in &page.frames {
            match serde_json::from_slice::<AuditLine>(frame) {
                Ok(line) => each(&line, frame)?,
                Err(error) => {
                    let file = path.display();
                    tracing::error!(%error, %file, behind, "a line of the audit trail stays behind");
                }
            }
        }
        if !page.more || page.frames.is_empty() {
            return Ok(());
        }
        offset = page.after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenOptions, SqliteStorage, lanes::SEGMENT_MAGIC};
    use freehold_domain::{
        Principal, TenantId, Wall,
        audit::{Asker, AuditResult, AuditText},
        ports::{Audit, AuditQuery},
    };
    use freehold_testkit::storage::suite::StillClock;
    use std::sync::Arc;

    fn line(n: i64) -> AuditLine {
        let tenant: Option<TenantId> =
            (n % 3 > 0).then(|| format!("{:012}", n % 3).parse().unwrap());
        AuditLine {
            at: Wall(n),
            request: None,
            tenant,
            who: Asker::Nobody,
            proven: n % 2 == 0,
            source: AuditText::default(),
            action: AuditText::new("a:B"),
            resource: AuditText::new(&format!("thing {n}")),
            result: AuditResult::Ok,
            error: None,
            count: 1,
        }
    }

    fn write(path: &Path, lines: std::ops::Range<i64>) {
        let mut whole = SEGMENT_MAGIC.to_vec();
        for n in lines {
            crate::frame::push(&mut whole, &serde_json::to_vec(&line(n)).unwrap());
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, whole).unwrap();
    }

    fn names(of: &Path) -> Vec<String> {
        let found = fs::read_dir(of).unwrap();
        let mut found: Vec<_> = found
            .map(|one| one.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        found
    }

    #[test]
    fn every_line_comes_into_its_part_and_the_old_trail_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path();
        split(store).unwrap();
        assert_eq!(names(store), Vec::<String>::new(), "there was no trail");
        write(&store.join("audit/0/3.seg"), 0..40);
        write(&store.join("audit/0/4.seg"), 40..60);
        // Killed after the old trail was moved, after the new one was made, and not at all.
        for _ in 0..3 {
            split(store).unwrap();
            assert_eq!(names(store), ["audit", "before-format-2"]);
            assert_eq!(
                names(&store.join("before-format-2/audit/0")),
                ["3.seg", "4.seg"]
            );
            let parts = ["000000000001", "000000000002", "platform", "unproven"];
            assert_eq!(names(&store.join("audit")), parts);
            let lines = |part: &str| {
                let (lane, wrong) = Lane::open(store.join("audit").join(part)).unwrap();
                assert_eq!(wrong, None);
                let file = fs::read(lane.path(lane.pieces[0].first)).unwrap();
                String::from_utf8_lossy(&file).matches("thing").count()
            };
            assert_eq!(parts.map(lines), [20, 20, 10, 10]);
            fs::create_dir(store.join("audit.unfinished")).unwrap();
        }
    }

    #[test]
    fn a_trail_that_an_older_release_went_on_with_is_split_too_and_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path();
        write(&store.join("audit/0/0.seg"), 0..10);
        split(store).unwrap();
        // Somebody goes back by the copy, serves for a while, and comes forward again; what was by
        // account meanwhile is still there, or was taken away.
        for (round, is_kept) in [(2, true), (3, false)] {
            if !is_kept {
                fs::remove_dir_all(store.join("audit")).unwrap();
            }
            write(&store.join("audit/0/0.seg"), 0..10 * round);
            // Killed once amid it.
            split(store).unwrap();
            fs::rename(store.join("audit"), store.join("audit.unfinished")).unwrap();
            split(store).unwrap();
            let parts = names(&store.join("audit"));
            let lines = parts.iter().map(|part| {
                let (lane, _) = Lane::open(store.join("audit").join(part)).unwrap();
                let file = fs::read(lane.path(lane.pieces[0].first)).unwrap();
                String::from_utf8_lossy(&file).matches("thing").count()
            });
            assert_eq!(lines.sum::<usize>(), 10 * usize::try_from(round).unwrap());
        }
        let kept = names(&store.join("before-format-2"));
        assert_eq!(kept, ["audit", "audit-2", "audit-3"]);
        let first = fs::read(store.join("before-format-2/audit/0/0.seg")).unwrap();
        assert_eq!(String::from_utf8_lossy(&first).matches("thing").count(), 10);
        let parts = names(&store.join("before-format-2/audit-2"));
        assert!(parts.contains(&"platform".to_owned()), "{parts:?}");
    }

    #[tokio::test]
    async fn a_folder_of_format_1_shows_the_lines_that_it_had_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format"), "1\n").unwrap();
        write(&dir.path().join("audit/0/0.seg"), 0..40);
        write(&dir.path().join("audit/0/1.seg"), 40..60);
        for _ in 0..2 {
            let clock = Arc::new(StillClock::at(Wall(5)));
            let store = SqliteStorage::open(OpenOptions::new(dir.path(), clock)).unwrap();
            let lines = async |tenant: Option<TenantId>| {
                let query = AuditQuery {
                    tenant,
                    limit: 1000,
                    ..AuditQuery::default()
                };
                let page = store.audit_lines(&Principal::platform("test"), query).await;
                page.unwrap().lines
            };
            assert_eq!(lines(None).await, (0..60).map(line).collect::<Vec<_>>());
            let own: Vec<_> = (0..60).filter(|n| n % 3 == 1).map(line).collect();
            assert_eq!(lines(line(1).tenant).await, own);
        }
        let format = fs::read_to_string(dir.path().join("format")).unwrap();
        assert_eq!(format, "2\n");
    }
}
