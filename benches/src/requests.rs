//! Requests as bytes: plain ones, and signed calls of the AWS API.

use crate::{Failure, client::Target};
use bytes::Bytes;
use freehold_identity::sigv4::{Credentials, Timestamp, sign};
use http::request::Parts;
use http_body_util::Full;
use std::{
    sync::{Arc, LazyLock},
    time::{SystemTime, UNIX_EPOCH},
};

/// The second handler's event: 2 KiB of JSON.
pub fn two_kib() -> &'static [u8] {
    static EVENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut text = br#"{"text":""#.to_vec();
        text.resize(2048 - 2, b'x');
        text.extend_from_slice(br#""}"#);
        text
    });
    &EVENT
}

/// A POST of JSON.
pub fn post(target: &Target, body: &[u8]) -> Arc<[u8]> {
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        target.path,
        target.host,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request.into()
}

/// Who calls the AWS API, and where.
#[derive(Clone)]
pub struct Caller {
    /// `host:port`.
    pub host: String,
    /// The region of the scope.
    pub region: String,
    /// The root key.
    pub key: Credentials,
}

impl Caller {
    /// A signed request, good for a few minutes as AWS's are.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        body: &'static [u8],
    ) -> Result<http::Request<Full<Bytes>>, Failure> {
        let parts = self.signed(method, path, body)?;
        let body = Full::new(Bytes::from_static(body));
        Ok(http::Request::from_parts(parts, body))
    }

    fn signed(&self, method: &str, path: &str, body: &[u8]) -> Result<Parts, Failure> {
        let mut parts = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(())?
            .into_parts()
            .0;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let now = Timestamp::from_seconds(now.cast_signed());
        sign(&mut parts, body, &self.key, &self.region, "lambda", &now)?;
        Ok(parts)
    }

    /// A signed POST of JSON, as bytes.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Arc<[u8]>, Failure> {
        let parts = self.signed("POST", path, body)?;
        let mut request = format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in &parts.headers {
            request.push_str(&format!("{name}: {}\r\n", value.to_str()?));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        Ok(request.into())
    }

    /// A signed `Invoke`.
    pub fn invoke(&self, function: &str, body: &[u8]) -> Result<Arc<[u8]>, Failure> {
        self.post(
            &format!("/2015-03-31/functions/{function}/invocations"),
            body,
        )
    }
}
