//! What an engine is made from.

use crate::keep::Policy;
use freehold_domain::{
    answers::Answers,
    budgets::Budgets,
    ids::Mebibytes,
    limits::Limits,
    live::Live,
    network::Networks,
    ports::{
        Clock, Commit, Contract, CpuShare, FREEZE_AFTER, Ids, InProcess, InstanceCredentials,
        InstanceNames, Ledger, LogStore, Packages, PlatformEndpoint, Records, SandboxDriver,
        Sealer,
    },
    runtime::{RuntimeFamily, RuntimeRow},
    tenants::TenantTable,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Every seam that the engine leans on, and its settings.
pub struct EngineParts {
    /// Functions and revisions, read and watched.
    pub records: Arc<dyn Records>,
    /// Where the reconciler reports.
    pub commit: Arc<dyn Commit>,
    /// Where invocations settle, one lane per core.
    pub ledger: Arc<dyn Ledger>,
    /// Where log lines go.
    pub logs: Arc<dyn LogStore>,
    /// Unpacked packages.
    pub packages: Arc<dyn Packages>,
    /// Makes instances.
    pub driver: Arc<dyn SandboxDriver>,
    /// How the functions of each family are spoken to.
    pub contracts: HashMap<RuntimeFamily, Arc<dyn Contract>>,
    /// Runs the functions of [`RuntimeFamily::Wasm`], which need neither of the two.
    pub in_process: Option<Arc<dyn InProcess>>,
    /// The runtimes that this node has.
    pub runtimes: Vec<RuntimeRow>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn Ids>,
    /// Opens sealed environments.
    pub sealer: Arc<dyn Sealer>,
    /// Issues the credentials of instances.
    pub credentials: Arc<dyn InstanceCredentials>,
    /// Serves the platform to each instance.
    pub platform: Arc<dyn PlatformEndpoint>,
    /// Answers each instance's questions for names.
    pub names: Arc<dyn InstanceNames>,
    /// Whom functions may reach.
    pub networks: Arc<Networks>,
    /// The ceilings, as they are when each is applied.
    pub limits: Live<Limits>,
    /// What tenants have of their own in place of those; the engine keeps it true.
    pub tenants: Arc<TenantTable>,
    /// Room for large answers, as the contracts have it: told when a limit changes.
    pub answers: Arc<Answers>,
    /// What may still be used, and what was: counted as attempts settle.
    pub budgets: Arc<Budgets>,
    /// The engine's own settings. Whoever changes them tells [`crate::Engine::reconfigured`].
    pub config: Live<EngineConfig>,
    /// Serving cores of this node.
    pub cores: u16,
}

/// Settings of the engine.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// How long idle instances stay, and what is made ahead.
    pub keep: Policy,
    /// How long an idle instance keeps running: time for the runtime to come back for its next
    /// event. At most [`FREEZE_AFTER`] unless the operator says otherwise.
    pub freeze_after: Duration,
    /// Instances that each function's head has ready while memory is at hand, from its deployment or
    /// its first call on. Who is short of memory takes them; a minimum is never taken.
    pub ready: u32,
    /// What an instance of a function that was never seen running is expected to use.
    pub memory_expected: Mebibytes,
    /// Instances that one core brings up at once; further starts wait in line.
    pub starts_at_once: usize,
    /// How processor time is limited.
    pub cpu: CpuPolicy,
    /// Inits that may fail in a row before the next one waits.
    pub init_failures: u32,
    /// The first wait after that; doubles with every further failure.
    pub init_backoff: Duration,
    /// The longest such wait.
    pub init_backoff_max: Duration,
    /// Start images of published revisions.
    pub snapshots: SnapshotConfig,
    /// Compiled code that is kept from one init to the next, of all revisions together; of one
    /// tenant's at most half. Zero: none is.
    pub compiled_code_bytes: u64,
}

/// Settings of the start images of published revisions (SnapStart).
#[derive(Debug, Clone, Copy)]
pub struct SnapshotConfig {
    /// What all of a node may take; `None`: an eighth of the memory for instances.
    pub memory: Option<Mebibytes>,
    /// What those of one tenant may take; `None`: half of that.
    pub tenant_memory: Option<Mebibytes>,
    /// An image this old is made anew; at twice the age nothing starts from it.
    pub age_max: Duration,
    /// The same for one that so many started from.
    pub starts_max: u64,
    /// Instances of an image that may die of a signal within [`SnapshotConfig::crash_window`]
    /// before it is dropped: whoever probes their common layout gets few tries.
    pub crashes_max: usize,
    /// See `crashes_max`.
    pub crash_window: Duration,
    /// How long one that was dropped, or could not be made, is left alone.
    pub again_after: Duration,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            memory: None,
            tenant_memory: None,
            age_max: Duration::from_secs(24 * 3600),
            starts_max: 10_000,
            crashes_max: 3,
            crash_window: Duration::from_secs(60),
            again_after: Duration::from_secs(60),
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            keep: Policy::Adaptive,
            freeze_after: FREEZE_AFTER / 2,
            ready: 0,
            memory_expected: Mebibytes(48),
            starts_at_once: 8,
            cpu: CpuPolicy::Burst,
            init_failures: 3,
            init_backoff: Duration::from_secs(1),
            init_backoff_max: Duration::from_secs(60),
            snapshots: SnapshotConfig::default(),
            compiled_code_bytes: 64 << 20,
        }
    }
}

/// How much processor an instance may use (D5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuPolicy {
    /// A burst up to max(1, memory / 1769 MiB) processors: the machine is the operator's own.
    Burst,
    /// Lambda's exact share.
    Lambda,
}

/// Memory that buys one processor. Source: AWS Lambda developer guide, "Configure Lambda function
/// memory".
const PROCESSOR_MIB: u64 = 1769;

/// Weight of one processor: enough that a thousandth of the smallest instance's is still a number.
const WEIGHT: u64 = 16 << 10;

/// Whole processors that an instance with this much memory may use, at least one.
pub(crate) fn processors(memory: Mebibytes) -> u64 {
    (u64::from(memory.0) / PROCESSOR_MIB).max(1)
}

impl CpuPolicy {
    /// The share of an instance with this much memory.
    pub(crate) fn share(self, memory: Mebibytes) -> CpuShare {
        let mib = u64::from(memory.0);
        let exact_us = (100_000 * mib).div_ceil(PROCESSOR_MIB);
        let quota_us = match self {
            Self::Burst => exact_us.max(100_000),
            Self::Lambda => exact_us,
        };
        CpuShare {
            weight: u32::try_from((WEIGHT * mib / PROCESSOR_MIB).max(1)).unwrap_or(u32::MAX),
            quota_us: u32::try_from(quota_us).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_follows_memory() {
        let whole = |mib| processors(Mebibytes(mib));
        assert_eq!(
            (whole(128), whole(1769), whole(3537), whole(3538)),
            (1, 1, 1, 2)
        );
        let lambda = CpuPolicy::Lambda.share(Mebibytes(1769));
        assert_eq!((lambda.weight, lambda.quota_us), (16_384, Some(100_000)));
        assert_eq!(
            CpuPolicy::Lambda.share(Mebibytes(128)).quota_us,
            Some(7_236)
        );
        assert_eq!(
            CpuPolicy::Burst.share(Mebibytes(128)).quota_us,
            Some(100_000)
        );
        assert_eq!(
            CpuPolicy::Burst.share(Mebibytes(3538)).quota_us,
            Some(200_000)
        );
    }
}
