//! `cargo xtask errors`: one page for each error that somebody meets, from `docs/errors/errors.toml`.
//!
//! A page quotes a piece of the message. When no source file under `crates/` has that piece any
//! more, the task fails: a page about a text that nobody sees is worse than none.

use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    page: Vec<Page>,
}

/// One error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Name of the file, without its ending.
    name: String,
    /// The part that says it.
    component: String,
    /// Who sees it.
    meets: Meets,
    /// A piece of the message, as in the code.
    text: String,
    reason: String,
    remedy: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Meets {
    Operator,
    Caller,
    Both,
}

/// Writes the pages; with `--check` only compares.
pub fn run(root: &Path, args: &[String]) -> ExitCode {
    let check = args.iter().any(|arg| arg == "--check");
    match task(root, check) {
        Ok(count) => {
            println!("errors: {count} pages are current");
            ExitCode::SUCCESS
        }
        Err(faults) => {
            for fault in faults {
                eprintln!("errors: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}

fn task(root: &Path, check: bool) -> Result<usize, Vec<String>> {
    let folder = root.join("docs/errors");
    let one = |fault: String| vec![fault];
    let text = fs::read_to_string(folder.join("errors.toml")).map_err(|e| one(e.to_string()))?;
    let book: Book = toml::from_str(&text).map_err(|e| one(format!("errors.toml: {e}")))?;
    let sources = sources(&root.join("crates"));
    let mut faults = stale(&book, &sources);
    let pages = pages(&book, &mut faults);
    let old = fs::read_dir(&folder).into_iter().flatten().flatten();
    for path in old.map(|entry| entry.path()) {
        let is_page = path.extension().is_some_and(|ending| ending == "md");
        if is_page && !pages.contains_key(&file_name(&path)) {
            if check {
                faults.push(format!("{} belongs to no error", path.display()));
            } else if let Err(error) = fs::remove_file(&path) {
                faults.push(format!("{}: {error}", path.display()));
            }
        }
    }
    for (name, text) in &pages {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|found| found == *text) {
            continue;
        }
        if check {
            faults.push(format!("{name} is not current: run `cargo xtask errors`"));
        } else if let Err(error) = fs::write(&path, text) {
            faults.push(format!("{name}: {error}"));
        }
    }
    if faults.is_empty() {
        Ok(book.page.len())
    } else {
        Err(faults)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Texts of the Rust sources, tests and generated code aside.
fn sources(crates: &Path) -> Vec<String> {
    let files = walkdir::WalkDir::new(crates).into_iter().flatten();
    let paths = files
        .map(walkdir::DirEntry::into_path)
        .filter(|path: &PathBuf| {
            let is_source = path.components().any(|part| part.as_os_str() == "src");
            is_source && path.extension().is_some_and(|ending| ending == "rs")
        });
    paths
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

/// Quotes that no source has. In the sources a quotation mark inside a text is escaped.
fn stale(book: &Book, sources: &[String]) -> Vec<String> {
    let is_there = |text: &str| sources.iter().any(|source| source.contains(text));
    let gone = book.page.iter().filter(|page| !is_there(&page.text));
    gone.map(|page| format!("{}: no source says {:?}", page.name, page.text))
        .collect()
}

fn pages(book: &Book, faults: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut index = String::from(
        "# Errors\n\n<!-- written by `cargo xtask errors` from errors.toml -->\n\n\
         Each with its reason and a remedy. Braces stand for what the message names.\n",
    );
    for (title, wanted) in [
        ("For whoever runs the server", Meets::Operator),
        ("For whoever calls it", Meets::Caller),
    ] {
        let _ = write!(index, "\n## {title}\n\n| message | said by |\n|---|---|\n");
        let seen = |page: &&Page| page.meets == wanted || page.meets == Meets::Both;
        for page in book.page.iter().filter(seen) {
            let Page {
                name,
                text,
                component,
                ..
            } = page;
            let _ = writeln!(index, "| [`{text}`]({name}.md) | {component} |");
        }
    }
    pages.insert("README.md".to_owned(), index);
    for page in &book.page {
        let Page {
            name,
            component,
            text,
            reason,
            remedy,
            ..
        } = page;
        let body = format!(
            "# {name}\n\n<!-- written by `cargo xtask errors` from errors.toml -->\n\n\
             ```text\n… {text} …\n```\n\n**Component** {component}\n\n\
             **Reason** {reason}\n\n**Remedy** {remedy}\n"
        );
        if pages.insert(format!("{name}.md"), body).is_some() {
            faults.push(format!("{name} is there twice"));
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(text: &str) -> Book {
        toml::from_str(&format!(
            "[[page]]\nname = \"a\"\ncomponent = \"c\"\nmeets = \"both\"\ntext = \"{text}\"\n\
             reason = \"r\"\nremedy = \"m\"\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_quote_that_no_source_has_is_named() {
        let sources = vec!["format!(\"the disk is full\")".to_owned()];
        assert!(stale(&book("disk is full"), &sources).is_empty());
        let faults = stale(&book("disk is empty"), &sources);
        assert!(faults[0].contains("disk is empty"), "{faults:?}");
    }

    #[test]
    fn every_page_of_the_repository_is_current() {
        let root = &crate::root().unwrap();
        assert_eq!(task(root, true).err(), None);
    }
}
