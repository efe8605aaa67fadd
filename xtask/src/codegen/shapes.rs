//! The structures that are asked and answered, and the plan of which shape needs what.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    Fault, Source,
    model::{Model, Reference, Shape},
    names::snake,
};

/// Which shapes requests and answers reach, and which structures need a form before checks.
pub(crate) struct Plan {
    pub(crate) input: BTreeSet<String>,
    pub(crate) output: BTreeSet<String>,
    /// Structures with required members, or that hold one: read into an `Unchecked` form first.
    pub(crate) unchecked: BTreeSet<String>,
    /// Structures that are read from JSON.
    pub(crate) read: BTreeSet<String>,
}

impl Plan {
    pub(crate) fn of(source: &Source) -> Result<Self, Fault> {
        let model = &source.model;
        let ends = |pick: fn(&super::model::Operation) -> &Option<Reference>| {
            let names = model
                .operations
                .iter()
                .filter_map(move |(_, operation)| pick(operation).as_ref());
            names
                .map(|reference| reference.shape.clone())
                .collect::<Vec<_>>()
        };
        let requests = ends(|operation| &operation.input);
        let input = reach(model, requests.clone())?;
        let output = reach(model, ends(|operation| &operation.output))?;
        let mut unchecked = BTreeSet::new();
        loop {
            let before = unchecked.len();
            for name in &input {
                let shape = model.shape(name)?;
                let holds = shape.reached().any(|part| unchecked.contains(part));
                if !shape.required.is_empty() || holds {
                    unchecked.insert(name.clone());
                }
            }
            if unchecked.len() == before {
                break;
            }
        }
        let mut read = BTreeSet::new();
        for name in &input {
            let shape = model.shape(name)?;
            if shape.kind == "structure"
                && (!requests.contains(name) || shape.body().next().is_some())
            {
                read.insert(name.clone());
            }
        }
        Ok(Plan {
            input,
            output,
            unchecked,
            read,
        })
    }
}

fn reach(model: &Model, mut open: Vec<String>) -> Result<BTreeSet<String>, Fault> {
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        if reached.insert(name.clone()) {
            open.extend(model.shape(&name)?.reached().map(str::to_owned));
        }
    }
    Ok(reached)
}

/// The Rust type of a shape. `structure` names structures, which differ before and after checks.
pub(crate) fn rust_type(
    model: &Model,
    name: &str,
    structure: &dyn Fn(&str) -> String,
) -> Result<String, Fault> {
    let shape = model.shape(name)?;
    let part = |reference: &Option<Reference>| -> Result<String, Fault> {
        let reference = reference
            .as_ref()
            .ok_or_else(|| format!("{name} names no element"))?;
        rust_type(model, &reference.shape, structure)
    };
    Ok(match shape.kind.as_str() {
        "string" => "String".into(),
        "integer" => "i32".into(),
        "long" => "i64".into(),
        "boolean" => "bool".into(),
        "double" => "f64".into(),
        "blob" => "Bytes".into(),
        "list" => format!("Vec<{}>", part(&shape.member)?),
        "map" => match (part(&shape.key)?.as_str(), part(&shape.value)?.as_str()) {
            ("String", value @ ("String" | "f64")) => format!("BTreeMap<String, {value}>"),
            _ => {
                return Err(
                    format!("{name}: only maps of strings and fractions are known here").into(),
                );
            }
        },
        "structure" => structure(name),
        other => return Err(format!("{name}: the type {other} is not known here").into()),
    })
}

/// The function of `wire::json` that reads a member.
pub(crate) fn reader(model: &Model, name: &str) -> Result<&'static str, Fault> {
    let shape = model.shape(name)?;
    Ok(match shape.kind.as_str() {
        "structure" => "object",
        "map" => "map",
        "list" => {
            let element = shape
                .member
                .as_ref()
                .ok_or_else(|| format!("{name} names no element"))?;
            match model.shape(&element.shape)?.kind.as_str() {
                "structure" => "objects",
                "list" | "map" => {
                    return Err(format!("{name}: lists of lists are not known here").into());
                }
                _ => "list",
            }
        }
        _ => "scalar",
    })
}

/// Whether a value of the shape must not be printed.
fn is_secret(model: &Model, name: &str) -> Result<bool, Fault> {
    let shape = model.shape(name)?;
    let parts = [&shape.member, &shape.key, &shape.value];
    let mut secret = shape.sensitive;
    for part in parts.into_iter().flatten() {
        secret |= model.shape(&part.shape)?.sensitive;
    }
    Ok(secret)
}

/// Where a member travels, for the reader of the generated structure.
pub(crate) fn place(name: &str, shape: &Shape, member: &Reference) -> String {
    let at = member.location_name.as_deref().unwrap_or(name);
    match member.location.as_deref() {
        Some("uri") => format!("`{name}`, a label of the path."),
        Some("querystring") => format!("`{name}`, the query's `{at}`."),
        Some("header") => format!("`{name}`, the header `{at}`."),
        Some("statusCode") => format!("`{name}`, the HTTP status."),
        _ if shape.payload.as_deref() == Some(name) => format!("`{name}`, the body itself."),
        _ => format!("`{name}`."),
    }
}

pub(crate) fn write(source: &Source, plan: &Plan) -> Result<String, Fault> {
    let mut body = String::new();
    for (name, shape) in source.model.shapes.iter() {
        let reached = plan.input.contains(name) || plan.output.contains(name);
        if shape.kind == "structure" && reached {
            structure(source, plan, name, shape, &mut body)?;
        }
    }
    let mut head = String::new();
    for (word, import) in [
        ("BTreeMap<", "use std::collections::BTreeMap;\n\n"),
        ("Bytes>", "use bytes::Bytes;\n"),
    ] {
        if body.contains(word) {
            head.push_str(import);
        }
    }
    let derives: Vec<&str> = ["Deserialize", "Serialize"]
        .into_iter()
        .filter(|word| body.contains(word))
        .collect();
    if !derives.is_empty() {
        writeln!(head, "use serde::{{{}}};\n", derives.join(", "))?;
    }
    if body.contains("\"json::") {
        head.push_str("use crate::json;\n\n");
    }
    Ok(head + &body)
}

fn structure(
    source: &Source,
    plan: &Plan,
    name: &str,
    shape: &Shape,
    out: &mut String,
) -> Result<(), Fault> {
    let model = &source.model;
    let writes = plan.output.contains(name) && source.model.metadata.protocol != "query";
    let reads = plan.read.contains(name) && !plan.unchecked.contains(name);
    let mut secrets = false;
    for (_, member) in shape.members.iter() {
        secrets |= is_secret(model, &member.shape)?;
    }
    let debug = if secrets { "" } else { "Debug, " };
    let serialize = if writes { ", Serialize" } else { "" };
    let deserialize = if reads { ", Deserialize" } else { "" };
    let asked = if plan.input.contains(name) {
        "asked"
    } else {
        "answered"
    };
    writeln!(
        out,
        "/// `{name}` of the service model, {asked}.\n#[derive(Clone, {debug}Default, PartialEq{serialize}{deserialize})]\npub struct {name} {{"
    )?;
    for (member_name, member) in shape.members.iter() {
        let required = shape.is_required(member_name);
        let field = snake(member_name);
        let plain = rust_type(model, &member.shape, &str::to_owned)?;
        writeln!(out, "/// {}", place(member_name, shape, member))?;
        if writes || reads {
            let in_body =
                member.location.is_none() && shape.payload.as_deref() != Some(member_name);
            let mut traits = Vec::new();
            if !in_body {
                traits.push("skip".to_owned());
            } else {
                traits.push(format!("rename = {member_name:?}"));
                if reads {
                    let reader = reader(model, &member.shape)?;
                    traits.push(format!("default, deserialize_with = \"json::{reader}\""));
                }
                if writes && !required {
                    traits.push("skip_serializing_if = \"Option::is_none\"".into());
                }
                if writes && plain == "Bytes" {
                    return Err(format!(
                        "{name}.{member_name}: blobs in JSON answers are not known here"
                    )
                    .into());
                }
            }
            writeln!(out, "#[serde({})]", traits.join(", "))?;
        }
        match required {
            true => writeln!(out, "pub {field}: {plain},")?,
            false => writeln!(out, "pub {field}: Option<{plain}>,")?,
        }
    }
    out.push_str("}\n\n");
    if secrets {
        writeln!(
            out,
            "/// Without the values that must not be printed.\nimpl std::fmt::Debug for {name} {{\nfn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{\nf.debug_struct({name:?})"
        )?;
        for (member_name, member) in shape.members.iter() {
            let field = snake(member_name);
            if !is_secret(model, &member.shape)? {
                writeln!(out, ".field({field:?}, &self.{field})")?;
            }
        }
        out.push_str(".finish_non_exhaustive()\n}\n}\n\n");
    }
    Ok(())
}
