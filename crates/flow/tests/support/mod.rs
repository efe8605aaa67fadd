//! The queue's world: a fake engine, a store in memory and a clock that outruns the wall.
#![allow(dead_code)] // each test file uses its own part

use freehold_domain::{
    Body, BoxFuture, FunctionErrorKind, FunctionRef, Invocation, InvocationId, InvokeError, Mode,
    Outcome, OutcomeHead, OutcomeKind, Principal, Qualifier, Source, TenantId, TraceHeader, Wall,
    live::Live,
    ports::{Clock, EventQueue, EventState, Ids, Invoke},
    record::EventEnd,
};
use freehold_flow::queue::{EventQueueWorker, NewEvent, QueueDeps, QueuePolicy};
use freehold_testkit::{
    sim::{SimClock, SimIds},
    storage::MemoryStorage,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// What the fake engine does with one attempt: how long it takes and how it ends.
pub type Script =
    Box<dyn Fn(&Invocation) -> (Duration, Result<OutcomeKind, InvokeError>) + Send + Sync>;

/// One attempt as the fake engine saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub id: InvocationId,
    pub attempt: u32,
    pub at: Duration,
    pub ended: bool,
}

pub struct FakeEngine {
    pub clock: Arc<SimClock>,
    pub start: freehold_domain::Mono,
    pub script: Script,
    pub seen: Mutex<Vec<Seen>>,
    pub running: Mutex<HashMap<TenantId, (usize, usize)>>,
    pub at_once: Mutex<HashSet<InvocationId>>,
}

struct Running<'a>(&'a FakeEngine, TenantId, InvocationId);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut running = self.0.running.lock();
        running.get_mut(&self.1).expect("was counted").0 -= 1;
        self.0.at_once.lock().remove(&self.2);
    }
}

impl Invoke for FakeEngine {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'_, Result<Outcome, InvokeError>> {
        assert_eq!(
            (invocation.mode, &invocation.source),
            (Mode::Event, &Source::Queue)
        );
        let tenant = invocation.function.tenant.clone();
        let is_first = self.at_once.lock().insert(invocation.id);
        assert!(is_first, "{} runs twice at once", invocation.id);
        let number = {
            let mut running = self.running.lock();
            let (now, most) = running.entry(tenant.clone()).or_default();
            *now += 1;
            *most = (*most).max(*now);
            let mut seen = self.seen.lock();
            seen.push(Seen {
                id: invocation.id,
                attempt: invocation.attempt,
                at: self.clock.now().since(self.start),
                ended: false,
            });
            seen.len() - 1
        };
        let guard = Running(self, tenant, invocation.id);
        let (span, result) = (self.script)(&invocation);
        let sleep = self.clock.sleep(span);
        Box::pin(async move {
            let _guard = guard;
            sleep.await;
            self.seen.lock()[number].ended = true;
            result.map(|kind| Outcome {
                head: OutcomeHead {
                    kind,
                    executed: Qualifier::Latest,
                    content_type: None,
                    log_tail: None,
                },
                body: Body::full("{\"errorMessage\":\"boom\"}"),
                room: None,
            })
        })
    }
}

pub const FAILED: OutcomeKind = OutcomeKind::FunctionError(FunctionErrorKind::Handled);
pub const QUICK: Duration = Duration::from_millis(20);

pub struct World {
    pub clock: Arc<SimClock>,
    pub store: Arc<MemoryStorage>,
    pub engine: Arc<FakeEngine>,
    pub ids: Arc<SimIds>,
    pub policy: QueuePolicy,
}

impl World {
    pub fn new(
        seed: u64,
        script: impl Fn(&Invocation) -> (Duration, Result<OutcomeKind, InvokeError>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let clock = SimClock::new(Wall(1_700_000_000_000_000));
        let engine = FakeEngine {
            start: clock.now(),
            clock: clock.clone(),
            script: Box::new(script),
            seen: Mutex::default(),
            running: Mutex::default(),
            at_once: Mutex::default(),
        };
        Self {
            store: MemoryStorage::new(clock.clone()),
            engine: Arc::new(engine),
            ids: SimIds::new(seed),
            policy: QueuePolicy::default(),
            clock,
        }
    }

    pub async fn worker(&self) -> Arc<EventQueueWorker> {
        self.worker_with(self.policy.clone().into()).await
    }

    pub async fn worker_with(&self, policy: Live<QueuePolicy>) -> Arc<EventQueueWorker> {
        let deps = QueueDeps {
            queue: self.store.clone(),
            commit: self.store.clone(),
            invoke: self.engine.clone(),
            clock: self.clock.clone(),
        };
        let opened = EventQueueWorker::open(deps, policy).await;
        opened.expect("the store reads")
    }

    pub fn event(&self, tenant: &TenantId) -> NewEvent {
        let id = self.ids.invocation();
        NewEvent {
            id,
            function: FunctionRef {
                tenant: tenant.clone(),
                region: "us-east-1".parse().expect("a region"),
                name: "f".parse().expect("a name"),
            },
            qualifier: Qualifier::Latest,
            is_qualified: false,
            trace: TraceHeader::new_root(id.0),
            hops: 1,
            client_context: None,
        }
    }

    pub async fn enqueue(&self, worker: &EventQueueWorker, owner: u64) -> InvocationId {
        let tenant = tenant(owner);
        let event = self.event(&tenant);
        let accepted = worker.enqueue(&root(&tenant), event, "{}".into()).await;
        accepted.expect("accepted")
    }

    pub async fn state(&self, id: InvocationId) -> EventState {
        let who = Principal::platform("test");
        let state = EventQueue::state(&*self.store, &who, id).await;
        state.expect("reads").expect("was accepted")
    }

    pub fn attempts(&self, id: InvocationId) -> Vec<(u32, u64)> {
        let seen = self.engine.seen.lock();
        let of = seen.iter().filter(|seen| seen.id == id);
        of.map(|seen| (seen.attempt, seen.at.as_secs())).collect()
    }

    /// Runs `worker` for a span of simulated time.
    pub async fn run_for(&self, worker: &EventQueueWorker, span: Duration) {
        tokio::select! {
            () = worker.run() => panic!("nobody drained it"),
            () = self.clock.sleep(span) => {}
        }
    }
}

pub fn tenant(number: u64) -> TenantId {
    format!("{number:012}").parse().expect("12 digits")
}

pub fn root(tenant: &TenantId) -> Principal {
    Principal::Root {
        tenant: tenant.clone(),
        key: "AKIA".to_owned(),
    }
}

pub fn dead(state: EventState) -> (String, Option<String>) {
    match state {
        EventState::Ended {
            end: EventEnd::Dead { reason, last_error },
            ..
        } => (reason, last_error),
        other => panic!("not dead: {other:?}"),
    }
}

pub const HOUR: Duration = Duration::from_secs(3600);
