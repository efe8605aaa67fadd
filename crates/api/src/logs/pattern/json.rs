//! `{ $.level = "ERROR" && ($.ms > 100 || $.tries NOT EXISTS) }`: conditions on fields of JSON.

use super::{
    PatternError,
    scan::{DEPTH_MAX, Scan},
    value::{Operator, Value},
};
use serde_json::Value as Json;

/// Conditions that are joined; `&&` binds closer than `||`.
#[derive(Debug)]
pub(in crate::logs) enum Condition<C> {
    All(Vec<Condition<C>>),
    Any(Vec<Condition<C>>),
    One(C),
}

impl<C> Condition<C> {
    pub(super) fn holds(&self, one: &impl Fn(&C) -> bool) -> bool {
        match self {
            Self::All(all) => all.iter().all(|condition| condition.holds(one)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(one)),
            Self::One(condition) => one(condition),
        }
    }

    /// Reads conditions of which `one` reads each.
    pub(super) fn parse(
        scan: &mut Scan<'_>,
        depth: usize,
        one: &impl Fn(&mut Scan<'_>) -> Result<C, PatternError>,
    ) -> Result<Self, PatternError> {
        if depth > DEPTH_MAX {
            return Err(PatternError::TooDeep);
        }
        let mut any = Vec::new();
        loop {
            let mut all = Vec::new();
            loop {
                if scan.take("(") {
                    all.push(Self::parse(scan, depth + 1, one)?);
                    scan.must(")", "a closing parenthesis")?;
                } else {
                    all.push(Self::One(one(scan)?));
                }
                if !scan.take("&&") {
                    break;
                }
            }
            any.push(Self::All(all));
            if !scan.take("||") {
                return Ok(Self::Any(any));
            }
        }
    }
}

/// What is asked of one field.
#[derive(Debug)]
pub(in crate::logs) struct Comparison {
    path: Vec<Step>,
    test: Test,
}

#[derive(Debug)]
enum Step {
    Field(String),
    Item(usize),
    Every,
}

#[derive(Debug)]
enum Test {
    Compares(Operator, Value),
    IsNull,
    Is(bool),
    NotExists,
}

/// Reads a whole pattern.
pub(super) fn parse(scan: &mut Scan<'_>) -> Result<Condition<Comparison>, PatternError> {
    scan.must("{", "{")?;
    let condition = Condition::parse(scan, 0, &comparison)?;
    scan.must("}", "}")?;
    Ok(condition)
}

fn comparison(scan: &mut Scan<'_>) -> Result<Comparison, PatternError> {
    scan.must("$", "a field, $.name")?;
    let path = path(scan)?;
    let test = if scan.take_word("IS") {
        if scan.take_word("NULL") {
            Test::IsNull
        } else if scan.take_word("TRUE") {
            Test::Is(true)
        } else if scan.take_word("FALSE") {
            Test::Is(false)
        } else {
            return Err(scan.expected("NULL, TRUE or FALSE"));
        }
    } else if scan.take_word("NOT") {
        if !scan.take_word("EXISTS") {
            return Err(scan.expected("EXISTS"));
        }
        Test::NotExists
    } else {
        let operator = scan.operator()?;
        Test::Compares(operator, scan.value(operator, &[')', '}', '&', '|'])?)
    };
    Ok(Comparison { path, test })
}

fn path(scan: &mut Scan<'_>) -> Result<Vec<Step>, PatternError> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$' | ':' | '/');
    let mut path = Vec::new();
    loop {
        let has_dot = scan.take(".");
        if scan.take("[") {
            path.push(item(scan)?);
            scan.must("]", "]")?;
        } else if !has_dot {
            break;
        } else if scan.take("*") {
            path.push(Step::Every);
        } else {
            let name = scan.run(is_name);
            if name.is_empty() {
                return Err(scan.expected("the name of a field"));
            }
            path.push(Step::Field(name.to_owned()));
        }
    }
    if path.is_empty() {
        return Err(scan.expected("a field behind $"));
    }
    Ok(path)
}

/// What stands in brackets: a place, every place, or a name within quotation marks.
fn item(scan: &mut Scan<'_>) -> Result<Step, PatternError> {
    if scan.take("*") {
        return Ok(Step::Every);
    }
    match scan.peek().chars().next() {
        Some(quote @ ('"' | '\'')) => Ok(Step::Field(scan.quoted(quote)?.to_owned())),
        _ => {
            let place = scan.run(|c| c.is_ascii_digit());
            let place = place
                .parse()
                .map_err(|_| scan.expected("a place in a list"))?;
            Ok(Step::Item(place))
        }
    }
}

impl Comparison {
    pub(super) fn holds(&self, event: &Json) -> bool {
        let mut found = Vec::new();
        follow(event, &self.path, &mut found);
        match &self.test {
            Test::NotExists => found.is_empty(),
            Test::IsNull => found.iter().any(|one| one.is_null()),
            Test::Is(wanted) => found.iter().any(|one| one.as_bool() == Some(*wanted)),
            Test::Compares(operator, value) => found.iter().any(|one| match one {
                Json::String(text) => value.compares(*operator, text, None),
                Json::Number(number) => {
                    value.compares(*operator, &number.to_string(), number.as_f64())
                }
                Json::Bool(is) => {
                    value.compares(*operator, if *is { "true" } else { "false" }, None)
                }
                Json::Null | Json::Array(_) | Json::Object(_) => false,
            }),
        }
    }
}

fn follow<'a>(from: &'a Json, path: &[Step], found: &mut Vec<&'a Json>) {
    let Some((step, rest)) = path.split_first() else {
        found.push(from);
        return;
    };
    match (step, from) {
        (Step::Field(name), Json::Object(fields)) => {
            if let Some(next) = fields.get(name) {
                follow(next, rest, found);
            }
        }
        (Step::Item(place), Json::Array(items)) => {
            if let Some(next) = items.get(*place) {
                follow(next, rest, found);
            }
        }
        (Step::Every, Json::Object(fields)) => {
            fields.values().for_each(|one| follow(one, rest, found))
        }
        (Step::Every, Json::Array(items)) => items.iter().for_each(|one| follow(one, rest, found)),
        _ => {}
    }
}
