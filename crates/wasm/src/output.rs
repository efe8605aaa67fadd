//! Where a guest writes: its log, or the answer.

use bytes::Bytes;
use freehold_domain::ports::{GuestOutput, GuestStream};
use parking_lot::Mutex;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::{
    async_trait,
    poll::Pollable,
    streams::{OutputStream, StreamError, StreamResult},
};

/// Bytes that a guest may write in one call.
const PERMIT_BYTES: usize = 64 << 10;

/// One of the two; clones write to the same place.
#[derive(Clone)]
pub(crate) enum Sink {
    Log(GuestStream, Arc<dyn GuestOutput>),
    Answer(Arc<AnswerBuffer>),
}

/// An answer that grows up to its limit.
pub(crate) struct AnswerBuffer {
    limit_bytes: u64,
    state: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    is_over: bool,
}

impl AnswerBuffer {
    pub(crate) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            state: Mutex::default(),
        })
    }

    /// What was written; `None` when it was more than the limit.
    pub(crate) fn take(&self) -> Option<Bytes> {
        let written = std::mem::take(&mut *self.state.lock());
        (!written.is_over).then(|| written.bytes.into())
    }

    fn write(&self, bytes: &[u8]) -> Result<(), OverLimit> {
        let mut state = self.state.lock();
        if (state.bytes.len() + bytes.len()) as u64 > self.limit_bytes {
            state.is_over = true;
            return Err(OverLimit);
        }
        state.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// The answer is larger than it may be: nothing that the guest does can mend it.
#[derive(Debug, thiserror::Error)]
#[error("the answer is larger than its limit")]
pub(crate) struct OverLimit;

impl Sink {
    fn put(&self, bytes: &[u8]) -> Result<(), OverLimit> {
        match self {
            Self::Log(stream, output) => {
                output.write(*stream, bytes);
                Ok(())
            }
            Self::Answer(buffer) => buffer.write(bytes),
        }
    }
}

impl IsTerminal for Sink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Sink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {}
}

impl OutputStream for Sink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes)
            .map_err(|over| StreamError::Trap(over.into()))
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

impl AsyncWrite for Sink {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = self.put(bytes).map(|()| bytes.len());
        Poll::Ready(done.map_err(io::Error::other))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_at_its_limit() {
        let buffer = AnswerBuffer::new(4);
        assert!(buffer.write(b"abcd").is_ok());
        assert_eq!(buffer.take().as_deref(), Some(&b"abcd"[..]));
        assert!(buffer.write(b"abc").is_ok());
        assert!(buffer.write(b"de").is_err());
        assert_eq!(buffer.take(), None);
    }
}
