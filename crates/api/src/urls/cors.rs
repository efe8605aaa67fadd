//! Cross-origin answers of a URL that has CORS settings. Source: Lambda developer guide,
//! "Function URL: cross-origin resource sharing"; the Fetch standard.

use super::with_request_id;
use bytes::Bytes;
use freehold_domain::{InvocationId, record::CorsV1};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};

/// Everything that this module may write.
pub(super) const RESPONSE_HEADERS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// Answers a preflight; the function is not asked.
pub(super) fn preflight(cors: &CorsV1, parts: &Parts, id: InvocationId) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::OK;
    let text = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let asked = text("access-control-request-method").unwrap_or("");
    let method_ok = allows(cors.allow_methods.as_deref(), asked);
    if let (Some(origin), true) = (text("origin"), method_ok) {
        let headers = response.headers_mut();
        if decorate(cors, origin, headers) {
            put(
                headers,
                header::ACCESS_CONTROL_ALLOW_METHODS,
                cors.allow_methods.as_deref(),
            );
            put(
                headers,
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                cors.allow_headers.as_deref(),
            );
            if let Some(seconds) = cors.max_age_s {
                headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
            }
        }
    }
    with_request_id(response, &id.to_string())
}

/// Adds what an answer needs to be read across origins; the settings replace what the function
/// wrote. `false` when the origin is not allowed.
pub(super) fn decorate(cors: &CorsV1, origin: &str, headers: &mut HeaderMap) -> bool {
    for name in RESPONSE_HEADERS {
        headers.remove(name);
    }
    if !allows(cors.allow_origins.as_deref(), origin) {
        return false;
    }
    let credentials = cors.allow_credentials == Some(true);
    let any = cors
        .allow_origins
        .as_deref()
        .is_some_and(|all| all.iter().any(|o| o == "*"));
    let shown = if any && !credentials { "*" } else { origin };
    if let Ok(value) = HeaderValue::from_str(shown) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
    }
    if shown != "*" {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if credentials {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    put(
        headers,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        cors.expose_headers.as_deref(),
    );
    true
}

fn allows(allowed: Option<&[String]>, asked: &str) -> bool {
    allowed.is_some_and(|all| {
        all.iter()
            .any(|one| one == "*" || one.eq_ignore_ascii_case(asked))
    })
}

fn put(headers: &mut HeaderMap, name: HeaderName, values: Option<&[String]>) {
    let Some(values) = values.filter(|values| !values.is_empty()) else {
        return;
    };
    if let Ok(value) = HeaderValue::from_str(&values.join(",")) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> CorsV1 {
        CorsV1 {
            allow_origins: Some(origins.iter().map(|o| (*o).to_owned()).collect()),
            allow_credentials: Some(credentials),
            ..CorsV1::default()
        }
    }

    #[test]
    fn only_an_allowed_origin_may_read() {
        let check = |cors: &CorsV1, origin: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("https://evil"),
            );
            decorate(cors, origin, &mut headers);
            let shown = headers
                .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
                .map(|v| v.to_str().unwrap());
            assert_eq!(shown, expected, "{origin}");
        };
        check(&cors(&["*"], false), "https://a", Some("*"));
        check(&cors(&["*"], true), "https://a", Some("https://a"));
        check(&cors(&["https://a"], false), "https://a", Some("https://a"));
        check(&cors(&["https://a"], false), "https://b", None);
        check(&CorsV1::default(), "https://a", None);
    }
}
