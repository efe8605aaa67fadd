//! The Invoke operation.

use super::{Ctx, explain};
use crate::{
    Api,
    arn::{Absent, denied, function_arn, named, qualified_arn},
    invoke::{
        Call, Collected, STOPPED, held, invocation, invoke_detached, rate_text, throttle_reason,
        throttle_text, trace,
    },
    request::Request,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use freehold_control::Described;
use freehold_domain::{
    InvokeError, Mode, OutcomeKind, Qualifier, Source, TenantId, ThrottleReason, ports::Invoke,
};
use freehold_identity::policy::{Decision, INVOKE_FUNCTION, ResourceContext, decide};
use freehold_wire::{
    ApiError, Call as WireCall, Labels, Service, common,
    lambda::{self, error},
};
use http::{HeaderName, HeaderValue, Response};
use serde::Deserialize;
use std::sync::Arc;

/// Client context, decoded, at the most. Source: Invoke's documentation.
const CLIENT_CONTEXT_BYTES_MAX: usize = 3583;

const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

pub(super) async fn invoke(
    ctx: &Ctx<'_>,
    invoker: Arc<dyn Invoke>,
    request: Request,
    labels: Labels,
) -> Result<Response<Bytes>, ApiError> {
    let id = request.id;
    let asked = lambda::Invoke::decode(&request.parts, labels, request.body.clone())
        .map_err(|fault| fault.into_error(Service::Lambda))?;
    let named = named(
        &asked.function_name,
        asked.qualifier.as_deref(),
        &ctx.place.tenant,
        &ctx.place.region,
        Absent::WithLatest,
    )?;
    permit(ctx, &named.function, named.qualifier.as_ref()).await?;
    if asked.tenant_id.is_some() || asked.durable_execution_name.is_some() {
        return Err(error::invalid_parameter_value(
            "TenantId and DurableExecutionName are not supported by this release of Freehold",
        ));
    }
    let qualifier = named.qualifier.clone().unwrap_or(Qualifier::Latest);
    let kind = asked
        .invocation_type
        .as_deref()
        .unwrap_or("RequestResponse");
    let payload = asked.payload.unwrap_or_default();
    check_payload(ctx, kind, &payload)?;
    let client_context = asked
        .client_context
        .as_deref()
        .map(client_context)
        .transpose()?;
    // The caller hears which trace it is, as on AWS.
    let trace = trace(request.header(TRACE.as_str()), request.caller.as_ref(), id);
    let call = Call {
        id,
        principal: ctx.who.clone(),
        function: named.function.clone(),
        qualifier: qualifier.clone(),
        is_qualified: named.qualifier.is_some(),
        mode: if kind == "Event" {
            Mode::Event
        } else {
            Mode::RequestResponse
        },
        source: Source::Api,
        by_url: None,
        trace: Some(trace.to_string()),
        caller: request.caller,
        client_context,
        log_tail: asked.log_type.as_deref() == Some("Tail"),
        // A function that is called without a payload gets an empty object, as on AWS.
        body: if payload.is_empty() {
            Bytes::from_static(b"{}")
        } else {
            payload
        },
        held: request.held,
    };
    let arn = match &named.qualifier {
        Some(qualifier) => qualified_arn(&named.function, qualifier),
        None => function_arn(&named.function),
    };
    let mut room = None;
    let answer = match kind {
        "DryRun" => {
            Box::pin(exists(ctx, &call)).await?;
            lambda::InvocationResponse {
                status_code: Some(204),
                ..Default::default()
            }
        }
        "Event" => Box::pin(accept(ctx, call)).await?,
        _ => {
            let done = invoke_detached(ctx.api, invoker, call).await;
            let tenant = &named.function.tenant;
            let mut done = done.map_err(|fault| refused(ctx.api, tenant, fault, &arn))?;
            room = done.room.take();
            from_outcome(done)
        }
    };
    let mut response = held(room, lambda::Invoke::encode(answer, &id.to_string()));
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        response.headers_mut().insert(TRACE, value);
    }
    Ok(response)
}

/// Its own tenant's principals may; another tenant needs a statement of the function's policy.
async fn permit(
    ctx: &Ctx<'_>,
    function: &freehold_domain::FunctionRef,
    qualifier: Option<&Qualifier>,
) -> Result<(), ApiError> {
    let mut statements = Vec::new();
    if function.tenant != ctx.place.tenant {
        let platform = freehold_domain::Principal::platform("lambda");
        let policy = ctx.api.control.policy_get(&platform, function, qualifier);
        let policy = Box::pin(policy).await;
        // What is queued for it would wait as well.
        if ctx.api.verifier.bars(&function.tenant) {
            return Err(denied(&ctx.who, INVOKE_FUNCTION.0, &function_arn(function)));
        }
        statements = policy.map(|policy| policy.statements).unwrap_or_default();
    }
    let none = ResourceContext::default();
    match decide(
        &ctx.who,
        &function.tenant,
        INVOKE_FUNCTION,
        &statements,
        &none,
    ) {
        Decision::Allow => Ok(()),
        Decision::Deny => Err(denied(&ctx.who, INVOKE_FUNCTION.0, &function_arn(function))),
    }
}

fn check_payload(ctx: &Ctx<'_>, kind: &str, payload: &Bytes) -> Result<(), ApiError> {
    let limits = ctx.api.limits_of(&ctx.place.tenant);
    let length = payload.len() as u64;
    if kind == "Event" && length > limits.async_payload_bytes {
        return Err(explain::event_too_large(length, limits.async_payload_bytes));
    }
    if length > limits.sync_payload_bytes {
        let limit = limits.sync_payload_bytes;
        return Err(common::request_too_large(format!(
            "Request must be smaller than {limit} bytes for the InvokeFunction operation"
        )));
    }
    if payload.is_empty() {
        return Ok(());
    }
    // Read to its end without building anything: what is not JSON never reaches a function.
    let mut reader = serde_json::Deserializer::from_slice(payload);
    let read = serde::de::IgnoredAny::deserialize(&mut reader).and_then(|_| reader.end());
    read.map_err(|fault| {
        error::invalid_request_content(format!(
            "Could not parse request body into json: Could not parse payload into json: {fault}"
        ))
    })
}
fn client_context(text: &str) -> Result<Bytes, ApiError> {
    let wrong = || {
        error::invalid_request_content("Client context must be a valid Base64-encoded JSON object.")
    };
    let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
    if bytes.len() > CLIENT_CONTEXT_BYTES_MAX {
        return Err(error::invalid_request_content(format!(
            "Client context must be no more than {CLIENT_CONTEXT_BYTES_MAX} bytes."
        )));
    }
    let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes);
    object.map_err(|_| wrong())?;
    Ok(Bytes::from(bytes))
}

/// A dry run checks what a call would meet before it runs.
async fn exists(ctx: &Ctx<'_>, call: &Call) -> Result<Described, ApiError> {
    let platform = freehold_domain::Principal::platform("lambda");
    let found = ctx
        .api
        .control
        .function_get(&platform, &call.function, Some(&call.qualifier))
        .await;
    let named = crate::arn::Named {
        function: call.function.clone(),
        qualifier: Some(call.qualifier.clone()).filter(|q| *q != Qualifier::Latest),
    };
    found.map_err(|fault| explain::about(fault, &named))
}

/// Durable before it is accepted.
async fn accept(ctx: &Ctx<'_>, call: Call) -> Result<lambda::InvocationResponse, ApiError> {
    exists(ctx, &call).await?;
    let length = call.body.len() as u64;
    let (invocation, held) = invocation(ctx.api, call);
    let accepted = ctx.api.events.accept(invocation).await;
    drop(held);
    accepted.map_err(|fault| explain::not_taken(&fault, length))?;
    Ok(lambda::InvocationResponse {
        status_code: Some(202),
        ..Default::default()
    })
}

fn from_outcome(done: Collected) -> lambda::InvocationResponse {
    let function_error = match done.head.kind {
        OutcomeKind::Success => None,
        // Every managed runtime of today says "Unhandled", whoever noticed.
        OutcomeKind::FunctionError(_) => Some("Unhandled".to_owned()),
    };
    lambda::InvocationResponse {
        status_code: Some(200),
        function_error,
        log_result: done.head.log_tail.map(|tail| STANDARD.encode(tail)),
        payload: Some(done.payload),
        executed_version: Some(done.head.executed.to_string()),
        durable_execution_arn: None,
    }
}

/// What the engine did not run, in AWS's words.
fn refused(api: &Api, tenant: &TenantId, fault: InvokeError, arn: &str) -> ApiError {
    match fault {
        InvokeError::NotFound { .. } => {
            error::resource_not_found(format!("Function not found: {arn}"))
        }
        InvokeError::NotReady { pending: true, .. } => error::resource_conflict(format!(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending for resource: {arn}"
        )),
        InvokeError::NotReady { reason, .. } => error::resource_conflict(format!(
            "The operation cannot be performed at this time. {reason} for resource: {arn}"
        )),
        InvokeError::Throttled {
            reason: ThrottleReason::BudgetStop,
            ..
        } => common::access_denied(STOPPED),
        InvokeError::Throttled {
            reason,
            retry_after,
        } => {
            let text = rate_text(&api.tenants, &api.limits.now(), tenant, reason)
                .unwrap_or_else(|| throttle_text(reason));
            let answer = error::too_many_requests(text).with_reason(throttle_reason(reason));
            match retry_after {
                Some(after) => answer.with_retry_after_s(after.as_secs().max(1) as u32),
                None => answer,
            }
        }
        InvokeError::TenantDisabled => {
            common::access_denied("The account of the function is disabled.")
        }
        InvokeError::EventTooLarge { limit_bytes } => common::request_too_large(format!(
            "Request must be smaller than {limit_bytes} bytes for the InvokeFunction operation"
        )),
        InvokeError::LoopDetected { hops } => explain::loops(hops),
        InvokeError::Draining => {
            common::service_unavailable("The node is shutting down; try again.")
                .with_retry_after_s(1)
        }
        InvokeError::DeadlinePassed { .. } => {
            common::service_unavailable("No instance took the event in time; try again.")
                .with_retry_after_s(1)
        }
        InvokeError::InstanceLost { reason } => {
            tracing::warn!(reason, arn, "an instance was lost under an invocation");
            error::service(format!("The instance was lost: {reason}"))
        }
        InvokeError::Internal { component, reason } => {
            tracing::error!(component, reason, arn, "an invocation failed");
            error::service(format!("{component} failed"))
        }
        InvokeError::NotRecorded { reason } => {
            tracing::error!(reason, arn, "an invocation could not be recorded");
            error::service("The invocation ran and could not be recorded")
        }
    }
}
