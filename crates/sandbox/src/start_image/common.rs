//! What instances have in common with their start image, by the kernel's own count.
//!
//! A page of an image is charged to the platform until an instance writes to it; then there is a copy,
//! which the instance's group pays for. What the instance uses beside its group's memory are the pages
//! that it has touched and not copied: those that its processes map of a memory file. The kernel
//! counts them as it maps them (`RssShmem`), so asking takes no lock of the process's and no
//! look into its memory, however large or busy it is.
//!
//! Processes of one instance have mostly the same pages in common with the image, those that were forked
//! above all, and nobody counts those once: the process that has most stands for all. What
//! several have touched apart from each other is missed so, and costs nobody anything: the image is
//! there once.
//!
//! Kernels before 6.16 say it late. Before 6.2 a thread keeps to itself what it has counted in its last 64 faults, of up
//! to 16 pages each (4 MiB at the most), until it gives memory back; from then on a processor keeps
//! less than a batch (32 pages, or twice as many as there are processors).
//!
//! Refuses to ask more processes than [`PROCESSES_MAX`].

use super::look::{field, text};
use rustix::fs::{Mode, OFlags, openat};
use std::os::fd::{AsFd, BorrowedFd};

/// Processes of one instance that are asked. The one that was thawed is among the first.
const PROCESSES_MAX: usize = 64;
/// Threads that are asked of a process whose first one has ended.
const THREADS_MAX: usize = 16;

/// Bytes of memory files that one of the processes `pids` maps at the most.
///
/// `processes`: a `/proc` that has them. One that has ended maps nothing.
pub fn mapped_bytes(processes: BorrowedFd<'_>, pids: &[i32]) -> u64 {
    let pids = pids.iter().take(PROCESSES_MAX);
    pids.filter_map(|pid| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = openat(processes, pid.to_string(), flags, Mode::empty()).ok()?;
        let status = text(process.as_fd(), "status").ok()?;
        of_status(&status).or_else(|| of_threads(process.as_fd(), &status))
    })
    .max()
    .unwrap_or(0)
}

/// The same of a process whose first thread has ended: its others have its memory still.
fn of_threads(process: BorrowedFd<'_>, status: &str) -> Option<u64> {
    if field(status, "Threads")? == "1" {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let threads = openat(process, "task", flags, Mode::empty()).ok()?;
    let all = rustix::fs::Dir::read_from(&threads).ok()?;
    let named = all.filter_map(Result::ok).take(THREADS_MAX);
    let names = named.filter(|entry| !entry.file_name().to_bytes().starts_with(b"."));
    names
        .filter_map(|entry| {
            let thread = openat(&threads, entry.file_name(), flags, Mode::empty()).ok()?;
            of_status(&text(thread.as_fd(), "status").ok()?)
        })
        .next()
}

/// Bytes of memory files that a process maps, of its `status`; none of one that has no memory.
fn of_status(status: &str) -> Option<u64> {
    let (number, unit) = field(status, "RssShmem")?.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    (unit == "kB").then_some(number << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::File,
        io::Read,
        os::fd::AsRawFd,
        process::{Command, Stdio},
    };

    #[test]
    fn only_kilobytes_of_memory_files_count() {
        let status = "Name:\tx\nRssAnon:\t    96 kB\nRssFile:\t  10 kB\nRssShmem:\t     8 kB\n";
        assert_eq!(of_status(status), Some(8 << 10));
        // A zombie has no such line.
        assert_eq!(of_status("Name:\tx\nState:\tZ (zombie)\n"), None);
        assert_eq!(of_status("RssShmem:\t8 MB\n"), None);
    }

    #[test]
    fn a_process_has_memory_while_any_thread_of_it_lives() {
        let code = "import ctypes, threading, time, sys, os\n\
             def go():\n  time.sleep(.1); os.write(1, b'.'); sys.stdin.read(); os._exit(0)\n\
             f = os.memfd_create('x'); os.write(f, b'x' * (1 << 20))\n\
             import mmap; m = mmap.mmap(f, 1 << 20, mmap.MAP_PRIVATE); sum(m[::4096])\n\
             threading.Thread(target=go).start()\n\
             ctypes.CDLL(None).syscall(60, 0)";
        let mut child = Command::new("python3")
            .args(["-c", code])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut said = [0u8];
        let mut out = child.stdout.take().expect("its output");
        out.read_exact(&mut said).expect("a word");
        let processes = File::open("/proc").expect("/proc");
        let pid = child.id().cast_signed();
        let common = mapped_bytes(processes.as_fd(), &[pid]);
        drop(child.stdin.take());
        child.wait().expect("its end");
        assert!((1 << 20..2 << 20).contains(&common), "{common}");
    }

    #[test]
    fn what_is_copied_or_untouched_is_not_in_common() {
        const PAGES: usize = 1 << 10;
        let file = File::from(crate::sys::processes::private_file("memory").expect("a file"));
        file.set_len(4096 * PAGES as u64).expect("a length");
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("kept");
        // All is read, half of it written. What an older kernel has counted and not yet said comes out with the
        // next faults of the thread, or is nothing when whole batches were counted on one processor.
        let code = format!(
            "import mmap, os, sys\n\
             os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n\
             m = mmap.mmap({}, {}, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)\n\
             sum(m[::4096])\n\
             for page in range({PAGES} // 2): m[page * 4096] = 1\n\
             other = mmap.mmap(-1, 4096 * 256, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n\
             for page in range(256): other[page * 4096] = 1\n\
             sys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()",
            file.as_raw_fd(),
            4096 * PAGES
        );
        // Pages of the file that are there before they are read: holes are not mapped.
        rustix::fs::fallocate(
            &file,
            rustix::fs::FallocateFlags::empty(),
            0,
            4096 * PAGES as u64,
        )
        .expect("pages");
        let mut child = Command::new("python3")
            .args(["-c", &code])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut said = [0u8];
        let mut out = child.stdout.take().expect("its output");
        out.read_exact(&mut said).expect("a word");
        let processes = File::open("/proc").expect("/proc");
        let pid = child.id().cast_signed();
        let common = mapped_bytes(processes.as_fd(), &[pid]);
        assert_eq!(common, 4096 * PAGES as u64 / 2);
        // Another one of the same memory adds nothing, nor does one that has none.
        assert_eq!(mapped_bytes(processes.as_fd(), &[2, pid, pid]), common);
        drop(child.stdin.take());
        child.wait().expect("its end");
        assert_eq!(mapped_bytes(processes.as_fd(), &[pid]), 0);
    }
}
