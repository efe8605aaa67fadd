//! Prices and bills.

use super::{Client, ClientError, own::own};
use freehold_api::{BillRow, PriceChangeRow};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Prices to be set, as decimal numbers; what is left out stays. The time is ms since the epoch.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PricesToSet {
    /// Of this tenant; without it, the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// From when on; without it, from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// The currency's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// A tenant, for a calendar month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_month: Option<String>,
    /// An invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
    /// A GB for a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gb_second: Option<String>,
    /// A second of processor time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_second: Option<String>,
    /// A GB of answers, and of what instances send to networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gb_out: Option<String>,
    /// A GB that instances receive from networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gb_in: Option<String>,
}

/// Which bill is asked for.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BillToGet {
    /// Of this tenant; without it the caller's own, and everybody's for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// `2026-11`; without it, the present one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
    /// `function` or `tag:KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Where an earlier page ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changes {
    changes: Vec<PriceChangeRow>,
}

impl Client {
    /// A price book: the node's, or a tenant's own.
    pub async fn prices(&self, tenant: Option<&str>) -> Result<Vec<PriceChangeRow>, ClientError> {
        let asked = own("GetPrices", json!({ "TenantId": tenant }));
        Ok(self.json::<Changes>(asked).await?.changes)
    }

    /// Sets prices; the book as it is then.
    pub async fn prices_set(
        &self,
        prices: &PricesToSet,
    ) -> Result<Vec<PriceChangeRow>, ClientError> {
        let asked = own("SetPrices", json!(prices));
        Ok(self.json::<Changes>(asked).await?.changes)
    }

    /// Ends a book's prices; the book as it is then.
    pub async fn prices_end(
        &self,
        tenant: Option<&str>,
        from: Option<i64>,
    ) -> Result<Vec<PriceChangeRow>, ClientError> {
        let asked = own("EndPrices", json!({ "TenantId": tenant, "From": from }));
        Ok(self.json::<Changes>(asked).await?.changes)
    }

    /// One page of a bill.
    pub async fn bill(&self, asked: &BillToGet) -> Result<BillRow, ClientError> {
        self.json(own("GetBill", json!(asked))).await
    }
}
