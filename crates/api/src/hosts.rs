//! Under which names the server may be asked.
//!
//! A page in a browser may have its own name point at any address (DNS rebinding) and then reads
//! what that address answers, as if it were its own. The browser says which name it asked for, and
//! a name that is not the server's is refused before anything is looked at. Signed calls do not
//! need that, since no page can sign; URLs that anybody may call, links to packages and metrics do.
//!
//! An address in a URL cannot be pointed elsewhere: off loopback a listener on every address takes
//! each of them, so that a server behind a translated address is reached.

use std::net::IpAddr;

/// The names and addresses of one listener.
#[derive(Debug, Clone)]
pub struct Hosts {
    listen: IpAddr,
    url_domain: String,
    names: Vec<String>,
}

impl Hosts {
    /// Of a listener on `listen`; function URLs are below `url_domain`. `names` are those that the
    /// operator gave and those of the certificate, in which `*.` stands for one label.
    pub fn new(listen: IpAddr, url_domain: &str, names: impl IntoIterator<Item = String>) -> Self {
        let lower = |name: String| name.trim_end_matches('.').to_ascii_lowercase();
        Self {
            listen: listen.to_canonical(),
            url_domain: url_domain.to_ascii_lowercase(),
            names: names.into_iter().map(lower).collect(),
        }
    }

    /// Whether a request for `host`, a name or an address with or without a port, is for this
    /// listener.
    pub fn know(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else {
            return false;
        };
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(name).parse::<IpAddr>() {
            // Without its brackets a v6 address cannot be told from a name with a port.
            return bare.is_some() == address.is_ipv6() && self.has_address(address);
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let is = |own: &str| name.eq_ignore_ascii_case(own);
        let local = || is("localhost") || ends_with(name, ".localhost");
        (self.has_loopback() && local())
            || is(&self.url_domain)
            || self.is_functions(name)
            || self.names.iter().any(|own| match own.strip_prefix('*') {
                Some(rest) => {
                    ends_with(name, rest) && !name[..name.len() - rest.len()].contains('.')
                }
                None => is(own),
            })
    }

    /// `ID.lambda-url.REGION.DOMAIN`.
    fn is_functions(&self, name: &str) -> bool {
        let rest = name.len().checked_sub(self.url_domain.len() + 1);
        let Some((rest, domain)) = rest.and_then(|at| name.split_at_checked(at)) else {
            return false;
        };
        domain[1..].eq_ignore_ascii_case(&self.url_domain)
            && domain.starts_with('.')
            && (rest.split('.').nth(1))
                .is_some_and(|label| label.eq_ignore_ascii_case("lambda-url"))
    }

    fn has_loopback(&self) -> bool {
        self.listen.is_loopback() || self.listen.is_unspecified()
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.listen.is_unspecified()
            || address == self.listen
            || (self.listen.is_loopback() && address.is_loopback())
            || (self.names.iter()).any(|name| name.parse() == Ok(address))
    }
}

/// The name or address of `host`; nothing where it has a port that is none, or characters that no
/// name has.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = match host.rfind(':') {
        // The colons of a v6 address are within its brackets.
        Some(at) if !host.ends_with(']') => (&host[..at], Some(&host[at + 1..])),
        _ => (host, None),
    };
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    let fits = port.is_none_or(is_port) && !name.is_empty() && name.bytes().all(is_name);
    fits.then_some(name)
}

fn ends_with(name: &str, ending: &str) -> bool {
    let at = name.len().checked_sub(ending.len());
    at.and_then(|at| name.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hosts(listen: &str, names: &[&str]) -> Hosts {
        let names = names.iter().map(|name| name.to_string());
        Hosts::new(listen.parse().unwrap(), "fn.example.org", names)
    }

    #[track_caller]
    fn check(hosts: &Hosts, known: &[&str], strange: &[&str]) {
        for host in known {
            assert!(hosts.know(host), "{host} {hosts:?}");
            assert!(hosts.know(&host.to_uppercase()), "{host} {hosts:?}");
        }
        for host in strange {
            assert!(!hosts.know(host), "{host} {hosts:?}");
        }
    }

    /// What is nobody's name, wherever the server listens.
    const NEVER: [&str; 16] = [
        "",
        ":7070",
        "evil.example",
        "evil.example:7070",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evillocalhost",
        "evilfn.example.org",
        "x.fn.example.org",
        "lambda-url.fn.example.org",
        "localhost:port",
        "localhost:123456",
        "user@localhost",
        "localhost/x",
        "local host",
        "::1",
    ];

    #[test]
    fn on_loopback_the_machines_own_names_are_known() {
        let here = [
            "localhost",
            "localhost:7070",
            "localhost.:7070",
            "a.localhost:1",
            "127.0.0.1",
            "127.0.0.1:7070",
            "127.9.9.9",
            "[::1]",
            "[::1]:7070",
            "[::ffff:127.0.0.1]:7070",
            "fn.example.org",
            "abc.lambda-url.us-east-1.fn.example.org:7070",
        ];
        check(&hosts("127.0.0.1", &[]), &here, &NEVER);
        check(&hosts("::1", &[]), &here, &NEVER);
        let elsewhere = ["10.0.0.1", "[fe80::1]", "0.0.0.0", "127.0.0.1:"];
        check(&hosts("127.0.0.1", &[]), &[], &elsewhere[..3]);
        check(&hosts("127.0.0.1", &[]), &elsewhere[3..], &[]);
    }

    #[test]
    fn off_loopback_its_addresses_and_the_given_names_are_known() {
        let one = hosts(
            "10.0.0.5",
            &["Api.Example.org.", "*.wild.example", "203.0.113.9"],
        );
        check(
            &one,
            &[
                "10.0.0.5:7070",
                "api.example.org",
                "a.wild.example:7070",
                "203.0.113.9:443",
            ],
            &[
                "localhost",
                "127.0.0.1",
                "10.0.0.6",
                "wild.example",
                "a.b.wild.example",
                "apixexample.org",
            ],
        );
        check(&one, &[], &NEVER);
        let every = hosts("::", &[]);
        check(
            &every,
            &["localhost", "10.1.2.3:7070", "[2001:db8::1]:7070"],
            &NEVER,
        );
    }

    proptest! {
        #[test]
        fn no_text_of_a_stranger_panics_or_passes(host in "\\PC{0,40}") {
            let known = hosts("10.0.0.5", &["*.wild.example"]).know(&host);
            let ours = ["10.0.0.5", "wild.example", "fn.example.org"];
            prop_assert!(!known || ours.iter().any(|own| host.to_lowercase().contains(own)));
        }
    }
}
