//! Amazon CloudWatch Logs: generated operations, shapes and errors; operations by target.

use http::HeaderMap;

pub use crate::generated::logs::*;

/// The service's name before the dot of `X-Amz-Target`.
const TARGET_PREFIX: &str = "Logs_20140328.";

impl Operation {
    /// The operation that `X-Amz-Target` names.
    pub fn route(headers: &HeaderMap) -> Option<Operation> {
        let target = headers.get("x-amz-target")?.to_str().ok()?;
        Operation::from_name(target.strip_prefix(TARGET_PREFIX)?)
    }
}
