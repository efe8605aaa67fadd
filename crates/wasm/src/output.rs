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
    sync::Arc,
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

/// Where the answer to one event finds room, and how it comes.
pub(crate) struct Rooms {
    answers: Arc<Answers>,
    whose: Whose,
    coming: Mutex<Coming>,
    /// Told when room is asked for.
    told: Notify,
}

#[derive(Default)]
struct Coming {
    /// The room that was asked for, until whoever reads the answer has it.
    asked: Option<Asked>,
    /// Since when there was room, as far as anybody has looked.
    since: Option<Instant>,
    came_bytes: u64,
    is_over: bool,
}

impl Rooms {
    pub(crate) fn new(answers: Arc<Answers>, whose: Whose) -> Arc<Self> {
        Arc::new(Self {
            answers,
            whose,
            coming: Mutex::default(),
            told: Notify::new(),
        })
    }

    /// Stands in line for it, or goes on to; at most one room for one event.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>, bytes: u64) -> Poll<Room> {
        let mut coming = self.coming.lock();
        let asked = coming.asked.get_or_insert_with(|| {
            self.told.notify_one();
            self.answers.ask(self.whose.clone(), bytes)
        });
        let room = ready!(Pin::new(asked).poll(cx));
        coming.asked = None;
        coming.since.get_or_insert_with(Instant::now);
        Poll::Ready(room)
    }

    /// So many bytes of the answer have come.
    pub(crate) fn came(&self, bytes: usize) {
        self.coming.lock().came_bytes = bytes as u64;
    }

    /// Nothing more of it comes.
    pub(crate) fn end(&self) {
        self.coming.lock().is_over = true;
    }

    /// Resolves once a guest that runs on after its answer holds room that others have waited for, longer
    /// than an answer may take that does not come.
    pub(crate) async fn outstays(&self) {
        let since = Instant::now();
        loop {
            sleep(COMING_LOOK_EVERY).await;
            if self
                .answers
                .comes_too_slowly(&self.whose, since.elapsed(), 0)
            {
                return;
            }
        }
    }

    /// Resolves once so few bytes have come since there was room, whether or not the guest has looked,
    /// that it is in the way of others.
    pub(crate) async fn too_slow(&self) -> LinkError {
        self.told.notified().await;
        loop {
            if let Some((came_bytes, since)) = self.since() {
                let within = since.elapsed();
                if (self.answers).comes_too_slowly(&self.whose, within, came_bytes) {
                    return LinkError::TooSlow { came_bytes, within };
                }
            }
            sleep(COMING_LOOK_EVERY).await;
        }
    }

    /// What has come since when, of an answer that has room and still comes.
    fn since(&self) -> Option<(u64, Instant)> {
        let mut coming = self.coming.lock();
        if coming.asked.as_ref().is_some_and(Asked::is_given) {
            coming.since.get_or_insert_with(Instant::now);
        }
        let since = coming.since.filter(|_| !coming.is_over);
        since.map(|since| (coming.came_bytes, since))
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
            self.rooms.came(state.bytes.len());
            state.room = Some(ready!(self.rooms.poll_room(cx, self.limit_bytes)));
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

    /// It is given its room while the guest looks elsewhere, and while it writes.
    #[tokio::test(start_paused = true)]
    async fn what_is_written_slowly_is_in_the_way_of_who_waits() {
        const LIMIT: u64 = 1 << 20;
        for looks in [false, true] {
            let rooms = rooms(2 * LIMIT);
            let before = ask(&rooms, LIMIT).await;
            let buffer = AnswerBuffer::new(LIMIT, rooms.clone());
            assert!(buffer.write(&[0; ANSWER_FREE_BYTES]).is_ok());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(buffer.poll_permit(&mut cx).is_pending());
            let mut slow = pin!(rooms.too_slow());
            let mut is_slow_within = async |seconds| {
                let within = std::time::Duration::from_secs(seconds);
                tokio::time::timeout(within, &mut slow).await
            };
            drop(before);
            let mut came = ANSWER_FREE_BYTES as u64;
            if looks {
                assert_eq!(poll_fn(|cx| buffer.poll_permit(cx)).await, CHUNK_BYTES_MAX);
                assert!(buffer.write(b"more").is_ok());
                came += 4;
            }
            assert!(is_slow_within(300).await.is_err(), "nobody waits");
            let mut waits = pin!(ask(&rooms, LIMIT));
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            assert!(matches!(
                is_slow_within(6).await,
                Ok(LinkError::TooSlow { came_bytes, .. }) if came_bytes == came
            ));
        }
    }

    /// A component may run on after its answer: while nobody waits.
    #[tokio::test(start_paused = true)]
    async fn what_has_come_whole_is_not_slow_and_outstays() {
        const LIMIT: u64 = 1 << 20;
        let rooms = rooms(2 * LIMIT);
        let room = poll_fn(|cx| rooms.poll_room(cx, LIMIT)).await;
        let mut waits = pin!(ask(&rooms, LIMIT));
        assert!(
            waits
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        rooms.end();
        let within = std::time::Duration::from_secs;
        let slow = tokio::time::timeout(within(3600), rooms.too_slow()).await;
        assert!(slow.is_err(), "{slow:?}");
        let outstays = tokio::time::timeout(within(36), rooms.outstays()).await;
        assert!(outstays.is_ok());
        drop(room);
        let _given = waits.await;
        let outstays = tokio::time::timeout(within(3600), rooms.outstays()).await;
        assert!(outstays.is_err(), "nobody waits");
    }

    fn ask(rooms: &Rooms, bytes: u64) -> Asked {
        rooms.answers.ask(rooms.whose.clone(), bytes)
    }

    #[test]
    fn beyond_what_is_free_an_answer_is_written_once_there_is_room() {
        const LIMIT: u64 = 1 << 20;
        let rooms = rooms(LIMIT);
        let mut cx = Context::from_waker(Waker::noop());
        let before = pin!(ask(&rooms, LIMIT)).poll(&mut cx);
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
        let before = pin!(ask(&rooms, LIMIT)).poll(&mut cx);
        assert!(buffer.write(&free).is_ok());
        assert!(buffer.poll_permit(&mut cx).is_pending());
        drop((buffer, rooms.coming.lock().asked.take()));
        drop(before);
        assert_eq!(rooms.answers.held_bytes(), 0);
    }
}
