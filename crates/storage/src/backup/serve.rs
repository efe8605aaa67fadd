//! Backups of a store in use, one at a time, fetched piece by piece.
//!
//! ```text
//! start ─▶ a thread of low priority writes pieces ─▶ [at most 4 wait] ─▶ piece, piece …, end
//!                       └─ nobody fetches for a minute, or stop ─▶ given up
//! ```

use super::{
    BACKUP_FORMAT, BackupHead,
    cut::{self, AuditSegments, Ended, Held, Origin, Segments},
    write::{Gone, Out},
};
use crate::{folder::FORMAT, storage::SqliteStorage};
use bytes::Bytes;
use freehold_domain::{
    BoxFuture, Principal,
    ports::{BackupAsked, BackupError, BackupPiece, Backups, Clock},
};
use parking_lot::{Condvar, Mutex};
use ring::rand::{SecureRandom, SystemRandom};
use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Pieces that wait to be fetched.
const PIECES_MAX: usize = 4;
/// How long nobody may ask for a piece.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a stop waits for the thread, which looks between two reads of the disk.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// As nice as can be: calls of functions come first.
const NICENESS: i32 = 19;

/// Where backups of one store are asked for.
pub struct BackupDesk {
    store: Arc<SqliteStorage>,
    clock: Arc<dyn Clock>,
    release: String,
    seals: Vec<String>,
    running: Mutex<Option<Running>>,
    patience: Duration,
}

struct Running {
    id: String,
    flow: Arc<Flow>,
    thread: Option<JoinHandle<()>>,
}

impl BackupDesk {
    /// A desk for `store`, whose backups name `release` and the fingerprints of the keys that open
    /// what is sealed in it.
    pub fn new(
        store: Arc<SqliteStorage>,
        clock: Arc<dyn Clock>,
        release: &str,
        seals: Vec<String>,
    ) -> Self {
        Self {
            store,
            clock,
            release: release.to_owned(),
            seals,
            running: Mutex::default(),
            patience: PATIENCE,
        }
    }

    /// The same with another patience, for tests.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn start(&self, asked: BackupAsked) -> Result<String, BackupError> {
        let mut running = self.running.lock();
        if let Some(earlier) = &mut *running {
            if !earlier.flow.is_over() {
                return Err(BackupError::UnderWay);
            }
            earlier.flow.stop();
            // A core does not wait for its thread, which looks between two reads of the disk.
            if !earlier.flow.has_ended() {
                return Err(BackupError::UnderWay);
            }
            earlier.end();
        }
        let mut random = [0; 16];
        let filled = SystemRandom::new().fill(&mut random);
        filled.expect("the kernel's random source does not fail once seeded");
        let id = format!("{:032x}", u128::from_le_bytes(random));
        let flow = Arc::new(Flow::new(self.patience));
        let head = BackupHead {
            format: BACKUP_FORMAT,
            layout: FORMAT,
            release: self.release.clone(),
            at_ms: self.clock.wall().millis(),
            logs: asked.logs,
            seals: self.seals.clone(),
        };
        let (store, out) = (self.store.clone(), EndsAnyway(flow.clone()));
        let work = move || {
            // All of it belongs to the thread, its end as well.
            let out = out;
            // Of this thread alone, and only ever for the worse.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let ended = cut::write(&*store, &head, asked, Pieces(&out.0));
            drop(store);
            out.0.end(match ended {
                Ended::Whole => Ok(()),
                Ended::Gone => Err(BackupError::Unknown),
                Ended::Failed(error) => {
                    tracing::error!(%error, "a backup failed");
                    Err(error)
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("store-backup".to_owned())
            .spawn(work)
            .map_err(|error| BackupError::Failed {
                reason: format!("no thread could be started: {error}"),
            })?;
        *running = Some(Running {
            id: id.clone(),
            flow,
            thread: Some(thread),
        });
        Ok(id)
    }

    fn flow(&self, id: &str) -> Result<Arc<Flow>, BackupError> {
        let running = self.running.lock();
        let found = running.as_ref().filter(|running| running.id == id);
        found
            .map(|found| found.flow.clone())
            .ok_or(BackupError::Unknown)
    }
}

impl Running {
    /// Gives it up and waits for its thread, which looks between two reads of the disk.
    fn end(&mut self) {
        self.flow.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for BackupDesk {
    fn drop(&mut self) {
        // The thread holds the store, which must be closed before the process ends.
        if let Some(running) = self.running.get_mut() {
            running.end();
        }
    }
}

fn platform(who: &Principal) -> Result<(), BackupError> {
    match who {
        Principal::Platform { .. } => Ok(()),
        _ => Err(BackupError::Denied),
    }
}

impl Backups for BackupDesk {
    fn backup_start(
        &self,
        who: &Principal,
        asked: BackupAsked,
    ) -> BoxFuture<'_, Result<String, BackupError>> {
        let started = platform(who).and_then(|()| self.start(asked));
        Box::pin(std::future::ready(started))
    }

    fn backup_piece(
        &self,
        who: &Principal,
        id: &str,
        wait: Duration,
    ) -> BoxFuture<'_, Result<BackupPiece, BackupError>> {
        let flow = platform(who).and_then(|()| self.flow(id));
        Box::pin(async move {
            let flow = flow?;
            let fetched = tokio::time::timeout(wait, flow.fetch()).await;
            fetched.unwrap_or(Ok(BackupPiece::Later))
        })
    }

    fn backup_stop(&self, who: &Principal, id: &str) -> BoxFuture<'_, Result<(), BackupError>> {
        let flow = platform(who).and_then(|()| self.flow(id));
        Box::pin(async move {
            let flow = flow?;
            flow.stop();
            let _ = tokio::time::timeout(STOP_WAIT, flow.ended()).await;
            Ok(())
        })
    }
}

impl Origin for SqliteStorage {
    fn dir(&self) -> &Path {
        &self.dir
    }
    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(self.blobs.hold())
    }
    fn ledger(&self) -> io::Result<Segments> {
        self.ledger.cut()
    }
    fn audit(&self) -> io::Result<AuditSegments> {
        Ok(self.audit.cut())
    }
}

/// Ends a flow whose thread panicked: the next backup does not wait for it for ever.
struct EndsAnyway(Arc<Flow>);

impl Drop for EndsAnyway {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            let reason = "its thread ended; the server's log says why".to_owned();
            self.0.end(Err(BackupError::Failed { reason }));
        }
    }
}

/// Pieces between the thread that writes them and whoever fetches them.
struct Flow {
    state: Mutex<State>,
    room: Condvar,
    news: Notify,
    patience: Duration,
}

struct State {
    pieces: VecDeque<Bytes>,
    ended: Option<Result<(), BackupError>>,
    stopped: bool,
    asked: Instant,
}

impl Flow {
    fn new(patience: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                pieces: VecDeque::new(),
                ended: None,
                stopped: false,
                asked: Instant::now(),
            }),
            room: Condvar::new(),
            news: Notify::new(),
            patience,
        }
    }

    /// Whether nobody will fetch anything of it any more.
    fn is_over(&self) -> bool {
        let state = self.state.lock();
        let is_fetched = state.ended.is_some() && state.pieces.is_empty();
        state.stopped || is_fetched || state.asked.elapsed() > self.patience
    }

    /// Whether its thread is done but for ending.
    fn has_ended(&self) -> bool {
        self.state.lock().ended.is_some()
    }

    fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        state.pieces.clear();
        self.room.notify_all();
        self.news.notify_waiters();
    }

    fn end(&self, result: Result<(), BackupError>) {
        self.state.lock().ended = Some(result);
        self.news.notify_waiters();
    }

    /// Resolves when its thread is done but for ending.
    async fn ended(&self) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.has_ended() {
                return;
            }
            news.await;
        }
    }

    async fn fetch(&self) -> Result<BackupPiece, BackupError> {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on no word is missed.
            news.as_mut().enable();
            {
                let mut state = self.state.lock();
                state.asked = Instant::now();
                if let Some(piece) = state.pieces.pop_front() {
                    self.room.notify_all();
                    return Ok(BackupPiece::Bytes(piece));
                }
                match &state.ended {
                    _ if state.stopped => return Err(BackupError::Unknown),
                    Some(Ok(())) => return Ok(BackupPiece::End),
                    Some(Err(error)) => return Err(error.clone()),
                    None => {}
                }
            }
            news.await;
        }
    }
}

struct Pieces<'a>(&'a Flow);

impl Out for Pieces<'_> {
    fn send(&mut self, piece: Bytes) -> Result<(), Gone> {
        let flow = self.0;
        let mut state = flow.state.lock();
        while state.pieces.len() >= PIECES_MAX && !state.stopped {
            let until = state.asked + flow.patience;
            if flow.room.wait_until(&mut state, until).timed_out() && Instant::now() >= until {
                let is_late = state.asked.elapsed() >= flow.patience;
                state.stopped |= is_late && state.pieces.len() >= PIECES_MAX;
            }
        }
        if state.stopped {
            return Err(Gone);
        }
        state.pieces.push_back(piece);
        flow.news.notify_waiters();
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        let state = self.0.state.lock();
        !state.stopped && state.asked.elapsed() <= self.0.patience
    }
}
