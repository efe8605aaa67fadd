//! Aliases as clients of AWS know them.

mod support;

use freehold_control::{
    ControlError, Field, Limit, Resource,
    aliases::{ALIASES_MAX, AliasSettings},
    revisions::Publish,
    urls::UrlSettings,
};
use freehold_domain::{
    AliasName, FunctionRef, Qualifier,
    ports::{Expect, Fence, NotUp, Op, Records},
    record::{self, AliasV1, FunctionStateV1, Key, RevisionV1, SplitV1, StatementV1, TargetV1},
};
use support::{World, world};

fn to(number: u64) -> AliasSettings {
    AliasSettings {
        target: Some(TargetV1::Revision(number)),
        ..Default::default()
    }
}

fn split(revision: u64, weight: f64) -> AliasSettings {
    AliasSettings {
        splits: Some(vec![SplitV1 { revision, weight }]),
        ..Default::default()
    }
}

fn name(text: &str) -> AliasName {
    text.parse().unwrap()
}

/// A function with versions 1 to `count`.
async fn published(w: &World, count: u32) -> FunctionRef {
    let of = w.ready("orders").await;
    for number in 0..count {
        if number > 0 {
            let change = freehold_control::ConfigurationChange {
                settings: freehold_control::Settings {
                    timeout_s: Some(10 + number),
                    ..Default::default()
                },
                revision_id: None,
            };
            let update = w.control.function_update_configuration(&w.who, &of, change);
            update.await.unwrap();
            w.reconcile(&of).await;
        }
        let publish = w.control.revision_publish(&w.who, &of, Publish::default());
        publish.await.unwrap();
    }
    of
}

#[tokio::test]
async fn an_alias_is_made_moved_read_and_deleted() {
    let w = world().await;
    let of = published(&w, 2).await;
    let live = name("live");
    let made = w.control.alias_create(&w.who, &of, &live, to(1)).await;
    let made = made.unwrap();
    assert_eq!(made.target, TargetV1::Revision(1));
    assert_eq!((made.split, made.description.as_str()), (None, ""));
    let again = w.control.alias_create(&w.who, &of, &live, to(2)).await;
    assert!(matches!(
        again,
        Err(ControlError::AlreadyExists {
            what: Resource::Alias,
            ..
        })
    ));
    let described = w
        .control
        .function_get(&w.who, &of, Some(&Qualifier::Alias(live.clone())))
        .await
        .unwrap();
    assert_eq!(described.qualifier, Qualifier::Revision(1));
    assert_eq!(described.alias.as_ref(), Some(&live));

    let settings = AliasSettings {
        description: Some("a tenth".into()),
        ..split(2, 0.1)
    };
    let guard = Some(made.revision_id.as_str());
    let moved = w
        .control
        .alias_update(&w.who, &of, &live, settings, guard)
        .await
        .unwrap();
    assert_eq!(moved.target, TargetV1::Revision(1));
    let (revision, weight) = (2, 0.1);
    assert_eq!(moved.split, Some(SplitV1 { revision, weight }));
    assert_ne!(moved.revision_id, made.revision_id);
    let stale = w.control.alias_update(&w.who, &of, &live, to(2), guard);
    assert!(matches!(
        stale.await,
        Err(ControlError::PreconditionFailed {
            what: Resource::Alias
        })
    ));
    // What is not said stays, and what is said to be nothing goes.
    let whole = AliasSettings {
        splits: Some(vec![]),
        ..to(2)
    };
    let whole = w.control.alias_update(&w.who, &of, &live, whole, None);
    let whole = whole.await.unwrap();
    assert_eq!((whole.target, whole.split), (TargetV1::Revision(2), None));
    assert_eq!(whole.description, "a tenth");
    let read = w.control.alias_get(&w.who, &of, &live).await.unwrap();
    assert_eq!(read, whole);
    w.control.alias_delete(&w.who, &of, &live).await.unwrap();
    // As on AWS, deleting what is not there is fine.
    w.control.alias_delete(&w.who, &of, &live).await.unwrap();
    assert!(matches!(
        w.control.alias_get(&w.who, &of, &live).await,
        Err(ControlError::NotFound {
            what: Resource::Alias,
            ..
        })
    ));
}

#[tokio::test]
async fn what_an_alias_may_not_point_at_is_refused_by_name() {
    let w = world().await;
    let of = published(&w, 1).await;
    let live = name("live");
    let create = async |settings| {
        let made = w.control.alias_create(&w.who, &of, &live, settings).await;
        made.expect_err("must be refused")
    };
    let missing = create(to(7)).await;
    assert!(matches!(
        missing,
        ControlError::NotFound { what: Resource::Revision, name } if name == "orders:7"
    ));
    let field = |error| match error {
        ControlError::Invalid { field, .. } => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        field(create(AliasSettings::default()).await),
        Field::AliasTarget
    );
    for (first, second, weight) in [
        (TargetV1::Head, 1, 0.5),
        (TargetV1::Revision(1), 1, 0.5),
        (TargetV1::Revision(1), 2, 1.1),
        (TargetV1::Revision(1), 2, -0.1),
        (TargetV1::Revision(1), 2, f64::NAN),
    ] {
        let settings = AliasSettings {
            target: Some(first),
            ..split(second, weight)
        };
        assert_eq!(field(create(settings).await), Field::AliasSplit);
    }
    let (revision, weight) = (1, 0.1);
    let two = AliasSettings {
        splits: Some(vec![SplitV1 { revision, weight }; 2]),
        ..to(1)
    };
    assert_eq!(field(create(two).await), Field::AliasSplit);
    let unknown = create(AliasSettings {
        target: Some(TargetV1::Revision(1)),
        ..split(3, 0.5)
    });
    assert!(matches!(unknown.await, ControlError::NotFound { .. }));
    let key = Key::revision(&of.tenant, &of.region, &of.name, 1);
    let stored = Records::get(&*w.storage, &w.who, &key)
        .await
        .unwrap()
        .unwrap();
    let mut revision: RevisionV1 = record::decode(&stored.bytes).unwrap();
    revision.state = FunctionStateV1::Failed {
        code: "FunctionError".into(),
        reason: "its init failed".into(),
    };
    let op = Op::Put {
        key,
        expect: Expect::Any,
        bytes: record::encode(&revision),
    };
    let commit = w.storage.commit(&w.who, vec![op], Fence::None);
    commit.await.unwrap();
    let failed = create(to(1)).await;
    assert!(
        matches!(failed, ControlError::NotStarted { target: TargetV1::Revision(1), reason } if reason == "its init failed")
    );
}

#[tokio::test]
async fn an_alias_moves_only_to_what_starts() {
    let w = world().await;
    let of = published(&w, 2).await;
    let live = name("live");
    let made = w.control.alias_create(&w.who, &of, &live, to(1)).await;
    let made = made.unwrap();
    let asked = || w.starts.asked.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(asked(), 0, "nobody calls by a name that is new");
    let reason = || "it is broken".to_owned();
    let update = async |settings| {
        w.control
            .alias_update(&w.who, &of, &live, settings, None)
            .await
    };
    *w.starts.fails.lock() = Some(NotUp::Failed {
        code: "FunctionError.RuntimeInitError",
        reason: reason(),
    });
    for settings in [to(2), split(2, 0.1)] {
        let refused = update(settings).await;
        assert!(matches!(
            refused,
            Err(ControlError::NotStarted { target: TargetV1::Revision(2), reason }) if reason == "it is broken"
        ));
    }
    *w.starts.fails.lock() = Some(NotUp::NotYet { reason: reason() });
    // A machine that is full of what is to be left does not keep anybody there.
    assert_eq!(w.control.alias_get(&w.who, &of, &live).await.unwrap(), made);
    assert_eq!(update(to(2)).await.unwrap().target, TargetV1::Revision(2));
    *w.starts.fails.lock() = None;
    assert_eq!(update(to(1)).await.unwrap().target, TargetV1::Revision(1));
    // What it points at already is asked nothing.
    assert_eq!(asked(), 4);
    let description = Some("the same".to_owned());
    let same = AliasSettings {
        description,
        ..to(1)
    };
    update(same).await.unwrap();
    assert_eq!(asked(), 4);
}

#[tokio::test]
async fn what_an_alias_points_at_stays_until_it_points_elsewhere() {
    let w = world().await;
    let of = published(&w, 3).await;
    let (live, beta) = (name("live"), name("beta"));
    let both = AliasSettings {
        target: Some(TargetV1::Revision(1)),
        ..split(2, 0.5)
    };
    w.control
        .alias_create(&w.who, &of, &live, both)
        .await
        .unwrap();
    w.control
        .alias_create(&w.who, &of, &beta, to(1))
        .await
        .unwrap();
    for (number, expected) in [
        (1, vec![beta.clone(), live.clone()]),
        (2, vec![live.clone()]),
    ] {
        let refused = w.control.revision_delete(&w.who, &of, number).await;
        assert!(
            matches!(refused, Err(ControlError::Referenced { aliases }) if aliases == expected)
        );
    }
    w.control.revision_delete(&w.who, &of, 3).await.unwrap();
    w.control.alias_delete(&w.who, &of, &live).await.unwrap();
    w.control.revision_delete(&w.who, &of, 2).await.unwrap();
}

#[tokio::test]
async fn an_alias_takes_its_url_and_policy_along() {
    let w = world().await;
    let of = published(&w, 1).await;
    let live = name("live");
    let on = Qualifier::Alias(live.clone());
    w.control
        .alias_create(&w.who, &of, &live, to(1))
        .await
        .unwrap();
    let settings = UrlSettings {
        auth: Some("NONE".into()),
        ..Default::default()
    };
    let url = w.control.url_create(&w.who, &of, Some(&on), settings).await;
    let id = url.unwrap().url.id;
    let statement = StatementV1 {
        sid: "s".into(),
        principal: "222222222222".into(),
        action: "lambda:InvokeFunction".into(),
        ..Default::default()
    };
    let add = w
        .control
        .permission_add(&w.who, &of, Some(&on), statement, None);
    add.await.unwrap();
    w.control.alias_delete(&w.who, &of, &live).await.unwrap();
    assert_eq!(w.control.url_lookup(&id).await.unwrap(), None);
    assert!(w.control.policy_get(&w.who, &of, Some(&on)).await.is_err());
    // Another alias of that name begins with nothing.
    w.control
        .alias_create(&w.who, &of, &live, to(1))
        .await
        .unwrap();
    assert!(w.control.url_get(&w.who, &of, Some(&on)).await.is_err());
    w.control.function_delete(&w.who, &of).await.unwrap();
    let key = Key::alias(&of.tenant, &of.region, &of.name, &live);
    assert!(
        Records::get(&*w.storage, &w.who, &key)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_function_has_so_many_aliases_and_they_come_by_the_page() {
    let w = world().await;
    let of = published(&w, 1).await;
    let ops = (0..ALIASES_MAX - 1).map(|n| {
        let alias = AliasV1 {
            name: name(&format!("a{n:04}")),
            target: TargetV1::Head,
            split: None,
            description: String::new(),
            revision_id: String::new(),
        };
        Op::Put {
            key: Key::alias(&of.tenant, &of.region, &of.name, &alias.name),
            expect: Expect::Absent,
            bytes: record::encode(&alias),
        }
    });
    let commit = w.storage.commit(&w.who, ops.collect(), Fence::None);
    commit.await.unwrap();
    let last = w
        .control
        .alias_create(&w.who, &of, &name("zz"), to(1))
        .await;
    last.unwrap();
    let over = w
        .control
        .alias_create(&w.who, &of, &name("zzz"), to(1))
        .await;
    assert!(matches!(
        over,
        Err(ControlError::LimitExceeded {
            limit: Limit::Aliases,
            ..
        })
    ));
    let (mut seen, mut marker) = (0, None::<String>);
    loop {
        let page = w
            .control
            .alias_list(&w.who, &of, None, marker.as_deref(), None)
            .await
            .unwrap();
        assert!(page.items.len() <= 50);
        seen += page.items.len();
        marker = page.next;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(seen, ALIASES_MAX);
    let of_one = w
        .control
        .alias_list(&w.who, &of, Some(TargetV1::Revision(1)), None, None)
        .await
        .unwrap();
    assert_eq!((of_one.items.len(), of_one.next), (1, None));
}
