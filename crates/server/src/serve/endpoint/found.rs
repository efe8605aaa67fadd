//! What a server left for its clients, read with suspicion.
//!
//! Both files are written by the server, which has given up root; `freehold env` is run by root, and
//! its output by a shell. So nothing here is passed on as it stands: a file is a small plain one or
//! refused, and every value is parsed as what it claims to be before anybody sees it.

use crate::serve::folder::TLS;
use freehold_domain::Region;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::Path,
};

/// Bytes of either file; ours have a few hundred.
const FILE_BYTES_MAX: u64 = 4096;
/// Characters of an access key's id and secret, as AWS bounds them.
const KEY_CHARACTERS_MAX: usize = 128;

#[derive(Deserialize)]
struct Announced {
    listen: String,
    pid: i32,
    region: Region,
    #[serde(default)]
    is_self_signed: bool,
}

#[derive(Deserialize)]
struct RootKey {
    access_key_id: String,
    secret_access_key: String,
}

/// A server that serves here, and its root key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// A URL, of which every part was looked at.
    listen: String,
    region: Region,
    /// What clients have to trust, where the server made it itself.
    certificate: Option<String>,
    access_key_id: String,
    secret_access_key: String,
}

impl Found {
    /// The variables by which AWS's clients find the server, with their values.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("AWS_ENDPOINT_URL", self.listen.clone()),
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
            ("AWS_REGION", self.region.to_string()),
            ("AWS_DEFAULT_REGION", self.region.to_string()),
        ];
        if let Some(certificate) = &self.certificate {
            // Python's, Go's and the command line's clients look at the one, Node's at the other.
            all.push(("AWS_CA_BUNDLE", certificate.clone()));
            all.push(("NODE_EXTRA_CA_CERTS", certificate.clone()));
        }
        all
    }
}

/// Reads what the server of `data` left.
///
/// Errors: a text that names the file and what to do.
pub(super) fn read(data: &Path) -> Result<Found, String> {
    let path = data.join("run/endpoint.json");
    let announced: Announced = parsed(&path, |error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "no server serves from {}: start one by `freehold serve --data {}`",
            data.display(),
            data.display()
        ),
        _ => format!("{}: {error}", path.display()),
    })?;
    let listen = announced.listen;
    if !is_url(&listen) {
        return Err(refused(
            &path,
            "listen",
            "http://ADDRESS:PORT or https://NAME:PORT",
        ));
    }
    // Its place is ours to say: the server only says that it is there.
    let certificate = (announced.is_self_signed && listen.starts_with("https://"))
        .then(|| data.join(TLS).join("certificate.pem"))
        .map(|path| {
            std::path::absolute(&path)
                .unwrap_or(path)
                .display()
                .to_string()
        });
    if !is_alive(announced.pid) {
        return Err(format!(
            "the server of {} is not there any more: start it by `freehold serve --data {}`",
            data.display(),
            data.display()
        ));
    }
    let path = data.join("root-key");
    let key: RootKey = parsed(&path, |error| {
        format!(
            "{}: {error}; only who started the server may read it",
            path.display()
        )
    })?;
    let is_key = |text: &str, extra: &[u8]| {
        (1..=KEY_CHARACTERS_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
    };
    if !is_key(&key.access_key_id, b"") {
        return Err(refused(&path, "access_key_id", "letters and digits"));
    }
    if !is_key(&key.secret_access_key, b"+/=") {
        return Err(refused(&path, "secret_access_key", "base64"));
    }
    Ok(Found {
        listen,
        region: announced.region,
        certificate,
        access_key_id: key.access_key_id,
        secret_access_key: key.secret_access_key,
    })
}

/// `http://ADDRESS:PORT`, `https://ADDRESS:PORT` or `https://NAME:PORT`, and nothing else.
fn is_url(text: &str) -> bool {
    let is_address = |text: &str| text.parse::<SocketAddr>().is_ok();
    let is_name = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        text.rsplit_once(':').is_some_and(|(name, port)| {
            (1..=253).contains(&name.len())
                && name.bytes().all(is_plain)
                && port.parse::<u16>().is_ok()
        })
    };
    match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(address), _) => is_address(address),
        (None, Some(host)) => is_address(host) || is_name(host),
        (None, None) => false,
    }
}

fn is_alive(pid: i32) -> bool {
    // `from_raw` of a negative number panics.
    let pid = Some(pid).filter(|pid| *pid > 0);
    pid.and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| {
            !matches!(
                rustix::process::test_kill_process(pid),
                Err(rustix::io::Errno::SRCH)
            )
        })
}

/// The value stays unsaid: it may be a secret, or made for the reader's terminal.
fn refused(path: &Path, field: &str, wanted: &str) -> String {
    format!(
        "{}: {field} is not {wanted}; the server that wrote this is not to be trusted: \
         end it, and look at its log before starting another",
        path.display()
    )
}

fn parsed<T: DeserializeOwned>(
    path: &Path,
    unreadable: impl FnOnce(io::Error) -> String,
) -> Result<T, String> {
    let text = plain_file(path).map_err(unreadable)?;
    serde_json::from_slice(&text).map_err(|error| {
        format!(
            "{}: line {}, column {}: it is not what a server writes",
            path.display(),
            error.line(),
            error.column()
        )
    })
}

/// The bytes of a plain file of modest size: no link into what only root may read, no pipe that
/// never ends.
pub(crate) fn plain_file(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => return Err(io::Error::other("it is a symbolic link")),
        other => File::from(other?),
    };
    let facts = opened.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut text = Vec::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

/// `value` as one word of a shell, whatever is in it.
pub(super) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;

    fn folder(announced: &Value, key: &Value) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::write(
            folder.path().join("run/endpoint.json"),
            announced.to_string(),
        )
        .unwrap();
        fs::write(folder.path().join("root-key"), key.to_string()).unwrap();
        folder
    }

    fn announced() -> Value {
        json!({"listen": "http://127.0.0.1:7070", "admin": "http://127.0.0.1:7071",
               "pid": std::process::id(), "region": "eu-central-1"})
    }

    fn key() -> Value {
        json!({"access_key_id": "AKIAQ7", "secret_access_key": "a+/=", "account": "000000000001"})
    }

    #[test]
    fn what_a_server_writes_is_found() {
        let folder = folder(&announced(), &key());
        let found = read(folder.path()).unwrap();
        assert_eq!(found.variables()[0].1, "http://127.0.0.1:7070");
        assert_eq!(found.variables()[3].1, "eu-central-1");
        assert_eq!(found.variables().len(), 5);
    }

    #[test]
    fn a_certificate_of_the_servers_own_is_found_where_it_has_to_be() {
        let mut announced = announced();
        announced["listen"] = "https://api.example.org:7070".into();
        let found = |announced: &Value| {
            let folder = folder(announced, &key());
            let found = read(folder.path()).unwrap().variables();
            let path = found.iter().find(|(name, _)| *name == "AWS_CA_BUNDLE");
            assert_eq!(found[0].1, announced["listen"].as_str().unwrap());
            path.map(|(_, path)| {
                Path::new(path)
                    .strip_prefix(folder.path())
                    .unwrap()
                    .to_owned()
            })
        };
        assert_eq!(found(&announced), None);
        announced["is_self_signed"] = true.into();
        let path = found(&announced).unwrap();
        assert_eq!(path, Path::new("tls/certificate.pem"));
        announced["listen"] = "http://127.0.0.1:1".into();
        assert_eq!(found(&announced), None);
    }

    #[track_caller]
    fn check_refused(file: &str, field: &str, value: Value) {
        let (mut first, mut second) = (announced(), key());
        let changed = if file == "root-key" {
            &mut second
        } else {
            &mut first
        };
        changed[field] = value;
        let folder = folder(&first, &second);
        let error = read(folder.path()).unwrap_err();
        assert!(error.contains(file), "{error}");
        assert!(!error.contains("touch"), "{error}");
    }

    #[test]
    fn a_value_that_is_not_what_it_claims_is_refused_and_not_shown() {
        for text in [
            "x'; touch /tmp/p; '",
            "http://127.0.0.1:1'; touch /tmp/p; '",
            "http://$(touch p):1",
            "http://127.0.0.1:1\ntouch p",
            "https://127.0.0.1",
            "https://a;touch p:1",
            "https://touch p:1",
            "https://touch/p:1",
            "https://touch@p:1",
            "https://:1",
            "https://touch:p",
            "127.0.0.1:1",
            "http://localhost:1",
            "",
        ] {
            check_refused("endpoint.json", "listen", text.into());
        }
        check_refused("endpoint.json", "region", "x'; touch /tmp/p; '".into());
        check_refused("endpoint.json", "region", Value::Null);
        check_refused("endpoint.json", "pid", "1; touch p".into());
        check_refused("root-key", "access_key_id", "A'; touch p; '".into());
        check_refused("root-key", "access_key_id", "A".repeat(129).into());
        check_refused("root-key", "secret_access_key", "$(touch p)".into());
        check_refused("root-key", "secret_access_key", "".into());
    }

    #[test]
    fn a_server_that_ended_is_not_found() {
        for pid in [0, -1, i32::MAX] {
            let mut announced = announced();
            announced["pid"] = pid.into();
            let folder = folder(&announced, &key());
            let error = read(folder.path()).unwrap_err();
            assert!(error.contains("not there any more"), "{error}");
        }
    }

    #[test]
    fn links_pipes_and_long_files_are_refused() {
        let folder = folder(&announced(), &key());
        let path = folder.path().join("run/endpoint.json");
        let again = |reason: &str| {
            let error = read(folder.path()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        fs::write(&path, " ".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
        again("more than 4096 bytes");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        again("symbolic link");
        fs::remove_file(&path).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        again("not a plain file");
    }

    #[test]
    fn a_quoted_text_is_one_word_of_the_shell() {
        for text in [
            "plain",
            "x'; exit 3; '",
            "$(exit 3)",
            "`exit 3`",
            "a\\'b\n\"c",
            "",
        ] {
            let line = format!("printf %s {}", quoted(text));
            let done = std::process::Command::new("sh")
                .args(["-c", &line])
                .output()
                .unwrap();
            assert_eq!(
                (done.status.code(), done.stdout),
                (Some(0), text.as_bytes().to_vec())
            );
        }
    }
}
