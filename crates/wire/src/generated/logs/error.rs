//! Amazon CloudWatch Logs: the errors of the model. Written by `cargo xtask codegen`; edits are lost.

use crate::ApiError;

/// `InvalidParameterException`, status 400.
pub fn invalid_parameter(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "InvalidParameterException",
        400,
        "message",
        None,
        message.into(),
    )
}

/// `OperationAbortedException`, status 400.
pub fn operation_aborted(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "OperationAbortedException",
        400,
        "message",
        None,
        message.into(),
    )
}

/// `ResourceNotFoundException`, status 400.
pub fn resource_not_found(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ResourceNotFoundException",
        400,
        "message",
        None,
        message.into(),
    )
}

/// `ServiceUnavailableException`, status 500.
pub fn service_unavailable(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ServiceUnavailableException",
        500,
        "message",
        None,
        message.into(),
    )
}

/// `ValidationException`, status 400.
pub fn validation(message: impl Into<String>) -> ApiError {
    ApiError::modelled("ValidationException", 400, "message", None, message.into())
}
