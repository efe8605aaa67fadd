//! A stream whose other end must take what is written to it.
//!
//! A client that asks and does not read the answer holds a connection, an answer and its place
//! among the connections for as long as it likes: nothing else times a write. Any byte that it
//! takes starts its time anew, so that who reads slowly is served to the end.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long nothing may be taken. The kernel tells of room once a third of its buffer, about
/// 100 KiB for a slow reader, has gone: at a kilobyte per second somebody is still reading.
const UNREAD_MAX: Duration = Duration::from_secs(120);

/// The stream.
pub(crate) struct Unread<S> {
    stream: S,
    /// Runs while a write waits; none is made for an answer that fits the kernel's buffer.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S> Unread<S> {
    /// Watches the writes of `stream`.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            patience: None,
        }
    }

    fn timed<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep(UNREAD_MAX)));
        match patience.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unread<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unread<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timed(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.timed(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn who_stops_reading_is_cut_off() {
        let (ours, _theirs) = duplex(64);
        let failed = Unread::new(ours).write_all(&[0; 1000]).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_served_to_the_end() {
        let (ours, mut theirs) = duplex(64);
        let writing = tokio::spawn(async move { Unread::new(ours).write_all(&[0; 1000]).await });
        let mut taken = Vec::new();
        let mut some = [0; 10];
        loop {
            sleep(UNREAD_MAX - Duration::from_secs(1)).await;
            match theirs.read(&mut some).await.unwrap() {
                0 => break,
                count => taken.extend_from_slice(&some[..count]),
            }
        }
        writing.await.unwrap().unwrap();
        assert_eq!(taken.len(), 1000);
    }
}
