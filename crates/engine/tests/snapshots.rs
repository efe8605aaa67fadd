//! Start images of published revisions: made at publish, used by starts, made again, and in
//! nobody's way.

use crate::support::*;
use freehold_domain::{
    BoxFuture,
    ids::{Digest, Qualifier, TenantId},
    outcome::OutcomeKind,
    ports::*,
    record::*,
};
use freehold_engine::EngineParts;
use freehold_testkit::sandbox::{Init, Timing};
use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

const IMAGE_BYTES: u64 = 10 << 20;

/// An engine on a machine with start images.
async fn sim(adjust: impl FnOnce(&mut EngineParts)) -> Sim {
    let sim = Sim::with(adjust).await;
    sim.world.take_images(IMAGE_BYTES);
    sim
}

fn key(name: &str, number: u64) -> Key {
    Key::revision(&tenant(), &region(), &name.parse().unwrap(), number)
}

/// Publishes revision `number` of a function with SnapStart, and waits for what becomes of it.
async fn publish(sim: &Sim, name: &str, number: u64) -> RevisionV1 {
    begin(sim, name, number).await;
    settled(sim, name, number).await
}

async fn begin(sim: &Sim, name: &str, number: u64) {
    let mut spec = sim.spec(1);
    spec.snap_start = true;
    spec.memory = freehold_domain::ids::Mebibytes(3600);
    if name != "f" {
        spec.environment = None;
    }
    let record = RevisionV1 {
        number,
        spec,
        state: FunctionStateV1::Pending,
        image: ImageStateV1::None,
    };
    let op = Op::Put {
        key: key(name, number),
        expect: Expect::Absent,
        bytes: encode(&record),
    };
    sim.store
        .commit(&who(), vec![op], Fence::None)
        .await
        .unwrap();
}

async fn settled(sim: &Sim, name: &str, number: u64) -> RevisionV1 {
    loop {
        let stored = Records::get(&*sim.store, &who(), &key(name, number)).await;
        let record: RevisionV1 = decode(&stored.unwrap().unwrap().bytes).unwrap();
        if record.state != FunctionStateV1::Pending {
            return record;
        }
        sim.sleep(10).await;
    }
}

async fn delete(sim: &Sim, name: &str, number: u64) {
    let op = Op::Delete {
        key: key(name, number),
        expect: Expect::Any,
    };
    sim.store
        .commit(&who(), vec![op], Fence::None)
        .await
        .unwrap();
}

/// Calls a version; its answer, and the tail of its log.
async fn call(sim: &Sim, name: &str, number: u64, body: &str) -> (OutcomeKind, String) {
    let mut event = sim.event(name, body);
    event.qualifier = Qualifier::Revision(number);
    let outcome = sim.run(event).await.unwrap();
    let tail = outcome.head.log_tail.unwrap_or_default();
    (outcome.head.kind, String::from_utf8(tail.to_vec()).unwrap())
}

/// Several at once, so that each needs an instance of its own; their logs.
async fn herd(sim: &Sim, name: &str, number: u64, size: usize) -> Vec<String> {
    let calls = (0..size).map(|_| call(sim, name, number, "sleep 300"));
    let ran = futures_util::future::join_all(calls).await;
    ran.into_iter().map(|(_, tail)| tail).collect()
}

fn restored(tails: &[String]) -> usize {
    tails
        .iter()
        .filter(|tail| tail.contains("Restore Duration"))
        .count()
}

#[tokio::test(start_paused = true)]
async fn what_is_published_waits_while_its_tenant_is_disabled() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    sim.world.push_inits([Init::Hangs]);
    for number in 1..=3 {
        begin(&sim, "f", number).await;
    }
    sim.sleep(1_000).await;
    assert_eq!((sim.world.started(), sim.world.live()), (1, 1));
    crate::tenancy::enable(&sim, tenant().as_str(), false).await;
    sim.sleep(200_000).await;
    assert_eq!((sim.world.started(), sim.world.live()), (1, 0));
    assert_eq!(sim.credentials.live(), 0);
    crate::tenancy::enable(&sim, tenant().as_str(), true).await;
    for number in 1..=3 {
        let record = settled(&sim, "f", number).await;
        let made = (FunctionStateV1::Active, ImageStateV1::Made);
        assert_eq!((record.state, record.image), made, "{number}");
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_published_revision_starts_from_its_image() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    let record = publish(&sim, "f", 1).await;
    assert_eq!(
        (record.state, record.image),
        (FunctionStateV1::Active, ImageStateV1::Made)
    );
    // Its instance has ended, with its credentials and its endpoint.
    assert_eq!((sim.world.live(), sim.platform.live()), (0, 0));
    // Its init was told a near end of them.
    assert_eq!(
        sim.credentials.issued().last(),
        Some(&SessionUse::StartImage)
    );
    assert_eq!((sim.world.images_held(), sim.world.hooks().len()), (1, 1));
    let before = sim.world.hooks()[0];
    assert_eq!(before.1, "before");
    // No library starts a thread beside the first, whatever the memory buys later.
    let threads = |id| {
        let env = sim.world.environment(id).unwrap();
        env.into_iter()
            .find(|(name, _)| name == "OMP_NUM_THREADS")
            .unwrap()
            .1
    };
    assert_eq!(threads(before.0), "1");

    let tails = herd(&sim, "f", 1, 3).await;
    assert_eq!(restored(&tails), 3, "{tails:?}");
    let issued = sim.credentials.issued();
    assert_eq!(issued[issued.len() - 3..], [SessionUse::Invocations; 3]);
    for tail in &tails {
        assert!(tail.contains("Billed Restore Duration"), "{tail}");
        assert!(!tail.contains("Init Duration"), "{tail}");
    }
    // No init ran again, the hooks after it did, and what a twin is told is its own.
    let after: Vec<_> = sim.world.hooks().split_off(1);
    assert!(
        after
            .iter()
            .all(|(id, hook)| *hook == "after" && *id != before.0)
    );
    assert_eq!(after.len(), 3);
    let told = |name: &str| {
        let mut values: Vec<_> = after
            .iter()
            .map(|(id, _)| {
                let env = sim.world.environment(*id).unwrap();
                env.into_iter().find(|(n, _)| n == name).unwrap().1
            })
            .collect();
        values.sort();
        values.dedup();
        values
    };
    assert_eq!(told("AWS_LAMBDA_INITIALIZATION_TYPE"), ["snap-start"]);
    assert_eq!(told("OMP_NUM_THREADS"), ["2"]);
    assert_eq!(told("AWS_LAMBDA_LOG_STREAM_NAME").len(), 3);
    // Each asks for its session with a token of its own; none is in any environment.
    assert_eq!(told("AWS_CONTAINER_AUTHORIZATION_TOKEN").len(), 3);
    let uri = "http://127.0.0.1:9002/_freehold/credentials";
    assert_eq!(told("AWS_CONTAINER_CREDENTIALS_FULL_URI"), [uri]);
    for (id, _) in sim.world.hooks() {
        let env = sim.world.environment(id).unwrap();
        for name in [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ] {
            assert!(env.iter().all(|(n, _)| n != name), "{name}");
        }
    }
    // A warm one says neither, and the head starts as it always did.
    let (_, tail) = call(&sim, "f", 1, "x").await;
    assert!(!tail.contains("Restore Duration"), "{tail}");
    let outcome = sim.run(sim.event("f", "x")).await.unwrap();
    let tail = String::from_utf8(outcome.head.log_tail.unwrap().to_vec()).unwrap();
    assert!(tail.contains("Init Duration"), "{tail}");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_at_publish_fails_the_revision() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    let cases = [
        (
            Init::Fails("Oops".to_owned()),
            "FunctionError.RuntimeInitError",
            "Oops",
        ),
        (
            Init::Exits(3),
            "FunctionError.RuntimeInitError",
            "exit status 3",
        ),
        (Init::Hangs, "FunctionError.InitTimeout", "130 s"),
    ];
    for (number, (init, code, text)) in (1..).zip(cases) {
        sim.world.push_inits([init]);
        match publish(&sim, "f", number).await.state {
            FunctionStateV1::Failed {
                code: found,
                reason,
            } => {
                assert_eq!(found, code);
                assert!(reason.contains(text), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        let mut event = sim.event("f", "x");
        event.qualifier = Qualifier::Revision(number);
        assert!(sim.run(event).await.is_err());
    }
    let (error_type, body) = ("Hook".to_owned(), "{\"errorMessage\":\"no\"}".into());
    sim.world
        .push_prepare_failure(OpenError::Init { error_type, body });
    let failed = publish(&sim, "f", 9).await.state;
    assert!(
        matches!(&failed, FunctionStateV1::Failed { reason, .. } if reason == "Hook: no"),
        "{failed:?}"
    );
    // A hook that ends the process without a word has failed too: nothing was refused.
    sim.world.push_prepare_exit(7);
    let failed = publish(&sim, "f", 10).await.state;
    assert!(
        matches!(&failed, FunctionStateV1::Failed { reason, .. } if reason.ends_with("exit status 7")),
        "{failed:?}"
    );
    assert_eq!((sim.world.live(), sim.world.images_held()), (0, 0));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_carried_is_served_plainly_with_its_hooks() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    let refusal = |reason: &str| reason.to_owned();
    for (number, text) in [
        (1, "2 threads"),
        (2, "descriptor 7 is a socket"),
        (3, "later"),
    ] {
        match number {
            1 => sim.world.push_prepare_failure(OpenError::Broken {
                reason: refusal(text),
            }),
            2 => {
                let reason = refusal(text);
                sim.world.push_image_failure(ImageError::Refused { reason });
            }
            _ => {
                for _ in 0..3 {
                    let (step, reason) = ("freeze".to_owned(), refusal(text));
                    sim.world
                        .push_image_failure(ImageError::Step { step, reason });
                }
            }
        }
        let record = publish(&sim, "f", number).await;
        assert_eq!(record.state, FunctionStateV1::Active);
        match record.image {
            ImageStateV1::Refused { reason } => assert!(reason.contains(text), "{reason}"),
            other => panic!("{other:?}"),
        }
        let hooks = sim.world.hooks().len();
        let (_, tail) = call(&sim, "f", number, "x").await;
        assert!(tail.contains("Init Duration"), "{tail}");
        let ran: Vec<_> = sim.world.hooks()[hooks..].iter().map(|(_, h)| *h).collect();
        assert_eq!(ran, ["before", "after"]);
    }
    assert_eq!(sim.world.images_held(), 0);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_knows_no_images_comes_up_on_every_way() {
    let sim = sim(|_| {}).await;
    sim.world.speak_publicly();
    sim.deploy("f", |_| {}).await;
    let record = publish(&sim, "f", 1).await;
    assert_eq!(record.state, FunctionStateV1::Active);
    match record.image {
        ImageStateV1::Refused { reason } => assert_eq!(reason, "its contract has no start images"),
        other => panic!("{other:?}"),
    }
    let tails = herd(&sim, "f", 1, 3).await;
    for tail in &tails {
        assert!(tail.contains("Init Duration"), "{tail}");
    }
    // The same instances go on.
    assert_eq!(call(&sim, "f", 1, "x").await.0, OutcomeKind::Success);
    assert!(sim.world.hooks().is_empty());
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn without_an_image_an_init_has_as_long_as_a_call_waits() {
    let sim = sim(|_| {}).await;
    sim.world.speak_publicly();
    sim.deploy("f", |_| {}).await;
    let init = Duration::from_secs(25);
    sim.world.set_timing(Timing {
        init: (init, init),
        ..Timing::default()
    });
    let record = publish(&sim, "f", 1).await;
    assert_eq!(record.state, FunctionStateV1::Active);
    let (kind, tail) = call(&sim, "f", 1, "x").await;
    assert_eq!(kind, OutcomeKind::Success);
    assert!(tail.contains("Init Duration: 25000.00 ms"), "{tail}");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_images_says_so_and_serves() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let record = publish(&sim, "f", 1).await;
    assert_eq!(record.state, FunctionStateV1::Active);
    assert!(matches!(record.image, ImageStateV1::Refused { .. }));
    let (kind, tail) = call(&sim, "f", 1, "x").await;
    assert_eq!(kind, OutcomeKind::Success);
    assert!(tail.contains("Init Duration"), "{tail}");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_image_is_made_again_while_starts_take_the_plain_way() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    publish(&sim, "f", 1).await;
    // It does not come to life: the same start goes on plainly, and leaves it alone for a while.
    let failure = StartError::Step {
        step: "thaw".to_owned(),
        reason: "another kernel".to_owned(),
    };
    sim.world.push_start_failure(failure);
    let (kind, tail) = call(&sim, "f", 1, "x").await;
    assert_eq!(kind, OutcomeKind::Success);
    assert!(tail.contains("Init Duration"), "{tail}");
    assert_eq!(sim.world.images_held(), 0);
    let tails = herd(&sim, "f", 1, 2).await;
    assert_eq!((restored(&tails), sim.world.images_taken()), (0, 1));
    // Then a start that misses it has one made behind it.
    sim.sleep(61_000).await;
    let tails = herd(&sim, "f", 1, 3).await;
    assert_eq!(restored(&tails), 0, "{tails:?}");
    sim.sleep(2_000).await;
    assert_eq!((sim.world.images_held(), sim.world.images_taken()), (1, 2));
    let tails = herd(&sim, "f", 1, 6).await;
    assert!(restored(&tails) >= 1, "{tails:?}");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_while_it_is_restored_is_started_plainly() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    publish(&sim, "f", 1).await;
    sim.world.push_restores([Init::Exits(1)]);
    let (kind, tail) = call(&sim, "f", 1, "x").await;
    assert_eq!(kind, OutcomeKind::Success);
    assert!(tail.contains("Init Duration"), "{tail}");
    assert_eq!(sim.world.images_held(), 0);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_after_a_restore_is_heard() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    publish(&sim, "f", 1).await;
    sim.world.push_restores([Init::Fails("Hook".to_owned())]);
    // As a failed init is: tried once more, on the time of the invocation, and the plain way.
    let (kind, _) = call(&sim, "f", 1, "x").await;
    assert_eq!(kind, OutcomeKind::Success);
    assert_eq!(sim.world.images_held(), 1);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn instances_that_crash_in_a_row_cost_the_image() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    publish(&sim, "f", 1).await;
    for held in [1, 1, 0] {
        let (kind, _) = call(&sim, "f", 1, "signal 11").await;
        assert!(matches!(kind, OutcomeKind::FunctionError(_)));
        assert_eq!(sim.world.images_held(), held);
    }
    // Made again by the next start, which does not wait for it.
    let (_, tail) = call(&sim, "f", 1, "x").await;
    assert!(tail.contains("Init Duration"), "{tail}");
    sim.sleep(2_000).await;
    assert_eq!(sim.world.images_held(), 1);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_ran_out_of_memory_ends_its_image_for_long() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    publish(&sim, "f", 1).await;
    let (kind, _) = call(&sim, "f", 1, "oom").await;
    assert!(matches!(kind, OutcomeKind::FunctionError(_)));
    assert_eq!(sim.world.images_held(), 0);
    // Plain, and no other image is made behind it.
    let (_, tail) = call(&sim, "f", 1, "x").await;
    assert!(tail.contains("Init Duration"), "{tail}");
    sim.sleep(120_000).await;
    assert_eq!(sim.world.images_held(), 0);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_goes_with_its_revision() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    publish(&sim, "f", 1).await;
    publish(&sim, "f", 2).await;
    assert_eq!(sim.world.images_held(), 2);
    delete(&sim, "f", 1).await;
    assert_eq!(sim.world.images_held(), 1);
    assert_eq!(sim.engine.stats().memory_booked_bytes, IMAGE_BYTES);
    // One that goes while its image is made leaves none either.
    begin(&sim, "f", 3).await;
    sim.sleep(3).await;
    delete(&sim, "f", 3).await;
    sim.sleep(1_000).await;
    assert_eq!((sim.world.images_held(), sim.world.live()), (1, 0));
    sim.ends_clean().await;
}

/// Packages that take a while to unpack.
struct Slow(Arc<dyn Packages>);

impl Packages for Slow {
    fn open(
        &self,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Arc<OwnedFd>, PackageError>> {
        let tenant = tenant.clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.0.open(&tenant, digest).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_goes_while_it_is_unpacked_leaves_no_image() {
    let sim = sim(|parts| parts.packages = Arc::new(Slow(parts.packages.clone()))).await;
    sim.deploy("f", |_| {}).await;
    begin(&sim, "f", 1).await;
    sim.sleep(50).await;
    delete(&sim, "f", 1).await;
    sim.sleep(2_000).await;
    // It was made, by somebody who did not know yet.
    assert_eq!((sim.world.images_taken(), sim.world.images_held()), (1, 0));
    assert_eq!(sim.engine.stats().memory_booked_bytes, 0);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_outlives_its_revision_makes_no_image() {
    let sim = sim(|_| {}).await;
    let each = 40 << 20;
    sim.world.set_memory(100 * each, each);
    sim.deploy("f", |_| {}).await;
    publish(&sim, "f", 1).await;
    for _ in 0..3 {
        call(&sim, "f", 1, "signal 11").await;
    }
    assert_eq!((sim.world.images_taken(), sim.world.images_held()), (1, 0));
    // There is memory for one instance, so the start that misses the image waits.
    let busy = sim.spawn(0, sim.event("f", "sleep 2000"));
    sim.sleep(500).await;
    sim.world.set_memory(64 << 20, each);
    let mut event = sim.event("f", "x");
    event.qualifier = Qualifier::Revision(1);
    let waits = sim.spawn(0, event);
    sim.sleep(500).await;
    assert_eq!(sim.engine.stats().starting, 1, "{:?}", sim.engine.stats());
    delete(&sim, "f", 1).await;
    busy.await.unwrap().unwrap();
    assert_eq!(waits.await.unwrap().unwrap().0, OutcomeKind::Success);
    sim.sleep(120_000).await;
    assert_eq!((sim.world.images_taken(), sim.world.images_held()), (1, 0));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn memory_for_images_is_bounded_and_given_back_first_come_last_used() {
    let sim = sim(|parts| {
        parts
            .config
            .change(|config| config.snapshots.memory = Some(freehold_domain::ids::Mebibytes(25)));
        parts.config.change(|config| {
            config.snapshots.tenant_memory = Some(freehold_domain::ids::Mebibytes(25))
        });
    })
    .await;
    sim.deploy("f", |_| {}).await;
    for number in 1..=3 {
        assert_eq!(publish(&sim, "f", number).await.image, ImageStateV1::Made);
    }
    assert_eq!(sim.world.images_held(), 2);
    let (_, tail) = call(&sim, "f", 3, "x").await;
    assert!(tail.contains("Restore Duration"), "{tail}");
    // One that is larger than what an account may hold is said to be.
    sim.world.take_images(26 << 20);
    match publish(&sim, "f", 4).await.image {
        ImageStateV1::Refused { reason } => assert!(reason.contains("26 MB, of 25"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // A machine that is short of memory gets them back once nobody is idle.
    sim.world.set_memory(100 << 20, 60 << 20);
    let tails = herd(&sim, "f", 3, 1).await;
    assert_eq!(tails.len(), 1);
    herd(&sim, "f", 2, 1).await;
    assert!(sim.engine.stats().memory_booked_bytes <= 100 << 20);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_init_at_publish_holds_up_nobody() {
    let sim = sim(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    sim.world
        .push_inits([Init::Hangs, Init::Hangs, Init::Hangs, Init::Hangs]);
    for number in 1..=6 {
        begin(&sim, "f", number).await;
    }
    sim.sleep(10).await;
    let begun = sim.clock.now();
    sim.deploy("g", |_| {}).await;
    assert!(sim.clock.now().since(begun) < Duration::from_secs(1));
    // A node that shuts down waits for none of them.
    sim.ends_clean().await;
}
