//! One constructor per modelled error.

use std::fmt::Write;

use super::{Fault, Source, names::snake};

pub(crate) fn write(source: &Source) -> Result<String, Fault> {
    let mut out = String::new();
    for (name, shape) in source.model.shapes.iter() {
        if !shape.exception {
            continue;
        }
        let traits = shape.error.as_ref();
        let status = traits.and_then(|traits| traits.http_status_code);
        let status = status.unwrap_or(if shape.fault { 500 } else { 400 });
        let sender = traits.is_some_and(|traits| traits.sender_fault);
        let member = if shape.members.get("Message").is_some() {
            "Message"
        } else {
            "message"
        };
        let fault = match (shape.members.get("Type"), sender) {
            (None, _) => "None",
            (Some(_), true) => "Some(\"User\")",
            (Some(_), false) => "Some(\"Service\")",
        };
        let constructor = snake(name.strip_suffix("Exception").unwrap_or(name));
        writeln!(
            out,
            "/// `{name}`, status {status}.\npub fn {constructor}(message: impl Into<String>) -> ApiError {{\nApiError::modelled({name:?}, {status}, {member:?}, {fault}, message.into())\n}}\n"
        )?;
    }
    match out.is_empty() {
        true => Ok(out),
        false => Ok(format!("use crate::ApiError;\n\n{out}")),
    }
}
