//! The index is made again while it is in use: when SQLite finds it damaged, when its file was
//! taken away, and when it could only be kept in memory.
//!
//! ```text
//! in use ──damage──▶ suspended ──its turn──▶ withdrawn ──all heads are read──▶ in use
//!                                               │ the disk refuses
//!                                               ▼
//!                                           in memory ──from time to time: tried on disk──▶ in use
//! ```
//!
//! Lines are stored as ever. What is asked of a stream in memory is answered; a list, and a stream
//! that the index alone would find, are refused for the time being, since a list that leaves out
//! what it does not know is a wrong one. It takes as long as a start without an index, on a thread
//! of low priority; streams that come meanwhile stay in memory until then.

use super::{
    indexer::Streams,
    making::Taken,
    recover::{self, Fault, Recovered},
    scan::Files,
};
use std::{
    io,
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

/// The niceness of the thread that reads the files.
const NICENESS: i32 = 19;
/// The least time from the end of one try to the next.
const WAIT_MIN: Duration = Duration::from_secs(30);
/// The wait doubles with every try, up to this. An index that lasts for as long begins anew.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// When the index may be made again: a disk that damages whatever is written to it is not read from
/// end to end all the time.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    wait: Duration,
}

impl Pace {
    /// The earliest time for a try.
    pub(super) fn earliest(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| now.max(last + self.wait))
    }

    /// A try has ended; the earliest time for the next one.
    pub(super) fn tried(&mut self, now: Instant) -> Instant {
        let is_quiet = self.last.is_some_and(|last| now - last > WAIT_MAX);
        self.wait = match is_quiet {
            true => WAIT_MIN,
            false => (self.wait * 2).clamp(WAIT_MIN, WAIT_MAX),
        };
        self.last = Some(now);
        now + self.wait
    }
}

impl Streams {
    /// Makes the index again from the files.
    pub(super) fn mend(&self) {
        let begun = Instant::now();
        let (taken, is_in_memory) = {
            let _alone = self.alone();
            self.backlog.suspend();
            // One in memory answers until there is a better one.
            let is_in_memory = self.index.is_in_memory();
            if !is_in_memory {
                self.index.withdraw();
            }
            (self.making.taken(), is_in_memory)
        };
        let mut made = self.made(&taken, |files| recover::make(files, self.index.path()));
        match made {
            Err(Fault::Stopped) => return,
            Err(error) if !is_in_memory => {
                recover::say_kept_in_memory(&error.into_open_error(self.index.path()));
                made = self.made(&taken, recover::make_in_memory);
            }
            _ => {}
        }
        let again = self.pace.lock().tried(Instant::now());
        // Removals end before, or find that it was suspended and are told to the new one.
        let alone = self.alone();
        match made {
            Ok(made) => {
                tracing::info!(
                    streams = made.next - 1,
                    ms = begun.elapsed().as_millis() as u64,
                    "the index of the log streams was made again from their files"
                );
                self.index.replace(made.databases);
                self.rebuilds.fetch_add(1, Relaxed);
                for stream in self.held.all() {
                    stream.tell_again(&self.backlog);
                }
                self.backlog.resume(made.token);
                if made.token.is_none() {
                    self.backlog.mend(again, false);
                }
            }
            Err(Fault::Stopped) => return,
            // It answers as before.
            Err(_) if is_in_memory => {
                self.backlog.resume(None);
                self.backlog.mend(again, false);
                return;
            }
            Err(error) => {
                let error = error.into_open_error(self.index.path());
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the index of the log streams could not be made; it is tried again"
                );
                self.backlog.mend(again, true);
                return;
            }
        }
        drop(alone);
        self.learn_names();
    }

    /// An index of the files that were known when `taken` was asked for.
    fn made(
        &self,
        taken: &Taken,
        make: impl FnOnce(&Files<'_>) -> Result<Recovered, Fault> + Send,
    ) -> Result<Recovered, Fault> {
        let files = Files {
            dir: self.index.dir(),
            lists: self.index.lists(),
            is_known: &|number| taken.is_known(number),
            floor: Some(taken.floor()),
            goes_on: &|| !self.backlog.is_closing(),
        };
        thread::scope(|scope| {
            let make = || {
                // Of this thread alone, and only ever for the worse.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                make(&files)
            };
            let made = thread::Builder::new()
                .name("store-log-mend".to_owned())
                .spawn_scoped(scope, make);
            match made {
                Ok(made) => made.join().unwrap_or_else(|_| {
                    let error = io::Error::other("the thread that made it panicked");
                    Err(Fault::Files(self.index.path().to_owned(), error))
                }),
                Err(error) => Err(Fault::Files(self.index.path().to_owned(), error)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_at_once_then_ever_later_and_a_time_without_any_begins_anew() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.earliest(now), now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let again = pace.tried(now);
            waits.push((again - now).as_secs());
            assert_eq!(pace.earliest(now), again);
            now = again;
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        now += WAIT_MAX + Duration::from_secs(1);
        assert_eq!(pace.earliest(now), now, "it has waited for long enough");
        assert_eq!(pace.tried(now) - now, WAIT_MIN);
    }
}
