//! Requests as boto3 really sends them decode to the parameters that they were made from.
//!
//! `fixtures/make.py` takes each request from botocore just before the socket. Every parameter is
//! compared, and that none is there which was not given.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use freehold_wire::{Call, Labels, Service, lambda, logs, sts};
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Sent {
    service: String,
    operation: String,
    params: Value,
    method: String,
    uri: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Sent {
    fn parts(&self) -> Parts {
        let mut request = http::Request::builder()
            .method(self.method.as_str())
            .uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn body(&self) -> Bytes {
        BASE64_STANDARD.decode(&self.body).unwrap().into()
    }

    /// Routes the request, and decodes it as the operation that routing found.
    fn read<C: Call>(&self) -> C::Request {
        let parts = self.parts();
        let (found, labels) = match C::SERVICE {
            Service::Lambda => {
                let found = lambda::Operation::route(&parts.method, &parts.uri).unwrap();
                (found.operation.name(), found.labels)
            }
            Service::Logs => (
                logs::Operation::route(&parts.headers).unwrap().name(),
                Labels::default(),
            ),
            Service::Sts => {
                let found = sts::Operation::route(&parts, &self.body()).unwrap();
                (found.name(), Labels::default())
            }
        };
        assert_eq!(found, C::NAME, "{} {}", self.method, self.uri);
        C::decode(&parts, labels, self.body()).unwrap_or_else(|fault| panic!("{found}: {fault}"))
    }
}

fn blob(bytes: &Option<Bytes>) -> Value {
    match bytes {
        Some(bytes) => json!({"base64": BASE64_STANDARD.encode(bytes)}),
        None => Value::Null,
    }
}

fn cors(cors: Option<lambda::Cors>) -> Value {
    json!(cors)
}

/// Drops what is null: an absent parameter.
fn given(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k, given(v)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(given).collect()),
        other => other,
    }
}

/// The parameters of a decoded request, every field of it.
fn params(sent: &Sent) -> Value {
    let value = match sent.operation.as_str() {
        "CreateFunction" => create_function(sent),
        "GetFunction" => {
            let r = sent.read::<lambda::GetFunction>();
            json!({"FunctionName": r.function_name, "Qualifier": r.qualifier})
        }
        "GetFunctionConfiguration" => {
            let r = sent.read::<lambda::GetFunctionConfiguration>();
            json!({"FunctionName": r.function_name, "Qualifier": r.qualifier})
        }
        "ListFunctions" => {
            let r = sent.read::<lambda::ListFunctions>();
            json!({"MasterRegion": r.master_region, "FunctionVersion": r.function_version,
                   "Marker": r.marker, "MaxItems": r.max_items})
        }
        "UpdateFunctionCode" => {
            let r = sent.read::<lambda::UpdateFunctionCode>();
            json!({"FunctionName": r.function_name, "ZipFile": blob(&r.zip_file),
                   "S3Bucket": r.s3_bucket, "S3Key": r.s3_key, "ImageUri": r.image_uri,
                   "Architectures": r.architectures, "Publish": r.publish, "DryRun": r.dry_run,
                   "RevisionId": r.revision_id})
        }
        "UpdateFunctionConfiguration" => {
            let r = sent.read::<lambda::UpdateFunctionConfiguration>();
            let environment = r.environment.map(|it| json!({"Variables": it.variables}));
            json!({"FunctionName": r.function_name, "Timeout": r.timeout, "Layers": r.layers,
                   "Environment": environment, "Role": r.role, "Handler": r.handler,
                   "MemorySize": r.memory_size, "Runtime": r.runtime})
        }
        "DeleteFunction" => {
            let r = sent.read::<lambda::DeleteFunction>();
            json!({"FunctionName": r.function_name, "Qualifier": r.qualifier})
        }
        "Invoke" => {
            let r = sent.read::<lambda::Invoke>();
            json!({"FunctionName": r.function_name, "InvocationType": r.invocation_type,
                   "LogType": r.log_type, "ClientContext": r.client_context,
                   "Payload": blob(&r.payload), "Qualifier": r.qualifier, "TenantId": r.tenant_id,
                   "DurableExecutionName": r.durable_execution_name})
        }
        "PublishVersion" => {
            let r = sent.read::<lambda::PublishVersion>();
            json!({"FunctionName": r.function_name, "CodeSha256": r.code_sha256,
                   "Description": r.description, "RevisionId": r.revision_id})
        }
        "ListVersionsByFunction" => {
            let r = sent.read::<lambda::ListVersionsByFunction>();
            json!({"FunctionName": r.function_name, "Marker": r.marker, "MaxItems": r.max_items})
        }
        "CreateAlias" => {
            let r = sent.read::<lambda::CreateAlias>();
            json!({"FunctionName": r.function_name, "Name": r.name, "Description": r.description,
                   "FunctionVersion": r.function_version, "RoutingConfig": r.routing_config})
        }
        "GetAlias" => {
            let r = sent.read::<lambda::GetAlias>();
            json!({"FunctionName": r.function_name, "Name": r.name})
        }
        "UpdateAlias" => {
            let r = sent.read::<lambda::UpdateAlias>();
            json!({"FunctionName": r.function_name, "Name": r.name, "Description": r.description,
                   "FunctionVersion": r.function_version, "RoutingConfig": r.routing_config,
                   "RevisionId": r.revision_id})
        }
        "ListAliases" => {
            let r = sent.read::<lambda::ListAliases>();
            json!({"FunctionName": r.function_name, "FunctionVersion": r.function_version,
                   "Marker": r.marker, "MaxItems": r.max_items})
        }
        "DeleteAlias" => {
            let r = sent.read::<lambda::DeleteAlias>();
            json!({"FunctionName": r.function_name, "Name": r.name})
        }
        "CreateFunctionUrlConfig" => {
            let r = sent.read::<lambda::CreateFunctionUrlConfig>();
            json!({"FunctionName": r.function_name, "Qualifier": r.qualifier, "Cors": cors(r.cors),
                   "AuthType": r.auth_type, "InvokeMode": r.invoke_mode})
        }
        "GetFunctionUrlConfig" => {
            let r = sent.read::<lambda::GetFunctionUrlConfig>();
            json!({"FunctionName": r.function_name, "Qualifier": r.qualifier})
        }
        "UpdateFunctionUrlConfig" => {
            let r = sent.read::<lambda::UpdateFunctionUrlConfig>();
            json!({"FunctionName": r.function_name, "Qualifier": r.qualifier, "Cors": cors(r.cors),
                   "AuthType": r.auth_type, "InvokeMode": r.invoke_mode})
        }
        "DeleteFunctionUrlConfig" => {
            let r = sent.read::<lambda::DeleteFunctionUrlConfig>();
            json!({"FunctionName": r.function_name, "Qualifier": r.qualifier})
        }
        "ListFunctionUrlConfigs" => {
            let r = sent.read::<lambda::ListFunctionUrlConfigs>();
            json!({"FunctionName": r.function_name, "Marker": r.marker, "MaxItems": r.max_items})
        }
        "AddPermission" => {
            let r = sent.read::<lambda::AddPermission>();
            json!({"FunctionName": r.function_name, "StatementId": r.statement_id,
                   "Action": r.action, "Principal": r.principal, "SourceArn": r.source_arn,
                   "FunctionUrlAuthType": r.function_url_auth_type, "Qualifier": r.qualifier,
                   "InvokedViaFunctionUrl": r.invoked_via_function_url,
                   "SourceAccount": r.source_account, "EventSourceToken": r.event_source_token,
                   "RevisionId": r.revision_id, "PrincipalOrgID": r.principal_org_id})
        }
        "RemovePermission" => {
            let r = sent.read::<lambda::RemovePermission>();
            json!({"FunctionName": r.function_name, "StatementId": r.statement_id,
                   "Qualifier": r.qualifier, "RevisionId": r.revision_id})
        }
        "GetPolicy" => {
            let r = sent.read::<lambda::GetPolicy>();
            json!({"FunctionName": r.function_name, "Qualifier": r.qualifier})
        }
        "TagResource" => {
            let r = sent.read::<lambda::TagResource>();
            json!({"Resource": r.resource, "Tags": r.tags})
        }
        "UntagResource" => {
            let r = sent.read::<lambda::UntagResource>();
            json!({"Resource": r.resource, "TagKeys": r.tag_keys})
        }
        "ListTags" => json!({"Resource": sent.read::<lambda::ListTags>().resource}),
        "GetAccountSettings" => {
            let lambda::GetAccountSettingsRequest {} = sent.read::<lambda::GetAccountSettings>();
            json!({})
        }
        "PutFunctionConcurrency" => {
            let r = sent.read::<lambda::PutFunctionConcurrency>();
            json!({"FunctionName": r.function_name,
                   "ReservedConcurrentExecutions": r.reserved_concurrent_executions})
        }
        "GetFunctionConcurrency" => {
            json!({"FunctionName": sent.read::<lambda::GetFunctionConcurrency>().function_name})
        }
        "DeleteFunctionConcurrency" => {
            json!({"FunctionName": sent.read::<lambda::DeleteFunctionConcurrency>().function_name})
        }
        _ => other_services(sent),
    };
    given(value)
}

fn create_function(sent: &Sent) -> Value {
    let r = sent.read::<lambda::CreateFunction>();
    let vpc = r
        .vpc_config
        .map(|it| json!({"SubnetIds": it.subnet_ids, "SecurityGroupIds": it.security_group_ids}));
    let files = r.file_system_configs.map(|list| {
        let one = |it: &lambda::FileSystemConfig| {
            json!({"Arn": it.arn, "LocalMountPath": it.local_mount_path})
        };
        list.iter().map(one).collect::<Vec<_>>()
    });
    json!({
        "FunctionName": r.function_name, "Runtime": r.runtime, "Role": r.role,
        "Handler": r.handler, "Code": {"ZipFile": blob(&r.code.zip_file)},
        "Description": r.description, "Timeout": r.timeout, "MemorySize": r.memory_size,
        "Publish": r.publish, "PackageType": r.package_type, "Tags": r.tags,
        "Environment": r.environment.map(|it| json!({"Variables": it.variables})),
        "Architectures": r.architectures, "EphemeralStorage": r.ephemeral_storage,
        "LoggingConfig": r.logging_config, "VpcConfig": vpc, "FileSystemConfigs": files,
        "TracingConfig": r.tracing_config.map(|it| json!({"Mode": it.mode})),
        "SnapStart": r.snap_start.map(|it| json!({"ApplyOn": it.apply_on})),
        "DeadLetterConfig": r.dead_letter_config, "Layers": r.layers,
        "ImageConfig": r.image_config, "KMSKeyArn": r.kms_key_arn,
    })
}

fn other_services(sent: &Sent) -> Value {
    match sent.operation.as_str() {
        "DescribeLogGroups" => {
            let r = sent.read::<logs::DescribeLogGroups>();
            json!({"logGroupNamePrefix": r.log_group_name_prefix, "limit": r.limit,
                   "nextToken": r.next_token, "logGroupNamePattern": r.log_group_name_pattern})
        }
        "DescribeLogStreams" => {
            let r = sent.read::<logs::DescribeLogStreams>();
            json!({"logGroupName": r.log_group_name, "orderBy": r.order_by,
                   "descending": r.descending, "limit": r.limit})
        }
        "GetLogEvents" => {
            let r = sent.read::<logs::GetLogEvents>();
            json!({"logGroupName": r.log_group_name, "logStreamName": r.log_stream_name,
                   "startTime": r.start_time, "endTime": r.end_time, "limit": r.limit,
                   "startFromHead": r.start_from_head, "nextToken": r.next_token})
        }
        "FilterLogEvents" => {
            let r = sent.read::<logs::FilterLogEvents>();
            json!({"logGroupName": r.log_group_name, "logStreamNames": r.log_stream_names,
                   "filterPattern": r.filter_pattern, "interleaved": r.interleaved})
        }
        "DeleteLogGroup" => {
            json!({"logGroupName": sent.read::<logs::DeleteLogGroup>().log_group_name})
        }
        "PutRetentionPolicy" => {
            let r = sent.read::<logs::PutRetentionPolicy>();
            json!({"logGroupName": r.log_group_name, "retentionInDays": r.retention_in_days})
        }
        "GetCallerIdentity" => {
            let sts::GetCallerIdentityRequest {} = sent.read::<sts::GetCallerIdentity>();
            json!({})
        }
        other => panic!("a request for {other} is not compared"),
    }
}

#[test]
fn requests_of_boto3_decode_to_their_parameters() {
    let sent: Vec<Sent> = serde_json::from_str(include_str!("fixtures/requests.json")).unwrap();
    for sent in &sent {
        assert_eq!(params(sent), sent.params, "{}", sent.operation);
    }
    let mut served = Vec::new();
    served.extend(
        lambda::Operation::ALL
            .iter()
            .filter(|it| it.is_served())
            .map(|it| it.name()),
    );
    served.extend(
        logs::Operation::ALL
            .iter()
            .filter(|it| it.is_served())
            .map(|it| it.name()),
    );
    served.extend(
        sts::Operation::ALL
            .iter()
            .filter(|it| it.is_served())
            .map(|it| it.name()),
    );
    for name in served {
        assert!(
            sent.iter().any(|sent| sent.operation == name),
            "no fixture sends {name}"
        );
    }
    assert!(
        sent.iter()
            .all(|sent| ["lambda", "logs", "sts"].contains(&&*sent.service))
    );
}

#[test]
fn an_invocation_does_not_copy_its_payload() {
    let body = Bytes::from(vec![b'1'; 6 << 20]);
    let request = http::Request::post("/2015-03-31/functions/hello/invocations")
        .body(())
        .unwrap();
    let (parts, ()) = request.into_parts();
    let found = lambda::Operation::route(&parts.method, &parts.uri).unwrap();
    let at = body.as_ptr();
    let request = lambda::Invoke::decode(&parts, found.labels, body).unwrap();
    assert_eq!(request.payload.unwrap().as_ptr(), at);
}
