//! Functions, their revisions and their URLs.

use super::{Kind, Record, Sealed};
use crate::{
    ids::{AliasName, Digest, FunctionName, Mebibytes, Qualifier, RuntimeName},
    time::Wall,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A function: its mutable head and what the engine made of it.
///
/// Desired part: everything but `served`, `state` and `last_update`, which the engine's reconciler
/// reports through the same compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionV1 {
    /// Its name.
    pub name: FunctionName,
    /// When it was made.
    pub created: Wall,
    /// What `$LATEST` should run.
    pub head: RevisionSpecV1,
    /// What `$LATEST` runs: an earlier head until the new one is ready.
    pub served: Option<RevisionSpecV1>,
    /// Whether it can be invoked.
    pub state: FunctionStateV1,
    /// How the last change of the head went.
    pub last_update: UpdateStateV1,
    /// The number that the next published revision gets; counted from 1, never reused.
    pub next_revision: u64,
    /// `None`: shares what is unreserved. 0 throttles everything.
    pub reserved_concurrency: Option<u32>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}
impl Record for FunctionV1 {
    const KIND: Kind = Kind::Function;
    const VERSION: u16 = 1;
}

/// What outlives a function that had published: no number is given twice under one name, or an
/// ARN with a number in it would one day reach other code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberingV1 {
    /// As [`FunctionV1::next_revision`] when it was deleted.
    pub next_revision: u64,
}
impl Record for NumberingV1 {
    const KIND: Kind = Kind::Numbering;
    const VERSION: u16 = 1;
}

/// An immutable published revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionV1 {
    /// Its number.
    pub number: u64,
    /// What it runs; `description` may differ from the head's.
    pub spec: RevisionSpecV1,
    /// Whether it can be invoked.
    pub state: FunctionStateV1,
    /// What became of its start image, where one was asked for. Reported part, as `state`.
    #[serde(default)]
    pub image: ImageStateV1,
}
impl Record for RevisionV1 {
    const KIND: Kind = Kind::Revision;
    const VERSION: u16 = 1;
}

/// A named pointer to what a function runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AliasV1 {
    /// Its name.
    pub name: AliasName,
    /// What it points at.
    pub target: TargetV1,
    /// A revision that takes a part of its traffic; only where it points at a revision itself.
    pub split: Option<SplitV1>,
    /// Free text.
    pub description: String,
    /// Changes with every change of the record.
    pub revision_id: String,
}
impl Record for AliasV1 {
    const KIND: Kind = Kind::Alias;
    const VERSION: u16 = 1;
}

/// What can be run: never an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TargetV1 {
    /// The mutable head.
    Head,
    /// A published revision.
    Revision(u64),
}

impl From<TargetV1> for Qualifier {
    fn from(target: TargetV1) -> Self {
        match target {
            TargetV1::Head => Self::Latest,
            TargetV1::Revision(number) => Self::Revision(number),
        }
    }
}

/// A second revision of an alias.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SplitV1 {
    /// Its number.
    pub revision: u64,
    /// Its part of the traffic, 0.0 to 1.0, as it was given.
    pub weight: f64,
}

/// Everything that decides what an instance of a revision is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionSpecV1 {
    /// Grows by one with every change of code or configuration of the head.
    pub generation: u64,
    /// The runtime as the tenant wrote it.
    pub runtime: RuntimeName,
    /// The runtime that stands in for it, where substitution was allowed and needed.
    pub substitute: Option<RuntimeName>,
    /// `module.function`; none for a package that is its own runtime and was given none.
    pub handler: Option<String>,
    /// The package.
    pub package: PackageV1,
    /// The role's ARN, checked for shape, the principal of the instances.
    pub role: String,
    /// Free text.
    pub description: String,
    /// Memory.
    pub memory: Mebibytes,
    /// Longest run, seconds.
    pub timeout_s: u32,
    /// Size of `/tmp`.
    pub tmp: Mebibytes,
    /// The tenant's variables as a JSON object, sealed with `tenant/region/function` as
    /// associated data; `None` when there are none.
    pub environment: Option<Sealed>,
    /// Where and how logs are written.
    pub logging: LoggingV1,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Whether publishing makes a start image of the initialised revision.
    #[serde(default)]
    pub snap_start: bool,
    /// Whom its instances may reach; `None` for what the node gives those that say nothing.
    #[serde(default)]
    pub network: Option<NetworkV1>,
    /// Whether one was taken away from it: its description then shows an empty one, as on AWS.
    #[serde(default)]
    pub left_network: bool,
    /// Changes with every change of the record that the wire shows.
    pub revision_id: String,
    /// When code or configuration last changed.
    pub modified: Wall,
}

/// The policy that a revision was given, and the words in which that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkV1 {
    /// The policy's name; it was known when this was written.
    pub policy: String,
    /// Ids of subnets that name it, as they were given.
    pub subnets: Vec<String>,
    /// Ids of security groups that name it, as they were given.
    pub security_groups: Vec<String>,
}

/// What became of a revision's start image.
///
/// The image itself is held in memory alone: [`ImageStateV1::Made`] says that the process can be
/// carried, not that one is at hand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ImageStateV1 {
    /// None was asked for, or none was tried yet.
    #[default]
    None,
    /// One was made; when it is lost it is made again.
    Made,
    /// None can be made: every start takes the plain way.
    Refused {
        /// Why, in words for the tenant.
        reason: String,
    },
}

/// A package in the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageV1 {
    /// SHA-256 of the archive, its name in the blob store and of its unpacked tree.
    pub digest: Digest,
    /// Bytes of the archive.
    pub zip_bytes: u64,
    /// Bytes of its files.
    pub unpacked_bytes: u64,
    /// Whether it has a module of a name that a runtime's libraries have
    /// ([`LIBRARY_MODULES`](crate::ports::LIBRARY_MODULES)), as its admission found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_libraries: bool,
}

/// How a function logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggingV1 {
    /// The group; `None` for `/aws/lambda/NAME`.
    pub group: Option<String>,
    /// JSON lines instead of text.
    pub json: bool,
    /// Least level of the function's own lines, with JSON: TRACE … FATAL.
    pub application_level: Option<String>,
    /// Least level of the platform's lines, with JSON: DEBUG, INFO, WARN.
    pub system_level: Option<String>,
}

/// Whether a function or revision can be invoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionStateV1 {
    /// Being made ready.
    Pending,
    /// Can be invoked.
    Active,
    /// Cannot be made ready.
    Failed {
        /// A reason code that the wire knows, `InvalidZipFileException`.
        code: String,
        /// Text.
        reason: String,
    },
}

/// How the last change of the head went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateStateV1 {
    /// The head is served.
    Successful,
    /// The head is being made ready; the earlier one is served.
    InProgress,
    /// The head could not be made ready; the earlier one is served.
    Failed {
        /// A reason code that the wire knows.
        code: String,
        /// Text.
        reason: String,
    },
}

/// A function URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlV1 {
    /// 128 random bits, 32 lower-case letters and digits; the host name's first label.
    pub id: String,
    /// Whether callers must sign (`AWS_IAM`) or not (`NONE`).
    pub signed: bool,
    /// CORS, where it was asked for.
    pub cors: Option<CorsV1>,
    /// `BUFFERED` unless streaming was asked for.
    pub invoke_mode: String,
    /// When it was made.
    pub created: Wall,
    /// When it last changed.
    pub modified: Wall,
}
impl Record for UrlV1 {
    const KIND: Kind = Kind::Url;
    const VERSION: u16 = 1;
}

/// Cross-origin settings of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CorsV1 {
    /// Access-Control-Allow-Credentials.
    pub allow_credentials: Option<bool>,
    /// Request headers that may be sent.
    pub allow_headers: Option<Vec<String>>,
    /// Methods.
    pub allow_methods: Option<Vec<String>>,
    /// Origins.
    pub allow_origins: Option<Vec<String>>,
    /// Response headers that scripts may read.
    pub expose_headers: Option<Vec<String>>,
    /// How long a preflight answer may be kept, seconds.
    pub max_age_s: Option<u32>,
}
