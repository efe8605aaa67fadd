//! Fewer wake-ups for a core that answers many quick events.
//!
//! A core's thread wakes for every request and for every answer. Each time it takes the processor
//! from an instance in the middle of its run, and both find the caches full of the other's: with
//! runs of forty microseconds that is half of all the processor time there is. Network drivers know
//! the cure as interrupt moderation. While several quick answers are on their way, the thread sleeps
//! for about as long as they take before it looks who is ready, and then serves all of them in one
//! turn.
//!
//! Delays nobody by more than [`NAPS`] naps of [`NAP_MAX`]: after so many without another quick
//! answer it waits as ever. Never naps for one or two events at a time, nor for runs that take longer,
//! which wait for something else than this processor. Needs to know nothing of who is ready: a wrong
//! nap costs time, never an event.

use std::{cell::Cell, time::Duration};

/// Fewer than these answer soon enough to be waited for.
const FROM: u32 = 3;
/// What a quick event costs an instance's processor, with the way to it and back.
const EACH: Duration = Duration::from_micros(40);
/// The longest nap.
const NAP_MAX: Duration = Duration::from_micros(150);
/// Naps in a row without an answer.
const NAPS: u32 = 3;

thread_local! {
    static CORE: Core = const { Core { out: Cell::new(0), naps: Cell::new(NAPS) } };
}

/// What one core's thread waits for.
struct Core {
    /// Quick events whose answers are on their way.
    out: Cell<u32>,
    /// Naps since one has come.
    naps: Cell<u32>,
}

impl Core {
    /// How long to nap now, if at all.
    fn nap(&self) -> Option<Duration> {
        let (out, naps) = (self.out.get(), self.naps.get());
        if out < FROM || naps >= NAPS {
            return None;
        }
        self.naps.set(naps + 1);
        Some((EACH * out).min(NAP_MAX))
    }
}

/// Held while a quick event is out; to be dropped by the thread that made it.
pub(crate) struct QuickEvent(());

impl QuickEvent {
    pub(crate) fn begin() -> Self {
        CORE.with(|core| core.out.set(core.out.get() + 1));
        Self(())
    }
}

impl Drop for QuickEvent {
    fn drop(&mut self) {
        // A runtime that is taken down elsewhere may drop what it still held after its thread.
        let _ = CORE.try_with(|core| {
            core.out.set(core.out.get().saturating_sub(1));
            core.naps.set(0);
        });
    }
}

/// What the thread of a core does each time before it waits; for tokio's `on_thread_park`.
pub fn before_waiting() {
    if let Some(nap) = CORE.with(Core::nap) {
        std::thread::sleep(nap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nap() -> Option<Duration> {
        CORE.with(Core::nap)
    }

    #[test]
    fn several_quick_answers_are_waited_for_a_few_times_after_each() {
        let mut out: Vec<_> = (0..2).map(|_| QuickEvent::begin()).collect();
        drop(QuickEvent::begin());
        assert_eq!(nap(), None, "two are out");
        out.push(QuickEvent::begin());
        for _ in 0..NAPS {
            assert_eq!(nap(), Some(EACH * 3));
        }
        assert_eq!(nap(), None, "none has come since");
        out.extend((0..100).map(|_| QuickEvent::begin()));
        assert_eq!(nap(), None);
        out.pop();
        assert_eq!(nap(), Some(NAP_MAX));
        out.clear();
        assert_eq!(nap(), None);
    }

    #[test]
    fn another_core_naps_for_its_own() {
        let _out: Vec<_> = (0..9).map(|_| QuickEvent::begin()).collect();
        drop(QuickEvent::begin());
        assert_eq!(std::thread::spawn(nap).join().expect("it ran"), None);
        assert_eq!(nap(), Some(NAP_MAX));
    }
}
