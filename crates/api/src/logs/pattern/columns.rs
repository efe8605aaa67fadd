//! `[ip, ..., status = 4*, bytes > 1000]`: conditions on the columns of a line.
//!
//! Columns are parted by blanks; what stands in quotation marks or brackets is one.

use super::{
    PatternError,
    json::Condition,
    scan::Scan,
    value::{Operator, Value},
};
use std::cell::Cell;

/// A line's columns: those before and, where some may be left out, those behind.
#[derive(Debug)]
pub(in crate::logs) struct Columns {
    head: Vec<Column>,
    tail: Option<Vec<Column>>,
}

/// What is asked of one column; nothing of one that is only named.
type Column = Option<Condition<(Operator, Value)>>;

/// Reads a whole pattern.
pub(super) fn parse(scan: &mut Scan<'_>) -> Result<Columns, PatternError> {
    scan.must("[", "[")?;
    let mut columns = Columns {
        head: Vec::new(),
        tail: None,
    };
    loop {
        if scan.take("...") {
            if columns.tail.replace(Vec::new()).is_some() {
                return Err(scan.expected("one ellipsis before"));
            }
        } else {
            let column = column(scan)?;
            columns
                .tail
                .as_mut()
                .unwrap_or(&mut columns.head)
                .push(column);
        }
        if scan.take("]") {
            return Ok(columns);
        }
        scan.must(",", "a comma or ]")?;
    }
}

fn column(scan: &mut Scan<'_>) -> Result<Column, PatternError> {
    let name = name(scan)?;
    if matches!(scan.peek().as_bytes().first(), Some(b',' | b']')) {
        return Ok(None);
    }
    let first = Cell::new(true);
    let condition = Condition::parse(scan, 0, &|scan: &mut Scan<'_>| {
        // The name stands before every condition, and the first one has been read.
        if !first.replace(false) && self::name(scan)? != name {
            return Err(scan.expected("the same column before"));
        }
        let operator = scan.operator()?;
        Ok((operator, scan.value(operator, &[',', ']', ')', '&', '|'])?))
    })?;
    Ok(Some(condition))
}

fn name(scan: &mut Scan<'_>) -> Result<String, PatternError> {
    scan.peek();
    let name = scan.run(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if name.is_empty() {
        return Err(scan.expected("the name of a column"));
    }
    Ok(name.to_owned())
}

impl Columns {
    pub(super) fn matches(&self, line: &str) -> bool {
        let found = split(line);
        let tail = self.tail.as_deref().unwrap_or(&[]);
        let named = self.head.len() + tail.len();
        if found.len() < named || (self.tail.is_none() && found.len() > named) {
            return false;
        }
        let behind = &found[found.len() - tail.len()..];
        let pairs = self.head.iter().zip(&found).chain(tail.iter().zip(behind));
        let mut asked = pairs.filter_map(|(column, text)| Some((column.as_ref()?, *text)));
        asked.all(|(condition, text)| {
            let number = text.parse().ok();
            condition.holds(&|(operator, value)| value.compares(*operator, text, number))
        })
    }
}

fn split(line: &str) -> Vec<&str> {
    let (mut columns, mut rest) = (Vec::new(), line.trim());
    while !rest.is_empty() {
        let closing = match rest.as_bytes()[0] {
            b'"' => Some('"'),
            b'[' => Some(']'),
            _ => None,
        };
        let inside = closing.and_then(|closing| Some((1, 1 + rest[1..].find(closing)?)));
        let (column, tail) = match inside {
            Some((from, to)) => (&rest[from..to], &rest[to + 1..]),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        columns.push(column);
        rest = tail.trim_start();
    }
    columns
}
