//! Which operation a method and a path name.

use freehold_wire::{Labels, lambda::Operation, logs, sts};
use http::{HeaderMap, Method, Request, Uri};

fn route(method: &str, uri: &str) -> Option<(Operation, Labels)> {
    let found = Operation::route(
        &method.parse::<Method>().unwrap(),
        &uri.parse::<Uri>().unwrap(),
    )?;
    Some((found.operation, found.labels))
}

#[test]
fn paths_name_operations() {
    let check = |method, uri, expected: Option<Operation>| {
        assert_eq!(
            route(method, uri).map(|(operation, _)| operation),
            expected,
            "{method} {uri}"
        );
    };
    check(
        "POST",
        "/2015-03-31/functions",
        Some(Operation::CreateFunction),
    );
    // Models before 2025 had the trailing slash, and so have the SDKs made from them.
    check(
        "POST",
        "/2015-03-31/functions/",
        Some(Operation::CreateFunction),
    );
    check(
        "GET",
        "/2015-03-31/functions/",
        Some(Operation::ListFunctions),
    );
    check(
        "GET",
        "/2015-03-31/functions/?MaxItems=1",
        Some(Operation::ListFunctions),
    );
    check(
        "GET",
        "/2015-03-31/functions/a",
        Some(Operation::GetFunction),
    );
    check("PATCH", "/2015-03-31/functions/a", None);
    check(
        "POST",
        "/2015-03-31/functions/a/invocations",
        Some(Operation::Invoke),
    );
    check("POST", "/2015-03-31/functions/a/invocations/b", None);
    check(
        "POST",
        "/2014-11-13/functions/a/invoke-async",
        Some(Operation::InvokeAsync),
    );
    check(
        "GET",
        "/2018-10-31/layers?find=LayerVersion&Arn=x",
        Some(Operation::GetLayerVersionByArn),
    );
    check(
        "GET",
        "/2018-10-31/layers?find=Other",
        Some(Operation::ListLayers),
    );
    check("GET", "/2015-03-31/functions//invocations", None);
    check("GET", "/", None);
    check("GET", "*", None);
}

#[test]
fn labels_keep_what_the_path_says() {
    let arn = "arn:aws:lambda:us-east-1:111111111111:function:a/b";
    let uri = format!(
        "/2015-03-31/functions/{}/policy/s.1",
        arn.replace(':', "%3A").replace('/', "%2F")
    );
    let (operation, labels) = route("DELETE", &uri).unwrap();
    assert_eq!(operation, Operation::RemovePermission);
    assert_eq!(labels.get("FunctionName").unwrap().unwrap(), arn);
    assert_eq!(labels.get("StatementId").unwrap().unwrap(), "s.1");
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    for operation in Operation::ALL {
        assert_eq!(Operation::from_name(operation.name()), Some(*operation));
    }
    assert_eq!(
        Operation::ALL.iter().filter(|it| it.is_served()).count(),
        30
    );
    assert!(Operation::ALL.len() > 80);
    assert!(!Operation::PublishLayerVersion.is_served());
}

#[test]
fn targets_and_actions_name_operations() {
    let mut headers = HeaderMap::new();
    assert_eq!(logs::Operation::route(&headers), None);
    headers.insert(
        "x-amz-target",
        "Logs_20140328.CreateLogGroup".parse().unwrap(),
    );
    assert_eq!(
        logs::Operation::route(&headers),
        Some(logs::Operation::CreateLogGroup)
    );
    headers.insert("x-amz-target", "DynamoDB_20120810.GetItem".parse().unwrap());
    assert_eq!(logs::Operation::route(&headers), None);

    let (parts, ()) = Request::post("/").body(()).unwrap().into_parts();
    let form = b"Action=GetCallerIdentity&Version=2011-06-15";
    assert_eq!(
        sts::Operation::route(&parts, form),
        Some(sts::Operation::GetCallerIdentity)
    );
    assert_eq!(sts::Operation::route(&parts, b"Action=Nothing"), None);
    let uri = "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Signature=x";
    let (parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
    assert_eq!(
        sts::Operation::route(&parts, b""),
        Some(sts::Operation::GetCallerIdentity)
    );
}
