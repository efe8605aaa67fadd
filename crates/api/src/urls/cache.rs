//! URLs and their policies in memory, filled on demand and emptied by the store's watch. What a
//! commit wrote is read again at once, so that its next caller does not wait for the store.
//!
//! It keeps nothing for an id that names no URL: a stranger could otherwise fill it. What cannot
//! have been minted is not looked up at all, and what could have been costs its guesser one read.

use freehold_domain::{
    FunctionRef, Principal, Qualifier,
    ports::{ReadError, Records, Stored, Watcher},
    record::{Key, Kind, PolicyV1, RecordError, UrlOwnerV1, UrlV1, decode},
};
use futures_util::future;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::mpsc;

/// A URL, resolved.
#[derive(Debug, Clone)]
pub struct ResolvedUrl {
    /// Whose it is.
    pub function: FunctionRef,
    /// Its function's head or alias.
    pub qualifier: Qualifier,
    /// Its settings.
    pub url: UrlV1,
    /// The statements of its function's policy.
    pub policy: PolicyV1,
}

/// URLs kept in memory.
const URLS_CACHED_MAX: usize = 100_000;
/// URLs that wait to be read after a commit; beyond that they are read when they are called.
const READ_AGAIN_MAX: usize = 1024;

/// The cache.
pub struct UrlCache {
    records: Arc<dyn Records>,
    held: parking_lot::RwLock<Held>,
    /// Ids that a commit has touched.
    read_again: mpsc::Sender<String>,
}

#[derive(Default)]
struct Held {
    by_id: HashMap<String, Arc<ResolvedUrl>>,
    /// Counts invalidations, so that an entry read before one is not kept after it.
    round: u64,
}

/// Whether the control plane may have given this id to a URL: 32 letters and digits of base32, as
/// `url_id` of `control` draws them.
fn is_minted(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

impl UrlCache {
    /// An empty cache and the guard of its watch. What reads again runs on the caller's runtime.
    pub fn new(records: Arc<dyn Records>) -> (Arc<Self>, Box<dyn Send + Sync>) {
        let (read_again, touched) = mpsc::channel(READ_AGAIN_MAX);
        let cache = Arc::new(Self {
            records: records.clone(),
            held: Default::default(),
            read_again,
        });
        tokio::spawn(read_touched(Arc::downgrade(&cache), touched));
        let guard = records.watch(cache.clone());
        (cache, guard)
    }

    /// The URL of an id, as it came from outside.
    ///
    /// Errors: the store's.
    pub async fn resolve(&self, id: &str) -> Result<Option<Arc<ResolvedUrl>>, ReadError> {
        if !is_minted(id) {
            return Ok(None);
        }
        let round = {
            let held = self.held.read();
            if let Some(found) = held.by_id.get(id) {
                return Ok(Some(found.clone()));
            }
            held.round
        };
        let Some(found) = Box::pin(self.load(id)).await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut held = self.held.write();
        if held.round == round {
            if held.by_id.len() >= URLS_CACHED_MAX {
                held.by_id.clear();
            }
            held.by_id.insert(id.to_owned(), found.clone());
        }
        Ok(Some(found))
    }

    async fn load(&self, id: &str) -> Result<Option<ResolvedUrl>, ReadError> {
        let who = Principal::platform("urls");
        let failed = |error: RecordError| ReadError::Failed {
            reason: error.to_string(),
        };
        let Some(stored) = self.records.get(&who, &Key::url_owner(id)).await? else {
            return Ok(None);
        };
        let owner: UrlOwnerV1 = decode(&stored.bytes).map_err(failed)?;
        let FunctionRef {
            tenant,
            region,
            name,
        } = &owner.function;
        let url = Key::url(tenant, region, name, &owner.qualifier);
        let policy = Key::policy(tenant, region, name, &owner.qualifier);
        let both = future::join(
            self.records.get(&who, &url),
            self.records.get(&who, &policy),
        );
        let (url, policy) = both.await;
        let Some(stored) = url? else {
            return Ok(None);
        };
        let url: UrlV1 = decode(&stored.bytes).map_err(failed)?;
        let policy = match policy? {
            Some(stored) => decode(&stored.bytes).map_err(failed)?,
            None => PolicyV1::default(),
        };
        Ok(Some(ResolvedUrl {
            function: owner.function,
            qualifier: owner.qualifier,
            url,
            policy,
        }))
    }
}

/// Reads what commits have touched, as long as there is a cache to keep it and room in it.
async fn read_touched(cache: Weak<UrlCache>, mut touched: mpsc::Receiver<String>) {
    while let Some(id) = touched.recv().await {
        let Some(cache) = cache.upgrade() else { return };
        if cache.held.read().by_id.len() < URLS_CACHED_MAX / 2 {
            // Whoever calls it asks again, and is told what is wrong.
            let _ = cache.resolve(&id).await;
        }
    }
}

impl Watcher for UrlCache {
    fn changed(&self, changes: &[(Key, Option<Stored>)]) {
        let touches = |key: &&Key| matches!(key.kind(), Kind::Url | Kind::UrlOwner | Kind::Policy);
        let touched: Vec<&Key> = changes.iter().map(|(key, _)| key).filter(touches).collect();
        if touched.is_empty() {
            return;
        }
        let mut held = self.held.write();
        held.round += 1;
        // One pass for the whole commit: its other watchers wait meanwhile.
        held.by_id.retain(|id, found| {
            let is_touched = touched.iter().any(|key| match key.kind() {
                Kind::UrlOwner => *id == key.name()[0],
                _ => {
                    found.function.tenant == *key.tenant()
                        && found.function.name.as_str() == key.name()[0]
                }
            });
            if is_touched {
                let _ = self.read_again.try_send(id.clone());
            }
            !is_touched
        });
        drop(held);
        let written = changes.iter().filter(|(_, stored)| stored.is_some());
        for (key, _) in written.filter(|(key, _)| key.kind() == Kind::UrlOwner) {
            let _ = self.read_again.try_send(key.name()[0].to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::{
        BoxFuture,
        ports::{Commit, Expect, Fence, Op},
        record::{KeyPrefix, encode},
        time::Wall,
    };
    use freehold_testkit::{sim::SimClock, storage::MemoryStorage};
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    /// A store without records that counts what it is asked.
    #[derive(Default)]
    struct Empty(AtomicUsize);

    impl Records for Empty {
        fn get(&self, _: &Principal, _: &Key) -> BoxFuture<'_, Result<Option<Stored>, ReadError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(None) })
        }
        fn list(
            &self,
            _: &Principal,
            _: &KeyPrefix,
            _: Option<&Key>,
            _: usize,
        ) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn list_all(
            &self,
            _: &Principal,
            _: Kind,
            _: Option<&Key>,
            _: usize,
        ) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn watch(&self, _: Arc<dyn Watcher>) -> Box<dyn Send + Sync> {
            Box::new(())
        }
    }

    #[tokio::test]
    async fn what_names_no_url_is_not_kept() {
        let store = Arc::new(Empty::default());
        let (cache, _guard) = UrlCache::new(store.clone());
        let ask = async |id: &str| assert!(cache.resolve(id).await.unwrap().is_none(), "{id}");
        for id in [
            "",
            "abc",
            &"a".repeat(31),
            &"a".repeat(33),
            &"a".repeat(60_000),
            &"A".repeat(32),
            &"1".repeat(32),
            &"é".repeat(16),
        ] {
            ask(id).await;
        }
        assert_eq!(
            store.0.load(Ordering::Relaxed),
            0,
            "none of these was minted"
        );
        ask(&"a7".repeat(16)).await;
        assert_eq!(store.0.load(Ordering::Relaxed), 1);
        assert!(cache.held.read().by_id.is_empty());
    }

    #[tokio::test]
    async fn what_a_commit_wrote_is_there_before_anybody_asks() {
        let store = MemoryStorage::new(SimClock::new(Wall(0)));
        let (cache, _guard) = UrlCache::new(store.clone());
        let (id, tenant) = ("a7".repeat(16), "111111111111".parse().unwrap());
        let (region, name) = ("us-east-1".parse().unwrap(), "f".parse().unwrap());
        let who = Principal::platform("test");
        let commit = async |ops: Vec<Op>| {
            store.commit(&who, ops, Fence::None).await.unwrap();
            tokio::task::yield_now().await;
            let until = tokio::time::Instant::now() + Duration::from_secs(10);
            while cache.held.read().by_id.is_empty() && tokio::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            cache.held.read().by_id.get(&id).cloned()
        };
        let put = |key, bytes| Op::Put {
            key,
            expect: Expect::Any,
            bytes,
        };
        let owner = UrlOwnerV1 {
            function: FunctionRef {
                tenant,
                region,
                name,
            },
            qualifier: Qualifier::Latest,
        };
        let FunctionRef {
            tenant,
            region,
            name,
        } = owner.function.clone();
        let url = UrlV1 {
            id: id.clone(),
            signed: true,
            cors: None,
            invoke_mode: "BUFFERED".to_owned(),
            created: Wall(0),
            modified: Wall(0),
        };
        let url_key = Key::url(&tenant, &region, &name, &owner.qualifier);
        let made = vec![
            put(Key::url_owner(&id), encode(&owner)),
            put(url_key.clone(), encode(&url)),
        ];
        let held = commit(made).await.expect("it was read");
        assert!(held.url.signed && held.policy.statements.is_empty());
        let open = UrlV1 {
            signed: false,
            ..url
        };
        let held = commit(vec![put(url_key.clone(), encode(&open))]).await;
        assert!(!held.expect("it was read again").url.signed);
        let gone = [Key::url_owner(&id), url_key].map(|key| Op::Delete {
            key,
            expect: Expect::Any,
        });
        store.commit(&who, gone.into(), Fence::None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(cache.held.read().by_id.is_empty());
        assert!(cache.resolve(&id).await.unwrap().is_none());
    }
}
