//! What functions used: the roll-ups of the ledger, and the tags that its entries name.

use super::{Kind, PricesV1, Record, RecordError, older};
use crate::{
    ids::Digest,
    outcome::Usage,
    prices::{Amount, AmountTooHigh, Meter},
    time::Wall,
    traffic::NetworkBytes,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Tag sets of one function that are told apart on one day; what a further one used is counted
/// under [`PartTagsV1::Unknown`].
pub const TAG_SETS_PER_DAY_MAX: usize = 100;

/// What one function used on one UTC day. Sums equal the ledger exactly, and so do those of its
/// parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageRollupV2 {
    /// Attempts that reached an instance.
    pub invocations: u64,
    /// Those that ended in an error of the function.
    pub errors: u64,
    /// Sums of the ledger's fields; `memory_peak_bytes` is the highest seen.
    pub sums: Usage,
    /// Sum of billed ms × memory in MiB.
    pub billed_mib_ms: u64,
    /// What instances sent to networks and received from them.
    #[serde(default, skip_serializing_if = "NetworkBytes::is_nothing")]
    pub network: NetworkBytes,
    /// The same by tags, and by the moments of the day at which prices changed.
    pub parts: Vec<UsagePartV1>,
    /// The latest hour of the day in which something was used, for budgets of an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<UsageHourV1>,
}

/// What a function used in one UTC hour.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageHourV1 {
    /// Its begin.
    pub from: Wall,
    /// By the moments of the day at which prices changed; tags are not told apart.
    pub parts: Vec<UsagePartV1>,
}

/// What has a price of a function's use on a day, as long as one price held and with the same tags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsagePartV1 {
    /// The moment of the day from which prices were others than before; none for its begin.
    pub since: Option<Wall>,
    /// What the function was tagged with when it was called.
    pub tags: PartTagsV1,
    /// See [`UsageRollupV2::invocations`].
    pub invocations: u64,
    /// Billed time, ms.
    pub billed_ms: u64,
    /// See [`UsageRollupV2::billed_mib_ms`].
    pub billed_mib_ms: u64,
    /// Processor time, µs.
    pub cpu_us: u64,
    /// Bytes out: of answers, and what instances sent to networks.
    pub bytes_out: u64,
    /// Bytes that instances received from networks.
    #[serde(default)]
    pub network_in: u64,
}

/// Which tags.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub enum PartTagsV1 {
    /// None, or, before tags were on the ledger, nobody knows.
    #[default]
    None,
    /// Those of a [`TagSetV1`].
    Set(Digest),
    /// Some beyond [`TAG_SETS_PER_DAY_MAX`].
    Unknown,
}

impl UsagePartV1 {
    /// What one attempt used.
    pub fn of(usage: &Usage, memory_mib: u32) -> Self {
        Self {
            since: None,
            tags: PartTagsV1::None,
            invocations: 1,
            billed_ms: usage.billed_ms,
            billed_mib_ms: usage.billed_ms * u64::from(memory_mib),
            cpu_us: usage.cpu_us,
            bytes_out: usage.bytes_out,
            network_in: 0,
        }
    }

    /// What went over an instance's network.
    pub fn of_network(bytes: NetworkBytes) -> Self {
        Self {
            bytes_out: bytes.out,
            network_in: bytes.back,
            ..Self::default()
        }
    }

    /// What it costs at these prices.
    ///
    /// Errors: [`AmountTooHigh`].
    pub fn cost(&self, prices: &PricesV1) -> Result<Amount, AmountTooHigh> {
        [
            (Meter::Invocation, self.invocations),
            (Meter::GbSecond, self.billed_mib_ms),
            (Meter::CpuSecond, self.cpu_us),
            (Meter::GbOut, self.bytes_out),
            (Meter::GbIn, self.network_in),
        ]
        .into_iter()
        .try_fold(Amount::default(), |sum, (meter, count)| {
            sum.plus(Amount::of(prices.of(meter), count, meter)?)
        })
    }

    fn plus(&mut self, more: &Self) {
        self.invocations += more.invocations;
        self.billed_ms += more.billed_ms;
        self.billed_mib_ms += more.billed_mib_ms;
        self.cpu_us += more.cpu_us;
        self.bytes_out += more.bytes_out;
        self.network_in += more.network_in;
    }
}

impl UsageRollupV2 {
    /// Adds a part to those of the hour that begins at `from`, if none later has begun.
    pub fn add_hour(&mut self, from: Wall, part: &UsagePartV1) {
        let hour = self.hour.get_or_insert_default();
        if from < hour.from {
            return;
        }
        if from > hour.from {
            *hour = UsageHourV1 {
                from,
                parts: Vec::new(),
            };
        }
        match hour.parts.iter_mut().find(|one| one.since == part.since) {
            Some(one) => one.plus(part),
            None => hour.parts.push(UsagePartV1 {
                tags: PartTagsV1::None,
                ..part.clone()
            }),
        }
    }

    /// Adds a part to those there are.
    pub fn add_part(&mut self, mut more: UsagePartV1) {
        let is_known = |parts: &[UsagePartV1]| parts.iter().any(|part| part.tags == more.tags);
        if matches!(more.tags, PartTagsV1::Set(_)) && !is_known(&self.parts) {
            let sets: BTreeSet<PartTagsV1> = self
                .parts
                .iter()
                .map(|part| part.tags)
                .filter(|tags| matches!(tags, PartTagsV1::Set(_)))
                .collect();
            if sets.len() >= TAG_SETS_PER_DAY_MAX {
                more.tags = PartTagsV1::Unknown;
            }
        }
        let mut parts = self.parts.iter_mut();
        match parts.find(|part| part.since == more.since && part.tags == more.tags) {
            Some(part) => part.plus(&more),
            None => self.parts.push(more),
        }
    }
}

impl Record for UsageRollupV2 {
    const KIND: Kind = Kind::UsageRollup;
    const VERSION: u16 = 2;

    fn upgrade(version: u16, json: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct UsageRollupV1 {
            invocations: u64,
            errors: u64,
            sums: Usage,
            billed_mib_ms: u64,
        }
        let UsageRollupV1 {
            invocations,
            errors,
            sums,
            billed_mib_ms,
        } = older::<Self, _>(version, json)?;
        // Releases that wrote version 1 had no prices, and no tags on the ledger.
        let part = UsagePartV1 {
            invocations,
            billed_ms: sums.billed_ms,
            billed_mib_ms,
            cpu_us: sums.cpu_us,
            bytes_out: sums.bytes_out,
            ..UsagePartV1::default()
        };
        Ok(Self {
            invocations,
            errors,
            sums,
            billed_mib_ms,
            network: NetworkBytes::default(),
            parts: vec![part],
            hour: None,
        })
    }
}

/// Tags that some function had while it was called; the ledger's entries name them by their id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagSetV1 {
    /// The tags.
    pub tags: BTreeMap<String, String>,
}
impl Record for TagSetV1 {
    const KIND: Kind = Kind::TagSet;
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{decode, encode};

    #[test]
    fn a_roll_up_of_an_older_release_is_one_part_without_tags() {
        let sums = r#"{"queue_us":1,"start_us":2,"init_us":3,"run_us":4,"billed_ms":5,"cpu_us":6,
            "memory_peak_bytes":7,"bytes_in":8,"bytes_out":9}"#;
        let old = format!(
            r#"{{"v":1,"r":{{"invocations":2,"errors":1,"billed_mib_ms":640,"sums":{sums}}}}}"#
        );
        let read: UsageRollupV2 = decode(old.as_bytes()).unwrap();
        assert_eq!(
            (read.invocations, read.errors, read.billed_mib_ms),
            (2, 1, 640)
        );
        let part = UsagePartV1 {
            since: None,
            tags: PartTagsV1::None,
            invocations: 2,
            billed_ms: 5,
            billed_mib_ms: 640,
            cpu_us: 6,
            bytes_out: 9,
            network_in: 0,
        };
        assert_eq!(
            (read.parts.as_slice(), read.network),
            ([part].as_slice(), NetworkBytes::default())
        );
        assert_eq!(decode::<UsageRollupV2>(&encode(&read)).unwrap(), read);
    }

    #[test]
    fn the_latest_hour_of_a_day_is_kept_and_no_earlier_one_comes_back() {
        let mut day = UsageRollupV2::default();
        let part = |since: Option<i64>| UsagePartV1 {
            since: since.map(Wall),
            tags: PartTagsV1::Set(Digest([1; 32])),
            invocations: 1,
            ..UsagePartV1::default()
        };
        let counts = |day: &UsageRollupV2| {
            let hour = day.hour.clone().unwrap_or_default();
            let counts: Vec<_> = hour.parts.iter().map(|part| part.invocations).collect();
            (hour.from.0, counts)
        };
        for since in [None, None, Some(5)] {
            day.add_hour(Wall(0), &part(since));
        }
        assert_eq!(counts(&day), (0, vec![2, 1]));
        day.add_hour(Wall(9), &part(Some(5)));
        day.add_hour(Wall(0), &part(Some(5)));
        assert_eq!(counts(&day), (9, vec![1]));
        assert_eq!(decode::<UsageRollupV2>(&encode(&day)).unwrap(), day);
    }

    #[test]
    fn parts_are_added_by_time_and_tags_and_their_number_is_bounded() {
        let mut day = UsageRollupV2::default();
        let part = |since: Option<i64>, tags| UsagePartV1 {
            since: since.map(Wall),
            tags,
            invocations: 1,
            billed_ms: 10,
            ..UsagePartV1::default()
        };
        let set = |n: usize| PartTagsV1::Set(Digest([n as u8; 32]));
        for n in 0..TAG_SETS_PER_DAY_MAX + 20 {
            day.add_part(part(None, set(n)));
            day.add_part(part(None, PartTagsV1::None));
        }
        // A set that is known is told apart in every stretch of the day.
        day.add_part(part(Some(7), set(0)));
        day.add_part(part(Some(7), set(0)));
        let of = |since: Option<i64>, tags| {
            let found: Vec<u64> = day
                .parts
                .iter()
                .filter(|part| part.since == since.map(Wall) && part.tags == tags)
                .map(|part| part.invocations)
                .collect();
            found
        };
        assert_eq!(of(None, set(99)), [1]);
        assert!(of(None, set(100)).is_empty());
        assert_eq!(of(None, PartTagsV1::Unknown), [20]);
        assert_eq!(of(None, PartTagsV1::None), [120]);
        assert_eq!(of(Some(7), set(0)), [2]);
        assert_eq!(
            day.parts.iter().map(|part| part.billed_ms).sum::<u64>(),
            2420
        );
    }
}
