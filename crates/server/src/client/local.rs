//! The server of this machine, found by what it leaves in its data folder.
//!
//! `run/endpoint.json` says where it listens, `root-key` (mode 0600) holds its root key. Both are
//! written by [`crate::serve`]; this only reads them, and only when nothing else names a server. The
//! server has given up root, the reader may have it: only small plain files are read.

use super::{ClientError, trust::Trust};
use crate::serve::Fingerprint;
use freehold_identity::sigv4::Credentials;
use serde::Deserialize;
use std::{io::ErrorKind, net::SocketAddr, path::Path};

/// The root key's file, below the data folder.
pub const KEY_FILE: &str = "root-key";
/// The file that says where the server listens, below the data folder.
pub const ENDPOINT_FILE: &str = "run/endpoint.json";

#[derive(Deserialize)]
struct RootKey {
    access_key_id: String,
    secret_access_key: String,
}

#[derive(Deserialize)]
struct Listening {
    listen: String,
    region: String,
    address: Option<SocketAddr>,
    certificate: Option<String>,
}

/// A server that was found.
pub struct Local {
    /// Where it listens.
    pub listen: String,
    /// Where that is, whatever its name resolves to.
    pub address: Option<SocketAddr>,
    /// The certificate that it shows, if any.
    pub trust: Option<Trust>,
    /// Its default region.
    pub region: String,
    /// Its root key.
    pub credentials: Credentials,
}

/// Looks for a server in `data`; `None` when no server ever wrote there, or none runs now.
///
/// Errors: a file that is there and cannot be read or understood.
pub fn find(data: &Path) -> Result<Option<Local>, ClientError> {
    let Some(listening) = read::<Listening>(&data.join(ENDPOINT_FILE))? else {
        return Ok(None);
    };
    let Some(key) = read::<RootKey>(&data.join(KEY_FILE))? else {
        return Ok(None);
    };
    let certificate = listening.certificate.as_deref();
    let known = certificate.map(|text| {
        Fingerprint::parse(text).ok_or_else(|| ClientError::Setting {
            what: data.join(ENDPOINT_FILE).display().to_string(),
            reason: "its certificate is no SHA-256".to_owned(),
        })
    });
    Ok(Some(Local {
        listen: listening.listen,
        address: listening.address,
        trust: known.transpose()?.map(Trust::Known),
        region: listening.region,
        credentials: Credentials {
            access_key_id: key.access_key_id,
            secret: key.secret_access_key,
            token: None,
        },
    }))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ClientError> {
    let text = match crate::serve::plain_file(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => {
            return Err(ClientError::Unreadable {
                path: path.to_owned(),
                remedy: "the key belongs to whoever started the server: run this as that user, or give AWS_ENDPOINT_URL and keys of your own",
                source,
            });
        }
    };
    // The reason names a place in the file, never what stands there: that may be a secret.
    let parsed = serde_json::from_slice(&text).map_err(|error| ClientError::Setting {
        what: path.display().to_string(),
        reason: format!("line {}, column {}", error.line(), error.column()),
    })?;
    Ok(Some(parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join(ENDPOINT_FILE)).unwrap();
        let error = find(folder.path()).err().unwrap();
        assert!(matches!(error, ClientError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn a_damaged_key_file_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        assert!(find(folder.path()).unwrap().is_none());
        std::fs::write(
            folder.path().join(ENDPOINT_FILE),
            r#"{"listen":"http://h:1","region":"r"}"#,
        )
        .unwrap();
        std::fs::write(
            folder.path().join(KEY_FILE),
            r#"{"secret_access_key":"sesame""#,
        )
        .unwrap();
        let error = find(folder.path()).err().unwrap().to_string();
        assert!(
            error.contains(KEY_FILE) && !error.contains("sesame"),
            "{error}"
        );
    }
}
