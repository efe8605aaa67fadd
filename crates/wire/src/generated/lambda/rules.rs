//! AWS Lambda: constraints, and requests before they are checked. Written by `cargo xtask codegen`; edits are lost.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

use super::patterns;
use super::shapes::*;
use crate::{
    constraints::{List, Map, OneOf, Pattern, Range, Text, ValueRule, Violations},
    json,
};

/// [`AcceleratorConfig`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedAcceleratorConfig {
    /// `AcceleratorMemorySize`.
    #[serde(
        rename = "AcceleratorMemorySize",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) accelerator_memory_size: Option<i32>,
}

impl UncheckedAcceleratorConfig {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<AcceleratorConfig> {
        Some(AcceleratorConfig {
            accelerator_memory_size: self.accelerator_memory_size?,
        })
    }
}

impl UncheckedAcceleratorConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        if self.accelerator_memory_size.is_none() {
            violations.missing("acceleratorMemorySize");
        }
    }
}

static ACTION: Text = Text {
    min: None,
    max: Some(10000),
    pattern: Some(Pattern {
        text: "(lambda:[*]|lambda:[a-zA-Z]+|[*])",
        matcher: &patterns::ACTION,
    }),
    one_of: None,
    sensitive: false,
};

/// [`AddPermissionRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedAddPermissionRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `StatementId`.
    #[serde(rename = "StatementId", default, deserialize_with = "json::scalar")]
    pub(super) statement_id: Option<String>,
    /// `Action`.
    #[serde(rename = "Action", default, deserialize_with = "json::scalar")]
    pub(super) action: Option<String>,
    /// `Principal`.
    #[serde(rename = "Principal", default, deserialize_with = "json::scalar")]
    pub(super) principal: Option<String>,
    /// `SourceArn`.
    #[serde(rename = "SourceArn", default, deserialize_with = "json::scalar")]
    pub(super) source_arn: Option<String>,
    /// `FunctionUrlAuthType`.
    #[serde(
        rename = "FunctionUrlAuthType",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) function_url_auth_type: Option<String>,
    /// `InvokedViaFunctionUrl`.
    #[serde(
        rename = "InvokedViaFunctionUrl",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) invoked_via_function_url: Option<bool>,
    /// `SourceAccount`.
    #[serde(rename = "SourceAccount", default, deserialize_with = "json::scalar")]
    pub(super) source_account: Option<String>,
    /// `EventSourceToken`.
    #[serde(
        rename = "EventSourceToken",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) event_source_token: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    #[serde(skip)]
    pub(super) qualifier: Option<String>,
    /// `RevisionId`.
    #[serde(rename = "RevisionId", default, deserialize_with = "json::scalar")]
    pub(super) revision_id: Option<String>,
    /// `PrincipalOrgID`.
    #[serde(rename = "PrincipalOrgID", default, deserialize_with = "json::scalar")]
    pub(super) principal_org_id: Option<String>,
}

impl UncheckedAddPermissionRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<AddPermissionRequest> {
        Some(AddPermissionRequest {
            function_name: self.function_name?,
            statement_id: self.statement_id?,
            action: self.action?,
            principal: self.principal?,
            source_arn: self.source_arn,
            function_url_auth_type: self.function_url_auth_type,
            invoked_via_function_url: self.invoked_via_function_url,
            source_account: self.source_account,
            event_source_token: self.event_source_token,
            qualifier: self.qualifier,
            revision_id: self.revision_id,
            principal_org_id: self.principal_org_id,
        })
    }
}

impl UncheckedAddPermissionRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &NAMESPACED_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        match &self.statement_id {
            Some(value) => {
                violations.text("statementId", &STATEMENT_ID, value);
            }
            None => violations.missing("statementId"),
        }
        match &self.action {
            Some(value) => {
                violations.text("action", &ACTION, value);
            }
            None => violations.missing("action"),
        }
        match &self.principal {
            Some(value) => {
                violations.text("principal", &PRINCIPAL, value);
            }
            None => violations.missing("principal"),
        }
        if let Some(value) = &self.source_arn {
            violations.text("sourceArn", &ARN, value);
        }
        if let Some(value) = &self.function_url_auth_type {
            violations.text("functionUrlAuthType", &FUNCTION_URL_AUTH_TYPE, value);
        }
        if let Some(value) = &self.source_account {
            violations.text("sourceAccount", &SOURCE_OWNER, value);
        }
        if let Some(value) = &self.event_source_token {
            violations.text("eventSourceToken", &EVENT_SOURCE_TOKEN, value);
        }
        if let Some(value) = &self.qualifier {
            violations.text(
                "qualifier",
                &NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER,
                value,
            );
        }
        if let Some(value) = &self.principal_org_id {
            violations.text("principalOrgID", &PRINCIPAL_ORG_ID, value);
        }
    }
}

static ADDITIONAL_VERSION: Text = Text {
    min: Some(1),
    max: Some(1024),
    pattern: Some(Pattern {
        text: "[0-9]+",
        matcher: &patterns::ADDITIONAL_VERSION,
    }),
    one_of: None,
    sensitive: false,
};

static ADDITIONAL_VERSION_WEIGHTS: Map = Map {
    key: Some(&ADDITIONAL_VERSION),
    value: Some(ValueRule::Number(&WEIGHT)),
    sensitive: false,
};

static ALIAS: Text = Text {
    min: Some(1),
    max: Some(128),
    pattern: Some(Pattern {
        text: "(?!^[0-9]+$)([a-zA-Z0-9-_]+)",
        matcher: &patterns::ALIAS,
    }),
    one_of: None,
    sensitive: false,
};

impl AliasRoutingConfiguration {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.additional_version_weights {
            violations.map(
                "additionalVersionWeights",
                &ADDITIONAL_VERSION_WEIGHTS,
                value,
            );
        }
    }
}

static ALLOW_METHODS_LIST: List = List {
    min: None,
    max: Some(6),
    element: Some(&METHOD),
};

static ALLOW_ORIGINS_LIST: List = List {
    min: None,
    max: Some(100),
    element: Some(&ORIGIN),
};

static APPLICATION_LOG_LEVEL: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"])),
    sensitive: false,
};

static ARCHITECTURE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["x86_64", "arm64"])),
    sensitive: false,
};

static ARCHITECTURES_LIST: List = List {
    min: Some(1),
    max: Some(1),
    element: Some(&ARCHITECTURE),
};

static ARN: Text = Text {
    min: None,
    max: Some(10000),
    pattern: Some(Pattern {
        text: "arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1})?:(\\d{12})?:(.*)",
        matcher: &patterns::ARN,
    }),
    one_of: None,
    sensitive: false,
};

static CAPACITY_PROVIDER_ARN: Text = Text {
    min: Some(1),
    max: Some(140),
    pattern: Some(Pattern {
        text: "arn:aws[a-zA-Z-]*:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:capacity-provider:[a-zA-Z0-9-_]+",
        matcher: &patterns::CAPACITY_PROVIDER_ARN,
    }),
    one_of: None,
    sensitive: false,
};

/// [`CapacityProviderConfig`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedCapacityProviderConfig {
    /// `LambdaManagedInstancesCapacityProviderConfig`.
    #[serde(
        rename = "LambdaManagedInstancesCapacityProviderConfig",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) lambda_managed_instances_capacity_provider_config:
        Option<UncheckedLambdaManagedInstancesCapacityProviderConfig>,
}

impl UncheckedCapacityProviderConfig {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<CapacityProviderConfig> {
        Some(CapacityProviderConfig {
            lambda_managed_instances_capacity_provider_config: match self
                .lambda_managed_instances_capacity_provider_config
            {
                Some(inner) => Some(inner.accept()?),
                None => None,
            }?,
        })
    }
}

impl UncheckedCapacityProviderConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.lambda_managed_instances_capacity_provider_config {
            Some(value) => {
                violations.within(
                    "lambdaManagedInstancesCapacityProviderConfig",
                    |violations| value.check(violations),
                );
            }
            None => violations.missing("lambdaManagedInstancesCapacityProviderConfig"),
        }
    }
}

static CODE_SIGNING_CONFIG_ARN: Text = Text {
    min: None,
    max: Some(200),
    pattern: Some(Pattern {
        text: "arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:code-signing-config:csc-[a-z0-9]{17}",
        matcher: &patterns::CODE_SIGNING_CONFIG_ARN,
    }),
    one_of: None,
    sensitive: false,
};

impl Cors {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.allow_headers {
            violations.list("allowHeaders", &HEADERS_LIST, value);
        }
        if let Some(value) = &self.allow_methods {
            violations.list("allowMethods", &ALLOW_METHODS_LIST, value);
        }
        if let Some(value) = &self.allow_origins {
            violations.list("allowOrigins", &ALLOW_ORIGINS_LIST, value);
        }
        if let Some(value) = &self.expose_headers {
            violations.list("exposeHeaders", &HEADERS_LIST, value);
        }
        if let Some(value) = &self.max_age {
            violations.number("maxAge", &MAX_AGE, f64::from(*value));
        }
    }
}

/// [`CreateAliasRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedCreateAliasRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `Name`.
    #[serde(rename = "Name", default, deserialize_with = "json::scalar")]
    pub(super) name: Option<String>,
    /// `FunctionVersion`.
    #[serde(rename = "FunctionVersion", default, deserialize_with = "json::scalar")]
    pub(super) function_version: Option<String>,
    /// `Description`.
    #[serde(rename = "Description", default, deserialize_with = "json::scalar")]
    pub(super) description: Option<String>,
    /// `RoutingConfig`.
    #[serde(rename = "RoutingConfig", default, deserialize_with = "json::object")]
    pub(super) routing_config: Option<AliasRoutingConfiguration>,
}

impl UncheckedCreateAliasRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<CreateAliasRequest> {
        Some(CreateAliasRequest {
            function_name: self.function_name?,
            name: self.name?,
            function_version: self.function_version?,
            description: self.description,
            routing_config: self.routing_config,
        })
    }
}

impl UncheckedCreateAliasRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        match &self.name {
            Some(value) => {
                violations.text("name", &ALIAS, value);
            }
            None => violations.missing("name"),
        }
        match &self.function_version {
            Some(value) => {
                violations.text("functionVersion", &VERSION_WITH_LATEST_PUBLISHED, value);
            }
            None => violations.missing("functionVersion"),
        }
        if let Some(value) = &self.description {
            violations.text("description", &DESCRIPTION, value);
        }
        if let Some(value) = &self.routing_config {
            violations.within("routingConfig", |violations| value.check(violations));
        }
    }
}

/// [`CreateFunctionRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedCreateFunctionRequest {
    /// `FunctionName`.
    #[serde(rename = "FunctionName", default, deserialize_with = "json::scalar")]
    pub(super) function_name: Option<String>,
    /// `Runtime`.
    #[serde(rename = "Runtime", default, deserialize_with = "json::scalar")]
    pub(super) runtime: Option<String>,
    /// `Role`.
    #[serde(rename = "Role", default, deserialize_with = "json::scalar")]
    pub(super) role: Option<String>,
    /// `Handler`.
    #[serde(rename = "Handler", default, deserialize_with = "json::scalar")]
    pub(super) handler: Option<String>,
    /// `Code`.
    #[serde(rename = "Code", default, deserialize_with = "json::object")]
    pub(super) code: Option<FunctionCode>,
    /// `Description`.
    #[serde(rename = "Description", default, deserialize_with = "json::scalar")]
    pub(super) description: Option<String>,
    /// `Timeout`.
    #[serde(rename = "Timeout", default, deserialize_with = "json::scalar")]
    pub(super) timeout: Option<i32>,
    /// `MemorySize`.
    #[serde(rename = "MemorySize", default, deserialize_with = "json::scalar")]
    pub(super) memory_size: Option<i32>,
    /// `Publish`.
    #[serde(rename = "Publish", default, deserialize_with = "json::scalar")]
    pub(super) publish: Option<bool>,
    /// `PublishTo`.
    #[serde(rename = "PublishTo", default, deserialize_with = "json::scalar")]
    pub(super) publish_to: Option<String>,
    /// `VpcConfig`.
    #[serde(rename = "VpcConfig", default, deserialize_with = "json::object")]
    pub(super) vpc_config: Option<VpcConfig>,
    /// `PackageType`.
    #[serde(rename = "PackageType", default, deserialize_with = "json::scalar")]
    pub(super) package_type: Option<String>,
    /// `DeadLetterConfig`.
    #[serde(
        rename = "DeadLetterConfig",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) dead_letter_config: Option<DeadLetterConfig>,
    /// `Environment`.
    #[serde(rename = "Environment", default, deserialize_with = "json::object")]
    pub(super) environment: Option<Environment>,
    /// `KMSKeyArn`.
    #[serde(rename = "KMSKeyArn", default, deserialize_with = "json::scalar")]
    pub(super) kms_key_arn: Option<String>,
    /// `TracingConfig`.
    #[serde(rename = "TracingConfig", default, deserialize_with = "json::object")]
    pub(super) tracing_config: Option<TracingConfig>,
    /// `Tags`.
    #[serde(rename = "Tags", default, deserialize_with = "json::map")]
    pub(super) tags: Option<BTreeMap<String, String>>,
    /// `Layers`.
    #[serde(rename = "Layers", default, deserialize_with = "json::list")]
    pub(super) layers: Option<Vec<String>>,
    /// `FileSystemConfigs`.
    #[serde(
        rename = "FileSystemConfigs",
        default,
        deserialize_with = "json::objects"
    )]
    pub(super) file_system_configs: Option<Vec<UncheckedFileSystemConfig>>,
    /// `CodeSigningConfigArn`.
    #[serde(
        rename = "CodeSigningConfigArn",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) code_signing_config_arn: Option<String>,
    /// `ImageConfig`.
    #[serde(rename = "ImageConfig", default, deserialize_with = "json::object")]
    pub(super) image_config: Option<ImageConfig>,
    /// `Architectures`.
    #[serde(rename = "Architectures", default, deserialize_with = "json::list")]
    pub(super) architectures: Option<Vec<String>>,
    /// `EphemeralStorage`.
    #[serde(
        rename = "EphemeralStorage",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) ephemeral_storage: Option<UncheckedEphemeralStorage>,
    /// `SnapStart`.
    #[serde(rename = "SnapStart", default, deserialize_with = "json::object")]
    pub(super) snap_start: Option<SnapStart>,
    /// `LoggingConfig`.
    #[serde(rename = "LoggingConfig", default, deserialize_with = "json::object")]
    pub(super) logging_config: Option<LoggingConfig>,
    /// `TenancyConfig`.
    #[serde(rename = "TenancyConfig", default, deserialize_with = "json::object")]
    pub(super) tenancy_config: Option<UncheckedTenancyConfig>,
    /// `CapacityProviderConfig`.
    #[serde(
        rename = "CapacityProviderConfig",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) capacity_provider_config: Option<UncheckedCapacityProviderConfig>,
    /// `DurableConfig`.
    #[serde(rename = "DurableConfig", default, deserialize_with = "json::object")]
    pub(super) durable_config: Option<DurableConfig>,
    /// `RuntimeConfig`.
    #[serde(rename = "RuntimeConfig", default, deserialize_with = "json::object")]
    pub(super) runtime_config: Option<UncheckedFunctionRuntimeConfig>,
    /// `AcceleratorConfig`.
    #[serde(
        rename = "AcceleratorConfig",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) accelerator_config: Option<UncheckedAcceleratorConfig>,
}

impl UncheckedCreateFunctionRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<CreateFunctionRequest> {
        Some(CreateFunctionRequest {
            function_name: self.function_name?,
            runtime: self.runtime,
            role: self.role?,
            handler: self.handler,
            code: self.code?,
            description: self.description,
            timeout: self.timeout,
            memory_size: self.memory_size,
            publish: self.publish,
            publish_to: self.publish_to,
            vpc_config: self.vpc_config,
            package_type: self.package_type,
            dead_letter_config: self.dead_letter_config,
            environment: self.environment,
            kms_key_arn: self.kms_key_arn,
            tracing_config: self.tracing_config,
            tags: self.tags,
            layers: self.layers,
            file_system_configs: match self.file_system_configs {
                Some(list) => Some(
                    list.into_iter()
                        .map(UncheckedFileSystemConfig::accept)
                        .collect::<Option<_>>()?,
                ),
                None => None,
            },
            code_signing_config_arn: self.code_signing_config_arn,
            image_config: self.image_config,
            architectures: self.architectures,
            ephemeral_storage: match self.ephemeral_storage {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
            snap_start: self.snap_start,
            logging_config: self.logging_config,
            tenancy_config: match self.tenancy_config {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
            capacity_provider_config: match self.capacity_provider_config {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
            durable_config: self.durable_config,
            runtime_config: match self.runtime_config {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
            accelerator_config: match self.accelerator_config {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
        })
    }
}

impl UncheckedCreateFunctionRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        match &self.role {
            Some(value) => {
                violations.text("role", &ROLE_ARN, value);
            }
            None => violations.missing("role"),
        }
        if let Some(value) = &self.handler {
            violations.text("handler", &HANDLER, value);
        }
        match &self.code {
            Some(value) => {
                violations.within("code", |violations| value.check(violations));
            }
            None => violations.missing("code"),
        }
        if let Some(value) = &self.description {
            violations.text("description", &DESCRIPTION, value);
        }
        if let Some(value) = &self.timeout {
            violations.number("timeout", &TIMEOUT, f64::from(*value));
        }
        if let Some(value) = &self.memory_size {
            violations.number("memorySize", &MEMORY_SIZE, f64::from(*value));
        }
        if let Some(value) = &self.publish_to {
            violations.text("publishTo", &FUNCTION_VERSION_LATEST_PUBLISHED, value);
        }
        if let Some(value) = &self.vpc_config {
            violations.within("vpcConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.package_type {
            violations.text("packageType", &PACKAGE_TYPE, value);
        }
        if let Some(value) = &self.dead_letter_config {
            violations.within("deadLetterConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.environment {
            violations.within("environment", |violations| value.check(violations));
        }
        if let Some(value) = &self.kms_key_arn {
            violations.text("kMSKeyArn", &KMS_KEY_ARN, value);
        }
        if let Some(value) = &self.tracing_config {
            violations.within("tracingConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.tags {
            violations.map("tags", &TAGS, value);
        }
        if let Some(value) = &self.layers {
            violations.list("layers", &LAYER_LIST, value);
        }
        if let Some(value) = &self.file_system_configs {
            violations.count("fileSystemConfigs", &FILE_SYSTEM_CONFIG_LIST, value.len());
            violations.within_each("fileSystemConfigs", value, |item, violations| {
                item.check(violations)
            });
        }
        if let Some(value) = &self.code_signing_config_arn {
            violations.text("codeSigningConfigArn", &CODE_SIGNING_CONFIG_ARN, value);
        }
        if let Some(value) = &self.image_config {
            violations.within("imageConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.architectures {
            violations.list("architectures", &ARCHITECTURES_LIST, value);
        }
        if let Some(value) = &self.ephemeral_storage {
            violations.within("ephemeralStorage", |violations| value.check(violations));
        }
        if let Some(value) = &self.snap_start {
            violations.within("snapStart", |violations| value.check(violations));
        }
        if let Some(value) = &self.logging_config {
            violations.within("loggingConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.tenancy_config {
            violations.within("tenancyConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.capacity_provider_config {
            violations.within("capacityProviderConfig", |violations| {
                value.check(violations)
            });
        }
        if let Some(value) = &self.durable_config {
            violations.within("durableConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.runtime_config {
            violations.within("runtimeConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.accelerator_config {
            violations.within("acceleratorConfig", |violations| value.check(violations));
        }
    }
}

/// [`CreateFunctionUrlConfigRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedCreateFunctionUrlConfigRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    #[serde(skip)]
    pub(super) qualifier: Option<String>,
    /// `AuthType`.
    #[serde(rename = "AuthType", default, deserialize_with = "json::scalar")]
    pub(super) auth_type: Option<String>,
    /// `Cors`.
    #[serde(rename = "Cors", default, deserialize_with = "json::object")]
    pub(super) cors: Option<Cors>,
    /// `InvokeMode`.
    #[serde(rename = "InvokeMode", default, deserialize_with = "json::scalar")]
    pub(super) invoke_mode: Option<String>,
}

impl UncheckedCreateFunctionUrlConfigRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<CreateFunctionUrlConfigRequest> {
        Some(CreateFunctionUrlConfigRequest {
            function_name: self.function_name?,
            qualifier: self.qualifier,
            auth_type: self.auth_type?,
            cors: self.cors,
            invoke_mode: self.invoke_mode,
        })
    }
}

impl UncheckedCreateFunctionUrlConfigRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_URL_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.qualifier {
            violations.text("qualifier", &FUNCTION_URL_QUALIFIER, value);
        }
        match &self.auth_type {
            Some(value) => {
                violations.text("authType", &FUNCTION_URL_AUTH_TYPE, value);
            }
            None => violations.missing("authType"),
        }
        if let Some(value) = &self.cors {
            violations.within("cors", |violations| value.check(violations));
        }
        if let Some(value) = &self.invoke_mode {
            violations.text("invokeMode", &INVOKE_MODE, value);
        }
    }
}

impl DeadLetterConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.target_arn {
            violations.text("targetArn", &RESOURCE_ARN, value);
        }
    }
}

/// [`DeleteAliasRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedDeleteAliasRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Name`, a label of the path.
    pub(super) name: Option<String>,
}

impl UncheckedDeleteAliasRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<DeleteAliasRequest> {
        Some(DeleteAliasRequest {
            function_name: self.function_name?,
            name: self.name?,
        })
    }
}

impl UncheckedDeleteAliasRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        match &self.name {
            Some(value) => {
                violations.text("name", &ALIAS, value);
            }
            None => violations.missing("name"),
        }
    }
}

/// [`DeleteFunctionConcurrencyRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedDeleteFunctionConcurrencyRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
}

impl UncheckedDeleteFunctionConcurrencyRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<DeleteFunctionConcurrencyRequest> {
        Some(DeleteFunctionConcurrencyRequest {
            function_name: self.function_name?,
        })
    }
}

impl UncheckedDeleteFunctionConcurrencyRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
    }
}

/// [`DeleteFunctionRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedDeleteFunctionRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    pub(super) qualifier: Option<String>,
}

impl UncheckedDeleteFunctionRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<DeleteFunctionRequest> {
        Some(DeleteFunctionRequest {
            function_name: self.function_name?,
            qualifier: self.qualifier,
        })
    }
}

impl UncheckedDeleteFunctionRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &NAMESPACED_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.qualifier {
            violations.text(
                "qualifier",
                &NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER,
                value,
            );
        }
    }
}

/// [`DeleteFunctionUrlConfigRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedDeleteFunctionUrlConfigRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    pub(super) qualifier: Option<String>,
}

impl UncheckedDeleteFunctionUrlConfigRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<DeleteFunctionUrlConfigRequest> {
        Some(DeleteFunctionUrlConfigRequest {
            function_name: self.function_name?,
            qualifier: self.qualifier,
        })
    }
}

impl UncheckedDeleteFunctionUrlConfigRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_URL_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.qualifier {
            violations.text("qualifier", &FUNCTION_URL_QUALIFIER, value);
        }
    }
}

static DESCRIPTION: Text = Text {
    min: None,
    max: Some(256),
    pattern: None,
    one_of: None,
    sensitive: false,
};

static DIRECT_S3_READ: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["ENABLED", "DISABLED", "AUTO"])),
    sensitive: false,
};

impl DurableConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.kms_key_arn {
            violations.text("kMSKeyArn", &KMS_KEY_ARN, value);
        }
        if let Some(value) = &self.retention_period_in_days {
            violations.number(
                "retentionPeriodInDays",
                &RETENTION_PERIOD_IN_DAYS,
                f64::from(*value),
            );
        }
        if let Some(value) = &self.execution_timeout {
            violations.number("executionTimeout", &EXECUTION_TIMEOUT, f64::from(*value));
        }
    }
}

static DURABLE_EXECUTION_NAME: Text = Text {
    min: Some(1),
    max: Some(64),
    pattern: Some(Pattern {
        text: "[a-zA-Z0-9-_]+",
        matcher: &patterns::DURABLE_EXECUTION_NAME,
    }),
    one_of: None,
    sensitive: false,
};

impl Environment {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.variables {
            violations.map("variables", &ENVIRONMENT_VARIABLES, value);
        }
    }
}

static ENVIRONMENT_VARIABLE_NAME: Text = Text {
    min: None,
    max: None,
    pattern: Some(Pattern {
        text: "[a-zA-Z]([a-zA-Z0-9_])+",
        matcher: &patterns::ENVIRONMENT_VARIABLE_NAME,
    }),
    one_of: None,
    sensitive: true,
};

static ENVIRONMENT_VARIABLES: Map = Map {
    key: Some(&ENVIRONMENT_VARIABLE_NAME),
    value: None,
    sensitive: true,
};

/// [`EphemeralStorage`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedEphemeralStorage {
    /// `Size`.
    #[serde(rename = "Size", default, deserialize_with = "json::scalar")]
    pub(super) size: Option<i32>,
}

impl UncheckedEphemeralStorage {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<EphemeralStorage> {
        Some(EphemeralStorage { size: self.size? })
    }
}

impl UncheckedEphemeralStorage {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.size {
            Some(value) => {
                violations.number("size", &EPHEMERAL_STORAGE_SIZE, f64::from(*value));
            }
            None => violations.missing("size"),
        }
    }
}

static EPHEMERAL_STORAGE_SIZE: Range = Range {
    min: Some(512.0),
    max: None,
};

static EVENT_SOURCE_TOKEN: Text = Text {
    min: None,
    max: Some(256),
    pattern: Some(Pattern {
        text: "[a-zA-Z0-9._\\-]+",
        matcher: &patterns::EVENT_SOURCE_TOKEN,
    }),
    one_of: None,
    sensitive: false,
};

static EXECUTION_ENVIRONMENT_MEMORY_GI_B_PER_V_CPU: Range = Range {
    min: Some(2.0),
    max: Some(8.0),
};

static EXECUTION_TIMEOUT: Range = Range {
    min: Some(1.0),
    max: Some(31622400.0),
};

static FILE_SYSTEM_ARN: Text = Text {
    min: None,
    max: Some(256),
    pattern: Some(Pattern {
        text: "arn:aws[a-zA-Z-]*:elasticfilesystem:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:access-point/fsap-[a-f0-9]{17}$|^arn:aws[-a-z]*:s3files:[0-9a-z-:]+:file-system/fs-[0-9a-f]{17,40}/access-point/fsap-[0-9a-f]{17,40}",
        matcher: &patterns::FILE_SYSTEM_ARN,
    }),
    one_of: None,
    sensitive: false,
};

/// [`FileSystemConfig`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedFileSystemConfig {
    /// `Arn`.
    #[serde(rename = "Arn", default, deserialize_with = "json::scalar")]
    pub(super) arn: Option<String>,
    /// `LocalMountPath`.
    #[serde(rename = "LocalMountPath", default, deserialize_with = "json::scalar")]
    pub(super) local_mount_path: Option<String>,
    /// `S3FilesConfig`.
    #[serde(rename = "S3FilesConfig", default, deserialize_with = "json::object")]
    pub(super) s3_files_config: Option<S3FilesConfig>,
}

impl UncheckedFileSystemConfig {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<FileSystemConfig> {
        Some(FileSystemConfig {
            arn: self.arn?,
            local_mount_path: self.local_mount_path?,
            s3_files_config: self.s3_files_config,
        })
    }
}

impl UncheckedFileSystemConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.arn {
            Some(value) => {
                violations.text("arn", &FILE_SYSTEM_ARN, value);
            }
            None => violations.missing("arn"),
        }
        match &self.local_mount_path {
            Some(value) => {
                violations.text("localMountPath", &LOCAL_MOUNT_PATH, value);
            }
            None => violations.missing("localMountPath"),
        }
        if let Some(value) = &self.s3_files_config {
            violations.within("s3FilesConfig", |violations| value.check(violations));
        }
    }
}

static FILE_SYSTEM_CONFIG_LIST: List = List {
    min: None,
    max: Some(1),
    element: None,
};

impl FunctionCode {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.s3_bucket {
            violations.text("s3Bucket", &S3_BUCKET, value);
        }
        if let Some(value) = &self.s3_key {
            violations.text("s3Key", &S3_KEY, value);
        }
        if let Some(value) = &self.s3_object_version {
            violations.text("s3ObjectVersion", &S3_OBJECT_VERSION, value);
        }
        if let Some(value) = &self.s3_object_storage_mode {
            violations.text("s3ObjectStorageMode", &S3_OBJECT_STORAGE_MODE, value);
        }
        if let Some(value) = &self.source_kms_key_arn {
            violations.text("sourceKMSKeyArn", &KMS_KEY_ARN, value);
        }
    }
}

static FUNCTION_NAME: Text = Text {
    min: Some(1),
    max: Some(140),
    pattern: Some(Pattern {
        text: "(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?",
        matcher: &patterns::FUNCTION_NAME,
    }),
    one_of: None,
    sensitive: false,
};

static FUNCTION_RUNTIME_ALIAS: Text = Text {
    min: Some(1),
    max: Some(128),
    pattern: None,
    one_of: None,
    sensitive: false,
};

static FUNCTION_RUNTIME_ARN: Text = Text {
    min: Some(48),
    max: Some(2048),
    pattern: Some(Pattern {
        text: "arn:[a-z-]+:lambda:[a-z0-9-]+:\\d{12}:runtime/.+",
        matcher: &patterns::FUNCTION_RUNTIME_ARN,
    }),
    one_of: None,
    sensitive: false,
};

/// [`FunctionRuntimeConfig`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedFunctionRuntimeConfig {
    /// `RuntimeArn`.
    #[serde(rename = "RuntimeArn", default, deserialize_with = "json::scalar")]
    pub(super) runtime_arn: Option<String>,
    /// `RuntimeAlias`.
    #[serde(rename = "RuntimeAlias", default, deserialize_with = "json::scalar")]
    pub(super) runtime_alias: Option<String>,
}

impl UncheckedFunctionRuntimeConfig {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<FunctionRuntimeConfig> {
        Some(FunctionRuntimeConfig {
            runtime_arn: self.runtime_arn?,
            runtime_alias: self.runtime_alias?,
        })
    }
}

impl UncheckedFunctionRuntimeConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.runtime_arn {
            Some(value) => {
                violations.text("runtimeArn", &FUNCTION_RUNTIME_ARN, value);
            }
            None => violations.missing("runtimeArn"),
        }
        match &self.runtime_alias {
            Some(value) => {
                violations.text("runtimeAlias", &FUNCTION_RUNTIME_ALIAS, value);
            }
            None => violations.missing("runtimeAlias"),
        }
    }
}

static FUNCTION_URL_AUTH_TYPE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["NONE", "AWS_IAM"])),
    sensitive: false,
};

static FUNCTION_URL_FUNCTION_NAME: Text = Text {
    min: Some(1),
    max: Some(140),
    pattern: Some(Pattern {
        text: "(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]{1,64})(:((?!\\d+$)[0-9a-zA-Z-_]+))?",
        matcher: &patterns::FUNCTION_URL_FUNCTION_NAME,
    }),
    one_of: None,
    sensitive: false,
};

static FUNCTION_URL_QUALIFIER: Text = Text {
    min: Some(1),
    max: Some(128),
    pattern: Some(Pattern {
        text: "((?!^\\d+$)^[0-9a-zA-Z-_]+$)",
        matcher: &patterns::ALIAS,
    }),
    one_of: None,
    sensitive: false,
};

static FUNCTION_VERSION: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["ALL"])),
    sensitive: false,
};

static FUNCTION_VERSION_LATEST_PUBLISHED: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["LATEST_PUBLISHED"])),
    sensitive: false,
};

/// [`GetAliasRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedGetAliasRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Name`, a label of the path.
    pub(super) name: Option<String>,
}

impl UncheckedGetAliasRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<GetAliasRequest> {
        Some(GetAliasRequest {
            function_name: self.function_name?,
            name: self.name?,
        })
    }
}

impl UncheckedGetAliasRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        match &self.name {
            Some(value) => {
                violations.text("name", &ALIAS, value);
            }
            None => violations.missing("name"),
        }
    }
}

/// [`GetFunctionConcurrencyRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedGetFunctionConcurrencyRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
}

impl UncheckedGetFunctionConcurrencyRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<GetFunctionConcurrencyRequest> {
        Some(GetFunctionConcurrencyRequest {
            function_name: self.function_name?,
        })
    }
}

impl UncheckedGetFunctionConcurrencyRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
    }
}

/// [`GetFunctionConfigurationRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedGetFunctionConfigurationRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    pub(super) qualifier: Option<String>,
}

impl UncheckedGetFunctionConfigurationRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<GetFunctionConfigurationRequest> {
        Some(GetFunctionConfigurationRequest {
            function_name: self.function_name?,
            qualifier: self.qualifier,
        })
    }
}

impl UncheckedGetFunctionConfigurationRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &NAMESPACED_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.qualifier {
            violations.text(
                "qualifier",
                &NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER,
                value,
            );
        }
    }
}

/// [`GetFunctionRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedGetFunctionRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    pub(super) qualifier: Option<String>,
}

impl UncheckedGetFunctionRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<GetFunctionRequest> {
        Some(GetFunctionRequest {
            function_name: self.function_name?,
            qualifier: self.qualifier,
        })
    }
}

impl UncheckedGetFunctionRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &NAMESPACED_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.qualifier {
            violations.text(
                "qualifier",
                &NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER,
                value,
            );
        }
    }
}

/// [`GetFunctionUrlConfigRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedGetFunctionUrlConfigRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    pub(super) qualifier: Option<String>,
}

impl UncheckedGetFunctionUrlConfigRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<GetFunctionUrlConfigRequest> {
        Some(GetFunctionUrlConfigRequest {
            function_name: self.function_name?,
            qualifier: self.qualifier,
        })
    }
}

impl UncheckedGetFunctionUrlConfigRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_URL_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.qualifier {
            violations.text("qualifier", &FUNCTION_URL_QUALIFIER, value);
        }
    }
}

/// [`GetPolicyRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedGetPolicyRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    pub(super) qualifier: Option<String>,
}

impl UncheckedGetPolicyRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<GetPolicyRequest> {
        Some(GetPolicyRequest {
            function_name: self.function_name?,
            qualifier: self.qualifier,
        })
    }
}

impl UncheckedGetPolicyRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &NAMESPACED_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.qualifier {
            violations.text(
                "qualifier",
                &NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER,
                value,
            );
        }
    }
}

static HANDLER: Text = Text {
    min: None,
    max: Some(128),
    pattern: Some(Pattern {
        text: "[^\\s]+",
        matcher: &patterns::HANDLER,
    }),
    one_of: None,
    sensitive: false,
};

static HEADER: Text = Text {
    min: None,
    max: Some(1024),
    pattern: Some(Pattern {
        text: ".*",
        matcher: &patterns::HEADER,
    }),
    one_of: None,
    sensitive: false,
};

static HEADERS_LIST: List = List {
    min: None,
    max: Some(100),
    element: Some(&HEADER),
};

impl ImageConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.entry_point {
            violations.list("entryPoint", &STRING_LIST, value);
        }
        if let Some(value) = &self.command {
            violations.list("command", &STRING_LIST, value);
        }
        if let Some(value) = &self.working_directory {
            violations.text("workingDirectory", &WORKING_DIRECTORY, value);
        }
    }
}

/// [`InvocationRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedInvocationRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `InvocationType`, the header `X-Amz-Invocation-Type`.
    pub(super) invocation_type: Option<String>,
    /// `LogType`, the header `X-Amz-Log-Type`.
    pub(super) log_type: Option<String>,
    /// `ClientContext`, the header `X-Amz-Client-Context`.
    pub(super) client_context: Option<String>,
    /// `DurableExecutionName`, the header `X-Amz-Durable-Execution-Name`.
    pub(super) durable_execution_name: Option<String>,
    /// `Payload`, the body itself.
    pub(super) payload: Option<Bytes>,
    /// `Qualifier`, the query's `Qualifier`.
    pub(super) qualifier: Option<String>,
    /// `TenantId`, the header `X-Amz-Tenant-Id`.
    pub(super) tenant_id: Option<String>,
}

impl UncheckedInvocationRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<InvocationRequest> {
        Some(InvocationRequest {
            function_name: self.function_name?,
            invocation_type: self.invocation_type,
            log_type: self.log_type,
            client_context: self.client_context,
            durable_execution_name: self.durable_execution_name,
            payload: self.payload,
            qualifier: self.qualifier,
            tenant_id: self.tenant_id,
        })
    }
}

impl UncheckedInvocationRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &NAMESPACED_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.invocation_type {
            violations.text("invocationType", &INVOCATION_TYPE, value);
        }
        if let Some(value) = &self.log_type {
            violations.text("logType", &LOG_TYPE, value);
        }
        if let Some(value) = &self.durable_execution_name {
            violations.text("durableExecutionName", &DURABLE_EXECUTION_NAME, value);
        }
        if let Some(value) = &self.qualifier {
            violations.text(
                "qualifier",
                &NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER,
                value,
            );
        }
        if let Some(value) = &self.tenant_id {
            violations.text("tenantId", &TENANT_ID, value);
        }
    }
}

static INVOCATION_TYPE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["Event", "RequestResponse", "DryRun"])),
    sensitive: false,
};

static INVOKE_MODE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["RESPONSE_STREAM", "BUFFERED"])),
    sensitive: false,
};

static KMS_KEY_ARN: Text = Text {
    min: None,
    max: Some(10000),
    pattern: Some(Pattern {
        text: "(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()",
        matcher: &patterns::KMS_KEY_ARN,
    }),
    one_of: None,
    sensitive: false,
};

/// [`LambdaManagedInstancesCapacityProviderConfig`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedLambdaManagedInstancesCapacityProviderConfig {
    /// `CapacityProviderArn`.
    #[serde(
        rename = "CapacityProviderArn",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) capacity_provider_arn: Option<String>,
    /// `PerExecutionEnvironmentMaxConcurrency`.
    #[serde(
        rename = "PerExecutionEnvironmentMaxConcurrency",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) per_execution_environment_max_concurrency: Option<i32>,
    /// `ExecutionEnvironmentMemoryGiBPerVCpu`.
    #[serde(
        rename = "ExecutionEnvironmentMemoryGiBPerVCpu",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) execution_environment_memory_gi_b_per_v_cpu: Option<f64>,
}

impl UncheckedLambdaManagedInstancesCapacityProviderConfig {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<LambdaManagedInstancesCapacityProviderConfig> {
        Some(LambdaManagedInstancesCapacityProviderConfig {
            capacity_provider_arn: self.capacity_provider_arn?,
            per_execution_environment_max_concurrency: self
                .per_execution_environment_max_concurrency,
            execution_environment_memory_gi_b_per_v_cpu: self
                .execution_environment_memory_gi_b_per_v_cpu,
        })
    }
}

impl UncheckedLambdaManagedInstancesCapacityProviderConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.capacity_provider_arn {
            Some(value) => {
                violations.text("capacityProviderArn", &CAPACITY_PROVIDER_ARN, value);
            }
            None => violations.missing("capacityProviderArn"),
        }
        if let Some(value) = &self.per_execution_environment_max_concurrency {
            violations.number(
                "perExecutionEnvironmentMaxConcurrency",
                &PER_EXECUTION_ENVIRONMENT_MAX_CONCURRENCY,
                f64::from(*value),
            );
        }
        if let Some(value) = &self.execution_environment_memory_gi_b_per_v_cpu {
            violations.number(
                "executionEnvironmentMemoryGiBPerVCpu",
                &EXECUTION_ENVIRONMENT_MEMORY_GI_B_PER_V_CPU,
                *value,
            );
        }
    }
}

static LAYER_LIST: List = List {
    min: None,
    max: None,
    element: Some(&LAYER_VERSION_ARN),
};

static LAYER_VERSION_ARN: Text = Text {
    min: Some(1),
    max: Some(2048),
    pattern: Some(Pattern {
        text: "(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)",
        matcher: &patterns::LAYER_VERSION_ARN,
    }),
    one_of: None,
    sensitive: false,
};

/// [`ListAliasesRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedListAliasesRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `FunctionVersion`, the query's `FunctionVersion`.
    pub(super) function_version: Option<String>,
    /// `Marker`, the query's `Marker`.
    pub(super) marker: Option<String>,
    /// `MaxItems`, the query's `MaxItems`.
    pub(super) max_items: Option<i32>,
}

impl UncheckedListAliasesRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<ListAliasesRequest> {
        Some(ListAliasesRequest {
            function_name: self.function_name?,
            function_version: self.function_version,
            marker: self.marker,
            max_items: self.max_items,
        })
    }
}

impl UncheckedListAliasesRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.function_version {
            violations.text("functionVersion", &VERSION_WITH_LATEST_PUBLISHED, value);
        }
        if let Some(value) = &self.max_items {
            violations.number("maxItems", &MAX_LIST_ITEMS, f64::from(*value));
        }
    }
}

/// [`ListFunctionUrlConfigsRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedListFunctionUrlConfigsRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Marker`, the query's `Marker`.
    pub(super) marker: Option<String>,
    /// `MaxItems`, the query's `MaxItems`.
    pub(super) max_items: Option<i32>,
}

impl UncheckedListFunctionUrlConfigsRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<ListFunctionUrlConfigsRequest> {
        Some(ListFunctionUrlConfigsRequest {
            function_name: self.function_name?,
            marker: self.marker,
            max_items: self.max_items,
        })
    }
}

impl UncheckedListFunctionUrlConfigsRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_URL_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.max_items {
            violations.number("maxItems", &MAX_ITEMS, f64::from(*value));
        }
    }
}

impl ListFunctionsRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.master_region {
            violations.text("masterRegion", &MASTER_REGION, value);
        }
        if let Some(value) = &self.function_version {
            violations.text("functionVersion", &FUNCTION_VERSION, value);
        }
        if let Some(value) = &self.max_items {
            violations.number("maxItems", &MAX_LIST_ITEMS, f64::from(*value));
        }
    }
}

/// [`ListTagsRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedListTagsRequest {
    /// `Resource`, a label of the path.
    pub(super) resource: Option<String>,
}

impl UncheckedListTagsRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<ListTagsRequest> {
        Some(ListTagsRequest {
            resource: self.resource?,
        })
    }
}

impl UncheckedListTagsRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.resource {
            Some(value) => {
                violations.text("resource", &TAGGABLE_RESOURCE, value);
            }
            None => violations.missing("resource"),
        }
    }
}

/// [`ListVersionsByFunctionRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedListVersionsByFunctionRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `Marker`, the query's `Marker`.
    pub(super) marker: Option<String>,
    /// `MaxItems`, the query's `MaxItems`.
    pub(super) max_items: Option<i32>,
}

impl UncheckedListVersionsByFunctionRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<ListVersionsByFunctionRequest> {
        Some(ListVersionsByFunctionRequest {
            function_name: self.function_name?,
            marker: self.marker,
            max_items: self.max_items,
        })
    }
}

impl UncheckedListVersionsByFunctionRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &NAMESPACED_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.max_items {
            violations.number("maxItems", &MAX_LIST_ITEMS, f64::from(*value));
        }
    }
}

static LOCAL_MOUNT_PATH: Text = Text {
    min: None,
    max: Some(160),
    pattern: Some(Pattern {
        text: "/mnt/[a-zA-Z0-9-_.]+",
        matcher: &patterns::LOCAL_MOUNT_PATH,
    }),
    one_of: None,
    sensitive: false,
};

static LOG_FORMAT: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["JSON", "Text"])),
    sensitive: false,
};

static LOG_GROUP: Text = Text {
    min: Some(1),
    max: Some(512),
    pattern: Some(Pattern {
        text: "[\\.\\-_/#A-Za-z0-9]+",
        matcher: &patterns::LOG_GROUP,
    }),
    one_of: None,
    sensitive: false,
};

static LOG_TYPE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["None", "Tail"])),
    sensitive: false,
};

impl LoggingConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.log_format {
            violations.text("logFormat", &LOG_FORMAT, value);
        }
        if let Some(value) = &self.application_log_level {
            violations.text("applicationLogLevel", &APPLICATION_LOG_LEVEL, value);
        }
        if let Some(value) = &self.system_log_level {
            violations.text("systemLogLevel", &SYSTEM_LOG_LEVEL, value);
        }
        if let Some(value) = &self.log_group {
            violations.text("logGroup", &LOG_GROUP, value);
        }
    }
}

static MASTER_REGION: Text = Text {
    min: Some(1),
    max: Some(50),
    pattern: Some(Pattern {
        text: "ALL|(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}",
        matcher: &patterns::MASTER_REGION,
    }),
    one_of: None,
    sensitive: false,
};

static MAX_AGE: Range = Range {
    min: Some(0.0),
    max: Some(86400.0),
};

static MAX_ITEMS: Range = Range {
    min: Some(1.0),
    max: Some(50.0),
};

static MAX_LIST_ITEMS: Range = Range {
    min: Some(1.0),
    max: Some(10000.0),
};

static MEMORY_SIZE: Range = Range {
    min: Some(128.0),
    max: None,
};

static METHOD: Text = Text {
    min: None,
    max: Some(6),
    pattern: Some(Pattern {
        text: ".*",
        matcher: &patterns::HEADER,
    }),
    one_of: None,
    sensitive: false,
};

static NAMESPACED_FUNCTION_NAME: Text = Text {
    min: Some(1),
    max: Some(256),
    pattern: Some(Pattern {
        text: "(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?",
        matcher: &patterns::NAMESPACED_FUNCTION_NAME,
    }),
    one_of: None,
    sensitive: false,
};

static NAMESPACED_STATEMENT_ID: Text = Text {
    min: Some(1),
    max: Some(100),
    pattern: Some(Pattern {
        text: "([a-zA-Z0-9-_.]+)",
        matcher: &patterns::NAMESPACED_STATEMENT_ID,
    }),
    one_of: None,
    sensitive: false,
};

static NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER: Text = Text {
    min: Some(1),
    max: Some(128),
    pattern: Some(Pattern {
        text: "\\$(LATEST(\\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
        matcher: &patterns::NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER,
    }),
    one_of: None,
    sensitive: false,
};

static ORIGIN: Text = Text {
    min: Some(1),
    max: Some(253),
    pattern: Some(Pattern {
        text: ".*",
        matcher: &patterns::HEADER,
    }),
    one_of: None,
    sensitive: false,
};

static PACKAGE_TYPE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["Zip", "Image"])),
    sensitive: false,
};

static PER_EXECUTION_ENVIRONMENT_MAX_CONCURRENCY: Range = Range {
    min: Some(1.0),
    max: Some(1600.0),
};

static PRINCIPAL: Text = Text {
    min: None,
    max: Some(2048),
    pattern: Some(Pattern {
        text: "[^\\s]+",
        matcher: &patterns::HANDLER,
    }),
    one_of: None,
    sensitive: false,
};

static PRINCIPAL_ORG_ID: Text = Text {
    min: Some(12),
    max: Some(34),
    pattern: Some(Pattern {
        text: "o-[a-z0-9]{10,32}",
        matcher: &patterns::PRINCIPAL_ORG_ID,
    }),
    one_of: None,
    sensitive: false,
};

/// [`PublishVersionRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedPublishVersionRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `CodeSha256`.
    #[serde(rename = "CodeSha256", default, deserialize_with = "json::scalar")]
    pub(super) code_sha256: Option<String>,
    /// `Description`.
    #[serde(rename = "Description", default, deserialize_with = "json::scalar")]
    pub(super) description: Option<String>,
    /// `RevisionId`.
    #[serde(rename = "RevisionId", default, deserialize_with = "json::scalar")]
    pub(super) revision_id: Option<String>,
    /// `PublishTo`.
    #[serde(rename = "PublishTo", default, deserialize_with = "json::scalar")]
    pub(super) publish_to: Option<String>,
}

impl UncheckedPublishVersionRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<PublishVersionRequest> {
        Some(PublishVersionRequest {
            function_name: self.function_name?,
            code_sha256: self.code_sha256,
            description: self.description,
            revision_id: self.revision_id,
            publish_to: self.publish_to,
        })
    }
}

impl UncheckedPublishVersionRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.description {
            violations.text("description", &DESCRIPTION, value);
        }
        if let Some(value) = &self.publish_to {
            violations.text("publishTo", &FUNCTION_VERSION_LATEST_PUBLISHED, value);
        }
    }
}

/// [`PutFunctionConcurrencyRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedPutFunctionConcurrencyRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `ReservedConcurrentExecutions`.
    #[serde(
        rename = "ReservedConcurrentExecutions",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) reserved_concurrent_executions: Option<i32>,
}

impl UncheckedPutFunctionConcurrencyRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<PutFunctionConcurrencyRequest> {
        Some(PutFunctionConcurrencyRequest {
            function_name: self.function_name?,
            reserved_concurrent_executions: self.reserved_concurrent_executions?,
        })
    }
}

impl UncheckedPutFunctionConcurrencyRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        match &self.reserved_concurrent_executions {
            Some(value) => {
                violations.number(
                    "reservedConcurrentExecutions",
                    &RESERVED_CONCURRENT_EXECUTIONS,
                    f64::from(*value),
                );
            }
            None => violations.missing("reservedConcurrentExecutions"),
        }
    }
}

/// [`RemovePermissionRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedRemovePermissionRequest {
    /// `FunctionName`, a label of the path.
    pub(super) function_name: Option<String>,
    /// `StatementId`, a label of the path.
    pub(super) statement_id: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    pub(super) qualifier: Option<String>,
    /// `RevisionId`, the query's `RevisionId`.
    pub(super) revision_id: Option<String>,
}

impl UncheckedRemovePermissionRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<RemovePermissionRequest> {
        Some(RemovePermissionRequest {
            function_name: self.function_name?,
            statement_id: self.statement_id?,
            qualifier: self.qualifier,
            revision_id: self.revision_id,
        })
    }
}

impl UncheckedRemovePermissionRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &NAMESPACED_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        match &self.statement_id {
            Some(value) => {
                violations.text("statementId", &NAMESPACED_STATEMENT_ID, value);
            }
            None => violations.missing("statementId"),
        }
        if let Some(value) = &self.qualifier {
            violations.text(
                "qualifier",
                &NUMERIC_LATEST_PUBLISHED_OR_ALIAS_QUALIFIER,
                value,
            );
        }
    }
}

static RESERVED_CONCURRENT_EXECUTIONS: Range = Range {
    min: Some(0.0),
    max: None,
};

static RESOURCE_ARN: Text = Text {
    min: None,
    max: Some(10000),
    pattern: Some(Pattern {
        text: "(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()",
        matcher: &patterns::KMS_KEY_ARN,
    }),
    one_of: None,
    sensitive: false,
};

static RETENTION_PERIOD_IN_DAYS: Range = Range {
    min: Some(1.0),
    max: Some(90.0),
};

static ROLE_ARN: Text = Text {
    min: None,
    max: Some(10000),
    pattern: Some(Pattern {
        text: "arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
        matcher: &patterns::ROLE_ARN,
    }),
    one_of: None,
    sensitive: false,
};

static S3_BUCKET: Text = Text {
    min: Some(3),
    max: Some(63),
    pattern: Some(Pattern {
        text: "[0-9A-Za-z\\.\\-_]*(?<!\\.)",
        matcher: &patterns::S3_BUCKET,
    }),
    one_of: None,
    sensitive: false,
};

impl S3FilesConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.direct_s3_read {
            violations.text("directS3Read", &DIRECT_S3_READ, value);
        }
    }
}

static S3_KEY: Text = Text {
    min: Some(1),
    max: Some(1024),
    pattern: Some(Pattern {
        text: ".*",
        matcher: &patterns::HEADER,
    }),
    one_of: None,
    sensitive: false,
};

static S3_OBJECT_STORAGE_MODE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["COPY", "REFERENCE"])),
    sensitive: false,
};

static S3_OBJECT_VERSION: Text = Text {
    min: Some(1),
    max: Some(1024),
    pattern: Some(Pattern {
        text: ".*",
        matcher: &patterns::HEADER,
    }),
    one_of: None,
    sensitive: false,
};

static SECURITY_GROUP_ID: Text = Text {
    min: None,
    max: Some(1024),
    pattern: Some(Pattern {
        text: "sg-[0-9a-zA-Z]*",
        matcher: &patterns::SECURITY_GROUP_ID,
    }),
    one_of: None,
    sensitive: false,
};

static SECURITY_GROUP_IDS: List = List {
    min: None,
    max: Some(5),
    element: Some(&SECURITY_GROUP_ID),
};

impl SnapStart {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.apply_on {
            violations.text("applyOn", &SNAP_START_APPLY_ON, value);
        }
    }
}

static SNAP_START_APPLY_ON: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["PublishedVersions", "None"])),
    sensitive: false,
};

static SOURCE_OWNER: Text = Text {
    min: None,
    max: Some(12),
    pattern: Some(Pattern {
        text: "\\d{12}",
        matcher: &patterns::SOURCE_OWNER,
    }),
    one_of: None,
    sensitive: false,
};

static STATEMENT_ID: Text = Text {
    min: Some(1),
    max: Some(100),
    pattern: Some(Pattern {
        text: "([a-zA-Z0-9-_]+)",
        matcher: &patterns::STATEMENT_ID,
    }),
    one_of: None,
    sensitive: false,
};

static STRING_LIST: List = List {
    min: None,
    max: Some(1500),
    element: None,
};

static SUBNET_ID: Text = Text {
    min: None,
    max: Some(1024),
    pattern: Some(Pattern {
        text: "subnet-[0-9a-z]*",
        matcher: &patterns::SUBNET_ID,
    }),
    one_of: None,
    sensitive: false,
};

static SUBNET_IDS: List = List {
    min: None,
    max: Some(16),
    element: Some(&SUBNET_ID),
};

static SYSTEM_LOG_LEVEL: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["DEBUG", "INFO", "WARN"])),
    sensitive: false,
};

static TAG_KEY: Text = Text {
    min: Some(1),
    max: Some(128),
    pattern: Some(Pattern {
        text: "([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)",
        matcher: &patterns::TAG_KEY,
    }),
    one_of: None,
    sensitive: false,
};

static TAG_KEY_LIST: List = List {
    min: None,
    max: None,
    element: Some(&TAG_KEY),
};

/// [`TagResourceRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedTagResourceRequest {
    /// `Resource`, a label of the path.
    #[serde(skip)]
    pub(super) resource: Option<String>,
    /// `Tags`.
    #[serde(rename = "Tags", default, deserialize_with = "json::map")]
    pub(super) tags: Option<BTreeMap<String, String>>,
}

impl UncheckedTagResourceRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<TagResourceRequest> {
        Some(TagResourceRequest {
            resource: self.resource?,
            tags: self.tags?,
        })
    }
}

impl UncheckedTagResourceRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.resource {
            Some(value) => {
                violations.text("resource", &TAGGABLE_RESOURCE, value);
            }
            None => violations.missing("resource"),
        }
        match &self.tags {
            Some(value) => {
                violations.map("tags", &TAGS, value);
            }
            None => violations.missing("tags"),
        }
    }
}

static TAG_VALUE: Text = Text {
    min: None,
    max: Some(256),
    pattern: Some(Pattern {
        text: "([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)",
        matcher: &patterns::TAG_KEY,
    }),
    one_of: None,
    sensitive: false,
};

static TAGGABLE_RESOURCE: Text = Text {
    min: Some(1),
    max: Some(10000),
    pattern: Some(Pattern {
        text: "arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:(function:[a-zA-Z0-9-_]+(:(\\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)",
        matcher: &patterns::TAGGABLE_RESOURCE,
    }),
    one_of: None,
    sensitive: false,
};

static TAGS: Map = Map {
    key: Some(&TAG_KEY),
    value: Some(ValueRule::Text(&TAG_VALUE)),
    sensitive: false,
};

/// [`TenancyConfig`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedTenancyConfig {
    /// `TenantIsolationMode`.
    #[serde(
        rename = "TenantIsolationMode",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) tenant_isolation_mode: Option<String>,
}

impl UncheckedTenancyConfig {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<TenancyConfig> {
        Some(TenancyConfig {
            tenant_isolation_mode: self.tenant_isolation_mode?,
        })
    }
}

impl UncheckedTenancyConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.tenant_isolation_mode {
            Some(value) => {
                violations.text("tenantIsolationMode", &TENANT_ISOLATION_MODE, value);
            }
            None => violations.missing("tenantIsolationMode"),
        }
    }
}

static TENANT_ID: Text = Text {
    min: Some(1),
    max: Some(256),
    pattern: Some(Pattern {
        text: "[a-zA-Z0-9\\._:\\/=+\\-@ ]+",
        matcher: &patterns::TENANT_ID,
    }),
    one_of: None,
    sensitive: false,
};

static TENANT_ISOLATION_MODE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["PER_TENANT"])),
    sensitive: false,
};

static TIMEOUT: Range = Range {
    min: Some(1.0),
    max: None,
};

impl TracingConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.mode {
            violations.text("mode", &TRACING_MODE, value);
        }
    }
}

static TRACING_MODE: Text = Text {
    min: None,
    max: None,
    pattern: None,
    one_of: Some(OneOf(&["Active", "PassThrough"])),
    sensitive: false,
};

/// [`UntagResourceRequest`] before its required members are known to be there.
#[derive(Default)]
pub(super) struct UncheckedUntagResourceRequest {
    /// `Resource`, a label of the path.
    pub(super) resource: Option<String>,
    /// `TagKeys`, the query's `tagKeys`.
    pub(super) tag_keys: Option<Vec<String>>,
}

impl UncheckedUntagResourceRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<UntagResourceRequest> {
        Some(UntagResourceRequest {
            resource: self.resource?,
            tag_keys: self.tag_keys?,
        })
    }
}

impl UncheckedUntagResourceRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.resource {
            Some(value) => {
                violations.text("resource", &TAGGABLE_RESOURCE, value);
            }
            None => violations.missing("resource"),
        }
        match &self.tag_keys {
            Some(value) => {
                violations.list("tagKeys", &TAG_KEY_LIST, value);
            }
            None => violations.missing("tagKeys"),
        }
    }
}

/// [`UpdateAliasRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedUpdateAliasRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `Name`, a label of the path.
    #[serde(skip)]
    pub(super) name: Option<String>,
    /// `FunctionVersion`.
    #[serde(rename = "FunctionVersion", default, deserialize_with = "json::scalar")]
    pub(super) function_version: Option<String>,
    /// `Description`.
    #[serde(rename = "Description", default, deserialize_with = "json::scalar")]
    pub(super) description: Option<String>,
    /// `RoutingConfig`.
    #[serde(rename = "RoutingConfig", default, deserialize_with = "json::object")]
    pub(super) routing_config: Option<AliasRoutingConfiguration>,
    /// `RevisionId`.
    #[serde(rename = "RevisionId", default, deserialize_with = "json::scalar")]
    pub(super) revision_id: Option<String>,
}

impl UncheckedUpdateAliasRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<UpdateAliasRequest> {
        Some(UpdateAliasRequest {
            function_name: self.function_name?,
            name: self.name?,
            function_version: self.function_version,
            description: self.description,
            routing_config: self.routing_config,
            revision_id: self.revision_id,
        })
    }
}

impl UncheckedUpdateAliasRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        match &self.name {
            Some(value) => {
                violations.text("name", &ALIAS, value);
            }
            None => violations.missing("name"),
        }
        if let Some(value) = &self.function_version {
            violations.text("functionVersion", &VERSION_WITH_LATEST_PUBLISHED, value);
        }
        if let Some(value) = &self.description {
            violations.text("description", &DESCRIPTION, value);
        }
        if let Some(value) = &self.routing_config {
            violations.within("routingConfig", |violations| value.check(violations));
        }
    }
}

/// [`UpdateFunctionCodeRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedUpdateFunctionCodeRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `ZipFile`.
    #[serde(rename = "ZipFile", default, deserialize_with = "json::scalar")]
    pub(super) zip_file: Option<Bytes>,
    /// `S3Bucket`.
    #[serde(rename = "S3Bucket", default, deserialize_with = "json::scalar")]
    pub(super) s3_bucket: Option<String>,
    /// `S3Key`.
    #[serde(rename = "S3Key", default, deserialize_with = "json::scalar")]
    pub(super) s3_key: Option<String>,
    /// `S3ObjectVersion`.
    #[serde(rename = "S3ObjectVersion", default, deserialize_with = "json::scalar")]
    pub(super) s3_object_version: Option<String>,
    /// `S3ObjectStorageMode`.
    #[serde(
        rename = "S3ObjectStorageMode",
        default,
        deserialize_with = "json::scalar"
    )]
    pub(super) s3_object_storage_mode: Option<String>,
    /// `ImageUri`.
    #[serde(rename = "ImageUri", default, deserialize_with = "json::scalar")]
    pub(super) image_uri: Option<String>,
    /// `Architectures`.
    #[serde(rename = "Architectures", default, deserialize_with = "json::list")]
    pub(super) architectures: Option<Vec<String>>,
    /// `Publish`.
    #[serde(rename = "Publish", default, deserialize_with = "json::scalar")]
    pub(super) publish: Option<bool>,
    /// `PublishTo`.
    #[serde(rename = "PublishTo", default, deserialize_with = "json::scalar")]
    pub(super) publish_to: Option<String>,
    /// `DryRun`.
    #[serde(rename = "DryRun", default, deserialize_with = "json::scalar")]
    pub(super) dry_run: Option<bool>,
    /// `RevisionId`.
    #[serde(rename = "RevisionId", default, deserialize_with = "json::scalar")]
    pub(super) revision_id: Option<String>,
    /// `SourceKMSKeyArn`.
    #[serde(rename = "SourceKMSKeyArn", default, deserialize_with = "json::scalar")]
    pub(super) source_kms_key_arn: Option<String>,
}

impl UncheckedUpdateFunctionCodeRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<UpdateFunctionCodeRequest> {
        Some(UpdateFunctionCodeRequest {
            function_name: self.function_name?,
            zip_file: self.zip_file,
            s3_bucket: self.s3_bucket,
            s3_key: self.s3_key,
            s3_object_version: self.s3_object_version,
            s3_object_storage_mode: self.s3_object_storage_mode,
            image_uri: self.image_uri,
            architectures: self.architectures,
            publish: self.publish,
            publish_to: self.publish_to,
            dry_run: self.dry_run,
            revision_id: self.revision_id,
            source_kms_key_arn: self.source_kms_key_arn,
        })
    }
}

impl UncheckedUpdateFunctionCodeRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.s3_bucket {
            violations.text("s3Bucket", &S3_BUCKET, value);
        }
        if let Some(value) = &self.s3_key {
            violations.text("s3Key", &S3_KEY, value);
        }
        if let Some(value) = &self.s3_object_version {
            violations.text("s3ObjectVersion", &S3_OBJECT_VERSION, value);
        }
        if let Some(value) = &self.s3_object_storage_mode {
            violations.text("s3ObjectStorageMode", &S3_OBJECT_STORAGE_MODE, value);
        }
        if let Some(value) = &self.architectures {
            violations.list("architectures", &ARCHITECTURES_LIST, value);
        }
        if let Some(value) = &self.publish_to {
            violations.text("publishTo", &FUNCTION_VERSION_LATEST_PUBLISHED, value);
        }
        if let Some(value) = &self.source_kms_key_arn {
            violations.text("sourceKMSKeyArn", &KMS_KEY_ARN, value);
        }
    }
}

/// [`UpdateFunctionConfigurationRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedUpdateFunctionConfigurationRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `Role`.
    #[serde(rename = "Role", default, deserialize_with = "json::scalar")]
    pub(super) role: Option<String>,
    /// `Handler`.
    #[serde(rename = "Handler", default, deserialize_with = "json::scalar")]
    pub(super) handler: Option<String>,
    /// `Description`.
    #[serde(rename = "Description", default, deserialize_with = "json::scalar")]
    pub(super) description: Option<String>,
    /// `Timeout`.
    #[serde(rename = "Timeout", default, deserialize_with = "json::scalar")]
    pub(super) timeout: Option<i32>,
    /// `MemorySize`.
    #[serde(rename = "MemorySize", default, deserialize_with = "json::scalar")]
    pub(super) memory_size: Option<i32>,
    /// `VpcConfig`.
    #[serde(rename = "VpcConfig", default, deserialize_with = "json::object")]
    pub(super) vpc_config: Option<VpcConfig>,
    /// `Environment`.
    #[serde(rename = "Environment", default, deserialize_with = "json::object")]
    pub(super) environment: Option<Environment>,
    /// `Runtime`.
    #[serde(rename = "Runtime", default, deserialize_with = "json::scalar")]
    pub(super) runtime: Option<String>,
    /// `DeadLetterConfig`.
    #[serde(
        rename = "DeadLetterConfig",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) dead_letter_config: Option<DeadLetterConfig>,
    /// `KMSKeyArn`.
    #[serde(rename = "KMSKeyArn", default, deserialize_with = "json::scalar")]
    pub(super) kms_key_arn: Option<String>,
    /// `TracingConfig`.
    #[serde(rename = "TracingConfig", default, deserialize_with = "json::object")]
    pub(super) tracing_config: Option<TracingConfig>,
    /// `RevisionId`.
    #[serde(rename = "RevisionId", default, deserialize_with = "json::scalar")]
    pub(super) revision_id: Option<String>,
    /// `Layers`.
    #[serde(rename = "Layers", default, deserialize_with = "json::list")]
    pub(super) layers: Option<Vec<String>>,
    /// `FileSystemConfigs`.
    #[serde(
        rename = "FileSystemConfigs",
        default,
        deserialize_with = "json::objects"
    )]
    pub(super) file_system_configs: Option<Vec<UncheckedFileSystemConfig>>,
    /// `ImageConfig`.
    #[serde(rename = "ImageConfig", default, deserialize_with = "json::object")]
    pub(super) image_config: Option<ImageConfig>,
    /// `EphemeralStorage`.
    #[serde(
        rename = "EphemeralStorage",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) ephemeral_storage: Option<UncheckedEphemeralStorage>,
    /// `SnapStart`.
    #[serde(rename = "SnapStart", default, deserialize_with = "json::object")]
    pub(super) snap_start: Option<SnapStart>,
    /// `LoggingConfig`.
    #[serde(rename = "LoggingConfig", default, deserialize_with = "json::object")]
    pub(super) logging_config: Option<LoggingConfig>,
    /// `CapacityProviderConfig`.
    #[serde(
        rename = "CapacityProviderConfig",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) capacity_provider_config: Option<UncheckedCapacityProviderConfig>,
    /// `DurableConfig`.
    #[serde(rename = "DurableConfig", default, deserialize_with = "json::object")]
    pub(super) durable_config: Option<DurableConfig>,
    /// `RuntimeConfig`.
    #[serde(rename = "RuntimeConfig", default, deserialize_with = "json::object")]
    pub(super) runtime_config: Option<UncheckedFunctionRuntimeConfig>,
    /// `AcceleratorConfig`.
    #[serde(
        rename = "AcceleratorConfig",
        default,
        deserialize_with = "json::object"
    )]
    pub(super) accelerator_config: Option<UncheckedAcceleratorConfig>,
}

impl UncheckedUpdateFunctionConfigurationRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<UpdateFunctionConfigurationRequest> {
        Some(UpdateFunctionConfigurationRequest {
            function_name: self.function_name?,
            role: self.role,
            handler: self.handler,
            description: self.description,
            timeout: self.timeout,
            memory_size: self.memory_size,
            vpc_config: self.vpc_config,
            environment: self.environment,
            runtime: self.runtime,
            dead_letter_config: self.dead_letter_config,
            kms_key_arn: self.kms_key_arn,
            tracing_config: self.tracing_config,
            revision_id: self.revision_id,
            layers: self.layers,
            file_system_configs: match self.file_system_configs {
                Some(list) => Some(
                    list.into_iter()
                        .map(UncheckedFileSystemConfig::accept)
                        .collect::<Option<_>>()?,
                ),
                None => None,
            },
            image_config: self.image_config,
            ephemeral_storage: match self.ephemeral_storage {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
            snap_start: self.snap_start,
            logging_config: self.logging_config,
            capacity_provider_config: match self.capacity_provider_config {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
            durable_config: self.durable_config,
            runtime_config: match self.runtime_config {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
            accelerator_config: match self.accelerator_config {
                Some(inner) => Some(inner.accept()?),
                None => None,
            },
        })
    }
}

impl UncheckedUpdateFunctionConfigurationRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.role {
            violations.text("role", &ROLE_ARN, value);
        }
        if let Some(value) = &self.handler {
            violations.text("handler", &HANDLER, value);
        }
        if let Some(value) = &self.description {
            violations.text("description", &DESCRIPTION, value);
        }
        if let Some(value) = &self.timeout {
            violations.number("timeout", &TIMEOUT, f64::from(*value));
        }
        if let Some(value) = &self.memory_size {
            violations.number("memorySize", &MEMORY_SIZE, f64::from(*value));
        }
        if let Some(value) = &self.vpc_config {
            violations.within("vpcConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.environment {
            violations.within("environment", |violations| value.check(violations));
        }
        if let Some(value) = &self.dead_letter_config {
            violations.within("deadLetterConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.kms_key_arn {
            violations.text("kMSKeyArn", &KMS_KEY_ARN, value);
        }
        if let Some(value) = &self.tracing_config {
            violations.within("tracingConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.layers {
            violations.list("layers", &LAYER_LIST, value);
        }
        if let Some(value) = &self.file_system_configs {
            violations.count("fileSystemConfigs", &FILE_SYSTEM_CONFIG_LIST, value.len());
            violations.within_each("fileSystemConfigs", value, |item, violations| {
                item.check(violations)
            });
        }
        if let Some(value) = &self.image_config {
            violations.within("imageConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.ephemeral_storage {
            violations.within("ephemeralStorage", |violations| value.check(violations));
        }
        if let Some(value) = &self.snap_start {
            violations.within("snapStart", |violations| value.check(violations));
        }
        if let Some(value) = &self.logging_config {
            violations.within("loggingConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.capacity_provider_config {
            violations.within("capacityProviderConfig", |violations| {
                value.check(violations)
            });
        }
        if let Some(value) = &self.durable_config {
            violations.within("durableConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.runtime_config {
            violations.within("runtimeConfig", |violations| value.check(violations));
        }
        if let Some(value) = &self.accelerator_config {
            violations.within("acceleratorConfig", |violations| value.check(violations));
        }
    }
}

/// [`UpdateFunctionUrlConfigRequest`] before its required members are known to be there.
#[derive(Default, Deserialize)]
pub(super) struct UncheckedUpdateFunctionUrlConfigRequest {
    /// `FunctionName`, a label of the path.
    #[serde(skip)]
    pub(super) function_name: Option<String>,
    /// `Qualifier`, the query's `Qualifier`.
    #[serde(skip)]
    pub(super) qualifier: Option<String>,
    /// `AuthType`.
    #[serde(rename = "AuthType", default, deserialize_with = "json::scalar")]
    pub(super) auth_type: Option<String>,
    /// `Cors`.
    #[serde(rename = "Cors", default, deserialize_with = "json::object")]
    pub(super) cors: Option<Cors>,
    /// `InvokeMode`.
    #[serde(rename = "InvokeMode", default, deserialize_with = "json::scalar")]
    pub(super) invoke_mode: Option<String>,
}

impl UncheckedUpdateFunctionUrlConfigRequest {
    /// `None` if a required member is missing.
    pub(super) fn accept(self) -> Option<UpdateFunctionUrlConfigRequest> {
        Some(UpdateFunctionUrlConfigRequest {
            function_name: self.function_name?,
            qualifier: self.qualifier,
            auth_type: self.auth_type,
            cors: self.cors,
            invoke_mode: self.invoke_mode,
        })
    }
}

impl UncheckedUpdateFunctionUrlConfigRequest {
    pub(super) fn check(&self, violations: &mut Violations) {
        match &self.function_name {
            Some(value) => {
                violations.text("functionName", &FUNCTION_URL_FUNCTION_NAME, value);
            }
            None => violations.missing("functionName"),
        }
        if let Some(value) = &self.qualifier {
            violations.text("qualifier", &FUNCTION_URL_QUALIFIER, value);
        }
        if let Some(value) = &self.auth_type {
            violations.text("authType", &FUNCTION_URL_AUTH_TYPE, value);
        }
        if let Some(value) = &self.cors {
            violations.within("cors", |violations| value.check(violations));
        }
        if let Some(value) = &self.invoke_mode {
            violations.text("invokeMode", &INVOKE_MODE, value);
        }
    }
}

static VERSION_WITH_LATEST_PUBLISHED: Text = Text {
    min: Some(1),
    max: Some(1024),
    pattern: Some(Pattern {
        text: "(\\$LATEST(\\.PUBLISHED)?|[0-9]+)",
        matcher: &patterns::VERSION_WITH_LATEST_PUBLISHED,
    }),
    one_of: None,
    sensitive: false,
};

impl VpcConfig {
    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(value) = &self.subnet_ids {
            violations.list("subnetIds", &SUBNET_IDS, value);
        }
        if let Some(value) = &self.security_group_ids {
            violations.list("securityGroupIds", &SECURITY_GROUP_IDS, value);
        }
    }
}

static WEIGHT: Range = Range {
    min: Some(0.0),
    max: Some(1.0),
};

static WORKING_DIRECTORY: Text = Text {
    min: None,
    max: Some(1000),
    pattern: None,
    one_of: None,
    sensitive: false,
};
