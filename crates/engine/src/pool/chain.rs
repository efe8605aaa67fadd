//! What one instance runs, for the calls that come out of it.
//!
//! A function that calls another one does so through the platform's endpoint of its own instance,
//! and that asks here: which trace the call goes on with, how many functions stand before it, when
//! its caller's time is over. Nothing of it is taken from the guest, so that no function escapes the
//! count of hops by leaving out or forging a header.
//!
//! What is called while it comes up belongs to the call that its start was made for, or a loop
//! through inits would have no end; a start that nobody waited for has half the hops to go.
//!
//! An answer does not end it: code that goes on until the instance is frozen still calls as what
//! ran last.

use freehold_domain::{
    ids::{InstanceId, InvocationId, TenantId},
    invocation::HOPS_MAX,
    ports::{CallChain, Caller},
    time::Mono,
    trace::TraceHeader,
};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// Hops that stand before what the init of a start calls that nobody waited for: not none, since
/// a call that comes out of it may be what the next such start is made for.
pub(crate) const HOPS_AHEAD: u8 = HOPS_MAX / 2;

/// See the module.
pub(crate) struct Chain {
    tenant: TenantId,
    state: Mutex<State>,
}

struct State {
    running: Vec<Run>,
    last: Option<TraceHeader>,
}

struct Run {
    id: InvocationId,
    cancel: Arc<Notify>,
    trace: TraceHeader,
    deadline: Mono,
}

impl Chain {
    /// `hops` functions stand before what its init calls.
    pub(super) fn new(tenant: TenantId, instance: InstanceId, hops: u8) -> Self {
        let start = TraceHeader {
            hops,
            ..TraceHeader::new_root(instance.0)
        };
        Self {
            tenant,
            state: Mutex::new(State {
                running: Vec::new(),
                last: Some(start),
            }),
        }
    }

    /// Notes that an invocation runs until `deadline` at the latest; notified when somebody cancels
    /// it. `trace` is what the function is given.
    pub(super) fn enter(
        &self,
        id: InvocationId,
        trace: &TraceHeader,
        deadline: Mono,
    ) -> Arc<Notify> {
        let cancel = Arc::new(Notify::new());
        let run = Run {
            id,
            cancel: cancel.clone(),
            trace: trace.clone(),
            deadline,
        };
        self.state.lock().running.push(run);
        cancel
    }

    pub(super) fn leave(&self, id: InvocationId) {
        let mut state = self.state.lock();
        if let Some(found) = state.running.iter().position(|run| run.id == id) {
            let run = state.running.swap_remove(found);
            state.last = Some(run.trace);
        }
    }

    /// Cancels an invocation that runs here.
    pub(super) fn cancel(&self, id: InvocationId) -> bool {
        let state = self.state.lock();
        let found = state.running.iter().find(|run| run.id == id);
        found.inspect(|run| run.cancel.notify_one()).is_some()
    }
}

impl CallChain for Chain {
    fn caller(&self) -> Option<Caller> {
        let state = self.state.lock();
        // Of several that run side by side nobody knows which one calls: the longest chain is what
        // a loop would be in, and the last deadline ends nobody's call early.
        let longest = state.running.iter().max_by_key(|run| run.trace.hops);
        let trace = longest.map(|run| &run.trace).or(state.last.as_ref())?;
        Some(Caller {
            tenant: self.tenant.clone(),
            trace: trace.clone(),
            deadline: state.running.iter().map(|run| run.deadline).max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn trace(root: u128, hops: u8) -> TraceHeader {
        TraceHeader {
            hops,
            ..TraceHeader::new_root(Uuid::from_u128(root))
        }
    }

    #[test]
    fn a_call_belongs_to_what_runs_and_then_to_what_ran_last() {
        let chain = Chain::new(
            "111111111111".parse().unwrap(),
            InstanceId(Uuid::from_u128(9)),
            3,
        );
        let seen = chain.caller().unwrap();
        assert_eq!((seen.trace, seen.deadline), (trace(9, 3), None));
        let (first, second) = (
            InvocationId(Uuid::from_u128(1)),
            InvocationId(Uuid::from_u128(2)),
        );
        chain.enter(first, &trace(1, 1), Mono(10));
        let seen = chain.caller().unwrap();
        assert_eq!((seen.trace, seen.deadline), (trace(1, 1), Some(Mono(10))));
        chain.leave(first);
        let seen = chain.caller().unwrap();
        assert_eq!((seen.trace, seen.deadline), (trace(1, 1), None));
        chain.enter(second, &trace(2, 0), Mono(20));
        assert_eq!(chain.caller().unwrap().trace, trace(2, 0));
    }

    #[test]
    fn of_several_runs_the_longest_chain_and_the_last_deadline_count() {
        let chain = Chain::new(
            "111111111111".parse().unwrap(),
            InstanceId(Uuid::from_u128(9)),
            3,
        );
        for (number, hops, deadline) in [(1, 2, 30), (2, 5, 10), (3, 1, 20)] {
            let id = InvocationId(Uuid::from_u128(number));
            chain.enter(id, &trace(number, hops), Mono(deadline));
        }
        let seen = chain.caller().unwrap();
        assert_eq!((seen.trace.hops, seen.deadline), (5, Some(Mono(30))));
    }

    #[test]
    fn who_is_cancelled_is_told_and_nobody_else() {
        let chain = Chain::new(
            "111111111111".parse().unwrap(),
            InstanceId(Uuid::from_u128(9)),
            3,
        );
        let id = InvocationId(Uuid::from_u128(1));
        chain.enter(id, &trace(1, 1), Mono(10));
        assert!(!chain.cancel(InvocationId(Uuid::from_u128(2))));
        assert!(chain.cancel(id));
        chain.leave(id);
        assert!(!chain.cancel(id));
    }
}
