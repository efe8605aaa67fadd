//! What a listener asks of whoever connects: to speak TLS where it does, and to name a host that
//! is its own.
//!
//! The certificate is asked for by every handshake, so that a reload swaps it below nobody's feet:
//! connections that stand go on with the one that they were shown.

use crate::{
    hosts::Hosts,
    proxies::Proxies,
    request::Tls,
    unread::{Answering, Unread},
};
use freehold_domain::live::Live;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, ServerConnection},
    server::TlsStream,
};

/// Longest handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The same while places are scarce.
const HANDSHAKE_CROWDED_MAX: Duration = Duration::from_secs(3);
/// What the first record of a handshake begins with.
const HANDSHAKE_RECORD: u8 = 0x16;
/// What HTTP in clear is told where TLS is spoken.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 49\r\nConnection: close\r\n\r\n\
    TLS is spoken here: the URL begins with https://\n";

/// Of one listener.
#[derive(Clone)]
pub struct Door {
    /// How it encrypts; nothing where it speaks in clear.
    pub tls: Option<Live<Arc<ServerConfig>>>,
    /// Its names and addresses.
    pub hosts: Live<Hosts>,
    /// Who may say for whom it asks.
    pub proxies: Live<Proxies>,
}

/// What a handshake that is over agreed on.
pub(crate) fn agreed(connection: &ServerConnection) -> Option<Tls> {
    Some(Tls {
        version: connection.protocol_version()?.as_str()?,
        cipher_suite: connection.negotiated_cipher_suite()?.suite().as_str()?,
    })
}

/// Encrypts a connection; nothing where the other side cannot, or takes too long for it.
pub(crate) async fn encrypt(
    config: &Live<Arc<ServerConfig>>,
    mut stream: TcpStream,
    answering: Arc<Answering>,
    is_crowded: bool,
) -> Option<TlsStream<Unread<TcpStream>>> {
    let shake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0].is_ascii_alphabetic() {
            // A socket that is closed with unread bytes may take the answer along.
            let _ = stream.read(&mut [0; 4096]).await?;
            stream.write_all(SPEAK_TLS).await?;
            stream.shutdown().await?;
        }
        if first[0] != HANDSHAKE_RECORD {
            return Err(io::Error::other("it does not begin with a handshake"));
        }
        let config: Arc<ServerConfig> = (*config.whole()).clone();
        TlsAcceptor::from(config)
            .accept(Unread::new(stream, answering))
            .await
    };
    let longest = match is_crowded {
        true => HANDSHAKE_CROWDED_MAX,
        false => HANDSHAKE_MAX,
    };
    match timeout(longest, shake).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a handshake took too long");
            None
        }
    }
}
