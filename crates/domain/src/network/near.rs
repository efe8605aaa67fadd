//! What the public internet is not.
//!
//! Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and what updates it).
//! The addresses of this machine and of its neighbours may be public ones; whoever enforces this
//! adds them.

use super::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not of the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Near {
    /// A private range, or one that a carrier shares: a policy may name hosts in it.
    Private,
    /// Never a host that a function has any business with: the machine itself, the link, ranges for
    /// tests and documents, groups, what is reserved.
    Special,
}

const fn net(a: u8, b: u8, c: u8, bits: u8) -> Ipv4Net {
    match Ipv4Net::new(Ipv4Addr::new(a, b, c, 0), bits) {
        Some(net) => net,
        None => panic!("a range of the table has bits below its length"),
    }
}

/// Every range of IPv4 that is near.
pub const NEAR_IPV4: [(Ipv4Net, Near); 16] = [
    (net(0, 0, 0, 8), Near::Special),       // this network
    (net(10, 0, 0, 8), Near::Private),      // private
    (net(100, 64, 0, 10), Near::Private),   // shared by a carrier
    (net(127, 0, 0, 8), Near::Special),     // loopback
    (net(169, 254, 0, 16), Near::Special),  // link, with the metadata of clouds
    (net(172, 16, 0, 12), Near::Private),   // private
    (net(192, 0, 0, 24), Near::Special),    // protocols
    (net(192, 0, 2, 24), Near::Special),    // documents
    (net(192, 31, 196, 24), Near::Special), // AS112
    (net(192, 52, 193, 24), Near::Special), // automatic tunnels
    (net(192, 88, 99, 24), Near::Special),  // relays of 6to4
    (net(192, 168, 0, 16), Near::Private),  // private
    (net(198, 18, 0, 15), Near::Special),   // benches
    (net(198, 51, 100, 24), Near::Special), // documents
    (net(203, 0, 113, 24), Near::Special),  // documents
    // Groups, and what is reserved, which the addresses of instances and the broadcast lie in.
    (net(224, 0, 0, 3), Near::Special),
];

/// The ranges of global IPv6 that are not the public internet; all beyond `2000::/3` is not.
pub const NEAR_IPV6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocols, Teredo, benches, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documents
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: any IPv4 address
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documents
];

/// Why `address` is not of the public internet; nothing where it is.
///
/// An IPv6 address that stands for one of IPv4 (mapped, compatible, NAT64, 6to4) is special,
/// whichever it stands for: there is always the plain form.
pub fn near(address: IpAddr) -> Option<Near> {
    match address {
        IpAddr::V4(address) => {
            let found = NEAR_IPV4.iter().find(|(net, _)| net.has(address));
            found.map(|(_, why)| *why)
        }
        IpAddr::V6(address) => near_ipv6(address),
    }
}

fn near_ipv6(address: Ipv6Addr) -> Option<Near> {
    let within = |base: Ipv6Addr, bits: u8| {
        let mask = u128::MAX << (128 - u32::from(bits));
        address.to_bits() & mask == base.to_bits()
    };
    if within(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7) {
        return Some(Near::Private);
    }
    let is_global = within(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    let is_special = NEAR_IPV6.iter().any(|(base, bits)| within(*base, *bits));
    (!is_global || is_special).then_some(Near::Special)
}

/// The ranges that are reached without a gateway, of the kernel's table of routes as text
/// (`/proc/net/route`), without those by devices whose name begins with `ours`.
pub fn neighbours(table: &str, ours: &str) -> Vec<Ipv4Net> {
    let mut all: Vec<Ipv4Net> = Vec::new();
    for line in table.lines().skip(1) {
        let mut fields = line.split_whitespace();
        let device = fields.next().unwrap_or_default();
        let mut number = |place: usize| {
            let text = fields.nth(place)?;
            // As the bytes lie in memory.
            u32::from_str_radix(text, 16).ok().map(u32::from_be)
        };
        let (Some(to), Some(gateway), Some(mask)) = (number(0), number(0), number(4)) else {
            continue;
        };
        if device.starts_with(ours) || gateway != 0 || mask == 0 {
            continue;
        }
        let bits = u8::try_from(mask.count_ones()).unwrap_or(32);
        let net = Ipv4Net::around(Ipv4Addr::from_bits(to), bits);
        if !all.contains(&net) {
            all.push(net);
        }
    }
    all.sort_by_key(|net| (net.base(), net.bits()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_are_what_needs_no_gateway_and_is_not_ours() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth1\t00102001\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0\n\
            eth1\t0000000A\t01020001\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n\
            fh05000001\t010000F0\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n";
        let found = neighbours(table, "fh");
        let found: Vec<String> = found.iter().map(Ipv4Net::to_string).collect();
        assert_eq!(found, ["1.32.16.0/20", "192.0.2.0/24"]);
        assert!(neighbours("", "fh").is_empty());
    }

    fn of(text: &str) -> Option<Near> {
        near(text.parse().unwrap())
    }

    #[test]
    fn every_range_is_near_to_its_edges_and_no_further() {
        for (inside, outside) in [
            (["0.0.0.0", "0.255.255.255"], ["1.0.0.0", "1.0.0.0"]),
            (
                ["10.0.0.0", "10.255.255.255"],
                ["9.255.255.255", "11.0.0.0"],
            ),
            (
                ["100.64.0.0", "100.127.255.255"],
                ["100.63.255.255", "100.128.0.0"],
            ),
            (
                ["127.0.0.0", "127.255.255.255"],
                ["126.255.255.255", "128.0.0.0"],
            ),
            (
                ["169.254.0.0", "169.254.255.255"],
                ["169.253.255.255", "169.255.0.0"],
            ),
            (
                ["172.16.0.0", "172.31.255.255"],
                ["172.15.255.255", "172.32.0.0"],
            ),
            (
                ["192.0.0.0", "192.0.0.255"],
                ["191.255.255.255", "192.0.1.0"],
            ),
            (["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
            (
                ["192.88.99.0", "192.88.99.255"],
                ["192.88.98.255", "192.88.100.0"],
            ),
            (
                ["192.168.0.0", "192.168.255.255"],
                ["192.167.255.255", "192.169.0.0"],
            ),
            (
                ["198.18.0.0", "198.19.255.255"],
                ["198.17.255.255", "198.20.0.0"],
            ),
            (
                ["198.51.100.0", "198.51.100.255"],
                ["198.51.99.255", "198.51.101.0"],
            ),
            (
                ["203.0.113.0", "203.0.113.255"],
                ["203.0.112.255", "203.0.114.0"],
            ),
            (
                ["224.0.0.0", "255.255.255.255"],
                ["223.255.255.255", "223.255.255.255"],
            ),
            (
                ["fc00::", "fdff:ffff::"],
                ["2606:4700::1111", "2a00:1450::1"],
            ),
            (["::", "::1"], ["2000::1", "2620:fe::fe"]),
            (
                ["::ffff:8.8.8.8", "::8.8.8.8"],
                ["2001:4860:4860::8888", "2001:200::1"],
            ),
            (
                ["64:ff9b::808:808", "64:ff9b:1::1"],
                ["2003::1", "2400:cb00::1"],
            ),
            (["2002:808:808::1", "2001::1"], ["2003::1", "2001:200::"]),
            (["fe80::1", "febf::1"], ["2800::1", "2c0f::1"]),
            (["fec0::1", "ff02::1"], ["2600::1", "2a02::1"]),
            (
                ["2001:db8::1", "2001:db8:ffff::"],
                ["2001:db9::", "2001:db7::"],
            ),
            (["3fff::1", "3fff:fff::1"], ["3ffe::1", "3fff:1000::1"]),
            (["100::1", "5f00::1"], ["2606::1", "2607::1"]),
        ] {
            for address in inside {
                assert!(of(address).is_some(), "{address} is near");
            }
            for address in outside {
                assert_eq!(of(address), None, "{address} is public");
            }
        }
    }

    #[test]
    fn private_is_what_a_policy_may_name() {
        for address in [
            "10.1.2.3",
            "172.20.0.1",
            "192.168.1.1",
            "100.100.0.1",
            "fd00::1",
        ] {
            assert_eq!(of(address), Some(Near::Private), "{address}");
        }
        for address in [
            "169.254.169.254",
            "127.0.0.1",
            "240.0.0.1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(of(address), Some(Near::Special), "{address}");
        }
    }

    proptest! {
        /// The ways to write an IPv4 address in IPv6 lead nowhere that the plain one does not.
        #[test]
        fn no_form_of_an_ipv4_address_in_ipv6_is_public(bits: u32, low: u64) {
            let plain = Ipv4Addr::from_bits(bits);
            let whole = u128::from(bits);
            let low = u128::from(low);
            for form in [
                plain.to_ipv6_mapped().to_bits(),
                whole,
                (0x0064_ff9b_u128 << 96) | whole,
                (0x0064_ff9b_0001_u128 << 80) | whole,
                (0x2002_u128 << 112) | (whole << 80) | low,
                (0x2001_0000_u128 << 96) | (whole << 64) | low,
            ] {
                prop_assert!(near(Ipv6Addr::from_bits(form).into()).is_some());
            }
        }

        /// The standard library's words for these ranges, as far as it has stable ones.
        #[test]
        fn what_the_library_calls_private_is_near(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let known = address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
                || address.is_documentation()
                || address.is_multicast()
                || address.is_unspecified();
            if known {
                prop_assert!(near(address.into()).is_some());
            }
            prop_assert_eq!(address.is_private(), near(address.into()) == Some(Near::Private)
                && !Ipv4Net::around(Ipv4Addr::new(100, 64, 0, 0), 10).has(address));
        }
    }
}
