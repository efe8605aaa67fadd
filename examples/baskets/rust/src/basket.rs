//! The rules of a basket: what can be priced, and what it costs.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

const LINES_MAX: usize = 100;

/// What was bought: prices are net and in whole cents, so that sums are exact.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Basket {
    pub currency: String,
    pub lines: Vec<Line>,
}

/// So many of one thing, the price of each, and the tax on it in percent. What an event leaves out is
/// none: a price of nothing is a price.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct Line {
    pub count: Option<i64>,
    pub each: Option<i64>,
    pub vat: Option<i64>,
}

/// The net sum at one rate of tax, and the tax on it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Tax {
    pub percent: i64,
    pub net: i64,
    pub vat: i64,
}

/// What is to be paid.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    pub currency: String,
    pub net: i64,
    pub vat: Vec<Tax>,
    pub gross: i64,
}

/// A basket that cannot be priced; its text names the field.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidBasket(String);

impl fmt::Display for InvalidBasket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Basket {
    /// What it costs. Tax is rounded once for each rate, half a cent up.
    pub fn receipt(self) -> Result<Receipt, InvalidBasket> {
        let is_code = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
        if !is_code(&self.currency) {
            let message = "currency must be three capital letters";
            return Err(InvalidBasket(message.to_owned()));
        }
        if !(1..=LINES_MAX).contains(&self.lines.len()) {
            let message = format!("lines must have 1 to {LINES_MAX} entries");
            return Err(InvalidBasket(message));
        }
        let mut nets = BTreeMap::new();
        for (at, line) in self.lines.iter().enumerate() {
            let count = within(at, "count", line.count, 1..=1000)?;
            let each = within(at, "each", line.each, 0..=1_000_000)?;
            let vat = within(at, "vat", line.vat, 0..=100)?;
            *nets.entry(vat).or_insert(0) += count * each;
        }
        let tax = |(percent, net)| Tax {
            percent,
            net,
            vat: (net * percent + 50) / 100,
        };
        let vat: Vec<Tax> = nets.into_iter().map(tax).collect();
        let net = vat.iter().map(|tax| tax.net).sum();
        let gross = vat.iter().map(|tax| tax.net + tax.vat).sum();
        let currency = self.currency;
        Ok(Receipt {
            currency,
            net,
            vat,
            gross,
        })
    }
}

fn within(
    at: usize,
    field: &str,
    value: Option<i64>,
    allowed: RangeInclusive<i64>,
) -> Result<i64, InvalidBasket> {
    value
        .filter(|value| allowed.contains(value))
        .ok_or_else(|| {
            let (low, high) = allowed.into_inner();
            InvalidBasket(format!("lines[{at}].{field} must be from {low} to {high}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basket(lines: &[[i64; 3]]) -> Basket {
        let line = |[count, each, vat]: &[i64; 3]| Line {
            count: Some(*count),
            each: Some(*each),
            vat: Some(*vat),
        };
        let lines = lines.iter().map(line).collect();
        Basket {
            currency: "EUR".to_owned(),
            lines,
        }
    }

    #[test]
    fn tax_is_rounded_once_for_each_rate() {
        let receipt = basket(&[[1, 7, 7], [1, 19, 19], [1, 0, 7], [2, 4, 7]]).receipt();
        let low = Tax {
            percent: 7,
            net: 15,
            vat: 1,
        };
        let high = Tax {
            percent: 19,
            net: 19,
            vat: 4,
        };
        let receipt = receipt.unwrap();
        assert_eq!(receipt.vat, [low, high]);
        assert_eq!((receipt.net, receipt.gross), (34, 39));
    }

    #[test]
    fn half_a_cent_is_rounded_up() {
        assert_eq!(basket(&[[1, 10, 5]]).receipt().unwrap().gross, 11);
    }

    #[test]
    fn the_largest_basket_does_not_overflow() {
        let receipt = basket(&[[1000, 1_000_000, 100]; 100]).receipt().unwrap();
        assert_eq!(receipt.gross, 200_000_000_000);
    }

    #[test]
    fn what_is_left_out_is_refused_by_name() {
        let mut basket = basket(&[[1, 1, 1]]);
        basket.lines[0].each = None;
        let problem = basket.receipt().unwrap_err().to_string();
        assert_eq!(problem, "lines[0].each must be from 0 to 1000000");
    }
}
