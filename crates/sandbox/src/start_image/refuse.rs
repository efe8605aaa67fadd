//! What a process has beside its memory, and whether an image can carry it.
//!
//! Looked at from outside while it stands still. Refuses by name; carries nothing but files that
//! it reads and that every instance of its runtime or revision has.

use super::{
    Obstacle, ObstacleKind,
    body::Opened,
    dump::{Found, Subject, Whom, pids},
    look::{self, field, text},
};
use crate::sys::restorer::{KEPT_DESCRIPTORS, PAGE};
use rustix::fs::{AtFlags, FileType, statat};
use std::{
    fs::File,
    io::Read,
    os::fd::{AsFd, BorrowedFd},
};

/// Everything that an image cannot carry and that is not memory; the files that it has open.
pub(super) fn refuse(
    subject: &Subject,
    found: &Found,
    status: &str,
) -> Result<Vec<Opened>, Obstacle> {
    let process = found.process.as_fd();
    let threads = look::names(process, "task")?.len() as u64;
    if threads != 1 {
        return Err(ObstacleKind::Threads.of(threads));
    }
    if let Whom::Member { members, .. } = &subject.whom {
        // Only now: it cannot fork any more. One of them is pid 1, one is who stands still.
        let others = pids(members.as_fd())?
            .iter()
            .filter(|pid| **pid != found.pid && **pid != subject.parent)
            .count() as u64;
        if others != 0 {
            return Err(ObstacleKind::Children.of(others));
        }
    }
    let opened = refuse_descriptors(subject, process)?;
    let zero =
        |name| field(status, name).is_some_and(|mask| u64::from_str_radix(mask, 16) == Ok(0));
    if !zero("SigPnd") || !zero("ShdPnd") {
        return Err(ObstacleKind::Signal.into());
    }
    // A timer of POSIX holds a queued signal ready, which is counted even where the list of timers
    // is not to be had. The count is of the uid, which nobody else has.
    let queued = field(status, "SigQ")
        .and_then(|q| q.split_once('/'))
        .map(|(n, _)| n);
    let listed = text(process, "timers").unwrap_or_default();
    if !listed.is_empty() || queued != Some("0") {
        return Err(ObstacleKind::Timer.into());
    }
    for table in &found.ipc {
        let mut lines = String::new();
        File::from(table.try_clone()?)
            .take(PAGE)
            .read_to_string(&mut lines)?;
        // The first line is the head.
        if lines.lines().count() > 1 {
            return Err(ObstacleKind::Ipc.into());
        }
    }
    if subject.is_sandboxed() {
        for folder in ["root/tmp", "root/dev/shm"] {
            let left = look::names(process, folder)?;
            if left.iter().any(|name| name != "lost+found") {
                return Err(ObstacleKind::LeftFiles.into());
            }
        }
    }
    Ok(opened)
}

/// It has the four descriptors that it was given, and beyond them files that it reads.
fn refuse_descriptors(subject: &Subject, process: BorrowedFd<'_>) -> Result<Vec<Opened>, Obstacle> {
    let mut given = 0;
    let mut opened = Vec::new();
    for name in look::names(process, "fd")? {
        let number: u64 = name.parse().map_err(|_| ObstacleKind::Step)?;
        let facts = statat(process, format!("fd/{name}"), AtFlags::empty())?;
        let kind = FileType::from_raw_mode(facts.st_mode);
        let is_given = match number {
            0 => kind == FileType::CharacterDevice,
            1 | 2 => {
                let own = subject.output[number as usize - 1];
                kind == FileType::Fifo && facts.st_ino == own
            }
            3 => kind == FileType::Socket,
            _ => {
                match kind {
                    FileType::RegularFile => opened.push(opened_file(process, number)?),
                    FileType::Socket => return Err(ObstacleKind::Socket.of(number)),
                    FileType::Fifo => return Err(ObstacleKind::Pipe.of(number)),
                    FileType::Unknown => {
                        return Err(ObstacleKind::AnonymousDescriptor.of(number));
                    }
                    _ => return Err(ObstacleKind::File.of(number)),
                }
                continue;
            }
        };
        if !is_given {
            return Err(ObstacleKind::Descriptor.of(number));
        }
        given += 1;
    }
    if given == KEPT_DESCRIPTORS {
        Ok(opened)
    } else {
        Err(ObstacleKind::Descriptor.of(given as u64))
    }
}

/// A regular file that it has open, if it is open for reading alone and nothing is locked.
fn opened_file(process: BorrowedFd<'_>, number: u64) -> Result<Opened, Obstacle> {
    // Of the flags, what a plain open for reading leaves: close-on-exec, large file.
    const PLAIN: u64 = 0o2_100_000;
    let obstacle = ObstacleKind::File.of(number);
    let info = text(process, &format!("fdinfo/{number}"))?;
    let flags = field(&info, "flags").and_then(|f| u64::from_str_radix(f, 8).ok());
    let position = field(&info, "pos").and_then(|pos| pos.parse().ok());
    let (Some(flags), Some(position)) = (flags, position) else {
        return Err(obstacle);
    };
    if flags & !PLAIN != 0 || field(&info, "lock").is_some() {
        return Err(obstacle);
    }
    let link = rustix::fs::readlinkat(process, format!("fd/{number}"), Vec::new())?;
    Ok(Opened {
        number,
        name: String::from_utf8(link.into_bytes()).map_err(|_| obstacle)?,
        position,
        close_on_exec: flags & 0o2_000_000 != 0,
    })
}
