//! Where a guest writes: its log, or the answer.
//!
//! Beyond what is free a guest may write once there is room for all that its answer may be. Until
//! then it waits, which is its function's time.

use crate::limits::CHUNK_BYTES_MAX;
use bytes::Bytes;
use freehold_domain::{
    answers::{ANSWER_FREE_BYTES, Answers, Asked, COMING_LOOK_EVERY, Room, Whose},
    ports::{GuestOutput, GuestStream, LinkError},
};
use parking_lot::Mutex;
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::AsyncWrite,
    sync::Notify,
    time::{Instant, sleep},
};
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

/// Where the answer to one event finds room.
pub(crate) struct Rooms {
    answers: Arc<Answers>,
    whose: Whose,
    /// When there was room for it.
    given: OnceLock<Instant>,
    told: Notify,
    came_bytes: AtomicU64,
}

impl Rooms {
    pub(crate) fn new(answers: Arc<Answers>, whose: Whose) -> Arc<Self> {
        Arc::new(Self {
            answers,
            whose,
            given: OnceLock::new(),
            told: Notify::new(),
            came_bytes: AtomicU64::new(0),
        })
    }

    /// Stands in line for it.
    pub(crate) fn ask(&self, bytes: u64) -> Asked {
        self.answers.ask(self.whose.clone(), bytes)
    }

    /// The room was given.
    pub(crate) fn begin(&self) {
        let _ = self.given.set(Instant::now());
        self.told.notify_one();
    }

    /// So many bytes of the answer have come.
    pub(crate) fn came(&self, bytes: usize) {
        self.came_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Resolves once so few bytes have come since there was room that it is in the way of others.
    pub(crate) async fn too_slow(&self) -> LinkError {
        self.told.notified().await;
        let since = self.given.get().copied().unwrap_or_else(Instant::now);
        loop {
            sleep(COMING_LOOK_EVERY).await;
            let came_bytes = self.came_bytes.load(Ordering::Relaxed);
            let within = since.elapsed();
            if self.answers.comes_too_slowly(within, came_bytes) {
                return LinkError::TooSlow { came_bytes, within };
            }
        }
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
        if state.room.is_some() {
            self.rooms.came(state.bytes.len());
        }
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
            self.rooms.begin();
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
        let answers = Answers::new(limits.into(), Arc::default());
        Rooms::new(answers, Whose::signed(&"111111111111".parse().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_slowly_is_in_the_way_of_who_waits() {
        const LIMIT: u64 = 1 << 20;
        let rooms = rooms(2 * LIMIT);
        let buffer = AnswerBuffer::new(LIMIT, rooms.clone());
        assert!(buffer.write(&[0; ANSWER_FREE_BYTES]).is_ok());
        assert_eq!(poll_fn(|cx| buffer.poll_permit(cx)).await, CHUNK_BYTES_MAX);
        assert!(buffer.write(b"more").is_ok());
        let slow = |seconds| {
            tokio::time::timeout(std::time::Duration::from_secs(seconds), rooms.too_slow())
        };
        assert!(slow(300).await.is_err(), "nobody waits");
        rooms.begin();
        let mut waits = pin!(rooms.ask(LIMIT));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        let came = ANSWER_FREE_BYTES as u64 + 4;
        assert!(matches!(
            slow(10).await,
            Ok(LinkError::TooSlow { came_bytes, .. }) if came_bytes == came
        ));
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
