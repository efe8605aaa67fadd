//! Whatever is sent, decoding answers: it neither panics nor recurses nor runs away.

use bytes::Bytes;
use freehold_wire::{Call, Labels, WireFault, lambda, logs, sts};
use http::{Method, Request, Uri, request::Parts};
use proptest::prelude::*;

/// Decodes as every served operation; the results are only looked at for a text.
fn decode_all(parts: &Parts, labels: &Labels, body: &Bytes) {
    fn one<C: Call>(parts: &Parts, labels: &Labels, body: &Bytes) {
        if let Err(fault) = C::decode(parts, labels.clone(), body.clone()) {
            let error = fault.into_error(C::SERVICE);
            assert!((400..500).contains(&error.status));
            assert!(!error.message.is_empty(), "{}", C::NAME);
            let answer = error.encode(C::SERVICE, "id");
            assert!(!answer.body().is_empty());
        }
    }
    macro_rules! every {
        ($($call:ty),* $(,)?) => { $(one::<$call>(parts, labels, body);)* };
    }
    every!(
        lambda::AddPermission,
        lambda::CreateFunction,
        lambda::CreateFunctionUrlConfig,
        lambda::DeleteFunction,
        lambda::DeleteFunctionConcurrency,
        lambda::DeleteFunctionUrlConfig,
        lambda::GetAccountSettings,
        lambda::GetFunction,
        lambda::GetFunctionConcurrency,
        lambda::GetFunctionConfiguration,
        lambda::GetFunctionUrlConfig,
        lambda::GetPolicy,
        lambda::Invoke,
        lambda::ListFunctions,
        lambda::ListFunctionUrlConfigs,
        lambda::ListTags,
        lambda::ListVersionsByFunction,
        lambda::PublishVersion,
        lambda::PutFunctionConcurrency,
        lambda::RemovePermission,
        lambda::TagResource,
        lambda::UntagResource,
        lambda::UpdateFunctionCode,
        lambda::UpdateFunctionConfiguration,
        lambda::UpdateFunctionUrlConfig,
        logs::DeleteLogGroup,
        logs::DescribeLogGroups,
        logs::DescribeLogStreams,
        logs::FilterLogEvents,
        logs::GetLogEvents,
        logs::PutRetentionPolicy,
        sts::GetCallerIdentity,
    );
}

fn parts(method: Method, uri: Uri) -> Parts {
    Request::builder()
        .method(method)
        .uri(uri)
        .body(())
        .unwrap()
        .into_parts()
        .0
}

/// JSON that is nearly a request: names of members, wrong types, nesting, odd strings and numbers.
fn nearly_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1e999".to_owned()),
        Just("-0.0".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        Just("\u{feff}".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        ".{0,20}".prop_map(|text| format!("{text:?}")),
    ];
    let name = prop_oneof![
        Just("FunctionName"),
        Just("Role"),
        Just("Code"),
        Just("ZipFile"),
        Just("Environment"),
        Just("Variables"),
        Just("Tags"),
        Just("Layers"),
        Just("FileSystemConfigs"),
        Just("Arn"),
        Just("Timeout"),
        Just("Cors"),
        Just("MaxAge"),
        Just("logGroupName"),
        Just("logStreamNames"),
        Just("limit"),
        Just("unknown"),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        let member = (name.clone(), inner.clone());
        let member = member.prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..8).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..8)
                .prop_map(|items| format!("{{{}}}", items.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_all(&parts(Method::POST, Uri::from_static("/")), &Labels::default(), &body.into());
    }

    #[test]
    fn nearly_right_json_is_answered(body in nearly_json()) {
        decode_all(&parts(Method::POST, Uri::from_static("/")), &Labels::default(), &body.into());
    }

    #[test]
    fn arbitrary_paths_and_queries_are_answered(
        method in prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("DELETE"), Just("X")],
        head in prop_oneof![
            Just("/2015-03-31/functions/"), Just("/2017-03-31/tags/"), Just("/2021-10-31/functions/"),
            Just("/"), Just("/2018-10-31/layers"), Just("//"),
        ],
        rest in "[a-zA-Z0-9:/%._$~!+-]{0,80}",
        tail in prop_oneof![Just(""), Just("/url"), Just("/policy/x"), Just("/invocations"), Just("/")],
        query in "[a-zA-Z0-9=&%+]{0,60}",
    ) {
        let uri: Uri = format!("{head}{rest}{tail}?Qualifier={query}").parse().unwrap();
        let method: Method = method.parse().unwrap();
        if let Some(found) = lambda::Operation::route(&method, &uri) {
            decode_all(&parts(method, uri), &found.labels, &Bytes::new());
        }
    }

    #[test]
    fn what_decodes_is_within_the_model(name in "[a-z$:!-]{0,150}", timeout in any::<i32>()) {
        let body = serde_json::json!({
            "FunctionName": name, "Role": "arn:aws:iam::111111111111:role/r", "Code": {}, "Timeout": timeout,
        });
        let parts = parts(Method::POST, Uri::from_static("/2015-03-31/functions"));
        if let Ok(request) = lambda::CreateFunction::decode(&parts, Labels::default(), body.to_string().into()) {
            prop_assert!(!request.function_name.is_empty() && request.function_name.len() <= 140);
            prop_assert!(!request.function_name.contains('!'));
            prop_assert!(request.timeout.unwrap() >= 1);
        }
    }
}

#[test]
fn depth_is_no_danger() {
    let parts = parts(Method::POST, Uri::from_static("/2015-03-31/functions"));
    for open in [
        "[",
        "{\"a\":",
        "{\"Code\":",
        "{\"Environment\":{\"Variables\":",
    ] {
        let body = format!("{{\"Code\":{}", open.repeat(1_000_000));
        let fault = lambda::CreateFunction::decode(&parts, Labels::default(), body.into());
        assert!(matches!(fault, Err(WireFault::Serialization(_))));
    }
}

#[test]
fn a_long_query_is_refused() {
    let query = "a&".repeat(2_000);
    let parts = parts(
        Method::GET,
        format!("/2015-03-31/functions?{query}").parse().unwrap(),
    );
    let fault = lambda::ListFunctions::decode(&parts, Labels::default(), Bytes::new());
    assert!(matches!(fault, Err(WireFault::Serialization(text)) if text.contains("parameters")));
}
