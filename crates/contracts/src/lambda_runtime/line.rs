//! The state of one line: which event is out, who waits for it, what may come next.
//!
//! Plain data behind a short lock; no IO and no tasks, so every order of requests can be tried in a
//! test. See the diagram in the parent module.

use crate::{event::Answered, pace::Coming};
use bytes::Bytes;
use freehold_domain::{
    answers::{Answers, Room, Whose},
    ids::InvocationId,
    ports::{GuestCall, LinkError, OpenError},
};
use parking_lot::Mutex;
use std::{future::poll_fn, pin::pin, sync::Arc};
use tokio::sync::{Notify, oneshot};

/// Why a request of the guest is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not in this state; the names of the state and of what was asked for.
    State {
        is: &'static str,
        wanted: &'static str,
    },
    /// An answer for an event that is not out: another id, answered twice, or given up.
    RequestId,
}

const NOT_IN_INIT: Refused = Refused::State {
    is: "Ready",
    wanted: "InitError",
};

/// How an opening goes: of the line, or of what follows a restore.
pub(super) type Opened = oneshot::Receiver<Result<(), OpenError>>;

/// A guest's poll: resolves with the next event, or with nothing when a newer poll took its place.
pub(super) type Poll = oneshot::Receiver<GuestCall>;

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    state: Mutex<State>,
    answers: Arc<Answers>,
    /// Told of every poll, of the end, and of what a large answer waits for.
    asked: Notify,
}

#[derive(Debug)]
struct State {
    /// Who waits for the runtime to ask for more.
    opened: Option<oneshot::Sender<Result<(), OpenError>>>,
    halves: Halves,
    closed: bool,
    /// The guest's poll, while it has one open.
    poll: Option<oneshot::Sender<GuestCall>>,
    /// An event that no poll has taken yet.
    offered: Option<GuestCall>,
    /// The event that is out and who waits for its answer.
    out: Option<(InvocationId, oneshot::Sender<Result<Answered, LinkError>>)>,
    /// Whose the latest event is; known from its first one on.
    whose: Option<Whose>,
    /// A large answer is being read.
    reads_large: bool,
}

/// How far a runtime has come that is to be told of a restore.
#[derive(Debug)]
enum Halves {
    /// It is not, or has come up.
    None,
    /// It may ask for a restore where it would ask for its first event.
    First,
    /// It has asked, and waits.
    Between(oneshot::Sender<()>),
    /// It was told.
    Second,
}

impl Line {
    /// A line that has not opened; the receiver hears how that goes. `has_halves`: its runtime may ask
    /// to be told of a restore.
    pub(super) fn new(answers: Arc<Answers>, has_halves: bool) -> (Self, Opened) {
        let (opened, hears) = oneshot::channel();
        let state = State {
            opened: Some(opened),
            halves: match has_halves {
                true => Halves::First,
                false => Halves::None,
            },
            closed: false,
            poll: None,
            offered: None,
            out: None,
            whose: None,
            reads_large: false,
        };
        (
            Self {
                state: Mutex::new(state),
                answers,
                asked: Notify::new(),
            },
            hears,
        )
    }

    /// Whether an event would be taken at once, or refused because the line has closed.
    pub(super) fn asks(&self) -> bool {
        let state = self.state.lock();
        let polls = state.poll.as_ref().is_some_and(|poll| !poll.is_closed());
        state.closed || polls
    }

    /// Resolves when [`Line::asks`].
    pub(super) async fn until_asks(&self) {
        loop {
            let mut asked = pin!(self.asked.notified());
            asked.as_mut().enable();
            if self.asks() {
                return;
            }
            asked.await;
        }
    }

    /// Hands an event over: to the open poll, or to the next one.
    ///
    /// Errors: [`LinkError::Closed`] after the end, [`LinkError::Broken`] while another is out.
    pub(super) fn offer(self: &Arc<Self>, call: GuestCall) -> Result<Exchange, LinkError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LinkError::Closed);
        }
        if state.out.is_some() {
            return Err(LinkError::Broken {
                reason: "it was handed a second event".into(),
            });
        }
        let (id, (answer, hears)) = (call.id, oneshot::channel());
        state.out = Some((id, answer));
        state.whose = Some(call.whose());
        state.offered = match state.poll.take() {
            // A poll whose connection has gone gives the event back.
            Some(poll) => poll.send(call).err(),
            None => Some(call),
        };
        drop(state);
        Ok(Exchange {
            id,
            hears,
            line: self.clone(),
        })
    }

    /// The guest asks for an event. The first poll opens the line.
    pub(super) fn next(&self) -> Result<Poll, Refused> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::State {
                is: "Closed",
                wanted: "Ready",
            });
        }
        if matches!(state.halves, Halves::Between(_)) {
            return Err(Refused::State {
                is: "RestoreReady",
                wanted: "Ready",
            });
        }
        let (poll, event) = oneshot::channel();
        if let Some(call) = state.offered.take() {
            if poll.send(call).is_err() {
                unreachable!("the receiver is held two lines above");
            }
        } else if state.out.is_some() {
            return Err(Refused::State {
                is: "Running",
                wanted: "Ready",
            });
        } else {
            // A client that reconnects polls again; the older poll's connection hears a 403.
            state.poll = Some(poll);
            self.asked.notify_waiters();
        }
        state.halves = Halves::None;
        if let Some(opened) = state.opened.take() {
            let _ = opened.send(Ok(()));
        }
        Ok(event)
    }

    /// The runtime has ended its first half, and asks to be told of a restore. The first poll opens the
    /// line; it resolves when that is the case, or with nothing when a newer poll took its place.
    pub(super) fn restore_next(&self) -> Result<oneshot::Receiver<()>, Refused> {
        let mut state = self.state.lock();
        let (poll, restored) = oneshot::channel();
        match state.halves {
            Halves::First => {
                if let Some(opened) = state.opened.take() {
                    let _ = opened.send(Ok(()));
                }
                state.halves = Halves::Between(poll);
            }
            // As with events, a client that reconnects polls again; also one that was told meanwhile.
            Halves::Between(_) => state.halves = Halves::Between(poll),
            Halves::Second => {
                let _ = poll.send(());
            }
            Halves::None => {
                return Err(Refused::State {
                    is: state.name(),
                    wanted: "RestoreReady",
                });
            }
        }
        Ok(restored)
    }

    /// Tells a runtime that waits for it of a restore; the receiver hears how its second half goes.
    /// Nothing where it asks for events already: it has no second half.
    ///
    /// Errors: [`OpenError::Broken`] after the end.
    pub(super) fn restored(&self) -> Result<Option<Opened>, OpenError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(OpenError::Broken {
                reason: "the runtime's line has closed".into(),
            });
        }
        match std::mem::replace(&mut state.halves, Halves::Second) {
            Halves::Between(poll) => {
                let (opened, hears) = oneshot::channel();
                state.opened = Some(opened);
                // One whose connection has gone polls again.
                let _ = poll.send(());
                Ok(Some(hears))
            }
            as_it_was => {
                state.halves = as_it_was;
                Ok(None)
            }
        }
    }

    /// Whether a report of a failed restore would be taken: asked before its body is read.
    pub(super) fn restores(&self) -> Result<(), Refused> {
        let state = self.state.lock();
        match (&state.halves, &state.opened) {
            (Halves::Second, Some(_)) => Ok(()),
            _ => Err(Refused::State {
                is: state.name(),
                wanted: "RestoreError",
            }),
        }
    }

    /// Whether an answer to `id` would be taken: asked before its body is read.
    pub(super) fn expects(&self, id: &str) -> Result<(), Refused> {
        self.state.lock().expects(id).map(|_| ())
    }

    /// The guest answers. Exactly one answer per event is taken.
    pub(super) fn answer(&self, id: &str, answered: Answered) -> Result<(), Refused> {
        let mut state = self.state.lock();
        state.expects(id)?;
        let (_, hears) = state.out.take().ok_or(Refused::RequestId)?;
        let reads_large = state.reads_large;
        drop(state);
        if reads_large {
            self.asked.notify_waiters();
        }
        hears.send(Ok(answered)).map_err(|_| Refused::RequestId)
    }

    /// Ends the wait for an answer to `id`, of which there will be none.
    pub(super) fn fail(&self, id: &str, why: LinkError) -> Refused {
        let mut state = self.state.lock();
        if let Err(refused) = state.expects(id) {
            return refused;
        }
        if let Some((_, hears)) = state.out.take() {
            let _ = hears.send(Err(why));
        }
        Refused::RequestId
    }

    /// Room for a large answer to `id`, of which no more is read before it is given. One at a time:
    /// a guest that sends several has room for one of them.
    ///
    /// Errors: once nobody waits for an answer to `id`.
    pub(super) async fn room(&self, id: &str, bytes: u64) -> Result<Large<'_>, Refused> {
        let (mut large, whose) = loop {
            let mut asked = pin!(self.asked.notified());
            asked.as_mut().enable();
            {
                let mut state = self.state.lock();
                state.expects(id)?;
                let whose = state.whose.clone().filter(|_| !state.reads_large);
                if let Some(whose) = whose {
                    state.reads_large = true;
                    let (line, coming) = (self, None);
                    break (Large { line, coming }, whose);
                }
            }
            asked.await;
        };
        tokio::select! {
            biased;
            room = self.answers.ask(whose, bytes) => large.coming = Some(Coming::begin(room)),
            refused = self.until_over(id) => return Err(refused),
        }
        Ok(large)
    }

    /// Whether a large answer waits for room, or is being read.
    pub(super) fn reads_large(&self) -> bool {
        self.state.lock().reads_large
    }

    /// Resolves once nobody waits for an answer to `id`.
    pub(super) async fn until_over(&self, id: &str) -> Refused {
        loop {
            let mut asked = pin!(self.asked.notified());
            asked.as_mut().enable();
            if let Err(refused) = self.expects(id) {
                return refused;
            }
            asked.await;
        }
    }

    /// Whether a report of a failed init would be taken: asked before its body is read.
    pub(super) fn opens(&self) -> Result<(), Refused> {
        match self.state.lock().opened {
            Some(_) => Ok(()),
            None => Err(NOT_IN_INIT),
        }
    }

    /// The runtime reports that init failed, or what follows a restore.
    pub(super) fn init_failed(&self, error_type: String, body: Bytes) -> Result<(), Refused> {
        let mut state = self.state.lock();
        let opened = state.opened.take().ok_or(NOT_IN_INIT)?;
        state.closed = true;
        let _ = opened.send(Err(OpenError::Init { error_type, body }));
        Ok(())
    }

    /// Ends the line: polls hear a refusal, whoever waits for an answer hears that it closed.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        (state.closed, state.halves) = (true, Halves::None);
        (state.poll, state.offered, state.out, state.opened) = (None, None, None, None);
        self.asked.notify_waiters();
    }
}

/// A large answer that is being read, with its room. Dropping it lets the next one be read.
#[derive(Debug)]
pub(super) struct Large<'a> {
    line: &'a Line,
    coming: Option<Coming>,
}

impl Large<'_> {
    /// What an answer that has come to so many bytes keeps of the room.
    pub(super) fn kept_by(mut self, bytes: usize) -> Option<Room> {
        self.coming.take()?.into_room().kept_by(bytes)
    }

    /// Resolves once so few bytes have come that it is in the way of others.
    pub(super) async fn too_slow(&mut self, came_bytes: u64) -> LinkError {
        match &mut self.coming {
            Some(coming) => poll_fn(|cx| coming.poll_too_slow(cx, came_bytes)).await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Large<'_> {
    fn drop(&mut self) {
        self.line.state.lock().reads_large = false;
        self.line.asked.notify_waiters();
    }
}

impl State {
    /// How far its runtime has come, as refusals call it.
    fn name(&self) -> &'static str {
        match self.halves {
            _ if self.closed => "Closed",
            Halves::Between(_) => "RestoreReady",
            _ if self.opened.is_some() => "Started",
            _ if self.out.is_some() => "Running",
            _ => "Ready",
        }
    }

    fn expects(&self, id: &str) -> Result<InvocationId, Refused> {
        match &self.out {
            // Not handed out yet is not out, whatever id the guest guesses.
            Some((out, _)) if self.offered.is_none() && id.parse() == Ok(*out) => Ok(*out),
            Some(_) => Err(Refused::RequestId),
            None if self.opened.is_some() => Err(Refused::State {
                is: "Started",
                wanted: "InvocationResponse",
            }),
            None => Err(Refused::RequestId),
        }
    }
}

/// An event that is out. Dropping it closes the exchange: a later answer is refused.
#[derive(Debug)]
pub(super) struct Exchange {
    id: InvocationId,
    hears: oneshot::Receiver<Result<Answered, LinkError>>,
    line: Arc<Line>,
}

impl Exchange {
    /// Resolves with the answer.
    pub(super) async fn answered(mut self) -> Result<Answered, LinkError> {
        (&mut self.hears).await.unwrap_or(Err(LinkError::Closed))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.line.state.lock();
        if state.out.as_ref().is_some_and(|(id, _)| *id == self.id) {
            (state.out, state.offered) = (None, None);
            drop(state);
            self.line.asked.notify_waiters();
        }
    }
}
