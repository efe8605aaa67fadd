//! AWS Lambda: the values that are asked and answered. Written by `cargo xtask codegen`; edits are lost.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::json;

/// `AcceleratorConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AcceleratorConfig {
    /// `AcceleratorMemorySize`.
    #[serde(rename = "AcceleratorMemorySize")]
    pub accelerator_memory_size: i32,
}

/// `AccountLimit` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AccountLimit {
    /// `TotalCodeSize`.
    #[serde(rename = "TotalCodeSize", skip_serializing_if = "Option::is_none")]
    pub total_code_size: Option<i64>,
    /// `CodeSizeUnzipped`.
    #[serde(rename = "CodeSizeUnzipped", skip_serializing_if = "Option::is_none")]
    pub code_size_unzipped: Option<i64>,
    /// `CodeSizeZipped`.
    #[serde(rename = "CodeSizeZipped", skip_serializing_if = "Option::is_none")]
    pub code_size_zipped: Option<i64>,
    /// `ConcurrentExecutions`.
    #[serde(
        rename = "ConcurrentExecutions",
        skip_serializing_if = "Option::is_none"
    )]
    pub concurrent_executions: Option<i32>,
    /// `UnreservedConcurrentExecutions`.
    #[serde(
        rename = "UnreservedConcurrentExecutions",
        skip_serializing_if = "Option::is_none"
    )]
    pub unreserved_concurrent_executions: Option<i32>,
}

/// `AccountUsage` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AccountUsage {
    /// `TotalCodeSize`.
    #[serde(rename = "TotalCodeSize", skip_serializing_if = "Option::is_none")]
    pub total_code_size: Option<i64>,
    /// `FunctionCount`.
    #[serde(rename = "FunctionCount", skip_serializing_if = "Option::is_none")]
    pub function_count: Option<i64>,
}

/// `AddPermissionRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AddPermissionRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `StatementId`.
    pub statement_id: String,
    /// `Action`.
    pub action: String,
    /// `Principal`.
    pub principal: String,
    /// `SourceArn`.
    pub source_arn: Option<String>,
    /// `FunctionUrlAuthType`.
    pub function_url_auth_type: Option<String>,
    /// `InvokedViaFunctionUrl`.
    pub invoked_via_function_url: Option<bool>,
    /// `SourceAccount`.
    pub source_account: Option<String>,
    /// `EventSourceToken`.
    pub event_source_token: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
    /// `RevisionId`.
    pub revision_id: Option<String>,
    /// `PrincipalOrgID`.
    pub principal_org_id: Option<String>,
}

/// `AddPermissionResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AddPermissionResponse {
    /// `Statement`.
    #[serde(rename = "Statement", skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// `AliasConfiguration` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AliasConfiguration {
    /// `AliasArn`.
    #[serde(rename = "AliasArn", skip_serializing_if = "Option::is_none")]
    pub alias_arn: Option<String>,
    /// `Name`.
    #[serde(rename = "Name", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `FunctionVersion`.
    #[serde(rename = "FunctionVersion", skip_serializing_if = "Option::is_none")]
    pub function_version: Option<String>,
    /// `Description`.
    #[serde(rename = "Description", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `RoutingConfig`.
    #[serde(rename = "RoutingConfig", skip_serializing_if = "Option::is_none")]
    pub routing_config: Option<AliasRoutingConfiguration>,
    /// `RevisionId`.
    #[serde(rename = "RevisionId", skip_serializing_if = "Option::is_none")]
    pub revision_id: Option<String>,
}

/// `AliasRoutingConfiguration` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AliasRoutingConfiguration {
    /// `AdditionalVersionWeights`.
    #[serde(
        rename = "AdditionalVersionWeights",
        default,
        deserialize_with = "json::map",
        skip_serializing_if = "Option::is_none"
    )]
    pub additional_version_weights: Option<BTreeMap<String, f64>>,
}

/// `CapacityProviderConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CapacityProviderConfig {
    /// `LambdaManagedInstancesCapacityProviderConfig`.
    #[serde(rename = "LambdaManagedInstancesCapacityProviderConfig")]
    pub lambda_managed_instances_capacity_provider_config:
        LambdaManagedInstancesCapacityProviderConfig,
}

/// `Concurrency` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Concurrency {
    /// `ReservedConcurrentExecutions`.
    #[serde(
        rename = "ReservedConcurrentExecutions",
        skip_serializing_if = "Option::is_none"
    )]
    pub reserved_concurrent_executions: Option<i32>,
}

/// `Cors` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cors {
    /// `AllowCredentials`.
    #[serde(
        rename = "AllowCredentials",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub allow_credentials: Option<bool>,
    /// `AllowHeaders`.
    #[serde(
        rename = "AllowHeaders",
        default,
        deserialize_with = "json::list",
        skip_serializing_if = "Option::is_none"
    )]
    pub allow_headers: Option<Vec<String>>,
    /// `AllowMethods`.
    #[serde(
        rename = "AllowMethods",
        default,
        deserialize_with = "json::list",
        skip_serializing_if = "Option::is_none"
    )]
    pub allow_methods: Option<Vec<String>>,
    /// `AllowOrigins`.
    #[serde(
        rename = "AllowOrigins",
        default,
        deserialize_with = "json::list",
        skip_serializing_if = "Option::is_none"
    )]
    pub allow_origins: Option<Vec<String>>,
    /// `ExposeHeaders`.
    #[serde(
        rename = "ExposeHeaders",
        default,
        deserialize_with = "json::list",
        skip_serializing_if = "Option::is_none"
    )]
    pub expose_headers: Option<Vec<String>>,
    /// `MaxAge`.
    #[serde(
        rename = "MaxAge",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_age: Option<i32>,
}

/// `CreateAliasRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateAliasRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Name`.
    pub name: String,
    /// `FunctionVersion`.
    pub function_version: String,
    /// `Description`.
    pub description: Option<String>,
    /// `RoutingConfig`.
    pub routing_config: Option<AliasRoutingConfiguration>,
}

/// `CreateFunctionRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateFunctionRequest {
    /// `FunctionName`.
    pub function_name: String,
    /// `Runtime`.
    pub runtime: Option<String>,
    /// `Role`.
    pub role: String,
    /// `Handler`.
    pub handler: Option<String>,
    /// `Code`.
    pub code: FunctionCode,
    /// `Description`.
    pub description: Option<String>,
    /// `Timeout`.
    pub timeout: Option<i32>,
    /// `MemorySize`.
    pub memory_size: Option<i32>,
    /// `Publish`.
    pub publish: Option<bool>,
    /// `PublishTo`.
    pub publish_to: Option<String>,
    /// `VpcConfig`.
    pub vpc_config: Option<VpcConfig>,
    /// `PackageType`.
    pub package_type: Option<String>,
    /// `DeadLetterConfig`.
    pub dead_letter_config: Option<DeadLetterConfig>,
    /// `Environment`.
    pub environment: Option<Environment>,
    /// `KMSKeyArn`.
    pub kms_key_arn: Option<String>,
    /// `TracingConfig`.
    pub tracing_config: Option<TracingConfig>,
    /// `Tags`.
    pub tags: Option<BTreeMap<String, String>>,
    /// `Layers`.
    pub layers: Option<Vec<String>>,
    /// `FileSystemConfigs`.
    pub file_system_configs: Option<Vec<FileSystemConfig>>,
    /// `CodeSigningConfigArn`.
    pub code_signing_config_arn: Option<String>,
    /// `ImageConfig`.
    pub image_config: Option<ImageConfig>,
    /// `Architectures`.
    pub architectures: Option<Vec<String>>,
    /// `EphemeralStorage`.
    pub ephemeral_storage: Option<EphemeralStorage>,
    /// `SnapStart`.
    pub snap_start: Option<SnapStart>,
    /// `LoggingConfig`.
    pub logging_config: Option<LoggingConfig>,
    /// `TenancyConfig`.
    pub tenancy_config: Option<TenancyConfig>,
    /// `CapacityProviderConfig`.
    pub capacity_provider_config: Option<CapacityProviderConfig>,
    /// `DurableConfig`.
    pub durable_config: Option<DurableConfig>,
    /// `RuntimeConfig`.
    pub runtime_config: Option<FunctionRuntimeConfig>,
    /// `AcceleratorConfig`.
    pub accelerator_config: Option<AcceleratorConfig>,
}

/// `CreateFunctionUrlConfigRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateFunctionUrlConfigRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
    /// `AuthType`.
    pub auth_type: String,
    /// `Cors`.
    pub cors: Option<Cors>,
    /// `InvokeMode`.
    pub invoke_mode: Option<String>,
}

/// `CreateFunctionUrlConfigResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CreateFunctionUrlConfigResponse {
    /// `FunctionUrl`.
    #[serde(rename = "FunctionUrl")]
    pub function_url: String,
    /// `FunctionArn`.
    #[serde(rename = "FunctionArn")]
    pub function_arn: String,
    /// `AuthType`.
    #[serde(rename = "AuthType")]
    pub auth_type: String,
    /// `Cors`.
    #[serde(rename = "Cors", skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// `CreationTime`.
    #[serde(rename = "CreationTime")]
    pub creation_time: String,
    /// `InvokeMode`.
    #[serde(rename = "InvokeMode", skip_serializing_if = "Option::is_none")]
    pub invoke_mode: Option<String>,
}

/// `DeadLetterConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeadLetterConfig {
    /// `TargetArn`.
    #[serde(
        rename = "TargetArn",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub target_arn: Option<String>,
}

/// `DeleteAliasRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteAliasRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Name`, a label of the path.
    pub name: String,
}

/// `DeleteFunctionConcurrencyRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteFunctionConcurrencyRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
}

/// `DeleteFunctionRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteFunctionRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
}

/// `DeleteFunctionResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeleteFunctionResponse {
    /// `StatusCode`, the HTTP status.
    #[serde(skip)]
    pub status_code: Option<i32>,
}

/// `DeleteFunctionUrlConfigRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteFunctionUrlConfigRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
}

/// `DurableConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurableConfig {
    /// `KMSKeyArn`.
    #[serde(
        rename = "KMSKeyArn",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub kms_key_arn: Option<String>,
    /// `RetentionPeriodInDays`.
    #[serde(
        rename = "RetentionPeriodInDays",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub retention_period_in_days: Option<i32>,
    /// `ExecutionTimeout`.
    #[serde(
        rename = "ExecutionTimeout",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub execution_timeout: Option<i32>,
}

/// `Environment` of the service model, asked.
#[derive(Clone, Default, PartialEq, Deserialize)]
pub struct Environment {
    /// `Variables`.
    #[serde(rename = "Variables", default, deserialize_with = "json::map")]
    pub variables: Option<BTreeMap<String, String>>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// `EnvironmentError` of the service model, answered.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct EnvironmentError {
    /// `ErrorCode`.
    #[serde(rename = "ErrorCode", skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// `Message`.
    #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for EnvironmentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvironmentError")
            .field("error_code", &self.error_code)
            .finish_non_exhaustive()
    }
}

/// `EnvironmentResponse` of the service model, answered.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct EnvironmentResponse {
    /// `Variables`.
    #[serde(rename = "Variables", skip_serializing_if = "Option::is_none")]
    pub variables: Option<BTreeMap<String, String>>,
    /// `Error`.
    #[serde(rename = "Error", skip_serializing_if = "Option::is_none")]
    pub error: Option<EnvironmentError>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for EnvironmentResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvironmentResponse")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// `EphemeralStorage` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EphemeralStorage {
    /// `Size`.
    #[serde(rename = "Size")]
    pub size: i32,
}

/// `FileSystemConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileSystemConfig {
    /// `Arn`.
    #[serde(rename = "Arn")]
    pub arn: String,
    /// `LocalMountPath`.
    #[serde(rename = "LocalMountPath")]
    pub local_mount_path: String,
    /// `S3FilesConfig`.
    #[serde(rename = "S3FilesConfig", skip_serializing_if = "Option::is_none")]
    pub s3_files_config: Option<S3FilesConfig>,
}

/// `FunctionCode` of the service model, asked.
#[derive(Clone, Default, PartialEq, Deserialize)]
pub struct FunctionCode {
    /// `ZipFile`.
    #[serde(rename = "ZipFile", default, deserialize_with = "json::scalar")]
    pub zip_file: Option<Bytes>,
    /// `S3Bucket`.
    #[serde(rename = "S3Bucket", default, deserialize_with = "json::scalar")]
    pub s3_bucket: Option<String>,
    /// `S3Key`.
    #[serde(rename = "S3Key", default, deserialize_with = "json::scalar")]
    pub s3_key: Option<String>,
    /// `S3ObjectVersion`.
    #[serde(rename = "S3ObjectVersion", default, deserialize_with = "json::scalar")]
    pub s3_object_version: Option<String>,
    /// `S3ObjectStorageMode`.
    #[serde(
        rename = "S3ObjectStorageMode",
        default,
        deserialize_with = "json::scalar"
    )]
    pub s3_object_storage_mode: Option<String>,
    /// `ImageUri`.
    #[serde(rename = "ImageUri", default, deserialize_with = "json::scalar")]
    pub image_uri: Option<String>,
    /// `SourceKMSKeyArn`.
    #[serde(rename = "SourceKMSKeyArn", default, deserialize_with = "json::scalar")]
    pub source_kms_key_arn: Option<String>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for FunctionCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionCode")
            .field("s3_bucket", &self.s3_bucket)
            .field("s3_key", &self.s3_key)
            .field("s3_object_version", &self.s3_object_version)
            .field("s3_object_storage_mode", &self.s3_object_storage_mode)
            .field("image_uri", &self.image_uri)
            .field("source_kms_key_arn", &self.source_kms_key_arn)
            .finish_non_exhaustive()
    }
}

/// `FunctionCodeLocation` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FunctionCodeLocation {
    /// `RepositoryType`.
    #[serde(rename = "RepositoryType", skip_serializing_if = "Option::is_none")]
    pub repository_type: Option<String>,
    /// `Location`.
    #[serde(rename = "Location", skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// `ImageUri`.
    #[serde(rename = "ImageUri", skip_serializing_if = "Option::is_none")]
    pub image_uri: Option<String>,
    /// `ResolvedImageUri`.
    #[serde(rename = "ResolvedImageUri", skip_serializing_if = "Option::is_none")]
    pub resolved_image_uri: Option<String>,
    /// `ResolvedS3Object`.
    #[serde(rename = "ResolvedS3Object", skip_serializing_if = "Option::is_none")]
    pub resolved_s3_object: Option<ResolvedS3Object>,
    /// `SourceKMSKeyArn`.
    #[serde(rename = "SourceKMSKeyArn", skip_serializing_if = "Option::is_none")]
    pub source_kms_key_arn: Option<String>,
    /// `Error`.
    #[serde(rename = "Error", skip_serializing_if = "Option::is_none")]
    pub error: Option<FunctionCodeLocationError>,
}

/// `FunctionCodeLocationError` of the service model, answered.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct FunctionCodeLocationError {
    /// `ErrorCode`.
    #[serde(rename = "ErrorCode", skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// `Message`.
    #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for FunctionCodeLocationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionCodeLocationError")
            .field("error_code", &self.error_code)
            .finish_non_exhaustive()
    }
}

/// `FunctionConfiguration` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FunctionConfiguration {
    /// `FunctionName`.
    #[serde(rename = "FunctionName", skip_serializing_if = "Option::is_none")]
    pub function_name: Option<String>,
    /// `FunctionArn`.
    #[serde(rename = "FunctionArn", skip_serializing_if = "Option::is_none")]
    pub function_arn: Option<String>,
    /// `Runtime`.
    #[serde(rename = "Runtime", skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// `Role`.
    #[serde(rename = "Role", skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `Handler`.
    #[serde(rename = "Handler", skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// `CodeSize`.
    #[serde(rename = "CodeSize", skip_serializing_if = "Option::is_none")]
    pub code_size: Option<i64>,
    /// `Description`.
    #[serde(rename = "Description", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `Timeout`.
    #[serde(rename = "Timeout", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i32>,
    /// `MemorySize`.
    #[serde(rename = "MemorySize", skip_serializing_if = "Option::is_none")]
    pub memory_size: Option<i32>,
    /// `LastModified`.
    #[serde(rename = "LastModified", skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// `CodeSha256`.
    #[serde(rename = "CodeSha256", skip_serializing_if = "Option::is_none")]
    pub code_sha256: Option<String>,
    /// `Version`.
    #[serde(rename = "Version", skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `VpcConfig`.
    #[serde(rename = "VpcConfig", skip_serializing_if = "Option::is_none")]
    pub vpc_config: Option<VpcConfigResponse>,
    /// `DeadLetterConfig`.
    #[serde(rename = "DeadLetterConfig", skip_serializing_if = "Option::is_none")]
    pub dead_letter_config: Option<DeadLetterConfig>,
    /// `Environment`.
    #[serde(rename = "Environment", skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentResponse>,
    /// `KMSKeyArn`.
    #[serde(rename = "KMSKeyArn", skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// `TracingConfig`.
    #[serde(rename = "TracingConfig", skip_serializing_if = "Option::is_none")]
    pub tracing_config: Option<TracingConfigResponse>,
    /// `MasterArn`.
    #[serde(rename = "MasterArn", skip_serializing_if = "Option::is_none")]
    pub master_arn: Option<String>,
    /// `RevisionId`.
    #[serde(rename = "RevisionId", skip_serializing_if = "Option::is_none")]
    pub revision_id: Option<String>,
    /// `Layers`.
    #[serde(rename = "Layers", skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<Layer>>,
    /// `State`.
    #[serde(rename = "State", skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `StateReason`.
    #[serde(rename = "StateReason", skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// `StateReasonCode`.
    #[serde(rename = "StateReasonCode", skip_serializing_if = "Option::is_none")]
    pub state_reason_code: Option<String>,
    /// `LastUpdateStatus`.
    #[serde(rename = "LastUpdateStatus", skip_serializing_if = "Option::is_none")]
    pub last_update_status: Option<String>,
    /// `LastUpdateStatusReason`.
    #[serde(
        rename = "LastUpdateStatusReason",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_update_status_reason: Option<String>,
    /// `LastUpdateStatusReasonCode`.
    #[serde(
        rename = "LastUpdateStatusReasonCode",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_update_status_reason_code: Option<String>,
    /// `FileSystemConfigs`.
    #[serde(rename = "FileSystemConfigs", skip_serializing_if = "Option::is_none")]
    pub file_system_configs: Option<Vec<FileSystemConfig>>,
    /// `SigningProfileVersionArn`.
    #[serde(
        rename = "SigningProfileVersionArn",
        skip_serializing_if = "Option::is_none"
    )]
    pub signing_profile_version_arn: Option<String>,
    /// `SigningJobArn`.
    #[serde(rename = "SigningJobArn", skip_serializing_if = "Option::is_none")]
    pub signing_job_arn: Option<String>,
    /// `PackageType`.
    #[serde(rename = "PackageType", skip_serializing_if = "Option::is_none")]
    pub package_type: Option<String>,
    /// `ImageConfigResponse`.
    #[serde(
        rename = "ImageConfigResponse",
        skip_serializing_if = "Option::is_none"
    )]
    pub image_config_response: Option<ImageConfigResponse>,
    /// `Architectures`.
    #[serde(rename = "Architectures", skip_serializing_if = "Option::is_none")]
    pub architectures: Option<Vec<String>>,
    /// `EphemeralStorage`.
    #[serde(rename = "EphemeralStorage", skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<EphemeralStorage>,
    /// `SnapStart`.
    #[serde(rename = "SnapStart", skip_serializing_if = "Option::is_none")]
    pub snap_start: Option<SnapStartResponse>,
    /// `RuntimeVersionConfig`.
    #[serde(
        rename = "RuntimeVersionConfig",
        skip_serializing_if = "Option::is_none"
    )]
    pub runtime_version_config: Option<RuntimeVersionConfig>,
    /// `LoggingConfig`.
    #[serde(rename = "LoggingConfig", skip_serializing_if = "Option::is_none")]
    pub logging_config: Option<LoggingConfig>,
    /// `TenancyConfig`.
    #[serde(rename = "TenancyConfig", skip_serializing_if = "Option::is_none")]
    pub tenancy_config: Option<TenancyConfig>,
    /// `CapacityProviderConfig`.
    #[serde(
        rename = "CapacityProviderConfig",
        skip_serializing_if = "Option::is_none"
    )]
    pub capacity_provider_config: Option<CapacityProviderConfig>,
    /// `ConfigSha256`.
    #[serde(rename = "ConfigSha256", skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<String>,
    /// `DurableConfig`.
    #[serde(rename = "DurableConfig", skip_serializing_if = "Option::is_none")]
    pub durable_config: Option<DurableConfig>,
    /// `RuntimeConfig`.
    #[serde(rename = "RuntimeConfig", skip_serializing_if = "Option::is_none")]
    pub runtime_config: Option<FunctionRuntimeConfig>,
    /// `AcceleratorConfig`.
    #[serde(rename = "AcceleratorConfig", skip_serializing_if = "Option::is_none")]
    pub accelerator_config: Option<AcceleratorConfig>,
}

/// `FunctionRuntimeConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FunctionRuntimeConfig {
    /// `RuntimeArn`.
    #[serde(rename = "RuntimeArn")]
    pub runtime_arn: String,
    /// `RuntimeAlias`.
    #[serde(rename = "RuntimeAlias")]
    pub runtime_alias: String,
}

/// `FunctionUrlConfig` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FunctionUrlConfig {
    /// `FunctionUrl`.
    #[serde(rename = "FunctionUrl")]
    pub function_url: String,
    /// `FunctionArn`.
    #[serde(rename = "FunctionArn")]
    pub function_arn: String,
    /// `CreationTime`.
    #[serde(rename = "CreationTime")]
    pub creation_time: String,
    /// `LastModifiedTime`.
    #[serde(rename = "LastModifiedTime")]
    pub last_modified_time: String,
    /// `Cors`.
    #[serde(rename = "Cors", skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// `AuthType`.
    #[serde(rename = "AuthType")]
    pub auth_type: String,
    /// `InvokeMode`.
    #[serde(rename = "InvokeMode", skip_serializing_if = "Option::is_none")]
    pub invoke_mode: Option<String>,
}

/// `GetAccountSettingsRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetAccountSettingsRequest {}

/// `GetAccountSettingsResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GetAccountSettingsResponse {
    /// `AccountLimit`.
    #[serde(rename = "AccountLimit", skip_serializing_if = "Option::is_none")]
    pub account_limit: Option<AccountLimit>,
    /// `AccountUsage`.
    #[serde(rename = "AccountUsage", skip_serializing_if = "Option::is_none")]
    pub account_usage: Option<AccountUsage>,
}

/// `GetAliasRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetAliasRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Name`, a label of the path.
    pub name: String,
}

/// `GetFunctionConcurrencyRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetFunctionConcurrencyRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
}

/// `GetFunctionConcurrencyResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GetFunctionConcurrencyResponse {
    /// `ReservedConcurrentExecutions`.
    #[serde(
        rename = "ReservedConcurrentExecutions",
        skip_serializing_if = "Option::is_none"
    )]
    pub reserved_concurrent_executions: Option<i32>,
}

/// `GetFunctionConfigurationRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetFunctionConfigurationRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
}

/// `GetFunctionRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetFunctionRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
}

/// `GetFunctionResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GetFunctionResponse {
    /// `Configuration`.
    #[serde(rename = "Configuration", skip_serializing_if = "Option::is_none")]
    pub configuration: Option<FunctionConfiguration>,
    /// `Code`.
    #[serde(rename = "Code", skip_serializing_if = "Option::is_none")]
    pub code: Option<FunctionCodeLocation>,
    /// `Tags`.
    #[serde(rename = "Tags", skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// `TagsError`.
    #[serde(rename = "TagsError", skip_serializing_if = "Option::is_none")]
    pub tags_error: Option<TagsError>,
    /// `Concurrency`.
    #[serde(rename = "Concurrency", skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// `GetFunctionUrlConfigRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetFunctionUrlConfigRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
}

/// `GetFunctionUrlConfigResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GetFunctionUrlConfigResponse {
    /// `FunctionUrl`.
    #[serde(rename = "FunctionUrl")]
    pub function_url: String,
    /// `FunctionArn`.
    #[serde(rename = "FunctionArn")]
    pub function_arn: String,
    /// `AuthType`.
    #[serde(rename = "AuthType")]
    pub auth_type: String,
    /// `Cors`.
    #[serde(rename = "Cors", skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// `CreationTime`.
    #[serde(rename = "CreationTime")]
    pub creation_time: String,
    /// `LastModifiedTime`.
    #[serde(rename = "LastModifiedTime")]
    pub last_modified_time: String,
    /// `InvokeMode`.
    #[serde(rename = "InvokeMode", skip_serializing_if = "Option::is_none")]
    pub invoke_mode: Option<String>,
}

/// `GetPolicyRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetPolicyRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
}

/// `GetPolicyResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GetPolicyResponse {
    /// `Policy`.
    #[serde(rename = "Policy", skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// `RevisionId`.
    #[serde(rename = "RevisionId", skip_serializing_if = "Option::is_none")]
    pub revision_id: Option<String>,
}

/// `ImageConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `EntryPoint`.
    #[serde(
        rename = "EntryPoint",
        default,
        deserialize_with = "json::list",
        skip_serializing_if = "Option::is_none"
    )]
    pub entry_point: Option<Vec<String>>,
    /// `Command`.
    #[serde(
        rename = "Command",
        default,
        deserialize_with = "json::list",
        skip_serializing_if = "Option::is_none"
    )]
    pub command: Option<Vec<String>>,
    /// `WorkingDirectory`.
    #[serde(
        rename = "WorkingDirectory",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub working_directory: Option<String>,
}

/// `ImageConfigError` of the service model, answered.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct ImageConfigError {
    /// `ErrorCode`.
    #[serde(rename = "ErrorCode", skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// `Message`.
    #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for ImageConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageConfigError")
            .field("error_code", &self.error_code)
            .finish_non_exhaustive()
    }
}

/// `ImageConfigResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImageConfigResponse {
    /// `ImageConfig`.
    #[serde(rename = "ImageConfig", skip_serializing_if = "Option::is_none")]
    pub image_config: Option<ImageConfig>,
    /// `Error`.
    #[serde(rename = "Error", skip_serializing_if = "Option::is_none")]
    pub error: Option<ImageConfigError>,
}

/// `InvocationRequest` of the service model, asked.
#[derive(Clone, Default, PartialEq)]
pub struct InvocationRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `InvocationType`, the header `X-Amz-Invocation-Type`.
    pub invocation_type: Option<String>,
    /// `LogType`, the header `X-Amz-Log-Type`.
    pub log_type: Option<String>,
    /// `ClientContext`, the header `X-Amz-Client-Context`.
    pub client_context: Option<String>,
    /// `DurableExecutionName`, the header `X-Amz-Durable-Execution-Name`.
    pub durable_execution_name: Option<String>,
    /// `Payload`, the body itself.
    pub payload: Option<Bytes>,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
    /// `TenantId`, the header `X-Amz-Tenant-Id`.
    pub tenant_id: Option<String>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for InvocationRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvocationRequest")
            .field("function_name", &self.function_name)
            .field("invocation_type", &self.invocation_type)
            .field("log_type", &self.log_type)
            .field("client_context", &self.client_context)
            .field("durable_execution_name", &self.durable_execution_name)
            .field("qualifier", &self.qualifier)
            .field("tenant_id", &self.tenant_id)
            .finish_non_exhaustive()
    }
}

/// `InvocationResponse` of the service model, answered.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct InvocationResponse {
    /// `StatusCode`, the HTTP status.
    #[serde(skip)]
    pub status_code: Option<i32>,
    /// `FunctionError`, the header `X-Amz-Function-Error`.
    #[serde(skip)]
    pub function_error: Option<String>,
    /// `LogResult`, the header `X-Amz-Log-Result`.
    #[serde(skip)]
    pub log_result: Option<String>,
    /// `Payload`, the body itself.
    #[serde(skip)]
    pub payload: Option<Bytes>,
    /// `ExecutedVersion`, the header `X-Amz-Executed-Version`.
    #[serde(skip)]
    pub executed_version: Option<String>,
    /// `DurableExecutionArn`, the header `X-Amz-Durable-Execution-Arn`.
    #[serde(skip)]
    pub durable_execution_arn: Option<String>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for InvocationResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvocationResponse")
            .field("status_code", &self.status_code)
            .field("function_error", &self.function_error)
            .field("log_result", &self.log_result)
            .field("executed_version", &self.executed_version)
            .field("durable_execution_arn", &self.durable_execution_arn)
            .finish_non_exhaustive()
    }
}

/// `LambdaManagedInstancesCapacityProviderConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LambdaManagedInstancesCapacityProviderConfig {
    /// `CapacityProviderArn`.
    #[serde(rename = "CapacityProviderArn")]
    pub capacity_provider_arn: String,
    /// `PerExecutionEnvironmentMaxConcurrency`.
    #[serde(
        rename = "PerExecutionEnvironmentMaxConcurrency",
        skip_serializing_if = "Option::is_none"
    )]
    pub per_execution_environment_max_concurrency: Option<i32>,
    /// `ExecutionEnvironmentMemoryGiBPerVCpu`.
    #[serde(
        rename = "ExecutionEnvironmentMemoryGiBPerVCpu",
        skip_serializing_if = "Option::is_none"
    )]
    pub execution_environment_memory_gi_b_per_v_cpu: Option<f64>,
}

/// `Layer` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Layer {
    /// `Arn`.
    #[serde(rename = "Arn", skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// `CodeSize`.
    #[serde(rename = "CodeSize", skip_serializing_if = "Option::is_none")]
    pub code_size: Option<i64>,
    /// `SigningProfileVersionArn`.
    #[serde(
        rename = "SigningProfileVersionArn",
        skip_serializing_if = "Option::is_none"
    )]
    pub signing_profile_version_arn: Option<String>,
    /// `SigningJobArn`.
    #[serde(rename = "SigningJobArn", skip_serializing_if = "Option::is_none")]
    pub signing_job_arn: Option<String>,
}

/// `ListAliasesRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListAliasesRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `FunctionVersion`, the query's `FunctionVersion`.
    pub function_version: Option<String>,
    /// `Marker`, the query's `Marker`.
    pub marker: Option<String>,
    /// `MaxItems`, the query's `MaxItems`.
    pub max_items: Option<i32>,
}

/// `ListAliasesResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ListAliasesResponse {
    /// `NextMarker`.
    #[serde(rename = "NextMarker", skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// `Aliases`.
    #[serde(rename = "Aliases", skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<AliasConfiguration>>,
}

/// `ListFunctionUrlConfigsRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListFunctionUrlConfigsRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Marker`, the query's `Marker`.
    pub marker: Option<String>,
    /// `MaxItems`, the query's `MaxItems`.
    pub max_items: Option<i32>,
}

/// `ListFunctionUrlConfigsResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ListFunctionUrlConfigsResponse {
    /// `FunctionUrlConfigs`.
    #[serde(rename = "FunctionUrlConfigs")]
    pub function_url_configs: Vec<FunctionUrlConfig>,
    /// `NextMarker`.
    #[serde(rename = "NextMarker", skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
}

/// `ListFunctionsRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListFunctionsRequest {
    /// `MasterRegion`, the query's `MasterRegion`.
    pub master_region: Option<String>,
    /// `FunctionVersion`, the query's `FunctionVersion`.
    pub function_version: Option<String>,
    /// `Marker`, the query's `Marker`.
    pub marker: Option<String>,
    /// `MaxItems`, the query's `MaxItems`.
    pub max_items: Option<i32>,
}

/// `ListFunctionsResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ListFunctionsResponse {
    /// `NextMarker`.
    #[serde(rename = "NextMarker", skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// `Functions`.
    #[serde(rename = "Functions", skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<FunctionConfiguration>>,
}

/// `ListTagsRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListTagsRequest {
    /// `Resource`, a label of the path.
    pub resource: String,
}

/// `ListTagsResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ListTagsResponse {
    /// `Tags`.
    #[serde(rename = "Tags", skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// `ListVersionsByFunctionRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListVersionsByFunctionRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Marker`, the query's `Marker`.
    pub marker: Option<String>,
    /// `MaxItems`, the query's `MaxItems`.
    pub max_items: Option<i32>,
}

/// `ListVersionsByFunctionResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ListVersionsByFunctionResponse {
    /// `NextMarker`.
    #[serde(rename = "NextMarker", skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// `Versions`.
    #[serde(rename = "Versions", skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<FunctionConfiguration>>,
}

/// `LoggingConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoggingConfig {
    /// `LogFormat`.
    #[serde(
        rename = "LogFormat",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub log_format: Option<String>,
    /// `ApplicationLogLevel`.
    #[serde(
        rename = "ApplicationLogLevel",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub application_log_level: Option<String>,
    /// `SystemLogLevel`.
    #[serde(
        rename = "SystemLogLevel",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub system_log_level: Option<String>,
    /// `LogGroup`.
    #[serde(
        rename = "LogGroup",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub log_group: Option<String>,
}

/// `PublishVersionRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishVersionRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `CodeSha256`.
    pub code_sha256: Option<String>,
    /// `Description`.
    pub description: Option<String>,
    /// `RevisionId`.
    pub revision_id: Option<String>,
    /// `PublishTo`.
    pub publish_to: Option<String>,
}

/// `PutFunctionConcurrencyRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PutFunctionConcurrencyRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `ReservedConcurrentExecutions`.
    pub reserved_concurrent_executions: i32,
}

/// `RemovePermissionRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemovePermissionRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `StatementId`, a label of the path.
    pub statement_id: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
    /// `RevisionId`, the query's `RevisionId`.
    pub revision_id: Option<String>,
}

/// `ResolvedS3Object` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ResolvedS3Object {
    /// `S3Bucket`.
    #[serde(rename = "S3Bucket", skip_serializing_if = "Option::is_none")]
    pub s3_bucket: Option<String>,
    /// `S3Key`.
    #[serde(rename = "S3Key", skip_serializing_if = "Option::is_none")]
    pub s3_key: Option<String>,
    /// `S3ObjectVersion`.
    #[serde(rename = "S3ObjectVersion", skip_serializing_if = "Option::is_none")]
    pub s3_object_version: Option<String>,
}

/// `RuntimeVersionConfig` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuntimeVersionConfig {
    /// `RuntimeVersionArn`.
    #[serde(rename = "RuntimeVersionArn", skip_serializing_if = "Option::is_none")]
    pub runtime_version_arn: Option<String>,
    /// `Error`.
    #[serde(rename = "Error", skip_serializing_if = "Option::is_none")]
    pub error: Option<RuntimeVersionError>,
}

/// `RuntimeVersionError` of the service model, answered.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct RuntimeVersionError {
    /// `ErrorCode`.
    #[serde(rename = "ErrorCode", skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// `Message`.
    #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for RuntimeVersionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeVersionError")
            .field("error_code", &self.error_code)
            .finish_non_exhaustive()
    }
}

/// `S3FilesConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct S3FilesConfig {
    /// `DirectS3Read`.
    #[serde(
        rename = "DirectS3Read",
        default,
        deserialize_with = "json::scalar",
        skip_serializing_if = "Option::is_none"
    )]
    pub direct_s3_read: Option<String>,
}

/// `SnapStart` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct SnapStart {
    /// `ApplyOn`.
    #[serde(rename = "ApplyOn", default, deserialize_with = "json::scalar")]
    pub apply_on: Option<String>,
}

/// `SnapStartResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SnapStartResponse {
    /// `ApplyOn`.
    #[serde(rename = "ApplyOn", skip_serializing_if = "Option::is_none")]
    pub apply_on: Option<String>,
    /// `OptimizationStatus`.
    #[serde(rename = "OptimizationStatus", skip_serializing_if = "Option::is_none")]
    pub optimization_status: Option<String>,
}

/// `TagResourceRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagResourceRequest {
    /// `Resource`, a label of the path.
    pub resource: String,
    /// `Tags`.
    pub tags: BTreeMap<String, String>,
}

/// `TagsError` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TagsError {
    /// `ErrorCode`.
    #[serde(rename = "ErrorCode")]
    pub error_code: String,
    /// `Message`.
    #[serde(rename = "Message")]
    pub message: String,
}

/// `TenancyConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TenancyConfig {
    /// `TenantIsolationMode`.
    #[serde(rename = "TenantIsolationMode")]
    pub tenant_isolation_mode: String,
}

/// `TracingConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct TracingConfig {
    /// `Mode`.
    #[serde(rename = "Mode", default, deserialize_with = "json::scalar")]
    pub mode: Option<String>,
}

/// `TracingConfigResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TracingConfigResponse {
    /// `Mode`.
    #[serde(rename = "Mode", skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// `UntagResourceRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UntagResourceRequest {
    /// `Resource`, a label of the path.
    pub resource: String,
    /// `TagKeys`, the query's `tagKeys`.
    pub tag_keys: Vec<String>,
}

/// `UpdateAliasRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateAliasRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Name`, a label of the path.
    pub name: String,
    /// `FunctionVersion`.
    pub function_version: Option<String>,
    /// `Description`.
    pub description: Option<String>,
    /// `RoutingConfig`.
    pub routing_config: Option<AliasRoutingConfiguration>,
    /// `RevisionId`.
    pub revision_id: Option<String>,
}

/// `UpdateFunctionCodeRequest` of the service model, asked.
#[derive(Clone, Default, PartialEq)]
pub struct UpdateFunctionCodeRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `ZipFile`.
    pub zip_file: Option<Bytes>,
    /// `S3Bucket`.
    pub s3_bucket: Option<String>,
    /// `S3Key`.
    pub s3_key: Option<String>,
    /// `S3ObjectVersion`.
    pub s3_object_version: Option<String>,
    /// `S3ObjectStorageMode`.
    pub s3_object_storage_mode: Option<String>,
    /// `ImageUri`.
    pub image_uri: Option<String>,
    /// `Architectures`.
    pub architectures: Option<Vec<String>>,
    /// `Publish`.
    pub publish: Option<bool>,
    /// `PublishTo`.
    pub publish_to: Option<String>,
    /// `DryRun`.
    pub dry_run: Option<bool>,
    /// `RevisionId`.
    pub revision_id: Option<String>,
    /// `SourceKMSKeyArn`.
    pub source_kms_key_arn: Option<String>,
}

/// Without the values that must not be printed.
impl std::fmt::Debug for UpdateFunctionCodeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdateFunctionCodeRequest")
            .field("function_name", &self.function_name)
            .field("s3_bucket", &self.s3_bucket)
            .field("s3_key", &self.s3_key)
            .field("s3_object_version", &self.s3_object_version)
            .field("s3_object_storage_mode", &self.s3_object_storage_mode)
            .field("image_uri", &self.image_uri)
            .field("architectures", &self.architectures)
            .field("publish", &self.publish)
            .field("publish_to", &self.publish_to)
            .field("dry_run", &self.dry_run)
            .field("revision_id", &self.revision_id)
            .field("source_kms_key_arn", &self.source_kms_key_arn)
            .finish_non_exhaustive()
    }
}

/// `UpdateFunctionConfigurationRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateFunctionConfigurationRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Role`.
    pub role: Option<String>,
    /// `Handler`.
    pub handler: Option<String>,
    /// `Description`.
    pub description: Option<String>,
    /// `Timeout`.
    pub timeout: Option<i32>,
    /// `MemorySize`.
    pub memory_size: Option<i32>,
    /// `VpcConfig`.
    pub vpc_config: Option<VpcConfig>,
    /// `Environment`.
    pub environment: Option<Environment>,
    /// `Runtime`.
    pub runtime: Option<String>,
    /// `DeadLetterConfig`.
    pub dead_letter_config: Option<DeadLetterConfig>,
    /// `KMSKeyArn`.
    pub kms_key_arn: Option<String>,
    /// `TracingConfig`.
    pub tracing_config: Option<TracingConfig>,
    /// `RevisionId`.
    pub revision_id: Option<String>,
    /// `Layers`.
    pub layers: Option<Vec<String>>,
    /// `FileSystemConfigs`.
    pub file_system_configs: Option<Vec<FileSystemConfig>>,
    /// `ImageConfig`.
    pub image_config: Option<ImageConfig>,
    /// `EphemeralStorage`.
    pub ephemeral_storage: Option<EphemeralStorage>,
    /// `SnapStart`.
    pub snap_start: Option<SnapStart>,
    /// `LoggingConfig`.
    pub logging_config: Option<LoggingConfig>,
    /// `CapacityProviderConfig`.
    pub capacity_provider_config: Option<CapacityProviderConfig>,
    /// `DurableConfig`.
    pub durable_config: Option<DurableConfig>,
    /// `RuntimeConfig`.
    pub runtime_config: Option<FunctionRuntimeConfig>,
    /// `AcceleratorConfig`.
    pub accelerator_config: Option<AcceleratorConfig>,
}

/// `UpdateFunctionUrlConfigRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateFunctionUrlConfigRequest {
    /// `FunctionName`, a label of the path.
    pub function_name: String,
    /// `Qualifier`, the query's `Qualifier`.
    pub qualifier: Option<String>,
    /// `AuthType`.
    pub auth_type: Option<String>,
    /// `Cors`.
    pub cors: Option<Cors>,
    /// `InvokeMode`.
    pub invoke_mode: Option<String>,
}

/// `UpdateFunctionUrlConfigResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpdateFunctionUrlConfigResponse {
    /// `FunctionUrl`.
    #[serde(rename = "FunctionUrl")]
    pub function_url: String,
    /// `FunctionArn`.
    #[serde(rename = "FunctionArn")]
    pub function_arn: String,
    /// `AuthType`.
    #[serde(rename = "AuthType")]
    pub auth_type: String,
    /// `Cors`.
    #[serde(rename = "Cors", skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// `CreationTime`.
    #[serde(rename = "CreationTime")]
    pub creation_time: String,
    /// `LastModifiedTime`.
    #[serde(rename = "LastModifiedTime")]
    pub last_modified_time: String,
    /// `InvokeMode`.
    #[serde(rename = "InvokeMode", skip_serializing_if = "Option::is_none")]
    pub invoke_mode: Option<String>,
}

/// `VpcConfig` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct VpcConfig {
    /// `SubnetIds`.
    #[serde(rename = "SubnetIds", default, deserialize_with = "json::list")]
    pub subnet_ids: Option<Vec<String>>,
    /// `SecurityGroupIds`.
    #[serde(rename = "SecurityGroupIds", default, deserialize_with = "json::list")]
    pub security_group_ids: Option<Vec<String>>,
    /// `Ipv6AllowedForDualStack`.
    #[serde(
        rename = "Ipv6AllowedForDualStack",
        default,
        deserialize_with = "json::scalar"
    )]
    pub ipv6_allowed_for_dual_stack: Option<bool>,
}

/// `VpcConfigResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VpcConfigResponse {
    /// `SubnetIds`.
    #[serde(rename = "SubnetIds", skip_serializing_if = "Option::is_none")]
    pub subnet_ids: Option<Vec<String>>,
    /// `SecurityGroupIds`.
    #[serde(rename = "SecurityGroupIds", skip_serializing_if = "Option::is_none")]
    pub security_group_ids: Option<Vec<String>>,
    /// `VpcId`.
    #[serde(rename = "VpcId", skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// `Ipv6AllowedForDualStack`.
    #[serde(
        rename = "Ipv6AllowedForDualStack",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv6_allowed_for_dual_stack: Option<bool>,
}
