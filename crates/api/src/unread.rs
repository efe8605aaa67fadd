//! A stream whose other end must take what is written to it.
//!
//! A client that asks and does not read the answer holds a connection, an answer and its place
//! among the connections for as long as it likes: nothing else times a write. Any byte that it
//! takes starts its time anew, so that who reads slowly is served to the end; but for a large
//! answer that stands in the way of others, which then has to be taken as fast as a body has to be
//! brought.

use crate::in_flight::Untaken;
use parking_lot::Mutex;
use std::{
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};

/// How long nothing may be taken. The kernel tells of room once a third of its buffer, about
/// 100 KiB for a slow reader, has gone: at a kilobyte per second somebody is still reading.
const UNREAD_MAX: Duration = Duration::from_secs(120);
/// Time that every answer has while it stands in the way of others, to which comes what the bytes
/// that were taken earn.
const CROWDED_GRACE: Duration = Duration::from_secs(30);
/// Bytes per second that keep such an answer alive once its grace is used up.
const CROWDED_BYTES_PER_S: u64 = 64 << 10;
/// How often it is looked whether there is a crowd.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often a stream that lingers is looked at: at first, and at the least.
const LOOK_WHILE_LINGERING: Duration = Duration::from_millis(200);
const LOOK_WHILE_LINGERING_MAX: Duration = Duration::from_secs(3);
/// Bytes per second that keep a stream lingering.
const LINGER_BYTES_PER_S: u64 = 1 << 10;
/// How long a stream lingers of which everything has arrived and nothing is heard: its client may be
/// reading what has.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// The same while something is heard.
const LINGER_MAX: Duration = Duration::from_secs(30);

/// Bytes of a socket that its other end has not acknowledged, the end of the stream counted as one.
pub type Unsent = fn(BorrowedFd<'_>) -> io::Result<u64>;

/// What whoever answers on a connection and the stream below tell each other.
pub(crate) struct Answering<S = TcpStream> {
    /// The answer on its way, where that is large enough to count.
    untaken: Mutex<Option<Untaken>>,
    is_waiting: AtomicBool,
    /// Whether the stream is wanted once its connection has let go of it.
    is_kept: AtomicBool,
    left: Mutex<Option<S>>,
    /// Bytes that were given to the kernel.
    written: AtomicU64,
}

impl<S> Default for Answering<S> {
    fn default() -> Self {
        Self {
            untaken: Mutex::default(),
            is_waiting: AtomicBool::new(false),
            is_kept: AtomicBool::new(false),
            left: Mutex::new(None),
            written: AtomicU64::new(0),
        }
    }
}

impl<S> Answering<S> {
    /// Has the stream stay once its connection has let go of it.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// The stream of a connection that has let go of it.
    pub(crate) fn left(&self) -> Option<S> {
        self.left.lock().take()
    }

    /// Bytes that were given to the kernel so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// This one is on its way now.
    pub(crate) fn answers_with(&self, untaken: Untaken) {
        *self.untaken.lock() = Some(untaken);
    }

    /// Whether something is written that the kernel has no room for yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed)
    }
}

/// The stream.
pub(crate) struct Unread<S> {
    /// There until this is dropped.
    stream: Option<S>,
    answering: Arc<Answering<S>>,
    /// There from the first write that waits until all is written; none is made for an answer that
    /// fits the kernel's buffer.
    slow: Option<Slow>,
}

/// An answer that does not fit the kernel's buffer.
struct Slow {
    taking: Taking,
    look: Pin<Box<Sleep>>,
}

/// How an answer is being taken.
pub(crate) struct Taking {
    since: Instant,
    bytes: u64,
    /// When something was last taken.
    last: Instant,
}

impl Taking {
    /// Nothing is taken yet.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            bytes: 0,
            last: now,
        }
    }

    /// Some more is.
    pub(crate) fn took(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.last = Instant::now();
    }

    /// Whether the time of who takes it is up; `untaken` where it is large enough to count.
    pub(crate) fn is_over(&self, now: Instant, untaken: Option<&Untaken>) -> bool {
        if now.duration_since(self.last) >= UNREAD_MAX {
            return true;
        }
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / CROWDED_BYTES_PER_S);
        now.duration_since(self.since) > CROWDED_GRACE + earned
            && untaken.is_some_and(Untaken::crowds_others)
    }
}

impl<S> Unread<S> {
    /// Watches the writes of `stream`.
    pub(crate) fn new(stream: S, answering: Arc<Answering<S>>) -> Self {
        Self {
            stream: Some(stream),
            answering,
            slow: None,
        }
    }

    fn stream(&mut self) -> Pin<&mut S>
    where
        S: Unpin,
    {
        Pin::new(self.stream.as_mut().expect("there until this is dropped"))
    }

    fn timed(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let Ok(count) = written {
                let count = count as u64;
                self.answering.written.fetch_add(count, Ordering::Relaxed);
                if let Some(slow) = &mut self.slow {
                    slow.taking.took(count);
                }
            }
            return Poll::Ready(written);
        }
        let slow = self.slow.get_or_insert_with(|| {
            self.answering.is_waiting.store(true, Ordering::Relaxed);
            Slow {
                taking: Taking::begin(),
                look: Box::pin(sleep(LOOK_EVERY)),
            }
        });
        while slow.look.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if slow
                .taking
                .is_over(now, self.answering.untaken.lock().as_ref())
            {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            slow.look.as_mut().reset(now + LOOK_EVERY);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unread<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unread<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream().poll_write(cx, bytes);
        self.timed(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream().poll_write_vectored(cx, pieces);
        self.timed(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(S::is_write_vectored)
    }

    /// Called once all that there was is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.slow.take().is_some() {
            self.answering.is_waiting.store(false, Ordering::Relaxed);
        }
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl<S> Drop for Unread<S> {
    fn drop(&mut self) {
        if self.answering.is_kept.load(Ordering::Relaxed) {
            *self.answering.left.lock() = self.stream.take();
        }
    }
}

/// Closes a stream once its client has what was written to it. A socket that is closed while its client
/// still sends, be it only that it has read something, is reset, and what the kernel had not yet sent is
/// lost with it.
///
/// It ends with the client's end of the stream; where that does not come, once every answer has arrived and
/// the client is quiet, or when it takes nothing any more, or less than a kilobyte per second.
pub(crate) async fn linger(mut stream: TcpStream, how: Linger) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let begun = Instant::now();
    let mut rest = vec![0; 4096];
    let (mut look, mut least, mut until) = (LOOK_WHILE_LINGERING, u64::MAX, begun);
    let (mut heard, mut taken) = (how.since, begun);
    loop {
        let read = timeout(look, stream.read(&mut rest)).await;
        let now = Instant::now();
        match read {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => heard = now,
            Err(_) => look = (look * 2).min(LOOK_WHILE_LINGERING_MAX),
        }
        let Ok(left) = (how.unsent)(stream.as_fd()) else {
            return;
        };
        // The end of the stream counts as one.
        let left = left.saturating_sub(how.beside + 1);
        if least == u64::MAX {
            until = begun + how.patience + Duration::from_secs(left / LINGER_BYTES_PER_S);
        }
        if left < least {
            (least, taken) = (left, now);
        }
        let is_over = match left {
            0 => now - heard >= QUIET_MAX || now - taken >= LINGER_MAX,
            _ => now - taken >= how.patience || now >= until,
        };
        if is_over {
            return;
        }
    }
}

/// How a stream lingers.
pub(crate) struct Linger {
    /// When something was last asked or answered.
    pub(crate) since: Instant,
    /// Bytes at its end that belong to no answer: nobody misses those.
    pub(crate) beside: u64,
    /// How long nothing may be taken of the others.
    pub(crate) patience: Duration,
    pub(crate) unsent: Unsent,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_flight::{Bringer, BytesInFlight};
    use freehold_domain::{
        TenantId,
        answers::{Answers, Peer, Whose},
        limits::Limits,
    };
    use std::sync::Arc;
    use tokio::io::{DuplexStream, duplex};

    fn pair() -> (Unread<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Unread::new(ours, Arc::default()), theirs)
    }

    /// Takes ten bytes every now and then, until the other side is done or has given up.
    async fn take_slowly(mut from: DuplexStream, pause: Duration) -> usize {
        let (mut taken, mut some) = (0, [0; 10]);
        loop {
            sleep(pause).await;
            match from.read(&mut some).await {
                Ok(0) | Err(_) => return taken,
                Ok(count) => taken += count,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_reading_is_cut_off() {
        let (mut ours, _theirs) = pair();
        let begun = Instant::now();
        let failed = ours.write_all(&[0; 1000]).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let after = begun.elapsed();
        assert!(
            (UNREAD_MAX..UNREAD_MAX + LOOK_EVERY).contains(&after),
            "{after:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_served_to_the_end() {
        let (mut ours, theirs) = pair();
        let taking = tokio::spawn(take_slowly(theirs, UNREAD_MAX - Duration::from_secs(1)));
        ours.write_all(&[0; 1000]).await.unwrap();
        drop(ours);
        assert_eq!(taking.await.unwrap(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_in_others_way_is_not() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let peer = Peer::at([192, 0, 2, 7].into());
        // Of 128 MiB that the URLs of one tenant may hold.
        for (answer_mib, is_cut) in [(60, false), (70, true)] {
            let held = pot.book(Bringer::Url(&tenant, &peer), None);
            let (answer, untaken) = held.keep(bytes::Bytes::from(vec![0; answer_mib << 20]), None);
            let (mut ours, theirs) = pair();
            ours.answering.answers_with(untaken);
            let taking = tokio::spawn(take_slowly(theirs, Duration::from_secs(1)));
            let begun = Instant::now();
            let written = ours.write_all(&answer[..1000]).await;
            assert_eq!(written.is_err(), is_cut, "{answer_mib} MiB");
            if is_cut {
                let after = begun.elapsed();
                let most = CROWDED_GRACE + 2 * LOOK_EVERY;
                assert!((CROWDED_GRACE..most).contains(&after), "{after:?}");
            }
            drop(ours);
            assert_eq!(taking.await.unwrap() == 1000, !is_cut);
        }
        assert!(
            pot.book(Bringer::Url(&tenant, &peer), None)
                .has_room()
                .is_ok()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_while_an_answer_waits_for_room_is_in_the_way() {
        let limits = Limits {
            bytes_in_flight: 64 << 20,
            ..Limits::default()
        };
        let answers = Answers::new(limits.into(), Arc::default());
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let [caller, function]: [TenantId; 2] =
            ["111111111111", "222222222222"].map(|id| id.parse().unwrap());
        let keep = |standing| {
            let held = pot.book(Bringer::Key(&caller), None);
            held.keep(bytes::Bytes::from(vec![0; 1 << 20]), standing)
        };
        // The room is the function's, whoever calls it.
        let room = answers.ask(Whose::signed(&function), 30 << 20).await;
        let (_answer, untaken) = keep(Some(room.standing()));
        let of_caller = answers.ask(Whose::signed(&caller), 1 << 20).await;
        let (_other, beside) = keep(Some(of_caller.standing()));
        // And what is no function's has none.
        let (_package, without) = keep(None);
        assert!(!untaken.crowds_others());
        let mut waits = Box::pin(answers.ask(Whose::signed(&function), 30 << 20));
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert!(untaken.crowds_others());
        assert!(!beside.crowds_others() && !without.crowds_others());
        drop(waits);
        assert!(!untaken.crowds_others());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_lingers_until_its_client_has_all_or_takes_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let patience = Duration::from_secs(75);
        let lasts = async |since: Instant, unsent: Unsent, sends: usize, ends: bool| {
            let theirs = TcpStream::connect(listener.local_addr().unwrap()).await;
            let (mut theirs, (ours, _)) = (theirs.unwrap(), listener.accept().await.unwrap());
            let begun = Instant::now();
            let talking = tokio::spawn(async move {
                for _ in 0..sends {
                    sleep(Duration::from_secs(1)).await;
                    let _ = theirs.write_all(b"taken").await;
                }
                match ends {
                    true => None,
                    false => Some(theirs),
                }
            });
            let how = Linger {
                since,
                beside: 100,
                patience,
                unsent,
            };
            linger(ours, how).await;
            let took = begun.elapsed();
            drop(talking.await.unwrap());
            took
        };
        let long_ago = Instant::now();
        sleep(QUIET_MAX).await;
        let about = |took: Duration, wanted: Duration| {
            let latest = wanted + LOOK_WHILE_LINGERING_MAX + LOOK_WHILE_LINGERING;
            assert!((wanted..=latest).contains(&took), "{took:?} {wanted:?}");
        };
        let second = Duration::from_secs(1);
        // The client has ended, or everything has arrived and it is quiet: for long, or from now on.
        about(lasts(long_ago, |_| Ok(107), 2, true).await, 2 * second);
        about(lasts(long_ago, |_| Ok(0), 0, false).await, Duration::ZERO);
        // What is no answer's need not arrive: so a client that has vanished is not waited for.
        about(lasts(long_ago, |_| Ok(101), 0, false).await, Duration::ZERO);
        about(lasts(Instant::now(), |_| Ok(0), 0, false).await, QUIET_MAX);
        // It says that it reads.
        about(lasts(long_ago, |_| Ok(107), 3, true).await, 3 * second);
        about(
            lasts(Instant::now(), |_| Ok(0), 3, false).await,
            3 * second + QUIET_MAX,
        );
        about(
            lasts(Instant::now(), |_| Ok(0), 60, false).await,
            LINGER_MAX,
        );
        // It takes nothing, or a byte now and then.
        about(lasts(long_ago, |_| Ok(107), 0, false).await, patience);
        static LEFT: AtomicU64 = AtomicU64::new(101 + (100 << 10));
        let trickles: Unsent = |_| Ok(LEFT.fetch_sub(1, Ordering::Relaxed));
        about(
            lasts(long_ago, trickles, 0, false).await,
            patience + 100 * second,
        );
    }

    #[tokio::test(start_paused = true)]
    async fn every_answer_has_its_own_time() {
        let (mut ours, theirs) = pair();
        let taking = tokio::spawn(take_slowly(theirs, Duration::from_secs(1)));
        ours.write_all(&[0; 200]).await.unwrap();
        assert!(ours.slow.is_some() && ours.answering.is_waiting());
        ours.flush().await.unwrap();
        assert!(ours.slow.is_none() && !ours.answering.is_waiting());
        drop(ours);
        assert_eq!(taking.await.unwrap(), 200);
    }
}
