//! The suites of the seam, run against SQLite and files.

use freehold_domain::ports::Storage;
use freehold_storage::{OpenOptions, SqliteStorage};
use freehold_testkit::storage::suite::{self, StillClock};
use std::{cell::Cell, sync::Arc};
use tempfile::TempDir;

struct Maker {
    dir: TempDir,
    made: Cell<u32>,
}

impl Maker {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder"),
            made: Cell::new(0),
        }
    }

    fn make(&self) -> Arc<dyn Storage> {
        let number = self.made.replace(self.made.get() + 1);
        let dir = self.dir.path().join(number.to_string());
        let mut options = OpenOptions::new(dir, Arc::new(StillClock::default()));
        // Small enough that the suites cross all of them.
        options.segment_bytes = Some(4 << 10);
        options.audit_segment_bytes = Some(4 << 10);
        options.log_files_open = 2;
        SqliteStorage::open(options).expect("opens")
    }
}

#[tokio::test]
async fn records() {
    let maker = Maker::new();
    suite::records_suite(|| maker.make()).await;
}

#[tokio::test]
async fn events() {
    let maker = Maker::new();
    suite::events_suite(|| maker.make()).await;
}

#[tokio::test]
async fn blobs() {
    let maker = Maker::new();
    suite::blobs_suite(|| maker.make()).await;
}

#[tokio::test]
async fn ledger() {
    let maker = Maker::new();
    suite::ledger_suite(|| maker.make()).await;
}

#[tokio::test]
async fn logs() {
    let maker = Maker::new();
    suite::logs_suite(|| maker.make()).await;
}

#[tokio::test]
async fn audit() {
    let maker = Maker::new();
    suite::audit_suite(|| maker.make()).await;
}

#[tokio::test]
async fn records_agree_with_the_model() {
    let maker = Maker::new();
    for seed in 0..4 {
        suite::records_against_a_model(maker.make(), seed, 80).await;
    }
}

#[tokio::test]
async fn events_agree_with_the_model() {
    let maker = Maker::new();
    for seed in 0..4 {
        suite::events_against_a_model(maker.make(), seed, 150).await;
    }
}
