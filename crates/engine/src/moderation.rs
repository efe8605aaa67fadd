//! Fewer wake-ups for a core that answers many quick events.
//!
//! A core's thread wakes for every request and for every answer. Each time it takes the processor
//! from an instance in the middle of its run, and both find the caches full of the other's: with
//! runs of forty microseconds that is half of all the processor time there is. Network drivers know
//! the cure as interrupt moderation. While several quick answers are on their way, the thread sleeps
//! for about as long as they take before it looks who is ready, and then serves all of them in one
//! turn.
//!
//! How long that is each core finds out by itself: a nap after which every answer had come was too
//! long, since the processor stood still, and one after which fewer than half had come too short.
//!
//! Delays nobody by more than one nap of [`NAP_MAX`]: it takes the next one only after another quick
//! answer. Never naps for one or two events at a time, nor for runs that take longer, which wait for
//! something else than this processor. Needs to know nothing of who is ready: a wrong nap costs time,
//! never an event.

use std::{cell::Cell, time::Duration};

/// Fewer than these answer soon enough to be waited for.
const FROM: u32 = 3;
/// The shortest nap: less is not worth its timer.
const NAP_MIN: Duration = Duration::from_micros(10);
/// The longest nap.
const NAP_MAX: Duration = Duration::from_micros(100);

thread_local! {
    static CORE: Core = const { Core::new() };
}

/// What one core's thread waits for.
struct Core {
    /// Quick events whose answers are on their way.
    out: Cell<u32>,
    /// Answers since this thread last waited.
    answered: Cell<u32>,
    /// How many were out at the last nap, where it napped before it last waited.
    napped_for: Cell<Option<u32>>,
    nap: Cell<Duration>,
}

impl Core {
    const fn new() -> Self {
        Self {
            out: Cell::new(0),
            answered: Cell::new(0),
            napped_for: Cell::new(None),
            nap: Cell::new(NAP_MIN),
        }
    }

    /// How long to nap now, if at all.
    fn nap(&self) -> Option<Duration> {
        let (out, answered) = (self.out.get(), self.answered.take());
        if let Some(napped_for) = self.napped_for.take() {
            self.learn(napped_for, answered);
        }
        if out < FROM || answered == 0 {
            return None;
        }
        self.napped_for.set(Some(out));
        Some(self.nap.get())
    }

    fn learn(&self, napped_for: u32, answered: u32) {
        let nap = self.nap.get();
        let better = if answered >= napped_for {
            nap * 7 / 8
        } else if answered * 2 < napped_for {
            nap * 9 / 8
        } else {
            nap
        };
        self.nap.set(better.clamp(NAP_MIN, NAP_MAX));
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
            core.answered.set(core.answered.get().saturating_add(1));
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

    fn answers(count: usize) {
        (0..count).for_each(|_| drop(QuickEvent::begin()));
    }

    #[test]
    fn several_quick_answers_are_waited_for_once_each_time_one_has_come() {
        let mut out: Vec<_> = (0..2).map(|_| QuickEvent::begin()).collect();
        answers(1);
        assert_eq!(nap(), None, "two are out");
        out.push(QuickEvent::begin());
        assert_eq!(nap(), None, "none has come since");
        answers(1);
        assert_eq!(nap(), Some(NAP_MIN));
        assert_eq!(nap(), None);
        answers(1);
        out.clear();
        assert_eq!(nap(), None);
    }

    #[test]
    fn a_nap_grows_until_half_have_answered_and_shrinks_when_all_have() {
        let _out: Vec<_> = (0..8).map(|_| QuickEvent::begin()).collect();
        let nap_after = |count: usize, turns: usize| {
            (0..turns).fold(Duration::ZERO, |_, _| {
                answers(count);
                nap().expect("eight are out")
            })
        };
        assert_eq!(nap_after(3, 1), NAP_MIN);
        assert_eq!(nap_after(3, 100), NAP_MAX);
        assert_eq!(nap_after(4, 100), NAP_MAX, "as it should be");
        let shorter = nap_after(8, 3);
        assert!(
            shorter < NAP_MAX * 3 / 4 && shorter > NAP_MAX / 2,
            "{shorter:?}"
        );
        assert_eq!(nap_after(8, 100), NAP_MIN);
    }

    #[test]
    fn another_core_naps_for_its_own() {
        let _out: Vec<_> = (0..9).map(|_| QuickEvent::begin()).collect();
        answers(1);
        assert_eq!(std::thread::spawn(nap).join().expect("it ran"), None);
        assert_eq!(nap(), Some(NAP_MIN));
    }
}
