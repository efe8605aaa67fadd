//! CloudWatch Logs: the lines of a group, page by page.

use super::{Call, Client, ClientError};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Lines asked for at once.
const PAGE_LINES: u32 = 1000;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// From this instant on, ms since 1970.
    pub from_ms: Option<i64>,
    /// Terms, as FilterLogEvents reads them.
    pub pattern: Option<String>,
    /// Only this stream.
    pub stream: Option<String>,
}

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase", serialize = "snake_case"))]
pub struct LogEvent {
    /// Names the line: unique within its group.
    pub event_id: String,
    /// When, ms since 1970.
    pub timestamp: i64,
    /// The instance's stream.
    #[serde(rename(deserialize = "logStreamName", serialize = "stream"))]
    pub stream: String,
    /// The text.
    pub message: String,
}

/// A page of lines.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPage {
    /// In order of time.
    #[serde(default)]
    pub events: Vec<LogEvent>,
    /// Where the next page begins.
    pub next_token: Option<String>,
}

impl Client {
    /// One page of the lines of `group` that pass `filter`.
    pub async fn log_page(
        &self,
        group: &str,
        filter: &LogFilter,
        token: Option<&str>,
    ) -> Result<LogPage, ClientError> {
        let mut asked = json!({ "logGroupName": group, "limit": PAGE_LINES });
        if let Some(from) = filter.from_ms {
            asked["startTime"] = json!(from);
        }
        if let Some(pattern) = &filter.pattern {
            asked["filterPattern"] = json!(pattern);
        }
        if let Some(stream) = &filter.stream {
            asked["logStreamNames"] = json!([stream]);
        }
        if let Some(token) = token {
            asked["nextToken"] = json!(token);
        }
        let mut call = Call::new("FilterLogEvents", "logs", Method::POST, "/".into());
        call.body = Bytes::from(asked.to_string());
        call.headers = vec![
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-amz-json-1.1"),
            ),
            (
                HeaderName::from_static("x-amz-target"),
                HeaderValue::from_static("Logs_20140328.FilterLogEvents"),
            ),
        ];
        // The service's text names no group.
        self.json(call).await.map_err(|mut error| {
            if let ClientError::Service { message, code, .. } = &mut error
                && code == "ResourceNotFoundException"
            {
                *message = format!("{message} ({group})");
            }
            error
        })
    }
}
