//! How many instances one core brings up at once, and who is next.
//!
//! A start takes processor time of the server, of a spawner and of the guest. Hundreds of them side
//! by side are each as slow as all of them together, miss their deadlines one after the other, and
//! are begun again. So few are under way and the others wait: tenants in turn, the functions of a
//! tenant in turn, each function's starts in the order in which they were asked for. A start that
//! waits holds nothing, and whose event was served meanwhile is not made.
//!
//! A place is given back when its holder says so or goes away; nobody keeps one by hanging.

use freehold_domain::ids::TenantId;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::oneshot;

/// See the module.
pub(crate) struct Gate(Mutex<State>);

struct State {
    free: usize,
    /// Whose turn it is comes first.
    tenants: VecDeque<Turn<TenantId, VecDeque<Line>>>,
}

/// The starts of one function, oldest first.
type Line = Turn<usize, VecDeque<oneshot::Sender<Place>>>;

struct Turn<K, W> {
    whose: K,
    waiting: W,
}

/// The right to bring one instance up; dropping it gives it back.
pub(crate) struct Place(Option<Arc<Gate>>);

impl Gate {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            free: places.max(1),
            tenants: VecDeque::new(),
        })))
    }

    /// Waits for a place on behalf of the function `function` of `tenant`.
    pub(crate) async fn enter(self: &Arc<Self>, tenant: &TenantId, function: usize) -> Place {
        let hears = {
            let mut state = self.0.lock();
            // Nobody waits while a place is free.
            if state.free > 0 {
                state.free -= 1;
                return Place(Some(self.clone()));
            }
            let (grant, hears) = oneshot::channel();
            state.stand(tenant, function, grant);
            hears
        };
        // The sender is in the line until it is used.
        hears.await.unwrap_or(Place(None))
    }

    /// Starts that wait for a place.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        let state = self.0.lock();
        let lines = state.tenants.iter().flat_map(|tenant| &tenant.waiting);
        lines.map(|line| line.waiting.len()).sum()
    }
}

impl State {
    fn stand(&mut self, tenant: &TenantId, function: usize, grant: oneshot::Sender<Place>) {
        let functions = &mut turn_of(&mut self.tenants, tenant).waiting;
        turn_of(functions, &function).waiting.push_back(grant);
    }

    /// Takes out who is next; its tenant and its function go to the end of their lines.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        let mut tenant = self.tenants.pop_front()?;
        let mut function = tenant.waiting.pop_front()?;
        let grant = function.waiting.pop_front();
        if !function.waiting.is_empty() {
            tenant.waiting.push_back(function);
        }
        if !tenant.waiting.is_empty() {
            self.tenants.push_back(tenant);
        }
        grant
    }
}

/// The line of somebody, at the end if it is new.
fn turn_of<'a, K: Clone + PartialEq, W: Default>(
    turns: &'a mut VecDeque<Turn<K, W>>,
    whose: &K,
) -> &'a mut Turn<K, W> {
    let at = turns.iter().position(|turn| turn.whose == *whose);
    let at = at.unwrap_or_else(|| {
        turns.push_back(Turn {
            whose: whose.clone(),
            waiting: W::default(),
        });
        turns.len() - 1
    });
    &mut turns[at]
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else {
            return;
        };
        loop {
            let next = {
                let mut state = gate.0.lock();
                let next = state.next();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else {
                return;
            };
            match next.send(Place(Some(gate.clone()))) {
                Ok(()) => return,
                // Who waited is gone. Taken apart, or it would come back here by being dropped.
                Err(mut back) => drop(back.0.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::{future::Future, pin::Pin};

    type Entering = Pin<Box<dyn Future<Output = Place>>>;

    fn tenant(name: &str) -> TenantId {
        name.parse().expect("a tenant's name")
    }

    /// One that stands in line: its first poll has been.
    fn stands(gate: &Arc<Gate>, whose: &str, function: usize) -> Entering {
        let (gate, whose) = (gate.clone(), tenant(whose));
        let mut entering: Entering = Box::pin(async move { gate.enter(&whose, function).await });
        assert!((&mut entering).now_or_never().is_none(), "it did not wait");
        entering
    }

    fn enters(gate: &Arc<Gate>) -> Place {
        let place = gate.enter(&tenant("000000000001"), 1).now_or_never();
        place.expect("a free place")
    }

    #[test]
    fn tenants_take_turns_then_functions_and_each_function_keeps_its_order() {
        let gate = Gate::new(1);
        let mut held = enters(&gate);
        let (busy, quiet) = ("000000000001", "000000000002");
        let asked = [
            (busy, 1, "busy 1, first"),
            (busy, 1, "busy 1, second"),
            (busy, 1, "busy 1, third"),
            (busy, 2, "busy 2, first"),
            (quiet, 3, "quiet 3, first"),
        ];
        let mut line: Vec<_> = asked
            .map(|(whose, function, name)| (name, stands(&gate, whose, function)))
            .into();
        let mut order = Vec::new();
        while !line.is_empty() {
            drop(held);
            let mut came = None;
            for (at, (name, entering)) in line.iter_mut().enumerate() {
                if let Some(place) = entering.now_or_never() {
                    assert!(came.is_none(), "two at once");
                    order.push(*name);
                    came = Some((at, place));
                }
            }
            let (at, place) = came.expect("somebody is next");
            drop(line.remove(at));
            held = place;
        }
        assert_eq!(
            order,
            [
                "busy 1, first",
                "quiet 3, first",
                "busy 2, first",
                "busy 1, second",
                "busy 1, third",
            ]
        );
    }

    #[test]
    fn who_leaves_the_line_is_passed_over_and_no_place_is_lost() {
        let gate = Gate::new(2);
        let (one, other) = (enters(&gate), enters(&gate));
        let gone = stands(&gate, "000000000001", 1);
        let mut stays = stands(&gate, "000000000001", 1);
        drop(gone);
        drop(one);
        let third = (&mut stays).now_or_never().expect("it is next");
        assert_eq!(gate.waiting(), 0);
        drop((third, other));
        let all = (enters(&gate), enters(&gate));
        drop(stands(&gate, "000000000001", 1));
        drop(all);
        // A place that was granted to somebody who has gone since.
        let held = (enters(&gate), enters(&gate));
        let granted = stands(&gate, "000000000001", 1);
        drop(held);
        drop(granted);
        let _both = (enters(&gate), enters(&gate));
    }
}
