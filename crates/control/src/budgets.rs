//! Budgets, as the node's operator keeps them: how much a tenant or one of its functions may use in an
//! hour, a day or a month.
//!
//! What a budget has used is told from the roll-ups when it is set and when the node starts, and
//! counted on by the engine ([`freehold_domain::budgets`]). Roll-ups and prices stand still meanwhile.

use crate::{
    Control, ControlError, Field, Limit, Place, Resource,
    rules::cut,
    store::{self, LIST_CHUNK},
    tenants::{platform, tenant_id},
    usage::day_of,
};
use freehold_domain::{
    FunctionName, FunctionRef, Principal, TenantId, Wall,
    budgets::{BUDGETS_MAX, Reached, measured},
    ledger::LedgerFrame,
    month::day_begin,
    ports::Expect,
    prices::{Currency, Price},
    record::{
        self, BudgetFunctionV1, BudgetLimitV1, BudgetPeriodV1, BudgetReachedV1, BudgetThenV1,
        BudgetV1, BudgetsV1, Key, Kind, PriceBooks, UsageRollupV2,
    },
};
use std::collections::{BTreeMap, HashSet};

/// Most GB·s, invocations or GiB of one budget.
pub const BUDGET_UNITS_MAX: u64 = 1_000_000_000_000;

/// A budget to be set, in place of the one with the same name.
#[derive(Debug, Clone, Default)]
pub struct NewBudget {
    /// The function that it is about; without one, all of the tenant's.
    pub function: Option<String>,
    /// How much may be spent, a decimal number.
    pub cost: Option<String>,
    /// What that is in; the currency of the tenant's prices where it is not given.
    pub currency: Option<String>,
    /// How many GB·s, a decimal number with at most three digits behind the point.
    pub gb_seconds: Option<String>,
    /// How many attempts.
    pub invocations: Option<u64>,
    /// How many bytes of answers, and of what instances send to networks.
    pub egress_bytes: Option<u64>,
    /// `hour`, `day` or `month`.
    pub period: String,
    /// `throttle` or `stop`; the former where it is not given.
    pub then: Option<String>,
}

/// A budget and what it has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetView {
    /// Whose.
    pub tenant: TenantId,
    /// The budget.
    pub budget: BudgetV1,
    /// Begin of its period.
    pub period: Wall,
    /// What was used in it, in what its meter counts.
    pub used: u128,
    /// Whether nothing begins.
    pub is_closed: bool,
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, ControlError> {
    Err(ControlError::invalid(Field::Budget, reason))
}

/// `12.5` GB·s in ms × MiB.
fn gb_seconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) || part.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    if whole > BUDGET_UNITS_MAX {
        return None;
    }
    let thousandths: u64 = format!("{part:0<3}").parse().ok()?;
    // A GB·s is 1024 MiB × 1000 ms.
    Some((whole * 1000 + thousandths) * 1024)
}

impl NewBudget {
    fn limit(&self, books: &PriceBooks, now: Wall) -> Result<BudgetLimitV1, ControlError> {
        let given = [
            self.cost.is_some(),
            self.gb_seconds.is_some(),
            self.invocations.is_some(),
            self.egress_bytes.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            return invalid("a budget is of one of cost, GB-seconds, invocations and egress");
        }
        if self.currency.is_some() && self.cost.is_none() {
            return invalid("only a budget of cost has a currency");
        }
        let limit = if let Some(cost) = &self.cost {
            let amount = cost.parse::<Price>();
            let amount = amount.or_else(|error| invalid(format!("the cost: {error}")))?;
            let currency = match (&self.currency, books.prices_at(now)) {
                (Some(given), _) => {
                    let read = given.parse::<Currency>();
                    read.or_else(|error| invalid(error.to_string()))?
                }
                (None, Some((_, prices))) => prices.currency,
                (None, None) => {
                    return invalid(
                        "nothing has a price for this account now: give the budget's currency",
                    );
                }
            };
            BudgetLimitV1::Cost { amount, currency }
        } else if let Some(text) = &self.gb_seconds {
            match gb_seconds(text) {
                Some(count) => BudgetLimitV1::GbSeconds(count),
                None => {
                    let given = cut(text);
                    return invalid(format!(
                        "{given:?} is no number of GB-seconds: up to {BUDGET_UNITS_MAX}, with at most three digits behind the point"
                    ));
                }
            }
        } else if let Some(count) = self.invocations {
            BudgetLimitV1::Invocations(count)
        } else {
            BudgetLimitV1::Egress(self.egress_bytes.unwrap_or_default())
        };
        let most = match limit {
            BudgetLimitV1::Invocations(_) => BUDGET_UNITS_MAX.into(),
            BudgetLimitV1::Egress(_) => u128::from(BUDGET_UNITS_MAX) << 20,
            BudgetLimitV1::GbSeconds(_) | BudgetLimitV1::Cost { .. } => u128::MAX,
        };
        match limit.count() {
            0 => invalid("a budget is more than nothing: to stop a function, reserve 0 for it"),
            count if count > most => {
                invalid(format!("a budget is at most {}", limit.quantity(most)))
            }
            _ => Ok(limit),
        }
    }

    fn period(&self) -> Result<BudgetPeriodV1, ControlError> {
        let mut all = BudgetPeriodV1::ALL.into_iter();
        match all.find(|period| period.word() == self.period) {
            Some(period) => Ok(period),
            None => invalid(format!(
                "{:?} is no period: hour, day or month",
                cut(&self.period)
            )),
        }
    }

    fn then(&self) -> Result<BudgetThenV1, ControlError> {
        match self.then.as_deref() {
            None | Some("throttle") => Ok(BudgetThenV1::Throttle),
            Some("stop") => Ok(BudgetThenV1::Stop),
            Some(other) => invalid(format!("{:?} is neither throttle nor stop", cut(other))),
        }
    }
}

impl Control {
    /// Sets a budget in place of the tenant's with the same name; it holds when this returns. One that
    /// had stopped functions lets them go on if less than its new limit was used.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`], [`ControlError::Invalid`],
    /// [`ControlError::LimitExceeded`] past [`BUDGETS_MAX`].
    pub async fn budget_set(
        &self,
        who: &Principal,
        place: &Place,
        new: &NewBudget,
    ) -> Result<BudgetView, ControlError> {
        self.operator(who).await?;
        let tenant = &place.tenant;
        self.tenant(&platform(), tenant).await?;
        let name = new.function.as_deref().map(str::parse::<FunctionName>);
        let name = name
            .transpose()
            .or_else(|_| invalid("what the budget is about is no function's name"))?;
        let now = self.clock.wall();
        let budget = BudgetV1 {
            function: name.map(|name| BudgetFunctionV1 {
                region: place.region.clone(),
                name,
            }),
            limit: new.limit(&self.price_books(tenant).await?, now)?,
            period: new.period()?,
            then: new.then()?,
            set: now,
            reached: None,
        };
        let name = budget.name();
        self.budgets_change(tenant, |all| {
            all.retain(|one| one.name() != name);
            all.push(budget.clone());
            all.sort_by_key(BudgetV1::name);
            match all.len() > BUDGETS_MAX {
                true => Err(ControlError::LimitExceeded {
                    limit: Limit::Budgets,
                    max: BUDGETS_MAX as u64,
                }),
                false => Ok(()),
            }
        })
        .await?;
        self.budgets_prime(tenant, Some(&name)).await?;
        let all = self.budgets_of(tenant).into_iter();
        let mut set = all.filter(|view| view.budget.name() == name);
        set.next()
            .ok_or_else(|| ControlError::Contended { name: name.clone() })
    }

    /// Removes a budget; what it had closed is open when this returns.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`].
    pub async fn budget_remove(
        &self,
        who: &Principal,
        tenant: &TenantId,
        name: &str,
    ) -> Result<(), ControlError> {
        self.operator(who).await?;
        self.tenant(&platform(), tenant).await?;
        self.budgets_change(tenant, |all| {
            let before = all.len();
            all.retain(|one| one.name() != name);
            match all.len() < before {
                true => Ok(()),
                false => Err(ControlError::not_found(Resource::Budget, cut(name))),
            }
        })
        .await?;
        self.budgets_prime(tenant, None).await
    }

    /// The budgets of a tenant, or, for the operator, of all; each with what it has used.
    ///
    /// Errors: [`ControlError::Denied`] for another's.
    pub async fn budget_list(
        &self,
        who: &Principal,
        tenant: Option<&str>,
    ) -> Result<Vec<BudgetView>, ControlError> {
        let is_operator = self.operator(who).await.is_ok();
        let tenants = match (tenant, who.tenant()) {
            (Some(id), _) => {
                let id = tenant_id(id)?;
                if !is_operator {
                    Self::reaches(who, &id)?;
                }
                self.tenant(&platform(), &id).await?;
                vec![id]
            }
            (None, _) if is_operator => {
                let mut all = self.budgets.tenants();
                all.sort_unstable();
                all
            }
            (None, own) => own.cloned().into_iter().collect(),
        };
        Ok(tenants.iter().flat_map(|id| self.budgets_of(id)).collect())
    }

    fn budgets_of(&self, tenant: &TenantId) -> Vec<BudgetView> {
        let now = self.clock.wall();
        let counters = self.budgets.counters(tenant);
        let views = counters.iter().filter_map(|counter| {
            let (period, used) = counter.used(now)?;
            Some(BudgetView {
                tenant: tenant.clone(),
                budget: counter.budget().clone(),
                period,
                used,
                is_closed: counter.is_closed(now),
            })
        });
        views.collect()
    }

    async fn budgets_change(
        &self,
        tenant: &TenantId,
        change: impl Fn(&mut Vec<BudgetV1>) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let key = Key::budgets(tenant);
        let mut attempts = self.turns.attempts(tenant);
        while let Some(_turn) = attempts.next().await {
            let present = self.read::<BudgetsV1>(&platform(), &key).await?;
            let expect = present.as_ref().map_or(Expect::Absent, |p| p.expect());
            let mut all = present.map(|present| present.record).unwrap_or_default();
            change(&mut all.budgets)?;
            let ops = vec![store::put(key.clone(), expect, &all)];
            if self.try_commit(&platform(), ops).await? {
                return Ok(());
            }
        }
        Err(ControlError::Contended {
            name: key.to_string(),
        })
    }

    /// Has every budget hold, with what the ledger says was used. To be called before anything runs.
    ///
    /// Errors: the store's.
    pub async fn budgets_start(&self) -> Result<(), ControlError> {
        let mut after = None::<Key>;
        loop {
            let page = self
                .storage
                .list_all(&platform(), Kind::Budgets, after.as_ref(), LIST_CHUNK)
                .await?;
            for stored in &page {
                let tenant = stored.key.name().first().map(|id| id.parse());
                if let Some(Ok(tenant)) = tenant {
                    self.budgets_prime(&tenant, None).await?;
                }
            }
            match page.last() {
                Some(last) if page.len() == LIST_CHUNK => after = Some(last.key.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Counts every budget anew: prices have changed.
    pub(crate) async fn budgets_reprice(&self) -> Result<(), ControlError> {
        for tenant in self.budgets.tenants() {
            self.budgets_prime(&tenant, None).await?;
        }
        Ok(())
    }

    /// Has the budgets of a tenant hold as they are stored now; the one named `by_clock` in the period
    /// that the clock says, the others in no earlier one than has begun.
    async fn budgets_prime(
        &self,
        tenant: &TenantId,
        by_clock: Option<&str>,
    ) -> Result<(), ControlError> {
        // Nothing is rolled up and no price changes until all is read.
        let mut metered = self.metering.lock().await;
        let present = self
            .read::<BudgetsV1>(&platform(), &Key::budgets(tenant))
            .await?;
        let budgets = present
            .map(|present| present.record.budgets)
            .unwrap_or_default();
        let books = self.price_books(tenant).await?;
        let priming = self.budgets.begin(tenant, budgets, books);
        let mut rolled_up = HashSet::new();
        let mut note = |entry: &LedgerFrame| {
            if entry.function().tenant == *tenant {
                rolled_up.insert(entry.name());
            }
        };
        if let Err(error) = self.roll_up_held(&mut metered, &mut note).await {
            // What was rolled up is better than nothing; the next round of metering says it again.
            tracing::error!(%tenant, %error, "a budget may not know all that was used before");
        }
        let now = self.clock.wall();
        let budgets: Vec<BudgetV1> = priming.budgets().cloned().collect();
        let used = self
            .budgets_used(tenant, &budgets, priming.books(), now)
            .await?;
        drop(metered);
        let by_clock = |budget: &BudgetV1| by_clock.is_some_and(|name| budget.name() == name);
        self.budgets
            .primed(priming, used, &rolled_up, now, by_clock);
        Ok(())
    }

    /// What the roll-ups say that each budget has used, by period.
    async fn budgets_used(
        &self,
        tenant: &TenantId,
        budgets: &[BudgetV1],
        books: &PriceBooks,
        now: Wall,
    ) -> Result<Vec<BTreeMap<Wall, u128>>, ControlError> {
        let mut used = vec![BTreeMap::new(); budgets.len()];
        // What stops has stopped in the last period in which something ran, however long ago.
        let begins = budgets.iter().map(|budget| {
            let at = match budget.then {
                BudgetThenV1::Stop => now.min(budget.set),
                BudgetThenV1::Throttle => now,
            };
            day_begin(budget.period.begin(at))
        });
        let Some(first) = begins.min() else {
            return Ok(used);
        };
        let mut after = Key::before_usage(tenant);
        loop {
            let page = self
                .storage
                .list_all(&platform(), Kind::UsageRollup, Some(&after), LIST_CHUNK)
                .await?;
            for stored in &page {
                if stored.key.tenant() != tenant {
                    return Ok(used);
                }
                let [name, day] = stored.key.name() else {
                    continue;
                };
                let (Some(day), Ok(name)) = (day_of(day).filter(|day| *day >= first), name.parse())
                else {
                    continue;
                };
                let function = FunctionRef {
                    tenant: tenant.clone(),
                    region: stored.key.region().clone(),
                    name,
                };
                let rollup: UsageRollupV2 = record::decode(&stored.bytes)?;
                for (budget, used) in budgets.iter().zip(&mut used) {
                    if budget.covers(&function) {
                        add(used, budget, day, &rollup, books);
                    }
                }
            }
            match page.last() {
                Some(last) if page.len() == LIST_CHUNK => after = last.key.clone(),
                _ => return Ok(used),
            }
        }
    }

    /// Writes down which parts of budgets were reached since the last time, and says which those were.
    pub async fn budgets_reached(&self) -> Vec<Reached> {
        let reached = self.budgets.take_reached();
        for one in &reached {
            let (name, set) = (one.budget.name(), one.budget.set);
            let part = BudgetReachedV1 {
                period: one.period,
                percent: one.percent,
            };
            let written = self.budgets_change(&one.tenant, |all| {
                // One that was set anew meanwhile begins anew.
                let mut mine = all
                    .iter_mut()
                    .filter(|one| one.set == set && one.name() == name);
                if let Some(budget) = mine.next() {
                    let before = budget.reached.unwrap_or(part);
                    let is_later = (part.period, part.percent) >= (before.period, before.percent);
                    if is_later && !budget.is_stopped() {
                        budget.reached = Some(part);
                    }
                }
                Ok(())
            });
            if let Err(error) = written.await {
                let tenant = &one.tenant;
                tracing::error!(%tenant, name, %error, "what a budget has reached is not stored");
            }
        }
        reached
    }
}

/// Adds what a function used on a day.
fn add(
    used: &mut BTreeMap<Wall, u128>,
    budget: &BudgetV1,
    day: Wall,
    rollup: &UsageRollupV2,
    books: &PriceBooks,
) {
    let (period, parts) = match (budget.period, &rollup.hour) {
        (BudgetPeriodV1::Hour, Some(hour)) => (hour.from, &hour.parts),
        (BudgetPeriodV1::Hour, None) => return,
        _ => (budget.period.begin(day), &rollup.parts),
    };
    let sum = used.entry(period).or_default();
    for part in parts {
        let at = part.since.unwrap_or(day);
        *sum = sum.saturating_add(measured(budget, part, at, books));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gb_seconds_are_read_to_a_thousandth() {
        assert_eq!(gb_seconds("1"), Some(1_024_000));
        assert_eq!(gb_seconds("0.5"), Some(512_000));
        assert_eq!(gb_seconds("12.001"), Some(12_289_024));
        assert_eq!(
            gb_seconds("1000000000000.999"),
            Some(1_024_000_000_001_022_976)
        );
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "1e3",
            "0.0001",
            "1,5",
            "1000000000001",
            "x",
        ] {
            assert_eq!(gb_seconds(bad), None, "{bad}");
        }
    }
}
