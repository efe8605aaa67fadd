//! Terms over text: all of them, `?any` of several, `-without`, each a word or `"quoted"`.

use super::PatternError;
use memchr::memmem;

/// Terms, read.
#[derive(Debug, Default)]
pub(in crate::logs) struct Terms {
    all: Vec<String>,
    any: Vec<String>,
    without: Vec<String>,
}

impl Terms {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let (mut terms, mut rest) = (Self::default(), text);
        while !rest.is_empty() {
            let (list, tail) = match rest.as_bytes()[0] {
                b'?' => (&mut terms.any, &rest[1..]),
                b'-' => (&mut terms.without, &rest[1..]),
                _ => (&mut terms.all, rest),
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
        Ok(terms)
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let has = |term: &String| memmem::find(text, term.as_bytes()).is_some();
        self.all.iter().all(has)
            && (self.any.is_empty() || self.any.iter().any(has))
            && !self.without.iter().any(has)
    }
}
