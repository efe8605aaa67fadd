//! Budgets, as they are stored.

use super::{Kind, Record};
use crate::{
    ids::{FunctionName, FunctionRef, Region},
    month::{Month, day_begin},
    prices::{Amount, Currency, Meter, Price},
    time::Wall,
};
use serde::{Deserialize, Serialize};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// All budgets of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BudgetsV1 {
    /// By [`BudgetV1::name`], each another.
    pub budgets: Vec<BudgetV1>,
}
impl Record for BudgetsV1 {
    const KIND: Kind = Kind::Budgets;
    const VERSION: u16 = 1;
}

/// How much of something may be used in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetV1 {
    /// The function that it is about; without one, all of the tenant's in all regions.
    pub function: Option<BudgetFunctionV1>,
    /// How much of what.
    pub limit: BudgetLimitV1,
    /// In which time.
    pub period: BudgetPeriodV1,
    /// What happens once it is used up.
    pub then: BudgetThenV1,
    /// When it was set.
    pub set: Wall,
    /// The highest part of it that was reached, in which period.
    pub reached: Option<BudgetReachedV1>,
}

/// A function, whoever made it: one that is deleted and made again is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetFunctionV1 {
    /// Its region.
    pub region: Region,
    /// Its name.
    pub name: FunctionName,
}

/// How much of what; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetLimitV1 {
    /// What it costs by the price books of the time, but for what a tenant pays for a month.
    Cost {
        /// How much.
        amount: Price,
        /// What it is in; what costs another currency is not counted.
        currency: Currency,
    },
    /// Billed time × memory, ms × MiB.
    GbSeconds(u64),
    /// Attempts that reach an instance.
    Invocations(u64),
    /// Bytes of answers, and those that instances send to networks.
    Egress(u64),
}

/// A stretch of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriodV1 {
    /// From a full hour.
    Hour,
    /// From midnight.
    Day,
    /// From the first of a month.
    Month,
}

/// What happens once a budget is used up: nothing begins any more, in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetThenV1 {
    /// Until the period is over.
    Throttle,
    /// Until the operator raises or removes it.
    Stop,
}

/// A part of a budget that was reached, and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReachedV1 {
    /// Begin of the period.
    pub period: Wall,
    /// 80 or 100.
    pub percent: u8,
}

impl BudgetV1 {
    /// What tells it from the tenant's others: `invocations-day`, or
    /// `us-east-1/orders/invocations-day` for that of a function.
    pub fn name(&self) -> String {
        let meter = self.limit.meter();
        let period = self.period.word();
        match &self.function {
            None => format!("{meter}-{period}"),
            Some(function) => {
                let BudgetFunctionV1 { region, name } = function;
                format!("{region}/{name}/{meter}-{period}")
            }
        }
    }

    /// Whether a function of its tenant counts on it.
    pub fn covers(&self, function: &FunctionRef) -> bool {
        self.function
            .as_ref()
            .is_none_or(|own| own.name == function.name && own.region == function.region)
    }

    /// Whether nothing begins until the operator raises or removes it.
    pub fn is_stopped(&self) -> bool {
        self.then == BudgetThenV1::Stop && self.reached.is_some_and(|part| part.percent >= 100)
    }

    /// The part that was told of in a period, percent.
    pub fn told(&self, period: Wall) -> u8 {
        let of = self.reached.filter(|part| part.period == period);
        of.map_or(0, |part| part.percent)
    }
}

impl BudgetLimitV1 {
    /// What is counted, in one word.
    pub fn meter(&self) -> &'static str {
        match self {
            Self::Cost { .. } => "cost",
            Self::GbSeconds(_) => "gb-seconds",
            Self::Invocations(_) => "invocations",
            Self::Egress(_) => "egress",
        }
    }

    /// How much, in what its meter counts.
    pub fn count(&self) -> u128 {
        match self {
            // A unit of a currency is a price times one.
            Self::Cost { amount, .. } => {
                let amount = Amount::of(*amount, 1, Meter::Invocation);
                amount.map_or(u128::MAX, Amount::parts)
            }
            Self::GbSeconds(count) | Self::Invocations(count) | Self::Egress(count) => {
                (*count).into()
            }
        }
    }

    /// A count of its meter in the units that people write: `12.5`, in full.
    pub fn quantity(&self, count: u128) -> String {
        match self {
            Self::Cost { .. } => Amount::of_parts(count).to_string(),
            Self::GbSeconds(_) => Meter::GbSecond.quantity(count),
            Self::Invocations(_) | Self::Egress(_) => count.to_string(),
        }
    }
}

impl BudgetPeriodV1 {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// `hour`, `day`, `month`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The begin of the period that an instant lies in.
    pub fn begin(self, at: Wall) -> Wall {
        match self {
            Self::Hour => hour_begin(at),
            Self::Day => day_begin(at),
            Self::Month => Month::of(at).begin(),
        }
    }

    /// The first instant after the period that begins then.
    pub fn end(self, begin: Wall) -> Wall {
        match self {
            Self::Hour => Wall(begin.0.saturating_add(HOUR_US)),
            Self::Day => Wall(begin.0.saturating_add(DAY_US)),
            Self::Month => Month::of(begin).end(),
        }
    }
}

/// The first instant of an instant's UTC hour.
pub fn hour_begin(at: Wall) -> Wall {
    Wall(at.0.div_euclid(HOUR_US) * HOUR_US)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{decode, encode};
    use proptest::prelude::*;

    fn budget(limit: BudgetLimitV1) -> BudgetV1 {
        BudgetV1 {
            function: None,
            limit,
            period: BudgetPeriodV1::Day,
            then: BudgetThenV1::Stop,
            set: Wall(7),
            reached: None,
        }
    }

    #[test]
    fn a_budget_is_named_by_what_it_bounds_and_reads_back() {
        let cost = BudgetLimitV1::Cost {
            amount: "12.5".parse().unwrap(),
            currency: "EUR".parse().unwrap(),
        };
        let all = BudgetsV1 {
            budgets: vec![
                budget(cost),
                BudgetV1 {
                    function: Some(BudgetFunctionV1 {
                        region: "us-east-1".parse().unwrap(),
                        name: "orders".parse().unwrap(),
                    }),
                    reached: Some(BudgetReachedV1 {
                        period: Wall(0),
                        percent: 100,
                    }),
                    ..budget(BudgetLimitV1::GbSeconds(1_536_000))
                },
            ],
        };
        let names: Vec<_> = all.budgets.iter().map(BudgetV1::name).collect();
        assert_eq!(names, ["cost-day", "us-east-1/orders/gb-seconds-day"]);
        assert_eq!(decode::<BudgetsV1>(&encode(&all)).unwrap(), all);
        let shown = |one: &BudgetV1| one.limit.quantity(one.limit.count());
        assert_eq!(
            (shown(&all.budgets[0]), shown(&all.budgets[1])),
            ("12.5".into(), "1.5".into())
        );
        assert!(all.budgets[1].is_stopped() && !all.budgets[0].is_stopped());
        assert_eq!(
            (all.budgets[1].told(Wall(0)), all.budgets[1].told(Wall(1))),
            (100, 0)
        );
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_its_period_and_in_no_other(at in 0_i64..200_000_000_000_000_000) {
            let at = Wall(at);
            for period in BudgetPeriodV1::ALL {
                let (begin, end) = (period.begin(at), period.end(period.begin(at)));
                prop_assert!(begin <= at && at < end, "{period:?}");
                prop_assert_eq!(period.begin(begin), begin);
                prop_assert_eq!(period.begin(end), end);
                prop_assert_eq!(period.begin(Wall(end.0 - 1)), begin);
            }
        }
    }
}
