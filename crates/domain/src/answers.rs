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
//! wait for strangers. Of both halves a [`Peer`] has its part: who holds as much there as is left is given
//! no more. One alone comes to half, the next to half of what is left, and so on, so that a newcomer finds
//! room until several have used it up together (the dynamic threshold of buffers that ports of a switch
//! share). Who waits for its own part hurries nobody else. What requests hold counts elsewhere: those that
//! run must not keep their own answers out.
//!
//! An account whose line holds nothing has room for one answer, however large, and however much others
//! hold: who never finishes what was begun keeps nobody else out. So all that is held is the node's room
//! and one answer for each line at the most.
//!
//! Within a line it is first come, first served, past peers that hold their part. Of those that their
//! account has room for, lines of signed calls go before those of strangers, and of either kind the one
//! that would hold least goes first: an answer for which the node has no room keeps out those that would
//! hold more, and all strangers; one for which the strangers' half has none, the strangers that would hold
//! more.
//! Nothing here has a deadline: whoever waits has one. Who was given room [that others wait
//! for](Answers::is_in_the_way) has to [bring its answer](Answers::comes_too_slowly) as fast as a client
//! its body.

use crate::{
    ids::TenantId, limits::Limits, live::Live, tenant_limits::TenantLimit, tenants::TenantTable,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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

/// Where calls of function URLs come from, as far as that is told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address; of IPv6 its network of 64 bits. A customer has one of those or, as often, some hundreds.
    Address(IpAddr),
    /// The instances of an account.
    Instances(TenantId),
}

impl Peer {
    /// Who has such an address.
    pub fn at(address: IpAddr) -> Self {
        /// In which a translator puts IPv4 (RFC 6052), 96 bits.
        const TRANSLATED: u128 = 0x0064_ff9b << 96;
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                match bits >> 32 == TRANSLATED >> 32 {
                    true => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
                    false => IpAddr::V6(Ipv6Addr::from_bits(bits & !u128::from(u64::MAX))),
                }
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Whose an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// The function's account.
    pub tenant: TenantId,
    /// Who called it, where that was by a function URL.
    pub by_url: Option<Peer>,
}

impl Whose {
    /// Of a call that the account signed, or of an event.
    pub fn signed(tenant: &TenantId) -> Self {
        Self {
            tenant: tenant.clone(),
            by_url: None,
        }
    }

    fn line(&self) -> usize {
        usize::from(self.by_url.is_some())
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
    /// Of that, by peers.
    peers: Peers,
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

/// Bytes of those that hold something.
#[derive(Debug, Default)]
struct Peers(HashMap<Peer, u64>);

#[derive(Debug, Default)]
struct Line {
    held_bytes: u64,
    peers: Peers,
    /// By their places. Who has asked and is not here has been given room.
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: u64,
    peer: Option<Peer>,
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
    /// Its peer's part of what the account's calls by URL have, or (that it has) of what all have.
    Part { of_node: bool },
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
    /// Who is next, and whether its peer has its part: the first whose peer has not, or the first at all.
    fn first(&self, has_its_part: impl Fn(&Peer) -> bool) -> Option<(u64, &Waiting, bool)> {
        // Of a peer that waits a thousand times it is asked once.
        let mut asked: HashSet<&Peer> = HashSet::new();
        for (place, one) in &self.waiting {
            match &one.peer {
                Some(peer) if asked.contains(peer) => {}
                Some(peer) if has_its_part(peer) => drop(asked.insert(peer)),
                _ => return Some((*place, one, false)),
            }
        }
        let (place, one) = self.waiting.first_key_value()?;
        Some((*place, one, true))
    }

    fn is_idle(&self) -> bool {
        self.held_bytes == 0 && self.waiting.is_empty()
    }
}

impl Peers {
    fn held(&self, peer: &Peer) -> u64 {
        self.0.get(peer).copied().unwrap_or_default()
    }

    fn hold(&mut self, peer: &Peer, bytes: u64) {
        if bytes > 0 {
            *self.0.entry(peer.clone()).or_default() += bytes;
        }
    }

    fn release(&mut self, peer: &Peer, bytes: u64) {
        if let Some(held) = self.0.get_mut(peer) {
            *held -= bytes;
            if *held == 0 {
                self.0.remove(peer);
            }
        }
    }
}

impl Book {
    fn line(&mut self, whose: &Whose) -> Option<&mut Line> {
        let account = self.accounts.get_mut(&whose.tenant)?;
        Some(&mut account.lines[whose.line()])
    }

    /// Books so many bytes more.
    fn hold(&mut self, whose: &Whose, bytes: u64) {
        self.held_bytes += bytes;
        if let Some(peer) = &whose.by_url {
            self.urls_bytes += bytes;
            self.peers.hold(peer, bytes);
        }
        if let Some(line) = self.line(whose) {
            line.held_bytes += bytes;
            whose
                .by_url
                .iter()
                .for_each(|peer| line.peers.hold(peer, bytes));
        }
    }

    /// Takes so many back.
    fn release(&mut self, whose: &Whose, bytes: u64) {
        self.held_bytes -= bytes;
        if let Some(peer) = &whose.by_url {
            self.urls_bytes -= bytes;
            self.peers.release(peer, bytes);
        }
        if let Some(line) = self.line(whose) {
            line.held_bytes -= bytes;
            whose
                .by_url
                .iter()
                .for_each(|peer| line.peers.release(peer, bytes));
        }
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
        let account = book.accounts.entry(whose.tenant.clone()).or_default();
        let waiting = Waiting {
            bytes,
            peer: whose.by_url.clone(),
            waker: None,
        };
        account.lines[whose.line()].waiting.insert(place, waiting);
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
                // Who holds its part waits for itself alone, there.
                Some(Lacks::Part { of_node }) => {
                    first.whose.by_url == whose.by_url && (of_node || is_of_account)
                }
                // A line that holds nothing is served in any case.
                _ if is_of_account && first.whose.line() == whose.line() => true,
                None => false,
                Some(Lacks::Own { by_url }) => is_of_account && whose.by_url.is_some() == by_url,
                Some(Lacks::Account) => is_of_account,
                Some(Lacks::Urls) => whose.by_url.is_some(),
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
            book.hold(&first.whose, first.bytes);
            let Some(line) = book.line(&first.whose) else {
                break;
            };
            let waited = line.waiting.remove(&first.place);
            served.extend(waited.and_then(|waiting| waiting.waker));
        }
        served
    }

    /// Who is given room next: whoever holds nothing in any case, then the least of its kind.
    fn next(&self, book: &Book, whole: u64) -> Option<First> {
        let fits_account = |first: &First| {
            !matches!(
                first.lacks,
                Some(Lacks::Own { .. } | Lacks::Part { .. } | Lacks::Account)
            )
        };
        let firsts = self.firsts(book, whole);
        let first = firsts
            .filter(|first| first.held_bytes == 0 || fits_account(first))
            .min_by_key(|first| {
                let would_hold_bytes = first.held_bytes + first.bytes;
                let holds = first.held_bytes > 0;
                (
                    holds,
                    holds && first.whose.by_url.is_some(),
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
            let signed_lacks = signed.first(|_| false).and_then(|(_, waiting, _)| {
                let bytes = waiting.bytes;
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
                let left = (most / 2).saturating_sub(line.held_bytes);
                let left_of_node = (whole / 2).saturating_sub(book.urls_bytes);
                let is_full = by_url && left == 0 && line.held_bytes > 0;
                let has = |held: u64, left: u64| held > 0 && held >= left;
                let of_account = |peer: &Peer| has(line.peers.held(peer), left);
                let of_node = |peer: &Peer| has(book.peers.held(peer), left_of_node);
                // Where nothing is left, nobody is looked for that might have it.
                let (place, waiting, has_its_part) =
                    line.first(|peer| !is_full && (of_account(peer) || of_node(peer)))?;
                let bytes = waiting.bytes;
                let lacks = if by_url && left == 0 {
                    Some(Lacks::Own { by_url: true })
                } else if signed_lacks.is_some() {
                    signed_lacks
                } else if has_its_part && left_of_node > 0 {
                    let of_node = !waiting.peer.as_ref().is_some_and(of_account);
                    Some(Lacks::Part { of_node })
                } else if by_url && line.held_bytes + bytes > most {
                    Some(Lacks::Own { by_url: true })
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
                        by_url: waiting.peer.clone(),
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
        book.release(whose, held);
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

    /// What tells whether it stands in others' way, for whoever sends the answer on.
    pub fn standing(&self) -> Standing {
        Standing {
            answers: self.answers.clone(),
            whose: self.whose.clone(),
        }
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

/// Whose room an answer has, and in which house.
#[derive(Debug, Clone)]
pub struct Standing {
    answers: Arc<Answers>,
    whose: Whose,
}

impl Standing {
    /// As [`Answers::is_in_the_way`].
    pub fn is_in_the_way(&self) -> bool {
        self.answers.is_in_the_way(&self.whose)
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
