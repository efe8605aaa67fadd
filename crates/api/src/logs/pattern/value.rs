//! What a field or a column is compared with, and how.

use super::PatternError;
use regex_lite::{Regex, RegexBuilder};

/// Memory that one compiled expression may take, bytes.
const EXPRESSION_BYTES_MAX: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("!=", Self::Unequal),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("=", Self::Equal),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    /// Whether it asks which of two numbers is larger.
    pub(super) fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::Unequal)
    }

    fn orders(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// A regular expression of the small language that patterns may use.
#[derive(Debug)]
pub(in crate::logs) struct Expression(Regex);

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let refused = || PatternError::Expression(text.to_owned());
        let allowed = |c: char| c.is_ascii_alphanumeric() || " :_#=@/;,-^$?[]{}|\\*+.".contains(c);
        if text.is_empty() || !text.chars().all(allowed) {
            return Err(refused());
        }
        let built = RegexBuilder::new(text)
            .size_limit(EXPRESSION_BYTES_MAX)
            .build();
        built.map(Self).map_err(|_| refused())
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[derive(Debug)]
pub(super) enum Value {
    Expression(Expression),
    /// The text between stars, any run of characters at each star; a number, too, where it is one.
    Text {
        parts: Vec<String>,
        number: Option<f64>,
    },
}

impl Value {
    /// A value without quotation marks: `400`, `4*`, `UpdateTrail`.
    pub(super) fn word(text: &str) -> Self {
        let number = text.parse().ok();
        Self::Text {
            parts: parts(text),
            number: number.filter(|number: &f64| number.is_finite()),
        }
    }

    /// A value within quotation marks: text, stars included.
    pub(super) fn quoted(text: &str) -> Self {
        Self::Text {
            parts: parts(text),
            number: None,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Text {
                number: Some(_),
                ..
            }
        )
    }

    /// Whether `text`, which may be a number, compares so with this.
    pub(super) fn compares(&self, operator: Operator, text: &str, number: Option<f64>) -> bool {
        match (self, number) {
            (
                Self::Text {
                    number: Some(own), ..
                },
                Some(number),
            ) => operator.orders(number, *own),
            _ if operator.is_order() => false,
            (Self::Text { parts, .. }, _) => is_like(text, parts) == (operator == Operator::Equal),
            (Self::Expression(one), _) => one.is_in(text) == (operator == Operator::Equal),
        }
    }
}

fn parts(text: &str) -> Vec<String> {
    text.split('*').map(str::to_owned).collect()
}

/// Whether `text` is these parts with anything between them.
fn is_like(text: &str, parts: &[String]) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| only == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}
