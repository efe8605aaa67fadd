//! The audit trail: lines appended before answers leave, read back by whose they are.
//!
//! It is kept by account ([`AuditLane`]): what one account writes costs another neither a line of its
//! own nor work when it reads them.

use super::{CommitError, ReadError};
use crate::{
    BoxFuture,
    audit::{AuditLane, AuditLine},
    ids::{InvocationId, TenantId},
    principal::Principal,
    time::Wall,
};

/// Keeps the trail.
pub trait Audit: Send + Sync {
    /// Appends one line with one `write()`; it survives a kill of the process when this returns, a
    /// power cut within a second. Never waits for a sync. Says whether the trail has grown by so much
    /// since this was last said that a trim is due.
    fn audit_append(&self, line: &AuditLine) -> Result<bool, CommitError>;

    /// Notes that a change begins, as the line that it is if nobody hears of its end: should the
    /// process be killed before [`Audit::audit_end`], the next start appends it. Lasts as a line does.
    ///
    /// Errors: the store's; the change may go on.
    fn audit_begin(&self, line: &AuditLine) -> Result<(), CommitError>;

    /// The change of this request has its line, or needs none.
    fn audit_end(&self, request: InvocationId);

    /// Lines in the order in which they were appended. One tenant's are found in its own part of the
    /// trail: pages and work are the same whatever others wrote.
    ///
    /// Errors: [`ReadError::Denied`] when `who` does not reach the tenant that is asked for; every
    /// tenant's lines are the platform's alone.
    fn audit_lines(
        &self,
        who: &Principal,
        query: AuditQuery,
    ) -> BoxFuture<'_, Result<AuditPage, ReadError>>;

    /// Removes lines, many at a time: those older than `retention` says, and more while the trail
    /// takes more room than it says; these are the oldest of whoever is furthest beyond its share
    /// ([`AuditRetention::share`]). The newest of each part stay. For the platform alone.
    fn audit_trim(
        &self,
        who: &Principal,
        retention: AuditRetention,
    ) -> BoxFuture<'_, Result<AuditTrimmed, CommitError>>;
}

/// Which lines are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Lines of this tenant; of all without one.
    pub tenant: Option<TenantId>,
    /// Earliest time, included.
    pub since: Option<Wall>,
    /// Latest time, excluded.
    pub until: Option<Wall>,
    /// This action; with a `*` at its end, every action that begins so.
    pub action: Option<String>,
    /// Only what was denied.
    pub denied: bool,
    /// Where to go on: the position of an earlier page of the same tenant's lines, or of all; 0 for
    /// the first line.
    pub position: u64,
    /// Lines at the most.
    pub limit: usize,
}

impl AuditQuery {
    /// Whether a line is one that is asked for.
    pub fn wants(&self, line: &AuditLine) -> bool {
        let action = |asked: &String| match asked.strip_suffix('*') {
            Some(begin) => line.action.as_str().starts_with(begin),
            None => line.action.as_str() == asked,
        };
        let tenant = |asked: &TenantId| line.tenant.as_ref() == Some(asked);
        self.tenant.as_ref().is_none_or(tenant)
            && self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
            && self.action.as_ref().is_none_or(action)
            && (!self.denied || line.result == crate::audit::AuditResult::Denied)
    }
}

/// Some lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// The lines. There may be none on a page that others follow: a page reads so much and no more.
    pub lines: Vec<AuditLine>,
    /// Where the next page begins, also once there is no more: lines that come later stand there.
    pub position: u64,
    /// Whether there was more to read.
    pub more: bool,
    /// What of the trail did not read, for the operator.
    pub gaps: Vec<String>,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRetention {
    /// Lines from then on.
    pub from: Wall,
    /// Lines from then on begin a new file, so that old ones can go.
    pub fresh: Wall,
    /// Bytes that the trail may take.
    pub bytes: u64,
    /// The account whose lines have a share of their own, as the platform's have.
    pub operator: Option<TenantId>,
}

/// Of the room, the part that is the operator's, and as much again the platform's.
const OPERATOR_PART: u64 = 8;

impl AuditRetention {
    /// Whether a lane's share does not hang on how many accounts there are.
    pub fn is_operators(&self, lane: &AuditLane) -> bool {
        match lane {
            AuditLane::Platform => true,
            AuditLane::Unproven => false,
            AuditLane::Account(tenant) => self.operator.as_ref() == Some(tenant),
        }
    }

    /// Bytes that a lane keeps whatever others write, where `others` lanes are not the operator's: an
    /// eighth for each of the operator's two, and the rest in equal parts. What nobody uses of its
    /// share is for whoever needs more.
    pub fn share(&self, lane: &AuditLane, others: usize) -> u64 {
        let own = self.bytes / OPERATOR_PART;
        match self.is_operators(lane) {
            true => own,
            false => (self.bytes - 2 * own) / (others.max(1) as u64),
        }
    }
}

/// What a trim removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditTrimmed {
    /// Bytes of lines that were old enough.
    pub old_bytes: u64,
    /// Bytes of lines that were not, and had to go for want of room.
    pub early_bytes: u64,
}
