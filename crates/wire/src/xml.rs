//! The XML of the query protocol: one wrapper, flat members, a request id.

use quick_xml::escape::escape;

/// `<NAMEResponse><NAMEResult>members</NAMEResult><ResponseMetadata>...`. Members that are absent
/// leave no element.
pub(crate) fn response(
    namespace: &str,
    operation: &str,
    members: &[(&str, Option<&str>)],
    request_id: &str,
) -> String {
    let mut xml = format!("<{operation}Response xmlns=\"{namespace}\">\n  <{operation}Result>\n");
    for (name, value) in members {
        if let Some(value) = value {
            xml.push_str(&format!("    <{name}>{}</{name}>\n", escape(*value)));
        }
    }
    xml.push_str(&format!(
        "  </{operation}Result>\n  <ResponseMetadata>\n    <RequestId>{}</RequestId>\n  </ResponseMetadata>\n</{operation}Response>\n",
        escape(request_id),
    ));
    xml
}

/// The error document of the query protocol.
pub(crate) fn error(
    namespace: &str,
    sender: bool,
    code: &str,
    message: &str,
    request_id: &str,
) -> String {
    format!(
        "<ErrorResponse xmlns=\"{namespace}\">\n  <Error>\n    <Type>{}</Type>\n    <Code>{}</Code>\n    <Message>{}</Message>\n  </Error>\n  <RequestId>{}</RequestId>\n</ErrorResponse>\n",
        if sender { "Sender" } else { "Receiver" },
        escape(code),
        escape(message),
        escape(request_id),
    )
}
