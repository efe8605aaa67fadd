//! AWS Security Token Service: generated operations and shapes; operations by form parameter.

use http::request::Parts;

pub use crate::generated::sts::*;
use crate::locate::Query;

/// The XML namespace of answers and errors.
pub const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

impl Operation {
    /// The operation that the form body, or for presigned requests the query, names as `Action`.
    pub fn route(parts: &Parts, body: &[u8]) -> Option<Operation> {
        Operation::from_name(&action(parts, body)?)
    }
}

/// The `Action` that was asked, known or not, for the text of an error.
pub fn action(parts: &Parts, body: &[u8]) -> Option<String> {
    let in_body = Query::read_bytes(body)
        .ok()
        .and_then(|form| form.string("Action"));
    in_body.or_else(|| Query::read(parts.uri.query()).ok()?.string("Action"))
}
