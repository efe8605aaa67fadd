//! Time for guests: in slices, so that one that computes never holds a core.
//!
//! ```text
//!  event ─▶ first slice on the core that serves ─┬─ done: most events
//!                                                └─ used up ─▶ a long runner: threads of low
//!                                                              priority, one slice after another
//! ```
//!
//! A ticker advances the engine's epoch every [`TICK`]; compiled code looks at it at loops and calls
//! and gives way once its slice is over. What has not ended by then is moved, as a value, to a
//! long runner, where guests take turns with each other and the kernel takes turns with the cores.
//! So is one that takes more memory than a single instruction fills within a slice (`state.rs`).
//! The ticker rests when no event has come for a while.

use crate::limits::{LONG_NICENESS, TICK, TICKS_UNTIL_REST};
use parking_lot::{Condvar, Mutex};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};
use wasmtime::{Engine, Store, UpdateDeadline};

/// Ticks while guests run.
pub(crate) struct Ticker {
    shared: Arc<Ticking>,
}

struct Ticking {
    /// Ticks since the last event.
    idle: AtomicU32,
    rests: AtomicBool,
    ends: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Ticking {
            idle: AtomicU32::new(0),
            rests: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let (engine, ticking) = (engine.weak(), shared.clone());
        thread::Builder::new()
            .name("wasm-ticker".into())
            .spawn(move || {
                while !ticking.ends.load(Ordering::Acquire) {
                    thread::sleep(TICK);
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                    if ticking.idle.fetch_add(1, Ordering::AcqRel) >= TICKS_UNTIL_REST {
                        ticking.rest();
                    }
                }
            })?;
        Ok(Self { shared })
    }

    /// An event runs, or runs on: the ticks go on.
    pub(crate) fn touch(&self) {
        // In one order with the count and the flag in `rest`: one of the two sides sees the other.
        self.shared.idle.store(0, Ordering::SeqCst);
        if self.shared.rests.load(Ordering::SeqCst) {
            let _guard = self.shared.lock.lock();
            self.shared.rests.store(false, Ordering::Release);
            self.shared.wake.notify_one();
        }
    }
}

impl Ticking {
    fn rest(&self) {
        let mut guard = self.lock.lock();
        self.rests.store(true, Ordering::SeqCst);
        // An event that came between the count and the flag has reset the count.
        while self.rests.load(Ordering::Acquire)
            && self.idle.load(Ordering::SeqCst) >= TICKS_UNTIL_REST
            && !self.ends.load(Ordering::Acquire)
        {
            self.wake.wait(&mut guard);
        }
        self.rests.store(false, Ordering::Release);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        let _guard = self.shared.lock.lock();
        self.shared.wake.notify_one();
    }
}

/// Whether a guest has used up its slice.
pub(crate) type UsedUp = Arc<AtomicBool>;

/// Makes the guest in `store` give way after each slice, and say so in `used_up`.
pub(crate) fn in_slices<T: 'static>(
    store: &mut Store<T>,
    ticker: &Arc<Ticker>,
    ticks: u64,
    used_up: &UsedUp,
) {
    let (flag, ticker) = (used_up.clone(), ticker.clone());
    store.set_epoch_deadline(ticks);
    store.epoch_deadline_callback(move |_| {
        flag.store(true, Ordering::Relaxed);
        ticker.touch();
        // The runtime's own yield wakes itself at once, and tokio would poll nothing else for
        // dozens of turns; this one lets the thread look at its sockets and timers first.
        Ok(UpdateDeadline::YieldCustom(
            ticks,
            Box::pin(tokio::task::yield_now()),
        ))
    });
}

/// Threads for guests that compute.
pub(crate) struct LongRunners {
    runners: Vec<LongRunner>,
    next: AtomicUsize,
}

struct LongRunner {
    handle: Handle,
    /// Ends it when it is dropped.
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl LongRunners {
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let runners = (0..threads.max(1)).map(|at| {
            let runtime = Builder::new_current_thread().enable_time().build()?;
            let handle = runtime.handle().clone();
            let (end, ended) = oneshot::channel::<()>();
            let thread = thread::Builder::new()
                .name(format!("wasm-long-{at}"))
                .spawn(move || {
                    // Of this thread alone; without it guests are only less polite.
                    let _ = rustix::process::setpriority_process(None, LONG_NICENESS);
                    let _ = runtime.block_on(ended);
                })?;
            Ok(LongRunner {
                handle,
                end: Some(end),
                thread: Some(thread),
            })
        });
        Ok(Self {
            runners: runners.collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Runs the first slice here, and what is left elsewhere. Dropping the future drops the guest
    /// at its next turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        guest: Pin<Box<dyn Future<Output = T> + Send>>,
        used_up: &UsedUp,
    ) -> Option<T> {
        let first = FirstSlice {
            guest: Some(guest),
            used_up,
        };
        match first.await {
            Sliced::Done(done) => Some(done),
            Sliced::Left(guest) => {
                let at = self.next.fetch_add(1, Ordering::Relaxed) % self.runners.len();
                let task = Moved(self.runners[at].handle.spawn(guest));
                // Panicked, or the node ends.
                task.await.ok()
            }
        }
    }
}

impl Drop for LongRunners {
    fn drop(&mut self) {
        // All at once, then one after the other.
        for runner in &mut self.runners {
            drop(runner.end.take());
        }
        for runner in &mut self.runners {
            if let Some(thread) = runner.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

struct FirstSlice<'a, T> {
    guest: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    used_up: &'a UsedUp,
}

enum Sliced<T> {
    Done(T),
    Left(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Future for FirstSlice<'_, T> {
    type Output = Sliced<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Sliced<T>> {
        let guest = self.guest.as_mut().expect("polled until it is ready alone");
        if let Poll::Ready(done) = guest.as_mut().poll(context) {
            return Poll::Ready(Sliced::Done(done));
        }
        if self.used_up.load(Ordering::Relaxed) {
            let left = self.guest.take().expect("it was polled just now");
            return Poll::Ready(Sliced::Left(left));
        }
        Poll::Pending
    }
}

/// A task that ends with whoever waits for it.
struct Moved<T>(JoinHandle<T>);

impl<T> Future for Moved<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Moved<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
