//! The API over real sockets, with a client that writes its requests by hand.

use super::*;
use crate::waits::{a_while, until_held};
use bytes::Bytes;
use freehold_domain::{
    answers::Whose,
    body::Body,
    ids::{FunctionRef, InvocationId, Qualifier},
    limits::Limits,
    time::Wall,
    trace::TraceHeader,
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

const MIB: usize = 1 << 20;

const NEXT: &[u8] = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
const RESTORE: &[u8] = b"GET /2018-06-01/runtime/restore/next HTTP/1.1\r\nHost: x\r\n\r\n";

/// An answer of the API, as a client sees it.
#[derive(Debug)]
struct Seen {
    status: u16,
    head: String,
    body: String,
}

struct Client(TcpStream);

impl Client {
    async fn dial(at: SocketAddr) -> Self {
        Self(TcpStream::connect(at).await.unwrap())
    }
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }
    async fn read(&mut self) -> Seen {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(
                self.0.read(&mut byte).await.unwrap(),
                1,
                "closed after {head:?}"
            );
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_owned)
            })
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Seen {
            status: head[9..12].parse().unwrap(),
            body: String::from_utf8(body).unwrap(),
            head,
        }
    }
    async fn next(&mut self) -> Seen {
        self.send(NEXT).await;
        self.read().await
    }
    async fn post(&mut self, path: &str, headers: &str, body: &str) -> Seen {
        self.send(
            format!(
                "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: \
                 {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        )
        .await;
        self.read().await
    }
}

fn listener() -> (SocketAddr, OwnedFd) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener.into())
}

fn contract() -> LambdaRuntime {
    let limits = RuntimeLimits {
        answer_bytes: 1000,
        error_bytes: 1000,
        header_bytes: 8 << 10,
        connections: 3,
    };
    LambdaRuntime::new(limits, room_of(512 * MIB))
}

/// Room for answers.
fn room_of(bytes: usize) -> Arc<Answers> {
    let limits = Limits {
        bytes_in_flight: bytes as u64,
        ..Limits::default()
    };
    Answers::new(limits.into(), Arc::default())
}

fn call(id: u128, body: &str) -> GuestCall {
    GuestCall {
        id: InvocationId(Uuid::from_u128(id)),
        function: FunctionRef {
            tenant: "111111111111".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            name: "hello".parse().unwrap(),
        },
        qualifier: Some(Qualifier::Revision(7)),
        deadline: Wall::from_millis(1_700_000_000_123),
        trace: TraceHeader::new_root(Uuid::from_u128(id)),
        client_context: Some(Bytes::from_static(b"{\"custom\":\n{}}")),
        by_url: None,
        body: Body::full(Bytes::copy_from_slice(body.as_bytes())),
    }
}

fn id(of: u128) -> String {
    Uuid::from_u128(of).to_string()
}

/// A line whose runtime has asked for its first event, and the client that waits for it.
async fn opened() -> (Arc<dyn Link>, Client, SocketAddr) {
    opened_by(contract()).await
}

async fn opened_by(contract: LambdaRuntime) -> (Arc<dyn Link>, Client, SocketAddr) {
    let (at, fd) = listener();
    let mut client = Client::dial(at).await;
    client.send(NEXT).await;
    let link = contract.open(wires(fd), Opening::default()).await.unwrap();
    (link, client, at)
}

fn handle(link: &Arc<dyn Link>, call: GuestCall) -> JoinHandle<Result<GuestAnswer, LinkError>> {
    let link = link.clone();
    tokio::spawn(async move { link.handle(call).await })
}

async fn body(answer: Result<GuestAnswer, LinkError>) -> (Option<String>, Bytes) {
    match answer.unwrap() {
        GuestAnswer::Response { body, .. } => (None, body.collect(u64::MAX).await.unwrap().0),
        GuestAnswer::Error {
            error_type, body, ..
        } => (error_type.or(Some(String::new())), body),
    }
}

#[tokio::test]
async fn an_event_goes_out_and_its_answer_comes_back() {
    let (link, mut client, _) = opened().await;
    for round in 1..4_u128 {
        let answer = handle(&link, call(round, "{\"n\":1}"));
        let event = if round == 1 {
            client.read().await
        } else {
            client.next().await
        };
        assert_eq!((event.status, event.body.as_str()), (200, "{\"n\":1}"));
        for header in [
            format!("Lambda-Runtime-Aws-Request-Id: {}", id(round)),
            "Lambda-Runtime-Deadline-Ms: 1700000000123".to_owned(),
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:111111111111:function:\
             hello:7"
                .to_owned(),
            "Lambda-Runtime-Trace-Id: Root=1-".to_owned(),
            "Lambda-Runtime-Client-Context: {\"custom\": {}}".to_owned(),
            "Content-Type: application/json".to_owned(),
        ] {
            assert!(
                event.head.contains(&header),
                "{header} is not in {}",
                event.head
            );
        }
        let seen = client
            .post(&format!("invocation/{}/response", id(round)), "", "\"hi\"")
            .await;
        assert_eq!(
            (seen.status, seen.body.as_str()),
            (202, "{\"status\":\"OK\"}\n")
        );
        assert_eq!(
            body(answer.await.unwrap()).await,
            (None, Bytes::from_static(b"\"hi\""))
        );
    }
}

#[tokio::test]
async fn a_line_is_ready_while_its_runtime_asks() {
    let (link, mut client, at) = opened().await;
    assert!(link.until_ready().is_none(), "it has asked");
    let answer = handle(&link, call(1, "1"));
    client.read().await;
    let path = format!("invocation/{}/response", id(1));
    client.post(&path, "", "a").await;
    answer.await.unwrap().unwrap();
    let waits = link.until_ready().expect("it has answered and not asked");
    let request = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
    client.send(request).await;
    waits.await;
    assert!(link.until_ready().is_none());
    // A poll whose connection has gone asks for nothing; one on another does.
    drop(client);
    while link.until_ready().is_none() {
        tokio::task::yield_now().await;
    }
    let mut other = Client::dial(at).await;
    other.send(request).await;
    link.until_ready()
        .unwrap_or_else(|| Box::pin(async {}))
        .await;
    let answer = handle(&link, call(2, "2"));
    assert_eq!(other.read().await.body, "2");
    let path = format!("invocation/{}/response", id(2));
    other.post(&path, "", "b").await;
    answer.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_event_waits_for_the_next_poll() {
    let (link, mut client, at) = opened().await;
    let first = handle(&link, call(1, "1"));
    client.read().await;
    // Answered from a second connection, as clients with a pool do.
    let mut second = Client::dial(at).await;
    let path = format!("invocation/{}/response", id(1));
    assert_eq!(second.post(&path, "", "a").await.status, 202);
    first.await.unwrap().unwrap();
    let next = handle(&link, call(2, "2"));
    tokio::task::yield_now().await;
    assert_eq!(second.next().await.body, "2");
    let path = format!("invocation/{}/error", id(2));
    let headers = "Lambda-Runtime-Function-Error-Type: Oh.No\r\n";
    assert_eq!(client.post(&path, headers, "{}").await.status, 202);
    assert_eq!(
        body(next.await.unwrap()).await,
        (Some("Oh.No".to_owned()), Bytes::from_static(b"{}"))
    );
}

#[tokio::test]
async fn answers_for_other_events_twice_or_too_late_are_refused() {
    let (link, mut client, _) = opened().await;
    let answer = handle(&link, call(1, "1"));
    client.read().await;
    for wrong in [id(2), "x".repeat(300), "%00".to_owned()] {
        let seen = client
            .post(&format!("invocation/{wrong}/response"), "", "evil")
            .await;
        assert_eq!(seen.status, 400, "{}", seen.body);
        assert!(seen.body.contains("InvalidRequestID"), "{}", seen.body);
    }
    let seen = client.next().await;
    assert_eq!(seen.status, 403, "a poll while an event is out");
    assert!(seen.body.contains("InvalidStateTransition"));
    let path = format!("invocation/{}/response", id(1));
    assert_eq!(client.post(&path, "", "right").await.status, 202);
    assert_eq!(client.post(&path, "", "again").await.status, 400);
    assert_eq!(body(answer.await.unwrap()).await.1, "right");
    assert_eq!(
        client.post("init/error", "", "{}").await.status,
        403,
        "init is over"
    );

    // A call that was given up: its answer, however late, is for nobody.
    let given_up = handle(&link, call(3, "3"));
    assert_eq!(client.next().await.body, "3");
    given_up.abort();
    let _ = given_up.await;
    assert_eq!(
        client
            .post(&format!("invocation/{}/response", id(3)), "", "late")
            .await
            .status,
        400
    );
    let last = handle(&link, call(4, "4"));
    assert_eq!(client.next().await.body, "4");
    assert_eq!(
        client
            .post(&format!("invocation/{}/response", id(4)), "", "fine")
            .await
            .status,
        202
    );
    assert_eq!(body(last.await.unwrap()).await.1, "fine");
}

#[tokio::test]
async fn an_answer_over_the_limit_is_the_functions_error() {
    let (link, mut client, _) = opened().await;
    let answer = handle(&link, call(1, "1"));
    client.read().await;
    let path = format!("invocation/{}/response", id(1));
    let seen = client.post(&path, "", &"x".repeat(1001)).await;
    assert_eq!(seen.status, 413);
    assert!(seen.body.contains("RequestEntityTooLarge"));
    let (error_type, payload) = body(answer.await.unwrap()).await;
    assert_eq!(error_type.as_deref(), Some("Function.ResponseSizeTooLarge"));
    assert!(String::from_utf8_lossy(&payload).contains("(1000 bytes)"));

    let answer = handle(&link, call(2, "2"));
    assert_eq!(client.next().await.status, 200, "the instance goes on");
    let path = format!("invocation/{}/response", id(2));
    assert_eq!(client.post(&path, "", &"x".repeat(1000)).await.status, 202);
    assert_eq!(body(answer.await.unwrap()).await.1.len(), 1000);
}

#[tokio::test]
async fn a_chunked_answer_with_an_error_in_its_trailers_is_an_error() {
    let (link, mut client, _) = opened().await;
    let answer = handle(&link, call(1, "1"));
    client.read().await;
    let request = format!(
        "POST /2018-06-01/runtime/invocation/{}/response HTTP/1.1\r\nHost: x\r\n\
         Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\
         Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n\
         3\r\nabc\r\n0\r\nLambda-Runtime-Function-Error-Type: Late\r\n\
         Lambda-Runtime-Function-Error-Body: e30=\r\n\r\n",
        id(1)
    );
    client.send(request.as_bytes()).await;
    assert_eq!(client.read().await.status, 202);
    assert_eq!(
        body(answer.await.unwrap()).await,
        (Some("Late".to_owned()), Bytes::from_static(b"{}"))
    );
}

/// The wires of an instance that speaks the Runtime API alone.
fn wires(runtime_api: OwnedFd) -> Wires {
    Wires {
        runtime_api,
        frames: None,
    }
}

#[tokio::test]
async fn init_errors_fail_the_opening() {
    let (at, fd) = listener();
    let contract = contract();
    let opening = tokio::spawn(async move {
        contract
            .open(wires(fd), Opening::default())
            .await
            .map(|_| ())
    });
    let mut client = Client::dial(at).await;
    let headers = "Lambda-Runtime-Function-Error-Type: Runtime.ImportModuleError\r\n";
    let seen = client
        .post("init/error", headers, "{\"errorMessage\":\"m\"}")
        .await;
    assert_eq!(seen.status, 202);
    assert_eq!(
        opening.await.unwrap(),
        Err(OpenError::Init {
            error_type: "Runtime.ImportModuleError".to_owned(),
            body: Bytes::from_static(b"{\"errorMessage\":\"m\"}"),
        })
    );
}

/// A line of a version with SnapStart whose runtime has sent this first, and its client.
async fn opened_with_halves(first: &[u8]) -> (Arc<dyn Link>, Client, SocketAddr) {
    let (at, fd) = listener();
    let mut client = Client::dial(at).await;
    client.send(first).await;
    let (name, value) = HALVES;
    let opening = Opening {
        env: vec![(name.to_owned(), value.to_owned())],
        ..Opening::default()
    };
    let link = contract().open(wires(fd), opening).await.unwrap();
    (link, client, at)
}

fn resume(link: &Arc<dyn Link>) -> JoinHandle<Result<(), OpenError>> {
    let link = link.clone();
    tokio::spawn(async move { link.resume(Opening::default()).await })
}

#[tokio::test]
async fn a_runtime_is_told_between_its_halves() {
    let (link, mut client, at) = opened_with_halves(RESTORE).await;
    let refused = link.prepare_image().await;
    assert!(
        matches!(&refused, Err(OpenError::Broken { reason }) if reason.contains("AWS_LAMBDA_EXEC_WRAPPER")),
        "{refused:?}"
    );
    let mut other = Client::dial(at).await;
    assert_eq!(other.next().await.status, 403, "it waits for a restore");
    assert_eq!(other.post("restore/error", "", "{}").await.status, 403);
    // A client that reconnects takes the older poll's place.
    other.send(RESTORE).await;
    assert_eq!(client.read().await.status, 403);
    let resumed = resume(&link);
    let seen = other.read().await;
    assert_eq!((seen.status, seen.body.as_str()), (200, ""));
    assert!(!resumed.is_finished(), "its second half goes on");
    client.send(NEXT).await;
    assert_eq!(resumed.await.unwrap(), Ok(()));
    assert!(link.until_ready().is_none());
    other.send(RESTORE).await;
    assert_eq!(other.read().await.status, 403, "it has come up");
    let answer = handle(&link, call(1, "1"));
    assert_eq!(client.read().await.body, "1");
    let path = format!("invocation/{}/response", id(1));
    assert_eq!(client.post(&path, "", "a").await.status, 202);
    answer.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_fails_after_a_restore_fails_the_opening() {
    let (link, mut client, _) = opened_with_halves(RESTORE).await;
    let resumed = resume(&link);
    assert_eq!(client.read().await.status, 200);
    let header = "Lambda-Runtime-Function-Error-Type: Runtime.AfterRestoreError\r\n";
    let body = "{\"errorMessage\":\"no\"}";
    assert_eq!(client.post("restore/error", header, body).await.status, 202);
    let failed = OpenError::Init {
        error_type: "Runtime.AfterRestoreError".to_owned(),
        body: Bytes::from_static(body.as_bytes()),
    };
    assert_eq!(resumed.await.unwrap(), Err(failed));
    // The line has closed, and says so to who tries again.
    let again = link.resume(Opening::default()).await;
    assert!(matches!(again, Err(OpenError::Broken { .. })), "{again:?}");
}

#[tokio::test]
async fn a_runtime_that_knows_no_restore_has_come_up() {
    let (link, mut client, _) = opened_with_halves(NEXT).await;
    assert!(link.prepare_image().await.is_err());
    assert_eq!(link.resume(Opening::default()).await, Ok(()));
    let answer = handle(&link, call(1, "1"));
    assert_eq!(client.read().await.body, "1");
    let path = format!("invocation/{}/response", id(1));
    client.post(&path, "", "a").await;
    answer.await.unwrap().unwrap();
    // Who has one half alone is not told of another.
    let (_link, _client, at) = opened().await;
    let mut other = Client::dial(at).await;
    other.send(RESTORE).await;
    assert_eq!(other.read().await.status, 403);
}

#[tokio::test]
async fn bad_requests_cost_their_sender_alone() {
    let (link, mut client, at) = opened().await;
    for (request, status) in [
        ("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (
            "POST /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n",
            405,
        ),
        (
            "GET /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\n\r\n",
            405,
        ),
        (
            "GET /2018-06-01/runtime/invocation//response HTTP/1.1\r\nHost: x\r\n\r\n",
            404,
        ),
        ("GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
    ] {
        let mut other = Client::dial(at).await;
        other.send(request.as_bytes()).await;
        assert_eq!(other.read().await.status, status, "{request}");
    }
    // A head over the limit, then a half request whose sender goes away.
    let mut other = Client::dial(at).await;
    let head = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(64 << 10));
    let _ = other.0.write_all(head.as_bytes()).await;
    // The refusal may be overtaken by the reset of a connection with unread bytes.
    let mut refusal = Vec::new();
    let _ = other.0.read_to_end(&mut refusal).await;
    assert!(refusal.is_empty() || refusal.starts_with(b"HTTP/1.1 431"));
    let answer = handle(&link, call(1, "1"));
    client.read().await;
    let mut half = Client::dial(at).await;
    let path = format!("/2018-06-01/runtime/invocation/{}/response", id(1));
    half.send(
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234").as_bytes(),
    )
    .await;
    drop(half);
    assert_eq!(
        client
            .post(&path["/2018-06-01/runtime/".len()..], "", "whole")
            .await
            .status,
        202
    );
    assert_eq!(body(answer.await.unwrap()).await.1, "whole");
}

#[tokio::test]
async fn a_newer_poll_takes_the_older_ones_place_and_connections_are_few() {
    let (link, mut first, at) = opened().await;
    let mut second = Client::dial(at).await;
    second
        .send(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!(first.read().await.status, 403);
    let third = Client::dial(at).await;
    // A fourth connection is not served while three are open.
    let mut fourth = Client::dial(at).await;
    fourth
        .send(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let mut byte = [0];
    let unserved = tokio::time::timeout(Duration::from_millis(50), fourth.0.peek(&mut byte)).await;
    assert!(unserved.is_err());
    drop(third);
    assert_eq!(fourth.read().await.status, 404);
    let answer = handle(&link, call(1, "1"));
    assert_eq!(second.read().await.body, "1");
    drop(link);
    drop(answer);
}

#[tokio::test]
async fn dropping_the_link_ends_its_connections() {
    let (link, mut client, _) = opened().await;
    drop(link);
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).await.unwrap();
}

/// The same with so much room for answers, and an event that is out.
async fn running_in(
    room_bytes: usize,
) -> (
    Arc<Answers>,
    (Arc<dyn Link>, Client, SocketAddr),
    JoinHandle<Result<GuestAnswer, LinkError>>,
) {
    let answers = room_of(room_bytes);
    let limits = RuntimeLimits::for_payload(6 << 20);
    let mut opened = opened_by(LambdaRuntime::new(limits, answers.clone())).await;
    let running = handle(&opened.0, call(1, "1"));
    opened.1.read().await;
    (answers, opened, running)
}

/// The head of an answer to event 1.
fn head(how_long: &str) -> String {
    let id = id(1);
    format!(
        "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\n{how_long}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_large_answer_stays_with_its_guest_until_there_is_room() {
    for how_long in [
        &*format!("Content-Length: {MIB}"),
        "Transfer-Encoding: chunked",
    ] {
        let (answers, (link, mut client, _), running) = running_in(12 * MIB).await;
        let tenant = call(1, "").function.tenant;
        let before = answers.ask(Whose::signed(&tenant), 6 << 20).await;
        let mut request = head(how_long).into_bytes();
        if how_long.starts_with('C') {
            request.extend(vec![b'x'; MIB]);
        } else {
            request.extend(format!("{MIB:x}\r\n").bytes());
            request.extend(vec![b'x'; MIB]);
            request.extend(b"\r\n0\r\n\r\n");
        }
        let saying = tokio::spawn(async move {
            client.send(&request).await;
            client.read().await.status
        });
        a_while().await;
        assert!(!running.is_finished() && !saying.is_finished());
        assert_eq!((answers.held_bytes(), answers.waited()), (6 << 20, 1));
        assert!(link.answer_waits());
        drop(before);
        assert_eq!(saying.await.unwrap(), 202);
        let answer = running.await.unwrap().unwrap();
        assert!(!link.answer_waits());
        assert_eq!(answers.held_bytes(), MIB as u64);
        assert_eq!(body(Ok(answer)).await.1.len(), MIB);
        assert_eq!(answers.held_bytes(), 0);
    }
}

#[tokio::test]
async fn what_is_free_or_dropped_waits_for_no_room() {
    for (size, error_type) in [
        (64 << 10, None),
        (6 * MIB + 101, Some("Function.ResponseSizeTooLarge")),
    ] {
        let (answers, (_link, mut client, _), running) = running_in(MIB).await;
        let tenant = call(1, "").function.tenant;
        let _before = answers.ask(Whose::signed(&tenant), MIB as u64).await;
        let path = format!("invocation/{}/response", id(1));
        let status = client.post(&path, "", &"x".repeat(size)).await.status;
        assert_eq!(status, if error_type.is_some() { 413 } else { 202 });
        assert_eq!(body(running.await.unwrap()).await.0.as_deref(), error_type);
        assert_eq!((answers.held_bytes(), answers.waited()), (MIB as u64, 0));
    }
}

#[tokio::test]
async fn an_answer_that_comes_slowly_ends_its_call_once_others_wait() {
    for (how_long, room) in [
        (&*format!("Content-Length: {MIB}"), MIB),
        ("Transfer-Encoding: chunked", 6 * MIB + 100),
    ] {
        let (answers, (link, mut client, _), running) = running_in(2 * room).await;
        let mut request = head(how_long).into_bytes();
        if how_long.starts_with('C') {
            request.extend([b'x'; 1000]);
        } else {
            request.extend(format!("{MIB:x}\r\n").bytes());
            request.extend(vec![b'x'; 100 << 10]);
        }
        client.send(&request).await;
        until_held(&answers, room).await;
        a_while().await;
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(!running.is_finished(), "nobody waits");
        let whose = Whose::signed(&call(1, "").function.tenant);
        let waiting = tokio::spawn(answers.ask(whose, room as u64));
        let ended = running.await.unwrap();
        let came = if how_long.starts_with('C') {
            1000
        } else {
            100 << 10
        };
        assert!(
            matches!(&ended, Err(LinkError::TooSlow { came_bytes, within })
                if *came_bytes == came && within.as_secs() >= 600),
            "{ended:?}"
        );
        tokio::time::resume();
        assert_eq!(client.read().await.status, 400);
        drop(waiting.await.unwrap());
        assert_eq!(answers.held_bytes(), 0);
        assert!(!link.answer_waits());
    }
}

#[tokio::test]
async fn of_many_answers_to_one_event_one_has_room() {
    let (answers, (_link, mut client, at), running) = running_in(512 * MIB).await;
    let head = head(&format!("Content-Length: {MIB}"));
    client.send(head.as_bytes()).await;
    until_held(&answers, MIB).await;
    let mut others = Vec::new();
    for _ in 0..7 {
        let mut other = Client::dial(at).await;
        other.send(head.as_bytes()).await;
        others.push(other);
    }
    a_while().await;
    assert_eq!((answers.held_bytes(), answers.waited()), (MIB as u64, 0));
    // Whoever breaks off leaves the room to the next.
    drop(client);
    a_while().await;
    assert_eq!(answers.held_bytes(), MIB as u64);
    // A small one needs none, and once the event is answered nobody else does.
    let mut last = others.pop().unwrap();
    let path = format!("invocation/{}/response", id(1));
    drop(last);
    last = Client::dial(at).await;
    assert_eq!(last.post(&path, "", "small").await.status, 202);
    assert_eq!(body(running.await.unwrap()).await.1, "small");
    for mut other in others {
        assert_eq!(other.read().await.status, 400);
    }
    assert_eq!(answers.held_bytes(), 0);
}

#[tokio::test]
async fn a_call_that_is_given_up_gives_its_room_back() {
    let (answers, (_link, mut client, _), running) = running_in(2 * MIB).await;
    client
        .send(head(&format!("Content-Length: {MIB}")).as_bytes())
        .await;
    until_held(&answers, MIB).await;
    running.abort();
    let _ = running.await;
    assert_eq!(client.read().await.status, 400);
    assert_eq!(answers.held_bytes(), 0);

    let (answers, (_link, mut client, _), running) = running_in(2 * MIB).await;
    let tenant = call(1, "").function.tenant;
    let before = answers.ask(Whose::signed(&tenant), MIB as u64).await;
    client
        .send(head(&format!("Content-Length: {MIB}")).as_bytes())
        .await;
    a_while().await;
    assert_eq!(answers.waited(), 1);
    running.abort();
    let _ = running.await;
    assert_eq!(client.read().await.status, 400);
    drop(before);
    assert_eq!(answers.held_bytes(), 0);
}
