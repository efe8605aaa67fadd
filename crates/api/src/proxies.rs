//! Whose word is taken for where a request came from.
//!
//! `X-Forwarded-For` is a header like any other: whoever calls may write one. Only what proxies of
//! the operator's added to it is believed, from its end: each adds whom it heard.

use http::HeaderMap;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// It is no address, and no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no address and no network")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    /// `10.0.0.5`, `10.0.0.0/8`, `fd00::/8`.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => most,
            Some(bits) => bits.parse().map_err(|_| NotANetwork)?,
        };
        if bits > most {
            return Err(NotANetwork);
        }
        // IPv4 that is written as IPv6 is what it is where it is asked for.
        let canonical = address.to_canonical();
        match (
            canonical.is_ipv4() && address.is_ipv6(),
            bits.checked_sub(96),
        ) {
            (true, Some(bits)) => Ok(Self {
                address: canonical,
                bits,
            }),
            _ => Ok(Self { address, bits }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                u128::from(own.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.bits)
    }
}

/// The operator's proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<Network>);

impl Proxies {
    /// Those of these networks.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether it is one.
    pub(crate) fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.has(address))
    }

    /// Who asked, where one of the proxies connected: the last that they heard and that is none of
    /// them.
    pub(crate) fn origin(&self, headers: &HeaderMap, proxy: IpAddr) -> IpAddr {
        let mut origin = proxy;
        for value in headers.get_all("x-forwarded-for").iter().rev() {
            let Ok(text) = value.to_str() else {
                return origin;
            };
            for one in text.rsplit(',') {
                // Nobody is believed beyond what does not read.
                let Some(address) = address(one.trim()) else {
                    return origin;
                };
                origin = address;
                if !self.have(origin) {
                    return origin;
                }
            }
        }
        origin
    }

    /// Whether the proxy was asked by TLS; nothing where it does not say.
    pub(crate) fn is_secure(headers: &HeaderMap) -> Option<bool> {
        let value = headers.get_all("x-forwarded-proto").iter().next_back()?;
        let last = value.to_str().ok()?.rsplit(',').next()?.trim();
        Some(last.eq_ignore_ascii_case("https"))
    }
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|one| one.parse().unwrap()).collect())
    }

    #[test]
    fn a_network_has_its_addresses_and_no_other() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.5", "10.0.0.5", true),
            ("10.0.0.5", "10.0.0.4", false),
            ("10.0.0.5", "::ffff:10.0.0.5", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::ffff:10.0.0.5", "10.0.0.5", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.0", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("2001:db8::1", "2001:db8::1", true),
        ] {
            let is = proxies(&[network]).have(address.parse().unwrap());
            assert_eq!(is, is_in, "{network} {address}");
        }
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::/129",
            "a/8",
            "10.0.0",
        ] {
            assert_eq!(wrong.parse::<Network>(), Err(NotANetwork), "{wrong}");
        }
    }

    #[test]
    fn only_what_proxies_added_is_believed() {
        let proxies = proxies(&["10.0.0.0/8", "2001:db8::/32"]);
        let check = |values: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let origin = proxies.origin(&headers, "10.0.0.1".parse().unwrap());
            assert_eq!(origin, expected.parse::<IpAddr>().unwrap(), "{values:?}");
        };
        check(&[], "10.0.0.1");
        check(&["203.0.113.9"], "203.0.113.9");
        check(&["1.2.3.4, 203.0.113.9"], "203.0.113.9");
        check(&["1.2.3.4", "203.0.113.9, 10.0.0.2"], "203.0.113.9");
        check(&["203.0.113.9:1234, [2001:db8::7]:80"], "203.0.113.9");
        check(&["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check(&["203.0.113.9, unknown"], "10.0.0.1");
        check(&["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2");
        check(&[""], "10.0.0.1");
    }
}
