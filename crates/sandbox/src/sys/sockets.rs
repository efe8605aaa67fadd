//! Sequenced-packet sockets that carry descriptors, and loopback inside a network namespace.

use super::check;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

/// Descriptors that one message may carry; what a peer sends beyond is closed unseen.
pub const DESCRIPTORS_MAX: usize = 10;
const CONTROL_LEN: usize = 64;
const _: () = assert!(CONTROL_LEN >= 16 + DESCRIPTORS_MAX * 4);

/// Room for control messages, aligned as `cmsghdr` wants it.
#[repr(align(8))]
struct Control([u8; CONTROL_LEN]);

/// What one receive brought.
#[derive(Debug)]
pub struct Received {
    /// Bytes of the message; 0 when the other side is gone.
    pub len: usize,
    /// Its descriptors, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
    /// The message was longer than the buffer or carried more descriptors than are allowed.
    pub truncated: bool,
}

/// A connected pair of sequenced-packet sockets, close-on-exec and non-blocking.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// A connected pair of stream sockets, close-on-exec; the first never waits, the second does.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let flags = SocketFlags::CLOEXEC;
    let (host, guest) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::io::ioctl_fionbio(&host, true)?;
    Ok((host, guest))
}

/// Bytes of a TCP socket that its other end has not acknowledged, the end of the stream counted as one.
pub fn unsent(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one int, to a local that outlives the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    check(answer.into())?;
    Ok(u64::from(bytes.unsigned_abs()))
}

/// Sends one message; never waits: a full socket is [`io::ErrorKind::WouldBlock`].
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut control = Control([0; CONTROL_LEN]);
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: every pointer is to a local that outlives the call; the one control message is
    // written within `control`, which is large enough for DESCRIPTORS_MAX (asserted above).
    let answer = unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &raw mut iov;
        message.msg_iovlen = 1;
        if !descriptors.is_empty() {
            let payload = size_of_val(descriptors) as u32;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(payload) as _;
            let head = libc::CMSG_FIRSTHDR(&raw const message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(payload) as _;
            let data = libc::CMSG_DATA(head).cast::<RawFd>();
            for (index, descriptor) in descriptors.iter().enumerate() {
                ptr::write_unaligned(data.add(index), descriptor.as_raw_fd());
            }
        }
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const message,
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        )
    };
    check(answer as libc::c_long).map(drop)
}

/// Receives one message into `buffer`; waits for it when `wait`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
    if wait {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut one = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
        while let Err(error) = poll(&mut one, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
    }
    let mut control = Control([0; CONTROL_LEN]);
    let mut iov = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut descriptors = Vec::new();
    // SAFETY: every pointer is to a local that outlives the call. The kernel fills whole control
    // messages; each descriptor in them is new and ours alone.
    unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &raw mut iov;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE((DESCRIPTORS_MAX * 4) as u32) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let len =
            check(libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) as libc::c_long)?;
        let mut head = libc::CMSG_FIRSTHDR(&raw const message);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*head).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(head).cast::<RawFd>();
                for index in 0..bytes / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(ptr::read_unaligned(data.add(index))));
                }
            }
            head = libc::CMSG_NXTHDR(&raw const message, head);
        }
        let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
        Ok(Received {
            len: len as usize,
            descriptors,
            truncated,
        })
    }
}

/// Waits until something can be received; [`io::ErrorKind::TimedOut`] after `within`.
pub fn wait_readable(socket: BorrowedFd<'_>, within: std::time::Duration) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let span = Timespec {
        tv_sec: within.as_secs() as i64,
        tv_nsec: within.subsec_nanos().into(),
    };
    loop {
        let mut one = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
        match poll(&mut one, Some(&span)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Raises `lo` in the network namespace of the caller.
pub fn raise_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, socket};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: one structure of ours; the name is shorter than its field and ends in zero.
    unsafe {
        let mut request = std::mem::zeroed::<libc::ifreq>();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).into())
            .map(drop)
    }
}

/// Watches a descriptor on the calling thread's runtime.
pub fn watch(socket: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: the `AsyncFd` owns the descriptor, so it stays open and the same for as long as it
    // is registered.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(socket) }?)
}
