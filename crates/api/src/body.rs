//! Reading a request's body: within its limit, its time, and what bodies may hold together.
//!
//! An announced length is believed for [`AHEAD_BYTES`] only; beyond it bytes are booked as they
//! arrive, so that announcing much and sending little holds little.

use crate::in_flight::{HeldBytes, UsedUp};
use bytes::{Bytes, BytesMut};
use freehold_domain::{TenantLimit, limits::Limits};
use http_body_util::BodyExt;
use hyper::body::Body;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for the next bytes of a body.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(30);
/// Time that every body has, to which comes what its bytes earn.
const GRACE: Duration = Duration::from_secs(30);
/// Bytes per second that keep a body alive once its grace is used up.
const BYTES_PER_S_MIN: u64 = 64 << 10;
/// Bytes of an announced length that are booked, and made room for, before they arrive.
const AHEAD_BYTES: u64 = 256 << 10;

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadBodyError {
    /// Larger than this API takes.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// All bodies of the node, or of the caller's share, hold too much already.
    #[error("{}", busy(.0))]
    Busy(UsedUp),
    /// Nothing came for [`BODY_IDLE_MAX`], or too little.
    #[error("the body stalled")]
    Stalled,
    /// The client went away or broke HTTP.
    #[error("the body ended early")]
    Broken,
}

impl From<UsedUp> for ReadBodyError {
    fn from(used_up: UsedUp) -> Self {
        Self::Busy(used_up)
    }
}

fn busy(used_up: &UsedUp) -> String {
    let bytes = used_up.limit_bytes;
    if used_up.is_by_peer {
        return "calls of function URLs from this address hold its part of the body bytes that such calls may; take their answers first, or try again".to_owned();
    }
    match used_up.is_own {
        true => format!(
            "the account's requests hold all of the {bytes} body bytes that they may at a time; {}",
            TenantLimit::BytesInFlight.raise()
        ),
        false => format!(
            "requests hold all of the {bytes} body bytes at the moment that this share of limits.bytes_in_flight has"
        ),
    }
}

/// The largest request that carries a package, which arrives as base64 within JSON.
pub(crate) fn package_limit_bytes(limits: &Limits) -> u64 {
    limits.package_zip_bytes.div_ceil(3) * 4 + (256 << 10)
}

/// Reads a body whole, booking it on `held`.
///
/// Errors: [`ReadBodyError`].
pub async fn read_body<B>(
    body: &mut B,
    limit_bytes: u64,
    held: &mut HeldBytes,
) -> Result<Bytes, ReadBodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > limit_bytes) {
        return Err(ReadBodyError::TooLarge { limit_bytes });
    }
    held.grow_to(announced.unwrap_or(0).min(AHEAD_BYTES))?;
    let mut first = Bytes::new();
    let mut joined: Option<BytesMut> = None;
    let (begun, mut so_far) = (Instant::now(), 0);
    loop {
        let earned = Duration::from_millis(so_far * 1000 / BYTES_PER_S_MIN);
        let due = (begun + GRACE + earned).min(Instant::now() + BODY_IDLE_MAX);
        let next = tokio::time::timeout_at(due, body.frame()).await;
        let Some(frame) = next.map_err(|_| ReadBodyError::Stalled)? else {
            break;
        };
        let frame = frame.map_err(|_| ReadBodyError::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        so_far += data.len() as u64;
        if so_far > limit_bytes {
            return Err(ReadBodyError::TooLarge { limit_bytes });
        }
        held.grow_to(so_far)?;
        match &mut joined {
            Some(joined) => joined.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let room = announced.unwrap_or(0).min(AHEAD_BYTES).max(so_far * 2);
                let mut both = BytesMut::with_capacity(room as usize);
                both.extend_from_slice(&first);
                both.extend_from_slice(&data);
                joined = Some(both);
            }
        }
    }
    Ok(joined.map_or(first, BytesMut::freeze))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_flight::{Bringer, BytesInFlight};
    use futures_util::{StreamExt, stream};
    use hyper::body::{Frame, SizeHint};
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    /// A body that announces `length` and sends pieces, a pause between any two.
    struct Slow<S> {
        length: u64,
        pieces: S,
    }

    impl<S: futures_util::Stream<Item = Bytes> + Unpin> Body for Slow<S> {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let next = self.pieces.poll_next_unpin(cx);
            next.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.length)
        }
    }

    fn slow(
        length: u64,
        piece: usize,
        pause: Duration,
    ) -> Slow<impl futures_util::Stream<Item = Bytes> + Unpin> {
        let count = length.div_ceil(piece as u64);
        let pieces = stream::iter(0..count).then(move |at| async move {
            if at > 0 {
                tokio::time::sleep(pause).await;
            }
            Bytes::from(vec![b'x'; piece])
        });
        Slow {
            length,
            pieces: Box::pin(pieces),
        }
    }

    fn pot() -> BytesInFlight {
        BytesInFlight::new(Limits::default().into(), Default::default())
    }

    fn held(pot: &BytesInFlight) -> HeldBytes {
        pot.book(Bringer::Key(&"111111111111".parse().unwrap()), None)
    }

    const LIMIT: u64 = 67 << 20;

    #[tokio::test(start_paused = true)]
    async fn an_announced_length_holds_only_what_came() {
        let pot = pot();
        let mut bodies = Vec::new();
        for _ in 0..100 {
            let mut held = held(&pot);
            bodies.push(tokio::spawn(async move {
                let mut body = slow(LIMIT, 1, Duration::from_secs(20));
                read_body(&mut body, LIMIT, &mut held).await
            }));
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(pot.held(), 100 * AHEAD_BYTES);
        for body in bodies {
            assert_eq!(body.await.unwrap(), Err(ReadBodyError::Stalled));
        }
        assert_eq!(pot.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_given_the_time_that_its_bytes_earn() {
        let check = async |length, piece, pause_ms, fine: bool| {
            let pot = pot();
            let mut body = slow(length, piece, Duration::from_millis(pause_ms));
            let read = read_body(&mut body, LIMIT, &mut held(&pot)).await;
            let expected = if fine {
                Ok(length)
            } else {
                Err(ReadBodyError::Stalled)
            };
            assert_eq!(
                read.map(|body| body.len() as u64),
                expected,
                "{length} bytes, {piece} every {pause_ms} ms"
            );
        };
        check(200, 100, 29_000, true).await;
        check(200, 100, 31_000, false).await;
        check(28, 1, 1_000, true).await;
        check(32, 1, 1_000, false).await;
        // More than 64 KiB each second goes on for as long as it takes.
        check(66 << 20, 66 << 10, 1_000, true).await;
        check(6 << 20, 32 << 10, 1_000, false).await;
        // Having sent much earns no leave to stall.
        check(64 << 20, 32 << 20, 31_000, false).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_beyond_the_limit_is_refused_announced_or_not() {
        let pot = pot();
        let mut body = slow(101, 1, Duration::from_millis(1));
        let read = read_body(&mut body, 100, &mut held(&pot)).await;
        assert_eq!(read, Err(ReadBodyError::TooLarge { limit_bytes: 100 }));
        let pieces = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; 101])))]);
        let mut body = http_body_util::StreamBody::new(pieces);
        let read = read_body(&mut body, 100, &mut held(&pot)).await;
        assert_eq!(read, Err(ReadBodyError::TooLarge { limit_bytes: 100 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_up_share_refuses_in_the_middle_of_a_body() {
        let limits = Limits {
            bytes_in_flight: 1 << 20,
            ..Limits::default()
        };
        let pot = BytesInFlight::new(limits.into(), Default::default());
        let mut body = slow(2 << 20, 64 << 10, Duration::from_millis(1));
        let read = read_body(&mut body, LIMIT, &mut held(&pot)).await;
        assert!(matches!(read, Err(ReadBodyError::Busy(_))), "{read:?}");
        assert_eq!(pot.held(), 0);
    }
}
