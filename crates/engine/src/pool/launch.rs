//! One attempt to bring an instance up: sandbox, pipes, platform endpoint, init.
//!
//! What fails here for the function's sake (its init reported an error, its process ended, its
//! time was over) is told apart from what fails for ours. Nothing is left of an attempt that
//! failed: it was destroyed, confirmed, before this returns.

mod failed;
mod in_process;
mod raise;

use super::{
    Booking, Cell, Traffic,
    cell::{ComingUp, Credentials, Held},
    chain::Chain,
    compiled, snapshots,
    stock::{self, Ahead, Preload},
};
use crate::{
    environment,
    logs::{InstanceLog, PlatformEvent, Status},
    node::Node,
    route::{Revision, Runs},
    stats::StartKind,
};
use bytes::Bytes;
use failed::{no_program, not_begun};
use freehold_domain::{
    ids::{CoreId, InstanceId},
    outcome::InvokeError,
    ports::{ExitCause, ExitReport, Instance, InstanceUsage, Link, OpenError, Opening, SessionUse},
    time::Mono,
    traffic::Carried,
};
use parking_lot::Mutex;
use raise::{Plan, Raised, Way, Wire, network_of, raise};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// How long a sandbox may take to come up.
const SANDBOX_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before a spawner that died is asked again: its successor is on its way.
const SPAWNER_RETRY: Duration = Duration::from_millis(50);
/// How many prepared sandboxes one start may lose: beyond, it is no accident.
const LOST_MAX: u32 = 4;
/// Time for a process to end after it has closed its line. It is the kernel that closes it, before
/// the end comes to us through two processes that wait for a processor.
const ENDS_AFTER_CLOSING: Duration = Duration::from_millis(500);
/// Between the end of an instance's last run and the end of its credentials.
const CREDENTIALS_MARGIN: Duration = Duration::from_secs(300);

/// What fails where a start image cannot be used.
const IMAGE: &str = "start image";

/// Whose time an init takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its own.
    Init,
    /// The invocation's, after a first init failed.
    Invoke,
    /// The platform's, which makes a start image of it.
    Snapshot,
}

/// What one attempt hands on to the next.
pub(crate) struct Attempt {
    pub(crate) instance: InstanceId,
    pub(crate) log: Arc<InstanceLog>,
    pub(crate) booking: Booking,
    /// Functions that stand before what its init calls.
    pub(crate) hops: u8,
    /// Entries of the ledger that there are of its network.
    pub(crate) network_entries: Arc<Mutex<u32>>,
    /// Told when nobody waits for it any more.
    pub(crate) given_up: Arc<Notify>,
}

/// An init that failed by the function's fault.
pub(crate) struct InitFailure {
    pub(crate) kind: InitFailureKind,
    pub(crate) start: Duration,
    pub(crate) usage: InstanceUsage,
}

impl InitFailure {
    fn is_out_of_memory(&self) -> bool {
        matches!(self.kind, InitFailureKind::Exited(ExitCause::OutOfMemory))
    }
}

/// How it failed.
pub(crate) enum InitFailureKind {
    /// The runtime said so.
    Reported { error_type: String, body: Bytes },
    /// Its process ended.
    Exited(ExitCause),
    /// The package has no program that could be run.
    NoProgram,
    /// Its time was over.
    TimedOut,
    /// It broke its contract.
    Broken { reason: String },
}

/// Why there is no instance.
pub(crate) enum LaunchFailed {
    Init(InitFailure, Attempt),
    /// A start image did not come to life, or what was booted ahead did not come along. The
    /// function has not been heard.
    NotThawed {
        reason: String,
        /// Whether it was the image that could not be used. Once the function's code ran it may
        /// have died of that, whatever it came from.
        is_image: bool,
        attempt: Attempt,
    },
    Platform(InvokeError),
}

/// See the module. `init_timeout` counts from the moment the runtime's process runs; a thawed one has the
/// node's at the most.
///
/// An instance of a revision with a start image is thawed from it, where one is at hand; what does
/// not come to life so is started the plain way within the same attempt.
pub(crate) async fn launch(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    core: CoreId,
    mut attempt: Attempt,
    phase: Phase,
    init_timeout: Duration,
) -> Result<Cell, LaunchFailed> {
    if let Runs::InProcess(host) = &revision.runs {
        return in_process::launch(node, revision, &**host, core, attempt, phase).await;
    }
    let begun = node.parts.clock.now();
    let bring = |attempt, way| {
        let init_timeout = match &way {
            // Its init was another's: this is for the hooks after.
            Way::Thaw(_) => init_timeout.min(node.init_timeout()),
            _ => init_timeout,
        };
        bring_up(
            node,
            revision,
            core,
            attempt,
            phase,
            init_timeout,
            way,
            begun,
        )
    };
    if let (Phase::Init, Some(of)) = (phase, &revision.snapshot)
        && let Some(image) = snapshots::for_start(node, revision, of)
    {
        let way = Way::Thaw(image);
        match bring(attempt, way).await {
            Err(LaunchFailed::NotThawed {
                reason,
                attempt: back,
                ..
            }) => {
                snapshots::did_not_thaw(node, of, &reason);
                attempt = back;
            }
            done => return done,
        }
    }
    if phase == Phase::Init
        && let Some(ahead) = stock::take(node, revision, core)
    {
        let (way, template) = match ahead {
            Ahead::Booted(spare) => (Way::Booted(spare), None),
            Ahead::Image(image, preload) => (Way::Template(image), Some(preload)),
        };
        let up = bring(attempt, way).await;
        if let Some(preload) = template {
            // Everybody starts from these images: no function's crash may cost them. One that dies
            // in its runtime's own code is found out by the keeper, who thaws and rehearses.
            let thawed = match &up {
                Ok(_) | Err(LaunchFailed::Init(..)) => Some(true),
                Err(LaunchFailed::NotThawed { is_image: true, .. }) => Some(false),
                Err(_) => None,
            };
            if let Some(thawed) = thawed {
                let templates = &node.stock.templates;
                templates.went(node, (revision.runtime.id, preload), thawed);
            }
        }
        let began_with = template.unwrap_or(Preload::Bare);
        match &up {
            Ok(cell) => stock::came_up(node, revision, core, began_with, &*cell.link),
            Err(LaunchFailed::NotThawed { .. }) => revision.seen.did_not_come_up(began_with),
            Err(LaunchFailed::Init(failure, _)) if failure.is_out_of_memory() => {
                revision.seen.ran_out_of_memory();
            }
            Err(_) => {}
        }
        match up {
            Err(LaunchFailed::NotThawed {
                reason,
                attempt: back,
                ..
            }) => {
                let function = &revision.function.name;
                tracing::warn!(%function, reason, "what was booted ahead did not come along");
                attempt = back;
            }
            done => return done,
        }
    }
    let mut lost = 0;
    loop {
        let way = Way::Execute;
        match bring(attempt, way).await {
            // The prepared sandbox died before the runtime was executed.
            Err(LaunchFailed::NotThawed {
                reason,
                attempt: back,
                ..
            }) => {
                lost += 1;
                if lost > LOST_MAX || node.draining.load(Ordering::Acquire) {
                    let reason = format!("a prepared sandbox died: {reason}");
                    return Err(LaunchFailed::Platform(InvokeError::InstanceLost { reason }));
                }
                attempt = back;
            }
            Ok(cell) => {
                stock::came_up(node, revision, core, Preload::Bare, &*cell.link);
                return Ok(cell);
            }
            failed => return failed,
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call, told what to bring up and how"
)]
async fn bring_up(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    core: CoreId,
    attempt: Attempt,
    phase: Phase,
    init_timeout: Duration,
    way: Way,
    begun: Mono,
) -> Result<Cell, LaunchFailed> {
    let clock = &node.parts.clock;
    attempt.booking.lives_from(way.image_memory());
    let is_restored = matches!(way, Way::Thaw(_));
    let is_template = matches!(way, Way::Template(_));
    let kind = match &way {
        Way::Execute => StartKind::Executed,
        Way::Thaw(_) => StartKind::Restored,
        Way::Booted(_) => StartKind::Booted,
        Way::Template(_) => StartKind::Template,
    };
    let key = node.parts.credentials.issue(
        &revision.function,
        &revision.spec.role,
        attempt.instance,
        match phase {
            Phase::Snapshot => SessionUse::StartImage,
            Phase::Init | Phase::Invoke => SessionUse::Invocations,
        },
    );
    let credentials = Credentials {
        node: Arc::downgrade(node),
        instance: attempt.instance,
    };
    // From the word on no credentials are made but these, which end here.
    if revision.pool.is_closed() {
        return Err(LaunchFailed::Platform(InvokeError::TenantDisabled));
    }
    let env = environment::of_instance(revision, &attempt.log, &key, phase);
    let (code, part) = compiled::for_start(node, revision, phase);
    let opening = Opening {
        env: env.clone(),
        code,
    };
    let halvings = revision.halvings();
    let plan = Plan {
        instance: attempt.instance,
        core,
        env,
        halvings,
    };
    let raised = match raise(node, revision, plan, way, begun).await {
        Ok(raised) => raised,
        Err(InvokeError::Internal { component, reason }) if kind != StartKind::Executed => {
            return Err(LaunchFailed::NotThawed {
                reason,
                is_image: component == IMAGE,
                attempt,
            });
        }
        Err(error) => return Err(LaunchFailed::Platform(error)),
    };
    let Some(raised) = raised else {
        let start = clock.now().since(begun);
        return Err(no_program(revision, phase, start, attempt));
    };
    let Raised {
        instance,
        platform,
        network,
        stdout,
        stderr,
        wire,
    } = raised;
    match phase {
        Phase::Init if is_restored => {
            let event = PlatformEvent::RestoreStart { revision };
            attempt.log.platform(&event);
        }
        Phase::Init | Phase::Snapshot => {
            attempt.log.platform(&PlatformEvent::InitStart { revision });
        }
        Phase::Invoke => {}
    }
    if let Err(error) = attempt.log.attach(node, core, stdout, stderr) {
        return Err(LaunchFailed::Platform(internal("logs", &error.to_string())));
    }
    let tenant = revision.function.tenant.clone();
    let chain = Arc::new(Chain::new(tenant, attempt.instance, attempt.hops));
    let platform = node.parts.platform.serve(
        platform,
        &revision.function,
        attempt.instance,
        chain.clone(),
    );
    let policy = network_of(node, revision);
    let carried = Arc::<Carried>::default();
    let traffic = Traffic::of(
        node,
        revision,
        (&attempt, core),
        (&instance, network.has_link),
        carried.clone(),
    );
    let names = node.parts.names.serve(network, policy, core, carried);
    // Its file is made while the instance comes up, and not when its first caller waits.
    attempt.log.flush();

    let up = clock.now();
    let start = up.since(begun);
    let opened = {
        let open = open(revision, phase, wire, opening);
        let mut exited = instance.exited();
        tokio::pin!(open);
        tokio::select! {
            biased;
            () = revision.pool.closed() => Opened::Stopped,
            opened = &mut open => Opened::from(opened),
            report = &mut exited => {
                // A report of the runtime may be on its way through the socket still.
                tokio::select! {
                    biased;
                    opened = &mut open => Opened::from(opened),
                    () = clock.sleep(crate::exchange::LAST_WORDS) => Opened::Exited(report),
                }
            }
            () = clock.sleep_until(up + init_timeout) => Opened::TimedOut,
            () = node.stopped() => Opened::Stopped,
            () = attempt.given_up.notified() => Opened::Stopped,
        }
    };
    let took = clock.now().since(up);
    let link = match opened {
        Opened::Link(link) => {
            node.counters.started(kind);
            part.ready(&*link);
            link
        }
        Opened::Stopped => {
            instance.destroy().await;
            attempt.log.read_to_end();
            let why = match revision.pool.is_closed() {
                true => InvokeError::TenantDisabled,
                false => InvokeError::Draining,
            };
            return Err(LaunchFailed::Platform(why));
        }
        failed => {
            let is_late = matches!(failed, Opened::TimedOut);
            let (ended, report) = failed.end(node, &*instance).await;
            // It has ended, so this is known.
            if !is_late && let Err(error) = instance.begun().await {
                return Err(not_begun(revision, phase, start, error, attempt));
            }
            node.counters.started(kind);
            let kind = ended;
            attempt.log.read_to_end();
            if let ExitCause::SpawnerLost { reason } = &report.cause
                && matches!(kind, InitFailureKind::Exited(_))
            {
                let reason = reason.clone();
                return Err(LaunchFailed::Platform(InvokeError::InstanceLost { reason }));
            }
            part.failed(matches!(kind, InitFailureKind::Reported { .. }));
            let failure = InitFailure {
                kind,
                start,
                usage: report.usage,
            };
            let status = failure.status();
            log_coming_up(
                &attempt.log,
                revision,
                phase,
                is_restored,
                start,
                took,
                &status,
            );
            attempt.log.flush();
            let not_thawed = match &failure.kind {
                InitFailureKind::Reported { .. } => false,
                // Init after a template is the function's own, and may end as it likes; but a
                // signal may come from what was thawed.
                InitFailureKind::Exited(ExitCause::Signaled(_))
                | InitFailureKind::Broken { .. } => is_restored || is_template,
                _ => is_restored,
            };
            if not_thawed {
                let reason = format!("{status:?}");
                return Err(LaunchFailed::NotThawed {
                    reason,
                    is_image: false,
                    attempt,
                });
            }
            return Err(LaunchFailed::Init(failure, attempt));
        }
    };
    if phase != Phase::Invoke {
        let status = Status::Success;
        log_coming_up(
            &attempt.log,
            revision,
            phase,
            is_restored,
            start,
            took,
            &status,
        );
    }
    let Attempt {
        instance: id,
        log,
        booking,
        ..
    } = attempt;
    Ok(Cell {
        id,
        core,
        slots: link.slots().max(1),
        instance,
        link,
        log,
        is_restored,
        since: clock.wall(),
        since_at: up,
        worn_at: worn_at(node, revision, key.ends),
        node: Arc::downgrade(node),
        invocations: AtomicU64::new(0),
        stirred: Notify::new(),
        rests: AtomicBool::new(false),
        halvings: AtomicU8::new(halvings),
        made_ahead: AtomicBool::new(false),
        coming_up: Mutex::new(Some(ComingUp { start, init: took })),
        chain,
        cpu_seen_us: AtomicU64::new(0),
        frozen: AtomicBool::new(false),
        power: tokio::sync::Mutex::default(),
        held: Mutex::new(Some(Held {
            booking,
            _platform: Some(platform),
            _names: Some(names),
            traffic: Some(traffic),
            _credentials: Some(credentials),
        })),
    })
}

/// What the log says of how an instance came up.
fn log_coming_up(
    log: &InstanceLog,
    revision: &Revision,
    phase: Phase,
    is_restored: bool,
    start: Duration,
    took: Duration,
    status: &Status,
) {
    if !is_restored {
        return log.platform(&PlatformEvent::InitReport {
            revision,
            phase,
            took,
            status,
        });
    }
    log.platform(&PlatformEvent::RestoreRuntimeDone { status });
    let took = start + took;
    log.platform(&PlatformEvent::RestoreReport { took, status });
}

/// Opens the line to an instance that has just come up.
///
/// A revision whose instances are thawed counts on the hooks before and after, and gets them here
/// too when it is started plainly: on the same process, one after the other. What would have kept
/// it from being carried keeps it from nothing then. Which hooks there are the line knows, and no
/// one before it: two instances of one contract may be spoken to in two ways.
async fn open(
    revision: &Revision,
    phase: Phase,
    wire: Wire,
    opening: Opening,
) -> Result<Arc<dyn Link>, OpenError> {
    let Some(contract) = revision.contract() else {
        return Err(OpenError::Broken {
            reason: "an instance inside the server has no wires".to_owned(),
        });
    };
    let link = match wire {
        Wire::Thawed(wires) => {
            let booted = contract.thawed(wires).ok_or_else(no_images)?;
            return booted.resume(opening).await;
        }
        Wire::Booted(booted) => booted.begin(opening.clone()).await?,
        Wire::Executed(wires) => contract.open(wires, opening.clone()).await?,
    };
    if phase == Phase::Snapshot || !revision.is_snap_start() {
        return Ok(link);
    }
    match link.prepare_image().await {
        Ok(()) | Err(OpenError::Broken { .. }) => link.resume(opening).await?,
        Err(error @ OpenError::Init { .. }) => return Err(error),
    }
    Ok(link)
}

fn no_images() -> OpenError {
    OpenError::Broken {
        reason: "its contract has no start images".to_owned(),
    }
}

/// When an instance is too old for another event: the longest run and a margin before its
/// credentials end, and a minute from now at the least.
fn worn_at(node: &Node, revision: &Revision, ends: Mono) -> Mono {
    let now = node.parts.clock.now();
    let left = ends.since(now);
    let usable = left.saturating_sub(revision.timeout() + CREDENTIALS_MARGIN);
    now + usable.max(Duration::from_secs(60))
}

/// What the opening of the line came to.
enum Opened {
    Link(Arc<dyn Link>),
    Failed(OpenError),
    Exited(ExitReport),
    TimedOut,
    /// The node shuts down, its tenant is disabled, or nobody waits any more.
    Stopped,
}

impl From<Result<Arc<dyn Link>, OpenError>> for Opened {
    fn from(opened: Result<Arc<dyn Link>, OpenError>) -> Self {
        opened.map_or_else(Self::Failed, Self::Link)
    }
}

impl Opened {
    /// Destroys what is left and says how it failed.
    async fn end(self, node: &Node, instance: &dyn Instance) -> (InitFailureKind, ExitReport) {
        let report = match &self {
            Self::Failed(OpenError::Broken { .. }) => end_of(node, instance).await,
            _ => instance.destroy().await,
        };
        let kind = match self {
            Self::Failed(OpenError::Init { error_type, body }) => {
                InitFailureKind::Reported { error_type, body }
            }
            Self::Failed(OpenError::Broken { reason }) => match &report.cause {
                ExitCause::Destroyed => InitFailureKind::Broken { reason },
                cause => InitFailureKind::Exited(cause.clone()),
            },
            Self::Exited(report) => InitFailureKind::Exited(report.cause),
            Self::TimedOut | Self::Stopped | Self::Link(_) => InitFailureKind::TimedOut,
        };
        (kind, report)
    }
}

/// The end of an instance whose line is closed or broken: most often its process is ending, and
/// how it ended says more than the line. Who lives on is destroyed.
pub(crate) async fn end_of(node: &Node, instance: &dyn Instance) -> ExitReport {
    tokio::select! {
        biased;
        report = instance.exited() => report,
        () = node.parts.clock.sleep(ENDS_AFTER_CLOSING) => instance.destroy().await,
    }
}

impl InitFailure {
    /// As logs and reports name it.
    pub(crate) fn status(&self) -> Status {
        match &self.kind {
            InitFailureKind::Reported { error_type, .. } => Status::Error(error_type.clone()),
            InitFailureKind::Exited(cause) => {
                Status::Error(crate::exchange::exit_error_type(cause).to_owned())
            }
            InitFailureKind::NoProgram => Status::Error("Runtime.InvalidEntrypoint".to_owned()),
            InitFailureKind::Broken { .. } => Status::Error("Runtime.Unknown".to_owned()),
            InitFailureKind::TimedOut => Status::Timeout,
        }
    }
}

fn internal(component: &'static str, reason: &str) -> InvokeError {
    InvokeError::Internal {
        component,
        reason: reason.to_owned(),
    }
}
