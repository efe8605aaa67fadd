//! Price books, as the node's operator keeps them: the node's own and one for each tenant that has
//! prices of its own.
//!
//! What held once is never rewritten. A change begins now or later, or fills time for which there
//! was no price at all; that part of the past begins with a UTC day, since roll-ups of days before
//! a change know no finer time.

use crate::{
    Control, ControlError, Field, Limit,
    store::{self, CHANGE_ATTEMPTS},
    tenants::{platform, tenant_id},
};
use freehold_domain::{
    Principal, TenantId, Wall,
    month::day_begin,
    ports::Expect,
    prices::{Currency, Price},
    record::{Key, PRICE_CHANGES_MAX, PriceBookV1, PriceBooks, PriceChangeV1, PricesV1},
};
use std::time::Duration;

/// How far ahead a change may begin: ten years.
pub const PRICE_AHEAD_MAX: Duration = Duration::from_secs(3653 * 86_400);

/// Prices to be set, as decimal numbers. What is left out stays as it is in that book at that time,
/// and is 0 where the book has no prices.
#[derive(Debug, Clone, Default)]
pub struct PricesChange {
    /// What all of them are in; needed where the book has no prices yet.
    pub currency: Option<String>,
    /// Of a tenant, for a calendar month.
    pub tenant_month: Option<String>,
    /// Of an invocation.
    pub invocation: Option<String>,
    /// Of a GB for a second.
    pub gb_second: Option<String>,
    /// Of a second of processor time.
    pub cpu_second: Option<String>,
    /// Of a GB that leaves: of answers, and of what instances send to networks.
    pub gb_out: Option<String>,
    /// Of a GB that instances receive from networks.
    pub gb_in: Option<String>,
}

impl PricesChange {
    /// The prices that follow `present`.
    ///
    /// Errors: [`ControlError::Invalid`] for what is no price or no currency, for a first change
    /// without a currency, for another currency without all prices, for no change at all.
    fn over(&self, present: Option<PricesV1>) -> Result<PricesV1, ControlError> {
        let wrong =
            |field, error: &dyn std::fmt::Display| ControlError::invalid(field, error.to_string());
        let currency = self.currency.as_deref().map(str::parse::<Currency>);
        let currency = currency
            .transpose()
            .map_err(|error| wrong(Field::Currency, &error))?;
        let currency = match (currency, present) {
            (Some(currency), _) => currency,
            (None, Some(present)) => present.currency,
            (None, None) => {
                let reason = "the first prices of a book need a currency, such as EUR";
                return Err(ControlError::invalid(Field::Currency, reason));
            }
        };
        let mut prices = present.unwrap_or(PricesV1::free(currency));
        let is_another = prices.currency != currency;
        prices.currency = currency;
        let mut given = usize::from(self.currency.is_some());
        for (name, text, price) in [
            ("tenant", &self.tenant_month, &mut prices.tenant_month),
            ("invocation", &self.invocation, &mut prices.invocation),
            ("GB-second", &self.gb_second, &mut prices.gb_second),
            ("CPU-second", &self.cpu_second, &mut prices.cpu_second),
            ("GB out", &self.gb_out, &mut prices.gb_out),
            ("GB in", &self.gb_in, &mut prices.gb_in),
        ] {
            match text {
                Some(text) => {
                    given += 1;
                    *price = text.parse::<Price>().map_err(|error| {
                        wrong(Field::Price, &format!("the price per {name}: {error}"))
                    })?;
                }
                // What was never asked for is free in every currency.
                None if is_another && (name != "GB in" || *price > Price::ZERO) => {
                    let reason = format!(
                        "another currency needs all prices anew: the price per {name} is not given"
                    );
                    return Err(ControlError::invalid(Field::Price, reason));
                }
                None => {}
            }
        }
        match given {
            0 => Err(ControlError::invalid(Field::Price, "no price is given")),
            _ => Ok(prices),
        }
    }
}

impl Control {
    /// The node's book, or a tenant's own, which is empty where it has none.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::Invalid`], [`ControlError::NotFound`].
    pub async fn prices_get(
        &self,
        who: &Principal,
        tenant: Option<&str>,
    ) -> Result<PriceBookV1, ControlError> {
        self.operator(who).await?;
        let of = self.book_of(tenant).await?;
        self.price_book(&of).await
    }

    /// Sets prices from a moment on, by default from now: of the node, or of one tenant.
    ///
    /// Errors: [`ControlError::NotOperator`], [`ControlError::NotFound`], [`ControlError::Invalid`]
    /// for prices or a moment that cannot be, [`ControlError::LimitExceeded`] past
    /// [`PRICE_CHANGES_MAX`].
    pub async fn prices_set(
        &self,
        who: &Principal,
        tenant: Option<&str>,
        change: &PricesChange,
        from: Option<Wall>,
    ) -> Result<PriceBookV1, ControlError> {
        let set = self.book_change(who, tenant, from, |present| change.over(present).map(Some));
        let book = set.await?;
        self.budgets_reprice().await?;
        Ok(book)
    }

    /// Ends a book's prices from a moment on, by default from now: the node's hold for the tenant
    /// again, and without a tenant nothing has a price.
    ///
    /// Errors: as [`Control::prices_set`].
    pub async fn prices_end(
        &self,
        who: &Principal,
        tenant: Option<&str>,
        from: Option<Wall>,
    ) -> Result<PriceBookV1, ControlError> {
        let book = self.book_change(who, tenant, from, |_| Ok(None)).await?;
        self.budgets_reprice().await?;
        Ok(book)
    }

    async fn book_change(
        &self,
        who: &Principal,
        tenant: Option<&str>,
        from: Option<Wall>,
        change: impl Fn(Option<PricesV1>) -> Result<Option<PricesV1>, ControlError>,
    ) -> Result<PriceBookV1, ControlError> {
        self.operator(who).await?;
        let of = self.book_of(tenant).await?;
        let key = Key::price_book(&of);
        for _ in 0..CHANGE_ATTEMPTS {
            // Nothing is rolled up meanwhile: what has been is older than the moment taken here.
            let metered = self.metering.lock().await;
            let present = self.read::<PriceBookV1>(&platform(), &key).await?;
            let expect = present.as_ref().map_or(Expect::Absent, |p| p.expect());
            let mut book = present.map(|present| present.record).unwrap_or_default();
            let set = self.clock.wall();
            // Whole milliseconds: what is shown of a moment is all of it.
            let mut now = Wall::from_millis(set.millis() + 1);
            let asked = from;
            let from = from.unwrap_or(now);
            // The clock was set back: what was counted of the day has had its price.
            if let Some(latest) = metered.latest_since(from).filter(|latest| *latest >= now) {
                if asked.is_none() && day_begin(latest) != day_begin(now) {
                    return Err(ControlError::invalid(
                        Field::PriceFrom,
                        "the clock was set back: calls of a later day were counted already, and keep the prices that they had",
                    ));
                }
                now = Wall::from_millis(latest.millis() + 1);
            }
            let from = asked.unwrap_or(now);
            let before = book.prices_at(from);
            let prices = change(before)?;
            Self::may_be_asked(from, now)?;
            if prices == before {
                return Ok(book);
            }
            self.may_begin(&of, &book, from, now).await?;
            book.put(PriceChangeV1 { from, set, prices });
            if book.changes.len() > PRICE_CHANGES_MAX {
                return Err(ControlError::LimitExceeded {
                    limit: Limit::PriceChanges,
                    max: PRICE_CHANGES_MAX as u64,
                });
            }
            let ops = vec![store::put(key.clone(), expect, &book)];
            if self.try_commit(&platform(), ops).await? {
                return Ok(book);
            }
        }
        Err(ControlError::Contended {
            name: key.to_string(),
        })
    }

    /// Whether a moment is one at which prices can change.
    ///
    /// Errors: [`ControlError::Invalid`].
    fn may_be_asked(from: Wall, now: Wall) -> Result<(), ControlError> {
        let invalid = |reason: &str| Err(ControlError::invalid(Field::PriceFrom, reason));
        if from > now + PRICE_AHEAD_MAX {
            return invalid("prices are set at most ten years ahead");
        }
        if from < now && (from < Wall(0) || day_begin(from) != from) {
            return invalid("prices for time that has passed begin with a UTC day, at 00:00");
        }
        Ok(())
    }

    /// Whether a change of a book may begin at a moment.
    ///
    /// Errors: [`ControlError::Invalid`].
    async fn may_begin(
        &self,
        of: &TenantId,
        book: &PriceBookV1,
        from: Wall,
        now: Wall,
    ) -> Result<(), ControlError> {
        if from >= now {
            return Ok(());
        }
        let books = match *of == TenantId::platform() {
            true => PriceBooks {
                node: book.clone(),
                own: PriceBookV1::default(),
            },
            false => self.price_books(of).await?,
        };
        let next = book.changes.iter().map(|change| change.from);
        let until = next.filter(|at| *at > from).min().unwrap_or(now).min(now);
        let stretches = books.stretches(from, until);
        match stretches.iter().all(|stretch| stretch.prices.is_none()) {
            true => Ok(()),
            false => Err(ControlError::invalid(
                Field::PriceFrom,
                "time that has passed keeps the prices that it had",
            )),
        }
    }

    /// Whose book is meant: a tenant's, or the platform's for the node's.
    async fn book_of(&self, tenant: Option<&str>) -> Result<TenantId, ControlError> {
        let Some(tenant) = tenant else {
            return Ok(TenantId::platform());
        };
        let id = tenant_id(tenant)?;
        self.tenant(&platform(), &id).await?;
        Ok(id)
    }

    async fn price_book(&self, of: &TenantId) -> Result<PriceBookV1, ControlError> {
        let found = self.read(&platform(), &Key::price_book(of)).await?;
        Ok(found.map(|found| found.record).unwrap_or_default())
    }

    /// The books that tell a tenant's prices.
    pub(crate) async fn price_books(&self, tenant: &TenantId) -> Result<PriceBooks, ControlError> {
        Ok(PriceBooks {
            node: self.price_book(&TenantId::platform()).await?,
            own: self.price_book(tenant).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> PricesChange {
        let of = |name: &str| {
            let found = pairs.iter().find(|(one, _)| *one == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        PricesChange {
            currency: of("currency"),
            tenant_month: of("tenant_month"),
            invocation: of("invocation"),
            gb_second: of("gb_second"),
            cpu_second: of("cpu_second"),
            gb_out: of("gb_out"),
            gb_in: of("gb_in"),
        }
    }

    #[test]
    fn what_is_left_out_stays_and_nothing_is_read_in_another_currency() {
        let first = set(&[("currency", "EUR"), ("invocation", "0.0000002")]);
        let first = first.over(None).unwrap();
        assert_eq!(first.invocation.to_string(), "0.0000002");
        assert_eq!(first.gb_second, Price::ZERO);
        let second = set(&[("gb_second", "0.00001")]).over(Some(first)).unwrap();
        assert_eq!(second.invocation, first.invocation);
        assert_eq!(second.gb_second.to_string(), "0.00001");

        let refused = |change: PricesChange, present, expected| {
            let refused = change.over(present).unwrap_err();
            assert!(
                matches!(refused, ControlError::Invalid { field, .. } if field == expected),
                "{refused}"
            );
        };
        refused(set(&[("invocation", "1")]), None, Field::Currency);
        refused(set(&[("currency", "euro")]), None, Field::Currency);
        refused(set(&[]), Some(first), Field::Price);
        refused(set(&[("invocation", "-1")]), Some(first), Field::Price);
        refused(set(&[("gb_out", "1e3")]), Some(first), Field::Price);
        let other = [("currency", "USD"), ("invocation", "1")];
        refused(set(&other), Some(first), Field::Price);
        let all = [
            ("currency", "USD"),
            ("tenant_month", "1"),
            ("invocation", "2"),
            ("gb_second", "3"),
            ("cpu_second", "4"),
            ("gb_out", "5"),
        ];
        let all_in_dollars = set(&all).over(Some(first)).unwrap();
        assert_eq!(all_in_dollars.gb_out.to_string(), "5");
        // What comes in is free unless it has a price, and then that is one of them.
        assert_eq!(all_in_dollars.gb_in, Price::ZERO);
        let first = set(&[("gb_in", "0.5")]).over(Some(first)).unwrap();
        refused(set(&all), Some(first), Field::Price);
        let mut all = all.to_vec();
        all.push(("gb_in", "6"));
        assert_eq!(set(&all).over(Some(first)).unwrap().gb_in.to_string(), "6");
    }
}
