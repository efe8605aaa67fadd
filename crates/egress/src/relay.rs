//! Connections of instances that have no link: taken inside their namespace, made from here.
//!
//! ```text
//! guest ─ connects to 10.0.0.5:5432 ─▶ socket in its namespace ─▶ task of its core ─ the policy ─▶ 10.0.0.5:5432
//! ```
//!
//! The same rules as those of packets, for TCP alone. The kernel has accepted the connection before it
//! is judged: what is not allowed, what cannot be reached and what is one too many, of the instance's or
//! of the node's, is reset at once.

use crate::{around::Around, rate::Rate};
use freehold_domain::{
    network::{InstanceLimits, NetworkId, Networks, Surroundings},
    traffic::Carried,
};
use parking_lot::Mutex;
use rustix::net::sockopt;
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

/// How long a host may take to answer the first packet.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a connection that is ended one way may be silent the other way.
const HALF_OPEN_MAX: Duration = Duration::from_secs(60);
/// What is read in one go, each way.
const PIECE: usize = 32 << 10;
/// How far an instance may be ahead of its rate: what comes in one go.
const AHEAD: Duration = Duration::from_millis(250);
/// What the kernel keeps of a connection that nobody reads, each way and on each side.
const KEPT: usize = 256 << 10;
/// How long a host may be silent before the kernel asks whether it is still there; how often it asks, and
/// after how many times without an answer it is gone.
const ASKED_AFTER: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_secs(10);
const ASKED_TIMES: u32 = 3;
/// The wait after a connection could not be taken for want of descriptors.
const SHORT: Duration = Duration::from_millis(50);
/// Addresses of names that are let through at once, of one policy.
const ADMITTED_MAX: usize = 16_384;

/// Of an instance's places, those that may wait for hosts' first packets however few it has: as many as a
/// program connects at once.
const CONNECTING_MIN: usize = 32;

/// Of a policy, by address, first and last port: until when it is let through.
type Admitted = HashMap<(Ipv4Addr, u16, u16), Instant>;

/// What an instance may have.
struct Own {
    places: Arc<Semaphore>,
    /// Of the places, those of connections that no host has answered yet: each is held for as long as
    /// [`CONNECT_MAX`], and costs whoever holds it nothing.
    connecting: Arc<Semaphore>,
}

impl Own {
    /// Half of what there is at the most waits for hosts that may never answer, of the instance's places
    /// and of the node's: the rest is for those that do, and for other instances.
    fn new(places: usize, of_all: usize) -> Self {
        let connecting = (places.min(of_all) / 2).max(places.min(CONNECTING_MIN));
        Self {
            places: Arc::new(Semaphore::new(places)),
            connecting: Arc::new(Semaphore::new(connecting)),
        }
    }
}

/// What one connection has, until it is dropped.
struct Place {
    _places: [OwnedSemaphorePermit; 2],
    connecting: OwnedSemaphorePermit,
}

/// See the module.
pub(crate) struct Relay {
    networks: Arc<Networks>,
    limits: InstanceLimits,
    /// Connections of all instances together.
    places: Arc<Semaphore>,
    places_max: usize,
    admitted: Mutex<HashMap<NetworkId, Admitted>>,
    around: Arc<Around>,
}

impl Relay {
    pub(crate) fn new(
        networks: Arc<Networks>,
        limits: InstanceLimits,
        connections_max: usize,
        around: Arc<Around>,
    ) -> Self {
        Self {
            networks,
            limits,
            places: Arc::new(Semaphore::new(connections_max)),
            places_max: connections_max,
            admitted: Mutex::default(),
            around,
        }
    }

    /// Lets connections through to what a name of the policy stands for; `false` where there is no
    /// room for another address.
    pub(crate) fn admit(
        &self,
        network: NetworkId,
        address: Ipv4Addr,
        (first, last): (u16, u16),
        until: Instant,
    ) -> bool {
        let mut policies = self.admitted.lock();
        let admitted = policies.entry(network).or_default();
        if admitted.len() >= ADMITTED_MAX {
            let now = Instant::now();
            admitted.retain(|_, until| *until > now);
        }
        let key = (address, first, last);
        let known = admitted.get(&key).copied();
        if known.is_none() && admitted.len() >= ADMITTED_MAX {
            return false;
        }
        admitted.insert(key, known.map_or(until, |known| known.max(until)));
        true
    }

    fn is_admitted(&self, network: NetworkId, to: SocketAddrV4) -> bool {
        let Some(policy) = self.networks.policy(network) else {
            return false;
        };
        let (policies, now) = (self.admitted.lock(), Instant::now());
        let Some(admitted) = policies.get(&network) else {
            return false;
        };
        let mut ports = policy.ports_of_names();
        ports.any(|ports| {
            let key = (*to.ip(), ports.first, ports.last);
            (ports.first..=ports.last).contains(&to.port())
                && admitted.get(&key).is_some_and(|until| *until > now)
        })
    }

    fn may(&self, network: NetworkId, to: SocketAddrV4) -> bool {
        let is_admitted = self.is_admitted(network, to);
        let allows =
            |around: Surroundings<'_>| self.networks.allows(network, to, around, is_admitted);
        self.around.of(*to.ip(), allows)
    }

    /// What an instance may have, with nothing of it taken.
    fn own(&self) -> Own {
        Own::new(self.limits.connections as usize, self.places_max)
    }

    /// A place of the instance's and one of the node's; nothing where either has none.
    fn place(&self, own: &Own) -> Option<Place> {
        let take = |of: &Arc<Semaphore>| of.clone().try_acquire_owned().ok();
        let connecting = take(&own.connecting)?;
        let places = [take(&own.places)?, take(&self.places)?];
        Some(Place {
            _places: places,
            connecting,
        })
    }

    /// Carries the connections that come to `listener` until `stop`, and counts in `carried` what goes
    /// through them.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: OwnedFd,
        network: NetworkId,
        stop: CancellationToken,
        carried: Arc<Carried>,
    ) {
        let listener = match TcpListener::from_std(std::net::TcpListener::from(listener)) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "an instance's connections cannot be taken");
                return;
            }
        };
        let own = self.own();
        let rate = Rate::new(self.limits.begun_per_s.into());
        let paces = [(); 2].map(|()| Arc::new(Pace::new(self.limits.bytes_per_s)));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let guest = match accepted {
                Ok((guest, _)) => guest,
                Err(error) if is_of_one(&error) => continue,
                Err(_) => {
                    tokio::time::sleep(SHORT).await;
                    continue;
                }
            };
            if !rate.lets_one_in() {
                reset(guest);
                continue;
            }
            let Some(place) = self.place(&own) else {
                reset(guest);
                continue;
            };
            let (relay, paces, stop) = (self.clone(), paces.clone(), stop.clone());
            let carried = carried.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = relay.carry(guest, network, &paces, place, &carried) => {}
                }
            });
        }
    }

    async fn carry(
        &self,
        mut guest: TcpStream,
        network: NetworkId,
        paces: &[Arc<Pace>; 2],
        place: Place,
        carried: &Carried,
    ) {
        // Where it was going before it was led here.
        let allowed = sockopt::ip_original_dst(&guest).ok();
        let Some(to) = allowed.filter(|to| self.may(network, *to)) else {
            return reset(guest);
        };
        let reached = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(to)).await;
        let Ok(Ok(mut host)) = reached else {
            return reset(guest);
        };
        let Place {
            _places,
            connecting,
        } = place;
        drop(connecting);
        // A machine that has gone says nothing of it.
        let _ = sockopt::set_tcp_keepidle(&host, ASKED_AFTER);
        let _ = sockopt::set_tcp_keepintvl(&host, ASKED_EVERY);
        let _ = sockopt::set_tcp_keepcnt(&host, ASKED_TIMES);
        let _ = sockopt::set_socket_keepalive(&host, true);
        for side in [&guest, &host] {
            // As whoever writes wants it: what comes in one piece goes out in one. What is kept for an
            // instance is on no account of its memory.
            let _ = side.set_nodelay(true);
            let _ = sockopt::set_socket_send_buffer_size(side, KEPT);
            let _ = sockopt::set_socket_recv_buffer_size(side, KEPT);
        }
        let ended = {
            let ((from_guest, to_guest), (from_host, to_host)) = (guest.split(), host.split());
            let ([out, back], traffic) = (paces, Traffic::default());
            let count_out = |bytes| carried.count_out(bytes);
            let count_back = |bytes| carried.count_back(bytes);
            let both = async {
                tokio::try_join!(
                    pass(from_guest, to_host, out, &traffic, count_out),
                    pass(from_host, to_guest, back, &traffic, count_back)
                )
            };
            tokio::select! {
                ended = both => ended.map(drop),
                () = traffic.is_over() => Err(io::ErrorKind::TimedOut.into()),
            }
        };
        // A reset of one side is told as one to the other.
        if ended.is_err() {
            reset(host);
            reset(guest);
        }
    }
}

/// An error of the connection that was to be taken, and of no other.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Ends a connection so that the guest hears of an error and not of an end.
fn reset(guest: TcpStream) {
    let _ = sockopt::set_socket_linger(&guest, Some(Duration::ZERO));
}

/// Everything that comes, at the instance's pace, and then the end of it; `count` hears how much was
/// passed on.
async fn pass(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    pace: &Pace,
    traffic: &Traffic,
    count: impl Fn(usize),
) -> io::Result<()> {
    loop {
        // Room is made when there is something to read: most connections idle.
        from.readable().await?;
        let mut piece = Vec::with_capacity(PIECE);
        match from.try_read_buf(&mut piece) {
            Ok(0) => {
                to.shutdown().await?;
                traffic.one_way.notify_one();
                return Ok(());
            }
            Ok(len) => pace.take(len).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        to.write_all(&piece).await?;
        count(piece.len());
        *traffic.last.lock() = Instant::now();
    }
}

/// When something went either way last, and whether one of them has ended.
struct Traffic {
    last: Mutex<Instant>,
    one_way: Notify,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            one_way: Notify::new(),
        }
    }
}

impl Traffic {
    /// One way has ended, and the other has been silent since for too long. Who has closed a connection
    /// for good looks like who has only said everything: a host that never ends its half would hold a
    /// place of the guest's for ever.
    async fn is_over(&self) {
        self.one_way.notified().await;
        let mut since = Instant::now();
        while let Some(left) = HALF_OPEN_MAX.checked_sub(since.elapsed()) {
            tokio::time::sleep(left).await;
            since = since.max(*self.last.lock());
        }
    }
}

/// A rate that all connections of an instance have together, one way.
struct Pace {
    bytes_per_s: f64,
    /// When what was taken so far is due.
    due: Mutex<Instant>,
}

impl Pace {
    fn new(bytes_per_s: u64) -> Self {
        Self {
            bytes_per_s: bytes_per_s.max(1) as f64,
            due: Mutex::new(Instant::now()),
        }
    }

    /// How long to wait before `bytes` may go on, at `now`.
    fn wait(&self, bytes: usize, now: Instant) -> Duration {
        let mut due = self.due.lock();
        let span = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s);
        *due = (*due).max(now.checked_sub(AHEAD).unwrap_or(now)) + span;
        due.saturating_duration_since(now)
    }

    async fn take(&self, bytes: usize) {
        let wait = self.wait(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::network::Policy;

    fn relay(rules: &[&str]) -> Relay {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let named = vec![(
            "orders".to_owned(),
            Policy {
                rules,
                tenants: None,
            },
        )];
        let networks = Arc::new(Networks::new(named, "internet").unwrap());
        let limits = InstanceLimits {
            connections: 2,
            begun_per_s: 500,
            bytes_per_s: 1000,
        };
        Relay::new(networks, limits, 3, Arc::default())
    }

    #[test]
    fn an_instance_has_its_places_and_the_node_has_no_more_than_its_own() {
        let relay = relay(&[]);
        let [one, two] = [(); 2].map(|()| relay.own());
        let of_one: Vec<_> = (0..2).filter_map(|_| relay.place(&one)).collect();
        assert!(of_one.len() == 2 && relay.place(&one).is_none());
        let of_two = relay.place(&two);
        assert!(of_two.is_some() && relay.place(&two).is_none());
        let left = [&two.places, &two.connecting].map(|of| of.available_permits());
        assert_eq!(left, [1, 1], "what is refused holds nothing");
        drop(of_one);
        assert!(relay.place(&two).is_some());
    }

    #[test]
    fn half_of_the_places_at_the_most_wait_for_hosts_that_do_not_answer() {
        let check = |places: usize, of_all: usize, expected: usize| {
            let own = Own::new(places, of_all);
            let connecting = own.connecting.available_permits();
            assert_eq!(
                (own.places.available_permits(), connecting),
                (places, expected)
            );
        };
        check(1024, 16_384, 512);
        // One instance alone does not have all of a small node's.
        check(1024, 1024, 512);
        check(1024, 128, 64);
        // A program's first connections are made together.
        check(32, 16_384, 32);
        check(48, 16_384, 32);
        check(2, 16_384, 2);
        check(0, 16_384, 0);
    }

    /// Once the host has answered, the instance may ask another one.
    #[test]
    fn a_host_that_answers_makes_room_for_the_next() {
        let relay = relay(&[]);
        let own = Own {
            places: Arc::new(Semaphore::new(2)),
            connecting: Arc::new(Semaphore::new(1)),
        };
        let first = relay.place(&own).unwrap();
        assert!(relay.place(&own).is_none());
        drop(first.connecting);
        assert!(relay.place(&own).is_some());
    }

    #[test]
    fn a_rate_is_kept_whatever_the_pieces() {
        let (pace, now) = (Pace::new(1000), Instant::now());
        // A quarter of a second in one go, and then each byte takes its time.
        let first = pace.wait(100, now + AHEAD);
        assert_eq!(first, Duration::ZERO);
        let mut waited = Duration::ZERO;
        for _ in 0..10 {
            waited = pace.wait(100, now + AHEAD);
        }
        let wanted = Duration::from_millis(1100) - AHEAD;
        let off = waited.abs_diff(wanted);
        assert!(off < Duration::from_millis(1), "{waited:?}");
    }

    #[tokio::test]
    async fn what_is_passed_on_is_counted_each_way() {
        use tokio::io::AsyncReadExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pair = || async {
            let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
            (one.unwrap(), other.unwrap().0)
        };
        let ((mut guest, mut inner), (mut outer, mut host)) = (pair().await, pair().await);
        let (carried, pace, traffic) = (Carried::default(), Pace::new(1 << 30), Traffic::default());
        let ((from_guest, to_guest), (from_host, to_host)) = (inner.split(), outer.split());
        let both = async {
            tokio::try_join!(
                pass(from_guest, to_host, &pace, &traffic, |n| carried
                    .count_out(n)),
                pass(from_host, to_guest, &pace, &traffic, |n| carried
                    .count_back(n))
            )
        };
        let speak = async {
            guest.write_all(&[1; 100_000]).await.unwrap();
            guest.shutdown().await.unwrap();
            let mut heard = Vec::new();
            host.read_to_end(&mut heard).await.unwrap();
            host.write_all(&[2; 777]).await.unwrap();
            host.shutdown().await.unwrap();
            let mut back = Vec::new();
            guest.read_to_end(&mut back).await.unwrap();
            (heard.len(), back.len())
        };
        let (passed, heard) = tokio::join!(both, speak);
        passed.unwrap();
        let counted = carried.so_far();
        assert_eq!((counted.out, counted.back), (100_000, 777));
        assert_eq!(heard, (100_000, 777));
    }

    #[test]
    fn what_a_name_stands_for_is_let_through_with_its_ports_and_for_its_time() {
        let relay = relay(&["db.example.com:5432-5433"]);
        let (orders, address) = (NetworkId::of_named(0), Ipv4Addr::new(10, 66, 0, 5));
        let to = |port| SocketAddrV4::new(address, port);
        assert!(!relay.may(orders, to(5432)));
        let until = Instant::now() + Duration::from_secs(60);
        assert!(relay.admit(orders, address, (5432, 5433), until));
        assert!(relay.may(orders, to(5432)) && relay.may(orders, to(5433)));
        assert!(!relay.may(orders, to(5434)));
        assert!(!relay.may(NetworkId::INTERNET, to(5432)));
        let other = Ipv4Addr::new(10, 66, 0, 6);
        assert!(relay.admit(orders, other, (5432, 5433), Instant::now()));
        assert!(!relay.may(orders, SocketAddrV4::new(other, 5432)));
    }

    #[test]
    fn addresses_of_names_are_bounded_and_those_that_are_over_give_room() {
        let relay = relay(&["db.example.com:5432"]);
        let orders = NetworkId::of_named(0);
        let over = Instant::now();
        let lives = over + Duration::from_secs(60);
        let at = |number: usize| Ipv4Addr::from_bits(0x0b00_0000 + number as u32);
        for number in 0..ADMITTED_MAX {
            let until = if number == 0 { over } else { lives };
            assert!(relay.admit(orders, at(number), (5432, 5432), until));
        }
        assert!(relay.admit(orders, at(ADMITTED_MAX), (5432, 5432), lives));
        assert!(!relay.admit(orders, at(ADMITTED_MAX + 1), (5432, 5432), lives));
        // One that is known is no further one.
        assert!(relay.admit(orders, at(5), (5432, 5432), lives));
    }
}
