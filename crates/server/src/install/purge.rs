//! What `uninstall --purge` removes besides: data, configuration, account.

use super::{Act, CONFIG, Root, Step, Trouble, Word, account, judge, record::Record};
use std::{fs, io, path::Path};

/// What a server, its tools and `make run` leave in a data folder. Anything else there is the
/// operator's, and stays.
const OURS: [&str; 14] = [
    "root-key",
    "keys",
    "runtimes",
    "sdk",
    "cache",
    "state",
    "store",
    "packages",
    "compiled",
    "run",
    "restoring",
    "freehold.toml",
    "server.log",
    "lost+found",
];

/// Errors: a folder that cannot be read.
pub(super) fn plan(root: &Root, record: &Record, steps: &mut Vec<Step>) -> Result<(), Trouble> {
    let data = root.contained(&record.data)?;
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
                    Some(known) if OURS.contains(&known) => {
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
