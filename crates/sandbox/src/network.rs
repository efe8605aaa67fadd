//! The way out of an instance: its link, its address, and whom it may reach.
//!
//! ```text
//! supervisor   a table of rules of its own; devices that forward; neighbours, as they change
//! spawner      which address has which policy: elements of the table's sets
//! pid 1        both ends of the sandbox's link, before it gives its privileges up
//! ```
//!
//! A sandbox is parked with its link, which leads nowhere: until it is bound to a policy every packet
//! of it is refused. Bound is an address together with the device that it comes in by, from outside,
//! so that nothing an instance does changes whom it reaches. Where we have no privileges on the machine
//! there are no links: pid 1 leads connections to a socket inside, which the server takes them from
//! ([`Way::Relay`]). Where that cannot be done either every policy is `none`. Decision 0024.

mod changes;
mod expressions;
mod firewalls;
mod links;
mod names;
mod netlink;
mod ruleset;
mod slots;
mod traffic;

pub use firewalls::{Firewalls, Unjudged, firewalls};
pub use names::Addresses;
pub use netlink::Socket;
pub use ruleset::Binder;
pub use traffic::Traffic;

use crate::sys::{
    mounts,
    processes::{self, Fork},
    sockets,
};
use changes::Changes;
use freehold_domain::{
    network::{DEVICES, InstanceLimits, Ipv4Net, NetworkId, Policy, neighbours},
    ports::RELAY_ADDRESS,
};
use rustix::process::{Pid, WaitOptions, waitpid};
use slots::Slot;
use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    sync::Arc,
};

/// Whom instances of a node may reach.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// The named policies, in the order of their numbers.
    pub policies: Vec<Policy>,
    /// How much of it one instance may have.
    pub limits: InstanceLimits,
}

/// How instances get out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a link of their own, and rules of packets.
    Links,
    /// By connections that the server takes and makes for them.
    Relay,
}

/// Leads the connections of this process's network namespace to [`RELAY_ADDRESS`], where they are
/// taken; its loopback is up.
pub fn divert() -> io::Result<()> {
    links::keep_within()?;
    let relay: SocketAddrV4 = RELAY_ADDRESS.parse().map_err(io::Error::other)?;
    ruleset::divert(&Socket::firewall()?, relay.port())
}

/// Does that in a network namespace of its own, which ends with this call; in a user namespace of its
/// own too with `as_user`. For a process with one thread.
pub fn probe_divert(as_user: bool) -> io::Result<()> {
    let (mut said, says) = io::pipe()?;
    let user = if as_user { libc::CLONE_NEWUSER } else { 0 };
    match processes::fork_into((libc::CLONE_NEWNET | user) as u64)? {
        Fork::Child => {
            let done = sockets::raise_loopback().and_then(|()| divert());
            let errno = done.map_or_else(|e| e.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            let _ = (&says).write_all(&errno.to_ne_bytes());
            processes::exit(0)
        }
        Fork::Parent(pid, _) => {
            drop(says);
            let mut errno = [0u8; 4];
            let heard = said.read_exact(&mut errno);
            waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
            heard?;
            match i32::from_ne_bytes(errno) {
                0 => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }
}

/// What every process of the node knows of it.
#[derive(Debug, Clone)]
pub struct Plan {
    slot: u8,
    policies: Arc<Vec<Policy>>,
    limits: InstanceLimits,
    /// The kernel speaks it, so that links have to be kept from it.
    has_ipv6: bool,
}

impl Plan {
    /// The lane's part in it.
    pub fn lane(&self, lane: u16) -> io::Result<(Binder, Addresses)> {
        let mut first = [0u8; 2];
        processes::draw(&mut first)?;
        let addresses = Addresses::new(self.slot, lane, u16::from_ne_bytes(first));
        Ok((Binder::new(self.clone(), lane)?, addresses))
    }

    /// What pid 1 of a sandbox needs to make its link.
    pub fn link(&self, address: Ipv4Addr) -> io::Result<Link> {
        Ok(Link {
            host: Socket::routes()?.into_descriptor(),
            address,
            has_ipv6: self.has_ipv6,
        })
    }
}

/// The link of a sandbox, before it is made.
#[derive(Debug)]
pub struct Link {
    /// Speaks to the machine's network namespace.
    pub host: OwnedFd,
    /// What the instance gets.
    pub address: Ipv4Addr,
    /// See [`Plan`].
    pub has_ipv6: bool,
}

impl Link {
    /// Whether an earlier holder's is still there: the kernel takes links down at leisure, after the
    /// processes that they were made for.
    pub fn is_taken(&self) -> bool {
        links::is_there(&self.host, self.address)
    }

    /// Makes it; the caller is pid 1 of the sandbox, in its own network namespace.
    pub fn connect(self) -> io::Result<()> {
        links::connect(&Socket::of(self.host), self.address, self.has_ipv6)
    }
}

/// Why instances of this node have no network.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct NetworkError {
    /// What was being tried.
    action: &'static str,
    /// Why not.
    source: io::Error,
}

/// The node's part of the machine's network, until [`Node::end`].
#[derive(Debug)]
pub struct Node {
    firewall: Socket,
    changes: Changes,
    slot: Slot,
    plan: Plan,
    opened: Vec<String>,
    neighbours: Vec<Ipv4Net>,
    /// The whole machine forwards, whoever had it do so.
    is_router: bool,
    /// That was set, and has not been looked at.
    is_told_of_forwarding: bool,
    /// The last look failed.
    is_behind: bool,
}

impl Node {
    /// Makes the table, after those of nodes that were killed have been removed.
    ///
    /// Errors: [`NetworkError`]; nothing is left behind.
    pub fn begin(options: NetworkOptions, lanes: u16) -> Result<Self, NetworkError> {
        let failed = |action| move |source| NetworkError { action, source };
        let firewall = Socket::firewall().map_err(failed("the firewall cannot be spoken to"))?;
        let changes = Changes::begin().map_err(failed("addresses cannot be watched"))?;
        let slot = slots::take(&firewall)
            .map_err(failed("the tables of other nodes cannot be looked at"))?;
        let plan = Plan {
            slot: slot.number,
            policies: Arc::new(options.policies),
            limits: options.limits,
            has_ipv6: Path::new("/proc/net/if_inet6").exists(),
        };
        let mut node = Self {
            firewall,
            changes,
            slot,
            plan,
            opened: Vec::new(),
            neighbours: Vec::new(),
            is_router: slots::is_router(),
            // Somebody may be about it now.
            is_told_of_forwarding: true,
            is_behind: false,
        };
        let made = ruleset::make(&node.firewall, &node.plan, lanes)
            .map_err(failed("the table of rules cannot be made"))
            .and_then(|()| {
                node.look()
                    .map_err(failed("devices cannot be made to forward"))
            });
        match made {
            Ok(()) => Ok(node),
            Err(error) => {
                let _ = slots::give_back(&node.firewall, node.slot);
                Err(error)
            }
        }
    }

    /// What every process of the node knows of it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Descriptors that the supervisor keeps open.
    pub fn descriptors(&self) -> [RawFd; 3] {
        use std::os::fd::AsRawFd;
        let raw = |socket: &Socket| socket.as_fd().as_raw_fd();
        [
            raw(&self.firewall),
            self.changes.as_fd().as_raw_fd(),
            self.slot.descriptor(),
        ]
    }

    /// Readable when something of the machine's network may have changed.
    pub fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Something may have. What cannot be done about it is tried again at the next call.
    pub fn changed(&mut self) {
        let told = self.changes.take();
        self.is_told_of_forwarding |= told.forwarding;
        if told.any || self.is_behind {
            self.is_behind = self.look().is_err();
        }
    }

    /// Takes devices and neighbours as they are now.
    fn look(&mut self) -> io::Result<()> {
        let now = neighbours(&fs::read_to_string("/proc/net/route")?, DEVICES);
        if now != self.neighbours {
            ruleset::set_neighbours(&self.firewall, self.plan.slot, &now)?;
            self.neighbours = now;
        }
        if self.is_told_of_forwarding {
            // It is told before the devices follow.
            links::settle()?;
            let is_router = slots::is_router();
            if !is_router {
                // No device forwards any more, those of our instances among them.
                slots::open_links(self.plan.slot)?;
            } else if !self.is_router && slots::forget_opened()? {
                // Somebody wants it: what they forward is none of ours, and nothing is put back.
                ruleset::forget_opened(&self.firewall, self.plan.slot)?;
                self.opened.clear();
            }
            self.is_router = is_router;
            self.is_told_of_forwarding = false;
        }
        let closed = slots::closed()?;
        for device in slots::opened()?.into_iter().chain(closed.clone()) {
            if !self.opened.contains(&device) {
                ruleset::add_opened(&self.firewall, self.plan.slot, &device)?;
                self.opened.push(device);
            }
        }
        // The rules above stand before anything is forwarded that was not.
        closed
            .iter()
            .try_for_each(|device| slots::open_device(device))
    }

    /// Nothing of it is left.
    pub fn end(self) -> io::Result<()> {
        slots::give_back(&self.firewall, self.slot)
    }
}

/// Makes a node's table and a link in a network namespace of its own, which ends with this call.
///
/// Errors: what cannot be made, in words.
pub fn probe() -> Result<(), String> {
    // A thread's namespace is its own: the caller's stays what it is.
    let tried = std::thread::spawn(|| -> io::Result<()> {
        mounts::unshare(libc::CLONE_NEWNET)?;
        let firewall = Socket::firewall()?;
        let plan = Plan {
            slot: 0,
            policies: Arc::default(),
            limits: InstanceLimits {
                connections: 1,
                begun_per_s: 1,
                bytes_per_s: 1 << 20,
            },
            has_ipv6: false,
        };
        ruleset::make(&firewall, &plan, 1)?;
        let (binder, mut addresses) = plan.lane(0)?;
        let address = addresses.take().ok_or(io::ErrorKind::NotFound)?;
        binder.enter(address)?;
        binder.bind(address, NetworkId::INTERNET)?;
        binder.leave(address, true)
    });
    match tried.join() {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the attempt was cut short".to_owned()),
    }
}
