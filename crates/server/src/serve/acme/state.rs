//! How orders go, for who asks while no server does or the server cannot be asked.

use crate::serve::{plain_file, tls};
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// The file, below the data folder.
pub(crate) const STATE: &str = "acme/state.json";
/// Characters of each text in it: some of them are the authority's.
const TOLD_MAX: usize = 500;

/// What is wanted and how that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ordered {
    /// Whom it has to name.
    pub(crate) names: String,
    /// Whom it is ordered from.
    pub(crate) directory: String,
    /// Seconds since 1970 at which the one that is there ends; nothing where none is.
    pub(crate) ends: Option<i64>,
    /// Failures since the last one that came.
    pub(crate) failures: u32,
    /// What the last of them said.
    pub(crate) error: Option<String>,
    /// Seconds since 1970 of the next order.
    pub(crate) next: i64,
}

impl Ordered {
    /// What a server left below `data`; nothing where none orders. Root may ask, and the file is
    /// the server's: it moves no cursor.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        let text = plain_file(&data.join(STATE)).ok()?;
        let found: Self = serde_json::from_slice(&text).ok()?;
        Some(found.told())
    }

    /// Errors: the file's.
    pub(super) fn write(self, data: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&self.told())?;
        tls::write(&data.join(STATE), &text, 0o600)
    }

    fn told(self) -> Self {
        Self {
            names: told(&self.names),
            directory: told(&self.directory),
            error: self.error.as_deref().map(told),
            ..self
        }
    }
}

/// On one line, and no longer than that.
pub(super) fn told(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(TOLD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_authority_says_is_told_on_one_line_and_cut() {
        assert_eq!(told("a\u{1b}[2J\nb"), "a [2J b");
        let long = "\u{1f600}".repeat(TOLD_MAX + 1);
        assert_eq!(told(&long).chars().count(), TOLD_MAX);
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("acme")).unwrap();
        let ordered = Ordered {
            names: "a.example, ".repeat(100),
            directory: format!("https://{}/", "a".repeat(2000)),
            ends: None,
            failures: 3,
            error: Some(long.clone()),
            next: 7,
        };
        ordered.write(data.path()).unwrap();
        // It stays within what is read of such a file.
        let found = Ordered::read(data.path()).unwrap();
        assert_eq!((found.failures, found.next), (3, 7));
        assert!(long.starts_with(&found.error.unwrap()));
        let path = data.path().join(STATE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("a.example", "a\\u001b")).unwrap();
        assert!(!Ordered::read(data.path()).unwrap().names.contains('\u{1b}'));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Ordered::read(data.path()), None);
    }
}
