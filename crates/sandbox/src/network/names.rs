//! Addresses and names of instances on the machine, all of them made of numbers.
//!
//! ```text
//! address  1111 sssssss llllll nnnnnnnnnnnnnnn    240.0.0.0/4, which nobody routes
//! device   fhSSLLNNNN                             the same three numbers, hexadecimal
//!          s: the node's slot on the machine, l: the lane, n: the sandbox
//! ```

use freehold_domain::network::{DEVICES, Ipv4Net};
use std::{collections::VecDeque, net::Ipv4Addr};

/// The addresses of all instances of all nodes of a machine.
const BASE: u32 = 0xf000_0000;
/// Nodes that a machine may have: the range of the last one stays below the broadcast address.
pub const SLOTS: u8 = 127;
const LANE_BITS: u32 = 15;
const SLOT_BITS: u32 = 21;

/// The range of a node's instances.
pub fn range(slot: u8) -> Ipv4Net {
    let base = Ipv4Addr::from_bits(BASE | u32::from(slot) << SLOT_BITS);
    Ipv4Net::around(base, 32 - SLOT_BITS as u8)
}

/// What the devices of a node's instances begin with.
pub fn devices(slot: u8) -> String {
    format!("{DEVICES}{slot:02x}")
}

/// Whether an address is one of the instances' of this machine.
pub fn is_of_an_instance(address: Ipv4Addr) -> bool {
    address.to_bits() & BASE == BASE
}

/// What those of one of its lanes begin with.
pub fn devices_of_lane(slot: u8, lane: u16) -> String {
    format!("{DEVICES}{slot:02x}{lane:02x}")
}

/// The device of the instance with this address, on the machine's side.
pub fn device(address: Ipv4Addr) -> String {
    let bits = address.to_bits();
    let slot = bits >> SLOT_BITS & 0x7f;
    let lane = bits >> LANE_BITS & 0x3f;
    let number = bits & ((1 << LANE_BITS) - 1);
    format!("{DEVICES}{slot:02x}{lane:02x}{number:04x}")
}

/// The free addresses of a lane, longest unused first: what was said to the last holder of one may
/// be on its way still.
#[derive(Debug)]
pub struct Addresses(VecDeque<u32>);

impl Addresses {
    /// All of a lane's. `lane` is below 64; `first` is where to begin: anywhere, so that an earlier holder of
    /// the lane and whoever spoke to its instances mean others.
    pub fn new(slot: u8, lane: u16, first: u16) -> Self {
        let base = BASE | u32::from(slot) << SLOT_BITS | u32::from(lane & 0x3f) << LANE_BITS;
        // Not the range's first and last, which some programs take for the network's own.
        let mut all: VecDeque<u32> = (1..(1 << LANE_BITS) - 1).map(|n| base + n).collect();
        all.rotate_left(usize::from(first) % all.len());
        Self(all)
    }

    /// The one that has been free the longest.
    pub fn take(&mut self) -> Option<Ipv4Addr> {
        self.0.pop_front().map(Ipv4Addr::from_bits)
    }

    /// Back, once nothing of it is left.
    pub fn give_back(&mut self, address: Ipv4Addr) {
        self.0.push_back(address.to_bits());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_by_their_address_and_fit() {
        let mut seen = std::collections::HashSet::new();
        for slot in [0, 1, SLOTS - 1] {
            for lane in [0, 1, 63] {
                let mut addresses = Addresses::new(slot, lane, 0);
                for address in [
                    addresses.take().unwrap(),
                    *addresses
                        .0
                        .back()
                        .map(|b| Ipv4Addr::from_bits(*b))
                        .as_ref()
                        .unwrap(),
                ] {
                    let device = device(address);
                    assert!(device.starts_with(&devices_of_lane(slot, lane)), "{device}");
                    assert!(device.starts_with(&devices(slot)) && device.len() < 16);
                    assert!(range(slot).has(address), "{address}");
                    assert!(!address.is_broadcast() && address.octets()[0] >= 240);
                    assert!(seen.insert(device));
                }
            }
        }
    }

    #[test]
    fn an_address_rests_as_long_as_possible_before_it_is_used_again() {
        let mut addresses = Addresses::new(3, 5, u16::MAX);
        let first = addresses.take().unwrap();
        addresses.give_back(first);
        let all: Vec<Ipv4Addr> = std::iter::from_fn(|| addresses.take()).collect();
        assert_eq!(all.len(), 32766);
        assert_eq!(all.last(), Some(&first));
    }
}
