//! Amazon CloudWatch Logs: the values that are asked and answered. Written by `cargo xtask codegen`; edits are lost.

use serde::{Deserialize, Serialize};

use crate::json;

/// `DeleteLogGroupRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteLogGroupRequest {
    /// `logGroupName`.
    pub log_group_name: String,
}

/// `DescribeLogGroupsRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct DescribeLogGroupsRequest {
    /// `accountIdentifiers`.
    #[serde(
        rename = "accountIdentifiers",
        default,
        deserialize_with = "json::list"
    )]
    pub account_identifiers: Option<Vec<String>>,
    /// `logGroupNamePrefix`.
    #[serde(
        rename = "logGroupNamePrefix",
        default,
        deserialize_with = "json::scalar"
    )]
    pub log_group_name_prefix: Option<String>,
    /// `logGroupNamePattern`.
    #[serde(
        rename = "logGroupNamePattern",
        default,
        deserialize_with = "json::scalar"
    )]
    pub log_group_name_pattern: Option<String>,
    /// `nextToken`.
    #[serde(rename = "nextToken", default, deserialize_with = "json::scalar")]
    pub next_token: Option<String>,
    /// `limit`.
    #[serde(rename = "limit", default, deserialize_with = "json::scalar")]
    pub limit: Option<i32>,
    /// `includeLinkedAccounts`.
    #[serde(
        rename = "includeLinkedAccounts",
        default,
        deserialize_with = "json::scalar"
    )]
    pub include_linked_accounts: Option<bool>,
    /// `logGroupClass`.
    #[serde(rename = "logGroupClass", default, deserialize_with = "json::scalar")]
    pub log_group_class: Option<String>,
    /// `logGroupIdentifiers`.
    #[serde(
        rename = "logGroupIdentifiers",
        default,
        deserialize_with = "json::list"
    )]
    pub log_group_identifiers: Option<Vec<String>>,
}

/// `DescribeLogGroupsResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DescribeLogGroupsResponse {
    /// `logGroups`.
    #[serde(rename = "logGroups", skip_serializing_if = "Option::is_none")]
    pub log_groups: Option<Vec<LogGroup>>,
    /// `nextToken`.
    #[serde(rename = "nextToken", skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// `DescribeLogStreamsRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct DescribeLogStreamsRequest {
    /// `logGroupName`.
    #[serde(rename = "logGroupName", default, deserialize_with = "json::scalar")]
    pub log_group_name: Option<String>,
    /// `logGroupIdentifier`.
    #[serde(
        rename = "logGroupIdentifier",
        default,
        deserialize_with = "json::scalar"
    )]
    pub log_group_identifier: Option<String>,
    /// `logStreamNamePrefix`.
    #[serde(
        rename = "logStreamNamePrefix",
        default,
        deserialize_with = "json::scalar"
    )]
    pub log_stream_name_prefix: Option<String>,
    /// `orderBy`.
    #[serde(rename = "orderBy", default, deserialize_with = "json::scalar")]
    pub order_by: Option<String>,
    /// `descending`.
    #[serde(rename = "descending", default, deserialize_with = "json::scalar")]
    pub descending: Option<bool>,
    /// `nextToken`.
    #[serde(rename = "nextToken", default, deserialize_with = "json::scalar")]
    pub next_token: Option<String>,
    /// `limit`.
    #[serde(rename = "limit", default, deserialize_with = "json::scalar")]
    pub limit: Option<i32>,
}

/// `DescribeLogStreamsResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DescribeLogStreamsResponse {
    /// `logStreams`.
    #[serde(rename = "logStreams", skip_serializing_if = "Option::is_none")]
    pub log_streams: Option<Vec<LogStream>>,
    /// `nextToken`.
    #[serde(rename = "nextToken", skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// `FilterLogEventsRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct FilterLogEventsRequest {
    /// `logGroupName`.
    #[serde(rename = "logGroupName", default, deserialize_with = "json::scalar")]
    pub log_group_name: Option<String>,
    /// `logGroupIdentifier`.
    #[serde(
        rename = "logGroupIdentifier",
        default,
        deserialize_with = "json::scalar"
    )]
    pub log_group_identifier: Option<String>,
    /// `logStreamNames`.
    #[serde(rename = "logStreamNames", default, deserialize_with = "json::list")]
    pub log_stream_names: Option<Vec<String>>,
    /// `logStreamNamePrefix`.
    #[serde(
        rename = "logStreamNamePrefix",
        default,
        deserialize_with = "json::scalar"
    )]
    pub log_stream_name_prefix: Option<String>,
    /// `startTime`.
    #[serde(rename = "startTime", default, deserialize_with = "json::scalar")]
    pub start_time: Option<i64>,
    /// `endTime`.
    #[serde(rename = "endTime", default, deserialize_with = "json::scalar")]
    pub end_time: Option<i64>,
    /// `filterPattern`.
    #[serde(rename = "filterPattern", default, deserialize_with = "json::scalar")]
    pub filter_pattern: Option<String>,
    /// `nextToken`.
    #[serde(rename = "nextToken", default, deserialize_with = "json::scalar")]
    pub next_token: Option<String>,
    /// `limit`.
    #[serde(rename = "limit", default, deserialize_with = "json::scalar")]
    pub limit: Option<i32>,
    /// `startFromHead`.
    #[serde(rename = "startFromHead", default, deserialize_with = "json::scalar")]
    pub start_from_head: Option<bool>,
    /// `interleaved`.
    #[serde(rename = "interleaved", default, deserialize_with = "json::scalar")]
    pub interleaved: Option<bool>,
    /// `unmask`.
    #[serde(rename = "unmask", default, deserialize_with = "json::scalar")]
    pub unmask: Option<bool>,
}

/// `FilterLogEventsResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FilterLogEventsResponse {
    /// `events`.
    #[serde(rename = "events", skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<FilteredLogEvent>>,
    /// `searchedLogStreams`.
    #[serde(rename = "searchedLogStreams", skip_serializing_if = "Option::is_none")]
    pub searched_log_streams: Option<Vec<SearchedLogStream>>,
    /// `nextToken`.
    #[serde(rename = "nextToken", skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// `FilteredLogEvent` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FilteredLogEvent {
    /// `logStreamName`.
    #[serde(rename = "logStreamName", skip_serializing_if = "Option::is_none")]
    pub log_stream_name: Option<String>,
    /// `timestamp`.
    #[serde(rename = "timestamp", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// `message`.
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `ingestionTime`.
    #[serde(rename = "ingestionTime", skip_serializing_if = "Option::is_none")]
    pub ingestion_time: Option<i64>,
    /// `eventId`.
    #[serde(rename = "eventId", skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// `GetLogEventsRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetLogEventsRequest {
    /// `logGroupName`.
    pub log_group_name: Option<String>,
    /// `logGroupIdentifier`.
    pub log_group_identifier: Option<String>,
    /// `logStreamName`.
    pub log_stream_name: String,
    /// `startTime`.
    pub start_time: Option<i64>,
    /// `endTime`.
    pub end_time: Option<i64>,
    /// `nextToken`.
    pub next_token: Option<String>,
    /// `limit`.
    pub limit: Option<i32>,
    /// `startFromHead`.
    pub start_from_head: Option<bool>,
    /// `unmask`.
    pub unmask: Option<bool>,
}

/// `GetLogEventsResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GetLogEventsResponse {
    /// `events`.
    #[serde(rename = "events", skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<OutputLogEvent>>,
    /// `nextForwardToken`.
    #[serde(rename = "nextForwardToken", skip_serializing_if = "Option::is_none")]
    pub next_forward_token: Option<String>,
    /// `nextBackwardToken`.
    #[serde(rename = "nextBackwardToken", skip_serializing_if = "Option::is_none")]
    pub next_backward_token: Option<String>,
}

/// `LogGroup` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogGroup {
    /// `logGroupName`.
    #[serde(rename = "logGroupName", skip_serializing_if = "Option::is_none")]
    pub log_group_name: Option<String>,
    /// `creationTime`.
    #[serde(rename = "creationTime", skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<i64>,
    /// `retentionInDays`.
    #[serde(rename = "retentionInDays", skip_serializing_if = "Option::is_none")]
    pub retention_in_days: Option<i32>,
    /// `metricFilterCount`.
    #[serde(rename = "metricFilterCount", skip_serializing_if = "Option::is_none")]
    pub metric_filter_count: Option<i32>,
    /// `arn`.
    #[serde(rename = "arn", skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// `storedBytes`.
    #[serde(rename = "storedBytes", skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<i64>,
    /// `kmsKeyId`.
    #[serde(rename = "kmsKeyId", skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// `dataProtectionStatus`.
    #[serde(
        rename = "dataProtectionStatus",
        skip_serializing_if = "Option::is_none"
    )]
    pub data_protection_status: Option<String>,
    /// `inheritedProperties`.
    #[serde(
        rename = "inheritedProperties",
        skip_serializing_if = "Option::is_none"
    )]
    pub inherited_properties: Option<Vec<String>>,
    /// `logGroupClass`.
    #[serde(rename = "logGroupClass", skip_serializing_if = "Option::is_none")]
    pub log_group_class: Option<String>,
    /// `logGroupArn`.
    #[serde(rename = "logGroupArn", skip_serializing_if = "Option::is_none")]
    pub log_group_arn: Option<String>,
    /// `deletionProtectionEnabled`.
    #[serde(
        rename = "deletionProtectionEnabled",
        skip_serializing_if = "Option::is_none"
    )]
    pub deletion_protection_enabled: Option<bool>,
    /// `bearerTokenAuthenticationEnabled`.
    #[serde(
        rename = "bearerTokenAuthenticationEnabled",
        skip_serializing_if = "Option::is_none"
    )]
    pub bearer_token_authentication_enabled: Option<bool>,
    /// `retentionPolicyName`.
    #[serde(
        rename = "retentionPolicyName",
        skip_serializing_if = "Option::is_none"
    )]
    pub retention_policy_name: Option<String>,
}

/// `LogStream` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogStream {
    /// `logStreamName`.
    #[serde(rename = "logStreamName", skip_serializing_if = "Option::is_none")]
    pub log_stream_name: Option<String>,
    /// `creationTime`.
    #[serde(rename = "creationTime", skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<i64>,
    /// `firstEventTimestamp`.
    #[serde(
        rename = "firstEventTimestamp",
        skip_serializing_if = "Option::is_none"
    )]
    pub first_event_timestamp: Option<i64>,
    /// `lastEventTimestamp`.
    #[serde(rename = "lastEventTimestamp", skip_serializing_if = "Option::is_none")]
    pub last_event_timestamp: Option<i64>,
    /// `lastIngestionTime`.
    #[serde(rename = "lastIngestionTime", skip_serializing_if = "Option::is_none")]
    pub last_ingestion_time: Option<i64>,
    /// `uploadSequenceToken`.
    #[serde(
        rename = "uploadSequenceToken",
        skip_serializing_if = "Option::is_none"
    )]
    pub upload_sequence_token: Option<String>,
    /// `arn`.
    #[serde(rename = "arn", skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// `storedBytes`.
    #[serde(rename = "storedBytes", skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<i64>,
}

/// `OutputLogEvent` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutputLogEvent {
    /// `timestamp`.
    #[serde(rename = "timestamp", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// `message`.
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `ingestionTime`.
    #[serde(rename = "ingestionTime", skip_serializing_if = "Option::is_none")]
    pub ingestion_time: Option<i64>,
}

/// `PutRetentionPolicyRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PutRetentionPolicyRequest {
    /// `logGroupName`.
    pub log_group_name: String,
    /// `retentionInDays`.
    pub retention_in_days: i32,
}

/// `SearchedLogStream` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SearchedLogStream {
    /// `logStreamName`.
    #[serde(rename = "logStreamName", skip_serializing_if = "Option::is_none")]
    pub log_stream_name: Option<String>,
    /// `searchedCompletely`.
    #[serde(rename = "searchedCompletely", skip_serializing_if = "Option::is_none")]
    pub searched_completely: Option<bool>,
}
