//! The two ends of an instance's link, made by its pid 1 while that still has privileges.
//!
//! ```text
//! eth0 (the instance's namespace, its address) ──veth── fhSSLLNNNN (the machine's, no address)
//! ```
//!
//! Both ends have one hardware address, drawn for them, and ask nobody for another's, so that there is
//! no bridge, no gateway and nothing to be spoofed between them: what goes in on one side comes out on
//! the other.

use super::{
    names,
    netlink::{CREATE, EXCLUSIVE, Messages, Socket},
};
use crate::sys::processes;
use rustix::net::netdevice::name_to_index;
use std::{io, net::Ipv4Addr, os::fd::AsFd};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
/// `IPV4_DEVCONF_FORWARDING`.
const FORWARDING: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;

const UP: u32 = libc::IFF_UP as u32 | libc::IFF_NOARP as u32;
/// Of a hardware address: locally administered, and of one host.
const OURS: u8 = 0x02;
/// The instance's end.
pub const INSIDE: &str = "eth0";

/// Both ends of a link have it, and nobody else: programs take it for a number of the machine's own
/// (version 1 of UUIDs), which two instances must not have in common.
fn hardware() -> io::Result<[u8; 6]> {
    let mut address = [OURS; 6];
    processes::draw(&mut address[1..])?;
    Ok(address)
}

/// `ifinfomsg`.
fn link(index: u32, flags: u32) -> [u8; 16] {
    let mut body = [0u8; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..].copy_from_slice(&flags.to_ne_bytes());
    body
}

/// `rtmsg` of a route to a link, in the main table.
fn route(bits: u8) -> [u8; 12] {
    let mut body = [0u8; 12];
    body[0] = libc::AF_INET as u8;
    body[1] = bits;
    body[4] = libc::RT_TABLE_MAIN;
    body[5] = libc::RTPROT_STATIC;
    body[6] = libc::RT_SCOPE_LINK;
    body[7] = libc::RTN_UNICAST;
    body
}

/// Returns when nobody changes links or their settings any more who did before: the kernel does one such
/// thing at a time, and this asks for one that changes nothing.
pub fn settle() -> io::Result<()> {
    let here = Socket::routes()?;
    let loopback = name_to_index(&here, "lo")?;
    let mut messages = Messages::default();
    messages.begin(RTM_NEWLINK, 0, true, &link(loopback, 0));
    here.send(messages)
}

/// Whether the machine has the device of the instance with this address.
pub fn is_there(host: impl AsFd, address: Ipv4Addr) -> bool {
    name_to_index(host, &names::device(address)).is_ok()
}

/// Makes the link between this process's network namespace, which is pid 1's of a sandbox, and the
/// one that `host` was made in. `has_ipv6`: the kernel speaks it, and is to be kept from it here.
pub fn connect(host: &Socket, address: Ipv4Addr, has_ipv6: bool) -> io::Result<()> {
    let device = names::device(address);
    let hardware = hardware()?;
    let mut messages = Messages::default();
    let new = CREATE | EXCLUSIVE;
    messages
        .begin(RTM_NEWLINK, new, true, &link(0, UP))
        .text(IFLA_IFNAME, &device)
        .put(IFLA_ADDRESS, &hardware)
        .nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth")
                .nest(IFLA_INFO_DATA, |data| {
                    data.nest(VETH_INFO_PEER, |peer| {
                        peer.raw(&link(0, libc::IFF_NOARP as u32))
                            .text(IFLA_IFNAME, INSIDE)
                            .put(IFLA_ADDRESS, &hardware)
                            // Its own number, as the process itself sees it.
                            .native(IFLA_NET_NS_PID, std::process::id());
                    });
                });
        });
    host.send(messages)?;
    let outside = name_to_index(host, &device)?;
    let mut messages = Messages::default();
    messages
        .begin(RTM_NEWLINK, 0, true, &link(outside, 0))
        .nest(IFLA_AF_SPEC, |families| {
            families.nest(libc::AF_INET as u16, |inet| {
                inet.nest(IFLA_INET_CONF, |settings| {
                    settings.native(FORWARDING, 1);
                });
            });
        });
    messages
        .begin(RTM_NEWROUTE, new, true, &route(32))
        .put(RTA_DST, &address.octets())
        .native(RTA_OIF, outside);
    host.send(messages)?;
    if has_ipv6 {
        // The rules drop all of it; this spares the kernel the talking.
        let _ = host.send(without_ipv6(outside));
    }

    let here = Socket::routes()?;
    let inside = name_to_index(&here, INSIDE)?;
    if has_ipv6 {
        let _ = here.send(without_ipv6(inside));
    }
    let mut messages = Messages::default();
    messages.begin(RTM_NEWLINK, 0, true, &link(inside, UP));
    let mut own = [0u8; 8];
    own[0] = libc::AF_INET as u8;
    own[1] = 32;
    own[4..].copy_from_slice(&inside.to_ne_bytes());
    messages
        .begin(RTM_NEWADDR, new, true, &own)
        .put(IFA_LOCAL, &address.octets())
        .put(IFA_ADDRESS, &address.octets());
    messages
        .begin(RTM_NEWROUTE, new, true, &route(0))
        .native(RTA_OIF, inside)
        .put(RTA_PREFSRC, &address.octets());
    here.send(messages)
}

/// Makes every address of IPv4 one of this process's network namespace, so that connections to it
/// are made within.
pub fn keep_within() -> io::Result<()> {
    let here = Socket::routes()?;
    let loopback = name_to_index(&here, "lo")?;
    let mut all = route(0);
    all[4] = libc::RT_TABLE_LOCAL;
    all[6] = libc::RT_SCOPE_HOST;
    all[7] = libc::RTN_LOCAL;
    let mut messages = Messages::default();
    messages
        .begin(RTM_NEWROUTE, CREATE | EXCLUSIVE, true, &all)
        .native(RTA_OIF, loopback);
    here.send(messages)
}

/// No address of its own for a link.
fn without_ipv6(index: u32) -> Messages {
    let mut messages = Messages::default();
    messages
        .begin(RTM_NEWLINK, 0, true, &link(index, 0))
        .nest(IFLA_AF_SPEC, |families| {
            families.nest(libc::AF_INET6 as u16, |inet6| {
                inet6.put(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE]);
            });
        });
    messages
}
