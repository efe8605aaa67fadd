//! Netlink, as far as links, routes and nf_tables need it: messages with attributes, sent in one
//! piece, and what the kernel answers to each.
//!
//! The kernel has done all of it when the sending returns, so nothing here waits. Refuses an answer
//! that is not one.

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
    netlink::{self, SocketAddrNetlink},
    recv, send, socket_with, sockopt,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// `NLM_F_REQUEST`, and with an answer.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// Makes what is not there.
pub const CREATE: u16 = 0x400;
/// Refuses what is there.
pub const EXCLUSIVE: u16 = 0x200;
/// Behind what is there.
pub const APPEND: u16 = 0x800;
/// `NLM_F_DUMP`: everything of its kind.
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: what is told was changed in the middle of it.
const INTERRUPTED: u16 = 0x10;

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// A whole ruleset goes out in one piece.
const SEND_BUFFER: usize = 8 << 20;
/// Room for what the kernel says of one message, which it repeats up to here.
const ANSWER: usize = 16 << 10;
/// Room for messages of others' making, none of which is longer.
const TOLD: usize = 64 << 10;

/// Messages one after the other, and the number of the last one that is answered.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    sequence: u32,
    begun: usize,
}

impl Messages {
    /// Begins a message of this type; `body` is its fixed part. `answered`: the kernel says how it
    /// went even if it went well.
    pub fn begin(&mut self, kind: u16, flags: u16, answered: bool, body: &[u8]) -> &mut Self {
        self.end();
        self.sequence += 1;
        self.begun = self.bytes.len();
        let flags = flags | REQUEST | if answered { ACK } else { 0 };
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(body);
        self.pad();
        self
    }

    /// An attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(4 + value.len()).expect("attributes of ours are short");
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// A text, with its final zero.
    pub fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// A number as nf_tables has it.
    pub fn big(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// A number as rtnetlink has it.
    pub fn native(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// An attribute that holds others.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.bytes.len();
        self.put(kind | NESTED, &[]);
        inside(self);
        let len = u16::try_from(self.bytes.len() - at).expect("attributes of ours are short");
        self.bytes[at..at + 2].copy_from_slice(&len.to_ne_bytes());
        self
    }

    /// Bytes without an attribute's head: the fixed part of what is nested.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Asks for an answer to the message that was begun last.
    pub fn answer_last(&mut self) {
        let at = self.begun + 6;
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let len = u32::try_from(self.bytes.len() - self.begun).expect("messages of ours are short");
        self.bytes[self.begun..self.begun + 4].copy_from_slice(&len.to_ne_bytes());
    }
}

/// A socket to one of the kernel's families, in the network namespace that it was made in.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Links, addresses and routes.
    pub fn routes() -> io::Result<Self> {
        Self::open(None)
    }

    /// nf_tables.
    pub fn firewall() -> io::Result<Self> {
        let socket = Self::open(Some(netlink::NETFILTER))?;
        // Without the privilege the firewall cannot be changed either, which is told then.
        let _ = sockopt::set_socket_send_buffer_size_force(&socket.0, SEND_BUFFER);
        Ok(socket)
    }

    /// Hears what these groups of rtnetlink are told; for [`Socket::drain`].
    pub fn hearing(groups: u32) -> io::Result<Self> {
        let socket = Self::open(None)?;
        bind(&socket.0, &SocketAddrNetlink::new(0, groups))?;
        Ok(socket)
    }

    /// One that was made elsewhere.
    pub fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        Ok(Self(socket))
    }

    /// The descriptor, to be handed on.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// Sends the messages; the first error that the kernel has with any of them. Errors are told of
    /// every message; of the others one at the least must ask for an answer.
    pub fn send(&self, mut messages: Messages) -> io::Result<()> {
        messages.end();
        let sent = send(&self.0, &messages.bytes, SendFlags::NOSIGNAL)?;
        if sent != messages.bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut failed = None;
        let mut heard = false;
        let mut answer = vec![0u8; ANSWER];
        loop {
            let len = match recv(&self.0, &mut answer, RecvFlags::DONTWAIT) {
                Ok((len, _)) => len,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut rest = &answer[..len];
            while let Some((kind, body, behind)) = split(rest) {
                if kind == NLMSG_ERROR {
                    heard = true;
                    let number = body.first_chunk::<4>().map(|n| i32::from_ne_bytes(*n));
                    match number {
                        Some(0) => {}
                        Some(number) => {
                            failed.get_or_insert(io::Error::from_raw_os_error(-number));
                        }
                        None => return Err(io::ErrorKind::InvalidData.into()),
                    }
                }
                rest = behind;
            }
        }
        match failed {
            Some(error) => Err(error),
            None if heard => Ok(()),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Asks for everything of a kind and has each message heard, by its type and what follows its head.
    /// The kernel tells more of it as it is read, so this does not wait either.
    ///
    /// Errors: [`io::ErrorKind::Interrupted`] for what was changed meanwhile; what `heard` makes of a
    /// message, after which nothing else can be asked here.
    pub fn dump<E: From<io::Error>>(
        &self,
        kind: u16,
        body: &[u8],
        attributes: impl FnOnce(&mut Messages),
        heard: impl FnMut(u16, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut question = Messages::default();
        attributes(question.begin(kind, DUMP, false, body));
        self.hear(question, heard)
    }

    /// Asks for one thing, and has what is told of it heard likewise.
    ///
    /// Errors: those of [`Socket::dump`].
    pub fn ask<E: From<io::Error>>(
        &self,
        kind: u16,
        body: &[u8],
        heard: impl FnMut(u16, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut question = Messages::default();
        question.begin(kind, 0, true, body);
        self.hear(question, heard)
    }

    fn hear<E: From<io::Error>>(
        &self,
        mut question: Messages,
        mut heard: impl FnMut(u16, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        question.end();
        let io = |errno: rustix::io::Errno| io::Error::from(errno);
        send(&self.0, &question.bytes, SendFlags::NOSIGNAL).map_err(io)?;
        let mut told = vec![0u8; TOLD];
        loop {
            let len = match recv(&self.0, &mut told, RecvFlags::DONTWAIT) {
                Ok((len, _)) => len,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(io(error).into()),
            };
            let mut rest = &told[..len];
            while let Some((kind, body, behind)) = split(rest) {
                if flags(rest) & INTERRUPTED != 0 {
                    return Err(io::Error::from(io::ErrorKind::Interrupted).into());
                }
                let number = || body.first_chunk::<4>().map(|n| i32::from_ne_bytes(*n));
                match (kind, number()) {
                    (NLMSG_DONE | NLMSG_ERROR, Some(0)) => return Ok(()),
                    (NLMSG_DONE | NLMSG_ERROR, Some(number)) => {
                        return Err(io::Error::from_raw_os_error(-number).into());
                    }
                    _ => heard(kind, body)?,
                }
                rest = behind;
            }
            if !rest.is_empty() {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            }
        }
    }

    /// Reads everything that lies there and has each message heard, by its type and what follows its head;
    /// nothing in place of those that were lost.
    pub fn drain(&self, mut heard: impl FnMut(Option<(u16, &[u8])>)) {
        let mut told = vec![0u8; ANSWER];
        loop {
            match recv(&self.0, &mut told, RecvFlags::DONTWAIT) {
                Ok((len, _)) => {
                    let mut rest = &told[..len];
                    while let Some((kind, body, behind)) = split(rest) {
                        heard(Some((kind, body)));
                        rest = behind;
                    }
                    if !rest.is_empty() {
                        heard(None);
                    }
                }
                // More was said than there is room for: all the more has changed.
                Err(rustix::io::Errno::NOBUFS) => heard(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The first message: its type, what follows its head, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(*bytes.first_chunk::<4>()?) as usize;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let body = bytes.get(HEADER..len)?;
    let behind = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, behind))
}

/// The flags of a message that is one.
fn flags(message: &[u8]) -> u16 {
    message
        .get(6..8)
        .map_or(0, |flags| u16::from_ne_bytes([flags[0], flags[1]]))
}

/// The attributes of a message, or of another one: the kind of each and its value.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*rest.first_chunk::<2>()?));
        let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]);
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NESTED, value))
    })
}

#[cfg(test)]
impl Messages {
    /// All of it so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_with_the_first_that_is_none() {
        let mut messages = Messages::default();
        messages.put(3, b"abc").nest(4, |inside| {
            inside.big(5, 6);
        });
        let found: Vec<_> = attributes(messages.bytes()).collect();
        assert_eq!(found[0], (3, &b"abc"[..]));
        assert_eq!((found[1].0, found[1].1.len()), (4, 8));
        assert_eq!(found.len(), 2);
        assert_eq!(attributes(&messages.bytes()[..10]).count(), 1);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
    }

    #[test]
    fn lengths_count_heads_and_not_the_padding_of_the_last() {
        let mut messages = Messages::default();
        messages.begin(7, CREATE, true, &[1, 2]);
        messages.text(3, "abc").nest(4, |inside| {
            inside.big(5, 6);
        });
        messages.begin(8, 0, false, &[]);
        messages.end();
        let (kind, body, behind) = split(&messages.bytes).unwrap();
        assert_eq!((kind, body.len()), (7, 4 + 8 + 4 + 8));
        assert_eq!(body[..4], [1, 2, 0, 0]);
        assert_eq!(body[4..12], [8, 0, 3, 0, b'a', b'b', b'c', 0]);
        assert_eq!(body[12..16], [12, 0, 4, 0x80]);
        let (kind, body, behind) = split(behind).unwrap();
        assert_eq!((kind, body.len(), behind.len()), (8, 0, 0));
    }

    #[test]
    fn half_a_message_is_none() {
        assert!(split(&[]).is_none());
        assert!(split(&[16, 0, 0, 0, 2, 0]).is_none());
        // A length that is shorter than a head.
        assert!(split(&[4; 16]).is_none());
    }
}
