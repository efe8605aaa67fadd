//! The runtime table: a file of root's that says which trees may become a root, read by the
//! privileged side alone.
//!
//! Refuses a file that anybody but its owner may write, that is not of the owner it must have, or
//! that is longer than [`TABLE_MAX`].

use freehold_domain::runtime::RuntimeRow;
use serde::Deserialize;
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The longest table.
pub const TABLE_MAX: u64 = 4 << 20;
/// The most rows.
pub const ROWS_MAX: usize = 256;

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Could not be read.
    #[error("could not read the runtime table {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could have written it.
    #[error("the runtime table {} may be written by others than uid {owner}", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Whose alone it must be.
        owner: u32,
    },
    /// Too long, or with too many rows.
    #[error("the runtime table {} is too large", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not a table.
    #[error("the runtime table {} is not well formed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
}

/// Both forms in which a table is written: a list, or an object that holds it as `rows`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Table {
    List(Vec<RuntimeRow>),
    Object { rows: Vec<RuntimeRow> },
}

/// Reads the table at `path`, which must belong to `owner`.
pub fn read_table(path: &Path, owner: u32) -> Result<Vec<RuntimeRow>, TableError> {
    let read = |source| TableError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(read)?;
    let facts = file.metadata().map_err(read)?;
    if facts.uid() != owner || facts.mode() & 0o022 != 0 || !facts.is_file() {
        return Err(TableError::Writable {
            path: path.to_owned(),
            owner,
        });
    }
    let mut text = String::new();
    file.by_ref()
        .take(TABLE_MAX + 1)
        .read_to_string(&mut text)
        .map_err(read)?;
    if text.len() as u64 > TABLE_MAX {
        return Err(TableError::TooLarge {
            path: path.to_owned(),
        });
    }
    let table: Table = serde_json::from_str(&text).map_err(|source| TableError::Malformed {
        path: path.to_owned(),
        source,
    })?;
    let rows = match table {
        Table::List(rows) | Table::Object { rows } => rows,
    };
    if rows.len() > ROWS_MAX {
        return Err(TableError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn a_table_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.json");
        fs::write(&path, "[]").unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        assert!(read_table(&path, owner).unwrap().is_empty());
        assert!(matches!(
            read_table(&path, owner + 1),
            Err(TableError::Writable { .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(
            read_table(&path, owner),
            Err(TableError::Writable { .. })
        ));
    }

    #[test]
    fn a_table_that_is_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.json");
        fs::write(&path, vec![b' '; TABLE_MAX as usize + 1]).unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        assert!(matches!(
            read_table(&path, owner),
            Err(TableError::TooLarge { .. })
        ));
    }
}
