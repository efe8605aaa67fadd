//! Price books: what holds from which moment on.

use super::{Kind, Record};
use crate::{
    month::day_begin,
    prices::{Currency, Meter, Price},
    time::Wall,
};
use serde::{Deserialize, Serialize};

/// Changes that one book holds.
pub const PRICE_CHANGES_MAX: usize = 400;

/// The prices of the node or of one tenant, and how they changed. What held once is never rewritten:
/// a change begins at a moment for which nothing was asked yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PriceBookV1 {
    /// In order of `from`, each another; [`PRICE_CHANGES_MAX`] at the most.
    pub changes: Vec<PriceChangeV1>,
}
impl Record for PriceBookV1 {
    const KIND: Kind = Kind::PriceBook;
    const VERSION: u16 = 1;
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceChangeV1 {
    /// The moment from which it holds, included.
    pub from: Wall,
    /// When it was written down.
    pub set: Wall,
    /// The prices; without them the book has none from then on.
    pub prices: Option<PricesV1>,
}

/// What one unit of each meter costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricesV1 {
    /// What all of them are in.
    pub currency: Currency,
    /// See [`Meter::TenantMonth`].
    pub tenant_month: Price,
    /// See [`Meter::Invocation`].
    pub invocation: Price,
    /// See [`Meter::GbSecond`].
    pub gb_second: Price,
    /// See [`Meter::CpuSecond`].
    pub cpu_second: Price,
    /// See [`Meter::GbOut`].
    pub gb_out: Price,
    /// See [`Meter::GbIn`]; free in books of releases that did not meter it.
    #[serde(default)]
    pub gb_in: Price,
}

impl PricesV1 {
    /// Nothing costs anything.
    pub fn free(currency: Currency) -> Self {
        let [
            tenant_month,
            invocation,
            gb_second,
            cpu_second,
            gb_out,
            gb_in,
        ] = [Price::ZERO; 6];
        Self {
            currency,
            tenant_month,
            invocation,
            gb_second,
            cpu_second,
            gb_out,
            gb_in,
        }
    }

    /// What one unit of `meter` costs.
    pub fn of(&self, meter: Meter) -> Price {
        match meter {
            Meter::TenantMonth => self.tenant_month,
            Meter::Invocation => self.invocation,
            Meter::GbSecond => self.gb_second,
            Meter::CpuSecond => self.cpu_second,
            Meter::GbOut => self.gb_out,
            Meter::GbIn => self.gb_in,
        }
    }
}

impl PriceBookV1 {
    /// The change that holds at a moment.
    pub fn at(&self, at: Wall) -> Option<&PriceChangeV1> {
        let after = self.changes.partition_point(|change| change.from <= at);
        self.changes.get(after.checked_sub(1)?)
    }

    /// The prices that hold at a moment.
    pub fn prices_at(&self, at: Wall) -> Option<PricesV1> {
        self.at(at)?.prices
    }

    /// Writes a change down, over one from the same moment.
    pub fn put(&mut self, change: PriceChangeV1) {
        let place = self.changes.partition_point(|one| one.from < change.from);
        match self.changes.get_mut(place) {
            Some(present) if present.from == change.from => *present = change,
            _ => self.changes.insert(place, change),
        }
    }
}

/// Whose book a price is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BookOf {
    /// The node's, for every tenant without prices of its own.
    Node,
    /// The tenant's own.
    Tenant,
}

/// A stretch of time with the prices that hold for a tenant all through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its first moment.
    pub from: Wall,
    /// The first moment after it.
    pub until: Wall,
    /// The prices, with the book that has them; none where no book has any.
    pub prices: Option<(BookOf, PricesV1)>,
}

/// The two books that tell a tenant's prices: its own holds wherever it has prices, else the node's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceBooks {
    /// The node's.
    pub node: PriceBookV1,
    /// The tenant's own.
    pub own: PriceBookV1,
}

impl PriceBooks {
    /// The change that holds for the tenant at a moment.
    fn at(&self, at: Wall) -> Option<(BookOf, &PriceChangeV1)> {
        let has_prices = |change: &&PriceChangeV1| change.prices.is_some();
        let own = self.own.at(at).filter(has_prices);
        let node = || self.node.at(at).filter(has_prices);
        own.map(|change| (BookOf::Tenant, change))
            .or_else(|| node().map(|change| (BookOf::Node, change)))
    }

    /// The prices that hold for the tenant at a moment, with the book that has them.
    pub fn prices_at(&self, at: Wall) -> Option<(BookOf, PricesV1)> {
        let (book, change) = self.at(at)?;
        Some((book, change.prices?))
    }

    /// The moments after `from` and before `until` at which either book changes, in order.
    fn moments(&self, from: Wall, until: Wall) -> Vec<Wall> {
        let changes = self.node.changes.iter().chain(&self.own.changes);
        let mut moments: Vec<Wall> = changes
            .map(|change| change.from)
            .filter(|at| from < *at && *at < until)
            .collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// The time from `from` to `until` in stretches without a gap, each with one price.
    pub fn stretches(&self, from: Wall, until: Wall) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        // Of the last stretch: what held in it, as the moment at which that was changed to.
        let mut held = None;
        let moments = self.moments(from, until);
        for at in std::iter::once(from).chain(moments) {
            let found = self.at(at);
            let holds = found.map(|(book, change)| (book, change.from));
            match stretches.last_mut() {
                Some(last) if held == holds => last.until = until,
                last => {
                    if let Some(last) = last {
                        last.until = at;
                    }
                    let prices = found.and_then(|(book, one)| Some((book, one.prices?)));
                    stretches.push(Stretch {
                        from: at,
                        until,
                        prices,
                    });
                }
            }
            held = holds;
        }
        stretches
    }

    /// The last moment of an instant's UTC day at which prices changed, up to the instant; none where
    /// those of the day's begin still hold.
    pub fn changed_on_day(&self, at: Wall) -> Option<Wall> {
        let begin = day_begin(at);
        let last = |book: &PriceBookV1| book.at(at).map(|change| change.from);
        let latest = last(&self.node).max(last(&self.own));
        latest.filter(|moment| *moment > begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(from: i64, invocation: Option<&str>) -> PriceChangeV1 {
        let free = PricesV1::free("EUR".parse().unwrap());
        PriceChangeV1 {
            from: Wall(from),
            set: Wall(0),
            prices: invocation.map(|price| PricesV1 {
                invocation: price.parse().unwrap(),
                ..free
            }),
        }
    }

    fn book(changes: &[(i64, Option<&str>)]) -> PriceBookV1 {
        let mut book = PriceBookV1::default();
        for (from, price) in changes {
            book.put(change(*from, *price));
        }
        book
    }

    #[track_caller]
    fn check(books: &PriceBooks, from: i64, until: i64, expected: &[(i64, i64, Option<&str>)]) {
        let found: Vec<(i64, i64, Option<String>)> = books
            .stretches(Wall(from), Wall(until))
            .into_iter()
            .map(|one| {
                let price = one.prices.map(|(_, prices)| prices.invocation.to_string());
                (one.from.0, one.until.0, price)
            })
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|(a, b, p)| (*a, *b, p.as_deref()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_change_holds_from_its_moment_on() {
        let books = PriceBooks {
            node: book(&[(20, Some("2")), (10, Some("1")), (40, None)]),
            own: PriceBookV1::default(),
        };
        check(&books, 0, 5, &[(0, 5, None)]);
        check(
            &books,
            0,
            50,
            &[
                (0, 10, None),
                (10, 20, Some("1")),
                (20, 40, Some("2")),
                (40, 50, None),
            ],
        );
        check(&books, 20, 40, &[(20, 40, Some("2"))]);
        check(&books, 15, 21, &[(15, 20, Some("1")), (20, 21, Some("2"))]);
    }

    #[test]
    fn a_tenants_own_prices_stand_in_the_nodes_place_as_long_as_it_has_any() {
        let books = PriceBooks {
            node: book(&[(0, Some("1")), (30, Some("3"))]),
            own: book(&[(20, Some("2")), (40, None)]),
        };
        check(
            &books,
            0,
            50,
            &[(0, 20, Some("1")), (20, 40, Some("2")), (40, 50, Some("3"))],
        );
    }

    #[test]
    fn a_change_from_the_same_moment_takes_the_place_of_the_other() {
        let mut one = book(&[(10, Some("1")), (20, Some("2"))]);
        one.put(change(10, Some("7")));
        assert_eq!(one, book(&[(10, Some("7")), (20, Some("2"))]));
    }

    #[test]
    fn the_day_of_a_change_is_parted_at_its_moment() {
        const DAY: i64 = 86_400_000_000;
        let books = PriceBooks {
            node: book(&[(DAY, Some("1")), (DAY + 5, Some("2"))]),
            own: book(&[(DAY + 9, Some("3"))]),
        };
        let changed = |at: i64| books.changed_on_day(Wall(at)).map(|at| at.0);
        assert_eq!(changed(DAY - 1), None);
        assert_eq!(changed(DAY), None, "that is the day's begin");
        assert_eq!(changed(DAY + 4), None);
        assert_eq!(changed(DAY + 5), Some(DAY + 5));
        assert_eq!(changed(DAY + 8), Some(DAY + 5));
        assert_eq!(changed(DAY + 9), Some(DAY + 9));
        assert_eq!(changed(2 * DAY), None);
    }

    fn any_book() -> impl Strategy<Value = PriceBookV1> {
        let price = prop::option::of(prop::sample::select(vec!["0", "1", "2.5"]));
        prop::collection::vec((0_i64..100, price), 0..8).prop_map(|changes| book(&changes))
    }

    proptest! {
        #[test]
        fn stretches_have_no_gap_and_tell_what_holds(
            node in any_book(), own in any_book(), from in 0_i64..100, length in 1_i64..100,
        ) {
            let books = PriceBooks { node, own };
            let until = from + length;
            let stretches = books.stretches(Wall(from), Wall(until));
            prop_assert_eq!(stretches[0].from, Wall(from));
            prop_assert_eq!(stretches[stretches.len() - 1].until, Wall(until));
            for pair in stretches.windows(2) {
                prop_assert_eq!(pair[0].until, pair[1].from);
            }
            for at in from..until {
                let own = books.own.prices_at(Wall(at)).map(|prices| (BookOf::Tenant, prices));
                let node = books.node.prices_at(Wall(at)).map(|prices| (BookOf::Node, prices));
                let stretch = stretches.iter().find(|s| s.from.0 <= at && at < s.until.0);
                prop_assert_eq!(stretch.unwrap().prices, own.or(node));
            }
        }
    }
}
