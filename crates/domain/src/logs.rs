//! Lines of a function's log, and which of them are ours.

use crate::{
    ids::{InvocationId, Region, TenantId},
    time::Wall,
};
use bytes::Bytes;

/// Who wrote a line. A function can print anything, it cannot choose this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// The function, on stdout or stderr.
    Function,
    /// The platform: INIT_START, START, END, REPORT and their JSON forms, and lost-line counts.
    Platform,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub at: Wall,
    /// Who wrote it.
    pub kind: LineKind,
    /// The invocation that ran then; `None` during init.
    pub invocation: Option<InvocationId>,
    /// The text without its line feed: any bytes, NUL and invalid UTF-8 included.
    pub text: Bytes,
    /// Whether the text was cut at the limit.
    pub truncated: bool,
}

/// A group of streams: `/aws/lambda/NAME` unless the function says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogGroupName {
    /// The owner.
    pub tenant: TenantId,
    /// The region.
    pub region: Region,
    /// The group's name.
    pub group: String,
}

/// One instance's stream within a group: `2026/11/21/[$LATEST]4f…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogStreamName {
    /// The group.
    pub group: LogGroupName,
    /// The stream's name.
    pub stream: String,
}
