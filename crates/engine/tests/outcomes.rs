//! What one invocation comes to: answers, failures, their texts, their log and their bill.

use crate::support::*;
use freehold_domain::{
    ids::Qualifier,
    ledger::Ending,
    logs::LineKind,
    outcome::{FunctionErrorKind, InvokeError, OutcomeKind, ThrottleReason},
    ports::{Clock, StartError},
    record::{FunctionStateV1, UpdateStateV1},
};
use freehold_testkit::sandbox::Init;
use std::time::Duration;

pub(crate) const UNHANDLED: OutcomeKind = OutcomeKind::FunctionError(FunctionErrorKind::Unhandled);

#[tokio::test(start_paused = true)]
async fn a_ceiling_that_is_lowered_binds_the_next_run_and_not_the_one_that_goes_on() {
    let mut limits = None;
    let sim = Sim::with(|parts| limits = Some(parts.limits.clone())).await;
    let limits = limits.unwrap();
    sim.deploy("f", |_| {}).await;
    let running = sim.spawn(0, sim.event("f", "sleep 2500"));
    sim.sleep(500).await;
    limits.change(|limits| limits.function_timeout_s = 1);
    let (_, text) = sim.call("f", "hang").await.unwrap();
    assert!(text.contains("Task timed out after 1.00 seconds"), "{text}");
    let (kind, _, _) = running.await.unwrap().unwrap();
    assert_eq!(kind, OutcomeKind::Success);
    limits.change(|limits| limits.function_timeout_s = 900);
    let (_, text) = sim.call("f", "hang").await.unwrap();
    assert!(text.contains("Task timed out after 3.00 seconds"), "{text}");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_cold_and_a_warm_answer() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let invocation = sim.event("f", "print hello");
    let id = invocation.id;
    let outcome = sim.run(invocation).await.unwrap();
    let tail = outcome.head.log_tail.clone().unwrap();
    let tail = String::from_utf8_lossy(&tail).into_owned();
    assert_eq!(outcome.head.executed, Qualifier::Latest);
    let (kind, text, usage) = answer(Ok(outcome)).await.unwrap();
    assert_eq!((kind, text.as_str()), (OutcomeKind::Success, "print hello"));
    assert!(
        usage.init_us >= 10_000 && usage.start_us >= 1_000 && usage.run_us > 0,
        "{usage:?}"
    );
    assert_eq!(
        usage.billed_ms,
        (usage.init_us + usage.run_us).div_ceil(1000)
    );
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines.len(), 4, "{tail}");
    assert_eq!(lines[0], format!("START RequestId: {id} Version: $LATEST"));
    assert_eq!(lines[1], "hello");
    assert_eq!(lines[2], format!("END RequestId: {id}"));
    assert!(
        lines[3].starts_with(&format!("REPORT RequestId: {id}\tDuration: ")),
        "{tail}"
    );
    assert!(
        lines[3].contains("\tMax Memory Used: 20 MB\tInit Duration: "),
        "{tail}"
    );

    let (_, _, warm) = answer(sim.run(sim.event("f", "x")).await).await.unwrap();
    assert_eq!((warm.init_us, warm.start_us), (0, 0));
    assert_eq!(warm.billed_ms, warm.run_us.div_ceil(1000));
    assert_eq!(sim.world.started(), 1);
    let ledger = sim.ledger().await;
    assert_eq!(ledger.len(), 2);
    assert_eq!(
        (ledger[0].id, ledger[0].usage, ledger[0].ending),
        (id, usage, Ending::Success)
    );

    let kinds: Vec<_> = sim
        .lines("f")
        .await
        .iter()
        .map(|line| (line.kind, line.invocation))
        .collect();
    assert_eq!(kinds[0], (LineKind::Platform, None), "INIT_START");
    assert_eq!(kinds[2], (LineKind::Function, Some(id)));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn the_environment_is_the_tenants_under_the_reserved_names() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    let env = sim
        .world
        .environment(sim.engine.instances(|_| true).await[0].id)
        .unwrap();
    let get = |name: &str| {
        env.iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(get("GENERATION"), Some("1"));
    assert_eq!(get("AWS_REGION"), Some("us-east-1"), "reserved");
    assert_eq!(get("_HANDLER"), Some("app.handler"));
    assert_eq!(get("AWS_LAMBDA_RUNTIME_API"), Some("127.0.0.1:9001"));
    assert_eq!(get("AWS_ENDPOINT_URL"), Some("http://127.0.0.1:9002"));
    let uri = "http://127.0.0.1:9002/_freehold/credentials";
    assert_eq!(get("AWS_CONTAINER_CREDENTIALS_FULL_URI"), Some(uri));
    let token = get("AWS_CONTAINER_AUTHORIZATION_TOKEN").unwrap();
    assert!(token.starts_with("token of "), "{token}");
    assert_eq!(get("AWS_ACCESS_KEY_ID"), Some("ASIAFAKEFAKEFAKEFAKE"));
    assert_eq!(get("AWS_LAMBDA_LOG_FORMAT"), None);
    assert_eq!(get("OMP_NUM_THREADS"), Some("1"));
    let stream = get("AWS_LAMBDA_LOG_STREAM_NAME").unwrap();
    assert!(
        stream.starts_with("2026/11/") && stream.contains("/[$LATEST]"),
        "{stream}"
    );
    assert_eq!(stream.len(), "2026/11/21/[$LATEST]".len() + 32);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn failures_end_the_instance_and_say_why() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    for (event, kind, says, ending) in [
        (
            "error",
            OutcomeKind::FunctionError(FunctionErrorKind::Handled),
            "\"Oops\"",
            Ending::FunctionError,
        ),
        (
            "exit 3",
            UNHANDLED,
            "Runtime exited with error: exit status 3",
            Ending::Exited,
        ),
        (
            "exit 0",
            UNHANDLED,
            "Runtime exited without providing a reason",
            Ending::Exited,
        ),
        (
            "signal 11",
            UNHANDLED,
            "signal: segmentation fault",
            Ending::Exited,
        ),
        ("oom", UNHANDLED, "Runtime.OutOfMemory", Ending::OutOfMemory),
        (
            "hang",
            UNHANDLED,
            "Task timed out after 3.00 seconds",
            Ending::Timeout,
        ),
        ("break", UNHANDLED, "Runtime.ExitError", Ending::Exited),
    ] {
        let (seen, text) = sim.call("f", event).await.unwrap();
        assert_eq!(seen, kind, "{event}");
        assert!(text.contains(says), "{event}: {text}");
        assert_eq!(sim.ledger().await.last().unwrap().ending, ending, "{event}");
        let lives = usize::from(event == "error");
        assert_eq!(
            sim.world.live(),
            lives,
            "{event}: confirmed before the caller heard"
        );
        assert_eq!(
            sim.call("f", "x").await.unwrap().0,
            OutcomeKind::Success,
            "after {event}"
        );
    }
    let (_, error) = ((), sim.call("f", "lost").await.unwrap_err());
    assert_eq!(
        error,
        InvokeError::InstanceLost {
            reason: "spawner 0 died".to_owned()
        }
    );
    assert_eq!(
        sim.ledger().await.last().unwrap().ending,
        Ending::InstanceLost
    );
    let log = sim.texts("f").await.join("\n");
    for says in [
        "Status: timeout",
        "Task timed out after 3.00 seconds",
        "out of memory: limit 128 MB, peak 20 MB",
        "Error Type: Runtime.ExitError",
    ] {
        assert!(log.contains(says), "{says} is not in {log}");
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_init_is_tried_once_more_within_the_invocation() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.world.push_inits([Init::Fails("A.B".to_owned())]);
    let (kind, text, usage) = answer(sim.run(sim.event("f", "x")).await).await.unwrap();
    assert_eq!(
        (kind, text.as_str(), usage.init_us),
        (OutcomeKind::Success, "x", 0)
    );
    assert!(
        usage.run_us >= 10_000,
        "the second init is part of the run: {usage:?}"
    );
    let log = sim.texts("f").await;
    assert!(
        log[1].starts_with("INIT_REPORT Init Duration: ")
            && log[1].ends_with("Phase: init\tStatus: error\tError Type: A.B\t"),
        "{log:?}"
    );
    assert!(log[2].starts_with("START"), "{log:?}");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn inits_that_fail_say_why_and_then_back_off() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    for (init, says) in [
        (
            Init::Fails("Runtime.ImportModuleError".to_owned()),
            "Runtime.ImportModuleError",
        ),
        (Init::Exits(1), "Runtime exited with error: exit status 1"),
        (Init::Hangs, "Task timed out after 3.00 seconds"),
    ] {
        sim.world.set_init(init);
        let begun = sim.clock.now();
        let (kind, text) = sim.call("f", "x").await.unwrap();
        assert_eq!(kind, UNHANDLED);
        assert!(text.contains(says), "{text}");
        if says.starts_with("Task") {
            // Ten seconds of its own, then the function's three.
            assert!(sim.clock.now().since(begun) >= Duration::from_secs(13));
        }
    }
    let throttled = sim.call("f", "x").await.unwrap_err();
    let InvokeError::Throttled {
        reason: ThrottleReason::InitBackoff,
        retry_after: Some(wait),
    } = throttled
    else {
        panic!("{throttled:?}");
    };
    assert!(wait <= Duration::from_secs(1));
    sim.world.set_init(Init::Fine);
    tokio::time::sleep(wait).await;
    sim.call("f", "x").await.unwrap();
    assert_eq!(sim.engine.stats().init_failures, 3);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_gets_its_next_event_when_it_asks() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    // It ends soon after its answer: the next event is not handed to it.
    sim.call("f", "ends 5").await.unwrap();
    let (kind, _) = sim.call("f", "x").await.unwrap();
    assert_eq!((kind, sim.world.started()), (OutcomeKind::Success, 2));
    // It asks soon: waited for.
    sim.call("f", "late 20").await.unwrap();
    sim.call("f", "x").await.unwrap();
    assert_eq!(sim.world.started(), 2);
    // It works on for long: another instance serves meanwhile, and it serves again after.
    sim.call("f", "late 900").await.unwrap();
    sim.call("f", "x").await.unwrap();
    assert_eq!((sim.world.started(), sim.world.live()), (3, 2));
    sim.sleep(1000).await;
    let both = [0, 1].map(|core| sim.spawn(core, sim.event("f", "sleep 5")));
    for call in both {
        assert_eq!(call.await.unwrap().unwrap().0, OutcomeKind::Success);
    }
    assert_eq!(sim.world.started(), 3);
    // Longer than the function may run: it is ended.
    for _ in 0..2 {
        sim.call("f", "late 1000000").await.unwrap();
    }
    sim.call("f", "x").await.unwrap();
    sim.sleep(4_000).await;
    assert_eq!(sim.world.live(), 1);
    assert!(
        sim.ledger()
            .await
            .iter()
            .all(|entry| entry.ending == Ending::Success)
    );
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn names_states_and_sizes_are_checked() {
    let sim = Sim::new().await;
    assert!(matches!(
        sim.call("f", "x").await,
        Err(InvokeError::NotFound { .. })
    ));
    sim.put("f", |_| {}).await;
    let pending = sim.call("f", "x").await;
    assert!(
        matches!(pending, Err(InvokeError::NotReady { pending: true, .. })),
        "{pending:?}"
    );
    sim.deploy("f", |_| {}).await;
    let mut event = sim.event("f", "x");
    event.qualifier = Qualifier::Revision(9);
    assert!(matches!(
        sim.run(event).await,
        Err(InvokeError::NotFound { .. })
    ));
    let event = sim.event("f", &"x".repeat((6 << 20) + 1));
    assert!(matches!(
        sim.run(event).await,
        Err(InvokeError::EventTooLarge {
            limit_bytes: 6_291_456
        })
    ));
    let mut event = sim.event("f", "x");
    event.hops = 17;
    assert!(matches!(
        sim.run(event).await,
        Err(InvokeError::LoopDetected { hops: 17 })
    ));
    sim.delete("f").await;
    assert!(matches!(
        sim.call("f", "x").await,
        Err(InvokeError::NotFound { .. })
    ));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_on_after_its_answer_counts_as_running() {
    let sim = Sim::new().await;
    sim.deploy("f", |record| record.reserved_concurrency = Some(1))
        .await;
    sim.call("f", "late 1500").await.unwrap();
    // The one that finds it busy takes another instance, those after it are one too many.
    sim.call("f", "x").await.unwrap();
    let reason = ThrottleReason::ReservedConcurrency;
    let refused = sim.call("f", "x").await.unwrap_err();
    let retry_after = None;
    assert_eq!(
        refused,
        InvokeError::Throttled {
            reason,
            retry_after
        }
    );
    sim.sleep(2_000).await;
    sim.call("f", "x").await.unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_replaced_before_its_credentials_end() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let hour = Duration::from_secs(3600);
    sim.credentials.set_end(sim.clock.now() + hour);
    // Used all the time: never idle long enough to be removed for that.
    for minute in 0..=50 {
        sim.call("f", "x").await.unwrap();
        assert_eq!(sim.world.started(), 1, "minute {minute}");
        sim.sleep(60_000).await;
    }
    sim.credentials.set_end(sim.clock.now() + hour);
    for _ in 0..9 {
        sim.call("f", "x").await.unwrap();
        sim.sleep(60_000).await;
    }
    assert_eq!((sim.world.started(), sim.world.live()), (2, 1));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn the_reconciler_goes_on_once_the_machine_can_again() {
    let sim = Sim::new().await;
    let digest = sim.spec(1).package.digest;
    let failed = freehold_domain::ports::PackageError::Failed {
        digest,
        reason: "no space left on device".to_owned(),
    };
    sim.packages.fail(digest, failed);
    sim.put("f", |_| {}).await;
    sim.sleep(60_000).await;
    assert_eq!(sim.record("f").await.state, FunctionStateV1::Pending);
    // The package can be unpacked, and the report cannot be written yet.
    sim.store
        .set_failure(Some(freehold_domain::ports::CommitError::DiskFull));
    sim.packages.mend(digest);
    sim.sleep(60_000).await;
    sim.store.set_failure(None);
    sim.sleep(60_000).await;
    assert_eq!(sim.record("f").await.state, FunctionStateV1::Active);
    sim.call("f", "x").await.unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn the_reconciler_reports_what_cannot_be_made_ready() {
    let sim = Sim::new().await;
    sim.put("g", |record| {
        record.head.runtime = "cobol85".parse().unwrap()
    })
    .await;
    sim.sleep(10).await;
    let record = sim.record("g").await;
    assert!(
        matches!(&record.state, FunctionStateV1::Failed { code, reason }
        if code == "InvalidRuntime" && reason.contains("cobol85")),
        "{record:?}"
    );
    assert!(matches!(
        sim.call("g", "x").await,
        Err(InvokeError::NotReady { pending: false, .. })
    ));

    // A head that cannot be made ready leaves the one before it in service.
    sim.deploy("f", |_| {}).await;
    let error = freehold_domain::ports::PackageError::Refused {
        reason: "a bomb".to_owned(),
    };
    sim.packages.fail(sim.spec(2).package.digest, error);
    sim.put("f", |_| {}).await;
    sim.sleep(10).await;
    let record = sim.record("f").await;
    assert!(
        matches!(&record.last_update, UpdateStateV1::Failed { code, .. } if code == "InvalidZipFileException")
    );
    assert_eq!(
        (record.state, record.served.unwrap().generation),
        (FunctionStateV1::Active, 1)
    );
    sim.call("f", "x").await.unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_spawner_that_dies_is_waited_for() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.world
        .push_start_failure(StartError::SpawnerLost { core: 0 });
    sim.call("f", "x").await.unwrap();
    sim.world.push_start_failure(StartError::Step {
        step: "mount".to_owned(),
        reason: "EPERM".to_owned(),
    });
    let busy = sim.spawn(0, sim.event("f", "sleep 100"));
    sim.sleep(1).await;
    let error = sim.call("f", "x").await.unwrap_err();
    assert!(
        matches!(
            error,
            InvokeError::Internal {
                component: "sandbox",
                ..
            }
        ),
        "{error:?}"
    );
    busy.await.unwrap().unwrap();
    sim.ends_clean().await;
}

/// Its process has ended: the answer is in a socket.
#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_room_outlives_its_process_until_its_time_is_up() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let (kind, text) = sim.call("f", "gone 2500").await.unwrap();
    assert_eq!((kind, text.as_str()), (OutcomeKind::Success, "gone 2500"));
    // Of three seconds.
    let (kind, text) = sim.call("f", "gone 3500").await.unwrap();
    assert_eq!(kind, UNHANDLED, "{text}");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_init_calls_stands_behind_the_call_that_it_is_made_for() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.world.set_init(Init::Hangs);
    let mut event = sim.event("f", "x");
    event.hops = 4;
    let running = sim.spawn(0, event);
    sim.sleep(1_000).await;
    let hops = || sim.platform.callers()[0].as_ref().unwrap().trace.hops;
    assert_eq!(hops(), 5);
    // Its second init, on the time of the invocation.
    sim.sleep(10_000).await;
    assert_eq!(hops(), 5);
    assert_ne!(running.await.unwrap().unwrap().0, OutcomeKind::Success);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_with_who_waits_for_it() {
    let sim = Sim::new().await;
    sim.deploy("f", |record| record.head.timeout_s = 60).await;
    let mut event = sim.event("f", "hang");
    event.hops = 4;
    let (begun, id) = (sim.clock.now(), event.id);
    event.run_until = Some(begun + Duration::from_secs(2));
    let root = event.trace.root_random;
    let invoker = sim.invoker(0);
    let running = tokio::spawn(async move { invoker.invoke(event).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    // What it calls stands behind five functions and has the rest of its time.
    let caller = sim.platform.callers().remove(0).unwrap();
    assert_eq!((caller.trace.hops, caller.trace.root_random), (5, root));
    assert_eq!(caller.trace.parent, Some(id.0.as_u64_pair().1));
    assert_eq!(caller.deadline, Some(begun + Duration::from_secs(2)));
    let outcome = running.await.unwrap().unwrap();
    // Of its own sixty seconds.
    assert_eq!(sim.clock.now().since(begun).as_secs(), 2);
    let (body, _) = outcome.body.collect(1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("timed out after"), "{text}");
    sim.ends_clean().await;
}
