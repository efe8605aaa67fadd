//! What is held, made ahead and kept ready while nobody calls.

use crate::support::*;
use freehold_domain::{
    ids::Qualifier,
    ports::{Clock, ExitCause},
};
use freehold_engine::{EngineConfig, keep::Policy};
use freehold_testkit::sandbox::{Init, Timing};
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;

async fn minimum(sim: &Sim, name: &str, count: u32) {
    let function = function(name);
    let set = sim.engine.set_minimum(&function, &Qualifier::Latest, count);
    set.await.unwrap();
}

/// Ends the process of one live instance.
async fn kill_one(sim: &Sim) {
    let views = sim.engine.instances(|_| true).await;
    let instance = sim.world.instance(views[0].id).expect("it lives");
    instance.end(ExitCause::Signaled(9));
}

#[tokio::test(start_paused = true)]
async fn what_comes_every_hour_finds_an_instance_and_leaves_none() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let begun = sim.clock.now();
    for hour in 1..=24_u64 {
        let at = begun + Duration::from_millis(hour * HOUR_MS);
        sim.clock.sleep_until(at).await;
        sim.call("f", "x").await.unwrap();
        sim.sleep(HOUR_MS / 2).await;
        assert_eq!(sim.world.live(), 0, "hour {hour}: nothing is held between");
    }
    let stats = sim.engine.stats();
    assert!(stats.starts_ahead_used >= 16, "{stats:?}");
    assert_eq!(stats.starts_ahead_used + stats.cold_starts, 24);
    assert!(stats.starts_ahead <= stats.starts_ahead_used + 2);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_finds_as_many_as_it_needs_on_all_cores() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let begun = sim.clock.now();
    let mut cold = 0;
    for hour in 1..=16_u64 {
        let at = begun + Duration::from_millis(hour * HOUR_MS);
        sim.clock.sleep_until(at).await;
        let before = sim.engine.stats().cold_starts;
        let calls: Vec<_> = (0..12_u16)
            .map(|n| sim.spawn(n % CORES, sim.event("f", "sleep 2000")))
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        cold = sim.engine.stats().cold_starts - before;
    }
    assert_eq!(cold, 0, "the last burst waits for nothing");
    assert!(sim.world.live_max() <= 13);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_keeps_what_was_learned() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let begun = sim.clock.now();
    for hour in 1..=20_u64 {
        let at = begun + Duration::from_millis(hour * HOUR_MS);
        sim.clock.sleep_until(at).await;
        sim.call("f", "x").await.unwrap();
        sim.deploy("f", |_| {}).await;
        // The new revision knows nobody until it is called; then it expects the next one.
        sim.call("f", "x").await.unwrap();
    }
    assert!(sim.engine.stats().starts_ahead_used >= 10);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_dies_while_it_is_merely_held_is_not_replaced() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    kill_one(&sim).await;
    sim.sleep(HOUR_MS).await;
    assert_eq!((sim.world.started(), sim.world.live()), (1, 0));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_fixed_time_makes_nothing_ahead() {
    let sim = Sim::with(|parts| {
        parts
            .config
            .change(|config| config.keep = Policy::Fixed(600.0))
    })
    .await;
    sim.deploy("f", |_| {}).await;
    for _ in 0..12 {
        sim.call("f", "x").await.unwrap();
        sim.sleep(HOUR_MS).await;
    }
    let stats = sim.engine.stats();
    assert_eq!((stats.starts_ahead, stats.cold_starts), (0, 12));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn settings_that_change_hold_for_the_instances_that_are_there() {
    let mut config = None;
    let sim = Sim::with(|parts| config = Some(parts.config.clone())).await;
    let config = config.unwrap();
    let set = |how: fn(&mut EngineConfig)| {
        config.change(how);
        sim.engine.reconfigured();
    };
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    sim.sleep(60_000).await;
    assert_eq!(sim.world.live(), 1, "ten minutes are not over");
    set(|config| config.keep = Policy::Fixed(30.0));
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 0, "half a minute is");

    set(|config| config.ready = 2);
    sim.sleep(5_000).await;
    assert_eq!(sim.world.live(), 2);
    set(|config| (config.ready, config.keep) = (0, Policy::Fixed(1.0)));
    sim.sleep(5_000).await;
    assert_eq!(sim.world.live(), 0);

    set(|config| config.keep = Policy::Fixed(3600.0));
    sim.call("f", "x").await.unwrap();
    sim.sleep(HOUR_MS / 2).await;
    assert_eq!(sim.world.live(), 1, "longer than it was at first");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_minimum_is_ready_without_calls_and_replaced_when_it_dies() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    minimum(&sim, "f", 3).await;
    sim.sleep(1_000).await;
    let stats = sim.engine.stats();
    assert_eq!(
        (
            stats.instances,
            stats.instances_minimum,
            stats.instances_missing
        ),
        (3, 3, 0)
    );
    kill_one(&sim).await;
    sim.sleep(1_000).await;
    assert_eq!((sim.world.live(), sim.world.started()), (3, 4));
    // A call finds one, and one that it loses is replaced.
    sim.call("f", "exit 1").await.unwrap();
    assert_eq!(sim.engine.stats().cold_starts, 0);
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 3);
    sim.sleep(100 * HOUR_MS).await;
    assert_eq!(sim.world.live(), 3, "a minimum has no time-out");
    // The next revision has it too.
    sim.deploy("f", |_| {}).await;
    sim.sleep(1_000).await;
    let views = sim.engine.instances(|_| true).await;
    assert_eq!(views.len(), 3);
    assert!(views.iter().all(|view| view.generation == 2));
    minimum(&sim, "f", 0).await;
    sim.sleep(20_000).await;
    let stats = sim.engine.stats();
    assert_eq!((stats.instances, stats.instances_minimum), (0, 0));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn memory_pressure_spares_a_minimum_and_makes_nothing_ahead() {
    let sim = Sim::new().await;
    let each = 128 << 20;
    sim.world.set_memory(3 * each, each);
    sim.deploy("f", |_| {}).await;
    sim.deploy("g", |record| {
        record.head.memory = freehold_domain::Mebibytes(128)
    })
    .await;
    minimum(&sim, "f", 2).await;
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 2);
    for _ in 0..2 {
        sim.call("f", "x").await.unwrap();
        sim.call("g", "x").await.unwrap();
        sim.sleep(20_000).await;
    }
    let of_f = |name: &'static str| sim.engine.instances(move |f| f.name.as_str() == name);
    assert_eq!(of_f("f").await.len(), 2);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_minimum_of_a_function_that_cannot_start_is_no_busy_loop() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.world.set_init(Init::Exits(1));
    minimum(&sim, "f", 2).await;
    sim.sleep(600_000).await;
    assert!(sim.world.started() < 60, "{} starts", sim.world.started());
    sim.world.set_init(Init::Fine);
    sim.sleep(120_000).await;
    assert_eq!(sim.world.live(), 2);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_minimum_for_nobody_is_told() {
    let sim = Sim::new().await;
    let nobody = function("nobody");
    let set = sim.engine.set_minimum(&nobody, &Qualifier::Latest, 1);
    assert!(set.await.is_err());
    // It holds once there is one.
    sim.deploy("nobody", |_| {}).await;
    sim.call("nobody", "x").await.unwrap();
    sim.sleep(HOUR_MS).await;
    assert_eq!(sim.world.live(), 1);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_every_function_has_ready_is_there_before_its_first_call_and_after_an_update() {
    let sim = Sim::with(|parts| parts.config.change(|config| config.ready = 2)).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(5000).await;
    assert_eq!(sim.world.live(), 2, "nobody has called");
    sim.call("f", "x").await.unwrap();
    let stats = sim.engine.stats();
    assert_eq!((stats.cold_starts, stats.starts_ahead_used), (0, 1));

    // More for one of them, and no less than all have.
    minimum(&sim, "f", 3).await;
    sim.sleep(5000).await;
    assert_eq!(sim.world.live(), 3);
    minimum(&sim, "f", 0).await;
    sim.sleep(HOUR_MS).await;
    assert_eq!(sim.world.live(), 2);

    let before = sim.world.started();
    sim.deploy("f", |_| {}).await;
    sim.sleep(5000).await;
    assert_eq!((sim.world.live(), sim.world.started()), (2, before + 2));
    kill_one(&sim).await;
    sim.sleep(5000).await;
    assert_eq!(sim.world.live(), 2, "one that dies is replaced");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_ready_and_went_for_want_of_memory_comes_back_with_it() {
    let sim = Sim::with(|parts| parts.config.change(|config| config.ready = 1)).await;
    let each = 128 << 20;
    sim.world.set_memory(2 * each, each);
    for name in ["f", "g"] {
        let memory = freehold_domain::Mebibytes(128);
        sim.deploy(name, |record| record.head.memory = memory).await;
    }
    sim.sleep(5000).await;
    let of_f = || sim.engine.instances(|f| f.name.as_str() == "f");
    assert_eq!(of_f().await.len(), 1);
    let calls: Vec<_> = (0..3)
        .map(|_| sim.spawn(0, sim.event("g", "sleep 2000")))
        .collect();
    sim.sleep(1000).await;
    assert_eq!(of_f().await.len(), 0, "others need the memory");
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sim.sleep(HOUR_MS).await;
    assert_eq!(of_f().await.len(), 1, "nobody has called it");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_up_when_all_have_been_served_goes_as_any_other() {
    let sim = Sim::with(|parts| {
        parts
            .config
            .change(|config| config.keep = Policy::Fixed(0.3))
    })
    .await;
    sim.deploy("f", |_| {}).await;
    let first = sim.spawn(0, sim.event("f", "x"));
    sim.sleep(1).await;
    let slow = (Duration::from_secs(5), Duration::from_secs(5));
    sim.world.set_timing(Timing {
        start: slow,
        ..Timing::default()
    });
    let second = sim.spawn(0, sim.event("f", "x"));
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    sim.sleep(2_000).await;
    assert_eq!((sim.world.live(), sim.engine.stats().starting), (0, 1));
    sim.sleep(10_000).await;
    assert_eq!((sim.world.live(), sim.world.started()), (0, 2));
    sim.ends_clean().await;
}
