//! The loop: claim what there is room for, run it, wait for whatever comes first.

use super::{EventQueueWorker, attempt::attempt, held::Held, platform, settle::give_back};
use freehold_domain::{
    FunctionRef, InvocationId, TenantId,
    ports::{Claim, Clock},
    record::ClaimedEvent,
};
use futures_util::{
    FutureExt, StreamExt,
    future::{join_all, pending},
    stream::FuturesUnordered,
};
use std::{collections::HashMap, sync::atomic::Ordering::Relaxed, time::Duration};

/// Longest sleep while something waits: sleeps of the machine are noticed, and a wall clock that was
/// set, at the latest then.
const NAP_MAX: Duration = Duration::from_secs(60);
/// How old the queue's time as it is kept becomes while there is something to do.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Wait after a claim that failed, or that found nothing though something is due.
const NAP_MIN: Duration = Duration::from_secs(1);

/// What a claim led to.
enum Claimed {
    /// As many as were asked for: there may be more.
    Full,
    /// Fewer; look again after this long, or when something happens.
    Short(Option<Duration>),
}

impl EventQueueWorker {
    /// Works the queue off until [`EventQueueWorker::begin_drain`]; the caller keeps it on a task
    /// that it joins at shutdown. One call at a time.
    ///
    /// Dropping the future is a crash: what ran stays claimed until its lease ends or the store is
    /// opened again.
    pub async fn run(&self) {
        let mut held = Held::default();
        let mut epochs: HashMap<InvocationId, u64> = HashMap::new();
        let mut running = FuturesUnordered::new();
        let mut slept = self.time.slept_since(Duration::ZERO);
        while !self.draining.load(Relaxed) {
            let mut nap = None;
            let free = self.policy.whole().in_flight_max.saturating_sub(held.all());
            if free > 0 {
                let (events, claimed) = self.claim(&held, free, &mut slept).await;
                for event in events {
                    let (id, epoch) = (event.event.id, event.epoch);
                    held.take(&event.event.function);
                    epochs.insert(id, epoch);
                    running.push(attempt(self, event).map(move |of| (id, epoch, of)));
                }
                match claimed {
                    // Gives what was just claimed its first turn, then goes on claiming.
                    Claimed::Full => nap = Some(Duration::ZERO),
                    Claimed::Short(wait) => nap = wait,
                }
            }
            let idle = running.is_empty();
            tokio::select! {
                biased;
                () = self.drain.notified() => {}
                Some(ended) = running.next(), if !idle => {
                    settled(&mut held, &mut epochs, ended);
                    // Everything else that ended by now, before the next claim.
                    while let Some(Some(ended)) = running.next().now_or_never() {
                        settled(&mut held, &mut epochs, ended);
                    }
                }
                () = self.wake.notified() => {}
                () = self.nap(nap) => {}
            }
        }
        let grace = self.deps.clock.sleep(self.policy.whole().drain_grace);
        let all = async {
            while let Some(ended) = running.next().await {
                settled(&mut held, &mut epochs, ended);
            }
        };
        tokio::select! {
            biased;
            () = all => {}
            () = grace => {}
        }
        // Cancels what the grace was too short for, before it is offered to anybody else.
        drop(running);
        let left = epochs
            .iter()
            .map(|(id, epoch)| give_back(self, *id, *epoch));
        join_all(left).await;
        self.keep_time(Duration::ZERO).await;
    }

    /// What cannot be kept now is kept before the next moment is written.
    async fn keep_time(&self, age_max: Duration) {
        let kept = self.time.keep_after(&*self.deps.commit, age_max).await;
        if let Err(error) = kept {
            tracing::warn!(%error, "the queue's time could not be kept");
        }
    }

    /// `slept` is what is known of the machine's sleep, for the leases that were given.
    async fn claim(
        &self,
        held: &Held,
        free: usize,
        slept: &mut Duration,
    ) -> (Vec<ClaimedEvent>, Claimed) {
        self.keep_time(KEEP_EVERY).await;
        let policy = self.policy.whole();
        let limit = free.min(policy.claim_max);
        // In this order: no sleep is in the one and not in the other.
        let (now, more) = (self.time.now(), self.time.slept_since(*slept));
        let claim = Claim {
            slept: more,
            per_tenant: policy.in_flight_per_tenant,
            held: self.held_with_paused(held),
            per_function: policy.in_flight_per_function,
            held_of_functions: held.by_function(),
            ..Claim::new(now, policy.lease, limit)
        };
        let events = match self.deps.queue.claim(&platform(), claim).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, "the queue could not be claimed from");
                return (Vec::new(), Claimed::Short(Some(NAP_MIN)));
            }
        };
        *slept += more;
        if events.len() == limit {
            return (events, Claimed::Full);
        }
        let nap = match self.deps.queue.next_due(&platform()).await {
            Ok(None) => None,
            Ok(Some(due)) => {
                let wait = due.since(self.time.now());
                // Due and not taken: its tenant or function is at its bound. An end will wake the
                // loop; events of others may become due before.
                Some(if wait.is_zero() { NAP_MIN } else { wait })
            }
            Err(error) => {
                tracing::warn!(%error, "the queue could not be read");
                Some(NAP_MIN)
            }
        };
        (events, Claimed::Short(nap))
    }

    /// What the worker holds by tenant; one that is paused has no room left.
    fn held_with_paused(&self, held: &Held) -> Vec<(TenantId, usize)> {
        let mut by_tenant = held.by_tenant();
        let paused = self.paused.lock();
        if !paused.is_empty() {
            by_tenant.retain(|(tenant, _)| !paused.contains(tenant));
            by_tenant.extend(paused.iter().map(|tenant| (tenant.clone(), usize::MAX)));
        }
        by_tenant
    }

    async fn nap(&self, nap: Option<Duration>) {
        let clock: &dyn Clock = &*self.deps.clock;
        match nap {
            None => pending().await,
            Some(Duration::ZERO) => tokio::task::yield_now().await,
            Some(nap) => clock.sleep(nap.min(NAP_MAX)).await,
        }
    }
}

fn settled(
    held: &mut Held,
    epochs: &mut HashMap<InvocationId, u64>,
    (id, epoch, function): (InvocationId, u64, FunctionRef),
) {
    held.give_back(&function);
    // A second claim of the same event, after its lease, has an epoch of its own.
    if epochs.get(&id) == Some(&epoch) {
        epochs.remove(&id);
    }
}
