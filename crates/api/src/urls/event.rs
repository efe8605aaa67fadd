//! The event of payload format 2.0.

use super::ResolvedUrl;
use crate::{
    Api,
    request::{Request, scheme},
    route::UrlTarget,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use freehold_domain::{Principal, Wall, json::Object};
use http::{HeaderValue, header};
use percent_encoding::percent_decode_str;
use std::{borrow::Cow, cell::RefCell, collections::BTreeMap};

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
    let room = 1024 + body.as_ref().map_or(0, String::len);
    let mut out = Vec::with_capacity(room);
    let mut event = Object::begin(&mut out);
    event.plain("version", "2.0");
    event.plain("routeKey", "$default");
    event.text("rawPath", &target.path);
    event.text("rawQueryString", raw_query);
    if let Some(cookies) = cookies(request) {
        event.value("cookies", &cookies);
    }
    event.object("headers", |all| {
        for (name, value) in headers(request, &domain, resolved.url.signed) {
            all.foreign(name, &value);
        }
    });
    if let Some(parameters) = parameters(raw_query) {
        event.value("queryStringParameters", &parameters);
    }
    event.object("requestContext", |context| {
        match who.tenant() {
            Some(tenant) => context.text("accountId", tenant.as_str()),
            None => context.plain("accountId", "anonymous"),
        }
        context.text("apiId", id);
        if let Some(authorizer) = authorizer(who) {
            context.value("authorizer", &authorizer);
        }
        context.text("domainName", &domain);
        context.text("domainPrefix", id);
        context.object("http", |http| {
            http.text("method", request.parts.method.as_str());
            http.text("path", &path);
            http.plain("protocol", "HTTP/1.1");
            http.plain("sourceIp", request.peer.to_string());
            if let Some(agent) = request.header("user-agent") {
                http.text("userAgent", agent);
            }
        });
        context.uuid("requestId", request.id.0);
        context.plain("routeKey", "$default");
        context.plain("stage", "$default");
        with_common_log_time(at, |text| context.plain("time", text));
        context.number("timeEpoch", at.millis());
    });
    if let Some(body) = body {
        event.text("body", &body);
    }
    event.flag("isBase64Encoded", is_base64_encoded);
    event.end();
    out
}

/// The second of `at` as web servers log it. Written once for each second and thread.
fn with_common_log_time(at: Wall, then: impl FnOnce(&str)) {
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
        then(text);
    });
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
const OURS: [&str; 6] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-amzn-tls-version",
    "x-amzn-tls-cipher-suite",
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

/// In the order of their names, which are lower-case, repeated values joined by commas; cookies
/// stand apart.
fn headers<'a>(
    request: &'a Request,
    domain: &'a str,
    signed: bool,
) -> Vec<(&'a str, Cow<'a, str>)> {
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
    let [host, by, port, proto, version, suite] = OURS;
    found.push((host, Cow::Borrowed(domain)));
    found.push((by, Cow::Owned(request.peer.to_string())));
    found.push((port, Cow::Owned(request.port.to_string())));
    found.push((proto, Cow::Borrowed(scheme(request.is_secure))));
    if let Some(tls) = request.tls {
        found.push((version, Cow::Owned(tls.version_text())));
        found.push((suite, Cow::Owned(tls.cipher_suite_text())));
    }
    if !all.contains_key(TRACE) || hop.iter().any(|own| own == TRACE) {
        let trace = freehold_domain::TraceHeader::new_root(request.id.0);
        found.push((TRACE, Cow::Owned(trace.to_string())));
    }
    found.sort_unstable_by_key(|(name, _)| *name);
    found
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
