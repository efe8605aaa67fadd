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
