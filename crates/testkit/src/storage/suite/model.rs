//! Random operations against a model that is too simple to be wrong. The seed is printed by the
//! caller's failure message; a seed that was found once belongs into a test.

use super::{event, platform, tenant};
use freehold_domain::{
    InvocationId, QueueTime,
    ports::{Claim, CommitError, Expect, Fence, Op, RecordVersion, Records, Storage},
    record::{EventEnd, Key, KeyPrefix, Kind},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// Random record commits on few keys: the store and a map agree after each.
pub async fn records_against_a_model(store: Arc<dyn Storage>, seed: u64, commits: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
    let mut newest: HashMap<Key, RecordVersion> = HashMap::new();
    let who = platform();
    let region = "us-east-1".parse().expect("a region");
    for round in 0..commits {
        let (mut after, mut ops, mut fits) = (model.clone(), Vec::new(), true);
        let mut touched = Vec::new();
        for _ in 0..random.usize(1..4) {
            let name = format!("f{}", random.u8(0..5)).parse().expect("a name");
            let key = Key::function(&tenant(random.u64(1..3)), &region, &name);
            let found = Records::get(&*store, &who, &key).await.expect("reads");
            let fresh = !touched.contains(&key);
            let expect = match random.u8(0..4) {
                0 => Expect::Absent,
                1 => Expect::Version(RecordVersion(u64::MAX >> 1)),
                2 if fresh => {
                    found.map_or(Expect::Absent, |stored| Expect::Version(stored.version))
                }
                _ => Expect::Any,
            };
            fits &= match expect {
                Expect::Any => true,
                Expect::Absent => !after.contains_key(&key),
                Expect::Version(version) => version.0 != u64::MAX >> 1,
            };
            touched.push(key.clone());
            if random.bool() {
                let bytes = vec![random.u8(..); random.usize(0..20)];
                after.insert(key.clone(), bytes.clone());
                ops.push(Op::Put { key, expect, bytes });
            } else {
                after.remove(&key);
                ops.push(Op::Delete { key, expect });
            }
        }
        match store.commit(&who, ops.clone(), Fence::None).await {
            Ok(_) => {
                assert!(fits, "seed {seed} round {round}: committed {ops:?}");
                model = after;
            }
            Err(CommitError::Conflict { .. }) => {
                assert!(!fits, "seed {seed} round {round}: refused {ops:?}");
            }
            Err(error) => panic!("seed {seed} round {round}: {error}"),
        }
        let mut found = Vec::new();
        for owner in [tenant(1), tenant(2)] {
            let prefix = KeyPrefix::kind(&owner, &region, Kind::Function);
            found.extend(store.list(&who, &prefix, None, 100).await.expect("lists"));
        }
        let bytes = found.iter().map(|r| (r.key.clone(), r.bytes.to_vec()));
        assert!(
            bytes.eq(model.clone()),
            "seed {seed} round {round}: {found:?}"
        );
        for stored in found {
            let last = newest.insert(stored.key.clone(), stored.version);
            assert!(
                last.is_none_or(|last| last <= stored.version),
                "versions grow"
            );
        }
    }
}

enum Model {
    Waiting {
        due: QueueTime,
        attempts: u32,
    },
    Running {
        until: QueueTime,
        attempts: u32,
        epoch: u64,
    },
    Done,
    Dead,
}

/// Random events, claims and settlings: states, attempts and counts agree after each.
pub async fn events_against_a_model(store: Arc<dyn Storage>, seed: u64, steps: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model: BTreeMap<InvocationId, Model> = BTreeMap::new();
    let (who, mut now) = (platform(), QueueTime(1_000_000));
    for step in 0..steps {
        let at = format!("seed {seed} step {step}");
        now = now + Duration::from_secs(random.u64(0..20));
        match random.u8(0..4) {
            0 => {
                let event = event(&tenant(random.u64(1..4)), step as u64, now);
                let id = event.id;
                let op = Op::EventAdd {
                    event: Box::new(event),
                    due: now,
                    body: "x".into(),
                };
                store
                    .commit(&who, vec![op], Fence::None)
                    .await
                    .expect("accepted");
                model.insert(
                    id,
                    Model::Waiting {
                        due: now,
                        attempts: 0,
                    },
                );
            }
            1 => {
                let (lease, limit) = (Duration::from_secs(random.u64(1..60)), random.usize(0..5));
                let claimed = store
                    .claim(&who, Claim::new(now, lease, limit))
                    .await
                    .expect("claims");
                let due = model.values().filter(|state| match state {
                    Model::Waiting { due, .. } => *due <= now,
                    Model::Running { until, .. } => *until <= now,
                    _ => false,
                });
                assert_eq!(claimed.len(), due.count().min(limit), "{at}");
                for held in claimed {
                    let state = model.get_mut(&held.event.id).expect("was accepted");
                    let (attempts, before) = match state {
                        Model::Waiting { due, attempts } if *due <= now => (*attempts, 0),
                        Model::Running {
                            until,
                            attempts,
                            epoch,
                        } if *until <= now => (*attempts, *epoch),
                        _ => panic!("{at}: claimed what was not due"),
                    };
                    assert_eq!(held.event.attempts, attempts + 1, "{at}");
                    assert!(held.epoch > before, "{at}");
                    *state = Model::Running {
                        until: now + lease,
                        attempts: attempts + 1,
                        epoch: held.epoch,
                    };
                }
            }
            _ => {
                let Some(id) = random.choice(model.keys().copied().collect::<Vec<_>>()) else {
                    continue;
                };
                let state = model.get_mut(&id).expect("chosen from it");
                let (held, attempts) = match state {
                    Model::Running {
                        epoch, attempts, ..
                    } => (Some(*epoch), *attempts),
                    _ => (None, 0),
                };
                let stale = held.is_none() || random.u8(0..5) == 0;
                let epoch = held.map_or(1, |epoch| epoch + u64::from(stale));
                let due = now + Duration::from_secs(random.u64(0..40));
                let (op, next) = match random.u8(0..4) {
                    0 => (
                        Op::EventEnd {
                            id,
                            epoch,
                            end: EventEnd::Done,
                            at: now,
                        },
                        Model::Done,
                    ),
                    1 => {
                        let end = EventEnd::Dead {
                            reason: "x".into(),
                            last_error: None,
                        };
                        (
                            Op::EventEnd {
                                id,
                                epoch,
                                end,
                                at: now,
                            },
                            Model::Dead,
                        )
                    }
                    kind => {
                        let counts = kind == 2;
                        let attempts = attempts.saturating_sub(u32::from(!counts));
                        let op = Op::EventRetry {
                            id,
                            epoch,
                            due,
                            counts,
                            error: None,
                        };
                        (op, Model::Waiting { due, attempts })
                    }
                };
                match store.commit(&who, vec![op], Fence::None).await {
                    Ok(_) => {
                        assert!(!stale, "{at}: a stale claim settled");
                        *state = next;
                    }
                    Err(CommitError::StaleClaim { .. }) => assert!(stale, "{at}"),
                    Err(error) => panic!("{at}: {error}"),
                }
            }
        }
        let counts = store.counts(&who).await.expect("counts");
        let of = |wanted: fn(&Model) -> bool| model.values().filter(|s| wanted(s)).count() as u64;
        assert_eq!(counts.accepted, model.len() as u64, "{at}");
        assert_eq!(
            counts.waiting,
            of(|s| matches!(s, Model::Waiting { .. })),
            "{at}"
        );
        assert_eq!(
            counts.running,
            of(|s| matches!(s, Model::Running { .. })),
            "{at}"
        );
        assert_eq!(counts.done, of(|s| matches!(s, Model::Done)), "{at}");
        assert_eq!(counts.dead, of(|s| matches!(s, Model::Dead)), "{at}");
    }
}
