//! Budgets as the engine keeps them: what is used up lets nothing begin, what has begun runs on.

use crate::support::*;
use freehold_domain::{
    Wall,
    budgets::Budgets,
    outcome::{InvokeError, OutcomeKind, ThrottleReason},
    ports::Clock,
    record::{BudgetFunctionV1, BudgetLimitV1, BudgetPeriodV1, BudgetThenV1, BudgetV1, PriceBooks},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

fn budget(limit: BudgetLimitV1, then: BudgetThenV1, of: Option<&str>) -> BudgetV1 {
    BudgetV1 {
        function: of.map(|name| BudgetFunctionV1 {
            region: region(),
            name: name.parse().unwrap(),
        }),
        limit,
        period: BudgetPeriodV1::Hour,
        then,
        set: Wall(0),
        reached: None,
    }
}

/// A node whose budgets the test holds.
async fn node() -> (Sim, Arc<Budgets>) {
    let mut budgets = None;
    let sim = Sim::with(|parts| budgets = Some(parts.budgets.clone())).await;
    for name in ["f", "g"] {
        sim.deploy(name, |_| {}).await;
    }
    (sim, budgets.unwrap())
}

fn set(sim: &Sim, budgets: &Budgets, all: Vec<BudgetV1>) {
    let used = vec![BTreeMap::new(); all.len()];
    let priming = budgets.begin(&tenant(), all, PriceBooks::default());
    budgets.primed(priming, used, &HashSet::new(), sim.clock.wall(), |_| true);
}

fn reason(refused: Result<(OutcomeKind, String), InvokeError>) -> ThrottleReason {
    match refused {
        Err(InvokeError::Throttled { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_used_up_lets_nothing_begin_and_what_waits_is_turned_away() {
    let (sim, budgets) = node().await;
    let three = BudgetLimitV1::Invocations(3);
    set(
        &sim,
        &budgets,
        vec![budget(three, BudgetThenV1::Throttle, Some("f"))],
    );
    assert!(sim.call("f", "x").await.is_ok() && sim.call("f", "x").await.is_ok());
    // Both begin while one more may, and run on.
    let running: Vec<_> = (0..2)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 500")))
        .collect();
    sim.sleep(200).await;
    for call in running {
        assert!(call.await.unwrap().is_ok(), "what has begun runs on");
    }
    assert_eq!(reason(sim.call("f", "x").await), ThrottleReason::Budget);
    assert!(
        sim.call("g", "x").await.is_ok(),
        "another function of the tenant"
    );
    let ran = sim.ledger().await.into_iter();
    let ran = ran.filter(|entry| entry.function == function("f")).count();
    assert_eq!(ran, 4);
    let stats = sim.engine.stats();
    assert_eq!(
        (
            stats.budgets_warned,
            stats.budgets_exhausted,
            stats.budgets_closed
        ),
        (1, 1, 1)
    );
    let told: Vec<_> = budgets
        .take_reached()
        .iter()
        .map(|one| one.percent)
        .collect();
    assert_eq!(told, [80, 100]);
    // The period is over.
    sim.sleep(3_600_000).await;
    assert!(sim.call("f", "x").await.is_ok());
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_for_its_instance_begins_nothing_once_the_budget_is_used_up() {
    let (sim, budgets) = node().await;
    let one = BudgetLimitV1::Invocations(1);
    // A call runs to its end while another's instance comes up: it takes no time of its own.
    assert!(sim.call("g", "x").await.is_ok());
    set(&sim, &budgets, vec![budget(one, BudgetThenV1::Stop, None)]);
    let late = sim.spawn(0, sim.event("f", "late"));
    sim.sleep_us(1).await;
    assert!(sim.call("g", "sleep 0").await.is_ok());
    let late = late.await.unwrap().map(|(kind, text, _)| (kind, text));
    assert_eq!(reason(late), ThrottleReason::BudgetStop);
    assert!(sim.world.ran().iter().all(|(_, event)| event != "late"));
    assert_eq!(reason(sim.call("g", "x").await), ThrottleReason::BudgetStop);
    sim.sleep(24 * 3_600_000).await;
    assert_eq!(reason(sim.call("g", "x").await), ThrottleReason::BudgetStop);
    set(&sim, &budgets, Vec::new());
    assert!(sim.call("f", "x").await.is_ok() && sim.call("g", "x").await.is_ok());
    assert_eq!(sim.engine.stats().budgets_closed, 0);
    sim.ends_clean().await;
}
