//! Connections that speak HTTP/2: many requests at once, within the bounds of one connection.
//!
//! Frames, header blocks, windows and streams that are reset before they are looked at are bounded
//! by `h2`. What it leaves open is here: a connection on which nothing is asked, one that begins
//! requests only to cancel them, and answers for which a client opens no window. None of that
//! reaches the engine: a call that has begun is settled whatever becomes of its stream.
//!
//! An answer goes out in pieces, so that it shows how much of it is taken; all but the smallest are
//! counted, since one connection may have a hundred of them waiting. A connection that is to end does so
//! once nothing of an answer is left in it.

use super::{Beside, BesidePlace, FIRST_REQUEST_MAX, Line};
use crate::{
    front::{Front, Seat},
    in_flight::Untaken,
    refusals::Refusal,
    unread::{Answering, LOOK_EVERY, Linger, Taking, linger},
};
use bytes::Bytes;
use freehold_domain::answers::Peer;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Requests of one connection at once.
const STREAMS_MAX: u32 = 100;
/// Bytes of one body that may be on their way before it is read, and of all bodies of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
/// Bytes of one answer that wait in the connection for the client's window.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// What an answer is cut into.
const PIECE_BYTES: usize = 16 << 10;
/// Requests that may be cancelled before their answer, beyond which they must be no more than those
/// that were answered.
const CANCELLED_MAX: u64 = 100;
/// How often a connection that is to end is looked at.
const LOOK_WHILE_ENDING: Duration = Duration::from_millis(200);

/// What is asked on one connection.
struct Streams {
    state: Mutex<State>,
    /// Told once too many requests were cancelled.
    too_many: Notify,
    /// Nothing new is begun: the server ends, and the client goes on asking.
    is_over: AtomicBool,
}

struct State {
    open: usize,
    /// Since when nothing is open, but for what was asked after the end.
    quiet: Instant,
    answered: u64,
    cancelled: u64,
    /// Answers that may not have been taken whole.
    answers: Vec<Arc<Answer>>,
}

/// An answer on its way.
struct Answer {
    taking: Mutex<Taking>,
    untaken: Option<Untaken>,
}

impl Answer {
    /// Whether it has left the connection: of one that counts its bytes, of another its [`Tracked`] ones.
    fn is_taken(self: &Arc<Self>) -> bool {
        match &self.untaken {
            Some(untaken) => untaken.is_taken(),
            None => Arc::strong_count(self) == 1,
        }
    }
}

impl Streams {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                open: 0,
                quiet: Instant::now(),
                answered: 0,
                cancelled: 0,
                answers: Vec::new(),
            }),
            too_many: Notify::new(),
            is_over: AtomicBool::new(false),
        })
    }

    /// When something was last open, and how many were answered.
    fn last(&self) -> (Instant, u64) {
        let state = self.state.lock();
        (state.quiet, state.answered)
    }

    /// A request has begun.
    fn open(self: &Arc<Self>) -> Open {
        self.state.lock().open += 1;
        Open {
            streams: self.clone(),
            is_answered: false,
            is_refused: false,
            _place: None,
        }
    }

    /// How long nothing has been open.
    fn quiet_for(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock();
        (state.open == 0).then(|| now.duration_since(state.quiet))
    }

    /// Whether something is open, or of an answer waits in the connection.
    fn is_busy(&self) -> bool {
        self.quiet_for(Instant::now()).is_none() || self.is_sending()
    }

    /// Whether something of an answer waits in the connection.
    fn is_sending(&self) -> bool {
        let mut state = self.state.lock();
        state.answers.retain(|answer| !answer.is_taken());
        !state.answers.is_empty()
    }

    /// Whether the time of who takes an answer is up.
    fn is_untaken(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.answers.retain(|answer| !answer.is_taken());
        let mut answers = state.answers.iter();
        answers.any(|answer| (answer.taking.lock()).is_over(now, answer.untaken.as_ref()))
    }
}

/// A request that is there until its answer has been handed over, or it was cancelled.
struct Open {
    streams: Arc<Streams>,
    is_answered: bool,
    /// It came after the end: the connection does not stay for it.
    is_refused: bool,
    _place: Option<BesidePlace>,
}

impl Open {
    /// Whether it may go on: beside others of its connection it takes one of the places that all
    /// connections have for that.
    fn may_go_on(&mut self, beside: &Arc<Beside>, peer: IpAddr) -> bool {
        if self.streams.is_over.load(Ordering::Relaxed) {
            self.is_refused = true;
            self.streams.state.lock().open -= 1;
            return false;
        }
        if self.streams.state.lock().open > 1 {
            self._place = beside.take(Peer::at(peer));
            return self._place.is_some();
        }
        true
    }

    fn answer(&mut self, untaken: Option<Untaken>) -> Arc<Answer> {
        self.is_answered = true;
        let answer = Arc::new(Answer {
            taking: Mutex::new(Taking::begin()),
            untaken,
        });
        let mut state = self.streams.state.lock();
        state.answered += 1;
        if self.is_refused {
            return answer;
        }
        if state.answers.len() > 2 * STREAMS_MAX as usize {
            state.answers.retain(|answer| !answer.is_taken());
        }
        state.answers.push(answer.clone());
        answer
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.streams.state.lock();
        if !self.is_refused {
            state.open -= 1;
            if state.open == 0 {
                state.quiet = Instant::now();
            }
        }
        if !self.is_answered {
            state.cancelled += 1;
            if state.cancelled > CANCELLED_MAX.max(state.answered) {
                self.streams.too_many.notify_one();
            }
        }
    }
}

/// The bytes of an answer, which is there as long as they are.
struct Tracked {
    bytes: Bytes,
    _answer: Arc<Answer>,
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer's body.
struct Pieces {
    rest: Bytes,
    /// What was given last and is taken once more is asked for.
    given: u64,
    answer: Arc<Answer>,
    _open: Open,
}

impl Pieces {
    fn new(rest: Bytes, mut open: Open, untaken: Option<Untaken>) -> Self {
        let answer = open.answer(untaken);
        // What counts tells of itself when it is gone.
        let rest = match answer.untaken {
            None if !rest.is_empty() => Bytes::from_owner(Tracked {
                bytes: rest,
                _answer: answer.clone(),
            }),
            _ => rest,
        };
        Self {
            rest,
            given: 0,
            answer,
            _open: open,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let taken = std::mem::take(&mut self.given);
        self.answer.taking.lock().took(taken);
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = PIECE_BYTES.min(self.rest.len());
        self.given = piece as u64;
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Has what it runs waited for at shutdown.
#[derive(Clone)]
struct WaitedFor(TaskTracker);

impl<F> Executor<F> for WaitedFor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(self.0.track_future(stream));
    }
}

/// Asks for patience: nothing of the request was looked at.
fn later() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"Try again later.\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let again = HeaderValue::from_static("1");
    response.headers_mut().insert(header::RETRY_AFTER, again);
    response
}

/// Takes away what may not be sent: hyper does so for HTTP/1.1 alone.
fn without_body(response: &mut Response<Bytes>, is_head: bool) {
    let status = response.status();
    if is_head {
        let length = HeaderValue::from(response.body().len());
        let headers = response.headers_mut();
        headers.entry(header::CONTENT_LENGTH).or_insert(length);
    } else if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return;
    }
    *response.body_mut() = Bytes::new();
}

impl Front {
    /// Serves one connection to its end; after `stop` it ends with the answers that are under way.
    /// `answering` is what the stream below tells.
    pub(super) async fn http2(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        answering: Arc<Answering>,
        line: Line,
        stop: CancellationToken,
    ) {
        let header_bytes = self.api.limits.now().header_bytes;
        let unsent = self.api.unsent;
        let (streams, patience) = (Streams::new(), line.patience);
        answering.keep();
        let running = WaitedFor(self.api.running.clone());
        let (asked, seat) = (streams.clone(), Arc::new(Seat::default()));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let via = line.via(&request);
            let (front, mut open, seat) = (self.clone(), asked.open(), seat.clone());
            let is_head = request.method() == Method::HEAD;
            let may_go_on = open.may_go_on(&front.api.places.beside, via.peer);
            async move {
                let mut response = match may_go_on {
                    true => front.answer(request, via, &seat).await,
                    false => {
                        if !open.is_refused {
                            front.api.refusals.count(Refusal::Streams);
                        }
                        later()
                    }
                };
                without_body(&mut response, is_head);
                // It is about a connection that carries one request at a time.
                response.headers_mut().remove(header::CONNECTION);
                let untaken = response.extensions_mut().remove::<Untaken>();
                Ok::<_, Infallible>(response.map(|rest| Pieces::new(rest, open, untaken)))
            }
        });
        let connection = http2::Builder::new(running)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(header_bytes)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        // It has to be gone for its stream to be left.
        let mut connection = Box::pin(connection);
        // Until when a connection that was told to end may be quiet.
        let mut ending: Option<Instant> = None;
        // How many were answered, and what was written with them, when nothing of them was left.
        let mut all_sent = (0, 0);
        let cut = loop {
            let look = match (ending, streams.quiet_for(Instant::now())) {
                (Some(_), _) => LOOK_WHILE_ENDING,
                (None, Some(_)) => patience / 3,
                (None, None) => LOOK_EVERY,
            };
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        return tracing::debug!(%error, "a connection ended early");
                    }
                    break None;
                }
                () = stop.cancelled(), if ending.is_none() => {
                    if !streams.is_busy() && !answering.is_waiting() {
                        all_sent = (streams.last().1, answering.written());
                    }
                    connection.as_mut().graceful_shutdown();
                    ending = Some(Instant::now() + FIRST_REQUEST_MAX);
                }
                () = streams.too_many.notified() => break Some("requests were begun and cancelled"),
                () = sleep(look) => {
                    let now = Instant::now();
                    if streams.is_untaken(now) {
                        break Some("an answer was not taken");
                    }
                    // Handed over is not yet sent: the last answer has its own time on the way out.
                    let is_sending = streams.is_sending() || answering.is_waiting();
                    match (streams.quiet_for(now), ending) {
                        (Some(quiet), Some(until))
                            if now >= until && quiet >= FIRST_REQUEST_MAX && !is_sending =>
                        {
                            break None;
                        }
                        (_, Some(until)) if now >= until => {
                            streams.is_over.store(true, Ordering::Relaxed);
                        }
                        (Some(quiet), None) if quiet >= patience => {
                            if !is_sending {
                                all_sent = (streams.last().1, answering.written());
                            }
                            connection.as_mut().graceful_shutdown();
                            ending = Some(now + FIRST_REQUEST_MAX);
                        }
                        _ => {}
                    }
                }
            }
        };
        drop(connection);
        match (cut, answering.left()) {
            (Some(why), _) => tracing::debug!(why, "a connection is cut off"),
            (None, Some(stream)) => {
                let (since, answered) = streams.last();
                let beside = match answered {
                    0 => answering.written(),
                    _ if answered == all_sent.0 => answering.written() - all_sent.1,
                    _ => 0,
                };
                let how = Linger {
                    since,
                    beside,
                    patience,
                    unsent,
                };
                linger(stream, how).await;
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    const ANYBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn cuts(streams: &Arc<Streams>) -> bool {
        let mut told = std::pin::pin!(streams.too_many.notified());
        let waker = futures_util::task::noop_waker();
        told.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    }

    #[tokio::test]
    async fn who_only_cancels_is_cut_off_and_who_is_answered_more_often_is_not() {
        for (answered, cancelled, is_cut) in [(0, 100, false), (0, 101, true), (300, 300, false)] {
            let streams = Streams::new();
            for _ in 0..answered {
                streams.open().answer(None);
            }
            for _ in 0..cancelled {
                drop(streams.open());
            }
            assert_eq!(cuts(&streams), is_cut, "{answered} {cancelled}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_seen_and_one_that_is_taken_slowly_is_served() {
        let streams = Streams::new();
        let open = streams.open();
        let rest = Bytes::from(vec![b'x'; 3 * PIECE_BYTES]);
        let mut pieces = Pieces::new(rest, open, None);
        let most = Duration::from_secs(119);
        for left in [2, 1, 0] {
            tokio::time::sleep(most).await;
            assert!(!streams.is_untaken(Instant::now()));
            let frame = pieces.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap().len(), PIECE_BYTES);
            assert_eq!(pieces.rest.len(), left * PIECE_BYTES);
        }
        tokio::time::sleep(most + Duration::from_secs(1)).await;
        assert!(streams.is_untaken(Instant::now()));
        drop(pieces);
        assert!(!streams.is_untaken(Instant::now()));
        assert_eq!(streams.quiet_for(Instant::now()), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_on_its_way_until_its_last_byte_has_left() {
        let streams = Streams::new();
        let mut pieces = Pieces::new(Bytes::from_static(b"done"), streams.open(), None);
        let mut last = pieces.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(pieces);
        let later = |wait| streams.quiet_for(Instant::now()) == Some(Duration::from_secs(wait));
        assert!(later(0) && streams.is_sending());
        let first = last.split_to(2);
        drop(first);
        tokio::time::sleep(Duration::from_secs(119)).await;
        assert!(later(119) && streams.is_sending() && !streams.is_untaken(Instant::now()));
        // Who is told to come again does not keep the connection.
        streams.is_over.store(true, Ordering::Relaxed);
        let mut open = streams.open();
        assert!(!open.may_go_on(&Beside::of(2), ANYBODY));
        let mut pieces = Pieces::new(Bytes::from_static(b"later"), open, None);
        let told = pieces.frame().await;
        assert!(later(119));
        drop(last);
        assert!(!streams.is_sending() && told.is_some());
        drop(pieces);
        assert!(later(119));
        // Nor does one that takes nothing at all.
        let mut pieces = Pieces::new(Bytes::from_static(b"done"), streams.open(), None);
        let _untaken = pieces.frame().await;
        drop(pieces);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!(streams.is_untaken(Instant::now()));
    }

    #[tokio::test]
    async fn beside_the_first_a_request_needs_a_place_and_at_the_end_none_begins() {
        let (streams, beside) = (Streams::new(), Beside::of(1));
        let (mut first, mut second, mut third) = (streams.open(), streams.open(), streams.open());
        // Two others are open: even the first of them has to take the only place now.
        assert!(second.may_go_on(&beside, ANYBODY));
        assert!(!third.may_go_on(&beside, ANYBODY));
        drop((second, third));
        assert!(first.may_go_on(&beside, ANYBODY));
        assert!(first._place.is_none() && beside.take(Peer::at(ANYBODY)).is_some());
        streams.is_over.store(true, Ordering::Relaxed);
        assert!(!first.may_go_on(&beside, ANYBODY));
    }

    #[test]
    fn head_and_what_has_no_body_send_none() {
        for (status, is_head, left) in [
            (200, true, 0),
            (204, false, 0),
            (304, false, 0),
            (200, false, 4),
        ] {
            let mut response = Response::new(Bytes::from_static(b"body"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            without_body(&mut response, is_head);
            assert_eq!(response.body().len(), left, "{status} {is_head}");
            assert_eq!(
                response.headers().contains_key(header::CONTENT_LENGTH),
                is_head
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_answers_leave_nothing_behind() {
        let streams = Streams::new();
        for _ in 0..10_000 {
            streams.open().answer(None);
        }
        assert!(streams.state.lock().answers.len() <= 2 * STREAMS_MAX as usize + 1);
        assert!(!streams.is_untaken(Instant::now()));
        assert!(streams.state.lock().answers.is_empty());
    }
}
