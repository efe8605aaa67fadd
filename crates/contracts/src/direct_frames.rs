//! Direct frames: our own bootstraps over a stream socket that the runtime inherits.
//!
//! The host speaks, the guest answers; neither says anything without being asked:
//!
//! ```text
//!   (booting) ──greet─▶ hello        a pool's: booted, nobody's yet; `rehearse`, `prepare` come here
//!       │ begin                      environment, fresh random state, init
//!       ▼
//!   [code ─▶] ready | init error ─▶ ends
//!       │ event ─▶ answer | error    one at a time; the next event may lie in the socket already
//!       │ try ─▶ answer              an event of ours, in an instance that waits for its first
//!       │ prepare ─▶ prepared | unfit | init error
//!       ▼
//!   (start image) ──resume─▶ ready | init error
//! ```
//!
//! The same events, answers and limits as over the [Runtime API](crate::lambda_runtime), which a
//! runtime without a frames socket speaks still, and one behind an `AWS_LAMBDA_EXEC_WRAPPER`: what
//! the wrapper executes may be anything that knows the public API.
//!
//! What a guest sends is read by whoever waits for it, without a task between, and only while
//! somebody waits: a guest that floods fills its own socket. Nothing here has a deadline but a large answer
//! that is in the way of [others](freehold_domain::answers).

mod codec;
mod line;

pub use codec::FrameLimits;

use crate::{
    event::{Answered, What},
    lambda_runtime::{LambdaRuntime, RuntimeLimits},
};
use bytes::Bytes;
use codec::{Frame, To, Word};
use freehold_domain::{
    BoxFuture,
    answers::Answers,
    body::Body,
    live::Live,
    ports::{
        Booted, COMPILED_CODE_BYTES_MAX, CompiledCode, Contract, GuestAnswer, GuestCall, Link,
        LinkError, OpenError, Opening, Rehearsal, Wires, Wiring,
    },
};
use line::{Line, Waiting};
use parking_lot::Mutex;
use std::{
    future::poll_fn,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

/// What the function's configuration names where another program is to start the runtime.
const WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// The contract of the bootstraps that come with the platform.
#[derive(Debug, Clone)]
pub struct DirectFrames {
    limits: Live<RuntimeLimits>,
    answers: Arc<Answers>,
    public: LambdaRuntime,
}

impl DirectFrames {
    /// A contract with the limits of the Runtime API, as they are when each frame comes in, and this
    /// room for answers.
    pub fn new(limits: impl Into<Live<RuntimeLimits>>, answers: Arc<Answers>) -> Self {
        let limits = limits.into();
        Self {
            public: LambdaRuntime::new(limits.clone(), answers.clone()),
            limits,
            answers,
        }
    }

    fn line(&self, frames: OwnedFd) -> Result<FramesLine, OpenError> {
        let socket = std::os::unix::net::UnixStream::from(frames);
        let (limits, answers) = (self.limits.clone(), self.answers.clone());
        let line = socket
            .set_nonblocking(true)
            .and_then(|()| Line::new(socket.into(), limits, answers));
        let line = line.map_err(|error| OpenError::Broken {
            reason: format!("its frames socket cannot be used: {error}"),
        })?;
        Ok(FramesLine {
            line,
            uses_libraries: AtomicBool::new(false),
            tries: AtomicBool::new(false),
            code: Mutex::new(None),
        })
    }
}

impl Contract for DirectFrames {
    fn wiring(&self) -> Wiring {
        Wiring::Inherited
    }

    fn open(
        &self,
        mut wires: Wires,
        opening: Opening,
    ) -> BoxFuture<'_, Result<Arc<dyn Link>, OpenError>> {
        let is_wrapped = |(name, value): &(String, String)| name == WRAPPER && !value.is_empty();
        let frames = wires
            .frames
            .take()
            .filter(|_| !opening.env.iter().any(is_wrapped));
        match frames {
            None => self.public.open(wires, opening),
            Some(frames) => {
                Box::pin(async move { Box::new(self.line(frames)?).begin(opening).await })
            }
        }
    }

    fn boots_ahead(&self) -> bool {
        true
    }

    fn boot(&self, wires: Wires) -> Option<BoxFuture<'_, Result<Box<dyn Booted>, OpenError>>> {
        let frames = wires.frames?;
        Some(Box::pin(async move {
            let booted = self.line(frames)?;
            booted.line.say(Word::Greet.encode());
            let heard = poll_fn(|cx| booted.line.poll_frame(cx)).await;
            match heard.map_err(broken)? {
                Frame::Hello { version } => check_version(version)?,
                other => return Err(unasked(&other)),
            }
            Ok(Box::new(booted) as Box<dyn Booted>)
        }))
    }

    fn thawed(&self, wires: Wires) -> Option<Box<dyn Booted>> {
        let line = self.line(wires.frames?).ok()?;
        Some(Box::new(line))
    }

    fn has_images(&self) -> bool {
        true
    }
}

fn check_version(version: u16) -> Result<(), OpenError> {
    if version == codec::VERSION {
        return Ok(());
    }
    Err(OpenError::Broken {
        reason: format!("it speaks version {version} of the frames"),
    })
}

fn broken(error: LinkError) -> OpenError {
    let reason = match error {
        LinkError::Broken { reason } => reason,
        other => other.to_string(),
    };
    OpenError::Broken { reason }
}

fn unasked(frame: &Frame) -> OpenError {
    OpenError::Broken {
        reason: format!("it said {} where nobody asked for it", frame.name()),
    }
}

fn init_failed(error_type: Option<String>, body: Bytes) -> OpenError {
    OpenError::Init {
        error_type: error_type.unwrap_or_else(|| "Runtime.Unknown".to_owned()),
        body,
    }
}

/// One instance's line, before and after its init. One event at a time.
struct FramesLine {
    line: Line,
    uses_libraries: AtomicBool,
    tries: AtomicBool,
    code: Mutex<Option<Bytes>>,
}

impl FramesLine {
    /// Waits for the end of an init.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), OpenError>> {
        let heard = ready!(self.line.poll_frame(cx));
        *self.code.lock() = self.line.end_code();
        Poll::Ready(match heard {
            Ok(Frame::Ready {
                version,
                uses_libraries,
                tries,
            }) => {
                self.uses_libraries.store(uses_libraries, Ordering::Relaxed);
                self.tries.store(tries, Ordering::Relaxed);
                check_version(version)
            }
            Ok(Frame::InitError { error_type, body }) => Err(init_failed(error_type, body)),
            Ok(other) => Err(unasked(&other)),
            Err(error) => Err(broken(error)),
        })
    }

    /// Tells it what it is, and waits until it is.
    async fn tell(&self, opening: Opening, again: bool) -> Result<(), OpenError> {
        match &opening.code {
            CompiledCode::Given(code) if !again => {
                if let Some(head) = codec::code_head(code) {
                    self.line.say(head);
                    self.line.say(code.clone());
                }
            }
            CompiledCode::Wanted if !again => self.line.ask_code(COMPILED_CODE_BYTES_MAX),
            _ => {}
        }
        self.line
            .say(codec::opening(&opening.env, &opening.code, again));
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    async fn opened(
        self: Box<Self>,
        opening: Opening,
        again: bool,
    ) -> Result<Arc<dyn Link>, OpenError> {
        self.tell(opening, again).await?;
        Ok(Arc::new(*self) as Arc<dyn Link>)
    }

    /// Hands an event over, and waits for what is answered.
    async fn exchange(&self, to: To, mut call: GuestCall) -> Result<Answered, LinkError> {
        let id = codec::id_of(call.id);
        let body = std::mem::replace(&mut call.body, Body::empty());
        // The pipeline has checked the size; a runtime is given an event as a whole.
        let (body, _) = body
            .collect(u64::MAX)
            .await
            .map_err(|error| LinkError::Broken {
                reason: format!("the event could not be read: {error}"),
            })?;
        let head = codec::event(to, &id, &call, body.len()).ok_or_else(|| LinkError::Broken {
            reason: "the event does not fit into a frame".to_owned(),
        })?;
        let waiting: Waiting<'_> = self.line.offer(call.whose(), id, head, body)?;
        poll_fn(|cx| waiting.poll_answer(cx)).await
    }

    /// Asks for what an image needs. Nobody may be waiting for an answer.
    async fn prepare(&self) -> Result<(), OpenError> {
        self.line.say(Word::Prepare.encode());
        match poll_fn(|cx| self.line.poll_frame(cx))
            .await
            .map_err(broken)?
        {
            Frame::Prepared => Ok(()),
            Frame::InitError { error_type, body } => Err(init_failed(error_type, body)),
            Frame::Unfit { reason } => Err(OpenError::Broken { reason }),
            other => Err(unasked(&other)),
        }
    }
}

impl Booted for FramesLine {
    fn begin(
        self: Box<Self>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Arc<dyn Link>, OpenError>> {
        Box::pin(self.opened(opening, false))
    }

    fn resume(
        self: Box<Self>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Arc<dyn Link>, OpenError>> {
        Box::pin(self.opened(opening, true))
    }

    fn rehearse(&self, how: Rehearsal) -> BoxFuture<'_, Result<Rehearsal, OpenError>> {
        Box::pin(async move {
            self.line.say(Word::Rehearse(how).encode());
            match poll_fn(|cx| self.line.poll_frame(cx))
                .await
                .map_err(broken)?
            {
                Frame::Rehearsed(how) => Ok(how),
                other => Err(unasked(&other)),
            }
        })
    }

    fn prepare_image(&self) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(self.prepare())
    }
}

impl Link for FramesLine {
    fn slots(&self) -> u16 {
        1
    }

    fn answer_waits(&self) -> bool {
        self.line.awaits_room()
    }

    fn uses_libraries(&self) -> bool {
        self.uses_libraries.load(Ordering::Relaxed)
    }

    fn take_code(&self) -> Option<Bytes> {
        self.code.lock().take()
    }

    fn until_ready(&self) -> Option<BoxFuture<'_, ()>> {
        (!self.line.takes_events())
            .then(|| Box::pin(poll_fn(|cx| self.line.poll_takes_events(cx))) as BoxFuture<'_, ()>)
    }

    fn rehearse(&self, call: GuestCall) -> Option<BoxFuture<'_, Result<(), LinkError>>> {
        if !self.tries.load(Ordering::Relaxed) {
            return None;
        }
        Some(Box::pin(async move {
            match self.exchange(To::Runtime, call).await?.what {
                What::Response { .. } => Ok(()),
                What::Error { error_type } => {
                    let error_type = error_type.unwrap_or_default();
                    Err(LinkError::Broken {
                        reason: format!("an event of ours ended in an error {error_type}"),
                    })
                }
            }
        }))
    }

    fn prepare_image(&self) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(self.prepare())
    }

    fn resume(&self, opening: Opening) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(self.tell(opening, true))
    }

    fn handle(&self, call: GuestCall) -> BoxFuture<'_, Result<GuestAnswer, LinkError>> {
        Box::pin(async move { self.exchange(To::Function, call).await.map(Into::into) })
    }
}

#[cfg(test)]
mod tests;
