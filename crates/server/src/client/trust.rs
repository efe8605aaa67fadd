//! What a server's certificate is believed by: its fingerprint alone, or those that vouch for it.

use crate::serve::{Fingerprint, key_of};
use std::{path::PathBuf, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
        SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{
            CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature,
        },
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    },
};

/// Where systems keep the certificates that they trust, in the order in which they are tried.
const SYSTEMS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a certificate is believed by.
#[derive(Debug, Clone)]
pub enum Trust {
    /// It is this one, or has this key, whomever it names and whoever vouches for it.
    Known(Fingerprint),
    /// One of this file vouches for it and it names the host; without a file, one that the system
    /// trusts.
    Roots(Option<PathBuf>),
}

impl Trust {
    /// Speaks TLS over `stream` with `host`.
    ///
    /// Errors: a text that says what is wrong with the certificate, and what to do.
    pub async fn encrypt(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate could have"))?;
        let connector = TlsConnector::from(Arc::new(self.config()?));
        let shaken = connector.connect(name, stream).await;
        shaken.map_err(
            |error| match error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
                Some(Error::InvalidCertificate(reason)) => self.refused(reason),
                _ => format!("no TLS was agreed on: {error}"),
            },
        )
    }

    fn refused(&self, reason: &CertificateError) -> String {
        match (self, reason) {
            (Self::Known(known), _) => format!(
                "it shows another certificate than {known}: it was renewed, or somebody stands between"
            ),
            (_, CertificateError::UnknownIssuer) => {
                "nobody that is trusted here vouches for its certificate: name its fingerprint by --fingerprint, or a file that vouches for it by AWS_CA_BUNDLE".to_owned()
            }
            (_, reason) => format!("its certificate is not believed: {reason}"),
        }
    }

    /// What connections begin with.
    ///
    /// Errors: why nobody could be believed, in words.
    pub fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(match self {
            Self::Known(known) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned {
                    known: *known,
                    provider,
                }))
                .with_no_client_auth(),
            Self::Roots(file) => builder
                .with_root_certificates(roots(file.clone())?)
                .with_no_client_auth(),
        })
    }
}

fn roots(file: Option<PathBuf>) -> Result<RootCertStore, String> {
    let is_there = |path: &&PathBuf| path.is_file();
    let systems = SYSTEMS.map(PathBuf::from);
    let path = match file {
        Some(file) => file,
        None => systems
            .iter()
            .find(is_there)
            .cloned()
            .ok_or("this system has no certificates that it trusts: name a file by AWS_CA_BUNDLE, or the server's by --fingerprint")?,
    };
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read(&path).map_err(|error| told(&error))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let mut roots = RootCertStore::empty();
    // A bundle of a hundred may have one that is not understood.
    let (taken, _) = roots.add_parsable_certificates(all.map_err(|error| told(&error))?);
    match taken {
        0 => Err(told(&"no certificate in PEM")),
        _ => Ok(roots),
    }
}

/// Believes one certificate.
#[derive(Debug)]
struct Pinned {
    known: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_known = Fingerprint::of(shown) == self.known || key_of(shown) == Some(self.known);
        match is_known {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    // That whoever shows it has its key is checked as ever.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, shown, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, shown, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
