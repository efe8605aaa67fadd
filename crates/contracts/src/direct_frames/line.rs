//! The state of one line: what is being sent, what has been read, which event is out.
//!
//! All of it lies behind one short lock and is kept between polls, so that a future may be dropped
//! anywhere: half a frame that was sent is finished by whoever comes next, half a frame that was
//! read is read on. Refuses an answer for an event that nobody gave it, and anything unasked.
//!
//! A large answer is read on once there is room for all of it: as much as its frame announces, or as an
//! answer may have where pieces follow. Until then no more of it is here than what is free and a read.
//! What nobody waits for any more is dropped as it comes; what comes so slowly that others wait for its
//! room ends the line.
//!
//! The socket is watched for reading alone. Watched for writing as well, it would wake this thread
//! each time the guest has read: once more for every event. Only a guest that does not take all of
//! an event at once is waited for, through a second descriptor and as long as that lasts.

use super::codec::{Frame, FrameLimits, Id, Inbox};
use crate::{event::Answered, lambda_runtime::RuntimeLimits, pace::Coming};
use bytes::{Buf, Bytes, BytesMut};
use freehold_domain::{
    answers::{ANSWER_FREE_BYTES, Answers, Asked, Whose},
    live::Live,
    ports::LinkError,
};
use parking_lot::Mutex;
use rustix::io::Errno;
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::unix::pipe,
};

/// Events whose callers have gone and whose answers have not come: a runtime that owes more is
/// broken. The engine ends an instance with its first one, as a rule.
const GIVEN_UP_MAX: usize = 8;

/// Pieces of one streamed answer: as many writes, of six bytes each where the largest comes whole. A
/// piece may be empty, and is work of the server's all the same.
const PIECES_MAX: usize = 1 << 20;
/// Pieces of compiled code: twice the modules that the bootstrap hands over.
const CODE_PIECES_MAX: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Line(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The socket. Of tokio's types the one that watches for reading alone.
    stream: pipe::Receiver,
    /// The socket again, watched for writing: while it is full.
    full: Option<pipe::Sender>,
    limits: Live<RuntimeLimits>,
    answers: Arc<Answers>,
    /// Whose the latest event is; known from its first one on.
    whose: Option<Whose>,
    /// The room that was asked for, until it is given.
    asked: Option<Asked>,
    /// The large answer that is being read.
    large: Option<Coming>,
    inbox: Inbox,
    outbox: VecDeque<Bytes>,
    /// The event whose answer is waited for.
    out: Option<Id>,
    /// Events whose answers are dropped when they come, oldest first.
    given_up: VecDeque<Id>,
    /// A streamed answer, as far as it has come.
    streamed: Option<Streamed>,
    /// Compiled code, as far as it has come: where it was asked for.
    code: Option<Handed>,
    /// The runtime ends after what it has said.
    last: bool,
    /// Why nothing more is said or heard.
    ended: Option<LinkError>,
}

#[derive(Debug)]
struct Streamed {
    id: Id,
    content_type: Option<String>,
    body: BytesMut,
    too_large: bool,
    pieces: usize,
}

#[derive(Debug)]
struct Handed {
    code: BytesMut,
    /// How many bytes more may come.
    left_bytes: u64,
    pieces: usize,
}

impl Line {
    /// The line over this socket, which must not block.
    pub(super) fn new(
        socket: OwnedFd,
        limits: Live<RuntimeLimits>,
        answers: Arc<Answers>,
    ) -> io::Result<Self> {
        Ok(Self(Mutex::new(State {
            stream: pipe::Receiver::from_file_unchecked(File::from(socket))?,
            full: None,
            limits,
            answers,
            whose: None,
            asked: None,
            large: None,
            inbox: Inbox::default(),
            outbox: VecDeque::new(),
            out: None,
            given_up: VecDeque::new(),
            streamed: None,
            code: None,
            last: false,
            ended: None,
        })))
    }

    /// Puts a frame in line; whoever waits for the answer sends it.
    pub(super) fn say(&self, frame: Bytes) {
        self.0.lock().outbox.push_back(frame);
    }

    /// From here on the guest may hand over what it has compiled, so many bytes at the most.
    pub(super) fn ask_code(&self, bytes: u64) {
        self.0.lock().code = Some(Handed {
            code: BytesMut::new(),
            left_bytes: bytes,
            pieces: 0,
        });
    }

    /// From here on it may not; what it has handed over.
    pub(super) fn end_code(&self) -> Option<Bytes> {
        let mut state = self.0.lock();
        let Handed { code, .. } = state.code.take()?;
        // Whoever waits for its first event holds no buffer of that size.
        state.inbox.rest();
        (!code.is_empty()).then(|| code.freeze())
    }

    /// The guest's next frame, after everything that is to be said was sent.
    pub(super) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkError>> {
        self.0.lock().poll_frame(cx)
    }

    /// Whether an answer waits for room.
    pub(super) fn awaits_room(&self) -> bool {
        self.0.lock().asked.is_some()
    }

    /// Whether an event would be begun at once, or refused because the line has ended.
    pub(super) fn takes_events(&self) -> bool {
        self.0.lock().takes_events()
    }

    /// Resolves when [`Line::takes_events`].
    pub(super) fn poll_takes_events(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        while !state.takes_events() {
            if let Ok(frame) = ready!(state.poll_frame(cx)) {
                // What it says without being asked has ended the line, which is a reason to go on.
                let _ = state.accept(frame);
            }
        }
        Poll::Ready(())
    }

    /// Hands an event over, to whose answer this applies.
    ///
    /// Errors: [`LinkError::Closed`] after the end, [`LinkError::Broken`] while another is out or
    /// when the guest has said something since.
    pub(super) fn offer(
        &self,
        whose: Whose,
        id: Id,
        head: Bytes,
        body: Bytes,
    ) -> Result<Waiting<'_>, LinkError> {
        let mut state = self.0.lock();
        if let Some(ended) = &state.ended {
            return Err(ended.clone());
        }
        if state.out.is_some() {
            return Err(broken("it was handed a second event"));
        }
        if state.given_up.len() >= GIVEN_UP_MAX {
            return Err(state.end(broken(&format!(
                "it has not answered {GIVEN_UP_MAX} events"
            ))));
        }
        state.out = Some(id);
        state.whose = Some(whose);
        state.outbox.push_back(head);
        if !body.is_empty() {
            state.outbox.push_back(body);
        }
        Ok(Waiting { id, line: self })
    }
}

/// An event that is out. Dropping it closes the exchange: a later answer is dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    id: Id,
    line: &'a Line,
}

impl Waiting<'_> {
    /// The answer.
    pub(super) fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<Result<Answered, LinkError>> {
        let mut state = self.line.0.lock();
        loop {
            let frame = ready!(state.poll_frame(cx))?;
            if let Some(answered) = state.accept(frame)? {
                state.inbox.rest();
                return Poll::Ready(Ok(answered));
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.line.0.lock();
        if state.out == Some(self.id) {
            state.out = None;
            state.given_up.push_back(self.id);
            state.let_go();
        }
    }
}

fn broken(reason: &str) -> LinkError {
    LinkError::Broken {
        reason: reason.to_owned(),
    }
}

impl State {
    fn takes_events(&self) -> bool {
        self.ended.is_some() || (self.given_up.is_empty() && !self.last)
    }

    fn end(&mut self, why: LinkError) -> LinkError {
        self.outbox.clear();
        (self.asked, self.large, self.inbox) = (None, None, Inbox::default());
        self.ended.get_or_insert(why).clone()
    }

    /// Sends what is to be sent, then reads until a frame is there. Both go on while the other
    /// has to wait: a guest that answers while it is being told more must not stop both.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkError>> {
        if let Some(ended) = &self.ended {
            return Poll::Ready(Err(ended.clone()));
        }
        // A guest that has closed its end may have answered before: that is read first, and then
        // its end.
        if let Poll::Ready(Err(_)) = self.poll_send(cx) {
            self.outbox.clear();
        }
        loop {
            match self.inbox.next(&self.frame_limits()) {
                Ok(Some(Frame::Code(piece))) => {
                    let Some(handed) = &mut self.code else {
                        return Poll::Ready(Err(self.unasked(&Frame::Code(piece))));
                    };
                    handed.left_bytes -= piece.len() as u64;
                    handed.pieces += 1;
                    handed.code.extend_from_slice(&piece);
                    if handed.pieces > CODE_PIECES_MAX {
                        let reason = "it handed its code over in too many pieces";
                        return Poll::Ready(Err(self.end(broken(reason))));
                    }
                    continue;
                }
                Ok(Some(frame)) => return Poll::Ready(Ok(frame)),
                Ok(None) => {}
                Err(reason) => return Poll::Ready(Err(self.end(broken(&reason)))),
            }
            ready!(self.poll_room(cx));
            self.inbox.make_room();
            let read = pin!(self.stream.read_buf(&mut self.inbox.bytes)).poll(cx);
            if read.is_pending() {
                let slow = ready!(self.poll_too_slow(cx));
                return Poll::Ready(Err(self.end(slow)));
            }
            match ready!(read) {
                Ok(0) => return Poll::Ready(Err(self.end(LinkError::Closed))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A reset is the end of a guest with unread frames.
                Err(_) => return Poll::Ready(Err(self.end(LinkError::Closed))),
            }
        }
    }

    /// Resolves once the large answer that is being read is in the way of others.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<LinkError> {
        let streamed = self.streamed.as_ref().map_or(0, |s| s.body.len());
        let came_bytes = (streamed + self.inbox.bytes.len()) as u64;
        match &mut self.large {
            Some(large) => large.poll_too_slow(cx, came_bytes),
            None => Poll::Pending,
        }
    }

    /// What may come now. Of an answer that nobody waits for nothing is kept.
    fn frame_limits(&self) -> FrameLimits {
        let limits = self.limits.now();
        let answer_bytes = self.out.map_or(0, |_| limits.answer_bytes);
        let here = match &self.streamed {
            Some(streamed) if streamed.too_large => answer_bytes,
            Some(streamed) => streamed.body.len() as u64,
            None => 0,
        };
        FrameLimits {
            answer_bytes,
            piece_bytes: answer_bytes.saturating_sub(here),
            error_bytes: if self.given_up.is_empty() || self.out.is_some() {
                limits.error_bytes
            } else {
                0
            },
            code_bytes: self.code.as_ref().map_or(0, |handed| handed.left_bytes),
        }
    }

    /// Waits until more may be read: of a large answer once there is room for all of it.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let coming = self.inbox.coming();
        let streamed = self.streamed.as_ref().map(|streamed| streamed.body.len());
        if coming.bytes + streamed.unwrap_or(0) <= ANSWER_FREE_BYTES || self.large.is_some() {
            return Poll::Ready(());
        }
        // Before its first event a runtime has nothing to answer; what an init may say is little.
        let Some(whose) = &self.whose else {
            return Poll::Ready(());
        };
        let bytes = match coming.more || streamed.is_some() {
            true => self.limits.now().answer_bytes,
            false => coming.bytes as u64,
        };
        let asked = (self.asked).get_or_insert_with(|| self.answers.ask(whose.clone(), bytes));
        self.large = Some(Coming::begin(ready!(Pin::new(asked).poll(cx))));
        self.asked = None;
        Poll::Ready(())
    }

    /// Nobody waits for an answer any more: what has come of it is dropped, as the rest is when it
    /// comes, and its room is given back.
    fn let_go(&mut self) {
        self.asked = None;
        if let Some(streamed) = &mut self.streamed {
            (streamed.too_large, streamed.body) = (true, BytesMut::new());
        }
        if self.large.take().is_some() {
            // Had it come whole, somebody would have heard it.
            let _ = self.inbox.next(&self.frame_limits());
            self.inbox.rest();
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            for (slice, bytes) in slices.iter_mut().zip(&self.outbox) {
                *slice = IoSlice::new(bytes);
            }
            let count = self.outbox.len().min(slices.len());
            let mut sent = match &mut self.full {
                Some(full) => ready!(Pin::new(full).poll_write_vectored(cx, &slices[..count]))?,
                None => match rustix::io::writev(&self.stream, &slices[..count]) {
                    Ok(sent) => sent,
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => {
                        let again = self.stream.as_fd().try_clone_to_owned()?;
                        self.full = Some(pipe::Sender::from_file_unchecked(again.into())?);
                        continue;
                    }
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
            };
            while let Some(first) = self.outbox.front_mut() {
                if sent < first.len() {
                    first.advance(sent);
                    break;
                }
                sent -= first.len();
                self.outbox.pop_front();
            }
        }
        self.full = None;
        Poll::Ready(Ok(()))
    }

    /// What a frame means while an event is, or was, out: the answer that somebody waits for,
    /// nothing yet, or the end of the line.
    fn accept(&mut self, frame: Frame) -> Result<Option<Answered>, LinkError> {
        let (id, answered, last) = match frame {
            Frame::Answer {
                id,
                content_type,
                body,
                more: true,
                ..
            } => return self.begin_streamed(id, content_type, BytesMut::from(body), false),
            Frame::TooLarge { id, more: true, .. } => {
                return self.begin_streamed(id, None, BytesMut::new(), true);
            }
            Frame::Piece(_) | Frame::PieceTooLarge => return self.add(frame),
            Frame::End { last } => match self.streamed.take() {
                None => return Err(self.unasked(&frame)),
                Some(streamed) => (streamed.id, self.finish(streamed), last),
            },
            Frame::Answer {
                id,
                content_type,
                body,
                last,
                ..
            } => (id, Answered::response(content_type, body), last),
            Frame::Error {
                id,
                error_type,
                body,
                last,
            } => {
                // A streamed answer that fails half way is an error as a whole.
                if self.streamed.as_ref().is_some_and(|s| s.id == id) {
                    self.streamed = None;
                }
                (id, Answered::error(error_type, body), last)
            }
            Frame::TooLarge { id, last, .. } => (id, self.too_large(), last),
            other => return Err(self.unasked(&other)),
        };
        if self.streamed.is_some() {
            return Err(self.end(broken("it answered in the middle of an answer")));
        }
        self.last |= last;
        let room = self.large.take().map(Coming::into_room);
        if self.given_up.front() == Some(&id) {
            self.given_up.pop_front();
            self.inbox.rest();
            return Ok(None);
        }
        if self.out != Some(id) {
            return Err(self.end(broken("it answered for an event that is not out")));
        }
        self.out = None;
        // Whatever follows came without an event.
        if !self.inbox.is_empty() {
            let reason = "it went on speaking after its answer";
            self.end(broken(reason));
        }
        Ok(Some(answered.held_in(room)))
    }

    fn begin_streamed(
        &mut self,
        id: Id,
        content_type: Option<String>,
        body: BytesMut,
        too_large: bool,
    ) -> Result<Option<Answered>, LinkError> {
        let is_out = self.out == Some(id) || self.given_up.front() == Some(&id);
        if self.streamed.is_some() || !is_out {
            return Err(self.end(broken("it answered for an event that is not out")));
        }
        self.streamed = Some(Streamed {
            id,
            content_type,
            body,
            too_large,
            pieces: 0,
        });
        Ok(None)
    }

    fn add(&mut self, frame: Frame) -> Result<Option<Answered>, LinkError> {
        let limit = self.limits.now().answer_bytes;
        let Some(streamed) = &mut self.streamed else {
            return Err(self.unasked(&frame));
        };
        streamed.pieces += 1;
        if streamed.pieces > PIECES_MAX {
            return Err(self.end(broken("it answered in too many pieces")));
        }
        match frame {
            Frame::Piece(piece)
                if !streamed.too_large && (streamed.body.len() + piece.len()) as u64 <= limit =>
            {
                streamed.body.extend_from_slice(&piece);
            }
            _ => {
                (streamed.too_large, streamed.body) = (true, BytesMut::new());
                self.large = None;
            }
        }
        Ok(None)
    }

    fn finish(&self, streamed: Streamed) -> Answered {
        if streamed.too_large {
            return self.too_large();
        }
        Answered::response(streamed.content_type, streamed.body.freeze())
    }

    /// An answer over the limit is the function's error; the instance goes on.
    fn too_large(&self) -> Answered {
        Answered::too_large(self.limits.now().answer_bytes)
    }

    fn unasked(&mut self, frame: &Frame) -> LinkError {
        let reason = format!("it said {} where nobody asked for it", frame.name());
        self.end(broken(&reason))
    }
}
