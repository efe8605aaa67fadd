//! Room in the server's memory for large answers of functions: asked for before they are read.
//!
//! ```text
//!  ask ─▶ [waits] ─▶ room for all of it ─▶ shrinks to what has come ─▶ given back
//!             └── dropped: out of the line
//! ```
//!
//! An answer of up to [`ANSWER_FREE_BYTES`] is free. A larger one is read on only once there is room
//! for all of it, so that two that are half read never wait for each other; until then it stays with
//! the function that sends it, whose time runs on. The room is held until the client has taken the
//! answer, or nobody wants it any more: whoever drops [`Room`] gives it back.
//!
//! Of the node there is as much as `bytes_in_flight`, of one account half of that, or its own limit.
//! What requests hold counts elsewhere: those that run must not keep their own answers out.
//!
//! An account that holds nothing has room for one answer, however large, and however much others hold:
//! who never finishes what was begun keeps nobody else out. So all that is held is the node's room and
//! one answer for each account at the most.
//!
//! Within an account it is first come, first served. Of the other accounts that have room of their own,
//! the one that would hold least goes first; an answer for which the node has none keeps out those alone
//! that would hold more. Nothing here has a deadline: whoever waits has one.

use crate::{
    ids::TenantId, limits::Limits, live::Live, tenant_limits::TenantLimit, tenants::TenantTable,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Answers up to this are free: a socket's buffer takes them at once.
pub const ANSWER_FREE_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub struct Answers {
    limits: Live<Limits>,
    own: Arc<TenantTable>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    held_bytes: u64,
    /// Those that hold something, or wait.
    accounts: HashMap<TenantId, Account>,
    /// How often somebody asked: the next one's place in line.
    asked: u64,
    waited: u64,
}

#[derive(Debug, Default)]
struct Account {
    held_bytes: u64,
    /// By their places. Who has asked and is not here has been given room.
    line: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: u64,
    waker: Option<Waker>,
}

impl Answers {
    /// Room as `limits` say, and what tenants have of their `own`, whenever somebody asks.
    pub fn new(limits: Live<Limits>, own: Arc<TenantTable>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            own,
            book: Mutex::default(),
        })
    }

    /// Stands in line for room for an answer of this account. Dropping it leaves the line.
    pub fn ask(self: &Arc<Self>, tenant: &TenantId, bytes: u64) -> Asked {
        let mut book = self.book();
        let place = book.asked;
        book.asked += 1;
        let waker = None;
        let account = book.accounts.entry(tenant.clone()).or_default();
        account.line.insert(place, Waiting { bytes, waker });
        let served = self.serve(&mut book);
        let waits = |account: &Account| account.line.contains_key(&place);
        book.waited += u64::from(book.accounts.get(tenant).is_some_and(waits));
        drop(book);
        wake(served);
        Asked(Some(Room {
            answers: self.clone(),
            tenant: tenant.clone(),
            bytes,
            place: Some(place),
        }))
    }

    /// The limits were changed: who waits may have room now.
    pub fn reconfigured(&self) {
        let served = self.serve(&mut self.book());
        wake(served);
    }

    /// Whether anybody waits for room.
    pub fn has_line(&self) -> bool {
        let book = self.book();
        book.accounts
            .values()
            .any(|account| !account.line.is_empty())
    }

    /// Bytes of the room that is taken.
    pub fn held_bytes(&self) -> u64 {
        self.book().held_bytes
    }

    /// Answers that had to wait for room, so far.
    pub fn waited(&self) -> u64 {
        self.book().waited
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing is half done below this lock.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives room to whoever is next and fits; they are to be woken once the book is closed.
    fn serve(&self, book: &mut Book) -> Vec<Waker> {
        let (whole, mut served) = (self.limits.now().bytes_in_flight, Vec::new());
        loop {
            let first = book.accounts.iter().filter_map(|(tenant, account)| {
                let (place, next) = account.line.first_key_value()?;
                let would_hold = account.held_bytes.saturating_add(next.bytes);
                let fits = account.held_bytes == 0 || would_hold <= self.most(tenant, whole);
                fits.then_some((account.held_bytes > 0, would_hold, *place, tenant))
            });
            let first = first.min_by_key(|(holds, would_hold, place, _)| {
                // Who holds nothing is served in any case.
                (*holds, *would_hold, *place)
            });
            let Some((holds, would_hold, place, tenant)) = first else {
                return served;
            };
            let tenant = tenant.clone();
            let Some(account) = book.accounts.get_mut(&tenant) else {
                return served;
            };
            let all = book.held_bytes + (would_hold - account.held_bytes);
            if holds && all > whole {
                return served;
            }
            (account.held_bytes, book.held_bytes) = (would_hold, all);
            served.extend(account.line.remove(&place).and_then(|next| next.waker));
        }
    }

    /// What an account's answers may hold.
    fn most(&self, tenant: &TenantId, whole: u64) -> u64 {
        let own = self.own.of(tenant);
        let own = own.and_then(|state| state.limits().own(TenantLimit::BytesInFlight));
        own.unwrap_or(whole / 2)
    }

    /// Takes so much back; `place` is left, too.
    fn give_back(&self, tenant: &TenantId, bytes: u64, place: Option<u64>) {
        let mut book = self.book();
        let Some(account) = book.accounts.get_mut(tenant) else {
            return;
        };
        let waited = place.and_then(|place| account.line.remove(&place));
        let held = if waited.is_some() { 0 } else { bytes };
        account.held_bytes -= held;
        if account.held_bytes == 0 && account.line.is_empty() {
            book.accounts.remove(tenant);
        }
        book.held_bytes -= held;
        let served = self.serve(&mut book);
        drop(book);
        wake(served);
    }
}

/// Outside the lock: what is woken may be dropped by that, and give back what it holds.
fn wake(served: Vec<Waker>) {
    served.into_iter().for_each(Waker::wake);
}

/// An answer that waits for room, or has it and was not told yet. Resolves with the room.
#[derive(Debug)]
pub struct Asked(Option<Room>);

impl Future for Asked {
    type Output = Room;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Room> {
        let room = self.0.as_ref().expect("polled after its end");
        let mut book = room.answers.book();
        let account = book.accounts.get_mut(&room.tenant);
        let waiting = account.zip(room.place);
        if let Some(waiting) = waiting.and_then(|(account, place)| account.line.get_mut(&place)) {
            waiting.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(book);
        let mut room = self.0.take().expect("it was there above");
        room.place = None;
        Poll::Ready(room)
    }
}

/// Room for an answer, given back when dropped.
#[derive(Debug)]
pub struct Room {
    answers: Arc<Answers>,
    tenant: TenantId,
    bytes: u64,
    /// While nobody has said that it was given.
    place: Option<u64>,
}

impl Room {
    /// What an answer that has come to so many bytes keeps of it: nothing where that is free.
    pub fn kept_by(mut self, bytes: usize) -> Option<Self> {
        if bytes <= ANSWER_FREE_BYTES {
            return None;
        }
        let over = self.bytes.saturating_sub(bytes as u64);
        if over > 0 {
            self.bytes -= over;
            self.answers.give_back(&self.tenant, over, None);
        }
        Some(self)
    }

    /// The answer, which holds its room until the last of its bytes is dropped.
    pub fn held_by(self, answer: Bytes) -> Bytes {
        Bytes::from_owner(Held {
            answer,
            _room: self,
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.answers.give_back(&self.tenant, self.bytes, self.place);
    }
}

struct Held {
    answer: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
