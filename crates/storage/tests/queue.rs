//! What no other backend has: rows that do not read, and tables of an earlier build.

use freehold_domain::{
    BootTime, FunctionRef, InvocationId, KeptTime, Principal, Qualifier, QueueTime, TraceHeader,
    Wall,
    ports::{Claim, Commit, EndedBefore, EventQueue, EventState, Fence, Op, ReadError},
    record::{ClaimedEvent, EventEnd, EventV1},
};
use freehold_storage::{OpenOptions, SqliteStorage};
use freehold_testkit::storage::suite::StillClock;
use rusqlite::Connection;
use std::{path::Path, sync::Arc, time::Duration};
use uuid::Uuid;

const NOW: QueueTime = QueueTime(10);

fn open(dir: &Path) -> Arc<SqliteStorage> {
    let options = OpenOptions::new(dir, Arc::new(StillClock::at(Wall(NOW.0))));
    SqliteStorage::open(options).expect("opens")
}

fn who() -> Principal {
    Principal::platform("test")
}

fn id(n: u128) -> InvocationId {
    InvocationId(Uuid::from_u128(1 << 100 | n))
}

fn function(name: &str) -> FunctionRef {
    FunctionRef {
        tenant: "111111111111".parse().expect("12 digits"),
        region: "us-east-1".parse().expect("a region"),
        name: name.parse().expect("a name"),
    }
}

async fn add(store: &SqliteStorage, n: u128, name: &str) {
    let event = EventV1 {
        id: id(n),
        function: function(name),
        qualifier: Qualifier::Latest,
        is_qualified: false,
        principal: who(),
        accepted: Wall(1),
        expires: QueueTime(i64::MAX),
        attempts: 0,
        attempts_max: 3,
        trace: TraceHeader::new_root(id(n).0),
        hops: 0,
        client_context: None,
    };
    let op = Op::EventAdd {
        event: Box::new(event),
        due: QueueTime(1),
        body: "x".into(),
    };
    let added = store.commit(&who(), vec![op], Fence::None).await;
    added.expect("accepted");
}

async fn claim(store: &SqliteStorage, limit: usize) -> Result<Vec<ClaimedEvent>, ReadError> {
    let claim = Claim::new(NOW, Duration::from_secs(60), limit);
    store.claim(&who(), claim).await
}

async fn end(store: &SqliteStorage, held: &ClaimedEvent, end: EventEnd) {
    let op = Op::EventEnd {
        id: held.event.id,
        epoch: held.epoch,
        end,
        at: NOW,
    };
    let ended = store.commit(&who(), vec![op], Fence::None).await;
    ended.expect("ended");
}

/// What somebody else does to the database while no server has it.
fn by_hand(dir: &Path, sql: &str) {
    let conn = Connection::open(dir.join("queue.db")).expect("opens");
    conn.execute_batch(sql).expect("runs");
}

#[tokio::test]
async fn a_row_that_does_not_read_ends_as_dead_and_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    for n in 1..=4 {
        add(&store, n, "f").await;
    }
    let running = claim(&store, 1).await.expect("claims").remove(0);
    drop(store);
    let running_id = running.event.id.0.simple();
    by_hand(
        dir.path(),
        &format!(
            "UPDATE events SET event = x'7b7d' WHERE id = (SELECT MIN(id) FROM events WHERE running = 0);
             UPDATE events SET event = x'ff' WHERE id = x'{running_id}';"
        ),
    );
    let store = open(dir.path());
    let claimed = claim(&store, 10).await.expect("the others are claimed");
    let mut found: Vec<_> = claimed.iter().map(|one| one.event.id).collect();
    found.sort();
    assert_eq!(found, [id(3), id(4)]);
    for n in [1, 2] {
        let state = store.state(&who(), id(n)).await.expect("reads");
        let Some(EventState::Ended {
            end: EventEnd::Dead { reason, last_error },
            at: NOW,
            ..
        }) = state
        else {
            panic!("event {n} ended: {state:?}");
        };
        assert_eq!(reason, "Unreadable");
        let said = last_error.expect("says why");
        assert!(said.contains("does not read as its shape"), "{said}");
    }
    let counts = store.counts(&who()).await.expect("counts");
    assert_eq!((counts.accepted, counts.dead), (4, 2));
    assert_eq!((counts.waiting, counts.running), (0, 2));
}

#[tokio::test]
async fn attempts_that_a_crash_cut_short_are_counted_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    add(&store, 1, "f").await;
    drop(store);
    for interrupted in 0..4 {
        let store = open(dir.path());
        let held = claim(&store, 1).await.expect("claims").remove(0);
        assert_eq!((held.event.attempts, held.interrupted), (1, interrupted));
    }
    let store = open(dir.path());
    let held = claim(&store, 1).await.expect("claims").remove(0);
    let op = Op::EventRetry {
        id: held.event.id,
        epoch: held.epoch,
        due: NOW,
        counts: true,
        error: None,
    };
    let given = store.commit(&who(), vec![op], Fence::None).await;
    given.expect("given back");
    drop(store);
    let store = open(dir.path());
    let held = claim(&store, 1).await.expect("claims").remove(0);
    assert_eq!(
        (held.event.attempts, held.interrupted),
        (2, 4),
        "what was given back before the end was not cut short"
    );
}

#[tokio::test]
async fn a_claim_that_finds_nothing_writes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    add(&store, 1, "f").await;
    assert_eq!(claim(&store, 1).await.expect("claims").len(), 1);
    let log = dir.path().join("queue.db-wal");
    let size = || std::fs::metadata(&log).expect("there").len();
    let before = size();
    for _ in 0..20 {
        assert!(claim(&store, 1).await.expect("claims").is_empty());
    }
    assert_eq!(size(), before);
}

/// The tables as builds before the first release made them.
const OLDER: &str = "
DROP TABLE IF EXISTS new_events;
CREATE TABLE new_events (
    id         BLOB PRIMARY KEY,
    tenant     TEXT NOT NULL,
    running    INTEGER NOT NULL,
    due        INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    event      BLOB NOT NULL,
    body       BLOB NOT NULL,
    last_error TEXT
);
INSERT INTO new_events SELECT id, tenant, running, due, epoch, attempts, event, body, last_error
    FROM events;
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;
CREATE INDEX events_by_tenant ON events (tenant, due, id);
CREATE INDEX events_by_due ON events (due);
CREATE INDEX events_running ON events (id) WHERE running = 1;
CREATE TABLE new_ended (
    id       BLOB PRIMARY KEY,
    tenant   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    event    BLOB NOT NULL,
    end      BLOB NOT NULL
);
INSERT INTO new_ended SELECT id, tenant, at, attempts, event, end FROM ended;
DROP TABLE ended;
ALTER TABLE new_ended RENAME TO ended;
CREATE INDEX ended_by_time ON ended (at);
";

#[tokio::test]
async fn a_folder_of_an_earlier_build_gets_what_it_lacks() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    for (n, name) in [(1, "a"), (2, "a"), (3, "slow"), (4, "slow"), (5, "quick")] {
        add(&store, n, name).await;
    }
    let held = claim(&store, 2).await.expect("claims");
    end(&store, &held[0], EventEnd::Done).await;
    let dead = EventEnd::Dead {
        reason: "RetriesExhausted".to_owned(),
        last_error: None,
    };
    end(&store, &held[1], dead).await;
    drop(store);
    by_hand(dir.path(), OLDER);

    let store = open(dir.path());
    let later = QueueTime(NOW.0 + 1);
    let ended = EndedBefore {
        done: later,
        dead: QueueTime(0),
    };
    assert_eq!(store.forget(&who(), ended, 10).await, Ok(1), "the done one");
    assert_eq!(store.state(&who(), id(1)).await, Ok(None));
    let state = store.state(&who(), id(2)).await.expect("reads");
    assert!(matches!(state, Some(EventState::Ended { .. })), "{state:?}");
    let one_of_each = Claim {
        per_function: 1,
        ..Claim::new(NOW, Duration::from_secs(60), 10)
    };
    let claimed = store.claim(&who(), one_of_each).await.expect("claims");
    let mut names: Vec<_> = claimed.iter().map(|one| &one.event.function).collect();
    names.sort_by_key(|function| function.name.to_string());
    assert_eq!(names, [&function("quick"), &function("slow")]);
    assert!(claimed.iter().all(|one| one.interrupted == 0));
    drop(store);
    drop(open(dir.path()));
}

const KEPT: KeptTime = KeptTime {
    now: QueueTime(5_000_000),
    wall: Wall(1_000_000),
    boot: BootTime {
        boot: Some(u64::MAX - 3),
        since: Duration::from_micros(77),
    },
};

async fn keep(store: &SqliteStorage, kept: KeptTime) {
    let op = Op::EventTime { kept };
    let kept = store.commit(&who(), vec![op], Fence::None).await;
    kept.expect("kept");
}

#[tokio::test]
async fn the_queues_time_outlives_the_process_and_is_no_count() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    add(&store, 1, "f").await;
    let counts = store.counts(&who()).await;
    assert_eq!(store.time_kept(&who()).await, Ok(None));
    keep(&store, KEPT).await;
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.time_kept(&who()).await, Ok(Some(KEPT)));
    assert_eq!(store.counts(&who()).await, counts);
}

#[tokio::test]
async fn what_an_earlier_process_held_is_due_by_the_time_that_was_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    add(&store, 1, "f").await;
    keep(&store, KEPT).await;
    let far = Claim::new(KEPT.now, Duration::from_secs(60), 1);
    let claimed = store.claim(&who(), far).await.expect("claims");
    assert_eq!(claimed.len(), 1);
    drop(store);
    // The wall clock says 10 µs now: nothing of it is in the queue's time.
    let store = open(dir.path());
    assert_eq!(store.next_due(&who()).await, Ok(Some(KEPT.now)));
}

#[tokio::test]
async fn a_time_that_does_not_add_up_is_not_believed() {
    let names = [
        "time",
        "time_wall",
        "time_boot",
        "time_since_boot",
        "time_sum",
    ];
    let changes = names.iter().flat_map(|name| {
        let of = format!("WHERE name = '{name}'");
        [
            format!("UPDATE counters SET value = value + 1 {of}"),
            format!("UPDATE counters SET value = -value {of}"),
            format!("UPDATE counters SET value = 'x' {of}"),
            format!("DELETE FROM counters {of}"),
        ]
    });
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = open(dir.path());
    add(&store, 1, "f").await;
    let counts = store.counts(&who()).await;
    for change in changes {
        keep(&store, KEPT).await;
        by_hand(dir.path(), &change);
        let read = store.time_kept(&who()).await;
        let Err(ReadError::Failed { reason }) = read else {
            panic!("{change}: {read:?}");
        };
        assert!(reason.contains("does not add up"), "{reason}");
        drop(store);
        store = open(dir.path());
        assert_eq!(store.time_kept(&who()).await, Ok(None), "{change}");
        assert_eq!(store.counts(&who()).await, counts, "{change}");
    }
    assert_eq!(claim(&store, 1).await.expect("claims").len(), 1);
}
