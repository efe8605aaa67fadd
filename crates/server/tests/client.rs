//! The commands of the built binary against a small server of this test: what they send, what they
//! show, and the exit code. The real server has its own tests, with AWS's clients, in `/tests`.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

type Answer = (u16, Vec<(&'static str, &'static str)>, String);

/// Answers every request by `answer` and remembers it. Ends with the process of the test.
struct Fake {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    fn start(answer: impl Fn(&Seen, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read(&stream) else {
                    continue;
                };
                let (status, headers, body) = answer(&request, log.lock().unwrap().len());
                log.lock().unwrap().push(request);
                let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                let _ = write!(&stream, "{text}\r\n{body}");
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&self.url, arguments, "")
    }
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Seen {
        line,
        headers,
        body,
    })
}

fn run(endpoint: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_freehold"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", "AKIATEST")
        .env("AWS_SECRET_ACCESS_KEY", "sesame")
        .env("AWS_REGION", "eu-west-1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn ok(body: Value) -> Answer {
    (200, Vec::new(), body.to_string())
}

fn refusal(status: u16, code: &'static str) -> Answer {
    (
        status,
        vec![("x-amzn-errortype", code)],
        r#"{"Message":"in AWS's words"}"#.into(),
    )
}

fn stdout(done: &Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn stderr(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn out_json(done: &Output) -> Value {
    assert!(done.status.success(), "{}", stderr(done));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn an_invocation_is_signed_and_its_answer_is_printed_as_it_came() {
    let fake = Fake::start(|_, _| ok(json!({"a": 1})));
    let done = run(
        &fake.url,
        &[
            "invoke",
            "hello",
            "--payload",
            "-",
            "--qualifier",
            "$LATEST",
        ],
        "{\"n\": 1}",
    );
    assert_eq!(
        (done.status.code(), stdout(&done)),
        (Some(0), "{\"a\":1}\n".to_owned())
    );
    let seen = &fake.seen()[0];
    assert_eq!(
        seen.line,
        "POST /2015-03-31/functions/hello/invocations?Qualifier=%24LATEST"
    );
    assert_eq!(seen.body, b"{\"n\": 1}");
    let signature = &seen.headers["authorization"];
    assert!(
        signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIATEST/"),
        "{signature}"
    );
    assert!(
        signature.contains("/eu-west-1/lambda/aws4_request"),
        "{signature}"
    );
    assert_eq!(seen.headers["x-amz-invocation-type"], "RequestResponse");
}

#[test]
fn exit_codes_tell_whose_fault_it_is() {
    #[track_caller]
    fn check(answer: Answer, arguments: &[&str], code: i32) {
        let fake = Fake::start(move |_, _| answer.clone());
        let done = fake.run(arguments);
        assert_eq!(done.status.code(), Some(code), "{}", stderr(&done));
        assert!(!stderr(&done).contains("sesame"));
    }
    let failed = (
        200,
        vec![("x-amz-function-error", "Unhandled")],
        r#"{"errorType":"E"}"#.to_owned(),
    );
    check(failed, &["invoke", "f"], 1);
    check(ok(json!({})), &["invoke", "f", "--payload", "{no"], 2);
    check(ok(json!({})), &["invoke", "f", "--nonsense"], 2);
    check(
        refusal(404, "ResourceNotFoundException"),
        &["describe", "f"],
        3,
    );
    check(refusal(403, "AccessDeniedException"), &["ls"], 4);
    check(
        refusal(429, "TooManyRequestsException"),
        &["invoke", "f"],
        4,
    );
    check(refusal(503, "ServiceUnavailableException"), &["ls"], 5);
    check((200, Vec::new(), "<html>".into()), &["ls"], 5);
    check(ok(json!({})), &["rm", "f"], 2);
    let nobody = run("http://127.0.0.1:1", &["ls"], "");
    assert_eq!(nobody.status.code(), Some(5));
    assert!(
        stderr(&nobody).contains("freehold serve"),
        "{}",
        stderr(&nobody)
    );
}

#[test]
fn lists_go_on_to_their_last_page() {
    let fake = Fake::start(|seen, _| {
        if seen.line.contains("Marker=next%2F1") {
            ok(json!({"Functions": [{"FunctionName": "b"}]}))
        } else {
            ok(json!({"Functions": [{"FunctionName": "a\u{1b}[2J"}], "NextMarker": "next/1"}))
        }
    });
    let names = out_json(&fake.run(&["ls", "--json"]));
    assert_eq!(names[1]["FunctionName"], "b");
    let table = stdout(&fake.run(&["ls"]));
    assert!(
        table.contains("a\\x1b[2J") && !table.contains('\u{1b}'),
        "{table}"
    );
}

#[test]
fn instances_and_usage_come_from_our_own_operations() {
    let fake = Fake::start(|seen, _| {
        if seen.line.ends_with("/ListInstances") {
            ok(
                json!({"Instances": [{"InstanceId": "i", "FunctionName": "f", "Version": "$LATEST",
                "State": "idle", "AgeMs": 65_000, "MemoryBytes": 1 << 20, "MemoryLimitBytes": 128 << 20,
                "CpuUs": 1500, "Invocations": 3}]}),
            )
        } else {
            ok(
                json!({"Usage": [{"FunctionName": "f", "Day": "2026-11-21", "Invocations": 2, "Errors": 1,
                "BilledMs": 7, "BilledMibMs": 896, "GbSeconds": 0.000875}]}),
            )
        }
    });
    let table = stdout(&fake.run(&["ps"]));
    for word in ["$LATEST", "idle", "1m05s", "1.0 MiB", "128.0 MiB"] {
        assert!(table.contains(word), "{table}");
    }
    let shown = out_json(&fake.run(&["ps", "--json"]));
    assert_eq!(shown["Instances"][0]["Invocations"], 3);
    let shown = out_json(&fake.run(&["ps", "other", "--json"]));
    assert_eq!(shown, json!({ "Instances": [] }));
    let rows = out_json(&fake.run(&["usage", "--since", "2026-11-01", "--json"]));
    assert_eq!(
        (&rows[0]["function"], &rows[0]["billed_ms"]),
        (&json!("f"), &json!(7))
    );
    let asked = fake.seen().pop().unwrap();
    assert_eq!(asked.body, br#"{"From":"2026-11-01"}"#);
    assert!(asked.headers["authorization"].contains("/freehold/aws4_request"));
    assert_eq!(
        fake.run(&["usage", "--since", "yesterday"]).status.code(),
        Some(2)
    );
}

#[test]
fn the_lines_of_one_request_are_those_between_its_first_and_its_last() {
    let event = |number: u32, message: &str| {
        json!({"eventId": number.to_string(), "timestamp": number, "logStreamName": "s",
            "message": format!("{message}\n"), "ingestionTime": 0})
    };
    let all = [
        event(1, "START RequestId: aa"),
        event(2, "of aa"),
        event(3, "without an id"),
        event(4, "REPORT RequestId: aa"),
        event(5, "START RequestId: bb"),
    ];
    let fake = Fake::start(move |seen, _| {
        if seen.line.starts_with("GET") {
            return refusal(404, "ResourceNotFoundException");
        }
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        let shown = |event: &&Value| {
            asked["filterPattern"].as_str().is_none_or(|pattern| {
                event["message"]
                    .as_str()
                    .unwrap()
                    .contains(pattern.trim_matches('"'))
            })
        };
        ok(json!({"events": all.iter().filter(shown).collect::<Vec<_>>()}))
    });
    let text = stdout(&fake.run(&["logs", "gone", "--request", "aa"]));
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        lines,
        [
            "START RequestId: aa",
            "of aa",
            "without an id",
            "REPORT RequestId: aa"
        ]
    );
    let asked: Value = serde_json::from_slice(&fake.seen()[1].body).unwrap();
    assert_eq!(asked["logGroupName"], "/aws/lambda/gone");
    assert_eq!(
        fake.run(&["logs", "gone", "--request", "cc"]).status.code(),
        Some(3)
    );
}

/// A Lambda API with room for one function.
fn one_function() -> Fake {
    let function = Mutex::new(None::<Value>);
    let url = Mutex::new(None::<Value>);
    Fake::start(move |seen, _| {
        let mut function = function.lock().unwrap();
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let (method, path) = seen.line.split_once(' ').unwrap();
        match (method, path) {
            ("POST", "/") => (
                200,
                Vec::new(),
                "<r><Account>000000000001</Account></r>".into(),
            ),
            ("POST", "/2015-03-31/functions") => {
                let mut made = body;
                made["State"] = json!("Pending");
                made["CodeSha256"] = json!("old");
                *function = Some(made.clone());
                ok(made)
            }
            ("PUT", path) if path.ends_with("/code") || path.ends_with("/configuration") => {
                ok(function.clone().unwrap())
            }
            ("GET", path) if path.ends_with("/configuration") => match function.as_mut() {
                None => refusal(404, "ResourceNotFoundException"),
                Some(about) => {
                    let shown = about.clone();
                    // Ready at the second look.
                    about["State"] = json!("Active");
                    about["LastUpdateStatus"] = json!("Successful");
                    ok(shown)
                }
            },
            ("GET", path) if path.ends_with("/url") => match url.lock().unwrap().clone() {
                None => refusal(404, "ResourceNotFoundException"),
                Some(url) => ok(url),
            },
            (_, path) if path.ends_with("/url") => {
                let mut made = body;
                made["FunctionUrl"] = json!("http://abc.lambda-url.eu-west-1.localhost:7070/");
                *url.lock().unwrap() = Some(made.clone());
                ok(made)
            }
            (_, path) if path.contains("/policy") => ok(json!({})),
            _ => refusal(400, "Unexpected"),
        }
    })
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[test]
fn a_folder_becomes_a_function_with_a_url() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "bootstrap", "#!/bin/sh\n");
    write(
        folder.path(),
        "freehold.toml",
        "name = 'orders'\nmemory = 256\n[env]\nA = 'file'\nB = 'file'\n",
    );
    let fake = one_function();
    let path = folder.path().to_str().unwrap();
    let done = out_json(&fake.run(&["deploy", path, "--env", "A=line", "--json"]));
    assert_eq!(done["result"], "created");
    assert_eq!(done["auth_type"], "AWS_IAM");
    assert_eq!(done["path_url"], format!("{}/_freehold/url/abc/", fake.url));
    let seen = fake.seen();
    let created = seen
        .iter()
        .find(|one| one.line == "POST /2015-03-31/functions")
        .unwrap();
    let created: Value = serde_json::from_slice(&created.body).unwrap();
    assert_eq!(created["FunctionName"], "orders");
    assert_eq!(created["Runtime"], "provided.al2023");
    assert_eq!(created["MemorySize"], 256);
    assert_eq!(
        created["Environment"]["Variables"],
        json!({"A": "line", "B": "file"})
    );
    assert_eq!(
        created["Role"],
        "arn:aws:iam::000000000001:role/freehold-function"
    );
    assert!(
        !seen
            .iter()
            .any(|one| one.line.starts_with("POST") && one.line.ends_with("/policy"))
    );

    let again = fake.run(&["deploy", path, "--public"]);
    let text = stdout(&again);
    assert!(
        text.contains("orders updated") && text.contains("curl http://127"),
        "{text}{}",
        stderr(&again)
    );
    let seen = fake.seen();
    let statements: Vec<Value> = seen
        .iter()
        .filter(|one| one.line.starts_with("POST") && one.line.ends_with("/policy"))
        .map(|one| serde_json::from_slice(&one.body).unwrap())
        .collect();
    assert_eq!(statements[0]["Action"], "lambda:InvokeFunctionUrl");
    assert_eq!(statements[1]["InvokedViaFunctionUrl"], true);
    let change = seen
        .iter()
        .rfind(|one| one.line.starts_with("PUT") && one.line.ends_with("/url"));
    let change: Value = serde_json::from_slice(&change.unwrap().body).unwrap();
    assert_eq!(change["AuthType"], "NONE");
}

#[test]
fn what_cannot_be_deployed_is_said_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let fake = one_function();
    let done = fake.run(&["deploy", folder.path().to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(2), "{}", stderr(&done));
    assert_eq!(
        fake.run(&["deploy", "/no/such/folder"]).status.code(),
        Some(2)
    );
    assert!(fake.seen().is_empty());
}

#[test]
fn a_reload_says_what_it_did_and_every_fault_on_its_line() {
    let change = |key: &str| json!({"Key": key, "Before": "1", "Now": null, "Origin": "/f:2"});
    let done = json!({"File": "/f", "Applied": [change("a.b")], "NeedsRestart": [change("c.d")]});
    let fake = Fake::start(move |_, _| ok(done.clone()));
    assert_eq!(
        stdout(&fake.run(&["reload"])),
        "applied       a.b: 1 → unset  (/f:2)\nneeds restart c.d: 1 → unset  (/f:2)\n"
    );
    let seen = &fake.seen()[0];
    assert_eq!(seen.line, "POST /_freehold/api/ReloadConfiguration");
    assert!(seen.headers["authorization"].contains("/eu-west-1/freehold/aws4_request"));
    let answer = out_json(&fake.run(&["reload", "--json"]));
    assert_eq!(answer["needs_restart"][0]["key"], "c.d");

    let fake = Fake::start(|_, _| {
        let faults = json!({"message": "it is not valid:\n  /f:2: \u{1b}[2J\n  /f:3: x"});
        let code = vec![("x-amzn-errortype", "ConfigurationInvalidException")];
        (400, code, faults.to_string())
    });
    let done = fake.run(&["reload"]);
    assert_eq!(done.status.code(), Some(4));
    assert_eq!(
        stderr(&done),
        "freehold: the server keeps what it has: it is not valid:\n  /f:2: \\x1b[2J\n  /f:3: x\n"
    );
}

#[test]
fn what_a_server_elsewhere_has_is_shown_by_its_address_alone() {
    let row = json!({"Key": "audit.keep", "Value": "2d", "Origin": "/f:2", "Reloads": true});
    let held = json!({"File": "/f", "Settings": [row]});
    let fake = Fake::start(move |_, _| ok(held.clone()));
    let shown = stdout(&fake.run(&["config", "show", "--endpoint", &fake.url]));
    assert_eq!(
        shown,
        "KEY         VALUE  ORIGIN  CHANGES AT\naudit.keep  2d     /f:2    reload\n"
    );
    assert_eq!(fake.seen()[0].line, "POST /_freehold/api/GetConfiguration");
}
