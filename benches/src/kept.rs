//! Instruction counts that were kept, and how today's stand beside them.
//!
//! One line for each row: instructions (the least of the calls), system calls, name. They are of one
//! compiler and one kind of machine; another libc takes other ways through a copy. So a row may grow
//! by a quarter before it is a failure; what a change costs is read from the ratios.

use crate::{Failure, steps::Counted};
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

/// What was kept with this program.
const KEPT: &str = include_str!("../instructions.txt");
/// More than this times what was kept is a failure.
const MOST: f64 = 1.25;

/// Instructions and system calls of each row.
fn parse(text: &str) -> Result<BTreeMap<&str, (u64, u64)>, Failure> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some(instructions), Some(calls), Some(name)) => {
                    Ok((name, (instructions.parse()?, calls.parse()?)))
                }
                _ => Err(format!("no line of counts: {line}").into()),
            }
        })
        .collect()
}

/// Prints the rows beside what was kept. Errors: one that has grown beyond bounds, by name.
pub fn compare(rows: &[(String, Counted)]) -> Result<(), Failure> {
    compare_with(
        KEPT,
        rows.iter().map(|(name, row)| (&name[..], counts(row))),
    )
}

/// Whether a row has grown beyond bounds; one that was not kept has not.
pub fn has_grown(name: &str, row: &Counted) -> Result<bool, Failure> {
    let kept = parse(KEPT)?;
    let then = kept.get(name);
    Ok(then.is_some_and(|then| ratio(row.instructions, then.0) > MOST))
}

fn ratio(now: u64, then: u64) -> f64 {
    now as f64 / then.max(1) as f64
}

fn compare_with<'a>(
    kept: &str,
    rows: impl Iterator<Item = (&'a str, (u64, u64))>,
) -> Result<(), Failure> {
    let kept = parse(kept)?;
    let mut grown = Vec::new();
    println!("\nleast against what was kept (most ≤ {MOST})    instructions  system calls");
    for (name, now) in rows {
        let Some(then) = kept.get(name) else { continue };
        let (instructions, calls) = (ratio(now.0, then.0), ratio(now.1, then.1));
        println!("  {name:<40} {instructions:>11.3} {calls:>13.3}");
        if instructions > MOST {
            grown.push(format!(
                "{name}: {} instructions, {} were kept",
                now.0, then.0
            ));
        }
    }
    if grown.is_empty() {
        Ok(())
    } else {
        Err(grown.join("; ").into())
    }
}

/// Writes the rows as the file that is kept.
pub fn keep(file: &Path, rows: &[(String, Counted)]) -> Result<(), Failure> {
    let mut text = "# Least instructions and system calls of the server's thread per warm call.\n\
                    # Made by: freehold-bench instructions --keep benches/instructions.txt\n"
        .to_owned();
    for (name, row) in rows {
        let (instructions, calls) = counts(row);
        writeln!(text, "{instructions} {calls} {name}")?;
    }
    Ok(fs::write(file, text)?)
}

fn counts(row: &Counted) -> (u64, u64) {
    (row.instructions, row.system_calls())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_grew_by_more_than_a_quarter_is_named() {
        let kept = "# a comment\n1000 5 python, URL\n1000 5 rust, URL\n";
        let compare = |now: [(&str, u64); 3]| {
            compare_with(
                kept,
                now.into_iter().map(|(name, count)| (name, (count, 5))),
            )
        };
        compare([("python, URL", 1250), ("rust, URL", 1), ("new", 9999)]).unwrap();
        let grown = compare([("python, URL", 1251), ("rust, URL", 1000), ("new", 9)]);
        let said = grown.unwrap_err().to_string();
        assert_eq!(said, "python, URL: 1251 instructions, 1000 were kept");
    }

    #[test]
    fn a_row_has_grown_beyond_what_was_kept_of_it() {
        let kept = parse(KEPT).unwrap()["python, URL"].0;
        let of = |name, instructions| {
            let row = Counted {
                instructions,
                ..Counted::default()
            };
            has_grown(name, &row).unwrap()
        };
        assert!(!of("python, URL", kept));
        assert!(of("python, URL", kept * 2));
        assert!(!of("new", u64::MAX));
    }

    #[test]
    fn what_is_kept_with_the_program_can_be_read() {
        assert!(parse(KEPT).unwrap().contains_key("python, URL"));
        assert!(parse("12 python").is_err());
    }
}
