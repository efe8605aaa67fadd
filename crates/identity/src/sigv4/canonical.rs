//! The one text of a request that both sides sign.

use http::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use std::fmt::Write;

/// What stays as it is in a path or query: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// How a service's path enters the canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEncoding {
    /// Dots and empty segments resolved, then encoded once more: every service but one.
    Twice,
    /// As it came: S3.
    AsIs,
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// The canonical request. `signed_headers` are lower-case and sorted; a header that is named but
/// not there enters as empty. `skip_query` leaves out the signature of the presigned form.
pub(super) fn canonical_request(
    method: &str,
    uri: &Uri,
    headers: &HeaderMap,
    signed_headers: &[String],
    payload_hash: &str,
    path: PathEncoding,
    skip_query: &[&str],
) -> String {
    let mut text = String::with_capacity(512);
    text.push_str(method);
    text.push('\n');
    match path {
        PathEncoding::AsIs => text.push_str(uri.path()),
        PathEncoding::Twice => {
            let _ = write!(
                text,
                "{}",
                utf8_percent_encode(&resolved(uri.path()), ENCODED_IN_PATH)
            );
        }
    }
    text.push('\n');
    push_query(&mut text, uri.query().unwrap_or(""), skip_query);
    text.push('\n');
    for name in signed_headers {
        text.push_str(name);
        text.push(':');
        push_values(&mut text, headers, name);
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&signed_headers.join(";"));
    text.push('\n');
    text.push_str(payload_hash);
    text
}

/// The path without `.`, `..` and empty segments, a trailing slash kept.
fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut text = String::with_capacity(path.len());
    for segment in &kept {
        text.push('/');
        text.push_str(segment);
    }
    if text.is_empty() || (path.ends_with('/') && path.len() > 1) {
        text.push('/');
    }
    text
}

/// Name and value of each parameter in one normal encoding, sorted by it.
fn push_query(text: &mut String, query: &str, skip: &[&str]) {
    let normal = |raw: &str| {
        let decoded: Vec<u8> = percent_decode_str(raw).collect();
        percent_encoding::percent_encode(&decoded, ENCODED).to_string()
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (normal(name), normal(value))
        })
        .filter(|(name, _)| !skip.contains(&name.as_str()))
        .collect();
    pairs.sort();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
}

/// All values of a header, trimmed, runs of spaces folded, joined by commas.
fn push_values(text: &mut String, headers: &HeaderMap, name: &str) {
    for (at, value) in headers.get_all(name).iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        for (at, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
            if at > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_path(path: &str, expected: &str) {
        assert_eq!(resolved(path), expected, "{path}");
    }

    #[test]
    fn a_path_is_resolved_and_keeps_its_trailing_slash() {
        check_path("/", "/");
        check_path("/a/b", "/a/b");
        check_path("/a//b/", "/a/b/");
        check_path("/a/./b/../c", "/a/c");
        check_path("/../..", "/");
    }

    #[test]
    fn a_query_is_sorted_in_one_encoding() {
        let mut text = String::new();
        push_query(
            &mut text,
            "b=2&a=%7e%2f&a=&c&X-Amz-Signature=00",
            &["X-Amz-Signature"],
        );
        assert_eq!(text, "a=&a=~%2F&b=2&c=");
    }
}
