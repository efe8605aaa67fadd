//! What instances send to networks is on the ledger once, whatever becomes of them.

use crate::support::*;
use fastrand::Rng;
use freehold_domain::{
    BoxFuture, NetworkBytes,
    ids::{InstanceId, Qualifier},
    ledger::{Ending, NetworkEntry},
    outcome::{InvokeError, ThrottleReason},
    ports::{Clock, CommitError, Ledger, ReadError},
    record::{BudgetLimitV1, BudgetPeriodV1, BudgetThenV1, BudgetV1, PriceBooks},
    time::Wall,
};
use freehold_testkit::{
    sandbox::{FakeInstance, Init},
    storage::MemoryStorage,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const MINUTE: u64 = 60_000;

fn bytes(out: u64, back: u64) -> NetworkBytes {
    NetworkBytes { out, back }
}

/// The instance that ran last.
fn last(sim: &Sim) -> Arc<FakeInstance> {
    let (id, _) = sim.world.ran().pop().expect("something ran");
    sim.world.instance(id).expect("it lives")
}

async fn told(sim: &Sim) -> Vec<NetworkBytes> {
    let entries = sim.networks().await.into_iter();
    entries.map(|entry| entry.bytes).collect()
}

#[tokio::test(start_paused = true)]
async fn a_living_instance_is_asked_once_a_minute_and_once_more_at_its_end() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let began = sim.clock.wall();
    sim.call("f", "x").await.unwrap();
    let instance = last(&sim);
    instance.send(1000, 30);
    assert_eq!(told(&sim).await, [], "nobody waits for it");
    sim.sleep(MINUTE).await;
    assert_eq!(told(&sim).await, [bytes(1000, 30)]);
    // Frozen since, and not asked again once it had nothing new.
    sim.sleep(MINUTE).await;
    let asked = instance.asked();
    instance.send(1, 0);
    sim.sleep(2 * MINUTE).await;
    assert_eq!((told(&sim).await.len(), instance.asked()), (1, asked));
    sim.call("f", "x").await.unwrap();
    instance.send(0, 7);
    sim.sleep(MINUTE).await;
    sim.call("f", "x").await.unwrap();
    instance.send(500, 0);
    sim.delete("f").await;
    sim.sleep(1_000).await;
    assert!(instance.has_ended());
    let entries = sim.networks().await;
    let found: Vec<_> = entries.iter().map(|entry| entry.bytes).collect();
    assert_eq!(found, [bytes(1000, 30), bytes(1, 7), bytes(500, 0)]);
    let mut before = began;
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(entry.sequence as usize, at + 1);
        assert_eq!(entry.instance, instance.spec.instance);
        assert_eq!(entry.function, function("f"));
        assert!(before <= entry.from && entry.from < entry.to, "{entry:?}");
        before = entry.to;
    }
    assert_eq!(sim.engine.stats().network, bytes(1501, 37));
    assert_eq!(
        sim.ledger().await.len(),
        3,
        "attempts are entries of their own"
    );
    sim.ends_clean().await;
    assert_eq!(sim.networks().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_after_a_reading_is_in_the_next_one_frozen_or_not() {
    let sim = Sim::new().await;
    sim.deploy("f", |function| function.head.timeout_s = 900)
        .await;
    let running = sim.spawn(0, sim.event("f", "sleep 70000"));
    sim.sleep(500).await;
    let instance = last(&sim);
    instance.send(1, 0);
    sim.sleep(MINUTE).await;
    assert_eq!(told(&sim).await, [bytes(1, 0)]);
    instance.send(8, 0);
    running.await.unwrap().unwrap();
    sim.sleep(MINUTE).await;
    assert!(instance.is_frozen());
    assert_eq!(told(&sim).await, [bytes(1, 0), bytes(8, 0)]);
    // What it had written before it was frozen went out by and by.
    instance.send(4, 0);
    sim.sleep(MINUTE).await;
    assert_eq!(told(&sim).await.last(), Some(&bytes(4, 0)));
    sim.sleep(MINUTE).await;
    let asked = instance.asked();
    sim.sleep(2 * MINUTE).await;
    assert_eq!(instance.asked(), asked, "it has nothing more");
    // Let go for what is expected, without a use.
    let of = function("f");
    let minimum = sim.engine.set_minimum(&of, &Qualifier::Latest, 1);
    minimum.await.unwrap();
    sim.sleep(1_000).await;
    assert!(!instance.is_frozen());
    instance.send(16, 0);
    sim.sleep(MINUTE).await;
    assert_eq!(told(&sim).await.last(), Some(&bytes(16, 0)));
    sim.ends_clean().await;
    assert_eq!(told(&sim).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_core_whose_spawner_does_not_answer_holds_up_no_other() {
    let sim = Sim::new().await;
    for name in ["f", "g"] {
        sim.deploy(name, |_| {}).await;
    }
    let began = sim.clock.wall();
    let calls: Vec<_> = (0..10)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let deaf = sim.world.living();
    assert_eq!(deaf.len(), 10);
    deaf.iter().for_each(|instance| instance.deafen());
    sim.spawn(1, sim.event("g", "x")).await.unwrap().unwrap();
    last(&sim).send(5, 0);
    sim.sleep(2 * MINUTE).await;
    let [entry] = &sim.networks().await[..] else {
        panic!("one entry");
    };
    let soon = began + Duration::from_millis(MINUTE + 1_000);
    assert!(entry.to < soon, "{entry:?}");
    assert!(deaf.iter().all(|instance| instance.asked() > 0));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn where_there_are_no_links_nobody_is_asked() {
    let sim = Sim::new().await;
    sim.world.set_links(false);
    sim.deploy("f", |function| function.head.timeout_s = 900)
        .await;
    let running = sim.spawn(0, sim.event("f", "sleep 200000"));
    sim.sleep(500).await;
    sim.platform.carried()[0].count_out(3);
    sim.sleep(2 * MINUTE).await;
    assert_eq!(told(&sim).await, [bytes(3, 0)]);
    assert_eq!(last(&sim).asked(), 0);
    running.await.unwrap().unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_an_instance_what_it_sent_is_told() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let mut expected = Vec::new();
    for (at, event) in ["exit 3", "signal 11", "oom", "lost", "break", "hang"]
        .into_iter()
        .enumerate()
    {
        sim.call("f", "x").await.unwrap();
        let sent = bytes(100 + at as u64, 0);
        last(&sim).send(sent.out, 0);
        let _ = sim.call("f", event).await;
        expected.push(sent);
        assert_eq!(
            told(&sim).await,
            expected,
            "{event}: before its caller hears"
        );
    }
    // While nobody uses it.
    sim.call("f", "x").await.unwrap();
    last(&sim).send(9, 9);
    last(&sim).end(freehold_domain::ports::ExitCause::Exited(0));
    sim.sleep(10).await;
    expected.push(bytes(9, 9));
    assert_eq!(told(&sim).await, expected);
    // At the end of the node.
    sim.call("f", "x").await.unwrap();
    last(&sim).send(5, 0);
    sim.ends_clean().await;
    expected.push(bytes(5, 0));
    assert_eq!(told(&sim).await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_carried_for_an_instance_counts_with_what_goes_over_a_link() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    let [carried] = &sim.platform.carried()[..] else {
        panic!("one instance");
    };
    carried.count_out(40);
    carried.count_back(2);
    last(&sim).send(2, 0);
    sim.sleep(MINUTE).await;
    assert_eq!(told(&sim).await, [bytes(42, 2)]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_init_sent_before_it_failed_is_told() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.world.set_init(Init::Fails("Oops".to_owned()));
    let call = sim.spawn(0, sim.event("f", "x"));
    while sim.platform.carried().is_empty() {
        sim.sleep_us(10).await;
    }
    sim.platform.carried()[0].count_out(77);
    let _ = call.await.unwrap();
    assert_eq!(told(&sim).await, [bytes(77, 0)]);
    sim.ends_clean().await;
}

/// Waits for the sandbox of the next init, the `n`th of all.
async fn coming_up(sim: &Sim, n: u64) -> Arc<FakeInstance> {
    while sim.world.started() < n {
        sim.sleep(1).await;
    }
    let living = sim.world.living();
    living.into_iter().next().expect("it comes up")
}

#[tokio::test(start_paused = true)]
async fn a_second_init_goes_on_where_the_entries_of_the_first_ended() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    sim.world.push_inits([Init::Hangs]);
    let call = sim.spawn(0, sim.event("f", "x"));
    let first = coming_up(&sim, 1).await;
    first.send(7, 0);
    let second = coming_up(&sim, 2).await;
    second.send(9, 0);
    assert_eq!(first.spec.instance, second.spec.instance);
    call.await.unwrap().unwrap();
    sim.ends_clean().await;
    let entries = sim.networks().await;
    let found: Vec<_> = entries
        .iter()
        .map(|one| (one.instance, one.sequence, one.bytes))
        .collect();
    let id = second.spec.instance;
    assert_eq!(found, [(id, 1, bytes(7, 0)), (id, 2, bytes(9, 0))]);
    assert!(entries[0].to <= entries[1].from, "{entries:?}");
}

#[tokio::test(start_paused = true)]
async fn an_init_is_asked_while_it_runs() {
    let sim = Sim::new().await;
    sim.deploy("f", |function| function.head.timeout_s = 900)
        .await;
    sim.world.push_inits([Init::Hangs, Init::Hangs]);
    let call = sim.spawn(0, sim.event("f", "x"));
    let second = coming_up(&sim, 2).await;
    second.send(100, 0);
    sim.sleep(MINUTE).await;
    assert_eq!(told(&sim).await, [bytes(100, 0)]);
    assert!(!call.is_finished(), "it has the function's time");
    second.send(20, 0);
    let _ = call.await.unwrap();
    assert_eq!(told(&sim).await, [bytes(100, 0), bytes(20, 0)]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_init_sent_whose_caller_went_away_is_told() {
    let sim = Sim::new().await;
    sim.deploy("f", |_| {}).await;
    let fails = Init::Fails("Oops".to_owned());
    sim.world.push_inits([fails, Init::Hangs]);
    let call = sim.spawn(0, sim.event("f", "x"));
    coming_up(&sim, 2).await.send(50, 0);
    sim.sleep(100).await;
    call.abort();
    sim.sleep(100).await;
    assert_eq!(
        (told(&sim).await, sim.world.live()),
        (vec![bytes(50, 0)], 0)
    );
    // One whose init would go well ends as well.
    let fails = Init::Fails("Oops".to_owned());
    sim.world.push_inits([fails]);
    let call = sim.spawn(0, sim.event("f", "x"));
    coming_up(&sim, 4).await;
    call.abort();
    sim.sleep(1_000).await;
    assert_eq!(sim.world.live(), 0);
    let endings = sim.ledger().await.into_iter().map(|entry| entry.ending);
    assert_eq!(endings.collect::<Vec<_>>(), [Ending::Cancelled; 2]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_has_the_tags_of_the_begin_of_its_time() {
    let sim = Sim::new().await;
    let tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    sim.deploy("f", |function| function.tags = tags.clone())
        .await;
    let running = sim.spawn(0, sim.event("f", "sleep 1000"));
    sim.sleep(500).await;
    let [carried] = &sim.platform.carried()[..] else {
        panic!("one instance");
    };
    carried.count_out(1);
    // It is nobody's any more when it ends.
    sim.delete("f").await;
    running.await.unwrap().unwrap();
    sim.sleep(100).await;
    let attempt = sim.ledger().await.remove(0).tags.expect("it has tags");
    let [entry] = &sim.networks().await[..] else {
        panic!("one entry");
    };
    let entry = entry.tags.clone().expect("it has tags");
    assert_eq!(entry.id, attempt.id);
    // Whichever is first in the lane says what the id stands for.
    let sets = [attempt.set, entry.set];
    assert_eq!(sets.iter().flatten().collect::<Vec<_>>(), [&tags]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_egress_closes_while_what_uses_it_up_goes_on() {
    let mut budgets = None;
    let sim = Sim::with(|parts| budgets = Some(parts.budgets.clone())).await;
    let budgets = budgets.unwrap();
    sim.deploy("f", |function| function.head.timeout_s = 900)
        .await;
    let all = vec![BudgetV1 {
        function: None,
        limit: BudgetLimitV1::Egress(1000),
        period: BudgetPeriodV1::Month,
        then: BudgetThenV1::Stop,
        set: Wall(0),
        reached: None,
    }];
    let priming = budgets.begin(&tenant(), all, PriceBooks::default());
    let used = vec![BTreeMap::new()];
    budgets.primed(priming, used, &HashSet::new(), sim.clock.wall(), |_| true);
    let running = sim.spawn(0, sim.event("f", "sleep 200000"));
    sim.sleep(500).await;
    sim.platform.carried()[0].count_back(5000);
    sim.platform.carried()[0].count_out(999);
    sim.sleep(MINUTE).await;
    assert!(
        sim.call("f", "x").await.is_ok(),
        "what comes in has no part in it"
    );
    sim.platform.carried()[0].count_out(1000);
    sim.sleep(MINUTE).await;
    let refused = sim.call("f", "x").await;
    assert!(
        matches!(
            refused,
            Err(InvokeError::Throttled {
                reason: ThrottleReason::BudgetStop,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(running.await.unwrap().is_ok(), "what has begun runs on");
    sim.ends_clean().await;
}

/// A ledger that refuses what it is told to.
struct Refusing {
    store: Arc<MemoryStorage>,
    refuses: AtomicBool,
}

impl Ledger for Refusing {
    fn append(&self, lane: u16, frame: &[u8]) -> Result<(), CommitError> {
        if self.refuses.load(Ordering::Relaxed) {
            let reason = "no room".to_owned();
            return Err(CommitError::Unavailable { reason });
        }
        Ledger::append(&*self.store, lane, frame)
    }
    fn lanes(&self) -> BoxFuture<'_, Result<Vec<u16>, ReadError>> {
        self.store.lanes()
    }
    fn read(
        &self,
        lane: u16,
        position: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<bytes::Bytes>, u64), ReadError>> {
        Ledger::read(&*self.store, lane, position, limit)
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_in_the_next_entry() {
    let mut refusing = None;
    let sim = Sim::with(|parts| {
        let store = MemoryStorage::new(parts.clock.clone());
        let ledger = Arc::new(Refusing {
            store,
            refuses: AtomicBool::new(false),
        });
        parts.ledger = ledger.clone();
        refusing = Some(ledger);
    })
    .await;
    let ledger = refusing.unwrap();
    sim.deploy("f", |_| {}).await;
    sim.call("f", "x").await.unwrap();
    last(&sim).send(10, 0);
    ledger.refuses.store(true, Ordering::Relaxed);
    sim.sleep(MINUTE).await;
    assert_eq!(sim.engine.stats().network, bytes(0, 0));
    ledger.refuses.store(false, Ordering::Relaxed);
    sim.call("f", "x").await.unwrap();
    last(&sim).send(5, 0);
    sim.ends_clean().await;
    let entries = networks_of(&*ledger).await;
    let found: Vec<_> = entries
        .iter()
        .map(|one| (one.sequence, one.bytes))
        .collect();
    assert_eq!(found, [(1, bytes(15, 0))]);
}

#[tokio::test(start_paused = true)]
async fn by_seed_what_is_told_is_what_was_sent() {
    let sim = Sim::new().await;
    let mut rng = Rng::with_seed(sim.seed);
    let names = ["f", "g", "h"];
    for name in names {
        sim.deploy(name, |_| {}).await;
    }
    let mut sent: HashMap<InstanceId, NetworkBytes> = HashMap::new();
    for _ in 0..300 {
        let name = names[rng.usize(0..3)];
        let event = match rng.u32(0..12) {
            0 => "exit 1",
            1 => "hang",
            2 => "lost",
            3 => "sleep 2000",
            _ => "x",
        };
        let fails = Init::Fails("Oops".to_owned());
        match rng.u32(0..20) {
            0 => sim.world.push_inits([Init::Hangs]),
            1 => sim.world.push_inits([fails, Init::Hangs]),
            2 => sim.world.push_inits([fails]),
            _ => {}
        }
        let calls: Vec<_> = (0..rng.usize(1..4))
            .map(|_| sim.spawn(rng.u16(0..CORES), sim.event(name, event)))
            .collect();
        if rng.bool() {
            sim.sleep(rng.u64(0..3000)).await;
        }
        let mut living = sim.world.living();
        living.sort_by_key(|instance| instance.spec.instance.0);
        for instance in living {
            if rng.u32(0..4) > 0 {
                continue;
            }
            let new = bytes(rng.u64(0..1 << 30), rng.u64(0..2));
            instance.send(new.out, new.back);
            let sum = sent.entry(instance.spec.instance).or_default();
            *sum = *sum + new;
        }
        for call in calls {
            // Its caller went away.
            if rng.u32(0..20) == 0 {
                call.abort();
            }
            let _ = call.await;
        }
        match rng.u32(0..10) {
            0 => sim.change(name).await,
            1 => sim.sleep(rng.u64(0..10 * MINUTE)).await,
            _ => {}
        }
    }
    sim.ends_clean().await;
    let mut found: HashMap<InstanceId, NetworkBytes> = HashMap::new();
    let mut by_instance: HashMap<InstanceId, Vec<NetworkEntry>> = HashMap::new();
    for entry in sim.networks().await {
        assert!(!entry.bytes.is_nothing());
        let sum = found.entry(entry.instance).or_default();
        *sum = *sum + entry.bytes;
        by_instance.entry(entry.instance).or_default().push(entry);
    }
    sent.retain(|_, bytes| !bytes.is_nothing());
    assert_eq!(found, sent);
    for (id, mut entries) in by_instance {
        entries.sort_by_key(|entry| entry.sequence);
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.sequence as usize, at + 1, "{id}");
        }
        let overlaps = entries.windows(2).any(|two| two[0].to > two[1].from);
        assert!(!overlaps, "{entries:?}");
    }
}
