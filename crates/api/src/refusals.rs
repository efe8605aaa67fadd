//! Counts the requests that were refused since they met a limit of their account's, or of the server's,
//! before anything was done for them. Invocations that were let in and turned away are the engine's to count.

use std::sync::atomic::{AtomicU64, Ordering};

/// The limit that a refused request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Connections at a time.
    Connections,
    /// Requests in a second.
    Requests,
    /// Calls of GetFunction in a second.
    GetFunction,
    /// Calls of GetPolicy in a second.
    GetPolicy,
    /// Other calls that manage, in a second.
    Management,
    /// Calls in a second that change something of an account's logs.
    LogsChanges,
    /// Calls of Freehold's own operations in a second.
    Own,
    /// Bytes of a request's line and headers.
    HeaderBytes,
    /// Bytes of a request's body.
    BodyBytes,
    /// Bytes of requests and answers held at a time.
    BytesInFlight,
    /// Requests beside the first of their connection, of all at a time.
    Streams,
}

const ALL: [Refusal; 11] = [
    Refusal::Connections,
    Refusal::Requests,
    Refusal::GetFunction,
    Refusal::GetPolicy,
    Refusal::Management,
    Refusal::LogsChanges,
    Refusal::Own,
    Refusal::HeaderBytes,
    Refusal::BodyBytes,
    Refusal::BytesInFlight,
    Refusal::Streams,
];

/// See the module.
#[derive(Default)]
pub(crate) struct Refusals([AtomicU64; ALL.len()]);

impl Refusals {
    pub(crate) fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them, with how often each was met.
    pub(crate) fn read(&self) -> [(Refusal, u64); ALL.len()] {
        ALL.map(|refusal| (refusal, self.0[refusal as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_on_its_own() {
        let refusals = Refusals::default();
        for (times, refusal) in ALL.into_iter().enumerate() {
            (0..times).for_each(|_| refusals.count(refusal));
        }
        let read = refusals.read();
        assert!(
            read.iter()
                .enumerate()
                .all(|(times, read)| *read == (ALL[times], times as u64))
        );
    }
}
