//! How the listeners are entered: in clear or by TLS, with which certificate, under which names;
//! and what of that a reload changes.
//!
//! Off loopback nothing is in clear unless `server.insecure` says so: without a certificate of the
//! operator's the server makes one of its own. On loopback it speaks in clear until it is given a
//! certificate, or told to make or order one; metrics and health do so in any case, for who probes
//! them.

use super::{
    Settings,
    acme::{Acme, Life},
    endpoint::{self, Announced},
    folder::Folder,
    tls::{self, CertificateError, Fingerprint, Identity, Source},
};
use crate::config::Config;
use freehold_api::{ChangeRow, Door, Hosts, Proxies};
use freehold_domain::{Region, live::Live};
use parking_lot::Mutex;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio_rustls::rustls::ServerConfig;

/// The doors, and how they came to be.
pub(crate) struct FrontDoor {
    folder: Folder,
    region: Region,
    listen: SocketAddr,
    admin_listen: SocketAddr,
    url_domain: String,
    tls: Option<Tls>,
    acme: Option<Arc<Acme>>,
    /// `server.hosts`, as of the last reload.
    hosts: Mutex<Vec<String>>,
    /// Nothing where that listener is in clear.
    public: Door,
    admin: Door,
    is_announced: AtomicBool,
}

/// What is shown to whoever connects.
struct Tls {
    source: Mutex<Source>,
    shown: Mutex<Shown>,
    config: Live<Arc<ServerConfig>>,
    http1: Live<Arc<ServerConfig>>,
}

/// What is told of a certificate.
#[derive(Debug, Clone)]
struct Shown {
    fingerprint: Fingerprint,
    key: Fingerprint,
    names: Vec<String>,
    begins: i64,
    ends: i64,
    trusted: Option<PathBuf>,
}

impl Shown {
    fn of(identity: &Identity) -> Self {
        Self {
            fingerprint: identity.fingerprint,
            key: identity.key,
            names: identity.names.clone(),
            begins: identity.begins,
            ends: identity.ends,
            trusted: identity.trusted.clone(),
        }
    }

    fn told(&self) -> String {
        format!("sha256:{} until {}", self.fingerprint, tls::day(self.ends))
    }
}

impl Tls {
    /// Handshakes from here on find it. Returns what was shown before.
    fn show(&self, identity: Identity) -> Shown {
        let before = std::mem::replace(&mut *self.shown.lock(), Shown::of(&identity));
        self.config.set(identity.config);
        self.http1.set(identity.http1);
        before
    }
}

/// What a reload would change.
pub(crate) struct Renewed {
    source: Option<Source>,
    identity: Option<Identity>,
}

/// Why a reload is refused on account of its certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    #[error("tls.certificate cannot be taken")]
    Certificate(#[from] CertificateError),
    #[error(
        "tls.certificate cannot be taken: the server began without one, and changes that at a start only"
    )]
    Begun,
    #[error(
        "tls.certificate cannot be left out: the server began with one, and changes that at a start only"
    )]
    Ended,
}

/// Where the certificate comes from, if there is to be one.
fn source(config: &Config, folder: &Folder, listen: [SocketAddr; 2]) -> Option<Source> {
    let (server, tls) = (&config.server, &config.tls);
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Some(Source::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        _ => {
            let is_far = listen.iter().any(|address| !is_near(*address));
            let is_needed = is_far && !server.insecure;
            // It is shown until there is one that was ordered.
            let is_ordered = !tls.acme_names.is_empty();
            (tls.self_signed || is_ordered || is_needed).then(|| Source::Made(folder.tls()))
        }
    }
}

fn is_near(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl FrontDoor {
    /// Opens the doors of a server that is bound to these addresses, while it has the right to read
    /// and to make.
    ///
    /// Errors: [`CertificateError`].
    pub(crate) fn open(
        settings: &Settings,
        folder: &Folder,
        listen: SocketAddr,
        admin_listen: SocketAddr,
    ) -> Result<Self, CertificateError> {
        let config = &settings.config;
        let source = source(config, folder, [listen, admin_listen]);
        let acme = Acme::of(config, folder);
        let tls = match source {
            None => None,
            Some(source) => {
                let mut identity = source.read(&own_names(settings, listen, admin_listen))?;
                if let Some(acme) = &acme {
                    identity = identity.with_challenges(&acme.challenges);
                }
                Some(Tls {
                    source: Mutex::new(source),
                    shown: Mutex::new(Shown::of(&identity)),
                    config: Live::new(identity.config),
                    http1: Live::new(identity.http1),
                })
            }
        };
        let url_domain = config.server.url_domain.clone();
        let names = names(
            &config.server.hosts,
            tls.as_ref().map(|tls| tls.shown.lock().names.clone()),
        );
        let hosts = |listen: SocketAddr| {
            Live::new(Hosts::new(listen.ip(), &url_domain, names.iter().cloned()))
        };
        let proxies = Live::new(Proxies::new(config.server.proxies.clone()));
        let is_public = config.tls.certificate.is_some()
            || config.tls.self_signed
            || acme.is_some()
            || (!is_near(listen) && !config.server.insecure);
        let is_admin = !is_near(admin_listen) && !config.server.insecure;
        let with = |is_it: bool, cell: fn(&Tls) -> &Live<Arc<ServerConfig>>| {
            tls.as_ref().filter(|_| is_it).map(|tls| cell(tls).clone())
        };
        Ok(Self {
            folder: folder.clone(),
            region: settings.regions[0].clone(),
            public: Door {
                tls: with(is_public, |tls| &tls.config),
                hosts: hosts(listen),
                proxies: proxies.clone(),
            },
            admin: Door {
                tls: with(is_admin, |tls| &tls.http1),
                hosts: hosts(admin_listen),
                proxies,
            },
            listen,
            admin_listen,
            url_domain,
            tls,
            acme,
            hosts: Mutex::new(config.server.hosts.clone()),
            is_announced: AtomicBool::new(false),
        })
    }

    /// As the user that the server has dropped to: shows the certificate of an earlier order, and
    /// makes sure that a reload can read what the start has read.
    ///
    /// Errors: [`CertificateError::RootOnly`].
    pub(crate) fn settle(&self) -> Result<(), CertificateError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        if let Some(acme) = &self.acme {
            match acme.kept() {
                Ok(identity) => self.show_ordered(identity),
                Err(CertificateError::Unreadable { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let error = super::chain(&error);
                    eprintln!(
                        "freehold: the certificate of an earlier order does not serve: {error}"
                    );
                }
            }
        }
        tls.source.lock().can_be_read_again(self.folder.uid)
    }

    /// What orders certificates, if any are to be ordered.
    pub(crate) fn acme(&self) -> Option<Arc<Acme>> {
        self.acme.clone()
    }

    /// The life of the certificate that was ordered, where one is shown.
    pub(super) fn ordered(&self) -> Option<Life> {
        self.acme.as_ref()?;
        let shown = self.tls.as_ref()?.shown.lock();
        let [one, other, ..] = shown.fingerprint.0;
        shown.trusted.is_none().then(|| Life {
            begins: shown.begins,
            ends: shown.ends,
            share: f64::from(u16::from_le_bytes([one, other])) / f64::from(u16::MAX),
        })
    }

    /// Shows a certificate that was ordered, to handshakes from then on.
    pub(super) fn show_ordered(&self, identity: Identity) {
        let Some(tls) = &self.tls else { return };
        tls.show(identity);
        self.name();
        self.announce_again();
    }

    /// Of the APIs.
    pub(crate) fn public(&self) -> Door {
        self.public.clone()
    }

    /// Of metrics and health.
    pub(crate) fn admin(&self) -> Door {
        self.admin.clone()
    }

    /// Whether the APIs are served encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        self.public.tls.is_some()
    }

    /// The seconds since 1970 at which clients begin to refuse the certificate.
    pub(crate) fn ends(&self) -> Option<i64> {
        self.tls.as_ref().map(|tls| tls.shown.lock().ends)
    }

    /// Judges what `config` says now; nothing has changed by then.
    ///
    /// Errors: [`RenewError`].
    pub(crate) fn renewed(&self, config: &Config) -> Result<Renewed, RenewError> {
        let now = source(config, &self.folder, [self.listen, self.admin_listen]);
        let files = now.filter(|source| matches!(source, Source::Files { .. }));
        let held = self.tls.as_ref().map(|tls| tls.source.lock().clone());
        let identity = match (&files, held) {
            (Some(files), Some(Source::Files { .. })) => Some(files.read(&[])?),
            (Some(_), _) => return Err(RenewError::Begun),
            (None, Some(Source::Files { .. })) => return Err(RenewError::Ended),
            // What it made itself is root's, and stays.
            (None, _) => None,
        };
        Ok(Renewed {
            source: files,
            identity,
        })
    }

    /// Takes it over: handshakes and connections that begin after this find it. Returns what has
    /// changed of the certificate.
    pub(crate) fn renew(&self, renewed: Renewed, config: &Config) -> Option<ChangeRow> {
        let mut change = None;
        if let (Some(tls), Some(source), Some(identity)) =
            (&self.tls, renewed.source, renewed.identity)
        {
            let now = Shown::of(&identity);
            let before = tls.show(identity);
            if before.fingerprint != now.fingerprint {
                let origin = match &source {
                    Source::Files { certificate, .. } => certificate.display().to_string(),
                    Source::Made(folder) => folder.display().to_string(),
                };
                change = Some(ChangeRow {
                    key: "tls.certificate".to_owned(),
                    before: Some(before.told()),
                    now: Some(now.told()),
                    origin,
                });
            }
            *tls.source.lock() = source;
        }
        *self.hosts.lock() = config.server.hosts.clone();
        self.name();
        let proxies = Proxies::new(config.server.proxies.clone());
        self.public.proxies.set(proxies);
        self.tell_end();
        if change.is_some() {
            self.announce_again();
        }
        if let Some(acme) = &self.acme {
            acme.hurry();
        }
        change
    }

    /// Takes over whom requests may name now.
    fn name(&self) {
        // Held to the end: a reload and a renewal may come at once.
        let hosts = self.hosts.lock();
        let shown = self.tls.as_ref().map(|tls| tls.shown.lock().names.clone());
        let names = names(&hosts, shown);
        for (door, listen) in [
            (&self.public, self.listen),
            (&self.admin, self.admin_listen),
        ] {
            let names = names.iter().cloned();
            door.hosts
                .set(Hosts::new(listen.ip(), &self.url_domain, names));
        }
    }

    /// Tells clients of this machine of another certificate, if they have been told of one.
    fn announce_again(&self) {
        if self.is_announced.load(Ordering::Relaxed)
            && let Err(error) = self.announce()
        {
            tracing::warn!(%error, "run/endpoint.json cannot be written: clients of this machine know the old certificate");
        }
    }

    /// Says where the server is, to clients of this machine.
    ///
    /// Errors: the file's.
    pub(crate) fn announce(&self) -> io::Result<()> {
        self.is_announced.store(true, Ordering::Relaxed);
        let shown = self.tls.as_ref().filter(|_| self.is_secure());
        endpoint::announce(
            &self.folder,
            &Announced {
                listen: self.url(),
                admin: match self.admin.tls {
                    Some(_) => format!("https://{}", reached(self.admin_listen)),
                    None => format!("http://{}", self.admin_listen),
                },
                pid: rustix::process::getpid().as_raw_nonzero().get(),
                region: &self.region,
                address: reached(self.listen),
                certificate: shown.map(|tls| hex::encode(tls.shown.lock().fingerprint.0)),
                is_self_signed: shown.is_some_and(|tls| tls.shown.lock().trusted.is_some()),
            },
        )
    }

    /// Where clients of this machine reach the APIs: by a name of the certificate.
    pub(crate) fn url(&self) -> String {
        let Some(tls) = self.tls.as_ref().filter(|_| self.is_secure()) else {
            return format!("http://{}", self.listen);
        };
        let reached = reached(self.listen);
        let names = tls.shown.lock().names.clone();
        let is_named = |ip: IpAddr| names.iter().any(|name| name.parse() == Ok(ip));
        let name =
            (names.iter()).find(|name| !name.contains('*') && name.parse::<IpAddr>().is_err());
        match name {
            Some(name) if !is_named(reached.ip()) => format!("https://{name}:{}", reached.port()),
            _ => format!("https://{reached}"),
        }
    }

    /// What an operator is told of the certificate at the start.
    pub(crate) fn told(&self) -> Option<String> {
        let tls = self.tls.as_ref()?;
        let shown = tls.shown.lock().clone();
        let told = match &shown.trusted {
            Some(path) => {
                let (told, key) = (shown.told(), shown.key);
                let path = path.display();
                format!("self-signed, {told}; {path}\n           its key sha256:{key}")
            }
            None => shown.told(),
        };
        Some(match &self.acme {
            Some(acme) if shown.trusted.is_some() => {
                let (names, directory) = (acme.names().join(", "), acme.directory());
                format!("{told}\n           one for {names} is ordered from {directory}")
            }
            _ => told,
        })
    }

    /// Warns where clients will soon refuse the certificate.
    pub(crate) fn tell_end(&self) {
        // One that is ordered is renewed in time, or its failures are told.
        if self.ordered().is_none()
            && let Some(ends) = self.ends()
            && ends < tls::now() + tls::SOON_S
        {
            let ends = tls::day(ends);
            tracing::warn!(
                ends,
                "clients refuse the certificate from then on: renew it, then `freehold reload`"
            );
        }
    }
}

/// Whom a certificate of the server's own making names.
fn own_names(settings: &Settings, listen: SocketAddr, admin_listen: SocketAddr) -> Vec<String> {
    let domain = &settings.config.server.url_domain;
    let mut others = vec![domain.clone()];
    let functions = settings.regions.iter();
    others.extend(functions.map(|region| format!("*.lambda-url.{region}.{domain}")));
    others.extend(settings.config.server.hosts.iter().cloned());
    others.extend(settings.config.tls.acme_names.iter().cloned());
    tls::local_names(&[listen, admin_listen], &others)
}

/// Whom requests may name beside the addresses: what the operator gave, what the certificate has,
/// what the machine calls itself.
fn names(hosts: &[String], shown: Option<Vec<String>>) -> Vec<String> {
    let mut names = hosts.to_vec();
    names.extend(shown.unwrap_or_default());
    names.push(tls::host_name());
    names
}

/// The address by which this machine reaches a listener.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
