//! Why a request could not be read. One variant per error code that the caller will see.

use crate::{ApiError, Service, common};

/// A request that does not decode. The text is the one the service would answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// The bytes are not a well-formed request: broken JSON, a wrong type, bad base64.
    #[error("{0}")]
    Serialization(String),
    /// Well-formed, but outside the model's constraints.
    #[error("{0}")]
    Validation(String),
    /// Outside a constraint that the service checks itself and reports under its own code.
    #[error("{0}")]
    InvalidParameter(String),
}

impl WireFault {
    /// The answer that `service` gives for this fault.
    pub fn into_error(self, service: Service) -> ApiError {
        match self {
            WireFault::Serialization(text) => common::serialization(text),
            WireFault::Validation(text) => ApiError::new(service.validation_code(), 400, text),
            WireFault::InvalidParameter(text) => match service {
                Service::Lambda => crate::lambda::error::invalid_parameter_value(text),
                Service::Logs => crate::logs::error::invalid_parameter(text),
                Service::Sts => ApiError::new("InvalidParameterValue", 400, text),
            },
        }
    }
}
