//! One request, signed and sent, and its answer: bounded in time and in size.

use super::{
    ClientError,
    trust::Trust,
    waits::{self, WAITS_MAX, Waits},
};
use bytes::Bytes;
use freehold_identity::sigv4::{Credentials, Timestamp, sign};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header, uri::Authority};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long any call but an invocation may take; a package may be on its way up.
pub const CALL_LIMIT: Duration = Duration::from_secs(120);
/// Largest answer, bytes; the server's own ceilings are far below.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Where a server is: `http://host:port` or `https://host:port`, perhaps with a path before every
/// other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    is_secure: bool,
    authority: Authority,
    prefix: String,
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// Errors: not a URL, or not HTTP's.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let wrong = |reason: &str| ClientError::Setting {
            what: format!("the endpoint {text:?}"),
            reason: reason.to_owned(),
        };
        let uri: Uri = text.trim().parse().map_err(|_| wrong("it is not a URL"))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let authority = uri.authority().cloned();
        let authority = authority.ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(ClientError::Setting {
                what: "the endpoint".into(),
                reason: "it carries a user name; keys belong into the environment".into(),
            });
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            is_secure,
            authority,
            prefix,
        })
    }

    /// Whether it is called by TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The host, without brackets.
    fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }

    fn port(&self) -> u16 {
        let usual = if self.is_secure { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(usual)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// A request before it is signed.
#[derive(Debug)]
pub struct Call {
    /// The operation's name, for errors.
    pub operation: &'static str,
    /// The service that the signature is scoped to.
    pub service: &'static str,
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoded.
    pub path: String,
    /// Headers beyond those that every call has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
    /// How long an answer may take.
    pub limit: Duration,
}

impl Call {
    /// A call without headers of its own.
    pub fn new(
        operation: &'static str,
        service: &'static str,
        method: Method,
        path: String,
    ) -> Self {
        Self {
            operation,
            service,
            method,
            path,
            headers: Vec::new(),
            body: Bytes::new(),
            limit: CALL_LIMIT,
        }
    }

    /// With a JSON body.
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Bytes::from(body.to_string());
        let json = HeaderValue::from_static("application/json");
        self.headers.push((header::CONTENT_TYPE, json));
        self
    }
}

/// What came back with a status below 300.
#[derive(Debug)]
pub struct Answer {
    /// Headers.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whom to ask, and as whom.
#[derive(Clone)]
pub struct Client {
    /// The server.
    pub endpoint: Endpoint,
    /// Where it is reached, whatever its name resolves to.
    pub address: Option<SocketAddr>,
    /// What its certificate is believed by.
    pub trust: Trust,
    /// The key.
    pub credentials: Credentials,
    /// The region that requests are scoped to.
    pub region: String,
    /// What it waits for.
    pub waits: Waits,
}

impl Client {
    /// Signs and sends one request on a connection of its own; again, for half a minute at the most,
    /// where it comes before the account may make another.
    ///
    /// Errors: [`ClientError::Unreachable`] when nothing answers in time,
    /// [`ClientError::Service`] for every status from 300 on.
    pub async fn call(&self, call: Call) -> Result<Answer, ClientError> {
        let mut left = WAITS_MAX;
        loop {
            let (parts, body) = self.send(&call).await?.into_parts();
            if parts.status.as_u16() < 300 {
                return Ok(Answer {
                    headers: parts.headers,
                    body,
                });
            }
            let code = parts.headers.get("x-amzn-errortype");
            let error = ClientError::from_answer(
                call.operation,
                parts.status.as_u16(),
                code.and_then(|value| value.to_str().ok()),
                &body,
            );
            match waits::asked(&parts, &body).filter(|wait| *wait <= left) {
                Some(wait) => {
                    left -= wait;
                    self.waits.count(wait, &error);
                    tokio::time::sleep(wait).await;
                }
                None => return Err(error),
            }
        }
    }

    async fn send(&self, call: &Call) -> Result<http::Response<Bytes>, ClientError> {
        let request = self.request(call)?;
        match timeout(call.limit, self.exchange(request)).await {
            Ok(done) => done.map_err(|reason| self.unreachable(reason)),
            Err(_) => {
                let limit_s = call.limit.as_secs();
                Err(self.unreachable(format!("no answer within {limit_s} s")))
            }
        }
    }

    /// [`Client::call`], its body read as JSON.
    pub async fn json<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let operation = call.operation;
        let answer = self.call(call).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::Garbled {
            endpoint: self.endpoint.to_string(),
            operation,
            reason: error.to_string(),
        })
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, ClientError> {
        let wrong = |what: &str, reason: String| ClientError::Setting {
            what: what.to_owned(),
            reason,
        };
        let uri: Uri = format!("{}{}", self.endpoint.prefix, call.path)
            .parse()
            .map_err(|error| wrong("the request's path", format!("{error}")))?;
        let host = HeaderValue::from_str(self.endpoint.authority.as_str())
            .map_err(|error| wrong("the endpoint", error.to_string()))?;
        let mut request = Request::new(());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::HOST, host);
        for (name, value) in &call.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let (mut parts, ()) = request.into_parts();
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64);
        sign(
            &mut parts,
            &call.body,
            &self.credentials,
            &self.region,
            call.service,
            &Timestamp::from_seconds(seconds),
        )
        .map_err(|_| wrong("the access key", "it cannot stand in a header".to_owned()))?;
        let agent = HeaderValue::from_static(concat!("freehold/", env!("CARGO_PKG_VERSION")));
        parts.headers.insert(header::USER_AGENT, agent);
        Ok(Request::from_parts(parts, Full::new(call.body.clone())))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Bytes>, String> {
        let connect = async {
            match self.address {
                Some(address) => TcpStream::connect(address).await,
                None => TcpStream::connect((self.endpoint.host(), self.endpoint.port())).await,
            }
        };
        let stream = timeout(CONNECT_LIMIT, connect)
            .await
            .map_err(|_| "the connection did not open in 5 s".to_owned())?
            .map_err(|error| error.to_string())?;
        // Small requests with nothing behind them; waiting to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        if !self.endpoint.is_secure() {
            return exchange_over(stream, request).await;
        }
        let shaking = self.trust.encrypt(self.endpoint.host(), stream);
        let stream = timeout(CONNECT_LIMIT, shaking)
            .await
            .map_err(|_| "the handshake did not end in 5 s".to_owned())??;
        exchange_over(stream, request).await
    }

    fn unreachable(&self, reason: String) -> ClientError {
        ClientError::Unreachable {
            endpoint: self.endpoint.to_string(),
            reason,
        }
    }
}

/// One request and its answer, whole.
async fn exchange_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<http::Response<Bytes>, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| chain(&error))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    driver.abort();
    let body = body.map_err(|error| chain(error.as_ref()))?.to_bytes();
    Ok(http::Response::from_parts(parts, body))
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_http_without_a_user() {
        let shown = |text: &str| Endpoint::parse(text).map(|endpoint| endpoint.to_string());
        assert_eq!(shown("http://h:7070/").unwrap(), "http://h:7070");
        assert_eq!(
            shown("http://[::1]:7070/a/").unwrap(),
            "http://[::1]:7070/a"
        );
        assert_eq!(shown("https://h/").unwrap(), "https://h");
        assert_eq!(Endpoint::parse("https://h").unwrap().port(), 443);
        for bad in ["h:7070", "ftp://h", "", "http://", "http:///x"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
        let error = shown("http://user:sesame@h").unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{error}");
    }
}
