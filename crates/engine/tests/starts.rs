//! Starts that do not go as planned, and inits whose line says less than their end.

use crate::support::*;
use freehold_domain::{
    BoxFuture,
    outcome::{FunctionErrorKind, InvokeError, OutcomeKind, ThrottleReason},
    ports::*,
    runtime::RuntimeFamily,
    time::Mono,
};
use freehold_testkit::sandbox::{FakeDriver, FakeWorld};
use std::{sync::Arc, time::Duration};

fn lost() -> StartError {
    StartError::Lost {
        reason: "EPROTO".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_prepared_sandbox_that_died_is_replaced_and_not_for_ever() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.world.push_start_failure(lost());
    sim.call("f", "x").await.unwrap();
    for _ in 0..5 {
        sim.world.push_start_failure(lost());
    }
    let busy = sim.spawn(0, sim.event("f", "sleep 100"));
    sim.sleep(1).await;
    let error = sim.call("f", "x").await.unwrap_err();
    assert!(
        matches!(error, InvokeError::InstanceLost { .. }),
        "{error:?}"
    );
    busy.await.unwrap().unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn no_room_is_waited_for_until_the_callers_deadline() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let full = |times| {
        for _ in 0..times {
            sim.world.push_start_failure(StartError::Exhausted {
                resource: "disk for /tmp".to_owned(),
            });
        }
    };
    // A try every 50 ms: longer than one start is tried for, shorter than the caller waits.
    full(300);
    sim.call("f", "x").await.unwrap();
    full(2000);
    let busy = sim.spawn(0, sim.event("f", "sleep 60000"));
    sim.sleep(1).await;
    let error = sim.call("f", "x").await.unwrap_err();
    assert!(
        matches!(
            error,
            InvokeError::Throttled {
                reason: ThrottleReason::MachineRoom,
                ..
            }
        ),
        "{error:?}"
    );
    let _ = busy.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_gives_its_place_where_there_is_no_other() {
    let sim = Sim::new().await;
    for name in ["f", "g"] {
        sim.deploy(name, |_| {}).await;
    }
    let begun = tokio::time::Instant::now();
    sim.call("f", "x").await.unwrap();
    let usual = begun.elapsed();
    sim.sleep(1_000).await;
    let (live, begun) = (sim.world.live(), tokio::time::Instant::now());
    sim.world.push_start_failure(StartError::Exhausted {
        resource: "instances".to_owned(),
    });
    sim.call("g", "x").await.unwrap();
    assert_eq!((sim.world.live(), sim.engine.stats().evictions), (live, 1));
    // It does not wait for a place that it has made itself: a try every 50 ms.
    let took = begun.elapsed();
    assert!(
        took < usual + Duration::from_millis(50),
        "{took:?}, {usual:?}"
    );
    // Who is at work keeps its place: then there is none to be had until it is done.
    let busy = sim.spawn(0, sim.event("g", "sleep 2000"));
    sim.sleep(1).await;
    for _ in 0..10 {
        sim.world.push_start_failure(StartError::Exhausted {
            resource: "instances".to_owned(),
        });
    }
    sim.call("f", "x").await.unwrap();
    assert_eq!(sim.engine.stats().evictions, 1);
    busy.await.unwrap().unwrap();
    sim.ends_clean().await;
}

/// Instances whose runtime breaks its line at once and is found dead a little later.
struct Breaking(Arc<FakeWorld>);

impl Contract for Breaking {
    fn wiring(&self) -> Wiring {
        Wiring::GuestDials
    }
    fn open(&self, _: Wires, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Link>, OpenError>> {
        Box::pin(async {
            Err(OpenError::Broken {
                reason: "it closed its line".to_owned(),
            })
        })
    }
}

impl SandboxDriver for Breaking {
    fn start(
        &self,
        spec: InstanceSpec,
        deadline: Mono,
    ) -> BoxFuture<'_, Result<Arc<dyn Instance>, StartError>> {
        Box::pin(async move {
            let id = spec.instance;
            let started = FakeDriver(self.0.clone()).start(spec, deadline).await?;
            let instance = self.0.instance(id).expect("it lives");
            tokio::spawn(async move {
                // As long as the word of it takes on a busy machine.
                tokio::time::sleep(Duration::from_millis(200)).await;
                instance.end(ExitCause::OutOfMemory);
            });
            Ok(started)
        })
    }
    fn capacity(&self) -> DriverCapacity {
        FakeDriver(self.0.clone()).capacity()
    }
}

#[tokio::test(start_paused = true)]
async fn an_init_that_runs_out_of_memory_says_so_and_not_that_its_line_broke() {
    let world = FakeWorld::new(1);
    let sim = Sim::with(|parts| {
        parts.driver = Arc::new(Breaking(world.clone()));
        parts.contracts = [(
            RuntimeFamily::Python,
            Arc::new(Breaking(world.clone())) as Arc<dyn Contract>,
        )]
        .into();
    })
    .await;
    sim.deploy("f", |_| {}).await;
    let (kind, text) = sim.call("f", "x").await.unwrap();
    let unhandled = OutcomeKind::FunctionError(FunctionErrorKind::Unhandled);
    assert_eq!(kind, unhandled);
    assert!(text.contains("Runtime.OutOfMemory"), "{text}");
}
