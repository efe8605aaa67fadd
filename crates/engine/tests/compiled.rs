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
async fn an_init_that_reports_an_error_hands_over_nothing() {
    let (sim, mut seen) = (sim(|_| {}).await, 0);
    sim.deploy("f", |_| {}).await;
    sim.world.push_inits([Init::Fails("Oops".to_owned())]);
    // The failed one is made again within its invocation, and is not asked so soon.
    start(&sim, "f", 2).await;
    let none = CompiledCode::None;
    let expected = [CompiledCode::Wanted, none.clone(), none];
    assert_eq!(told(&sim, &mut seen), expected);
    sim.sleep(61_000).await;
    start(&sim, "f", 2).await;
    let expected = [CompiledCode::Wanted, CompiledCode::Given(code())];
    assert_eq!(told(&sim, &mut seen), expected);
    // An error of the function's own is none of the code's.
    sim.world.push_inits([Init::Fails("Oops".to_owned())]);
    start(&sim, "f", 1).await;
    assert_eq!(told(&sim, &mut seen), vec![CompiledCode::Given(code()); 2]);
}

#[tokio::test(start_paused = true)]
async fn code_has_no_part_where_an_init_died() {
    let dies = || [Init::Dies(11), Init::Exits(1), Init::Hangs];
    for how in dies() {
        let (sim, mut seen) = (sim(|_| {}).await, 0);
        sim.deploy("f", |_| {}).await;
        sim.world.push_inits([how.clone()]);
        start(&sim, "f", 2).await;
        let asked = told(&sim, &mut seen);
        let (first, others) = asked.split_first().unwrap();
        assert_eq!(*first, CompiledCode::Wanted);
        assert!(
            others.iter().all(|one| *one == CompiledCode::None),
            "{how:?}: {others:?}"
        );
        sim.sleep(61_000).await;
        start(&sim, "f", 1).await;
        assert_eq!(told(&sim, &mut seen), [CompiledCode::None]);
        assert_eq!(sim.engine.stats().compiled, 0);
    }
    for how in dies() {
        let (sim, mut seen) = (sim(|_| {}).await, 0);
        sim.deploy("f", |_| {}).await;
        start(&sim, "f", 1).await;
        told(&sim, &mut seen);
        sim.world.push_inits([how.clone()]);
        start(&sim, "f", 2).await;
        let given = told(&sim, &mut seen);
        let (first, others) = given.split_first().unwrap();
        assert_eq!(*first, CompiledCode::Given(code()));
        assert!(
            others.iter().all(|one| *one == CompiledCode::None),
            "{how:?}: {others:?}"
        );
        assert_eq!(sim.engine.stats().compiled, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_are_asked_at_once_as_there_is_room_for() {
    let asks = async |room_bytes: u64, functions: usize| {
        let (sim, mut seen) = (
            sim(|parts| {
                let mut config = parts.config.now();
                config.compiled_code_bytes = room_bytes;
                parts.config = config.into();
            })
            .await,
            0,
        );
        let names: Vec<_> = (0..functions).map(|at| format!("f{at}")).collect();
        for name in &names {
            sim.deploy(name, |_| {}).await;
        }
        let calls = names.iter().map(|name| sim.call(name, "sleep 200"));
        futures_util::future::join_all(calls).await;
        let told = told(&sim, &mut seen);
        let wanted = |code: &&CompiledCode| **code == CompiledCode::Wanted;
        told.iter().filter(wanted).count()
    };
    // One tenant has half of four turns, and one at the least.
    assert_eq!(asks(64 << 20, 6).await, 2);
    assert_eq!(asks(1 << 20, 6).await, 1);
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
async fn code_that_nobody_reads_counts_until_it_is_read() {
    let (sim, mut seen) = (sim(room(4)).await, 0);
    for name in ["f", "g", "h", "i"] {
        sim.deploy(name, |_| {}).await;
    }
    start(&sim, "f", 1).await;
    sim.world.leave_unread(true);
    start(&sim, "f", 1).await;
    // The third drives the first out, which is not gone.
    start(&sim, "g", 1).await;
    start(&sim, "h", 1).await;
    let stats = sim.engine.stats();
    assert_eq!((stats.compiled, stats.compiled_bytes), (2, 3000));
    told(&sim, &mut seen);
    start(&sim, "i", 1).await;
    assert_eq!(told(&sim, &mut seen), [CompiledCode::None]);
    sim.world.leave_unread(false);
    assert_eq!(sim.engine.stats().compiled_bytes, 2000);
    start(&sim, "i", 1).await;
    assert_eq!(told(&sim, &mut seen), [CompiledCode::Wanted]);
}

#[tokio::test(start_paused = true)]
async fn code_that_is_larger_than_its_room_is_not_kept() {
    let (sim, mut seen) = (sim(room(2)).await, 0);
    sim.deploy("small", |_| {}).await;
    start(&sim, "small", 1).await;
    sim.world
        .compile(Some(Bytes::from(vec![7; CODE_BYTES + 1])));
    sim.deploy("large", |_| {}).await;
    start(&sim, "large", 2).await;
    let expected = [
        CompiledCode::Wanted,
        CompiledCode::Wanted,
        CompiledCode::None,
    ];
    assert_eq!(told(&sim, &mut seen), expected);
    let stats = sim.engine.stats();
    assert_eq!((stats.compiled, stats.compiled_bytes), (1, 1000));
}

#[tokio::test(start_paused = true)]
async fn a_smaller_room_holds_at_once() {
    let mut cells = None;
    let (sim, mut seen) = (
        sim(|parts| {
            room(8)(parts);
            cells = Some(parts.config.clone());
        })
        .await,
        0,
    );
    for name in ["f", "g", "h"] {
        sim.deploy(name, |_| {}).await;
        start(&sim, name, 1).await;
    }
    let cells = cells.unwrap();
    for (of, bytes) in [(8, 3000), (4, 2000), (2, 1000), (0, 0)] {
        let mut config = cells.now();
        config.compiled_code_bytes = (of * CODE_BYTES) as u64;
        cells.set(config);
        sim.engine.reconfigured();
        assert_eq!(sim.engine.stats().compiled_bytes, bytes, "{of}");
    }
    told(&sim, &mut seen);
    start(&sim, "h", 1).await;
    assert_eq!(told(&sim, &mut seen), [CompiledCode::None]);
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
