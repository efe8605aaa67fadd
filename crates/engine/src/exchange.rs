//! One event, one instance, one answer: the run itself.
//!
//! Races the answer against the function's timeout, the instance's end and a cancel. Whatever does
//! not end in an answer ends the instance, confirmed, before the caller hears of it.

mod failure;

pub(crate) use failure::exit_error_type;

use crate::{
    admission::Admitted,
    logs::{CameUp, InstanceLog, PlatformEvent, Status},
    node::Node,
    placement::{Place, Placed},
    pool::{
        Cell, FailedInit, InitFailure, InitFailureKind, LaunchFailed, Lease, Phase, end_of, launch,
    },
    route::Revision,
};
use bytes::Bytes;
use failure::Failure;
use freehold_domain::{
    BoxFuture,
    answers::Room,
    body::{Body, BodyError},
    ids::{InstanceId, InvocationId, Qualifier},
    ledger::Ending,
    outcome::{FunctionErrorKind, InvokeError, OutcomeKind},
    ports::{
        ExitCause, ExitReport, GuestAnswer, GuestCall, InstanceUsage, LinkError, Recount, Spent,
    },
    time::Mono,
};
use futures_util::FutureExt;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

/// Time for an answer that was sent before the process ended to come through its socket.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(5);

/// An invocation that has run.
pub(crate) struct Finished {
    pub(crate) admitted: Admitted,
    pub(crate) queue: Duration,
    pub(crate) instance: InstanceId,
    pub(crate) log: Arc<InstanceLog>,
    /// The slot, when the instance goes on.
    pub(crate) lease: Option<Lease>,
    pub(crate) start: Duration,
    pub(crate) init: Duration,
    /// How the instance came up, where this invocation is the first one that it runs after a good
    /// init.
    pub(crate) came_up: CameUp,
    /// Whether it waited for that instance to come up.
    pub(crate) waited: bool,
    pub(crate) run: Duration,
    pub(crate) cpu_us: u64,
    pub(crate) memory_peak_bytes: u64,
    pub(crate) ending: Ending,
    pub(crate) status: Status,
    /// What the caller hears.
    pub(crate) answer: Result<Answer, InvokeError>,
}

/// What the caller gets.
pub(crate) struct Answer {
    pub(crate) kind: OutcomeKind,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
    /// What it holds of the server's memory, where it is a large one.
    pub(crate) room: Option<Room>,
}

/// Runs a placed invocation to its end, or gives it back untouched: its instance has ended before
/// the event went in, which is nobody's failure.
pub(crate) async fn exchange(
    node: &Arc<Node>,
    placed: Placed,
    caller_gone: impl Future<Output = ()>,
) -> Result<Finished, Box<Admitted>> {
    let Placed {
        admitted,
        place,
        queue,
    } = placed;
    let (begun, caller_gone) = (node.parts.clock.now(), pin!(caller_gone));
    match place {
        Place::Lease(lease, mut exited) => {
            if (&mut exited).now_or_never().is_some() {
                lease.bury();
                return Err(Box::new(admitted));
            }
            let begun = Begun {
                at: begun,
                in_init: false,
            };
            Ok(run(node, admitted, queue, lease, exited, begun, caller_gone).await)
        }
        Place::FailedInit(failed) => {
            // Rare and large: boxed, so that no warm call carries the room for it.
            let retried = retry_init(node, admitted, queue, *failed, begun, caller_gone);
            Ok(Box::pin(retried).await)
        }
    }
}

/// The second init of an instance whose first one failed, on the invocation's own time.
///
/// Source: AWS Lambda developer guide, "Failures during the init phase": Lambda resets the
/// environment and runs init again when the function is invoked, within its timeout.
async fn retry_init(
    node: &Arc<Node>,
    admitted: Admitted,
    queue: Duration,
    failed: FailedInit,
    begun: Mono,
    mut caller_gone: Pin<&mut impl Future<Output = ()>>,
) -> Finished {
    let FailedInit {
        core, mut attempt, ..
    } = failed;
    attempt.hops = admitted.invocation.hops.saturating_add(1);
    let (id, revision) = (admitted.invocation.id, admitted.revision.clone());
    let (instance, log) = (attempt.instance, attempt.log.clone());
    log.begin(id, admitted.invocation.log_tail);
    log.platform(&PlatformEvent::Start {
        id,
        executed: &revision.executed,
    });
    let timeout = granted(node, &admitted, begun);
    let given_up = attempt.given_up.clone();
    let mut launched = pin!(launch(
        node,
        &revision,
        core,
        attempt,
        Phase::Invoke,
        timeout
    ));
    let launched = tokio::select! {
        biased;
        launched = &mut launched => Some(launched),
        () = &mut caller_gone => {
            // What it has sent is known once it has ended.
            given_up.notify_one();
            if let Ok(cell) = launched.await {
                cell.end().await;
            }
            None
        }
    };
    let (failure, start) = match launched {
        Some(Ok(cell)) => {
            // The making of its sandbox is the platform's time, not the invocation's.
            let begun = Begun {
                at: cell.since_at,
                in_init: true,
            };
            let lease = revision.adopt(node, cell);
            let exited = lease.cell().instance.exited();
            return run(node, admitted, queue, lease, exited, begun, caller_gone).await;
        }
        Some(Err(LaunchFailed::Init(failure, _))) => {
            revision.init_failed_again(node);
            let start = failure.start;
            (init_failed(node, &admitted, failure, timeout), start)
        }
        // Nothing is thawed here.
        Some(Err(LaunchFailed::NotThawed { reason, .. })) => {
            let lost = InvokeError::InstanceLost { reason };
            (Failure::lost(lost), Duration::ZERO)
        }
        Some(Err(LaunchFailed::Platform(error))) => (Failure::lost(error), Duration::ZERO),
        None => (Failure::cancelled(InstanceUsage::default()), Duration::ZERO),
    };
    if let Some(event) = failure.line(id, timeout) {
        log.platform(&event);
    }
    Finished {
        queue,
        instance,
        log,
        lease: None,
        start,
        init: Duration::ZERO,
        came_up: CameUp::Not,
        waited: false,
        run: node
            .parts
            .clock
            .now()
            .since(begun)
            .saturating_sub(start)
            .min(timeout),
        cpu_us: failure.usage.cpu_us,
        memory_peak_bytes: failure.usage.memory_peak_bytes,
        ending: failure.ending,
        status: failure.status,
        answer: failure.answer,
        admitted,
    }
}

fn init_failed(
    node: &Node,
    admitted: &Admitted,
    failure: InitFailure,
    timeout: Duration,
) -> Failure {
    let (id, spec) = (admitted.invocation.id, &admitted.revision.spec);
    let usage = failure.usage;
    match failure.kind {
        InitFailureKind::Reported { error_type, body } => {
            Failure::reported(error_type, body, usage)
        }
        InitFailureKind::Exited(cause) => {
            Failure::exited(id, &ExitReport { cause, usage }, spec.memory)
        }
        InitFailureKind::NoProgram => Failure::no_program(id, usage),
        InitFailureKind::TimedOut => Failure::timed_out(id, timeout, usage),
        InitFailureKind::Broken { reason } => {
            tracing::info!(function = %admitted.revision.function.name, %reason, "init failed");
            node.counters.broken();
            Failure::broken(id, usage)
        }
    }
}

/// How a run ended.
enum Ended {
    Answer(GuestAnswer, Bytes),
    Link(LinkError),
    Exited(ExitReport),
    TimedOut,
    Cancelled,
}

/// When an invocation's own time began, and whether an init has used some of it.
#[derive(Clone, Copy)]
struct Begun {
    at: Mono,
    in_init: bool,
}

async fn run(
    node: &Arc<Node>,
    admitted: Admitted,
    queue: Duration,
    mut lease: Lease,
    mut exited: BoxFuture<'static, ExitReport>,
    Begun {
        at: begun,
        in_init: is_retry,
    }: Begun,
    mut caller_gone: Pin<&mut impl Future<Output = ()>>,
) -> Finished {
    let (revision, id) = (admitted.revision.clone(), admitted.invocation.id);
    let cell = lease.cell().clone();
    let (log, clock, timeout) = (
        cell.log.clone(),
        &node.parts.clock,
        granted(node, &admitted, begun),
    );
    let coming_up = cell.take_coming_up();
    if !is_retry {
        log.begin(id, admitted.invocation.log_tail);
        log.platform(&PlatformEvent::Start {
            id,
            executed: &revision.executed,
        });
    }
    let deadline = begun + timeout;
    let call = call(node, &admitted, deadline);
    let cancelled = cell.enter(id, &call.trace, deadline);
    lease.begin();
    let ended = match (&mut exited).now_or_never() {
        // One that came up on this invocation's time, and has ended already.
        Some(report) => Ended::Exited(report),
        None => {
            let mut answered = pin!(answer(node, &cell, call));
            tokio::select! {
                biased;
                ended = &mut answered => ended,
                report = &mut exited => {
                    // No other event goes in while the last words of this one are waited for.
                    revision.pool.remove(cell.id);
                    tokio::select! {
                        biased;
                        ended = &mut answered => ended,
                        () = last_words(node, &cell, deadline) => Ended::Exited(report),
                        () = revision.pool.closed() => Ended::Exited(report),
                        () = cancelled.notified() => Ended::Cancelled,
                        () = caller_gone.as_mut() => Ended::Cancelled,
                    }
                }
                () = clock.sleep_until(deadline) => Ended::TimedOut,
                () = cancelled.notified() => Ended::Cancelled,
                () = caller_gone.as_mut() => Ended::Cancelled,
            }
        }
    };
    let run = clock.now().since(begun);
    let went = match ended {
        Ended::Answer(answer, body) => Ok(answered(answer, body)),
        other => {
            revision.pool.remove(cell.id);
            let ended = end_instance(node, &cell, id, timeout, other, &revision);
            Err(Box::pin(ended).await)
        }
    };
    cell.leave(id);
    let (start, init) = coming_up.map_or_else(Default::default, |up| (up.start, up.init));
    let finished = Finished {
        queue: if is_retry {
            queue
        } else {
            queue.saturating_sub(start + init)
        },
        instance: cell.id,
        log,
        lease: None,
        start,
        init: if is_retry { Duration::ZERO } else { init },
        came_up: match coming_up {
            Some(_) if cell.is_restored => CameUp::Restored,
            Some(_) if !is_retry => CameUp::Init,
            _ => CameUp::Not,
        },
        waited: coming_up.is_some() && !is_retry && !cell.was_made_ahead(),
        run,
        cpu_us: 0,
        memory_peak_bytes: 0,
        ending: Ending::Success,
        status: Status::Success,
        answer: Err(InvokeError::Draining),
        admitted,
    };
    match went {
        Ok((ending, status, answer)) => {
            // What it printed before it answered stands before END.
            cell.log.catch_up();
            lease.finish();
            let spent = spent_by(node, &cell).await;
            // Inside the server a guest's memory ends with its event, and is counted there.
            if revision.contract().is_some() {
                let own_bytes = spent.own_peak_bytes;
                revision.pool.learn_peak(own_bytes);
                cell.adjust_booking(own_bytes);
            }
            let spent = cell.spent_since_seen(spent);
            finished.with(Some(lease), spent, ending, status, Ok(answer))
        }
        Err(failure) => {
            lease.ruin();
            let spent = cell.spent_since_seen(failure.usage.into());
            let Failure {
                ending,
                status,
                answer,
                ..
            } = failure;
            finished.with(None, spent, ending, status, answer)
        }
    }
}

/// What an instance has spent, counted anew where what is known may be far off.
async fn spent_by(node: &Node, cell: &Cell) -> Spent {
    let Ok(spent) = cell.instance.spent() else {
        return cell.instance.usage().await.unwrap_or_default().into();
    };
    match cell.instance.recount(spent) {
        Recount::No => spent,
        Recount::Now => {
            // What was counted is in what it has spent, apart from what is its own.
            let _ = cell.instance.usage().await;
            cell.instance.spent().unwrap_or(spent)
        }
        Recount::Soon => {
            let instance = Arc::clone(&cell.instance);
            node.spawn_on(cell.core, async move {
                // It is known then; how it went is nobody's business.
                let _ = instance.usage().await;
            });
            spent
        }
    }
}

impl Finished {
    fn with(
        self,
        lease: Option<Lease>,
        spent: Spent,
        ending: Ending,
        status: Status,
        answer: Result<Answer, InvokeError>,
    ) -> Self {
        Self {
            lease,
            cpu_us: spent.cpu_us,
            memory_peak_bytes: spent.memory_peak_bytes,
            ending,
            status,
            answer,
            ..self
        }
    }
}

/// How long a run that begins now may take: as long as its function may run, and no longer than
/// anybody waits for it.
fn granted(node: &Node, admitted: &Admitted, begun: Mono) -> Duration {
    let timeout = admitted.revision.timeout_now(node);
    let until = admitted.invocation.run_until;
    until.map_or(timeout, |until| until.since(begun).min(timeout))
}

/// The event as the function sees it.
fn call(node: &Node, admitted: &Admitted, deadline: Mono) -> GuestCall {
    let (invocation, clock) = (&admitted.invocation, &node.parts.clock);
    let mut trace = invocation.trace.clone();
    trace.hops = invocation.hops.saturating_add(1);
    // What it calls has this run as its parent: the random half of its id, as good as any span's.
    trace.parent = Some(invocation.id.0.as_u64_pair().1);
    let is_bare = invocation.qualifier == Qualifier::Latest && !invocation.is_qualified;
    GuestCall {
        id: invocation.id,
        function: invocation.function.clone(),
        qualifier: (!is_bare).then(|| invocation.qualifier.clone()),
        deadline: clock.wall() + deadline.since(clock.now()),
        trace,
        client_context: invocation.client_context.clone(),
        by_url: invocation.by_url.clone(),
        body: Body::full(admitted.event.clone()),
    }
}

/// The whole answer, within its limit.
async fn answer(node: &Node, cell: &Cell, call: GuestCall) -> Ended {
    // The contract's limit is a little higher, as Lambda's is; this one bounds those without any.
    let limits = node.limits_of(&call.function.tenant);
    let limit_bytes = limits.sync_payload_bytes + 100;
    match cell.link.handle(call).await {
        Ok(GuestAnswer::Response {
            content_type,
            body,
            room,
        }) => match body.collect(limit_bytes).await {
            Ok((bytes, _)) => {
                let answer = GuestAnswer::Response {
                    content_type,
                    body: Body::empty(),
                    room,
                };
                Ended::Answer(answer, bytes)
            }
            Err(BodyError::TooLarge { limit_bytes }) => Ended::Link(LinkError::TooLarge {
                limit_bytes,
                sent_bytes: None,
            }),
            Err(BodyError::Broken { reason }) => Ended::Link(LinkError::Broken { reason }),
        },
        Ok(error @ GuestAnswer::Error { .. }) => Ended::Answer(error, Bytes::new()),
        Err(error) => Ended::Link(error),
    }
}

fn answered(answer: GuestAnswer, bytes: Bytes) -> (Ending, Status, Answer) {
    match answer {
        GuestAnswer::Response {
            content_type, room, ..
        } => {
            let kind = OutcomeKind::Success;
            let answer = Answer {
                kind,
                content_type,
                body: bytes,
                room,
            };
            (Ending::Success, Status::Success, answer)
        }
        GuestAnswer::Error {
            error_type,
            body,
            room,
        } => {
            let kind = OutcomeKind::FunctionError(FunctionErrorKind::Handled);
            let answer = Answer {
                kind,
                content_type: None,
                body,
                room,
            };
            let error_type = error_type.unwrap_or_else(|| "Runtime.Unknown".to_owned());
            (Ending::FunctionError, Status::Error(error_type), answer)
        }
    }
}

/// Time for an answer that was sent before the process ended: to come through its socket, and to have
/// room where it waits for that.
async fn last_words(node: &Node, cell: &Cell, deadline: Mono) {
    let clock = &node.parts.clock;
    loop {
        clock.sleep(LAST_WORDS).await;
        if !cell.link.answer_waits() || clock.now() >= deadline {
            return;
        }
    }
}

/// Destroys what gave no answer, keeps its last lines, and says what came of it.
async fn end_instance(
    node: &Node,
    cell: &Cell,
    id: InvocationId,
    timeout: Duration,
    ended: Ended,
    revision: &Revision,
) -> Failure {
    let memory = revision.spec.memory;
    let is_ours = matches!(ended, Ended::TimedOut | Ended::Cancelled);
    let mut failure = match ended {
        Ended::TimedOut => Failure::timed_out(id, timeout, cell.instance.destroy().await.usage),
        Ended::Cancelled => Failure::cancelled(cell.instance.destroy().await.usage),
        Ended::Exited(report) => {
            cell.note_crash(revision, &report.cause);
            Failure::exited(id, &report, memory)
        }
        Ended::Link(LinkError::TooLarge { limit_bytes, .. }) => {
            Failure::too_large(limit_bytes, cell.instance.destroy().await.usage)
        }
        Ended::Link(LinkError::TooSlow { came_bytes, within }) => {
            let usage = cell.instance.destroy().await.usage;
            Failure::too_slow(came_bytes, within, usage)
        }
        Ended::Link(LinkError::Busy { reason }) => {
            tracing::info!(function = %revision.function.name, %reason, "a run was turned away");
            Failure::found_no_room(cell.instance.destroy().await.usage)
        }
        Ended::Link(error) => {
            let report = end_of(node, &*cell.instance).await;
            cell.note_crash(revision, &report.cause);
            if let LinkError::Broken { reason } = &error {
                tracing::info!(function = %revision.function.name, %reason, "a run failed");
                node.counters.broken();
            }
            match report.cause {
                ExitCause::Destroyed => Failure::broken(id, report.usage),
                _ => Failure::exited(id, &report, memory),
            }
        }
        Ended::Answer(..) => unreachable!("an answer ends no instance"),
    };
    // Taken away with all that its tenant ran, however its end was noticed. The tenant may be enabled
    // again by now.
    if revision.pool.is_closed() && !is_ours {
        failure.answer = Err(InvokeError::TenantDisabled);
    }
    cell.log.read_to_end();
    cell.release();
    if let Some(event) = failure.line(id, timeout) {
        cell.log.platform(&event);
    }
    failure
}
