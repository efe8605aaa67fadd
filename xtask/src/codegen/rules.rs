//! Constraints as tables, structures as they are before their required members are known to be
//! there, and the walk that checks them.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    Fault, Source,
    model::{Reference, Shape},
    names::{in_texts, screaming, snake},
    patterns,
    shapes::{Plan, place, reader, rust_type},
};

/// A constraint as the overlay leaves it.
pub(crate) fn number_of(source: &Source, name: &str, shape: &Shape, bound: &str) -> Option<f64> {
    let overlay = source.overlay.shapes.get(name);
    let unchecked = overlay.is_some_and(|overlay| overlay.unchecked.iter().any(|it| it == bound));
    let number = if bound == "min" {
        &shape.min
    } else {
        &shape.max
    };
    number
        .as_ref()
        .filter(|_| !unchecked)
        .and_then(|number| number.as_f64())
}

/// The pattern as the service prints it, if it is checked.
pub(crate) fn pattern_text<'a>(
    source: &'a Source,
    name: &str,
    shape: &'a Shape,
) -> Option<&'a str> {
    let overlay = source.overlay.shapes.get(name);
    if overlay.is_some_and(|overlay| overlay.unchecked.iter().any(|it| it == "pattern")) {
        return None;
    }
    let laid_over = overlay.and_then(|overlay| overlay.pattern_text.as_deref());
    laid_over.or(shape.pattern.as_deref())
}

fn enum_values<'a>(source: &'a Source, name: &str, shape: &'a Shape) -> &'a [String] {
    let overlay = source.overlay.shapes.get(name);
    if overlay.is_some_and(|overlay| overlay.unchecked.iter().any(|it| it == "enum")) {
        return &[];
    }
    overlay
        .and_then(|overlay| overlay.enum_text.as_deref())
        .unwrap_or(&shape.one_of)
}

/// The table of a shape's own constraints; `None` if anything goes.
fn rule(source: &Source, name: &str) -> Result<Option<String>, Fault> {
    let shape = source.model.shape(name)?;
    let min = number_of(source, name, shape, "min");
    let max = number_of(source, name, shape, "max");
    let element = |reference: &Option<Reference>| -> Result<String, Fault> {
        let Some(reference) = reference else {
            return Ok("None".into());
        };
        let is_text = source.model.shape(&reference.shape)?.kind == "string";
        Ok(match rule(source, &reference.shape)? {
            Some(_) if is_text => format!("Some(&{})", screaming(&reference.shape)),
            _ => "None".into(),
        })
    };
    Ok(match shape.kind.as_str() {
        "string" => {
            let pattern = pattern_text(source, name, shape);
            let one_of = enum_values(source, name, shape);
            // A minimum of nothing is no constraint.
            let min = min.filter(|&min| min > 0.0);
            if min.is_none() && max.is_none() && pattern.is_none() && one_of.is_empty() {
                return Ok(None);
            }
            let pattern = match pattern {
                Some(text) => format!(
                    "Some(Pattern {{ text: {text:?}, matcher: &patterns::{} }})",
                    patterns::name_of(source, name)?
                ),
                None => "None".into(),
            };
            let one_of = if one_of.is_empty() {
                "None".into()
            } else {
                format!("Some(OneOf(&{one_of:?}))")
            };
            Some(format!(
                "Text {{ min: {min:?}, max: {max:?}, pattern: {pattern}, one_of: {one_of}, sensitive: {} }}",
                shape.sensitive,
                min = min.map(|min| min as usize),
                max = max.map(|max| max as usize),
            ))
        }
        "integer" | "long" | "double" => (min.is_some() || max.is_some())
            .then(|| format!("Range {{ min: {min:?}, max: {max:?} }}")),
        "list" => {
            let element = element(&shape.member)?;
            let min = min.filter(|&min| min > 0.0).map(|min| min as usize);
            let max = max.map(|max| max as usize);
            let any = min.is_some() || max.is_some() || element != "None";
            any.then(|| format!("List {{ min: {min:?}, max: {max:?}, element: {element} }}"))
        }
        "map" => {
            let key = element(&shape.key)?;
            let value = match &shape.value {
                None => "None".into(),
                Some(reference) => {
                    let kind = match source.model.shape(&reference.shape)?.kind.as_str() {
                        "string" => Some("Text"),
                        "double" => Some("Number"),
                        _ => None,
                    };
                    match (kind, rule(source, &reference.shape)?) {
                        (Some(kind), Some(_)) => {
                            let rule = screaming(&reference.shape);
                            format!("Some(ValueRule::{kind}(&{rule}))")
                        }
                        _ => "None".into(),
                    }
                }
            };
            let any = key != "None" || value != "None";
            any.then(|| {
                format!(
                    "Map {{ key: {key}, value: {value}, sensitive: {} }}",
                    shape.sensitive
                )
            })
        }
        _ => None,
    })
}

/// Whether a structure has anything to check, itself or inside.
pub(crate) fn has_checks(source: &Source, plan: &Plan, name: &str) -> Result<bool, Fault> {
    if plan.unchecked.contains(name) {
        return Ok(true);
    }
    for part in source.model.shape(name)?.reached() {
        let structure = source.model.shape(part)?.kind == "structure";
        if rule(source, part)?.is_some() || (structure && has_checks(source, plan, part)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn write(source: &Source, plan: &Plan) -> Result<String, Fault> {
    let mut body = String::new();
    let mut elements = BTreeSet::new();
    for name in &plan.input {
        let shape = source.model.shape(name)?;
        let parts = [&shape.member, &shape.key, &shape.value];
        elements.extend(parts.into_iter().flatten().map(|part| part.shape.as_str()));
    }
    for (name, shape) in source.model.shapes.iter() {
        if !plan.input.contains(name) {
            continue;
        }
        if let Some(rule) = rule(source, name)? {
            let kind = rule.split(' ').next().expect("a rule starts with its type");
            writeln!(body, "static {}: {kind} = {rule};\n", screaming(name))?;
        }
        if shape.kind == "structure" {
            if plan.unchecked.contains(name) {
                unchecked(source, plan, name, shape, &mut body)?;
            }
            if has_checks(source, plan, name)? {
                check(source, plan, name, shape, &mut body)?;
            }
        }
    }
    if body.is_empty() {
        return Ok(body);
    }
    let mut head = String::new();
    let mut constraints = vec!["Violations"];
    for (word, import) in [
        ("BTreeMap<", "use std::collections::BTreeMap;\n\n"),
        ("Bytes", "use bytes::Bytes;\n"),
        ("Deserialize", "use serde::Deserialize;\n\n"),
        ("patterns::", "use super::patterns;\n"),
    ] {
        if body.contains(word) {
            head.push_str(import);
        }
    }
    for word in [
        "List",
        "Map",
        "OneOf",
        "Pattern",
        "Range",
        "Text",
        "ValueRule",
    ] {
        let used = [
            format!("{word} {{"),
            format!("{word}("),
            format!("{word}::"),
        ];
        if used.iter().any(|used| body.contains(used.as_str())) {
            constraints.push(word);
        }
    }
    head.push_str("use super::shapes::*;\n");
    let json = if body.contains("\"json::") {
        ", json"
    } else {
        ""
    };
    writeln!(
        head,
        "use crate::{{constraints::{{{}}}{json}}};\n",
        constraints.join(", ")
    )?;
    Ok(head + &body)
}

fn before_checks<'a>(plan: &'a Plan) -> impl Fn(&str) -> String + 'a {
    |name| match plan.unchecked.contains(name) {
        true => format!("Unchecked{name}"),
        false => name.to_owned(),
    }
}

fn unchecked(
    source: &Source,
    plan: &Plan,
    name: &str,
    shape: &Shape,
    out: &mut String,
) -> Result<(), Fault> {
    let model = &source.model;
    let reads = plan.read.contains(name);
    let deserialize = if reads { ", Deserialize" } else { "" };
    writeln!(
        out,
        "/// [`{name}`] before its required members are known to be there.\n#[derive(Default{deserialize})]\npub(super) struct Unchecked{name} {{"
    )?;
    for (member_name, member) in shape.members.iter() {
        let kind = rust_type(model, &member.shape, &before_checks(plan))?;
        writeln!(out, "/// {}", place(member_name, shape, member))?;
        let in_body = member.location.is_none() && shape.payload.as_deref() != Some(member_name);
        match (reads, in_body) {
            (true, true) => writeln!(
                out,
                "#[serde(rename = {member_name:?}, default, deserialize_with = \"json::{}\")]",
                reader(model, &member.shape)?
            )?,
            (true, false) => writeln!(out, "#[serde(skip)]")?,
            (false, _) => {}
        }
        writeln!(out, "pub(super) {}: Option<{kind}>,", snake(member_name))?;
    }
    writeln!(
        out,
        "}}\n\nimpl Unchecked{name} {{\n/// `None` if a required member is missing.\npub(super) fn accept(self) -> Option<{name}> {{\nSome({name} {{"
    )?;
    for (member_name, member) in shape.members.iter() {
        let field = snake(member_name);
        let target = model.shape(&member.shape)?;
        let element = target
            .member
            .as_ref()
            .filter(|element| plan.unchecked.contains(&element.shape));
        let accepted = if plan.unchecked.contains(&member.shape) && target.kind == "structure" {
            format!(
                "match self.{field} {{\nSome(inner) => Some(inner.accept()?),\nNone => None,\n}}"
            )
        } else if let Some(element) = element {
            format!(
                "match self.{field} {{\nSome(list) => Some(list.into_iter().map(Unchecked{}::accept).collect::<Option<_>>()?),\nNone => None,\n}}",
                element.shape
            )
        } else {
            format!("self.{field}")
        };
        let required = if shape.is_required(member_name) {
            "?"
        } else {
            ""
        };
        writeln!(out, "{field}: {accepted}{required},")?;
    }
    out.push_str("})\n}\n}\n\n");
    Ok(())
}

fn check(
    source: &Source,
    plan: &Plan,
    name: &str,
    shape: &Shape,
    out: &mut String,
) -> Result<(), Fault> {
    let model = &source.model;
    writeln!(
        out,
        "impl {} {{\npub(super) fn check(&self, violations: &mut Violations) {{",
        before_checks(plan)(name)
    )?;
    for (member_name, member) in shape.members.iter() {
        let field = snake(member_name);
        let told = in_texts(member_name);
        let target = model.shape(&member.shape)?;
        let rule_name = screaming(&member.shape);
        let ruled = rule(source, &member.shape)?.is_some();
        let mut checks = Vec::new();
        match target.kind.as_str() {
            "string" if ruled => {
                checks.push(format!("violations.text({told:?}, &{rule_name}, value);"))
            }
            "integer" if ruled => checks.push(format!(
                "violations.number({told:?}, &{rule_name}, f64::from(*value));"
            )),
            "long" if ruled => checks.push(format!(
                "violations.number({told:?}, &{rule_name}, *value as f64);"
            )),
            "double" if ruled => checks.push(format!(
                "violations.number({told:?}, &{rule_name}, *value);"
            )),
            "map" if ruled => {
                checks.push(format!("violations.map({told:?}, &{rule_name}, value);"))
            }
            "list" => {
                let element = &target
                    .member
                    .as_ref()
                    .ok_or("a list without element")?
                    .shape;
                let structures = model.shape(element)?.kind == "structure";
                if ruled {
                    checks.push(match structures {
                        true => format!("violations.count({told:?}, &{rule_name}, value.len());"),
                        false => format!("violations.list({told:?}, &{rule_name}, value);"),
                    });
                }
                if structures && has_checks(source, plan, element)? {
                    checks.push(format!("violations.within_each({told:?}, value, |item, violations| item.check(violations));"));
                }
            }
            "structure" if has_checks(source, plan, &member.shape)? => {
                checks.push(format!(
                    "violations.within({told:?}, |violations| value.check(violations));"
                ));
            }
            _ => {}
        }
        let checks = checks.join("\n");
        match (shape.is_required(member_name), checks.is_empty()) {
            (true, true) => writeln!(
                out,
                "if self.{field}.is_none() {{\nviolations.missing({told:?});\n}}"
            )?,
            (true, false) => writeln!(
                out,
                "match &self.{field} {{\nSome(value) => {{ {checks} }}\nNone => violations.missing({told:?}),\n}}"
            )?,
            (false, false) => writeln!(out, "if let Some(value) = &self.{field} {{\n{checks}\n}}")?,
            (false, true) => {}
        }
    }
    out.push_str("}\n}\n\n");
    Ok(())
}
