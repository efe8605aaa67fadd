//! What keys have to keep to together. Each alone is within its bounds by then.

use super::{
    fault::{Fault, Origin, Wrong},
    keys::Config,
    measure::Size,
};
use freehold_domain::network;
use std::net::SocketAddr;

/// Policies that every node has.
const KEPT: [&str; 2] = [network::INTERNET, network::NONE];

/// User ids that instances run under; the server's must not be one of them.
const GUEST_UIDS: std::ops::RangeInclusive<u32> = 0x7000_0000..=0x7fdf_ffff;

/// What does not go together, as it is found.
struct Judge<'j> {
    origin: &'j dyn Fn(&str) -> Origin,
    lacks: &'j dyn Fn(&str) -> bool,
    faults: Vec<Fault>,
}

impl Judge<'_> {
    /// The first key is told; the others are those that it does not go with. Where one of them lacks
    /// its value, that is told already, and nobody knows how it would go with the rest.
    fn fault(&mut self, keys: &[&'static str], why: impl Into<String>) {
        if keys.iter().any(|key| (self.lacks)(key)) {
            return;
        }
        let key = keys[0];
        self.faults.push(Fault {
            at: (self.origin)(key),
            what: Wrong::Together {
                key,
                why: why.into(),
            },
        });
    }
}

/// What an order of a certificate does not go with.
fn orders(config: &Config, judge: &mut Judge<'_>) {
    const NAMES: &str = "tls.acme_names";
    let (server, tls) = (&config.server, &config.tls);
    let given = "and tls.acme_names is given: one or the other";
    if tls.certificate.is_some() {
        judge.fault(&["tls.certificate", NAMES], format!("is shown, {given}"));
    }
    if tls.self_signed {
        let why = format!("makes a certificate, {given}");
        judge.fault(&["tls.self_signed", NAMES], why);
    }
    if server.insecure {
        let why = format!("serves in clear, {given}");
        judge.fault(&["server.insecure", NAMES], why);
    }
    for name in &tls.acme_names {
        let why = match name {
            name if name.starts_with('*') => "tls-alpn-01 proves no name with an asterisk",
            name if name.parse::<std::net::IpAddr>().is_ok() => {
                "certificates are ordered for names alone"
            }
            _ => continue,
        };
        judge.fault(&[NAMES], format!("has {name}: {why}"));
    }
    if !tls.acme_accept_terms {
        let directory = &tls.acme_directory;
        judge.fault(
            &["tls.acme_accept_terms", NAMES, "tls.acme_directory"],
            format!(
                "has to be true for an order: it says that you agree to the terms of service of the authority at {directory}"
            ),
        );
    }
}

/// Whether one that listens on `one` leaves no room for another on `other`.
fn is_taken(one: SocketAddr, other: SocketAddr) -> bool {
    let all_of_both = |address: SocketAddr| address.is_ipv6() && address.ip().is_unspecified();
    let is_one = one.ip().to_canonical() == other.ip().to_canonical();
    let is_within = one.is_ipv4() == other.is_ipv4()
        && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() == other.port()
        && one.port() != 0
        && (is_one || is_within || all_of_both(one) || all_of_both(other))
}

/// Everything that does not go together; `origin` says where a key was given, `lacks` whether what was
/// given for it could not be taken.
pub fn judge(
    config: &Config,
    origin: impl Fn(&str) -> Origin,
    lacks: impl Fn(&str) -> bool,
) -> Vec<Fault> {
    let mut judge = Judge {
        origin: &origin,
        lacks: &lacks,
        faults: Vec::new(),
    };
    let (file, all) = (config.audit.file_size, config.audit.size);
    // Whole files go: of few large ones too much would go at once, and more would stay than may.
    if all.0 / 4 < file.0 {
        let least = Size(file.0 * 4);
        judge.fault(
            &["audit.size", "audit.file_size"],
            format!("is {all}; with audit.file_size = {file} it has to be {least} at the least"),
        );
    }
    let (default, policies) = (&config.network.default.0, &config.network.policies);
    if !policies.contains_key(default) && !KEPT.contains(&default.as_str()) {
        let nearest = policies.keys().map(String::as_str).chain(KEPT);
        let nearest = nearest.min_by_key(|name| strsim::osa_distance(default, name));
        judge.fault(
            &["network.default", "network.policies"],
            format!(
                "is {default:?}, and there is no [network.policies.{default}]; the nearest is {:?}",
                nearest.unwrap_or_default()
            ),
        );
    }
    if GUEST_UIDS.contains(&config.server.uid) {
        judge.fault(
            &["server.uid"],
            format!(
                "is {}, which is an instance's: theirs are {} to {}",
                config.server.uid,
                GUEST_UIDS.start(),
                GUEST_UIDS.end()
            ),
        );
    }
    let (server, tls) = (&config.server, &config.tls);
    if is_taken(server.listen, server.admin_listen) {
        judge.fault(
            &["server.admin_listen", "server.listen"],
            format!(
                "is {}, and server.listen = {} leaves no room for it: give one of them another port",
                server.admin_listen, server.listen
            ),
        );
    }
    const PAIR: [&str; 2] = ["tls.certificate", "tls.key"];
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => judge.fault(&PAIR, "wants its key beside it, tls.key"),
        (None, Some(_)) => judge.fault(
            &[PAIR[1], PAIR[0]],
            "wants its certificate beside it, tls.certificate",
        ),
        (Some(_), Some(_)) if server.insecure => judge.fault(
            &["server.insecure", PAIR[0], PAIR[1]],
            "serves in clear, and tls.certificate is given: one or the other",
        ),
        (Some(_), Some(_)) if tls.self_signed => judge.fault(
            &["tls.self_signed", PAIR[0], PAIR[1]],
            "makes a certificate, and tls.certificate is given: one or the other",
        ),
        _ => {}
    }
    if !tls.acme_names.is_empty() {
        orders(config, &mut judge);
    }
    judge.faults
}
