//! The Runtime API's HTTP: connections, paths, headers, status codes.
//!
//! Refuses what is over a limit before it is read, and what the line does not expect.

use super::{
    RuntimeLimits,
    line::{Line, Refused},
};
use crate::event::{self, Answered, DISCARD_BYTES_MAX, InvokedArn};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use freehold_domain::{
    answers::{ANSWER_FREE_BYTES, Room},
    live::Live,
    ports::GuestCall,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const DEADLINE: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const ARN: HeaderName = HeaderName::from_static("lambda-runtime-invoked-function-arn");
const TRACE: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("lambda-runtime-client-context");
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";

type Reply = Response<Full<Bytes>>;

/// Serves a listener until it fails or the task is aborted, its connections with it.
pub(super) async fn serve(listener: TcpListener, line: Arc<Line>, limits: Live<RuntimeLimits>) {
    struct CloseLine(Arc<Line>);
    impl Drop for CloseLine {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let close = CloseLine(line);
    let seats = Arc::new(Semaphore::new(limits.now().connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // No seat: the guest waits in the kernel's queue until one of its own connections ends.
        let Ok(seat) = seats.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a runtime's listener ended");
                return;
            }
        };
        let _ = stream.set_nodelay(true);
        let (line, limits) = (close.0.clone(), limits.clone());
        connections.spawn(async move {
            let header_bytes = limits.now().header_bytes;
            let service = service_fn(move |request| {
                let (line, limits) = (line.clone(), limits.now());
                async move { Ok::<_, Infallible>(reply(&line, limits, request).await) }
            });
            // A guest that breaks off harms its own event alone; the line knows about events.
            let _ = http1::Builder::new()
                .title_case_headers(true)
                .half_close(false)
                .max_buf_size(header_bytes.max(8 << 10))
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(seat);
        });
    }
}

/// Time for an acknowledgement to leave before the connections are dropped.
pub(super) async fn let_answers_leave() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

async fn reply(line: &Line, limits: RuntimeLimits, request: Request<Incoming>) -> Reply {
    let path = request.uri().path();
    let Some(path) = path.strip_prefix("/2018-06-01/runtime/") else {
        return not_found();
    };
    let id = |end: &str| {
        path.strip_prefix("invocation/")
            .and_then(|rest| rest.strip_suffix(end))
            .filter(|id| !id.is_empty() && !id.contains('/'))
            .map(str::to_owned)
    };
    let is_post = request.method() == Method::POST;
    if path == "invocation/next" {
        if request.method() != Method::GET {
            return method_not_allowed();
        }
        return next(line).await;
    }
    if path == "restore/next" {
        if request.method() != Method::GET {
            return method_not_allowed();
        }
        return restore_next(line).await;
    }
    if path == "init/error" || path == "restore/error" {
        if !is_post {
            return method_not_allowed();
        }
        let taken = match path {
            "init/error" => line.opens(),
            _ => line.restores(),
        };
        return match taken {
            Ok(()) => init_error(line, limits, request).await,
            Err(refused) => refuse(refused),
        };
    }
    match (id("/response"), id("/error")) {
        (Some(_), _) | (_, Some(_)) if !is_post => method_not_allowed(),
        (Some(id), _) => response(line, limits, &id, request).await,
        (None, Some(id)) => error(line, limits, &id, request).await,
        (None, None) => not_found(),
    }
}

async fn next(line: &Line) -> Reply {
    let poll = match line.next() {
        Ok(poll) => poll,
        Err(refused) => return refuse(refused),
    };
    let Ok(call) = poll.await else {
        return refuse(Refused::State {
            is: "Ready",
            wanted: "Ready",
        });
    };
    event_reply(call).await
}

/// Says nothing but that there was a restore.
async fn restore_next(line: &Line) -> Reply {
    let poll = match line.restore_next() {
        Ok(poll) => poll,
        Err(refused) => return refuse(refused),
    };
    match poll.await {
        Ok(()) => Response::new(Full::new(Bytes::new())),
        Err(_) => refuse(Refused::State {
            is: "RestoreReady",
            wanted: "RestoreReady",
        }),
    }
}

/// An event as the runtime reads it.
async fn event_reply(call: GuestCall) -> Reply {
    let arn = InvokedArn(&call).to_string();
    // The pipeline has checked the size; a stream is read whole, since this API knows no other.
    let body = match call.body.collect(u64::MAX).await {
        Ok((body, _)) => body,
        Err(error) => {
            return problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                &format!("the event could not be read: {error}"),
            );
        }
    };
    let mut reply = Response::new(Full::new(body));
    let headers = reply.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, JSON);
    let mut put = |name, text: &[u8]| {
        if let Ok(value) = HeaderValue::from_bytes(text) {
            headers.insert(name, value);
        }
    };
    put(REQUEST_ID, call.id.to_string().as_bytes());
    put(DEADLINE, call.deadline.millis().to_string().as_bytes());
    put(ARN, arn.as_bytes());
    put(TRACE, call.trace.to_string().as_bytes());
    if let Some(context) = &call.client_context {
        put(
            CLIENT_CONTEXT,
            &event::client_context(context).collect::<Vec<u8>>(),
        );
    }
    reply
}

async fn response(
    line: &Line,
    limits: RuntimeLimits,
    id: &str,
    request: Request<Incoming>,
) -> Reply {
    if let Err(refused) = line.expects(id) {
        return refuse(refused);
    }
    let headers = request.headers();
    if headers
        .get(RESPONSE_MODE)
        .is_some_and(|mode| !mode.as_bytes().eq_ignore_ascii_case(b"streaming"))
    {
        return problem(
            StatusCode::BAD_REQUEST,
            "InvalidFunctionResponseMode",
            "Invalid function response mode",
        );
    }
    let content_type = text(headers, CONTENT_TYPE.as_str());
    match read(request.into_body(), limits.answer_bytes, Some((line, id))).await {
        Ok(whole) => {
            let answered = match late_error(&whole.trailers) {
                Some((error_type, body)) => Answered::error(Some(error_type), body),
                None => Answered {
                    room: whole.room,
                    ..Answered::response(content_type, whole.body)
                },
            };
            accept(line.answer(id, answered))
        }
        Err(failed) => unread(line, limits, id, failed),
    }
}

/// The answer to a body that was not read whole.
fn unread(line: &Line, limits: RuntimeLimits, id: &str, failed: ReadFailed) -> Reply {
    match failed {
        ReadFailed::TooLarge => too_large(line, limits, id),
        ReadFailed::Truncated => truncated(),
        ReadFailed::Refused(refused) => refuse(refused),
    }
}

/// An answer over the limit is the function's error; the instance goes on.
fn too_large(line: &Line, limits: RuntimeLimits, id: &str) -> Reply {
    let limit = limits.answer_bytes;
    let answered = Answered::too_large(limit);
    if let Err(refused) = line.answer(id, answered) {
        return refuse(refused);
    }
    problem(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        &format!("Exceeded maximum allowed payload size ({limit} bytes)."),
    )
}

async fn error(line: &Line, limits: RuntimeLimits, id: &str, request: Request<Incoming>) -> Reply {
    if let Err(refused) = line.expects(id) {
        return refuse(refused);
    }
    let error_type = text(request.headers(), ERROR_TYPE);
    match read(request.into_body(), limits.error_bytes, Some((line, id))).await {
        Ok(Whole { body, room, .. }) => {
            let answered = Answered {
                room,
                ..Answered::error(error_type, body)
            };
            accept(line.answer(id, answered))
        }
        Err(failed) => unread(line, limits, id, failed),
    }
}

/// Of an init or of a restore.
async fn init_error(line: &Line, limits: RuntimeLimits, request: Request<Incoming>) -> Reply {
    let header = text(request.headers(), ERROR_TYPE);
    let body = match read(request.into_body(), limits.error_bytes, None).await {
        Ok(whole) => whole.body,
        Err(ReadFailed::TooLarge) => Bytes::new(),
        Err(_) => return truncated(),
    };
    let error_type = header.unwrap_or_else(|| "Runtime.Unknown".to_owned());
    accept(line.init_failed(error_type, body))
}

/// A body that has come whole.
struct Whole {
    body: Bytes,
    trailers: HeaderMap,
    room: Option<Room>,
}

enum ReadFailed {
    TooLarge,
    Truncated,
    Refused(Refused),
}

/// Reads a body up to `limit` bytes, and its trailers; what is over is discarded, so that a client
/// hears its 413 instead of a reset while it still writes.
///
/// Of a large one that answers an event no more is read than what is free before there is room for all
/// of it: as much as its head announces, or all that it may have.
async fn read(
    mut body: Incoming,
    limit: u64,
    answers: Option<(&Line, &str)>,
) -> Result<Whole, ReadFailed> {
    let announced = body.size_hint().exact();
    let (mut first, mut joined) = (None::<Bytes>, BytesMut::new());
    let (mut total, mut trailers) = (0_u64, HeaderMap::new());
    let mut large = None;
    loop {
        let needed = match announced {
            Some(bytes) => bytes,
            None if total > ANSWER_FREE_BYTES as u64 => limit,
            None => 0,
        };
        let is_kept = total.max(needed) <= limit;
        if let Some((line, id)) = answers
            && large.is_none()
            && is_kept
            && needed > ANSWER_FREE_BYTES as u64
        {
            let room = line.room(id, needed).await;
            large = Some(room.map_err(ReadFailed::Refused)?);
        }
        let frame = match (answers, &mut large) {
            (Some((line, id)), Some(large)) => tokio::select! {
                biased;
                frame = body.frame() => frame,
                refused = line.until_over(id) => return Err(ReadFailed::Refused(refused)),
                slow = large.too_slow(total) => {
                    return Err(ReadFailed::Refused(line.fail(id, slow)));
                }
            },
            _ => body.frame().await,
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| ReadFailed::Truncated)?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().unwrap_or_default();
                continue;
            }
        };
        total += data.len() as u64;
        if total > limit || !is_kept {
            (first, joined, large) = (None, BytesMut::new(), None);
            if total > limit.saturating_add(DISCARD_BYTES_MAX) {
                break;
            }
        } else if first.is_none() && joined.is_empty() {
            first = Some(data);
        } else {
            if let Some(head) = first.take() {
                joined.reserve(head.len() + data.len());
                joined.extend_from_slice(&head);
            }
            joined.extend_from_slice(&data);
        }
    }
    if total > limit {
        return Err(ReadFailed::TooLarge);
    }
    let body = first.unwrap_or_else(|| joined.freeze());
    let room = large.and_then(|large| large.kept_by(body.len()));
    Ok(Whole {
        body,
        trailers,
        room,
    })
}

/// A streamed answer that failed half way says so in its trailers, the payload in base64.
fn late_error(trailers: &HeaderMap) -> Option<(String, Bytes)> {
    let error_type = text(trailers, ERROR_TYPE)?;
    let body = trailers
        .get(ERROR_BODY)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let body = STANDARD.decode(body).unwrap_or_else(|_| body.to_vec());
    Some((error_type, body.into()))
}

/// A header's text.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    event::text(headers.get(name)?.as_bytes())
}

fn accept(taken: Result<(), Refused>) -> Reply {
    match taken {
        Ok(()) => json(
            StatusCode::ACCEPTED,
            Bytes::from_static(b"{\"status\":\"OK\"}\n"),
        ),
        Err(refused) => refuse(refused),
    }
}

fn refuse(refused: Refused) -> Reply {
    match refused {
        Refused::RequestId => problem(
            StatusCode::BAD_REQUEST,
            "InvalidRequestID",
            "Invalid request ID",
        ),
        Refused::State { is, wanted } => problem(
            StatusCode::FORBIDDEN,
            "InvalidStateTransition",
            &format!(
                "State transition from {is} to {wanted} failed for runtime. Error: State \
                 transition is not allowed"
            ),
        ),
    }
}

fn truncated() -> Reply {
    let message = "HTTP request detected as truncated";
    problem(StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", message)
}

fn not_found() -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_static(b"404 page not found\n")));
    *reply.status_mut() = StatusCode::NOT_FOUND;
    reply
}

fn method_not_allowed() -> Reply {
    let mut reply = Response::new(Full::new(Bytes::new()));
    *reply.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    reply
}

fn problem(status: StatusCode, error_type: &str, message: &str) -> Reply {
    let body = serde_json::json!({ "errorMessage": message, "errorType": error_type });
    json(status, body.to_string().into())
}

fn json(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}
