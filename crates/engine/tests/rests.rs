//! How instances wait: rehearsed, awake, frozen; and which of them go first.

use crate::support::*;
use freehold_domain::{Mebibytes, ids::Qualifier, ports::Clock};
use freehold_engine::InstanceState;
use freehold_testkit::sandbox::Init;
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;

/// An engine that has one instance of each function ready, and runtimes that take events of ours.
async fn with_one_ready(next: impl IntoIterator<Item = Init>) -> Sim {
    let sim = Sim::with(|parts| parts.config.change(|config| config.ready = 1)).await;
    sim.world.take_ours(next);
    sim
}

/// What the instances of a function do.
async fn states(sim: &Sim, name: &'static str) -> Vec<InstanceState> {
    let of = sim.engine.instances(move |f| f.name.as_str() == name).await;
    of.iter().map(|view| view.state).collect()
}

/// Calls once in every so many milliseconds, and ends that long after the last call began.
async fn call_every(sim: &Sim, name: &str, ms: u64, times: u64) {
    let begun = sim.clock.now();
    for n in 0..times {
        let at = begun + Duration::from_millis(n * ms);
        sim.clock.sleep_until(at).await;
        sim.call(name, "sleep 10").await.unwrap();
    }
    let end = begun + Duration::from_millis(times * ms);
    sim.clock.sleep_until(end).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_has_run_an_event_that_is_on_no_record() {
    let sim = with_one_ready([]).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(5_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    assert_eq!(sim.world.ran_ours_on().len(), 1);
    assert_eq!(sim.world.ran(), []);
    let stats = sim.engine.stats();
    assert_eq!((stats.rehearsals, stats.rehearsals_failed), (1, 0));
    assert_eq!(stats.endings.iter().map(|(_, n)| n).sum::<u64>(), 0);
    assert_eq!((stats.billed_ms, stats.cpu_us), (0, 0));
    assert_eq!(sim.ledger().await, []);
    let before = sim.texts("f").await;
    assert!(!before.iter().any(|line| line.contains("START RequestId")));

    sim.call("f", "sleep 1").await.unwrap();
    let entries = sim.ledger().await;
    assert_eq!(entries.len(), 1);
    // Each of the two took 100.
    assert_eq!(entries[0].usage.cpu_us, 100);
    assert_eq!(sim.engine.stats().starts_ahead_used, 1);
    assert_eq!(sim.world.ran_ours_on().len(), 1, "once, and never later");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_is_the_first_one() {
    let sim = Sim::new().await;
    sim.world.take_ours([]);
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    assert_eq!(sim.world.ran_ours_on(), []);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_its_rehearsal_is_ended_counted_and_replaced() {
    let ways = [
        Init::Fails("it says so".to_owned()),
        Init::Exits(1),
        Init::Dies(11),
        Init::Hangs,
    ];
    for way in ways {
        let sim = with_one_ready([way.clone()]).await;
        sim.deploy("f", |_| {}).await;
        sim.sleep(5_000).await;
        let stats = sim.engine.stats();
        assert_eq!(
            (stats.rehearsals, stats.rehearsals_failed),
            (0, 1),
            "{way:?}"
        );
        // The next one is left alone, and serves.
        assert_eq!((sim.world.started(), sim.world.live()), (2, 1), "{way:?}");
        sim.call("f", "x").await.unwrap();
        let stats = sim.engine.stats();
        assert_eq!((stats.cold_starts, stats.init_failures), (0, 0), "{way:?}");
        assert_eq!(sim.ledger().await.len(), 1);
        sim.ends_clean().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_minimum_whose_rehearsals_all_hang_is_no_busy_loop() {
    let sim = Sim::new().await;
    sim.world.take_ours(vec![Init::Hangs; 1000]);
    sim.deploy("f", |_| {}).await;
    let of = function("f");
    let set = sim.engine.set_minimum(&of, &Qualifier::Latest, 2);
    set.await.unwrap();
    sim.sleep(HOUR_MS).await;
    assert_eq!(sim.world.live(), 2);
    assert!(sim.world.started() <= 4, "{}", sim.world.started());
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn whose_init_left_something_running_is_frozen() {
    let sim = with_one_ready([]).await;
    sim.world.set_tasks(3);
    sim.deploy("f", |_| {}).await;
    sim.sleep(5_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Frozen]);
    assert_eq!(sim.engine.stats().rehearsals, 1);
    sim.call("f", "x").await.unwrap();
    assert_eq!(sim.engine.stats().starts_ahead_used, 1);
    sim.sleep(1_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Frozen]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn who_works_while_it_waits_is_frozen_until_its_next_event() {
    let sim = with_one_ready([]).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(5_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    let id = sim.engine.instances(|_| true).await[0].id;
    sim.world.instance(id).unwrap().burn(50);
    sim.sleep(60_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Frozen]);
    sim.sleep(HOUR_MS).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Frozen]);
    sim.call("f", "x").await.unwrap();
    sim.sleep(HOUR_MS).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_made_ahead_of_a_call_waits_awake_and_is_frozen_after_it() {
    let sim = Sim::new().await;
    sim.world.take_ours([]);
    sim.deploy("f", |_| {}).await;
    call_every(&sim, "f", HOUR_MS, 20).await;
    let rehearsed = sim.engine.stats().rehearsals;
    assert!(rehearsed >= 10, "{rehearsed}");
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    sim.call("f", "x").await.unwrap();
    sim.sleep(1_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Frozen]);
    sim.sleep(60_000).await;
    assert_eq!(states(&sim, "f").await, []);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_frozen_is_woken_when_it_is_expected() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    call_every(&sim, "f", 30_000, 20).await;
    sim.call("f", "x").await.unwrap();
    sim.sleep(2_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Frozen]);
    sim.sleep(20_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    assert_eq!(sim.world.started(), 1, "it is the same one");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_follow_each_other_shortly_find_it_awake() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    sim.sleep(1_000).await;
    assert_eq!(
        states(&sim, "f").await,
        [InstanceState::Frozen],
        "nobody knows"
    );
    call_every(&sim, "f", 2_000, 20).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    sim.sleep(20_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Frozen]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn of_many_the_ones_that_are_used_next_wait_awake() {
    let sim = with_one_ready([]).await;
    sim.deploy("f", |_| {}).await;
    let calls: Vec<_> = (0..4_u16)
        .map(|n| sim.spawn(n % CORES, sim.event("f", "sleep 1000")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sim.sleep(60_000).await;
    let mut states = states(&sim, "f").await;
    states.sort_by_key(|state| *state == InstanceState::Frozen);
    assert_eq!(states[0], InstanceState::Idle);
    assert_eq!(states[1..], [InstanceState::Frozen; 3]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn short_of_memory_nobody_is_awake_until_there_is_some() {
    let sim = with_one_ready([]).await;
    let each = 20 << 20;
    sim.world.set_memory(10 * each, each);
    sim.deploy("f", |_| {}).await;
    sim.sleep(5_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    sim.world.set_memory(each + each / 10, each);
    sim.sleep(60_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Frozen]);
    sim.world.set_memory(10 * each, each);
    sim.sleep(60_000).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    assert_eq!(sim.world.started(), 1);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_expected_goes_before_what_is() {
    let sim = Sim::with(|parts| {
        parts
            .config
            .change(|config| config.memory_expected = Mebibytes(128))
    })
    .await;
    let each = 128 << 20;
    sim.world.set_memory(2 * each + each * 6 / 10, each);
    for name in ["f", "g", "h"] {
        let memory = Mebibytes(128);
        sim.deploy(name, |record| record.head.memory = memory).await;
    }
    call_every(&sim, "f", HOUR_MS, 20).await;
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    // It was made before this one came up: it has idled longer.
    sim.call("g", "x").await.unwrap();
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 2);
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    sim.call("h", "x").await.unwrap();
    assert_eq!(states(&sim, "f").await, [InstanceState::Idle]);
    assert_eq!(states(&sim, "g").await, []);
    assert_eq!(sim.engine.stats().evictions, 1);
    // Where all are expected, the oldest goes still.
    let both = ["g", "h"].map(|name| sim.spawn(0, sim.event(name, "sleep 2000")));
    for call in both {
        call.await.unwrap().unwrap();
    }
    assert_eq!(states(&sim, "f").await, []);
    sim.ends_clean().await;
}
