//! The event of payload format 2.0.

use super::ResolvedUrl;
use crate::{Api, request::Request, route::UrlTarget};
use base64::{Engine, engine::general_purpose::STANDARD};
use freehold_domain::{Principal, Wall};
use http::{HeaderValue, header};
use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};
use std::{borrow::Cow, cell::RefCell, collections::BTreeMap};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<Vec<String>>,
    headers: Pairs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<BTreeMap<String, String>>,
    request_context: Context<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    account_id: String,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<serde_json::Value>,
    domain_name: String,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: String,
    route_key: &'static str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

/// The event's JSON text. The raw path stays percent-encoded, the context's is decoded, and the
/// function never sees the caller's signature.
pub(super) fn build(
    api: &Api,
    request: &Request,
    target: &UrlTarget,
    resolved: &ResolvedUrl,
    who: &Principal,
) -> Vec<u8> {
    let id = resolved.url.id.as_str();
    let path = percent_decode_str(&target.path).decode_utf8_lossy();
    let domain = format!(
        "{id}.lambda-url.{}.{}",
        resolved.function.region, api.url_domain
    );
    let raw_query = request.parts.uri.query().unwrap_or("");
    let at = api.clock.wall();
    let (body, is_base64_encoded) = body_text(request);
    let event = Event {
        version: "2.0",
        route_key: "$default",
        raw_path: &target.path,
        raw_query_string: raw_query,
        cookies: cookies(request),
        headers: headers(request, &domain, resolved.url.signed),
        query_string_parameters: parameters(raw_query),
        request_context: Context {
            account_id: who
                .tenant()
                .map_or_else(|| "anonymous".to_owned(), ToString::to_string),
            api_id: id,
            authorizer: authorizer(who),
            domain_name: domain.clone(),
            domain_prefix: id,
            http: Http {
                method: request.parts.method.as_str(),
                path: &path,
                protocol: "HTTP/1.1",
                source_ip: request.peer.to_string(),
                user_agent: request.header("user-agent"),
            },
            request_id: request.id.to_string(),
            route_key: "$default",
            stage: "$default",
            time: common_log_time(at),
            time_epoch: at.millis(),
        },
        body,
        is_base64_encoded,
    };
    let mut text = Vec::with_capacity(1024 + event.body.as_ref().map_or(0, String::len));
    serde_json::to_writer(&mut text, &event).expect("text keys and values always serialise");
    text
}

/// The second of `at` as web servers log it. Written once for each second and thread.
fn common_log_time(at: Wall) -> String {
    thread_local! {
        static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let second = at.millis().div_euclid(1000);
    LAST.with_borrow_mut(|(last, text)| {
        if *last != second {
            let time = jiff::Timestamp::from_second(second).unwrap_or_default();
            *text = time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
            *last = second;
        }
        text.clone()
    })
}

fn authorizer(who: &Principal) -> Option<serde_json::Value> {
    let (access_key, arn, user_id) = match who {
        Principal::Root { tenant, key } => (
            key.clone(),
            format!("arn:aws:iam::{tenant}:root"),
            tenant.to_string(),
        ),
        Principal::Instance { role, instance, .. } => {
            (String::new(), role.clone(), instance.to_string())
        }
        _ => return None,
    };
    let account = who.tenant()?.to_string();
    Some(serde_json::json!({ "iam": {
        "accessKey": access_key, "accountId": account, "callerId": user_id,
        "cognitoIdentity": null, "principalOrgId": null, "userArn": arn, "userId": user_id,
    }}))
}

/// What the platform says, whatever the caller said.
const OURS: [&str; 4] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
];
/// What the platform says where the caller said nothing.
const TRACE: &str = "x-amzn-trace-id";

/// Whether a header is for the function: neither for the next hop alone, nor, where the URL asks
/// for a signature, the proof that was meant for the platform.
fn is_for_the_function(name: &str, signed: bool) -> bool {
    match name {
        "cookie"
        | "connection"
        | "keep-alive"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade" => false,
        "authorization" | "x-amz-security-token" => !signed,
        _ => true,
    }
}

/// Names and values as an object, in the order of the names.
struct Pairs<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Lower-case names, repeated values joined by commas; cookies stand apart.
fn headers<'a>(request: &'a Request, domain: &'a str, signed: bool) -> Pairs<'a> {
    let all = &request.parts.headers;
    // What `Connection` names is for this hop, too.
    let hop: Vec<String> = all
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut found = Vec::with_capacity(all.keys_len() + OURS.len() + 1);
    for name in all.keys() {
        let text = name.as_str();
        if OURS.contains(&text)
            || !is_for_the_function(text, signed)
            || hop.iter().any(|own| own == text)
        {
            continue;
        }
        let mut values = all.get_all(name).iter();
        let first = values.next().map_or(&b""[..], HeaderValue::as_bytes);
        let mut value = String::from_utf8_lossy(first);
        for more in values {
            let value = value.to_mut();
            value.push(',');
            value.push_str(&String::from_utf8_lossy(more.as_bytes()));
        }
        found.push((text, value));
    }
    let [host, by, port, proto] = OURS;
    found.push((host, Cow::Borrowed(domain)));
    found.push((by, Cow::Owned(request.peer.to_string())));
    found.push((port, Cow::Owned(request.port.to_string())));
    found.push((proto, Cow::Borrowed("http")));
    if !all.contains_key(TRACE) || hop.iter().any(|own| own == TRACE) {
        let trace = freehold_domain::TraceHeader::new_root(request.id.0);
        found.push((TRACE, Cow::Owned(trace.to_string())));
    }
    found.sort_unstable_by_key(|(name, _)| *name);
    Pairs(found)
}

fn cookies(request: &Request) -> Option<Vec<String>> {
    let all: Vec<String> = request
        .parts
        .headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split(';')
                .map(|part| part.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|part| !part.is_empty())
        .collect();
    (!all.is_empty()).then_some(all)
}

/// Decoded; a repeated name has its values joined by commas.
fn parameters(raw_query: &str) -> Option<BTreeMap<String, String>> {
    let decoded = |raw: &str| {
        percent_decode_str(&raw.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let mut found = BTreeMap::<String, String>::new();
    for pair in raw_query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        found
            .entry(decoded(name))
            .and_modify(|all| {
                all.push(',');
                all.push_str(&value);
            })
            .or_insert(value);
    }
    (!found.is_empty()).then_some(found)
}

/// Text types go as text, everything else as base64.
fn body_text(request: &Request) -> (Option<String>, bool) {
    if request.body.is_empty() {
        return (None, false);
    }
    let kind = request
        .header("content-type")
        .unwrap_or("")
        .to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or("").trim();
    let is_text = kind.starts_with("text/")
        || matches!(
            kind,
            "application/json" | "application/xml" | "application/javascript"
        )
        || kind.ends_with("+json")
        || kind.ends_with("+xml");
    match std::str::from_utf8(&request.body) {
        Ok(text) if is_text => (Some(text.to_owned()), false),
        _ => (Some(STANDARD.encode(&request.body)), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_parameters_are_joined_and_decoded() {
        let found = parameters("a=1&b=x%20y&a=2&c&d=+").unwrap();
        let of = |name: &str| found.get(name).map(String::as_str);
        assert_eq!(
            (of("a"), of("b"), of("c"), of("d")),
            (Some("1,2"), Some("x y"), Some(""), Some(" "))
        );
        assert_eq!(parameters(""), None);
    }
}
