//! What a caller may do differently, one variant each.
//!
//! Texts here name facts in our words; a front end renders them in the words of its wire.

use crate::archive::ArchiveError;
use freehold_domain::{
    AliasName, FunctionName, TenantId, TenantLimit,
    ports::{CommitError, PackageError, ReadError},
    record::{RecordError, TargetV1},
};
use std::fmt;

/// A kind of thing that can exist or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A function.
    Function,
    /// A published revision.
    Revision,
    /// An alias.
    Alias,
    /// A function URL.
    Url,
    /// A resource policy.
    Policy,
    /// A statement of a policy.
    Statement,
    /// A log group.
    LogGroup,
    /// A tenant.
    Tenant,
    /// An access key.
    AccessKey,
    /// A package's archive.
    Package,
    /// A budget.
    Budget,
}

/// An input, in our words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it, and the type's doc what they are
pub enum Field {
    Name,
    Runtime,
    Handler,
    Role,
    Code,
    Description,
    Timeout,
    Memory,
    Tmp,
    Environment,
    LogGroup,
    LogFormat,
    LogLevel,
    LogRetention,
    Architecture,
    Tags,
    Qualifier,
    StatementId,
    PermissionPrincipal,
    PermissionAction,
    AliasTarget,
    AliasSplit,
    UrlAuthType,
    UrlInvokeMode,
    Cors,
    ReservedConcurrency,
    Marker,
    Day,
    PackageType,
    Vpc,
    Network,
    DeadLetter,
    EncryptionKey,
    Tracing,
    Layers,
    FileSystems,
    Image,
    CodeSigning,
    SnapStart,
    Durable,
    TenancyConfig,
    CapacityProvider,
    DryRun,
    TenantId,
    TenantName,
    TenantLimit(TenantLimit),
    KeyOverlap,
    Price,
    Currency,
    PriceFrom,
    Month,
    BillBy,
    Budget,
}

/// A ceiling that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// All packages of a tenant, bytes.
    CodeStorage,
    /// Concurrency that must stay unreserved.
    UnreservedConcurrency,
    /// Tags of one function.
    Tags,
    /// One resource policy, bytes.
    PolicyBytes,
    /// Functions of a tenant.
    Functions,
    /// Published versions of a tenant.
    Versions,
    /// Aliases of a function.
    Aliases,
    /// Tenants of a node.
    Tenants,
    /// Access keys of a tenant that sign.
    AccessKeys,
    /// Changes of one price book.
    PriceChanges,
    /// Values of one tag on a bill.
    BillTagValues,
    /// Budgets of a tenant.
    Budgets,
}

/// Why the control plane did not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none of this name.
    #[error("{what:?} {name:?} does not exist")]
    NotFound {
        /// What was looked for.
        what: Resource,
        /// Its name: `orders`, `orders:7`.
        name: String,
    },
    /// There is one of this name already.
    #[error("{what:?} {name:?} exists already")]
    AlreadyExists {
        /// What was to be made.
        what: Resource,
        /// Its name.
        name: String,
    },
    /// The function is still being made ready; ask again once it is.
    #[error("function {function} is still {}", if *pending { "being made" } else { "being updated" })]
    Busy {
        /// Which.
        function: FunctionName,
        /// Its first version is in the making; else a later one.
        pending: bool,
    },
    /// The guard that the caller gave is not of the present version: read again.
    #[error("the revision id given for the {what:?} is not the latest")]
    PreconditionFailed {
        /// Whose guard.
        what: Resource,
    },
    /// The digest that the caller gave is not that of the head's package.
    #[error("the code digest given is not that of the head, {found}")]
    CodeMismatch {
        /// As the caller wrote it.
        given: String,
        /// The head's, base64.
        found: String,
    },
    /// Others kept writing the same record.
    #[error("{name} was changed by others over and over")]
    Contended {
        /// Which record.
        name: String,
    },
    /// A value breaks a rule.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which input.
        field: Field,
        /// The rule, with what broke it.
        reason: String,
    },
    /// A number is outside of its range.
    #[error("{field}: {value} is outside of {min} to {max}")]
    OutOfRange {
        /// Which input.
        field: Field,
        /// What was given.
        value: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A reserved variable was given.
    #[error("environment: reserved names: {}", names.join(", "))]
    ReservedVariables {
        /// Which.
        names: Vec<String>,
    },
    /// Names and values of the environment are too much together.
    #[error("environment: {found_bytes} bytes are over {limit_bytes}")]
    EnvironmentTooLarge {
        /// The ceiling.
        limit_bytes: u64,
        /// As measured: the length of the variables as a JSON object.
        found_bytes: u64,
    },
    /// A field that has no effect yet was given another value than its default.
    #[error("{field}: {value} is not supported yet; leave it at its default")]
    NotSupported {
        /// Which input.
        field: Field,
        /// What was given.
        value: String,
    },
    /// The archive is too large as it came.
    #[error("the package of {found_bytes} bytes is over {limit_bytes}")]
    CodeTooLarge {
        /// The ceiling.
        limit_bytes: u64,
        /// What came.
        found_bytes: u64,
    },
    /// The archive breaks a rule.
    #[error("the archive was refused")]
    BadArchive {
        /// Entry and rule.
        #[from]
        source: ArchiveError,
    },
    /// A ceiling of the account or resource is met.
    #[error("{limit:?}: at most {max}")]
    LimitExceeded {
        /// Which.
        limit: Limit,
        /// The ceiling; for [`Limit::UnreservedConcurrency`] what must stay unreserved.
        max: u64,
    },
    /// Aliases point at what was to be deleted.
    #[error("aliases point at it: {aliases:?}")]
    Referenced {
        /// Which.
        aliases: Vec<AliasName>,
    },
    /// A revision that an alias shall point at could not be made ready.
    #[error("{target:?} cannot run: {reason}")]
    NotStarted {
        /// Which.
        target: TargetV1,
        /// What its own state says, or its init did.
        reason: String,
    },
    /// The runtime is not on this machine.
    #[error("runtime {name:?} cannot be served: {remedy}")]
    UnknownRuntime {
        /// As the tenant wrote it.
        name: String,
        /// What to install, and which names exist.
        remedy: String,
    },
    /// The runtime cannot run the package's code.
    #[error("the code cannot run: {reason}")]
    BadCode {
        /// What is wrong, for its author.
        reason: String,
    },
    /// Others' code takes all that judging code may take; nothing is wrong with this one.
    #[error("the code was not looked at: {reason}")]
    CodeWaits {
        /// What is taken, for the operator.
        reason: String,
    },
    /// The principal does not reach the tenant.
    #[error("things of tenant {tenant} are out of reach")]
    Denied {
        /// Whose they are.
        tenant: TenantId,
    },
    /// The principal is not the operator, who alone manages tenants, keys and prices.
    #[error("only the operator's root key may do that")]
    NotOperator,
    /// All instances of the node run under one user id, which keeps no tenants apart.
    #[error("no tenants beside the operator: all instances of this node have one user id")]
    SharedUid,
    /// What the node cannot be managed without: its operator, or the operator's last key.
    #[error("{what:?} {name:?} is what the node is managed with")]
    Needed {
        /// What was to be disabled.
        what: Resource,
        /// Its name.
        name: String,
    },
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// Not at this time; the same will be possible in a while.
    #[error("not at this time: {reason}")]
    Unavailable {
        /// Text for the operator.
        reason: String,
    },
    /// The platform failed; text for the operator in the sources.
    #[error("while {doing}")]
    Internal {
        /// What was being tried.
        doing: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ControlError {
    pub(crate) fn invalid(field: Field, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            reason: reason.into(),
        }
    }
    pub(crate) fn not_found(what: Resource, name: impl fmt::Display) -> Self {
        Self::NotFound {
            what,
            name: name.to_string(),
        }
    }
    pub(crate) fn internal(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Internal {
            doing,
            source: source.into(),
        }
    }
}

impl From<ReadError> for ControlError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Denied { tenant, .. } => Self::Denied { tenant },
            ReadError::Unavailable { reason } => Self::Unavailable { reason },
            failed => Self::internal("reading a record", failed),
        }
    }
}

impl From<CommitError> for ControlError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Denied { tenant, .. } => Self::Denied { tenant },
            CommitError::DiskFull => Self::DiskFull,
            CommitError::Unavailable { reason } => Self::Unavailable { reason },
            CommitError::Conflict { key, .. } => Self::Contended {
                name: key.to_string(),
            },
            failed => Self::internal("writing a record", failed),
        }
    }
}

impl From<RecordError> for ControlError {
    fn from(error: RecordError) -> Self {
        Self::internal("decoding a record", error)
    }
}

impl From<PackageError> for ControlError {
    fn from(error: PackageError) -> Self {
        match error {
            PackageError::Missing { digest } => Self::not_found(Resource::Package, digest),
            failed => Self::internal("opening a package", failed),
        }
    }
}
