//! What `uninstall --purge` removes besides: data, configuration, account.

use super::{Act, CONFIG, LEFT, Root, Step, Trouble, Word, account, judge, record::Record};
use crate::serve::{ACME, RESTORED, RESTORING, TLS};
use std::{fs, io, path::Path};

/// What a server, its tools and `make run` leave in a data folder. Anything else there is the
/// operator's, and stays.
const OURS: [&str; 17] = [
    "root-key",
    "keys",
    ACME,
    "runtimes",
    "sdk",
    TLS,
    "cache",
    "state",
    "store",
    "packages",
    "compiled",
    "run",
    RESTORING,
    RESTORED,
    "freehold.toml",
    "server.log",
    "lost+found",
];

/// What may lie in a folder before a server has served from it.
const BEFORE: [&str; 2] = ["freehold.toml", "lost+found"];

/// Whether a server has served from a folder: the names in it alone are no proof.
pub(super) fn is_ours(data: &Path) -> bool {
    ["root-key", "store/format"]
        .iter()
        .any(|mark| data.join(mark).is_file())
}

/// Whether there is nothing in a folder, but for what a data folder may begin with.
pub(super) fn is_empty(data: &Path) -> bool {
    let may_be = |name: &std::ffi::OsStr| BEFORE.iter().any(|known| name == *known);
    fs::read_dir(data).is_ok_and(|entries| {
        let mut names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        names.all(|name| name.is_ok_and(|name| may_be(&name)))
    })
}

/// Errors: a folder that cannot be read.
pub(super) fn plan(root: &Root, record: &Record, steps: &mut Vec<Step>) -> Result<(), Trouble> {
    let data = root.contained(&record.data)?;
    let is_ours = is_ours(&data);
    let mut left = Vec::new();
    match fs::read_dir(&data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{}: {error}", data.display()).into()),
        Ok(entries) => {
            for entry in entries.flatten() {
                let name = entry.file_name();
                let path = record.data.join(&name);
                match name.to_str() {
                    // The disk's own.
                    Some("lost+found") => {}
                    Some(known) if is_ours && OURS.contains(&known) || known == BEFORE[0] => {
                        let act = Act::RemoveTree(entry.path());
                        steps.push(Step::new(Word::Removed, &path, "", act));
                    }
                    _ => left.push(path.display().to_string()),
                }
            }
        }
    }
    left.sort();
    for name in &left {
        steps.push(Step::note(Word::Left, name, "it is not Freehold's"));
    }
    let note = match left.is_empty() {
        true => "unless a disk is mounted there",
        false => "if it is empty",
    };
    let act = Act::RemoveEmpty(data);
    steps.push(Step::new(Word::Removed, &record.data, note, act));

    let config = Path::new(CONFIG);
    let at = root.contained(config)?;
    if judge::digest_of(&at).is_ok_and(|found| found.is_some()) {
        steps.push(Step::new(Word::Removed, config, "", Act::Remove(at)));
    }
    if root.holds(LEFT)? {
        let act = Act::Remove(root.contained(Path::new(LEFT))?);
        steps.push(Step::new(Word::Removed, Path::new(LEFT), "", act));
    }
    if let Some(folder) = config.parent() {
        let act = Act::RemoveEmpty(root.contained(folder)?);
        steps.push(Step::new(Word::Removed, folder, "if it is empty", act));
    }
    if record.account {
        let what = format!("user and group {}", account::NAME);
        let act = Act::RemoveAccount(root.path().to_owned());
        steps.push(Step::new(Word::Removed, Path::new(&what), "", act));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_removes_the_same() {
        let postrm = include_str!("../../../../packaging/deb/postrm");
        let line = postrm.lines().find(|line| line.contains("for name in"));
        let words = line.expect("a loop").split(" in ").nth(1).expect("names");
        let mut theirs: Vec<_> = words.trim_end_matches("; do").split(' ').collect();
        let mut ours: Vec<_> = OURS.into_iter().filter(|n| *n != "lost+found").collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(theirs, ours);
    }

    #[test]
    fn all_that_a_server_makes_in_its_folder_is_ours() {
        let folder = include_str!("../serve/folder.rs");
        let mut found = 0;
        for line in folder.lines().skip_while(|line| !line.ends_with("```text")) {
            if line == "//! ```" {
                break;
            }
            // `//!   runtimes/ sdk/   interpreters' trees and…`, where what goes on is further right.
            let Some(names) = line.strip_prefix("//!   ").filter(|l| !l.starts_with(' ')) else {
                continue;
            };
            let names = names.split("  ").next().expect("the first of a split");
            for name in names.split(' ').map(|name| name.trim_end_matches('/')) {
                assert!(OURS.contains(&name), "{name} would stay behind a purge");
                found += 1;
            }
        }
        assert_eq!(found, 11);
    }
}
