//! AWS Lambda: operations and routes. Written by `cargo xtask codegen`; edits are lost.

use http::{Method, Uri};

use crate::route::{Labels, RouteMatch, SEGMENTS_MAX, query_has, segments};

/// Every operation of the service, served or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `AddLayerVersionPermission`.
    AddLayerVersionPermission,
    /// `AddPermission`.
    AddPermission,
    /// `CheckpointDurableExecution`.
    CheckpointDurableExecution,
    /// `CreateAlias`.
    CreateAlias,
    /// `CreateCapacityProvider`.
    CreateCapacityProvider,
    /// `CreateCodeSigningConfig`.
    CreateCodeSigningConfig,
    /// `CreateEventSourceMapping`.
    CreateEventSourceMapping,
    /// `CreateFunction`.
    CreateFunction,
    /// `CreateFunctionUrlConfig`.
    CreateFunctionUrlConfig,
    /// `DeleteAlias`.
    DeleteAlias,
    /// `DeleteCapacityProvider`.
    DeleteCapacityProvider,
    /// `DeleteCodeSigningConfig`.
    DeleteCodeSigningConfig,
    /// `DeleteDurableExecution`.
    DeleteDurableExecution,
    /// `DeleteEventSourceMapping`.
    DeleteEventSourceMapping,
    /// `DeleteFunction`.
    DeleteFunction,
    /// `DeleteFunctionCodeSigningConfig`.
    DeleteFunctionCodeSigningConfig,
    /// `DeleteFunctionConcurrency`.
    DeleteFunctionConcurrency,
    /// `DeleteFunctionEventInvokeConfig`.
    DeleteFunctionEventInvokeConfig,
    /// `DeleteFunctionUrlConfig`.
    DeleteFunctionUrlConfig,
    /// `DeleteLayerVersion`.
    DeleteLayerVersion,
    /// `DeleteProvisionedConcurrencyConfig`.
    DeleteProvisionedConcurrencyConfig,
    /// `DeleteResourcePolicy`.
    DeleteResourcePolicy,
    /// `GetAccountSettings`.
    GetAccountSettings,
    /// `GetAlias`.
    GetAlias,
    /// `GetCapacityProvider`.
    GetCapacityProvider,
    /// `GetCodeSigningConfig`.
    GetCodeSigningConfig,
    /// `GetDurableExecution`.
    GetDurableExecution,
    /// `GetDurableExecutionHistory`.
    GetDurableExecutionHistory,
    /// `GetDurableExecutionState`.
    GetDurableExecutionState,
    /// `GetEventSourceMapping`.
    GetEventSourceMapping,
    /// `GetFunction`.
    GetFunction,
    /// `GetFunctionCodeSigningConfig`.
    GetFunctionCodeSigningConfig,
    /// `GetFunctionConcurrency`.
    GetFunctionConcurrency,
    /// `GetFunctionConfiguration`.
    GetFunctionConfiguration,
    /// `GetFunctionEventInvokeConfig`.
    GetFunctionEventInvokeConfig,
    /// `GetFunctionRecursionConfig`.
    GetFunctionRecursionConfig,
    /// `GetFunctionScalingConfig`.
    GetFunctionScalingConfig,
    /// `GetFunctionUrlConfig`.
    GetFunctionUrlConfig,
    /// `GetLayerVersion`.
    GetLayerVersion,
    /// `GetLayerVersionByArn`.
    GetLayerVersionByArn,
    /// `GetLayerVersionPolicy`.
    GetLayerVersionPolicy,
    /// `GetPolicy`.
    GetPolicy,
    /// `GetProvisionedConcurrencyConfig`.
    GetProvisionedConcurrencyConfig,
    /// `GetResourcePolicy`.
    GetResourcePolicy,
    /// `GetRuntimeManagementConfig`.
    GetRuntimeManagementConfig,
    /// `Invoke`.
    Invoke,
    /// `InvokeAsync`.
    InvokeAsync,
    /// `InvokeWithResponseStream`.
    InvokeWithResponseStream,
    /// `ListAliases`.
    ListAliases,
    /// `ListCapacityProviders`.
    ListCapacityProviders,
    /// `ListCodeSigningConfigs`.
    ListCodeSigningConfigs,
    /// `ListDurableExecutionsByFunction`.
    ListDurableExecutionsByFunction,
    /// `ListEventSourceMappings`.
    ListEventSourceMappings,
    /// `ListFunctionEventInvokeConfigs`.
    ListFunctionEventInvokeConfigs,
    /// `ListFunctionUrlConfigs`.
    ListFunctionUrlConfigs,
    /// `ListFunctionVersionsByCapacityProvider`.
    ListFunctionVersionsByCapacityProvider,
    /// `ListFunctions`.
    ListFunctions,
    /// `ListFunctionsByCodeSigningConfig`.
    ListFunctionsByCodeSigningConfig,
    /// `ListLayerVersions`.
    ListLayerVersions,
    /// `ListLayers`.
    ListLayers,
    /// `ListProvisionedConcurrencyConfigs`.
    ListProvisionedConcurrencyConfigs,
    /// `ListTags`.
    ListTags,
    /// `ListVersionsByFunction`.
    ListVersionsByFunction,
    /// `PauseDurableExecution`.
    PauseDurableExecution,
    /// `PublishLayerVersion`.
    PublishLayerVersion,
    /// `PublishVersion`.
    PublishVersion,
    /// `PutFunctionCodeSigningConfig`.
    PutFunctionCodeSigningConfig,
    /// `PutFunctionConcurrency`.
    PutFunctionConcurrency,
    /// `PutFunctionEventInvokeConfig`.
    PutFunctionEventInvokeConfig,
    /// `PutFunctionRecursionConfig`.
    PutFunctionRecursionConfig,
    /// `PutFunctionScalingConfig`.
    PutFunctionScalingConfig,
    /// `PutProvisionedConcurrencyConfig`.
    PutProvisionedConcurrencyConfig,
    /// `PutResourcePolicy`.
    PutResourcePolicy,
    /// `PutRuntimeManagementConfig`.
    PutRuntimeManagementConfig,
    /// `RemoveLayerVersionPermission`.
    RemoveLayerVersionPermission,
    /// `RemovePermission`.
    RemovePermission,
    /// `ResumeDurableExecution`.
    ResumeDurableExecution,
    /// `SendDurableExecutionCallbackFailure`.
    SendDurableExecutionCallbackFailure,
    /// `SendDurableExecutionCallbackHeartbeat`.
    SendDurableExecutionCallbackHeartbeat,
    /// `SendDurableExecutionCallbackSuccess`.
    SendDurableExecutionCallbackSuccess,
    /// `StopDurableExecution`.
    StopDurableExecution,
    /// `TagResource`.
    TagResource,
    /// `UntagResource`.
    UntagResource,
    /// `UpdateAlias`.
    UpdateAlias,
    /// `UpdateCapacityProvider`.
    UpdateCapacityProvider,
    /// `UpdateCodeSigningConfig`.
    UpdateCodeSigningConfig,
    /// `UpdateEventSourceMapping`.
    UpdateEventSourceMapping,
    /// `UpdateFunctionCode`.
    UpdateFunctionCode,
    /// `UpdateFunctionConfiguration`.
    UpdateFunctionConfiguration,
    /// `UpdateFunctionEventInvokeConfig`.
    UpdateFunctionEventInvokeConfig,
    /// `UpdateFunctionUrlConfig`.
    UpdateFunctionUrlConfig,
}

impl Operation {
    /// All operations, by name.
    pub const ALL: &[Operation] = &[
        Operation::AddLayerVersionPermission,
        Operation::AddPermission,
        Operation::CheckpointDurableExecution,
        Operation::CreateAlias,
        Operation::CreateCapacityProvider,
        Operation::CreateCodeSigningConfig,
        Operation::CreateEventSourceMapping,
        Operation::CreateFunction,
        Operation::CreateFunctionUrlConfig,
        Operation::DeleteAlias,
        Operation::DeleteCapacityProvider,
        Operation::DeleteCodeSigningConfig,
        Operation::DeleteDurableExecution,
        Operation::DeleteEventSourceMapping,
        Operation::DeleteFunction,
        Operation::DeleteFunctionCodeSigningConfig,
        Operation::DeleteFunctionConcurrency,
        Operation::DeleteFunctionEventInvokeConfig,
        Operation::DeleteFunctionUrlConfig,
        Operation::DeleteLayerVersion,
        Operation::DeleteProvisionedConcurrencyConfig,
        Operation::DeleteResourcePolicy,
        Operation::GetAccountSettings,
        Operation::GetAlias,
        Operation::GetCapacityProvider,
        Operation::GetCodeSigningConfig,
        Operation::GetDurableExecution,
        Operation::GetDurableExecutionHistory,
        Operation::GetDurableExecutionState,
        Operation::GetEventSourceMapping,
        Operation::GetFunction,
        Operation::GetFunctionCodeSigningConfig,
        Operation::GetFunctionConcurrency,
        Operation::GetFunctionConfiguration,
        Operation::GetFunctionEventInvokeConfig,
        Operation::GetFunctionRecursionConfig,
        Operation::GetFunctionScalingConfig,
        Operation::GetFunctionUrlConfig,
        Operation::GetLayerVersion,
        Operation::GetLayerVersionByArn,
        Operation::GetLayerVersionPolicy,
        Operation::GetPolicy,
        Operation::GetProvisionedConcurrencyConfig,
        Operation::GetResourcePolicy,
        Operation::GetRuntimeManagementConfig,
        Operation::Invoke,
        Operation::InvokeAsync,
        Operation::InvokeWithResponseStream,
        Operation::ListAliases,
        Operation::ListCapacityProviders,
        Operation::ListCodeSigningConfigs,
        Operation::ListDurableExecutionsByFunction,
        Operation::ListEventSourceMappings,
        Operation::ListFunctionEventInvokeConfigs,
        Operation::ListFunctionUrlConfigs,
        Operation::ListFunctionVersionsByCapacityProvider,
        Operation::ListFunctions,
        Operation::ListFunctionsByCodeSigningConfig,
        Operation::ListLayerVersions,
        Operation::ListLayers,
        Operation::ListProvisionedConcurrencyConfigs,
        Operation::ListTags,
        Operation::ListVersionsByFunction,
        Operation::PauseDurableExecution,
        Operation::PublishLayerVersion,
        Operation::PublishVersion,
        Operation::PutFunctionCodeSigningConfig,
        Operation::PutFunctionConcurrency,
        Operation::PutFunctionEventInvokeConfig,
        Operation::PutFunctionRecursionConfig,
        Operation::PutFunctionScalingConfig,
        Operation::PutProvisionedConcurrencyConfig,
        Operation::PutResourcePolicy,
        Operation::PutRuntimeManagementConfig,
        Operation::RemoveLayerVersionPermission,
        Operation::RemovePermission,
        Operation::ResumeDurableExecution,
        Operation::SendDurableExecutionCallbackFailure,
        Operation::SendDurableExecutionCallbackHeartbeat,
        Operation::SendDurableExecutionCallbackSuccess,
        Operation::StopDurableExecution,
        Operation::TagResource,
        Operation::UntagResource,
        Operation::UpdateAlias,
        Operation::UpdateCapacityProvider,
        Operation::UpdateCodeSigningConfig,
        Operation::UpdateEventSourceMapping,
        Operation::UpdateFunctionCode,
        Operation::UpdateFunctionConfiguration,
        Operation::UpdateFunctionEventInvokeConfig,
        Operation::UpdateFunctionUrlConfig,
    ];

    /// The operation of this name.
    pub fn from_name(name: &str) -> Option<Operation> {
        Some(match name {
            "AddLayerVersionPermission" => Operation::AddLayerVersionPermission,
            "AddPermission" => Operation::AddPermission,
            "CheckpointDurableExecution" => Operation::CheckpointDurableExecution,
            "CreateAlias" => Operation::CreateAlias,
            "CreateCapacityProvider" => Operation::CreateCapacityProvider,
            "CreateCodeSigningConfig" => Operation::CreateCodeSigningConfig,
            "CreateEventSourceMapping" => Operation::CreateEventSourceMapping,
            "CreateFunction" => Operation::CreateFunction,
            "CreateFunctionUrlConfig" => Operation::CreateFunctionUrlConfig,
            "DeleteAlias" => Operation::DeleteAlias,
            "DeleteCapacityProvider" => Operation::DeleteCapacityProvider,
            "DeleteCodeSigningConfig" => Operation::DeleteCodeSigningConfig,
            "DeleteDurableExecution" => Operation::DeleteDurableExecution,
            "DeleteEventSourceMapping" => Operation::DeleteEventSourceMapping,
            "DeleteFunction" => Operation::DeleteFunction,
            "DeleteFunctionCodeSigningConfig" => Operation::DeleteFunctionCodeSigningConfig,
            "DeleteFunctionConcurrency" => Operation::DeleteFunctionConcurrency,
            "DeleteFunctionEventInvokeConfig" => Operation::DeleteFunctionEventInvokeConfig,
            "DeleteFunctionUrlConfig" => Operation::DeleteFunctionUrlConfig,
            "DeleteLayerVersion" => Operation::DeleteLayerVersion,
            "DeleteProvisionedConcurrencyConfig" => Operation::DeleteProvisionedConcurrencyConfig,
            "DeleteResourcePolicy" => Operation::DeleteResourcePolicy,
            "GetAccountSettings" => Operation::GetAccountSettings,
            "GetAlias" => Operation::GetAlias,
            "GetCapacityProvider" => Operation::GetCapacityProvider,
            "GetCodeSigningConfig" => Operation::GetCodeSigningConfig,
            "GetDurableExecution" => Operation::GetDurableExecution,
            "GetDurableExecutionHistory" => Operation::GetDurableExecutionHistory,
            "GetDurableExecutionState" => Operation::GetDurableExecutionState,
            "GetEventSourceMapping" => Operation::GetEventSourceMapping,
            "GetFunction" => Operation::GetFunction,
            "GetFunctionCodeSigningConfig" => Operation::GetFunctionCodeSigningConfig,
            "GetFunctionConcurrency" => Operation::GetFunctionConcurrency,
            "GetFunctionConfiguration" => Operation::GetFunctionConfiguration,
            "GetFunctionEventInvokeConfig" => Operation::GetFunctionEventInvokeConfig,
            "GetFunctionRecursionConfig" => Operation::GetFunctionRecursionConfig,
            "GetFunctionScalingConfig" => Operation::GetFunctionScalingConfig,
            "GetFunctionUrlConfig" => Operation::GetFunctionUrlConfig,
            "GetLayerVersion" => Operation::GetLayerVersion,
            "GetLayerVersionByArn" => Operation::GetLayerVersionByArn,
            "GetLayerVersionPolicy" => Operation::GetLayerVersionPolicy,
            "GetPolicy" => Operation::GetPolicy,
            "GetProvisionedConcurrencyConfig" => Operation::GetProvisionedConcurrencyConfig,
            "GetResourcePolicy" => Operation::GetResourcePolicy,
            "GetRuntimeManagementConfig" => Operation::GetRuntimeManagementConfig,
            "Invoke" => Operation::Invoke,
            "InvokeAsync" => Operation::InvokeAsync,
            "InvokeWithResponseStream" => Operation::InvokeWithResponseStream,
            "ListAliases" => Operation::ListAliases,
            "ListCapacityProviders" => Operation::ListCapacityProviders,
            "ListCodeSigningConfigs" => Operation::ListCodeSigningConfigs,
            "ListDurableExecutionsByFunction" => Operation::ListDurableExecutionsByFunction,
            "ListEventSourceMappings" => Operation::ListEventSourceMappings,
            "ListFunctionEventInvokeConfigs" => Operation::ListFunctionEventInvokeConfigs,
            "ListFunctionUrlConfigs" => Operation::ListFunctionUrlConfigs,
            "ListFunctionVersionsByCapacityProvider" => {
                Operation::ListFunctionVersionsByCapacityProvider
            }
            "ListFunctions" => Operation::ListFunctions,
            "ListFunctionsByCodeSigningConfig" => Operation::ListFunctionsByCodeSigningConfig,
            "ListLayerVersions" => Operation::ListLayerVersions,
            "ListLayers" => Operation::ListLayers,
            "ListProvisionedConcurrencyConfigs" => Operation::ListProvisionedConcurrencyConfigs,
            "ListTags" => Operation::ListTags,
            "ListVersionsByFunction" => Operation::ListVersionsByFunction,
            "PauseDurableExecution" => Operation::PauseDurableExecution,
            "PublishLayerVersion" => Operation::PublishLayerVersion,
            "PublishVersion" => Operation::PublishVersion,
            "PutFunctionCodeSigningConfig" => Operation::PutFunctionCodeSigningConfig,
            "PutFunctionConcurrency" => Operation::PutFunctionConcurrency,
            "PutFunctionEventInvokeConfig" => Operation::PutFunctionEventInvokeConfig,
            "PutFunctionRecursionConfig" => Operation::PutFunctionRecursionConfig,
            "PutFunctionScalingConfig" => Operation::PutFunctionScalingConfig,
            "PutProvisionedConcurrencyConfig" => Operation::PutProvisionedConcurrencyConfig,
            "PutResourcePolicy" => Operation::PutResourcePolicy,
            "PutRuntimeManagementConfig" => Operation::PutRuntimeManagementConfig,
            "RemoveLayerVersionPermission" => Operation::RemoveLayerVersionPermission,
            "RemovePermission" => Operation::RemovePermission,
            "ResumeDurableExecution" => Operation::ResumeDurableExecution,
            "SendDurableExecutionCallbackFailure" => Operation::SendDurableExecutionCallbackFailure,
            "SendDurableExecutionCallbackHeartbeat" => {
                Operation::SendDurableExecutionCallbackHeartbeat
            }
            "SendDurableExecutionCallbackSuccess" => Operation::SendDurableExecutionCallbackSuccess,
            "StopDurableExecution" => Operation::StopDurableExecution,
            "TagResource" => Operation::TagResource,
            "UntagResource" => Operation::UntagResource,
            "UpdateAlias" => Operation::UpdateAlias,
            "UpdateCapacityProvider" => Operation::UpdateCapacityProvider,
            "UpdateCodeSigningConfig" => Operation::UpdateCodeSigningConfig,
            "UpdateEventSourceMapping" => Operation::UpdateEventSourceMapping,
            "UpdateFunctionCode" => Operation::UpdateFunctionCode,
            "UpdateFunctionConfiguration" => Operation::UpdateFunctionConfiguration,
            "UpdateFunctionEventInvokeConfig" => Operation::UpdateFunctionEventInvokeConfig,
            "UpdateFunctionUrlConfig" => Operation::UpdateFunctionUrlConfig,
            _ => return None,
        })
    }

    /// The operation's name in the service model.
    pub fn name(self) -> &'static str {
        match self {
            Operation::AddLayerVersionPermission => "AddLayerVersionPermission",
            Operation::AddPermission => "AddPermission",
            Operation::CheckpointDurableExecution => "CheckpointDurableExecution",
            Operation::CreateAlias => "CreateAlias",
            Operation::CreateCapacityProvider => "CreateCapacityProvider",
            Operation::CreateCodeSigningConfig => "CreateCodeSigningConfig",
            Operation::CreateEventSourceMapping => "CreateEventSourceMapping",
            Operation::CreateFunction => "CreateFunction",
            Operation::CreateFunctionUrlConfig => "CreateFunctionUrlConfig",
            Operation::DeleteAlias => "DeleteAlias",
            Operation::DeleteCapacityProvider => "DeleteCapacityProvider",
            Operation::DeleteCodeSigningConfig => "DeleteCodeSigningConfig",
            Operation::DeleteDurableExecution => "DeleteDurableExecution",
            Operation::DeleteEventSourceMapping => "DeleteEventSourceMapping",
            Operation::DeleteFunction => "DeleteFunction",
            Operation::DeleteFunctionCodeSigningConfig => "DeleteFunctionCodeSigningConfig",
            Operation::DeleteFunctionConcurrency => "DeleteFunctionConcurrency",
            Operation::DeleteFunctionEventInvokeConfig => "DeleteFunctionEventInvokeConfig",
            Operation::DeleteFunctionUrlConfig => "DeleteFunctionUrlConfig",
            Operation::DeleteLayerVersion => "DeleteLayerVersion",
            Operation::DeleteProvisionedConcurrencyConfig => "DeleteProvisionedConcurrencyConfig",
            Operation::DeleteResourcePolicy => "DeleteResourcePolicy",
            Operation::GetAccountSettings => "GetAccountSettings",
            Operation::GetAlias => "GetAlias",
            Operation::GetCapacityProvider => "GetCapacityProvider",
            Operation::GetCodeSigningConfig => "GetCodeSigningConfig",
            Operation::GetDurableExecution => "GetDurableExecution",
            Operation::GetDurableExecutionHistory => "GetDurableExecutionHistory",
            Operation::GetDurableExecutionState => "GetDurableExecutionState",
            Operation::GetEventSourceMapping => "GetEventSourceMapping",
            Operation::GetFunction => "GetFunction",
            Operation::GetFunctionCodeSigningConfig => "GetFunctionCodeSigningConfig",
            Operation::GetFunctionConcurrency => "GetFunctionConcurrency",
            Operation::GetFunctionConfiguration => "GetFunctionConfiguration",
            Operation::GetFunctionEventInvokeConfig => "GetFunctionEventInvokeConfig",
            Operation::GetFunctionRecursionConfig => "GetFunctionRecursionConfig",
            Operation::GetFunctionScalingConfig => "GetFunctionScalingConfig",
            Operation::GetFunctionUrlConfig => "GetFunctionUrlConfig",
            Operation::GetLayerVersion => "GetLayerVersion",
            Operation::GetLayerVersionByArn => "GetLayerVersionByArn",
            Operation::GetLayerVersionPolicy => "GetLayerVersionPolicy",
            Operation::GetPolicy => "GetPolicy",
            Operation::GetProvisionedConcurrencyConfig => "GetProvisionedConcurrencyConfig",
            Operation::GetResourcePolicy => "GetResourcePolicy",
            Operation::GetRuntimeManagementConfig => "GetRuntimeManagementConfig",
            Operation::Invoke => "Invoke",
            Operation::InvokeAsync => "InvokeAsync",
            Operation::InvokeWithResponseStream => "InvokeWithResponseStream",
            Operation::ListAliases => "ListAliases",
            Operation::ListCapacityProviders => "ListCapacityProviders",
            Operation::ListCodeSigningConfigs => "ListCodeSigningConfigs",
            Operation::ListDurableExecutionsByFunction => "ListDurableExecutionsByFunction",
            Operation::ListEventSourceMappings => "ListEventSourceMappings",
            Operation::ListFunctionEventInvokeConfigs => "ListFunctionEventInvokeConfigs",
            Operation::ListFunctionUrlConfigs => "ListFunctionUrlConfigs",
            Operation::ListFunctionVersionsByCapacityProvider => {
                "ListFunctionVersionsByCapacityProvider"
            }
            Operation::ListFunctions => "ListFunctions",
            Operation::ListFunctionsByCodeSigningConfig => "ListFunctionsByCodeSigningConfig",
            Operation::ListLayerVersions => "ListLayerVersions",
            Operation::ListLayers => "ListLayers",
            Operation::ListProvisionedConcurrencyConfigs => "ListProvisionedConcurrencyConfigs",
            Operation::ListTags => "ListTags",
            Operation::ListVersionsByFunction => "ListVersionsByFunction",
            Operation::PauseDurableExecution => "PauseDurableExecution",
            Operation::PublishLayerVersion => "PublishLayerVersion",
            Operation::PublishVersion => "PublishVersion",
            Operation::PutFunctionCodeSigningConfig => "PutFunctionCodeSigningConfig",
            Operation::PutFunctionConcurrency => "PutFunctionConcurrency",
            Operation::PutFunctionEventInvokeConfig => "PutFunctionEventInvokeConfig",
            Operation::PutFunctionRecursionConfig => "PutFunctionRecursionConfig",
            Operation::PutFunctionScalingConfig => "PutFunctionScalingConfig",
            Operation::PutProvisionedConcurrencyConfig => "PutProvisionedConcurrencyConfig",
            Operation::PutResourcePolicy => "PutResourcePolicy",
            Operation::PutRuntimeManagementConfig => "PutRuntimeManagementConfig",
            Operation::RemoveLayerVersionPermission => "RemoveLayerVersionPermission",
            Operation::RemovePermission => "RemovePermission",
            Operation::ResumeDurableExecution => "ResumeDurableExecution",
            Operation::SendDurableExecutionCallbackFailure => "SendDurableExecutionCallbackFailure",
            Operation::SendDurableExecutionCallbackHeartbeat => {
                "SendDurableExecutionCallbackHeartbeat"
            }
            Operation::SendDurableExecutionCallbackSuccess => "SendDurableExecutionCallbackSuccess",
            Operation::StopDurableExecution => "StopDurableExecution",
            Operation::TagResource => "TagResource",
            Operation::UntagResource => "UntagResource",
            Operation::UpdateAlias => "UpdateAlias",
            Operation::UpdateCapacityProvider => "UpdateCapacityProvider",
            Operation::UpdateCodeSigningConfig => "UpdateCodeSigningConfig",
            Operation::UpdateEventSourceMapping => "UpdateEventSourceMapping",
            Operation::UpdateFunctionCode => "UpdateFunctionCode",
            Operation::UpdateFunctionConfiguration => "UpdateFunctionConfiguration",
            Operation::UpdateFunctionEventInvokeConfig => "UpdateFunctionEventInvokeConfig",
            Operation::UpdateFunctionUrlConfig => "UpdateFunctionUrlConfig",
        }
    }

    /// Whether this crate has the operation in full; the others are known by name only.
    pub fn is_served(self) -> bool {
        matches!(
            self,
            Operation::AddPermission
                | Operation::CreateAlias
                | Operation::CreateFunction
                | Operation::CreateFunctionUrlConfig
                | Operation::DeleteAlias
                | Operation::DeleteFunction
                | Operation::DeleteFunctionConcurrency
                | Operation::DeleteFunctionUrlConfig
                | Operation::GetAccountSettings
                | Operation::GetAlias
                | Operation::GetFunction
                | Operation::GetFunctionConcurrency
                | Operation::GetFunctionConfiguration
                | Operation::GetFunctionUrlConfig
                | Operation::GetPolicy
                | Operation::Invoke
                | Operation::ListAliases
                | Operation::ListFunctionUrlConfigs
                | Operation::ListFunctions
                | Operation::ListTags
                | Operation::ListVersionsByFunction
                | Operation::PublishVersion
                | Operation::PutFunctionConcurrency
                | Operation::RemovePermission
                | Operation::TagResource
                | Operation::UntagResource
                | Operation::UpdateAlias
                | Operation::UpdateFunctionCode
                | Operation::UpdateFunctionConfiguration
                | Operation::UpdateFunctionUrlConfig
        )
    }

    /// The operation that a method and a path name, with the path's labels.
    pub fn route(method: &Method, uri: &Uri) -> Option<RouteMatch<Operation>> {
        let mut room = [""; SEGMENTS_MAX];
        let (operation, labels) = match (method.as_str(), segments(uri.path(), &mut room)?) {
            ("GET", ["2018-10-31", "layers"]) if query_has(uri.query(), "find", "LayerVersion") => {
                (Operation::GetLayerVersionByArn, Labels::new(&[]))
            }
            ("GET", ["2019-09-30", "functions", l0, "provisioned-concurrency"])
                if query_has(uri.query(), "List", "ALL") =>
            {
                (
                    Operation::ListProvisionedConcurrencyConfigs,
                    Labels::new(&[("FunctionName", l0)]),
                )
            }
            ("POST", ["2025-11-30", "capacity-providers"]) => {
                (Operation::CreateCapacityProvider, Labels::new(&[]))
            }
            ("POST", ["2020-04-22", "code-signing-configs"]) => {
                (Operation::CreateCodeSigningConfig, Labels::new(&[]))
            }
            ("POST", ["2015-03-31", "event-source-mappings"]) => {
                (Operation::CreateEventSourceMapping, Labels::new(&[]))
            }
            ("POST", ["2015-03-31", "functions"]) => (Operation::CreateFunction, Labels::new(&[])),
            ("GET", ["2016-08-19", "account-settings"]) => {
                (Operation::GetAccountSettings, Labels::new(&[]))
            }
            ("GET", ["2025-11-30", "capacity-providers"]) => {
                (Operation::ListCapacityProviders, Labels::new(&[]))
            }
            ("GET", ["2020-04-22", "code-signing-configs"]) => {
                (Operation::ListCodeSigningConfigs, Labels::new(&[]))
            }
            ("GET", ["2015-03-31", "event-source-mappings"]) => {
                (Operation::ListEventSourceMappings, Labels::new(&[]))
            }
            ("GET", ["2015-03-31", "functions"]) => (Operation::ListFunctions, Labels::new(&[])),
            ("GET", ["2018-10-31", "layers"]) => (Operation::ListLayers, Labels::new(&[])),
            ("DELETE", ["2025-11-30", "capacity-providers", l0]) => (
                Operation::DeleteCapacityProvider,
                Labels::new(&[("CapacityProviderName", l0)]),
            ),
            ("DELETE", ["2020-04-22", "code-signing-configs", l0]) => (
                Operation::DeleteCodeSigningConfig,
                Labels::new(&[("CodeSigningConfigArn", l0)]),
            ),
            ("DELETE", ["2025-12-01", "durable-executions", l0]) => (
                Operation::DeleteDurableExecution,
                Labels::new(&[("DurableExecutionArn", l0)]),
            ),
            ("DELETE", ["2015-03-31", "event-source-mappings", l0]) => (
                Operation::DeleteEventSourceMapping,
                Labels::new(&[("UUID", l0)]),
            ),
            ("DELETE", ["2015-03-31", "functions", l0]) => (
                Operation::DeleteFunction,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("DELETE", ["2026-07-09", "resource-policy", l0]) => (
                Operation::DeleteResourcePolicy,
                Labels::new(&[("ResourceArn", l0)]),
            ),
            ("GET", ["2025-11-30", "capacity-providers", l0]) => (
                Operation::GetCapacityProvider,
                Labels::new(&[("CapacityProviderName", l0)]),
            ),
            ("GET", ["2020-04-22", "code-signing-configs", l0]) => (
                Operation::GetCodeSigningConfig,
                Labels::new(&[("CodeSigningConfigArn", l0)]),
            ),
            ("GET", ["2025-12-01", "durable-executions", l0]) => (
                Operation::GetDurableExecution,
                Labels::new(&[("DurableExecutionArn", l0)]),
            ),
            ("GET", ["2015-03-31", "event-source-mappings", l0]) => (
                Operation::GetEventSourceMapping,
                Labels::new(&[("UUID", l0)]),
            ),
            ("GET", ["2015-03-31", "functions", l0]) => {
                (Operation::GetFunction, Labels::new(&[("FunctionName", l0)]))
            }
            ("GET", ["2026-07-09", "resource-policy", l0]) => (
                Operation::GetResourcePolicy,
                Labels::new(&[("ResourceArn", l0)]),
            ),
            ("GET", ["2017-03-31", "tags", l0]) => {
                (Operation::ListTags, Labels::new(&[("Resource", l0)]))
            }
            ("PUT", ["2026-07-09", "resource-policy", l0]) => (
                Operation::PutResourcePolicy,
                Labels::new(&[("ResourceArn", l0)]),
            ),
            ("POST", ["2017-03-31", "tags", l0]) => {
                (Operation::TagResource, Labels::new(&[("Resource", l0)]))
            }
            ("DELETE", ["2017-03-31", "tags", l0]) => {
                (Operation::UntagResource, Labels::new(&[("Resource", l0)]))
            }
            ("PUT", ["2025-11-30", "capacity-providers", l0]) => (
                Operation::UpdateCapacityProvider,
                Labels::new(&[("CapacityProviderName", l0)]),
            ),
            ("PUT", ["2020-04-22", "code-signing-configs", l0]) => (
                Operation::UpdateCodeSigningConfig,
                Labels::new(&[("CodeSigningConfigArn", l0)]),
            ),
            ("PUT", ["2015-03-31", "event-source-mappings", l0]) => (
                Operation::UpdateEventSourceMapping,
                Labels::new(&[("UUID", l0)]),
            ),
            ("POST", ["2015-03-31", "functions", l0, "policy"]) => (
                Operation::AddPermission,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("POST", ["2025-12-01", "durable-executions", l0, "checkpoint"]) => (
                Operation::CheckpointDurableExecution,
                Labels::new(&[("DurableExecutionArn", l0)]),
            ),
            ("POST", ["2015-03-31", "functions", l0, "aliases"]) => {
                (Operation::CreateAlias, Labels::new(&[("FunctionName", l0)]))
            }
            ("POST", ["2021-10-31", "functions", l0, "url"]) => (
                Operation::CreateFunctionUrlConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("DELETE", ["2020-06-30", "functions", l0, "code-signing-config"]) => (
                Operation::DeleteFunctionCodeSigningConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("DELETE", ["2017-10-31", "functions", l0, "concurrency"]) => (
                Operation::DeleteFunctionConcurrency,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("DELETE", ["2019-09-25", "functions", l0, "event-invoke-config"]) => (
                Operation::DeleteFunctionEventInvokeConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("DELETE", ["2021-10-31", "functions", l0, "url"]) => (
                Operation::DeleteFunctionUrlConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("DELETE", ["2019-09-30", "functions", l0, "provisioned-concurrency"]) => (
                Operation::DeleteProvisionedConcurrencyConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2025-12-01", "durable-executions", l0, "history"]) => (
                Operation::GetDurableExecutionHistory,
                Labels::new(&[("DurableExecutionArn", l0)]),
            ),
            ("GET", ["2025-12-01", "durable-executions", l0, "state"]) => (
                Operation::GetDurableExecutionState,
                Labels::new(&[("DurableExecutionArn", l0)]),
            ),
            ("GET", ["2020-06-30", "functions", l0, "code-signing-config"]) => (
                Operation::GetFunctionCodeSigningConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2019-09-30", "functions", l0, "concurrency"]) => (
                Operation::GetFunctionConcurrency,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2015-03-31", "functions", l0, "configuration"]) => (
                Operation::GetFunctionConfiguration,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2019-09-25", "functions", l0, "event-invoke-config"]) => (
                Operation::GetFunctionEventInvokeConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2024-08-31", "functions", l0, "recursion-config"]) => (
                Operation::GetFunctionRecursionConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2025-11-30", "functions", l0, "function-scaling-config"]) => (
                Operation::GetFunctionScalingConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2021-10-31", "functions", l0, "url"]) => (
                Operation::GetFunctionUrlConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2015-03-31", "functions", l0, "policy"]) => {
                (Operation::GetPolicy, Labels::new(&[("FunctionName", l0)]))
            }
            ("GET", ["2019-09-30", "functions", l0, "provisioned-concurrency"]) => (
                Operation::GetProvisionedConcurrencyConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2021-07-20", "functions", l0, "runtime-management-config"]) => (
                Operation::GetRuntimeManagementConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("POST", ["2015-03-31", "functions", l0, "invocations"]) => {
                (Operation::Invoke, Labels::new(&[("FunctionName", l0)]))
            }
            ("POST", ["2014-11-13", "functions", l0, "invoke-async"]) => {
                (Operation::InvokeAsync, Labels::new(&[("FunctionName", l0)]))
            }
            (
                "POST",
                [
                    "2021-11-15",
                    "functions",
                    l0,
                    "response-streaming-invocations",
                ],
            ) => (
                Operation::InvokeWithResponseStream,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2015-03-31", "functions", l0, "aliases"]) => {
                (Operation::ListAliases, Labels::new(&[("FunctionName", l0)]))
            }
            ("GET", ["2025-12-01", "functions", l0, "durable-executions"]) => (
                Operation::ListDurableExecutionsByFunction,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2021-10-31", "functions", l0, "urls"]) => (
                Operation::ListFunctionUrlConfigs,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2025-11-30", "capacity-providers", l0, "function-versions"]) => (
                Operation::ListFunctionVersionsByCapacityProvider,
                Labels::new(&[("CapacityProviderName", l0)]),
            ),
            ("GET", ["2020-04-22", "code-signing-configs", l0, "functions"]) => (
                Operation::ListFunctionsByCodeSigningConfig,
                Labels::new(&[("CodeSigningConfigArn", l0)]),
            ),
            ("GET", ["2018-10-31", "layers", l0, "versions"]) => (
                Operation::ListLayerVersions,
                Labels::new(&[("LayerName", l0)]),
            ),
            ("GET", ["2015-03-31", "functions", l0, "versions"]) => (
                Operation::ListVersionsByFunction,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("POST", ["2025-12-01", "durable-executions", l0, "pause"]) => (
                Operation::PauseDurableExecution,
                Labels::new(&[("DurableExecutionArn", l0)]),
            ),
            ("POST", ["2018-10-31", "layers", l0, "versions"]) => (
                Operation::PublishLayerVersion,
                Labels::new(&[("LayerName", l0)]),
            ),
            ("POST", ["2015-03-31", "functions", l0, "versions"]) => (
                Operation::PublishVersion,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2020-06-30", "functions", l0, "code-signing-config"]) => (
                Operation::PutFunctionCodeSigningConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2017-10-31", "functions", l0, "concurrency"]) => (
                Operation::PutFunctionConcurrency,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2019-09-25", "functions", l0, "event-invoke-config"]) => (
                Operation::PutFunctionEventInvokeConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2024-08-31", "functions", l0, "recursion-config"]) => (
                Operation::PutFunctionRecursionConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2025-11-30", "functions", l0, "function-scaling-config"]) => (
                Operation::PutFunctionScalingConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2019-09-30", "functions", l0, "provisioned-concurrency"]) => (
                Operation::PutProvisionedConcurrencyConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2021-07-20", "functions", l0, "runtime-management-config"]) => (
                Operation::PutRuntimeManagementConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("POST", ["2025-12-01", "durable-executions", l0, "resume"]) => (
                Operation::ResumeDurableExecution,
                Labels::new(&[("DurableExecutionArn", l0)]),
            ),
            ("POST", ["2025-12-01", "durable-execution-callbacks", l0, "fail"]) => (
                Operation::SendDurableExecutionCallbackFailure,
                Labels::new(&[("CallbackId", l0)]),
            ),
            ("POST", ["2025-12-01", "durable-execution-callbacks", l0, "heartbeat"]) => (
                Operation::SendDurableExecutionCallbackHeartbeat,
                Labels::new(&[("CallbackId", l0)]),
            ),
            ("POST", ["2025-12-01", "durable-execution-callbacks", l0, "succeed"]) => (
                Operation::SendDurableExecutionCallbackSuccess,
                Labels::new(&[("CallbackId", l0)]),
            ),
            ("POST", ["2025-12-01", "durable-executions", l0, "stop"]) => (
                Operation::StopDurableExecution,
                Labels::new(&[("DurableExecutionArn", l0)]),
            ),
            ("PUT", ["2015-03-31", "functions", l0, "code"]) => (
                Operation::UpdateFunctionCode,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2015-03-31", "functions", l0, "configuration"]) => (
                Operation::UpdateFunctionConfiguration,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("POST", ["2019-09-25", "functions", l0, "event-invoke-config"]) => (
                Operation::UpdateFunctionEventInvokeConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("PUT", ["2021-10-31", "functions", l0, "url"]) => (
                Operation::UpdateFunctionUrlConfig,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("GET", ["2019-09-25", "functions", l0, "event-invoke-config", "list"]) => (
                Operation::ListFunctionEventInvokeConfigs,
                Labels::new(&[("FunctionName", l0)]),
            ),
            ("DELETE", ["2015-03-31", "functions", l0, "aliases", l1]) => (
                Operation::DeleteAlias,
                Labels::new(&[("FunctionName", l0), ("Name", l1)]),
            ),
            ("DELETE", ["2018-10-31", "layers", l0, "versions", l1]) => (
                Operation::DeleteLayerVersion,
                Labels::new(&[("LayerName", l0), ("VersionNumber", l1)]),
            ),
            ("GET", ["2015-03-31", "functions", l0, "aliases", l1]) => (
                Operation::GetAlias,
                Labels::new(&[("FunctionName", l0), ("Name", l1)]),
            ),
            ("GET", ["2018-10-31", "layers", l0, "versions", l1]) => (
                Operation::GetLayerVersion,
                Labels::new(&[("LayerName", l0), ("VersionNumber", l1)]),
            ),
            ("DELETE", ["2015-03-31", "functions", l0, "policy", l1]) => (
                Operation::RemovePermission,
                Labels::new(&[("FunctionName", l0), ("StatementId", l1)]),
            ),
            ("PUT", ["2015-03-31", "functions", l0, "aliases", l1]) => (
                Operation::UpdateAlias,
                Labels::new(&[("FunctionName", l0), ("Name", l1)]),
            ),
            ("POST", ["2018-10-31", "layers", l0, "versions", l1, "policy"]) => (
                Operation::AddLayerVersionPermission,
                Labels::new(&[("LayerName", l0), ("VersionNumber", l1)]),
            ),
            ("GET", ["2018-10-31", "layers", l0, "versions", l1, "policy"]) => (
                Operation::GetLayerVersionPolicy,
                Labels::new(&[("LayerName", l0), ("VersionNumber", l1)]),
            ),
            ("DELETE", ["2018-10-31", "layers", l0, "versions", l1, "policy", l2]) => (
                Operation::RemoveLayerVersionPermission,
                Labels::new(&[
                    ("LayerName", l0),
                    ("VersionNumber", l1),
                    ("StatementId", l2),
                ]),
            ),
            _ => return None,
        };
        Some(RouteMatch { operation, labels })
    }
}
