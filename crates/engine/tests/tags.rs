//! What the ledger says of a function's tags: those at the time of the call, told once in each lane.

use crate::support::*;
use freehold_domain::{
    ids::{CoreId, Qualifier},
    ledger::{EntryTags, LedgerEntry},
    ports::Ledger,
};
use std::collections::BTreeMap;

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

async fn lane(sim: &Sim, lane: u16) -> Vec<LedgerEntry> {
    let (frames, _) = Ledger::read(&*sim.store, lane, 0, usize::MAX)
        .await
        .unwrap();
    let read = |frame: &bytes::Bytes| serde_json::from_slice(frame).unwrap();
    frames.iter().map(read).collect()
}

#[tokio::test(start_paused = true)]
async fn an_entry_names_the_tags_of_its_time_and_the_first_of_a_lane_says_what_they_are() {
    let sim = Sim::new().await;
    let (a, b) = (tags(&[("team", "a")]), tags(&[("team", "b"), ("x", "=1")]));
    sim.deploy("f", |function| function.tags = a.clone()).await;
    sim.deploy("g", |_| {}).await;
    for name in ["f", "g", "f"] {
        sim.call(name, "x").await.unwrap();
    }
    sim.deploy("f", |function| function.tags = b.clone()).await;
    sim.call("f", "x").await.unwrap();
    // A call that is under way keeps the tags of its begin, though the function is deleted.
    let running = sim.spawn(0, sim.event("f", "sleep 1000"));
    sim.sleep(100).await;
    sim.delete("f").await;
    running.await.unwrap().unwrap();
    let entries = lane(&sim, 0).await;
    let found: Vec<Option<EntryTags>> = entries.into_iter().map(|entry| entry.tags).collect();
    let id = |at: usize| found[at].as_ref().unwrap().id;
    assert_ne!(id(0), id(3));
    let told = |id, set: Option<&BTreeMap<_, _>>| {
        let set = set.cloned();
        Some(EntryTags { id, set })
    };
    assert_eq!(
        found,
        [
            told(id(0), Some(&a)),
            None,
            told(id(0), None),
            told(id(3), Some(&b)),
            told(id(3), None),
        ]
    );
    // A function of that name without tags has none of those before it.
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    assert_eq!(lane(&sim, 0).await.last().unwrap().tags, None);
}

#[tokio::test(start_paused = true)]
async fn each_lane_and_each_start_tell_tags_anew_and_versions_have_their_functions() {
    let sim = Sim::new().await;
    let a = tags(&[("team", "a")]);
    sim.deploy("f", |function| function.tags = a.clone()).await;
    for core in [0, 1] {
        for _ in 0..2 {
            answer(sim.invoker(core).invoke(sim.event("f", "x")).await)
                .await
                .unwrap();
        }
    }
    let mut told = Vec::new();
    for core in [0, 1] {
        for entry in lane(&sim, core).await {
            assert_eq!(entry.revision, Qualifier::Latest);
            told.push((core, entry.tags.unwrap().set));
        }
    }
    let lanes: Vec<u16> = told.iter().map(|(lane, _)| *lane).collect();
    for core in lanes.iter().copied() {
        let first = told.iter().find(|(lane, _)| *lane == core).unwrap();
        assert_eq!(first.1.as_ref(), Some(&a), "lane {core}");
        let again = told
            .iter()
            .filter(|(lane, set)| *lane == core && set.is_some());
        assert_eq!(again.count(), 1, "lane {core}");
    }
    assert_eq!(told.len(), 4);

    // Another engine over the same records and the same ledger.
    let store = sim.store.clone();
    let before = lane(&sim, 0).await.len();
    let next = Sim::with(|parts| {
        parts.records = store.clone();
        parts.commit = store.clone();
        parts.ledger = store.clone();
    })
    .await;
    next.call("f", "x").await.unwrap();
    let entries = lane(&sim, 0).await;
    assert_eq!(entries.len(), before + 1, "core {:?} wrote it", CoreId(0));
    assert_eq!(entries[before].tags.as_ref().unwrap().set, Some(a));
}
