//! What the kernel tells of the machine's network: devices, addresses, routes, and whether it forwards.
//!
//! An instance's own link is told of too, several times, with its route; none of that is about the
//! machine, and whoever looked at the machine each time would do so for every start.

use super::{
    names,
    netlink::{Socket, attributes},
};
use freehold_domain::network::DEVICES;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
/// `RTNLGRP_IPV4_NETCONF`, as the groups of a socket are numbered.
const GROUP_SETTINGS: i32 = 1 << 23;

/// `ifinfomsg`, `ifaddrmsg`, `rtmsg` and `netconfmsg`, and what is looked at behind each.
const LINK: usize = 16;
const IFLA_IFNAME: u16 = 3;
const ADDRESS: usize = 8;
const IFA_LABEL: u16 = 3;
const ROUTE: usize = 12;
const RTA_DST: u16 = 1;
const SETTINGS: usize = 4;
const NETCONFA_IFINDEX: u16 = 1;
/// Of the machine, and not of a device.
const ALL: i32 = -1;

/// What is about the machine.
#[derive(Debug, Default)]
pub struct Told {
    /// Something.
    pub any: bool,
    /// Somebody may have set whether the whole machine forwards, more than once even.
    pub forwarding: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Changes(Socket);

impl Changes {
    /// Hears of everything from here on.
    pub fn begin() -> io::Result<Self> {
        let groups =
            libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV4_ROUTE | GROUP_SETTINGS;
        Socket::hearing(groups.cast_unsigned()).map(Self)
    }

    /// Takes what was told.
    pub fn take(&self) -> Told {
        let mut taken = Told::default();
        self.0.drain(|told| match told {
            Some((kind, body)) if is_of_an_instance(kind, body) => {}
            Some((kind, _)) => {
                taken.any = true;
                taken.forwarding |= kind == RTM_NEWNETCONF;
            }
            None => {
                taken = Told {
                    any: true,
                    forwarding: true,
                };
            }
        });
        taken
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a message is about an instance's link alone, or a setting of one device.
fn is_of_an_instance(kind: u16, body: &[u8]) -> bool {
    let (head, looked_at) = match kind {
        RTM_NEWLINK | RTM_DELLINK => (LINK, IFLA_IFNAME),
        RTM_NEWADDR | RTM_DELADDR => (ADDRESS, IFA_LABEL),
        RTM_NEWROUTE | RTM_DELROUTE => (ROUTE, RTA_DST),
        RTM_NEWNETCONF | RTM_DELNETCONF => (SETTINGS, NETCONFA_IFINDEX),
        _ => return false,
    };
    let all = body.get(head..).unwrap_or_default();
    let Some((_, value)) = attributes(all).find(|(kind, _)| *kind == looked_at) else {
        return false;
    };
    match kind {
        RTM_NEWROUTE | RTM_DELROUTE => value
            .first_chunk::<4>()
            .is_some_and(|address| names::is_of_an_instance((*address).into())),
        RTM_NEWNETCONF | RTM_DELNETCONF => value
            .first_chunk::<4>()
            .is_some_and(|index| i32::from_ne_bytes(*index) != ALL),
        _ => value.starts_with(DEVICES.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::netlink::Messages;

    fn body(head: usize, kind: u16, value: &[u8]) -> Vec<u8> {
        let mut messages = Messages::default();
        messages.put(99, &[1]).put(kind, value);
        [vec![0; head], messages.bytes().to_vec()].concat()
    }

    #[test]
    fn what_is_told_of_instances_is_told_apart() {
        let check = |kind, (head, at, value): (usize, u16, &[u8]), expected| {
            assert_eq!(is_of_an_instance(kind, &body(head, at, value)), expected);
        };
        for kind in [RTM_NEWLINK, RTM_DELLINK] {
            check(kind, (LINK, IFLA_IFNAME, b"fh00010002\0"), true);
            check(kind, (LINK, IFLA_IFNAME, b"eth0\0"), false);
        }
        check(RTM_NEWADDR, (ADDRESS, IFA_LABEL, b"fh00010002\0"), true);
        check(RTM_NEWADDR, (ADDRESS, IFA_LABEL, b"lan0\0"), false);
        check(RTM_NEWROUTE, (ROUTE, RTA_DST, &[240, 0, 0, 1]), true);
        check(RTM_DELROUTE, (ROUTE, RTA_DST, &[10, 1, 0, 0]), false);
        let index = |index: i32| index.to_ne_bytes();
        check(
            RTM_NEWNETCONF,
            (SETTINGS, NETCONFA_IFINDEX, &index(7)),
            true,
        );
        check(
            RTM_NEWNETCONF,
            (SETTINGS, NETCONFA_IFINDEX, &index(ALL)),
            false,
        );
        // A default route has no destination, and what is not known may be anything.
        check(RTM_NEWROUTE, (ROUTE, 4, &[1]), false);
        check(200, (LINK, IFLA_IFNAME, b"fh00010002\0"), false);
        assert!(!is_of_an_instance(RTM_NEWLINK, &[]));
    }
}
