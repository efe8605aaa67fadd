//! URLs, permissions, tags, log groups, usage and the first start.

mod support;

use freehold_control::{
    ControlError, Field, Limit, Resource, bootstrap::Keys, revisions::Publish, urls::UrlSettings,
};
use freehold_domain::{
    Digest, InstanceId, InvocationId, NetworkBytes, Qualifier, Source, TraceHeader, Usage, Wall,
    ledger::{Ending, LedgerEntry, NetworkEntry},
    ports::Ledger,
    record::{CorsV1, StatementV1},
};
use freehold_testkit::storage::MemoryStorage;
use std::{collections::BTreeMap, sync::Arc};
use support::{TestSealer, World, clock, world};

fn url(auth: &str) -> UrlSettings {
    UrlSettings {
        auth: Some(auth.into()),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_url_is_made_once_and_keeps_its_id() {
    let w = world().await;
    let of = w.ready("f").await;
    let missing = w.control.url_get(&w.who, &of, None).await;
    assert!(matches!(
        missing,
        Err(ControlError::NotFound {
            what: Resource::Url,
            ..
        })
    ));
    let made = w
        .control
        .url_create(&w.who, &of, None, url("AWS_IAM"))
        .await;
    let made = made.unwrap();
    assert_eq!(made.url.id.len(), 32);
    assert!(made.url.signed);
    let found = w.control.url_lookup(&made.url.id).await.unwrap().unwrap();
    assert_eq!(found, made);
    assert!(matches!(
        w.control.url_create(&w.who, &of, None, url("NONE")).await,
        Err(ControlError::AlreadyExists {
            what: Resource::Url,
            ..
        })
    ));
    let cors = CorsV1 {
        allow_origins: Some(vec!["https://example.com".into()]),
        max_age_s: Some(86_400),
        ..Default::default()
    };
    let change = UrlSettings {
        cors: Some(cors.clone()),
        ..url("NONE")
    };
    let changed = w
        .control
        .url_update(&w.who, &of, None, change)
        .await
        .unwrap();
    assert_eq!(changed.url.id, made.url.id);
    assert!(!changed.url.signed);
    assert_eq!(changed.url.cors, Some(cors));
    assert!(changed.url.modified > made.url.modified);
    let listed = w.control.url_list(&w.who, &of, None, None).await.unwrap();
    assert_eq!(listed.items, [changed]);
    w.control.url_delete(&w.who, &of, None).await.unwrap();
    assert_eq!(w.control.url_lookup(&made.url.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_url_keeps_its_rules() {
    let w = world().await;
    let of = w.ready("f").await;
    let create = |on: Option<Qualifier>, settings: UrlSettings| {
        let (c, who, of) = (w.control.clone(), w.who.clone(), of.clone());
        async move { c.url_create(&who, &of, on.as_ref(), settings).await }
    };
    let field = |found: Result<_, ControlError>| match found {
        Err(ControlError::Invalid { field, .. } | ControlError::NotSupported { field, .. }) => {
            field
        }
        other => panic!("{:?}", other.err()),
    };
    let none = create(None, UrlSettings::default()).await;
    assert_eq!(field(none), Field::UrlAuthType);
    assert_eq!(field(create(None, url("OPEN")).await), Field::UrlAuthType);
    let latest = create(Some(Qualifier::Latest), url("NONE")).await;
    assert_eq!(field(latest), Field::Qualifier);
    let stream = UrlSettings {
        invoke_mode: Some("RESPONSE_STREAM".into()),
        ..url("NONE")
    };
    assert_eq!(field(create(None, stream).await), Field::UrlInvokeMode);
    for cors in [
        CorsV1 {
            max_age_s: Some(86_401),
            ..Default::default()
        },
        CorsV1 {
            allow_methods: Some(vec!["BREW".into()]),
            ..Default::default()
        },
        CorsV1 {
            expose_headers: Some(vec!["x\r\nset-cookie: a".into()]),
            ..Default::default()
        },
    ] {
        let settings = UrlSettings {
            cors: Some(cors),
            ..url("NONE")
        };
        assert_eq!(field(create(None, settings).await), Field::Cors);
    }
    let alias = create(Some("live".parse().unwrap()), url("NONE")).await;
    assert!(matches!(
        alias,
        Err(ControlError::NotFound {
            what: Resource::Alias,
            ..
        })
    ));
}

fn statement(sid: &str) -> StatementV1 {
    StatementV1 {
        sid: sid.into(),
        principal: "s3.amazonaws.com".into(),
        action: "lambda:InvokeFunction".into(),
        source_arn: Some("arn:aws:s3:::bucket".into()),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_policy_grows_shrinks_and_goes() {
    let w = world().await;
    let of = w.ready("f").await;
    let c = &w.control;
    let add = |sid: &'static str, guard: Option<String>| {
        let (w, of) = (&w, &of);
        async move {
            w.control
                .permission_add(&w.who, of, None, statement(sid), guard.as_deref())
                .await
        }
    };
    let what = |found: Result<_, ControlError>| match found {
        Err(ControlError::NotFound { what, .. } | ControlError::AlreadyExists { what, .. }) => what,
        other => panic!("{:?}", other.err()),
    };
    let none = c.policy_get(&w.who, &of, None).await.map(drop);
    assert_eq!(what(none), Resource::Policy);
    let none = c.permission_remove(&w.who, &of, None, "s", None).await;
    assert_eq!(what(none), Resource::Policy);
    add("one", None).await.unwrap();
    assert_eq!(what(add("one", None).await.map(drop)), Resource::Statement);
    let first = c.policy_get(&w.who, &of, None).await.unwrap();
    add("two", Some(first.revision_id.clone())).await.unwrap();
    assert!(matches!(
        add("three", Some(first.revision_id.clone())).await,
        Err(ControlError::PreconditionFailed {
            what: Resource::Policy
        })
    ));
    let none = c.permission_remove(&w.who, &of, None, "three", None).await;
    assert_eq!(what(none), Resource::Statement);
    for sid in ["one", "two"] {
        c.permission_remove(&w.who, &of, None, sid, None)
            .await
            .unwrap();
    }
    let none = c.policy_get(&w.who, &of, None).await.map(drop);
    assert_eq!(what(none), Resource::Policy);
    // A revision has a policy of its own, and must be there.
    let on = Qualifier::Revision(1);
    let early = c
        .permission_add(&w.who, &of, Some(&on), statement("s"), None)
        .await
        .map(drop);
    assert_eq!(what(early), Resource::Revision);
    c.revision_publish(&w.who, &of, Publish::default())
        .await
        .unwrap();
    c.permission_add(&w.who, &of, Some(&on), statement("s"), None)
        .await
        .unwrap();
    assert!(c.policy_get(&w.who, &of, Some(&on)).await.is_ok());
    assert!(c.policy_get(&w.who, &of, None).await.is_err());
    let latest = c
        .permission_add(&w.who, &of, Some(&Qualifier::Latest), statement("s"), None)
        .await;
    assert!(matches!(
        latest,
        Err(ControlError::Invalid {
            field: Field::Qualifier,
            ..
        })
    ));
}

#[tokio::test]
async fn a_policy_has_a_size() {
    let w = world().await;
    let of = w.ready("f").await;
    let mut refused = None;
    for n in 0..200 {
        let found = w
            .control
            .permission_add(&w.who, &of, None, statement(&format!("s{n}")), None)
            .await;
        if let Err(error) = found {
            refused = Some((n, error));
            break;
        }
    }
    let (count, error) = refused.expect("200 statements are over 20 KB");
    assert!(count > 50, "{count}");
    assert!(matches!(
        error,
        ControlError::LimitExceeded {
            limit: Limit::PolicyBytes,
            ..
        }
    ));
}

#[tokio::test]
async fn tags_are_added_over_and_removed() {
    let w = world().await;
    let of = w.ready("f").await;
    let c = &w.control;
    let tags = |n: std::ops::Range<usize>| -> BTreeMap<String, String> {
        n.map(|n| (format!("k{n}"), "v".into())).collect()
    };
    assert_eq!(c.tags_list(&w.who, &of).await.unwrap(), tags(0..0));
    c.tags_add(&w.who, &of, tags(0..50)).await.unwrap();
    assert!(matches!(
        c.tags_add(&w.who, &of, tags(50..51)).await,
        Err(ControlError::LimitExceeded {
            limit: Limit::Tags,
            max: 50
        })
    ));
    c.tags_add(&w.who, &of, tags(3..4)).await.unwrap();
    c.tags_remove(&w.who, &of, &["k0".into(), "nothing".into()])
        .await
        .unwrap();
    assert_eq!(c.tags_list(&w.who, &of).await.unwrap(), tags(1..50));
    assert!(c.tags_add(&w.who, &of, tags(0..0)).await.is_err());
    assert!(c.tags_list(&w.who, &w.of("none")).await.is_err());
}

#[tokio::test]
async fn log_groups_are_made_listed_kept_and_deleted() {
    let w = world().await;
    let c = &w.control;
    for name in ["/aws/lambda/b", "/aws/lambda/a", "/other"] {
        c.log_group_ensure(&w.who, &w.place, name).await.unwrap();
        c.log_group_ensure(&w.who, &w.place, name).await.unwrap();
    }
    // One that is on its way is waited for, from the call on.
    let coming = c.log_group_ensure(&w.who, &w.place, "/late");
    let listed = tokio::spawn({
        let (c, who, place) = (c.clone(), w.who.clone(), w.place.clone());
        async move { c.log_group_list(&who, &place, "/late", None, None).await }
    });
    tokio::task::yield_now().await;
    assert!(!listed.is_finished());
    coming.await.unwrap();
    assert_eq!(listed.await.unwrap().unwrap().items.len(), 1);
    let page = c
        .log_group_list(&w.who, &w.place, "/aws/", None, Some(1))
        .await
        .unwrap();
    assert_eq!(page.items[0].group.name, "/aws/lambda/a");
    let rest = c
        .log_group_list(&w.who, &w.place, "/aws/", page.next.as_deref(), None)
        .await
        .unwrap();
    assert_eq!(rest.items.len(), 1);
    assert_eq!(rest.next, None);
    let set = |days| c.log_group_retention(&w.who, &w.place, "/other", days);
    assert!(set(Some(2)).await.is_err());
    set(Some(7)).await.unwrap();
    let group = c.log_group_get(&w.who, &w.place, "/other").await.unwrap();
    assert_eq!(group.retention_days, Some(7));
    c.log_groups_expire().await.unwrap();
    c.log_group_delete(&w.who, &w.place, "/other")
        .await
        .unwrap();
    assert!(matches!(
        c.log_group_delete(&w.who, &w.place, "/other").await,
        Err(ControlError::NotFound {
            what: Resource::LogGroup,
            ..
        })
    ));
    assert!(c.log_group_ensure(&w.who, &w.place, "a b").await.is_err());
}

fn entry(w: &World, name: &str, day: i64, billed_ms: u64, ending: Ending) -> LedgerEntry {
    LedgerEntry {
        id: InvocationId(uuid::Uuid::now_v7()),
        function: w.of(name),
        revision: Qualifier::Latest,
        runtime: Digest([0; 32]),
        instance: InstanceId(uuid::Uuid::now_v7()),
        attempt: 1,
        source: Source::Api,
        trace: TraceHeader::new_root(uuid::Uuid::now_v7()),
        received: Wall((20_000 + day) * 86_400_000_000 + 86_399_999_999),
        memory_mib: 128,
        usage: Usage {
            billed_ms,
            memory_peak_bytes: billed_ms * 10,
            ..Default::default()
        },
        ending,
        tags: None,
    }
}

#[tokio::test]
async fn usage_equals_the_ledger_however_often_it_is_rolled_up() {
    let w = world().await;
    let append = |lane: u16, entry: LedgerEntry| {
        let frame = serde_json::to_vec(&entry).unwrap();
        Ledger::append(&*w.storage, lane, &frame).unwrap();
    };
    for n in 0..3000u64 {
        let name = if n % 3 == 0 { "a" } else { "b" };
        let ending = if n % 5 == 0 {
            Ending::Timeout
        } else {
            Ending::Success
        };
        append((n % 2) as u16, entry(&w, name, (n % 2) as i64, n, ending));
        if n % 10 == 0 {
            let of = entry(&w, name, (n % 2) as i64, n, ending);
            let network = NetworkEntry {
                instance: of.instance,
                sequence: 1,
                function: of.function,
                revision: of.revision,
                from: of.received,
                to: of.received,
                bytes: NetworkBytes {
                    out: n,
                    back: 2 * n,
                },
                tags: None,
            };
            Ledger::append(&*w.storage, (n % 2) as u16, &network.to_json()).unwrap();
        }
        if n == 1000 {
            w.control.usage_roll_up().await.unwrap();
        }
    }
    // Two at once count nothing twice.
    let (one, two) = tokio::join!(w.control.usage_roll_up(), w.control.usage_roll_up());
    assert_eq!(one.unwrap() + two.unwrap(), 1999 + 199);
    let all = w
        .control
        .usage_query(&w.who, &w.place, None, None, None)
        .await
        .unwrap();
    assert_eq!(all.len(), 4);
    assert_eq!(all[0].day, "2024-10-04");
    let sum = |of: fn(&freehold_control::usage::DayUsage) -> u64| all.iter().map(of).sum::<u64>();
    assert_eq!(sum(|d| d.usage.invocations), 3000);
    assert_eq!(sum(|d| d.usage.errors), 600);
    assert_eq!(sum(|d| d.usage.sums.billed_ms), 2999 * 3000 / 2);
    assert_eq!(sum(|d| d.usage.billed_mib_ms), 128 * 2999 * 3000 / 2);
    let sent = 10 * 299 * 300 / 2;
    assert_eq!(sum(|d| d.usage.network.out), sent);
    assert_eq!(sum(|d| d.usage.network.back), 2 * sent);
    let parts = |d: &freehold_control::usage::DayUsage| d.usage.parts[0].bytes_out;
    assert_eq!(all.iter().map(parts).sum::<u64>(), sent);
    let peak = all.iter().map(|d| d.usage.sums.memory_peak_bytes).max();
    assert_eq!(peak, Some(29_990));
    let days = w
        .control
        .usage_query(
            &w.who,
            &w.place,
            Some(&"a".parse().unwrap()),
            Some("2024-10-05"),
            Some("2024-10-05"),
        )
        .await
        .unwrap();
    assert_eq!(days.len(), 1);
    let wrong = w
        .control
        .usage_query(&w.who, &w.place, None, Some("yesterday"), None)
        .await;
    assert!(matches!(
        wrong,
        Err(ControlError::Invalid {
            field: Field::Day,
            ..
        })
    ));
}

#[tokio::test]
async fn the_first_start_makes_one_key_that_later_starts_find() {
    let clock = clock();
    let storage: Arc<dyn freehold_domain::ports::Storage> = MemoryStorage::new(clock.clone());
    let keys = Keys::new(storage.clone(), Arc::new(TestSealer), clock);
    let region = "us-east-1".parse().unwrap();
    let first = keys.start(None, &region).await.unwrap();
    assert!(first.first);
    assert_eq!(first.key.id.len(), 20);
    assert!(first.key.id.starts_with("AKIA"));
    assert_eq!(first.key.secret.len(), 40);
    assert!(!format!("{first:?}").contains(&first.key.secret));
    let second = keys
        .start(Some(&first.tenant.id), &"eu-west-1".parse().unwrap())
        .await
        .unwrap();
    assert!(!second.first);
    assert_eq!(second.key, first.key);
    assert_eq!(second.tenant.regions.len(), 2);
    let found = keys.lookup(&first.key.id).await.unwrap();
    assert_eq!(found, Some(first.key));
    assert_eq!(keys.lookup("AKIANOBODY").await.unwrap(), None);
    let other = "999999999999".parse().unwrap();
    assert!(matches!(
        keys.start(Some(&other), &region).await,
        Err(ControlError::NotFound {
            what: Resource::Tenant,
            ..
        })
    ));
}
