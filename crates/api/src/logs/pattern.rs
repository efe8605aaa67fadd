//! Filter patterns: terms over text, `{ $.field = value }` over JSON, `[a, b = 1]` over columns,
//! `%regular expressions%`.
//!
//! Source: CloudWatch Logs user guide, "Filter pattern syntax". What is no pattern is refused with
//! what is wrong, never read as something else.

mod columns;
mod json;
mod scan;
mod terms;
mod value;

use columns::Columns;
use json::Condition;
use scan::Scan;
use terms::Terms;

/// Longest pattern. Source: FilterLogEvents.
const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern, read.
#[derive(Debug)]
pub(super) enum Pattern {
    Terms(Terms),
    Expression(value::Expression),
    Json(Condition<json::Comparison>),
    Columns(Columns),
}

/// Why a pattern cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error("Invalid filter pattern: longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    #[error("Invalid filter pattern: a quotation mark is not closed")]
    OpenQuote,
    #[error("Invalid filter pattern: expected {wanted} at {found:?}")]
    Expected { wanted: &'static str, found: String },
    #[error("Invalid filter pattern: {0:?} is no regular expression that can be used here")]
    Expression(String),
    #[error("Invalid filter pattern: more than {0} regular expressions")]
    Expressions(usize),
    #[error("Invalid filter pattern: conditions are nested too deep")]
    TooDeep,
}

impl Pattern {
    /// Reads a pattern; the empty one matches everything.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        let text = text.trim();
        let mut scan = Scan::new(text);
        let pattern = match text.as_bytes().first() {
            Some(b'{') => Self::Json(json::parse(&mut scan)?),
            Some(b'[') => Self::Columns(columns::parse(&mut scan)?),
            Some(b'%') => Self::Expression(scan.expression()?),
            _ => return Ok(Self::Terms(Terms::parse(text)?)),
        };
        scan.end()?;
        Ok(pattern)
    }

    /// Whether a text matches; case counts.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Terms(terms) => terms.matches(text),
            Self::Expression(expression) => expression.is_in(&String::from_utf8_lossy(text)),
            Self::Json(condition) => serde_json::from_slice::<serde_json::Value>(text)
                .is_ok_and(|event| condition.holds(&|one| one.holds(&event))),
            Self::Columns(columns) => columns.matches(&String::from_utf8_lossy(text)),
        }
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

    const EVENT: &str = r#"{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"], "objectList": [{"name": "a", "id": 1},
        {"name": "b", "id": 2}], "SomeObject": null, "cluster.name": "c", "errorCode": 400,
        "ThisFlag": true, "latency": 12.5, "user": {"id": 1, "email": "John.Doe@example.com"}}"#;

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
    fn fields_of_json_are_compared() {
        for (pattern, expected) in [
            ("{ $.eventType = \"UpdateTrail\" }", true),
            ("{$.eventType=UpdateTrail}", true),
            ("{ $.eventType != \"UpdateTrail\" }", false),
            ("{ $.nowhere != \"x\" }", false),
            ("{ $.sourceIPAddress = 111.111.* }", true),
            ("{ $.sourceIPAddress = 112.* }", false),
            ("{ $.sourceIPAddress != 123.123.* }", true),
            ("{ $.sourceIPAddress = %111\\.[0-9]+% }", true),
            ("{ $.arrayKey[0] = \"value\" }", true),
            ("{ $.arrayKey[1] = \"value\" }", false),
            ("{ $.arrayKey[*] = \"another value\" }", true),
            ("{ $.objectList[1].id = 2 }", true),
            ("{ $.objectList[*].id = 3 }", false),
            ("{ $['cluster.name'] = \"c\" }", true),
            ("{ $.[\"cluster.name\"] = \"c\" }", true),
            ("{ $.SomeObject IS NULL }", true),
            ("{ $.eventType IS NULL }", false),
            ("{ $.SomeOtherObject NOT EXISTS }", true),
            ("{ $.SomeObject NOT EXISTS }", false),
            ("{ $.ThisFlag IS TRUE }", true),
            ("{ $.ThisFlag IS FALSE }", false),
            ("{ $.errorCode >= 400 && $.errorCode < 500 }", true),
            ("{ $.errorCode = 4* }", true),
            ("{ $.latency > 1.3e1 }", false),
            ("{ $.latency > 12 }", true),
            ("{ $.eventType > 1 }", false),
            (
                "{ $.user.id = 2 || $.user.email = \"John*\" && $.errorCode = 400 }",
                true,
            ),
            (
                "{ ($.user.id = 1 || $.user.id = 2) && $.errorCode = 1 }",
                false,
            ),
            ("{ $.* = \"UpdateTrail\" }", true),
        ] {
            check(pattern, EVENT, expected);
        }
        check("{ $.a = 1 }", "no JSON", false);
    }

    #[test]
    fn columns_are_split_at_spaces_quotes_and_brackets() {
        let line = "127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] \"GET /index.html HTTP/1.0\" \
                    404 1534";
        for (pattern, expected) in [
            (
                "[ip, user, username, timestamp, request, status_code, bytes]",
                true,
            ),
            ("[ip, user, username]", false),
            (
                "[ip, user, username, timestamp, request, status_code = 4*, bytes > 1000]",
                true,
            ),
            ("[ip, ..., bytes > 2000]", false),
            ("[..., status_code, bytes]", true),
            ("[..., request = *html*, status_code = 4*, bytes]", true),
            ("[ip, user != Prod, ...]", false),
            ("[ip, user = \"Prod\" || user = Test, ...]", true),
            ("[ip = %127\\.0\\.0\\.[0-9]%, ...]", true),
            ("[..., status = 404 && status != 405, bytes]", true),
            ("[w1=127.0.0.1, w2, w3, w4=*-0700*, ...]", true),
        ] {
            check(pattern, line, expected);
        }
        check("[a]", "", false);
        check("[...]", "x y", true);
    }

    #[test]
    fn expressions_stand_alone() {
        check("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", true);
        check("%colou?r%", "color", true);
        check("%^[0-9]+$%", "12a", false);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(
            Pattern::parse("\"open").err(),
            Some(PatternError::OpenQuote)
        );
        assert_eq!(
            Pattern::parse(&"x".repeat(1025)).err(),
            Some(PatternError::TooLong)
        );
        for text in [
            "{",
            "{}",
            "{ $ }",
            "{ $.a }",
            "{ $.a = }",
            "{ $.a = 1",
            "{ $.a = 1 } x",
            "{ a = 1 }",
            "{ $.a IS }",
            "{ $.a NOT }",
            "{ $.a = 1 && }",
            "{ ($.a = 1 }",
            "{ $.a[x] = 1 }",
            "{ $.a > x }",
            "[",
            "[]",
            "[a, ]",
            "[a",
            "[a = ]",
            "[a b]",
            "[..., a, ...]",
            "[a] b",
            "[a = 1 && b = 2]",
            "%(a)%",
            "%a",
            "%!%",
            "%[%",
            "{ $.a = %x% && $.b = %y% && $.c = %z% }",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(99), ")".repeat(99));
        assert_eq!(Pattern::parse(&deep).err(), Some(PatternError::TooDeep));
    }
}
