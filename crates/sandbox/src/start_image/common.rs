//! What an instance still has in common with others of its start image, by the kernel's own word.
//!
//! A page of an image is charged to the platform until an instance writes to it: then there is a copy,
//! which the instance's group pays for. So who counts the image beside the group's memory counts each
//! copy twice, unless it knows which pages were copied, given up or replaced. `/proc/PID/maps` has
//! what is mapped of the image's file, and the page map what of that are copies.
//!
//! Costs some 100 µs for an image of 10 MiB, so nobody asks while somebody waits. Refuses to read more
//! mappings than an image may have; what it cannot tell is left as it was known before.

use super::look::{CHUNK, LINE_MAX, MAPPINGS_MAX, first_line, inner_pid, is_own_page, open, text};
use super::{Obstacle, ObstacleKind};
use crate::sys::restorer::PAGE;
use rustix::fs::{Mode, OFlags, openat};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

/// The folder of one of the processes `pids`, the one that sees itself as `inner`; its pid.
///
/// `processes`: a `/proc` that has them.
pub fn member(processes: BorrowedFd<'_>, pids: &[i32], inner: i32) -> Option<(i32, OwnedFd)> {
    let inner = u64::try_from(inner).ok()?;
    pids.iter().find_map(|pid| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = openat(processes, pid.to_string(), flags, Mode::empty()).ok()?;
        let status = text(process.as_fd(), "status").unwrap_or_default();
        (inner_pid(&status) == Some(inner)).then_some((*pid, process))
    })
}

/// Bytes of the image with this inode that `process` maps and has no copies of.
///
/// Errors: of `/proc`, as of a process that has ended; one with more mappings than an image has.
pub fn common_bytes(process: BorrowedFd<'_>, inode: u64) -> Result<u64, Obstacle> {
    let mapped = mapped_of(File::from(open(process, "maps")?), inode)?;
    let page_map = File::from(open(process, "pagemap")?);
    let mut buffer = Vec::new();
    let mut common = 0;
    for (start, end) in mapped {
        let (mut at, last) = (start / PAGE, end / PAGE);
        while at < last {
            let count = CHUNK.min(last - at);
            buffer.resize((count * 8) as usize, 0);
            page_map.read_exact_at(&mut buffer, at * 8)?;
            let entries = buffer.as_chunks::<8>().0.iter();
            common += entries.filter(|entry| !is_own_page(**entry)).count() as u64;
            at += count;
        }
    }
    Ok(common * PAGE)
}

/// Where a memory file is mapped.
fn mapped_of(maps: impl Read, inode: u64) -> Result<Vec<(u64, u64)>, Obstacle> {
    let mut lines = BufReader::with_capacity(64 << 10, maps);
    let (mut found, mut line) = (Vec::new(), Vec::new());
    for _ in 0..=MAPPINGS_MAX {
        line.clear();
        if lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        let mapping = first_line(String::from_utf8_lossy(&line).trim_end());
        let mapping = mapping.ok_or(ObstacleKind::Names)?;
        if mapping.inode == inode && mapping.name.starts_with("/memfd:") {
            found.push((mapping.start, mapping.end));
        }
    }
    Err(ObstacleKind::Mappings.of(MAPPINGS_MAX as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_memory_file_of_that_inode_counts() {
        let maps = "\
00400000-00402000 r--p 00000000 00:01 7    /memfd:memory (deleted)\n\
00402000-00403000 rw-p 00002000 00:01 7    /memfd:memory (deleted)\n\
00500000-00501000 rw-p 00000000 00:01 8    /memfd:memory (deleted)\n\
00600000-00601000 rw-p 00000000 fe:00 7    /tmp/memfd:memory\n\
7ffc0000-7ffd0000 rw-p 00000000 00:00 0 \n";
        let found = mapped_of(maps.as_bytes(), 7);
        assert_eq!(
            found,
            Ok(vec![(0x40_0000, 0x40_2000), (0x40_2000, 0x40_3000)])
        );
        assert_eq!(mapped_of("".as_bytes(), 7), Ok(Vec::new()));
        assert_eq!(
            mapped_of("odd\n".as_bytes(), 7),
            Err(ObstacleKind::Names.into())
        );
    }

    #[test]
    fn more_mappings_than_an_image_has_are_not_read() {
        let line = "00400000-00402000 rw-p 00000000 00:00 0 \n";
        assert_eq!(
            mapped_of(line.repeat(MAPPINGS_MAX).as_bytes(), 7),
            Ok(Vec::new())
        );
        assert_eq!(
            mapped_of(line.repeat(MAPPINGS_MAX + 1).as_bytes(), 7),
            Err(ObstacleKind::Mappings.of(MAPPINGS_MAX as u64))
        );
    }

    #[test]
    fn a_page_that_was_written_is_a_copy() {
        use std::os::fd::AsRawFd;
        let file = crate::sys::processes::private_file("memory").expect("a memory file");
        let file = File::from(file);
        file.set_len(8 * PAGE).expect("a length");
        let inode = rustix::fs::fstat(&file).expect("its facts").st_ino;
        let code = format!(
            "import mmap, os, sys\n\
             m = mmap.mmap({}, {}, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)\n\
             m[0] = 1; m[4096 * 5] = 1; m[4096 * 6]\n\
             sys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()",
            file.as_raw_fd(),
            8 * PAGE
        );
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("kept");
        let mut child = std::process::Command::new("python3")
            .args(["-c", &code])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3");
        let mut said = [0u8];
        let mut out = child.stdout.take().expect("its output");
        out.read_exact(&mut said).expect("a word");
        let processes = File::open("/proc").expect("/proc");
        let pid = child.id().cast_signed();
        let (found, process) = member(processes.as_fd(), &[1, pid], pid).expect("the child");
        assert_eq!(found, pid);
        assert_eq!(common_bytes(process.as_fd(), inode), Ok(6 * PAGE));
        drop(child.stdin.take());
        child.wait().expect("its end");
        assert!(common_bytes(process.as_fd(), inode).is_err());
    }
}
