//! Amazon CloudWatch Logs: compiled patterns. Written by `cargo xtask codegen`; edits are lost.

use crate::pattern::{Automaton, Matcher};

/// `^\d{12}$`
pub(super) static ACCOUNT_ID: Matcher = Matcher::Automaton(Automaton {
    runs: &[(47, 0), (57, 1), (255, 0)],
    next: &[
        0, 0, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 0,
    ],
    classes: 2,
    accepts: &[
        false, false, false, false, false, false, false, false, false, false, false, false, false,
        true,
    ],
});

/// `[\w#+=/:,.@-]*`
pub(super) static LOG_GROUP_IDENTIFIER: Matcher = Matcher::Every {
    ranges: &[
        ('#', '#'),
        ('+', ':'),
        ('=', '='),
        ('@', 'Z'),
        ('_', '_'),
        ('a', 'z'),
    ],
    min: 0,
};

/// `[\.\-_/#A-Za-z0-9]+`
pub(super) static LOG_GROUP_NAME: Matcher = Matcher::Every {
    ranges: &[('#', '#'), ('-', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
    min: 1,
};

/// `[\.\-_/#A-Za-z0-9]*`
pub(super) static LOG_GROUP_NAME_PATTERN: Matcher = Matcher::Every {
    ranges: &[('#', '#'), ('-', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
    min: 0,
};

/// `[^:*]*`
pub(super) static LOG_STREAM_NAME: Matcher = Matcher::Every {
    ranges: &[('\0', ')'), ('+', '9'), (';', '\u{10ffff}')],
    min: 0,
};

/// The matcher of every shape, for the comparison with another engine.
#[cfg(test)]
pub(crate) static ALL: &[(&str, &Matcher)] = &[
    ("AccountId", &ACCOUNT_ID),
    ("LogGroupIdentifier", &LOG_GROUP_IDENTIFIER),
    ("LogGroupName", &LOG_GROUP_NAME),
    ("LogGroupNamePattern", &LOG_GROUP_NAME_PATTERN),
    ("LogStreamName", &LOG_STREAM_NAME),
];
