//! Tenants and their keys, for the node's operator.

use super::{Answer, read, write};
use crate::{Api, audit::About, lambda::explain_plain};
use freehold_control::{
    Control, ControlError,
    bootstrap::PlainKey,
    tenants::{LimitsChange, NewTenant},
};
use freehold_domain::{
    Principal, TenantId, TenantLimit, Wall,
    record::{AccessKeyV2, TenantV2},
    tenant_limits::TENANT_LIMITS,
};
use freehold_identity::policy::Action;
use freehold_wire::{ApiError, common};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// A tenant, for `freehold tenants`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TenantRow {
    /// Its id.
    pub tenant_id: String,
    /// What the operator calls it.
    pub name: Option<String>,
    /// Whether its root keys manage the others.
    pub operator: bool,
    /// Whether anything of it is signed, run or served.
    pub enabled: bool,
    /// When it was made, ms since 1970.
    pub created_ms: i64,
    /// The limits that hold for it; null is as many as there is room for.
    pub limits: LimitsRow,
    /// Those of them that are its own.
    pub own_limits: LimitsRow,
}

/// Limits of a tenant by their names, [`LimitRow::wire`](freehold_domain::tenant_limits::LimitRow::wire); null is none.
pub type LimitsRow = BTreeMap<String, Option<u64>>;

/// A key without its secret, for `freehold keys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyRow {
    /// Its id.
    pub access_key_id: String,
    /// Whose.
    pub tenant_id: String,
    /// `active`, `ending`, `ended` or `disabled`.
    pub state: String,
    /// When it was made, ms since 1970.
    pub created_ms: i64,
    /// When it stops signing on its own, ms since 1970.
    pub ends_ms: Option<i64>,
}

/// A key that was just made. It has no `Debug`: this is the one time that its secret is told.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NewKey {
    /// Its id.
    pub access_key_id: String,
    /// Its secret half.
    pub secret_access_key: String,
    /// Whose.
    pub tenant_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Create {
    tenant_id: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {
    marker: Option<String>,
    max_items: Option<usize>,
}

/// What is left out stays; what is `null` goes back to the node's.
#[derive(Deserialize)]
struct SetLimits {
    #[serde(rename = "TenantId")]
    tenant_id: String,
    #[serde(flatten)]
    limits: BTreeMap<String, Option<u64>>,
}

impl SetLimits {
    /// Errors: a name that is no limit's.
    fn change(&self) -> Result<LimitsChange, ApiError> {
        let known: HashMap<String, TenantLimit> = TENANT_LIMITS
            .iter()
            .map(|row| (row.wire(), row.limit))
            .collect();
        let pairs = self.limits.iter();
        let read = pairs.map(|(name, value)| match known.get(name) {
            Some(limit) => Ok((*limit, *value)),
            None => {
                let shown: String = name.chars().take(64).collect();
                Err(common::serialization(format!(
                    "there is no limit {shown:?}"
                )))
            }
        });
        read.collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OfTenant {
    tenant_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListKeys {
    tenant_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OfKey {
    access_key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rotate {
    access_key_id: String,
    overlap_seconds: Option<u64>,
}

/// The operations of this file, as policies write them.
pub(super) fn action(operation: &str) -> Option<Action> {
    Some(Action(match operation {
        "CreateTenant" => "freehold:CreateTenant",
        "GetTenant" => "freehold:GetTenant",
        "ListTenants" => "freehold:ListTenants",
        "SetTenantLimits" => "freehold:SetTenantLimits",
        "DisableTenant" => "freehold:DisableTenant",
        "EnableTenant" => "freehold:EnableTenant",
        "CreateKey" => "freehold:CreateKey",
        "ListKeys" => "freehold:ListKeys",
        "RotateKey" => "freehold:RotateKey",
        "DisableKey" => "freehold:DisableKey",
        "EnableKey" => "freehold:EnableKey",
        _ => return None,
    }))
}

/// Carries one out. Only the operator gets past `control`.
pub(super) async fn answer(
    api: &Api,
    who: &Principal,
    operation: &str,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let control = &*api.control;
    let now = api.clock.wall();
    let refused = |error: ControlError| explain_plain(error);
    let mut about = None;
    let value = match operation {
        "CreateTenant" => {
            let Create { tenant_id, name } = read(body)?;
            let id = tenant_id;
            let made = control.tenant_create(who, NewTenant { id, name }).await;
            let (tenant, key) = made.map_err(refused)?;
            about = makes(&key, &format!("{}/{}", tenant.id, key.id));
            json!({ "Tenant": tenant_row(control, &tenant), "Key": new_key(key) })
        }
        "ListTenants" => {
            let List { marker, max_items } = read(body)?;
            let page = control.tenant_list(who, marker.as_deref(), max_items).await;
            let page = page.map_err(refused)?;
            let row = |tenant: &TenantV2| tenant_row(control, tenant);
            let rows: Vec<TenantRow> = page.items.iter().map(row).collect();
            json!({ "Tenants": rows, "NextMarker": page.next })
        }
        "GetTenant" => {
            let OfTenant { tenant_id } = read(body)?;
            let tenant = control.tenant_get(who, &tenant_id).await;
            json!({ "Tenant": tenant_row(control, &tenant.map_err(refused)?) })
        }
        "SetTenantLimits" => {
            let asked: SetLimits = read(body)?;
            let change = asked.change()?;
            let set = control.tenant_limits_set(who, &asked.tenant_id, change);
            let tenant = set.await.map_err(refused)?;
            about = changes(&tenant.id);
            json!({ "Tenant": tenant_row(control, &tenant) })
        }
        "DisableTenant" | "EnableTenant" => {
            let OfTenant { tenant_id } = read(body)?;
            let set = control.tenant_enable(who, &tenant_id, operation == "EnableTenant");
            let tenant = set.await.map_err(refused)?;
            about = changes(&tenant.id);
            json!({ "Tenant": tenant_row(control, &tenant) })
        }
        "CreateKey" => {
            let OfTenant { tenant_id } = read(body)?;
            let key = control.key_create(who, &tenant_id).await;
            let key = key.map_err(refused)?;
            about = makes(&key, &format!("{}/{}", key.tenant, key.id));
            json!({ "Key": new_key(key) })
        }
        "ListKeys" => {
            let ListKeys { tenant_id } = read(body)?;
            let keys = control.key_list(who, tenant_id.as_deref()).await;
            let keys = keys.map_err(refused)?;
            let rows: Vec<KeyRow> = keys.iter().map(|key| key_row(key, now)).collect();
            json!({ "Keys": rows })
        }
        "RotateKey" => {
            let asked: Rotate = read(body)?;
            let overlap = asked.overlap_seconds.map(Duration::from_secs);
            let key = control.key_rotate(who, &asked.access_key_id, overlap).await;
            let key = key.map_err(refused)?;
            about = makes(&key, &format!("{} -> {}", asked.access_key_id, key.id));
            json!({ "Key": new_key(key) })
        }
        _ => {
            let OfKey { access_key_id } = read(body)?;
            let set = control.key_enable(who, &access_key_id, operation == "EnableKey");
            let key = set.await.map_err(refused)?;
            about = changes(&key.tenant);
            json!({ "Key": key_row(&key, now) })
        }
    };
    Ok(Answer {
        about,
        ..Answer::from(write(&value))
    })
}

/// A change of what the call named, for the audit trail.
fn changes(tenant: &TenantId) -> Option<About> {
    Some(About {
        tenant: tenant.clone(),
        resource: None,
    })
}

/// A new key, for the audit trail: the call could not name it.
fn makes(key: &PlainKey, resource: &str) -> Option<About> {
    Some(About {
        tenant: key.tenant.clone(),
        resource: Some(resource.to_owned()),
    })
}

fn tenant_row(control: &Control, tenant: &TenantV2) -> TenantRow {
    let rows = |value: &dyn Fn(TenantLimit) -> Option<u64>| -> LimitsRow {
        let rows = TENANT_LIMITS.iter();
        rows.map(|row| (row.wire(), value(row.limit))).collect()
    };
    TenantRow {
        tenant_id: tenant.id.to_string(),
        name: tenant.name.clone(),
        operator: tenant.is_operator,
        enabled: tenant.enabled,
        created_ms: tenant.created.millis(),
        limits: rows(&|limit| control.limit_of(tenant, limit)),
        own_limits: rows(&|limit| tenant.limits.own(limit)),
    }
}

fn new_key(key: PlainKey) -> NewKey {
    NewKey {
        access_key_id: key.id,
        secret_access_key: key.secret,
        tenant_id: key.tenant.to_string(),
    }
}

fn key_row(key: &AccessKeyV2, now: Wall) -> KeyRow {
    let state = match (key.enabled, key.ends) {
        (false, _) => "disabled",
        (true, None) => "active",
        (true, Some(end)) if end > now => "ending",
        (true, Some(_)) => "ended",
    };
    KeyRow {
        access_key_id: key.id.clone(),
        tenant_id: key.tenant.to_string(),
        state: state.to_owned(),
        created_ms: key.created.millis(),
        ends_ms: key.ends.map(Wall::millis),
    }
}
