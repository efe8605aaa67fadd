//! Calls by an alias's name run what it points at, at every moment, in the parts of its weights.

use crate::support::{Sim, function, region, tenant, who};
use freehold_domain::{
    ids::{AliasName, Qualifier},
    outcome::InvokeError,
    ports::{Commit, Expect, Fence, NotUp, Op},
    record::*,
};
use freehold_testkit::sandbox::Init;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

fn live() -> AliasName {
    "live".parse().unwrap()
}

/// Versions that are ready.
async fn publish(sim: &Sim, numbers: impl IntoIterator<Item = u64>) {
    let put = |number| Op::Put {
        key: version(number),
        expect: Expect::Absent,
        bytes: encode(&RevisionV1 {
            number,
            spec: RevisionSpecV1 {
                environment: None,
                ..sim.spec(number)
            },
            state: FunctionStateV1::Active,
            image: ImageStateV1::None,
        }),
    };
    commit(sim, numbers.into_iter().map(put).collect()).await;
}

async fn commit(sim: &Sim, ops: Vec<Op>) {
    let done = sim.store.commit(&who(), ops, Fence::None).await;
    done.unwrap();
}

fn version(number: u64) -> Key {
    Key::revision(&tenant(), &region(), &function("g").name, number)
}

fn alias_key() -> Key {
    Key::alias(&tenant(), &region(), &function("g").name, &live())
}

/// `live` points at a version, with another at a weight.
fn pointing(number: u64, split: Option<(u64, f64)>) -> Op {
    Op::Put {
        key: alias_key(),
        expect: Expect::Any,
        bytes: encode(&AliasV1 {
            name: live(),
            target: TargetV1::Revision(number),
            split: split.map(|(revision, weight)| SplitV1 { revision, weight }),
            description: String::new(),
            revision_id: String::new(),
        }),
    }
}

fn gone(key: Key) -> Op {
    Op::Delete {
        key,
        expect: Expect::Any,
    }
}

/// What ran.
async fn call(sim: &Sim) -> Result<Qualifier, InvokeError> {
    let mut event = sim.event("g", "1");
    event.qualifier = Qualifier::Alias(live());
    let outcome = sim.run(event).await?;
    let executed = outcome.head.executed.clone();
    outcome.body.collect(1 << 20).await.unwrap();
    Ok(executed)
}

#[tokio::test(start_paused = true)]
async fn the_next_call_runs_what_an_alias_points_at_by_then() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    let absent = call(&sim).await;
    assert!(
        matches!(absent, Err(InvokeError::NotFound { .. })),
        "{absent:?}"
    );
    publish(&sim, 1..=2).await;
    for round in 0..3 {
        for number in [1, 2] {
            commit(&sim, vec![pointing(number, None)]).await;
            let ran = call(&sim).await.unwrap();
            assert_eq!(ran, Qualifier::Revision(number), "round {round}");
        }
    }
    let head = AliasV1 {
        name: live(),
        target: TargetV1::Head,
        split: None,
        description: String::new(),
        revision_id: String::new(),
    };
    let op = Op::Put {
        key: alias_key(),
        expect: Expect::Any,
        bytes: encode(&head),
    };
    commit(&sim, vec![op]).await;
    assert_eq!(call(&sim).await.unwrap(), Qualifier::Latest);
    commit(&sim, vec![gone(alias_key())]).await;
    let absent = call(&sim).await;
    assert!(
        matches!(absent, Err(InvokeError::NotFound { .. })),
        "{absent:?}"
    );
    // A function that is gone takes what is known of its aliases along.
    commit(&sim, vec![pointing(1, None)]).await;
    assert!(call(&sim).await.is_ok());
    commit(
        &sim,
        vec![gone(alias_key()), gone(version(1)), gone(version(2))],
    )
    .await;
    sim.delete("g").await;
    assert!(call(&sim).await.is_err());
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn traffic_is_split_by_the_weights() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    publish(&sim, 1..=2).await;
    const CALLS: u32 = 2_000;
    for weight in [0.0, 0.1, 0.5, 1.0] {
        commit(&sim, vec![pointing(1, Some((2, weight)))]).await;
        let mut second = 0;
        for _ in 0..CALLS {
            second += u32::from(call(&sim).await.unwrap() == Qualifier::Revision(2));
        }
        // Five deviations of a fair draw: one run in millions is further off, by its seed.
        let expected = f64::from(CALLS) * weight;
        let deviation = (expected * (1.0 - weight)).sqrt();
        let off = (f64::from(second) - expected).abs();
        assert!(off <= 5.0 * deviation, "{second} of {CALLS} at {weight}");
    }
    sim.ends_clean().await;
}

/// Three releases under load: the alias moves on, and what it pointed at before is deleted at once.
#[tokio::test(start_paused = true)]
async fn a_release_drops_no_call() {
    let sim = Arc::new(Sim::new().await);
    sim.deploy("g", |_| {}).await;
    publish(&sim, [1]).await;
    commit(&sim, vec![pointing(1, None)]).await;
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (sim, over) = (sim.clone(), over.clone());
            tokio::spawn(async move {
                let mut ran = 0;
                while !over.load(Ordering::Relaxed) {
                    call(&sim).await.unwrap();
                    ran += 1;
                    sim.sleep(1).await;
                }
                ran
            })
        })
        .collect();
    for number in 2..40 {
        publish(&sim, [number]).await;
        sim.sleep(97).await;
        commit(&sim, vec![pointing(number, None)]).await;
        commit(&sim, vec![gone(version(number - 1))]).await;
    }
    sim.sleep(50).await;
    over.store(true, Ordering::Relaxed);
    let mut ran = 0;
    for caller in callers {
        ran += caller.await.unwrap();
    }
    assert!(ran > 500, "{ran} calls are no load");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_traffic_moves_to_is_started_before() {
    let sim = Sim::new().await;
    sim.deploy("g", |_| {}).await;
    publish(&sim, 1..=2).await;
    let of = function("g");
    let up = async |number| sim.engine.comes_up(&of, TargetV1::Revision(number)).await;
    assert_eq!(up(1).await, Ok(()));
    assert_eq!(sim.world.live(), 1);
    // It is there for the next call, and no other is started for that or for another look.
    assert_eq!(up(1).await, Ok(()));
    commit(&sim, vec![pointing(1, None)]).await;
    assert_eq!(call(&sim).await.unwrap(), Qualifier::Revision(1));
    assert_eq!(sim.world.live(), 1);
    // Nothing was asked of the function for it: one call is one entry.
    assert_eq!(sim.ledger().await.len(), 1);

    sim.world.set_init(Init::Fails("A.B".to_owned()));
    let failed = up(2).await;
    assert!(
        matches!(&failed, Err(NotUp::Failed { code, reason })
            if *code == "FunctionError.RuntimeInitError" && reason.starts_with("A.B")),
        "{failed:?}"
    );
    let absent = up(3).await;
    assert!(matches!(absent, Err(NotUp::NotYet { .. })), "{absent:?}");
    sim.world.set_init(Init::Hangs);
    let failed = up(2).await;
    assert!(
        matches!(&failed, Err(NotUp::Failed { code, .. }) if *code == "FunctionError.InitTimeout"),
        "{failed:?}"
    );
    sim.world.set_init(Init::Fine);
    // After a row of failures it is left alone for a while.
    sim.sleep(60_000).await;
    assert_eq!(up(2).await, Ok(()));
    sim.ends_clean().await;
}
