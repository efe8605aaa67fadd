//! Which start image of its runtime a revision starts from: the bare one, or the one that holds the
//! libraries that the runtime brings (the AWS SDK of Python's) as well.
//!
//! A package that holds a module of one of their names, as was found when it was deployed, starts from
//! bare images alone. Whether any other wants them is not guessed: a start that came up without them
//! says whether its init imported them, and found nothing of the function's before them; the next one
//! is given the image that holds them. One of those that says otherwise (the function brings a module that the
//! libraries would have taken) ends it for that revision, as do some that do not come up. A guest
//! that lies has its own next start to gain.
//!
//! The images are made when the first revision wants them, one after the other, and go when none
//! has started from them for [`UNUSED`].

use super::ShelfKey;
use crate::{node::Node, route::Revision};
use freehold_domain::{
    ids::CoreId,
    ports::{Contract, Link, PRELOAD_LIBRARIES},
    record::PackageV1,
};
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

/// How long images are kept that nobody starts from.
const UNUSED: Duration = Duration::from_secs(3600);
/// From the start that wanted them to the first, and between two: calls go first.
const SETTLES: Duration = Duration::from_millis(200);
const BETWEEN: Duration = Duration::from_secs(3);
/// How often they are looked at when nothing is missing.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What a runtime imports before it is known for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Preload {
    /// What it needs itself, and what most functions import.
    Bare,
    /// The libraries that it brings, too.
    Libraries,
}

impl Preload {
    /// As the runtime is told.
    pub(super) fn variable(self) -> Option<&'static str> {
        match self {
            Self::Bare => None,
            Self::Libraries => Some(PRELOAD_LIBRARIES),
        }
    }
}

/// What is known of a revision's init.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    uses: AtomicU8,
    /// Starts with the libraries that did not come up.
    failures: AtomicU8,
}

const USES: u8 = 1;
const UNFIT: u8 = 2;
/// Starts with the libraries that may fail: one may be the machine's doing.
const FAILURES_MAX: u8 = 3;

impl Seen {
    /// Of a revision that has not started yet.
    pub(crate) fn of(package: &PackageV1) -> Self {
        let seen = Self::default();
        if package.holds_libraries {
            seen.uses.store(UNFIT, Ordering::Relaxed);
        }
        seen
    }

    /// What its next instance is to start with.
    pub(crate) fn preload(&self) -> Preload {
        match self.uses.load(Ordering::Relaxed) {
            USES => Preload::Libraries,
            _ => Preload::Bare,
        }
    }

    /// A start with this preload was given up for a plain one.
    pub(crate) fn did_not_come_up(&self, began_with: Preload) {
        if began_with == Preload::Libraries
            && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX
        {
            self.uses.store(UNFIT, Ordering::Relaxed);
        }
    }

    /// An instance ran out of memory. One that begins with less, or is executed, may fit.
    pub(crate) fn ran_out_of_memory(&self) {
        let _ = self
            .uses
            .compare_exchange(USES, UNFIT, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether it is news that the libraries are wanted.
    fn note(&self, began_with: Preload, uses_libraries: bool) -> bool {
        match (began_with, uses_libraries) {
            (Preload::Bare, true) => self
                .uses
                .compare_exchange(0, USES, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok(),
            (Preload::Libraries, false) => {
                self.uses.store(UNFIT, Ordering::Relaxed);
                false
            }
            (Preload::Bare, false) | (Preload::Libraries, true) => false,
        }
    }
}

/// An instance of `revision` has come up, and was begun with this preload.
pub(in crate::pool) fn came_up(
    node: &Arc<Node>,
    revision: &Revision,
    core: CoreId,
    began_with: Preload,
    link: &dyn Link,
) {
    if revision.seen.note(began_with, link.uses_libraries())
        && let (Some(key), Some(contract)) = (ShelfKey::of(revision, core), revision.contract())
    {
        want(node, key, contract);
    }
}

/// Sees to it that there are images with libraries.
pub(super) fn want(node: &Arc<Node>, key: ShelfKey, contract: &Arc<dyn Contract>) {
    if node.stock.templates.want_libraries(node, key.runtime) {
        let keeper = keep(Arc::downgrade(node), key, contract.clone());
        node.spawn_on(key.core, keeper);
    }
}

/// Makes them, makes them anew, lets them go.
async fn keep(node: Weak<Node>, key: ShelfKey, contract: Arc<dyn Contract>) {
    let mut wait = SETTLES;
    while let Some(clock) = node.upgrade().map(|node| node.parts.clock.clone()) {
        clock.sleep(wait).await;
        let Some(node) = node.upgrade() else {
            return;
        };
        let (stock, stops) = (&node.stock, node.draining.load(Ordering::Acquire));
        if stops || stock.templates.let_go_libraries(&node, key.runtime, UNUSED) {
            return;
        }
        let making = stock.making();
        let made = stock
            .templates
            .see_to(&node, key, Preload::Libraries, &contract)
            .await;
        drop(making);
        wait = if made { BETWEEN } else { LOOK_AGAIN };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_believed_until_the_image_contradicts() {
        let seen = Seen::default();
        assert!(!seen.note(Preload::Bare, false));
        assert_eq!(seen.preload(), Preload::Bare);
        assert!(seen.note(Preload::Bare, true));
        assert!(!seen.note(Preload::Bare, true), "no news");
        assert_eq!(seen.preload(), Preload::Libraries);
        assert!(!seen.note(Preload::Libraries, true));
        assert_eq!(seen.preload(), Preload::Libraries);
        seen.note(Preload::Libraries, false);
        assert!(!seen.note(Preload::Bare, true), "never again");
        assert_eq!(seen.preload(), Preload::Bare);
    }

    #[test]
    fn some_failures_are_the_revisions_own() {
        let seen = Seen::default();
        assert!(seen.note(Preload::Bare, true));
        for _ in 1..FAILURES_MAX {
            seen.did_not_come_up(Preload::Libraries);
        }
        seen.did_not_come_up(Preload::Bare);
        assert_eq!(seen.preload(), Preload::Libraries);
        seen.did_not_come_up(Preload::Libraries);
        assert_eq!(seen.preload(), Preload::Bare);
    }

    #[test]
    fn who_ran_out_of_memory_begins_with_less() {
        let seen = Seen::default();
        seen.ran_out_of_memory();
        assert!(seen.note(Preload::Bare, true), "nothing was known yet");
        assert_eq!(seen.preload(), Preload::Libraries);
        seen.ran_out_of_memory();
        assert_eq!(seen.preload(), Preload::Bare);
        assert!(!seen.note(Preload::Bare, true));
        assert_eq!(seen.preload(), Preload::Bare);
    }
}
