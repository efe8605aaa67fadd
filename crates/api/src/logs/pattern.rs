//! Filter patterns over text: terms, `"quoted terms"`, `?any` of several, `-without`.
//!
//! Source: CloudWatch Logs user guide, "Filter pattern syntax", the part on unstructured events.
//! Patterns over fields (`{ $.level = … }`, `[a, b]`) are refused by name, never read as text.

use memchr::memmem;

/// Longest pattern. Source: FilterLogEvents.
const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    all: Vec<String>,
    any: Vec<String>,
    without: Vec<String>,
}

/// Why a pattern cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error("Invalid filter pattern: longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    #[error("Invalid filter pattern: a quotation mark is not closed")]
    OpenQuote,
    #[error(
        "Filter patterns over fields are not supported by this release of Freehold; give terms"
    )]
    Fields,
}

impl Pattern {
    /// Reads a pattern; the empty one matches everything.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        let mut rest = text.trim();
        if rest.starts_with(['{', '[', '%']) {
            return Err(PatternError::Fields);
        }
        let mut pattern = Self::default();
        while !rest.is_empty() {
            let (list, tail) = match rest.as_bytes()[0] {
                b'?' => (&mut pattern.any, &rest[1..]),
                b'-' => (&mut pattern.without, &rest[1..]),
                _ => (&mut pattern.all, rest),
            };
            let (term, tail) = match tail.strip_prefix('"') {
                Some(quoted) => {
                    let end = quoted.find('"').ok_or(PatternError::OpenQuote)?;
                    (&quoted[..end], &quoted[end + 1..])
                }
                None => tail.split_at(tail.find(char::is_whitespace).unwrap_or(tail.len())),
            };
            if !term.is_empty() {
                list.push(term.to_owned());
            }
            rest = tail.trim_start();
        }
        Ok(pattern)
    }

    /// Whether a text matches; case counts.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let has = |term: &String| memmem::find(text, term.as_bytes()).is_some();
        self.all.iter().all(has)
            && (self.any.is_empty() || self.any.iter().any(has))
            && !self.without.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(
            Pattern::parse(pattern).unwrap().matches(text.as_bytes()),
            expected,
            "{pattern:?} on {text:?}"
        );
    }

    #[test]
    fn terms_must_all_be_there() {
        check("", "anything", true);
        check("ERROR", "an ERROR here", true);
        check("ERROR", "an error here", false);
        check("ERROR code", "code 7 ERROR", true);
        check("\"ERROR code\"", "code 7 ERROR", false);
        check("?ERROR ?WARN", "WARN", true);
        check("?ERROR ?WARN", "INFO", false);
        check("ERROR -timeout", "ERROR timeout", false);
        check("-\"a b\"", "a c b", true);
    }

    #[test]
    fn what_is_no_pattern_of_terms_is_refused() {
        assert_eq!(Pattern::parse("\"open"), Err(PatternError::OpenQuote));
        assert_eq!(Pattern::parse("{ $.a = 1 }"), Err(PatternError::Fields));
        assert_eq!(
            Pattern::parse(&"x".repeat(1025)),
            Err(PatternError::TooLong)
        );
    }
}
