//! Freehold's own operations.

use super::{Call, Client, ClientError};
use freehold_api::InstanceRow;
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

fn own(operation: &'static str, body: serde_json::Value) -> Call {
    let path = format!("/_freehold/api/{operation}");
    Call::new(operation, "freehold", Method::POST, path).json(&body)
}
