//! Usage by function and UTC day, rolled up from the ledger.
//!
//! Each batch of ledger frames is added to the roll-ups and the lane's cursor moved in one
//! commit: a kill between two leaves neither counted twice nor left out, so that the sums equal
//! the ledger exactly. A day's sums are parted by the function's tags and by the moments at which
//! its prices changed, which is what bills need; tags that an entry tells are written down in the
//! same commit.

use crate::{
    Control, ControlError, Field, Place,
    store::{self, CHANGE_ATTEMPTS},
};
use freehold_domain::{
    FunctionName, FunctionRef, Principal, TenantId, Usage, Wall,
    ledger::{Ending, EntryTags, LedgerFrame},
    month::day_begin,
    ports::{Expect, Ledger, Op},
    record::{
        Key, KeyPrefix, Kind, LedgerCursorV1, PartTagsV1, PriceBooks, TagSetV1, UsagePartV1,
        UsageRollupV2, hour_begin,
    },
};
use std::collections::{BTreeMap, HashMap};

/// Ledger frames added in one commit.
const ROLL_UP_FRAMES: usize = 1024;

/// The latest moments of what was rolled up since the start, by UTC day. A clock that was set back has
/// them ahead of it, and prices of a day begin behind what was counted of it.
#[derive(Default)]
pub(crate) struct Metered(BTreeMap<Wall, Wall>);

/// Days that are remembered: a clock that stands on an earlier one changes no price within them.
const METERED_DAYS: usize = 64;

impl Metered {
    fn note(&mut self, received: Wall) {
        let latest = self.0.entry(day_begin(received)).or_insert(received);
        *latest = received.max(*latest);
        while self.0.len() > METERED_DAYS {
            self.0.pop_first();
        }
    }

    /// The latest moment, on a moment's day or behind it, up to which something was rolled up.
    pub(crate) fn latest_since(&self, day_of: Wall) -> Option<Wall> {
        let days = self.0.range(day_begin(day_of)..);
        days.map(|(_, latest)| *latest).max()
    }
}

/// What one function used on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayUsage {
    /// The function, which may be deleted by now.
    pub function: FunctionName,
    /// The UTC day, `2026-11-21`.
    pub day: String,
    /// Sums.
    pub usage: UsageRollupV2,
}

impl Control {
    /// Rolls up whatever the ledger has beyond the cursors; says how many entries that were.
    ///
    /// Errors: [`ControlError::Internal`] for a frame that does not read as an entry: the lane
    /// stops there, since sums that leave one out would be wrong without saying so.
    pub async fn usage_roll_up(&self) -> Result<u64, ControlError> {
        self.longest.look();
        let platform = Principal::platform("metering");
        let mut entries = 0;
        for lane in self.storage.lanes().await? {
            entries += self.roll_up_lane(&platform, lane).await?;
        }
        Ok(entries)
    }

    async fn roll_up_lane(&self, platform: &Principal, lane: u16) -> Result<u64, ControlError> {
        let mut entries = 0;
        loop {
            // Prices change between two batches, never under one: what was rolled up is older.
            let mut metered = self.metering.lock().await;
            match self.roll_up_batch(platform, lane, &mut metered).await? {
                batch if batch.is_empty() => return Ok(entries),
                batch => entries += batch.len() as u64,
            }
        }
    }

    /// Rolls everything up that is there; `note` hears of each entry.
    ///
    /// Errors: as [`Control::usage_roll_up`].
    pub(crate) async fn roll_up_held(
        &self,
        metered: &mut Metered,
        note: &mut (dyn FnMut(&LedgerFrame) + Send),
    ) -> Result<(), ControlError> {
        let platform = Principal::platform("metering");
        for lane in self.storage.lanes().await? {
            loop {
                let batch = self.roll_up_batch(&platform, lane, metered).await?;
                batch.iter().for_each(&mut *note);
                if batch.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Rolls the next entries of a lane up, and says which those were.
    async fn roll_up_batch(
        &self,
        platform: &Principal,
        lane: u16,
        metered: &mut Metered,
    ) -> Result<Vec<LedgerFrame>, ControlError> {
        let cursor_key = Key::ledger_cursor(lane);
        for _ in 0..CHANGE_ATTEMPTS {
            let cursor = self.read::<LedgerCursorV1>(platform, &cursor_key).await?;
            let expect = cursor.as_ref().map_or(Expect::Absent, |c| c.expect());
            let position = cursor.map_or(0, |c| c.record.position);
            let (frames, position) =
                Ledger::read(&*self.storage, lane, position, ROLL_UP_FRAMES).await?;
            if frames.is_empty() {
                return Ok(Vec::new());
            }
            let (mut ops, entries) = self.rolled_up(platform, &frames).await?;
            let cursor = LedgerCursorV1 { position };
            ops.push(store::put(cursor_key.clone(), expect, &cursor));
            if self.try_commit(platform, ops).await? {
                entries.iter().for_each(|entry| metered.note(entry.at()));
                return Ok(entries);
            }
        }
        Err(ControlError::Contended {
            name: cursor_key.to_string(),
        })
    }

    /// The writes that add entries to the roll-ups, and the entries.
    async fn rolled_up(
        &self,
        platform: &Principal,
        frames: &[bytes::Bytes],
    ) -> Result<(Vec<Op>, Vec<LedgerFrame>), ControlError> {
        let mut entries = Vec::with_capacity(frames.len());
        let mut books: HashMap<TenantId, PriceBooks> = HashMap::new();
        let mut days: BTreeMap<Key, (Expect, UsageRollupV2)> = BTreeMap::new();
        let mut sets: BTreeMap<Key, TagSetV1> = BTreeMap::new();
        for frame in frames {
            let entry = LedgerFrame::read(frame)
                .map_err(|error| ControlError::internal("reading the ledger", error))?;
            let (tenant, key) = (&entry.function().tenant, usage_key(&entry));
            if !books.contains_key(tenant) {
                books.insert(tenant.clone(), self.price_books(tenant).await?);
            }
            if !days.contains_key(&key) {
                let day = self.read::<UsageRollupV2>(platform, &key).await?;
                let expect = day.as_ref().map_or(Expect::Absent, |day| day.expect());
                let total = day.map(|day| day.record).unwrap_or_default();
                days.insert(key.clone(), (expect, total));
            }
            if let (Some(books), Some((_, day))) = (books.get(tenant), days.get_mut(&key)) {
                add(day, &entry, books.changed_on_day(entry.at()));
            }
            if let Some(EntryTags {
                id,
                set: Some(tags),
            }) = entry.tags()
            {
                let tags = tags.clone();
                sets.insert(Key::tag_set(tenant, id), TagSetV1 { tags });
            }
            entries.push(entry);
        }
        let mut ops = Vec::with_capacity(days.len() + sets.len() + 1);
        for (key, (expect, day)) in days {
            ops.push(store::put(key, expect, &day));
        }
        for (key, set) in sets {
            if self.read::<TagSetV1>(platform, &key).await?.is_none() {
                ops.push(store::put(key, Expect::Absent, &set));
            }
        }
        Ok((ops, entries))
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

fn usage_key(entry: &LedgerFrame) -> Key {
    let FunctionRef {
        tenant,
        region,
        name,
    } = entry.function();
    Key::usage(tenant, region, name, &utc_day(entry.at()))
}

/// The UTC day of a time, `2026-11-21`.
fn utc_day(at: Wall) -> String {
    jiff::Timestamp::from_microsecond(at.0)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
        .to_string()
}

/// The begin of a day that [`utc_day`] wrote.
pub(crate) fn day_of(text: &str) -> Option<Wall> {
    let day: jiff::civil::Date = text.parse().ok()?;
    let begin = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Wall(begin.as_microsecond()))
}

/// Adds an entry to its day; `since` is when the prices that hold for it began to, on that day.
fn add(day: &mut UsageRollupV2, frame: &LedgerFrame, since: Option<Wall>) {
    let part = match frame {
        LedgerFrame::Attempt(entry) => {
            day.invocations += 1;
            day.errors += u64::from(entry.ending != Ending::Success);
            let part = UsagePartV1::of(&entry.usage, entry.memory_mib);
            day.billed_mib_ms += part.billed_mib_ms;
            add_usage(&mut day.sums, &entry.usage);
            part
        }
        LedgerFrame::Network(entry) => {
            day.network = day.network + entry.bytes;
            UsagePartV1::of_network(entry.bytes)
        }
    };
    let tags = frame.tags();
    let part = UsagePartV1 {
        since,
        tags: tags.map_or(PartTagsV1::None, |tags| PartTagsV1::Set(tags.id)),
        ..part
    };
    day.add_hour(hour_begin(frame.at()), &part);
    day.add_part(part);
}

fn add_usage(sums: &mut Usage, usage: &Usage) {
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
