//! Bills: what a tenant used in a month and what that costs, made from the roll-ups.
//!
//! A bill is added up anew whenever it is asked for, out of what the ledger says and what the price
//! books say; nothing of it is stored. Amounts are exact, so that lines add up to the sums to the
//! last digit. It comes in pages; of a bill by function each page reads its own functions alone.

use crate::{
    Control, ControlError, Field, Limit,
    store::{LIST_CHUNK, Versioned},
    tenants::{platform, tenant_id},
    usage::day_of,
};
use freehold_domain::{
    FunctionName, Month, Principal, Region, TenantId, Wall,
    ids::Digest,
    month::{MonthError, day_begin},
    ports::Stored,
    prices::{Amount, AmountTooHigh, Currency, Meter, Price},
    record::{
        self, Key, Kind, PartTagsV1, Stretch, TagSetV1, TenantV2, UsagePartV1, UsageRollupV2,
    },
};
use std::collections::{BTreeMap, HashMap};

/// Lines of one page; the last function of a page comes whole.
pub const BILL_LINES_MAX: usize = 1000;
/// Functions that one page looks at, with or without usage in the month.
const FUNCTIONS_LOOKED_AT_MAX: usize = 5000;
/// Values of one tag that a bill tells apart.
pub const BILL_TAG_VALUES_MAX: usize = 10_000;
/// Roll-ups read at once: about a function's month.
const READ_CHUNK: usize = 32;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct BillQuery {
    /// Whose bill; of the operator's keys alone another's than the caller's, and of every tenant
    /// where none is given.
    pub tenant: Option<String>,
    /// `2026-11`; the present month without one.
    pub month: Option<String>,
    /// `function`, which it is without one, or `tag:KEY`.
    pub by: Option<String>,
    /// Where an earlier page ended.
    pub marker: Option<String>,
    /// Lines, up to [`BILL_LINES_MAX`].
    pub limit: Option<usize>,
}

/// What lines are made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BillBy {
    /// Region and function.
    Function,
    /// The value of the tag of this key, over all regions.
    Tag(String),
}

/// Amounts, one for each currency, in its order.
pub type Sums = Vec<(Currency, Amount)>;

/// A page of one tenant's bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillPage {
    /// Whose.
    pub tenant: TenantId,
    /// Of which month.
    pub month: Month,
    /// What lines are made by.
    pub by: BillBy,
    /// When it was added up.
    pub at: Wall,
    /// Whether the month is over and nothing that began in it can still run.
    pub is_final: bool,
    /// The month in stretches, each with one price; lines say which of them is theirs.
    pub stretches: Vec<Stretch>,
    /// The lines, by function or value, then by time.
    pub lines: Vec<BillLine>,
    /// The amounts of this page's lines added up, by currency.
    pub sums: Sums,
    /// What asks for the next page: of this bill, or of the next tenant's.
    pub next: Option<String>,
}

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BillItem {
    /// The tenant itself, for the month.
    TenantMonth,
    /// A function, which may be deleted by now.
    Function(Region, FunctionName),
    /// Functions with the tag, and its value.
    Tag(String),
    /// Functions without the tag.
    Untagged,
    /// Functions whose tags changed too often on a day to be told apart.
    UnknownTags,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    /// About what.
    pub item: BillItem,
    /// Its place in [`BillPage::stretches`].
    pub stretch: usize,
    /// What was used.
    pub used: Used,
    /// What each meter costs, in the order of [`Meter::ALL`]; none where nothing had a price.
    pub amounts: Option<[Amount; 6]>,
    /// All of them added up.
    pub amount: Option<Amount>,
}

/// Counts of the ledger's, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Months of a tenant.
    pub tenant_months: u64,
    /// Attempts that reached an instance.
    pub invocations: u64,
    /// Billed time, ms.
    pub billed_ms: u64,
    /// Billed time × memory, ms × MiB.
    pub billed_mib_ms: u64,
    /// Processor time, µs.
    pub cpu_us: u64,
    /// Bytes of answers, and those that instances sent to networks.
    pub bytes_out: u64,
    /// Bytes that instances received from networks.
    pub network_in: u64,
}

impl Used {
    fn add(&mut self, part: &UsagePartV1) {
        self.invocations += part.invocations;
        self.billed_ms += part.billed_ms;
        self.billed_mib_ms += part.billed_mib_ms;
        self.cpu_us += part.cpu_us;
        self.bytes_out += part.bytes_out;
        self.network_in += part.network_in;
    }

    /// What a meter counted.
    pub fn of(&self, meter: Meter) -> u64 {
        match meter {
            Meter::TenantMonth => self.tenant_months,
            Meter::Invocation => self.invocations,
            Meter::GbSecond => self.billed_mib_ms,
            Meter::CpuSecond => self.cpu_us,
            Meter::GbOut => self.bytes_out,
            Meter::GbIn => self.network_in,
        }
    }
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Begin {
    First,
    After(BillItem),
}

/// What a page is made for.
struct Asked {
    tenant: TenantV2,
    month: Month,
    by: BillBy,
    stretches: Vec<Stretch>,
    begin: Begin,
    limit: usize,
}

/// What a function used in a month.
struct FunctionMonth {
    region: Region,
    name: FunctionName,
    /// Each with its first instant.
    days: Vec<(Wall, UsageRollupV2)>,
}

/// The lines of a page before they are priced, and the last of them where more follow.
type Found = (Vec<(BillItem, usize, Used)>, Option<BillItem>);

impl Control {
    /// A page of a bill: of the caller's, or, with the operator's key, of anybody's or everybody's.
    /// The ledger is rolled up before the first one.
    ///
    /// Errors: [`ControlError::Denied`] for another's, [`ControlError::NotFound`],
    /// [`ControlError::Invalid`] for a month that is none, lies ahead or before the tenant was made,
    /// for what lines cannot be made by and for a marker that no page gave;
    /// [`ControlError::LimitExceeded`] past [`BILL_TAG_VALUES_MAX`].
    pub async fn bill(&self, who: &Principal, query: &BillQuery) -> Result<BillPage, ControlError> {
        let now = self.clock.wall();
        let (month, by) = (
            month(query.month.as_deref(), now)?,
            by(query.by.as_deref())?,
        );
        let marker = query.marker.as_deref().map(read_marker).transpose()?;
        let (tenant, is_of_all) = self.billed(who, query, marker.as_ref(), month).await?;
        if tenant.created >= month.end() {
            let made = Month::of(tenant.created);
            return Err(ControlError::invalid(
                Field::Month,
                format!(
                    "account {} was made in {made}: there is no bill of {month}",
                    tenant.id
                ),
            ));
        }
        if marker.is_none() {
            self.usage_roll_up().await?;
        }
        let books = self.price_books(&tenant.id).await?;
        let from = month.begin().max(tenant.created);
        let asked = Asked {
            month,
            by,
            stretches: books.stretches(from, month.end()),
            begin: marker.map_or(Begin::First, |(_, begin)| begin),
            limit: query
                .limit
                .unwrap_or(BILL_LINES_MAX)
                .clamp(1, BILL_LINES_MAX),
            tenant,
        };
        let (mut found, last) = match &asked.by {
            BillBy::Function => self.by_function(&asked).await?,
            BillBy::Tag(key) => self.by_tag(&asked, key).await?,
        };
        if asked.begin == Begin::First
            && let Some(line) = month_line(&asked.stretches)
        {
            found.insert(0, line);
        }
        let next = match last {
            Some(last) => Some(marker_of(&asked.tenant.id, Some(&last))),
            None if is_of_all => self
                .next_billed(&asked.tenant.id, month)
                .await?
                .map(|next| marker_of(&next.id, None)),
            None => None,
        };
        let (lines, sums) = priced(found, &asked.stretches)
            .map_err(|error| ControlError::internal("adding up a bill", error))?;
        let settled = month.end() + self.longest.attempt();
        Ok(BillPage {
            tenant: asked.tenant.id,
            month,
            by: asked.by,
            at: now,
            is_final: settled <= now,
            stretches: asked.stretches,
            lines,
            sums,
            next,
        })
    }

    /// Whose bill a page is of, and whether those of the other tenants follow.
    async fn billed(
        &self,
        who: &Principal,
        query: &BillQuery,
        marker: Option<&(TenantId, Begin)>,
        month: Month,
    ) -> Result<(TenantV2, bool), ControlError> {
        let Some(caller) = who.tenant() else {
            return Err(ControlError::NotOperator);
        };
        let asked = query.tenant.as_deref().map(tenant_id).transpose()?;
        let is_operator = self.operator(who).await.is_ok();
        if !is_operator {
            let others = asked.iter().chain(marker.map(|(tenant, _)| tenant));
            if let Some(other) = others.into_iter().find(|tenant| *tenant != caller) {
                return Err(ControlError::Denied {
                    tenant: other.clone(),
                });
            }
        }
        let is_of_all = is_operator && asked.is_none();
        let of = match (&asked, marker) {
            (Some(asked), Some((tenant, _))) if asked != tenant => return Err(wrong_marker()),
            (_, Some((tenant, _))) => tenant.clone(),
            (Some(asked), None) => asked.clone(),
            (None, None) if !is_operator => caller.clone(),
            (None, None) => {
                let first = self.next_billed(&TenantId::platform(), month).await?;
                // Without one the month is before the operator's own, and that is said of it.
                first.map_or_else(|| caller.clone(), |first| first.id)
            }
        };
        Ok((self.tenant(&platform(), &of).await?.record, is_of_all))
    }

    /// The tenant behind another, by id, that there was in a month.
    async fn next_billed(
        &self,
        after: &TenantId,
        month: Month,
    ) -> Result<Option<TenantV2>, ControlError> {
        let mut after = Key::tenant_record(after);
        loop {
            let page = self
                .storage
                .list_all(&platform(), Kind::Tenant, Some(&after), LIST_CHUNK)
                .await?;
            for stored in &page {
                // A bill that leaves one out would be short without a word.
                let tenant: TenantV2 = record::decode(&stored.bytes)
                    .map_err(|error| ControlError::internal("reading a tenant", error))?;
                if tenant.created < month.end() {
                    return Ok(Some(tenant));
                }
            }
            match page.last() {
                Some(last) if page.len() == LIST_CHUNK => after = last.key.clone(),
                _ => return Ok(None),
            }
        }
    }

    /// The lines of functions behind the page's begin.
    async fn by_function(&self, asked: &Asked) -> Result<Found, ControlError> {
        let mut at = match &asked.begin {
            Begin::After(BillItem::Function(region, name)) => behind(asked, region, name),
            _ => Key::before_usage(&asked.tenant.id),
        };
        let mut lines = Vec::new();
        for _ in 0..FUNCTIONS_LOOKED_AT_MAX {
            let Some(found) = self.next_function(asked, &mut at).await? else {
                return Ok((lines, None));
            };
            at = behind(asked, &found.region, &found.name);
            let mut used: BTreeMap<usize, Used> = BTreeMap::new();
            for (day, rollup) in &found.days {
                for part in &rollup.parts {
                    let stretch = stretch_of(asked, *day, part);
                    used.entry(stretch).or_default().add(part);
                }
            }
            let item = BillItem::Function(found.region, found.name);
            lines.extend(used.into_iter().map(|(at, used)| (item.clone(), at, used)));
            if lines.len() >= asked.limit {
                return Ok((lines, Some(item)));
            }
        }
        // A page without a line is one as well: what follows it is further on.
        let last = match at.name().first().map(|name| name.parse()) {
            Some(Ok(name)) => Some(BillItem::Function(at.region().clone(), name)),
            _ => None,
        };
        Ok((lines, last))
    }

    /// The lines of a tag's values behind the page's begin. All functions are looked at.
    async fn by_tag(&self, asked: &Asked, key: &str) -> Result<Found, ControlError> {
        let mut at = Key::before_usage(&asked.tenant.id);
        let mut items: HashMap<Digest, BillItem> = HashMap::new();
        let mut used: BTreeMap<BillItem, BTreeMap<usize, Used>> = BTreeMap::new();
        while let Some(found) = self.next_function(asked, &mut at).await? {
            at = behind(asked, &found.region, &found.name);
            for (day, rollup) in &found.days {
                for part in &rollup.parts {
                    let item = match part.tags {
                        PartTagsV1::None => BillItem::Untagged,
                        PartTagsV1::Unknown => BillItem::UnknownTags,
                        PartTagsV1::Set(id) => match items.get(&id) {
                            Some(item) => item.clone(),
                            None => {
                                let item = self.tagged(&asked.tenant.id, &id, key).await?;
                                items.insert(id, item.clone());
                                item
                            }
                        },
                    };
                    let stretch = stretch_of(asked, *day, part);
                    let of_item = used.entry(item).or_default();
                    of_item.entry(stretch).or_default().add(part);
                }
            }
            if used.len() > BILL_TAG_VALUES_MAX {
                return Err(ControlError::LimitExceeded {
                    limit: Limit::BillTagValues,
                    max: BILL_TAG_VALUES_MAX as u64,
                });
            }
        }
        let (mut lines, mut last) = (Vec::new(), None);
        for (item, used) in used {
            if matches!(&asked.begin, Begin::After(before) if item <= *before) {
                continue;
            }
            if lines.len() >= asked.limit {
                return Ok((lines, last));
            }
            lines.extend(used.into_iter().map(|(at, used)| (item.clone(), at, used)));
            last = Some(item);
        }
        Ok((lines, None))
    }

    /// Under which line a tag set falls.
    async fn tagged(
        &self,
        tenant: &TenantId,
        id: &Digest,
        key: &str,
    ) -> Result<BillItem, ControlError> {
        let found: Option<Versioned<TagSetV1>> =
            self.read(&platform(), &Key::tag_set(tenant, id)).await?;
        Ok(match found {
            Some(mut found) => match found.record.tags.remove(key) {
                Some(value) => BillItem::Tag(value),
                None => BillItem::Untagged,
            },
            None => {
                tracing::error!(%tenant, %id, "the ledger names tags that it never told");
                BillItem::UnknownTags
            }
        })
    }

    /// The next function behind `at` that was ever used, with its days in the month, which may be
    /// none; `at` moves into them.
    async fn next_function(
        &self,
        asked: &Asked,
        at: &mut Key,
    ) -> Result<Option<FunctionMonth>, ControlError> {
        let tenant = &asked.tenant.id;
        let wrong = |error: &dyn std::fmt::Display| {
            ControlError::internal("reading roll-ups", error.to_string())
        };
        let page = self.usage_after(at, 1).await?;
        let Some(first) = page.first().filter(|stored| stored.key.tenant() == tenant) else {
            return Ok(None);
        };
        let name = first.key.name().first().map_or("", String::as_str);
        let mut found = FunctionMonth {
            region: first.key.region().clone(),
            name: name.parse().map_err(|error| wrong(&error))?,
            days: Vec::new(),
        };
        // Days sort as their text does: "2026-11" lies before all days of that month.
        *at = Key::usage(tenant, &found.region, &found.name, &asked.month.to_string());
        loop {
            let page = self.usage_after(at, READ_CHUNK).await?;
            for stored in &page {
                let of = (stored.key.tenant(), stored.key.region());
                let day = match stored.key.name() {
                    [name, day]
                        if of == (tenant, &found.region) && *name == found.name.as_str() =>
                    {
                        day_of(day).filter(|day| asked.month.holds(*day))
                    }
                    _ => None,
                };
                match day {
                    Some(day) => found.days.push((day, record::decode(&stored.bytes)?)),
                    None => return Ok(Some(found)),
                }
            }
            match page.last() {
                Some(last) if page.len() == READ_CHUNK => *at = last.key.clone(),
                _ => return Ok(Some(found)),
            }
        }
    }

    async fn usage_after(&self, after: &Key, limit: usize) -> Result<Vec<Stored>, ControlError> {
        let found = self
            .storage
            .list_all(&platform(), Kind::UsageRollup, Some(after), limit);
        Ok(found.await?)
    }
}

/// In front of whatever follows a function's roll-ups.
fn behind(asked: &Asked, region: &Region, name: &FunctionName) -> Key {
    Key::usage(&asked.tenant.id, region, name, "~")
}

/// In which stretch of the month a part of a day lies. What was used in front of the first one, on
/// the day on which the tenant was made, counts there.
fn stretch_of(asked: &Asked, day: Wall, part: &UsagePartV1) -> usize {
    let at = part.since.unwrap_or(day_begin(day));
    let after = asked
        .stretches
        .partition_point(|stretch| stretch.from <= at);
    after.saturating_sub(1)
}

/// The tenant's own line: the first price of the month that there is, once and in full.
fn month_line(stretches: &[Stretch]) -> Option<(BillItem, usize, Used)> {
    let (at, prices) = stretches
        .iter()
        .enumerate()
        .find_map(|(at, stretch)| Some((at, stretch.prices?.1)))?;
    let used = Used {
        tenant_months: 1,
        ..Used::default()
    };
    let has_price = prices.tenant_month > Price::ZERO;
    has_price.then_some((BillItem::TenantMonth, at, used))
}

/// Prices lines, and adds them up by currency.
fn priced(
    found: Vec<(BillItem, usize, Used)>,
    stretches: &[Stretch],
) -> Result<(Vec<BillLine>, Sums), AmountTooHigh> {
    let (mut lines, mut sums) = (Vec::with_capacity(found.len()), BTreeMap::new());
    for (item, stretch, used) in found {
        let prices = stretches.get(stretch).and_then(|stretch| stretch.prices);
        let (mut amounts, mut amount) = (None, None);
        if let Some((_, prices)) = prices {
            let (mut each, mut sum) = ([Amount::default(); 6], Amount::default());
            for (place, meter) in each.iter_mut().zip(Meter::ALL) {
                *place = Amount::of(prices.of(meter), used.of(meter), meter)?;
                sum = sum.plus(*place)?;
            }
            let total: &mut Amount = sums.entry(prices.currency).or_default();
            *total = total.plus(sum)?;
            (amounts, amount) = (Some(each), Some(sum));
        }
        lines.push(BillLine {
            item,
            stretch,
            used,
            amounts,
            amount,
        });
    }
    Ok((lines, sums.into_iter().collect()))
}

fn month(text: Option<&str>, now: Wall) -> Result<Month, ControlError> {
    let present = Month::of(now);
    let Some(text) = text else {
        return Ok(present);
    };
    let month: Month = text
        .parse()
        .map_err(|error: MonthError| ControlError::invalid(Field::Month, error.to_string()))?;
    if month > present {
        let reason = format!("{month} lies ahead: it is {present}, by UTC");
        return Err(ControlError::invalid(Field::Month, reason));
    }
    Ok(month)
}

fn by(text: Option<&str>) -> Result<BillBy, ControlError> {
    match text {
        None | Some("function") => Ok(BillBy::Function),
        Some(text) => match text.strip_prefix("tag:") {
            Some(key) if (1..=128).contains(&key.chars().count()) => {
                Ok(BillBy::Tag(key.to_owned()))
            }
            _ => Err(ControlError::invalid(
                Field::BillBy,
                "lines are made by function, or by tag:KEY with a key of 1 to 128 characters",
            )),
        },
    }
}

fn wrong_marker() -> ControlError {
    ControlError::invalid(Field::Marker, "no bill gave this marker")
}

/// `TENANT`, or behind it what the last line of a page was about.
fn marker_of(tenant: &TenantId, last: Option<&BillItem>) -> String {
    match last {
        None | Some(BillItem::TenantMonth) => tenant.to_string(),
        Some(BillItem::Function(region, name)) => format!("{tenant}/f/{region}/{name}"),
        Some(BillItem::Tag(value)) => format!("{tenant}/v/{value}"),
        Some(BillItem::Untagged) => format!("{tenant}/n/"),
        Some(BillItem::UnknownTags) => format!("{tenant}/u/"),
    }
}

fn read_marker(text: &str) -> Result<(TenantId, Begin), ControlError> {
    let read = || {
        let Some((tenant, rest)) = text.split_once('/') else {
            return Some((tenant_id(text).ok()?, Begin::First));
        };
        let (kind, rest) = rest.split_once('/')?;
        let last = match (kind, rest) {
            ("f", rest) => {
                let (region, name) = rest.split_once('/')?;
                BillItem::Function(region.parse().ok()?, name.parse().ok()?)
            }
            ("v", value) => BillItem::Tag(value.to_owned()),
            ("n", "") => BillItem::Untagged,
            ("u", "") => BillItem::UnknownTags,
            _ => return None,
        };
        Some((tenant_id(tenant).ok()?, Begin::After(last)))
    };
    read().ok_or_else(wrong_marker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back() {
        let tenant: TenantId = "111111111111".parse().unwrap();
        for last in [
            BillItem::Function("us-east-1".parse().unwrap(), "-f_1".parse().unwrap()),
            BillItem::Tag(String::new()),
            BillItem::Tag("a/b/ =".to_owned()),
            BillItem::Untagged,
            BillItem::UnknownTags,
        ] {
            let marker = marker_of(&tenant, Some(&last));
            let read = read_marker(&marker).unwrap();
            assert_eq!(read, (tenant.clone(), Begin::After(last)));
        }
        let first = read_marker(&marker_of(&tenant, None)).unwrap();
        assert_eq!(first, (tenant, Begin::First));
        for bad in [
            "",
            "1",
            "/",
            "111111111111/",
            "111111111111/f",
            "111111111111/f/x",
            "x/n/",
            "111111111111/n/x",
            "111111111111/f/us-east-1/a b",
            "000000000000",
        ] {
            assert!(read_marker(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bill_is_of_a_month_that_has_begun() {
        let now = Wall(1_795_219_200_000_000);
        assert_eq!(month(None, now).unwrap().to_string(), "2026-11");
        assert!(month(Some("2026-11"), now).is_ok());
        for bad in [
            "2026-12",
            "2027-01",
            "2026-13",
            "",
            "november",
            "2026-11-01",
        ] {
            let refused = month(Some(bad), now).unwrap_err();
            assert!(
                matches!(
                    refused,
                    ControlError::Invalid {
                        field: Field::Month,
                        ..
                    }
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn lines_are_made_by_function_or_by_one_tag() {
        assert_eq!(by(None).unwrap(), BillBy::Function);
        assert_eq!(by(Some("function")).unwrap(), BillBy::Function);
        assert_eq!(by(Some("tag:a:b")).unwrap(), BillBy::Tag("a:b".to_owned()));
        let long = format!("tag:{}", "x".repeat(129));
        for bad in ["", "tag", "tag:", "Function", "region", &long] {
            assert!(by(Some(bad)).is_err(), "{bad}");
        }
    }
}
