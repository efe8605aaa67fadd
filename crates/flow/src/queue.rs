//! Asynchronous events: one durable row before the caller hears "accepted", then attempts until
//! the event ends in exactly one state.
//!
//! ```text
//! enqueue ─▶ waiting ─claim▶ attempt ─▶ done
//!               ▲              ├─▶ dead: attempts used up, too old, function gone, refused
//!               └── later ─────┘  the function failed: 1 min, then 2 min, attempts count
//!                                 a limit or the platform: 1 s … 5 min, they do not
//! ```
//!
//! Delivery is at least once. An attempt that the end of the platform cut short is taken off the
//! count when the store is opened again: a crash costs no try. It is counted apart, and ten of them
//! end the event: one that brings the platform down each time is not run for ever. The queue
//! refuses to look into an event, and to run anything past its own bounds: the backlog of a tenant
//! or a function waits on disk, not here. What is due, leased, aged and kept for a time goes by the
//! queue's own time, which no wall clock moves.

mod attempt;
mod held;
mod policy;
mod settle;
mod time;
mod work;

pub use policy::QueuePolicy;

use bytes::Bytes;
use freehold_domain::{
    FunctionRef, InvocationId, Principal, Qualifier, TenantId, TraceHeader,
    invocation::HOPS_MAX,
    limits::Limits,
    live::Live,
    ports::{
        Clock, Commit, CommitError, EndedBefore, EventCounts, EventQueue, Fence, Invoke, Op,
        ReadError,
    },
    record::EventV1,
};
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use time::QueueClock;
use tokio::sync::Notify;

/// Ended events that are forgotten at once.
const FORGET_SLICE: usize = 1000;

/// What the queue works with.
#[derive(Clone)]
pub struct QueueDeps {
    /// Reads and claims.
    pub queue: Arc<dyn EventQueue>,
    /// Writes.
    pub commit: Arc<dyn Commit>,
    /// Runs the events.
    pub invoke: Arc<dyn Invoke>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// An event as it is handed in.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The request id that the caller is given; a UUIDv7 of its own.
    pub id: InvocationId,
    /// The function, known to exist.
    pub function: FunctionRef,
    /// What the caller asked for.
    pub qualifier: Qualifier,
    /// Whether the caller named it.
    pub is_qualified: bool,
    /// The trace.
    pub trace: TraceHeader,
    /// Functions before it in the call chain.
    pub hops: u8,
    /// Client context, as it came.
    pub client_context: Option<Bytes>,
}

/// Why an event was not accepted; nothing of it is kept then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// It is larger than the limit of asynchronous events.
    #[error("the event has {sent_bytes} bytes; asynchronous events may have {limit_bytes}")]
    TooLarge {
        /// The limit that was crossed.
        limit_bytes: u64,
        /// Its size.
        sent_bytes: u64,
    },
    /// Its call chain is longer than [`HOPS_MAX`].
    #[error("the call chain loops: {hops} functions called each other")]
    LoopDetected {
        /// The chain's length.
        hops: u8,
    },
    /// The principal does not reach the function's tenant.
    #[error("the caller may not queue events for tenant {tenant}")]
    Denied {
        /// Whose function it is.
        tenant: TenantId,
    },
    /// The disk is full; a later try may find room.
    #[error("the disk is full")]
    DiskFull,
    /// The store failed.
    #[error("the event could not be stored: {reason}")]
    Failed {
        /// Text for the operator.
        reason: String,
    },
}

/// What the worker did since it was made; what is stored is counted by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkCounts {
    /// Attempts that are running.
    pub in_flight: u64,
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that the function answered well.
    pub successes: u64,
    /// Attempts that the function failed.
    pub function_errors: u64,
    /// Attempts that did not count: limits and failures of the platform.
    pub deferred: u64,
    /// Events given up.
    pub dead: u64,
}

#[derive(Default)]
struct Counters {
    in_flight: AtomicU64,
    attempts: AtomicU64,
    successes: AtomicU64,
    function_errors: AtomicU64,
    deferred: AtomicU64,
    dead: AtomicU64,
}

/// The queue: takes events in and works them off.
pub struct EventQueueWorker {
    deps: QueueDeps,
    time: QueueClock,
    policy: Live<QueuePolicy>,
    wake: Notify,
    draining: AtomicBool,
    drain: Notify,
    /// Tenants of which nothing is claimed.
    paused: Mutex<HashSet<TenantId>>,
    counters: Counters,
}

/// On whose behalf the worker claims and settles.
fn platform() -> Principal {
    Principal::platform("queue")
}

fn not_stored(error: CommitError) -> EnqueueError {
    match error {
        CommitError::DiskFull => EnqueueError::DiskFull,
        CommitError::Denied { tenant, .. } => EnqueueError::Denied { tenant },
        error => EnqueueError::Failed {
            reason: error.to_string(),
        },
    }
}

impl EventQueueWorker {
    /// A queue over `deps`; nothing is worked off before [`EventQueueWorker::run`]. What of the
    /// policy changes holds for the next event and the next attempt; what runs keeps its lease.
    ///
    /// Errors: the queue's time, which goes on from what the store has of it, could not be read.
    pub async fn open(
        deps: QueueDeps,
        policy: impl Into<Live<QueuePolicy>>,
    ) -> Result<Arc<Self>, ReadError> {
        let time = QueueClock::resume(deps.clock.clone(), &*deps.queue).await?;
        Ok(Arc::new(Self {
            deps,
            time,
            policy: policy.into(),
            wake: Notify::new(),
            draining: AtomicBool::new(false),
            drain: Notify::new(),
            paused: Mutex::default(),
            counters: Counters::default(),
        }))
    }

    /// Takes an event in; it is on disk when this resolves.
    ///
    /// Errors: [`EnqueueError`], nothing was kept then.
    pub async fn enqueue(
        &self,
        who: &Principal,
        new: NewEvent,
        body: Bytes,
    ) -> Result<InvocationId, EnqueueError> {
        let policy = self.policy.whole();
        let (limit_bytes, sent_bytes) = (policy.event_bytes_max, body.len() as u64);
        if sent_bytes > limit_bytes {
            return Err(EnqueueError::TooLarge {
                limit_bytes,
                sent_bytes,
            });
        }
        if new.hops > HOPS_MAX {
            return Err(EnqueueError::LoopDetected { hops: new.hops });
        }
        self.time
            .keep(&*self.deps.commit)
            .await
            .map_err(not_stored)?;
        let due = self.time.now();
        let event = Box::new(EventV1 {
            id: new.id,
            function: new.function,
            qualifier: new.qualifier,
            is_qualified: new.is_qualified,
            principal: who.clone(),
            accepted: self.deps.clock.wall(),
            expires: due + policy.event_age_max,
            attempts: 0,
            attempts_max: policy.attempts_max,
            trace: new.trace,
            hops: new.hops,
            client_context: new.client_context.map(Vec::from),
        });
        let ops = vec![Op::EventAdd { event, due, body }];
        let stored = self.deps.commit.commit(who, ops, Fence::None).await;
        stored.map_err(not_stored)?;
        self.wake.notify_one();
        Ok(new.id)
    }

    /// Attempts nothing of `tenant` from here on, or everything again. Its events are accepted, wait
    /// where they are, and age: what is over its age when they go on ends as dead.
    pub fn pause(&self, tenant: &TenantId, is_paused: bool) {
        let mut paused = self.paused.lock();
        let changed = if is_paused {
            paused.insert(tenant.clone())
        } else {
            paused.remove(tenant)
        };
        drop(paused);
        if changed && !is_paused {
            self.wake.notify_one();
        }
    }

    /// Claims nothing more from here on; [`EventQueueWorker::run`] returns once what runs has
    /// ended or the policy's grace is over. Events are accepted still: they are for the next start.
    pub fn begin_drain(&self) {
        self.draining.store(true, Relaxed);
        self.drain.notify_one();
    }

    /// How many events wait, run and ended, since the store was made.
    pub async fn counts(&self) -> Result<EventCounts, ReadError> {
        self.deps.queue.counts(&platform()).await
    }

    /// Forgets what became of events whose time of keeping is over; how many. The counts stay.
    ///
    /// Errors: the store's; what was forgotten until then stays forgotten.
    pub async fn forget_ended(&self) -> Result<u64, CommitError> {
        let now = self.time.now();
        let policy = self.policy.whole();
        let ended = EndedBefore {
            done: now.before(policy.keep_done),
            dead: now.before(policy.keep_dead),
        };
        let mut forgotten = 0;
        loop {
            // In slices: the queue's own commits get their turn between them.
            let slice = self.deps.queue.forget(&platform(), ended, FORGET_SLICE);
            let slice = slice.await?;
            forgotten += slice;
            if slice < FORGET_SLICE as u64 {
                return Ok(forgotten);
            }
        }
    }

    /// What this worker did.
    pub fn work_counts(&self) -> WorkCounts {
        let Counters {
            in_flight,
            attempts,
            successes,
            function_errors,
            deferred,
            dead,
        } = &self.counters;
        WorkCounts {
            in_flight: in_flight.load(Relaxed),
            attempts: attempts.load(Relaxed),
            successes: successes.load(Relaxed),
            function_errors: function_errors.load(Relaxed),
            deferred: deferred.load(Relaxed),
            dead: dead.load(Relaxed),
        }
    }
}

impl QueuePolicy {
    /// The policy that follows from the platform's limits; AWS's delays.
    pub fn from_limits(limits: &Limits) -> Self {
        let longest = u64::from(limits.function_timeout_s) + u64::from(limits.init_timeout_s);
        let defaults = Self::default();
        Self {
            event_bytes_max: limits.async_payload_bytes,
            attempts_max: limits.async_attempts,
            event_age_max: Duration::from_secs(limits.async_event_age_s.into()),
            // Longer than the longest attempt: waiting for a start, init twice, the run.
            lease: defaults.start_wait
                + Duration::from_secs(longest + u64::from(limits.init_timeout_s))
                + defaults.lease_margin,
            ..defaults
        }
    }
}
