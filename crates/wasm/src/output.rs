//! Where a guest writes: its log, or the answer.
//!
//! Beyond what is free a guest may write once there is room for all that its answer may be. Until
//! then it waits, which is its function's time.

use crate::limits::CHUNK_BYTES_MAX;
use bytes::Bytes;
use freehold_domain::{
    answers::{ANSWER_FREE_BYTES, Answers, Asked, Room},
    ids::TenantId,
    ports::{GuestOutput, GuestStream},
};
use parking_lot::Mutex;
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::{
    async_trait,
    poll::Pollable,
    streams::{OutputStream, StreamError, StreamResult},
};

/// One of the two; clones write to the same place.
#[derive(Clone)]
pub(crate) enum Sink {
    Log(GuestStream, Arc<dyn GuestOutput>),
    Answer(Arc<AnswerBuffer>),
}

/// Where the answers of one tenant find room.
pub(crate) struct Rooms {
    pub(crate) answers: Arc<Answers>,
    pub(crate) tenant: TenantId,
}

impl Rooms {
    /// Stands in line for it.
    pub(crate) fn ask(&self, bytes: u64) -> Asked {
        self.answers.ask(&self.tenant, bytes)
    }
}

/// An answer that grows up to its limit.
pub(crate) struct AnswerBuffer {
    limit_bytes: u64,
    rooms: Arc<Rooms>,
    state: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    is_over: bool,
    asked: Option<Asked>,
    room: Option<Room>,
}

impl Written {
    /// What may be written now.
    fn permit(&self) -> usize {
        match self.room {
            Some(_) => CHUNK_BYTES_MAX,
            None => ANSWER_FREE_BYTES.saturating_sub(self.bytes.len()),
        }
    }
}

impl AnswerBuffer {
    pub(crate) fn new(limit_bytes: u64, rooms: Arc<Rooms>) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            rooms,
            state: Mutex::default(),
        })
    }

    /// What was written, and the room that it was written in; `None` when it was more than the limit.
    pub(crate) fn take(&self) -> Option<(Bytes, Option<Room>)> {
        let written = std::mem::take(&mut *self.state.lock());
        (!written.is_over).then(|| (written.bytes.into(), written.room))
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if (state.bytes.len() + bytes.len()) as u64 > self.limit_bytes {
            state.is_over = true;
            return Err(Refused::OverLimit);
        }
        if state.room.is_none() && bytes.len() > state.permit() {
            return Err(Refused::Unasked);
        }
        state.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Waits until something may be written; how much.
    fn poll_permit(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut state = self.state.lock();
        if state.permit() == 0 {
            let asked = state
                .asked
                .get_or_insert_with(|| self.rooms.ask(self.limit_bytes));
            state.room = Some(ready!(Pin::new(asked).poll(cx)));
            state.asked = None;
        }
        Poll::Ready(state.permit())
    }
}

/// Nothing that the guest does can mend it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the answer is larger than its limit")]
    OverLimit,
    /// It wrote more than it was told that it may.
    #[error("the guest wrote more than it may at once")]
    Unasked,
}

impl Sink {
    fn put(&self, bytes: &[u8]) -> Result<(), Refused> {
        match self {
            Self::Log(stream, output) => {
                output.write(*stream, bytes);
                Ok(())
            }
            Self::Answer(buffer) => buffer.write(bytes),
        }
    }
}

impl IsTerminal for Sink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Sink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {
        if let Self::Answer(buffer) = self {
            poll_fn(|cx| buffer.poll_permit(cx)).await;
        }
    }
}

impl OutputStream for Sink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes)
            .map_err(|refused| StreamError::Trap(refused.into()))
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(match self {
            Self::Log(..) => CHUNK_BYTES_MAX,
            Self::Answer(buffer) => buffer.state.lock().permit(),
        })
    }
}

impl AsyncWrite for Sink {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let permit = match &*self {
            Self::Log(..) => bytes.len(),
            Self::Answer(buffer) => ready!(buffer.poll_permit(cx)),
        };
        let bytes = &bytes[..bytes.len().min(permit)];
        let done = self.put(bytes).map(|()| bytes.len());
        Poll::Ready(done.map_err(io::Error::other))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::limits::Limits;
    use std::{pin::pin, task::Waker};

    #[test]
    fn an_answer_ends_at_its_limit() {
        let buffer = AnswerBuffer::new(4, rooms(1 << 30));
        assert!(buffer.write(b"abcd").is_ok());
        assert_eq!(buffer.take().unwrap().0, &b"abcd"[..]);
        assert!(buffer.write(b"abc").is_ok());
        assert_eq!(buffer.write(b"de"), Err(Refused::OverLimit));
        assert!(buffer.take().is_none());
    }

    fn rooms(bytes: u64) -> Arc<Rooms> {
        let limits = Limits {
            bytes_in_flight: bytes,
            ..Limits::default()
        };
        Arc::new(Rooms {
            answers: Answers::new(limits.into(), Arc::default()),
            tenant: "111111111111".parse().unwrap(),
        })
    }

    #[test]
    fn beyond_what_is_free_an_answer_is_written_once_there_is_room() {
        const LIMIT: u64 = 1 << 20;
        let rooms = rooms(LIMIT);
        let mut cx = Context::from_waker(Waker::noop());
        let before = pin!(rooms.ask(LIMIT)).poll(&mut cx);
        let buffer = AnswerBuffer::new(LIMIT, rooms.clone());
        let free = [0; ANSWER_FREE_BYTES];
        assert!(buffer.write(&free[1..]).is_ok());
        assert_eq!(buffer.poll_permit(&mut cx), Poll::Ready(1));
        assert_eq!(buffer.write(b"ab"), Err(Refused::Unasked));
        assert!(buffer.write(b"a").is_ok());
        assert!(buffer.poll_permit(&mut cx).is_pending());
        assert_eq!(buffer.write(b"b"), Err(Refused::Unasked));
        drop(before);
        assert_eq!(buffer.poll_permit(&mut cx), Poll::Ready(CHUNK_BYTES_MAX));
        assert!(buffer.write(&free).is_ok());
        assert_eq!(rooms.answers.held_bytes(), LIMIT);
        let (bytes, room) = buffer.take().unwrap();
        let room = room.unwrap().kept_by(bytes.len());
        assert_eq!(rooms.answers.held_bytes(), 2 * ANSWER_FREE_BYTES as u64);
        drop(room);
        // A guest that ends while it waits leaves the line.
        let before = pin!(rooms.ask(LIMIT)).poll(&mut cx);
        assert!(buffer.write(&free).is_ok());
        assert!(buffer.poll_permit(&mut cx).is_pending());
        drop(buffer);
        drop(before);
        assert_eq!(rooms.answers.held_bytes(), 0);
    }
}
