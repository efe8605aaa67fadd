//! Reading a request's body within its limit and within what all bodies may hold together.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Longest wait for the next bytes of a body.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(30);

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadBodyError {
    /// Larger than this API takes.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// All bodies together hold too much already.
    #[error("the node holds too many body bytes at the moment")]
    Busy,
    /// Nothing came for [`BODY_IDLE_MAX`].
    #[error("the body stalled")]
    Stalled,
    /// The client went away or broke HTTP.
    #[error("the body ended early")]
    Broken,
}

/// Bytes that all bodies of the node may hold at once.
#[derive(Debug, Clone)]
pub struct BytesInFlight {
    held: Arc<AtomicU64>,
    limit: u64,
}

/// A share of [`BytesInFlight`], given back when dropped.
#[derive(Debug)]
pub struct HeldBytes {
    of: BytesInFlight,
    bytes: u64,
}

impl BytesInFlight {
    /// At most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            held: Arc::default(),
            limit,
        }
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn hold(&self) -> HeldBytes {
        HeldBytes {
            of: self.clone(),
            bytes: 0,
        }
    }
}

impl HeldBytes {
    fn grow(&mut self, by: u64) -> Result<(), ReadBodyError> {
        let before = self.of.held.fetch_add(by, Ordering::Relaxed);
        self.bytes += by;
        if before + by > self.of.limit {
            Err(ReadBodyError::Busy)
        } else {
            Ok(())
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body whole. An announced length is booked, and refused, before a byte is read.
///
/// Errors: [`ReadBodyError`].
pub async fn read_body(
    mut body: Incoming,
    limit_bytes: u64,
    in_flight: &BytesInFlight,
) -> Result<(Bytes, HeldBytes), ReadBodyError> {
    let mut held = in_flight.hold();
    let announced = body.size_hint().exact();
    if let Some(length) = announced {
        if length > limit_bytes {
            return Err(ReadBodyError::TooLarge { limit_bytes });
        }
        held.grow(length)?;
    }
    let mut first = Bytes::new();
    let mut joined: Option<BytesMut> = None;
    loop {
        let next = tokio::time::timeout(BODY_IDLE_MAX, body.frame());
        let Some(frame) = next.await.map_err(|_| ReadBodyError::Stalled)? else {
            break;
        };
        let Ok(data) = frame.map_err(|_| ReadBodyError::Broken)?.into_data() else {
            continue;
        };
        let so_far = joined.as_ref().map_or(first.len(), BytesMut::len) as u64;
        if so_far + data.len() as u64 > limit_bytes {
            return Err(ReadBodyError::TooLarge { limit_bytes });
        }
        if announced.is_none() {
            held.grow(data.len() as u64)?;
        }
        match &mut joined {
            Some(joined) => joined.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut both =
                    BytesMut::with_capacity(announced.unwrap_or(0).max(so_far * 2) as usize);
                both.extend_from_slice(&first);
                both.extend_from_slice(&data);
                joined = Some(both);
            }
        }
    }
    Ok((joined.map_or(first, BytesMut::freeze), held))
}
