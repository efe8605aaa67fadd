//! The front ends: every API that Freehold speaks, on one address.
//!
//! Bytes and status codes in and out, plain values inwards: requests are authenticated, decoded by
//! `wire`, carried out by `control` or handed to the engine through the Invoke port, and encoded
//! again. With the HTTP contracts, this is the only place that knows status codes. It keeps no
//! state but caches that the store's watch empties.
//!
//! ```text
//!  listener ─▶ front ─▶ route ─▶ gate ─▶ body ─┬▶ urls ──▶ invoke ─▶ (engine)
//!               (head)                        ├▶ lambda ─▶ invoke, control, flow
//!                                             ├▶ logs, sts
//!                                             └▶ own (operations of Freehold itself)
//! ```

pub mod arn;
mod audit;
mod auth;
pub mod body;
mod credentials;
mod door;
pub mod front;
mod gate;
mod hosts;
mod in_flight;
mod invoke;
mod lambda;
mod listener;
mod logs;
pub mod metrics;
mod own;
pub mod platform;
mod proxies;
mod refusals;
mod request;
pub mod route;
mod sts;
mod unread;
mod urls;

pub use door::Door;
pub use front::{Audience, Front};
pub use hosts::Hosts;
pub use own::{
    AmountsRow, AuditRow, BillLineRow, BillRow, BudgetRow, ChangeRow, ConfigurationRow,
    ConfigurationView, InstanceRow, KeyRow, LimitsRow, NewKey, PriceChangeRow, PricesRow,
    ReloadRefused, ReloadRow, SettingRow, StretchRow, SumRow, TenantRow,
};
pub use platform::InstanceEndpoint;
pub use proxies::{Network, Proxies};
pub use refusals::Refusal;
pub use unread::Unsent;

use freehold_control::Control;
use freehold_domain::{
    TenantId,
    budgets::Reached,
    limits::Limits,
    live::Live,
    ports::{Backups, Clock, CommitError, Ids, Sink, Storage},
    tenants::TenantTable,
};
use freehold_identity::Verifier;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::Duration,
};
use tokio_util::task::TaskTracker;

/// What the front ends are made of.
pub struct ApiParts {
    /// The control plane.
    pub control: Arc<Control>,
    /// The durable queue's way in.
    pub events: Arc<dyn Sink>,
    /// The store.
    pub storage: Arc<dyn Storage>,
    /// Checks signatures.
    pub verifier: Verifier,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub ids: Arc<dyn Ids>,
    /// The ceilings.
    pub limits: Live<Limits>,
    /// What tenants have of their own in place of those; the engine keeps it true.
    pub tenants: Arc<TenantTable>,
    /// The domain of function URLs.
    pub url_domain: String,
    /// What the engine is doing, for `freehold ps` and the account's settings.
    pub engine: Arc<dyn own::EngineView>,
    /// The tenant whose keys read everybody's audit trail and make backups.
    pub operator: TenantId,
    /// What the server runs with, and its reload.
    pub configuration: Arc<dyn own::ConfigurationView>,
    /// Makes backups of the store.
    pub backups: Arc<dyn Backups>,
    /// Whether the disk takes new things.
    pub disk: Arc<dyn DiskView>,
    /// What the kernel still has to send on a socket.
    pub unsent: Unsent,
}

/// What the front ends ask of the disk.
pub trait DiskView: Send + Sync {
    /// Whether new things are refused, since too little of the disk is free; the question counts
    /// as one that was.
    fn refuses(&self) -> bool;
}

/// The front ends, shared by all cores.
pub struct Api {
    pub(crate) control: Arc<Control>,
    pub(crate) events: Arc<dyn Sink>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) verifier: Verifier,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) limits: Live<Limits>,
    pub(crate) tenants: Arc<TenantTable>,
    pub(crate) url_domain: String,
    /// The port that URLs are written with; set once the listener is bound.
    port: AtomicU16,
    /// Whether they are written with `https`.
    is_secure: AtomicBool,
    pub(crate) engine: Arc<dyn own::EngineView>,
    pub(crate) in_flight: in_flight::BytesInFlight,
    /// The public listeners' places.
    pub(crate) places: listener::Places,
    pub(crate) running: TaskTracker,
    closing: tokio_util::sync::CancellationToken,
    pub(crate) code_links: lambda::CodeLinks,
    pub(crate) call_rates: lambda::CallRates,
    pub(crate) refusals: refusals::Refusals,
    pub(crate) trail: audit::Trail,
    pub(crate) operator: TenantId,
    pub(crate) configuration: Arc<dyn own::ConfigurationView>,
    pub(crate) backups: Arc<dyn Backups>,
    pub(crate) disk: Arc<dyn DiskView>,
    pub(crate) unsent: Unsent,
    pub(crate) tokens: own::Tokens,
    pub(crate) url_cache: Arc<urls::UrlCache>,
    _url_watch: Box<dyn Send + Sync>,
}

pub use own::EngineView;

impl Api {
    /// The front ends over their parts.
    pub fn new(parts: ApiParts) -> Arc<Self> {
        let records: Arc<dyn freehold_domain::ports::Records> = parts.storage.clone();
        let (url_cache, watch) = urls::UrlCache::new(records);
        let trail = audit::Trail::new(parts.storage.clone(), parts.clock.clone());
        Arc::new(Self {
            trail,
            operator: parts.operator,
            configuration: parts.configuration,
            backups: parts.backups,
            disk: parts.disk,
            unsent: parts.unsent,
            tokens: own::Tokens::new(),
            in_flight: in_flight::BytesInFlight::new(parts.limits.clone(), parts.tenants.clone()),
            control: parts.control,
            events: parts.events,
            storage: parts.storage,
            verifier: parts.verifier,
            clock: parts.clock,
            ids: parts.ids,
            limits: parts.limits,
            tenants: parts.tenants,
            url_domain: parts.url_domain,
            port: Default::default(),
            is_secure: Default::default(),
            engine: parts.engine,
            places: listener::Places::new(),
            running: TaskTracker::new(),
            closing: Default::default(),
            code_links: lambda::CodeLinks::new(),
            call_rates: lambda::CallRates::default(),
            refusals: refusals::Refusals::default(),
            url_cache,
            _url_watch: watch,
        })
    }

    /// The ceilings that hold for a tenant now.
    pub(crate) fn limits_of(&self, tenant: &TenantId) -> Limits {
        self.tenants.limits(tenant, self.limits.now())
    }

    /// How many requests were refused for each limit, since the server's start.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        self.refusals.read().into_iter()
    }

    /// Tells the port and whether it is TLS's, for function URLs.
    pub fn set_port(&self, port: u16, is_secure: bool) {
        self.port.store(port, Ordering::Relaxed);
        self.is_secure.store(is_secure, Ordering::Relaxed);
    }

    /// Scheme and port of function URLs.
    pub(crate) fn url_end(&self) -> (&'static str, u16) {
        let is_secure = self.is_secure.load(Ordering::Relaxed);
        (
            request::scheme(is_secure),
            self.port.load(Ordering::Relaxed),
        )
    }

    /// Waits until every call that runs and every connection has ended. Front ends must have been
    /// told to stop before.
    pub async fn drained(&self) {
        self.running.close();
        self.running.wait().await;
        self.trail.tell_counts(true);
    }

    /// Keeps the audit trail within its time and its room, and writes the counts of calls that
    /// became no line. To be called now and then.
    ///
    /// Errors: the store's.
    pub async fn audit_keep(&self, kept: Duration, bytes: u64) -> Result<(), CommitError> {
        self.trail.tell_counts(false);
        self.trail.keep(kept, bytes, &self.operator).await
    }

    /// Resolves when the audit trail has grown so far that [`Api::audit_keep`] is due again.
    pub async fn audit_grown(&self) {
        self.trail.grown().await;
    }

    /// Writes down on the audit trail that a part of a budget was reached: its tenant's line.
    pub fn budget_reached(&self, reached: &Reached) {
        self.trail.budget_reached(reached);
    }

    /// Reloads the configuration for whoever may send the server a signal, with a line of the audit
    /// trail as for a call.
    ///
    /// Errors: [`ReloadRefused`]; everything stays as it was.
    pub async fn reload_by_signal(&self) -> Result<ReloadRow, ReloadRefused> {
        let reloaded = self.configuration.clone().reload().await;
        let error = reloaded.is_err().then_some(own::INVALID);
        self.trail.signalled("SIGHUP", own::RELOAD, error);
        reloaded
    }

    /// Tells the threads of the cores that their runtimes may end: nothing of theirs is needed any
    /// more.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Resolves after [`Api::close`].
    pub async fn closed(&self) {
        self.closing.cancelled().await;
    }
}
