//! An instance inside the server: no sandbox, no pipe, no endpoint, no credentials, no init.
//!
//! The code was compiled when the function was made ready; a start finds it in memory, or loads
//! it. Nothing of the function runs before its first event.

use super::{Attempt, InitFailure, InitFailureKind, LaunchFailed, Phase, internal};
use crate::{
    environment,
    logs::{PlatformEvent, Status},
    node::Node,
    pool::{
        Cell,
        cell::{ComingUp, Held},
        chain::Chain,
    },
    route::Revision,
};
use freehold_domain::{
    ids::CoreId,
    outcome::{InvokeError, ThrottleReason},
    ports::{CodeError, GuestCode, InProcess, InProcessSpec, InstanceUsage, PackageError},
    time::Mono,
};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// What code that cannot be run is called in answers and logs.
const INVALID_CODE: &str = "Runtime.InvalidEntrypoint";

/// As [`super::launch`].
pub(super) async fn launch(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    host: &dyn InProcess,
    core: CoreId,
    attempt: Attempt,
    phase: Phase,
) -> Result<Cell, LaunchFailed> {
    let (parts, spec) = (&node.parts, &revision.spec);
    let begun = parts.clock.now();
    let package = spec.package.digest;
    let tree = parts.packages.open(&revision.function.tenant, package);
    let tree = tree.await.map_err(|error: PackageError| {
        LaunchFailed::Platform(internal("packages", &error.to_string()))
    })?;
    let wanted = InProcessSpec {
        instance: attempt.instance,
        code: GuestCode {
            tenant: revision.function.tenant.clone(),
            package,
            tree,
            file: spec.handler.clone().unwrap_or_default(),
        },
        env: environment::of_instance_in_process(revision, &attempt.log),
        memory: spec.memory,
        limits: parts.limits.clone(),
        output: attempt.log.clone(),
    };
    let started = tokio::select! {
        biased;
        started = host.start(wanted) => started,
        () = node.stopped() => return Err(LaunchFailed::Platform(InvokeError::Draining)),
    };
    let up = parts.clock.now();
    if phase == Phase::Init {
        attempt.log.platform(&PlatformEvent::InitStart { revision });
    }
    let started = match started {
        Ok(started) => started,
        Err(CodeError::Failed {
            reason,
            is_busy: true,
        }) => {
            tracing::info!(function = %revision.function.name, %reason, "a start was turned away");
            return Err(LaunchFailed::Platform(InvokeError::Throttled {
                reason: ThrottleReason::MachineMemory,
                retry_after: None,
            }));
        }
        Err(CodeError::Failed { reason, .. }) => {
            return Err(LaunchFailed::Platform(internal("wasm", &reason)));
        }
        Err(CodeError::Refused { reason }) => {
            let start = up.since(begun);
            return Err(refused(revision, &reason, start, attempt, phase));
        }
    };
    if phase == Phase::Init {
        attempt.log.platform(&PlatformEvent::InitReport {
            revision,
            phase,
            took: Duration::ZERO,
            status: &Status::Success,
        });
    }
    let Attempt {
        instance: id,
        log,
        booking,
        hops,
        ..
    } = attempt;
    let coming_up = ComingUp {
        start: up.since(begun),
        init: Duration::ZERO,
    };
    Ok(Cell {
        id,
        core,
        slots: started.link.slots().max(1),
        instance: started.instance,
        link: started.link,
        log,
        is_restored: false,
        halvings: AtomicU8::new(revision.halvings()),
        made_ahead: AtomicBool::new(false),
        since: parts.clock.wall(),
        since_at: up,
        // No credentials end under it.
        worn_at: Mono(u64::MAX),
        node: Arc::downgrade(node),
        invocations: AtomicU64::new(0),
        stirred: Notify::new(),
        rests: AtomicBool::new(false),
        coming_up: Mutex::new(Some(coming_up)),
        chain: Arc::new(Chain::new(revision.function.tenant.clone(), id, hops)),
        cpu_seen_us: AtomicU64::new(0),
        frozen: AtomicBool::new(false),
        power: tokio::sync::Mutex::default(),
        held: Mutex::new(Some(Held {
            booking,
            _platform: None,
            _names: None,
            traffic: None,
            _credentials: None,
        })),
    })
}

/// Its author's to mend: the log and the caller hear what is wrong.
fn refused(
    revision: &Revision,
    reason: &str,
    start: Duration,
    attempt: Attempt,
    phase: Phase,
) -> LaunchFailed {
    let body = json!({ "errorType": INVALID_CODE, "errorMessage": reason });
    let failure = InitFailure {
        kind: InitFailureKind::Reported {
            error_type: INVALID_CODE.to_owned(),
            body: body.to_string().into(),
        },
        start,
        usage: InstanceUsage::default(),
    };
    attempt.log.platform(&PlatformEvent::InitReport {
        revision,
        phase,
        took: Duration::ZERO,
        status: &failure.status(),
    });
    attempt.log.flush();
    LaunchFailed::Init(failure, attempt)
}
