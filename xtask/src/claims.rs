//! `cargo xtask claims`: each claim of the threat model names a test, and that test is there.
//!
//! A claim is a row of a table below the heading "What holds". Its tests are written
//! `path/of/file.py::name`; a name is a function that a test runner calls, or a scenario that a
//! runner of ours lists. Whether the test shows the claim is the reader's to judge.

use std::{fs, path::Path, process::ExitCode};

const PAGE: &str = "docs/book/threat-model.md";
const HOLDS: &str = "## What holds";
const OPEN: &str = "## What is not protected";

/// Checks the page.
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

/// How many claims there are. Errors: each that has no test.
fn task(root: &Path) -> Result<usize, Vec<String>> {
    let page = fs::read_to_string(root.join(PAGE)).map_err(|e| vec![format!("{PAGE}: {e}")])?;
    let mut faults = Vec::new();
    if section(&page, OPEN).trim().is_empty() {
        faults.push(format!("{PAGE} says nothing below \"{OPEN}\""));
    }
    let claims = claims(section(&page, HOLDS));
    for (line, tests) in &claims {
        if tests.is_empty() {
            faults.push(format!("no test stands beside {line}"));
        }
        for test in tests {
            let (path, name) = test.split_once("::").unwrap_or((test, ""));
            match fs::read_to_string(root.join(path)) {
                Ok(source) if is_test(&source, name) => {}
                Ok(_) => faults.push(format!("{path} has no test {name}, named beside {line}")),
                Err(error) => faults.push(format!("{path}: {error}, named beside {line}")),
            }
        }
    }
    match (claims.len(), faults.is_empty()) {
        (0, true) => Err(vec![format!("{PAGE} claims nothing below \"{HOLDS}\"")]),
        (count, true) => Ok(count),
        _ => Err(faults),
    }
}

/// What stands below a heading, up to the next of its rank.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let Some((_, rest)) = page.split_once(&format!("\n{heading}\n")) else {
        return "";
    };
    rest.split_once("\n## ")
        .map_or(rest, |(section, _)| section)
}

/// The first cell of each row below a table's head, and the tests in the row.
fn claims(section: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let mut is_body = false;
    for line in section.lines() {
        if !line.starts_with('|') {
            is_body = false;
        } else if line.starts_with("|---") {
            is_body = true;
        } else if is_body {
            let claim = line.trim_matches('|').split('|').next().unwrap_or(line);
            let spans = line.split('`').skip(1).step_by(2);
            let tests = spans.filter(|span| span.contains("::")).collect();
            found.push((claim.trim(), tests));
        }
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
        let page = "# T\n\n## What holds\n\nText `a::b`.\n\n| claim | test |\n|---|---|\n\
                    | one `x` | `tests/a_test.py::test_a`, `b.rs::c` |\n| two | by eye |\n\n## Next\n| n |\n";
        let found = claims(section(page, HOLDS));
        assert_eq!(
            found,
            [
                ("one `x`", vec!["tests/a_test.py::test_a", "b.rs::c"]),
                ("two", vec![])
            ]
        );

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
    fn every_claim_of_the_repository_has_its_tests() {
        let root = &crate::root().unwrap();
        let found = task(root);
        assert!(found.as_ref().is_ok_and(|count| *count > 30), "{found:?}");
    }
}
