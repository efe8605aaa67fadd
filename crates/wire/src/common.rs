//! Errors that every service answers alike: who you are, what you asked, how it was written.
//!
//! Codes are those of the JSON protocols; [`ApiError::encode`] gives the query protocol its own.
//! Texts that the service always answers alike are fixed here, the others are the caller's to give.

use crate::{ApiError, Service};

/// The caller is known and may not. Source: AWS answers this one under `Message`.
pub fn access_denied(message: impl Into<String>) -> ApiError {
    ApiError::new("AccessDeniedException", 403, message).with_message_member("Message")
}

/// The access key or session token is not known.
pub fn unrecognized_client() -> ApiError {
    ApiError::new(
        "UnrecognizedClientException",
        403,
        "The security token included in the request is invalid.",
    )
}

/// The session token is past its time.
pub fn expired_token() -> ApiError {
    ApiError::new(
        "ExpiredTokenException",
        403,
        "The security token included in the request is expired",
    )
}

/// The signature is well formed and wrong; the text may say why (skew, scope).
pub fn invalid_signature(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidSignatureException", 403, message)
}

/// The text for a signature that is simply not the one we calculate.
pub const SIGNATURE_MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

/// The signature lacks a part; the text names it.
pub fn incomplete_signature(message: impl Into<String>) -> ApiError {
    ApiError::new("IncompleteSignatureException", 400, message)
}

/// The request is not signed at all.
pub fn missing_authentication_token() -> ApiError {
    ApiError::new(
        "MissingAuthenticationTokenException",
        403,
        "Missing Authentication Token",
    )
}

/// No operation has this method and path, target or action.
pub fn unknown_operation(message: impl Into<String>) -> ApiError {
    ApiError::new("UnknownOperationException", 404, message)
}

/// The operation exists on AWS and is not served here. Status 501: SDKs do not retry it.
pub fn not_implemented(service: Service, operation: &str) -> ApiError {
    let service = service.name();
    ApiError::new(
        "NotImplementedException",
        501,
        format!(
            "{service}:{operation} is an operation of AWS that this version of Freehold does not serve."
        ),
    )
}

/// The request is not what it must be to be read. Source: Lambda answers this one under `Message`.
pub fn serialization(message: impl Into<String>) -> ApiError {
    ApiError::new("SerializationException", 400, message).with_message_member("Message")
}

/// Too many requests of the control plane. Lambda has an error of its own for this:
/// [`too_many_requests`](crate::lambda::error::too_many_requests), reason `CallerRateLimitExceeded`.
pub fn throttling() -> ApiError {
    ApiError::new("ThrottlingException", 400, "Rate exceeded")
}

/// The body is over the limit, which the text names.
pub fn request_too_large(message: impl Into<String>) -> ApiError {
    ApiError::new("RequestEntityTooLargeException", 413, message)
}

/// Ours to answer for. The text is for the caller; the cause goes to the operator's log.
pub fn internal_failure() -> ApiError {
    ApiError::new(
        "InternalFailure",
        500,
        "The request processing has failed because of an unknown error, exception or failure.",
    )
}

/// Shutting down, or too loaded to take the request.
pub fn service_unavailable(message: impl Into<String>) -> ApiError {
    ApiError::new("ServiceUnavailableException", 503, message)
}

/// The code as the query protocol spells it: a few have an older name, none ends in `Exception`.
pub(crate) fn query_code(code: &str) -> &str {
    match code {
        "InvalidSignatureException" => "SignatureDoesNotMatch",
        "UnrecognizedClientException" => "InvalidClientTokenId",
        "ExpiredTokenException" => "ExpiredToken",
        "UnknownOperationException" => "InvalidAction",
        "SerializationException" => "MalformedInput",
        other => other.strip_suffix("Exception").unwrap_or(other),
    }
}
