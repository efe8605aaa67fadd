//! The control plane: functions, revisions, URLs, permissions, tags, packages, accounts, tenants and
//! their keys, prices, bills and budgets.
//!
//! What it does: checks what a caller asks for, writes the desired part of records by
//! compare-and-set, keeps archives and their unpacked trees, rolls up the ledger. What it refuses
//! to do: run a function, write the reported part of a record (the engine's reconciler does),
//! know HTTP, status codes or the spellings of a wire. Inputs and outputs are plain types in our
//! words; a front end converts.
//!
//! Every method takes the principal first and answers a [`ControlError`] with one variant per
//! thing that a caller may do differently.

pub mod account;
pub mod aliases;
pub mod archive;
pub mod bills;
pub mod bootstrap;
pub mod budgets;
pub mod concurrency;
mod error;
pub mod functions;
mod holdings;
pub mod keys;
pub mod log_groups;
mod longest;
pub mod packages;
pub mod permissions;
pub mod prices;
pub mod revisions;
mod rules;
mod store;
pub mod tags;
pub mod tenants;
mod turns;
pub mod urls;
pub mod usage;

pub use error::{ControlError, Field, Limit, Resource};
pub use functions::{CodeChange, ConfigurationChange, Described, Environment, NewFunction};
pub use rules::{LoggingChange, Settings, Vpc, WithoutEffect};

use freehold_domain::{
    BoxFuture, Principal, Region, RuntimeName, TenantId,
    budgets::Budgets,
    limits::Limits,
    live::Live,
    network::Networks,
    ports::{Clock, CodeError, Ids, Sealer, Starts, Storage},
    record::RevisionSpecV1,
};
use packages::PackageStore;
use std::sync::Arc;

/// A tenant's things in one region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Whose.
    pub tenant: TenantId,
    /// Where.
    pub region: Region,
}

/// One page of a listing and the marker that asks for the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Hand it back to read on; `None` at the end.
    pub next: Option<String>,
}

/// A runtime name that can be served here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRuntime {
    /// The name as the tenant wrote it.
    pub name: RuntimeName,
    /// The runtime that stands in for it, where configuration allows one and one is needed.
    pub substitute: Option<RuntimeName>,
}

/// Knows which runtimes this machine has.
pub trait RuntimeCheck: Send + Sync {
    /// Resolves a name as a tenant wrote it. Never waits.
    ///
    /// Errors: a text for the tenant that says what to install and which names exist.
    fn resolve(&self, name: &str) -> Result<ResolvedRuntime, String>;

    /// Judges an admitted package for a runtime that compiles it, and compiles it. Most runtimes
    /// find out when they run it.
    ///
    /// Errors: [`CodeError::Refused`] with a text for the tenant.
    fn judge(
        &self,
        _tenant: &TenantId,
        _spec: &RevisionSpecV1,
    ) -> BoxFuture<'_, Result<(), CodeError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a [`Control`] is made of.
pub struct ControlParts {
    /// Where records live.
    pub storage: Arc<dyn Storage>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn Ids>,
    /// Seals environments and keys.
    pub sealer: Arc<dyn Sealer>,
    /// Ceilings.
    pub limits: Live<Limits>,
    /// What budgets have used; the engine counts.
    pub budgets: Arc<Budgets>,
    /// Runtimes.
    pub runtimes: Arc<dyn RuntimeCheck>,
    /// Shows that what an alias moves to comes to run.
    pub starts: Arc<dyn Starts>,
    /// Archives and trees.
    pub packages: Arc<PackageStore>,
    /// What this machine executes, in the words of records: `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// Whom functions may reach.
    pub networks: Arc<Networks>,
    /// Whether no tenants are made beside the operator: instances here are not kept apart enough.
    pub refuses_tenants: bool,
}

/// The control plane of one node. Cheap to share; every method may run beside every other.
pub struct Control {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) sealer: Arc<dyn Sealer>,
    pub(crate) limits: Live<Limits>,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) runtimes: Arc<dyn RuntimeCheck>,
    pub(crate) starts: Arc<dyn Starts>,
    pub(crate) packages: Arc<PackageStore>,
    pub(crate) architecture: &'static str,
    pub(crate) networks: Arc<Networks>,
    pub(crate) refuses_tenants: bool,
    pub(crate) groups_coming: Arc<log_groups::GroupsComing>,
    pub(crate) holdings: Arc<holdings::Holdings>,
    /// Held while entries of the ledger are rolled up, and while prices are set.
    pub(crate) metering: tokio::sync::Mutex<usage::Metered>,
    pub(crate) longest: Arc<longest::Longest>,
    pub(crate) turns: turns::Turns,
    /// Ends the watch with the control plane.
    _holdings_watch: Box<dyn Send + Sync>,
}

impl Control {
    /// Wires the parts together; does nothing yet.
    pub fn new(parts: ControlParts) -> Arc<Self> {
        let ControlParts {
            storage,
            clock,
            ids,
            sealer,
            limits,
            budgets,
            runtimes,
            starts,
            packages,
            architecture,
            networks,
            refuses_tenants,
        } = parts;
        let holdings = Arc::<holdings::Holdings>::default();
        let longest = packages.longest();
        Arc::new(Self {
            _holdings_watch: storage.watch(holdings.clone()),
            holdings,
            storage,
            clock,
            ids,
            sealer,
            limits,
            budgets,
            runtimes,
            starts,
            packages,
            architecture,
            networks,
            refuses_tenants,
            groups_coming: Arc::default(),
            metering: tokio::sync::Mutex::default(),
            longest,
            turns: turns::Turns::new(),
        })
    }

    /// The ceilings that apply now.
    pub fn limits(&self) -> Limits {
        self.limits.now()
    }

    /// Archives and trees, for whoever makes instances.
    pub fn packages(&self) -> &Arc<PackageStore> {
        &self.packages
    }

    pub(crate) fn reaches(who: &Principal, tenant: &TenantId) -> Result<(), ControlError> {
        if who.reaches(tenant) {
            return Ok(());
        }
        Err(ControlError::Denied {
            tenant: tenant.clone(),
        })
    }
}
