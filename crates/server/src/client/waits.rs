//! What a call waits for that came before its account may make another.
//!
//! A rate is over in a second, and who deploys makes many calls: so the client comes back when the
//! server says, for a bounded time. Every other refusal is the command's to tell.

use bytes::Bytes;
use http::{header, response::Parts};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long one call waits, all its attempts together.
pub const WAITS_MAX: Duration = Duration::from_secs(30);
/// What a command waits without a word.
const UNTOLD_MAX: Duration = Duration::from_secs(1);
/// Where the server does not say how long.
const WAIT: Duration = Duration::from_secs(1);

type Tell = dyn Fn(&str) + Send + Sync;

/// The waits of all calls of a client, and whom they are told; clones share them.
#[derive(Clone)]
pub struct Waits {
    waited_ms: Arc<AtomicU64>,
    tell: Arc<Tell>,
}

impl Default for Waits {
    fn default() -> Self {
        Self::told_by(|_| {})
    }
}

impl Waits {
    /// Waits that `tell` hears of, once: when they come to more than a moment.
    pub fn told_by(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            waited_ms: Arc::default(),
            tell: Arc::new(tell),
        }
    }

    /// Counts a wait that is about to begin, since the server said `why`.
    pub(super) fn count(&self, wait: Duration, why: impl fmt::Display) {
        let untold_ms = UNTOLD_MAX.as_millis() as u64;
        let wait_ms = wait.as_millis() as u64;
        let before_ms = self.waited_ms.fetch_add(wait_ms, Ordering::Relaxed);
        if before_ms <= untold_ms && before_ms + wait_ms > untold_ms {
            (self.tell)(&format!("waiting, as the server asks: {why}"));
        }
    }
}

/// How long to wait before a call is made again that was refused for its account's rate of calls;
/// nothing for every other answer.
pub(super) fn asked(parts: &Parts, body: &Bytes) -> Option<Duration> {
    if parts.status != http::StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let told: serde_json::Value = serde_json::from_slice(body).ok()?;
    if told["Reason"] != "CallerRateLimitExceeded" {
        return None;
    }
    let said = parts.headers.get(header::RETRY_AFTER);
    let said = said.and_then(|value| value.to_str().ok()?.parse().ok());
    Some(said.map_or(WAIT, Duration::from_secs).max(WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[test]
    fn a_rate_of_calls_is_waited_for_and_nothing_else_is() {
        let check = |status: u16, after: Option<&str>, body: &str, expected: Option<u64>| {
            let mut response = http::Response::builder().status(status);
            if let Some(after) = after {
                response = response.header("retry-after", after);
            }
            let (parts, ()) = response.body(()).unwrap().into_parts();
            let asked = asked(&parts, &Bytes::copy_from_slice(body.as_bytes()));
            assert_eq!(asked.map(|wait| wait.as_secs()), expected, "{body}");
        };
        let rate = r#"{"Reason":"CallerRateLimitExceeded"}"#;
        check(429, Some("3"), rate, Some(3));
        check(429, Some("0"), rate, Some(1));
        check(429, None, rate, Some(1));
        check(429, Some("soon"), rate, Some(1));
        check(400, Some("3"), rate, None);
        let other = r#"{"Reason":"ConcurrentInvocationLimitExceeded"}"#;
        check(429, Some("3"), other, None);
        check(429, Some("3"), "<html>", None);
    }

    #[test]
    fn waits_are_told_once_and_not_the_first_moment() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let waits = Waits::told_by({
            let told = told.clone();
            move |text| told.lock().push(text.to_owned())
        });
        waits.count(Duration::from_secs(1), "first");
        assert!(told.lock().is_empty());
        for _ in 0..3 {
            waits.clone().count(Duration::from_secs(2), "again");
        }
        assert_eq!(*told.lock(), ["waiting, as the server asks: again"]);
    }
}
