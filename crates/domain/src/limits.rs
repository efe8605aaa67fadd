//! The ceilings, named, with a unit. Defaults are AWS's; every one is the operator's to raise.
//!
//! `server` reads them from `[limits]` of the configuration and hands them down as a [`Live`] value:
//! whoever applies one asks for it then, since a reload may have changed it.
//!
//! [`Live`]: crate::live::Live

use serde::{Deserialize, Serialize};

/// Every ceiling that a tenant can meet. Source of the defaults: AWS Lambda developer guide,
/// "Lambda quotas", unless a field says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Event and answer of a synchronous call, bytes.
    pub sync_payload_bytes: u64,
    /// Event of an asynchronous call, bytes.
    pub async_payload_bytes: u64,
    /// Longest run of a function, seconds.
    pub function_timeout_s: u32,
    /// Least and most memory of a function, MiB.
    pub memory_min_mib: u32,
    /// See `memory_min_mib`.
    pub memory_max_mib: u32,
    /// Least size of `/tmp`, MiB.
    pub tmp_min_mib: u32,
    /// Largest size of `/tmp`, MiB.
    pub tmp_max_mib: u32,
    /// Names and values of a function's environment together, bytes.
    pub environment_bytes: u64,
    /// A package uploaded in the request, bytes.
    pub package_zip_bytes: u64,
    /// A package once unpacked, bytes.
    pub package_unpacked_bytes: u64,
    /// Entries of a package (ours: AWS states none).
    pub package_entries: u64,
    /// All packages of a tenant, bytes.
    pub code_storage_bytes: u64,
    /// Invocations of a tenant in flight.
    pub account_concurrency: u32,
    /// What must stay unreserved of `account_concurrency`.
    pub unreserved_concurrency_min: u32,
    /// Synchronous invocations of a tenant that begin in a second, in each region.
    pub sync_invocations: InvocationRate,
    /// Instances of one function that are started in ten seconds; none is as many as there is room
    /// for.
    pub function_starts_per_10_s: Option<u64>,
    /// Calls of a tenant that manage, in a second, in each region: those of GetPolicy apart and as many
    /// again, those of GetFunction and Invoke not among them; none is as many as are answered.
    pub management_per_s: Option<u64>,
    /// Calls of GetFunction of a tenant, likewise.
    pub get_function_per_s: Option<u64>,
    /// Init of a function, seconds.
    pub init_timeout_s: u32,
    /// Processes and threads of an instance.
    pub instance_pids: u32,
    /// Open descriptors of an instance.
    pub instance_descriptors: u32,
    /// Longest line of a log that is kept whole, bytes.
    pub log_line_bytes: u32,
    /// Log bytes of one instance per second; what is over is counted lost (ours).
    pub log_bytes_per_s: u64,
    /// Attempts at an asynchronous event, the first included.
    pub async_attempts: u32,
    /// Age at which an asynchronous event is given up, seconds.
    pub async_event_age_s: u32,
    /// Body bytes that all requests of a node may hold at once, and as much beside that for the large
    /// answers of its functions ([`crate::answers`]) (ours).
    pub bytes_in_flight: u64,
    /// Request head: all header bytes of one request (ours).
    pub header_bytes: u32,
}

/// How many synchronous invocations of a tenant may begin in a second.
///
/// Source: AWS Lambda developer guide, "Understanding Lambda function scaling": ten times the
/// account's concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvocationRate {
    /// Ten times what the tenant may have in flight, whatever that is.
    TenTimesConcurrency,
    /// So many.
    PerSecond(u64),
    /// As many as are answered.
    Unbounded,
}

impl InvocationRate {
    /// So many in a second, at this concurrency; none is as many as are answered.
    pub fn per_s(self, concurrency: u32) -> Option<u64> {
        match self {
            Self::TenTimesConcurrency => Some(u64::from(concurrency) * 10),
            Self::PerSecond(most) => Some(most),
            Self::Unbounded => None,
        }
    }
}

/// Longest wait of a call for an instance.
pub const START_WAIT_S: u32 = 60;
/// What an attempt may take beyond its waits and runs, until it is written down.
const SETTLE_S: u32 = 60;

impl Limits {
    /// Longest time from an event's acceptance to its entry in the ledger, seconds: the wait for an
    /// instance, init once and, as it failed, again, the run.
    pub fn attempt_s(&self) -> u32 {
        (START_WAIT_S + SETTLE_S)
            .saturating_add(self.init_timeout_s.saturating_mul(2))
            .saturating_add(self.function_timeout_s)
    }
}

/// Least memory of a function unless a node says otherwise, MiB.
pub const MEMORY_MIN_MIB: u32 = 128;
/// Least `/tmp` of a function unless a node says otherwise, MiB.
pub const TMP_MIN_MIB: u32 = 512;

impl Default for Limits {
    fn default() -> Self {
        Self {
            sync_payload_bytes: 6 << 20,
            async_payload_bytes: 1 << 20,
            function_timeout_s: 900,
            memory_min_mib: MEMORY_MIN_MIB,
            memory_max_mib: 10_240,
            tmp_min_mib: TMP_MIN_MIB,
            tmp_max_mib: 10_240,
            environment_bytes: 4 << 10,
            package_zip_bytes: 50 << 20,
            package_unpacked_bytes: 250 << 20,
            package_entries: 65_536,
            code_storage_bytes: 75 << 30,
            account_concurrency: 1000,
            unreserved_concurrency_min: 100,
            sync_invocations: InvocationRate::TenTimesConcurrency,
            function_starts_per_10_s: Some(1000),
            management_per_s: Some(15),
            get_function_per_s: Some(100),
            init_timeout_s: 10,
            instance_pids: 1024,
            instance_descriptors: 1024,
            log_line_bytes: 256 << 10,
            log_bytes_per_s: 32 << 20,
            async_attempts: 3,
            async_event_age_s: 6 * 3600,
            bytes_in_flight: 512 << 20,
            header_bytes: 64 << 10,
        }
    }
}
