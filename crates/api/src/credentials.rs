//! The session of an instance, as the container providers of SDKs ask for it: a GET without a
//! signature, with the instance's token, on the instance's own listener.
//!
//! Every answer closes its connection. An SDK keeps the one that it asked on, and an init that made
//! a client could not be carried in a start image then: sockets are not.
//!
//! Source: AWS SDKs and tools reference, "Container credential provider"; for the shape of errors,
//! `code` and `message`, the providers of the SDKs for Rust and Go.

use crate::{
    Api,
    audit::Refused,
    front::{Guest, closing, head_bytes},
};
use bytes::Bytes;
use freehold_domain::{
    InstanceId, Mono, TenantLimit, Wall,
    ports::{InstanceCredentials, SessionKey},
};
use freehold_wire::ErrorTold;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers one request.
pub(crate) fn serve(api: &Api, guest: &Guest, parts: &Parts) -> Response<Bytes> {
    let (now, wall) = (api.clock.now(), api.clock.wall());
    let told = fits(api, guest, parts).and_then(|()| {
        asked(
            &guest.was_told,
            || counted(api, guest),
            || told(&*guest.credentials, guest.id, parts),
        )
    });
    let mut response = match &told {
        Ok(key) => key_of(key, now, wall),
        Err(refusal) => refusal.encode(),
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        let refused = Refused::at_credentials(&guest.tenant);
        response.extensions_mut().insert(refused);
    }
    closing(response)
}

/// Why nothing is told.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_s: Option<u32>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after_s: None,
        }
    }

    fn encode(&self) -> Response<Bytes> {
        #[derive(Serialize)]
        struct Told<'a> {
            code: &'a str,
            message: &'a str,
        }
        let mut response = json(&Told {
            code: self.code,
            message: &self.message,
        });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        if let Some(wait_s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, wait_s.into());
        }
        response.extensions_mut().insert(ErrorTold {
            code: self.code.into(),
            status: self.status.as_u16(),
        });
        response
    }
}

/// Whether the head is within the account's limit.
fn fits(api: &Api, guest: &Guest, parts: &Parts) -> Result<(), Refusal> {
    let state = api.tenants.of(&guest.tenant);
    if let Some(most) = state.and_then(|state| state.limits().own(TenantLimit::Header))
        && head_bytes(parts) > most
    {
        return Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "RequestHeaderFieldsTooLarge",
            format!("The request's line and headers are over the account's limit of {most} bytes."),
        ));
    }
    Ok(())
}

/// The first session that an instance is told counts as no request: in an environment it would not
/// either, and an account that is at its limit would start instances that have none. Every other answer
/// is counted before anything is looked at.
fn asked(
    was_told: &AtomicBool,
    counted: impl FnOnce() -> Result<(), Refusal>,
    told: impl Fn() -> Result<SessionKey, Refusal>,
) -> Result<SessionKey, Refusal> {
    if !was_told.load(Relaxed)
        && let Ok(key) = told()
    {
        was_told.store(true, Relaxed);
        return Ok(key);
    }
    counted()?;
    told()
}

/// As a request of the tenant's.
fn counted(api: &Api, guest: &Guest) -> Result<(), Refusal> {
    let over = api.tenants.request(&guest.tenant, api.clock.now());
    over.map_err(|over| Refusal {
        retry_after_s: Some(over.wait.as_secs_f64().ceil().max(1.0) as u32),
        ..Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequestsException",
            format!(
                "Rate Exceeded. The account may make {} requests in a second.",
                over.per_s
            ),
        )
    })
}

/// The session of the instance, for its token.
fn told(
    credentials: &dyn InstanceCredentials,
    instance: InstanceId,
    parts: &Parts,
) -> Result<SessionKey, Refusal> {
    if parts.method != Method::GET {
        let text = "Credentials are asked for with GET.";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Refusal::new(status, "MethodNotAllowed", text));
    }
    let unauthorized = |text| Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", text);
    let Some(token) = parts.headers.get(header::AUTHORIZATION) else {
        return Err(unauthorized(
            "There is no Authorization header; it has the value of AWS_CONTAINER_AUTHORIZATION_TOKEN.",
        ));
    };
    let token = token.to_str().unwrap_or_default();
    credentials
        .current(instance, token)
        .ok_or_else(|| unauthorized("The Authorization header is not this instance's token."))
}

fn key_of(key: &SessionKey, now: Mono, wall: Wall) -> Response<Bytes> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Told<'a> {
        access_key_id: &'a str,
        secret_access_key: &'a str,
        token: &'a str,
        expiration: String,
    }
    // Where the wall clock is stepped, the next answer says the same end anew.
    let ends = wall + key.ends.since(now);
    let ends = jiff::Timestamp::from_microsecond(ends.0).unwrap_or(jiff::Timestamp::MAX);
    json(&Told {
        access_key_id: &key.access_key_id,
        secret_access_key: &key.secret,
        token: &key.session_token,
        expiration: ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

fn json(told: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(told).expect("texts serialize");
    let mut response = Response::new(Bytes::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::{FunctionRef, ports::SessionUse};
    use http::Request;
    use std::{cell::Cell, time::Duration};

    struct One;
    impl InstanceCredentials for One {
        fn issue(&self, _: &FunctionRef, _: &str, _: InstanceId, _: SessionUse) -> SessionKey {
            unreachable!("nothing here starts an instance")
        }
        fn current(&self, instance: InstanceId, token: &str) -> Option<SessionKey> {
            (instance == id() && token == "t0k3n").then(|| SessionKey {
                access_key_id: "ASIAEXAMPLE".to_owned(),
                secret: "s\"ecret".to_owned(),
                session_token: "session".to_owned(),
                endpoint_token: token.to_owned(),
                ends: Mono(0) + Duration::from_secs(3600),
            })
        }
        fn revoke(&self, _: InstanceId) {}
        fn revoke_all(&self, _: &freehold_domain::TenantId) {}
    }

    fn id() -> InstanceId {
        "00000000-0000-7000-8000-000000000001".parse().unwrap()
    }

    fn ask(method: Method, token: Option<&str>) -> Result<SessionKey, Refusal> {
        let mut request = Request::builder().method(method);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        told(&One, id(), &request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_session_is_told_in_the_providers_shape_with_its_end_by_the_clock_of_now() {
        let key = ask(Method::GET, Some("t0k3n")).unwrap();
        let check = |now_s: u64, wall_s: i64, ends: &str| {
            let now = Mono(0) + Duration::from_secs(now_s);
            let response = key_of(&key, now, Wall(wall_s * 1_000_000));
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.headers()["cache-control"], "no-store");
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            let expected = serde_json::json!({
                "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "s\"ecret",
                "Token": "session", "Expiration": ends,
            });
            assert_eq!(body, expected);
        };
        check(0, 1_440_938_160, "2015-08-30T13:36:00Z");
        check(600, 1_440_938_760, "2015-08-30T13:36:00Z");
        // Twelve hours were added to the wall clock.
        check(600, 1_440_938_760 + 12 * 3600, "2015-08-31T01:36:00Z");
    }

    #[test]
    fn without_the_token_nothing_is_told() {
        let check = |method, token, status, code: &str| {
            let refusal = ask(method, token).unwrap_err();
            let response = refusal.encode();
            assert_eq!(response.status(), status, "{token:?}");
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["code"], code);
            assert!(
                body["message"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
            assert_eq!(body.as_object().unwrap().len(), 2);
        };
        check(Method::GET, None, 401, "Unauthorized");
        for wrong in ["", "t0k3", "t0k3n2", "Bearer t0k3n"] {
            check(Method::GET, Some(wrong), 401, "Unauthorized");
        }
        check(Method::POST, Some("t0k3n"), 405, "MethodNotAllowed");
    }

    #[test]
    fn the_first_session_that_an_instance_is_told_counts_as_no_request() {
        let (was_told, counts) = (AtomicBool::new(false), Cell::new(0));
        let one = |token, is_full: bool| {
            let over = || Refusal::new(StatusCode::TOO_MANY_REQUESTS, "Over", "");
            let counted = || {
                counts.set(counts.get() + 1);
                if is_full { Err(over()) } else { Ok(()) }
            };
            let asked = asked(&was_told, counted, || ask(Method::GET, Some(token)));
            asked.map(drop).map_err(|refusal| refusal.status.as_u16())
        };
        // Guesses count from the first on.
        assert_eq!(one("wrong", false), Err(401));
        assert_eq!((one("wrong", true), counts.get()), (Err(429), 2));
        assert_eq!((one("t0k3n", true), counts.get()), (Ok(()), 2));
        assert_eq!((one("t0k3n", true), counts.get()), (Err(429), 3));
        assert_eq!((one("t0k3n", false), counts.get()), (Ok(()), 4));
        assert_eq!((one("wrong", false), counts.get()), (Err(401), 5));
    }
}
