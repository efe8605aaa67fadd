//! Sockets, bound while anything can still be said in one line about a taken port.

use super::{Settings, StartFailure, failure};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// Connections that wait to be accepted, per core.
const BACKLOG: i32 = 1024;

/// One socket per core on one address, and the admin's.
pub(crate) struct Listeners {
    pub(crate) cores: Vec<TcpListener>,
    pub(crate) admin: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: SocketAddr,
}

/// Binds everything.
pub(crate) fn bind(settings: &Settings) -> Result<Listeners, StartFailure> {
    let taken = |flag: &'static str, address: SocketAddr| {
        move |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => failure(
                format!("{address} is taken by another program"),
                format!("stop it, or choose another address by --{flag}"),
            ),
            _ => failure(
                format!("cannot listen on {address}: {error}"),
                format!("choose another address by --{flag}"),
            ),
        }
    };
    // Shared listening would let a second server of the same user slip in beside us: a plain bind
    // first says whether the address is free.
    let probe = TcpListener::bind(settings.listen).map_err(taken("listen", settings.listen))?;
    let address = probe
        .local_addr()
        .map_err(taken("listen", settings.listen))?;
    drop(probe);
    let mut cores = Vec::new();
    for _ in 0..settings.cores {
        cores.push(shared(address).map_err(taken("listen", address))?);
    }
    let admin = TcpListener::bind(settings.admin_listen)
        .map_err(taken("admin-listen", settings.admin_listen))?;
    admin
        .set_nonblocking(true)
        .map_err(taken("admin-listen", settings.admin_listen))?;
    let admin_address = admin
        .local_addr()
        .map_err(taken("admin-listen", settings.admin_listen))?;
    Ok(Listeners {
        cores,
        admin,
        address,
        admin_address,
    })
}

/// A listening socket that shares its address: the kernel spreads connections over all of them.
fn shared(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
