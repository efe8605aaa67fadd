//! How a large answer comes, for which there is room.

use freehold_domain::{
    answers::{COMING_LOOK_EVERY, Room},
    ports::LinkError,
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep};

/// The room of an answer that is being read, and since when.
#[derive(Debug)]
pub(crate) struct Coming {
    room: Room,
    since: Instant,
    look: Pin<Box<Sleep>>,
}

impl Coming {
    /// The room was given.
    pub(crate) fn begin(room: Room) -> Self {
        Self {
            room,
            since: Instant::now(),
            look: Box::pin(sleep(COMING_LOOK_EVERY)),
        }
    }

    /// Resolves once so few bytes have come that it is in the way of others.
    pub(crate) fn poll_too_slow(
        &mut self,
        cx: &mut Context<'_>,
        came_bytes: u64,
    ) -> Poll<LinkError> {
        loop {
            ready!(self.look.as_mut().poll(cx));
            let now = Instant::now();
            let within = now.duration_since(self.since);
            if self.room.comes_too_slowly(within, came_bytes) {
                return Poll::Ready(LinkError::TooSlow { came_bytes, within });
            }
            self.look.as_mut().reset(now + COMING_LOOK_EVERY);
        }
    }

    /// It has come.
    pub(crate) fn into_room(self) -> Room {
        self.room
    }
}
