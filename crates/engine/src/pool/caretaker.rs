//! Looks after one instance while nobody else does: freezes it, has it wait awake where it is to, and
//! sees it end.
//!
//! It polls while the instance is in use, at the freezing interval, and sleeps through the rest:
//! a frozen instance costs no wake-up until it is thawed, stirred by the keeper, or ends. How long it
//! stays is the keeper's question.

use super::{
    Cell, Found,
    rest::{Rest, SHORT_AGAIN, Watch},
};
use crate::{node::Node, route::Revision};
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

/// Looks after `cell` until it is gone.
pub(super) async fn look_after(node: Weak<Node>, revision: Arc<Revision>, cell: Arc<Cell>) {
    let mut exited = cell.instance.exited();
    let mut watch = Watch::default();
    loop {
        let Some(strong) = node.upgrade() else {
            return;
        };
        let clock = strong.parts.clock.clone();
        let freeze_after = strong.parts.config.now().freeze_after;
        let now = clock.now();
        let until = match revision.pool.look(cell.id) {
            Found::Gone => return,
            Found::Busy => Some(now + freeze_after),
            Found::Idle {
                uses, frozen: true, ..
            } => match revision.pool.rest(&strong, cell.id) {
                Rest::Frozen => None,
                Rest::Short => Some(now + SHORT_AGAIN),
                Rest::Awake(_) => {
                    wake(&revision, &cell, uses, &mut watch, freeze_after).await;
                    None
                }
            },
            Found::Idle { uses, since, .. } if now >= since + freeze_after => {
                // Before it is asked how to wait: a use in between then is heard of.
                cell.rests.store(true, Ordering::Release);
                match revision.pool.rest(&strong, cell.id) {
                    Rest::Awake(until) if watch.is_still(&cell, uses, freeze_after).await => {
                        Some(watch.again(now, until))
                    }
                    rest => {
                        if matches!(rest, Rest::Awake(_)) {
                            revision.pool.mark_restless(cell.id, uses);
                        }
                        cell.rests.store(false, Ordering::Release);
                        freeze(&revision, &cell, uses).await;
                        watch.was_frozen();
                        continue;
                    }
                }
            }
            Found::Idle { since, .. } => Some(since + freeze_after),
        };
        drop(strong);
        let until = async {
            match until {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            report = &mut exited => {
                // An invocation that runs on it sees the same end and speaks for itself.
                let was_idle = revision.pool.look(cell.id).is_idle();
                revision.pool.remove(cell.id);
                if was_idle {
                    cell.note_crash(&revision, &report.cause);
                    cell.bury();
                }
                if let Some(node) = node.upgrade()
                    && revision.pool.minimum().max(revision.pool.ready()) > 0
                {
                    revision.tend(&node, cell.core);
                }
                return;
            }
            () = until => {}
            () = cell.stirred.notified() => {}
        }
    }
}

impl Found {
    fn is_idle(&self) -> bool {
        matches!(self, Self::Idle { .. })
    }
}

/// Has a frozen instance wait awake, if it is still: its group can be read as it is.
async fn wake(
    revision: &Revision,
    cell: &Cell,
    uses: u64,
    watch: &mut Watch,
    freeze_after: Duration,
) {
    if !watch.is_still(cell, uses, freeze_after).await {
        return revision.pool.mark_restless(cell.id, uses);
    }
    // Says so to whoever looks after it. Gone: the exit is on its way there.
    let _ = cell.thaw().await;
    watch.was_thawed();
}

async fn freeze(revision: &Revision, cell: &Cell, uses: u64) {
    let _one_at_a_time = cell.power.lock().await;
    if revision.pool.mark_frozen(cell.id, uses) {
        cell.log.flush();
        // Gone: the exit is on its way to the caretaker.
        let frozen = cell.instance.freeze().await;
        if let (Ok(()), Some(traffic)) = (frozen, cell.traffic()) {
            traffic.stops();
        }
    }
}
