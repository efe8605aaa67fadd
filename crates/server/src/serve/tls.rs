//! Certificates: read, judged before they are shown to anybody, and what handshakes are made of.
//!
//! What clients would refuse is refused here, in words: an end or a beginning at the wrong time, a
//! key that is another certificate's, a chain in the wrong order, a certificate without names. The
//! key never leaves this process; it is read after the privileged side has been forked.

mod challenges;
mod made;
mod x509;

pub(crate) use challenges::{Challenges, Proof};
pub(crate) use made::{host_name, local_names, write};

use super::chain;
use crate::config::Config;
use ring::digest::{SHA256, digest};
use rustix::fs::OFlags;
use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring::{Ticketer, default_provider, sign::any_supported_type},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
    server::NoServerSessionStorage,
};
use x509::Certificate;

/// Bytes of a file of certificates or keys that are read.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// One that ends sooner is told of.
pub(crate) const SOON_S: i64 = 14 * 24 * 3600;

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The operator's files.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The first one's key.
        key: PathBuf,
    },
    /// Made here, in this folder.
    Made(PathBuf),
}

/// A certificate with its key, fit to be shown.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Of listeners that speak HTTP/2 too.
    pub(crate) config: Arc<ServerConfig>,
    /// Of those that do not.
    pub(crate) http1: Arc<ServerConfig>,
    /// Whom it names, in its order.
    pub(crate) names: Vec<String>,
    pub(crate) fingerprint: Fingerprint,
    /// Of the key, as SubjectPublicKeyInfo: it outlives a certificate of the server's own making.
    pub(crate) key: Fingerprint,
    /// Seconds since 1970 from which on it is good.
    pub(crate) begins: i64,
    /// Seconds since 1970 at which clients begin to refuse it.
    pub(crate) ends: i64,
    /// Where clients find it who have to be told to trust it, since nobody else vouches for it.
    pub(crate) trusted: Option<PathBuf>,
}

impl Identity {
    /// Answers an authority that proves a name, too.
    pub(crate) fn with_challenges(mut self, challenges: &Arc<Challenges>) -> Self {
        self.config = Arc::new(challenges.answered_by(&self.config));
        self
    }
}

/// The SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    /// Of a certificate.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        let digest = digest(&SHA256, certificate);
        Self(digest.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// Of its digits, with or without colons and `sha256:` before them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.trim();
        let digits = digits.strip_prefix("sha256:").unwrap_or(digits);
        let bytes = hex::decode(digits.replace(':', "")).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at > 0 { ":" } else { "" })?;
        }
        Ok(())
    }
}

/// Why a certificate is not shown to anybody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("{} could not be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} has no {what} in PEM", path.display())]
    Nothing { path: PathBuf, what: &'static str },
    #[error("{} does not read as {what} in PEM: {reason}", path.display())]
    Garbled {
        path: PathBuf,
        what: &'static str,
        reason: String,
    },
    #[error("the key in {} is of no kind that is served: {reason}", path.display())]
    KeyKind { path: PathBuf, reason: String },
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate of the key is number {place} in {}: it has to be the first, and each that follows has to vouch for the one before it", path.display())]
    NotFirst { path: PathBuf, place: usize },
    #[error("number {place} in {} does not vouch for the one before it: each has to", path.display())]
    Order { path: PathBuf, place: usize },
    #[error("number {place} in {} has expired: it ended at {ended}", path.display())]
    Expired {
        path: PathBuf,
        place: usize,
        ended: String,
    },
    #[error("number {place} in {} is not valid yet: it begins at {begins}", path.display())]
    NotYet {
        path: PathBuf,
        place: usize,
        begins: String,
    },
    #[error("the certificate in {} names no host (subjectAltName): no client would take it", path.display())]
    Nameless { path: PathBuf },
    #[error("the certificate in {} does not name {name}", path.display())]
    Lacks { path: PathBuf, name: String },
    #[error("the certificate in {} cannot be served", path.display())]
    Refused {
        path: PathBuf,
        source: rustls::Error,
    },
    #[error("{} cannot be read as user {uid}, which the server drops to: a renewal could not be taken over. Give it the right to, for example by `setfacl -m u:{uid}:r {}` (and x on the folders above)", path.display(), path.display())]
    RootOnly {
        path: PathBuf,
        uid: u32,
        source: io::Error,
    },
    #[error("no certificate could be made in {}", path.display())]
    NotMade { path: PathBuf, source: io::Error },
}

impl CertificateError {
    /// Whether it is this process that may not read it.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl Source {
    /// Reads and judges it. One of its own making is made first where there is none that serves;
    /// `names` is whom that has to name.
    ///
    /// Errors: [`CertificateError`]; nothing was changed but for what is made.
    pub(crate) fn read(&self, names: &[String]) -> Result<Identity, CertificateError> {
        let now = now();
        match self {
            Self::Files { certificate, key } => identity(certificate, key, now),
            Self::Made(folder) => made::read_or_make(folder, names, now),
        }
    }
}

impl Source {
    /// Whether a reload, which comes when root has been given up, will be able to read the same.
    ///
    /// Errors: [`CertificateError::RootOnly`] of the first file that it will not.
    pub(crate) fn can_be_read_again(&self, uid: u32) -> Result<(), CertificateError> {
        let Self::Files { certificate, key } = self else {
            return Ok(());
        };
        for path in [certificate, key] {
            match read(path) {
                Err(CertificateError::Unreadable { path, source })
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    return Err(CertificateError::RootOnly { path, uid, source });
                }
                // What else has become of it meanwhile is a reload's to tell.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether the operator's certificate and key, where they are named, can be shown.
///
/// Errors: [`CertificateError`].
pub(crate) fn judge_certificate(config: &Config) -> Result<(), CertificateError> {
    match (&config.tls.certificate, &config.tls.key) {
        (Some(certificate), Some(key)) => identity(certificate, key, now()).map(drop),
        _ => Ok(()),
    }
}

/// A certificate that was ordered, with its key in the same file, which has to name all of `names`.
///
/// Errors: [`CertificateError`].
pub(crate) fn read_ordered(file: &Path, names: &[String]) -> Result<Identity, CertificateError> {
    let found = identity(file, file, now())?;
    match made::missing(&found, names) {
        None => Ok(found),
        Some(name) => Err(CertificateError::Lacks {
            path: file.to_owned(),
            name: name.clone(),
        }),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

fn identity(certificate: &Path, key: &Path, now: i64) -> Result<Identity, CertificateError> {
    let path = certificate.to_owned();
    let ders = certificates(certificate)?;
    let key_der = private_key(key)?;
    let signing = any_supported_type(&key_der).map_err(|error| CertificateError::KeyKind {
        path: key.to_owned(),
        reason: error.to_string(),
    })?;
    let parsed: Option<Vec<Certificate>> = ders.iter().map(|der| Certificate::parse(der)).collect();
    let parsed = parsed.ok_or_else(|| CertificateError::Garbled {
        path: path.clone(),
        what: "a certificate",
        reason: "it is not X.509".to_owned(),
    })?;
    let public = signing.public_key();
    let is_keys =
        |one: &Certificate<'_>| public.as_ref().is_some_and(|key| key.as_ref() == one.key);
    match parsed.iter().position(is_keys) {
        Some(0) => {}
        Some(at) => {
            return Err(CertificateError::NotFirst {
                path,
                place: at + 1,
            });
        }
        None => {
            return Err(CertificateError::Mismatch {
                certificate: path,
                key: key.to_owned(),
            });
        }
    }
    judge(&parsed, certificate, now)?;
    let first = &parsed[0];
    let refused = |source| CertificateError::Refused {
        path: certificate.to_owned(),
        source,
    };
    let config = config(ders.clone(), key_der).map_err(refused)?;
    let mut http1 = config.clone();
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity {
        config: Arc::new(config),
        http1: Arc::new(http1),
        names: first.names.clone(),
        fingerprint: Fingerprint::of(&ders[0]),
        key: Fingerprint::of(first.key),
        begins: first.begins,
        ends: first.ends,
        trusted: None,
    })
}

/// Times, order and names of a chain.
fn judge(chain: &[Certificate<'_>], path: &Path, now: i64) -> Result<(), CertificateError> {
    for (at, one) in chain.iter().enumerate() {
        let (path, place) = (path.to_owned(), at + 1);
        if at > 0 && chain[at - 1].issuer != one.subject {
            return Err(CertificateError::Order { path, place });
        }
        if one.ends < now {
            let ended = day(one.ends);
            return Err(CertificateError::Expired { path, place, ended });
        }
        if one.begins > now {
            let begins = day(one.begins);
            return Err(CertificateError::NotYet {
                path,
                place,
                begins,
            });
        }
    }
    match chain.first().is_some_and(|first| first.names.is_empty()) {
        true => Err(CertificateError::Nameless {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

/// Of the key of a certificate; nothing where it is none.
pub(crate) fn key_of(certificate: &[u8]) -> Option<Fingerprint> {
    let parsed = Certificate::parse(certificate)?;
    Some(Fingerprint::of(parsed.key))
}

/// A second since 1970 as a date and a time.
pub(crate) fn day(second: i64) -> String {
    jiff::Timestamp::from_second(second).map_or_else(|_| second.to_string(), |at| at.to_string())
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // What a client resumes by is in its ticket: any core takes it, and none keeps anything.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| garbled(path, "a certificate", &error))?;
    match found.is_empty() {
        true => Err(CertificateError::Nothing {
            path: path.to_owned(),
            what: "certificate",
        }),
        false => Ok(found),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) => Err(CertificateError::Nothing {
            path: path.to_owned(),
            what: "private key",
        }),
        Err(error) => Err(garbled(path, "a private key", &error)),
    }
}

fn garbled(path: &Path, what: &'static str, error: &PemError) -> CertificateError {
    CertificateError::Garbled {
        path: path.to_owned(),
        what,
        // Its own words have lines as lists of numbers.
        reason: match error {
            PemError::MissingSectionEnd { end_marker } => {
                let end = format!("-----END {}-----", String::from_utf8_lossy(end_marker));
                format!("there is no line {}", line(end.as_bytes()))
            }
            PemError::IllegalSectionStart { line: start } => {
                format!("the line {} begins nothing", line(start))
            }
            other => chain(other),
        },
    }
}

/// A line of a file for a message: one that is no text may be anything, a key among it.
fn line(bytes: &[u8]) -> String {
    /// Characters of it that are told.
    const TOLD: usize = 80;
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    match text.starts_with("-----") {
        true => {
            let told: String = text.chars().take(TOLD).collect();
            format!("{told:?}")
        }
        false => "of a section".to_owned(),
    }
}

/// The bytes of a file of modest size. Links are followed: whoever renews certificates moves one.
fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a plain file")));
    }
    let mut text = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text);
    if read.map_err(unreadable)? as u64 > FILE_BYTES_MAX {
        return Err(CertificateError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
