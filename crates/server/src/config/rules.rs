//! What keys have to keep to together. Each alone is within its bounds by then.

use super::{
    fault::{Fault, Origin, Wrong},
    keys::Config,
    measure::Size,
};
use freehold_domain::network;

/// Policies that every node has.
const KEPT: [&str; 2] = [network::INTERNET, network::NONE];

/// User ids that instances run under; the server's must not be one of them.
const GUEST_UIDS: std::ops::RangeInclusive<u32> = 0x7000_0000..=0x7fdf_ffff;

/// What an order of a certificate does not go with.
fn orders(config: &Config, fault: &mut impl FnMut(&'static str, String)) {
    let (server, tls) = (&config.server, &config.tls);
    let given = "and tls.acme_names is given: one or the other";
    if tls.certificate.is_some() {
        fault("tls.certificate", format!("is shown, {given}"));
    }
    if tls.self_signed {
        fault("tls.self_signed", format!("makes a certificate, {given}"));
    }
    if server.insecure {
        fault("server.insecure", format!("serves in clear, {given}"));
    }
    for name in &tls.acme_names {
        let why = match name {
            name if name.starts_with('*') => "tls-alpn-01 proves no name with an asterisk",
            name if name.parse::<std::net::IpAddr>().is_ok() => {
                "certificates are ordered for names alone"
            }
            _ => continue,
        };
        fault("tls.acme_names", format!("has {name}: {why}"));
    }
    if !tls.acme_accept_terms {
        let directory = &tls.acme_directory;
        fault(
            "tls.acme_accept_terms",
            format!(
                "has to be true for an order: it says that you agree to the terms of service of the authority at {directory}"
            ),
        );
    }
}

/// Everything that does not go together; `origin` says where a key was given.
pub fn judge(config: &Config, origin: impl Fn(&str) -> Origin) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |key: &'static str, why: String| {
        faults.push(Fault {
            at: origin(key),
            what: Wrong::Together { key, why },
        });
    };
    let (file, all) = (config.audit.file_size, config.audit.size);
    // Whole files go: of few large ones too much would go at once, and more would stay than may.
    if all.0 / 4 < file.0 {
        let least = Size(file.0 * 4);
        fault(
            "audit.size",
            format!("is {all}; with audit.file_size = {file} it has to be {least} at the least"),
        );
    }
    let (default, policies) = (&config.network.default.0, &config.network.policies);
    if !policies.contains_key(default) && !KEPT.contains(&default.as_str()) {
        let nearest = policies.keys().map(String::as_str).chain(KEPT);
        let nearest = nearest.min_by_key(|name| strsim::osa_distance(default, name));
        fault(
            "network.default",
            format!(
                "is {default:?}, and there is no [network.policies.{default}]; the nearest is {:?}",
                nearest.unwrap_or_default()
            ),
        );
    }
    if GUEST_UIDS.contains(&config.server.uid) {
        fault(
            "server.uid",
            format!(
                "is {}, which is an instance's: theirs are {} to {}",
                config.server.uid,
                GUEST_UIDS.start(),
                GUEST_UIDS.end()
            ),
        );
    }
    let (server, tls) = (&config.server, &config.tls);
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => fault("tls.certificate", "wants its key beside it, tls.key".into()),
        (None, Some(_)) => fault(
            "tls.key",
            "wants its certificate beside it, tls.certificate".into(),
        ),
        (Some(_), Some(_)) if server.insecure => fault(
            "server.insecure",
            "serves in clear, and tls.certificate is given: one or the other".into(),
        ),
        (Some(_), Some(_)) if tls.self_signed => fault(
            "tls.self_signed",
            "makes a certificate, and tls.certificate is given: one or the other".into(),
        ),
        _ => {}
    }
    if !tls.acme_names.is_empty() {
        orders(config, &mut fault);
    }
    faults
}
