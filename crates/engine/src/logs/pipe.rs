//! One end of an instance's stdout or stderr.

use super::splitter::{Line, Splitter};
use parking_lot::Mutex;
use std::{cell::RefCell, io::ErrorKind, os::fd::OwnedFd};
use tokio::net::unix::pipe::Receiver;

/// Bytes that one call reads at the most while the writer goes on writing: more than a pipe holds,
/// so that what was written before the call is read by it.
const AT_ONCE_BYTES: usize = 2 << 20;
const CHUNK_BYTES: usize = 16 << 10;

thread_local! {
    /// What is read into. Every invocation reads two pipes, mostly to find nothing: zeroing a
    /// buffer for each of them costs more than the reads.
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK_BYTES].into_boxed_slice());
}

/// How far to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadTo {
    /// What is there; a line without its end stays open.
    Some,
    /// What is there; a line without its end ends here.
    Empty,
    /// All of it: nobody writes any more.
    End,
}

/// Where reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// At nothing more for now.
    Empty,
    /// At the bound of one call.
    More,
    /// At the end.
    End,
}

pub(super) struct Pipe {
    /// Says when there is something; its own idea of that is a wake-up old, and it is read without
    /// asking where that is too old.
    pipe: Receiver,
    splitter: Mutex<Splitter>,
}

impl Pipe {
    /// Errors: the descriptor cannot be waited for.
    pub(super) fn new(fd: OwnedFd, line_bytes: usize) -> std::io::Result<Self> {
        Ok(Self {
            pipe: Receiver::from_owned_fd(fd)?,
            splitter: Mutex::new(Splitter::new(line_bytes)),
        })
    }

    /// Waits until there is something, then reads it; `false` after the end of the pipe.
    pub(super) async fn read_when_ready(&self, line: impl FnMut(Line)) -> bool {
        self.pipe.readable().await.is_ok() && self.read(ReadTo::Some, line) != Found::End
    }

    /// Reads and hands out lines.
    pub(super) fn read(&self, to: ReadTo, line: impl FnMut(Line)) -> Found {
        CHUNK.with_borrow_mut(|chunk| self.read_into(chunk, to, line))
    }

    fn read_into(&self, chunk: &mut [u8], to: ReadTo, mut line: impl FnMut(Line)) -> Found {
        let mut splitter = self.splitter.lock();
        let (mut total, mut found) = (0, Found::More);
        while total < AT_ONCE_BYTES || to == ReadTo::End {
            let read = match to {
                ReadTo::Some => self.pipe.try_read(chunk),
                ReadTo::Empty | ReadTo::End => {
                    rustix::io::read(&self.pipe, &mut *chunk).map_err(Into::into)
                }
            };
            match read {
                Ok(0) => {
                    found = Found::End;
                    break;
                }
                Ok(read) => {
                    total += read;
                    splitter.feed(&chunk[..read], &mut line);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    found = Found::Empty;
                    break;
                }
                Err(_) => {
                    found = Found::End;
                    break;
                }
            }
        }
        if to != ReadTo::Some || found == Found::End {
            splitter.finish(&mut line);
        }
        found
    }
}
