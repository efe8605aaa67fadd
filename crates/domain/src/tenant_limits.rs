//! The limits that a tenant may have of its own: the one table that says which there are.
//!
//! The stored form, the operator's API, the flags of `freehold tenants limits`, the bounds and the
//! book's table are made from it. A new limit is a line here and the place that enforces it; what
//! nothing enforces has no line.

use crate::limits::{InvocationRate, Limits};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::SerializeMap,
};
use std::fmt;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things in a second.
    PerSecond,
    /// Things in ten seconds.
    PerTenSeconds,
    /// Bytes.
    Bytes,
    /// Bytes in a second.
    BytesPerSecond,
    /// MiB.
    Mebibytes,
    /// Seconds.
    Seconds,
}

/// How a tenant's own value and the node's go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// It stands in the node's place, above it or below it.
    Instead,
    /// So it does, and [`LIFTED`] is one of the values.
    InsteadOrNone,
    /// The lower of the two holds: the node sizes its own parts by its value.
    Below,
    /// The node has none.
    Nothing,
}

/// As a tenant's own value, where it may have none of a limit that the node has: no limit holds.
pub const LIFTED: u64 = 0;

/// One line of the table.
#[derive(Debug)]
pub struct LimitRow {
    /// Which.
    pub limit: TenantLimit,
    /// Its name in records and in JSON, with its unit: `code_storage_bytes`.
    pub name: &'static str,
    /// Its flag without the dashes: `code-storage`.
    pub flag: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Least value that can be given.
    pub least: u64,
    /// Highest value that can be given.
    pub most: u64,
    /// The node's key below `limits`, for those that it has.
    pub key: Option<&'static str>,
    /// What holds without an own value; none is as many as there is room for.
    pub preset: fn(&Limits) -> Option<u64>,
    /// How the two go together.
    pub beside: Beside,
    /// What it bounds, one line.
    pub about: &'static str,
}

macro_rules! tenant_limits {
    ($($(#[doc = $about:literal])* $limit:ident: $name:literal, $flag:literal, $unit:ident,
        $least:expr => $most:expr, $beside:ident $(($key:literal))?, $preset:expr;)*) => {
        /// A limit that a tenant may have of its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TenantLimit {
            $($(#[doc = $about])* $limit,)*
        }

        /// Every limit, in the order of the enum.
        pub static TENANT_LIMITS: &[LimitRow] = &[
            $(LimitRow {
                limit: TenantLimit::$limit,
                name: $name,
                flag: $flag,
                unit: Unit::$unit,
                least: $least,
                most: $most,
                key: { let key: &[&str] = &[$($key)?]; key.first().copied() },
                preset: $preset,
                beside: Beside::$beside,
                about: concat!($($about),*),
            },)*
        ];

        const COUNT: usize = [$(TenantLimit::$limit),*].len();
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PIB: u64 = 1 << 50;
const DAY_S: u64 = 86_400;
/// Most of what is counted one by one.
const MANY: u64 = 1_000_000;

fn none(_: &Limits) -> Option<u64> {
    None
}

tenant_limits! {
    /// Invocations in flight, in each region
    Concurrency: "concurrency", "concurrency", Count, 0 => MANY, Instead("account_concurrency"),
        |node| Some(node.account_concurrency.into());
    /// All packages in a region
    CodeStorage: "code_storage_bytes", "code-storage", Bytes, 0 => PIB, Instead("code_storage"),
        |node| Some(node.code_storage_bytes);
    /// Functions in a region
    Functions: "functions", "functions", Count, 0 => MANY, Nothing, none;
    /// Published versions in a region
    Versions: "versions", "versions", Count, 0 => MANY, Nothing, none;
    /// Names and values of a function's environment
    Environment: "environment_bytes", "environment", Bytes, 0 => MIB, Instead("environment"),
        |node| Some(node.environment_bytes);
    /// Largest Timeout of a function; longest run of one that has a larger one from before
    Timeout: "function_timeout_s", "function-timeout", Seconds, 1 => 7 * DAY_S, Below("function_timeout"),
        |node| Some(node.function_timeout_s.into());
    /// Largest MemorySize of a function
    Memory: "memory_mib", "memory", Mebibytes, 128 => 16 * MIB, Instead("memory_max"),
        |node| Some(node.memory_max_mib.into());
    /// Event and answer of a call that waits
    SyncPayload: "sync_payload_bytes", "sync-payload", Bytes, 100 => GIB, Below("sync_payload"),
        |node| Some(node.sync_payload_bytes);
    /// Event of an asynchronous call
    AsyncPayload: "async_payload_bytes", "async-payload", Bytes, 100 => 256 * MIB, Below("async_payload"),
        |node| Some(node.async_payload_bytes);
    /// Requests that its keys sign and that come to its function URLs, in a second
    Requests: "requests_per_s", "requests", PerSecond, 1 => MANY, Nothing, none;
    /// Synchronous invocations that begin in a second, by Invoke and by function URLs, in each region
    SyncInvocations: "sync_invocations_per_s", "sync-invocations", PerSecond, LIFTED => MANY,
        InsteadOrNone("sync_invocations"), |node| node.sync_invocations.per_s(node.account_concurrency);
    /// Instances that are started, in a second
    Starts: "starts_per_s", "starts", PerSecond, 1 => MANY, Nothing, none;
    /// Instances of one function that are started, in ten seconds
    FunctionStarts: "function_starts_per_10_s", "function-starts", PerTenSeconds, LIFTED => MANY,
        InsteadOrNone("function_starts"), |node| node.function_starts_per_10_s;
    /// Calls that manage, in a second, in each region: GetPolicy as many again, GetFunction apart
    Management: "management_per_s", "management", PerSecond, LIFTED => MANY,
        InsteadOrNone("management"), |node| node.management_per_s;
    /// Calls of GetFunction, in a second, in each region
    GetFunction: "get_function_per_s", "get-function", PerSecond, LIFTED => MANY,
        InsteadOrNone("get_function"), |node| node.get_function_per_s;
    /// Connections that carried a request of its keys or to its function URLs last
    Connections: "connections", "connections", Count, 1 => MANY, Nothing, none;
    /// Body bytes of requests that its keys sign, and half of it for its function URLs
    BytesInFlight: "bytes_in_flight", "bytes-in-flight", Bytes, KIB => PIB, Instead("bytes_in_flight"),
        |node| Some(node.bytes_in_flight / 2);
    /// Target and headers of one request
    Header: "header_bytes", "header", Bytes, 8 * KIB => MIB, Below("header"),
        |node| Some(node.header_bytes.into());
    /// Log bytes of all its instances together, in a second
    LogRate: "log_bytes_per_s", "log-rate", BytesPerSecond, KIB => 16 * GIB, Nothing, none;
    /// What its logs take on the disk, in all regions
    StoredLogs: "stored_log_bytes", "stored-logs", Bytes, MIB => PIB, Nothing, none;
    /// How long lines of its logs are kept, whatever their group says
    LogAge: "log_age_s", "log-age", Seconds, DAY_S => 36_500 * DAY_S, Nothing, none;
}

impl TenantLimit {
    /// Its line of the table.
    pub fn row(self) -> &'static LimitRow {
        &TENANT_LIMITS[self as usize]
    }

    /// What a caller is told about raising it: `the node's operator raises it with …`.
    pub fn raise(self) -> String {
        let flag = self.row().flag;
        format!("the node's operator raises it with freehold tenants limits --{flag}")
    }
}

impl LimitRow {
    /// The line with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TENANT_LIMITS.iter().find(|row| row.name == name)
    }

    /// Its name as our API writes it: `CodeStorageBytes`.
    pub fn wire(&self) -> String {
        let mut wire = String::with_capacity(self.name.len());
        for word in self.name.split('_') {
            let (first, rest) = word.split_at(1);
            wire.push_str(&first.to_uppercase());
            wire.push_str(rest);
        }
        wire
    }
}

/// A tenant's own limits; where there is none, the node's holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TenantLimits([Option<u64>; COUNT]);

impl Default for TenantLimits {
    fn default() -> Self {
        Self([None; COUNT])
    }
}

impl TenantLimits {
    /// Its own value.
    pub fn own(&self, limit: TenantLimit) -> Option<u64> {
        self.0[limit as usize]
    }

    /// Gives it a value of its own, or the node's back.
    pub fn set(&mut self, limit: TenantLimit, value: Option<u64>) {
        self.0[limit as usize] = value;
    }

    /// Whether it has none of its own.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// What holds.
    pub fn holds(&self, limit: TenantLimit, node: &Limits) -> Option<u64> {
        let row = limit.row();
        // What follows the concurrency follows the tenant's own.
        let account_concurrency = self.concurrency(node);
        let preset = (row.preset)(&Limits {
            account_concurrency,
            ..*node
        });
        match (self.own(limit), preset, row.beside) {
            (Some(LIFTED), _, Beside::InsteadOrNone) => None,
            (Some(own), Some(preset), Beside::Below) => Some(own.min(preset)),
            (own, preset, _) => own.or(preset),
        }
    }

    /// How many invocations may be in flight.
    fn concurrency(&self, node: &Limits) -> u32 {
        let own = self.own(TenantLimit::Concurrency);
        own.map_or(node.account_concurrency, |own| {
            u32::try_from(own).unwrap_or(u32::MAX)
        })
    }

    /// How many synchronous invocations may begin in a second, where that is the tenant's own.
    pub fn sync_invocations(&self) -> Option<InvocationRate> {
        let own = self.own(TenantLimit::SyncInvocations)?;
        Some(match own {
            LIFTED => InvocationRate::Unbounded,
            most => InvocationRate::PerSecond(most),
        })
    }

    /// The node's ceilings with the tenant's in their places.
    pub fn over(&self, node: &Limits) -> Limits {
        let holds = |limit, instead: u64| self.holds(limit, node).unwrap_or(instead);
        let small =
            |limit, instead: u32| u32::try_from(holds(limit, instead.into())).unwrap_or(u32::MAX);
        Limits {
            account_concurrency: self.concurrency(node),
            sync_invocations: self.sync_invocations().unwrap_or(node.sync_invocations),
            function_starts_per_10_s: self.holds(TenantLimit::FunctionStarts, node),
            management_per_s: self.holds(TenantLimit::Management, node),
            get_function_per_s: self.holds(TenantLimit::GetFunction, node),
            code_storage_bytes: holds(TenantLimit::CodeStorage, node.code_storage_bytes),
            environment_bytes: holds(TenantLimit::Environment, node.environment_bytes),
            function_timeout_s: small(TenantLimit::Timeout, node.function_timeout_s),
            memory_max_mib: small(TenantLimit::Memory, node.memory_max_mib),
            sync_payload_bytes: holds(TenantLimit::SyncPayload, node.sync_payload_bytes),
            async_payload_bytes: holds(TenantLimit::AsyncPayload, node.async_payload_bytes),
            header_bytes: small(TenantLimit::Header, node.header_bytes),
            ..*node
        }
    }
}

impl fmt::Debug for TenantLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = TENANT_LIMITS.iter().zip(self.0);
        f.debug_map()
            .entries(own.filter_map(|(row, own)| Some((row.name, own?))))
            .finish()
    }
}

impl Serialize for TenantLimits {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (row, own) in TENANT_LIMITS.iter().zip(self.0) {
            if let Some(own) = own {
                map.serialize_entry(row.name, &own)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for TenantLimits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = TenantLimits;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("limits by their names")
            }

            /// A limit of another release is not left out in silence: the record is refused.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TenantLimits, A::Error> {
                let mut limits = TenantLimits::default();
                while let Some((name, value)) = map.next_entry::<String, Option<u64>>()? {
                    let row = LimitRow::named(&name).ok_or_else(|| {
                        A::Error::custom(format!("this release has no limit {name:?}"))
                    })?;
                    limits.set(row.limit, value);
                }
                Ok(limits)
            }
        }
        from.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_limit_is_where_its_enum_says_and_has_names_of_its_own() {
        let mut names = HashSet::new();
        for (at, row) in TENANT_LIMITS.iter().enumerate() {
            assert_eq!(row.limit as usize, at);
            assert!(row.least < row.most, "{}", row.name);
            assert!(names.insert(row.name) && (row.name == row.flag || names.insert(row.flag)));
            let preset = (row.preset)(&Limits::default());
            assert_eq!(preset.is_some(), row.key.is_some(), "{}", row.name);
            assert_eq!(row.beside == Beside::Nothing, row.key.is_none());
            // What the node has without being asked can be given to a tenant too.
            assert!(preset.is_none_or(|n| (row.least..=row.most).contains(&n)));
        }
        assert_eq!(TenantLimit::CodeStorage.row().wire(), "CodeStorageBytes");
        assert_eq!(TenantLimit::Timeout.row().wire(), "FunctionTimeoutS");
    }

    #[test]
    fn every_own_value_is_found_again_in_its_place() {
        let mut own = TenantLimits::default();
        for (at, row) in TENANT_LIMITS.iter().enumerate() {
            own.set(row.limit, Some(row.least + at as u64));
        }
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(serde_json::from_str::<TenantLimits>(&text).unwrap(), own);
        let node = Limits::default();
        let over = own.over(&node);
        // Each that the node has is another than the node's: none was left out of `over`.
        for row in TENANT_LIMITS.iter().filter(|row| row.key.is_some()) {
            if row.limit != TenantLimit::BytesInFlight {
                assert_eq!((row.preset)(&over), own.own(row.limit), "{}", row.name);
            }
        }
        assert_eq!(TenantLimits::default().over(&node), node);
    }

    #[test]
    fn a_value_above_the_nodes_holds_where_it_stands_in_its_place() {
        let node = Limits::default();
        let mut own = TenantLimits::default();
        own.set(TenantLimit::Memory, Some(20_480));
        own.set(TenantLimit::SyncPayload, Some(GIB));
        let over = own.over(&node);
        assert_eq!(
            (over.memory_max_mib, over.sync_payload_bytes),
            (20_480, node.sync_payload_bytes)
        );
        assert_eq!(own.holds(TenantLimit::Starts, &node), None);
    }

    #[test]
    fn invocations_in_a_second_follow_the_concurrency_until_they_are_said() {
        let (mut node, mut own) = (Limits::default(), TenantLimits::default());
        let limit = TenantLimit::SyncInvocations;
        assert_eq!(own.holds(limit, &node), Some(10_000));
        node.account_concurrency = 50;
        assert_eq!(own.holds(limit, &node), Some(500));
        own.set(TenantLimit::Concurrency, Some(7));
        assert_eq!(own.holds(limit, &node), Some(70));
        own.set(limit, Some(3));
        assert_eq!(own.holds(limit, &node), Some(3));
        own.set(limit, Some(LIFTED));
        assert_eq!(own.holds(limit, &node), None);
        own.set(limit, None);
        node.sync_invocations = InvocationRate::PerSecond(9);
        assert_eq!(own.holds(limit, &node), Some(9));
        node.sync_invocations = InvocationRate::Unbounded;
        assert_eq!(own.holds(limit, &node), None);
        own.set(limit, Some(5));
        assert_eq!(own.holds(limit, &node), Some(5));
        // A limit that cannot be lifted takes its least value as what it says.
        own.set(TenantLimit::Concurrency, Some(0));
        assert_eq!(own.holds(TenantLimit::Concurrency, &node), Some(0));
    }

    #[test]
    fn a_rate_of_the_nodes_is_lifted_for_one_tenant_or_for_all() {
        type Field = fn(&mut Limits) -> &mut Option<u64>;
        let rates: [(TenantLimit, u64, Field); 3] = [
            (TenantLimit::FunctionStarts, 1000, |limits| {
                &mut limits.function_starts_per_10_s
            }),
            (TenantLimit::Management, 15, |limits| {
                &mut limits.management_per_s
            }),
            (TenantLimit::GetFunction, 100, |limits| {
                &mut limits.get_function_per_s
            }),
        ];
        for (limit, preset, field) in rates {
            let (mut node, mut own) = (Limits::default(), TenantLimits::default());
            let hold = |own: &TenantLimits, node: &Limits| {
                let over = *field(&mut own.over(node));
                assert_eq!(over, own.holds(limit, node));
                over
            };
            assert_eq!(hold(&own, &node), Some(preset));
            own.set(limit, Some(LIFTED));
            assert_eq!(hold(&own, &node), None);
            *field(&mut node) = None;
            own.set(limit, Some(20));
            assert_eq!(hold(&own, &node), Some(20));
            own.set(limit, None);
            assert_eq!(hold(&own, &node), None);
        }
    }

    #[test]
    fn the_form_of_the_first_three_reads_and_a_strange_limit_does_not() {
        let old = r#"{"concurrency":50,"code_storage_bytes":null,"functions":7}"#;
        let read: TenantLimits = serde_json::from_str(old).unwrap();
        assert_eq!(read.own(TenantLimit::Concurrency), Some(50));
        assert_eq!(read.own(TenantLimit::CodeStorage), None);
        assert_eq!(read.own(TenantLimit::Functions), Some(7));
        let strange = serde_json::from_str::<TenantLimits>(r#"{"wishes":3}"#);
        assert!(strange.unwrap_err().to_string().contains("wishes"));
    }
}
