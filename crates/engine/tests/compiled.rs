//! Compiled code of a revision's init: asked for once, given to the next inits, bounded, gone with it.

use crate::support::*;
use bytes::Bytes;
use freehold_domain::{ports::CompiledCode, runtime::RuntimeFamily};
use freehold_engine::EngineParts;
use freehold_testkit::sandbox::Init;

const CODE_BYTES: usize = 1000;

/// An engine whose functions are of Node.js, and hand over what they compile.
async fn sim(adjust: impl FnOnce(&mut EngineParts)) -> Sim {
    let sim = Sim::with(|parts| {
        let contract = parts.contracts[&RuntimeFamily::Python].clone();
        parts.contracts.insert(RuntimeFamily::Node, contract);
        parts.runtimes[0].family = RuntimeFamily::Node;
        adjust(parts);
    })
    .await;
    sim.world.compile(Some(code()));
    sim
}

fn code() -> Bytes {
    Bytes::from(vec![7; CODE_BYTES])
}

/// Room for so many.
fn room(of: usize) -> impl FnOnce(&mut EngineParts) {
    move |parts| {
        let mut config = parts.config.now();
        config.compiled_code_bytes = (of * CODE_BYTES) as u64;
        parts.config = config.into();
    }
}

/// So many starts of a function, one after the other.
async fn start(sim: &Sim, name: &str, times: usize) {
    for _ in 0..times {
        sim.call(name, "exit 1").await.unwrap();
    }
}

/// What the starts since the last look were told.
fn told(sim: &Sim, seen: &mut usize) -> Vec<CompiledCode> {
    let codes = sim.world.codes();
    codes[std::mem::replace(seen, codes.len())..].to_vec()
}

#[tokio::test(start_paused = true)]
async fn the_second_start_is_given_what_the_first_compiled() {
    let (sim, mut seen) = (sim(|_| {}).await, 0);
    sim.deploy("f", |_| {}).await;
    start(&sim, "f", 3).await;
    let given = CompiledCode::Given(code());
    let expected = [CompiledCode::Wanted, given.clone(), given];
    assert_eq!(told(&sim, &mut seen), expected);
    let stats = sim.engine.stats();
    assert_eq!((stats.compiled, stats.compiled_bytes), (1, 1000));
    // Another revision is another's, and the first one's has gone.
    sim.deploy("f", |_| {}).await;
    assert_eq!(sim.engine.stats().compiled, 0);
    start(&sim, "f", 1).await;
    assert_eq!(told(&sim, &mut seen), [CompiledCode::Wanted]);
    sim.delete("f").await;
    assert_eq!(sim.engine.stats().compiled_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn one_start_at_a_time_is_asked() {
    let (sim, mut seen) = (sim(|_| {}).await, 0);
    sim.deploy("f", |_| {}).await;
    let calls = (0..4).map(|_| sim.call("f", "sleep 200"));
    futures_util::future::join_all(calls).await;
    let told = told(&sim, &mut seen);
    let wanted = |code: &&CompiledCode| **code == CompiledCode::Wanted;
    assert_eq!(told.iter().filter(wanted).count(), 1, "{told:?}");
    assert!(told.len() > 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_init_that_fails_hands_over_nothing() {
    let (sim, mut seen) = (sim(|_| {}).await, 0);
    sim.deploy("f", |_| {}).await;
    sim.world.push_inits([Init::Fails("Oops".to_owned())]);
    start(&sim, "f", 2).await;
    let told = told(&sim, &mut seen);
    // The failed one is made again within its invocation.
    assert!(told.len() >= 2, "{told:?}");
    assert_eq!(told[..2], [CompiledCode::Wanted, CompiledCode::Wanted]);
}

#[tokio::test(start_paused = true)]
async fn who_has_nothing_to_hand_over_is_asked_once() {
    let (sim, mut seen) = (sim(|_| {}).await, 0);
    sim.world.compile(None);
    sim.deploy("f", |_| {}).await;
    start(&sim, "f", 3).await;
    let none = CompiledCode::None;
    let expected = [CompiledCode::Wanted, none.clone(), none];
    assert_eq!(told(&sim, &mut seen), expected);
    assert_eq!(sim.engine.stats().compiled, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_used_least_makes_room() {
    // A tenant may have half: two.
    let (sim, mut seen) = (sim(room(4)).await, 0);
    for name in ["f", "g", "h"] {
        sim.deploy(name, |_| {}).await;
        start(&sim, name, 1).await;
        if name == "g" {
            start(&sim, "f", 1).await;
        }
    }
    assert_eq!(sim.engine.stats().compiled_bytes, 2000);
    told(&sim, &mut seen);
    for name in ["f", "g", "h"] {
        start(&sim, name, 1).await;
    }
    let given = CompiledCode::Given(code());
    let expected = [given.clone(), CompiledCode::None, given];
    assert_eq!(told(&sim, &mut seen), expected);
    // It is asked again, but not at once.
    sim.sleep(61_000).await;
    start(&sim, "g", 1).await;
    assert_eq!(told(&sim, &mut seen), [CompiledCode::Wanted]);
    assert_eq!(sim.engine.stats().compiled_bytes, 2000);
}

#[tokio::test(start_paused = true)]
async fn without_room_nobody_is_asked() {
    let (sim, mut seen) = (sim(room(0)).await, 0);
    sim.deploy("f", |_| {}).await;
    start(&sim, "f", 2).await;
    assert_eq!(told(&sim, &mut seen), vec![CompiledCode::None; 2]);
}

#[tokio::test(start_paused = true)]
async fn other_runtimes_are_not_asked() {
    let sim = Sim::new().await;
    sim.world.compile(Some(code()));
    sim.deploy("f", |_| {}).await;
    start(&sim, "f", 2).await;
    assert_eq!(sim.world.codes(), vec![CompiledCode::None; 2]);
}
