//! Connections: heads and bodies within their limits, then to the front end that claims them.
//!
//! One listener per core (SO_REUSEPORT is the server's to set); a connection stays on the core that
//! accepted it. A client that is slow to send a head, or sends one that is too large, is cut off.

use crate::{
    Api,
    body::{ReadBodyError, read_body},
    request::Request,
    route::{Api as Target, route_api},
};
use bytes::Bytes;
use freehold_domain::ports::Invoke;
use freehold_wire::{ApiError, Service, common};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

/// Longest wait for a head, which also bounds an idle connection.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(75);
/// Most headers of a request.
const HEADERS_MAX: usize = 256;
/// Pause after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a listener.
#[derive(Debug, Clone)]
pub enum Audience {
    /// Anybody who can reach the address.
    Everybody,
    /// The guest of one instance: only calls that it signed itself are answered.
    Instance(freehold_domain::InstanceId),
}

/// What every connection of one core shares.
#[derive(Clone)]
pub struct Front {
    /// The APIs.
    pub api: Arc<Api>,
    /// The engine on this core.
    pub invoker: Arc<dyn Invoke>,
    /// Who is there.
    pub audience: Audience,
}

impl Front {
    /// Accepts connections until `stop`; what runs then is finished by [`Api::running`].
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let port = listener.local_addr().map_or(0, |address| address.port());
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let front = self.clone();
                    let stop = stop.clone();
                    let running = self.api.running.clone();
                    tokio::spawn(running.track_future(front.connection(
                        stream,
                        peer.ip(),
                        port,
                        stop,
                    )));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection to its end; after `stop` it ends with the answer that is under way.
    pub async fn connection(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: IpAddr,
        port: u16,
        stop: CancellationToken,
    ) {
        let header_bytes = self.api.limits.header_bytes as usize;
        let service = service_fn(move |request| {
            let front = self.clone();
            async move { Ok::<_, Infallible>(front.answer(request, peer, port).await.map(Full::new)) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(header_bytes.max(8192))
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        port: u16,
    ) -> Response<Bytes> {
        let id = self.api.ids.invocation();
        let (parts, body) = request.into_parts();
        let target = route_api(&parts, &self.api.url_domain);
        let expect = parts.headers.contains_key(header::EXPECT);
        tracing::trace!(method = %parts.method, uri = %parts.uri, ?target, expect, "a request");
        if head_bytes(&parts) > u64::from(self.api.limits.header_bytes) {
            return refuse_head(&target, &id.to_string());
        }
        let limit = body_limit(&self.api, &target, &parts);
        let (body, held) = match read_body(body, limit, &self.api.in_flight).await {
            Ok(read) => read,
            Err(error) => return refuse_body(&error, &target, &parts, &id.to_string()),
        };
        let request = Request {
            parts,
            body,
            id,
            peer,
            port,
            held: Some(held),
        };
        self.dispatch(request, target).await
    }

    async fn dispatch(&self, request: Request, target: Target) -> Response<Bytes> {
        let id = request.id.to_string();
        let (api, invoker) = (&self.api, self.invoker.clone());
        if let Audience::Instance(instance) = &self.audience
            && let Err(error) = api.check_guest(&request, *instance)
        {
            return error.encode(service_of(&target), &id);
        }
        match target {
            Target::Url(target) => crate::urls::serve(api, invoker, request, target).await,
            Target::Own(operation) => crate::own::serve(api, request, &operation).await,
            Target::Code(link) => crate::lambda::serve_code(api, &link).await,
            Target::Lambda => crate::lambda::serve(api, invoker, request).await,
            Target::Logs => crate::logs::serve(api, request).await,
            Target::Sts => crate::sts::serve(api, request),
            Target::Unserved(service) => unserved(&service, &id),
        }
    }
}

/// A peer address for what comes out of an instance.
pub const GUEST_PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn service_of(target: &Target) -> Service {
    match target {
        Target::Logs => Service::Logs,
        Target::Sts => Service::Sts,
        _ => Service::Lambda,
    }
}

/// The largest body that a target takes. Packages arrive as base64 within JSON.
fn body_limit(api: &Api, target: &Target, parts: &http::request::Parts) -> u64 {
    let limits = &api.limits;
    match target {
        Target::Lambda if crate::lambda::is_invoke(parts) => limits.sync_payload_bytes,
        Target::Lambda => limits.package_zip_bytes.div_ceil(3) * 4 + (256 << 10),
        Target::Url(_) => limits.sync_payload_bytes,
        Target::Own(_) | Target::Code(_) | Target::Logs | Target::Sts => 1 << 20,
        Target::Unserved(_) => 64 << 10,
    }
}

/// What a head takes. The connection's buffer bounds it too, but only to about twice the limit:
/// its size is looked at between reads.
fn head_bytes(parts: &http::request::Parts) -> u64 {
    let headers = parts.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    (headers + target) as u64
}

fn refuse_head(target: &Target, id: &str) -> Response<Bytes> {
    let text = "The request's line and headers are too long.";
    let mut response =
        ApiError::new("RequestHeaderFieldsTooLarge", 431, text).encode(service_of(target), id);
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn refuse_body(
    error: &ReadBodyError,
    target: &Target,
    parts: &http::request::Parts,
    id: &str,
) -> Response<Bytes> {
    let answer = match error {
        ReadBodyError::TooLarge { limit_bytes } => {
            // Lambda's own name for Invoke, which its model does not have.
            let operation = match crate::lambda::operation_name(parts) {
                Some("Invoke") => "InvokeFunction",
                other => other.unwrap_or("requested"),
            };
            common::request_too_large(format!(
                "Request must be smaller than {limit_bytes} bytes for the {operation} operation"
            ))
        }
        ReadBodyError::Busy => ApiError::new("ServiceUnavailableException", 503, error.to_string())
            .with_retry_after_s(1),
        ReadBodyError::Stalled => ApiError::new("RequestTimeoutException", 408, error.to_string()),
        ReadBodyError::Broken => {
            ApiError::new("InvalidRequestContentException", 400, error.to_string())
        }
    };
    let mut response = answer.encode(service_of(target), id);
    // What is left of the body will not be read, so the connection cannot be used again.
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn unserved(service: &str, id: &str) -> Response<Bytes> {
    let text = format!(
        "Freehold does not speak the API of service '{service}'; see the book, \"What is served\""
    );
    let mut response = ApiError::new("NotImplemented", 501, text).encode(Service::Sts, id);
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}
