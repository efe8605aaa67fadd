//! Everything that an instance of one revision needs to know, made once.

use crate::{
    environment,
    keep::Keep,
    node::Node,
    pool::{Pool, SnapshotOf},
};
use freehold_domain::{
    ids::{FunctionRef, Qualifier},
    logs::LogGroupName,
    ports::Contract,
    record::RevisionSpecV1,
    runtime::RuntimeRow,
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
    pub(crate) contract: Arc<dyn Contract>,
    /// Whether its environment means something to the runtime's own start, so that nothing booted
    /// ahead can be told of it.
    pub(crate) executes_plainly: bool,
    /// The tenant's variables.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) log_group: LogGroupName,
    /// The start image that its instances come from, where one could be made.
    pub(crate) snapshot: Option<SnapshotOf>,
    pub(crate) pool: Pool,
}

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
        let contract = parts
            .contracts
            .get(&runtime.family)
            .ok_or_else(|| format!("runtime {wanted} has no contract here"))?
            .clone();
        let variables = variables(node, function, &spec)?;
        let group = spec.logging.group.clone();
        let log_group = LogGroupName {
            tenant: function.tenant.clone(),
            region: function.region.clone(),
            group: group.unwrap_or_else(|| format!("/aws/lambda/{}", function.name)),
        };
        let expected = parts
            .config
            .memory_expected
            .bytes()
            .min(spec.memory.bytes());
        let keep = Keep::new(parts.config.keep);
        let pool = Pool::new(parts.cores, contract.slots(), expected, keep);
        Ok(Self {
            function: function.clone(),
            executed,
            created,
            spec,
            runtime,
            contract,
            executes_plainly: environment::is_for_execution(&variables),
            variables,
            log_group,
            snapshot,
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

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.spec.timeout_s))
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
