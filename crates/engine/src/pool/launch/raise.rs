//! The process of an attempt: a sandbox that is started, thawed or told what it is, up to its line.
//!
//! Nothing of the function's has been heard yet, so whatever fails here is tried again for as long as
//! there is time, and is never the function's fault, but for a package without a program. Refuses to say
//! that a full machine was late: it is told by what it lacks.

use super::{IMAGE, LOST_MAX, SANDBOX_TIMEOUT, SPAWNER_RETRY, internal};
use crate::{
    node::Node,
    pool::{
        memory::{BookedImage, Holding, make_place},
        stock::Spare,
        weight_of,
    },
    route::Revision,
};
use freehold_domain::{
    ids::{CoreId, InstanceId},
    network::NetworkId,
    outcome::{InvokeError, ThrottleReason},
    ports::{
        Booted, Instance, InstanceSpec, NetworkIo, PackageError, Specialisation, StartError, Wires,
    },
    runtime::RuntimeFamily,
    time::Mono,
};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};

/// What an instance comes from.
pub(super) enum Way {
    /// Its runtime's program.
    Execute,
    /// The start image of its revision.
    Thaw(BookedImage),
    /// One that has booted and is nobody's yet.
    Booted(Box<Spare>),
    /// The start image of one that had booted and was nobody's.
    Template(BookedImage),
}

impl Way {
    /// What the image takes that it comes from.
    pub(super) fn image_memory(&self) -> Option<Arc<Holding>> {
        match self {
            Self::Execute => None,
            Self::Thaw(image) | Self::Template(image) => Some(image.memory.clone()),
            Self::Booted(spare) => spare.booking.image(),
        }
    }
}

/// The line to an instance that runs, before it is opened.
pub(super) enum Wire {
    /// It was executed for this revision.
    Executed(Wires),
    /// It was thawed after its init.
    Thawed(Wires),
    /// It waits to be told what it is.
    Booted(Box<dyn Booted>),
}

/// An instance that runs, with what it speaks through.
pub(super) struct Raised {
    pub(super) instance: Arc<dyn Instance>,
    pub(super) platform: OwnedFd,
    pub(super) network: NetworkIo,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) wire: Wire,
}

/// What a sandbox is to hold.
pub(super) struct Plan {
    pub(super) instance: InstanceId,
    pub(super) core: CoreId,
    pub(super) env: Vec<(String, String)>,
    /// How often its weight is halved.
    pub(super) halvings: u8,
}

/// Brings a process up that is this revision's, or about to be told so; `None` when the package
/// has no program to run, which is its author's to mend.
pub(super) async fn raise(
    node: &Arc<Node>,
    revision: &Revision,
    plan: Plan,
    way: Way,
    begun: Mono,
) -> Result<Option<Raised>, InvokeError> {
    let (parts, spec) = (&node.parts, &revision.spec);
    let package = parts
        .packages
        .open(&revision.function.tenant, spec.package.digest);
    let package = package
        .await
        .map_err(|error: PackageError| internal("packages", &error.to_string()))?;
    let deadline = begun + SANDBOX_TIMEOUT;
    let limits = parts.limits.now();
    let mut cpu = parts.config.now().cpu.share(spec.memory);
    cpu.weight = weight_of(cpu.weight, plan.halvings);
    let (image, is_template) = match way {
        Way::Execute => (None, false),
        Way::Thaw(image) => (Some(image.image), false),
        Way::Template(image) => (Some(image.image), true),
        Way::Booted(spare) => {
            let to = Specialisation {
                package,
                memory: spec.memory,
                tmp: spec.tmp,
                pids: limits.instance_pids,
                cpu,
                network: network_of(node, revision),
            };
            return spare.become_one(to, deadline).await.map(Some);
        }
    };
    let is_thawed = image.is_some();
    let spec = InstanceSpec {
        instance: plan.instance,
        core: plan.core,
        runtime: revision.runtime.id,
        package: Some(package),
        image,
        args: Vec::new(),
        env: if is_template { Vec::new() } else { plan.env },
        memory: spec.memory,
        tmp: spec.tmp,
        pids: limits.instance_pids,
        descriptors: limits.instance_descriptors,
        cpu,
        network: network_of(node, revision),
    };
    let Some(instance) = start_sandbox(node, revision, spec, deadline).await? else {
        return Ok(None);
    };
    let Some(io) = instance.take_io() else {
        return Err(internal("sandbox", "an instance came without IO"));
    };
    let wires = Wires {
        runtime_api: io.runtime_api,
        frames: io.frames,
    };
    let wire = if is_template {
        let booted = revision.contract().and_then(|one| one.thawed(wires));
        Wire::Booted(booted.ok_or_else(|| internal("contract", "it has no start images"))?)
    } else if is_thawed {
        Wire::Thawed(wires)
    } else {
        Wire::Executed(wires)
    };
    Ok(Some(Raised {
        instance,
        platform: io.platform,
        network: io.network,
        stdout: io.stdout,
        stderr: io.stderr,
        wire,
    }))
}

impl Spare {
    /// Becomes an instance of a revision that has not run yet.
    async fn become_one(
        self: Box<Self>,
        to: Specialisation,
        by: Mono,
    ) -> Result<Raised, InvokeError> {
        // Its own booking ends here: who starts has booked for the instance that this becomes.
        let Self {
            instance,
            booted,
            platform,
            network,
            stdout,
            stderr,
            ..
        } = *self;
        if let Err(error) = instance.specialise(to, by).await {
            instance.destroy().await;
            return Err(internal("sandbox", &error.to_string()));
        }
        Ok(Raised {
            instance,
            platform,
            network,
            stdout,
            stderr,
            wire: Wire::Booted(booted),
        })
    }
}

/// Whom an instance of the revision may reach.
pub(super) fn network_of(node: &Node, revision: &Revision) -> NetworkId {
    let named = revision.spec.network.as_ref();
    let networks = &node.parts.networks;
    let named = named.map(|network| network.policy.as_str());
    networks.of_function(named, &revision.function.tenant)
}

/// `None` when the package has no program to run.
async fn start_sandbox(
    node: &Arc<Node>,
    revision: &Revision,
    spec: InstanceSpec,
    deadline: Mono,
) -> Result<Option<Arc<dyn Instance>>, InvokeError> {
    let parts = &node.parts;
    let goes_on =
        || parts.clock.now() + SPAWNER_RETRY < deadline && !node.draining.load(Ordering::Acquire);
    let mut lost = 0;
    loop {
        let launched = parts.driver.launch(spec.clone(), deadline).await;
        // Who gives up waiting meanwhile hears why.
        let lacks_room = matches!(launched, Err(StartError::Exhausted { .. }));
        let short_of_room = &revision.pool.short_of_room;
        short_of_room.store(lacks_room, Ordering::Release);
        match launched {
            Ok(instance) => return Ok(Some(instance)),
            // Any other runtime's program is ours.
            Err(StartError::Program { .. })
                if revision.runtime.family == RuntimeFamily::Provided =>
            {
                return Ok(None);
            }
            Err(StartError::Lost { .. }) if lost < LOST_MAX && goes_on() => lost += 1,
            // What nobody uses gives its place; where all are at work, one of them ends sometime.
            Err(StartError::Exhausted { .. }) if goes_on() => {
                if !make_place(node, spec.core).await {
                    parts.clock.sleep(SPAWNER_RETRY).await;
                }
            }
            Err(StartError::SpawnerLost { .. }) if goes_on() => {
                parts.clock.sleep(SPAWNER_RETRY).await;
            }
            Err(StartError::SpawnerLost { core }) => {
                let reason = format!("spawner {core} died");
                return Err(InvokeError::InstanceLost { reason });
            }
            Err(StartError::Lost { reason }) => {
                let reason = format!("a prepared sandbox died: {reason}");
                return Err(InvokeError::InstanceLost { reason });
            }
            Err(StartError::Exhausted { .. }) if node.draining.load(Ordering::Acquire) => {
                return Err(InvokeError::Draining);
            }
            // No event has been touched: whoever waits goes on waiting, until its own deadline.
            Err(StartError::Exhausted { resource }) => {
                tracing::warn!(core = spec.core.0, resource, "no room for another instance");
                return Err(InvokeError::Throttled {
                    reason: ThrottleReason::MachineRoom,
                    retry_after: None,
                });
            }
            Err(StartError::Deadline) => return Err(InvokeError::DeadlinePassed { deadline }),
            Err(error @ StartError::Image { .. }) => {
                return Err(internal(IMAGE, &error.to_string()));
            }
            Err(error) => return Err(internal("sandbox", &error.to_string())),
        }
    }
}
