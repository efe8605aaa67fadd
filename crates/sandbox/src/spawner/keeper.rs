//! The keeper of a lane's volumes: a process beside the spawner, because mounting and unmounting
//! a filesystem takes milliseconds, and the spawner waits for nobody.
//!
//! ```text
//! spawner ── Make(id, size) ──▶ keeper      spawner ◀── id, detached mount ── keeper
//! spawner ── End(id) ─────────▶ keeper: discards it; the last close unmounts and frees the device
//! ```
//!
//! A start whose volume is not ready is named with the order, and goes on when the volume arrives;
//! what the socket has no room for is sent later, in order, so that no volume is forgotten.
//!
//! The keeper stays in the mount namespace that the supervisor has, where the volumes' folder is,
//! holds every volume open, and ends with the spawner, discarding them all. It hears all orders
//! before it makes the next volume, and makes those of the usual size first: another size may have
//! to be formatted. Refuses any other message.

use crate::{
    sys::{
        identity,
        processes::{self, Fork},
        sockets,
    },
    volumes::{VolumeError, VolumeKeeper, VolumeOptions, VolumePool},
};
use freehold_domain::ids::Mebibytes;
use rustix::event::{PollFd, PollFlags, poll};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// A volume as the spawner holds it: a mount to be moved onto a `/tmp`, and its name.
#[derive(Debug)]
pub struct Kept {
    /// The keeper's name for it.
    pub id: u64,
    /// The detached mount.
    pub mount: OwnedFd,
}

/// What came for a sandbox that waited for it.
#[derive(Debug)]
pub struct Arrived {
    /// The sandbox.
    pub sandbox: u64,
    /// Its volume, or why there is none.
    pub made: io::Result<Kept>,
}

/// The spawner's side: what is ready, what is on its way and for whom.
#[derive(Debug)]
pub struct Volumes {
    socket: OwnedFd,
    usual: Mebibytes,
    wanted: usize,
    stock: Vec<Kept>,
    /// By id, and so the oldest first.
    coming: BTreeMap<u64, Coming>,
    /// What the socket had no room for.
    unsent: VecDeque<Order>,
    next: u64,
    failing: bool,
}

#[derive(Debug)]
struct Coming {
    size: Mebibytes,
    /// Who waits for it; nobody for what goes into stock.
    sandbox: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Make(u64, Mebibytes),
    End(u64),
}

impl Volumes {
    /// Forks the keeper. Call it before the spawner makes its own mount namespace.
    pub fn fork(options: VolumeOptions) -> io::Result<Volumes> {
        let (socket, inner) = sockets::pair()?;
        let (usual, wanted) = (options.usual, options.ready);
        match processes::fork_into(0)? {
            Fork::Child => {
                let _ = processes::close_all_but(&[0, 1, 2, inner.as_raw_fd()]);
                identity::set_name("fh-volumes");
                let pool = VolumePool::open(VolumeOptions {
                    ready: 0,
                    ..options
                });
                Keeper::new(inner, pool, usual).run();
                processes::exit(0)
            }
            Fork::Parent(_, pidfd) => drop(pidfd),
        }
        Ok(Volumes::over(socket, usual, wanted))
    }

    fn over(socket: OwnedFd, usual: Mebibytes, wanted: usize) -> Volumes {
        Volumes {
            socket,
            usual,
            wanted,
            stock: Vec::new(),
            coming: BTreeMap::new(),
            unsent: VecDeque::new(),
            next: 1,
            failing: false,
        }
    }

    /// The socket, to be watched: [`Volumes::arrived`] when it is readable, [`Volumes::flush`]
    /// when it is writable.
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Whether something waits for the socket to be writable.
    pub fn is_full(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Asks for what is missing in stock; never waits.
    pub fn refill(&mut self) {
        self.refill_to(self.wanted);
    }

    /// The same up to half of the stock, which is as low as it gets before starts are held up: the
    /// other half is asked for when nothing is under way, since a volume that is made takes a
    /// processor for a millisecond or two.
    pub fn refill_half(&mut self) {
        self.refill_to(self.wanted / 2);
    }

    /// Asks for one that is missing, unless one is on its way.
    pub fn refill_one(&mut self) {
        if self.lacks_one() {
            self.ask(self.usual, None);
        }
    }

    /// Whether one is missing in stock, and none is on its way.
    pub fn lacks_one(&mut self) -> bool {
        !self.failing && self.stock.len() < self.wanted && self.for_stock().next().is_none()
    }

    fn refill_to(&mut self, wanted: usize) {
        while !self.failing && self.stock.len() + self.for_stock().count() < wanted {
            self.ask(self.usual, None);
        }
    }

    /// A ready volume of `size`; `None` when it must be made first, and arrives for `sandbox`.
    pub fn take(&mut self, size: Mebibytes, sandbox: u64) -> Option<Kept> {
        if size == self.usual {
            if let Some(kept) = self.stock.pop() {
                return Some(kept);
            }
            if let Some(coming) = self.for_stock().next() {
                coming.sandbox = Some(sandbox);
                return None;
            }
        }
        self.ask(size, Some(sandbox));
        None
    }

    /// `sandbox` waits no longer.
    pub fn forget(&mut self, sandbox: u64) {
        let unsent = &mut self.unsent;
        self.coming.retain(|id, coming| {
            if coming.sandbox != Some(sandbox) {
                return true;
            }
            coming.sandbox = None;
            let before = unsent.len();
            unsent.retain(|order| *order != Order::Make(*id, coming.size));
            unsent.len() == before
        });
    }

    /// Takes in what the keeper sent; fails once the keeper is gone.
    pub fn arrived(&mut self) -> io::Result<Vec<Arrived>> {
        let mut all = Vec::new();
        loop {
            let (id, made) = match self.hear() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(all),
                heard => heard?,
            };
            let coming = self.coming.remove(&id);
            let usual = coming.as_ref().is_some_and(|c| c.size == self.usual);
            match (coming.and_then(|c| c.sandbox), made) {
                (Some(sandbox), made) => {
                    self.failing &= made.is_err();
                    all.push(Arrived { sandbox, made });
                }
                (None, Ok(kept)) if usual && self.stock.len() < self.wanted => {
                    self.stock.push(kept);
                }
                // Of a size that nobody waits for any more.
                (None, Ok(kept)) => self.end(kept.id),
                // What failed once will fail again: the next start asks, and hears why.
                (None, Err(_)) => self.failing |= usual,
            }
        }
    }

    /// Gives a volume back to be discarded, once nobody uses it.
    pub fn end(&mut self, id: u64) {
        self.send(Order::End(id));
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) {
        while let Some(order) = self.unsent.front().copied() {
            match order.send(self.socket.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A keeper that is gone is noticed where its answers are read.
                _ => self.unsent.pop_front(),
            };
        }
    }

    fn for_stock(&mut self) -> impl Iterator<Item = &mut Coming> {
        let usual = self.usual;
        let all = self.coming.values_mut();
        all.filter(move |coming| coming.sandbox.is_none() && coming.size == usual)
    }

    fn ask(&mut self, size: Mebibytes, sandbox: Option<u64>) {
        let id = self.next;
        self.next += 1;
        self.coming.insert(id, Coming { size, sandbox });
        self.send(Order::Make(id, size));
    }

    fn send(&mut self, order: Order) {
        self.unsent.push_back(order);
        self.flush();
    }

    fn hear(&self) -> io::Result<(u64, io::Result<Kept>)> {
        let mut packet = [0u8; 16];
        let received = sockets::receive(self.socket.as_fd(), &mut packet, false)?;
        let (12, id) = (
            received.len,
            u64::from_le_bytes(packet[..8].try_into().unwrap_or_default()),
        ) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let errno = i32::from_le_bytes(packet[8..12].try_into().unwrap_or_default());
        let made = match received.descriptors.into_iter().next() {
            Some(mount) => Ok(Kept { id, mount }),
            None => Err(io::Error::from_raw_os_error(errno)),
        };
        Ok((id, made))
    }
}

const MAKE: u8 = 1;
const END: u8 = 2;

impl Order {
    fn send(self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut packet = [0u8; 13];
        let (kind, id) = match self {
            Self::Make(id, _) => (MAKE, id),
            Self::End(id) => (END, id),
        };
        packet[0] = kind;
        packet[1..9].copy_from_slice(&id.to_le_bytes());
        match self {
            Self::Make(_, size) => {
                packet[9..].copy_from_slice(&size.0.to_le_bytes());
                sockets::send(socket, &packet, &[])
            }
            Self::End(_) => sockets::send(socket, &packet[..9], &[]),
        }
    }

    fn decode(packet: &[u8]) -> Option<Order> {
        let (kind, rest) = packet.split_first()?;
        let (id, rest) = rest.split_first_chunk()?;
        let id = u64::from_le_bytes(*id);
        match (*kind, rest) {
            (MAKE, size) => {
                let size = u32::from_le_bytes(size.try_into().ok()?);
                Some(Order::Make(id, Mebibytes(size)))
            }
            (END, []) => Some(Order::End(id)),
            _ => None,
        }
    }
}

/// The keeper's side.
struct Keeper {
    socket: OwnedFd,
    pool: VolumePool,
    usual: Mebibytes,
    kept: HashMap<u64, VolumeKeeper>,
    /// Ordered and not made: of the usual size, and of others.
    orders: [VecDeque<(u64, Mebibytes)>; 2],
}

impl Keeper {
    fn new(socket: OwnedFd, pool: VolumePool, usual: Mebibytes) -> Keeper {
        Keeper {
            socket,
            pool,
            usual,
            kept: HashMap::new(),
            orders: Default::default(),
        }
    }

    /// The keeper's life, until the spawner is gone.
    fn run(mut self) {
        loop {
            let mut packet = [0u8; 16];
            let idle = self.orders.iter().all(VecDeque::is_empty);
            match sockets::receive(self.socket.as_fd(), &mut packet, idle) {
                Ok(received) if received.len > 0 => match Order::decode(&packet[..received.len]) {
                    Some(Order::Make(id, size)) => {
                        self.orders[usize::from(size != self.usual)].push_back((id, size));
                    }
                    Some(Order::End(id)) => {
                        if let Some(keeper) = self.kept.remove(&id) {
                            keeper.discard();
                        }
                    }
                    None => break,
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.make_next(),
                _ => break,
            }
        }
        self.kept.into_values().for_each(VolumeKeeper::discard);
    }

    fn make_next(&mut self) {
        let Some((id, size)) = self.orders.iter_mut().find_map(VecDeque::pop_front) else {
            return;
        };
        let mut reply = [0u8; 12];
        reply[..8].copy_from_slice(&id.to_le_bytes());
        match self.pool.take(size) {
            Ok(volume) => {
                let (mount, keeper) = volume.split();
                self.kept.insert(id, keeper);
                self.say(&reply, &[mount.as_fd()]);
            }
            Err(error) => {
                reply[8..].copy_from_slice(&errno(&error).to_le_bytes());
                self.say(&reply, &[]);
            }
        }
    }

    /// Waits for room: the spawner never waits for the keeper, so this ends.
    fn say(&self, reply: &[u8], descriptors: &[BorrowedFd<'_>]) {
        while let Err(error) = sockets::send(self.socket.as_fd(), reply, descriptors)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], None);
        }
    }
}

fn errno(error: &VolumeError) -> i32 {
    match error {
        VolumeError::Kernel { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
        VolumeError::Size { .. } => libc::EINVAL,
        VolumeError::Devices { .. } => libc::EBUSY,
        VolumeError::Disk { .. } => libc::ENOSPC,
        _ => libc::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Mebibytes = Mebibytes(512);
    const OTHER: Mebibytes = Mebibytes(777);

    /// The spawner's side and the keeper's end of the socket.
    fn volumes(wanted: usize) -> (Volumes, OwnedFd) {
        let (socket, keeper) = sockets::pair().unwrap();
        (Volumes::over(socket, USUAL, wanted), keeper)
    }

    fn heard(keeper: &OwnedFd) -> Vec<Order> {
        let next = || {
            let mut packet = [0u8; 16];
            let received = sockets::receive(keeper.as_fd(), &mut packet, false).ok()?;
            Order::decode(&packet[..received.len])
        };
        std::iter::from_fn(next).collect()
    }

    fn answer(keeper: &OwnedFd, id: u64) {
        let mut packet = [0u8; 12];
        packet[..8].copy_from_slice(&id.to_le_bytes());
        let mount = std::fs::File::open("/dev/null").unwrap();
        sockets::send(keeper.as_fd(), &packet, &[mount.as_fd()]).unwrap();
    }

    #[test]
    fn half_of_the_stock_is_asked_for_at_once_and_the_rest_one_by_one() {
        let (mut volumes, keeper) = volumes(4);
        volumes.refill_half();
        volumes.refill_half();
        assert_eq!(
            heard(&keeper),
            [Order::Make(1, USUAL), Order::Make(2, USUAL)]
        );
        // One is on its way: nothing more is asked for.
        assert!(!volumes.lacks_one());
        volumes.refill_one();
        assert_eq!(heard(&keeper), []);
        answer(&keeper, 1);
        answer(&keeper, 2);
        assert!(volumes.arrived().unwrap().is_empty());
        for id in 3..=4 {
            assert!(volumes.lacks_one());
            volumes.refill_one();
            volumes.refill_one();
            assert_eq!(heard(&keeper), [Order::Make(id, USUAL)]);
            answer(&keeper, id);
            assert!(volumes.arrived().unwrap().is_empty());
        }
        assert!(!volumes.lacks_one(), "four of four are there");
    }

    #[test]
    fn a_volume_that_comes_late_goes_back_and_never_into_stock_as_another_size() {
        let (mut volumes, keeper) = volumes(1);
        volumes.refill();
        assert!(volumes.take(OTHER, 7).is_none());
        assert_eq!(
            heard(&keeper),
            [Order::Make(1, USUAL), Order::Make(2, OTHER)]
        );
        volumes.forget(7);
        answer(&keeper, 2);
        answer(&keeper, 1);
        answer(&keeper, 99);
        assert!(volumes.arrived().unwrap().is_empty());
        assert_eq!(heard(&keeper), [Order::End(2), Order::End(99)]);
        assert_eq!(volumes.take(USUAL, 8).unwrap().id, 1);
    }

    #[test]
    fn whoever_waits_longest_for_the_usual_size_gets_what_is_on_its_way() {
        let (mut volumes, keeper) = volumes(1);
        volumes.refill();
        assert!(volumes.take(USUAL, 7).is_none());
        assert!(volumes.take(OTHER, 8).is_none());
        volumes.refill();
        let expected = [
            Order::Make(1, USUAL),
            Order::Make(2, OTHER),
            Order::Make(3, USUAL),
        ];
        assert_eq!(heard(&keeper), expected);
        answer(&keeper, 1);
        answer(&keeper, 2);
        let arrived = volumes.arrived().unwrap();
        let whose = arrived
            .iter()
            .map(|a| (a.sandbox, a.made.as_ref().unwrap().id));
        assert_eq!(whose.collect::<Vec<_>>(), [(7, 1), (8, 2)]);
    }

    #[test]
    fn a_keeper_that_lags_hears_every_end_and_in_order() {
        const ENDS: u64 = 20_000;
        let (mut volumes, keeper) = volumes(0);
        for id in 0..ENDS {
            volumes.end(id);
        }
        assert!(volumes.is_full(), "the socket took it all");
        // Given up before it was sent: nothing is to be made.
        assert!(volumes.take(OTHER, 7).is_none());
        volumes.forget(7);
        let mut all = heard(&keeper);
        while volumes.is_full() {
            volumes.flush();
            all.extend(heard(&keeper));
        }
        assert_eq!(all, (0..ENDS).map(Order::End).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for packet in [
            &[][..],
            &[MAKE],
            &[MAKE; 9],
            &[MAKE; 14],
            &[END; 8],
            &[END; 13],
            &[3; 9],
        ] {
            assert_eq!(Order::decode(packet), None, "{packet:?}");
        }
    }
}
