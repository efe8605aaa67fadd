//! Tells instances what they weigh: as their crowd and their tenant have it, where it changes.

use super::{
    Cell, State,
    crowd::{self, weight_of},
};
use crate::{node::Node, route::Revision};
use freehold_domain::time::Mono;
use std::sync::{Arc, atomic::Ordering};

impl Revision {
    /// Notes how many are needed now; where that changes what each weighs, those that are busy. An
    /// idle one is told when it is used, one that starts when it is.
    pub(super) fn weighed(&self, state: &mut State, now: Mono) -> Option<Vec<Arc<Cell>>> {
        let needed = state.needed();
        if needed > 0 {
            state.place.enter(now);
        }
        if !state.crowd.note(needed, crowd::second(now)) {
            return None;
        }
        let halvings = state.crowd.halvings();
        self.pool.halvings.store(halvings, Ordering::Relaxed);
        let busy = state.seats.values().filter(|seat| seat.busy > 0);
        Some(busy.map(|seat| seat.cell.clone()).collect())
    }

    pub(super) fn weigh_all(&self, node: &Node, cells: Vec<Arc<Cell>>) {
        for cell in cells {
            self.weigh_one(node, &cell);
        }
    }

    /// Tells an instance what it weighs, unless it knows.
    pub(super) fn weigh_one(&self, node: &Node, cell: &Cell) {
        let halvings = self.halvings();
        if cell.halvings.load(Ordering::Relaxed) != halvings
            && cell.halvings.swap(halvings, Ordering::Relaxed) != halvings
        {
            let whole = node.parts.config.now().cpu.share(self.spec.memory).weight;
            cell.instance.weigh(weight_of(whole, halvings));
        }
    }

    /// How often the weight of each instance is halved: for the function's others, and for the
    /// tenant's other functions.
    pub(crate) fn halvings(&self) -> u8 {
        let own = self.pool.halvings.load(Ordering::Relaxed);
        own.saturating_add(self.pool.tenant.halvings())
    }

    /// Tells those of its instances that run an event what they weigh.
    pub(super) fn weigh_busy(&self, node: &Node) {
        let busy = {
            let state = self.pool.state.lock();
            let busy = state.seats.values().filter(|seat| seat.busy > 0);
            busy.map(|seat| seat.cell.clone()).collect()
        };
        self.weigh_all(node, busy);
    }
}
