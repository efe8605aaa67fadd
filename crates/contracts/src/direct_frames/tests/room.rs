//! Large answers, and the room that they wait for.

use super::*;
use crate::waits::{a_while, until_held};
use freehold_domain::answers::{Room, Whose};

const MIB: usize = 1 << 20;

/// A line whose answers have so much room, and whose guest may say much.
async fn opened_in(room_bytes: usize) -> (Arc<dyn Link>, Guest, Arc<Answers>) {
    let limits = Limits {
        bytes_in_flight: room_bytes as u64,
        ..Limits::default()
    };
    let answers = Answers::new(limits.into(), Arc::default());
    let contract = DirectFrames::new(RuntimeLimits::for_payload(6 << 20), answers.clone());
    let (mut guest, wires) = wires();
    guest.say(READY, 0, 1, &[]).await;
    let link = contract.open(wires, Opening::default()).await.unwrap();
    guest.read().await;
    (link, guest, answers)
}

fn room_of(answer: &GuestAnswer) -> Option<&Room> {
    match answer {
        GuestAnswer::Response { room, .. } | GuestAnswer::Error { room, .. } => room.as_ref(),
    }
}

#[tokio::test]
async fn an_answer_that_comes_slowly_ends_its_line_once_others_wait() {
    let (link, mut guest, answers) = opened_in(2 * MIB).await;
    let running = handle(&link, call(1, b""));
    guest.read().await;
    let frame = (MIB as u32).to_le_bytes();
    let begun = [
        &frame[..],
        &[ANSWER, 0, 0, 0],
        id(1).as_bytes(),
        &[b'x'; 1000],
    ]
    .concat();
    guest.0.write_all(&begun).await.unwrap();
    while answers.held_bytes() == 0 {
        a_while().await;
    }
    a_while().await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!running.is_finished(), "nobody waits");
    let whose = Whose::signed(&call(1, b"").function.tenant);
    let waiting = tokio::spawn(answers.ask(whose, MIB as u64));
    let ended = running.await.unwrap();
    assert!(
        matches!(&ended, Err(LinkError::TooSlow { came_bytes, within })
            if (1000..1100).contains(came_bytes) && within.as_secs() >= 600),
        "{ended:?}"
    );
    drop(waiting.await.unwrap());
    assert_eq!(answers.held_bytes(), 0);
    // Of no further use.
    let again = link.handle(call(2, b"")).await;
    assert!(matches!(again, Err(LinkError::TooSlow { .. })));
}

/// It is over its limit with its second piece.
#[tokio::test]
async fn a_streamed_answer_that_is_dropped_holds_no_room() {
    let (link, mut guest, answers) = opened_in(12 * MIB).await;
    let running = handle(&link, call(1, b""));
    guest.read().await;
    guest.say(ANSWER, MORE, 0, &[id(1).as_bytes()]).await;
    guest.say(PIECE, 0, 0, &[&vec![b'x'; 100 << 10]]).await;
    guest.say(PIECE, 0, 0, &[b"y"]).await;
    until_held(&answers, 6 * MIB + 100).await;
    guest.say(PIECE, 0, 0, &[&vec![b'x'; 6 * MIB]]).await;
    until_held(&answers, 0).await;
    guest.say(PIECE, 0, 0, &[&vec![b'x'; 1 << 10]]).await;
    guest.say(END, 0, 0, &[]).await;
    let (what, _) = body(running.await.unwrap()).await;
    assert_eq!(what.as_deref(), Some("!Function.ResponseSizeTooLarge"));
    assert_eq!(answers.held_bytes(), 0);
}

#[tokio::test]
async fn a_large_answer_stays_with_its_guest_until_there_is_room() {
    let (link, mut guest, answers) = opened_in(2 * MIB).await;
    let tenant = call(1, b"").function.tenant;
    let before = answers.ask(Whose::signed(&tenant), MIB as u64).await;
    let running = handle(&link, call(1, b""));
    guest.read().await;
    let saying = tokio::spawn(async move {
        guest.answers(1, &vec![b'x'; MIB]).await;
        guest
    });
    a_while().await;
    assert!(!running.is_finished() && !saying.is_finished());
    assert_eq!((answers.held_bytes(), answers.waited()), (MIB as u64, 1));
    assert!(link.answer_waits());
    drop(before);
    let mut guest = saying.await.unwrap();
    let answer = running.await.unwrap().unwrap();
    assert!(!link.answer_waits());
    assert_eq!(answers.held_bytes(), MIB as u64);
    assert_eq!(body(Ok(answer)).await.1.len(), MIB);
    assert_eq!(answers.held_bytes(), 0);

    // What is free and what is dropped waits for nothing.
    let _before = answers.ask(Whose::signed(&tenant), MIB as u64).await;
    for (number, size) in [(2, 64 << 10), (3, 6 * MIB + 101), (4, 0)] {
        let running = handle(&link, call(number, b""));
        guest.read().await;
        guest.answers(number, &vec![b'x'; size]).await;
        let answer = running.await.unwrap().unwrap();
        assert!(room_of(&answer).is_none(), "{size}");
        let large = matches!(&answer, GuestAnswer::Error { .. });
        assert_eq!(large, size > 6 * MIB, "{size}");
    }
    assert_eq!(answers.waited(), 1);
}

#[tokio::test]
async fn a_streamed_answer_has_room_for_all_that_it_may_be_and_keeps_what_it_is() {
    let (link, mut guest, answers) = opened_in(20 * MIB).await;
    let running = handle(&link, call(1, b""));
    guest.read().await;
    let one = id(1);
    guest.say(ANSWER, MORE, 0, &[one.as_bytes()]).await;
    for _ in 0..4 {
        guest.say(PIECE, 0, 0, &[&[b'x'; 60 << 10]]).await;
    }
    until_held(&answers, 6 * MIB + 100).await;
    guest.say(END, 0, 0, &[]).await;
    let answer = running.await.unwrap().unwrap();
    assert_eq!(answers.held_bytes(), 240 << 10);
    assert_eq!(body(Ok(answer)).await.1.len(), 240 << 10);
    // One that goes beyond its limit, or fails half way, keeps nothing.
    for number in [2, 3] {
        let running = handle(&link, call(number, b""));
        guest.read().await;
        let id = id(number);
        let begun = [b'x'; 100 << 10];
        guest.say(ANSWER, MORE, 0, &[id.as_bytes(), &begun]).await;
        until_held(&answers, 6 * MIB + 100).await;
        if number == 2 {
            guest.say(PIECE, 0, 0, &[&vec![b'x'; 6 * MIB]]).await;
            guest.say(END, 0, 0, &[]).await;
        } else {
            guest.say(ERROR, 0, 1, &[id.as_bytes(), b"E{}"]).await;
        }
        let answer = running.await.unwrap().unwrap();
        assert!(matches!(answer, GuestAnswer::Error { room: None, .. }));
        assert_eq!(answers.held_bytes(), 0);
    }
    // An error has its room, too.
    let running = handle(&link, call(4, b""));
    guest.read().await;
    let error = [b'x'; 200 << 10];
    guest.say(ERROR, 0, 0, &[id(4).as_bytes(), &error]).await;
    let answer = running.await.unwrap().unwrap();
    assert_eq!(answers.held_bytes(), 200 << 10);
    drop(answer);
    assert_eq!(answers.held_bytes(), 0);
}

#[tokio::test]
async fn a_call_that_is_given_up_gives_its_room_back() {
    let (link, mut guest, answers) = opened_in(2 * MIB).await;
    let tenant = call(1, b"").function.tenant;
    // In the middle of its answer.
    let running = handle(&link, call(1, b""));
    guest.read().await;
    let one = id(1);
    let frame = ((36 + MIB) as u32).to_le_bytes();
    let begun = [
        &frame[..],
        &[ANSWER, 0, 0, 0],
        one.as_bytes(),
        &[b'x'; 300 << 10],
    ]
    .concat();
    guest.0.write_all(&begun).await.unwrap();
    until_held(&answers, MIB).await;
    running.abort();
    let _ = running.await;
    assert_eq!(answers.held_bytes(), 0);
    // The rest of it is dropped as it comes, and the next event has its answer.
    let running = handle(&link, call(2, b""));
    let rest = vec![b'x'; MIB - (300 << 10)];
    guest.0.write_all(&rest).await.unwrap();
    guest.read().await;
    guest.answers(2, b"2").await;
    assert_eq!(body(running.await.unwrap()).await.1, "2");
    // While it waits.
    let before = answers.ask(Whose::signed(&tenant), MIB as u64).await;
    let running = handle(&link, call(3, b""));
    guest.read().await;
    let three = id(3);
    let begun = [&frame[..], &[ANSWER, 0, 0, 0], three.as_bytes()].concat();
    guest.0.write_all(&begun).await.unwrap();
    a_while().await;
    assert_eq!(answers.waited(), 1);
    running.abort();
    let _ = running.await;
    drop(before);
    assert_eq!(answers.held_bytes(), 0);
}
