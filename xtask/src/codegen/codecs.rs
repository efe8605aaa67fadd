//! One marker type per served operation, with its request read and its answer written.

use std::fmt::Write;

use super::{
    Fault, Source,
    model::{Operation, Shape},
    names::snake,
    shapes::{Plan, rust_type},
};

pub(crate) fn write(source: &Source, plan: &Plan) -> Result<String, Fault> {
    let mut body = String::new();
    for (name, operation) in source.model.operations.iter() {
        call(source, plan, name, operation, &mut body)?;
    }
    let mut head = String::from(
        "use bytes::Bytes;\nuse http::{Response, request::Parts};\n\nuse super::shapes::*;\n",
    );
    if body.contains("Unchecked") {
        head.push_str("use super::rules::*;\n");
    }
    let mut uses = vec!["Call", "Labels", "Service", "WireFault"];
    for (word, import) in [
        ("Violations::", "constraints::Violations"),
        ("json::", "json"),
        ("xml::", "xml"),
        ("header_text(", "locate::header_text"),
        ("Query::", "locate::Query"),
        ("answer(", "locate::answer"),
        ("header_value(", "error::header_value"),
    ] {
        if body.contains(word) {
            uses.push(import);
        }
    }
    writeln!(head, "use crate::{{{}}};\n", uses.join(", "))?;
    Ok(head + &body)
}

fn call(
    source: &Source,
    plan: &Plan,
    name: &str,
    operation: &Operation,
    out: &mut String,
) -> Result<(), Fault> {
    let service = source.service[..1].to_uppercase() + &source.service[1..];
    let request = operation.input.as_ref().map_or("()", |input| &input.shape);
    let response = operation
        .output
        .as_ref()
        .map_or("()", |output| &output.shape);
    writeln!(
        out,
        "/// The operation `{name}`.\n#[derive(Clone, Copy, Debug)]\npub struct {name};\n\nimpl Call for {name} {{"
    )?;
    writeln!(
        out,
        "const NAME: &'static str = {name:?};\nconst SERVICE: Service = Service::{service};\ntype Request = {request};\ntype Response = {response};\n"
    )?;

    let mut reading = String::new();
    if let Some(input) = &operation.input {
        decode(source, plan, name, &input.shape, &mut reading)?;
    } else {
        reading.push_str("Ok(())\n");
    }
    let used = |word: &str, name: &str| {
        if reading.contains(word) {
            name.to_owned()
        } else {
            format!("_{name}")
        }
    };
    let (parts, labels, body) = (
        used("parts.", "parts"),
        used("labels.", "labels"),
        used("body", "body"),
    );
    writeln!(
        out,
        "fn decode({parts}: &Parts, {labels}: Labels, {body}: Bytes) -> Result<{request}, WireFault> {{\n{reading}}}\n"
    )?;

    let mut writing = String::new();
    encode(source, name, operation, &mut writing)?;
    let bound = if writing.contains("response") {
        "response"
    } else {
        "_"
    };
    let bound = match (response, bound) {
        ("()", _) => "()",
        (_, "_") => "_response",
        (_, bound) => bound,
    };
    let mutable = if writing.contains(".take()") {
        "mut "
    } else {
        ""
    };
    writeln!(
        out,
        "fn encode({mutable}{bound}: {response}, request_id: &str) -> Response<Bytes> {{\n{writing}}}\n}}\n"
    )?;
    Ok(())
}

fn decode(
    source: &Source,
    plan: &Plan,
    operation: &str,
    name: &str,
    out: &mut String,
) -> Result<(), Fault> {
    let model = &source.model;
    let shape = model.shape(name)?;
    let unchecked = plan.unchecked.contains(name);
    let kind = if unchecked {
        format!("Unchecked{name}")
    } else {
        name.to_owned()
    };
    if model.metadata.protocol == "query" && !shape.members.is_empty() {
        return Err(format!(
            "{operation}: requests of the query protocol with members are not known here"
        )
        .into());
    }
    let has_body = plan.read.contains(name);
    let located = shape
        .members
        .iter()
        .any(|(name, member)| member.location.is_some() || shape.payload.as_deref() == Some(name));
    if shape
        .members
        .iter()
        .any(|(_, member)| member.location.as_deref() == Some("querystring"))
    {
        out.push_str("let query = Query::read(parts.uri.query())?;\n");
    }
    // Without a body every member has a place of its own, and the structure is made at once.
    match (has_body, located) {
        (true, true) => writeln!(out, "let mut request: {kind} = json::read(&body)?;")?,
        (true, false) => writeln!(out, "let request: {kind} = json::read(&body)?;")?,
        (false, _) => writeln!(out, "let request = {kind} {{")?,
    }
    for (member_name, member) in shape.members.iter() {
        let field = snake(member_name);
        let at = member.location_name.as_deref().unwrap_or(member_name);
        let plain = rust_type(model, &member.shape, &str::to_owned)?;
        let value = match (member.location.as_deref(), plain.as_str()) {
            (Some("uri"), "String") => format!("labels.get({at:?})?"),
            (Some("header"), "String") => {
                let at = at.to_ascii_lowercase();
                format!("header_text(&parts.headers, {at:?})?")
            }
            (Some("querystring"), "String") => format!("query.string({at:?})"),
            (Some("querystring"), "Vec<String>") => format!("query.strings({at:?})"),
            (Some("querystring"), "i32") => format!("query.integer({at:?})?"),
            (Some(place), plain) => {
                return Err(format!(
                    "{name}.{member_name}: a {plain} in the {place} is not known here"
                )
                .into());
            }
            (None, "Bytes") if shape.payload.as_deref() == Some(member_name) => {
                "(!body.is_empty()).then_some(body)".to_owned()
            }
            (None, _) => continue,
        };
        match has_body {
            true => writeln!(out, "request.{field} = {value};")?,
            false => writeln!(out, "{field}: {value},")?,
        }
    }
    if !has_body {
        out.push_str("};\n");
    }
    if super::rules::has_checks(source, plan, name)? {
        out.push_str("let mut violations = Violations::default();\nrequest.check(&mut violations);\nviolations.finish()?;\n");
    }
    if unchecked {
        // `check` has found every required member, so nothing is missing here.
        out.push_str("let request = request.accept().ok_or_else(|| WireFault::Validation(\"a required member is missing\".into()))?;\n");
    }
    if let Some(overlay) = source.overlay.operations.get(operation) {
        for check in &overlay.checks {
            writeln!(out, "crate::{}::{check}(&request)?;", source.service)?;
        }
    }
    out.push_str("Ok(request)\n");
    Ok(())
}

fn encode(
    source: &Source,
    name: &str,
    operation: &Operation,
    out: &mut String,
) -> Result<(), Fault> {
    let model = &source.model;
    let overlaid = source
        .overlay
        .operations
        .get(name)
        .and_then(|overlay| overlay.status);
    let status = overlaid.or(operation.http.response_code).unwrap_or(200);
    let kind = match model.metadata.protocol.as_str() {
        "rest-json" => "application/json",
        "json" => "application/x-amz-json-1.1",
        "query" => "text/xml",
        other => return Err(format!("the protocol {other} is not known here").into()),
    };
    let nothing = Shape::nothing();
    let shape = match &operation.output {
        Some(output) => model.shape(&output.shape)?,
        None => &nothing,
    };
    if model.metadata.protocol == "query" {
        let wrapper = operation
            .output
            .as_ref()
            .and_then(|output| output.result_wrapper.as_deref());
        if wrapper != Some(&format!("{name}Result")) {
            return Err(format!("{name}: the wrapper {wrapper:?} is not known here").into());
        }
        writeln!(out, "let members = [")?;
        for (member_name, member) in shape.members.iter() {
            if model.shape(&member.shape)?.kind != "string" {
                return Err(format!("{name}: only strings are known in XML answers").into());
            }
            writeln!(
                out,
                "({member_name:?}, response.{}.as_deref()),",
                snake(member_name)
            )?;
        }
        writeln!(
            out,
            "];\nlet body = xml::response(crate::sts::NAMESPACE, {name:?}, &members, request_id);\nanswer({status}, {kind:?}, body.into(), request_id)"
        )?;
        return Ok(());
    }
    let status_member = shape
        .members
        .iter()
        .find(|(_, member)| member.location.as_deref() == Some("statusCode"));
    let status = match status_member {
        Some((member, _)) => format!("response.{}.unwrap_or({status})", snake(member)),
        None => status.to_string(),
    };
    let headers: Vec<_> = shape
        .members
        .iter()
        .filter(|(_, member)| member.location.as_deref() == Some("header"))
        .collect();
    if let Some(payload) = &shape.payload {
        writeln!(
            out,
            "let body = response.{}.take().unwrap_or_default();",
            snake(payload)
        )?;
    } else if shape.body().next().is_some() {
        writeln!(out, "let body = json::write(&response);")?;
    } else {
        writeln!(out, "let body = Bytes::new();")?;
    }
    if headers.is_empty() {
        writeln!(out, "answer({status}, {kind:?}, body, request_id)")?;
        return Ok(());
    }
    writeln!(
        out,
        "let mut answer = answer({status}, {kind:?}, body, request_id);"
    )?;
    for (member_name, member) in headers {
        if model.shape(&member.shape)?.kind != "string" {
            return Err(format!("{name}.{member_name}: only strings are known in headers").into());
        }
        let at = member
            .location_name
            .as_deref()
            .unwrap_or(member_name)
            .to_ascii_lowercase();
        writeln!(
            out,
            "if let Some(text) = &response.{} {{\nanswer.headers_mut().insert({at:?}, header_value(text));\n}}",
            snake(member_name)
        )?;
    }
    out.push_str("answer\n");
    Ok(())
}
