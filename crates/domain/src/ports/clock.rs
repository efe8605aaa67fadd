//! Time and randomness come through here, which lets the simulator outrun the one and repeat the
//! other.

use crate::{
    BoxFuture,
    ids::{InstanceId, InvocationId},
    queue_time::BootTime,
    time::{Mono, Wall},
};
use std::time::Duration;
use uuid::Uuid;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Now, for deadlines.
    fn now(&self) -> Mono;
    /// Now, for people.
    fn wall(&self) -> Wall;
    /// Now, for spans that outlive the process: by a clock that nobody sets and that goes on while
    /// the machine sleeps, as [`Clock::now`] need not.
    fn boot_time(&self) -> BootTime {
        BootTime {
            boot: None,
            since: self.now().since(Mono(0)),
        }
    }
    /// Resolves once [`Clock::now`] has reached `at`; dropping it cancels the wait.
    fn sleep_until(&self, at: Mono) -> BoxFuture<'static, ()>;
    /// Resolves after `span`.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now() + span)
    }
}

/// A source of ids and randomness.
pub trait Ids: Send + Sync {
    /// A UUIDv7.
    fn uuid(&self) -> Uuid;
    /// 64 random bits; not for secrets.
    fn random(&self) -> u64;
    /// A new request id.
    fn invocation(&self) -> InvocationId {
        InvocationId(self.uuid())
    }
    /// A new instance id.
    fn instance(&self) -> InstanceId {
        InstanceId(self.uuid())
    }
}
