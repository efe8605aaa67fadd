//! Uids of instances: numbers that nobody else on the machine uses, longest unused first.

use std::collections::VecDeque;

/// First uid of all: above what distributions give to users and services, and above what systemd
/// gives to containers (up to 0x6fff_ffff).
const FIRST: u32 = 0x7000_0000;
/// Uids per server.
const PER_SERVER: u32 = 1 << 21;
/// Servers that may exist beside each other. The last range ends below 0x7fe0_0000: above lie the
/// server's own uid and, from 0x7ffe_0000 on, systemd's foreign ones.
const SERVERS: u32 = 127;
/// Uids per lane.
const PER_LANE: u32 = 1 << 15;
/// Lanes that fit.
pub const LANES_MAX: u16 = (PER_SERVER / PER_LANE) as u16;

/// The free uids of a lane: even ones for guests, the odd one above for their pid 1.
#[derive(Debug)]
pub struct Uids(VecDeque<u32>);

impl Uids {
    /// Those of `lane` under the supervisor with pid `server`, `count` pairs.
    pub fn new(server: u32, lane: u16, count: u32) -> Uids {
        let base = FIRST + (server % SERVERS) * PER_SERVER + u32::from(lane) * PER_LANE;
        Uids(
            (0..count.min(PER_LANE / 2))
                .map(|pair| base + pair * 2)
                .collect(),
        )
    }

    /// The one that has been free the longest.
    pub fn take(&mut self) -> Option<u32> {
        self.0.pop_front()
    }

    /// Back, once nothing of it is left.
    pub fn give_back(&mut self, uid: u32) {
        self.0.push_back(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_rests_as_long_as_possible_before_it_is_used_again() {
        let mut uids = Uids::new(1000, 1, 4);
        let first = uids.take().unwrap();
        uids.give_back(first);
        let next: Vec<u32> = std::iter::from_fn(|| uids.take()).collect();
        assert_eq!(next.len(), 4);
        assert_eq!(next[3], first);
    }

    #[test]
    fn lanes_and_servers_share_no_uid_with_each_other_or_systemd() {
        let last = |server, lane| Uids::new(server, lane, u32::MAX).0.back().copied().unwrap();
        for server in 0..4096 {
            let first = Uids::new(server, 0, 1).take().unwrap();
            assert!(first > 1_879_048_191, "systemd-nspawn's end there");
            // With the pid 1 of the last guest.
            let last = last(server, LANES_MAX - 1) + 1;
            assert!(last < 0x7fe0_0000, "the server's own lies there");
        }
        assert!(last(5, 0) < Uids::new(5, 1, 1).take().unwrap());
        assert!(last(5, LANES_MAX - 1) < Uids::new(6, 0, 1).take().unwrap());
    }
}
