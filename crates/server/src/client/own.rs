//! Freehold's own operations.

use super::{Call, Client, ClientError};
use freehold_api::{AuditRow, InstanceRow};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What one function used on one UTC day. Fields that this release does not know are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct UsageRow {
    /// The function, which may be deleted by now.
    #[serde(rename(deserialize = "FunctionName", serialize = "function"))]
    pub function: String,
    /// The day, `2026-11-21`.
    pub day: String,
    /// Invocations.
    pub invocations: u64,
    /// Those that failed.
    pub errors: u64,
    /// Billed time, ms.
    pub billed_ms: u64,
    /// Billed memory × time, GB·s.
    pub gb_seconds: f64,
    /// Time that functions ran, µs.
    #[serde(default)]
    pub run_us: u64,
    /// Time of inits, µs.
    #[serde(default)]
    pub init_us: u64,
    /// Processor time, µs.
    #[serde(default)]
    pub cpu_us: u64,
    /// Bytes of events.
    #[serde(default)]
    pub bytes_in: u64,
    /// Bytes of answers.
    #[serde(default)]
    pub bytes_out: u64,
    /// Bytes that instances received from networks.
    #[serde(default)]
    pub network_bytes_in: u64,
    /// Bytes that they sent.
    #[serde(default)]
    pub network_bytes_out: u64,
}

/// Which lines of the audit trail are asked for; times are ms since the epoch.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AuditFilter {
    /// The earliest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// The latest, excluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// With this action; with a `*` at its end, with those that begin so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only what was denied.
    pub denied: bool,
    /// Where an earlier page ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Lines at the most.
    pub limit: u32,
}

/// Some lines of the audit trail.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AuditPage {
    /// The lines.
    pub lines: Vec<AuditRow>,
    /// Where the next page begins.
    pub token: String,
    /// Whether there is more at this moment.
    pub more: bool,
    /// What of the trail did not read; told to the operator's key alone.
    pub gaps: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instances {
    instances: Vec<InstanceRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    usage: Vec<UsageRow>,
}

impl Client {
    /// The live instances.
    pub async fn instances(&self) -> Result<Vec<InstanceRow>, ClientError> {
        let call = own("ListInstances", json!({}));
        Ok(self.json::<Instances>(call).await?.instances)
    }

    /// One page of the audit trail.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<AuditPage, ClientError> {
        self.json(own("GetAudit", json!(filter))).await
    }

    /// Usage by function and day, both days included.
    pub async fn usage(
        &self,
        from: Option<&str>,
        until: Option<&str>,
    ) -> Result<Vec<UsageRow>, ClientError> {
        let mut asked = serde_json::Map::new();
        for (name, day) in [("From", from), ("Until", until)] {
            if let Some(day) = day {
                asked.insert(name.into(), json!(day));
            }
        }
        let call = own("GetUsage", asked.into());
        Ok(self.json::<Usage>(call).await?.usage)
    }
}

pub(super) fn own(operation: &'static str, body: serde_json::Value) -> Call {
    let path = format!("/_freehold/api/{operation}");
    Call::new(operation, "freehold", Method::POST, path).json(&body)
}
