//! The one object behind every storage trait.

use crate::{
    audit::AuditFiles,
    backup,
    blobs::BlobFiles,
    failure::{Health, may_read, may_write, platform_only, platform_writes, read_failed},
    folder::{FORMAT, Folder, STEPS},
    lanes::Lanes,
    logs::{LogFiles, LogIndexStats, LogOptions},
    meta,
    open::{OpenError, OpenOptions, database, files},
    pool::Pool,
    queue,
    sequence::Sequence,
    sql, unchecked,
    watch::Watchers,
    writer::Writer,
};
use bytes::Bytes;
use freehold_domain::{
    BoxFuture, Digest, InvocationId, KeptTime, Principal, QueueTime, TenantId, Wall,
    audit::AuditLine,
    logs::{LogGroupName, LogLine, LogStreamName},
    ports::*,
    record::{ClaimedEvent, Key, KeyPrefix, Kind},
};
use rusqlite::Connection;
use std::{path::PathBuf, sync::Arc};

/// The store of one machine. Fields are dropped in order: writers finish, threads end, and the
/// folder's lock is given up last.
pub struct SqliteStorage {
    pub(crate) dir: PathBuf,
    records: Writer,
    events: Writer,
    readers: Pool<Connections>,
    files: Pool<()>,
    log_reads: Pool<()>,
    audit_reads: Pool<()>,
    pub(crate) blobs: Arc<BlobFiles>,
    pub(crate) ledger: Arc<Lanes>,
    pub(crate) audit: Arc<AuditFiles>,
    logs: Arc<LogFiles>,
    watchers: Watchers,
    sequence: Arc<Sequence>,
    health: Arc<Health>,
    rotation: Arc<queue::Rotation>,
    _folder: Folder,
}

struct Connections {
    meta: Connection,
    queue: Connection,
}

/// Threads for blobs and ledger reads.
const FILE_THREADS: usize = 2;
/// Threads for logs, whose listings may read for long: never the ones that a start waits for.
const LOG_THREADS: usize = 2;
/// Readers of the audit trail.
const AUDIT_THREADS: usize = 2;

impl SqliteStorage {
    /// Opens the store in a folder, made where it is missing.
    ///
    /// Errors: [`OpenError`]; nothing was changed then, but for finished migration steps.
    pub fn open(options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let OpenOptions { dir, clock, .. } = &options;
        let folder = Folder::open(dir, FORMAT, STEPS)?;
        let health = Arc::new(Health::default());
        let sequence = Arc::new(Sequence::default());
        let (meta_path, queue_path) = (dir.join("meta.db"), dir.join("queue.db"));
        let resume = |conn: Connection| sequence.resume(&conn).map(|()| conn);
        let meta = sql::open_writer(&meta_path, meta::SCHEMA, |_| Ok(()))
            .and_then(resume)
            .map_err(database(&meta_path))?;
        let queue = sql::open_writer(&queue_path, queue::SCHEMA, queue::complete)
            .and_then(resume)
            .map_err(database(&queue_path))?;
        let kept = queue::resume_time(&queue).map_err(database(&queue_path))?;
        // Never later than the queue's time will be, whatever the clocks say now.
        let past = kept.map_or(QueueTime(clock.wall().0), |kept| kept.now);
        let released = queue::release_claims(&queue, past).map_err(database(&queue_path))?;
        if released > 0 {
            tracing::info!(
                released,
                "events that an earlier process held are due again"
            );
        }
        let mut connections = Vec::new();
        for _ in 0..options.readers.max(1) {
            connections.push(Connections {
                meta: sql::open_reader(&meta_path).map_err(database(&meta_path))?,
                queue: sql::open_reader(&queue_path).map_err(database(&queue_path))?,
            });
        }
        let at = |name: &str| dir.join(name);
        backup::remove_left(dir).map_err(files(dir.clone()))?;
        let blobs = BlobFiles::open(at("blobs"), health.clone()).map_err(files(at("blobs")))?;
        let ledger = Lanes::open(at("ledger"), options.segment_bytes, health.clone())
            .map_err(files(at("ledger")))?;
        let audit = AuditFiles::open(dir, options.audit_segment_bytes, &health, clock.wall())
            .map_err(files(at("audit")))?;
        let logs = LogFiles::open(LogOptions {
            dir: at("logs"),
            index: at("logs.db"),
            stamp: folder.stamp().map_err(files(at("lock")))?,
            clock: clock.clone(),
            open_max: options.log_files_open,
            readers: LOG_THREADS,
        })?;
        let writer = |name, conn| {
            Writer::start(name, conn, sequence.clone(), health.clone()).map_err(OpenError::Threads)
        };
        Ok(Arc::new(Self {
            dir: dir.clone(),
            records: writer("store-records", meta)?,
            events: writer("store-events", queue)?,
            readers: Pool::start("store-read", connections).map_err(OpenError::Threads)?,
            files: Pool::start("store-file", vec![(); FILE_THREADS]).map_err(OpenError::Threads)?,
            log_reads: Pool::start("store-log", vec![(); LOG_THREADS])
                .map_err(OpenError::Threads)?,
            audit_reads: Pool::start("store-audit", vec![(); AUDIT_THREADS])
                .map_err(OpenError::Threads)?,
            blobs: Arc::new(blobs),
            ledger: Arc::new(ledger),
            audit: Arc::new(audit),
            logs: Arc::new(logs),
            watchers: Watchers::default(),
            sequence,
            health,
            rotation: Arc::default(),
            _folder: folder,
        }))
    }

    /// Brings the index of the log streams up to date, at the end: parts of a node hold each other and the
    /// store, and what is not dropped before the process ends is not finished by that. Waits for the disk.
    pub fn finish(&self) {
        self.logs.finish();
    }

    /// The index of the log streams in numbers; asks no disk.
    pub fn log_index_stats(&self) -> LogIndexStats {
        self.logs.index_stats()
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connections) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.readers.run(|connections| job(connections)).await?
    }
}

fn refused<T: Send + 'static, E: Send + 'static>(error: E) -> BoxFuture<'static, Result<T, E>> {
    Box::pin(std::future::ready(Err(error)))
}

impl Records for SqliteStorage {
    fn get(&self, who: &Principal, key: &Key) -> BoxFuture<'_, Result<Option<Stored>, ReadError>> {
        if let Err(error) = may_read(who, key.tenant()) {
            return refused(error);
        }
        let key = key.clone();
        Box::pin(self.read(move |on| meta::get(&on.meta, &key)))
    }

    fn list(
        &self,
        who: &Principal,
        prefix: &KeyPrefix,
        after: Option<&Key>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
        if let Err(error) = may_read(who, prefix.owner()) {
            return refused(error);
        }
        let (prefix, after) = (prefix.clone(), after.cloned());
        Box::pin(self.read(move |on| meta::list(&on.meta, &prefix, after.as_ref(), limit)))
    }

    fn list_all(
        &self,
        who: &Principal,
        kind: Kind,
        after: Option<&Key>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Stored>, ReadError>> {
        if let Err(error) = unchecked::check(who) {
            return refused(error);
        }
        let after = after.cloned();
        Box::pin(self.read(move |on| unchecked::list_all(&on.meta, kind, after.as_ref(), limit)))
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) -> Box<dyn Send + Sync> {
        self.watchers.add(watcher)
    }
}

/// About what an op writes.
fn size(op: &Op) -> usize {
    let own = match op {
        Op::Put { bytes, .. } => bytes.len(),
        Op::EventAdd { body, .. } => body.len(),
        Op::Delete { .. } | Op::EventRetry { .. } | Op::EventEnd { .. } | Op::EventTime { .. } => 0,
    };
    own + 256
}

impl Commit for SqliteStorage {
    fn commit(
        &self,
        who: &Principal,
        ops: Vec<Op>,
        fence: Fence,
    ) -> BoxFuture<'_, Result<StoreSeq, CommitError>> {
        let is_record = |op: &Op| matches!(op, Op::Put { .. } | Op::Delete { .. });
        let records = ops.iter().filter(|op| is_record(op)).count();
        if records != 0 && records != ops.len() {
            return refused(CommitError::Mixed);
        }
        let bytes = ops.iter().map(size).sum();
        let (sequence, health) = (self.sequence.clone(), self.health.clone());
        if records == 0 && !ops.is_empty() {
            let who = who.clone();
            return Box::pin(async move {
                let change = move |conn: &Connection| {
                    sequence.pass(fence)?;
                    queue::apply(conn, &health, &who, ops)?;
                    Ok(StoreSeq(sequence.next()))
                };
                self.events.commit(bytes, change, |_| ()).await
            });
        }
        if let Err(error) = meta::check(who, &ops) {
            return refused(error);
        }
        let watchers = self.watchers.clone();
        Box::pin(async move {
            let change = move |conn: &Connection| {
                sequence.pass(fence)?;
                let changes = meta::apply(conn, &sequence, &health, ops)?;
                Ok((StoreSeq(sequence.next()), changes))
            };
            let tell = move |(_, changes): &(StoreSeq, meta::Changes)| watchers.tell(changes);
            let (seq, _) = self.records.commit(bytes, change, tell).await?;
            Ok(seq)
        })
    }
}

impl EventQueue for SqliteStorage {
    fn claim(
        &self,
        who: &Principal,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Vec<ClaimedEvent>, ReadError>> {
        if let Err(error) = platform_only(who) {
            return refused(error);
        }
        let bytes = claim.limit << 10;
        let (health, rotation) = (self.health.clone(), self.rotation.clone());
        Box::pin(async move {
            let change = move |conn: &Connection| queue::claim(conn, &health, &rotation, &claim);
            let claimed = self.events.commit(bytes, change, |_| ()).await;
            claimed.map_err(|error| ReadError::Failed {
                reason: format!("events could not be claimed: {error}"),
            })
        })
    }

    fn next_due(&self, who: &Principal) -> BoxFuture<'_, Result<Option<QueueTime>, ReadError>> {
        if let Err(error) = platform_only(who) {
            return refused(error);
        }
        Box::pin(self.read(|on| queue::next_due(&on.queue)))
    }

    fn time_kept(&self, who: &Principal) -> BoxFuture<'_, Result<Option<KeptTime>, ReadError>> {
        if let Err(error) = platform_only(who) {
            return refused(error);
        }
        Box::pin(self.read(|on| {
            // One snapshot: what is kept meanwhile would not add up with it.
            let snapshot = on
                .queue
                .unchecked_transaction()
                .map_err(|error| read_failed(&error))?;
            queue::time_kept(&snapshot)
        }))
    }

    fn state(
        &self,
        who: &Principal,
        id: InvocationId,
    ) -> BoxFuture<'_, Result<Option<EventState>, ReadError>> {
        let who = who.clone();
        Box::pin(self.read(move |on| {
            // One snapshot: an event that ends between two statements is in neither table.
            let snapshot = on
                .queue
                .unchecked_transaction()
                .map_err(|error| read_failed(&error))?;
            queue::state(&snapshot, &who, id)
        }))
    }

    fn counts(&self, who: &Principal) -> BoxFuture<'_, Result<EventCounts, ReadError>> {
        if let Err(error) = platform_only(who) {
            return refused(error);
        }
        Box::pin(self.read(|on| queue::counts(&on.queue)))
    }

    fn forget(
        &self,
        who: &Principal,
        ended: EndedBefore,
        limit: usize,
    ) -> BoxFuture<'_, Result<u64, CommitError>> {
        if let Err(error) = platform_writes(who) {
            return refused(error);
        }
        let health = self.health.clone();
        Box::pin(async move {
            let change = move |conn: &Connection| queue::forget(conn, &health, ended, limit);
            self.events.commit(0, change, |_| ()).await
        })
    }
}

impl Blobs for SqliteStorage {
    fn put(
        &self,
        who: &Principal,
        tenant: &TenantId,
        bytes: Bytes,
    ) -> BoxFuture<'_, Result<Digest, CommitError>> {
        if let Err(error) = may_write(who, tenant) {
            return refused(error);
        }
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        Box::pin(async move { self.files.run(move |()| blobs.put(&tenant, &bytes)).await? })
    }

    fn get(
        &self,
        who: &Principal,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        if let Err(error) = may_read(who, tenant) {
            return refused(error);
        }
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        Box::pin(async move { self.files.run(move |()| blobs.get(&tenant, digest)).await? })
    }

    fn remove(
        &self,
        who: &Principal,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<(), CommitError>> {
        if let Err(error) = may_write(who, tenant) {
            return refused(error);
        }
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        Box::pin(async move {
            self.files
                .run(move |()| blobs.remove(&tenant, digest))
                .await?
        })
    }
}

impl Ledger for SqliteStorage {
    fn append(&self, lane: u16, frame: &[u8]) -> Result<(), CommitError> {
        self.ledger.append(lane, frame)
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<u16>, ReadError>> {
        Box::pin(async move { Ok(self.ledger.lanes()) })
    }

    fn read(
        &self,
        lane: u16,
        position: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Bytes>, u64), ReadError>> {
        let ledger = self.ledger.clone();
        let job = move |_: &mut ()| ledger.read(lane, position, limit);
        Box::pin(async move { self.files.run(job).await? })
    }
}

impl Audit for SqliteStorage {
    fn audit_append(&self, line: &AuditLine) -> Result<bool, CommitError> {
        self.audit.append(line)
    }

    fn audit_begin(&self, line: &AuditLine) -> Result<(), CommitError> {
        self.audit.note(line)
    }

    fn audit_end(&self, request: InvocationId) {
        self.audit.forget(request);
    }

    fn audit_lines(
        &self,
        who: &Principal,
        query: AuditQuery,
    ) -> BoxFuture<'_, Result<AuditPage, ReadError>> {
        let may = match &query.tenant {
            Some(tenant) => may_read(who, tenant),
            None => platform_only(who),
        };
        if let Err(error) = may {
            return refused(error);
        }
        let audit = self.audit.clone();
        // A long trail is read for long: by nobody else's readers.
        Box::pin(async move { self.audit_reads.run(move |()| audit.lines(&query)).await? })
    }

    fn audit_trim(
        &self,
        who: &Principal,
        retention: AuditRetention,
    ) -> BoxFuture<'_, Result<AuditTrimmed, CommitError>> {
        if let Err(error) = platform_writes(who) {
            return refused(error);
        }
        let audit = self.audit.clone();
        Box::pin(async move {
            self.audit_reads
                .run(move |()| audit.trim(&retention))
                .await?
        })
    }
}

impl LogStore for SqliteStorage {
    fn append(&self, stream: &LogStreamName, lines: &[LogLine]) -> Result<(), CommitError> {
        self.logs.append(stream, lines)
    }

    fn close(&self, stream: &LogStreamName) {
        self.logs.close(stream);
    }

    fn streams(
        &self,
        who: &Principal,
        group: &LogGroupName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<LogStreamInfo>, ReadError>> {
        let (logs, who, group) = (self.logs.clone(), who.clone(), group.clone());
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let job = move |_: &mut ()| logs.streams(&who, &group, &prefix, after.as_deref(), limit);
        Box::pin(async move { self.log_reads.run(job).await? })
    }

    fn group_bytes(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> BoxFuture<'_, Result<u64, ReadError>> {
        let (logs, who, group) = (self.logs.clone(), who.clone(), group.clone());
        let job = move |_: &mut ()| logs.group_bytes(&who, &group);
        Box::pin(async move { self.log_reads.run(job).await? })
    }

    fn read(
        &self,
        who: &Principal,
        stream: &LogStreamName,
        query: LogQuery,
    ) -> BoxFuture<'_, Result<LogPage, ReadError>> {
        let (logs, who, stream) = (self.logs.clone(), who.clone(), stream.clone());
        let job = move |_: &mut ()| logs.read(&who, &stream, query);
        Box::pin(async move { self.log_reads.run(job).await? })
    }

    fn remove_group(
        &self,
        who: &Principal,
        group: &LogGroupName,
    ) -> BoxFuture<'_, Result<(), CommitError>> {
        let (logs, who, group) = (self.logs.clone(), who.clone(), group.clone());
        let job = move |_: &mut ()| logs.remove_group(&who, &group);
        Box::pin(async move { self.log_reads.run(job).await? })
    }

    fn expire(
        &self,
        who: &Principal,
        group: &LogGroupName,
        before: Wall,
    ) -> BoxFuture<'_, Result<u64, CommitError>> {
        let (logs, who, group) = (self.logs.clone(), who.clone(), group.clone());
        let job = move |_: &mut ()| logs.expire(&who, &group, before);
        Box::pin(async move { self.log_reads.run(job).await? })
    }
}
