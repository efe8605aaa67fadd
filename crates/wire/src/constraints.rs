//! The model's constraints and the exact words in which the service reports them.
//!
//! All violations of a request are collected, in the order of the model's members, and answered in
//! one text: `2 validation errors detected: Value '...' at 'functionName' failed to satisfy
//! constraint: ...; Value ...`. For the elements of a list the service names the whole list and
//! repeats every constraint of the element. Source: the recordings of the real service.

use std::{collections::BTreeMap, fmt, fmt::Write};

use crate::{WireFault, pattern::Matcher};

/// Violations that one answer spells out. Longer lists of structures add nothing for the reader.
const VIOLATIONS_MAX: usize = 64;

/// Characters of an offending value that an answer repeats, so that an answer cannot grow with the
/// request. The longest value of a recorded answer is below 400.
const ECHO_MAX: usize = 4_096;

/// What a string must be.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) min: Option<usize>,
    pub(crate) max: Option<usize>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) one_of: Option<OneOf>,
    /// A sensitive value is never repeated.
    pub(crate) sensitive: bool,
}

/// A pattern as the service prints it, and what matches it.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) text: &'static str,
    pub(crate) matcher: &'static Matcher,
}

/// The values of an enumeration, in the order in which the service prints them.
#[derive(Debug)]
pub(crate) struct OneOf(pub(crate) &'static [&'static str]);

/// The inclusive range of a number.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
}

/// How many elements a list may have, and what each must be.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) min: Option<usize>,
    pub(crate) max: Option<usize>,
    pub(crate) element: Option<&'static Text>,
}

/// What the keys and values of a map must be.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) key: Option<&'static Text>,
    pub(crate) value: Option<ValueRule>,
    pub(crate) sensitive: bool,
}

/// What a value of a map must be.
#[derive(Debug)]
pub(crate) enum ValueRule {
    Text(&'static Text),
    Number(&'static Range),
}

/// A value of a map: a string or a number with a fraction.
pub(crate) trait MapValue {
    /// As the service repeats it.
    fn write(&self, out: &mut String);
    fn holds(&self, rule: &ValueRule) -> bool;
}

impl MapValue for String {
    fn write(&self, out: &mut String) {
        out.push_str(self);
    }
    fn holds(&self, rule: &ValueRule) -> bool {
        matches!(rule, ValueRule::Text(text) if text.holds(self))
    }
}

impl MapValue for f64 {
    fn write(&self, out: &mut String) {
        let _ = write!(out, "{self:?}");
    }
    fn holds(&self, rule: &ValueRule) -> bool {
        matches!(rule, ValueRule::Number(range)
            if range.max.is_none_or(|max| *self <= max) && range.min.is_none_or(|min| *self >= min))
    }
}

impl ValueRule {
    /// Every constraint, in the order in which the service lists them for values of maps.
    fn all(&self) -> String {
        match self {
            Self::Text(text) => text.all(),
            Self::Number(Range { min, max }) => {
                // A number with a fraction is written with one.
                let max =
                    max.map(|max| format!("Member must have value less than or equal to {max:?}"));
                let min = min
                    .map(|min| format!("Member must have value greater than or equal to {min:?}"));
                max.into_iter().chain(min).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

enum Broken {
    LengthMax(usize),
    LengthMin(usize),
    ValueMax(f64),
    ValueMin(f64),
    Pattern(&'static str),
    OneOf(&'static [&'static str]),
    Null,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Broken::LengthMax(max) => {
                write!(f, "Member must have length less than or equal to {max}")
            }
            Broken::LengthMin(min) => {
                write!(f, "Member must have length greater than or equal to {min}")
            }
            Broken::ValueMax(max) => {
                write!(f, "Member must have value less than or equal to {max}")
            }
            Broken::ValueMin(min) => {
                write!(f, "Member must have value greater than or equal to {min}")
            }
            Broken::Pattern(text) => {
                write!(f, "Member must satisfy regular expression pattern: {text}")
            }
            Broken::OneOf(values) => {
                write!(
                    f,
                    "Member must satisfy enum value set: [{}]",
                    values.join(", ")
                )
            }
            Broken::Null => f.write_str("Member must not be null"),
        }
    }
}

impl Text {
    /// Length is counted as the service does, in UTF-16 units.
    fn broken(&self, text: &str) -> Vec<Broken> {
        let mut broken = Vec::new();
        if self.max.is_some() || self.min.is_some() {
            let length = if text.is_ascii() {
                text.len()
            } else {
                text.encode_utf16().count()
            };
            broken.extend(self.max.filter(|&max| length > max).map(Broken::LengthMax));
            broken.extend(self.min.filter(|&min| length < min).map(Broken::LengthMin));
        }
        if let Some(pattern) = &self.pattern
            && !pattern.matcher.matches(text)
        {
            broken.push(Broken::Pattern(pattern.text));
        }
        if let Some(OneOf(values)) = &self.one_of
            && !values.contains(&text)
        {
            broken.push(Broken::OneOf(values));
        }
        broken
    }

    fn holds(&self, text: &str) -> bool {
        self.broken(text).is_empty()
    }

    /// Every constraint, in the order in which the service lists them for elements.
    fn all(&self) -> String {
        let mut all = Vec::new();
        all.extend(self.max.map(Broken::LengthMax));
        all.extend(self.min.map(Broken::LengthMin));
        all.extend(
            self.pattern
                .as_ref()
                .map(|pattern| Broken::Pattern(pattern.text)),
        );
        all.extend(self.one_of.as_ref().map(|one_of| Broken::OneOf(one_of.0)));
        let all: Vec<String> = all.iter().map(Broken::to_string).collect();
        all.join(", ")
    }
}

/// Collects what is wrong with one request.
#[derive(Default)]
pub(crate) struct Violations {
    at: String,
    found: Vec<String>,
}

impl Violations {
    /// The answer, if anything was found.
    pub(crate) fn finish(self) -> Result<(), WireFault> {
        if self.found.is_empty() {
            return Ok(());
        }
        let count = self.found.len();
        let plural = if count == 1 { "" } else { "s" };
        let found = self.found.join("; ");
        Err(WireFault::Validation(format!(
            "{count} validation error{plural} detected: {found}"
        )))
    }

    /// Checks the members of the structure at `name`.
    pub(crate) fn within(&mut self, name: &str, check: impl FnOnce(&mut Self)) {
        let length = self.at.len();
        self.at.push_str(name);
        self.at.push('.');
        check(self);
        self.at.truncate(length);
    }

    /// Checks each structure of the list at `name`; the service counts from one.
    pub(crate) fn within_each<T>(
        &mut self,
        name: &str,
        items: &[T],
        check: impl Fn(&T, &mut Self),
    ) {
        for (index, item) in items.iter().enumerate() {
            if self.found.len() >= VIOLATIONS_MAX {
                return;
            }
            self.within(&format!("{name}.{}.member", index + 1), |violations| {
                check(item, violations)
            });
        }
    }

    /// The member is required and is not there.
    pub(crate) fn missing(&mut self, name: &str) {
        self.add("null", name, &Broken::Null);
    }

    pub(crate) fn text(&mut self, name: &str, rule: &Text, text: &str) {
        for broken in rule.broken(text) {
            let value = if rule.sensitive {
                String::new()
            } else {
                quoted(text)
            };
            self.add(&value, name, &broken);
        }
    }

    pub(crate) fn number(&mut self, name: &str, rule: &Range, number: f64) {
        if let Some(max) = rule.max.filter(|&max| number > max) {
            self.add(&quoted(&number.to_string()), name, &Broken::ValueMax(max));
        }
        if let Some(min) = rule.min.filter(|&min| number < min) {
            self.add(&quoted(&number.to_string()), name, &Broken::ValueMin(min));
        }
    }

    pub(crate) fn list(&mut self, name: &str, rule: &List, list: &[String]) {
        let value = || quoted(&bracketed(list));
        if let Some(max) = rule.max.filter(|&max| list.len() > max) {
            self.add(&value(), name, &Broken::LengthMax(max));
        }
        if let Some(min) = rule.min.filter(|&min| list.len() < min) {
            self.add(&value(), name, &Broken::LengthMin(min));
        }
        if let Some(element) = rule.element
            && !list.iter().all(|item| element.holds(item))
        {
            let value = if element.sensitive {
                String::new()
            } else {
                value()
            };
            let all = element.all();
            let null = Broken::Null;
            self.add(
                &value,
                name,
                &format_args!("Member must satisfy constraint: [{all}, {null}]"),
            );
        }
    }

    /// A list of structures has a length; its elements are checked by [`Violations::within_each`].
    pub(crate) fn count(&mut self, name: &str, rule: &List, count: usize) {
        if let Some(max) = rule.max.filter(|&max| count > max) {
            self.add("", name, &Broken::LengthMax(max));
        }
        if let Some(min) = rule.min.filter(|&min| count < min) {
            self.add("", name, &Broken::LengthMin(min));
        }
    }

    pub(crate) fn map<V: MapValue>(&mut self, name: &str, rule: &Map, map: &BTreeMap<String, V>) {
        let value = || match rule.sensitive {
            true => String::new(),
            false => quoted(&braced(map)),
        };
        if let Some(key) = rule.key
            && !map.keys().all(|text| key.holds(text))
        {
            self.add(
                &value(),
                name,
                &format_args!("Map keys must satisfy constraint: [{}]", key.all()),
            );
        }
        if let Some(rule) = &rule.value
            && !map.values().all(|value| value.holds(rule))
        {
            self.add(
                &value(),
                name,
                &format_args!("Map value must satisfy constraint: [{}]", rule.all()),
            );
        }
    }

    fn add(&mut self, value: &str, name: &str, broken: &dyn fmt::Display) {
        if self.found.len() >= VIOLATIONS_MAX {
            return;
        }
        let space = if value.is_empty() { "" } else { " " };
        let at = &self.at;
        self.found.push(format!(
            "Value{space}{value} at '{at}{name}' failed to satisfy constraint: {broken}"
        ));
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(ECHO_MAX) {
        None => format!("'{text}'"),
        Some((end, _)) => format!("'{}...'", &text[..end]),
    }
}

/// A list in the service's notation, as far as an answer will repeat it.
fn bracketed(list: &[String]) -> String {
    let mut text = String::from("[");
    for (index, item) in list.iter().enumerate() {
        if text.len() > ECHO_MAX * 4 {
            break;
        }
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{item}");
    }
    text + "]"
}

/// A map in the service's notation, as far as an answer will repeat it.
fn braced<V: MapValue>(map: &BTreeMap<String, V>) -> String {
    let mut text = String::from("{");
    for (index, (key, value)) in map.iter().enumerate() {
        if text.len() > ECHO_MAX * 4 {
            break;
        }
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{key}=");
        value.write(&mut text);
    }
    text + "}"
}
