//! What is wrong with what was given: where, which key, what was found, what is allowed.

use super::{
    keys::{KEYS, Key},
    kind::Found,
};
use std::{fmt, io, path::PathBuf, sync::Arc};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A line of the file, from 1.
    File(Arc<PathBuf>, usize),
    /// A variable of the environment.
    Variable(String),
    /// A flag, as it is written: `--listen`, `--set limits.header`.
    Flag(String),
}

impl Origin {
    /// The line of the file.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::File(_, line) => Some(*line),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was given.
    pub at: Origin,
    /// What is wrong.
    pub what: Wrong,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// There is no such key, section or variable.
    Unknown {
        /// What stands there.
        name: String,
        /// `key`, `section`, `variable of a key`.
        is_no: &'static str,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// It is not of the key's type, unit or bounds.
    NotAllowed {
        /// The key.
        key: String,
        /// What stands there, shortened.
        found: String,
        /// What may.
        allowed: String,
    },
    /// It does not go with other keys.
    Together {
        /// The key that is to be changed.
        key: &'static str,
        /// Why.
        why: String,
    },
    /// The same key twice.
    Twice {
        /// The key.
        key: String,
        /// Where else.
        first: Origin,
    },
    /// It cannot be taken apart.
    Syntax(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                name,
                is_no,
                nearest,
            } => {
                write!(f, "{name} is no {is_no}")?;
                match nearest {
                    Some(nearest) => write!(f, "; the nearest is {nearest}"),
                    None => f.write_str("; `freehold config show` lists all"),
                }
            }
            Self::NotAllowed {
                key,
                found,
                allowed,
            } => write!(f, "{key} is {found}; allowed: {allowed}"),
            Self::Together { key, why } => write!(f, "{key} {why}"),
            Self::Twice { key, first } => write!(f, "{key} is given twice: {first} has it too"),
            Self::Syntax(reason) => f.write_str(reason),
        }
    }
}

/// The part of a value that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongPart {
    /// Its line of the file; none where the value has no lines, or the fault is that of the whole.
    pub line: Option<usize>,
    /// Where below the key; empty for the key itself.
    at: String,
    what: WrongValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum WrongValue {
    Unknown {
        is_no: &'static str,
        nearest: Option<String>,
    },
    NotAllowed {
        found: String,
        allowed: String,
    },
}

impl WrongPart {
    /// What stands `at` is not `allowed`.
    pub fn value(line: Option<usize>, at: &str, found: &Found, allowed: &str) -> Self {
        Self {
            line,
            at: at.to_owned(),
            what: WrongValue::NotAllowed {
                found: found.to_string(),
                allowed: allowed.to_owned(),
            },
        }
    }

    /// What is called `at` there is none of.
    pub fn unknown(
        line: Option<usize>,
        at: &str,
        is_no: &'static str,
        nearest: Option<String>,
    ) -> Self {
        Self {
            line,
            at: at.to_owned(),
            what: WrongValue::Unknown { is_no, nearest },
        }
    }

    /// What is wrong with it as a part of `key`.
    pub fn of(&self, key: &str) -> Wrong {
        let at = match self.at.as_str() {
            "" => key.to_owned(),
            below => format!("{key}.{below}"),
        };
        match self.what.clone() {
            WrongValue::NotAllowed { found, allowed } => Wrong::NotAllowed {
                key: at,
                found,
                allowed,
            },
            WrongValue::Unknown { is_no, nearest } => Wrong::Unknown {
                name: match at.char_indices().nth(NAME_TOLD) {
                    Some((end, _)) => format!("{} …", &at[..end]),
                    None => at,
                },
                is_no,
                nearest,
            },
        }
    }
}

/// Characters of a part's name that are told.
const NAME_TOLD: usize = 200;

/// All of them, or all that is wrong with any.
pub fn all<T, C: FromIterator<T>>(
    read: impl Iterator<Item = Result<T, Vec<WrongPart>>>,
) -> Result<C, Vec<WrongPart>> {
    let (mut fine, mut wrong) = (Vec::new(), Vec::new());
    for one in read {
        match one {
            Ok(one) => fine.push(one),
            Err(more) => wrong.extend(more),
        }
    }
    match wrong.is_empty() {
        true => Ok(fine.into_iter().collect()),
        false => Err(wrong),
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file was named, or was there before, and is not.
    #[error(
        "the configuration file {} does not exist; an empty one stands for the defaults", .0.display()
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is longer than anybody means.
    #[error("the configuration file {} is larger than {limit_bytes} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Bytes that are read.
        limit_bytes: u64,
    },
    /// What was given is wrong, each fault on a line of its own.
    #[error("the configuration is not valid, and nothing of it was taken:{}", lines(.0))]
    Invalid(Vec<Fault>),
}

/// Faults that are told one by one.
pub const FAULTS_TOLD: usize = 100;

fn lines(faults: &[Fault]) -> String {
    let mut text = String::new();
    for fault in faults.iter().take(FAULTS_TOLD) {
        text.push_str("\n  ");
        // What stands in a file may be anything: it is told on one line.
        text.extend(fault.to_string().chars().map(|c| match c.is_control() {
            true => ' ',
            false => c,
        }));
    }
    if let Some(more) = faults
        .len()
        .checked_sub(FAULTS_TOLD)
        .filter(|more| *more > 0)
    {
        text.push_str(&format!("\n  … and {more} more"));
    }
    text
}

/// The key that `section.name` may have been meant for.
pub fn nearest_key(section: &str, name: &str) -> Option<&'static Key> {
    let given = format!("{section}.{name}");
    let apart = |key: &&'static Key| {
        let whole = strsim::osa_distance(&given, &key.dotted());
        // The right name in the wrong section, or in none.
        let elsewhere = 2 + strsim::osa_distance(name, key.name);
        whole.min(elsewhere)
    };
    let nearest = KEYS.iter().min_by_key(apart)?;
    (apart(&nearest) <= 2 + name.len() / 4).then_some(nearest)
}

/// The section that `name` may have been meant for.
pub fn nearest_section(name: &str) -> Option<&'static str> {
    let apart = |section: &&'static str| strsim::osa_distance(name, section);
    let nearest = KEYS.iter().map(|key| key.section).min_by_key(apart)?;
    (apart(&nearest) <= 1 + name.len() / 3).then_some(nearest)
}

/// The variable that `name` may have been meant for, and how many letters lie between.
pub fn nearest_variable(name: &str) -> Option<(String, usize)> {
    let apart = |variable: &String| strsim::osa_distance(name, variable);
    let nearest = KEYS.iter().map(Key::variable).min_by_key(apart)?;
    let letters = apart(&nearest);
    Some((nearest, letters))
}
