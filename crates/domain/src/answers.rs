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
//! Of both, calls by function URLs, which anybody may make, have half: once they hold that, none of them is
//! given more, as no further one is let in then. They stand in a line of their own: whoever signs does not
//! wait for strangers. What requests hold counts elsewhere: those that run must
//! not keep their own answers out.
//!
//! An account whose line holds nothing has room for one answer, however large, and however much others
//! hold: who never finishes what was begun keeps nobody else out. So all that is held is the node's room
//! and one answer for each line at the most.
//!
//! Within a line it is first come, first served. Of those that their account has room for, lines of
//! signed calls go before those of strangers, and of either kind the one that would hold least goes first:
//! an answer for which the node has no room keeps out those that would hold more, and all strangers; one
//! for which the strangers' half has none, the strangers that would hold more.
//! Nothing here has a deadline: whoever waits has one. Who was given room [that others wait
//! for](Answers::is_in_the_way) has to [bring its answer](Answers::comes_too_slowly) as fast as a client
//! its body.

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
    time::Duration,
};

/// Answers up to this are free: a socket's buffer takes them at once.
pub const ANSWER_FREE_BYTES: usize = 64 << 10;

/// Time that a function has to send an answer for which there is room while others wait, to which comes
/// what the bytes that have come earn.
pub const COMING_GRACE: Duration = Duration::from_secs(30);
/// Bytes per second that such an answer has to have after that.
pub const COMING_BYTES_PER_S: u64 = 64 << 10;
/// How often whoever reads one looks at how it comes.
pub const COMING_LOOK_EVERY: Duration = Duration::from_secs(5);

/// Whose an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// The function's account.
    pub tenant: TenantId,
    /// Whether it was called by a function URL.
    pub by_url: bool,
}

impl Whose {
    /// Of a call that the account signed, or of an event.
    pub fn signed(tenant: &TenantId) -> Self {
        Self {
            tenant: tenant.clone(),
            by_url: false,
        }
    }
}

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
    /// Of it, by calls by URL.
    urls_bytes: u64,
    /// Those that hold something, or wait.
    accounts: HashMap<TenantId, Account>,
    /// How often somebody asked: the next one's place in line.
    asked: u64,
    waited: u64,
}

#[derive(Debug, Default)]
struct Account {
    /// Of calls that are signed or an event's, and of those by URL.
    lines: [Line; 2],
}

#[derive(Debug, Default)]
struct Line {
    held_bytes: u64,
    /// By their places. Who has asked and is not here has been given room.
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: u64,
    waker: Option<Waker>,
}

/// The first of a line.
struct First {
    whose: Whose,
    place: u64,
    bytes: u64,
    /// What its line holds.
    held_bytes: u64,
    lacks: Option<Lacks>,
}

/// What the first of a line waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacks {
    /// Room of its own line, whatever others hold: of the account's signed calls, or of those by URL.
    Own { by_url: bool },
    /// Room of its account.
    Account,
    /// Room of all calls by URL.
    Urls,
    /// Room of the node.
    Node,
}

impl Account {
    fn held_bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.held_bytes).sum()
    }
}

impl Line {
    /// Place and bytes of who is next.
    fn first(&self) -> Option<(u64, u64)> {
        let (place, waiting) = self.waiting.first_key_value()?;
        Some((*place, waiting.bytes))
    }

    fn is_idle(&self) -> bool {
        self.held_bytes == 0 && self.waiting.is_empty()
    }
}

impl Book {
    fn line(&mut self, whose: &Whose) -> Option<&mut Line> {
        let account = self.accounts.get_mut(&whose.tenant)?;
        Some(&mut account.lines[usize::from(whose.by_url)])
    }
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

    /// Stands in line for room for such an answer. Dropping it leaves the line.
    pub fn ask(self: &Arc<Self>, whose: Whose, bytes: u64) -> Asked {
        let mut book = self.book();
        let place = book.asked;
        book.asked += 1;
        let waker = None;
        let account = book.accounts.entry(whose.tenant.clone()).or_default();
        let line = &mut account.lines[usize::from(whose.by_url)];
        line.waiting.insert(place, Waiting { bytes, waker });
        let served = self.serve(&mut book);
        let waits = |line: &mut Line| line.waiting.contains_key(&place);
        book.waited += u64::from(book.line(&whose).is_some_and(waits));
        drop(book);
        wake(served);
        Asked(Some(Room {
            answers: self.clone(),
            whose,
            bytes,
            place: Some(place),
        }))
    }

    /// The limits were changed: who waits may have room now.
    pub fn reconfigured(&self) {
        let served = self.serve(&mut self.book());
        wake(served);
    }

    /// Whether somebody waits for room that an answer of this one's holds.
    pub fn is_in_the_way(&self, whose: &Whose) -> bool {
        let book = self.book();
        let whole = self.limits.now().bytes_in_flight;
        let mut firsts = self.firsts(&book, whole);
        firsts.any(|first| {
            let is_of_account = first.whose.tenant == whose.tenant;
            match first.lacks {
                // A line that holds nothing is served in any case.
                _ if first.whose == *whose => true,
                None => false,
                Some(Lacks::Own { by_url }) => is_of_account && whose.by_url == by_url,
                Some(Lacks::Account) => is_of_account,
                Some(Lacks::Urls) => whose.by_url,
                Some(Lacks::Node) => true,
            }
        })
    }

    /// Whether an answer that has had room for `held`, and of which so many bytes have come, is too slow
    /// for those that wait for that room.
    pub fn comes_too_slowly(&self, whose: &Whose, held: Duration, came_bytes: u64) -> bool {
        let earned = Duration::from_millis(came_bytes.saturating_mul(1000) / COMING_BYTES_PER_S);
        held > COMING_GRACE + earned && self.is_in_the_way(whose)
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
        while let Some(first) = self.next(book, whole) {
            book.held_bytes += first.bytes;
            book.urls_bytes += u64::from(first.whose.by_url) * first.bytes;
            let Some(line) = book.line(&first.whose) else {
                break;
            };
            line.held_bytes += first.bytes;
            let waited = line.waiting.remove(&first.place);
            served.extend(waited.and_then(|waiting| waiting.waker));
        }
        served
    }

    /// Who is given room next: whoever holds nothing in any case, then the least of its kind.
    fn next(&self, book: &Book, whole: u64) -> Option<First> {
        let fits_account = |first: &First| {
            let of_account = matches!(first.lacks, Some(Lacks::Own { .. } | Lacks::Account));
            !of_account
        };
        let firsts = self.firsts(book, whole);
        let first = firsts
            .filter(|first| first.held_bytes == 0 || fits_account(first))
            .min_by_key(|first| {
                let would_hold_bytes = first.held_bytes + first.bytes;
                let holds = first.held_bytes > 0;
                (
                    holds,
                    holds && first.whose.by_url,
                    would_hold_bytes,
                    first.place,
                )
            })?;
        (first.held_bytes == 0 || first.lacks.is_none()).then_some(first)
    }

    /// The first of each line, and what it lacks.
    fn firsts<'a>(&'a self, book: &'a Book, whole: u64) -> impl Iterator<Item = First> + 'a {
        let waiting = |account: &&Account| account.lines.iter().any(|l| !l.waiting.is_empty());
        let accounts = book
            .accounts
            .iter()
            .filter(move |(_, account)| waiting(account));
        accounts.flat_map(move |(tenant, account)| {
            let most = self.most(tenant, whole);
            let [signed, _] = &account.lines;
            // Strangers are not let past who signs.
            let signed_lacks = signed.first().and_then(|(_, bytes)| {
                if signed.held_bytes == 0 || account.held_bytes() + bytes <= most {
                    None
                } else if signed.held_bytes + bytes > most {
                    Some(Lacks::Own { by_url: false })
                } else {
                    Some(Lacks::Account)
                }
            });
            let lines = account.lines.iter().zip([false, true]);
            lines.filter_map(move |(line, by_url)| {
                let (place, bytes) = line.first()?;
                let lacks = if by_url && line.held_bytes >= most / 2 {
                    Some(Lacks::Own { by_url: true })
                } else if signed_lacks.is_some() {
                    signed_lacks
                } else if account.held_bytes() + bytes > most {
                    Some(Lacks::Account)
                } else if by_url && book.urls_bytes >= whole / 2 {
                    Some(Lacks::Urls)
                } else if book.held_bytes + bytes > whole {
                    Some(Lacks::Node)
                } else {
                    None
                };
                Some(First {
                    whose: Whose {
                        tenant: tenant.clone(),
                        by_url,
                    },
                    place,
                    bytes,
                    held_bytes: line.held_bytes,
                    lacks,
                })
            })
        })
    }

    /// What an account's answers may hold.
    fn most(&self, tenant: &TenantId, whole: u64) -> u64 {
        let own = self.own.of(tenant);
        let own = own.and_then(|state| state.limits().own(TenantLimit::BytesInFlight));
        own.unwrap_or(whole / 2)
    }

    /// Takes so much back; `place` is left, too.
    fn give_back(&self, whose: &Whose, bytes: u64, place: Option<u64>) {
        let mut book = self.book();
        let Some(line) = book.line(whose) else {
            return;
        };
        let waited = place.and_then(|place| line.waiting.remove(&place));
        let held = if waited.is_some() { 0 } else { bytes };
        line.held_bytes -= held;
        book.held_bytes -= held;
        book.urls_bytes -= u64::from(whose.by_url) * held;
        let account = book.accounts.get(&whose.tenant);
        if account.is_some_and(|account| account.lines.iter().all(Line::is_idle)) {
            book.accounts.remove(&whose.tenant);
        }
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

impl Asked {
    /// Whether it has room, told or not.
    pub fn is_given(&self) -> bool {
        let Some(room) = &self.0 else {
            return true;
        };
        let mut book = room.answers.book();
        let line = book.line(&room.whose).zip(room.place);
        !line.is_some_and(|(line, place)| line.waiting.contains_key(&place))
    }
}

impl Future for Asked {
    type Output = Room;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Room> {
        let room = self.0.as_ref().expect("polled after its end");
        let mut book = room.answers.book();
        let waiting = book.line(&room.whose).zip(room.place);
        if let Some(waiting) = waiting.and_then(|(line, place)| line.waiting.get_mut(&place)) {
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
    whose: Whose,
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
            self.answers.give_back(&self.whose, over, None);
        }
        Some(self)
    }

    /// As [`Answers::comes_too_slowly`], of the answer that this is for.
    pub fn comes_too_slowly(&self, held: Duration, came_bytes: u64) -> bool {
        self.answers.comes_too_slowly(&self.whose, held, came_bytes)
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
        self.answers.give_back(&self.whose, self.bytes, self.place);
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
