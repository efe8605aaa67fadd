//! Connections: accepted, bounded in number and in patience, and finished before the node goes.
//!
//! One listener per core (SO_REUSEPORT is the server's to set); a connection stays on the core that
//! accepted it. A client that is slow to send a head, or that stops reading, is cut off; one that
//! reads slowly is not, unless what it leaves lying stands in the way of others.

use crate::{
    front::Front,
    in_flight::Untaken,
    unread::{Answering, Unread},
};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process;
use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

/// Longest wait for a head, which also bounds an idle connection.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(75);
/// The same for connections that are accepted while places are scarce.
const HEAD_WAIT_CROWDED_MAX: Duration = Duration::from_secs(10);
/// After the stop: longest wait for the first request of a connection that has had none.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(2);
/// After the stop: how long a connection between two requests may still bring one.
const LAST_CALL: Duration = Duration::from_millis(200);
/// Pause after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are always allowed, however few descriptors there are.
const PLACES_MIN: usize = 64;
/// Connections at once where descriptors are not limited.
const PLACES_MAX: usize = 1 << 20;

/// The connections that the public listeners hold together.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

impl Places {
    /// Half of the descriptors that the process may open: the other half is for what serves them.
    pub(crate) fn new() -> Self {
        let descriptors = process::getrlimit(process::Resource::Nofile).current;
        let half = descriptors.map_or(PLACES_MAX, |all| {
            usize::try_from(all / 2).unwrap_or(PLACES_MAX)
        });
        Self::of(half.clamp(PLACES_MIN, PLACES_MAX))
    }

    fn of(all: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    async fn take(&self) -> OwnedSemaphorePermit {
        let taken = self.free.clone().acquire_owned().await;
        taken.expect("nobody closes the semaphore")
    }

    fn head_wait(&self) -> Duration {
        if self.free.available_permits() < self.all / 4 {
            HEAD_WAIT_CROWDED_MAX
        } else {
            HEAD_WAIT_MAX
        }
    }
}

/// What the kernel has accepted for us and we have not, without waiting for more.
fn accepted_already(
    listener: TcpListener,
) -> io::Result<impl Iterator<Item = (TcpStream, IpAddr)>> {
    let listener = listener.into_std()?;
    Ok(std::iter::from_fn(move || {
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let stream = stream
                        .set_nonblocking(true)
                        .and_then(|()| TcpStream::from_std(stream));
                    if let Ok(stream) = stream {
                        return Some((stream, peer.ip()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return None,
            }
        }
    }))
}

/// What a connection has been asked so far.
#[derive(Default)]
struct Seen {
    /// Whether there was a request at all.
    any: AtomicBool,
    /// Whether one is being answered.
    now: AtomicBool,
}

impl Seen {
    /// Resolves when a request is being answered, or after `quiet`.
    async fn until_busy_or(&self, quiet: Duration) {
        let sleep = tokio::time::sleep(quiet);
        tokio::pin!(sleep);
        // Polled with the connection that sets `now`, in one task and after it.
        std::future::poll_fn(|cx| match self.now.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => sleep.as_mut().poll(cx),
        })
        .await;
    }
}

impl Front {
    /// Accepts connections until `stop`; what runs then is finished by [`crate::Api::running`].
    ///
    /// After `stop` the connections are taken that clients made and the kernel accepted before it:
    /// closing the listener resets them, with the calls that they carry.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        // The node is not drained before every core has taken in what waits for it.
        let _serving = self.api.running.token();
        let port = listener.local_addr().map_or(0, |address| address.port());
        let places = self.api.places.clone();
        loop {
            let next = async {
                let place = places.take().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => self.begin(stream, peer.ip(), port, &stop, place),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let last = match accepted_already(listener) {
            Ok(last) => last,
            Err(error) => return tracing::warn!(%error, "the listener could not be emptied"),
        };
        for (stream, peer) in last {
            if let Ok(place) = places.free.clone().try_acquire_owned() {
                self.begin(stream, peer, port, &stop, place);
            }
        }
    }

    /// Serves one connection beside the others.
    fn begin(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        port: u16,
        stop: &CancellationToken,
        place: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let (front, stop) = (self.clone(), stop.clone());
        let head_wait = self.api.places.head_wait();
        let running = self.api.running.clone();
        tokio::spawn(running.track_future(async move {
            front.connection(stream, peer, port, head_wait, stop).await;
            drop(place);
        }));
    }

    /// The same for a connection that an instance made.
    pub(crate) async fn guest(self, stream: TcpStream, port: u16, stop: CancellationToken) {
        let _ = stream.set_nodelay(true);
        let peer = crate::front::GUEST_PEER;
        self.connection(stream, peer, port, HEAD_WAIT_MAX, stop)
            .await;
    }

    /// Serves one connection to its end; after `stop` it ends with the answer that is under way.
    async fn connection(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: IpAddr,
        port: u16,
        head_wait: Duration,
        stop: CancellationToken,
    ) {
        let header_bytes = self.api.limits.now().header_bytes as usize;
        let (seen, answering) = (Arc::new(Seen::default()), Answering::default());
        let (service_seen, service_answering) = (seen.clone(), answering.clone());
        let service = service_fn(move |request| {
            let (front, seen) = (self.clone(), service_seen.clone());
            let answering = service_answering.clone();
            seen.any.store(true, Ordering::Relaxed);
            seen.now.store(true, Ordering::Relaxed);
            async move {
                let mut response = front.answer(request, peer, port).await;
                if let Some(untaken) = response.extensions_mut().remove::<Untaken>() {
                    *answering.lock() = Some(untaken);
                }
                seen.now.store(false, Ordering::Relaxed);
                Ok::<_, Infallible>(response.map(Full::new))
            }
        });
        // hyper's own bound of 100 headers stands: with another it fills two arrays of that length
        // on the heap for every request.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_wait)
            .max_buf_size(header_bytes.max(8192))
            .serve_connection(TokioIo::new(Unread::new(stream, answering)), service);
        tokio::pin!(connection);
        let mut ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stop.cancelled() => None,
        };
        if ended.is_none() && !seen.any.load(Ordering::Relaxed) {
            // Its first request may be on its way.
            connection.as_mut().graceful_shutdown();
            let first = tokio::time::timeout(FIRST_REQUEST_MAX, connection.as_mut()).await;
            if first.is_err() && !seen.any.load(Ordering::Relaxed) {
                return;
            }
            ended = first.ok();
        } else if ended.is_none() && !seen.now.load(Ordering::Relaxed) {
            // hyper would close it here and now, with a request that has arrived and is not read.
            ended = tokio::select! {
                biased;
                ended = connection.as_mut() => Some(ended),
                () = seen.until_busy_or(LAST_CALL) => None,
            };
        }
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpStream as Client},
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn what_the_kernel_accepted_is_taken_before_the_listener_closes() {
        let (listener, address) = listen().await;
        let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(address).unwrap()).collect();
        for client in &mut clients {
            client.write_all(b"call").unwrap();
        }
        let last: Vec<(TcpStream, IpAddr)> = accepted_already(listener).unwrap().collect();
        assert_eq!(last.len(), clients.len());
        assert!(Client::connect(address).is_err(), "the listener is closed");
        for (mut stream, _) in last {
            let mut call = [0; 4];
            stream.read_exact(&mut call).await.unwrap();
            assert_eq!(&call, b"call");
            stream.write_all(b"done").await.unwrap();
        }
        for client in &mut clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "done");
        }
    }

    #[tokio::test]
    async fn places_come_back_and_patience_shrinks_as_they_go() {
        let places = Places::of(8);
        assert_eq!(places.head_wait(), HEAD_WAIT_MAX);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(places.take().await);
        }
        assert_eq!(places.head_wait(), HEAD_WAIT_CROWDED_MAX);
        let more = tokio::time::timeout(Duration::from_millis(50), places.take());
        assert!(more.await.is_err(), "a ninth waits");
        held.clear();
        assert_eq!(places.head_wait(), HEAD_WAIT_MAX);
        drop(places.take().await);
    }
}
