//! Budgets: who may set them, what cannot be, and that what they have used is what the ledger says.

mod support;

use freehold_control::{
    Control, ControlError, Field, Limit, Place, bootstrap::Keys, budgets::NewBudget,
    prices::PricesChange, tenants::NewTenant,
};
use freehold_domain::{
    Digest, FunctionRef, InstanceId, InvocationId, NetworkBytes, Principal, Qualifier, Source,
    TraceHeader, Usage,
    budgets::{BUDGETS_MAX, Budgets, Closed, Settling},
    ledger::{Ending, LedgerEntry, NetworkEntry},
    ports::{Clock, Ledger},
};
use std::sync::{Arc, atomic::Ordering};
use support::*;

const HOUR: i64 = 3_600_000_000;

struct Node {
    w: World,
    operator: Principal,
}

async fn node() -> Node {
    let w = world().await;
    let storage = w.storage.clone();
    let keys = Keys::new(storage, Arc::new(TestSealer), w.clock.clone());
    let operator = "999999999999".parse().unwrap();
    let started = keys.start(Some(&operator), &w.place.region).await.unwrap();
    let operator = Principal::Root {
        tenant: started.tenant.id,
        key: started.key.id,
    };
    Node { w, operator }
}

impl Node {
    async fn set(&self, new: NewBudget) -> Result<String, ControlError> {
        let set = self
            .w
            .control
            .budget_set(&self.operator, &self.w.place, &new);
        Ok(set.await?.budget.name())
    }

    /// An attempt as the engine writes it down.
    fn ran(&self, name: &str, bytes_out: u64) -> LedgerEntry {
        self.ran_with(&self.w.budgets, name, bytes_out)
    }

    fn ran_with(&self, budgets: &Budgets, name: &str, bytes_out: u64) -> LedgerEntry {
        let id = uuid::Uuid::now_v7();
        let entry = LedgerEntry {
            id: InvocationId(id),
            function: self.w.of(name),
            revision: Qualifier::Latest,
            runtime: Digest([0; 32]),
            instance: InstanceId(id),
            attempt: 1,
            source: Source::Api,
            trace: TraceHeader::new_root(id),
            received: self.w.clock.wall(),
            memory_mib: 1024,
            usage: Usage {
                billed_ms: 500,
                bytes_out,
                ..Usage::default()
            },
            ending: Ending::Success,
            tags: None,
        };
        let settling = Settling::of(&entry, &*self.w.clock);
        let append = || Ledger::append(&*self.w.storage, 0, &entry.to_json());
        budgets.settle(0, &settling, append).unwrap();
        entry
    }

    /// What an instance sent, as the engine writes it down.
    fn sent(&self, budgets: &Budgets, name: &str, out: u64) {
        let entry = NetworkEntry {
            instance: InstanceId(uuid::Uuid::now_v7()),
            sequence: 1,
            function: self.w.of(name),
            revision: Qualifier::Latest,
            from: self.w.clock.wall(),
            to: self.w.clock.wall(),
            bytes: NetworkBytes { out, back: 1 << 40 },
            tags: None,
        };
        let settling = Settling::of_network(&entry, &*self.w.clock);
        let append = || Ledger::append(&*self.w.storage, 0, &entry.to_json());
        budgets.settle(0, &settling, append).unwrap();
    }

    /// What the tenant's budgets have used, by name.
    async fn used(&self, control: &Control) -> Vec<(String, String, bool)> {
        let all = control.budget_list(&self.w.who, None).await.unwrap();
        all.iter()
            .map(|one| {
                let limit = &one.budget.limit;
                (one.budget.name(), limit.quantity(one.used), one.is_closed)
            })
            .collect()
    }

    fn closed(&self, of: &FunctionRef) -> Option<Closed> {
        self.w.budgets.closed(of, &*self.w.clock)
    }

    fn later(&self, us: i64) {
        self.w.clock.wall.fetch_add(us, Ordering::Relaxed);
    }
}

fn invocations(count: u64, period: &str) -> NewBudget {
    NewBudget {
        invocations: Some(count),
        period: period.to_owned(),
        ..NewBudget::default()
    }
}

fn shown(name: &str, used: &str, is_closed: bool) -> (String, String, bool) {
    (name.to_owned(), used.to_owned(), is_closed)
}

#[tokio::test]
async fn what_a_budget_has_used_is_what_the_ledger_says_before_and_after_it_was_set() {
    let n = node().await;
    // Some of it is rolled up by then, some is not, and some is of another hour.
    n.ran("f", 100);
    n.w.control.usage_roll_up().await.unwrap();
    n.later(HOUR);
    n.ran("f", 100);
    n.w.control.usage_roll_up().await.unwrap();
    n.ran("f", 100);
    n.ran("g", 7);
    for period in ["hour", "day", "month"] {
        n.set(invocations(5, period)).await.unwrap();
        let of_g = NewBudget {
            function: Some("g".to_owned()),
            gb_seconds: Some("1.25".to_owned()),
            period: period.to_owned(),
            ..NewBudget::default()
        };
        n.set(of_g).await.unwrap();
    }
    let egress = NewBudget {
        egress_bytes: Some(400),
        period: "day".to_owned(),
        then: Some("stop".to_owned()),
        ..NewBudget::default()
    };
    n.set(egress).await.unwrap();
    let expected = |calls: [&str; 2], of_g: &str, egress: &str| {
        [
            shown("egress-day", egress, egress == "407"),
            shown("invocations-day", calls[1], calls[1] == "5"),
            shown("invocations-hour", calls[0], false),
            shown("invocations-month", calls[1], calls[1] == "5"),
            shown("us-east-1/g/gb-seconds-day", of_g, false),
            shown("us-east-1/g/gb-seconds-hour", of_g, false),
            shown("us-east-1/g/gb-seconds-month", of_g, false),
        ]
    };
    assert_eq!(
        n.used(&n.w.control).await,
        expected(["3", "4"], "0.5", "307")
    );
    n.ran("f", 100);
    let now = expected(["4", "5"], "0.5", "407");
    assert_eq!(n.used(&n.w.control).await, now);
    assert_eq!(n.closed(&n.w.of("g")), Some(Closed::Stopped));
    let told = n.w.control.budgets_reached().await;
    assert!(
        told.iter()
            .any(|one| one.percent == 100 && one.budget.name() == "egress-day")
    );

    // The same after a start, from the ledger alone; what was told is not told again.
    let budgets = Arc::new(Budgets::new(1));
    let again = n.w.another_with(budgets.clone());
    again.budgets_start().await.unwrap();
    assert_eq!(n.used(&again).await, now);
    assert!(again.budgets_reached().await.is_empty());
    // Rolled up or not makes no difference.
    n.ran_with(&budgets, "g", 0);
    again.usage_roll_up().await.unwrap();
    let third = n.w.another_with(Arc::new(Budgets::new(1)));
    third.budgets_start().await.unwrap();
    assert_eq!(n.used(&again).await, n.used(&third).await);
    // A stop outlasts the day, and a start within another.
    n.later(24 * HOUR);
    let budgets = Arc::new(Budgets::new(1));
    n.w.another_with(budgets.clone())
        .budgets_start()
        .await
        .unwrap();
    let closed = budgets.closed(&n.w.of("f"), &*n.w.clock);
    assert_eq!(closed, Some(Closed::Stopped));
}

#[tokio::test]
async fn what_instances_send_to_networks_is_egress_and_costs_what_answers_do() {
    let n = node().await;
    let price = PricesChange {
        currency: Some("EUR".to_owned()),
        gb_out: Some("2".to_owned()),
        ..PricesChange::default()
    };
    let set = n.w.control.prices_set(&n.operator, None, &price, None);
    set.await.unwrap();
    // One that no call of the day belongs to, rolled up before and after the budgets are set.
    n.sent(&n.w.budgets, "f", 1 << 30);
    n.w.control.usage_roll_up().await.unwrap();
    n.sent(&n.w.budgets, "f", 1 << 29);
    for period in ["hour", "day"] {
        let egress = NewBudget {
            egress_bytes: Some(2 << 30),
            period: period.to_owned(),
            ..NewBudget::default()
        };
        n.set(egress).await.unwrap();
        let cost = NewBudget {
            cost: Some("5".to_owned()),
            period: period.to_owned(),
            ..NewBudget::default()
        };
        n.set(cost).await.unwrap();
        n.set(invocations(2, period)).await.unwrap();
    }
    let expected = |egress: u64, cost: &str, calls: &str| {
        let is_closed = egress >= 2 << 30;
        let egress = egress.to_string();
        [
            shown("cost-day", cost, false),
            shown("cost-hour", cost, false),
            shown("egress-day", &egress, is_closed),
            shown("egress-hour", &egress, is_closed),
            shown("invocations-day", calls, false),
            shown("invocations-hour", calls, false),
        ]
    };
    assert_eq!(n.used(&n.w.control).await, expected(3 << 29, "3", "0"));
    n.ran("f", 1 << 28);
    assert_eq!(n.used(&n.w.control).await, expected(7 << 28, "3.5", "1"));
    n.sent(&n.w.budgets, "g", 1 << 28);
    let now = expected(8 << 28, "4", "1");
    assert_eq!(n.used(&n.w.control).await, now);
    assert!(matches!(n.closed(&n.w.of("f")), Some(Closed::For(_))));
    // From the ledger alone.
    let again = n.w.another_with(Arc::new(Budgets::new(1)));
    again.budgets_start().await.unwrap();
    assert_eq!(n.used(&again).await, now);
}

#[tokio::test]
async fn raising_and_removing_open_what_was_closed_and_a_function_made_again_is_the_same() {
    let n = node().await;
    let of_f = |count, then: &str| NewBudget {
        function: Some("f".to_owned()),
        then: Some(then.to_owned()),
        ..invocations(count, "month")
    };
    for then in ["throttle", "stop"] {
        n.set(of_f(2, then)).await.unwrap();
        n.ran("f", 0);
        n.ran("f", 0);
        assert!(n.closed(&n.w.of("f")).is_some() && n.closed(&n.w.of("g")).is_none());
        n.w.control.budgets_reached().await;
        // Set anew as it was, it is as it was; raised, it is open.
        n.set(of_f(2, then)).await.unwrap();
        assert!(n.closed(&n.w.of("f")).is_some());
        n.set(of_f(100, then)).await.unwrap();
        assert!(n.closed(&n.w.of("f")).is_none());
        n.set(of_f(1, then)).await.unwrap();
        assert!(n.closed(&n.w.of("f")).is_some());
        let name = "us-east-1/f/invocations-month";
        let rm = async || {
            n.w.control
                .budget_remove(&n.operator, &n.w.place.tenant, name)
                .await
        };
        rm().await.unwrap();
        assert!(n.closed(&n.w.of("f")).is_none() && n.used(&n.w.control).await.is_empty());
        assert!(matches!(rm().await, Err(ControlError::NotFound { .. })));
    }
    // Its usage is its name's, whoever made it.
    let f = n.w.ready("f").await;
    n.w.control.function_delete(&n.w.who, &f).await.unwrap();
    n.w.ready("f").await;
    n.set(of_f(4, "throttle")).await.unwrap();
    assert!(n.closed(&f).is_some());
}

#[tokio::test]
async fn a_cost_is_by_the_prices_of_the_time_also_when_they_change_within_the_period() {
    let n = node().await;
    let price = async |invocation: &str| {
        let change = PricesChange {
            currency: Some("EUR".to_owned()),
            invocation: Some(invocation.to_owned()),
            ..PricesChange::default()
        };
        let set = n.w.control.prices_set(&n.operator, None, &change, None);
        set.await.unwrap();
        n.later(2000);
    };
    let cost = |amount: &str, currency: Option<&str>| NewBudget {
        cost: Some(amount.to_owned()),
        currency: currency.map(str::to_owned),
        period: "day".to_owned(),
        ..NewBudget::default()
    };
    let refused = n.set(cost("1", None)).await;
    assert!(matches!(
        refused,
        Err(ControlError::Invalid {
            field: Field::Budget,
            ..
        })
    ));
    n.ran("f", 0);
    n.set(cost("1", Some("EUR"))).await.unwrap();
    price("0.1").await;
    n.ran("f", 0);
    n.ran("f", 0);
    let used = async || n.used(&n.w.control).await.remove(0);
    assert_eq!(used().await, shown("cost-day", "0.2", false));
    // What was used keeps the price that it had.
    price("0.3").await;
    assert_eq!(used().await, shown("cost-day", "0.2", false));
    n.ran("f", 0);
    assert_eq!(used().await, shown("cost-day", "0.5", false));
    n.w.control.usage_roll_up().await.unwrap();
    let again = n.w.another_with(Arc::new(Budgets::new(1)));
    again.budgets_start().await.unwrap();
    assert_eq!(n.used(&again).await, [shown("cost-day", "0.5", false)]);
    n.ran("f", 0);
    n.ran("f", 0);
    assert_eq!(used().await, shown("cost-day", "1.1", true));
}

#[tokio::test]
async fn a_start_with_the_clock_set_back_reopens_nothing() {
    let n = node().await;
    n.set(invocations(2, "day")).await.unwrap();
    n.ran("f", 0);
    n.ran("f", 0);
    assert!(n.closed(&n.w.of("f")).is_some());
    n.later(-30 * HOUR);
    assert!(n.closed(&n.w.of("f")).is_some());
    let budgets = Arc::new(Budgets::new(1));
    let again = n.w.another_with(budgets.clone());
    again.budgets_start().await.unwrap();
    assert!(budgets.closed(&n.w.of("f"), &*n.w.clock).is_some());
    // Whoever sets it anew goes by the clock.
    let two = invocations(2, "day");
    let set = again.budget_set(&n.operator, &n.w.place, &two);
    assert_eq!(set.await.unwrap().used, 0);
    assert!(budgets.closed(&n.w.of("f"), &*n.w.clock).is_none());
}

#[tokio::test]
async fn only_the_operator_sets_and_whom_they_bind_sees_them() {
    let n = node().await;
    let c = &n.w.control;
    n.set(invocations(9, "day")).await.unwrap();
    let (other, _) = c
        .tenant_create(&n.operator, NewTenant::default())
        .await
        .unwrap();
    let stranger = Principal::Root {
        tenant: other.id.clone(),
        key: "AKIAOTHER".into(),
    };
    for who in [&n.w.who, &stranger] {
        let refused = [
            c.budget_set(who, &n.w.place, &invocations(1, "day"))
                .await
                .err(),
            c.budget_remove(who, &n.w.place.tenant, "invocations-day")
                .await
                .err(),
        ];
        for refused in refused {
            assert!(
                matches!(refused, Some(ControlError::NotOperator)),
                "{refused:?}"
            );
        }
    }
    let own = n.w.place.tenant.as_str();
    assert_eq!(c.budget_list(&n.w.who, Some(own)).await.unwrap().len(), 1);
    assert_eq!(c.budget_list(&n.operator, None).await.unwrap().len(), 1);
    assert!(c.budget_list(&stranger, None).await.unwrap().is_empty());
    let denied = c.budget_list(&stranger, Some(own)).await;
    assert!(matches!(denied, Err(ControlError::Denied { .. })));
    let nobody = Place {
        tenant: "333333333333".parse().unwrap(),
        ..n.w.place.clone()
    };
    let refused = c
        .budget_set(&n.operator, &nobody, &invocations(1, "day"))
        .await;
    assert!(matches!(refused, Err(ControlError::NotFound { .. })));
}

#[tokio::test]
async fn what_cannot_be_a_budget_is_refused_by_name() {
    let n = node().await;
    let new = |adjust: &dyn Fn(&mut NewBudget)| {
        let mut new = invocations(5, "day");
        adjust(&mut new);
        new
    };
    let bad: [&dyn Fn(&mut NewBudget); 14] = [
        &|b| b.invocations = None,
        &|b| b.invocations = Some(0),
        &|b| b.invocations = Some(u64::MAX),
        &|b| b.egress_bytes = Some(5),
        &|b| b.period = "week".to_owned(),
        &|b| b.then = Some("explode".to_owned()),
        &|b| b.function = Some("no function".to_owned()),
        &|b| b.currency = Some("EUR".to_owned()),
        &|b| (b.invocations, b.gb_seconds) = (None, Some("0.0001".to_owned())),
        &|b| (b.invocations, b.gb_seconds) = (None, Some("0".to_owned())),
        &|b| (b.invocations, b.egress_bytes) = (None, Some(u64::MAX)),
        &|b| {
            (b.invocations, b.cost, b.currency) = (None, Some("-1".into()), Some("EUR".into()));
        },
        &|b| {
            (b.invocations, b.cost, b.currency) = (None, Some("1e9".into()), Some("EUR".into()));
        },
        &|b| {
            (b.invocations, b.cost, b.currency) = (None, Some("1".into()), Some("euros".into()));
        },
    ];
    for (at, adjust) in bad.into_iter().enumerate() {
        let refused = n.set(new(adjust)).await;
        assert!(
            matches!(
                refused,
                Err(ControlError::Invalid {
                    field: Field::Budget,
                    ..
                })
            ),
            "{at}: {refused:?}"
        );
    }
    for at in 0..BUDGETS_MAX {
        n.set(new(&|b| b.function = Some(format!("f{at}"))))
            .await
            .unwrap();
    }
    // One more is refused, another of the same is not.
    n.set(new(&|b| b.function = Some("f0".to_owned())))
        .await
        .unwrap();
    let refused = n.set(new(&|_| {})).await;
    assert!(
        matches!(
            refused,
            Err(ControlError::LimitExceeded {
                limit: Limit::Budgets,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(n.used(&n.w.control).await.len(), BUDGETS_MAX);
}
