//! Calendar months in UTC, with the instants between which they lie.

use crate::time::Wall;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

const DAY_US: i64 = 86_400_000_000;

/// A month of the years 1970 to 9999, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    year: i64,
    /// 1 to 12.
    month: i64,
}

/// A text that is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no month: write the year and the month, such as 2026-11")]
pub struct MonthError {
    /// The text, cut.
    pub given: String,
}

impl Month {
    /// The month that an instant lies in; the first or last one there is for what lies outside.
    pub fn of(at: Wall) -> Self {
        let (first, last) = (
            Self {
                year: 1970,
                month: 1,
            },
            Self {
                year: 9999,
                month: 12,
            },
        );
        let (year, month) = year_and_month(at.0.div_euclid(DAY_US));
        Self { year, month }.clamp(first, last)
    }

    /// Its first instant.
    pub fn begin(self) -> Wall {
        Wall(days_to(self.year, self.month) * DAY_US)
    }

    /// The first instant after it.
    pub fn end(self) -> Wall {
        let (year, month) = match self.month {
            12 => (self.year + 1, 1),
            month => (self.year, month + 1),
        };
        Wall(days_to(year, month) * DAY_US)
    }

    /// Whether an instant lies in it.
    pub fn holds(self, at: Wall) -> bool {
        self.begin() <= at && at < self.end()
    }
}

/// The first instant of an instant's UTC day.
pub fn day_begin(at: Wall) -> Wall {
    Wall(at.0.div_euclid(DAY_US) * DAY_US)
}

/// Days from 1970-01-01 to the first of a month. Source: H. Hinnant, "chrono-compatible low-level
/// date algorithms", `days_from_civil`; years there begin in March.
fn days_to(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The year and month of a day counted from 1970-01-01: `civil_from_days` of the same source.
fn year_and_month(day: i64) -> (i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month)
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let read = || {
            let (year, month) = text.split_once('-')?;
            let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if year.len() != 4 || month.len() != 2 || !is_digits(year) || !is_digits(month) {
                return None;
            }
            let (year, month) = (year.parse().ok()?, month.parse().ok()?);
            ((1970..=9999).contains(&year) && (1..=12).contains(&month))
                .then_some(Self { year, month })
        };
        read().ok_or_else(|| MonthError {
            given: text.chars().take(64).collect(),
        })
    }
}
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}
impl TryFrom<String> for Month {
    type Error = MonthError;
    fn try_from(text: String) -> Result<Self, MonthError> {
        text.parse()
    }
}
impl From<Month> for String {
    fn from(month: Month) -> String {
        month.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_lies_between_its_edges() {
        let check = |text: &str, begin_s: i64, days: i64| {
            let one = month(text);
            assert_eq!(one.begin(), Wall(begin_s * 1_000_000), "{text}");
            assert_eq!(one.end().0 - one.begin().0, days * DAY_US, "{text}");
            assert_eq!(one.to_string(), text);
        };
        check("1970-01", 0, 31);
        check("2026-11", 1_793_491_200, 30);
        check("2024-02", 1_706_745_600, 29);
        check("2023-02", 1_675_209_600, 28);
        check("2000-02", 949_363_200, 29);
        check("2100-02", 4_105_123_200, 28);
        check("2026-12", 1_796_083_200, 31);
        check("9999-12", 253_399_622_400, 31);
    }

    #[test]
    fn the_last_microsecond_belongs_to_the_month_and_the_next_does_not() {
        let (november, december) = (month("2026-11"), month("2026-12"));
        let edge = december.begin();
        assert_eq!(november.end(), edge);
        assert_eq!(Month::of(Wall(edge.0 - 1)), november);
        assert_eq!(Month::of(edge), december);
        assert!(november.holds(Wall(edge.0 - 1)) && !november.holds(edge));
        assert_eq!(day_begin(Wall(edge.0 + DAY_US - 1)), edge);
        assert_eq!(day_begin(Wall(-1)), Wall(-DAY_US));
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for bad in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-1",
            "26-11",
            "2026-11-01",
            "2026/11",
            "+026-11",
            "1969-12",
            "10000-01",
            "２０２６-11",
            "2026-1x",
            "2026- 1",
        ] {
            assert!(bad.parse::<Month>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_its_month(at: i64) {
            let found = Month::of(Wall(at));
            if (0..month("9999-12").end().0).contains(&at) {
                prop_assert!(found.holds(Wall(at)));
                prop_assert_eq!(Month::of(found.begin()), found);
                prop_assert_eq!(found.to_string().parse(), Ok(found));
            }
        }

        #[test]
        fn days_of_our_time_lie_in_their_month(at in 0_i64..8_000_000_000_000_000) {
            prop_assert!(Month::of(Wall(at)).holds(Wall(at)));
        }
    }
}
