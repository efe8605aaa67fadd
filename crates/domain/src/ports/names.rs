//! The network of one instance, as far as the server serves it: names, and connections where the
//! instance has no link.

use crate::{
    BoxFuture,
    ids::CoreId,
    network::{NetworkId, Ports},
    ports::NetworkIo,
    traffic::Carried,
};
use std::{net::Ipv4Addr, sync::Arc, time::Duration};

/// Answers the questions of one instance for names, and carries its connections where they come to
/// the server, on sockets that were made inside its namespace.
pub trait InstanceNames: Send + Sync {
    /// Serves `io`, as the policy `network` allows, until the guard is dropped, and counts what its
    /// connections carry. Never waits; called on the core that serves the instance.
    fn serve(
        &self,
        io: NetworkIo,
        network: NetworkId,
        core: CoreId,
        carried: Arc<Carried>,
    ) -> Box<dyn Send + Sync>;
}

/// An address that a name of a policy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// The policy.
    pub network: NetworkId,
    /// The address.
    pub address: Ipv4Addr,
    /// Those of the rule that allows the name.
    pub ports: Ports,
    /// For how long.
    pub lives: Duration,
}

/// Lets instances reach what the names of their policy stand for.
pub trait NameGate: Send + Sync {
    /// Whether instances with the policy may reach the address when this resolves. `core`: whose
    /// spawner is asked.
    fn admit(&self, core: CoreId, one: Admission) -> BoxFuture<'_, bool>;
}
