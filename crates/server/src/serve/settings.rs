//! The configuration in the words of those who use it, and where they find it when it changes.

use crate::config::{Ceiling, Config, Cpu, IdleTimeout};
use freehold_contracts::RuntimeLimits;
use freehold_domain::{
    Mebibytes,
    limits::{InvocationRate, Limits},
    live::Live,
    network::{InstanceLimits, Networks},
};
use freehold_engine::{CpuPolicy, EngineConfig, keep::Policy};
use freehold_flow::queue::QueuePolicy;
use freehold_sandbox::network::{NetworkOptions, Way};

/// What changes at a reload, by who reads it.
#[derive(Clone)]
pub(crate) struct Cells {
    /// Ceilings: the front ends, the control plane, the engine.
    pub(crate) limits: Live<Limits>,
    /// What instances may answer: the contracts.
    pub(crate) answers: Live<RuntimeLimits>,
    /// The engine.
    pub(crate) engine: Live<EngineConfig>,
    /// The queue.
    pub(crate) queue: Live<QueuePolicy>,
    /// The server itself: housekeeping, shutdown.
    pub(crate) config: Live<Config>,
}

impl Cells {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = limits(config);
        Self {
            limits: limits.into(),
            answers: RuntimeLimits::for_payload(limits.sync_payload_bytes).into(),
            engine: engine(config).into(),
            queue: queue(config).into(),
            config: config.clone().into(),
        }
    }

    /// Each of them finds the new value from here on.
    pub(crate) fn set(&self, config: &Config) {
        let limits = limits(config);
        self.limits.set(limits);
        let answers = RuntimeLimits::for_payload(limits.sync_payload_bytes);
        self.answers.set(answers);
        self.engine.set(engine(config));
        self.queue.set(queue(config));
        self.config.set(config.clone());
    }
}

/// What the privileged side has to know of networks; nothing where they are switched off.
pub(crate) fn network(config: &Config) -> Option<NetworkOptions> {
    let given = &config.network;
    given.enabled.then(|| NetworkOptions {
        policies: given.policies.values().cloned().collect(),
        limits: instance_limits(config),
    })
}

/// What one instance may have of its network.
pub(crate) fn instance_limits(config: &Config) -> InstanceLimits {
    let given = &config.network;
    InstanceLimits {
        connections: given.connections,
        begun_per_s: given.new_connections,
        bytes_per_s: given.bandwidth.0,
    }
}

/// Whom functions may reach, in the same order. `connected`: why instances have no network.
pub(crate) fn networks(config: &Config, connected: Result<Way, &str>) -> Networks {
    let named = config.network.policies.iter();
    let named = named.map(|(name, policy)| (name.clone(), policy.clone()));
    let networks = Networks::new(named.collect(), &config.network.default.0)
        .expect("the configuration's rules have seen that the default is there");
    match connected {
        Ok(_) => networks,
        Err(reason) => networks.missing_because(reason.to_owned()),
    }
}

/// Every ceiling. The bounds of the keys keep the numbers within their types.
fn limits(config: &Config) -> Limits {
    let (given, defaults) = (&config.limits, Limits::default());
    let most = |ceiling: Ceiling| match ceiling {
        Ceiling::Most(most) => Some(most),
        Ceiling::None => None,
    };
    let seconds = |span: crate::config::Span| span.0.as_secs().try_into().unwrap_or(u32::MAX);
    let small = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    Limits {
        sync_payload_bytes: given.sync_payload.0,
        async_payload_bytes: given.async_payload.0,
        function_timeout_s: seconds(given.function_timeout),
        memory_min_mib: defaults.memory_min_mib,
        memory_max_mib: small(given.memory_max.0 >> 20),
        tmp_min_mib: defaults.tmp_min_mib,
        tmp_max_mib: small(given.tmp_max.0 >> 20),
        environment_bytes: given.environment.0,
        package_zip_bytes: given.package_zip.0,
        package_unpacked_bytes: given.package_unpacked.0,
        package_entries: given.package_entries,
        code_storage_bytes: given.code_storage.0,
        account_concurrency: given.account_concurrency,
        unreserved_concurrency_min: given.unreserved_concurrency_min,
        sync_invocations: match given.sync_invocations {
            None => InvocationRate::TenTimesConcurrency,
            Some(Ceiling::Most(most)) => InvocationRate::PerSecond(most),
            Some(Ceiling::None) => InvocationRate::Unbounded,
        },
        function_starts_per_10_s: most(given.function_starts),
        management_per_s: most(given.management),
        get_function_per_s: most(given.get_function),
        init_timeout_s: seconds(given.init_timeout),
        instance_pids: given.instance_pids,
        instance_descriptors: given.instance_descriptors,
        log_line_bytes: small(given.log_line.0),
        log_bytes_per_s: given.log_rate.0,
        async_attempts: given.async_attempts,
        async_event_age_s: seconds(given.async_event_age),
        bytes_in_flight: given.bytes_in_flight.0,
        header_bytes: small(given.header.0),
    }
}

fn engine(config: &Config) -> EngineConfig {
    let given = &config.instances;
    let mut engine = EngineConfig {
        keep: match given.idle_timeout {
            IdleTimeout::Adaptive => Policy::Adaptive,
            IdleTimeout::Fixed(span) => Policy::Fixed(span.0.as_secs_f64()),
        },
        freeze_after: given.freeze_after.0,
        ready: given.ready,
        compiled_code_bytes: given.compiled_code.0,
        cpu: match given.cpu {
            Cpu::Burst => CpuPolicy::Burst,
            Cpu::Lambda => CpuPolicy::Lambda,
        },
        ..EngineConfig::default()
    };
    let (given, snapshots) = (&config.snapstart, &mut engine.snapshots);
    let mebibytes = |bytes: u64| Mebibytes(u32::try_from(bytes >> 20).unwrap_or(u32::MAX));
    snapshots.memory = given.memory.map(|size| mebibytes(size.0));
    snapshots.tenant_memory = given.account_memory.map(|size| mebibytes(size.0));
    snapshots.age_max = given.max_age.0;
    snapshots.starts_max = given.max_starts;
    engine
}

fn queue(config: &Config) -> QueuePolicy {
    let delays = config.instances.retry_delays.iter();
    QueuePolicy {
        retry_delays: delays.map(|span| span.0).collect(),
        keep_done: config.events.keep_done.0,
        keep_dead: config.events.keep_dead.0,
        drain_grace: config.server.drain_timeout.0,
        ..QueuePolicy::from_limits(&limits(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Given;

    /// What holds where nothing is given is what each part has by itself: there is no second default.
    #[test]
    fn without_a_file_every_part_has_its_own_defaults() {
        let nowhere = tempfile::tempdir().unwrap();
        let given = Given::new(None, nowhere.path());
        let config = given.resolve().unwrap().config;
        assert_eq!(limits(&config), Limits::default());
        let same = |one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug| {
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
        };
        same(&engine(&config), &EngineConfig::default());
        same(
            &queue(&config),
            &QueuePolicy::from_limits(&Limits::default()),
        );
    }

    #[test]
    fn ceilings_are_raised_in_their_units() {
        let nowhere = tempfile::tempdir().unwrap();
        let sets = [
            "limits.function_timeout=2h",
            "limits.sync_payload=20MiB",
            "limits.memory_max=12GiB",
            "instances.idle_timeout=90s",
            "snapstart.memory=3GiB",
            "instances.retry_delays=1s,250ms",
            "limits.sync_invocations=none",
            "limits.function_starts=20",
            "limits.management=30",
            "limits.get_function=none",
        ]
        .map(str::to_owned);
        let given = Given::new(None, nowhere.path()).with_sets(&sets);
        let config = given.resolve().unwrap().config;
        let cells = Cells::new(&Given::new(None, nowhere.path()).resolve().unwrap().config);
        cells.set(&config);
        let limits = cells.limits.now();
        assert_eq!(limits.function_timeout_s, 7200);
        assert_eq!(limits.sync_payload_bytes, 20 << 20);
        assert_eq!(limits.memory_max_mib, 12 << 10);
        assert_eq!(limits.sync_invocations, InvocationRate::Unbounded);
        assert_eq!(limits.function_starts_per_10_s, Some(20));
        assert_eq!(limits.management_per_s, Some(30));
        assert_eq!(limits.get_function_per_s, None);
        assert_eq!(cells.answers.now().answer_bytes, (20 << 20) + 100);
        assert_eq!(cells.engine.now().keep, Policy::Fixed(90.0));
        assert_eq!(cells.engine.now().snapshots.memory, Some(Mebibytes(3072)));
        let delays: Vec<_> = cells.queue.whole().retry_delays.clone();
        assert_eq!(
            delays.iter().map(|d| d.as_millis()).collect::<Vec<_>>(),
            [1000, 250]
        );
        assert!(cells.queue.whole().lease.as_secs() > 7200);
    }
}
