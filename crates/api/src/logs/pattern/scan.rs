//! Reading a pattern from left to right.

use super::{
    PatternError,
    value::{Expression, Operator, Value},
};

/// Regular expressions in one pattern. Source: CloudWatch Logs user guide, "Filter pattern syntax".
const EXPRESSIONS_MAX: usize = 2;
/// Parentheses within parentheses.
pub(super) const DEPTH_MAX: usize = 32;

/// What is left of a pattern.
pub(super) struct Scan<'a> {
    rest: &'a str,
    expressions: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            expressions: 0,
        }
    }

    /// What comes next, behind blanks.
    pub(super) fn peek(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    /// Takes `token` if it comes next.
    pub(super) fn take(&mut self, token: &str) -> bool {
        match self.peek().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a word in whatever case, if it comes next and ends there.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let rest = self.peek();
        let is_it = rest
            .get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
            && !rest[word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_it {
            self.rest = &rest[word.len()..];
        }
        is_it
    }

    pub(super) fn must(&mut self, token: &str, wanted: &'static str) -> Result<(), PatternError> {
        if self.take(token) {
            return Ok(());
        }
        Err(self.expected(wanted))
    }

    pub(super) fn expected(&mut self, wanted: &'static str) -> PatternError {
        let found = self.peek().chars().take(20).collect();
        PatternError::Expected { wanted, found }
    }

    pub(super) fn end(&mut self) -> Result<(), PatternError> {
        if self.peek().is_empty() {
            return Ok(());
        }
        Err(self.expected("the end"))
    }

    /// Takes what stands here, not behind blanks, as long as `of` says; may be nothing.
    pub(super) fn run(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !of(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    /// Takes a text within `quote`s, whose first one comes next.
    pub(super) fn quoted(&mut self, quote: char) -> Result<&'a str, PatternError> {
        let inside = self.peek().strip_prefix(quote);
        let inside = inside.ok_or(PatternError::OpenQuote)?;
        let end = inside.find(quote).ok_or(PatternError::OpenQuote)?;
        self.rest = &inside[end + quote.len_utf8()..];
        Ok(&inside[..end])
    }

    /// Takes `%…%`.
    pub(super) fn expression(&mut self) -> Result<Expression, PatternError> {
        self.expressions += 1;
        if self.expressions > EXPRESSIONS_MAX {
            return Err(PatternError::Expressions(EXPRESSIONS_MAX));
        }
        let text = self.quoted('%')?;
        Expression::parse(text)
    }

    pub(super) fn operator(&mut self) -> Result<Operator, PatternError> {
        // The longer ones first: `<=` begins with `<`.
        for (text, operator) in Operator::ALL {
            if self.take(text) {
                return Ok(operator);
            }
        }
        Err(self.expected("one of = != < > <= >="))
    }

    /// Takes what a field is compared with; `stops` end a value without quotation marks.
    pub(super) fn value(
        &mut self,
        operator: Operator,
        stops: &[char],
    ) -> Result<Value, PatternError> {
        let value = match self.peek().as_bytes().first() {
            Some(b'%') => Value::Expression(self.expression()?),
            Some(b'"') => Value::quoted(self.quoted('"')?),
            _ => {
                let word = self.run(|c| !c.is_whitespace() && !stops.contains(&c));
                if word.is_empty() {
                    return Err(self.expected("a value"));
                }
                Value::word(word)
            }
        };
        if operator.is_order() && !value.is_number() {
            return Err(self.expected("a number before"));
        }
        Ok(value)
    }
}
