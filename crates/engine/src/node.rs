//! What the cores of one node share.
//!
//! Every lock in here is short and none is held across an await.

use crate::{
    admission::Admission,
    keep::Seconds,
    parts::EngineParts,
    pool::{
        CompiledBook, Gate, MemoryBook, Peopled, Snapshots, StartRates, Tenants, Traffics,
        stock::Stock,
    },
    route::{Revision, Routes},
    stats::Counters,
    tags::Tags,
};
use freehold_domain::{
    ids::{CoreId, FunctionRef, Qualifier, TenantId},
    limits::Limits,
    ports::Clock,
    time::Mono,
};
use parking_lot::Mutex;
use std::{
    cell::Cell,
    collections::HashMap,
    future::Future,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
};

thread_local! {
    /// The core whose runtime this thread runs.
    static HERE: Cell<Option<CoreId>> = const { Cell::new(None) };
}

/// Whether this thread is the one of `core`.
pub(crate) fn is_here(core: CoreId) -> bool {
    HERE.get() == Some(core)
}

pub(crate) struct Node {
    pub(crate) parts: EngineParts,
    /// Seconds from midnight UTC to the clock's origin, when the node was made.
    origin: Seconds,
    /// Instances that revisions have ready at the least, where somebody asked for it.
    pub(crate) minimums: Mutex<HashMap<(FunctionRef, Qualifier), u32>>,
    pub(crate) routes: Routes,
    pub(crate) admission: Admission,
    pub(crate) tags: Tags,
    pub(crate) memory: MemoryBook,
    /// The revisions that have instances.
    pub(crate) peopled: Peopled,
    /// What counts instances' networks, of those that come up too.
    pub(crate) traffics: Traffics,
    pub(crate) tenants: Tenants,
    pub(crate) start_rates: StartRates,
    pub(crate) snapshots: Snapshots,
    pub(crate) compiled: CompiledBook,
    /// Booted instances that are nobody's yet.
    pub(crate) stock: Stock,
    /// By core: how many instances come up at once.
    gates: Vec<Arc<Gate>>,
    pub(crate) counters: Arc<Counters>,
    /// Set once shutdown began.
    pub(crate) draining: AtomicBool,
    cores: Vec<OnceLock<Handle>>,
    revisions: Mutex<Vec<Weak<Revision>>>,
    stop: watch::Sender<bool>,
    running: AtomicUsize,
    quiet: Notify,
}

impl Node {
    /// How long an init has.
    pub(crate) fn init_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.parts.limits.now().init_timeout_s))
    }

    pub(crate) fn new(parts: EngineParts) -> Self {
        Self {
            origin: origin(&*parts.clock),
            minimums: Mutex::default(),
            routes: Routes::new(),
            admission: Admission::new(parts.limits.clone()),
            tags: Tags::new(parts.cores.into()),
            memory: MemoryBook::new(),
            peopled: Peopled::default(),
            traffics: Traffics::new(parts.cores),
            tenants: Tenants::default(),
            start_rates: StartRates::default(),
            snapshots: Snapshots::new(),
            compiled: CompiledBook::default(),
            stock: Stock::default(),
            gates: (0..parts.cores.max(1))
                .map(|_| Gate::new(parts.config.now().starts_at_once))
                .collect(),
            counters: Arc::default(),
            draining: AtomicBool::new(false),
            cores: (0..parts.cores.max(1)).map(|_| OnceLock::new()).collect(),
            revisions: Mutex::default(),
            stop: watch::Sender::new(false),
            running: AtomicUsize::new(0),
            quiet: Notify::new(),
            parts,
        }
    }

    /// An instant as the policy of keeping counts.
    pub(crate) fn seconds(&self, at: Mono) -> Seconds {
        self.origin + at.0 as f64 / 1e9
    }

    /// The instant of the policy's seconds, rounded up: whoever wakes then finds them passed.
    pub(crate) fn mono(&self, seconds: Seconds) -> Mono {
        Mono(((seconds - self.origin).max(0.0) * 1e9).ceil() as u64 + 1_000)
    }

    /// The runtime that is current becomes the core's: its mailbox is that runtime's queue.
    pub(crate) fn register(&self, core: CoreId) {
        HERE.set(Some(core));
        if let Some(slot) = self.cores.get(usize::from(core.0)) {
            let _ = slot.set(Handle::current());
        }
    }

    /// The ceilings that hold for a tenant now.
    pub(crate) fn limits_of(&self, tenant: &TenantId) -> Limits {
        self.parts.tenants.limits(tenant, self.parts.limits.now())
    }

    /// Where the starts of a core stand in line.
    pub(crate) fn gate(&self, core: CoreId) -> &Arc<Gate> {
        let at = usize::from(core.0).min(self.gates.len() - 1);
        &self.gates[at]
    }

    /// Runs a value on the core that it belongs to; on the same core that is its local queue.
    pub(crate) fn spawn_on<F>(&self, core: CoreId, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self.cores.get(usize::from(core.0)).and_then(OnceLock::get) {
            Some(handle) => handle.spawn(task),
            None => tokio::spawn(task),
        }
    }

    /// Remembers a revision for as long as somebody holds it.
    pub(crate) fn remember(&self, revision: &Arc<Revision>) {
        let mut revisions = self.revisions.lock();
        // Looked through only before it would grow: once per revision is once too often per
        // function where there are a hundred thousand.
        if revisions.len() == revisions.capacity() {
            revisions.retain(|known| known.strong_count() > 0);
            // A list that is nearly full of the living would be looked through at every push.
            let alive = revisions.len();
            if alive > revisions.capacity() / 2 {
                revisions.reserve(alive);
            }
        }
        revisions.push(Arc::downgrade(revision));
    }

    /// Every revision that somebody holds.
    pub(crate) fn revisions(&self) -> Vec<Arc<Revision>> {
        self.revisions
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Counts a running invocation until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running(self.clone())
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Ends what still comes up: shutdown has waited long enough.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Resolves once [`Node::stop`] was called.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in `self`, so the wait ends with the word alone.
        let _ = stop.wait_for(|stopped| *stopped).await;
    }

    /// Resolves when nothing runs.
    pub(crate) async fn until_quiet(&self) {
        loop {
            let notified = self.quiet.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.running() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// The clock's origin, counted from a midnight before it: which one does not matter, and small
/// numbers are precise ones.
fn origin(clock: &dyn Clock) -> Seconds {
    const DAY_US: i64 = 86_400_000_000;
    let (now, wall) = (clock.now(), clock.wall());
    let origin = wall.0.rem_euclid(DAY_US) as f64 / 1e6 - now.0 as f64 / 1e9;
    origin.rem_euclid(86_400.0)
}

/// See [`Node::begin`].
pub(crate) struct Running(Arc<Node>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}
