//! `cargo xtask layering`: the invariants of the architecture that a machine can check.
//!
//! Reads the manifests and the sources, builds nothing, changes nothing. What it cannot see (that
//! no stage of the pipeline calls an earlier one, say) stays with the reader of the change.

use std::{fs, path::Path, process::ExitCode};

mod arrows;
mod rules;
mod source;

use source::Source;

/// One place that breaks one rule.
#[derive(Debug)]
struct Finding {
    rule: &'static str,
    place: String,
    text: String,
}

/// Checks the repository at `root`, prints what it found, and fails if that was anything.
pub fn run(root: &Path) -> ExitCode {
    match check(root) {
        Ok(report) => report.print(),
        Err(error) => {
            eprintln!("layering: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
    long_files: Vec<String>,
    files: usize,
    crates: usize,
}

impl Report {
    fn print(&self) -> ExitCode {
        for long in &self.long_files {
            println!("note: {long}: look for the second story inside");
        }
        for finding in &self.findings {
            println!("{}: [{}] {}", finding.place, finding.rule, finding.text);
        }
        let Self {
            findings,
            files,
            crates,
            ..
        } = self;
        println!(
            "layering: {} findings in {files} files of {crates} crates",
            findings.len()
        );
        if findings.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// An unreadable repository, with the path that could not be read.
#[derive(Debug)]
struct ReadError(String);

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(root: &Path) -> Result<Report, ReadError> {
    let mut report = Report::default();
    let mut folders = vec![root.join("xtask")];
    let crates = root.join("crates");
    let entries = fs::read_dir(&crates)
        .map_err(|error| ReadError(format!("could not list {}: {error}", crates.display())))?;
    folders.extend(entries.flatten().map(|entry| entry.path()));
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders.sort();
    if folders.is_empty() {
        return Err(ReadError(format!("no crates below {}", root.display())));
    }
    for folder in folders {
        report.crates += 1;
        check_crate(root, &folder, &mut report)?;
    }
    Ok(report)
}

fn check_crate(root: &Path, folder: &Path, report: &mut Report) -> Result<(), ReadError> {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let manifest = folder.join("Cargo.toml");
    let manifest: toml::Table = read(&manifest)?
        .parse()
        .map_err(|error| ReadError(format!("{}: {error}", manifest.display())))?;
    report.findings.extend(arrows::check(name, &manifest));

    let files = walkdir::WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.file_name() != "target")
        .flatten()
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "rs")
        });
    for file in files {
        let path = file.path().strip_prefix(root).unwrap_or(file.path());
        let source = Source::new(&path.to_string_lossy(), &read(file.path())?);
        report.files += 1;
        report.findings.extend(rules::check(&source));
        report.long_files.extend(rules::long_file(&source));
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, ReadError> {
    fs::read_to_string(path)
        .map_err(|error| ReadError(format!("could not read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder for the test");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a file has a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    #[test]
    fn a_whole_repository_is_walked() {
        let root = repository(&[
            (
                "crates/engine/Cargo.toml",
                "[dependencies]\nfreehold-api.workspace = true",
            ),
            (
                "crates/engine/src/deep/down.rs",
                "fn f() {\n    unsafe { g() }\n}",
            ),
            ("crates/domain/Cargo.toml", ""),
            ("crates/domain/src/lib.rs", "//! Words."),
        ]);
        let report = check(root.path()).expect("readable");
        assert_eq!((report.crates, report.files), (2, 2));
        let places: Vec<_> = report.findings.iter().map(|f| f.place.as_str()).collect();
        assert_eq!(
            places,
            ["engine/Cargo.toml", "crates/engine/src/deep/down.rs:2"]
        );
    }

    #[test]
    fn a_folder_without_crates_is_no_clean_repository() {
        let root = repository(&[("crates/notes.txt", "")]);
        assert!(check(root.path()).is_err());
    }
}
