//! Amazon CloudWatch Logs: constraints, and requests before they are checked. Written by `cargo xtask codegen`; edits are lost.

use serde::Deserialize;

use super::patterns;
use super::shapes::*;
use crate::{
    constraints::{List, OneOf, Pattern, Range, Text, Violations},
    json,
};

static ACCOUNT_ID: Text = Text {
    min: Some(12),
    max: Some(12),
    pattern: Some(Pattern {
        text: "^\\d{12}$",
        matcher: &patterns::ACCOUNT_ID,
    }),
    one_of: None,
    sensitive: false,
};

static ACCOUNT_IDS: List = List {
    min: None,
    max: Some(20),
    element: Some(&ACCOUNT_ID),
};

/// [`DeleteLogGroupRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedDeleteLogGroupRequest {
    /// `logGroupName`.
    #[serde(rename = "logGroupName", default, deserialize_with = "json::scalar")]
    pub(super) log_group_name: Option<String>,
}

impl UncheckedDeleteLogGroupRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<DeleteLogGroupRequest> {
        Some(DeleteLogGroupRequest {
            log_group_name: self.log_group_name?,
        })
    }
}

impl UncheckedDeleteLogGroupRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.log_group_name {
            Some(value) => {
                violations.text("logGroupName", &LOG_GROUP_NAME, value);
            }
            None => violations.missing("logGroupName"),
        }
    }
}

static DESCRIBE_LIMIT: Range = Range {
    min: Some(1.0),
    max: Some(50.0),
};

static DESCRIBE_LOG_GROUPS_LOG_GROUP_IDENTIFIERS: List = List {
    min: Some(1),
    max: Some(50),
    element: Some(&LOG_GROUP_IDENTIFIER),
};

impl DescribeLogGroupsRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.account_identifiers {
            violations.list("accountIdentifiers", &ACCOUNT_IDS, value);
        }
        if let Some(value) = &self.log_group_name_prefix {
            violations.text("logGroupNamePrefix", &LOG_GROUP_NAME, value);
        }
        if let Some(value) = &self.log_group_name_pattern {
            violations.text("logGroupNamePattern", &LOG_GROUP_NAME_PATTERN, value);
        }
        if let Some(value) = &self.next_token {
            violations.text("nextToken", &NEXT_TOKEN, value);
        }
        if let Some(value) = &self.limit {
            violations.number("limit", &DESCRIBE_LIMIT, f64::from(*value));
        }
        if let Some(value) = &self.log_group_class {
            violations.text("logGroupClass", &LOG_GROUP_CLASS, value);
        }
        if let Some(value) = &self.log_group_identifiers {
            violations.list(
                "logGroupIdentifiers",
                &DESCRIBE_LOG_GROUPS_LOG_GROUP_IDENTIFIERS,
                value,
            );
        }
    }
}

impl DescribeLogStreamsRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.log_group_name {
            violations.text("logGroupName", &LOG_GROUP_NAME, value);
        }
        if let Some(value) = &self.log_group_identifier {
            violations.text("logGroupIdentifier", &LOG_GROUP_IDENTIFIER, value);
        }
        if let Some(value) = &self.log_stream_name_prefix {
            violations.text("logStreamNamePrefix", &LOG_STREAM_NAME, value);
        }
        if let Some(value) = &self.order_by {
            violations.text("orderBy", &ORDER_BY, value);
        }
        if let Some(value) = &self.next_token {
            violations.text("nextToken", &NEXT_TOKEN, value);
        }
        if let Some(value) = &self.limit {
            violations.number("limit", &DESCRIBE_LIMIT, f64::from(*value));
        }
    }
}

static EVENTS_LIMIT: Range = Range {
    min: Some(1.0),
    max: Some(10000.0),
};

impl FilterLogEventsRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.log_group_name {
            violations.text("logGroupName", &LOG_GROUP_NAME, value);
        }
        if let Some(value) = &self.log_group_identifier {
            violations.text("logGroupIdentifier", &LOG_GROUP_IDENTIFIER, value);
        }
        if let Some(value) = &self.log_stream_names {
            violations.list("logStreamNames", &INPUT_LOG_STREAM_NAMES, value);
        }
        if let Some(value) = &self.log_stream_name_prefix {
            violations.text("logStreamNamePrefix", &LOG_STREAM_NAME, value);
        }
        if let Some(value) = &self.start_time {
            violations.number("startTime", &TIMESTAMP, *value as f64);
        }
        if let Some(value) = &self.end_time {
            violations.number("endTime", &TIMESTAMP, *value as f64);
        }
        if let Some(value) = &self.filter_pattern {
            violations.text("filterPattern", &FILTER_PATTERN, value);
        }
        if let Some(value) = &self.next_token {
            violations.text("nextToken", &NEXT_TOKEN, value);
        }
        if let Some(value) = &self.limit {
            violations.number("limit", &EVENTS_LIMIT, f64::from(*value));
        }
    }
}

static FILTER_PATTERN: Text = Text {
    min: None,
    max: Some(1024),
    pattern: None,
    one_of: None,
    sensitive: false,
};

/// [`GetLogEventsRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedGetLogEventsRequest {
    /// `logGroupName`.
    #[serde(rename = "logGroupName", default, deserialize_with = "json::scalar")]
    pub(super) log_group_name: Option<String>,
    /// `logGroupIdentifier`.
    #[serde(
        rename = "logGroupIdentifier",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) log_group_identifier: Option<String>,
    /// `logStreamName`.
    #[serde(rename = "logStreamName", default, deserialize_with = "json::scalar")]
    pub(super) log_stream_name: Option<String>,
    /// `startTime`.
    #[serde(rename = "startTime", default, deserialize_with = "json::scalar")]
    pub(super) start_time: Option<i64>,
    /// `endTime`.
    #[serde(rename = "endTime", default, deserialize_with = "json::scalar")]
    pub(super) end_time: Option<i64>,
    /// `nextToken`.
    #[serde(rename = "nextToken", default, deserialize_with = "json::scalar")]
    pub(super) next_token: Option<String>,
    /// `limit`.
    #[serde(rename = "limit", default, deserialize_with = "json::scalar")]
    pub(super) limit: Option<i32>,
    /// `startFromHead`.
    #[serde(rename = "startFromHead", default, deserialize_with = "json::scalar")]
    pub(super) start_from_head: Option<bool>,
    /// `unmask`.
    #[serde(rename = "unmask", default, deserialize_with = "json::scalar")]
    pub(super) unmask: Option<bool>,
}

impl UncheckedGetLogEventsRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<GetLogEventsRequest> {
        Some(GetLogEventsRequest {
            log_group_name: self.log_group_name,
            log_group_identifier: self.log_group_identifier,
            log_stream_name: self.log_stream_name?,
            start_time: self.start_time,
            end_time: self.end_time,
            next_token: self.next_token,
            limit: self.limit,
            start_from_head: self.start_from_head,
            unmask: self.unmask,
        })
    }
}

impl UncheckedGetLogEventsRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.log_group_name {
            violations.text("logGroupName", &LOG_GROUP_NAME, value);
        }
        if let Some(value) = &self.log_group_identifier {
            violations.text("logGroupIdentifier", &LOG_GROUP_IDENTIFIER, value);
        }
        match &self.log_stream_name {
            Some(value) => {
                violations.text("logStreamName", &LOG_STREAM_NAME, value);
            }
            None => violations.missing("logStreamName"),
        }
        if let Some(value) = &self.start_time {
            violations.number("startTime", &TIMESTAMP, *value as f64);
        }
        if let Some(value) = &self.end_time {
            violations.number("endTime", &TIMESTAMP, *value as f64);
        }
        if let Some(value) = &self.next_token {
            violations.text("nextToken", &NEXT_TOKEN, value);
        }
        if let Some(value) = &self.limit {
            violations.number("limit", &EVENTS_LIMIT, f64::from(*value));
        }
    }
}

static INPUT_LOG_STREAM_NAMES: List = List {
    min: Some(1),
    max: Some(100),
    element: Some(&LOG_STREAM_NAME),
};

static LOG_GROUP_CLASS: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&[
        "STANDARD",
        "INFREQUENT_ACCESS",
        "DELIVERY",
        "ESSENTIALS",
    ])),
    sensitive: false,
};

static LOG_GROUP_IDENTIFIER: Text = Text {
    min: Some(1),
    max: Some(2048),
    pattern: Some(Pattern {
        text: "[\\w#+=/:,.@-]*",
        matcher: &patterns::LOG_GROUP_IDENTIFIER,
    }),
    one_of: None,
    sensitive: false,
};

static LOG_GROUP_NAME: Text = Text {
    min: Some(1),
    max: Some(512),
    pattern: Some(Pattern {
        text: "[\\.\\-_/#A-Za-z0-9]+",
        matcher: &patterns::LOG_GROUP_NAME,
    }),
    one_of: None,
    sensitive: false,
};

static LOG_GROUP_NAME_PATTERN: Text = Text {
    min: None,
    max: Some(512),
    pattern: Some(Pattern {
        text: "[\\.\\-_/#A-Za-z0-9]*",
        matcher: &patterns::LOG_GROUP_NAME_PATTERN,
    }),
    one_of: None,
    sensitive: false,
};

static LOG_STREAM_NAME: Text = Text {
    min: Some(1),
    max: Some(512),
    pattern: Some(Pattern {
        text: "[^:*]*",
        matcher: &patterns::LOG_STREAM_NAME,
    }),
    one_of: None,
    sensitive: false,
};

static NEXT_TOKEN: Text = Text {
    min: Some(1),
    max: None,
    pattern: None,
    one_of: None,
    sensitive: false,
};

static ORDER_BY: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["LogStreamName", "LastEventTime"])),
    sensitive: false,
};

/// [`PutRetentionPolicyRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedPutRetentionPolicyRequest {
    /// `logGroupName`.
    #[serde(rename = "logGroupName", default, deserialize_with = "json::scalar")]
    pub(super) log_group_name: Option<String>,
    /// `retentionInDays`.
    #[serde(rename = "retentionInDays", default, deserialize_with = "json::scalar")]
    pub(super) retention_in_days: Option<i32>,
}

impl UncheckedPutRetentionPolicyRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<PutRetentionPolicyRequest> {
        Some(PutRetentionPolicyRequest {
            log_group_name: self.log_group_name?,
            retention_in_days: self.retention_in_days?,
        })
    }
}

impl UncheckedPutRetentionPolicyRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.log_group_name {
            Some(value) => {
                violations.text("logGroupName", &LOG_GROUP_NAME, value);
            }
            None => violations.missing("logGroupName"),
        }
        if self.retention_in_days.is_none() {
            violations.missing("retentionInDays");
        }
    }
}

static TIMESTAMP: Range = Range {
    min: Some(0.0),
    max: None,
};
