//! The texts of failed constraints, as the real service was recorded to answer them.

use bytes::Bytes;
use freehold_wire::{Call, Service, lambda, logs};
use http::Request;

/// Sends a request by method, path and body, and gives back code and text of the refusal.
fn refusal<C: Call>(method: &str, uri: &str, body: &str) -> (String, String) {
    let (parts, ()) = Request::builder()
        .method(method)
        .uri(uri)
        .body(())
        .unwrap()
        .into_parts();
    let labels = match lambda::Operation::route(&parts.method, &parts.uri) {
        Some(found) if C::SERVICE == Service::Lambda => {
            assert_eq!(found.operation.name(), C::NAME);
            found.labels
        }
        _ => freehold_wire::Labels::default(),
    };
    match C::decode(&parts, labels, Bytes::copy_from_slice(body.as_bytes())) {
        Ok(_) => panic!("{uri} {body} is accepted"),
        Err(fault) => {
            let error = fault.into_error(C::SERVICE);
            assert_eq!(error.status, 400);
            (error.code.into_owned(), error.message)
        }
    }
}

fn check<C: Call>(method: &str, uri: &str, body: &str, code: &str, text: &str) {
    let (found_code, found) = refusal::<C>(method, uri, body);
    assert_eq!(found, text);
    assert_eq!(found_code, code);
}

fn create(name: &str, more: &str) -> String {
    format!(
        r#"{{"FunctionName":"{name}","Role":"arn:aws:iam::111111111111:role/r","Code":{{}}{more}}}"#
    )
}

const FUNCTIONS: &str = "/2015-03-31/functions";
const NAME_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
const NAMESPACED_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";

/// Case test_function_name_and_qualifier_validation, create_function.
#[test]
fn names_in_the_body_are_refused_as_recorded() {
    for name in [
        "arn:aws:lambda:us-east-1:111111111111:function:my-function:1:2",
        "*",
        "my-function!",
        "my-function:invalid!",
        "invalid-account:function:my-function",
        "function:my-function:$LATEST:extra",
        "arn:aws:lambda:us-east-1:111111111111:function:my-function:$latest",
        "arn:aws:lambda:us-east-1:111111111111:function:my-function:$LATES",
    ] {
        check::<lambda::CreateFunction>(
            "POST",
            FUNCTIONS,
            &create(name, ""),
            "ValidationException",
            &format!(
                "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: {NAME_PATTERN}"
            ),
        );
    }
}

/// Step full_arn_and_qualifier_too_long_and_invalid_region-create_function: length before pattern.
#[test]
fn two_errors_of_one_member_are_counted_and_joined() {
    let name = format!(
        "arn:aws:lambda:invalid-region:111111111111:function:my-function-{}:{}",
        "a".repeat(170),
        "a".repeat(129)
    );
    check::<lambda::CreateFunction>(
        "POST",
        FUNCTIONS,
        &create(&name, ""),
        "ValidationException",
        &format!(
            "2 validation errors detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 140; Value '{name}' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: {NAME_PATTERN}"
        ),
    );
}

/// Case test_function_arns, step long_function_name_exc: another code for the name alone.
#[test]
fn a_long_bare_name_is_an_invalid_parameter_value() {
    let name = "a".repeat(65);
    check::<lambda::CreateFunction>(
        "POST",
        FUNCTIONS,
        &create(&name, ""),
        "InvalidParameterValueException",
        &format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
        ),
    );
}

/// Case test_function_name_and_qualifier_validation, delete_function, get_function and invoke.
#[test]
fn names_and_qualifiers_in_path_and_query_are_refused_as_recorded() {
    let name = "arn:aws:lambda:us-east-1::function:my-function";
    let text = format!(
        "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: {NAMESPACED_PATTERN}"
    );
    check::<lambda::DeleteFunction>(
        "DELETE",
        &format!("{FUNCTIONS}/{name}"),
        "",
        "ValidationException",
        &text,
    );
    let encoded = name.replace(':', "%3A");
    check::<lambda::GetFunction>(
        "GET",
        &format!("{FUNCTIONS}/{encoded}"),
        "",
        "ValidationException",
        &text,
    );
    check::<lambda::Invoke>(
        "POST",
        &format!("{FUNCTIONS}/{encoded}/invocations"),
        "{}",
        "ValidationException",
        &text,
    );

    let qualifier = "a".repeat(129);
    check::<lambda::DeleteFunction>(
        "DELETE",
        &format!("{FUNCTIONS}/my-function?Qualifier={qualifier}"),
        "",
        "ValidationException",
        &format!(
            "1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: Member must have length less than or equal to 128"
        ),
    );
    check::<lambda::GetFunction>(
        "GET",
        &format!("{FUNCTIONS}/my-function?Qualifier=invalid%21"),
        "",
        "ValidationException",
        r"1 validation error detected: Value 'invalid!' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
    );
}

/// Cases test_url_config_exceptions, test_lambda_url_invalid_invoke_mode.
#[test]
fn urls_take_aliases_and_known_modes_only() {
    for qualifier in ["1", "2", "$LATEST"] {
        check::<lambda::CreateFunctionUrlConfig>(
            "POST",
            &format!("/2021-10-31/functions/hello/url?Qualifier={qualifier}"),
            r#"{"AuthType":"NONE"}"#,
            "ValidationException",
            &format!(
                r"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
            ),
        );
    }
    check::<lambda::CreateFunctionUrlConfig>(
        "POST",
        "/2021-10-31/functions/hello/url",
        r#"{"AuthType":"NONE","InvokeMode":"UNKNOWN"}"#,
        "ValidationException",
        "1 validation error detected: Value 'UNKNOWN' at 'invokeMode' failed to satisfy constraint: Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]",
    );
}

/// Cases test_tag_exceptions and test_permission_exceptions.
#[test]
fn tags_and_permissions_are_refused_as_recorded() {
    check::<lambda::UntagResource>(
        "DELETE",
        "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A111111111111%3Afunction%3Ahello",
        "",
        "ValidationException",
        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    );
    check::<lambda::TagResource>(
        "POST",
        "/2017-03-31/tags/arn:aws:something",
        r#"{"Tags":{"a":"b"}}"#,
        "ValidationException",
        r"1 validation error detected: Value 'arn:aws:something' at 'resource' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)",
    );
    check::<lambda::AddPermission>(
        "POST",
        "/2015-03-31/functions/hello/policy",
        r#"{"StatementId":"example.com","Action":"lambda:InvokeFunction","Principal":"s3.amazonaws.com"}"#,
        "ValidationException",
        "1 validation error detected: Value 'example.com' at 'statementId' failed to satisfy constraint: Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)",
    );
}

/// Recorded for layers ('layers', 'compatibleArchitectures'), and known for years for variables.
#[test]
fn elements_of_lists_and_maps_are_reported_with_the_whole_of_them() {
    let body = create("hello", r#","Architectures":["invalidarch"]"#);
    check::<lambda::CreateFunction>(
        "POST",
        FUNCTIONS,
        &body,
        "ValidationException",
        "1 validation error detected: Value '[invalidarch]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    );
    let layer = "arn:aws:lambda:us-east-1:111111111111:layer:l";
    let body = create("hello", &format!(r#","Layers":["{layer}"]"#));
    check::<lambda::CreateFunction>(
        "POST",
        FUNCTIONS,
        &body,
        "ValidationException",
        &format!(
            r"1 validation error detected: Value '[{layer}]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{{2}}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{{1}}:\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+), Member must not be null]"
        ),
    );
    let body = create("hello", r#","Environment":{"Variables":{"9":"secret"}}"#);
    check::<lambda::CreateFunction>(
        "POST",
        FUNCTIONS,
        &body,
        "ValidationException",
        "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
    );
    let body = create("hello", r#","FileSystemConfigs":[{"Arn":""}]"#);
    let (_, text) = refusal::<lambda::CreateFunction>("POST", FUNCTIONS, &body);
    assert!(
        text.contains("Value null at 'fileSystemConfigs.1.member.localMountPath' failed"),
        "{text}"
    );
}

#[test]
fn ceilings_are_left_to_the_configuration_and_floors_are_not() {
    let decode = |body: String| {
        let (parts, ()) = Request::post(FUNCTIONS).body(()).unwrap().into_parts();
        lambda::CreateFunction::decode(&parts, Default::default(), body.into())
    };
    let request = decode(create("hello", r#","Timeout":86400,"MemorySize":1048576,"EphemeralStorage":{"Size":1048576},"Runtime":"python3.99""#)).unwrap();
    assert_eq!(
        (request.timeout, request.memory_size),
        (Some(86_400), Some(1_048_576))
    );

    let body = create(
        "hello",
        r#","Timeout":0,"MemorySize":127,"EphemeralStorage":{"Size":511}"#,
    );
    check::<lambda::CreateFunction>(
        "POST",
        FUNCTIONS,
        &body,
        "ValidationException",
        "3 validation errors detected: Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1; Value '127' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128; Value '511' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or equal to 512",
    );
    let error = lambda::above_ceiling("memorySize", 20_480, 10_240);
    assert_eq!(
        error.message,
        "1 validation error detected: Value '20480' at 'memorySize' failed to satisfy constraint: Member must have value less than or equal to 10240"
    );
}

#[test]
fn every_missing_member_is_named() {
    check::<lambda::CreateFunction>(
        "POST",
        FUNCTIONS,
        "",
        "ValidationException",
        "3 validation errors detected: Value null at 'functionName' failed to satisfy constraint: Member must not be null; Value null at 'role' failed to satisfy constraint: Member must not be null; Value null at 'code' failed to satisfy constraint: Member must not be null",
    );
}

#[test]
fn logs_answer_under_their_own_code() {
    check::<logs::DescribeLogStreams>(
        "POST",
        "/",
        r#"{"logGroupName":"a:b"}"#,
        "InvalidParameterException",
        r"1 validation error detected: Value 'a:b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+",
    );
}

/// The text as quoted in aws/aws-cdk#1343, with the days that were added since.
#[test]
fn logs_keep_events_for_listed_numbers_of_days() {
    check::<logs::PutRetentionPolicy>(
        "POST",
        "/",
        r#"{"logGroupName":"a","retentionInDays":730}"#,
        "InvalidParameterException",
        "Invalid retention value. Valid values are: [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]",
    );
}

#[test]
fn a_log_group_is_named_exactly_once() {
    for body in ["{}", r#"{"logGroupName":"a","logGroupIdentifier":"a"}"#] {
        check::<logs::FilterLogEvents>(
            "POST",
            "/",
            body,
            "InvalidParameterException",
            "Exactly one of logGroupName and logGroupIdentifier must be specified.",
        );
    }
}

/// An answer is bounded whatever is asked: a long value is cut, and so is a long list of errors.
#[test]
fn an_answer_does_not_grow_with_the_request() {
    let long = "!".repeat(1 << 20);
    let (_, text) = refusal::<lambda::CreateFunction>("POST", FUNCTIONS, &create(&long, ""));
    assert!(text.starts_with("2 validation errors detected: Value '!!!!") && text.len() < 10_000);
    let tags: Vec<String> = (0..100_000).map(|n| format!(r#""{n}!":"""#)).collect();
    let tags = create("hello", &format!(r#","Tags":{{{}}}"#, tags.join(",")));
    let (_, text) = refusal::<lambda::CreateFunction>("POST", FUNCTIONS, &tags);
    assert!(text.len() < 10_000, "{}", text.len());
    let files = vec!["{}"; 100_000].join(",");
    let files = create("hello", &format!(r#","FileSystemConfigs":[{files}]"#));
    let (_, text) = refusal::<lambda::CreateFunction>("POST", FUNCTIONS, &files);
    assert!(text.len() < 20_000, "{}", text.len());
}

#[test]
fn secrets_are_not_printed() {
    let (parts, ()) = Request::post(FUNCTIONS).body(()).unwrap().into_parts();
    let body = create("hello", r#","Environment":{"Variables":{"KEY":"hunter2"}}"#);
    let request = lambda::CreateFunction::decode(&parts, Default::default(), body.into()).unwrap();
    let printed = format!("{request:?}");
    assert!(
        printed.contains("hello") && !printed.contains("hunter2"),
        "{printed}"
    );
}
