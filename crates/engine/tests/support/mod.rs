//! An engine over fakes, and what tests ask of it.
#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use freehold_domain::{
    answers::Answers,
    body::Body,
    budgets::Budgets,
    ids::*,
    invocation::{Invocation, Mode, Source},
    ledger::{LedgerEntry, LedgerFrame, NetworkEntry},
    limits::Limits,
    logs::{LogGroupName, LogLine},
    outcome::{InvokeError, Outcome, OutcomeKind, Usage},
    ports::*,
    principal::Principal,
    record::*,
    runtime::{RuntimeFamily, RuntimeRow},
    time::Wall,
    trace::TraceHeader,
};
use freehold_engine::{Engine, EngineConfig, EngineParts};
use freehold_testkit::{
    contract::FakeContract,
    sandbox::{FakeDriver, FakeWorld},
    seams::{FakeCredentials, FakePackages, FakePlatform, FakeSealer},
    sim::{SimClock, SimIds},
    storage::MemoryStorage,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

pub const CORES: u16 = 2;

pub struct Sim {
    pub seed: u64,
    pub engine: Arc<Engine>,
    pub world: Arc<FakeWorld>,
    pub store: Arc<MemoryStorage>,
    pub clock: Arc<SimClock>,
    pub ids: Arc<SimIds>,
    pub packages: Arc<FakePackages>,
    pub credentials: Arc<FakeCredentials>,
    pub platform: Arc<FakePlatform>,
    invokers: Vec<Arc<dyn Invoke>>,
    cores: Vec<tokio::sync::oneshot::Sender<()>>,
}

pub fn tenant() -> TenantId {
    "111111111111".parse().unwrap()
}
pub fn region() -> Region {
    "us-east-1".parse().unwrap()
}
/// A function of `tenant()`, or of another one: `222222222222/name`.
pub fn function(name: &str) -> FunctionRef {
    let (tenant, name) = match name.split_once('/') {
        Some((other, name)) => (other.parse().unwrap(), name),
        None => (tenant(), name),
    };
    FunctionRef {
        tenant,
        region: region(),
        name: name.parse().unwrap(),
    }
}
pub fn who() -> Principal {
    Principal::platform("test")
}

impl Sim {
    pub async fn new() -> Sim {
        Self::with(|_| {}).await
    }

    /// A started engine; `adjust` changes its parts first.
    pub async fn with(adjust: impl FnOnce(&mut EngineParts)) -> Sim {
        Self::on_cores(adjust, |engine, core| {
            engine.on_core(core);
            tokio::sync::oneshot::channel().0
        })
        .await
    }

    /// The same with cores that the test makes.
    pub async fn on_cores(
        adjust: impl FnOnce(&mut EngineParts),
        core: impl Fn(Arc<Engine>, CoreId) -> tokio::sync::oneshot::Sender<()>,
    ) -> Sim {
        let seed = freehold_testkit::sim::seed();
        println!("FREEHOLD_SEED={seed}");
        let world = FakeWorld::new(seed);
        let clock = SimClock::new(Wall::from_millis(1_795_000_000_000));
        let store = MemoryStorage::new(clock.clone());
        let ids = SimIds::new(seed);
        let (packages, credentials) = (
            Arc::<FakePackages>::default(),
            Arc::<FakeCredentials>::default(),
        );
        let platform = Arc::<FakePlatform>::default();
        let contract: Arc<dyn Contract> = Arc::new(FakeContract(world.clone()));
        let mut parts = EngineParts {
            records: store.clone(),
            commit: store.clone(),
            ledger: store.clone(),
            logs: store.clone(),
            packages: packages.clone(),
            driver: Arc::new(FakeDriver(world.clone())),
            contracts: HashMap::from([(RuntimeFamily::Python, contract)]),
            in_process: None,
            runtimes: vec![RuntimeRow {
                id: 1,
                name: "python3.12".parse().unwrap(),
                family: RuntimeFamily::Python,
                version: "3.12.1".to_owned(),
                digest: Digest([7; 32]),
                root: "/nowhere".into(),
                mounts: vec![],
                argv: vec!["/bin/python".to_owned()],
                env: vec![],
            }],
            clock: clock.clone(),
            ids: ids.clone(),
            sealer: Arc::new(FakeSealer),
            credentials: credentials.clone(),
            platform: platform.clone(),
            names: platform.clone(),
            networks: Arc::default(),
            limits: Limits::default().into(),
            tenants: Arc::default(),
            answers: Answers::new(Limits::default().into(), Arc::default()),
            budgets: Arc::new(Budgets::new(CORES)),
            config: EngineConfig::default().into(),
            cores: CORES,
        };
        adjust(&mut parts);
        let engine = Engine::new(parts);
        let cores = (0..CORES)
            .map(|at| core(engine.clone(), CoreId(at)))
            .collect();
        engine.start().await.unwrap();
        let invokers = (0..CORES)
            .map(|core| engine.invoker(CoreId(core)))
            .collect();
        Sim {
            seed,
            engine,
            world,
            store,
            clock,
            ids,
            packages,
            credentials,
            platform,
            invokers,
            cores,
        }
    }

    pub fn spec(&self, generation: u64) -> RevisionSpecV1 {
        RevisionSpecV1 {
            generation,
            runtime: "python3.12".parse().unwrap(),
            substitute: None,
            handler: Some("app.handler".to_owned()),
            package: PackageV1 {
                digest: Digest([u8::try_from(generation % 250).unwrap(); 32]),
                zip_bytes: 1,
                unpacked_bytes: 1,
                holds_libraries: false,
            },
            role: "arn:aws:iam::111111111111:role/r".to_owned(),
            description: String::new(),
            memory: Mebibytes(128),
            timeout_s: 3,
            tmp: Mebibytes(512),
            environment: Some(FakeSealer.seal(
                format!("{{\"GENERATION\":\"{generation}\",\"AWS_REGION\":\"moon\"}}").as_bytes(),
                "111111111111/us-east-1/f",
            )),
            logging: LoggingV1 {
                group: None,
                json: false,
                application_level: None,
                system_level: None,
            },
            snap_start: false,
            left_network: false,
            network: None,
            architecture: "x86_64".to_owned(),
            revision_id: String::new(),
            modified: self.clock.wall(),
        }
    }

    /// Writes a function as `control` does: its head pending, its served part untouched.
    pub async fn put(&self, name: &str, adjust: impl FnOnce(&mut FunctionV1)) {
        let function = function(name);
        let key = Key::function(&function.tenant, &function.region, &function.name);
        let stored = Records::get(&*self.store, &who(), &key).await.unwrap();
        let (mut record, expect) = match stored {
            Some(stored) => {
                let mut record: FunctionV1 = decode(&stored.bytes).unwrap();
                record.head.generation += 1;
                record.head = RevisionSpecV1 {
                    memory: record.head.memory,
                    ..self.spec(record.head.generation)
                };
                record.last_update = UpdateStateV1::InProgress;
                (record, Expect::Version(stored.version))
            }
            None => (
                FunctionV1 {
                    name: function.name.clone(),
                    created: self.clock.wall(),
                    head: self.spec(1),
                    served: None,
                    state: FunctionStateV1::Pending,
                    last_update: UpdateStateV1::InProgress,
                    next_revision: 1,
                    reserved_concurrency: None,
                    tags: Default::default(),
                },
                Expect::Absent,
            ),
        };
        if name != "f" {
            record.head.environment = None;
        }
        adjust(&mut record);
        let op = Op::Put {
            key,
            expect,
            bytes: encode(&record),
        };
        self.store
            .commit(&who(), vec![op], Fence::None)
            .await
            .unwrap();
    }

    pub async fn record(&self, name: &str) -> FunctionV1 {
        let function = function(name);
        let key = Key::function(&function.tenant, &function.region, &function.name);
        decode(
            &Records::get(&*self.store, &who(), &key)
                .await
                .unwrap()
                .unwrap()
                .bytes,
        )
        .unwrap()
    }

    /// Writes a function and waits until its head is served.
    pub async fn deploy(&self, name: &str, adjust: impl FnOnce(&mut FunctionV1)) {
        self.put(name, adjust).await;
        while self.record(name).await.last_update == UpdateStateV1::InProgress {
            self.sleep(1).await;
        }
        assert_eq!(
            self.record(name).await.last_update,
            UpdateStateV1::Successful
        );
    }

    /// Changes a function's head, and waits until that is served or has failed.
    pub async fn change(&self, name: &str) {
        self.put(name, |_| {}).await;
        while self.record(name).await.last_update == UpdateStateV1::InProgress {
            self.sleep(1).await;
        }
    }

    pub async fn delete(&self, name: &str) {
        let function = function(name);
        let key = Key::function(&function.tenant, &function.region, &function.name);
        let op = Op::Delete {
            key,
            expect: Expect::Any,
        };
        self.store
            .commit(&who(), vec![op], Fence::None)
            .await
            .unwrap();
    }

    pub fn event(&self, name: &str, body: &str) -> Invocation {
        let id = self.ids.invocation();
        Invocation {
            id,
            principal: who(),
            function: function(name),
            qualifier: Qualifier::Latest,
            is_qualified: false,
            attempt: 1,
            by_url: None,
            deadline: self.clock.now() + Duration::from_secs(30),
            run_until: None,
            mode: Mode::RequestResponse,
            trace: TraceHeader::new_root(id.0),
            hops: 0,
            source: Source::Api,
            client_context: None,
            log_tail: true,
            body: Body::full(Bytes::copy_from_slice(body.as_bytes())),
        }
    }

    pub fn invoker(&self, core: u16) -> Arc<dyn Invoke> {
        self.invokers[usize::from(core)].clone()
    }

    pub async fn run(&self, invocation: Invocation) -> Result<Outcome, InvokeError> {
        self.invoker(0).invoke(invocation).await
    }

    /// Runs an event: its answer's text, and how it ended.
    pub async fn call(&self, name: &str, body: &str) -> Result<(OutcomeKind, String), InvokeError> {
        answer(self.run(self.event(name, body)).await)
            .await
            .map(|(kind, text, _)| (kind, text))
    }

    /// The same in a task.
    pub fn spawn(
        &self,
        core: u16,
        invocation: Invocation,
    ) -> tokio::task::JoinHandle<Result<(OutcomeKind, String, Usage), InvokeError>> {
        let invoker = self.invoker(core);
        tokio::spawn(async move { answer(invoker.invoke(invocation).await).await })
    }

    pub async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    pub async fn sleep_us(&self, us: u64) {
        tokio::time::sleep(Duration::from_micros(us)).await;
    }

    /// Every attempt on the ledger.
    pub async fn ledger(&self) -> Vec<LedgerEntry> {
        let frames = frames_of(&*self.store).await.into_iter();
        let attempts = frames.filter_map(|frame| match frame {
            LedgerFrame::Attempt(entry) => Some(*entry),
            LedgerFrame::Network(_) => None,
        });
        attempts.collect()
    }

    /// What the ledger says of networks.
    pub async fn networks(&self) -> Vec<NetworkEntry> {
        networks_of(&*self.store).await
    }

    /// Every line of a function's log, stream by stream.
    pub async fn lines(&self, name: &str) -> Vec<LogLine> {
        let group = LogGroupName {
            tenant: tenant(),
            region: region(),
            group: format!("/aws/lambda/{name}"),
        };
        let streams = self
            .store
            .streams(&who(), &group, "", None, usize::MAX)
            .await
            .unwrap();
        let mut lines = Vec::new();
        for stream in streams {
            let name = freehold_domain::logs::LogStreamName {
                group: group.clone(),
                stream: stream.name,
            };
            let query = LogQuery {
                from: None,
                until: None,
                position: None,
                backwards: false,
                limit: 1_000_000,
                bytes: usize::MAX,
            };
            let page = LogStore::read(&*self.store, &who(), &name, query)
                .await
                .unwrap();
            lines.extend(page.lines.into_iter().map(|(_, _, line)| line));
        }
        lines
    }

    pub async fn texts(&self, name: &str) -> Vec<String> {
        let lines = self.lines(name).await;
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(&line.text).into_owned())
            .collect()
    }

    /// Nothing is held and no rule was broken.
    pub async fn ends_clean(&self) {
        self.engine
            .shutdown(self.clock.now() + Duration::from_secs(60))
            .await;
        self.is_quiet();
        assert_eq!(self.world.live(), 0, "instances are left");
        assert_eq!(self.credentials.live(), 0, "credentials are left");
        assert_eq!(self.platform.live(), 0, "endpoints are left");
        let stats = self.engine.stats();
        assert_eq!(
            (stats.instances, stats.memory_booked_bytes),
            (0, 0),
            "{stats:?}"
        );
    }

    /// Nothing runs and no rule was broken.
    pub fn is_quiet(&self) {
        let stats = self.engine.stats();
        assert_eq!(
            (
                stats.in_flight,
                stats.concurrency,
                stats.waiting,
                stats.starting
            ),
            (0, 0, 0, 0),
            "{stats:?}"
        );
        assert_eq!(self.world.rules_broken(), Vec::<String>::new());
    }
}

async fn frames_of(ledger: &dyn Ledger) -> Vec<LedgerFrame> {
    let mut entries = Vec::new();
    for lane in ledger.lanes().await.unwrap() {
        let (frames, _) = ledger.read(lane, 0, usize::MAX).await.unwrap();
        entries.extend(frames.iter().map(|frame| LedgerFrame::read(frame).unwrap()));
    }
    entries
}

pub async fn networks_of(ledger: &dyn Ledger) -> Vec<NetworkEntry> {
    let frames = frames_of(ledger).await.into_iter();
    let networks = frames.filter_map(|frame| match frame {
        LedgerFrame::Network(entry) => Some(entry),
        LedgerFrame::Attempt(_) => None,
    });
    networks.collect()
}

pub async fn answer(
    outcome: Result<Outcome, InvokeError>,
) -> Result<(OutcomeKind, String, Usage), InvokeError> {
    let outcome = outcome?;
    let (body, trailer) = outcome.body.collect(u64::MAX).await.unwrap();
    let usage = trailer.expect("a settled outcome has a trailer").usage;
    Ok((
        outcome.head.kind,
        String::from_utf8_lossy(&body).into_owned(),
        usage,
    ))
}
