//! Budgets: how much of something may be used in a period, and what happens when it has been.
//!
//! A [`Counter`] is what one budget has used in its period; a [`Budgets`] has those of all tenants.
//! They are told what each attempt cost as it is written to the ledger, and what instances sent to
//! networks, so that a budget that is used up lets nothing begin that had not begun by then. How much was used before, the roll-ups of the
//! ledger know: whoever reads them primes a counter, and no attempt is counted twice or left out
//! ([`Priming`]).
//!
//! ```text
//!   counting ──primed──▶ open ──limit reached──▶ closed
//!                         ▲                        │ throttle: at the end of the period
//!                         └────────────────────────┘ stop: when the operator says so
//! ```
//!
//! Periods are of UTC and only go forward: a clock that is set back counts on in the period that has
//! begun, and reopens none.

use crate::{
    ids::{FunctionRef, InvocationId, TenantId},
    ledger::{LedgerEntry, NetworkEntry},
    live::Live,
    ports::Clock,
    prices::Amount,
    record::{BudgetThenV1, BudgetV1, PriceBooks, UsagePartV1},
    time::Wall,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// At which part of a budget somebody is told, percent.
pub const WARN_PERCENT: u8 = 80;
/// Nothing else begins.
const FULL_PERCENT: u8 = 100;
/// Budgets of one tenant.
pub const BUDGETS_MAX: usize = 100;

/// [`Counter::closed_until`] of a budget that is open.
const OPEN: i64 = 0;
/// The same of one that is closed until somebody opens it.
const STOPPED: i64 = i64::MAX;

/// Why nothing of a function begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Until the period is over.
    For(Duration),
    /// Until the operator raises or removes the budget.
    Stopped,
}

/// A part of a budget was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Whose budget.
    pub tenant: TenantId,
    /// The budget as it was when it was set.
    pub budget: BudgetV1,
    /// The begin of the period.
    pub period: Wall,
    /// [`WARN_PERCENT`] or 100.
    pub percent: u8,
    /// When.
    pub at: Wall,
}

/// What one budget has used.
#[derive(Debug)]
pub struct Counter {
    budget: BudgetV1,
    /// When what is closed opens: [`OPEN`], [`STOPPED`], or the end of the period.
    closed_until: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// What was used before is being read; what has been counted meanwhile, by period.
    Priming(Vec<Counted>),
    Primed(Used),
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    attempt: Attempt,
    period: Wall,
    used: u128,
}

/// Which attempt, or which entry of an instance's network: no other entry of the ledger has the same two.
pub type Attempt = (InvocationId, u32);

#[derive(Debug, Clone, Copy, Default)]
struct Used {
    /// Begin of the period.
    period: Wall,
    used: u128,
    /// The part that somebody was told of, percent.
    told: u8,
}

impl Counter {
    fn new(budget: BudgetV1) -> Self {
        // One that has stopped its functions stays closed, whatever its new period has used.
        let closed_until = match budget.is_stopped() {
            true => STOPPED,
            false => OPEN,
        };
        Self {
            budget,
            closed_until: AtomicI64::new(closed_until),
            state: Mutex::new(State::Priming(Vec::new())),
        }
    }

    /// The budget.
    pub fn budget(&self) -> &BudgetV1 {
        &self.budget
    }

    /// Why nothing begins at `now`. One load where it is open.
    fn closed(&self, now: Wall) -> Option<Closed> {
        match self.closed_until.load(Ordering::Acquire) {
            OPEN => None,
            STOPPED => Some(Closed::Stopped),
            until => {
                let left_us = u64::try_from(until.saturating_sub(now.0)).unwrap_or_default();
                (left_us > 0).then(|| Closed::For(Duration::from_micros(left_us)))
            }
        }
    }

    /// The begin of its period and what was used in it by `now`; nothing before it is primed.
    pub fn used(&self, now: Wall) -> Option<(Wall, u128)> {
        match &*lock(&self.state) {
            State::Priming(_) => None,
            State::Primed(used) => {
                let period = self.budget.period.begin(now);
                Some(match period > used.period {
                    true => (period, 0),
                    false => (used.period, used.used),
                })
            }
        }
    }

    /// Whether nothing begins because of it at `now`.
    pub fn is_closed(&self, now: Wall) -> bool {
        self.closed(now).is_some()
    }

    fn count(&self, attempt: Attempt, received: Wall, now: Wall, used: u128) -> Vec<(u8, Wall)> {
        let period = self.budget.period.begin(received);
        match &mut *lock(&self.state) {
            State::Priming(counted) => {
                counted.push(Counted {
                    attempt,
                    period,
                    used,
                });
                Vec::new()
            }
            State::Primed(of) => {
                if period > of.period {
                    *of = Used {
                        period,
                        ..Used::default()
                    };
                    if self.closed_until.load(Ordering::Acquire) != STOPPED {
                        self.closed_until.store(OPEN, Ordering::Release);
                    }
                } else if period < of.period && now >= of.period {
                    // It came in before the period began, and is the one's before.
                    return Vec::new();
                }
                of.used = of.used.saturating_add(used);
                self.judge(of)
            }
        }
    }

    /// Closes what is used up; says which parts were reached now.
    fn judge(&self, of: &mut Used) -> Vec<(u8, Wall)> {
        let limit = self.budget.limit.count();
        let is_full = of.used >= limit;
        // Four fifths, without a product that could be too large.
        let is_near = of.used >= limit - limit / 5;
        if is_full {
            let until = match self.budget.then {
                BudgetThenV1::Stop => STOPPED,
                BudgetThenV1::Throttle => self.budget.period.end(of.period).0,
            };
            // A budget that has stopped stays so.
            if self.closed_until.load(Ordering::Acquire) != STOPPED {
                self.closed_until.store(until, Ordering::Release);
            }
        }
        let mut told = Vec::new();
        for (percent, is_there) in [(WARN_PERCENT, is_near), (FULL_PERCENT, is_full)] {
            if is_there && of.told < percent {
                of.told = percent;
                told.push((percent, of.period));
            }
        }
        told
    }

    /// Takes over what the roll-ups say was used, by period; `rolled_up` are attempts that they have.
    fn prime(
        &self,
        mut by_period: BTreeMap<Wall, u128>,
        rolled_up: &HashSet<Attempt>,
        now: Wall,
        by_clock: bool,
    ) -> Vec<(u8, Wall)> {
        let mut state = lock(&self.state);
        if let State::Priming(counted) = &*state {
            for one in counted
                .iter()
                .filter(|one| !rolled_up.contains(&one.attempt))
            {
                let sum = by_period.entry(one.period).or_default();
                *sum = sum.saturating_add(one.used);
            }
        }
        let clock_s = self.budget.period.begin(now);
        let latest = by_period.last_key_value().map(|(period, _)| *period);
        let mut told = Vec::new();
        let mut of = Used::default();
        let mut judge = |period: Wall| {
            of = Used {
                period,
                used: by_period.get(&period).copied().unwrap_or_default(),
                told: self.budget.told(period),
            };
            told.extend(self.judge(&mut of));
        };
        // What stopped just before the server was killed may be known to the ledger alone.
        if let Some(latest) = latest
            && latest < clock_s
            && self.budget.then == BudgetThenV1::Stop
            && self.budget.period.end(latest) > self.budget.set
        {
            judge(latest);
        }
        // A clock that is behind what was used already reopens nothing; whoever sets a budget anew
        // goes by the clock.
        let ahead = latest.filter(|latest| *latest > clock_s && !by_clock);
        judge(ahead.unwrap_or(clock_s));
        *state = State::Primed(of);
        told
    }
}

/// A counter's lock is held for an addition and a comparison; nothing is half done below it.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The budgets of one tenant.
#[derive(Debug, Default)]
struct OfTenant {
    /// What holds.
    counters: Vec<Arc<Counter>>,
    /// What takes its place once it is primed.
    coming: Vec<Arc<Counter>>,
    /// What things cost.
    books: PriceBooks,
}

/// What a budget counts of an attempt or a part of a roll-up, in the units of its meter.
pub fn measured(budget: &BudgetV1, of: &UsagePartV1, at: Wall, books: &PriceBooks) -> u128 {
    use crate::record::BudgetLimitV1::*;
    match &budget.limit {
        Invocations(_) => of.invocations.into(),
        GbSeconds(_) => of.billed_mib_ms.into(),
        Egress(_) => of.bytes_out.into(),
        Cost { currency, .. } => match books.prices_at(at) {
            Some((_, prices)) if prices.currency == *currency => {
                let amount = of.cost(&prices);
                amount.map_or(u128::MAX, Amount::parts)
            }
            _ => 0,
        },
    }
}

/// The budgets of all tenants; see the module.
#[derive(Debug)]
pub struct Budgets {
    table: Live<HashMap<TenantId, Arc<OfTenant>>>,
    /// By lane of the ledger: held while an entry is appended and counted. Whoever begins to count
    /// takes all of them, and so finds no entry between the two.
    lanes: Vec<Mutex<()>>,
    reached: Mutex<Vec<Reached>>,
    warned: AtomicU64,
    exhausted: AtomicU64,
}

/// A tenant's budgets that are being counted and do not hold yet: ended by [`Budgets::primed`].
#[derive(Debug)]
pub struct Priming {
    tenant: TenantId,
    counters: Vec<Arc<Counter>>,
    books: PriceBooks,
}

impl Priming {
    /// The budgets, in the order in which [`Budgets::primed`] wants what they have used.
    pub fn budgets(&self) -> impl Iterator<Item = &BudgetV1> {
        self.counters.iter().map(|counter| counter.budget())
    }

    /// What things cost its tenant.
    pub fn books(&self) -> &PriceBooks {
        &self.books
    }
}

impl Budgets {
    /// No budgets, for a ledger with so many lanes.
    pub fn new(lanes: u16) -> Self {
        Self {
            table: Live::new(HashMap::new()),
            lanes: (0..lanes.max(1)).map(|_| Mutex::default()).collect(),
            reached: Mutex::default(),
            warned: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
        }
    }

    fn of(&self, tenant: &TenantId) -> Option<Arc<OfTenant>> {
        self.table.with(|table| table.get(tenant).cloned())
    }

    /// Why nothing of a function begins now. Takes no lock.
    pub fn closed(&self, function: &FunctionRef, clock: &dyn Clock) -> Option<Closed> {
        let of = self.of(&function.tenant)?;
        let now = clock.wall();
        let counters = of.counters.iter().filter(|one| one.budget.covers(function));
        let mut found = None;
        for closed in counters.filter_map(|counter| counter.closed(now)) {
            found = Some(match (found, closed) {
                (Some(Closed::For(one)), Closed::For(other)) => Closed::For(one.max(other)),
                (Some(Closed::Stopped), _) | (_, Closed::Stopped) => Closed::Stopped,
                (None, closed) => closed,
            });
        }
        found
    }

    /// Has `append` write an entry to `lane`, and counts it.
    ///
    /// Errors: those of `append`; nothing is counted then.
    pub fn settle<E>(
        &self,
        lane: u16,
        entry: &Settling<'_>,
        append: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let at = usize::from(lane).min(self.lanes.len() - 1);
        let held = lock(&self.lanes[at]);
        append()?;
        let of = self.of(&entry.function.tenant);
        if let Some(of) = &of {
            self.count(of, entry);
        }
        drop(held);
        Ok(())
    }

    fn count(&self, of: &OfTenant, entry: &Settling<'_>) {
        let now = entry.clock.wall();
        for counter in of.counters.iter().chain(&of.coming) {
            let budget = &counter.budget;
            if !budget.covers(entry.function) {
                continue;
            }
            let used = measured(budget, &entry.part, entry.received, &of.books);
            let told = counter.count(entry.attempt, entry.received, now, used);
            self.tell(&entry.function.tenant, budget, told, now);
        }
    }

    fn tell(&self, tenant: &TenantId, budget: &BudgetV1, told: Vec<(u8, Wall)>, at: Wall) {
        if told.is_empty() {
            return;
        }
        let mut reached = lock(&self.reached);
        for (percent, period) in told {
            let counter = match percent {
                FULL_PERCENT => &self.exhausted,
                _ => &self.warned,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            reached.push(Reached {
                tenant: tenant.clone(),
                budget: budget.clone(),
                period,
                percent,
                at,
            });
        }
    }

    /// Counts a tenant's budgets from now on, beside those that hold until [`Budgets::primed`].
    pub fn begin(&self, tenant: &TenantId, budgets: Vec<BudgetV1>, books: PriceBooks) -> Priming {
        let counters: Vec<_> = budgets
            .into_iter()
            .map(|budget| Arc::new(Counter::new(budget)))
            .collect();
        // No entry is between its lane and its counters now.
        let held: Vec<_> = self.lanes.iter().map(lock).collect();
        self.table.change(|table| {
            let before = table.get(tenant).map(|of| of.counters.clone());
            let of = OfTenant {
                counters: before.unwrap_or_default(),
                coming: counters.clone(),
                books: books.clone(),
            };
            table.insert(tenant.clone(), Arc::new(of));
        });
        drop(held);
        Priming {
            tenant: tenant.clone(),
            counters,
            books,
        }
    }

    /// They hold from now on. `used` is what the roll-ups say of each, by period, in their order;
    /// `rolled_up` names attempts that the roll-ups have; those of `by_clock` go by the clock, and by
    /// no period that is ahead of it.
    pub fn primed(
        &self,
        priming: Priming,
        used: Vec<BTreeMap<Wall, u128>>,
        rolled_up: &HashSet<Attempt>,
        now: Wall,
        by_clock: impl Fn(&BudgetV1) -> bool,
    ) {
        let Priming {
            tenant,
            counters,
            books,
        } = priming;
        for (counter, used) in counters.iter().zip(used) {
            let told = counter.prime(used, rolled_up, now, by_clock(&counter.budget));
            self.tell(&tenant, &counter.budget, told, now);
        }
        self.table.change(|table| {
            // Unless others were begun meanwhile, which then take these ones' place.
            let is_mine = |of: &Arc<OfTenant>| {
                of.coming.len() == counters.len()
                    && of
                        .coming
                        .iter()
                        .zip(&counters)
                        .all(|(a, b)| Arc::ptr_eq(a, b))
            };
            if !table.get(&tenant).is_some_and(is_mine) {
                return;
            }
            if counters.is_empty() {
                table.remove(&tenant);
                return;
            }
            let of = OfTenant {
                counters,
                coming: Vec::new(),
                books,
            };
            table.insert(tenant, Arc::new(of));
        });
    }

    /// The tenants that have budgets.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.table.with(|table| table.keys().cloned().collect())
    }

    /// The budgets of a tenant with what they have used.
    pub fn counters(&self, tenant: &TenantId) -> Vec<Arc<Counter>> {
        self.of(tenant)
            .map(|of| of.counters.clone())
            .unwrap_or_default()
    }

    /// What was reached since the last time.
    pub fn take_reached(&self) -> Vec<Reached> {
        std::mem::take(&mut lock(&self.reached))
    }

    /// How often budgets reached [`WARN_PERCENT`] and 100 since the start, and how many are closed.
    pub fn counts(&self, now: Wall) -> (u64, u64, u64) {
        let of: Vec<_> = self.table.with(|table| table.values().cloned().collect());
        let counters = of.iter().flat_map(|of| &of.counters);
        (
            self.warned.load(Ordering::Relaxed),
            self.exhausted.load(Ordering::Relaxed),
            counters.filter(|counter| counter.is_closed(now)).count() as u64,
        )
    }
}

/// An entry that is being written to the ledger.
pub struct Settling<'a> {
    /// What ran.
    pub function: &'a FunctionRef,
    /// Which entry.
    pub attempt: Attempt,
    /// When the attempt came in, or the network's bytes were counted.
    pub received: Wall,
    /// What it used.
    pub part: UsagePartV1,
    /// What tells the time.
    pub clock: &'a dyn Clock,
}

impl<'a> Settling<'a> {
    /// Of an entry.
    pub fn of(entry: &'a LedgerEntry, clock: &'a dyn Clock) -> Self {
        Self {
            function: &entry.function,
            attempt: (entry.id, entry.attempt),
            received: entry.received,
            part: UsagePartV1::of(&entry.usage, entry.memory_mib),
            clock,
        }
    }

    /// Of what went over an instance's network.
    pub fn of_network(entry: &'a NetworkEntry, clock: &'a dyn Clock) -> Self {
        Self {
            function: &entry.function,
            attempt: entry.name(),
            received: entry.to,
            part: UsagePartV1::of_network(entry.bytes),
            clock,
        }
    }
}

#[cfg(test)]
mod tests;
