//! What a function answered, as HTTP.
//!
//! An object with `statusCode` says everything itself. Anything else is the body of a 200 in JSON,
//! a bare string without its quotes. A function's own error is a 502.

use super::json_response;
use crate::invoke::held;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use freehold_domain::OutcomeKind;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    status_code: &'a RawValue,
    #[serde(borrow, default)]
    headers: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(borrow, default)]
    multi_value_headers: Option<BTreeMap<String, Vec<&'a RawValue>>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// The response for a collected outcome.
pub(super) fn from_outcome(outcome: crate::invoke::Collected) -> Response<Bytes> {
    if matches!(outcome.head.kind, OutcomeKind::FunctionError(_)) {
        let mut response = json_response(StatusCode::BAD_GATEWAY, "Internal Server Error");
        response.headers_mut().insert(
            "x-amzn-errortype",
            HeaderValue::from_static("FunctionError"),
        );
        return response;
    }
    held(outcome.room, from_payload(outcome.payload))
}

fn from_payload(payload: Bytes) -> Response<Bytes> {
    let text = std::str::from_utf8(&payload).unwrap_or("").trim_start();
    if text.starts_with('{')
        && let Ok(answer) = serde_json::from_slice::<Answer<'_>>(&payload)
    {
        return explicit(&answer).unwrap_or_else(|| {
            json_response(
                StatusCode::BAD_GATEWAY,
                "{\"Message\":\"Internal Server Error\"}",
            )
        });
    }
    if text.starts_with('"')
        && let Ok(text) = serde_json::from_slice::<String>(&payload)
    {
        return json_response(StatusCode::OK, text);
    }
    json_response(StatusCode::OK, without_spaces(payload))
}

/// JSON without the white space between its parts, as AWS writes what it takes for a body itself; the
/// same bytes where there is none or it is no JSON. Source: recorded case
/// TestLambdaURL::test_lambda_url_invocation[dict].
fn without_spaces(payload: Bytes) -> Bytes {
    let mut text = (false, false);
    // Whether a byte stands inside of a string, by all before it.
    let mut is_kept = move |byte: u8| {
        let (in_string, escaped) = text;
        text = match byte {
            _ if escaped => (in_string, false),
            b'\\' if in_string => (in_string, true),
            b'"' => (!in_string, false),
            _ => (in_string, false),
        };
        in_string || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    };
    if payload.iter().copied().all(&mut is_kept.clone())
        || serde_json::from_slice::<serde::de::IgnoredAny>(&payload).is_err()
    {
        return payload;
    }
    payload
        .iter()
        .copied()
        .filter(|byte| is_kept(*byte))
        .collect()
}

/// Headers of an answer, cookies among them.
const FIELDS_MAX: usize = 256;
/// Bytes of them together, names and values. They count on no share and no window holds them back.
const HEADERS_MAX: usize = 64 << 10;

/// `None` for an answer that HTTP cannot carry, or whose headers are beyond their bounds.
fn explicit(answer: &Answer<'_>) -> Option<Response<Bytes>> {
    let single = answer.headers.as_ref().map_or(0, |all| all.len());
    let several = answer.multi_value_headers.iter().flatten();
    let several: usize = several.map(|(_, values)| values.len()).sum();
    let cookies = answer.cookies.as_ref().map_or(0, Vec::len);
    if single + several + cookies > FIELDS_MAX {
        return None;
    }
    let status = answer
        .status_code
        .get()
        .trim_matches('"')
        .parse::<u16>()
        .ok()?;
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|s| s.as_u16() >= 200 && s.as_u16() < 600)?;
    let text = answer.body.map_or(Some(Cow::Borrowed("")), scalar_text);
    // An object for a body is its JSON text.
    let text = text.unwrap_or_else(|| Cow::Borrowed(answer.body.map_or("", RawValue::get)));
    let body = if answer.is_base64_encoded == Some(true) {
        Bytes::from(STANDARD.decode(text.as_bytes()).ok()?)
    } else {
        Bytes::from(text.into_owned())
    };
    let mut response = json_response(status, body);
    let headers = response.headers_mut();
    for (name, value) in answer.headers.iter().flatten() {
        if let Some((name, value)) = header_pair(name, value) {
            headers.insert(name, value);
        }
    }
    for (name, values) in answer.multi_value_headers.iter().flatten() {
        for value in values {
            if let Some((name, value)) = header_pair(name, value) {
                headers.append(name, value);
            }
        }
    }
    let with_cookies = answer.cookies.iter().flatten().map(String::as_str);
    let set: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .cloned()
        .collect();
    headers.remove(header::SET_COOKIE);
    let set = set
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned);
    for cookie in set
        .chain(with_cookies.map(str::to_owned))
        .collect::<Vec<_>>()
    {
        if let Ok(value) = HeaderValue::from_str(&without_domain(&cookie)) {
            headers.append(header::SET_COOKIE, value);
        }
    }
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    (sizes.sum::<usize>() <= HEADERS_MAX).then_some(response)
}

/// Strings, numbers and booleans as text; `null` as nothing; `None` for objects and lists.
fn scalar_text(value: &RawValue) -> Option<Cow<'_, str>> {
    let raw = value.get();
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
        b'n' => Some(Cow::Borrowed("")),
        b'{' | b'[' => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}

/// Headers about the connection are the server's to write; what no header may carry is left out.
fn header_pair(name: &str, value: &RawValue) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let ours = matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "transfer-encoding"
            | "keep-alive"
            | "upgrade"
            | "te"
            | "trailer"
    );
    let value = HeaderValue::from_str(&scalar_text(value)?).ok()?;
    (!ours).then_some((name, value))
}

/// One function must not set cookies for its neighbours, so a cookie belongs to its host alone.
fn without_domain(cookie: &str) -> String {
    let kept: Vec<&str> = cookie
        .split(';')
        .filter(|part| {
            let name = part.split('=').next().unwrap_or("").trim();
            !name.eq_ignore_ascii_case("domain")
        })
        .collect();
    kept.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoke::Collected;
    use freehold_domain::{
        FunctionErrorKind, OutcomeHead, Qualifier,
        answers::{Answers, Whose},
        limits::Limits,
    };
    use futures_util::FutureExt;
    use std::sync::Arc;

    #[test]
    fn json_that_is_a_body_has_no_white_space_but_in_strings() {
        for (payload, body) in [
            (
                r#"{"a": "b c", "d": [1, 2.50]}"#,
                r#"{"a":"b c","d":[1,2.50]}"#,
            ),
            (r#"{ "a\\" : "\" x" }"#, r#"{"a\\":"\" x"}"#),
            ("[1,2]", "[1,2]"),
            ("[1, 2", "[1, 2"),
            ("no json", "no json"),
        ] {
            assert_eq!(without_spaces(Bytes::from(payload)), body, "{payload}");
        }
    }

    #[test]
    fn a_large_answer_keeps_its_room_until_its_last_byte_has_gone() {
        let room = Answers::new(Limits::default().into(), Arc::default());
        let of = |kind, payload: String| {
            let payload = Bytes::from(payload);
            let asked = room.ask(
                Whose::signed(&"111111111111".parse().unwrap()),
                payload.len() as u64,
            );
            let head = OutcomeHead {
                kind,
                executed: Qualifier::Latest,
                content_type: None,
                log_tail: None,
            };
            let room = asked.now_or_never();
            Collected {
                head,
                payload,
                room,
            }
        };
        let outcome = |kind, bytes| of(kind, format!("\"{}\"", "x".repeat(bytes)));
        let response = from_outcome(outcome(OutcomeKind::Success, 1 << 20));
        let body = response.into_body();
        assert_eq!((body.len(), room.held_bytes()), (1 << 20, 1 << 20));
        let last = body.slice(body.len() - 1..);
        drop(body);
        assert_eq!(room.held_bytes(), 1 << 20);
        drop(last);
        assert_eq!(room.held_bytes(), 0);
        // Of an error nothing is shown.
        let failed = OutcomeKind::FunctionError(FunctionErrorKind::Handled);
        let _response = from_outcome(outcome(failed, 100_000));
        assert_eq!(room.held_bytes(), 0);
        // Nor is room held for what is not sent on.
        let ignored = format!(
            r#"{{"statusCode": 200, "body": "small", "more": "{}"}}"#,
            "x".repeat(1 << 20)
        );
        let small = from_outcome(of(OutcomeKind::Success, ignored));
        assert_eq!((small.body().len(), room.held_bytes()), (5, 0));
    }

    fn check(payload: &str, status: u16, kind: &str, body: &str) {
        let response = from_payload(Bytes::copy_from_slice(payload.as_bytes()));
        assert_eq!(response.status().as_u16(), status, "{payload}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], kind, "{payload}");
        assert_eq!(response.body().as_ref(), body.as_bytes(), "{payload}");
    }

    #[test]
    fn an_answer_without_a_status_is_the_body_itself() {
        for (payload, body) in [
            ("true", "true"),
            ("3.1", "3.1"),
            ("\"hello\"", "hello"),
            ("{\"hello\": \"world\"}", "{\"hello\":\"world\"}"),
            ("null", "null"),
            ("[1]", "[1]"),
        ] {
            check(payload, 200, "application/json", body);
        }
    }

    #[test]
    fn an_answer_with_a_status_says_everything() {
        check(
            r#"{"statusCode":201,"headers":{"Content-Type":"text/plain"},"body":"hi"}"#,
            201,
            "text/plain",
            "hi",
        );
        check(
            r#"{"statusCode":"200","body":"aGk=","isBase64Encoded":true}"#,
            200,
            "application/json",
            "hi",
        );
        check(
            r#"{"statusCode":200,"body":{"a":1}}"#,
            200,
            "application/json",
            "{\"a\":1}",
        );
        check(r#"{"statusCode":204}"#, 204, "application/json", "");
    }

    #[test]
    fn an_answer_that_http_cannot_carry_is_a_bad_gateway() {
        for payload in [
            r#"{"statusCode":99}"#,
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":200,"body":"%","isBase64Encoded":true}"#,
        ] {
            let response = from_payload(Bytes::copy_from_slice(payload.as_bytes()));
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{payload}");
        }
    }

    #[test]
    fn cookies_lose_their_domain_and_headers_cannot_break_the_line() {
        let payload = r#"{"statusCode":200,"cookies":["a=1; Domain=x.y; Path=/"],"headers":{"x-a":"b\r\nc: d","Content-Length":"99","x-n":5}}"#;
        let response = from_payload(Bytes::from_static(payload.as_bytes()));
        assert_eq!(response.headers()[header::SET_COOKIE], "a=1; Path=/");
        assert!(!response.headers().contains_key("x-a"));
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
        assert_eq!(response.headers()["x-n"], "5");
    }
}
