//! One line of a policy, as operators write it: `10.0.0.5:5432`, `10.1.0.0/16:6379`,
//! `db.example.com:5432-5435`, `*.example.com:443`, `internet`.

use super::{INTERNET, Ipv4Net};
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// Ports that a rule for a name may have: each is an entry of its own for every answer.
pub const PORTS_OF_A_NAME_MAX: u16 = 16;
/// The widest range that a rule may allow, bits in common.
const RANGE_BITS_MIN: u8 = 8;

/// Who may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// The public internet and nothing near.
    Internet,
    /// These ports of this host, by TCP and UDP.
    To(Host, Ports),
}

/// A host, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address or a range.
    Net(Ipv4Net),
    /// Whatever addresses the name has when it is asked for.
    Name(NamePattern),
}

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A host name, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// In lower case, without the `*.`.
    name: String,
    is_wildcard: bool,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No port stands there.
    #[error("it has no port; write HOST:PORT or HOST:FIRST-LAST")]
    NoPort,
    /// What stands there is no port or range of ports.
    #[error("{0:?} is no port from 1 to 65535, nor FIRST-LAST")]
    Port(String),
    /// A name with more ports than [`PORTS_OF_A_NAME_MAX`].
    #[error("a name may have {PORTS_OF_A_NAME_MAX} ports at the most, not {0}")]
    Ports(u16),
    /// An address of IPv6.
    #[error("instances have IPv4 alone")]
    Ipv6,
    /// An address with bits below the length of its range.
    #[error("{given} has bits below its length; the range is {range}")]
    BitsBelow {
        /// What stands there.
        given: String,
        /// What may have been meant.
        range: Ipv4Net,
    },
    /// A range of more than 2^24 addresses.
    #[error(
        "/{0} is too wide; the widest range is a /{RANGE_BITS_MIN}, and the internet is \"{INTERNET}\""
    )]
    Wide(u8),
    /// An address that is no host's to be reached.
    #[error("{0} can be reached from no instance")]
    Unreachable(Ipv4Net),
    /// No address, range or name.
    #[error("{0:?} is no address, range or name of a host")]
    Host(String),
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text == INTERNET {
            return Ok(Self::Internet);
        }
        if text.starts_with('[') || text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(RuleError::Ipv6);
        }
        let (host, ports) = text.rsplit_once(':').ok_or(RuleError::NoPort)?;
        if host.contains(':') {
            return Err(RuleError::Ipv6);
        }
        let ports = ports.parse::<Ports>()?;
        let host = host.parse::<Host>()?;
        match host {
            Host::Name(_) if ports.count() > u32::from(PORTS_OF_A_NAME_MAX) => Err(
                RuleError::Ports(u16::try_from(ports.count()).unwrap_or(u16::MAX)),
            ),
            host => Ok(Self::To(host, ports)),
        }
    }
}

impl Ports {
    /// How many.
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

impl FromStr for Ports {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError::Port(text.to_owned());
        let port = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse::<u16>().ok().filter(|port| *port > 0);
            number.filter(|_| is_number).ok_or_else(wrong)
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        match first <= last {
            true => Ok(Self { first, last }),
            false => Err(wrong()),
        }
    }
}

impl FromStr for Host {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError::Host(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => {
                let is_number = bits.bytes().all(|b| b.is_ascii_digit());
                let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= 32);
                (address, Some(bits.filter(|_| is_number).ok_or_else(wrong)?))
            }
            None => (text, None),
        };
        match (address.parse::<Ipv4Addr>(), bits) {
            (Ok(address), bits) => {
                let bits = bits.unwrap_or(32);
                let net = Ipv4Net::new(address, bits).ok_or_else(|| RuleError::BitsBelow {
                    given: text.to_owned(),
                    range: Ipv4Net::around(address, bits),
                })?;
                if bits < RANGE_BITS_MIN {
                    return Err(RuleError::Wide(bits));
                }
                let first = net.base();
                let is_unreachable =
                    first.is_loopback() || first.octets()[0] == 0 || first.octets()[0] >= 224;
                match is_unreachable {
                    true => Err(RuleError::Unreachable(net)),
                    false => Ok(Self::Net(net)),
                }
            }
            (Err(_), Some(_)) => Err(wrong()),
            (Err(_), None) => text.parse().map(Self::Name),
        }
    }
}

impl NamePattern {
    /// Whether it stands for all names below one.
    pub fn is_wildcard(&self) -> bool {
        self.is_wildcard
    }

    /// Whether `name`, without a dot at its end, is one of its.
    pub fn matches(&self, name: &str) -> bool {
        if !self.is_wildcard {
            return name.eq_ignore_ascii_case(&self.name);
        }
        let Some(split) = name.len().checked_sub(self.name.len() + 1) else {
            return false;
        };
        let (below, rest) = name.as_bytes().split_at(split);
        !below.is_empty() && rest[0] == b'.' && rest[1..].eq_ignore_ascii_case(self.name.as_bytes())
    }
}

impl FromStr for NamePattern {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_label = |label: &str| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len())
                && label.bytes().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // What looks like an address is one that was mistyped.
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        let last = name.rsplit('.').next().unwrap_or_default();
        if name.len() > 253 || !name.split('.').all(is_label) || is_number(last) {
            return Err(RuleError::Host(text.to_owned()));
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            is_wildcard,
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet => f.write_str(INTERNET),
            Self::To(Host::Net(net), ports) => write!(f, "{net}:{ports}"),
            Self::To(Host::Name(name), ports) => write!(f, "{name}:{ports}"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            if self.is_wildcard { "*." } else { "" },
            self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "internet",
            "10.0.0.5:5432",
            "10.1.0.0/16:6379",
            "10.0.0.5:5000-5010",
            "db:6379",
            "db.example.com:5432-5435",
            "*.example.com:443",
            "_srv.example.com:25",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_rule_is_told_why() {
        for (text, why) in [
            ("10.0.0.5", "it has no port"),
            ("db.example.com", "it has no port"),
            ("", "it has no port"),
            ("10.0.0.5:", "\"\" is no port"),
            ("10.0.0.5:0", "\"0\" is no port"),
            ("10.0.0.5:65536", "is no port"),
            ("10.0.0.5:+80", "is no port"),
            ("10.0.0.5:9-8", "is no port"),
            ("10.0.0.5:http", "is no port"),
            ("10.0.0.5/8:80", "the range is 10.0.0.0/8"),
            ("10.0.0.0/33:80", "is no address"),
            ("0.0.0.0/0:80", "/0 is too wide"),
            ("127.0.0.1:80", "127.0.0.1 can be reached from no instance"),
            ("224.0.0.1:80", "can be reached from no instance"),
            ("0.0.0.0:80", "can be reached from no instance"),
            ("[fd00::5]:5432", "IPv4 alone"),
            ("fd00::5", "IPv4 alone"),
            ("fd00::5:80", "IPv4 alone"),
            ("10.0.0.256:80", "is no address"),
            ("a b:80", "is no address"),
            ("*:80", "is no address"),
            ("a.*.example.com:80", "is no address"),
            ("example..com:80", "is no address"),
            ("-a.com:80", "is no address"),
            ("db:1-17", "16 ports at the most, not 17"),
        ] {
            let said = text.parse::<Rule>().unwrap_err().to_string();
            assert!(said.contains(why), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_wildcard_is_all_below_and_not_the_name_itself() {
        let matches = |pattern: &str, name| pattern.parse::<NamePattern>().unwrap().matches(name);
        assert!(matches("*.example.com", "a.example.com"));
        assert!(matches("*.Example.com", "b.a.EXAMPLE.com"));
        assert!(!matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", ".example.com"));
        assert!(!matches("*.example.com", "aexample.com"));
        assert!(!matches("*.example.com", "a.example.com.evil.org"));
        assert!(matches("db", "DB"));
        assert!(!matches("db", "db.example.com"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(text in "[a-z0-9.*:/\\[\\]-]{0,24}") {
            if let Ok(rule) = text.parse::<Rule>() {
                let written = rule.to_string();
                prop_assert_eq!(written.parse::<Rule>().unwrap(), rule);
            }
        }
    }
}
