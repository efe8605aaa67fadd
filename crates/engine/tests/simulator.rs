//! Many invocations at once, by seed: what is conserved, what is bounded, what is fair.

use crate::support::*;
use fastrand::Rng;
use freehold_domain::{
    body::Body,
    ids::CoreId,
    ledger::Ending,
    outcome::{InvokeError, OutcomeKind, ThrottleReason},
    ports::Clock,
};
use freehold_engine::{EngineParts, InstanceState, keep::Policy};
use freehold_testkit::sandbox::{Init, Timing};
use std::{collections::HashMap, time::Duration};

fn roomy(parts: &mut EngineParts) {
    parts
        .limits
        .change(|limits| limits.account_concurrency = 100_000);
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn a_herd_starts_what_it_needs_and_no_more() {
    let sim = Sim::with(roomy).await;
    sim.world.set_slots(80);
    sim.world.set_timing(Timing {
        run: (ms(500), ms(500)),
        ..Timing::default()
    });
    sim.deploy("f", |_| {}).await;
    let calls: Vec<_> = (0..10_000_u16)
        .map(|n| sim.spawn(n % CORES, sim.event("f", "x")))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().0, OutcomeKind::Success);
    }
    let (needed, started) = (10_000_u64.div_ceil(80), sim.world.started());
    assert!(
        started <= needed,
        "{started} starts where {needed} hold all"
    );
    assert_eq!(sim.ledger().await.len(), 10_000);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn waiters_take_freed_slots_before_their_starts_come_up() {
    let sim = Sim::new().await;
    let slow = Timing {
        start: (ms(900), ms(900)),
        run: (ms(10), ms(10)),
        ..Timing::default()
    };
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    sim.world.set_timing(slow);
    let begun = sim.clock.now();
    let calls: Vec<_> = (0..20).map(|_| sim.spawn(1, sim.event("f", "x"))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(
        sim.clock.now().since(begun) < ms(900),
        "one warm instance served them in turn"
    );
    assert!(sim.world.started() <= 20);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn idle_instances_freeze_and_go() {
    let sim = Sim::with(|parts| {
        parts
            .config
            .change(|config| config.keep = Policy::Fixed(60.0))
    })
    .await;
    sim.deploy("f", |_| {}).await;
    let calls: Vec<_> = (0..10)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 50")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(sim.world.live(), 10);
    sim.sleep(101).await;
    let states: Vec<_> = sim
        .engine
        .instances(|_| true)
        .await
        .iter()
        .map(|view| view.state)
        .collect();
    assert_eq!(
        states,
        vec![InstanceState::Frozen; 10],
        "at the latest 100 ms after the answer"
    );
    // One is used again, on the other core: handed over, thawed, frozen again.
    sim.spawn(1, sim.event("f", "x")).await.unwrap().unwrap();
    assert_eq!(sim.world.started(), 10);
    let thawed = sim.engine.instances(|_| true).await;
    assert_eq!(
        thawed
            .iter()
            .filter(|view| view.state == InstanceState::Idle)
            .count(),
        1
    );
    assert!(thawed.iter().all(|view| view.core == CoreId(0)));
    sim.sleep(59_950).await;
    assert_eq!(sim.world.live(), 1, "nine were idle for a minute");
    sim.sleep(60_000).await;
    assert_eq!(
        (
            sim.world.live(),
            sim.credentials.live(),
            sim.platform.live()
        ),
        (0, 0, 0)
    );
    assert_eq!(sim.engine.stats().memory_booked_bytes, 0);
    sim.call("f", "x").await.unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_on_old_code_and_nothing_fails_under_load() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let (mut calls, mut rng) = (Vec::new(), Rng::with_seed(sim.seed));
    for round in 1..=100_u64 {
        for _ in 0..rng.usize(0..6) {
            calls.push((
                round,
                sim.spawn(rng.u16(0..CORES), sim.event("f", &format!("r {round}"))),
            ));
        }
        if rng.bool() {
            sim.sleep(rng.u64(0..40)).await;
        }
        sim.deploy("f", |_| {}).await;
        // The write of the report has returned: everything from here on runs the new head.
        let served = sim.record("f").await.served.unwrap().generation;
        let event = format!("now {served}");
        let invocation = sim.event("f", &event);
        calls.push((round, sim.spawn(rng.u16(0..CORES), invocation)));
    }
    for (round, call) in calls {
        let (kind, _, _) = call
            .await
            .unwrap()
            .unwrap_or_else(|error| panic!("{round}: {error}"));
        assert_eq!(kind, OutcomeKind::Success);
    }
    let ran = sim.world.ran();
    let of: HashMap<_, _> = sim
        .ledger()
        .await
        .into_iter()
        .map(|entry| (entry.id, entry))
        .collect();
    assert_eq!(of.len(), ran.len());
    for (generation, event) in sim.world.ran_on("GENERATION") {
        let Some(wanted) = event.strip_prefix("now ") else {
            continue;
        };
        let (ran_on, wanted): (u64, u64) = (generation.parse().unwrap(), wanted.parse().unwrap());
        assert!(
            ran_on >= wanted,
            "an event of generation {wanted} ran on {ran_on}"
        );
    }
    sim.sleep(1_000).await;
    let views = sim.engine.instances(|_| true).await;
    assert!(
        views.iter().all(|view| view.generation == 101),
        "old instances are gone: {views:?}"
    );
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn reserved_and_account_concurrency_turn_away_at_once() {
    let sim = Sim::with(|parts| {
        parts
            .limits
            .change(|limits| limits.account_concurrency = 10)
    })
    .await;
    sim.deploy("a", |record| record.reserved_concurrency = Some(3))
        .await;
    sim.deploy("b", |_| {}).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(sim.spawn(0, sim.event("a", "sleep 1000")));
    }
    for _ in 0..7 {
        held.push(sim.spawn(0, sim.event("b", "sleep 1000")));
    }
    sim.sleep(1).await;
    for (name, reason) in [
        ("a", ThrottleReason::ReservedConcurrency),
        ("b", ThrottleReason::AccountConcurrency),
    ] {
        let begun = sim.clock.now();
        let error = sim.call(name, "x").await.unwrap_err();
        assert_eq!(
            error,
            InvokeError::Throttled {
                reason,
                retry_after: None
            }
        );
        assert_eq!(sim.clock.now(), begun, "at once");
    }
    for call in held {
        call.await.unwrap().unwrap();
    }
    sim.call("a", "x").await.unwrap();
    assert_eq!(sim.engine.reserved_concurrency(&tenant(), &region()), 3);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn functions_that_take_turns_in_little_memory_find_each_others_instances() {
    let each = 100 << 20;
    let sim = Sim::with(|parts| {
        parts
            .config
            .change(|config| config.memory_expected = freehold_domain::ids::Mebibytes(100))
    })
    .await;
    sim.world.set_memory(2 * each, each);
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        sim.deploy(name, |_| {}).await;
    }
    // Each comes back after it had lost its only instance to another, again and again.
    for round in 0..4 {
        for (at, name) in names.into_iter().enumerate() {
            sim.call(name, "x").await.unwrap();
            let calls = round * names.len() + at + 1;
            let evictions = sim.engine.stats().evictions as usize;
            assert_eq!(
                evictions,
                calls.saturating_sub(2),
                "{name} in round {round}"
            );
            assert!(sim.world.live() <= 2);
        }
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn when_memory_is_short_idle_instances_go_then_starts_wait_then_429() {
    // Room for four instances of 100 MiB.
    let each = 100 << 20;
    let sim = Sim::with(|parts| {
        parts
            .config
            .change(|config| config.memory_expected = freehold_domain::ids::Mebibytes(100))
    })
    .await;
    sim.world.set_memory(4 * each, each);
    for name in ["a", "b", "c"] {
        sim.deploy(name, |_| {}).await;
    }
    let fill = |name: &'static str, event: &'static str, count: usize| -> Vec<_> {
        (0..count)
            .map(|_| sim.spawn(0, sim.event(name, event)))
            .collect()
    };
    for call in fill("a", "sleep 50", 4) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(sim.world.live(), 4);
    // Idle ones of another function go, and no more of them than needed.
    let busy = fill("b", "sleep 2000", 3);
    sim.sleep(500).await;
    assert_eq!((sim.world.live(), sim.engine.stats().evictions), (4, 3));
    // The last idle one goes too; then a start waits until something is free.
    let last = fill("c", "sleep 2000", 1);
    sim.sleep(500).await;
    let waits = sim.spawn(0, sim.event("c", "x"));
    let mut hurried = sim.event("c", "x");
    hurried.deadline = sim.clock.now() + ms(200);
    let hurried = sim.spawn(0, hurried).await.unwrap().unwrap_err();
    let reason = ThrottleReason::MachineMemory;
    assert_eq!(
        hurried,
        InvokeError::Throttled {
            reason,
            retry_after: None
        }
    );
    for call in busy.into_iter().chain(last).chain([waits]) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(sim.world.live_max(), 4);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn small_starts_do_not_starve_a_large_one() {
    let mib = 1 << 20;
    let sim = Sim::with(|parts| {
        parts
            .config
            .change(|config| config.memory_expected = freehold_domain::ids::Mebibytes(100))
    })
    .await;
    sim.world.set_memory(400 * mib, 100 * mib);
    sim.deploy("large", |_| {}).await;
    // Its instances turn out to use 300 MiB, then none is left.
    sim.world.set_memory(400 * mib, 300 * mib);
    sim.call("large", "x").await.unwrap();
    sim.world.set_memory(400 * mib, 100 * mib);
    let names: Vec<String> = (0..40).map(|n| format!("small{n}")).collect();
    for name in &names {
        sim.deploy(name, |_| {}).await;
    }
    // About three of them run at any time: what they leave is never enough by itself.
    let (mut small, mut large) = (Vec::new(), None);
    for (n, name) in names.iter().enumerate() {
        small.push(sim.spawn(0, sim.event(name, "sleep 300")));
        sim.sleep(110).await;
        if n == 4 {
            large = Some(sim.spawn(0, sim.event("large", "x")));
        }
    }
    let large = large.unwrap();
    assert!(
        large.is_finished(),
        "the large one waits behind those that came later"
    );
    large.await.unwrap().unwrap();
    for call in small {
        call.await.unwrap().unwrap();
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_order() {
    let sim = Sim::with(|parts| {
        parts
            .config
            .change(|config| config.memory_expected = freehold_domain::ids::Mebibytes(20))
    })
    .await;
    sim.world.set_memory(20 << 20, 20 << 20);
    sim.deploy("f", |_| {}).await;
    let mut calls = Vec::new();
    for n in 0..50_u16 {
        calls.push(sim.spawn(n % CORES, sim.event("f", &format!("n {n}"))));
        sim.sleep(1).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let order: Vec<String> = sim
        .world
        .ran()
        .into_iter()
        .map(|(_, event)| event)
        .collect();
    let wanted: Vec<String> = (0..50).map(|n| format!("n {n}")).collect();
    assert_eq!(order, wanted);
    assert_eq!(sim.world.live_max(), 1);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_whatever_is_dropped_cancelled_or_broken() {
    for slots in [1, 80] {
        let sim = Sim::with(roomy).await;
        sim.world.set_slots(slots);
        sim.deploy("f", |_| {}).await;
        sim.deploy("g", |record| record.reserved_concurrency = Some(30))
            .await;
        let mut rng = Rng::with_seed(sim.seed);
        let (mut calls, mut cancelled) = (Vec::new(), 0);
        for n in 0..1500_u32 {
            let event = match rng.u8(0..20) {
                0 => "exit 1".to_owned(),
                1 => "oom".to_owned(),
                2 => "hang".to_owned(),
                3 => "error".to_owned(),
                4 => "lost".to_owned(),
                5 => "break".to_owned(),
                _ => format!("sleep {}", rng.u8(..)),
            };
            let mut invocation = sim.event(if rng.u8(0..3) == 0 { "g" } else { "f" }, &event);
            if rng.u8(0..8) == 0 {
                invocation.deadline = sim.clock.now() + ms(rng.u64(0..30));
            }
            let id = invocation.id;
            let call = sim.spawn(rng.u16(0..CORES), invocation);
            match rng.u8(0..12) {
                0 => {
                    // A caller that goes away, at any moment.
                    let wait = rng.u64(0..100);
                    tokio::spawn(async move {
                        tokio::time::sleep(ms(wait)).await;
                        call.abort();
                    });
                }
                1 => {
                    sim.sleep(rng.u64(0..20)).await;
                    cancelled += u32::from(sim.engine.cancel(id));
                    calls.push(call);
                }
                _ => calls.push(call),
            }
            match rng.u8(0..100) {
                0 => sim.put("f", |_| {}).await,
                1 => sim.world.lose_spawner(),
                2 => sim.world.push_inits([Init::Exits(1)]),
                _ => {}
            }
            if rng.u8(0..4) == 0 {
                sim.sleep(rng.u64(0..30)).await;
            }
            if n % 100 == 99 {
                // Everything freezes; then many come at once, some of them to go at once.
                sim.sleep(20_000).await;
                for _ in 0..20 {
                    let call = sim.spawn(rng.u16(0..CORES), sim.event("f", "sleep 1"));
                    if rng.bool() {
                        sim.sleep_us(rng.u64(0..300)).await;
                        call.abort();
                    }
                }
            }
        }
        for call in calls {
            let _ = call.await.unwrap();
        }
        sim.sleep(30_000).await;
        sim.is_quiet();
        let ledger = sim.ledger().await;
        let mut ids: Vec<_> = ledger.iter().map(|entry| entry.id).collect();
        ids.sort_unstable();
        let settled = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), settled, "each settles once");
        let endings: u64 = sim
            .engine
            .stats()
            .endings
            .iter()
            .map(|(_, count)| count)
            .sum();
        assert_eq!(endings as usize, settled);
        assert!(cancelled > 0, "the seed cancelled nothing");
        assert!(ledger.iter().any(|entry| entry.ending == Ending::Cancelled));
        sim.ends_clean().await;
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_what_runs_finish_and_ends_the_rest() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let short = sim.spawn(0, sim.event("f", "sleep 500"));
    let long = sim.spawn(1, sim.event("f", "hang"));
    sim.sleep(200).await;
    let engine = sim.engine.clone();
    let deadline = sim.clock.now() + Duration::from_secs(1);
    let down = tokio::spawn(async move { engine.shutdown(deadline).await });
    sim.sleep(1).await;
    assert_eq!(sim.call("f", "x").await.unwrap_err(), InvokeError::Draining);
    assert_eq!(short.await.unwrap().unwrap().0, OutcomeKind::Success);
    let error = long.await.unwrap().unwrap_err();
    assert!(
        matches!(error, InvokeError::InstanceLost { .. }),
        "{error:?}"
    );
    down.await.unwrap();
    assert_eq!((sim.world.live(), sim.ledger().await.len()), (0, 2));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_an_init_that_hangs() {
    let sim = Sim::with(|parts| parts.limits.change(|limits| limits.init_timeout_s = 600)).await;
    sim.deploy("f", |record| record.head.timeout_s = 900).await;
    sim.world.set_init(Init::Hangs);
    let first = sim.spawn(0, sim.event("f", "x"));
    sim.sleep(650_000).await;
    let mut patient = sim.event("f", "x");
    patient.deadline = sim.clock.now() + Duration::from_secs(1000);
    let second = sim.spawn(0, patient);
    sim.sleep(1_000).await;
    let begun = sim.clock.now();
    sim.engine.shutdown(begun + Duration::from_secs(5)).await;
    assert!(sim.clock.now().since(begun) < Duration::from_secs(10));
    assert!(first.await.unwrap().is_err() && second.await.unwrap().is_err());
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_cannot_be_written_keeps_the_answer_back() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    sim.store
        .set_failure(Some(freehold_domain::ports::CommitError::DiskFull));
    let error = sim.call("f", "x").await.unwrap_err();
    assert!(
        matches!(error, InvokeError::NotRecorded { .. }),
        "{error:?}"
    );
    sim.store.set_failure(None);
    sim.call("f", "x").await.unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_body_is_read_before_anything_is_held() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let frames = futures_util::stream::pending();
    let mut event = sim.event("f", "");
    event.body = Body::stream(frames, None);
    let call = sim.spawn(0, event);
    sim.sleep(100).await;
    assert_eq!(
        (sim.engine.stats().concurrency, sim.world.started()),
        (0, 0)
    );
    call.abort();
    let _ = call.await;
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn updates_faster_than_a_start_starve_nobody_and_waste_no_starts() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.world.set_timing(Timing {
        start: (ms(50), ms(50)),
        ..Timing::default()
    });
    let mut calls = Vec::new();
    for n in 0..200_u16 {
        calls.push(sim.spawn(n % CORES, sim.event("f", "x")));
        sim.sleep(10).await;
        sim.deploy("f", |_| {}).await;
    }
    let sent = sim.clock.now();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().0, OutcomeKind::Success);
    }
    // The last call waits for its own start, not for the updates to end.
    assert!(sim.clock.now().since(sent) < ms(500));
    let started = sim.world.started();
    assert!(started <= 2 * 200, "{started} starts for 200 calls");
    sim.ends_clean().await;
}
