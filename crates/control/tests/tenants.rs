//! Tenants and keys: who may manage them, what each change allows, and what races may not.

mod support;

use freehold_control::{
    ConfigurationChange, Control, ControlError, Field, Limit, Place, Resource, Settings,
    bootstrap::{Keys, Started},
    keys::{KEYS_PER_TENANT_MAX, OVERLAP_MAX},
    revisions::Publish,
    tenants::{LimitsChange, NewTenant},
};
use freehold_domain::{
    FunctionRef, InstanceId, Principal, Qualifier, TenantLimit, Wall,
    logs::{LineKind, LogGroupName, LogLine, LogStreamName},
    ports::{Clock, Expect, Fence, LogStore, Op, Storage},
    record::{self, AccessKeyV2, Key, TenantV2},
    tenant_limits::{Beside, TENANT_LIMITS},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use support::*;

/// A node after its first start: a control plane, its operator and whoever looks keys up.
struct Node {
    world: World,
    keys: Keys,
    started: Started,
    operator: Principal,
}

fn root(tenant: &str) -> Principal {
    Principal::Root {
        tenant: tenant.parse().unwrap(),
        key: "AKIATEST".into(),
    }
}

async fn node() -> Node {
    // The world's own tenant is an ordinary one: it is there before the operator is.
    let world = world().await;
    let keys = Keys::new(
        world.storage.clone(),
        Arc::new(TestSealer),
        world.clock.clone(),
    );
    let account = "999999999999".parse().unwrap();
    let started = keys
        .start(Some(&account), &world.place.region)
        .await
        .unwrap();
    Node {
        operator: root("999999999999"),
        world,
        keys,
        started,
    }
}

impl Node {
    fn control(&self) -> &Control {
        &self.world.control
    }
    async fn tenant(&self) -> (String, String) {
        let made = self
            .control()
            .tenant_create(&self.operator, NewTenant::default());
        let (tenant, key) = made.await.unwrap();
        (tenant.id.to_string(), key.id)
    }
    async fn signs(&self, key: &str) -> Option<bool> {
        let found = self.control().key_list(&self.operator, None).await.unwrap();
        let found = found.into_iter().find(|one| one.id == key)?;
        Some(found.signs_at(freehold_domain::ports::Clock::wall(&*self.world.clock)))
    }
}

#[tokio::test]
async fn a_tenant_is_made_with_a_key_that_opens_and_is_stored_sealed() {
    let n = node().await;
    let new = NewTenant {
        id: Some("123456789012".into()),
        name: Some("Orders".into()),
    };
    let (tenant, key) = n
        .control()
        .tenant_create(&n.operator, new.clone())
        .await
        .unwrap();
    assert_eq!(
        (tenant.id.as_str(), tenant.name.as_deref()),
        ("123456789012", Some("Orders"))
    );
    assert!(tenant.enabled && !tenant.is_operator);
    assert_eq!(tenant.regions, n.started.tenant.regions);
    assert_eq!(n.keys.lookup(&key.id).await.unwrap(), Some(key.clone()));
    let listed = n
        .control()
        .key_list(&n.operator, Some("123456789012"))
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert!(!format!("{listed:?}").contains(&key.secret));
    assert!(!format!("{key:?}").contains(&key.secret));
    let again = n.control().tenant_create(&n.operator, new).await;
    assert!(matches!(
        again,
        Err(ControlError::AlreadyExists {
            what: Resource::Tenant,
            ..
        })
    ));
    for (id, name, field) in [
        (Some("000000000000"), None, Field::TenantId),
        (Some("1234"), None, Field::TenantId),
        (None, Some("a\u{1b}[2J"), Field::TenantName),
        (None, Some(""), Field::TenantName),
    ] {
        let new = NewTenant {
            id: id.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        let refused = n.control().tenant_create(&n.operator, new).await;
        assert!(
            matches!(&refused, Err(ControlError::Invalid { field: f, .. }) if *f == field),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn where_all_instances_have_one_user_id_no_tenant_is_made_beside_the_operator() {
    let n = node().await;
    let (tenant, _) = n.tenant().await;
    let shared = n.world.another_of_one_uid();
    for id in [None, Some(tenant.clone()), Some("1234".to_owned())] {
        let new = NewTenant { id, name: None };
        let refused = shared.tenant_create(&n.operator, new).await;
        assert!(
            matches!(refused, Err(ControlError::SharedUid)),
            "{refused:?}"
        );
    }
    // Who may not make one is told nothing of the node; what there is goes on as it was.
    let refused = shared
        .tenant_create(&root(&tenant), NewTenant::default())
        .await;
    assert!(
        matches!(refused, Err(ControlError::NotOperator)),
        "{refused:?}"
    );
    assert!(shared.tenant_get(&n.operator, &tenant).await.is_ok());
    let enabled = shared.tenant_enable(&n.operator, &tenant, false).await;
    assert!(enabled.is_ok(), "{enabled:?}");
}

#[tokio::test]
async fn only_the_operators_root_key_manages_anything() {
    let n = node().await;
    let (tenant, key) = n.tenant().await;
    let c = n.control();
    let instance = Principal::Instance {
        tenant: "999999999999".parse().unwrap(),
        role: "arn:aws:iam::999999999999:role/r".into(),
        function: "f".parse().unwrap(),
        instance: InstanceId(Default::default()),
    };
    for who in [
        root(&tenant),
        root("111111111111"),
        root("222222222222"),
        instance,
        Principal::Anonymous,
    ] {
        let refused = [
            c.tenant_create(&who, NewTenant::default()).await.err(),
            c.tenant_list(&who, None, None).await.err(),
            c.tenant_limits_set(&who, &tenant, LimitsChange::default())
                .await
                .err(),
            c.tenant_enable(&who, &tenant, false).await.err(),
            c.key_create(&who, &tenant).await.err(),
            c.key_list(&who, Some(&tenant)).await.err(),
            c.key_rotate(&who, &key, None).await.err(),
            c.key_enable(&who, &key, false).await.err(),
            c.require_operator(&who).await.err(),
        ];
        for refused in refused {
            assert!(
                matches!(refused, Some(ControlError::NotOperator)),
                "{who:?}: {refused:?}"
            );
        }
    }
    assert_eq!(n.signs(&key).await, Some(true));
    c.require_operator(&n.operator).await.unwrap();
}

#[tokio::test]
async fn tenants_are_listed_in_pages() {
    let n = node().await;
    for _ in 0..7 {
        n.tenant().await;
    }
    let (mut seen, mut marker) = (Vec::new(), None::<String>);
    loop {
        let page = n
            .control()
            .tenant_list(&n.operator, marker.as_deref(), Some(2))
            .await
            .unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|tenant| tenant.id));
        match page.next {
            Some(next) => marker = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 9, "seven, the operator and the world's own");
    assert!(seen.is_sorted());
    let wrong = n.control().tenant_list(&n.operator, Some("x"), None).await;
    assert!(matches!(
        wrong,
        Err(ControlError::Invalid {
            field: Field::Marker,
            ..
        })
    ));
}

#[tokio::test]
async fn a_rotated_key_signs_until_it_is_disabled_or_its_overlap_is_over() {
    let n = node().await;
    let (tenant, first) = n.tenant().await;
    let c = n.control();
    let second = c.key_rotate(&n.operator, &first, None).await.unwrap();
    assert_eq!(
        (n.signs(&first).await, n.signs(&second.id).await),
        (Some(true), Some(true))
    );
    // Both places are taken by keys that sign.
    for full in [
        c.key_create(&n.operator, &tenant).await.err(),
        c.key_rotate(&n.operator, &second.id, None).await.err(),
    ] {
        assert!(matches!(
            full,
            Some(ControlError::LimitExceeded {
                limit: Limit::AccessKeys,
                max: KEYS_PER_TENANT_MAX
            })
        ));
    }
    let disabled = c.key_enable(&n.operator, &first, false).await.unwrap();
    assert!(!disabled.enabled);
    assert_eq!(n.signs(&first).await, Some(false));
    let gone = c.key_rotate(&n.operator, &first, None).await;
    assert!(matches!(
        gone,
        Err(ControlError::NotFound {
            what: Resource::AccessKey,
            ..
        })
    ));

    // The clock goes on by a millisecond with every look: an overlap of a minute holds, one of
    // nothing is over at once.
    let minute = Some(Duration::from_secs(60));
    let third = c.key_rotate(&n.operator, &second.id, minute).await.unwrap();
    assert_eq!(n.signs(&first).await, None, "its place was needed");
    assert_eq!(
        (n.signs(&second.id).await, n.signs(&third.id).await),
        (Some(true), Some(true))
    );
    c.key_enable(&n.operator, &second.id, false).await.unwrap();
    let fourth = c
        .key_rotate(&n.operator, &third.id, Some(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(
        (n.signs(&third.id).await, n.signs(&fourth.id).await),
        (Some(false), Some(true))
    );
    // Enabled again it has no end.
    let enabled = c.key_enable(&n.operator, &third.id, true).await.unwrap();
    assert_eq!((enabled.enabled, enabled.ends), (true, None));
    assert_eq!(
        c.key_list(&n.operator, Some(&tenant)).await.unwrap().len(),
        2
    );
    let long = c.key_rotate(
        &n.operator,
        &third.id,
        Some(OVERLAP_MAX + Duration::from_secs(1)),
    );
    assert!(matches!(
        long.await,
        Err(ControlError::OutOfRange {
            field: Field::KeyOverlap,
            ..
        })
    ));
    let unknown = c.key_enable(&n.operator, "AKIANOBODY", false).await;
    assert!(matches!(
        unknown,
        Err(ControlError::NotFound {
            what: Resource::AccessKey,
            ..
        })
    ));
    let nobody = c.key_create(&n.operator, "222222222222").await;
    assert!(matches!(
        nobody,
        Err(ControlError::NotFound {
            what: Resource::Tenant,
            ..
        })
    ));
}

#[tokio::test]
async fn the_node_keeps_what_it_is_managed_with() {
    let n = node().await;
    let c = n.control();
    let own = c.tenant_enable(&n.operator, "999999999999", false).await;
    assert!(matches!(
        own,
        Err(ControlError::Needed {
            what: Resource::Tenant,
            ..
        })
    ));
    let first = n.started.key.id.clone();
    let needed = |refused: Result<AccessKeyV2, ControlError>| {
        assert!(matches!(
            refused,
            Err(ControlError::Needed {
                what: Resource::AccessKey,
                ..
            })
        ));
    };
    needed(c.key_enable(&n.operator, &first, false).await);
    let hour = Some(Duration::from_secs(3600));
    let second = c.key_rotate(&n.operator, &first, hour).await.unwrap();
    // The first one has an end by now: alone it would not last.
    needed(c.key_enable(&n.operator, &second.id, false).await);
    assert_eq!(n.keys.current(&n.started.tenant.id).await.unwrap(), second);
    c.key_enable(&n.operator, &first, false).await.unwrap();
    let again = n.keys.start(None, &n.world.place.region).await.unwrap();
    assert!(!again.first);
    assert_eq!(
        (again.tenant.id.as_str(), again.key),
        ("999999999999", second)
    );
    let other = "111111111111".parse().unwrap();
    let other = n.keys.start(Some(&other), &n.world.place.region).await;
    assert!(matches!(
        other,
        Err(ControlError::NotFound {
            what: Resource::Tenant,
            ..
        })
    ));
}

#[tokio::test]
async fn a_record_that_does_not_read_hides_no_other_and_makes_no_second_operator() {
    let n = node().await;
    let c = n.control();
    let (one, _) = n.tenant().await;
    let (two, key) = n.tenant().await;
    let spoil = async |key: Key, bytes: &'static [u8]| {
        let op = Op::Put {
            key,
            expect: Expect::Any,
            bytes: bytes.into(),
        };
        let who = Principal::platform("test");
        let storage = &n.world.storage;
        storage.commit(&who, vec![op], Fence::None).await.unwrap();
    };
    let broken: &[u8] = br#"{"v":2,"r":{"id":7}}"#;
    spoil(Key::tenant_record(&two.parse().unwrap()), broken).await;
    spoil(Key::access_key(&key), broken).await;
    let listed = c.tenant_list(&n.operator, None, None).await.unwrap();
    let ids: Vec<_> = listed
        .items
        .iter()
        .map(|tenant| tenant.id.as_str())
        .collect();
    assert!(
        ids.contains(&one.as_str()) && !ids.contains(&two.as_str()),
        "{ids:?}"
    );
    // In pages that end at any of them, too.
    let (mut marker, mut paged) = (None::<String>, 0);
    loop {
        let page = c
            .tenant_list(&n.operator, marker.as_deref(), Some(1))
            .await
            .unwrap();
        paged += page.items.len();
        match page.next {
            Some(next) => marker = Some(next),
            None => break,
        }
    }
    assert_eq!(paged, ids.len());
    let keys = c.key_list(&n.operator, None).await.unwrap();
    assert!(keys.len() >= 2 && keys.iter().all(|found| found.id != key));
    // Whoever asks for that one hears of it.
    assert!(c.tenant_enable(&n.operator, &two, true).await.is_err());
    let started = n.keys.start(None, &n.world.place.region).await.unwrap();
    assert_eq!(started.tenant.id.as_str(), "999999999999");
    // The operator's own: no other is made in its place.
    spoil(Key::tenant_record(&"999999999999".parse().unwrap()), broken).await;
    assert!(n.keys.start(None, &n.world.place.region).await.is_err());
}

#[tokio::test]
async fn a_tenants_own_ceilings_hold_for_it_alone_and_go_back() {
    let n = node().await;
    let w = &n.world;
    let set = async |change: LimitsChange| {
        let set = n
            .control()
            .tenant_limits_set(&n.operator, "111111111111", change);
        set.await
    };
    let change = vec![
        (TenantLimit::Concurrency, Some(150)),
        (TenantLimit::CodeStorage, Some(400)),
        (TenantLimit::Functions, Some(2)),
    ];
    let limits = set(change).await.unwrap().limits;
    assert_eq!(limits.own(TenantLimit::Functions), Some(2));
    let settings = w.control.account_settings(&w.who, &w.place).await.unwrap();
    assert_eq!(
        (
            settings.concurrency,
            settings.unreserved_concurrency,
            settings.code_storage_bytes
        ),
        (150, 150, 400)
    );
    w.ready("a").await;
    let reserve = async |amount| w.control.concurrency_put(&w.who, &w.of("a"), amount).await;
    assert!(reserve(51).await.is_err(), "100 must stay unreserved");
    assert!(reserve(50).await.is_ok());
    w.create("b").await.unwrap();
    // What it has stays; a third is refused, first for its number, then for its bytes.
    let third = w.create("c").await;
    assert!(
        matches!(
            third,
            Err(ControlError::LimitExceeded {
                limit: Limit::Functions,
                max: 2
            })
        ),
        "{third:?}"
    );
    let more = vec![(TenantLimit::Functions, None)];
    let limits = set(more).await.unwrap().limits;
    assert_eq!(limits.own(TenantLimit::CodeStorage), Some(400));
    let third = w.create("c").await;
    assert!(
        matches!(
            third,
            Err(ControlError::LimitExceeded {
                limit: Limit::CodeStorage,
                max: 400
            })
        ),
        "{third:?}"
    );
    let node_s = vec![
        (TenantLimit::Concurrency, None),
        (TenantLimit::CodeStorage, None),
    ];
    set(node_s).await.unwrap();
    w.create("c").await.unwrap();
    let settings = w.control.account_settings(&w.who, &w.place).await.unwrap();
    assert_eq!(
        (settings.concurrency, settings.unreserved_concurrency),
        (1000, 950)
    );

    for row in TENANT_LIMITS {
        let mut beyond = vec![row.most + 1];
        beyond.extend(row.least.checked_sub(1));
        // What the node sizes its own parts by binds a tenant's value.
        let node = (row.preset)(&w.control.limits());
        beyond.extend(node.filter(|_| row.beside == Beside::Below).map(|n| n + 1));
        for value in beyond {
            let refused = set(vec![(row.limit, Some(value))]).await;
            assert!(
                matches!(&refused, Err(ControlError::OutOfRange { field: Field::TenantLimit(l), .. })
                    if *l == row.limit),
                "{} {value} {refused:?}",
                row.name
            );
        }
        let fits = vec![(row.limit, Some(row.least)), (row.limit, None)];
        assert!(set(fits).await.is_ok(), "{}", row.name);
    }
    let nobody =
        n.control()
            .tenant_limits_set(&n.operator, "222222222222", LimitsChange::default());
    assert!(matches!(
        nobody.await,
        Err(ControlError::NotFound {
            what: Resource::Tenant,
            ..
        })
    ));
}

#[tokio::test]
async fn what_a_function_may_have_is_its_tenants_own() {
    let n = node().await;
    let w = &n.world;
    let set = async |limit, value| {
        let set = n
            .control()
            .tenant_limits_set(&n.operator, "111111111111", vec![(limit, value)]);
        set.await.unwrap();
    };
    let f = w.ready("f").await;
    let with = async |settings: Settings| {
        let change = ConfigurationChange {
            settings,
            ..ConfigurationChange::default()
        };
        w.control
            .function_update_configuration(&w.who, &f, change)
            .await
    };
    let memory = |mib| Settings {
        memory_mib: Some(mib),
        ..Settings::default()
    };
    let timeout = |seconds| Settings {
        timeout_s: Some(seconds),
        ..Settings::default()
    };
    let environment = |bytes: usize| Settings {
        environment: Some([("WORD".to_owned(), "x".repeat(bytes))].into()),
        ..Settings::default()
    };
    let cases: [(TenantLimit, u64, [Settings; 2]); 3] = [
        (TenantLimit::Memory, 256, [memory(256), memory(257)]),
        (TenantLimit::Timeout, 5, [timeout(5), timeout(6)]),
        (
            TenantLimit::Environment,
            100,
            [environment(80), environment(100)],
        ),
    ];
    for (limit, value, [fits, over]) in cases {
        set(limit, Some(value)).await;
        let refused = with(over.clone()).await;
        assert!(
            matches!(
                refused,
                Err(ControlError::OutOfRange { max, .. }
                    | ControlError::EnvironmentTooLarge { limit_bytes: max, .. }) if max == value
            ),
            "{limit:?} {refused:?}"
        );
        with(fits).await.unwrap();
        w.reconcile(&f).await;
        set(limit, None).await;
        with(over).await.unwrap();
        w.reconcile(&f).await;
    }

    set(TenantLimit::Versions, Some(1)).await;
    let publish = async || {
        let published = w.control.revision_publish(&w.who, &f, Publish::default());
        published.await.map(|version| version.qualifier)
    };
    assert_eq!(publish().await.unwrap(), Qualifier::Revision(1));
    with(memory(512)).await.unwrap();
    w.reconcile(&f).await;
    let full = publish().await;
    assert!(
        matches!(
            full,
            Err(ControlError::LimitExceeded {
                limit: Limit::Versions,
                max: 1
            })
        ),
        "{full:?}"
    );
    w.control.revision_delete(&w.who, &f, 1).await.unwrap();
    assert_eq!(publish().await.unwrap(), Qualifier::Revision(2));
}

#[tokio::test]
async fn logs_beyond_what_a_tenant_may_store_go_oldest_first() {
    let n = node().await;
    let w = &n.world;
    let limits = async |change: LimitsChange| {
        let set = n
            .control()
            .tenant_limits_set(&n.operator, "111111111111", change);
        set.await.unwrap();
    };
    let (platform, store) = (Principal::platform("test"), &w.storage);
    let group = LogGroupName {
        tenant: w.place.tenant.clone(),
        region: w.place.region.clone(),
        group: "/aws/lambda/f".to_owned(),
    };
    let ensured = w
        .control
        .log_group_ensure(&platform, &w.place, &group.group);
    ensured.await.unwrap();
    let now = w.clock.wall();
    let write = |name: &str, ago_s: i64| {
        let stream = LogStreamName {
            group: group.clone(),
            stream: name.to_owned(),
        };
        let line = LogLine {
            at: Wall(now.0 - ago_s * 1_000_000),
            kind: LineKind::Function,
            invocation: None,
            text: vec![b'x'; 200 << 10].into(),
            truncated: false,
        };
        for _ in 0..3 {
            LogStore::append(&**store, &stream, std::slice::from_ref(&line)).unwrap();
        }
        if name != "open" {
            LogStore::close(&**store, &stream);
        }
    };
    // 600 KiB each: the oldest is written to, the others have ended.
    write("open", 900);
    for (name, ago_s) in [("b", 700), ("a", 600), ("d", 500), ("c", 400)] {
        write(name, ago_s);
    }
    let left = async || {
        w.control.log_groups_expire().await.unwrap();
        let streams = store.streams(&platform, &group, "", None, 100).await;
        let names = streams.unwrap().into_iter().map(|stream| stream.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(left().await, ["a", "b", "c", "d", "open"]);
    limits(vec![(TenantLimit::StoredLogs, Some(2 << 20))]).await;
    assert_eq!(left().await, ["c", "d", "open"]);
    limits(vec![
        (TenantLimit::StoredLogs, None),
        (TenantLimit::LogAge, Some(86_400)),
    ])
    .await;
    assert_eq!(left().await, ["c", "d", "open"]);
    let day = 86_400 - 450;
    w.clock.wall.fetch_add(day * 1_000_000, Ordering::Relaxed);
    assert_eq!(left().await, ["c", "open"]);
}

/// Runs `work` on eight threads at once, each with a runtime of its own; how many succeeded.
fn side_by_side<T: Send, W: Future<Output = Result<T, ControlError>>>(
    work: impl Fn(usize) -> W + Sync,
) -> usize {
    let work = &work;
    let begin = std::sync::Barrier::new(8);
    let begin = &begin;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|at| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_all().build().unwrap();
                    begin.wait();
                    runtime.block_on(work(at)).is_ok()
                })
            })
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        done.filter(|is_ok| *is_ok).count()
    })
}

#[test]
fn side_by_side_nobody_takes_the_same_last_place() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let (n, tenant, first) = runtime.block_on(async {
        let n = node().await;
        let (tenant, first) = n.tenant().await;
        let three = vec![(TenantLimit::Functions, Some(3))];
        let set = n
            .control()
            .tenant_limits_set(&n.operator, "111111111111", three);
        set.await.unwrap();
        (n, tenant, first)
    });
    let made = side_by_side(|_| n.control().key_rotate(&n.operator, &first, None));
    assert_eq!(made, 1);
    let made = side_by_side(|at| {
        let name = format!("f{at}");
        let w = &n.world;
        async move { w.create(&name).await }
    });
    assert_eq!(made, 3);
    runtime.block_on(async {
        let keys = n.control().key_list(&n.operator, Some(&tenant)).await;
        assert_eq!(keys.unwrap().len(), 2);
        let w = &n.world;
        let settings = w.control.account_settings(&w.who, &w.place).await.unwrap();
        assert_eq!(settings.usage.functions, 3);
    });
}

#[tokio::test]
async fn a_tenant_sees_its_own_function_of_a_name_and_reaches_no_others() {
    let n = node().await;
    let w = &n.world;
    let (id, _) = n.tenant().await;
    let place = Place {
        tenant: id.parse().unwrap(),
        region: w.place.region.clone(),
    };
    let who = root(&id);
    w.create("same").await.unwrap();
    let theirs = w
        .control
        .function_create(&who, &place, new_function("same"))
        .await
        .unwrap();
    assert_eq!(theirs.function.tenant, place.tenant);
    for (who, place) in [(&w.who, &w.place), (&who, &place)] {
        let listed = w
            .control
            .function_list(who, place, false, None, None)
            .await
            .unwrap();
        assert_eq!(listed.items.len(), 1);
        assert_eq!(listed.items[0].function.tenant, place.tenant);
    }
    let foreign = w.control.function_get(&who, &w.of("same"), None).await;
    assert!(matches!(foreign, Err(ControlError::Denied { .. })));
    w.control
        .function_delete(&who, &theirs.function)
        .await
        .unwrap();
    assert!(
        w.control
            .function_get(&w.who, &w.of("same"), None)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_data_folder_of_the_release_before_has_its_operator() {
    let clock = clock();
    let storage: Arc<dyn Storage> = freehold_testkit::storage::MemoryStorage::new(clock.clone());
    let tenant = br#"{"v":1,"r":{"id":"555555555555","regions":["us-east-1"],"created":1}}"#;
    let sealed = freehold_domain::ports::Sealer::seal(&TestSealer, b"sesame", "AKIAOLD");
    let sealed = serde_json::to_string(&sealed).unwrap();
    let key = format!(
        r#"{{"v":1,"r":{{"id":"AKIAOLD","tenant":"555555555555","secret":{sealed},"enabled":true,"created":1}}}}"#
    );
    let put = |key, bytes: &[u8]| Op::Put {
        key,
        expect: Expect::Absent,
        bytes: bytes.to_vec(),
    };
    let id = "555555555555".parse().unwrap();
    let ops = vec![
        put(Key::tenant_record(&id), tenant),
        put(Key::access_key("AKIAOLD"), key.as_bytes()),
    ];
    let platform = Principal::platform("test");
    storage.commit(&platform, ops, Fence::None).await.unwrap();
    let keys = Keys::new(storage.clone(), Arc::new(TestSealer), clock);
    let region = "eu-west-1".parse().unwrap();
    let started = keys.start(None, &region).await.unwrap();
    assert!(!started.first && started.tenant.is_operator);
    assert_eq!(
        (started.key.id.as_str(), started.key.secret.as_str()),
        ("AKIAOLD", "sesame")
    );
    // The region was new, so the record was written: in today's version.
    let stored =
        freehold_domain::ports::Records::get(&*storage, &platform, &Key::tenant_record(&id));
    let stored = stored.await.unwrap().unwrap();
    assert!(stored.bytes.starts_with(br#"{"v":2"#));
    let tenant: TenantV2 = record::decode(&stored.bytes).unwrap();
    assert_eq!(tenant.regions.len(), 2);
}

#[tokio::test]
async fn a_reservation_can_be_lowered_where_none_can_be_made() {
    let n = node().await;
    let w = &n.world;
    let (a, b) = (w.ready("a").await, w.ready("b").await);
    let put = async |of: &FunctionRef, amount| {
        let put = w.control.concurrency_put(&w.who, of, amount).await;
        put.map_err(|error| assert!(matches!(error, ControlError::LimitExceeded { .. })))
    };
    assert_eq!(put(&a, 500).await, Ok(500));
    let less = vec![(TenantLimit::Concurrency, Some(50))];
    let tenant = w.place.tenant.as_str();
    let set = n.control().tenant_limits_set(&n.operator, tenant, less);
    set.await.unwrap();
    assert_eq!(put(&a, 501).await, Err(()));
    assert_eq!(put(&b, 1).await, Err(()));
    for amount in [500, 20, 0] {
        assert_eq!(put(&a, amount).await, Ok(amount));
    }
    assert_eq!(put(&a, 1).await, Err(()));
    assert_eq!(put(&b, 0).await, Ok(0), "throttles it whole");
}
