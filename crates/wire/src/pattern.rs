//! Matching the model's patterns without a regular expression engine in the server.
//!
//! The generator compiles each pattern: one repeated character class becomes a table of ranges, all
//! others become a minimal automaton over bytes. Matching is a single pass over the text, cannot
//! backtrack and allocates nothing. A pattern always describes the whole text.

/// A compiled pattern.
#[derive(Debug)]
pub(crate) enum Matcher {
    /// At least `min` characters, each inside one of the sorted, inclusive ranges.
    Every {
        ranges: &'static [(char, char)],
        min: usize,
    },
    /// An automaton over bytes.
    Automaton(Automaton),
}

/// A table-driven automaton. State 0 is dead, state 1 is the start.
#[derive(Debug)]
pub(crate) struct Automaton {
    /// The class of each byte: inclusive ends, in order, of runs of bytes with one class each.
    pub(crate) runs: &'static [(u8, u8)],
    /// `next[state * classes + class]`.
    pub(crate) next: &'static [u16],
    /// Number of byte classes.
    pub(crate) classes: usize,
    /// Whether the text may end in a state.
    pub(crate) accepts: &'static [bool],
}

impl Matcher {
    /// Whether the whole of `text` is described.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Matcher::Every { ranges, min } => {
                let mut count = 0;
                text.chars().all(|c| {
                    count += 1;
                    inside(ranges, c)
                }) && count >= *min
            }
            Matcher::Automaton(automaton) => automaton.matches(text.as_bytes()),
        }
    }
}

fn inside(ranges: &[(char, char)], c: char) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= c);
    after > 0 && c <= ranges[after - 1].1
}

impl Automaton {
    fn matches(&self, text: &[u8]) -> bool {
        let mut state = 1usize;
        for &byte in text {
            let run = self.runs.partition_point(|&(last, _)| last < byte);
            let class = usize::from(self.runs[run].1);
            state = usize::from(self.next[state * self.classes + class]);
            if state == 0 {
                return false;
            }
        }
        self.accepts[state]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use crate::generated::{lambda, logs};

    #[derive(Deserialize)]
    struct Sampled {
        pattern: String,
        cases: BTreeMap<String, bool>,
    }

    /// The samples are Python's verdicts on the model's own patterns, look-around included:
    /// `tests/fixtures/make.py`.
    #[test]
    fn every_pattern_agrees_with_another_engine() {
        let sampled: BTreeMap<String, BTreeMap<String, Sampled>> =
            serde_json::from_str(include_str!("../tests/fixtures/patterns.json")).unwrap();
        let services = [
            ("lambda", lambda::patterns::ALL),
            ("logs", logs::patterns::ALL),
        ];
        let (mut described, mut not) = (0, 0);
        for (service, matchers) in services {
            for &(shape, matcher) in matchers {
                let Some(sample) = sampled[service].get(shape) else {
                    // Python's `re` has no Unicode categories; the test below covers these.
                    assert!(
                        ["TagKey", "TagValue"].contains(&shape),
                        "no samples of {shape}"
                    );
                    continue;
                };
                for (text, &expected) in &sample.cases {
                    let pattern = &sample.pattern;
                    assert_eq!(
                        matcher.matches(text),
                        expected,
                        "{shape} {pattern} {text:?}"
                    );
                    *if expected { &mut described } else { &mut not } += 1;
                }
            }
        }
        assert!(
            described > 300 && not > 300,
            "{described} described, {not} not"
        );
    }

    #[test]
    fn unicode_categories_are_those_of_the_pattern() {
        let matcher = lambda::patterns::ALL
            .iter()
            .find(|(shape, _)| *shape == "TagKey")
            .unwrap()
            .1;
        for text in ["", "team", "ключ", "a b\u{a0}", "٣", "a_.:/=+-@", "日本"] {
            assert!(matcher.matches(text), "{text:?}");
        }
        for text in ["a\tb", "a!", "🎉", "a\u{301}", "a\0"] {
            assert!(!matcher.matches(text), "{text:?}");
        }
    }
}
