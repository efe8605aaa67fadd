//! `cargo xtask served`: the book's table of operations, from the generated protocols.
//!
//! It reads the lists that the code itself routes by (`ALL` and `is_served` of each service), so
//! the page cannot promise what the server does not do.

use std::{collections::BTreeSet, fmt::Write, fs, path::Path, process::ExitCode};

const PAGE: &str = "docs/book/what-is-served.md";
const SERVICES: [(&str, &str); 3] = [
    ("lambda", "Lambda"),
    ("logs", "CloudWatch Logs"),
    ("sts", "Security Token Service"),
];

/// Writes the page; with `--check` only compares.
pub fn run(root: &Path, args: &[String]) -> ExitCode {
    let check = args.iter().any(|arg| arg == "--check");
    match task(root, check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("served: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn task(root: &Path, check: bool) -> Result<(), String> {
    let text = page(root)?;
    let path = root.join(PAGE);
    if fs::read_to_string(&path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    if check {
        return Err(format!("{PAGE} is not current: run `cargo xtask served`"));
    }
    fs::write(&path, text).map_err(|error| format!("{PAGE}: {error}"))
}

fn page(root: &Path) -> Result<String, String> {
    let mut page = String::from(
        "# What is served\n\n<!-- written by `cargo xtask served` from the generated protocols -->\n\n\
         Operations in full: fields, states, errors and pagination as real clients see them. The \
         others of each service are known by name and answer a well-formed AWS error, never a \
         pretence of success. [Differences](differences.md) says where an operation that is served \
         behaves otherwise than on AWS.\n",
    );
    for (service, title) in SERVICES {
        let path = root.join(format!("crates/wire/src/generated/{service}/operations.rs"));
        let source = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let all = names(&source, "pub const ALL: &[Operation] = &[", "];");
        let served = names(&source, "pub fn is_served(self) -> bool {", "\n    }");
        if all.is_empty() || served.is_empty() || !served.is_subset(&all) {
            return Err(format!("{} does not read", path.display()));
        }
        let _ = write!(
            page,
            "\n## {title}\n\n{} of {}:\n\n",
            served.len(),
            all.len()
        );
        for name in &served {
            let _ = writeln!(page, "- {name}");
        }
        let others: Vec<&str> = all.difference(&served).copied().collect();
        if !others.is_empty() {
            let _ = write!(
                page,
                "\n<details><summary>Not yet: {} others</summary>\n\n{}\n\n</details>\n",
                others.len(),
                others.join(", ")
            );
        }
    }
    page.push_str(
        "\n## Function URLs\n\nBy host and by path, payload format 2.0, binary bodies, cookies, CORS, \
         `AuthType` NONE and AWS_IAM. Answers are buffered.\n\n## Freehold's own\n\n\
         `POST /_freehold/api/ListInstances`, `/_freehold/api/GetUsage`, `/_freehold/api/GetBill`, \
         `/_freehold/api/ListBudgets` and `/_freehold/api/GetAudit`: JSON, signed for service `freehold`. \
         `freehold ps`, `freehold usage`, `freehold bill`, `freehold budgets list` and `freehold audit` ask \
         them. The operator's are in [Tenants and keys](tenants.md), [Prices and bills](prices.md) and \
         [Budgets](budgets.md).\n",
    );
    Ok(page)
}

/// The `Operation::NAME`s between two marks.
fn names<'a>(source: &'a str, from: &str, to: &str) -> BTreeSet<&'a str> {
    let Some((_, rest)) = source.split_once(from) else {
        return BTreeSet::new();
    };
    let list = rest.split_once(to).map_or(rest, |(list, _)| list);
    let words = list.split("Operation::").skip(1);
    words
        .map(|word| {
            word.split(|c: char| !c.is_ascii_alphanumeric())
                .next()
                .unwrap_or(word)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_between_the_marks() {
        let source = "A = &[\n Operation::One,\n Operation::Two,\n];\nOperation::Three";
        assert_eq!(
            names(source, "A = &[", "];"),
            BTreeSet::from(["One", "Two"])
        );
    }

    #[test]
    fn the_page_of_the_repository_is_current() {
        let root = &crate::root().unwrap();
        assert_eq!(task(root, true), Ok(()));
    }
}
