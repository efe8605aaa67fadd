//! The store: keys, bytes and versions; it knows no functions.
//!
//! Reads are narrow traits. Writes are data: a list of [`Op`]s, committed whole or not at all, with
//! a fence; no closure and no connection crosses. Every method takes the principal on whose behalf
//! it is called and refuses one that does not reach the key's tenant.

use super::Audit;
use crate::{
    BoxFuture,
    ids::{Digest, FunctionRef, InvocationId, TenantId},
    logs::{LogGroupName, LogLine, LogStreamName},
    principal::Principal,
    queue_time::{KeptTime, QueueTime},
    record::{ClaimedEvent, EventEnd, EventV1, Key, KeyPrefix},
    time::Wall,
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// The version of one record: grows with every write to its key, also over a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordVersion(pub u64);

/// The place of a commit in the order of all commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreSeq(pub u64);

/// A record as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub key: Key,
    /// Which version.
    pub version: RecordVersion,
    /// An encoded record ([`crate::record::decode`]).
    pub bytes: Bytes,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything or nothing.
    Any,
    /// Nothing.
    Absent,
    /// This version.
    Version(RecordVersion),
}

/// One change. A commit's changes happen together.
#[derive(Debug, Clone)]
pub enum Op {
    /// Writes a record.
    Put {
        /// Where.
        key: Key,
        /// What must be there now.
        expect: Expect,
        /// The encoded record.
        bytes: Vec<u8>,
    },
    /// Removes a record; removing what is not there is fine with [`Expect::Any`].
    Delete {
        /// Where.
        key: Key,
        /// What must be there now.
        expect: Expect,
    },
    /// Adds an event to the queue.
    EventAdd {
        /// The event.
        event: Box<EventV1>,
        /// When it is due.
        due: QueueTime,
        /// Its body.
        body: Bytes,
    },
    /// Gives a claimed event back for a later attempt.
    EventRetry {
        /// Which.
        id: InvocationId,
        /// The claim's epoch.
        epoch: u64,
        /// When it is due again.
        due: QueueTime,
        /// Whether the attempt counts (a throttled one does not).
        counts: bool,
        /// The error's text.
        error: Option<String>,
    },
    /// Ends a claimed event.
    EventEnd {
        /// Which.
        id: InvocationId,
        /// The claim's epoch.
        epoch: u64,
        /// How.
        end: EventEnd,
        /// When.
        at: QueueTime,
    },
    /// Keeps the queue's time, beside its events; for the platform alone.
    EventTime {
        /// The moment.
        kept: KeptTime,
    },
}

/// What a commit must not have been overtaken by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// Nothing: one process owns the store.
    None,
    /// A claim's epoch (clusters).
    Epoch(u64),
}

/// Why a commit changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A record is not as expected.
    #[error("{key} is not as expected: it is {}", found.map_or("absent".to_owned(), |v| format!("at version {}", v.0)))]
    Conflict {
        /// Which.
        key: Box<Key>,
        /// What is there.
        found: Option<RecordVersion>,
    },
    /// A claim was overtaken: somebody else holds or ended the event.
    #[error("the claim on event {id} with epoch {epoch} was overtaken")]
    StaleClaim {
        /// The event.
        id: InvocationId,
        /// The epoch that was offered.
        epoch: u64,
    },
    /// The fence was overtaken.
    #[error("the fence was overtaken")]
    Fenced,
    /// The principal does not reach a key's tenant.
    #[error("{who} may not write for tenant {tenant}")]
    Denied {
        /// Who asked.
        who: String,
        /// Whose key it was.
        tenant: TenantId,
    },
    /// Records and events live in separate files, which no single transaction spans.
    #[error("a commit holds records or events, not both")]
    Mixed,
    /// The disk is full, or close to it.
    #[error("the disk is full")]
    DiskFull,
    /// Not at this time; the same will be possible in a while.
    #[error("the store cannot do this at this time: {reason}")]
    Unavailable {
        /// Text for the operator.
        reason: String,
    },
    /// The store failed.
    #[error("the store failed: {reason}")]
    Failed {
        /// Text for the operator.
        reason: String,
    },
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The principal does not reach the tenant.
    #[error("{who} may not read of tenant {tenant}")]
    Denied {
        /// Who asked.
        who: String,
        /// Whose it was.
        tenant: TenantId,
    },
    /// Not at this time; the same will be answered in a while.
    #[error("the store cannot answer at this time: {reason}")]
    Unavailable {
        /// Text for the operator.
        reason: String,
    },
    /// The store failed.
    #[error("the store failed: {reason}")]
    Failed {
        /// Text for the operator.
        reason: String,
    },
}

/// Records, read.
pub trait Records: Send + Sync {
    /// One record.
    fn get(&self, who: &Principal, key: &Key) -> BoxFuture<'_, Result<Option<Stored>, ReadError>>;

    /// The records below `prefix` in key order, after `after`, at most `limit`.
    fn list(
        &self,
        who: &Principal,
        prefix: &KeyPrefix,
        after: Option<&Key>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>>;

    /// The records of one kind of every tenant, in key order, after `after`, at most `limit`;
    /// for the platform alone ([`ReadError::Denied`] for everybody else). The one unchecked read.
    fn list_all(
        &self,
        who: &Principal,
        kind: crate::record::Kind,
        after: Option<&Key>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>>;

    /// Calls `watcher` after every commit with its changes to records, before the commit returns
    /// to its caller, in commit order, until the guard is dropped. The watcher must not wait and
    /// must not call back into the store.
    fn watch(&self, watcher: Arc<dyn Watcher>) -> Box<dyn Send + Sync>;
}

/// Is told of changes.
pub trait Watcher: Send + Sync {
    /// `changes` were committed together: the record, or `None` where it was removed.
    fn changed(&self, changes: &[(Key, Option<Stored>)]);
}

/// Writes.
pub trait Commit: Send + Sync {
    /// Applies `ops` whole or not at all; durable when this resolves.
    ///
    /// Errors: [`CommitError`], nothing was changed then.
    fn commit(
        &self,
        who: &Principal,
        ops: Vec<Op>,
        fence: Fence,
    ) -> BoxFuture<'_, Result<StoreSeq, CommitError>>;
}

/// The durable queue, read and claimed.
pub trait EventQueue: Send + Sync {
    /// Claims due events, taken round-robin by tenant; each claim counts an attempt and raises the
    /// event's epoch. An event whose lease ran out is due again.
    fn claim(
        &self,
        who: &Principal,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Vec<ClaimedEvent>, ReadError>>;

    /// When the next event is due; `None` when the queue is empty.
    fn next_due(&self, who: &Principal) -> BoxFuture<'_, Result<Option<QueueTime>, ReadError>>;

    /// The moment of the queue's time that was kept last; `None` before the first. For the
    /// platform alone.
    fn time_kept(&self, who: &Principal) -> BoxFuture<'_, Result<Option<KeptTime>, ReadError>>;

    /// What became of one event, as long as its row is kept; `None` for an event that was never
    /// accepted, or that was forgotten.
    fn state(
        &self,
        who: &Principal,
        id: InvocationId,
    ) -> BoxFuture<'_, Result<Option<EventState>, ReadError>>;

    /// How many events wait or run, and how many ended in which way, since the store was made.
    fn counts(&self, who: &Principal) -> BoxFuture<'_, Result<EventCounts, ReadError>>;

    /// Forgets what became of events that ended long ago, at most `limit` of them; how
    /// many. Counts stay as they are. For the platform alone.
    fn forget(
        &self,
        who: &Principal,
        ended: EndedBefore,
        limit: usize,
    ) -> BoxFuture<'_, Result<u64, CommitError>>;
}

/// Which ended events are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedBefore {
    /// Those that ended well, before this time.
    pub done: QueueTime,
    /// Those that were given up, before this time.
    pub dead: QueueTime,
}

/// What a worker takes of the queue.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Events that are due by then.
    pub now: QueueTime,
    /// How long the machine slept since the last claim: what it runs went on no more than it did,
    /// and leases that were given end later by as much.
    pub slept: Duration,
    /// How long it holds them.
    pub lease: Duration,
    /// Events at the most.
    pub limit: usize,
    /// Events of one tenant that it may hold at the most, `held` included.
    pub per_tenant: usize,
    /// What it holds already, by tenant.
    pub held: Vec<(TenantId, usize)>,
    /// Events of one function that it may hold at the most, `held_of_functions` included. What is
    /// over waits where it is: nothing of it is read or written.
    pub per_function: usize,
    /// What it holds already, by function.
    pub held_of_functions: Vec<(FunctionRef, usize)>,
}

impl Claim {
    /// Up to `limit` events, whosever they are.
    pub fn new(now: QueueTime, lease: Duration, limit: usize) -> Self {
        Self {
            now,
            slept: Duration::ZERO,
            lease,
            limit,
            per_tenant: usize::MAX,
            held: Vec::new(),
            per_function: usize::MAX,
            held_of_functions: Vec::new(),
        }
    }
    /// How many more events of `tenant` it takes.
    pub fn room(&self, tenant: &TenantId) -> usize {
        let held = self.held.iter().find(|(owner, _)| owner == tenant);
        self.per_tenant.saturating_sub(held.map_or(0, |(_, n)| *n))
    }
    /// How many more events of `function` it takes.
    pub fn function_room(&self, function: &FunctionRef) -> usize {
        let mut held = self.held_of_functions.iter();
        let held = held.find(|(of, _)| of == function);
        self.per_function
            .saturating_sub(held.map_or(0, |(_, n)| *n))
    }
}

/// What became of an event so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventState {
    /// It waits for its next attempt.
    Waiting {
        /// When that is due.
        due: QueueTime,
        /// Attempts that counted so far.
        attempts: u32,
        /// What the last one failed with.
        last_error: Option<String>,
    },
    /// A worker holds it.
    Running {
        /// When the claim ends on its own.
        lease_until: QueueTime,
        /// Attempts, this one included.
        attempts: u32,
        /// The claim's epoch.
        epoch: u64,
    },
    /// It ended.
    Ended {
        /// How.
        end: EventEnd,
        /// When.
        at: QueueTime,
        /// Attempts that counted.
        attempts: u32,
    },
}

/// accepted = waiting + running + done + dead, at every moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventCounts {
    /// Ever accepted.
    pub accepted: u64,
    /// Due now or later.
    pub waiting: u64,
    /// Claimed.
    pub running: u64,
    /// Ended well.
    pub done: u64,
    /// Given up.
    pub dead: u64,
}

/// Content-addressed bytes of a tenant.
pub trait Blobs: Send + Sync {
    /// Stores `bytes`, durable when this resolves. Storing the same again is fine.
    fn put(
        &self,
        who: &Principal,
        tenant: &TenantId,
        bytes: Bytes,
    ) -> BoxFuture<'_, Result<Digest, CommitError>>;
    /// Reads a blob; its digest was checked.
    fn get(
        &self,
        who: &Principal,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>>;
    /// Removes a blob; removing what is not there is fine.
    fn remove(
        &self,
        who: &Principal,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<(), CommitError>>;
}

/// Append-only frames, one lane per writing core: the ledger.
pub trait Ledger: Send + Sync {
    /// Appends one frame with one `write()`; survives a kill of the process when it returns, a
    /// power cut within a second. Never waits for a sync.
    fn append(&self, lane: u16, frame: &[u8]) -> Result<(), CommitError>;
    /// The lanes that exist.
    fn lanes(&self) -> BoxFuture<'_, Result<Vec<u16>, ReadError>>;
    /// Frames of a lane from `position` on, at most `limit`, and the position after them. A torn
    /// last frame is not returned.
    fn read(
        &self,
        lane: u16,
        position: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Bytes>, u64), ReadError>>;
}

/// Lines of logs by group and stream. `who` must reach the group's tenant.
pub trait LogStore: Send + Sync {
    /// Appends lines to a stream, which is made when it is new; one `write()`, never waits for a
    /// sync.
    fn append(&self, stream: &LogStreamName, lines: &[LogLine]) -> Result<(), CommitError>;
    /// Tells that a stream gets no more lines, so that its file can be closed.
    fn close(&self, stream: &LogStreamName);
    /// The streams of a group whose names begin with `prefix`, by name, after `after`.
    ///
    /// Errors: [`ReadError::Unavailable`] while not all of them are known, which passes; what is
    /// returned never lacks one. The same holds for all that follow.
    fn streams(
        &self,
        who: &Principal,
        group: &LogGroupName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<LogStreamInfo>, ReadError>>;
    /// Bytes that the streams of a group take in the store: those of their lines and what is kept
    /// with each.
    fn group_bytes(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> BoxFuture<'_, Result<u64, ReadError>>;
    /// Lines of one stream with `from <= at < until`, starting at `position` (0 for the first, in
    /// file order; `backwards` reads towards the start), at most `limit` lines and `bytes` bytes;
    /// one line is returned whatever its size, so that a reader always gets on. A stream that does
    /// not exist reads as an empty one.
    fn read(
        &self,
        who: &Principal,
        stream: &LogStreamName,
        query: LogQuery,
    ) -> BoxFuture<'_, Result<LogPage, ReadError>>;
    /// Removes every stream of a group.
    fn remove_group(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> BoxFuture<'_, Result<(), CommitError>>;
    /// Removes lines older than `before`, whole streams at a time and closed streams only.
    fn expire(
        &self,
        who: &Principal,
        group: &LogGroupName,
        before: Wall,
    ) -> BoxFuture<'_, Result<u64, CommitError>>;
}

/// A stream, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStreamInfo {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Wall,
    /// Time of its first line.
    pub first: Option<Wall>,
    /// Time of its last line.
    pub last: Option<Wall>,
    /// Bytes of its lines.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
}

/// What to read of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogQuery {
    /// Earliest time, included.
    pub from: Option<Wall>,
    /// Latest time, excluded.
    pub until: Option<Wall>,
    /// Where to begin: an opaque position from an earlier page, `None` for the start (or the end,
    /// backwards).
    pub position: Option<u64>,
    /// Towards the start.
    pub backwards: bool,
    /// Lines at the most.
    pub limit: usize,
    /// Bytes of text at the most.
    pub bytes: usize,
}

/// A page of lines, oldest first whatever the direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, each with its position and the time at which it was stored.
    pub lines: Vec<(u64, Wall, LogLine)>,
    /// Position before the first line.
    pub before: u64,
    /// Position after the last line.
    pub after: u64,
    /// Whether more lines follow in the direction of reading.
    pub more: bool,
}

/// Everything that the store offers, for wiring.
pub trait Storage: Records + Commit + EventQueue + Blobs + Ledger + LogStore + Audit {}
impl<T: Records + Commit + EventQueue + Blobs + Ledger + LogStore + Audit> Storage for T {}
