//! Amazon CloudWatch Logs: generated operations, shapes and errors; operations by target.

use http::HeaderMap;

use crate::WireFault;
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

/// The days that a group's events may be kept.
const RETENTION_DAYS: [i32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// The service keeps events for some numbers of days only.
pub(crate) fn retention_in_days(request: &PutRetentionPolicyRequest) -> Result<(), WireFault> {
    if RETENTION_DAYS.contains(&request.retention_in_days) {
        return Ok(());
    }
    Err(WireFault::InvalidParameter(format!(
        "Invalid retention value. Valid values are: {RETENTION_DAYS:?}"
    )))
}

/// A group is named once: by name, or by an identifier that may be its ARN.
fn group_named_once(name: &Option<String>, identifier: &Option<String>) -> Result<(), WireFault> {
    if name.is_some() != identifier.is_some() {
        return Ok(());
    }
    Err(WireFault::InvalidParameter(
        "Exactly one of logGroupName and logGroupIdentifier must be specified.".into(),
    ))
}

pub(crate) fn group_of_streams(request: &DescribeLogStreamsRequest) -> Result<(), WireFault> {
    group_named_once(&request.log_group_name, &request.log_group_identifier)
}

pub(crate) fn group_of_stream(request: &GetLogEventsRequest) -> Result<(), WireFault> {
    group_named_once(&request.log_group_name, &request.log_group_identifier)
}

pub(crate) fn group_of_events(request: &FilterLogEventsRequest) -> Result<(), WireFault> {
    group_named_once(&request.log_group_name, &request.log_group_identifier)
}
