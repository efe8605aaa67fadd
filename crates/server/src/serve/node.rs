//! The node: everything wired, one thread per core, until a signal.

use super::{
    Settings, StartFailure, budgets, chain,
    clock::{SystemClock, SystemIds},
    disk::DiskFloor,
    endpoint::{self, CredentialsFile},
    failure,
    folder::Folder,
    front_door::FrontDoor,
    keys,
    listeners::Listeners,
    notify,
    processors::Processors,
    reload::Running,
    runtimes::{self, Check},
    settings::{Cells, instance_limits, networks},
    tenants,
    wiring::{KnownGroups, LateEngine, LateInvoke, Numbers, QueueSink, invoker_here},
};
use crate::config::Config;
use freehold_api::{Api, ApiParts, Audience, Front, InstanceEndpoint};
use freehold_catalog::Catalog;
use freehold_contracts::{DirectFrames, LambdaRuntime};
use freehold_control::{
    Control, ControlParts,
    archive::SubprocessUnpacker,
    bootstrap::{Keys, Started},
    packages::{PackageParts, PackageStore},
};
use freehold_domain::{
    CoreId,
    answers::Answers,
    budgets::Budgets,
    live::Live,
    ports::{
        Clock, Commit, Contract, Ids, InProcess, InstanceCredentials, Invoke, Ledger, Packages,
        PlatformEndpoint, Records, SandboxDriver, Sealer, Storage,
    },
    runtime::RuntimeFamily,
    tenants::TenantTable,
};
use freehold_egress::{Names, Serving};
use freehold_engine::{Engine, EngineParts};
use freehold_flow::queue::{EventQueueWorker, QueueDeps};
use freehold_identity::{KeyRing, KeySource, NodeSealer, Sessions, Verifier};
use freehold_sandbox::{SandboxPool, SupervisorHandle, network::Way};
use freehold_storage::{BackupDesk, OpenError, OpenOptions, SqliteStorage};
use freehold_wasm::{HostParts, Subprocess, WasmHost};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    cell::Cell, collections::HashMap, path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Longest wait for the privileged side to end everything.
const DESTROY_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between rounds of housekeeping.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);

thread_local! {
    /// The serving core that this thread is; `usize::MAX` elsewhere.
    pub(crate) static CORE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// What was made while the process was root.
pub(crate) struct NodeParts {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    pub(crate) listeners: Listeners,
    pub(crate) door: Arc<FrontDoor>,
    pub(crate) catalog: Catalog,
    pub(crate) credentials: CredentialsFile,
    pub(crate) supervisor: SupervisorHandle,
    pub(crate) sealing_keys: Vec<[u8; 32]>,
    /// Whether all instances run under one user id, so that nothing but their namespaces parts tenants.
    pub(crate) is_one_uid: bool,
}

/// Serves until SIGTERM, SIGINT, or the end of the privileged side.
pub(crate) fn run(parts: NodeParts) -> Result<(), StartFailure> {
    tell_events();
    raise_descriptor_limit();
    let runtime = core_runtime(|| ()).map_err(|error| failure(chain(&error), ""))?;
    runtime.block_on(serve(parts))
}

/// A shell's 1,024 descriptors are for a shell: the node may hold what the machine's limit allows.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open descriptors stays as it is");
    }
}

/// Connections of functions that the server may carry at once, however many descriptors there are: what the
/// kernel keeps of them is on no account.
const RELAYED_MAX: u64 = 16 << 10;

/// The same here. Each takes two descriptors, and they may have a quarter of all: half is for those who
/// call, and the rest for what serves them.
fn relayed_max() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current;
    descriptors.map_or(RELAYED_MAX, |all| (all / 8).min(RELAYED_MAX)) as usize
}

/// Events go to standard error; `FREEHOLD_LOG` says which, JSON lines with `FREEHOLD_LOG_FORMAT=json`.
fn tell_events() {
    let filter = EnvFilter::try_from_env("FREEHOLD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let writer = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let json = std::env::var("FREEHOLD_LOG_FORMAT").is_ok_and(|format| format == "json");
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let told = if json {
        writer.json().try_init()
    } else {
        writer.with_ansi(colours).try_init()
    };
    if let Err(error) = told {
        eprintln!("freehold: events are not told: {error}");
    }
}

/// `begins` is called by each thread for what blocks.
fn core_runtime(begins: impl Fn() + Send + Sync + 'static) -> std::io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .on_thread_start(begins)
        .build()
}

/// Everything that stands while the node serves.
struct Node {
    clock: Arc<dyn Clock>,
    storage: Arc<SqliteStorage>,
    control: Arc<Control>,
    api: Arc<Api>,
    engine: Arc<Engine>,
    events: Arc<EventQueueWorker>,
    driver: Arc<SandboxPool>,
    disk: Arc<DiskFloor>,
    started: Started,
    root_keys: Arc<Keys>,
    config: Live<Config>,
    /// Watches that must outlive the node's parts.
    guards: Vec<Box<dyn Send + Sync>>,
}

async fn serve(parts: NodeParts) -> Result<(), StartFailure> {
    let NodeParts {
        settings,
        folder,
        listeners,
        door,
        catalog,
        mut credentials,
        supervisor,
        sealing_keys,
        is_one_uid,
    } = parts;
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| failure(chain(&e), ""))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| failure(chain(&e), ""))?;
    let hangup = signal(SignalKind::hangup()).map_err(|e| failure(chain(&e), ""))?;
    freehold_sandbox::sys::identity::hold_hangup(false).map_err(|e| failure(chain(&e), ""))?;
    tell_doubts(&settings);
    runtimes::tell_missing(&catalog);
    door.tell_end();
    let refuses_tenants = is_one_uid && !settings.config.server.shared_uid_tenants;
    let made = (catalog, supervisor, door.clone());
    let mut node = wire(&settings, &folder, made, &sealing_keys, refuses_tenants).await?;
    credentials
        .write(&node.started.key)
        .map_err(|error| failure(format!("the root key cannot be written: {error}"), ""))?;
    let written = node.started.key.clone();
    let root_keys = node.root_keys.clone();
    let key_file = tenants::keep_written(&*node.storage, root_keys, credentials, written);
    node.guards.push(key_file);
    (node.api).set_port(listeners.address.port(), door.is_secure());

    let stop = CancellationToken::new();
    let threads = start_cores(&node, listeners.cores, &door, &stop).await?;
    let admin = TcpListener::from_std(listeners.admin).map_err(|e| failure(chain(&e), ""))?;
    let numbers = Arc::new(Numbers {
        engine: node.engine.clone(),
        api: node.api.clone(),
        store: node.storage.clone(),
        draining: stop.clone(),
        disk: node.disk.clone(),
        door: door.clone(),
    });
    let disk = tokio::spawn(node.disk.clone().watch());
    let admin_stop = CancellationToken::new();
    tokio::spawn(freehold_api::metrics::serve(
        admin,
        door.admin(),
        numbers,
        admin_stop.clone(),
    ));
    let events = node.events.clone();
    let queue = tokio::spawn(async move { events.run().await });
    let housekeeping = tokio::spawn(housekeep(
        node.control.clone(),
        node.events.clone(),
        node.api.clone(),
        node.config.clone(),
    ));
    let budgets = tokio::spawn(budgets::tell(node.control.clone(), node.api.clone()));
    let reloads = tokio::spawn(reload_at(hangup, node.api.clone()));
    let orders = door.acme().map(|acme| tokio::spawn(acme.run(door.clone())));
    door.announce()
        .map_err(|error| failure(format!("run/endpoint.json cannot be written: {error}"), ""))?;
    greet(&settings, &door, &node.started);
    notify::ready(&door.url());

    let lost = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = node.driver.supervisor_lost() => true,
    };
    endpoint::withdraw(&folder);
    if lost {
        // Every instance is gone already; whoever waits for one has been told.
        return Err(failure(
            "the supervisor died, and every instance with it",
            "start the server again",
        ));
    }
    tracing::info!("stopping: no new calls, those that run may finish");
    notify::stopping();
    stop.cancel();
    housekeeping.abort();
    budgets.abort();
    reloads.abort();
    if let Some(orders) = orders {
        orders.abort();
    }
    disk.abort();
    let drain = node.config.whole().server.drain_timeout.0;
    let deadline = node.clock.now() + drain;
    node.events.begin_drain();
    tokio::select! {
        () = async { node.api.drained().await; let _ = queue.await; } => {}
        () = node.clock.sleep_until(deadline) => tracing::warn!("calls still run after {drain:?}; they end now"),
    }
    node.engine.shutdown(deadline).await;
    admin_stop.cancel();
    let destroyed = node.driver.shutdown(DESTROY_TIMEOUT).await;
    node.api.close();
    let storage = node.storage.clone();
    drop(node);
    for thread in threads {
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("a core's thread panicked");
        }
    }
    storage.finish();
    destroyed.map_err(|error| {
        failure(
            format!("instances may be left: {error}"),
            "the next start removes them",
        )
    })
}

async fn wire(
    settings: &Settings,
    folder: &Folder,
    (catalog, supervisor, door): (Catalog, SupervisorHandle, Arc<FrontDoor>),
    sealing_keys: &[[u8; 32]],
    refuses_tenants: bool,
) -> Result<Node, StartFailure> {
    let failed = |error: &dyn std::error::Error| failure(chain(error), "");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ids: Arc<dyn Ids> = Arc::new(SystemIds);
    let cells = Cells::new(&settings.config);
    let running = Running::new(
        settings.given.clone(),
        settings.resolved.clone(),
        cells.clone(),
        door,
    );
    let sealer: Arc<dyn Sealer> = Arc::new(NodeSealer::new(sealing_keys));
    let mut options = OpenOptions::new(folder.store(), clock.clone());
    options.audit_segment_bytes = Some(settings.config.audit.file_size.0);
    let storage = SqliteStorage::open(options).map_err(|error| {
        let remedy = match &error {
            OpenError::DiskFull { .. } => "make room on that disk, or choose another --data",
            _ => "stop the other server, or choose another --data",
        };
        failure(chain(&error), remedy)
    })?;
    let store: Arc<dyn Storage> = storage.clone();
    let root_keys = Keys::new(store.clone(), sealer.clone(), clock.clone());
    let started = root_keys
        .start(settings.account.as_ref(), &settings.regions[0])
        .await
        .map_err(|error| failed(&error))?;
    let (keyring, key_watch) = KeyRing::load(&*storage, sealer.clone())
        .await
        .map_err(|error| failed(&error))?;
    let sessions = Arc::new(Sessions::new(clock.clone(), keyring));
    let keys: Arc<dyn KeySource> = sessions.clone();
    let credentials: Arc<dyn InstanceCredentials> = sessions;
    let verifier = Verifier::new(keys, clock.clone(), settings.regions.clone());

    let packages = PackageStore::open(PackageParts {
        dir: folder.packages(),
        storage: store.clone(),
        unpacker: Arc::new(SubprocessUnpacker::new(
            PathBuf::from("/proc/self/exe"),
            clock.clone(),
        )),
        limits: cells.limits.clone(),
        clock: clock.clone(),
    })
    .map_err(|error| failed(&error))?;
    let mut runtimes = catalog.rows().to_vec();
    let substitute = settings.config.runtimes.substitute;
    let tenants = Arc::<TenantTable>::default();
    let answers = Answers::new(cells.limits.clone(), tenants.clone());
    let made = (clock.clone(), answers.clone());
    let wasm = wasm_host(settings, folder, sealing_keys, made);
    if let Ok(host) = &wasm {
        runtimes.push(host.runtime_row());
    }
    let in_process = wasm.as_ref().ok().cloned();
    let driver = SandboxPool::connect(supervisor, clock.clone());
    let networks = Arc::new(networks(&settings.config, driver.network()));
    if let (Some(reason), true) = (networks.missing(), settings.config.network.enabled) {
        tracing::warn!(reason, "functions have no network on this machine");
    }
    let budgets = Arc::new(Budgets::new(settings.cores));
    let late = Arc::new(LateEngine::default());
    let control = Control::new(ControlParts {
        storage: store.clone(),
        clock: clock.clone(),
        ids: ids.clone(),
        sealer: sealer.clone(),
        limits: cells.limits.clone(),
        budgets: budgets.clone(),
        runtimes: Arc::new(Check {
            catalog,
            substitute,
            wasm,
            packages: packages.clone(),
        }),
        starts: late.clone(),
        packages: packages.clone(),
        architecture: if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "x86_64"
        },
        networks: networks.clone(),
        refuses_tenants,
    });

    // Before anything runs: what was used is told from the ledger.
    control
        .budgets_start()
        .await
        .map_err(|error| failed(&error))?;

    let names = match driver.network() {
        Ok(Way::Relay) => {
            tracing::info!(
                "functions have no links here: the server carries their connections, by TCP alone"
            );
            let limits = instance_limits(&settings.config);
            Names::relaying(networks.clone(), limits, relayed_max())
        }
        _ => Names::new(networks.clone(), driver.clone()),
    };
    // The queue runs functions through the engine, the engine serves guests through the API, and
    // the API hands events to the queue: the last of the three arrows is tied by a cell.
    let invoke = Arc::new(LateInvoke::default());
    let deps = QueueDeps {
        queue: storage.clone(),
        commit: storage.clone(),
        invoke: invoke.clone(),
        clock: clock.clone(),
    };
    let events = EventQueueWorker::open(deps, cells.queue.clone())
        .await
        .map_err(|error| failed(&error))?;
    let pause_watch = tenants::pause_disabled(&*storage, events.clone())
        .await
        .map_err(|error| failed(&error))?;
    let disk = DiskFloor::new(vec![folder.store(), folder.packages()]);
    let api = Api::new(ApiParts {
        disk: disk.clone(),
        unsent: freehold_sandbox::sys::sockets::unsent,
        control: control.clone(),
        events: Arc::new(QueueSink {
            events: events.clone(),
            disk: disk.clone(),
        }),
        storage: store.clone(),
        verifier,
        clock: clock.clone(),
        ids: ids.clone(),
        limits: cells.limits.clone(),
        tenants: tenants.clone(),
        url_domain: settings.config.server.url_domain.clone(),
        engine: late.clone(),
        operator: started.tenant.id.clone(),
        configuration: running.clone(),
        backups: Arc::new(BackupDesk::new(
            storage.clone(),
            clock.clone(),
            env!("CARGO_PKG_VERSION"),
            sealing_keys.iter().map(keys::fingerprint).collect(),
        )),
    });
    let guests = InstanceEndpoint::new(api.clone(), credentials.clone());
    let logs = KnownGroups::new(
        storage.clone(),
        control.clone(),
        tokio::runtime::Handle::current(),
        disk.clone(),
    );
    let group_watch = storage.watch(logs.clone());
    let public = LambdaRuntime::new(cells.answers.clone(), answers.clone());
    let public: Arc<dyn Contract> = Arc::new(public);
    let frames: Arc<dyn Contract> = Arc::new(DirectFrames::new(cells.answers, answers.clone()));
    let contracts: HashMap<_, _> = HashMap::from([
        (RuntimeFamily::Python, frames.clone()),
        (RuntimeFamily::Node, frames.clone()),
        (RuntimeFamily::Java, frames),
        (RuntimeFamily::Provided, public),
    ]);
    let engine = Engine::new(EngineParts {
        records: storage.clone() as Arc<dyn Records>,
        commit: storage.clone() as Arc<dyn Commit>,
        ledger: storage.clone() as Arc<dyn Ledger>,
        logs,
        packages: packages as Arc<dyn Packages>,
        driver: driver.clone() as Arc<dyn SandboxDriver>,
        contracts,
        in_process: in_process.map(|host| host as Arc<dyn InProcess>),
        runtimes,
        clock: clock.clone(),
        ids,
        sealer,
        credentials,
        platform: guests.clone() as Arc<dyn PlatformEndpoint>,
        names: Arc::new(Serving(names)),
        networks,
        limits: cells.limits,
        tenants,
        answers,
        budgets,
        config: cells.engine,
        cores: settings.cores,
    });
    late.set(engine.clone());
    running.set_engine(engine.clone());
    let invokers: Vec<Arc<dyn Invoke>> = (0..settings.cores)
        .map(|core| engine.invoker(CoreId(core)))
        .collect();
    invoke.set(invokers[0].clone());
    guests.set_invoker(Box::new(move || invoker_here(&invokers)));
    let guards = vec![key_watch, group_watch, pause_watch];
    Ok(Node {
        clock,
        storage,
        control,
        api,
        engine,
        events,
        driver,
        disk,
        started,
        root_keys: Arc::new(root_keys),
        config: cells.config,
        guards,
    })
}

/// What runs WebAssembly; a machine that cannot says why to whoever deploys some.
fn wasm_host(
    settings: &Settings,
    folder: &Folder,
    sealing_keys: &[[u8; 32]],
    (clock, answers): (Arc<dyn Clock>, Arc<Answers>),
) -> Result<Arc<WasmHost>, String> {
    let compiler = Subprocess::new(PathBuf::from("/proc/self/exe"), clock);
    let newest = sealing_keys.last().ok_or("there is no sealing key")?;
    let host = WasmHost::new(HostParts {
        compiled: folder.compiled(),
        key: *newest,
        compiler: Arc::new(compiler),
        threads: usize::from(settings.cores),
        functions_memory_bytes: settings.config.instances.memory.map(|size| size.0),
        answers,
    });
    host.map_err(|error| {
        let reason = chain(&error);
        tracing::warn!(reason, "WebAssembly functions cannot run on this machine");
        reason
    })
}

/// One thread, runtime, listener and lane per core. Resolves once all of them serve.
async fn start_cores(
    node: &Node,
    listeners: Vec<std::net::TcpListener>,
    door: &FrontDoor,
    stop: &CancellationToken,
) -> Result<Vec<JoinHandle<()>>, StartFailure> {
    let mut threads = Vec::new();
    let mut go = Vec::new();
    let processors = Processors::of(listeners.len());
    for (at, listener) in listeners.into_iter().enumerate() {
        let core = CoreId(at as u16);
        let (registered, is_registered) = oneshot::channel::<Result<(), String>>();
        let (begin, may_begin) = oneshot::channel::<()>();
        let (engine, driver) = (node.engine.clone(), node.driver.clone());
        let front = Front {
            api: node.api.clone(),
            invoker: node.engine.invoker(core),
            audience: Audience::Everybody,
        };
        let (stop, processors, door) = (stop.clone(), processors.clone(), door.public());
        let thread = std::thread::Builder::new()
            .name(format!("core-{at}"))
            .spawn(move || {
                CORE.set(at);
                processors.keep(at);
                let runtime = match core_runtime(move || processors.let_go()) {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(registered.send(Err(error.to_string()))),
                };
                runtime.block_on(async move {
                    engine.on_core(core);
                    driver.register(core);
                    let started = if at == 0 {
                        engine.start().await
                    } else {
                        Ok(())
                    };
                    drop(registered.send(started));
                    if may_begin.await.is_err() {
                        return;
                    }
                    match TcpListener::from_std(listener) {
                        Ok(listener) => {
                            let ended = stop.clone();
                            let api = front.api.clone();
                            front.serve(listener, door, stop).await;
                            ended.cancelled().await;
                            api.closed().await;
                        }
                        Err(error) => tracing::error!(%error, "a core cannot listen"),
                    }
                });
            });
        threads.push(thread.map_err(|error| failure(chain(&error), ""))?);
        go.push(begin);
        is_registered
            .await
            .unwrap_or_else(|_| Err("its thread ended".to_owned()))
            .map_err(|error| failure(format!("core {at} did not start: {error}"), ""))?;
    }
    for begin in go {
        let _ = begin.send(());
    }
    Ok(threads)
}

/// Reads the configuration again whenever the signal comes; what became of it is told by events.
async fn reload_at(mut hangup: Signal, api: Arc<Api>) {
    while hangup.recv().await.is_some() {
        let _ = api.reload_by_signal().await;
    }
}

/// What of the configuration may not be as somebody meant it.
fn tell_doubts(settings: &Settings) {
    // Variables that look like ours and are nothing that is known.
    for name in &settings.resolved.strangers {
        tracing::warn!(
            name,
            "this variable of the environment is not known, and has no effect"
        );
    }
    let file = settings.given.file();
    if settings.resolved.has_file
        && let Err(error) = std::fs::File::open(file)
    {
        let file = file.display();
        tracing::warn!(%file, %error, "`freehold reload` cannot read this: the server is not root");
    }
}

/// Rolls up usage, removes expired logs, packages that nothing refers to, what became of events that
/// ended long ago, and old lines of the audit trail.
async fn housekeep(
    control: Arc<Control>,
    events: Arc<EventQueueWorker>,
    api: Arc<Api>,
    config: Live<Config>,
) {
    let mut due = Instant::now() + HOUSEKEEPING_EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => due = Instant::now() + HOUSEKEEPING_EVERY,
            // A trail that grows quickly does not wait for its turn.
            () = api.audit_grown() => {
                trim_audit(&api, &config).await;
                continue;
            }
        }
        if let Err(error) = control.usage_roll_up().await {
            tracing::error!(error = chain(&error), "usage could not be rolled up");
        }
        if let Err(error) = control.log_groups_expire().await {
            tracing::error!(error = chain(&error), "expired logs could not be removed");
        }
        if let Err(error) = control.packages().collect().await {
            tracing::error!(
                error = chain(&error),
                "unused packages could not be removed"
            );
        }
        if let Err(error) = events.forget_ended().await {
            tracing::error!(error = chain(&error), "ended events could not be forgotten");
        }
        trim_audit(&api, &config).await;
    }
}

async fn trim_audit(api: &Api, config: &Live<Config>) {
    let (kept, size) = {
        let audit = &config.whole().audit;
        (audit.keep.0, audit.size.0)
    };
    if let Err(error) = api.audit_keep(kept, size).await {
        tracing::error!(
            error = chain(&error),
            "the audit trail could not be trimmed"
        );
    }
}

fn greet(settings: &Settings, door: &FrontDoor, started: &Started) {
    let data = settings.data.display();
    println!("Freehold serves on {}", door.url());
    if let Some(certificate) = door.told() {
        println!("  TLS      {certificate}");
    }
    println!(
        "  account  {}   region {}",
        started.tenant.id, settings.regions[0]
    );
    println!("  data     {data}");
    println!("  use it   eval \"$(freehold env --data {data})\"");
    println!("           aws lambda list-functions   or   freehold deploy DIR");
    if started.first {
        println!("  the root key is new and lies in {data}/root-key, readable by you alone");
    }
}
