//! The queue on a machine whose clock is set, that sleeps, and that is booted anew.

mod support;

use freehold_domain::{
    InvocationId, OutcomeKind, Principal, QueueTime,
    ports::{Claim, Clock, EventQueue, Ids},
};
use freehold_testkit::sim::SimIds;
use std::time::Duration;
use support::{FAILED, HOUR, QUICK, World, dead};

/// Whoever sets a clock, by how much.
const STEPS_H: [i64; 6] = [1, -1, 12, -12, 24 * 400, -24 * 400];

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_moves_no_event_and_runs_none_twice() {
    for hours in STEPS_H {
        // The first attempt takes longer than the steps below are apart, and fails.
        let world = World::new(1, |invocation| match invocation.attempt {
            1 => (Duration::from_secs(30), Ok(FAILED)),
            _ => (QUICK, Ok(OutcomeKind::Success)),
        });
        let worker = world.worker().await;
        let steps = async {
            let first = world.enqueue(&worker, 1).await;
            // While it runs, then while it waits for its next attempt.
            world.clock.sleep(Duration::from_secs(10)).await;
            world.clock.step(hours * 3600);
            let second = world.enqueue(&worker, 2).await;
            world.clock.sleep(Duration::from_secs(50)).await;
            world.clock.step(hours * 3600);
            world.clock.sleep(HOUR).await;
            (first, second)
        };
        let (first, second) = tokio::select! {
            () = worker.run() => panic!("nobody drained it"),
            ended = steps => ended,
        };
        assert_eq!(world.attempts(first), [(1, 0), (2, 90)], "{hours} h");
        assert_eq!(world.attempts(second), [(1, 10), (2, 100)], "{hours} h");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_kept_for_the_next_start_whatever_that_boots() {
    for (hours, boots) in STEPS_H.into_iter().flat_map(|h| [(h, false), (h, true)]) {
        let world = failing_once();
        let worker = world.worker().await;
        let first = world.enqueue(&worker, 1).await;
        world.run_for(&worker, Duration::from_secs(10)).await;
        world.clock.step(hours * 3600);
        // What comes behind the step has it written down; the machine's own clock needs no word.
        let second = match boots {
            true => Some(world.enqueue(&worker, 2).await),
            false => None,
        };
        drop(worker);
        if boots {
            world.clock.reboot();
        }
        world.clock.sleep(Duration::from_secs(20)).await;
        world.run_for(&*world.worker().await, HOUR).await;
        let at = format!("{hours} h, booted: {boots}");
        assert_eq!(world.attempts(first), [(1, 0), (2, 60)], "{at}");
        if let Some(second) = second {
            assert_eq!(world.attempts(second), [(1, 30), (2, 90)], "{at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_while_the_node_was_down_counts_where_nothing_else_tells_the_time() {
    // By how much the clock is set while the node is down for 20 s; whether the machine boots; when
    // the next attempt is, if there is one.
    let years = 24 * 366 * 2;
    let cases = [
        (12, false, Some(60)),
        (-12, false, Some(60)),
        (years, false, Some(60)),
        // As good as downtime: due at once, or over its age.
        (1, true, Some(30)),
        (12, true, None),
        // Not believed: no time has passed since what was kept at the first second.
        (-12, true, Some(90)),
        (years, true, Some(90)),
        (-years, true, Some(90)),
    ];
    for (hours, boots, next) in cases {
        let world = failing_once();
        let worker = world.worker().await;
        let id = world.enqueue(&worker, 1).await;
        world.run_for(&worker, Duration::from_secs(10)).await;
        drop(worker);
        world.clock.step(hours * 3600);
        if boots {
            world.clock.reboot();
        }
        world.clock.sleep(Duration::from_secs(20)).await;
        world.run_for(&*world.worker().await, HOUR).await;
        let at = format!("{hours} h, booted: {boots}");
        match next {
            Some(next) => assert_eq!(world.attempts(id), [(1, 0), (2, next)], "{at}"),
            None => {
                assert_eq!(world.attempts(id), [(1, 0)], "{at}");
                assert_eq!(dead(world.state(id).await).0, "EventAgeExceeded", "{at}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_ages_while_the_node_is_down() {
    for boots in [false, true] {
        let world = failing_once();
        let id = world.enqueue(&*world.worker().await, 1).await;
        world.clock.sleep(7 * HOUR).await;
        if boots {
            world.clock.reboot();
        }
        world.run_for(&*world.worker().await, HOUR).await;
        assert_eq!(world.attempts(id), []);
        assert_eq!(dead(world.state(id).await).0, "EventAgeExceeded");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_sleeps_ends_delays_and_ages_but_no_lease() {
    let slow = InvocationId(SimIds::new(1).uuid());
    let world = World::new(1, move |invocation| match invocation.attempt {
        _ if invocation.id == slow => (Duration::from_secs(900), Ok(OutcomeKind::Success)),
        1 => (QUICK, Ok(FAILED)),
        _ => (QUICK, Ok(OutcomeKind::Success)),
    });
    let worker = world.worker().await;
    let steps = async {
        let (slow, waiting) = (
            world.enqueue(&worker, 1).await,
            world.enqueue(&worker, 2).await,
        );
        // Twice, so that the second finds what the first has added.
        for _ in 0..2 {
            world.clock.sleep(Duration::from_secs(10)).await;
            world.clock.suspend(2 * HOUR);
            world.enqueue(&worker, 3).await;
        }
        world.clock.sleep(HOUR).await;
        (slow, waiting)
    };
    let (ran, waited) = tokio::select! {
        () = worker.run() => panic!("nobody drained it"),
        ended = steps => ended,
    };
    assert_eq!(ran, slow, "the first id of the seed");
    assert_eq!(world.attempts(ran), [(1, 0)]);
    assert_eq!(world.attempts(waited), [(1, 0), (2, 10)]);
    let aged = world.enqueue(&worker, 4).await;
    world.clock.suspend(7 * HOUR);
    world.run_for(&worker, HOUR).await;
    assert_eq!(dead(world.state(aged).await).0, "EventAgeExceeded");
}

#[tokio::test(start_paused = true)]
async fn the_time_is_kept_after_steps_and_now_and_then_and_not_for_events() {
    let world = World::new(1, |_| (QUICK, Ok(OutcomeKind::Success)));
    let worker = world.worker().await;
    let kept = async || {
        let kept = world.store.time_kept(&Principal::platform("test")).await;
        kept.expect("reads").map(|kept| kept.wall)
    };
    assert_eq!(kept().await, None);
    world.enqueue(&worker, 1).await;
    let first = kept().await;
    assert_eq!(first, Some(world.clock.wall()));
    for _ in 0..50 {
        world.enqueue(&worker, 1).await;
        world.run_for(&worker, Duration::from_secs(1)).await;
    }
    assert_eq!(kept().await, first, "fifty events within a minute");
    world.clock.step(-3600);
    world.enqueue(&worker, 1).await;
    let second = kept().await;
    assert_eq!(second, Some(world.clock.wall()), "before the event");
    world.run_for(&worker, Duration::from_secs(70)).await;
    assert_eq!(kept().await, second, "an empty queue keeps nothing");
    world.enqueue(&worker, 1).await;
    assert_eq!(kept().await, second);
    world.run_for(&worker, Duration::from_secs(1)).await;
    assert!(kept().await > second, "now and then, while there is work");
}

#[tokio::test(start_paused = true)]
async fn moments_for_people_are_the_walls() {
    let world = World::new(1, |_| (QUICK, Ok(OutcomeKind::Success)));
    let worker = world.worker().await;
    let begun = world.clock.wall();
    world.clock.step(5 * 3600);
    world.enqueue(&worker, 1).await;
    let far = QueueTime(world.clock.wall().0) + HOUR;
    let claim = Claim::new(far, HOUR, 1);
    let who = Principal::platform("test");
    let claimed = world.store.claim(&who, claim).await.expect("claims");
    let event = &claimed[0].event;
    assert_eq!(event.accepted, begun + 5 * HOUR);
    let age = world.policy.event_age_max;
    assert_eq!(event.expires, QueueTime(begun.0) + age);
}

/// Fails each event's first attempt at once.
fn failing_once() -> World {
    World::new(1, |invocation| match invocation.attempt {
        1 => (Duration::ZERO, Ok(FAILED)),
        _ => (QUICK, Ok(OutcomeKind::Success)),
    })
}
