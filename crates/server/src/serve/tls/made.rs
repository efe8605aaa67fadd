//! A certificate of the server's own making, for a start: clients trust it by its fingerprint, or
//! by the file.
//!
//! ```text
//! DATA/tls/key.pem           0600, root's: made once
//! DATA/tls/certificate.pem   for everybody: `freehold env` names it to AWS's clients
//! ```
//!
//! It is made anew only where it would not serve: it ends soon, or lacks a name. The key stays, so
//! that who believes the key goes on believing.

use super::{CertificateError, Identity, day, identity};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The certificate's file.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// Its key's.
const KEY: &str = "key.pem";
const DAY_S: i64 = 24 * 3600;
/// How long one is good for.
const LIFE_S: i64 = 3650 * DAY_S;
/// One that ends sooner is made anew.
const LEFT_MIN_S: i64 = 30 * DAY_S;

/// The certificate of `folder`; `names` is whom it has to name.
pub(super) fn read_or_make(
    folder: &Path,
    names: &[String],
    now: i64,
) -> Result<Identity, CertificateError> {
    let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
    if certificate.exists() && key.exists() {
        match identity(&certificate, &key, now) {
            Ok(found) => match lacks(&found, names, now) {
                None => return Ok(trusted(found, certificate)),
                Some(why) => eprintln!("freehold: a new certificate is made: the old one {why}"),
            },
            Err(error @ CertificateError::Unreadable { .. }) => return Err(error),
            Err(error) => {
                let error = crate::serve::chain(&error);
                eprintln!("freehold: a new certificate is made: {error}");
            }
        }
    }
    make(folder, names, now).map_err(|source| CertificateError::NotMade {
        path: folder.to_owned(),
        source,
    })?;
    identity(&certificate, &key, now).map(|found| trusted(found, certificate))
}

fn trusted(found: Identity, certificate: PathBuf) -> Identity {
    Identity {
        trusted: Some(certificate),
        ..found
    }
}

/// Why a certificate does not serve.
fn lacks(found: &Identity, names: &[String], now: i64) -> Option<String> {
    if found.ends < now + LEFT_MIN_S {
        return Some(format!("ends at {}", day(found.ends)));
    }
    let missing = missing(found, names)?;
    Some(format!("does not name {missing}"))
}

/// The first of `names` that a certificate does not have.
pub(super) fn missing<'a>(found: &Identity, names: &'a [String]) -> Option<&'a String> {
    let address = |name: &str| name.parse::<IpAddr>().ok();
    let is_same = |one: &String, name: &String| match (address(one), address(name)) {
        (Some(one), Some(name)) => one == name,
        _ => one.eq_ignore_ascii_case(name),
    };
    let named = |name: &&String| found.names.iter().any(|one| is_same(one, name));
    names.iter().find(|name| !named(name))
}

/// Addresses of the machine that a certificate names.
const ADDRESSES_MAX: usize = 64;

/// What the machine calls itself.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    match name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    {
        true if !name.is_empty() => name,
        _ => "localhost".to_owned(),
    }
}

/// Whom a certificate of a server's own making has to name that listens there.
pub(crate) fn local_names(listen: &[SocketAddr], others: &[String]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let own = listen.iter().map(|address| address.ip());
    let own = own.filter(|ip| !ip.is_unspecified());
    names.extend(own.map(|ip| ip.to_canonical().to_string()));
    names.extend(others.iter().cloned());
    let mut known = std::collections::BTreeSet::new();
    names.retain(|name| known.insert(name.to_ascii_lowercase()));
    names
}

/// The addresses that this machine has, which a listener on every address is reached by. They
/// change: a certificate names those of its day, and lacks nothing without them.
fn addresses() -> Vec<String> {
    let mut found = Vec::new();
    let trie = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = "";
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address;
        } else if line.ends_with("host LOCAL") {
            found.push(last.to_owned());
        }
    }
    let six = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let digits = six.lines().filter_map(|line| line.split(' ').next());
    let bytes = digits.filter_map(|digits| <[u8; 16]>::try_from(hex::decode(digits).ok()?).ok());
    found.extend(bytes.map(|bytes| IpAddr::from(bytes).to_string()));
    found
}

fn make(folder: &Path, names: &[String], now: i64) -> io::Result<()> {
    let mut all = names.to_vec();
    // What changes from day to day, or with each container, is named and never missed.
    all.push(host_name());
    all.extend(addresses().into_iter().take(ADDRESSES_MAX));
    let mut known = std::collections::BTreeSet::new();
    all.retain(|name| known.insert(name.clone()));
    let date = |second: i64| {
        let at = jiff::Timestamp::from_second(second).map_err(io::Error::other)?;
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        let (year, month) = (i32::from(date.year()), date.month().unsigned_abs());
        Ok::<_, io::Error>(date_time_ymd(year, month, date.day().unsigned_abs()))
    };
    let mut params = CertificateParams::new(all).map_err(io::Error::other)?;
    params.not_before = date(now - DAY_S)?;
    params.not_after = date(now + LIFE_S)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name = Default::default();
    let name = format!("Freehold on {}", host_name());
    params.distinguished_name.push(DnType::CommonName, name);
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    let key = key(&folder.join(KEY))?;
    let certificate = params.self_signed(&key).map_err(io::Error::other)?;
    write(&folder.join(CERTIFICATE), &certificate.pem(), 0o644)
}

/// The key that is there, or a new one where none is, or none that can be used.
fn key(path: &Path) -> io::Result<KeyPair> {
    let held = fs::read_to_string(path).ok();
    if let Some(held) = held.and_then(|text| KeyPair::from_pem(&text).ok()) {
        return Ok(held);
    }
    let new = KeyPair::generate().map_err(io::Error::other)?;
    write(path, &new.serialize_pem(), 0o600)?;
    Ok(new)
}

/// Whole or not at all, and on disk when it returns.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let partial = path.with_extension("new");
    let _ = fs::remove_file(&partial);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
