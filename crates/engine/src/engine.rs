//! The engine as the server holds it.

use crate::{
    node::Node,
    parts::EngineParts,
    pipeline,
    pool::{self, Cell},
    reconcile,
    route::{self, Revision, RouteWatcher},
    stats::{InstanceState, InstanceView, Stats},
};
use freehold_domain::{
    BoxFuture,
    ids::{CoreId, FunctionRef, InvocationId, Qualifier, Region, TenantId},
    invocation::Invocation,
    outcome::{InvokeError, Outcome, OutcomeKind},
    ports::{Invoke, NotUp},
    record::{Key, TargetV1},
    time::Mono,
};
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// Time for the destroying of every instance at shutdown.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The data plane of one node.
///
/// Life: [`Engine::new`], [`Engine::on_core`] on every core's runtime, [`Engine::start`] once,
/// then [`Engine::invoker`]s serve; [`Engine::shutdown`] ends it.
pub struct Engine {
    node: Arc<Node>,
    queue: mpsc::UnboundedSender<Key>,
    queued: Mutex<Option<mpsc::UnboundedReceiver<Key>>>,
    /// Ends the watch with the engine.
    _watch: Box<dyn Send + Sync>,
    started: AtomicBool,
}

impl Engine {
    /// An engine that watches its store already but has neither cores nor tasks.
    pub fn new(parts: EngineParts) -> Arc<Self> {
        let records = parts.records.clone();
        let node = Arc::new(Node::new(parts));
        let (queue, queued) = mpsc::unbounded_channel();
        let watcher = RouteWatcher {
            node: Arc::downgrade(&node),
            reconcile: queue.clone(),
        };
        Arc::new(Self {
            node,
            queue,
            queued: Mutex::new(Some(queued)),
            _watch: records.watch(Arc::new(watcher)),
            started: AtomicBool::new(false),
        })
    }

    /// Makes the current runtime the one of `core`: called once on each core, on its own runtime,
    /// before anything is invoked there.
    pub fn on_core(&self, core: CoreId) {
        self.node.register(core);
        tokio::spawn(pool::watch_traffic(Arc::downgrade(&self.node), core));
    }

    /// Reads every function once and begins to make ready what is unfinished; on core 0's runtime,
    /// before the first request.
    ///
    /// Errors: the store's text.
    pub async fn start(&self) -> Result<(), String> {
        if self.started.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        if let Some(queued) = self.queued.lock().take() {
            tokio::spawn(reconcile::work(Arc::downgrade(&self.node), queued));
        }
        reconcile::scan(&self.node, &self.queue).await
    }

    /// Runs events that arrive on `core`.
    pub fn invoker(&self, core: CoreId) -> Arc<dyn Invoke> {
        Arc::new(Invoker {
            node: self.node.clone(),
            core,
        })
    }

    /// Kills an invocation that runs, with everything on its instance; its own caller hears
    /// [`InvokeError::InstanceLost`] once the kill is confirmed. `false` when it does not run here
    /// (any more), or waits for a slot still.
    pub fn cancel(&self, id: InvocationId) -> bool {
        let revisions = self.node.revisions();
        let mut cells = revisions.iter().flat_map(|revision| revision.pool.cells());
        cells.any(|(cell, _, _)| cell.cancel(id))
    }

    /// Admits nothing more, lets what runs finish until `deadline`, then destroys every instance.
    /// Resolves when nothing is left, or [`ENDS_WITHIN`] later: what a spawner that hangs holds is
    /// the supervisor's to kill.
    pub async fn shutdown(&self, deadline: Mono) {
        let node = &self.node;
        node.draining.store(true, Ordering::Release);
        tokio::select! {
            () = node.until_quiet() => {}
            () = node.parts.clock.sleep_until(deadline) => {
                tracing::warn!(running = node.running(), "shutdown goes on over running invocations");
            }
        }
        node.stop();
        let ends_by = node.parts.clock.now().max(deadline) + ENDS_WITHIN;
        tokio::select! {
            () = self.end_all() => {}
            () = node.parts.clock.sleep_until(ends_by) => {
                tracing::error!(running = node.running(), "instances do not end; left to the supervisor");
            }
        }
    }

    /// Destroys every instance, those that come up too.
    async fn end_all(&self) {
        let node = &self.node;
        loop {
            let revisions = node.revisions();
            // First, since what has left its shelf by then is known to be on its way.
            node.stock.clear().await;
            let is_starting = revisions
                .iter()
                .any(|revision| revision.pool.counts().2 > 0)
                || node.snapshots.counts().2 > 0
                || node.stock.is_making();
            let mut is_empty = true;
            for revision in &revisions {
                for (cell, _, _) in revision.pool.cells() {
                    is_empty = false;
                    revision.pool.remove(cell.id);
                    // Whoever runs on it sees the exit and settles with it.
                    cell.end_soon(node);
                }
            }
            if is_empty && !is_starting {
                break;
            }
            if is_starting {
                revisions.iter().for_each(|revision| revision.retire(node));
                node.parts.clock.sleep(Duration::from_millis(10)).await;
            }
        }
        node.until_quiet().await;
        node.snapshots.clear();
    }

    /// Keeps at least `count` instances of a function's head or of one of its versions ready from
    /// now on, in place of what was asked for before; 0 asks for none. It holds for the revisions
    /// that follow, until the node ends: one that dies is replaced, memory pressure spares them.
    ///
    /// Errors: [`InvokeError::NotFound`], [`InvokeError::NotReady`]; it holds from the moment on at
    /// which the function can be called.
    pub async fn set_minimum(
        &self,
        function: &FunctionRef,
        qualifier: &Qualifier,
        count: u32,
    ) -> Result<(), InvokeError> {
        let wanted = (function.clone(), qualifier.clone());
        if count == 0 {
            self.node.minimums.lock().remove(&wanted);
        } else {
            self.node.minimums.lock().insert(wanted, count);
        }
        let revision = route::resolve(&self.node, function, qualifier).await?;
        revision.set_minimum(&self.node, count);
        Ok(())
    }

    /// Resolves once an instance of `target` is there or came up, which stays for the calls that follow.
    ///
    /// Errors: [`NotUp`].
    pub async fn comes_up(&self, function: &FunctionRef, target: TargetV1) -> Result<(), NotUp> {
        pool::comes_up(&self.node, CoreId(0), function, target).await
    }

    /// The settings were changed: what is looked at now and then is looked at now. Instances that
    /// have idled for longer than they may from now on go, and what is to be ready comes up.
    pub fn reconfigured(&self) {
        self.node.parts.answers.reconfigured();
        self.node.compiled.reconfigured(&self.node);
        let ready = self.node.parts.config.now().ready;
        for revision in self.node.routes.served() {
            if revision.executed == Qualifier::Latest {
                revision.set_ready(&self.node, ready);
            } else {
                revision.tend(&self.node, CoreId(0));
            }
        }
    }

    /// The numbers of this moment.
    pub fn stats(&self) -> Stats {
        let (snapshots, snapshot_bytes, _) = self.node.snapshots.counts();
        let (compiled, compiled_bytes) = self.node.compiled.counts();
        let mut stats = Stats {
            snapshots: snapshots as u64,
            snapshot_bytes,
            compiled: compiled as u64,
            compiled_bytes,
            in_flight: self.node.running() as u64,
            concurrency: self.node.admission.in_flight(),
            memory_booked_bytes: self.node.memory.booked_bytes(),
            booted: self.node.stock.len() as u64,
            answers_held_bytes: self.node.parts.answers.held_bytes(),
            answers_waited: self.node.parts.answers.waited(),
            ..self.node.counters.read()
        };
        let budgets = self.node.parts.budgets.counts(self.node.parts.clock.wall());
        (
            stats.budgets_warned,
            stats.budgets_exhausted,
            stats.budgets_closed,
        ) = budgets;
        let (templates, bytes) = self.node.stock.templates.held();
        (stats.templates, stats.template_bytes) = (templates as u64, bytes);
        for revision in self.node.revisions() {
            let (instances, frozen, starting, waiting) = revision.pool.counts();
            stats.instances += instances as u64;
            stats.instances_frozen += frozen as u64;
            stats.starting += starting as u64;
            stats.waiting += waiting as u64;
            if !revision.pool.is_retired() {
                let minimum = u64::from(revision.pool.minimum());
                stats.instances_minimum += minimum;
                stats.instances_missing += minimum.saturating_sub(instances as u64);
            }
        }
        stats
    }

    /// What the functions of an account have reserved together in a region.
    pub fn reserved_concurrency(&self, tenant: &TenantId, region: &Region) -> u32 {
        self.node.admission.reserved_sum(tenant, region)
    }

    /// The instances of the functions that `of` names; their spawners are asked side by side.
    pub async fn instances(&self, of: impl Fn(&FunctionRef) -> bool) -> Vec<InstanceView> {
        let now = self.node.parts.clock.now();
        let revisions = self.node.revisions().into_iter();
        let own = revisions.filter(|revision| of(&revision.function));
        let asked = own.flat_map(|revision| {
            let cells = revision.pool.cells().into_iter();
            cells.map(move |(cell, busy, is_frozen)| {
                view(revision.clone(), cell, busy, is_frozen, now)
            })
        });
        join_all(asked).await
    }
}

async fn view(
    revision: Arc<Revision>,
    cell: Arc<Cell>,
    busy: u16,
    is_frozen: bool,
    now: Mono,
) -> InstanceView {
    let usage = cell.instance.usage().await.unwrap_or_default();
    InstanceView {
        id: cell.id,
        function: revision.function.clone(),
        revision: revision.executed.clone(),
        generation: revision.spec.generation,
        state: match (busy, is_frozen) {
            (0, true) => InstanceState::Frozen,
            (0, false) => InstanceState::Idle,
            _ => InstanceState::Busy,
        },
        busy,
        slots: cell.slots,
        core: cell.core,
        since: cell.since,
        age: now.since(cell.since_at),
        memory_bytes: usage.memory_bytes,
        memory_limit_bytes: revision.spec.memory.bytes(),
        cpu_us: usage.cpu_us,
        invocations: cell.invocations.load(Ordering::Relaxed),
    }
}

/// One core's way in.
struct Invoker {
    node: Arc<Node>,
    core: CoreId,
}

impl Invoke for Invoker {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'_, Result<Outcome, InvokeError>> {
        let tenant = invocation.function.tenant.clone();
        Box::pin(async move {
            let ran = pipeline::run(&self.node, self.core, invocation).await;
            // What failed meanwhile was taken away with all that its tenant ran, however its end
            // was noticed: a lost instance, a line that broke, a process that was killed.
            let is_cut_short = match &ran {
                Err(error) => matches!(error, InvokeError::InstanceLost { .. }),
                Ok(outcome) => matches!(outcome.head.kind, OutcomeKind::FunctionError(_)),
            };
            match is_cut_short && self.node.admission.is_disabled(&tenant) {
                true => Err(InvokeError::TenantDisabled),
                false => ran,
            }
        })
    }
}
