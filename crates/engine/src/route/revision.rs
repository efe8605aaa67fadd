//! Everything that an instance of one revision needs to know, made once.

use crate::{
    environment,
    keep::Keep,
    node::Node,
    pool::{Compiled, Pool, SnapshotOf, stock::Seen},
};
use freehold_domain::{
    ids::{FunctionRef, Qualifier},
    logs::LogGroupName,
    ports::{Contract, InProcess},
    record::RevisionSpecV1,
    runtime::{RuntimeFamily, RuntimeRow},
    time::Wall,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// An immutable revision with its environment unsealed, its runtime found, and its instances.
pub(crate) struct Revision {
    pub(crate) function: FunctionRef,
    /// What runs: the head or a number, never an alias.
    pub(crate) executed: Qualifier,
    /// When the function was made: a function deleted and made again starts its generations anew.
    pub(crate) created: Wall,
    pub(crate) spec: RevisionSpecV1,
    pub(crate) runtime: RuntimeRow,
    pub(crate) runs: Runs,
    /// Whether its environment means something to the runtime's own start, so that nothing booted
    /// ahead can be told of it.
    pub(crate) executes_plainly: bool,
    /// What its init was seen to do.
    pub(crate) seen: Seen,
    /// The tenant's variables.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) log_group: LogGroupName,
    /// The start image that its instances come from, where one could be made.
    pub(crate) snapshot: Option<SnapshotOf>,
    /// What its init compiles, for the next one.
    pub(crate) compiled: Compiled,
    pub(crate) pool: Pool,
}

/// How its instances run.
pub(crate) enum Runs {
    /// In sandboxes, spoken to by a contract.
    Sandboxed(Arc<dyn Contract>),
    /// Inside the server.
    InProcess(Arc<dyn InProcess>),
}

/// What an instance inside the server is booked with: what the server keeps for it. The memory of
/// the guests that it runs is counted where they run, out of an amount of their own.
const IN_PROCESS_EXPECTED_BYTES: u64 = 2 << 20;

impl Revision {
    /// Errors: text for the caller; no secret in it.
    pub(crate) fn new(
        node: &Arc<Node>,
        function: &FunctionRef,
        executed: Qualifier,
        created: Wall,
        spec: RevisionSpecV1,
        snapshot: Option<SnapshotOf>,
    ) -> Result<Self, String> {
        let parts = &node.parts;
        let wanted = spec.substitute.as_ref().unwrap_or(&spec.runtime);
        let runtime = parts
            .runtimes
            .iter()
            .find(|row| row.name == *wanted)
            .ok_or_else(|| format!("runtime {wanted} is not on this machine"))?
            .clone();
        let runs = match runtime.family {
            RuntimeFamily::Wasm => parts.in_process.clone().map(Runs::InProcess),
            family => parts.contracts.get(&family).cloned().map(Runs::Sandboxed),
        };
        let runs = runs.ok_or_else(|| format!("runtime {wanted} has no contract here"))?;
        let variables = variables(node, function, &spec)?;
        let group = spec.logging.group.clone();
        let log_group = LogGroupName {
            tenant: function.tenant.clone(),
            region: function.region.clone(),
            group: group.unwrap_or_else(|| format!("/aws/lambda/{}", function.name)),
        };
        let (slots, expected) = match &runs {
            Runs::Sandboxed(contract) => {
                (contract.slots(), parts.config.now().memory_expected.bytes())
            }
            Runs::InProcess(_) => (1, IN_PROCESS_EXPECTED_BYTES),
        };
        let expected = expected.min(spec.memory.bytes());
        let keep = Keep::new(parts.config.now().keep);
        let tenant = node.tenants.of(&function.tenant);
        let starts = node.start_rates.of(function, parts.clock.now());
        let pool = Pool::new(parts.cores, slots, expected, keep, tenant, starts);
        let seen = Seen::of(&spec.package);
        Ok(Self {
            function: function.clone(),
            executed,
            created,
            spec,
            runtime,
            runs,
            executes_plainly: environment::is_for_execution(&variables),
            seen,
            variables,
            log_group,
            snapshot,
            compiled: Compiled::default(),
            pool,
        })
    }

    /// Whether its instances come up in two halves, with the function's hooks between them: init
    /// before a snapshot, and what follows a restore. All of them do, also those that start without
    /// an image: a function counts on its hooks.
    pub(crate) fn is_snap_start(&self) -> bool {
        self.spec.snap_start && matches!(self.executed, Qualifier::Revision(_))
    }

    /// As functions and logs are told.
    pub(crate) fn initialization_type(&self) -> &'static str {
        if self.is_snap_start() {
            "snap-start"
        } else {
            "on-demand"
        }
    }

    /// How its instances are spoken to; nothing for those inside the server.
    pub(crate) fn contract(&self) -> Option<&Arc<dyn Contract>> {
        match &self.runs {
            Runs::Sandboxed(contract) => Some(contract),
            Runs::InProcess(_) => None,
        }
    }

    /// What the function asks for, whatever the node's ceiling is by now.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.spec.timeout_s))
    }

    /// How long a run that begins now may take. A ceiling that was lowered since the function was
    /// made binds it: leases of events, packages and bills go by the ceiling.
    pub(crate) fn timeout_now(&self, node: &Node) -> Duration {
        let most = node.limits_of(&self.function.tenant).function_timeout_s;
        Duration::from_secs(u64::from(self.spec.timeout_s.min(most)))
    }
}

fn variables(
    node: &Node,
    function: &FunctionRef,
    spec: &RevisionSpecV1,
) -> Result<BTreeMap<String, String>, String> {
    let Some(sealed) = &spec.environment else {
        return Ok(BTreeMap::new());
    };
    let context = format!("{}/{}/{}", function.tenant, function.region, function.name);
    let plain = node
        .parts
        .sealer
        .open(sealed, &context)
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&plain)
        .map_err(|_| "its environment is not an object of strings".to_owned())
}
