//! Sizes and times as people write them: with their unit in the value.

use std::{fmt, str::FromStr, time::Duration};

/// A time: `500ms`, `90s`, `15m`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A number of bytes: `512`, `64KiB`, `6MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// Largest first.
const SPANS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];
const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Span {
    /// So many milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
    /// Its milliseconds.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

/// `text` in the smallest unit.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = number_and_unit(text.trim())?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

/// In the largest unit that leaves nothing over.
fn written(number: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let whole = units
        .iter()
        .find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    match whole.or(units.last()) {
        Some((unit, factor)) => write!(f, "{}{unit}", number / factor),
        None => write!(f, "{number}"),
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        measured(text, &SPANS).map(Self::ms).ok_or_else(|| {
            format!(
                "{text:?} is not a time; write it as \"500ms\", \"90s\", \"15m\", \"2h\" or \"7d\""
            )
        })
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // A bare number is bytes; the short forms are everybody's habit.
        let long = match text.as_bytes().last() {
            Some(last) if last.is_ascii_digit() => format!("{text}B"),
            Some(b'K' | b'M' | b'G' | b'T') => format!("{text}iB"),
            _ => text.to_owned(),
        };
        measured(&long, &SIZES).map(Self).ok_or_else(|| {
            format!("{text:?} is not a size; write it as \"64KiB\", \"6MiB\" or \"2GiB\"")
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        written(self.as_ms(), &SPANS, f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        written(self.0, &SIZES, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["500ms", "90s", "15m", "36h", "7d", "0ms", "1001ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["0B", "100B", "64KiB", "1537KiB", "6MiB", "75GiB", "1TiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!(Span::ms(86_400_000).to_string(), "1d");
        assert_eq!("512".parse(), Ok(Size(512)));
        assert_eq!("2G".parse(), Ok(Size(2 << 30)));
    }

    #[test]
    fn other_units_and_what_overflows_are_refused() {
        for text in [
            "",
            "s",
            "1",
            "1.5h",
            "-1s",
            "2 fortnights",
            "1w",
            "99999999999999999d",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in [
            "",
            "B",
            "64MB",
            "1kb",
            "-1",
            "1.5GiB",
            "99999999999GiB",
            "1m",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
