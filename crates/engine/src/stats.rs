//! What the engine counts, and how its instances look from outside.

use freehold_domain::{
    ids::{CoreId, FunctionRef, InstanceId, Qualifier},
    ledger::Ending,
    outcome::{ThrottleReason, Usage},
    time::Wall,
    traffic::NetworkBytes,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The engine's numbers at one moment. Counters only grow; the others go up and down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Invocations that settled, by ending.
    pub endings: Vec<(Ending, u64)>,
    /// Invocations that were turned away, by reason.
    pub throttles: Vec<(ThrottleReason, u64)>,
    /// Invocations that waited for an instance to come up, and ran on it first.
    pub cold_starts: u64,
    /// Of those, the ones whose instance came from its revision's start image.
    pub restores: u64,
    /// Sandboxes that came up for a revision, by how.
    pub starts: Vec<(StartKind, u64)>,
    /// Starts that no event waited for: expected ones, and those of minimums.
    pub starts_ahead: u64,
    /// Of those, instances that an event has found ready.
    pub starts_ahead_used: u64,
    /// Of those started ahead, instances that ran an event of ours before any of the function's.
    pub rehearsals: u64,
    /// Instances that did not come back from it, and were ended.
    pub rehearsals_failed: u64,
    /// First inits that failed.
    pub init_failures: u64,
    /// Runtimes that broke their contract.
    pub contract_breaches: u64,
    /// Idle instances that went for another's memory.
    pub evictions: u64,
    /// Sum of what settled invocations waited for a slot, µs.
    pub queue_us: u64,
    /// Sum of inits, µs.
    pub init_us: u64,
    /// Sum of runs, µs.
    pub run_us: u64,
    /// Sum of billed time, ms.
    pub billed_ms: u64,
    /// Sum of processor time, µs.
    pub cpu_us: u64,
    /// Sum of event bytes.
    pub bytes_in: u64,
    /// Sum of answer bytes.
    pub bytes_out: u64,
    /// What instances sent to networks and received from them, as far as it was read.
    pub network: NetworkBytes,
    /// Lines that functions wrote and their levels let through.
    pub log_lines: u64,
    /// Of those, lines that were counted lost.
    pub log_lines_lost: u64,
    /// Invocations between arrival and answer.
    pub in_flight: u64,
    /// Units of concurrency in use.
    pub concurrency: u64,
    /// Instances.
    pub instances: u64,
    /// Of those, frozen ones.
    pub instances_frozen: u64,
    /// Starts under way.
    pub starting: u64,
    /// Invocations that wait for a slot.
    pub waiting: u64,
    /// Booted instances that are nobody's yet, among none of the others.
    pub booted: u64,
    /// Start images of booted runtimes, and their bytes.
    pub templates: u64,
    /// See `templates`.
    pub template_bytes: u64,
    /// Instances that minimums ask for.
    pub instances_minimum: u64,
    /// Of those, instances that are not there yet.
    pub instances_missing: u64,
    /// Memory that instances and start images are booked with, bytes.
    pub memory_booked_bytes: u64,
    /// The server's memory that large answers have room in, bytes.
    pub answers_held_bytes: u64,
    /// Answers that waited for it.
    pub answers_waited: u64,
    /// Start images of revisions that are held, and their bytes.
    pub snapshots: u64,
    /// See `snapshots`.
    pub snapshot_bytes: u64,
    /// Revisions whose compiled code is kept, and its bytes.
    pub compiled: u64,
    /// See `compiled`.
    pub compiled_bytes: u64,
    /// How often budgets reached 80 %, and all.
    pub budgets_warned: u64,
    /// See `budgets_warned`.
    pub budgets_exhausted: u64,
    /// Budgets on account of which nothing begins.
    pub budgets_closed: u64,
}

/// How an instance came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartKind {
    /// Its runtime was executed for it.
    Executed,
    /// It had been booted ahead.
    Booted,
    /// It was thawed from an image of its runtime.
    Template,
    /// It was thawed from the start image of its revision.
    Restored,
}

impl Stats {
    /// Sandboxes that came up for a revision.
    pub fn sandboxes_started(&self) -> u64 {
        self.starts.iter().map(|(_, count)| count).sum()
    }
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Runs an event.
    Busy,
    /// Waits for one, running.
    Idle,
    /// Waits for one, stopped.
    Frozen,
}

/// One instance, as `freehold ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// The function.
    pub function: FunctionRef,
    /// The revision.
    pub revision: Qualifier,
    /// The generation of the head that it runs.
    pub generation: u64,
    /// What it does.
    pub state: InstanceState,
    /// Slots in use.
    pub busy: u16,
    /// Slots.
    pub slots: u16,
    /// The core that serves it.
    pub core: CoreId,
    /// When it came up.
    pub since: Wall,
    /// How long ago that was.
    pub age: Duration,
    /// Its memory now, bytes.
    pub memory_bytes: u64,
    /// Its limit, bytes.
    pub memory_limit_bytes: u64,
    /// Processor time so far, µs.
    pub cpu_us: u64,
    /// Invocations so far.
    pub invocations: u64,
}

const KINDS: [StartKind; 4] = [
    StartKind::Executed,
    StartKind::Booted,
    StartKind::Template,
    StartKind::Restored,
];
const ENDINGS: [Ending; 8] = [
    Ending::Success,
    Ending::FunctionError,
    Ending::Timeout,
    Ending::OutOfMemory,
    Ending::Exited,
    Ending::InstanceLost,
    Ending::Cancelled,
    Ending::NoRoom,
];
const REASONS: [ThrottleReason; 11] = [
    ThrottleReason::ReservedConcurrency,
    ThrottleReason::AccountConcurrency,
    ThrottleReason::InvocationRate,
    ThrottleReason::ReservedInvocationRate,
    ThrottleReason::FunctionStartRate,
    ThrottleReason::StartRate,
    ThrottleReason::Budget,
    ThrottleReason::BudgetStop,
    ThrottleReason::MachineMemory,
    ThrottleReason::MachineRoom,
    ThrottleReason::InitBackoff,
];

/// The counters behind [`Stats`].
#[derive(Default)]
pub(crate) struct Counters {
    endings: [AtomicU64; ENDINGS.len()],
    throttles: [AtomicU64; REASONS.len()],
    cold_starts: AtomicU64,
    restores: AtomicU64,
    starts: [AtomicU64; KINDS.len()],
    starts_ahead: AtomicU64,
    starts_ahead_used: AtomicU64,
    rehearsals: AtomicU64,
    rehearsals_failed: AtomicU64,
    init_failures: AtomicU64,
    contract_breaches: AtomicU64,
    evictions: AtomicU64,
    queue_us: AtomicU64,
    init_us: AtomicU64,
    run_us: AtomicU64,
    billed_ms: AtomicU64,
    cpu_us: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    network_out: AtomicU64,
    network_back: AtomicU64,
    log_lines: AtomicU64,
    log_lines_lost: AtomicU64,
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn place<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter()
        .position(|known| known == one)
        .expect("the table lists every one")
}

impl Counters {
    pub(crate) fn settled(&self, ending: Ending, usage: &Usage, waited: bool, is_restored: bool) {
        add(&self.endings[place(&ENDINGS, &ending)], 1);
        add(&self.cold_starts, u64::from(waited));
        add(&self.restores, u64::from(is_restored));
        add(&self.queue_us, usage.queue_us);
        add(&self.init_us, usage.init_us);
        add(&self.run_us, usage.run_us);
        add(&self.billed_ms, usage.billed_ms);
        add(&self.cpu_us, usage.cpu_us);
        add(&self.bytes_in, usage.bytes_in);
        add(&self.bytes_out, usage.bytes_out);
    }
    pub(crate) fn network(&self, bytes: NetworkBytes) {
        add(&self.network_out, bytes.out);
        add(&self.network_back, bytes.back);
    }
    pub(crate) fn throttled(&self, reason: ThrottleReason) {
        add(&self.throttles[place(&REASONS, &reason)], 1);
    }
    pub(crate) fn started(&self, kind: StartKind) {
        add(&self.starts[place(&KINDS, &kind)], 1);
    }
    pub(crate) fn ahead_started(&self) {
        add(&self.starts_ahead, 1);
    }
    pub(crate) fn ahead_used(&self) {
        add(&self.starts_ahead_used, 1);
    }
    pub(crate) fn rehearsed(&self) {
        add(&self.rehearsals, 1);
    }
    pub(crate) fn rehearsal_failed(&self) {
        add(&self.rehearsals_failed, 1);
    }
    pub(crate) fn init_failed(&self) {
        add(&self.init_failures, 1);
    }
    pub(crate) fn broken(&self) {
        add(&self.contract_breaches, 1);
    }
    pub(crate) fn evicted(&self) {
        add(&self.evictions, 1);
    }
    pub(crate) fn log_line(&self) {
        add(&self.log_lines, 1);
    }
    pub(crate) fn log_lines_lost(&self, lines: u64) {
        add(&self.log_lines_lost, lines);
    }

    /// The counters; the caller adds what goes up and down.
    pub(crate) fn read(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            endings: ENDINGS
                .into_iter()
                .zip(self.endings.iter().map(get))
                .collect(),
            throttles: REASONS
                .into_iter()
                .zip(self.throttles.iter().map(get))
                .collect(),
            cold_starts: get(&self.cold_starts),
            restores: get(&self.restores),
            starts: KINDS.into_iter().zip(self.starts.iter().map(get)).collect(),
            starts_ahead: get(&self.starts_ahead),
            starts_ahead_used: get(&self.starts_ahead_used),
            rehearsals: get(&self.rehearsals),
            rehearsals_failed: get(&self.rehearsals_failed),
            init_failures: get(&self.init_failures),
            contract_breaches: get(&self.contract_breaches),
            evictions: get(&self.evictions),
            queue_us: get(&self.queue_us),
            init_us: get(&self.init_us),
            run_us: get(&self.run_us),
            billed_ms: get(&self.billed_ms),
            cpu_us: get(&self.cpu_us),
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            network: NetworkBytes {
                out: get(&self.network_out),
                back: get(&self.network_back),
            },
            log_lines: get(&self.log_lines),
            log_lines_lost: get(&self.log_lines_lost),
            ..Stats::default()
        }
    }
}
