//! The platform's endpoint inside an instance: the same front ends on a listener of the instance's
//! own, for calls that this instance signed, and its session for whoever shows its token.

use crate::front::{Audience, Front, Guest};
use freehold_domain::{
    FunctionRef, InstanceId,
    ports::{CallChain, InstanceCredentials, Invoke, PlatformEndpoint},
};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, atomic::AtomicBool},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Connections of one instance at once.
const CONNECTIONS_MAX: usize = 64;

/// Gives the engine's invoker of the core that asks.
pub type InvokerOfCore = Box<dyn Fn() -> Arc<dyn Invoke> + Send + Sync>;

/// Serves instances; the way to the engine is set once the engine stands.
pub struct InstanceEndpoint {
    api: Arc<crate::Api>,
    credentials: Arc<dyn InstanceCredentials>,
    invoker: std::sync::OnceLock<InvokerOfCore>,
}

impl InstanceEndpoint {
    /// Without an invoker yet: the engine is made with its endpoint in hand.
    pub fn new(api: Arc<crate::Api>, credentials: Arc<dyn InstanceCredentials>) -> Arc<Self> {
        Arc::new(Self {
            api,
            credentials,
            invoker: std::sync::OnceLock::new(),
        })
    }

    /// Sets the engine that guests' calls go to. Only the first call counts.
    pub fn set_invoker(&self, invoker: InvokerOfCore) {
        let _ = self.invoker.set(invoker);
    }
}

struct Guard(CancellationToken);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl PlatformEndpoint for InstanceEndpoint {
    fn serve(
        &self,
        listener: OwnedFd,
        function: &FunctionRef,
        instance: InstanceId,
        chain: Arc<dyn CallChain>,
    ) -> Box<dyn Send + Sync> {
        let stop = CancellationToken::new();
        let Some(invoker) = self.invoker.get().map(|of_core| of_core()) else {
            tracing::error!("an instance started before the engine stood");
            return Box::new(Guard(stop));
        };
        let front = Front {
            api: self.api.clone(),
            invoker,
            audience: Audience::Instance(Arc::new(Guest {
                id: instance,
                tenant: function.tenant.clone(),
                share: self.api.in_flight.instance(),
                chain,
                credentials: self.credentials.clone(),
                was_told: AtomicBool::new(false),
            })),
        };
        tokio::spawn(accept(front, listener, stop.clone()));
        Box::new(Guard(stop))
    }
}

async fn accept(front: Front, listener: OwnedFd, stop: CancellationToken) {
    let listener = std::net::TcpListener::from(listener);
    let ready = listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener));
    let listener = match ready {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "an instance's endpoint cannot be served"),
    };
    let port = listener.local_addr().map_or(0, |address| address.port());
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let (front, stop) = (front.clone(), stop.clone());
        tokio::spawn(async move {
            front.guest(stream, port, stop).await;
            drop(place);
        });
    }
}
