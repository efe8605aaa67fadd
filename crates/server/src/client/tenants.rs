//! The operator's operations: tenants and their keys.

use super::{Client, ClientError, own::own};
use freehold_api::{KeyRow, NewKey, TenantRow};
use freehold_domain::TenantLimit;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A tenant that was just made, with its first key.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Made {
    /// The tenant.
    pub tenant: TenantRow,
    /// Its key, the secret included.
    pub key: NewKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct One {
    tenant: TenantRow,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tenants {
    tenants: Vec<TenantRow>,
    next_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key<T> {
    key: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    keys: Vec<KeyRow>,
}

impl Client {
    /// Makes a tenant and its first key.
    pub async fn tenant_create(
        &self,
        id: Option<&str>,
        name: Option<&str>,
    ) -> Result<Made, ClientError> {
        let asked = json!({ "TenantId": id, "Name": name });
        self.json(own("CreateTenant", asked)).await
    }

    /// Every tenant of the node.
    pub async fn tenant_list(&self) -> Result<Vec<TenantRow>, ClientError> {
        let (mut all, mut marker) = (Vec::new(), None::<String>);
        loop {
            let page: Tenants = self
                .json(own("ListTenants", json!({ "Marker": marker })))
                .await?;
            all.extend(page.tenants);
            match page.next_marker {
                Some(next) => marker = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// One tenant.
    pub async fn tenant_get(&self, id: &str) -> Result<TenantRow, ClientError> {
        let asked = own("GetTenant", json!({ "TenantId": id }));
        Ok(self.json::<One>(asked).await?.tenant)
    }

    /// Gives a tenant limits of its own; `None` is the node's.
    pub async fn tenant_limits(
        &self,
        id: &str,
        limits: &[(TenantLimit, Option<u64>)],
    ) -> Result<TenantRow, ClientError> {
        let mut asked = Map::from_iter([("TenantId".to_owned(), json!(id))]);
        for (limit, value) in limits {
            asked.insert(limit.row().wire(), json!(value));
        }
        let set: One = self
            .json(own("SetTenantLimits", Value::Object(asked)))
            .await?;
        Ok(set.tenant)
    }

    /// Disables a tenant or enables it again.
    pub async fn tenant_enable(&self, id: &str, enabled: bool) -> Result<TenantRow, ClientError> {
        let operation = if enabled {
            "EnableTenant"
        } else {
            "DisableTenant"
        };
        let set: One = self.json(own(operation, json!({ "TenantId": id }))).await?;
        Ok(set.tenant)
    }

    /// Makes a further key for a tenant.
    pub async fn key_create(&self, tenant: &str) -> Result<NewKey, ClientError> {
        let asked = own("CreateKey", json!({ "TenantId": tenant }));
        Ok(self.json::<Key<NewKey>>(asked).await?.key)
    }

    /// The keys of one tenant, or of all.
    pub async fn key_list(&self, tenant: Option<&str>) -> Result<Vec<KeyRow>, ClientError> {
        let asked = own("ListKeys", json!({ "TenantId": tenant }));
        Ok(self.json::<Keys>(asked).await?.keys)
    }

    /// Makes a key that takes another's place.
    pub async fn key_rotate(
        &self,
        id: &str,
        overlap_s: Option<u64>,
    ) -> Result<NewKey, ClientError> {
        let asked = json!({ "AccessKeyId": id, "OverlapSeconds": overlap_s });
        Ok(self.json::<Key<NewKey>>(own("RotateKey", asked)).await?.key)
    }

    /// Disables a key or enables it again.
    pub async fn key_enable(&self, id: &str, enabled: bool) -> Result<KeyRow, ClientError> {
        let operation = if enabled { "EnableKey" } else { "DisableKey" };
        let asked = own(operation, json!({ "AccessKeyId": id }));
        Ok(self.json::<Key<KeyRow>>(asked).await?.key)
    }
}
