//! Prices and bills: what a month costs, against the ledger added up by the test itself.

mod support;

use freehold_control::{
    Control, ControlError, Field, Limit, Resource,
    bills::{BillItem, BillLine, BillPage, BillQuery, Used},
    bootstrap::Keys,
    prices::PricesChange,
    tenants::NewTenant,
};
use freehold_domain::{
    Digest, InstanceId, InvocationId, Month, NetworkBytes, Principal, Qualifier, Source, TenantId,
    TraceHeader, Usage, Wall,
    ledger::{Ending, EntryTags, LedgerEntry, LedgerFrame, NetworkEntry},
    ports::{Clock, Expect, Fence, Ledger, Op},
    prices::{Amount, Meter},
    record::{BookOf, Key, PRICE_CHANGES_MAX, PriceBookV1, PriceChangeV1, PricesV1, encode},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};
use support::*;

const DAY: i64 = 86_400_000_000;
const OPERATOR: &str = "999999999999";
const TENANT: &str = "111111111111";

struct Node {
    world: World,
    operator: Principal,
}

fn root(tenant: &str) -> Principal {
    Principal::Root {
        tenant: tenant.parse().unwrap(),
        key: "AKIATEST".into(),
    }
}

/// A node at the given time, with its operator and the world's own tenant, made just before.
async fn node() -> Node {
    let world = world().await;
    let keys = Keys::new(
        world.storage.clone(),
        Arc::new(TestSealer),
        world.clock.clone(),
    );
    let account = OPERATOR.parse().unwrap();
    keys.start(Some(&account), &world.place.region)
        .await
        .unwrap();
    Node {
        operator: root(OPERATOR),
        world,
    }
}

fn change(pairs: &[(&str, &str)]) -> PricesChange {
    let of = |name: &str| {
        let found = pairs.iter().find(|(one, _)| *one == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    PricesChange {
        currency: of("currency"),
        tenant_month: of("tenant_month"),
        invocation: of("invocation"),
        gb_second: of("gb_second"),
        cpu_second: of("cpu_second"),
        gb_out: of("gb_out"),
        gb_in: of("gb_in"),
    }
}

impl Node {
    fn control(&self) -> &Control {
        &self.world.control
    }
    fn now(&self) -> Wall {
        self.world.clock.wall()
    }
    fn set_clock(&self, at: Wall) {
        self.world.clock.wall.store(at.0, Ordering::Relaxed);
    }
    async fn set(
        &self,
        tenant: Option<&str>,
        pairs: &[(&str, &str)],
        from: Option<Wall>,
    ) -> Result<PriceBookV1, ControlError> {
        self.control()
            .prices_set(&self.operator, tenant, &change(pairs), from)
            .await
    }
    fn append(&self, lane: u16, entry: &LedgerEntry) {
        Ledger::append(&*self.world.storage, lane, &entry.to_json()).unwrap();
    }
    /// What an instance of a function sent until now.
    fn append_network(&self, lane: u16, of: &LedgerEntry, bytes: NetworkBytes) -> NetworkEntry {
        let entry = NetworkEntry {
            instance: of.instance,
            sequence: 1,
            function: of.function.clone(),
            revision: of.revision.clone(),
            from: of.received,
            to: self.now(),
            bytes,
            tags: of.tags.clone(),
        };
        Ledger::append(&*self.world.storage, lane, &entry.to_json()).unwrap();
        entry
    }
    /// Every line and the sums of a bill, page by page.
    async fn bill(&self, who: &Principal, query: BillQuery) -> Result<Whole, ControlError> {
        let mut whole = Whole::default();
        let mut query = query;
        loop {
            let page = self.control().bill(who, &query).await?;
            let next = page.next.clone();
            whole.add(page);
            match next {
                Some(next) => query.marker = Some(next),
                None => return Ok(whole),
            }
        }
    }
}

/// A bill whose pages were put together.
#[derive(Default)]
struct Whole {
    pages: Vec<BillPage>,
    lines: Vec<(TenantId, BillLine)>,
    sums: BTreeMap<String, Amount>,
}

impl Whole {
    fn add(&mut self, page: BillPage) {
        for line in &page.lines {
            self.lines.push((page.tenant.clone(), line.clone()));
        }
        for (currency, amount) in &page.sums {
            let sum = self.sums.entry(currency.to_string()).or_default();
            *sum = sum.plus(*amount).unwrap();
        }
        self.pages.push(page);
    }
}

fn query(month: &str) -> BillQuery {
    BillQuery {
        tenant: Some(TENANT.to_owned()),
        month: Some(month.to_owned()),
        ..BillQuery::default()
    }
}

fn entry(tenant: &str, region: &str, name: &str, received: Wall, usage: Usage) -> LedgerEntry {
    LedgerEntry {
        id: InvocationId(uuid::Uuid::now_v7()),
        function: freehold_domain::FunctionRef {
            tenant: tenant.parse().unwrap(),
            region: region.parse().unwrap(),
            name: name.parse().unwrap(),
        },
        revision: Qualifier::Latest,
        runtime: Digest([0; 32]),
        instance: InstanceId(uuid::Uuid::now_v7()),
        attempt: 1,
        source: Source::Api,
        trace: TraceHeader::new_root(uuid::Uuid::now_v7()),
        received,
        memory_mib: 128,
        usage,
        ending: Ending::Success,
        tags: None,
    }
}

fn used(billed_ms: u64) -> Usage {
    Usage {
        billed_ms,
        cpu_us: billed_ms * 700,
        bytes_out: billed_ms * 3,
        ..Usage::default()
    }
}

/// Numbers by seed.
struct Draw(u64);
impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

const TAG_SETS: [&[(&str, &str)]; 4] = [
    &[],
    &[("team", "orders")],
    &[("team", "orders"), ("stage", "=1+1")],
    &[("team", ""), ("other", "x")],
];

fn tag_id(set: usize) -> Digest {
    Digest([set as u8 + 1; 32])
}

/// What an entry is billed by, as the test sees it.
fn item(frame: &LedgerFrame, set: usize, key: Option<&str>) -> BillItem {
    let Some(key) = key else {
        let function = frame.function();
        return BillItem::Function(function.region.clone(), function.name.clone());
    };
    let found = TAG_SETS[set].iter().find(|(name, _)| *name == key);
    found.map_or(BillItem::Untagged, |(_, value)| {
        BillItem::Tag((*value).to_owned())
    })
}

/// The test's own sums: by tenant, item and place of the stretch that an entry counts in.
type Sums = BTreeMap<(TenantId, BillItem, usize), Used>;

fn expected(
    entries: &[(LedgerFrame, usize)],
    whole: &Whole,
    month: Month,
    key: Option<&str>,
) -> Sums {
    let mut sums = Sums::new();
    for (frame, set) in entries {
        if !month.holds(frame.at()) {
            continue;
        }
        let tenant = &frame.function().tenant;
        let Some(page) = whole.pages.iter().find(|page| page.tenant == *tenant) else {
            continue;
        };
        let at = |stretch: &freehold_domain::record::Stretch| {
            stretch.from <= frame.at() && frame.at() < stretch.until
        };
        let place = page.stretches.iter().position(at).expect("no gap");
        let key = (tenant.clone(), item(frame, *set, key), place);
        let sum = sums.entry(key).or_default();
        match frame {
            LedgerFrame::Attempt(entry) => {
                sum.invocations += 1;
                sum.billed_ms += entry.usage.billed_ms;
                sum.billed_mib_ms += entry.usage.billed_ms * u64::from(entry.memory_mib);
                sum.cpu_us += entry.usage.cpu_us;
                sum.bytes_out += entry.usage.bytes_out;
            }
            LedgerFrame::Network(entry) => {
                sum.bytes_out += entry.bytes.out;
                sum.network_in += entry.bytes.back;
            }
        }
    }
    sums
}

/// Lines as sums, the tenants' own left out; each comes once and its amounts are its prices'.
fn of_lines(whole: &Whole) -> Sums {
    let mut sums = Sums::new();
    for (tenant, line) in &whole.lines {
        let page = whole.pages.iter().find(|page| page.tenant == *tenant);
        let prices = page.unwrap().stretches[line.stretch].prices;
        let expected = prices.map(|(_, prices)| {
            Meter::ALL
                .map(|meter| Amount::of(prices.of(meter), line.used.of(meter), meter).unwrap())
        });
        assert_eq!(line.amounts, expected);
        let sum = expected.map(|each| {
            let zero = Amount::default();
            each.iter()
                .try_fold(zero, |sum, one| sum.plus(*one))
                .unwrap()
        });
        assert_eq!(line.amount, sum);
        if line.item == BillItem::TenantMonth {
            continue;
        }
        let key = (tenant.clone(), line.item.clone(), line.stretch);
        assert_eq!(sums.insert(key, line.used), None, "{line:?} comes twice");
    }
    sums
}

#[tokio::test]
async fn bills_equal_the_ledger_whatever_prices_and_tags_did_meanwhile() {
    let seed = freehold_testkit::sim::seed();
    println!("FREEHOLD_SEED={seed}");
    let mut draw = Draw(seed);
    let n = node().await;
    let other = n
        .control()
        .tenant_create(&n.operator, NewTenant::default())
        .await
        .unwrap();
    let other = other.0.id.to_string();
    let tenants = [TENANT, OPERATOR, &other];
    // Two days before December to two days into it.
    let december: Month = "2026-12".parse().unwrap();
    n.set_clock(Wall(december.begin().0 - 2 * DAY));
    let mut all: Vec<(LedgerFrame, usize)> = Vec::new();
    let mut told: BTreeSet<(u16, usize, String)> = BTreeSet::new();
    // Runs that have begun and are not on the ledger yet.
    let mut running: Vec<(LedgerEntry, usize)> = Vec::new();
    for step in 0..1500 {
        let now = n.now();
        n.set_clock(Wall(now.0 + draw.below(8 * 60) as i64 * 1_000_000));
        let tenant = tenants[draw.below(3) as usize];
        let region = ["us-east-1", "eu-west-1"][draw.below(2) as usize];
        let name = ["f", "f-1", "-g", "a_b"][draw.below(4) as usize];
        // Some at the very edge of the month, whichever comes first in the file.
        let received = match step % 97 {
            0 if now > december.begin() => Wall(december.begin().0 - 1),
            1 if now > december.begin() => december.begin(),
            _ => n.now(),
        };
        let mut one = entry(tenant, region, name, received, used(1 + draw.below(20_000)));
        one.memory_mib = 128 << draw.below(4);
        one.revision = match draw.below(2) {
            0 => Qualifier::Latest,
            _ => Qualifier::Revision(7),
        };
        running.push((one, draw.below(4) as usize));
        while running.len() > draw.below(6) as usize {
            let at = draw.below(running.len() as u64) as usize;
            let (mut one, set) = running.swap_remove(at);
            let lane = draw.below(2) as u16;
            if set > 0 {
                let tenant = one.function.tenant.to_string();
                let tell = told.insert((lane, set, tenant)).then(|| {
                    let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
                    TAG_SETS[set].iter().map(own).collect()
                });
                one.tags = Some(EntryTags {
                    id: tag_id(set),
                    set: tell,
                });
            }
            if draw.below(3) == 0 {
                let bytes = NetworkBytes {
                    out: draw.below(1 << 32),
                    back: draw.below(1 << 32),
                };
                let network = n.append_network(lane, &one, bytes);
                all.push((LedgerFrame::Network(network), set));
            }
            n.append(lane, &one);
            all.push((LedgerFrame::Attempt(Box::new(one)), set));
        }
        let of = [None, Some(TENANT), Some(other.as_str())][draw.below(3) as usize];
        let ahead = Wall(n.now().0 + draw.below(3600) as i64 * 1_000_000);
        let from = [None, Some(ahead)][draw.below(2) as usize];
        let price = format!("0.{:012}", 1 + draw.below(1_000_000));
        let prices = [
            ("currency", "EUR"),
            ("invocation", price.as_str()),
            ("gb_second", "0.0000166667"),
            ("cpu_second", price.as_str()),
            ("gb_out", "0.09"),
            ("gb_in", price.as_str()),
            ("tenant_month", "5"),
        ];
        match draw.below(120) {
            0 => {
                n.control().usage_roll_up().await.unwrap();
            }
            1 | 2 => drop(n.set(of, &prices, from).await.unwrap()),
            3 => {
                let ended = n.control().prices_end(&n.operator, of, from);
                drop(ended.await.unwrap());
            }
            _ => {}
        }
    }
    // After a restart, by a control plane that knows nothing but the store.
    let n = Node {
        world: World {
            control: n.world.another(),
            ..n.world
        },
        operator: n.operator,
    };
    let mut lines = 0;
    for month in ["2026-11", "2026-12"] {
        for (by, key) in [
            (None, None),
            (Some("tag:team"), Some("team")),
            (Some("tag:stage"), Some("stage")),
            (Some("tag:nobody"), Some("nobody")),
        ] {
            for limit in [None, Some(1), Some(7)] {
                let asked = BillQuery {
                    tenant: None,
                    by: by.map(str::to_owned),
                    limit,
                    ..query(month)
                };
                let whole = n.bill(&n.operator, asked).await.unwrap();
                let sums = expected(&all, &whole, month.parse().unwrap(), key);
                assert_eq!(of_lines(&whole), sums, "{month} {by:?} {limit:?}");
                let mut added = Amount::default();
                for (_, line) in &whole.lines {
                    added = added.plus(line.amount.unwrap_or_default()).unwrap();
                }
                assert_eq!(whole.sums.get("EUR").copied().unwrap_or_default(), added);
                let owners: BTreeSet<_> = whole.pages.iter().map(|page| &page.tenant).collect();
                assert_eq!(owners.len(), 3, "each tenant has a bill, used or not");
                lines += sums.len();
            }
        }
    }
    assert!(lines > 100, "the test has seen {lines} lines");
    // A tenant's own bill is the same as the one that the operator sees.
    let asked = BillQuery {
        tenant: None,
        ..query("2026-12")
    };
    let own = n.bill(&root(TENANT), asked).await.unwrap();
    let seen = n.bill(&n.operator, query("2026-12")).await.unwrap();
    assert_eq!(own.lines, seen.lines);
}

#[tokio::test]
async fn a_change_of_price_parts_a_day_and_leaves_what_was_before() {
    let n = node().await;
    let at = |ms: u64| entry(TENANT, "us-east-1", "f", n.now(), used(ms));
    n.append(0, &at(1000));
    n.set(None, &[("currency", "EUR"), ("invocation", "1")], None)
        .await
        .unwrap();
    n.append(0, &at(2000));
    n.append(0, &at(2000));
    n.set(None, &[("invocation", "2")], None).await.unwrap();
    n.append(0, &at(3000));
    n.set(
        Some(TENANT),
        &[("currency", "USD"), ("invocation", "0.5")],
        None,
    )
    .await
    .unwrap();
    n.append(0, &at(4000));
    n.control()
        .prices_end(&n.operator, Some(TENANT), None)
        .await
        .unwrap();
    n.append(0, &at(5000));
    let whole = n.bill(&n.operator, query("2026-11")).await.unwrap();
    let found: Vec<_> = whole
        .lines
        .iter()
        .map(|(_, line)| {
            let (book, prices) = whole.pages[0].stretches[line.stretch].prices.unzip();
            (
                book,
                prices.map(|prices| prices.currency.to_string()),
                line.used.billed_ms,
                line.amount.map(|amount| amount.to_string()),
            )
        })
        .collect();
    let line = |book, currency: Option<&str>, ms, amount: Option<&str>| {
        (
            book,
            currency.map(str::to_owned),
            ms,
            amount.map(str::to_owned),
        )
    };
    let (of_node, own) = (Some(BookOf::Node), Some(BookOf::Tenant));
    assert_eq!(
        found,
        [
            line(None, None, 1000, None),
            line(of_node, Some("EUR"), 4000, Some("2")),
            line(of_node, Some("EUR"), 3000, Some("2")),
            line(own, Some("USD"), 4000, Some("0.5")),
            line(of_node, Some("EUR"), 5000, Some("2")),
        ]
    );
    let sums: Vec<_> = whole
        .sums
        .iter()
        .map(|(c, a)| (c.as_str(), a.to_string()))
        .collect();
    assert_eq!(sums, [("EUR", "6".to_owned()), ("USD", "0.5".to_owned())]);
}

#[tokio::test]
async fn the_past_gets_prices_only_where_it_had_none() {
    let n = node().await;
    let today = freehold_domain::month::day_begin(n.now());
    let eur = [("currency", "EUR"), ("invocation", "1")];
    let refused = |found: Result<PriceBookV1, ControlError>| {
        let refused = found.unwrap_err();
        assert!(
            matches!(
                &refused,
                ControlError::Invalid {
                    field: Field::PriceFrom,
                    ..
                }
            ),
            "{refused}"
        );
    };
    // Not in the middle of a day, and not ahead for ever.
    n.set_clock(Wall(today.0 + DAY / 2));
    refused(n.set(None, &eur, Some(Wall(today.0 + 3_600_000_000))).await);
    refused(n.set(None, &eur, Some(Wall(-DAY))).await);
    refused(n.set(None, &eur, Some(Wall(today.0 + 3700 * DAY))).await);
    refused(n.set(None, &eur, Some(Wall(i64::MAX))).await);
    // What was used before there was any price can get one.
    n.append(0, &entry(TENANT, "us-east-1", "f", n.now(), used(7)));
    let before = n.bill(&n.operator, query("2026-11")).await.unwrap();
    assert_eq!(before.lines[0].1.amount, None);
    n.set(None, &eur, Some(today)).await.unwrap();
    let after = n.bill(&n.operator, query("2026-11")).await.unwrap();
    assert_eq!(after.lines.len(), 1);
    assert_eq!(after.lines[0].1.amount.unwrap().to_string(), "1");
    // What has one keeps it, and the day before it had none.
    refused(n.set(None, &[("invocation", "2")], Some(today)).await);
    refused(n.set(Some(TENANT), &eur, Some(today)).await);
    let ended = n.control().prices_end(&n.operator, None, Some(today));
    refused(ended.await);
    let yesterday = Wall(today.0 - DAY);
    n.set(
        None,
        &[("currency", "EUR"), ("invocation", "3")],
        Some(yesterday),
    )
    .await
    .unwrap();
    let again = n.bill(&n.operator, query("2026-11")).await.unwrap();
    assert_eq!(again.lines, after.lines);
    // What lies ahead can be changed until it begins.
    let ahead = Wall(today.0 + 2 * DAY);
    n.set(None, &[("invocation", "4")], Some(ahead))
        .await
        .unwrap();
    let book = n
        .set(None, &[("invocation", "5")], Some(ahead))
        .await
        .unwrap();
    assert_eq!(book.changes.len(), 3);
    assert_eq!(book.prices_at(ahead).unwrap().invocation.to_string(), "5");
    // The same again changes nothing.
    let same = n
        .set(None, &[("invocation", "5")], Some(ahead))
        .await
        .unwrap();
    assert_eq!(same, book);
}

#[tokio::test]
async fn a_clock_that_is_set_back_changes_no_price_of_what_was_counted() {
    let n = node().await;
    let noon = Wall(freehold_domain::month::day_begin(n.now()).0 + DAY / 2);
    let at = |minutes: i64| Wall(noon.0 + minutes * 60_000_000);
    n.set_clock(at(0));
    n.set(None, &[("currency", "EUR"), ("invocation", "1")], None)
        .await
        .unwrap();
    n.append(0, &entry(TENANT, "us-east-1", "f", at(50), used(7)));
    n.set_clock(at(60));
    let before = n.bill(&n.operator, query("2026-11")).await.unwrap();
    n.set_clock(at(10));
    // Not in the middle of what was counted, and "now" is behind it.
    let within = n.set(None, &[("invocation", "2")], Some(at(20))).await;
    assert!(within.is_err());
    let book = n.set(None, &[("invocation", "2")], None).await.unwrap();
    assert!(book.changes[1].from > at(50), "{book:?}");
    let after = n.bill(&n.operator, query("2026-11")).await.unwrap();
    assert_eq!(after.lines, before.lines);
    n.append(0, &entry(TENANT, "us-east-1", "f", at(51), used(7)));
    let whole = n.bill(&n.operator, query("2026-11")).await.unwrap();
    assert_eq!(whole.sums["EUR"].to_string(), "3");
    // Of another day it says nothing.
    n.set(None, &[("invocation", "3")], Some(Wall(noon.0 + DAY)))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_changes_nothing_is_asked_for_at_a_moment_that_can_be() {
    let n = node().await;
    let control = n.control();
    let far = Wall(n.now().0 + 3700 * DAY);
    for from in [far, Wall(-DAY), Wall(n.now().0 - DAY / 2 - 1000)] {
        let ended = control.prices_end(&n.operator, None, Some(from)).await;
        assert!(
            matches!(
                ended,
                Err(ControlError::Invalid {
                    field: Field::PriceFrom,
                    ..
                })
            ),
            "{ended:?}"
        );
    }
    assert!(control.prices_end(&n.operator, None, None).await.is_ok());
}

#[tokio::test]
async fn the_tenants_own_line_is_the_first_price_of_the_month_once_and_in_full() {
    let n = node().await;
    let month = |price: &'static str| vec![("currency", "EUR"), ("tenant_month", price)];
    let own = |whole: &Whole| -> Vec<(usize, String)> {
        let lines = whole
            .lines
            .iter()
            .filter(|(_, l)| l.item == BillItem::TenantMonth);
        lines
            .map(|(_, line)| (line.stretch, line.amount.unwrap().to_string()))
            .collect()
    };
    let asked = query;
    let free = n.bill(&n.operator, asked("2026-11")).await.unwrap();
    assert!(free.lines.is_empty());
    n.set(None, &month("12.5"), None).await.unwrap();
    n.set_clock(Wall(n.now().0 + DAY));
    n.set(None, &month("99"), None).await.unwrap();
    for limit in [1, 100] {
        let asked = BillQuery {
            limit: Some(limit),
            ..query("2026-11")
        };
        let whole = n.bill(&n.operator, asked).await.unwrap();
        assert_eq!(own(&whole), [(1, "12.5".to_owned())]);
    }
    n.set_clock("2027-01".parse::<Month>().unwrap().begin());
    let whole = n.bill(&n.operator, asked("2026-12")).await.unwrap();
    assert_eq!(own(&whole), [(0, "99".to_owned())]);
    // A run that began in December may still be going: it waited a minute for an instance, init
    // failed and ran again, then its function took its quarter of an hour.
    assert!(!whole.pages[0].is_final);
    let longest_s = 60 + 2 * 10 + 900;
    for (after_s, is_final) in [(longest_s - 1, false), (longest_s + 61, true)] {
        let end = "2027-01".parse::<Month>().unwrap().begin();
        n.set_clock(Wall(end.0 + after_s * 1_000_000));
        let whole = n.bill(&n.operator, asked("2026-12")).await.unwrap();
        assert_eq!(whole.pages[0].is_final, is_final, "{after_s} s");
    }
}

#[tokio::test]
async fn who_may_ask_for_what() {
    let n = node().await;
    let c = n.control();
    let tenant = root(TENANT);
    let not_operator = |found: Result<PriceBookV1, ControlError>| {
        assert!(matches!(found, Err(ControlError::NotOperator)), "{found:?}");
    };
    let eur = change(&[("currency", "EUR"), ("invocation", "1")]);
    for who in [&tenant, &Principal::Anonymous, &Principal::platform("test")] {
        not_operator(c.prices_get(who, None).await);
        not_operator(c.prices_get(who, Some(TENANT)).await);
        not_operator(c.prices_set(who, Some(TENANT), &eur, None).await);
        not_operator(c.prices_end(who, None, None).await);
    }
    assert!(matches!(
        c.prices_set(&n.operator, Some("123456789012"), &eur, None)
            .await,
        Err(ControlError::NotFound {
            what: Resource::Tenant,
            ..
        })
    ));
    for bad in ["000000000000", "12", ""] {
        let found = c.prices_get(&n.operator, Some(bad)).await;
        assert!(
            matches!(
                found,
                Err(ControlError::Invalid {
                    field: Field::TenantId,
                    ..
                })
            ),
            "{bad}"
        );
    }
    let of = |tenant: &str, marker: Option<&str>| BillQuery {
        tenant: Some(tenant.to_owned()),
        marker: marker.map(str::to_owned),
        ..BillQuery::default()
    };
    assert!(c.bill(&tenant, &of(TENANT, None)).await.is_ok());
    assert!(c.bill(&n.operator, &of(TENANT, None)).await.is_ok());
    for asked in [
        of(OPERATOR, None),
        of("123456789012", None),
        BillQuery {
            tenant: None,
            ..of("", Some(OPERATOR))
        },
    ] {
        let found = c.bill(&tenant, &asked).await;
        assert!(
            matches!(found, Err(ControlError::Denied { .. })),
            "{found:?}"
        );
    }
    assert!(matches!(
        c.bill(&n.operator, &of("123456789012", None)).await,
        Err(ControlError::NotFound {
            what: Resource::Tenant,
            ..
        })
    ));
    for asked in [of(TENANT, Some(OPERATOR)), of(TENANT, Some("x"))] {
        let found = c.bill(&n.operator, &asked).await;
        assert!(
            matches!(
                found,
                Err(ControlError::Invalid {
                    field: Field::Marker,
                    ..
                })
            ),
            "{found:?}"
        );
    }
    for (month, text) in [
        ("2026-10", "was made in 2026-11"),
        ("2026-12", "lies ahead"),
    ] {
        for who in [&tenant, &n.operator] {
            let asked = BillQuery {
                month: Some(month.to_owned()),
                ..BillQuery::default()
            };
            let refused = c.bill(who, &asked).await.unwrap_err();
            assert!(
                matches!(&refused, ControlError::Invalid { field: Field::Month, reason } if reason.contains(text)),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn a_tenant_that_was_made_later_is_on_no_earlier_bill_of_everybody() {
    let n = node().await;
    n.set_clock("2026-12".parse::<Month>().unwrap().begin());
    n.control()
        .tenant_create(&n.operator, NewTenant::default())
        .await
        .unwrap();
    let bills = async |month| {
        let asked = BillQuery {
            tenant: None,
            ..query(month)
        };
        n.bill(&n.operator, asked).await.unwrap().pages.len()
    };
    assert_eq!(bills("2026-11").await, 2);
    assert_eq!(bills("2026-12").await, 3);
}

#[tokio::test]
async fn a_book_holds_so_many_changes_and_no_more() {
    let n = node().await;
    let now = n.now();
    let mut book = PriceBookV1::default();
    for at in 1..PRICE_CHANGES_MAX as i64 {
        book.put(PriceChangeV1 {
            from: Wall(now.0 + at * DAY),
            set: now,
            prices: Some(PricesV1::free("EUR".parse().unwrap())),
        });
    }
    let op = Op::Put {
        key: Key::price_book(&TENANT.parse().unwrap()),
        expect: Expect::Absent,
        bytes: encode(&book),
    };
    let platform = Principal::platform("test");
    n.world
        .storage
        .commit(&platform, vec![op], Fence::None)
        .await
        .unwrap();
    let eur = [("currency", "EUR"), ("invocation", "1")];
    let last = n.set(Some(TENANT), &eur, None).await.unwrap();
    assert_eq!(last.changes.len(), PRICE_CHANGES_MAX);
    assert!(matches!(
        n.set(Some(TENANT), &[("invocation", "2")], None).await,
        Err(ControlError::LimitExceeded {
            limit: Limit::PriceChanges,
            max: 400
        })
    ));
    // One that is there can be written over.
    let from = Some(Wall(now.0 + 5 * DAY));
    assert!(
        n.set(Some(TENANT), &[("invocation", "2")], from)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn tags_that_the_ledger_never_told_are_a_line_of_their_own() {
    let n = node().await;
    let mut one = entry(TENANT, "us-east-1", "f", n.now(), used(5));
    one.tags = Some(EntryTags {
        id: tag_id(1),
        set: None,
    });
    n.append(0, &one);
    let asked = BillQuery {
        by: Some("tag:team".into()),
        ..query("2026-11")
    };
    let whole = n.bill(&n.operator, asked).await.unwrap();
    assert_eq!(whole.lines.len(), 1);
    assert_eq!(whole.lines[0].1.item, BillItem::UnknownTags);
    assert_eq!(whole.lines[0].1.used.billed_ms, 5);
}

#[tokio::test]
async fn a_bill_tells_so_many_values_of_a_tag_apart() {
    let n = node().await;
    for at in 0..=freehold_control::bills::BILL_TAG_VALUES_MAX {
        let name = format!("f{}", at / 100);
        let mut one = entry(TENANT, "us-east-1", &name, n.now(), used(1));
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(at as u64).to_le_bytes());
        one.tags = Some(EntryTags {
            id: Digest(id),
            set: Some(BTreeMap::from([("team".to_owned(), format!("v{at}"))])),
        });
        n.append(0, &one);
    }
    let asked = |by: &str| BillQuery {
        by: Some(by.to_owned()),
        ..query("2026-11")
    };
    assert!(matches!(
        n.bill(&n.operator, asked("tag:team")).await,
        Err(ControlError::LimitExceeded {
            limit: Limit::BillTagValues,
            ..
        })
    ));
    let whole = n.bill(&n.operator, asked("tag:other")).await.unwrap();
    assert_eq!(whole.lines[0].1.used.invocations, 10_001);
}
