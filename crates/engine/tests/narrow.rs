//! Few instances at a time for the quickest runs, and as many as are called for where they take
//! longer.

use crate::support::*;
use std::{collections::HashSet, time::Duration};

/// Calls that many times at once on one core: how many instances had an event, and how long it took.
async fn at_once(sim: &Sim, calls: usize, event: &str) -> (usize, Duration) {
    let (before, began) = (sim.world.ran().len(), tokio::time::Instant::now());
    let calls: Vec<_> = (0..calls)
        .map(|_| sim.spawn(0, sim.event("f", event)))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let ran = sim.world.ran();
    let instances: HashSet<_> = ran[before..].iter().map(|(id, _)| *id).collect();
    (instances.len(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn quick_events_wait_for_the_few_at_work_and_others_for_none() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    assert_eq!(at_once(&sim, 16, "sleep 900").await.0, 16);
    assert_eq!(at_once(&sim, 16, "sleep 9").await.0, 16, "not known yet");

    for _ in 0..64 {
        sim.call("f", "sleep 0").await.unwrap();
    }
    let (instances, _) = at_once(&sim, 16, "sleep 1").await;
    assert!(instances <= 4, "{instances} for what three answer as soon");

    // They wait for something: nobody waits for their end.
    let (instances, took) = at_once(&sim, 16, "sleep 50").await;
    assert_eq!(instances, 16);
    assert!(took < Duration::from_millis(60), "{took:?}");
    let (instances, took) = at_once(&sim, 16, "sleep 50").await;
    assert_eq!(instances, 16);
    assert!(took < Duration::from_millis(52), "spared: {took:?}");

    sim.sleep(2000).await;
    for _ in 0..64 {
        sim.call("f", "sleep 0").await.unwrap();
    }
    let (instances, _) = at_once(&sim, 16, "sleep 1").await;
    assert!(instances <= 4, "{instances} after a while");
    sim.ends_clean().await;
}
