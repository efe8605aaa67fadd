//! What instances weigh against each other: a function's, together, about as much as one, and so
//! do the functions of a tenant.

use crate::support::*;

/// The weights of the instances that ran an event which begins so, each once.
fn weights(sim: &Sim, event: &str) -> Vec<u32> {
    let mut ids: Vec<_> = sim.world.ran().into_iter().collect();
    ids.retain(|(_, ran)| ran.starts_with(event));
    ids.sort_by_key(|(id, _)| id.0);
    ids.dedup_by_key(|(id, _)| id.0);
    let live = ids.iter().filter_map(|(id, _)| sim.world.instance(*id));
    live.filter(|instance| !instance.has_ended())
        .map(|instance| instance.weight())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_crowd_weighs_as_much_as_one_and_one_of_it_alone_again() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.deploy("quiet", |_| {}).await;
    sim.call("quiet", "still").await.unwrap();
    sim.call("f", "x").await.unwrap();
    let whole = weights(&sim, "still")[0];
    assert_eq!(weights(&sim, "x"), [whole]);

    let busy: Vec<_> = (0..16)
        .map(|at| sim.spawn(at % CORES, sim.event("f", "sleep 2000")))
        .collect();
    sim.sleep(1500).await;
    let crowd = weights(&sim, "sleep");
    assert_eq!(crowd, vec![whole / 16; 16], "sixteen share one's weight");
    assert_eq!(weights(&sim, "still"), [whole], "and nobody else's");
    for call in busy {
        call.await.unwrap().unwrap();
    }

    // Who is called right after them is still one of them; later it is not.
    let busy: Vec<_> = (0..16)
        .map(|at| sim.spawn(at % CORES, sim.event("f", "sleep 300")))
        .collect();
    for call in busy {
        call.await.unwrap().unwrap();
    }
    sim.call("f", "soon").await.unwrap();
    assert_eq!(weights(&sim, "soon"), [whole / 16]);
    sim.sleep(3000).await;
    sim.call("f", "later").await.unwrap();
    assert_eq!(weights(&sim, "later"), [whole]);
    sim.ends_clean().await;
}

/// No further call comes that could give it back.
#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_crowd_weighs_as_one_without_a_further_call() {
    let sim = Sim::new().await;
    sim.deploy("f", |record| record.head.timeout_s = 60).await;
    let lasts = sim.spawn(0, sim.event("f", "sleep 20000"));
    sim.sleep(500).await;
    let whole = weights(&sim, "sleep 20000")[0];
    let busy: Vec<_> = (0..7)
        .map(|at| sim.spawn(at % CORES, sim.event("f", "sleep 700")))
        .collect();
    sim.sleep(600).await;
    assert_eq!(weights(&sim, "sleep 20000"), [whole / 8]);
    for call in busy {
        call.await.unwrap().unwrap();
    }
    sim.sleep(3100).await;
    assert_eq!(weights(&sim, "sleep 20000"), [whole]);
    lasts.await.unwrap().unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn who_starts_in_a_crowd_starts_with_its_weight() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let first = sim.spawn(0, sim.event("f", "sleep 2500"));
    sim.sleep(1000).await;
    let whole = weights(&sim, "sleep")[0];
    let busy: Vec<_> = (0..7)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 1000")))
        .collect();
    sim.sleep(800).await;
    // Also the one that ran before there was a crowd.
    assert_eq!(weights(&sim, "sleep"), vec![whole / 8; 8]);
    for call in busy.into_iter().chain([first]) {
        call.await.unwrap().unwrap();
    }
    sim.ends_clean().await;
}

/// Its first event is all that it may ever be told with.
#[tokio::test(start_paused = true)]
async fn who_was_starting_while_the_crowd_grew_weighs_as_the_crowd() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.deploy("quiet", |_| {}).await;
    sim.call("quiet", "still").await.unwrap();
    let whole = weights(&sim, "still")[0];
    let first = sim.spawn(0, sim.event("f", "sleep 1000"));
    // Its sandbox is made by now, and its init takes 10 ms at the least.
    sim.sleep(7).await;
    let others: Vec<_> = (0..7)
        .map(|at| sim.spawn(at % CORES, sim.event("f", "sleep 1000")))
        .collect();
    sim.sleep(500).await;
    assert_eq!(weights(&sim, "sleep"), vec![whole / 8; 8]);
    for call in others.into_iter().chain([first]) {
        call.await.unwrap().unwrap();
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenants_functions_weigh_as_much_as_one_and_one_of_them_alone_again() {
    let sim = Sim::new().await;
    let names = ["f", "g", "h", "k"];
    for name in names.into_iter().chain(["222222222222/other"]) {
        sim.deploy(name, |_| {}).await;
    }
    sim.call("222222222222/other", "still").await.unwrap();
    let whole = weights(&sim, "still")[0];

    let mut busy: Vec<_> = names
        .map(|name| {
            (
                name,
                if name == "f" {
                    "sleep 2500"
                } else {
                    "sleep 2600"
                },
            )
        })
        .map(|(name, event)| sim.spawn(0, sim.event(name, event)))
        .into();
    // Of one function more than one: those weigh as a crowd of their own as well.
    busy.extend((0..3).map(|_| sim.spawn(1, sim.event("f", "sleep 2500"))));
    sim.sleep(500).await;
    assert_eq!(weights(&sim, "sleep 2500"), vec![whole / 16; 4]);
    assert_eq!(weights(&sim, "sleep 2600"), vec![whole / 4; 3]);
    sim.call("222222222222/other", "beside").await.unwrap();
    assert_eq!(weights(&sim, "beside"), [whole], "and nobody else's");
    for call in busy {
        call.await.unwrap().unwrap();
    }
    sim.call("g", "soon").await.unwrap();
    assert_eq!(weights(&sim, "soon"), [whole / 4]);
    sim.sleep(3000).await;
    sim.call("g", "later").await.unwrap();
    assert_eq!(weights(&sim, "later"), [whole]);
    sim.ends_clean().await;
}

/// Calls that have ended or given up are not needed any more; no further call says so.
#[tokio::test(start_paused = true)]
async fn who_runs_on_gets_back_what_the_tenants_others_had() {
    let sim = Sim::new().await;
    for name in ["f", "g", "h", "k"] {
        sim.deploy(name, |record| record.head.timeout_s = 60).await;
    }
    let lasts = sim.spawn(0, sim.event("f", "sleep 20000"));
    sim.sleep(500).await;
    let whole = weights(&sim, "sleep 20000")[0];
    let ends = sim.spawn(1, sim.event("g", "sleep 700"));
    let given_up = sim.spawn(1, sim.event("h", "sleep 10000"));
    let dies = sim.spawn(0, sim.event("k", "exit 1"));
    sim.sleep(5).await;
    assert_eq!(weights(&sim, "sleep 20000"), [whole / 4]);
    sim.sleep(500).await;
    given_up.abort();
    ends.await.unwrap().unwrap();
    dies.await.unwrap().unwrap();
    sim.sleep(3100).await;
    assert_eq!(weights(&sim, "sleep 20000"), [whole]);
    lasts.await.unwrap().unwrap();
    sim.ends_clean().await;
}
