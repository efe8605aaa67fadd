//! The machine's resolvers, as `/etc/resolv.conf` names them now.

use crate::message::{ANSWER_MAX, Question};
use parking_lot::Mutex;
use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant, SystemTime},
};
use tokio::{net::UdpSocket, time::timeout};

const FILE: &str = "/etc/resolv.conf";
/// Between two looks at whether the file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// As many as the C library takes.
const SERVERS_MAX: usize = 3;
/// How long one of them may take before the next is asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const PORT: u16 = 53;

/// Whom the machine asks for names.
#[derive(Debug, Default)]
pub struct Resolvers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

impl Resolvers {
    fn servers(&self) -> Vec<SocketAddr> {
        let mut known = self.0.lock();
        if known.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            known.looked = Some(Instant::now());
            let changed = fs::metadata(FILE).and_then(|facts| facts.modified()).ok();
            if known.servers.is_empty() || changed != known.changed {
                known.changed = changed;
                known.servers = servers(&fs::read_to_string(FILE).unwrap_or_default());
            }
        }
        known.servers.clone()
    }

    /// Asks one after the other; the number under which the answer came, and the answer.
    pub async fn ask(&self, question: &Question) -> Option<(u16, Vec<u8>)> {
        for server in self.servers() {
            // A number and a port that nobody else can know.
            let id = RandomState::new().build_hasher().finish() as u16;
            match timeout(ANSWER_WITHIN, ask_one(server, question, id)).await {
                Ok(Ok(answer)) => return Some((id, answer)),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver cannot be asked"),
                Err(_) => tracing::debug!(%server, "a resolver did not answer"),
            }
        }
        None
    }
}

async fn ask_one(server: SocketAddr, question: &Question, id: u16) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question.to_pass_on(id)).await?;
    let mut packet = vec![0; ANSWER_MAX];
    loop {
        let len = socket.recv(&mut packet).await?;
        // What is no answer to this is nobody's.
        if question.read_answer(id, &packet[..len]).is_some() {
            packet.truncate(len);
            return Ok(packet);
        }
    }
}

/// As the C library reads the file: without a server in it, this machine's own.
fn servers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        let address = words.next()?.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address, PORT))
    });
    let named: Vec<SocketAddr> = named.take(SERVERS_MAX).collect();
    match named.is_empty() {
        true => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
        false => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_c_library_does() {
        let text = "# one\nsearch example.com\nnameserver 10.0.0.53\n nameserver ::1 \n\
            nameserver nonsense\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let read: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(read, ["10.0.0.53:53", "[::1]:53", "1.1.1.1:53"]);
        assert_eq!(servers("")[0].to_string(), "127.0.0.1:53");
    }
}
