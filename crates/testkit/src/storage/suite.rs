//! The rules of the storage seam, said once. Each suite takes a maker of empty stores and panics
//! with the rule that was broken.

mod audit;
mod blobs;
mod events;
mod ledger;
mod logs;
mod model;
mod records;

pub use audit::audit_suite;
pub use blobs::blobs_suite;
pub use events::events_suite;
pub use ledger::ledger_suite;
pub use logs::logs_suite;
pub use model::{events_against_a_model, records_against_a_model};
pub use records::records_suite;

use freehold_domain::{
    BoxFuture, FunctionRef, InvocationId, Mono, Principal, Qualifier, QueueTime, TenantId,
    TraceHeader, Wall, ports::Clock, record::EventV1,
};
use std::{
    sync::atomic::{AtomicI64, Ordering::SeqCst},
    time::Duration,
};
use uuid::Uuid;

/// A clock that stands still until it is set: what storage needs of time is its stamp alone.
#[derive(Default)]
pub struct StillClock(AtomicI64);

impl StillClock {
    /// A clock that shows `wall`.
    pub fn at(wall: Wall) -> Self {
        Self(AtomicI64::new(wall.0))
    }
    /// Shows `wall` from here on.
    pub fn set(&self, wall: Wall) {
        self.0.store(wall.0, SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Mono {
        Mono(self.0.load(SeqCst) as u64 * 1000)
    }
    fn wall(&self) -> Wall {
        Wall(self.0.load(SeqCst))
    }
    fn sleep_until(&self, _at: Mono) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn platform() -> Principal {
    Principal::platform("suite")
}

fn tenant(number: u64) -> TenantId {
    format!("{number:012}").parse().expect("12 digits")
}

fn root(tenant: &TenantId) -> Principal {
    Principal::Root {
        tenant: tenant.clone(),
        key: "AKIASUITE".to_owned(),
    }
}

fn function(tenant: &TenantId, name: &str) -> FunctionRef {
    FunctionRef {
        tenant: tenant.clone(),
        region: "us-east-1".parse().expect("a region"),
        name: name.parse().expect("a name"),
    }
}

/// An event for `tenant`, accepted at `accepted`; its id is made of `number`.
fn event(tenant: &TenantId, number: u64, accepted: QueueTime) -> EventV1 {
    let id = InvocationId(Uuid::from_u128(
        0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number),
    ));
    EventV1 {
        id,
        function: function(tenant, "worker"),
        qualifier: Qualifier::Latest,
        is_qualified: false,
        principal: root(tenant),
        accepted: Wall(accepted.0),
        expires: accepted + Duration::from_secs(6 * 3600),
        attempts: 0,
        attempts_max: 3,
        trace: TraceHeader::new_root(id.0),
        hops: 1,
        client_context: Some(b"{}".to_vec()),
    }
}
