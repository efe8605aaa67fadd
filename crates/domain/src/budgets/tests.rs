//! Counters, with the time given.

use super::*;
use crate::{
    BoxFuture,
    record::{
        BudgetFunctionV1, BudgetLimitV1, BudgetPeriodV1, BudgetReachedV1, PriceBookV1,
        PriceChangeV1, PricesV1,
    },
    time::Mono,
};
use proptest::prelude::*;

const HOUR: i64 = 3_600_000_000;

/// The wall clock, as somebody set it.
struct At(AtomicI64);
impl Clock for At {
    fn now(&self) -> Mono {
        Mono(0)
    }
    fn wall(&self) -> Wall {
        Wall(self.0.load(Ordering::Relaxed))
    }
    fn sleep_until(&self, _: Mono) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn tenant() -> TenantId {
    "111111111111".parse().unwrap()
}

fn function(name: &str) -> FunctionRef {
    FunctionRef {
        tenant: tenant(),
        region: "us-east-1".parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

fn budget(limit: BudgetLimitV1, then: BudgetThenV1) -> BudgetV1 {
    BudgetV1 {
        function: None,
        limit,
        period: BudgetPeriodV1::Hour,
        then,
        set: Wall(0),
        reached: None,
    }
}

struct World {
    budgets: Budgets,
    clock: At,
    attempts: std::cell::Cell<u32>,
}

impl World {
    fn new(all: Vec<BudgetV1>, books: PriceBooks) -> Self {
        let world = Self {
            budgets: Budgets::new(2),
            clock: At(AtomicI64::new(10 * HOUR)),
            attempts: Default::default(),
        };
        let used = vec![BTreeMap::new(); all.len()];
        world.prime(all, books, used, &[]);
        world
    }

    fn prime(
        &self,
        all: Vec<BudgetV1>,
        books: PriceBooks,
        used: Vec<BTreeMap<Wall, u128>>,
        rolled_up: &[Attempt],
    ) {
        let priming = self.budgets.begin(&tenant(), all, books);
        let rolled_up = rolled_up.iter().copied().collect();
        self.budgets
            .primed(priming, used, &rolled_up, self.clock.wall(), |_| false);
    }

    fn at(&self, hours: f64) {
        self.clock
            .0
            .store((hours * HOUR as f64) as i64, Ordering::Relaxed);
    }

    /// An attempt that came in at an hour, written to a lane now.
    fn settle(&self, name: &str, received_h: f64, part: UsagePartV1) -> Attempt {
        self.attempts.set(self.attempts.get() + 1);
        let attempt = (InvocationId(Default::default()), self.attempts.get());
        let settling = Settling {
            function: &function(name),
            attempt,
            received: Wall((received_h * HOUR as f64) as i64),
            part,
            clock: &self.clock,
        };
        let lane = (self.attempts.get() % 2) as u16;
        let written: Result<(), ()> = self.budgets.settle(lane, &settling, || Ok(()));
        written.unwrap();
        attempt
    }

    fn call(&self, hours: f64) {
        self.settle("f", hours, one());
    }

    fn closed(&self) -> Option<Closed> {
        self.budgets.closed(&function("f"), &self.clock)
    }

    fn used(&self) -> Vec<u128> {
        let counters = self.budgets.counters(&tenant());
        let used = counters
            .iter()
            .map(|one| one.used(self.clock.wall()).unwrap().1);
        used.collect()
    }

    fn told(&self) -> Vec<u8> {
        self.budgets
            .take_reached()
            .iter()
            .map(|one| one.percent)
            .collect()
    }
}

fn one() -> UsagePartV1 {
    UsagePartV1 {
        invocations: 1,
        billed_mib_ms: 128,
        bytes_out: 10,
        ..UsagePartV1::default()
    }
}

fn invocations(count: u64, then: BudgetThenV1) -> Vec<BudgetV1> {
    vec![budget(BudgetLimitV1::Invocations(count), then)]
}

#[test]
fn at_80_percent_it_is_told_and_at_100_it_is_closed_until_the_period_is_over() {
    let w = World::new(
        invocations(5, BudgetThenV1::Throttle),
        PriceBooks::default(),
    );
    (0..3).for_each(|_| w.call(10.0));
    assert_eq!((w.closed(), w.told()), (None, vec![]));
    w.call(10.0);
    assert_eq!((w.closed(), w.told()), (None, vec![80]));
    w.at(10.75);
    w.call(10.75);
    let left = Closed::For(Duration::from_secs(900));
    assert_eq!((w.closed(), w.told()), (Some(left), vec![100]));
    // What had begun runs on, and is counted.
    w.call(10.75);
    assert_eq!((w.used(), w.told()), (vec![6], vec![]));
    w.at(11.0);
    assert_eq!((w.closed(), w.used()), (None, vec![0]));
    // One that came in before the turn is the last hour's.
    w.call(10.99);
    w.call(11.0);
    assert_eq!(w.used(), [1]);
    assert_eq!(w.budgets.counts(w.clock.wall()), (1, 1, 0));
}

#[test]
fn a_clock_that_is_set_back_reopens_nothing_and_what_runs_meanwhile_counts() {
    let w = World::new(
        invocations(5, BudgetThenV1::Throttle),
        PriceBooks::default(),
    );
    (0..4).for_each(|_| w.call(10.0));
    for back in [9.9, 3.0, -5.0] {
        w.at(back);
        assert_eq!((w.closed(), w.used()), (None, vec![4]), "{back}");
    }
    w.at(3.0);
    w.call(3.0);
    assert!(w.closed().is_some(), "the fifth");
    w.at(10.5);
    assert!(w.closed().is_some(), "its own hour is not over");
    w.at(11.0);
    assert_eq!((w.closed(), w.used()), (None, vec![0]));
    // Forward by days is a new period, and back again the one that has begun.
    w.at(99.0);
    (0..5).for_each(|_| w.call(99.0));
    w.at(11.5);
    assert!(w.closed().is_some());
}

#[test]
fn what_stops_stays_stopped_until_it_is_set_anew() {
    let w = World::new(invocations(2, BudgetThenV1::Stop), PriceBooks::default());
    (0..2).for_each(|_| w.call(10.0));
    for hours in [10.0, 11.0, 9_000.0] {
        w.at(hours);
        assert_eq!(w.closed(), Some(Closed::Stopped));
    }
    // Something that had begun ends in another period.
    w.call(9_000.0);
    assert_eq!(w.closed(), Some(Closed::Stopped));
    let raised = invocations(10, BudgetThenV1::Stop);
    let used = BTreeMap::from([(Wall(9_000 * HOUR), 1)]);
    w.prime(raised, PriceBooks::default(), vec![used], &[]);
    assert_eq!((w.closed(), w.used()), (None, vec![1]));
}

#[test]
fn a_start_knows_what_was_used_and_tells_nothing_twice() {
    let hour = |h: i64| Wall(h * HOUR);
    let begun = |all: Vec<BudgetV1>, used: &[(i64, u128)]| {
        let w = World::new(Vec::new(), PriceBooks::default());
        let used = used.iter().map(|(h, n)| (hour(*h), *n)).collect();
        w.prime(all, PriceBooks::default(), vec![used], &[]);
        w
    };
    let five = |then| invocations(5, then);
    let throttle = BudgetThenV1::Throttle;
    let w = begun(five(throttle), &[(9, 50), (10, 4)]);
    assert_eq!((w.closed(), w.used(), w.told()), (None, vec![4], vec![80]));
    let mut told = five(throttle);
    told[0].reached = Some(BudgetReachedV1 {
        period: hour(10),
        percent: 80,
    });
    let w = begun(told, &[(10, 4)]);
    assert_eq!((w.closed(), w.told()), (None, vec![]));
    assert!(begun(five(throttle), &[(10, 5)]).closed().is_some());
    // The clock stands before what was used already.
    let w = begun(five(throttle), &[(12, 5)]);
    assert!(w.closed().is_some());
    w.at(13.0);
    assert_eq!(w.closed(), None);
    // A stop that nobody wrote down before the kill, in a period that is over by now.
    let stop = BudgetThenV1::Stop;
    let w = begun(five(stop), &[(3, 5)]);
    assert_eq!(
        (w.closed(), w.told()),
        (Some(Closed::Stopped), vec![80, 100])
    );
    assert_eq!(begun(five(stop), &[(3, 4)]).closed(), None);
    // One from before it was set is none.
    let mut later = five(stop);
    later[0].set = hour(4);
    assert_eq!(begun(later, &[(3, 5)]).closed(), None);
    // One that was written down is there without any use.
    let mut stopped = five(stop);
    stopped[0].reached = Some(BudgetReachedV1 {
        period: hour(1),
        percent: 100,
    });
    assert_eq!(begun(stopped, &[]).closed(), Some(Closed::Stopped));
}

#[test]
fn whoever_sets_a_budget_goes_by_the_clock() {
    let w = World::new(Vec::new(), PriceBooks::default());
    let all = invocations(5, BudgetThenV1::Throttle);
    let priming = w.budgets.begin(&tenant(), all, PriceBooks::default());
    let used = vec![BTreeMap::from([(Wall(12 * HOUR), 5), (Wall(10 * HOUR), 1)])];
    let none = HashSet::new();
    w.budgets
        .primed(priming, used, &none, w.clock.wall(), |_| true);
    assert_eq!((w.closed(), w.used()), (None, vec![1]));
}

#[test]
fn an_attempt_that_settles_while_a_budget_is_primed_counts_once() {
    let w = World::new(Vec::new(), PriceBooks::default());
    let all = invocations(100, BudgetThenV1::Throttle);
    w.call(10.0);
    let priming = w.budgets.begin(&tenant(), all, PriceBooks::default());
    let [a, _, _] = [0, 1, 2].map(|_| w.settle("f", 10.0, one()));
    // The roll-ups have the one before, and the first of the three that are counted.
    let used = vec![BTreeMap::from([(Wall(10 * HOUR), 2)])];
    let rolled_up = HashSet::from([a]);
    w.budgets
        .primed(priming, used, &rolled_up, w.clock.wall(), |_| false);
    assert_eq!(w.used(), [4]);
}

#[test]
fn what_held_holds_until_its_successor_is_primed() {
    let w = World::new(
        invocations(1, BudgetThenV1::Throttle),
        PriceBooks::default(),
    );
    w.call(10.0);
    let next = invocations(2, BudgetThenV1::Throttle);
    let priming = w.budgets.begin(&tenant(), next, PriceBooks::default());
    assert!(w.closed().is_some());
    let used = vec![BTreeMap::from([(Wall(10 * HOUR), 1)])];
    let none = HashSet::new();
    w.budgets
        .primed(priming, used, &none, w.clock.wall(), |_| true);
    assert_eq!(w.closed(), None);
    let priming = w
        .budgets
        .begin(&tenant(), Vec::new(), PriceBooks::default());
    w.budgets
        .primed(priming, Vec::new(), &none, w.clock.wall(), |_| true);
    assert!(w.budgets.tenants().is_empty());
}

#[test]
fn each_meter_counts_its_own_and_each_function_its_own() {
    let prices = |text: &str| {
        let mut prices = PricesV1::free("EUR".parse().unwrap());
        prices.invocation = text.parse().unwrap();
        Some(prices)
    };
    let change = |hours: i64, text| PriceChangeV1 {
        from: Wall(hours * HOUR),
        set: Wall(0),
        prices: prices(text),
    };
    let books = PriceBooks {
        node: PriceBookV1 {
            changes: vec![change(1, "1"), change(10, "2")],
        },
        own: PriceBookV1::default(),
    };
    let euros = |currency: &str| BudgetLimitV1::Cost {
        amount: "100".parse().unwrap(),
        currency: currency.parse().unwrap(),
    };
    let many = 1 << 40;
    let mut all: Vec<_> = [
        BudgetLimitV1::Invocations(many),
        BudgetLimitV1::GbSeconds(many),
        BudgetLimitV1::Egress(many),
        euros("EUR"),
        euros("USD"),
    ]
    .map(|limit| budget(limit, BudgetThenV1::Throttle))
    .into();
    all.push(BudgetV1 {
        function: Some(BudgetFunctionV1 {
            region: "us-east-1".parse().unwrap(),
            name: "g".parse().unwrap(),
        }),
        ..all[0].clone()
    });
    let w = World::new(all, books);
    w.settle("f", 10.5, one());
    w.settle("f", 10.5, one());
    w.settle("g", 10.5, one());
    let used = w.used();
    assert_eq!((&used[..3], used[4], used[5]), (&[3, 384, 30][..], 0, 1));
    assert_eq!(
        euros("EUR").quantity(used[3]),
        "6",
        "three at two euros each"
    );
}

proptest! {
    /// However attempts and the clock come: what is closed in a period that has begun is open
    /// only once the clock has passed its end.
    #[test]
    fn nothing_reopens_before_its_end(
        steps in prop::collection::vec((0.0_f64..6.0, prop::bool::ANY), 1..60),
    ) {
        let w = World::new(invocations(3, BudgetThenV1::Throttle), PriceBooks::default());
        let mut ends = None::<Wall>;
        for (hours, calls) in steps {
            w.at(8.0 + hours);
            let now = w.clock.wall();
            match (w.closed(), ends) {
                (None, Some(end)) => prop_assert!(now >= end),
                (Some(_), None) => prop_assert!(false, "closed without a reason"),
                _ => {}
            }
            if w.closed().is_none() && calls {
                // The next period has begun to count. Until it has, a clock that steps back
                // finds the last one as it was.
                ends = None;
                w.call(8.0 + hours);
                if w.closed().is_some() {
                    let counters = w.budgets.counters(&tenant());
                    let (period, used) = counters[0].used(now).unwrap();
                    prop_assert!(used >= 3);
                    ends = Some(BudgetPeriodV1::Hour.end(period));
                }
            }
        }
    }
}
