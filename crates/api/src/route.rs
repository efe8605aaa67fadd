//! Which API a request is for: one total table.
//!
//! Order of claims: the Host of a URL domain; `/_freehold/`; the scope of the signature;
//! `X-Amz-Target`, then a form's `Action`; the paths of the REST APIs; everything else would be an
//! object store's. Decision D1.

use freehold_domain::ports::CREDENTIALS_PATH;
use http::{Method, request::Parts};
use percent_encoding::percent_decode_str;

/// Everything of ours lives below this path; no bucket's name can begin so.
pub const OWN_PREFIX: &str = "/_freehold/";

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Api {
    /// A function's URL.
    Url(UrlTarget),
    /// An operation of our own, by name.
    Own(String),
    /// Its own session, for the guest of an instance; nothing for anybody else.
    Credentials,
    /// A link to a package.
    Code(String),
    /// AWS Lambda.
    Lambda,
    /// CloudWatch Logs.
    Logs,
    /// STS.
    Sts,
    /// A service that Freehold does not speak (yet), by its signing name.
    Unserved(String),
}

/// A function URL as it was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTarget {
    /// The URL's id.
    pub id: String,
    /// The path that the function sees, raw.
    pub path: String,
    /// Whether it was called below [`OWN_PREFIX`], where nothing may be shown as a page of ours.
    pub path_form: bool,
}

/// Assigns a request to an API. `domain` is the domain of function URLs, without a port.
pub fn route_api(parts: &Parts, domain: &str) -> Api {
    let host = parts
        .headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok());
    if let Some(id) = host.and_then(|host| url_id(host, domain)) {
        let path = parts.uri.path().to_owned();
        return Api::Url(UrlTarget {
            id,
            path,
            path_form: false,
        });
    }
    let path = parts.uri.path();
    if path == CREDENTIALS_PATH {
        return Api::Credentials;
    }
    if let Some(rest) = path.strip_prefix(OWN_PREFIX) {
        return own(rest);
    }
    if let Some(service) = signed_service(parts) {
        return of_service(&service);
    }
    if let Some(target) = parts
        .headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
    {
        return match target.split_once('.') {
            Some(("Logs_20140328", _)) => Api::Logs,
            _ => Api::Unserved(
                target
                    .split(['.', '_'])
                    .next()
                    .unwrap_or("")
                    .to_ascii_lowercase(),
            ),
        };
    }
    if path == "/"
        && (parts.method == Method::POST
            || parts.uri.query().is_some_and(|q| q.contains("Action=")))
    {
        return Api::Sts;
    }
    if is_rest_version(path) {
        return Api::Lambda;
    }
    Api::Unserved("s3".to_owned())
}

fn own(rest: &str) -> Api {
    if let Some(rest) = rest.strip_prefix("url/") {
        let (id, path) = rest.split_once('/').unwrap_or((rest, ""));
        return Api::Url(UrlTarget {
            id: id.to_owned(),
            path: format!("/{path}"),
            path_form: true,
        });
    }
    if let Some(link) = rest.strip_prefix("code/") {
        return Api::Code(link.to_owned());
    }
    Api::Own(rest.strip_prefix("api/").unwrap_or(rest).to_owned())
}

/// `ID.lambda-url.REGION.DOMAIN[:PORT]`.
fn url_id(host: &str, domain: &str) -> Option<String> {
    let host = host
        .rsplit_once(':')
        .map_or(host, |(name, _)| name)
        .to_ascii_lowercase();
    let rest = host.strip_suffix(domain)?.strip_suffix('.')?;
    let (id, rest) = rest.split_once('.')?;
    rest.starts_with("lambda-url.").then(|| id.to_owned())
}

/// The service that the signature is scoped to, unverified.
fn signed_service(parts: &Parts) -> Option<String> {
    let of_credential = |text: &str| text.split('/').nth(3).map(str::to_owned);
    if let Some(value) = parts.headers.get(http::header::AUTHORIZATION) {
        let (_, rest) = value.to_str().ok()?.split_once("Credential=")?;
        return of_credential(rest.split([',', ' ']).next()?);
    }
    let query = parts.uri.query()?;
    let raw = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
    of_credential(&percent_decode_str(raw).decode_utf8().ok()?)
}

fn of_service(service: &str) -> Api {
    match service {
        "lambda" => Api::Lambda,
        "logs" => Api::Logs,
        "sts" => Api::Sts,
        other => Api::Unserved(other.chars().take(64).collect()),
    }
}

/// The REST APIs of Lambda begin with the date of one of their versions.
fn is_rest_version(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
    let date = first.as_bytes();
    date.len() == 10
        && date.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn check(request: http::request::Builder, expected: Api) {
        let parts = request.body(()).unwrap().into_parts().0;
        assert_eq!(route_api(&parts, "localhost"), expected, "{parts:?}");
    }
    fn url(id: &str, path: &str, path_form: bool) -> Api {
        Api::Url(UrlTarget {
            id: id.into(),
            path: path.into(),
            path_form,
        })
    }

    #[test]
    fn a_request_goes_to_the_first_that_claims_it() {
        let to = |uri: &str| Request::builder().uri(uri.to_owned());
        check(
            to("/a/b").header("host", "Abc.lambda-url.us-east-1.localhost:7070"),
            url("abc", "/a/b", false),
        );
        check(
            to("/_freehold/url/abc/x/y").header("host", "h"),
            url("abc", "/x/y", true),
        );
        check(to("/_freehold/url/abc"), url("abc", "/", true));
        check(
            to("/_freehold/api/ListInstances"),
            Api::Own("ListInstances".into()),
        );
        // Whatever its token looks like.
        let token = "Credential=a/b/c/logs/d";
        check(
            to("/_freehold/credentials").header("authorization", token),
            Api::Credentials,
        );
        check(
            to("/_freehold/credentials/"),
            Api::Own("credentials/".into()),
        );
        let scope = "AWS4-HMAC-SHA256 Credential=AKID/20261121/us-east-1/logs/aws4_request, SignedHeaders=host";
        check(
            to("/2015-03-31/functions").header("authorization", scope),
            Api::Logs,
        );
        check(
            to("/?X-Amz-Credential=AKID%2F20261121%2Fus-east-1%2Fsqs%2Faws4_request"),
            Api::Unserved("sqs".into()),
        );
        check(
            to("/").header("x-amz-target", "Logs_20140328.DescribeLogGroups"),
            Api::Logs,
        );
        check(
            to("/").header("x-amz-target", "DynamoDB_20120810.GetItem"),
            Api::Unserved("dynamodb".into()),
        );
        check(to("/").method("POST"), Api::Sts);
        check(to("/2015-03-31/functions/"), Api::Lambda);
        check(to("/bucket/2015-03-31"), Api::Unserved("s3".into()));
        check(
            to("/").header("host", "lambda-url.us-east-1.localhost"),
            Api::Unserved("s3".into()),
        );
    }
}
