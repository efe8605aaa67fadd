//! Log groups: their records; the lines live in the store's segments.

use crate::{Control, ControlError, Field, Page, Place, Resource, rules, store};
use freehold_domain::{
    Principal, TenantId, TenantLimit, TenantLimits, Wall,
    logs::LogGroupName,
    ports::{Expect, Op, Records},
    record::{self, Key, KeyPrefix, Kind, LogGroupV1, TenantV2},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Groups on one page at the most. Source: CloudWatch Logs API reference, DescribeLogGroups.
pub const GROUPS_PAGE_MAX: usize = 50;

/// Days for which lines may be kept. Source: CloudWatch Logs API reference, PutRetentionPolicy.
pub const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// How often the streams of a tenant with too many logs are looked through at a time.
const TRIM_ROUNDS: usize = 8;

/// A group and what is stored of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its record.
    pub group: LogGroupV1,
    /// Bytes that its lines take in the store.
    pub stored_bytes: u64,
}

fn key(place: &Place, name: &str) -> Key {
    Key::log_group(&place.tenant, &place.region, name)
}

fn group_name(place: &Place, name: &str) -> LogGroupName {
    LogGroupName {
        tenant: place.tenant.clone(),
        region: place.region.clone(),
        group: name.to_owned(),
    }
}

/// Groups on their way into the store: who looks for one of them waits for it.
#[derive(Debug, Default)]
pub(crate) struct GroupsComing(Mutex<HashMap<Key, watch::Receiver<()>>>);

/// A group on its way, until dropped.
struct Coming {
    all: Arc<GroupsComing>,
    key: Key,
    _done: watch::Sender<()>,
}

impl GroupsComing {
    fn begin(self: &Arc<Self>, key: Key) -> Coming {
        let (done, waits) = watch::channel(());
        self.0.lock().insert(key.clone(), waits);
        Coming {
            all: self.clone(),
            key,
            _done: done,
        }
    }

    /// Resolves once those that are on their way now have come, or failed to.
    async fn settled(&self, which: impl Fn(&Key) -> bool) {
        let found: Vec<_> = {
            let coming = self.0.lock();
            let found = coming.iter().filter(|(key, _)| which(key));
            found.map(|(_, waits)| waits.clone()).collect()
        };
        for mut waits in found {
            // Nothing is ever sent: the sender goes.
            let _ = waits.changed().await;
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.key);
    }
}

impl Control {
    /// Makes a group unless it is there; what the first line of a function asks for. From this
    /// call on, not from the first poll, whoever lists or reads groups waits for it.
    pub fn log_group_ensure(
        self: &Arc<Self>,
        who: &Principal,
        place: &Place,
        name: &str,
    ) -> impl Future<Output = Result<(), ControlError>> + Send + use<> {
        let coming = self.groups_coming.begin(key(place, name));
        let (control, who) = (self.clone(), who.clone());
        let (place, name) = (place.clone(), name.to_owned());
        async move {
            let made = control.log_group_make(&who, &place, &name).await;
            drop(coming);
            made
        }
    }

    async fn log_group_make(
        &self,
        who: &Principal,
        place: &Place,
        name: &str,
    ) -> Result<(), ControlError> {
        rules::log_group(name)?;
        let key = key(place, name);
        if Records::get(&*self.storage, who, &key).await?.is_some() {
            return Ok(());
        }
        let group = LogGroupV1 {
            name: name.to_owned(),
            created: self.clock.wall(),
            retention_days: None,
        };
        // Lost to another writer means that it is there.
        self.try_commit(who, vec![store::put(key, Expect::Absent, &group)])
            .await?;
        Ok(())
    }

    /// Groups whose names begin with `prefix`, by name.
    ///
    /// Errors: [`ControlError::Denied`]. A marker is the last name of the page before.
    pub async fn log_group_list(
        &self,
        who: &Principal,
        place: &Place,
        prefix: &str,
        marker: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<DescribedGroup>, ControlError> {
        Self::reaches(who, &place.tenant)?;
        let limit = limit.unwrap_or(GROUPS_PAGE_MAX).clamp(1, GROUPS_PAGE_MAX);
        let here = |key: &Key| *key.tenant() == place.tenant && *key.region() == place.region;
        self.groups_coming.settled(here).await;
        let all = KeyPrefix::kind(&place.tenant, &place.region, Kind::LogGroup);
        let mut after = marker.map(|name| key(place, name));
        let mut items: Vec<DescribedGroup> = Vec::new();
        let mut next = None;
        'pages: loop {
            let found = self
                .storage
                .list(who, &all, after.as_ref(), store::LIST_CHUNK)
                .await?;
            for stored in &found {
                let group: LogGroupV1 = record::decode(&stored.bytes)?;
                if !group.name.starts_with(prefix) {
                    continue;
                }
                if items.len() == limit {
                    next = items.last().map(|last| last.group.name.clone());
                    break 'pages;
                }
                let name = group_name(place, &group.name);
                let stored_bytes = self.storage.group_bytes(who, &name).await?;
                items.push(DescribedGroup {
                    group,
                    stored_bytes,
                });
            }
            match found.last() {
                Some(last) if found.len() == store::LIST_CHUNK => after = Some(last.key.clone()),
                _ => break,
            }
        }
        Ok(Page { items, next })
    }

    /// One group's record.
    ///
    /// Errors: [`ControlError::NotFound`].
    pub async fn log_group_get(
        &self,
        who: &Principal,
        place: &Place,
        name: &str,
    ) -> Result<LogGroupV1, ControlError> {
        let key = key(place, name);
        self.groups_coming.settled(|coming| *coming == key).await;
        let found = self.read::<LogGroupV1>(who, &key).await?;
        found
            .map(|group| group.record)
            .ok_or_else(|| ControlError::not_found(Resource::LogGroup, rules::cut(name)))
    }

    /// Sets for how many days lines are kept; `None` for ever.
    ///
    /// Errors: [`ControlError::NotFound`]; [`ControlError::Invalid`] for a number that is none of
    /// [`RETENTION_DAYS`].
    pub async fn log_group_retention(
        &self,
        who: &Principal,
        place: &Place,
        name: &str,
        days: Option<u32>,
    ) -> Result<(), ControlError> {
        if let Some(days) = days.filter(|days| !RETENTION_DAYS.contains(days)) {
            let reason = format!("{days} days are none of {RETENTION_DAYS:?}");
            return Err(ControlError::invalid(Field::LogRetention, reason));
        }
        let key = key(place, name);
        self.groups_coming.settled(|coming| *coming == key).await;
        let mut attempts = self.turns.attempts(&place.tenant);
        while let Some(_turn) = attempts.next().await {
            let Some(present) = self.read::<LogGroupV1>(who, &key).await? else {
                let name = rules::cut(name);
                return Err(ControlError::not_found(Resource::LogGroup, name));
            };
            let expect = present.expect();
            let mut group = present.record;
            group.retention_days = days;
            let ops = vec![store::put(key.clone(), expect, &group)];
            if self.try_commit(who, ops).await? {
                return Ok(());
            }
        }
        Err(ControlError::Contended { name: name.into() })
    }

    /// Deletes a group with its lines: the lines first, so that a crash between leaves a group
    /// that can be deleted again, and no lines that belong to none.
    ///
    /// Errors: [`ControlError::NotFound`].
    pub async fn log_group_delete(
        &self,
        who: &Principal,
        place: &Place,
        name: &str,
    ) -> Result<(), ControlError> {
        self.log_group_get(who, place, name).await?;
        self.storage
            .remove_group(who, &group_name(place, name))
            .await?;
        let gone = Op::Delete {
            key: key(place, name),
            expect: Expect::Any,
        };
        self.try_commit(who, vec![gone]).await?;
        Ok(())
    }

    /// Removes lines that are past their group's retention or their tenant's log age, and the oldest
    /// streams of tenants whose logs take more than they may; says how many streams the store removed.
    ///
    /// Errors: the first of a group's, once all have had their turn.
    pub async fn log_groups_expire(&self) -> Result<u64, ControlError> {
        let platform = Principal::platform("logs");
        let now = self.clock.wall();
        let (mut after, mut removed, mut failed) = (None, 0, None);
        let mut own: HashMap<TenantId, TenantLimits> = HashMap::new();
        let mut full: BTreeMap<TenantId, Stored> = BTreeMap::new();
        loop {
            let found = self
                .storage
                .list_all(&platform, Kind::LogGroup, after.as_ref(), store::LIST_CHUNK)
                .await?;
            for stored in &found {
                let group: LogGroupV1 = record::decode(&stored.bytes)?;
                let tenant = stored.key.tenant();
                let limits = match own.get(tenant) {
                    Some(known) => *known,
                    None => {
                        let key = Key::tenant_record(tenant);
                        // What does not read has no limits of its own; the engine's log names it.
                        let read = self.read::<TenantV2>(&platform, &key).await.ok().flatten();
                        let limits = read.map(|read| read.record.limits).unwrap_or_default();
                        own.insert(tenant.clone(), limits);
                        limits
                    }
                };
                let name = LogGroupName {
                    tenant: tenant.clone(),
                    region: stored.key.region().clone(),
                    group: group.name,
                };
                if let Some(kept) = kept(group.retention_days, limits.own(TenantLimit::LogAge)) {
                    // One file that cannot be read is in nobody else's way.
                    match self
                        .storage
                        .expire(&platform, &name, before(now, kept))
                        .await
                    {
                        Ok(count) => removed += count,
                        Err(error) => failed = failed.or(Some(error.into())),
                    }
                }
                if let Some(most) = limits.own(TenantLimit::StoredLogs) {
                    match self.storage.group_bytes(&platform, &name).await {
                        Ok(bytes) => {
                            let stored = full.entry(tenant.clone()).or_insert(Stored::of(most));
                            stored.bytes += bytes;
                            stored.groups.push(name);
                        }
                        Err(error) => failed = failed.or(Some(error.into())),
                    }
                }
            }
            match found.last() {
                Some(last) if found.len() == store::LIST_CHUNK => after = Some(last.key.clone()),
                _ => break,
            }
        }
        for stored in full
            .into_values()
            .filter(|stored| stored.bytes > stored.most)
        {
            match self.logs_trim(&platform, stored).await {
                Ok(count) => removed += count,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    /// Removes the oldest streams of a tenant until the rest takes no more than it may. Streams that
    /// are written to stay, so that what an instance says is never torn; others go in their place.
    async fn logs_trim(&self, platform: &Principal, stored: Stored) -> Result<u64, ControlError> {
        let Stored {
            most,
            mut bytes,
            groups,
        } = stored;
        let (mut from, mut removed) = (Wall(i64::MIN), 0);
        for _ in 0..TRIM_ROUNDS {
            let aim = bytes.saturating_sub(most);
            let until = self.oldest_until(platform, &groups, from, aim);
            let Some(until) = until.await? else {
                break;
            };
            // What is left of those before it is written to.
            (from, bytes) = (until, 0);
            for group in &groups {
                removed += self.storage.expire(platform, group, until).await?;
                bytes += self.storage.group_bytes(platform, group).await?;
            }
            if bytes <= most {
                break;
            }
        }
        if let Some(group) = groups.first().filter(|_| removed > 0) {
            let tenant = &group.tenant;
            tracing::info!(%tenant, most, removed, "logs beyond their tenant's limit were removed");
        }
        Ok(removed)
    }

    /// The moment before which the oldest streams of these groups had their last lines, of those with
    /// lines since `from`; so many that they take `aim` bytes together, or all.
    async fn oldest_until(
        &self,
        platform: &Principal,
        groups: &[LogGroupName],
        from: Wall,
        aim: u64,
    ) -> Result<Option<Wall>, ControlError> {
        let (mut oldest, mut held) = (BinaryHeap::<(Wall, u64)>::new(), 0);
        for group in groups {
            let mut after: Option<String> = None;
            loop {
                let page = self
                    .storage
                    .streams(platform, group, "", after.as_deref(), store::LIST_CHUNK)
                    .await?;
                for stream in &page {
                    let last = stream.last.unwrap_or(stream.created);
                    if last < from {
                        continue;
                    }
                    oldest.push((last, stream.bytes));
                    held += stream.bytes;
                    // The newest goes out as long as the others are enough.
                    while let Some((_, bytes)) = oldest.peek()
                        && held - bytes >= aim
                    {
                        held -= bytes;
                        oldest.pop();
                    }
                }
                match page.last() {
                    Some(last) if page.len() == store::LIST_CHUNK => {
                        after = Some(last.name.clone());
                    }
                    _ => break,
                }
            }
        }
        let newest = oldest.peek().map(|(last, _)| *last);
        Ok(newest.map(|last| Wall(last.0.saturating_add(1))))
    }
}

/// The logs of a tenant that has a limit for them.
struct Stored {
    most: u64,
    bytes: u64,
    groups: Vec<LogGroupName>,
}

impl Stored {
    fn of(most: u64) -> Self {
        Self {
            most,
            bytes: 0,
            groups: Vec::new(),
        }
    }
}

/// How long lines are kept: as the group or the tenant's limit says, whichever is shorter.
fn kept(retention_days: Option<u32>, log_age_s: Option<u64>) -> Option<Duration> {
    let days = retention_days.map(|days| u64::from(days) * 86_400);
    let shorter = match (days, log_age_s) {
        (Some(days), Some(age)) => Some(days.min(age)),
        (days, age) => days.or(age),
    };
    shorter.map(Duration::from_secs)
}

fn before(now: Wall, span: Duration) -> Wall {
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Wall(now.0.saturating_sub(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_of_retention_and_log_age_holds() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!(kept(None, None), None);
        assert_eq!(kept(Some(3), None), days(3));
        assert_eq!(kept(None, Some(86_400)), days(1));
        assert_eq!(kept(Some(3), Some(86_400)), days(1));
        assert_eq!(kept(Some(3), Some(9 * 86_400)), days(3));
        assert_eq!(before(Wall(5), Duration::MAX), Wall(5 - i64::MAX));
    }
}
