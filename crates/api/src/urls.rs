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
    auth::authenticate_optional,
    invoke::{Call, invoke_detached},
    request::Request,
    route::UrlTarget,
};
use bytes::Bytes;
use freehold_domain::{InvokeError, Mode, Principal, Source, ports::Invoke};
use freehold_identity::policy::{Decision, decide_url};
use http::{HeaderValue, Method, Response, StatusCode, header};
use std::sync::Arc;

const FORBIDDEN: &str = "{\"Message\":\"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html\"}";

/// Answers a call to a function's URL.
pub async fn serve(
    api: &Api,
    invoker: Arc<dyn Invoke>,
    request: Request,
    target: UrlTarget,
) -> Response<Bytes> {
    let resolved = match api.url_cache.resolve(&target.id).await {
        Ok(Some(resolved)) => resolved,
        Ok(None) => return plain(StatusCode::NOT_FOUND, "{\"Message\":null}", &request),
        Err(error) => {
            tracing::error!(%error, "a function URL could not be looked up");
            return plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "{\"Message\":\"Internal Server Error\"}",
                &request,
            );
        }
    };
    let cors = resolved.url.cors.clone();
    let origin = request.header("origin").map(str::to_owned);
    let path_form = target.path_form;
    if let Some(cors) = &cors
        && !path_form
        && request.parts.method == Method::OPTIONS
        && request.header("access-control-request-method").is_some()
    {
        return cors::preflight(cors, &request);
    }
    let mut response = answer(api, invoker, request, target, &resolved).await;
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
    } else if let (Some(cors), Some(origin)) = (&cors, origin) {
        cors::decorate(cors, &origin, headers);
    }
    response
}

async fn answer(
    api: &Api,
    invoker: Arc<dyn Invoke>,
    request: Request,
    target: UrlTarget,
    resolved: &ResolvedUrl,
) -> Response<Bytes> {
    let auth_type = if resolved.url.signed {
        "AWS_IAM"
    } else {
        "NONE"
    };
    let who = if resolved.url.signed {
        match authenticate_optional(&api.verifier, &request, "lambda") {
            Ok(who) => who,
            Err(error) => {
                tracing::debug!(%error, "a signed URL call was refused");
                return forbidden(&request);
            }
        }
    } else {
        Principal::Anonymous
    };
    let statements = &resolved.policy.statements;
    if decide_url(&who, &resolved.function.tenant, auth_type, statements) == Decision::Deny {
        return forbidden(&request);
    }
    let limit_bytes = api.limits.sync_payload_bytes;
    let event = event::build(api, &request, &target, resolved, &who);
    if event.len() as u64 > limit_bytes {
        return plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "{\"Message\":\"Request Entity Too Large\"}",
            &request,
        );
    }
    let id = request.id;
    let call = Call {
        id,
        principal: who,
        function: resolved.function.clone(),
        qualifier: resolved.qualifier.clone(),
        mode: Mode::RequestResponse,
        source: Source::Url,
        trace: request.header("x-amzn-trace-id").map(str::to_owned),
        client_context: None,
        log_tail: false,
        body: Bytes::from(event),
        held: request.held,
    };
    let response = match invoke_detached(api, invoker, call).await {
        Ok(outcome) => answer::from_outcome(outcome),
        Err(error) => from_error(&error),
    };
    with_request_id(response, &id.to_string())
}

fn forbidden(request: &Request) -> Response<Bytes> {
    let mut response = plain(StatusCode::FORBIDDEN, FORBIDDEN, request);
    let kind = HeaderValue::from_static("AccessDeniedException");
    response.headers_mut().insert("x-amzn-errortype", kind);
    response
}

fn from_error(error: &InvokeError) -> Response<Bytes> {
    let (status, text) = match error {
        InvokeError::Throttled { reason, .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            format!(
                "{{\"Reason\":\"{}\",\"Type\":\"User\",\"message\":\"Rate Exceeded.\"}}",
                crate::invoke::throttle_reason(*reason)
            ),
        ),
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

fn plain(status: StatusCode, text: &'static str, request: &Request) -> Response<Bytes> {
    with_request_id(json_response(status, text), &request.id.to_string())
}

fn with_request_id(mut response: Response<Bytes>, id: &str) -> Response<Bytes> {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    response
}
