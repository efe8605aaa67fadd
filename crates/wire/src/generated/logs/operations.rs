//! Amazon CloudWatch Logs: operations and routes. Written by `cargo xtask codegen`; edits are lost.

/// Every operation of the service, served or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `AssociateKmsKey`.
    AssociateKmsKey,
    /// `AssociateSourceToS3TableIntegration`.
    AssociateSourceToS3TableIntegration,
    /// `CancelExportTask`.
    CancelExportTask,
    /// `CancelImportTask`.
    CancelImportTask,
    /// `CreateDelivery`.
    CreateDelivery,
    /// `CreateExportTask`.
    CreateExportTask,
    /// `CreateImportTask`.
    CreateImportTask,
    /// `CreateLogAnomalyDetector`.
    CreateLogAnomalyDetector,
    /// `CreateLogGroup`.
    CreateLogGroup,
    /// `CreateLogStream`.
    CreateLogStream,
    /// `CreateLookupTable`.
    CreateLookupTable,
    /// `CreateScheduledQuery`.
    CreateScheduledQuery,
    /// `DeleteAccountPolicy`.
    DeleteAccountPolicy,
    /// `DeleteDataProtectionPolicy`.
    DeleteDataProtectionPolicy,
    /// `DeleteDelivery`.
    DeleteDelivery,
    /// `DeleteDeliveryDestination`.
    DeleteDeliveryDestination,
    /// `DeleteDeliveryDestinationPolicy`.
    DeleteDeliveryDestinationPolicy,
    /// `DeleteDeliverySource`.
    DeleteDeliverySource,
    /// `DeleteDestination`.
    DeleteDestination,
    /// `DeleteIndexPolicy`.
    DeleteIndexPolicy,
    /// `DeleteIntegration`.
    DeleteIntegration,
    /// `DeleteLogAnomalyDetector`.
    DeleteLogAnomalyDetector,
    /// `DeleteLogGroup`.
    DeleteLogGroup,
    /// `DeleteLogStream`.
    DeleteLogStream,
    /// `DeleteLookupTable`.
    DeleteLookupTable,
    /// `DeleteMetricFilter`.
    DeleteMetricFilter,
    /// `DeleteQueryDefinition`.
    DeleteQueryDefinition,
    /// `DeleteResourcePolicy`.
    DeleteResourcePolicy,
    /// `DeleteRetentionPolicy`.
    DeleteRetentionPolicy,
    /// `DeleteScheduledQuery`.
    DeleteScheduledQuery,
    /// `DeleteSubscriptionFilter`.
    DeleteSubscriptionFilter,
    /// `DeleteSyslogConfiguration`.
    DeleteSyslogConfiguration,
    /// `DeleteTransformer`.
    DeleteTransformer,
    /// `DescribeAccountPolicies`.
    DescribeAccountPolicies,
    /// `DescribeConfigurationTemplates`.
    DescribeConfigurationTemplates,
    /// `DescribeDeliveries`.
    DescribeDeliveries,
    /// `DescribeDeliveryDestinations`.
    DescribeDeliveryDestinations,
    /// `DescribeDeliverySources`.
    DescribeDeliverySources,
    /// `DescribeDestinations`.
    DescribeDestinations,
    /// `DescribeExportTasks`.
    DescribeExportTasks,
    /// `DescribeFieldIndexes`.
    DescribeFieldIndexes,
    /// `DescribeImportTaskBatches`.
    DescribeImportTaskBatches,
    /// `DescribeImportTasks`.
    DescribeImportTasks,
    /// `DescribeIndexPolicies`.
    DescribeIndexPolicies,
    /// `DescribeLogGroups`.
    DescribeLogGroups,
    /// `DescribeLogStreams`.
    DescribeLogStreams,
    /// `DescribeLookupTables`.
    DescribeLookupTables,
    /// `DescribeMetricFilters`.
    DescribeMetricFilters,
    /// `DescribeQueries`.
    DescribeQueries,
    /// `DescribeQueryDefinitions`.
    DescribeQueryDefinitions,
    /// `DescribeResourcePolicies`.
    DescribeResourcePolicies,
    /// `DescribeSubscriptionFilters`.
    DescribeSubscriptionFilters,
    /// `DisassociateKmsKey`.
    DisassociateKmsKey,
    /// `DisassociateSourceFromS3TableIntegration`.
    DisassociateSourceFromS3TableIntegration,
    /// `FilterLogEvents`.
    FilterLogEvents,
    /// `GetDataProtectionPolicy`.
    GetDataProtectionPolicy,
    /// `GetDelivery`.
    GetDelivery,
    /// `GetDeliveryDestination`.
    GetDeliveryDestination,
    /// `GetDeliveryDestinationPolicy`.
    GetDeliveryDestinationPolicy,
    /// `GetDeliverySource`.
    GetDeliverySource,
    /// `GetIntegration`.
    GetIntegration,
    /// `GetLogAnomalyDetector`.
    GetLogAnomalyDetector,
    /// `GetLogEvents`.
    GetLogEvents,
    /// `GetLogFields`.
    GetLogFields,
    /// `GetLogGroupFields`.
    GetLogGroupFields,
    /// `GetLogObject`.
    GetLogObject,
    /// `GetLogRecord`.
    GetLogRecord,
    /// `GetLookupTable`.
    GetLookupTable,
    /// `GetQueryResults`.
    GetQueryResults,
    /// `GetScheduledQuery`.
    GetScheduledQuery,
    /// `GetScheduledQueryHistory`.
    GetScheduledQueryHistory,
    /// `GetStorageTierPolicy`.
    GetStorageTierPolicy,
    /// `GetTransformer`.
    GetTransformer,
    /// `ListAggregateLogGroupSummaries`.
    ListAggregateLogGroupSummaries,
    /// `ListAnomalies`.
    ListAnomalies,
    /// `ListIntegrations`.
    ListIntegrations,
    /// `ListLogAnomalyDetectors`.
    ListLogAnomalyDetectors,
    /// `ListLogGroups`.
    ListLogGroups,
    /// `ListLogGroupsForQuery`.
    ListLogGroupsForQuery,
    /// `ListScheduledQueries`.
    ListScheduledQueries,
    /// `ListSourcesForS3TableIntegration`.
    ListSourcesForS3TableIntegration,
    /// `ListSyslogConfigurations`.
    ListSyslogConfigurations,
    /// `ListTagsForResource`.
    ListTagsForResource,
    /// `ListTagsLogGroup`.
    ListTagsLogGroup,
    /// `PutAccountPolicy`.
    PutAccountPolicy,
    /// `PutBearerTokenAuthentication`.
    PutBearerTokenAuthentication,
    /// `PutDataProtectionPolicy`.
    PutDataProtectionPolicy,
    /// `PutDeliveryDestination`.
    PutDeliveryDestination,
    /// `PutDeliveryDestinationPolicy`.
    PutDeliveryDestinationPolicy,
    /// `PutDeliverySource`.
    PutDeliverySource,
    /// `PutDestination`.
    PutDestination,
    /// `PutDestinationPolicy`.
    PutDestinationPolicy,
    /// `PutIndexPolicy`.
    PutIndexPolicy,
    /// `PutIntegration`.
    PutIntegration,
    /// `PutLogEvents`.
    PutLogEvents,
    /// `PutLogGroupDeletionProtection`.
    PutLogGroupDeletionProtection,
    /// `PutMetricFilter`.
    PutMetricFilter,
    /// `PutQueryDefinition`.
    PutQueryDefinition,
    /// `PutResourcePolicy`.
    PutResourcePolicy,
    /// `PutRetentionPolicy`.
    PutRetentionPolicy,
    /// `PutStorageTierPolicy`.
    PutStorageTierPolicy,
    /// `PutSubscriptionFilter`.
    PutSubscriptionFilter,
    /// `PutSyslogConfiguration`.
    PutSyslogConfiguration,
    /// `PutTransformer`.
    PutTransformer,
    /// `StartLiveTail`.
    StartLiveTail,
    /// `StartQuery`.
    StartQuery,
    /// `StopQuery`.
    StopQuery,
    /// `TagLogGroup`.
    TagLogGroup,
    /// `TagResource`.
    TagResource,
    /// `TestMetricFilter`.
    TestMetricFilter,
    /// `TestTransformer`.
    TestTransformer,
    /// `UntagLogGroup`.
    UntagLogGroup,
    /// `UntagResource`.
    UntagResource,
    /// `UpdateAnomaly`.
    UpdateAnomaly,
    /// `UpdateDeliveryConfiguration`.
    UpdateDeliveryConfiguration,
    /// `UpdateLogAnomalyDetector`.
    UpdateLogAnomalyDetector,
    /// `UpdateLookupTable`.
    UpdateLookupTable,
    /// `UpdateScheduledQuery`.
    UpdateScheduledQuery,
}

impl Operation {
    /// All operations, by name.
    pub const ALL: &[Operation] = &[
        Operation::AssociateKmsKey,
        Operation::AssociateSourceToS3TableIntegration,
        Operation::CancelExportTask,
        Operation::CancelImportTask,
        Operation::CreateDelivery,
        Operation::CreateExportTask,
        Operation::CreateImportTask,
        Operation::CreateLogAnomalyDetector,
        Operation::CreateLogGroup,
        Operation::CreateLogStream,
        Operation::CreateLookupTable,
        Operation::CreateScheduledQuery,
        Operation::DeleteAccountPolicy,
        Operation::DeleteDataProtectionPolicy,
        Operation::DeleteDelivery,
        Operation::DeleteDeliveryDestination,
        Operation::DeleteDeliveryDestinationPolicy,
        Operation::DeleteDeliverySource,
        Operation::DeleteDestination,
        Operation::DeleteIndexPolicy,
        Operation::DeleteIntegration,
        Operation::DeleteLogAnomalyDetector,
        Operation::DeleteLogGroup,
        Operation::DeleteLogStream,
        Operation::DeleteLookupTable,
        Operation::DeleteMetricFilter,
        Operation::DeleteQueryDefinition,
        Operation::DeleteResourcePolicy,
        Operation::DeleteRetentionPolicy,
        Operation::DeleteScheduledQuery,
        Operation::DeleteSubscriptionFilter,
        Operation::DeleteSyslogConfiguration,
        Operation::DeleteTransformer,
        Operation::DescribeAccountPolicies,
        Operation::DescribeConfigurationTemplates,
        Operation::DescribeDeliveries,
        Operation::DescribeDeliveryDestinations,
        Operation::DescribeDeliverySources,
        Operation::DescribeDestinations,
        Operation::DescribeExportTasks,
        Operation::DescribeFieldIndexes,
        Operation::DescribeImportTaskBatches,
        Operation::DescribeImportTasks,
        Operation::DescribeIndexPolicies,
        Operation::DescribeLogGroups,
        Operation::DescribeLogStreams,
        Operation::DescribeLookupTables,
        Operation::DescribeMetricFilters,
        Operation::DescribeQueries,
        Operation::DescribeQueryDefinitions,
        Operation::DescribeResourcePolicies,
        Operation::DescribeSubscriptionFilters,
        Operation::DisassociateKmsKey,
        Operation::DisassociateSourceFromS3TableIntegration,
        Operation::FilterLogEvents,
        Operation::GetDataProtectionPolicy,
        Operation::GetDelivery,
        Operation::GetDeliveryDestination,
        Operation::GetDeliveryDestinationPolicy,
        Operation::GetDeliverySource,
        Operation::GetIntegration,
        Operation::GetLogAnomalyDetector,
        Operation::GetLogEvents,
        Operation::GetLogFields,
        Operation::GetLogGroupFields,
        Operation::GetLogObject,
        Operation::GetLogRecord,
        Operation::GetLookupTable,
        Operation::GetQueryResults,
        Operation::GetScheduledQuery,
        Operation::GetScheduledQueryHistory,
        Operation::GetStorageTierPolicy,
        Operation::GetTransformer,
        Operation::ListAggregateLogGroupSummaries,
        Operation::ListAnomalies,
        Operation::ListIntegrations,
        Operation::ListLogAnomalyDetectors,
        Operation::ListLogGroups,
        Operation::ListLogGroupsForQuery,
        Operation::ListScheduledQueries,
        Operation::ListSourcesForS3TableIntegration,
        Operation::ListSyslogConfigurations,
        Operation::ListTagsForResource,
        Operation::ListTagsLogGroup,
        Operation::PutAccountPolicy,
        Operation::PutBearerTokenAuthentication,
        Operation::PutDataProtectionPolicy,
        Operation::PutDeliveryDestination,
        Operation::PutDeliveryDestinationPolicy,
        Operation::PutDeliverySource,
        Operation::PutDestination,
        Operation::PutDestinationPolicy,
        Operation::PutIndexPolicy,
        Operation::PutIntegration,
        Operation::PutLogEvents,
        Operation::PutLogGroupDeletionProtection,
        Operation::PutMetricFilter,
        Operation::PutQueryDefinition,
        Operation::PutResourcePolicy,
        Operation::PutRetentionPolicy,
        Operation::PutStorageTierPolicy,
        Operation::PutSubscriptionFilter,
        Operation::PutSyslogConfiguration,
        Operation::PutTransformer,
        Operation::StartLiveTail,
        Operation::StartQuery,
        Operation::StopQuery,
        Operation::TagLogGroup,
        Operation::TagResource,
        Operation::TestMetricFilter,
        Operation::TestTransformer,
        Operation::UntagLogGroup,
        Operation::UntagResource,
        Operation::UpdateAnomaly,
        Operation::UpdateDeliveryConfiguration,
        Operation::UpdateLogAnomalyDetector,
        Operation::UpdateLookupTable,
        Operation::UpdateScheduledQuery,
    ];

    /// The operation of this name.
    pub fn from_name(name: &str) -> Option<Operation> {
        Some(match name {
            "AssociateKmsKey" => Operation::AssociateKmsKey,
            "AssociateSourceToS3TableIntegration" => Operation::AssociateSourceToS3TableIntegration,
            "CancelExportTask" => Operation::CancelExportTask,
            "CancelImportTask" => Operation::CancelImportTask,
            "CreateDelivery" => Operation::CreateDelivery,
            "CreateExportTask" => Operation::CreateExportTask,
            "CreateImportTask" => Operation::CreateImportTask,
            "CreateLogAnomalyDetector" => Operation::CreateLogAnomalyDetector,
            "CreateLogGroup" => Operation::CreateLogGroup,
            "CreateLogStream" => Operation::CreateLogStream,
            "CreateLookupTable" => Operation::CreateLookupTable,
            "CreateScheduledQuery" => Operation::CreateScheduledQuery,
            "DeleteAccountPolicy" => Operation::DeleteAccountPolicy,
            "DeleteDataProtectionPolicy" => Operation::DeleteDataProtectionPolicy,
            "DeleteDelivery" => Operation::DeleteDelivery,
            "DeleteDeliveryDestination" => Operation::DeleteDeliveryDestination,
            "DeleteDeliveryDestinationPolicy" => Operation::DeleteDeliveryDestinationPolicy,
            "DeleteDeliverySource" => Operation::DeleteDeliverySource,
            "DeleteDestination" => Operation::DeleteDestination,
            "DeleteIndexPolicy" => Operation::DeleteIndexPolicy,
            "DeleteIntegration" => Operation::DeleteIntegration,
            "DeleteLogAnomalyDetector" => Operation::DeleteLogAnomalyDetector,
            "DeleteLogGroup" => Operation::DeleteLogGroup,
            "DeleteLogStream" => Operation::DeleteLogStream,
            "DeleteLookupTable" => Operation::DeleteLookupTable,
            "DeleteMetricFilter" => Operation::DeleteMetricFilter,
            "DeleteQueryDefinition" => Operation::DeleteQueryDefinition,
            "DeleteResourcePolicy" => Operation::DeleteResourcePolicy,
            "DeleteRetentionPolicy" => Operation::DeleteRetentionPolicy,
            "DeleteScheduledQuery" => Operation::DeleteScheduledQuery,
            "DeleteSubscriptionFilter" => Operation::DeleteSubscriptionFilter,
            "DeleteSyslogConfiguration" => Operation::DeleteSyslogConfiguration,
            "DeleteTransformer" => Operation::DeleteTransformer,
            "DescribeAccountPolicies" => Operation::DescribeAccountPolicies,
            "DescribeConfigurationTemplates" => Operation::DescribeConfigurationTemplates,
            "DescribeDeliveries" => Operation::DescribeDeliveries,
            "DescribeDeliveryDestinations" => Operation::DescribeDeliveryDestinations,
            "DescribeDeliverySources" => Operation::DescribeDeliverySources,
            "DescribeDestinations" => Operation::DescribeDestinations,
            "DescribeExportTasks" => Operation::DescribeExportTasks,
            "DescribeFieldIndexes" => Operation::DescribeFieldIndexes,
            "DescribeImportTaskBatches" => Operation::DescribeImportTaskBatches,
            "DescribeImportTasks" => Operation::DescribeImportTasks,
            "DescribeIndexPolicies" => Operation::DescribeIndexPolicies,
            "DescribeLogGroups" => Operation::DescribeLogGroups,
            "DescribeLogStreams" => Operation::DescribeLogStreams,
            "DescribeLookupTables" => Operation::DescribeLookupTables,
            "DescribeMetricFilters" => Operation::DescribeMetricFilters,
            "DescribeQueries" => Operation::DescribeQueries,
            "DescribeQueryDefinitions" => Operation::DescribeQueryDefinitions,
            "DescribeResourcePolicies" => Operation::DescribeResourcePolicies,
            "DescribeSubscriptionFilters" => Operation::DescribeSubscriptionFilters,
            "DisassociateKmsKey" => Operation::DisassociateKmsKey,
            "DisassociateSourceFromS3TableIntegration" => {
                Operation::DisassociateSourceFromS3TableIntegration
            }
            "FilterLogEvents" => Operation::FilterLogEvents,
            "GetDataProtectionPolicy" => Operation::GetDataProtectionPolicy,
            "GetDelivery" => Operation::GetDelivery,
            "GetDeliveryDestination" => Operation::GetDeliveryDestination,
            "GetDeliveryDestinationPolicy" => Operation::GetDeliveryDestinationPolicy,
            "GetDeliverySource" => Operation::GetDeliverySource,
            "GetIntegration" => Operation::GetIntegration,
            "GetLogAnomalyDetector" => Operation::GetLogAnomalyDetector,
            "GetLogEvents" => Operation::GetLogEvents,
            "GetLogFields" => Operation::GetLogFields,
            "GetLogGroupFields" => Operation::GetLogGroupFields,
            "GetLogObject" => Operation::GetLogObject,
            "GetLogRecord" => Operation::GetLogRecord,
            "GetLookupTable" => Operation::GetLookupTable,
            "GetQueryResults" => Operation::GetQueryResults,
            "GetScheduledQuery" => Operation::GetScheduledQuery,
            "GetScheduledQueryHistory" => Operation::GetScheduledQueryHistory,
            "GetStorageTierPolicy" => Operation::GetStorageTierPolicy,
            "GetTransformer" => Operation::GetTransformer,
            "ListAggregateLogGroupSummaries" => Operation::ListAggregateLogGroupSummaries,
            "ListAnomalies" => Operation::ListAnomalies,
            "ListIntegrations" => Operation::ListIntegrations,
            "ListLogAnomalyDetectors" => Operation::ListLogAnomalyDetectors,
            "ListLogGroups" => Operation::ListLogGroups,
            "ListLogGroupsForQuery" => Operation::ListLogGroupsForQuery,
            "ListScheduledQueries" => Operation::ListScheduledQueries,
            "ListSourcesForS3TableIntegration" => Operation::ListSourcesForS3TableIntegration,
            "ListSyslogConfigurations" => Operation::ListSyslogConfigurations,
            "ListTagsForResource" => Operation::ListTagsForResource,
            "ListTagsLogGroup" => Operation::ListTagsLogGroup,
            "PutAccountPolicy" => Operation::PutAccountPolicy,
            "PutBearerTokenAuthentication" => Operation::PutBearerTokenAuthentication,
            "PutDataProtectionPolicy" => Operation::PutDataProtectionPolicy,
            "PutDeliveryDestination" => Operation::PutDeliveryDestination,
            "PutDeliveryDestinationPolicy" => Operation::PutDeliveryDestinationPolicy,
            "PutDeliverySource" => Operation::PutDeliverySource,
            "PutDestination" => Operation::PutDestination,
            "PutDestinationPolicy" => Operation::PutDestinationPolicy,
            "PutIndexPolicy" => Operation::PutIndexPolicy,
            "PutIntegration" => Operation::PutIntegration,
            "PutLogEvents" => Operation::PutLogEvents,
            "PutLogGroupDeletionProtection" => Operation::PutLogGroupDeletionProtection,
            "PutMetricFilter" => Operation::PutMetricFilter,
            "PutQueryDefinition" => Operation::PutQueryDefinition,
            "PutResourcePolicy" => Operation::PutResourcePolicy,
            "PutRetentionPolicy" => Operation::PutRetentionPolicy,
            "PutStorageTierPolicy" => Operation::PutStorageTierPolicy,
            "PutSubscriptionFilter" => Operation::PutSubscriptionFilter,
            "PutSyslogConfiguration" => Operation::PutSyslogConfiguration,
            "PutTransformer" => Operation::PutTransformer,
            "StartLiveTail" => Operation::StartLiveTail,
            "StartQuery" => Operation::StartQuery,
            "StopQuery" => Operation::StopQuery,
            "TagLogGroup" => Operation::TagLogGroup,
            "TagResource" => Operation::TagResource,
            "TestMetricFilter" => Operation::TestMetricFilter,
            "TestTransformer" => Operation::TestTransformer,
            "UntagLogGroup" => Operation::UntagLogGroup,
            "UntagResource" => Operation::UntagResource,
            "UpdateAnomaly" => Operation::UpdateAnomaly,
            "UpdateDeliveryConfiguration" => Operation::UpdateDeliveryConfiguration,
            "UpdateLogAnomalyDetector" => Operation::UpdateLogAnomalyDetector,
            "UpdateLookupTable" => Operation::UpdateLookupTable,
            "UpdateScheduledQuery" => Operation::UpdateScheduledQuery,
            _ => return None,
        })
    }

    /// The operation's name in the service model.
    pub fn name(self) -> &'static str {
        match self {
            Operation::AssociateKmsKey => "AssociateKmsKey",
            Operation::AssociateSourceToS3TableIntegration => "AssociateSourceToS3TableIntegration",
            Operation::CancelExportTask => "CancelExportTask",
            Operation::CancelImportTask => "CancelImportTask",
            Operation::CreateDelivery => "CreateDelivery",
            Operation::CreateExportTask => "CreateExportTask",
            Operation::CreateImportTask => "CreateImportTask",
            Operation::CreateLogAnomalyDetector => "CreateLogAnomalyDetector",
            Operation::CreateLogGroup => "CreateLogGroup",
            Operation::CreateLogStream => "CreateLogStream",
            Operation::CreateLookupTable => "CreateLookupTable",
            Operation::CreateScheduledQuery => "CreateScheduledQuery",
            Operation::DeleteAccountPolicy => "DeleteAccountPolicy",
            Operation::DeleteDataProtectionPolicy => "DeleteDataProtectionPolicy",
            Operation::DeleteDelivery => "DeleteDelivery",
            Operation::DeleteDeliveryDestination => "DeleteDeliveryDestination",
            Operation::DeleteDeliveryDestinationPolicy => "DeleteDeliveryDestinationPolicy",
            Operation::DeleteDeliverySource => "DeleteDeliverySource",
            Operation::DeleteDestination => "DeleteDestination",
            Operation::DeleteIndexPolicy => "DeleteIndexPolicy",
            Operation::DeleteIntegration => "DeleteIntegration",
            Operation::DeleteLogAnomalyDetector => "DeleteLogAnomalyDetector",
            Operation::DeleteLogGroup => "DeleteLogGroup",
            Operation::DeleteLogStream => "DeleteLogStream",
            Operation::DeleteLookupTable => "DeleteLookupTable",
            Operation::DeleteMetricFilter => "DeleteMetricFilter",
            Operation::DeleteQueryDefinition => "DeleteQueryDefinition",
            Operation::DeleteResourcePolicy => "DeleteResourcePolicy",
            Operation::DeleteRetentionPolicy => "DeleteRetentionPolicy",
            Operation::DeleteScheduledQuery => "DeleteScheduledQuery",
            Operation::DeleteSubscriptionFilter => "DeleteSubscriptionFilter",
            Operation::DeleteSyslogConfiguration => "DeleteSyslogConfiguration",
            Operation::DeleteTransformer => "DeleteTransformer",
            Operation::DescribeAccountPolicies => "DescribeAccountPolicies",
            Operation::DescribeConfigurationTemplates => "DescribeConfigurationTemplates",
            Operation::DescribeDeliveries => "DescribeDeliveries",
            Operation::DescribeDeliveryDestinations => "DescribeDeliveryDestinations",
            Operation::DescribeDeliverySources => "DescribeDeliverySources",
            Operation::DescribeDestinations => "DescribeDestinations",
            Operation::DescribeExportTasks => "DescribeExportTasks",
            Operation::DescribeFieldIndexes => "DescribeFieldIndexes",
            Operation::DescribeImportTaskBatches => "DescribeImportTaskBatches",
            Operation::DescribeImportTasks => "DescribeImportTasks",
            Operation::DescribeIndexPolicies => "DescribeIndexPolicies",
            Operation::DescribeLogGroups => "DescribeLogGroups",
            Operation::DescribeLogStreams => "DescribeLogStreams",
            Operation::DescribeLookupTables => "DescribeLookupTables",
            Operation::DescribeMetricFilters => "DescribeMetricFilters",
            Operation::DescribeQueries => "DescribeQueries",
            Operation::DescribeQueryDefinitions => "DescribeQueryDefinitions",
            Operation::DescribeResourcePolicies => "DescribeResourcePolicies",
            Operation::DescribeSubscriptionFilters => "DescribeSubscriptionFilters",
            Operation::DisassociateKmsKey => "DisassociateKmsKey",
            Operation::DisassociateSourceFromS3TableIntegration => {
                "DisassociateSourceFromS3TableIntegration"
            }
            Operation::FilterLogEvents => "FilterLogEvents",
            Operation::GetDataProtectionPolicy => "GetDataProtectionPolicy",
            Operation::GetDelivery => "GetDelivery",
            Operation::GetDeliveryDestination => "GetDeliveryDestination",
            Operation::GetDeliveryDestinationPolicy => "GetDeliveryDestinationPolicy",
            Operation::GetDeliverySource => "GetDeliverySource",
            Operation::GetIntegration => "GetIntegration",
            Operation::GetLogAnomalyDetector => "GetLogAnomalyDetector",
            Operation::GetLogEvents => "GetLogEvents",
            Operation::GetLogFields => "GetLogFields",
            Operation::GetLogGroupFields => "GetLogGroupFields",
            Operation::GetLogObject => "GetLogObject",
            Operation::GetLogRecord => "GetLogRecord",
            Operation::GetLookupTable => "GetLookupTable",
            Operation::GetQueryResults => "GetQueryResults",
            Operation::GetScheduledQuery => "GetScheduledQuery",
            Operation::GetScheduledQueryHistory => "GetScheduledQueryHistory",
            Operation::GetStorageTierPolicy => "GetStorageTierPolicy",
            Operation::GetTransformer => "GetTransformer",
            Operation::ListAggregateLogGroupSummaries => "ListAggregateLogGroupSummaries",
            Operation::ListAnomalies => "ListAnomalies",
            Operation::ListIntegrations => "ListIntegrations",
            Operation::ListLogAnomalyDetectors => "ListLogAnomalyDetectors",
            Operation::ListLogGroups => "ListLogGroups",
            Operation::ListLogGroupsForQuery => "ListLogGroupsForQuery",
            Operation::ListScheduledQueries => "ListScheduledQueries",
            Operation::ListSourcesForS3TableIntegration => "ListSourcesForS3TableIntegration",
            Operation::ListSyslogConfigurations => "ListSyslogConfigurations",
            Operation::ListTagsForResource => "ListTagsForResource",
            Operation::ListTagsLogGroup => "ListTagsLogGroup",
            Operation::PutAccountPolicy => "PutAccountPolicy",
            Operation::PutBearerTokenAuthentication => "PutBearerTokenAuthentication",
            Operation::PutDataProtectionPolicy => "PutDataProtectionPolicy",
            Operation::PutDeliveryDestination => "PutDeliveryDestination",
            Operation::PutDeliveryDestinationPolicy => "PutDeliveryDestinationPolicy",
            Operation::PutDeliverySource => "PutDeliverySource",
            Operation::PutDestination => "PutDestination",
            Operation::PutDestinationPolicy => "PutDestinationPolicy",
            Operation::PutIndexPolicy => "PutIndexPolicy",
            Operation::PutIntegration => "PutIntegration",
            Operation::PutLogEvents => "PutLogEvents",
            Operation::PutLogGroupDeletionProtection => "PutLogGroupDeletionProtection",
            Operation::PutMetricFilter => "PutMetricFilter",
            Operation::PutQueryDefinition => "PutQueryDefinition",
            Operation::PutResourcePolicy => "PutResourcePolicy",
            Operation::PutRetentionPolicy => "PutRetentionPolicy",
            Operation::PutStorageTierPolicy => "PutStorageTierPolicy",
            Operation::PutSubscriptionFilter => "PutSubscriptionFilter",
            Operation::PutSyslogConfiguration => "PutSyslogConfiguration",
            Operation::PutTransformer => "PutTransformer",
            Operation::StartLiveTail => "StartLiveTail",
            Operation::StartQuery => "StartQuery",
            Operation::StopQuery => "StopQuery",
            Operation::TagLogGroup => "TagLogGroup",
            Operation::TagResource => "TagResource",
            Operation::TestMetricFilter => "TestMetricFilter",
            Operation::TestTransformer => "TestTransformer",
            Operation::UntagLogGroup => "UntagLogGroup",
            Operation::UntagResource => "UntagResource",
            Operation::UpdateAnomaly => "UpdateAnomaly",
            Operation::UpdateDeliveryConfiguration => "UpdateDeliveryConfiguration",
            Operation::UpdateLogAnomalyDetector => "UpdateLogAnomalyDetector",
            Operation::UpdateLookupTable => "UpdateLookupTable",
            Operation::UpdateScheduledQuery => "UpdateScheduledQuery",
        }
    }

    /// Whether this crate has the operation in full; the others are known by name only.
    pub fn is_served(self) -> bool {
        matches!(
            self,
            Operation::DeleteLogGroup
                | Operation::DescribeLogGroups
                | Operation::DescribeLogStreams
                | Operation::FilterLogEvents
                | Operation::GetLogEvents
                | Operation::PutRetentionPolicy
        )
    }
}
