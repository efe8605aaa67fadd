//! Who functions may reach: ranges of addresses, policies, and the numbers that they have on a node.
//!
//! A policy is chosen by its name and enforced by its number. What is *near* is what the public
//! internet is not: the machine itself, its neighbours, private, shared and special ranges.
//! Instances have IPv4 alone; ranges of IPv6 are known here because answers to names carry them.

mod near;
mod reach;
mod rule;

pub use near::{NEAR_IPV4, NEAR_IPV6, Near, near, neighbours};
pub use reach::Surroundings;
pub use rule::{Host, NamePattern, PORTS_OF_A_NAME_MAX, Ports, Rule, RuleError};

use crate::ids::TenantId;
use std::{fmt, net::Ipv4Addr};

/// Policies of a node at the most.
pub const POLICIES_MAX: usize = 64;
/// Rules of a policy at the most.
pub const RULES_MAX: usize = 64;
/// What the machine's end of every instance's link is called, to begin with.
pub const DEVICES: &str = "fh";

/// What one instance may have of the network.
#[derive(Debug, Clone, Copy)]
pub struct InstanceLimits {
    /// Connections at once.
    pub connections: u32,
    /// Connections that it may begin in a second, and as many in one go; what is beyond is refused.
    pub begun_per_s: u32,
    /// Bytes in a second, each way.
    pub bytes_per_s: u64,
}

/// A policy by its number on this node, for as long as the node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId(pub u16);

impl NetworkId {
    /// Loopback and the platform's endpoint, nothing else.
    pub const NONE: Self = Self(0);
    /// The public internet and nothing near.
    pub const INTERNET: Self = Self(1);
    /// The first of the named policies.
    const FIRST_NAMED: u16 = 2;

    /// Its place among the named policies.
    pub fn named(self) -> Option<usize> {
        self.0.checked_sub(Self::FIRST_NAMED).map(usize::from)
    }

    /// The named policy in this place.
    pub fn of_named(place: usize) -> Self {
        let place = u16::try_from(place).unwrap_or(u16::MAX - Self::FIRST_NAMED);
        Self(Self::FIRST_NAMED + place)
    }
}

/// The name of [`NetworkId::NONE`].
pub const NONE: &str = "none";
/// The name of [`NetworkId::INTERNET`].
pub const INTERNET: &str = "internet";

/// The function's tag that names its policy.
pub const TAG: &str = "freehold:network";

/// Whether `name` may name a policy: 1 to 63 lower-case letters, digits and inner hyphens, and
/// neither of the two names that every node has.
pub fn is_policy_name(name: &str) -> bool {
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(of_name)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name != NONE
        && name != INTERNET
}

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Net {
    base: Ipv4Addr,
    bits: u8,
}

impl Ipv4Net {
    /// `None` for more than 32 bits, or an address that has bits below them.
    pub const fn new(base: Ipv4Addr, bits: u8) -> Option<Self> {
        if bits > 32 {
            return None;
        }
        let net = Self { base, bits };
        match base.to_bits() & !net.mask() {
            0 => Some(net),
            _ => None,
        }
    }

    /// The whole range that `address` lies in.
    pub const fn around(address: Ipv4Addr, bits: u8) -> Self {
        let bits = if bits > 32 { 32 } else { bits };
        let mask = Self {
            base: address,
            bits,
        }
        .mask();
        Self {
            base: Ipv4Addr::from_bits(address.to_bits() & mask),
            bits,
        }
    }

    /// Its first address.
    pub const fn base(self) -> Ipv4Addr {
        self.base
    }

    /// How many bits its addresses have in common.
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// Ones where its addresses are the same.
    pub const fn mask(self) -> u32 {
        match self.bits {
            0 => 0,
            bits => u32::MAX << (32 - bits),
        }
    }

    /// Whether `address` lies in it.
    pub const fn has(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.base.to_bits()
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            32 => self.base.fmt(f),
            bits => write!(f, "{}/{bits}", self.base),
        }
    }
}

/// A named policy: who may be reached, and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whoever any of these allows.
    pub rules: Vec<Rule>,
    /// Whose functions may have it; nothing where all tenants' may.
    pub tenants: Option<Vec<TenantId>>,
}

impl Policy {
    /// Whether functions of this tenant may have it.
    pub fn is_for(&self, tenant: &TenantId) -> bool {
        let tenants = self.tenants.as_ref();
        tenants.is_none_or(|tenants| tenants.contains(tenant))
    }

    /// Whether the public internet is among them.
    pub fn has_internet(&self) -> bool {
        self.rules.contains(&Rule::Internet)
    }

    /// The ports of each rule that allows `name`, and whether its answers may be private addresses.
    pub fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (Ports, bool)> + 'a {
        self.rules.iter().filter_map(move |rule| match rule {
            Rule::To(Host::Name(pattern), ports) if pattern.matches(name) => {
                Some((*ports, !pattern.is_wildcard()))
            }
            _ => None,
        })
    }

    /// The ports of each rule for names.
    pub fn ports_of_names(&self) -> impl Iterator<Item = Ports> {
        self.rules.iter().filter_map(|rule| match rule {
            Rule::To(Host::Name(_), ports) => Some(*ports),
            _ => None,
        })
    }

    /// Whether it has a rule for names.
    pub fn has_names(&self) -> bool {
        let is_name = |rule: &Rule| matches!(rule, Rule::To(Host::Name(_), _));
        self.rules.iter().any(is_name)
    }
}

/// The policies of a node, by name and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    named: Vec<(String, Policy)>,
    default: NetworkId,
    /// Why instances of this node have no network at all; nothing where they have.
    missing: Option<String>,
}

impl Default for Networks {
    fn default() -> Self {
        Self {
            named: Vec::new(),
            default: NetworkId::INTERNET,
            missing: None,
        }
    }
}

impl Networks {
    /// `default` is the policy of functions that name none.
    pub fn new(named: Vec<(String, Policy)>, default: &str) -> Option<Self> {
        let mut networks = Self {
            named,
            ..Self::default()
        };
        networks.default = networks.number(default)?;
        Some(networks)
    }

    /// This node cannot connect its instances.
    pub fn missing_because(self, reason: String) -> Self {
        Self {
            missing: Some(reason),
            ..self
        }
    }

    /// Why instances have no network here; nothing where they have.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// The number of a policy.
    pub fn number(&self, name: &str) -> Option<NetworkId> {
        match name {
            NONE => Some(NetworkId::NONE),
            INTERNET => Some(NetworkId::INTERNET),
            name => {
                let place = self.named.iter().position(|(known, _)| known == name)?;
                Some(NetworkId::of_named(place))
            }
        }
    }

    /// The number of a policy that functions of this tenant may have.
    pub fn number_for(&self, name: &str, tenant: &TenantId) -> Option<NetworkId> {
        self.number(name).filter(|id| self.is_for(*id, tenant))
    }

    fn is_for(&self, id: NetworkId, tenant: &TenantId) -> bool {
        let named = self.policy(id);
        named.is_none_or(|policy| policy.is_for(tenant))
    }

    /// What an instance of a function gets that names this policy, or none. A policy that is not
    /// there any more, or is others' by now, allows nothing.
    pub fn of_function(&self, name: Option<&str>, tenant: &TenantId) -> NetworkId {
        let id = match (&self.missing, name) {
            (Some(_), _) => None,
            (None, None) => Some(self.default),
            (None, Some(name)) => self.number(name),
        };
        id.filter(|id| self.is_for(*id, tenant))
            .unwrap_or(NetworkId::NONE)
    }

    /// A named policy.
    pub fn policy(&self, id: NetworkId) -> Option<&Policy> {
        let (_, policy) = self.named.get(id.named()?)?;
        Some(policy)
    }

    /// Every name that a function of this tenant may ask for; what others have is not theirs to know.
    pub fn names_for(&self, tenant: &TenantId) -> impl Iterator<Item = &str> {
        let may = |(_, policy): &&(String, Policy)| policy.is_for(tenant);
        let named = self.named.iter().filter(may);
        let named = named.map(|(name, _)| name.as_str());
        [INTERNET, NONE].into_iter().chain(named)
    }

    /// The named policies, in the order of their numbers.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.named.iter().map(|(_, policy)| policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_gets_what_it_names_and_nothing_where_that_is_gone() {
        let me: TenantId = "111111111111".parse().unwrap();
        let policy = Policy {
            rules: vec!["10.0.0.5:5432".parse().unwrap()],
            tenants: None,
        };
        let named = vec![("orders".to_owned(), policy)];
        let networks = Networks::new(named.clone(), INTERNET).unwrap();
        let orders = NetworkId::of_named(0);
        assert_eq!(networks.of_function(None, &me), NetworkId::INTERNET);
        assert_eq!(networks.of_function(Some("orders"), &me), orders);
        assert_eq!(networks.of_function(Some("none"), &me), NetworkId::NONE);
        assert_eq!(networks.of_function(Some("gone"), &me), NetworkId::NONE);
        assert!(networks.policy(orders).is_some());
        assert!(networks.policy(NetworkId::INTERNET).is_none());
        let other = Networks::new(named.clone(), "orders").unwrap();
        assert_eq!(other.of_function(None, &me), orders);
        assert_eq!(Networks::new(named, "gone"), None);
        let without = other.missing_because("no nftables".to_owned());
        assert_eq!(without.of_function(Some("orders"), &me), NetworkId::NONE);
        assert_eq!(without.of_function(None, &me), NetworkId::NONE);
    }

    #[test]
    fn a_policy_of_some_tenants_is_nobody_elses_and_not_named_to_them() {
        let tenant = |id: &str| id.parse::<TenantId>().unwrap();
        let (mine, other) = (tenant("111111111111"), tenant("222222222222"));
        let of = |tenants| Policy {
            rules: vec!["10.0.0.5:5432".parse().unwrap()],
            tenants,
        };
        let named = vec![
            ("all".to_owned(), of(None)),
            ("mine".to_owned(), of(Some(vec![mine.clone()]))),
            ("nobodys".to_owned(), of(Some(vec![]))),
        ];
        let networks = Networks::new(named, "mine").unwrap();
        let id = NetworkId::of_named(1);
        assert_eq!(networks.number_for("mine", &mine), Some(id));
        assert_eq!(networks.number_for("mine", &other), None);
        assert_eq!(networks.of_function(Some("mine"), &mine), id);
        assert_eq!(networks.of_function(Some("mine"), &other), NetworkId::NONE);
        assert_eq!(
            networks.of_function(Some("nobodys"), &mine),
            NetworkId::NONE
        );
        // Not by being the node's own either.
        assert_eq!(networks.of_function(None, &mine), id);
        assert_eq!(networks.of_function(None, &other), NetworkId::NONE);
        let names = |tenant| networks.names_for(tenant).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&mine), "internet none all mine");
        assert_eq!(names(&other), "internet none all");
    }

    #[test]
    fn names_of_policies_are_plain_and_not_taken() {
        for right in ["orders", "a", "db-1", "9"] {
            assert!(is_policy_name(right), "{right}");
        }
        let long = "a".repeat(64);
        for wrong in [
            "", "none", "internet", "Orders", "-a", "a-", "a b", "a.b", &long,
        ] {
            assert!(!is_policy_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_range_has_no_bits_below_its_length() {
        let at = Ipv4Addr::new(10, 1, 2, 3);
        assert_eq!(Ipv4Net::new(at, 8), None);
        assert_eq!(Ipv4Net::new(at, 33), None);
        assert_eq!(Ipv4Net::around(at, 8).to_string(), "10.0.0.0/8");
        assert!(Ipv4Net::around(at, 0).has(Ipv4Addr::BROADCAST));
        assert!(!Ipv4Net::around(at, 32).has(Ipv4Addr::new(10, 1, 2, 4)));
    }
}
