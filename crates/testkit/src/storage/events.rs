//! The queue of the store in memory.

use bytes::Bytes;
use freehold_domain::{
    FunctionRef, InvocationId, KeptTime, Principal, QueueTime, TenantId,
    ports::{Claim, CommitError, EndedBefore, EventCounts, EventState},
    record::{ClaimedEvent, EventEnd, EventV1},
};
use std::collections::{BTreeMap, HashMap, VecDeque};

#[derive(Clone)]
enum Place {
    Waiting,
    Running,
    Ended(EventEnd, QueueTime),
}

#[derive(Clone)]
struct Row {
    event: EventV1,
    body: Bytes,
    place: Place,
    /// When it is due, or when its lease ends.
    due: QueueTime,
    epoch: u64,
    last_error: Option<String>,
}

/// Every event ever accepted, with what became of it until that is forgotten.
#[derive(Clone, Default)]
pub(super) struct Events {
    rows: BTreeMap<InvocationId, Row>,
    /// The tenant that the next claim begins after.
    served: Option<TenantId>,
    /// Done and dead ones that are forgotten.
    forgotten: (u64, u64),
    /// The queue's time.
    pub(super) kept: Option<KeptTime>,
}

impl Events {
    pub(super) fn add(
        &mut self,
        who: &Principal,
        event: EventV1,
        due: QueueTime,
        body: Bytes,
    ) -> Result<(), CommitError> {
        check(who, &event.function.tenant)?;
        if self.rows.contains_key(&event.id) {
            return Err(CommitError::Failed {
                reason: format!("event {} was accepted before", event.id),
            });
        }
        let row = Row {
            due,
            body,
            place: Place::Waiting,
            epoch: 0,
            last_error: None,
            event,
        };
        self.rows.insert(row.event.id, row);
        Ok(())
    }

    fn claimed(
        &mut self,
        who: &Principal,
        id: InvocationId,
        epoch: u64,
    ) -> Result<&mut Row, CommitError> {
        let stale = CommitError::StaleClaim { id, epoch };
        let row = self.rows.get_mut(&id).ok_or(stale.clone())?;
        check(who, &row.event.function.tenant)?;
        match row.place {
            Place::Running if row.epoch == epoch => Ok(row),
            _ => Err(stale),
        }
    }

    pub(super) fn retry(
        &mut self,
        who: &Principal,
        id: InvocationId,
        epoch: u64,
        due: QueueTime,
        counts: bool,
        error: Option<String>,
    ) -> Result<(), CommitError> {
        let row = self.claimed(who, id, epoch)?;
        row.place = Place::Waiting;
        row.due = due;
        if !counts {
            row.event.attempts = row.event.attempts.saturating_sub(1);
        }
        if error.is_some() {
            row.last_error = error;
        }
        Ok(())
    }

    pub(super) fn end(
        &mut self,
        who: &Principal,
        id: InvocationId,
        epoch: u64,
        end: EventEnd,
        at: QueueTime,
    ) -> Result<(), CommitError> {
        let row = self.claimed(who, id, epoch)?;
        row.place = Place::Ended(end, at);
        row.body = Bytes::new();
        Ok(())
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Vec<ClaimedEvent> {
        let now = claim.now;
        let running = self.rows.values_mut();
        for row in running.filter(|row| matches!(row.place, Place::Running)) {
            row.due = row.due + claim.slept;
        }
        let mut due: BTreeMap<TenantId, VecDeque<(QueueTime, InvocationId)>> = BTreeMap::new();
        for (id, row) in &self.rows {
            if !matches!(row.place, Place::Ended(..)) && row.due <= now {
                let tenant = row.event.function.tenant.clone();
                due.entry(tenant).or_default().push_back((row.due, *id));
            }
        }
        let mut lanes: VecDeque<_> = due.into_iter().collect();
        let behind = lanes
            .iter()
            .position(|(tenant, _)| self.served.as_ref().is_none_or(|served| tenant > served));
        lanes.rotate_left(behind.unwrap_or(0));
        for (tenant, lane) in &mut lanes {
            lane.make_contiguous().sort();
            let mut taken: HashMap<&FunctionRef, usize> = HashMap::new();
            lane.retain(|(_, id)| {
                let function = &self.rows[id].event.function;
                let taken = taken.entry(function).or_default();
                *taken += 1;
                *taken <= claim.function_room(function)
            });
            lane.truncate(claim.room(tenant));
        }
        let mut claimed = Vec::new();
        while claimed.len() < claim.limit {
            let Some((tenant, mut lane)) = lanes.pop_front() else {
                break;
            };
            let Some((_, id)) = lane.pop_front() else {
                continue;
            };
            let row = self.rows.get_mut(&id).expect("taken from the rows above");
            row.place = Place::Running;
            row.epoch += 1;
            row.event.attempts += 1;
            row.due = now + claim.lease;
            claimed.push(ClaimedEvent {
                event: row.event.clone(),
                body: row.body.clone(),
                epoch: row.epoch,
                // Nothing here outlives its process.
                interrupted: 0,
            });
            self.served = Some(tenant.clone());
            lanes.push_back((tenant, lane));
        }
        claimed
    }

    pub(super) fn forget(&mut self, ended: EndedBefore, limit: usize) -> u64 {
        let old = |row: &Row| match row.place {
            Place::Ended(EventEnd::Done, at) => at < ended.done,
            Place::Ended(EventEnd::Dead { .. }, at) => at < ended.dead,
            Place::Waiting | Place::Running => false,
        };
        let found = self.rows.iter().filter(|(_, row)| old(row));
        let ids: Vec<_> = found.map(|(id, _)| *id).take(limit).collect();
        for id in &ids {
            let gone = self.rows.remove(id).map(|row| row.place);
            match gone {
                Some(Place::Ended(EventEnd::Done, _)) => self.forgotten.0 += 1,
                _ => self.forgotten.1 += 1,
            }
        }
        ids.len() as u64
    }

    pub(super) fn next_due(&self) -> Option<QueueTime> {
        let open = self.rows.values();
        open.filter(|row| !matches!(row.place, Place::Ended(..)))
            .map(|row| row.due)
            .min()
    }

    pub(super) fn state(&self, id: InvocationId) -> Option<(TenantId, EventState)> {
        let row = self.rows.get(&id)?;
        let attempts = row.event.attempts;
        let state = match &row.place {
            Place::Waiting => EventState::Waiting {
                due: row.due,
                attempts,
                last_error: row.last_error.clone(),
            },
            Place::Running => EventState::Running {
                lease_until: row.due,
                attempts,
                epoch: row.epoch,
            },
            Place::Ended(end, at) => EventState::Ended {
                end: end.clone(),
                at: *at,
                attempts,
            },
        };
        Some((row.event.function.tenant.clone(), state))
    }

    pub(super) fn counts(&self) -> EventCounts {
        let (done, dead) = self.forgotten;
        let mut counts = EventCounts {
            accepted: done + dead,
            done,
            dead,
            ..EventCounts::default()
        };
        for row in self.rows.values() {
            counts.accepted += 1;
            match row.place {
                Place::Waiting => counts.waiting += 1,
                Place::Running => counts.running += 1,
                Place::Ended(EventEnd::Done, _) => counts.done += 1,
                Place::Ended(EventEnd::Dead { .. }, _) => counts.dead += 1,
            }
        }
        counts
    }
}

fn check(who: &Principal, tenant: &TenantId) -> Result<(), CommitError> {
    if who.reaches(tenant) {
        return Ok(());
    }
    Err(CommitError::Denied {
        who: format!("{who:?}"),
        tenant: tenant.clone(),
    })
}
