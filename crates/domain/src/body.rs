//! A body that may be a stream: buffered is a stream of one.

use crate::outcome::Trailer;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use std::{fmt, future::poll_fn, pin::Pin};

/// One step of a body.
#[derive(Debug)]
pub enum Frame {
    /// The next bytes.
    Data(Bytes),
    /// The end, with what is only known then. At most one, last.
    End(Trailer),
}

/// Why a body ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the reader allows.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit that was crossed.
        limit_bytes: u64,
    },
    /// The other side stopped in the middle.
    #[error("the body ended early: {reason}")]
    Broken {
        /// What was seen.
        reason: String,
    },
}

type FrameStream = Pin<Box<dyn Stream<Item = Result<Frame, BodyError>> + Send>>;

enum Inner {
    Full {
        data: Bytes,
        trailer: Option<Trailer>,
    },
    Stream {
        frames: FrameStream,
        len: Option<u64>,
    },
}

/// Bytes on their way, all at once or as they come.
pub struct Body(Inner);

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// All bytes at once.
    pub fn full(data: impl Into<Bytes>) -> Self {
        Self(Inner::Full {
            data: data.into(),
            trailer: None,
        })
    }

    /// All bytes at once and what came of it.
    pub fn full_with_trailer(data: impl Into<Bytes>, trailer: Trailer) -> Self {
        Self(Inner::Full {
            data: data.into(),
            trailer: Some(trailer),
        })
    }

    /// Bytes as they come; `len` when the sender has announced it.
    pub fn stream(
        frames: impl Stream<Item = Result<Frame, BodyError>> + Send + 'static,
        len: Option<u64>,
    ) -> Self {
        Self(Inner::Stream {
            frames: Box::pin(frames),
            len,
        })
    }

    /// The number of bytes, where it is known.
    pub fn len_hint(&self) -> Option<u64> {
        match &self.0 {
            Inner::Full { data, .. } => Some(data.len() as u64),
            Inner::Stream { len, .. } => *len,
        }
    }

    /// The next frame; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<Frame, BodyError>> {
        match &mut self.0 {
            Inner::Full { data, trailer } => {
                if !data.is_empty() {
                    return Some(Ok(Frame::Data(std::mem::take(data))));
                }
                trailer.take().map(|trailer| Ok(Frame::End(trailer)))
            }
            Inner::Stream { frames, .. } => poll_fn(|cx| frames.as_mut().poll_next(cx)).await,
        }
    }

    /// Everything, up to `limit_bytes`; a buffered body is handed over without a copy.
    ///
    /// Errors: [`BodyError::TooLarge`] as soon as the limit is crossed, [`BodyError::Broken`] when
    /// the sender stops early.
    pub async fn collect(self, limit_bytes: u64) -> Result<(Bytes, Option<Trailer>), BodyError> {
        let mut frames = match self.0 {
            Inner::Full { data, trailer } if data.len() as u64 <= limit_bytes => {
                return Ok((data, trailer));
            }
            Inner::Full { .. } => return Err(BodyError::TooLarge { limit_bytes }),
            Inner::Stream { len: Some(len), .. } if len > limit_bytes => {
                return Err(BodyError::TooLarge { limit_bytes });
            }
            Inner::Stream { frames, .. } => frames,
        };
        let (mut first, mut joined, mut trailer) = (None::<Bytes>, BytesMut::new(), None);
        while let Some(frame) = poll_fn(|cx| frames.as_mut().poll_next(cx)).await {
            match frame? {
                Frame::End(end) => trailer = Some(end),
                Frame::Data(data) => {
                    let so_far = first.as_ref().map_or(joined.len(), Bytes::len);
                    if (so_far + data.len()) as u64 > limit_bytes {
                        return Err(BodyError::TooLarge { limit_bytes });
                    }
                    match first.take() {
                        None if joined.is_empty() => first = Some(data),
                        None => joined.extend_from_slice(&data),
                        Some(head) => {
                            joined.reserve(head.len() + data.len());
                            joined.extend_from_slice(&head);
                            joined.extend_from_slice(&data);
                        }
                    }
                }
            }
        }
        Ok((first.unwrap_or_else(|| joined.freeze()), trailer))
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Self::full(data)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Full { data, .. } => write!(f, "Body({} bytes)", data.len()),
            Inner::Stream { len, .. } => write!(f, "Body(stream of {len:?} bytes)"),
        }
    }
}
