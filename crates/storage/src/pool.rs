//! A few named threads for reads and files that block.

use freehold_domain::ports::{CommitError, ReadError};
use parking_lot::Mutex;
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Jobs that may wait for a thread at once; further callers wait to get in.
const QUEUED_MAX: usize = 1024;

type Job<C> = (Box<dyn FnOnce(&mut C) + Send>, OwnedSemaphorePermit);

/// Threads that each own a `C`; dropping the pool finishes what was sent and joins them.
pub(crate) struct Pool<C> {
    jobs: Option<mpsc::Sender<Job<C>>>,
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

/// The job's thread is gone, or the job panicked.
#[derive(Debug)]
pub(crate) struct Stopped;

impl From<Stopped> for ReadError {
    fn from(_: Stopped) -> Self {
        ReadError::Failed {
            reason: "a reading thread has stopped".to_owned(),
        }
    }
}
impl From<Stopped> for CommitError {
    fn from(_: Stopped) -> Self {
        CommitError::Failed {
            reason: "a writing thread has stopped".to_owned(),
        }
    }
}

impl<C: Send + 'static> Pool<C> {
    /// Starts one thread for each of `contexts`.
    pub(crate) fn start(name: &str, contexts: Vec<C>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job<C>>();
        let inbox = Arc::new(Mutex::new(inbox));
        let mut threads = Vec::new();
        for (number, mut context) in contexts.into_iter().enumerate() {
            let inbox = inbox.clone();
            let work = move || {
                loop {
                    let next = inbox.lock().recv();
                    let Ok((job, _room)) = next else { return };
                    if catch_unwind(AssertUnwindSafe(|| job(&mut context))).is_err() {
                        tracing::error!("a job of the store panicked");
                    }
                }
            };
            let name = format!("{name}-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        }
        Ok(Self {
            jobs: Some(jobs),
            room: Arc::new(Semaphore::new(QUEUED_MAX)),
            threads,
        })
    }

    /// Runs `job` on one of the threads.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut C) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let room = self.room.clone().acquire_owned().await;
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move |context: &mut C| {
            let _ = reply.send(job(context));
        });
        let jobs = self.jobs.as_ref().ok_or(Stopped)?;
        jobs.send((job, room.map_err(|_| Stopped)?))
            .map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

impl<C> Drop for Pool<C> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
