use super::{event, function, platform, root, tenant};
use freehold_domain::{
    BootTime, InvocationId, KeptTime, Principal, QueueTime, TenantId, Wall,
    ports::{
        Claim, CommitError, EndedBefore, EventCounts, EventState, Fence, Op, ReadError, Storage,
    },
    record::{ClaimedEvent, EventEnd},
};
use std::{sync::Arc, time::Duration};

const LEASE: Duration = Duration::from_secs(60);
const START: QueueTime = QueueTime(1_000_000_000);

async fn commit(store: &dyn Storage, op: Op) -> Result<(), CommitError> {
    let done = store.commit(&platform(), vec![op], Fence::None);
    done.await.map(drop)
}

async fn add(store: &dyn Storage, owner: &TenantId, number: u64) -> InvocationId {
    let event = event(owner, number, START);
    let id = event.id;
    let body = format!("body {number}").into();
    let op = Op::EventAdd {
        event: Box::new(event),
        due: START,
        body,
    };
    commit(store, op).await.expect("accepted");
    id
}

async fn claim(store: &dyn Storage, now: QueueTime, limit: usize) -> Vec<ClaimedEvent> {
    let claimed = store
        .claim(&platform(), Claim::new(now, LEASE, limit))
        .await;
    claimed.expect("claims")
}

async fn counts(store: &dyn Storage) -> EventCounts {
    let counts = store.counts(&platform()).await.expect("counts");
    let open = counts.waiting + counts.running;
    assert_eq!(counts.accepted, open + counts.done + counts.dead);
    counts
}

fn retry(claimed: &ClaimedEvent, due: QueueTime, counts: bool) -> Op {
    Op::EventRetry {
        id: claimed.event.id,
        epoch: claimed.epoch,
        due,
        counts,
        error: Some("it failed".to_owned()),
    }
}

fn end(claimed: &ClaimedEvent, end: EventEnd) -> Op {
    Op::EventEnd {
        id: claimed.event.id,
        epoch: claimed.epoch,
        end,
        at: QueueTime(START.0 + 5),
    }
}

/// The queue: claims, leases, epochs, fairness, one end per event, exact counts, tenancy.
pub async fn events_suite(make: impl Fn() -> Arc<dyn Storage>) {
    an_event_goes_from_waiting_to_one_end(&*make()).await;
    a_retry_waits_until_it_is_due(&*make()).await;
    a_lease_that_ran_out_is_due_again_and_fences_the_first(&*make()).await;
    a_lease_is_longer_by_what_the_machine_slept(&*make()).await;
    the_time_that_was_kept_last_is_read_back(&*make()).await;
    claims_go_round_the_tenants(&*make()).await;
    a_tenant_is_held_to_its_share(&*make()).await;
    a_full_function_is_left_where_it_is(&*make()).await;
    what_ended_long_ago_is_forgotten_and_stays_counted(&*make()).await;
    an_id_is_accepted_once(&*make()).await;
    only_the_platform_claims(&*make()).await;
}

async fn an_event_goes_from_waiting_to_one_end(store: &dyn Storage) {
    let who = platform();
    assert_eq!(store.next_due(&who).await, Ok(None));
    assert_eq!(counts(store).await, EventCounts::default());
    let id = add(store, &tenant(1), 1).await;
    assert_eq!(store.next_due(&who).await, Ok(Some(START)));
    let waiting = store.state(&who, id).await.expect("reads");
    assert!(
        matches!(waiting, Some(EventState::Waiting { attempts: 0, .. })),
        "{waiting:?}"
    );
    assert!(
        claim(store, QueueTime(START.0 - 1), 10).await.is_empty(),
        "not due yet"
    );
    let claimed = claim(store, START, 10).await;
    let [held] = &claimed[..] else {
        panic!("one event is due: {claimed:?}");
    };
    let mut expected = event(&tenant(1), 1, START);
    expected.attempts = 1;
    assert_eq!(
        held.event, expected,
        "reads back as it was accepted, with this attempt"
    );
    assert_eq!(&held.body[..], b"body 1");
    assert_eq!(counts(store).await.running, 1);
    assert_eq!(store.next_due(&who).await, Ok(Some(START + LEASE)));
    assert!(claim(store, START, 10).await.is_empty(), "claimed once");
    commit(store, end(held, EventEnd::Done))
        .await
        .expect("ended");
    let after = counts(store).await;
    assert_eq!((after.done, after.running, after.accepted), (1, 0, 1));
    let state = store
        .state(&root(&tenant(1)), id)
        .await
        .expect("its owner looks it up");
    let ended = EventState::Ended {
        end: EventEnd::Done,
        at: QueueTime(START.0 + 5),
        attempts: 1,
    };
    assert_eq!(state, Some(ended.clone()));
    let dead = EventEnd::Dead {
        reason: "RetriesExhausted".to_owned(),
        last_error: None,
    };
    for again in [end(held, dead), retry(held, START, true)] {
        let error = commit(store, again).await;
        assert!(
            matches!(error, Err(CommitError::StaleClaim { .. })),
            "{error:?}"
        );
    }
    assert_eq!(
        store.state(&who, id).await,
        Ok(Some(ended)),
        "its end stays"
    );
    assert_eq!(store.next_due(&who).await, Ok(None));
    let unknown = event(&tenant(1), 99, START).id;
    assert_eq!(store.state(&who, unknown).await, Ok(None));
}

async fn a_retry_waits_until_it_is_due(store: &dyn Storage) {
    let id = add(store, &tenant(1), 1).await;
    let later = START + Duration::from_secs(60);
    let held = claim(store, START, 1).await.remove(0);
    commit(store, retry(&held, later, true))
        .await
        .expect("given back");
    let state = store.state(&platform(), id).await.expect("reads");
    let waiting = EventState::Waiting {
        due: later,
        attempts: 1,
        last_error: Some("it failed".to_owned()),
    };
    assert_eq!(state, Some(waiting));
    assert!(
        claim(store, QueueTime(later.0 - 1), 1).await.is_empty(),
        "not due yet"
    );
    let second = claim(store, later, 1).await.remove(0);
    assert_eq!(second.event.attempts, 2);
    assert!(second.epoch > held.epoch, "each claim raises the epoch");
    commit(store, retry(&second, later, false))
        .await
        .expect("given back");
    let third = claim(store, later, 1).await.remove(0);
    assert_eq!(third.event.attempts, 2, "an attempt that does not count");
    let before = counts(store).await;
    let error = commit(store, end(&second, EventEnd::Done)).await;
    assert!(
        matches!(error, Err(CommitError::StaleClaim { .. })),
        "{error:?}"
    );
    assert_eq!(counts(store).await, before);
}

async fn a_lease_that_ran_out_is_due_again_and_fences_the_first(store: &dyn Storage) {
    add(store, &tenant(1), 1).await;
    let first = claim(store, START, 1).await.remove(0);
    let over = START + LEASE;
    assert!(
        claim(store, QueueTime(over.0 - 1), 1).await.is_empty(),
        "still leased"
    );
    let second = claim(store, over, 1).await.remove(0);
    assert!(second.epoch > first.epoch);
    assert_eq!(second.event.attempts, 2);
    assert_eq!(counts(store).await.running, 1);
    let error = commit(store, end(&first, EventEnd::Done)).await;
    assert!(
        matches!(error, Err(CommitError::StaleClaim { .. })),
        "{error:?}"
    );
    commit(store, end(&second, EventEnd::Done))
        .await
        .expect("the holder ends it");
    assert_eq!(counts(store).await.done, 1);
    // Nobody overtook a late holder: its end counts.
    add(store, &tenant(1), 2).await;
    let late = claim(store, over, 1).await.remove(0);
    commit(store, end(&late, EventEnd::Done))
        .await
        .expect("late, and still the holder");
}

async fn a_lease_is_longer_by_what_the_machine_slept(store: &dyn Storage) {
    let who = platform();
    let first = add(store, &tenant(1), 1).await;
    let held = claim(store, START, 1).await.remove(0);
    let second = add(store, &tenant(1), 2).await;
    let slept = Duration::from_secs(3600);
    let over = START + LEASE;
    let after_sleep = |now, slept| Claim {
        slept,
        ..Claim::new(now, LEASE, 10)
    };
    let woken = after_sleep(over + slept.saturating_sub(LEASE), slept);
    let claimed = store.claim(&who, woken).await.expect("claims");
    let ids: Vec<_> = claimed.iter().map(|one| one.event.id).collect();
    assert_eq!(ids, [second], "what waits is due, what runs is held");
    let state = store.state(&who, first).await.expect("reads");
    let running = EventState::Running {
        lease_until: over + slept,
        attempts: 1,
        epoch: held.epoch,
    };
    assert_eq!(state, Some(running));
    let late = after_sleep(over + slept, Duration::ZERO);
    let claimed = store.claim(&who, late).await.expect("claims");
    let ids: Vec<_> = claimed.iter().map(|one| one.event.id).collect();
    assert!(ids.contains(&first), "and no longer than that");
}

async fn the_time_that_was_kept_last_is_read_back(store: &dyn Storage) {
    let who = platform();
    assert_eq!(store.time_kept(&who).await, Ok(None));
    let kept = |n: i64, boot| KeptTime {
        now: QueueTime(n),
        wall: Wall(n.wrapping_neg()),
        boot: BootTime {
            boot,
            since: Duration::from_micros(7),
        },
    };
    for kept in [
        kept(1 << 50, Some(u64::MAX)),
        kept(i64::MIN, None),
        kept(5, Some(1)),
    ] {
        commit(store, Op::EventTime { kept }).await.expect("kept");
        assert_eq!(store.time_kept(&who).await, Ok(Some(kept)));
    }
    let before = counts(store).await;
    let theirs = root(&tenant(1));
    let ops = vec![Op::EventTime {
        kept: kept(6, None),
    }];
    let error = store.commit(&theirs, ops, Fence::None).await;
    assert!(
        matches!(error, Err(CommitError::Denied { .. })),
        "{error:?}"
    );
    let read = store.time_kept(&theirs).await;
    assert!(matches!(read, Err(ReadError::Denied { .. })), "{read:?}");
    assert_eq!(store.time_kept(&who).await, Ok(Some(kept(5, Some(1)))));
    assert_eq!(counts(store).await, before, "it is no event");
}

async fn claims_go_round_the_tenants(store: &dyn Storage) {
    for number in 0..30 {
        add(store, &tenant(1), number).await;
    }
    for number in 30..32 {
        add(store, &tenant(2), number).await;
    }
    add(store, &tenant(3), 40).await;
    let of = |claimed: &[ClaimedEvent], owner: u64| {
        let owner = tenant(owner);
        let of = claimed.iter().filter(|c| c.event.function.tenant == owner);
        of.count()
    };
    let first = claim(store, START, 6).await;
    let shares = [1, 2, 3].map(|owner| of(&first, owner));
    assert_eq!(
        shares,
        [3, 2, 1],
        "small tenants are served beside a large one"
    );
    let rest = claim(store, START, 100).await;
    assert_eq!(rest.len(), 27, "and nothing is left over");
    for number in 100..110 {
        add(store, &tenant(number % 5), number).await;
    }
    let mut owners = Vec::new();
    for _ in 0..5 {
        let one = claim(store, START, 1).await.remove(0);
        owners.push(one.event.function.tenant);
    }
    owners.sort();
    owners.dedup();
    assert_eq!(owners.len(), 5, "claims of one go round as well");
}

async fn a_tenant_is_held_to_its_share(store: &dyn Storage) {
    for number in 0..20 {
        add(store, &tenant(1 + number % 2), number).await;
    }
    let take = |limit: usize, held: Vec<(TenantId, usize)>| async move {
        let claim = Claim {
            per_tenant: 3,
            held,
            ..Claim::new(START, LEASE, limit)
        };
        let claimed = store.claim(&platform(), claim).await.expect("claims");
        [1, 2].map(|owner| {
            let of = claimed
                .iter()
                .filter(|c| c.event.function.tenant == tenant(owner));
            of.count()
        })
    };
    assert_eq!(take(10, vec![]).await, [3, 3]);
    assert_eq!(take(10, vec![(tenant(1), 3), (tenant(2), 2)]).await, [0, 1]);
    assert_eq!(take(10, vec![(tenant(1), 1)]).await, [2, 3]);
    assert_eq!(take(10, vec![(tenant(1), 9), (tenant(2), 9)]).await, [0, 0]);
}

async fn add_for(store: &dyn Storage, owner: u64, name: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut event = event(&tenant(owner), number, START);
        event.function = function(&tenant(owner), name);
        let op = Op::EventAdd {
            event: Box::new(event),
            due: START,
            body: "x".into(),
        };
        commit(store, op).await.expect("accepted");
    }
}

async fn a_full_function_is_left_where_it_is(store: &dyn Storage) {
    add_for(store, 1, "slow", 0..20).await;
    add_for(store, 1, "quick", 20..24).await;
    add_for(store, 2, "slow", 24..26).await;
    // How many of the first tenant's slow and quick ones, and of the second's slow ones.
    let take = |limit: usize, held: usize| async move {
        let claim = Claim {
            per_function: 3,
            held_of_functions: vec![(function(&tenant(1), "slow"), held)],
            ..Claim::new(START, LEASE, limit)
        };
        let claimed = store.claim(&platform(), claim).await.expect("claims");
        [(1, "slow"), (1, "quick"), (2, "slow")].map(|(owner, name)| {
            let of = function(&tenant(owner), name);
            claimed.iter().filter(|c| c.event.function == of).count()
        })
    };
    assert_eq!(take(10, 2).await, [1, 3, 2], "past a backlog that is older");
    let before = counts(store).await;
    assert_eq!(take(10, 3).await, [0, 1, 0], "nothing where no room is");
    assert_eq!(counts(store).await.waiting, before.waiting - 1);
    assert_eq!(take(10, 4).await, [0, 0, 0]);
    assert_eq!(take(10, 1).await, [2, 0, 0], "and goes on once there is");
}

async fn what_ended_long_ago_is_forgotten_and_stays_counted(store: &dyn Storage) {
    let who = platform();
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(add(store, &tenant(1), number).await);
    }
    let held = claim(store, START, 5).await;
    for (number, held) in held.iter().enumerate() {
        let how = if number % 2 == 0 {
            EventEnd::Done
        } else {
            EventEnd::Dead {
                reason: "RetriesExhausted".to_owned(),
                last_error: None,
            }
        };
        let op = Op::EventEnd {
            id: held.event.id,
            epoch: held.epoch,
            end: how,
            at: QueueTime(START.0 + number as i64),
        };
        commit(store, op).await.expect("ended");
    }
    let before = counts(store).await;
    let at = |offset: i64| QueueTime(START.0 + offset);
    let ended = |done: i64, dead: i64| EndedBefore {
        done: at(done),
        dead: at(dead),
    };
    assert_eq!(store.forget(&who, ended(0, 0), 10).await, Ok(0), "young");
    // Done at 0, 2 and 4; dead at 1 and 3.
    assert_eq!(store.forget(&who, ended(4, 3), 10).await, Ok(3));
    let mut known = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        if store.state(&who, *id).await.expect("reads").is_some() {
            known.push(number);
        }
    }
    let number = |id: &InvocationId| ids.iter().position(|of| of == id);
    let mut expected: Vec<_> = held[3..]
        .iter()
        .filter_map(|held| number(&held.event.id))
        .collect();
    expected.push(5);
    expected.sort_unstable();
    assert_eq!(known, expected, "at its time itself it is kept");
    assert_eq!(counts(store).await, before);
    assert_eq!(store.forget(&who, ended(99, 99), 1).await, Ok(1), "a slice");
    assert_eq!(store.forget(&who, ended(99, 99), 10).await, Ok(1));
    assert_eq!(store.forget(&who, ended(99, 99), 10).await, Ok(0));
    assert_eq!(counts(store).await, before);
    assert_eq!(before.waiting, 1, "what is open is never forgotten");
    let theirs = store.forget(&root(&tenant(1)), ended(99, 99), 1).await;
    assert!(
        matches!(theirs, Err(CommitError::Denied { .. })),
        "{theirs:?}"
    );
}

async fn an_id_is_accepted_once(store: &dyn Storage) {
    let again = || Op::EventAdd {
        event: Box::new(event(&tenant(1), 1, START)),
        due: START,
        body: "x".into(),
    };
    commit(store, again()).await.expect("accepted");
    commit(store, again()).await.expect_err("waiting already");
    let held = claim(store, START, 1).await.remove(0);
    commit(store, end(&held, EventEnd::Done))
        .await
        .expect("ended");
    commit(store, again()).await.expect_err("ended already");
    assert_eq!(counts(store).await.accepted, 1);
}

async fn only_the_platform_claims(store: &dyn Storage) {
    let id = add(store, &tenant(1), 1).await;
    for who in [root(&tenant(2)), Principal::Anonymous] {
        let state = store.state(&who, id).await;
        assert!(matches!(state, Err(ReadError::Denied { .. })), "{state:?}");
        let ops = vec![Op::EventAdd {
            event: Box::new(event(&tenant(1), 2, START)),
            due: START,
            body: "x".into(),
        }];
        let error = store.commit(&who, ops, Fence::None).await;
        assert!(
            matches!(error, Err(CommitError::Denied { .. })),
            "{error:?}"
        );
    }
    let who = root(&tenant(1));
    let claimed = store.claim(&who, Claim::new(START, LEASE, 1)).await;
    assert!(
        matches!(claimed, Err(ReadError::Denied { .. })),
        "{claimed:?}"
    );
    let counts = store.counts(&who).await;
    assert!(
        matches!(counts, Err(ReadError::Denied { .. })),
        "{counts:?}"
    );
    let due = store.next_due(&who).await;
    assert!(matches!(due, Err(ReadError::Denied { .. })), "{due:?}");
    let held = claim(store, START, 1).await.remove(0);
    let ops = vec![end(&held, EventEnd::Done)];
    let error = store.commit(&root(&tenant(2)), ops, Fence::None).await;
    assert!(
        matches!(error, Err(CommitError::Denied { .. })),
        "{error:?}"
    );
}
