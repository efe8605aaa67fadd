//! Prints encoded answers, one JSON line each, for `tests/roundtrip_test.py` to read with
//! botocore's own parser: service, operation, status, headers, body, and what a client must see.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use freehold_wire::{ApiError, Call, Service, common, lambda, logs, sts};
use http::Response;
use serde_json::{Value, json};

const REQUEST_ID: &str = "01936d3e-0000-7000-8000-000000000000";

fn print(service: Service, operation: &str, answer: &Response<Bytes>, seen: Value) {
    let headers: BTreeMap<&str, &str> = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.as_str(),
                value.to_str().expect("answers are ASCII here"),
            )
        })
        .collect();
    let line = json!({
        "service": service.name(),
        "operation": operation,
        "status": answer.status().as_u16(),
        "headers": headers,
        "body": BASE64_STANDARD.encode(answer.body()),
        "seen": seen,
    });
    println!("{line}");
}

fn answer<C: Call>(response: C::Response, seen: Value) {
    print(C::SERVICE, C::NAME, &C::encode(response, REQUEST_ID), seen);
}

fn error(service: Service, operation: &str, error: &ApiError, seen: Value) {
    print(service, operation, &error.encode(service, REQUEST_ID), seen);
}

fn configuration() -> lambda::FunctionConfiguration {
    lambda::FunctionConfiguration {
        function_name: Some("hello".into()),
        timeout: Some(3),
        code_size: Some(1 << 40),
        last_modified: Some("2026-11-21T02:24:27.000+0000".into()),
        environment: Some(lambda::EnvironmentResponse {
            variables: Some(BTreeMap::from([(
                "KEY".into(),
                "größer \u{2028} \"✓\"".into(),
            )])),
            ..Default::default()
        }),
        architectures: Some(vec!["x86_64".into()]),
        ephemeral_storage: Some(lambda::EphemeralStorage { size: 512 }),
        layers: Some(Vec::new()),
        ..Default::default()
    }
}

fn main() {
    let seen = json!({
        "FunctionName": "hello", "Timeout": 3, "CodeSize": 1_u64 << 40,
        "LastModified": "2026-11-21T02:24:27.000+0000",
        "Environment": {"Variables": {"KEY": "größer \u{2028} \"✓\""}},
        "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512}, "Layers": [],
    });
    answer::<lambda::CreateFunction>(configuration(), seen.clone());
    answer::<lambda::UpdateFunctionCode>(configuration(), seen.clone());
    answer::<lambda::GetFunction>(
        lambda::GetFunctionResponse {
            configuration: Some(configuration()),
            tags: Some(BTreeMap::from([("ключ".into(), String::new())])),
            concurrency: Some(lambda::Concurrency {
                reserved_concurrent_executions: Some(0),
            }),
            ..Default::default()
        },
        json!({"Configuration": seen.clone(), "Tags": {"ключ": ""},
               "Concurrency": {"ReservedConcurrentExecutions": 0}}),
    );
    answer::<lambda::ListFunctions>(
        lambda::ListFunctionsResponse {
            next_marker: Some("m".into()),
            functions: Some(vec![configuration()]),
        },
        json!({"NextMarker": "m", "Functions": [seen]}),
    );
    answer::<lambda::Invoke>(
        lambda::InvocationResponse {
            status_code: Some(200),
            function_error: Some("Unhandled".into()),
            log_result: Some("U1RBUlQ=".into()),
            executed_version: Some("$LATEST".into()),
            payload: Some(Bytes::from_static(b"{\"errorMessage\": \"\xc3\xa9\"}")),
            ..Default::default()
        },
        json!({"StatusCode": 200, "FunctionError": "Unhandled", "LogResult": "U1RBUlQ=",
               "ExecutedVersion": "$LATEST", "Payload": "{\"errorMessage\": \"é\"}"}),
    );
    answer::<lambda::Invoke>(
        lambda::InvocationResponse {
            status_code: Some(202),
            ..Default::default()
        },
        json!({"StatusCode": 202, "Payload": ""}),
    );
    answer::<lambda::DeleteFunction>(Default::default(), json!({"StatusCode": 204}));
    answer::<lambda::DeleteFunctionUrlConfig>((), json!({}));
    answer::<lambda::CreateFunctionUrlConfig>(
        lambda::CreateFunctionUrlConfigResponse {
            function_url: "http://x.lambda-url.us-east-1.localhost:7070/".into(),
            function_arn: "arn:aws:lambda:us-east-1:111111111111:function:hello".into(),
            auth_type: "NONE".into(),
            creation_time: "2026-11-21T02:24:27.000000Z".into(),
            cors: Some(lambda::Cors {
                max_age: Some(0),
                ..Default::default()
            }),
            invoke_mode: None,
        },
        json!({"FunctionUrl": "http://x.lambda-url.us-east-1.localhost:7070/", "AuthType": "NONE",
               "FunctionArn": "arn:aws:lambda:us-east-1:111111111111:function:hello",
               "CreationTime": "2026-11-21T02:24:27.000000Z", "Cors": {"MaxAge": 0}}),
    );
    answer::<lambda::GetAccountSettings>(
        lambda::GetAccountSettingsResponse {
            account_limit: Some(lambda::AccountLimit {
                concurrent_executions: Some(1_000),
                ..Default::default()
            }),
            account_usage: None,
        },
        json!({"AccountLimit": {"ConcurrentExecutions": 1000}}),
    );
    other_services();
    errors();
}

fn other_services() {
    answer::<logs::GetLogEvents>(
        logs::GetLogEventsResponse {
            events: Some(vec![logs::OutputLogEvent {
                timestamp: Some(1_763_690_000_123),
                message: Some("a\u{0}\u{1b}\n".into()),
                ingestion_time: Some(1_763_690_000_456),
            }]),
            next_forward_token: Some("f/1".into()),
            next_backward_token: Some("b/1".into()),
        },
        json!({"events": [{"timestamp": 1_763_690_000_123_i64, "message": "a\u{0}\u{1b}\n",
                           "ingestionTime": 1_763_690_000_456_i64}],
               "nextForwardToken": "f/1", "nextBackwardToken": "b/1"}),
    );
    answer::<logs::DeleteLogGroup>((), json!({}));
    answer::<sts::GetCallerIdentity>(
        sts::GetCallerIdentityResponse {
            user_id: Some("111111111111".into()),
            account: Some("111111111111".into()),
            arn: Some("arn:aws:iam::111111111111:user/<&>".into()),
        },
        json!({"UserId": "111111111111", "Account": "111111111111",
               "Arn": "arn:aws:iam::111111111111:user/<&>"}),
    );
}

fn errors() {
    let throttled = lambda::error::too_many_requests("Rate Exceeded.")
        .with_reason("ReservedFunctionConcurrentInvocationLimitExceeded");
    error(
        Service::Lambda,
        "Invoke",
        &throttled,
        json!({"Error": {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."},
               "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User"}),
    );
    error(
        Service::Lambda,
        "GetFunction",
        &lambda::error::resource_not_found("Function not found: x"),
        json!({"Error": {"Code": "ResourceNotFoundException", "Message": "Function not found: x"},
               "Message": "Function not found: x", "Type": "User"}),
    );
    error(
        Service::Lambda,
        "PublishLayerVersion",
        &common::not_implemented(Service::Lambda, "PublishLayerVersion"),
        json!({"Error": {"Code": "NotImplementedException", "Message":
            "lambda:PublishLayerVersion is an operation of AWS that this version of Freehold does not serve."}}),
    );
    error(
        Service::Logs,
        "GetLogEvents",
        &logs::error::resource_not_found("The specified log group does not exist."),
        json!({"Error": {"Code": "ResourceNotFoundException",
                         "Message": "The specified log group does not exist."}}),
    );
    error(
        Service::Sts,
        "GetCallerIdentity",
        &common::unrecognized_client(),
        json!({"Error": {"Code": "InvalidClientTokenId", "Type": "Sender",
                         "Message": "The security token included in the request is invalid."}}),
    );
}
