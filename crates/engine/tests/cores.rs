//! Two cores as the server makes them: a thread and a runtime each, real time, real hand-overs.

use crate::support::*;
use freehold_domain::{ids::CoreId, outcome::OutcomeKind, ports::Invoke};
use freehold_testkit::sandbox::Timing;
use std::{sync::Arc, time::Duration};

/// A core's thread; ends when the sender is dropped.
fn core(engine: Arc<freehold_engine::Engine>, core: CoreId) -> tokio::sync::oneshot::Sender<()> {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            engine.on_core(core);
            ready.send(()).expect("the test waits for it");
            let _ = stopped.await;
        });
    });
    is_ready.recv().expect("the core came up");
    stop
}

#[tokio::test]
async fn invocations_meet_on_any_core_and_come_back() {
    let sim = Sim::on_cores(|_| {}, core).await;
    sim.world.set_slots(4);
    let short = (Duration::ZERO, Duration::from_micros(300));
    sim.world.set_timing(Timing {
        run: short,
        ..Timing::default()
    });
    sim.deploy("f", |_| {}).await;
    for _ in 0..20 {
        let calls: Vec<_> = (0..100_u16)
            .map(|n| {
                let (invoker, event): (Arc<dyn Invoke>, _) =
                    (sim.invoker(n / 4 % CORES), sim.event("f", "x"));
                tokio::spawn(async move { answer(invoker.invoke(event).await).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().0, OutcomeKind::Success);
        }
    }
    assert_eq!(sim.ledger().await.len(), 2_000);
    let cores: Vec<_> = sim
        .engine
        .instances(|_| true)
        .await
        .iter()
        .map(|view| view.core)
        .collect();
    assert!(
        cores.contains(&CoreId(0)) && cores.contains(&CoreId(1)),
        "{cores:?}"
    );
    sim.ends_clean().await;
}
