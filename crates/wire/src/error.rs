//! An error answer, and the three forms in which the protocols write it.
//!
//! Lambda tells `message` from `Message` by the error's shape in the model and adds `Type`; errors
//! that come before an operation (authentication, validation, serialisation) have no `Type`. In the
//! JSON protocol every fault of the caller is a 400 whatever status the shape names; in the query
//! protocol some codes have older names.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::{Protocol, Service, common, sts, xml};

/// An error as a client will see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// What the client's `except` names: `ResourceNotFoundException`.
    pub code: Cow<'static, str>,
    /// The HTTP status in the REST and query protocols.
    pub status: u16,
    /// The text for the caller.
    pub message: String,
    /// The name of the text's member, which differs by shape.
    pub(crate) message_member: &'static str,
    /// `User` or `Service`, where the shape has it.
    pub(crate) fault: Option<&'static str>,
    /// Why a request was throttled.
    pub reason: Option<&'static str>,
    /// Seconds after which to try again.
    pub retry_after_s: Option<u32>,
    /// Whether the answer's text is null, as in a few answers of the service; logs have it.
    is_silent: bool,
}

/// What an error answer says of itself, in the extensions of its response: for whoever has the
/// response alone and must not take a function's word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorTold {
    /// The error's type.
    pub code: Cow<'static, str>,
    /// Its status in the REST protocols.
    pub status: u16,
}

impl ErrorTold {
    /// Whether the caller may not, or could not prove who it is.
    pub fn is_denial(&self) -> bool {
        self.status == 403 || self.code == "IncompleteSignatureException"
    }
}

impl ApiError {
    /// An error without `Type`, its text under `message`.
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        status: u16,
        message: impl Into<String>,
    ) -> Self {
        ApiError {
            code: code.into(),
            status,
            message: message.into(),
            message_member: "message",
            fault: None,
            reason: None,
            retry_after_s: None,
            is_silent: false,
        }
    }

    /// An error of the model: its text under the member that the shape has.
    pub(crate) fn modelled(
        code: &'static str,
        status: u16,
        message_member: &'static str,
        fault: Option<&'static str>,
        message: String,
    ) -> Self {
        ApiError {
            message_member,
            fault,
            ..Self::new(code, status, message)
        }
    }

    pub(crate) fn with_message_member(mut self, member: &'static str) -> Self {
        self.message_member = member;
        self
    }

    /// Adds the `Reason` of a throttled request.
    pub fn with_reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Adds `Retry-After`.
    pub fn with_retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Leaves out `Type`, as a few answers of the service do for shapes that have it.
    pub fn without_type(mut self) -> Self {
        self.fault = None;
        self
    }

    /// Has the answer say nothing but its code, as a few answers of the service do.
    pub fn without_message(mut self) -> Self {
        self.is_silent = true;
        self
    }

    /// The answer in the protocol of `service`.
    pub fn encode(&self, service: Service, request_id: &str) -> Response<Bytes> {
        let (status, kind, body) = match service.protocol() {
            Protocol::RestJson => (self.status, "application/json", self.json(None)),
            Protocol::Json11 => (
                if (400..500).contains(&self.status) && self.status != 413 {
                    400
                } else {
                    self.status
                },
                "application/x-amz-json-1.1",
                self.json(Some(&self.code)),
            ),
            Protocol::Query => {
                let code = common::query_code(&self.code);
                let sender = self.status < 500;
                let body = xml::error(sts::NAMESPACE, sender, code, &self.message, request_id);
                // An action that nobody knows is a bad request here, no missing page.
                let status = if self.status == 404 { 400 } else { self.status };
                (status, "text/xml", body.into_bytes())
            }
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(ErrorTold {
            code: self.code.clone(),
            status: self.status,
        });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert("x-amzn-requestid", header_value(request_id));
        if service.protocol() != Protocol::Query {
            headers.insert("x-amzn-errortype", header_value(&self.code));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn json(&self, code_in_body: Option<&str>) -> Vec<u8> {
        let mut body = serde_json::Map::new();
        if let Some(code) = code_in_body {
            body.insert("__type".into(), json!(code));
        }
        if let Some(reason) = self.reason {
            body.insert("Reason".into(), json!(reason));
        }
        if let Some(fault) = self.fault {
            body.insert("Type".into(), json!(fault));
        }
        let message = (!self.is_silent).then_some(&self.message);
        body.insert(self.message_member.into(), json!(message));
        serde_json::Value::Object(body).to_string().into_bytes()
    }
}

/// A header's value; what no header may carry becomes `?`.
pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| {
        let clean: String = text
            .chars()
            .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
            .collect();
        HeaderValue::from_str(&clean).expect("printable ASCII is a header value")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lambda, logs};

    fn body(error: &ApiError, service: Service) -> (u16, String) {
        let response = error.encode(service, "id-1");
        assert_eq!(response.headers()["x-amzn-requestid"], "id-1");
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), text)
    }

    /// Casing and members as in the recordings of the real service.
    #[test]
    fn lambda_errors_have_the_casing_of_their_shape() {
        let error = lambda::error::resource_not_found("Function not found: x");
        let expected = r#"{"Message":"Function not found: x","Type":"User"}"#;
        assert_eq!(body(&error, Service::Lambda), (404, expected.into()));
        assert_eq!(
            error.encode(Service::Lambda, "i").headers()["x-amzn-errortype"],
            "ResourceNotFoundException"
        );

        let error = lambda::error::too_many_requests("Rate Exceeded.")
            .with_reason("ReservedFunctionConcurrentInvocationLimitExceeded")
            .with_retry_after_s(1);
        let expected = r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#;
        assert_eq!(body(&error, Service::Lambda), (429, expected.into()));
        assert_eq!(
            error.encode(Service::Lambda, "i").headers()["retry-after"],
            "1"
        );

        let error =
            crate::WireFault::Validation("1 validation error".into()).into_error(Service::Lambda);
        assert_eq!(
            body(&error, Service::Lambda),
            (400, r#"{"message":"1 validation error"}"#.into())
        );
        assert_eq!(error.code, "ValidationException");

        let error = lambda::error::service("broken");
        assert_eq!(
            body(&error, Service::Lambda),
            (500, r#"{"Message":"broken","Type":"Service"}"#.into())
        );
    }

    #[test]
    fn the_json_protocol_names_the_code_in_the_body_and_answers_400() {
        let error = logs::error::resource_not_found("The specified log group does not exist.");
        let expected = r#"{"__type":"ResourceNotFoundException","message":"The specified log group does not exist."}"#;
        assert_eq!(body(&error, Service::Logs), (400, expected.into()));
        assert_eq!(body(&common::access_denied("no"), Service::Logs).0, 400);
        assert_eq!(body(&common::access_denied("no"), Service::Lambda).0, 403);
    }

    #[test]
    fn the_query_protocol_has_its_own_codes_and_escapes_text() {
        let (status, text) = body(&common::invalid_signature("a < b"), Service::Sts);
        assert_eq!(status, 403);
        assert!(
            text.contains("<Code>SignatureDoesNotMatch</Code>"),
            "{text}"
        );
        assert!(text.contains("<Message>a &lt; b</Message>"), "{text}");
        assert!(text.contains("<Type>Sender</Type>"), "{text}");
        let (status, text) = body(
            &common::unknown_operation("Could not find operation X"),
            Service::Sts,
        );
        assert_eq!(status, 400);
        assert!(text.contains("<Code>InvalidAction</Code>"), "{text}");
    }

    #[test]
    fn a_header_never_fails_to_be_written() {
        assert_eq!(header_value("a\r\nb: c"), "a??b: c");
    }
}
