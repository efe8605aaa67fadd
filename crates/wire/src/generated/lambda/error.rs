//! AWS Lambda: the errors of the model. Written by `cargo xtask codegen`; edits are lost.

use crate::ApiError;

/// `AliasLimitExceededException`, status 400.
pub fn alias_limit_exceeded(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "AliasLimitExceededException",
        400,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `CodeArtifactUserDeletedException`, status 409.
pub fn code_artifact_user_deleted(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "CodeArtifactUserDeletedException",
        409,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `CodeArtifactUserFailedException`, status 409.
pub fn code_artifact_user_failed(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "CodeArtifactUserFailedException",
        409,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `CodeArtifactUserPendingException`, status 409.
pub fn code_artifact_user_pending(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "CodeArtifactUserPendingException",
        409,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `CodeSigningConfigNotFoundException`, status 404.
pub fn code_signing_config_not_found(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "CodeSigningConfigNotFoundException",
        404,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `CodeStorageExceededException`, status 400.
pub fn code_storage_exceeded(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "CodeStorageExceededException",
        400,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `CodeVerificationFailedException`, status 400.
pub fn code_verification_failed(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "CodeVerificationFailedException",
        400,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `DurableExecutionAlreadyStartedException`, status 409.
pub fn durable_execution_already_started(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "DurableExecutionAlreadyStartedException",
        409,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `EC2AccessDeniedException`, status 502.
pub fn ec2_access_denied(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "EC2AccessDeniedException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `EC2ThrottledException`, status 502.
pub fn ec2_throttled(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "EC2ThrottledException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `EC2UnexpectedException`, status 502.
pub fn ec2_unexpected(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "EC2UnexpectedException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `EFSIOException`, status 410.
pub fn efsio(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "EFSIOException",
        410,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `EFSMountConnectivityException`, status 408.
pub fn efs_mount_connectivity(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "EFSMountConnectivityException",
        408,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `EFSMountFailureException`, status 403.
pub fn efs_mount_failure(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "EFSMountFailureException",
        403,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `EFSMountTimeoutException`, status 408.
pub fn efs_mount_timeout(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "EFSMountTimeoutException",
        408,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `ENILimitReachedException`, status 502.
pub fn eni_limit_reached(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ENILimitReachedException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `ENINotReadyException`, status 502.
pub fn eni_not_ready(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ENINotReadyException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `FunctionVersionsPerCapacityProviderLimitExceededException`, status 400.
pub fn function_versions_per_capacity_provider_limit_exceeded(
    message: impl Into<String>,
) -> ApiError {
    ApiError::modelled(
        "FunctionVersionsPerCapacityProviderLimitExceededException",
        400,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `InvalidCodeSignatureException`, status 400.
pub fn invalid_code_signature(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "InvalidCodeSignatureException",
        400,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `InvalidParameterValueException`, status 400.
pub fn invalid_parameter_value(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "InvalidParameterValueException",
        400,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `InvalidRequestContentException`, status 400.
pub fn invalid_request_content(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "InvalidRequestContentException",
        400,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `InvalidRuntimeException`, status 502.
pub fn invalid_runtime(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "InvalidRuntimeException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `InvalidSecurityGroupIDException`, status 502.
pub fn invalid_security_group_id(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "InvalidSecurityGroupIDException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `InvalidSubnetIDException`, status 502.
pub fn invalid_subnet_id(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "InvalidSubnetIDException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `InvalidZipFileException`, status 502.
pub fn invalid_zip_file(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "InvalidZipFileException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `KMSAccessDeniedException`, status 502.
pub fn kms_access_denied(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "KMSAccessDeniedException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `KMSDisabledException`, status 502.
pub fn kms_disabled(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "KMSDisabledException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `KMSInvalidStateException`, status 502.
pub fn kms_invalid_state(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "KMSInvalidStateException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `KMSNotFoundException`, status 502.
pub fn kms_not_found(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "KMSNotFoundException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `ModeNotSupportedException`, status 400.
pub fn mode_not_supported(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ModeNotSupportedException",
        400,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `NoPublishedVersionException`, status 400.
pub fn no_published_version(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "NoPublishedVersionException",
        400,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `PolicyLengthExceededException`, status 400.
pub fn policy_length_exceeded(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "PolicyLengthExceededException",
        400,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `PreconditionFailedException`, status 412.
pub fn precondition_failed(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "PreconditionFailedException",
        412,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `PublicPolicyException`, status 400.
pub fn public_policy(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "PublicPolicyException",
        400,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `RecursiveInvocationException`, status 400.
pub fn recursive_invocation(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "RecursiveInvocationException",
        400,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `RequestTooLargeException`, status 413.
pub fn request_too_large(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "RequestTooLargeException",
        413,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `ResourceConflictException`, status 409.
pub fn resource_conflict(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ResourceConflictException",
        409,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `ResourceNotFoundException`, status 404.
pub fn resource_not_found(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ResourceNotFoundException",
        404,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `ResourceNotReadyException`, status 502.
pub fn resource_not_ready(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ResourceNotReadyException",
        502,
        "message",
        Some("Service"),
        message.into(),
    )
}

/// `RuntimeAliasDeletedException`, status 409.
pub fn runtime_alias_deleted(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "RuntimeAliasDeletedException",
        409,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `RuntimeVersionDeletedException`, status 409.
pub fn runtime_version_deleted(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "RuntimeVersionDeletedException",
        409,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `S3FilesMountConnectivityException`, status 408.
pub fn s3_files_mount_connectivity(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "S3FilesMountConnectivityException",
        408,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `S3FilesMountFailureException`, status 403.
pub fn s3_files_mount_failure(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "S3FilesMountFailureException",
        403,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `S3FilesMountTimeoutException`, status 408.
pub fn s3_files_mount_timeout(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "S3FilesMountTimeoutException",
        408,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `SerializedRequestEntityTooLargeException`, status 413.
pub fn serialized_request_entity_too_large(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "SerializedRequestEntityTooLargeException",
        413,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `ServiceException`, status 500.
pub fn service(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ServiceException",
        500,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `ServiceQuotaExceededException`, status 402.
pub fn service_quota_exceeded(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "ServiceQuotaExceededException",
        402,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `SnapStartException`, status 400.
pub fn snap_start(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "SnapStartException",
        400,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `SnapStartNotReadyException`, status 409.
pub fn snap_start_not_ready(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "SnapStartNotReadyException",
        409,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `SnapStartRegenerationFailureException`, status 409.
pub fn snap_start_regeneration_failure(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "SnapStartRegenerationFailureException",
        409,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `SnapStartTimeoutException`, status 408.
pub fn snap_start_timeout(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "SnapStartTimeoutException",
        408,
        "Message",
        Some("User"),
        message.into(),
    )
}

/// `SubnetIPAddressLimitReachedException`, status 502.
pub fn subnet_ip_address_limit_reached(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "SubnetIPAddressLimitReachedException",
        502,
        "Message",
        Some("Service"),
        message.into(),
    )
}

/// `TooManyRequestsException`, status 429.
pub fn too_many_requests(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "TooManyRequestsException",
        429,
        "message",
        Some("User"),
        message.into(),
    )
}

/// `UnsupportedMediaTypeException`, status 415.
pub fn unsupported_media_type(message: impl Into<String>) -> ApiError {
    ApiError::modelled(
        "UnsupportedMediaTypeException",
        415,
        "message",
        Some("User"),
        message.into(),
    )
}
