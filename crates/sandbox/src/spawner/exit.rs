//! The way out of a lane's sandboxes: an address for each, and what is bound to it.

use super::sandbox::Failed;
use crate::network::{Addresses, Binder, Link, Plan, Traffic};
use freehold_domain::{
    NetworkBytes,
    network::{NetworkId, Ports},
};
use rustix::fs::{Mode, OFlags, open};
use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

/// Addresses that are passed over for one start: an earlier holder of the lane had them.
const TAKEN_MAX: usize = 10_000;

/// Of all sandboxes of a lane.
#[derive(Debug)]
pub struct Exit {
    plan: Plan,
    binder: Binder,
    addresses: Addresses,
    /// The machine's `/proc`.
    processes: OwnedFd,
}

/// Of one sandbox.
#[derive(Debug)]
pub struct Address {
    address: Ipv4Addr,
    /// Its rules know it.
    is_known: bool,
    /// It has a policy.
    is_bound: bool,
    /// What it sends and receives, from when its rules know it.
    traffic: Option<Traffic>,
}

impl Address {
    /// What went over its link so far.
    pub fn traffic(&self) -> NetworkBytes {
        let read = self.traffic.as_ref().map(Traffic::read);
        // A device that root took away meanwhile has no count any more.
        read.and_then(Result::ok).unwrap_or_default()
    }
}

impl Exit {
    /// With nothing bound; to be called in the machine's own mount namespace.
    pub fn open(plan: Plan, lane: u16) -> io::Result<Self> {
        let (binder, addresses) = plan.lane(lane)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let processes = open("/proc", flags, Mode::empty())?;
        Ok(Self {
            plan,
            binder,
            addresses,
            processes,
        })
    }

    /// An address for a sandbox that is being made, and the link for its pid 1.
    pub fn take(&mut self) -> io::Result<(Address, Link)> {
        for _ in 0..TAKEN_MAX {
            let Some(address) = self.addresses.take() else {
                break;
            };
            let link = self.plan.link(address);
            if link.as_ref().is_ok_and(|link| !link.is_taken()) {
                let taken = Address {
                    address,
                    is_known: false,
                    is_bound: false,
                    traffic: None,
                };
                return link.map(|link| (taken, link));
            }
            self.addresses.give_back(address);
            link?;
        }
        Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))
    }

    /// The sandbox, whose pid 1 has `pid` and has made its link, may be bound from here on.
    pub fn enter(&self, one: &mut Address, pid: i32) -> io::Result<()> {
        one.traffic = Some(Traffic::of(self.processes.as_fd(), pid)?);
        self.binder.enter(one.address)?;
        one.is_known = true;
        Ok(())
    }

    /// Whom it reaches.
    pub fn bind(&self, one: &mut Address, network: NetworkId) -> Result<(), Failed> {
        if network == NetworkId::NONE {
            return Ok(());
        }
        let bound = self.binder.bind(one.address, network);
        bound.map_err(|error| ("network", error))?;
        one.is_bound = true;
        Ok(())
    }

    /// It has ended: its address is free once the rules have forgotten it. One that they cannot
    /// forget is nobody's any more.
    pub fn leave(&mut self, one: Address) {
        let forgotten = match one.is_known {
            true => self.binder.leave(one.address, one.is_bound),
            false => Ok(()),
        };
        if forgotten.is_ok() {
            self.addresses.give_back(one.address);
        }
    }

    /// A name of a policy has this address.
    pub fn admit(
        &self,
        network: NetworkId,
        address: Ipv4Addr,
        ports: Ports,
        lives: Duration,
    ) -> io::Result<()> {
        self.binder.admit(network, address, ports, lives)
    }
}
