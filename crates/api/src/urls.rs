//! Function URLs: an HTTP request in, an event in payload format 2.0 to the function, its answer
//! back as HTTP.
//!
//! Served by host name, and below `/_freehold/url/ID/` for tools. The path form shares its origin
//! with every other function, so what it answers is sandboxed by its content policy, carries no
//! cookies and allows no cross-origin reads (decision D1). Source: AWS Lambda developer guide,
//! "Invoking Lambda function URLs".

mod answer;
mod cache;
mod cors;
mod event;

pub use cache::{ResolvedUrl, UrlCache};

use crate::{
    Api,
    audit::Refused,
    auth,
    invoke::{Call, invoke_detached},
    request::Request,
    route::UrlTarget,
};
use bytes::Bytes;
use freehold_domain::{
    FunctionRef, InvocationId, InvokeError, Mode, Principal, Source, ThrottleReason, answers::Peer,
    ports::Invoke,
};
use freehold_identity::{
    Presented,
    policy::{Decision, decide_url},
    sigv4::Claim,
};
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use std::sync::Arc;

const FORBIDDEN: &str = "{\"Message\":\"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html\"}";

/// What functions are called with: CONNECT asks for a tunnel, TRACE for what was sent.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
];

/// A call that may bring its body.
pub(crate) struct Admitted {
    pub(crate) target: UrlTarget,
    pub(crate) resolved: Arc<ResolvedUrl>,
    /// The signature, where the URL asks for one and its head was in order.
    presented: Option<Presented>,
}

/// Whether the head of a call to a URL is in order; what it claims is still to be proven.
///
/// Errors: the answer, where the head is enough for one: an unknown URL, a preflight, a caller who
/// may not call even if it is who it says it is.
pub(crate) async fn admit(
    api: &Api,
    parts: &Parts,
    target: UrlTarget,
    id: InvocationId,
) -> Result<Admitted, Response<Bytes>> {
    let resolved = match api.url_cache.resolve(&target.id).await {
        Ok(Some(resolved)) => resolved,
        Ok(None) => return Err(plain(StatusCode::NOT_FOUND, "{\"Message\":null}", id)),
        Err(error) => {
            tracing::error!(%error, "a function URL could not be looked up");
            let text = "{\"Message\":\"Internal Server Error\"}";
            return Err(plain(StatusCode::INTERNAL_SERVER_ERROR, text, id));
        }
    };
    let signed = resolved.url.signed;
    let refusal = || {
        let refused = match signed {
            true => Refused::at_signed_url(parts, &resolved.function),
            false => Refused::at_open_url(&resolved.function),
        };
        let response = forbidden(id, refused);
        dress(response, target.path_form, &resolved, origin(parts))
    };
    if api.verifier.bars(&resolved.function.tenant) {
        return Err(refusal());
    }
    if let Some(cors) = &resolved.url.cors
        && !target.path_form
        && parts.method == Method::OPTIONS
        && parts.headers.contains_key("access-control-request-method")
    {
        return Err(cors::preflight(cors, parts, id));
    }
    let shown = signed.then(|| auth::check_head(&api.verifier, parts, "lambda"));
    let (presented, claim) = match shown {
        None => (None, None),
        // Whoever the policy names, a URL that asks for signatures answers nobody without one.
        Some(Ok((presented, claim))) => (Some(presented), Some(claim)),
        Some(Err(error)) => {
            tracing::debug!(%error, "a signed URL call was refused");
            return Err(refusal());
        }
    };
    let who = claim
        .as_ref()
        .map_or(&Principal::Anonymous, Claim::principal);
    if !may_call(who, &resolved) {
        return Err(refusal());
    }
    if !METHODS.contains(&parts.method) {
        return Err(plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "{\"Message\":\"Method Not Allowed\"}",
            id,
        ));
    }
    Ok(Admitted {
        target,
        resolved,
        presented,
    })
}

fn may_call(who: &Principal, resolved: &ResolvedUrl) -> bool {
    let auth_type = if resolved.url.signed {
        "AWS_IAM"
    } else {
        "NONE"
    };
    let statements = &resolved.policy.statements;
    decide_url(who, &resolved.function.tenant, auth_type, statements) == Decision::Allow
}

/// Answers a call to a function's URL.
pub(crate) async fn serve(
    api: &Api,
    invoker: Arc<dyn Invoke>,
    request: Request,
    admitted: &Admitted,
    peer: Peer,
) -> Response<Bytes> {
    let origin = origin(&request.parts);
    let response = answer(api, invoker, request, admitted, peer).await;
    let path_form = admitted.target.path_form;
    dress(response, path_form, &admitted.resolved, origin)
}

fn origin(parts: &Parts) -> Option<HeaderValue> {
    parts.headers.get(header::ORIGIN).cloned()
}

/// What an answer wears on its way out: in path form it is held away from the origin that it
/// shares; else it is decorated as the URL's CORS settings say.
fn dress(
    mut response: Response<Bytes>,
    path_form: bool,
    resolved: &ResolvedUrl,
    origin: Option<HeaderValue>,
) -> Response<Bytes> {
    let headers = response.headers_mut();
    if path_form {
        headers.remove(header::SET_COOKIE);
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("sandbox"),
        );
        headers.insert(
            "cross-origin-resource-policy",
            HeaderValue::from_static("same-origin"),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        for name in cors::RESPONSE_HEADERS {
            headers.remove(name);
        }
    } else if let Some(cors) = &resolved.url.cors
        && let Some(origin) = origin.as_ref().and_then(|origin| origin.to_str().ok())
    {
        cors::decorate(cors, origin, headers);
    }
    response
}

async fn answer(
    api: &Api,
    invoker: Arc<dyn Invoke>,
    request: Request,
    admitted: &Admitted,
    peer: Peer,
) -> Response<Bytes> {
    let Admitted {
        target,
        resolved,
        presented,
    } = admitted;
    let who = match presented {
        None => Principal::Anonymous,
        Some(presented) => match auth::verify(&api.verifier, &request, presented, "lambda") {
            Ok(signer) if may_call(&signer.principal, resolved) => signer.principal,
            Ok(signer) => {
                let refused = Refused::at_url_of(&signer.principal, &resolved.function);
                return forbidden(request.id, refused);
            }
            Err(error) => {
                tracing::debug!(%error, "a signed URL call was refused");
                let refused = Refused::at_signed_url(&request.parts, &resolved.function);
                return forbidden(request.id, refused);
            }
        },
    };
    let limit_bytes = api.limits_of(&resolved.function.tenant).sync_payload_bytes;
    let event = event::build(api, &request, target, resolved, &who);
    if event.len() as u64 > limit_bytes {
        return plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "{\"Message\":\"Request Entity Too Large\"}",
            request.id,
        );
    }
    let id = request.id;
    let signer = presented.is_some().then(|| who.clone());
    let call = Call {
        id,
        principal: who,
        function: resolved.function.clone(),
        qualifier: resolved.qualifier.clone(),
        is_qualified: false,
        mode: Mode::RequestResponse,
        source: Source::Url,
        by_url: Some(peer),
        trace: request.header("x-amzn-trace-id").map(str::to_owned),
        caller: request.caller,
        client_context: None,
        log_tail: false,
        body: Bytes::from(event),
        held: request.held,
    };
    let response = match invoke_detached(api, invoker, call).await {
        Ok(outcome) => answer::from_outcome(outcome),
        Err(error) => unanswered(&resolved.function, signer.as_ref(), &error),
    };
    with_request_id(response, &id.to_string())
}

/// The answer to somebody who may not, with what the audit trail tells of it.
fn forbidden(id: InvocationId, refused: Refused) -> Response<Bytes> {
    let mut response = plain(StatusCode::FORBIDDEN, FORBIDDEN, id);
    response.extensions_mut().insert(refused);
    let kind = HeaderValue::from_static("AccessDeniedException");
    response.headers_mut().insert("x-amzn-errortype", kind);
    response
}

/// The answer to a call that came to no outcome, with what the audit trail tells of a denial.
fn unanswered(
    function: &FunctionRef,
    signer: Option<&Principal>,
    error: &InvokeError,
) -> Response<Bytes> {
    let mut response = from_error(error);
    if response.status() == StatusCode::FORBIDDEN {
        let refused = match signer {
            Some(signer) => Refused::at_url_of(signer, function),
            None => Refused::at_open_url(function),
        };
        response.extensions_mut().insert(refused);
    }
    response
}

fn from_error(error: &InvokeError) -> Response<Bytes> {
    let (status, text) = match error {
        InvokeError::Throttled {
            reason: ThrottleReason::BudgetStop,
            ..
        } => (
            StatusCode::FORBIDDEN,
            serde_json::json!({ "Message": crate::invoke::STOPPED }).to_string(),
        ),
        InvokeError::Throttled { reason, .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            format!(
                "{{\"Reason\":\"{}\",\"Type\":\"User\",\"message\":\"{}\"}}",
                crate::invoke::throttle_reason(*reason),
                // Whoever knows the address may call: how much the account may have is none of
                // their concern.
                crate::invoke::throttle_text(*reason)
            ),
        ),
        InvokeError::TenantDisabled => (StatusCode::FORBIDDEN, FORBIDDEN.to_owned()),
        InvokeError::NotFound { .. } => (StatusCode::NOT_FOUND, "{\"Message\":null}".to_owned()),
        InvokeError::EventTooLarge { .. } => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "{\"Message\":\"Request Entity Too Large\"}".to_owned(),
        ),
        InvokeError::NotReady { reason, .. } => (
            StatusCode::CONFLICT,
            serde_json::json!({ "Message": reason }).to_string(),
        ),
        InvokeError::LoopDetected { .. } => (
            StatusCode::LOOP_DETECTED,
            serde_json::json!({ "Message": error.to_string() }).to_string(),
        ),
        InvokeError::Draining | InvokeError::DeadlinePassed { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            serde_json::json!({ "Message": error.to_string() }).to_string(),
        ),
        InvokeError::InstanceLost { .. }
        | InvokeError::NotRecorded { .. }
        | InvokeError::Internal { .. } => {
            tracing::error!(%error, "a function URL call failed");
            let body = serde_json::json!({ "Message": "Internal Server Error" });
            (StatusCode::BAD_GATEWAY, body.to_string())
        }
    };
    json_response(status, text)
}

fn json_response(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn plain(status: StatusCode, text: &'static str, id: InvocationId) -> Response<Bytes> {
    with_request_id(json_response(status, text), &id.to_string())
}

fn with_request_id(mut response: Response<Bytes>, id: &str) -> Response<Bytes> {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::Trail, invoke::rate_text};
    use freehold_domain::{
        TenantLimit, TenantLimits, Wall,
        audit::{Asker, AuditResult},
        limits::Limits,
        ports::{Audit, AuditQuery},
        tenants::TenantTable,
    };
    use freehold_testkit::{sim::SimClock, storage::MemoryStorage};

    fn function() -> FunctionRef {
        FunctionRef {
            tenant: "111111111111".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
        }
    }

    fn throttled(reason: ThrottleReason) -> InvokeError {
        InvokeError::Throttled {
            reason,
            retry_after: None,
        }
    }

    /// Every denial that the engine knows is a line of the function's owner, and nothing else is.
    #[tokio::test]
    async fn a_call_that_the_engine_denies_leaves_its_line() {
        let clock = SimClock::new(Wall(0));
        let store = MemoryStorage::new(clock.clone());
        let trail = Trail::new(store.clone(), clock);
        let function = function();
        let signer = Principal::Root {
            tenant: "222222222222".parse().unwrap(),
            key: "AKIATWO0000000000000".to_owned(),
        };
        let stopped = throttled(ThrottleReason::BudgetStop);
        let full = throttled(ThrottleReason::AccountConcurrency);
        for (signer, error, status) in [
            (None, &InvokeError::TenantDisabled, 403),
            (Some(&signer), &InvokeError::TenantDisabled, 403),
            (None, &stopped, 403),
            (None, &full, 429),
            (Some(&signer), &InvokeError::Draining, 503),
        ] {
            let response = unanswered(&function, signer, error);
            assert_eq!(response.status(), status, "{error:?}");
            trail.refused(response, InvocationId(uuid::Uuid::nil()), None);
        }
        let query = AuditQuery {
            limit: 10,
            ..AuditQuery::default()
        };
        let page = store.audit_lines(&Principal::platform("test"), query).await;
        let lines = page.unwrap().lines;
        let who: Vec<_> = lines
            .iter()
            .map(|line| (line.who.clone(), line.proven))
            .collect();
        let expected = [
            (Asker::Nobody, false),
            (Asker::of(&signer), true),
            (Asker::Nobody, false),
        ];
        assert_eq!(who, expected);
        for line in lines {
            assert_eq!(line.tenant, Some(function.tenant.clone()));
            assert_eq!(line.result, AuditResult::Denied);
            assert_eq!(line.action.as_str(), "lambda:InvokeFunctionUrl");
            assert!(line.resource.as_str().ends_with(":function:f"));
        }
    }

    #[test]
    fn who_knows_an_address_is_not_told_what_its_account_may_have_in_a_second() {
        let (tenants, function) = (TenantTable::default(), function());
        let node = Limits::default();
        let (rate, concurrency) = (
            "FunctionInvocationRateLimitExceeded",
            "ConcurrentInvocationLimitExceeded",
        );
        for (reason, limit, word, preset) in [
            (ThrottleReason::StartRate, TenantLimit::Starts, rate, None),
            (
                ThrottleReason::FunctionStartRate,
                TenantLimit::FunctionStarts,
                concurrency,
                Some(" 1000 "),
            ),
            (
                ThrottleReason::InvocationRate,
                TenantLimit::SyncInvocations,
                rate,
                Some(" 10000 "),
            ),
        ] {
            let told = || rate_text(&tenants, &node, &function.tenant, reason).unwrap();
            tenants.note(&function.tenant, TenantLimits::default());
            assert!(preset.is_none_or(|preset| told().contains(preset)));
            let mut limits = TenantLimits::default();
            limits.set(limit, Some(4711));
            tenants.note(&function.tenant, limits);
            let told = told();
            let flag = format!("freehold tenants limits --{}", limit.row().flag);
            assert!(
                told.contains(" 4711 ") && told.contains(&flag),
                "the account's own keys are: {told}"
            );

            let response = unanswered(&function, None, &throttled(reason));
            assert_eq!(response.status(), 429);
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            let expected = serde_json::json!({
                "Reason": word,
                "Type": "User",
                "message": "Rate Exceeded."
            });
            assert_eq!(body, expected);
            assert!(!format!("{:?}", response.headers()).contains("4711"));
        }
        let reason = ThrottleReason::ReservedInvocationRate;
        let told = rate_text(&tenants, &node, &function.tenant, reason).unwrap();
        assert!(told.contains("PutFunctionConcurrency"), "{told}");
        let response = unanswered(&function, None, &throttled(reason));
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            body["Reason"],
            "ReservedFunctionInvocationRateLimitExceeded"
        );
        assert_eq!(body["message"], "Rate Exceeded.");
    }
}
