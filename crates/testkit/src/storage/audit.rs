//! The audit trail in memory.

use freehold_domain::{
    audit::AuditLine,
    ports::{AuditPage, AuditQuery, AuditRetention, AuditTrimmed},
};
use std::collections::VecDeque;

/// Lines, the first of them at position `removed`.
#[derive(Default)]
pub(super) struct Trail {
    lines: VecDeque<AuditLine>,
    removed: u64,
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
        self.lines.push_back(line.clone());
        self.appended += 1;
        self.appended.is_multiple_of(TRIM_EVERY)
    }

    pub(super) fn lines(&self, query: &AuditQuery) -> AuditPage {
        let mut page = AuditPage {
            position: query.position.max(self.removed),
            ..AuditPage::default()
        };
        let skipped = usize::try_from(page.position - self.removed).unwrap_or(usize::MAX);
        for line in self.lines.iter().skip(skipped) {
            if page.lines.len() >= query.limit.max(1) {
                page.more = true;
                return page;
            }
            page.position += 1;
            if query.wants(line) {
                page.lines.push(line.clone());
            }
        }
        page
    }

    pub(super) fn trim(&mut self, keep: AuditRetention) -> AuditTrimmed {
        let mut all: u64 = self.lines.iter().map(bytes).sum();
        let mut trimmed = AuditTrimmed::default();
        while self.lines.len() > 1 {
            let (oldest, size) = (&self.lines[0], bytes(&self.lines[0]));
            match oldest.at < keep.from {
                true => trimmed.old_bytes += size,
                false if all > keep.bytes => trimmed.early_bytes += size,
                false => break,
            }
            all -= size;
            self.removed += 1;
            self.lines.pop_front();
        }
        trimmed
    }
}
