//! What keys have to keep to together. Each alone is within its bounds by then.

use super::{
    fault::{Fault, Origin, Wrong},
    keys::Config,
    measure::Size,
};
/// User ids that instances run under; the server's must not be one of them.
const GUEST_UIDS: std::ops::RangeInclusive<u32> = 0x7000_0000..=0x7fdf_ffff;

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
    faults
}
