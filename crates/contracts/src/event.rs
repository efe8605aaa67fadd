//! What of an event is the same in every contract.

use freehold_domain::{ids::Qualifier, ports::GuestCall};
use std::fmt;

/// The ARN that the function was called by, with its qualifier where the call named one.
pub(crate) struct InvokedArn<'a>(pub(crate) &'a GuestCall);

impl fmt::Display for InvokedArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = &self.0.function;
        write!(
            f,
            "arn:aws:lambda:{}:{}:function:{}",
            function.region, function.tenant, function.name
        )?;
        match &self.0.qualifier {
            None => Ok(()),
            Some(Qualifier::Latest) => f.write_str(":$LATEST"),
            Some(other) => write!(f, ":{other}"),
        }
    }
}

/// A client context as both a header and a bootstrap take it: JSON has control characters between
/// tokens only, where a space says the same.
pub(crate) fn client_context(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    text.iter().map(|b| if *b < 0x20 { b' ' } else { *b })
}

/// The function's error when its answer is over the limit: type and payload.
pub(crate) fn too_large(limit_bytes: u64) -> (&'static str, String) {
    let error_type = "Function.ResponseSizeTooLarge";
    let body = serde_json::json!({
        "errorMessage": format!(
            "Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes)."
        ),
        "errorType": error_type,
    });
    (error_type, body.to_string())
}

/// Bytes over a limit that are read and dropped, so that the guest's instance can go on.
pub(crate) const DISCARD_BYTES_MAX: u64 = 64 << 20;
/// Longest error type or content type that is kept: they end up in logs and answers.
pub(crate) const TEXT_BYTES_MAX: usize = 256;

/// A guest's short text, cut at [`TEXT_BYTES_MAX`]; nothing for none.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let cut = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let text = String::from_utf8_lossy(cut).into_owned();
    Some(text).filter(|text| !text.is_empty())
}
