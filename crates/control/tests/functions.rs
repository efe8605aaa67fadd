//! Functions and revisions as clients of AWS know them.

mod support;

use freehold_control::{
    CodeChange, ConfigurationChange, Control, ControlError, Environment, Field, Limit,
    LoggingChange, NewFunction, Resource, Settings, WithoutEffect, revisions::Publish,
    urls::UrlSettings,
};
use freehold_domain::{
    Principal, Qualifier,
    limits::Limits,
    ports::{Expect, Fence, Op, Records},
    record::{FunctionStateV1, Key, KeyPrefix, StatementV1, UpdateStateV1},
};
use std::collections::BTreeMap;
use support::{BUSY_HANDLER, new_function, settings, world, world_with, zip_of};

#[tokio::test]
async fn a_new_function_is_pending_with_the_defaults() {
    let w = world().await;
    let made = w.create("orders").await.unwrap();
    assert_eq!(made.qualifier, Qualifier::Latest);
    assert_eq!(made.state, FunctionStateV1::Pending);
    assert_eq!(made.spec.timeout_s, 3);
    assert_eq!(made.spec.memory.0, 128);
    assert_eq!(made.spec.tmp.0, 512);
    assert_eq!(made.spec.description, "");
    assert_eq!(made.spec.architecture, "x86_64");
    assert_eq!(made.environment, Environment::Variables(BTreeMap::new()));
    let zip = new_function("orders").zip;
    assert_eq!(made.spec.package.zip_bytes, zip.len() as u64);
    assert_eq!(made.spec.package.unpacked_bytes, 28);
    let read = w.control.function_get(&w.who, &w.of("orders"), None).await;
    assert_eq!(read.unwrap(), made);
    let package = w
        .control
        .function_package(&w.who, &w.of("orders"), None)
        .await;
    assert_eq!(package.unwrap(), zip);
    let again = w.create("orders").await;
    assert!(matches!(
        again,
        Err(ControlError::AlreadyExists {
            what: Resource::Function,
            ..
        })
    ));
}

/// Creating with this change fails so.
async fn refused(change: impl FnOnce(&mut NewFunction)) -> ControlError {
    let w = world().await;
    let mut new = new_function("f");
    change(&mut new);
    let found = w.control.function_create(&w.who, &w.place, new).await;
    let error = found.expect_err("must be refused");
    // Nothing is left behind.
    assert!(
        w.control
            .function_get(&w.who, &w.of("f"), None)
            .await
            .is_err()
    );
    error
}

#[tokio::test]
async fn code_that_others_keep_from_being_looked_at_may_come_again() {
    let error = refused(|new| new.settings.handler = Some(BUSY_HANDLER.to_owned())).await;
    assert!(matches!(error, ControlError::CodeWaits { .. }), "{error:?}");
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_by_name() {
    let field = |error: ControlError| match error {
        ControlError::Invalid { field, .. }
        | ControlError::OutOfRange { field, .. }
        | ControlError::NotSupported { field, .. } => field,
        other => panic!("{other:?}"),
    };
    let limits = Limits::default();
    type Change = Box<dyn FnOnce(&mut NewFunction)>;
    let cases: Vec<(Field, Change)> = vec![
        (Field::Runtime, Box::new(|n| n.settings.runtime = None)),
        (Field::Handler, Box::new(|n| n.settings.handler = None)),
        (
            Field::Handler,
            Box::new(|n| n.settings.handler = Some("a b".into())),
        ),
        (
            Field::Handler,
            Box::new(|n| n.settings.handler = Some("x".repeat(129))),
        ),
        (
            Field::Role,
            Box::new(|n| n.settings.role = Some("role".into())),
        ),
        (Field::Timeout, Box::new(|n| n.settings.timeout_s = Some(0))),
        (
            Field::Timeout,
            Box::new(|n| n.settings.timeout_s = Some(901)),
        ),
        (
            Field::Memory,
            Box::new(|n| n.settings.memory_mib = Some(127)),
        ),
        (
            Field::Memory,
            Box::new(move |n| n.settings.memory_mib = Some(limits.memory_max_mib + 1)),
        ),
        (Field::Tmp, Box::new(|n| n.settings.tmp_mib = Some(511))),
        (
            Field::Description,
            Box::new(|n| n.settings.description = Some("x".repeat(257))),
        ),
        (Field::Code, Box::new(|n| n.zip = bytes::Bytes::new())),
        (
            Field::Architecture,
            Box::new(|n| n.architectures = Some(vec!["arm64".into()])),
        ),
        (
            Field::Architecture,
            Box::new(|n| n.architectures = Some(vec!["mips".into()])),
        ),
        (
            Field::Layers,
            Box::new(|n| {
                n.settings.without_effect = WithoutEffect {
                    layers: vec!["arn:x".into()],
                    ..Default::default()
                }
            }),
        ),
    ];
    for (expected, change) in cases {
        assert_eq!(field(refused(change).await), expected);
    }
    let unknown = refused(|n| n.settings.runtime = Some("cobol".into())).await;
    assert!(
        matches!(unknown, ControlError::UnknownRuntime { remedy, .. }
        if remedy.contains("python3.12"))
    );
    let corrupt = refused(|n| n.zip = bytes::Bytes::from_static(b"not a zip")).await;
    assert!(matches!(corrupt, ControlError::BadArchive { .. }));
}

#[tokio::test]
async fn ceilings_are_the_operators() {
    let limits = Limits {
        function_timeout_s: 7200,
        package_zip_bytes: 200,
        code_storage_bytes: 250,
        ..Default::default()
    };
    let w = world_with(limits).await;
    let mut new = new_function("long");
    new.settings.timeout_s = Some(7200);
    let made = w.control.function_create(&w.who, &w.place, new).await;
    assert_eq!(made.unwrap().spec.timeout_s, 7200);
    let mut new = new_function("fat");
    new.zip = zip_of(&[("a", &[0; 300])]);
    let fat = w.control.function_create(&w.who, &w.place, new).await;
    assert!(matches!(
        fat,
        Err(ControlError::CodeTooLarge {
            limit_bytes: 200,
            ..
        })
    ));
    assert!(matches!(
        w.create("second").await,
        Err(ControlError::LimitExceeded {
            limit: Limit::CodeStorage,
            max: 250
        })
    ));
}

#[tokio::test]
async fn an_update_waits_for_the_one_before() {
    let w = world().await;
    w.create("f").await.unwrap();
    let of = w.of("f");
    let change = |text: &str| ConfigurationChange {
        settings: Settings {
            description: Some(text.into()),
            ..Default::default()
        },
        revision_id: None,
    };
    let update = |text: &'static str| {
        w.control
            .function_update_configuration(&w.who, &of, change(text))
    };
    assert!(matches!(
        update("x").await,
        Err(ControlError::Busy { pending: true, .. })
    ));
    w.reconcile(&of).await;
    let before = w.control.function_get(&w.who, &of, None).await.unwrap();
    let updated = update("one").await.unwrap();
    assert_eq!(updated.last_update, UpdateStateV1::InProgress);
    assert_eq!(updated.state, FunctionStateV1::Active);
    assert_ne!(updated.spec.revision_id, before.spec.revision_id);
    assert_eq!(updated.spec.generation, before.spec.generation + 1);
    assert!(matches!(
        update("two").await,
        Err(ControlError::Busy { pending: false, .. })
    ));
    let publish = w
        .control
        .revision_publish(&w.who, &of, Publish::default())
        .await;
    assert!(matches!(publish, Err(ControlError::Busy { .. })));
    w.reconcile(&of).await;
    // The same again: in progress once more, but the same generation.
    let same = update("one").await.unwrap();
    assert_eq!(same.last_update, UpdateStateV1::InProgress);
    assert_eq!(same.spec.generation, updated.spec.generation);
    w.reconcile(&of).await;
    let stale = ConfigurationChange {
        revision_id: Some(before.spec.revision_id),
        ..change("three")
    };
    let stale = w
        .control
        .function_update_configuration(&w.who, &of, stale)
        .await;
    assert!(matches!(
        stale,
        Err(ControlError::PreconditionFailed {
            what: Resource::Function
        })
    ));
}

#[tokio::test]
async fn of_two_updates_with_one_revision_id_one_wins() {
    let w = world().await;
    let of = w.ready("f").await;
    let seen = w.control.function_get(&w.who, &of, None).await.unwrap();
    let update = |memory: u32| {
        let change = ConfigurationChange {
            settings: Settings {
                memory_mib: Some(memory),
                ..Default::default()
            },
            revision_id: Some(seen.spec.revision_id.clone()),
        };
        let (control, who, of) = (w.control.clone(), w.who.clone(), of.clone());
        tokio::spawn(async move {
            control
                .function_update_configuration(&who, &of, change)
                .await
        })
    };
    let tasks: Vec<_> = (0..8).map(|n| update(256 + n)).collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(ControlError::PreconditionFailed { .. } | ControlError::Busy { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn the_environment_is_sealed_and_replaced_whole() {
    let w = world().await;
    let secret = "s3cret-value";
    let variables = BTreeMap::from([("TOKEN".to_owned(), secret.to_owned())]);
    let mut new = new_function("f");
    new.settings.environment = Some(variables.clone());
    let made = w.control.function_create(&w.who, &w.place, new).await;
    let made = made.unwrap();
    assert_eq!(made.environment, Environment::Variables(variables.clone()));
    assert!(!format!("{made:?}").contains(secret));
    let of = w.of("f");
    w.reconcile(&of).await;
    let update = |environment: Option<BTreeMap<String, String>>| {
        let change = ConfigurationChange {
            settings: Settings {
                environment,
                ..Default::default()
            },
            revision_id: None,
        };
        w.control.function_update_configuration(&w.who, &of, change)
    };
    // Equal variables are no change, though sealing draws a new nonce.
    let same = update(Some(variables.clone())).await.unwrap();
    assert_eq!(same.spec.generation, made.spec.generation);
    w.reconcile(&of).await;
    let kept = update(None).await.unwrap();
    assert_eq!(kept.environment, Environment::Variables(variables));
    w.reconcile(&of).await;
    let none = update(Some(BTreeMap::new())).await.unwrap();
    // Given empty is kept apart from never given.
    assert!(none.spec.environment.is_some());
    assert_eq!(none.environment, Environment::Variables(BTreeMap::new()));
}

#[tokio::test]
async fn logging_changes_keep_what_they_do_not_name() {
    let w = world().await;
    let of = w.ready("f").await;
    let change = ConfigurationChange {
        settings: Settings {
            logging: Some(LoggingChange {
                format: Some("JSON".into()),
                group: Some("/my/group".into()),
                ..Default::default()
            }),
            ..Default::default()
        },
        revision_id: None,
    };
    let json = w
        .control
        .function_update_configuration(&w.who, &of, change)
        .await
        .unwrap()
        .spec
        .logging;
    assert!(json.json);
    assert_eq!(json.group.as_deref(), Some("/my/group"));
    assert_eq!(json.system_level.as_deref(), Some("INFO"));
}

#[tokio::test]
async fn publishing_what_did_not_change_gives_the_last_revision_again() {
    let w = world().await;
    let of = w.ready("f").await;
    let publish = |how: Publish| w.control.revision_publish(&w.who, &of, how);
    let described = Publish {
        description: Some("first".into()),
        ..Default::default()
    };
    let first = publish(described).await.unwrap();
    assert_eq!(first.qualifier, Qualifier::Revision(1));
    assert_eq!(first.state, FunctionStateV1::Active);
    assert_eq!(first.spec.description, "first");
    let again = publish(Publish::default()).await.unwrap();
    assert_eq!(again, first);
    let change = CodeChange {
        zip: zip_of(&[("app.py", b"new")]),
        ..Default::default()
    };
    w.control
        .function_update_code(&w.who, &of, change)
        .await
        .unwrap();
    w.reconcile(&of).await;
    let second = publish(Publish::default()).await.unwrap();
    assert_eq!(second.qualifier, Qualifier::Revision(2));
    // The first is as it was.
    let read = w
        .control
        .function_get(&w.who, &of, Some(&Qualifier::Revision(1)))
        .await;
    assert_eq!(read.unwrap(), first);
    let wrong = Publish {
        code_digest: Some("x".into()),
        ..Default::default()
    };
    assert!(matches!(
        publish(wrong).await,
        Err(ControlError::CodeMismatch { .. })
    ));
    let stale = Publish {
        revision_id: Some("x".into()),
        ..Default::default()
    };
    assert!(matches!(
        publish(stale).await,
        Err(ControlError::PreconditionFailed { .. })
    ));
    w.control.revision_delete(&w.who, &of, 2).await.unwrap();
    // A number is never given twice.
    let third = publish(Publish::default()).await.unwrap();
    assert_eq!(third.qualifier, Qualifier::Revision(3));
    let listed = w
        .control
        .revision_list(&w.who, &of, None, Some(2))
        .await
        .unwrap();
    let of_page = |page: &[freehold_control::Described]| {
        page.iter()
            .map(|one| one.qualifier.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_page(&listed.items), ["$LATEST", "1"]);
    let rest = w
        .control
        .revision_list(&w.who, &of, listed.next.as_deref(), Some(2))
        .await
        .unwrap();
    assert_eq!(of_page(&rest.items), ["3"]);
    assert_eq!(rest.next, None);
}

#[tokio::test]
async fn a_page_and_a_publishing_read_only_the_revisions_that_they_need() {
    let w = world().await;
    let of = w.ready("f").await;
    let publish = || w.control.revision_publish(&w.who, &of, Publish::default());
    for n in 1..=5 {
        let change = ConfigurationChange {
            settings: Settings {
                description: Some(format!("the {n}th")),
                ..Default::default()
            },
            revision_id: None,
        };
        let changed = w.control.function_update_configuration(&w.who, &of, change);
        changed.await.unwrap();
        w.reconcile(&of).await;
        publish().await.unwrap();
    }
    // Whoever reads these fails.
    let unreadable = [1, 2].map(|number| Op::Put {
        key: Key::revision(&of.tenant, &of.region, &of.name, number),
        expect: Expect::Any,
        bytes: b"no revision".to_vec(),
    });
    let written = w.storage.commit(&w.who, unreadable.into(), Fence::None);
    written.await.unwrap();
    let again = publish().await.unwrap();
    assert_eq!(again.qualifier, Qualifier::Revision(5));
    let page = |marker: &'static str| {
        let list = w.control.revision_list(&w.who, &of, Some(marker), Some(2));
        async move {
            let page = list.await.unwrap();
            let items = page.items.iter().map(|one| one.qualifier.to_string());
            (items.collect::<Vec<_>>(), page.next)
        }
    };
    let numbers = |of: &[&str]| of.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(page("2").await, (numbers(&["3", "4"]), Some("4".into())));
    assert_eq!(page("4").await, (numbers(&["5"]), None));
    let rest = w
        .control
        .function_list(&w.who, &w.place, true, Some("f/2"), Some(2))
        .await;
    let rest = rest.unwrap();
    assert_eq!(rest.next.as_deref(), Some("f/4"));
}

#[tokio::test]
async fn code_may_be_published_with_its_update() {
    let w = world().await;
    let of = w.ready("f").await;
    let change = |text: &'static [u8], dry_run| CodeChange {
        zip: zip_of(&[("app.py", text)]),
        publish: true,
        dry_run,
        ..Default::default()
    };
    let dry = w
        .control
        .function_update_code(&w.who, &of, change(b"dry", true));
    dry.await.unwrap();
    let head = w.control.function_get(&w.who, &of, None).await.unwrap();
    assert_eq!(head.last_update, UpdateStateV1::Successful);
    let made = w
        .control
        .function_update_code(&w.who, &of, change(b"one", false))
        .await
        .unwrap();
    assert_eq!(made.qualifier, Qualifier::Revision(1));
    assert_eq!(made.state, FunctionStateV1::Pending);
    let mut new = new_function("g");
    new.publish = true;
    let made = w.control.function_create(&w.who, &w.place, new).await;
    assert_eq!(made.unwrap().qualifier, Qualifier::Revision(1));
}

#[tokio::test]
async fn deleting_takes_everything_below_with_it() {
    let w = world().await;
    let of = w.ready("f").await;
    let other = w.ready("f2").await;
    w.control
        .revision_publish(&w.who, &of, Publish::default())
        .await
        .unwrap();
    let open = || UrlSettings {
        auth: Some("NONE".into()),
        ..Default::default()
    };
    let url = w
        .control
        .url_create(&w.who, &of, None, open())
        .await
        .unwrap();
    w.control
        .url_create(&w.who, &other, None, open())
        .await
        .unwrap();
    let statement = StatementV1 {
        sid: "s".into(),
        principal: "*".into(),
        action: "lambda:InvokeFunctionUrl".into(),
        url_auth_type: Some("NONE".into()),
        ..Default::default()
    };
    w.control
        .permission_add(&w.who, &of, None, statement, None)
        .await
        .unwrap();
    w.control.function_delete(&w.who, &of).await.unwrap();
    let all = w
        .storage
        .list(&w.who, &KeyPrefix::tenant(&w.place.tenant), None, 100)
        .await
        .unwrap();
    let left: Vec<String> = all
        .iter()
        .filter(|one| one.key.name().first().is_some_and(|name| name == "f"))
        .map(|one| one.key.to_string())
        .collect();
    // All but its numbering: no number is given twice under one name.
    let numbering = Key::numbering(&of.tenant, &of.region, &of.name);
    assert_eq!(left, [numbering.to_string()]);
    let platform = Principal::platform("test");
    let owner = Key::url_owner(&url.url.id);
    assert!(
        Records::get(&*w.storage, &platform, &owner)
            .await
            .unwrap()
            .is_none()
    );
    assert!(w.control.url_get(&w.who, &other, None).await.is_ok());
    assert!(matches!(
        w.control.function_delete(&w.who, &of).await,
        Err(ControlError::NotFound {
            what: Resource::Function,
            ..
        })
    ));
}

#[tokio::test]
async fn a_listing_pages_through_everything_once() {
    let w = world().await;
    let mut expected = Vec::new();
    for n in 0..7 {
        let of = w.ready(&format!("f{n}")).await;
        expected.push(format!("f{n}:$LATEST"));
        if n % 3 == 0 {
            w.control
                .revision_publish(&w.who, &of, Publish::default())
                .await
                .unwrap();
            expected.push(format!("f{n}:1"));
        }
    }
    let heads: Vec<String> = expected
        .iter()
        .filter(|name| name.ends_with("$LATEST"))
        .cloned()
        .collect();
    for (all, expected) in [(true, &expected), (false, &heads)] {
        for limit in 1..12 {
            let (mut found, mut marker) = (Vec::new(), None);
            loop {
                let page = w
                    .control
                    .function_list(&w.who, &w.place, all, marker.as_deref(), Some(limit))
                    .await
                    .unwrap();
                assert!(page.items.len() <= limit);
                found.extend(
                    page.items
                        .iter()
                        .map(|one| format!("{}:{}", one.function.name, one.qualifier)),
                );
                marker = page.next;
                if marker.is_none() {
                    break;
                }
            }
            assert_eq!(&found, expected, "all {all}, {limit} a page");
        }
    }
    let wrong = w
        .control
        .function_list(&w.who, &w.place, false, Some("junk"), None)
        .await;
    assert!(matches!(
        wrong,
        Err(ControlError::Invalid {
            field: Field::Marker,
            ..
        })
    ));
}

#[tokio::test]
async fn another_tenant_reaches_nothing() {
    let w = world().await;
    let of = w.ready("f").await;
    let stranger = Principal::Root {
        tenant: "222222222222".parse().unwrap(),
        key: "AKIAOTHER".into(),
    };
    let denied = |found: Result<(), ControlError>| {
        assert!(
            matches!(found, Err(ControlError::Denied { .. })),
            "{found:?}"
        );
    };
    let c = &w.control;
    denied(c.function_get(&stranger, &of, None).await.map(drop));
    denied(c.function_delete(&stranger, &of).await);
    denied(c.tags_list(&stranger, &of).await.map(drop));
    denied(
        c.function_create(&stranger, &w.place, new_function("g"))
            .await
            .map(drop),
    );
    denied(
        c.function_list(&stranger, &w.place, false, None, None)
            .await
            .map(drop),
    );
    let change = ConfigurationChange {
        settings: settings(),
        revision_id: None,
    };
    denied(
        c.function_update_configuration(&stranger, &of, change)
            .await
            .map(drop),
    );
    denied(c.account_settings(&stranger, &w.place).await.map(drop));
    denied(c.url_delete(&stranger, &of, None).await);
}

#[tokio::test]
async fn reservations_leave_what_must_stay_unreserved() {
    let w = world().await;
    let (a, b) = (w.ready("a").await, w.ready("b").await);
    w.control.concurrency_put(&w.who, &a, 500).await.unwrap();
    let too_much = w.control.concurrency_put(&w.who, &b, 401).await;
    assert!(matches!(
        too_much,
        Err(ControlError::LimitExceeded {
            limit: Limit::UnreservedConcurrency,
            max: 100
        })
    ));
    // Two at once, each of which has room alone.
    let put = |amount| {
        let (control, who, b, a) = (w.control.clone(), w.who.clone(), b.clone(), a.clone());
        tokio::spawn(async move {
            let of = if amount == 400 { b } else { a };
            control.concurrency_put(&who, &of, amount).await
        })
    };
    let (one, two) = (put(400), put(501));
    let won = [one.await.unwrap(), two.await.unwrap()];
    assert_eq!(won.iter().filter(|found| found.is_ok()).count(), 1);
    let settings = w.control.account_settings(&w.who, &w.place).await.unwrap();
    assert_eq!(settings.usage.functions, 2);
    assert!(settings.unreserved_concurrency >= 100);
    w.control.concurrency_delete(&w.who, &a).await.unwrap();
    assert_eq!(w.control.concurrency_get(&w.who, &a).await.unwrap(), None);
}

#[tokio::test]
async fn what_an_account_has_is_followed_as_it_changes() {
    let w = world().await;
    let seen = async |functions: u64, reserved: u64| {
        let of = async |control: &Control| {
            let settings = control.account_settings(&w.who, &w.place).await;
            settings.unwrap().usage
        };
        let followed = of(&w.control).await;
        assert_eq!(followed, of(&w.another()).await, "as if it were read anew");
        assert_eq!(followed.functions, functions);
        assert_eq!(followed.reserved_concurrency, reserved);
        followed.code_bytes
    };
    assert_eq!(seen(0, 0).await, 0);
    let a = w.ready("a").await;
    let one = seen(1, 0).await;
    assert!(one > 0);
    w.ready("b").await;
    let two = seen(2, 0).await;
    let publish = w.control.revision_publish(&w.who, &a, Publish::default());
    publish.await.unwrap();
    assert_eq!(seen(2, 0).await, two + one, "a version's code counts");
    w.control.concurrency_put(&w.who, &a, 7).await.unwrap();
    seen(2, 7).await;
    w.control.concurrency_put(&w.who, &a, 5).await.unwrap();
    seen(2, 5).await;
    w.control.function_delete(&w.who, &a).await.unwrap();
    assert_eq!(seen(1, 0).await, two - one, "its versions went with it");
}
