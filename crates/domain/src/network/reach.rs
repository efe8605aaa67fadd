//! Whether a connection is allowed, where the server carries it and no rules of packets decide.

use super::{Host, Ipv4Net, Near, NetworkId, Networks, Rule, near};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The port of mail, from machine to machine: open to nobody whose policy does not name it.
const MAIL: u16 = 25;

/// What an address is to this machine.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Whether it is one of the machine's own.
    pub is_own: bool,
    /// The ranges that the machine is directly on.
    pub neighbours: &'a [Ipv4Net],
}

impl Networks {
    /// Whether instances with the policy may connect to `to`: as the rules of packets have it where
    /// there are links. `is_admitted`: the address is one that a name of the policy stands for, with
    /// this port.
    pub fn allows(
        &self,
        id: NetworkId,
        to: SocketAddrV4,
        around: Surroundings<'_>,
        is_admitted: bool,
    ) -> bool {
        let (address, port) = (*to.ip(), to.port());
        if self.missing().is_some() || port == 0 {
            return false;
        }
        let Some(policy) = self.policy(id) else {
            return id == NetworkId::INTERNET && is_internet(address, port, around);
        };
        let by_rule = policy.rules.iter().any(|rule| match rule {
            Rule::To(Host::Net(net), ports) => {
                net.has(address) && (ports.first..=ports.last).contains(&port)
            }
            Rule::To(Host::Name(_), _) => false,
            Rule::Internet => is_internet(address, port, around),
        });
        by_rule || is_admitted && !is_nobody(address)
    }
}

/// Whether no name leads there.
fn is_nobody(address: Ipv4Addr) -> bool {
    near(address.into()) == Some(Near::Special)
}

fn is_internet(address: Ipv4Addr, port: u16, around: Surroundings<'_>) -> bool {
    let is_near = near(address.into()).is_some()
        || around.is_own
        || around.neighbours.iter().any(|net| net.has(address));
    port != MAIL && !is_near
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Policy;
    use proptest::prelude::*;

    const NOWHERE: Surroundings<'_> = Surroundings {
        is_own: false,
        neighbours: &[],
    };

    fn networks(rules: &[&str]) -> Networks {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Networks::new(
            vec![(
                "orders".to_owned(),
                Policy {
                    rules,
                    tenants: None,
                },
            )],
            "internet",
        )
        .unwrap()
    }

    fn may(networks: &Networks, id: NetworkId, to: &str) -> bool {
        networks.allows(id, to.parse().unwrap(), NOWHERE, false)
    }

    #[test]
    fn the_internet_is_what_is_not_near() {
        let networks = networks(&[]);
        let internet = |to: &str| may(&networks, NetworkId::INTERNET, to);
        assert!(internet("1.1.1.1:443"));
        for near in [
            "1.1.1.1:25",
            "1.1.1.1:0",
            "10.0.0.5:5432",
            "127.0.0.1:80",
            "169.254.169.254:80",
            "100.64.0.1:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "0.0.0.0:80",
        ] {
            assert!(!internet(near), "{near}");
        }
        let to = "9.9.9.1:80".parse().unwrap();
        let own = Surroundings {
            is_own: true,
            ..NOWHERE
        };
        assert!(!networks.allows(NetworkId::INTERNET, to, own, false));
        let beside = [Ipv4Net::around("9.9.9.0".parse().unwrap(), 24)];
        let beside = Surroundings {
            neighbours: &beside,
            ..NOWHERE
        };
        assert!(!networks.allows(NetworkId::INTERNET, to, beside, false));
    }

    #[test]
    fn a_policy_allows_its_hosts_and_ports_and_what_its_names_stand_for() {
        let networks = networks(&["10.0.0.5:5432-5433", "9.9.9.9:25", "db.example.com:5432"]);
        let orders = NetworkId::of_named(0);
        for to in ["10.0.0.5:5432", "10.0.0.5:5433", "9.9.9.9:25"] {
            assert!(may(&networks, orders, to), "{to}");
        }
        for to in ["10.0.0.5:5434", "10.0.0.6:5432", "1.1.1.1:443"] {
            assert!(!may(&networks, orders, to), "{to}");
        }
        let named = "10.7.7.7:5432".parse().unwrap();
        assert!(networks.allows(orders, named, NOWHERE, true));
        // Whatever a name says.
        let metadata = "169.254.169.254:5432".parse().unwrap();
        assert!(!networks.allows(orders, metadata, NOWHERE, true));
    }

    #[test]
    fn with_the_internet_among_its_rules_a_policy_allows_that_too() {
        let networks = networks(&["internet", "10.0.0.5:5432"]);
        let both = NetworkId::of_named(0);
        assert!(may(&networks, both, "1.1.1.1:443") && may(&networks, both, "10.0.0.5:5432"));
        assert!(!may(&networks, both, "10.0.0.6:5432"));
    }

    proptest! {
        #[test]
        fn none_a_policy_that_is_gone_and_a_node_without_networks_allow_nothing(
            address: u32, port: u16, id in 2u16..70
        ) {
            let to = SocketAddrV4::new(Ipv4Addr::from_bits(address), port);
            let none = networks(&["internet"]);
            prop_assert!(!none.allows(NetworkId::NONE, to, NOWHERE, false));
            prop_assert!(!none.allows(NetworkId(id + 1), to, NOWHERE, false));
            let missing = none.missing_because("no nftables".to_owned());
            prop_assert!(!missing.allows(NetworkId::INTERNET, to, NOWHERE, true));
        }
    }
}
