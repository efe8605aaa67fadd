//! Signing, for our own client and for what the platform calls on a tenant's behalf.

use super::{
    PathEncoding, Timestamp,
    canonical::{canonical_request, sha256_hex},
};
use http::{HeaderValue, header::InvalidHeaderValue, request::Parts};
use ring::hmac;

/// What a caller signs with.
#[derive(Clone)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret: String,
    /// The session's token, for temporary keys.
    pub token: Option<String>,
}

/// The key that one secret has for one day, region and service.
pub(super) fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> hmac::Key {
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    [day, region, service, "aws4_request"]
        .into_iter()
        .fold(first, |key, part| {
            hmac::Key::new(
                hmac::HMAC_SHA256,
                hmac::sign(&key, part.as_bytes()).as_ref(),
            )
        })
}

/// The text that is signed.
pub(super) fn string_to_sign(
    signed: &Timestamp,
    day: &str,
    region: &str,
    service: &str,
    canonical: &str,
) -> String {
    format!(
        "AWS4-HMAC-SHA256\n{signed}\n{day}/{region}/{service}/aws4_request\n{}",
        sha256_hex(canonical.as_bytes())
    )
}

/// Adds the headers that sign `parts` with `body`: `x-amz-date`, `x-amz-content-sha256`, the token
/// and `authorization`. `host` must be there already; every header that is there gets signed.
///
/// Errors: a credential that cannot stand in a header.
pub fn sign(
    parts: &mut Parts,
    body: &[u8],
    credentials: &Credentials,
    region: &str,
    service: &str,
    at: &Timestamp,
) -> Result<(), InvalidHeaderValue> {
    let hash = sha256_hex(body);
    parts
        .headers
        .insert("x-amz-date", HeaderValue::from_str(at.as_str())?);
    parts
        .headers
        .insert("x-amz-content-sha256", HeaderValue::from_str(&hash)?);
    if let Some(token) = &credentials.token {
        parts
            .headers
            .insert("x-amz-security-token", HeaderValue::from_str(token)?);
    }
    let mut names: Vec<String> = parts
        .headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    names.sort();
    names.dedup();
    let canonical = canonical_request(
        parts.method.as_str(),
        &parts.uri,
        &parts.headers,
        &names,
        &hash,
        PathEncoding::Twice,
        &[],
    );
    let text = string_to_sign(at, at.day(), region, service, &canonical);
    let key = signing_key(&credentials.secret, at.day(), region, service);
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}/{region}/{service}/aws4_request, SignedHeaders={}, Signature={}",
        credentials.access_key_id,
        at.day(),
        names.join(";"),
        hex::encode(hmac::sign(&key, text.as_bytes()))
    );
    parts
        .headers
        .insert(http::header::AUTHORIZATION, HeaderValue::from_str(&value)?);
    Ok(())
}
