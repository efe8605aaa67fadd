//! Compiles the model's patterns, written for Java, into tables.
//!
//! A pattern of one repeated character class becomes sorted ranges; any other an automaton over
//! bytes, made minimal here. Look-around is not compiled: an overlay gives an equal pattern.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use regex_automata::{
    Anchored, Input,
    dfa::{Automaton, StartKind, dense},
    util::{primitives::StateID, start},
};
use regex_syntax::hir::{Class, Hir, HirKind};

use super::{Fault, Source, names::screaming, rules::pattern_text, shapes::Plan};

/// What is compiled for a shape: the overlay's equal pattern, or the one that is printed.
fn compiled_text<'a>(source: &'a Source, name: &str) -> Result<Option<&'a str>, Fault> {
    let shape = source.model.shape(name)?;
    if shape.kind != "string" {
        return Ok(None);
    }
    let overlay = source.overlay.shapes.get(name);
    let equal = overlay.and_then(|overlay| overlay.pattern_equal.as_deref());
    Ok(pattern_text(source, name, shape).map(|text| equal.unwrap_or(text)))
}

/// The name of the matcher of a shape: the first shape with the same pattern gives it.
pub(crate) fn name_of(source: &Source, name: &str) -> Result<String, Fault> {
    let text = compiled_text(source, name)?;
    for (other, _) in source.model.shapes.iter() {
        if compiled_text(source, other)? == text {
            return Ok(screaming(other));
        }
    }
    Err(format!("{name} has no pattern").into())
}

pub(crate) fn write(source: &Source, plan: &Plan) -> Result<String, Fault> {
    let mut statics = BTreeMap::new();
    for name in &plan.input {
        if let Some(text) = compiled_text(source, name)? {
            let matcher = compile(text).map_err(|fault| format!("{name}: {text}: {fault}"))?;
            statics.insert(name_of(source, name)?, (text, matcher));
        }
    }
    let mut out = String::new();
    if statics.is_empty() {
        return Ok(out);
    }
    let automaton = statics
        .values()
        .any(|(_, matcher)| matcher.contains("Automaton"));
    let uses = if automaton {
        "{Automaton, Matcher}"
    } else {
        "Matcher"
    };
    writeln!(out, "use crate::pattern::{uses};\n")?;
    for (name, (text, matcher)) in statics {
        writeln!(
            out,
            "/// `{text}`\npub(super) static {name}: Matcher = {matcher};\n"
        )?;
    }
    let mut all = Vec::new();
    for name in &plan.input {
        if compiled_text(source, name)?.is_some() {
            all.push(format!("({name:?}, &{})", name_of(source, name)?));
        }
    }
    writeln!(
        out,
        "/// The matcher of every shape, for the comparison with another engine.\n#[cfg(test)]\npub(crate) static ALL: &[(&str, &Matcher)] = &[{}];",
        all.join(", ")
    )?;
    Ok(out)
}

fn compile(java: &str) -> Result<String, Fault> {
    let rust = from_java(java)?;
    let hir = regex_syntax::Parser::new().parse(&rust)?;
    match repeated_class(&hir) {
        Some((min, ranges)) => Ok(format!(
            "Matcher::Every {{ ranges: &{ranges:?}, min: {min} }}"
        )),
        None => automaton(&rust),
    }
}

/// Java's `.`, `\d`, `\s` and `\w`, spelled out: in Rust they would mean Unicode's.
fn from_java(java: &str) -> Result<String, Fault> {
    let mut rust = String::new();
    let mut in_class = false;
    let mut chars = java.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('d') => rust.push_str("[0-9]"),
                Some('s') => rust.push_str("[\\t\\n\\x0B\\f\\r\\x20]"),
                Some('w') => rust.push_str("[0-9A-Za-z_]"),
                Some(other) => rust.extend(['\\', other]),
                None => return Err("ends in a backslash".into()),
            },
            '.' if !in_class => rust.push_str("[^\\n\\r\\x{85}\\x{2028}\\x{2029}]"),
            _ => {
                match c {
                    '[' => in_class = true,
                    ']' => in_class = false,
                    _ => {}
                }
                rust.push(c);
            }
        }
    }
    Ok(rust)
}

fn repeated_class(hir: &Hir) -> Option<(u32, Vec<(char, char)>)> {
    match hir.kind() {
        HirKind::Capture(capture) => repeated_class(&capture.sub),
        HirKind::Repetition(repetition) if repetition.max.is_none() => {
            match repetition.sub.kind() {
                HirKind::Class(Class::Unicode(class)) => {
                    let ranges = class
                        .ranges()
                        .iter()
                        .map(|range| (range.start(), range.end()));
                    Some((repetition.min, ranges.collect()))
                }
                HirKind::Class(Class::Bytes(class)) => {
                    let ranges = class
                        .ranges()
                        .iter()
                        .map(|range| (range.start() as char, range.end() as char));
                    Some((repetition.min, ranges.collect()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Walks the automaton that the library builds, makes it minimal and prints it.
fn automaton(rust: &str) -> Result<String, Fault> {
    let dfa = dense::Builder::new()
        .configure(dense::Config::new().start_kind(StartKind::Anchored))
        .build(&format!("^(?:{rust})$"))?;
    let start = dfa.start_state(&start::Config::from_input_forward(
        &Input::new("").anchored(Anchored::Yes),
    ))?;
    let mut numbers: HashMap<StateID, usize> = HashMap::from([(start, 0)]);
    let mut open = vec![start];
    let mut next: Vec<Vec<usize>> = Vec::new();
    let mut at = 0;
    while at < open.len() {
        let state = open[at];
        at += 1;
        let row = (0..=255u8).map(|byte| {
            let to = dfa.next_state(state, byte);
            let fresh = numbers.len();
            *numbers.entry(to).or_insert_with(|| {
                open.push(to);
                fresh
            })
        });
        next.push(row.collect());
    }
    let accepts: Vec<bool> = open
        .iter()
        .map(|&state| dfa.is_match_state(dfa.next_eoi_state(state)))
        .collect();
    Ok(print(&minimal(next, accepts)?))
}

struct Table {
    next: Vec<Vec<usize>>,
    accepts: Vec<bool>,
}

/// Moore's refinement; then the dead state becomes 0 and the start 1.
fn minimal(next: Vec<Vec<usize>>, accepts: Vec<bool>) -> Result<Table, Fault> {
    let mut block: Vec<usize> = accepts
        .iter()
        .map(|&accepts| usize::from(accepts))
        .collect();
    let mut count = 0;
    loop {
        let mut seen = HashMap::new();
        let refined: Vec<usize> = (0..next.len())
            .map(|state| {
                let row: Vec<usize> = next[state].iter().map(|&to| block[to]).collect();
                let fresh = seen.len();
                *seen.entry((block[state], row)).or_insert(fresh)
            })
            .collect();
        block = refined;
        if seen.len() == count {
            break;
        }
        count = seen.len();
    }
    let dead = (0..next.len())
        .find(|&state| !accepts[state] && next[state].iter().all(|&to| block[to] == block[state]));
    let dead = block[dead.ok_or("everything matches; leave it unchecked")?];
    let first = block[0];
    let mut order = vec![dead, first];
    order.extend((0..count).filter(|it| *it != dead && *it != first));
    let number = |wanted: usize| {
        order
            .iter()
            .position(|&it| it == wanted)
            .expect("every block is in order")
    };
    let mut table = Table {
        next: Vec::new(),
        accepts: Vec::new(),
    };
    for &wanted in &order {
        let state = block
            .iter()
            .position(|&it| it == wanted)
            .expect("no block is empty");
        table
            .next
            .push(next[state].iter().map(|&to| number(block[to])).collect());
        table.accepts.push(accepts[state]);
    }
    Ok(table)
}

fn print(table: &Table) -> String {
    let mut columns: Vec<Vec<usize>> = Vec::new();
    let mut runs: Vec<(u8, usize)> = Vec::new();
    for byte in 0..=255u8 {
        let column: Vec<usize> = table
            .next
            .iter()
            .map(|row| row[usize::from(byte)])
            .collect();
        let class = columns
            .iter()
            .position(|known| *known == column)
            .unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            });
        match runs.last_mut() {
            Some(run) if run.1 == class => run.0 = byte,
            _ => runs.push((byte, class)),
        }
    }
    let next: Vec<usize> = (0..table.next.len())
        .flat_map(|state| columns.iter().map(move |column| column[state]))
        .collect();
    format!(
        "Matcher::Automaton(Automaton {{ runs: &{runs:?}, next: &{next:?}, classes: {}, accepts: &{:?} }})",
        columns.len(),
        table.accepts,
    )
}
