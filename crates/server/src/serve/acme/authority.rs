//! The line to an authority: encrypted, with a server that is vouched for, and bounded. What it
//! answers is a stranger's until it has been judged.

use crate::{client::Trust, serve::tls};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::task::AbortOnDropHandle;

/// Longest wait for one answer, from the first packet on.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Bytes of the body of one answer; a chain takes some five KiB.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Bytes of the head of one.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The statuses of who refuses for a time.
const TOO_MANY: u16 = 429;
const UNAVAILABLE: u16 = 503;
/// Longest rest that an authority may ask for, seconds.
const REST_MAX_S: i64 = 24 * 3600;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("{url:?} does not begin with https://: nothing of it can be believed")]
    InClear { url: String },
    #[error("{host}:{port} could not be reached")]
    Unreachable {
        host: String,
        port: u16,
        source: io::Error,
    },
    #[error(
        "{host}:{port} is not believed: if nobody whom the system trusts vouches for it, name who does by tls.acme_roots"
    )]
    Strange {
        host: String,
        port: u16,
        source: io::Error,
    },
    #[error("{host}:{port} broke off")]
    Broken {
        host: String,
        port: u16,
        source: hyper::Error,
    },
    #[error("{host}:{port} answered with more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge { host: String, port: u16 },
    #[error("no answer from {url:?} within {} s", ANSWER_MAX.as_secs())]
    Late { url: String },
}

/// A connection of its own for each request: an order takes a dozen, every few weeks.
pub(super) struct Line {
    tls: TlsConnector,
    not_before: Arc<AtomicI64>,
}

impl Line {
    /// `roots` vouches for who is called, else the system does; `not_before` learns until when an
    /// authority wants to be left alone.
    ///
    /// Errors: why nobody could vouch, in words.
    pub(super) fn new(roots: Option<PathBuf>, not_before: &Arc<AtomicI64>) -> Result<Self, String> {
        let config = Trust::Roots(roots).config()?;
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            not_before: not_before.clone(),
        })
    }
}

impl HttpClient for Line {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (tls, not_before) = (self.tls.clone(), self.not_before.clone());
        let url = request.uri().to_string();
        Box::pin(async move {
            let answered = timeout(ANSWER_MAX, exchange(tls, request)).await;
            let answered = answered.unwrap_or(Err(AnswerError::Late { url }));
            let mut answered = answered.map_err(|error| Error::Other(Box::new(error)))?;
            if let Some(rest) = bound_rest(&mut answered) {
                not_before.store(tls::now() + rest, Ordering::Relaxed);
            }
            Ok(answered.into())
        })
    }
}

/// For how many seconds the authority wants to hear nothing. What it says of that is bounded for
/// whoever reads it next: to the end of time is a number that none can be added to.
fn bound_rest<B>(response: &mut Response<B>) -> Option<i64> {
    let is_refusal = matches!(response.status().as_u16(), TOO_MANY | UNAVAILABLE);
    let after = response.headers().get(header::RETRY_AFTER)?.to_str().ok();
    let digits = after
        .map(str::trim)
        .filter(|after| !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(digits) = digits else {
        // A date, which is not kept to.
        response.headers_mut().remove(header::RETRY_AFTER);
        return None;
    };
    let seconds = digits.parse().unwrap_or(REST_MAX_S).min(REST_MAX_S);
    let bounded = HeaderValue::from(seconds);
    response.headers_mut().insert(header::RETRY_AFTER, bounded);
    is_refusal.then_some(seconds)
}

async fn exchange(
    tls: TlsConnector,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, AnswerError> {
    let in_clear = |uri: &Uri| AnswerError::InClear {
        url: uri.to_string(),
    };
    let uri = request.uri().clone();
    let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(in_clear(&uri));
    };
    let (host, port) = (
        authority.host().trim_matches(['[', ']']).to_owned(),
        authority.port_u16().unwrap_or(443),
    );
    let name = ServerName::try_from(host.clone()).map_err(|_| in_clear(&uri))?;
    let unreachable = |source| AnswerError::Unreachable {
        host: host.clone(),
        port,
        source,
    };
    let stream = TcpStream::connect((host.as_str(), port)).await;
    let stream = tls.connect(name, stream.map_err(unreachable)?).await;
    let stream = stream.map_err(|source| AnswerError::Strange {
        host: host.clone(),
        port,
        source,
    })?;
    let broken = |source| AnswerError::Broken {
        host: host.clone(),
        port,
        source,
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Ends with this call, whatever becomes of it.
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(as_sent(request, &uri)).await;
    let (parts, body) = response.map_err(broken)?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    drop(connection);
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => broken(*error),
        Err(error) => {
            debug_assert!(error.is::<LengthLimitError>());
            AnswerError::TooLarge {
                host: host.clone(),
                port,
            }
        }
    })?;
    Ok(Response::from_parts(parts, Full::new(body.to_bytes())))
}

/// As HTTP/1.1 has it, from a client that says who it is, which RFC 8555 asks for.
fn as_sent(mut request: Request<BodyWrapper<Bytes>>, uri: &Uri) -> Request<BodyWrapper<Bytes>> {
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let host = uri.authority().map(|authority| authority.as_str());
    let host = host.and_then(|host| HeaderValue::from_str(host).ok());
    let headers = request.headers_mut();
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    let agent = HeaderValue::from_static(concat!("freehold/", env!("CARGO_PKG_VERSION")));
    headers.insert(header::USER_AGENT, agent);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_left_alone_for_as_long_as_it_asks_up_to_a_day() {
        let rest = |status: u16, after: &str| {
            let response = Response::builder().status(status);
            let mut response = response.header("retry-after", after).body(()).unwrap();
            let rest = bound_rest(&mut response);
            let left = response.headers().get("retry-after");
            (rest, left.map(|left| left.to_str().unwrap().to_owned()))
        };
        let kept = |seconds: i64| Some(seconds.to_string());
        assert_eq!(rest(429, "90"), (Some(90), kept(90)));
        for long in [
            "9999999999",
            "18446744073709551615",
            "99999999999999999999999",
        ] {
            assert_eq!(rest(503, long), (Some(REST_MAX_S), kept(REST_MAX_S)));
        }
        // Of an order that is under way it says when to look again.
        assert_eq!(rest(200, "90"), (None, kept(90)));
        assert_eq!(rest(200, "18446744073709551615"), (None, kept(REST_MAX_S)));
        for unread in ["", "-5", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(rest(429, unread), (None, None), "{unread}");
        }
    }
}
