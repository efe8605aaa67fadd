//! What the service manager hears that started the server: systemd's protocol, one datagram to the
//! socket that `NOTIFY_SOCKET` names (`sd_notify(3)`).
//!
//! Refuses to fail or to wait for it: a manager that does not listen is not told.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
};

/// Requests are served from now on, at this URL.
pub(crate) fn ready(url: &str) {
    tell(&format!("READY=1\nSTATUS=Serves on {url}\n"));
}

/// No new calls; those that run may finish.
pub(crate) fn stopping() {
    tell("STOPPING=1\nSTATUS=Waits for calls that run\n");
}

fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// One datagram to a path, or to an abstract name behind `@`.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(Path::new(socket))?,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let from = UnixDatagram::unbound()?;
    from.set_nonblocking(true)?;
    from.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn heard(at: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let length = at.recv(&mut bytes).expect("a datagram");
        String::from_utf8(bytes[..length].to_vec()).expect("text")
    }

    #[test]
    fn a_path_and_an_abstract_name_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let at = UnixDatagram::bind(&path).expect("bound");
        send(path.as_os_str(), "READY=1\n").expect("sent");
        assert_eq!(heard(&at), "READY=1\n");

        let name = format!("freehold-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let at = UnixDatagram::bind_addr(&address).expect("bound");
        send(&OsString::from(format!("@{name}")), "STOPPING=1\n").expect("sent");
        assert_eq!(heard(&at), "STOPPING=1\n");
    }

    #[test]
    fn nobody_there_and_other_families_are_errors() {
        for socket in ["/nonexistent/notify", "vsock:2:1", "relative"] {
            assert!(send(OsStr::new(socket), "READY=1\n").is_err(), "{socket}");
        }
    }
}
