//! What went over an instance's link, as the kernel counts it on the instance's end.
//!
//! The list of devices of its network namespace is opened once and read when somebody asks. Held open
//! it holds the namespace, which would go with its last process: what is read after an instance has
//! ended is all that there was. Whoever is inside has not the privilege to change what is counted there,
//! and reading waits for nobody: the kernel takes no lock on links for it. Loopback, where the platform
//! is, is another device.

use super::links::INSIDE;
use freehold_domain::NetworkBytes;
use rustix::fs::{Mode, OFlags, openat};
use std::{
    fs::File,
    io,
    os::{fd::BorrowedFd, unix::fs::FileExt},
};

/// What the list of two devices takes, and room to spare.
const LIST_BYTES_MAX: usize = 4096;
/// Where bytes sent stand behind a device's name; bytes received come first.
const SENT: usize = 8;

/// The devices of one sandbox.
#[derive(Debug)]
pub struct Traffic {
    devices: File,
}

impl Traffic {
    /// Of the sandbox whose pid 1 has `pid` and its link; `processes` is the machine's `/proc`.
    pub fn of(processes: BorrowedFd<'_>, pid: i32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let devices = openat(
            processes,
            format!("{pid}/net/dev").as_str(),
            flags,
            Mode::empty(),
        )?;
        // Nothing is read before somebody asks: the kernel would keep a page for it.
        Ok(Self {
            devices: devices.into(),
        })
    }

    /// What went over the link so far.
    pub fn read(&self) -> io::Result<NetworkBytes> {
        let mut list = [0u8; LIST_BYTES_MAX];
        let len = self.devices.read_at(&mut list, 0)?;
        let text = String::from_utf8_lossy(&list[..len]);
        counts(&text).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The counts of [`INSIDE`] in a list of devices as the kernel writes it.
fn counts(list: &str) -> Option<NetworkBytes> {
    let own = |line: &str| -> Option<NetworkBytes> {
        let (name, counts) = line.split_once(':')?;
        if name.trim() != INSIDE {
            return None;
        }
        let mut counts = counts.split_ascii_whitespace();
        let back = counts.next()?.parse().ok()?;
        let out = counts.nth(SENT - 1)?.parse().ok()?;
        Some(NetworkBytes { out, back })
    };
    list.lines().find_map(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        network::netlink::{CREATE, EXCLUSIVE, Messages, Socket},
        sys::mounts,
    };
    use rustix::{
        fs::open,
        net::netdevice::name_to_index,
        thread::{Pid, gettid},
    };
    use std::{net::UdpSocket, os::fd::AsFd};

    #[test]
    fn the_counts_are_those_of_the_link_alone() {
        let list = "Inter-|   Receive      |  Transmit\n face |bytes packets |bytes packets\n\
            \x20   lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n\
            \x20 eth0:  70 2 0 0 0 0 0 0  90 3 0 0 0 0 0 0\n";
        let expected = Some(NetworkBytes { out: 90, back: 70 });
        assert_eq!(counts(list), expected);
        // As a kernel writes a number that is wider than its column.
        assert_eq!(counts(&list.replace("eth0:  70", "eth0:70")), expected);
        for other in [
            "",
            "eth0",
            "eth0: 1 2",
            "eth0: x 0 0 0 0 0 0 0 1",
            "eth01: 1 0 0 0 0 0 0 0 1",
        ] {
            assert_eq!(counts(other), None, "{other:?}");
        }
    }

    /// A machine that is this thread's own, with a device that takes all it is given.
    fn device() -> io::Result<()> {
        mounts::unshare(libc::CLONE_NEWNET)?;
        let here = Socket::routes()?;
        let mut up = [0u8; 16];
        for flags in [8..12, 12..16] {
            up[flags].copy_from_slice(&(libc::IFF_UP as u32).to_ne_bytes());
        }
        let mut messages = Messages::default();
        // `RTM_NEWLINK` with `IFLA_IFNAME`, `IFLA_LINKINFO` and `IFLA_INFO_KIND`.
        messages
            .begin(16, CREATE | EXCLUSIVE, true, &up)
            .text(3, INSIDE)
            .nest(18, |info| {
                info.text(1, "dummy");
            });
        here.send(messages)?;
        let mut address = [libc::AF_INET as u8, 24, 0, 0, 0, 0, 0, 0];
        address[4..].copy_from_slice(&name_to_index(&here, INSIDE)?.to_ne_bytes());
        let mut messages = Messages::default();
        // `RTM_NEWADDR` with `IFA_LOCAL` and `IFA_ADDRESS`.
        messages
            .begin(20, CREATE | EXCLUSIVE, true, &address)
            .put(2, &[10, 0, 0, 1])
            .put(1, &[10, 0, 0, 1]);
        here.send(messages)
    }

    fn send() -> io::Result<(Traffic, NetworkBytes)> {
        device()?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let processes = open("/proc", flags, Mode::empty())?;
        let pid = Pid::as_raw(Some(gettid()));
        let traffic = Traffic::of(processes.as_fd(), pid)?;
        let before = traffic.read()?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        for _ in 0..10 {
            socket.send_to(&[0; 1000], "10.0.0.9:9")?;
        }
        // What stays within is on no link.
        socket.send_to(&[0; 1000], "10.0.0.1:9")?;
        Ok((traffic, before))
    }

    #[test]
    fn what_was_sent_is_known_when_who_sent_it_has_gone() {
        let (traffic, before) = match std::thread::spawn(send).join().unwrap() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return eprintln!("SKIPPED: a network namespace takes root: {error}");
            }
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                return eprintln!("SKIPPED: this kernel has no device to send to: {error}");
            }
            done => done.unwrap(),
        };
        // Its namespace would be gone as well.
        let sent = traffic.read().unwrap().since(before);
        assert!((10_000..11_000).contains(&sent.out), "{sent:?}");
        assert_eq!(sent.back, 0);
    }
}
