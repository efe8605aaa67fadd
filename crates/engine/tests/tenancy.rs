//! A tenant of its own limit, and one that is disabled while it runs, waits and starts.

use crate::support::*;
use freehold_domain::{
    Qualifier, TenantLimit,
    invocation::Mode,
    outcome::{InvokeError, OutcomeKind, ThrottleReason},
    ports::{Clock, Commit, Expect, Fence, Op},
    record::{Key, TenantV2, encode},
    tenant_limits::LIFTED,
};
use freehold_testkit::sandbox::Init;
use std::time::Duration;

const OTHER: &str = "222222222222/f";

/// Writes a tenant's record as `control` does.
async fn set(sim: &Sim, id: &str, adjust: impl FnOnce(&mut TenantV2)) {
    let id: freehold_domain::TenantId = id.parse().unwrap();
    let mut record = TenantV2::new(id, vec![region()], freehold_domain::Wall(0));
    adjust(&mut record);
    let op = Op::Put {
        key: Key::tenant_record(&record.id),
        expect: Expect::Any,
        bytes: encode(&record),
    };
    let commit = sim.store.commit(&who(), vec![op], Fence::None);
    commit.await.unwrap();
}

pub(crate) async fn enable(sim: &Sim, id: &str, enabled: bool) {
    set(sim, id, |tenant| tenant.enabled = enabled).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_disabled_tenant_runs_ends_and_nothing_of_it_starts() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.deploy(OTHER, |_| {}).await;
    // One that is free, one that is busy, and one that is still in its init.
    assert!(sim.call("f", "x").await.is_ok());
    let busy = sim.spawn(0, sim.event("f", "sleep 2000"));
    sim.sleep(50).await;
    let starting = sim.spawn(1, sim.event("f", "late"));
    let others = sim.spawn(0, sim.event(OTHER, "sleep 2000"));
    sim.sleep_us(1).await;
    let before = sim.world.ran().len();
    enable(&sim, "111111111111", false).await;
    let ended = Err(InvokeError::TenantDisabled);
    assert_eq!(busy.await.unwrap().map(|_| ()), ended);
    assert_eq!(starting.await.unwrap().map(|_| ()), ended);
    let (kind, text, _) = others.await.unwrap().unwrap();
    assert_eq!((kind, text.as_str()), (OutcomeKind::Success, "sleep 2000"));
    for _ in 0..3 {
        assert_eq!(sim.call("f", "x").await.map(|_| ()), ended);
    }
    sim.sleep(1000).await;
    let of =
        |tenant: &'static str| move |f: &freehold_domain::FunctionRef| f.tenant.as_str() == tenant;
    assert!(sim.engine.instances(of("111111111111")).await.is_empty());
    let ran = sim.world.ran();
    let ran: Vec<_> = ran[before..]
        .iter()
        .map(|(_, event)| event.as_str())
        .collect();
    assert!(!ran.contains(&"late"), "{ran:?}");
    assert!(sim.call(OTHER, "x").await.is_ok());

    enable(&sim, "111111111111", true).await;
    let (_, text) = sim.call("f", "again").await.unwrap();
    assert_eq!(text, "again");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn credentials_end_with_the_word_and_not_with_the_last_instance() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.deploy(OTHER, |_| {}).await;
    assert!(sim.call("f", "x").await.is_ok());
    let busy = sim.spawn(0, sim.event("f", "sleep 2000"));
    sim.sleep(50).await;
    assert!(sim.call(OTHER, "x").await.is_ok());
    let starting = sim.spawn(1, sim.event("f", "late"));
    sim.sleep_us(1).await;
    assert_eq!(sim.credentials.live(), 3);
    // Nothing else has run by the time that both are written.
    enable(&sim, "111111111111", false).await;
    assert_eq!(sim.credentials.live(), 1);
    enable(&sim, "111111111111", true).await;
    assert_eq!(sim.credentials.live(), 1);
    assert!(busy.await.unwrap().is_err());
    // Who still waits is served, and not by the instance that was in its init.
    assert!(starting.await.unwrap().is_ok());
    assert_eq!(sim.credentials.live(), 2);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_init_of_a_disabled_tenant_is_ended_also_on_the_time_of_its_call() {
    let sim = Sim::new().await;
    sim.deploy("f", |record| record.head.timeout_s = 900).await;
    sim.world
        .push_inits([Init::Fails("Oops".to_owned()), Init::Hangs]);
    let retried = sim.spawn(0, sim.event("f", "x"));
    sim.sleep(500).await;
    sim.world.push_inits([Init::Hangs]);
    let starting = sim.spawn(1, sim.event("f", "y"));
    sim.sleep(500).await;
    assert_eq!((sim.world.started(), sim.world.live()), (3, 2));
    let (begun, word) = (sim.clock.now(), Err(InvokeError::TenantDisabled));
    enable(&sim, "111111111111", false).await;
    assert_eq!(retried.await.unwrap().map(|_| ()), word);
    assert_eq!(starting.await.unwrap().map(|_| ()), word);
    sim.sleep(100).await;
    assert!(sim.clock.now().since(begun) < Duration::from_secs(1));
    assert_eq!((sim.world.live(), sim.credentials.live()), (0, 0));
    assert!(sim.world.ran().is_empty());

    enable(&sim, "111111111111", true).await;
    assert!(sim.call("f", "again").await.is_ok());
    sim.ends_clean().await;
}

/// A first call reads its function's record while the tenant is disabled and enabled again.
#[tokio::test(start_paused = true)]
async fn a_word_that_meets_first_calls_leaves_no_function_unserved() {
    let sim = Sim::new().await;
    for (before, between) in (0..12).flat_map(|n| (0..12).map(move |m| (n, m))) {
        let name = format!("f{before}-{between}");
        sim.deploy(&name, |_| {}).await;
        let first = sim.spawn(0, sim.event(&name, "x"));
        yields(before).await;
        enable(&sim, "111111111111", false).await;
        yields(between).await;
        enable(&sim, "111111111111", true).await;
        let first = first.await.unwrap().map(|_| ());
        assert!(
            matches!(first, Ok(()) | Err(InvokeError::TenantDisabled)),
            "{name}: {first:?}"
        );
        let second = sim.call(&name, "x").await;
        assert!(second.is_ok(), "{name}: {second:?}");
    }
    sim.ends_clean().await;
}

async fn yields(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// The tenant is enabled again before the run's end is noticed.
#[tokio::test(start_paused = true)]
async fn a_quick_word_is_no_error_of_the_functions() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    // One that still comes up would leave the call to the next.
    assert!(sim.call("f", "x").await.is_ok());
    let busy = sim.spawn(0, sim.event("f", "sleep 2000"));
    sim.sleep(50).await;
    enable(&sim, "111111111111", false).await;
    enable(&sim, "111111111111", true).await;
    let ended = busy.await.unwrap().map(|_| ());
    assert_eq!(ended, Err(InvokeError::TenantDisabled));
    assert!(sim.call("f", "x").await.is_ok());
    sim.ends_clean().await;
}

/// It is nobody's seat yet.
#[tokio::test(start_paused = true)]
async fn an_instance_that_rehearses_ends_with_the_word() {
    let sim = Sim::new().await;
    sim.world.take_ours(vec![Init::Hangs; 10]);
    sim.deploy("f", |_| {}).await;
    let of = function("f");
    let set = sim.engine.set_minimum(&of, &Qualifier::Latest, 1);
    set.await.unwrap();
    sim.sleep(1000).await;
    assert_eq!((sim.world.live(), sim.engine.stats().rehearsals), (1, 0));
    enable(&sim, "111111111111", false).await;
    sim.sleep(100).await;
    assert_eq!((sim.world.live(), sim.credentials.live()), (0, 0));
    sim.sleep(5000).await;
    assert_eq!((sim.world.started(), sim.world.live()), (1, 0));
    assert_eq!(sim.engine.stats().rehearsals_failed, 0);
    sim.ends_clean().await;
}

/// Its process has ended, so the word finds no instance to end.
#[tokio::test(start_paused = true)]
async fn a_run_whose_answer_waits_for_room_ends_with_the_word() {
    let sim = Sim::new().await;
    sim.deploy("f", |record| record.head.timeout_s = 900).await;
    assert!(sim.call("f", "x").await.is_ok());
    let waiting = sim.spawn(0, sim.event("f", "gone 600000"));
    sim.sleep(1000).await;
    assert_eq!(sim.world.live(), 0);
    let begun = sim.clock.now();
    enable(&sim, "111111111111", false).await;
    let told = waiting.await.unwrap().map(|_| ());
    assert_eq!(told, Err(InvokeError::TenantDisabled));
    assert!(sim.clock.now().since(begun) < Duration::from_secs(1));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_was_disabled_before_the_start_stays_so() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    enable(&sim, "111111111111", false).await;
    let store = sim.store.clone();
    let again = Sim::with(|parts| {
        parts.records = store.clone();
        parts.commit = store;
    })
    .await;
    let refused = again.call("f", "x").await.map(|_| ());
    assert_eq!(refused, Err(InvokeError::TenantDisabled));
    again.ends_clean().await;
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenants_own_limit_holds_from_the_write_on() {
    let sim = Sim::with(|parts| parts.limits.change(|limits| limits.account_concurrency = 2)).await;
    sim.deploy("f", |_| {}).await;
    let most = async || {
        let calls: Vec<_> = (0..5)
            .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
            .collect();
        let mut fine = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => fine += 1,
                Err(error) => assert_eq!(
                    error,
                    InvokeError::Throttled {
                        reason: ThrottleReason::AccountConcurrency,
                        retry_after: None,
                    }
                ),
            }
        }
        fine
    };
    assert_eq!(most().await, 2);
    let concurrency = async |limit| {
        set(&sim, "111111111111", |t| {
            t.limits.set(TenantLimit::Concurrency, limit);
        })
        .await;
    };
    concurrency(Some(4)).await;
    assert_eq!(most().await, 4);
    concurrency(Some(0)).await;
    assert_eq!(most().await, 0);
    concurrency(None).await;
    assert_eq!(most().await, 2);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn instances_start_at_their_tenants_rate_and_those_there_are_go_on() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.deploy(OTHER, |_| {}).await;
    set(&sim, "111111111111", |t| {
        t.limits.set(TenantLimit::Starts, Some(2))
    })
    .await;
    let most = async |name: &str| {
        let calls: Vec<_> = (0..6)
            .map(|_| sim.spawn(0, sim.event(name, "sleep 100")))
            .collect();
        let mut fine = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => fine += 1,
                Err(InvokeError::Throttled {
                    reason,
                    retry_after,
                }) => {
                    assert_eq!(reason, ThrottleReason::StartRate);
                    assert!(retry_after.is_some_and(|wait| wait.as_millis() <= 500));
                }
                Err(error) => panic!("{error}"),
            }
        }
        fine
    };
    assert_eq!((most("f").await, most(OTHER).await), (2, 6));
    // Two are there, and a second later two more may start.
    sim.sleep(1000).await;
    let then = most("f").await;
    assert!((3..=4).contains(&then), "{then}");
    set(&sim, "111111111111", |_| {}).await;
    assert_eq!(most("f").await, 6);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn instances_of_a_function_start_at_its_own_rate_whatever_is_deployed() {
    let sim = Sim::with(|parts| {
        parts
            .limits
            .change(|limits| limits.function_starts_per_10_s = Some(10));
    })
    .await;
    for name in ["f", "g", OTHER] {
        sim.deploy(name, |_| {}).await;
    }
    let most = async |name: &str| {
        let calls: Vec<_> = (0..30)
            .map(|_| sim.spawn(0, sim.event(name, "sleep 100")))
            .collect();
        let mut fine = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => fine += 1,
                Err(InvokeError::Throttled {
                    reason,
                    retry_after,
                }) => {
                    assert_eq!(reason, ThrottleReason::FunctionStartRate);
                    assert!(retry_after.is_some_and(|wait| wait.as_millis() <= 3_334));
                }
                Err(error) => panic!("{error}"),
            }
        }
        fine
    };
    // Each function has its own, and those of one account together have more.
    assert_eq!(
        (most("f").await, most("g").await, most(OTHER).await),
        (10, 10, 10)
    );
    // Another revision starts anew, and no faster.
    sim.deploy("f", |record| record.head.timeout_s = 7).await;
    let then = most("f").await;
    assert!(then <= 2, "{then}");
    sim.sleep(20_000).await;
    set(&sim, "111111111111", |t| {
        t.limits.set(TenantLimit::FunctionStarts, Some(3));
        t.limits.set(TenantLimit::Starts, Some(1000));
    })
    .await;
    sim.deploy("f", |record| record.head.timeout_s = 8).await;
    assert_eq!(most("f").await, 3);
    // None of its own, below the node's.
    set(&sim, "111111111111", |t| {
        t.limits.set(TenantLimit::FunctionStarts, Some(LIFTED));
    })
    .await;
    assert_eq!(most("f").await, 30);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_beyond_the_invocations_of_its_second_is_turned_away_and_an_event_is_not() {
    let sim = Sim::with(|parts| parts.limits.change(|limits| limits.account_concurrency = 4)).await;
    sim.deploy("f", |_| {}).await;
    let limit = async |most| {
        set(&sim, "111111111111", |t| {
            t.limits.set(TenantLimit::SyncInvocations, most);
        })
        .await;
        sim.sleep(1000).await;
    };
    let begun = async || {
        let before = sim.clock.now();
        let mut fine = 0;
        while sim.clock.now().since(before) < std::time::Duration::from_millis(1000) {
            match sim.call("f", "sleep 5").await {
                Ok(_) => fine += 1,
                Err(InvokeError::Throttled {
                    reason,
                    retry_after,
                }) => {
                    assert_eq!(reason, ThrottleReason::InvocationRate);
                    assert!(retry_after.is_some_and(|wait| wait.as_secs() <= 1));
                    sim.sleep(5).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        fine
    };
    sim.call("f", "x").await.unwrap();
    // A second's worth at once and what comes in during it.
    limit(None).await;
    let fine = begun().await;
    assert!((79..=81).contains(&fine), "ten times four: {fine}");
    limit(Some(20)).await;
    let fine = begun().await;
    assert!((39..=41).contains(&fine), "{fine}");
    limit(Some(LIFTED)).await;
    let fine = begun().await;
    assert!(fine > 100, "{fine}");
    limit(Some(1)).await;
    for _ in 0..10 {
        let mut event = sim.event("f", "x");
        event.mode = Mode::Event;
        assert!(sim.spawn(0, event).await.unwrap().is_ok());
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn payloads_answers_and_runs_are_within_their_tenants_limits() {
    let sim = Sim::new().await;
    for name in ["f", OTHER] {
        sim.deploy(name, |record| record.head.timeout_s = 30).await;
    }
    set(&sim, "111111111111", |t| {
        t.limits.set(TenantLimit::SyncPayload, Some(1000));
        t.limits.set(TenantLimit::Timeout, Some(1));
    })
    .await;
    let long = "x".repeat(1001);
    assert_eq!(
        sim.call("f", &long).await.map(|_| ()),
        Err(InvokeError::EventTooLarge { limit_bytes: 1000 })
    );
    assert_eq!(sim.call(OTHER, &long).await.unwrap().1, long);
    let (kind, text) = sim.call("f", "sleep 1500").await.unwrap();
    assert_ne!(kind, OutcomeKind::Success, "{text}");
    let (kind, _) = sim.call(OTHER, "sleep 1500").await.unwrap();
    assert_eq!(kind, OutcomeKind::Success);
    sim.ends_clean().await;
}

#[tokio::test]
async fn log_lines_of_all_instances_of_a_tenant_share_its_rate() {
    let sim = Sim::new().await;
    sim.deploy("f", |record| record.head.timeout_s = 30).await;
    set(&sim, "111111111111", |t| {
        t.limits.set(TenantLimit::LogRate, Some(4 << 10))
    })
    .await;
    let calls: Vec<_> = (0..2)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 300")))
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    for view in sim.engine.instances(|_| true).await {
        let instance = sim.world.instance(view.id).unwrap();
        let print = move || instance.print("a line of sixteen\n".repeat(500).as_bytes());
        tokio::task::spawn_blocking(print).await.unwrap();
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let stats = sim.engine.stats();
    let kept = stats.log_lines - stats.log_lines_lost;
    // 227 lines of 18 bytes are a second's worth; a slow machine lets some more through.
    assert_eq!(stats.log_lines, 1000);
    assert!((227..1000).contains(&kept), "{kept}");
    sim.ends_clean().await;
}
