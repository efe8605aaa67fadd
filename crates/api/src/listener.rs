//! Connections: accepted, bounded in number and in patience, and finished before the node goes.
//!
//! One listener per core (SO_REUSEPORT is the server's to set); a connection stays on the core that
//! accepted it. A client that is slow to send a head, or that stops reading, is cut off; one that
//! reads slowly is not, unless what it leaves lying stands in the way of others.
//!
//! ```text
//!  accepted ─┬─ in clear ────────────────────▶ HTTP/1.1
//!            └─ TLS ─▶ handshake ─▶ ALPN ─┬──▶ HTTP/1.1
//!                                         └──▶ HTTP/2 (http2.rs)
//! ```

mod http2;

use crate::{
    door::{self, Door},
    front::{Audience, Front, Seat, Via},
    hosts::Hosts,
    in_flight::Untaken,
    proxies::Proxies,
    request::Tls,
    unread::{Answering, Unread},
};
use freehold_domain::{answers::Peer, live::Live};
use http::{Version, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustix::process;
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

/// Longest wait for a head, which also bounds an idle connection.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(75);
/// The same for connections that are accepted while places are scarce.
const HEAD_WAIT_CROWDED_MAX: Duration = Duration::from_secs(10);
/// After the stop: longest wait for the first request of a connection that has had none.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(2);
/// After the stop: how long a connection between two requests may still bring one, since any such
/// connection brought one. Clients that are still calling use those that they have, and learn with
/// the answer that it was the last.
const LAST_CALL: Duration = Duration::from_millis(200);
/// After the stop: longest wait for one.
const LAST_CALL_MAX: Duration = FIRST_REQUEST_MAX;
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
    /// Requests beside the first of their connection.
    beside: Arc<Beside>,
    /// After the stop: when a connection between two requests last brought one.
    last_call: Arc<Mutex<Option<Instant>>>,
}

/// Requests of all connections that are others' beside on their connection. A head with what is made
/// of it takes some tens of KiB, which is on no share.
const BESIDE_MAX: usize = 4096;

/// Places for those. A peer has one as long as it holds fewer than are left: alone it comes to half, the
/// next to half of what is left, so that nobody keeps all others out.
#[derive(Debug)]
struct Beside {
    held: Mutex<BesideHeld>,
    all: usize,
}

#[derive(Debug, Default)]
struct BesideHeld {
    count: usize,
    by_peer: HashMap<Peer, usize>,
}

/// One of them, given back when dropped.
struct BesidePlace {
    beside: Arc<Beside>,
    peer: Peer,
}

impl Beside {
    fn of(all: usize) -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::default(),
            all,
        })
    }

    fn take(self: &Arc<Self>, peer: Peer) -> Option<BesidePlace> {
        let mut held = self.held.lock();
        let its = held.by_peer.get(&peer).copied().unwrap_or_default();
        if its >= self.all - held.count {
            return None;
        }
        held.by_peer.insert(peer.clone(), its + 1);
        held.count += 1;
        Some(BesidePlace {
            beside: self.clone(),
            peer,
        })
    }
}

impl Drop for BesidePlace {
    fn drop(&mut self) {
        let mut held = self.beside.held.lock();
        held.count -= 1;
        if let Some(its) = held.by_peer.get_mut(&self.peer) {
            *its -= 1;
            if *its == 0 {
                held.by_peer.remove(&self.peer);
            }
        }
    }
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
            beside: Beside::of(BESIDE_MAX),
            last_call: Arc::default(),
        }
    }

    async fn take(&self) -> OwnedSemaphorePermit {
        let taken = self.free.clone().acquire_owned().await;
        taken.expect("nobody closes the semaphore")
    }

    fn head_wait(&self) -> Duration {
        if self.is_crowded() {
            HEAD_WAIT_CROWDED_MAX
        } else {
            HEAD_WAIT_MAX
        }
    }

    fn is_crowded(&self) -> bool {
        self.free.available_permits() < self.all / 4
    }
}

/// What is known of a connection.
struct Line {
    peer: IpAddr,
    /// The listener's port.
    port: u16,
    /// Whether it is encrypted.
    is_secure: bool,
    /// How, once the handshake is over.
    tls: Option<Tls>,
    /// The listener's names; nothing where whoever connects may name any.
    hosts: Option<Arc<Hosts>>,
    /// Whose word is taken for who asks; nothing where who connected is none of them.
    proxies: Option<Arc<Proxies>>,
    /// Longest wait for a head.
    patience: Duration,
}

impl Line {
    /// What of it goes with a request.
    fn via(&self, request: &hyper::Request<Incoming>) -> Via {
        let (mut peer, mut is_secure, mut tls) = (self.peer, self.is_secure, self.tls);
        if let Some(proxies) = &self.proxies {
            peer = proxies.origin(request.headers(), peer);
            // What the caller agreed on was with the proxy.
            tls = None;
            is_secure = Proxies::is_secure(request.headers()).unwrap_or(is_secure);
        }
        Via {
            peer,
            port: self.port,
            is_secure,
            tls,
            names_us: match &self.hosts {
                Some(hosts) => names(hosts, request),
                None => true,
            },
        }
    }
}

/// Whether a request is for one of our names. Before HTTP/1.1 it may have none.
pub(crate) fn names<B>(hosts: &Hosts, request: &hyper::Request<B>) -> bool {
    let authority = request.uri().authority();
    let header = || request.headers().get(header::HOST)?.to_str().ok();
    match authority.map(|one| one.as_str()).or_else(header) {
        Some(host) => hosts.know(host),
        None => {
            request.version() < Version::HTTP_11 && !request.headers().contains_key(header::HOST)
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
    /// How many requests there were.
    requests: AtomicU64,
    /// Whether one is being answered.
    now: AtomicBool,
}

impl Seen {
    fn begins(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.now.store(true, Ordering::Relaxed);
    }

    fn was_asked(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Resolves when a request is being answered, or when none comes any more.
    async fn until_last_call(&self, places: &Places) {
        let begun = Instant::now();
        let mut requests = self.requests.load(Ordering::Relaxed);
        let sleep = tokio::time::sleep_until(begun + LAST_CALL);
        tokio::pin!(sleep);
        // Polled with the connection that says what begins, in one task and after it.
        std::future::poll_fn(|cx| {
            let now = self.now.load(Ordering::Relaxed);
            let before = std::mem::replace(&mut requests, self.requests.load(Ordering::Relaxed));
            // One that was answered at once counts too.
            if now || requests != before {
                *places.last_call.lock() = Some(Instant::now());
            }
            if now {
                return Poll::Ready(());
            }
            while sleep.as_mut().poll(cx).is_ready() {
                let others = places.last_call.lock().unwrap_or(begun);
                let until = (others + LAST_CALL).min(begun + LAST_CALL_MAX);
                if until <= sleep.deadline() {
                    return Poll::Ready(());
                }
                sleep.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await;
    }
}

impl Front {
    /// Accepts connections until `stop`; what runs then is finished by [`crate::Api::running`].
    ///
    /// After `stop` the connections are taken that clients made and the kernel accepted before it:
    /// closing the listener resets them, with the calls that they carry.
    pub async fn serve(self, listener: TcpListener, door: Door, stop: CancellationToken) {
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
                Ok((stream, peer)) => self.begin(stream, peer.ip(), port, &door, &stop, place),
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
                self.begin(stream, peer, port, &door, &stop, place);
            }
        }
    }

    /// Serves one connection beside the others.
    fn begin(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        port: u16,
        door: &Door,
        stop: &CancellationToken,
        place: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let (front, stop) = (self.clone(), stop.clone());
        let line = Line {
            peer,
            port,
            is_secure: door.tls.is_some(),
            tls: None,
            hosts: Some(door.hosts.whole()),
            proxies: Some(door.proxies.whole()).filter(|proxies| proxies.have(peer)),
            patience: self.api.places.head_wait(),
        };
        let (tls, running) = (door.tls.clone(), self.api.running.clone());
        tokio::spawn(running.track_future(async move {
            match tls {
                None => {
                    let answering = Arc::<Answering>::default();
                    let stream = Unread::new(stream, answering.clone());
                    front.http1(stream, answering, line, stop).await;
                }
                // Boxed: one in clear would carry the room for it.
                Some(tls) => Box::pin(front.secure(stream, tls, line, stop)).await,
            }
            drop(place);
        }));
    }

    /// Serves one connection once it is encrypted.
    async fn secure(
        self,
        stream: TcpStream,
        tls: Live<Arc<ServerConfig>>,
        line: Line,
        stop: CancellationToken,
    ) {
        let answering = Arc::<Answering>::default();
        let is_crowded = self.api.places.is_crowded();
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(FIRST_REQUEST_MAX).await;
        };
        let stream = tokio::select! {
            stream = door::encrypt(&tls, stream, answering.clone(), is_crowded) => stream,
            () = stopped => None,
        };
        let Some(stream) = stream else { return };
        let line = Line {
            tls: door::agreed(stream.get_ref().1),
            ..line
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.http2(stream, answering, line, stop).await,
            // An authority that proves a name: the handshake was the answer (RFC 8737).
            Some(b"acme-tls/1") => {}
            _ => self.http1(stream, answering, line, stop).await,
        }
    }

    /// The same for a connection that an instance made.
    pub(crate) async fn guest(self, stream: TcpStream, port: u16, stop: CancellationToken) {
        let _ = stream.set_nodelay(true);
        debug_assert!(matches!(self.audience, Audience::Instance(_)));
        let line = Line {
            peer: crate::front::GUEST_PEER,
            port,
            is_secure: false,
            tls: None,
            hosts: None,
            proxies: None,
            patience: HEAD_WAIT_MAX,
        };
        let answering = Arc::<Answering>::default();
        let stream = Unread::new(stream, answering.clone());
        self.http1(stream, answering, line, stop).await;
    }

    /// Serves one connection to its end; after `stop` it ends with the answer that is under way.
    /// `answering` is what the stream below times.
    async fn http1(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        answering: Arc<Answering>,
        line: Line,
        stop: CancellationToken,
    ) {
        let header_bytes = self.api.limits.now().header_bytes as usize;
        let (seen, patience) = (Arc::new(Seen::default()), line.patience);
        let places = self.api.places.clone();
        let (service_seen, seat) = (seen.clone(), Arc::new(Seat::default()));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let via = line.via(&request);
            let (front, seen, seat) = (self.clone(), service_seen.clone(), seat.clone());
            let answering = answering.clone();
            seen.begins();
            async move {
                let mut response = front.answer(request, via, &seat).await;
                if let Some(untaken) = response.extensions_mut().remove::<Untaken>() {
                    answering.answers_with(untaken);
                }
                seen.now.store(false, Ordering::Relaxed);
                Ok::<_, Infallible>(response.map(Full::new))
            }
        });
        // hyper's own bound of 100 headers stands: with another it fills two arrays of that length
        // on the heap for every request.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(header_bytes.max(8192))
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stop.cancelled() => None,
        };
        if ended.is_none() && !seen.was_asked() {
            // Its first request may be on its way.
            connection.as_mut().graceful_shutdown();
            let first = tokio::time::timeout(FIRST_REQUEST_MAX, connection.as_mut()).await;
            if first.is_err() && !seen.was_asked() {
                return;
            }
            ended = first.ok();
        } else if ended.is_none() && !seen.now.load(Ordering::Relaxed) {
            // hyper would close it here and now, with a request that has arrived and is not read.
            ended = tokio::select! {
                biased;
                ended = connection.as_mut() => Some(ended),
                () = seen.until_last_call(&places) => None,
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

    #[test]
    fn a_peer_leaves_places_to_others() {
        let beside = Beside::of(8);
        let peer = |last| Peer::at([192, 0, 2, last].into());
        let all = |last| std::iter::from_fn(|| beside.take(peer(last))).collect::<Vec<_>>();
        let (one, two, three) = (all(1), all(2), all(3));
        assert_eq!([one.len(), two.len(), three.len()], [4, 2, 1]);
        assert_eq!(all(4).len(), 1);
        drop(two);
        assert!(beside.take(peer(1)).is_none() && beside.take(peer(3)).is_some());
        drop((one, three));
        assert!(beside.held.lock().by_peer.is_empty() && beside.held.lock().count == 0);
    }

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

    #[tokio::test(start_paused = true)]
    async fn a_connection_between_requests_waits_while_others_bring_some() {
        let places = Places::of(8);
        let wait = async || {
            let begun = Instant::now();
            Seen::default().until_last_call(&places).await;
            begun.elapsed().as_millis()
        };
        let brings = async |every: u64, times: usize| {
            let seen = Seen::default();
            seen.begins();
            for _ in 0..times {
                tokio::time::sleep(Duration::from_millis(every)).await;
                seen.until_last_call(&places).await;
            }
        };
        let (quiet, longest) = (LAST_CALL.as_millis(), LAST_CALL_MAX.as_millis());
        assert_eq!(wait().await, quiet);
        assert_eq!(tokio::join!(wait(), brings(150, 3)).0, 450 + quiet);
        assert_eq!(tokio::join!(wait(), brings(300, 1)).0, quiet, "too late");
        assert_eq!(tokio::join!(wait(), brings(100, 50)).0, longest);
        let answers_at_once = async {
            let seen = Seen::default();
            let asked = async {
                for _ in 0..3 {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    seen.begins();
                    seen.now.store(false, Ordering::Relaxed);
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = asked => {}
                () = seen.until_last_call(&places) => {}
            }
        };
        assert_eq!(tokio::join!(wait(), answers_at_once).0, 450 + quiet);
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
