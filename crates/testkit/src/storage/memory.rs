//! A store in memory: every rule of the seam but durability. For tests alone.

use super::{audit::Trail, events::Events, logs::Logs};
use bytes::Bytes;
use freehold_domain::{
    BoxFuture, Digest, InvocationId, KeptTime, Principal, QueueTime, TenantId, Wall,
    audit::AuditLine,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::*,
    record::{ClaimedEvent, Key, KeyPrefix, Kind},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
};

/// A [`Storage`] that forgets everything when it is dropped.
pub struct MemoryStorage {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    ledger: Mutex<BTreeMap<u16, Vec<Bytes>>>,
    logs: Mutex<Logs>,
    audit: Mutex<Trail>,
    /// Held over a commit and the calls of its watchers, which keeps them in commit order.
    watchers: Arc<Mutex<Watchers>>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<Vec<u8>, Stored>,
    events: Events,
    blobs: HashMap<(TenantId, Digest), Bytes>,
    counter: u64,
    fence: u64,
    failure: Option<CommitError>,
}

#[derive(Default)]
struct Watchers {
    next: u64,
    all: Vec<(u64, Arc<dyn Watcher>)>,
}

struct WatchGuard(u64, Weak<Mutex<Watchers>>);

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if let Some(watchers) = self.1.upgrade() {
            watchers.lock().all.retain(|(id, _)| *id != self.0);
        }
    }
}

fn denied(who: &Principal, tenant: &TenantId) -> Option<ReadError> {
    (!who.reaches(tenant)).then(|| ReadError::Denied {
        who: format!("{who:?}"),
        tenant: tenant.clone(),
    })
}

fn commit_denied(who: &Principal, tenant: &TenantId) -> Option<CommitError> {
    (!who.reaches(tenant)).then(|| CommitError::Denied {
        who: format!("{who:?}"),
        tenant: tenant.clone(),
    })
}

fn platform_only(who: &Principal) -> Option<ReadError> {
    (!matches!(who, Principal::Platform { .. })).then(|| ReadError::Denied {
        who: format!("{who:?}"),
        tenant: TenantId::platform(),
    })
}

fn platform_writes(who: &Principal) -> Result<(), CommitError> {
    if matches!(who, Principal::Platform { .. }) {
        return Ok(());
    }
    Err(CommitError::Denied {
        who: format!("{who:?}"),
        tenant: TenantId::platform(),
    })
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    Box::pin(std::future::ready(value))
}

impl MemoryStorage {
    /// An empty store that stamps what it keeps with `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Mutex::default(),
            ledger: Mutex::default(),
            logs: Mutex::default(),
            audit: Mutex::default(),
            watchers: Arc::default(),
        })
    }

    /// Makes every commit, blob write and append fail with `failure` until it is set to `None`.
    pub fn set_failure(&self, failure: Option<CommitError>) {
        self.state.lock().failure = failure;
    }

    fn failure(&self) -> Result<(), CommitError> {
        self.state.lock().failure.clone().map_or(Ok(()), Err)
    }

    fn commit_now(
        &self,
        who: &Principal,
        ops: Vec<Op>,
        fence: Fence,
    ) -> Result<StoreSeq, CommitError> {
        let watchers = self.watchers.lock();
        let (seq, changes) = {
            let mut state = self.state.lock();
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            let is_record = |op: &Op| matches!(op, Op::Put { .. } | Op::Delete { .. });
            if ops.iter().any(is_record) && !ops.iter().all(is_record) {
                return Err(CommitError::Mixed);
            }
            if let Fence::Epoch(epoch) = fence
                && epoch < state.fence
            {
                return Err(CommitError::Fenced);
            }
            // A copy of what the ops touch would do; the whole is simpler and tests are small.
            let (records, events) = (state.records.clone(), state.events.clone());
            match state.apply(who, ops) {
                Ok(changes) => {
                    if let Fence::Epoch(epoch) = fence {
                        state.fence = epoch;
                    }
                    state.counter += 1;
                    (StoreSeq(state.counter), changes)
                }
                Err(error) => {
                    (state.records, state.events) = (records, events);
                    return Err(error);
                }
            }
        };
        if !changes.is_empty() {
            for (_, watcher) in &watchers.all {
                watcher.changed(&changes);
            }
        }
        Ok(seq)
    }
}

impl State {
    fn apply(
        &mut self,
        who: &Principal,
        ops: Vec<Op>,
    ) -> Result<Vec<(Key, Option<Stored>)>, CommitError> {
        let mut changes = Vec::new();
        for op in ops {
            self.counter += 1;
            match op {
                Op::Put { key, expect, bytes } => {
                    self.expect(who, &key, expect)?;
                    let stored = Stored {
                        key: key.clone(),
                        version: RecordVersion(self.counter),
                        bytes: bytes.into(),
                    };
                    self.records.insert(key.encode(), stored.clone());
                    changes.push((key, Some(stored)));
                }
                Op::Delete { key, expect } => {
                    self.expect(who, &key, expect)?;
                    if self.records.remove(&key.encode()).is_some() {
                        changes.push((key, None));
                    }
                }
                Op::EventAdd { event, due, body } => self.events.add(who, *event, due, body)?,
                Op::EventRetry {
                    id,
                    epoch,
                    due,
                    counts,
                    error,
                } => self.events.retry(who, id, epoch, due, counts, error)?,
                Op::EventEnd { id, epoch, end, at } => self.events.end(who, id, epoch, end, at)?,
                Op::EventTime { kept } => {
                    platform_writes(who)?;
                    self.events.kept = Some(kept);
                }
            }
        }
        Ok(changes)
    }

    fn expect(&self, who: &Principal, key: &Key, expect: Expect) -> Result<(), CommitError> {
        if let Some(error) = commit_denied(who, key.tenant()) {
            return Err(error);
        }
        let found = self.records.get(&key.encode()).map(|r| r.version);
        let fine = match expect {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Version(version) => found == Some(version),
        };
        if fine {
            return Ok(());
        }
        Err(CommitError::Conflict {
            key: Box::new(key.clone()),
            found,
        })
    }
}

impl Records for MemoryStorage {
    fn get(&self, who: &Principal, key: &Key) -> BoxFuture<'_, Result<Option<Stored>, ReadError>> {
        ready(match denied(who, key.tenant()) {
            Some(error) => Err(error),
            None => Ok(self.state.lock().records.get(&key.encode()).cloned()),
        })
    }

    fn list(
        &self,
        who: &Principal,
        prefix: &KeyPrefix,
        after: Option<&Key>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
        if let Some(error) = denied(who, prefix.owner()) {
            return ready(Err(error));
        }
        let (start, after) = (prefix.encode(), after.map(Key::encode));
        let state = self.state.lock();
        let found = state
            .records
            .range(start.clone()..)
            .take_while(|(key, _)| key.starts_with(&start))
            .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
            .take(limit)
            .map(|(_, stored)| stored.clone())
            .collect();
        ready(Ok(found))
    }

    fn list_all(
        &self,
        who: &Principal,
        kind: Kind,
        after: Option<&Key>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
        if let Some(error) = platform_only(who) {
            return ready(Err(error));
        }
        let state = self.state.lock();
        let found = state
            .records
            .values()
            .filter(|stored| stored.key.kind() == kind)
            .filter(|stored| after.is_none_or(|after| stored.key > *after))
            .take(limit)
            .cloned()
            .collect();
        ready(Ok(found))
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) -> Box<dyn Send + Sync> {
        let mut watchers = self.watchers.lock();
        watchers.next += 1;
        let id = watchers.next;
        watchers.all.push((id, watcher));
        Box::new(WatchGuard(id, Arc::downgrade(&self.watchers)))
    }
}

impl Commit for MemoryStorage {
    fn commit(
        &self,
        who: &Principal,
        ops: Vec<Op>,
        fence: Fence,
    ) -> BoxFuture<'_, Result<StoreSeq, CommitError>> {
        let who = who.clone();
        Box::pin(async move { self.commit_now(&who, ops, fence) })
    }
}

impl EventQueue for MemoryStorage {
    fn claim(
        &self,
        who: &Principal,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Vec<ClaimedEvent>, ReadError>> {
        if let Some(error) = platform_only(who) {
            return ready(Err(error));
        }
        Box::pin(async move { Ok(self.state.lock().events.claim(&claim)) })
    }

    fn next_due(&self, who: &Principal) -> BoxFuture<'_, Result<Option<QueueTime>, ReadError>> {
        ready(match platform_only(who) {
            Some(error) => Err(error),
            None => Ok(self.state.lock().events.next_due()),
        })
    }

    fn time_kept(&self, who: &Principal) -> BoxFuture<'_, Result<Option<KeptTime>, ReadError>> {
        ready(match platform_only(who) {
            Some(error) => Err(error),
            None => Ok(self.state.lock().events.kept),
        })
    }

    fn state(
        &self,
        who: &Principal,
        id: InvocationId,
    ) -> BoxFuture<'_, Result<Option<EventState>, ReadError>> {
        let found = self.state.lock().events.state(id);
        ready(match found {
            Some((tenant, state)) => match denied(who, &tenant) {
                Some(error) => Err(error),
                None => Ok(Some(state)),
            },
            None => Ok(None),
        })
    }

    fn counts(&self, who: &Principal) -> BoxFuture<'_, Result<EventCounts, ReadError>> {
        ready(match platform_only(who) {
            Some(error) => Err(error),
            None => Ok(self.state.lock().events.counts()),
        })
    }

    fn forget(
        &self,
        who: &Principal,
        ended: EndedBefore,
        limit: usize,
    ) -> BoxFuture<'_, Result<u64, CommitError>> {
        let may = platform_writes(who).and_then(|()| self.failure());
        ready(may.map(|()| self.state.lock().events.forget(ended, limit)))
    }
}

impl Blobs for MemoryStorage {
    fn put(
        &self,
        who: &Principal,
        tenant: &TenantId,
        bytes: Bytes,
    ) -> BoxFuture<'_, Result<Digest, CommitError>> {
        if let Some(error) = commit_denied(who, tenant) {
            return ready(Err(error));
        }
        if let Err(error) = self.failure() {
            return ready(Err(error));
        }
        let sha256 = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let digest = Digest(sha256.as_ref().try_into().expect("SHA-256 has 32 bytes"));
        let key = (tenant.clone(), digest);
        self.state.lock().blobs.insert(key, bytes);
        ready(Ok(digest))
    }

    fn get(
        &self,
        who: &Principal,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        ready(match denied(who, tenant) {
            Some(error) => Err(error),
            None => Ok(self
                .state
                .lock()
                .blobs
                .get(&(tenant.clone(), digest))
                .cloned()),
        })
    }

    fn remove(
        &self,
        who: &Principal,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<(), CommitError>> {
        ready(match commit_denied(who, tenant) {
            Some(error) => Err(error),
            None => {
                self.state.lock().blobs.remove(&(tenant.clone(), digest));
                Ok(())
            }
        })
    }
}

impl Ledger for MemoryStorage {
    fn append(&self, lane: u16, frame: &[u8]) -> Result<(), CommitError> {
        self.failure()?;
        let frame = Bytes::copy_from_slice(frame);
        self.ledger.lock().entry(lane).or_default().push(frame);
        Ok(())
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<u16>, ReadError>> {
        ready(Ok(self.ledger.lock().keys().copied().collect()))
    }

    fn read(
        &self,
        lane: u16,
        position: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Bytes>, u64), ReadError>> {
        let ledger = self.ledger.lock();
        let frames = ledger.get(&lane).map_or(&[][..], Vec::as_slice);
        let start = usize::try_from(position).map_or(frames.len(), |at| at.min(frames.len()));
        let page: Vec<_> = frames[start..].iter().take(limit).cloned().collect();
        let after = (start + page.len()) as u64;
        ready(Ok((page, after)))
    }
}

impl LogStore for MemoryStorage {
    fn append(&self, stream: &LogStreamName, lines: &[LogLine]) -> Result<(), CommitError> {
        self.failure()?;
        let stored = self.clock.wall();
        self.logs.lock().append(stream, lines, stored);
        Ok(())
    }

    fn close(&self, stream: &LogStreamName) {
        self.logs.lock().close(stream);
    }

    fn streams(
        &self,
        who: &Principal,
        group: &LogGroupName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<LogStreamInfo>, ReadError>> {
        ready(match denied(who, &group.tenant) {
            Some(error) => Err(error),
            None => Ok(self.logs.lock().streams(group, prefix, after, limit)),
        })
    }

    fn group_bytes(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> BoxFuture<'_, Result<u64, ReadError>> {
        ready(match denied(who, &group.tenant) {
            Some(error) => Err(error),
            None => Ok(self.logs.lock().group_bytes(group)),
        })
    }

    fn read(
        &self,
        who: &Principal,
        stream: &LogStreamName,
        query: LogQuery,
    ) -> BoxFuture<'_, Result<LogPage, ReadError>> {
        ready(match denied(who, &stream.group.tenant) {
            Some(error) => Err(error),
            None => Ok(self.logs.lock().read(stream, query)),
        })
    }

    fn remove_group(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> BoxFuture<'_, Result<(), CommitError>> {
        ready(match commit_denied(who, &group.tenant) {
            Some(error) => Err(error),
            None => {
                self.logs.lock().remove_group(group);
                Ok(())
            }
        })
    }

    fn expire(
        &self,
        who: &Principal,
        group: &LogGroupName,
        before: Wall,
    ) -> BoxFuture<'_, Result<u64, CommitError>> {
        ready(match commit_denied(who, &group.tenant) {
            Some(error) => Err(error),
            None => Ok(self.logs.lock().expire(group, before)),
        })
    }
}

impl Audit for MemoryStorage {
    fn audit_append(&self, line: &AuditLine) -> Result<bool, CommitError> {
        self.failure()?;
        Ok(self.audit.lock().append(line))
    }

    fn audit_begin(&self, _: &AuditLine) -> Result<(), CommitError> {
        // What is in memory ends with the process, and so does the change.
        self.failure()
    }

    fn audit_end(&self, _: InvocationId) {}

    fn audit_lines(
        &self,
        who: &Principal,
        query: AuditQuery,
    ) -> BoxFuture<'_, Result<AuditPage, ReadError>> {
        let refused = match &query.tenant {
            Some(tenant) => denied(who, tenant),
            None => platform_only(who),
        };
        ready(match refused {
            Some(error) => Err(error),
            None => Ok(self.audit.lock().lines(&query)),
        })
    }

    fn audit_trim(
        &self,
        who: &Principal,
        retention: AuditRetention,
    ) -> BoxFuture<'_, Result<AuditTrimmed, CommitError>> {
        ready(match platform_only(who) {
            Some(_) => Err(CommitError::Denied {
                who: format!("{who:?}"),
                tenant: TenantId::platform(),
            }),
            None => Ok(self.audit.lock().trim(&retention)),
        })
    }
}
