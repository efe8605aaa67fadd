//! The room that a large answer is read in goes with it, and comes back whatever becomes of it.

use crate::{outcomes::UNHANDLED, support::*};
use freehold_domain::{
    BoxFuture,
    answers::{Answers, Peer, Room, Whose},
    invocation::Source,
    outcome::OutcomeKind,
    ports::*,
    runtime::RuntimeFamily,
};
use std::{sync::Arc, time::Duration};

const LARGE: u64 = 1 << 20;

/// A contract whose functions answer at length: each answer waits for its room.
struct AtLength(Arc<dyn Contract>, Arc<Answers>);

struct LinkAtLength(Arc<dyn Link>, Arc<Answers>);

impl Contract for AtLength {
    fn wiring(&self) -> Wiring {
        self.0.wiring()
    }

    fn open(
        &self,
        wires: Wires,
        opening: Opening,
    ) -> BoxFuture<'_, Result<Arc<dyn Link>, OpenError>> {
        Box::pin(async move {
            let link = self.0.open(wires, opening).await?;
            Ok(Arc::new(LinkAtLength(link, self.1.clone())) as Arc<dyn Link>)
        })
    }
}

impl Link for LinkAtLength {
    fn slots(&self) -> u16 {
        self.0.slots()
    }

    fn until_ready(&self) -> Option<BoxFuture<'_, ()>> {
        self.0.until_ready()
    }

    fn handle(&self, call: GuestCall) -> BoxFuture<'_, Result<GuestAnswer, LinkError>> {
        Box::pin(async move {
            if call.client_context.is_some() {
                return Err(LinkError::TooSlow {
                    came_bytes: 70_000,
                    within: Duration::from_secs(36),
                });
            }
            let whose = call.whose();
            let mut answer = self.0.handle(call).await?;
            let given: Room = self.1.ask(whose, LARGE).await;
            let (GuestAnswer::Response { room, .. } | GuestAnswer::Error { room, .. }) =
                &mut answer;
            *room = Some(given);
            Ok(answer)
        })
    }
}

async fn world() -> (Sim, Arc<Answers>) {
    let mut room = None;
    let sim = Sim::with(|parts| {
        let answers = parts.answers.clone();
        for contract in parts.contracts.values_mut() {
            *contract = Arc::new(AtLength(contract.clone(), answers.clone()));
        }
        assert!(parts.contracts.contains_key(&RuntimeFamily::Python));
        room = Some(answers);
    })
    .await;
    sim.deploy("f", |_| {}).await;
    (sim, room.unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_answers_room_is_held_by_its_outcome() {
    let (sim, room) = world().await;
    for event in ["x", "error"] {
        let outcome = sim.run(sim.event("f", event)).await.unwrap();
        assert_eq!(
            (room.held_bytes(), sim.engine.stats().answers_held_bytes),
            (LARGE, LARGE)
        );
        let _head = outcome.head;
        drop(outcome.body);
        assert_eq!(room.held_bytes(), LARGE, "its body may have become another");
        drop(outcome.room);
        assert_eq!(room.held_bytes(), 0);
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_in_others_way_is_an_error_of_the_functions() {
    let (sim, room) = world().await;
    let mut slow = sim.event("f", "x");
    slow.client_context = Some(bytes::Bytes::from_static(b"{}"));
    let (kind, text, _) = sim.spawn(0, slow).await.unwrap().unwrap();
    assert_eq!(kind, UNHANDLED);
    let message =
        "Response came too slowly while others waited for room: 70000 bytes within 36 seconds.";
    assert!(
        text.contains("\"Function.ResponseTooSlow\"") && text.contains(message),
        "{text}"
    );
    // Of no further use.
    assert_eq!((sim.world.live(), room.held_bytes()), (0, 0));
    assert!(sim.call("f", "x").await.is_ok());
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn who_signs_waits_for_no_answer_of_strangers() {
    let (sim, room) = world().await;
    let by_url = Some(Peer::at([192, 0, 2, 7].into()));
    let strangers = Whose {
        by_url: by_url.clone(),
        ..Whose::signed(&tenant())
    };
    let all = room.ask(strangers, 128 << 20).await;
    let mut one = sim.event("f", "x");
    one.source = Source::Url;
    one.by_url = by_url;
    let stranger = sim.spawn(0, one);
    sim.sleep(100).await;
    assert!(!stranger.is_finished());
    assert!(sim.call("f", "x").await.is_ok());
    drop(all);
    assert!(stranger.await.unwrap().is_ok());
    assert_eq!(room.held_bytes(), 0);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_has_its_functions_time_and_leaves_the_line_with_it() {
    let (sim, room) = world().await;
    let all = room.ask(Whose::signed(&tenant()), 256 << 20).await;
    let (kind, text) = sim.call("f", "x").await.unwrap();
    assert!(matches!(kind, OutcomeKind::FunctionError(_)));
    assert!(text.contains("Task timed out after 3.00 seconds"), "{text}");
    // Who is given room in time is answered.
    let running = sim.spawn(0, sim.event("f", "x"));
    sim.sleep(1000).await;
    assert!(!running.is_finished());
    assert_eq!(sim.engine.stats().answers_waited, 2);
    drop(all);
    assert_eq!(running.await.unwrap().unwrap().0, OutcomeKind::Success);
    assert_eq!(room.held_bytes(), 0);
    // Nor does it stay with a caller that has gone, before its answer or while that waits.
    for held_mib in [0, 256] {
        let all = room.ask(Whose::signed(&tenant()), held_mib << 20).await;
        let running = sim.spawn(0, sim.event("f", "sleep 500"));
        sim.sleep(if held_mib == 0 { 100 } else { 1000 }).await;
        running.abort();
        let _ = running.await;
        drop(all);
        sim.sleep(5000).await;
        assert_eq!(room.held_bytes(), 0);
    }
    sim.ends_clean().await;
}
