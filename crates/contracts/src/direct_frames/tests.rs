//! The contract over a real socket, with a guest that writes its frames by hand.

use super::*;
use bytes::Bytes;
use freehold_domain::{
    ids::{FunctionRef, InvocationId, Qualifier},
    limits::Limits,
    time::Wall,
    trace::TraceHeader,
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::JoinHandle,
};
use uuid::Uuid;

mod room;

const HELLO: u8 = 1;
const READY: u8 = 2;
const INIT_ERROR: u8 = 3;
const ANSWER: u8 = 4;
const ERROR: u8 = 5;
const PIECE: u8 = 6;
const END: u8 = 7;
const REHEARSED: u8 = 8;
const PREPARED: u8 = 9;
const UNFIT: u8 = 10;
const CODE: u8 = 11;
const LAST: u8 = 1;
const MORE: u8 = 2;

/// The other end, written by hand.
struct Guest(UnixStream);

impl Guest {
    /// The next frame: its kind and what follows the head.
    async fn read(&mut self) -> (u8, Vec<u8>) {
        let (kind, _, rest) = self.read_flagged().await;
        (kind, rest)
    }
    /// The same with the frame's flags.
    async fn read_flagged(&mut self) -> (u8, u8, Vec<u8>) {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).await.unwrap();
        let length = u32::from_le_bytes(head[..4].try_into().unwrap());
        let mut rest = vec![0; length as usize];
        self.0.read_exact(&mut rest).await.unwrap();
        (head[4], head[5], rest)
    }
    async fn say(&mut self, kind: u8, flags: u8, text: u16, rest: &[&[u8]]) {
        let rest = rest.concat();
        let mut frame = (rest.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&text.to_le_bytes());
        frame.extend_from_slice(&rest);
        self.0.write_all(&frame).await.unwrap();
    }
    async fn answers(&mut self, of: u128, body: &[u8]) {
        self.say(ANSWER, 0, 0, &[id(of).as_bytes(), body]).await;
    }
}

fn contract() -> DirectFrames {
    let limits = RuntimeLimits {
        answer_bytes: 1000,
        error_bytes: 1000,
        header_bytes: 8 << 10,
        connections: 3,
    };
    DirectFrames::new(limits, room())
}

/// More room than anybody needs.
fn room() -> Arc<Answers> {
    Answers::new(Limits::default().into(), Arc::default())
}

fn wires() -> (Guest, Wires) {
    let (host, guest) = UnixStream::pair().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wires = Wires {
        runtime_api: listener.into(),
        frames: Some(host.into_std().unwrap().into()),
    };
    (Guest(guest), wires)
}

fn call(id: u128, body: &[u8]) -> GuestCall {
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
        body: Body::full(Bytes::copy_from_slice(body)),
    }
}

fn id(of: u128) -> String {
    Uuid::from_u128(of).to_string()
}

fn opening(variables: &[(&str, &str)]) -> Opening {
    Opening {
        env: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Opening::default()
    }
}

/// A line whose runtime is ready, and its guest.
async fn opened() -> (Arc<dyn Link>, Guest) {
    let (mut guest, wires) = wires();
    guest.say(READY, 0, 1, &[]).await;
    let link = contract()
        .open(wires, opening(&[("A", "1"), ("B", "x=y")]))
        .await
        .unwrap();
    assert_eq!(guest.read().await, (2, b"A=1\0B=x=y".to_vec()));
    (link, guest)
}

fn handle(link: &Arc<dyn Link>, call: GuestCall) -> JoinHandle<Result<GuestAnswer, LinkError>> {
    let link = link.clone();
    tokio::spawn(async move { link.handle(call).await })
}

async fn body(answer: Result<GuestAnswer, LinkError>) -> (Option<String>, Bytes) {
    match answer.unwrap() {
        GuestAnswer::Response {
            content_type, body, ..
        } => (content_type, body.collect(u64::MAX).await.unwrap().0),
        GuestAnswer::Error {
            error_type, body, ..
        } => (error_type.map(|e| format!("!{e}")), body),
    }
}

#[tokio::test]
async fn an_event_goes_out_and_its_answer_comes_back() {
    let (link, mut guest) = opened().await;
    let running = handle(&link, call(1, b"{\"k\":1}"));
    let (kind, event) = guest.read().await;
    assert_eq!(kind, 3);
    assert_eq!(&event[..36], id(1).as_bytes());
    assert_eq!(event[36..44], 1_700_000_000_123_u64.to_le_bytes());
    let arn = b"arn:aws:lambda:us-east-1:111111111111:function:hello:7";
    let trace = TraceHeader::new_root(Uuid::from_u128(1)).to_string();
    assert_eq!(event[44..46], (arn.len() as u16).to_le_bytes());
    assert_eq!(event[46..48], (trace.len() as u16).to_le_bytes());
    assert_eq!(event[48..52], 14_u32.to_le_bytes());
    let rest = [arn, trace.as_bytes(), b"{\"custom\": {}}", b"{\"k\":1}"].concat();
    assert_eq!(event[52..], rest);
    let text = b"text/plain";
    guest
        .say(ANSWER, 0, 10, &[id(1).as_bytes(), text, b"hi"])
        .await;
    let (content_type, answer) = body(running.await.unwrap()).await;
    assert_eq!(
        (content_type.as_deref(), &*answer),
        (Some("text/plain"), &b"hi"[..])
    );

    let running = handle(&link, call(2, b""));
    guest.read().await;
    guest
        .say(ERROR, 0, 4, &[id(2).as_bytes(), b"Oops", b"{}"])
        .await;
    let (error, answer) = body(running.await.unwrap()).await;
    assert_eq!((error.as_deref(), &*answer), (Some("!Oops"), &b"{}"[..]));
    assert!(link.until_ready().is_none());
}

#[tokio::test]
async fn large_events_and_answers_pass_each_other() {
    let (mut guest, wires) = wires();
    guest.say(READY, 0, 1, &[]).await;
    let contract = DirectFrames::new(RuntimeLimits::for_payload(6 << 20), room());
    let link = contract.open(wires, Opening::default()).await.unwrap();
    guest.read().await;
    // Given up, and answered only while the next event is on its way: neither waits for the other.
    let event = vec![b'e'; 3 << 20];
    let first = handle(&link, call(1, &event));
    guest.read().await;
    first.abort();
    let _ = first.await;
    let second = handle(&link, call(2, &event));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answer = vec![b'a'; 5 << 20];
    guest.answers(1, &answer).await;
    guest.read().await;
    guest.answers(2, &answer).await;
    assert_eq!(body(second.await.unwrap()).await.1, answer);
}

#[tokio::test]
async fn an_answer_to_a_dropped_call_is_dropped() {
    let (link, mut guest) = opened().await;
    let first = handle(&link, call(1, b"1"));
    guest.read().await;
    first.abort();
    let _ = first.await;
    let ready = link.until_ready().expect("not ready");
    let late = async {
        guest.answers(1, b"late").await;
    };
    tokio::join!(ready, late);
    assert!(link.until_ready().is_none());
    let second = handle(&link, call(2, b"2"));
    guest.read().await;
    guest.answers(2, b"2").await;
    assert_eq!(&*body(second.await.unwrap()).await.1, b"2");
}

#[tokio::test]
async fn an_event_that_was_half_sent_is_sent_to_its_end() {
    let (link, mut guest) = opened().await;
    let event = vec![b'x'; 2 << 20];
    let first = handle(&link, call(1, &event));
    // It fits into no socket's buffer, and nobody reads.
    tokio::time::sleep(Duration::from_millis(20)).await;
    first.abort();
    let _ = first.await;
    let second = handle(&link, call(2, b"2"));
    assert!(guest.read().await.1.ends_with(&event));
    assert!(guest.read().await.1.ends_with(b"2"));
    guest.answers(1, b"late").await;
    guest.answers(2, b"2").await;
    assert_eq!(&*body(second.await.unwrap()).await.1, b"2");
}

#[tokio::test]
async fn whoever_says_last_gets_no_event() {
    let (link, mut guest) = opened().await;
    let running = handle(&link, call(1, b"1"));
    guest.read().await;
    guest
        .say(ERROR, LAST, 0, &[id(1).as_bytes(), b"the end"])
        .await;
    running.await.unwrap().unwrap();
    let ready = link.until_ready().expect("it is about to end");
    drop(guest);
    ready.await;
    assert_eq!(
        link.handle(call(2, b"")).await.unwrap_err(),
        LinkError::Closed
    );
}

#[tokio::test]
async fn an_answer_over_the_limit_is_the_functions_error() {
    let (link, mut guest) = opened().await;
    for (number, size, fits) in [(1, 1000, true), (2, 1001, false), (3, 100_000, false)] {
        let running = handle(&link, call(number, b""));
        guest.read().await;
        guest.answers(number, &vec![b'x'; size]).await;
        let (what, answer) = body(running.await.unwrap()).await;
        if fits {
            assert_eq!(answer.len(), size);
        } else {
            assert_eq!(what.as_deref(), Some("!Function.ResponseSizeTooLarge"));
            let text = String::from_utf8(answer.to_vec()).unwrap();
            assert!(text.contains("(1000 bytes)"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_limit_that_changes_holds_for_the_next_answer_of_an_open_line() {
    let limits = Live::new(RuntimeLimits::for_payload(900));
    let (mut guest, wires) = wires();
    guest.say(READY, 0, 1, &[]).await;
    let contract = DirectFrames::new(limits.clone(), room());
    let link = contract.open(wires, Opening::default()).await.unwrap();
    guest.read().await;
    for (number, payload_bytes, fits) in [(1, 900, true), (2, 899, false), (3, 901, true)] {
        limits.set(RuntimeLimits::for_payload(payload_bytes));
        let running = handle(&link, call(number, b""));
        guest.read().await;
        guest.answers(number, &[b'x'; 1000]).await;
        let (what, answer) = body(running.await.unwrap()).await;
        assert_eq!(answer.len() == 1000, fits, "{number}: {what:?}");
        let refused = what.as_deref() == Some("!Function.ResponseSizeTooLarge");
        assert_eq!(refused, !fits, "{number}");
    }
}

#[tokio::test]
async fn a_streamed_answer_is_joined_and_may_fail_half_way() {
    let (link, mut guest) = opened().await;
    let mut go = async |number: u128, pieces: &[&[u8]], error: Option<&[u8]>| {
        let running = handle(&link, call(number, b""));
        guest.read().await;
        let id = id(number);
        guest
            .say(ANSWER, MORE, 1, &[id.as_bytes(), b"t", b"begin "])
            .await;
        for piece in pieces {
            guest.say(PIECE, 0, 0, &[piece]).await;
        }
        match error {
            None => guest.say(END, 0, 0, &[]).await,
            Some(error) => guest.say(ERROR, 0, 1, &[id.as_bytes(), b"E", error]).await,
        }
        body(running.await.unwrap()).await
    };
    let (content_type, answer) = go(1, &[b"middle", b" end"], None).await;
    assert_eq!(
        (content_type.as_deref(), &*answer),
        (Some("t"), &b"begin middle end"[..])
    );
    assert_eq!(
        go(2, &[b"x"], Some(b"{}")).await,
        (Some("!E".into()), Bytes::from("{}"))
    );
    let (what, _) = go(3, &[&[b'x'; 600], &[b'x'; 600]], None).await;
    assert_eq!(what.as_deref(), Some("!Function.ResponseSizeTooLarge"));
    let (_, answer) = go(4, &[], None).await;
    assert_eq!(&*answer, b"begin ");
}

#[tokio::test]
async fn whoever_speaks_out_of_turn_has_broken_the_contract() {
    let check = async |says: &str, frames: &[(u8, u8, u16, &[&[u8]])]| {
        let (link, mut guest) = opened().await;
        let running = handle(&link, call(1, b""));
        guest.read().await;
        for (kind, flags, text, rest) in frames {
            guest.say(*kind, *flags, *text, rest).await;
        }
        let error = match running.await.unwrap() {
            Err(error) => error,
            // The fault came behind a good answer: it is the next event that hears of it.
            Ok(_) => link.handle(call(2, b"")).await.unwrap_err(),
        };
        let LinkError::Broken { reason } = error else {
            panic!("{error:?}")
        };
        assert!(reason.contains(says), "{reason}");
        // And so it stays.
        let again = link.handle(call(3, b"")).await.unwrap_err();
        assert_eq!(again, LinkError::Broken { reason });
        assert!(link.until_ready().is_none());
    };
    let (one, two) = (id(1), id(2));
    let (one, two) = (one.as_bytes(), two.as_bytes());
    check("for an event that is not out", &[(ANSWER, 0, 0, &[two])]).await;
    check("for an event that is not out", &[(ANSWER, MORE, 0, &[two])]).await;
    check("said ready where nobody asked", &[(READY, 0, 1, &[])]).await;
    check("said an init error", &[(INIT_ERROR, 0, 0, &[b"x"])]).await;
    check("said prepared", &[(PREPARED, 0, 0, &[])]).await;
    check("said a piece of an answer", &[(PIECE, 0, 0, &[b"x"])]).await;
    check("said the end of an answer", &[(END, 0, 0, &[])]).await;
    check("no frame has kind 77", &[(77, 0, 0, &[])]).await;
    let twice: &[(u8, u8, u16, &[&[u8]])] =
        &[(ANSWER, MORE, 0, &[one]), (ANSWER, 0, 0, &[one, b"again"])];
    check("in the middle of an answer", twice).await;
    let twice: &[(u8, u8, u16, &[&[u8]])] =
        &[(ANSWER, 0, 0, &[one, b"1"]), (ANSWER, 0, 0, &[one, b"2"])];
    check("", twice).await;
}

#[tokio::test]
async fn the_end_of_the_line_is_not_a_fault() {
    let (link, mut guest) = opened().await;
    let running = handle(&link, call(1, b"unread"));
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(guest);
    assert_eq!(running.await.unwrap().unwrap_err(), LinkError::Closed);
    // An answer that was sent before the end counts.
    let (link, mut other) = opened().await;
    let running = handle(&link, call(1, b"x"));
    other.read().await;
    other.answers(1, b"last words").await;
    drop(other);
    assert_eq!(&*body(running.await.unwrap()).await.1, b"last words");
    guest = opened().await.1;
    drop(guest);
}

#[tokio::test]
async fn a_runtime_that_answers_nothing_is_handed_little() {
    let (link, _guest) = opened().await;
    for number in 0..8 {
        let given_up = handle(&link, call(number, b""));
        tokio::task::yield_now().await;
        given_up.abort();
        let _ = given_up.await;
    }
    let error = link.handle(call(9, b"")).await.unwrap_err();
    assert!(matches!(error, LinkError::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn init_errors_and_other_versions_fail_the_opening() {
    let check = async |kind, text: u16, rest: &[&[u8]]| {
        let (mut guest, wires) = wires();
        guest.say(kind, 0, text, rest).await;
        let opened = contract().open(wires, Opening::default()).await;
        opened.map(drop).unwrap_err()
    };
    let failed = check(INIT_ERROR, 4, &[b"Oops", b"{}"]).await;
    let (error_type, body) = ("Oops".to_owned(), Bytes::from("{}"));
    assert_eq!(failed, OpenError::Init { error_type, body });
    let failed = check(INIT_ERROR, 0, &[&[b'x'; 5000]]).await;
    let (error_type, body) = ("Runtime.Unknown".to_owned(), Bytes::new());
    assert_eq!(failed, OpenError::Init { error_type, body });
    let broken = check(READY, 2, &[]).await;
    assert!(broken.to_string().contains("version 2"), "{broken}");
    let broken = check(ANSWER, 0, &[id(1).as_bytes()]).await;
    assert!(broken.to_string().contains("nobody asked"), "{broken}");
}

#[tokio::test]
async fn a_booted_runtime_is_rehearsed_prepared_and_begun() {
    let (mut guest, wires) = wires();
    let contract = contract();
    guest.say(HELLO, 0, 1, &[]).await;
    let booted = contract.boot(wires).expect("frames").await.unwrap();
    assert_eq!(guest.read().await, (1, Vec::new()));
    guest.say(REHEARSED, 0, 0, &[]).await;
    let gone_through = booted.rehearse(Rehearsal::Full).await.unwrap();
    assert_eq!(gone_through, Rehearsal::Full);
    assert_eq!(guest.read_flagged().await, (4, 0, Vec::new()));
    guest.say(REHEARSED, 0, 0, &[]).await;
    let gone_through = booted.rehearse(Rehearsal::Brief).await.unwrap();
    assert_eq!(gone_through, Rehearsal::Full, "it took no notice");
    assert_eq!(guest.read_flagged().await, (4, 1, Vec::new()));
    guest.say(REHEARSED, 1, 0, &[]).await;
    let gone_through = booted.rehearse(Rehearsal::Brief).await.unwrap();
    assert_eq!(gone_through, Rehearsal::Brief);
    guest.read().await;
    guest.say(UNFIT, 0, 0, &[b"2 threads"]).await;
    let unfit = booted.prepare_image().await.unwrap_err();
    assert!(unfit.to_string().contains("2 threads"), "{unfit}");
    guest.read().await;
    guest.say(PREPARED, 0, 0, &[]).await;
    booted.prepare_image().await.unwrap();
    assert_eq!(guest.read().await, (5, Vec::new()));
    guest.say(READY, 0, 1, &[]).await;
    let link = booted.begin(opening(&[("A", "1")])).await.unwrap();
    assert_eq!(guest.read().await, (2, b"A=1".to_vec()));
    guest.say(INIT_ERROR, 0, 1, &[b"H", b"a hook failed"]).await;
    let failed = link.prepare_image().await.unwrap_err();
    assert!(matches!(failed, OpenError::Init { error_type, .. } if error_type == "H"));
    guest.read().await;
    let running = handle(&link, call(1, b""));
    guest.read().await;
    guest.answers(1, b"1").await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn code_is_handed_over_where_it_is_wanted() {
    let wanted = Opening {
        code: CompiledCode::Wanted,
        ..opening(&[("A", "1")])
    };
    let (mut guest, wires) = wires();
    guest.say(CODE, 0, 0, &[b"comp"]).await;
    guest.say(CODE, 0, 0, &[b"iled"]).await;
    guest.say(READY, 0, 1, &[]).await;
    let link = contract().open(wires, wanted.clone()).await.unwrap();
    assert_eq!(guest.read_flagged().await, (2, 1, b"A=1".to_vec()));
    assert_eq!(link.take_code(), Some(Bytes::from_static(b"compiled")));
    assert_eq!(link.take_code(), None, "it is one's who took it");
    // Once it is ready it may not any more.
    let running = handle(&link, call(1, b""));
    guest.read().await;
    guest.say(CODE, 0, 0, &[b"late"]).await;
    let broken = running.await.unwrap().unwrap_err();
    assert!(broken.to_string().contains("announced 4"), "{broken}");
    assert_eq!(link.take_code(), None);
    // Nobody has to.
    let (mut guest, wires) = self::wires();
    guest.say(READY, 0, 1, &[]).await;
    let link = contract().open(wires, wanted.clone()).await.unwrap();
    assert_eq!(link.take_code(), None);
    // Who fails has handed nothing over.
    let (mut guest, wires) = self::wires();
    guest.say(CODE, 0, 0, &[b"compiled"]).await;
    guest.say(INIT_ERROR, 0, 1, &[b"E"]).await;
    let failed = contract().open(wires, wanted).await.map(drop);
    assert!(matches!(failed, Err(OpenError::Init { .. })), "{failed:?}");
}

#[tokio::test]
async fn nobody_is_sent_code_that_was_not_asked_for_nor_more_than_was() {
    let check = async |opening: Opening, pieces: &[usize], says: &str| {
        let (mut guest, wires) = wires();
        let pieces = pieces.to_vec();
        let told = tokio::spawn(async move {
            for bytes in pieces {
                // The line may be closed by now.
                let head = (bytes as u32).to_le_bytes();
                let frame = [&head[..], &[CODE, 0, 0, 0], &vec![b'x'; bytes]].concat();
                let _ = guest.0.write_all(&frame).await;
            }
        });
        let broken = contract().open(wires, opening).await.map(drop).unwrap_err();
        assert!(broken.to_string().contains(says), "{broken}");
        told.abort();
    };
    check(opening(&[]), &[0], "said code where nobody asked").await;
    check(opening(&[]), &[1], "announced 1 bytes").await;
    let wanted = || Opening {
        code: CompiledCode::Wanted,
        ..opening(&[])
    };
    check(wanted(), &[16 << 20, 1], "announced 1 bytes").await;
    let whole = (16 << 20) + 1;
    check(wanted(), &[whole], "announced 16777217 bytes").await;
    let empty = vec![0; (16 << 10) + 1];
    check(wanted(), &empty, "too many pieces").await;
}

#[tokio::test]
async fn an_answer_has_an_end_of_its_pieces() {
    const PIECES: usize = 1 << 20;
    for (pieces, breaks) in [(PIECES, false), (PIECES + 1, true)] {
        let (link, mut guest) = opened().await;
        let running = handle(&link, call(1, b""));
        guest.read().await;
        guest.say(ANSWER, MORE, 0, &[id(1).as_bytes()]).await;
        // The line may be closed by then.
        let all = [0, 0, 0, 0, PIECE, 0, 0, 0].repeat(pieces);
        let _ = guest.0.write_all(&all).await;
        let _ = guest.0.write_all(&[0, 0, 0, 0, END, 0, 0, 0]).await;
        let answer = running.await.unwrap();
        assert_eq!(answer.is_err(), breaks, "{answer:?}");
    }
}

#[tokio::test]
async fn code_is_given_before_the_begin() {
    // More than a socket holds at once.
    let code = Bytes::from(vec![b'x'; 3 << 20]);
    let given = Opening {
        code: CompiledCode::Given(code.clone()),
        ..opening(&[("A", "1")])
    };
    let (mut guest, wires) = wires();
    let heard = tokio::spawn(async move {
        let frames = (guest.read().await, guest.read_flagged().await);
        guest.say(READY, 0, 1, &[]).await;
        (guest, frames)
    });
    let link = contract().open(wires, given).await.unwrap();
    let (_guest, (first, second)) = heard.await.unwrap();
    assert!(first == (8, code.to_vec()), "{} bytes", first.1.len());
    assert_eq!(second, (2, 0, b"A=1".to_vec()));
    assert_eq!(link.take_code(), None);
}

#[tokio::test]
async fn a_thawed_runtime_resumes() {
    let (mut guest, wires) = wires();
    let thawed = contract().thawed(wires).expect("frames");
    guest.say(READY, 0, 1, &[]).await;
    let link = thawed.resume(opening(&[("A", "2")])).await.unwrap();
    assert_eq!(guest.read().await, (6, b"A=2".to_vec()));
    // One that was prepared, and goes on as it is.
    guest.say(PREPARED, 0, 0, &[]).await;
    link.prepare_image().await.unwrap();
    guest.read().await;
    guest.say(READY, 0, 1, &[]).await;
    link.resume(opening(&[("A", "3")])).await.unwrap();
    assert_eq!(guest.read().await, (6, b"A=3".to_vec()));
    // Without a frames socket nobody can be told later what he is to be.
    let (_guest, mut none) = self::wires();
    none.frames = None;
    assert!(contract().boot(none).is_none());
    let (_guest, mut none) = self::wires();
    none.frames = None;
    assert!(contract().thawed(none).is_none());
}

#[tokio::test]
async fn a_wrapped_runtime_is_spoken_to_over_the_public_api() {
    let (guest, wires) = wires();
    let contract = contract();
    let env = opening(&[("AWS_LAMBDA_EXEC_WRAPPER", "/opt/wrapper")]);
    let listener = std::net::TcpListener::from(wires.runtime_api.try_clone().unwrap());
    let at = listener.local_addr().unwrap();
    let dialing = tokio::spawn(async move {
        let mut client = tokio::net::TcpStream::connect(at).await.unwrap();
        let next = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
        client.write_all(next).await.unwrap();
        client
    });
    let link = contract.open(wires, env.clone()).await.unwrap();
    assert!(link.until_ready().is_none());
    // It is not carried, says why, and has come up without that.
    let refused = link.prepare_image().await;
    assert!(
        matches!(&refused, Err(OpenError::Broken { reason }) if reason.contains("AWS_LAMBDA_EXEC_WRAPPER")),
        "{refused:?}"
    );
    assert_eq!(link.resume(env).await, Ok(()));
    drop((dialing.await.unwrap(), guest));
}

/// A line whose runtime is ready and said so with these flags, and its guest.
async fn opened_with(flags: u8) -> (Arc<dyn Link>, Guest) {
    let (mut guest, wires) = wires();
    guest.say(READY, flags, 1, &[]).await;
    let link = contract().open(wires, opening(&[])).await.unwrap();
    assert_eq!(guest.read().await.0, 2);
    (link, guest)
}

#[tokio::test]
async fn an_event_of_ours_is_told_from_the_functions_and_leaves_the_line_as_it_was() {
    let (link, mut guest) = opened_with(2).await;
    let rehearsing = {
        let link = link.clone();
        tokio::spawn(async move { link.rehearse(call(1, b"{}")).unwrap().await })
    };
    let (kind, ours) = guest.read().await;
    assert_eq!(kind, 7);
    guest.answers(1, b"{}").await;
    assert_eq!(rehearsing.await.unwrap(), Ok(()));
    assert!(link.until_ready().is_none());

    let running = handle(&link, call(1, b"{}"));
    let (kind, event) = guest.read().await;
    assert_eq!(kind, 3);
    assert_eq!(ours, event, "but for its kind it is an event");
    guest.answers(1, b"1").await;
    assert_eq!(body(running.await.unwrap()).await.1, "1");
}

#[tokio::test]
async fn who_cannot_tell_an_event_of_ours_gets_none() {
    for flags in [0, 1] {
        let (link, _guest) = opened_with(flags).await;
        assert!(link.rehearse(call(1, b"{}")).is_none(), "{flags}");
    }
}

#[tokio::test]
async fn an_event_of_ours_that_ends_in_an_error_or_in_nothing_failed() {
    let (link, mut guest) = opened_with(2).await;
    let rehearsal = link.rehearse(call(1, b"{}")).unwrap();
    let says = async {
        guest.read().await;
        guest
            .say(ERROR, 0, 4, &[id(1).as_bytes(), b"Oops", b"{}"])
            .await;
    };
    let (went, ()) = tokio::join!(rehearsal, says);
    assert!(matches!(went, Err(LinkError::Broken { reason }) if reason.contains("Oops")));

    let (link, mut guest) = opened_with(2).await;
    let rehearsal = link.rehearse(call(2, b"{}")).unwrap();
    let leaves = async move {
        guest.read().await;
    };
    let (went, ()) = tokio::join!(rehearsal, leaves);
    assert_eq!(went, Err(LinkError::Closed));
}
