//! How many calls that came to nothing become lines, denied ones and failed ones: a flood of them
//! must not fill the disk, nor push out of a trail of bounded size what others did.
//!
//! In a minute so many of each tenant's become lines, denied and failed ones apart, and so many of
//! all that nothing proves; the rest are counted, and the counts become lines as well, a few a
//! minute. What a tenant's own become does not hang on what others do.

use freehold_domain::{Mono, TenantId, audit::AuditResult};
use std::{collections::HashMap, time::Duration};

/// The time for which lines are allotted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Lines of one window for each share.
pub(super) const LINES_MAX: u32 = 30;
/// Lines of one window of all calls that nothing proves.
pub(super) const LINES_UNPROVEN_MAX: u32 = 120;
/// Least time between two rounds of counts.
pub(super) const COUNTS_EVERY: Duration = Duration::from_secs(15);
/// Shares of what is not proven; further ones count as those of nobody known. Those of proven calls
/// are at most two for each tenant that the operator made.
const SHARES_UNPROVEN_MAX: usize = 32;

/// On whose share a call counts. What is not proven has a share apart: whoever knows the id of a key
/// uses nothing up of what its owner has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Share {
    pub(super) tenant: Option<TenantId>,
    pub(super) proven: bool,
    /// What came of it.
    pub(super) result: AuditResult,
}

/// Calls that became no line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) share: Share,
    pub(super) calls: u64,
}

#[derive(Debug, Default)]
struct Used {
    lines: u32,
    counted: u64,
}

/// What was used of this window.
#[derive(Debug, Default)]
pub(super) struct Denials {
    shares: HashMap<Share, Used>,
    lines_unproven: u32,
    begun: Mono,
    told: Mono,
}

impl Denials {
    /// Whether a call becomes a line; it is counted otherwise.
    pub(super) fn take(&mut self, share: Share, now: Mono) -> bool {
        if now.since(self.begun) >= WINDOW {
            self.begun = now;
            self.lines_unproven = 0;
            self.shares.retain(|_, used| {
                used.lines = 0;
                used.counted > 0
            });
        }
        let proven = share.proven;
        let has_place = proven || self.shares.contains_key(&share) || {
            let unproven = self.shares.keys().filter(|share| !share.proven);
            unproven.count() < SHARES_UNPROVEN_MAX
        };
        let share = match has_place {
            true => share,
            false => Share {
                tenant: None,
                ..share
            },
        };
        let used = self.shares.entry(share).or_default();
        if used.lines >= LINES_MAX || !proven && self.lines_unproven >= LINES_UNPROVEN_MAX {
            used.counted += 1;
            return false;
        }
        used.lines += 1;
        self.lines_unproven += u32::from(!proven);
        true
    }

    /// The counts that are due, each told once; all that there are with `all`.
    pub(super) fn counted(&mut self, now: Mono, all: bool) -> Vec<Counted> {
        if !all && now.since(self.told) < COUNTS_EVERY {
            return Vec::new();
        }
        let counted = self.shares.iter_mut().filter(|(_, used)| used.counted > 0);
        let counted: Vec<_> = counted
            .map(|(share, used)| Counted {
                share: share.clone(),
                calls: std::mem::take(&mut used.counted),
            })
            .collect();
        if !counted.is_empty() {
            self.told = now;
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(number: u32, proven: bool) -> Share {
        let tenant = (number > 0).then(|| format!("{number:012}").parse().unwrap());
        Share {
            tenant,
            proven,
            result: AuditResult::Denied,
        }
    }

    fn at(seconds: u64) -> Mono {
        Mono(1_000_000_000_000) + Duration::from_secs(seconds)
    }

    fn calls(denials: &mut Denials, of: &Share, now: Mono, calls: u32) -> u32 {
        let lines = (0..calls).filter(|_| denials.take(of.clone(), now));
        lines.count() as u32
    }

    #[test]
    fn each_share_has_its_lines_and_the_rest_is_counted_once() {
        let mut denials = Denials::default();
        let (one, forged) = (share(1, true), share(1, false));
        assert_eq!(calls(&mut denials, &forged, at(0), 1000), LINES_MAX);
        assert_eq!(calls(&mut denials, &one, at(0), 3), 3);
        let counted = Counted {
            share: forged.clone(),
            calls: u64::from(1000 - LINES_MAX),
        };
        assert_eq!(denials.counted(at(1), false), [counted]);
        assert_eq!(denials.counted(at(1), true), []);
        assert_eq!(calls(&mut denials, &forged, at(59), 5), 0);
        assert_eq!(denials.counted(at(2), false), [], "not again so soon");
        // What was counted in the window before is not forgotten with it.
        assert_eq!(calls(&mut denials, &forged, at(61), 40), LINES_MAX);
        let counted = denials.counted(at(61), false);
        assert_eq!(counted[0].calls, 5 + 10);
    }

    #[test]
    fn what_fails_and_what_is_denied_use_up_nothing_of_each_other() {
        let mut denials = Denials::default();
        let denied = share(1, true);
        let failed = Share {
            result: AuditResult::Failed,
            ..denied.clone()
        };
        assert_eq!(calls(&mut denials, &failed, at(0), 1000), LINES_MAX);
        assert_eq!(calls(&mut denials, &denied, at(0), 3), 3);
        let counted = Counted {
            share: failed,
            calls: u64::from(1000 - LINES_MAX),
        };
        assert_eq!(denials.counted(at(1), false), [counted]);
    }

    #[test]
    fn a_tenants_own_lines_do_not_hang_on_what_others_do() {
        let mut denials = Denials::default();
        for n in 2..100 {
            calls(&mut denials, &share(n, true), at(0), 100);
            calls(&mut denials, &share(n, false), at(0), 100);
        }
        assert_eq!(calls(&mut denials, &share(1, true), at(1), 100), LINES_MAX);
    }

    #[test]
    fn many_that_prove_nothing_have_a_bound_in_lines_and_in_memory() {
        let mut denials = Denials::default();
        let lines: u32 = (1..=1000)
            .map(|n| calls(&mut denials, &share(n, false), at(0), 10))
            .sum();
        assert_eq!(lines, LINES_UNPROVEN_MAX);
        assert!(denials.shares.len() <= SHARES_UNPROVEN_MAX + 1);
        let counted = denials.counted(at(20), false);
        assert!(counted.len() <= SHARES_UNPROVEN_MAX + 1);
        let calls: u64 = counted.iter().map(|one| one.calls).sum();
        assert_eq!(calls, 10_000 - u64::from(LINES_UNPROVEN_MAX));
        assert!(denials.take(share(7, true), at(80)));
        assert_eq!(denials.shares.len(), 1);
    }
}
