//! Money, and what is asked money for: exact decimal numbers, never binary fractions.
//!
//! A [`Price`] has up to twelve digits behind its point. An [`Amount`] is a price times a count of
//! the ledger's, in full: every divisor here has no prime factors but 2 and 5, so that no digit is
//! ever cut. Sums of amounts are exact; rounding happens where one is shown as a sum to be paid.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Digits behind the point of a price.
pub const PRICE_DIGITS_MAX: usize = 12;
/// Highest price of one unit of anything, in units of the currency.
pub const PRICE_MAX: u64 = 1_000_000;
/// Parts of a price's unit.
const PICO: u64 = 1_000_000_000_000;
/// Parts of a price's last digit in an amount: the least multiple of all of
/// [`Meter::counts_per_unit`], 2³⁰·5⁶.
const PARTS: u128 = 16_777_216_000_000;
/// Parts of one unit of a currency in an amount: 2⁴²·5¹⁸.
const UNIT: u128 = PICO as u128 * PARTS;

/// What is metered and has a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meter {
    /// The tenant, for a calendar month.
    TenantMonth,
    /// Attempts at an invocation that reached an instance.
    Invocation,
    /// Billed time × memory; the ledger counts ms × MiB, and 1024 MiB are a GB.
    GbSecond,
    /// Processor time of instances; the ledger counts µs.
    CpuSecond,
    /// What leaves: answers, and what instances send to networks. The ledger counts bytes, and 2³⁰ of them
    /// are a GB.
    GbOut,
    /// What instances receive from networks; counted alike. Free unless a book says otherwise.
    GbIn,
}

impl Meter {
    /// All of them.
    pub const ALL: [Meter; 6] = [
        Self::TenantMonth,
        Self::Invocation,
        Self::GbSecond,
        Self::CpuSecond,
        Self::GbOut,
        Self::GbIn,
    ];

    /// How many of what the ledger counts are one unit with a price.
    pub const fn counts_per_unit(self) -> u64 {
        match self {
            Self::TenantMonth | Self::Invocation => 1,
            Self::GbSecond => 1024 * 1000,
            Self::CpuSecond => 1_000_000,
            Self::GbOut | Self::GbIn => 1 << 30,
        }
    }

    /// A count of the ledger's in units with a price, in full: `1536000` is `1.5` GB·s.
    pub fn quantity(self, count: u128) -> String {
        decimal(count, self.counts_per_unit().into())
    }
}

/// `count / per` in full; `per` has no prime factors but 2 and 5, and is at most [`UNIT`].
fn decimal(count: u128, per: u128) -> String {
    let mut text = (count / per).to_string();
    let mut rest = count % per;
    if rest > 0 {
        text.push('.');
    }
    while rest > 0 {
        rest *= 10;
        text.push(char::from(b'0' + (rest / per) as u8));
        rest %= per;
    }
    text
}

/// Why a text is no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Not digits with at most one point between them.
    #[error("{given:?} is no decimal number such as 0.0000166667")]
    NotANumber {
        /// The text, cut.
        given: String,
    },
    /// Below zero.
    #[error("a price is not negative")]
    Negative,
    /// More digits behind the point than a price has.
    #[error("a price has at most {PRICE_DIGITS_MAX} digits behind the point")]
    TooManyDigits,
    /// Over [`PRICE_MAX`].
    #[error("a price is at most {PRICE_MAX}")]
    TooHigh,
}

/// The price of one unit: a decimal number from 0 to [`PRICE_MAX`], exact to
/// [`PRICE_DIGITS_MAX`] digits behind the point.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Price(u64);

impl Price {
    /// Free of charge.
    pub const ZERO: Price = Price(0);
}

impl FromStr for Price {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let wrong = || PriceError::NotANumber {
            given: text.chars().take(64).collect(),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (negative, number) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || part.is_empty() || !is_digits(whole) || !is_digits(part) {
            return Err(wrong());
        }
        if negative {
            return Err(PriceError::Negative);
        }
        let part = part.trim_end_matches('0');
        if part.len() > PRICE_DIGITS_MAX {
            return Err(PriceError::TooManyDigits);
        }
        let whole = whole.trim_start_matches('0');
        if whole.len() > PRICE_MAX.to_string().len() {
            return Err(PriceError::TooHigh);
        }
        let number = |digits: &str| digits.bytes().fold(0, |n, b| n * 10 + u64::from(b - b'0'));
        let places = (PRICE_DIGITS_MAX - part.len()) as u32;
        let pico = number(whole) * PICO + number(part) * 10_u64.pow(places);
        if pico > PRICE_MAX * PICO {
            return Err(PriceError::TooHigh);
        }
        Ok(Self(pico))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal(self.0.into(), PICO.into()))
    }
}
impl TryFrom<String> for Price {
    type Error = PriceError;
    fn try_from(text: String) -> Result<Self, PriceError> {
        text.parse()
    }
}
impl From<Price> for String {
    fn from(price: Price) -> String {
        price.to_string()
    }
}

/// An amount beyond what can be added up, some 20 million million units of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is over 20000000000000 units of its currency")]
pub struct AmountTooHigh;

/// Money, exact: a price times a count, and sums of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Amount(u128);

impl Amount {
    /// What `count` of the ledger's counts of `meter` cost at `price`.
    ///
    /// Errors: [`AmountTooHigh`].
    pub fn of(price: Price, count: u64, meter: Meter) -> Result<Self, AmountTooHigh> {
        let parts = PARTS / u128::from(meter.counts_per_unit());
        (u128::from(price.0) * u128::from(count))
            .checked_mul(parts)
            .map(Self)
            .ok_or(AmountTooHigh)
    }

    /// In parts, of which each amount has a whole number.
    pub(crate) fn parts(self) -> u128 {
        self.0
    }

    /// The inverse of [`Amount::parts`].
    pub(crate) fn of_parts(parts: u128) -> Self {
        Self(parts)
    }

    /// The sum, exact.
    ///
    /// Errors: [`AmountTooHigh`].
    pub fn plus(self, more: Self) -> Result<Self, AmountTooHigh> {
        self.0.checked_add(more.0).map(Self).ok_or(AmountTooHigh)
    }

    /// To `digits` behind the point, at most twelve; half a last digit goes up.
    pub fn rounded(self, digits: u32) -> String {
        let scale = 10_u128.pow(digits.min(PRICE_DIGITS_MAX as u32));
        let step = UNIT / scale;
        let steps = self.0 / step + u128::from(self.0 % step >= step / 2);
        match scale {
            1 => steps.to_string(),
            _ => format!(
                "{}.{:0width$}",
                steps / scale,
                steps % scale,
                width = digits as usize
            ),
        }
    }
}

/// In full, up to 42 digits behind the point.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal(self.0, UNIT))
    }
}

/// A text that no amount is written as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no amount in full")]
pub struct AmountError {
    /// The text, cut.
    pub given: String,
}

impl FromStr for Amount {
    type Err = AmountError;

    /// The inverse of `Display`, digit for digit.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        read_amount(text).map(Self).ok_or_else(|| AmountError {
            given: text.chars().take(64).collect(),
        })
    }
}

fn read_amount(text: &str) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) || part.len() > 42 {
        return None;
    }
    // From the last digit on: what follows a point, times the unit, is whole at every step.
    let mut parts = 0;
    for digit in part.bytes().rev() {
        let tenfold = u128::from(digit - b'0') * UNIT + parts;
        parts = tenfold / 10;
        if !tenfold.is_multiple_of(10) {
            return None;
        }
    }
    whole
        .parse::<u128>()
        .ok()?
        .checked_mul(UNIT)?
        .checked_add(parts)
}

/// A text that is no currency's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no currency: a code is three capital letters, such as EUR")]
pub struct CurrencyError {
    /// The text, cut.
    pub given: String,
}

/// A currency by its code, three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("capital letters are ASCII")
    }

    /// Digits behind the point of what is paid in it. Source: ISO 4217, "minor unit"; two where
    /// the list has nothing else.
    pub fn digits(self) -> u32 {
        match self.code() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF"
            | "UGX" | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            "CLF" | "UYW" => 4,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;
    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        match text.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|byte| byte.is_ascii_uppercase()) => {
                Ok(Self([*a, *b, *c]))
            }
            _ => Err(CurrencyError {
                given: text.chars().take(64).collect(),
            }),
        }
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
impl TryFrom<String> for Currency {
    type Error = CurrencyError;
    fn try_from(text: String) -> Result<Self, CurrencyError> {
        text.parse()
    }
}
impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn a_price_reads_as_it_shows() {
        let check = |text: &str, shown: &str| {
            assert_eq!(price(text).to_string(), shown);
            assert_eq!(price(shown), price(text));
        };
        check("0", "0");
        check("0.0000166667", "0.0000166667");
        check("0.000000000001", "0.000000000001");
        check("007.50", "7.5");
        check("1000000", "1000000");
        check("1.000000000000000000000000000000", "1");
    }

    #[test]
    fn what_is_no_price_says_why() {
        for bad in [
            "", ".", "1.", ".5", "1,5", "1e-7", "+1", " 1", "0x1", "１", "NaN", "-", "--1", "1.2.3",
        ] {
            let refused = bad.parse::<Price>();
            assert!(
                matches!(refused, Err(PriceError::NotANumber { .. })),
                "{bad}"
            );
        }
        assert_eq!("-0.01".parse::<Price>(), Err(PriceError::Negative));
        assert_eq!(
            "0.0000000000001".parse::<Price>(),
            Err(PriceError::TooManyDigits)
        );
        for high in ["1000000.000000000001", "1000001", &"9".repeat(400)] {
            assert_eq!(high.parse::<Price>(), Err(PriceError::TooHigh), "{high}");
        }
    }

    #[test]
    fn the_parts_of_an_amount_divide_by_every_meter() {
        for meter in Meter::ALL {
            assert_eq!(PARTS % u128::from(meter.counts_per_unit()), 0, "{meter:?}");
        }
        assert_eq!(UNIT, (1 << 42) * 5_u128.pow(18));
    }

    #[test]
    fn amounts_are_in_full() {
        let of = |text, count, meter| Amount::of(price(text), count, meter).unwrap().to_string();
        assert_eq!(
            of("0.0000166667", 1_024_000, Meter::GbSecond),
            "0.0000166667"
        );
        assert_eq!(of("0.0000002", 3, Meter::Invocation), "0.0000006");
        assert_eq!(of("1", 1, Meter::CpuSecond), "0.000001");
        assert_eq!(of("1", 1, Meter::GbSecond), "0.0000009765625");
        let least = of("0.000000000001", 1, Meter::GbOut);
        assert_eq!(least, "0.000000000000000000000931322574615478515625");
        assert_eq!(of("0.25", 4 << 30, Meter::GbOut), "1");
        assert_eq!(of("12.5", 1, Meter::TenantMonth), "12.5");
        assert_eq!(Meter::GbSecond.quantity(1_536_000), "1.5");
        assert_eq!(
            Amount::of(price("1000000"), u64::MAX, Meter::Invocation),
            Err(AmountTooHigh)
        );
        let most = Amount(u128::MAX);
        assert_eq!(most.plus(Amount(1)), Err(AmountTooHigh));
        assert_eq!(most.to_string().parse(), Ok(most));
    }

    #[test]
    fn half_a_last_digit_goes_up() {
        let check = |text: &str, digits, shown: &str| {
            let amount = Amount::of(price(text), 1, Meter::Invocation).unwrap();
            assert_eq!(amount.rounded(digits), shown, "{text}");
        };
        check("0.004999999999", 2, "0.00");
        check("0.005", 2, "0.01");
        check("1.994999999999", 2, "1.99");
        check("1.995", 2, "2.00");
        check("0.5", 0, "1");
        check("0.499999999999", 0, "0");
        check("12.0345", 3, "12.035");
        check("7", 2, "7.00");
        assert_eq!(Amount(u128::MAX).rounded(2), "20282409603651.67");
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for bad in ["", "eur", "EU", "EURO", "E R", "ÄUR", "€", "=UR", "12A"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
        let digits = |code: &str| code.parse::<Currency>().unwrap().digits();
        assert_eq!((digits("EUR"), digits("JPY"), digits("KWD")), (2, 0, 3));
    }

    fn meters() -> impl Strategy<Value = Meter> {
        prop::sample::select(Meter::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn an_amount_is_the_same_in_one_piece_or_in_many(
            pico in 0..1_000 * PICO,
            counts in prop::collection::vec(0_u64..1 << 36, 1..20),
            meter in meters(),
        ) {
            let price = Price(pico);
            let whole = counts.iter().sum();
            let parts = counts.iter().try_fold(Amount::default(), |sum, count| {
                sum.plus(Amount::of(price, *count, meter)?)
            });
            prop_assert_eq!(parts, Amount::of(price, whole, meter));
        }

        #[test]
        fn an_amount_reads_back_in_full(pico: u64, count: u64, meter in meters()) {
            if let Ok(amount) = Amount::of(Price(pico), count, meter) {
                prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            }
        }

        #[test]
        fn a_price_reads_back(pico in 0..=PRICE_MAX * PICO) {
            prop_assert_eq!(Price(pico).to_string().parse(), Ok(Price(pico)));
        }

        #[test]
        fn any_text_is_read_without_panic(text in any::<String>(), digits in "[-0-9.]{0,80}") {
            for text in [text, digits] {
                let _ = (text.parse::<Price>(), text.parse::<Amount>(), text.parse::<Currency>());
            }
        }
    }
}
