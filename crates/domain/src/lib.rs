//! The words, the limits, the versioned records and the seams of Freehold.
//!
//! What every other crate agrees on and nothing else: no IO, no tasks, no clock, no HTTP. A type
//! starts beside its first user and moves here when a second crate needs it; the seams are the
//! traits in [`ports`], one file each.

pub mod answers;
pub mod audit;
pub mod body;
pub mod bucket;
pub mod budgets;
pub mod ids;
pub mod invocation;
pub mod json;
pub mod ledger;
pub mod limits;
pub mod live;
pub mod logs;
pub mod month;
pub mod network;
pub mod onward;
pub mod outcome;
pub mod ports;
pub mod prices;
pub mod principal;
pub mod queue_time;
pub mod record;
pub mod runtime;
pub mod tenant_limits;
pub mod tenants;
pub mod time;
pub mod trace;
pub mod traffic;

pub use body::{Body, BodyError, Frame};
pub use ids::*;
pub use invocation::{Invocation, Mode, Source};
pub use month::Month;
pub use onward::Onward;
pub use outcome::{
    FunctionErrorKind, InvokeError, Outcome, OutcomeHead, OutcomeKind, ThrottleReason, Trailer,
    Usage,
};
pub use principal::Principal;
pub use queue_time::{BootTime, KeptTime, QueueTime, Resumed};
pub use tenant_limits::{TenantLimit, TenantLimits};
pub use time::{Mono, Wall};
pub use trace::TraceHeader;
pub use traffic::NetworkBytes;

use std::{future::Future, pin::Pin};

/// A boxed, sendable future: what the dyn-safe seams return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
