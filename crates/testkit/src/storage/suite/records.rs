use super::{function, platform, root, tenant};
use freehold_domain::{
    Principal, QueueTime, TenantId,
    ports::{
        CommitError, Expect, Fence, Op, ReadError, RecordVersion, Records, Storage, Stored, Watcher,
    },
    record::{Key, KeyPrefix, Kind},
};
use parking_lot::Mutex;
use std::sync::Arc;

fn key(tenant: &TenantId, name: &str) -> Key {
    let function = function(tenant, name);
    Key::function(&function.tenant, &function.region, &function.name)
}

fn put(key: &Key, expect: Expect, bytes: &[u8]) -> Op {
    Op::Put {
        key: key.clone(),
        expect,
        bytes: bytes.to_vec(),
    }
}

async fn commit(store: &dyn Storage, ops: Vec<Op>) -> Result<(), CommitError> {
    store.commit(&platform(), ops, Fence::None).await.map(drop)
}

async fn read(store: &dyn Storage, key: &Key) -> Option<Stored> {
    Records::get(store, &platform(), key).await.expect("reads")
}

async fn version(store: &dyn Storage, key: &Key) -> RecordVersion {
    read(store, key).await.expect("is there").version
}

/// Records and commits: whole or not at all, versions that grow, order, watchers, tenancy.
pub async fn records_suite(make: impl Fn() -> Arc<dyn Storage>) {
    expectations_hold(&*make()).await;
    versions_grow_over_a_deletion(&*make()).await;
    a_commit_happens_whole_or_not_at_all(&*make()).await;
    lists_are_in_key_order_and_in_pages(&*make()).await;
    one_tenant_reaches_nothing_of_another(&*make()).await;
    watchers_hear_before_the_commit_returns_in_order(&*make()).await;
    a_lower_fence_is_refused(&*make()).await;
    one_conflict_fails_no_neighbour(make()).await;
}

async fn expectations_hold(store: &dyn Storage) {
    let key = key(&tenant(1), "a");
    assert_eq!(read(store, &key).await, None);
    let wrong = RecordVersion(77);
    let error = commit(store, vec![put(&key, Expect::Version(wrong), b"x")]).await;
    let conflict = |found| CommitError::Conflict {
        key: Box::new(key.clone()),
        found,
    };
    assert_eq!(error, Err(conflict(None)), "a version of nothing");
    commit(store, vec![put(&key, Expect::Absent, b"1")])
        .await
        .expect("absent");
    let first = version(store, &key).await;
    let error = commit(store, vec![put(&key, Expect::Absent, b"2")]).await;
    assert_eq!(error, Err(conflict(Some(first))), "not absent");
    commit(store, vec![put(&key, Expect::Version(first), b"2")])
        .await
        .expect("this version");
    let error = commit(store, vec![put(&key, Expect::Version(first), b"3")]).await;
    let second = version(store, &key).await;
    assert_eq!(error, Err(conflict(Some(second))), "an old version");
    let delete = |expect| Op::Delete {
        key: key.clone(),
        expect,
    };
    let error = commit(store, vec![delete(Expect::Version(first))]).await;
    assert_eq!(error, Err(conflict(Some(second))), "a deletion expects too");
    commit(store, vec![delete(Expect::Version(second))])
        .await
        .expect("deleted");
    commit(store, vec![delete(Expect::Any)])
        .await
        .expect("deleting nothing is fine");
    assert_eq!(read(store, &key).await, None);
    commit(store, vec![])
        .await
        .expect("an empty commit is a commit");
}

async fn versions_grow_over_a_deletion(store: &dyn Storage) {
    let key = key(&tenant(1), "a");
    let mut last = RecordVersion(0);
    for round in 0..4 {
        commit(store, vec![put(&key, Expect::Any, b"x")])
            .await
            .expect("written");
        let now = version(store, &key).await;
        assert!(now > last, "round {round}: {now:?} after {last:?}");
        last = now;
        if round % 2 == 0 {
            let delete = Op::Delete {
                key: key.clone(),
                expect: Expect::Version(now),
            };
            commit(store, vec![delete]).await.expect("deleted");
        }
    }
}

async fn a_commit_happens_whole_or_not_at_all(store: &dyn Storage) {
    let (a, b) = (key(&tenant(1), "a"), key(&tenant(1), "b"));
    commit(store, vec![put(&b, Expect::Any, b"old")])
        .await
        .expect("written");
    let ops = vec![
        put(&a, Expect::Absent, b"new"),
        put(&b, Expect::Any, b"new"),
        put(&b, Expect::Absent, b"newer"),
    ];
    let error = commit(store, ops)
        .await
        .expect_err("the third op conflicts");
    assert!(matches!(error, CommitError::Conflict { .. }), "{error}");
    assert_eq!(read(store, &a).await, None);
    assert_eq!(&read(store, &b).await.expect("there").bytes[..], b"old");
    let due = QueueTime(0);
    let event = super::event(&tenant(1), 1, due);
    let mixed = vec![
        put(&a, Expect::Any, b"x"),
        Op::EventAdd {
            event: Box::new(event),
            due,
            body: "x".into(),
        },
    ];
    assert_eq!(commit(store, mixed).await, Err(CommitError::Mixed));
    assert_eq!(read(store, &a).await, None);
}

async fn lists_are_in_key_order_and_in_pages(store: &dyn Storage) {
    let owner = tenant(1);
    let names = ["b", "a-1", "a", "zz", "c"];
    for name in names {
        let ops = vec![
            put(&key(&owner, name), Expect::Any, name.as_bytes()),
            put(&key(&tenant(2), name), Expect::Any, b"another's"),
        ];
        commit(store, ops).await.expect("written");
    }
    let region = "us-east-1".parse().expect("a region");
    let prefix = KeyPrefix::kind(&owner, &region, Kind::Function);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(&root(&owner), &prefix, after.as_ref(), 2).await;
        let page = page.expect("lists");
        assert!(page.len() <= 2, "a page is no longer than its limit");
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        found.extend(page);
    }
    let texts: Vec<_> = found
        .iter()
        .map(|r| String::from_utf8_lossy(&r.bytes))
        .collect();
    assert_eq!(
        texts,
        ["a", "a-1", "b", "c", "zz"],
        "all of one tenant, in key order"
    );
    let all = store.list_all(&platform(), Kind::Function, None, 100).await;
    let all = all.expect("the platform lists all");
    assert_eq!(all.len(), 2 * names.len());
    assert!(all.is_sorted_by(|a, b| a.key < b.key));
    let after = all[3].key.clone();
    let rest = store
        .list_all(&platform(), Kind::Function, Some(&after), 2)
        .await;
    assert_eq!(rest.expect("lists"), all[4..6]);
    let none = store.list_all(&platform(), Kind::Policy, None, 100).await;
    assert_eq!(none, Ok(vec![]));
}

async fn one_tenant_reaches_nothing_of_another(store: &dyn Storage) {
    let (mine, theirs) = (tenant(1), tenant(2));
    let key = key(&theirs, "secret");
    commit(store, vec![put(&key, Expect::Any, b"x")])
        .await
        .expect("written");
    for who in [root(&mine), Principal::Anonymous] {
        let got = Records::get(store, &who, &key).await;
        assert!(matches!(got, Err(ReadError::Denied { .. })), "{got:?}");
        let listed = store
            .list(&who, &KeyPrefix::tenant(&theirs), None, 10)
            .await;
        assert!(
            matches!(listed, Err(ReadError::Denied { .. })),
            "{listed:?}"
        );
        let all = store.list_all(&who, Kind::Function, None, 10).await;
        assert!(matches!(all, Err(ReadError::Denied { .. })), "{all:?}");
        let own = self::key(&mine, "own");
        for op in [
            put(&key, Expect::Any, b"y"),
            Op::Delete {
                key: key.clone(),
                expect: Expect::Any,
            },
        ] {
            let ops = vec![put(&own, Expect::Any, b"x"), op];
            let error = store.commit(&who, ops, Fence::None).await;
            assert!(
                matches!(error, Err(CommitError::Denied { .. })),
                "{error:?}"
            );
        }
        assert_eq!(read(store, &own).await, None, "nothing of a refused commit");
    }
    assert_eq!(&read(store, &key).await.expect("there").bytes[..], b"x");
    Records::get(store, &root(&theirs), &key)
        .await
        .expect("one's own");
}

type Changes = Vec<(Key, Option<Stored>)>;

#[derive(Default)]
struct Heard(Mutex<Vec<Changes>>);

impl Watcher for Heard {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        self.0.lock().push(changes.to_vec());
    }
}

async fn watchers_hear_before_the_commit_returns_in_order(store: &dyn Storage) {
    let heard = Arc::new(Heard::default());
    let guard = store.watch(heard.clone());
    let (a, b) = (key(&tenant(1), "a"), key(&tenant(1), "b"));
    let ops = vec![put(&a, Expect::Any, b"1"), put(&b, Expect::Any, b"1")];
    commit(store, ops).await.expect("written");
    assert_eq!(
        heard.0.lock().len(),
        1,
        "heard once, before the commit returned"
    );
    let expected = [(&a, read(store, &a).await), (&b, read(store, &b).await)];
    assert_eq!(
        heard.0.lock()[0],
        expected.map(|(key, stored)| (key.clone(), stored))
    );
    let refused = commit(store, vec![put(&a, Expect::Absent, b"2")]).await;
    assert!(refused.is_err());
    assert_eq!(heard.0.lock().len(), 1, "a refused commit changed nothing");
    let delete = Op::Delete {
        key: a.clone(),
        expect: Expect::Any,
    };
    commit(store, vec![delete.clone()]).await.expect("deleted");
    assert_eq!(heard.0.lock()[1], [(a.clone(), None)]);
    commit(store, vec![delete])
        .await
        .expect("nothing to delete");
    assert_eq!(heard.0.lock().len(), 2, "no change, no call");
    let many = (0..64).map(|n| async move {
        let key = key(&tenant(1), &format!("n{n}"));
        commit(store, vec![put(&key, Expect::Any, b"x")]).await
    });
    futures_util::future::try_join_all(many)
        .await
        .expect("written");
    let versions: Vec<_> = heard.0.lock()[2..]
        .iter()
        .map(|changes| changes[0].1.as_ref().expect("written").version)
        .collect();
    assert_eq!(versions.len(), 64);
    assert!(versions.is_sorted(), "in commit order: {versions:?}");
    drop(guard);
    commit(store, vec![put(&a, Expect::Any, b"3")])
        .await
        .expect("written");
    assert_eq!(heard.0.lock().len(), 66, "a dropped guard hears nothing");
}

async fn a_lower_fence_is_refused(store: &dyn Storage) {
    let key = key(&tenant(1), "a");
    let ops = || vec![put(&key, Expect::Any, b"x")];
    let who = platform();
    store
        .commit(&who, ops(), Fence::Epoch(2))
        .await
        .expect("first");
    let error = store.commit(&who, ops(), Fence::Epoch(1)).await;
    assert_eq!(error, Err(CommitError::Fenced));
    let first = store
        .commit(&who, ops(), Fence::Epoch(2))
        .await
        .expect("the same");
    let second = store.commit(&who, ops(), Fence::None).await.expect("none");
    assert!(second > first, "commits have an order");
}

async fn one_conflict_fails_no_neighbour(store: Arc<dyn Storage>) {
    let taken = key(&tenant(1), "taken");
    commit(&*store, vec![put(&taken, Expect::Any, b"x")])
        .await
        .expect("written");
    let store = &*store;
    let all = (0..100).map(|n| {
        let fine = key(&tenant(1), &format!("n{n}"));
        let mut ops = vec![put(&fine, Expect::Absent, b"x")];
        if n % 3 == 0 {
            ops.push(put(&taken, Expect::Absent, b"y"));
        }
        async move { (n, fine, commit(store, ops).await) }
    });
    for (n, key, result) in futures_util::future::join_all(all).await {
        assert_eq!(result.is_ok(), n % 3 != 0, "commit {n}: {result:?}");
        assert_eq!(read(store, &key).await.is_some(), n % 3 != 0, "commit {n}");
    }
}
