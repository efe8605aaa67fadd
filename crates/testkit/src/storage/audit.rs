//! The audit trail in memory.

use freehold_domain::{
    audit::{AuditLane, AuditLine},
    ports::{AuditPage, AuditQuery, AuditRetention, AuditTrimmed},
};
use std::collections::BTreeMap;

/// Lines by their numbers, from 1 on.
#[derive(Default)]
pub(super) struct Trail {
    lines: BTreeMap<u64, AuditLine>,
    appended: u64,
}

/// Lines after which a trim is due.
const TRIM_EVERY: u64 = 64;

/// About what a line takes in a file.
fn bytes(line: &AuditLine) -> u64 {
    format!("{line:?}").len() as u64
}

impl Trail {
    pub(super) fn append(&mut self, line: &AuditLine) -> bool {
        self.appended += 1;
        self.lines.insert(self.appended, line.clone());
        self.appended.is_multiple_of(TRIM_EVERY)
    }

    pub(super) fn lines(&self, query: &AuditQuery) -> AuditPage {
        let mut page = AuditPage {
            position: query.position,
            ..AuditPage::default()
        };
        let is_own = |line: &AuditLine| {
            let tenant = query.tenant.as_ref();
            tenant.is_none_or(|tenant| line.tenant.as_ref() == Some(tenant))
        };
        let behind = self.lines.range(query.position + 1..);
        for (number, line) in behind.filter(|(_, line)| is_own(line)) {
            if page.lines.len() >= query.limit.max(1) {
                page.more = true;
                return page;
            }
            page.position = *number;
            if query.wants(line) {
                page.lines.push(line.clone());
            }
        }
        page
    }

    pub(super) fn trim(&mut self, keep: &AuditRetention) -> AuditTrimmed {
        let mut lanes: BTreeMap<AuditLane, Vec<(u64, u64)>> = BTreeMap::new();
        for (number, line) in &self.lines {
            let lane = lanes.entry(AuditLane::of(line)).or_default();
            lane.push((*number, bytes(line)));
        }
        let others = lanes.keys().filter(|lane| !keep.is_operators(lane)).count();
        let mut trimmed = AuditTrimmed::default();
        for lane in lanes.values_mut() {
            while lane.len() > 1 && self.lines[&lane[0].0].at < keep.from {
                let (number, bytes) = lane.remove(0);
                self.lines.remove(&number);
                trimmed.old_bytes += bytes;
            }
        }
        let size = |lane: &[(u64, u64)]| lane.iter().map(|(_, bytes)| bytes).sum::<u64>();
        while lanes.values().map(|lane| size(lane)).sum::<u64>() > keep.bytes {
            let left = lanes.iter_mut().filter(|(_, lane)| lane.len() > 1);
            let furthest = left.max_by_key(|(name, lane)| {
                let share = i128::from(keep.share(name, others));
                i128::from(size(&lane[1..])) - share
            });
            let Some((_, lane)) = furthest else {
                break;
            };
            let (number, bytes) = lane.remove(0);
            self.lines.remove(&number);
            trimmed.early_bytes += bytes;
        }
        trimmed
    }
}
