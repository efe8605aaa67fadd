//! A changed head comes up before calls move to it, where something of its function runs.

use crate::support::Sim;
use freehold_domain::{outcome::OutcomeKind, ports::StartError, record::UpdateStateV1};
use freehold_testkit::sandbox::Init;

/// Waits for what becomes of a change.
async fn settled(sim: &Sim, name: &str) -> UpdateStateV1 {
    loop {
        let update = sim.record(name).await.last_update;
        if update != UpdateStateV1::InProgress {
            return update;
        }
        sim.sleep(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_call_after_a_change_finds_an_instance() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    assert!(sim.call("g", "1").await.is_ok());
    let starts = sim.world.started();
    sim.put("g", |_| {}).await;
    assert_eq!(settled(&sim, "g").await, UpdateStateV1::Successful);
    assert_eq!(sim.world.started(), starts + 1);
    assert!(sim.call("g", "2").await.is_ok());
    assert_eq!(
        sim.world.started(),
        starts + 1,
        "it is the one that came up before"
    );
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 1, "the one before has gone");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_of_what_does_not_run() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    sim.deploy("g", |_| {}).await;
    assert_eq!(sim.world.started(), 0);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn calls_stay_with_the_head_before_where_the_new_one_does_not_start() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    assert!(sim.call("g", "1").await.is_ok());
    for (init, expected) in [
        (
            Init::Fails("A.B".to_owned()),
            "FunctionError.RuntimeInitError",
        ),
        (Init::Hangs, "FunctionError.InitTimeout"),
    ] {
        sim.world.set_init(init);
        sim.put("g", |_| {}).await;
        let update = settled(&sim, "g").await;
        assert!(
            matches!(&update, UpdateStateV1::Failed { code, .. } if code == expected),
            "{update:?}"
        );
        let (kind, _) = sim.call("g", "2").await.unwrap();
        assert_eq!(kind, OutcomeKind::Success);
    }
    // One failure is tried again, as a call's would be.
    sim.world.set_init(Init::Fine);
    sim.world.push_inits([Init::Fails("A.B".to_owned())]);
    sim.put("g", |_| {}).await;
    assert_eq!(settled(&sim, "g").await, UpdateStateV1::Successful);
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 1);
    sim.ends_clean().await;
}

/// A change that is overtaken, and a function that goes while its head comes up, leave nothing.
#[tokio::test(start_paused = true)]
async fn what_came_up_for_nothing_goes() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    for round in 0..50_u64 {
        assert!(sim.call("g", "1").await.is_ok());
        sim.put("g", |_| {}).await;
        sim.sleep(round % 9).await;
        sim.put("g", |_| {}).await;
        if round % 3 == 0 {
            sim.sleep(round % 7).await;
            sim.delete("g").await;
            sim.sleep(200).await;
            assert_eq!(sim.world.live(), 0, "round {round}");
            sim.deploy("g", |_| {}).await;
        } else {
            settled(&sim, "g").await;
        }
    }
    sim.sleep(1_000).await;
    assert!(sim.world.live() <= 1);
    sim.ends_clean().await;
}

/// Each write of a function's record is told: tags, reservations. None of them starts another.
#[tokio::test(start_paused = true)]
async fn one_comes_up_for_all_writes_of_one_change() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    assert!(sim.call("g", "1").await.is_ok());
    let starts = sim.world.started();
    sim.world.set_init(Init::Hangs);
    sim.put("g", |_| {}).await;
    for _ in 0..5 {
        sim.sleep(200).await;
        // The same content again, as a change of its tags writes it.
        sim.put("g", |record| record.head.generation -= 1).await;
    }
    assert_eq!(sim.record("g").await.last_update, UpdateStateV1::InProgress);
    assert_eq!(sim.world.started(), starts + 1);
    sim.world.set_init(Init::Fine);
    // The one that hangs takes its time, and then another try.
    assert_eq!(settled(&sim, "g").await, UpdateStateV1::Successful);
    assert!(sim.call("g", "2").await.is_ok());
    assert_eq!(sim.world.started(), starts + 2);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_changes_nothing_starts_nothing() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    assert!(sim.call("g", "1").await.is_ok());
    let starts = sim.world.started();
    sim.put("g", |record| record.head.generation -= 1).await;
    assert_eq!(settled(&sim, "g").await, UpdateStateV1::Successful);
    assert!(sim.call("g", "2").await.is_ok());
    assert_eq!((sim.world.started(), sim.world.live()), (starts, 1));
    sim.ends_clean().await;
}

/// What comes up for a function that is deleted ends then, not when its init is done.
#[tokio::test(start_paused = true)]
async fn the_init_of_a_deleted_function_ends_with_it() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    assert!(sim.call("g", "1").await.is_ok());
    sim.world.set_init(Init::Hangs);
    sim.put("g", |_| {}).await;
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 2);
    sim.delete("g").await;
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 0);
    sim.ends_clean().await;
}

/// The machine's failures are none of the function's: it is served, and calls start their own.
#[tokio::test(start_paused = true)]
async fn what_the_machine_fails_at_is_served_all_the_same() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    assert!(sim.call("g", "1").await.is_ok());
    let step = || StartError::Step {
        step: "join_cgroup".to_owned(),
        reason: "ENOSPC".to_owned(),
    };
    for _ in 0..16 {
        sim.world.push_start_failure(step());
    }
    sim.put("g", |_| {}).await;
    assert_eq!(settled(&sim, "g").await, UpdateStateV1::Successful);
    sim.ends_clean().await;
}
