//! What an authority is shown that proves a name: a certificate that holds what it asked for
//! (tls-alpn-01, RFC 8737).
//!
//! It is shown to whoever offers `acme-tls/1` and nothing else, by the listener of the APIs itself:
//! no second port, and nothing in clear. To everybody else the usual certificate is shown. While
//! nothing is ordered such a handshake is refused.

use parking_lot::RwLock;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use std::{collections::HashMap, sync::Arc};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring::sign::any_supported_type,
    pki_types::PrivateKeyDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The protocol that an authority offers.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// What is to be shown, by name.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    open: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// Shown until this is dropped.
#[derive(Debug)]
pub(crate) struct Proof {
    challenges: Arc<Challenges>,
    name: String,
}

impl Drop for Proof {
    fn drop(&mut self) {
        self.challenges.open.write().remove(&self.name);
    }
}

impl Challenges {
    /// `config`, which then shows these beside its own certificate.
    pub(super) fn answered_by(self: &Arc<Self>, config: &ServerConfig) -> ServerConfig {
        let mut config = config.clone();
        config.cert_resolver = Arc::new(UsualOrChallenge {
            usual: config.cert_resolver.clone(),
            challenges: self.clone(),
        });
        config.alpn_protocols.push(PROTOCOL.to_vec());
        config
    }

    /// Shows `digest`, a SHA-256 of what the authority asked for, to whoever proves `name`.
    ///
    /// Errors: why no certificate could be made for it, in words.
    pub(crate) fn show(self: &Arc<Self>, name: &str, digest: &[u8]) -> Result<Proof, String> {
        if digest.len() != 32 {
            return Err(format!("{} bytes are no SHA-256", digest.len()));
        }
        let name = name.to_ascii_lowercase();
        let made = certificate(&name, digest).map_err(|error| error.to_string())?;
        self.open.write().insert(name.clone(), Arc::new(made));
        Ok(Proof {
            challenges: self.clone(),
            name,
        })
    }
}

fn certificate(
    name: &str,
    digest: &[u8],
) -> Result<CertifiedKey, Box<dyn std::error::Error + Send + Sync>> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let proof = CustomExtension::new_acme_identifier(digest);
    params.custom_extensions.push(proof);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let signing = any_supported_type(&key)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

/// Decides by what a client offers.
#[derive(Debug)]
struct UsualOrChallenge {
    usual: Arc<dyn ResolvesServerCert>,
    challenges: Arc<Challenges>,
}

impl ResolvesServerCert for UsualOrChallenge {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_proof = hello.alpn().is_some_and(|mut offered| {
            offered.next() == Some(PROTOCOL) && offered.next().is_none()
        });
        if !is_proof {
            return self.usual.resolve(hello);
        }
        let name = hello.server_name()?.to_ascii_lowercase();
        self.challenges.open.read().get(&name).cloned()
    }
}
