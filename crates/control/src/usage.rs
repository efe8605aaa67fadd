//! Usage by function and UTC day, rolled up from the ledger.
//!
//! Each batch of ledger frames is added to the roll-ups and the lane's cursor moved in one
//! commit: a kill between two leaves neither counted twice nor left out, so that the sums equal
//! the ledger exactly.

use crate::{
    Control, ControlError, Field, Place,
    store::{self, CHANGE_ATTEMPTS},
};
use freehold_domain::{
    FunctionName, FunctionRef, Principal, Wall,
    ledger::{Ending, LedgerEntry},
    ports::{Expect, Ledger},
    record::{Key, KeyPrefix, Kind, LedgerCursorV1, UsageRollupV1},
};
use std::collections::BTreeMap;

/// Ledger frames added in one commit.
const ROLL_UP_FRAMES: usize = 1024;

/// What one function used on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayUsage {
    /// The function, which may be deleted by now.
    pub function: FunctionName,
    /// The UTC day, `2026-11-21`.
    pub day: String,
    /// Sums.
    pub usage: UsageRollupV1,
}

impl Control {
    /// Rolls up whatever the ledger has beyond the cursors; says how many entries that were.
    ///
    /// Errors: [`ControlError::Internal`] for a frame that does not read as an entry: the lane
    /// stops there, since sums that leave one out would be wrong without saying so.
    pub async fn usage_roll_up(&self) -> Result<u64, ControlError> {
        let platform = Principal::platform("metering");
        let mut entries = 0;
        for lane in self.storage.lanes().await? {
            entries += self.roll_up_lane(&platform, lane).await?;
        }
        Ok(entries)
    }

    async fn roll_up_lane(&self, platform: &Principal, lane: u16) -> Result<u64, ControlError> {
        let cursor_key = Key::ledger_cursor(lane);
        let (mut entries, mut lost) = (0, 0);
        loop {
            let cursor = self.read::<LedgerCursorV1>(platform, &cursor_key).await?;
            let expect = cursor.as_ref().map_or(Expect::Absent, |c| c.expect());
            let position = cursor.map_or(0, |c| c.record.position);
            let (frames, position) =
                Ledger::read(&*self.storage, lane, position, ROLL_UP_FRAMES).await?;
            if frames.is_empty() {
                return Ok(entries);
            }
            let mut sums: BTreeMap<Key, UsageRollupV1> = BTreeMap::new();
            for frame in &frames {
                let entry: LedgerEntry = serde_json::from_slice(frame)
                    .map_err(|error| ControlError::internal("reading the ledger", error))?;
                add(sums.entry(usage_key(&entry)).or_default(), &entry);
            }
            let mut ops = Vec::with_capacity(sums.len() + 1);
            for (key, new) in sums {
                let present = self.read::<UsageRollupV1>(platform, &key).await?;
                let expect = present.as_ref().map_or(Expect::Absent, |p| p.expect());
                let mut total = present.map(|p| p.record).unwrap_or_default();
                merge(&mut total, &new);
                ops.push(store::put(key, expect, &total));
            }
            let cursor = LedgerCursorV1 { position };
            ops.push(store::put(cursor_key.clone(), expect, &cursor));
            if self.try_commit(platform, ops).await? {
                entries += frames.len() as u64;
                continue;
            }
            lost += 1;
            if lost == CHANGE_ATTEMPTS {
                return Err(ControlError::Contended {
                    name: cursor_key.to_string(),
                });
            }
        }
    }

    /// Usage of one function, or of all, on the days from `first` to `last`, both included; the
    /// ledger is rolled up before.
    ///
    /// Errors: [`ControlError::Invalid`] for a day that is none.
    pub async fn usage_query(
        &self,
        who: &Principal,
        place: &Place,
        function: Option<&FunctionName>,
        first: Option<&str>,
        last: Option<&str>,
    ) -> Result<Vec<DayUsage>, ControlError> {
        Self::reaches(who, &place.tenant)?;
        for day in [first, last].into_iter().flatten() {
            if day.len() != 10 || day.parse::<jiff::civil::Date>().is_err() {
                let reason = format!("{:?} is no day, 2026-11-21", crate::rules::cut(day));
                return Err(ControlError::invalid(Field::Day, reason));
            }
        }
        self.usage_roll_up().await?;
        let (tenant, region) = (&place.tenant, &place.region);
        let prefix = match function {
            Some(name) => KeyPrefix::under(tenant, region, Kind::UsageRollup, name.as_str()),
            None => KeyPrefix::kind(tenant, region, Kind::UsageRollup),
        };
        let mut found = Vec::new();
        for stored in self.all(who, &prefix).await? {
            let [name, day] = stored.key.name() else {
                continue;
            };
            // Days sort as their text does.
            let within = first.is_none_or(|first| first <= day.as_str())
                && last.is_none_or(|last| day.as_str() <= last);
            if within && let Ok(function) = name.parse() {
                found.push(DayUsage {
                    function,
                    day: day.clone(),
                    usage: freehold_domain::record::decode(&stored.bytes)?,
                });
            }
        }
        Ok(found)
    }
}

fn usage_key(entry: &LedgerEntry) -> Key {
    let FunctionRef {
        tenant,
        region,
        name,
    } = &entry.function;
    Key::usage(tenant, region, name, &utc_day(entry.received))
}

/// The UTC day of a time, `2026-11-21`.
fn utc_day(at: Wall) -> String {
    jiff::Timestamp::from_microsecond(at.0)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
        .to_string()
}

fn add(total: &mut UsageRollupV1, entry: &LedgerEntry) {
    merge(
        total,
        &UsageRollupV1 {
            invocations: 1,
            errors: u64::from(entry.ending != Ending::Success),
            sums: entry.usage,
            billed_mib_ms: entry.usage.billed_ms * u64::from(entry.memory_mib),
        },
    );
}

fn merge(total: &mut UsageRollupV1, more: &UsageRollupV1) {
    total.invocations += more.invocations;
    total.errors += more.errors;
    total.billed_mib_ms += more.billed_mib_ms;
    let (sums, usage) = (&mut total.sums, &more.sums);
    sums.queue_us += usage.queue_us;
    sums.start_us += usage.start_us;
    sums.init_us += usage.init_us;
    sums.run_us += usage.run_us;
    sums.billed_ms += usage.billed_ms;
    sums.cpu_us += usage.cpu_us;
    sums.memory_peak_bytes = sums.memory_peak_bytes.max(usage.memory_peak_bytes);
    sums.bytes_in += usage.bytes_in;
    sums.bytes_out += usage.bytes_out;
}
