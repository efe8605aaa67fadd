//! Small pieces that let crates meet which do not know each other.

use super::{disk::DiskFloor, front_door::FrontDoor, node::CORE};
use freehold_api::{
    Api, EngineView, InstanceRow,
    metrics::{Family, MetricsSource, Sample},
};
use freehold_control::{Control, Place};
use freehold_domain::{
    BoxFuture, FunctionRef, Invocation, InvokeError, Outcome, Principal, Region, TenantId, Wall,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::{
        CommitError, EventQueue, Invoke, LogPage, LogQuery, LogStore, LogStreamInfo, NotUp,
        ReadError, Sink, SinkError, Starts, Stored, Watcher,
    },
    record::{Key, Kind, TargetV1},
};
use freehold_engine::{Engine, InstanceState};
use freehold_flow::queue::{EnqueueError, EventQueueWorker, NewEvent};
use freehold_storage::SqliteStorage;
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

/// The engine, for parts that are made before it.
#[derive(Default)]
pub(crate) struct LateEngine(OnceLock<Arc<Engine>>);

impl LateEngine {
    pub(crate) fn set(&self, engine: Arc<Engine>) {
        let _ = self.0.set(engine);
    }
}

impl Starts for LateEngine {
    fn comes_up<'a>(
        &'a self,
        function: &'a FunctionRef,
        target: TargetV1,
    ) -> BoxFuture<'a, Result<(), NotUp>> {
        Box::pin(async move {
            let Some(engine) = self.0.get() else {
                let reason = "the node is starting".to_owned();
                return Err(NotUp::NotYet { reason });
            };
            engine.comes_up(function, target).await
        })
    }
}

impl EngineView for LateEngine {
    fn instances(&self, tenant: &TenantId, region: &Region) -> BoxFuture<'_, Vec<InstanceRow>> {
        let (tenant, region) = (tenant.clone(), region.clone());
        Box::pin(async move {
            let Some(engine) = self.0.get() else {
                return Vec::new();
            };
            let own = |of: &FunctionRef| of.tenant == tenant && of.region == region;
            let own = engine.instances(own).await.into_iter();
            own.map(|one| InstanceRow {
                instance_id: one.id.to_string(),
                function_name: one.function.name.to_string(),
                version: one.revision.to_string(),
                state: match one.state {
                    InstanceState::Busy => "busy",
                    InstanceState::Idle => "idle",
                    InstanceState::Frozen => "frozen",
                }
                .to_owned(),
                age_ms: u64::try_from(one.age.as_millis()).unwrap_or(u64::MAX),
                memory_bytes: one.memory_bytes,
                memory_limit_bytes: one.memory_limit_bytes,
                cpu_us: one.cpu_us,
                invocations: one.invocations,
            })
            .collect()
        })
    }
}

/// Runs events once the engine is set: the queue is made before it.
#[derive(Default)]
pub(crate) struct LateInvoke(OnceLock<Arc<dyn Invoke>>);

impl LateInvoke {
    pub(crate) fn set(&self, engine: Arc<dyn Invoke>) {
        let _ = self.0.set(engine);
    }
}

impl Invoke for LateInvoke {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'_, Result<Outcome, InvokeError>> {
        match self.0.get() {
            Some(engine) => engine.invoke(invocation),
            None => Box::pin(std::future::ready(Err(InvokeError::Draining))),
        }
    }
}

/// The durable queue as the front ends see it; it takes nothing while the disk is nearly full.
pub(crate) struct QueueSink {
    pub(crate) events: Arc<EventQueueWorker>,
    pub(crate) disk: Arc<DiskFloor>,
}

impl Sink for QueueSink {
    fn accept(&self, invocation: Invocation) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            if self.disk.refuses() {
                return Err(SinkError::DiskFull);
            }
            // The front end has read the event whole, within this limit.
            let (body, _) =
                invocation
                    .body
                    .collect(u64::MAX)
                    .await
                    .map_err(|error| SinkError::Failed {
                        reason: error.to_string(),
                    })?;
            let event = NewEvent {
                id: invocation.id,
                function: invocation.function,
                qualifier: invocation.qualifier,
                is_qualified: invocation.is_qualified,
                trace: invocation.trace,
                hops: invocation.hops,
                client_context: invocation.client_context,
            };
            let taken = self
                .events
                .enqueue(&invocation.principal, event, body)
                .await;
            taken.map(drop).map_err(|error| match error {
                EnqueueError::TooLarge { limit_bytes, .. } => SinkError::TooLarge { limit_bytes },
                EnqueueError::DiskFull => SinkError::DiskFull,
                EnqueueError::LoopDetected { hops } => SinkError::LoopDetected { hops },
                EnqueueError::Denied { .. } => SinkError::Unavailable {
                    reason: error.to_string(),
                },
                EnqueueError::Failed { reason } => SinkError::Failed { reason },
            })
        })
    }
}

/// The engine's way in on the core that asks; off the cores, the first one's.
pub(crate) fn invoker_here(invokers: &[Arc<dyn Invoke>]) -> Arc<dyn Invoke> {
    invokers[CORE.get().min(invokers.len() - 1)].clone()
}

/// The log store, with a group made known by its first line.
pub(crate) struct KnownGroups {
    store: Arc<SqliteStorage>,
    control: Arc<Control>,
    known: Arc<Mutex<HashSet<LogGroupName>>>,
    tasks: tokio::runtime::Handle,
    disk: Arc<DiskFloor>,
}

impl KnownGroups {
    /// Groups are recorded by tasks on `tasks`.
    pub(crate) fn new(
        store: Arc<SqliteStorage>,
        control: Arc<Control>,
        tasks: tokio::runtime::Handle,
        disk: Arc<DiskFloor>,
    ) -> Arc<Self> {
        Arc::new(Self {
            disk,
            store,
            control,
            known: Arc::default(),
            tasks,
        })
    }

    fn make_known(&self, group: &LogGroupName) {
        {
            let mut known = self.known.lock();
            if known.contains(group) {
                return;
            }
            known.insert(group.clone());
        }
        let place = Place {
            tenant: group.tenant.clone(),
            region: group.region.clone(),
        };
        let who = Principal::platform("logs");
        let ensured = self.control.log_group_ensure(&who, &place, &group.group);
        let (known, group) = (self.known.clone(), group.clone());
        self.tasks.spawn(async move {
            if let Err(error) = ensured.await {
                tracing::warn!(%error, group = group.group, "a log group could not be recorded");
                // The next line tries again.
                known.lock().remove(&group);
            }
        });
    }
}

impl Watcher for KnownGroups {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        for (key, _) in changes
            .iter()
            .filter(|(key, now)| key.kind() == Kind::LogGroup && now.is_none())
        {
            self.known.lock().remove(&LogGroupName {
                tenant: key.tenant().clone(),
                region: key.region().clone(),
                group: key.name()[0].clone(),
            });
        }
    }
}

impl LogStore for KnownGroups {
    fn append(&self, stream: &LogStreamName, lines: &[LogLine]) -> Result<(), CommitError> {
        if self.disk.is_low() {
            return Err(CommitError::DiskFull);
        }
        self.make_known(&stream.group);
        LogStore::append(&*self.store, stream, lines)
    }
    fn close(&self, stream: &LogStreamName) {
        LogStore::close(&*self.store, stream);
    }
    fn streams(
        &self,
        who: &Principal,
        group: &LogGroupName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<LogStreamInfo>, ReadError>> {
        self.store.streams(who, group, prefix, after, limit)
    }
    fn group_bytes(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.store.group_bytes(who, group)
    }
    fn read(
        &self,
        who: &Principal,
        stream: &LogStreamName,
        query: LogQuery,
    ) -> BoxFuture<'_, Result<LogPage, ReadError>> {
        LogStore::read(&*self.store, who, stream, query)
    }
    fn remove_group(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> BoxFuture<'_, Result<(), CommitError>> {
        self.store.remove_group(who, group)
    }
    fn expire(
        &self,
        who: &Principal,
        group: &LogGroupName,
        before: Wall,
    ) -> BoxFuture<'_, Result<u64, CommitError>> {
        self.store.expire(who, group, before)
    }
}

/// The node's numbers.
pub(crate) struct Numbers {
    pub(crate) engine: Arc<Engine>,
    pub(crate) api: Arc<Api>,
    pub(crate) store: Arc<SqliteStorage>,
    pub(crate) draining: tokio_util::sync::CancellationToken,
    pub(crate) disk: Arc<DiskFloor>,
    pub(crate) door: Arc<FrontDoor>,
}

impl MetricsSource for Numbers {
    fn ready(&self) -> bool {
        !self.draining.is_cancelled()
    }

    fn notice(&self) -> Option<String> {
        let percent = self.disk.room().free_percent();
        self.disk.is_low().then(|| {
            format!("disk: {percent:.1} % free: changes, events and log lines are refused")
        })
    }

    fn families(&self) -> BoxFuture<'_, Vec<Family>> {
        Box::pin(async move {
            let stats = self.engine.stats();
            let logs = self.store.log_index_stats();
            let seconds = |us: u64| us as f64 / 1e6;
            let counter = |name, help, value: f64| Family::single(name, help, true, value);
            let gauge = |name, help, value: f64| Family::single(name, help, false, value);
            let mut families = vec![
                Family {
                    name: "freehold_invocations",
                    help: "Invocations that reached an instance, by how they ended",
                    is_counter: true,
                    samples: stats
                        .endings
                        .iter()
                        .map(|(ending, n)| sample("ending", ending, *n))
                        .collect(),
                },
                Family {
                    name: "freehold_throttles",
                    help: "Invocations that were turned away, by the limit that they met",
                    is_counter: true,
                    samples: stats
                        .throttles
                        .iter()
                        .map(|(reason, n)| sample("reason", reason, *n))
                        .collect(),
                },
                Family {
                    name: "freehold_refusals",
                    help: "Requests that were refused before anything was done for them, by the limit that they met",
                    is_counter: true,
                    samples: (self.api.refusals())
                        .map(|(limit, n)| sample("limit", &limit, n))
                        .collect(),
                },
                counter(
                    "freehold_cold_starts",
                    "Invocations that waited for a new instance",
                    stats.cold_starts as f64,
                ),
                counter(
                    "freehold_restores",
                    "Of those, the ones that came from a version's start image",
                    stats.restores as f64,
                ),
                Family {
                    name: "freehold_starts",
                    help: "Sandboxes that became instances, by how they came up",
                    is_counter: true,
                    samples: stats
                        .starts
                        .iter()
                        .map(|(kind, n)| sample("kind", kind, *n))
                        .collect(),
                },
                counter(
                    "freehold_starts_ahead",
                    "Instances started before an event needed them",
                    stats.starts_ahead as f64,
                ),
                counter(
                    "freehold_starts_ahead_used",
                    "Of those, instances that an event found ready",
                    stats.starts_ahead_used as f64,
                ),
                counter(
                    "freehold_rehearsals",
                    "Instances started ahead that ran an event of the platform's",
                    stats.rehearsals as f64,
                ),
                counter(
                    "freehold_rehearsals_failed",
                    "Instances ended because they did not come back from it",
                    stats.rehearsals_failed as f64,
                ),
                counter(
                    "freehold_init_failures",
                    "Inits that failed",
                    stats.init_failures as f64,
                ),
                counter(
                    "freehold_contract_breaches",
                    "Instances retired for breaking their contract",
                    stats.contract_breaches as f64,
                ),
                counter(
                    "freehold_evictions",
                    "Idle instances removed for want of memory",
                    stats.evictions as f64,
                ),
                counter(
                    "freehold_queue_seconds",
                    "Time that invocations waited for a slot",
                    seconds(stats.queue_us),
                ),
                counter(
                    "freehold_init_seconds",
                    "Time of inits",
                    seconds(stats.init_us),
                ),
                counter(
                    "freehold_run_seconds",
                    "Time of runs",
                    seconds(stats.run_us),
                ),
                counter(
                    "freehold_billed_milliseconds",
                    "Billed time",
                    stats.billed_ms as f64,
                ),
                counter(
                    "freehold_cpu_seconds",
                    "Processor time of functions",
                    seconds(stats.cpu_us),
                ),
                counter(
                    "freehold_received_bytes",
                    "Event bytes",
                    stats.bytes_in as f64,
                ),
                counter(
                    "freehold_sent_bytes",
                    "Answer bytes",
                    stats.bytes_out as f64,
                ),
                counter(
                    "freehold_network_received_bytes",
                    "Bytes that instances received from networks",
                    stats.network.back as f64,
                ),
                counter(
                    "freehold_network_sent_bytes",
                    "Bytes that instances sent to networks",
                    stats.network.out as f64,
                ),
                counter(
                    "freehold_log_lines",
                    "Lines that functions wrote to their logs, those counted lost included",
                    stats.log_lines as f64,
                ),
                counter(
                    "freehold_log_lines_lost",
                    "Lines of functions that were not stored: over the rate, or a failed write",
                    stats.log_lines_lost as f64,
                ),
                counter(
                    "freehold_log_index_writes_failed",
                    "Writes to the index of the log streams that failed; they are made again",
                    logs.writes_failed as f64,
                ),
                counter(
                    "freehold_log_index_rebuilds",
                    "Times that the index of the log streams was made again in use",
                    logs.rebuilds as f64,
                ),
                gauge(
                    "freehold_log_streams",
                    "Log streams that the index has",
                    logs.indexed as f64,
                ),
                gauge(
                    "freehold_log_streams_in_memory",
                    "Log streams in memory: open, waiting for their row, lately read",
                    logs.held as f64,
                ),
                gauge(
                    "freehold_disk_free_bytes",
                    "Free room of the data folder's disk, for who is not root",
                    self.disk.room().free_bytes as f64,
                ),
                gauge(
                    "freehold_disk_bytes",
                    "Free and used room of the data folder's disk",
                    self.disk.room().all_bytes as f64,
                ),
                gauge(
                    "freehold_disk_low",
                    "Whether new things are refused for want of room, 1 or 0",
                    f64::from(u8::from(self.disk.is_low())),
                ),
                counter(
                    "freehold_disk_refusals",
                    "Changes and events that were refused while the disk was nearly full",
                    self.disk.refused() as f64,
                ),
                gauge(
                    "freehold_invocations_in_flight",
                    "Invocations that run or wait",
                    stats.in_flight as f64,
                ),
                gauge(
                    "freehold_concurrency",
                    "Concurrency in use",
                    stats.concurrency as f64,
                ),
                gauge(
                    "freehold_instances",
                    "Live instances",
                    stats.instances as f64,
                ),
                gauge(
                    "freehold_instances_frozen",
                    "Frozen instances",
                    stats.instances_frozen as f64,
                ),
                gauge(
                    "freehold_booted",
                    "Booted instances that are nobody's yet",
                    stats.booted as f64,
                ),
                gauge(
                    "freehold_template_bytes",
                    "Memory of start images of booted runtimes",
                    stats.template_bytes as f64,
                ),
                gauge(
                    "freehold_instances_minimum",
                    "Instances that minimums of ready instances ask for",
                    stats.instances_minimum as f64,
                ),
                gauge(
                    "freehold_instances_missing",
                    "Of those, instances that are not there yet",
                    stats.instances_missing as f64,
                ),
                gauge(
                    "freehold_starts_in_flight",
                    "Instances that are being started",
                    stats.starting as f64,
                ),
                gauge(
                    "freehold_waiting",
                    "Invocations that wait for a slot",
                    stats.waiting as f64,
                ),
                gauge(
                    "freehold_snapshots",
                    "Start images of published versions that are held",
                    stats.snapshots as f64,
                ),
                gauge(
                    "freehold_snapshot_bytes",
                    "Memory that they take",
                    stats.snapshot_bytes as f64,
                ),
                gauge(
                    "freehold_compiled_code",
                    "Functions' revisions whose compiled code is kept for their next starts",
                    stats.compiled as f64,
                ),
                gauge(
                    "freehold_compiled_code_bytes",
                    "Memory that it takes",
                    stats.compiled_bytes as f64,
                ),
                Family {
                    name: "freehold_budgets_reached",
                    help: "How often a budget was nearly used up, and used up",
                    is_counter: true,
                    samples: [
                        ("80", stats.budgets_warned),
                        ("100", stats.budgets_exhausted),
                    ]
                    .map(|(percent, n)| Sample {
                        labels: vec![("percent", percent.to_owned())],
                        value: n as f64,
                    })
                    .into(),
                },
                gauge(
                    "freehold_budgets_closed",
                    "Budgets that let nothing begin",
                    stats.budgets_closed as f64,
                ),
                gauge(
                    "freehold_memory_booked_bytes",
                    "Memory that instances and start images are booked with",
                    stats.memory_booked_bytes as f64,
                ),
                gauge(
                    "freehold_answers_held_bytes",
                    "Memory of the server that answers over 64 KiB have room in",
                    stats.answers_held_bytes as f64,
                ),
                counter(
                    "freehold_answers_waited",
                    "Answers that waited for such room",
                    stats.answers_waited as f64,
                ),
            ];
            if let Some(ends) = self.door.ends() {
                families.push(gauge(
                    "freehold_certificate_ends_seconds",
                    "When clients begin to refuse the certificate, seconds since 1970",
                    ends as f64,
                ));
            }
            if let Some((made, failed)) = self.door.acme().map(|acme| acme.counts()) {
                let sample = |ending: &str, value: u64| Sample {
                    labels: vec![("ending", ending.to_owned())],
                    value: value as f64,
                };
                families.push(Family {
                    name: "freehold_certificate_orders",
                    help: "Orders of a certificate by ACME, by how they ended",
                    is_counter: true,
                    samples: vec![sample("made", made), sample("failed", failed)],
                });
            }
            let (tracked, most) = tracked_connections();
            families.push(gauge(
                "freehold_connections_tracked",
                "Connections in the machine's table, of which those of functions are a part",
                tracked,
            ));
            families.push(gauge(
                "freehold_connections_tracked_max",
                "Connections that the machine's table has room for; 0 where it has none",
                most,
            ));
            if let Ok(counts) =
                EventQueue::counts(&*self.store, &Principal::platform("metrics")).await
            {
                families.push(counter(
                    "freehold_events_accepted",
                    "Asynchronous events accepted",
                    counts.accepted as f64,
                ));
                families.push(Family {
                    name: "freehold_events",
                    help: "Asynchronous events by state; the states sum to those accepted",
                    is_counter: false,
                    samples: [
                        ("waiting", counts.waiting),
                        ("running", counts.running),
                        ("done", counts.done),
                        ("dead", counts.dead),
                    ]
                    .into_iter()
                    .map(|(state, n)| Sample {
                        labels: vec![("state", state.to_owned())],
                        value: n as f64,
                    })
                    .collect(),
                });
            }
            families
        })
    }
}

/// What the kernel's table of connections holds and has room for. Once it is full nobody begins any,
/// callers of the API and the operator's own shell included.
fn tracked_connections() -> (f64, f64) {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?;
        text.trim().parse().ok()
    };
    (
        read("nf_conntrack_count").unwrap_or(0.0),
        read("nf_conntrack_max").unwrap_or(0.0),
    )
}

/// A series for one variant of an enum of ours, in snake case.
fn sample(label: &'static str, variant: &impl std::fmt::Debug, value: u64) -> Sample {
    let mut text = String::new();
    for c in format!("{variant:?}").chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    Sample {
        labels: vec![(label, text)],
        value: value as f64,
    }
}
