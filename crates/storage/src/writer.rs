//! One thread per database writes; commits that arrive together share one transaction.
//!
//! Each commit runs in a savepoint of its own, so one that is refused takes no other with it. A
//! commit is answered after the transaction's `fsync`, in order. The way in is bounded in bytes:
//! callers wait, in order, before they are in.

use crate::{
    failure::{Health, write_failed},
    sequence::Sequence,
};
use freehold_domain::ports::CommitError;
use rusqlite::Connection;
use std::{
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What may wait for the writer at once, KiB.
const QUEUED_KIB_MAX: u32 = 64 << 10;
/// What every commit counts at the least, KiB: at most 4096 wait.
const COMMIT_KIB_MIN: u32 = 16;
/// Commits of one transaction.
const BATCH_COMMITS_MAX: usize = 512;
/// Bytes of one transaction, past which no further commit joins.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// The way to a writing thread; dropping it finishes what was sent and joins the thread.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    work: Box<dyn Work>,
    bytes: usize,
    _room: OwnedSemaphorePermit,
}

trait Work: Send {
    /// Makes the changes; whether to keep them.
    fn apply(&mut self, conn: &Connection) -> bool;
    /// Answers, once the transaction is on disk or has failed.
    fn settle(self: Box<Self>, transaction: Result<(), CommitError>);
}

struct Change<T, F, C> {
    change: Option<F>,
    committed: C,
    result: Option<Result<T, CommitError>>,
    reply: oneshot::Sender<Result<T, CommitError>>,
}

impl<T, F, C> Work for Change<T, F, C>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, CommitError> + Send,
    C: FnOnce(&T) + Send,
{
    fn apply(&mut self, conn: &Connection) -> bool {
        let Some(change) = self.change.take() else {
            return false;
        };
        let result = change(conn);
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn settle(self: Box<Self>, transaction: Result<(), CommitError>) {
        let result = match (transaction, self.result) {
            (_, Some(Err(refused))) => Err(refused),
            (Err(failed), _) => Err(failed),
            (Ok(()), Some(Ok(value))) => {
                (self.committed)(&value);
                Ok(value)
            }
            (Ok(()), None) => Err(CommitError::Failed {
                reason: "the commit was not reached".to_owned(),
            }),
        };
        // A caller that has gone away loses the answer, not the commit.
        let _ = self.reply.send(result);
    }
}

impl Writer {
    /// Starts the thread `name` over `conn`.
    pub(crate) fn start(
        name: &str,
        conn: Connection,
        sequence: Arc<Sequence>,
        health: Arc<Health>,
    ) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&conn, &inbox, &sequence, &health))?;
        Ok(Self {
            jobs: Some(jobs),
            room: Arc::new(Semaphore::new(QUEUED_KIB_MAX as usize)),
            thread: Some(thread),
        })
    }

    /// Runs `change` inside the next transaction and answers once that is on disk; `committed` is
    /// called just before, in commit order, on the writing thread. `bytes` is about what the
    /// change writes.
    ///
    /// Errors: what `change` refused with (nothing was changed), or what the transaction failed of.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        bytes: usize,
        change: impl FnOnce(&Connection) -> Result<T, CommitError> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, CommitError> {
        let kib = u32::try_from(bytes >> 10).unwrap_or(QUEUED_KIB_MAX);
        let kib = kib.clamp(COMMIT_KIB_MIN, QUEUED_KIB_MAX);
        let room = self.room.clone().acquire_many_owned(kib).await;
        let stopped = || CommitError::Failed {
            reason: "the writing thread has stopped".to_owned(),
        };
        let (reply, answer) = oneshot::channel();
        let work = Change {
            change: Some(change),
            committed,
            result: None,
            reply,
        };
        let job = Job {
            work: Box::new(work),
            bytes,
            _room: room.map_err(|_| stopped())?,
        };
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(conn: &Connection, inbox: &mpsc::Receiver<Job>, sequence: &Sequence, health: &Health) {
    while let Ok(first) = inbox.recv() {
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while batch.len() < BATCH_COMMITS_MAX && bytes < BATCH_BYTES_MAX {
            let Ok(next) = inbox.try_recv() else { break };
            bytes += next.bytes;
            batch.push(next);
        }
        let outcome = health
            .check()
            .and_then(|()| transaction(conn, &mut batch, sequence, health));
        for job in batch {
            job.work.settle(outcome.clone());
        }
    }
    // Leaves a folded database behind; the log would be replayed at the next start as well.
    if let Err(error) = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%error, "the write-ahead log could not be folded at shutdown");
    }
}

fn transaction(
    conn: &Connection,
    batch: &mut [Job],
    sequence: &Sequence,
    health: &Health,
) -> Result<(), CommitError> {
    let result = apply(conn, batch, sequence).map_err(|error| write_failed(health, &error));
    if !conn.is_autocommit()
        && let Err(error) = conn.execute_batch("ROLLBACK")
    {
        tracing::warn!(%error, "a failed transaction could not be rolled back");
    }
    result
}

fn apply(conn: &Connection, batch: &mut [Job], sequence: &Sequence) -> rusqlite::Result<()> {
    let step = |sql: &str| conn.prepare_cached(sql)?.execute([]).map(drop);
    step("BEGIN IMMEDIATE")?;
    for job in batch {
        step("SAVEPOINT one")?;
        let keep = job.work.apply(conn);
        // Some failures end the whole transaction; the release below then fails and says so.
        if !keep && !conn.is_autocommit() {
            step("ROLLBACK TO one")?;
        }
        step("RELEASE one")?;
    }
    sequence.save(conn)?;
    step("COMMIT")
}
