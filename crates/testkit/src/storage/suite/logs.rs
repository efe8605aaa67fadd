use super::{root, tenant};
use freehold_domain::{
    InvocationId, Principal, Wall,
    logs::{LineKind, LogGroupName, LogLine, LogStreamName},
    ports::{CommitError, LogPage, LogQuery, LogStore, ReadError, Storage},
};
use std::sync::Arc;
use uuid::Uuid;

fn group(owner: u64, name: &str) -> LogGroupName {
    LogGroupName {
        tenant: tenant(owner),
        region: "us-east-1".parse().expect("a region"),
        group: name.to_owned(),
    }
}

fn stream(group: &LogGroupName, name: &str) -> LogStreamName {
    LogStreamName {
        group: group.clone(),
        stream: name.to_owned(),
    }
}

fn line(at: i64, text: &[u8]) -> LogLine {
    LogLine {
        at: Wall(at),
        kind: if at % 5 == 0 {
            LineKind::Platform
        } else {
            LineKind::Function
        },
        invocation: (at % 2 == 0).then(|| InvocationId(Uuid::from_u128(at as u128))),
        text: text.to_vec().into(),
        truncated: at % 7 == 0,
    }
}

/// Everything, from the start.
pub(super) fn query() -> LogQuery {
    LogQuery {
        from: None,
        until: None,
        position: None,
        backwards: false,
        limit: 1000,
        bytes: 1 << 20,
    }
}

async fn read(store: &dyn Storage, stream: &LogStreamName, query: LogQuery) -> LogPage {
    let who = root(&stream.group.tenant);
    let page = LogStore::read(store, &who, stream, query).await;
    page.expect("reads")
}

fn times(page: &LogPage) -> Vec<i64> {
    page.lines.iter().map(|(_, _, line)| line.at.0).collect()
}

/// Logs: lines as they came, pages in both directions, streams in order, groups of their own.
pub async fn logs_suite(make: impl Fn() -> Arc<dyn Storage>) {
    lines_read_back_as_they_came(&*make()).await;
    pages_join_in_both_directions(&*make()).await;
    times_and_bytes_bound_a_page(&*make()).await;
    streams_are_listed_by_name(&*make()).await;
    a_group_is_removed_whole(&*make()).await;
    closed_streams_expire(&*make()).await;
    one_tenant_reads_nothing_of_another(&*make()).await;
}

async fn lines_read_back_as_they_came(store: &dyn Storage) {
    let stream = stream(&group(1, "/aws/lambda/a"), "2026/11/21/[$LATEST]4f");
    let empty = read(store, &stream, query()).await;
    assert_eq!(
        (empty.lines.len(), empty.more),
        (0, false),
        "no stream reads as an empty one"
    );
    let texts: [&[u8]; 6] = [
        b"",
        b"plain",
        b"NUL \0 in it",
        b"\xff\xfe not UTF-8",
        b"a\nb",
        &[b'x'; 300_000],
    ];
    let lines: Vec<_> = (1_i64..)
        .zip(texts)
        .map(|(at, text)| line(at, text))
        .collect();
    LogStore::append(store, &stream, &lines[..2]).expect("appended");
    LogStore::append(store, &stream, &lines[2..]).expect("appended");
    let page = read(store, &stream, query()).await;
    let found: Vec<_> = page.lines.into_iter().map(|(_, _, line)| line).collect();
    assert_eq!(found, lines);
    LogStore::append(store, &stream, &[]).expect("no lines are fine");
}

async fn pages_join_in_both_directions(store: &dyn Storage) {
    let stream = stream(&group(1, "g"), "s");
    for at in 0..25 {
        let text = vec![b'a'; (at as usize * 97) % 400];
        LogStore::append(store, &stream, &[line(at, &text)]).expect("appended");
    }
    let (mut position, mut found) = (None, Vec::new());
    loop {
        let page = LogQuery {
            position,
            limit: 7,
            ..query()
        };
        let page = read(store, &stream, page).await;
        found.extend(times(&page));
        position = Some(page.after);
        if !page.more {
            break;
        }
    }
    assert_eq!(found, (0..25).collect::<Vec<_>>(), "forwards");
    LogStore::append(store, &stream, &[line(25, b"late")]).expect("appended");
    let late = read(
        store,
        &stream,
        LogQuery {
            position,
            ..query()
        },
    )
    .await;
    assert_eq!(
        times(&late),
        [25],
        "a position at the end goes on with what came later"
    );
    let (mut position, mut pages) = (None, Vec::new());
    loop {
        let page = LogQuery {
            position,
            limit: 7,
            backwards: true,
            ..query()
        };
        let page = read(store, &stream, page).await;
        let again = LogQuery {
            position: Some(page.before),
            limit: page.lines.len(),
            ..query()
        };
        let again = read(store, &stream, again).await;
        assert_eq!(
            times(&again),
            times(&page),
            "the same page from its other side"
        );
        assert_eq!(again.after, page.after);
        position = Some(page.before);
        pages.push(times(&page));
        if !page.more {
            break;
        }
    }
    let found: Vec<_> = pages.into_iter().rev().flatten().collect();
    assert_eq!(
        found,
        (0..26).collect::<Vec<_>>(),
        "backwards, each page oldest first"
    );
    let first = read(
        store,
        &stream,
        LogQuery {
            position: Some(0),
            limit: 1,
            ..query()
        },
    )
    .await;
    assert_eq!(times(&first), [0], "0 is the first");
    for made_up in [1, 5, 77, 1 << 40, u64::MAX] {
        for backwards in [false, true] {
            let query = LogQuery {
                position: Some(made_up),
                backwards,
                ..query()
            };
            let page = read(store, &stream, query).await;
            assert!(
                times(&page).is_sorted(),
                "a position that a caller made up is harmless"
            );
        }
    }
}

async fn times_and_bytes_bound_a_page(store: &dyn Storage) {
    let stream = stream(&group(1, "g"), "s");
    let lines: Vec<_> = (0..10).map(|at| line(at, &[b'x'; 100])).collect();
    LogStore::append(store, &stream, &lines).expect("appended");
    let window = LogQuery {
        from: Some(Wall(3)),
        until: Some(Wall(6)),
        ..query()
    };
    let page = read(store, &stream, window).await;
    assert_eq!(
        (times(&page), page.more),
        (vec![3, 4, 5], false),
        "from is in, until is not"
    );
    let page = read(
        store,
        &stream,
        LogQuery {
            backwards: true,
            limit: 2,
            ..window
        },
    )
    .await;
    assert_eq!((times(&page), page.more), (vec![4, 5], true));
    let page = read(
        store,
        &stream,
        LogQuery {
            bytes: 250,
            ..query()
        },
    )
    .await;
    assert_eq!(
        (times(&page), page.more),
        (vec![0, 1], true),
        "bytes bound a page"
    );
    let page = read(
        store,
        &stream,
        LogQuery {
            bytes: 1,
            ..query()
        },
    )
    .await;
    assert_eq!(times(&page), [0], "a reader always gets on");
    let page = read(
        store,
        &stream,
        LogQuery {
            limit: 0,
            ..query()
        },
    )
    .await;
    assert_eq!((times(&page), page.more), (vec![], true));
}

async fn streams_are_listed_by_name(store: &dyn Storage) {
    let (of, other) = (group(1, "g"), group(1, "g2"));
    for name in ["b/2", "a/1", "b/1", "c"] {
        let lines = [line(5, b"one"), line(9, b"three")];
        LogStore::append(store, &stream(&of, name), &lines).expect("appended");
        LogStore::append(store, &stream(&other, name), &lines).expect("appended");
    }
    let who = root(&tenant(1));
    let names = |prefix: &'static str, after: Option<&'static str>, limit: usize| {
        let (who, of) = (who.clone(), of.clone());
        async move {
            let found = store.streams(&who, &of, prefix, after, limit).await;
            let found = found.expect("lists").into_iter();
            found.map(|info| info.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(names("", None, 10).await, ["a/1", "b/1", "b/2", "c"]);
    assert_eq!(names("b/", None, 10).await, ["b/1", "b/2"]);
    assert_eq!(names("b/", Some("b/1"), 10).await, ["b/2"]);
    assert_eq!(names("", Some("a/1"), 2).await, ["b/1", "b/2"]);
    assert!(names("b/", Some("c"), 10).await.is_empty());
    let info = store
        .streams(&who, &of, "c", None, 1)
        .await
        .expect("lists")
        .remove(0);
    assert_eq!((info.lines, info.bytes), (2, 8));
    let bytes = store.group_bytes(&who, &of).await.expect("sums");
    assert!(bytes >= 4 * 8, "four streams of eight bytes: {bytes}");
    let empty = store.group_bytes(&who, &group(1, "g1")).await;
    assert_eq!(empty, Ok(0));
    assert_eq!((info.first, info.last), (Some(Wall(5)), Some(Wall(9))));
}

async fn a_group_is_removed_whole(store: &dyn Storage) {
    let (gone, stays) = (group(1, "g"), group(1, "g2"));
    let who = root(&tenant(1));
    for group in [&gone, &stays] {
        for name in ["a", "b"] {
            LogStore::append(store, &stream(group, name), &[line(1, b"x")]).expect("appended");
        }
    }
    store.remove_group(&who, &gone).await.expect("removed");
    store
        .remove_group(&who, &gone)
        .await
        .expect("removing nothing is fine");
    let left = |group: LogGroupName| {
        let who = who.clone();
        async move {
            store
                .streams(&who, &group, "", None, 10)
                .await
                .expect("lists")
                .len()
        }
    };
    assert_eq!((left(gone.clone()).await, left(stays).await), (0, 2));
    assert!(
        read(store, &stream(&gone, "a"), query())
            .await
            .lines
            .is_empty()
    );
    LogStore::append(store, &stream(&gone, "a"), &[line(2, b"new")]).expect("made anew");
    assert_eq!(times(&read(store, &stream(&gone, "a"), query()).await), [2]);
}

async fn closed_streams_expire(store: &dyn Storage) {
    let group = group(1, "g");
    let who = root(&tenant(1));
    for (name, at) in [("old", 10), ("new", 30), ("open", 10)] {
        LogStore::append(store, &stream(&group, name), &[line(at, b"x")]).expect("appended");
    }
    store.close(&stream(&group, "old"));
    store.close(&stream(&group, "new"));
    store.close(&stream(&group, "never was"));
    assert_eq!(store.expire(&who, &group, Wall(20)).await, Ok(1));
    let left = store
        .streams(&who, &group, "", None, 10)
        .await
        .expect("lists");
    let left: Vec<_> = left.into_iter().map(|info| info.name).collect();
    assert_eq!(left, ["new", "open"]);
}

async fn one_tenant_reads_nothing_of_another(store: &dyn Storage) {
    let group = group(1, "g");
    let stream = stream(&group, "s");
    LogStore::append(store, &stream, &[line(1, b"secret")]).expect("appended");
    store.close(&stream);
    for who in [root(&tenant(2)), Principal::Anonymous] {
        let page = LogStore::read(store, &who, &stream, query()).await;
        assert!(matches!(page, Err(ReadError::Denied { .. })), "{page:?}");
        let streams = store.streams(&who, &group, "", None, 1).await;
        assert!(
            matches!(streams, Err(ReadError::Denied { .. })),
            "{streams:?}"
        );
        let bytes = store.group_bytes(&who, &group).await;
        assert!(matches!(bytes, Err(ReadError::Denied { .. })), "{bytes:?}");
        let removed = store.remove_group(&who, &group).await;
        assert!(
            matches!(removed, Err(CommitError::Denied { .. })),
            "{removed:?}"
        );
        let expired = store.expire(&who, &group, Wall(99)).await;
        assert!(
            matches!(expired, Err(CommitError::Denied { .. })),
            "{expired:?}"
        );
    }
    assert_eq!(times(&read(store, &stream, query()).await), [1]);
}
