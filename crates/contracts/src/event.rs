//! What of an event and its answer is the same in every contract.

use bytes::Bytes;
use freehold_domain::{
    answers::Room,
    body::Body,
    ids::Qualifier,
    ports::{GuestAnswer, GuestCall},
};
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

/// What a guest answered, checked and complete.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) what: What,
    pub(crate) body: Bytes,
    /// What it holds of the server's memory, where it is a large one.
    pub(crate) room: Option<Room>,
}

/// Which of the two an answer is.
#[derive(Debug)]
pub(crate) enum What {
    Response { content_type: Option<String> },
    Error { error_type: Option<String> },
}

impl Answered {
    /// The function's result.
    pub(crate) fn response(content_type: Option<String>, body: Bytes) -> Self {
        Self {
            what: What::Response { content_type },
            body,
            room: None,
        }
    }

    /// The function's error.
    pub(crate) fn error(error_type: Option<String>, body: Bytes) -> Self {
        Self {
            what: What::Error { error_type },
            body,
            room: None,
        }
    }

    /// The function's error when its answer is over the limit; the instance goes on.
    pub(crate) fn too_large(limit_bytes: u64) -> Self {
        let error_type = "Function.ResponseSizeTooLarge";
        let body = serde_json::json!({
            "errorMessage": format!(
                "Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes)."
            ),
            "errorType": error_type,
        });
        Self::error(Some(error_type.to_owned()), body.to_string().into())
    }

    /// With as much of the room that it was read in as it needs.
    pub(crate) fn held_in(mut self, read_in: Option<Room>) -> Self {
        self.room = read_in.and_then(|room| room.kept_by(self.body.len()));
        self
    }
}

impl From<Answered> for GuestAnswer {
    fn from(Answered { what, body, room }: Answered) -> Self {
        match what {
            What::Response { content_type } => Self::Response {
                content_type,
                body: Body::full(body),
                room,
            },
            What::Error { error_type } => Self::Error {
                error_type,
                body,
                room,
            },
        }
    }
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
