//! Handing a call to the engine in a scope of its own: for Lambda, a client that hangs up stops
//! nothing.

use crate::{Api, in_flight::HeldBytes};
use bytes::Bytes;
use freehold_domain::{
    Body, FunctionRef, Invocation, InvocationId, InvokeError, Mode, Onward, OutcomeHead, Principal,
    Qualifier, Source, TenantId, TenantLimit, ThrottleReason, TraceHeader,
    answers::{Peer, Room},
    limits::{Limits, START_WAIT_S},
    ports::{Caller, Invoke},
    tenants::TenantTable,
};
use futures_util::FutureExt;
use http::Response;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

/// Longest wait for an instance to take an event, beyond which the caller is throttled.
const START_WAIT_MAX: Duration = Duration::from_secs(START_WAIT_S as u64);

/// A call as a front end has read it.
#[derive(Debug)]
pub struct Call {
    /// The request id.
    pub id: InvocationId,
    /// Who asks.
    pub principal: Principal,
    /// The function.
    pub function: FunctionRef,
    /// Which revision of it.
    pub qualifier: Qualifier,
    /// Whether the caller named it.
    pub is_qualified: bool,
    /// How the caller waits.
    pub mode: Mode,
    /// Where it came from.
    pub source: Source,
    /// Who called the function's URL, where it came by one.
    pub by_url: Option<Peer>,
    /// The trace header as it came.
    pub trace: Option<String>,
    /// The run that it came out of, where it came out of one.
    pub caller: Option<Caller>,
    /// Lambda's client context, decoded.
    pub client_context: Option<Bytes>,
    /// Whether the caller wants the end of the log.
    pub log_tail: bool,
    /// The event.
    pub body: Bytes,
    /// Its share of the bytes in flight, held until the outcome.
    pub held: Option<HeldBytes>,
}

/// An outcome whose body has been read whole.
#[derive(Debug)]
pub struct Collected {
    /// Its head.
    pub head: OutcomeHead,
    /// Its body.
    pub payload: Bytes,
    /// The room of a large one.
    pub room: Option<Room>,
}

/// What a large outcome is answered with keeps its room until the client has taken it, and says whose
/// that is.
pub fn held(room: Option<Room>, mut response: Response<Bytes>) -> Response<Bytes> {
    // Of what a URL's answer is made of, less may be sent on.
    let Some(room) = room.and_then(|room| room.kept_by(response.body().len())) else {
        return response;
    };
    response.extensions_mut().insert(room.standing());
    response.map(|answer| room.held_by(answer))
}

/// The trace that a call goes on with: what its header says, else what its caller runs under, else
/// a new one.
///
/// How many functions stand before it is not the guest's to say: a header can only add to it.
pub fn trace(header: Option<&str>, caller: Option<&Caller>, id: InvocationId) -> TraceHeader {
    let known = caller.map(|caller| &caller.trace);
    let mut trace = header
        .and_then(TraceHeader::parse)
        .or_else(|| known.cloned())
        .unwrap_or_else(|| TraceHeader::new_root(id.0));
    trace.hops = trace.hops.max(known.map_or(0, |known| known.hops));
    trace
}

/// The invocation of a call.
pub fn invocation(api: &Api, call: Call) -> (Invocation, Option<HeldBytes>) {
    let trace = trace(call.trace.as_deref(), call.caller.as_ref(), call.id);
    let now = api.clock.now();
    let (mut deadline, mut run_until) = (now + START_WAIT_MAX, None);
    // Nobody waits for an event, and nobody hears an answer after its own end.
    if call.mode == Mode::RequestResponse
        && let Some(caller) = &call.caller
        && let Some(ends) = caller.deadline
    {
        deadline = deadline.min(ends);
        // How long a function runs is not for another account to say.
        run_until = (caller.tenant == call.function.tenant).then_some(ends);
    }
    let invocation = Invocation {
        id: call.id,
        principal: call.principal,
        function: call.function,
        qualifier: call.qualifier,
        is_qualified: call.is_qualified,
        attempt: 1,
        by_url: call.by_url,
        deadline,
        run_until,
        mode: call.mode,
        hops: trace.hops,
        trace,
        source: call.source,
        client_context: call.client_context,
        log_tail: call.log_tail,
        body: Body::full(call.body),
    };
    (invocation, call.held)
}

/// Runs a call to its end whether or not the caller still waits.
///
/// Errors: the engine's.
pub async fn invoke_detached(
    api: &Api,
    invoker: Arc<dyn Invoke>,
    call: Call,
) -> Result<Collected, InvokeError> {
    let (invocation, held) = invocation(api, call);
    let limit_bytes = api.limits.now().sync_payload_bytes + (1 << 20);
    let run = async move {
        let outcome = invoker.invoke(invocation).await?;
        let (payload, _) =
            outcome
                .body
                .collect(limit_bytes)
                .await
                .map_err(|error| InvokeError::Internal {
                    component: "api",
                    reason: format!("the answer could not be read: {error}"),
                })?;
        drop(held);
        Ok(Collected {
            head: outcome.head,
            payload,
            room: outcome.room,
        })
    };
    let run = api.running.track_future(run);
    // Whose connection ends leaves the rest to a task of its own.
    let run = Onward::new(run, |rest| {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(rest));
        }
    });
    AssertUnwindSafe(run)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            Err(InvokeError::Internal {
                component: "api",
                reason: "the call failed in a way that nobody foresaw".to_owned(),
            })
        })
}

/// What a caller is told of a budget that has stopped a function.
pub const STOPPED: &str = "A budget of the account is used up and has stopped what it is about, until the operator of the node raises or removes it (freehold budgets).";

/// What anybody is told of a throttle: AWS's words, and what to do where AWS has none.
pub(crate) fn throttle_text(reason: ThrottleReason) -> String {
    match reason {
        ThrottleReason::Budget => {
            "Rate Exceeded. A budget of the account is used up until its period is over; freehold budgets list shows it, and the node's operator raises it.".to_owned()
        }
        ThrottleReason::BudgetStop => STOPPED.to_owned(),
        _ => "Rate Exceeded.".to_owned(),
    }
}

/// What the keys of `tenant` are told of a rate of its: how much it is, and who raises it.
pub(crate) fn rate_text(
    tenants: &TenantTable,
    node: &Limits,
    tenant: &TenantId,
    reason: ThrottleReason,
) -> Option<String> {
    let (limit, before, after) = match reason {
        ThrottleReason::StartRate => (
            TenantLimit::Starts,
            "No instance is free, and of the account no more than",
            "may start in a second",
        ),
        ThrottleReason::FunctionStartRate => (
            TenantLimit::FunctionStarts,
            "No instance is free, and of one function no more than",
            "may start in ten seconds",
        ),
        ThrottleReason::InvocationRate => (
            TenantLimit::SyncInvocations,
            "Of the account's synchronous invocations no more than",
            "may begin in a second",
        ),
        // Its account reserves more by itself.
        ThrottleReason::ReservedInvocationRate => {
            return Some("Rate Exceeded. Of the function's synchronous invocations no more than ten times its reserved concurrency may begin in a second; PutFunctionConcurrency reserves more.".to_owned());
        }
        _ => return None,
    };
    let own = tenants.of(tenant);
    let most = match own {
        Some(state) => state.limits().holds(limit, node),
        None => (limit.row().preset)(node),
    };
    // It may have gone meanwhile.
    let most = most.map_or_else(String::new, |most| format!(" {most}"));
    let raise = limit.raise();
    Some(format!("Rate Exceeded. {before}{most} {after}; {raise}."))
}

/// AWS's word for a throttle.
pub fn throttle_reason(reason: ThrottleReason) -> &'static str {
    match reason {
        ThrottleReason::ReservedConcurrency => "ReservedFunctionConcurrentInvocationLimitExceeded",
        ThrottleReason::ReservedInvocationRate => "ReservedFunctionInvocationRateLimitExceeded",
        ThrottleReason::StartRate | ThrottleReason::InvocationRate => {
            "FunctionInvocationRateLimitExceeded"
        }
        // Ours: AWS's budgets act on policies.
        ThrottleReason::Budget => "BudgetExceeded",
        ThrottleReason::BudgetStop => "BudgetStopped",
        // AWS has no word for a machine that is full: to the caller it is the same limit.
        // Nor for a function whose instances come up no faster: its concurrency is what it has.
        ThrottleReason::AccountConcurrency
        | ThrottleReason::FunctionStartRate
        | ThrottleReason::MachineMemory
        | ThrottleReason::MachineRoom
        | ThrottleReason::InitBackoff => "ConcurrentInvocationLimitExceeded",
    }
}
