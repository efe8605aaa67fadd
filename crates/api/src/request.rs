//! A request that has arrived whole.

use crate::in_flight::HeldBytes;
use bytes::Bytes;
use freehold_domain::{InvocationId, ports::Caller};
use http::request::Parts;
use std::net::IpAddr;

/// What every front end is handed.
#[derive(Debug)]
pub struct Request {
    /// Its head, as it came.
    pub parts: Parts,
    /// Its body.
    pub body: Bytes,
    /// The request id: the invocation's, where it becomes one.
    pub id: InvocationId,
    /// Who connected; loopback for a guest.
    pub peer: IpAddr,
    /// The port of the listener.
    pub port: u16,
    /// Whether it came encrypted.
    pub is_secure: bool,
    /// How, where it was we who decrypted it.
    pub tls: Option<Tls>,
    /// The run that it came out of, on an instance's own listener.
    pub caller: Option<Caller>,
    /// The body's share of the bytes in flight, given back with the request.
    pub held: Option<HeldBytes>,
}

/// What a handshake agreed on, in the words of its RFCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1_3`.
    pub version: &'static str,
    /// `TLS13_AES_128_GCM_SHA256`.
    pub cipher_suite: &'static str,
}

impl Tls {
    /// `TLSv1.3`, as Lambda names it to functions behind URLs.
    pub(crate) fn version_text(self) -> String {
        self.version.replace('_', ".")
    }

    /// `TLS_AES_128_GCM_SHA256`; before 1.3 in OpenSSL's words, `ECDHE-RSA-AES128-GCM-SHA256`.
    pub(crate) fn cipher_suite_text(self) -> String {
        if let Some(rest) = self.cipher_suite.strip_prefix("TLS13_") {
            return format!("TLS_{rest}");
        }
        let name = self.cipher_suite.trim_start_matches("TLS_");
        let name = name.replace("_WITH_", "-").replace("AES_", "AES");
        let name = name.replace('_', "-");
        match name.strip_suffix("-POLY1305-SHA256") {
            Some(cipher) => format!("{cipher}-POLY1305"),
            None => name,
        }
    }
}

impl Request {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }
}

/// How a URL begins.
pub(crate) fn scheme(is_secure: bool) -> &'static str {
    match is_secure {
        true => "https",
        false => "http",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_have_the_names_that_functions_see_on_lambda() {
        for (suite, text) in [
            ("TLS13_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
            (
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256",
            ),
            (
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ),
        ] {
            let tls = Tls {
                version: "TLSv1_3",
                cipher_suite: suite,
            };
            assert_eq!(tls.cipher_suite_text(), text);
            assert_eq!(tls.version_text(), "TLSv1.3");
        }
    }
}
