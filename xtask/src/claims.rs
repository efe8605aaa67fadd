//! `cargo xtask claims`: each claim of the book names a test, and that test is there.
//!
//! A claim is a row of a table below the heading "What holds" of the threat model, and on every
//! page a row of a table whose first column is headed "claim". Its tests are written
//! `path/of/file.py::name`; a name is a function that a test runner calls, or a scenario that a
//! runner of ours lists. What is written so elsewhere in the book has to be there as well, and a
//! test's name does not stand without its path. Whether the test shows the claim is the reader's to
//! judge.

use std::{fs, path::Path, process::ExitCode};

const BOOK: &str = "docs/book";
const PAGE: &str = "threat-model.md";
const HOLDS: &str = "## What holds";
const OPEN: &str = "## What is not protected";

/// Checks the book.
pub fn run(root: &Path) -> ExitCode {
    match task(root) {
        Ok(count) => {
            println!("claims: {count} of them, each with a test");
            ExitCode::SUCCESS
        }
        Err(faults) => {
            for fault in faults {
                eprintln!("claims: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}

/// How many claims there are. Errors: each that has no test, and each test that is none.
fn task(root: &Path) -> Result<usize, Vec<String>> {
    let pages = pages(&root.join(BOOK)).map_err(|e| vec![format!("{BOOK}: {e}")])?;
    let (mut count, mut faults) = (0, Vec::new());
    for (name, page) in &pages {
        let found = match name == PAGE {
            true => claims(section(page, HOLDS), |_| true),
            false => claims(page, is_of_claims),
        };
        for (claim, tests) in &found {
            if tests.is_empty() {
                faults.push(format!("{name}: no test stands beside {claim}"));
            }
        }
        count += found.len();
        let named = spans(page).filter_map(|span| fault(root, span));
        faults.extend(named.map(|fault| format!("{name}: {fault}")));
        if name == PAGE && found.is_empty() {
            faults.push(format!("{name} claims nothing below \"{HOLDS}\""));
        }
        if name == PAGE && section(page, OPEN).trim().is_empty() {
            faults.push(format!("{name} says nothing below \"{OPEN}\""));
        }
    }
    if !pages.iter().any(|(name, _)| name == PAGE) {
        faults.push(format!("{BOOK} has no {PAGE}"));
    }
    match faults.is_empty() {
        true => Ok(count),
        false => Err(faults),
    }
}

/// The book's pages by name, in order.
fn pages(book: &Path) -> std::io::Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(book)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            pages.push((name, fs::read_to_string(entry.path())?));
        }
    }
    pages.sort();
    Ok(pages)
}

/// What is wrong with a span that names a test, or a file of tests.
fn fault(root: &Path, span: &str) -> Option<String> {
    if let Some((path, name)) = split(span) {
        return match fs::read_to_string(root.join(path)) {
            Ok(source) if is_test(&source, name) => None,
            Ok(_) => Some(format!("{path} has no test {name}")),
            Err(error) => Some(format!("{path}: {error}")),
        };
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '…';
    if span.starts_with("test_") && span.chars().all(is_word) {
        return Some(format!("{span} stands without the path of its file"));
    }
    let is_missing = span.ends_with("_test.py") && !root.join(span).is_file();
    is_missing.then(|| format!("there is no {span}"))
}

/// Path and name of a test.
fn split(span: &str) -> Option<(&str, &str)> {
    let (path, name) = span.split_once("::")?;
    (path.ends_with(".py") || path.ends_with(".rs")).then_some((path, name))
}

/// What a text has between backticks. A span is within a line, so that a fence of three confuses
/// none behind it.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Whether a table's head is that of claims.
fn is_of_claims(head: &str) -> bool {
    head.split('|')
        .nth(1)
        .is_some_and(|cell| cell.trim() == "claim")
}

/// What stands below a heading, up to the next of its rank.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let Some((_, rest)) = page.split_once(&format!("\n{heading}\n")) else {
        return "";
    };
    rest.split_once("\n## ")
        .map_or(rest, |(section, _)| section)
}

/// The first cell of each row of the tables whose head `counts`, and the tests in the row.
fn claims(text: &str, counts: impl Fn(&str) -> bool) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let (mut is_body, mut head) = (false, "");
    for line in text.lines() {
        if !line.starts_with('|') {
            is_body = false;
        } else if line.starts_with("|---") {
            is_body = counts(head);
        } else if is_body {
            let claim = line.trim_matches('|').split('|').next().unwrap_or(line);
            let tests = spans(line).filter(|span| split(span).is_some()).collect();
            found.push((claim.trim(), tests));
        }
        head = line;
    }
    found
}

/// Whether a runner calls something of that name.
fn is_test(source: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let (python, rust) = (format!("def {name}("), format!("fn {name}("));
    let (scenario, alone) = (format!("(\"{name}\","), format!("\"{name}\","));
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let above = &lines[at.saturating_sub(4)..at];
        let is_marked = || {
            above
                .iter()
                .any(|line| line.starts_with("#[") && line.contains("test"))
        };
        let is_rust = line.starts_with(&rust) || line.starts_with(&format!("async {rust}"));
        (name.starts_with("test_") && line.starts_with(&python))
            || (is_rust && is_marked())
            || line.contains(&scenario)
            // As rustfmt writes a long one.
            || (*line == alone && above.last() == Some(&"("))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_test_and_tests_that_are_none_are_found() {
        let page = "# T\n\n## What holds\n\nText `a.rs::b`.\n\n| claim | test |\n|---|---|\n\
                    | one `x` | `tests/a_test.py::test_a`, `b.rs::c` |\n| two | by eye, `a::b` |\n\n\
                    | attack | test |\n|---|---|\n| three | |\n\n## Next\n| n |\n";
        let one = ("one `x`", vec!["tests/a_test.py::test_a", "b.rs::c"]);
        let found = claims(section(page, HOLDS), |_| true);
        assert_eq!(found, [one.clone(), ("two", vec![]), ("three", vec![])]);
        assert_eq!(claims(page, is_of_claims), [one, ("two", vec![])]);

        assert!(is_test("def test_a(server):\n", "test_a"));
        assert!(is_test("    #[test]\n    fn it_holds() {\n", "it_holds"));
        assert!(is_test(
            "#[tokio::test]\nasync fn it_holds() {\n",
            "it_holds"
        ));
        assert!(is_test("    (\"it_holds\", run),\n", "it_holds"));
        assert!(is_test("ALL: &[X] = &[(\"it_holds\", run)];\n", "it_holds"));
        assert!(is_test(
            "    (\n        \"it_holds\",\n        run,\n    ),\n",
            "it_holds"
        ));
        for (source, name) in [
            ("def test_ab(server):\n", "test_a"),
            ("def helper(server):\n", "helper"),
            ("# def test_a(server)\n", "test_a"),
            ("fn it_holds() {\n", "it_holds"),
            ("#[test]\nfn it_holds() {\n", ""),
            ("    say(\n        \"it_holds\",\n", "it_holds"),
        ] {
            assert!(!is_test(source, name), "{source:?} {name:?}");
        }
    }

    #[test]
    fn a_test_is_named_with_its_path_and_is_there_on_every_page() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("tests/a_test.py", "def test_a(server):\n    pass\n");
        let whole = "# T\n\n## What holds\n\n| claim | shown by |\n|---|---|\n\
                     | one | `tests/a_test.py::test_a` |\n\n## What is not protected\n\nMuch.\n";
        write("docs/book/threat-model.md", whole);
        let with = |other: &str| {
            write("docs/book/other.md", other);
            task(root.path())
        };
        let table = |cell: &str| format!("| claim | test |\n|---|---|\n| two | {cell} |\n");
        assert_eq!(
            with("Text with `a::b`, `test-a` and `tests/a_test.py`.\n"),
            Ok(1)
        );
        assert_eq!(with(&table("`tests/a_test.py::test_a`")), Ok(2));
        for (other, fault) in [
            (table("by eye"), "no test stands beside two"),
            (
                table("`test_a`"),
                "test_a stands without the path of its file",
            ),
            ("See `test_a…`.\n".to_owned(), "test_a… stands without"),
            (table("`tests/a_test.py::test_b`"), "has no test test_b"),
            ("`tests/b_test.py::test_a`".to_owned(), "tests/b_test.py: "),
            (
                "```\nx\n```\n`tests/b_test.py`\n".to_owned(),
                "there is no tests/b_test.py",
            ),
        ] {
            let faults = with(&other).unwrap_err();
            let is_told = |told: &String| told.starts_with("other.md: ") && told.contains(fault);
            assert!(faults.iter().any(is_told), "{other:?} {faults:?}");
        }
        write("docs/book/other.md", "");
        write("docs/book/threat-model.md", "# T\n");
        assert_eq!(task(root.path()).unwrap_err().len(), 2);
    }

    #[test]
    fn every_claim_of_the_repository_has_its_tests() {
        let root = &crate::root().unwrap();
        let found = task(root);
        assert!(found.as_ref().is_ok_and(|count| *count > 80), "{found:?}");
    }
}
