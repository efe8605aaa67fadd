//! The node's tenants, as its operator manages them: made, listed, limited, disabled.
//!
//! The operator is the tenant of the first start; nobody else's key may do any of this. What is
//! written here is in force when the call returns: the engine, the queue and whoever checks
//! signatures follow the store's watch.

use crate::{
    Control, ControlError, Field, Limit, Page, Place, Resource,
    bootstrap::{PlainKey, draw_key, draw_tenant_id},
    store::{self, LIST_CHUNK, Versioned},
};
use freehold_domain::{
    Principal, TenantId, TenantLimit,
    limits::Limits,
    ports::{Expect, Op},
    record::{Key, Kind, TenantV2},
    tenant_limits::Beside,
};

/// Tenants of a node, the operator among them.
pub const TENANTS_MAX: u64 = 10_000;
/// Longest name of a tenant, in characters.
pub const TENANT_NAME_CHARS_MAX: usize = 64;
/// Tenants in one page of a listing.
pub const TENANTS_PAGE_MAX: usize = 1000;

/// A tenant to be made.
#[derive(Debug, Clone, Default)]
pub struct NewTenant {
    /// Its id; a random one where it is not given.
    pub id: Option<String>,
    /// What the operator calls it.
    pub name: Option<String>,
}

/// Which of a tenant's limits to change; none goes back to the node's.
pub type LimitsChange = Vec<(TenantLimit, Option<u64>)>;

/// On whose behalf other tenants' records are read and written, once the operator has asked.
pub(crate) fn platform() -> Principal {
    Principal::platform("tenants")
}

impl Control {
    /// What holds for a tenant; none is as many as there is room for.
    pub fn limit_of(&self, tenant: &TenantV2, limit: TenantLimit) -> Option<u64> {
        tenant.limits.holds(limit, &self.limits.now())
    }

    /// The ceilings that hold for a stored tenant.
    ///
    /// Errors: [`ControlError::NotFound`].
    pub(crate) async fn limits_of(
        &self,
        who: &Principal,
        tenant: &TenantId,
    ) -> Result<Limits, ControlError> {
        let tenant = self.tenant(who, tenant).await?;
        Ok(tenant.record.limits.over(&self.limits.now()))
    }

    /// One tenant.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`].
    pub async fn tenant_get(&self, who: &Principal, id: &str) -> Result<TenantV2, ControlError> {
        self.operator(who).await?;
        Ok(self.tenant(&platform(), &tenant_id(id)?).await?.record)
    }

    pub(crate) async fn tenant(
        &self,
        who: &Principal,
        id: &TenantId,
    ) -> Result<Versioned<TenantV2>, ControlError> {
        self.read(who, &Key::tenant_record(id))
            .await?
            .ok_or_else(|| ControlError::not_found(Resource::Tenant, id))
    }

    /// The operator's record, when it is the operator who asks.
    ///
    /// Errors: [`ControlError::NotOperator`].
    pub(crate) async fn operator(
        &self,
        who: &Principal,
    ) -> Result<Versioned<TenantV2>, ControlError> {
        let Principal::Root { tenant, .. } = who else {
            return Err(ControlError::NotOperator);
        };
        let found = self.read(who, &Key::tenant_record(tenant)).await?;
        found
            .filter(|found: &Versioned<TenantV2>| found.record.is_operator)
            .ok_or(ControlError::NotOperator)
    }

    /// Lets the node's operator pass.
    ///
    /// Errors: [`ControlError::NotOperator`] for everybody else, the store's.
    pub async fn require_operator(&self, who: &Principal) -> Result<(), ControlError> {
        self.operator(who).await.map(drop)
    }

    /// Makes a tenant and its first key, whose secret is told here and never again.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::SharedUid`] on a node that keeps none
    /// apart, [`ControlError::Invalid`] for an id or a name that cannot be,
    /// [`ControlError::AlreadyExists`], [`ControlError::LimitExceeded`] past [`TENANTS_MAX`].
    pub async fn tenant_create(
        &self,
        who: &Principal,
        new: NewTenant,
    ) -> Result<(TenantV2, PlainKey), ControlError> {
        let operator = self.operator(who).await?;
        if self.refuses_tenants {
            return Err(ControlError::SharedUid);
        }
        let given = new.id.as_deref().map(tenant_id).transpose()?;
        let name = new.name.map(checked_name).transpose()?;
        let mut attempts = self.turns.attempts(&operator.record.id);
        while let Some(_turn) = attempts.next().await {
            let operator = self.operator(who).await?;
            if self.tenants_count().await? >= TENANTS_MAX {
                return Err(ControlError::LimitExceeded {
                    limit: Limit::Tenants,
                    max: TENANTS_MAX,
                });
            }
            let id = match &given {
                Some(id) => id.clone(),
                None => draw_tenant_id()?,
            };
            let key = Key::tenant_record(&id);
            let is_taken = self.read::<TenantV2>(&platform(), &key).await?.is_some();
            if is_taken && given.is_some() {
                return Err(ControlError::AlreadyExists {
                    what: Resource::Tenant,
                    name: id.to_string(),
                });
            }
            let created = self.clock.wall();
            let regions = operator.record.regions.clone();
            let tenant = TenantV2 {
                name: name.clone(),
                ..TenantV2::new(id, regions, created)
            };
            let (plain, sealed) = draw_key(&tenant.id, created, &*self.sealer)?;
            let ops = vec![
                store::put(key, Expect::Absent, &tenant),
                store::put(Key::access_key(&plain.id), Expect::Absent, &sealed),
                // Two that are made at once would each see room for itself: both write this one
                // too, so that the second looks again.
                put_back(&operator),
            ];
            if self.try_commit(&platform(), ops).await? {
                return Ok((tenant, plain));
            }
        }
        Err(ControlError::Contended {
            name: "the node's tenants".into(),
        })
    }

    async fn tenants_count(&self) -> Result<u64, ControlError> {
        let (mut count, mut after) = (0, None::<Key>);
        loop {
            let page = self
                .storage
                .list_all(&platform(), Kind::Tenant, after.as_ref(), LIST_CHUNK)
                .await?;
            count += page.len() as u64;
            match page.last() {
                Some(last) if page.len() == LIST_CHUNK => after = Some(last.key.clone()),
                _ => return Ok(count),
            }
        }
    }

    /// The tenants by id, up to `limit` and [`TENANTS_PAGE_MAX`].
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::Invalid`] for a marker that no page
    /// gave.
    pub async fn tenant_list(
        &self,
        who: &Principal,
        marker: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<TenantV2>, ControlError> {
        self.operator(who).await?;
        let limit = limit.unwrap_or(TENANTS_PAGE_MAX).clamp(1, TENANTS_PAGE_MAX);
        let wrong = |_| ControlError::invalid(Field::Marker, "no listing gave this marker");
        let after = marker.map(|id| id.parse().map_err(wrong)).transpose()?;
        let after = after.map(|id| Key::tenant_record(&id));
        let found = self
            .storage
            .list_all(&platform(), Kind::Tenant, after.as_ref(), limit + 1)
            .await?;
        let page = &found[..found.len().min(limit)];
        let more = page.last().filter(|_| found.len() > limit);
        Ok(Page {
            next: more.map(|last| last.key.tenant().to_string()),
            items: page.iter().filter_map(store::readable).collect(),
        })
    }

    /// Gives a tenant limits of its own, or the node's back. What runs beyond a lower one ends on
    /// its own; what is stored beyond it stays, but for logs.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`],
    /// [`ControlError::OutOfRange`], also for a value above the node's where that binds it.
    pub async fn tenant_limits_set(
        &self,
        who: &Principal,
        id: &str,
        change: LimitsChange,
    ) -> Result<TenantV2, ControlError> {
        let node = self.limits.now();
        self.tenant_change(who, id, |tenant| {
            for (limit, value) in &change {
                let row = limit.row();
                let max = match (row.beside, (row.preset)(&node)) {
                    (Beside::Below, Some(node)) => row.most.min(node),
                    _ => row.most,
                };
                let given = value.unwrap_or(max);
                if !(row.least..=max).contains(&given) {
                    return Err(ControlError::OutOfRange {
                        field: Field::TenantLimit(*limit),
                        value: given,
                        min: row.least,
                        max,
                    });
                }
                tenant.limits.set(*limit, *value);
            }
            Ok(())
        })
        .await
    }

    /// Disables a tenant, or enables it again. A disabled one keeps all that it has.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`], [`ControlError::Needed`]
    /// for the operator's own.
    pub async fn tenant_enable(
        &self,
        who: &Principal,
        id: &str,
        enabled: bool,
    ) -> Result<TenantV2, ControlError> {
        self.tenant_change(who, id, |tenant| {
            if tenant.is_operator && !enabled {
                return Err(ControlError::Needed {
                    what: Resource::Tenant,
                    name: tenant.id.to_string(),
                });
            }
            tenant.enabled = enabled;
            Ok(())
        })
        .await
    }

    async fn tenant_change(
        &self,
        who: &Principal,
        id: &str,
        change: impl Fn(&mut TenantV2) -> Result<(), ControlError>,
    ) -> Result<TenantV2, ControlError> {
        self.operator(who).await?;
        let id = tenant_id(id)?;
        let mut attempts = self.turns.attempts(&id);
        while let Some(_turn) = attempts.next().await {
            let present = self.tenant(&platform(), &id).await?;
            let expect = present.expect();
            let mut tenant = present.record;
            change(&mut tenant)?;
            let ops = vec![store::put(Key::tenant_record(&id), expect, &tenant)];
            if self.try_commit(&platform(), ops).await? {
                return Ok(tenant);
            }
        }
        Err(ControlError::Contended {
            name: id.to_string(),
        })
    }

    /// Whether an account may have one more function; the write that keeps two from taking the same
    /// last place, where there is a limit at all.
    ///
    /// Errors: [`ControlError::LimitExceeded`].
    pub(crate) async fn function_room(
        &self,
        who: &Principal,
        place: &Place,
        publishes: bool,
    ) -> Result<Option<Op>, ControlError> {
        let wants: &[_] = match publishes {
            true => &[TenantLimit::Functions, TenantLimit::Versions],
            false => &[TenantLimit::Functions],
        };
        self.room_for(who, place, wants).await
    }

    /// The same of one more version.
    ///
    /// Errors: [`ControlError::LimitExceeded`].
    pub(crate) async fn version_room(
        &self,
        who: &Principal,
        place: &Place,
    ) -> Result<Option<Op>, ControlError> {
        self.room_for(who, place, &[TenantLimit::Versions]).await
    }

    async fn room_for(
        &self,
        who: &Principal,
        place: &Place,
        wants: &[TenantLimit],
    ) -> Result<Option<Op>, ControlError> {
        let tenant = self.tenant(who, &place.tenant).await?;
        let own = |limit: &TenantLimit| Some((*limit, tenant.record.limits.own(*limit)?));
        let bound: Vec<(TenantLimit, u64)> = wants.iter().filter_map(own).collect();
        if bound.is_empty() {
            return Ok(None);
        }
        let has = self.account_usage(who, place).await?;
        for (limit, max) in bound {
            let (used, limit) = match limit {
                TenantLimit::Versions => (has.versions, Limit::Versions),
                _ => (has.functions, Limit::Functions),
            };
            if used >= max {
                return Err(ControlError::LimitExceeded { limit, max });
            }
        }
        Ok(Some(put_back(&tenant)))
    }
}

/// A write of a tenant's record as it is: whoever read it before has to look again.
pub(crate) fn put_back(tenant: &Versioned<TenantV2>) -> Op {
    store::put(
        Key::tenant_record(&tenant.record.id),
        tenant.expect(),
        &tenant.record,
    )
}

/// Reads a tenant's id; the platform's own is nobody's.
pub(crate) fn tenant_id(text: &str) -> Result<TenantId, ControlError> {
    match text.parse::<TenantId>() {
        Ok(id) if id != TenantId::platform() => Ok(id),
        _ => Err(ControlError::invalid(
            Field::TenantId,
            "a tenant's id is 12 digits, not all of them 0",
        )),
    }
}

/// A name that can stand in a table and a log line: it shows as what it is.
fn checked_name(name: String) -> Result<String, ControlError> {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let length = name.chars().count();
    if length == 0 || length > TENANT_NAME_CHARS_MAX || name.trim() != name || name.contains(unseen)
    {
        return Err(ControlError::invalid(
            Field::TenantName,
            format!(
                "a tenant's name has 1 to {TENANT_NAME_CHARS_MAX} characters that can be seen, \
                 and no blank at its ends"
            ),
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_as_what_it_is() {
        let fits = "x".repeat(64);
        for good in [
            "Orders",
            "Bücher & Söhne",
            "経理",
            "a b",
            "🙂",
            fits.as_str(),
        ] {
            assert!(checked_name(good.into()).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a\nb",
            "a\u{1b}[2J",
            "a\u{7f}",
            "a\u{9b}",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "\u{feff}a",
            "a\u{2028}b",
            "a\u{e0041}",
            long.as_str(),
        ] {
            assert!(checked_name(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_platforms_id_is_nobodys() {
        assert!(tenant_id("000000000001").is_ok());
        for bad in [
            "000000000000",
            "",
            "11111111111",
            "1111111111111",
            "11111111111a",
            "１１１１１１１１１１１１",
        ] {
            assert!(tenant_id(bad).is_err(), "{bad}");
        }
    }
}
