//! Making the start image of a revision: its init in an instance of its own, its hooks before a
//! snapshot, its memory taken, its end.
//!
//! The instance is like any other but that nobody seats it in a pool: it has its own credentials,
//! which end with it, its own log stream, its memory booked. What fails for the function's sake is
//! told apart from what an image cannot carry, and both from what is ours.

use super::{NoRoom, Room, SnapshotOf};
use crate::{
    logs::InstanceLog,
    node::Node,
    pool::{
        Cell, HOPS_AHEAD, InitFailure, InitFailureKind, LaunchFailed, Phase,
        launch::{Attempt, end_of, launch},
    },
    route::Revision,
};
use freehold_domain::{
    ids::CoreId,
    ports::{ExitCause, ImageError, NotUp, OpenError, StartImage},
    time::Mono,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Init before a snapshot has this long, or the function's timeout where that is longer. Source:
/// AWS Lambda developer guide, "Lambda runtime environment", init phase.
const INIT_TIMEOUT: Duration = Duration::from_secs(130);

/// Hooks before a snapshot, and what the runtime does itself.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(10);
/// Taking the memory of a process that stands still.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for memory to run init in.
const ROOM_TIMEOUT: Duration = Duration::from_secs(60);
/// Why nothing of an account is made.
const DISABLED: &str = "its account is disabled";
/// Of an error's text in a version's state.
const REASON_CHARS_MAX: usize = 500;

/// Why there is no image.
#[derive(Debug)]
pub(crate) enum NotMade {
    /// The function's init, or a hook of its, failed.
    Failed { code: &'static str, reason: String },
    /// The process cannot be carried, for good.
    Refused { reason: String },
    /// For now.
    NotYet { reason: String },
}

/// Takes its turn, then makes the image and keeps it. The caller has begun it
/// ([`super::Snapshots::begin`]); what comes of it is noted here.
pub(crate) async fn make(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    of: &SnapshotOf,
) -> Result<(), NotMade> {
    let made = in_turn(node, revision, of).await;
    if made.is_err() {
        let again_at = node.parts.clock.now() + node.parts.config.now().snapshots.again_after;
        node.snapshots.gave_up(of, again_at);
    }
    made
}

/// The same in the background, for a start that missed one.
pub(crate) fn remake(node: &Arc<Node>, revision: &Arc<Revision>, of: SnapshotOf) {
    let (its_node, revision) = (node.clone(), revision.clone());
    node.spawn_on(core_of(node, &of), async move {
        if let Err(not_made) = make(&its_node, &revision, &of).await {
            let (function, version) = (&of.function.name, of.number);
            tracing::warn!(%function, version, ?not_made, "a start image was not made again");
        }
    });
}

/// The revisions of a node are spread over its cores.
fn core_of(node: &Node, of: &SnapshotOf) -> CoreId {
    let cores = u64::from(node.parts.cores.max(1));
    CoreId(u16::try_from(of.number % cores).unwrap_or(0))
}

async fn in_turn(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    of: &SnapshotOf,
) -> Result<(), NotMade> {
    if let Err(reason) = node.parts.driver.images() {
        return Err(NotMade::Refused {
            reason: format!("this machine takes no start images: {reason}"),
        });
    }
    if !revision.contract().is_some_and(|one| one.has_images()) {
        let runtime = &revision.runtime.name;
        return Err(NotMade::Refused {
            reason: format!("{runtime} has no start images"),
        });
    }
    let closed = |_| not_yet("the node shuts down");
    let own = node.snapshots.turn_of(&of.function.tenant);
    let _own = own.acquire_owned().await.map_err(closed)?;
    let _turn = node.snapshots.turns.clone().acquire_owned().await;
    let core = core_of(node, of);
    let (its_node, revision, of) = (node.clone(), revision.clone(), of.clone());
    // On the core that the instance belongs to, and to its end whatever becomes of who waits.
    let task = node.spawn_on(core, async move {
        let image = take(&its_node, &revision, core).await?;
        let parts = &its_node.parts;
        let config = parts.config.now().snapshots;
        let room = Room::of(&config, parts.driver.capacity().memory_bytes);
        let (bytes, now) = (image.bytes, parts.clock.now());
        let image = its_node.memory.hold_image(image);
        let again_at = now + config.again_after;
        let snapshots = &its_node.snapshots;
        let kept = snapshots.keep(&of, image, now, again_at, room);
        kept.map_err(|no_room| match no_room {
            NoRoom::TooLarge { limit_bytes } => NotMade::Refused {
                reason: format!(
                    "its start image takes {} MB, of {} that an account may hold",
                    bytes.div_ceil(1 << 20),
                    limit_bytes >> 20
                ),
            },
            NoRoom::InUse {
                used_bytes,
                limit_bytes,
            } => not_yet(&format!(
                "its start image takes {} MB, and instances live from {} of {} that images may take",
                bytes.div_ceil(1 << 20),
                used_bytes >> 20,
                limit_bytes >> 20
            )),
        })
    });
    let ended = task.await;
    ended.unwrap_or_else(|error| Err(not_yet(&format!("its task ended: {error}"))))
}

/// Brings an instance up, prepares it, takes its memory. It has ended when this resolves.
async fn take(
    node: &Arc<Node>,
    revision: &Arc<Revision>,
    core: CoreId,
) -> Result<StartImage, NotMade> {
    let clock = &node.parts.clock;
    let wait_until = clock.now() + ROOM_TIMEOUT;
    let wanted = || clock.now() < wait_until && !node.draining.load(Ordering::Acquire);
    let booking = node
        .memory
        .book(node, revision.pool.expected_bytes(), wanted, |_| {})
        .await;
    let Some(booking) = booking else {
        return Err(not_yet("no memory to run its init in"));
    };
    // It may have waited for long.
    if node.admission.is_disabled(&revision.function.tenant) {
        return Err(not_yet(DISABLED));
    }
    let instance = node.parts.ids.instance();
    let attempt = Attempt {
        instance,
        log: InstanceLog::new(node, revision, instance),
        booking,
        hops: HOPS_AHEAD,
        network_entries: Arc::default(),
        given_up: Arc::default(),
    };
    let timeout = INIT_TIMEOUT.max(revision.timeout());
    let launched = launch(node, revision, core, attempt, Phase::Snapshot, timeout).await;
    let cell = launched.map_err(|failed| match failed {
        LaunchFailed::Init(failure, _) => init_failed(&failure, timeout),
        LaunchFailed::NotThawed { reason, .. } => not_yet(&reason),
        LaunchFailed::Platform(error) => not_yet(&error.to_string()),
    })?;
    let image = from_cell(node, revision, &cell).await;
    cell.end().await;
    image
}

async fn from_cell(node: &Node, revision: &Revision, cell: &Cell) -> Result<StartImage, NotMade> {
    let clock = &node.parts.clock;
    let prepared = tokio::select! {
        biased;
        prepared = cell.link.prepare_image() => prepared,
        report = cell.instance.exited() => {
            return Err(exited(&report.cause));
        }
        () = clock.sleep_until(clock.now() + PREPARE_TIMEOUT) => {
            let reason = format!(
                "its hooks before the snapshot took more than {} s", PREPARE_TIMEOUT.as_secs()
            );
            return Err(NotMade::Failed { code: "FunctionError.InitTimeout", reason });
        }
        () = node.stopped() => return Err(not_yet("the node shuts down")),
        () = revision.pool.closed() => return Err(not_yet(DISABLED)),
    };
    match prepared {
        Ok(()) => {}
        Err(OpenError::Init { error_type, body }) => {
            let reason = reported(&error_type, &body);
            return Err(NotMade::Failed {
                code: "FunctionError.RuntimeInitError",
                reason,
            });
        }
        // A hook that ends the process closes the line without a word: how it ended is the reason.
        Err(OpenError::Broken { reason }) => {
            let report = end_of(node, &*cell.instance).await;
            return Err(match report.cause {
                ExitCause::Destroyed => NotMade::Refused { reason },
                cause => exited(&cause),
            });
        }
    }
    let deadline: Mono = clock.now() + TAKE_TIMEOUT;
    let taken = cell.instance.take_image(deadline).await;
    taken.map_err(|error| match error {
        ImageError::Unsupported { .. } | ImageError::Refused { .. } => NotMade::Refused {
            reason: error.to_string(),
        },
        ImageError::Deadline | ImageError::Gone | ImageError::Step { .. } => {
            not_yet(&error.to_string())
        }
    })
}

fn not_yet(reason: &str) -> NotMade {
    NotMade::NotYet {
        reason: reason.to_owned(),
    }
}

/// The same failure of a start that no image is made of.
pub(crate) fn told(failure: &InitFailure, timeout: Duration) -> NotUp {
    match init_failed(failure, timeout) {
        NotMade::Failed { code, reason } => NotUp::Failed { code, reason },
        NotMade::Refused { reason } | NotMade::NotYet { reason } => NotUp::NotYet { reason },
    }
}

fn init_failed(failure: &InitFailure, timeout: Duration) -> NotMade {
    let (code, reason) = match &failure.kind {
        InitFailureKind::Reported { error_type, body } => {
            ("FunctionError.RuntimeInitError", reported(error_type, body))
        }
        InitFailureKind::Exited(cause) => return exited(cause),
        InitFailureKind::NoProgram => (
            "FunctionError.InvalidEntryPoint",
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned(),
        ),
        InitFailureKind::TimedOut => (
            "FunctionError.InitTimeout",
            format!("init took more than {} s", timeout.as_secs()),
        ),
        InitFailureKind::Broken { reason } => ("FunctionError.RuntimeInitError", reason.clone()),
    };
    NotMade::Failed { code, reason }
}

/// A process that ended on its way to an image: the function's doing, unless we took it away.
fn exited(cause: &ExitCause) -> NotMade {
    let (code, reason) = match cause {
        ExitCause::OutOfMemory => (
            "FunctionError.InitResourceExhausted",
            "init ran out of memory".to_owned(),
        ),
        ExitCause::Exited(status) => (
            "FunctionError.RuntimeInitError",
            format!("Runtime exited with error: exit status {status}"),
        ),
        ExitCause::Signaled(signal) => (
            "FunctionError.RuntimeInitError",
            format!("Runtime exited with error: signal {signal}"),
        ),
        ExitCause::Destroyed => return not_yet("its instance was taken away"),
        ExitCause::SpawnerLost { reason } => return not_yet(reason),
    };
    NotMade::Failed { code, reason }
}

/// What a runtime reported, as one line: type, then message.
fn reported(error_type: &str, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload {
        error_message: String,
    }
    let message = serde_json::from_slice(body).map(|payload: Payload| payload.error_message);
    let text = match message {
        Ok(message) if !message.is_empty() => format!("{error_type}: {message}"),
        _ => error_type.to_owned(),
    };
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(REASON_CHARS_MAX).collect()
}
