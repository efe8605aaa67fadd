//! The queue against a fake engine, a store in memory and a clock that outruns the wall.

mod support;

use bytes::Bytes;
use freehold_domain::{
    InvocationId, InvokeError, OutcomeKind, Principal, Qualifier, ThrottleReason,
    live::Live,
    ports::{Clock, CommitError, EventQueue, EventState, Ids},
    record::EventEnd,
};
use freehold_flow::queue::{EnqueueError, EventQueueWorker, NewEvent};
use freehold_testkit::sim::{SimClock, SimIds};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use support::{FAILED, HOUR, QUICK, World, dead, root, tenant};

#[tokio::test(start_paused = true)]
async fn an_event_that_succeeds_is_done_after_one_attempt() {
    let world = World::new(1, |_| (QUICK, Ok(OutcomeKind::Success)));
    let worker = world.worker().await;
    let id = world.enqueue(&worker, 1).await;
    world.run_for(&worker, Duration::from_secs(1)).await;
    assert_eq!(world.attempts(id), [(1, 0)]);
    let state = world.state(id).await;
    assert!(
        matches!(
            state,
            EventState::Ended {
                end: EventEnd::Done,
                attempts: 1,
                ..
            }
        ),
        "{state:?}"
    );
    assert_eq!(worker.counts().await.expect("reads").done, 1);
    let work = worker.work_counts();
    assert_eq!((work.attempts, work.successes, work.in_flight), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_worker_runs_on_a_task_of_its_own_until_it_is_drained() {
    let world = World::new(1, |_| (QUICK, Ok(OutcomeKind::Success)));
    let worker = world.worker().await;
    world.enqueue(&worker, 1).await;
    let task = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    world.clock.sleep(Duration::from_secs(1)).await;
    worker.begin_drain();
    task.await.expect("ends by itself");
    assert_eq!(worker.counts().await.expect("reads").done, 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_while_the_worker_sleeps_wakes_it() {
    let world = World::new(1, |_| (QUICK, Ok(OutcomeKind::Success)));
    let worker = world.worker().await;
    let later = async {
        world.clock.sleep(HOUR).await;
        let id = world.enqueue(&worker, 1).await;
        world.clock.sleep(Duration::from_secs(1)).await;
        id
    };
    let id = tokio::select! {
        () = worker.run() => panic!("nobody drained it"),
        id = later => id,
    };
    assert_eq!(world.attempts(id), [(1, 3600)]);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fails_is_tried_three_times_with_one_id() {
    let world = World::new(1, |_| (QUICK, Ok(FAILED)));
    let worker = world.worker().await;
    let id = world.enqueue(&worker, 1).await;
    world.run_for(&worker, HOUR).await;
    assert_eq!(world.attempts(id), [(1, 0), (2, 60), (3, 180)]);
    let (reason, error) = dead(world.state(id).await);
    assert_eq!(reason, "RetriesExhausted");
    assert_eq!(error.as_deref(), Some("{\"errorMessage\":\"boom\"}"));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_holds_for_the_next_delay_and_the_next_event() {
    let world = World::new(1, |_| (QUICK, Ok(FAILED)));
    let policy = Live::new(world.policy.clone());
    let worker = world.worker_with(policy.clone()).await;
    let first = world.enqueue(&worker, 1).await;
    world.run_for(&worker, Duration::from_secs(10)).await;
    policy.change(|policy| {
        policy.retry_delays = vec![Duration::from_secs(5)];
        policy.attempts_max = 1;
    });
    let second = world.enqueue(&worker, 1).await;
    world.run_for(&worker, HOUR).await;
    // The first had its delay and its number of attempts already.
    assert_eq!(world.attempts(first), [(1, 0), (2, 60), (3, 65)]);
    assert_eq!(world.attempts(second), [(1, 10)]);
}

#[tokio::test(start_paused = true)]
async fn no_run_outlasts_its_lease_whatever_the_policy_was_changed_to() {
    let until = Arc::new(Mutex::new(Vec::new()));
    let seen = until.clone();
    let world = World::new(1, move |invocation| {
        seen.lock()
            .push(invocation.run_until.expect("an event's run has an end"));
        (QUICK, Ok(OutcomeKind::Success))
    });
    let (lease, margin) = (world.policy.lease, world.policy.lease_margin);
    let policy = Live::new(world.policy.clone());
    let worker = world.worker_with(policy.clone()).await;
    let begun = world.clock.now();
    world.enqueue(&worker, 1).await;
    world.run_for(&worker, Duration::from_secs(10)).await;
    policy.change(|policy| policy.lease *= 10);
    world.enqueue(&worker, 1).await;
    world.run_for(&worker, Duration::from_secs(10)).await;
    let seconds = |at: &freehold_domain::Mono| at.since(begun).as_secs();
    let runs: Vec<_> = until.lock().iter().map(seconds).collect();
    let second = Duration::from_secs(10) + 10 * lease - margin;
    assert_eq!(runs, [(lease - margin).as_secs(), second.as_secs()]);
}

#[tokio::test(start_paused = true)]
async fn throttles_do_not_count_and_end_with_the_events_age() {
    let throttled = || InvokeError::Throttled {
        reason: ThrottleReason::ReservedConcurrency,
        retry_after: None,
    };
    let mut world = World::new(1, move |_| (Duration::ZERO, Err(throttled())));
    world.policy.event_age_max = HOUR;
    let worker = world.worker().await;
    let id = world.enqueue(&worker, 1).await;
    world.run_for(&worker, 2 * HOUR).await;
    let attempts = world.attempts(id);
    assert!(
        attempts.iter().all(|(number, _)| *number == 1),
        "{attempts:?}"
    );
    let times: Vec<_> = attempts.iter().take(6).map(|(_, at)| *at).collect();
    assert_eq!(times, [0, 1, 3, 7, 15, 31], "doubling");
    assert!((15..25).contains(&attempts.len()), "{attempts:?}");
    assert_eq!(dead(world.state(id).await).0, "EventAgeExceeded");
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_deleted_function_ends_at_once() {
    let gone = || InvokeError::NotFound {
        function: "f".to_owned(),
        qualifier: Qualifier::Latest,
    };
    let world = World::new(1, move |_| (Duration::ZERO, Err(gone())));
    let worker = world.worker().await;
    let id = world.enqueue(&worker, 1).await;
    world.run_for(&worker, HOUR).await;
    assert_eq!(world.attempts(id), [(1, 0)]);
    assert_eq!(dead(world.state(id).await).0, "FunctionDeleted");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_accepted_is_refused_by_name_and_not_kept() {
    let world = World::new(1, |_| (QUICK, Ok(OutcomeKind::Success)));
    let worker = world.worker().await;
    let owner = tenant(1);
    let enqueue = |who: Principal, bytes: usize, hops: u8| {
        let event = NewEvent {
            hops,
            ..world.event(&owner)
        };
        let worker = worker.clone();
        async move {
            worker
                .enqueue(&who, event, Bytes::from(vec![b'x'; bytes]))
                .await
                .err()
        }
    };
    let limit = 1 << 20;
    let too_large = EnqueueError::TooLarge {
        limit_bytes: limit,
        sent_bytes: limit + 1,
    };
    assert_eq!(
        enqueue(root(&owner), limit as usize + 1, 1).await,
        Some(too_large)
    );
    assert_eq!(
        enqueue(root(&owner), 1, 17).await,
        Some(EnqueueError::LoopDetected { hops: 17 })
    );
    assert_eq!(
        enqueue(root(&tenant(2)), 1, 1).await,
        Some(EnqueueError::Denied {
            tenant: owner.clone()
        })
    );
    world.store.set_failure(Some(CommitError::DiskFull));
    assert_eq!(
        enqueue(root(&owner), 1, 1).await,
        Some(EnqueueError::DiskFull)
    );
    world.store.set_failure(None);
    assert_eq!(worker.counts().await.expect("reads").accepted, 0);
    assert_eq!(
        enqueue(root(&owner), limit as usize, 16).await,
        None,
        "at the limits"
    );
    assert_eq!(worker.counts().await.expect("reads").accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_tenants_backlog_holds_up_nobody_else_and_keeps_its_bound() {
    let mut world = World::new(1, |_| (Duration::from_secs(10), Ok(OutcomeKind::Success)));
    world.policy.in_flight_max = 20;
    world.policy.in_flight_per_tenant = 12;
    world.policy.in_flight_per_function = 20;
    let worker = world.worker().await;
    for _ in 0..500 {
        world.enqueue(&worker, 1).await;
    }
    let small = world.enqueue(&worker, 2).await;
    world.run_for(&worker, HOUR).await;
    let (_, started) = world.attempts(small)[0];
    assert_eq!(started, 0, "the small tenant is served in the first round");
    let running = world.engine.running.lock().clone();
    assert_eq!(
        running[&tenant(1)],
        (0, 12),
        "at its bound and never past it"
    );
    assert_eq!(worker.counts().await.expect("reads").done, 501);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_paused_tenant_is_attempted_until_it_goes_on() {
    let world = World::new(1, |_| (Duration::from_secs(1), Ok(OutcomeKind::Success)));
    let worker = world.worker().await;
    let before = world.enqueue(&worker, 1).await;
    worker.pause(&tenant(1), true);
    let other = world.enqueue(&worker, 2).await;
    world.run_for(&worker, HOUR).await;
    let accepted = world.enqueue(&worker, 1).await;
    world.run_for(&worker, HOUR).await;
    for id in [before, accepted] {
        assert_eq!(world.attempts(id), [], "it waits, and loses no attempt");
        assert!(matches!(world.state(id).await, EventState::Waiting { .. }));
    }
    assert_eq!(world.attempts(other).len(), 1, "others go on");

    let resume = async {
        world.clock.sleep(Duration::from_secs(60)).await;
        worker.pause(&tenant(1), false);
        world.clock.sleep(HOUR).await;
    };
    tokio::select! {
        () = worker.run() => panic!("nobody drained it"),
        () = resume => {}
    }
    for id in [before, accepted] {
        let resumed = 2 * HOUR.as_secs() + 60;
        assert_eq!(world.attempts(id), [(1, resumed)], "it goes on at once");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_disabled_tenants_attempts_come_to_does_not_count() {
    let tries = Mutex::new(0);
    let world = World::new(1, move |_| {
        let mut tries = tries.lock();
        *tries += 1;
        let came = match *tries {
            1..=5 => Err(InvokeError::TenantDisabled),
            _ => Ok(OutcomeKind::Success),
        };
        (Duration::ZERO, came)
    });
    let worker = world.worker().await;
    let id = world.enqueue(&worker, 1).await;
    world.run_for(&worker, HOUR).await;
    let attempts = world.attempts(id);
    assert_eq!(attempts.len(), 6);
    assert!(
        attempts.iter().all(|(attempt, _)| *attempt == 1),
        "{attempts:?}"
    );
    assert_eq!(worker.counts().await.expect("reads").done, 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_past_its_bound_waits_without_losing_an_attempt() {
    let mut world = World::new(1, |_| (Duration::from_secs(10), Ok(OutcomeKind::Success)));
    world.policy.in_flight_per_function = 2;
    let worker = world.worker().await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(world.enqueue(&worker, 1).await);
    }
    world.run_for(&worker, HOUR).await;
    for id in ids {
        let attempts = world.attempts(id);
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].0, 1);
    }
    assert_eq!(world.engine.running.lock()[&tenant(1)].1, 2);
    assert_eq!(worker.counts().await.expect("reads").done, 10);
}

#[tokio::test(start_paused = true)]
async fn waiting_behind_a_full_function_is_no_failure_to_back_off_from() {
    let throttled = Mutex::new(HashMap::<InvocationId, u32>::new());
    let mut world = World::new(1, move |invocation| {
        let mut throttled = throttled.lock();
        let tries = throttled.entry(invocation.id).or_default();
        *tries += 1;
        if *tries > 1 {
            return (QUICK, Ok(OutcomeKind::Success));
        }
        let error = InvokeError::Throttled {
            reason: ThrottleReason::ReservedConcurrency,
            retry_after: None,
        };
        (Duration::from_secs(100), Err(error))
    });
    world.policy.in_flight_per_function = 1;
    let worker = world.worker().await;
    let mut last = None;
    for _ in 0..8 {
        last = Some(world.enqueue(&worker, 1).await);
    }
    world.run_for(&worker, HOUR).await;
    let EventState::Ended { end, .. } = world.state(last.expect("eight of them")).await else {
        panic!("it did not end within the hour");
    };
    assert_eq!(end, EventEnd::Done);
    let attempts = world.attempts(last.expect("eight of them"));
    let [(1, first), (1, second)] = attempts[..] else {
        panic!("throttled once, then run: {attempts:?}");
    };
    let waited = second - first;
    assert!(waited <= 102, "100 s of the first, then one: {waited}");
}

#[tokio::test(start_paused = true)]
async fn what_became_of_events_is_forgotten_after_its_time_and_stays_counted() {
    let world = World::new(1, |invocation| {
        let kind = if invocation.function.tenant == tenant(1) {
            OutcomeKind::Success
        } else {
            FAILED
        };
        (QUICK, Ok(kind))
    });
    let worker = world.worker().await;
    for _ in 0..1100 {
        world.enqueue(&worker, 1).await;
    }
    let done = world.enqueue(&worker, 1).await;
    let dead = world.enqueue(&worker, 2).await;
    world.run_for(&worker, HOUR).await;
    let counts = worker.counts().await.expect("reads");
    assert_eq!((counts.done, counts.dead), (1101, 1));
    world.clock.step(30 * 24 * 3600);
    assert_eq!(worker.forget_ended().await, Ok(0), "too young");
    world.clock.step(-60 * 24 * 3600);
    world.clock.sleep(25 * HOUR).await;
    assert_eq!(worker.forget_ended().await, Ok(1101), "more than a slice");
    let who = Principal::platform("test");
    let state = EventQueue::state(&*world.store, &who, done).await;
    assert_eq!(state, Ok(None));
    let (reason, _) = self::dead(world.state(dead).await);
    assert_eq!(reason, "RetriesExhausted", "is kept for longer");
    world.clock.sleep(14 * 24 * HOUR).await;
    assert_eq!(worker.forget_ended().await, Ok(1));
    assert_eq!(worker.counts().await.expect("reads"), counts);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_runs_and_gives_back_what_takes_too_long() {
    let slow = InvocationId(SimIds::new(1).uuid());
    let world = World::new(1, move |invocation| {
        let secs = if invocation.id == slow { 600 } else { 10 };
        (Duration::from_secs(secs), Ok(OutcomeKind::Success))
    });
    let worker = world.worker().await;
    assert_eq!(
        world.enqueue(&worker, 1).await,
        slow,
        "the first id of the seed"
    );
    let quick = world.enqueue(&worker, 1).await;
    let stop = async {
        world.clock.sleep(Duration::from_secs(1)).await;
        worker.begin_drain();
        let late = world.enqueue(&worker, 1).await;
        std::future::pending::<()>().await;
        late
    };
    tokio::select! {
        () = worker.run() => {}
        _ = stop => {}
    }
    let drained = world.clock.now().since(world.engine.start);
    assert_eq!(drained.as_secs(), 31, "one second, then the grace");
    let kept = world.store.time_kept(&Principal::platform("test")).await;
    let kept = kept.expect("reads").expect("at the end of a drain");
    assert_eq!(kept.wall, world.clock.wall());
    assert!(matches!(
        world.state(quick).await,
        EventState::Ended {
            end: EventEnd::Done,
            ..
        }
    ));
    let given_back = world.state(slow).await;
    assert!(
        matches!(given_back, EventState::Waiting { attempts: 0, .. }),
        "{given_back:?}"
    );
    let counts = worker.counts().await.expect("reads");
    assert_eq!(
        (counts.waiting, counts.running, counts.done),
        (2, 0, 1),
        "late is kept too"
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_written_yet_is_not_run_again() {
    let world = World::new(1, |_| (QUICK, Ok(OutcomeKind::Success)));
    let worker = world.worker().await;
    let id = world.enqueue(&worker, 1).await;
    let disk = async {
        world.clock.sleep(QUICK / 2).await;
        world.store.set_failure(Some(CommitError::DiskFull));
        world.clock.sleep(Duration::from_secs(120)).await;
        world.store.set_failure(None);
        world.clock.sleep(HOUR).await;
    };
    tokio::select! {
        () = worker.run() => panic!("nobody drained it"),
        () = disk => {}
    }
    assert_eq!(world.attempts(id).len(), 1);
    assert!(matches!(
        world.state(id).await,
        EventState::Ended {
            end: EventEnd::Done,
            ..
        }
    ));
}

/// Polls `worker.run()` until it has been polled `polls` times, then drops it: a crash.
async fn run_then_crash(worker: &EventQueueWorker, polls: u64) {
    let mut run = pin!(worker.run());
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        assert!(run.as_mut().poll(cx).is_pending(), "nobody drained it");
        // The next poll comes from a timer or from a finished attempt, as in life.
        if left == 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

/// What a machine's clocks do, sometimes.
fn shake(clock: &SimClock, random: &mut fastrand::Rng) {
    let hours = random.i64(-30..30);
    match random.u8(0..8) {
        0 | 1 => clock.step(hours * 3600),
        2 => clock.suspend(Duration::from_secs(random.u64(0..4000))),
        3 => {
            clock.step(hours * 3600);
            clock.reboot();
        }
        _ => {}
    }
}

/// Events with random outcomes and durations, a store that fails at times, a clock that is set, a
/// machine that sleeps or is booted anew, and a crash after every few polls: every event ends once,
/// runs once at a time, and is not tried more often than policy and crashes explain.
async fn crashes(seed: u64) -> u32 {
    let random = Mutex::new(fastrand::Rng::with_seed(seed));
    let mut world = World::new(seed, move |_| {
        let mut random = random.lock();
        let span = Duration::from_millis(random.u64(0..90_000));
        let result = match random.u8(0..10) {
            0..4 => Ok(FAILED),
            4 => Err(InvokeError::Draining),
            5 => Err(InvokeError::InstanceLost {
                reason: "spawner 1 died".to_owned(),
            }),
            _ => Ok(OutcomeKind::Success),
        };
        (span, result)
    });
    world.policy.in_flight_max = 8;
    world.policy.claim_max = 3;
    let mut random = fastrand::Rng::with_seed(seed ^ 0xfeed);
    let mut ids = Vec::new();
    let mut crashes = 0;
    for round in 0..40 {
        shake(&world.clock, &mut random);
        let worker = world.worker().await;
        if round < 20 {
            ids.push(world.enqueue(&worker, random.u64(1..4)).await);
        }
        if random.u8(0..4) == 0 {
            world.store.set_failure(Some(CommitError::DiskFull));
        }
        // An empty queue has nothing to be polled for: then time ends the round.
        let (polls, half) = (random.u64(1..12), Duration::from_secs(random.u64(1..200)));
        let quiet = async {
            world.clock.sleep(half).await;
            shake(&world.clock, &mut random);
            world.clock.sleep(half).await;
        };
        tokio::select! {
            () = run_then_crash(&worker, polls) => {}
            () = quiet => {}
        }
        world.store.set_failure(None);
        crashes += 1;
    }
    let worker = world.worker().await;
    world.run_for(&worker, 12 * HOUR).await;
    let counts = worker.counts().await.expect("reads");
    assert_eq!(counts.accepted, ids.len() as u64, "seed {seed}");
    assert_eq!(
        counts.done + counts.dead,
        counts.accepted,
        "seed {seed}: {counts:?}"
    );
    let mut ended: BTreeMap<InvocationId, (u32, u32)> = BTreeMap::new();
    for seen in world.engine.seen.lock().iter() {
        let allowed = 1..=world.policy.attempts_max;
        assert!(allowed.contains(&seen.attempt), "seed {seed}: {seen:?}");
        let (ended, cut): &mut (u32, u32) = ended.entry(seen.id).or_default();
        *(if seen.ended { ended } else { cut }) += 1;
    }
    for id in ids {
        let EventState::Ended { end, attempts, .. } = world.state(id).await else {
            panic!("seed {seed}: {id} did not end");
        };
        // A claim that only wrote the end, and was cut short too, counted as well.
        let most = world.policy.attempts_max + crashes;
        assert!(attempts <= most, "seed {seed}: {attempts}");
        let (_, cut) = ended.get(&id).copied().unwrap_or_default();
        assert!(cut <= crashes, "seed {seed}");
        match end {
            EventEnd::Done => assert!(ended.contains_key(&id), "seed {seed}: done without a run"),
            EventEnd::Dead { reason, .. } => assert!(
                ["RetriesExhausted", "EventAgeExceeded"].contains(&reason.as_str()),
                "seed {seed}: {reason}"
            ),
        }
    }
    ended.values().map(|(_, cut)| cut).sum()
}

#[tokio::test(start_paused = true)]
async fn no_crash_loses_an_event_or_ends_it_twice() {
    let mut cut = 0;
    for seed in 0..60 {
        cut += crashes(seed).await;
    }
    assert!(cut > 100, "the crashes cut attempts short: {cut}");
}
