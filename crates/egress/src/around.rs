//! What the machine itself is and what is beside it, as far as its kernel tells anybody.

use freehold_domain::network::{DEVICES, Ipv4Net, Surroundings, neighbours};
use parking_lot::Mutex;
use std::{
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long the table of routes counts.
const ROUTES_LAST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Around {
    routes: Mutex<Option<(Instant, Arc<Vec<Ipv4Net>>)>>,
}

impl Around {
    /// Asks `what` with what an address is.
    pub(crate) fn of<T>(&self, address: Ipv4Addr, what: impl FnOnce(Surroundings<'_>) -> T) -> T {
        what(Surroundings {
            is_own: is_own(address),
            neighbours: &self.neighbours(),
        })
    }

    /// Whether an address is the machine's own or a neighbour's, public ones among them.
    pub(crate) fn has(&self, address: Ipv4Addr) -> bool {
        self.of(address, |around| {
            around.is_own || around.neighbours.iter().any(|net| net.has(address))
        })
    }

    /// The ranges that the machine is on. All there is where they cannot be told.
    fn neighbours(&self) -> Arc<Vec<Ipv4Net>> {
        let mut routes = self.routes.lock();
        if let Some((read, known)) = &*routes
            && read.elapsed() < ROUTES_LAST
        {
            return known.clone();
        }
        let all = || vec![Ipv4Net::around(Ipv4Addr::UNSPECIFIED, 0)];
        let table = fs::read_to_string("/proc/net/route");
        let found = Arc::new(table.map_or_else(|_| all(), |table| neighbours(&table, DEVICES)));
        *routes = Some((Instant::now(), found.clone()));
        found
    }
}

/// Whether the machine itself has the address: nobody else may speak from it. Own, too, where that
/// cannot be told.
fn is_own(address: Ipv4Addr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::AddrNotAvailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own(Ipv4Addr::LOCALHOST));
        assert!(!is_own(Ipv4Addr::new(192, 0, 2, 1)));
    }
}
