//! The interpreters of the file: a table of runtimes, each with the path of what serves it.
//!
//! ```toml
//! [runtimes.paths]
//! "python3.12" = "/opt/python/bin/python3.12"
//! ```
//!
//! As text of the environment and the command line: `python3.12=/opt/python/bin/python3.12`, more of
//! them behind a comma. Whether something stands at the path is found out where runtimes are
//! assembled, and told there.

use super::{
    fault::{WrongPart, all},
    kind::{Entry, Found},
};
use freehold_catalog::{USUAL_NAMES, has_interpreter};
use std::{collections::BTreeMap, path::PathBuf};

/// What may stand there, to follow "allowed:".
pub const ALLOWED: &str =
    "a table of runtimes and their interpreters, such as \"python3.12\" = \"/opt/bin/python3.12\"";

/// What may stand for one of them.
const PATH: &str = "a path from the root, such as \"/opt/bin/python3.12\"";

/// The interpreters that stand there, by the runtime's name.
///
/// Errors: every part that is wrong.
pub fn read(found: &Found) -> Result<BTreeMap<String, PathBuf>, Vec<WrongPart>> {
    let Found::Table(table) = found else {
        return Err(vec![WrongPart::value(None, "", found, ALLOWED)]);
    };
    all(table
        .iter()
        .map(|entry| one(entry).map_err(|one| vec![one])))
}

/// The interpreters of a text.
///
/// Errors: as of [`read`].
pub fn read_text(text: &str) -> Result<BTreeMap<String, PathBuf>, Vec<WrongPart>> {
    let items = text.split(',').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    let pair = |item: &str| {
        let (name, path) = item.split_once('=')?;
        let path = Found::Text(path.trim().to_owned());
        Some(Entry::of_text(name.trim(), path))
    };
    match items.map(pair).collect::<Option<_>>() {
        Some(table) => read(&Found::Table(table)),
        None => {
            let found = Found::Text(text.to_owned());
            Err(vec![WrongPart::value(None, "", &found, ALLOWED)])
        }
    }
}

fn one(entry: &Entry) -> Result<(String, PathBuf), WrongPart> {
    let Entry { line, name, found } = entry;
    if !has_interpreter(name) {
        let apart = |usual: &&&str| strsim::osa_distance(name, usual);
        let nearest = USUAL_NAMES.iter().min_by_key(apart);
        let nearest = nearest.map(|one| (*one).to_owned());
        let is_no = "runtime that has an interpreter";
        return Err(WrongPart::unknown(*line, name, is_no, nearest));
    }
    match found {
        Found::Text(path) if path.starts_with('/') => Ok((name.clone(), PathBuf::from(path))),
        other => Err(WrongPart::value(*line, name, other, PATH)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_runtimes_and_a_path_goes_from_the_root() {
        let good = "python3.12=/a/python, nodejs22.x=/b/node,java17=/c,python3.99=/d";
        assert_eq!(read_text(good).unwrap().len(), 4);
        assert!(read_text("").unwrap().is_empty());
        for (text, says) in [
            (
                "python9=/x",
                "python9 is no runtime that has an interpreter; the nearest is python3.9",
            ),
            (
                "python3=/x",
                "python3 is no runtime that has an interpreter; the nearest is python3.8",
            ),
            (
                "node22=/x",
                "node22 is no runtime that has an interpreter; the nearest is nodejs22.x",
            ),
            (
                "provided.al2023=/x",
                "is no runtime that has an interpreter",
            ),
            ("=/x", "is no runtime that has an interpreter"),
            (
                "python3.12=opt/python",
                "python3.12 is \"opt/python\"; allowed: a path from the root",
            ),
            (
                "python3.12=",
                "python3.12 is \"\"; allowed: a path from the root",
            ),
            (
                "python3.12",
                "is \"python3.12\"; allowed: a table of runtimes",
            ),
        ] {
            let wrong = read_text(text).unwrap_err();
            let [wrong] = &wrong[..] else {
                panic!("{text}: {wrong:?}");
            };
            let said = wrong.of("runtimes.paths").to_string();
            assert!(said.contains(says), "{said}");
        }
        assert_eq!(read_text("python9=/x,java17=y").unwrap_err().len(), 2);
    }
}
