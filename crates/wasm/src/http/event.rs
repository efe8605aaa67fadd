//! An event as an HTTP request.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap, convert::Infallible};
use wasmtime_wasi_http::Error;

/// A request as components receive it.
pub(crate) type IncomingRequest = Request<UnsyncBoxBody<Bytes, Error>>;

/// An event, not yet judged.
pub(crate) struct Event(Bytes);

/// What a function URL makes of a request, as far as it is turned back. Source: AWS Lambda
/// developer guide, "Invoking Lambda function URLs", request payload format 2.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UrlEvent<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    raw_path: Cow<'a, str>,
    #[serde(borrow, default)]
    raw_query_string: Cow<'a, str>,
    #[serde(borrow, default)]
    cookies: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    headers: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    request_context: Context<'a>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct Context<'a> {
    #[serde(borrow)]
    http: Http<'a>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

impl Event {
    pub(crate) fn read(event: Bytes) -> Self {
        Self(event)
    }

    /// The request, and whether it is one of a function URL.
    ///
    /// Errors: an event of a URL's shape whose parts make no request, by the part.
    pub(super) fn request(self) -> Result<(IncomingRequest, bool), String> {
        let url = serde_json::from_slice::<UrlEvent<'_>>(&self.0);
        let url = url.ok().filter(|event| event.version == "2.0");
        match url {
            Some(event) => Ok((event.request()?, true)),
            None => Ok((plain(self.0), false)),
        }
    }
}

fn body(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, Error> {
    let full = Full::new(bytes.into());
    full.map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// `POST /` with the event as it came.
fn plain(event: Bytes) -> IncomingRequest {
    let mut request = Request::new(body(event));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/");
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    request
}

impl UrlEvent<'_> {
    fn request(self) -> Result<IncomingRequest, String> {
        let wrong = |part: &str, error: &dyn std::fmt::Display| format!("{part}: {error}");
        let bytes = match self.body {
            None => Bytes::new(),
            Some(text) if self.is_base64_encoded => STANDARD
                .decode(text.as_bytes())
                .map_err(|error| wrong("body", &error))?
                .into(),
            Some(text) => text.into_owned().into_bytes().into(),
        };
        let mut request = Request::new(body(bytes));
        *request.method_mut() = Method::from_bytes(self.request_context.http.method.as_bytes())
            .map_err(|error| wrong("requestContext.http.method", &error))?;
        let path = if self.raw_query_string.is_empty() {
            self.raw_path.into_owned()
        } else {
            format!("{}?{}", self.raw_path, self.raw_query_string)
        };
        if !path.starts_with('/') {
            return Err("rawPath: it does not begin with /".to_owned());
        }
        *request.uri_mut() = path.parse().map_err(|error| wrong("rawPath", &error))?;
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| wrong("headers", &error))?;
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|error| wrong("headers", &error))?;
            headers.append(name, value);
        }
        if !self.cookies.is_empty() {
            let all = HeaderValue::from_str(&self.cookies.join("; "))
                .map_err(|error| wrong("cookies", &error))?;
            headers.insert(header::COOKIE, all);
        }
        if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(event: &str) -> (http::request::Parts, Bytes, bool) {
        let (request, is_url) = Event::read(event.to_owned().into()).request().unwrap();
        let (head, body) = request.into_parts();
        (head, body.collect().await.unwrap().to_bytes(), is_url)
    }

    #[tokio::test]
    async fn an_event_of_a_url_is_the_request_it_came_from() {
        let (head, body, is_url) = read(
            r#"{"version":"2.0","rawPath":"/a%20b","rawQueryString":"x=1&y","cookies":["c=1","d=2"],
                "headers":{"host":"h.example","x-two":"a,b"},"isBase64Encoded":true,"body":"AP8=",
                "requestContext":{"accountId":"1","http":{"method":"PUT","path":"/a b"}}}"#,
        )
        .await;
        assert!(is_url);
        assert_eq!(head.method, Method::PUT);
        assert_eq!(head.uri.to_string(), "/a%20b?x=1&y");
        assert_eq!(head.headers[header::HOST], "h.example");
        assert_eq!(head.headers["x-two"], "a,b");
        assert_eq!(head.headers[header::COOKIE], "c=1; d=2");
        assert_eq!(body[..], [0, 255]);
    }

    #[tokio::test]
    async fn any_other_event_is_posted() {
        for event in [
            "",
            "7",
            "{}",
            r#"{"version":"1.0","rawPath":"/"}"#,
            r#"{"version":"2.0"}"#,
        ] {
            let (head, body, is_url) = read(event).await;
            assert!(!is_url);
            assert_eq!((head.method, head.uri.path()), (Method::POST, "/"));
            assert_eq!(body, event);
        }
    }

    #[test]
    fn a_url_event_that_makes_no_request_names_the_part() {
        let with = |path: &str, method: &str, headers: &str| {
            let event = format!(
                r#"{{"version":"2.0","rawPath":"{path}","headers":{headers},
                    "requestContext":{{"http":{{"method":"{method}"}}}}}}"#
            );
            Event::read(event.into()).request().err().unwrap()
        };
        assert!(with("no", "GET", "{}").contains("rawPath"));
        assert!(with("/ x", "GET", "{}").contains("rawPath"));
        assert!(with("/", "G T", "{}").contains("method"));
        assert!(with("/", "GET", r#"{"a b":"c"}"#).contains("headers"));
        assert!(with("/", "GET", r#"{"a":"c\n"}"#).contains("headers"));
    }
}
